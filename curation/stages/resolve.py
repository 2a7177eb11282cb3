"""resolve: answers of people become one verdict per photo and question.

Per photo and question the latest answer of each annotator counts; earlier ones stay in
the log. An adjudicator's answer, known by its role or by the annotator's name, settles
the question (the latest one, if several adjudicated); else the most frequent answer
does, if it is alone in front and enough people answered. A tie stays open, for an
adjudicator or one more annotator.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from curation.config import Dataset
from curation.schemas import NO_ANSWER, from_rows

VERSION = 2
OUTPUT = "labels"
INPUTS = ("label_events",)
ROWS = "reduce"

Event = Mapping[str, Any]

ADJUDICATOR = "adjudicator"
"""Role of an answer that settles its question."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What changes the table; the fields are those of the section `resolve`."""

    min_answers: int
    adjudicators: tuple[str, ...]
    exclude: tuple[str, ...]


def settings(config: Dataset) -> Settings:
    """This stage's part of the configuration."""
    section = config.resolve
    return Settings(
        min_answers=section.min_answers,
        adjudicators=tuple(sorted(section.adjudicators)),
        exclude=tuple(sorted(section.exclude)),
    )


def run(inputs: Mapping[str, pa.Table], settings: Settings) -> pa.Table:
    """Resolve every question anyone answered.

    Args:
        inputs: `label_events`, in any order.
        settings: of this stage.

    Returns: `labels`, sorted by photo_id, then question. `agreement` is the fraction of
        counted answers equal to the verdict, or in a tie to each of the tied answers.
    """
    answers = latest(inputs["label_events"].to_pylist(), exclude=settings.exclude)
    questions: dict[tuple[str, str], list[Event]] = {}
    for event in answers:
        questions.setdefault((event["photo_id"], event["question"]), []).append(event)
    rows = [
        {"photo_id": photo_id, "question": question} | _verdict(events, settings)
        for (photo_id, question), events in sorted(questions.items())
    ]
    return from_rows(rows, OUTPUT)


def latest(events: Iterable[Event], *, exclude: Iterable[str] = ()) -> list[Event]:
    """The answers that count: the latest per photo, question and annotator.

    Who skipped, or whose answer was withdrawn, has none. Of someone who annotated and
    adjudicated too, the adjudication counts. Sorted by photo_id, question, annotator.
    """
    found = {}
    for event in standing(events, exclude=exclude):
        if event["answer"] not in NO_ANSWER:
            # sorted: an adjudication comes after the same person's annotation
            found[event["photo_id"], event["question"], event["annotator"]] = event
    return list(found.values())


def standing(events: Iterable[Event], *, exclude: Iterable[str] = ()) -> list[Event]:
    """Where each annotator stands: the latest event, be it that there is no answer.

    An event that another of the same annotator names as superseded is out whatever its
    time. What someone says as an adjudicator stands apart. Sorted by photo_id,
    question, annotator, role.
    """
    left_out = set(exclude)
    by_key: dict[tuple[str, str, str, str], list[Event]] = {}
    for event in events:
        if event["annotator"] not in left_out:
            by_key.setdefault(asked(event), []).append(event)
    found = []
    for key in sorted(by_key):
        answers = by_key[key]
        if len(answers) == 1:
            found += answers
            continue
        replaced = {event.get("supersedes") for event in answers}
        unreplaced = [event for event in answers if event["event_id"] not in replaced]
        # events that supersede each other in a circle: time alone decides
        found.append(max(unreplaced or answers, key=_when))
    return found


def asked(event: Event) -> tuple[str, str, str, str]:
    """Photo, question, annotator and role of an event: a later one supersedes it."""
    who, role = event["annotator"], event.get("role") or ""
    return event["photo_id"], event["question"], who, role


def _when(event: Event) -> tuple[datetime, str]:
    return instant(event["created_at"]), event["event_id"]


def instant(text: str) -> datetime:
    """A moment in UTC from ISO 8601; without a zone, UTC is meant."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)


def _verdict(events: list[Event], settings: Settings) -> dict[str, object]:
    """Columns that follow from the counted answers to one question."""
    counts = Counter(event["answer"] for event in events)
    top = max(counts.values())
    leaders = [answer for answer, count in counts.items() if count == top]
    settled = [
        e
        for e in events
        if e["annotator"] in settings.adjudicators or e.get("role") == ADJUDICATOR
    ]
    verdict: str | None = None
    if settled:
        verdict, status = max(settled, key=_when)["answer"], "adjudicated"
    elif len(events) < settings.min_answers:
        status = "too_few"
    elif len(leaders) > 1:
        status = "tie"
    else:
        verdict, status = leaders[0], "resolved"
    agreeing = counts[verdict] if verdict is not None else top
    return {
        "verdict": verdict,
        "status": status,
        "agreement": agreeing / len(events),
        "n_answers": len(events),
        "annotators": sorted(event["annotator"] for event in events),
    }
