"""Accuracy on the line, and effective robustness: points above it.

A line is fitted to baseline models only, on a scale (linear, logit or probit):
T(y) = slope * T(x) + intercept. Effective robustness is y minus the line's prediction,
the difference taken after going back to accuracies. Accuracies are fractions here, and
so is effective robustness; what is printed is in points.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evaluation.errors import MetricError
from evaluation.intervals import clopper_pearson
from evaluation.metrics import _lines
from evaluation.metrics._lines import (
    METHODS,
    SCALES,
    Method,
    Scale,
    inverse,
    names_of,
    numbers,
    row,
    transform,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from evaluation.metrics._lines import Draws, Floats

__all__ = [
    "METHODS",
    "SCALES",
    "SEED",
    "SOURCE",
    "Axis",
    "Line",
    "Method",
    "RobustPoint",
    "Robustness",
    "Scale",
    "against_known",
    "against_line",
    "effective_robustness",
    "fit",
    "inverse",
    "matched",
    "predict",
    "relative",
    "transform",
]

SOURCE = "Taori et al. 2020 (arXiv:2007.00644); Miller et al. 2021 (arXiv:2107.04649)"

SEED = 720257663
"""Of the bootstrap; imagenet-testbed's."""

POINTS_LEVEL = 0.995
"""Coverage of the intervals of single accuracies; imagenet-testbed's."""

BAND = 41
"""Places at which the line's band is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A fitted line.

    Attributes:
        scale: of both axes.
        slope: on that scale.
        intercept: on that scale, accuracies being fractions.
        r2: share of the variance of T(y) explained.
        n: models it was fitted to.
        slope_ci: bootstrap interval over models; None where it was not drawn.
        intercept_ci: likewise.
        baseline: what the models are, such as "ImageNet classifiers".
        corrected: accuracies of 0 or 1 were moved inside by (k + 1/2) / (n + 1).
        band: (x, low, high) fractions: bootstrap band of the line; empty without.
        method: "least squares" or "Theil-Sen".
        draws: bootstrap draws the intervals are from; those without a line left out.
    """

    scale: Scale
    slope: float
    intercept: float
    r2: float
    n: int
    slope_ci: tuple[float, float] | None = None
    intercept_ci: tuple[float, float] | None = None
    baseline: str = ""
    corrected: bool = False
    band: tuple[tuple[float, float, float], ...] = ()
    method: Method = "least squares"
    draws: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustPoint:
    """One model against a line.

    Attributes:
        model: its name.
        x: accuracy in distribution, on the matched classes.
        y: accuracy under the shift.
        predicted: the line at x.
        effective_robustness: y - predicted.
        effective_robustness_ci: bootstrap interval, from the line's draws alone.
        baseline: the line was fitted to it.
        x_ci: Clopper and Pearson's interval of x; None where n is not known.
        y_ci: likewise of y.
    """

    model: str
    x: float
    y: float
    predicted: float
    effective_robustness: float
    effective_robustness_ci: tuple[float, float] | None = None
    baseline: bool = False
    x_ci: tuple[float, float] | None = None
    y_ci: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Robustness:
    """Models against one line.

    Attributes:
        x_name: what x is, such as "imagenet-val on imagenet-r's classes".
        y_name: what y is.
        line: fitted to the baseline.
        points: every model, the baseline included.
        classes: how many classes both axes were measured on; None where that is not
            known, and so was not compared.
    """

    x_name: str
    y_name: str
    line: Line
    points: tuple[RobustPoint, ...]
    classes: int | None = None


@dataclass(frozen=True, slots=True)
class Axis:
    """What one axis is, and on which classes it was measured.

    Attributes:
        name: such as "imagenet-val".
        classes: keys of the classes (ImageNet indices) the accuracy is over; None only
            where nothing says so, such as for numbers from a file.
    """

    name: str
    classes: frozenset[int] | None


