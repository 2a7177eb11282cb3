"""Pillow's resampling of 8-bit pictures, to the last bit, with wide registers.

The arithmetic is Pillow's own (`src/libImaging/Resample.c`): weights as float64,
rounded to 22 bits after the point; a pass across and one down, each rounded to bytes;
which of them comes first hangs on the version of Pillow. Sums of integers do not hang
on their order, so the order is chosen for speed: 32 rows of a picture are turned on
their side, and each weight is applied to all of them at once. Only what the crop keeps
is computed.

Compiled by numba; without it (a Python that it does not know yet) these are plain
functions that give the same and are too slow to be of use. Importing numba takes half a
second, so this module is imported only where many photos are waiting.
"""

import importlib
import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

COMPILED = importlib.util.find_spec("numba") is not None
"""Whether numba is installed."""

_BITS = 22  # Pillow's PRECISION_BITS: 32, less 8 of a pixel and 2 of overshoot
_ROWS = 32  # rows that are worked on together
_LANES = 4 * _ROWS  # a pixel is four bytes, as Pillow keeps it

_F = TypeVar("_F", bound=Callable[..., object])


def _compiled(function: _F) -> _F:
    if not COMPILED:
        return function
    njit = importlib.import_module("numba").njit
    try:
        made: _F = njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no folder that a cache can be written to
        made = njit(nogil=True)(function)
    return made


