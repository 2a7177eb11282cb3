"""Do two thumbs show the same picture? A second opinion on what hashes propose.

64 bits of low frequencies cannot tell another animal on the same background from the
same animal, and in this field such pairs are the point. A thumb can: after brightness
and contrast are evened out, copies differ by little everywhere, while another animal
differs much somewhere, so the worst of 8 × 8 blocks decides, not the mean.

Everything up to the last few operations is done in whole numbers, or in floats that
hold whole numbers exactly: an answer hangs neither on how many photos are looked at
together nor on the machine.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from curation.duplicates.hashing import SIDE

Thumbs = NDArray[np.uint8]
Grids = NDArray[np.int32] | NDArray[np.uint16]
Levels = NDArray[np.float64]
_T = TypeVar("_T", bound=np.number[Any])

Window = tuple[float, float, float]

_SIDES = ((0.9, 3), (0.95, 2))  # sides of windows, and places of each across and down

WINDOWS: tuple[Window, ...] = tuple(
    (side, (1 - side) * x / (steps - 1), (1 - side) * y / (steps - 1))
    for side, steps in _SIDES
    for y in range(steps)
    for x in range(steps)
)
"""Windows of a photo, as crops cut them: side, left and top as fractions."""

CELLS = 16
"""Thumbs are compared at 16 × 16 cells, in 8 × 8 blocks of 2 × 2."""

_BLOCKS = CELLS // 2
_UNIT = 4  # cells are in quarters of a grey level: sums of 2 × 2 pixels of a thumb
_DARK, _LIGHT = 8 * _UNIT, 247 * _UNIT  # beyond, an edit of brightness may have clipped
_MIDDLE = 128 * _UNIT
_FLAT = 1e-6  # a variance of nothing
_FEWEST = CELLS * CELLS // 4  # cells that must count
_FINE = 1 << 14  # weights are rounded to this: sums of products stay below 2**53
_CHUNK = 512  # photos or pairs at a time: their temporaries stay in the cache

_PLACED = 64  # pairs whose places are tried at a time
_STEP = 0.02  # how finely places of a crop are tried
_REACH = 0.035  # how far its middle may lie from the window that found it
_FINER = 0.01
_SURE, _HOPELESS = 0.3, 0.75  # between, places are tried more finely
_NEAREST = 3  # places whose worst block is looked at


def window_hashes(thumbs: Thumbs) -> NDArray[np.uint64]:
    """Hashes of every window of `WINDOWS`, without going back to the photo.

    Args:
        thumbs: (N, 32, 32) grey levels.

    Returns: (N, 13) pHashes. Within a few bits of hashing the crop itself, as the thumb
        has just the detail that the low frequencies need.
    """
    hashes = np.empty((len(thumbs), len(WINDOWS)), np.uint64)
    stacks = [_frequencies(side, steps) for side, steps in _SIDES]
    for at in range(0, len(thumbs), _CHUNK):
        levels = thumbs[at : at + _CHUNK].astype(np.float64)
        first = 0
        for (_, steps), stack in zip(_SIDES, stacks, strict=True):
            low = _both_ways(levels, stack, stack)
            low = low.reshape(len(levels), steps, 8, steps, 8)
            low = low.transpose(0, 3, 1, 4, 2).reshape(len(levels), steps**2, 64)
            # of so few a whole sort is quicker than a partition at two places
            middle = np.sort(low, axis=2)[:, :, 31:33].sum(axis=2) / 2
            bits = np.packbits(low > middle[:, :, None], axis=2)
            hashes[at : at + _CHUNK, first : first + steps**2] = bits.view(">u8")[
                :, :, 0
            ]
            first += steps**2
    return hashes


def _both_ways(levels: Levels, across: Levels, down: Levels) -> Levels:
    """(N, X, Y): each square times (X, 32) rows across and (Y, 32) rows down."""
    # a square at a time: larger products would start threads, for work too small
    return np.asarray((down @ levels @ across.T).swapaxes(1, 2))


@functools.cache
def _frequencies(side: float, steps: int) -> Levels:
    """(8 × steps, 32): low frequencies of each stretch of a side of the thumb."""
    at = np.arange(SIDE)
    cosines = np.cos(np.pi * np.arange(8)[:, None] * (2 * at + 1) / (2 * SIDE))
    starts = [(1 - side) * place / (steps - 1) for place in range(steps)]
    weights = np.concatenate([cosines @ _interpolate(start, side) for start in starts])
    return np.asarray(np.rint(weights * _FINE))


def grids(thumbs: Thumbs) -> NDArray[np.uint16]:
    """Cells of the thumbs, (N, 16, 16), in quarters of a grey level: 0-1020."""
    found = np.empty((len(thumbs), CELLS, CELLS), np.uint16)
    for at in range(0, len(thumbs), _CHUNK):
        found[at : at + _CHUNK] = _per_block(thumbs[at : at + _CHUNK].astype(np.int32))
    return found


def turn(squares: NDArray[_T], variant: int) -> NDArray[_T]:
    """Squares turned as `hashing.VARIANTS[variant]` says, (N, S, S)."""
    flipped = squares[:, :, ::-1] if variant >= 4 else squares
    return np.rot90(flipped, variant % 4, axes=(1, 2))


def cropped(whole: Thumbs, part: Grids, window: NDArray[np.int64]) -> Levels:
    """Least `disagreement` of `part` with places near a window of `whole`, (P,).

    The windows of `WINDOWS` lie too far apart to compare cell by cell, so sides and
    places around them are tried, 0.02 apart; those that correlate best are compared.
    Where that leaves doubt, sides and places 0.01 around the best are tried too.

    Args:
        whole: (P, 32, 32) thumbs of photos that may have been cropped.
        part: (P, 16, 16) cells of what may be their crops.
        window: (P,) which of `WINDOWS` is near, from the hashes.
    """
    worst = np.full(len(whole), np.inf)
    best = np.zeros((len(whole), 3))
    for place in np.unique(window).tolist():
        chosen = np.flatnonzero(window == place)
        for at in range(0, len(chosen), _PLACED):
            rows = chosen[at : at + _PLACED]
            found = _closer(whole[rows], part[rows], WINDOWS[place])
            worst[rows], best[rows] = found
    doubt = np.flatnonzero((worst > _SURE) & (worst < _HOPELESS))
    for at in range(0, len(doubt), _PLACED):
        rows = doubt[at : at + _PLACED]
        finer = _finest(whole[rows], part[rows], best[rows])
        worst[rows] = np.minimum(worst[rows], finer)
    return worst


def _closer(whole: Thumbs, part: Grids, window: Window) -> tuple[Levels, Levels]:
    """Least disagreement with the places around one window, (P,), and where, (P, 3)."""
    levels = whole.astype(np.float64)
    places = _around(window)
    # by blocks, for where they lie does not need all the cells
    target = _flat(_per_block(part.astype(np.int32)))
    alike = []
    for across, down in places.blocks:
        shown = _both_ways(levels, across, down)
        shown = shown.reshape(len(whole), -1, _BLOCKS, len(down) // _BLOCKS, _BLOCKS)
        # a place per row, each with its blocks down, then across
        shown = shown.transpose(0, 1, 3, 4, 2).reshape(len(whole), -1, _BLOCKS**2)
        alike.append(_alike(np.rint(shown * (_UNIT / _FINE**2)), target))
    ranked = np.argsort(-np.concatenate(alike, axis=1), axis=1, kind="stable")
    tried = ranked[:, :_NEAREST]
    cells = places.down[tried] @ levels[:, None] @ places.across[tried].swapaxes(2, 3)
    worst = _against(cells * (_UNIT / _FINE**2), part)
    nearest = worst.argmin(axis=1)
    rows = np.arange(len(whole))
    return worst[rows, nearest], places.windows[tried[rows, nearest]]


def _finest(whole: Thumbs, part: Grids, best: Levels) -> Levels:
    """Least disagreement with sides and places close to one place for each pair.

    Args:
        whole: (P, 32, 32).
        part: (P, 16, 16).
        best: (P, 3) windows to start from.
    """
    levels = whole.astype(np.float64)[:, None]
    steps = np.array([-_FINER, 0.0, _FINER])
    tried = []
    for wider in steps:
        side = np.minimum(best[:, :1] + wider, 1.0)
        # around the same middle
        left, top = (
            np.clip(best[:, axis, None] - wider / 2 + steps, 0.0, 1 - side)
            for axis in (1, 2)
        )
        across = levels @ _average(left, side, CELLS).swapaxes(2, 3)
        cells = _average(top, side, CELLS)[:, :, None] @ across[:, None]
        tried.append(cells.reshape(len(whole), -1, CELLS**2))
    every = np.rint(np.concatenate(tried, axis=1) * (_UNIT / _FINE**2))
    ranked = np.argsort(-_alike(every, _flat(part)), axis=1, kind="stable")
    rows = np.arange(len(whole))[:, None]
    cells = every[rows, ranked[:, :_NEAREST]].reshape(len(whole), -1, CELLS, CELLS)
    return np.asarray(_against(cells, part).min(axis=1))


def _alike(shown: Levels, target: Levels) -> Levels:
    """(P, K) correlation of K squares with one, up to a factor for each pair.

    Args:
        shown: (P, K, N) whole numbers.
        target: (P, N) whole numbers.
    """
    centred = shown - shown.mean(axis=2, keepdims=True)
    target = (target - target.mean(axis=1, keepdims=True))[:, None]
    length = np.sqrt(np.maximum((centred**2).sum(axis=2), 1.0))
    return np.asarray((centred * target).sum(axis=2) / length)


def _against(cells: Levels, part: Grids) -> Levels:
    """(P, K) disagreement of K windows of each photo with its part."""
    many = cells.shape[1]
    found = disagreement(
        np.rint(cells).reshape(-1, CELLS, CELLS).astype(np.int32),
        part.repeat(many, axis=0),
    )
    return np.asarray(found.reshape(-1, many))


@dataclass(frozen=True, slots=True)
class _Places:
    """Places close to a window and inside the photo.

    Attributes:
        blocks: for each side the stretches across, (8 × X, 32), and down, (8 × Y, 32);
            every stretch across with every one down is a place.
        across: (P, 16, 32) stretch of each place, by cells.
        down: (P, 16, 32).
        windows: (P, 3) side, left and top.
    """

    blocks: Sequence[tuple[Levels, Levels]]
    across: Levels
    down: Levels
    windows: Levels


@functools.cache
def _around(window: Window) -> _Places:
    """What `cropped` tries around one of the windows."""
    side, left, top = window
    steps = (_STEP * np.arange(-3, 4)).tolist()
    blocks, tried = [], []
    for wider in steps:
        # the middle moves by less than half the distance of windows
        across, down = (
            np.array(
                [
                    start + more
                    for more in steps
                    if abs(more + wider / 2) <= _REACH
                    and -1e-9 <= start + more <= 1 - side - wider + 1e-9
                ]
            )
            for start in (left, top)
        )
        if len(across) and len(down):
            length = np.array(side + wider)
            stretches = (
                _average(starts, length, _BLOCKS).reshape(-1, SIDE)
                for starts in (across, down)
            )
            blocks.append((next(stretches), next(stretches)))
            tried += [(side + wider, x, y) for x in across for y in down]
    windows = np.array(tried)
    return _Places(
        blocks=blocks,
        across=_average(windows[:, 1], windows[:, 0], CELLS),
        down=_average(windows[:, 2], windows[:, 0], CELLS),
        windows=windows,
    )


def disagreement(a: Grids, b: Grids) -> Levels:
    """How much pictures differ where they differ most; symmetric.

    Brightness, contrast and gamma are evened out first: the one picture's levels are
    mapped to the other's by the rising parabola that fits best, whichever way round
    fits better.

    Args:
        a: (P, 16, 16) cells, see `grids`.
        b: (P, 16, 16) cells, compared one to one with `a`.

    Returns: (P,) root mean square of what is left in the worst 2 × 2 block, in standard
        deviations of the picture; cells that are nearly black or white in either do not
        count. Infinite where fewer than a quarter of the cells count or a picture has
        no contrast.
    """
    worst = np.empty(len(a))
    for at in range(0, len(a), _CHUNK):
        part = slice(at, at + _CHUNK)
        worst[part] = _disagreement(_flat(a[part]), _flat(b[part]))
    return worst


def _flat(cells: Grids) -> Levels:
    return np.asarray(cells.reshape(len(cells), -1).astype(np.float64))


def _disagreement(a: Levels, b: Levels) -> Levels:
    clear = (np.minimum(a, b) > _DARK) & (np.maximum(a, b) < _LIGHT)
    weight = clear.astype(np.float64)
    total = weight.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        left = _Moments.of((a - _MIDDLE) * weight, total)
        right = _Moments.of((b - _MIDDLE) * weight, total)
        worst = np.fmin(
            _left_over(left, right, weight), _left_over(right, left, weight)
        )
    return np.where((total >= _FEWEST) & np.isfinite(worst), worst, np.inf)


@dataclass(frozen=True, slots=True)
class _Moments:
    """Levels of cells that count (others are 0), and their moments, (P, 1) each.

    Sums are of whole numbers below 2**53, so they hang on no order.
    """

    levels: Levels
    number: Levels
    mean: Levels
    second: Levels
    third: Levels
    fourth: Levels

    @classmethod
    def of(cls, levels: Levels, total: Levels) -> "_Moments":
        number = np.maximum(total, 1)[:, None]
        squares = levels**2
        one, two, three, four = (
            product.sum(axis=1, keepdims=True) / number
            for product in (levels, squares, squares * levels, squares * squares)
        )
        second = two - one**2
        return cls(
            levels=levels,
            number=number,
            mean=one,
            # no contrast at all gives nan, and so no opinion
            second=np.where(second > _FLAT, second, np.nan),
            third=three - 3 * one * two + 2 * one**3,
            fourth=four - 4 * one * three + 6 * one**2 * two - 3 * one**4,
        )


def _left_over(x: _Moments, y: _Moments, weight: Levels) -> Levels:
    """(P,) what a rising parabola of x leaves of y in the worst block."""
    both = (x.levels * y.levels).sum(axis=1, keepdims=True) / x.number
    more = (x.levels**2 * y.levels).sum(axis=1, keepdims=True) / x.number
    line = both - x.mean * y.mean
    bend = more - 2 * x.mean * both + x.mean**2 * y.mean - y.mean * x.second
    slope = np.maximum(line / x.second, 0.0)
    skew = x.third / x.second
    spread = x.fourth - skew * x.third - x.second**2
    curve = np.where(spread > _FLAT, (bend - skew * line) / spread, 0.0)
    # it rises over two standard deviations to either side
    most = slope / (4 * np.sqrt(x.second) + np.abs(skew))
    curve = np.clip(curve, -most, most)
    off = x.levels - x.mean
    left = y.levels - y.mean - slope * off - curve * (off * (off - skew) - x.second)
    squares = (left**2 * weight).reshape(-1, CELLS, CELLS)
    number = _per_block(weight.reshape(-1, CELLS, CELLS))
    means = _per_block(squares) / np.maximum(number, 1)
    return np.asarray(np.sqrt(means.max(axis=(1, 2)) / y.second[:, 0]))


def _per_block(cells: NDArray[_T]) -> NDArray[_T]:
    """Sums over 2 × 2, (P, S / 2, S / 2)."""
    pairs = cells[:, 0::2] + cells[:, 1::2]
    return np.asarray(pairs[:, :, 0::2] + pairs[:, :, 1::2])


def _interpolate(start: float, length: float) -> Levels:
    """(32, 32): 32 points of a stretch of the thumb, linear between pixels."""
    at = (start + length * (np.arange(SIDE) + 0.5) / SIDE) * SIDE - 0.5
    at = np.clip(at, 0, SIDE - 1)
    low = np.minimum(at.astype(int), SIDE - 2)
    matrix = np.zeros((SIDE, SIDE))
    matrix[np.arange(SIDE), low] = 1 - (at - low)
    matrix[np.arange(SIDE), low + 1] = at - low
    return matrix


def _average(start: Levels, length: Levels, parts: int) -> Levels:
    """(..., parts, 32): means over equal parts of stretches of the thumb, × `_FINE`."""
    edges = start[..., None] + length[..., None] * np.arange(parts + 1) / parts
    edges = SIDE * edges[..., None]
    pixel = np.arange(SIDE)
    overlap = np.minimum(edges[..., 1:, :], pixel + 1)
    overlap = overlap - np.maximum(edges[..., :-1, :], pixel)
    overlap = np.clip(overlap, 0, None)
    return np.asarray(np.rint(overlap / overlap.sum(axis=-1, keepdims=True) * _FINE))
