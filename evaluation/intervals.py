"""Intervals for accuracies: of one proportion, of a balanced accuracy, of a drop.

Everything here is a fraction in [0, 1]; a drop lies in [-1, 1].
"""

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

import numpy as np

from evaluation.errors import MetricError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Bounds = tuple[NDArray[np.float64], NDArray[np.float64]]


def wilson(k: "ArrayLike", n: "ArrayLike", level: float = 0.95) -> "Bounds":
    """Wilson's score interval of a proportion.

    Args:
        k: how many of the `n` succeeded; any shape that broadcasts with `n`.
        n: how many there were.
        level: coverage aimed at, in (0, 1).

    Returns: lower and upper bounds in [0, 1], of the broadcast shape; nan where n = 0.

    Raises:
        MetricError: k outside [0, n], n negative, or a level outside (0, 1).

    Source: Wilson 1927, "Probable inference, the law of succession".

    Example:
        >>> low, high = wilson(8, 10)
        >>> round(float(low), 4), round(float(high), 4)
        (0.4902, 0.9433)
    """
    k, n = _counts(k, n, level)
    z2 = NormalDist().inv_cdf(0.5 + level / 2) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        p = k / n
        centre = (p + z2 / (2 * n)) / (1 + z2 / n)
        half = np.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    # rounding must not move the ends that are exact
    low = np.where(k == 0, np.where(n > 0, 0.0, np.nan), np.maximum(centre - half, 0))
    high = np.where(k == n, np.where(n > 0, 1.0, np.nan), np.minimum(centre + half, 1))
    return low, high


def clopper_pearson(k: "ArrayLike", n: "ArrayLike", level: float = 0.95) -> "Bounds":
    """Clopper and Pearson's interval of a proportion; covers at least `level`.

    Args:
        k: how many of the `n` succeeded; any shape that broadcasts with `n`.
        n: how many there were.
        level: coverage guaranteed, in (0, 1).

    Returns: lower and upper bounds in [0, 1], of the broadcast shape; nan where n = 0.

    Raises:
        MetricError: k outside [0, n], n negative, or a level outside (0, 1).

    Source: Clopper and Pearson 1934, "The use of confidence or fiducial limits".

    Example:
        >>> low, high = clopper_pearson(8, 10)
        >>> round(float(low), 4), round(float(high), 4)
        (0.4439, 0.9748)
    """
    from scipy.special import betaincinv

    k, n = _counts(k, n, level)
    tail = (1 - level) / 2
    # a shape parameter of 0 is not allowed; those ends are exact and set below
    low = betaincinv(np.maximum(k, 1), n - k + 1, tail)
    high = betaincinv(k + 1, np.maximum(n - k, 1), 1 - tail)
    low = np.where(k == 0, 0.0, low)
    high = np.where(k == n, 1.0, high)
    return np.where(n > 0, low, np.nan), np.where(n > 0, high, np.nan)


def _counts(k: "ArrayLike", n: "ArrayLike", level: float) -> "Bounds":
    if not 0 < level < 1:
        message = f"an interval's level lies between 0 and 1, not {level}"
        raise MetricError(message)
    some, all_ = np.broadcast_arrays(
        np.asarray(k, np.float64), np.asarray(n, np.float64)
    )
    if not (np.all(some >= 0) and np.all(some <= all_)):
        message = "a count of successes lies between 0 and the number of trials"
        raise MetricError(message)
    return some, all_


@dataclass(frozen=True, slots=True)
class BalancedIntervals:
    """Bounds (low, high) of balanced accuracies, and of their difference; fractions."""

    common: tuple[float, float]
    counter: tuple[float, float]
    drop: tuple[float, float]


