"""Every picture of a folder, hashed; every file that is none, with its reason.

The folder is anybody's: names hold whatever a file system allows, files are cut off,
vanish while they are read, or crash the decoder. Nothing of that ends the run.

Symbolic links are never followed: one that leads out would compare files nobody named,
and a loop never ends. Files whose names begin with a dot belong to programs.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from curation.duplicates import hashing
from curation.duplicates.crew import Crew, alone
from curation.errors import InputError
from curation.filenames import decoded, encoded
from evaluation import images
from evaluation.errors import DecodeError

MAX_PIXELS = 150_000_000
"""Default cap on width × height; a decoded picture of as many takes some 0.7 GB."""

MAX_BYTES = 300_000_000
"""Larger files are refused: they are read into memory."""

SUFFIXES = frozenset(
    (
        ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".tif",
        ".tiff", ".bmp", ".avif", ".heic", ".heif", ".jxl", ".jp2",
    )
)  # fmt: skip
"""Names that promise a picture: what does not keep that promise is told. Files of other
names are pictures if their first bytes say so, and otherwise none of our business."""

IGNORED = "ignored"
"""Status of a file that is no picture and does not claim to be one."""

Row = dict[str, Any]

_PART, _PART_BYTES = 32, 32_000_000
_DECODED = 4  # files that are decoded in full together
_LARGE = 30_000_000  # pixels; without a scaled decode one at a time, for their memory
_KNOWN_MOST = 4096  # photos of which a process remembers what it found
_HEAD = 32  # bytes that tell the format


@dataclass(frozen=True, slots=True)
class File:
    """A file of the folder.

    Attributes:
        path: where it is; may hold bytes that are no text.
        name: its relative path as it is told; see `encoded`.
        size: bytes when the folder was listed.
    """

    path: str
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Listing:
    """What is in a folder and its sub-folders.

    Attributes:
        files: regular files, by name.
        refused: name and reason of what is not opened: links, pipes, closed folders.
        hidden: files and folders whose names begin with a dot; not looked into.
    """

    files: list[File]
    refused: list[tuple[str, str]]
    hidden: int


@dataclass(frozen=True, slots=True)
class How:
    """How pictures are hashed.

    Attributes:
        path: `hashing.FULL` or `hashing.FAST`.
        max_pixels: larger pictures are refused.
    """

    path: str
    max_pixels: int = MAX_PIXELS


def listed(folder: Path) -> Listing:
    """List a folder and its sub-folders.

    Raises:
        InputError: it is not there, is no folder, or cannot be read.
    """
    if not folder.is_dir():
        there = folder.exists() or folder.is_symlink()
        message = (
            f"{printable(str(folder))} is not a folder; name the folder it is in"
            if there
            else f"{printable(str(folder))}: no such folder"
        )
        raise InputError(message)
    files, refused, hidden = [], [], 0

    def closed(error: OSError) -> None:
        where = Path(error.filename)
        reason = f"cannot be read: {error.strerror}"
        if where == folder:
            message = f"{printable(str(folder))} {reason}"
            raise InputError(message) from error
        refused.append((where.relative_to(folder), f"folder {reason}"))

    for where, folders, names in os.walk(folder, onerror=closed):
        at = Path(where)
        hidden += sum(name.startswith(".") for name in (*folders, *names))
        folders[:] = [name for name in folders if not name.startswith(".")]
        # a link to a folder is listed among the folders
        links = [name for name in folders if (at / name).is_symlink()]
        for name in (*names, *links):
            if not name.startswith("."):
                path = at / name
                size, reason = _looked_at(path, folder)
                if reason:
                    refused.append((path.relative_to(folder), reason))
                else:
                    files.append((path, size))
    files.sort(key=lambda found: os.fsencode(found[0]))
    refused.sort(key=lambda found: os.fsencode(found[0]))
    return Listing(
        [
            File(str(path), encoded(path.relative_to(folder)), size)
            for path, size in files
        ],
        [(encoded(path), reason) for path, reason in refused],
        hidden,
    )


def rows(listing: Listing, crew: Crew, how: How) -> Iterator[list[Row]]:
    """Hash every file, in the order of the listing, a part at a time.

    Yields: rows with the columns of the table `hash_table`, and status "ignored" for
        files that are no pictures by name or content.
    """
    yield from crew.each(
        partial(_hashed, how=how), _parts(listing.files), died=_crashed
    )


def pixels(files: Sequence[tuple[str, str]], crew: Crew, how: How) -> list[str | None]:
    """sha256 of all pixels of files; None for one that cannot be decoded in full.

    Args:
        files: path and sha256 of the bytes; a file that changed meanwhile gives None.
        crew: processes that decode.
        how: limits.
    """
    parts = [files[at : at + _DECODED] for at in range(0, len(files), _DECODED)]
    found = crew.each(partial(_pixels, how=how), parts, died=lambda *_: None)
    return [digest for part in found for digest in part]


def printable(name: str) -> str:
    r"""A name on one line of a terminal, whatever it holds.

    Example:
        >>> print(printable("new\nline.jpg"), printable("белый.jpg"))
        'new\nline.jpg' белый.jpg
    """
    return name if name.isprintable() else repr(name)


def by_name(told: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Names and reasons in the order of names."""
    return sorted(told, key=lambda one: os.fsencode(decoded(one[0])))


