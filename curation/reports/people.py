"""What people answered: verdicts, agreement, and where they differed."""

from dataclasses import dataclass

import polars as pl

from curation import agreement
from curation.reports import cards
from curation.reports.album import Album
from curation.reports.cards import Card, Row
from curation.reports.facts import SIMULATED, Estimate, Facts, estimate
from curation.reports.scores import proportion

SPLIT = 6  # photos shown on which people differed


@dataclass(frozen=True, slots=True)
class Question:
    """One question: Krippendorff's alpha (at most 1) and how verdicts came about."""

    name: str
    alpha: Estimate
    photos: int
    annotators: int
    answers: int
    statuses: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Annotator:
    """One annotator: the share of answers most of the others gave too, 0-100."""

    name: str
    simulated: bool
    answers: int
    agreement: Estimate


@dataclass(frozen=True, slots=True)
class Answers:
    """All that is known of the people's part."""

    questions: tuple[Question, ...]
    annotators: tuple[Annotator, ...]
    backgrounds: tuple[tuple[str, Estimate], ...]
    simulated: bool
    split: tuple[Card, ...]


def read(facts: Facts, album: Album) -> Answers:
    """Agreement from the label events, verdicts from the labels."""
    classes = dict(facts.frame("photos").select("photo_id", "class").iter_rows())
    found = agreement.summary(
        facts.frame("label_events").to_dicts(),
        classes=classes,
        exclude=facts.config.resolve.exclude,
    )
    annotators = tuple(_annotator(row) for row in found["annotators"])
    return Answers(
        questions=tuple(_question(facts, row) for row in found["questions"]),
        annotators=annotators,
        backgrounds=tuple(
            (row["background"], _alpha(row)) for row in found["backgrounds"]
        ),
        simulated=bool(annotators) and all(a.simulated for a in annotators),
        split=_split(facts, album),
    )


def _alpha(row: Row) -> Estimate:
    return estimate(row["alpha"], row["ci"], n=row["n_photos"])


def _question(facts: Facts, row: Row) -> Question:
    labels = facts.frame("labels").filter(pl.col("question") == row["question"])
    return Question(
        name=row["question"],
        alpha=_alpha(row),
        photos=row["n_photos"],
        annotators=row["n_annotators"],
        answers=row["n_answers"],
        statuses=tuple(labels.group_by("status").len().sort("status").iter_rows()),
    )


def _annotator(row: Row) -> Annotator:
    same = round((row["agreement"] or 0.0) * row["n"])
    return Annotator(
        name=row["annotator"],
        simulated=bool(SIMULATED.match(row["annotator"])),
        answers=row["n_answers"],
        agreement=proportion(same, row["n"]),
    )


def _split(facts: Facts, album: Album) -> tuple[Card, ...]:
    """Photos whose background people agree least on."""
    rows = (
        facts.frame("labels")
        .filter(
            pl.col("question") == "background",
            pl.col("n_answers") > 1,
            pl.col("agreement").is_null() | (pl.col("agreement") < 1),
        )
        .sort("agreement", "photo_id", nulls_last=False)
        .head(SPLIT)
    )
    return tuple(cards.make(facts, album, rows.get_column("photo_id"), side=240))
