"""What an annotation says: the server checks nothing of it, so everything is here."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from curation import labels
from curation.config import Dataset
from curation.errors import nearest
from curation.labelling.interface import ANIMAL, BACKGROUND, DEFECTS, IMAGE, NOTE
from curation.schemas import CRITERIA, QUESTIONS, SKIPPED

Origin = Literal["confirmed", "chosen"]

WRONG_ANIMAL = "wrong_animal"
TICKED, NOT_TICKED = "yes", "no"
CONTROLS = {
    BACKGROUND: "choices",
    DEFECTS: "choices",
    ANIMAL: "choices",
    NOTE: "textarea",
}
"""Type of a result by the control it is from."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one annotation says.

    Attributes:
        answers: answer by question: all of them, or `skipped` on background alone, or
            nothing where there is a fault.
        origin: of the background: confirmed (the proposal was left as it was) or
            chosen; None where the annotation does not tell.
        note: remark left with it, if any.
        fault: why nothing could be read; empty when something was.
    """

    answers: Mapping[str, str]
    origin: Origin | None = None
    note: str | None = None
    fault: str = ""


class _Fault(Exception):
    """Nothing can be read, and why."""


@dataclass(slots=True)
class _Found:
    """Results of one annotation, gathered by control."""

    chosen: dict[str, list[str]] = field(default_factory=dict)
    origins: list[str | None] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read(annotation: Mapping[str, Any], config: Dataset) -> Reading:
    """Read an annotation as `export?exportType=JSON` gives it.

    A skip is a skip whatever its result holds: the page leaves the proposal in it. Of a
    submitted one, what is not ticked is a no.

    Args:
        annotation: the server's JSON of it.
        config: gives the backgrounds that may be answered.
    """
    if annotation.get("was_cancelled"):
        return Reading({"background": SKIPPED})
    try:
        found = _gather(annotation.get("result"))
        background = _background(found, config)
        ticked = _ticked(found)
    except _Fault as fault:
        return Reading({}, fault=str(fault))
    answers = {
        question: background
        if question == "background"
        else (TICKED if question in ticked else NOT_TICKED)
        for question in QUESTIONS
    }
    return Reading(answers, _origin(found), "\n".join(found.notes) or None)


def _gather(result: object) -> _Found:
    found = _Found()
    for item in _items(result):
        name = item.get("from_name")
        kind = CONTROLS.get(name) if isinstance(name, str) else None
        if kind is None:
            message = f"unknown control {name!r}; {nearest(str(name), list(CONTROLS))}"
            raise _Fault(message)
        if item.get("to_name") != IMAGE:
            message = f"{name}: belongs to {item.get('to_name')!r}, not to {IMAGE!r}"
            raise _Fault(message)
        values = _texts(item, "text" if name == NOTE else "choices")
        if item.get("type") != kind or values is None:
            message = f"{name}: {kind} expected, found {item.get('type')!r}"
            raise _Fault(message)
        if name == NOTE:
            found.notes += [text.strip() for text in values if text.strip()]
        else:
            found.chosen.setdefault(str(name), []).extend(values)
        if name == BACKGROUND:
            found.origins.append(item.get("origin"))
    return found


def _items(result: object) -> Iterator[Mapping[str, Any]]:
    items = [] if result is None else result
    if not isinstance(items, list) or not all(isinstance(i, Mapping) for i in items):
        message = "its result is no list of objects"
        raise _Fault(message)
    yield from items


def _texts(item: Mapping[str, Any], key: str) -> list[str] | None:
    """Texts of a result's value; None when it has another form."""
    value = item.get("value")
    texts = value.get(key) if isinstance(value, Mapping) else None
    if isinstance(texts, str):
        texts = [texts]
    if isinstance(texts, list) and all(isinstance(text, str) for text in texts):
        return texts
    return None


def _background(found: _Found, config: Dataset) -> str:
    chosen = found.chosen.get(BACKGROUND, [])
    if not chosen:
        message = "no background was chosen"
        raise _Fault(message)
    if len(chosen) > 1:
        message = f"{len(chosen)} backgrounds: {', '.join(chosen)}"
        raise _Fault(message)
    known = labels.allowed("background", config)
    if chosen[0] not in known:
        message = f"{BACKGROUND}: unknown choice {chosen[0]!r}; "
        message += nearest(chosen[0], known)
        raise _Fault(message)
    return chosen[0]


def _ticked(found: _Found) -> set[str]:
    ticked = set()
    for name, known in ((DEFECTS, CRITERIA), (ANIMAL, (WRONG_ANIMAL,))):
        for choice in found.chosen.get(name, []):
            if choice not in known:
                message = f"{name}: unknown choice {choice!r}; {nearest(choice, known)}"
                raise _Fault(message)
            ticked.add(choice)
    return ticked


def _origin(found: _Found) -> Origin | None:
    origin = found.origins[0]
    if origin is None:
        return None
    return "confirmed" if origin == "prediction" else "chosen"
