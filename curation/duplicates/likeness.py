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
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from curation.duplicates.hashing import SIDE

Thumbs = NDArray[np.uint8]
Grids = NDArray[np.int32] | NDArray[np.uint16]
Sums = NDArray[np.int32]
Levels = NDArray[np.float64]
_T = TypeVar("_T", bound=np.generic)

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

_UNIT = 4  # cells are in quarters of a grey level: sums of 2 × 2 pixels of a thumb
_DARK, _LIGHT = 8 * _UNIT, 247 * _UNIT  # beyond, an edit of brightness may have clipped
_FEWEST = CELLS * CELLS // 4  # cells that must count
_FINE = 1 << 14  # weights are rounded to this: sums of products stay below 2**53
_CHUNK = 512  # photos or pairs at a time: their temporaries stay in the cache

_PLACED = 64  # pairs whose places are tried at a time
_STEP = 0.02  # how finely places of a crop are tried
_REACH = 0.035  # how far its middle may lie from the window that found it
_NEAREST = 2  # places whose worst block is looked at


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
            middle = np.partition(low, (31, 32), axis=2)[:, :, 31:33].sum(axis=2) / 2
            bits = np.packbits(low > middle[:, :, None], axis=2)
            hashes[at : at + _CHUNK, first : first + steps**2] = bits.view(">u8")[
                :, :, 0
            ]
            first += steps**2
    return hashes


