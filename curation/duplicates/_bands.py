"""How codes are cut into bands, and the search without a compiler.

If the thresholds t of bands satisfy sum(t + 1) > radius, two codes within the radius
agree within t bits in at least one band (pigeonhole), so it is enough to compare, band
by band, with the codes whose value is within t bits of the own. This is the multi-index
hashing of Norouzi, Punjani and Fleet 2012 (arXiv:1307.2982).

A pair is a 64-bit key here: the place of the query above 32 bits, that of the code
below. Sorting keys sorts pairs by query, then code.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.errors import InputError

Codes = NDArray[np.uint64]
Keys = NDArray[np.uint64]
Places = NDArray[np.int64]

BITS = 64
HALF = np.uint64(32)
LOW = np.uint64(0xFFFFFFFF)

ROOM = 1 << 28
"""Pairs of distinct codes that a search may find, 2 GB; more would fill the memory."""

_NARROWEST, _WIDEST = 6, 22  # bits of a band; its table has 2**bits places
_MOST = 16  # bands
_SAMPLE = 4096  # codes that say which bits go together
_CHUNK = 1 << 16  # queries at a time: their temporaries stay in the cache
_BLOCK = 1 << 16  # comparisons at a time when all are compared with all
_CANDIDATES = 1 << 20  # comparisons at a time otherwise


@dataclass(frozen=True, slots=True)
class Prices:
    """What steps cost, nanoseconds; only their proportions choose a plan.

    Attributes:
        compare: one code with one code.
        visit: one code with one bucket in which there is any, besides the comparisons.
        look: one code with one bucket, empty or not.
        bucket: one bucket with one bucket, besides the visits.
        sort: one code into its bucket.
    """

    compare: float
    visit: float
    look: float
    bucket: float
    sort: float


NUMPY = Prices(compare=10.0, visit=0.0, look=20.0, bucket=0.0, sort=150.0)
SCAN = 1.0
"""One comparison by numpy when all are compared with all, nanoseconds."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Bands of `width` bits, and how many of them may differ in each; none: scan.

    Attributes:
        width: bits of a band.
        thresholds: of the bands, by their place from the lowest bits up.
        cost: expected, nanoseconds.
    """

    width: int
    thresholds: tuple[int, ...]
    cost: float


def plan(queries: int, codes: int, radius: int, prices: Prices, scan: float) -> Plan:
    """The bands that cost least on codes whose bits are independent.

    Args:
        queries: how many, at least 1.
        codes: how many, at least 1.
        radius: 0 to 64, bits.
        prices: of the search by bands.
        scan: nanoseconds of a comparison where there are no bands.
    """
    best = Plan(0, (), queries * codes * scan)
    for bands in range(1, min(_MOST, radius + 1) + 1):
        spare, more = divmod(radius + 1, bands)
        thresholds = tuple(spare - (band >= more) for band in range(bands))
        for width in range(_NARROWEST, min(_WIDEST, BITS // bands) + 1):
            near = sum(
                math.comb(width, bits)
                for threshold in thresholds
                for bits in range(threshold + 1)
            )
            size = codes / 2**width
            cost = (
                near * queries * min(1.0, size) * prices.visit
                + near * queries * prices.look
                + near * queries * size * prices.compare
                + near * min(queries, 2**width) * prices.bucket
                + bands * (queries + codes + 2**width) * prices.sort
            )
            if cost < best.cost:
                best = Plan(width, thresholds, cost)
    return best


def arranged(queries: Codes, codes: Codes, plan: Plan) -> tuple[Codes, Codes]:
    """The same codes with their bits in another order, and so at the same distances.

    Bits of image hashes are neither even nor independent. By Fourier, codes meet in a
    band the more often the larger, summed over sets of its bits, the squared means of
    the bits' products (as ±1) are. Sets of one and two bits are counted, from a
    sample; bits are dealt so that no band is much worse than another, and the worst
    are left out where bands do not need all 64.
    """
    bands = len(plan.thresholds)
    some = [one[:: max(1, len(one) // _SAMPLE)] for one in (queries, codes)]
    bits = np.unpackbits(np.concatenate(some).view(np.uint8), bitorder="little")
    signs = bits.reshape(-1, BITS).astype(np.float32) * 2 - 1
    means = signs.T @ signs / np.float32(len(signs))
    together = means.astype(np.float64) ** 2
    alone = signs.mean(axis=0, dtype=np.float64) ** 2
    np.fill_diagonal(together, 0.0)
    worth = np.argsort(alone + together.sum(axis=0) / 2, kind="stable")
    dealt: list[list[int]] = [[] for _ in range(bands)]
    load = [0.0] * bands
    # the worst of those in use first: whatever is left then evens the bands out
    for bit in worth[: bands * plan.width][::-1].tolist():
        costs = [
            load[band] + alone[bit] + together[bit, dealt[band]].sum()
            if len(dealt[band]) < plan.width
            else math.inf
            for band in range(bands)
        ]
        band = int(np.argmin(costs))
        load[band] = float(costs[band])
        dealt[band].append(bit)
    order = [bit for band in dealt for bit in band]
    order += worth[bands * plan.width :].tolist()
    found = _permuted(queries, order)
    return found, found if codes is queries else _permuted(codes, order)


def _permuted(codes: Codes, order: list[int]) -> Codes:
    """Codes whose bit k is bit `order[k]` of the given, a byte at a time."""
    to = np.argsort(order)
    found = np.zeros(len(codes), np.uint64)
    values = np.arange(256, dtype=np.uint64)
    bytes_ = codes.astype("<u8").view(np.uint8).reshape(-1, 8)
    for byte in range(8):
        table = np.zeros(256, np.uint64)
        for bit in range(8):
            one = (values >> np.uint64(bit)) & np.uint64(1)
            table |= one << np.uint64(to[8 * byte + bit])
        found |= table[bytes_[:, byte]]
    return found


def masks(width: int, threshold: int) -> Places:
    """Every value of `width` bits with at most `threshold` ones, fewest first."""
    return np.array(
        [
            sum(1 << bit for bit in chosen)
            for bits in range(threshold + 1)
            for chosen in itertools.combinations(range(width), bits)
        ],
        np.int64,
    )


def search(queries: Codes, codes: Codes, radius: int, *, same: bool) -> Keys:
    """Every pair within the radius, by numpy.

    Args:
        queries: (Q,) uint64, Q below 2³².
        codes: (N,) uint64, N below 2³²; `queries` itself where `same`.
        radius: 0 to 64, bits.
        same: pairs of a set with itself: each once, the lower place first.

    Returns: keys, ascending.

    Raises: InputError: more than `ROOM` pairs.
    """
    chosen = plan(len(queries), len(codes), radius, NUMPY, SCAN)
    if not chosen.thresholds:
        keys = gathered(_scan(queries, codes, radius, same=same), radius)
        keys.sort()
        return keys
    queries, codes = arranged(queries, codes, chosen)
    keys = gathered(
        itertools.chain.from_iterable(
            _look_up(
                queries, codes, (band * chosen.width, chosen.width, most), radius, same
            )
            for band, most in enumerate(chosen.thresholds)
        ),
        radius,
    )
    keys.sort()
    if not len(keys):
        return keys
    # several bands find one pair
    once: Keys = keys[np.concatenate([[True], keys[1:] != keys[:-1]])]
    return once


def _scan(queries: Codes, codes: Codes, radius: int, *, same: bool) -> Iterator[Keys]:
    """Compare all with all, a block that stays in the cache at a time."""
    rows = max(1, _BLOCK // len(codes))
    for at in range(0, len(queries), rows):
        begin = at if same else 0
        for first in range(begin, len(codes), _BLOCK):
            part = codes[first : first + _BLOCK]
            apart = np.bitwise_count(queries[at : at + rows, None] ^ part)
            near = np.flatnonzero(apart <= radius)
            if not near.size:
                continue
            left, right = np.divmod(near, len(part))
            left, right = left + at, right + first
            if same:
                left, right = left[left < right], right[left < right]
            yield _keys(left, right)


def _look_up(
    queries: Codes, codes: Codes, band: tuple[int, int, int], radius: int, same: bool
) -> Iterator[Keys]:
    """Pairs whose values in a band (its lowest bit, width, threshold) are near."""
    at, width, threshold = band
    last = np.uint64(2**width - 1)
    values = ((codes >> np.uint64(at)) & last).astype(np.int64)
    order = np.argsort(values, kind="stable")
    starts = np.zeros(2**width + 1, np.int64)
    np.cumsum(np.bincount(values, minlength=2**width), out=starts[1:])
    ordered = codes[order]
    if not same:
        values = ((queries >> np.uint64(at)) & last).astype(np.int64)
    by_band = order if same else np.argsort(values, kind="stable")
    for begin in range(0, len(queries), _CHUNK):
        rows = by_band[begin : begin + _CHUNK]
        for mask in masks(width, threshold).tolist():
            other = values[rows] ^ mask
            chosen = rows[other >= values[rows]] if same else rows
            other = values[chosen] ^ mask
            first = starts[other]
            counts = starts[other + 1] - first
            for part in _parts(counts):
                which = np.repeat(chosen[part], counts[part])
                place = spans(first[part], counts[part])
                near = np.bitwise_count(queries[which] ^ ordered[place]) <= radius
                left, right = which[near], order[place[near]]
                if same and mask:
                    left, right = np.minimum(left, right), np.maximum(left, right)
                elif same:
                    left, right = left[left < right], right[left < right]
                yield _keys(left, right)


def _parts(counts: Places) -> list[slice]:
    """Cut so that no part has many more candidates than are compared at a time."""
    total = np.cumsum(counts)
    if not len(total) or total[-1] <= _CANDIDATES:
        return [slice(0, len(counts))]
    edges = np.searchsorted(total, np.arange(_CANDIDATES, total[-1], _CANDIDATES)) + 1
    cuts = np.unique(np.concatenate([[0], edges, [len(counts)]])).tolist()
    return [slice(a, b) for a, b in itertools.pairwise(cuts)]


def spans(starts: Places, counts: Places) -> Places:
    """The whole numbers from each start on, as many as its count, one after another.

    Example:
        >>> spans(np.array([5, 0]), np.array([2, 3])).tolist()
        [5, 6, 0, 1, 2]
    """
    before = np.cumsum(counts) - counts
    found: Places = np.arange(int(counts.sum())) + np.repeat(starts - before, counts)
    return found


def _keys(left: Places, right: Places) -> Keys:
    return (left.astype(np.uint64) << HALF) | right.astype(np.uint64)


def gathered(found: Iterable[Keys], radius: int) -> Keys:
    """Keys in one array.

    Raises: InputError: more than `ROOM`.
    """
    kept: list[Keys] = [np.empty(0, np.uint64)]
    count = 0
    for keys in found:
        kept.append(keys)
        count += len(keys)
        if count > ROOM:
            raise too_many(radius)
    return np.concatenate(kept)


def too_many(radius: int) -> InputError:
    """The error of more than `ROOM` pairs."""
    return InputError(
        f"more than {ROOM:,} pairs of different hashes within {radius} bits: "
        "choose a smaller radius, or leave photos with little texture out"
    )
