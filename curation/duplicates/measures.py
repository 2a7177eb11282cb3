"""Simple measures of a photo's grey levels: contrast, sharpness, noise.

They are made from whole numbers that are counted or summed exactly, so they do not
depend on the order of sums or on the machine.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MEASURED_SIDE = 512
"""Long side for sharpness, and side of the square for noise, pixels."""

Grey = NDArray[np.uint8]


def reduced(grey: Image.Image) -> Image.Image:
    """The picture at a long side of at most 512 pixels, for measures that need a scale.

    Smaller pictures stay as they are: enlarging would only make them blurred.
    """
    scale = MEASURED_SIDE / max(grey.size)
    if scale >= 1:
        return grey
    width, height = (max(1, round(side * scale)) for side in grey.size)
    return grey.resize((width, height), Image.Resampling.BOX)


def level(grey: Image.Image) -> tuple[float, float]:
    """Mean and standard deviation of a picture in mode "L", grey levels."""
    counts = np.array(grey.histogram(), np.int64)
    values = np.arange(len(counts))
    return _moments(int(counts.sum()), int(counts @ values), int(counts @ values**2))


def sharpness(levels: Grey) -> float:
    """Variance of the 4-neighbour Laplacian of grey levels; 0 for less than 3 × 3.

    Source: Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy".
    """
    if min(levels.shape) < 3:
        return 0.0
    wide = levels.astype(np.int16)
    laplacian = wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:]
    laplacian -= 4 * wide[1:-1, 1:-1]
    # whole numbers, whose sums stay far below 2**53: exact in any order
    values = laplacian.ravel().astype(np.float64)
    total, squares = int(values.sum()), int(np.einsum("i,i->", values, values))
    return _moments(len(values), total, squares)[1] ** 2


def noise(grey: Image.Image) -> float:
    """Standard deviation of pixel noise, grey levels, in the central 512 × 512 pixels.

    The kernel is Immerkær's (1996, "Fast noise variance estimation"), blind to planes
    and ramps; the median of its response, not the mean: edges and fur count less.
    """
    width, height = grey.size
    side = MEASURED_SIDE
    left, top = max(0, (width - side) // 2), max(0, (height - side) // 2)
    box = (left, top, min(width, left + side), min(height, top + side))
    levels = np.asarray(grey.crop(box)).astype(np.int16)
    if min(levels.shape) < 3:
        return 0.0
    rows = levels[:-2] + levels[2:]
    rows -= 2 * levels[1:-1]
    response = rows[:, :-2] + rows[:, 2:]
    response -= 2 * rows[:, 1:-1]
    np.abs(response, out=response)
    middle = [(response.size - 1) // 2, response.size // 2]
    below = np.cumsum(_counts(response))
    if below[-2] <= middle[1]:  # among those that were counted together
        below = np.cumsum(np.bincount(response.ravel()))
    median = np.searchsorted(below, middle, side="right").mean()
    # 6: the kernel's norm; 0.6745: median of |N(0, 1)|
    return float(median / (6 * 0.6745))


def _counts(values: NDArray[np.int16]) -> NDArray[np.int64]:
    """How often 0, 1, … 254 occur, and 255 or more, (256,); Pillow counts fast."""
    clipped = np.minimum(values, 255).astype(np.uint8)
    return np.array(Image.fromarray(clipped).histogram(), np.int64)


def _moments(count: int, total: int, squares: int) -> tuple[float, float]:
    """Mean and standard deviation of whole numbers from their sums."""
    variance = (squares * count - total**2) / count**2
    return total / count, variance**0.5
