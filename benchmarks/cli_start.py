"""How long `counterset --help` takes: wall and CPU time, medians.

    python -m benchmarks.cli_start [--runs N]

The first run is left out: it fills the disk cache and writes byte code.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

COUNTERSET = Path(sys.executable).parent / "counterset"


def once(*words: str | Path) -> tuple[float, float]:
    """Wall and CPU (user + system) seconds of one run of the command line."""
    before, start = os.times(), time.perf_counter()
    subprocess.run([COUNTERSET, *words], check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, os.times()
    cpu = (
        after.children_user
        + after.children_system
        - before.children_user
        - before.children_system
    )
    return wall, cpu


def told(runs: int, *words: str | Path) -> str:
    """Medians of several runs, in words."""
    once(*words)
    times = [once(*words) for _ in range(runs)]
    wall, cpu = (statistics.median(one) for one in zip(*times, strict=True))
    return f"{wall:.2f} s wall, {cpu:.2f} s CPU, medians of {runs}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    print(f"counterset --help: {told(parser.parse_args().runs, '--help')}")


if __name__ == "__main__":
    main()
