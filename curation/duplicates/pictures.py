"""What of photos is compared, held in as little memory as can be.

Nearly all that is known of a photo is its thumb, 1 kB. Thumbs stay where they were
read, and are gathered for the few photos that are looked at.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.duplicates import likeness
from curation.duplicates.hashing import SIDE, VARIANTS
from curation.rows import numbers
from curation.rows import places as listed

Places = NDArray[np.int64]

_SIZE = SIDE * SIDE  # bytes of a thumb
_AT_ONCE = 32  # thumbs gathered to look at all of them: no memory comes and goes

# sums with odd factors tell most thumbs apart; what they do not is compared
_FACTORS = np.random.default_rng(0).integers(
    0, 2**64, _SIZE // 4, dtype=np.uint64
) | np.uint64(1)


@dataclass(frozen=True, slots=True)
class Thumbs:
    """Thumbs of some rows of a column, left where they are until they are asked for.

    Attributes:
        data: bytes of each chunk of the column.
        starts: the first row of each.
        offsets: of each row of the column, where its thumb begins in its chunk.
        rows: (N,) row of each thumb.
    """

    data: list[memoryview]
    starts: Places
    offsets: NDArray[np.int32]
    rows: Places

    @classmethod
    def read(cls, column: pa.ChunkedArray, rows: Places | None = None) -> Self:
        """Of a column, which is held as long as they are.

        Args:
            column: binary, 1,024 bytes or null each.
            rows: those meant, none of them null; all when None.
        """
        chunks = [chunk for chunk in column.cast(pa.binary()).chunks if len(chunk)]
        offsets: list[NDArray[np.int32]] = [np.empty(0, np.int32)]
        for chunk in chunks:
            whole = np.frombuffer(chunk.buffers()[1], np.int32)
            offsets.append(whole[chunk.offset : chunk.offset + len(chunk)])
        return cls(
            data=[memoryview(chunk.buffers()[2] or b"") for chunk in chunks],
            starts=np.cumsum([0, *map(len, chunks)])[:-1],
            offsets=np.concatenate(offsets),
            rows=np.arange(len(column)) if rows is None else rows,
        )

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, places: Places | slice) -> NDArray[np.uint8]:
        """(P, 32, 32) grey levels of the thumbs at some places."""
        rows = self.rows[places]
        chunks = np.searchsorted(self.starts, rows, side="right") - 1
        at = zip(chunks.tolist(), self.offsets[rows].tolist(), strict=True)
        found = b"".join([self.data[chunk][byte : byte + _SIZE] for chunk, byte in at])
        return np.frombuffer(found, np.uint8).reshape(-1, SIDE, SIDE)

    def windows(self) -> NDArray[np.uint64]:
        """(N, 13) `likeness.window_hashes` of all."""
        found = np.empty((len(self), len(likeness.WINDOWS)), np.uint64)
        for at in range(0, len(self), _AT_ONCE):
            part = slice(at, at + _AT_ONCE)
            found[part] = likeness.window_hashes(self[part])
        return found

    def firsts(self) -> Places:
        """(N,) first place with the same thumb."""
        sums = np.empty(len(self), np.uint64)
        for at in range(0, len(self), _AT_ONCE):
            part = self[at : at + _AT_ONCE].reshape(-1, _SIZE).view(np.uint32)
            sums[at : at + _AT_ONCE] = part.astype(np.uint64) @ _FACTORS
        found = first_of_each(sums)
        others = []
        later = np.flatnonzero(found != np.arange(len(found)))
        for at in range(0, len(later), _AT_ONCE):
            some = later[at : at + _AT_ONCE]
            equal = (self[some] == self[found[some]]).all(axis=(1, 2))
            others += some[~equal].tolist()
        seen: dict[bytes, int] = {}
        for place in others:
            found[place] = seen.setdefault(self[np.array([place])].tobytes(), place)
        return found


@dataclass(frozen=True, slots=True)
class Pictures:
    """What of photos is compared.

    Attributes:
        codes: (N, 8) uint64 hashes, by `hashing.VARIANTS`.
        thumbs: of the N photos.
        windows: (N, 13) uint64, `likeness.window_hashes` of the thumbs.
    """

    codes: NDArray[np.uint64]
    thumbs: Thumbs
    windows: NDArray[np.uint64]

    @classmethod
    def of(cls, hashes: pa.Table, rows: Places | None = None) -> Self:
        """Of rows with `phash` and `thumb`, none of them null.

        Args:
            hashes: with those columns.
            rows: which of them; all when None.
        """
        rows = np.arange(hashes.num_rows) if rows is None else rows
        thumbs = Thumbs.read(hashes["thumb"], rows)
        return cls(_codes(hashes["phash"], rows), thumbs, thumbs.windows())

    def __len__(self) -> int:
        return len(self.codes)


@dataclass(frozen=True, slots=True)
class Photos:
    """What is decided on: rows of a table that is never copied.

    Attributes:
        hashes: the table.
        rows: (N,) the row of each photo, best keeper first.
    """

    hashes: pa.Table
    rows: Places

    def __len__(self) -> int:
        return len(self.rows)

    def ids(self, places: Places) -> list[str]:
        """Their photo_ids."""
        rows = listed(self.rows[places])
        found: list[str] = self.hashes["photo_id"].take(rows).to_pylist()
        return found

    @property
    def texture(self) -> NDArray[np.float64]:
        """(N,) standard deviation of grey, 0-255."""
        return np.asarray(numbers(self.hashes["texture"])[self.rows])

    @property
    def unhashed(self) -> NDArray[np.bool_]:
        """(N,) whose pixels were not hashed."""
        return np.asarray(numbers(self.hashes["pixels"].is_null())[self.rows])

    def first_pixels(self) -> Places:
        """(N,) first photo known to have the same pixels."""
        return firsts(self.hashes["pixels"], self.rows)

    def first_thumbs(self) -> Places:
        """(N,) first photo of the same thumb."""
        return Thumbs.read(self.hashes["thumb"], self.rows).firsts()


def _codes(column: pa.ChunkedArray, rows: Places) -> NDArray[np.uint64]:
    """(R, 8) hashes of some rows."""
    found = np.empty((len(rows), len(VARIANTS)), np.uint64)
    order = np.argsort(rows, kind="stable")
    ascending, start = rows[order], 0
    for chunk in column.chunks:
        begin, end = np.searchsorted(ascending, [start, start + len(chunk)])
        if begin < end:
            # nulls have no values: flattened, the others move up
            there = np.cumsum(numbers(chunk.is_valid())) - 1
            values = numbers(chunk.flatten()).reshape(-1, len(VARIANTS))
            found[order[begin:end]] = values[there[ascending[begin:end] - start]]
        start += len(chunk)
    return found


def firsts(column: pa.ChunkedArray, rows: Places | None = None) -> Places:
    """(N,) first place with the same text; a null is like no other.

    Args:
        column: texts.
        rows: those meant, in the order of places; all when None.
    """
    count = len(column) if rows is None else len(rows)
    places = np.arange(count)
    if column.null_count == len(column):
        return places
    codes = column.combine_chunks().dictionary_encode().indices
    found = numbers(codes.fill_null(-1))
    found = found if rows is None else found[rows]
    return np.where(found < 0, places, first_of_each(found))


def first_of_each(values: NDArray[np.integer]) -> Places:
    """(N,) first place with the same value.

    Example:
        >>> first_of_each(np.array([7, 3, 7, 3])).tolist()
        [0, 1, 0, 1]
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    new = np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(values)]
    found = np.empty(len(values), np.int64)
    found[order] = order[new].repeat(np.diff(np.flatnonzero(new), append=len(values)))
    return found
