"""Labelling in Label Studio: photos out to people, answers back.

    tasks ──push──▶ server ──▶ people ──▶ server ──pull──▶ annotations ──▶ label_events

A campaign is one project of ours on a server: `labels`, where every photo is asked, or
`adjudication`, where one person settles what others disagreed on. Its random id stands
in the project's description, so a project is known again whatever its number, title or
the server's address, and another service's project is never taken for ours.

What happened is kept in logs of the work folder, which only grow:

    label_projects   campaigns and where they are
    label_tasks      which photo is which task
    annotations      every change of every annotation, with the server's own JSON
    pulls            how far each campaign was read
    label_events     the answers, as every part of the route reads them

`label_events` of a campaign follow from `annotations` alone (`answers.derive`), so a
run that is cut off between the two logs loses nothing and repeats nothing.

Rooms. Out: `interface` (what annotators see), `tasks` (which photos, as which tasks),
`gold` (photos with known answers), `adjudication` (what one person should settle),
`campaigns` and `whereabouts` (the project), `standing` (what is there already),
`images` with `pictures`, `bucket` and `serve` (how annotators get the pictures),
`shown` and `checks` (that they do), `push`. Back: `reading` (an annotation to answers),
`seen` (what earlier pulls saw), `answers` (annotations to events), `pull`, `watch`,
`people` (pseudonyms), `exported` (the server's own files).
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from curation.pipeline import Route

Kind = Literal["labels", "adjudication"]

EVERYBODY = 1000
"""Annotators wanted for a task that everybody is asked."""

_MARK = re.compile(r"\[counterset (\S+) (labels|adjudication) ([0-9a-f]{32})\]")


def mark(dataset: str, kind: Kind, campaign: str) -> str:
    """End of a project's description, by which it is known again.

    Example:
        >>> mark("demo", "labels", "0" * 32)
        '[counterset demo labels 00000000000000000000000000000000]'
    """
    return f"[counterset {dataset} {kind} {campaign}]"


def marked(description: str) -> tuple[str, str, str] | None:
    """Dataset, kind and campaign that a project's description names; None if none."""
    found = _MARK.search(description)
    return None if found is None else (found[1], found[2], found[3])


def anew(kind: Kind) -> str:
    """The command that makes another project of a kind.

    Example:
        >>> anew("adjudication")
        '`counterset labels push --adjudicate --new`'
    """
    words = " --adjudicate" if kind == "adjudication" else ""
    return f"`counterset labels push{words} --new`"


def campaign(route: "Route", kind: Kind) -> Mapping[str, Any] | None:
    """Latest row of `label_projects` of a kind; None before the first push."""
    rows = [
        row for row in route.shelf.read_log("label_projects") if row["kind"] == kind
    ]
    return rows[-1] if rows else None
