"""Shares of photos over runs, with intervals."""

from collections.abc import Sequence
from math import hypot, sqrt
from typing import TYPE_CHECKING

import numpy as np

from evaluation.intervals import wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Interval = tuple[float, float]


def mean_share(
    counts: "Sequence[int] | NDArray[np.int64]", photos: int
) -> "tuple[float, Interval]":
    """Mean share over runs, and its 95 % interval.

    Photos of one run share its training set, so runs are what is independent: the
    interval is Student's over runs. Few runs may happen to agree, so it is never
    narrower than Wilson's of all photos, which is all there is for one run.

    Args:
        counts: (R,) photos that count, of each run; R ≥ 1.
        photos: of each run.

    Example:
        >>> mean, (low, high) = mean_share([8], 10)
        >>> round(mean, 2), round(low, 4), round(high, 4)
        (0.8, 0.4902, 0.9433)
    """
    share = np.asarray(counts) / photos
    low, high = (float(v) for v in wilson(np.sum(counts), photos * len(share)))
    mean = float(share.mean())
    if len(share) > 1:
        from scipy.special import stdtrit

        half = float(share.std(ddof=1) / sqrt(len(share)))
        half *= float(stdtrit(len(share) - 1, 0.975))
        low, high = min(low, mean - half), max(high, mean + half)
    return mean, (max(low, 0.0), min(high, 1.0))


def difference_interval(
    first: float, first_ci: "Interval", second: float, second_ci: "Interval"
) -> "Interval":
    """Interval of first - second, of two independent shares with theirs.

    Source: Newcombe 1998, "Interval estimation for the difference between independent
        proportions", method 10.

    Example:
        >>> low, high = difference_interval(0.9, (0.8, 0.95), 0.5, (0.4, 0.6))
        >>> round(low, 4), round(high, 4)
        (0.2586, 0.5118)
    """
    gap = first - second
    low = gap - hypot(first - first_ci[0], second_ci[1] - second)
    high = gap + hypot(first_ci[1] - first, second - second_ci[0])
    return max(low, -1.0), min(high, 1.0)
