"""One machine: stages that decode in several processes, models in this one."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ProcessPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool

import pyarrow as pa

from curation.engines.alone import CONTEXT, one_by_one
from curation.engines.work import Work, run

Keep = Callable[[pa.Table], None]


class Local:
    """The engine of one machine."""

    name = "local"

    def compute(
        self, works: Iterable[Work], *, jobs: int, processes: bool, keep: Keep
    ) -> None:
        """Compute parts and keep each as soon as it is there.

        Args:
            works: the parts; taken as they are needed.
            jobs: processes to use.
            processes: whether the stage gains from them. Such a stage decodes, so it
                never runs in this process: a photo that crashes the decoder (or makes
                the system end the process for its memory) becomes a failed row.
            keep: called in this process with each finished part.
        """
        if not processes:
            for work in works:
                keep(run(work))
            return
        waiting = iter(works)
        work = next(waiting, None)
        while work is not None:
            suspects, work = _together(work, waiting, jobs, keep)
            for suspect in suspects:
                keep(one_by_one(suspect))

    def close(self) -> None:
        """Nothing is held between two computations."""


def _together(
    work: Work | None, waiting: Iterator[Work], jobs: int, keep: Keep
) -> tuple[list[Work], Work | None]:
    """Compute parts in several processes, until none waits or a process dies.

    Args:
        work: the first part.
        waiting: those after it.
        jobs: processes.
        keep: called with each finished part.

    Returns: parts that were being computed when a process died, and the one that is
        next; None when all are computed.
    """
    running: dict[Future[pa.Table], Work] = {}
    with ProcessPoolExecutor(jobs, mp_context=CONTEXT) as pool:
        try:
            while work or running:
                # no more than there are processes: if one dies, few are suspected
                while work and len(running) < jobs:
                    running[pool.submit(run, work)] = work
                    work = next(waiting, None)
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    keep(future.result())
                    del running[future]
        except BrokenProcessPool:
            return list(running.values()), work
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [], None
