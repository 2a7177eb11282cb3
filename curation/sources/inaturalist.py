"""Photos of iNaturalist's observations, through its API v1.

One record is one photo of one observation. Its key is `<observation>/<photo>`, both by
id: the API finds observations only, so both are needed to ask again, and a photo may
belong to several observations. Its revision is the size that is fetched. Neither
changes with the licence, which moves the file to another host.

Pages follow the ids of observations. Newest and oldest go down or up from the end.
Random cuts the range of ids into cells of equal width, wide enough for 32 to 64
observations on average, and reads whole cells, in an order that the seed and the cell's
number decide; observations of one page come in an order that the seed and their ids
decide. That is a cluster sample without replacement: each observation is as likely as
any other to come early, but those of a cell come together, and were uploaded at about
the same time, often by the same people, which the caps per observer and day are for. A
cell of more than 200 observations comes oldest first. What was there keeps its order
when observations are added, until the taxon has so many more that cells get narrower.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from curation.config import Collect, SourceSpec
from curation.errors import ConfigError, InputError, SourceError
from curation.licences import normalise
from curation.sources import Candidate, Cost, Page, Standing, Target
from curation.sources._observations import candidates, id_of, offered
from curation.sources._records import (
    by_class,
    day,
    host_of,
    mapping,
    text,
    whole,
)

if TYPE_CHECKING:
    from curation.http import Door

VERSION = 1
REMOTE = True
PER_CLASS = True
TAXA = "inaturalist"

PER_PAGE = 200
AT_ONCE = 30
"""Observations that can be asked for by their ids."""
CELL = 64
"""Observations that a cell of the random order holds, at most, on average."""
CELLS = 1 << 16
"""Cells of the random order, at most: those of a taxon of millions hold more."""

# what a query calls licences; who uploads a photo cannot choose others, such as Public
# Domain, so that leaving them out of a query loses nothing
_CODES = {
    "CC0": "cc0",
    "CC-BY": "cc-by",
    "CC-BY-SA": "cc-by-sa",
    "CC-BY-NC": "cc-by-nc",
    "CC-BY-NC-SA": "cc-by-nc-sa",
    "CC-BY-ND": "cc-by-nd",
    "CC-BY-NC-ND": "cc-by-nc-nd",
}
_VERSION = re.compile(r"-\d\.\d(-[A-Z]+)?$")
# rough means of JPEGs at most 500, 1024 and 2048 pixels long
_BYTES = {"medium": 60_000, "large": 250_000, "original": 1_500_000}


class Spec(SourceSpec):
    """Photos of observations on iNaturalist."""

    kind: Literal["inaturalist"] = Field(description="iNaturalist, by its API v1")
    api: str = Field("https://api.inaturalist.org/v1", description="where it is asked")
    size: Literal["medium", "large", "original"] = Field(
        "medium",
        description="longer side of photos: 500, 1024 or 2048 pixels; medium is more "
        "than models of 224 to 384 pixels see",
    )
    quality_grade: Annotated[
        list[Literal["research", "needs_id", "casual"]], Field(min_length=1)
    ] = Field(
        ["research"],
        description="research: wild, with date and place, and people agree on its name",
    )
    captive: bool = Field(
        False, description="let in animals in captivity, whose grade is casual"
    )
    open_places_only: bool = Field(
        False,
        description="leave out observations whose place is obscured or private, for "
        "their observer's or the animal's sake; such a place is never kept",
    )
    place_id: Annotated[int, Field(ge=0)] = Field(
        0,
        description="only from this place, by iNaturalist's number of it; 0: anywhere",
    )
    observed_from: str = Field("", description="first day, YYYY-MM-DD; empty: any")
    observed_until: str = Field("", description="last day, YYYY-MM-DD; empty: any")

    @field_validator("observed_from", "observed_until", mode="before")
    @classmethod
    def _a_day(cls, value: object, key: ValidationInfo) -> object:
        """A day as text; TOML can also write it without quotes."""
        if isinstance(value, str) and value and day(value) != value:
            message = f"{key.field_name}: found {value!r}; a day is YYYY-MM-DD"
            raise ValueError(message)
        return str(value) if type(value) is date else value

    @model_validator(mode="after")
    def _days_in_order(self) -> Self:
        if self.observed_from > self.observed_until != "":
            message = (
                f"observed_from: {self.observed_from} is after observed_until, "
                f"{self.observed_until}"
            )
            raise ValueError(message)
        return self


def pages(
    spec: Spec,
    targets: Sequence[Target],
    *,
    settings: Collect,
    cursor: str | None,
    door: "Door | None",
) -> Iterator[Page]:
    """Photos of each target's taxon, at most 200 observations a page.

    Raises:
        ConfigError: a target has no taxon.
        InputError: the cursor cannot be read.
        SourceError: the service failed, or answered what makes no sense.
        HostBlocked: the service will not answer for some time.
    """
    assert door is not None

    def crawl(target: Target, at: object) -> "_Walk":
        question = _Question(spec, target, settings, door)
        if settings.order == "random":
            return question.shuffled(_place(at, ("first", "last", "bits", "turn")))
        return question.straight(_place(at, ("after",)))

    return by_class(targets, cursor, crawl=crawl)


def cost(spec: Spec, targets: Sequence[Target], *, settings: Collect) -> Cost:
    """Requests and bytes for all targets, each with as many photos as are wanted.

    Sizes of photos are rough means. Caps leave records out, so that more are read; how
    many more cannot be known before.
    """
    each = math.ceil(settings.per_class / PER_PAGE) + 1
    if settings.order == "random":
        each = math.ceil(settings.per_class / (CELL // 2)) + 2
    photos = settings.per_class * len(targets)
    return Cost(
        requests={host_of(spec.api): each * len(targets)},
        photos=photos,
        photo_host="inaturalist-open-data.s3.amazonaws.com",
        bytes=photos * _BYTES[spec.size],
    )


def again(spec: Spec, keys: Sequence[str], *, door: "Door") -> Iterator[Standing]:
    """How records stand now, 30 observations a request.

    A photo is gone when it or its observation is not there any more, is hidden, or has
    a flag that is not resolved.

    Raises:
        SourceError: the service failed, or answered what makes no sense.
        HostBlocked: the service will not answer for some time.
    """
    wanted: dict[str, list[str]] = {}
    for key in keys:
        wanted.setdefault(key.partition("/")[0], []).append(key)
    ids = [id_ for id_ in wanted if whole(id_)]
    url = f"{spec.api.rstrip('/')}/observations"
    for start in range(0, len(ids), AT_ONCE):
        some = ids[start : start + AT_ONCE]
        params: dict[str, str | int] = {"id": ",".join(some), "per_page": PER_PAGE}
        there: dict[str, str | None] = {}
        for seen in _results(door.json(url, params=params), url)[0]:
            there |= offered(seen)
        for key in (key for id_ in some for key in wanted.pop(id_)):
            state: Literal["there", "gone"] = "there" if key in there else "gone"
            yield Standing(key, state, there.get(key))
    yield from (Standing(key, "gone") for rest in wanted.values() for key in rest)


_Place = Mapping[str, int]
_Walk = Iterator[tuple[list[Candidate], _Place | None]]


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked about one target, and how its pages follow each other."""

    spec: Spec
    target: Target
    settings: Collect
    door: "Door"

    def straight(self, at: _Place | None) -> _Walk:
        """From the newest observation down, or from the oldest up."""
        up = self.settings.order == "oldest"
        bound, order = ("id_above", "asc") if up else ("id_below", "desc")
        after = at["after"] if at else None
        while True:
            where = {} if after is None else {bound: after}
            seen, more, _ = self.ask(order=order, **where)
            if not more:
                yield self.rows(seen), None
                return
            after = self.end(seen, after, up=up)
            yield self.rows(seen), {"after": after}

    def shuffled(self, at: _Place | None) -> _Walk:
        """Cell after cell, in the order that the seed gives them."""
        place = dict(at) if at else self.cut()
        cells = self.cells(place) if place else []
        if not cells:
            yield [], None
        while place["turn"] < len(cells):
            begin = cells[place["turn"]] << place["bits"]
            above = place.get("after", max(begin, place["first"]) - 1)
            below = min(begin + (1 << place["bits"]), place["last"] + 1)
            seen, more, _ = self.ask(order="asc", id_above=above, id_below=below)
            place.pop("after", None)
            if more:
                place["after"] = self.end(seen, above, up=True)
            else:
                place["turn"] += 1
            rows = self.rows(sorted(seen, key=self.draw))
            yield rows, dict(place) if place["turn"] < len(cells) else None

    def cut(self) -> dict[str, int]:
        """Cells for what there is now: their width, from which to which id."""
        newest, _, total = self.ask(order="desc", per_page=1)
        if not newest:
            return {"turn": 0}
        oldest, _, _ = self.ask(order="asc", per_page=1)
        first, last = (id_of(one[0]) if one else None for one in (oldest, newest))
        if not first or not last or last < first or not total:
            message = f"{self.url}: no total or no ids to cut a random order from"
            raise SourceError(message, url=self.url)
        width = last - first + 1
        bits = max(0, math.floor(math.log2(CELL * width / total)))
        while width >> bits > CELLS:
            bits += 1
        return {"first": first, "last": last, "bits": bits, "turn": 0}

    def cells(self, place: _Place) -> list[int]:
        """Numbers of the cells, shuffled: a cell's place hangs on nothing but it."""
        if "first" not in place:
            return []
        bits = place["bits"]
        numbers = range(place["first"] >> bits, (place["last"] >> bits) + 1)
        return sorted(numbers, key=lambda cell: self.hash(bits, cell))

    def draw(self, seen: object) -> bytes:
        """Place of an observation among those of its page."""
        return self.hash("observation", id_of(seen))

    def hash(self, *parts: object) -> bytes:
        """What the seed, the taxon and the parts decide."""
        name = json.dumps([self.settings.seed, self.taxon, *parts])
        return hashlib.blake2b(name.encode(), digest_size=8).digest()

    def end(self, seen: Sequence[object], before: int | None, *, up: bool) -> int:
        """The last id of a page, from which the next one goes on."""
        ids = [id_ for one in seen if (id_ := id_of(one))]
        end = (max if up else min)(ids, default=None)
        if end is None or (before and (end <= before if up else end >= before)):
            message = f"{self.url}: observations do not go on from {before}"
            raise SourceError(message, url=self.url)
        return end

    def ask(self, **where: str | int) -> tuple[Sequence[Any], bool, int | None]:
        """Observations, whether there are more beyond them, and how many in all."""
        answer = self.door.json(self.url, params=self.filters() | where)
        seen, total = _results(answer, self.url)
        more = len(seen) >= PER_PAGE if total is None else total > len(seen)
        return seen, bool(seen) and more, total

    @property
    def url(self) -> str:
        return f"{self.spec.api.rstrip('/')}/observations"

    @property
    def taxon(self) -> int:
        if TAXA not in self.target.taxa:
            message = (
                f"class {self.target.name!r} has no iNaturalist taxon: give its "
                "scientific_name in dataset.toml, and its taxon is looked up"
            )
            raise ConfigError(message)
        return self.target.taxa[TAXA]

    def filters(self) -> dict[str, str | int]:
        """The query that all pages share."""
        spec = self.spec
        asked: dict[str, str | int | None] = {
            "taxon_id": self.taxon,
            "photos": "true",
            "quality_grade": ",".join(spec.quality_grade),
            "captive": None if spec.captive else "false",
            "photo_license": _codes(self.settings.licences),
            "geoprivacy": "open" if spec.open_places_only else None,
            "taxon_geoprivacy": "open" if spec.open_places_only else None,
            "place_id": spec.place_id or None,
            "d1": spec.observed_from or None,
            "d2": spec.observed_until or None,
            "order_by": "id",
            "per_page": PER_PAGE,
        }
        return {name: value for name, value in asked.items() if value is not None}

    def rows(self, seen: Sequence[object]) -> list[Candidate]:
        """Photos of observations."""
        places = self.settings.coordinates == "coarse"
        name, size = self.target.name, self.spec.size
        return [
            row
            for one in seen
            for row in candidates(one, class_=name, size=size, places=places)
        ]


def _results(answer: object, url: str) -> tuple[Sequence[Any], int | None]:
    """Results of an answer, and how many there are in all where it says so."""
    results = mapping(answer).get("results")
    if not isinstance(results, list):
        found = ", ".join(map(str, mapping(answer))) or type(answer).__name__
        message = f"{url}: expected a list of results, found {text(found, 100)}"
        raise SourceError(message, url=url)
    return results, whole(mapping(answer).get("total_results"))


def _codes(licences: Sequence[str]) -> str | None:
    """Licences as a query names them; None when none of them can be asked for."""
    names = {_VERSION.sub("", name) for name in map(normalise, licences) if name}
    return ",".join(code for name, code in _CODES.items() if name in names) or None


def _place(at: object, names: Sequence[str]) -> _Place | None:
    """A place of a cursor that this source gave.

    Raises:
        InputError: it gave no such place.
    """
    place = {name: whole(value) for name, value in mapping(at).items()}
    read = {name: value for name, value in place.items() if value is not None}
    if at is not None and not set(names) <= set(read):
        message = f"the place where collecting stopped cannot be read: {at!r}"
        raise InputError(message)
    return read or None
