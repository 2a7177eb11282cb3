"""A route whose tables were written, not computed, of photos that look like photos."""

import hashlib
import io
import multiprocessing
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from curation import config
from curation.pipeline import Route
from curation.schemas import CRITERIA, from_rows
from curation.shelf import Shelf

ORIGINALS = Path(__file__).parents[1] / "curation" / "demo" / "assets" / "originals"
CLASSES = tuple(f"class {number}" for number in range(10))
SIDES = {"common": "grass", "counter": "snow"}
KILOBYTE = 3_800  # pixels that take about 1,000 bytes, found by trial at this quality
QUALITY = 87
DAY = "2026-03-01T09:00:00+00:00"

TOML = """\
[dataset]
name = "planted"
title = "Planted photos"
version = "{version}"
contact = "somebody@example.org"
{classes}
[[backgrounds]]
name = "grass"
prompts = ["a photo of a {{}} on grass"]
[[backgrounds]]
name = "snow"
prompts = ["a photo of a {{}} on snow"]
[[sources]]
kind = "folder"
path = "photos"
licence = "CC0-1.0"
"""


@cache
def _quilt() -> Image.Image:
    """The demo's photos side by side."""
    paths = sorted(ORIGINALS.glob("*.jpg"))
    quilt = Image.new("RGB", (8 * 512, -(-len(paths) // 8) * 288))
    for place, path in enumerate(paths):
        with Image.open(path) as photo:
            quilt.paste(photo.resize((512, 288)), (place % 8 * 512, place // 8 * 288))
    return quilt


def photo(place: int, kilobytes: int) -> bytes:
    """A JPEG of a cut of photos, unlike that of any other place."""
    rng = np.random.default_rng([place, 1])
    quilt = _quilt()
    pixels = kilobytes * KILOBYTE * rng.uniform(0.6, 1.4)
    width = min(quilt.width - 1, int((pixels * 4 / 3) ** 0.5))
    height = min(quilt.height - 1, int(width * 3 / 4))
    left = int(rng.integers(quilt.width - width))
    top = int(rng.integers(quilt.height - height))
    file = io.BytesIO()
    cut = quilt.crop((left, top, left + width, top + height))
    if place % 2:
        exif = Image.Exif()  # what a release takes out
        exif[0x010F] = "Maker"
        cut.save(file, "JPEG", quality=QUALITY, exif=exif)
    else:
        cut.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def _made(task: tuple[int, int]) -> bytes:
    return photo(*task)


def photos(count: int, kilobytes: int, *, begin: int = 0) -> Iterator[bytes]:
    """Photos, made on all cores."""
    tasks = [(place, kilobytes) for place in range(begin, begin + count)]
    with multiprocessing.get_context("spawn").Pool() as pool:
        yield from pool.imap(_made, tasks, chunksize=16)


def configured(folder: Path, version: str) -> Path:
    """Write dataset.toml."""
    classes = "".join(f'[[classes]]\nname = "{name}"\n' for name in CLASSES)
    path = folder / "dataset.toml"
    path.write_text(TOML.format(version=version, classes=classes))
    return path


def opened(toml: Path, work: Path) -> Route:
    """The route of a work folder, as the command line opens it."""
    return Route(Shelf(work), config.load(toml), jobs=1)


def plant(toml: Path, work: Path, rows: list[dict[str, Any]]) -> Route:
    """Write every table up to `groups` of photos whose blobs are there.

    Args:
        toml: the configuration.
        work: the work folder.
        rows: as `row` makes them.
    """
    dataset = config.load(toml)
    with Shelf(work).lock() as shelf:
        shelf.keep_config(dataset.model_dump(mode="json"))
    route = Route(Shelf(work), dataset, jobs=1)
    rows = sorted(rows, key=lambda found: str(found["photo_id"]))
    for step, table in (
        ("collect", "candidates"), ("fetch", "photos"), ("hash", "hashes"),
        ("embed", "embeddings"), ("dedup", "duplicates"), ("screen", "flags"),
        ("propose", "proposals"), ("tasks", "tasks"), ("resolve", "labels"),
        ("predict", "predictions"), ("discover", "evidence"), ("group", "groups"),
    ):  # fmt: skip
        none = table in ("duplicates", "evidence", "tasks", "predictions")
        route.finish(step, from_rows([] if none else rows, table))
    route._tables.clear()
    return route


def row(place: int, data: bytes) -> dict[str, Any]:
    """All that the tables say of a photo."""
    name = CLASSES[place % len(CLASSES)]
    side = tuple(SIDES)[place // len(CLASSES) % 2]
    key = f"{name}/{place}.jpg"
    record = hashlib.sha256(key.encode()).hexdigest()
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
    return {
        "photo_id": hashlib.sha256(data).hexdigest(),
        "candidate_id": record,
        "source": "folder",
        "key": key,
        "revision": "1",
        "class": name,
        "classes": [name],
        "url": key,
        "author": f"Author {place % 700}",
        "licence": "CC-BY-4.0",
        "observation_id": record,
        "composed": False,
        "place": 0,
        "order": place,
        "bytes": len(data),
        "format": "JPEG",
        "width": width,
        "height": height,
        "status": "ok",
        "path": "1",
        "limits": "",
        "embedding": np.eye(8, dtype=np.float16)[place % 8].tolist(),
        **dict.fromkeys(CRITERIA, 0.1),
        "background": SIDES[side],
        "second": SIDES["common"],
        "probability": 0.9,
        "margin": 0.8,
        "abstained": False,
        "probabilities": [0.9, 0.1],
        "temperature": 1.0,
        "calibrated_on": 0,
        "question": "background",
        "verdict": SIDES[side],
        "agreement": 1.0,
        "n_answers": 2,
        "annotators": ["ann", "bob"],
        "group": side,
        "cluster": record,
    }


def fill(
    work: Path, count: int, kilobytes: int, *, begin: int = 0
) -> list[dict[str, Any]]:
    """Put photos into a work folder; their rows."""
    shelf, rows = Shelf(work), []
    for place, data in enumerate(photos(count, kilobytes, begin=begin), begin):
        rows.append(row(place, data))
        # not `add_photo`, which waits for the disk: nothing here need survive
        shelf.put(shelf.blob(rows[-1]["photo_id"]), data, flush=False)
    return rows
