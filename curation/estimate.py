"""What collecting and fetching will take, without asking anybody.

Sources say what they will be asked at most (`cost`); what is collected or fetched
already is taken off, and the limits in force turn the rest into hours. A service that
answers slowly takes longer.
"""

import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import polars as pl

from curation import collecting, taxa
from curation.collecting import Gone, Unit, authority, identified
from curation.config import Collect
from curation.crawls import Crawl
from curation.http.limits import Limits, table
from curation.pipeline import Route
from curation.progress import span
from curation.selection import Selection
from curation.sources import Cost, Target, source


@dataclass(frozen=True, slots=True)
class Line:
    """What one source will take.

    Attributes:
        place: which of dataset.toml's sources, from 0.
        source: its kind.
        collected: photos whose records are there already.
        requests: for records, at most.
        photos: that will be fetched, at most.
        bytes: of them, roughly.
        hours: for both at the limits in force.
    """

    place: int
    source: str
    collected: int
    requests: int
    photos: int
    bytes: int
    hours: float


@dataclass(slots=True)
class _Load:
    """What a host has to carry."""

    requests: int = 0
    photos: int = 0
    bytes: int = 0


@dataclass(slots=True)
class _Need:
    """What one source still has to give."""

    photo_host: str
    collected: int = 0
    photos: int = 0
    bytes: int = 0
    requests: Counter[str] = field(default_factory=Counter)

    def add(self, cost: Cost) -> None:
        self.requests.update(cost.requests)
        self.photos += cost.photos


def estimate(route: Route) -> dict[str, Any]:
    """What a run will ask of each remote source, and how long that takes.

    Returns: `sources`, one `Line` each; `hosts` with `requests`, `photos`, `bytes` and
        `hours`; `requests`, `photos`, `bytes` and `hours` in all. Hosts that share a
        limit are added up under one name.
    """
    limits = table(route.config.http.hosts)
    lines, total = [], _Loads(limits)
    for place, need in _needs(route):
        mine = _Loads(limits)
        for loads in (mine, total):
            for host, requests in need.requests.items():
                loads.of(host).requests += requests
            load = loads.of(need.photo_host)
            load.photos += need.photos
            load.bytes += need.bytes
        kind = route.config.sources[place].kind
        requests = sum(need.requests.values())
        line = Line(
            place, kind, need.collected, requests, need.photos, need.bytes, mine.hours()
        )
        lines.append(line)
    return {
        "sources": [asdict(line) for line in lines],
        "hosts": total.told(),
        "requests": sum(line.requests for line in lines),
        "photos": sum(line.photos for line in lines),
        "bytes": sum(line.bytes for line in lines),
        "hours": total.hours(),
    }


def text(result: Mapping[str, Any]) -> list[str]:
    """An estimate for a person, line by line."""
    lines = [
        f"{line['source']}: {_amounts(line)}"
        + (f" ({line['collected']:,} collected already)" if line["collected"] else "")
        for line in result["sources"]
    ]
    if len(lines) > 1:
        lines.append(f"in all: {_amounts(result)}")
    return lines


def _amounts(line: Mapping[str, Any]) -> str:
    return (
        f"{line['requests']:,} requests, {line['photos']:,} photos, "
        f"{line['bytes'] / 1e9:,.2f} GB, {span(line['hours'] * 3600)}"
    )


class _Loads:
    """Loads by host, or by the limit that several hosts share."""

    def __init__(self, limits: Mapping[str, Limits]) -> None:
        self._limits = limits
        self._loads: dict[str, tuple[Limits, _Load]] = {}

    def of(self, host: str) -> _Load:
        """The load of a host, to be added to."""
        found = self._limits.get(host.partition(":")[0].lower())
        limits = found or Limits(budget=host)
        return self._loads.setdefault(limits.budget, (limits, _Load()))[1]

    def hours(self) -> float:
        """Records of one source after another, then photos of all hosts at once."""
        asking = [_hours(limits, load.requests, 0) for limits, load in self._all()]
        photos = [
            _hours(limits, load.photos, load.bytes) for limits, load in self._all()
        ]
        return round(sum(asking) + max(photos, default=0.0), 3)

    def _all(self) -> Iterable[tuple[Limits, _Load]]:
        return self._loads.values()

    def told(self) -> list[dict[str, Any]]:
        """A line for each host that is asked for anything."""
        return [
            {
                "host": limits.budget,
                **asdict(load),
                "hours": round(
                    _hours(limits, load.requests + load.photos, load.bytes), 2
                ),
            }
            for limits, load in self._all()
            if load.requests or load.photos
        ]


