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

COMMAND = [str(Path(sys.executable).parent / "counterset"), "--help"]


def once() -> tuple[float, float]:
    """Wall and CPU (user + system) seconds of one run."""
    before, start = os.times(), time.perf_counter()
    subprocess.run(COMMAND, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, os.times()
    cpu = (
        after.children_user
        + after.children_system
        - before.children_user
        - before.children_system
    )
    return wall, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    once()
    times = [once() for _ in range(runs)]
    wall, cpu = (statistics.median(one) for one in zip(*times, strict=True))
    print(f"counterset --help, median of {runs}: {wall:.3f} s wall, {cpu:.3f} s CPU")
    print(f"fastest {min(times)[0]:.3f} s, slowest {max(times)[0]:.3f} s wall")


if __name__ == "__main__":
    main()
