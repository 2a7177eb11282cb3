"""Predictions to results: accuracies and drops with intervals, also per class.

Results are in points (0-100), unrounded; the drop is derived in `metrics/drop.py` from
unrounded accuracies, and nowhere else.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.errors import MetricError
from evaluation.intervals import bootstrap_accuracy, bootstrap_balanced
from evaluation.metrics import Outcomes, outcomes
from evaluation.metrics.accuracy import balanced, counts, micro, worst
from evaluation.metrics.drop import ClassDrops, drops
from evaluation.results import Cell, ClassDrop, Interval, Result, Results

if TYPE_CHECKING:
    import pyarrow as pa

    from evaluation.examples import ExampleSet

LEVEL = 0.95
DRAWS = 2000
METADATA = b"counterset"


def score(
    examples: "ExampleSet",
    predictions: "Mapping[str, pa.Table]",
    *,
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = 0,
) -> Results:
    """Score models on an example set.

    Args:
        examples: what was asked.
        predictions: by model name, as `evaluation.predict.predict` returns them.
        level: coverage of the intervals, in (0, 1).
        draws: bootstrap replicates.
        seed: of the bootstrap.

    Returns: a result per model, in order.

    Raises:
        MetricError: a model answered no photo, or the examples have groups and no
            class has answered photos in both.
    """
    return Results(
        tuple(
            _score(examples, name, table, level=level, draws=draws, seed=seed)
            for name, table in predictions.items()
        )
    )


def _score(
    examples: "ExampleSet",
    model: str,
    table: "pa.Table",
    *,
    level: float,
    draws: int,
    seed: int,
) -> Result:
    found = outcomes(examples.table, table)
    if not len(found.correct):
        message = (
            f"model {model!r} answered none of the {len(table)} photos of dataset "
            f"{examples.name!r}; the predictions say why for each"
        )
        raise MetricError(message)
    about = json.loads((table.schema.metadata or {}).get(METADATA, b"{}"))
    accuracy_ci = bootstrap_accuracy(
        found.correct,
        classes=found.classes,
        clusters=found.clusters,
        level=level,
        draws=draws,
        seed=seed,
    )
    lowest = worst(found.correct, found.classes, found.groups)
    grouped = {}
    if examples.grouped:
        grouped = _grouped(examples, found, level=level, draws=draws, seed=seed)
    return Result(
        model=model,
        dataset=examples.name,
        label_space=about.get("label_space", {}).get("name", ""),
        prompts=(about.get("prompts") or {}).get("name"),
        accuracy=100 * balanced(found.correct, found.classes),
        accuracy_ci=_points(accuracy_ci),
        micro=100 * micro(found.correct),
        n_photos=len(found.correct),
        n_failed=len(table) - len(found.correct),
        worst=_cells(
            found, found.classes, level=level, only=(lowest.cell[0], lowest.cell[1])
        )[0],
        classes=_cells(found, found.classes, level=level),
        backgrounds=_cells(found, found.backgrounds, level=level),
        provenance=about,
        **grouped,
    )


def _grouped(
    examples: "ExampleSet", found: Outcomes, *, level: float, draws: int, seed: int
) -> dict[str, Any]:
    """The fields of a result that need the groups."""
    per_class = drops(found.correct, found.groups, found.classes)
    inside = np.isin(found.groups, ["common", "counter"])
    settings: dict[str, Any] = {
        "classes": found.classes[inside],
        "clusters": found.clusters[inside],
        "level": level,
        "draws": draws,
        "seed": seed,
    }
    right, common = found.correct[inside], found.groups[inside] == "common"
    photos = bootstrap_balanced(right, common, **settings)
    classes = bootstrap_balanced(right, common, resample="classes", **settings)
    both = per_class.balanced
    each = per_class.micro
    asked = {
        name
        for name, group in zip(
            examples.table.column("class_name").to_pylist(),
            examples.table.column("group").to_pylist(),
            strict=True,
        )
        if group is not None
    }
    left_out = tuple(sorted(asked - {str(name) for name in per_class.classes}))
    return {
        "common": 100 * both[0],
        "counter": 100 * both[1],
        "drop": 100 * per_class.balanced_drop,
        "common_ci": _points(photos.common),
        "counter_ci": _points(photos.counter),
        "drop_ci": _points(photos.drop),
        "drop_ci_classes": _points(classes.drop),
        "micro_common": 100 * each[0],
        "micro_counter": 100 * each[1],
        "n_common": int(per_class.n[:, 0].sum()),
        "n_counter": int(per_class.n[:, 1].sum()),
        "balanced": not left_out,
        "left_out": left_out,
        "drops": _class_drops(per_class),
    }


def _class_drops(found: ClassDrops) -> tuple[ClassDrop, ...]:
    return tuple(
        ClassDrop(
            name=str(name),
            common=100 * float(accuracy[0]),
            counter=100 * float(accuracy[1]),
            drop=100 * float(drop),
            n_common=int(n[0]),
            n_counter=int(n[1]),
        )
        for name, accuracy, drop, n in zip(
            found.classes, found.accuracy, found.drop, found.n, strict=True
        )
    )


def _cells(
    found: Outcomes,
    names: Any,  # noqa: ANN401
    *,
    level: float,
    only: tuple[str, str] | None = None,
) -> tuple[Cell, ...]:
    """Cells of a name and the group; photos without the name are left out."""
    named = names != ""
    if not named.any():
        return ()
    table = counts(found.correct[named], names[named], found.groups[named])
    low, high = table.interval(level)
    return tuple(
        Cell(
            name=str(key[0]),
            group=str(key[1]),
            k=int(table.k[row]),
            n=int(table.n[row]),
            accuracy=100 * float(table.accuracy[row]),
            ci=_points((float(low[row]), float(high[row]))),
        )
        for row, key in enumerate(table.keys)
        if only is None or tuple(key) == only
    )


def _points(bounds: tuple[float, float]) -> Interval:
    """Fractions to points; nan, where a bound is undefined, to None."""
    low, high = bounds
    if np.isnan(low) or np.isnan(high):
        return None
    return 100 * low, 100 * high
