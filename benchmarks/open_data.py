"""Time and memory of joining iNaturalist's open data, on tables made up for it.

    python -m benchmarks.open_data [--photos 20000000] [--per-class 1000] [--plain]

Writes tables of 5,000 species, popular and rare ones, 1.6 photos an observation, in a
temporary folder; joins them for 45 classes (35 species, 10 genera) in a process of its
own, which asks for every page; and prints what that took. The tables are compressed as
the real ones are, unless `--plain`.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

SPECIES, GENERA, OBSERVERS = 5_000, 500, 100_000
CHUNK = 500_000
ROOT = 48460
LICENCES = ["CC-BY-NC"] * 7 + ["CC-BY", "CC0", "CC-BY-NC-ND"]
EXTENSIONS = ["jpeg"] * 6 + ["jpg"] * 3 + ["png"]
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
_PLACES = [place for place in range(36) if place not in (8, 13, 18, 23)]


def uuids(numbers: np.ndarray) -> pl.Series:
    """A uuid for each number, always the same."""
    octets = np.stack(
        [_scattered(numbers), _scattered(numbers + np.uint64(1 << 40))], axis=1
    )
    octets = octets.astype(">u8").view(np.uint8).reshape(len(numbers), 16)
    text = np.full((len(numbers), 36), ord("-"), np.uint8)
    text[:, _PLACES] = _HEX[
        np.stack([octets >> 4, octets & 15], axis=2).reshape(-1, 32)
    ]
    fixed = pa.Array.from_buffers(
        pa.binary(36), len(numbers), [None, pa.py_buffer(text.tobytes())]
    )
    return pl.Series(pl.from_arrow(fixed.cast(pa.binary()).cast(pa.string())))


def _scattered(numbers: np.ndarray) -> np.ndarray:
    mixed = numbers * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    return mixed ^ (mixed >> np.uint64(32))


def taxa() -> pl.DataFrame:
    """Life, genera, and ten species of neighbouring popularity in each genus."""
    genera = np.arange(1, GENERA + 1)
    species = np.arange(SPECIES)
    return pl.DataFrame(
        {
            "taxon_id": [ROOT, *genera, *(10_000 + species)],
            "ancestry": [
                "",
                *[str(ROOT)] * GENERA,
                *(f"{ROOT}/{1 + one * GENERA // SPECIES}" for one in species),
            ],
            "rank_level": [100, *[20] * GENERA, *[10] * SPECIES],
            "rank": ["stateofmatter", *["genus"] * GENERA, *["species"] * SPECIES],
            "name": ["Life", *map(str, genera), *(f'"s" {one}' for one in species)],
            "active": "true",
        }
    )


def observations(start: int, count: int) -> pl.DataFrame:
    """Some observations; species are the more popular the smaller their number."""
    chance = np.random.default_rng(start)
    numbers = np.arange(start, start + count, dtype=np.uint64)
    days = chance.integers(14_000, 20_000, count)
    grades = chance.choice(["research", "research", "needs_id", "casual"], count)
    return pl.DataFrame(
        {
            "observation_uuid": uuids(numbers),
            "observer_id": numbers % OBSERVERS,
            "latitude": chance.uniform(-90, 90, count).round(5),
            "longitude": chance.uniform(-180, 180, count).round(5),
            "positional_accuracy": chance.integers(1, 30_000, count),
            "taxon_id": 10_000 + (SPECIES * chance.random(count) ** 3).astype(int),
            "quality_grade": grades,
            "observed_on": pl.Series(days).cast(pl.Int32).cast(pl.Date),
            "anomaly_score": "",
        }
    )


def photos(start: int, count: int, of: int) -> pl.DataFrame:
    """Some photos, in another order than the observations they belong to."""
    chance = np.random.default_rng(start)
    numbers = np.arange(start, start + count, dtype=np.uint64)
    observation = (numbers * np.uint64(7_368_787)) % np.uint64(of)
    return pl.DataFrame(
        {
            "photo_uuid": uuids(numbers + np.uint64(1 << 50)),
            "photo_id": numbers,
            "observation_uuid": uuids(observation),
            "observer_id": observation % OBSERVERS,
            "extension": chance.choice(EXTENSIONS, count),
            "license": chance.choice(LICENCES, count),
            "width": 2048,
            "height": 1536,
            "position": chance.integers(0, 4, count),
        }
    )


def observers() -> pl.DataFrame:
    numbers = np.arange(OBSERVERS)
    names = [f'Ann "{one}"' if one % 2 else "" for one in numbers]
    logins = [f"user{one}" for one in numbers]
    return pl.DataFrame({"observer_id": numbers, "login": logins, "name": names})


def write(path: Path, parts: Iterator[pl.DataFrame], *, packed: bool) -> None:
    """A table, gzip by the system's program when `packed`."""
    file = path.with_suffix(".csv.gz" if packed else ".csv").open("wb")
    command = ["gzip", "-1"] if packed else ["cat"]
    with file, subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file) as packer:
        assert packer.stdin is not None
        for place, part in enumerate(parts):
            text = part.write_csv(
                separator="\t", quote_style="never", include_header=not place
            )
            packer.stdin.write(text.encode())
        packer.stdin.close()


