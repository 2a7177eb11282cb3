"""From what was seen of annotations to answers: a pure function of a log.

Rows of `annotations` are read in their order. After each of them it is known what every
annotator says of the photo: what their most recently updated annotation says. Where
that is another answer than before, there is an event. So the events of the beginning of
a log are the beginning of its events, whenever pulls happened or were cut off.

Of one annotation several people may have spoken: who made it, and who wrote over it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from curation import labels
from curation.config import Dataset
from curation.labelling import reading
from curation.schemas import QUESTIONS, WITHDRAWN
from curation.stages.resolve import ADJUDICATOR, instant

Row = Mapping[str, Any]
Key = tuple[str, int]
"""Campaign and number of an annotation."""

Person = tuple[str, str, str | None]
"""Photo_id, annotator and role."""

PRESENT, DELETED, TASK_DELETED = "present", "deleted", "task_deleted"
"""States of an annotation."""

UNTOUCHED = timedelta(seconds=1)
"""An annotation updated so soon after it was made was not edited in between."""

_TICK = timedelta(microseconds=1)


@dataclass(slots=True)
class _Said:
    """What someone says in an annotation.

    Attributes:
        key: the annotation.
        answers: answer by question.
        when: updated_at of the annotation.
        origin: of the background.
        lead_time: seconds taken, if known.
        note: remark, if any.
        edits: who made the annotation, if that is someone else.
    """

    key: Key
    answers: Mapping[str, str]
    when: datetime
    origin: reading.Origin | None
    lead_time: float | None
    note: str | None
    edits: str | None


@dataclass(slots=True)
class _Annotation:
    """What is known of an annotation.

    Attributes:
        photo: photo_id of its task.
        answers: what it said when last read.
        said: what each person said in it.
        speaker: who last changed what it says.
    """

    photo: str
    answers: Mapping[str, str]
    said: dict[str, _Said]
    speaker: str


@dataclass(slots=True)
class _Replay:
    config: Dataset
    kinds: Mapping[str, str]
    proposals: Mapping[tuple[str, str], str | None]
    events: list[labels.Event] = field(default_factory=list)
    annotations: dict[Key, _Annotation] = field(default_factory=dict)
    # photo_id, annotator and role: what someone settles stands beside what they said
    said: dict[Person, dict[Key, _Said]] = field(default_factory=dict)
    standing: dict[Person, dict[str, str]] = field(default_factory=dict)
    last: dict[tuple[str, str, str], datetime] = field(default_factory=dict)
    # annotations seen with a mark as ground truth, also such as could not be read
    marked: set[Key] = field(default_factory=set)

    def see(self, row: Row) -> None:
        """Take in the next row; a task that was deleted takes nothing along."""
        key = row["campaign"], row["annotation"]
        known = self.annotations.get(key)
        if row["photo_id"] is None:
            return
        moved = known is not None and known.photo != row["photo_id"]
        if known and (row["state"] == DELETED or moved):
            del self.annotations[key]
            for person in known.said:
                del self.said[known.photo, person, self._role(key[0])][key]
                self.compare(known.photo, person, row, None)
            known = None
        if row["state"] == PRESENT:
            self._read(key, row, known)

    def _read(self, key: Key, row: Row, known: _Annotation | None) -> None:
        raw = json.loads(row["raw"])
        found = reading.read(raw, self.config)
        marking = bool(raw.get("ground_truth")) and key not in self.marked
        if marking:
            self.marked.add(key)
        if found.fault:
            return
        if known is None:
            known = _Annotation(row["photo_id"], {}, {}, "")
            self.annotations[key] = known
        speaker = _speaker(row, raw, found, known, marking=marking)
        lead_time = _seconds(raw.get("lead_time"))
        said = _Said(
            key, found.answers, updated(raw), found.origin, lead_time, found.note,
            row["annotator"] if speaker != row["annotator"] else None,
        )  # fmt: skip
        undone = _undone(known, speaker, row)
        if undone:
            del known.said[undone]
            del self.said[known.photo, undone, self._role(key[0])][key]
        known.answers, known.speaker, known.said[speaker] = found.answers, speaker, said
        person = known.photo, speaker, self._role(key[0])
        self.said.setdefault(person, {})[key] = said
        self.compare(known.photo, speaker, row, said)
        if undone:
            self.compare(known.photo, undone, row, None)

    def compare(self, photo: str, person: str, row: Row, new: _Said | None) -> None:
        """Tell where someone's answers to a photo are other ones than before."""
        role = self._role(row["campaign"])
        told = self.standing.setdefault((photo, person, role), {})
        everything = self.said[photo, person, role]
        best = max(
            everything.values(), key=lambda said: (said.when, said.key), default=None
        )
        # an annotation that is taken back brings an earlier one to the front: now
        seen = instant(row["at"])
        when = best.when if best and best is new else seen
        for question in QUESTIONS:
            answer = best.answers.get(question) if best else None
            before = told.get(question)
            if answer is None:
                if before in (None, WITHDRAWN):
                    continue
                answer = WITHDRAWN
            if before != answer:
                told[question] = answer
                self._tell(photo, person, question, answer, when, best, row)

    def _tell(
        self, photo: str, person: str, question: str, answer: str, when: datetime,
        best: _Said | None, row: Row,
    ) -> None:  # fmt: skip
        key = photo, question, person
        last = self.last.get(key)
        # clocks differ: an answer that follows another is later, whatever they say
        when = when if last is None or when > last else last + _TICK
        self.last[key] = when
        campaign, number = best.key if best else (row["campaign"], row["annotation"])
        background = question == QUESTIONS[0] and best is not None
        proposal = self.proposals.get((campaign, photo)) if background else None
        confirmed = bool(proposal) and proposal == answer
        origin = best.origin if background and best else None
        created_at = when.isoformat()
        self.events.append(
            {
                "event_id": labels.event_id(
                    photo,
                    question,
                    person,
                    created_at,
                    answer,
                    role=self._role(campaign),
                ),  # fmt: skip
                "photo_id": photo,
                "question": question,
                "answer": answer,
                "annotator": person,
                "proposal": proposal,
                "origin": origin or ("confirmed" if confirmed else "chosen"),
                "lead_time_s": best.lead_time if background and best else None,
                "created_at": created_at,
                "supersedes": None,
                "role": self._role(campaign),
                "note": best.note if background and best else None,
                "edits": best.edits if best else None,
                "annotation": f"{campaign}/{number}",
            }
        )

    def _role(self, campaign: str) -> str | None:
        return ADJUDICATOR if self.kinds.get(campaign) == "adjudication" else None


