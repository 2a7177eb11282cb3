"""What processes of a crew run in tests; imported in each, so it imports little."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path


def twice(items: Sequence[int], *, places: str, deaths: int) -> list[int]:
    """Doubles numbers; a 7 ends the process, `deaths` times."""
    for item in items:
        if deaths and item == 7 and len(list(Path(places).iterdir())) < deaths:
            (Path(places) / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(0.002 * (item % 3))  # so that parts are finished out of order
    return [2 * item for item in items]


def divided(items: Sequence[int]) -> list[float]:
    """Has a bug."""
    return [1 / item for item in items]
