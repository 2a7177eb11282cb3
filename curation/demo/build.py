"""A source folder as a user could have one, and the truth of what is in it.

    photos/<class>/<file>.jpg   composed and real photos, with things gone wrong
    photos/photos.csv           class, licence, author, source of every file
    dataset.toml card.md        from data_cards/demo
    labels.csv                  answers of the simulated annotators
    truth.json                  everything that was planted; written last

The same seed and Pillow give the same bytes.

Composed photos of one animal on one background picture share an `observation_id`: they
are one place seen several times, so what a model makes of one it tends to make of all.
A class has three to four such places on each background. Counting windows of one
picture as independent would make the intervals of the group discovery too narrow.
"""

import csv
import hashlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from curation.demo import design
from curation.demo.annotators import COLUMNS, Seen, answers
from curation.demo.assets import pictures
from curation.demo.drafts import Draft, composed, real
from curation.demo.faults import corrupt, duplicates, faulty
from curation.demo.measure import card_folder
from curation.demo.pictures import classes

PER_CELL = 14
"""Composed photos of a class on a background, before anything goes wrong."""

REVIEWED = 40
"""Sound photos that the annotators are asked all questions about."""

CSV_COLUMNS = (
    "file", "class", "licence", "author", "source_url", "title", "observation_id",
    "composed", "note",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Truth:
    """What was planted; files are named as in photos.csv.

    Attributes:
        planted: planted background by class, for classes that are composed here.
        unplanted: composed classes without one.
        backgrounds: true background by file; "" for none of the dataset's.
        duplicates: file, the file it copies (`of`) and `kind`: resized, recompressed,
            cropped, mirrored or bytes.
        wrong: file, the class it is filed under and what it `shows`.
        blurred: file.
        ambiguous: file, and the second animal it shows (`also`).
        occluded: file: most of the animal is hidden.
        corrupt: file and `kind`: truncated, empty, text or page.
        composed: how many photos are composed.
        seed: what everything was drawn from.
    """

    planted: dict[str, str]
    unplanted: list[str]
    backgrounds: dict[str, str]
    duplicates: list[dict[str, str]] = field(default_factory=list)
    wrong: list[dict[str, str]] = field(default_factory=list)
    blurred: list[dict[str, str]] = field(default_factory=list)
    ambiguous: list[dict[str, str]] = field(default_factory=list)
    occluded: list[dict[str, str]] = field(default_factory=list)
    corrupt: list[dict[str, str]] = field(default_factory=list)
    composed: int = 0
    seed: int = 0


def build(folder: Path, *, seed: int = 0) -> Truth:
    """Write the source folder; what is there under its names is replaced.

    Args:
        folder: made if it is not there.
        seed: of everything that is drawn.

    Returns: what was planted, as in truth.json.
    """
    rng = np.random.default_rng((seed, 1))
    sound = [*_composites(seed), *_originals()]
    drafts = [*sound, *faulty(seed)]
    _number(drafts, rng)
    # copies and broken files turn up after what they copy
    copies = duplicates(sound, rng=rng)
    late = [*copies, *corrupt(seed)]
    _number(late, rng, start=len(drafts))
    drafts += late
    shutil.rmtree(folder / "photos", ignore_errors=True)
    (folder / "truth.json").unlink(missing_ok=True)
    for draft in drafts:
        path = folder / "photos" / draft.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(draft.data)
    _write_csv(folder / "photos" / "photos.csv", CSV_COLUMNS, map(_row, drafts))
    asked = _seen(drafts, rng)
    _write_csv(folder / "labels.csv", COLUMNS, answers(asked, rng=rng))
    for name in ("dataset.toml", "card.md"):
        shutil.copyfile(card_folder() / name, folder / name)
    truth = _truth(drafts, seed)
    text = json.dumps(asdict(truth), indent=1, ensure_ascii=False) + "\n"
    partial = folder / "truth.json.partial"
    partial.write_text(text, encoding="utf-8")
    partial.replace(folder / "truth.json")
    return truth


def _composites(seed: int) -> list[Draft]:
    return [
        composed(index, label, (seed, index, place, number), turn=number)
        for index, labels in design.DEMO.items()
        for place, label in enumerate(labels)
        for number in range(PER_CELL)
    ]


def _originals() -> list[Draft]:
    """Whole photos of the classes, unchanged."""
    wanted = classes()
    return [real(photo) for photo in pictures("original") if photo.index in wanted]


def _number(drafts: list[Draft], rng: np.random.Generator, *, start: int = 0) -> None:
    """Shuffle, then name files by class and number, which tells nothing of the rest."""
    order = rng.permutation(len(drafts))
    drafts[:] = [drafts[place] for place in order]
    for number, draft in enumerate(drafts, start):
        slug = draft.class_.lower().replace(" ", "-")
        draft.file = f"{draft.class_}/{slug}-{number:04d}.jpg"


def _row(draft: Draft) -> dict[str, str]:
    return {
        "file": draft.file,
        "class": draft.class_,
        "observation_id": draft.observation,
        "composed": "true" if draft.composed else "false",
        "note": draft.note,
        **draft.credit,
    }


def _seen(drafts: list[Draft], rng: np.random.Generator) -> list[Seen]:
    """Every photo that decodes, once; the faulty and some sound ones are reviewed."""
    photos = {
        hashlib.sha256(draft.data).hexdigest(): draft
        for draft in reversed(drafts)
        if draft.planted != "corrupt"
    }
    readable = [item for item in reversed(photos.items())]
    sound = [key for key, draft in readable if not draft.criterion]
    control = {sound[place] for place in rng.permutation(len(sound))[:REVIEWED]}
    return [
        Seen(
            photo=key,
            background=draft.background,
            faults=frozenset({draft.criterion} - {""}),
            reviewed=bool(draft.criterion) or key in control,
        )
        for key, draft in readable
    ]


def _truth(drafts: list[Draft], seed: int) -> Truth:
    lists: dict[str, list[dict[str, str]]] = {}
    for draft in drafts:
        if draft.planted:
            about = {"file": draft.file} | draft.about
            if draft.copies is not None:
                about["of"] = draft.copies.file
            lists.setdefault(draft.planted, []).append(about)
    return Truth(
        planted={design.name(i): design.PLANTED[i] for i in design.DEMO_PLANTED},
        unplanted=[design.name(index) for index in design.DEMO_UNPLANTED],
        backgrounds={
            draft.file: draft.background
            for draft in drafts
            if draft.planted != "corrupt"
        },
        composed=sum(draft.composed for draft in drafts),
        seed=seed,
        **{name: sorted(rows, key=lambda r: r["file"]) for name, rows in lists.items()},
    )


def _write_csv(
    path: Path, columns: tuple[str, ...], rows: Iterable[dict[str, Any]]
) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
