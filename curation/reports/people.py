"""What people answered: verdicts, agreement, and where they differed."""

from dataclasses import dataclass

import polars as pl

from curation.reports import cards
from curation.reports.album import Album
from curation.reports.cards import Card
from curation.reports.facts import SIMULATED, Estimate, Facts
from curation.reports.scores import proportion
from curation.schemas import QUESTIONS

SPLIT = 4  # photos shown on which people differed


@dataclass(frozen=True, slots=True)
class Question:
    """One question: Krippendorff's alpha (-1 to 1) and how the verdicts came about."""

    name: str
    alpha: Estimate
    photos: int
    annotators: int
    answers: int
    statuses: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Annotator:
    """One annotator: answers given, and the share that equals the verdict, 0-100."""

    name: str
    question: str
    simulated: bool
    answers: int
    agreement: Estimate


@dataclass(frozen=True, slots=True)
class Answers:
    """All that is known of the people's part."""

    questions: tuple[Question, ...]
    annotators: tuple[Annotator, ...]
    simulated: bool
    split: tuple[Card, ...]


def read(facts: Facts, album: Album) -> Answers:
    """Agreement from the label events, verdicts from the labels."""
    annotators = _annotators(facts)
    return Answers(
        questions=_questions(facts),
        annotators=annotators,
        simulated=bool(annotators) and all(a.simulated for a in annotators),
        split=_split(facts, album),
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


def _current(facts: Facts) -> pl.DataFrame:
    """The last answer of each annotator to each question, superseded ones left out."""
    events = facts.frame("label_events")
    replaced = events.get_column("supersedes").drop_nulls()
    return (
        events.filter(~pl.col("event_id").is_in(replaced.implode()))
        .sort("created_at", "event_id")
        .unique(["photo_id", "question", "annotator"], keep="last", maintain_order=True)
    )


def _annotators(facts: Facts) -> tuple[Annotator, ...]:
    verdicts = facts.frame("labels").filter(pl.col("verdict").is_not_null())
    judged = _current(facts).join(
        verdicts.select("photo_id", "question", "verdict"),
        on=["photo_id", "question"],
        how="left",
    )
    rows = (
        judged.group_by("annotator", "question")
        .agg(
            pl.len().alias("answers"),
            pl.col("verdict").count().alias("n"),
            (pl.col("answer") == pl.col("verdict")).sum().alias("k"),
        )
        .sort("question", "annotator")
    )
    return tuple(
        Annotator(
            name=row["annotator"],
            question=row["question"],
            simulated=bool(SIMULATED.match(row["annotator"])),
            answers=row["answers"],
            agreement=proportion(row["k"], row["n"]),
        )
        for row in rows.iter_rows(named=True)
    )


def _questions(facts: Facts) -> tuple[Question, ...]:
    labels, answers = facts.frame("labels"), _current(facts)
    return tuple(
        _question(
            name,
            labels.filter(pl.col("question") == name),
            answers.filter(pl.col("question") == name),
        )
        for name in QUESTIONS
        if name in labels.get_column("question")
    )


def _question(name: str, labels: pl.DataFrame, answers: pl.DataFrame) -> Question:
    statuses = labels.group_by("status").len().sort("status")
    return Question(
        name=name,
        alpha=Estimate(),
        photos=labels.height,
        annotators=answers.get_column("annotator").n_unique(),
        answers=answers.height,
        statuses=tuple(statuses.iter_rows()),
    )
