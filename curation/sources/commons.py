"""Wikimedia Commons: files of a category, or found by words, with their licences.

Asks the MediaWiki Action API, one request at a time, and only with a contact, which
Wikimedia demands of every client. https://www.mediawiki.org/wiki/API:Etiquette
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from curation.config import Collect, SourceSpec
from curation.errors import ConfigError, InputError, SourceError
from curation.licences import normalise, openness
from curation.sources import Candidate, Cost, Page, Standing, Target
from curation.sources._records import (
    NO_ADDRESS,
    NO_LICENCE,
    by_class,
    coarse,
    day,
    host_of,
    key_of,
    listing,
    mapping,
    plain,
    text,
    web,
    whole,
)

if TYPE_CHECKING:
    from curation.http import Door

REMOTE = True
CONTACT = True
PER_CLASS = True
SETTINGS = ("order", "coordinates")

_AT_ONCE = 50
"""Files of one answer, and files named in one request: the most there may be."""
_BYTES = {"original": 3_000_000, "3840": 2_000_000, "1920": 700_000}
"""Mean size of a file by width: estimates; 300,000 for others."""
_STILL = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/tiff")


class Spec(SourceSpec):
    """Wikimedia Commons."""

    kind: Literal["commons"] = Field(description="files of Wikimedia Commons")
    api: str = Field(
        "https://commons.wikimedia.org/w/api.php", description="where it is asked"
    )
    find: Literal["category", "subcategories", "search"] = Field(
        "category",
        description="files in the class's category; in it and the categories below; or "
        "files found by the class's words",
    )
    categories: dict[str, str] = Field(
        {}, description="category of a class, where it is not its scientific name"
    )
    records: Annotated[int, Field(ge=1)] = Field(
        3_000, description="files looked at for a class, at most"
    )
    size: Literal["500", "960", "1280", "1920", "3840", "original"] = Field(
        "960",
        description="width of photos, pixels: the widths that Wikimedia keeps, or "
        "files as they were uploaded",
    )


def pages(
    spec: Spec,
    targets: Sequence[Target],
    *,
    settings: Collect,
    cursor: str | None,
    door: "Door | None",
) -> Iterator[Page]:
    """Files of each class; "random" has no meaning here, it is the service's order.

    Raises:
        ConfigError: no contact is configured, or a class has no category.
        InputError: the cursor cannot be read.
        SourceError: the service failed, or answered what is no list of files.
        HostBlocked: the service will not answer for some time.
    """
    assert door is not None

    def crawl(
        target: Target, at: object
    ) -> Iterator[tuple[Sequence[Candidate], dict[str, Any] | None]]:
        search = _search(spec, target, settings) | _imageinfo(spec)
        go_on, answers, files = _place(spec, at)
        while True:
            batch, go_on, used = _batch(spec, search, go_on, door)
            found = [_candidate(file, target, spec, settings) for file in batch]
            answers, files = answers - used, files - len(found)
            if not go_on or answers <= 0 or files <= 0:
                yield found, None
                return
            yield found, {"continue": go_on, "answers": answers, "files": files}

    return by_class(targets, cursor, crawl=crawl)


def cost(spec: Spec, targets: Sequence[Target], *, settings: Collect) -> Cost:
    """What asking for all targets will take at most."""
    photos = min(settings.per_class, spec.records) * len(targets)
    requests = {host_of(spec.api): _answers(spec) * len(targets)}
    each = _BYTES.get(spec.size, 300_000)
    return Cost(requests, photos, "upload.wikimedia.org", photos * each)


def again(spec: Spec, keys: Sequence[str], *, door: "Door") -> Iterator[Standing]:
    """How files stand now, 50 in one request.

    Raises:
        ConfigError: no contact is configured.
        SourceError: the service failed, or answered what is no list of files.
        HostBlocked: the service will not answer for some time.
    """
    named = [key for key in keys if whole(key) is not None]
    yield from (Standing(key, "gone") for key in keys if whole(key) is None)
    for start in range(0, len(named), _AT_ONCE):
        some = named[start : start + _AT_ONCE]
        search = _imageinfo(spec) | {"pageids": "|".join(some)}
        found: dict[str, Mapping[str, Any]] = {}
        go_on: Mapping[str, str | int] = {}
        for _ in range(_AT_ONCE):
            files, go_on, _used = _batch(spec, search, go_on, door)
            found |= {str(file.get("pageid")): file for file in files}
            if not go_on:
                break
        for key in some:
            info = _info(found.get(key, {}))
            if info.get("url"):
                yield Standing(key, "there", _licence(info)[1])
            else:
                yield Standing(key, "gone")


def _answers(spec: Spec) -> int:
    """Requests for a class, at most: twice, for an answer may come in parts."""
    return 2 * -(-spec.records // _AT_ONCE)


def _place(spec: Spec, at: object) -> tuple[Mapping[str, str | int], int, int]:
    """Where to go on, and how many answers and files may still come.

    Raises:
        InputError: this is no place in a list of files.
    """
    if at is None:
        return {}, _answers(spec), spec.records
    stored = mapping(at)
    go_on = mapping(stored.get("continue"))
    answers, files = whole(stored.get("answers")), whole(stored.get("files"))
    if not go_on or answers is None or files is None:
        message = f"the place where collecting stopped cannot be read: {at!r}"
        raise InputError(message)
    return go_on, answers, files


def _search(spec: Spec, target: Target, settings: Collect) -> dict[str, str | int]:
    """What names a class's files."""
    newest = settings.order == "newest"
    if spec.find == "category":
        search: dict[str, str | int] = {
            "generator": "categorymembers",
            "gcmtitle": f"Category:{_category(spec, target)}",
            "gcmtype": "file",
            "gcmlimit": min(_AT_ONCE, spec.records),
        }
        if settings.order != "random":
            search |= {"gcmsort": "timestamp", "gcmdir": "desc" if newest else "asc"}
        return search
    words = target.query
    if spec.find == "subcategories":
        words = f'deepcat:"{_category(spec, target)}"'
    search = {
        "generator": "search",
        "gsrnamespace": 6,
        "gsrsearch": f"{words} filetype:bitmap",
        "gsrlimit": min(_AT_ONCE, spec.records),
    }
    if settings.order != "random":
        search["gsrsort"] = f"create_timestamp_{'desc' if newest else 'asc'}"
    return search


