"""Random halves of one class, balanced on every background, clusters kept whole."""

import numpy as np

from curation.discovery.cells import Flags, Ints


def halves(photos: Ints, splits: int, *, rng: np.random.Generator) -> Flags:
    """Halve the clusters of one class many times.

    Clusters are sorted by the background most of their photos lie on and by size, in
    random order among equals; neighbours are then parted by a coin. So every background
    is halved as evenly as its clusters allow: to within one photo when each cluster is
    one photo. An odd cluster out goes either way.

    Args:
        photos: (U, M) photos of each cluster on each background.
        splits: S, how often to halve.
        rng: source of randomness.

    Returns: (S, U) True where the cluster lies in the first half.
    """
    clusters = len(photos)
    home = photos.argmax(axis=1)
    order = np.lexsort((photos.sum(axis=1), home))
    alike = np.zeros(clusters, np.int64)
    changed = np.any(photos[order][1:] != photos[order][:-1], axis=1)
    alike[1:] = np.cumsum(changed)
    # random order among equals: the whole part never mixes, the fraction shuffles
    shuffled = np.argsort(alike + rng.random((splits, clusters)), axis=1)
    first = _coins(home[order], splits, rng)
    result = np.empty((splits, clusters), bool)
    np.put_along_axis(result, order[shuffled], first, axis=1)
    return result


def _coins(home: Ints, splits: int, rng: np.random.Generator) -> Flags:
    """(S, U) sides by place: places 2i and 2i+1 of a background get opposite sides."""
    starts = np.searchsorted(home, home)
    place = np.arange(len(home)) - starts
    pair = starts + place // 2 * 2
    coin = rng.integers(0, 2, (splits, len(home)), dtype=np.int8)
    side: Flags = (coin[:, pair] ^ (place % 2).astype(np.int8)).astype(bool)
    return side
