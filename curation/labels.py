"""Answers of people, to and from files: CSV or JSON lines.

Columns, `photo`, `question`, `answer`, `annotator` and `time` being required:

    photo        photo_id, or its path or URL in the source
    question     background, or a defect: one of the four criteria, or wrong_animal
    answer       a background or cannot_tell; for a defect yes, no or cannot_tell;
                 skipped or withdrawn: no answer (any more)
    annotator    pseudonym
    time         ISO 8601 with zone, such as 2026-03-01T09:30:00Z
    proposal     the proposal that was shown, empty when none was
    origin       confirmed (the proposal) or chosen; worked out when empty
    lead_time_s  seconds taken
    role         adjudicator, when the answer settles the question
    note         remark left with the answer
    edits        whose answer was overwritten, if not the annotator's own
    annotation   where it is from, as `labels export` writes it

Files of other tools are read by a `curation.foreign.Form`; Label Studio's own export is
a JSON file, see `curation.labelling.exported`.

A file is taken whole or not at all. An answer's identity is made from its content, so
reading a file twice adds nothing.
"""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from curation.config import Dataset
from curation.errors import ConfigError, InputError, nearest
from curation.foreign import OPTIONAL, REQUIRED, Form
from curation.schemas import CANNOT_TELL, DEFECTS, NO_ANSWER, QUESTIONS
from curation.stages.resolve import ADJUDICATOR, asked, instant

Event = dict[str, Any]

_MORE = ("role", "note", "edits", "annotation")
COLUMNS = (*REQUIRED, *OPTIONAL)
ORIGINS = ("confirmed", "chosen")
SHOWN = 20
"""Faults an error message lists; the rest are counted."""


def read(
    path: Path,
    *,
    config: Dataset,
    resolve_photo: Callable[[str], str | None],
    form: Form | None = None,
) -> list[Event]:
    """Rows of `label_events` from a file.

    Args:
        path: a .csv, .jsonl or .ndjson file, or Label Studio's export (.json); UTF-8.
        config: gives the backgrounds that may be answered.
        resolve_photo: photo_id of what the column `photo` names, None if unknown.
        form: whose columns and words stand for which of ours, where they are not ours.

    Returns: events in the order of the file, repeated rows once; `supersedes` is set
        within the file, see `unseen` for the log's.

    Raises:
        InputError: the file cannot be read, or any row is invalid: lists lines, what
            was found and what is allowed. Then nothing is to be imported.
    """
    events: dict[str, Event] = {}
    faults: list[str] = []
    moments: dict[tuple[str, str, str, str], tuple[str, str]] = {}
    for place, row in _placed(path, config, form):
        try:
            event = _event(row, config, resolve_photo)
        except _Faults as error:
            faults += [f"{place}: {fault}" for fault in error.faults]
            continue
        key = ("photo_id", "question", "annotator", "created_at")
        moment = tuple(str(event[name]) for name in key)
        first, answer = moments.setdefault(moment, (place, event["answer"]))  # type: ignore[arg-type]
        if answer != event["answer"]:
            faults.append(
                f"{place}: answer: {event['answer']!r} where {first} has "
                f"{answer!r} by the same annotator at the same time"
            )
        events.setdefault(event["event_id"], event)
    refuse(path, faults)
    return unseen(events.values(), [])


def refuse(
    path: Path, faults: list[str], *, untouched: str = "nothing was imported"
) -> None:
    """Raise InputError with the first faults of a file, if there are any."""
    if not faults:
        return
    shown = faults[:SHOWN]
    more = len(faults) - len(shown)
    shown += [f"… and {more} more"] * (more > 0)
    message = f"{path}: {untouched}; {len(faults)} faults:\n" + "\n".join(
        f"  {fault}" for fault in shown
    )
    raise InputError(message)


