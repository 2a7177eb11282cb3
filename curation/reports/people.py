"""What people answered: verdicts, agreement, each annotator, where they differed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from curation import agreement
from curation.labelling import adjudication
from curation.quality import FAST_S
from curation.reports import cards
from curation.reports.album import Album
from curation.reports.cards import Card, Row
from curation.reports.facts import SIMULATED, Estimate, Facts, estimate
from curation.stages import resolve

SPLIT = 6  # photos shown on which people differed
MATRIX = 8  # annotators whose kappas fit in a square


@dataclass(frozen=True, slots=True)
class Alpha:
    """Krippendorff's alpha of some answers, at most 1.

    Attributes:
        name: question, class or background.
        alpha: with its interval.
        same: how often two answers to a photo are equal, chance included, 0-100.
        photos: photos with two answers or more.
    """

    name: str
    alpha: Estimate
    same: Estimate
    photos: int


@dataclass(frozen=True, slots=True)
class Question:
    """One question, and how its verdicts came about.

    Attributes:
        about: its alpha.
        decided: alpha without the answers cannot_tell.
        annotators: who answered.
        answers: independent answers.
        statuses: verdicts by status.
    """

    about: Alpha
    decided: Estimate
    annotators: int
    answers: int
    statuses: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Annotator:
    """One annotator; see `curation.quality.annotators`. Shares 0-100, times seconds."""

    name: str
    simulated: bool
    adjudicator: bool
    answers: int
    edited: int
    agreement: Estimate
    gold: Estimate
    cannot_tell: Estimate
    skipped: Estimate
    accepted: Estimate
    wrong_accepted: Estimate
    fast: Estimate
    confirmed_s: Estimate
    chosen_s: Estimate


@dataclass(frozen=True, slots=True)
class Pair:
    """Cohen's kappa of two annotators on one question."""

    question: str
    a: str
    b: str
    kappa: Estimate


@dataclass(frozen=True, slots=True)
class Answers:
    """All that is known of the people's part.

    Attributes:
        questions: in the order they are asked.
        annotators: by name.
        classes: the background's alpha in each class that has photos enough.
        small: classes that have not.
        backgrounds: alpha of each background against all else.
        pairs: kappas; those of the background first.
        square: names, and the background's kappa by two of them, for few annotators.
        excluded: annotators left out.
        waiting: photos for an adjudicator.
        gold: gold questions there are.
        simulated: the annotators are programs.
        split: photos on which they differed most.
    """

    questions: tuple[Question, ...]
    annotators: tuple[Annotator, ...]
    classes: tuple[Alpha, ...]
    small: int
    backgrounds: tuple[Alpha, ...]
    pairs: tuple[Pair, ...]
    square: tuple[tuple[str, ...], Mapping[tuple[str, str], Estimate]] | None
    excluded: tuple[str, ...]
    waiting: int
    gold: int
    simulated: bool
    split: tuple[Card, ...]

    @property
    def proposals(self) -> bool:
        """Somebody was shown a proposal."""
        return any(annotator.accepted.known for annotator in self.annotators)

    @property
    def timed(self) -> bool:
        """Somebody's seconds are known."""
        return any(annotator.fast.known for annotator in self.annotators)

    @property
    def fast_s(self) -> float:
        """Seconds under which an answer counts as fast."""
        return FAST_S

    @property
    def fewest(self) -> int:
        """Photos a class must have to be listed."""
        return agreement.FEWEST


