"""A part of the photos and the stage that computes it: what every engine runs."""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from curation.errors import InputError
from curation.rows import places
from curation.schemas import conform, from_rows

PART = 256
"""Photos in one part: what a killed run can lose is the parts it was working on."""


@dataclass(frozen=True, slots=True)
class Work:
    """One part to compute, small enough to send to another process.

    Attributes:
        stage: name of the stage.
        settings: its settings.
        photos: rows of the table `photos`.
        blobs: file of each photo, in the order of the rows.
    """

    stage: str
    settings: Any
    photos: pa.Table
    blobs: list[Path]


def run(work: Work, read: Callable[[Path], bytes] = Path.read_bytes) -> pa.Table:
    """Compute one part.

    Args:
        work: the part.
        read: bytes of a photo by its file.

    Raises:
        AssertionError: the stage did not give a row for every photo.
    """
    module = stage_module(work.stage)
    data = pl.Series("data", [read(blob) for blob in work.blobs], pl.Binary)
    photos = work.photos.append_column("data", data.to_arrow())
    table = module.run({"photos": photos}, work.settings)
    if hasattr(module, "OUTPUT"):
        table = conform(table, module.OUTPUT)
    assert sorted(table.column("photo_id").to_pylist()) == sorted(
        work.photos.column("photo_id").to_pylist()
    ), f"stage {work.stage} must give one row per photo"
    return table


def failed(work: Work, reason: str) -> pa.Table:
    """Failed rows: what the stage gives photos without a byte, with this reason."""
    module = stage_module(work.stage)
    nothing = pl.Series("data", [b""] * work.photos.num_rows, pl.Binary)
    photos = work.photos.append_column("data", nothing.to_arrow())
    rows = module.run({"photos": photos}, work.settings).to_pylist()
    told = [row | {"status": "failed", "error": reason} for row in rows]
    return from_rows(told, module.OUTPUT)


def same_weights(model: str, identity: str) -> None:
    """See that a model's name means the same weights on this machine.

    Raises:
        ConfigError: no such model, or its file is not here.
        InputError: its weights are others.
    """
    from evaluation import models

    found = models.identity(model)
    if found != identity:
        message = (
            f"model {model} has other weights on this machine ({found[:80]}) than "
            f"where the run was started ({identity[:80]})"
        )
        raise InputError(message)


def stage_module(stage: str) -> ModuleType:
    """A stage's module, by its name; one with a dot is a module of another package."""
    return importlib.import_module(
        stage if "." in stage else f"curation.stages.{stage}"
    )


def parts(photos: pa.Table, part: int = PART) -> Iterator[pa.Table]:
    """Photos cut into parts, sorted by photo_id so that every engine cuts alike."""
    ordered = photos.sort_by("photo_id")
    for start in range(0, ordered.num_rows, part):
        # a copy: a slice is sent to another process with the whole table behind it
        yield ordered.take(
            places(np.arange(start, min(start + part, ordered.num_rows)))
        )
