"""What was tried and what is to be tried: the log of fetches against the candidates.

Made for a million records: ids are 32 bytes instead of 64 letters, the log is read in
pieces, and of each record only the last attempt counts.
"""

import io
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import polars as pl

from curation.errors import InputError
from curation.schemas import schema
from curation.shelf import Shelf

COLUMNS = (
    "candidate_id", "url", "place", "photo_key", "licence", "licence_text", "refused",
)  # fmt: skip
"""Columns of `candidates` that fetching needs."""

_READ = {
    "candidate_id": pl.String,
    "status": pl.String,
    "photo_id": pl.String,
    "bytes": pl.Int64,
    "format": pl.String,
    "width": pl.Int64,
    "height": pl.Int64,
    "limits": pl.String,
    "again": pl.Boolean,
    "attempts": pl.Int64,
    "photo_key": pl.String,
}
_SLICE = 512


def last(shelf: Shelf) -> pl.DataFrame:
    """The last attempt of each record.

    Returns: `candidate_id` and `photo_id` as 32 bytes, `status`, `bytes`, `format`,
        `width`, `height`, `limits`, `again`, `attempts` and
        `photo_key`.

    Raises:
        InputError: a line is not JSON, or an id is not hexadecimal.
    """
    parts = [_compact(pl.DataFrame(schema=_READ))]
    for piece in shelf.log_pieces("fetches"):
        try:
            parts.append(_compact(pl.read_ndjson(io.BytesIO(piece), schema=_READ)))
        except pl.exceptions.PolarsError as error:
            shelf.read_log("fetches")  # says which line it is
            message = f"the log of fetches is corrupt: {error}"
            raise InputError(message) from error
    rows = pl.concat(parts)
    newest = rows.select(pl.col("candidate_id").is_last_distinct())
    return rows.filter(newest.to_series())


def _compact(rows: pl.DataFrame) -> pl.DataFrame:
    few = pl.Categorical()  # a few words, a million times
    return rows.with_columns(
        pl.col("candidate_id", "photo_id").str.decode("hex"),
        pl.col("status", "format", "limits").cast(few),
        pl.col("again").fill_null(value=False),
        pl.col("attempts").fill_null(1),  # written by an earlier version
    )


def todo(
    batches: Iterable[pl.DataFrame],
    log: pl.DataFrame,
    *,
    limits: str,
    remote: Collection[int],
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Records to be fetched: never tried, or to be tried again.

    Args:
        batches: rows of `candidates` with the columns `COLUMNS`.
        log: what `last` gave.
        limits: those in force: what failed under others is tried again.
        remote: places of sources that are on the network.

    Returns: those records in their order, and records of local sources that can never
        be fetched and are not in the log. A refusal by our own choice of records from
        the network may be taken back, so it is no attempt. `candidate_id` is 32 bytes.
    """
    tried = (pl.col("limits") == limits) & ~pl.col("again") & (pl.col("attempts") != 0)
    settled = (pl.col("status") == "ok") | ((pl.col("status") == "failed") & tried)
    ids = log.filter(settled).select("candidate_id")
    refused = pl.col("refused").is_not_null()
    local = ~pl.col("place").is_in(list(remote))
    none = pl.DataFrame(schema={name: _TYPES[name] for name in COLUMNS})
    open_, shut = [], []
    for batch in (none, *batches):
        rows = compact(batch)
        open_.append(_without(rows.filter(~refused), ids))
        shut.append(_without(rows.filter(refused & local), log))
    return pl.concat(open_, rechunk=False), pl.concat(shut, rechunk=False)


def _without(rows: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    return rows.join(others, on="candidate_id", how="anti", maintain_order="left")


_TYPES = dict(pl.Schema(schema("candidates")))


def compact(candidates: pl.DataFrame) -> pl.DataFrame:
    """Records with `candidate_id` as 32 bytes."""
    return candidates.with_columns(pl.col("candidate_id").str.decode("hex"))


def had(records: pl.DataFrame, log: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Records whose photo was fetched under another record, and the other ones.

    The first have the columns of that attempt beside their own.
    """
    known = log.filter((pl.col("status") == "ok") & pl.col("photo_key").is_not_null())
    known = known.unique("photo_key").select(
        "photo_key", "photo_id", "bytes", "format", "width", "height"
    )
    return (
        records.join(known, on="photo_key", maintain_order="left"),
        records.join(known, on="photo_key", how="anti", maintain_order="left"),
    )


def lanes(
    records: pl.DataFrame, remote: Collection[int]
) -> dict[str, Iterator[dict[str, Any]]]:
    """Records by the host that has their photo; by the source where that is local.

    Args:
        records: rows as `todo` gives them.
        remote: places of sources that are on the network.

    Returns: for each host its records in their order, one by one.
    """
    host = pl.col("url").str.extract(r"(?i)^[a-z]+://([^/?#]*)").str.to_lowercase()
    local = pl.format("source {}", "place")
    rows = records.with_columns(
        lane=pl.when(pl.col("place").is_in(list(remote)))
        .then(host.fill_null(""))
        .otherwise(local)
    ).sort("lane", maintain_order=True)
    runs = rows.select(pl.col("lane").rle()).unnest("lane")
    ends = runs["len"].cum_sum()
    return {
        lane: _rows(rows.slice(end - length, length))
        for lane, length, end in zip(runs["value"], runs["len"], ends, strict=True)
    }


def _rows(records: pl.DataFrame) -> Iterator[dict[str, Any]]:
    for start in range(0, records.height, _SLICE):
        for row in records.slice(start, _SLICE).iter_rows(named=True):
            yield row | {"candidate_id": row["candidate_id"].hex()}
