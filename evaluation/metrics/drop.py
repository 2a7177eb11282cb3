"""The accuracy drop: common minus counter.

Derived here, once, from unrounded accuracies; what is printed is rounded after.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.errors import MetricError
from evaluation.metrics.accuracy import counts

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from evaluation.metrics import Outcomes

SOURCE = "CounterAnimal, appendix C.2 (arXiv:2403.11497)"

GROUPS = ("common", "counter")


@dataclass(frozen=True, slots=True)
class ClassDrops:
    """Counts of the classes that have photos in both groups, and of those left out.

    Attributes:
        classes: (C,) names, sorted.
        k: (C, 2) correct photos in common and counter.
        n: (C, 2) photos in common and counter; at least 1.
        left_out: classes with photos in one group only; they count nowhere.
    """

    classes: "NDArray[Any]"
    k: "NDArray[np.int64]"
    n: "NDArray[np.int64]"
    left_out: tuple[str, ...] = ()

    @property
    def accuracy(self) -> "NDArray[np.float64]":
        """(C, 2) accuracies, 0 to 1."""
        fractions: NDArray[np.float64] = self.k / self.n
        return fractions

    @property
    def drop(self) -> "NDArray[np.float64]":
        """(C,) common minus counter, -1 to 1."""
        differences: NDArray[np.float64] = self.accuracy[:, 0] - self.accuracy[:, 1]
        return differences

    @property
    def balanced(self) -> tuple[float, float]:
        """Balanced accuracies of common and counter, 0 to 1."""
        common, counter = self.accuracy.mean(axis=0)
        return float(common), float(counter)

    @property
    def balanced_drop(self) -> float:
        """Balanced common minus balanced counter, -1 to 1: the headline."""
        common, counter = self.balanced
        return common - counter

    @property
    def micro(self) -> tuple[float, float]:
        """Accuracies of all photos of common and counter, 0 to 1."""
        common, counter = self.k.sum(axis=0) / self.n.sum(axis=0)
        return float(common), float(counter)


def measure(outcomes: "Outcomes") -> dict[str, float]:
    """Balanced accuracy of both groups, and the drop.

    Raises:
        MetricError: no class has photos in both groups.
    """
    found = drops(outcomes.correct, outcomes.groups, outcomes.classes)
    common, counter = found.balanced
    return {"common": common, "counter": counter, "drop": found.balanced_drop}


def drops(
    correct: "ArrayLike", groups: "ArrayLike", classes: "ArrayLike"
) -> ClassDrops:
    """Accuracy in both groups, per class.

    Args:
        correct: (N,) bool.
        groups: (N,) "common" or "counter"; photos of other groups do not count.
        classes: (N,) class of each photo.

    Raises:
        MetricError: no class has photos in both groups, or lengths differ.

    Example:
        >>> found = drops([1, 1, 1, 0], ["common"] * 2 + ["counter"] * 2, ["a"] * 4)
        >>> found.balanced, found.balanced_drop
        ((1.0, 0.5), 0.5)
    """
    right, group, kind = (
        np.asarray(correct, bool),
        np.asarray(groups),
        np.asarray(classes),
    )
    if not right.shape == group.shape == kind.shape:
        message = "correct, groups and classes must be of one length"
        raise MetricError(message)
    sides = []
    for name in GROUPS:
        inside = group == name
        if not inside.any():
            message = f"there are no photos in the {name} group: no drop"
            raise MetricError(message)
        sides.append(counts(right[inside], kind[inside]))
    common, counter = sides
    both, left, other = np.intersect1d(
        common.keys, counter.keys, assume_unique=True, return_indices=True
    )
    if not len(both):
        message = "no class has photos in both groups: no drop"
        raise MetricError(message)
    alone = np.setxor1d(common.keys, counter.keys, assume_unique=True)
    return ClassDrops(
        classes=both,
        k=np.stack([common.k[left], counter.k[other]], axis=1),
        n=np.stack([common.n[left], counter.n[other]], axis=1),
        left_out=tuple(str(name) for name in alone),
    )
