"""What a benchmark found, as data: everything a report, a table or a script reads.

Accuracies, drops, effective robustness, ECE, AUROC and FPR95 are in points (0-100) here
and in all that is written; the families in `metrics/` count in fractions. Negative
log-likelihoods (nats), Brier scores, temperatures, slopes and p-values are left as is.
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evaluation.metrics.calibration import Bin, Calibration
from evaluation.metrics.comparison import Comparison, PairedTest
from evaluation.metrics.effective_robustness import Line, Robustness, RobustPoint
from evaluation.metrics.factors import FactorAccuracy, FactorResult
from evaluation.metrics.ood import Detection
from evaluation.metrics.scaling import ScalingCurve, ScalingPoint

Interval = tuple[float, float] | None
"""Lower and upper bound in points; None where it is undefined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Accuracy of the photos that share some properties.

    Attributes:
        name: class or background.
        group: "common", "counter", or "" for photos without one.
        k: correct photos.
        n: photos.
        accuracy: points.
        ci: Wilson's interval, points.
    """

    name: str
    group: str
    k: int
    n: int
    accuracy: float
    ci: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassDrop:
    """One class's accuracies and drop, points."""

    name: str
    common: float
    counter: float
    drop: float
    n_common: int
    n_counter: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one model does on one dataset; all numbers in points.

    Attributes:
        model: full name.
        dataset: name of the example set.
        label_space: classes the model chose among.
        prompts: prompt set; None for an ImageNet classifier.
        accuracy: balanced accuracy of all photos, grouped or not.
        micro: accuracy of all photos.
        n_photos: photos answered.
        n_failed: photos that could not be read; they count nowhere else.
        common: balanced accuracy of the common group; None without groups.
        counter: balanced accuracy of the counter group.
        drop: common minus counter.
        drop_ci_classes: interval of the drop when classes are drawn, not photos.
        n_common: photos behind `common`.
        n_counter: photos behind `counter`.
        balanced: every class has answered photos in both groups. If not, the classes
            `left_out` count neither in `common` nor in `counter`.
        worst: lowest accuracy of a class in a group.
        classes: accuracy per class and group.
        backgrounds: accuracy per background and group.
        drops: per class with photos in both groups.
        calibration: as the model gives its logits first, then at the temperature fitted
            on other photos; fractions.
        factors: ImageNet-X; fractions. None where the photos have no annotations.
        more: numbers of measures from outside this package, by name.
        role: what the dataset is to the others: "groups", "id", "shift" or "".
        selected_on: the model helped to choose the groups, so its drop is too large.
        provenance: everything that made the predictions.
    """

    model: str
    dataset: str
    label_space: str
    prompts: str | None
    accuracy: float
    accuracy_ci: Interval
    micro: float
    n_photos: int
    n_failed: int
    common: float | None = None
    counter: float | None = None
    drop: float | None = None
    common_ci: Interval = None
    counter_ci: Interval = None
    drop_ci: Interval = None
    drop_ci_classes: Interval = None
    micro_common: float | None = None
    micro_counter: float | None = None
    n_common: int = 0
    n_counter: int = 0
    balanced: bool = False
    left_out: tuple[str, ...] = ()
    worst: Cell
    classes: tuple[Cell, ...]
    backgrounds: tuple[Cell, ...]
    drops: tuple[ClassDrop, ...] = ()
    calibration: tuple[Calibration, ...] = ()
    factors: FactorResult | None = None
    more: Mapping[str, float] = field(default_factory=dict)
    role: str = ""
    selected_on: bool = False
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def note(self) -> str:
        """What a reader must know of the model."""
        return str(self.provenance.get("note", ""))

    def summary(self) -> dict[str, Any]:
        """The line of `evaluate --json`."""
        keys = (
            "model dataset label_space prompts n_common n_counter common counter drop "
            "common_ci counter_ci drop_ci drop_ci_classes balanced left_out accuracy "
            "accuracy_ci micro micro_common micro_counter n_photos n_failed note role "
            "selected_on"
        )
        line = {key: in_points(getattr(self, key)) for key in keys.split()}
        line["weights"] = self.provenance.get("weights")
        line["worst_group"] = in_points(self.worst)
        return line


@dataclass(frozen=True, slots=True, kw_only=True)
class Detected:
    """One model telling an out-of-distribution set from the ID set; fractions.

    Attributes:
        model: full name.
        id_dataset: photos of known classes.
        ood_dataset: photos of unknown classes.
        label_space: classes whose logits the score is made of.
        prompts: prompt set; None for an ImageNet classifier.
        detection: the numbers.
    """

    model: str
    id_dataset: str
    ood_dataset: str
    label_space: str
    prompts: str | None
    detection: Detection


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Models against a line of baseline models; fractions.

    Attributes:
        dataset: whose accuracy is on the y axis.
        x: "common" (y is then the counter group), or the ID dataset's name.
        weighting: "balanced" gives every class the same weight, "micro" every photo.
        label_space: classes the models chose among.
        robustness: the line and every model's place. Of a dataset with groups there are
            two for each scale, one line of image-text models and one of classifiers.
    """

    dataset: str
    x: str
    weighting: str
    label_space: str
    robustness: Robustness


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """Accuracy of image-text models against the pairs they have seen; fractions.

    Attributes:
        dataset: example set.
        group: "common", "counter", or "" for all its photos.
        curves: one per family, and one of all ("").
    """

    dataset: str
    group: str
    curves: tuple[ScalingCurve, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorLine:
    """A factor's accuracy against overall accuracy over baseline models; fractions.

    Attributes:
        dataset: example set.
        factor: of `metrics.factors.FACTORS`.
        robustness: a robust line, and every model's place.
    """

    dataset: str
    factor: str
    robustness: Robustness


@dataclass(frozen=True, slots=True)
class Results:
    """What a benchmark found.

    Attributes:
        rows: a result per model and dataset.
        lines: accuracy on the line and effective robustness.
        detected: out-of-distribution detection.
        scaling: accuracy against samples seen.
        comparisons: models in pairs on the same photos.
        factor_lines: factors against overall accuracy.
        notes: what could not be measured, and why; sentences.
    """

    rows: tuple[Result, ...]
    lines: tuple[Lines, ...] = ()
    detected: tuple[Detected, ...] = ()
    scaling: tuple[Scaling, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    factor_lines: tuple[FactorLine, ...] = ()
    notes: tuple[str, ...] = ()

    def summary(self) -> list[dict[str, Any]]:
        """The lines of `evaluate --json`."""
        return [row.summary() for row in self.rows]

    def to_json(self) -> str:
        """Everything, for results.json; in points."""
        found: dict[str, Any] = {
            "results": [
                row.summary()
                | {
                    "classes": in_points(row.classes),
                    "backgrounds": in_points(row.backgrounds),
                    "drops": in_points(row.drops),
                    "calibration": in_points(row.calibration),
                    "factors": in_points(row.factors),
                    "more": dict(row.more),
                    "provenance": dict(row.provenance),
                }
                for row in self.rows
            ]
        }
        others = [one.name for one in dataclasses.fields(self) if one.name != "rows"]
        found |= {name: in_points(getattr(self, name)) for name in others}
        return json.dumps(found, indent=1, sort_keys=True, allow_nan=False) + "\n"


_FRACTIONS: Mapping[type, str] = {
    Bin: "low high confidence accuracy",
    Calibration: "accuracy confidence ece ece_ci ece_adaptive ece_classwise",
    Comparison: "drop_difference drop_difference_ci",
    Detection: "auroc auroc_ci aupr_in aupr_out fpr95_id_pos fpr95_ood_pos curve",
    FactorAccuracy: "accuracy ci accuracy_balanced ece",
    FactorResult: "average worst_classes",
    Line: "band",
    PairedTest: "difference",
    RobustPoint: "x y x_ci y_ci predicted effective_robustness effective_robustness_ci",
    ScalingPoint: "value",
}
"""Fields that are fractions, by what they are fields of; see `in_points`."""


def in_points(value: Any) -> Any:  # noqa: ANN401
    """What JSON can hold, fractions of `metrics/` turned into points.

    Example:
        >>> in_points((1.5, float("nan"), None))
        [1.5, None, None]
    """
    if isinstance(value, tuple | list):
        return [in_points(one) for one in value]
    if isinstance(value, Mapping):
        return {key: in_points(one) for key, one in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        wide = _FRACTIONS.get(type(value), "").split()
        return {
            one.name: in_points(
                _times(getattr(value, one.name))
                if one.name in wide
                else getattr(value, one.name)
            )
            for one in dataclasses.fields(value)
        }
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _times(value: Any) -> Any:  # noqa: ANN401
    """A fraction, or fractions inside tuples, times 100."""
    if isinstance(value, tuple):
        return tuple(_times(one) for one in value)
    return None if value is None else 100 * value


def few(names: Sequence[str], shown: int = 5) -> str:
    """Some names for people, and how many more there are.

    Example:
        >>> few(["a", "b", "c"], 2)
        'a, b and 1 more'
    """
    text = ", ".join(names[:shown])
    return f"{text} and {len(names) - shown} more" if len(names) > shown else text
