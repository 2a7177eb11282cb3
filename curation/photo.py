"""One photo: finding it, and everything known of it."""

from collections.abc import Iterable, Mapping
from typing import Any

from curation.errors import InputError
from curation.pipeline import Route
from curation.rows import having
from curation.schemas import SCHEMAS

_SHORTEST = 8
_WIDE = ("embedding", "phash", "probabilities", "thumb")
_TABLES = (
    "photos", "hashes", "flags", "duplicates", "leaks", "proposals", "tasks",
    "label_events", "labels", "predictions", "groups",
)  # fmt: skip


def find(route: Route, key: str) -> str:
    """The photo_id that a photo_id, its beginning, a URL or a path stands for.

    Raises:
        InputError: no photo, or more than one.
    """
    attempts = arrived(route)
    fetched = set(attempts.values())
    if len(key) >= _SHORTEST:
        begun = sorted(photo for photo in fetched if photo.startswith(key.lower()))
        if len(begun) == 1:
            return begun[0]
        if begun:
            message = f"{key}: {len(begun)} photos begin so: {', '.join(begun[:5])}"
            raise InputError(message)
    found = {
        attempts[row["candidate_id"]]
        for row in route.table("candidates").to_pylist()
        if key in _names(row) and row["candidate_id"] in attempts
    }
    if len(found) == 1:
        return found.pop()
    what = f"{len(found)} photos" if found else "no photo"
    message = (
        f"{key}: {what} of this work folder; give a photo_id ({_SHORTEST} digits or "
        "more), or the URL or path of a record in candidates"
    )
    raise InputError(message)


def show(route: Route, key: str) -> dict[str, Any]:
    """Everything known of one photo: rows of every table that hold it.

    Of a file that never became a photo: its record, and why.
    """
    refused = _refused(route, key)
    if refused:
        return refused
    photo_id = find(route, key)
    facts: dict[str, Any] = {"photo_id": photo_id}
    attempts = arrived(route)
    facts["candidates"] = [
        row
        for row in route.table("candidates").to_pylist()
        if attempts.get(row["candidate_id"]) == photo_id
    ]
    for name in _TABLES:
        if route.fingerprint(name) is None:
            continue
        rows = [_narrow(row) for row in _holding(route, name, photo_id)]
        if rows:
            facts[name] = rows[0] if name in ("photos", "hashes", "flags") else rows
    taken = [
        row for row in route.shelf.read_log("takedowns") if photo_id == row["photo_id"]
    ]
    if taken:
        facts["taken_down"] = taken[-1]
    return facts


def text(facts: Mapping[str, Any]) -> str:
    """Facts for a person: one line per row, empty values left out."""
    lines = [f"photo {facts['photo_id'] or '(none: it was refused)'}"]
    for name, rows in facts.items():
        if name == "photo_id":
            continue
        lines.append(f"\n{name}")
        for row in rows if isinstance(rows, list) else [rows]:
            lines.extend(
                f"  {key}: {value}"
                for key, value in row.items()
                if value not in (None, "", []) and key != "photo_id"
            )
            lines.append("")
    return "\n".join(lines)


def arrived(route: Route) -> dict[str, str]:
    """photo_id by candidate_id, of everything that was ever fetched."""
    return {
        row["candidate_id"]: row["photo_id"]
        for row in route.shelf.read_log("fetches")
        if row["status"] == "ok"
    }


def named(route: Route) -> dict[str, str]:
    """photo_id by everything a photo may be called: its id, path, URL or page."""
    names: dict[str, str] = {}
    ids = arrived(route)
    for row in route.table("candidates").to_pylist():
        photo = ids.get(row["candidate_id"])
        if photo:
            for name in filter(None, _names(row)):
                names.setdefault(name, photo)
    return names | {photo: photo for photo in ids.values()}


def _names(record: Mapping[str, Any]) -> tuple[str | None, ...]:
    """What a record may be called by."""
    return record["key"], record["url"], record["source_url"]


def _refused(route: Route, key: str) -> dict[str, Any] | None:
    """Record and failed attempts of a file that never became a photo."""
    known = arrived(route)
    records = [
        row
        for row in route.table("candidates").to_pylist()
        if key in _names(row) and row["candidate_id"] not in known
    ]
    if not records:
        return None
    ids = {row["candidate_id"] for row in records}
    tried = [r for r in route.shelf.read_log("fetches") if r["candidate_id"] in ids]
    return {"photo_id": None, "candidates": records, "fetches": tried}


def _holding(route: Route, name: str, photo_id: str) -> Iterable[dict[str, Any]]:
    """Rows of a table that are about a photo, as itself or as a keeper."""
    table = route.table(name)
    columns = [c for c in ("photo_id", "keeper") if c in SCHEMAS[name]]
    for column in columns:
        yield from having(table, column, photo_id).to_pylist()


def _narrow(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in _WIDE}
