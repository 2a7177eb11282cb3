"""Pairs of near codes: time and memory by size, beside faiss's `IndexBinaryFlat`.

    python -m benchmarks.pairs [--codes 1e3 1e4 1e5 1e6] [--radius 6 8 10]
        [--folder FOLDER] [--peer faiss=PYTHON] [--work FOLDER] [--json]

Sets of codes, each searched with itself:

uniform   every bit even and independent
alike     as `uniform`; the last tenth equal to the first code, the tenth before them
          within 4 bits of one of few codes, about 100 of each
cuts      with --folder: hashes of windows of its photos, as many from each photo, of
          15 to 60 % of its width and of its height, anywhere, where there is any
          contrast; up to --cuts of them
turned    with --folder: the 8 mirrored and rotated variants of the first eighth of
          `cuts` searched in that eighth, as `dedup` does; counted in queries

A line is a new process. "CPU s" is of its first search: from some 100,000 codes on that
includes loading the compiled search. "again" is of the second. "MB" is the peak of the
whole process.

--peer faiss=PYTHON does the same with faiss-cpu, on one thread, up to --faiss-most
codes, and compares what is found. The two run in turn; ratios are of CPU time without
loading, for faiss from an index with the codes added. It needs an environment of its
own: `python -m benchmarks.peers faiss` makes it. Windows are kept in --work, else made
anew.
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks._figures import Figure, peers, show
from benchmarks._interleaved import machine, middle, ratios, table

Codes = NDArray[np.uint64]
T = TypeVar("T")

SIDE = 32

FAISS = """\
import json, sys, time
import faiss, numpy as np
faiss.omp_set_num_threads(1)
codes = np.load(sys.argv[1]).view(np.uint8).reshape(-1, 8)
queries = np.load(sys.argv[2]).view(np.uint8).reshape(-1, 8)
index = faiss.IndexBinaryFlat(64)
index.add(codes)
wall, cpu = time.perf_counter(), time.process_time()
limits, _, _ = index.range_search(queries, int(sys.argv[3]) + 1)
print(json.dumps({
    "again": time.process_time() - cpu, "wall": time.perf_counter() - wall,
    "pairs": int(limits[-1]), "version": faiss.__version__,
}))
"""


def main() -> None:
    """Print a row per set, size and radius."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--codes", type=float, nargs="+", default=[1e3, 1e4, 1e5, 1e6])
    parser.add_argument("--radius", type=int, nargs="+", default=[6, 8, 10])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--cuts", type=float, default=1e5, metavar="N")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--faiss-most", type=float, default=1e5, metavar="N")
    parser.add_argument("--repeats", type=int, default=3, metavar="N")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--json", action="store_true", help="figures, one a line")
    parser.add_argument("--one", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.faiss = peers(options.peer).get("faiss")
    if options.one:
        codes, queries = options.one
        print(json.dumps(searched(codes, queries, options.radius[0])))
        return
    if not options.json:
        print(machine("numpy", "numba"), flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        rows = [
            row(path, work, radius, options)
            for path in sets(work, options)
            for radius in options.radius
        ]
    if options.json:
        return
    head = ["set", "codes", "radius", "pairs", "CPU s", "again", "wall s", "MB"]
    head += ["faiss CPU s", "faiss / ours"] if options.faiss else []
    print(table(head, rows))


def sets(work: Path, options: argparse.Namespace) -> list[tuple[str, Path, Path]]:
    """Name, codes and queries of each set, as files."""
    found = []
    for size in map(int, options.codes):
        for name, make in (("uniform", uniform), ("alike", alike)):
            path = work / f"{name}-{size}.npy"
            np.save(path, make(size))
            found.append((name, path, path))
        if options.folder and size <= options.cuts:
            path = work / f"cuts-{size}.npy"
            turned = work / f"turned-{size}.npy"
            if not turned.exists():
                codes = cuts(options.folder, size)
                np.save(path, codes[:, 0])
                np.save(work / f"upright-{size}.npy", codes[: size // 8, 0])
                np.save(turned, codes[: size // 8].reshape(-1))
            found.append(("cuts", path, path))
            found.append(("turned", work / f"upright-{size}.npy", turned))
    return found


def row(
    files: tuple[str, Path, Path], work: Path, radius: int, options: argparse.Namespace
) -> list[str]:
    """One line of the table."""
    name, codes, queries = files
    size = len(np.load(queries, mmap_mode="r"))
    command = [sys.executable, "-m", "benchmarks.pairs", "--radius", str(radius)]
    command += ["--one", str(codes), str(queries)]
    compared = options.faiss and size <= options.faiss_most
    ours, theirs = [], []
    script = work / "with_faiss.py"
    script.write_text(FAISS)
    for _ in range(options.repeats if compared or size <= 1e6 else 1):
        ours.append(run(command))
        if compared:
            words = [options.faiss, script, codes, queries, radius]
            theirs.append(run(list(map(str, words))))
    if options.json:
        show(figures(name, size, radius, ours, theirs))
    pairs = int(ours[0]["pairs"])
    cells = [name, f"{size:,}", str(radius), f"{pairs:,}"]
    cells += [
        f"{middle([one[key] for one in ours]):.3g}" for key in ("cpu", "again", "wall")
    ]
    cells.append(f"{max(one['peak'] for one in ours):.0f}")
    if compared:
        # faiss finds each pair from both sides, and every code itself
        expected = 2 * pairs + size if codes == queries else pairs
        if any(one["pairs"] != expected for one in theirs):
            text = f"{name}, {size}, {radius}: faiss found other pairs"
            raise SystemExit(text)
        mine, other = ([one["again"] for one in some] for some in (ours, theirs))
        cells += [f"{middle(other):.3g}", ratios(other, mine)]
    elif options.faiss:
        cells += ["", ""]
    return cells


def figures(
    name: str,
    size: int,
    radius: int,
    ours: list[dict[str, Any]],
    theirs: list[dict[str, Any]],
) -> Iterator[Figure]:
    """One line of the table as figures: CPU time without loading, and memory."""
    what = f"all pairs of {name} codes within {radius} bits"
    yield Figure(
        name=f"pairs.{name}.r{radius}",
        what=what,
        unit="CPU s",
        ours=tuple(one["again"] for one in ours),
        peer=f"faiss {theirs[0]['version']} IndexBinaryFlat" if theirs else "",
        theirs=tuple(one["again"] for one in theirs),
        less=True,
        size=size,
        note=f"{int(ours[0]['pairs']):,} pairs",
    )
    yield Figure(
        name=f"pairs.{name}.r{radius}.memory",
        what=f"{what}: peak of the process",
        unit="MB",
        ours=tuple(one["peak"] for one in ours),
        less=True,
        size=size,
    )


def run(command: list[str]) -> dict[str, Any]:
    """What a process printed."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def searched(codes: Path, queries: Path, radius: int) -> dict[str, float]:
    """Search twice in this process."""
    from curation.duplicates import pairs

    left, right = np.load(queries), np.load(codes)

    def search() -> pairs.Distinct:
        if codes == queries:
            return pairs.distinct(right, radius=radius)
        return pairs.distinct(left, right, radius=radius)

    wall, cpu, found = timed(search)
    count = found.count
    del found
    _, again, _ = timed(search)
    return {"cpu": cpu, "wall": wall, "again": again, "peak": peak(), "pairs": count}


def peak() -> float:
    """Most memory this process has held, MB; a parent's is not its own."""
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s+(\d+)", status.read_text())
        if found:
            return int(found[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(work: Callable[[], T]) -> tuple[float, float, T]:
    """Seconds on the clock, of CPU, and what came of them."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    return time.perf_counter() - wall, time.process_time() - cpu, found


def uniform(size: int) -> Codes:
    """Codes whose bits are even and independent."""
    return np.random.default_rng(size).integers(0, 2**64, size, dtype=np.uint64)


def alike(size: int) -> Codes:
    """Uniform codes, but for two tenths: many equal ones, and many that are near."""
    rng = np.random.default_rng(size)
    codes = uniform(size)
    tenth = size // 10
    codes[size - tenth :] = codes[0]
    near = codes[rng.integers(0, tenth // 100 + 1, tenth)]
    for _ in range(4):
        near ^= np.uint64(1) << rng.integers(0, 64, tenth, dtype=np.uint64)
    codes[size - 2 * tenth : size - tenth] = near
    return codes


def cuts(folder: Path, size: int) -> NDArray[np.uint64]:
    """Hashes of windows of a folder's photos, (size, 8): upright first, then turned."""
    from PIL import Image

    from curation.config import Dedup
    from curation.duplicates import hashing

    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".png"))
    if not files:
        text = f"{folder} has no photos"
        raise SystemExit(text)
    # a fifth more, for the windows without content that `dedup` leaves out too
    each = -(-size * 6 // 5 // len(files)) + 1
    rng = np.random.default_rng(size)
    found = []
    for path in files:
        with Image.open(path) as image:
            image.draft("L", (512, 512))
            grey = image.convert("L")
        grey.thumbnail((512, 512))
        sides = rng.uniform(0.15, 0.6, (each, 2)) * grey.size
        corner = rng.uniform(0, 1, (each, 2)) * (grey.size - sides)
        squares = np.stack(
            [
                np.asarray(
                    grey.resize((SIDE, SIDE), Image.Resampling.LANCZOS, tuple(box))
                )
                for box in np.hstack([corner, corner + sides]).tolist()
            ]
        )
        squares = squares[squares.std(axis=(1, 2)) >= Dedup().min_texture]
        found.append(hashing.variants(hashing.whole_frequencies(squares)))
    codes = np.concatenate(found)
    if len(codes) < size:
        text = f"{folder}: {size} windows wanted, {len(codes)} have content"
        raise SystemExit(text)
    return np.ascontiguousarray(rng.permutation(codes)[:size])


if __name__ == "__main__":
    main()
