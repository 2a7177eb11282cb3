"""What one person should settle: photos on which people disagree, or gave up.

Asked first are backgrounds without a majority, then those with a narrow one, then
photos nobody could tell or would answer, then criteria people differ on. What an
adjudicator settled is not asked again.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from curation.schemas import CANNOT_TELL, QUESTIONS, SKIPPED, WITHDRAWN
from curation.stages import resolve
from curation.stages.dedup import merged

if TYPE_CHECKING:
    from curation.pipeline import Route

CLEAR = 0.8
"""Share of the answers from which a majority is not questioned."""

TIE, NARROW, ABSTAINED, CRITERION = range(4)
"""Kinds of open questions, in the order they are asked."""

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Open:
    """A photo for an adjudicator.

    Attributes:
        photo_id: the photo.
        questions: what is open on it, in `schemas.QUESTIONS`' order.
        said: how often which answer was given, to the background and what else is open:
            "snow 2, ice 1; label_noise: yes 1, no 1". No names.
        why: what is wrong with the answers, in words.
    """

    photo_id: str
    questions: tuple[str, ...]
    said: str
    why: str


@dataclass(frozen=True, slots=True, order=True)
class _Fault:
    """Why one question is open; sorts by what is asked first."""

    kind: int
    agreement: float
    question: str
    why: str


def queue(route: "Route") -> list[Open]:
    """Photos to settle, first asked first; equally urgent ones by photo_id.

    Only kept photos count, and of these only such as were answered or skipped by
    `tasks.answers` annotators, or by all there are: others wait for annotators. Open
    are a tie, a majority below CLEAR, a verdict of cannot_tell, and a photo that
    everybody skipped. Nothing is open that an adjudicator settled; an adjudicator's
    skip settles nothing.
    """
    if any(route.fingerprint(name) is None for name in ("photos", "hashes")):
        return []
    kept = set(route.whole("photos").column("photo_id").to_pylist())
    if route.fingerprint("duplicates") is not None:
        kept -= merged(route.whole("duplicates")).keys()
    return open_questions(
        [e for e in route.table("label_events").to_pylist() if e["photo_id"] in kept],
        settings=resolve.settings(route.config),
        wanted=route.config.tasks.answers,
    )


def open_questions(
    events: Sequence[Event], *, settings: resolve.Settings, wanted: int
) -> list[Open]:
    """As `queue`, of these events.

    Args:
        events: rows of `label_events`, of kept photos.
        settings: how answers become verdicts.
        wanted: annotators wanted per photo.
    """
    # apart: who also adjudicates has an answer of their own from before
    verdicts = [event for event in events if _settles(event, settings)]
    own = [event for event in events if not _settles(event, settings)]
    answers = resolve.standing(own, exclude=settings.exclude)
    settled = {
        (event["photo_id"], event["question"])
        for event in resolve.latest(verdicts, exclude=settings.exclude)
    }
    counts = _counts(answers)
    asked: dict[str, set[str]] = {}
    for event in answers:
        if event["answer"] != WITHDRAWN:
            asked.setdefault(event["photo_id"], set()).add(event["annotator"])
    enough = min(wanted, len(set().union(*asked.values())))
    found: dict[str, list[_Fault]] = {}
    for (photo_id, question), said in counts.items():
        if (photo_id, question) in settled or len(asked[photo_id]) < enough:
            continue
        fault = _fault(question, said, settings)
        if fault:
            found.setdefault(photo_id, []).append(fault)
    order = sorted((min(faults), photo_id) for photo_id, faults in found.items())
    return [_open(photo_id, found[photo_id], counts) for _, photo_id in order]


def _settles(event: Event, settings: resolve.Settings) -> bool:
    """The event is an adjudicator's."""
    by_name = event["annotator"] in settings.adjudicators
    return by_name or event.get("role") == resolve.ADJUDICATOR


def _counts(answers: Iterable[Event]) -> dict[tuple[str, str], Counter[str]]:
    """How often which answer stands, skips included, withdrawn ones not."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    answered = resolve.latest(answers)
    skips = [event for event in answers if event["answer"] == SKIPPED]
    for event in (*answered, *skips):
        key = (event["photo_id"], event["question"])
        counts.setdefault(key, Counter())[event["answer"]] += 1
    return counts


def _fault(
    question: str, said: Counter[str], settings: resolve.Settings
) -> _Fault | None:
    """Why a question is open; None if it is not."""
    skips, n = said[SKIPPED], said.total() - said[SKIPPED]
    background = question == "background"
    if not n:
        everybody = "the only one asked" if skips == 1 else f"all {skips} asked"
        return _Fault(ABSTAINED, 0.0, question, f"skipped by {everybody}")
    if n < settings.min_answers:
        return None
    ranked = _ranked(said)
    share = ranked[0][1] / n
    name = question.replace("_", " ")
    if len(ranked) > 1 and ranked[0][1] == ranked[1][1]:
        kind = TIE if background else CRITERION
        return _Fault(kind, share, question, f"{name}: no majority")
    if share < CLEAR:
        kind = NARROW if background else CRITERION
        why = f"{name}: only {ranked[0][1]} of {n} say {ranked[0][0]}"
        return _Fault(kind, share, question, why)
    if ranked[0][0] == CANNOT_TELL:
        kind = ABSTAINED if background else CRITERION
        why = f"{name}: {ranked[0][1]} of {n} cannot tell"
        return _Fault(kind, share, question, why)
    return None


def _ranked(said: Counter[str]) -> list[tuple[str, int]]:
    """Answers, the most frequent first, equal ones by name."""
    given = [(answer, n) for answer, n in said.items() if answer != SKIPPED]
    return sorted(given, key=lambda pair: (-pair[1], pair[0]))


def _open(
    photo_id: str,
    faults: list[_Fault],
    counts: Mapping[tuple[str, str], Counter[str]],
) -> Open:
    """A photo with what was said of it."""
    questions = {fault.question for fault in faults}
    parts = []
    for question in QUESTIONS:
        said = counts.get((photo_id, question))
        if said and (question in questions or question == "background"):
            ranked = _ranked(said)
            if said[SKIPPED]:
                ranked.append((SKIPPED, said[SKIPPED]))
            words = ", ".join(f"{answer} {n}" for answer, n in ranked)
            parts.append(words if question == "background" else f"{question}: {words}")
    return Open(
        photo_id=photo_id,
        questions=tuple(q for q in QUESTIONS if q in questions),
        said="; ".join(parts),
        why="; ".join(fault.why for fault in sorted(faults)),
    )