def _category(spec: Spec, target: Target) -> str:
    name = spec.categories.get(target.name) or target.scientific_name
    if not name:
        message = (
            f"class {target.name!r} has no category on Wikimedia Commons: give its "
            "scientific_name, or name one in the source's categories"
        )
        raise ConfigError(message)
    return name.removeprefix("Category:").replace('"', "")


def _imageinfo(spec: Spec) -> dict[str, str | int]:
    """What is asked of each file."""
    asked: dict[str, str | int] = {
        "action": "query",
        "format": "json",
        "formatversion": 2,
        "maxlag": 5,
        "prop": "imageinfo",
        "iiprop": "url|user|size|sha1|mime|extmetadata",
    }
    return asked if spec.size == "original" else asked | {"iiurlwidth": int(spec.size)}


def _batch(
    spec: Spec,
    search: Mapping[str, str | int],
    go_on: Mapping[str, str | int],
    door: "Door",
) -> tuple[list[dict[str, Any]], Mapping[str, str | int], int]:
    """Files of one batch, where to go on (empty: finished), and answers it took.

    An answer may give some of a batch's files without what was asked of them; the rest
    comes in further answers, until one says that the batch is complete.
    """
    files: dict[str, dict[str, Any]] = {}
    for used in range(1, _AT_ONCE + 1):
        answer = _ask(spec, {**search, **go_on}, door)
        for place, page in enumerate(
            listing(mapping(answer.get("query")).get("pages"))
        ):
            file = page if isinstance(page, dict) else {"unreadable": page}
            name = json.dumps(file.get("pageid", f"{used}-{place}"))
            files[name] = {**files.get(name, {}), **file}
        follow = answer.get("continue", {})
        if not isinstance(follow, dict) or not all(
            isinstance(value, str | int) for value in follow.values()
        ):
            message = f"{spec.api}: cannot go on from {str(follow)[:200]}"
            raise SourceError(message, url=spec.api)
        if follow and follow == go_on:
            message = f"{spec.api}: the answers go in circles"
            raise SourceError(message, url=spec.api)
        go_on = follow
        if answer.get("batchcomplete") or not go_on:
            ordered = sorted(files.values(), key=lambda f: whole(f.get("index")) or 0)
            return ordered, go_on, used
    message = f"{spec.api}: an answer did not come to its end"
    raise SourceError(message, url=spec.api)


