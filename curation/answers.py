"""People's answers and the route: taking them in, giving them out, agreement."""

from pathlib import Path
from typing import Any

from curation import agreement as measured
from curation import labels
from curation.photo import named
from curation.pipeline import Route


def take_in(route: Route, file: Path, *, dry_run: bool = False) -> dict[str, Any]:
    """Add the answers of a CSV or JSONL file to the log; all of them or none.

    Answers that are there already are not added again; what is added is on disk when
    this returns.

    Args:
        route: the route; its work folder must be held for writing.
        file: see `curation.labels`.
        dry_run: check the file, add nothing.

    Returns: answers in the file, imported now, and known before.

    Raises:
        InputError: a row is invalid; nothing was imported.
    """
    names = named(route)
    events = labels.read(file, config=route.config, resolve_photo=names.get)
    new = labels.unseen(events, route.shelf.read_log("label_events"))
    if new and not dry_run:
        route.append("label_events", new)
    return {
        "answers": len(events),
        "imported": 0 if dry_run else len(new),
        "known": len(events) - len(new),
    }


def give_out(route: Route, file: Path) -> dict[str, Any]:
    """Write every answer to a CSV or JSONL file that `take_in` reads."""
    count = labels.export(route.shelf.read_log("label_events"), file)
    return {"answers": count, "file": str(file)}


def agreement(route: Route) -> dict[str, list[dict[str, Any]]]:
    """How far annotators agree, see `curation.agreement.summary`."""
    if route.fingerprint("photos") is None:
        return {"questions": [], "annotators": []}
    photos = route.table("photos").select(["photo_id", "class"]).to_pylist()
    return measured.summary(
        route.whole("label_events").to_pylist(),
        classes={row["photo_id"]: row["class"] for row in photos},
        exclude=route.config.resolve.exclude,
    )


def agreement_text(found: dict[str, list[dict[str, Any]]]) -> str:
    """Agreement for a person."""
    if not found["questions"]:
        return "no answers yet: `counterset labels import FILE`"
    lines = ["question         alpha  95 % interval     photos  annotators"]
    for row in found["questions"]:
        low, high = row["ci"] or (None, None)
        lines.append(
            f"{row['question']:<15} {_figure(row['alpha'])}  "
            f"{_figure(low)} to {_figure(high)}  {row['n_photos']:>7} "
            f"{row['n_annotators']:>11}"
        )
    lines.append("\nannotator            agreement with the others  answers compared")
    lines.extend(
        f"{row['annotator']:<20} {_figure(row['agreement']):>25} {row['n']:>17}"
        for row in found["annotators"]
    )
    return "\n".join(lines)


def _figure(value: float | None) -> str:
    return "    -" if value is None else f"{value:5.2f}"
