"""Processes that open strangers' files: the file that ends one is found and told.

A decoder can crash, and the system ends processes that want too much memory. Here that
costs one file, not the run: its process is replaced, the files it held are given out
one by one, and the one that ends a process again is known.

The engines of the route do so with tables, for parts of a work folder. A folder wants
to be answered sooner than these can be imported, so this crew sends plain objects, and
its processes import nothing but the function they run: `multiprocessing` would import
the whole command line in each.
"""

import fcntl
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_START = "from curation.duplicates.crew import serve; serve()"
_STARTS = 3  # processes that end at once before it is no accident
_AHEAD = 64  # parts that may be finished before the one that is waited for
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_turn: list[int] = []  # in a process of a crew: the file it locks to be alone


@dataclass(frozen=True, slots=True)
class _Failure:
    """What a process answers when the function raised: a bug of ours."""

    text: str


class _NoStartError(Exception):
    """A process ended before it was of use."""


@dataclass(slots=True)
class _Task(Generic[Item]):
    """Items of one part: all of them, or one that may have ended a process."""

    part: int
    first: int
    items: Sequence[Item]
    again: bool = False


class Crew:
    """Some processes; they start at once and end with the `with` block.

    Args:
        jobs: how many, at least 1.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._turn = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._idle: list[_Process] = []

    def __enter__(self) -> Self:
        self._idle = [_Process(self._turn.fileno()) for _ in range(self.jobs)]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._idle:
            process.close()
        self._turn.close()

    def each(
        self,
        function: Callable[[Sequence[Item]], list[Result]],
        parts: Iterable[Sequence[Item]],
        *,
        died: Callable[[Item, str], Result],
    ) -> Iterator[list[Result]]:
        """Results of every part, in the parts' order, whichever is finished first.

        Args:
            function: of a module's top level (or a `partial` of one); gives a result
                for each item.
            parts: items that are sent together.
            died: the result for an item that ended two processes, and how it did.

        Raises:
            RuntimeError: a process cannot be started, or the function raised.
        """
        work = _Work(parts, died)
        busy: dict[Connection, tuple[_Process, _Task[Item]]] = {}
        lost = 0
        try:
            while True:
                while len(busy) < self.jobs and (task := work.next()):
                    process = self._started()
                    process.send((function, task.items))
                    busy[process.pipe] = process, task
                if not busy:
                    break
                for pipe in wait(list(busy)):
                    assert isinstance(pipe, Connection)
                    process, task = busy[pipe]
                    try:
                        if not process.started:
                            process.hello()
                            continue
                        results = process.answer()
                    except EOFError:
                        work.ended(task, process.how())
                    except _NoStartError as error:
                        lost += 1
                        if lost == _STARTS:
                            raise RuntimeError(str(error)) from error
                        work.back(task)
                    else:
                        self._idle.append(process)
                        work.finished(task, results)
                    del busy[pipe]  # not before: it would be left running
                yield from work.ready()
        finally:
            for process, _ in busy.values():
                process.kill()

    def _started(self) -> "_Process":
        """One that waits for work, or a new one."""
        while self._idle:
            process = self._idle.pop()
            if process.alive:
                return process
            process.close()
        return _Process(self._turn.fileno())


class _Work(Generic[Item, Result]):
    """Which items are still to be given out, and what came back."""

    def __init__(
        self, parts: Iterable[Sequence[Item]], died: Callable[[Item, str], Result]
    ) -> None:
        self._parts, self._died = enumerate(parts), died
        self._again: deque[_Task[Item]] = deque()
        self._results: dict[int, dict[int, Result]] = {}
        self._sizes: dict[int, int] = {}
        self._out = self._given = 0

    def next(self) -> _Task[Item] | None:
        """What to do next; None when there is nothing (yet)."""
        if self._again:
            return self._again.popleft()
        if self._given - self._out >= _AHEAD:
            return None
        for part, items in self._parts:
            self._given = part + 1
            self._sizes[part], self._results[part] = len(items), {}
            return _Task(part, 0, items)
        return None

    def finished(self, task: _Task[Item], results: Sequence[Result]) -> None:
        """Keep what came back."""
        assert len(results) == len(task.items), "a result for each item"
        self._results[task.part].update(enumerate(results, task.first))

    def ended(self, task: _Task[Item], how: str) -> None:
        """A process ended over this task: once more one by one, then never again."""
        if task.again:
            self.finished(task, [self._died(task.items[0], how)])
            return
        for place, item in enumerate(task.items):
            self._again.append(_Task(task.part, place, [item], again=True))

    def back(self, task: _Task[Item]) -> None:
        """A process ended before it saw this task."""
        self._again.appendleft(task)

    def ready(self) -> Iterator[list[Result]]:
        """Parts that are complete and whose turn it is."""
        while self._out in self._sizes and (
            len(self._results[self._out]) == self._sizes[self._out]
        ):
            results = self._results.pop(self._out)
            del self._sizes[self._out]
            self._out += 1
            yield [results[place] for place in sorted(results)]


class _Process:
    """One of the crew, seen from here."""

    def __init__(self, turn: int) -> None:
        self.pipe, there = Pipe()
        self.started = False
        files = there.fileno(), turn
        # it finds the modules that are found here; -P: none in the current folder
        modules = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, *map(str, files)],
            stdin=subprocess.DEVNULL,
            pass_fds=files,
            env=os.environ | modules | dict.fromkeys(_ONE_THREAD, "1"),
        )
        there.close()  # else its end would never be seen

    @property
    def alive(self) -> bool:
        """Whether it runs, as far as is known."""
        return self._process.poll() is None

    def send(self, work: object) -> None:
        """Give it work; if it is gone, `answer` says so."""
        try:
            self.pipe.send(work)
        except (BrokenPipeError, ConnectionResetError):
            return

    def hello(self) -> None:
        """It says first that it runs.

        Raises:
            _NoStartError: it does not: no file's fault.
        """
        try:
            self.pipe.recv()
        except (EOFError, ConnectionResetError) as error:
            message = f"no process can be started: {self.how()}"
            raise _NoStartError(message) from error
        self.started = True

    def answer(self) -> list[Any]:
        """What came of the work.

        Raises:
            EOFError: the process ended over it.
            RuntimeError: the function raised.
        """
        try:
            answer = self.pipe.recv()
        except ConnectionResetError as error:
            raise EOFError from error
        if isinstance(answer, _Failure):
            raise RuntimeError(answer.text)
        assert isinstance(answer, list)
        return answer

    def how(self) -> str:
        """How it ended.

        Returns: such as "signal SIGSEGV" or "exit status 3".
        """
        code = self._process.wait()
        self.pipe.close()
        if code >= 0:
            return f"exit status {code}"
        try:
            return f"signal {signal.Signals(-code).name}"
        except ValueError:
            return f"signal {-code}"

    def close(self) -> None:
        """Let it end."""
        self.pipe.close()
        self._process.wait()

    def kill(self) -> None:
        """End it in the middle of its work."""
        self._process.kill()
        self.close()


@contextmanager
def alone() -> Iterator[None]:
    """Only one process of the crew at a time, as for pictures that fill the memory.

    Outside a crew there is nobody to wait for.
    """
    for turn in _turn:
        fcntl.lockf(turn, fcntl.LOCK_EX)  # given back if the process dies
    try:
        yield
    finally:
        for turn in _turn:
            fcntl.lockf(turn, fcntl.LOCK_UN)


def serve() -> None:
    """What such a process does until its pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it is interrupted
    pipe, turn = Connection(int(sys.argv[1])), int(sys.argv[2])
    _turn.append(turn)
    # a decoder's own words would be nobody's: they name no file
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        pipe.send(None)
        while True:
            # received and understood apart: what cannot be imported is no end
            pipe.send(_answer(pipe.recv_bytes()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _answer(asked: bytes) -> object:
    try:
        function, items = pickle.loads(asked)
        return function(items)
    except Exception:  # told in the process that asked
        return _Failure(traceback.format_exc())
