"""Photos and whom they are credited to: the table `photos`, drawn from what arrived."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from curation.attempts import Log, digests, keys
from curation.licences import openness
from curation.schemas import conform, from_rows

COLUMNS = (
    "candidate_id", "class", "observation_id", "composed", "licence", "order",
    "refused",
)  # fmt: skip
"""Columns of `candidates` that are needed."""

PART = 16_384
"""Rows of a part of the table."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """The table, and what did not become a photo.

    Attributes:
        parts: the table `photos`, one row per distinct file, sorted by photo_id.
        failed: records that were tried and failed, or that can never be fetched.
        again: of them, those that the next run tries again.
    """

    parts: Iterator[pa.Table]
    failed: int
    again: int


def photos(batches: Iterable[pl.DataFrame], log: Log, taken: Collection[str]) -> Drawn:
    """Draw the table from what arrived.

    A file that came with several records is credited to the one with the most open
    licence, then to the earliest. Records that are refused by now give no photo.

    Args:
        batches: rows of `candidates` with the columns `COLUMNS`.
        log: the last attempt of each record.
        taken: photos that were taken down; they are left out.
    """
    gone = keys(digests(pl.Series(sorted(taken), dtype=pl.String)))
    arrived = np.append(log.ok & ~np.isin(keys(log.photo), gone), False)
    lost = np.append(~log.ok, False)
    untried = np.append(~log.tried, False)
    passing = np.append(log.again, False)
    failed = again = 0
    parts: list[dict[str, Any]] = []
    for batch in batches:
        raw = digests(batch["candidate_id"])
        at = log.find(keys(raw))
        refused = batch["refused"].is_not_null().to_numpy()
        missed = at[lost[at] & (~refused | untried[at])]
        failed, again = failed + len(missed), again + int(passing[missed].sum())
        mask = arrived[at] & ~refused
        rows = batch.filter(mask)
        ranks = {name: openness(name) for name in rows["licence"].unique()}
        parts.append(
            {
                "at": at[mask].astype(np.int32),
                "candidate": raw[mask],
                "openness": np.array([ranks[x] for x in rows["licence"]], np.int8),
                "order": rows["order"].to_numpy(),
                "composed": rows["composed"].to_numpy(),
                "class": rows["class"].cast(pl.Categorical()),
                "observation_id": rows["observation_id"].rechunk(),
            }
        )
    return Drawn(_drawn(parts, log), failed, again)


def _drawn(parts: list[dict[str, Any]], log: Log) -> Iterator[pa.Table]:
    """The table part by part."""
    if not sum(len(part["at"]) for part in parts):
        yield from_rows([], "photos")
        return
    whole: dict[str, Any] = {}
    for name in list(parts[0]):
        columns = [part.pop(name) for part in parts]
        series = isinstance(columns[0], pl.Series)
        whole[name] = pl.concat(columns) if series else np.concatenate(columns)
    order, starts = _photo_by_photo(whole, log)
    ends = np.append(starts[1:], len(order))
    for begin in range(0, len(starts), PART):
        spans = slice(begin, begin + PART)
        yield _part(whole, log, order, starts[spans], ends[spans])


def _photo_by_photo(
    whole: dict[str, Any], log: Log
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Records sorted by photo, openness and order; and where each photo's begin."""
    # 128 bits: no two of any number of photos share them
    photo = log.photo[:, :16][whole["at"]].view(">u8")
    order = np.lexsort(
        (whole["order"], whole["openness"], photo[:, 1], photo[:, 0])
    ).astype(np.int32)
    photo = photo[order]
    new = (photo[1:] != photo[:-1]).any(axis=1)
    return order, np.flatnonzero(np.append(True, new))


def _part(
    whole: dict[str, Any],
    log: Log,
    order: NDArray[np.int32],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> pa.Table:
    """Photos whose records are `order[start:end]`, the first of them credited."""
    rows = order[starts[0] : ends[-1]]  # every record of these photos
    local = starts - starts[0]
    credit, at = order[starts], whole["at"][order[starts]]
    photo_id = _hex(log.photo[at])
    class_ = whole["class"].gather(rows).cast(pl.String)
    classes = [[name] for name in class_.gather(local)]
    for place in np.flatnonzero(ends - starts > 1):
        span = class_[int(local[place]) : int(ends[place] - starts[0])]
        classes[place] = sorted(set(span))
    shared = whole["observation_id"].gather(credit)
    table = pl.DataFrame(
        {
            "photo_id": photo_id,
            "candidate_id": _hex(whole["candidate"][credit]),
            "class": class_.gather(local),
            "classes": pl.Series(classes, dtype=pl.List(pl.String)),
            "observation_id": shared.zip_with(shared.is_not_null(), photo_id),
            "composed": np.logical_or.reduceat(whole["composed"][rows], local),
            "bytes": log.size[at],
            "format": [log.words[number] for number in log.format[at]],
            "width": log.width[at],
            "height": log.height[at],
            "order": np.minimum.reduceat(whole["order"][rows], local),
        }
    )
    return conform(table.to_arrow(), "photos")


def _hex(raw: NDArray[np.uint8]) -> pl.Series:
    text = raw.tobytes().hex()
    return pl.Series([text[at : at + 64] for at in range(0, len(text), 64)])
