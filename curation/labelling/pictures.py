"""What a browser shows of a photo: the file itself, or an upright JPEG made of it."""

import io

from curation.errors import DecodeError
from evaluation.images import MAX_PIXELS, Header, decode, sniff

SUFFIX = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif"}
"""End of the file's name, of formats that every browser shows, as Pillow calls them."""

KIND = {suffix: f"image/{suffix}" for suffix in SUFFIX.values()} | {"jpg": "image/jpeg"}
"""Media type by the end of the name."""

LARGE = 20_000_000
"""Pictures of more pixels are made smaller: pages grow slow with them."""

HEAD = 1 << 16
"""Bytes in which a header is looked for first; then in the whole file."""

_SIDE = 4096
_QUALITY = 92
# CMYK, 16-bit and floating-point pixels look wrong, or do not show at all
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")


def shown_as_is(format: str, width: int, height: int) -> bool:
    """Whether a file may be shown as it is, as far as format and size tell.

    Example:
        >>> shown_as_is("JPEG", 4000, 3000), shown_as_is("TIFF", 40, 30)
        (True, False)
    """
    return format in SUFFIX and width * height <= LARGE


def shows(header: Header) -> bool:
    """Whether browsers show a file as it is, and upright."""
    # every browser turns a JPEG by its EXIF orientation, not every one the others
    turned = header.orientation != 1 and header.format not in ("JPEG", "MPO")
    return (
        shown_as_is(header.format, header.width, header.height)
        and header.mode in _MODES
        and not turned
    )


def suffix(data: bytes, *, max_pixels: int = MAX_PIXELS) -> str | None:
    """End of the name a file is shown under as it is; None when it needs `jpeg`.

    Args:
        data: the file's bytes; the first `HEAD` of a JPEG or PNG mostly do.
        max_pixels: as `evaluation.images.decode`.

    Raises:
        DecodeError: no picture, or its header lies behind these bytes.
    """
    header = sniff(data, max_pixels=max_pixels)
    return SUFFIX[header.format] if shows(header) else None


def jpeg(data: bytes, *, max_pixels: int = MAX_PIXELS) -> bytes:
    """An upright JPEG of a photo, at most 4,096 pixels a side if it was `LARGE`.

    Args:
        data: the photo's bytes.
        max_pixels: as `evaluation.images.decode`.

    Raises:
        DecodeError: no picture, damaged, or too many pixels.
    """
    picture = decode(data, max_pixels=max_pixels)
    if picture.width * picture.height > LARGE:
        picture.thumbnail((_SIDE, _SIDE))
    sink = io.BytesIO()
    picture.save(sink, "JPEG", quality=_QUALITY)
    return sink.getvalue()


def shown(data: bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[bytes, str]:
    """What a browser is given for a photo, and its media type.

    Raises:
        DecodeError: as `jpeg`.
    """
    name = suffix(data, max_pixels=max_pixels)
    if name is None:
        return jpeg(data, max_pixels=max_pixels), KIND["jpg"]
    return data, KIND[name]


def decodes(data: bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int] | None:
    """Width and height of a picture that can be decoded whole; None if it cannot."""
    try:
        return decode(data, max_pixels=max_pixels).size
    except DecodeError:
        return None
