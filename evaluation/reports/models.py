"""Who is who on the page: every model's number, kind and marks, in every figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from evaluation.results import Result, Results

Kind = Literal["text", "classifier", "answering", "baseline"]

KINDS: Mapping[Kind, str] = {
    "text": "image-text model",
    "classifier": "ImageNet classifier",
    "answering": "vision-language model",
    "baseline": "baseline model",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """A model on the page.

    Attributes:
        name: full name.
        number: what it goes by in figures; None where it has no row of its own, as a
            published baseline.
        kind: key of `KINDS`.
        demonstration: it says of itself that it only demonstrates.
        selected: it helped to choose the groups of a dataset.
    """

    name: str
    number: int | None = None
    kind: Kind = "baseline"
    demonstration: bool = False
    selected: bool = False


def kind(row: Result) -> Kind:
    """What sort of model a result is of."""
    if row.provenance.get("kind") == "lvlm":
        return "answering"
    return "classifier" if row.prompts is None else "text"


def demonstration(row: Result) -> bool:
    """Whether the model says of itself that it only demonstrates."""
    return "demonstration" in row.note.lower()


def ranked(rows: Sequence[Result]) -> list[Result]:
    """Best first: on the counter group, where there is one, then on all photos."""
    return sorted(
        rows,
        key=lambda row: (
            -(row.counter or 0),
            -row.accuracy,
            row.model,
            row.prompts or "",
        ),
    )


def called(row: Result, rows: Sequence[Result]) -> str:
    """A row's model; with prompts and label space where it has several rows."""
    if sum(one.model == row.model for one in rows) < 2:
        return row.model
    return ", ".join(filter(None, (row.model, row.prompts, row.label_space)))


def register(results: Results) -> dict[str, Who]:
    """Every model with a row: numbered by rank on the first dataset that it is in."""
    found: dict[str, Who] = {}
    selected = {row.model for row in results.rows if row.selected_on}
    for name in datasets(results.rows):
        for row in ranked([one for one in results.rows if one.dataset == name]):
            found.setdefault(
                row.model,
                Who(
                    name=row.model,
                    number=len(found) + 1,
                    kind=kind(row),
                    demonstration=demonstration(row),
                    selected=row.model in selected,
                ),
            )
    return found


def datasets(rows: Sequence[Result]) -> list[str]:
    """Names of datasets, those with groups first, else in the order of the rows."""
    names = list(dict.fromkeys(row.dataset for row in rows))
    grouped = {row.dataset for row in rows if row.drop is not None}
    return sorted(names, key=lambda name: name not in grouped)


def shown(rows: Sequence[Result], most: int = 3) -> list[Result]:
    """The few models that stand for all: selected ones, then the best of each kind."""
    best = ranked(rows)
    first = [row for row in best if row.selected_on][:1]
    for one in ("text", "classifier", "answering"):
        first += [row for row in best if kind(row) == one and row not in first][:1]
    first += [row for row in best if row not in first]
    return first[:most]
