"""Config `pairs`: a row per class, what its two groups hold and what they rest on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from curation.release.columns import arrow_schema, pair_columns
from curation.release.contents import SPLITS
from curation.release.facts import Cell, Facts, Interval, Pair
from curation.release.shards import Split, as_arrow, open_parquet


def write_pairs(
    path: Path, facts: Facts, rows: pl.DataFrame, *, classes: Sequence[str]
) -> Split:
    """Write the one file of config `pairs`, classes in dataset.toml's order.

    Args:
        path: the file.
        facts: what the release holds.
        rows: photos of the two groups, as `contents.select` gives them.
        classes: names in dataset.toml.
    """
    schema = arrow_schema(pair_columns(classes))
    held = {
        (row["class"], row["group"]): row
        for row in rows.sort("photo_id")
        .group_by("class", "group", maintain_order=True)
        .agg("photo_id", clusters=pl.col("cluster").n_unique())
        .iter_rows(named=True)
    }
    models = list(facts.discovery)
    content = [
        {"label": classes.index(pair.name), "models": models}
        | _sides(pair, held)
        | _evidence(pair)
        for pair in facts.pairs
    ]
    frame = pl.from_dicts(content, infer_schema_length=None)
    table = as_arrow(frame, schema)
    with open_parquet(path, schema) as writer:
        writer.write_table(table)
    return Split(table.num_rows, table.nbytes, frozenset())


def _sides(pair: Pair, held: Mapping[tuple[str, str], Any]) -> dict[str, object]:
    values: dict[str, object] = {}
    for side in SPLITS:
        cells: tuple[Cell, ...] = getattr(pair, side)
        mine = held[pair.name, side]
        # the accuracy of a group that is several backgrounds is not in the evidence
        only = cells[0] if len(cells) == 1 else Cell("", 0, None)
        values |= {
            f"{side}_background": ", ".join(cell.background for cell in cells),
            f"n_{side}": len(mine["photo_id"]),
            f"{side}_clusters": mine["clusters"],
            f"{side}_accuracy": only.accuracy,
            f"{side}_accuracy_low": only.low,
            f"{side}_accuracy_high": only.high,
            f"{side}_photos": mine["photo_id"],
        }
    return values


def _evidence(pair: Pair) -> dict[str, object]:
    return {
        "imagenet_index": pair.imagenet_index,
        **_ends("naive", pair.naive),
        **_ends("cross", pair.cross),
        "p_value": pair.p_value,
        "q_value": pair.q_value,
    }


def _ends(name: str, interval: Interval | None) -> dict[str, float | None]:
    return {
        f"{name}_drop": interval.value if interval else None,
        f"{name}_low": interval.low if interval else None,
        f"{name}_high": interval.high if interval else None,
    }
