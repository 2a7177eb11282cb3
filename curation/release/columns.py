"""The columns of a release, said once: for Parquet, for the loader and for the card."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from curation.errors import InputError
from curation.schemas import GROUPS

Columns = Mapping[str, "Column"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        kind: "image", "class" (an integer that stands for one of `names`), "strings"
            (any number of texts), or the name of a plain type, such as "string".
        meaning: what the card says of it.
        names: the classes, for kind "class".
    """

    kind: str
    meaning: str
    names: tuple[str, ...] = ()


_TYPES = {
    "image": pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    "class": pa.int64(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "string": pa.string(),
    "bool": pa.bool_(),
    "strings": pa.list_(pa.string()),
}


def photo_columns(classes: Sequence[str]) -> dict[str, Column]:
    """Columns of the photos, in every file: configs `default` and `all` share them."""
    return {
        "image": Column("image", "the photo, as fetched but for its metadata"),
        "label": Column("class", "the class of animal", tuple(classes)),
        "imagenet_index": Column(
            "int64", "the class's place in ImageNet-1k, 0-999; null outside it"
        ),
        "background": Column("string", "background that people confirmed"),
        "group": Column("class", "common or counter; unused in `all` only", GROUPS),
        "photo_id": Column("string", "sha256 of the file's bytes as fetched"),
        "observation_id": Column("string", "photos that share it show one encounter"),
        "cluster": Column(
            "string",
            "photos that share it are not independent: of one observation or burst, "
            "or linked by a copy",
        ),
        "licence": Column("string", "licence of the photo"),
        "author": Column("string", "who made it, as the source states it"),
        "source_url": Column("string", "page that shows the photo"),
        "title": Column("string", "title given by the source"),
        "composed": Column("bool", "put together from several pictures, not taken"),
        "proposal": Column("string", "background proposed by the model"),
        "proposal_probability": Column("float64", "its calibrated probability, 0-1"),
        "proposal_abstained": Column(
            "bool", "the probability was too low for the proposal to be shown"
        ),
        "agreement": Column("float64", "share of annotators who gave this background"),
        "annotators": Column("int64", "number of annotators"),
        "reason": Column("string", "why it is in neither group; null where it is"),
    }


def pair_columns(classes: Sequence[str]) -> dict[str, Column]:
    """Columns of config `pairs`: one row per class."""
    return {
        "label": Column("class", "the class of animal", tuple(classes)),
        "imagenet_index": Column("int64", "place in ImageNet-1k, 0-999, or null"),
        "common_background": Column("string", "background of split common"),
        "counter_background": Column("string", "background of split counter"),
        "n_common": Column("int64", "photos in split common"),
        "n_counter": Column("int64", "photos in split counter"),
        "common_clusters": Column("int64", "independent clusters of them"),
        "counter_clusters": Column("int64", "independent clusters of them"),
        "common_accuracy": Column("float64", "discovery model's accuracy, 0-100"),
        "common_accuracy_low": Column("float64", "lower end of its 95 % interval"),
        "common_accuracy_high": Column("float64", "upper end of its 95 % interval"),
        "counter_accuracy": Column("float64", "discovery model's accuracy, 0-100"),
        "counter_accuracy_low": Column("float64", "lower end of its 95 % interval"),
        "counter_accuracy_high": Column("float64", "upper end of its 95 % interval"),
        "naive_drop": Column("float64", "points; chosen and measured on the same"),
        "naive_low": Column("float64", "lower end of its 95 % interval"),
        "naive_high": Column("float64", "upper end of its 95 % interval"),
        "cross_drop": Column("float64", "points; chosen and measured on halves"),
        "cross_low": Column("float64", "lower end of its 95 % interval"),
        "cross_high": Column("float64", "upper end of its 95 % interval"),
        "p_value": Column("float64", "permutation test of no drop"),
        "q_value": Column("float64", "Benjamini-Hochberg over classes"),
        "models": Column("strings", "discovery models: results selected on them"),
        "common_photos": Column("strings", "photo_ids in split common, sorted"),
        "counter_photos": Column("strings", "photo_ids in split counter, sorted"),
    }


def arrow_schema(columns: Columns) -> pa.Schema:
    """Arrow schema whose metadata tells `datasets` the features."""
    features = {name: _feature(column) for name, column in columns.items()}
    info = json.dumps({"info": {"features": features}}, ensure_ascii=False)
    return pa.schema(
        [(name, _TYPES[column.kind]) for name, column in columns.items()],
        metadata={"huggingface": info},
    )


def yaml_features(columns: Columns) -> list[dict[str, object]]:
    """The same features as a card's `dataset_info` writes them."""
    return [{"name": name} | _dtype(column) for name, column in columns.items()]


def class_names(schema: pa.Schema, column: str) -> tuple[str, ...]:
    """Names a written ClassLabel column stands for.

    Raises:
        InputError: the file was not written by `datasets` or by this package.
    """
    try:
        info = json.loads((schema.metadata or {})[b"huggingface"])
        return tuple(info["info"]["features"][column]["names"])
    except (KeyError, ValueError, TypeError) as error:
        message = f"column {column!r} does not name its classes: not a release"
        raise InputError(message) from error


def _feature(column: Column) -> dict[str, object]:
    if column.kind == "image":
        return {"_type": "Image"}
    if column.kind == "class":
        return {"names": list(column.names), "_type": "ClassLabel"}
    if column.kind == "strings":
        return {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"}
    return {"dtype": column.kind, "_type": "Value"}


def _dtype(column: Column) -> dict[str, object]:
    if column.kind == "class":
        names = {str(place): name for place, name in enumerate(column.names)}
        return {"dtype": {"class_label": {"names": names}}}
    return {"list": "string"} if column.kind == "strings" else {"dtype": column.kind}
