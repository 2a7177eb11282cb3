"""Accuracy: of photos, of classes, of the cells of two properties.

All are fractions. "Balanced" gives every class the same weight, "micro" every photo.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.errors import MetricError
from evaluation.intervals import wilson

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from evaluation.metrics import Outcomes

SOURCE = "CounterAnimal, appendix C.2 (arXiv:2403.11497); Sagawa et al. 2020 (worst)"


@dataclass(frozen=True, slots=True)
class Counts:
    """Correct photos of all photos, per key.

    Attributes:
        keys: (C,) what the photos were counted by, sorted; (C, 2) for pairs.
        k: (C,) correct photos.
        n: (C,) photos; at least 1.
    """

    keys: "NDArray[Any]"
    k: "NDArray[np.int64]"
    n: "NDArray[np.int64]"

    @property
    def accuracy(self) -> "NDArray[np.float64]":
        """(C,) accuracies, 0 to 1."""
        fractions: NDArray[np.float64] = self.k / self.n
        return fractions

    def interval(
        self, level: float = 0.95
    ) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
        """(C,) lower and upper bounds, Wilson's."""
        return wilson(self.k, self.n, level)


def measure(outcomes: "Outcomes") -> dict[str, float]:
    """Balanced, micro and worst-group accuracy.

    Raises:
        MetricError: there are no photos.
    """
    cells = counts(outcomes.correct, outcomes.classes, outcomes.groups)
    return {
        "balanced": balanced(outcomes.correct, outcomes.classes),
        "micro": micro(outcomes.correct),
        "worst_group": float(cells.accuracy.min()),
    }


def micro(correct: "ArrayLike") -> float:
    """Share of photos that are right, 0 to 1.

    Args:
        correct: (N,) bool.

    Raises:
        MetricError: N is 0.

    Example:
        >>> micro([True, True, False, False])
        0.5
    """
    return float(_some(correct).mean())


def balanced(correct: "ArrayLike", classes: "ArrayLike") -> float:
    """Mean over classes of each class's accuracy, 0 to 1.

    Args:
        correct: (N,) bool.
        classes: (N,) class of each photo.

    Raises:
        MetricError: N is 0.

    Source: CounterAnimal, appendix C.2.

    Example:
        >>> balanced([True, True, True, False], ["a", "a", "a", "b"])
        0.5
    """
    return float(counts(correct, classes).accuracy.mean())


def counts(correct: "ArrayLike", *keys: "ArrayLike") -> Counts:
    """Correct photos and photos per key, or per pair of keys.

    Args:
        correct: (N,) bool.
        *keys: one or more (N,) arrays to count by, such as class and background.

    Raises:
        MetricError: N is 0, or lengths differ.

    Example:
        >>> found = counts([True, False, True], ["a", "a", "b"])
        >>> found.keys.tolist(), found.k.tolist(), found.n.tolist()
        (['a', 'b'], [1, 1], [2, 1])
    """
    right = _some(correct)
    columns = [np.asarray(key) for key in keys]
    if any(column.shape != right.shape for column in columns):
        message = "correct and what it is counted by must be of one length"
        raise MetricError(message)
    by = columns[0] if len(columns) == 1 else np.stack(columns, axis=1)
    unique, place = np.unique(by, axis=None if by.ndim == 1 else 0, return_inverse=True)
    place = place.reshape(-1)
    n = np.bincount(place, minlength=len(unique))
    k = np.bincount(place[right], minlength=len(unique))
    return Counts(unique, k.astype(np.int64), n.astype(np.int64))


@dataclass(frozen=True, slots=True)
class Worst:
    """The cell with the lowest accuracy.

    Attributes:
        cell: its keys.
        accuracy: 0 to 1.
        k: correct photos.
        n: photos.
    """

    cell: tuple[str, ...]
    accuracy: float
    k: int
    n: int


def worst(correct: "ArrayLike", *keys: "ArrayLike", min_photos: int = 1) -> Worst:
    """Worst-group accuracy: the lowest among the cells of some keys.

    Args:
        correct: (N,) bool.
        *keys: (N,) arrays whose combinations are the cells, such as class and group.
        min_photos: cells with fewer are passed over.

    Raises:
        MetricError: no cell has that many photos.

    Source: Sagawa et al. 2020, "Distributionally robust neural networks".
    """
    cells = counts(correct, *keys)
    enough = np.flatnonzero(cells.n >= min_photos)
    if not len(enough):
        message = f"no group has {min_photos} photos"
        raise MetricError(message)
    # of equals the one with more photos, then the first
    accuracy = cells.accuracy[enough]
    first = enough[np.lexsort((-cells.n[enough], accuracy))[0]]
    return Worst(
        cell=tuple(str(part) for part in np.atleast_1d(cells.keys[first])),
        accuracy=float(cells.accuracy[first]),
        k=int(cells.k[first]),
        n=int(cells.n[first]),
    )


def _some(correct: "ArrayLike") -> "NDArray[np.bool_]":
    right = np.asarray(correct, bool)
    if right.ndim != 1 or not len(right):
        message = "accuracy of no photos is undefined"
        raise MetricError(message)
    return right
