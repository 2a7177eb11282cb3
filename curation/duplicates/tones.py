"""How much two small pictures differ once their tones are evened out.

Copies are made brighter, of more contrast or with another gamma, and none of that makes
another picture. A rising parabola follows such edits. What it cannot follow is
clipping: of a brightened photo the brightest pixels are all white, and where some of a
cell were clipped its mean is not what the rest of the picture foretells. So pictures
that a parabola leaves apart are also compared as one and its edit, clipped.

Levels are whole numbers in quarters of a grey level, 0-1020, and sums of them and their
products stay below 2**53: they are exact, and an answer hangs on nothing but its pair.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Levels = NDArray[np.float64]

UNIT = 4
"""Levels per grey level."""

BLOCKS = 8
"""A picture has 8 × 8 blocks; the worst of them decides."""

_DARK, _LIGHT = 8 * UNIT, 247 * UNIT  # beyond, an edit of brightness may have clipped
_MIDDLE = 128 * UNIT
_FLAT = 1e-6  # a variance of nothing
_FEWEST = 4  # one cell of so many must count
_CHUNK = 1 << 17  # cells at a time: their temporaries stay in the cache

_TRIED, _HOPELESS = 0.1, 3.0  # between, pictures may have been clipped
_WHITE = 255 * UNIT
_BLACK, _CLIPPED = 2 * UNIT, 253 * UNIT  # beyond, nearly all of a cell was clipped
_FINE = 256  # slopes are whole numbers of 1 / 256
_LEAST, _MOST = 1.05, 2.0  # slopes that are tried
_UPPER = 0.75  # the quantile of gains of cells that is the picture's: the rest clipped
_FITS = 3  # times a line is fitted
_ALIKE = 0.95  # correlation that a picture must have with the edited one


def worst(a: Levels, b: Levels, *, most: float) -> Levels:
    """How much pictures differ in the worst of their blocks; symmetric.

    Args:
        a: (P, S × S) levels; S is 16 or 32.
        b: (P, S × S) levels, compared one to one with `a`.
        most: levels that count as a standard deviation at most: contrast beyond that
            does not hide an animal.

    Returns: (P,) root mean square of what is left in the worst of 8 × 8 blocks, in
        standard deviations of the picture: what the best parabola leaves, see `mapped`,
        or less if one is the other with more brightness or contrast and clipped.
        Infinite where fewer than a quarter of the cells count or there is no contrast.
    """
    found = np.empty(len(a))
    step = max(1, _CHUNK // a.shape[1])
    for at in range(0, len(a), step):
        one, other = a[at : at + step], b[at : at + step]
        some, _ = mapped(one, other, most=most)
        doubt = (some > _TRIED) & ((some < _HOPELESS) | np.isinf(some))
        rows = np.flatnonzero(doubt)
        if len(rows):
            some[rows] = np.fmin(some[rows], _edited(one[rows], other[rows], most))
        found[at : at + step] = some
    return found


def mapped(
    a: Levels, b: Levels, *, most: float = float("inf")
) -> tuple[Levels, Levels]:
    """What a rising parabola leaves in the worst block, and in most; symmetric.

    The one picture's levels are mapped to the other's, whichever way round fits better;
    cells that are nearly black or white in either do not count.

    Args:
        a: (P, S × S) levels; S is 16 or 32.
        b: (P, S × S) levels.
        most: levels that count as a standard deviation at most.

    Returns: (P,) as `worst` has it, and (P,) the same of the median block.
    """
    clear = (np.minimum(a, b) > _DARK) & (np.maximum(a, b) < _LIGHT)
    weight = clear.astype(np.float64)
    total = weight.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        left = _Moments.of((a - _MIDDLE) * weight, total)
        right = _Moments.of((b - _MIDDLE) * weight, total)
        forth = _left_over(left, right, weight, most)
        back = _left_over(right, left, weight, most)
        highest = np.fmin(forth.max(axis=1), back.max(axis=1))
        usual = np.fmin(np.median(forth, axis=1), np.median(back, axis=1))
    known = (total * _FEWEST >= a.shape[1]) & np.isfinite(highest)
    return np.where(known, highest, np.inf), np.where(known, usual, np.inf)


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


def _left_over(x: _Moments, y: _Moments, weight: Levels, most: float) -> Levels:
    """(P, 64) what a rising parabola of x leaves of y in each block."""
    both = (x.levels * y.levels).sum(axis=1, keepdims=True) / x.number
    more = (x.levels**2 * y.levels).sum(axis=1, keepdims=True) / x.number
    line = both - x.mean * y.mean
    bend = more - 2 * x.mean * both + x.mean**2 * y.mean - y.mean * x.second
    slope = np.maximum(line / x.second, 0.0)
    skew = x.third / x.second
    spread = x.fourth - skew * x.third - x.second**2
    curve = np.where(spread > _FLAT, (bend - skew * line) / spread, 0.0)
    # it rises over two standard deviations to either side
    steepest = slope / (4 * np.sqrt(x.second) + np.abs(skew))
    curve = np.clip(curve, -steepest, steepest)
    off = x.levels - x.mean
    left = y.levels - y.mean - slope * off - curve * (off * (off - skew) - x.second)
    means = per_block(left**2 * weight) / np.maximum(per_block(weight), 1)
    return np.asarray(np.sqrt(means / np.minimum(y.second, most**2)))


def _edited(a: Levels, b: Levels, most: float) -> Levels:
    """What is left in the worst block if one is the other, edited and clipped, (P,)."""
    swap = (a.sum(axis=1) > b.sum(axis=1))[:, None]
    dark, bright = np.where(swap, b, a), np.where(swap, a, b)
    found = _clipped(dark, bright, _gains(dark, bright), np.zeros(len(a)), most)
    rows = np.flatnonzero(found > _TRIED)
    if len(rows):
        found[rows] = np.fmin(found[rows], _clipped(*_lines(a[rows], b[rows]), most))
    return found


def _clipped(
    x: Levels, y: Levels, slope: Levels, offset: Levels, most: float
) -> Levels:
    """What slope × x + offset, clipped, leaves of y in the worst block, (P,).

    The pixels of a cell are not known, only their mean, and those that are clipped take
    or give some. So a cell may lie anywhere from what it would be if its pixels were
    alike to what it would be if each were black or white.
    """
    steep, shift = np.maximum(slope, 1)[:, None], offset[:, None] * _FINE
    top = _WHITE * _FINE
    straight = np.clip(x * steep + shift, 0, top)
    start, end = np.clip(shift, 0, top), np.clip(_WHITE * steep + shift, 0, top)
    # of all edges between pixels that stay black and that become white
    black = np.clip(-shift / steep, 0, _WHITE - UNIT)
    white = np.clip((top - shift) / steep, UNIT, _WHITE)
    least = start + (end - start) * np.maximum(x - black, 0) / (_WHITE - black)
    highest = start + (end - start) * np.minimum(x / white, 1)
    fine = y * _FINE
    low, high = np.minimum(least, straight), np.maximum(highest, straight)
    off = np.rint(fine - np.clip(fine, low, high))
    means = per_block(off**2).max(axis=1) / (x.shape[1] // BLOCKS**2)
    counts = (y < _CLIPPED) & (y > _BLACK)
    number = counts.sum(axis=1)
    spread = np.minimum(_variance(y * counts, number), most**2)
    likely = (slope >= _LEAST * _FINE) & (slope <= _MOST * _FINE)
    likely &= (number * _FEWEST >= x.shape[1]) & (spread > _FLAT)
    likely &= _correlation(straight, fine) >= _ALIKE
    return np.where(likely, np.sqrt(means / np.maximum(spread, _FLAT)) / _FINE, np.inf)


def _gains(dark: Levels, bright: Levels) -> Levels:
    """(P,) what most cells were multiplied by, in 1 / 256; 0 if none can tell."""
    counts = (bright < _CLIPPED) & (dark > _DARK)
    each = np.where(counts, bright / np.maximum(dark, 1), np.inf)
    each.sort(axis=1)
    place = np.maximum(counts.sum(axis=1) - 1, 0) * _UPPER
    found = each[np.arange(len(each)), place.astype(np.int64)]
    return np.asarray(np.rint(np.where(np.isfinite(found), found, 0.0) * _FINE))


def _lines(a: Levels, b: Levels) -> tuple[Levels, Levels, Levels, Levels]:
    """The picture of less contrast, the other, and the line from it to that.

    Half of the cells lie close to the line: what was clipped does not move it.

    Returns: (P, S × S) twice, and (P,) slope in 1 / 256 and offset.
    """
    counts = (np.minimum(a, b) > _DARK) & (np.maximum(a, b) < _LIGHT)
    number = counts.sum(axis=1)
    swap = _variance(a * counts, number) > _variance(b * counts, number)
    x, y = np.where(swap[:, None], b, a), np.where(swap[:, None], a, b)
    slope, offset = _line(x, y, counts)
    for _ in range(_FITS - 1):
        off = np.abs(y - slope[:, None] * x - offset[:, None])
        off = np.where(counts, off, np.inf)
        half = np.sort(off, axis=1)[np.arange(len(off)), number // 2]
        slope, offset = _line(x, y, counts & (off <= half[:, None]))
    return x, y, np.rint(slope * _FINE), np.rint(offset)


def _line(x: Levels, y: Levels, counts: NDArray[np.bool_]) -> tuple[Levels, Levels]:
    """(P,) slope and offset by least squares; the slope is 0 without contrast."""
    number = np.maximum(counts.sum(axis=1), 1)
    shown = x * counts
    mean_x, mean_y = shown.sum(axis=1) / number, (y * counts).sum(axis=1) / number
    both = (shown * y).sum(axis=1) / number - mean_x * mean_y
    second = (shown * x).sum(axis=1) / number - mean_x**2
    slope = np.where(second > _FLAT, both / np.maximum(second, _FLAT), 0.0)
    return slope, mean_y - slope * mean_x


def _variance(levels: Levels, number: NDArray[np.int64]) -> Levels:
    """(P,) variance of `number` levels; the others are 0."""
    many = np.maximum(number, 1)
    mean = levels.sum(axis=1) / many
    return np.asarray((levels**2).sum(axis=1) / many - mean**2)


def _correlation(x: Levels, y: Levels) -> Levels:
    """(P,) Pearson's; 0 where one has no contrast."""
    number = x.shape[1]
    x, y = np.rint(x), np.rint(y)
    mean_x, mean_y = x.sum(axis=1) / number, y.sum(axis=1) / number
    both = (x * y).sum(axis=1) / number - mean_x * mean_y
    spread = ((x**2).sum(axis=1) / number - mean_x**2) * (
        (y**2).sum(axis=1) / number - mean_y**2
    )
    return np.where(spread > _FLAT, both / np.sqrt(np.maximum(spread, _FLAT)), 0.0)


def per_block(cells: Levels) -> Levels:
    """Sums over blocks, (P, 64); a side of `BLOCKS` times a power of 2."""
    side = round(cells.shape[1] ** 0.5)
    square: Levels = cells.reshape(-1, side, side)
    while square.shape[1] > BLOCKS:
        pairs = square[:, 0::2] + square[:, 1::2]
        square = pairs[:, :, 0::2] + pairs[:, :, 1::2]
    return square.reshape(-1, BLOCKS**2)
