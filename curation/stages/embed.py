"""embed: one checkpoint's image embedding of every photo.

Proposals, screening and the confirmation of duplicates all read this table, so photos
pass the model once. A classifier's embedding is its logits, brought to unit length.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation import embeddings
from curation.config import Dataset
from curation.schemas import from_rows
from evaluation import images, models
from evaluation.errors import DecodeError

if TYPE_CHECKING:
    from evaluation.models import PixelSpec

VERSION = 1
OUTPUT = "embeddings"
INPUTS = ("photos",)
ROWS = "map"

BATCH = 64


@dataclass(frozen=True, slots=True)
class Settings:
    """What changes the table.

    Attributes:
        model: name of the model.
        identity: tells its weights from others of the same name.
        max_pixels: larger pictures are refused.
    """

    model: str
    identity: str
    max_pixels: int


def settings(config: Dataset) -> Settings:
    """This stage's part of the configuration."""
    return Settings(
        model=config.embed.model,
        identity=models.identity(config.embed.model),
        max_pixels=config.fetch.max_pixels,
    )


def run(inputs: Mapping[str, pa.Table], settings: Settings) -> pa.Table:
    """Embed every photo, in batches of 64.

    Args:
        inputs: `photos` with the column `data`.
        settings: of this stage.

    Returns: `embeddings`, sorted by photo_id; a photo that cannot be decoded is a row
        with status "failed" and the reason.
    """
    photos = inputs["photos"].sort_by("photo_id")
    if not len(photos):
        return from_rows([], OUTPUT)
    spec = embeddings.model(settings.model).spec
    rows: list[dict[str, object]] = []
    for batch in _batches(photos):
        pixels: list[NDArray[np.uint8]] = []
        good: list[dict[str, object]] = []
        with ThreadPoolExecutor() as pool:
            square = partial(_square, max_pixels=settings.max_pixels, spec=spec)
            squares = list(pool.map(square, [data for _, data in batch]))
        for (photo_id, _), found in zip(batch, squares, strict=True):
            row: dict[str, object] = {"photo_id": photo_id, "status": "ok"}
            if isinstance(found, DecodeError):
                row |= {"status": "failed", "error": str(found)}
            else:
                pixels.append(found)
                good.append(row)
            rows.append(row)
        for row, vector in zip(good, _embed(settings.model, pixels), strict=True):
            row["embedding"] = vector.tolist()
    return from_rows(rows, OUTPUT)


def _batches(photos: pa.Table) -> Iterator[list[tuple[str, bytes]]]:
    for at in range(0, len(photos), BATCH):
        part = photos.slice(at, BATCH)
        yield list(
            zip(part["photo_id"].to_pylist(), part["data"].to_pylist(), strict=True)
        )


def _square(
    data: bytes, *, max_pixels: int, spec: "PixelSpec"
) -> NDArray[np.uint8] | DecodeError:
    """Pixels for the model, or why there are none."""
    try:
        return images.fit(images.decode(data, max_pixels=max_pixels), spec)
    except DecodeError as error:
        return error


def _embed(model: str, pixels: list[NDArray[np.uint8]]) -> NDArray[np.float16]:
    """Unit vectors, (N, D) float16; (0, 0) for no photos."""
    if not pixels:
        return np.empty((0, 0), np.float16)
    import torch

    batch = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
    features = embeddings.model(model).images(batch).numpy().astype(np.float32)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / lengths, dtype=np.float16)
