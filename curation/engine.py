"""Runs a map stage over parts of the photos: in this process, or in several.

The same stage function runs everywhere; an engine only decides where. A stage whose
module says `PROCESSES = True` gains from more processes; one that runs a model does
not, for the model uses every core itself.
"""

import importlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from curation.schemas import conform

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


def run(work: Work) -> pa.Table:
    """Compute one part.

    Raises:
        AssertionError: the stage did not give a row for every photo.
    """
    module = importlib.import_module(f"curation.stages.{work.stage}")
    data = pl.Series("data", [blob.read_bytes() for blob in work.blobs], pl.Binary)
    photos = work.photos.append_column("data", data.to_arrow())
    table = conform(module.run({"photos": photos}, work.settings), module.OUTPUT)
    assert sorted(table.column("photo_id").to_pylist()) == sorted(
        work.photos.column("photo_id").to_pylist()
    ), f"stage {work.stage} must give one row per photo"
    return table


def parts(photos: pa.Table, part: int = PART) -> Iterator[pa.Table]:
    """Photos cut into parts, sorted by photo_id so that every engine cuts alike."""
    ordered = photos.sort_by("photo_id")
    for start in range(0, ordered.num_rows, part):
        yield ordered.slice(start, part)


def compute(
    works: list[Work],
    *,
    jobs: int,
    processes: bool,
    keep: Callable[[pa.Table], None],
) -> None:
    """Compute parts and keep each as soon as it is there.

    Args:
        works: the parts.
        jobs: processes to use.
        processes: whether the stage gains from them.
        keep: called in this process with each finished part.
    """
    count = min(jobs, len(works))
    if not processes or count < 2:
        for work in works:
            keep(run(work))
        return
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        pending = [pool.submit(run, work) for work in works]
        try:
            for future in pending:
                keep(future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
