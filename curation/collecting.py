"""Asking sources for what is wanted: targets, units, and the records of each.

Used by the action `collect`, and by the estimate of what it will take.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import polars as pl

from curation import crawls, taxa
from curation.config import Dataset, SourceSpec
from curation.crawls import Crawl
from curation.errors import ConfigError, HostBlocked, RemoteError
from curation.http import Door
from curation.pipeline import Route
from curation.selection import Keys, Selection, Tally
from curation.shelf import Shelf
from curation.sources import Page, Source, Target, source
from curation.takedowns import Takedowns

_EVERY = 2.0
"""Seconds between two lines of progress."""
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


class Shut:
    """A door that leads nowhere: what needs the network fails at once."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any way of asking
        """Fail.

        Raises:
            RemoteError: always.
        """
        message = "the network is not asked here"
        raise RemoteError(message)


def targets(config: Dataset, authority: str | None, door: Door) -> list[Target]:
    """The classes as the sources of one authority look for them.

    Raises:
        ConfigError: a name does not lead to one taxon.
        RemoteError: the authority failed.
    """
    if authority is None:
        return [
            Target(spec.name, spec.label or spec.name, spec.scientific_name)
            for spec in config.classes
        ]
    return taxa.targets(
        config,
        lock=config.base / taxa.LOCK,
        door=door,
        authorities=[authority],
        bases=taxa.needed(config),
    )


def pinned(config: Dataset, authority: str | None) -> list[Target]:
    """Those of the classes whose taxon is pinned; nobody is asked."""
    found = []
    for spec in config.classes:
        alone = config.model_copy(update={"classes": [spec]})
        try:
            found += targets(alone, authority, cast("Door", Shut()))
        except (ConfigError, RemoteError):
            continue
    return found


def authority(module: Source) -> str | None:
    """Whose taxa a source needs; None for words alone."""
    found: str | None = getattr(module, "TAXA", None)
    return found


def reachable(config: Dataset) -> None:
    """Check that services which demand a contact will get one.

    Raises:
        ConfigError: `http.contact` is empty.
    """
    for place, spec in enumerate(config.sources):
        if getattr(source(spec.kind), "CONTACT", False) and not config.http.contact:
            message = (
                f"http.contact: missing; {spec.kind} (sources[{place}]) demands an "
                "e-mail address or web page where you can be reached"
            )
            raise ConfigError(message)


def units(config: Dataset, wanted: Mapping[str | None, Sequence[Target]]) -> list[Unit]:
    """Everything that is asked, in order.

    Args:
        config: the dataset.
        wanted: targets by authority; sources of one that has none are left out.
    """
    listed = []
    for place, spec in enumerate(config.sources):
        module = source(spec.kind)
        mine = wanted.get(authority(module), [])
        groups: list[tuple[Target, ...]] = [(one,) for one in mine]
        if not module.PER_CLASS:
            # asked for all at once: fewer of them would be another question
            groups = [tuple(mine)] if len(mine) == len(config.classes) else []
        for group in groups:
            crawl = (
                crawls.identity(module, spec, group, config.collect)
                if module.REMOTE
                else ""
            )
            listed.append(Unit(place, spec, module, group, crawl))
    return listed


def foreseen(config: Dataset) -> list[Unit] | None:
    """Everything that would be asked; None while a taxon is not pinned yet."""
    wanted = {}
    for spec in config.sources:
        whose = authority(source(spec.kind))
        wanted[whose] = pinned(config, whose)
        if len(wanted[whose]) < len(config.classes):
            return None
    return units(config, wanted)


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
        self._seen = Tally()
        self._door: Door | None = None
        self._left: set[int] = set()  # places not asked any more in this run
        self._failed: dict[int, int] = {}
        self._said = time.monotonic()

    def units(self) -> list[Unit]:
        """Everything that is to be asked; taxa that are not pinned yet are looked up.

        Raises:
            ConfigError: a name does not lead to one taxon, or nobody can be reached.
        """
        config = self._route.config
        reachable(config)
        wanted: dict[str | None, list[Target]] = {}
        for spec in config.sources:
            whose = authority(source(spec.kind))
            if whose in wanted:
                continue
            wanted[whose] = pinned(config, whose)
            if len(wanted[whose]) == len(config.classes):
                continue
            try:
                wanted[whose] = targets(config, whose, self._opened())
            except RemoteError as error:
                self.troubles.append(error)
                self._route.say(f"collect: {whose}: {error}")
                wanted[whose] = pinned(config, whose)
        return units(config, wanted)

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
        self._seen.add(hashes(passed))
        return passed

    def _new(self, rows: pl.DataFrame) -> pl.DataFrame:
        fresh = self._unseen(identified(rows))
        self._seen.add(hashes(fresh))
        return fresh

    def _unseen(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows whose record did not come by before, here or in another source."""
        keys = hashes(rows)
        fresh = self._seen.counts(keys) == 0
        if fresh.all() and len(np.unique(keys)) == len(keys):
            return rows
        left = rows.filter(fresh)
        return left.unique("candidate_id", keep="first", maintain_order=True)

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


class Gone:
    """Records that were taken down, and whatever else names the same photo."""

    def __init__(self, shelf: Shelf) -> None:
        """Read the log of takedowns."""
        taken = Takedowns(shelf)
        records = [f"{source}\x1f{key}" for source, key in sorted(taken.records)]
        self._records = _listed(records)
        self._photos, self._urls = _listed(taken.photo_keys), _listed(taken.urls)
        self._any = bool(records)

    def without(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows that nothing speaks against."""
        if not self._any:
            return rows
        record = pl.concat_str("source", "key", separator="\x1f")
        return rows.filter(
            ~record.is_in(self._records),
            ~pl.col("photo_key").is_in(self._photos).fill_null(value=False),
            ~pl.col("url").is_in(self._urls),
        )


def _listed(values: Iterable[str]) -> pl.Series:
    return pl.Series(sorted(values), dtype=pl.String).implode()


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


def hashes(rows: pl.DataFrame) -> Keys:
    """Record ids as numbers of 64 bits: (N,) uint64."""
    return rows["candidate_id"].hash(5).to_numpy()
