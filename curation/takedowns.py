"""Takedowns: a photo leaves every later table and is never fetched again."""

from datetime import UTC, datetime
from typing import Any

from curation.photo import arrived, find
from curation.pipeline import Route
from curation.shelf import Shelf


class Takedowns:
    """What must never be fetched again: photos, and the records that led to them.

    Attributes:
        photos: ids.
        records: source and key.
        photo_keys, urls: what else names the same photos, in any source.
    """

    def __init__(self, shelf: Shelf) -> None:
        """Read the log."""
        rows = shelf.read_log("takedowns")
        records = [record for row in rows for record in row["records"]]
        self.photos = {row["photo_id"] for row in rows}
        self.records = {(source, key) for source, key, *_ in records}
        self.photo_keys = {name for record in records for name in record[2:3] if name}
        self.urls = {url for record in records for url in record[3:4] if url}


def forget(
    route: Route, key: str, *, reason: str, only: bool, dry_run: bool
) -> dict[str, Any]:
    """Take a photo down: log it, delete its bytes and its rows in every table.

    Its duplicates go with it, or one of them would take its place in the next release.

    Args:
        route: the route; its work folder must be held for writing.
        key: what `find` understands.
        reason: kept in the log.
        only: leave duplicates in place.
        dry_run: change nothing.

    Returns: `photos` taken down, `reason`, `dry_run`, and `published`: versions that
        were published with any of them, oldest first.
    """
    from curation.release import versions

    photo_id = find(route, key)
    photos = [photo_id] if only else sorted({photo_id, *_copies(route, photo_id)})
    attempts = arrived(route)
    records: dict[str, list[list[str]]] = {photo: [] for photo in photos}
    for row in route.table("candidates").to_pylist():
        photo = attempts.get(row["candidate_id"])
        if photo in records:
            url = row["url"] if "://" in row["url"] else ""
            names = [row["source"], row["key"], row["photo_key"] or "", url]
            records[photo].append(names)
    if not dry_run:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        route.shelf.append(
            "takedowns",
            [
                {"photo_id": photo, "records": found, "reason": reason, "at": now}
                for photo, found in records.items()
            ],
        )
        for photo in photos:
            route.shelf.purge(photo)
    return {
        "photos": photos,
        "reason": reason,
        "dry_run": dry_run,
        "published": versions.holding(route.shelf.folder, photos),
    }


def _copies(route: Route, photo_id: str) -> set[str]:
    """Photos merged with this one, whichever of them is the keeper."""
    if route.fingerprint("duplicates") is None:
        return set()
    merges = [
        row
        for row in route.table("duplicates").to_pylist()
        if row["decision"] == "merge"
    ]
    keepers = {row["keeper"] for row in merges if row["photo_id"] == photo_id}
    keepers.add(photo_id)
    return {row["photo_id"] for row in merges if row["keeper"] in keepers} | keepers
