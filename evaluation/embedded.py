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
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evaluation import imagenet
from evaluation.errors import ConfigError, InputError, RemoteError
from evaluation.examples import COUNTED, ExampleSet, Reader, from_table
from evaluation.hub import head
from evaluation.tables import build

_HUB = re.compile(r"hub:([\w.-]+/[\w.-]+)(?:@([^#]+))?(?:#([^,]+(?:,[^,]+)*))?")
_LABEL_NAMES = ("label", "wnid", "synset", "wordnet_id", "cls")
_LABELS = frozenset(_LABEL_NAMES)
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


def open_hub(
    spec: str, *, prefer: Sequence[str] = (), labelled: bool = True
) -> ExampleSet:
    """Load `hub:<org>/<name>[@<revision>][#<split>[,<split>]]` by the datasets library.

    Splits named common and counter are the groups; otherwise column `group` is.

    Args:
        spec: the name; without splits, all are loaded.
        prefer: of these splits the first that there is, where the name has none.
        labelled: whether every photo must have a label.

    Raises:
        ConfigError: the name is not of that form, or has no such split.
        RemoteError: the Hub cannot be reached, or does not have it.
        InputError: a column is missing.
    """
    form = _HUB.fullmatch(spec)
    if not form:
        message = (
            f"dataset {spec!r}: the form is "
            "hub:<org>/<name>[@<revision>][#<split>[,<split>]]"
        )
        raise ConfigError(message)
    repo, revision, named = form.groups()
    what = f"dataset {spec!r}"
    advice = "download it, and name its folder instead"
    path = f"datasets/{repo}/resolve/{revision or 'main'}/README.md"
    head(path, needed_for=what, advice=advice)

    import datasets

    wanted = named.split(",") if named else []
    try:
        if not wanted and prefer:
            there = datasets.get_dataset_split_names(repo, revision=revision)
            wanted = [one for one in prefer if one in there][:1] or there
        if wanted:
            splits = {
                one: datasets.load_dataset(repo, revision=revision, split=one)
                for one in wanted
            }
        else:
            splits = datasets.load_dataset(repo, revision=revision)
    except Exception as error:  # the library's own kinds, and those below it
        message = f"{what}: {' '.join(str(error).split())[:300]}; {advice}"
        if str(error).startswith("Unknown split"):
            raise ConfigError(message) from error
        raise RemoteError(message) from error
    return from_splits(spec, splits, labelled=labelled)


def hub_file(spec: str, name: str) -> bytes | None:
    """A file beside the data that `open_hub` loads; None where there is none.

    Args:
        spec: as `open_hub` takes it.
        name: path in the repository.

    Raises:
        RemoteError: the Hub does not answer.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    form = _HUB.fullmatch(spec)
    if not form:
        return None
    repo, revision, _ = form.groups()
    try:
        path = hf_hub_download(repo, name, repo_type="dataset", revision=revision)
    except EntryNotFoundError:
        return None
    except Exception as error:  # the library's own kinds, and those below it
        message = f"dataset {spec!r}: {name}: {' '.join(str(error).split())[:300]}"
        raise RemoteError(message) from error
    return Path(path).read_bytes()


def from_splits(
    name: str, splits: Mapping[str, Any], *, labelled: bool = True
) -> ExampleSet:
    """An example set from a `datasets.DatasetDict`.

    Pictures are in column `image`, or else in the only one of that type (such as
    `jpg` of a WebDataset). Labels are in `label`, or else in `wnid`, `synset`,
    `wordnet_id` or `cls`.

    Args:
        name: what reports call it.
        splits: datasets by split; `test` without labels is an error, so leave it out.
        labelled: whether every photo must have a label; a photo without is of the
            class `name` otherwise.

    Raises:
        InputError: a column is missing.
    """
    import datasets

    place: dict[str, pa.Scalar] = {}
    indices: dict[str, int | None] = {}
    parts = []
    for split, dataset in splits.items():
        if not labelled and not _LABELS & set(dataset.column_names):
            dataset = dataset.add_column("label", [name] * len(dataset))
        try:
            images_of, label_of = _columns(dataset.features)
        except ValueError as error:
            message = f"dataset {name!r}, split {split}: {error}"
            raise InputError(message) from error
        stored = dataset.cast_column(images_of, datasets.Image(decode=False))
        others = {"image", "label"} - {images_of, label_of}
        stored = stored.remove_columns(sorted(others & set(stored.column_names)))
        table = stored.with_format("arrow")[:]
        renamed = {images_of: "image", label_of: "label"}
        table = table.rename_columns([renamed.get(c, c) for c in table.column_names])
        labels = {
            renamed.get(key, key): list(value.names)
            for key, value in dataset.features.items()
            if isinstance(value, datasets.ClassLabel)
        }
        group = split if split in COUNTED else None
        try:
            part = _rows(table, labels, group, indices, "" if labelled else name)
        except ValueError as error:
            message = (
                f"dataset {name!r}, split {split}: {error}; name the split that has "
                "labels, as in hub:<org>/<name>#validation"
            )
            raise InputError(message) from error
        images = table.column("image")
        ids = []
        for row, known in enumerate(part.column("photo_id").to_pylist()):
            key = known or _digest(images[row])
            place.setdefault(key, images[row])
            ids.append(key)
        parts.append(_with_ids(part, ids))
    read: Reader = lambda photo_id: _picture(place[photo_id], Path())  # noqa: E731
    return from_table(name, pa.concat_tables(parts), read, indices=indices)


def _columns(features: Mapping[str, object]) -> tuple[str, str]:
    """Names of the columns with pictures and with labels.

    Numbers without names say less than a WordNet id, so that is taken before them.
    """
    import datasets

    pictures = [key for key, one in features.items() if isinstance(one, datasets.Image)]
    image = pictures[0] if len(pictures) == 1 else "image"
    labels = [one for one in _LABEL_NAMES if one in features]
    numbers = [
        one
        for one in labels
        if isinstance(kind := features[one], datasets.Value) and "int" in kind.dtype
    ]
    label = next((one for one in labels if one not in numbers), "label")
    if label == "label" and numbers:
        label = numbers[0]
    for name in (image, label):
        if name not in features:
            message = f"column {name!r} is missing; found {', '.join(features)}"
            raise ValueError(message)
    return image, label


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
    unlabelled: str = "",
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
    if unlabelled:
        kinds = [unlabelled if kind is None else kind for kind in kinds]
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
        "file": _file_names(table),
    }
    return build(columns, pa.schema([(key, pa.string()) for key in columns]))


def _file_names(table: pa.Table) -> list[str | None]:
    """Names of the files that the pictures once were, where that is stored."""
    if "image" not in table.column_names:
        return [None] * len(table)
    paths = [
        path.as_py()
        for chunk in table.column("image").chunks
        for path in pc.struct_field(chunk, "path")
    ]
    return [Path(path).name if path else None for path in paths]


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
