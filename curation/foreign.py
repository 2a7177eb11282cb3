"""Answers in the files of other tools: whose columns and words stand for which of ours.

    photo=filename,answer=bg,annotator=who,time=when      columns
    Snow=snow,Grass field=grass,clarity:1=yes             values
    question=background,annotator=anna                    constants

Parts with a comma in them are put in double quotes. A *wide* file has one row per photo
and one column per question: its questions are mapped (`background=bg,clarity=blurry`),
and an empty cell is no answer.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from curation.errors import ConfigError, nearest
from curation.schemas import QUESTIONS

REQUIRED = ("photo", "question", "answer", "annotator", "time")
OPTIONAL = (
    "proposal", "origin", "lead_time_s", "role", "note", "edits", "annotation",
)  # fmt: skip

Row = dict[str, object]


@dataclass(frozen=True, slots=True)
class Form:
    """How to read a file that was not made for us.

    Attributes:
        columns: their column by ours, or by a question.
        values: our answer by question (empty: any) and theirs.
        constants: what every row has in a column of ours.
        zone: where times without a zone were taken.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[tuple[str, str], str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    zone: ZoneInfo | None = None

    @property
    def questions(self) -> list[str]:
        """Questions that have a column of their own; none unless the file is wide."""
        return [name for name in self.columns if name in QUESTIONS]

    def source(self, name: str) -> str:
        """Their column for one of ours; empty when they have none."""
        if name in self.columns:
            return self.columns[name]
        if name in self.constants:
            return ""
        # with a mapping, an optional column of another tool may mean anything
        return "" if self.columns and name not in REQUIRED else name

    @property
    def required(self) -> list[str]:
        """Their columns that must be in a file."""
        wide = ("question", "answer") if self.questions else ()
        wanted = [self.source(name) for name in REQUIRED if name not in wide]
        return [
            name for name in dict.fromkeys([*wanted, *self.columns.values()]) if name
        ]

    def rows(self, row: Mapping[str, object]) -> Iterator[Row]:
        """A row of theirs as rows of ours: one, or in a wide file one per answer."""
        ours = {
            name: self.constants.get(name, row.get(self.source(name)))
            for name in (*REQUIRED, *OPTIONAL)
        }
        ours["time"] = self._time(_text(ours["time"]))
        if not self.questions:
            yield self._said(ours, _text(ours["question"]))
            return
        for question in self.questions:
            given = row.get(self.columns[question])
            if _text(given):
                yield self._said(ours | {"answer": given}, question)

    def _said(self, ours: Row, question: str) -> Row:
        said = {
            name: self._value(question, ours[name]) for name in ("answer", "proposal")
        }
        return ours | {"question": question} | said

    def _value(self, question: str, given: object) -> object:
        text = _text(given)
        return self.values.get((question, text), self.values.get(("", text), given))

    def _time(self, text: str) -> str:
        if self.zone is None:
            return text
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return text
        return moment.replace(tzinfo=moment.tzinfo or self.zone).isoformat()


def form(
    *,
    columns: Iterable[str] = (),
    values: Iterable[str] = (),
    constants: Iterable[str] = (),
    zone: str = "",
) -> Form | None:
    """A form from what was typed; None when nothing was.

    Raises:
        ConfigError: a part is no NAME=OTHER, names no column of ours, or is given
            twice; or the time zone is not known.

    Example:
        >>> made = form(columns=["photo=file,background=bg"], values=["Snow=snow"])
        >>> made.questions, made.values
        (['background'], {('', 'Snow'): 'snow'})
    """
    known = (*REQUIRED, *OPTIONAL)
    named = _pairs("--columns", columns, known=(*known, *QUESTIONS))
    fixed = _pairs("--set", constants, known=known)
    said = _pairs("--values", values)
    wide = any(name in QUESTIONS for name in named)
    for name in [*named, *fixed]:
        if (name in named and name in fixed) or (
            wide and name in ("question", "answer")
        ):
            other = "the questions' own columns" if wide else "--set"
            message = f"{name!r} is given by --columns and by {other}: one is enough"
            raise ConfigError(message)
    if not (named or fixed or said or zone):
        return None
    return Form(named, {_answer(k): v for k, v in said.items()}, fixed, _zone(zone))


def _answer(text: str) -> tuple[str, str]:
    """Question and answer of theirs: `clarity:1`, or `Snow` for any question."""
    question, colon, rest = text.partition(":")
    return (question, rest) if colon and question in QUESTIONS else ("", text)


def _pairs(
    option: str, given: Iterable[str], known: Iterable[str] = ()
) -> dict[str, str]:
    """Parts of an option as a dictionary, checked."""
    allowed, found = list(known), dict[str, str]()
    for part in (part for text in given for part in next(csv.reader([text]), [])):
        # in values ours comes last, and theirs may hold an equals sign
        left, equals, right = part.partition("=") if allowed else part.rpartition("=")
        left, right = left.strip(), right.strip()
        if not equals or not right:
            message = f"{option}: found {part!r}; NAME=OTHER is needed"
            raise ConfigError(message)
        if allowed and left not in allowed:
            message = f"{option}: {left!r} is no column; {nearest(left, allowed)}"
            raise ConfigError(message)
        if found.setdefault(left, right) != right:
            message = f"{option}: {left!r} is given twice"
            raise ConfigError(message)
    return found


def _zone(name: str) -> ZoneInfo | None:
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        message = f"--zone: {name!r} is no time zone; one is such as Europe/Berlin"
        raise ConfigError(message) from error


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()