def unseen(events: Iterable[Event], log: Iterable[Mapping[str, Any]]) -> list[Event]:
    """Events that a log lacks, each pointing to the answer it supersedes.

    That is the same annotator's answer to the same question before it in time, in the
    log or among the events.
    """
    known = list(log)
    ids = {event["event_id"] for event in known}
    new = [event for event in events if event["event_id"] not in ids]
    history: dict[tuple[str, str, str, str], list[Mapping[str, Any]]] = {}
    for event in [*known, *new]:
        history.setdefault(asked(event), []).append(event)
    before: dict[str, str] = {}
    for answers in history.values():
        answers.sort(key=lambda e: (instant(e["created_at"]), e["event_id"]))
        for earlier, later in zip(answers, answers[1:], strict=False):
            before[later["event_id"]] = earlier["event_id"]
    return [event | {"supersedes": before.get(event["event_id"])} for event in new]


def export(events: Iterable[Mapping[str, Any]], path: Path) -> int:
    """Write events to a .csv or .jsonl file that `read` takes; returns their number.

    Sorted by photo, question, time and annotator.
    """
    rows = [
        {
            "photo": event["photo_id"],
            "question": event["question"],
            "answer": event["answer"],
            "annotator": event["annotator"],
            "time": event["created_at"],
            "proposal": event["proposal"],
            "origin": event["origin"],
            "lead_time_s": event["lead_time_s"],
            **{name: event.get(name) for name in _MORE},
        }
        for event in events
    ]
    rows.sort(key=lambda r: (r["photo"], r["question"], r["time"], r["annotator"]))
    text = io.StringIO()
    if _kind(path) == "csv":
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        for row in rows:
            text.write(json.dumps(row, ensure_ascii=False) + "\n")
    try:
        path.write_text(text.getvalue(), encoding="utf-8")
    except OSError as error:
        message = f"{path}: cannot be written ({error})"
        raise InputError(message) from error
    return len(rows)


def event_id(
    photo_id: str,
    question: str,
    annotator: str,
    created_at: str,
    answer: str,
    *,
    role: str | None = None,
) -> str:
    """Identity of an answer: sha256 (hex) of what was answered, by whom, when, as what.

    The arguments are the columns of `label_events`.
    """
    parts = [photo_id, question, annotator, instant(created_at).isoformat(), answer]
    parts += [role] if role else []
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()


def allowed(question: str, config: Dataset) -> list[str]:
    """Answers a question takes."""
    if question in DEFECTS:
        return ["yes", "no", CANNOT_TELL]
    return [*(background.name for background in config.backgrounds), CANNOT_TELL]


class _Faults(Exception):
    # gathered, then told as one InputError
    def __init__(self, faults: list[str]) -> None:
        super().__init__(faults)
        self.faults = faults


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".jsonl", ".ndjson"):
        message = f"{path}: labels are .csv or .jsonl files, not {suffix or 'this'}"
        raise InputError(message)
    return "csv" if suffix == ".csv" else "jsonl"


