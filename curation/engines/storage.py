"""Photos where every machine of a cluster reaches them: S3-compatible storage.

    <url>/ab/abcdef…        a photo's bytes, by its sha256

A photo is copied there once, before the part it is in is computed, and its bytes are
compared with its name whenever they are read, so a run may go on in storage that other
runs have used. `file://` is a disk that every machine has mounted at one place;
anything else that fsspec has a file system for will do, if that is installed.

A service that is busy (S3 says 503 SlowDown) is asked again, ever more slowly; what it
then still refuses ends the run with what it said, and the next run goes on.
"""

import hashlib
import os
import random
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from curation.errors import ConfigError, InputError, RemoteError

CONNECTIONS = 16
"""Photos that are copied at once."""

_LONGEST = 20.0  # seconds between two attempts
_FINAL = (
    "access_denied",
    "accessdenied",
    "invalid_access_key",
    "invalidaccesskeyid",
    "no_such_bucket",
    "nosuchbucket",
    "signature_does_not_match",
    "signaturedoesnotmatch",
)
"""What a service says that it will say again."""

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Keys:
    """Who asks an S3-compatible service; sent to workers, never printed.

    Attributes:
        key: access key; empty for what the machine itself is allowed.
        secret: that goes with it.
        token: of a session; empty for none.
        endpoint: URL of the service; AWS's when empty.
        region: empty for the service's own.
    """

    key: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    endpoint: str = ""
    region: str = ""

    @classmethod
    def from_environment(cls) -> "Keys":
        """As AWS's own programs read them from the environment."""

        def first(*names: str) -> str:
            return next(
                (os.environ[name] for name in names if os.environ.get(name)), ""
            )

        return cls(
            key=first("AWS_ACCESS_KEY_ID"),
            secret=first("AWS_SECRET_ACCESS_KEY"),
            token=first("AWS_SESSION_TOKEN"),
            endpoint=first("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
            region=first("AWS_REGION", "AWS_DEFAULT_REGION"),
        )


def usable(url: str) -> None:
    """Find out whether a URL names storage that can be opened; it is not asked.

    Raises:
        ConfigError: no URL, no such protocol, or what it needs is not installed.
    """
    protocol, separator, rest = url.partition("://")
    if not separator or not protocol or not rest.strip("/"):
        message = (
            f"storage {url!r} is no URL; examples are s3://bucket/folder and "
            "file:///mnt/shared/folder"
        )
        raise ConfigError(message)
    if "@" in rest.partition("/")[0] and protocol == "s3":
        message = (
            "storage: keys are not part of the URL; set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY"
        )
        raise ConfigError(message)
    if protocol == "file" and not rest.startswith("/"):
        message = f"storage {url}: it needs three slashes, file:///{rest}"
        raise ConfigError(message)
    if protocol in ("s3", "file"):
        return
    import fsspec

    try:
        fsspec.get_filesystem_class(protocol)
    except (ImportError, ValueError) as error:
        message = f"storage {url}: {error}"
        raise ConfigError(message) from error


@dataclass(frozen=True)
class Storage:
    """Photos under a URL; what a process needs to open it can be sent to it.

    Attributes:
        url: `s3://bucket/prefix`, `file:///folder`, or another that fsspec opens.
        keys: for `s3://`.
        attempts: times a request is tried.
        pause: seconds before the second attempt; each further pause is twice as long.
    """

    url: str
    keys: Keys = field(default_factory=Keys.from_environment)
    attempts: int = 8
    pause: float = 0.5

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        """The file system and the folder in it.

        Raises:
            ConfigError: as `usable` says, or it refuses what the URL says beside.
        """
        import fsspec

        usable(self.url)
        protocol, _, rest = self.url.partition("://")
        if protocol == "s3":
            return _s3(self.keys), rest.strip("/")
        try:
            files, folder = fsspec.core.url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            message = f"storage {self.url}: {error}"
            raise ConfigError(message) from error
        return files, folder.rstrip("/")

    def place(self, photo_id: str) -> str:
        """Where a photo is, in its file system."""
        return f"{self._opened[1]}/{photo_id[:2]}/{photo_id}"

    def bring(self, blobs: Iterable[Path]) -> int:
        """Copy photos that are not there, or are not whole.

        Args:
            blobs: their files; each file's name is its sha256.

        Returns: how many were copied.

        Raises:
            InputError: a file is gone, or does not hold what its name says.
            RemoteError: the service refused, or went on failing.
        """
        folders: dict[str, list[Path]] = {}
        for blob in blobs:
            folders.setdefault(blob.name[:2], []).append(blob)
        copied = 0
        with ThreadPoolExecutor(CONNECTIONS, "storage") as pool:
            for name, wanted in folders.items():
                there = self._sizes(name)
                missing = [
                    blob for blob in wanted if there.get(blob.name) != _size(blob)
                ]
                for _ in pool.map(self._put, missing):
                    copied += 1
        return copied

    def read(self, blob: Path) -> bytes:
        """A photo's bytes, compared with its name.

        Args:
            blob: its file in the work folder, of which the name alone is used.

        Raises:
            InputError: it is not there, or what is there is another file.
            RemoteError: the service refused, or went on failing.
        """
        files, place = self._opened[0], self.place(blob.name)
        try:
            data = self._patiently(lambda: bytes(files.cat_file(place)))
        except FileNotFoundError as error:
            message = f"storage {self.url} has no photo {blob.name}"
            raise InputError(message) from error
        if hashlib.sha256(data).hexdigest() != blob.name:
            message = (
                f"storage {self.url}: the object {place} is not the photo it is named "
                "after; delete it and run again"
            )
            raise InputError(message)
        return data

    def _sizes(self, name: str) -> dict[str, int]:
        """Bytes of every photo in one folder of the storage, by photo_id."""
        files, folder = self._opened
        at = f"{folder}/{name}"

        def listed() -> dict[str, Any]:
            files.invalidate_cache()
            return {one["name"]: one for one in files.ls(at, detail=True)}

        try:
            found = self._patiently(listed)
        except FileNotFoundError:
            return {}
        return {path.rpartition("/")[2]: one["size"] for path, one in found.items()}

    def _put(self, blob: Path) -> None:
        files, place = self._opened[0], self.place(blob.name)
        data = blob.read_bytes()
        if hashlib.sha256(data).hexdigest() != blob.name:
            message = (
                f"{blob} does not hold the photo it is named after; "
                "`counterset check` tells what to do"
            )
            raise InputError(message)

        def put() -> None:
            if files.protocol == "file" or "file" in files.protocol:
                _put_whole(files, place, data)
            else:
                files.pipe_file(place, data)

        self._patiently(put)

    def _patiently(self, ask: Callable[[], _Answer]) -> _Answer:
        """Ask, and ask again while the service is busy.

        Raises:
            FileNotFoundError: the service says so.
            RemoteError: it refused, or attempts ran out.
        """
        for attempt in range(1, self.attempts + 1):
            try:
                return ask()
            except FileNotFoundError:
                raise
            except OSError as error:
                said = " ".join(str(error).split())
                final = any(word in said.lower() for word in _FINAL)
                if final or isinstance(error, PermissionError):
                    message = f"storage {self.url} refuses: {said}"
                    raise RemoteError(message) from error
                if attempt == self.attempts:
                    message = (
                        f"storage {self.url} failed {attempt} times: {said}; "
                        "everything that was computed is kept, run again to go on"
                    )
                    raise RemoteError(message) from error
            pause = min(_LONGEST, self.pause * 2 ** (attempt - 1))
            # workers that were told to slow down should not come back together
            time.sleep(pause * random.uniform(0.5, 1.0))
        raise AssertionError


def _s3(keys: Keys) -> Any:  # noqa: ANN401 - fsspec has no types
    """Arrow's client of S3 as a file system of fsspec.

    Raises:
        ConfigError: this pyarrow was built without it.
    """
    from fsspec.implementations.arrow import ArrowFSWrapper

    try:
        from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem
    except ImportError as error:
        message = f"this pyarrow has no S3: {error}"
        raise ConfigError(message) from error
    if keys.endpoint:
        # many services do not know the checksums that AWS's own client now adds; what
        # is read is compared with its sha256 anyway
        os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "WHEN_REQUIRED")
    options: dict[str, Any] = {
        name: value
        for name, value in (
            ("access_key", keys.key),
            ("secret_key", keys.secret),
            ("session_token", keys.token),
            ("endpoint_override", keys.endpoint),
            ("region", keys.region),
        )
        if value
    }
    files = S3FileSystem(
        connect_timeout=10,
        request_timeout=60,
        # `Storage` has the patience, and says so
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=1),
        allow_delayed_open=True,  # a small object in one request
        **options,
    )
    return ArrowFSWrapper(files)


def _put_whole(files: Any, place: str, data: bytes) -> None:  # noqa: ANN401
    """On a disk: beside its place first, so that nobody reads half a photo."""
    target = Path(place)
    files.makedirs(str(target.parent), exist_ok=True)
    part = target.with_name(f"{target.name}.{os.getpid()}.{time.monotonic_ns()}.part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(target)


def _size(blob: Path) -> int:
    """Bytes of a file.

    Raises:
        InputError: it is gone.
    """
    try:
        return blob.stat().st_size
    except OSError as error:
        message = f"photo {blob.name}: its blob cannot be read ({error.strerror})"
        raise InputError(message) from error
