"""GBIF: photos of museums, surveys and citizen science, by taxon.

The search of occurrences answers from an offset, 300 records at most, and wants nothing
beyond the 10,000th: a class with more is cut into years, and years into months, each
small enough to be walked through. https://techdocs.gbif.org/en/openapi/v1/occurrence
"""

import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import quote

from pydantic import Field

from curation.config import Collect, SourceSpec
from curation.errors import ConfigError, SourceError
from curation.sources import Candidate, Cost, Page, Standing, Target
from curation.sources._records import (
    NO_ADDRESS,
    by_class,
    coarse,
    day,
    host_of,
    key_of,
    licence_of,
    listing,
    mapping,
    number,
    photo_key,
    text,
    web,
    whole,
)
from curation.sources._slices import Slice, merged, unfolded

if TYPE_CHECKING:
    from curation.http import Door

REMOTE = True
PER_CLASS = True
SETTINGS = ("order", "seed", "coordinates")
TAXA = "gbif"

_MONTHS = 24
"""Requests that cut years into months, at most, for one class."""
_BYTES = {"medium": 60_000, "large": 250_000, "original": 1_500_000}
"""Mean size of a photo: estimates, for those on iNaturalist."""
_COARSE = 10_000
"""Metres: a place known less well than that may have been blurred on purpose."""

_SIZES = "original|large|medium|small|thumb|square"
_OBSERVATION = re.compile(
    r"https?://(?:www\.)?inaturalist\.org/observations/(\d{1,15})(?!\d)"
)

log = logging.getLogger(__name__)


class Spec(SourceSpec):
    """GBIF, the Global Biodiversity Information Facility."""

    kind: Literal["gbif"] = Field(description="occurrences with photos, by taxon")
    api: str = Field("https://api.gbif.org/v1", description="where it is asked")
    dataset: str = Field(
        "",
        description="key of the one dataset to look in; every dataset when empty",
    )
    basis: str = Field(
        "HUMAN_OBSERVATION",
        description="basis of record: HUMAN_OBSERVATION leaves out specimens in "
        "museums; every basis when empty",
    )
    records: Annotated[int, Field(ge=1)] = Field(
        10_000, description="records looked at for a class, at most"
    )
    page_size: Annotated[int, Field(ge=1, le=300)] = Field(
        300, description="records of one answer"
    )
    window: Annotated[int, Field(ge=1, le=100_000)] = Field(
        10_000,
        description="records of one search, at most; GBIF restricts those who page "
        "beyond 10,000, and refuses beyond 100,000",
    )
    size: Literal["medium", "large", "original"] = Field(
        "medium",
        description="longer side of photos that are on iNaturalist: 500, 1024 or 2048 "
        "pixels; others come as they are",
    )


def pages(
    spec: Spec,
    targets: Sequence[Target],
    *,
    settings: Collect,
    cursor: str | None,
    door: "Door | None",
) -> Iterator[Page]:
    """Records of the classes' taxa, one candidate for each photo.

    "newest" and "oldest" go by year, in which records without a year have no place;
    "random" goes through a class's pages in shuffled order.

    Raises:
        ConfigError: a class has no GBIF taxon.
        InputError: the cursor cannot be read.
        SourceError: GBIF failed, or answered what is no search result.
        HostBlocked: GBIF will not answer for some time.
    """
    assert door is not None

    def crawl(
        target: Target, at: object
    ) -> Iterator[tuple[Sequence[Candidate], dict[str, Any] | None]]:
        search = _base(spec, target)
        plan = at or _planned(spec, search, settings, door, name=target.name)
        slices, blocks, step = unfolded(plan)
        if step >= len(blocks):
            yield [], None
        for place in range(step, len(blocks)):
            which, offset, size = blocks[place]
            asked = {**search, **slices[which], "offset": offset, "limit": size}
            found = [
                candidate
                for record in _results(spec, asked, door)
                for candidate in _candidates(record, target, spec, settings)
            ]
            last = place + 1 == len(blocks)
            yield found, None if last else {**mapping(plan), "next": place + 1}

    return by_class(targets, cursor, crawl=crawl)


