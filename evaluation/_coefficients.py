"""The first coefficients of a JPEG's blocks, the other 63 of each passed over.

libjpeg's decoder takes all coefficients from the file symbol by symbol, even those that
it has no use for. Here a table that is looked up with the next 13 bits says how many
bits and coefficients to pass over, mostly several symbols at once.

Source: ITU-T T.81 (1992), annexes C and F.

Compiled by numba, as `evaluation._resample`, and only imported where that is repaid.
"""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from evaluation._resample import COMPILED, _compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["COMPILED", "DC_BITS", "SPARE", "picture", "tables"]

SPARE = 4096
"""Bytes behind the data that may be read; the largest MCU cannot be longer."""

DC_BITS = 12
"""Bits of the longest DC code that is read; 12 categories need no longer one."""

_BITS = 13  # of a look-up: luma's and chroma's tables fill 32 KB, the nearest cache
_RESTART, _END = 0xD0, 0xD9  # markers; the first is the first of eight

# a number of a multi-symbol table: bits 0-4 bits to pass over, 5-11 coefficients,
# 15 whether the block ends
_ENDS = 0x8000
_TOO_FAR = 127 << 5  # more coefficients than are ever left: one symbol by itself

_U = np.uint64

Tables = tuple["NDArray[np.uint16]", "NDArray[np.uint16]", "NDArray[np.uint16]"]
"""`_symbols` of DC, cut to 12 bits, and of AC, and `_several`; in each of them those of
brightness, then those of colour."""


@lru_cache(maxsize=8)  # a camera writes the same into each file
def tables(codes: tuple[bytes, bytes, bytes, bytes]) -> Tables:
    """What is looked up in a scan.

    Args:
        codes: Huffman tables as in the file, 16 counts and then the symbols: DC and AC
            of brightness, then of colour. They have to be sets of codes, those of DC of
            `DC_BITS` at most.
    """
    single = [
        _symbols(np.frombuffer(one[:16], np.uint8), np.frombuffer(one[16:], np.uint8))
        for one in codes
    ]
    dc = np.concatenate([one[:: 1 << (16 - DC_BITS)] for one in single[::2]])
    ac = np.concatenate(single[1::2])
    return dc, ac, np.concatenate([_several(one) for one in single[1::2]])


@_compiled
def _symbols(
    counts: "NDArray[np.uint8]", symbols: "NDArray[np.uint8]"
) -> "NDArray[np.uint16]":
    """Which symbol the next 16 bits begin with.

    Args:
        counts: (16,) codes of 1 to 16 bits.
        symbols: of the codes, in order.

    Returns: (65536,) length of the code times 256, plus the symbol; 0 for no code.
    """
    found = np.zeros(1 << 16, np.uint16)
    place, code = 0, 0
    for length in range(1, 17):
        for _ in range(counts[length - 1]):
            first = code << (16 - length)
            last = (code + 1) << (16 - length)
            found[first:last] = (length << 8) | symbols[place]
            place += 1
            code += 1
        code <<= 1
    return found


@_compiled
def _several(single: "NDArray[np.uint16]") -> "NDArray[np.uint16]":
    """How far one may go with the next 13 bits, through as many symbols as they hold.

    Args:
        single: `_symbols` of AC.

    Returns: (8192,) bits, coefficients and whether the block ends; the end counts as
        one coefficient, for it is only written where there is one left.
    """
    found = np.zeros(1 << _BITS, np.uint16)
    for bits in range(1 << _BITS):
        used, passed, ends = 0, 0, 0
        while not ends:
            one = int(single[((bits << 16 << used) >> _BITS) & 0xFFFF])
            length, run, size = one >> 8, (one >> 4) & 15, one & 15
            ends = _ENDS if size == 0 and run != 15 else 0
            step = 1 if ends else run + 1
            if length == 0 or used + length + size > _BITS or passed + step > 63:
                ends = 0
                break
            used += length + size
            passed += step
        found[bits] = used | (passed << 5) | ends if used else _TOO_FAR
    return found


# --- the scan ------------------------------------------------------------------------


@_compiled
def _unstuffed(
    data: "NDArray[np.uint8]", start: int, found: "NDArray[np.uint8]"
) -> tuple[int, int]:
    """Copy bytes up to a marker, without the zeros that follow bytes of 255.

    Returns: how many were written, and the place of the marker; its 255 is the last
        byte or further if there is none.
    """
    size = len(data)
    place, end = start, 0
    while place < size:
        while place + 8 <= size:  # eight at a time while none of them is 255
            word = _U(0)
            for one in range(8):
                word |= _U(data[_U(place + one)]) << _U(8 * one)
            if (~word - _U(0x0101010101010101)) & word & _U(0x8080808080808080):
                break
            for one in range(8):
                found[_U(end + one)] = data[_U(place + one)]
            place += 8
            end += 8
        while place < size:
            byte = data[place]
            if byte == 255:
                if place + 1 >= size or data[place + 1] != 0:
                    return end, place
                place += 1
            found[end] = byte
            place += 1
            end += 1
            if byte == 255:
                break
    return end, place


