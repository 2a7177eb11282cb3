"""propose: the embedding model's guess at the background, for people to confirm.

A background's direction is the mean of its prompts' embeddings, made unit length. With
cosines c and the model's logit scale s, probabilities are softmax(s c / T). T is the
temperature under which the answers people gave so far are most probable (least mean
negative log-likelihood); with fewer than 20 such photos T is 1. Where the best
probability is below `abstain_below`, no proposal is made.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation import embeddings
from curation.config import Dataset
from curation.errors import ConfigError
from curation.schemas import from_rows
from curation.stages import resolve
from curation.stages.dedup import merged
from evaluation import models

VERSION = 1
OUTPUT = "proposals"
INPUTS = ("photos", "embeddings", "label_events", "duplicates")
ROWS = "reduce"

MIN_LABELLED = 20
"""Photos with a verdict on their background that a temperature needs."""

TEMPERATURES = (0.01, 100.0)
"""Bounds of the fitted temperature."""

Real = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Settings:
    """What changes the table.

    Attributes:
        model: name of the model that embedded.
        identity: tells its weights from others of the same name.
        classes: names and their wording in prompts.
        backgrounds: names and their prompts.
        temperature: fixed temperature; None fits it.
        abstain_below: probability under which no proposal is made.
        resolve: how answers become the verdicts a temperature is fitted on.
    """

    model: str
    identity: str
    classes: tuple[tuple[str, str], ...]
    backgrounds: tuple[tuple[str, tuple[str, ...]], ...]
    temperature: float | None
    abstain_below: float
    resolve: resolve.Settings


def settings(config: Dataset) -> Settings:
    """This stage's part of the configuration."""
    return Settings(
        model=config.embed.model,
        identity=models.identity(config.embed.model),
        classes=tuple((c.name, c.label or c.name) for c in config.classes),
        backgrounds=tuple((b.name, tuple(b.prompts)) for b in config.backgrounds),
        temperature=config.propose.temperature,
        abstain_below=config.propose.abstain_below,
        resolve=resolve.settings(config),
    )


def run(inputs: Mapping[str, pa.Table], settings: Settings) -> pa.Table:
    """Propose a background for every kept photo that has an embedding.

    Args:
        inputs: `photos`, `embeddings`, `label_events` and `duplicates`.
        settings: of this stage.

    Returns: `proposals`, sorted by photo_id.

    Raises:
        ConfigError: the model reads no text, so there is nothing to compare with.
    """
    gone = merged(inputs["duplicates"])
    classes = {
        photo["photo_id"]: photo["class"]
        for photo in inputs["photos"].select(["photo_id", "class"]).to_pylist()
        if photo["photo_id"] not in gone
    }
    ids, vectors = embeddings.matrix(inputs["embeddings"])
    have = [place for place, photo_id in enumerate(ids) if photo_id in classes]
    if not have:
        return from_rows([], OUTPUT)
    ids, vectors = [ids[place] for place in have], vectors[have]
    scores = _scores(vectors, [classes[photo_id] for photo_id in ids], settings)
    names = [name for name, _ in settings.backgrounds]
    truth = _verdicts(inputs["label_events"], settings)
    known = [p for p, photo_id in enumerate(ids) if truth.get(photo_id) in names]
    answers = np.array([names.index(truth[ids[place]]) for place in known], np.int64)
    temperature, used = settings.temperature or 1.0, 0
    if settings.temperature is None and len(known) >= MIN_LABELLED:
        temperature, used = fit_temperature(scores[known], answers), len(known)
    probabilities = embeddings.softmax(scores / temperature)
    rows: list[dict[str, object]] = []
    for photo_id, p in zip(ids, probabilities, strict=True):
        first, second = np.argsort(-p, kind="stable")[:2]
        rows.append(
            {
                "photo_id": photo_id,
                "background": names[first],
                "probability": float(p[first]),
                "margin": float(p[first] - p[second]),
                "second": names[second],
                "abstained": bool(p[first] < settings.abstain_below),
                "probabilities": p.tolist(),
                "temperature": temperature,
                "calibrated_on": used,
            }
        )
    return from_rows(rows, OUTPUT)


def fit_temperature(scores: Real, answers: NDArray[np.int64]) -> float:
    """Temperature of least negative log-likelihood.

    The likelihood is concave in 1 / T, so it has one peak in log T too, which golden
    section finds to a millionth. Where every answer is the top score the best T is the
    lower bound.

    Args:
        scores: (N, B) scores before the softmax.
        answers: (N,) columns that people chose.

    Returns: T within `TEMPERATURES`.
    """

    def loss(log_t: float) -> float:
        scaled = scores / math.exp(log_t)
        peak = scaled.max(axis=1, keepdims=True)
        total = np.log(np.exp(scaled - peak).sum(axis=1)) + peak[:, 0]
        return float((total - scaled[np.arange(len(answers)), answers]).mean())

    low, high = (math.log(bound) for bound in TEMPERATURES)
    ratio = (math.sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = loss(left), loss(right)
    while high - low > 1e-6:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = loss(right)
    return math.exp((low + high) / 2)


def _scores(vectors: embeddings.Matrix, classes: list[str], settings: Settings) -> Real:
    """Logit scale × cosine with each background, (N, B)."""
    tower = embeddings.text_model(settings.model)
    if tower is None:
        message = (
            f"embed.model: {settings.model!r} reads no text, and proposals compare "
            "photos with the backgrounds' prompts; choose an open_clip model"
        )
        raise ConfigError(message)
    labels = dict(settings.classes)
    sentences = {
        name: [
            [prompt.replace("{}", labels.get(name, name)) for prompt in prompts]
            for _, prompts in settings.backgrounds
        ]
        for name in sorted(set(classes))
    }
    distinct = sorted({s for all_ in sentences.values() for some in all_ for s in some})
    place = {sentence: row for row, sentence in enumerate(distinct)}
    texts = embeddings.texts(tower, distinct)
    scores = np.empty((len(vectors), len(settings.backgrounds)))
    of = np.array(classes)
    for name, per_background in sentences.items():
        directions = np.stack(
            [
                embeddings.mean_direction(texts[[place[s] for s in some]])
                for some in per_background
            ]
        )
        rows = np.flatnonzero(of == name)
        scores[rows] = tower.logit_scale * (vectors[rows] @ directions.T)
    return scores


def _verdicts(events: pa.Table, settings: Settings) -> dict[str, str]:
    """Background people agreed on, by photo."""
    labels = resolve.run({"label_events": events}, settings.resolve)
    return {
        row["photo_id"]: row["verdict"]
        for row in labels.to_pylist()
        if row["question"] == "background" and row["verdict"] is not None
    }
