"""Rows of `hashes` made from thumbs alone: many photos in no time."""

import hashlib

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.duplicates import hashing
from curation.schemas import from_rows

Thumbs = NDArray[np.uint8]


def scenes(count: int, rng: np.random.Generator) -> Thumbs:
    """(count, 32, 32): pictures that have nothing to do with one another."""
    coarse = rng.integers(0, 256, (count, 6, 6)).astype(np.float64)
    at = np.linspace(0, 5, hashing.SIDE)
    low = np.minimum(at.astype(int), 4)
    weights = np.zeros((hashing.SIDE, 6))
    weights[np.arange(hashing.SIDE), low] = 1 - (at - low)
    weights[np.arange(hashing.SIDE), low + 1] += at - low
    return np.rint(weights @ coarse @ weights.T).astype(np.uint8)


def noisy(thumbs: Thumbs, rng: np.random.Generator, *, by: float = 3.0) -> Thumbs:
    """The same pictures, as another compression leaves them."""
    noise = rng.normal(0, by, thumbs.shape)
    return np.clip(np.rint(thumbs + noise), 0, 255).astype(np.uint8)


def table(thumbs: Thumbs, *, names: list[str] | None = None) -> pa.Table:
    """`hashes` of thumbs, in their order; pixels are null, as on the fast path."""
    codes = hashing.variants(hashing.whole_frequencies(thumbs))
    rows: list[dict[str, object]] = []
    for place, thumb in enumerate(thumbs):
        name = names[place] if names else f"{place}"
        rows.append(
            {
                "photo_id": hashlib.sha256(name.encode()).hexdigest(),
                "status": "ok", "path": hashing.FAST,
                "phash": codes[place].tolist(), "dhash": 0,
                "thumb": thumb.tobytes(), "texture": float(thumb.std()),
                "brightness": float(thumb.mean()) / 255,
            }
        )  # fmt: skip
    return from_rows(rows, "hashes")
