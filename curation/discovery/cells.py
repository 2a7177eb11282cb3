"""Accuracy per background, and the rule that picks common and counter.

Everything here is about one class at a time and works on counts, so that exact ties
stay exact: an accuracy is `votes / (photos * voters)`, and equal fractions are equal
floats.
"""

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evaluation.errors import MetricError

Ints = NDArray[np.int64]
Reals = NDArray[np.float64]
Flags = NDArray[np.bool_]

# accuracies are ratios of small integers: far coarser than this, far finer than a point
TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Rule:
    """The rule that keeps a class and picks its two backgrounds.

    Attributes:
        min_drop_points: a class is kept when its accuracy varies by more, in points.
        min_photos: photos a background needs to be considered.
    Source: arXiv 2403.11497, section 2 (5 points; no minimum is stated there).
    """

    min_drop_points: float = 5.0
    min_photos: int = 30


@dataclass(frozen=True, slots=True)
class ClassCounts:
    """One class: its clusters of photos, counted on each background.

    A cluster is a set of photos that are not independent: one observation, or one
    duplicate cluster. It may lie on several backgrounds.

    Attributes:
        name: the class.
        backgrounds: M names, ordered by number of photos (most first), then by name;
            the order is the rule's tie-break.
        photos: (U, M) photos of each cluster on each background, clusters in the order
            of their smallest photo_id.
        votes: (U, M) correct predictions among them, summed over voters.
        voters: models that vote; a photo contributes at most this many votes.
    """

    name: str
    backgrounds: tuple[str, ...]
    photos: Ints
    votes: Ints
    voters: int = 1
    n: Ints = field(init=False)
    n_clusters: Ints = field(init=False)
    correct: Reals = field(init=False)

    def __post_init__(self) -> None:
        """Add up the columns."""
        object.__setattr__(self, "n", self.photos.sum(axis=0))
        object.__setattr__(self, "n_clusters", (self.photos > 0).sum(axis=0))
        object.__setattr__(self, "correct", self.votes.sum(axis=0) / self.voters)

    @property
    def accuracy(self) -> Reals:
        """(M,) accuracy on each background, 0-1."""
        accuracy: Reals = self.votes.sum(axis=0) / (self.n * self.voters)
        return accuracy

    def only(self, chosen: Flags) -> "ClassCounts":
        """The same class on some of its backgrounds; clusters left empty go."""
        photos, votes = self.photos[:, chosen], self.votes[:, chosen]
        present = photos.sum(axis=1) > 0
        names = tuple(
            b for b, keep in zip(self.backgrounds, chosen, strict=True) if keep
        )
        return ClassCounts(
            self.name, names, photos[present], votes[present], self.voters
        )


@dataclass(frozen=True, slots=True)
class Pick:
    """What the rule says of one class.

    Attributes:
        eligible: (M,) backgrounds that were considered.
        common, counter: indices of the backgrounds picked; -1 when fewer than two were
            eligible. They are given for classes that are not kept too.
        drop: their difference in accuracy on the photos that picked them, points, never
            negative; NaN when fewer than two were eligible.
        kept: the class enters the dataset.
        reason: why it is kept, or is not.
    """

    eligible: Flags
    common: int
    counter: int
    drop: float
    kept: bool
    reason: str


def count(
    name: str,
    background: NDArray[np.str_],
    cluster: NDArray[np.str_],
    votes: Ints,
    *,
    voters: int = 1,
) -> ClassCounts:
    """Count one class's photos by cluster and background.

    Args:
        name: the class.
        background: (N,) verified background of each photo, photos sorted by photo_id.
        cluster: (N,) cluster of each photo.
        votes: (N,) models that are right on it, 0 to `voters`.
        voters: number of models.

    Raises:
        MetricError: there is no photo, or a vote is out of range.
    """
    if not len(background) or votes.min() < 0 or votes.max() > voters:
        message = f"class {name!r}: needs photos, each with 0 to {voters} votes"
        raise MetricError(message)
    names, column = np.unique(background, return_inverse=True)
    sizes = np.bincount(column)
    order = np.lexsort((names, -sizes))
    place = np.argsort(order)[column]
    _, first, row = np.unique(cluster, return_index=True, return_inverse=True)
    row = np.argsort(np.argsort(first))[row]
    shape = (len(first), len(names))
    photos, right = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    np.add.at(photos, (row, place), 1)
    np.add.at(right, (row, place), votes)
    return ClassCounts(name, tuple(str(names[i]) for i in order), photos, right, voters)


