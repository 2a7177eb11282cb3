"""Runs a map stage over parts of the photos: in this process, or in several.

The same stage function runs everywhere; an engine only decides where. A stage whose
module says `PROCESSES = True` gains from more processes; one that runs a model does
not, for the model uses every core itself.
"""

import importlib
import signal
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ProcessPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pyarrow as pa

from curation.schemas import conform, from_rows

_CONTEXT = get_context("spawn")

PART = 256
"""Photos in one part: what a killed run can lose is the parts it was working on."""


@dataclass(frozen=True, slots=True)
class Work:
    """One part to compute, small enough to send to another process.

    Attributes:
        stage: name of the stage.
        settings: its settings.
        photos: rows of the table `photos`.
        blobs: file of each photo, in the order of the rows.
    """

    stage: str
    settings: Any
    photos: pa.Table
    blobs: list[Path]


def run(work: Work) -> pa.Table:
    """Compute one part.

    Raises:
        AssertionError: the stage did not give a row for every photo.
    """
    module = _module(work.stage)
    data = pl.Series("data", [blob.read_bytes() for blob in work.blobs], pl.Binary)
    photos = work.photos.append_column("data", data.to_arrow())
    table = conform(module.run({"photos": photos}, work.settings), module.OUTPUT)
    assert sorted(table.column("photo_id").to_pylist()) == sorted(
        work.photos.column("photo_id").to_pylist()
    ), f"stage {work.stage} must give one row per photo"
    return table


def _module(stage: str) -> ModuleType:
    """A stage's module, by its name; one with a dot is a module of another package."""
    return importlib.import_module(
        stage if "." in stage else f"curation.stages.{stage}"
    )


def parts(photos: pa.Table, part: int = PART) -> Iterator[pa.Table]:
    """Photos cut into parts, sorted by photo_id so that every engine cuts alike."""
    ordered = photos.sort_by("photo_id")
    for start in range(0, ordered.num_rows, part):
        yield ordered.slice(start, part)


def compute(
    works: list[Work],
    *,
    jobs: int,
    processes: bool,
    keep: Callable[[pa.Table], None],
) -> None:
    """Compute parts and keep each as soon as it is there.

    Args:
        works: the parts.
        jobs: processes to use.
        processes: whether the stage gains from them. Such a stage decodes, so it never
            runs in this process: a photo that crashes the decoder (or makes the system
            end the process for its memory) becomes a failed row.
        keep: called in this process with each finished part.
    """
    if not processes:
        for work in works:
            keep(run(work))
        return
    waiting = deque(works)
    while waiting:
        for work in _together(waiting, jobs, keep):
            keep(_one_by_one(work))


def _together(
    waiting: deque[Work], jobs: int, keep: Callable[[pa.Table], None]
) -> list[Work]:
    """Compute parts in several processes, until none waits or a process dies.

    Returns: parts that were being computed when a process died.
    """
    count = min(jobs, len(waiting))
    with ProcessPoolExecutor(count, mp_context=_CONTEXT) as pool:
        running: dict[Future[pa.Table], Work] = {}
        try:
            while waiting or running:
                # no more than there are processes: if one dies, few are suspected
                while waiting and len(running) < count:
                    running[pool.submit(run, waiting[0])] = waiting[0]
                    waiting.popleft()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    keep(future.result())
                    del running[future]
        except BrokenProcessPool:
            return list(running.values())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return []


def _one_by_one(work: Work) -> pa.Table:
    """Compute a part photo by photo; the one that ends its process is a failed row."""
    rows, alone = [], _Alone()
    try:
        for place in range(work.photos.num_rows):
            one = replace(
                work,
                photos=work.photos.slice(place, 1),
                blobs=work.blobs[place : place + 1],
            )
            try:
                rows.append(alone.run(one))
            except _DiedError as death:
                rows.append(_failed(one, f"decoder crashed ({death})"))
                alone = _Alone()
    finally:
        alone.close()
    return pa.concat_tables(rows)


def _failed(work: Work, reason: str) -> pa.Table:
    """Failed rows: what the stage gives photos without a byte, with this reason."""
    module = _module(work.stage)
    nothing = pl.Series("data", [b""] * work.photos.num_rows, pl.Binary)
    photos = work.photos.append_column("data", nothing.to_arrow())
    rows = module.run({"photos": photos}, work.settings).to_pylist()
    told = [row | {"status": "failed", "error": reason} for row in rows]
    return from_rows(told, module.OUTPUT)


class _DiedError(Exception):
    """A process ended on its own; the text says how."""


class _Alone:
    """A process of its own, for one photo at a time, that can tell how it died."""

    def __init__(self) -> None:
        self._here, there = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_serve, args=(there,), daemon=True)
        self._process.start()
        there.close()  # else its end would never be seen
        try:
            self._here.recv()
        except EOFError as error:
            # no photo's fault
            self._process.join()
            message = f"no process can be started: {_how(self._process.exitcode)}"
            raise RuntimeError(message) from error

    def run(self, work: Work) -> pa.Table:
        """As `run`, in that process.

        Raises:
            _DiedError: it died of it.
        """
        try:
            self._here.send(work)
            answer = self._here.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            self._process.join()
            raise _DiedError(_how(self._process.exitcode)) from error
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def close(self) -> None:
        """Let it end."""
        self._here.close()
        self._process.join()


def _serve(pipe: Connection) -> None:
    """What such a process does until the pipe is closed; it says first that it runs."""
    pipe.send(None)
    while True:
        try:
            work = pipe.recv()
        except EOFError:
            return
        try:
            answer: object = run(work)
        except Exception as error:  # raised in the process that asked
            answer = error
        pipe.send(answer)


def _how(code: int | None) -> str:
    """How a process ended, by its exit code.

    Example:
        >>> _how(-11), _how(3)
        ('signal SIGSEGV', 'exit status 3')
    """
    if code is not None and code < 0:
        try:
            return f"signal {signal.Signals(-code).name}"
        except ValueError:
            return f"signal {-code}"
    return f"exit status {code}"
