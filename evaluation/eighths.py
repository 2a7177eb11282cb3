"""The brightness of a baseline JPEG at one eighth, without reading the rest of it.

At this scale a block of 8 × 8 pixels becomes one pixel, its mean, which is the first
coefficient of the block (`evaluation._coefficients`). The pixels are libjpeg's to the
last bit: its 1 × 1 inverse DCT (`jidctred.c`) is a product, a shift and a cut.

What is read is sequential, 8-bit, Huffman-coded, grey or YCbCr with the brightness at
full resolution, in one scan that ends in the end marker. Anything else, and anything
that is not as it has to be, gives None: whether such a file is damaged is for Pillow to
say.

Source: ITU-T T.81 (1992), annex B.

Importing it takes half a second, for what it needs is compiled; see `COMPILED`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evaluation._coefficients import COMPILED, DC_BITS, SPARE, picture, tables

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["COMPILED", "read"]

_SIDE = 65500  # pixels; libjpeg's limit
_BLOCKS = 10  # of an MCU; the standard's limit
_CATEGORIES = 11  # of 8-bit brightness
_COMMENTS = frozenset((*range(0xE0, 0xF0), 0xFE))
_Y_CB_CR = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class _Scan:
    """What a header says that can be read here.

    Attributes:
        start: place of the scan's first byte.
        extent: width and height of the picture, pixels.
        across: blocks of brightness in an MCU, side by side.
        down: blocks of brightness in an MCU, one below the other.
        colours: blocks of colour in an MCU.
        restart: MCUs between restart markers; 0 for no markers.
        quantum: what the first coefficient of brightness counts.
        codes: Huffman tables as in the file: 16 counts, then the symbols; DC and AC of
            brightness, then of colour.
    """

    start: int
    extent: tuple[int, int]
    across: int
    down: int
    colours: int
    restart: int
    quantum: int
    codes: tuple[bytes, bytes, bytes, bytes]


def read(data: bytes) -> "NDArray[np.uint8] | None":
    """Brightness of a JPEG, each side an eighth, rounded up.

    Args:
        data: the file's bytes.

    Returns: (H, W) uint8, what libjpeg makes at this scale; None if the file is not of
        the kind that is read here, or is not as it has to be.
    """
    scan = _header(data)
    if scan is None:
        return None
    width, height = (-(-side // 8) for side in scan.extent)
    found = np.empty((height, width), np.uint8)
    whole = picture(
        np.frombuffer(data, np.uint8, offset=scan.start),
        np.empty(len(data) - scan.start + SPARE, np.uint8),
        tables(scan.codes),
        np.array([scan.across, scan.down, scan.colours]),
        scan.restart,
        scan.quantum,
        found,
    )
    return found if whole else None


# --- the header ----------------------------------------------------------------------


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Marker, content and end of segments, to the first that does not fit."""
    place = 2 if data[:2] == b"\xff\xd8" else len(data)
    while data[place : place + 1] == b"\xff":
        length = int.from_bytes(data[place + 2 : place + 4])
        end = place + 2 + length
        if length < 2 or end > len(data):
            return
        yield data[place + 1], data[place + 4 : end], end
        place = end


def _header(data: bytes) -> _Scan | None:
    """All up to the scan; None if it is not for us."""
    frame, restart = b"", 0
    quanta: dict[int, int] = {}
    codes: dict[int, bytes] = {}
    for marker, body, end in _segments(data):
        if marker == 0xEE and body[:5] == b"Adobe" and body[11:12] != b"\1":
            return None
        if marker in _COMMENTS:
            continue
        if marker == 0xDB:
            if not _quanta(body, quanta):
                return None
        elif marker == 0xC4:
            if not _codes(body, codes):
                return None
        elif marker == 0xDD and len(body) == 2:
            restart = int.from_bytes(body)
        elif marker == 0xC0 and not frame:
            frame = body
        elif marker == 0xDA:
            return _joined(end, frame, body, restart, quanta, codes)
        else:
            return None
    return None


def _quanta(body: bytes, quanta: dict[int, int]) -> bool:
    """Take the first number of each quantisation table."""
    for start in range(0, len(body), 65):
        table = body[start : start + 65]
        if len(table) < 65 or table[0] > 3 or not table[1]:
            return False
        quanta[table[0]] = table[1]
    return True


def _codes(body: bytes, codes: dict[int, bytes]) -> bool:
    """Take Huffman tables; false if one is not a set of codes."""
    while body:
        which, counts = body[0], body[1:17]
        end = 17 + sum(counts)
        if which & 0xEF > 3 or end > len(body) or end > 17 + 256:
            return False
        code = 0
        for length, count in enumerate(counts, start=1):
            code += count
            if code >= 1 << length:  # no code may be all ones
                return False
            code <<= 1
        if which < 16 and (
            max(body[17:end], default=0) > _CATEGORIES or any(counts[DC_BITS:])
        ):
            return False
        codes[which] = body[1:end]
        body = body[end:]
    return True


def _joined(
    start: int,
    frame: bytes,
    scan: bytes,
    restart: int,
    quanta: dict[int, int],
    codes: dict[int, bytes],
) -> _Scan | None:
    """The frame's and the scan's components, if they are the usual ones."""
    count = len(scan) // 2 - 2
    ids = _Y_CB_CR if count == 3 else tuple(frame[6:7])
    if (
        count not in (1, 3)
        or len(frame) != 6 + 3 * count
        or frame[:1] + frame[5:6] != bytes((8, count))
        or scan[:1] + scan[1 + 2 * count :] != bytes((count, 0, 63, 0))
        or tuple(frame[6::3]) != ids
        or tuple(scan[1 : 1 + 2 * count : 2]) != ids
        or not quanta.keys() >= set(frame[8::3])
    ):
        return None
    extent = int.from_bytes(frame[3:5]), int.from_bytes(frame[1:3])
    across, down = frame[7] >> 4, frame[7] & 15
    chosen = scan[2 : 2 + 2 * count : 2]  # tables, DC above AC
    wanted = [half for one in chosen[:2] for half in (one >> 4, 16 + (one & 15))]
    if (
        not 1 <= min(extent) <= max(extent) <= _SIDE
        or {across, down} - {1, 2, 4}
        or across * down + count - 1 > _BLOCKS
        or any(one != 0x11 for one in frame[10::3])
        or chosen[1:2] != chosen[2:]
        or not codes.keys() >= set(wanted)
    ):
        return None
    first, second, *others = (codes[one] for one in wanted)
    third, fourth = others or (first, second)
    if count == 1:  # whatever its shape, a component alone comes block by block
        across = down = 1
    quantum = quanta[frame[8]]
    known = (first, second, third, fourth)
    return _Scan(start, extent, across, down, count - 1, restart, quantum, known)
