"""Photos per second and peak memory of writing a release, beside `datasets`.

    python -m benchmarks.release [--photos 1000 4000] [--kilobytes 100]

Photos are cuts of the demo's, encoded anew, half of them with EXIF that has to go. Each
line is a process of its own, so its peak memory (maximum resident set) is its own; the
line `import` is what the modules take before the first photo, and is left out of the
other lines' times. CPU is user and system time of all threads. `release` is all that
the action writes: shards, card and pictures, metadata, licences, checksums. `datasets`
embeds the same files with `embed_table_storage` and writes them with `to_parquet`: it
takes no metadata out, writes nothing else, and does not wait for the disk.
"""

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import _planted


def write(folder: Path) -> None:
    """The release of a work folder."""
    from curation.actions import release

    route = _planted.opened(folder / "dataset.toml", folder / "work")
    with route.shelf.lock():
        release.run(route)


def write_datasets(folder: Path) -> None:
    """The same photos with `datasets`."""
    from datasets import Dataset, Image, disable_progress_bars
    from datasets.table import embed_table_storage

    disable_progress_bars()
    paths = [str(path) for path in sorted((folder / "work/blobs").glob("*/*/*"))]
    data = Dataset.from_dict({"image": paths}).cast_column("image", Image())
    data = data.with_format("arrow")
    data = data.map(embed_table_storage, batched=True, batch_size=100)
    data.to_parquet(folder / "data.parquet", batch_size=100)


def one(kind: str, folder: Path) -> None:
    """What a child process does: one way of writing, timed."""
    start, spent = time.perf_counter(), time.process_time()
    if kind == "datasets":
        import datasets  # noqa: F401
    else:
        from curation.actions import release  # noqa: F401
    if kind != "import":
        start, spent = time.perf_counter(), time.process_time()
    if kind == "release":
        write(folder)
    elif kind == "datasets":
        write_datasets(folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(time.perf_counter() - start, time.process_time() - spent, peak)


def measure(folder: Path, count: int, kilobytes: int) -> None:
    """Print a line per way of writing."""
    toml = _planted.configured(folder, "1.0.0")
    rows = _planted.fill(folder / "work", count, kilobytes)
    _planted.plant(toml, folder / "work", rows)
    size = sum(row["bytes"] for row in rows) / 1e6
    print(f"{count} photos, {size:.0f} MB, {1000 * size / count:.0f} kB each")
    for kind in ("import", "release", "datasets"):
        command = [sys.executable, "-m", "benchmarks.release", "--child"]
        done = subprocess.run(
            [*command, kind, str(folder)], check=True, stdout=subprocess.PIPE, text=True
        )
        seconds, cpu, peak = map(float, done.stdout.split())
        rate = f"{count / seconds:6.0f} photos/s" if kind != "import" else ""
        print(
            f"  {kind:<9} {seconds:6.2f} s, CPU {cpu:6.2f} s, "
            f"peak {peak:5.0f} MB {rate}".rstrip(),
            flush=True,
        )


def main() -> None:
    """Measure every number of photos that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, nargs="+", default=[1000, 4000])
    parser.add_argument("--kilobytes", type=int, default=100)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        one(args.child[0], Path(args.child[1]))
        return
    for count in args.photos:
        needed = 4 * count * args.kilobytes * 1000
        with tempfile.TemporaryDirectory() as name:
            if shutil.disk_usage(name).free < needed:
                print(f"{count} photos need {needed / 1e9:.1f} GB in {name}")
                continue
            measure(Path(name), count, args.kilobytes)


if __name__ == "__main__":
    main()
