"""Fetch what annotators did since the last pull, and tell the answers that follow.

What is read goes to the log `annotations` bit by bit. How far a campaign was read is
written last of all, so a pull that is cut off is made good by the next one: it reads
the same tasks again, finds what is in the log already unchanged, and derives the
answers that were not written.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from curation import labels
from curation.errors import InputError
from curation.labelling import answers, interface, reading, whereabouts
from curation.labelling.people import Pseudonyms
from curation.labelling.seen import Look, Row, Seen, Task, answered
from curation.labelling.tasks import NONE
from curation.labelstudio import LabelStudio, Project
from curation.pipeline import Route
from curation.schemas import SKIPPED, WITHDRAWN
from curation.stages.resolve import instant

OVERLAP = timedelta(minutes=1)
"""A change may become visible so long after the moment it bears."""

BATCH = 500
"""Rows that are kept at once."""

SHOWN = 100
"""Faults that are listed; the rest are counted."""


@dataclass(slots=True)
class _Done:
    """What was read of one campaign."""

    campaign: str
    pull: int
    at: str = ""
    tasks: int = 0
    cursor: str = ""
    recent: list[str] = field(default_factory=list)
    appended: int = 0
    deleted: int = 0
    tasks_deleted: int = 0
    new: bool = False


@dataclass(frozen=True, slots=True)
class _Cursor:
    """How far a campaign was read.

    Attributes:
        moment: updated_at of the latest task that was seen.
        recent: tasks that changed in the minute before it or later, and when.
        since: when it was first written down that it was read so far.
        settled: no change up to that moment can become visible any more.
    """

    moment: datetime
    recent: Mapping[int, datetime]
    since: datetime = datetime.min.replace(tzinfo=UTC)
    settled: bool = False

    @classmethod
    def read(cls, rows: Iterable[Row]) -> "dict[str, _Cursor]":
        """The cursor of each campaign, from the log `pulls`."""
        found: dict[str, _Cursor] = {}
        for row in rows:
            before = found.get(row["campaign"])
            moment, at = instant(row["cursor"]), instant(row["at"])
            same = before is not None and before.moment == moment
            since = before.since if before and same else at
            recent = dict(_moment(text) for text in row["recent"])
            found[row["campaign"]] = cls(moment, recent, since, at - since >= OVERLAP)
        return found

    def written(self) -> tuple[str, list[str]]:
        """Columns `cursor` and `recent`."""
        start = self.moment - OVERLAP
        return self.moment.isoformat(), sorted(
            f"{task} {when.isoformat()}"
            for task, when in self.recent.items()
            if when > start
        )


@dataclass
class _Pull:
    route: Route
    studio: LabelStudio
    seen: Seen
    names: Pseudonyms
    at: str
    tasks: dict[Task, Row]
    finished: Mapping[str, int]
    notices: list[str] = field(default_factory=list)

    @cached_property
    def _pushed(self) -> set[str]:
        return {row["photo_id"] for row in self.tasks.values()}

    @cached_property
    def _photos(self) -> set[str]:
        if self.route.fingerprint("photos") is None:
            return set()
        return set(self.route.table("photos").column("photo_id").to_pylist())

    def knows(self, photo_id: str) -> bool:
        """Whether a photo is one of this work folder's."""
        return photo_id in self._pushed or photo_id in self._photos

    def read(self, row: Row, project: Project, last: _Cursor | None) -> _Done:
        """Read what changed in a campaign since the last pull, if there was one."""
        campaign = row["campaign"]
        number = 1 + max(self.seen.pulls(campaign), self.finished.get(campaign, 0))
        done = _Done(campaign, number)
        look = Look(
            self.seen, campaign, number, self.at, self.names, self.route.config,
            self.knows,
        )  # fmt: skip
        asked = self._changed(project, last, done)
        self._keep(self._looked(look, project, row, asked, done), done)
        self._keep(self._lost(look, project, done), done)
        return done

    def _changed(
        self, project: Project, last: _Cursor | None, done: _Done
    ) -> list[int] | None:
        """Tasks to look at, all that have annotations when None."""
        done.at = _now()
        if last is None:
            moments = dict(self.studio.changed_since(project.id, None))
            found = _Cursor(max(moments.values()), moments) if moments else None
        else:
            found = self._since(project, last, done)
        if found:
            done.cursor, done.recent = found.written()
            if last is None or found.moment != last.moment:
                done.at = _now()  # that minute begins after the look
        if last is None or found is None:
            done.new = True
            return None
        settled = not last.settled and found.settled
        done.new = settled or (done.cursor, done.recent) != last.written()
        known = last.recent
        asked = {task for task, when in found.recent.items() if known.get(task) != when}
        return sorted(asked.union(self.seen.photoless(done.campaign)))

    def _since(self, project: Project, last: _Cursor, done: _Done) -> _Cursor:
        """Tasks that changed since shortly before the last cursor, as far as is known.

        What changed in the minute before the cursor, which may be thousands of tasks,
        is listed once more when that minute has passed. Until then it is only counted,
        and the cursor stays; from then on it is settled.
        """
        newer = dict(self.studio.changed_since(project.id, last.moment))
        left = {task: when for task, when in last.recent.items() if task not in newer}
        if last.settled:
            return _Cursor(max([last.moment, *newer.values()]), left | newer)
        start = last.moment - OVERLAP
        due = instant(done.at) - last.since >= OVERLAP
        if not due and project.tasks >= len(self._known(done.campaign)):
            before = sum(when <= last.moment for when in left.values())
            count = self.studio.count_changed(project.id, start, last.moment)
            if count == before:
                return _Cursor(last.moment, left | newer)
        moments = dict(self.studio.changed_since(project.id, start))
        cursor = max([last.moment, *moments.values()])
        return _Cursor(cursor, moments, settled=due and cursor == last.moment)

    def _looked(
        self, look: Look, project: Project, row: Row, asked: list[int] | None,
        done: _Done,
    ) -> Iterator[list[Row]]:  # fmt: skip
        """New rows of each task that is looked at."""
        # emptied since a pull that was cut off: an export of all would not tell
        left = self.seen.here(done.campaign) if asked is None else set()
        for task in self._exported(project, asked, left):
            done.tasks += 1
            left.discard(task["id"])
            self._adopt(task, row)
            yield look.changes(task)

    def _exported(
        self, project: Project, asked: list[int] | None, left: set[int]
    ) -> Iterator[dict[str, Any]]:
        if asked != []:
            yield from self.studio.export(project.id, asked)
        if left:
            yield from self.studio.export(project.id, sorted(left))

    def _adopt(self, task: Mapping[str, Any], row: Row) -> None:
        """Note a task of ours that `label_tasks` lacks: its push was cut off."""
        key, data = (row["campaign"], task["id"]), task.get("data") or {}
        photo = data.get(interface.KEY)
        if key in self.tasks or not isinstance(photo, str) or not self.knows(photo):
            return
        shown = data.get(interface.PROPOSED)
        adopted = {
            "campaign": row["campaign"],
            "task": task["id"],
            "photo_id": photo,
            "use": "adjudication" if row["kind"] == "adjudication" else "question",
            "proposal": shown if shown and shown != NONE else None,
            "image": str(data.get(interface.IMAGE, "")),
            "at": self.at,
        }
        self.route.append("label_tasks", [adopted])
        self.tasks[key] = adopted

    def _known(self, campaign: str) -> set[int]:
        """Tasks that a campaign should have: pushed or seen, and not deleted."""
        pushed = {task for of, task in self.tasks if of == campaign}
        gone = {task for of, task in self.seen.gone if of == campaign}
        return (self.seen.here(campaign) | pushed) - gone

    def _lost(self, look: Look, project: Project, done: _Done) -> Iterator[list[Row]]:
        """Rows of tasks that were deleted, looked for only when some are missing."""
        known = self._known(done.campaign)
        if project.tasks >= len(known):
            return
        there = {task for task, _ in self.studio.keys(project.id)}
        for task in sorted(known - there):
            done.tasks_deleted += 1
            yield look.deleted(task)

    def _keep(self, found: Iterable[list[Row]], done: _Done) -> None:
        """Put rows into the log, also those read before something failed."""
        waiting: list[Row] = []
        try:
            for rows in found:
                waiting += rows
                if len(waiting) >= BATCH:
                    full, waiting = waiting, []
                    self._append(full, done)
        finally:
            self._append(waiting, done)

    def _append(self, rows: list[Row], done: _Done) -> None:
        if rows:
            self.route.append("annotations", rows)
            self.seen.take(rows)
            done.appended += sum(r["state"] != answers.TASK_DELETED for r in rows)
            done.deleted += sum(r["state"] == answers.DELETED for r in rows)
            done.new = True