def derive(
    rows: Iterable[Row],
    *,
    config: Dataset,
    kinds: Mapping[str, str],
    proposals: Mapping[tuple[str, str], str | None],
) -> list[labels.Event]:
    """Answers that follow from what was seen of annotations.

    Photos do not depend on each other: the rows of some give the events of those.

    Args:
        rows: of `annotations`, oldest first; all there are of the photos they are of.
        config: gives the backgrounds that may be answered.
        kinds: kind by campaign.
        proposals: background that was shown, by campaign and photo_id.

    Returns: rows of `label_events` in the order in which they came to be known;
        `supersedes` is left to `labels.unseen`.
    """
    replay = _Replay(config, kinds, proposals)
    for row in rows:
        replay.see(row)
    return replay.events


def updated(raw: Mapping[str, Any]) -> datetime:
    """When an annotation was last changed."""
    return instant(raw.get("updated_at") or raw["created_at"])


def _speaker(
    row: Row,
    raw: Mapping[str, Any],
    found: reading.Reading,
    known: _Annotation,
    *,
    marking: bool,
) -> str:
    """Whose answers these are; `marking`: it is ground truth since the last look."""
    owner: str = row["annotator"]
    if known.answers == found.answers:
        return known.speaker  # a mark was set, a remark changed
    for person, said in known.said.items():
        if said.answers == found.answers and person == owner:
            return person  # someone undid what they had written over it
    editor: str | None = row["editor"]
    if editor is None or known.said:
        return editor or owner
    # read for the first time: to mark it as ground truth is no edit
    made = instant(raw.get("created_at") or raw["updated_at"])
    edited = not marking and updated(raw) - made > UNTOUCHED
    return editor if edited else owner


def _seconds(found: object) -> float | None:
    if isinstance(found, bool) or not isinstance(found, int | float) or found < 0:
        return None
    return float(found)


def _undone(known: _Annotation, speaker: str, row: Row) -> str | None:
    """Who takes back, with this row, what they wrote over someone's annotation."""
    editor: str | None = row["editor"]
    if editor in known.said and speaker == row["annotator"] != known.speaker:
        return editor
    return None