def _looked_at(path: Path, folder: Path) -> tuple[int, str]:
    """Size of a file, and why it is not opened ("" when it is)."""
    try:
        found = path.lstat()
    except OSError as error:
        return 0, f"cannot be read: {error.strerror}"
    if stat.S_ISLNK(found.st_mode):
        return 0, _link(path, folder)
    if not stat.S_ISREG(found.st_mode):
        return 0, "not a regular file"
    return found.st_size, ""


def _link(path: Path, folder: Path) -> str:
    """What kind of link it is, without opening what it leads to."""
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        # before Python 3.13 a loop is a RuntimeError
        gone = isinstance(error, OSError) and error.errno == errno.ENOENT
        return "symbolic link to nothing" if gone else "symbolic link in a loop"
    if target.is_relative_to(folder.resolve()):
        return "symbolic link inside the folder, not followed"
    return "symbolic link out of the folder, not followed"


def _parts(files: Sequence[File]) -> Iterator[list[File]]:
    """Files that are hashed together: few enough to be read at once."""
    part: list[File] = []
    size = 0
    for file in files:
        if part and (len(part) == _PART or size + file.size > _PART_BYTES):
            yield part
            part, size = [], 0
        part.append(file)
        size += file.size
    if part:
        yield part


# what runs in a process of the crew -------------------------------------------------

_known: dict[tuple[How, str], Row] = {}


def _hashed(files: Sequence[File], *, how: How) -> list[Row]:
    """Rows of files; bytes seen before are not decoded again."""
    found = [_opened(file, how) for file in files]
    new = {
        row["sha256"]: (row, data)
        for row, data in found
        if data and (how, row["sha256"]) not in _known
    }
    if len(_known) > _KNOWN_MOST:
        _known.clear()
        new = {row["sha256"]: (row, data) for row, data in found if data}
    small = {key: data for key, (row, data) in new.items() if not _is_large(row)}
    _learn(small, how)
    for key in new.keys() - small.keys():
        with alone():
            _learn({key: new[key][1]}, how)
    return [row | (_known[how, row["sha256"]] if data else {}) for row, data in found]


def _learn(photos: dict[str, bytes], how: How) -> None:
    measured = hashing.rows(
        list(photos.values()), path=how.path, max_pixels=how.max_pixels
    )
    for key, row in zip(photos, measured, strict=True):
        _known[how, key] = {name: row.get(name) for name in _MEASURED}


_MEASURED = ("status", "error", "path", "pixels", "phash", "dhash", "thumb", "texture")


def _is_large(row: Row) -> bool:
    """Whether its pixels are decoded in full, and are many."""
    scaled = row["format"] in ("JPEG", "MPO") and row["mode"] in ("L", "RGB")
    return row["width"] * row["height"] > _LARGE and not scaled


@contextmanager
def room(data: bytes, how: How) -> Iterator[None]:
    """Memory for all pixels of a picture: large ones one at a time.

    Raises:
        DecodeError: it is no picture, or larger than allowed.
    """
    header = images.sniff(data, max_pixels=how.max_pixels)
    if header.width * header.height <= _LARGE:
        yield
        return
    with alone():
        yield


def _opened(file: File, how: How) -> tuple[Row, bytes]:
    """What is known without decoding, and the bytes; no bytes if that is all."""
    row: Row = {"name": file.name, "bytes": file.size}
    try:
        data = read(file.path)
        if data is None:
            return row | {"status": IGNORED}, b""
        row |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        header = images.sniff(data, max_pixels=how.max_pixels)
    except DecodeError as error:
        return row | {"status": "failed", "error": str(error)}, b""
    row |= {"format": header.format, "mode": header.mode, "frames": header.frames}
    return row | {"width": header.width, "height": header.height}, data


def read(path: str) -> bytes | None:
    """Bytes of a file, following no link; None if it is and claims to be no picture.

    Raises:
        DecodeError: it cannot be had.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            now = os.fstat(handle)
            if not stat.S_ISREG(now.st_mode):
                message = "not a regular file any more"
                raise DecodeError(message)
            head = file.read(_HEAD)
            claims = Path(path).suffix.lower() in SUFFIXES
            if not claims and not _like_a_picture(head):
                return None
            if now.st_size > MAX_BYTES:
                message = f"too large: {now.st_size:,} bytes, read are {MAX_BYTES:,}"
                raise DecodeError(message)
            return head + file.read(MAX_BYTES)
    except FileNotFoundError as error:
        message = "gone since the folder was listed"
        raise DecodeError(message) from error
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise DecodeError(message) from error


def reread(path: str, sha256: str) -> bytes:
    """Bytes of a file that was read before.

    Raises:
        DecodeError: it cannot be had any more, or is another one.
    """
    data = read(path)
    if data is None or hashlib.sha256(data).hexdigest() != sha256:
        message = "changed since it was compared"
        raise DecodeError(message)
    return data


def _like_a_picture(head: bytes) -> bool:
    """Whether a format that is read begins like this."""
    accepts = (Image.OPEN[name][1] for name in images.FORMATS)
    return any(accept and accept(head[:16]) for accept in accepts)


def _crashed(file: File, how: str) -> Row:
    """The row of a file that ended its process."""
    return {
        "name": file.name,
        "bytes": file.size,
        "status": "failed",
        "error": f"the decoder crashed ({how})",
    }


def _pixels(files: Sequence[tuple[str, str]], *, how: How) -> list[str | None]:
    return [_digest(path, sha256, how) for path, sha256 in files]


def _digest(path: str, sha256: str, how: How) -> str | None:
    try:
        data = reread(path, sha256)
        with room(data, how):
            return hashing.pixels_sha256(images.decode(data, max_pixels=how.max_pixels))
    except DecodeError:
        return None
