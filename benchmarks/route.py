"""A folder of many small photos through collect, fetch, hash and dedup.

    python -m benchmarks.route [--photos 1000 10000 100000] [--jobs 2] [--scale 4]

Photos are blends of the bundled pictures with sides of 128 to 256 px enlarged by
`--scale`; every 50th is a copy of the one before (`benchmarks._blends`). The route runs
in a process of its own, as `counterset run` does, with a table of embeddings that is
empty: nothing is confirmed by a model.

Beside it stands hashing alone: as many processes that read the same files and hash
them, and keep nothing; before the route and after it, and the mean of both counts. On a
busy machine only CPU time compares: of the route it is that of all its processes, their
start included; of hashing alone that of the hashing. Peak memory is that of the driving
process, and of it and its workers together (resident sets added up, so shared pages
count for each).
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from multiprocessing import get_context
from operator import sub
from pathlib import Path
from typing import Any

from benchmarks._blends import COPIES, EVERY, photo
from benchmarks._figures import Figure, show
from benchmarks._interleaved import machine, table
from benchmarks._processes import family

CLASSES = ("bear", "goose")
AT_ONCE = 256
MOST_ALONE = 20_000
"""Photos on which hashing alone is measured: its rate does not depend on more."""
STEPS = ("collect", "fetch", "hash", "dedup")

CONFIG = """\
[dataset]
name = "benchmark"
{classes}
[[backgrounds]]
name = "snow"
prompts = ["snow"]
[[backgrounds]]
name = "grass"
prompts = ["grass"]
[[sources]]
kind = "folder"
path = "photos"
licence = "CC0-1.0"
[hash]
path = "{path}"
[embed]
model = "demo:lite0"
"""


@dataclass(frozen=True, slots=True)
class Chosen:
    """How photos are made and hashed.

    Attributes:
        path: the decoding path.
        jobs: processes.
        scale: how many times the cuts are enlarged.
    """

    path: str
    jobs: int
    scale: int

    @property
    def sides(self) -> str:
        """Sides of the photos, as people read them."""
        return f"{128 * self.scale}-{256 * self.scale} px"


@dataclass(frozen=True, slots=True)
class Rates:
    """Photos a second: on the clock, and of CPU time."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Took:
    """What one run of the route took.

    Attributes:
        photos: files in the folder.
        seconds: of each step, and of the whole process.
        cpu: seconds of CPU of the same, all processes together.
        merged: photos that dedup merged, of `planted` copies that are other bytes.
        planted: see `merged`.
        driver: peak memory of the driving process, MB.
        tree: peak memory of it and its workers, MB.
        alone: hashing alone.
    """

    photos: int
    seconds: dict[str, float]
    cpu: dict[str, float]
    merged: int
    planted: int
    driver: float
    tree: float
    alone: Rates


def write(folder: Path, scale: int, numbers: range) -> None:
    """Write some of the photos, where a folder source finds them."""
    for number in numbers:
        home = folder / CLASSES[number % 2] / f"{number // 1000:04d}"
        path = home / f"{number:07d}.jpg"
        if not path.exists():
            home.mkdir(parents=True, exist_ok=True)
            path.write_bytes(photo(number, scale))


def plant(place: Path, count: int, chosen: Chosen) -> None:
    """Make a folder of photos and its dataset.toml."""
    blocks = [range(start, min(start + 1000, count)) for start in range(0, count, 1000)]
    with ProcessPoolExecutor(chosen.jobs, mp_context=get_context("spawn")) as workers:
        make = partial(write, place / "photos", chosen.scale)
        list(workers.map(make, blocks))
    classes = "".join(f'[[classes]]\nname = "{name}"\n' for name in CLASSES)
    text = CONFIG.format(classes=classes, path=chosen.path)
    (place / "dataset.toml").write_text(text)


def hashed(paths: list[Path], path: str) -> tuple[int, float]:
    """Hash some files and keep nothing; how many, and seconds of CPU."""
    start = time.process_time()
    from curation.duplicates import hashing

    data = [one.read_bytes() for one in paths]
    version = {"full": hashing.FULL, "fast": hashing.FAST}[path]
    rows = hashing.rows(data, path=version, max_pixels=10**8)
    done = sum(row["status"] == "ok" for row in rows)
    return done, time.process_time() - start


