"""group: every photo becomes common, counter or unused, with the reason."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from curation.config import Dataset
from curation.discovery.verified import verified
from curation.schemas import conform

VERSION = 3
OUTPUT = "groups"
INPUTS = ("photos", "duplicates", "leaks", "labels", "evidence")
ROWS = "reduce"


@dataclass(frozen=True, slots=True)
class Settings:
    """What changes the table: classes with their ImageNet index, and backgrounds."""

    classes: tuple[tuple[str, int | None], ...]
    backgrounds: tuple[str, ...]


def settings(config: Dataset) -> Settings:
    """This stage's part of the configuration."""
    return Settings(
        classes=tuple(sorted((s.name, s.imagenet_index) for s in config.classes)),
        backgrounds=tuple(sorted(spec.name for spec in config.backgrounds)),
    )


def run(inputs: Mapping[str, pa.Table], settings: Settings) -> pa.Table:
    """Put every photo where the evidence puts its class and background.

    Args:
        inputs: `photos`, `duplicates`, `leaks`, `labels` and `evidence`.
        settings: of this stage.

    Returns: `groups`, one row per photo, sorted by photo_id; a photo that no discovery
        model judged still follows its background.
    """
    index = dict(settings.classes)
    photos = verified(inputs, classes=index, backgrounds=settings.backgrounds)
    evidence = pl.from_arrow(inputs["evidence"])
    assert isinstance(evidence, pl.DataFrame)
    verdicts = evidence.filter(pl.col("level") == "background").select(
        "class", "background", "group", why="reason"
    )
    counts = pl.col("reason").is_null()
    used = counts & pl.col("group").is_in(["common", "counter"])
    table = (
        photos.join(verdicts, on=["class", "background"], how="left")
        .with_columns(
            pl.when(used).then("group").otherwise(pl.lit("unused")).alias("group"),
            pl.when(used)
            .then(None)
            .otherwise(
                pl.coalesce(
                    "reason", "why", pl.lit("no discovery model judged its background")
                )
            )
            .alias("reason"),
            pl.col("class")
            .replace_strict(
                list(index), list(index.values()), default=None, return_dtype=pl.Int64
            )
            .alias("imagenet_index"),
        )
        .sort("photo_id")
    )
    return conform(table.to_arrow(), OUTPUT)
