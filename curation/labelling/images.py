"""How annotators get the pictures, and the check that they do.

Three ways, by `labels.images` of dataset.toml: files in a folder that the server reads
(`local`), objects of a bucket that it signs addresses of (`s3`), or a server of ours on
this machine (`serve`). A file that browsers show is given as it is; of every other an
upright JPEG is made.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import polars as pl

from curation.errors import DecodeError, InputError
from curation.labelling import pictures, serve
from curation.shelf import explained
from curation.takedowns import Takedowns

if TYPE_CHECKING:
    from curation.labelling.checks import Shown
    from curation.labelstudio import LabelStudio
    from curation.pipeline import Route


@dataclass(frozen=True, slots=True)
class Photo:
    """What the table photos says of a photo, as far as showing it goes."""

    photo_id: str
    bytes: int
    format: str
    width: int
    height: int

    @property
    def suffix(self) -> str | None:
        """End of its name if it is shown as it is; None if it certainly is not."""
        if pictures.shown_as_is(self.format, self.width, self.height):
            return pictures.SUFFIX[self.format]
        return None


def place(route: "Route", photo_ids: Sequence[str]) -> dict[str, str]:
    """Make sure that the server, or a browser, can get these photos.

    What is there is left alone; pictures of photos that were taken down are removed.

    Args:
        route: the route; its work folder must be held for writing.
        photo_ids: of photos that could be decoded.

    Returns: address by photo_id, as a task's data wants it; photos that were taken down
        are left out.

    Raises:
        InputError: a photo is not in the table photos, or its blob is gone or damaged.
        ConfigError: s3: boto3, the bucket or credentials are missing.
        RemoteError: s3: the service failed.
    """
    taken = Takedowns(route.shelf).photos
    photos = known(route, [one for one in photo_ids if one not in taken])
    way = route.config.labels.images
    if way == "serve":
        secret = route.shelf.secret(serve.SECRET)
        base = route.config.labels.address.rstrip("/")
        serve.place(base)
        return {one.photo_id: base + serve.path(secret, one.photo_id) for one in photos}
    if way == "s3":
        from curation.labelling.bucket import Bucket

        bucket = Bucket.of(route.config.labels)
        with closing(bucket.client):
            return bucket.place(route, photos, taken)
    with explained(documents(route)):
        return _local(route, photos, taken)


def connect(route: "Route", studio: "LabelStudio", project: int) -> None:
    """Let a project show what `place` put there; call it after `place`.

    Raises:
        ConfigError: s3: credentials that the server could keep are missing.
        LabelStudioError: the server refuses the folder or bucket; says why.
    """
    labels = route.config.labels
    if labels.images == "local":
        folder(route).mkdir(parents=True, exist_ok=True)
        studio.connect_folder(project, path=on_server(route), title=_title(route))
    elif labels.images == "s3":
        from curation.labelling.bucket import Bucket

        Bucket.of(labels).connect(studio, project, title=_title(route))


def preflight(
    route: "Route", studio: "LabelStudio", shown: "Sequence[Shown]"
) -> list[str]:
    """Look at pictures as an annotator's browser would.

    Args:
        route: the route.
        studio: the server.
        shown: task id, photo_id and image address of each task to look at.

    Returns: what is wrong, each with what to do about it; empty when all show.
    """
    from curation.labelling import checks

    return checks.look(route, studio, shown)


def documents(route: "Route") -> Path:
    """Folder that is the server's LOCAL_FILES_DOCUMENT_ROOT."""
    chosen = route.config.labels.documents
    # the server compares paths as text
    return (chosen or route.shelf.folder / "labels").resolve()


def folder(route: "Route") -> Path:
    """Folder of this dataset's pictures, below `documents`."""
    return documents(route) / route.config.dataset.name


def on_server(route: "Route") -> str:
    """The same folder as the server sees it."""
    root = route.config.labels.documents_on_server.rstrip("/\\") or documents(route)
    return f"{root}/{route.config.dataset.name}"


