"""Temperature scaling: the one number that makes probabilities most likely.

What is public here is part of `evaluation.metrics.calibration`.
"""

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.errors import MetricError
from evaluation.metrics._logits import blocks, columns, matrix

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

LOWEST, HIGHEST = 1e-4, 1e4

# exp of it is 0 in float64; a logit of -inf must not become 0 * inf
_FLOOR = -1000.0
_STEPS = 60


def fit_temperature(logits: "ArrayLike", labels: "ArrayLike") -> float:
    """Temperature T at which the labels' NLL of softmax(logits / T) is lowest.

    The NLL is convex in 1 / T, so its slope changes sign once: Newton's steps in log T,
    inside a bracket, on the slope's analytic form. Fit on photos that are not measured
    (`halves`), of the ID set; the T is then used unchanged elsewhere.

    Args:
        logits: (N, C) real numbers; -inf where a class is not offered.
        labels: (N,) columns of the right class.

    Returns: T, between 1e-4 and 1e4.

    Raises:
        MetricError: there is no such T: every photo is right, so the NLL falls for ever
            as T nears 0; or labels are no likelier than by chance, so it falls for ever
            as T grows; or T lies outside that range; or a label is not offered. Also as
            for `calibration`.

    Source: Guo et al. 2017, section 4.2 (arXiv:1706.04599); the derivatives are those
        of an exponential family: mean and variance of the logits under the softmax.

    Example:
        >>> round(fit_temperature([[2.0, 0.0]] * 4, [0, 0, 0, 1]), 4)  # 2 / ln 3
        1.8205
    """
    found = matrix(logits)
    own = columns(labels, found.shape)
    missing = _missing(found, own)

    def slope(log_inverse: float) -> tuple[float, float]:
        return _slope(found, missing, float(np.exp(-log_inverse)))

    low, high = -np.log(HIGHEST), -np.log(LOWEST)
    if slope(low)[0] >= 0:
        message = (
            "no temperature fits: labels are no likelier than by chance, so the NLL is "
            f"lowest above T = {HIGHEST:g}; check that labels are columns of these "
            "logits"
        )
        raise MetricError(message)
    if slope(high)[0] <= 0:
        message = f"no temperature fits: the NLL is lowest below T = {LOWEST:g}"
        raise MetricError(message)
    here = 0.0
    for _ in range(_STEPS):
        down, spread = slope(here)
        if down < 0:
            low = here
        else:
            high = here
        share = -down / spread if spread > 0 else np.inf
        step = np.log1p(share) if -1 < share < np.inf else np.inf
        there = here + step if low < here + step < high else (low + high) / 2
        if abs(there - here) < 1e-7:
            break
        here = there
    return float(np.exp(-there))


def _missing(logits: "NDArray[Any]", labels: "NDArray[np.int64]") -> "Floats":
    """(N,) how far the label's logit is below the row's largest."""
    missing = np.empty(len(labels))
    for block in blocks(logits, 1.0):
        own = labels[block.rows]
        missing[block.rows] = -block.values[np.arange(len(own)), own]
    wrong = np.flatnonzero(np.isinf(missing))
    if len(wrong):
        message = (
            f"no temperature fits: label {labels[wrong[0]]} of row {wrong[0]} is not "
            "offered (its logit is -inf), so the NLL is infinite at any temperature"
        )
        raise MetricError(message)
    if not missing.any():
        message = (
            f"no temperature fits: all {len(labels)} photos are right, so the NLL "
            "falls for ever as T nears 0; fit on more photos, or leave T at 1"
        )
        raise MetricError(message)
    return missing


def _slope(
    logits: "NDArray[Any]", missing: "Floats", temperature: float
) -> tuple[float, float]:
    """Of the NLL in log(1/T): its slope, and the mean variance of logits / T."""
    slope = spread = 0.0
    for block in blocks(logits, temperature):
        values = np.maximum(block.values, _FLOOR, out=block.values)
        shares = np.exp(values)
        total = shares.sum(axis=1, dtype=np.float64)
        shares *= values
        mean = shares.sum(axis=1, dtype=np.float64) / total
        shares *= values
        square = shares.sum(axis=1, dtype=np.float64) / total
        slope += float((mean + missing[block.rows] / temperature).sum())
        spread += float((square - mean**2).sum())
    return slope / len(missing), spread / len(missing)


def halves(
    photo_ids: "ArrayLike", labels: "ArrayLike", seed: int = 0
) -> "NDArray[np.bool_]":
    """Two halves of a set, one to fit a temperature on and one to measure.

    Within each class, photos are ranked by a hash of their id and the seed, and every
    other one is taken; of an odd number, a hash of the class decides which half has one
    more. Neither the order of rows nor photos of other classes change anything.

    Args:
        photo_ids: (N,) ids, each once.
        labels: (N,) classes, names or numbers.
        seed: another seed, another split.

    Returns: (N,) True for the half to fit on.

    Raises:
        MetricError: N is 0, lengths differ, or an id occurs twice.

    Example:
        >>> halves(["p", "q", "r", "s"], ["cat", "cat", "dog", "dog"]).sum()
        np.int64(2)
    """
    ids, kind = np.asarray(photo_ids).astype(np.str_), np.asarray(labels)
    if ids.ndim != 1 or ids.shape != kind.shape or not len(ids):
        message = f"ids and labels must be of one length, not {ids.shape}, {kind.shape}"
        raise MetricError(message)
    names, counts = np.unique(ids, return_counts=True)
    if counts.max() > 1:
        message = f"photo id {names[counts.argmax()]!r} occurs twice: it can't be split"
        raise MetricError(message)
    classes, where = np.unique(kind.astype(np.str_), return_inverse=True)
    hashes = _hashes(ids, f"photo {seed}")
    order = np.lexsort((hashes, where))
    sizes = np.bincount(where)
    rank = np.arange(len(ids)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    first = _hashes(classes, f"class {seed}")[where[order]] % 2
    half = np.empty(len(ids), np.bool_)
    half[order] = (rank + first) % 2 == 0
    return half


def _hashes(names: "NDArray[np.str_]", salt: str) -> "NDArray[np.int64]":
    """63 bits of each name; photos that collide would only share a rank by order."""
    return np.array(
        [
            int.from_bytes(hashlib.sha256(f"{salt}\0{name}".encode()).digest()[:8]) >> 1
            for name in names.tolist()
        ],
        np.int64,
    )
