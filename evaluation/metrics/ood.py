"""Telling photos of unknown classes from known ones, by a score; fractions.

A score is higher for photos that look like the known classes (in distribution, ID).
There is no `measure`: two sets of photos are needed.
"""

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from evaluation.errors import ConfigError, MetricError, nearest
from evaluation.metrics._logits import blocks, matrix, positive

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

SOURCE = (
    "Hendrycks and Gimpel 2017 (MSP), Hendrycks et al. 2022 (MaxLogit), Liu et al. "
    "2020 (energy), Ming et al. 2022 (MCM)"
)

SCORES = ("msp", "max_logit", "energy", "mcm")

CURVE_POINTS = 201

# of cosines of rounded unit vectors
_COSINE_SLACK = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """How well one score tells one out-of-distribution set from the ID set.

    Attributes:
        score: one of `SCORES`.
        temperature: what logits (for "mcm": cosines) were divided by.
        n_id: ID photos.
        n_ood: photos of unknown classes.
        auroc: area under the ROC curve; 0.5 is chance.
        auroc_ci: DeLong's interval.
        aupr_in: area under precision and recall, ID positive.
        aupr_out: the same, unknown positive.
        fpr95_id_pos: share of unknown photos accepted where 95 % of ID photos are
            (ODIN's and MCM's convention).
        fpr95_ood_pos: share of ID photos rejected where 95 % of unknown photos are
            (OpenOOD 1.5's convention).
        curve: at most 201 points (false positive rate, true positive rate), ID
            positive, from (0, 0) to (1, 1).
    """

    score: str
    temperature: float
    n_id: int
    n_ood: int
    auroc: float
    auroc_ci: tuple[float, float]
    aupr_in: float
    aupr_out: float
    fpr95_id_pos: float
    fpr95_ood_pos: float
    curve: tuple[tuple[float, float], ...]


def scores(logits: "ArrayLike", *, temperature: float = 1.0) -> dict[str, "Floats"]:
    """Scores that need a model's logits z only, at temperature tau.

    "msp" is max softmax(z / tau), "max_logit" is max z (tau has no part in it),
    "energy" is tau * logsumexp(z / tau), the negative of the paper's energy.

    Args:
        logits: (N, C) real numbers, as the model gives them (for a zero-shot model with
            its scale); -inf where a class is not offered.
        temperature: tau, above 0.

    Returns: (N,) float64 for each of "msp", "max_logit", "energy"; softmax also for a
        model trained with sigmoids.

    Raises:
        MetricError: N is 0, a row holds nan or +inf or offers no class, or the
            temperature is not above 0.

    Source: Hendrycks and Gimpel 2017 (arXiv:1610.02136); Hendrycks et al. 2022
        (arXiv:1911.11132); Liu et al. 2020 (arXiv:2010.03759).

    Example:
        >>> found = scores([[2.0, 2.0]])
        >>> {name: round(float(value[0]), 4) for name, value in found.items()}
        {'msp': 0.5, 'max_logit': 2.0, 'energy': 2.6931}
    """
    total, peak = _partition(logits, positive(temperature), "logits")
    return {
        "msp": 1 / total,
        "max_logit": peak,
        "energy": peak + temperature * np.log(total),
    }


def mcm(cosines: "ArrayLike", temperature: float = 1.0) -> "Floats":
    """Maximum concept matching: max softmax(cosine / tau), for zero-shot models.

    Cosines, not logits: a model's scale of about 100 is not in them. At tau = 1 / scale
    this is the MSP of that model's logits.

    Args:
        cosines: (N, C) of unit image and text features; -inf where a class is not
            offered.
        temperature: tau, above 0; the paper's is 1.

    Returns: (N,) float64, 1 / C to 1.

    Raises:
        MetricError: N is 0, a row holds nan, offers no class, or a number that is no
            cosine; or the temperature is not above 0.

    Source: Ming et al. 2022 (arXiv:2211.13445).

    Example:
        >>> mcm([[0.3, 0.3, 0.3, 0.3]]).tolist()
        [0.25]
    """
    total, peak = _partition(cosines, positive(temperature), "cosines")
    wrong = np.flatnonzero(np.abs(peak) > 1 + _COSINE_SLACK)
    if len(wrong):
        message = (
            f"cosines of row {wrong[0]} reach {peak[wrong[0]]:g}: cosines lie in "
            "[-1, 1]; divide logits by the model's scale, after taking its bias away"
        )
        raise MetricError(message)
    inverse: Floats = 1 / total
    return inverse


def _partition(
    values: "ArrayLike", temperature: float, what: str
) -> "tuple[Floats, Floats]":
    """(N,) sum of exp((z - max z) / tau), and max z."""
    found = matrix(values, what)
    total, peak = np.empty(len(found)), np.empty(len(found))
    for block in blocks(found, temperature, what=what):
        np.exp(block.values, out=block.values)
        block.values.sum(axis=1, dtype=np.float64, out=total[block.rows])
        peak[block.rows] = block.peak
    return total, peak


