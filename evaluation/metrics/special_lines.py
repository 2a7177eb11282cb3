"""Lines for two cases that one straight line does not fit.

Several in-distribution sets: one alone does not tell apart models trained on different
data. A shift built against one model: photos of ImageNet-A are those that a ResNet-50
gets wrong, so accuracies break at its own. Fractions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evaluation.errors import MetricError
from evaluation.metrics import _lines
from evaluation.metrics._lines import (
    Scale,
    inverse,
    names_of,
    numbers,
    row,
    transform,
)
from evaluation.metrics.effective_robustness import SEED, Line, fit, predict

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from evaluation.metrics._lines import Floats

SOURCE = (
    "Shi et al. 2023 (arXiv:2302.01381), several in-distribution sets; Taori et al. "
    "2020 (arXiv:2007.00644), two lines for ImageNet-A"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeveralLine:
    """T(y) = intercept + sum of slopes[i] * T(x[i]), over several example sets.

    Attributes:
        scale: of all axes.
        slopes: one for each example set, in the order given.
        intercept: on that scale.
        r2: share of the variance of T(y) explained.
        n: models it was fitted to.
        baseline: what the models are.
        corrected: accuracies of 0 or 1 were moved inside by (k + 1/2) / (n + 1).
    """

    scale: Scale
    slopes: tuple[float, ...]
    intercept: float
    r2: float
    n: int
    baseline: str = ""
    corrected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PivotLine:
    """Two lines, one below a model that a shift was built against, one above it.

    Attributes:
        pivot: that model's x, a fraction.
        below: fitted to models with a smaller x; also used at the pivot itself.
        above: fitted to models with a larger x.
    """

    pivot: float
    below: Line
    above: Line


def fit_several(
    xs: "ArrayLike",
    y: "ArrayLike",
    scale: Scale = "logit",
    *,
    n_xs: "ArrayLike | None" = None,
    n_y: "ArrayLike | None" = None,
    names: Sequence[str] | None = None,
    baseline: str = "",
) -> SeveralLine:
    """Least squares of T(y) on the T of accuracies on K in-distribution sets.

    Args:
        xs: (M, K) accuracies, one column for each set, fractions.
        y: (M,) accuracies under the shift, fractions.
        scale: what all are transformed by.
        n_xs: (K,) photos of each set; only for accuracies of 0 and 1.
        n_y: photos behind y, (M,) or one number.
        names: (M,) for messages.
        baseline: what the models are.

    Raises:
        MetricError: fewer than K + 2 models; sets that say the same of these models;
            no fractions, or 0 or 1 where that is infinite and n is not known.
        ConfigError: unknown scale.

    Source: Shi et al. 2023, section 3.
    """
    columns, target = _columns(xs), row(y)
    _lines.known(scale)
    whose = names_of(names, columns[:, 0])
    if len(target) != len(columns):
        message = f"{len(columns)} rows of x and {len(target)} y: one for every model"
        raise MetricError(message)
    moved, some_x = _inside(columns, scale, n=n_xs, names=whose)
    inside, some_y = _lines.inside(
        target, numbers(n_y, len(target)), scale, axis="y", names=whose
    )
    sets = columns.shape[1]
    _lines.enough(len(target), whose, slopes=sets)
    onto, ty = transform(moved, scale), transform(inside, scale)
    off = onto - onto.mean(axis=0)
    if np.linalg.matrix_rank(off, tol=1e-9 * max(1.0, float(np.abs(off).max()))) < sets:
        message = (
            "accuracies on one in-distribution set follow from those on the others, or "
            "are all equal: their slopes cannot be told apart"
        )
        raise MetricError(message)
    slopes = np.linalg.lstsq(off, ty - ty.mean(), rcond=None)[0]
    intercept = float(ty.mean() - onto.mean(axis=0) @ slopes)
    return SeveralLine(
        scale=scale,
        slopes=tuple(float(one) for one in slopes),
        intercept=intercept,
        r2=_lines.explained(ty, onto @ slopes + intercept),
        n=len(target),
        baseline=baseline,
        corrected=some_x or some_y,
    )


def predict_several(
    line: SeveralLine, xs: "ArrayLike", *, n_xs: "ArrayLike | None" = None
) -> "Floats":
    """Accuracy the fit gives at xs.

    Args:
        line: from `fit_several`.
        xs: (M, K) accuracies, columns as when it was fitted.
        n_xs: (K,) photos of each set; only for accuracies of 0 and 1.

    Returns: (M,) fractions.

    Raises:
        MetricError: another number of sets, no fractions, or 0 or 1 where that is
            infinite and n is not known.
    """
    columns = _columns(xs)
    if columns.shape[1] != len(line.slopes):
        message = (
            f"fitted to {len(line.slopes)} in-distribution sets, asked with "
            f"{columns.shape[1]}"
        )
        raise MetricError(message)
    moved, _ = _inside(columns, line.scale, n=n_xs, names=names_of(None, columns[:, 0]))
    onto = transform(moved, line.scale) @ np.array(line.slopes) + line.intercept
    return inverse(onto, line.scale)


def effective_robustness_several(
    line: SeveralLine,
    xs: "ArrayLike",
    y: "ArrayLike",
    *,
    n_xs: "ArrayLike | None" = None,
) -> "Floats":
    """How far y lies above what accuracies on all the sets give.

    Args:
        line: from `fit_several`.
        xs: (M, K) accuracies.
        y: (M,) accuracies under the shift.
        n_xs: (K,) photos of each set; only for accuracies of 0 and 1.

    Returns: (M,) fractions; 0 on the fit.

    Raises:
        MetricError: as `predict_several`.
    """
    return _above(y, predict_several(line, xs, n_xs=n_xs))


def fit_pivot(
    x: "ArrayLike",
    y: "ArrayLike",
    scale: Scale = "logit",
    *,
    pivot: float | None = None,
    names: Sequence[str] | None = None,
    baseline: str = "",
    draws: int = 1000,
    seed: int = SEED,
) -> PivotLine:
    """Two lines: baseline models with x below the pivot, and those above it.

    Args:
        x: (M,) accuracies in distribution, fractions.
        y: (M,) accuracies under the shift, fractions.
        scale: what both are transformed by.
        pivot: x of the model the shift was built against; without it, x of the first
            model whose y is 0. Models at the pivot are in neither fit.
        names: (M,) for messages.
        baseline: what the models are.
        draws: bootstrap draws of each line.
        seed: of the draws.

    Raises:
        MetricError: no pivot is given and no y is 0, or one side has fewer than 3
            models; else as `fit`.
        ConfigError: unknown scale.

    Source: imagenet-testbed, plotting/paper_appendix_eff_robust.py.
    """
    a, b, whose = row(x), row(y), names_of(names, row(x))
    if len(a) != len(b):
        message = f"{len(a)} x and {len(b)} y: one of each for every model"
        raise MetricError(message)
    if pivot is None:
        zeros = np.flatnonzero(b == 0)
        if not len(zeros):
            message = "no model has y = 0: say which x is the pivot"
            raise MetricError(message)
        pivot = float(a[zeros[0]])

    def side(chosen: "NDArray[np.intp]") -> Line:
        return fit(
            a[chosen],
            b[chosen],
            scale,
            names=[whose[i] for i in chosen],
            baseline=baseline,
            draws=draws,
            seed=seed,
        )

    return PivotLine(
        pivot=pivot,
        below=side(np.flatnonzero(a < pivot)),
        above=side(np.flatnonzero(a > pivot)),
    )


def effective_robustness_pivot(
    line: PivotLine, x: "ArrayLike", y: "ArrayLike"
) -> "Floats":
    """How far y lies above the line of its side.

    Args:
        line: from `fit_pivot`.
        x: (M,) fractions.
        y: (M,) fractions.

    Returns: (M,) fractions.

    Raises:
        MetricError: lengths differ, or no fractions.
    """
    below, above = predict(line.below, x), predict(line.above, x)
    return _above(y, np.where(row(x) > line.pivot, above, below))


def _above(y: "ArrayLike", predicted: "Floats") -> "Floats":
    target = row(y)
    _lines.inside(target, None, "linear", axis="y", names=names_of(None, target))
    if target.shape != predicted.shape:
        message = f"{len(predicted)} x and {len(target)} y: one of each for every model"
        raise MetricError(message)
    return target - predicted


def _columns(xs: "ArrayLike") -> "Floats":
    found = np.asarray(xs, np.float64)
    if found.ndim != 2 or not found.shape[1]:
        message = f"a row for each model, a column for each set; found {found.shape}"
        raise MetricError(message)
    return found


def _inside(
    columns: "Floats", scale: Scale, *, n: "ArrayLike | None", names: list[str]
) -> "tuple[Floats, bool]":
    photos = None if n is None else numbers(n, columns.shape[1])
    found = [
        _lines.inside(
            one,
            None if photos is None else np.full(len(one), photos[i]),
            scale,
            axis=f"in-distribution set {i + 1}",
            names=names,
        )
        for i, one in enumerate(columns.T)
    ]
    moved = np.stack([one for one, _ in found], axis=1)
    return moved, any(some for _, some in found)
