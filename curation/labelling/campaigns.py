"""The project of a campaign: found, made, adopted, kept in step with dataset.toml."""

import json
import secrets
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from curation import labelling
from curation.errors import ConfigError, LabelStudioError
from curation.labelling import Kind, interface
from curation.labelstudio import LabelStudio, Project, host
from curation.photo import arrived
from curation.pipeline import Route

LONGEST = 50
"""Characters the server takes in a title."""

SAFE = "Answers that were pulled are safe in the work folder"


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign and its project.

    Attributes:
        id: random, in the project's description.
        kind: labels or adjudication.
        blind: proposals are hidden.
        project: as the server has it; None in a dry run that would make it.
        row: its latest row of `label_projects`; None if this work folder has none.
        made: the project was made in this run.
    """

    id: str
    kind: Kind
    blind: bool
    project: Project | None
    row: dict[str, Any] | None = None
    made: bool = False

    @property
    def title(self) -> str:
        """What a message calls the project."""
        assert self.project
        return f"project {self.project.id} ({self.project.title})"

    @property
    def number(self) -> int:
        """The project's number on the server."""
        assert self.project, "a dry run has no project to ask"
        return self.project.id


def now() -> str:
    """This moment, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def answers(route: Route, kind: Kind) -> int:
    """Annotators wanted per task."""
    return 1 if kind == "adjudication" else route.config.tasks.answers


def find(
    route: Route, studio: LabelStudio, *, kind: Kind, blind: bool
) -> Campaign | None:
    """The campaign of this dataset and kind, if there is one.

    Args:
        route: the route.
        studio: the server.
        kind: labels or adjudication.
        blind: what the push asks for; it cannot change within a campaign.

    Raises:
        ConfigError: the campaign is blind and the push is not, or the reverse.
        LabelStudioError: the project was deleted, or its number is another's now.
    """
    known = labelling.campaign(route, kind)
    if known is None:
        campaign = _elsewhere(route, studio, kind)
    else:
        campaign = _known(studio, dict(known), kind)
    if campaign and kind == "labels" and campaign.blind != blind:
        has = "hides" if campaign.blind else "shows"
        assert campaign.project
        message = (
            f"project {campaign.number} ({campaign.project.title}) {has} the "
            "proposals, and that cannot change once people answer; push "
            f"{'with' if campaign.blind else 'without'} --blind (tasks.blind), or "
            "--new for a project of its own"
        )
        raise ConfigError(message)
    return campaign


def _known(studio: LabelStudio, row: dict[str, Any], kind: Kind) -> Campaign:
    """The campaign of a row of `label_projects`."""
    project = studio.project(row["project"])
    if project is None or not _is(project, row["campaign"]):
        moved = [p for p in studio.projects() if _is(p, row["campaign"])]
        if not moved:
            raise _lost(studio, row, project)
        project = moved[-1]
    return Campaign(row["campaign"], kind, row["blind"], project, row)


def _is(project: Project, campaign: str) -> bool:
    found = labelling.marked(project.description)
    return found is not None and found[2] == campaign


def _lost(
    studio: LabelStudio, row: dict[str, Any], project: Project | None
) -> LabelStudioError:
    number, here = row["project"], host(studio.url)
    if project is None:
        what = f"{here} has no project {number} any more"
    else:
        what = (
            f"project {number} of {here} ({project.title}) is not the one that was "
            "made here: its description lacks our mark"
        )
    if row["server"] != here:
        what += f"; it was made on {row['server']}: is LABEL_STUDIO_URL right?"
    message = f"{what}. {SAFE}; {labelling.anew(row['kind'])} makes another project"
    return LabelStudioError(message, url=f"{studio.url}/projects/{number}")


def _elsewhere(route: Route, studio: LabelStudio, kind: Kind) -> Campaign | None:
    """A project that another work folder of this dataset made; the latest one.

    One that has tasks, and none of a photo of ours, is another dataset's of that name.
    """
    photos = set(arrived(route).values())
    for number, campaign in sorted(_ours(route, studio, kind).items(), reverse=True):
        project = studio.project(number)
        if project is None:
            continue
        if project.tasks and not any(k in photos for _, k in studio.keys(number)):
            continue
        blind = kind == "adjudication" or interface.blind(project.interface)
        return Campaign(campaign, kind, blind, project)
    return None


def _ours(route: Route, studio: LabelStudio, kind: Kind) -> dict[int, str]:
    """Campaign by number of the projects of this dataset and kind."""
    return {
        project.id: found[2]
        for project in studio.projects()
        if (found := labelling.marked(project.description))
        and found[:2] == (route.config.dataset.name, kind)
    }


def others(route: Route, studio: LabelStudio, kind: Kind) -> list[int]:
    """Numbers of the projects of this dataset and kind that there are."""
    return sorted(_ours(route, studio, kind))


def make(route: Route, studio: LabelStudio, *, kind: Kind, blind: bool) -> Campaign:
    """A campaign with a project of its own, not yet in `label_projects`."""
    hidden = blind or kind == "adjudication"
    campaign, about = secrets.token_hex(16), route.config.dataset
    project = studio.create_project(
        title=title(route, kind),
        description=(
            f"Backgrounds and defects of the photos of {about.title or about.name}. "
            "Change its interface in dataset.toml, not here. "
            + labelling.mark(about.name, kind, campaign)
        ),
        interface=interface.xml(route.config, blind=hidden, kind=kind),
        instructions=interface.instructions(route.config, blind=hidden, kind=kind),
        answers=answers(route, kind),
        show_proposals=not hidden,
    )
    return Campaign(campaign, kind, hidden, project, made=True)


def title(route: Route, kind: Kind) -> str:
    """Title of a campaign's project, 3 to 50 characters."""
    config = route.config
    name = config.labels.title or config.dataset.title or config.dataset.name
    end = ": adjudication" if kind == "adjudication" else ""
    return (name[: LONGEST - len(end)] + end).ljust(3, ".")