@_compiled
def _ahead(data: "NDArray[np.uint8]", bit: np.uint64) -> np.uint64:
    """The next 57 bits or more, from the top."""
    place = bit >> _U(3)
    word = _U(data[place]) << _U(56)
    word |= _U(data[place + _U(1)]) << _U(48)
    word |= _U(data[place + _U(2)]) << _U(40)
    word |= _U(data[place + _U(3)]) << _U(32)
    word |= _U(data[place + _U(4)]) << _U(24)
    word |= _U(data[place + _U(5)]) << _U(16)
    word |= _U(data[place + _U(6)]) << _U(8)
    word |= _U(data[place + _U(7)])
    return word << (bit & _U(7))


@_compiled
def _past_block(
    data: "NDArray[np.uint8]",
    bit: np.uint64,
    ac: "NDArray[np.uint16]",
    several: "NDArray[np.uint16]",
    table: np.uint64,
) -> np.uint64:
    """Pass over the 63 coefficients of a block.

    Args:
        data: bytes without stuffing, `SPARE` more than are looked at.
        bit: place of the first bit.
        ac: `_symbols` of all tables.
        several: `_several` of all tables.
        table: which of them.

    Returns: place of the first bit behind; 0 if there is no such code, or too many
        coefficients.
    """
    left = 63
    while left > 0:
        word = _ahead(data, bit)
        for _ in range(4):  # four times 13 bits are not more than 57
            one = _U(several[(table << _U(_BITS)) + (word >> _U(64 - _BITS))])
            passed = int(np.int64((one >> _U(5)) & _U(127)))
            if passed > left:
                word = _ahead(data, bit)
                one = _U(ac[(table << _U(16)) + (word >> _U(48))])
                run, size = int(np.int64((one >> _U(4)) & _U(15))), one & _U(15)
                if one == 0:
                    return _U(0)
                bit += (one >> _U(8)) + size
                if size == 0 and run != 15:
                    return bit
                left -= run + 1
                break
            used = one & _U(31)
            word <<= used
            bit += used
            left -= passed
            if one & _U(_ENDS):
                return bit
            if left == 0:
                break
    return bit if left == 0 else _U(0)


@_compiled
def _part(
    data: "NDArray[np.uint8]",
    end: int,
    tables: Tables,
    blocks: "NDArray[np.int64]",
    quantum: int,
    first: int,
    last: int,
    found: "NDArray[np.uint8]",
) -> bool:
    """Decode MCUs `first` to `last`, which depend on no others.

    Args:
        data: bytes without stuffing, `SPARE` more than there are.
        end: how many there are.
        tables: of the codes.
        blocks: in an MCU: of brightness across and down, and of colour.
        quantum: what the first coefficient of brightness counts.
        first: MCU, row by row.
        last: one past the last.
        found: picture to write to.

    Returns: whether the bytes were what they have to be, to the last.
    """
    dc, ac, several = tables
    across, down, colours = blocks
    height, width = found.shape
    columns = (width + across - 1) // across
    top, left = first // columns * down, first % columns * across
    bit, mean = _U(0), 0
    for _ in range(first, last):
        if bit > _U(8 * end):
            return False
        y, x = top, left
        for block in range(across * down + colours):
            table = _U(0) if block < across * down else _U(1)
            word = _ahead(data, bit)
            one = _U(dc[(table << _U(DC_BITS)) + (word >> _U(64 - DC_BITS))])
            length, size = one >> _U(8), one & _U(255)
            if one == 0:
                return False
            bit += length + size
            if table == 0:
                # so many bits, below the middle of their range less than nothing
                change = int(np.int64(((word << length) >> _U(1)) >> (_U(63) - size)))
                half = (1 << int(np.int64(size))) >> 1
                mean += change if change >= half else change + 1 - 2 * half
                level = (mean * quantum + 4) >> 3
                if level < -512 or level > 511:  # libjpeg's table ends there
                    return False
                if y < height and x < width:
                    found[y, x] = min(max(level + 128, 0), 255)
                x += 1
                if x == left + across:
                    y, x = y + 1, left
            bit = _past_block(data, bit, ac, several, table)
            if bit == 0:
                return False
        left += across
        if left >= width:
            top, left = top + down, 0
    spare = 8 * end - int(np.int64(bit))
    return 0 <= spare < 8


@_compiled
def picture(
    data: "NDArray[np.uint8]",
    room: "NDArray[np.uint8]",
    tables: Tables,
    blocks: "NDArray[np.int64]",
    restart: int,
    quantum: int,
    found: "NDArray[np.uint8]",
) -> bool:
    """Decode a scan.

    Args:
        data: bytes from the scan on.
        room: `SPARE` more bytes than `data`, for what is written between.
        tables: as `_part`.
        blocks: as `_part`.
        restart: MCUs between markers; 0 for no markers.
        quantum: as `_part`.
        found: (H, W) picture to write to.

    Returns: whether the scan was what it has to be, to the end marker.
    """
    height, width = found.shape
    columns = (width + blocks[0] - 1) // blocks[0]
    total = columns * ((height + blocks[1] - 1) // blocks[1])
    step = restart if restart else total
    place = 0
    for first in range(0, total, step):
        end, place = _unstuffed(data, place, room)
        if place + 1 >= len(data):
            return False
        last = min(first + step, total)
        if not _part(room, end, tables, blocks, quantum, first, last, found):
            return False
        wanted = _RESTART + first // step % 8 if last < total else _END
        if data[place + 1] != wanted:
            return False
        place += 2
    return True
