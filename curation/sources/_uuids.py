"""Uuids by the million: hashed, halved and matched as columns of numbers."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Numbers = npt.NDArray[Any]

_HEX = np.full(256, 255, np.uint8)
_HEX[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)
_HEX[np.frombuffer(b"ABCDEF", np.uint8)] = np.arange(10, 16)
_LOWER = np.uint64(0x2020202020202020)  # what tells capitals apart
_DASHES = [8, 13, 18, 23]
_DIGITS = [place for place in range(36) if place not in _DASHES]


def uuid(high: int, low: int) -> str:
    """An observation's uuid from its halves.

    Example:
        >>> uuid(0xC44B91F300000000, 1)
        'c44b91f3-0000-0000-0000-000000000001'
    """
    digits = f"{high:016x}{low:016x}"
    cuts = (0, 8, 12, 16, 20, 32)
    return "-".join(digits[a:b] for a, b in zip(cuts, cuts[1:], strict=False))


def keys_of(column: pa.ChunkedArray) -> tuple[Numbers, Numbers]:
    """Hashes of those texts that are 36 bytes long, (M,) uint64; which, (N,) bool."""
    text, whole = _matrix(column)
    words = np.ascontiguousarray(text[:, :32]).view("<u8") | _LOWER
    last = np.ascontiguousarray(text[:, 32:]).view("<u4")[:, 0] | np.uint32(0x20202020)
    keys = mixed(last.astype(np.uint64))
    for place in range(4):
        keys = mixed(keys ^ words[:, place])
    return keys, whole


def halves(column: pa.ChunkedArray) -> tuple[Numbers, Numbers, Numbers]:
    """The two halves of uuids of 36 bytes, (N,) uint64; whether they are uuids."""
    text, _ = _matrix(column)
    digits = _HEX[text[:, _DIGITS]]
    valid = (digits < 16).all(axis=1)
    valid &= (text[:, _DASHES] == ord("-")).all(axis=1)
    octets = np.ascontiguousarray((digits[:, ::2] << 4) | (digits[:, 1::2] & 15))
    both = octets.view(">u8").astype(np.uint64)
    return both[:, 0], both[:, 1], valid


def _matrix(column: pa.ChunkedArray) -> tuple[Numbers, Numbers]:
    """Bytes of texts that are 36 long, (M, 36) uint8; which, (N,) bool."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # what an empty column combines to
        array = pa.array([], pa.binary())
    _, offsets, content = array.buffers()
    count = len(array)
    if not count or content is None:
        return np.empty((0, 36), np.uint8), np.zeros(count, bool)
    starts = np.frombuffer(offsets, np.int32)[array.offset : array.offset + count + 1]
    whole = np.diff(starts) == 36
    octets = np.frombuffer(content, np.uint8)
    if whole.all():
        return octets[starts[0] : starts[-1]].reshape(count, 36), whole
    return octets[starts[:-1][whole][:, None] + np.arange(36)], whole


def matches(index: Numbers, keys: Numbers) -> tuple[Numbers, Numbers]:
    """All pairs (place in keys, place in index) of equals; `index` is sorted."""
    low = np.searchsorted(index, keys, side="left")
    counts = np.searchsorted(index, keys, side="right") - low
    place = np.repeat(np.arange(keys.size), counts)
    before = np.repeat(np.cumsum(counts) - counts, counts)
    return place, np.repeat(low, counts) + np.arange(place.size) - before


def mixed(numbers: Numbers) -> Numbers:
    """splitmix64: each bit of the outcome hangs on all of a number's, (N,) uint64."""
    bits = numbers + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
