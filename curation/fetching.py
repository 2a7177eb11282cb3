"""Fetches many photos at once: hosts take turns, and what arrived is kept in groups.

Threads take photos from `Turns` and fetch them; this thread alone keeps what came of
them. A host that blocks us loses its turn, all others go on.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from curation.errors import HostBlocked
from curation.progress import Progress

GROUP = 0.05
"""Seconds within which finished attempts are written together, with one fsync."""

_TICK = 0.5
_PATIENCE = 2.0  # seconds that threads get to end after an interruption


Row = dict[str, Any]
"""A record whose photo is wanted, or what came of it: a row of the log `fetches`."""


class Turns:
    """Which photo is next: hosts take turns, so that a slow one holds up no other.

    With several hosts, each has its share of the threads at most; a host that is left
    alone in the end has all of them.
    """

    def __init__(
        self,
        lanes: Mapping[str, Iterator[Row]],
        *,
        threads: int,
    ) -> None:
        """Args are hosts with their photos, and how many may be asked for at once."""
        self._lanes, self._threads = dict(lanes), threads
        self._ready, self._waits = deque(lanes), set(lanes)
        self._busy = dict.fromkeys(lanes, 0)
        self._change = threading.Condition()
        self._stopped = False

    def take(self) -> tuple[str, Row] | None:
        """The next photo and its host; None when nothing is left to be done."""
        with self._change:
            while not self._stopped:
                while self._ready:
                    lane = self._ready.popleft()
                    self._waits.discard(lane)
                    wanted = next(self._lanes[lane], None) if self._free(lane) else None
                    if wanted:
                        self._busy[lane] += 1
                        self._queue(lane)
                        return lane, wanted
                    if lane in self._lanes and self._free(lane):
                        self._drop(lane)
                if not self._lanes:
                    return None
                self._change.wait()
        return None

    def give_back(self, lane: str, *, blocked: bool = False) -> None:
        """A photo of this host is done with; `blocked` drops the host's other ones."""
        with self._change:
            self._busy[lane] -= 1
            if blocked and lane in self._lanes:
                self._drop(lane)
            self._queue(lane)
            self._change.notify()

    def stop(self) -> None:
        """Hand out no more."""
        with self._change:
            self._stopped = True
            self._change.notify_all()

    def _free(self, lane: str) -> bool:
        """Whether one more thread may ask this host."""
        if lane not in self._lanes:
            return False
        share = -(-self._threads // len(self._lanes))
        return self._busy[lane] < share

    def _queue(self, lane: str) -> None:
        if lane not in self._waits and self._free(lane):
            self._ready.append(lane)
            self._waits.add(lane)

    def _drop(self, lane: str) -> None:
        """This host has no more photos for us: the others share its threads."""
        del self._lanes[lane]
        if len(self._lanes) <= self._threads:
            for other in self._lanes:
                self._queue(other)
        self._change.notify_all()


def fetch(
    lanes: Mapping[str, Iterator[Row]],
    attempt: Callable[[Row], Row],
    *,
    threads: int,
    keep: Callable[[Sequence[Row]], None],
    progress: Progress,
) -> dict[str, HostBlocked]:
    """Fetch photos of many hosts at once, and keep what came of them in groups.

    A row reaches `keep` only when its photo is on disk; whatever finished before an
    error or an interruption is kept before that is raised.

    Args:
        lanes: photos by host.
        attempt: called in many threads; HostBlocked leaves that host's photos untried,
            everything else it raises ends the run.
        threads: photos fetched at once.
        keep: called in this thread with the rows of each group.
        progress: told of each group.

    Returns: the hosts that block us.
    """
    turns = Turns(lanes, threads=threads)
    results: SimpleQueue[Row | BaseException | None] = SimpleQueue()
    blocked: dict[str, HostBlocked] = {}

    def work() -> None:
        while taken := turns.take():
            lane, wanted = taken
            try:
                results.put(attempt(wanted))
            except HostBlocked as error:
                blocked.setdefault(lane, error)
            except BaseException as error:  # raised again where it can be handled
                results.put(error)
                turns.stop()
            finally:
                turns.give_back(lane, blocked=lane in blocked)
        results.put(None)

    pool = [threading.Thread(target=work, daemon=True) for _ in range(threads)]
    for thread in pool:
        thread.start()
    running, trouble = len(pool), None
    try:
        while running and trouble is None:
            group = _group(results)
            running -= sum(one is None for one in group)
            trouble = next((e for e in group if isinstance(e, BaseException)), None)
            _keep(group, keep, progress)
    finally:
        turns.stop()
        if running:
            # interrupted: threads may sleep for long, and no one waits for that
            end = time.monotonic() + _PATIENCE
            for thread in pool:
                thread.join(max(0.0, end - time.monotonic()))
            _keep(_drained(results), keep, progress)
    if trouble is not None:
        raise trouble
    return blocked


def _group(results: "SimpleQueue[Any]") -> list[Any]:
    """What finished within a moment; empty when nothing did for some time."""
    try:
        first = results.get(timeout=_TICK)
    except Empty:
        return []
    if first is None:
        return [first]
    time.sleep(GROUP)
    return [first, *_drained(results)]


def _drained(results: "SimpleQueue[Any]") -> list[Any]:
    found = []
    while True:
        try:
            found.append(results.get_nowait())
        except Empty:
            return found


def _keep(
    group: list[Any], keep: Callable[[Sequence[Row]], None], progress: Progress
) -> None:
    account([one for one in group if isinstance(one, dict)], keep, progress)


def account(
    rows: Sequence[Row], keep: Callable[[Sequence[Row]], None], progress: Progress
) -> None:
    """Keep what came of photos, and count it."""
    if rows:
        keep(rows)
    progress.add(
        len(rows),
        failed=sum(row["status"] == "failed" for row in rows),
        size=sum(row.get("bytes") or 0 for row in rows),
    )
