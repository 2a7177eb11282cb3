"""Bytes of a photo to pixels: header, upright RGB, and the square a model wants.

Three steps, each usable alone: `sniff` reads the header only and applies the pixel
cap, `decode` gives an upright RGB picture, `fit` cuts the square of a `PixelSpec`.
`decode` is the slow one, so it runs once per photo for all models. Who needs only a
small grey picture has it sooner from `draft`.
"""

import io
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from evaluation.errors import DecodeError
from evaluation.models import PixelSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_PIXELS = 100_000_000
"""Default cap on width × height, before anything is decoded."""

# importing a plugin is what registers it
_PLUGINS = (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF")
"""Formats that are read, told by content; the file's name plays no part."""

_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112  # the EXIF tag
_NOT_READ = {b"ftyphei": "HEIC", b"ftypmif1": "HEIF", b"%PDF": "PDF", b"<svg": "SVG"}
_STRIP = 4_000_000  # pixels
_QUIET = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
_T = TypeVar("_T")

Eighths = Callable[[bytes], "NDArray[np.uint8] | None"]
"""A JPEG's brightness at an eighth, (H, W); None where that is for Pillow to do."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture's header says.

    Attributes:
        format: "JPEG", "PNG", … as Pillow names it; a multi-picture JPEG is "MPO".
        width: pixels across as displayed, that is after the EXIF orientation.
        height: pixels down as displayed.
        orientation: EXIF orientation, 1 to 8; 1 when there is none or it is invalid.
        frames: pictures in the file; above 1 for animations.
        mode: Pillow's mode of the stored pixels, such as "RGB", "CMYK" or "I;16".
    """

    format: str
    width: int
    height: int
    orientation: int
    frames: int
    mode: str


def sniff(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Header:
    """Read a picture's header; no pixel is decoded.

    Args:
        data: the file's bytes.
        max_pixels: refuse pictures of more than this many pixels.

    Returns: the header.

    Raises:
        DecodeError: empty, not a picture of a known format, or too many pixels.
    """
    return _guarded(lambda: _header(_open(data, max_pixels)))


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode a photo to upright 8-bit RGB; safe to call from many threads.

    The first frame of an animation; transparency on white; 16-bit grey scaled to 8
    bits, not clipped; colour profiles ignored, as the models' own pipelines do.

    Args:
        data: the file's bytes.
        max_pixels: refuse pictures of more than this many pixels before decoding.

    Returns: a picture in mode "RGB", as displayed.

    Raises:
        DecodeError: as `sniff`, or truncated or damaged.
    """
    return _guarded(lambda: _upright_rgb(_open(data, max_pixels)))


@dataclass(frozen=True, slots=True)
class Draft:
    """An upright grey picture that may have been scaled down while it was decoded.

    Attributes:
        image: the picture, mode "L", as displayed.
        box: left, top, right and bottom of what the photo covers of it; scaling rounds
            sides up, so the last row or column may be covered in part.
    """

    image: Image.Image
    box: tuple[float, float, float, float]


def draft(
    data: bytes,
    *,
    short_side: int,
    max_pixels: int = MAX_PIXELS,
    eighths: "Eighths | None" = None,
) -> Draft:
    """Decode a photo to upright grey, JPEGs at a half, a quarter or an eighth.

    A JPEG's blocks of 8 × 8 pixels are scaled down before they are made, and its colour
    is not looked at; everything else is decoded in full. All of the file is read either
    way, so what `decode` refuses is refused.

    Args:
        data: the file's bytes.
        short_side: the shorter side keeps at least so many pixels, if it has them.
        max_pixels: as `decode`.
        eighths: reads JPEGs that are wanted at an eighth faster than Pillow, to the
            same pixels, and gives None for those that it leaves to Pillow.

    Returns: the picture, and where in it the photo lies.

    Raises:
        DecodeError: as `decode`.
    """
    return _guarded(
        lambda: _drafted(_open(data, max_pixels), short_side, data, eighths)
    )


def plain_jpeg(data: bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int] | None:
    """Size of a JPEG that is safe with any decoder; its pixels are not decoded.

    That is one picture of three 8-bit channels in YCbCr, with no EXIF orientation but
    1, that ends in its end marker. Everything else (other formats, grey, CMYK, RGB as
    such, multi-picture files, truncated ones) is for `decode`.

    Args:
        data: the file's bytes.
        max_pixels: as `decode`.

    Returns: width and height; None where it is something else.
    """
    if not data.endswith(b"\xff\xd9"):
        return None
    try:
        return _guarded(lambda: _plain_extent(_open(data, max_pixels)))
    except DecodeError:
        return None


def _plain_extent(image: ImageFile.ImageFile) -> tuple[int, int] | None:
    if (
        image.format != "JPEG"
        or image.mode != "RGB"
        or _orientation(image) != 1
        # else its three channels may be red, green and blue themselves
        or [channel[0] for channel in getattr(image, "layer", ())] != [1, 2, 3]
        or image.info.get("adobe_transform", 1) != 1
    ):
        return None
    return image.size


def fit(image: Image.Image, spec: PixelSpec) -> "NDArray[np.uint8]":
    """Cut the square a model wants; bit-identical to open_clip's and timm's PIL steps.

    Args:
        image: a picture in mode "RGB".
        spec: the square's side, and how to get there.

    Returns: (size, size, 3) uint8.
    """
    size = spec.size
    kernel = (
        Image.Resampling.BICUBIC
        if spec.interpolation == "bicubic"
        else Image.Resampling.BILINEAR
    )
    width, height, left, top = plan(image.size, spec)
    if image.size != (width, height):
        image = image.resize((width, height), kernel)
    # Pillow fills what lies outside with black, as torchvision's centre crop does
    square = image.crop((left, top, left + size, top + size))
    return np.array(square, dtype=np.uint8)


def plan(extent: tuple[int, int], spec: PixelSpec) -> tuple[int, int, int, int]:
    """What a picture is resized to, and where the square is cut out.

    Args:
        extent: width and height of the picture.
        spec: the square wanted.

    Returns: width and height to resize to, then left and top of the square; these are
        negative where the picture is the smaller.

    Example:
        >>> plan((640, 480), PixelSpec(size=224))
        (298, 224, 37, 0)
    """
    size = spec.size
    width, height = extent
    if spec.resize == "squash":
        width, height = spec.resize_to, spec.resize_to
    elif width <= height:
        width, height = spec.resize_to, int(spec.resize_to * height / width)
    else:
        width, height = int(spec.resize_to * width / height), spec.resize_to
    return width, height, _offset(width, size), _offset(height, size)


def _offset(length: int, size: int) -> int:
    """Where a centred crop starts; negative where the picture is the smaller."""
    if size > length:
        return -((size - length) // 2)
    return round((length - size) / 2.0)


def _guarded(work: Callable[[], _T]) -> _T:
    """Run Pillow without its warnings, and turn whatever it raises into a reason."""
    for _ in range(3):
        # `catch_warnings` is not thread safe: one filter for Pillow's modules is put
        # in and left in. Another thread may take it out meanwhile: then once more.
        if _QUIET not in warnings.filters:
            warnings.filterwarnings("ignore", module=_QUIET[3].pattern)
        try:
            return work()
        except Warning:
            continue
        except DecodeError:
            raise
        except Image.DecompressionBombError as error:
            message = f"too many pixels: {error}"
            raise DecodeError(message) from error
        except Exception as error:  # Pillow's readers raise nearly anything
            text = re.sub(r" at 0x[0-9a-fA-F]+", "", str(error)) or type(error).__name__
            message = f"truncated or damaged: {text[:160]}"
            raise DecodeError(message) from error
    message = "the decoder warned, and warnings are errors in this process"
    raise DecodeError(message)


def _open(data: bytes, max_pixels: int) -> ImageFile.ImageFile:
    """Open by content, without decoding.

    Pillow's own `open` is not used because its cap is one for the whole process.
    """
    if not data:
        message = "empty file"
        raise DecodeError(message)
    prefix = data[:16]
    for name in FORMATS:
        factory, accept = Image.OPEN[name]
        verdict = accept(prefix) if accept else False
        if isinstance(verdict, str):
            raise DecodeError(verdict)
        if verdict:
            break
    else:
        other = next((v for k, v in _NOT_READ.items() if k in prefix), None)
        found = f"{other} is not read" if other else f"it starts with {prefix[:8]!r}"
        message = f"not a picture: {found}; known: {', '.join(FORMATS)}"
        raise DecodeError(message)
    image = factory(io.BytesIO(data), "")
    width, height = image.size
    if width * height > max_pixels:
        message = f"too many pixels: {width} × {height}, allowed are {max_pixels}"
        raise DecodeError(message)
    return image


def _orientation(image: ImageFile.ImageFile) -> int:
    """EXIF orientation of a picture that is open, not loaded."""
    try:
        # the base class's method: PNG's own would decode the whole picture
        value = Image.Image.getexif(image).get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF is no reason to lose the photo
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _header(image: ImageFile.ImageFile) -> Header:
    orientation, mode = _orientation(image), image.mode
    width, height = image.size
    # Pillow already gives TIFF's size as displayed
    if orientation >= 5 and image.format != "TIFF":
        width, height = height, width
    try:
        frames = int(getattr(image, "n_frames", 1))
    except Exception:  # later frames may be damaged; the first one is what counts
        frames = 1
    return Header(
        format=str(image.format),
        width=width,
        height=height,
        orientation=orientation,
        frames=frames,
        mode=mode,
    )


def _upright_rgb(image: ImageFile.ImageFile) -> Image.Image:
    orientation = _orientation(image)
    image.load()
    picture = _rgb(image)
    if orientation in _TURN and image.format != "TIFF":  # Pillow turns TIFF itself
        picture = picture.transpose(_TURN[orientation])
    return picture


def _drafted(
    image: ImageFile.ImageFile,
    short_side: int,
    data: bytes,
    eighths: "Eighths | None",
) -> Draft:
    scaled = None
    width = image.width
    if image.format in ("JPEG", "MPO") and image.mode in ("L", "RGB"):
        scaled = image.draft("L", (short_side, short_side))
    if scaled is None:
        grey = _upright_grey(image)
        return Draft(grey, (0, 0, *grey.size))
    _, (_, _, right, bottom) = scaled
    orientation = _orientation(image)
    levels = eighths(data) if eighths and right * 8 == width else None
    if levels is not None and levels.shape == (image.height, image.width):
        picture = Image.fromarray(levels)
    else:
        image.load()
        picture = image
    sides = list(picture.size)
    spare = [sides[0] - right, sides[1] - bottom]
    if orientation not in _TURN:
        return Draft(picture, (0, 0, right, bottom))
    if orientation >= 5:
        sides.reverse()
        spare.reverse()
    # what was the end of a row or column may be its start now
    left = spare[0] if orientation in (2, 3, 6, 7) else 0
    top = spare[1] if orientation in (3, 4, 7, 8) else 0
    end = left + sides[0] - spare[0], top + sides[1] - spare[1]
    return Draft(picture.transpose(_TURN[orientation]), (left, top, *end))


def _upright_grey(image: ImageFile.ImageFile) -> Image.Image:
    """As `_upright_rgb`, then grey, in the memory of one picture less."""
    orientation = _orientation(image)
    image.load()
    grey = Image.new("L", image.size)
    top = 0
    for strip in strips(image):
        grey.paste(_rgb(strip).convert("L"), (0, top))
        top += strip.height
    if orientation in _TURN and image.format != "TIFF":
        grey = grey.transpose(_TURN[orientation])
    return grey


def strips(image: Image.Image) -> Iterator[Image.Image]:
    """A picture from top to bottom, some megapixels at a time; a small one as it is.

    What treats each pixel by itself then needs no memory for all.
    """
    rows = max(1, _STRIP // image.width)
    if rows >= image.height:
        yield image
        return
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(top + rows, image.height)))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return _scaled_grey(np.asarray(image))
    if image.mode == "F":
        message = "floating-point pixels have no stated range"
        raise DecodeError(message)
    if image.has_transparency_data:
        whole = Image.new("RGB", image.size)
        top = 0
        for strip in strips(image):
            over = strip.convert("RGBA")
            white = Image.new("RGBA", over.size, "white")
            shown = Image.alpha_composite(white, over).convert("RGB")
            whole.paste(shown, (0, top))
            top += strip.height
        return whole
    return image if image.mode == "RGB" else image.convert("RGB")  # spare the copy


def _scaled_grey(values: "NDArray[np.generic]") -> Image.Image:
    wide = values.astype(np.int64)
    if wide.size and (wide.min() < 0 or wide.max() > 65535):
        message = "32-bit grey pixels have no stated range"
        raise DecodeError(message)
    # 65535 / 255 = 257: rounded to the nearest
    grey = ((wide + 128) // 257).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")
