"""Which hashes of some photos are near which others, without writing all pairs out.

Equal hashes are searched once (`pairs.distinct`), and the pairs of some photos are
written out when they are asked for: a crowd of copies has more pairs than fit. Photos
are searched some at a time, and of those that are near nothing no trace is kept.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from curation.duplicates import _bands, pairs
from curation.duplicates._bands import spans

PART = 1 << 20
"""Entries searched at a time: memory hangs on it, not the answer."""

Places = NDArray[np.int64]
Small = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class _Near:
    """Distinct entries that are near an upright photo.

    Attributes:
        members: places of entries, group by group.
        starts: (G + 1,) where each group begins in `members`.
        counts: (G,) pairs of each group.
        right: of each pair, group by group, the group of upright photos.
        apart: bits of each pair.
    """

    members: Places
    starts: Places
    counts: Places
    right: Small
    apart: NDArray[np.uint8]

    @classmethod
    def of(cls, found: pairs.Distinct, at: int) -> Self:
        """What a search found, from entry `at` on."""
        pair = found.pairs
        new = np.diff(pair.left, prepend=-1) != 0
        groups, counts = pair.left[new], np.diff(np.flatnonzero(new), append=len(new))
        begin = found.queries.starts[groups]
        sizes = found.queries.starts[groups + 1] - begin
        return cls(
            members=found.queries.members[spans(begin, sizes)] + at,
            starts=np.concatenate([[0], np.cumsum(sizes)]),
            counts=counts,
            right=pair.right.astype(np.uint32),
            apart=pair.distance.astype(np.uint8),
        )

    @classmethod
    def joined(cls, parts: list[Self]) -> Self:
        """All of them, in this order."""
        sizes = [np.diff(part.starts) for part in parts]
        return cls(
            members=np.concatenate([part.members for part in parts]),
            starts=np.concatenate([[0], np.cumsum(np.concatenate(sizes))]),
            counts=np.concatenate([part.counts for part in parts]),
            right=np.concatenate([part.right for part in parts]),
            apart=np.concatenate([part.apart for part in parts]),
        )


class Links:
    """Which upright photos are near which entries (variants or windows), both ways."""

    def __init__(
        self, entries: NDArray[np.uint64], upright: pairs.Groups, *, radius: int
    ) -> None:
        """Search.

        Args:
            entries: (Q, K) hashes, K of each photo.
            upright: hashes of U photos.
            radius: bits.

        Raises: InputError: more pairs than fit.
        """
        self._photos, self._width = entries.shape
        step = max(1, PART // self._width)
        parts, count = [], 0
        for at in range(0, max(self._photos, 1), step):
            some = entries[at : at + step].reshape(-1)
            found = pairs.distinct(some, upright, radius=radius)
            count += len(found.pairs)
            if count > _bands.ROOM:
                raise _bands.too_many(radius)
            parts.append(_Near.of(found, at * self._width))
        near = _Near.joined(parts)
        self._members, self._starts = near.members, near.starts
        self._right, self._apart = near.right, near.apart
        self._pairs = np.concatenate([[0], np.cumsum(near.counts)])
        self._sizes = np.diff(self._starts)
        # entries in order, to find those of a photo
        order = np.argsort(self._members)
        self._entries = self._members[order]
        groups = np.arange(len(self._sizes), dtype=np.uint32)
        self._of_entry = groups.repeat(self._sizes)[order]
        # pairs by the upright photo
        order = np.argsort(self._right, kind="stable")
        self._back = self._right[order]
        self._left = groups.repeat(near.counts)[order]
        self._back_apart = self._apart[order]
        self._upright, self._upright_sizes = upright, upright.sizes
        self._of_upright = upright.of

    def forward_counts(self) -> Places:
        """(Q,) how many pairs `forward` gives for each photo."""
        total = np.concatenate([[0], np.cumsum(self._upright_sizes[self._right])])
        each = np.diff(total[self._pairs])[self._of_entry]
        return _summed(self._entries // self._width, each, self._photos)

    def backward_counts(self) -> Places:
        """(U,) how many pairs `backward` gives for each photo."""
        sizes = self._sizes[self._left]
        sums = _summed(self._back, sizes, len(self._upright_sizes))
        return sums[self._of_upright]

    def forward(self, rows: Places) -> tuple[Places, Places, Places, Places]:
        """Upright photos near the entries of some photos.

        Returns: for each pair the photo, the upright photo, which entry, and the bits.
        """
        first = np.searchsorted(self._entries, rows * self._width)
        last = np.searchsorted(self._entries, (rows + 1) * self._width)
        there = spans(first, last - first)
        groups = self._of_entry[there]
        first = self._pairs[groups]
        counts = self._pairs[groups + 1] - first
        pair = spans(first, counts)
        near = self._right[pair]
        sizes = self._upright_sizes[near]
        other = self._upright.members[spans(self._upright.starts[near], sizes)]
        entry = np.repeat(np.repeat(self._entries[there], counts), sizes)
        owner, which = np.divmod(entry, self._width)
        return owner, other, which, np.repeat(self._apart[pair], sizes).astype(np.int64)

    def backward(self, rows: Places) -> tuple[Places, Places, Places, Places]:
        """Photos whose entries are near some upright photos.

        Returns: for each pair the upright photo, the photo, which of its entries, and
            the bits.
        """
        groups = self._of_upright[rows].astype(np.uint32)
        first = np.searchsorted(self._back, groups)
        counts = np.searchsorted(self._back, groups, side="right") - first
        pair = spans(first, counts)
        left = self._left[pair]
        sizes = self._sizes[left]
        owner, which = np.divmod(
            self._members[spans(self._starts[left], sizes)], self._width
        )
        one = np.repeat(np.repeat(rows, counts), sizes)
        apart = np.repeat(self._back_apart[pair], sizes).astype(np.int64)
        return one, owner, which, apart


def _summed(places: NDArray[np.integer], values: Places, count: int) -> Places:
    """(count,) sums of the values at each place: whole numbers below 2**53."""
    return np.bincount(places, values, count).astype(np.int64)
