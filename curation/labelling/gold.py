"""Gold questions: photos whose answers are known, to see how well annotators do.

A CSV or JSONL file with the columns photo, question and answer, as `labels import`
takes them; a photo is named by its photo_id, or by its path or URL in the source.
Nothing in a task says that it is gold.
"""

from pathlib import Path

from curation.config import Dataset
from curation.errors import nearest
from curation.labels import allowed, refuse, rows_of
from curation.photo import named
from curation.pipeline import Route
from curation.schemas import QUESTIONS

COLUMNS = ("photo", "question", "answer")

_UNUSED = "no gold question is used"

Known = dict[tuple[str, str], str]


def read(route: Route) -> Known:
    """Known answers by photo_id and question; empty when there is no gold file.

    Photos may since have been merged or taken down: `push` asks for kept ones only.

    Raises:
        InputError: the file cannot be read, or any row is invalid: lists lines, what
            was found and what is allowed.
    """
    path = route.config.labels.gold
    return _read(path, route.config, named(route)) if path else {}


def _read(path: Path, config: Dataset, names: dict[str, str]) -> Known:
    known: Known = {}
    lines: dict[tuple[str, str], int] = {}
    faults: list[str] = []
    for line, row in rows_of(
        path, columns=COLUMNS, required=COLUMNS, untouched=_UNUSED
    ):
        photo, question, answer = (str(row[name] or "").strip() for name in COLUMNS)
        found = _faults(photo, question, answer, config, names)
        if found:
            faults += [f"line {line}: {fault}" for fault in found]
            continue
        asked = (names[photo], question)
        if known.setdefault(asked, answer) != answer:
            faults.append(
                f"line {line}: answer: {answer!r} where line {lines[asked]} has "
                f"{known[asked]!r} for the same photo and question"
            )
        lines.setdefault(asked, line)
    refuse(path, faults, untouched=_UNUSED)
    return known


def _faults(
    photo: str, question: str, answer: str, config: Dataset, names: dict[str, str]
) -> list[str]:
    """What is wrong with a row."""
    faults = []
    if photo not in names:
        faults.append(
            f"photo: {photo!r} is none of the photos; "
            "give a photo_id, or a path or URL of the source"
        )
    if question not in QUESTIONS:
        faults.append(f"question: found {question!r}; {nearest(question, QUESTIONS)}")
    elif answer not in (answers := allowed(question, config)):
        faults.append(f"answer: found {answer!r}; {nearest(answer, answers)}")
    return faults
