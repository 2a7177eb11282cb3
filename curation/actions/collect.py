"""collect: source pages → candidates. Names what there is, opens no picture.

What sources on the network answer is kept in crawls, and every run selects from them
anew: they are asked only for what the quotas still want. A folder is read every time.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from curation import crawls
from curation.config import Dataset, SourceSpec
from curation.crawls import Crawl
from curation.errors import HostBlocked, RemoteError
from curation.http import Door
from curation.pipeline import Route
from curation.schemas import conform
from curation.selection import Seen, Selection
from curation.shelf import Shelf
from curation.sources import Page, Source, Target, source

VERSION = 2
OUTPUT = "candidates"
INPUTS = ("takedowns",)

_EVERY = 2.0
"""Seconds between two lines of progress."""
_PART = 32_768
"""Rows of a part of the table."""
_GIVE_UP = 2
"""Classes in a row that a source fails at before it is left alone."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What is asked of a source at once: a class, or all of them.

    Attributes:
        place: which of dataset.toml's sources.
        spec: its section.
        module: its kind.
        targets: the classes.
        crawl: name of the crawl that keeps the answers; "" where nothing is kept.
    """

    place: int
    spec: SourceSpec
    module: Source
    targets: tuple[Target, ...]
    crawl: str

    @property
    def classes(self) -> list[str]:
        """Names of its classes."""
        return [target.name for target in self.targets]


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
    asked = units(route.config, targets(route.config))
    names = [unit.crawl for unit in asked]
    return names == remark["crawls"] and all(
        name and route.shelf.crawl_parts(name) for name in names
    )


def run(route: Route) -> int:
    """Ask every source for what is wanted; returns how many records are new."""
    with ExitStack() as stack:
        asking = Asking(route, stack)
        table = Candidates(route)
        listed = units(route.config, targets(route.config))
        for unit in listed:
            for rows in asking.records(unit):
                table.add(rows, place=unit.place, failing=not unit.module.REMOTE)
    table.finish(
        {"crawls": [unit.crawl for unit in listed], "short": bool(asking.troubles)}
    )
    route.troubles.extend(asking.troubles)
    return table.new


def targets(config: Dataset) -> list[Target]:
    """The classes as sources look for them."""
    return [
        Target(spec.name, spec.label or spec.name, spec.scientific_name)
        for spec in config.classes
    ]


def units(config: Dataset, wanted: Sequence[Target]) -> list[Unit]:
    """Everything that is asked, in order."""
    listed = []
    for place, spec in enumerate(config.sources):
        module = source(spec.kind)
        groups = [(one,) for one in wanted] if module.PER_CLASS else [tuple(wanted)]
        for group in groups:
            crawl = (
                crawls.identity(module, spec, group, config.collect)
                if module.REMOTE
                else ""
            )
            listed.append(Unit(place, spec, module, group, crawl))
    return listed


class Asking:
    """Gives the records of one unit after another, selected.

    Attributes:
        selection: what has passed so far.
        troubles: what services failed with; their records so far are given.
    """

    def __init__(self, route: Route, stack: ExitStack) -> None:
        self._route, self._stack = route, stack
        config = route.config
        self.selection = Selection(config.collect, route.classes, limit=route.limit)
        self.troubles: list[RemoteError] = []
        self._gone = Gone(route.shelf)
        self._seen = Seen()
        self._door: Door | None = None
        self._left: set[int] = set()  # places not asked any more in this run
        self._failed: dict[int, int] = {}
        self._said = time.monotonic()

    def records(self, unit: Unit) -> Iterator[pl.DataFrame]:
        """Rows of one unit: kept ones first, then pages as long as more is wanted."""
        if not unit.module.REMOTE:
            for page in self._pages(unit, None, None):
                rows = crawls.frame(page.candidates, coordinates="coarse")
                yield self._new(self.selection.unselected(self._gone.without(rows)))
            return
        crawl, looked = Crawl(self._route.shelf, unit.crawl), 0
        for rows in crawl.batches():
            if self._enough(unit):
                return
            looked += rows.height
            yield self._selected(unit, rows)
        if crawl.whole or self._enough(unit) or unit.place in self._left:
            return
        try:
            for rows in self._asked(unit, crawl):
                looked += rows.height
                yield self._selected(unit, rows)
                self._tell(unit, looked)
        except RemoteError as error:
            self._trouble(unit, error)
        else:
            self._failed[unit.place] = 0
        self._tell(unit, looked, last=True)

    def _asked(self, unit: Unit, crawl: Crawl) -> Iterator[pl.DataFrame]:
        """Pages from the cursor on, each kept before it is given."""
        places = self._route.config.collect.coordinates
        try:
            pages = self._pages(unit, crawl.cursor, self._opened())
            for page, took in _timed(pages):
                rows = crawls.frame(page.candidates, coordinates=places)
                crawl.add(rows, page.cursor, took=took)
                yield rows
                if crawl.whole or self._enough(unit):
                    return
            # a source that just ends has said all it has to say
            crawl.add(crawls.frame([]), None)
        finally:
            crawl.flush()

    def _pages(
        self, unit: Unit, cursor: str | None, door: Door | None
    ) -> Iterator[Page]:
        return unit.module.pages(
            unit.spec,
            unit.targets,
            settings=self._route.config.collect,
            cursor=cursor,
            door=door,
        )

    def _opened(self) -> Door:
        """The door, opened when something is asked for the first time."""
        if self._door is None:
            from curation.http.door import HttpDoor

            self._door = self._stack.enter_context(HttpDoor(self._route.config.http))
        return self._door

    def _enough(self, unit: Unit) -> bool:
        return self.selection.enough(unit.classes, place=unit.place)

    def _selected(self, unit: Unit, rows: pl.DataFrame) -> pl.DataFrame:
        fresh = self._unseen(identified(self._gone.without(rows)))
        passed = self.selection.take(fresh, place=unit.place, classes=unit.classes)
        # rows that were cut off as too many may come again from another source
        self._seen.add(_hashes(passed))
        return passed

    def _new(self, rows: pl.DataFrame) -> pl.DataFrame:
        fresh = self._unseen(identified(rows))
        self._seen.add(_hashes(fresh))
        return fresh

    def _unseen(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows whose record did not come by before, here or in another source."""
        first = rows.unique("candidate_id", keep="first", maintain_order=True)
        return first.filter(~self._seen.known(_hashes(first)))

    def _trouble(self, unit: Unit, error: RemoteError) -> None:
        """A service failed: the others go on."""
        self.troubles.append(error)
        self._failed[unit.place] = self._failed.get(unit.place, 0) + 1
        if isinstance(error, HostBlocked) or self._failed[unit.place] >= _GIVE_UP:
            self._left.add(unit.place)
        self._route.say(f"collect: {unit.spec.kind}: {error}")

    def _tell(self, unit: Unit, looked: int, *, last: bool = False) -> None:
        now = time.monotonic()
        if not last and now - self._said < _EVERY:
            return
        self._said = now
        passed = [
            self.selection.passed(name, place=unit.place) for name in unit.classes
        ]
        wanted = self._route.config.collect.per_class * len(unit.classes)
        name = unit.classes[0] if len(unit.classes) == 1 else f"{len(passed)} classes"
        self._route.say(
            f"collect: {unit.spec.kind}: {name}: {looked:,} records seen, "
            f"{sum(passed):,} of {wanted:,} photos wanted"
        )


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
    _before: Seen = field(default_factory=Seen)

    def __post_init__(self) -> None:
        """Remember what the table has now."""
        if self.route.done("collect"):
            for rows in self.route.batches(OUTPUT, ["candidate_id"]):
                self._before.add(_hashes(rows))

    def add(self, rows: pl.DataFrame, *, place: int, failing: bool) -> None:
        """Add rows of one source; `failing` ones are refused for what they are."""
        if rows.is_empty():
            return
        start = self._rows
        order = pl.int_range(start, start + rows.height, dtype=pl.Int64)
        self._held.append(rows.with_columns(place=pl.lit(place, pl.Int64), order=order))
        self._rows += rows.height
        self.new += int((~self._before.known(_hashes(rows))).sum())
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


