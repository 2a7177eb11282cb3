"""Hashes of photos: of whole batches, from bytes, by one of two decoding paths.

`FULL` decodes every pixel. pHash and dHash are those of the `imagehash` package, bit
for bit, packed into integers (most significant bit first, row by row, as
`str(imagehash)` prints them), and there is a hash of the pixels themselves.

`FAST` has JPEGs scaled down while they are decoded and looks at their brightness only.
Its hashes differ from those of `FULL` by few bits, so both are compared within the same
radii. What needs every pixel is missing: the hash of the pixels, sharpness and noise.

What goes beyond imagehash costs next to nothing: mirrored and rotated copies are found
with hashes made from the same DCT, cropped ones with hashes of windows of the thumb.
"""

import hashlib
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curation.duplicates import measures
from evaluation import images
from evaluation.errors import DecodeError, InputError

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

DRAFT_SIDE = 64
"""Pixels that the shorter side of a scaled JPEG keeps at least, where it has them."""

FULL = "full-decode lanczos-32 1"
FAST = f"draft-{DRAFT_SIDE} lanczos-32 1"
"""Versions of the two paths, kept with every hash; another number is another path."""

REPAYS = 128_000_000
"""Bytes of large JPEGs in a process that repay loading their compiled reader.

Loading costs about 0.5 s and 130 MB of memory; then each megabyte takes 4 ms less.
"""

PATHS = {"full": FULL, "fast": FAST}
"""Paths by the names that people choose them by."""

Squares = NDArray[np.uint8]
Real = NDArray[np.float64]
Codes = NDArray[np.uint64]
Bits = NDArray[np.bool_]

_LANCZOS = Image.Resampling.LANCZOS
_CHUNK = 1024  # photos whose coefficients are in memory at once
_LARGE = 500_000  # bytes of a JPEG
_COLUMNS = (
    "error", "pixels", "phash", "dhash", "thumb", "texture", "sharpness", "brightness",
    "noise",
)  # fmt: skip
_ODD = np.where(np.arange(8) % 2 == 1, -1.0, 1.0)
_SIGNS = np.stack([np.ones((8, 8)), np.ones((8, 1)) * _ODD, _ODD[:, None] * np.ones(8),
                   np.outer(_ODD, _ODD)])  # fmt: skip
_UPRIGHT, _MIRROR, _FLIP, _HALF_TURN = range(4)  # which of the signs makes which


def rows(
    data: Sequence[bytes], *, path: str, max_pixels: int
) -> list[dict[str, object]]:
    """Hash photos; each row depends on its own photo only.

    Args:
        data: files, as bytes.
        path: `FULL` or `FAST`.
        max_pixels: refuse pictures of more than this many pixels.

    Returns: a row per photo, in order, with the columns of the table `hashes` but
        photo_id. One that cannot be decoded has status "failed" and the reason.

    Raises:
        InputError: there is no such path.
    """
    if path not in PATHS.values():
        message = f"no hashing path {path!r}; known: {', '.join(PATHS.values())}"
        raise InputError(message)
    made: list[dict[str, object]] = []
    for start in range(0, len(data), _CHUNK):
        made += _chunk(data[start : start + _CHUNK], path, max_pixels)
    return made


def _chunk(
    data: Sequence[bytes], path: str, max_pixels: int
) -> list[dict[str, object]]:
    read = _full if path == FULL else partial(_fast, eighths=_eighths(data))
    made: list[dict[str, object]] = []
    good: list[dict[str, object]] = []
    squares: list[Squares] = []
    for photo in data:
        row: dict[str, object] = dict.fromkeys(_COLUMNS) | {"path": path}
        made.append(row)
        try:
            square, columns = read(photo, max_pixels)
        except DecodeError as error:
            row |= {"status": "failed", "error": str(error)}
            continue
        row |= columns | {"status": "ok", "thumb": square.tobytes()}
        good.append(row)
        squares.append(square)
    if good:
        whole = np.stack(squares)
        low = low_frequencies(whole) if path == FULL else whole_frequencies(whole)
        for row, codes in zip(good, variants(low).tolist(), strict=True):
            row["phash"] = codes
        if path == FAST:
            codes = rising(narrowed_thumbs(whole)).tolist()
            for row, code in zip(good, codes, strict=True):
                row["dhash"] = code
    return made


def _full(data: bytes, max_pixels: int) -> tuple[Squares, dict[str, object]]:
    """Thumb, and columns that are made photo by photo, from every pixel."""
    image = images.decode(data, max_pixels=max_pixels)
    grey = image.convert("L")
    small = measures.reduced(grey)
    mean, deviation = measures.level(small)
    return thumb(grey), {
        "pixels": pixels_sha256(image),
        "dhash": dhash(grey),
        "texture": deviation,
        "sharpness": measures.sharpness(np.asarray(small)),
        "brightness": mean / 255,
        "noise": measures.noise(grey),
    }


def _fast(
    data: bytes, max_pixels: int, *, eighths: images.Eighths | None
) -> tuple[Squares, dict[str, object]]:
    """As `_full`, from a picture scaled down in the decoder."""
    draft = images.draft(
        data,
        short_side=DRAFT_SIDE,
        max_pixels=max_pixels,
        eighths=eighths if _is_large(data) else None,
    )
    mean, deviation = measures.level(draft.image)
    columns: dict[str, object] = {"texture": deviation, "brightness": mean / 255}
    return thumb(draft.image, box=draft.box), columns


def _is_large(data: bytes) -> bool:
    return len(data) >= _LARGE and data.startswith(b"\xff\xd8")


_large_bytes = 0  # of large JPEGs that this process was given


