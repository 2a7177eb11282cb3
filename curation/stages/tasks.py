"""tasks: what people are asked, most informative first.

Every kept photo is asked for its background; a criterion becomes a question when its
score reaches `review_above`. A question leaves the list once `answers` people answered
it and one verdict stands, or an adjudicator settled it; with a tie it stays.

Priority is a sum of parts in 0-1:

- answers wanted still, as a share of those wanted;
- background: 1 - margin of the proposal (1 without a proposal, or where it abstained);
- background: how short of photos the class is on the likeliest background, as a share
  of the photos a group needs;
- criterion: its score;
- 1 for a tie, which one more answer can break.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curation.config import Dataset
from curation.schemas import CRITERIA, from_rows
from curation.stages import resolve
from curation.stages.dedup import merged

VERSION = 1
OUTPUT = "tasks"
INPUTS = ("photos", "duplicates", "proposals", "flags", "label_events")
ROWS = "reduce"

_WORDS = {
    "label_noise": "may be of another class",
    "feature_noise": "looks noisy or unlike its class",
    "ambiguity": "could be one of two classes",
    "clarity": "is blurred or dark",
}

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Settings:
    """What changes the table.

    Attributes:
        answers: annotators wanted per photo and question.
        review_above: score from which a criterion becomes a question.
        blind: hide the proposal.
        min_photos: photos a background needs in a class.
        resolve: how answers become verdicts.
    """

    answers: int
    review_above: float
    blind: bool
    min_photos: int
    resolve: resolve.Settings


def settings(config: Dataset) -> Settings:
    """This stage's part of the configuration."""
    return Settings(
        answers=config.tasks.answers,
        review_above=config.tasks.review_above,
        blind=config.tasks.blind,
        min_photos=config.group.min_photos,
        resolve=resolve.settings(config),
    )


def run(inputs: Mapping[str, pa.Table], settings: Settings) -> pa.Table:
    """List the open questions.

    Args:
        inputs: `photos`, `duplicates`, `proposals`, `flags` and `label_events`.
        settings: of this stage.

    Returns: `tasks`, sorted by rank; equal priorities go by photo_id, then question.
    """
    gone = merged(inputs["duplicates"])
    photos = {
        row["photo_id"]: row["class"]
        for row in inputs["photos"].select(["photo_id", "class"]).to_pylist()
        if row["photo_id"] not in gone
    }
    proposals = {row["photo_id"]: row for row in inputs["proposals"].to_pylist()}
    labels = {
        (row["photo_id"], row["question"]): row
        for row in resolve.run(
            {"label_events": inputs["label_events"]}, settings.resolve
        ).to_pylist()
    }
    counts = _counts(photos, labels)
    flags = {row["photo_id"]: row for row in inputs["flags"].to_pylist()}
    rows: list[Row] = []
    for photo_id, class_ in photos.items():
        base = {"photo_id": photo_id, "class": class_}
        label = labels.get((photo_id, "background"))
        if _open(label, settings.answers):
            proposal = proposals.get(photo_id)
            rows.append(base | _background(class_, proposal, label, counts, settings))
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


def _counts(
    photos: Mapping[str, str], labels: Mapping[tuple[str, str], Row]
) -> Counter[tuple[str, str]]:
    """Photos with a verdict on their background, by class and background."""
    found: Counter[tuple[str, str]] = Counter()
    for photo_id, class_ in photos.items():
        label = labels.get((photo_id, "background"))
        if label and label["verdict"] is not None:
            found[class_, label["verdict"]] += 1
    return found


def _waiting(label: Row | None, wanted: int) -> tuple[float, int, list[str]]:
    """Priority of answers still wanted, answers there are, and why in words."""
    have = label["n_answers"] if label else 0
    priority = max(0, wanted - have) / wanted
    why = [f"{have} of {wanted} answers"]
    if label and label["status"] == "tie":
        priority += 1
        why = ["people disagree"]
    return priority, have, why


def _background(
    class_: str,
    proposal: Row | None,
    label: Row | None,
    counts: Mapping[tuple[str, str], int],
    settings: Settings,
) -> Row:
    """Columns of the question after the background."""
    priority, have, why = _waiting(label, settings.answers)
    shown = proposal if proposal and not proposal["abstained"] else None
    if proposal is None:
        priority += 1
        why.append("no proposal")
    elif shown is None:
        priority += 1
        why.append("the proposal abstained")
    else:
        priority += 1 - shown["margin"]
        if shown["margin"] < 0.5 and not settings.blind:
            why.append(f"{shown['background']} or {shown['second']}")
    if proposal:
        there = counts.get((class_, proposal["background"]), 0)
        short = max(0, settings.min_photos - there)
        priority += short / settings.min_photos
        if short and not settings.blind:
            why.append(
                f"{class_} has {there} of {settings.min_photos} photos on "
                f"{proposal['background']}"
            )
    visible = None if settings.blind else shown
    return {
        "question": "background",
        "priority": priority,
        "why": "; ".join(why),
        "proposal": visible["background"] if visible else None,
        "probability": visible["probability"] if visible else None,
        "answers": have,
    }


def _criterion(
    criterion: str, score: float, label: Row | None, settings: Settings
) -> Row:
    """Columns of the question after a criterion."""
    priority, have, why = _waiting(label, settings.answers)
    return {
        "question": criterion,
        "priority": priority + score,
        "why": "; ".join([f"{_WORDS[criterion]} ({score:.2f})", *why]),
        "proposal": None,
        "probability": None,
        "answers": have,
    }
