"""Photos one person took of one animal in a row: alike, though no copies.

They are not merged, for each shows something of its own. But they are not independent
either: what a model makes of one it makes of the others. So they stay on one side when
photos are halved, and count as one in intervals.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from curation.duplicates import neighbours
from curation.duplicates.neighbours import Vectors

_BLOCK = 256  # photos of a burst whose neighbours are looked for at a time


def bursts(
    ids: Sequence[str],
    taken: Sequence[tuple[str | None, str | None]],
    vectors: Vectors,
    *,
    least: float,
) -> list[dict[str, object]]:
    """Photos of the same observer and day that are near in embedding.

    Args:
        ids: N photos, in the order of the keeper policy.
        taken: observer and day of each; null where not known, and then it is in no
            burst.
        vectors: (N, D) float32 of unit length.
        least: cosine from which two photos are of one burst; a burst is all that is
            linked by such pairs.

    Returns: a row of `duplicates` with decision "burst" for each photo but the first of
        its burst, which stands in `keeper`.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for place, (observer, day) in enumerate(taken):
        if observer and day:
            groups.setdefault((observer, day), []).append(place)
    rows: list[dict[str, object]] = []
    for members in groups.values():
        if len(members) == 1:
            continue
        own = vectors[members]
        first = linked(own, least=least)
        cosine = neighbours.cosines(own, own[first]).tolist()
        for nth, place in enumerate(members):
            if first[nth] != nth:
                rows.append(
                    {
                        "photo_id": ids[place],
                        "keeper": ids[members[first[nth]]],
                        "decision": "burst",
                        "reason": "embedding",
                        "distance": max(0.0, round(1 - cosine[nth], 6)),
                        "cosine": cosine[nth],
                    }
                )
    return rows


def linked(vectors: Vectors, *, least: float) -> NDArray[np.int64]:
    """First of all vectors that each is linked to, directly or through others.

    Args:
        vectors: (N, D) of unit length.
        least: cosine of a link.

    Example:
        >>> corner = np.array([[1, 0], [0.8, 0.6], [0.28, 0.96], [-1, 0]], np.float32)
        >>> linked(corner, least=0.75).tolist()
        [0, 0, 0, 3]
    """
    first = np.full(len(vectors), -1, np.int64)
    for start in range(len(vectors)):
        if first[start] >= 0:
            continue
        first[start] = start
        waiting = [start]
        while waiting:
            some, waiting = waiting[:_BLOCK], waiting[_BLOCK:]
            free = np.flatnonzero(first < 0)
            near = (vectors[free] @ vectors[some].T >= least).any(axis=1)
            first[free[near]] = start
            waiting += free[near].tolist()
    return first
