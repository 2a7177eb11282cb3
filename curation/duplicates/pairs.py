"""All pairs of 64-bit codes within a Hamming radius: exact, not all against all.

Codes are cut into bands. If the thresholds t of the bands satisfy sum(t + 1) > radius,
two codes within the radius agree within t bits in at least one band (pigeonhole), so it
is enough to look up, per band, every value within t bits of the query's. This is the
multi-index hashing of Norouzi, Punjani and Fleet 2012 (arXiv:1307.2982).
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint64]

_CHUNK = 1 << 16  # queries at a time: their temporaries stay in the cache
_SCAN = 1 << 22  # query-code pairs compared at a time when scanning
_WIDEST = 22  # bits of a band; its table has 2**bits places
_MOST = 16  # bands


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs (left, right) of positions, ascending, with their distance in bits."""

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    distance: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.left)


def within(codes: Codes, *, radius: int) -> Pairs:
    """Every pair i < j of `codes` at most `radius` bits apart.

    Args:
        codes: (N,) uint64.
        radius: 0 to 64, bits.

    Returns: each pair once, ordered by i, then j.

    Example:
        >>> within(np.array([0, 255, 1], np.uint64), radius=1).right
        array([2])
    """
    found = between(codes, codes, radius=radius)
    keep = found.left < found.right
    return Pairs(found.left[keep], found.right[keep], found.distance[keep])


def between(queries: Codes, codes: Codes, *, radius: int) -> Pairs:
    """Every pair of a query and a code at most `radius` bits apart.

    Args:
        queries: (Q,) uint64.
        codes: (N,) uint64; where one set is smaller, time and memory are best when this
            is the smaller one.
        radius: 0 to 64, bits.

    Returns: positions in `queries` (left) and in `codes` (right), each pair once,
        ordered by left, then right.
    """
    queries = np.ascontiguousarray(queries, dtype=np.uint64)
    codes = np.ascontiguousarray(codes, dtype=np.uint64)
    if not len(queries) or not len(codes):
        none = np.empty(0, np.int64)
        return Pairs(none, none, none)
    widths, thresholds = _plan(len(queries), len(codes), radius)
    if not widths:
        return _tidy(_scan(queries, codes, radius), len(codes))
    found: list[NDArray[np.int64]] = []
    banded_codes, banded_queries = _bands(codes, widths), _bands(queries, widths)
    for code, query, width, threshold in zip(
        banded_codes, banded_queries, widths, thresholds, strict=True
    ):
        if threshold >= 0:
            band = width, threshold
            found += _look_up(queries, query, codes, code, band, radius)
    return _tidy(found, len(codes))


