"""Predictions per photo, with everything that made them written beside.

Features come from the store or from one pass over the photos (`extract`); prompts,
label spaces and probabilities are worked out of the features (`answers`), so asking
another question of the same photos costs no image work.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from evaluation.answers import (
    ROWS_AT_ONCE,
    UNLABELLED,
    Answers,
    Asked,
    provenance,
    right_columns,
    word_vectors,
)
from evaluation.examples import ExampleSet
from evaluation.extract import Features, Models, Progress, extract
from evaluation.features import FeatureStore
from evaluation.label_spaces import label_space as open_label_space
from evaluation.prompts import prompt_set
from evaluation.tables import build

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "SCHEMA",
    "Asked",
    "FeatureStore",
    "Features",
    "answer",
    "predict",
    "predictions",
]

TOP = 5
METADATA = b"counterset"
SCHEMA = pa.schema(
    [
        pa.field("photo_id", pa.string(), nullable=False),
        pa.field("class_name", pa.string(), nullable=False),
        pa.field("background", pa.string()),
        pa.field("group", pa.string()),
        # key of the right class in the label space: ImageNet index or position; null
        # where the photo shows none of its classes
        pa.field("label", pa.int64()),
        pa.field("predicted", pa.int64()),
        pa.field("predicted_name", pa.string()),
        # softmax over the label space, float32
        pa.field("probability", pa.float32()),
        pa.field("label_probability", pa.float32()),
        # natural logarithm, which does not underflow
        pa.field("label_log_probability", pa.float32()),
        # 1: predicted; equal logits are ranked by column
        pa.field("label_rank", pa.int64()),
        # keys of the five most probable, or of all when there are fewer
        pa.field("top5", pa.list_(pa.int64())),
        pa.field("correct", pa.bool_()),
        # scores of how known the photo looks, temperature 1; `probability` is one too
        pa.field("max_logit", pa.float32()),
        pa.field("energy", pa.float32()),
        # of image-text models only: the largest softmax of the cosines themselves
        pa.field("mcm", pa.float32()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("error", pa.string()),
    ]
)
"""Columns of a predictions table; null where the status is failed."""


def predict(
    examples: ExampleSet,
    model_names: Sequence[str],
    *,
    store: FeatureStore,
    prompts: str = "paper",
    label_space: str = "imagenet",
    batch_size: int | None = None,
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
        batch_size: photos a model sees at once; None lets the device choose.
        jobs: threads that decode.
        together: models held in memory at once; each such batch of models decodes the
            photos once.
        progress: told how far the pass over the photos is.

    Returns: by model name, one row per example in its order (`SCHEMA`); the schema's
        metadata has the provenance as JSON (see `answers.provenance`).

    Raises:
        ConfigError: an unknown name, a class outside the label space, or an ImageNet
            classifier asked for classes that are not in ImageNet.
        RemoteError: weights are not at hand and cannot be fetched.
    """
    names = list(dict.fromkeys(model_names))
    known = Models(store)
    found: dict[str, pa.Table] = {}
    for start in range(0, len(names), together):
        answers = answer(
            examples,
            names[start : start + together],
            Asked(prompts=prompts, label_space=label_space),
            known=known,
            batch_size=batch_size,
            jobs=jobs,
            progress=progress,
        )
        found |= {name: predictions(one) for name, one in answers.items()}
        known.forget()
    return found


def answer(
    examples: ExampleSet,
    model_names: Sequence[str],
    asked: Asked,
    *,
    known: Models,
    batch_size: int | None = None,
    jobs: int = 2,
    progress: Progress | None = None,
) -> dict[str, Answers]:
    """Answers of models that are held in memory together, the photos decoded once.

    Args:
        examples: photos.
        model_names: full names.
        asked: prompts, class names and label space.
        known: loaded models, and the store of their features.
        batch_size: photos a model sees at once; None lets the device choose.
        jobs: threads that decode.
        progress: told how far the pass over the photos is.

    Raises:
        ConfigError: as `predict`.
        RemoteError: weights are not at hand and cannot be fetched.
    """
    space = open_label_space(
        asked.label_space or examples.label_space,
        examples.classes,
        class_names=asked.class_names,
    )
    if asked.label_space_name:
        space = replace(space, name=asked.label_space_name)
    own = right_columns(examples, space)
    prompts = prompt_set(asked.prompts)
    names = list(dict.fromkeys(model_names))
    speaking = [name for name in names if known.record(name).kind == "lvlm"]
    features = extract(
        [name for name in names if name not in speaking],
        examples.table.column("photo_id").to_pylist(),
        examples.read,
        store=known.store,
        batch_size=batch_size,
        jobs=jobs,
        progress=progress,
        loaded=known,
    )
    if speaking:
        from evaluation.losses import features_over
    for name in speaking:
        features[name] = features_over(
            name,
            examples.table.column("photo_id").to_pylist(),
            examples.read,
            space,
            own,
            known=known,
            asked=asked.question,
            reduction=asked.reduction,
            jobs=jobs,
            progress=progress,
        )
    told = f"{asked.question}, {asked.reduction} over tokens"
    return {
        name: Answers(
            examples=examples,
            features=features[name],
            space=space,
            prompts=prompts,
            ensemble=asked.ensemble,
            words=word_vectors(
                name, space, prompts, known=known, ensemble=asked.ensemble
            ),
            own=own,
            asked=told if name in speaking else "",
        )
        for name in names
    }


