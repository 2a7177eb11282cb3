"""The discovery's evidence as rows: the drop per class, accuracy per background."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from curation.reports.facts import Estimate, Facts

SIGNIFICANT = 0.05
"""q-value up to which a class counts as shown to depend on the background."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cell:
    """Accuracy of the discovery model on one class and background, 0-100."""

    background: str
    group: str
    accuracy: Estimate
    n_clusters: int


@dataclass(frozen=True, slots=True)
class ClassDrop:
    """One class's drop in points, or that of all kept classes together.

    Attributes:
        name: class.
        kept: it is in the dataset.
        reason: why, or why not.
        common: background it is recognised best on.
        counter: background it is recognised worst on.
        naive: chosen and measured on the same photos.
        cross: chosen on one half, measured on the other.
        p: permutation test.
        q: after Benjamini and Hochberg over classes.
        cells: accuracy per background, best first.
        planted: background a demonstration planted, "" where it did not.
        published: (common, counter) the configuration records, "" where it does not.
    """

    name: str
    kept: bool
    reason: str
    common: str
    counter: str
    naive: Estimate
    cross: Estimate
    p: float | None
    q: float | None
    cells: tuple[Cell, ...]
    planted: str = ""
    published: tuple[str, str] = ("", "")

    @property
    def significant(self) -> bool:
        """The test rejects "no background matters" for this class."""
        return self.q is not None and self.q <= SIGNIFICANT

    @property
    def tested(self) -> bool:
        """The class had enough photos for a drop and a test."""
        return self.naive.known or self.cross.known


@dataclass(frozen=True, slots=True)
class Drops:
    """Everything the evidence says."""

    overall: ClassDrop | None
    classes: tuple[ClassDrop, ...]
    models: tuple[str, ...]

    @property
    def kept(self) -> tuple[ClassDrop, ...]:
        """Classes in the dataset."""
        return tuple(row for row in self.classes if row.kept)

    @property
    def tested(self) -> tuple[ClassDrop, ...]:
        """Classes a drop was estimated for."""
        return tuple(row for row in self.classes if row.tested)

    @property
    def untested(self) -> tuple[ClassDrop, ...]:
        """Classes with too few photos, or backgrounds, for a drop."""
        return tuple(row for row in self.classes if not row.tested)


def read(facts: Facts, planted: dict[str, str]) -> Drops:
    """Rows of the evidence, largest cross-fitted drop first."""
    evidence = facts.frame("evidence")
    cells: dict[str, list[Row]] = {}
    for row in _level(evidence, "background"):
        cells.setdefault(row["class"], []).append(row)
    published = {c.name: (c.common, c.counter) for c in facts.config.classes}
    classes = [
        _class_drop(
            row,
            cells.get(row["class"], []),
            planted=planted.get(row["class"], ""),
            published=published.get(row["class"], ("", "")),
        )
        for row in _level(evidence, "class")
    ]
    whole = _level(evidence, "dataset")
    return Drops(
        overall=_class_drop(whole[0], []) if whole else None,
        classes=tuple(sorted(classes, key=_largest_first)),
        models=facts.discovery,
    )


def _level(evidence: pl.DataFrame, level: str) -> list[Row]:
    return evidence.filter(pl.col("level") == level).to_dicts()


def _largest_first(row: ClassDrop) -> tuple[bool, float, str]:
    drop = row.cross.value if row.cross.value is not None else row.naive.value
    return (drop is None, -(drop or 0.0), row.name)


def _class_drop(
    row: Row,
    cells: Sequence[Row],
    *,
    planted: str = "",
    published: tuple[str, str] = ("", ""),
) -> ClassDrop:
    named = {cell["group"]: cell["background"] for cell in cells}
    return ClassDrop(
        name=row["class"] or "all kept classes",
        kept=bool(row["kept"]),
        reason=row["reason"] or "",
        common=named.get("common") or "",
        counter=named.get("counter") or "",
        naive=_estimate(row, "naive"),
        cross=_estimate(row, "cross"),
        p=row["p_value"],
        q=row["q_value"],
        cells=tuple(sorted((_cell(cell) for cell in cells), key=_best_first)),
        planted=planted,
        published=published,
    )


def _estimate(row: Row, kind: str) -> Estimate:
    return Estimate(
        row[f"{kind}_drop"], row[f"{kind}_low"], row[f"{kind}_high"], row["n"]
    )


def _cell(row: Row) -> Cell:
    accuracy = Estimate(
        row["accuracy"], row["accuracy_low"], row["accuracy_high"], row["n"]
    )
    return Cell(
        background=row["background"],
        group=row["group"] or "unused",
        accuracy=accuracy,
        n_clusters=row["n_clusters"],
    )


def _best_first(cell: Cell) -> tuple[float, str]:
    value = cell.accuracy.value
    return (101.0 if value is None else -value, cell.background)
