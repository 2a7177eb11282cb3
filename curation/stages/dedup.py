"""dedup: which photos are the same picture, and which of them is kept.

What is decided, and how, is in `curation.duplicates.decision`; here photos are put in
the order of the keeper policy, and bursts are added (`curation.duplicates.bursts`).
"""

from collections.abc import Mapping

import polars as pl
import pyarrow as pa

from curation import embeddings
from curation.config import Dataset
from curation.duplicates.bursts import bursts
from curation.duplicates.decision import Settings as Settings
from curation.duplicates.decision import decide
from curation.duplicates.decision import merged as merged
from curation.licences import openness
from curation.rows import numbers
from curation.schemas import from_rows

VERSION = 3
OUTPUT = "duplicates"
INPUTS = ("photos", "candidates", "hashes", "embeddings")
ROWS = "reduce"

_BURST = ("observer", "observed_on")
_RECORD = ("candidate_id", "licence", *_BURST)
COLUMNS = {
    "candidates": _RECORD,
    "photos": ("photo_id", "candidate_id", "width", "height", "order"),
    "hashes": ("photo_id", "status", "pixels", "phash", "thumb", "texture"),
}
"""Columns of inputs that are enough; rows of photos that failed are left out here."""


def settings(config: Dataset) -> Settings:
    """This stage's part of the configuration."""
    return Settings.of(config.dedup)


def run(inputs: Mapping[str, pa.Table], settings: Settings) -> pa.Table:
    """Decide on every pair of like photos.

    Args:
        inputs: `photos`, `candidates`, `hashes`; `embeddings` may be empty, then
            nothing is confirmed or suggested by embedding, and there are no bursts.
        settings: of this stage.

    Returns: `duplicates`, sorted by photo_id, decision, keeper.
    """
    photos = _in_keeper_order(inputs, settings.keeper)
    vectors = embeddings.matrix(inputs["embeddings"])
    order, taken = numbers(photos["at"]), _taken(photos, vectors[0])
    del photos  # not held for as long as pairs are
    decided = decide(inputs["hashes"], settings, vectors=vectors, order=order)
    found = _bursts(taken, merged(decided), vectors[1], settings)
    if not found:
        return decided
    table = pa.concat_tables([decided, from_rows(found, OUTPUT)])
    return table.sort_by(
        [(name, "ascending") for name in ("photo_id", "decision", "keeper")]
    )


def _in_keeper_order(
    inputs: Mapping[str, pa.Table], policy: tuple[str, ...]
) -> pl.DataFrame:
    """Photos with sound hashes, best keeper first; the last resort is the photo_id.

    Returns: of each its photo_id, the row of its hashes (`at`), and `_BURST` as far as
        candidates have it.
    """
    hashes = pl.DataFrame(inputs["hashes"].select(["photo_id", "status"]))
    rows = pl.int_range(pl.len(), dtype=pl.Int64).alias("at")
    sound = hashes.with_columns(rows).filter(pl.col("status") == "ok")
    columns = ["photo_id", "candidate_id", "width", "height", "order"]
    photos = pl.DataFrame(inputs["photos"].select(columns))
    names = [name for name in _RECORD if name in inputs["candidates"].column_names]
    records = pl.DataFrame(inputs["candidates"].select(names)).cast(pl.String)
    licences = records["licence"].unique().to_list()
    ranks = pl.DataFrame(
        {"licence": licences, "open": [openness(name) for name in licences]},
        schema={"licence": pl.String, "open": pl.Int64},
    )
    best = {
        "licence": pl.col("open").fill_null(openness(None)),
        "resolution": -pl.col("width") * pl.col("height"),
        "earliest": pl.col("order"),
    }
    return (
        photos.join(sound.select("photo_id", "at"), on="photo_id")
        .join(records, on="candidate_id", how="left")
        .join(ranks, on="licence", how="left", nulls_equal=True)
        .sort(*(best[name] for name in policy), "photo_id")
        .select("photo_id", "at", *(name for name in _BURST if name in names))
    )


def _taken(photos: pl.DataFrame, ids: list[str]) -> pl.DataFrame:
    """Photos that may be of a burst, in their order.

    Returns: photo_id, observer and day of those that have them and an embedding, and
        the row of that.
    """
    embedded = pl.DataFrame({"photo_id": ids}, schema={"photo_id": pl.String})
    if embedded.is_empty() or not set(_BURST) <= set(photos.columns):
        return pl.DataFrame()
    return (
        photos.select("photo_id", *_BURST)
        .drop_nulls()
        .join(embedded.with_row_index("row"), on="photo_id", maintain_order="left")
    )


def _bursts(
    taken: pl.DataFrame,
    merged: Mapping[str, str],
    vectors: embeddings.Matrix,
    settings: Settings,
) -> list[dict[str, object]]:
    """Rows of photos that are kept, in the order of the keeper policy."""
    kept = [row for row in taken.iter_rows() if row[0] not in merged]
    return bursts(
        [photo_id for photo_id, *_ in kept],
        [(observer, day) for _, observer, day, _ in kept],
        vectors[[row for *_, row in kept]],
        least=settings.burst_cosine,
    )