def _ask(
    spec: Spec, params: Mapping[str, str | int], door: "Door"
) -> Mapping[str, Any]:
    """One answer; errors come with status 200, and the door has waited for lag."""
    answer = door.json(spec.api, params=params, contact=True)
    if not isinstance(answer, dict):
        message = f"{spec.api}: the answer is no object"
        raise SourceError(message, url=spec.api)
    if "error" in answer:
        error = mapping(answer["error"])
        code = text(error.get("code")) or "unknown error"
        message = f"{spec.api}: {code}: {text(error.get('info'))}"
        raise SourceError(message, url=spec.api, status=200)
    return answer


def _info(file: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping(next(iter(listing(file.get("imageinfo"))), None))


def _candidate(
    file: Mapping[str, Any], target: Target, spec: Spec, settings: Collect
) -> Candidate:
    info = _info(file)
    meta = {
        name: mapping(field).get("value")
        for name, field in mapping(info.get("extmetadata")).items()
    }
    key = whole(file.get("pageid"))
    licence, stated = _licence(info)
    width = "original"
    url = web(info.get("url"))
    if spec.size != "original" and (small := web(info.get("thumburl"))):
        url, width = small, "original" if small == url else spec.size
    title = text(file.get("title"))
    artist = plain(meta.get("Artist"))
    observer = artist or text(info.get("user"))
    credit = plain(meta.get("Attribution")) or ", ".join(
        part
        for part in (artist or "unknown author", stated, "via Wikimedia Commons")
        if part
    )
    place = coarse(meta.get("GPSLatitude"), meta.get("GPSLongitude"))
    shown = place if settings.coordinates == "coarse" else (None, None)
    return Candidate(
        source="commons",
        key=key_of(file) if key is None else str(key),
        revision=f"{text(info.get('sha1'), 40) or ''} {width}",
        class_=target.name,
        url=url or "",
        photo_key=None if key is None else f"commons:{key}",
        source_url=web(info.get("descriptionurl")),
        title=title.removeprefix("File:") if title else None,
        author=artist,
        licence=licence,
        licence_text=stated,
        attribution=credit,
        observer=f"commons:{observer}" if observer else None,
        observed_on=day(plain(meta.get("DateTimeOriginal"))),
        latitude=shown[0],
        longitude=shown[1],
        note=_note(meta),
        refused=_refused(file, info, url, licence, stated),
    )


def _note(meta: Mapping[str, Any]) -> str | None:
    """What a person should look at before the photo is published."""
    remarks = [
        f"{word}: {said}"
        for name, word in (
            ("Restrictions", "restrictions"),
            ("DeletionReason", "nominated for deletion"),
        )
        if (said := plain(meta.get(name)))
    ]
    return "; ".join(remarks) or None


def _refused(
    file: Mapping[str, Any],
    info: Mapping[str, Any],
    url: str | None,
    licence: str | None,
    stated: str | None,
) -> str | None:
    """Why it can never become a photo."""
    if whole(file.get("pageid")) is None:
        return "the record has no pageid"
    if not info:
        return "the file is missing"
    mime = text(info.get("mime"), 100)
    if mime not in _STILL:
        return f"not a still photo: {mime}"
    if not url:
        return NO_ADDRESS
    if not licence:
        return f"licence not recognised: {stated}" if stated else NO_LICENCE
    return None


def _licence(info: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """A file's licence and the text it was read from.

    Where a text offers several, the most open one holds, for one may choose. Where
    the texts contradict each other, the most restrictive holds.
    """
    meta = mapping(info.get("extmetadata"))
    stated = [
        said
        for name in ("LicenseShortName", "License", "LicenseUrl")
        if (said := plain(mapping(meta.get(name)).get("value")))
    ]
    read = [(name, said) for said in stated if (name := _chosen(said))]
    if not read:
        return None, stated[0] if stated else None
    return max(read, key=lambda pair: openness(pair[0]))


def _chosen(said: str) -> str | None:
    """The most open of the licences that a text offers."""
    names = []
    for part in re.split(r"\s+(?:or|and/or)\s+", said, flags=re.I):
        # "CC BY-SA 3.0,2.5,2.0,1.0" and "CC BY-SA 2.5-2.0-1.0" offer every version
        one = re.sub(r"(\d\.\d)(?:[,-]\s*\d\.\d)+$", r"\1", part)
        name = normalise(one)
        # Commons always states a version: "Attribution" is no Creative Commons licence
        if name and (re.search(r"\d", name) or not name.startswith("CC-")):
            names.append(name)
    return min(names, key=openness) if names else None
