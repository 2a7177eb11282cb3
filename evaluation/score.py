"""Predictions to results: accuracies and drops with intervals, also per class.

Results are in points (0-100), unrounded; the drop is derived in `metrics/drop.py` from
unrounded accuracies, and nowhere else.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.errors import MetricError
from evaluation.intervals import bootstrap_accuracy, bootstrap_balanced
from evaluation.metrics import Outcomes, outcomes
from evaluation.metrics.accuracy import balanced, counts, micro, worst
from evaluation.metrics.drop import ClassDrops, drops

if TYPE_CHECKING:
    import pyarrow as pa

    from evaluation.examples import ExampleSet

LEVEL = 0.95
DRAWS = 2000
METADATA = b"counterset"

Interval = tuple[float, float] | None
"""Lower and upper bound in points; None where it is undefined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Accuracy of the photos that share some properties.

    Attributes:
        name: class or background.
        group: "common", "counter", or "" for photos without one.
        k: correct photos.
        n: photos.
        accuracy: points.
        ci: Wilson's interval, points.
    """

    name: str
    group: str
    k: int
    n: int
    accuracy: float
    ci: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassDrop:
    """One class's accuracies and drop, points."""

    name: str
    common: float
    counter: float
    drop: float
    n_common: int
    n_counter: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one model does on one dataset; all numbers in points.

    Attributes:
        model: full name.
        dataset: name of the example set.
        label_space: classes the model chose among.
        prompts: prompt set; None for an ImageNet classifier.
        accuracy: balanced accuracy of all photos, grouped or not.
        micro: accuracy of all photos.
        n_photos: photos answered.
        n_failed: photos that could not be read; they count nowhere else.
        common: balanced accuracy of the common group; None without groups.
        counter: balanced accuracy of the counter group.
        drop: common minus counter.
        drop_ci_classes: interval of the drop when classes are drawn, not photos.
        n_common: photos behind `common`.
        n_counter: photos behind `counter`.
        balanced: every class has answered photos in both groups. If not, the classes
            `left_out` count neither in `common` nor in `counter`.
        worst: lowest accuracy of a class in a group.
        classes: accuracy per class and group.
        backgrounds: accuracy per background and group.
        drops: per class with photos in both groups.
        provenance: everything that made the predictions.
    """

    model: str
    dataset: str
    label_space: str
    prompts: str | None
    accuracy: float
    accuracy_ci: Interval
    micro: float
    n_photos: int
    n_failed: int
    common: float | None = None
    counter: float | None = None
    drop: float | None = None
    common_ci: Interval = None
    counter_ci: Interval = None
    drop_ci: Interval = None
    drop_ci_classes: Interval = None
    micro_common: float | None = None
    micro_counter: float | None = None
    n_common: int = 0
    n_counter: int = 0
    balanced: bool = False
    left_out: tuple[str, ...] = ()
    worst: Cell
    classes: tuple[Cell, ...]
    backgrounds: tuple[Cell, ...]
    drops: tuple[ClassDrop, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def note(self) -> str:
        """What a reader must know of the model."""
        return str(self.provenance.get("note", ""))

    def summary(self) -> dict[str, Any]:
        """The line of `evaluate --json`."""
        keys = (
            "model dataset label_space prompts n_common n_counter common counter drop "
            "common_ci counter_ci drop_ci drop_ci_classes balanced left_out accuracy "
            "accuracy_ci micro micro_common micro_counter n_photos n_failed note"
        )
        line = {key: _plain(getattr(self, key)) for key in keys.split()}
        line["weights"] = self.provenance.get("weights")
        line["worst_group"] = _plain(self.worst)
        return line


@dataclass(frozen=True, slots=True)
class Results:
    """Results of any number of models and datasets."""

    rows: tuple[Result, ...]

    def __add__(self, other: "Results") -> "Results":
        return Results(self.rows + other.rows)

    def summary(self) -> list[dict[str, Any]]:
        """The lines of `evaluate --json`."""
        return [row.summary() for row in self.rows]

    def to_json(self) -> str:
        """Everything, for results.json."""
        details = [
            row.summary()
            | {
                "classes": _plain(row.classes),
                "backgrounds": _plain(row.backgrounds),
                "drops": _plain(row.drops),
                "provenance": dict(row.provenance),
            }
            for row in self.rows
        ]
        return json.dumps({"results": details}, indent=1, sort_keys=True) + "\n"


def few(names: Sequence[str], shown: int = 5) -> str:
    """Some names for people, and how many more there are.

    Example:
        >>> few(["a", "b", "c"], 2)
        'a, b and 1 more'
    """
    text = ", ".join(names[:shown])
    return f"{text} and {len(names) - shown} more" if len(names) > shown else text


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


def _plain(value: Any) -> Any:  # noqa: ANN401
    """What JSON can hold."""
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Cell | ClassDrop):
        return {key: _plain(getattr(value, key)) for key in value.__slots__}
    return value