def record(route: Route, studio: LabelStudio, campaign: Campaign) -> Campaign:
    """Note in `label_projects` where a campaign is and what it asks, if that is new."""
    project = campaign.project
    assert project
    config, hidden, kind = route.config, campaign.blind, campaign.kind
    row = {
        "campaign": campaign.id,
        "kind": kind,
        "server": host(studio.url),
        "project": project.id,
        "title": project.title,
        "interface": interface.xml(config, blind=hidden, kind=kind),
        "instructions": interface.instructions(config, blind=hidden, kind=kind),
        "blind": hidden,
    }
    if campaign.row and {**campaign.row, "at": ""} == {**row, "at": ""}:
        return campaign
    row["at"] = now()
    route.append("label_projects", [row])
    return replace(campaign, row=row)


def settle(
    route: Route, studio: LabelStudio, campaign: Campaign, *, dry_run: bool
) -> tuple[Campaign, list[str]]:
    """Bring a project's interface in step with dataset.toml.

    Returns: the campaign, and what a person should know.

    Raises:
        LabelStudioError: the interface was changed on the server; or it asks for a
            background that people answered and dataset.toml lacks.
    """
    project = campaign.project
    assert project
    config, hidden, kind = route.config, campaign.blind, campaign.kind
    ours = interface.xml(config, blind=hidden, kind=kind)
    guide = interface.instructions(config, blind=hidden, kind=kind)
    row = campaign.row
    changed = interface.compared(row["interface"] if row else ours, project.interface)
    if changed and interface.compared(ours, project.interface):
        raise _by_hand(studio, campaign, changed)
    same = row is not None and (row["interface"], row["instructions"]) == (ours, guide)
    notices = []
    if not same and project.interface != ours:
        removed = interface.choices(project.interface) - interface.choices(ours)
        notices = _refuse_removed(route, studio, campaign, removed)
        added = interface.choices(ours) - interface.choices(project.interface)
        what = [f"{name!r} added" for name in sorted(added)]
        what += [f"{name!r} removed" for name in sorted(removed)]
        notices.append(
            "the project's interface follows dataset.toml"
            + (f": {', '.join(what)}" if what else "")
        )
    if not same and not dry_run:
        project = studio.update_project(project.id, interface=ours, instructions=guide)
        campaign = replace(campaign, project=project)
    return campaign if dry_run else record(route, studio, campaign), notices


def _by_hand(
    studio: LabelStudio, campaign: Campaign, changed: list[str]
) -> LabelStudioError:
    what = (
        "was changed on the server since the last push"
        if campaign.row
        else "is not what this dataset.toml asks for"
    )
    lines = "".join(f"\n  {line}" for line in changed)
    message = (
        f"the labelling interface of {campaign.title} {what}; "
        f"nothing was pushed:{lines}\nPut it back there, or write the change into "
        f"dataset.toml, or {labelling.anew(campaign.kind)} makes another project"
    )
    return LabelStudioError(message, url=f"{studio.url}/projects/{campaign.number}")


def _refuse_removed(
    route: Route, studio: LabelStudio, campaign: Campaign, removed: frozenset[str]
) -> list[str]:
    """Backgrounds may go only while nobody chose them; says where they are proposed."""
    used = {k: n for k, n in _chosen(route, campaign.id).items() if k in removed}
    if used:
        assert campaign.project
        counts = ", ".join(f"{name!r} {used[name]} times" for name in sorted(used))
        message = (
            "dataset.toml lacks backgrounds that people chose in project "
            f"{campaign.number} ({campaign.project.title}): {counts}; nothing was "
            f"pushed. Put them back, or {labelling.anew(campaign.kind)} makes another "
            "project"
        )
        url = f"{studio.url}/projects/{campaign.number}"
        raise LabelStudioError(message, url=url)
    proposed = Counter(
        row["proposal"]
        for row in route.shelf.read_log("label_tasks")
        if row["campaign"] == campaign.id and row["proposal"] in removed
    )
    return [
        f"{count} tasks propose {name!r}, which can no longer be chosen"
        for name, count in sorted(proposed.items())
    ]


def _chosen(route: Route, campaign: str) -> Counter[str]:
    """How many annotations chose each background, as far as they were pulled."""
    latest = {
        row["annotation"]: row
        for row in route.shelf.read_log("annotations")
        if row["campaign"] == campaign
    }
    return Counter(
        choice
        for row in latest.values()
        if row["state"] != "deleted"
        for choice in _backgrounds(json.loads(row["raw"]))
    )


def _backgrounds(annotation: dict[str, Any]) -> set[str]:
    if annotation.get("was_cancelled"):
        return set()
    return {
        choice
        for result in annotation.get("result") or []
        if result.get("from_name") == interface.BACKGROUND
        for choice in result.get("value", {}).get("choices", [])
    }