def _plan(queries: int, codes: int, radius: int) -> tuple[list[int], list[int]]:
    """Widths and thresholds of the bands that cost least; no bands: compare all."""
    best = float(codes)
    plan: tuple[list[int], list[int]] = ([], [])
    for bands in range(math.ceil(64 / _WIDEST), _MOST + 1):
        widths = [64 // bands + (band < 64 % bands) for band in range(bands)]
        spare, left = divmod(radius + 1, bands)
        # -1 for a band that the pigeonhole does not need
        thresholds = [spare - 1 + (band < left) for band in range(bands)]
        # per query, in comparisons of two codes: look-ups, buckets, the table's share
        cost = sum(
            sum(math.comb(width, bits) for bits in range(threshold + 1))
            * (1 + 2 * codes / 2**width)
            + 2**width / queries
            for width, threshold in zip(widths, thresholds, strict=True)
            if threshold >= 0
        )
        if cost < best:
            best, plan = cost, (widths, thresholds)
    return plan


def _bands(codes: Codes, widths: list[int]) -> list[NDArray[np.int64]]:
    """Value of each band; neighbouring bits go to different bands.

    Neighbouring bits of an image hash are alike; a band of like bits has few values.
    """
    bits = np.unpackbits(codes.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1)
    values: list[NDArray[np.int64]] = []
    for band, width in enumerate(widths):
        chosen = bits[:, band :: len(widths)]
        powers = (1 << np.arange(width, dtype=np.int64))[::-1]
        value = np.zeros(len(codes), np.int64)
        for column, power in zip(chosen.T, powers, strict=True):
            value += column * power
        values.append(value)
    return values


def _look_up(
    queries: Codes,
    query_bands: NDArray[np.int64],
    codes: Codes,
    code_bands: NDArray[np.int64],
    band: tuple[int, int],
    radius: int,
) -> list[NDArray[np.int64]]:
    """Pairs whose values in this band are within its threshold, as (2, n) arrays."""
    width, threshold = band
    order = np.argsort(code_bands, kind="stable")
    starts = np.zeros(2**width + 1, np.int64)
    np.cumsum(np.bincount(code_bands, minlength=2**width), out=starts[1:])
    ordered = codes[order]
    masks = [
        sum(1 << bit for bit in chosen)
        for bits in range(threshold + 1)
        for chosen in itertools.combinations(range(width), bits)
    ]
    by_band = np.argsort(query_bands, kind="stable")
    found = []
    for at in range(0, len(queries), _CHUNK):
        rows = by_band[at : at + _CHUNK]
        values, keys = queries[rows], query_bands[rows]
        for mask in masks:
            near = keys ^ mask
            first = starts[near]
            counts = starts[near + 1] - first
            for part in _parts(counts):
                found.append(
                    _compare(
                        (rows[part], values[part], first[part], counts[part]),
                        (order, ordered),
                        radius,
                    )
                )
    return [pairs for pairs in found if pairs.size]


def _parts(counts: NDArray[np.int64]) -> list[slice]:
    """Cut so that no part has many more candidates than the scan's block."""
    total = np.cumsum(counts)
    if not len(total) or total[-1] <= _SCAN:
        return [slice(0, len(counts))]
    edges = np.searchsorted(total, np.arange(_SCAN, total[-1], _SCAN)) + 1
    cuts = np.unique(np.concatenate([[0], edges, [len(counts)]])).tolist()
    return [slice(a, b) for a, b in itertools.pairwise(cuts)]


def _compare(
    query: tuple[NDArray[np.int64], Codes, NDArray[np.int64], NDArray[np.int64]],
    code: tuple[NDArray[np.int64], Codes],
    radius: int,
) -> NDArray[np.int64]:
    """Full distance of each query to the codes of its bucket."""
    rows, values, first, counts = query
    order, ordered = code
    which = np.repeat(np.arange(len(rows)), counts)
    offset = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    place = first[which] + offset
    near = np.flatnonzero(np.bitwise_count(values[which] ^ ordered[place]) <= radius)
    return _triples(
        rows[which[near]],
        order[place[near]],
        np.bitwise_count(values[which[near]] ^ ordered[place[near]]),
    )


def _scan(queries: Codes, codes: Codes, radius: int) -> list[NDArray[np.int64]]:
    """Compare all with all, a block at a time."""
    found = []
    block = max(1, _SCAN // len(codes))
    for at in range(0, len(queries), block):
        apart = np.bitwise_count(queries[at : at + block, None] ^ codes[None, :])
        left, right = np.nonzero(apart <= radius)
        found.append(_triples(left + at, right, apart[left, right]))
    return found


def _triples(
    left: NDArray[np.int64], right: NDArray[np.int64], apart: NDArray[np.uint8]
) -> NDArray[np.int64]:
    return np.stack([left, right, apart.astype(np.int64)])


def _tidy(found: list[NDArray[np.int64]], count: int) -> Pairs:
    """Each pair once, in order: bands find many of them more than once."""
    if not found:
        none = np.empty(0, np.int64)
        return Pairs(none, none, none)
    left, right, apart = np.concatenate(found, axis=1)
    _, once = np.unique(left * count + right, return_index=True)
    return Pairs(left[once], right[once], apart[once])
