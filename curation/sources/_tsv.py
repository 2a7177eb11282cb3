"""Tab-separated tables larger than memory, read a block of rows at a time.

There is no quoting: a quotation mark is a character like any other, a tab always ends a
field and a line break a row. Text is bytes; whether it is UTF-8 is for the reader to
ask. A row with another number of fields than the header is left out and counted.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv

from curation.errors import InputError

BLOCK = 16 << 20
"""Bytes of text that are parsed at once."""

_LINES = 100_000
_WORDS = 60_000
_GZIP = b"\x1f\x8b"
_FEW = 1000


class Table:
    """One tab-separated table with a header.

    Attributes:
        name: what errors call it.
        rows: rows read so far.
        ragged: rows left out so far, for their number of fields.
    """

    def __init__(
        self, pieces: Iterable[bytes], columns: Sequence[str], *, name: str
    ) -> None:
        """`pieces` is the text in pieces of any size; `columns` those wanted of it."""
        self.name, self.rows, self.ragged = name, 0, 0
        self._pieces, self._columns = pieces, list(columns)

    def __iter__(self) -> Iterator[pa.Table]:
        """Blocks of rows: the wanted columns, of type binary, in the file's order.

        Raises:
            InputError: the table cannot be read to its end, lacks a column, or most of
                its rows have another number of fields than its header.
        """
        header: list[str] = []
        try:
            for block in _whole_lines(_ahead(self._pieces), self.name):
                rows = block
                if not header:
                    first, _, rows = block.partition(b"\n")
                    header = self._header(first)
                if rows:
                    yield self._parsed(rows, header)
        except (OSError, EOFError, pa.ArrowException) as error:
            message = f"{self.name} cannot be read to its end: {error}"
            raise InputError(message) from error
        if not header:
            message = f"{self.name} is empty: not even a header"
            raise InputError(message)
        if self.ragged > max(_FEW, self.rows):
            message = (
                f"{self.name}: {self.ragged:,} of {self.ragged + self.rows:,} rows "
                "have another number of fields than the header; is it tab-separated?"
            )
            raise InputError(message)

    def _header(self, line: bytes) -> list[str]:
        text = line.decode("utf-8-sig", errors="replace").rstrip("\r")
        found = text.split("\t")
        for column in self._columns:
            if found.count(column) == 1:
                continue
            fault = "missing" if column not in found else "there twice"
            shown = ", ".join(found)[:200]
            message = f"{self.name}, line 1: column {column} is {fault}; found {shown}"
            raise InputError(message)
        return found

    def _parsed(self, block: bytes, header: list[str]) -> pa.Table:
        if b"\r" in block:
            # on its own it would end a row here, and nowhere else
            block = block.replace(b"\r\n", b"\n").replace(b"\r", b" ")
        try:
            table = self._read(block, header)
        except pa.ArrowInvalid:
            table = self._read(self._even(block, len(header)), header)
        self.rows += table.num_rows
        return table

    def _read(self, block: bytes, header: list[str]) -> pa.Table:
        return pa_csv.read_csv(
            pa.BufferReader(block),
            read_options=pa_csv.ReadOptions(column_names=header),
            parse_options=pa_csv.ParseOptions(delimiter="\t", quote_char=False),
            convert_options=pa_csv.ConvertOptions(
                include_columns=self._columns,
                column_types={name: pa.binary() for name in self._columns},
                check_utf8=False,
                strings_can_be_null=False,
            ),
        )

    def _even(self, block: bytes, width: int) -> bytes:
        """The block without ragged rows (pyarrow's own handler fails on odd bytes)."""
        lines = [line for line in block.split(b"\n") if line]
        even = [line for line in lines if line.count(b"\t") == width - 1]
        self.ragged += len(lines) - len(even)
        return b"\n".join(even) + b"\n"


def texts(column: pa.ChunkedArray) -> pl.Series:
    """As text; what is not UTF-8 is decoded with its bad bytes replaced."""
    raw = pl.Series(pl.from_arrow(column))
    try:
        return raw.cast(pl.String)
    except pl.exceptions.ComputeError:
        mended = [one.decode(errors="replace") for one in raw]
        return pl.Series(mended, dtype=pl.String)


def integers(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """(N,) int64; -1 for what is no whole number, or too large a one."""
    return texts(column).cast(pl.Int64, strict=False).fill_null(-1).to_numpy()


class Words:
    """Numbers few texts in the order they come."""

    def __init__(self) -> None:
        self.known: list[str] = []
        self._numbers: dict[str, int] = {}

    def numbers(self, column: pa.ChunkedArray) -> npt.NDArray[np.uint16]:
        """(N,) uint16; texts beyond the first `_WORDS` count as empty."""
        words = texts(column)
        distinct = words.unique()
        for text in ("", *distinct):
            if text not in self._numbers and len(self.known) < _WORDS:
                self._numbers[text] = len(self.known)
                self.known.append(text)
        numbers = [self._numbers.get(text, self._numbers[""]) for text in distinct]
        return words.replace_strict(
            distinct, pl.Series(numbers, dtype=pl.UInt16), return_dtype=pl.UInt16
        ).to_numpy()


def pieces_of_file(path: Path) -> Iterator[bytes]:
    """The text of a file, decompressed when it is gzip, whatever its name.

    Raises:
        OSError: it cannot be read, or its compressed data are cut off.
    """
    with path.open("rb") as file:
        compressed = file.read(2) == _GZIP
    with pa.input_stream(path, compression="gzip" if compressed else None) as stream:
        while piece := stream.read(BLOCK):
            yield piece


def pieces_of_lines(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The text of lines that have no ends."""
    lines = iter(lines)
    while batch := list(islice(lines, _LINES)):
        yield b"\n".join(batch) + b"\n"


def _ahead(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same pieces; the next is read and decompressed while one is looked at."""
    source = iter(pieces)
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, source, None)
        while (piece := coming.result()) is not None:
            coming = pool.submit(next, source, None)
            yield piece


def _whole_lines(pieces: Iterable[bytes], name: str) -> Iterator[bytes]:
    """Pieces of whole lines."""
    rest = b""
    for piece in pieces:
        end = piece.rfind(b"\n") + 1
        if end:
            yield rest + piece[:end]
            rest = piece[end:]
        elif len(rest) > 4 * BLOCK:
            message = f"{name}: a line longer than {4 * BLOCK:,} bytes; is it text?"
            raise InputError(message)
        else:
            rest += piece
    if rest:
        yield rest
