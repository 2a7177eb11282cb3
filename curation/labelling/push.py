"""Open questions to a Label Studio project: each photo once, however often it runs.

What is on the server is compared with `label_tasks` first, so that tasks whose import
was never noted (a crash, a lost answer) are adopted, and tasks that were deleted there
are told of and not made again.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from curation.errors import CounterSetError, LabelStudioError
from curation.labelling import EVERYBODY, Kind, campaigns, images, shown, tasks
from curation.labelling.campaigns import Campaign
from curation.labelling.standing import Standing, reconcile
from curation.labelling.tasks import Ask, Facts
from curation.labelstudio import LabelStudio
from curation.pipeline import Route

BATCH = 2500
"""Tasks in a request: the server looks at the whole project after each."""

FIRST = 3
"""Tasks that are pushed alone: their pictures must show before the others follow."""

DELETED = "deleted"
"""Use of a photo whose task was deleted on the server: it is not asked again."""


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
    standing = Standing({}, 0, [], [])
    if campaign:
        if campaign.row is None:
            notices.append(
                f"project {campaign.number} was not known to this work folder: another "
                "one made it, or a push that was cut off. Its tasks are adopted"
            )
        campaign, told = campaigns.settle(route, studio, campaign, dry_run=dry_run)
        standing = reconcile(route, studio, campaign, dry_run=dry_run)
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
            shown.look(route, studio, campaign, standing)
            _answers(route, studio, campaign, standing)
            _widen(route, studio, campaign, standing, wanted.widened)
        if asks:
            campaign = _all(route, studio, campaign, asks, kind=kind, blind=blind)
    if not campaign and not asks:
        notices.append("there is nothing to ask: no project was made")
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
        shown.preflight(route, studio, campaign, rows)
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


def _widen(
    route: Route,
    studio: LabelStudio,
    campaign: Campaign,
    standing: Standing,
    asks: Sequence[Ask],
) -> None:
    """Ask everybody what has a task already and became calibration or gold."""
    rows = [standing.rows[ask.photo_id] | {"use": ask.use} for ask in asks]
    for row in rows:
        studio.set_overlap(row["task"], EVERYBODY)
        row["at"] = campaigns.now()
    route.append("label_tasks", rows)


def _answers(
    route: Route, studio: LabelStudio, campaign: Campaign, standing: Standing
) -> None:
    """Annotators wanted per task, as dataset.toml says now."""
    assert campaign.project
    wanted = campaigns.answers(route, campaign.kind)
    if campaign.project.answers != wanted:
        studio.update_project(campaign.number, answers=wanted)
        for photo, row in standing.rows.items():
            if row["use"] in tasks.ASKED_OF_ALL and photo not in standing.gone:
                studio.set_overlap(row["task"], EVERYBODY)
