"""The cross-fitted drop: picked on one half of the photos, measured on the other.

What is estimated
    For a class, the *true* drop (accuracy on the pair's common background minus that on
    its counter background, in the population the photos come from) of the pair that the
    rule picks from half of the photos, averaged over the halves drawn. For the dataset,
    the same averaged over the classes that the half keeps: keeping is cross-fitted too,
    since a class is kept because its drop looks large.
    It is 0 for a model that does not look at backgrounds. Where half of the photos
    suffice to find the pair and to keep the class, it is the true drop of the released
    pairs; where they do not, it is the smaller of the two, because half of the photos
    pick less well than all (`benchmarks/discovery_worlds.py` prints both).

Why it is unbiased
    Given the half A that picks, the pair is fixed and half B is independent of it, so
    the difference measured on B has the true drop of that pair as its mean. Averaging
    over halvings and over both directions keeps that.

Its variance
    The repeated splits share photos, so their spread is no standard error. Write x for
    the accuracies (M backgrounds, covariance V), e for the noise that halving adds, so
    that A shows x + e and B shows x - e, and w(A) for the weights of the rule (+1
    common, -1 counter, 0 otherwise; for the dataset divided by the number of classes
    kept). The estimate is E_e[w(x+e)'(x-e)]. With f(x) = E_e[w(x+e)] and Stein's
    lemma, its error is
        f(x)'(x - mu) - trace(V Df(x)),
    and the second-order Stein formula gives the mean of its square:
        E[f'Vf + trace((Df V)^2)].
    e has covariance V too, so Df V is the covariance, over the splits, of w(A) and A's
    accuracies: both terms are read off the splits that were drawn. The first term alone
    is too small where the rule is undecided, since there the photos decide the pair as
    well. What one class does to another's weight, through the number of classes kept,
    is small and left out; worlds of few classes in the benchmark show how small.
    Source: Bellec and Zhang, "Second-order Stein", Annals of Statistics 49 (2021), for
    the formula; arXiv 2403.11497 section 2 for the rule.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from curation.discovery.cells import (
    TOLERANCE,
    ClassCounts,
    Flags,
    Ints,
    Reals,
    Rule,
    covariance,
    highest_lowest,
)
from curation.discovery.halves import halves


@dataclass(frozen=True, slots=True)
class Estimate:
    """A drop with its interval, in points; NaN throughout when undefined."""

    drop: float
    low: float
    high: float
    error: float

    @property
    def defined(self) -> bool:
        """Whether there is a number."""
        return bool(np.isfinite(self.drop))


UNDEFINED = Estimate(*[float("nan")] * 4)


@dataclass(frozen=True, slots=True)
class Splits:
    """What one class did on every half; rows S and up are the halves swapped.

    Attributes:
        valid: (2S,) both halves have at least two backgrounds in common.
        common, counter: (2S,) backgrounds picked on the picking half.
        kept: (2S,) the picking half keeps the class.
        measured: (2S,) drop on the other half as a fraction; 0 where not valid.
        picking: (2S, M) accuracies on the picking half, 0-1.
        covariance: (M, M) of the accuracies on all photos.
    """

    valid: Flags
    common: Ints
    counter: Ints
    kept: Flags
    measured: Reals
    picking: Reals
    covariance: Reals

    def weights(self, scale: Reals) -> Reals:
        """(2S, M) weights of the accuracies on the measuring half."""
        rows = np.arange(len(scale))
        result = np.zeros(self.picking.shape)
        result[rows, self.common] += scale
        result[rows, self.counter] -= scale
        return result


def split(
    counts: ClassCounts, rule: Rule, *, splits: int, rng: np.random.Generator
) -> Splits:
    """Halve one class many times; pick on each half, measure on the other.

    Args:
        counts: the class on its eligible backgrounds only, at least two.
        rule: the rule; its `min_photos` was applied to all photos already.
        splits: S, number of halvings.
        rng: source of randomness.
    """
    first = halves(counts.photos, splits, rng=rng).astype(np.float64)
    # whole numbers in float64 stay exact, whatever order they are added in
    photos_first = first @ counts.photos
    votes_first = first @ counts.votes
    photos = np.concatenate([photos_first, counts.n - photos_first])
    votes = np.concatenate([votes_first, counts.votes.sum(axis=0) - votes_first])
    other = np.roll(photos, splits, axis=0)
    usable = (photos > 0) & (other > 0)
    accuracy = votes / np.maximum(photos * counts.voters, 1)
    common, counter = highest_lowest(accuracy, usable)
    rows = np.arange(2 * splits)
    seen = 100.0 * (accuracy[rows, common] - accuracy[rows, counter])
    valid = usable.sum(axis=1) >= 2
    there = np.roll(accuracy, splits, axis=0)
    measured = np.where(valid, there[rows, common] - there[rows, counter], 0.0)
    return Splits(
        valid=valid,
        common=common,
        counter=counter,
        kept=valid & (seen > rule.min_drop_points + TOLERANCE),
        measured=measured,
        picking=accuracy,
        covariance=covariance(counts),
    )


def class_drop(splits: Splits, *, level: float = 0.95) -> Estimate:
    """Cross-fitted drop of one class, whether it is kept or not.

    Not conditioned on being kept: that would select the very photos it is measured on.
    """
    return _estimate([splits], splits.valid[None, :], level)


def dataset_drop(classes: list[Splits], *, level: float = 0.95) -> Estimate:
    """Cross-fitted drop of the dataset: mean over the classes each half keeps.

    Undefined when no half keeps a class.
    """
    if not classes:
        return UNDEFINED
    return _estimate(classes, np.stack([c.kept for c in classes]), level)


def _estimate(classes: list[Splits], chosen: Flags, level: float) -> Estimate:
    """Mean over halves of the mean drop over chosen classes, with its interval.

    Args:
        classes: C classes.
        chosen: (C, 2S) whether the class counts on that half.
        level: level of the interval.
    """
    number = chosen.sum(axis=0)
    counted = number > 0
    if not counted.any():
        return UNDEFINED
    share = chosen / np.maximum(number, 1) / counted.mean()
    drops = np.zeros(len(number))
    variance = 0.0
    for one, scale in zip(classes, share, strict=True):
        drops += scale * one.measured
        weights = one.weights(scale)
        mean = weights.mean(axis=0)
        variance += float(np.einsum("b,bc,c->", mean, one.covariance, mean))
        centred = one.picking - one.picking.mean(axis=0)
        moved = np.einsum("sb,sc->bc", weights - mean, centred) / len(scale)
        variance += float((moved * moved.T).sum())
    drop = float(drops.mean())
    # the two directions of one halving are one draw
    pairs = drops.reshape(2, -1).mean(axis=0)
    variance = max(variance, 0.0) + float(pairs.var()) / len(pairs)
    error = variance**0.5
    reach = NormalDist().inv_cdf(0.5 + level / 2) * error
    return Estimate(
        drop=100 * drop,
        low=max(100 * drop - 100 * reach, -100.0),
        high=min(100 * drop + 100 * reach, 100.0),
        error=100 * error,
    )