def detection(
    score: str,
    id_scores: "ArrayLike",
    ood_scores: "ArrayLike",
    temperature: float = 1.0,
    *,
    level: float = 0.95,
) -> Detection:
    """How well a score tells unknown photos from known ones.

    Both rates at 95 % use the strictest threshold among the positives' own scores that
    keeps at least 95 % of the positives; photos at the threshold are taken as positive,
    and nothing is interpolated.

    Args:
        score: one of `SCORES`.
        id_scores: (N,) of photos of known classes; infinities are allowed.
        ood_scores: (M,) of photos of unknown classes.
        temperature: what the scores were made at; kept in the result.
        level: coverage of the interval of the AUROC, in (0, 1).

    Raises:
        ConfigError: there is no such score.
        MetricError: a set is empty or holds nan, or a level outside (0, 1).

    Source: DeLong et al. 1988 (interval); Davis and Goadrich 2006 and scikit-learn's
        `average_precision_score` (AUPR); Liang et al. 2018, arXiv:1706.02690 (FPR95,
        ID positive); OpenOOD 1.5, arXiv:2306.09301 (FPR95, unknown positive).

    Example:
        >>> found = detection("msp", [0.9, 0.8, 0.4], [0.6, 0.3])
        >>> round(found.auroc, 4), found.fpr95_id_pos
        (0.8333, 0.5)
    """
    if score not in SCORES:
        message = f"there is no score {score!r}; {nearest(score, SCORES)}"
        raise ConfigError(message)
    known = _sorted(id_scores, "ID")
    unknown = _sorted(ood_scores, "OOD")
    area, interval = auroc(known, unknown, level=level)
    accepted, rejected = _counts(known, unknown)
    return Detection(
        score=score,
        temperature=positive(temperature),
        n_id=len(known),
        n_ood=len(unknown),
        auroc=area,
        auroc_ci=interval,
        aupr_in=_precision(*accepted),
        aupr_out=_precision(*rejected[::-1]),
        fpr95_id_pos=_fpr95(-known, -unknown),
        fpr95_ood_pos=_fpr95(unknown, known),
        curve=_curve(*accepted),
    )


def auroc(
    id_scores: "ArrayLike", ood_scores: "ArrayLike", *, level: float = 0.95
) -> tuple[float, tuple[float, float]]:
    """Area under the ROC curve, ties counted half, with DeLong's interval.

    The interval is symmetric (normal), cut at 0 and 1. It has no width where the two
    sets do not overlap at all, and is (0, 1) where a set has only one photo.

    Args:
        id_scores: (N,) of photos of known classes.
        ood_scores: (M,) of photos of unknown classes.
        level: coverage aimed at, in (0, 1).

    Returns: the area, 0 to 1, and its bounds.

    Raises:
        MetricError: a set is empty or holds nan, or a level outside (0, 1).

    Source: DeLong et al. 1988; found by sorting, after Sun and Xu 2014.
    """
    if not 0 < level < 1:
        message = f"an interval's level lies between 0 and 1, not {level}"
        raise MetricError(message)
    known, unknown = _sorted(id_scores, "ID"), _sorted(ood_scores, "OOD")
    # twice the photos of the other set that each photo beats, ties counted half
    above = _below(known, unknown)
    under = 2 * len(known) - _below(unknown, known)
    area = int(above.sum()) / (2 * len(known) * len(unknown))
    if min(len(known), len(unknown)) < 2:
        return area, (0.0, 1.0)
    variance = (above / (2 * len(unknown))).var(ddof=1) / len(known)
    variance += (under / (2 * len(known))).var(ddof=1) / len(unknown)
    half = NormalDist().inv_cdf(0.5 + level / 2) * float(np.sqrt(variance))
    return area, (max(area - half, 0.0), min(area + half, 1.0))


def _sorted(values: "ArrayLike", which: str) -> "Floats":
    found = np.asarray(values, np.float64)
    if found.ndim != 1 or not len(found):
        message = f"the {which} set has no scores: detection is undefined"
        raise MetricError(message)
    wrong = int(np.isnan(found).sum())
    if wrong:
        message = f"{wrong} scores of the {which} set are nan: leave those photos out"
        raise MetricError(message)
    return np.sort(found)


def _below(values: "Floats", others: "Floats") -> "NDArray[np.int64]":
    """For each value, twice the number of others below it plus those equal."""
    left = np.searchsorted(others, values, "left")
    return (left + np.searchsorted(others, values, "right")).astype(np.int64)


_Side = tuple["NDArray[np.int64]", "NDArray[np.int64]"]


def _counts(known: "Floats", unknown: "Floats") -> tuple[_Side, _Side]:
    """ID and unknown photos accepted at each threshold, and those rejected.

    Thresholds are the distinct scores; accepted from the highest down (>=), rejected
    from the lowest up (<=).
    """
    values = np.unique(np.concatenate([known, unknown]))
    rejected = tuple(
        np.searchsorted(side, values, "right") for side in (known, unknown)
    )
    accepted = tuple(
        len(side) - np.searchsorted(side, values, "left")[::-1]
        for side in (known, unknown)
    )
    return (accepted[0], accepted[1]), (rejected[0], rejected[1])


def _precision(true: "NDArray[np.int64]", false: "NDArray[np.int64]") -> float:
    """Average precision: precision weighted by what each threshold adds to recall."""
    gained = np.diff(true, prepend=0) / true[-1]
    return float(gained @ (true / (true + false)))


def _fpr95(positive_scores: "Floats", negative_scores: "Floats") -> float:
    """Share of negatives at or below the value that keeps 95 % of positives."""
    ordered = np.sort(positive_scores)
    kept = -(-95 * len(ordered) // 100)  # a ceiling, in whole numbers
    return float(np.mean(negative_scores <= ordered[kept - 1]))


def _curve(
    true: "NDArray[np.int64]", false: "NDArray[np.int64]"
) -> tuple[tuple[float, float], ...]:
    """Vertices of the ROC curve, thinned evenly along its way where there are many."""
    across = np.concatenate([[0], false]) / false[-1]
    up = np.concatenate([[0], true]) / true[-1]
    way = np.searchsorted(across + up, np.linspace(0, 2, CURVE_POINTS))
    chosen = np.unique(np.minimum(way, len(up) - 1))
    return tuple(
        (float(x), float(y)) for x, y in zip(across[chosen], up[chosen], strict=True)
    )
