"""Which hashes of some photos are near which of others, without writing all pairs out.

Equal hashes are searched once (`pairs.distinct`), and the pairs of some photos are
written out when they are asked for: a crowd of copies has more pairs than fit.
"""

import numpy as np
from numpy.typing import NDArray

from curation.duplicates import pairs
from curation.duplicates._bands import spans

Places = NDArray[np.int64]


class Links:
    """Which upright photos are near which entries (variants or windows), both ways."""

    def __init__(
        self, entries: NDArray[np.uint64], upright: NDArray[np.uint64], *, radius: int
    ) -> None:
        """Search.

        Args:
            entries: (Q, K) hashes, K of each photo.
            upright: (U,) hashes.
            radius: bits.
        """
        found = pairs.distinct(
            entries.reshape(-1), np.ascontiguousarray(upright), radius=radius
        )
        self._width = entries.shape[1]
        self._entries, self._upright = found.queries, found.codes
        self._of_entry = self._entries.of.reshape(entries.shape)
        self._of_upright = self._upright.of
        self._left, self._right = found.pairs.left, found.pairs.right
        self._apart = found.pairs.distance.astype(np.uint8)
        self._by_right = np.argsort(self._right, kind="stable")
        self._left_starts = _starts(self._left, len(self._entries.values))
        right = self._right[self._by_right]
        self._right_starts = _starts(right, len(self._upright.values))

    def forward_counts(self) -> Places:
        """(Q,) how many pairs `forward` gives for each photo."""
        sums = _summed(self._upright.sizes[self._right], self._left_starts)
        return np.asarray(sums[self._of_entry].sum(axis=1))

    def backward_counts(self) -> Places:
        """(U,) how many pairs `backward` gives for each photo."""
        sizes = self._entries.sizes[self._left[self._by_right]]
        return np.asarray(_summed(sizes, self._right_starts)[self._of_upright])

    def forward(self, rows: Places) -> tuple[Places, Places, Places, Places]:
        """Upright photos near the entries of some photos.

        Returns: for each pair the photo, the upright photo, which entry, and the bits.
        """
        groups = self._of_entry[rows].reshape(-1)
        first = self._left_starts[groups]
        counts = self._left_starts[groups + 1] - first
        pair = spans(first, counts)
        entry = np.repeat(np.arange(len(groups)), counts)
        near = self._right[pair]
        sizes = self._upright.sizes[near]
        other = self._upright.members[spans(self._upright.starts[near], sizes)]
        owner, which = np.divmod(np.repeat(entry, sizes), self._width)
        apart = np.repeat(self._apart[pair], sizes).astype(np.int64)
        return rows[owner], other, which, apart

    def backward(self, rows: Places) -> tuple[Places, Places, Places, Places]:
        """Photos whose entries are near some upright photos.

        Returns: for each pair the upright photo, the photo, which of its entries, and
            the bits.
        """
        groups = self._of_upright[rows]
        first = self._right_starts[groups]
        counts = self._right_starts[groups + 1] - first
        pair = self._by_right[spans(first, counts)]
        row = np.repeat(rows, counts)
        near = self._left[pair]
        sizes = self._entries.sizes[near]
        entry = self._entries.members[spans(self._entries.starts[near], sizes)]
        owner, which = np.divmod(entry, self._width)
        apart = np.repeat(self._apart[pair], sizes).astype(np.int64)
        return np.repeat(row, sizes), owner, which, apart


def _starts(ordered: Places, count: int) -> Places:
    """Where each of the numbers 0 to `count` begins."""
    return np.searchsorted(ordered, np.arange(count + 1))


def _summed(values: Places, starts: Places) -> Places:
    """Sum of each stretch of values."""
    total = np.concatenate([[0], np.cumsum(values)])
    return np.asarray(total[starts[1:]] - total[starts[:-1]])
