"""What a report is about: tables, results, and how to name them to a reader."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import polars as pl
import pyarrow as pa

from curation import schemas
from curation.config import Dataset
from curation.discovery import selected_on

SIMULATED = re.compile(r"^(demo|sim)", re.IGNORECASE)
"""Pseudonyms of annotators that are programs begin like this."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval; None for what could not be estimated.

    Attributes:
        value: points or percents, 0-100; a drop may be negative.
        low: lower end.
        high: upper end.
        n: photos it rests on.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None

    @property
    def known(self) -> bool:
        """There is a number to show."""
        return self.value is not None

    @property
    def bounded(self) -> bool:
        """The number has an interval."""
        return self.value is not None and None not in (self.low, self.high)


@dataclass(frozen=True, slots=True)
class Facts:
    """All a report may draw on.

    Attributes:
        config: the dataset's configuration.
        frames: every table of `curation.schemas`, an empty frame for one not given.
        given: names of the tables that were given and have rows.
        there: names of the tables that were given.
        results: objects of `evaluate`'s JSON.
        truth: what a demonstration planted; empty for real work.
        provenance: versions, models, recipes.
        gold: answers known beforehand, by photo_id and question.
    """

    config: Dataset
    frames: Mapping[str, pl.DataFrame]
    given: frozenset[str]
    results: Sequence[Mapping[str, object]] = ()
    there: frozenset[str] = frozenset()
    truth: Mapping[str, object] = field(default_factory=dict)
    provenance: Mapping[str, object] = field(default_factory=dict)
    gold: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def frame(self, table: str) -> pl.DataFrame:
        """A table as a frame; no rows where it is missing."""
        return self.frames[table]

    def has(self, *tables: str) -> bool:
        """All these tables have rows."""
        return all(table in self.given for table in tables)

    def missing(self, *tables: str) -> list[str]:
        """Those of these tables that have no rows."""
        return [table for table in tables if table not in self.given]

    @property
    def discovery(self) -> tuple[str, ...]:
        """Models the backgrounds were chosen with, as the evidence records them."""
        lists = self.frame("evidence").get_column("models").to_list()
        return tuple(dict.fromkeys(name for names in lists for name in names or ()))

    def standing(self, model: str) -> str:
        """How a model stands to the discovery: discovery, sibling or independent."""
        if model in self.discovery:
            return "discovery"
        weights = {
            str(result["model"]): str(result["weights"])
            for result in self.results
            if result.get("weights")
        }
        close = selected_on(model, self.discovery, weights=weights)
        return "sibling" if close else "independent"


def gather(
    config: Dataset,
    tables: Mapping[str, pa.Table],
    *,
    results: Sequence[Mapping[str, object]] = (),
    truth: Mapping[str, object] | None = None,
    provenance: Mapping[str, object] | None = None,
    gold: Mapping[tuple[str, str], str] | None = None,
) -> Facts:
    """Facts from what the caller has; a table that is missing counts as empty.

    Raises:
        InputError: a table lacks a column of its schema.
    """
    frames: dict[str, pl.DataFrame] = {}
    for name in schemas.SCHEMAS:
        given = tables.get(name)
        table = schemas.empty(name) if given is None else schemas.conform(given, name)
        frames[name] = cast("pl.DataFrame", pl.from_arrow(table))
    return Facts(
        config=config,
        frames=frames,
        given=frozenset(name for name, frame in frames.items() if frame.height),
        results=results,
        there=frozenset(tables),
        truth=truth or {},
        provenance=provenance or {},
        gold=gold or {},
    )


def demonstration(model: str) -> bool:
    """The model is for demonstration only, as its name says.

    `demo:lite*` are not: they carry ordinary ImageNet weights.
    """
    return model.startswith("demo:clip")


def number(value: object) -> float | None:
    """A finite float, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(float(value)) < float("inf") else None


def estimate(value: object, interval: object = None, *, n: object = None) -> Estimate:
    """An estimate from JSON-like values: a number, and [low, high] or nothing.

    Example:
        >>> estimate(30.0, [25, 35])
        Estimate(value=30.0, low=25.0, high=35.0, n=None)
    """
    low = high = None
    if isinstance(interval, list | tuple) and len(interval) == 2:
        low, high = number(interval[0]), number(interval[1])
    return Estimate(
        value=number(value), low=low, high=high, n=n if isinstance(n, int) else None
    )