class Gone:
    """Records that were taken down, and whatever else names the same photo."""

    def __init__(self, shelf: Shelf) -> None:
        records = [
            f"{record[0]}\x1f{record[1]}"
            for row in shelf.read_log("takedowns")
            for record in row["records"]
        ]
        self._records = pl.Series(records, dtype=pl.String)
        self._photos: set[str] = set()
        self._urls: set[str] = set()
        if not records:
            return
        for rows in crawls.known(shelf, ["source", "key", "photo_key", "url"]):
            named = rows.filter(self._named())
            self._photos.update(named["photo_key"].drop_nulls())
            self._urls.update(named["url"])

    def _named(self) -> pl.Expr:
        record = pl.concat_str("source", "key", separator="\x1f")
        return record.is_in(self._records.implode())

    def without(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows that nothing speaks against."""
        if self._records.is_empty():
            return rows
        photos = pl.Series(sorted(self._photos), dtype=pl.String).implode()
        urls = pl.Series(sorted(self._urls), dtype=pl.String).implode()
        return rows.filter(
            ~self._named(),
            ~pl.col("photo_key").is_in(photos).fill_null(value=False),
            ~pl.col("url").is_in(urls),
        )


def identified(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with `candidate_id`, as `Candidate.candidate_id` has it."""
    columns = (rows[name].to_list() for name in ("source", "key", "revision", "class"))
    ids = [
        hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        for parts in zip(*columns, strict=True)
    ]
    return rows.with_columns(pl.Series("candidate_id", ids, dtype=pl.String))


def _timed(pages: Iterator[Page]) -> Iterator[tuple[Page, float]]:
    """Pages with the seconds each took to come."""
    start = time.monotonic()
    for page in pages:
        yield page, time.monotonic() - start
        start = time.monotonic()


def _hashes(rows: pl.DataFrame) -> Any:  # noqa: ANN401 - numpy's
    return rows["candidate_id"].hash(5).to_numpy()
