"""Calibration: whether probabilities mean what they say. Fractions and nats.

Logits are (N, C) float32 over a label space, rows of photos that were answered; labels
are (N,) columns of the right class. A logit of -inf is a class that is not offered: its
probability is 0. Logits are taken in float32 (float64 where they are float64), sums are
in float64, and memory does not grow with C.

"softmax" makes one distribution of a row. "sigmoid" (SigLIP) makes C separate yes/no
probabilities: confidence is the sigmoid of the largest logit, nll is -log sigmoid of
the label's logit, and Brier and classwise ECE take every class's own sigmoid, so that
Brier can reach C.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evaluation.errors import MetricError
from evaluation.metrics._logits import columns, matrix
from evaluation.metrics._probabilities import (
    BINS,
    PROBABILITIES,
    RowStats,
    brier,
    classwise_ece,
    equal_width,
    mean_gap,
    nll,
    row_stats,
    sweep,
    whole,
)
from evaluation.metrics._temperature import fit_temperature, halves

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from evaluation.metrics import Outcomes

    Floats = NDArray[np.float64]

__all__ = [
    "BINS",
    "PROBABILITIES",
    "SOURCE",
    "Bin",
    "Calibration",
    "RowStats",
    "adaptive_ece",
    "brier",
    "calibration",
    "classwise_ece",
    "ece",
    "ece_interval",
    "fit_temperature",
    "halves",
    "measure",
    "nll",
    "reliability",
    "row_stats",
]

SOURCE = "Guo et al. 2017 (arXiv:1706.04599); Nixon et al. 2019 (arXiv:1904.01685)"

# `predict` keeps probabilities in float32: a label's that is 0 there is below this
_SMALLEST = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, slots=True)
class Bin:
    """One bar of a reliability diagram.

    Attributes:
        low: confidence above which the bin begins (excluded), 0 to 1.
        high: confidence at which it ends (included).
        n: photos in it; bins without photos are kept.
        confidence: mean confidence of its photos; nan where n is 0.
        accuracy: share of them that is right; nan where n is 0.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Calibration of one model on one example set, at one temperature.

    Attributes:
        temperature: what logits were divided by; 1 leaves them as the model gives them.
        fitted_on: what the temperature was fitted on; "" where it was not fitted.
        probabilities: "softmax" over the label space, or "sigmoid" of each class.
        bins: number of bins of every ECE here.
        n: photos.
        accuracy: share of photos that are right (micro).
        confidence: mean confidence.
        ece: expected calibration error, equal-width right-closed bins.
        ece_ci: bootstrap interval of `ece`.
        ece_adaptive: bins of equal numbers of photos.
        ece_classwise: mean over classes of each class's probability's ECE.
        nll: mean negative log-likelihood, nats; inf where a label is not offered.
        brier: mean squared distance to the one-hot answer, 0 to 2 (0 to C for sigmoid).
        reliability: the bars behind `ece`.
        group: "common" or "counter"; "" for all photos.
    """

    temperature: float
    fitted_on: str
    probabilities: str
    bins: int
    n: int
    accuracy: float
    confidence: float
    ece: float
    ece_ci: tuple[float, float]
    ece_adaptive: float
    ece_classwise: float
    nll: float
    brier: float
    reliability: tuple[Bin, ...]
    group: str = ""


def measure(outcomes: "Outcomes") -> dict[str, float]:
    """ECE, adaptive ECE and NLL of stored probabilities (fractions; nats).

    A label's probability of 0 counts as the smallest normal float32 (1.2e-38), so that
    no photo adds more than 87.3 nats; `calibration` has the exact NLL, from logits.

    Raises:
        MetricError: there are no photos, or a probability is not in [0, 1].
    """
    label = np.asarray(outcomes.label_probability, np.float64)
    if not np.all((label >= 0) & (label <= 1)):
        message = (
            "probabilities of the labels must lie in [0, 1]; some do not, or are nan"
        )
        raise MetricError(message)
    return {
        "ece": ece(outcomes.probability, outcomes.correct),
        "ece_adaptive": adaptive_ece(outcomes.probability, outcomes.correct),
        "nll": float(-np.log(np.maximum(label, _SMALLEST)).mean()),
    }


def calibration(
    logits: "ArrayLike",
    labels: "ArrayLike",
    *,
    temperature: float = 1.0,
    fitted_on: str = "",
    probabilities: str = "softmax",
    bins: int = BINS,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
    clusters: "ArrayLike | None" = None,
) -> Calibration:
    """All measures of calibration in one pass over the logits.

    Args:
        logits: (N, C), as the model gives them (with its scale and bias).
        labels: (N,) columns of the right class.
        temperature: what logits are divided by; see `fit_temperature`.
        fitted_on: what it was fitted on, kept in the result.
        probabilities: "softmax" or "sigmoid".
        bins: of every ECE.
        level: coverage aimed at by the interval of the ECE, in (0, 1).
        draws: bootstrap replicates.
        seed: of the random numbers.
        clusters: (N,) photos that stand or fall together share it; without it each is
            drawn alone.

    Raises:
        ConfigError: `probabilities` is neither.
        MetricError: N is 0; logits hold nan or +inf, or a row of nothing but -inf; a
            label is outside [0, C); lengths differ; a setting is out of range.

    Source: Guo et al. 2017 (arXiv:1706.04599); Nixon et al. 2019 (arXiv:1904.01685);
        Brier 1950.
    """
    bins = whole(bins, "bins")
    found = matrix(logits)
    own = columns(labels, found.shape)
    gaps = np.zeros((found.shape[1], bins))
    rows = sweep(found, own, temperature, probabilities, gaps)
    return Calibration(
        temperature=float(temperature),
        fitted_on=fitted_on,
        probabilities=probabilities,
        bins=bins,
        n=len(own),
        accuracy=float(rows.correct.mean()),
        confidence=float(rows.confidence.mean()),
        ece=ece(rows.confidence, rows.correct, bins=bins),
        ece_ci=ece_interval(
            rows.confidence,
            rows.correct,
            bins=bins,
            clusters=clusters,
            level=level,
            draws=draws,
            seed=seed,
        ),
        ece_adaptive=adaptive_ece(rows.confidence, rows.correct, bins=bins),
        ece_classwise=mean_gap(gaps, len(own)),
        nll=float(rows.nll.mean()),
        brier=float(rows.brier.mean()),
        reliability=reliability(rows.confidence, rows.correct, bins=bins),
    )


def ece(confidence: "ArrayLike", correct: "ArrayLike", bins: int = BINS) -> float:
    """Expected calibration error: mean |accuracy - confidence| over photos' bins.

    Bins are of equal width and closed on the right, and 0 is in the first: a confidence
    of exactly 1 counts.

    Args:
        confidence: (N,) probabilities of the predicted class, 0 to 1.
        correct: (N,) bool.
        bins: how many.

    Returns: 0 to 1; 0 is perfect.

    Raises:
        MetricError: N is 0, lengths differ, or a confidence is not in [0, 1].

    Source: Guo et al. 2017, eq. 3.

    Example:
        >>> round(ece([0.8, 0.8, 0.8, 0.8, 0.8], [1, 1, 1, 1, 0]), 12)
        0.0
        >>> ece([1.0], [0])
        1.0
    """
    sure, right = _checked(confidence, correct)
    bins = whole(bins, "bins")
    gap = np.bincount(equal_width(sure, bins), right - sure, bins)
    return float(np.abs(gap).sum() / len(sure))


def adaptive_ece(
    confidence: "ArrayLike", correct: "ArrayLike", bins: int = BINS
) -> float:
    """ECE over bins of equally many photos.

    Bins end at the confidences of rank N b / bins; photos of equal confidence share a
    bin, the lower one, so that the order of rows never matters.

    Args:
        confidence: (N,) probabilities of the predicted class, 0 to 1.
        correct: (N,) bool.
        bins: how many, at most; equal confidences make fewer.

    Returns: 0 to 1; 0 is perfect.

    Raises:
        MetricError: as for `ece`.

    Source: Nixon et al. 2019 (adaptive); Nguyen and O'Connor 2015.
    """
    sure, right = _checked(confidence, correct)
    bins = whole(bins, "bins")
    last = -(-np.arange(1, bins + 1) * len(sure) // bins) - 1
    ends = np.sort(sure)[last]
    gap = np.bincount(np.searchsorted(ends, sure, "left"), right - sure, len(ends))
    return float(np.abs(gap).sum() / len(sure))


def reliability(
    confidence: "ArrayLike", correct: "ArrayLike", bins: int = BINS
) -> tuple[Bin, ...]:
    """Bars of a reliability diagram, the bins of `ece`; those without photos are kept.

    Args:
        confidence: (N,) probabilities of the predicted class, 0 to 1.
        correct: (N,) bool.
        bins: how many.

    Raises:
        MetricError: as for `ece`.

    Source: Guo et al. 2017, figure 1; DeGroot and Fienberg 1983.
    """
    sure, right = _checked(confidence, correct)
    bins = whole(bins, "bins")
    where = equal_width(sure, bins)
    n = np.bincount(where, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(where, sure, bins) / n
        share = np.bincount(where, right, bins) / n
    return tuple(
        Bin(b / bins, (b + 1) / bins, int(n[b]), float(mean[b]), float(share[b]))
        for b in range(bins)
    )


def ece_interval(
    confidence: "ArrayLike",
    correct: "ArrayLike",
    *,
    bins: int = BINS,
    clusters: "ArrayLike | None" = None,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Bootstrap interval of `ece`; photos (or clusters of them) are drawn.

    The ECE of few photos is too high, and that of a resample higher still. So the
    bounds are the percentiles mirrored at the estimate, which takes that excess away
    once (the basic bootstrap), widened to hold the estimate and cut to [0, 1]. The
    lower one is 0 where a model with no error would reach this ECE too, by chance, more
    often than in (1 - level) / 2 of sets like this: a resample cannot tell that.

    Args:
        confidence: (N,) probabilities of the predicted class, 0 to 1.
        correct: (N,) bool.
        bins: equal-width bins.
        clusters: (N,) photos that stand or fall together share it.
        level: coverage aimed at, in (0, 1).
        draws: bootstrap replicates.
        seed: of the random numbers.

    Raises:
        MetricError: as for `ece`; clusters of another length; a setting out of range.

    Source: Davison and Hinkley 1997, section 5.2 (basic bootstrap); the question of
        chance after Bröcker and Smith 2007 ("Increasing the reliability of reliability
        diagrams"), here with each bin's error normal.
    """
    sure, right = _checked(confidence, correct)
    if not 0 < level < 1:
        message = f"an interval's level lies between 0 and 1, not {level}"
        raise MetricError(message)
    bins, draws = whole(bins, "bins"), whole(draws, "draws")
    whose, number = _clusters(clusters, len(sure))
    where = equal_width(sure, bins)
    order = np.argsort(where, kind="stable")
    gap, where, whose = (right - sure)[order], where[order], whose[order]
    starts = np.flatnonzero(np.diff(where, prepend=-1))
    rng = np.random.default_rng(seed)
    drawn = np.empty(draws)
    for draw in range(draws):
        times = np.bincount(rng.integers(0, number, number), minlength=number)[whose]
        drawn[draw] = np.abs(np.add.reduceat(times * gap, starts)).sum() / times.sum()
    value = ece(sure, right, bins)
    tail = (1 - level) / 2
    low, high = 2 * value - np.quantile(drawn, [1 - tail, tail])
    each = np.bincount(whose * bins + where, gap, number * bins).reshape(-1, bins)
    chance = rng.multivariate_normal(
        np.zeros(bins), each.T @ each, draws, check_valid="ignore"
    )
    if value <= np.quantile(np.abs(chance).sum(axis=1) / len(sure), 1 - tail):
        low = 0.0
    return max(min(float(low), value), 0.0), min(max(float(high), value), 1.0)


def _clusters(ids: "ArrayLike | None", number: int) -> "tuple[NDArray[np.intp], int]":
    """Number of each photo's cluster, and how many there are."""
    if ids is None:
        return np.arange(number), number
    found = np.asarray(ids)
    if found.shape != (number,):
        message = f"there are {number} photos, but clusters of {found.shape}"
        raise MetricError(message)
    names, whose = np.unique(found, return_inverse=True)
    return whose, len(names)


def _checked(confidence: "ArrayLike", correct: "ArrayLike") -> "tuple[Floats, Floats]":
    sure = np.asarray(confidence, np.float64)
    right = np.asarray(correct, np.float64)
    if sure.ndim != 1 or sure.shape != right.shape:
        message = (
            "confidence and correct must be of one length, "
            f"not {sure.shape} and {right.shape}"
        )
        raise MetricError(message)
    if not len(sure):
        message = "calibration of no photos is undefined"
        raise MetricError(message)
    wrong = np.flatnonzero(~((sure >= 0) & (sure <= 1)))
    if len(wrong):
        message = (
            f"confidence of row {wrong[0]} is {sure[wrong[0]]}: it must be a "
            "probability, 0 to 1"
        )
        raise MetricError(message)
    return sure, right