def build(folder: Path, count: int, *, packed: bool) -> None:
    """All four tables for `count` photos."""
    seen = max(1, count * 10 // 16)

    def parts(total: int) -> Iterator[tuple[int, int]]:
        for start in range(0, total, CHUNK):
            yield start, min(CHUNK, total - start)

    write(folder / "taxa", iter([taxa()]), packed=packed)
    write(folder / "observers", iter([observers()]), packed=packed)
    those = (observations(*part) for part in parts(seen))
    write(folder / "observations", those, packed=packed)
    pictures = (photos(*part, seen) for part in parts(count))
    write(folder / "photos", pictures, packed=packed)


def joined(folder: Path, per_class: int) -> None:
    """Ask the source for every page; prints how many photos it knows."""
    from curation.config import Collect
    from curation.sources import Target, inaturalist_open_data

    species = [10_000 + one * SPECIES // 35 for one in range(35)]
    roots = [*species, *range(5, GENERA, GENERA // 10)]
    targets = [
        Target(str(root), str(root), taxa={"inaturalist": root}) for root in roots
    ]
    spec = inaturalist_open_data.Spec(kind="inaturalist_open_data", dumps=folder)
    pages = inaturalist_open_data.pages(
        spec, targets, settings=Collect(per_class=per_class), cursor=None, door=None
    )
    start, found = time.monotonic(), 0
    for place, page in enumerate(pages):
        if not place:
            print(f"first page after {time.monotonic() - start:.1f} s")
        found += len(page.candidates)
    print(f"{found:,} candidates of {len(targets)} classes")
    # not ru_maxrss: that is at least what the parent had when it started this process
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    print(f"peak memory {int(peak[1]) / 1024:,.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=20_000_000)
    parser.add_argument("--per-class", type=int, default=1000)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--join", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.join:
        joined(asked.join, asked.per_class)
        return
    with tempfile.TemporaryDirectory() as place:
        folder, start = Path(place), time.monotonic()
        build(folder, asked.photos, packed=not asked.plain)
        size = sum(path.stat().st_size for path in folder.iterdir())
        spent = time.monotonic() - start
        print(f"{asked.photos:,} photos, {size / 1e9:.2f} GB, written in {spent:.0f} s")
        start = time.monotonic()
        command = [sys.executable, "-m", "benchmarks.open_data", "--join", str(folder)]
        child = subprocess.Popen([*command, "--per-class", str(asked.per_class)])
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        wall, cpu = time.monotonic() - start, used.ru_utime + used.ru_stime
        print(f"{wall:.1f} s wall, {cpu:.1f} s CPU in all")


if __name__ == "__main__":
    main()
