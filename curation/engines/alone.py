"""A process of its own, for what may end a process: decoding files of strangers.

A photo that crashes the decoder (or makes the system end the process for its memory)
becomes a failed row that says how.
"""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType

import pyarrow as pa

from curation.engines.work import Work, failed, run

CONTEXT = get_context("spawn")

Read = Callable[[Path], bytes]


class DiedError(Exception):
    """A process ended on its own; the text says how."""


class Alone:
    """A process that computes what it is sent, and can tell how it died.

    Args:
        read: bytes of a photo by its file; it is sent to the process.

    Raises:
        RuntimeError: no process can be started.
    """

    def __init__(self, read: Read = Path.read_bytes) -> None:
        self._here, there = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=_serve, args=(there, read), daemon=True)
        with _without_main():
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
        """As `work.run`, in that process.

        Raises:
            DiedError: it died of it.
        """
        try:
            self._here.send(work)
            answer = self._here.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            self._process.join()
            raise DiedError(_how(self._process.exitcode)) from error
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def close(self) -> None:
        """Let it end."""
        self._here.close()
        self._process.join()


def one_by_one(work: Work, read: Read = Path.read_bytes) -> pa.Table:
    """Compute a part photo by photo; the one that ends its process is a failed row."""
    rows, alone = [], Alone(read)
    try:
        for place in range(work.photos.num_rows):
            one = replace(
                work,
                photos=work.photos.slice(place, 1),
                blobs=work.blobs[place : place + 1],
            )
            try:
                rows.append(alone.run(one))
            except DiedError as death:
                rows.append(failed(one, f"decoder crashed ({death})"))
                alone = Alone(read)
    finally:
        alone.close()
    return pa.concat_tables(rows)


@contextmanager
def _without_main() -> Iterator[None]:
    """Let a process start without running this one's script again.

    Nothing of it is needed there, and on a node of a cluster it is Ray's, whose imports
    take longer than most parts.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _serve(pipe: Connection, read: Read) -> None:
    """What such a process does until the pipe is closed; it says first that it runs."""
    pipe.send(None)
    while True:
        try:
            work = pipe.recv()
        except EOFError:
            return
        try:
            answer: object = run(work, read)
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
