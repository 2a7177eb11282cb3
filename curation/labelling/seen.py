"""What a pull sees against what was seen before: the rows that `annotations` lacks."""

import json
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from curation.config import Dataset
from curation.labelling import reading
from curation.labelling.answers import DELETED, PRESENT, TASK_DELETED, updated
from curation.labelling.interface import KEY
from curation.labelling.people import Pseudonyms
from curation.shelf import Shelf

Row = dict[str, Any]
Task = tuple[str, int]
"""Campaign and number of a task."""

_PHOTO = b'"photo_id": "'

NO_ANNOTATION = 0
"""Annotation of a row that says of a task without any that it was deleted."""


@dataclass(slots=True)
class Seen:
    """The log `annotations`, and what stands at its end.

    Attributes:
        rows: every row, oldest first; new ones are added by `take`.
        last: latest row of each annotation, by campaign and number.
        tasks: numbers of the annotations that were ever seen in each task.
        gone: tasks that were deleted on the server.
    """

    rows: list[Row]
    last: dict[tuple[str, int], Row] = field(default_factory=dict)
    tasks: dict[Task, set[int]] = field(default_factory=dict)
    gone: set[Task] = field(default_factory=set)

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "Seen":
        """What a log tells."""
        seen = cls([])
        seen.take(rows)
        return seen

    def take(self, rows: Iterable[Row]) -> None:
        """Add rows that are in the log now."""
        for row in rows:
            task = row["campaign"], row["task"]
            numbers = self.tasks.setdefault(task, set())
            if row["annotation"] != NO_ANNOTATION:
                numbers.add(row["annotation"])
                self.last[row["campaign"], row["annotation"]] = row
            if row["state"] == TASK_DELETED:
                self.gone.add(task)
            else:
                self.gone.discard(task)
            self.rows.append(row)

    def pulls(self, campaign: str) -> int:
        """Highest number of a pull, finished or not."""
        return max(
            (r["pull"] for r in self.rows if r["campaign"] == campaign), default=0
        )

    def here(self, campaign: str) -> set[int]:
        """Tasks of a campaign that were seen and not deleted."""
        return {
            task
            for of, task in self.tasks
            if of == campaign and (of, task) not in self.gone
        }

    def standing(self, task: Task) -> list[Row]:
        """Latest rows of a task's annotations that are on the server."""
        numbers = sorted(self.tasks.get(task, ()))
        rows = [self.last[task[0], number] for number in numbers]
        return [r for r in rows if r["state"] == PRESENT and r["task"] == task[1]]

    def photoless(self, campaign: str) -> list[int]:
        """Tasks with annotations whose photo was not known."""
        return sorted(
            {
                row["task"]
                for (of, _), row in self.last.items()
                if of == campaign and row["state"] == PRESENT and not row["photo_id"]
            }
        )

    def closed(self, tasks: set[Task]) -> list[Row]:
        """Rows of tasks, of their photos, and of the tasks those were ever in."""
        photos: set[str] = set()
        tasks = set(tasks)
        while True:
            size = len(tasks), len(photos)
            found = []
            for row in self.rows:
                task, photo = (row["campaign"], row["task"]), row["photo_id"]
                if task in tasks or photo in photos:
                    found.append(row)
                    tasks.add(task)
                    if photo:
                        photos.add(photo)
            if size == (len(tasks), len(photos)):
                return found


@dataclass(slots=True)
class Look:
    """One pull's look at one campaign.

    Attributes:
        seen: what was seen before.
        campaign: the campaign.
        pull: number of this pull.
        at: when it began.
        names: pseudonyms.
        config: gives the backgrounds that may be answered.
        knows: whether a photo_id is one of the work folder's.
    """

    seen: Seen
    campaign: str
    pull: int
    at: str
    names: Pseudonyms
    config: Dataset
    knows: Callable[[str], bool]

    def changes(self, task: Mapping[str, Any]) -> list[Row]:
        """Rows for what changed in a task: the whole set of its annotations counts.

        Those that are there come first, in the order of their changes.
        """
        photo_id, fault = self._photo(task)
        there = sorted(
            (_plain(annotation) for annotation in task["annotations"]),
            key=lambda raw: (updated(raw), raw["id"]),
        )
        rows = []
        for raw in there:
            row = self._row(task["id"], raw["id"], PRESENT) | {
                "photo_id": photo_id,
                "annotator": self._maker(raw),
                "editor": self._editor(raw),
                "fault": fault or reading.read(raw, self.config).fault or None,
                "raw": json.dumps(raw, sort_keys=True, ensure_ascii=False),
            }
            if self._new(row):
                rows.append(row)
        numbers = {raw["id"] for raw in there}
        for row in self.seen.standing((self.campaign, task["id"])):
            if row["annotation"] not in numbers:
                rows.append(self._again(row, DELETED))
        return rows

    def deleted(self, task: int) -> list[Row]:
        """Rows for a task that the server has no more."""
        rows = [
            self._again(row, TASK_DELETED)
            for row in self.seen.standing((self.campaign, task))
        ]
        return rows or [
            self._row(task, NO_ANNOTATION, TASK_DELETED)
            | {"photo_id": None, "annotator": "", "editor": None}
            | {"fault": None, "raw": "{}"}
        ]

    def _photo(self, task: Mapping[str, Any]) -> tuple[str | None, str]:
        """The photo of a task, or why there is none."""
        data = task.get("data")
        key = data.get(KEY) if isinstance(data, Mapping) else None
        if isinstance(key, str) and self.knows(key):
            return key, ""
        shown = f"{key!r:.80}" if key else "missing"
        return None, f"unknown photo: data.{KEY} of its task is {shown}"

    def _row(self, task: int, annotation: int, state: str) -> Row:
        return {
            "campaign": self.campaign, "pull": self.pull, "task": task,
            "annotation": annotation, "state": state, "at": self.at,
        }  # fmt: skip

    def _again(self, row: Row, state: str) -> Row:
        return row | {"pull": self.pull, "state": state, "at": self.at}

    def _new(self, row: Row) -> bool:
        last = self.seen.last.get((self.campaign, row["annotation"]))
        alike = ("state", "task", "photo_id", "editor", "raw")
        return last is None or any(row[name] != last[name] for name in alike)

    def _maker(self, raw: Mapping[str, Any]) -> str:
        if raw.get("completed_by") is None:
            last = self.seen.last.get((self.campaign, raw["id"]))
            return last["annotator"] if last else self.names.name(0, self.campaign)
        return self.names.name(raw["completed_by"], self.campaign)

    def _editor(self, raw: Mapping[str, Any]) -> str | None:
        changed = raw.get("updated_by")
        if changed is None or changed == raw.get("completed_by"):
            return None
        name = self.names.name(changed, self.campaign)
        return None if name == self._maker(raw) else name


def _plain(annotation: Mapping[str, Any]) -> dict[str, Any]:
    """An annotation without addresses: some servers put whole accounts into it."""
    raw = {k: v for k, v in annotation.items() if k != "created_username"}
    for name in ("completed_by", "updated_by"):
        if isinstance(raw.get(name), Mapping):
            raw[name] = raw[name].get("id")
    return raw


def answered(shelf: Shelf, photos: Set[str]) -> list[Row]:
    """Rows of `label_events` of some photos, without reading the others as JSON."""
    found = []
    for piece in shelf.log_pieces("label_events"):
        for line in piece.splitlines():
            _, marker, rest = line.partition(_PHOTO)
            # within a text the marker's quotes are escaped
            if not marker or rest[: rest.find(b'"')].decode() in photos:
                found.append(json.loads(line))
    return [row for row in found if row["photo_id"] in photos]