def fit(
    x: "ArrayLike",
    y: "ArrayLike",
    scale: Scale = "logit",
    *,
    n_x: "ArrayLike | None" = None,
    n_y: "ArrayLike | None" = None,
    names: Sequence[str] | None = None,
    baseline: str = "",
    method: Method = "least squares",
    draws: int = 1000,
    seed: int = SEED,
    level: float = 0.95,
) -> Line:
    """A line through baseline models, with bootstrap intervals over models.

    Args:
        x: (M,) accuracies in distribution, fractions.
        y: (M,) accuracies under the shift, fractions.
        scale: what both are transformed by.
        n_x: photos behind each x, (M,) or one number: only used for accuracies of 0 and
            1 on the logit and probit scales, which become (k + 1/2) / (n + 1).
        n_y: likewise.
        names: (M,) for messages.
        baseline: what the models are.
        method: "least squares", or "Theil-Sen": median of all pairs' slopes.
        draws: bootstrap draws over models; 0 for none.
        seed: of the draws.
        level: coverage of the intervals.

    Raises:
        MetricError: fewer than 3 models, all x equal, no fraction, or 0 or 1 where that
            is infinite and the number of photos is not known.
        ConfigError: unknown scale or method.

    Source: Taori et al. 2020, section 2 and appendix; percentiles as imagenet-testbed.

    Example:
        >>> line = fit([0.5, 0.6, 0.7], [0.3, 0.4, 0.5], "linear", draws=0)
        >>> round(line.slope, 6), round(line.intercept, 6), line.n
        (1.0, -0.2, 3)
    """
    points = _placed(x, y, scale, n_x=n_x, n_y=n_y, names=names)
    drawn = _resampled(points, method=method, draws=draws, seed=seed)
    return _line(points, drawn, baseline=baseline, method=method, level=level)


def predict(
    line: Line,
    x: "ArrayLike",
    *,
    n_x: "ArrayLike | None" = None,
    names: Sequence[str] | None = None,
) -> "Floats":
    """Accuracy a line gives at x.

    Args:
        line: from `fit` or `evaluation.reference.baseline`.
        x: (M,) fractions.
        n_x: photos behind each x, for x of 0 or 1.
        names: (M,) for messages.

    Returns: (M,) fractions; outside 0 to 1 only on the linear scale.

    Raises:
        MetricError: as `fit`.
    """
    values = row(x)
    moved, _ = _lines.inside(
        values,
        numbers(n_x, len(values)),
        line.scale,
        axis="x",
        names=names_of(names, values),
    )
    onto = line.slope * transform(moved, line.scale) + line.intercept
    return inverse(onto, line.scale)


def effective_robustness(
    line: Line,
    x: "ArrayLike",
    y: "ArrayLike",
    *,
    n_x: "ArrayLike | None" = None,
) -> "Floats":
    """How far y lies above what the line gives at x, as accuracies.

    Args:
        line: fitted to the baseline.
        x: (M,) fractions.
        y: (M,) fractions.
        n_x: photos behind each x, for x of 0 or 1.

    Returns: (M,) fractions, -1 to 1; 0 on the line.

    Raises:
        MetricError: as `fit`.

    Source: Taori et al. 2020, equation 1.

    Example:
        >>> line = Line(scale="linear", slope=1.0, intercept=-0.1, r2=1.0, n=3)
        >>> effective_robustness(line, [0.7], [0.65]).round(6).tolist()
        [0.05]
    """
    target = row(y)
    _lines.inside(target, None, "linear", axis="y", names=names_of(None, target))
    found = predict(line, x, n_x=n_x)
    if found.shape != target.shape:
        message = f"{len(found)} x and {len(target)} y: one of each for every model"
        raise MetricError(message)
    return target - found


def relative(y_intervention: "ArrayLike", y_base: "ArrayLike") -> "Floats":
    """Relative robustness: what an intervention gains under the shift.

    Args:
        y_intervention: (M,) accuracies under the shift of the changed models.
        y_base: (M,) of the models they were made from.

    Returns: (M,) fractions, -1 to 1.

    Raises:
        MetricError: lengths differ, or no fractions.

    Source: Taori et al. 2020, section 2.

    Example:
        >>> relative([0.6], [0.5]).round(6).tolist()
        [0.1]
    """
    changed, base = row(y_intervention), row(y_base)
    for values, axis in ((changed, "the intervention"), (base, "the base model")):
        _lines.inside(values, None, "linear", axis=axis, names=names_of(None, values))
    if changed.shape != base.shape:
        message = f"{len(changed)} interventions and {len(base)} base models"
        raise MetricError(message)
    return changed - base


def matched(x: Axis, y: Axis) -> int | None:
    """Number of classes both axes were measured on.

    Returns: None where neither says on which classes it was measured.

    Raises:
        MetricError: they were measured on different classes, or only one says on which;
            names the classes that differ.

    Source: imagenet-testbed: ImageNet-A, -R, ObjectNet and Vid-Robust go with accuracy
        on ImageNet's photos of their own classes, not of all 1,000.
    """
    if x.classes is None and y.classes is None:
        return None
    if x.classes is None or y.classes is None:
        which, other = (x, y) if x.classes is None else (y, x)
        message = (
            f"classes of {which.name} are not known, those of {other.name} are "
            f"({len(other.classes or ())}): they cannot be compared"
        )
        raise MetricError(message)
    if x.classes != y.classes:
        only_x, only_y = x.classes - y.classes, y.classes - x.classes
        message = (
            f"{x.name} was measured on {len(x.classes)} classes and {y.name} on "
            f"{len(y.classes)}, not the same ones: {_few(only_x)} only in {x.name}, "
            f"{_few(only_y)} only in {y.name}; measure both on the classes they share"
        )
        raise MetricError(message)
    return len(x.classes)


