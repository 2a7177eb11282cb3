"""Contenders run in turn, so that other work on the machine falls on all alike."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of each repeat: on the clock, and of all cores together."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]


def interleaved(
    contenders: Mapping[str, Callable[[], object]], repeats: int
) -> dict[str, Times]:
    """Run every contender once in each of `repeats` rounds, after one to warm up."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for round_ in range(repeats + 1):
        for name, work in contenders.items():
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            spent = time.perf_counter() - wall, time.process_time() - cpu
            if round_:
                found[name].append(spent)
    return {
        name: Times(tuple(wall for wall, _ in some), tuple(cpu for _, cpu in some))
        for name, some in found.items()
    }


def ratios(first: Sequence[float], second: Sequence[float]) -> str:
    """Median of `first` / `second` round by round, with the smallest and largest."""
    found = [one / other for one, other in zip(first, second, strict=True)]
    return f"{statistics.median(found):.2f} ({min(found):.2f}-{max(found):.2f})"


def middle(seconds: Sequence[float]) -> float:
    """The median."""
    return statistics.median(seconds)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def machine(*packages: str) -> str:
    """One line: processor, cores, load, and versions."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        names = [one for one in lines if one.startswith("model name")]
        name = names[0].partition(":")[2].strip() if names else name
    load = os.getloadavg()[0]
    versions = (f"{one} {version(one)}" for one in packages)
    facts = [name, f"{os.cpu_count()} cores", f"load {load:.1f}"]
    return ", ".join([*facts, f"Python {platform.python_version()}", *versions])
