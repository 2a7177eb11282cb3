"""Collecting a million records from a source that answers at once.

    python -m benchmarks.collect [--rows 1000000] [--page 200]

The source is an outside package with an entry point, its records are made as they are
asked for, and `counterset collect` runs as a user runs it, each time in a process of
its own. Rows a second are of the whole command; memory is its peak.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

CLASSES = 45
SOURCE = '''\
"""Records out of nothing: forty observers a day, two photos an observation."""

from typing import Literal

from pydantic import Field

from curation.config import SourceSpec
from curation.sources import Candidate, Cost, Page

REMOTE = True
PER_CLASS = True


class Spec(SourceSpec):
    """Records out of nothing."""

    kind: Literal["benchmark"] = Field(description="records out of nothing")
    rows: int = Field(description="of each class")
    page: int = Field(description="rows of a page")


def pages(spec, targets, *, settings, cursor, door):
    (target,) = targets
    start = int(cursor or 0)
    while start < spec.rows:
        end = min(start + spec.page, spec.rows)
        rows = [record(target.name, number) for number in range(start, end)]
        start = end
        yield Page(rows, str(end) if end < spec.rows else None)


def record(name, number):
    photo, seen = f"{name}-{number}", f"{name}-{number // 2}"
    who = number % 9973
    return Candidate(
        source="benchmark",
        key=photo,
        revision="medium",
        class_=name,
        url=f"https://photos.example/{photo}/medium.jpeg",
        photo_key=f"benchmark:{photo}",
        source_url=f"https://example.org/observations/{seen}",
        author=f"Observer {who}",
        licence="CC-BY-NC",
        licence_text="cc-by-nc",
        attribution=f"(c) Observer {who}, some rights reserved (CC BY-NC)",
        observation_id=f"benchmark:{seen}",
        observer=str(who),
        observed_on=f"20{number % 20 + 10}-{number % 12 + 1:02d}-{number % 28 + 1:02d}",
    )


def cost(spec, targets, *, settings):
    photos = spec.rows * len(targets)
    return Cost({"example.org": photos // spec.page}, photos, "photos.example", photos)


def again(spec, keys, *, door):
    yield from ()
'''
CONFIG = """\
[dataset]
name = "benchmark"
[[backgrounds]]
name = "snow"
prompts = ["snow"]
[[backgrounds]]
name = "grass"
prompts = ["grass"]
[[sources]]
kind = "benchmark"
rows = {rows}
page = {page}
[collect]
per_class = {quota}
per_observation = 2
per_observer = 0
per_observer_day = 0
"""


def install(place: Path) -> None:
    """Put the source where a package manager would."""
    (place / "benchmark_source.py").write_text(SOURCE)
    facts = place / "benchmark_source-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Name: benchmark-source\nVersion: 1.0\n")
    points = "[counterset.sources]\nbenchmark = benchmark_source\n"
    (facts / "entry_points.txt").write_text(points)


def configure(place: Path, *, rows: int, page: int, quota: int) -> None:
    """Write dataset.toml with as many classes as the paper has."""
    text = CONFIG.format(rows=rows, page=page, quota=quota)
    for number in range(CLASSES):
        text += f'[[classes]]\nname = "class {number}"\n'
    (place / "dataset.toml").write_text(text)


def collect(place: Path, what: str) -> None:
    """Run the command and print what it took."""
    command = [
        *(sys.executable, "-m", "curation.cli", "collect", "--quiet", "--json"),
        *("-c", str(place / "dataset.toml"), "--work", str(place / "work")),
    ]
    path = os.pathsep.join([str(place), os.environ.get("PYTHONPATH", "")])
    start = time.monotonic()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": path}
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(process.returncode)
    newest = max(
        place.glob("work/tables/collect/*/done.json"),
        key=lambda path: path.stat().st_mtime_ns,
    )
    parts = sorted(newest.parent.glob("*.parquet"))
    rows = sum(pq.ParquetFile(part).metadata.num_rows for part in parts)
    cpu, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    print(
        f"{what}: {rows:,} rows, {wall:.1f} s, {cpu:.1f} s of CPU, "
        f"{rows / wall:,.0f} rows/s, peak {peak:.0f} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--page", type=int, default=200)
    asked = parser.parse_args()
    each = -(-asked.rows // CLASSES)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        install(place)
        configure(place, rows=each, page=asked.page, quota=each)
        collect(place, f"collected in pages of {asked.page}")
        collect(place, "run again, nothing changed")
        crawls = list(place.glob("work/crawls/*/*.parquet"))
        size = sum(path.stat().st_size for path in crawls)
        print(f"crawls: {len(crawls)} files, {size / 1e6:.0f} MB")
        configure(place, rows=each, page=asked.page, quota=each - 1)
        collect(place, "selected anew from what is kept")


if __name__ == "__main__":
    main()
