"""The search for pairs of codes, compiled by numba.

Codes are put in order of a band's value, so that equal values stand together; buckets
are then compared with the buckets whose value is within the band's threshold, code by
code, in loops that wide registers work on. A pair that an earlier band finds is left
out there and then: no pair is found twice, and nothing needs to be remembered.

Importing numba and loading what it compiled takes about half a second, so this module
is imported only where a search would take longer without it.
"""

import importlib
import itertools
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from curation.duplicates._bands import (
    ROOM,
    Codes,
    Keys,
    Plan,
    Prices,
    arranged,
    gathered,
    masks,
    plan,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ordered = tuple[Codes, NDArray[np.uint32], NDArray[np.uint32]]

PRICES = Prices(compare=0.07, visit=3.5, look=0.0, bucket=10.0, sort=20.0)
SCAN = PRICES.compare
"""One comparison where all are compared with all, nanoseconds."""

_SPARE = 8  # codes that may be read past the last
_BLOCK = 256  # codes compared before it is looked whether any is near
_ALL = 6  # bits of the only band, all of which may differ: all meet all
_AT_ONCE = 4e9  # comparisons between two moments in which a signal is heard

_ONE, _TWO, _FOUR, _TOP = (np.uint64(number) for number in (1, 2, 4, 56))
_PAIRS = np.uint64(0x5555555555555555)
_NIBBLES = np.uint64(0x3333333333333333)
_BYTES = np.uint64(0x0F0F0F0F0F0F0F0F)
_SUM = np.uint64(0x0101010101010101)
_HALF = np.uint64(32)

_F = TypeVar("_F", bound=Callable[..., object])


def _compiled(function: _F) -> _F:
    njit = importlib.import_module("numba").njit
    try:
        made: _F = njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no folder that a cache can be written to
        made = njit(nogil=True)(function)
    return made


@_compiled
def _count(bits: np.uint64) -> np.uint64:
    """How many bits are set; LLVM knows the idiom and has an instruction for it."""
    bits = bits - ((bits >> _ONE) & _PAIRS)
    bits = (bits & _NIBBLES) + ((bits >> _TWO) & _NIBBLES)
    bits = (bits + (bits >> _FOUR)) & _BYTES
    return (bits * _SUM) >> _TOP


@_compiled
def _nearest(code: np.uint64, codes: Codes) -> np.uint64:
    """Bits to the nearest of the codes."""
    nearest = np.uint64(64)
    for place in range(len(codes)):
        nearest = min(nearest, _count(code ^ codes[place]))
    return nearest


@_compiled
def _nearest_to_four(queries: Codes, codes: Codes) -> np.uint64:
    """Bits of the nearest pair of four queries and the codes."""
    one, two, three, four = queries[0], queries[1], queries[2], queries[3]
    nearest = np.uint64(64)
    for place in range(len(codes)):
        code = codes[place]
        some = min(_count(one ^ code), _count(two ^ code))
        others = min(_count(three ^ code), _count(four ^ code))
        nearest = min(nearest, min(some, others))
    return nearest


@_compiled
def _ordered(codes: Codes, low: int, width: int) -> "Ordered":
    """Codes by the value of the band above bit `low`.

    Returns: codes in order and `_SPARE` zeros, their places before, and where each
        value begins, (2**width + 1,).
    """
    shift, last = np.uint64(low), np.uint64((1 << width) - 1)
    starts = np.zeros((1 << width) + 1, np.uint32)
    for place in range(len(codes)):
        starts[((codes[place] >> shift) & last) + np.uint64(1)] += np.uint32(1)
    for value in range(1 << width):
        starts[value + 1] += starts[value]
    free = starts[:-1].copy()
    ordered = np.zeros(len(codes) + _SPARE, np.uint64)
    order = np.empty(len(codes), np.uint32)
    for place in range(len(codes)):
        value = (codes[place] >> shift) & last
        to = free[value]
        free[value] = to + np.uint32(1)
        ordered[to] = codes[place]
        order[to] = place
    return ordered, order, starts


@_compiled
def _earlier(
    apart: np.uint64, band: int, width: int, thresholds: "NDArray[np.int64]"
) -> bool:
    """Whether a band before this one finds codes that differ so."""
    last = np.uint64((1 << width) - 1)
    for before in range(band):
        part = (apart >> np.uint64(before * width)) & last
        if _count(part) <= np.uint64(thresholds[before]):
            return True
    return False


@_compiled
def _join(
    queries: "Ordered",
    codes: "Ordered",
    values: tuple[int, int],
    near: "NDArray[np.int64]",
    band: tuple[int, int],
    thresholds: "NDArray[np.int64]",
    radius: int,
    room: int,
    same: bool,
) -> Keys:
    """Pairs of queries whose value in this band is in a range with near codes.

    Args:
        queries: as `_ordered` gives them.
        codes: likewise.
        values: of the band: first, and one past the last.
        near: by which bits the value of a code may differ.
        band: its place, and its width in bits.
        thresholds: of all bands.
        radius: in bits, of the whole codes.
        room: pairs after which it ends early.
        same: whether both are one set; pairs are then found once.
    """
    left, left_order, left_starts = queries
    right, right_order, right_starts = codes
    within = np.uint64(radius)
    found = np.empty(256, np.uint64)
    count = 0
    for value in range(values[0], values[1]):
        begin, end = np.int64(left_starts[value]), np.int64(left_starts[value + 1])
        if begin == end:
            continue
        for bits in near:
            other = value ^ bits
            first, last = (
                np.int64(right_starts[other]),
                np.int64(right_starts[other + 1]),
            )
            if first == last or (same and other < value):
                continue
            own = same and bits == 0
            step = 1 if own else 4
            for place in range(begin, end, step):
                if count > room:
                    return found[:count]
                start = place + 1 if own else first
                for block in range(start, last, _BLOCK):
                    size = last - block if last - block < _BLOCK else _BLOCK
                    # whole registers: what is read too much is never a pair below
                    part = right[block : block + ((size + 7) & -8)]
                    if (
                        not own
                        and _nearest_to_four(left[place : place + 4], part) > within
                    ):
                        continue
                    for query in range(
                        place, end if end - place < step else place + step
                    ):
                        code = left[query]
                        if _nearest(code, part) > within:
                            continue
                        for one in range(size):
                            apart = code ^ part[one]
                            if _count(apart) > within:
                                continue
                            if _earlier(apart, band[0], band[1], thresholds):
                                continue
                            if count == len(found):
                                more = np.empty(2 * count, np.uint64)
                                more[:count] = found
                                found = more
                            a = np.uint64(left_order[query])
                            b = np.uint64(right_order[block + one])
                            if same and b < a:
                                a, b = b, a
                            found[count] = (a << _HALF) | b
                            count += 1
    return found[:count]


def search(queries: Codes, codes: Codes, radius: int, *, same: bool) -> Keys:
    """Every pair within the radius.

    Args:
        queries: (Q,) uint64, Q below 2³².
        codes: (N,) uint64, N below 2³²; `queries` itself where `same`.
        radius: 0 to 64, bits.
        same: pairs of a set with itself: each once, the lower place first.

    Returns: keys, ascending.

    Raises: InputError: more than `_bands.ROOM` pairs.
    """
    swap = len(queries) > len(codes)
    few, many = (codes, queries) if swap else (queries, codes)
    # the fewer visit: the longer a bucket, the better its comparisons go
    chosen = plan(len(few), len(many), radius, PRICES, SCAN)
    if not chosen.thresholds:
        chosen = Plan(_ALL, (_ALL,), chosen.cost)
    few, many = arranged(few, many, chosen)
    keys = gathered(_bands(few, many, chosen, radius, same), radius)
    if swap:
        keys = (keys << _HALF) | (keys >> _HALF)
    keys.sort()
    return keys


def _bands(
    few: Codes, many: Codes, chosen: Plan, radius: int, same: bool
) -> Iterator[Keys]:
    """Pairs that each band finds first."""
    width = chosen.width
    thresholds = np.array(chosen.thresholds, np.int64)
    for band, threshold in enumerate(chosen.thresholds):
        right = _ordered(many, band * width, width)
        left = right if same else _ordered(few, band * width, width)
        near = masks(width, threshold)
        # a signal is heard between two calls
        expected = len(few) * len(many) / 2**width * len(near)
        pieces = math.ceil(expected / _AT_ONCE)
        edges = [len(few) * piece // pieces for piece in range(1, pieces)]
        cuts = np.searchsorted(left[2], np.array(edges, np.uint32))
        for values in itertools.pairwise([0, *cuts.tolist(), 2**width]):
            yield _join(
                left, right, values, near, (band, width), thresholds, radius, ROOM, same
            )
