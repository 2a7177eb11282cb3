"""One machine: stages that decode in several processes, and models as one likes.

The engine "local" runs models in this process: one copy, whose work threads spread over
every core. "processes" runs them in processes as well, each with a copy of its own and
one core, or one GPU: photos are decoded while others pass the model, at the price of
memory.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ProcessPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from curation.engines.alone import CONTEXT, one_by_one
from curation.engines.work import Work, run

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

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
        _in_processes(iter(works), Pool(jobs), keep)

    def close(self) -> None:
        """Nothing is held between two computations."""


class Processes:
    """The engine of one machine that runs models in processes as well."""

    name = "processes"

    def compute(
        self, works: Iterable[Work], *, jobs: int, processes: bool, keep: Keep
    ) -> None:
        """Compute parts and keep each as soon as it is there.

        Args:
            works: the parts; taken as they are needed.
            jobs: processes to use; for models on GPUs, one per GPU instead.
            processes: whether the stage decodes and nothing else.
            keep: called in this process with each finished part.
        """
        if processes:
            pool = Pool(jobs)
        elif gpus := _gpus():
            pool = Pool(len(gpus), gpus)
        else:
            pool = Pool(jobs, ("",) * jobs)
        _in_processes(iter(works), pool, keep)

    def close(self) -> None:
        """Nothing is held between two computations."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Processes to start.

    Attributes:
        count: how many.
        gpus: for models: the GPU each gets; "" for one core instead.
    """

    count: int
    gpus: tuple[str, ...] = ()

    def start(self) -> ProcessPoolExecutor:
        """An executor whose processes start when they are needed."""
        if not self.gpus:
            return ProcessPoolExecutor(self.count, mp_context=CONTEXT)
        left = CONTEXT.SimpleQueue()
        for gpu in self.gpus:
            left.put(gpu)
        return ProcessPoolExecutor(
            self.count, mp_context=CONTEXT, initializer=_alone_on, initargs=(left,)
        )


def _alone_on(left: "SimpleQueue[str]") -> None:
    """Before torch is imported: a process takes one GPU, or one core."""
    gpu = left.get()
    if gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    else:
        os.environ["OMP_NUM_THREADS"] = "1"


def _gpus() -> tuple[str, ...]:
    """GPUs this process may use, as CUDA names them; told without importing torch."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return tuple(one for one in named.split(",") if one and one != "-1")
    there = Path("/proc/driver/nvidia/gpus")
    return tuple(str(number) for number, _ in enumerate(there.glob("*")))


def _in_processes(waiting: Iterator[Work], pool: Pool, keep: Keep) -> None:
    """Compute parts in processes; those that were at work when one died, alone."""
    work = next(waiting, None)
    while work is not None:
        suspects, work = _together(work, waiting, pool, keep)
        for suspect in suspects:
            keep(one_by_one(suspect))


def _together(
    work: Work | None, waiting: Iterator[Work], processes: Pool, keep: Keep
) -> tuple[list[Work], Work | None]:
    """Compute parts in several processes, until none waits or a process dies.

    Args:
        work: the first part.
        waiting: those after it.
        processes: those to start.
        keep: called with each finished part.

    Returns: parts that were being computed when a process died, and the one that is
        next; None when all are computed.
    """
    running: dict[Future[pa.Table], Work] = {}
    with processes.start() as pool:

        def send() -> None:
            nonlocal work
            # no more than there are processes: if one dies, few are suspected
            while work and len(running) < processes.count:
                running[pool.submit(run, work)] = work
                work = next(waiting, None)

        try:
            send()
            while running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    table = future.result()
                    del running[future]
                    try:
                        send()  # no process waits until the disk has this part
                    finally:
                        keep(table)
        except BrokenProcessPool:
            return list(running.values()), work
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [], None
