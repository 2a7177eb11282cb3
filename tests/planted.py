"""A route whose tables were written, not computed: thousands of photos in seconds.

Photos are small JPEGs, told apart by a comment; every tenth proposal abstained.
"""

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from curation import config
from curation.photo import arrived
from curation.pipeline import Route
from curation.schemas import CRITERIA, from_rows
from curation.shelf import Shelf
from curation.stages import tasks

SIZE = (160, 120)
CLASSES = ("bear", "dog")
BACKGROUNDS = ("snow", "ice", "grass")
DAY = "2026-03-01T09:00:00+00:00"


def configuration(
    folder: Path, *, backgrounds: tuple[str, ...] = BACKGROUNDS, **sections: Any
) -> config.Dataset:
    """A dataset of the classes bear and dog; `sections` are those of dataset.toml."""
    content = {
        "dataset": {"name": "planted", "title": "Planted photos"},
        "classes": [{"name": name} for name in CLASSES],
        "backgrounds": [
            {"name": name, "prompts": ["a photo of a {}"]} for name in backgrounds
        ],
        "sources": [{"kind": "folder", "path": "photos", "licence": "CC0-1.0"}],
    }
    return config.parse(content | sections, base=folder, name="planted")


def planted(work: Path, count: int, *, begin: int = 0, **more: Any) -> Route:
    """A work folder with `count` kept photos and their questions, held by nobody.

    Done again with more photos it grows; with another `begin` they are others. `more`
    goes to `configuration`.
    """
    dataset = configuration(work.parent, **more)
    with Shelf(work).lock() as shelf:
        shelf.keep_config(dataset.model_dump(mode="json"))
    route = Route(Shelf(work), dataset, jobs=1)
    names = [background.name for background in dataset.backgrounds]
    rng = np.random.default_rng(0)
    picture = _picture()
    rows = [_photo(place, picture, names, rng) for place in range(begin, begin + count)]
    have = set(arrived(route).values())
    for row in rows:
        if row["photo_id"] not in have:
            # not `add_photo`, which waits for the disk: nothing here need survive
            route.shelf.put(
                route.shelf.blob(row["photo_id"]), row.pop("data"), flush=False
            )
    route.append("fetches", [row for row in rows if row["photo_id"] not in have])
    rows.sort(key=lambda row: row["photo_id"])
    for step, table in (
        ("collect", "candidates"), ("fetch", "photos"), ("hash", "hashes"),
        ("embed", "embeddings"), ("dedup", "duplicates"), ("screen", "flags"),
        ("propose", "proposals"),
    ):  # fmt: skip
        route._tables.clear()
        made: pa.Table = from_rows([] if table == "duplicates" else rows, table)
        route.finish(step, made)
    ask(route)
    return route


def ask(route: Route) -> None:
    """Make the table `tasks` anew."""
    route._tables.clear()
    inputs = {name: route.whole(name) for name in tasks.INPUTS}
    route.finish("tasks", tasks.run(inputs, tasks.settings(route.config)))
    route._tables.clear()


def _picture() -> bytes:
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(grey).resize(SIZE).save(file, "JPEG", quality=60)
    return file.getvalue()


def _photo(
    place: int, picture: bytes, names: list[str], rng: np.random.Generator
) -> dict[str, Any]:
    """All that the tables say of a photo."""
    comment = f"photo {place}".encode()
    segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2) + comment
    data = picture[:2] + segment + picture[2:]
    photo_id = hashlib.sha256(data).hexdigest()
    record = hashlib.sha256(comment).hexdigest()
    scores = np.sort(rng.dirichlet(np.ones(len(names))))[::-1]
    vector = rng.normal(size=8)
    return {
        "data": data,
        "photo_id": photo_id,
        "candidate_id": record,
        "source": "folder",
        "key": f"{CLASSES[place % 2]}/{place}.jpg",
        "revision": "1",
        "class": CLASSES[place % 2],
        "classes": [CLASSES[place % 2]],
        "url": f"{CLASSES[place % 2]}/{place}.jpg",
        "author": f"Author {place % 7}",
        "licence": "CC-BY-4.0",
        "observation_id": record,
        "composed": False,
        "place": 0,
        "order": place,
        "bytes": len(data),
        "format": "JPEG",
        "width": SIZE[0],
        "height": SIZE[1],
        "status": "ok",
        "path": "1",
        "limits": "",
        "at": DAY,
        "embedding": (vector / np.linalg.norm(vector)).astype(np.float16).tolist(),
        **dict.fromkeys(CRITERIA, 0.1),
        "background": names[place % len(names)],
        "second": names[(place + 1) % len(names)],
        "probability": float(scores[0]),
        "margin": float(scores[0] - scores[1]),
        "abstained": place % 10 == 9,
        "probabilities": scores.tolist(),
        "temperature": 1.0,
        "calibrated_on": 0,
    }
