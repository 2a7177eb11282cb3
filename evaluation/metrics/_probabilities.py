"""Logits to probabilities: each photo's confidence, NLL and Brier score, in one pass.

What is public here is part of `evaluation.metrics.calibration`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.errors import ConfigError, MetricError, nearest
from evaluation.metrics._logits import Block, blocks, columns, matrix, positive

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

BINS = 15
PROBABILITIES = ("softmax", "sigmoid")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowStats:
    """What calibration needs of each photo.

    Attributes:
        confidence: (N,) float64, probability of the predicted class, 0 to 1.
        predicted: (N,) int64, column of the largest logit, of equals the lowest.
        correct: (N,) bool, whether that is the label's column.
        nll: (N,) float64, nats; inf where the label's logit is -inf.
        brier: (N,) float64, 0 to 2 for softmax, 0 to C for sigmoid.
    """

    confidence: "Floats"
    predicted: "NDArray[np.int64]"
    correct: "NDArray[np.bool_]"
    nll: "Floats"
    brier: "Floats"


def row_stats(
    logits: "ArrayLike",
    labels: "ArrayLike",
    temperature: float = 1.0,
    probabilities: str = "softmax",
) -> RowStats:
    """Confidence, prediction, NLL and Brier score of each photo.

    Args:
        logits: (N, C) real numbers; -inf where a class is not offered.
        labels: (N,) columns of the right class.
        temperature: what logits are divided by; it leaves predictions alone.
        probabilities: "softmax" or "sigmoid".

    Raises:
        ConfigError: `probabilities` is neither.
        MetricError: as for `calibration`.

    Example:
        >>> row_stats([[2.0, 2.0], [0.0, 1.0]], [1, 1]).correct.tolist()
        [False, True]
    """
    found = matrix(logits)
    return sweep(found, columns(labels, found.shape), temperature, probabilities, None)


def nll(
    logits: "ArrayLike",
    labels: "ArrayLike",
    temperature: float = 1.0,
    probabilities: str = "softmax",
) -> float:
    """Mean negative log-likelihood of the labels, nats; see `row_stats`."""
    return float(row_stats(logits, labels, temperature, probabilities).nll.mean())


def brier(
    logits: "ArrayLike",
    labels: "ArrayLike",
    temperature: float = 1.0,
    probabilities: str = "softmax",
) -> float:
    """Mean squared distance of probabilities to the one-hot answer; see `row_stats`."""
    return float(row_stats(logits, labels, temperature, probabilities).brier.mean())


def classwise_ece(
    logits: "ArrayLike",
    labels: "ArrayLike",
    temperature: float = 1.0,
    probabilities: str = "softmax",
    *,
    bins: int = BINS,
) -> float:
    """Mean over all C columns of the ECE of that column's probability (static, SCE).

    Columns without photos count too, with the probability they wrongly get; so the
    value falls with the width of the label space: compare within one label space.

    Args:
        logits: (N, C) real numbers.
        labels: (N,) columns of the right class.
        temperature: what logits are divided by.
        probabilities: "softmax" or "sigmoid".
        bins: equal-width right-closed bins of each column's probability.

    Returns: 0 to 2 / C for softmax, 0 to 1 for sigmoid.

    Raises:
        ConfigError: `probabilities` is neither.
        MetricError: as for `calibration`.

    Source: Nixon et al. 2019 (arXiv:1904.01685); Kull et al. 2019 (arXiv:1910.12656).
    """
    found = matrix(logits)
    own = columns(labels, found.shape)
    gaps = np.zeros((found.shape[1], whole(bins, "bins")))
    sweep(found, own, temperature, probabilities, gaps)
    return mean_gap(gaps, len(own))


def whole(value: int, what: str) -> int:
    """A number of bins or draws.

    Raises:
        MetricError: not a whole number of at least 1.
    """
    if value < 1 or value != int(value):
        message = f"{what} must be a whole number of at least 1, not {value}"
        raise MetricError(message)
    return int(value)


def equal_width(values: "NDArray[Any]", bins: int) -> "NDArray[np.intp]":
    """Bin of each probability: closed on the right, 0 in the first."""
    # b / bins is the nearest float to an edge; multiples of a step are not
    return np.searchsorted(np.arange(1, bins) / bins, values, "left")


def mean_gap(gaps: "Floats", number: int) -> float:
    """Classwise ECE of what `sweep` added up over this number of photos."""
    return float(np.abs(gaps).sum() / number / len(gaps))


def sweep(
    logits: "NDArray[Any]",
    labels: "NDArray[np.int64]",
    temperature: float,
    probabilities: str,
    gaps: "Floats | None",
) -> RowStats:
    """Each row's numbers; into `gaps` (C, bins), probabilities minus labels, summed."""
    if probabilities not in PROBABILITIES:
        message = f"there are no probabilities {probabilities!r}; "
        raise ConfigError(message + nearest(probabilities, PROBABILITIES))
    soft = probabilities == "softmax"
    number = len(labels)
    top = np.empty(number, np.int64)
    found = np.empty((3, number))
    for block in blocks(logits, positive(temperature), shifted=soft):
        rows = block.rows
        own = labels[rows]
        label = logits[rows][np.arange(len(own)), own].astype(np.float64)
        peak = block.peak / temperature
        found[:, rows] = (_softmax if soft else _sigmoid)(
            block, own, peak, label / temperature
        )
        top[rows] = block.top
        if gaps is not None:
            _add_gaps(gaps, block.values, own)
    return RowStats(
        confidence=found[0],
        predicted=top,
        correct=top == labels,
        nll=found[1],
        brier=found[2],
    )