def _both_ways(levels: Levels, across: Levels, down: Levels) -> Levels:
    """(N, X, Y): each square times (X, 32) rows across and (Y, 32) rows down."""
    part = levels.reshape(-1, SIDE) @ across.T
    turned = part.reshape(len(levels), SIDE, -1).transpose(0, 2, 1)
    both = turned.reshape(-1, SIDE) @ down.T
    return np.asarray(both.reshape(len(levels), len(across), len(down)))


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

    Args:
        whole: (P, 32, 32) thumbs of photos that may have been cropped.
        part: (P, 16, 16) cells of what may be their crops.
        window: (P,) which of `WINDOWS` is near, from the hashes.
    """
    worst = np.full(len(whole), np.inf)
    for place in np.unique(window).tolist():
        chosen = np.flatnonzero(window == place)
        for at in range(0, len(chosen), _PLACED):
            rows = chosen[at : at + _PLACED]
            worst[rows] = _closer(whole[rows], part[rows], WINDOWS[place])
    return worst


def _closer(whole: Thumbs, part: Grids, window: Window) -> Levels:
    """Least disagreement with the places around one window."""
    levels = whole.astype(np.float64)
    target = part.reshape(len(part), 1, -1).astype(np.float64)
    target -= target.mean(axis=2, keepdims=True)
    shown, alike = [], []
    for across, down in _around(window):
        cells = _both_ways(levels, across, down)
        cells = cells.reshape(len(whole), -1, CELLS, len(down) // CELLS, CELLS)
        # a place per row, each with its cells down, then across
        cells = cells.transpose(0, 1, 3, 4, 2).reshape(len(whole), -1, CELLS**2)
        cells = np.rint(cells * (_UNIT / _FINE**2))
        centred = cells - cells.mean(axis=2, keepdims=True)
        length = np.sqrt(np.maximum((centred**2).sum(axis=2), 1.0))
        alike.append((centred * target).sum(axis=2) / length)
        shown.append(cells)
    every = np.concatenate(shown, axis=1)
    ranked = np.argsort(-np.concatenate(alike, axis=1), axis=1, kind="stable")
    rows = np.arange(len(whole))
    worst = np.full(len(whole), np.inf)
    for nth in range(_NEAREST):
        best = every[rows, ranked[:, nth]].reshape(part.shape).astype(np.int32)
        worst = np.minimum(worst, disagreement(best, part))
    return worst


@functools.cache
def _around(window: Window) -> list[tuple[Levels, Levels]]:
    """Places close to a window and inside the photo.

    Returns: for each side the stretches across, (16 × X, 32), and down, (16 × Y, 32);
        every stretch across with every one down is a place.
    """
    side, left, top = window
    steps = (_STEP * np.arange(-3, 4)).tolist()
    result = []
    for wider in steps:
        # the middle moves by less than half the distance of windows
        across, down = (
            [
                np.rint(_average(start + more, side + wider) * _FINE)
                for more in steps
                if abs(more + wider / 2) <= _REACH
                and -1e-9 <= start + more <= 1 - side - wider + 1e-9
            ]
            for start in (left, top)
        )
        if across and down:
            result.append((np.concatenate(across), np.concatenate(down)))
    return result


def disagreement(a: Grids, b: Grids) -> Levels:
    """How much pictures differ where they differ most; symmetric.

    Args:
        a: (P, 16, 16) cells, see `grids`.
        b: (P, 16, 16) cells, compared one to one with `a`.

    Returns: (P,) root mean square difference in the worst 2 × 2 block, in standard
        deviations of the picture, after each is brought to mean 0 and deviation 1;
        cells that are nearly black or white in either do not count. Infinite where
        fewer than a quarter of the cells count or a picture has no contrast.
    """
    worst = np.empty(len(a))
    for at in range(0, len(a), _CHUNK):
        part = slice(at, at + _CHUNK)
        worst[part] = _disagreement(a[part].astype(np.int32), b[part].astype(np.int32))
    return worst


def _disagreement(a: Sums, b: Sums) -> Levels:
    clear = (np.minimum(a, b) > _DARK) & (np.maximum(a, b) < _LIGHT)
    weight = clear.astype(np.int32)
    a, b = a * weight, b * weight
    number = _per_block(weight)
    total = number.sum(axis=(1, 2), dtype=np.int64)
    left = _Moments.of(a, total)
    right = _Moments.of(b, total)
    with np.errstate(divide="ignore", invalid="ignore"):
        own = left.squares(number) / left.variance
        others = right.squares(number) / right.variance
        both = (
            _per_block(a * b)
            - left.mean * right.sums
            - right.mean * left.sums
            + number * (left.mean * right.mean)
        ) / np.sqrt(left.variance * right.variance)
        squares = (own + others - 2 * both) / np.maximum(number, 1)
        worst = np.sqrt(np.maximum(squares, 0.0).max(axis=(1, 2)))
    return np.where((total >= _FEWEST) & np.isfinite(worst), worst, np.inf)


class _Moments:
    """Sums of a picture's cells that count, by block, with its mean and variance."""

    __slots__ = ("mean", "sums", "sums_of_squares", "variance")

    def __init__(self, sums: Sums, squares: Sums, total: NDArray[np.int64]) -> None:
        self.sums, self.sums_of_squares = sums, squares
        whole = sums.sum(axis=(1, 2), dtype=np.int64)
        spread = total * squares.sum(axis=(1, 2), dtype=np.int64) - whole**2
        count = np.maximum(total, 1)
        self.mean = (whole / count)[:, None, None]
        # no contrast at all gives nan, and so no opinion
        self.variance = np.where(spread > 0, spread / count**2, np.nan)[:, None, None]

    @classmethod
    def of(cls, cells: Sums, total: NDArray[np.int64]) -> "_Moments":
        return cls(_per_block(cells), _per_block(cells * cells), total)

    def squares(self, number: Sums) -> Levels:
        """Sum of squared distances from the mean, by block."""
        return np.asarray(
            self.sums_of_squares - 2 * self.mean * self.sums + number * self.mean**2
        )


def _per_block(cells: Sums) -> Sums:
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


def _average(start: float, length: float) -> Levels:
    """(16, 32): means over 16 equal parts of a stretch of the thumb."""
    edges = (start + length * np.arange(CELLS + 1) / CELLS) * SIDE
    pixel = np.arange(SIDE)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(
        edges[:-1, None], pixel
    )
    overlap = np.clip(overlap, 0, None)
    return np.asarray(overlap / overlap.sum(axis=1, keepdims=True))
