"""Pictures in an S3-compatible bucket, whose addresses the labelling server signs.

Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and go to the bucket
and to the labelling server, nowhere else.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from curation.config import Labels
from curation.errors import ConfigError, RemoteError
from curation.labelling import pictures
from curation.labelling.images import Photo, as_is, made

if TYPE_CHECKING:
    from curation.labelstudio import LabelStudio
    from curation.pipeline import Route

ID, SECRET, SESSION = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"

_THREADS = 16
_DELETED_AT_ONCE = 1000
_REFUSED = {"AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch"}


@dataclass(frozen=True, slots=True)
class Bucket:
    """A folder of a bucket.

    Attributes:
        name: of the bucket.
        prefix: folder in it, without slashes at its ends; may be empty.
        endpoint: URL of the service; AWS's when empty.
        region: region; us-east-1 when empty.
        client: boto3's.
    """

    name: str
    prefix: str
    endpoint: str
    region: str
    client: Any = field(repr=False)

    @classmethod
    def of(cls, labels: Labels) -> "Bucket":
        """The bucket that dataset.toml names.

        Raises:
            ConfigError: it names none, or boto3 or credentials are missing.
        """
        if not labels.bucket:
            message = 'labels.bucket: missing; labels.images = "s3" needs its name'
            raise ConfigError(message)
        try:
            import boto3
            from botocore.config import Config
        except ImportError as error:
            message = (
                'labels.images = "s3" needs boto3: install it with '
                "`pip install 'counterset[s3]'`"
            )
            raise ConfigError(message) from error
        key, secret = _credentials()
        config = Config(
            signature_version="s3v4",
            max_pool_connections=_THREADS,
            retries={"mode": "standard", "max_attempts": 5},
            connect_timeout=20,
            # else some services that are not AWS's refuse uploads
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        client = boto3.session.Session().client(
            "s3",
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=os.environ.get(SESSION) or None,
            endpoint_url=labels.endpoint or None,
            region_name=labels.region or "us-east-1",
            config=config,
        )
        prefix = labels.prefix.strip("/")
        return cls(labels.bucket, prefix, labels.endpoint, labels.region, client)

    def key(self, name: str) -> str:
        """Name of an object in the bucket."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def place(
        self, route: "Route", photos: Sequence[Photo], taken: set[str]
    ) -> dict[str, str]:
        """As `images.place`: what is missing is uploaded, many at once."""
        with _explained(self):
            there = dict(self._listed())
            gone = [key for key in there if _photo_of(key) in taken]
            self._delete(gone)
            with ThreadPoolExecutor(_THREADS) as pool:
                keys = list(
                    pool.map(lambda photo: self._object(route, photo, there), photos)
                )
        new = sum(key not in there for key in keys)
        route.say(f"pictures: {len(keys)} in s3://{self.name}, {new} new")
        return {
            photo.photo_id: f"s3://{self.name}/{key}"
            for photo, key in zip(photos, keys, strict=True)
        }

    def connect(self, studio: "LabelStudio", project: int, *, title: str) -> None:
        """As `images.connect`: the server keeps the credentials, and signs with them.

        Raises:
            ConfigError: the credentials are passing ones.
            LabelStudioError: the server refuses the bucket.
        """
        if os.environ.get(SESSION):
            message = (
                f"{SESSION} is set: such credentials end within hours, and with them "
                "the pictures. Give the labelling server a key of its own that may "
                "only read this bucket"
            )
            raise ConfigError(message)
        key, secret = _credentials()
        studio.connect_bucket(
            project,
            bucket=self.name,
            prefix=self.prefix,
            endpoint=self.endpoint,
            region=self.region,
            key=key,
            secret=secret,
            title=title,
        )

    def _listed(self) -> Iterator[tuple[str, int]]:
        """Key and size of every object under the prefix."""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.name, Prefix=self.key("")
        )
        for page in pages:
            for one in page.get("Contents", []):
                yield one["Key"], one["Size"]

    def _delete(self, keys: Sequence[str]) -> None:
        for start in range(0, len(keys), _DELETED_AT_ONCE):
            listed = [{"Key": key} for key in keys[start : start + _DELETED_AT_ONCE]]
            self.client.delete_objects(Bucket=self.name, Delete={"Objects": listed})

    def _object(self, route: "Route", photo: Photo, there: Mapping[str, int]) -> str:
        """Key of a photo's picture, which is uploaded if it is not there."""
        key = self.key(f"{photo.photo_id}.{photo.suffix or 'jpg'}")
        # an object appears whole, under a name that stands for its content
        if photo.suffix and there.get(key) == photo.bytes:
            return key
        if as_is(route, photo):
            self._put(key, route.shelf.read_photo(photo.photo_id))
            return key
        key = self.key(f"{photo.photo_id}.jpg")
        if not there.get(key):
            self._put(key, made(route, photo))
        return key

    def _put(self, key: str, data: bytes) -> None:
        kind = pictures.KIND[key.rpartition(".")[2]]
        self.client.put_object(Bucket=self.name, Key=key, Body=data, ContentType=kind)


def cors(origin: str) -> str:
    """What a bucket's CORS settings must hold for pages of an origin.

    Example:
        >>> cors("https://label.example.org")
        '[{"AllowedMethods": ["GET"], "AllowedOrigins": ["https://label.example.org"]}]'
    """
    return f'[{{"AllowedMethods": ["GET"], "AllowedOrigins": ["{origin}"]}}]'


def _photo_of(key: str) -> str:
    """The photo_id that an object of ours is named after."""
    return key.rpartition("/")[2].partition(".")[0]


def _credentials() -> tuple[str, str]:
    key, secret = os.environ.get(ID, ""), os.environ.get(SECRET, "")
    if missing := [name for name, value in ((ID, key), (SECRET, secret)) if not value]:
        message = (
            f'{" and ".join(missing)} not set: labels.images = "s3" needs a key that '
            "may list, read and write the bucket"
        )
        raise ConfigError(message)
    return key, secret


@contextmanager
def _explained(bucket: Bucket) -> Iterator[None]:
    """Turn boto3's errors into ours, without anything secret in them."""
    from botocore.exceptions import BotoCoreError, ClientError

    where = f"s3://{bucket.name}" + (f" at {bucket.endpoint}" * bool(bucket.endpoint))
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in ("NoSuchBucket", "404"):
            message = f"labels.bucket: {where}: there is no such bucket; make it first"
            raise ConfigError(message) from error
        if code in _REFUSED:
            message = (
                f"{where} refuses the key of {ID} ({code}, {error.operation_name}); it "
                "must be allowed to list, read and write objects"
            )
            raise ConfigError(message) from error
        message = f"{where}: {error.operation_name} failed ({code}); run it again"
        raise RemoteError(message) from error
    except BotoCoreError as error:
        message = f"{where}: {type(error).__name__}: {str(error)[:200]}; run it again"
        raise RemoteError(message) from error