def as_is(route: "Route", photo: Photo) -> bool:
    """Whether browsers show the file itself: its header knows what the table does not.

    Raises:
        InputError: the blob is gone or damaged.
    """
    if photo.suffix is None:
        return False
    limit = route.config.fetch.max_pixels
    if photo.format in ("JPEG", "PNG") and photo.bytes > pictures.HEAD:
        try:
            with route.shelf.blob(photo.photo_id).open("rb") as file:
                head = file.read(pictures.HEAD)
            return pictures.suffix(head, max_pixels=limit) is not None
        except (OSError, DecodeError):
            pass  # then all of it is looked at, and says what is wrong
    data = route.shelf.read_photo(photo.photo_id)
    with _intact(photo):
        return pictures.suffix(data, max_pixels=limit) is not None


def made(route: "Route", photo: Photo) -> bytes:
    """An upright JPEG of a photo, for those that browsers do not show.

    Raises:
        InputError: the blob is gone or damaged.
    """
    data = route.shelf.read_photo(photo.photo_id)
    with _intact(photo):
        return pictures.jpeg(data, max_pixels=route.config.fetch.max_pixels)


@contextmanager
def _intact(photo: Photo) -> Iterator[None]:
    try:
        yield
    except DecodeError as error:
        message = (
            f"photo {photo.photo_id}: its blob cannot be decoded any more ({error}); "
            "`counterset check` looks at all of them"
        )
        raise InputError(message) from error


def known(route: "Route", photo_ids: Sequence[str]) -> list[Photo]:
    """What the table photos says of photos.

    Raises:
        InputError: one is not in it.
    """
    columns = list(Photo.__dataclass_fields__)
    table = pl.DataFrame(pl.from_arrow(route.table("photos").select(columns)))
    rows = table.filter(pl.col("photo_id").is_in(list(photo_ids))).iter_rows()
    photos = {row[0]: Photo(*row) for row in rows}
    unknown = [one for one in photo_ids if one not in photos]
    if unknown:
        message = (
            f"{len(unknown)} photos are not in this work folder, such as {unknown[0]}; "
            "run `counterset run --until tasks` first"
        )
        raise InputError(message)
    return [photos[one] for one in dict.fromkeys(photo_ids)]


def _title(route: "Route") -> str:
    return f"counterset {route.config.dataset.name}"


# files ------------------------------------------------------------------------------


def _local(route: "Route", photos: Sequence[Photo], taken: set[str]) -> dict[str, str]:
    home = folder(route)
    home.mkdir(parents=True, exist_ok=True)
    there = {entry.name: entry.stat() for entry in os.scandir(home) if entry.is_file()}
    for name in there:
        if name.partition(".")[0] in taken:
            (home / name).unlink()
    with ThreadPoolExecutor(route.cores) as pool:
        names = list(pool.map(lambda one: _file(route, home, one, there), photos))
    new = sum(name not in there for name in names)
    route.say(f"pictures: {len(names)} in {home}, {new} new")
    return {
        photo.photo_id: _address(route.config.dataset.name, name)
        for photo, name in zip(photos, names, strict=True)
    }


def _file(
    route: "Route", home: Path, photo: Photo, there: Mapping[str, os.stat_result]
) -> str:
    """Name of a photo's picture, which is put there if it is not."""
    name = f"{photo.photo_id}.{photo.suffix or 'jpg'}"
    found = there.get(name)
    # names stand for contents, and files get their names when they are whole
    if found and photo.suffix and found.st_size == photo.bytes:
        return name
    if as_is(route, photo):
        route.shelf.lend(photo.photo_id, home / name)
        return name
    name = f"{photo.photo_id}.jpg"
    if name not in there or not _whole(home / name):
        route.shelf.put(home / name, made(route, photo))
    return name


def _whole(path: Path) -> bool:
    """Whether a file ends as a JPEG does."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 2))
        return file.read() == b"\xff\xd9"


def _address(dataset: str, name: str) -> str:
    return f"/data/local-files/?d={quote(f'{dataset}/{name}')}"
