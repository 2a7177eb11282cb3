"""Example sets: labelled photos to measure models on, whatever they come from.

A release folder of ours (`data/common-*.parquet`, `data/counter-*.parquet`), the layout
of the published CounterAnimal (`<class>/common-<background>/*.jpg`, the class with or
without its ImageNet index in front), a class folder (`<class>/*.jpg`), or a dataset of
the Hub (`hub:<org>/<name>[@<revision>]`).
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from evaluation import imagenet
from evaluation.errors import InputError
from evaluation.label_spaces import ClassInfo
from evaluation.tables import build

Reader = Callable[[str], bytes]

COUNTED = ("common", "counter")
SCHEMA = pa.schema(
    [
        # sha256 of the bytes; one photo may be an example of two classes
        pa.field("photo_id", pa.string(), nullable=False),
        pa.field("class_name", pa.string(), nullable=False),
        # ImageNet index, null outside ImageNet
        pa.field("label", pa.int64()),
        # place of the class in `ExampleSet.classes`
        pa.field("position", pa.int64(), nullable=False),
        pa.field("background", pa.string()),
        # common, counter, or null
        pa.field("group", pa.string()),
        # photos that are not independent share it
        pa.field("cluster", pa.string(), nullable=False),
    ]
)
"""Columns of `ExampleSet.table`."""

_SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)
_PUBLISHED_ROOT = "LAION-final"  # the folder the published archive unpacks to


@dataclass(frozen=True, slots=True)
class ExampleSet:
    """Labelled photos.

    Attributes:
        name: what it was opened as, without its folder's parents.
        classes: by position.
        table: one row per example, `SCHEMA`.
        read: bytes of a photo by its id; safe to call from many threads.
    """

    name: str
    classes: tuple[ClassInfo, ...]
    table: pa.Table
    read: Reader

    @property
    def grouped(self) -> bool:
        """Whether any example is in the common or counter group."""
        return bool(self.table.column("group").null_count < len(self.table))

    def head(self, limit: int) -> "ExampleSet":
        """Evenly spaced `limit` of its examples; all when there are fewer."""
        rows = len(self.table)
        if rows <= limit:
            return self
        chosen = [step * rows // limit for step in range(limit)]
        table = self.table.take(pl.Series(chosen).to_arrow())
        return ExampleSet(self.name, self.classes, table, self.read)


def from_table(
    name: str, table: pa.Table, read: Reader, *, indices: Mapping[str, int | None]
) -> ExampleSet:
    """An example set from a table that is already at hand.

    Args:
        name: what reports call it.
        table: columns photo_id and class_name; optionally background, group (others
            than common and counter become null) and cluster (default: the photo).
        read: bytes of a photo by its id.
        indices: ImageNet index of each class; its order is that of the classes.

    Raises:
        InputError: a column is missing, or a class has no entry in `indices`.
    """
    for column in ("photo_id", "class_name"):
        if column not in table.column_names:
            message = f"example set {name!r}: column {column!r} is missing"
            raise InputError(message)
    classes = tuple(ClassInfo(key, value) for key, value in indices.items())
    place = {item.name: position for position, item in enumerate(classes)}
    found = table.column("class_name").to_pylist()
    unknown = sorted({str(one) for one in found if one not in place})
    if unknown:
        message = f"example set {name!r}: classes without an entry: {unknown[:5]}"
        raise InputError(message)
    ids = table.column("photo_id").to_pylist()

    def optional(column: str) -> list[Any]:
        if column in table.column_names:
            return list(table.column(column).to_pylist())
        return [None] * len(table)

    rows = {
        "photo_id": ids,
        "class_name": found,
        "label": [indices[one] for one in found],
        "position": [place[one] for one in found],
        "background": optional("background"),
        "group": [one if one in COUNTED else None for one in optional("group")],
        "cluster": [
            own or photo for own, photo in zip(optional("cluster"), ids, strict=True)
        ],
    }
    return ExampleSet(name, classes, build(rows, SCHEMA), read)


def open_examples(spec: str) -> ExampleSet:
    """Open a dataset by what the command line calls it.

    Args:
        spec: a folder, or `hub:<org>/<name>[@<revision>]`.

    Raises:
        InputError: no such folder, or nothing in it that is understood.
        RemoteError: the Hub cannot be reached or does not have it.
        ConfigError: a `hub:` name that is none.
    """
    # these read pictures out of Arrow; folders need none of that
    from evaluation.embedded import open_hub, open_shards

    if spec.startswith("hub:"):
        return open_hub(spec)
    folder = Path(spec).expanduser()
    if not folder.is_dir():
        message = f"dataset {spec!r}: there is no such folder"
        raise InputError(message)
    shards = [
        (path, group)
        for group in COUNTED
        for path in sorted((folder / "data").glob(f"{group}-*.parquet"))
    ]
    if shards:
        return open_shards(folder.resolve().name, shards)
    inner = folder / _PUBLISHED_ROOT
    return _open_folders(spec, inner if inner.is_dir() else folder)


# --- folders -------------------------------------------------------------------------


def _open_folders(spec: str, folder: Path) -> ExampleSet:
    files = list(_files(folder))
    if not files:
        message = (
            f"dataset {spec!r}: found no photos. Understood are "
            "data/common-*.parquet with data/counter-*.parquet (a release), "
            "<class>/common-<background>/<photo> (CounterAnimal's layout) and "
            f"<class>/<photo>; photos end in {', '.join(sorted(_SUFFIXES))}"
        )
        raise InputError(message)
    paths: dict[str, Path] = {}
    columns: dict[str, list[str | None]] = {
        key: [] for key in ("photo_id", "class_name", "background", "group")
    }
    for name, group, background, path in files:
        photo = _photo_id(path, folder)
        paths.setdefault(photo, path)
        row = (photo, name, background, group)
        for values, value in zip(columns.values(), row, strict=True):
            values.append(value)
    table = build(columns, pa.schema([(key, pa.string()) for key in columns]))
    indices = {name: imagenet.find(name) for name, *_ in files}
    return from_table(
        folder.resolve().name,
        table,
        lambda key: paths[key].read_bytes(),
        indices=indices,
    )


def _files(folder: Path) -> Iterator[tuple[str, str | None, str | None, Path]]:
    """(class, group, background, file), sorted by path."""
    for kind in _folders(folder):
        for path in _photos(kind):
            yield kind.name, None, None, path
        for inner in _folders(kind):
            group, dash, background = inner.name.partition("-")
            if dash and group in COUNTED:
                for path in _photos(inner):
                    yield kind.name, group, background, path


def _folders(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith(".")
    )


def _photos(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")
    )


def _photo_id(path: Path, folder: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        # stays an example; reading it fails again and gives the reason
        place = path.relative_to(folder).as_posix()
        return hashlib.sha256(f"unreadable {place}".encode()).hexdigest()
