"""All pairs of 64-bit codes within a Hamming radius: exact, not all against all.

`within`, `between` and `since` give every pair. Photos without content share codes,
and n equal codes are n (n - 1) / 2 pairs: `distinct` searches each code once and says
how many pairs there are before any is written out; `streamed` is for codes that do not
fit into memory.

How the search goes: `curation.duplicates._bands`; from about half a second of work on,
`curation.duplicates._pairs` does the same, compiled. What is found is the same.
"""

import functools
import importlib.util
import itertools
import logging
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curation.duplicates import _bands
from curation.duplicates._bands import Codes, Keys, Places, spans
from curation.duplicates._groups import LIMIT
from curation.duplicates._groups import Groups as Groups
from curation.duplicates._groups import groups as groups

log = logging.getLogger(__name__)
MOST = 1 << 22
"""Pairs written out at a time by `Distinct.pieces`, about 100 MB."""

_WORTH = 4e8  # nanoseconds by numpy from which the compiled search is loaded
_SAME = 0.6  # of the cost of two sets: one set is met from one side only


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs (left, right) of positions, ascending, with their distance in bits."""

    left: Places
    right: Places
    distance: Places

    def __len__(self) -> int:
        return len(self.left)


@dataclass(frozen=True, slots=True)
class Distinct:
    """Pairs of distinct codes, and the positions each of them stands for.

    Attributes:
        queries: groups of the left side.
        codes: groups of the right side; `queries` itself for one set with itself.
        pairs: of groups. One set with itself has each pair once, left before right, and
            none of a group with itself, though its members are pairs at distance 0.
    """

    queries: Groups
    codes: Groups
    pairs: Pairs

    @property
    def count(self) -> int:
        """Pairs of positions."""
        sizes = self.codes.sizes
        across = int(self.queries.sizes[self.pairs.left] @ sizes[self.pairs.right])
        return across + (int(sizes @ (sizes - 1)) // 2 if self._same else 0)

    def pieces(self, most: int = MOST) -> Iterator[Pairs]:
        """Pairs of positions, ordered by left, then right, some at a time.

        Args:
            most: pairs in a piece; more where one left position has more, for they stay
                together.
        """
        if not self._meeting:
            return
        left, right = self._both_ways()
        active, first, entries = np.unique(left, return_index=True, return_counts=True)
        weight = np.add.reduceat(self.codes.sizes[right], first)
        counts = self.queries.sizes[active]
        rows = self.queries.members[spans(self.queries.starts[active], counts)]
        which = np.repeat(np.arange(len(active)), counts)
        order = np.argsort(rows)
        rows, which = rows[order], which[order]
        before = np.cumsum(weight[which])
        begin = 0
        while begin < len(rows):
            done = int(before[begin - 1]) if begin else 0
            # 25 bits of a key say the row
            limit = done + min(most, 1 << 24)
            end = max(begin + 1, int(np.searchsorted(before, limit, "right")))
            chosen = which[begin:end]
            counts = entries[chosen]
            near = right[spans(first[chosen], counts)]
            found = self._written(rows[begin:end], active[chosen], near, counts)
            if len(found):
                yield found
            begin = end

    def all(self) -> Pairs:
        """Every pair of positions, ordered by left, then right."""
        if self._plain:
            return self.pairs
        count, at = self.count, 0
        left, right, distance = (np.empty(count, np.int64) for _ in range(3))
        for piece in self.pieces():
            part = slice(at, at + len(piece))
            left[part], right[part] = piece.left, piece.right
            distance[part] = piece.distance
            at += len(piece)
        return Pairs(left, right, distance)

    @property
    def _same(self) -> bool:
        return self.codes is self.queries

    @property
    def _plain(self) -> bool:
        """Whether groups are positions."""
        return all(
            len(side.values) == len(side.members) for side in (self.queries, self.codes)
        )

    @property
    def _meeting(self) -> bool:
        return bool(len(self.pairs)) or (self._same and not self._plain)

    def _both_ways(self) -> tuple[Places, Places]:
        """Pairs of groups as the left ones meet them, ordered."""
        left, right = self.pairs.left, self.pairs.right
        if not self._same:
            return left, right
        alone = np.flatnonzero(self.codes.sizes > 1)
        both = (
            np.concatenate([left, right, alone]),
            np.concatenate([right, left, alone]),
        )
        order = np.lexsort((both[1], both[0]))
        return both[0][order], both[1][order]

    def _written(
        self, rows: Places, groups: Places, near: Places, entries: Places
    ) -> Pairs:
        """Pairs of the positions `rows` with all members of the groups near theirs."""
        apart = np.bitwise_count(
            np.repeat(self.queries.values[groups], entries) ^ self.codes.values[near]
        )
        counts = self.codes.sizes[near]
        right = self.codes.members[spans(self.codes.starts[near], counts)]
        row = np.repeat(np.repeat(np.arange(len(rows)), entries), counts)
        distance = np.repeat(apart, counts)
        if self._same:
            later = right > rows[row]
            row, right, distance = row[later], right[later], distance[later]
        # sorting one number is several times as fast as sorting by two
        keys = (row << 39) | (right << 7) | distance
        keys.sort()
        return Pairs(rows[keys >> 39], (keys >> 7) & (LIMIT - 1), keys & 127)


def within(codes: Codes, *, radius: int) -> Pairs:
    """Every pair i < j of `codes` at most `radius` bits apart.

    Args:
        codes: (N,) uint64, N below 2³².
        radius: 0 to 64, bits.

    Returns: each pair once, ordered by i, then j.

    Raises: ValueError, InputError: as `distinct`.

    Example:
        >>> within(np.array([0, 255, 1], np.uint64), radius=1).right
        array([2])
    """
    return distinct(codes, radius=radius).all()


def between(queries: Codes, codes: Codes, *, radius: int) -> Pairs:
    """Every pair of a query and a code at most `radius` bits apart.

    Args:
        queries: (Q,) uint64, Q below 2³².
        codes: (N,) uint64, N below 2³².
        radius: 0 to 64, bits.

    Returns: positions in `queries` (left) and in `codes` (right), each pair once,
        ordered by left, then right.

    Raises: ValueError, InputError: as `distinct`.
    """
    return distinct(queries, codes, radius=radius).all()


def since(codes: Codes, start: int, *, radius: int) -> Pairs:
    """The pairs of `within` whose right position is `start` or later.

    Those are the pairs that codes added from `start` on bring; no pair of older codes
    is searched for again.

    Args:
        codes: (N,) uint64, N below 2³²; the new ones last.
        start: 0 to N, the first new one.
        radius: 0 to 64, bits.

    Returns: each pair once, ordered by left, then right.

    Raises: ValueError, InputError: as `distinct`.

    Example:
        >>> since(np.array([0, 1, 3], np.uint64), 2, radius=1).left
        array([1])
    """
    old = between(codes[:start], codes[start:], radius=radius)
    new = within(codes[start:], radius=radius)
    return Pairs(
        np.concatenate([old.left, new.left + start]),
        np.concatenate([old.right, new.right]) + start,
        np.concatenate([old.distance, new.distance]),
    )


def distinct(
    queries: Codes | Groups, codes: Codes | Groups | None = None, *, radius: int
) -> Distinct:
    """Pairs of distinct codes at most `radius` bits apart; equal codes are one.

    Args:
        queries: (Q,) uint64, or their groups.
        codes: (N,) uint64, or their groups; None: the queries with themselves.
        radius: 0 to 64, bits.

    Returns: as few pairs as there can be; `all()` and `pieces()` write them out.

    Raises:
        ValueError: too many codes, or another radius.
        InputError: more than 2²⁸ pairs of distinct codes.

    Example:
        >>> found = distinct(np.array([5, 5, 4, 5], np.uint64), radius=1)
        >>> len(found.pairs), found.count, found.all().right
        (1, 6, array([1, 2, 3, 2, 3, 3]))
    """
    if not 0 <= radius <= _bands.BITS:
        text = f"a radius of {radius} bits, not of 0 to {_bands.BITS}"
        raise ValueError(text)
    left = queries if isinstance(queries, Groups) else groups(queries)
    right = left
    if codes is not None:
        right = codes if isinstance(codes, Groups) else groups(codes)
    keys = _search(left.values, right.values, radius, same=codes is None)
    low = (keys >> _bands.HALF).view(np.int64)
    keys &= _bands.LOW
    high = keys.view(np.int64)
    apart = np.empty(len(keys), np.int64)
    for at in range(0, len(keys), MOST):
        part = slice(at, at + MOST)
        bits = left.values[low[part]] ^ right.values[high[part]]
        apart[part] = np.bitwise_count(bits)
    return Distinct(left, right, Pairs(low, high, apart))


def streamed(
    parts: Iterable[Codes | Path], *, radius: int, start: int = 0, most: int = MOST
) -> Iterator[Pairs]:
    """Pairs of codes that do not fit into memory, part with part.

    Memory is that of two parts, the search in them and `most` pairs. Parts that come
    from anything but a sequence are kept in a temporary file until the last.

    Args:
        parts: (N,) uint64 each, or `.npy` files of such; their positions count on from
            part to part.
        radius: 0 to 64, bits.
        start: only pairs whose right position is this or later, as `since`.
        most: pairs at a time, about.

    Returns: each pair once. The right part ascends, for each of them the left part up
        to itself, and in these pairs are ordered by left, then right.

    Raises: ValueError: a part has too many codes, or another radius.

    Example:
        >>> parts = [np.array([0, 8], np.uint64), np.array([1], np.uint64)]
        >>> [(p.left.tolist(), p.right.tolist()) for p in streamed(parts, radius=1)]
        [([0], [1]), ([0], [2])]
    """
    with tempfile.TemporaryDirectory(prefix="counterset-") as folder:
        kept: list[tuple[int, Codes | Path]] = []
        begin = 0
        for number, part in enumerate(parts):
            codes = _opened(part)
            fresh = min(max(0, start - begin), len(codes))
            if fresh < len(codes):
                new, old = groups(codes[fresh:]), [(begin, codes[:fresh])]
                for at, other in itertools.chain(kept, old):
                    found = distinct(_opened(other), new, radius=radius)
                    yield from _moved(found.pieces(most), at, begin + fresh)
                found = distinct(new, radius=radius)
                yield from _moved(found.pieces(most), begin + fresh, begin + fresh)
            if not isinstance(parts, Sequence) and not isinstance(part, Path):
                part = Path(folder, f"{number}.npy")
                np.save(part, codes)
            kept.append((begin, part))
            begin += len(codes)


def _opened(part: Codes | Path) -> Codes:
    found: Codes = np.load(part, mmap_mode="r") if isinstance(part, Path) else part
    return found


def _moved(found: Iterable[Pairs], left: int, right: int) -> Iterator[Pairs]:
    return (Pairs(one.left + left, one.right + right, one.distance) for one in found)


def _search(queries: Codes, codes: Codes, radius: int, *, same: bool) -> Keys:
    """Keys of the pairs of distinct codes, by whichever way is sooner."""
    if not len(queries) or not len(codes):
        return np.empty(0, np.uint64)
    plan = _bands.plan(len(queries), len(codes), radius, _bands.NUMPY, _bands.SCAN)
    if plan.cost * (_SAME if same else 1.0) > _WORTH and _compiles():
        from curation.duplicates import _pairs

        return _pairs.search(queries, codes, radius, same=same)
    return _bands.search(queries, codes, radius, same=same)


@functools.cache
def _compiles() -> bool:
    """Whether numba is there and works; the compiler may fail in many ways."""
    if importlib.util.find_spec("numba") is None:
        return False
    try:
        from curation.duplicates import _pairs

        one = np.zeros(1, np.uint64)
        return len(_pairs.search(one, one, 0, same=False)) == 1
    except Exception as error:
        log.warning("numba cannot be used, pairs take longer: %s", error)
        return False
