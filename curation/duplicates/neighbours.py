"""Pairs of embeddings that are nearly parallel: exact, without every full product.

A projection onto a few directions never makes two vectors look farther apart than they
are, so what is too far apart there is out; what is left is compared in full.
"""

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

_BLOCK = 1024  # rows compared with all earlier ones at a time, at most
_CELLS = 1 << 25  # products at a time, 128 MB
_DIRECTIONS = 48
_WORTH = 4096  # vectors from which the projection pays
_SLACK = 1e-4  # of float32 products; what is let through by it is looked at again


def cosines(a: Vectors, b: Vectors) -> NDArray[np.float64]:
    """(P,) cosines of (P, D) unit vectors with one another, in order.

    To six digits: what is beyond hangs on the machine.
    """
    found = np.empty(len(a))
    for at in range(0, len(a), 4096):
        part = slice(at, at + 4096)
        wide = a[part].astype(np.float64)
        found[part] = np.einsum("nd,nd->n", wide, b[part].astype(np.float64))
    return np.round(found, 6)


def nearest(
    vectors: Vectors, *, least: float, most: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """For each vector the nearest of those before it.

    Args:
        vectors: (N, D) of unit length.
        least: cosine from which two are neighbours.
        most: neighbours of a vector, nearest first, then the earliest.

    Returns: (P,) earlier, later and cosine, by later.
    """
    shown = _projected(vectors)
    squares = (shown.astype(np.float64) ** 2).sum(axis=1).astype(np.float32)
    # |x - y|² = 2 - 2 cos, and the projection's is no more
    limit = np.float32(2 - 2 * least + _SLACK)
    parts = []
    step = max(1, min(_BLOCK, _CELLS // max(len(vectors), 1)))
    for at in range(0, len(vectors), step):
        end = min(at + step, len(vectors))
        apart = shown[at:end] @ shown[:end].T
        apart *= -2
        apart += squares[:end]
        apart += squares[at:end, None]
        later, earlier = np.nonzero(apart <= limit)
        later += at
        chosen = earlier < later
        parts.append(_best(vectors, earlier[chosen], later[chosen], least, most))
    if not parts:
        none = np.empty(0, np.int64)
        return none, none, np.empty(0)
    earlier, later, cosine = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    return earlier, later, cosine


def _projected(vectors: Vectors) -> Vectors:
    """Vectors in the directions they differ most in; few vectors as they are."""
    if len(vectors) < _WORTH or vectors.shape[1] <= _DIRECTIONS:
        return vectors
    some = vectors[:: max(1, len(vectors) // 20_000)].astype(np.float64)
    _, directions = np.linalg.eigh(some.T @ some)
    return np.asarray(vectors @ directions[:, -_DIRECTIONS:].astype(np.float32))


def _best(
    vectors: Vectors,
    earlier: NDArray[np.int64],
    later: NDArray[np.int64],
    least: float,
    most: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Those that are near indeed, at most so many for each later one."""
    cosine: NDArray[np.float64] = np.empty(len(earlier))
    for at in range(0, len(earlier), 65536):
        part = slice(at, at + 65536)
        cosine[part] = cosines(vectors[earlier[part]], vectors[later[part]])
    near = cosine >= least
    earlier, later, cosine = earlier[near], later[near], cosine[near]
    order = np.lexsort((earlier, -cosine, later))
    earlier, later, cosine = earlier[order], later[order], cosine[order]
    rank = np.arange(len(later)) - np.searchsorted(later, later)
    chosen = rank < most
    return earlier[chosen], later[chosen], cosine[chosen]
