"""Asks the sources again about photos in use: licences change, and photos go.

What they say is added to the log `rechecks`; nothing is deleted. The next release
leaves out photos that are gone, or whose licence is not let in any more.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import polars as pl

from curation.errors import InputError, SourceError
from curation.http.urls import masked
from curation.licences import normalise
from curation.pipeline import Route
from curation.release.contents import standing
from curation.sources import Standing, source

if TYPE_CHECKING:
    from curation.http import Door

AT_ONCE = 200
"""Records asked about before their answers are kept."""

_NEEDED = (
    "candidate_id", "source", "key", "source_url", "place", "order", "licence",
    "licence_text",
)  # fmt: skip

Row = Mapping[str, Any]


def recheck(
    route: Route, *, limit: int = 0, door: "Door | None" = None
) -> tuple[dict[str, Any], str]:
    """Ask about the records that photos in use are credited to, oldest check first.

    Args:
        route: the route; its work folder must be held for writing.
        limit: at most so many records; 0: all.
        door: to the network; made from the configuration when None.

    Returns: what was found, and which sources could not answer ("" when all did). The
        first holds `asked`, `there`, `gone` and `unanswered` (records), `left` (records
        that are still to be asked), and `changes`: each with `what` (licence, gone or
        back), `from` and `to`.

    Raises:
        InputError: nothing was fetched yet.
    """
    due = _due(route)
    rows = due.head(limit).to_dicts() if limit else due.to_dicts()
    if rows and door is None:
        from curation.http.door import HttpDoor

        with HttpDoor(route.config.http) as opened:
            return recheck(route, limit=limit, door=opened)
    found: list[tuple[Row, Standing]] = []
    trouble: list[str] = []
    unanswered = 0
    for place in sorted({row["place"] for row in rows}):
        mine = [row for row in rows if row["place"] == place]
        # a source that reads a whole table for an answer says so
        module = source(route.config.sources[place].kind)
        step = getattr(module, "AGAIN_AT_ONCE", AT_ONCE)
        for start in range(0, len(mine), step):
            part = mine[start : start + step]
            answers, reason = _ask(route, part, door)
            found += answers
            route.say(f"recheck: {len(found):,} of {len(rows):,} records")
            if reason:
                trouble.append(reason)
                break
            unanswered += len(part) - len(answers)
    asked = len(found) + unanswered
    result = {
        "asked": asked,
        "there": sum(standing.state == "there" for _, standing in found),
        "gone": sum(standing.state == "gone" for _, standing in found),
        "unanswered": unanswered,
        "left": due.height - asked,
        "changes": [c for row, standing in found for c in _changes(row, standing)],
    }
    return result, "; ".join(trouble)


def text(result: Mapping[str, Any]) -> str:
    """A result for a person."""
    lines = [
        f"{change['source']} {change['key']}: {_told(change)}"
        + (f"  {change['source_url']}" if change["source_url"] else "")
        for change in result["changes"]
    ]
    counts = (
        f"{result['asked']} records asked about: {result['there']} there, "
        f"{result['gone']} gone, {len(result['changes'])} changed"
    )
    if result["unanswered"]:
        counts += f", {result['unanswered']} without an answer"
    if result["left"]:
        counts += f"; {result['left']} are still to be asked"
    lines.append(counts)
    if result["changes"]:
        lines.append("`counterset release` leaves out what may not be published")
    return "\n".join(lines)


def _told(change: Row) -> str:
    if change["what"] == "licence":
        return f"licence {change['from'] or 'none'} → {change['to'] or 'none'}"
    return {"gone": "gone", "back": "there again"}[change["what"]]


def _due(route: Route) -> pl.DataFrame:
    """Records of remote sources that photos in use are credited to, and their state."""
    if route.fingerprint("photos") is None:
        message = "no photo was fetched yet; run `counterset fetch` first"
        raise InputError(message)
    kept = pl.DataFrame(route.table("photos")).select("photo_id", "candidate_id")
    if route.fingerprint("hashes") is not None:
        hashes = pl.DataFrame(route.table("hashes")).filter(pl.col("status") == "ok")
        kept = kept.join(hashes, on="photo_id", how="semi")
    if route.fingerprint("duplicates") is not None:
        merged = pl.DataFrame(route.table("duplicates"))
        merged = merged.filter(pl.col("decision") == "merge")
        kept = kept.join(merged, on="photo_id", how="anti")
    places = [
        place
        for place, spec in enumerate(route.config.sources)
        if source(spec.kind).REMOTE
    ]
    parts = [
        batch.filter(pl.col("place").is_in(places)).join(kept, on="candidate_id")
        for batch in route.batches("candidates", _NEEDED)
    ]
    if not parts:
        return pl.DataFrame(schema=dict.fromkeys(_NEEDED, pl.String))
    log = pl.DataFrame(route.table("rechecks"))
    asked = log.group_by("candidate_id").agg(pl.col("at").last())
    said = standing(log).select(
        "candidate_id", "state", then="licence", then_text="licence_text"
    )
    rows = pl.concat(parts).join(asked, on="candidate_id", how="left")
    rows = rows.join(said, on="candidate_id", how="left")
    return rows.sort("at", "order", nulls_last=False, maintain_order=True)


def _ask(
    route: Route, rows: Sequence[Row], door: "Door | None"
) -> tuple[list[tuple[Row, Standing]], str]:
    """Ask one source about some records and keep its answers; why it stopped, if so."""
    spec = route.config.sources[rows[0]["place"]]
    by_key: dict[str, list[Row]] = {}
    for row in rows:
        by_key.setdefault(row["key"], []).append(row)
    found: list[tuple[Row, Standing]] = []
    reason = ""
    silent: dict[str, list[Row]] = {}
    assert door is not None
    try:
        for answer in source(spec.kind).again(spec, list(by_key), door=door):
            # popped: an answer that comes twice counts once
            found += [(row, answer) for row in by_key.pop(answer.key, [])]
    except SourceError as error:
        reason = masked(f"{spec.kind}: {error}")
    else:
        silent = by_key
    finally:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        route.append(
            "rechecks",
            [
                {
                    "candidate_id": row["candidate_id"],
                    "at": now,
                    "state": answer.state,
                    "licence": normalise(answer.licence_text),
                    "licence_text": answer.licence_text,
                }
                for row, answer in found
            ]
            # noted, or they would be asked first for ever
            + [
                {"candidate_id": row["candidate_id"], "at": now, "state": "unknown"}
                for unheard in silent.values()
                for row in unheard
            ],
        )
    return found, reason


def _changes(row: Row, now: Standing) -> list[dict[str, Any]]:
    """What is otherwise than when it was last seen: by a recheck, or fetching."""
    about = {key: row[key] for key in ("candidate_id", "photo_id", "source", "key")}
    about["source_url"] = row["source_url"]
    known = row["state"] == "there"
    was_text = row["then_text"] if known else row["licence_text"]
    was = (row["then"] if known else row["licence"]) or was_text
    new = normalise(now.licence_text) or now.licence_text
    gone_before = row["state"] == "gone"
    if now.state == "gone":
        return (
            [] if gone_before else [about | {"what": "gone", "from": was, "to": None}]
        )
    changes = [about | {"what": "back", "from": None, "to": new}] if gone_before else []
    if new != was:
        changes.append(about | {"what": "licence", "from": was, "to": new})
    return changes
