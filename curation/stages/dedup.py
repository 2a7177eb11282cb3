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
from curation.schemas import from_rows

VERSION = 2
OUTPUT = "duplicates"
INPUTS = ("photos", "candidates", "hashes", "embeddings")
ROWS = "reduce"

_RECORD = ("candidate_id", "licence", "observer", "observed_on")
COLUMNS = {"candidates": _RECORD}
"""Columns of inputs that are enough."""


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
    hashes = inputs["hashes"].take(pa.array(photos["at"].to_list(), pa.int64()))
    vectors = embeddings.matrix(inputs["embeddings"])
    decided = decide(hashes, settings, vectors=vectors)
    found = _bursts(photos, merged(decided), vectors, settings)
    if not found:
        return decided
    table = pa.concat_tables([decided, from_rows(found, OUTPUT)])
    return table.sort_by(
        [(name, "ascending") for name in ("photo_id", "decision", "keeper")]
    )


def _in_keeper_order(
    inputs: Mapping[str, pa.Table], policy: tuple[str, ...]
) -> pl.DataFrame:
    """Photos with sound hashes, best keeper first; the last resort is the photo_id."""
    hashes = pl.DataFrame(inputs["hashes"].select(["photo_id", "status"]))
    sound = hashes.with_row_index("at").filter(pl.col("status") == "ok")
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
    )


def _bursts(
    photos: pl.DataFrame,
    merged: Mapping[str, str],
    vectors: tuple[list[str], embeddings.Matrix],
    settings: Settings,
) -> list[dict[str, object]]:
    """Rows of photos that are kept, in the order of the keeper policy."""
    if not {"observer", "observed_on"} <= set(photos.columns):
        return []
    ids, matrix = vectors
    row = {photo_id: place for place, photo_id in enumerate(ids)}
    taken = [
        (photo_id, (observer, day))
        for photo_id, observer, day in photos.select(
            "photo_id", "observer", "observed_on"
        ).iter_rows()
        if photo_id in row and photo_id not in merged
    ]
    names = [photo_id for photo_id, _ in taken]
    return bursts(
        names,
        [when for _, when in taken],
        matrix[[row[name] for name in names]],
        least=settings.burst_cosine,
    )
