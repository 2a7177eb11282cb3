"""Recall and precision of `dedup` on planted copies of the photos in a folder.

    python -m benchmarks.planted_duplicates FOLDER [--seed 0]

Plants one copy of each kind per photo and runs the stages hash and dedup, each kind by
itself, without embeddings. `wrong` counts merges of photos that are not copies.
"""

import argparse
import hashlib
import io
import random
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from PIL import Image, ImageEnhance

from curation.config import Dedup
from curation.schemas import empty
from curation.stages import dedup, hash

Edit = Callable[[Image.Image, random.Random], Image.Image]


def _crop(keep: float, *, centre: bool = False) -> Edit:
    def edit(image: Image.Image, rng: random.Random) -> Image.Image:
        width, height = image.size
        w, h = round(width * keep), round(height * keep)
        x = (width - w) // 2 if centre else rng.randint(0, width - w)
        y = (height - h) // 2 if centre else rng.randint(0, height - h)
        return image.crop((x, y, x + w, y + h))

    return edit


EDITS: dict[str, tuple[Edit, int]] = {
    "recompressed, quality 40": (lambda image, _: image, 40),
    "resized to half": (lambda image, _: image.resize(_half(image)), 85),
    "brightness × 1.2": (lambda i, _: ImageEnhance.Brightness(i).enhance(1.2), 85),
    "brightness × 0.7": (lambda i, _: ImageEnhance.Brightness(i).enhance(0.7), 85),
    "contrast × 1.3": (lambda i, _: ImageEnhance.Contrast(i).enhance(1.3), 85),
    "mirrored": (lambda i, _: i.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 85),
    "rotated by 90°": (lambda i, _: i.transpose(Image.Transpose.ROTATE_90), 85),
    "rotated by 180°": (lambda i, _: i.transpose(Image.Transpose.ROTATE_180), 85),
    "crop to 90 %, centre": (_crop(0.9, centre=True), 85),
    "crop to 90 %, anywhere": (_crop(0.9), 85),
    "crop to 95 %, anywhere": (_crop(0.95), 85),
    "crop to 85 %, anywhere": (_crop(0.85), 85),
}


def _half(image: Image.Image) -> tuple[int, int]:
    return max(1, image.width // 2), max(1, image.height // 2)


def main() -> None:
    """Print a row per kind of copy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    files = sorted(
        p
        for p in options.folder.rglob("*")
        if p.suffix.lower() in (".jpg", ".jpeg", ".png")
    )
    originals = [Image.open(path).convert("RGB") for path in files]
    first = [_jpeg(image, 92) for image in originals]
    among = _merged(first)
    print(f"{len(files)} photos; merged among themselves: {len(among)}")
    for name, (edit, quality) in EDITS.items():
        rng = random.Random(options.seed)
        copies = [_jpeg(edit(image, rng), quality) for image in originals]
        started = time.process_time()
        found = _merged(first + copies) - among
        ids = [_sha(data) for data in first], [_sha(data) for data in copies]
        planted = {frozenset(pair) for pair in zip(*ids, strict=True)}
        print(
            f"{name:24} recall {len(found & planted) / len(planted):.3f}"
            f"  wrong {len(found - planted)}"
            f"  ({time.process_time() - started:.1f} s CPU)"
        )


def _jpeg(image: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _merged(files: list[bytes]) -> set[frozenset[str]]:
    """Pairs of keeper and member."""
    rows = []
    for place, data in enumerate({_sha(d): d for d in files}.values()):
        width, height = Image.open(io.BytesIO(data)).size
        rows.append(
            {
                "photo_id": _sha(data), "candidate_id": str(place), "width": width,
                "height": height, "order": place, "data": data,
            }
        )  # fmt: skip
    photos = pa.Table.from_pylist(rows)
    section = Dedup()
    table = dedup.run(
        {
            "photos": photos,
            "candidates": empty("candidates"),
            "hashes": hash.run({"photos": photos}, hash.Settings(100_000_000)),
            "embeddings": empty("embeddings"),
        },
        dedup.Settings(**section.model_dump() | {"keeper": tuple(section.keeper)}),
    )
    return {
        frozenset((row["photo_id"], row["keeper"]))
        for row in table.to_pylist()
        if row["decision"] == "merge"
    }


if __name__ == "__main__":
    main()