def _eighths(data: Sequence[bytes]) -> images.Eighths | None:
    """The compiled reader of large JPEGs, from when loading it is repaid.

    Its pixels are Pillow's, so that it does not matter when that is.
    """
    global _large_bytes
    _large_bytes += sum(len(photo) for photo in data if _is_large(photo))
    if _large_bytes < REPAYS:
        return None
    from evaluation import eighths  # slow to load

    return eighths.read if eighths.COMPILED else None


# --- from pixels to codes ------------------------------------------------------------

Box = tuple[float, float, float, float]


def thumb(grey: Image.Image, *, box: Box | None = None) -> Squares:
    """The 32 × 32 grey square that pHash sees, (32, 32) uint8.

    Args:
        grey: a picture in mode "L".
        box: the part of it to look at; all of it when None.
    """
    return np.asarray(grey.resize((SIDE, SIDE), _LANCZOS, box))


def narrowed_thumbs(squares: Squares) -> Squares:
    """Thumbs 9 pixels wide and 8 high, (N, 8, 9): what the fast path's dHash sees.

    By Pillow's Lanczos weights rounded to 16 bits, so that sums are exact as in
    `whole_frequencies`.
    """
    one = Image.fromarray(np.eye(SIDE, dtype=np.float32))
    across, down = (
        np.rint(np.asarray(one.resize((SIDE, n), _LANCZOS)).astype(np.float64) * 2**16)
        for n in (9, 8)
    )
    levels = np.rint(down @ squares.astype(np.float64) @ across.T / 2**32)
    return np.asarray(np.clip(levels, 0, 255).astype(np.uint8))


def phash(grey: Image.Image) -> int:
    """`imagehash.phash` of a picture in mode "L"."""
    return int(variants(low_frequencies(thumb(grey)[None]))[0, 0])


def dhash(grey: Image.Image) -> int:
    """`imagehash.dhash` of a picture in mode "L"."""
    return int(rising(np.asarray(grey.resize((9, 8), _LANCZOS))[None])[0])


def low_frequencies(squares: Squares) -> Real:
    """Low 8 × 8 of the two-dimensional DCT-II of grey squares.

    By the very function that imagehash calls, for its roundings decide the bits of
    pictures with equal coefficients.

    Args:
        squares: (N, 32, 32) grey levels.

    Returns: (N, 8, 8); rows are vertical frequencies.
    """
    from scipy import fftpack  # slow to load, and few commands hash fully

    dct = fftpack.dct(fftpack.dct(squares, axis=-2), axis=-1)
    return np.asarray(dct[:, :8, :8], dtype=np.float64)


def whole_frequencies(squares: Squares) -> Real:
    """As `low_frequencies`, as two matrix products of whole numbers.

    The cosines are rounded to 17 bits, so that all sums stay below 2**53 and are exact:
    the same on every machine, in batches of any size, and for a turned square.

    Args:
        squares: (N, 32, 32) grey levels.

    Returns: (N, 8, 8) whole numbers, 2**34 times the plain DCT.
    """
    place, frequency = np.arange(SIDE), np.arange(8)
    cosines = np.cos(np.pi * np.outer(frequency, 2 * place + 1) / (2 * SIDE))
    basis = np.rint(cosines * 2**17)
    return np.asarray(basis @ squares.astype(np.float64) @ basis.T)


def variants(low: Real) -> Codes:
    """Hashes of the 8 ways a square can be turned and mirrored, in `VARIANTS`' order.

    A hash says which low frequencies are above their median, the constant one included.
    Mirroring a picture flips the sign of its odd horizontal frequencies, transposing it
    transposes its DCT; the median moves with the signs, so it is taken anew. The result
    equals hashing the turned 32 × 32 square up to rounding; hashing a turned photo
    differs by a few bits, as its reduction to 32 × 32 rounds elsewhere.

    Args:
        low: (N, 8, 8) low frequencies.

    Returns: (N, 8) uint64.
    """
    signed = low[:, None] * _SIGNS
    # of so few a whole sort is quicker than a partition at two places
    ordered = np.sort(signed.reshape(len(low), 4, 64), axis=2)
    median = (ordered[:, :, 31] + ordered[:, :, 32]) / 2
    above = signed > median[:, :, None, None]
    straight, transposed = packed(above), packed(above.swapaxes(2, 3))
    return np.stack(
        [
            straight[:, _UPRIGHT],
            transposed[:, _MIRROR],
            straight[:, _HALF_TURN],
            transposed[:, _FLIP],
            straight[:, _MIRROR],
            transposed[:, _UPRIGHT],
            straight[:, _FLIP],
            transposed[:, _HALF_TURN],
        ],
        axis=1,
    )


def rising(cells: Squares) -> Codes:
    """dHashes: where a pixel is brighter than the one on its left.

    Args:
        cells: (N, 8, 9) grey levels.

    Returns: (N,) uint64.
    """
    return packed(cells[:, :, 1:] > cells[:, :, :-1])


def packed(bits: Bits) -> Codes:
    """The last 8 × 8 bits as one integer, first bit most significant.

    Example:
        >>> hex(packed(np.eye(8, dtype=bool)))
        '0x8040201008040201'
    """
    rows = np.packbits(bits, axis=-1)[..., 0]
    return np.ascontiguousarray(rows).view(">u8")[..., 0].astype(np.uint64)


def pixels_sha256(image: Image.Image) -> str:
    """sha256 (hex) of width, height and RGB bytes: equal only for equal pictures."""
    digest = hashlib.sha256(f"{image.width} {image.height} ".encode())
    for strip in images.strips(image):  # the bytes of all are as many once more
        digest.update(strip.tobytes())
    return digest.hexdigest()
