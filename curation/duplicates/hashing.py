"""Hashes and simple measures of one decoded photo: pure functions on pixels.

pHash and dHash are those of the `imagehash` package, bit for bit, packed into integers
(most significant bit first, row by row, as `str(imagehash)` prints them). What goes
beyond it costs next to nothing: mirrored and rotated copies are found with hashes made
from the same DCT, cropped ones with hashes of windows of the photo.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

VARIANTS = (
    "identity",
    "rotate90",
    "rotate180",
    "rotate270",
    "mirror",
    "mirror-rotate90",
    "mirror-rotate180",
    "mirror-rotate270",
)
"""Dihedral variants by their place in `hashes.phash`; turns are counter-clockwise."""

SIDE = 32
"""Side of the grey square the DCT sees, pixels; the low 8 × 8 coefficients count."""

MEASURED_SIDE = 512
"""Long side for sharpness, and side of the square for noise, pixels."""

Grey = NDArray[np.uint8]

_MOST = 4 * 255  # largest response of the Laplacian
_ODD = np.where(np.arange(8) % 2 == 1, -1.0, 1.0)


def pack(bits: NDArray[np.bool_]) -> int:
    """64 bits as one integer, first bit most significant.

    Example:
        >>> hex(pack(np.eye(8, dtype=bool)))
        '0x8040201008040201'
    """
    return int.from_bytes(np.packbits(bits.reshape(64)).tobytes(), "big")


def low_frequencies(square: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Low 8 × 8 of the two-dimensional DCT-II of (32, 32) grey levels."""
    from scipy import fftpack  # a second of start, and few commands hash

    dct = fftpack.dct(fftpack.dct(square, axis=0), axis=1)
    return np.asarray(dct[:8, :8], dtype=np.float64)


def above_median(low: NDArray[np.float64]) -> int:
    """The hash of low frequencies: which are above their median, DC included."""
    return pack(low > np.median(low))


def phash(grey: Image.Image) -> int:
    """`imagehash.phash` of a picture in mode "L"."""
    return above_median(low_frequencies(thumb(grey)))


def dhash(grey: Image.Image) -> int:
    """`imagehash.dhash` of a picture in mode "L"."""
    pixels = np.asarray(_shrink(grey, (9, 8)))
    return pack(pixels[:, 1:] > pixels[:, :-1])


def dihedral(low: NDArray[np.float64]) -> list[int]:
    """Hashes of the 8 ways a square can be turned and mirrored, in `VARIANTS`' order.

    Mirroring a picture flips the sign of its odd horizontal frequencies, transposing it
    transposes its DCT; the median moves with the signs, so it is taken anew. The result
    equals hashing the turned 32 × 32 square up to rounding; hashing a turned photo
    differs by a few bits, as its reduction to 32 × 32 rounds elsewhere.
    """
    hashes = []
    for start in (low, low * _ODD[None, :]):
        for variant in (
            start,
            start.T * _ODD[:, None],
            start * _ODD[:, None] * _ODD[None, :],
            start.T * _ODD[None, :],
        ):
            hashes.append(above_median(variant))
    return hashes


def thumb(grey: Image.Image) -> NDArray[np.uint8]:
    """The 32 × 32 grey square that `phash` sees, (32, 32) uint8."""
    return np.asarray(_shrink(grey, (SIDE, SIDE)))


def pixels_sha256(image: Image.Image) -> str:
    """sha256 (hex) of width, height and RGB bytes: equal only for equal pictures."""
    digest = hashlib.sha256(f"{image.width} {image.height} ".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def reduced(grey: Image.Image) -> Grey:
    """Grey levels at a long side of at most 512 pixels, for measures that need a scale.

    Smaller pictures stay as they are: enlarging would only make them blurred.
    """
    scale = MEASURED_SIDE / max(grey.size)
    if scale < 1:
        width, height = (max(1, round(side * scale)) for side in grey.size)
        grey = grey.resize((width, height), Image.Resampling.BOX)
    return np.asarray(grey)


def level(levels: Grey) -> tuple[float, float]:
    """Mean and standard deviation of grey levels, 0-255."""
    return _moments(np.bincount(levels.ravel(), minlength=256), 0)


def sharpness(levels: Grey) -> float:
    """Variance of the 4-neighbour Laplacian of grey levels; 0 for less than 3 × 3.

    Source: Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy".
    """
    if min(levels.shape) < 3:
        return 0.0
    wide = levels.astype(np.int16)
    laplacian = wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:]
    laplacian -= 4 * wide[1:-1, 1:-1]
    # whole numbers within ±1020: counting them is exact and faster than averaging
    counts = np.bincount((laplacian + _MOST).ravel(), minlength=2 * _MOST + 1)
    return _moments(counts, -_MOST)[1] ** 2


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
    rows = levels[:-2] - 2 * levels[1:-1] + levels[2:]
    response = rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]
    below = np.cumsum(np.bincount(np.abs(response).ravel()))
    middle = [(response.size - 1) // 2, response.size // 2]
    median = np.searchsorted(below, middle, side="right").mean()
    # 6: the kernel's norm; 0.6745: median of |N(0, 1)|
    return float(median / (6 * 0.6745))


def _moments(counts: NDArray[np.int64], first: int) -> tuple[float, float]:
    """Mean and standard deviation of whole numbers from how often each occurs."""
    values = np.arange(first, first + len(counts))
    total = int(counts.sum())
    sum_, squares = int(counts @ values), int(counts @ values**2)
    variance = (squares * total - sum_**2) / total**2
    return sum_ / total, variance**0.5


def _shrink(grey: Image.Image, size: tuple[int, int]) -> Image.Image:
    return grey.resize(size, Image.Resampling.LANCZOS)
