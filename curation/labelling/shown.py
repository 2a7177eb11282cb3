"""Whether the pictures of tasks show, and tasks that must be told where they are."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from curation.errors import LabelStudioError
from curation.labelling import campaigns, images
from curation.labelling.campaigns import Campaign
from curation.labelling.interface import IMAGE
from curation.labelling.standing import Standing
from curation.labelstudio import LabelStudio
from curation.pipeline import Route
from curation.takedowns import Takedowns

SAMPLE = 2
"""Tasks of earlier pushes whose pictures are looked at."""

MOVES = 500
"""Tasks between two lines of progress, one request each."""


def look(
    route: Route, studio: LabelStudio, campaign: Campaign, standing: Standing
) -> None:
    """Make sure that the pictures of a few tasks that are there still show.

    Where they do not, and dataset.toml puts pictures elsewhere by now, tasks are told.
    """
    photos = set(route.table("photos").column("photo_id").to_pylist())
    photos -= {*standing.gone, *Takedowns(route.shelf).photos}
    there = [row for photo, row in standing.rows.items() if photo in photos]
    some = there[:: max(1, len(there) - 1)][:SAMPLE]
    try:
        preflight(route, studio, campaign, some)
    except LabelStudioError:
        if not _moved(route, some):
            raise
        images.connect(route, studio, campaign.number)
        standing.rows |= {
            row["photo_id"]: row for row in _move(route, studio, campaign, there)
        }
        preflight(route, studio, campaign, [standing.rows[r["photo_id"]] for r in some])


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


def preflight(
    route: Route,
    studio: LabelStudio,
    campaign: Campaign,
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """Raise LabelStudioError where an annotator would see no picture."""
    looked = [(row["task"], row["photo_id"], row["image"]) for row in rows]
    problems = images.preflight(route, studio, looked)
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        message = (
            f"annotators would not see the pictures of {campaign.title}; nothing "
            f"more was pushed:{lines}"
        )
        url = f"{studio.url}/projects/{campaign.number}"
        raise LabelStudioError(message, url=url)
