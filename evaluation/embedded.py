"""Example sets whose photos lie in Parquet or Arrow: our releases, and the Hub.

Columns: `image` (a struct of bytes and path), `label` (a ClassLabel, or text); of use
when present: imagenet_index, photo_id, background, group, cluster or observation_id.
"""

import hashlib
import json
import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evaluation import imagenet
from evaluation.errors import ConfigError, InputError, RemoteError
from evaluation.examples import COUNTED, ExampleSet, Reader, from_table
from evaluation.hub import head
from evaluation.tables import build

_COLUMNS = (
    "label",
    "imagenet_index",
    "photo_id",
    "background",
    "group",
    "cluster",
    "observation_id",
)


def open_shards(name: str, shards: Sequence[tuple[Path, str]]) -> ExampleSet:
    """Read a release's Parquet files, pictures left where they are.

    Args:
        name: what reports call the set.
        shards: files, each with the group its name states.

    Raises:
        InputError: a file is damaged, or lacks a column.
    """
    pictures = _ShardReader()
    indices: dict[str, int | None] = {}
    parts = []
    for path, group in shards:
        try:
            file = pq.ParquetFile(path)
            schema = file.schema_arrow
            _require(schema.names)
            plain = file.read([one for one in _COLUMNS if one in schema.names])
            part = _rows(plain, class_labels(schema), group, indices)
            ids = pictures.add(path, file, part.column("photo_id").to_pylist())
        except (OSError, pa.ArrowException, KeyError, ValueError) as error:
            message = f"dataset {name!r}: {path.name} cannot be read: {error}"
            raise InputError(message) from error
        parts.append(_with_ids(part, ids))
    return from_table(name, pa.concat_tables(parts), pictures.read, indices=indices)


def open_hub(spec: str) -> ExampleSet:
    """Load `hub:<org>/<name>[@<revision>]` through the datasets library.

    Splits named common and counter are the groups; otherwise column `group` is.

    Raises:
        ConfigError: the name is not of that form.
        RemoteError: the Hub cannot be reached, or does not have it.
        InputError: a column is missing.
    """
    form = re.fullmatch(r"hub:([\w.-]+/[\w.-]+)(?:@(.+))?", spec)
    if not form:
        message = f"dataset {spec!r}: the form is hub:<org>/<name>[@<revision>]"
        raise ConfigError(message)
    repo, revision = form.groups()
    what = f"dataset {spec!r}"
    advice = "download it, and name its folder instead"
    path = f"datasets/{repo}/resolve/{revision or 'main'}/README.md"
    head(path, needed_for=what, advice=advice)

    import datasets

    try:
        splits = datasets.load_dataset(repo, revision=revision)
    except Exception as error:  # the library's own kinds, and those below it
        message = f"{what}: {' '.join(str(error).split())[:300]}; {advice}"
        raise RemoteError(message) from error
    return from_splits(spec, splits)


def from_splits(name: str, splits: Mapping[str, Any]) -> ExampleSet:
    """An example set from a `datasets.DatasetDict`.

    Raises:
        InputError: a column is missing.
    """
    import datasets

    place: dict[str, pa.Scalar] = {}
    indices: dict[str, int | None] = {}
    parts = []
    for split, dataset in splits.items():
        try:
            _require(dataset.column_names)
        except ValueError as error:
            message = f"dataset {name!r}, split {split}: {error}"
            raise InputError(message) from error
        labels = {
            key: list(value.names)
            for key, value in dataset.features.items()
            if isinstance(value, datasets.ClassLabel)
        }
        stored = dataset.cast_column("image", datasets.Image(decode=False))
        table = stored.with_format("arrow")[:]
        group = split if split in COUNTED else None
        part = _rows(table, labels, group, indices)
        images = table.column("image")
        ids = []
        for row, known in enumerate(part.column("photo_id").to_pylist()):
            key = known or _digest(images[row])
            place.setdefault(key, images[row])
            ids.append(key)
        parts.append(_with_ids(part, ids))
    read: Reader = lambda photo_id: _picture(place[photo_id], Path())  # noqa: E731
    return from_table(name, pa.concat_tables(parts), read, indices=indices)


