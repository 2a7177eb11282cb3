"""Visual factors of ImageNet-X: accuracy where a factor tells a photo from its class.

The annotations are not part of this package (their licence forbids it): they are read
from the package imagenet-x where that is installed, or from a file. Fractions.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from evaluation.errors import MetricError
from evaluation.intervals import wilson
from evaluation.metrics._imagenet_x import FACTORS, Annotations, annotations, right
from evaluation.metrics.accuracy import balanced, counts
from evaluation.metrics.calibration import ece
from evaluation.metrics.effective_robustness import (
    SEED,
    Axis,
    Method,
    Robustness,
    Scale,
    against_line,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "FACTORS",
    "SOURCE",
    "WORST",
    "Annotations",
    "FactorAccuracy",
    "FactorResult",
    "annotations",
    "factor_accuracy",
    "factor_lines",
    "right",
]

SOURCE = "Idrissi et al. 2022, ImageNet-X (arXiv:2211.01866)"

WORST = 100
"""Classes in `FactorResult.worst_classes`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorAccuracy:
    """Accuracy on the photos of one factor.

    Attributes:
        factor: one of `FACTORS`.
        k: correct photos.
        n: photos annotated with the factor; at least 1.
        accuracy: k / n, photos pooled over classes.
        ci: Wilson's interval of `accuracy`.
        accuracy_balanced: mean over classes of each one's accuracy within the factor;
            an extension of ours, not of ImageNet-X.
        error_ratio: (1 - accuracy) / (1 - average); 1 is no harder than average. nan
            where the model makes no mistake at all.
        ece: expected calibration error within the factor, 15 bins.
    """

    factor: str
    k: int
    n: int
    accuracy: float
    ci: tuple[float, float]
    accuracy_balanced: float
    error_ratio: float
    ece: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorResult:
    """ImageNet-X of one model.

    Attributes:
        annotations: where they are from, with a digest of them.
        mode: "top" gives each photo its one strongest factor, "multi" all of them.
        kind: what counts as an error: another class, another metaclass.
        n: annotated photos that were answered.
        average: accuracy over them.
        worst_factor: name of the factor with the lowest accuracy.
        worst_classes: accuracy of the 100 classes it does worst on (fewer if there are
            fewer).
        factors: in the order of `FACTORS`, those without photos left out.
    """

    annotations: str
    mode: Literal["top", "multi"]
    kind: str
    n: int
    average: float
    worst_factor: str
    worst_classes: float
    factors: tuple[FactorAccuracy, ...]


def factor_accuracy(
    names: Sequence[str],
    correct: "ArrayLike",
    confidence: "ArrayLike",
    *,
    found: Annotations,
    classes: "ArrayLike | None" = None,
    kind: str = "class",
) -> FactorResult:
    """Accuracy within each factor, over the photos that are annotated.

    Args:
        names: (P,) file names of ImageNet's validation photos; photos without an
            annotation are left out.
        correct: (P,) bool, for `kind` (see `right`).
        confidence: (P,) probability of the predicted class, 0 to 1.
        found: from `annotations`.
        classes: (P,) ImageNet index of each photo, checked against the annotations.
        kind: what counts as an error; only recorded here.

    Raises:
        MetricError: no photo is annotated, one is there twice, lengths differ, a
            confidence is no probability, or a photo is of another class.

    Source: Idrissi et al. 2022, section 4; imagenet_x/aggregate.py. Photos are pooled,
        not balanced over classes.
    """
    good, sure = np.asarray(correct, bool), np.asarray(confidence, np.float64)
    if not good.shape == sure.shape == (len(names),):
        message = f"{len(names)} names, {good.size} correct, {sure.size} confidences"
        raise MetricError(message)
    rows = found.rows(names)
    known = np.flatnonzero(rows >= 0)
    rows = rows[known]
    _check(names, rows, known, found, classes)
    good, sure = good[known], sure[known]
    if not ((sure >= 0) & (sure <= 1)).all():  # also nan
        message = "a confidence is not between 0 and 1"
        raise MetricError(message)
    label, has = found.classes[rows], found.factors[rows]
    average = float(good.mean())
    each = tuple(
        _one(factor, good[some], sure[some], label[some], average)
        for factor, some in zip(FACTORS, has.T, strict=True)
        if some.any()
    )
    if not each:
        message = "no annotated photo has a factor"
        raise MetricError(message)
    return FactorResult(
        annotations=found.source,
        mode=found.mode,
        kind=kind,
        n=len(good),
        average=average,
        worst_factor=min(each, key=lambda one: one.accuracy).factor,
        worst_classes=_worst_classes(good, label),
        factors=each,
    )


