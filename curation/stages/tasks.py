"""tasks: what people are asked, most informative first.

Every kept photo is asked for its background; a criterion becomes a question when its
score reaches `review_above`. A question leaves the list once `answers` people answered
it and one verdict stands, or an adjudicator settled it; with a tie it stays.

Priority is a weighted sum of parts in 0-1 (`WEIGHTS`):

- waiting: answers wanted still, as a share of those wanted;
- tie: people disagree, which one more answer can settle;
- doubt (background): 1 - margin of the proposal; 1 without one, or where it abstained;
- division (background): how far the proposal and the photo's verified neighbours
  disagree (`curation.committee`);
- scarcity (background): m / (m + n) for a background with n verified photos in the
  class, m being the photos a background needs; the mean over the backgrounds that the
  two opinions hold possible. It falls with each photo, and never quite ends: the
  smaller group decides how well a drop is known;
- score (criterion): its score.

What models say of the class is not known yet: they are asked about verified photos
only, after people were (`predict`).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation import committee, embeddings
from curation.config import Dataset
from curation.schemas import CRITERIA, DEFECTS, from_rows
from curation.stages import resolve
from curation.stages.dedup import merged

VERSION = 2
OUTPUT = "tasks"
INPUTS = (
    "photos", "duplicates", "proposals", "flags", "embeddings", "label_events",
)  # fmt: skip
ROWS = "reduce"

WEIGHTS: Mapping[str, float] = {
    "waiting": 1.0,
    "tie": 1.0,
    "doubt": 1.0,
    "division": 1.0,
    "scarcity": 1.0,
    "score": 1.0,
}
"""What each part counts for."""

DOUBTFUL, DIVIDED = 0.5, 0.5
"""From here on doubt, or division, is worth a word in `why`."""

_WORDS = {
    "label_noise": "may be of another class",
    "feature_noise": "looks noisy or unlike its class",
    "ambiguity": "could be one of two classes",
    "clarity": "is blurred or dark",
}

Row = dict[str, Any]
Labels = Mapping[tuple[str, str], Row]
Real = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Settings:
    """What changes the table.

    Attributes:
        answers: annotators wanted per photo and question.
        review_above: score from which a criterion becomes a question.
        blind: hide the proposal.
        backgrounds: names in dataset.toml's order.
        min_photos: photos a background needs in a class.
        resolve: how answers become verdicts.
    """

    answers: int
    review_above: float
    blind: bool
    backgrounds: tuple[str, ...]
    min_photos: int
    resolve: resolve.Settings


def settings(config: Dataset) -> Settings:
    """This stage's part of the configuration."""
    return Settings(
        answers=config.tasks.answers,
        review_above=config.tasks.review_above,
        blind=config.tasks.blind,
        backgrounds=tuple(background.name for background in config.backgrounds),
        min_photos=config.group.min_photos,
        resolve=resolve.settings(config),
    )


def run(inputs: Mapping[str, pa.Table], settings: Settings) -> pa.Table:
    """List the open questions.

    Args:
        inputs: `photos`, `duplicates`, `proposals`, `flags`, `embeddings` and
            `label_events`.
        settings: of this stage.

    Returns: `tasks`, sorted by rank; equal priorities go by photo_id, then question.
    """
    gone = merged(inputs["duplicates"])
    photos = {
        row["photo_id"]: row["class"]
        for row in inputs["photos"].select(["photo_id", "class"]).to_pylist()
        if row["photo_id"] not in gone
    }
    labels = {
        (row["photo_id"], row["question"]): row
        for row in resolve.run(
            {"label_events": inputs["label_events"]}, settings.resolve
        ).to_pylist()
    }
    flags = {row["photo_id"]: row for row in inputs["flags"].to_pylist()}
    views = _views(inputs, photos, labels, settings)
    rows: list[Row] = []
    for photo_id, class_ in photos.items():
        base = {"photo_id": photo_id, "class": class_}
        label = labels.get((photo_id, "background"))
        if _open(label, settings.answers):
            rows.append(base | _background(class_, views[photo_id], label, settings))
        for criterion in CRITERIA:
            score = flags[photo_id][criterion] if photo_id in flags else 0.0
            label = labels.get((photo_id, criterion))
            if score >= settings.review_above and _open(label, settings.answers):
                rows.append(base | _criterion(criterion, score, label, settings))
    rows.sort(key=lambda r: (-r["priority"], r["photo_id"], r["question"]))
    return from_rows([row | {"rank": rank} for rank, row in enumerate(rows)], OUTPUT)


def _open(label: Row | None, wanted: int) -> bool:
    """Whether a question still needs people."""
    if label is None:
        return True
    if label["status"] == "adjudicated":
        return False
    return bool(label["verdict"] is None or label["n_answers"] < wanted)


@dataclass(frozen=True, slots=True)
class _View:
    """What is known of a photo's background before people settle it.

    Attributes:
        proposal: row of `proposals`, if there is one.
        neighbours: background that most neighbours vote for, if they have a say.
        division: of proposal and neighbours, 0-1.
        scarcity: of photos in its class where it seems to lie, 0-1.
        likely: the likeliest background; None when nothing speaks for one.
        there: verified photos of its class on that background.
    """

    proposal: Row | None
    neighbours: str | None
    division: float
    scarcity: float
    likely: str | None
    there: int