def _few(classes: Collection[int]) -> str:
    shown = ", ".join(str(one) for one in sorted(classes)[:5])
    return f"{shown}, … ({len(classes)})" if len(classes) > 5 else shown or "none"


def against_line(
    names: Sequence[str],
    x: "ArrayLike",
    y: "ArrayLike",
    baseline: "ArrayLike",
    scale: Scale = "logit",
    *,
    axes: tuple[Axis, Axis],
    baseline_name: str = "",
    n_x: "ArrayLike | None" = None,
    n_y: "ArrayLike | None" = None,
    method: Method = "least squares",
    draws: int = 1000,
    seed: int = SEED,
    level: float = 0.95,
    points_level: float = POINTS_LEVEL,
) -> Robustness:
    """Models against the line of those of them that are the baseline.

    Args:
        names: (M,) of the models.
        x: (M,) accuracies in distribution, fractions.
        y: (M,) accuracies under the shift, fractions.
        baseline: (M,) bool: the line is fitted to these.
        scale: what accuracies are transformed by.
        axes: what x and y are, and the classes they were measured on.
        baseline_name: what the baseline models are.
        n_x: photos behind each x, (M,) or one number; gives intervals of x, and moves
            accuracies of 0 and 1 inside.
        n_y: likewise.
        method: as `fit`.
        draws: bootstrap draws over baseline models; 0 for none.
        seed: of the draws.
        level: coverage of the line's intervals.
        points_level: coverage of the intervals of single accuracies.

    Raises:
        MetricError: as `fit`, or the axes were measured on different classes.
        ConfigError: unknown scale or method.
    """
    classes = matched(*axes)
    a, b = row(x), row(y)
    fitted = np.asarray(baseline, bool)
    if not len(names) == len(a) == len(b) == len(fitted):
        message = (
            f"{len(names)} names, {len(a)} x, {len(b)} y and {len(fitted)} of whether "
            "it is the baseline: one of each for every model"
        )
        raise MetricError(message)
    photos_x, photos_y = numbers(n_x, len(a)), numbers(n_y, len(a))
    points = _placed(
        a[fitted],
        b[fitted],
        scale,
        n_x=None if photos_x is None else photos_x[fitted],
        n_y=None if photos_y is None else photos_y[fitted],
        names=[name for name, one in zip(names, fitted, strict=True) if one],
        axes=axes,
    )
    drawn = _resampled(points, method=method, draws=draws, seed=seed)
    moved, _ = _lines.inside(a, photos_x, scale, axis=axes[0].name, names=[*names])
    at = transform(moved, scale)
    line = _line(
        points, drawn, baseline=baseline_name, method=method, level=level, over=at
    )
    return Robustness(
        x_name=axes[0].name,
        y_name=axes[1].name,
        line=line,
        points=_points(
            names, a, b, line,
            at=at, drawn=drawn, fitted=fitted, level=level,
            intervals=(_intervals(a, photos_x, points_level),
                       _intervals(b, photos_y, points_level)),
        ),
        classes=classes,
    )  # fmt: skip