def factor_lines(
    results: Mapping[str, FactorResult],
    baseline: Collection[str],
    *,
    scale: Scale = "linear",
    method: Method = "Theil-Sen",
    baseline_name: str = "",
    draws: int = 1000,
    seed: int = SEED,
) -> tuple[Robustness, ...]:
    """Accuracy within each factor on accuracy over all photos, model by model.

    One line for each factor that every model has, in the order of `FACTORS`, fitted to
    the baseline; the distance of the others from it is their effective robustness
    within the factor.

    Args:
        results: of each model, by its name.
        baseline: names of the models the lines are fitted to; at least 3.
        scale: what accuracies are transformed by.
        method: "Theil-Sen" does not follow single models, "least squares" does.
        baseline_name: what the baseline models are.
        draws: bootstrap draws over baseline models; 0 for none.
        seed: of the draws.

    Raises:
        MetricError: results of different annotations, modes or kinds; a baseline model
            without a result; fewer than 3 baseline models.

    Source: arXiv:2402.07410 fits a robust line for each group of models; which one it
        does not say, so the method is recorded with each line.
    """
    if missing := sorted(set(baseline) - set(results)):
        message = f"no results of baseline models {', '.join(missing)}"
        raise MetricError(message)
    asked = {(one.annotations, one.mode, one.kind) for one in results.values()}
    if len(asked) > 1:
        told = "; ".join(" ".join(one) for one in sorted(asked))
        message = f"results are not of the same annotations, mode and kind: {told}"
        raise MetricError(message)
    names = list(results)
    by_model = [{f.factor: f for f in results[name].factors} for name in names]
    return tuple(
        against_line(
            names,
            [results[name].average for name in names],
            [found[factor].accuracy for found in by_model],
            [name in baseline for name in names],
            scale,
            axes=(Axis("all annotated photos", None), Axis(factor, None)),
            baseline_name=baseline_name,
            n_x=[results[name].n for name in names],
            n_y=[found[factor].n for found in by_model],
            method=method,
            draws=draws,
            seed=seed,
        )
        for factor in FACTORS
        if by_model and all(factor in found for found in by_model)
    )


def _check(
    names: Sequence[str],
    rows: "NDArray[np.int64]",
    known: "NDArray[np.intp]",
    found: Annotations,
    classes: "ArrayLike | None",
) -> None:
    if not len(rows):
        first = f" (the first is {names[0]})" if len(names) else ""
        message = (
            f"none of {len(names)} photos{first} is annotated: names are those of "
            "ImageNet's validation photos, ILSVRC2012_val_00000001.JPEG"
        )
        raise MetricError(message)
    unique, first_at, times = np.unique(rows, return_index=True, return_counts=True)
    if len(unique) < len(rows):
        twice = names[int(known[first_at[np.argmax(times > 1)]])]
        message = f"photo {twice} is there twice"
        raise MetricError(message)
    if classes is None:
        return
    label = np.asarray(classes)
    if label.shape != (len(names),):
        message = f"{len(names)} names and {label.size} classes"
        raise MetricError(message)
    wrong = np.flatnonzero(label[known] != found.classes[rows])
    if len(wrong):
        at = int(known[wrong[0]])
        message = (
            f"photo {names[at]} is of class {label[at]}, but of class "
            f"{found.classes[rows[wrong[0]]]} in the annotations ({len(wrong)} differ)"
        )
        raise MetricError(message)


def _one(
    factor: str,
    correct: "NDArray[np.bool_]",
    confidence: "NDArray[np.float64]",
    label: "NDArray[np.int64]",
    average: float,
) -> FactorAccuracy:
    k, n = int(correct.sum()), len(correct)
    low, high = wilson(k, n)
    return FactorAccuracy(
        factor=factor,
        k=k,
        n=n,
        accuracy=k / n,
        ci=(float(low), float(high)),
        accuracy_balanced=balanced(correct, label),
        error_ratio=(1 - k / n) / (1 - average) if average < 1 else float("nan"),
        ece=ece(confidence, correct),
    )


def _worst_classes(correct: "NDArray[np.bool_]", label: "NDArray[np.int64]") -> float:
    """Photos of the worst classes pooled; of equal classes the first."""
    cells = counts(correct, label)
    worst = np.argsort(cells.accuracy, kind="stable")[:WORST]
    return float(cells.k[worst].sum() / cells.n[worst].sum())
