"""screen: scores in 0-1 for four faults, higher is worse; for people, never a drop.

The criteria are those the CounterAnimal paper filters by (arXiv:2403.11497, section 2).

label_noise
    1 - p(own class), where p is the mean of two opinions on the class: the zero-shot
    softmax over the dataset's class names, and the share of classes among the nearest
    neighbours. 1 where sources, or copies of the photo, say different classes.
ambiguity
    1 - (p of the likeliest class - p of the second): how evenly two classes claim it.
feature_noise
    1 - (1 - outlier)(1 - noise). outlier: how far the photo lies from the centre of its
    class, against the other photos of the class (logistic in the robust z-score of
    1 - cosine). noise: logistic in the estimated pixel noise.
clarity
    1 - (1 - blur)(1 - dark). blur: logistic in the logarithm of sharpness. dark:
    logistic in mean brightness.

Without a text tower, neighbours alone give p. Copies and photos of one observation are
no independent witnesses: they are left out of a photo's neighbours. A photo without an
embedding has no opinion of its class: 0 but for contradictions. Noise and sharpness
that were not measured (hashed by the fast path) count as no fault.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation import embeddings
from curation.config import Dataset
from curation.schemas import from_rows
from curation.stages.dedup import merged
from evaluation import models

VERSION = 1
OUTPUT = "flags"
INPUTS = ("photos", "hashes", "embeddings", "duplicates")
ROWS = "reduce"

PROMPT = "a photo of {}."
NEIGHBOURS = 10
"""Neighbours asked; at most half a class's usual number of photos."""

# each: where the score is 0.5, and the width of the logistic; from photos as they are,
# and the same photos blurred, darkened and made noisy
OUTLIER = (3.5, 0.5)  # robust z-score within the class
NOISE = (14.0, 2.0)  # grey levels
BLUR = (1.4, 0.15)  # log10 of sharpness
DARK = (0.10, 0.02)  # mean grey, 0-1
MIN_CLASS = 5
"""Photos a class needs before one can be an outlier of it."""

Real = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Settings:
    """What changes the table.

    Attributes:
        model: name of the model that embedded.
        identity: tells its weights from others of the same name.
        classes: names and their wording in prompts.
    """

    model: str
    identity: str
    classes: tuple[tuple[str, str], ...]


def settings(config: Dataset) -> Settings:
    """This stage's part of the configuration."""
    return Settings(
        model=config.embed.model,
        identity=models.identity(config.embed.model),
        classes=tuple((c.name, c.label or c.name) for c in config.classes),
    )


def run(inputs: Mapping[str, pa.Table], settings: Settings) -> pa.Table:
    """Score every photo.

    Args:
        inputs: `photos`, `hashes`, `embeddings` and `duplicates`.
        settings: of this stage.

    Returns: `flags`, one row per photo, sorted by photo_id.
    """
    photos = sorted(inputs["photos"].to_pylist(), key=lambda row: str(row["photo_id"]))
    if not photos:
        return from_rows([], OUTPUT)
    keepers = merged(inputs["duplicates"])
    measures = {row["photo_id"]: row for row in _measures(inputs["hashes"])}
    names = [name for name, _ in settings.classes]
    opinions = _opinions(photos, inputs["embeddings"], keepers, settings)
    contradicted = _contradicted(photos, keepers)
    rows: list[dict[str, object]] = []
    for photo in photos:
        photo_id = photo["photo_id"]
        p, outlier = opinions.get(photo_id, (None, 0.0))
        wrong = ambiguous = 0.0
        if p is not None and photo["class"] in names:
            wrong = 1 - float(p[names.index(photo["class"])])
            first, second = np.sort(p)[::-1][:2] if len(p) > 1 else (1.0, 0.0)
            ambiguous = 1 - float(first - second)
        noise, blur, dark = _seen(measures.get(photo_id, {}))
        rows.append(
            {
                "photo_id": photo_id,
                "label_noise": 1.0 if photo_id in contradicted else _unit(wrong),
                "feature_noise": _unit(1 - (1 - outlier) * (1 - noise)),
                "ambiguity": _unit(ambiguous),
                "clarity": _unit(1 - (1 - blur) * (1 - dark)),
            }
        )
    return from_rows(rows, OUTPUT)


def _measures(hashes: pa.Table) -> list[dict[str, Any]]:
    columns = ["photo_id", "status", "sharpness", "brightness", "noise"]
    rows: list[dict[str, Any]] = hashes.select(columns).to_pylist()
    return [row for row in rows if row["status"] == "ok"]


def _seen(measured: Mapping[str, Any]) -> tuple[float, float, float]:
    """Noise, blur and darkness, 0-1; 0 for what was not measured."""
    noise, sharp, bright = (
        measured.get(name) for name in ("noise", "sharpness", "brightness")
    )
    return (
        0.0 if noise is None else _above(noise, NOISE),
        0.0 if sharp is None else _below(float(np.log10(sharp + 1e-9)), BLUR),
        0.0 if bright is None else _below(bright, DARK),
    )


def _contradicted(
    photos: list[dict[str, object]], keepers: Mapping[str, str]
) -> set[str]:
    """Photos filed under two classes, by their sources or through copies."""
    classes: dict[str, set[str]] = {}
    for photo in photos:
        cluster = keepers.get(str(photo["photo_id"]), str(photo["photo_id"]))
        listed = photo["classes"]
        filed = set(listed) if isinstance(listed, list) else set()
        classes.setdefault(cluster, set()).update(filed | {str(photo["class"])})
    return {
        str(photo["photo_id"])
        for photo in photos
        if len(classes[keepers.get(str(photo["photo_id"]), str(photo["photo_id"]))]) > 1
    }


