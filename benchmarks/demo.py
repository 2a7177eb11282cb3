"""Wall time and peak memory of `counterset demo`: first run, then again unchanged.

    python -m benchmarks.demo

Peak memory is the largest maximum resident set of the command or of one process it
starts. The second line also says how many rows were worked on; unchanged, none.
"""

import json
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

COUNTERSET = Path(sys.executable).parent / "counterset"


def once(work: Path, answer: Connection) -> None:
    """Run the demo; sends seconds, peak MB, rows worked on and rows failed."""
    start = time.perf_counter()
    done = subprocess.run(
        [COUNTERSET, "demo", "--work", work, "--json", "--quiet"],
        check=True,
        stdout=subprocess.PIPE,
    )
    seconds = time.perf_counter() - start
    # kilobytes on Linux, bytes on macOS
    unit = 1e6 if sys.platform == "darwin" else 1e3
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / unit
    stages = json.loads(done.stdout)["stages"]
    computed = sum(stage["computed"] for stage in stages)
    answer.send((seconds, peak, computed, stages))


def main() -> None:
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        for run in ("first run", "unchanged"):
            here, there = context.Pipe()
            # a process of its own, so that its children's peak is this run's
            process = context.Process(target=once, args=(Path(folder) / "work", there))
            process.start()
            there.close()
            seconds, peak, computed, stages = here.recv()
            process.join()
            print(f"{run}: {seconds:.1f} s, {peak:.0f} MB, {computed} rows worked on")
            slow = sorted(stages, key=lambda stage: -stage["seconds"])[:5]
            if computed:
                shown = (f"{stage['stage']} {stage['seconds']:.1f} s" for stage in slow)
                print(f"  slowest steps: {', '.join(shown)}")


if __name__ == "__main__":
    main()
