"""hash: one decode per photo gives its hashes and measures, without thresholds.

With `path = "full"` everything is made from every pixel, and hashes equal those of
`imagehash` on the same picture. With "fast", JPEGs are scaled down while they are
decoded: see `curation.duplicates.hashing`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from curation.config import Dataset
from curation.duplicates import hashing
from curation.schemas import from_rows

VERSION = 1
OUTPUT = "hashes"
INPUTS = ("photos",)
ROWS = "map"
PROCESSES = True


@dataclass(frozen=True, slots=True)
class Settings:
    """What changes the table.

    Attributes:
        max_pixels: larger pictures are refused.
        path: the decoding path and its version.
    """

    max_pixels: int
    path: str = hashing.FULL


def settings(config: Dataset) -> Settings:
    """This stage's part of the configuration."""
    return Settings(
        max_pixels=config.fetch.max_pixels, path=hashing.PATHS[config.hash.path]
    )


def run(inputs: Mapping[str, pa.Table], settings: Settings) -> pa.Table:
    """Hash every photo.

    Args:
        inputs: `photos` with the column `data`.
        settings: of this stage.

    Returns: `hashes`, sorted by photo_id; a photo that cannot be decoded is a row with
        status "failed" and the reason.
    """
    photos = inputs["photos"]
    found = hashing.rows(
        photos["data"].to_pylist(), path=settings.path, max_pixels=settings.max_pixels
    )
    rows = [
        {"photo_id": photo_id} | row
        for photo_id, row in zip(photos["photo_id"].to_pylist(), found, strict=True)
    ]
    return from_rows(sorted(rows, key=lambda row: str(row["photo_id"])), OUTPUT)
