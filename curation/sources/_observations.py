"""Observations as iNaturalist's API gives them become rows, whatever they hold."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from curation.sources import Candidate
from curation.sources._records import (
    coarse,
    day,
    key_of,
    licence_of,
    listing,
    mapping,
    text,
    whole,
)

_PAGE = "https://www.inaturalist.org/photos"
_SIZED = re.compile(
    r"(?P<folder>https?://[\w.:-]+/(?:[\w./-]*/)?)"
    r"(?:square|thumb|small|medium|large|original)"
    r"(?P<rest>(?:\.\w{1,5})?(?:\?[\w=&%.-]*)?)",
    re.ASCII,
)


def candidates(
    observation: object, *, class_: str, size: str = "medium", places: bool = False
) -> Iterator[Candidate]:
    """One candidate for each photo of an observation, whatever it looks like.

    Args:
        observation: as the API gives it, parsed.
        class_: class it was asked for.
        size: photo to fetch: medium, large or original.
        places: keep open places, rounded to 0.1 degree.
    """
    seen, id_ = mapping(observation), id_of(observation)
    photos = listing(seen.get("photos"))
    known: dict[str, Any] = {"source": "inaturalist", "revision": size}
    known["class_"] = class_
    if id_ is None or not photos:
        reason = "observation without photos" if id_ else "observation without an id"
        key = f"{id_}/none" if id_ else key_of(observation)
        yield Candidate(**known, key=key, url="", refused=reason)
        return
    known |= _about(seen, id_, places=places)
    for photo in photos:
        number, photo = id_of(photo), mapping(photo)
        stated = text(photo.get("license_code"))
        licence, no_licence = licence_of(stated)
        url = _sized(photo.get("url"), size)
        fault = None if url else "no address that names a size"
        if number is None:
            fault = "photo without an id"
        yield Candidate(
            **known,
            key=f"{id_}/{number or key_of(photo)}",
            url=url or "",
            photo_key=f"inaturalist:{number}" if number else None,
            source_url=f"{_PAGE}/{number}" if number else None,
            licence=licence,
            licence_text=stated,
            attribution=text(photo.get("attribution")),
            refused=_withheld(seen, photo) or fault or no_licence,
        )


def _about(seen: Mapping[str, Any], id_: int, *, places: bool) -> dict[str, Any]:
    """What all photos of an observation share."""
    user, taxon = mapping(seen.get("user")), mapping(seen.get("taxon"))
    observer, name = id_of(user), user.get("name")
    # a name that is an e-mail address is not shown; the login says who it is as well
    mail = isinstance(name, str) and "@" in name
    latitude, longitude = _where(seen) if places else (None, None)
    return {
        "author": (not mail and text(name)) or text(user.get("login")),
        "title": text(seen.get("species_guess")) or text(taxon.get("name")),
        "observation_id": f"inaturalist:{id_}",
        "observer": f"inaturalist:{observer}" if observer else None,
        "observed_on": day(seen.get("observed_on")),
        "latitude": latitude,
        "longitude": longitude,
    }


def _where(seen: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Where it was, to 0.1 degree; nowhere unless the place is plainly open."""
    for name in ("geoprivacy", "taxon_geoprivacy"):
        if seen.get(name) not in (None, "open"):
            return None, None
    if seen.get("obscured") is not False:
        return None, None
    north, _, east = str(seen.get("location")).partition(",")
    return coarse(north, east)


def offered(observation: object) -> dict[str, str | None]:
    """Keys of the photos that anybody may see, and their licences."""
    seen = mapping(observation)
    return {
        f"{id_of(seen)}/{id_of(photo)}": text(mapping(photo).get("license_code"))
        for photo in listing(seen.get("photos"))
        if id_of(photo) and not _withheld(seen, mapping(photo))
    }


def _withheld(seen: Mapping[str, Any], photo: Mapping[str, Any]) -> str | None:
    """Why a photo is not for everybody; None when it is."""
    last = mapping((listing(photo.get("moderator_actions")) or (None,))[-1])
    if photo.get("hidden") or last.get("action") == "hide":
        return "hidden by a moderator"
    for what, of in (("photo", photo), ("observation", seen)):
        for flag in map(mapping, listing(of.get("flags"))):
            if flag.get("resolved") is not True:
                return f"{what} is flagged: {text(flag.get('flag')) or 'no reason'}"
    return None


def _sized(address: object, size: str) -> str | None:
    """The address of another size; one of a photo that was removed names none."""
    found = _SIZED.fullmatch(address) if isinstance(address, str) else None
    return f"{found['folder']}{size}{found['rest']}" if found else None


def id_of(value: object) -> int | None:
    """The id of an observation, photo or user."""
    return whole(mapping(value).get("id")) or None
