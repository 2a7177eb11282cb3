"""Two models on the same photos: paired tests and intervals. Fractions.

Correctness of both is given for the same photos in the same order; photos that either
model failed on are left out before. There is no `measure`: two models are needed.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.errors import MetricError
from evaluation.metrics.drop import GROUPS, drops

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

SOURCE = (
    "McNemar 1947; Fagerland et al. 2013 (mid-p); Efron and Tibshirani 1993 (bootstrap)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTest:
    """McNemar's test of two models on one group of photos.

    Attributes:
        group: "common", "counter", or "" for all photos.
        n: photos both answered.
        only_first: photos that only the first model gets right.
        only_second: photos that only the second gets right.
        difference: accuracy of the first minus that of the second (micro).
        p_exact: two-sided exact p-value.
        p_mid: two-sided mid-p value.
    """

    group: str
    n: int
    only_first: int
    only_second: int
    difference: float
    p_exact: float
    p_mid: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two models on one example set.

    Attributes:
        first: a model's name.
        second: another's.
        dataset: the example set.
        tests: of all photos, and of each group there is.
        drop_difference: drop of the first minus drop of the second; None without
            groups.
        drop_difference_ci: paired bootstrap interval, clusters of photos drawn within
            class and group, the same draws for both models.
        drop_difference_p: two-sided bootstrap p-value.
    """

    first: str
    second: str
    dataset: str
    tests: tuple[PairedTest, ...]
    drop_difference: float | None = None
    drop_difference_ci: tuple[float, float] | None = None
    drop_difference_p: float | None = None


def mcnemar(
    first_correct: "ArrayLike", second_correct: "ArrayLike", group: str = ""
) -> PairedTest:
    """McNemar's test: of photos that one model alone gets right, is half the first's.

    Photos count as independent; those of one cluster are not, which makes p too small.
    p is 1 where the models differ on no photo.

    Args:
        first_correct: (N,) bool, of the first model.
        second_correct: (N,) bool, of the second, for the same photos.
        group: name of these photos, kept in the result.

    Raises:
        MetricError: N is 0, or lengths differ.

    Source: McNemar 1947; Fagerland, Lydersen and Laake 2013 (exact conditional
        and mid-p).

    Example:
        >>> found = mcnemar([1, 1, 1, 1, 0], [0, 0, 0, 0, 1])
        >>> found.p_exact, found.p_mid
        (0.375, 0.21875)
    """
    from scipy.special import bdtr

    first, second = _pair(first_correct, second_correct)
    b, c = int((first & ~second).sum()), int((second & ~first).sum())
    few, both = min(b, c), b + c
    up_to = float(bdtr(few, both, 0.5))
    below = float(bdtr(few - 1, both, 0.5)) if few else 0.0
    same = b == c  # then both are 1, up to rounding
    return PairedTest(
        group=group,
        n=len(first),
        only_first=b,
        only_second=c,
        difference=(b - c) / len(first),
        p_exact=1.0 if same else min(1.0, 2 * up_to),
        p_mid=1.0 if same else min(1.0, up_to + below),
    )


