"""How many more photos make the interval of a class's drop narrow enough.

- The variance of a drop is that of two accuracies, with one cluster right and one wrong
  added to each (Agresti and Caffo 2000, as in `discovery.cells.covariance`). A design
  effect, which is taken to stay, makes it today's today: it stands for photos that are
  not independent and for what choosing the pair costs.
- The pair is the best and the worst background among those that have enough photos by
  then.
- A further photo lands on a background with the chance that `Side.share` gives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]

REACH = 2 * NormalDist().inv_cdf(0.975)
"""Width of a 95 % interval in standard errors."""

DRAWS = 400
"""Draws of the accuracies, shares and design effects that make a range."""

FAR = 200_000
"""Photos of a class beyond which a width counts as out of reach."""

PRIOR = 3
"""Clusters at the class's accuracy that a background short of photos is given."""


@dataclass(frozen=True, slots=True)
class Side:
    """One background of a class, as the evidence has it.

    Attributes:
        n: photos the evidence rests on.
        n_clusters: independent clusters of them.
        correct: photos right.
        now: photos verified by now.
        share: chance that a further verified photo lies on it, 0-1.
    """

    n: int
    n_clusters: int
    correct: float
    now: int
    share: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """Further verified photos until an interval is narrow enough; None: out of reach.

    Attributes:
        photos: with the accuracies and shares as they look.
        low, high: in four of five draws of what they may be.
    """

    photos: int | None
    low: int | None
    high: int | None


def forecast(
    sides: Sequence[Side],
    *,
    error: float,
    width: float,
    min_photos: int,
    rng: np.random.Generator,
) -> Forecast:
    """How many further photos make the interval of a drop narrow enough.

    The drop is that between the best and the worst background among those that have
    `min_photos` by then: a background that joins widens the interval again.

    Args:
        sides: backgrounds of the class; two have `min_photos` in the evidence.
        error: standard error of the drop now, points.
        width: target, points.
        min_photos: that a background needs.
        rng: for the range.
    """
    n = np.array([side.n for side in sides], float)
    right = np.array([side.correct for side in sides])
    now = np.array([side.now for side in sides], float)
    share = np.array([side.share for side in sides])
    clusters = np.array([side.n_clusters for side in sides])
    usual = n.sum() / clusters.sum()
    size = np.where(clusters > 0, n / np.maximum(clusters, 1), usual)
    # few photos say little: they are moved towards the class, not to a half
    prior = np.where(n >= min_photos, 2.0, PRIOR * size)
    centre = np.where(n >= min_photos, 0.5, (right.sum() + 1) / (n.sum() + 2))
    p = (right + prior * centre) / (n + prior)
    pair = _pair(p[None], ((n >= min_photos) & (clusters >= 2))[None])[0]
    effect = _design_effect((error / 100) ** 2, n[pair], size[pair], p[pair])
    goal = (width / 100 / REACH) ** 2
    fixed = (now, size, goal, min_photos)
    weight = (n + prior) / max(effect, 1.0)
    # a variance from few clusters is more often too small than too large
    freedom = max(clusters[pair].min() - 1, 3)
    effects = effect * freedom / rng.chisquare(freedom, (DRAWS, 1, 1))
    mean_effect = np.full((1, 1, 1), effect * freedom / (freedom - 2))
    drawn = rng.beta(p * weight, (1 - p) * weight, (DRAWS, len(sides)))
    shares = rng.dirichlet(share * max(now.sum(), 1.0) + 1e-9, DRAWS)
    point = _reach(p[None], share[None], mean_effect, *fixed)[0]
    wanted = _reach(drawn, shares, effects, *fixed, step=1.1)
    low, high = np.quantile(wanted, [0.1, 0.9], method="nearest")
    return Forecast(*(_whole(value) for value in (point, low, high)))


def _design_effect(variance: float, n: Real, size: Real, p: Real) -> float:
    """What makes the variance of a pair's drop, as `cells.covariance` has it, this."""
    none, one = (_variances(n, p, size, effect).sum() for effect in (0.0, 1.0))
    return max(float((variance - none) / (one - none)), 0.25)


def _variances(n: Real, p: Real, size: Real, effect: float | Real) -> Real:
    """Variance of an accuracy, as `cells.covariance` would find it.

    Args:
        n: photos.
        p: accuracy, 0-1.
        size: mean photos of a cluster.
        effect: design effect.
    """
    centre = (n * p + size) / (n + 2 * size)
    squares = n * (effect * p * (1 - p) + size * (p - centre) ** 2)
    squares += size**2 * (centre**2 + (1 - centre) ** 2)
    found: Real = squares / (n + 2 * size) ** 2 * (n + 2 * size) / (n + size)
    return found


def _pair(p: Real, able: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(..., 2) best and worst of the backgrounds that are able."""
    best = np.where(able, p, -np.inf).argmax(axis=-1)
    worst = np.where(able, p, np.inf).argmin(axis=-1)
    return np.stack([best, worst], axis=-1)


def _reach(
    p: Real,
    shares: Real,
    effect: Real,
    now: Real,
    size: Real,
    goal: float,
    min_photos: int,
    *,
    step: float = 1.01,
) -> Real:
    """(R,) least m, on a grid, at which the variance of the drop is at most `goal`.

    Args:
        p: (R, B) accuracies.
        shares: (R, B) of further photos.
        effect: (R, 1, 1) design effects.
        now: (B,) photos verified.
        size: (B,) mean photos of a cluster.
        goal: variance aimed at.
        min_photos: that a background needs.
        step: ratio of neighbours on the grid.
    """
    count = int(np.log(FAR) / np.log(step)) + 1
    grid = np.append(0, np.unique(np.ceil(step ** np.arange(count))))
    n = now + grid[:, None] * shares[:, None, :]
    chance = p[:, None, :]
    own = _variances(n, chance, size, effect)
    pair = _pair(np.broadcast_to(chance, n.shape), n >= min_photos)
    reached = np.take_along_axis(own, pair, axis=-1).sum(axis=-1) <= goal
    reached &= (n >= min_photos).sum(axis=-1) >= 2
    return np.where(reached.any(axis=1), grid[reached.argmax(axis=1)], np.inf)


def _whole(value: float) -> int | None:
    return int(value) if np.isfinite(value) else None


def first_needed(
    counts: Mapping[str, int], shares: Mapping[str, float], min_photos: int
) -> int | None:
    """Verified photos until two backgrounds have enough; None: they never will.

    Example:
        >>> first_needed({"snow": 30, "grass": 2}, {"snow": 0.9, "grass": 0.1}, 30)
        280
    """
    waits = sorted(
        max(min_photos - counts.get(name, 0), 0) / share
        for name, share in shares.items()
        if share > 0
    )
    return ceil(waits[1] - 1e-6) if len(waits) > 1 and waits[1] < FAR else None