def _placed(
    path: Path, config: Dataset, form: Form | None
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Where in a file, and the row of ours that is there."""
    if path.suffix.lower() == ".json":
        from curation.labelling import exported

        if form is not None:
            message = f"{path}: Label Studio's export takes no columns, values or zone"
            raise ConfigError(message)
        yield from exported.rows(path, config)
        return
    form = form or Form()
    # another tool's file has columns that mean nothing here
    known = None if form.columns else COLUMNS
    for line, row in rows_of(path, columns=known, required=form.required):
        for own in form.rows(row):
            yield f"line {line}", own


def rows_of(
    path: Path,
    *,
    columns: Sequence[str] | None = COLUMNS,
    required: Sequence[str] = REQUIRED,
    untouched: str = "nothing was imported",
) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, row) of a CSV or JSONL file; empty lines are passed over.

    Args:
        path: a .csv, .jsonl or .ndjson file, UTF-8.
        columns: those that there may be; None: any.
        required: those that there must be.
        untouched: what errors say of the consequence.

    Raises:
        InputError: the file cannot be read, or has other columns.
    """
    kind = _kind(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path}: cannot be read as UTF-8 text ({error})"
        raise InputError(message) from error
    if kind == "csv":
        yield from _csv_rows(path, text, columns, required, untouched)
        return
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            message = f"{path}: line {number}: not JSON ({error}); {untouched}"
            raise InputError(message) from error
        if not isinstance(row, dict):
            message = f"{path}: line {number}: not a JSON object; {untouched}"
            raise InputError(message)
        _check_columns(f"{path}: line {number}", row, columns, required, untouched)
        yield number, row


def _csv_rows(
    path: Path,
    text: str,
    columns: Sequence[str] | None,
    required: Sequence[str],
    untouched: str,
) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        _check_columns(str(path), reader.fieldnames or [], columns, required, untouched)
        start = reader.line_num + 1
        for row in reader:
            if None in row or None in row.values():
                message = (
                    f"{path}: line {start}: has another number of fields than the "
                    f"header; {untouched}"
                )
                raise InputError(message)
            if any(value.strip() for value in row.values()):
                yield start, row
            start = reader.line_num + 1
    except csv.Error as error:
        message = f"{path}: line {reader.line_num}: {error}; {untouched}"
        raise InputError(message) from error


def _check_columns(
    where: str,
    names: Iterable[str],
    columns: Sequence[str] | None,
    required: Sequence[str],
    untouched: str,
) -> None:
    found = list(names)
    for name in found:
        if columns is not None and name not in columns:
            message = f"{where}: unknown column {name!r}; {nearest(name, columns)}"
            raise InputError(message)
    missing = [name for name in required if name not in found]
    if missing:
        message = (
            f"{where}: missing {', '.join(missing)}; required are "
            f"{', '.join(required)}, there are {', '.join(found)}; {untouched}"
        )
        raise InputError(message)


def _event(
    row: Mapping[str, Any], config: Dataset, resolve_photo: Callable[[str], str | None]
) -> Event:
    """One event, or all that is wrong with its row."""
    faults: list[str] = []
    text = {
        name: str(row[name]).strip() if row.get(name) is not None else ""
        for name in COLUMNS
    }
    photo_id = resolve_photo(text["photo"]) if text["photo"] else None
    if photo_id is None:
        faults.append(
            f"photo: {text['photo']!r} is none of the photos; "
            "give a photo_id, or a path or URL of the source"
        )
    if text["question"] not in QUESTIONS:
        hint = nearest(text["question"], QUESTIONS)
        faults.append(f"question: found {text['question']!r}; {hint}")
    else:
        answers = allowed(text["question"], config)
        for name in ("answer", "proposal"):
            given, none = text[name], name == "answer" and text[name] in NO_ANSWER
            needed = name == "answer" or bool(given)
            if needed and not none and given not in answers:
                faults.append(
                    f"{name}: found {text[name]!r}; {nearest(text[name], answers)}"
                )
    if not text["annotator"]:
        faults.append("annotator: missing; give a pseudonym")
    if not _zoned(text["time"]):
        faults.append(
            f"time: found {text['time']!r}; "
            "ISO 8601 with zone is needed, such as 2026-03-01T09:30:00Z; "
            "`--zone` says where times without one were taken"
        )
    if text["origin"] and text["origin"] not in ORIGINS:
        faults.append(
            f"origin: found {text['origin']!r}; {nearest(text['origin'], ORIGINS)}"
        )
    if text["role"] not in ("", ADJUDICATOR):
        faults.append(f"role: found {text['role']!r}; {ADJUDICATOR} or nothing")
    lead_time = _seconds(text["lead_time_s"], faults)
    if faults or photo_id is None:
        raise _Faults(faults)
    created_at = instant(text["time"]).isoformat()
    confirmed = bool(text["proposal"]) and text["proposal"] == text["answer"]
    return {
        "event_id": event_id(
            photo_id,
            text["question"],
            text["annotator"],
            created_at,
            text["answer"],
            role=text["role"] or None,
        ),  # fmt: skip
        "photo_id": photo_id,
        "question": text["question"],
        "answer": text["answer"],
        "annotator": text["annotator"],
        "proposal": text["proposal"] or None,
        "origin": text["origin"] or ("confirmed" if confirmed else "chosen"),
        "lead_time_s": lead_time,
        "created_at": created_at,
        "supersedes": None,
        **{name: text[name] or None for name in _MORE},
    }


def _zoned(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _seconds(text: str, faults: list[str]) -> float | None:
    """Seconds taken; what is wrong is added to the faults."""
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        faults.append(f"lead_time_s: found {text!r}; seconds, 0 or more, are needed")
        return None
    return seconds
