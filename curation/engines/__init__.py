"""Where map stages run: on one machine, or on many.

The same stage function runs everywhere, over the same parts; an engine only decides
where. A stage whose module says `PROCESSES = True` decodes and nothing else, and gains
from more processes; one that runs a model uses the cores (or the GPU) by itself.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

import pyarrow as pa

from curation.engines.local import Local
from curation.engines.work import PART, Work, parts

__all__ = ["PART", "Engine", "Local", "Work", "parts"]


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
