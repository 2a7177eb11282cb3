"""Write photos to Parquet shards, one row group at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curation.config import Dataset
from curation.errors import DecodeError, InputError
from curation.release import metadata
from curation.release.columns import arrow_schema, photo_columns
from curation.schemas import GROUPS

GROUP_ROWS = 200
"""Most rows in a row group: what a reader must fetch and hold to see one photo."""
GROUP_BYTES = 64 * 2**20
"""A row group ends before its photos exceed this many bytes."""
# a group ends after a photo whose id says so, not after a count: one row more or less
# then moves the end of no later group, which Xet would have to send. 116 on the mean
_LEAST, _ONE_IN = 60, 60
# less than a photo, so that every photo is a page: a row dropped early moves no later
# page. Pages of several photos begin elsewhere for a while after a change, and each new
# beginning costs Xet the chunks around it (`python -m benchmarks.publish`)
_CHUNKING = {"min_chunk_size": 2**12, "max_chunk_size": 2**14, "norm_level": 0}


@dataclass(frozen=True, slots=True)
class Split:
    """What was written of one split, or of several together.

    Attributes:
        photos: rows.
        memory_bytes: size of its Arrow tables.
        rewritten: photo_ids whose bytes differ from those fetched.
    """

    photos: int
    memory_bytes: int
    rewritten: frozenset[str]

    def __add__(self, other: "Split") -> "Split":
        """Both as one split."""
        return Split(
            self.photos + other.photos,
            self.memory_bytes + other.memory_bytes,
            self.rewritten | other.rewritten,
        )


def write_split(
    folder: Path,
    name: str,
    rows: pl.DataFrame,
    *,
    config: Dataset,
    read: Callable[[str], bytes],
) -> Split:
    """Write `<name>-00000-of-0000N.parquet`, … into the folder.

    Args:
        folder: the release's data folder.
        name: the split.
        rows: its rows, as `contents.select` gives them.
        config: for the classes, the shard size and the pixel cap.
        read: bytes of a photo by its photo_id.

    Raises:
        InputError: a photo's bytes are gone or no longer decode.
    """
    schema = arrow_schema(photo_columns([c.name for c in config.classes]))
    shards = _shards(rows["bytes"].to_list(), config.release.shard_bytes)
    memory, rewritten = 0, set[str]()
    for place, (start, stop) in enumerate(shards):
        path = folder / f"{name}-{place:05d}-of-{len(shards):05d}.parquet"
        with open_parquet(path, schema) as writer:
            for group in _groups(rows[start:stop]):
                table, changed = _table(group, schema, config=config, read=read)
                writer.write_table(table, row_group_size=max(1, table.num_rows))
                memory += table.nbytes
                rewritten |= changed
    return Split(rows.height, memory, frozenset(rewritten))


def open_parquet(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """A writer set up for photos: they are compressed already, all else is not."""
    leaves = [n for name in schema.names for n in _leaves(name, schema)]
    texts = [name for name in leaves if name != "image.bytes"]
    return pq.ParquetWriter(
        path,
        schema,
        compression={n: "NONE" if n == "image.bytes" else "ZSTD" for n in leaves},
        use_dictionary=texts,
        write_statistics=texts,
        write_page_index=True,
        use_content_defined_chunking=_CHUNKING,
    )


def _leaves(name: str, schema: pa.Schema) -> list[str]:
    kind = schema.field(name).type
    if pa.types.is_struct(kind):
        return [f"{name}.{field.name}" for field in kind]
    return [f"{name}.list.element"] if pa.types.is_list(kind) else [name]


def _shards(sizes: list[int], limit: int) -> list[tuple[int, int]]:
    """Ranges of rows whose photos stay under `limit` bytes, one row at least."""
    ranges, start, total = [], 0, 0
    for place, size in enumerate(sizes):
        if place > start and total + size > limit:
            ranges.append((start, place))
            start, total = place, 0
        total += size
    return [*ranges, (start, len(sizes))] if sizes else []


def _groups(rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    last = [int(photo[-8:], 16) % _ONE_IN == 0 for photo in rows["photo_id"]]
    start, total = 0, 0
    for place, size in enumerate(rows["bytes"]):
        count = place - start
        ended = count >= GROUP_ROWS or (count >= _LEAST and last[place - 1])
        if count and (ended or total + size > GROUP_BYTES):
            yield rows[start:place]
            start, total = place, 0
        total += size
    yield rows[start:]


def _table(
    rows: pl.DataFrame,
    schema: pa.Schema,
    *,
    config: Dataset,
    read: Callable[[str], bytes],
) -> tuple[pa.Table, set[str]]:
    """One row group, and the photo_ids whose bytes changed."""
    pixels, names = config.fetch.max_pixels, [c.name for c in config.classes]
    photos: list[bytes] = []
    paths: list[str] = []
    changed = set[str]()
    for photo_id in rows["photo_id"]:
        data = read(photo_id)
        try:
            clean = metadata.strip(data, max_pixels=pixels)
            suffix = metadata.extension(clean, max_pixels=pixels)
        except DecodeError as error:
            message = (
                f"release: photo {photo_id} no longer decodes ({error}); "
                "`counterset check` verifies all of them"
            )
            raise InputError(message) from error
        photos.append(clean)
        paths.append(f"{photo_id[:16]}.{suffix}")
        if clean != data:
            changed.add(photo_id)
    image = pl.DataFrame({"bytes": photos, "path": paths}).to_struct("image")
    table = rows.rename({"abstained": "proposal_abstained"}).with_columns(
        image,
        label=pl.col("class").replace_strict(names, range(len(names))),
        group=pl.col("group").replace_strict(GROUPS, range(len(GROUPS))),
    )
    return as_arrow(table, schema), changed


def as_arrow(frame: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    """The schema's columns, in its types.

    Through Polars: Arrow imports pandas to look at Python values, 1.5 s of start.
    """
    columns = [
        frame[field.name]
        .to_arrow(compat_level=pl.CompatLevel.oldest())
        .cast(field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)