def against_known(
    names: Sequence[str],
    x: "ArrayLike",
    y: "ArrayLike",
    line: Line,
    *,
    axes: tuple[Axis, Axis],
    n_x: "ArrayLike | None" = None,
    n_y: "ArrayLike | None" = None,
    points_level: float = POINTS_LEVEL,
) -> Robustness:
    """Models against a line that was fitted elsewhere, such as a bundled one.

    Args:
        names: (M,) of the models.
        x: (M,) accuracies in distribution, fractions.
        y: (M,) accuracies under the shift, fractions.
        line: from `fit` or `evaluation.reference.baseline`.
        axes: what x and y are, and the classes they were measured on.
        n_x: photos behind each x, (M,) or one number.
        n_y: likewise.
        points_level: coverage of the intervals of single accuracies.

    Raises:
        MetricError: no fractions, or the axes were measured on different classes.
    """
    classes = matched(*axes)
    a, b = row(x), row(y)
    if not len(names) == len(a) == len(b):
        message = (
            f"{len(names)} names, {len(a)} x, {len(b)} y: one of each for every model"
        )
        raise MetricError(message)
    photos_x, photos_y = numbers(n_x, len(a)), numbers(n_y, len(a))
    moved, _ = _lines.inside(a, photos_x, line.scale, axis=axes[0].name, names=[*names])
    nothing = (np.empty(0), np.empty(0))
    return Robustness(
        x_name=axes[0].name,
        y_name=axes[1].name,
        line=line,
        points=_points(
            names, a, b, line,
            at=transform(moved, line.scale), drawn=nothing,
            fitted=np.zeros(len(a), bool), level=0.95,
            intervals=(_intervals(a, photos_x, points_level),
                       _intervals(b, photos_y, points_level)),
        ),
        classes=classes,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Placed:
    """Baseline models on a scale; `corrected`: some of them were moved inside."""

    scale: Scale
    x: "Floats"
    y: "Floats"
    corrected: bool


def _placed(
    x: "ArrayLike",
    y: "ArrayLike",
    scale: Scale,
    *,
    n_x: "ArrayLike | None",
    n_y: "ArrayLike | None",
    names: Sequence[str] | None,
    axes: tuple[Axis, Axis] | None = None,
) -> _Placed:
    a, b = row(x), row(y)
    if a.shape != b.shape:
        message = f"{len(a)} x and {len(b)} y: one of each for every model"
        raise MetricError(message)
    _lines.known(scale)
    whose = names_of(names, a)
    on = [axis.name for axis in axes] if axes else ["x", "y"]
    a, moved_x = _lines.inside(a, numbers(n_x, len(a)), scale, axis=on[0], names=whose)
    b, moved_y = _lines.inside(b, numbers(n_y, len(b)), scale, axis=on[1], names=whose)
    _lines.enough(len(a), whose)
    return _Placed(scale, transform(a, scale), transform(b, scale), moved_x or moved_y)


def _resampled(points: _Placed, *, method: Method, draws: int, seed: int) -> "Draws":
    return _lines.resampled(points.x, points.y, method=method, draws=draws, seed=seed)


def _line(
    points: _Placed,
    drawn: "Draws",
    *,
    baseline: str,
    method: Method,
    level: float,
    over: "Floats | None" = None,
) -> Line:
    """The line, its intervals and its band over the x of these and of `over`."""
    slope, intercept, r2 = _lines.straight(points.x, points.y, method=method)
    slopes, intercepts = drawn
    band: tuple[tuple[float, float, float], ...] = ()
    if len(slopes):
        shown = points.x if over is None else np.concatenate([points.x, over])
        grid = np.linspace(shown.min(), shown.max(), BAND)
        low, high = _lines.bounds(slopes[:, None] * grid + intercepts[:, None], level)
        edges = [inverse(one, points.scale).tolist() for one in (grid, low, high)]
        band = tuple(zip(*edges, strict=True))
    return Line(
        scale=points.scale,
        slope=slope,
        intercept=intercept,
        r2=r2,
        n=len(points.x),
        slope_ci=_lines.interval(slopes, level),
        intercept_ci=_lines.interval(intercepts, level),
        baseline=baseline,
        corrected=points.corrected,
        band=band,
        method=method,
        draws=len(slopes),
    )


Intervals = Sequence[tuple[float, float] | None]


def _points(
    names: Sequence[str],
    x: "Floats",
    y: "Floats",
    line: Line,
    *,
    at: "Floats",
    drawn: "Draws",
    fitted: "NDArray[np.bool_]",
    level: float,
    intervals: tuple[Intervals, Intervals],
) -> tuple[RobustPoint, ...]:
    predicted = inverse(line.slope * at + line.intercept, line.scale)
    slopes, intercepts = drawn
    bounds: Intervals = [None] * len(x)
    if len(slopes):
        each = inverse(slopes[:, None] * at + intercepts[:, None], line.scale)
        low, high = _lines.bounds(y - each, level)
        bounds = list(zip(low.tolist(), high.tolist(), strict=True))
    return tuple(
        RobustPoint(
            model=names[i],
            x=float(x[i]),
            y=float(y[i]),
            predicted=float(predicted[i]),
            effective_robustness=float(y[i] - predicted[i]),
            effective_robustness_ci=bounds[i],
            baseline=bool(fitted[i]),
            x_ci=intervals[0][i],
            y_ci=intervals[1][i],
        )
        for i in range(len(x))
    )


def _intervals(p: "Floats", n: "Floats | None", level: float) -> Intervals:
    """Of each accuracy; exact only where it is a share of photos (micro)."""
    if n is None:
        return [None] * len(p)
    low, high = clopper_pearson(np.clip(p * n, 0, n), n, level)
    return list(zip(low.tolist(), high.tolist(), strict=True))
