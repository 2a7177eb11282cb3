"""Models on the groups: a row per result, points per model and per class."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from curation.reports.charts import Point
from curation.reports.facts import Estimate, Facts, demonstration, estimate
from evaluation.intervals import wilson

NAMED = 7  # classes named in a scatter that has no room for all


@dataclass(frozen=True, slots=True)
class Score:
    """One result of `evaluate`; accuracies and the drop in points, 0-100.

    Attributes:
        model: full name.
        standing: discovery (backgrounds were chosen with it), sibling or independent.
        demo: a demonstration model.
        note: what its backend says a reader must know.
        label_space: names it chose among.
        prompts: prompt set; "" for classifiers.
        common: accuracy on common backgrounds.
        counter: accuracy on counter backgrounds.
        drop: the difference.
        left_out: classes that have no answered photos in one of the groups.
        classes: (class, common, counter): the result's own, else of the predictions.
    """

    model: str
    standing: str
    demo: bool
    note: str
    label_space: str
    prompts: str
    common: Estimate
    counter: Estimate
    drop: Estimate
    left_out: tuple[str, ...] = ()
    classes: tuple[tuple[str, Estimate, Estimate], ...] = ()


def read(facts: Facts) -> list[Score]:
    """Results, discovery model first, then its siblings, then the others."""
    order = ("discovery", "sibling", "independent")
    scores = [_score(facts, result) for result in facts.results]
    return sorted(scores, key=lambda s: (order.index(s.standing), s.model))


def _score(facts: Facts, result: Mapping[str, object]) -> Score:
    model = str(result.get("model", ""))
    return Score(
        model=model,
        standing=facts.standing(model),
        demo=demonstration(model),
        note=str(result.get("note") or ""),
        label_space=str(result.get("label_space") or ""),
        prompts=str(result.get("prompts") or ""),
        common=_estimate(result, "common"),
        counter=_estimate(result, "counter"),
        drop=_estimate(result, "drop"),
        left_out=_names(result.get("left_out")),
        classes=_per_class(result.get("classes")) or from_predictions(facts, model),
    )


def _estimate(result: Mapping[str, object], key: str) -> Estimate:
    return estimate(result.get(key), result.get(f"{key}_ci"), n=result.get(f"n_{key}"))


def _names(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list | tuple) else ()


def _per_class(cells: object) -> tuple[tuple[str, Estimate, Estimate], ...]:
    """Per-class accuracies of a result: its cells of one class and group each."""
    found: dict[tuple[str, str], Estimate] = {}
    for cell in cells if isinstance(cells, list) else []:
        if isinstance(cell, Mapping):
            key = (str(cell.get("name")), str(cell.get("group")))
            found[key] = estimate(cell.get("accuracy"), cell.get("ci"), n=cell.get("n"))
    return _paired(found)


def _paired(
    cells: Mapping[tuple[str, str], Estimate],
) -> tuple[tuple[str, Estimate, Estimate], ...]:
    """Classes that have both groups, by name."""
    return tuple(
        (name, cells[name, "common"], cells[name, "counter"])
        for name in sorted({name for name, _ in cells})
        if (name, "common") in cells and (name, "counter") in cells
    )


def from_predictions(
    facts: Facts, model: str
) -> tuple[tuple[str, Estimate, Estimate], ...]:
    """Per-class accuracies of a model from the predictions table, Wilson intervals.

    These are answers among the dataset's own classes.
    """
    chosen = (
        facts.frame("predictions")
        .filter(pl.col("model") == model, pl.col("status") == "ok")
        .select("photo_id", "correct")
        .join(facts.frame("groups").filter(pl.col("group") != "unused"), on="photo_id")
        .group_by("class", "group")
        .agg(pl.len().alias("n"), pl.col("correct").sum().alias("k"))
    )
    return _paired(
        {
            (row["class"], row["group"]): proportion(row["k"], row["n"])
            for row in chosen.iter_rows(named=True)
        }
    )


def proportion(k: int, n: int) -> Estimate:
    """A share in percents with its Wilson interval; unknown when n is 0."""
    if not n:
        return Estimate(n=0)
    low, high = wilson(k, n)
    return Estimate(100 * k / n, 100 * float(low), 100 * float(high), n)


def points(scores: list[Score]) -> list[Point]:
    """One point per model."""
    return [
        Point(
            label=score.model.partition(":")[2] if len(scores) < 12 else "",
            across=score.common,
            up=score.counter,
            kind=score.standing,
            note=score.model,
        )
        for score in scores
    ]


def class_points(score: Score) -> list[Point]:
    """One point per class of one model; of many, the largest gaps are named."""
    gaps = sorted(
        score.classes, key=lambda c: -abs((c[1].value or 0) - (c[2].value or 0))
    )
    named = {name for name, _, _ in gaps[: NAMED if len(gaps) > 2 * NAMED else None]}
    return [
        Point(
            label=name if name in named else "",
            across=common,
            up=counter,
            kind=score.standing,
            note=name,
        )
        for name, common, counter in score.classes
    ]
