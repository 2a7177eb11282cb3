"""What several stages do with embeddings: the model, matrices, similarities.

Similarities are computed in float32 whatever precision the embeddings are stored in.
"""

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.rows import having
from evaluation import models

if TYPE_CHECKING:
    from evaluation.models import Model, ZeroShotModel

Matrix = NDArray[np.float32]

BLOCK = 2048  # rows of a similarity matrix held at a time


@functools.cache
def model(name: str) -> "Model":
    """The model, loaded once per process."""
    return models.load(name)


def text_model(name: str) -> "ZeroShotModel | None":
    """The model if it reads text, else None."""
    loaded = model(name)
    if loaded.kind != "zero_shot":
        return None
    return loaded  # type: ignore[return-value]


def texts(tower: "ZeroShotModel", prompts: list[str]) -> Matrix:
    """Embeddings of prompts, (M, D) float32 of unit length."""
    return np.asarray(tower.texts(prompts).numpy(), dtype=np.float32)


def mean_direction(vectors: Matrix) -> Matrix:
    """Mean of unit vectors, made unit length again: a prompt ensemble's direction."""
    mean = vectors.mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean), dtype=np.float32)


def matrix(embeddings: pa.Table) -> tuple[list[str], Matrix]:
    """Photos that have an embedding, by photo_id, and their rows.

    Returns: ids in ascending order, and (N, D) float32, brought back to unit length
        after the storage's rounding.
    """
    rows = having(embeddings, "status", "ok").sort_by("photo_id")
    ids = rows["photo_id"].to_pylist()
    if not ids:
        return [], np.empty((0, 0), np.float32)
    values = rows["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    vectors = values.astype(np.float32).reshape(len(ids), -1)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return ids, vectors / np.maximum(lengths, np.finfo(np.float32).tiny)


def blocks(vectors: Matrix) -> Iterator[tuple[int, Matrix]]:
    """Cosines of each block of rows with all rows; a row's own place holds -inf."""
    for at in range(0, len(vectors), BLOCK):
        cosines = vectors[at : at + BLOCK] @ vectors.T
        rows = np.arange(len(cosines))
        cosines[rows, rows + at] = -np.inf
        yield at, cosines


def softmax(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Softmax over the last axis in float64."""
    shifted = scores.astype(np.float64)
    shifted = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))
