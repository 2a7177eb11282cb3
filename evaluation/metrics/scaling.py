"""Accuracy against the number of image-text pairs a model has seen in training."""

from dataclasses import dataclass

SOURCE = "Cherti et al. 2023 (arXiv:2212.07143); OpenCLIP, docs/LOW_ACC.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingPoint:
    """One model.

    Attributes:
        model: its name.
        seen: image-text pairs seen in training, repeats counted.
        value: accuracy, a fraction.
        family: models of one family lie on one curve, such as an architecture.
        source: where `seen` is from; begins with "inferred" where no one states it.
    """

    model: str
    seen: float
    value: float
    family: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingCurve:
    """Error against samples seen: log10(1 - value) = intercept + slope * log10(seen).

    Attributes:
        family: whose curve it is; "" for all models.
        slope: on these scales; negative where more data helps.
        intercept: on these scales.
        r2: share of the variance explained.
        n: models it was fitted to.
        slope_ci: bootstrap interval over models; None for fewer than 4.
        points: the models, by samples seen.
    """

    family: str
    slope: float
    intercept: float
    r2: float
    n: int
    slope_ci: tuple[float, float] | None
    points: tuple[ScalingPoint, ...]