def _hours(limits: Limits, requests: int, size: int) -> float:
    """Hours that a host's limits demand for so many requests and bytes.

    A day's limit is free for the first day, and then takes a day each time.
    """
    minute = requests / limits.per_minute / 60 if limits.per_minute else 0.0
    hour = size / limits.bytes_per_hour if limits.bytes_per_hour else 0.0
    days = max(
        _days(requests, limits.per_day, minute), _days(size, limits.bytes_per_day, hour)
    )
    return max(minute, hour, days)


def _days(amount: float, per_day: int | None, hours: float) -> float:
    """Hours when only so much of an amount is let through a day."""
    if not per_day or amount <= per_day:
        return 0.0
    full = -(-amount // per_day) - 1
    rest = (amount - full * per_day) / amount * hours
    return full * 24 + rest


def _needs(route: Route) -> Iterator[tuple[int, _Need]]:
    """What each remote source, by its place, still has to give."""
    config = route.config
    if not any(source(spec.kind).REMOTE for spec in config.sources):
        return
    selection = Selection(config.collect, route.classes, limit=route.limit)
    gone, fetched = Gone(route.shelf), _fetched(route)
    looked_up: set[str] = set()
    wanted = {
        whose: _targets(route, whose)
        for whose in {authority(source(spec.kind)) for spec in config.sources}
    }
    listed = collecting.units(config, wanted)
    for place, spec in enumerate(config.sources):
        module = source(spec.kind)
        if not module.REMOTE:
            continue
        whole = module.cost(spec, wanted[authority(module)], settings=config.collect)
        need = _Need(whole.photo_host)
        for unit in (unit for unit in listed if unit.place == place):
            passed, settled = _replayed(route, unit, selection, gone)
            need.collected += passed.len()
            need.photos += int((~passed.is_in(fetched.implode())).sum())
            if not settled:
                need.add(_rest(unit, selection, config.collect))
        if (whose := authority(module)) and whose not in looked_up:
            looked_up.add(whose)
            base = taxa.needed(config).get(whose, taxa.BASES[whose])
            names = len(config.classes) - len(collecting.pinned(config, whose))
            need.add(Cost({urlsplit(base).netloc: names}, 0, whole.photo_host, 0))
        need.bytes = round(need.photos * whole.bytes / max(whole.photos, 1))
        yield place, need


def _targets(route: Route, whose: str | None) -> list[Target]:
    """The classes; a taxon that is not pinned yet is 0."""
    config = route.config
    known = {target.name: target for target in collecting.pinned(config, whose)}
    return [
        known.get(spec.name)
        or Target(
            spec.name,
            spec.label or spec.name,
            spec.scientific_name,
            {whose: 0} if whose else {},
        )
        for spec in config.classes
    ]


def _replayed(
    route: Route, unit: Unit, selection: Selection, gone: Gone
) -> tuple[pl.Series, bool]:
    """Records of a unit's crawl that pass, and whether no more can be asked for."""
    crawl = Crawl(route.shelf, unit.crawl)
    passed = [pl.Series(dtype=pl.String)]
    for rows in crawl.batches():
        if selection.enough(unit.classes, place=unit.place):
            break
        chosen = selection.take(
            gone.without(rows), place=unit.place, classes=unit.classes
        )
        good = chosen.filter(pl.col("refused").is_null())
        passed.append(identified(good)["candidate_id"])
    enough = selection.enough(unit.classes, place=unit.place)
    return pl.concat(passed), crawl.whole or enough


def _rest(unit: Unit, selection: Selection, settings: Collect) -> Cost:
    """What is still to be asked of one unit."""
    wanted = [selection.wanted(name, place=unit.place) for name in unit.classes]
    if unit.module.PER_CLASS:
        left = settings.model_copy(update={"per_class": wanted[0]})
        return unit.module.cost(unit.spec, unit.targets, settings=left)
    # asked for all at once: requests do not depend on how many photos are left
    whole = unit.module.cost(unit.spec, unit.targets, settings=settings)
    return replace(whole, photos=min(whole.photos, sum(wanted)))


def _fetched(route: Route) -> pl.Series:
    """Records whose photo is there."""
    schema = {"candidate_id": pl.String, "status": pl.String}
    tried = pl.concat(
        [
            pl.DataFrame(schema=schema),
            *(
                pl.read_ndjson(io.BytesIO(piece), schema=schema)
                for piece in route.shelf.log_pieces("fetches")
            ),
        ]
    ).unique("candidate_id", keep="last")
    return tried.filter(pl.col("status") == "ok")["candidate_id"]
