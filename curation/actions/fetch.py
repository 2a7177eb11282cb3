"""fetch: candidates → photos and blobs.

Every attempt is a row of the log `fetches`, so that a run killed at any moment fetches
again only what was in flight. The table `photos` is drawn from that log: one row per
distinct file, credited to the record with the most open licence.

A photo that failed is tried again by the next run when the trouble was the service's
and may pass, or when the limits are others; what is gone, refused or no picture is not.

Photos over the network are fetched by many threads; those on this machine are read in
groups, by several processes where there are many, and each group waits for the disk
once.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curation import attempts
from curation.config import Dataset, SourceSpec
from curation.credit import COLUMNS, Drawn, photos
from curation.errors import DecodeError, FetchError, HostBlocked, RemoteError
from curation.pipeline import Route
from curation.shelf import Shelf
from curation.sources import source
from curation.takedowns import Takedowns
from evaluation.images import sniff

if TYPE_CHECKING:
    from curation.http import Door
    from curation.progress import Progress

VERSION = 1
OUTPUT = "photos"
INPUTS = ("candidates", "fetches", "takedowns")

Places = NDArray[np.int64]

Row = dict[str, Any]
Keep = Callable[[str, bytes], None]

_MANY = 4096
_GROUP = 256
"""Photos of this machine that wait for the disk together."""
_WORTH = 8192
"""Photos of this machine that are worth the start of more processes."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What an attempt goes by; another process can be told it.

    Attributes:
        sources: dataset.toml's sources, in order.
        max_bytes: larger files are refused.
        max_pixels: larger pictures are refused.
        taken: photos that were taken down: never kept again.
    """

    sources: tuple[SourceSpec, ...]
    max_bytes: int
    max_pixels: int
    taken: frozenset[str]

    @property
    def limits(self) -> str:
        """The limits as the log names them."""
        return f"{self.max_bytes}/{self.max_pixels}"


def settings(config: Dataset) -> dict[str, Any]:
    """The limits; a file refused under other limits is tried again."""
    return config.fetch.model_dump()


def intact(route: Route) -> bool:
    """Whether nothing is to be tried again: `check` looks whether blobs are there."""
    remark = route.shelf.remarked("fetch", route.recipe("fetch"))
    return not remark.get("short") and not remark.get("again")


def run(route: Route) -> int:
    """Fetch what was never tried; returns how many attempts were made.

    A host that blocks us is noted in `route.troubles`: its photos wait for another run,
    those of other hosts are fetched.
    """
    taken = Takedowns(route.shelf)
    tried, blocked = _fetch(route, taken)
    records = route.batches("candidates", COLUMNS)
    drawn = photos(records, attempts.last(route.shelf), taken.photos)
    remark = {"short": bool(blocked), "again": drawn.again}
    route.shelf.remark("fetch", route.recipe("fetch"), remark)
    _finish(route, drawn)
    hosts = {error.host: error for error in blocked.values()}
    for host in sorted(hosts):
        route.troubles.append(RemoteError(_masked(f"fetch: {hosts[host]}")))
    return tried


def _fetch(route: Route, taken: Takedowns) -> tuple[int, dict[str, HostBlocked]]:
    """Try every record that is not settled; how many, and which hosts block us."""
    from curation.fetching import fetch
    from curation.http.door import HttpDoor
    from curation.progress import progress

    rules, log = _rules(route.config, taken), attempts.last(route.shelf)
    kinds = enumerate(spec.kind for spec in route.config.sources)
    remote = {place for place, kind in kinds if source(kind).REMOTE}
    records = route.batches("candidates", attempts.COLUMNS)
    todo, shut = attempts.todo(records, log, limits=rules.limits, remote=remote)
    tried = len(todo) + len(shut)
    _refuse(route, shut, rules)
    blocked: dict[str, HostBlocked] = {}
    with HttpDoor(route.config.http) if remote else nullcontext() as door:
        while len(todo):
            known = attempts.had(todo, log)
            _had(route, todo, log, known, rules)
            todo = todo.only(known < 0)
            # one record of each photo; then the others know what came of it
            first = attempts.first(todo)
            now, todo = todo.only(first), todo.only(~first)
            lanes = now.lanes(remote)
            here = [lanes.pop(lane) for lane in [*lanes] if lane.startswith("source ")]
            for host in blocked.keys() & lanes.keys():
                del lanes[host]
            with progress(len(now), step="fetch", say=route.say) as seen:
                for lane in here:
                    _bring(route, lane, rules, seen, many=len(now) >= _WORTH)
                blocked |= fetch(
                    lanes,
                    lambda row: _attempt(rules, row, route.shelf.add_photo, door),
                    threads=min(route.config.http.connections, len(now))
                    if lanes
                    else 0,
                    keep=lambda rows: route.append("fetches", rows),
                    progress=seen,
                )
            tried -= len(now) - seen.done  # a blocked host's stay untried
            if len(todo):
                log = attempts.last(route.shelf)
    return tried, blocked


def _rules(config: Dataset, taken: Takedowns) -> Rules:
    return Rules(
        sources=tuple(config.sources),
        max_bytes=config.fetch.max_bytes,
        max_pixels=config.fetch.max_pixels,
        taken=frozenset(taken.photos),
    )


def _bring(
    route: Route, lane: Iterator[Row], rules: Rules, seen: "Progress", *, many: bool
) -> None:
    """Read the photos of a source on this machine, and keep what came of them."""
    from curation.fetching import account
    from curation.spread import spread

    groups = iter(lambda: list(islice(lane, _GROUP)), [])
    jobs = route.cores if many else 1
    work = partial(_group, rules, route.shelf.folder)
    for rows in spread(work, groups, jobs=jobs):
        account(rows, lambda some: route.append("fetches", some), seen)


def _group(rules: Rules, folder: Path, records: list[Row]) -> list[Row]:
    """Read photos; they are on disk when this returns."""
    with Shelf(folder).adding() as add:
        return [_attempt(rules, record, add, None) for record in records]


def _attempt(
    rules: Rules, record: Mapping[str, Any], keep: Keep, door: "Door | None"
) -> Row:
    """Fetch one photo; trouble becomes the row's reason."""
    row = _row(record, rules) | {"status": "failed", "attempts": 1}
    spec = rules.sources[record["place"]]
    module = source(spec.kind)
    try:
        if door is not None and module.REMOTE:
            robots = getattr(module, "ROBOTS", False)
            data = door.photo(record["url"], limit=rules.max_bytes, robots=robots)
        else:
            data = module.read(record["url"], spec, rules.max_bytes)
        header = sniff(data, max_pixels=rules.max_pixels)
    except FetchError as error:
        told = {"error": _masked(str(error)), "attempts": error.attempts}
        return row | told | {"again": error.passing}
    except DecodeError as error:
        return row | {"error": _masked(str(error))}
    photo_id = hashlib.sha256(data).hexdigest()
    if photo_id not in rules.taken:
        keep(photo_id, data)
    return row | {
        "status": "ok",
        "photo_id": photo_id,
        "bytes": len(data),
        "format": header.format,
        "width": header.width,
        "height": header.height,
    }


