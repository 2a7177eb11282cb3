"""Work on groups in several processes of this machine, results in the groups' order."""

import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

_AHEAD = 2
"""Groups each process has been given before a result is waited for."""

Group = TypeVar("Group")
Result = TypeVar("Result")


def spread(
    work: Callable[[Group], Result], groups: Iterable[Group], *, jobs: int
) -> Iterator[Result]:
    """What `work` makes of each group, in the order of the groups.

    Args:
        work: a function that can be sent to another process. It may be done twice to a
            group: when a process is killed, its groups and all later ones are worked on
            in this one.
        groups: taken as they are needed.
        jobs: processes; with 1 everything is done in this one.
    """
    if jobs <= 1:
        yield from map(work, groups)
        return
    running: deque[tuple[Group, Future[Result] | None]] = deque()
    with ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=_deaf
    ) as pool:
        for group in groups:
            running.append((group, _begun(pool, work, group)))
            if len(running) > _AHEAD * jobs:
                yield _ended(work, *running.popleft())
        while running:
            yield _ended(work, *running.popleft())


def _deaf() -> None:
    """Ctrl-C is for the process that gave the work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _begun(
    pool: ProcessPoolExecutor, work: Callable[[Group], Result], group: Group
) -> "Future[Result] | None":
    try:
        return pool.submit(work, group)
    except BrokenProcessPool:
        return None


def _ended(
    work: Callable[[Group], Result], group: Group, future: "Future[Result] | None"
) -> Result:
    if future is not None:
        try:
            return future.result()
        except BrokenProcessPool:
            pass
    return work(group)