_Numbers = tuple["Floats", "Floats", "Floats"]


def _softmax(
    block: Block, own: "NDArray[np.int64]", peak: "Floats", label: "Floats"
) -> "_Numbers":
    """Confidence, NLL, Brier; leaves probabilities in the block."""
    shares, row = block.values, np.arange(len(own))
    np.exp(shares, out=shares)
    mine = shares[row, own].astype(np.float64)
    # without the label's own, what is missing from 1 keeps its digits
    shares[row, own] = 0
    rest = shares.sum(axis=1, dtype=np.float64)
    squares = np.square(shares).sum(axis=1, dtype=np.float64)
    shares[row, own] = mine
    total = rest + mine
    shares *= (1 / total).astype(shares.dtype)[:, None]
    return 1 / total, np.log(total) + peak - label, (squares + rest**2) / total**2


def _sigmoid(
    block: Block, own: "NDArray[np.int64]", peak: "Floats", label: "Floats"
) -> "_Numbers":
    """Confidence, NLL, Brier; leaves probabilities in the block."""
    shares, row = block.values, np.arange(len(own))
    with np.errstate(over="ignore"):  # 1 / inf is the 0 that is meant
        np.exp(np.negative(shares, out=shares), out=shares)
        shares += 1
        np.reciprocal(shares, out=shares)
        sure = 1 / (1 + np.exp(-peak))
        missing = np.exp(-np.logaddexp(0, label))  # 1 - sigmoid
    mine = shares[row, own]
    shares[row, own] = 0
    squares = np.square(shares).sum(axis=1, dtype=np.float64)
    shares[row, own] = mine
    return sure, np.logaddexp(0, -label), squares + missing**2


def _add_gaps(gaps: "Floats", shares: "NDArray[Any]", own: "NDArray[np.int64]") -> None:
    width, bins = gaps.shape
    flat, values = gaps.reshape(-1), shares.reshape(-1)
    # nearly all probabilities are in the first bin: count all there, then move the rest
    gaps[:, 0] += shares.sum(axis=0, dtype=np.float64)
    edge = np.nextafter(shares.dtype.type(1 / bins), shares.dtype.type(0))
    above = np.flatnonzero(values > edge)
    moved = values[above].astype(np.float64)
    first = above % width * bins
    np.subtract.at(flat, first, moved)
    np.add.at(flat, first + equal_width(moved, bins), moved)
    mine = shares[np.arange(len(own)), own].astype(np.float64)
    np.subtract.at(flat, own * bins + equal_width(mine, bins), 1)