def bootstrap_balanced(
    correct: "ArrayLike",
    common: "ArrayLike",
    *,
    classes: "ArrayLike",
    clusters: "ArrayLike | None" = None,
    resample: Literal["photos", "classes"] = "photos",
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> BalancedIntervals:
    """Bootstrap intervals of balanced accuracy in both groups, and of the drop.

    "photos" holds the classes fixed and, within each class and group, draws clusters of
    photos with replacement. "classes" holds the photos fixed and draws classes, both
    groups together: it answers for other classes than these, and is the wider.

    Photos of one cluster in both groups are drawn independently there. Only classes
    with photos in both groups count. A cell (class and group) drawn from has half a
    cluster right and half a cluster wrong added, and its draws are moved back to the
    accuracy observed: otherwise cells that are all right or all wrong would have no
    width at all.

    Args:
        correct: (N,) bool or 0/1, whether each photo was recognised.
        common: (N,) bool, True in the common group, False in the counter group.
        classes: (N,) class of each photo, integers or strings.
        clusters: (N,) photos that stand or fall together, such as those of one
            observation; without it each photo is its own cluster.
        resample: what is drawn.
        level: coverage aimed at, in (0, 1).
        draws: bootstrap replicates.
        seed: of the random numbers; equal seeds give equal bounds.

    Returns: bounds as fractions. nan for "classes" when there is only one class.

    Raises:
        MetricError: no class has photos in both groups, lengths differ, or a level
            outside (0, 1).

    Source: Efron and Tibshirani 1993, ch. 8 and 13 (percentiles); the half counts after
        Agresti and Coull 1998.
    """
    cells = _cells(correct, common, classes, clusters)
    if not 0 < level < 1:
        message = f"an interval's level lies between 0 and 1, not {level}"
        raise MetricError(message)
    rng = np.random.default_rng(seed)
    if resample == "classes":
        drawn = _draw_classes(cells, draws, rng)
    else:
        drawn = _draw_photos(cells, draws, rng)
    if drawn is None:
        nothing = (float("nan"), float("nan"))
        return BalancedIntervals(nothing, nothing, nothing)
    tail = (1 - level) / 2

    def bounds(values: "NDArray[np.float64]", floor: float) -> tuple[float, float]:
        low, high = np.quantile(values, [tail, 1 - tail])
        return max(float(low), floor), min(float(high), 1.0)

    return BalancedIntervals(
        common=bounds(drawn[0], 0.0),
        counter=bounds(drawn[1], 0.0),
        drop=bounds(drawn[0] - drawn[1], -1.0),
    )


def bootstrap_accuracy(
    correct: "ArrayLike",
    *,
    classes: "ArrayLike",
    clusters: "ArrayLike | None" = None,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Bootstrap interval of one balanced accuracy; see `bootstrap_balanced`.

    Args:
        correct: (N,) bool or 0/1, whether each photo was recognised.
        classes: (N,) class of each photo.
        clusters: (N,) photos that stand or fall together.
        level: coverage aimed at, in (0, 1).
        draws: bootstrap replicates.
        seed: of the random numbers.

    Returns: (low, high), fractions.

    Raises:
        MetricError: N is 0, lengths differ, or a level outside (0, 1).
    """
    right = np.asarray(correct)
    twice = None if clusters is None else np.tile(np.asarray(clusters), 2)
    return bootstrap_balanced(
        np.tile(right, 2),
        np.arange(2 * len(right)) < len(right),  # one group is as good as the other
        classes=np.tile(np.asarray(classes), 2),
        clusters=twice,
        level=level,
        draws=draws,
        seed=seed,
    ).common


_Cell = tuple["NDArray[np.float64]", "NDArray[np.float64]"]
"""Correct photos and photos of each cluster of one class in one group."""


def _cells(
    correct: "ArrayLike",
    common: "ArrayLike",
    classes: "ArrayLike",
    clusters: "ArrayLike | None",
) -> list[tuple[_Cell, _Cell]]:
    """(common, counter) of every class that has both."""
    right = np.asarray(correct, np.float64)
    is_common = np.asarray(common, bool)
    kind = np.unique(np.asarray(classes), return_inverse=True)[1]
    ids = np.arange(len(right)) if clusters is None else np.asarray(clusters)
    cluster = np.unique(ids, return_inverse=True)[1]
    if not (right.ndim == 1 and right.shape == is_common.shape == kind.shape) or (
        cluster.shape != right.shape
    ):
        message = "correct, common, classes and clusters must be of one length"
        raise MetricError(message)

    group = np.where(is_common, 0, 1)
    key = (kind.astype(np.int64) * 2 + group) * (len(right) + 1) + cluster
    unique, where = np.unique(key, return_inverse=True)
    photos = np.bincount(where, minlength=len(unique)).astype(np.float64)
    good = np.bincount(where, right, len(unique)).astype(np.float64)
    cell = unique // (len(right) + 1)
    found: list[tuple[_Cell, _Cell]] = []
    for number in range(int(kind.max()) + 1 if len(kind) else 0):
        both = [np.flatnonzero(cell == number * 2 + side) for side in (0, 1)]
        if all(len(rows) for rows in both):
            a, b = both
            found.append(((good[a], photos[a]), (good[b], photos[b])))
    if not found:
        message = "no class has photos in both groups: nothing to resample"
        raise MetricError(message)
    return found


def _draw_photos(
    cells: list[tuple[_Cell, _Cell]], draws: int, rng: np.random.Generator
) -> "NDArray[np.float64]":
    """(2, draws) balanced accuracies of common and counter."""
    total = np.zeros((2, draws))
    for pair in cells:
        for side, (good, photos) in enumerate(pair):
            total[side] += _draw_cell(good, photos, draws, rng)
    balanced: NDArray[np.float64] = total / len(cells)
    return balanced


def _draw_cell(
    good: "NDArray[np.float64]",
    photos: "NDArray[np.float64]",
    draws: int,
    rng: np.random.Generator,
) -> "NDArray[np.float64]":
    # clusters alike in (correct, photos) are interchangeable: draw kinds, not clusters
    kinds, counts = np.unique(np.stack([good, photos]), axis=1, return_counts=True)
    size = photos.mean()
    good_of = np.concatenate([kinds[0], [size, 0.0]])
    photos_of = np.concatenate([kinds[1], [size, size]])
    chance = np.concatenate([counts, [0.5, 0.5]]) / (len(photos) + 1)
    times = rng.multinomial(len(photos), chance, size=draws)
    drawn = (times @ good_of) / (times @ photos_of)
    shifted: NDArray[np.float64] = drawn - drawn.mean() + good.sum() / photos.sum()
    return shifted


def _draw_classes(
    cells: list[tuple[_Cell, _Cell]], draws: int, rng: np.random.Generator
) -> "NDArray[np.float64] | None":
    if len(cells) < 2:
        return None
    accuracy = np.array(
        [[good.sum() / photos.sum() for good, photos in pair] for pair in cells]
    )
    share = np.full(len(cells), 1 / len(cells))
    times = rng.multinomial(len(cells), share, size=draws)
    balanced: NDArray[np.float64] = (times @ accuracy).T / len(cells)
    return balanced
