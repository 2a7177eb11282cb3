"""Photos and whom they are credited to: the table `photos`, drawn from what arrived."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from curation.attempts import compact
from curation.licences import openness
from curation.schemas import conform, from_rows

COLUMNS = (
    "candidate_id", "class", "observation_id", "composed", "licence", "order",
    "refused",
)  # fmt: skip
"""Columns of `candidates` that are needed."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """The table, and what did not become a photo.

    Attributes:
        table: `photos`, one row per distinct file, sorted by photo_id.
        failed: records that were tried and failed, or that can never be fetched.
        again: of them, those that the next run tries again.
    """

    table: pa.Table
    failed: int
    again: int


def photos(
    batches: Iterable[pl.DataFrame], log: pl.DataFrame, taken: Collection[str]
) -> Drawn:
    """Draw the table from what arrived.

    A file that came with several records is credited to the one with the most open
    licence, then to the earliest. Records that are refused by now give no photo.

    Args:
        batches: rows of `candidates` with the columns `COLUMNS`.
        log: the last attempt of each record, from `attempts.last`.
        taken: photos that were taken down; they are left out.
    """
    facts = ("candidate_id", "photo_id", "bytes", "format", "width", "height")
    gone = pl.Series([bytes.fromhex(photo) for photo in taken], dtype=pl.Binary)
    arrived = log.filter(
        (pl.col("status") == "ok") & ~pl.col("photo_id").is_in(gone.implode())
    ).select(facts)
    lost = log.filter(pl.col("status") != "ok")
    lost = lost.select("candidate_id", "again", "attempts")
    failed = again = 0
    parts = []
    for batch in batches:
        records, open_ = compact(batch), pl.col("refused").is_null()
        missed = records.join(lost, on="candidate_id")
        missed = missed.filter(open_ | (pl.col("attempts") == 0))
        failed, again = failed + missed.height, again + int(missed["again"].sum())
        parts.append(_ranked(records.filter(open_).join(arrived, on="candidate_id")))
    rows = pl.concat(parts) if parts else pl.DataFrame()
    if rows.is_empty():
        return Drawn(from_rows([], "photos"), failed, again)
    rows = rows.sort("photo_id", "openness", "order", "candidate_id")
    first = ("candidate_id", "class", "observation_id", *facts[2:])
    table = rows.group_by("photo_id", maintain_order=True).agg(
        pl.col(first).first(),
        pl.col("class").unique().sort().alias("classes"),
        pl.col("composed").any(),
        pl.col("order").min(),
    )
    table = table.with_columns(pl.col("photo_id", "candidate_id").bin.encode("hex"))
    shared = pl.coalesce("observation_id", "photo_id")
    table = table.with_columns(shared.alias("observation_id"))
    return Drawn(conform(table.to_arrow(), "photos"), failed, again)


def _ranked(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with the openness of their licence in its place."""
    names = rows["licence"].unique()
    ranks = pl.DataFrame(
        {"licence": names, "openness": [openness(name) for name in names]},
        schema={"licence": pl.String, "openness": pl.Int8},
    )
    return rows.join(ranks, on="licence", nulls_equal=True).drop("licence")
