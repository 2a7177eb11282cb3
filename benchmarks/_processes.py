"""What the system tells of running processes."""

from collections.abc import Iterator
from pathlib import Path


def family(process: int) -> Iterator[int]:
    """A process and all that it started."""
    yield process
    try:
        text = Path(f"/proc/{process}/task/{process}/children").read_text("utf-8")
    except OSError:
        return
    for child in text.split():
        yield from family(int(child))
