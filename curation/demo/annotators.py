"""Three simulated annotators with stated noise. They are no people, and say so.

Each sees a photo's true background, and errs at a known rate towards labels that are
easily confused. No proposal is shown to them, so every answer counts as chosen. Times
are made up, too.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from curation.schemas import CANNOT_TELL, CRITERIA


@dataclass(frozen=True, slots=True)
class Annotator:
    """How one of them answers; all rates are probabilities.

    Attributes:
        name: pseudonym.
        wrong: answers a background that is easily confused with the true one.
        unsure: answers that they cannot tell.
        miss: says no to a fault that is there.
        alarm: says yes to a fault that is not.
        covers: sees a photo at all.
    """

    name: str
    wrong: float
    unsure: float
    miss: float
    alarm: float
    covers: float


ANNOTATORS = (
    Annotator("sim-annotator-1", 0.02, 0.01, 0.04, 0.01, 0.98),
    Annotator("sim-annotator-2", 0.05, 0.02, 0.08, 0.03, 0.95),
    Annotator("sim-annotator-3", 0.10, 0.03, 0.15, 0.05, 0.90),
)
LEAST = 2
"""Annotators that see every photo, whatever their coverage."""

CONFUSED = {
    "grass": ("tree", "ground"),
    "ground": ("rock", "sand"),
    "indoor": ("road", "ground"),
    "road": ("ground", "indoor"),
    "rock": ("ground", "sand"),
    "sand": ("ground", "rock"),
    "sky": ("water", "snow"),
    "snow": ("rock", "ground"),
    "tree": ("grass", "ground"),
    "water": ("sky", "snow"),
}
START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
COLUMNS = (
    "photo", "question", "answer", "annotator", "time", "proposal", "origin",
    "lead_time_s",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seen:
    """A photo as they are asked about it.

    Attributes:
        photo: photo_id.
        background: the true one; "" when it is none of the dataset's.
        faults: criteria that hold of it.
        reviewed: asked about all criteria, not only the background.
    """

    photo: str
    background: str
    faults: frozenset[str]
    reviewed: bool


def answers(photos: list[Seen], *, rng: np.random.Generator) -> list[dict[str, str]]:
    """Rows of labels.csv, in the order in which each annotator went through."""
    clocks = [START + timedelta(days=day) for day in range(len(ANNOTATORS))]
    rows = []
    for photo in photos:
        present = [rng.random() < annotator.covers for annotator in ANNOTATORS]
        while sum(present) < LEAST:
            present[int(rng.integers(len(present)))] = True
        for place, annotator in enumerate(ANNOTATORS):
            if not present[place]:
                continue
            for question in ("background", *(CRITERIA if photo.reviewed else ())):
                seconds = round(float(rng.lognormal(1.2, 0.5)), 1)
                clocks[place] += timedelta(seconds=max(1, round(seconds)))
                rows.append(
                    {
                        "photo": photo.photo,
                        "question": question,
                        "answer": _answer(photo, question, annotator, rng),
                        "annotator": annotator.name,
                        "time": clocks[place].isoformat().replace("+00:00", "Z"),
                        "proposal": "",
                        "origin": "chosen",
                        "lead_time_s": str(seconds),
                    }
                )
    return rows


def _answer(
    photo: Seen, question: str, annotator: Annotator, rng: np.random.Generator
) -> str:
    draw, choice = rng.random(), int(rng.integers(2))
    if question != "background":
        if question in photo.faults:
            return "no" if draw < annotator.miss else "yes"
        return "yes" if draw < annotator.alarm else "no"
    if not photo.background:
        return ("ground", "grass")[choice] if draw < annotator.wrong else CANNOT_TELL
    if draw < annotator.wrong:
        return CONFUSED[photo.background][choice]
    if draw < annotator.wrong + annotator.unsure:
        return CANNOT_TELL
    return photo.background
