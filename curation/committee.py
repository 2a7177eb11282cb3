"""Two opinions on a background before people were asked, and how far they differ.

One is the proposal, which compares a photo with words. The other is the vote of the
photo's neighbours: the photos of its class that look most like it to the embedding
model, with the backgrounds people verified on them. Photos on which a committee is
divided teach most (query by committee: Seung, Opper and Sompolinsky 1992). Division is
measured by the Jensen-Shannon divergence (McCallum and Nigam 1998 use its like).
"""

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]

NEIGHBOURS = 10
"""Verified photos that vote; a class with fewer has no second opinion."""

WITNESSES = 1024
"""Verified photos of a class that are looked at, so that a large class takes seconds.
The first by photo_id, which is a digest: a random choice that stays the same."""

BLOCK = 4096  # rows of a similarity matrix held at a time


def opinions(
    vectors: NDArray[np.float32],
    classes: NDArray[np.int64],
    answers: NDArray[np.int64],
    *,
    backgrounds: int,
) -> Real:
    """What the verified neighbours of each photo say of its background.

    The ten nearest of its class have a vote each, and one more vote is spread evenly. A
    photo that is verified itself has no vote on itself.

    Args:
        vectors: (N, D) float32 of unit length, rows sorted by photo_id.
        classes: (N,) class of each photo, as a number.
        answers: (N,) verified background as a column, -1 where there is none.
        backgrounds: B, number of backgrounds.

    Returns: (N, B) probabilities; rows of NaN where there is no opinion.
    """
    found = np.full((len(vectors), backgrounds), np.nan)
    for class_ in np.unique(classes):
        rows = np.flatnonzero(classes == class_)
        known = rows[answers[rows] >= 0][:WITNESSES]
        if len(known) <= NEIGHBOURS:
            continue
        votes = np.eye(backgrounds)[answers[known]]
        for at in range(0, len(rows), BLOCK):
            some = rows[at : at + BLOCK]
            cosines = vectors[some] @ vectors[known].T
            _, own, column = np.intersect1d(some, known, return_indices=True)
            cosines[own, column] = -np.inf
            near = np.argpartition(-cosines, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
            counted = votes[near].sum(axis=1)
            found[some] = (counted + 1 / backgrounds) / (NEIGHBOURS + 1)
    return found


def divergence(first: Real, second: Real) -> Real:
    """Jensen-Shannon divergence of two opinions, row by row.

    Args:
        first: (N, B) probabilities; a row of NaN is no opinion.
        second: the same.

    Returns: (N,) bits, 0 (the same) to 1 (nothing in common); 0 where one is missing.

    Source: Lin 1991, "Divergence measures based on the Shannon entropy".

    Example:
        >>> divergence(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])).tolist()
        [1.0]
    """
    mean = (first + second) / 2
    bits = _entropy(mean) - (_entropy(first) + _entropy(second)) / 2
    return np.clip(np.nan_to_num(bits, nan=0.0), 0.0, 1.0)


def together(first: Real, second: Real) -> Real:
    """Mean of two opinions; the one there is; even chances where there is none."""
    count = np.isfinite(first).astype(float) + np.isfinite(second)
    total = np.nan_to_num(first) + np.nan_to_num(second)
    even = 1 / first.shape[1]
    return np.where(count > 0, total / np.maximum(count, 1), even)


def _entropy(p: Real) -> Real:
    """(N,) Shannon entropy in bits."""
    logs = np.log2(np.where(p > 0, p, 1.0))
    summed: Real = -(p * logs).sum(axis=1)
    return summed
