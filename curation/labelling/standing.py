"""Tasks of a campaign as they are: the log beside the server."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from curation.labelling import campaigns, tasks
from curation.labelling.campaigns import Campaign
from curation.labelling.interface import IMAGE, PROPOSED
from curation.labelstudio import LabelStudio
from curation.photo import arrived
from curation.pipeline import Route
from curation.takedowns import Takedowns


@dataclass(slots=True)
class Standing:
    """Tasks of a campaign.

    Attributes:
        rows: latest row of `label_tasks` of each photo.
        adopted: tasks found on the server alone.
        gone: photos whose task was deleted there.
        notices: what a person should know.
    """

    rows: dict[str, dict[str, Any]]
    adopted: int
    gone: list[str]
    notices: list[str]


def reconcile(
    route: Route, studio: LabelStudio, campaign: Campaign, *, dry_run: bool
) -> Standing:
    """Compare the tasks on the server with those in the log."""
    rows = {
        row["task"]: row
        for row in route.shelf.read_log("label_tasks")
        if row["campaign"] == campaign.id
    }
    server = _server(studio, campaign, rows)
    photos = set(arrived(route).values()) if server.keys() - rows.keys() else set()
    unknown = {task: key for task, key in server.items() if task not in rows}
    ours = {task: key for task, key in unknown.items() if key in photos}
    notices = []
    if len(ours) < len(unknown):
        strange = sorted(unknown.keys() - ours.keys())
        notices.append(
            f"{len(strange)} tasks of the project are of no photo of this work folder; "
            f"they are left alone ({_some(strange)})"
        )
    if ours:
        adopted = _adopted(route, studio, campaign, ours)
        if not dry_run:
            route.append("label_tasks", adopted)
        rows |= {row["task"]: row for row in adopted}
    missing = [row["photo_id"] for task, row in rows.items() if task not in server]
    notices += _doubled(rows, server)
    there = {row["photo_id"] for task, row in rows.items() if task in server}
    missing = [photo for photo in dict.fromkeys(missing) if photo not in there]
    if missing:
        notices.append(
            f"{len(missing)} tasks were deleted on the server and are not pushed again "
            f"({_some(photo[:12] for photo in missing)}); their pulled answers stay"
        )
    notices += _taken(route, there)
    # of several tasks of a photo, the first that is there
    standing = {row["photo_id"]: row for _, row in sorted(rows.items(), reverse=True)}
    standing |= {
        row["photo_id"]: row
        for task, row in sorted(rows.items(), reverse=True)
        if task in server
    }
    return Standing(standing, len(ours), missing, notices)


def _server(
    studio: LabelStudio, campaign: Campaign, rows: Mapping[int, object]
) -> dict[int, str]:
    """Key of every task on the server.

    Task ids only grow, so when there are as many tasks as were noted and came later,
    the noted ones are all there: no need to look at each.
    """
    assert campaign.project
    later = dict(studio.keys(campaign.number, after=max(rows, default=0)))
    if campaign.project.tasks == len(rows) + len(later):
        return dict.fromkeys(rows, "") | later
    return dict(studio.keys(campaign.number))


def _doubled(rows: dict[int, dict[str, Any]], server: dict[int, str]) -> list[str]:
    """Photos that have several tasks on the server."""
    first: dict[str, int] = {}
    doubles = [
        task
        for task, row in sorted(rows.items())
        if task in server and first.setdefault(row["photo_id"], task) != task
    ]
    if not doubles:
        return []
    return [
        f"{len(doubles)} tasks repeat a photo of another task ({_some(doubles)}): "
        "delete them on the server, or each annotator is asked twice"
    ]


def _taken(route: Route, there: Iterable[str]) -> list[str]:
    """Photos that were taken down and still have a task."""
    left = sorted(Takedowns(route.shelf).photos.intersection(there))
    if not left:
        return []
    return [
        f"{len(left)} photos were taken down and still have a task: delete it on the "
        f"server ({_some(photo[:12] for photo in left)})"
    ]


def _some(things: Iterable[object], count: int = 3) -> str:
    listed = list(things)
    shown = ", ".join(str(thing) for thing in listed[:count])
    return shown + (", …" if len(listed) > count else "")


def _adopted(
    route: Route, studio: LabelStudio, campaign: Campaign, found: dict[int, str]
) -> list[dict[str, Any]]:
    """Rows of `label_tasks` for tasks that only the server knows."""
    # what it was pushed with, where the export has it: tasks that nobody answered
    # may be left out of it
    data = {task["id"]: task["data"] for task in studio.export(campaign.number, found)}
    there = [photo for photo in found.values() if photo in tasks.kept(route)]
    facts = tasks.facts(route, there, proposals=not campaign.blind)
    use = tasks.ADJUDICATION if campaign.kind == "adjudication" else tasks.QUESTION
    rows = []
    for task, photo in sorted(found.items()):
        known = data.get(task, {})
        shown = known.get(PROPOSED, facts[photo].proposal if photo in facts else None)
        rows.append(
            {
                "campaign": campaign.id,
                "task": task,
                "photo_id": photo,
                "use": use,
                "proposal": None if campaign.blind or shown == tasks.NONE else shown,
                "image": known.get(IMAGE, ""),
                "at": campaigns.now(),
            }
        )
    return rows