def cost(spec: Spec, targets: Sequence[Target], *, settings: Collect) -> Cost:
    """What asking for all targets will take at most."""
    each = 1 + _MONTHS + -(-spec.records // spec.page_size)
    photos = min(settings.per_class, spec.records) * len(targets)
    host = "inaturalist-open-data.s3.amazonaws.com"
    requests = {host_of(spec.api): each * len(targets)}
    return Cost(requests, photos, host, photos * _BYTES[spec.size])


def again(spec: Spec, keys: Sequence[str], *, door: "Door") -> Iterator[Standing]:
    """How photos stand now: one request for each occurrence.

    Raises:
        SourceError: GBIF failed otherwise than by not knowing an occurrence.
        HostBlocked: GBIF will not answer for some time.
    """
    wanted: dict[str, list[str]] = {}
    for key in keys:
        wanted.setdefault(key.partition(":")[0], []).append(key)
    for occurrence, photos in wanted.items():
        try:
            answer = door.json(f"{spec.api}/occurrence/{quote(occurrence, safe='')}")
        except SourceError as error:
            if error.status not in (404, 410):
                raise
            answer = {}
        offered = {
            f"{occurrence}:{_named(medium)}": medium
            for medium in listing(mapping(answer).get("media"))
            if isinstance(medium, dict)
        }
        for key in photos:
            if key in offered:
                stated = text(offered[key].get("license"))
                yield Standing(key, "there", stated)
            else:
                yield Standing(key, "gone")


def _base(spec: Spec, target: Target) -> dict[str, str | int]:
    """The search for a class's photos."""
    if TAXA not in target.taxa:
        message = (
            f"class {target.name!r} has no GBIF taxon: give its scientific_name in "
            "dataset.toml, and its taxon is looked up"
        )
        raise ConfigError(message)
    search: dict[str, str | int] = {
        "taxonKey": target.taxa[TAXA],
        "mediaType": "StillImage",
    }
    if spec.dataset:
        search["datasetKey"] = spec.dataset
    if spec.basis:
        search["basisOfRecord"] = spec.basis
    return search


def _planned(
    spec: Spec,
    search: Mapping[str, str | int],
    settings: Collect,
    door: "Door",
    *,
    name: str,
) -> dict[str, Any]:
    """Searches small enough to be walked through, and how: kept in the cursor.

    `plan` lists year, month and count; a year or month may be a span, or empty.
    """
    shuffled = settings.order == "random"
    total, years = _counts(spec, {**search, "facet": "year"}, door)
    plan: list[Slice] = []
    if not years or (shuffled and total <= spec.window):
        plan, years = [("", "", total)], {}
    elif (without := total - sum(years.values())) > 0:
        log.warning(
            "gbif, %s: %d of %d records have no year and are left out",
            name, without, total,
        )  # fmt: skip
    asked = 0
    for year, count in sorted(years.items(), reverse=settings.order == "newest"):
        months: dict[int, int] = {}
        if count > spec.window and asked < _MONTHS:
            asked += 1
            query = {**search, "facet": "month", "year": str(year)}
            months = _counts(spec, query, door)[1]
        ordered = sorted(months.items(), reverse=settings.order == "newest")
        plan += [(str(year), str(month), n) for month, n in ordered]
        plan += [(str(year), "", count)] if not months else []
    for year_, month_, count in plan:
        if count > spec.window:
            log.warning(
                "gbif, %s: only %d of %d records can be looked at (year %s, month %s)",
                name, spec.window, count, year_ or "any", month_ or "any",
            )  # fmt: skip
    return {
        "plan": merged(plan, spec.window) if shuffled else plan,
        "shuffle": f"{settings.seed} {name}" if shuffled else None,
        "size": spec.page_size,
        "window": spec.window,
        "pages": -(-spec.records // spec.page_size),
        "next": 0,
    }


def _counts(
    spec: Spec, search: Mapping[str, str | int], door: "Door"
) -> tuple[int, dict[int, int]]:
    """How many records there are, and how many by the search's facet."""
    url = f"{spec.api}/occurrence/search"
    params = {**search, "limit": 0, "facetLimit": 1000, "facetMincount": 1}
    answer = mapping(door.json(url, params=params))
    total = whole(answer.get("count"))
    if total is None:
        message = f"{url}: the answer has no count"
        raise SourceError(message, url=url)
    counts: dict[int, int] = {}
    for facet in listing(answer.get("facets")):
        for row in listing(mapping(facet).get("counts")):
            name = whole(mapping(row).get("name"))
            count = whole(mapping(row).get("count"))
            if name is not None and count:
                counts[name] = count
    return total, counts


def _results(
    spec: Spec, search: Mapping[str, str | int], door: "Door"
) -> Sequence[object]:
    """The records of one answer."""
    url = f"{spec.api}/occurrence/search"
    answer = mapping(door.json(url, params=search))
    found, limit = answer.get("results"), whole(answer.get("limit"))
    if not isinstance(found, list):
        message = f"{url}: the answer has no results"
        raise SourceError(message, url=url)
    if limit is not None and limit < int(search["limit"]):
        message = (
            f"{url}: answers hold {limit} records at most: set page_size to that "
            "(dataset.toml, sources), or records are lost"
        )
        raise SourceError(message, url=url)
    return found


def _candidates(
    record: object, target: Target, spec: Spec, settings: Collect
) -> Iterator[Candidate]:
    """One candidate for each of a record's media."""
    found = mapping(record)
    key = whole(found.get("key"))
    media = [
        medium for medium in listing(found.get("media")) if isinstance(medium, dict)
    ]
    if key is None or not media:
        yield Candidate(
            source="gbif",
            key=key_of(record) if key is None else str(key),
            revision="",
            class_=target.name,
            url="",
            refused="the record has no key" if key is None else "no photo is stated",
        )
        return
    seen = set()
    for medium in media:
        if (name := _named(medium)) not in seen:
            seen.add(name)
            yield _candidate(found, medium, f"{key}:{name}", target, spec, settings)


def _candidate(
    record: Mapping[str, Any],
    medium: Mapping[str, Any],
    key: str,
    target: Target,
    spec: Spec,
    settings: Collect,
) -> Candidate:
    occurrence = key.partition(":")[0]
    stated = text(medium.get("license"))
    licence, refused = licence_of(stated)
    url, page = web(medium.get("identifier")), web(medium.get("references"))
    name = photo_key(page, url) or (f"url:{url}" if url else None)
    revision = ""
    if url and name and name.startswith("inaturalist:"):
        url, revision = _sized(url, spec.size)
    author = text(medium.get("creator")) or text(medium.get("rightsHolder"))
    observer = text(record.get("recordedBy")) or author
    publisher = text(medium.get("publisher"))
    credit = ", ".join(dict.fromkeys(part for part in (author, publisher) if part))
    observed = _OBSERVATION.match(web(record.get("occurrenceID")) or "")
    place = _place(record) if settings.coordinates == "coarse" else (None, None)
    return Candidate(
        source="gbif",
        key=key,
        revision=revision,
        class_=target.name,
        url=url or "",
        photo_key=name,
        source_url=page or f"https://www.gbif.org/occurrence/{occurrence}",
        title=text(medium.get("title")) or text(record.get("scientificName")),
        author=author,
        licence=licence,
        licence_text=stated,
        attribution=", ".join(p for p in (credit, licence, "via GBIF") if p),
        observation_id=(
            f"inaturalist:{observed[1]}" if observed else f"gbif:{occurrence}"
        ),
        observer=f"gbif:{observer}" if observer else None,
        observed_on=day(record.get("eventDate")),
        latitude=place[0],
        longitude=place[1],
        refused=_not_still(medium) or (refused if url else NO_ADDRESS),
    )


def _named(medium: Mapping[str, Any]) -> str:
    """What GBIF's own image cache calls a photo: the MD5 of its identifier."""
    stated = json.dumps(medium.get("identifier"))
    if isinstance(medium.get("identifier"), str):
        stated = medium["identifier"]
    return hashlib.md5(
        stated.encode("utf-8", "replace"), usedforsecurity=False
    ).hexdigest()


def _not_still(medium: Mapping[str, Any]) -> str | None:
    """Why it is no photo; where the kind is not stated, the bytes will tell."""
    kind, form = text(medium.get("type"), 50), text(medium.get("format"), 50)
    if kind and kind != "StillImage":
        return f"not a still image: {kind}"
    if form and form.startswith(("audio/", "video/", "text/", "application/")):
        return f"not a still image: {form}"
    return None


def _sized(url: str, size: str) -> tuple[str, str]:
    """An iNaturalist photo's address in the size wanted, and that size."""
    found = re.fullmatch(rf"(.*/photos/\d+/)(?:{_SIZES})(\.\w+(?:\?.*)?)", url)
    return (f"{found[1]}{size}{found[2]}", size) if found else (url, "")


def _place(record: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Where it was, unless the place is withheld or may have been blurred."""
    blur = number(record.get("coordinateUncertaintyInMeters"))
    hidden = record.get("informationWithheld") or record.get("dataGeneralizations")
    if hidden or (blur is not None and blur > _COARSE):
        return None, None
    return coarse(record.get("decimalLatitude"), record.get("decimalLongitude"))
