"""How fast hosts are asked: never more than their limits in any window of time.

Requests a minute: the times of the latest requests are kept, and a request is let
through when both hold: fewer than the limit in the last minute, and fewer than a small
burst in the burst's share of a minute, so that requests come evenly. Requests a day and
bytes are counted by the minute, and a minute counts until all of it is out of the
window. Bytes are not known beforehand: a share is put aside when a photo is asked for
and settled when it has arrived, so what is over the limit is at most what was under way
and larger than its share.
"""

import math
import sqlite3
import threading
from dataclasses import dataclass, replace

from curation.http.limits import Limits
from curation.http.state import State

MINUTE = 60.5
"""Seconds of a window: a little longer, as requests do not all travel equally fast."""
HOUR, DAY = 60, 24 * 60  # in minutes
_BURST = 5
_ASIDE = 1_000_000
"""Bytes put aside for a photo, or a hundredth of the limit when that is less."""


@dataclass(frozen=True, slots=True)
class Denied:
    """Not now.

    Attributes:
        wait: seconds after which it is worth asking again.
        why: None for the pace of requests; else which limit is used up, or why another
            run was told to leave the host alone.
    """

    wait: float
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Ticket:
    """One request that was let through; `aside` bytes are put aside in `minute`."""

    budget: str
    minute: int
    aside: int


class Pace:
    """Lets requests through; safe to use from many threads and processes."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._turns: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def turn(self, budget: str) -> threading.Lock:
        """Threads that wait for the same budget queue here, so none is overtaken."""
        with self._lock:
            return self._turns.setdefault(budget, threading.Lock())

    def admit(self, limits: Limits, service: str, *, photo: bool) -> Ticket | Denied:
        """Let one request through and count it, or say how long to wait."""
        with self._state.change() as (db, now):
            minute = int(now // 60)
            _set_right(db, limits.budget, now)
            counts_bytes = photo or not limits.media
            aside = _aside(limits) if counts_bytes else 0
            denied = (
                _blocked(db, service, now)
                or _budgets(db, limits, now, aside)
                or _pace(db, limits, now)
            )
            if denied:
                return denied
            if limits.per_minute is not None:
                db.execute("INSERT INTO asked VALUES (?, ?)", (limits.budget, now))
                old = (limits.budget, now - _window(limits.per_minute)[1] - MINUTE)
                db.execute("DELETE FROM asked WHERE budget = ? AND at < ?", old)
            _add(db, limits.budget, minute, requests=1, size=aside)
            return Ticket(limits.budget, minute, aside)

    def count(self, limits: Limits, received: int) -> float:
        """Count bytes that came unasked for; seconds until there is room for more."""
        with self._state.change() as (db, now):
            _set_right(db, limits.budget, now)
            _add(db, limits.budget, int(now // 60), requests=0, size=received)
            denied = _budgets(db, replace(limits, per_day=None), now, _aside(limits))
            return denied.wait if denied else 0.0

    def settle(self, ticket: Ticket, received: int) -> None:
        """Count what really arrived in place of what was put aside."""
        if ticket.aside == received:
            return
        with self._state.change() as (db, now):
            _add(db, ticket.budget, ticket.minute, requests=0, size=-ticket.aside)
            _add(db, ticket.budget, int(now // 60), requests=0, size=received)


def _window(per_minute: float) -> tuple[int, float]:
    """How many requests in how many seconds: below one a minute the window grows."""
    if per_minute >= 1:
        return math.floor(per_minute), MINUTE
    return 1, MINUTE / per_minute


def _blocked(db: sqlite3.Connection, service: str, now: float) -> Denied | None:
    """What another run, perhaps one that goes on now, was told."""
    row = db.execute(
        "SELECT until, reason FROM blocked WHERE service = ? AND until > ?",
        (service, now),
    ).fetchone()
    return Denied(row[0] - now, row[1]) if row else None


def _pace(db: sqlite3.Connection, limits: Limits, now: float) -> Denied | None:
    if limits.per_minute is None:
        return None
    count, window = _window(limits.per_minute)
    burst = min(_BURST, count)
    wait = 0.0
    for most, seconds in ((count, window), (burst, burst * window / count)):
        row = db.execute(
            "SELECT at FROM asked WHERE budget = ? ORDER BY at DESC LIMIT 1 OFFSET ?",
            (limits.budget, most - 1),
        ).fetchone()
        if row is not None:
            wait = max(wait, row[0] + seconds - now)
    # a wait too short for the clock to notice would be asked for again and again
    return Denied(wait + 0.001) if wait > 0 else None


def _aside(limits: Limits) -> int:
    least = [b for b in (limits.bytes_per_hour, limits.bytes_per_day) if b is not None]
    return min(_ASIDE, max(1, min(least) // 100)) if least else 0


def _budgets(
    db: sqlite3.Connection, limits: Limits, now: float, aside: int
) -> Denied | None:
    """The budget of the hour or day that is used up the longest, if any."""
    wanted = [("requests", limits.per_day, DAY, 1, "requests a day")]
    if aside:
        wanted += [
            ("bytes", limits.bytes_per_hour, HOUR, aside, "bytes an hour"),
            ("bytes", limits.bytes_per_day, DAY, aside, "bytes a day"),
        ]
    worst: Denied | None = None
    for column, most, minutes, more, words in wanted:
        if most is None:
            continue
        room = most - more
        wait = _until_room(db, limits.budget, column, minutes, room, now)
        if wait > 0 and (worst is None or wait > worst.wait):
            worst = Denied(wait, f"{most:,} {words} are used up")
    return worst


def _until_room(
    db: sqlite3.Connection,
    budget: str,
    column: str,
    minutes: int,
    room: int,
    now: float,
) -> float:
    """Seconds until at most `room` is counted in the last `minutes`; 0: now."""
    # a minute counts as long as any moment of it is in the window
    first = math.floor((now - minutes * 60) / 60)
    where = (budget, first)
    (total,) = db.execute(
        f"SELECT coalesce(sum({column}), 0) FROM spent "
        "WHERE budget = ? AND minute >= ?",
        where,
    ).fetchone()
    if total <= room:
        return 0.0
    rows = db.execute(
        f"SELECT minute, {column} FROM spent WHERE budget = ? AND minute >= ? "
        "ORDER BY minute",
        where,
    )
    leaves = now
    for minute, amount in rows:
        total -= amount
        leaves = (minute + 1 + minutes) * 60 + 0.001
        if total <= room:
            break
    return float(max(leaves - now, 0.001))


def _add(
    db: sqlite3.Connection, budget: str, minute: int, *, requests: int, size: int
) -> None:
    db.execute(
        "INSERT INTO spent VALUES (?, ?, ?, ?) ON CONFLICT (budget, minute) DO UPDATE "
        "SET requests = requests + excluded.requests, bytes = bytes + excluded.bytes",
        (budget, minute, requests, size),
    )


def _set_right(db: sqlite3.Connection, budget: str, now: float) -> None:
    """What the clock, since set back, put into the future counts as of now."""
    minute = int(now // 60)
    late = (budget, minute)
    requests, size = db.execute(
        "SELECT sum(requests), sum(bytes) FROM spent WHERE budget = ? AND minute > ?",
        late,
    ).fetchone()
    if requests is not None:
        db.execute("DELETE FROM spent WHERE budget = ? AND minute > ?", late)
        _add(db, budget, minute, requests=requests, size=size)
    db.execute(
        "UPDATE asked SET at = ? WHERE budget = ? AND at > ?", (now, budget, now)
    )
