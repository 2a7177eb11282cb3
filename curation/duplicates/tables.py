"""Hash tables: what is known of a set of photos, as one Parquet file.

Such a file is some kilobyte per photo, so that a set can be compared with others whose
photos are elsewhere: `counterset hash` writes it, `counterset dedup --against` and the
configuration's `dedup.against` read it. The columns are `hash_table` in
`curation.schemas`.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation.duplicates.hashing import SIDE, VARIANTS
from curation.errors import InputError
from curation.rows import equal, having, numbers
from curation.schemas import conform, from_rows, schema

TABLE = "hash_table"

_GROUP = 8192  # rows written together
_HASHED = ("sha256", "path", "phash", "thumb", "texture", "width", "height")


def table(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table, whatever further keys they have."""
    parts = [from_rows(part, TABLE) for part in _groups(rows)]
    return pa.concat_tables(parts) if parts else from_rows([], TABLE)


def good(found: pa.Table) -> pa.Table:
    """The rows that have hashes."""
    return having(found, "status", "ok")


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write a hash table; rows may be more than fit in memory.

    The file is there when it is complete, not before. Equal rows give equal bytes.

    Args:
        path: the file; a hash table that is there is replaced.
        rows: with the columns of `hash_table`, in the order wanted.

    Returns: the number of rows.

    Raises:
        InputError: something else is there, or it cannot be written.
    """
    import pyarrow.parquet as pq

    if path.exists():
        read_schema(path)  # anything else is not ours to replace
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    count = 0
    try:
        # opened here: Arrow takes some names for URLs, and not every name
        with (
            part.open("wb") as file,
            pq.ParquetWriter(file, schema(TABLE), compression="zstd") as writer,
        ):
            for group in _groups(rows):
                writer.write_table(from_rows(group, TABLE))
                count += len(group)
        part.replace(path)
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror or error}"
        raise InputError(message) from error
    finally:
        part.unlink(missing_ok=True)
    return count


def read(path: Path) -> pa.Table:
    """Read a hash table.

    Returns: columns of `hash_table`, rows in the file's order, failed ones too.

    Raises:
        InputError: the file is not there, no Parquet file, no hash table, or a damaged
            one.
    """
    import pyarrow.parquet as pq

    read_schema(path)
    try:
        with path.open("rb") as file:
            found = conform(pq.read_table(file), TABLE)
    except (OSError, pa.ArrowException) as error:
        message = f"{path} is damaged: {error}; make it anew with `counterset hash`"
        raise InputError(message) from error
    except InputError as error:
        message = f"{path} is no hash table of this version: {error}"
        raise InputError(message) from error
    _sound(found, path)
    return found


def read_schema(path: Path) -> pa.Schema:
    """Schema of a file that looks like a hash table.

    Raises:
        InputError: as `read`; the rows are not looked at.
    """
    import pyarrow.parquet as pq

    advice = "make one with `counterset hash FOLDER --out TABLE.parquet`"
    if path.is_dir():
        message = f"{path} is a folder, not a hash table; {advice}"
        raise InputError(message)
    try:
        with path.open("rb") as file:
            found = pq.read_schema(file)
    except FileNotFoundError as error:
        message = f"{path}: no such hash table; {advice}"
        raise InputError(message) from error
    except (OSError, pa.ArrowException) as error:
        message = f"{path} is no Parquet file; {advice}"
        raise InputError(message) from error
    missing = [name for name in schema(TABLE).names if name not in found.names]
    if missing:
        message = f"{path} is no hash table: it lacks {', '.join(missing)}; {advice}"
        raise InputError(message)
    return found


def _sound(found: pa.Table, path: Path) -> None:
    """Rows that are ok have all that comparing needs, in the sizes it needs."""
    # the whole columns: to filter them first would copy all thumbs
    ok = numbers(equal(found["status"], "ok"))
    lacking = [name for name in _HASHED if numbers(found[name].is_null())[ok].any()]
    lengths = {
        "phash": (pc.list_value_length(found["phash"]), len(VARIANTS)),
        "thumb": (pc.binary_length(found["thumb"]), SIDE * SIDE),
        "sha256": (pc.utf8_length(found["sha256"]), 64),
    }
    lacking += [
        name
        for name, (length, wanted) in lengths.items()
        if name not in lacking and (numbers(length.fill_null(-1))[ok] != wanted).any()
    ]
    if lacking:
        message = (
            f"{path} is damaged: rows that are ok lack {', '.join(lacking)}; make it "
            "anew with `counterset hash`"
        )
        raise InputError(message)


def _groups(rows: Iterable[Mapping[str, Any]]) -> Iterable[list[dict[str, object]]]:
    group: list[dict[str, object]] = []
    for row in rows:
        group.append(dict(row))
        if len(group) == _GROUP:
            yield group
            group = []
    if group:
        yield group
