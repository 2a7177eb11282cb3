"""Calibration: whether probabilities mean what they say. Fractions and nats.

Logits are (N, C) float32 over a label space, rows of photos that were answered; labels
are (N,) columns of the right class.
"""

from dataclasses import dataclass

SOURCE = "Guo et al. 2017 (arXiv:1706.04599); Nixon et al. 2019 (arXiv:1904.01685)"

BINS = 15


@dataclass(frozen=True, slots=True)
class Bin:
    """One bar of a reliability diagram.

    Attributes:
        low: confidence above which the bin begins (excluded), 0 to 1.
        high: confidence at which it ends (included).
        n: photos in it; bins without photos are kept.
        confidence: mean confidence of its photos; nan where n is 0.
        accuracy: share of them that is right; nan where n is 0.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Calibration of one model on one example set, at one temperature.

    Attributes:
        temperature: what logits were divided by; 1 leaves them as the model gives them.
        fitted_on: what the temperature was fitted on; "" where it was not fitted.
        probabilities: "softmax" over the label space, or "sigmoid" of each class.
        bins: number of bins of every ECE here.
        n: photos.
        accuracy: share of photos that are right (micro).
        confidence: mean confidence.
        ece: expected calibration error, equal-width right-closed bins.
        ece_ci: bootstrap interval of `ece`.
        ece_adaptive: bins of equal numbers of photos.
        ece_classwise: mean over classes of each class's probability's ECE.
        nll: mean negative log-likelihood, nats.
        brier: mean squared distance to the one-hot answer, 0 to 2.
        reliability: the bars behind `ece`.
    """

    temperature: float
    fitted_on: str
    probabilities: str
    bins: int
    n: int
    accuracy: float
    confidence: float
    ece: float
    ece_ci: tuple[float, float]
    ece_adaptive: float
    ece_classwise: float
    nll: float
    brier: float
    reliability: tuple[Bin, ...]
