"""discover: what grouping rests on, per background, per class and for the dataset."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from curation.config import Dataset
from curation.discovery import (
    ClassFinding,
    Estimate,
    Findings,
    Photos,
    Plan,
    Rule,
    discover,
    votes,
)
from curation.discovery.verified import verified
from curation.errors import InputError
from curation.schemas import empty, from_rows
from evaluation.intervals import wilson

VERSION = 4
OUTPUT = "evidence"
INPUTS = ("photos", "duplicates", "leaks", "labels", "predictions")
ROWS = "reduce"

Row = dict[str, object]


@dataclass(frozen=True, slots=True)
class Settings:
    """What changes the table.

    Attributes:
        reference: discovery models.
        vote: how several of them count: "mean" or "majority".
        classes, backgrounds: names in dataset.toml.
        min_drop_points, min_photos: the rule.
        splits, permutations, seed: what is drawn.
    """

    reference: tuple[str, ...]
    classes: tuple[str, ...]
    backgrounds: tuple[str, ...]
    min_drop_points: float
    min_photos: int
    splits: int
    permutations: int
    seed: int
    vote: str = "mean"


def settings(config: Dataset) -> Settings:
    """This stage's part of the configuration."""
    group = config.group
    return Settings(
        reference=tuple(dict.fromkeys(group.reference)),
        # sorted: their order in the file changes nothing here
        classes=tuple(sorted(spec.name for spec in config.classes)),
        backgrounds=tuple(sorted(spec.name for spec in config.backgrounds)),
        min_drop_points=group.min_drop_points,
        min_photos=group.min_photos,
        splits=group.splits,
        permutations=group.permutations,
        seed=group.seed,
        vote=group.vote,
    )


def run(inputs: Mapping[str, pa.Table], settings: Settings) -> pa.Table:
    """Judge every class.

    A photo counts when `curation.discovery.verified` lets it and every discovery model
    has a prediction for it.

    Args:
        inputs: `photos`, `duplicates`, `leaks`, `labels` and `predictions`.
        settings: of this stage.

    Returns: `evidence`: the dataset's row first, then classes by name, each followed by
        its backgrounds, most photos first. `n`, `correct` and `accuracy` count all
        photos of the row; above the level background they are micro averages. Empty
        when no photo is verified.

    Raises:
        InputError: photos are verified, but a discovery model has no predictions.
    """
    frame = verified(
        inputs, classes=settings.classes, backgrounds=settings.backgrounds
    ).filter(pl.col("reason").is_null())
    if frame.is_empty():
        return empty(OUTPUT)
    photos, correct = _with_predictions(
        frame, inputs["predictions"], settings.reference
    )
    right, voters = votes(correct, how=settings.vote)
    findings = discover(
        Photos(
            photo_id=photos["photo_id"].to_numpy().astype(str),
            classes=photos["class"].to_numpy().astype(str),
            background=photos["background"].to_numpy().astype(str),
            cluster=photos["cluster"].to_numpy().astype(str),
            votes=right,
            voters=voters,
        ),
        rule(settings),
        plan=Plan(settings.splits, settings.permutations, settings.seed),
    )
    models: Row = {"models": list(settings.reference)}
    return from_rows([row | models for row in _rows(findings, settings)], OUTPUT)


def rule(settings: Settings) -> Rule:
    """The rule these settings state."""
    return Rule(settings.min_drop_points, settings.min_photos)


def _with_predictions(
    frame: pl.DataFrame, predictions: pa.Table, models: tuple[str, ...]
) -> tuple[pl.DataFrame, "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]"]:
    """Photos every model has judged, and (N, J) whether it was right."""
    table = pl.from_arrow(predictions)
    assert isinstance(table, pl.DataFrame)
    names = []
    for place, model in enumerate(models):
        own = table.filter(
            (pl.col("model") == model)
            & (pl.col("status") == "ok")
            & pl.col("correct").is_not_null()
        ).select("photo_id", pl.col("correct").alias(f"model {place}"))
        before = frame.height
        frame = frame.join(own, on="photo_id", how="inner")
        if frame.is_empty():
            message = (
                f"{model} has no predictions for any of {before} verified photos; "
                "run `counterset run --until predict` first"
            )
            raise InputError(message)
        names.append(f"model {place}")
    frame = frame.sort("photo_id")
    return frame, frame.select(names).to_numpy().astype(bool)


def _rows(findings: Findings, settings: Settings) -> list[Row]:
    """Rows of the table, without the models."""
    rows: list[Row] = []
    for finding in findings.classes:
        rows.append(_class_row(finding))
        rows.extend(
            _background_row(finding, place, settings.min_photos)
            for place in range(len(finding.counts.backgrounds))
        )
    kept = sum(finding.pick.kept for finding in findings.classes)
    total: Row = {
        "level": "dataset",
        "reason": f"{kept} of {len(findings.classes)} classes kept",
        **_counted(
            sum(int(f.counts.n.sum()) for f in findings.classes),
            sum(len(f.counts.photos) for f in findings.classes),
            sum(float(f.counts.correct.sum()) for f in findings.classes),
        ),
        **_drops(findings.naive, findings.cross),
    }
    return [total, *rows]


def _class_row(finding: ClassFinding) -> Row:
    counts = finding.counts
    return {
        "level": "class",
        "class": counts.name,
        "kept": finding.pick.kept,
        "reason": finding.pick.reason,
        **_counted(
            int(counts.n.sum()), len(counts.photos), float(counts.correct.sum())
        ),
        **_drops(finding.naive, finding.cross),
        "p_value": _number(finding.p_value),
        "q_value": _number(finding.q_value),
    }


def _background_row(finding: ClassFinding, place: int, min_photos: int) -> Row:
    group, reason = _group(finding, place, min_photos)
    counts = finding.counts
    return {
        "level": "background",
        "class": counts.name,
        "background": counts.backgrounds[place],
        "group": group,
        "kept": finding.pick.kept,
        "reason": reason,
        **_counted(
            int(counts.n[place]),
            int(counts.n_clusters[place]),
            float(counts.correct[place]),
        ),
    }


def _group(finding: ClassFinding, place: int, min_photos: int) -> tuple[str, str]:
    """Group of a background, and why."""
    counts, picked = finding.counts, finding.pick
    if counts.n[place] < min_photos:
        return "unused", f"too few photos: {counts.n[place]} of {min_photos}"
    if not picked.eligible[place]:
        return "unused", "all its photos are of one observation or burst"
    if picked.common < 0:
        return "unused", "class not kept: no second background has enough photos"
    if not picked.kept:
        return "unused", f"class not kept: drop {picked.drop:.1f} points"
    if place == picked.common:
        return "common", "highest accuracy"
    if place == picked.counter:
        return "counter", "lowest accuracy"
    return "unused", "background between"


def _counted(n: int, n_clusters: int, correct: float) -> Row:
    low, high = wilson(correct, n)
    return {
        "n": n,
        "n_clusters": n_clusters,
        "correct": correct,
        "accuracy": 100 * correct / n,
        "accuracy_low": 100 * float(low),
        "accuracy_high": 100 * float(high),
    }


def _drops(naive: Estimate, cross: Estimate) -> Row:
    return {
        f"{name}_{part}": _number(getattr(estimate, part))
        for name, estimate in (("naive", naive), ("cross", cross))
        for part in ("drop", "low", "high")
    }


def _number(value: float) -> float | None:
    """A number, or null where there is none."""
    return value if np.isfinite(value) else None
