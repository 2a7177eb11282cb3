"""Where the projects of campaigns are now, and whether they are as they were pushed."""

from collections.abc import Mapping
from typing import Any

from curation import labelling
from curation.errors import LabelStudioError
from curation.labelling import interface
from curation.labelstudio import LabelStudio, Project, host
from curation.pipeline import Route

Row = dict[str, Any]


def campaigns(route: Route) -> dict[str, Row]:
    """Latest row of `label_projects` of each campaign, oldest campaign first."""
    return {row["campaign"]: row for row in route.shelf.read_log("label_projects")}


def located(
    route: Route, studio: LabelStudio, known: Mapping[str, Row], *, at: str
) -> tuple[list[tuple[Row, Project]], list[str]]:
    """Each campaign and its project; a project under another number is written down.

    Args:
        route: the route.
        studio: the server.
        known: latest row of each campaign, oldest campaign first.
        at: this moment.

    Returns: those that are there, and what to tell of the others. One that another
        campaign of its kind followed may be gone in silence.

    Raises:
        LabelStudioError: none is there; or another project has the number of one.
    """
    here = host(studio.url)
    latest = {row["kind"]: row["campaign"] for row in known.values()}
    found, gone = [], []
    for row in known.values():
        project = _project(studio, row)
        if project is None:
            gone.append(row)
        elif (row["project"], row["server"]) == (project.id, here):
            found.append((row, project))
        else:
            moved = row | {"project": project.id, "server": here, "at": at}
            route.append("label_projects", [moved])
            found.append((moved, project))
    lines = [
        f"project {row['project']} ({row['title']}) is not on {here} any more"
        for row in gone
        if latest[row["kind"]] == row["campaign"] or not found
    ]
    if not found:
        again = " or ".join(map(labelling.anew, latest))
        message = (
            f"{'; '.join(lines)}: is LABEL_STUDIO_URL right? Answers that were pulled "
            f"stay; {again} makes another project"
        )
        raise LabelStudioError(message, url=studio.url)
    return found, [f"{line}; its answers stay" for line in lines]


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


def by_hand(row: Row, project: Project) -> list[str]:
    """What was changed on the server in what annotators are asked."""
    return [
        f"project {project.id} ({project.title}) was changed on the server: {line}"
        for line in interface.compared(row["interface"], project.interface)
    ]
