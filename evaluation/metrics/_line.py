"""A fitted line, models against it, and what its axes are; see effective_robustness."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evaluation.errors import MetricError
from evaluation.intervals import clopper_pearson
from evaluation.metrics import _lines
from evaluation.metrics._lines import Method, Scale, inverse, transform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from evaluation.metrics._lines import Draws, Floats

    Intervals = Sequence[tuple[float, float] | None]

BAND = 41
"""Places at which a line's band is told."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """Accuracies of models, fractions; (M,) each."""

    names: tuple[str, ...]
    x: "Floats"
    y: "Floats"
    n_x: "Floats | None"
    n_y: "Floats | None"
    axes: tuple[Axis, Axis]

    def only(self, chosen: "NDArray[np.bool_]") -> "Models":
        """Some of them."""
        return Models(
            names=tuple(np.array(self.names, object)[chosen]),
            x=self.x[chosen],
            y=self.y[chosen],
            n_x=None if self.n_x is None else self.n_x[chosen],
            n_y=None if self.n_y is None else self.n_y[chosen],
            axes=self.axes,
        )

    def x_on(self, scale: Scale) -> "Floats":
        """The x on a scale, moved inside where they have to be.

        Raises:
            MetricError: 0 or 1 where that is infinite and n is not known.
        """
        inside, _ = _lines.inside(
            self.x, self.n_x, scale, axis=self.axes[0].name, names=[*self.names]
        )
        return transform(inside, scale)


@dataclass(frozen=True, slots=True)
class Placed:
    """Baseline models on a scale; `corrected`: some of them were moved inside."""

    scale: Scale
    x: "Floats"
    y: "Floats"
    corrected: bool


def placed(models: Models, scale: Scale) -> Placed:
    """Models that a line can be fitted to.

    Raises:
        MetricError: too few, or 0 or 1 where that is infinite and n is not known.
        ConfigError: unknown scale.
    """
    _lines.known(scale)
    names = [*models.names]
    x, moved_x = _lines.inside(
        models.x, models.n_x, scale, axis=models.axes[0].name, names=names
    )
    y, moved_y = _lines.inside(
        models.y, models.n_y, scale, axis=models.axes[1].name, names=names
    )
    _lines.enough(len(names), names)
    return Placed(scale, transform(x, scale), transform(y, scale), moved_x or moved_y)


def line_of(
    points: Placed,
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


def robustness_of(
    models: Models,
    line: Line,
    *,
    at: "Floats",
    drawn: "Draws",
    fitted: "NDArray[np.bool_]",
    level: float,
    points_level: float,
) -> Robustness:
    """Models against a line.

    Args:
        models: all of them.
        line: the line.
        at: (M,) their x on the line's scale.
        drawn: slopes and intercepts of the line's bootstrap; none: no intervals.
        fitted: (M,) the line was fitted to it.
        level: coverage of the intervals from `drawn`.
        points_level: coverage of the intervals of single accuracies.

    Raises:
        MetricError: the axes were measured on different classes.
    """
    classes = matched(*models.axes)
    predicted = inverse(line.slope * at + line.intercept, line.scale)
    slopes, intercepts = drawn
    bounds: Intervals = [None] * len(at)
    if len(slopes):
        each = inverse(slopes[:, None] * at + intercepts[:, None], line.scale)
        low, high = _lines.bounds(models.y - each, level)
        bounds = list(zip(low.tolist(), high.tolist(), strict=True))
    x_ci = _intervals(models.x, models.n_x, points_level)
    y_ci = _intervals(models.y, models.n_y, points_level)
    points = tuple(
        RobustPoint(
            model=name,
            x=float(models.x[i]),
            y=float(models.y[i]),
            predicted=float(predicted[i]),
            effective_robustness=float(models.y[i] - predicted[i]),
            effective_robustness_ci=bounds[i],
            baseline=bool(fitted[i]),
            x_ci=x_ci[i],
            y_ci=y_ci[i],
        )
        for i, name in enumerate(models.names)
    )
    return Robustness(
        x_name=models.axes[0].name,
        y_name=models.axes[1].name,
        line=line,
        points=points,
        classes=classes,
    )


def _intervals(p: "Floats", n: "Floats | None", level: float) -> "Intervals":
    """Of each accuracy; exact only where it is a share of photos (micro)."""
    if n is None:
        return [None] * len(p)
    low, high = clopper_pearson(np.clip(p * n, 0, n), n, level)
    return list(zip(low.tolist(), high.tolist(), strict=True))
