"""Accuracy on the line, and effective robustness: points above it.

A line is fitted to baseline models only, on a scale (linear, logit or probit):
T(y) = slope * T(x) + intercept. Effective robustness is y minus the line's prediction,
the difference taken after going back to accuracies. Accuracies are fractions here, and
so is effective robustness; what is printed is in points.
"""

from dataclasses import dataclass
from typing import Literal

SOURCE = "Taori et al. 2020 (arXiv:2007.00644); Miller et al. 2021 (arXiv:2107.04649)"

Scale = Literal["linear", "logit", "probit"]
SCALES: tuple[Scale, ...] = ("linear", "logit", "probit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A fitted line.

    Attributes:
        scale: of both axes.
        slope: on that scale.
        intercept: on that scale.
        r2: share of the variance of T(y) explained.
        n: models it was fitted to.
        slope_ci: bootstrap interval over models; None where it was not drawn.
        intercept_ci: likewise.
        baseline: what the models are, such as "ImageNet classifiers".
        corrected: accuracies of 0 or 1 were moved inside by (k + 1/2) / (n + 1).
        band: (x, low, high) fractions: bootstrap band of the line; empty without.
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
    """

    model: str
    x: float
    y: float
    predicted: float
    effective_robustness: float
    effective_robustness_ci: tuple[float, float] | None = None
    baseline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Robustness:
    """Models against one line.

    Attributes:
        x_name: what x is, such as "imagenet-val on imagenet-r's classes".
        y_name: what y is.
        line: fitted to the baseline.
        points: every model, the baseline included.
    """

    x_name: str
    y_name: str
    line: Line
    points: tuple[RobustPoint, ...]