def class_labels(schema: pa.Schema) -> dict[str, list[str]]:
    """Names behind the integers of each ClassLabel column of a Parquet schema.

    Example:
        >>> class_labels(pa.schema([]))
        {}
    """
    raw = (schema.metadata or {}).get(b"huggingface")
    if not raw:
        return {}
    features = json.loads(raw).get("info", {}).get("features", {})
    return {
        key: list(value["names"])
        for key, value in features.items()
        if isinstance(value, dict) and value.get("_type") == "ClassLabel"
    }


def _require(columns: Sequence[str]) -> None:
    for name in ("image", "label"):
        if name not in columns:
            message = f"column {name!r} is missing; found {', '.join(columns)}"
            raise ValueError(message)


def _rows(
    table: pa.Table,
    labels: Mapping[str, Sequence[str]],
    group: str | None,
    indices: dict[str, int | None],
) -> pa.Table:
    """Columns as `from_table` wants them, photo_id first; adds to `indices`."""

    def column(key: str) -> list[Any]:
        if key not in table.column_names:
            return [None] * len(table)
        values = list(table.column(key).to_pylist())
        if names := labels.get(key):
            return [None if v is None or v < 0 else names[v] for v in values]
        return [None if v is None else str(v) for v in values]

    kinds = column("label")
    if None in kinds:
        message = f"row {kinds.index(None)} has no label"
        raise ValueError(message)
    for name in [*labels.get("label", ()), *kinds]:
        if name not in indices:
            indices[name] = imagenet.find(name)
    if "imagenet_index" in table.column_names:
        given = table.column("imagenet_index").to_pylist()
        indices.update(zip(kinds, given, strict=True))
    groups = column("group") if "group" in table.column_names else [group] * len(table)
    near = "cluster" if "cluster" in table.column_names else "observation_id"
    columns = {
        "photo_id": column("photo_id"),
        "class_name": kinds,
        "background": column("background"),
        "group": groups,
        "cluster": column(near),
    }
    return build(columns, pa.schema([(key, pa.string()) for key in columns]))


def _with_ids(part: pa.Table, ids: Sequence[str]) -> pa.Table:
    column = build({"photo_id": ids}, pa.schema([("photo_id", pa.string())]))
    return part.set_column(0, "photo_id", column.column(0))


class _ShardReader:
    """Reads pictures out of Parquet, a row group at a time, the last two kept."""

    _KEPT = 2

    def __init__(self) -> None:
        self._place: dict[str, tuple[Path, int, int]] = {}
        self._recent: dict[tuple[Path, int], pa.ChunkedArray] = {}
        self._lock = threading.Lock()

    def add(
        self, path: Path, file: pq.ParquetFile, ids: Sequence[str | None]
    ) -> list[str]:
        """Remember where each row's picture is; a missing id becomes the sha256."""
        found: list[str] = []
        for number in range(file.num_row_groups):
            rows = file.metadata.row_group(number).num_rows
            some = list(ids[len(found) : len(found) + rows])
            if None in some:
                images = file.read_row_group(number, ["image"]).column("image")
                some = [own or _digest(images[row]) for row, own in enumerate(some)]
            for row, key in enumerate(some):
                self._place.setdefault(str(key), (path, number, row))
            found.extend(str(key) for key in some)
        return found

    def read(self, photo_id: str) -> bytes:
        path, number, row = self._place[photo_id]
        with self._lock:
            images = self._recent.get((path, number))
            if images is None:
                file = pq.ParquetFile(path)
                images = file.read_row_group(number, ["image"]).column("image")
                while len(self._recent) >= self._KEPT:
                    self._recent.pop(next(iter(self._recent)))
                self._recent[path, number] = images
        return _picture(images[row], path.parent)


def _picture(image: pa.Scalar, folder: Path) -> bytes:
    value = image.as_py() or {}
    if value.get("bytes"):
        return bytes(value["bytes"])
    if value.get("path"):
        return Path(folder, str(value["path"])).read_bytes()
    return b""


def _digest(image: pa.Scalar) -> str:
    return hashlib.sha256(_picture(image, Path())).hexdigest()
