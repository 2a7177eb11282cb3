"""Arrow tables from Python values, and whole files or none.

Tables are built by Polars: Arrow's own constructors import pandas, 1.5 s.
"""

import io
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from evaluation.errors import InputError


def build(columns: Mapping[str, Sequence[Any]], schema: pa.Schema) -> pa.Table:
    """A table of the schema's columns, in its order.

    Example:
        >>> build({"b": [1, None], "a": ["x", "y"]}, pa.schema(
        ...     [("a", pa.string()), ("b", pa.int64())])).to_pylist()
        [{'a': 'x', 'b': 1}, {'a': 'y', 'b': None}]
    """
    series = [
        pl.Series(name, columns[name], kind, strict=True)
        for name, kind in pl.Schema(schema).items()
    ]
    return pl.DataFrame(series).to_arrow().cast(schema)


def frame(table: pa.Table) -> pl.DataFrame:
    """The same rows for Polars."""
    found = pl.from_arrow(table)
    assert isinstance(found, pl.DataFrame)
    return found


def read(path: Path, columns: list[str] | None = None) -> pa.Table:
    """A Parquet file, or some of its columns; `pq.read_table` would import pandas."""
    return pq.ParquetFile(path).read(columns)


def write(path: Path, table: pa.Table) -> None:
    """Write a Parquet file whole or not at all: a copy, flushed to disk, renamed."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    write_bytes(path, sink.getvalue())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        InputError: the folder cannot be written to, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=".writing-", delete=False
        ) as file:
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).chmod(0o644)
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        message = f"cannot write {path}: {error.strerror or error}"
        raise InputError(message) from error
