"""Photos per second and peak memory of writing a release, beside `datasets`.

    python -m benchmarks.release [--photos 1000 4000] [--kilobytes 100]

Photos are JPEGs of smooth colour and noise, half of them with EXIF that has to go. Each
line is a process of its own, so its peak memory (maximum resident set) is its own; the
line `import` is what the modules take before the first photo, and is left out of the
other lines' times. CPU is user and system time of all threads. `datasets` embeds the
same files with `embed_table_storage` and writes them with `to_parquet`: it takes no
metadata out and writes no card, licences or checksums, and does not wait for the disk.
"""

import argparse
import hashlib
import io
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

DISTINCT = 64  # pictures; a comment makes each file one of its own


def picture(rng: np.random.Generator, size: int) -> bytes:
    """A JPEG of about `size` bytes."""
    side = int((size * 3.2) ** 0.5)  # found by trial, for this noise and quality
    rows, columns = np.mgrid[:side, :side] / side
    smooth = np.stack([rows, columns, rows * columns], -1) * 180
    noise = rng.normal(0, 18, (side, side, 3))
    image = Image.fromarray(np.clip(smooth + noise + 30, 0, 255).astype(np.uint8))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return file.getvalue()


def plant(folder: Path, count: int, size: int) -> None:
    """`count` files, named by their sha256."""
    rng = np.random.default_rng(0)
    pictures = [picture(rng, size) for _ in range(DISTINCT)]
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    planted = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
    for place in range(count):
        data = pictures[place % DISTINCT]
        if place % 2:
            payload = planted + f"photo {place}".encode()
            segment = b"\xff\xe1" + (len(payload) + 2).to_bytes(2) + payload
            data = data[:2] + segment + data[2:]
        else:  # told apart by the last bytes of its pixels
            tail = bytes(place >> shift & 0x7F for shift in (0, 7, 14))
            data = data[:-2] + tail + data[-2:]
        (folder / hashlib.sha256(data).hexdigest()).write_bytes(data)


def write(photos: Path, out: Path) -> None:
    """A release of every photo in the folder."""
    from curation import config, release, schemas

    paths = sorted(photos.iterdir())
    rows: list[dict[str, object]] = [
        {
            "photo_id": path.name, "candidate_id": path.name, "class": f"c{n % 10}",
            "imagenet_index": n % 10, "group": ("common", "counter")[n // 10 % 2],
            "background": ("grass", "snow")[n // 10 % 2], "cluster": path.name,
            "observation_id": path.name, "composed": False, "classes": [f"c{n % 10}"],
            "bytes": path.stat().st_size, "format": "JPEG", "width": 1, "height": 1,
            "place": 0, "order": n, "source": "folder", "key": path.name,
            "revision": "1", "url": path.name, "licence": "CC0-1.0",
            "author": f"Author {n}",
        }
        for n, path in enumerate(paths)
    ]  # fmt: skip
    content = {
        "dataset": {"name": "benchmark"},
        "classes": [{"name": f"c{n}"} for n in range(10)],
        "backgrounds": [{"name": n, "prompts": [n]} for n in ("grass", "snow")],
        "sources": [{"kind": "folder", "path": "photos"}],
    }
    facts = release.write(
        out,
        config=config.parse(content, base=Path(), name="benchmark"),
        tables={
            name: schemas.from_rows(rows, name)
            for name in ("candidates", "photos", "groups")
        },
        read=lambda photo_id: (photos / photo_id).read_bytes(),
        provenance={},
    )
    assert facts.photos == len(paths)


def write_datasets(photos: Path, out: Path) -> None:
    """The same photos with `datasets`."""
    from datasets import Dataset, Image, disable_progress_bars
    from datasets.table import embed_table_storage

    disable_progress_bars()
    paths = [str(path) for path in sorted(photos.iterdir())]
    data = Dataset.from_dict({"image": paths}).cast_column("image", Image())
    data = data.with_format("arrow")
    data = data.map(embed_table_storage, batched=True, batch_size=100)
    data.to_parquet(out / "data.parquet", batch_size=100)


def one(kind: str, photos: Path, out: Path) -> None:
    """What a child process does: one way of writing, timed."""
    start, spent = time.perf_counter(), time.process_time()
    if kind == "datasets":
        import datasets  # noqa: F401
    else:
        from curation import config, release, schemas  # noqa: F401
    if kind != "import":
        start, spent = time.perf_counter(), time.process_time()
    if kind == "release":
        write(photos, out / "release")
    elif kind == "datasets":
        write_datasets(photos, out)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(time.perf_counter() - start, time.process_time() - spent, peak)


def main() -> None:
    """Print a line per number of photos and way of writing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, nargs="+", default=[1000, 4000])
    parser.add_argument("--kilobytes", type=int, default=100)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        one(args.child[0], *map(Path, args.child[1:]))
        return
    for count in args.photos:
        with tempfile.TemporaryDirectory() as name:
            photos, out = Path(name) / "photos", Path(name) / "out"
            photos.mkdir()
            plant(photos, count, args.kilobytes * 1000)
            size = sum(path.stat().st_size for path in photos.iterdir()) / 1e6
            print(f"{count} photos, {size:.0f} MB, {1000 * size / count:.0f} kB each")
            for kind in ("import", "release", "datasets"):
                out.mkdir()
                command = [sys.executable, "-m", "benchmarks.release", "--child"]
                done = subprocess.run(
                    [*command, kind, str(photos), str(out)],
                    check=True, capture_output=True, text=True,
                )  # fmt: skip
                seconds, cpu, peak = map(float, done.stdout.split())
                rate = f"{count / seconds:6.0f} photos/s" if kind != "import" else ""
                print(
                    f"  {kind:<9} {seconds:6.2f} s, CPU {cpu:6.2f} s, "
                    f"peak {peak:5.0f} MB {rate}".rstrip()
                )
                shutil.rmtree(out)


if __name__ == "__main__":
    main()
