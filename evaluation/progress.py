"""A progress bar on stderr; stdout belongs to results."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

if TYPE_CHECKING:
    from evaluation.extract import Progress as Told


@contextmanager
def bar(what: str = "photos") -> "Iterator[Told]":
    """A function to tell how many of `what` of how many are done.

    A pass that begins anew, such as that of the next models, begins a new bar. Where
    stderr is no terminal, only finished bars are printed.
    """
    columns = (what, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as shown:
        task = shown.add_task(what, total=None)
        shown.update(task, visible=False)
        last = 0

        def tell(done: int, total: int) -> None:
            nonlocal task, last
            if done < last:
                task = shown.add_task(what, total=total)
            last = done
            shown.update(task, completed=done, total=total, visible=True)

        yield tell
