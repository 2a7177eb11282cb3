"""Example sets: labelled photos to measure models on, whatever they come from.

A release folder of ours (`data/common-*.parquet`, `data/counter-*.parquet`), the layout
of the published CounterAnimal (`<class>/common-<background>/*.jpg`, the class with or
without its ImageNet index in front), a class folder (`<class>/*.jpg`), or a dataset of
the Hub (`hub:<org>/<name>[@<revision>][#<split>]`).
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pyarrow as pa

from evaluation import imagenet
from evaluation.errors import InputError
from evaluation.label_spaces import ClassInfo
from evaluation.photo_files import (
    SUFFIXES,
    PhotoFile,
    content_ids,
    opener,
    photos_in,
    plain,
    subfolders,
)
from evaluation.tables import build, frame

Reader = Callable[[str], bytes]
Role = Literal["", "groups", "id", "shift", "ood"]

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
        # the photo's file name, by which annotations of others are joined
        pa.field("file", pa.string()),
    ]
)
"""Columns of `ExampleSet.table`."""

_GROUP_FOLDER = re.compile(r"(common|counter)[-_ ](.+)", re.IGNORECASE)
_PUBLISHED_ROOT = "LAION-final"  # the folder the published archive unpacks to


@dataclass(frozen=True, slots=True)
class ExampleSet:
    """Labelled photos.

    Attributes:
        name: what it was opened as, without its folder's parents.
        classes: by position.
        table: one row per example, `SCHEMA`.
        read: bytes of a photo by its id; safe to call from many threads.
        role: what it is to other sets: "groups" has common and counter photos, "id" is
            what models were trained for, "shift" has its classes under other
            circumstances, "ood" has none of its classes, and so no labels.
        label_space: what its authors have models choose among.
        subset: name of the subset of ImageNet that its classes are; "" for none.
        about: what else a reader must know, such as a rule of counting.
    """

    name: str
    classes: tuple[ClassInfo, ...]
    table: pa.Table
    read: Reader
    role: Role = ""
    label_space: str = "imagenet"
    subset: str = ""
    about: str = ""

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
        return replace(self, table=self.table.take(pl.Series(chosen).to_arrow()))

    def of_classes(self, indices: Iterable[int], *, of: str) -> "ExampleSet":
        """Its examples of some ImageNet classes, as a set of its own.

        Args:
            indices: ImageNet indices wanted.
            of: whose classes they are, for the name.

        Raises:
            InputError: none of its classes is among them.
        """
        wanted = set(indices)
        kept = [item for item in self.classes if wanted & set(item.indices)]
        if not kept:
            message = f"dataset {self.name!r} has none of the classes of {of}"
            raise InputError(message)
        names = {item.name for item in kept}
        place = {item.name: position for position, item in enumerate(kept)}
        rows = frame(self.table).filter(pl.col("class_name").is_in(list(names)))
        found = rows.with_columns(
            position=pl.col("class_name").replace_strict(place, return_dtype=pl.Int64)
        )
        return replace(
            self,
            name=f"{self.name} on {of}'s classes",
            classes=tuple(kept),
            table=found.to_arrow().cast(SCHEMA),
            subset=of,
        )


def from_table(
    name: str,
    table: pa.Table,
    read: Reader,
    *,
    indices: Mapping[str, int | None | Sequence[int]],
) -> ExampleSet:
    """An example set from a table that is already at hand.

    Args:
        name: what reports call it.
        table: columns photo_id and class_name; optionally background, group (others
            than common and counter become null), cluster (default: the photo) and file.
        read: bytes of a photo by its id.
        indices: ImageNet index of each class, or all it stands for; its order is that
            of the classes.

    Raises:
        InputError: a column is missing, or a class has no entry in `indices`.
    """
    for column in ("photo_id", "class_name"):
        if column not in table.column_names:
            message = f"example set {name!r}: column {column!r} is missing"
            raise InputError(message)
    classes = tuple(_class(key, value) for key, value in indices.items())
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
        "label": [classes[place[one]].imagenet_index for one in found],
        "position": [place[one] for one in found],
        "background": optional("background"),
        "group": [one if one in COUNTED else None for one in optional("group")],
        "cluster": [
            own or photo for own, photo in zip(optional("cluster"), ids, strict=True)
        ],
        "file": optional("file"),
    }
    made = build(rows, SCHEMA)
    grouped = made.column("group").null_count < len(made)
    return ExampleSet(name, classes, made, read, role="groups" if grouped else "")


def _class(name: str, indices: int | None | Sequence[int]) -> ClassInfo:
    if indices is None or isinstance(indices, int):
        return ClassInfo(name, indices)
    every = sorted(set(indices))
    if not every:
        return ClassInfo(name, None)
    return ClassInfo(name, every[0], tuple(every[1:]))


def open_examples(spec: str) -> ExampleSet:
    """Open a dataset by what the command line calls it.

    Args:
        spec: a folder, `hub:<org>/<name>[@<revision>][#<split>]`, or either of them
            after the name of a reader, as in `imagenet-r:<folder>` (see
            `evaluation.readers`).

    Raises:
        InputError: no such folder, or nothing in it that is understood.
        RemoteError: the Hub cannot be reached or does not have it.
        ConfigError: a `hub:` name that is none, or no such reader.
    """
    # these read pictures out of Arrow; folders need none of that
    from evaluation.embedded import open_hub, open_shards
    from evaluation.readers import named

    if found := named(spec):
        reader, place = found
        return reader.open_set(place)
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


def from_files(
    name: str,
    root: Path,
    files: Sequence[PhotoFile],
    *,
    indices: Mapping[str, int | None | Sequence[int]],
) -> ExampleSet:
    """An example set of photos that are files.

    Args:
        name: what reports call it.
        root: folder they are all in.
        files: in the examples' order.
        indices: as `from_table` takes them.

    Raises:
        InputError: as `from_table`.
    """
    ids = content_ids([file.path for file in files], root)
    paths: dict[str, Path] = {}
    for photo, file in zip(ids, files, strict=True):
        paths.setdefault(photo, file.path)
    columns: dict[str, Sequence[str | None]] = {
        "photo_id": ids,
        "class_name": [file.class_name for file in files],
        "background": [file.background for file in files],
        "group": [file.group for file in files],
        "cluster": [file.cluster for file in files],
        "file": [plain(file.path.name) for file in files],
    }
    table = build(columns, pa.schema([(key, pa.string()) for key in columns]))
    return from_table(name, table, opener(paths, root), indices=indices)


def prepared(
    examples: ExampleSet, step: str, change: Callable[[bytes], bytes]
) -> ExampleSet:
    """The same examples, something being done to each photo's bytes when it is read.

    The photos are others then, and so are their ids: each is the sha256 of the step's
    name, a space, and the id it had.

    Args:
        examples: photos as they are stored.
        step: what is done, and what else decides how.
        change: does it; safe to call from many threads.
    """
    old = examples.table.column("photo_id").to_pylist()
    new = {one: hashlib.sha256(f"{step} {one}".encode()).hexdigest() for one in old}
    back = {photo: one for one, photo in new.items()}
    rows = frame(examples.table).with_columns(
        pl.col("photo_id", "cluster").replace(new)
    )
    return replace(
        examples,
        table=rows.to_arrow().cast(SCHEMA),
        read=lambda photo_id: change(examples.read(back[photo_id])),
    )


def _open_folders(spec: str, folder: Path) -> ExampleSet:
    files = list(_files(folder))
    if not files:
        message = (
            f"dataset {spec!r}: found no photos. Understood are "
            "data/common-*.parquet with data/counter-*.parquet (a release), "
            "<class>/common-<background>/<photo> (CounterAnimal's layout) and "
            f"<class>/<photo>; photos end in {', '.join(sorted(SUFFIXES))}"
        )
        raise InputError(message)
    indices = {file.class_name: imagenet.find(file.class_name) for file in files}
    return from_files(plain(folder.resolve().name), folder, files, indices=indices)


def _files(folder: Path) -> Iterator[PhotoFile]:
    """Photos of classes and groups, sorted by path."""
    for kind in subfolders(folder, folder):
        name = plain(kind.name)
        for path in photos_in(kind):
            yield PhotoFile(path, name)
        for inner in subfolders(kind, folder):
            if form := _GROUP_FOLDER.fullmatch(plain(inner.name)):
                group, background = form[1].lower(), form[2].strip()
                for path in photos_in(inner):
                    yield PhotoFile(path, name, group, background)
