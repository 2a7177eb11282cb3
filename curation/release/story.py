"""What a card tells beside its counts: whose photos, from where, and who answered."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import pyarrow as pa

from curation import schemas
from curation.release.contents import frame
from curation.schemas import NO_ANSWER, SKIPPED

INATURALIST = "inaturalist"
DAY = 10
"""Characters of an ISO 8601 time that are its day."""


@dataclass(frozen=True, slots=True)
class Days:
    """First and last day something happened, and of how many it is known."""

    first: str
    last: str
    known: int


@dataclass(frozen=True, slots=True)
class Story:
    """What is told of a release's photos and answers.

    Attributes:
        sources: source → photos published, most frequent first.
        inaturalist: photos published that are iNaturalist's, whichever source had them.
        authors: different authors of the photos published; `unnamed` have none.
        most: photos of the author who made most.
        seen: days the photos published show, as far as sources state them.
        refused: reason → records that never became a photo, most frequent first.
        platform: answers that stand, by where they were given: Label Studio, files.
        shown: of the answers about the background, those given beside a proposal.
        answers: answers about the background.
        skips: times somebody skipped the background of a photo.
        answered: days answers were given on.
        defects: other question → (photos where the verdict is yes, photos decided).
        taken_down: photos ever taken down.
        quality: measures over all annotators, see `curation.provenance.quality`.
    """

    sources: dict[str, int] = field(default_factory=dict)
    inaturalist: int = 0
    authors: int = 0
    unnamed: int = 0
    most: int = 0
    seen: Days | None = None
    refused: dict[str, int] = field(default_factory=dict)
    platform: dict[str, int] = field(default_factory=dict)
    shown: int = 0
    answers: int = 0
    skips: int = 0
    answered: Days | None = None
    defects: dict[str, tuple[int, int]] = field(default_factory=dict)
    taken_down: int = 0
    quality: dict[str, dict[str, Any]] = field(default_factory=dict)


def collect(
    every: pl.DataFrame,
    tables: Mapping[str, pa.Table],
    quality: Mapping[str, Any] | None = None,
) -> Story:
    """Tell it.

    Args:
        every: rows of the photos published, as `contents.select` gives them.
        tables: every table there is; of a missing one nothing is told.
        quality: the annotators' measures, as provenance states them.
    """
    records = _table(tables, "candidates")
    credited = every.select("candidate_id", "author").join(
        records.select("candidate_id", "source", "photo_key", "observed_on"),
        on="candidate_id",
        how="left",
    )
    authors = credited["author"].drop_nulls()
    events = _standing(_table(tables, "label_events"))
    asked = events.filter(pl.col("question") == "background")
    given = asked.filter(~pl.col("answer").is_in(NO_ANSWER))
    theirs = pl.col("source").str.starts_with(INATURALIST) | pl.col(
        "photo_key"
    ).str.starts_with(f"{INATURALIST}:")
    return Story(
        sources=_counts(credited["source"]),
        inaturalist=credited.filter(theirs).height,
        authors=authors.n_unique(),
        unnamed=credited.height - authors.len(),
        most=max(_counts(authors).values(), default=0),
        seen=_days(credited["observed_on"]),
        refused=_counts(records["refused"]),
        platform=_platforms(events.filter(~pl.col("answer").is_in(NO_ANSWER))),
        shown=given.filter(pl.col("proposal").is_not_null()).height,
        answers=given.height,
        skips=asked.filter(pl.col("answer") == SKIPPED).height,
        answered=_days(given["created_at"]),
        defects=_defects(_table(tables, "labels")),
        taken_down=_table(tables, "takedowns")["photo_id"].n_unique(),
        quality=dict(quality or {}),
    )


def _standing(events: pl.DataFrame) -> pl.DataFrame:
    """Answers that nobody replaced."""
    replaced = events["supersedes"].drop_nulls()
    return events.filter(~pl.col("event_id").is_in(replaced.implode()))


def _platforms(events: pl.DataFrame) -> dict[str, int]:
    pulled = events["annotation"].is_not_null().sum()
    found = {"Label Studio": int(pulled), "files": events.height - int(pulled)}
    return {name: count for name, count in found.items() if count}


def _defects(labels: pl.DataFrame) -> dict[str, tuple[int, int]]:
    decided = labels.filter(pl.col("verdict").is_not_null())
    found = {}
    for question in schemas.DEFECTS:
        mine = decided.filter(pl.col("question") == question)
        if mine.height:
            found[question] = (
                mine.filter(pl.col("verdict") == "yes").height,
                mine.height,
            )
    return found


def _days(moments: pl.Series) -> Days | None:
    days = moments.drop_nulls().str.slice(0, DAY).sort()
    return Days(days[0], days[-1], days.len()) if days.len() else None


def _counts(values: pl.Series) -> dict[str, int]:
    """Value → rows, most frequent first, then by name."""
    table = values.drop_nulls().alias("value").to_frame().group_by("value").len()
    return dict(table.sort(["len", "value"], descending=[True, False]).iter_rows())


def _table(tables: Mapping[str, pa.Table], name: str) -> pl.DataFrame:
    return frame({name: tables.get(name, schemas.empty(name))}, name)