def _row(record: Mapping[str, Any], rules: Rules) -> Row:
    """What every row of the log states; the licence is that of now, for ever."""
    return {
        "candidate_id": record["candidate_id"],
        "photo_key": _public(record["photo_key"]),
        "licence": record["licence"],
        "licence_text": record["licence_text"],
        "limits": rules.limits,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _refuse(route: Route, records: attempts.Records, rules: Rules) -> None:
    """Records that the source says can never become a photo."""
    _append(
        route,
        (
            _row(record, rules)
            | {"status": "failed", "attempts": 0, "error": _masked(record["refused"])}
            for record in records.rows()
        ),
    )


def _had(
    route: Route,
    records: attempts.Records,
    log: attempts.Log,
    known: Places,
    rules: Rules,
) -> None:
    """Records whose photo came with another record already, by its place in the log."""
    _append(
        route,
        (
            _row(records.row(int(number)), rules)
            | log.facts(known[number])
            | {"status": "ok", "attempts": 0}
            for number in np.flatnonzero(known >= 0)
        ),
    )


def _append(route: Route, rows: Iterator[Row]) -> None:
    while group := list(islice(rows, _MANY)):
        route.append("fetches", group)


def _finish(route: Route, drawn: Drawn) -> None:
    """Put the table in place, part by part."""
    recipe, digests, count = route.recipe("fetch"), [], 0
    for number, part in enumerate(drawn.parts):
        digests.append(route.shelf.draft("fetch", recipe, number, part))
        count += part.num_rows
    route.shelf.replace("fetch", recipe)
    fingerprint = hashlib.sha256(json.dumps(digests).encode()).hexdigest()[:32]
    route.mark("fetch", count, fingerprint, failed=drawn.failed)


def _public(key: str | None) -> str | None:
    """A photo's name in every source, unless it is a URL that holds a secret."""
    if key is None or not any(sign in key for sign in "=@%"):
        return key
    return key if _masked(key) == key else None


def _masked(text: str) -> str:
    from curation.http.urls import masked

    return masked(text)
