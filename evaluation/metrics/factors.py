"""Visual factors of ImageNet-X: accuracy where a factor tells a photo from its class.

The annotations are not part of this package (their licence forbids it): they are read
from the package imagenet-x where that is installed, or from a file. Fractions.
"""

from dataclasses import dataclass
from typing import Literal

SOURCE = "Idrissi et al. 2022, ImageNet-X (arXiv:2211.01866)"

FACTORS = (
    "pose", "background", "pattern", "color", "smaller", "shape", "partial_view",
    "subcategory", "texture", "larger", "darker", "object_blocking", "person_blocking",
    "style", "brighter", "multiple_objects",
)  # fmt: skip
"""In order of how often they are a photo's top factor."""


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
