"""Tasks of Label Studio read in bulk: lists from its Data Manager, and exports.

The SDK's list builds an object of a hundred fields for each task and its export ignores
the task ids it is given, so both are plain requests here.
"""

import itertools
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from curation.errors import LabelStudioError
from curation.labelstudio.link import Link, words

PAGE = 1000
BATCH = 200
"""Ids in one address: under 4 kB, which every server takes; more is not faster."""

IMPORT_SECONDS = 600

Json = dict[str, Any]


def tasks(
    link: Link,
    project: int,
    *fields: str,
    where: Sequence[Mapping[str, Any]] = (),
    after: int = 0,
) -> Iterator[Json]:
    """Fields of tasks by number, each page from where the last one ended.

    Pages counted from the start would skip a task when another is deleted meanwhile.

    Args:
        link: to the server.
        project: its number.
        fields: which are wanted; with `id`.
        where: filters that all must let a task through.
        after: only tasks with larger ids.
    """
    last = after
    while True:
        here = _filter("id", "greater", "Number", last)
        page = _page(link, project, [*where, here], fields, size=PAGE, by="id")
        yield from page["tasks"]
        if len(page["tasks"]) >= page["total"]:
            return
        last = max(task["id"] for task in page["tasks"])


def changed_since(
    link: Link, project: int, moment: datetime | None
) -> list[tuple[int, datetime]]:
    """Tasks that changed after a moment, up to the latest change when this began."""
    since = [] if moment is None else [_updated("greater", moment)]
    fields = ("id", "updated_at")
    latest = _page(link, project, since, fields, size=1, by="-updated_at")["tasks"]
    if not latest:
        return []
    window = [*since, _updated("less_or_equal", _moment(latest[0]))]
    return [
        (task["id"], _moment(task))
        for task in tasks(link, project, *fields, where=window)
    ]


def count_changed(link: Link, project: int, after: datetime, until: datetime) -> int:
    """How many tasks changed last after a moment and not after another."""
    window = [_updated("greater", after), _updated("less_or_equal", until)]
    page = _page(link, project, window, ("id",), size=1, by="id")
    return int(page["total"])


def export(link: Link, project: int, numbers: Iterable[int] | None) -> Iterator[Json]:
    """Whole tasks, in requests that stay short however many there are."""
    everything = numbers is None
    if numbers is None:
        numbers = (task["id"] for task in tasks(link, project, "id"))
    rest = iter(numbers)
    while batch := list(dict.fromkeys(itertools.islice(rest, BATCH))):
        # brackets and all, for encoded they are three times as long
        which = "".join(f"&ids[]={number}" for number in batch)
        found = link.ask(
            "GET",
            f"/api/projects/{project}/export?exportType=JSON"
            f"&download_all_tasks={'false' if everything else 'true'}{which}",
        )
        if not isinstance(found, list):
            raise link.strange(json.dumps(found)[:100])
        yield from found


def imported(link: Link, project: int, number: int) -> list[int] | None:
    """Ids of an import that a hosted server does in its own time, once it has."""
    path, pause = f"/api/projects/{project}/imports/{number}", 0.5
    end = time.monotonic() + IMPORT_SECONDS
    while time.monotonic() < end:
        state = link.ask("GET", path)
        if not isinstance(state, dict) or state.get("status") == "failed":
            message = f"import {number} failed: {link.clean(words(state))}"
            raise LabelStudioError(message, url=link.url + path)
        if state.get("status") == "completed":
            ids: list[int] | None = state.get("task_ids")
            return ids
        time.sleep(pause)
        pause = min(pause * 1.5, 5.0)
    message = f"import {number} goes on for longer than {IMPORT_SECONDS} s"
    raise LabelStudioError(message, url=link.url + path)


def _page(
    link: Link,
    project: int,
    where: Sequence[Mapping[str, Any]],
    fields: Sequence[str],
    *,
    size: int,
    by: str,
) -> Json:
    """First page of the tasks that filters let through, with some of their fields."""
    sign, name = ("-", by[1:]) if by.startswith("-") else ("", by)
    query: Json = {"ordering": [f"{sign}tasks:{name}"]}
    if where:
        query["filters"] = {"conjunction": "and", "items": list(where)}
    found = link.ask(
        "GET",
        "/api/tasks",
        params={
            "project": project,
            "page_size": size,
            "fields": "task_only",
            "include": ",".join(fields),
            "resolve_uri": "false",
            "query": json.dumps(query),
        },
    )
    if (
        not isinstance(found, dict)
        or not isinstance(found.get("tasks"), list)
        or bool(found.get("total")) != bool(found["tasks"])
    ):
        raise link.strange(json.dumps(found)[:100])
    return found


def _filter(name: str, operator: str, kind: str, value: object) -> dict[str, object]:
    return {
        "filter": f"filter:tasks:{name}",
        "operator": operator,
        "type": kind,
        "value": value,
    }


def _updated(operator: str, moment: datetime) -> dict[str, object]:
    text = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return _filter("updated_at", operator, "Datetime", text)


def _moment(task: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(task["updated_at"]).astimezone(UTC)
