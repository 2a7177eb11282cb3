"""Telling photos of unknown classes from known ones, by a score; fractions.

A score is higher for photos that look like the known classes (in distribution, ID).
"""

from dataclasses import dataclass

SOURCE = (
    "Hendrycks and Gimpel 2017 (MSP), Hendrycks et al. 2022 (MaxLogit), Liu et al. "
    "2020 (energy), Ming et al. 2022 (MCM)"
)

SCORES = ("msp", "max_logit", "energy", "mcm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """How well one score tells one out-of-distribution set from the ID set.

    Attributes:
        score: one of `SCORES`.
        temperature: what logits (for "mcm": cosines) were divided by.
        n_id: ID photos.
        n_ood: photos of unknown classes.
        auroc: area under the ROC curve; 0.5 is chance.
        auroc_ci: DeLong's interval.
        aupr_in: area under precision and recall, ID positive.
        aupr_out: the same, unknown positive.
        fpr95_id_pos: share of unknown photos accepted where 95 % of ID photos are
            (ODIN's and MCM's convention).
        fpr95_ood_pos: share of ID photos rejected where 95 % of unknown photos are
            (OpenOOD 1.5's convention).
        curve: at most 201 points (false positive rate, true positive rate), ID
            positive, from (0, 0) to (1, 1).
    """

    score: str
    temperature: float
    n_id: int
    n_ood: int
    auroc: float
    auroc_ci: tuple[float, float]
    aupr_in: float
    aupr_out: float
    fpr95_id_pos: float
    fpr95_ood_pos: float
    curve: tuple[tuple[float, float], ...]
