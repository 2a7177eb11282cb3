"""What a benchmark program hands on: figures, one a line, as JSON.

A program that compares, or that shows how cost grows, takes `--json` and then prints
nothing on stdout but figures; `python -m benchmarks` runs such programs and makes one
table of all. Environments of peers are named to it with `--peer NAME=PYTHON`.
"""

import json
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Something measured in rounds, beside a peer in the same rounds or alone.

    Attributes:
        name: the program and the case: "hashing.small.fast".
        what: the same in words, with sizes: "hashing 300 photos of 500-1024 px, fast".
        unit: of each value: "photos/CPU-s", "CPU s", "s", "MB", "share".
        ours: our value in each round.
        peer: name and version of who is compared; empty when nobody is.
        theirs: the peer's value in the same rounds; empty when nobody is compared.
        less: whether less is better, as for seconds and memory.
        size: how many photos or codes, where figures show how cost grows; else 0.
        note: what must be known to read it, such as extrapolation.
    """

    name: str
    what: str
    unit: str
    ours: tuple[float, ...]
    peer: str = ""
    theirs: tuple[float, ...] = ()
    less: bool = False
    size: int = 0
    note: str = ""

    def ratios(self) -> tuple[float, ...]:
        """How many times better ours is, round by round; empty without a peer.

        Example:
            >>> Figure(name="a.b", what="", unit="s", ours=(1.0, 2.0), peer="other",
            ...     theirs=(3.0, 8.0), less=True).ratios()
            (3.0, 4.0)
        """
        pairs = zip(self.ours, self.theirs, strict=bool(self.theirs))
        return tuple(
            theirs / ours if self.less else ours / theirs for ours, theirs in pairs
        )

    def as_json(self) -> dict[str, Any]:
        """Its fields, with the ratio's median, smallest and largest."""
        found = self.ratios()
        spread = [min(found), max(found)] if found else None
        middle = statistics.median(found) if found else None
        return asdict(self) | {"ratio": middle, "spread": spread}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """A figure that a program printed.

        Raises:
            ValueError: a field is missing, unknown or of another kind.
        """
        fields = {key: told[key] for key in told.keys() - {"ratio", "spread"}}
        try:
            ours, theirs = (
                tuple(map(float, fields.pop(key, ()))) for key in ("ours", "theirs")
            )
            made = cls(ours=ours, theirs=theirs, **fields)
            made.ratios()
        except (TypeError, ZeroDivisionError) as error:
            message = f"no figure: {json.dumps(dict(told))} ({error})"
            raise ValueError(message) from error
        if not ours:
            message = f"figure {made.name} has no round"
            raise ValueError(message)
        return made


def show(figures: Iterable[Figure]) -> None:
    """Print figures as a program does with `--json`; each line is out at once."""
    for figure in figures:
        sys.stdout.write(json.dumps(figure.as_json()) + "\n")
        sys.stdout.flush()


def read(lines: Iterable[str]) -> list[Figure]:
    """The figures that a program printed.

    Raises:
        ValueError: a line is no figure.
    """
    return [Figure.from_json(json.loads(line)) for line in lines if line.strip()]


def peers(named: Sequence[str]) -> dict[str, Path]:
    """Pythons by the peer's name, from values of `--peer NAME=PYTHON`.

    Example:
        >>> peers(["faiss=/opt/faiss/bin/python"])["faiss"].name
        'python'
    """
    found = {}
    for one in named:
        name, sign, python = one.partition("=")
        if not sign or not name or not python:
            message = f"--peer {one}: give it as NAME=PYTHON"
            raise SystemExit(message)
        found[name] = Path(python)
    return found
