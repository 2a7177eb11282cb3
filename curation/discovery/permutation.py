"""Does accuracy depend on the background? A permutation test per class."""

import numpy as np

from curation.discovery.cells import TOLERANCE, ClassCounts, Ints, Reals


def background_test(
    counts: ClassCounts, *, permutations: int, rng: np.random.Generator
) -> float:
    """p-value of the variation of accuracy between backgrounds.

    The statistic is the sum of squares between backgrounds, sum_b n_b (a_b - a)^2 with
    n photos and accuracy a. It weighs a background by its photos; the range, highest
    minus lowest, which picks the groups, would be ruled by the smallest background.

    Backgrounds are shuffled among the class's clusters, as many clusters on each as
    before; what a cluster has on two backgrounds is shuffled as two. Exact when
    clusters are alike in distribution on every background, which is what "the model
    does not look at backgrounds" means. Clusters of equal size and votes are
    interchangeable, so a shuffle is drawn as a few hypergeometric numbers.

    Args:
        counts: the class on its eligible backgrounds only, at least two.
        permutations: B, number of shuffles.
        rng: source of randomness.

    Returns: (1 + shuffles that vary at least as much) / (1 + B), in (0, 1].
    Source: Phipson and Smyth 2010, "Permutation p-values should never be zero".
    """
    cluster, background = np.nonzero(counts.photos)
    blocks = np.stack(
        [counts.photos[cluster, background], counts.votes[cluster, background]], axis=1
    )
    kinds, number = np.unique(blocks, axis=0, return_counts=True)
    room = np.bincount(background, minlength=len(counts.backgrounds))
    shuffled = _variation(*_deal(kinds, number, room=room, times=permutations, rng=rng))
    observed = _variation(counts.n[None, :], counts.votes.sum(axis=0)[None, :])
    # equal sums of equal fractions may differ in the last bits
    as_much = shuffled >= observed * (1 - TOLERANCE)
    return float((1 + as_much.sum()) / (1 + permutations))


def benjamini_hochberg(p_values: Reals) -> Reals:
    """q-values: the false discovery rate at which each test would be significant.

    Args:
        p_values: (C,) p-values in (0, 1]; NaN where a class was not tested, which stays
            NaN and does not count.
    Source: Benjamini and Hochberg 1995.

    Example:
        >>> benjamini_hochberg(np.array([0.01, 0.04, np.nan, 0.03])).round(3).tolist()
        [0.03, 0.04, nan, 0.04]
    """
    result = np.full(len(p_values), np.nan)
    tested = np.flatnonzero(np.isfinite(p_values))
    order = tested[np.argsort(p_values[tested], kind="stable")]
    rank = np.arange(1, len(order) + 1)
    scaled = p_values[order] * len(order) / rank
    smallest = np.minimum.accumulate(scaled[::-1])[::-1]
    # p * C / rank may fall below p in the last bit
    result[order] = np.maximum(smallest, p_values[order])
    return result


def _deal(
    kinds: Ints, number: Ints, *, room: Ints, times: int, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """Deal blocks to backgrounds at random, many times.

    Args:
        kinds: (K, 2) photos and votes of each kind of block.
        number: (K,) blocks of each kind.
        room: (M,) blocks each background takes; as many as there are blocks.
        times: B, how often to deal.
        rng: source of randomness.

    Returns: (B, M) photos and (B, M) votes on each background.
    """
    left = np.tile(room, (times, 1))
    photos: Ints = np.zeros((times, len(room)), np.int64)
    votes: Ints = np.zeros_like(photos)
    for kind in range(len(kinds)):
        if kind == len(kinds) - 1:
            dealt = left
        else:
            dealt = np.zeros_like(left)
            hand: Ints = np.full(times, number[kind])
            beyond = left.sum(axis=1)
            for place in range(len(room) - 1):
                beyond = beyond - left[:, place]
                dealt[:, place] = rng.hypergeometric(left[:, place], beyond, hand)
                hand = hand - dealt[:, place]
            dealt[:, -1] = hand
            left = left - dealt
        photos += dealt * kinds[kind, 0]
        votes += dealt * kinds[kind, 1]
    return photos, votes


def _variation(photos: Ints, votes: Ints) -> Reals:
    """(B,) sum of squares between backgrounds, but for what all shuffles share."""
    return np.asarray((votes**2 / photos).sum(axis=1))