def predictions(answers: Answers) -> pa.Table:
    """Answers as a table: one row per example in its order (`SCHEMA`).

    The schema's metadata has the provenance as JSON.
    """
    space, good, own = answers.space, answers.good, answers.own
    keys = np.array(space.keys, np.int64)
    labelled = own != UNLABELLED
    found = _ranked(answers)

    def present(name: str, where: "NDArray[np.bool_]") -> list[Any]:
        values = found[name].tolist() if name in found else [None] * len(good)
        return [v if ok else None for v, ok in zip(values, where, strict=True)]

    known = good & labelled
    column = present("column", good)
    data = {
        name: answers.examples.table.column(name).to_pylist()
        for name in ("photo_id", "class_name", "background", "group")
    }
    data |= {
        "label": [
            int(keys[c]) if has else None
            for c, has in zip(own.tolist(), labelled, strict=True)
        ],
        "predicted": [None if c is None else space.keys[c] for c in column],
        "predicted_name": [None if c is None else space.names[c] for c in column],
        "top5": [
            None if five is None else [space.keys[c] for c in five if c >= 0]
            for five in present("top5", good)
        ],
        "correct": [
            c == right if has else None
            for c, right, has in zip(column, own.tolist(), known, strict=True)
        ],
        "status": ["ok" if ok else "failed" for ok in good],
        "error": list(answers.features.errors),
    }
    for name in ("label_probability", "label_log_probability", "label_rank"):
        data[name] = present(name, known)
    for name in ("probability", "max_logit", "energy", "mcm"):
        data[name] = present(name, good)
    metadata = {METADATA: json.dumps(provenance(answers), sort_keys=True).encode()}
    return build(data, SCHEMA).replace_schema_metadata(metadata)


def _ranked(answers: Answers) -> "dict[str, NDArray[Any]]":
    """Everything per row; rows that failed hold values of no meaning."""
    parts: list[Mapping[str, NDArray[Any]]] = []
    count = len(answers.good)
    for start in range(0, count if answers.good.any() else 0, ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        values, own = answers.logits(rows), answers.own[rows]
        parts.append(_rank(values, own, answers.cosines(rows)))
    if not parts:
        return {}
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _rank(
    values: "NDArray[np.float32]",
    own: "NDArray[np.int64]",
    cosines: "NDArray[np.float32] | None",
) -> "Mapping[str, NDArray[Any]]":
    """Predicted column, its probability, and the label's, for each row of logits."""
    row = np.arange(len(values))
    order = _first(values, min(TOP, values.shape[1]))
    largest = values[row, order[:, 0]]
    shifted = values - largest[:, None]
    total = np.exp(shifted).sum(axis=1, dtype=np.float64)
    label = values[row, own]
    earlier = np.arange(values.shape[1])[None, :] < own[:, None]
    above = (values > label[:, None]) | ((values == label[:, None]) & earlier)
    log_share = (label - largest).astype(np.float64) - np.log(total)
    found = {
        "column": order[:, 0],
        "probability": (1 / total).astype(np.float32),
        "label_probability": np.exp(log_share).astype(np.float32),
        "label_log_probability": log_share.astype(np.float32),
        "label_rank": 1 + above.sum(axis=1),
        "top5": order,
        "max_logit": largest,
        "energy": (largest + np.log(total)).astype(np.float32),
    }
    if cosines is not None:
        high = cosines.max(axis=1, keepdims=True)
        spread = np.exp(cosines - high).sum(axis=1, dtype=np.float64)
        found["mcm"] = (1 / spread).astype(np.float32)
    return found


def _first(values: "NDArray[np.float32]", count: int) -> "NDArray[np.int64]":
    """(N, count) columns of the largest logits, largest first.

    Of equal logits the lowest column comes first; -1 where no more are offered.
    """
    left = values.copy()
    row = np.arange(len(values))
    order = np.empty((len(values), count), np.int64)
    for place in range(count):
        best = left.argmax(axis=1)
        order[:, place] = np.where(left[row, best] == -np.inf, -1, best)
        left[row, best] = -np.inf
    return order
