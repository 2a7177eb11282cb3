"""Open questions to a Label Studio project: each photo once, however often it runs.

What is on the server is compared with `label_tasks` first, so that tasks whose import
was never noted (a crash, a lost answer) are adopted, and tasks that were deleted there
are told of and not made again.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from curation.errors import CounterSetError, LabelStudioError
from curation.labelling import EVERYBODY, Kind, campaigns, images, tasks
from curation.labelling.campaigns import Campaign
from curation.labelling.interface import IMAGE, PROPOSED
from curation.labelling.tasks import Ask, Facts
from curation.labelstudio import LabelStudio
from curation.photo import arrived
from curation.pipeline import Route
from curation.takedowns import Takedowns

BATCH = 2500
"""Tasks in a request: the server looks at the whole project after each."""

FIRST = 3
"""Tasks that are pushed alone: their pictures must show before the others follow."""

MOVES = 500
"""Tasks between two lines of progress, one request each."""

DELETED = "deleted"
"""Use of a photo whose task was deleted on the server: it is not asked again."""

SAMPLE = 2
"""Tasks of earlier pushes whose pictures are looked at."""


@dataclass(slots=True)
class _Standing:
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


def push(
    route: Route,
    studio: LabelStudio,
    *,
    kind: Kind,
    blind: bool,
    limit: int,
    new: bool,
    dry_run: bool,
) -> dict[str, Any]:
    """Put photos with open questions into the project of a campaign.

    Args:
        route: the route; its work folder must be held for writing.
        studio: the server.
        kind: labels, or adjudication.
        blind: hide the proposals.
        limit: at most so many new tasks; 0: all.
        new: begin another campaign, whatever there is.
        dry_run: say what would be done.

    Returns: project, url, campaign, pushed (wanted, in a dry run), known (tasks that
        were there), adopted (of them, not noted here before), missing_on_server,
        calibration and gold (tasks everybody is asked), blind, notices.

    Raises:
        InputError: the route has no questions yet, or the gold file is invalid.
        ConfigError: the campaign is blind and the push is not, or the reverse.
        LabelStudioError: the project is gone or was changed by hand, a picture would
            not show, or the server failed. What was acknowledged is noted, and pushing
            again goes on.
    """
    studio.greet()
    campaign = None if new else campaigns.find(route, studio, kind=kind, blind=blind)
    notices: list[str] = []
    standing = _Standing({}, 0, [], [])
    if campaign:
        if campaign.row is None:
            notices.append(
                f"project {campaign.number} was not known to this work folder: another "
                "one made it, or a push that was cut off. Its tasks are adopted"
            )
        campaign, told = campaigns.settle(route, studio, campaign, dry_run=dry_run)
        standing = _reconcile(route, studio, campaign, dry_run=dry_run)
        notices += told + standing.notices
    have = {photo: row["use"] for photo, row in standing.rows.items()}
    have |= dict.fromkeys(standing.gone, DELETED)
    wanted = tasks.wanted(route, kind=kind, have=have)
    asks = wanted.asks[:limit] if limit else wanted.asks
    notices += wanted.notices
    if new and (others := campaigns.others(route, studio, kind)):
        notices.append(
            f"project {others[-1]} is still there: what is open in it is asked twice"
        )
    if not dry_run:
        if campaign:
            _look(route, studio, campaign, standing)
            _answers(route, studio, campaign, standing)
            _widen(route, studio, campaign, standing, wanted.widened)
        if asks:
            campaign = _all(route, studio, campaign, asks, kind=kind, blind=blind)
    uses = [*have.values(), *(ask.use for ask in (*asks, *wanted.widened))]
    return {
        "project": campaign.number if campaign else None,
        "url": f"{studio.url}/projects/{campaign.number}" if campaign else None,
        "campaign": campaign.id if campaign else None,
        "pushed": len(asks),
        "known": len(standing.rows),
        "adopted": standing.adopted,
        "missing_on_server": len(standing.gone),
        tasks.CALIBRATION: uses.count(tasks.CALIBRATION),
        tasks.GOLD: uses.count(tasks.GOLD),
        "blind": campaign.blind if campaign else blind or kind == "adjudication",
        "dry_run": dry_run,
        "notices": notices,
    }


# what is there ------------------------------------------------------------------------


def _reconcile(
    route: Route, studio: LabelStudio, campaign: Campaign, *, dry_run: bool
) -> _Standing:
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
    return _Standing(standing, len(ours), missing, notices)


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


# pushing ------------------------------------------------------------------------------


def _all(
    route: Route,
    studio: LabelStudio,
    campaign: Campaign | None,
    asks: Sequence[Ask],
    *,
    kind: Kind,
    blind: bool,
) -> Campaign:
    """Push photos; the first few alone, to see that their pictures show."""
    campaign = campaign or campaigns.make(route, studio, kind=kind, blind=blind)
    photos = [ask.photo_id for ask in asks]
    facts = tasks.facts(route, photos, proposals=not campaign.blind)
    rows: list[dict[str, Any]] = []
    try:
        images.place(route, photos[:FIRST])
        images.connect(route, studio, campaign.number)
        rows = _send(route, studio, campaign, asks[:FIRST], facts)
        _preflight(route, studio, campaign, rows)
    except CounterSetError:
        if campaign.made:
            # seconds old, and of no use to anyone: nothing shows in it
            with suppress(LabelStudioError):
                studio.delete_project(campaign.number)
        else:
            route.append("label_tasks", rows)
        raise
    campaign = campaigns.record(route, studio, campaign)
    route.append("label_tasks", rows)
    done = len(rows)
    while done < len(asks):
        rows = _send(route, studio, campaign, asks[done : done + BATCH], facts)
        route.append("label_tasks", rows)
        done += len(rows)
        route.say(f"push: {done:,} of {len(asks):,} tasks")
    return campaign


def _send(
    route: Route,
    studio: LabelStudio,
    campaign: Campaign,
    asks: Sequence[Ask],
    facts: Mapping[str, Facts],
) -> list[dict[str, Any]]:
    """Import one batch; rows for `label_tasks`."""
    places = images.place(route, [ask.photo_id for ask in asks])
    sent = [
        tasks.task(
            ask,
            facts[ask.photo_id],
            places[ask.photo_id],
            kind=campaign.kind,
            blind=campaign.blind,
            version=version(campaign.id),
        )
        for ask in asks
    ]
    numbers = studio.import_tasks(campaign.number, sent)
    for number, ask in zip(numbers, asks, strict=True):
        if ask.use in tasks.ASKED_OF_ALL:
            studio.set_overlap(number, EVERYBODY)
    return [
        {
            "campaign": campaign.id,
            "task": number,
            "photo_id": ask.photo_id,
            "use": ask.use,
            "proposal": facts[ask.photo_id].proposal,
            "image": places[ask.photo_id],
            "at": campaigns.now(),
        }
        for number, ask in zip(numbers, asks, strict=True)
    ]


def version(campaign: str) -> str:
    """What the server calls the maker of proposals: one name in a campaign.

    The page pre-selects the predictions of one version only, the project's, which the
    first import sets; another name later would show nothing.
    """
    return f"counterset-{campaign[:8]}"


def _look(
    route: Route, studio: LabelStudio, campaign: Campaign, standing: _Standing
) -> None:
    """Make sure that the pictures of a few tasks that are there still show.

    Where they do not, and dataset.toml puts pictures elsewhere by now, tasks are told.
    """
    photos = set(route.table("photos").column("photo_id").to_pylist())
    photos -= {*standing.gone, *Takedowns(route.shelf).photos}
    there = [row for photo, row in standing.rows.items() if photo in photos]
    some = there[:: max(1, len(there) - 1)][:SAMPLE]
    try:
        _preflight(route, studio, campaign, some)
    except LabelStudioError:
        if not _moved(route, some):
            raise
        images.connect(route, studio, campaign.number)
        standing.rows |= {
            row["photo_id"]: row for row in _move(route, studio, campaign, there)
        }
        _preflight(
            route, studio, campaign, [standing.rows[r["photo_id"]] for r in some]
        )


def _moved(route: Route, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Where pictures are now, of those that are not where their task says."""
    places = images.place(route, [row["photo_id"] for row in rows])
    return {
        row["photo_id"]: places[row["photo_id"]]
        for row in rows
        if row["photo_id"] in places and row["image"] != places[row["photo_id"]]
    }


