"""How far a long step is: a bar on a terminal, a line every few seconds elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

EVERY = 5.0
"""Seconds between two lines where there is no terminal."""

Say = Callable[[str], None]


class Log:
    """Says lines on stderr, or nothing at all when quiet."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet

    def __call__(self, line: str) -> None:
        """Say one line."""
        if not self.quiet:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()

    @property
    def terminal(self) -> bool:
        """Whether a person watches, so that a bar may move."""
        return not self.quiet and sys.stderr.isatty()


class Progress:
    """Counts what is done, and says so in the words of `line`."""

    def __init__(
        self,
        total: int,
        *,
        step: str,
        say: Say,
        bar: "Bar | None" = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total, self.step = total, step
        self.done = self.failed = self.bytes = 0
        self._say, self._bar, self._clock = say, bar, clock
        self._start = self._said = clock()
        self._task = bar.add_task(step, total=total) if bar else None

    def add(self, done: int, *, failed: int = 0, size: int = 0) -> None:
        """Count more of them: how many, how many of these failed, and their bytes."""
        self.done, self.failed = self.done + done, self.failed + failed
        self.bytes += size
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self.done, description=self.line())
        elif self._clock() - self._said >= EVERY:
            self._said = self._clock()
            self._say(self.line())

    def line(self) -> str:
        """Where it stands: rate, bytes, failures, time left.

        Example:
            >>> times = iter([0.0, 10.0])
            >>> seen = Progress(900, step="fetch", say=str, clock=lambda: next(times))
            >>> seen.done, seen.failed, seen.bytes = 300, 4, 75_000_000
            >>> seen.line()
            'fetch: 300 of 900, 30.0/s, 75.0 MB, 4 failed, 20 s left'
        """
        seconds = max(self._clock() - self._start, 1e-3)
        rate = self.done / seconds
        parts = [f"{self.step}: {self.done:,} of {self.total:,}", f"{rate:.1f}/s"]
        parts.append(f"{self.bytes / 1e6:,.1f} MB")
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        if self.done and self.done < self.total:
            parts.append(f"{span((self.total - self.done) / rate)} left")
        return ", ".join(parts)


@contextmanager
def progress(total: int, *, step: str, say: Say) -> Iterator[Progress]:
    """Count to `total`; a bar when `say` is a `Log` on a terminal, else lines."""
    if not (isinstance(say, Log) and say.terminal) or not total:
        yield Progress(total, step=step, say=say)
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    text = TextColumn("{task.description}", markup=False)
    with Bar(text, BarColumn(), console=Console(stderr=True), transient=True) as bar:
        yield Progress(total, step=step, say=say, bar=bar)


def span(seconds: float) -> str:
    """A length of time for people.

    Example:
        >>> span(42), span(600), span(20_000)
        ('42 s', '10 min', '5.6 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