def alone(paths: Sequence[Path], path: str, jobs: int) -> Rates:
    """Hashing alone, in so many processes."""
    parts = [
        list(paths[start : start + AT_ONCE]) for start in range(0, len(paths), AT_ONCE)
    ]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as workers:
        # so that each has imported what it needs
        list(workers.map(hashed, [parts[0][:8]] * (4 * jobs), repeat(path)))
        start = time.perf_counter()
        told = list(workers.map(hashed, parts, repeat(path)))
        seconds = time.perf_counter() - start
    done = sum(count for count, _ in told)
    if done != len(paths):
        message = f"{done} of {len(paths)} photos were hashed"
        raise SystemExit(message)
    return Rates(done / seconds, done / sum(cpu for _, cpu in told))


def drive(place: Path, jobs: int) -> None:
    """What the route's process does; prints what each step took."""
    from curation.config import load
    from curation.pipeline import Route
    from curation.schemas import empty
    from curation.shelf import Shelf

    config = load(place / "dataset.toml")
    route = Route(Shelf(place / "work"), config, jobs=jobs)
    marks = [(time.perf_counter(), cpu_time())]

    def said(line: str) -> None:
        """A step has ended: note it; after hashing, there are no embeddings."""
        step, _, what = line.partition(": ")
        if step in STEPS and " rows, " in what:
            marks.append((time.perf_counter(), cpu_time()))
        if step == "hash" and " rows, " in what:
            route.finish("embed", empty("embeddings"))

    route.say = said
    with route.shelf.lock():
        done = route.run("dedup")
    if any(one.failed for one in done):
        message = f"rows failed: {done}"
        raise SystemExit(message)
    walls, cpus = zip(*marks, strict=True)
    seconds = dict(zip(STEPS, map(sub, walls[1:], walls), strict=True))
    cpu = dict(zip(STEPS, map(sub, cpus[1:], cpus), strict=True))
    route.engine.close()
    decided = route.table("duplicates").column("decision").to_pylist()
    told = {"seconds": seconds, "cpu": cpu, "peak": peak()}
    print(json.dumps(told | {"merged": decided.count("merge")}))


