"""Do two thumbs show the same picture? A second opinion on what hashes propose.

64 bits of low frequencies cannot tell another animal on the same background from the
same animal, and in this field such pairs are the point. A thumb can: after brightness
and contrast are evened out, copies differ by little everywhere, while another animal
differs much somewhere, so the worst of 8 × 8 blocks decides, not the mean.
"""

import numpy as np
from numpy.typing import NDArray

from curation.duplicates.hashing import SIDE

Thumbs = NDArray[np.uint8]
Levels = NDArray[np.float64]

Window = tuple[float, float, float]

WINDOWS: tuple[Window, ...] = tuple(
    (side, (1 - side) * x / (steps - 1), (1 - side) * y / (steps - 1))
    for side, steps in ((0.9, 3), (0.95, 2))
    for y in range(steps)
    for x in range(steps)
)
"""Windows of a photo, as crops cut them: side, left and top as fractions."""

_HOPELESS = 1.5  # above it a closer look is not worth its time
_CELLS = 16  # thumbs are compared at 16 × 16 cells, in 8 × 8 blocks of 2 × 2
_DARK, _LIGHT = 8.0, 247.0  # beyond, an edit of brightness may have clipped
_CHUNK = 4096


def window_hashes(thumbs: Thumbs) -> NDArray[np.uint64]:
    """Hashes of every window of `WINDOWS`, without going back to the photo.

    Args:
        thumbs: (N, 32, 32) grey levels.

    Returns: (N, 13) pHashes. Within a few bits of hashing the crop itself, as the thumb
        has just the detail that the low frequencies need.
    """
    from scipy import fftpack  # a second of start, and few commands hash

    basis = fftpack.dct(np.eye(SIDE), axis=0)[:8]
    down = [basis @ _interpolate(top, side) for side, _, top in WINDOWS]
    across = [basis @ _interpolate(left, side) for side, left, _ in WINDOWS]
    hashes = np.empty((len(thumbs), len(WINDOWS)), np.uint64)
    for at in range(0, len(thumbs), _CHUNK):
        levels = thumbs[at : at + _CHUNK].astype(np.float64)
        for window, (rows, columns) in enumerate(zip(down, across, strict=True)):
            low = (rows @ levels @ columns.T).reshape(len(levels), 64)
            bits = low > np.median(low, axis=1, keepdims=True)
            packed = np.packbits(bits, axis=1).view(">u8")[:, 0]
            hashes[at : at + _CHUNK, window] = packed
    return hashes


def turn(thumbs: Thumbs, variant: int) -> Thumbs:
    """Thumbs turned as `hashing.VARIANTS[variant]` says, (N, 32, 32)."""
    flipped = thumbs[:, :, ::-1] if variant >= 4 else thumbs
    return np.rot90(flipped, variant % 4, axes=(1, 2))


def cropped(whole: Thumbs, part: Thumbs) -> Levels:
    """Least `disagreement` of `part` with a window of `whole`, (P,).

    The windows of `WINDOWS` lie too far apart to compare cell by cell. The best of them
    says where to look closer: sides and places 0.02 apart. Where even the best is far
    off, its disagreement stands.
    """
    target = cells(part)
    rough = np.stack(
        [disagreement(cells(whole, window=window), target) for window in WINDOWS]
    )
    best, nearest = rough.min(axis=0), rough.argmin(axis=0)
    for place, window in enumerate(WINDOWS):
        rows = np.flatnonzero((nearest == place) & (best <= _HOPELESS))
        if len(rows):
            near = whole[rows]
            for closer in _around(window):
                shown = cells(near, window=closer)
                best[rows] = np.minimum(best[rows], disagreement(shown, target[rows]))
    return np.asarray(best)


def _around(window: Window) -> list[Window]:
    """Windows that lie close to one and inside the photo."""
    side, left, top = window
    steps = 0.02 * np.arange(-3, 4)
    return [
        (side + wider, left + right, top + down)
        for wider in steps.tolist()
        for right in steps.tolist()
        for down in steps.tolist()
        # the middle moves by less than half the distance of windows
        if abs(right + wider / 2) <= 0.035
        and abs(down + wider / 2) <= 0.035
        and -1e-9 <= left + right <= 1 - side - wider + 1e-9
        and -1e-9 <= top + down <= 1 - side - wider + 1e-9
    ]


def cells(thumbs: Thumbs, *, window: Window = (1.0, 0.0, 0.0)) -> Levels:
    """Mean grey of 16 × 16 cells of the thumbs, or of a window of them, (N, 16, 16)."""
    side, left, top = window
    return np.asarray(
        _average(top, side) @ thumbs.astype(np.float64) @ _average(left, side).T
    )


def disagreement(a: Levels, b: Levels) -> Levels:
    """How much pictures differ where they differ most; symmetric.

    Args:
        a: (P, 16, 16) cells.
        b: (P, 16, 16) cells, compared one to one with `a`.

    Returns: (P,) root mean square difference in the worst 2 × 2 block, in standard
        deviations of the picture, after each is brought to mean 0 and deviation 1;
        cells that are nearly black or white in either do not count. Infinite where
        fewer than a quarter of the cells count or a picture has no contrast.
    """
    clear = (np.minimum(a, b) > _DARK) & (np.maximum(a, b) < _LIGHT)
    weight = clear.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = _standard(a, weight) - _standard(b, weight)
    squares = np.where(clear, gap, 0.0) ** 2
    sums, counts = _per_block(squares), _per_block(weight)
    worst = np.sqrt((sums / np.maximum(counts, 1)).max(axis=(1, 2)))
    enough = weight.mean(axis=(1, 2)) >= 0.25
    return np.where(enough & np.isfinite(worst), worst, np.inf)


def _per_block(levels: Levels) -> Levels:
    """Sums over 2 × 2 cells, (P, 8, 8)."""
    pairs = levels[:, 0::2] + levels[:, 1::2]
    return np.asarray(pairs[:, :, 0::2] + pairs[:, :, 1::2])


def _standard(levels: Levels, weight: Levels) -> Levels:
    total = weight.sum(axis=(1, 2), keepdims=True)
    centred = levels - (levels * weight).sum(axis=(1, 2), keepdims=True) / total
    variance = (centred**2 * weight).sum(axis=(1, 2), keepdims=True) / total
    return np.asarray(centred / np.sqrt(variance))


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
    edges = (start + length * np.arange(_CELLS + 1) / _CELLS) * SIDE
    pixel = np.arange(SIDE)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(
        edges[:-1, None], pixel
    )
    overlap = np.clip(overlap, 0, None)
    return np.asarray(overlap / overlap.sum(axis=1, keepdims=True))
