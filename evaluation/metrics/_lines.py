"""Scales of accuracies, and straight lines through points on them; arrays only."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from evaluation.errors import ConfigError, MetricError, nearest

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Draws = tuple[Floats, Floats]

Scale = Literal["linear", "logit", "probit"]
SCALES: tuple[Scale, ...] = ("linear", "logit", "probit")

Method = Literal["least squares", "Theil-Sen"]
METHODS: tuple[Method, ...] = ("least squares", "Theil-Sen")

FLAT = 1e-12
"""Spread of x below which no slope can be found."""

FEWEST = 3
"""Baseline models a line needs."""

_CHUNK = 4_000_000  # slopes held at once


def transform(p: "ArrayLike", scale: Scale) -> "Floats":
    """Accuracies on a scale.

    Args:
        p: fractions, 0 to 1, of any shape.
        scale: linear: p; logit: ln(p / (1 - p)); probit: the normal quantile of p.

    Returns: same shape; infinite at 0 and 1 on logit and probit.

    Raises:
        ConfigError: unknown scale.

    Example:
        >>> transform([0.5, 0.75], "logit").round(4).tolist()
        [0.0, 1.0986]
    """
    known(scale)
    values = np.asarray(p, np.float64)
    if scale == "linear":
        return values
    from scipy.special import logit, ndtri

    found: Floats = logit(values) if scale == "logit" else ndtri(values)
    return found


def inverse(t: "ArrayLike", scale: Scale) -> "Floats":
    """What `transform` came from: fractions.

    Example:
        >>> inverse([0.0, 1.0986], "logit").round(4).tolist()
        [0.5, 0.75]
    """
    known(scale)
    values = np.asarray(t, np.float64)
    if scale == "linear":
        return values
    from scipy.special import expit, ndtr

    found: Floats = expit(values) if scale == "logit" else ndtr(values)
    return found


def known(scale: str) -> None:
    """Refuse what is no scale.

    Raises:
        ConfigError: unknown scale.
    """
    if scale not in SCALES:
        message = f"unknown scale {scale!r}; {nearest(scale, SCALES)}"
        raise ConfigError(message)


def inside(
    p: "Floats",
    n: "Floats | None",
    scale: Scale,
    *,
    axis: str,
    names: "list[str]",
) -> "tuple[Floats, bool]":
    """Accuracies whose transform is finite, and whether any had to be moved.

    0 and 1 become (k + 1/2) / (n + 1) on logit and probit; others stay as they are.

    Raises:
        MetricError: not a fraction, or 0 or 1 with no number of photos; names whose.
    """
    for name, value in zip(names, p.tolist(), strict=True):
        if not 0 <= value <= 1:  # also nan
            told = "is not a number" if np.isnan(value) else f"is {value:g}"
            message = (
                f"accuracy of {name} on {axis} {told}: fractions between 0 and 1 are "
                "wanted"
            )
            raise MetricError(message)
    edge = (p == 0) | (p == 1)
    if scale == "linear" or not edge.any():
        return p, False
    if n is None:
        first = int(np.flatnonzero(edge)[0])
        message = (
            f"accuracy of {names[first]} on {axis} is {p[first]:g}, which is infinite "
            f"on the {scale} scale: give the number of photos, and it becomes "
            "(k + 1/2) / (n + 1), or use the linear scale"
        )
        raise MetricError(message)
    return np.where(edge, (p * n + 0.5) / (n + 1), p), True


def row(values: "ArrayLike") -> "Floats":
    """(M,) numbers.

    Raises:
        MetricError: another shape.
    """
    found = np.asarray(values, np.float64)
    if found.ndim != 1:
        message = f"accuracies are one for each model, not of shape {found.shape}"
        raise MetricError(message)
    return found


def numbers(n: "ArrayLike | None", models: int) -> "Floats | None":
    """(M,) numbers of photos.

    Raises:
        MetricError: not one for each model, or below 1.
    """
    if n is None:
        return None
    found = np.asarray(n, np.float64)
    if found.ndim and found.shape != (models,):
        message = f"numbers of photos are one, or one for each of {models} models"
        raise MetricError(message)
    if not (found >= 1).all():
        message = "an accuracy is of at least one photo"
        raise MetricError(message)
    return np.broadcast_to(found, (models,))


def names_of(names: "Sequence[str] | None", values: "Floats") -> list[str]:
    """(M,) names for messages: those given, or numbers from 1.

    Raises:
        MetricError: not one for each model.
    """
    if names is None:
        return [f"model {i + 1}" for i in range(len(values))]
    if len(names) != len(values):
        message = f"{len(names)} names for {len(values)} models"
        raise MetricError(message)
    return [*names]


def enough(models: int, names: Sequence[str], *, slopes: int = 1) -> None:
    """Refuse fewer baseline models than a fit with this many slopes needs.

    Raises:
        MetricError: fewer; names those there are.
    """
    needed = FEWEST - 1 + slopes
    if models < needed:
        there = f": {', '.join(names)}" if models else ""
        message = (
            f"{models} baseline models{there}; a fit with {slopes} "
            f"slope{'s' * (slopes > 1)} needs at least {needed}"
        )
        raise MetricError(message)


def bounds(values: "Floats", level: float) -> "tuple[Floats, Floats]":
    """Percentiles of (D, ...) draws over the first axis, outward to drawn values.

    Raises:
        MetricError: a level outside (0, 1).
    """
    if not 0 < level < 1:
        message = f"an interval's level lies between 0 and 1, not {level}"
        raise MetricError(message)
    tail = (1 - level) / 2
    low: Floats = np.quantile(values, tail, axis=0, method="lower")
    high: Floats = np.quantile(values, 1 - tail, axis=0, method="higher")
    return low, high


def interval(values: "Floats", level: float) -> tuple[float, float] | None:
    """Percentile interval of (D,) draws; None of none."""
    if not len(values):
        return None
    low, high = bounds(values, level)
    return float(low), float(high)


def straight(
    x: "Floats", y: "Floats", *, method: Method = "least squares"
) -> tuple[float, float, float]:
    """Slope, intercept and R2 of a line through (M,) points.

    R2 is 1 where the points lie on the line, also where they all have one y.

    Raises:
        MetricError: all x are equal.
        ConfigError: unknown method.
    """
    if method not in METHODS:
        message = f"unknown way to fit a line {method!r}; {nearest(method, METHODS)}"
        raise ConfigError(message)
    if float(np.ptp(x)) < FLAT:
        message = "all baseline models have one accuracy on the x axis: no line"
        raise MetricError(message)
    one = np.arange(len(x))[None]
    slopes, intercepts = _each(x, y, one, method)
    slope, intercept = float(slopes[0]), float(intercepts[0])
    return slope, intercept, explained(y, slope * x + intercept)


def explained(y: "Floats", fitted: "Floats") -> float:
    """R2: 1 - squares left / squares about the mean."""
    left = float(((y - fitted) ** 2).sum())
    total = float(((y - y.mean()) ** 2).sum())
    if left <= 1e-24 * max(1.0, float((y**2).sum())):
        return 1.0
    return 1 - left / total if total > 0 else 0.0


def resampled(
    x: "Floats", y: "Floats", *, method: Method, draws: int, seed: int
) -> "Draws":
    """Slopes and intercepts of lines through points drawn with replacement.

    A draw in which all x are equal has no line and is left out. Random numbers are
    numpy's older generator: with one seed these are the draws of imagenet-testbed.

    Returns: (D,) slopes and intercepts, D at most `draws`.
    """
    if draws < 1:
        return np.empty(0), np.empty(0)
    chosen = np.random.RandomState(seed).randint(0, len(x), (draws, len(x)))
    good = np.ptp(x[chosen], axis=1) >= FLAT
    return _each(x, y, chosen[good], method)


def _each(
    x: "Floats", y: "Floats", chosen: "NDArray[np.int64]", method: Method
) -> "Draws":
    """One line for each row of (D, M) chosen points."""
    if method == "least squares":
        some_x, some_y = x[chosen], y[chosen]
        mean_x, mean_y = some_x.mean(axis=1), some_y.mean(axis=1)
        off_x, off_y = some_x - mean_x[:, None], some_y - mean_y[:, None]
        slopes = (off_x * off_y).sum(axis=1) / (off_x**2).sum(axis=1)
        return slopes, mean_y - slopes * mean_x
    first, second = np.triu_indices(chosen.shape[1], 1)
    rows = max(1, _CHUNK // max(1, len(first)))
    parts = [
        _theil_sen(x[part], y[part], first, second)
        for part in (chosen[i : i + rows] for i in range(0, len(chosen), rows))
    ]
    if not parts:
        return np.empty(0), np.empty(0)
    slopes, intercepts = (np.concatenate(one) for one in zip(*parts, strict=True))
    return slopes, intercepts


def _theil_sen(
    x: "Floats",
    y: "Floats",
    first: "NDArray[np.int64]",
    second: "NDArray[np.int64]",
) -> "Draws":
    """Median slope of all pairs of each row; median intercept given that slope."""
    run = x[:, second] - x[:, first]
    rise = y[:, second] - y[:, first]
    slope = np.divide(rise, run, out=np.full_like(run, np.nan), where=run != 0)
    slopes = np.nanmedian(slope, axis=1)
    return slopes, np.median(y - slopes[:, None] * x, axis=1)
