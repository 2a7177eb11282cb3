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

from curation import labelling, labels
from curation.errors import InputError, LabelStudioError
from curation.labelling import answers, interface, reading
from curation.labelling.people import Pseudonyms
from curation.labelling.seen import Look, Row, Seen, Task
from curation.labelstudio import LabelStudio, Project, host
from curation.pipeline import Route
from curation.schemas import SKIPPED, WITHDRAWN
from curation.stages.resolve import instant

OVERLAP = timedelta(minutes=1)
"""A change may become visible so long after the moment it bears."""

BATCH = 500
"""Rows that are kept at once."""

SHOWN = 100
"""Faults that are listed; the rest are counted."""

_NONE = "none"  # proposed background of a task whose proposal abstained


@dataclass(slots=True)
class _Done:
    """What was read of one campaign."""

    campaign: str
    pull: int
    tasks: int = 0
    cursor: str = ""
    recent: list[str] = field(default_factory=list)
    appended: int = 0
    deleted: int = 0
    tasks_deleted: int = 0
    new: bool = False


@dataclass
class _Pull:
    route: Route
    studio: LabelStudio
    seen: Seen
    names: Pseudonyms
    at: str
    tasks: dict[Task, Row]
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

    def read(self, row: Row, project: Project, last: Row | None) -> _Done:
        """Read what changed in a campaign; `last` is its latest row of `pulls`."""
        campaign = row["campaign"]
        number = 1 + max(self.seen.pulls(campaign), last["pull"] if last else 0)
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
        self, project: Project, last: Row | None, done: _Done
    ) -> list[int] | None:
        """Tasks to look at, all that have annotations when None."""
        since = instant(last["cursor"]) - OVERLAP if last else None
        changed = self.studio.changed_since(project.id, since)
        moments = {task: when.astimezone(UTC) for task, when in changed}
        cursor = max(moments.values(), default=None)
        if last and (cursor is None or cursor < instant(last["cursor"])):
            cursor = instant(last["cursor"])
        if cursor:
            done.cursor = cursor.isoformat()
            done.recent = sorted(
                f"{task} {when.isoformat()}"
                for task, when in moments.items()
                if when > cursor - OVERLAP
            )
        if last is None:
            done.new = bool(changed)
            return None
        known = set(last["recent"])
        done.new = (done.cursor, done.recent) != (last["cursor"], last["recent"])
        asked = [t for t, w in moments.items() if f"{t} {w.isoformat()}" not in known]
        return sorted({*asked, *self.seen.photoless(done.campaign)})

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
            "proposal": shown if shown and shown != _NONE else None,
            "image": str(data.get(interface.IMAGE, "")),
            "at": self.at,
        }
        self.route.append("label_tasks", [adopted])
        self.tasks[key] = adopted

    def _lost(self, look: Look, project: Project, done: _Done) -> Iterator[list[Row]]:
        """Rows of tasks that were deleted, looked for only when some are missing."""
        campaign = done.campaign
        known = self.seen.here(campaign) | {
            task for of, task in self.tasks if of == campaign
        }
        known -= {task for of, task in self.seen.gone if of == campaign}
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
                    self._append(waiting, done)
                    waiting = []
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
        and `tasks_deleted`; `faults` (annotations on the server that nothing could be
        read from: campaign, task, annotation, fault) and `notices`.

    Raises:
        InputError: nothing was pushed yet.
        LabelStudioError: the server failed, has none of the projects any more, or has
            another project at the number of one. What was read is kept.
    """
    campaigns = _campaigns(route)
    if not campaigns:
        message = "no project is known yet; run `counterset labels push` first"
        raise InputError(message)
    studio.greet()
    seen = Seen.of(route.shelf.read_log("annotations"))
    run = _Pull(
        route, studio, seen, Pseudonyms(route.shelf, studio, rows=seen.rows), _now(),
        {(r["campaign"], r["task"]): r for r in route.shelf.read_log("label_tasks")},
    )  # fmt: skip
    pulled = {row["campaign"]: row for row in route.shelf.read_log("pulls")}
    done = []
    for row, project in _located(run, campaigns):
        run.notices += _by_hand(row, project)
        done.append(run.read(row, project, pulled.get(row["campaign"])))
    faults, readable = _faults(run)
    finished = {name: row["pull"] for name, row in pulled.items()}
    tasks = readable | {
        (row["campaign"], row["task"])
        for row in seen.rows
        if row["pull"] > finished.get(row["campaign"], 0)
    }
    events = _events(run, campaigns, tasks)
    _finish(run, done, events)
    return _result(run, done, events, faults)


def projects(route: Route) -> list[int]:
    """Numbers of the projects of all campaigns."""
    return sorted({row["project"] for row in _campaigns(route).values()})


def _campaigns(route: Route) -> dict[str, Row]:
    """Latest row of `label_projects` of each campaign, oldest campaign first."""
    return {row["campaign"]: row for row in route.shelf.read_log("label_projects")}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


# projects -----------------------------------------------------------------------------


def _located(run: _Pull, campaigns: Mapping[str, Row]) -> list[tuple[Row, Project]]:
    """Each campaign and its project, those that are gone left out and told of."""
    here = host(run.studio.url)
    latest = {row["kind"]: row["campaign"] for row in campaigns.values()}
    found, gone = [], []
    for row in campaigns.values():
        project = _project(run.studio, row)
        if project is None:
            gone.append((row, latest[row["kind"]] == row["campaign"]))
            continue
        if (row["project"], row["server"]) != (project.id, here):
            row = row | {"project": project.id, "server": here, "at": run.at}
            run.route.append("label_projects", [row])
        found.append((row, project))
    lines = [
        f"project {row['project']} ({row['title']}) is not on {here} any more"
        for row, current in gone
        if current or not found
    ]
    if not found:
        message = (
            f"{'; '.join(lines)}: is LABEL_STUDIO_URL right? Answers that were pulled "
            "stay; `counterset labels push --new` makes another project"
        )
        raise LabelStudioError(message, url=run.studio.url)
    run.notices += [f"{line}; its answers stay" for line in lines]
    return found


def _project(studio: LabelStudio, row: Row) -> Project | None:
    """The project of a campaign, wherever it is now; None when it was deleted."""

    def ours(project: Project) -> bool:
        found = labelling.marked(project.description)
        return found is not None and found[2] == row["campaign"]

    there = studio.project(row["project"])
    if there is not None and ours(there):
        return there
    moved = next((p for p in studio.projects() if ours(p)), None)
    if moved is None and there is not None:
        mark = labelling.mark("NAME", row["kind"], row["campaign"])
        message = (
            f"project {there.id} of {host(studio.url)} ({there.title}) is not the one "
            f"that was pushed ({row['title']}): its description does not end in {mark}"
            f"; it was pushed to {row['server']}. If LABEL_STUDIO_URL is right and the "
            "description was edited, put that back. Answers that were pulled stay"
        )
        raise LabelStudioError(message, url=f"{studio.url}/projects/{there.id}")
    return moved


def _by_hand(row: Row, project: Project) -> list[str]:
    """What was changed on the server in what annotators are asked."""
    return [
        f"project {project.id} ({project.title}) was changed on the server: {line}"
        for line in interface.compared(row["interface"], project.interface)
    ]


# answers ------------------------------------------------------------------------------


def _faults(run: _Pull) -> tuple[list[dict[str, Any]], set[Task]]:
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
            faults.append(name | {"fault": fault})
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
    log = run.route.shelf.read_log("label_events")
    return labels.unseen(derived, [row for row in log if row["photo_id"] in photos])


def _finish(run: _Pull, done: list[_Done], events: list[labels.Event]) -> None:
    """Add the answers, then how far the campaigns were read."""
    if events:
        run.route.append("label_events", events)
    counts = Counter(str(event["annotation"]).partition("/")[0] for event in events)
    rows = [
        {
            "campaign": one.campaign, "pull": one.pull, "cursor": one.cursor,
            "recent": one.recent, "tasks": one.tasks, "annotations": one.appended,
            "events": counts[one.campaign], "at": run.at,
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
