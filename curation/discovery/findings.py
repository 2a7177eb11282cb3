"""Everything discovery says of a dataset: per background, per class, and as a whole."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from curation.discovery.cells import (
    ClassCounts,
    Ints,
    Pick,
    Reals,
    Rule,
    count,
    covariance,
    pick,
    stream,
)
from curation.discovery.crossfit import (
    UNDEFINED,
    Estimate,
    Splits,
    class_drop,
    dataset_drop,
    split,
)
from curation.discovery.permutation import background_test, benjamini_hochberg
from evaluation.errors import MetricError

Texts = NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class Photos:
    """Verified photos and what the discovery models make of them, in any order.

    Attributes:
        photo_id: (N,) distinct; fixes the order of everything random.
        classes: (N,) class of each photo.
        background: (N,) verified background.
        cluster: (N,) shared by photos that are not independent; clusters are taken
            within a class.
        votes: (N,) how many of the voters are right, 0 to `voters`.
        voters: number of votes a photo has.
    """

    photo_id: Texts
    classes: Texts
    background: Texts
    cluster: Texts
    votes: Ints
    voters: int = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is drawn, and from which seed.

    Attributes:
        splits: halvings per class.
        permutations: shuffles per class.
        seed: with the class's name, decides all random numbers.
        level: of the intervals.
    """

    splits: int = 100
    permutations: int = 2000
    seed: int = 0
    level: float = 0.95


@dataclass(frozen=True, slots=True)
class ClassFinding:
    """One class.

    Attributes:
        counts: photos and correct ones on every background, eligible or not.
        pick: what the rule says.
        naive: drop of the picked pair on the photos that picked it: never negative, too
            large by construction; its interval does not know that the pair was picked.
        cross: cross-fitted drop (see `crossfit`).
        p_value: permutation test; NaN when fewer than two backgrounds are
            eligible.
        q_value: Benjamini-Hochberg over the classes tested.
        splits: what every half picked; None when fewer than two backgrounds are
            eligible. Their backgrounds count among the eligible ones.
    """

    counts: ClassCounts
    pick: Pick
    naive: Estimate = UNDEFINED
    cross: Estimate = UNDEFINED
    p_value: float = float("nan")
    q_value: float = float("nan")
    splits: Splits | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """The dataset.

    Attributes:
        classes: one finding per class; `discover` sorts them by name.
        naive: mean naive drop over kept classes.
        cross: cross-fitted drop; the classes are kept by the halves that pick.
    """

    classes: tuple[ClassFinding, ...]
    naive: Estimate
    cross: Estimate


def votes(correct: NDArray[np.bool_], *, how: str = "mean") -> tuple[Ints, int]:
    """Votes of several models on each photo.

    Args:
        correct: (N, J) whether each of J models is right.
        how: "mean" counts every model, so accuracy is the mean over models; "majority"
            counts a photo as right when more than half of the models are.

    Returns: (N,) votes, and the number of voters they are out of.

    Raises:
        MetricError: no model, or another `how`.

    Example:
        >>> votes(np.array([[True, True, False]]), how="majority")
        (array([1]), 1)
    """
    if how not in ("mean", "majority") or correct.shape[1] == 0:
        message = f"votes are counted by mean or majority of some models, not {how!r}"
        raise MetricError(message)
    right = correct.sum(axis=1).astype(np.int64)
    if how == "mean":
        return right, correct.shape[1]
    return (2 * right > correct.shape[1]).astype(np.int64), 1


def discover(photos: Photos, rule: Rule, *, plan: Plan | None = None) -> Findings:
    """Find each class's common and counter background, and how real the drop is.

    The outcome does not depend on the order of the photos, and a class's numbers (its
    q-value apart) do not depend on other classes.

    Raises:
        MetricError: photo_ids repeat, or votes are out of range.
    """
    return judge(_by_class(photos), rule, plan=plan)


def judge(
    classes: Sequence[ClassCounts], rule: Rule, *, plan: Plan | None = None
) -> Findings:
    """Same as `discover`, of photos that are counted already; classes keep their order.

    Names of classes must differ: they seed the random numbers.
    """
    plan = plan or Plan()
    found = [_one(counts, rule, plan) for counts in classes]
    q_values = benjamini_hochberg(np.array([f.p_value for f in found]))
    found = [
        replace(finding, q_value=float(q))
        for finding, q in zip(found, q_values, strict=True)
    ]
    return Findings(
        tuple(found),
        naive=_naive_mean([f.naive for f in found if f.pick.kept], plan.level),
        cross=dataset_drop([f.splits for f in found if f.splits], level=plan.level),
    )


def _by_class(photos: Photos) -> list[ClassCounts]:
    """Counts of every class, classes sorted by name, photos by photo_id."""
    order = np.argsort(photos.photo_id, kind="stable")
    ids = photos.photo_id[order]
    if np.any(ids[1:] == ids[:-1]):
        message = "a photo_id is given twice"
        raise MetricError(message)
    names, of = np.unique(photos.classes[order], return_inverse=True)
    rows = np.split(
        order[np.argsort(of, kind="stable")], np.cumsum(np.bincount(of))[:-1]
    )
    return [
        count(
            str(name),
            photos.background[row],
            photos.cluster[row],
            photos.votes[row],
            voters=photos.voters,
        )
        for name, row in zip(names, rows, strict=True)
    ]


def _one(counts: ClassCounts, rule: Rule, plan: Plan) -> ClassFinding:
    """One class's finding, its q-value apart."""
    picked = pick(counts, rule)
    if picked.common < 0:
        return ClassFinding(counts, picked)
    able = counts.only(picked.eligible)
    halves = split(
        able,
        rule,
        splits=plan.splits,
        rng=stream(plan.seed, "halves", counts.name),
    )
    p_value = background_test(
        able,
        permutations=plan.permutations,
        rng=stream(plan.seed, "permutation", counts.name),
    )
    return ClassFinding(
        counts,
        picked,
        naive=_naive(counts, picked, plan.level),
        cross=class_drop(halves, level=plan.level),
        p_value=p_value,
        splits=halves,
    )


def _naive(counts: ClassCounts, picked: Pick, level: float) -> Estimate:
    """Drop on the photos that picked, with the interval of a pair fixed beforehand."""
    weights: Reals = np.zeros(len(counts.backgrounds))
    weights[picked.common] += 1
    weights[picked.counter] -= 1
    variance = float(np.einsum("b,bc,c->", weights, covariance(counts), weights))
    return _interval(picked.drop, 100 * max(variance, 0.0) ** 0.5, level)


def _naive_mean(drops: list[Estimate], level: float) -> Estimate:
    """Mean over kept classes, taking them as given."""
    if not drops:
        return UNDEFINED
    error = float(np.sum([d.error**2 for d in drops]) ** 0.5 / len(drops))
    return _interval(float(np.mean([d.drop for d in drops])), error, level)


def _interval(drop: float, error: float, level: float) -> Estimate:
    reach = NormalDist().inv_cdf(0.5 + level / 2) * error
    return Estimate(drop, max(drop - reach, -100.0), min(drop + reach, 100.0), error)
