"""Rows of Arrow tables, chosen in ways that leave pandas alone.

Arrow imports pandas, if it is there, to look at what Python or NumPy hands it: a third
of a second, which is most of what a small command takes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def places(rows: NDArray[np.integer]) -> pa.Array:
    """Places of rows, for `take`.

    Example:
        >>> places(np.array([2, 0])).to_pylist()
        [2, 0]
    """
    whole = np.ascontiguousarray(rows, np.int64)
    return pa.Array.from_buffers(pa.int64(), len(whole), [None, pa.py_buffer(whole)])


def numbers(column: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """Numbers or flags of a column without nulls.

    Example:
        >>> numbers(pa.chunked_array([[1, 2], [3]]))
        array([1, 2, 3])
    """
    return pl.Series(column).to_numpy()


def words(values: Sequence[str]) -> pa.Array:
    """Texts, for `is_in`.

    Example:
        >>> words(["ok", "été"]).to_pylist()
        ['ok', 'été']
    """
    data = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, data)]).astype(np.int32)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(data))]
    return pa.Array.from_buffers(pa.string(), len(data), buffers)


def equal(column: pa.ChunkedArray, value: str) -> pa.ChunkedArray:
    """Which rows of a column have a text; a null has none."""
    return pc.is_in(column, value_set=words([value]))


def having(table: pa.Table, column: str, value: str) -> pa.Table:
    """Rows with a text in a column."""
    return table.filter(equal(table.column(column), value))
