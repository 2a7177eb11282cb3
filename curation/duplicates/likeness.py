"""Do two thumbs show the same picture? A second opinion on what hashes propose.

64 bits of low frequencies cannot tell another animal on the same background from the
same animal, and in this field such pairs are the point. A thumb can: after brightness
and contrast are evened out (`curation.duplicates.tones`), copies differ by little
everywhere, while another animal differs much somewhere, so the worst of 8 × 8 blocks
decides, not the mean.

Everything up to the last few operations is done in whole numbers, or in floats that
hold whole numbers exactly: an answer hangs neither on how many photos are looked at
together nor on the machine.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.duplicates import tones
from curation.duplicates.hashing import SIDE
from curation.duplicates.tones import BLOCKS, UNIT, Levels

Thumbs = NDArray[np.uint8]

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
"""Thumbs are compared at 16 × 16 cells, sums of 2 × 2 pixels, then at all of them."""

_FINE = 1 << 14  # weights are rounded to this: sums of products stay below 2**53
_CHUNK = 512  # photos or pairs at a time: their temporaries stay in the cache

_MOST = 20.0 * UNIT  # contrast beyond this does not hide an animal

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


def turn(thumbs: Thumbs, variant: int) -> Thumbs:
    """Thumbs turned as `hashing.VARIANTS[variant]` says, (N, 32, 32)."""
    flipped = thumbs[:, :, ::-1] if variant >= 4 else thumbs
    return np.rot90(flipped, variant % 4, axes=(1, 2))


def cropped(whole: Thumbs, part: Thumbs, window: NDArray[np.int64]) -> Levels:
    """Least `disagreement` of `part` with places near a window of `whole`, (P,).

    The windows of `WINDOWS` lie too far apart to compare cell by cell, so sides and
    places around them are tried, 0.02 apart; those that correlate best are compared.
    Where that leaves doubt, sides and places 0.01 around the best are tried too. A crop
    lies better in its place than over the whole photo: what does not is none, but
    another animal on the same background.

    Args:
        whole: (P, 32, 32) thumbs of photos that may have been cropped.
        part: (P, 32, 32) thumbs of what may be their crops.
        window: (P,) which of `WINDOWS` is near, from the hashes.
    """
    worst = np.full(len(whole), np.inf)
    usual = worst.copy()
    best = np.zeros((len(whole), 3))
    levels = _cells(part)
    for place in np.unique(window).tolist():
        chosen = np.flatnonzero(window == place)
        for at in range(0, len(chosen), _PLACED):
            rows = chosen[at : at + _PLACED]
            found = _closer(whole[rows], levels[rows], WINDOWS[place])
            worst[rows], usual[rows], best[rows] = found
    doubt = np.flatnonzero((worst > _SURE) & (worst < _HOPELESS))
    for at in range(0, len(doubt), _PLACED):
        rows = doubt[at : at + _PLACED]
        finer, most = _finest(whole[rows], levels[rows], best[rows])
        better = finer < worst[rows]
        worst[rows[better]], usual[rows[better]] = finer[better], most[better]
    _, uncut = tones.mapped(_cells(whole), levels)
    return np.where(usual < uncut, worst, np.inf)


def _closer(
    whole: Thumbs, part: Levels, window: Window
) -> tuple[Levels, Levels, Levels]:
    """What the best of the places around one window leaves, and (P, 3) where it is."""
    levels = whole.astype(np.float64)
    places = _around(window)
    # by blocks, for where they lie does not need all the cells
    target = tones.per_block(part)
    alike = []
    for across, down in places.blocks:
        shown = _both_ways(levels, across, down)
        shown = shown.reshape(len(whole), -1, BLOCKS, len(down) // BLOCKS, BLOCKS)
        # a place per row, each with its blocks down, then across
        shown = shown.transpose(0, 1, 3, 4, 2).reshape(len(whole), -1, BLOCKS**2)
        alike.append(_alike(np.rint(shown * (UNIT / _FINE**2)), target))
    ranked = np.argsort(-np.concatenate(alike, axis=1), axis=1, kind="stable")
    tried = ranked[:, :_NEAREST]
    cells = places.down[tried] @ levels[:, None] @ places.across[tried].swapaxes(2, 3)
    cells = cells.reshape(len(whole), -1, CELLS**2) * (UNIT / _FINE**2)
    worst, usual, nearest = _least(cells, part)
    return worst, usual, places.windows[tried[np.arange(len(whole)), nearest]]


def _finest(whole: Thumbs, part: Levels, best: Levels) -> tuple[Levels, Levels]:
    """What the best of sides and places close to one place for each pair leaves.

    Args:
        whole: (P, 32, 32).
        part: (P, 256) levels of cells.
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
    every = np.rint(np.concatenate(tried, axis=1) * (UNIT / _FINE**2))
    ranked = np.argsort(-_alike(every, part), axis=1, kind="stable")
    rows = np.arange(len(whole))[:, None]
    return _least(every[rows, ranked[:, :_NEAREST]], part)[:2]


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


def _least(cells: Levels, part: Levels) -> tuple[Levels, Levels, NDArray[np.int64]]:
    """`tones.mapped` of the window of each photo that differs least from its part.

    Args:
        cells: (P, K, 256) levels of K windows.
        part: (P, 256) levels.

    Returns: (P,) of the worst block, (P,) of the median one, and (P,) which window.
    """
    count, many = cells.shape[:2]
    worst, usual = (
        found.reshape(count, many)
        for found in tones.mapped(
            np.rint(cells).reshape(-1, CELLS**2), part.repeat(many, axis=0)
        )
    )
    nearest = worst.argmin(axis=1)
    rows = np.arange(count)
    return worst[rows, nearest], usual[rows, nearest], nearest


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
                _average(starts, length, BLOCKS).reshape(-1, SIDE)
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


def disagreement(a: Thumbs, b: Thumbs) -> Levels:
    """How much pictures differ where they differ most; symmetric.

    Looked at are 16 × 16 cells and, where those leave a doubt, all 32 × 32: an animal
    that is a tenth of the picture high shows only there.

    Args:
        a: (P, 32, 32) grey levels.
        b: (P, 32, 32) grey levels, compared one to one with `a`.

    Returns: (P,) the larger of `tones.worst` of both.
    """
    worst = np.empty(len(a))
    for at in range(0, len(a), _CHUNK):
        part = slice(at, at + _CHUNK)
        found = tones.worst(_cells(a[part]), _cells(b[part]), most=_MOST)
        near = np.flatnonzero(found < _HOPELESS)
        if len(near):
            one, other = _pixels(a[part][near]), _pixels(b[part][near])
            finer = tones.worst(one, other, most=_MOST)
            found[near] = np.fmax(found[near], np.where(np.isinf(finer), 0, finer))
        worst[part] = found
    return worst


def _cells(thumbs: Thumbs) -> Levels:
    """(N, 256) levels of cells."""
    # numpy sums two axes of two each slowly
    pairs = thumbs[:, 0::2].astype(np.uint16) + thumbs[:, 1::2]
    return _flat(pairs[:, :, 0::2] + pairs[:, :, 1::2])


def _pixels(thumbs: Thumbs) -> Levels:
    """(N, 1024) levels of all pixels."""
    return _flat(thumbs) * UNIT


def _flat(squares: NDArray[np.unsignedinteger[Any]]) -> Levels:
    return np.asarray(squares.reshape(len(squares), -1).astype(np.float64))


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