def _move(
    route: Route,
    studio: LabelStudio,
    campaign: Campaign,
    rows: Sequence[Mapping[str, Any]],
) -> Iterator[dict[str, Any]]:
    """Tell tasks where their pictures are now; each is noted once it is done."""
    places = _moved(route, rows)
    by_task = {row["task"]: row for row in rows if row["photo_id"] in places}
    found = studio.export(campaign.number, by_task)
    for done, task in enumerate(found, start=1):
        row = by_task[task["id"]]
        image = places[row["photo_id"]]
        studio.set_data(task["id"], task["data"] | {IMAGE: image})
        row = dict(row) | {"image": image, "at": campaigns.now()}
        route.append("label_tasks", [row])
        if done % MOVES == 0:
            route.say(f"push: {done:,} of {len(by_task):,} pictures moved")
        yield row


def _preflight(
    route: Route,
    studio: LabelStudio,
    campaign: Campaign,
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """Raise LabelStudioError where an annotator would see no picture."""
    shown = [(row["task"], row["photo_id"], row["image"]) for row in rows]
    problems = images.preflight(route, studio, shown)
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        message = (
            f"annotators would not see the pictures of {campaign.title}; nothing "
            f"more was pushed:{lines}"
        )
        url = f"{studio.url}/projects/{campaign.number}"
        raise LabelStudioError(message, url=url)


def _widen(
    route: Route,
    studio: LabelStudio,
    campaign: Campaign,
    standing: _Standing,
    asks: Sequence[Ask],
) -> None:
    """Ask everybody what has a task already and became calibration or gold."""
    rows = [standing.rows[ask.photo_id] | {"use": ask.use} for ask in asks]
    for row in rows:
        studio.set_overlap(row["task"], EVERYBODY)
        row["at"] = campaigns.now()
    route.append("label_tasks", rows)


def _answers(
    route: Route, studio: LabelStudio, campaign: Campaign, standing: _Standing
) -> None:
    """Annotators wanted per task, as dataset.toml says now."""
    assert campaign.project
    wanted = campaigns.answers(route, campaign.kind)
    if campaign.project.answers != wanted:
        studio.update_project(campaign.number, answers=wanted)
        for photo, row in standing.rows.items():
            if row["use"] in tasks.ASKED_OF_ALL and photo not in standing.gone:
                studio.set_overlap(row["task"], EVERYBODY)