def eligible(counts: ClassCounts, rule: Rule) -> Flags:
    """(M,) backgrounds with enough photos from at least two clusters.

    One cluster is one observation, however many photos it has: it says nothing of the
    background, and it cannot be halved.
    """
    enough: Flags = (counts.n >= rule.min_photos) & (counts.n_clusters >= 2)
    return enough


def pick(counts: ClassCounts, rule: Rule) -> Pick:
    """Apply the rule to one class.

    Highest accuracy is common, lowest among the others is counter. Ties: the background
    with more photos, then the name that sorts first.

    Args:
        counts: the class on all its backgrounds.
        rule: how many photos and how large a drop are needed.

    Example:
        >>> counts = ClassCounts(
        ...     "fox", ("snow", "grass"), np.array([[1, 0], [1, 0], [0, 1], [0, 1]]),
        ...     np.array([[1, 0], [1, 0], [0, 1], [0, 0]]))
        >>> pick(counts, Rule(min_photos=2)).drop
        50.0
    """
    able = eligible(counts, rule)
    n_able = int(able.sum())
    if n_able < 2:
        reason = (
            f"{'one background has' if n_able else 'no background has'} at least "
            f"{rule.min_photos} photos from two or more observations; two are needed"
        )
        return Pick(able, -1, -1, float("nan"), kept=False, reason=reason)
    accuracy = counts.accuracy
    first, second = highest_lowest(accuracy[None, :], able[None, :])
    common, counter = int(first[0]), int(second[0])
    drop = 100.0 * float(accuracy[common] - accuracy[counter])
    kept = drop > rule.min_drop_points + TOLERANCE
    reason = (
        f"accuracy varies by {drop:.1f} points between {n_able} backgrounds; "
        f"more than {rule.min_drop_points:g} are needed"
    )
    return Pick(able, common, counter, drop, kept=kept, reason=reason)


def highest_lowest(accuracy: Reals, usable: Flags) -> tuple[Ints, Ints]:
    """Background of highest accuracy, and of lowest among the others, row by row.

    Args:
        accuracy: (S, M), backgrounds in the order that breaks ties.
        usable: (S, M) backgrounds to choose from.

    Returns: two (S,) arrays of indices, without meaning where fewer than two can be
        used.
    """
    common = np.where(usable, accuracy, -np.inf).argmax(axis=1)
    others = usable & (np.arange(accuracy.shape[1]) != common[:, None])
    return common, np.where(others, accuracy, np.inf).argmin(axis=1)


def covariance(counts: ClassCounts) -> Reals:
    """(M, M) covariance of the accuracies, clusters being independent.

    Linearised ratio estimator over clusters. On the diagonal each background gets two
    more clusters of its mean size, one all right and one all wrong, as Agresti and
    Caffo (2000) do for differences of proportions: without them a background at 0 or
    100 % would count as known exactly.
    """
    photos = counts.photos.astype(np.float64)
    votes = counts.votes / counts.voters
    total, clusters = counts.n.astype(np.float64), counts.n_clusters
    residual = votes - counts.accuracy * photos
    shared = max(len(photos), 2)
    matrix: Reals = np.einsum("ub,uc->bc", residual, residual) / np.outer(total, total)
    matrix *= shared / (shared - 1)
    size = total / clusters
    centre = (votes.sum(axis=0) + size) / (total + 2 * size)
    spread = np.where(photos > 0, votes - centre * photos, 0.0)
    squares = (spread**2).sum(axis=0) + size**2 * (centre**2 + (1 - centre) ** 2)
    own = squares / (total + 2 * size) ** 2 * (clusters + 2) / (clusters + 1)
    np.fill_diagonal(matrix, own)
    return matrix


def stream(seed: int, purpose: str, name: str) -> np.random.Generator:
    """Random numbers for one class and one purpose.

    They depend on nothing else, so adding a class leaves every other class's numbers as
    they were.
    """
    digest = hashlib.sha256(f"{purpose}\0{name}".encode()).digest()
    words = np.frombuffer(digest, dtype="<u4").tolist()
    return np.random.default_rng([seed, *words])