def cpu_time() -> float:
    """Seconds of CPU of this process and its children, living and dead."""
    here = os.times()
    living = 0.0
    for child in family(os.getpid()):
        if child != os.getpid():
            try:
                text = Path(f"/proc/{child}/stat").read_text("utf-8")
            except OSError:
                continue
            words = text.rpartition(")")[2].split()
            living += (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    return sum(here[:4]) + living


def peak(process: int | str = "self") -> float:
    """Largest resident set of a process so far, MB."""
    return _status(process).get("VmHWM", 0.0)


def _status(process: int | str) -> dict[str, float]:
    """Sizes in MB that the system states of a process; empty when it is gone."""
    try:
        text = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return {}
    lines = (line.split() for line in text.splitlines() if line.endswith(" kB"))
    return {words[0].rstrip(":"): int(words[1]) / 1e3 for words in lines}


def run(place: Path, jobs: int) -> tuple[dict[str, Any], float]:
    """Run the route; what it told, with the whole process, and peak MB of the tree."""
    shutil.rmtree(place / "work", ignore_errors=True)
    os.sync()  # else the disk is still busy with what was planted
    words = ["--drive", str(place), "--jobs", str(jobs)]
    start, before, largest = time.perf_counter(), os.times(), 0.0
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.route", *words],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        while process.poll() is None:
            now = sum(_status(one).get("VmRSS", 0.0) for one in family(process.pid))
            largest = max(largest, now)
            time.sleep(0.2)
        seconds, after = time.perf_counter() - start, os.times()
        assert process.stdout
        text = process.stdout.read()
    if process.returncode:
        message = f"the route ended with {process.returncode}"
        raise SystemExit(message)
    told: dict[str, Any] = json.loads(text.splitlines()[-1])
    told["seconds"]["whole"] = seconds
    told["cpu"]["whole"] = sum(after[2:4]) - sum(before[2:4])
    return told, largest


def measure(place: Path, count: int, chosen: Chosen) -> Took:
    """Plant photos, and run the route between two measurements of hashing alone."""
    plant(place, count, chosen)
    path, jobs = chosen.path, chosen.jobs
    paths = sorted((place / "photos").rglob("*.jpg"))
    some = paths[:: max(1, len(paths) // MOST_ALONE)][:MOST_ALONE]
    before = alone(some, path, jobs)
    told, tree = run(place, jobs)
    shutil.rmtree(place / "work")
    after = alone(some, path, jobs)
    copies = [COPIES[n // EVERY % len(COPIES)] for n in range(EVERY - 1, count, EVERY)]
    return Took(
        photos=count,
        seconds=told["seconds"],
        cpu=told["cpu"],
        merged=told["merged"],
        planted=len(copies) - copies.count("bytes"),
        driver=told["peak"],
        tree=tree,
        alone=Rates(
            statistics.mean([before.wall, after.wall]),
            statistics.mean([before.cpu, after.cpu]),
        ),
    )


def figures(took: Took, chosen: Chosen) -> Iterator[Figure]:
    """A run as figures: rates of the steps, the whole beside hashing alone, memory."""
    count, what = took.photos, f"photos of {chosen.sides} in a folder"
    for step in STEPS:
        yield Figure(
            name=f"route.{step}",
            what=f"{step}, {what}",
            unit="photos/CPU-s",
            ours=(count / max(took.cpu[step], 1e-3),),
            size=count,
        )
    for name, unit, mine, theirs in (
        ("clock", "photos/s", took.seconds, took.alone.wall),
        ("cpu", "photos/CPU-s", took.cpu, took.alone.cpu),
    ):
        yield Figure(
            name=f"route.whole.{name}",
            what=f"collect, fetch, hash and dedup, whole process, {what}",
            unit=unit,
            ours=(count / mine["whole"],),
            peer=f"our hashing alone ({chosen.path})",
            theirs=(theirs,),
            size=count,
        )
    for name, value in (("driver", took.driver), ("tree", took.tree)):
        yield Figure(
            name=f"route.memory.{name}",
            what=f"peak memory, {name}",
            unit="MB",
            ours=(value,),
            less=True,
            size=count,
        )


def lines(took: Took) -> Iterator[list[str]]:
    """Two rows of the table: seconds on the clock, and of CPU."""
    memory = [f"{took.driver:.0f}", f"{took.tree:.0f}"]
    more = [*memory, f"{took.merged} of {took.planted}"]
    for name, mine, alone, last in (
        ("s", took.seconds, took.alone.wall, more),
        ("CPU s", took.cpu, took.alone.cpu, ["", "", ""]),
    ):
        rate = took.photos / mine["whole"]
        yield [
            f"{took.photos:,}",
            name,
            *(f"{mine[step]:.1f}" for step in (*STEPS, "whole")),
            f"{rate:,.0f}",
            f"{alone:,.0f}",
            f"{100 * rate / alone:.0f} %",
            *last,
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--photos", type=int, nargs="+", default=[1000, 10_000, 100_000]
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--path", choices=("full", "fast"), default="full")
    parser.add_argument(
        "--scale", type=int, default=4, help="times 128-256 px: 4 gives 512-1024"
    )
    parser.add_argument(
        "--keep", type=Path, help="folder that photos are left in, and taken from"
    )
    parser.add_argument("--json", action="store_true", help="figures, one a line")
    parser.add_argument("--drive", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    chosen = Chosen(asked.path, asked.jobs, asked.scale)
    if asked.drive:
        drive(asked.drive, chosen.jobs)
        return
    rows: list[list[str]] = []
    for count in asked.photos:
        with tempfile.TemporaryDirectory(prefix="counterset-route-") as place:
            home = asked.keep / f"{count}-{asked.scale}" if asked.keep else Path(place)
            took = measure(home, count, chosen)
        if asked.json:
            show(figures(took, chosen))
            continue
        rows += lines(took)
        print(f"{count:,} photos done", file=sys.stderr, flush=True)
    if rows:
        head = ["photos", "", *STEPS, "whole", "photos a s", "hashing alone", "share"]
        head += ["driver MB", "tree MB", "copies merged"]
        told = f"{chosen.sides}, {chosen.jobs} jobs, {chosen.path}"
        print(f"{machine('pillow', 'pyarrow')}, {told}\n")
        print(table(head, rows))


if __name__ == "__main__":
    main()
