"""collect: source pages → candidates. Names what there is, opens no picture.

What sources on the network answer is kept in crawls, and every run selects from them
anew: they are asked only for what the quotas still want. A folder is read every time.
"""

import hashlib
import json
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from curation import collecting, crawls
from curation.collecting import Asking, hashes, identified
from curation.config import Dataset
from curation.pipeline import Route
from curation.schemas import conform
from curation.selection import Tally
from curation.sources import source

VERSION = 2
OUTPUT = "candidates"
INPUTS = ("takedowns",)

_PART = 32_768
"""Rows of a part of the table."""


def settings(config: Dataset) -> dict[str, Any]:
    """Sources and class names; where a source is remote, what is asked and selected."""
    content: dict[str, Any] = {
        "sources": [spec.model_dump(mode="json") for spec in config.sources],
        "classes": [spec.name for spec in config.classes],
    }
    if any(source(spec.kind).REMOTE for spec in config.sources):
        content["collect"] = config.collect.model_dump(mode="json")
        content["targets"] = [
            [spec.label, spec.scientific_name] for spec in config.classes
        ]
    return content


def intact(route: Route) -> bool:
    """Whether nothing needs to be asked: a folder may have changed at any time."""
    remark = route.shelf.remarked("collect", route.recipe("collect"))
    if not remark or remark["short"]:
        return False
    asked = collecting.foreseen(route.config)
    names = [unit.crawl for unit in asked or []]
    return names == remark["crawls"] and all(
        name and route.shelf.crawl_parts(name) for name in names
    )


def run(route: Route) -> int:
    """Ask every source for what is wanted; returns how many records are new."""
    with ExitStack() as stack:
        asking = Asking(route, stack)
        listed, table = asking.units(), Candidates(route)
        for unit in listed:
            for rows in asking.records(unit):
                table.add(rows, place=unit.place, failing=not unit.module.REMOTE)
    table.finish(
        {"crawls": [unit.crawl for unit in listed], "short": bool(asking.troubles)}
    )
    route.troubles.extend(asking.troubles)
    return table.new


@dataclass(slots=True)
class Candidates:
    """The table in the making: rows come in, numbered parts go out.

    Attributes:
        new: rows that the table did not have before.
        failed: rows that no choice of ours refused.
    """

    route: Route
    new: int = 0
    failed: int = 0
    _rows: int = 0
    _held: list[pl.DataFrame] = field(default_factory=list)
    _digests: list[str] = field(default_factory=list)
    _before: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        """Remember what the table has now."""
        if self.route.done("collect"):
            for rows in self.route.batches(OUTPUT, ["candidate_id"]):
                self._before.add(hashes(rows))

    def add(self, rows: pl.DataFrame, *, place: int, failing: bool) -> None:
        """Add rows of one source; `failing` ones are refused for what they are."""
        if rows.is_empty():
            return
        start = self._rows
        order = pl.int_range(start, start + rows.height, dtype=pl.Int64)
        self._held.append(rows.with_columns(place=pl.lit(place, pl.Int64), order=order))
        self._rows += rows.height
        self.new += int((self._before.counts(hashes(rows)) == 0).sum())
        if failing:
            self.failed += rows["refused"].count()
        if sum(held.height for held in self._held) >= _PART:
            whole = pl.concat(self._held)
            while whole.height >= _PART:
                self._write(whole.head(_PART))
                whole = whole.slice(_PART)
            self._held = [whole]

    def _write(self, rows: pl.DataFrame) -> None:
        digest = self.route.shelf.draft(
            "collect",
            self.route.recipe("collect"),
            len(self._digests),
            # in one piece, or the bytes of the part would tell how the rows came
            conform(rows.rechunk().to_arrow(), OUTPUT).combine_chunks(),
        )
        self._digests.append(digest)

    def finish(self, remark: dict[str, Any]) -> None:
        """Put the table in place, unless it is what is there already."""
        left = pl.concat(self._held) if self._held else identified(crawls.frame([]))
        if left.height or not self._digests:
            empty = {"place": pl.lit(0, pl.Int64), "order": pl.lit(0, pl.Int64)}
            self._write(left if self._held else left.with_columns(**empty))
        route, recipe = self.route, self.route.recipe("collect")
        text = json.dumps(self._digests)
        fingerprint = hashlib.sha256(text.encode()).hexdigest()[:32]
        done = route.done("collect")
        if done and done.fingerprint == fingerprint:
            route.shelf.scrap("collect", recipe)
        else:
            route.shelf.replace("collect", recipe)
        route.shelf.remark("collect", recipe, remark)
        route.mark("collect", self._rows, fingerprint, failed=self.failed)