def pull(route: Route, studio: LabelStudio) -> dict[str, Any]:
    """Fetch what changed in every campaign, and add the answers that follow.

    Args:
        route: the route; its work folder must be held for writing.
        studio: the server.

    Returns: `campaigns`; `tasks` looked at; `annotations` that were new, changed or
        deleted; `events` (answers) added, of these `skipped`, `withdrawn`, and
        `edited` (by someone else than who made the annotation); annotations `deleted`
        and `tasks_deleted`; `faults` (annotations that nothing could be read from:
        campaign, task, annotation, fault, url of its page if there) and `notices`.

    Raises:
        InputError: nothing was pushed yet.
        LabelStudioError: the server failed, has none of the projects any more, or has
            another project at the number of one. What was read is kept.
    """
    campaigns = whereabouts.campaigns(route)
    if not campaigns:
        message = "no project is known yet; run `counterset labels push` first"
        raise InputError(message)
    studio.greet()
    seen = Seen.of(route.shelf.read_log("annotations"))
    pulls = route.shelf.read_log("pulls")
    run = _Pull(
        route, studio, seen, Pseudonyms(route.shelf, studio, rows=seen.rows), _now(),
        {(r["campaign"], r["task"]): r for r in route.shelf.read_log("label_tasks")},
        {row["campaign"]: row["pull"] for row in pulls},
    )  # fmt: skip
    cursors = _Cursor.read(pulls)
    done = []
    there, notices = whereabouts.located(route, studio, campaigns, at=run.at)
    run.notices += notices
    for row, project in there:
        run.notices += whereabouts.by_hand(row, project)
        done.append(run.read(row, project, cursors.get(row["campaign"])))
    faults, readable = _faults(run, {row["campaign"]: p.id for row, p in there})
    tasks = readable | {
        (row["campaign"], row["task"])
        for row in seen.rows
        if row["pull"] > run.finished.get(row["campaign"], 0)
    }
    events = _events(run, campaigns, tasks)
    _finish(run, done, events)
    return _result(run, done, events, faults)


