"""hash: one decode per photo gives its hashes and measures, without thresholds.

Everything is made from the full decode, so hashes equal those of `imagehash` on the
same picture. A faster path (scaled JPEG decoding) changes bits and would be another
`path`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from curation.config import Dataset
from curation.duplicates import hashing
from curation.schemas import from_rows
from evaluation import images
from evaluation.errors import DecodeError

VERSION = 1
OUTPUT = "hashes"
INPUTS = ("photos",)
ROWS = "map"
PROCESSES = True

PATH = "full-decode lanczos-32 1"
"""Version of the decoding path; hashes of different paths are not comparable."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What changes the table."""

    max_pixels: int


def settings(config: Dataset) -> Settings:
    """This stage's part of the configuration."""
    return Settings(max_pixels=config.fetch.max_pixels)


def run(inputs: Mapping[str, pa.Table], settings: Settings) -> pa.Table:
    """Hash every photo.

    Args:
        inputs: `photos` with the column `data`.
        settings: of this stage.

    Returns: `hashes`, sorted by photo_id; a photo that cannot be decoded is a row with
        status "failed" and the reason.
    """
    photos = inputs["photos"]
    rows = []
    for photo_id, data in zip(photos["photo_id"], photos["data"], strict=True):
        row: dict[str, object] = {"photo_id": photo_id.as_py(), "path": PATH}
        try:
            row |= _measure(data.as_py(), settings.max_pixels) | {"status": "ok"}
        except DecodeError as error:
            row |= {"status": "failed", "error": str(error)}
        rows.append(row)
    return from_rows(sorted(rows, key=lambda row: str(row["photo_id"])), OUTPUT)


def _measure(data: bytes, max_pixels: int) -> dict[str, object]:
    """Columns that come from the pixels."""
    image = images.decode(data, max_pixels=max_pixels)
    grey = image.convert("L")
    thumb = hashing.thumb(grey)
    levels = hashing.reduced(grey)
    mean, deviation = hashing.level(levels)
    return {
        "pixels": hashing.pixels_sha256(image),
        "phash": hashing.dihedral(hashing.low_frequencies(thumb)),
        "dhash": hashing.dhash(grey),
        "thumb": thumb.tobytes(),
        "texture": deviation,
        "sharpness": hashing.sharpness(levels),
        "brightness": mean / 255,
        "noise": hashing.noise(grey),
    }
