"""Answers of models that do not exist, made of numbers: for what needs no photo."""

from dataclasses import replace

import numpy as np
import pyarrow as pa

from evaluation.answers import Answers, right_columns
from evaluation.examples import from_table
from evaluation.extract import Features
from evaluation.features import ModelRecord
from evaluation.label_spaces import label_space
from evaluation.models import PixelSpec
from evaluation.prompts import PromptSet

CLASSES = {"goldfish": 1, "hen": 8, "ostrich": 9, "polar bear": 296}


def record(name="timm:made_up", **changes):
    plain = ModelRecord(
        name=name,
        kind="classifier",
        spec=PixelSpec(size=224),
        weights="f" * 64,
        dtype="float32",
        quick_gelu=None,
        note="",
        logit_scale=1.0,
        logit_bias=0.0,
        link="softmax",
        normalisation=(),
        versions={},
    )
    return replace(plain, **changes)


def unread(photo_id):
    message = f"photo {photo_id} was read"
    raise AssertionError(message)


def examples(classes, *, name="made-up", role="", groups=None, indices=CLASSES,
             ids=None, clusters=None, files=None):  # fmt: skip
    columns = {
        "photo_id": ids or [f"{row:064x}" for row in range(len(classes))],
        "class_name": list(classes),
    }
    for key, values in (("group", groups), ("cluster", clusters), ("file", files)):
        if values is not None:
            columns[key] = list(values)
    found = from_table(name, pa.table(columns), unread, indices=indices)
    return replace(found, role=role) if role else found


def answers(about, values, *, model=None, space="imagenet", words=None, prompts=None,
            ensemble="embeddings", errors=None):  # fmt: skip
    """Answers of one model: `values` are its features of the examples `about`."""
    values = np.asarray(values, np.float32)
    if isinstance(space, str):
        space = label_space(space, about.classes)
    ids = about.table.column("photo_id").to_pylist()
    features = Features(
        record=model or record(),
        photo_ids=tuple(ids),
        values=values,
        errors=tuple(errors or [None] * len(ids)),
        computed=0,
    )
    return Answers(
        examples=about,
        features=features,
        space=space,
        prompts=prompts or PromptSet("paper", ("A photo of {}.",)),
        ensemble=ensemble,
        words=words,
        own=right_columns(about, space),
    )


def logits(about, *, accuracy, seed=0, margin=4.0):
    """ImageNet logits that are right about a share of the photos, drawn at random.

    `accuracy` is a number, or one for each example.
    """
    rng = np.random.default_rng(seed)
    labels = about.table.column("label").to_pylist()
    values = rng.normal(0, 1, (len(labels), 1000)).astype(np.float32)
    right = rng.random(len(labels)) < accuracy
    for row, label in enumerate(labels):
        other = (0 if label is None else label) + 1
        values[row, label if right[row] and label is not None else other] += margin
    return values