def projects(route: Route) -> list[int]:
    """Numbers of the projects of all campaigns."""
    return sorted({row["project"] for row in whereabouts.campaigns(route).values()})


def _moment(text: str) -> tuple[int, datetime]:
    """Task and when it changed, from `recent`."""
    task, _, when = text.partition(" ")
    return int(task), instant(when)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


# answers ------------------------------------------------------------------------------


def _faults(
    run: _Pull, projects: Mapping[str, int]
) -> tuple[list[dict[str, Any]], set[Task]]:
    """What cannot be read, and tasks of what could not before and can be now."""
    faults, readable = [], set()
    for (campaign, number), row in sorted(run.seen.last.items()):
        if row["state"] != answers.PRESENT or not row["fault"]:
            continue
        fault = row["fault"]
        if row["photo_id"]:
            fault = reading.read(json.loads(row["raw"]), run.route.config).fault
        if fault:
            name = {"campaign": campaign, "task": row["task"], "annotation": number}
            page = f"{run.studio.url}/projects/{projects.get(campaign)}/data?task="
            url = f"{page}{row['task']}" if campaign in projects else None
            faults.append(name | {"fault": fault, "url": url})
        else:
            readable.add((campaign, row["task"]))
    return faults, readable


def _events(
    run: _Pull, campaigns: Mapping[str, Row], tasks: set[Task]
) -> list[labels.Event]:
    """Answers that the log lacks and that follow from annotations of tasks."""
    if not tasks:
        return []
    derived = answers.derive(
        run.seen.closed(tasks),
        config=run.route.config,
        kinds={name: row["kind"] for name, row in campaigns.items()},
        proposals={
            (of, row["photo_id"]): row["proposal"] for (of, _), row in run.tasks.items()
        },
    )
    photos = {event["photo_id"] for event in derived}
    return labels.unseen(derived, answered(run.route.shelf, photos))


def _finish(run: _Pull, done: list[_Done], events: list[labels.Event]) -> None:
    """Add the answers, then how far the campaigns were read."""
    if events:
        run.route.append("label_events", events)
    counts = Counter(str(event["annotation"]).partition("/")[0] for event in events)
    rows = [
        {
            "campaign": one.campaign, "pull": one.pull, "cursor": one.cursor,
            "recent": one.recent, "tasks": one.tasks, "annotations": one.appended,
            "events": counts[one.campaign], "at": one.at,
        }
        for one in done
        if one.cursor and (one.new or counts[one.campaign])
    ]  # fmt: skip
    if rows:
        run.route.append("pulls", rows)


def _result(
    run: _Pull, done: list[_Done], events: list[labels.Event],
    faults: list[dict[str, Any]],
) -> dict[str, Any]:  # fmt: skip
    notices, lost = list(run.notices), sum(one.tasks_deleted for one in done)
    if lost:
        notices.append(f"{lost} tasks were deleted on the server; their answers stay")
    if len(faults) > SHOWN:
        notices.append(f"{len(faults)} annotations cannot be read, {SHOWN} are listed")
    told = Counter(event["answer"] for event in events)
    edited = {event["annotation"] for event in events if event["edits"]}
    return {
        "campaigns": len(done),
        "tasks": sum(one.tasks for one in done),
        "annotations": sum(one.appended for one in done),
        "events": len(events),
        "skipped": told[SKIPPED],
        "edited": len(edited),
        "deleted": sum(one.deleted for one in done),
        "withdrawn": told[WITHDRAWN],
        "tasks_deleted": lost,
        "faults": faults[:SHOWN],
        "notices": notices,
    }
