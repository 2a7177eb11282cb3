"""Photo files of a folder: which there are, and what their bytes are called.

A photo is called by the sha256 of its bytes, so every byte must be read once. Of large
folders that is remembered in `$XDG_CACHE_HOME/counterset/photo-ids` (`~/.cache/…`),
with each file's size, times and inode; a file that changed in any of them is read
again. Nothing else depends on that folder, and it may be deleted.

Hidden files and folders are passed over. Links are followed inside the folder only: a
photo that is a link out of it is an example that cannot be read.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa

from evaluation.errors import CounterSetError, InputError
from evaluation.tables import build, read, write

SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)
"""Ends of photos' names, in lower case."""

REMEMBERED_FROM = 1000
"""Photos of a folder from which on their names are remembered."""

_THREADS = 8
_SETTLED = 2_000_000_000  # ns; a file changed later than this may change unseen
_KNOWN = pa.schema(
    [
        pa.field("place", pa.string(), nullable=False),
        pa.field("state", pa.string(), nullable=False),
        pa.field("photo_id", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class PhotoFile:
    """A file that is an example.

    Attributes:
        path: where it is.
        class_name: the class it is an example of.
        group: "common", "counter" or None.
        background: or None.
        cluster: what photos share that are not independent; None for the photo alone.
    """

    path: Path
    class_name: str
    group: str | None = None
    background: str | None = None
    cluster: str | None = None


def subfolders(folder: Path, root: Path) -> list[Path]:
    """Folders in a folder, by name.

    Raises:
        InputError: the folder cannot be listed, or one of them is a link out of `root`.
    """
    found = []
    for entry in _entries(folder):
        if not entry.is_dir():
            continue
        path = Path(entry.path)
        if entry.is_symlink() and _outside(path, root):
            message = (
                f"folder {path} is a link out of {root}, which is not followed: name "
                "the folder it points to, or copy it"
            )
            raise InputError(message)
        found.append(path)
    return found


def photos_in(folder: Path) -> list[Path]:
    """Photos in a folder itself, by name.

    Raises:
        InputError: the folder cannot be listed.
    """
    return [
        Path(entry.path)
        for entry in _entries(folder)
        if Path(entry.name).suffix.lower() in SUFFIXES
        and (not entry.is_dir() or entry.is_symlink())
    ]


def photos_below(folder: Path, root: Path) -> Iterator[Path]:
    """Photos in a folder and all folders below it, each folder's own first.

    Raises:
        InputError: as `subfolders`.
    """
    yield from photos_in(folder)
    for inner in subfolders(folder, root):
        yield from photos_below(inner, root)


def content_ids(paths: Sequence[Path], root: Path) -> list[str]:
    """Hex sha256 of each file's bytes, in order.

    A file that cannot be read is called by its place in `root`: it stays an example,
    and reading it fails again and gives the reason.
    """
    places = [plain(os.path.relpath(path, root)) for path in paths]
    memory = _memory(root) if len(paths) >= REMEMBERED_FROM else None
    known = _recall(memory) if memory else {}
    states = [_state(path, root) for path in paths] if memory else [""] * len(paths)
    found = [
        known[place][1] if state and known.get(place, ("",))[0] == state else ""
        for place, state in zip(places, states, strict=True)
    ]
    todo = [row for row, one in enumerate(found) if not one]
    if not todo:
        return found
    before = time.time_ns()

    def name(row: int) -> str:
        return _content_id(paths[row], places[row], root)

    with ThreadPoolExecutor(_THREADS) as pool:
        for row, one in zip(todo, pool.map(name, todo, chunksize=64), strict=True):
            found[row] = one
    if memory:
        kept = {
            place: (state, one)
            for place, state, one in zip(places, states, found, strict=True)
            if state and max(map(int, state.split()[1:3])) < before - _SETTLED
        }
        _remember(memory, known | kept)
    return found


def opener(paths: Mapping[str, Path], root: Path) -> Callable[[str], bytes]:
    """Reads a photo by its name; raises OSError for one that cannot be read."""

    def bytes_of(photo_id: str) -> bytes:
        path = paths[photo_id]
        if path.is_symlink() and _outside(path, root):
            message = "a link out of the dataset's folder, which is not followed"
            raise OSError(message)
        return path.read_bytes()

    return bytes_of


def plain(name: str) -> str:
    r"""A file's name as text that can be written; odd bytes become escapes.

    Example:
        >>> plain("a\udcff.jpg")
        'a\\xff.jpg'
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _entries(folder: Path) -> Iterable[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        message = f"folder {folder} cannot be read: {error.strerror or error}"
        raise InputError(message) from error
    return sorted(found, key=lambda entry: entry.name)


def _outside(path: Path, root: Path) -> bool:
    return not path.resolve().is_relative_to(root.resolve())


def _content_id(path: Path, place: str, root: Path) -> str:
    try:
        if not (path.is_symlink() and _outside(path, root)):
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        pass
    return hashlib.sha256(f"unreadable {place}".encode()).hexdigest()


# --- what is remembered --------------------------------------------------------------


def _memory(root: Path) -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    cache = Path(base) if base else Path.home() / ".cache"
    name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:24]
    return cache / "counterset" / "photo-ids" / f"{name}.parquet"


def _state(path: Path, root: Path) -> str:
    """Size, times and inode; empty for what cannot be read, so never remembered."""
    try:
        if path.is_symlink() and _outside(path, root):
            return ""
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"


def _recall(memory: Path) -> dict[str, tuple[str, str]]:
    """(state, photo_id) by place; nothing where there is no such file, or a bad one."""
    if not memory.is_file():
        return {}
    try:
        rows = pl.from_arrow(read(memory))
        assert isinstance(rows, pl.DataFrame)
        columns = [rows[name].to_list() for name in _KNOWN.names]
    except (OSError, pa.ArrowException, pl.exceptions.PolarsError):
        return {}
    return {place: (state, one) for place, state, one in zip(*columns, strict=True)}


def _remember(memory: Path, known: Mapping[str, tuple[str, str]]) -> None:
    columns = {
        "place": list(known),
        "state": [state for state, _ in known.values()],
        "photo_id": [one for _, one in known.values()],
    }
    try:
        write(memory, build(columns, _KNOWN))
    except (CounterSetError, OSError):
        return  # a full or read-only home costs time, not the run
