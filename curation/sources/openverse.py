"""Openverse: openly licensed photos found by words, most of them on Flickr.

Anonymous questions only: 20 records an answer, 240 of a search, 200 questions a day.
Openverse's terms want it used to discover works, not to copy its catalogue.
https://api.openverse.org/v1/
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from curation.config import Collect, SourceSpec
from curation.errors import InputError, SourceError
from curation.sources import Candidate, Cost, Page, Standing, Target
from curation.sources._records import (
    NO_ADDRESS,
    by_class,
    host_of,
    key_of,
    licence_of,
    mapping,
    photo_key,
    text,
    web,
    whole,
)

if TYPE_CHECKING:
    from curation.http import Door

REMOTE = True
PER_CLASS = True
SETTINGS = ("licences",)

_DEPTH = 240
"""Records of one search that are ever shown."""
_BYTES = 300_000
"""Mean size of a photo: an estimate."""
_CODES = {
    "CC0-1.0": "cc0", "Public Domain": "pdm", "CC-BY": "by", "CC-BY-SA": "by-sa",
    "CC-BY-NC": "by-nc", "CC-BY-ND": "by-nd", "CC-BY-NC-SA": "by-nc-sa",
    "CC-BY-NC-ND": "by-nc-nd",
}  # fmt: skip


class Spec(SourceSpec):
    """Openverse."""

    kind: Literal["openverse"] = Field(description="openly licensed photos, by words")
    api: str = Field("https://api.openverse.org/v1", description="where it is asked")
    find: Literal["words", "scientific_name"] = Field(
        "words", description="search for the class's words, or its scientific name"
    )
    sources: list[str] = Field(
        [], description="collections to look in, such as flickr; all when empty"
    )
    page_size: Annotated[int, Field(ge=1, le=20)] = Field(
        20, description="records of one answer; more than 20 need an account"
    )


def pages(
    spec: Spec,
    targets: Sequence[Target],
    *,
    settings: Collect,
    cursor: str | None,
    door: "Door | None",
) -> Iterator[Page]:
    """What each class's search finds, best match first whatever the order asked for.

    Raises:
        InputError: the cursor cannot be read.
        SourceError: Openverse failed, or answered what is no search result.
        HostBlocked: Openverse will not answer for some time.
    """
    assert door is not None
    codes = _codes(settings.licences)

    def crawl(
        target: Target, at: object
    ) -> Iterator[tuple[Sequence[Candidate], int | None]]:
        page = 1 if at is None else whole(at)
        if not page:
            message = f"the place where collecting stopped cannot be read: {at!r}"
            raise InputError(message)
        words = target.query if spec.find == "words" else target.scientific_name
        if not codes or not words:
            yield [], None
            return
        search: dict[str, str | int] = {
            # longer questions are cut off there
            "q": words[:200],
            "license": ",".join(codes),
            "page_size": spec.page_size,
        }
        if spec.sources:
            search["source"] = ",".join(spec.sources)
        while True:
            records, count = _results(spec, {**search, "page": page}, door)
            last = page >= min(count, _DEPTH // spec.page_size)
            found = [_candidate(record, target) for record in records]
            yield found, None if last else page + 1
            if last:
                return
            page += 1

    return by_class(targets, cursor, crawl=crawl)


def cost(spec: Spec, targets: Sequence[Target], *, settings: Collect) -> Cost:
    """What asking for all targets will take at most."""
    answers = max(_DEPTH // spec.page_size, 1) * len(targets)
    photos = min(settings.per_class, _DEPTH) * len(targets)
    return Cost(
        {host_of(spec.api): answers}, photos, "live.staticflickr.com", photos * _BYTES
    )


def again(spec: Spec, keys: Sequence[str], *, door: "Door") -> Iterator[Standing]:
    """How works stand now: one request for each.

    Raises:
        SourceError: Openverse failed otherwise than by not knowing a work.
        HostBlocked: Openverse will not answer for some time.
    """
    for key in keys:
        try:
            work = str(uuid.UUID(key))
            answer = mapping(door.json(f"{spec.api}/images/{work}/"))
        except ValueError:
            yield Standing(key, "gone")
            continue
        except SourceError as error:
            if error.status not in (404, 410):
                raise
            answer = {}
        if web(answer.get("url")):
            yield Standing(key, "there", _stated(answer))
        else:
            yield Standing(key, "gone")


def _codes(licences: Sequence[str]) -> list[str]:
    """Openverse's codes of the licences let in; versions are sorted out later."""
    return [
        code
        for name, code in _CODES.items()
        if any(
            wanted == name
            or (name.startswith("CC-") and wanted.startswith(f"{name}-")
                and wanted.removeprefix(f"{name}-")[:1].isdigit())
            for wanted in licences
        )
    ]  # fmt: skip


def _results(
    spec: Spec, search: Mapping[str, str | int], door: "Door"
) -> tuple[Sequence[object], int]:
    """The records of one answer, and how many answers there are."""
    url = f"{spec.api}/images/"
    answer = mapping(door.json(url, params=search))
    found, count = answer.get("results"), whole(answer.get("page_count"))
    if not isinstance(found, list) or count is None:
        message = f"{url}: the answer has no results or page_count"
        raise SourceError(message, url=url)
    return found, count


def _stated(work: Mapping[str, object]) -> str | None:
    """`by 2.0`: code and version."""
    parts = (text(work.get("license")), text(work.get("license_version")))
    return " ".join(part for part in parts if part) if parts[0] else None


def _candidate(record: object, target: Target) -> Candidate:
    work = mapping(record)
    key = text(work.get("id"), 100)
    stated = _stated(work)
    licence, refused = licence_of(stated)
    url, page = web(work.get("url")), web(work.get("foreign_landing_url"))
    if key is None:
        refused = "the record has no id"
    elif work.get("mature") not in (False, None):
        refused = "marked as mature"
    elif (text(work.get("filetype")) or "").lower() in ("svg", "pdf"):
        refused = f"not a still photo: {text(work.get('filetype'))}"
    elif not url:
        refused = NO_ADDRESS
    kind = text(work.get("category"), 50)
    creator = text(work.get("creator"))
    return Candidate(
        source="openverse",
        key=key or key_of(record),
        revision="",
        class_=target.name,
        url=url or "",
        photo_key=photo_key(page, url) or (f"openverse:{key}" if key else None),
        source_url=page,
        title=text(work.get("title")),
        author=creator,
        licence=licence,
        licence_text=stated,
        attribution=text(work.get("attribution"), 1000),
        observer=web(work.get("creator_url")) or creator,
        note=f"category: {kind}" if kind and kind != "photograph" else None,
        refused=refused,
    )
