"""fetch: candidates → photos and blobs.

Every attempt is a row of the log `fetches`, so that a run killed at any moment fetches
again only what was in flight. The table `photos` is drawn from that log: one row per
distinct file, credited to the record with the most open licence.
"""

import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import pyarrow as pa

from curation.config import Dataset, SourceSpec
from curation.errors import DecodeError, FetchError
from curation.licences import openness
from curation.pipeline import Route
from curation.schemas import from_rows
from curation.sources import source
from curation.takedowns import Takedowns
from evaluation.images import sniff

VERSION = 1
OUTPUT = "photos"
INPUTS = ("candidates", "fetches", "takedowns")
_BATCH = 64


def settings(config: Dataset) -> dict[str, Any]:
    """The limits; a file refused under other limits is tried again."""
    return config.fetch.model_dump()


def intact(route: Route) -> bool:
    """Whether every photo of the table still has its blob: `check` looks deeper."""
    return True


def run(route: Route) -> int:
    """Fetch what was never tried; returns how many attempts were made."""
    limits = _limits(route.config)
    attempts = {
        row["candidate_id"]: row
        for row in route.shelf.read_log("fetches")
        if row["limits"] == limits or row["status"] != "failed"
    }
    # `check` notes a photo as lost when its bytes are gone or changed
    attempts = {key: row for key, row in attempts.items() if row["status"] != "lost"}
    taken = Takedowns(route.shelf)
    wanted = route.table("candidates").to_pylist()
    todo = iter([row for row in wanted if row["candidate_id"] not in attempts])
    tried = 0
    while batch := list(islice(todo, _BATCH)):
        rows = [_attempt(route, row, taken) | {"limits": limits} for row in batch]
        route.shelf.append("fetches", rows)
        attempts.update((row["candidate_id"], row) for row in rows)
        tried += len(rows)
        route.say(f"fetch: {tried} files looked at")
    arrived = [
        (row, attempts[row["candidate_id"]])
        for row in wanted
        if attempts[row["candidate_id"]]["status"] == "ok"
        and attempts[row["candidate_id"]]["photo_id"] not in taken.photos
    ]
    refused = sum(attempts[row["candidate_id"]]["status"] != "ok" for row in wanted)
    route.finish("fetch", _photos(arrived), refused)
    return tried


def _limits(config: Dataset) -> str:
    return f"{config.fetch.max_bytes}/{config.fetch.max_pixels}"


def _attempt(
    route: Route, candidate: Mapping[str, Any], taken: Takedowns
) -> dict[str, Any]:
    """Fetch one photo; trouble becomes the row's reason."""
    row = {
        "candidate_id": candidate["candidate_id"],
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "status": "failed",
    }
    try:
        if candidate["refused"]:
            raise FetchError(candidate["refused"])
        spec = _spec(route.config, candidate)
        limits = route.config.fetch
        data = source(spec.kind).read(candidate["url"], spec, limits.max_bytes)
        header = sniff(data, max_pixels=limits.max_pixels)
    except (FetchError, DecodeError) as error:
        return row | {"error": str(error)}
    photo_id = hashlib.sha256(data).hexdigest()
    if photo_id not in taken.photos:
        route.shelf.add_photo(photo_id, data)
    return row | {
        "status": "ok",
        "photo_id": photo_id,
        "bytes": len(data),
        "format": header.format,
        "width": header.width,
        "height": header.height,
    }


def _spec(config: Dataset, candidate: Mapping[str, Any]) -> SourceSpec:
    place: int = candidate["place"]
    return config.sources[place]


def _photos(arrived: list[tuple[dict[str, Any], dict[str, Any]]]) -> pa.Table:
    """One row per distinct file, sorted by photo_id."""
    by_photo: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {}
    for candidate, attempt in arrived:
        by_photo.setdefault(attempt["photo_id"], []).append((candidate, attempt))
    return from_rows(list(_rows(by_photo)), OUTPUT)


def _rows(
    by_photo: Mapping[str, list[tuple[dict[str, Any], dict[str, Any]]]],
) -> Iterator[dict[str, Any]]:
    for photo_id, pairs in sorted(by_photo.items()):
        pairs.sort(key=lambda pair: (openness(pair[0]["licence"]), pair[0]["order"]))
        credit, attempt = pairs[0]
        yield {
            "photo_id": photo_id,
            "candidate_id": credit["candidate_id"],
            "class": credit["class"],
            "classes": sorted({candidate["class"] for candidate, _ in pairs}),
            "observation_id": credit["observation_id"] or photo_id,
            "composed": any(candidate["composed"] for candidate, _ in pairs),
            "bytes": attempt["bytes"],
            "format": attempt["format"],
            "width": attempt["width"],
            "height": attempt["height"],
            "order": min(candidate["order"] for candidate, _ in pairs),
        }
