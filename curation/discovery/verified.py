"""Which photos count for discovery, and which of them are not independent."""

from collections.abc import Collection, Mapping

import numpy as np
import polars as pl
import pyarrow as pa

from curation.schemas import CANNOT_TELL, DEFECTS


def verified(
    tables: Mapping[str, pa.Table],
    *,
    classes: Collection[str],
    backgrounds: Collection[str],
) -> pl.DataFrame:
    """Verdicts, clusters and what speaks against each photo.

    A photo counts when it is not merged into another, is filed under one known class,
    people agreed on its background, no verdict finds a defect, and it is not dropped
    for being in another set too.

    Args:
        tables: `photos`, `duplicates` and `labels`; `leaks` when there is one.
        classes: names in dataset.toml.
        backgrounds: names in dataset.toml.

    Returns: one row per photo, sorted by photo_id: photo_id, class, background (null
        without a verdict), cluster, reason (null when the photo counts).
    """
    photos = _frame(tables["photos"]).select(
        "photo_id", "class", "classes", "observation_id"
    )
    decided = _frame(tables["duplicates"])
    duplicates = decided.filter(pl.col("decision") == "merge")
    linked = decided.filter(pl.col("decision").is_in(["merge", "burst"]))
    labels = _frame(tables["labels"])
    asked = labels.filter(pl.col("question") == "background").select(
        "photo_id", verdict="verdict", outcome="status"
    )
    found = (
        labels.filter(pl.col("question").is_in(DEFECTS) & (pl.col("verdict") == "yes"))
        .group_by("photo_id")
        .agg(problems=pl.col("question").unique().sort().str.join(", "))
    )
    table = (
        photos.join(_clusters(photos, linked), on="photo_id", how="left")
        .join(duplicates.select("photo_id", "keeper"), on="photo_id", how="left")
        .join(asked, on="photo_id", how="left")
        .join(found, on="photo_id", how="left")
        .join(_leaked(tables, duplicates), on="photo_id", how="left")
    )
    known = pl.col("verdict").is_in(list(backgrounds))
    filed = pl.col("classes").list.unique().list.sort()
    reason = (
        pl.when(pl.col("keeper").is_not_null())
        .then(pl.format("duplicate of {}", "keeper"))
        .when(filed.list.len() > 1)
        .then(pl.format("filed under {}", filed.list.join(" and ")))
        .when(~pl.col("class").is_in(list(classes)))
        .then(pl.lit("class is not in dataset.toml"))
        .when(pl.col("leaked").is_not_null())
        .then(pl.format("also in {}", "leaked"))
        .when(pl.col("problems").is_not_null())
        .then(pl.col("problems"))
        .when(pl.col("outcome").is_null())
        .then(pl.lit("no verdict: not labelled"))
        .when(pl.col("verdict").is_null())
        .then(pl.format("no verdict: {}", "outcome"))
        .when(pl.col("verdict") == CANNOT_TELL)
        .then(pl.lit("people cannot tell the background"))
        .when(~known)
        .then(pl.lit("background is not in dataset.toml"))
    )
    return table.select(
        "photo_id",
        "class",
        pl.when(known).then("verdict").alias("background"),
        "cluster",
        reason.alias("reason"),
    ).sort("photo_id")


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _leaked(tables: Mapping[str, pa.Table], merged: pl.DataFrame) -> pl.DataFrame:
    """Sets for which a photo is dropped: it, or a photo merged into it, is in them."""
    if "leaks" not in tables:
        return pl.DataFrame(schema={"photo_id": pl.String, "leaked": pl.String})
    leaks = _frame(tables["leaks"]).filter("dropped").select("photo_id", "set")
    keepers = merged.select("photo_id", "keeper")
    theirs = leaks.join(keepers, on="photo_id").select(photo_id="keeper", set="set")
    return (
        pl.concat([leaks, theirs])
        .group_by("photo_id")
        .agg(leaked=pl.col("set").unique().sort().str.join(", "))
    )


def _clusters(photos: pl.DataFrame, linked: pl.DataFrame) -> pl.DataFrame:
    """Cluster of every photo: linked by an observation, a burst or by being merged.

    Named by the smallest photo_id in it.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ids = np.unique(photos["photo_id"].to_numpy().astype(str))
    place = {name: row for row, name in enumerate(ids.tolist())}
    seen = photos["observation_id"].to_list()
    observations = {
        name: len(ids) + row for row, name in enumerate(dict.fromkeys(seen))
    }
    links = [
        (place[photo], observations[observation])
        for photo, observation in zip(photos["photo_id"], seen, strict=True)
        if observation
    ]
    links += [
        (place[photo], place[keeper])
        for photo, keeper in linked.select("photo_id", "keeper").iter_rows()
        if photo in place and keeper in place
    ]
    nodes = len(ids) + len(observations)
    ends = np.array(links, np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(ends.shape[1], bool), ends), shape=(nodes, nodes))
    label = connected_components(graph, directed=False)[1][: len(ids)]
    # ids are sorted, so the first photo of a component has its smallest id
    _, first, back = np.unique(label, return_index=True, return_inverse=True)
    return pl.DataFrame({"photo_id": ids, "cluster": ids[first[back]]})