def _views(
    inputs: Mapping[str, pa.Table],
    photos: Mapping[str, str],
    labels: Labels,
    settings: Settings,
) -> dict[str, _View]:
    """A view of every kept photo."""
    ids = sorted(photos)
    names, place = (
        settings.backgrounds,
        {b: i for i, b in enumerate(settings.backgrounds)},
    )
    proposals = {row["photo_id"]: row for row in inputs["proposals"].to_pylist()}
    answers = [
        place.get(label["verdict"], -1)
        if (label := labels.get((photo_id, "background")))
        else -1
        for photo_id in ids
    ]
    proposed = np.full((len(ids), len(names)), np.nan)
    for row, photo_id in enumerate(ids):
        if photo_id in proposals:
            proposed[row] = proposals[photo_id]["probabilities"]
    near = _neighbours(inputs["embeddings"], ids, photos, answers, len(names))
    division = committee.divergence(proposed, near)
    likely = committee.together(proposed, near)
    counts = _counts(zip(ids, answers, strict=True), photos, labels)
    rare = {
        class_: np.array(
            [
                settings.min_photos / (settings.min_photos + counts[class_, b])
                for b in range(len(names))
            ]
        )
        for class_ in set(photos.values())
    }
    views = {}
    for row, photo_id in enumerate(ids):
        class_, best = photos[photo_id], int(likely[row].argmax())
        heard = photo_id in proposals or np.isfinite(near[row, 0])
        views[photo_id] = _View(
            proposal=proposals.get(photo_id),
            neighbours=names[int(near[row].argmax())]
            if np.isfinite(near[row, 0])
            else None,
            division=float(division[row]),
            scarcity=float(likely[row] @ rare[class_]),
            likely=names[best] if heard else None,
            there=counts[class_, best],
        )
    return views


def _neighbours(
    table: pa.Table,
    ids: list[str],
    photos: Mapping[str, str],
    answers: list[int],
    backgrounds: int,
) -> Real:
    """(N, B) votes of the neighbours of `ids`; NaN where there are none."""
    found = np.full((len(ids), backgrounds), np.nan)
    if max(answers, default=-1) < 0:
        return found
    place = {photo_id: row for row, photo_id in enumerate(ids)}
    embedded, vectors = embeddings.matrix(table)
    have = [row for row, photo_id in enumerate(embedded) if photo_id in place]
    at = [place[embedded[row]] for row in have]
    number = {name: i for i, name in enumerate(sorted(set(photos.values())))}
    classes = np.array([number[photos[ids[row]]] for row in at], np.int64)
    found[at] = committee.opinions(
        vectors[have], classes, np.array(answers, np.int64)[at], backgrounds=backgrounds
    )
    return found


def _counts(
    answers: "zip[tuple[str, int]]", photos: Mapping[str, str], labels: Labels
) -> Counter[tuple[str, int]]:
    """Photos that count, by class and column of their background."""
    found: Counter[tuple[str, int]] = Counter()
    for photo_id, answer in answers:
        defects = (labels.get((photo_id, defect)) for defect in DEFECTS)
        if answer >= 0 and not any(d and d["verdict"] == "yes" for d in defects):
            found[photos[photo_id], answer] += 1
    return found


def _waiting(label: Row | None, wanted: int) -> tuple[float, int, list[str]]:
    """Priority of answers still wanted, answers there are, and why in words."""
    have = label["n_answers"] if label else 0
    priority = WEIGHTS["waiting"] * max(0, wanted - have) / wanted
    why = [f"{have} of {wanted} answers"]
    if label and label["status"] == "tie":
        priority += WEIGHTS["tie"]
        why = ["people disagree"]
    return priority, have, why


def _background(class_: str, view: _View, label: Row | None, settings: Settings) -> Row:
    """Columns of the question after the background."""
    priority, have, why = _waiting(label, settings.answers)
    proposal = view.proposal
    shown = proposal if proposal and not proposal["abstained"] else None
    doubt = 1 - shown["margin"] if shown else 1.0
    priority += WEIGHTS["doubt"] * doubt
    priority += WEIGHTS["division"] * view.division
    priority += WEIGHTS["scarcity"] * view.scarcity
    if proposal is None:
        why.append("no proposal")
    elif shown is None:
        why.append("the proposal abstained")
    if not settings.blind:
        why += _named(class_, view, doubt, settings)
    visible = None if settings.blind else shown
    return {
        "question": "background",
        "priority": priority,
        "why": "; ".join(why),
        "proposal": visible["background"] if visible else None,
        "probability": visible["probability"] if visible else None,
        "answers": have,
    }


def _named(class_: str, view: _View, doubt: float, settings: Settings) -> list[str]:
    """Reasons that name backgrounds: not for those who are not to see a proposal."""
    why, proposal = [], view.proposal
    if proposal and not proposal["abstained"] and doubt > DOUBTFUL:
        why.append(f"{proposal['background']} or {proposal['second']}")
    if proposal and view.division >= DIVIDED:
        why.append(
            f"proposed {proposal['background']}, verified photos like it are on "
            f"{view.neighbours}"
        )
    if view.likely and view.there < settings.min_photos:
        why.append(
            f"{class_} has {view.there} of {settings.min_photos} photos on "
            f"{view.likely}"
        )
    return why


def _criterion(
    criterion: str, score: float, label: Row | None, settings: Settings
) -> Row:
    """Columns of the question after a criterion."""
    priority, have, why = _waiting(label, settings.answers)
    return {
        "question": criterion,
        "priority": priority + WEIGHTS["score"] * score,
        "why": "; ".join([f"{_WORDS[criterion]} ({score:.2f})", *why]),
        "proposal": None,
        "probability": None,
        "answers": have,
    }