def _opinions(
    photos: list[dict[str, object]],
    table: pa.Table,
    keepers: Mapping[str, str],
    settings: Settings,
) -> dict[str, tuple[Real, float]]:
    """Probabilities of classes, and outlierness, of photos with an embedding."""
    ids, vectors = embeddings.matrix(table)
    by_id = {str(photo["photo_id"]): photo for photo in photos}
    have = [place for place, photo_id in enumerate(ids) if photo_id in by_id]
    if not have:
        return {}
    ids, vectors = [ids[place] for place in have], vectors[have]
    names = [name for name, _ in settings.classes]
    code = {name: place for place, name in enumerate(names)}
    classes = np.array([code.get(str(by_id[i]["class"]), -1) for i in ids], np.int64)
    witness = np.array([i not in keepers for i in ids]) & (classes >= 0)
    related = _related([by_id[i] for i in ids], keepers)
    p = _neighbour_opinion(vectors, classes, witness, related, len(names))
    shown = _zero_shot_opinion(vectors, settings)
    if shown is not None:
        p = (p + shown) / 2
    outliers = _outliers(vectors, classes, witness)
    return {
        photo_id: (p[row], float(outliers[row])) for row, photo_id in enumerate(ids)
    }


def _related(photos: list[dict[str, object]], keepers: Mapping[str, str]) -> Codes:
    """(N, 2): codes of the observation and of the duplicate cluster."""
    pairs = [
        (
            str(photo["observation_id"]),
            keepers.get(str(photo["photo_id"]), str(photo["photo_id"])),
        )
        for photo in photos
    ]
    columns = [
        np.unique([pair[side] for pair in pairs], return_inverse=True)[1]
        for side in (0, 1)
    ]
    return np.stack(columns, axis=1).astype(np.int64)


def _neighbour_opinion(
    vectors: embeddings.Matrix,
    classes: Codes,
    witness: NDArray[np.bool_],
    related: Codes,
    count: int,
) -> Real:
    """Shares of classes among a photo's nearest witnesses, smoothed by one vote.

    The smoothing vote is split over the classes as the witnesses are.
    """
    sizes = np.bincount(classes[witness], minlength=count).astype(np.float64)
    prior = (sizes + 1) / (sizes + 1).sum()
    usual = float(np.median(sizes[sizes > 0])) if sizes.any() else 0.0
    k = int(min(NEIGHBOURS, max(1, usual // 2), len(vectors)))
    opinion = np.tile(prior, (len(vectors), 1))
    for at, cosines in embeddings.blocks(vectors):
        rows = slice(at, at + len(cosines))
        cosines[:, ~witness] = -np.inf
        for column in related.T:
            cosines[column[rows, None] == column[None, :]] = -np.inf
        nearest = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
        valid = np.isfinite(np.take_along_axis(cosines, nearest, axis=1))
        votes = np.zeros((len(cosines), count))
        who = np.repeat(np.arange(len(cosines)), k).reshape(-1, k)
        np.add.at(votes, (who[valid], classes[nearest[valid]]), 1.0)
        total = valid.sum(axis=1, keepdims=True)
        opinion[rows] = (votes + prior) / (total + 1)
    return opinion


def _zero_shot_opinion(vectors: embeddings.Matrix, settings: Settings) -> Real | None:
    """Softmax over class names, or None where the model reads no text."""
    tower = embeddings.text_model(settings.model)
    if tower is None:
        return None
    prompts = [PROMPT.format(label) for _, label in settings.classes]
    cosines = vectors @ embeddings.texts(tower, prompts).T
    return embeddings.softmax(tower.logit_scale * cosines)


def _outliers(
    vectors: embeddings.Matrix, classes: Codes, witness: NDArray[np.bool_]
) -> Real:
    """How unlike the rest of its class each photo is, 0-1."""
    outliers = np.zeros(len(vectors))
    for code in np.unique(classes[classes >= 0]).tolist():
        members = np.flatnonzero(classes == code)
        voting = members[witness[members]]
        if len(voting) < MIN_CLASS:
            continue
        total = vectors[voting].sum(axis=0)
        # a photo does not pull the centre it is measured from
        centres = total[None, :] - vectors[members] * witness[members, None]
        centres = centres / np.linalg.norm(centres, axis=1, keepdims=True)
        apart = 1 - np.einsum("nd,nd->n", vectors[members], centres)
        usual = np.median(apart[witness[members]])
        spread = 1.4826 * np.median(np.abs(apart[witness[members]] - usual))
        scores = (apart - usual) / max(float(spread), 1e-6)
        outliers[members] = [_above(float(score), OUTLIER) for score in scores]
    return outliers


def _above(value: float, scale: tuple[float, float]) -> float:
    """Logistic that rises with the value."""
    middle, width = scale
    return float(1 / (1 + np.exp(-np.clip((value - middle) / width, -50, 50))))


def _below(value: float, scale: tuple[float, float]) -> float:
    """Logistic that falls with the value."""
    return 1 - _above(value, scale)


def _unit(score: float) -> float:
    return min(1.0, max(0.0, score))
