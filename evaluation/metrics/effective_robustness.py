"""Accuracy on the line, and effective robustness: points above it.

A line is fitted to baseline models only, on a scale (linear, logit or probit):
T(y) = slope * T(x) + intercept. Effective robustness is y minus the line's prediction,
the difference taken after going back to accuracies. Accuracies are fractions here, and
so is effective robustness; what is printed is in points.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from evaluation.errors import MetricError
from evaluation.metrics import _lines
from evaluation.metrics._line import (
    Axis,
    Line,
    Models,
    Robustness,
    RobustPoint,
    line_of,
    matched,
    placed,
    robustness_of,
)
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
    from numpy.typing import ArrayLike

    from evaluation.metrics._lines import Floats

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
    points = placed(_models(names, x, y, n_x=n_x, n_y=n_y), scale)
    drawn = _lines.resampled(points.x, points.y, method=method, draws=draws, seed=seed)
    return line_of(points, drawn, baseline=baseline, method=method, level=level)


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
    models = _models(names, x, y, axes=axes, n_x=n_x, n_y=n_y)
    fitted = np.asarray(baseline, bool)
    if fitted.shape != models.x.shape:
        message = f"{len(names)} models, and {fitted.size} times whether it is baseline"
        raise MetricError(message)
    chosen = models.only(fitted)
    points = placed(chosen, scale)
    drawn = _lines.resampled(points.x, points.y, method=method, draws=draws, seed=seed)
    at = models.x_on(scale)
    line = line_of(
        points, drawn, baseline=baseline_name, method=method, level=level, over=at
    )
    return robustness_of(
        models,
        line,
        at=at,
        drawn=drawn,
        fitted=fitted,
        level=level,
        points_level=points_level,
    )


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
    models = _models(names, x, y, axes=axes, n_x=n_x, n_y=n_y)
    return robustness_of(
        models,
        line,
        at=models.x_on(line.scale),
        drawn=(np.empty(0), np.empty(0)),
        fitted=np.zeros(len(names), bool),
        level=0.95,
        points_level=points_level,
    )


def _models(
    names: Sequence[str] | None,
    x: "ArrayLike",
    y: "ArrayLike",
    *,
    axes: tuple[Axis, Axis] = (Axis("x", None), Axis("y", None)),
    n_x: "ArrayLike | None" = None,
    n_y: "ArrayLike | None" = None,
) -> Models:
    a, b = row(x), row(y)
    whose = names_of(names, a)
    if a.shape != b.shape:
        message = f"{len(a)} x and {len(b)} y: one of each for every model"
        raise MetricError(message)
    for values, axis in ((a, axes[0]), (b, axes[1])):
        _lines.inside(values, None, "linear", axis=axis.name, names=whose)
    return Models(
        names=tuple(whose),
        x=a,
        y=b,
        n_x=numbers(n_x, len(a)),
        n_y=numbers(n_y, len(a)),
        axes=axes,
    )
