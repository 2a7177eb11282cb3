"""Take metadata out of a photo's file without touching its pixels.

EXIF, XMP, IPTC and comments may hold where a photo was taken, a camera's serial number
or a person's name; a release publishes none of it. JPEG, PNG and WebP are cut: what
makes up the pixels, the colour profile and the orientation stay byte for byte. Other
formats are written anew as PNG, which keeps the decoded pixels exactly.
"""

import io
import re
import struct
import zlib

from evaluation import images

EXTENSIONS = {
    "JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp", "BMP": "bmp",
}  # fmt: skip

_PNG = b"\x89PNG\r\n\x1a\n"
# what decides how pixels look; text, times, EXIF and private chunks are left out
_PNG_KEPT = frozenset(
    b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB iCCP cICP sBIT bKGD hIST pHYs sPLT "
    b"acTL fcTL fdAT mDCV cLLI".split()
)
_WEBP_KEPT = frozenset((b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ICCP", b"ANIM", b"ANMF"))
_SCAN_END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_APP_KEPT = {0xE0: b"JFIF\0", 0xE2: b"ICC_PROFILE\0", 0xEE: b"Adobe"}
_BARE = range(0xD0, 0xD9)  # markers without a length
_FIRST, _END, _SCAN, _COMMENT = 0xC0, 0xD9, 0xDA, 0xFE


class _Malformed(Exception):
    """The container is not as its format says, though its pixels may decode."""


def strip(data: bytes, *, max_pixels: int = images.MAX_PIXELS) -> bytes:
    """The file without metadata; the very same bytes when there was none.

    Args:
        data: a photo's bytes, of a format that `evaluation.images` decodes.
        max_pixels: as in `evaluation.images.decode`.

    Returns: bytes that decode to the same upright pixels: of the same format for JPEG
        (of several pictures, the first), PNG, WebP and BMP, otherwise PNG.

    Raises:
        DecodeError: the photo does not decode.
    """
    header = images.sniff(data, max_pixels=max_pixels)
    try:
        if header.format in ("JPEG", "MPO"):
            return _jpeg(data, header.orientation)
        if header.format == "PNG":
            return _png(data, header.orientation)
        if header.format == "WEBP":
            return _webp(data, header.orientation)
    except (_Malformed, IndexError, struct.error):
        pass
    if header.format == "BMP":  # holds no metadata
        return data
    file = io.BytesIO()
    images.decode(data, max_pixels=max_pixels).save(file, "PNG")
    return file.getvalue()


def extension(data: bytes, *, max_pixels: int = images.MAX_PIXELS) -> str:
    """File name extension, without dot, of what `strip` returned."""
    return EXTENSIONS[images.sniff(data, max_pixels=max_pixels).format]


def _tiff(orientation: int) -> bytes:
    """EXIF that holds an orientation and nothing else."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"MM\0*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)


def _jpeg(data: bytes, orientation: int) -> bytes:
    """Segments that make the picture; nothing after its end."""
    kept, position = [data[:2]], 2
    while True:
        start = position
        if data[position] != 0xFF:
            raise _Malformed
        while data[position] == 0xFF:
            position += 1
        marker, position = data[position], position + 1
        if marker == _END:
            kept.append(data[start:position])
            break
        position += int.from_bytes(data[position : position + 2])
        if marker < _FIRST or marker in _BARE or position > len(data):
            raise _Malformed
        if _jpeg_keeps(marker, data[start:position]):
            kept.append(data[start:position])
        if marker == _SCAN:
            found = _SCAN_END.search(data, position)
            end = found.start() if found else len(data)
            kept.append(data[position:end])
            position = end
            if not found:  # decoders forgive a missing end
                break
    if orientation != 1:
        payload = b"Exif\0\0" + _tiff(orientation)
        place = 2 if kept[1][1] == 0xE0 else 1  # JFIF comes first
        kept.insert(place, b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload)
    return b"".join(kept)


def _jpeg_keeps(marker: int, segment: bytes) -> bool:
    if marker == _COMMENT:
        return False
    if 0xE0 <= marker <= 0xEF:
        start = _APP_KEPT.get(marker)
        return start is not None and segment.lstrip(b"\xff")[3:].startswith(start)
    return True


def _png(data: bytes, orientation: int) -> bytes:
    kept, position = [_PNG], len(_PNG)
    while True:
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise _Malformed
        if name in _PNG_KEPT:
            kept.append(data[position:end])
        if name == b"IHDR" and orientation != 1:
            payload = b"eXIf" + _tiff(orientation)
            size, check = len(payload) - 4, zlib.crc32(payload)
            kept.append(struct.pack(">I", size) + payload + struct.pack(">I", check))
        if name == b"IEND":
            return b"".join(kept)
        position = end


def _webp(data: bytes, orientation: int) -> bytes:
    chunks, position = [], 12
    stop = min(len(data), 8 + struct.unpack_from("<I", data, 4)[0])
    while position + 8 <= stop:
        name, length = struct.unpack_from("<4sI", data, position)
        end = position + 8 + length
        if end > stop:
            raise _Malformed
        body = data[position + 8 : end]
        if name == b"VP8X":
            # flags: 0x08 EXIF, 0x04 XMP
            flags = (body[0] & ~0x0C) | (0x08 if orientation != 1 else 0)
            body = bytes([flags]) + body[1:]
        if name in _WEBP_KEPT:
            chunks.append((name, body))
        position = end + length % 2
    if orientation != 1:
        if chunks[0][0] != b"VP8X":  # EXIF is only allowed in the extended format
            raise _Malformed
        chunks.append((b"EXIF", _tiff(orientation)))
    payload = b"WEBP" + b"".join(
        name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
        for name, body in chunks
    )
    return b"RIFF" + struct.pack("<I", len(payload)) + payload
