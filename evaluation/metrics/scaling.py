"""Accuracy against the number of image-text pairs a model has seen in training."""

import math
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from evaluation.errors import MetricError
from evaluation.metrics import _lines
from evaluation.metrics.effective_robustness import SEED

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
        draws: bootstrap draws behind `slope_ci`.
    """

    family: str
    slope: float
    intercept: float
    r2: float
    n: int
    slope_ci: tuple[float, float] | None
    points: tuple[ScalingPoint, ...]
    draws: int = 0


def curve(
    points: Iterable[ScalingPoint],
    family: str = "",
    *,
    draws: int = 1000,
    seed: int = SEED,
    level: float = 0.95,
) -> ScalingCurve:
    """A power law of error in samples seen, by least squares on both logarithms.

    Args:
        points: models; at least 3, with at least two different numbers of samples.
        family: whose curve it is: "" takes every point, else points of that family.
        draws: bootstrap draws over models; none for fewer than 4 models.
        seed: of the draws.
        level: coverage of the slope's interval.

    Raises:
        MetricError: too few models, one number of samples for all, an accuracy that is
            no fraction, or an accuracy of 1, whose error has no logarithm.

    Source: Cherti et al. 2023, section 3: error = beta * seen ** alpha.

    Example:
        >>> seen = [ScalingPoint(model=str(n), seen=10.0**n, value=1 - 10 ** (-0.1 * n))
        ...         for n in (8, 9, 10)]
        >>> round(curve(seen).slope, 6), abs(round(curve(seen).intercept, 6))
        (-0.1, 0.0)
    """
    chosen = sorted(
        (one for one in points if not family or one.family == family),
        key=lambda one: (one.seen, one.model),
    )
    for one in chosen:
        _check(one)
    if len(chosen) < _lines.FEWEST:
        whose = f"of family {family!r}" if family else "in all"
        message = (
            f"{len(chosen)} models {whose}; a scaling curve needs at least "
            f"{_lines.FEWEST}"
        )
        raise MetricError(message)
    x = np.log10([one.seen for one in chosen])
    y = np.log10([1 - one.value for one in chosen])
    if float(np.ptp(x)) < _lines.FLAT:
        message = (
            f"all models have seen {chosen[0].seen:g} image-text pairs: a scaling "
            "curve needs different numbers"
        )
        raise MetricError(message)
    slope, intercept, r2 = _lines.straight(x, y)
    slopes, _ = _lines.resampled(
        x,
        y,
        method="least squares",
        draws=draws if len(chosen) > _lines.FEWEST else 0,
        seed=seed,
    )
    return ScalingCurve(
        family=family,
        slope=slope,
        intercept=intercept,
        r2=r2,
        n=len(chosen),
        slope_ci=_lines.interval(slopes, level),
        points=tuple(chosen),
        draws=len(slopes),
    )


def curves(
    points: Iterable[ScalingPoint], *, draws: int = 1000, seed: int = SEED
) -> tuple[ScalingCurve, ...]:
    """One curve for each family that has enough models, by name of the family.

    Families with fewer than 3 models, or with one number of samples, have no curve.

    Raises:
        MetricError: an accuracy that is no fraction, or is 1.
    """
    families: dict[str, list[ScalingPoint]] = defaultdict(list)
    for one in points:
        _check(one)
        families[one.family].append(one)
    return tuple(
        curve(members, family, draws=draws, seed=seed)
        for family, members in sorted(families.items())
        if len(members) >= _lines.FEWEST
        and math.log10(max(one.seen for one in members))
        - math.log10(min(one.seen for one in members))
        >= _lines.FLAT
    )


def samples_seen(model: str) -> tuple[float, str] | None:
    """Image-text pairs an open_clip model has seen in training, and who says so.

    Most tags carry the number: "laion2b_s34b_b88k" has seen 34 billion.

    Args:
        model: such as "open_clip:ViT-B-16/laion2b_s34b_b88k", with or without what
            stands before the colon.

    Returns: pairs, repeats counted, and the source, which begins with "inferred" where
        the number is counted from epochs; None where it is not known.

    Example:
        >>> samples_seen("open_clip:ViT-B-16/laion2b_s34b_b88k")
        (34000000000.0, 'the tag laion2b_s34b_b88k')
        >>> samples_seen("timm:resnet50") is None
        True
    """
    backend, _, rest = model.rpartition(":")
    if backend not in ("", "open_clip") or "/" not in rest:
        return None
    name, _, tag = rest.rpartition("/")
    if found := re.search(r"_s(\d+(?:\.\d+)?)([mb])(?=_|$)", tag, re.IGNORECASE):
        unit = {"m": 1e6, "b": 1e9}[found[2].lower()]
        return float(found[1]) * unit, f"the tag {tag}"
    # the folder of facts has lines too, so it imports this package's modules
    from evaluation.reference import published_samples

    return published_samples(name, tag)


def _check(point: ScalingPoint) -> None:
    if not (math.isfinite(point.seen) and point.seen > 0):
        message = (
            f"{point.model} has seen {point.seen:g} image-text pairs: not possible"
        )
        raise MetricError(message)
    if not 0 <= point.value < 1:
        message = (
            f"accuracy of {point.model} is {point.value:g}: a scaling curve wants "
            "fractions from 0 to below 1, as it fits the logarithm of the error"
        )
        raise MetricError(message)