def read(facts: Facts, album: Album) -> Answers:
    """Agreement from the label events, verdicts from the labels."""
    events = facts.frame("label_events").to_dicts()
    found = agreement.summary(
        events,
        classes=dict(facts.frame("photos").select("photo_id", "class").iter_rows()),
        exclude=facts.config.resolve.exclude,
        adjudicators=facts.config.resolve.adjudicators,
        gold=facts.gold,
    )
    annotators = tuple(_annotator(row) for row in found["annotators"])
    pairs = tuple(_pair(row) for row in found["pairs"])
    classes = [
        _alpha(row["class"], row)
        for row in found["classes"]
        if row["question"] == "background"
    ]
    return Answers(
        questions=tuple(_question(facts, row) for row in found["questions"]),
        annotators=annotators,
        classes=tuple(row for row in classes if row.photos >= agreement.FEWEST),
        small=sum(row.photos < agreement.FEWEST for row in classes),
        backgrounds=tuple(
            _alpha(row["background"], row) for row in found["backgrounds"]
        ),
        pairs=pairs,
        square=_square(pairs),
        excluded=tuple(found["excluded"]),
        waiting=_waiting(facts, events),
        gold=len(facts.gold),
        simulated=bool(annotators) and all(a.simulated for a in annotators),
        split=_split(facts, album),
    )


def _alpha(name: str, row: Row) -> Alpha:
    return Alpha(
        name=name,
        alpha=estimate(row["alpha"], row["ci"], n=row["n_photos"]),
        same=_percent(row["same"], row["same_ci"], row["n_photos"]),
        photos=row["n_photos"],
    )


def _percent(
    value: float | None, ends: Sequence[float] | None, n: int | None = None
) -> Estimate:
    """A share as percents."""
    if value is None:
        return Estimate(n=n)
    return estimate(100 * value, [100 * end for end in ends] if ends else None, n=n)


def _question(facts: Facts, row: Row) -> Question:
    labels = facts.frame("labels").filter(pl.col("question") == row["question"])
    return Question(
        about=_alpha(row["question"], row),
        decided=estimate(row["decided"]["alpha"], row["decided"]["ci"]),
        annotators=row["n_annotators"],
        answers=row["n_answers"],
        statuses=tuple(labels.group_by("status").len().sort("status").iter_rows()),
    )


def _annotator(row: Row) -> Annotator:
    def share(name: str, n: str = "") -> Estimate:
        return _percent(row[name], row[f"{name}_ci"], row[n or f"{name}_n"])

    def seconds(name: str) -> Estimate:
        return estimate(row[name], row[f"{name}_ci"], n=row[f"{name}_n"])

    return Annotator(
        name=row["annotator"],
        simulated=bool(SIMULATED.match(row["annotator"])),
        adjudicator=row["adjudicator"],
        answers=row["n_answers"],
        edited=row["edited"],
        agreement=share("agreement", "n"),
        gold=share("gold"),
        cannot_tell=share("cannot_tell"),
        skipped=share("skipped"),
        accepted=share("accepted"),
        wrong_accepted=share("wrong_accepted"),
        fast=share("fast"),
        confirmed_s=seconds("confirmed_s"),
        chosen_s=seconds("chosen_s"),
    )


def _pair(row: Row) -> Pair:
    kappa = estimate(row["kappa"], row["ci"], n=row["n"])
    return Pair(row["question"], row["a"], row["b"], kappa)


def _square(
    pairs: Sequence[Pair],
) -> tuple[tuple[str, ...], Mapping[tuple[str, str], Estimate]] | None:
    """The background's kappas by both names; None of two annotators, or of many."""
    kappas = {(p.a, p.b): p.kappa for p in pairs if p.question == "background"}
    names = tuple(sorted({name for pair in kappas for name in pair}))
    if not 2 < len(names) <= MATRIX:
        return None
    return names, kappas | {(b, a): kappa for (a, b), kappa in kappas.items()}


def _waiting(facts: Facts, events: Sequence[Row]) -> int:
    """Photos for an adjudicator."""
    merged = facts.frame("duplicates").filter(pl.col("decision") == "merge")
    kept = set(facts.frame("photos").get_column("photo_id"))
    kept -= set(merged.get_column("photo_id"))
    found = adjudication.open_questions(
        [event for event in events if event["photo_id"] in kept],
        settings=resolve.settings(facts.config),
        wanted=facts.config.tasks.answers,
    )
    return len(found)


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
