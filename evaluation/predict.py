"""Predictions per photo, with everything that made them written beside.

Features come from the store or from one pass over the photos (`extract`); prompts,
label spaces and probabilities are worked out of the features, so asking another
question of the same photos costs no image work.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from evaluation.errors import ConfigError
from evaluation.examples import ExampleSet
from evaluation.extract import Features, Models, Progress, extract
from evaluation.features import FeatureStore, ModelRecord
from evaluation.label_spaces import LabelSpace, label_space
from evaluation.prompts import PromptSet, classifier, prompt_set
from evaluation.tables import build

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evaluation.models import ZeroShotModel

__all__ = [
    "SCHEMA",
    "FeatureStore",
    "Features",
    "class_vectors",
    "extract",
    "logits",
    "predict",
    "provenance",
]

TOP = 5
METADATA = b"counterset"
SCHEMA = pa.schema(
    [
        pa.field("photo_id", pa.string(), nullable=False),
        pa.field("class_name", pa.string(), nullable=False),
        pa.field("background", pa.string()),
        pa.field("group", pa.string()),
        # key of the right class in the label space: ImageNet index or position
        pa.field("label", pa.int64(), nullable=False),
        pa.field("predicted", pa.int64()),
        pa.field("predicted_name", pa.string()),
        # softmax over the label space, float32
        pa.field("probability", pa.float32()),
        pa.field("label_probability", pa.float32()),
        # 1: predicted; equal logits are ranked by column
        pa.field("label_rank", pa.int64()),
        # keys of the five most probable, or of all when there are fewer
        pa.field("top5", pa.list_(pa.int64())),
        pa.field("correct", pa.bool_()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("error", pa.string()),
    ]
)
"""Columns of a predictions table; null where the status is failed."""

_ROWS_AT_ONCE = 4096


def predict(
    examples: ExampleSet,
    model_names: Sequence[str],
    *,
    store: FeatureStore,
    prompts: str = "paper",
    label_space: str = "imagenet",
    batch_size: int = 64,
    jobs: int = 2,
    together: int = 4,
    progress: Progress | None = None,
) -> dict[str, pa.Table]:
    """What each model says of each example.

    Args:
        examples: labelled photos.
        model_names: full names, such as "timm:resnet50".
        store: where features are kept; what it has is not computed again.
        prompts: a prompt set's name or file; classifiers do not use it.
        label_space: a label space's name or file.
        batch_size: photos a model sees at once.
        jobs: threads that decode.
        together: models held in memory at once; each such batch of models decodes the
            photos once.
        progress: told how far the pass over the photos is.

    Returns: by model name, one row per example in its order (`SCHEMA`); the schema's
        metadata has the provenance as JSON (see `provenance`).

    Raises:
        ConfigError: an unknown name, a class outside the label space, or an ImageNet
            classifier asked for classes that are not in ImageNet.
        RemoteError: weights are not at hand and cannot be fetched.
    """
    space = _label_space(label_space, examples)
    columns = np.array(space.columns(examples.classes), np.int64)
    wanted = prompt_set(prompts)
    photo_ids = examples.table.column("photo_id").to_pylist()
    positions = np.array(examples.table.column("position").to_pylist(), np.int64)
    own = columns[positions] if len(positions) else np.zeros(0, np.int64)
    names = list(dict.fromkeys(model_names))
    known = Models(store)
    found = {}
    for start in range(0, len(names), together):
        some = names[start : start + together]
        features = extract(
            some,
            photo_ids,
            examples.read,
            store=store,
            batch_size=batch_size,
            jobs=jobs,
            progress=progress,
            loaded=known,
        )
        for name in some:
            weights = class_vectors(name, space, wanted, known=known)
            table = _table(examples, features[name], space, weights, own)
            about = provenance(features[name].record, space, wanted, examples)
            found[name] = table.replace_schema_metadata(
                {METADATA: json.dumps(about, sort_keys=True).encode()}
            )
        known.forget()
    return found


def provenance(
    record: ModelRecord, space: LabelSpace, prompts: PromptSet, examples: ExampleSet
) -> dict[str, Any]:
    """Everything that decides a prediction, ready for JSON."""
    zero_shot = record.kind == "zero_shot"
    return {
        "model": record.name,
        "kind": record.kind,
        "weights": record.weights,
        "dtype": record.dtype,
        "quick_gelu": record.quick_gelu,
        "note": record.note,
        "preprocessing": asdict(record.spec),
        "logit_scale": record.logit_scale,
        "logit_bias": record.logit_bias,
        "prompts": {
            "name": prompts.name,
            "sha256": prompts.sha256,
            "templates": len(prompts.templates),
        }
        if zero_shot
        else None,
        "label_space": {
            "name": space.name,
            "keyed_by": space.keyed_by,
            "classes": len(space.keys),
            "names_sha256": space.sha256,
        },
        "dataset": examples.name,
        "versions": record.versions,
    }


def class_vectors(
    name: str, space: LabelSpace, prompts: PromptSet, *, known: Models
) -> "NDArray[np.float32] | None":
    """Zero-shot classifier of a label space, from the store where it has the names.

    Returns: (C, D) float32, unit rows in column order; None for an ImageNet classifier.

    Raises:
        ConfigError: an ImageNet classifier, and classes that are not in ImageNet.
    """
    record = known.record(name)
    if record.kind == "classifier":
        if space.keyed_by != "imagenet":
            message = (
                f"model {name!r} knows ImageNet's classes only, and the dataset has "
                "others; measure it on a dataset of ImageNet classes"
            )
            raise ConfigError(message)
        return None
    parts = known.store.texts(record, prompts.sha256)
    texts = parts.read()
    missing = [one for one in dict.fromkeys(space.names) if one not in texts.place]
    if missing:
        model = known.load(name)
        parts.append(missing, classifier(_reads_text(model), missing, prompts))
        texts = parts.read()
    rows = [texts.place[one] for one in space.names]
    vectors: NDArray[np.float32] = texts.values[rows]
    return vectors


def logits(
    features: Features,
    rows: slice,
    space: LabelSpace,
    vectors: "NDArray[np.float32] | None",
) -> "NDArray[np.float32]":
    """Logits of some rows over a label space, in float32.

    Args:
        features: unit embeddings, or ImageNet logits.
        rows: which of them.
        space: C classes.
        vectors: (C, D) zero-shot classifier; None for an ImageNet classifier.

    Returns: (rows, C) float32.
    """
    values = features.values[rows]
    if vectors is None:
        return values[:, list(space.keys)]
    # equal names must give equal logits to the last bit, so each is computed once
    _, first, place = np.unique(
        np.array(space.names), return_index=True, return_inverse=True
    )
    cosines = values @ vectors[first].T
    scale = np.float32(features.record.logit_scale)
    bias = np.float32(features.record.logit_bias)
    scaled: NDArray[np.float32] = (cosines * scale + bias)[:, place]
    return scaled


def _label_space(name: str, examples: ExampleSet) -> LabelSpace:
    return label_space(name, examples.classes)


def _reads_text(model: object) -> "ZeroShotModel":
    from evaluation.models import ZeroShotModel

    assert isinstance(model, ZeroShotModel)
    return model


def _table(
    examples: ExampleSet,
    features: Features,
    space: LabelSpace,
    vectors: "NDArray[np.float32] | None",
    own: "NDArray[np.int64]",
) -> pa.Table:
    keys = np.array(space.keys, np.int64)
    good = np.array([error is None for error in features.errors], bool)
    answers: dict[str, list[Any]] = {
        name: []
        for name in ("column", "probability", "label_probability", "rank", "top5")
    }
    for start in range(0, len(good) if good.any() else 0, _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        part = _rank(logits(features, rows, space, vectors), own[rows])
        for name, values in part.items():
            answers[name].extend(values.tolist())

    def present(name: str) -> list[Any]:
        values = answers[name] or [None] * len(good)
        return [v if ok else None for v, ok in zip(values, good, strict=True)]

    column = present("column")
    data = {
        name: examples.table.column(name).to_pylist()
        for name in ("photo_id", "class_name", "background", "group")
    }
    data |= {
        "label": keys[own].tolist(),
        "predicted": [None if c is None else space.keys[c] for c in column],
        "predicted_name": [None if c is None else space.names[c] for c in column],
        "probability": present("probability"),
        "label_probability": present("label_probability"),
        "label_rank": present("rank"),
        "top5": [
            None if five is None else [space.keys[c] for c in five]
            for five in present("top5")
        ],
        "correct": [
            None if c is None else c == right
            for c, right in zip(column, own.tolist(), strict=True)
        ],
        "status": ["ok" if ok else "failed" for ok in good],
        "error": list(features.errors),
    }
    return build(data, SCHEMA)


def _rank(
    values: "NDArray[np.float32]", own: "NDArray[np.int64]"
) -> "Mapping[str, NDArray[Any]]":
    """Predicted column, its probability, and the label's, for each row of logits."""
    row = np.arange(len(values))
    # stable: of equal logits the lowest column comes first
    order = np.argsort(-values, axis=1, kind="stable")[:, :TOP]
    shifted = np.exp(values - values.max(axis=1, keepdims=True))
    shares = shifted / shifted.sum(axis=1, keepdims=True)
    label = values[row, own][:, None]
    earlier = np.arange(values.shape[1])[None, :] < own[:, None]
    rank = 1 + ((values > label) | ((values == label) & earlier)).sum(axis=1)
    return {
        "column": order[:, 0],
        "probability": shares[row, order[:, 0]],
        "label_probability": shares[row, own],
        "rank": rank,
        "top5": order,
    }