@_compiled
def weights(
    length: int, wanted: int, low: int, high: int, cubic: bool
) -> "tuple[NDArray[np.int32], NDArray[np.int64]]":
    """Weights of source pixels for the target pixels `low` to `high`.

    Args:
        length: source pixels.
        wanted: target pixels, before the crop.
        low: first target pixel that is kept.
        high: one past the last.
        cubic: bicubic with a = -0.5, else bilinear.

    Returns: (high - low, K) weights times 2²², and (high - low, 2): first source pixel
        and how many.
    """
    scale = length / wanted
    stretch = max(scale, 1.0)
    support = (2.0 if cubic else 1.0) * stretch
    inverse = 1.0 / stretch
    most = int(np.ceil(support)) * 2 + 1
    found = np.zeros((high - low, most), np.int32)
    place = np.zeros((high - low, 2), np.int64)
    row = np.zeros(most)
    for target in range(low, high):
        centre = (target + 0.5) * scale
        first = max(int(centre - support + 0.5), 0)
        count = min(int(centre + support + 0.5), length) - first
        total = 0.0
        for one in range(count):
            x = abs((one + first - centre + 0.5) * inverse)
            if cubic:
                if x < 1.0:
                    value = ((-0.5 + 2.0) * x - (-0.5 + 3.0)) * x * x + 1.0
                elif x < 2.0:
                    value = (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5
                else:
                    value = 0.0
            else:
                value = 1.0 - x if x < 1.0 else 0.0
            row[one] = value
            total += value
        for one in range(count):
            value = (row[one] / total if total != 0.0 else row[one]) * (1 << _BITS)
            rounded = int(value - 0.5) if value < 0.0 else int(value + 0.5)
            found[target - low, one] = rounded
        place[target - low, 0] = first
        place[target - low, 1] = count
    return found, place


@_compiled
def _add(
    sums: "NDArray[np.int32]", row: "NDArray[np.uint8]", weight: int, count: int
) -> None:
    for lane in range(count):
        sums[lane] += weight * np.int32(row[lane])


@_compiled
def _to_bytes(
    sums: "NDArray[np.int32]", found: "NDArray[np.uint8]", count: int
) -> None:
    for lane in range(count):
        value = sums[lane] >> _BITS
        found[lane] = np.uint8(min(max(value, np.int32(0)), np.int32(255)))


@_compiled
def _turn(
    pixels: "NDArray[np.uint32]",
    tile: "NDArray[np.uint32]",
    first: int,
    rows: int,
    left: int,
    width: int,
) -> None:
    for row in range(rows):
        source = pixels[first + row]
        for x in range(width):
            tile[x, row] = source[left + x]


@_compiled
def _across(
    pixels: "NDArray[np.uint32]",
    kernel: "NDArray[np.int32]",
    place: "NDArray[np.int64]",
    top: int,
    bottom: int,
) -> "NDArray[np.uint32]":
    """Rows `top` to `bottom`, resampled across."""
    size = len(place)
    left = place[0, 0]
    width = place[size - 1, 0] + place[size - 1, 1] - left
    found = np.empty((bottom - top, size), np.uint32)
    tile = np.zeros((width, _ROWS), np.uint32)
    tile_bytes = tile.view(np.uint8)
    sums = np.empty(_LANES, np.int32)
    done = np.empty(_LANES, np.uint8)
    done_pixels = done.view(np.uint32)
    for first in range(top, bottom, _ROWS):
        rows = min(_ROWS, bottom - first)
        _turn(pixels, tile, first, rows, left, width)
        for x in range(size):
            sums[:] = np.int32(1 << (_BITS - 1))
            start = place[x, 0] - left
            for one in range(place[x, 1]):
                _add(sums, tile_bytes[start + one], kernel[x, one], _LANES)
            _to_bytes(sums, done, _LANES)
            for row in range(rows):
                found[first - top + row, x] = done_pixels[row]
    return found


@_compiled
def _down(
    pixels: "NDArray[np.uint32]",
    kernel: "NDArray[np.int32]",
    place: "NDArray[np.int64]",
    top: int,
    left: int,
    right: int,
) -> "NDArray[np.uint32]":
    """Columns `left` to `right`, resampled down; row 0 is row `top` of the source."""
    size = len(place)
    lanes = 4 * (right - left)
    rows = pixels.view(np.uint8)
    found = np.empty((size, right - left), np.uint32)
    found_bytes = found.view(np.uint8)
    sums = np.empty(lanes, np.int32)
    for y in range(size):
        sums[:] = np.int32(1 << (_BITS - 1))
        start = place[y, 0] - top
        for one in range(place[y, 1]):
            row = rows[start + one, 4 * left : 4 * right]
            _add(sums, row, kernel[y, one], lanes)
        _to_bytes(sums, found_bytes[y], lanes)
    return found


@_compiled
def _three_bytes(pixels: "NDArray[np.uint32]") -> "NDArray[np.uint8]":
    height, width = pixels.shape
    rows = pixels.view(np.uint8)
    found = np.empty((height, width, 3), np.uint8)
    for y in range(height):
        source = rows[y]
        line = found[y]
        for x in range(width):
            line[x, 0] = source[4 * x]
            line[x, 1] = source[4 * x + 1]
            line[x, 2] = source[4 * x + 2]
    return found


@_compiled
def square(
    pixels: "NDArray[np.uint32]",
    width: int,
    height: int,
    left: int,
    top: int,
    size: int,
    cubic: bool,
    down_first: bool,
) -> "NDArray[np.uint8]":
    """Resize to `width` × `height`, and cut a square out.

    Args:
        pixels: (H, W) uint32, each the bytes red, green, blue and one more.
        width: pixels across after resizing.
        height: pixels down after resizing.
        left: of the square, 0 to `width` - `size`.
        top: of the square, 0 to `height` - `size`.
        size: of the square.
        cubic: bicubic, else bilinear; both antialiased.
        down_first: resample columns before rows; the bytes between differ.

    Returns: (size, size, 3) uint8.
    """
    across, place = weights(pixels.shape[1], width, left, left + size, cubic)
    down, place_down = weights(pixels.shape[0], height, top, top + size, cubic)
    if down_first:
        first = place[0, 0]
        last = place[size - 1, 0] + place[size - 1, 1]
        between = _down(pixels, down, place_down, 0, first, last)
        place[:, 0] -= first
        return _three_bytes(_across(between, across, place, 0, size))
    first = place_down[0, 0]
    last = place_down[size - 1, 0] + place_down[size - 1, 1]
    between = _across(pixels, across, place, first, last)
    return _three_bytes(_down(between, down, place_down, first, 0, size))
