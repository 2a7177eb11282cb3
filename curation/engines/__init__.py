"""Where map stages run: on one machine, or on many.

The same stage function runs everywhere, over the same parts; an engine only decides
where. A stage whose module says `PROCESSES = True` decodes and nothing else, and gains
from more processes; one that runs a model uses the cores (or the GPU) by itself.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

import pyarrow as pa

from curation.engines.local import Local, Processes
from curation.engines.work import PART, Work, parts
from curation.errors import ConfigError, nearest

__all__ = [
    "ENGINES", "PART", "Engine", "Local", "Processes", "Work", "check", "opened",
    "parts",
]  # fmt: skip

ENGINES = ("local", "processes", "ray")
"""Names of the engines."""


class Engine(Protocol):
    """Runs map stages; whatever engine does, the tables have the same bytes.

    Attributes:
        name: as `--engine` names it.
    """

    name: str

    def compute(
        self,
        works: Iterable[Work],
        *,
        jobs: int,
        processes: bool,
        keep: Callable[[pa.Table], None],
    ) -> None:
        """Compute parts and keep each as soon as it is there.

        Args:
            works: the parts, all of one stage; taken as they are needed.
            jobs: processes to use on this machine.
            processes: whether the stage's module says `PROCESSES = True`.
            keep: called in this process with each finished part, in any order.
        """

    def close(self) -> None:
        """Give back what is held: processes, connections."""


def check(name: str, *, storage: str = "") -> None:
    """Find out whether an engine can be used, before hours are spent on the way there.

    Nothing is started, and neither cluster nor storage is asked.

    Args:
        name: one of `ENGINES`.
        storage: as `opened` takes it.

    Raises:
        ConfigError: no such engine, what it needs is not installed, or storage that it
            cannot use.
    """
    _known(name, storage)
    if name == "ray":
        from curation.engines import ray
        from curation.engines.storage import usable

        ray.check()
        if storage:
            usable(storage)


def _known(name: str, storage: str) -> None:
    if name not in ENGINES:
        message = f"--engine {name}: no such engine; {nearest(name, ENGINES)}"
        raise ConfigError(message)
    if storage and name != "ray":
        message = f"--storage is for --engine ray; {name} reads the work folder"
        raise ConfigError(message)


@contextmanager
def opened(
    name: str, *, storage: str = "", say: Callable[[str], None] = lambda line: None
) -> Iterator[Engine]:
    """An engine by its name, closed in the end.

    Args:
        name: one of `ENGINES`.
        storage: URL under which the machines of a cluster find photos; empty where they
            all see the work folder.
        say: called with a line of progress.

    Raises:
        ConfigError: no such engine, or storage for one that needs none; what else
            it needs is looked for when there is a photo to compute, see `check`.
    """
    _known(name, storage)
    engine = _engine(name, storage, say)
    try:
        yield engine
    finally:
        engine.close()


def _engine(name: str, storage: str, say: Callable[[str], None]) -> Engine:
    if name == "local":
        return Local()
    if name == "processes":
        return Processes()
    from curation.engines.ray import Ray
    from curation.engines.storage import Storage

    return Ray(Storage(storage) if storage else None, say)