def compare(
    first_correct: "ArrayLike",
    second_correct: "ArrayLike",
    *,
    groups: "ArrayLike | None" = None,
    classes: "ArrayLike | None" = None,
    clusters: "ArrayLike | None" = None,
    first: str = "",
    second: str = "",
    dataset: str = "",
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Two models: tests of all photos and of each group, and the drops' difference.

    The interval is `evaluation.intervals.bootstrap_balanced`'s, for pairs: classes are
    fixed; within each class and group clusters of photos are drawn with replacement,
    the same for both models; one cluster more is added to each cell, a quarter of it in
    each of the four ways two models can be right or wrong, and draws are moved back to
    the difference observed. p is the share of draws at least as far from that
    difference as it is from 0, counting the data as one draw: never below
    1 / (draws + 1).

    Args:
        first_correct: (N,) bool, of the first model.
        second_correct: (N,) bool, of the second, for the same photos.
        groups: (N,) "common", "counter" or ""; without it there is no drop.
        classes: (N,) class of each photo; without it there is no drop.
        clusters: (N,) photos that stand or fall together share it.
        first: name of the first model.
        second: name of the second.
        dataset: name of the example set.
        level: coverage aimed at, in (0, 1).
        draws: bootstrap replicates.
        seed: of the random numbers.

    Returns: the drops' difference is None where a group has no photos; classes in one
        group only do not count in it.

    Raises:
        MetricError: N is 0, lengths differ, both groups have photos but no class is in
            both, or a setting is out of range.

    Source: Efron and Tibshirani 1993, ch. 13 (percentiles) and 16 (test); Agresti and
        Min 2005 (counts added to all four outcomes of pairs).

    Example:
        >>> found = compare([1, 1, 1, 0], [1, 1, 1, 0],
        ...     groups=["common", "counter"] * 2, classes=["owl"] * 4)
        >>> found.drop_difference, found.drop_difference_p
        (0.0, 1.0)
    """
    one, two = _pair(first_correct, second_correct)
    number = len(one)
    if not 0 < level < 1 or draws < 1:
        message = f"level lies in (0, 1) and draws from 1 up, not {level} and {draws}"
        raise MetricError(message)
    group = np.full(number, "") if groups is None else _same(groups, number, "groups")
    present = [name for name in GROUPS if (group == name).any()]
    tests = [mcnemar(one, two)]
    tests += [mcnemar(one[group == g], two[group == g], g) for g in present]
    found = Comparison(first=first, second=second, dataset=dataset, tests=tuple(tests))
    if classes is None or len(present) < len(GROUPS):
        return found
    kind = _same(classes, number, "classes")
    cluster = (
        np.arange(number) if clusters is None else _same(clusters, number, "clusters")
    )
    value = drops(one, group, kind).balanced_drop
    value -= drops(two, group, kind).balanced_drop
    gained = one.astype(np.float64) - two
    drawn = _drawn(gained, group, kind, cluster, draws, np.random.default_rng(seed))
    drawn += value
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    # as far as it counts: sums of the same photos differ in the last digits
    as_far = np.abs(drawn - value) >= abs(value) - 1e-12
    return Comparison(
        first=first,
        second=second,
        dataset=dataset,
        tests=tuple(tests),
        drop_difference=value,
        drop_difference_ci=(max(float(low), -2.0), min(float(high), 2.0)),
        drop_difference_p=float((1 + as_far.sum()) / (1 + draws)),
    )


def holm(p_values: "ArrayLike") -> "Floats":
    """p-values for several pairs at once, so that any false finding is rare.

    Args:
        p_values: (K,) from 0 to 1.

    Returns: (K,) adjusted, in the same order; compare with the level itself.

    Raises:
        MetricError: K is 0, or a value is not in [0, 1].

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".

    Example:
        >>> holm([0.01, 0.04, 0.03]).tolist()
        [0.03, 0.06, 0.06]
    """
    p, order = _p_values(p_values)
    steps = p[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


def benjamini_hochberg(p_values: "ArrayLike") -> "Floats":
    """p-values for several pairs at once, so that false findings are a small share.

    Args:
        p_values: (K,) from 0 to 1, of independent (or positively dependent) tests.

    Returns: (K,) adjusted, in the same order; compare with the share allowed.

    Raises:
        MetricError: K is 0, or a value is not in [0, 1].

    Source: Benjamini and Hochberg 1995, "Controlling the false discovery rate".

    Example:
        >>> benjamini_hochberg([0.01, 0.04, 0.03]).tolist()
        [0.03, 0.04, 0.04]
    """
    p, order = _p_values(p_values)
    steps = p[order] * len(p) / np.arange(1, len(p) + 1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.minimum.accumulate(steps[::-1])[::-1], 1)
    return adjusted


def _p_values(values: "ArrayLike") -> "tuple[Floats, NDArray[np.intp]]":
    p = np.asarray(values, np.float64)
    if p.ndim != 1 or not len(p) or not np.all((p >= 0) & (p <= 1)):
        message = "p-values to adjust must be a list of numbers from 0 to 1, not empty"
        raise MetricError(message)
    return p, np.argsort(p, kind="stable")


def _pair(
    first: "ArrayLike", second: "ArrayLike"
) -> "tuple[NDArray[np.bool_], NDArray[np.bool_]]":
    one, two = np.asarray(first, bool), np.asarray(second, bool)
    if one.ndim != 1 or one.shape != two.shape:
        message = (
            f"two models are compared on the same photos, not {one.shape} and "
            f"{two.shape}: keep the photos that both answered"
        )
        raise MetricError(message)
    if not len(one):
        message = "there are no photos that both models answered: nothing to compare"
        raise MetricError(message)
    return one, two


def _same(values: "ArrayLike", number: int, what: str) -> "NDArray[Any]":
    found = np.asarray(values)
    if found.shape != (number,):
        message = f"there are {number} photos, but {what} of {found.shape}"
        raise MetricError(message)
    return found


def _drawn(
    gained: "Floats",
    groups: "NDArray[Any]",
    classes: "NDArray[Any]",
    clusters: "NDArray[Any]",
    draws: int,
    rng: np.random.Generator,
) -> "Floats":
    """(draws,) differences of drops, their mean taken away.

    Args:
        gained: (N,) 1 where only the first model is right, -1 where only the second.
        groups: (N,).
        classes: (N,).
        clusters: (N,).
        draws: how many.
        rng: random numbers.
    """
    both = np.intersect1d(*(classes[groups == name] for name in GROUPS))
    inside = np.isin(groups, GROUPS) & np.isin(classes, both)
    side = (groups[inside] == GROUPS[1]).astype(np.int64)
    cell = 2 * np.searchsorted(both, classes[inside]) + side
    cluster = np.unique(clusters[inside], return_inverse=True)[1]
    unique, where = np.unique(cell * len(groups) + cluster, return_inverse=True)
    photos = np.bincount(where).astype(np.float64)
    more = np.bincount(where, gained[inside]).astype(np.float64)
    ends = np.searchsorted(unique // len(groups), np.arange(2 * len(both) + 1))
    total = np.zeros(draws)
    for number in range(2 * len(both)):
        rows = slice(ends[number], ends[number + 1])
        sign = -1 if number % 2 else 1
        total += sign * _draw_cell(more[rows], photos[rows], draws, rng)
    centred: Floats = total / len(both)
    return centred


def _draw_cell(
    more: "Floats", photos: "Floats", draws: int, rng: np.random.Generator
) -> "Floats":
    # clusters alike in both numbers are interchangeable: draw kinds, not clusters
    kinds, counts = np.unique(np.stack([more, photos]), axis=1, return_counts=True)
    size = photos.mean()
    # only the first right, only the second, and the two ways to agree
    more_of = np.concatenate([kinds[0], [size, -size, 0]])
    photos_of = np.concatenate([kinds[1], [size, size, size]])
    chance = np.concatenate([counts, [0.25, 0.25, 0.5]]) / (len(photos) + 1)
    times = rng.multinomial(len(photos), chance, size=draws)
    drawn = (times @ more_of) / (times @ photos_of)
    centred: Floats = drawn - drawn.mean()
    return centred
