"""People's answers and the route: taking them in, giving them out, agreement."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from curation import agreement as measured
from curation import labels
from curation.foreign import Form
from curation.photo import named
from curation.pipeline import Route
from curation.quality import FAST_S

Row = Mapping[str, Any]


def take_in(
    route: Route, file: Path, *, form: Form | None = None, dry_run: bool = False
) -> dict[str, Any]:
    """Add the answers of a file to the log; all of them or none.

    Answers that are there already are not added again; what is added is on disk when
    this returns.

    Args:
        route: the route; its work folder must be held for writing.
        file: see `curation.labels`.
        form: how to read another tool's file.
        dry_run: check the file, add nothing.

    Returns: answers in the file, imported now, and known before.

    Raises:
        InputError: a row is invalid; nothing was imported.
    """
    names = named(route)
    events = labels.read(file, config=route.config, resolve_photo=names.get, form=form)
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


def agreement(route: Route) -> dict[str, Any]:
    """How far annotators agree and how good each is, see `curation.agreement.summary`.

    `to_adjudicate` is how many photos wait for an adjudicator.

    Raises:
        InputError: the file of gold questions is not valid.
    """
    from curation.labelling import adjudication, gold

    if route.fingerprint("photos") is None:
        return {**measured.summary([], classes={}), "to_adjudicate": 0}
    photos = route.table("photos").select(["photo_id", "class"]).to_pylist()
    found = measured.summary(
        route.whole("label_events").to_pylist(),
        classes={row["photo_id"]: row["class"] for row in photos},
        exclude=route.config.resolve.exclude,
        adjudicators=route.config.resolve.adjudicators,
        gold=gold.read(route),
    )
    return {**found, "to_adjudicate": len(adjudication.queue(route))}


MEANING = (
    "Krippendorff's alpha and Cohen's kappa: 1 is perfect agreement, 0 what chance "
    "gives.\nIntervals are 95 %. same: how often two answers to a photo are equal, "
    "chance included."
)
SHOWN = 30
"""Lines a list shows; --json has the rest."""


def agreement_text(found: Mapping[str, Any]) -> str:
    """Agreement for a person, at most 100 columns wide."""
    left_out = found.get("excluded", [])
    without = fill(f"left out (resolve.exclude): {', '.join(left_out)}", 100)
    if not found["questions"]:
        nothing = "no answers yet: `counterset labels import FILE`, or `labels pull`"
        return "\n".join([nothing, without] if left_out else [nothing])
    classes = [row for row in found["classes"] if row["question"] == "background"]
    large = [row for row in classes if row["n_photos"] >= measured.FEWEST]
    waiting = found.get("to_adjudicate", 0)
    parts = [
        MEANING,
        _questions(found["questions"]),
        _alphas("class (background)", "class", large)
        + _unlisted(len(classes) - len(large)),
        _alphas("this background, or another", "background", found["backgrounds"]),
        _pairs(found["pairs"]),
        _annotators(found["annotators"]),
        _proposals(found["annotators"]),
        f"{waiting} {'photo waits' if waiting == 1 else 'photos wait'} for an "
        "adjudicator: `counterset labels push --adjudicate`"
        if waiting
        else "",
        without if left_out else "",
    ]
    return "\n\n".join(part for part in parts if part)


def _questions(rows: Sequence[Row]) -> str:
    """Alpha per question, and once more without cannot_tell."""
    return _table(
        ["question", "alpha", "same", "photos", "annotators", "without cannot_tell"],
        [
            [
                row["question"],
                _figure(row["alpha"], row["ci"]),
                _share(row["same"], row["same_ci"]),
                f"{row['n_photos']:,}",
                str(row["n_annotators"]),
                _figure(row["decided"]["alpha"], row["decided"]["ci"]),
            ]
            for row in rows
        ],
    )


def _alphas(title: str, key: str, rows: Sequence[Row]) -> str:
    return _table(
        [title, "alpha", "same", "photos"],
        [
            [
                row[key],
                _figure(row["alpha"], row["ci"]),
                _share(row["same"], row["same_ci"]),
                f"{row['n_photos']:,}",
            ]
            for row in rows
        ],
    )


def _unlisted(small: int) -> str:
    if not small:
        return ""
    return (
        f"\n{small} {'class' if small == 1 else 'classes'} with fewer than "
        f"{measured.FEWEST} photos answered twice: --json"
    )


def _pairs(rows: Sequence[Row]) -> str:
    return _table(
        ["annotators", "and", "question", "kappa", "photos"],
        [
            [row["a"], row["b"], row["question"], _figure(row["kappa"], row["ci"]),
             f"{row['n']:,}"]
            for row in rows
        ],
    )  # fmt: skip


def _annotators(rows: Sequence[Row]) -> str:
    """How good each annotator's answers are."""
    shares = {
        "agreement": "as most others",
        "gold": "gold right",
        "cannot_tell": "cannot tell",
        "skipped": "skipped",
    }
    if not any(row["gold_n"] for row in rows):
        del shares["gold"]
    edited = any(row["edited"] for row in rows)
    settling = [row["annotator"] for row in rows if row["adjudicator"]]
    notes = []
    if edited:
        notes.append("edited: photos on which somebody else changed the answer")
    if settling:
        notes.append(fill(f"settles what others dispute: {', '.join(settling)}", 100))
    return _table(
        ["annotator", "answers", *shares.values(), *(["edited"] if edited else [])],
        [
            [row["annotator"], f"{row['n_answers']:,}"]
            + [_share(row[name], row[f"{name}_ci"]) for name in shares]
            + ([f"{row['edited']:,}"] if edited else [])
            for row in rows
        ],
        note="\n".join(notes),
    )


def _proposals(rows: Sequence[Row]) -> str:
    """How each annotator treats proposals, and how fast."""
    shown = any(row["accepted_n"] for row in rows)
    columns: dict[str, Callable[[Row], str]] = {"annotator": lambda r: r["annotator"]}
    if shown:
        columns |= {
            "accepted": lambda r: _share(r["accepted"], r["accepted_ci"]),
            "if wrong": lambda r: _share(r["wrong_accepted"], r["wrong_accepted_ci"]),
        }
    if any(row["fast_n"] for row in rows):
        if shown:
            columns["confirmed, s"] = lambda r: _seconds(
                r["confirmed_s"], r["confirmed_s_ci"]
            )
        columns |= {
            "chosen, s": lambda r: _seconds(r["chosen_s"], r["chosen_s_ci"]),
            f"under {FAST_S:g} s": lambda r: _share(r["fast"], r["fast_ci"]),
        }
    if len(columns) == 1:
        return ""
    swayed = (
        "accepted: proposals left as they were; if wrong: of those that gold, an "
        "adjudicator or\nmost others contradict"
    )
    return _table(
        list(columns),
        [[cell(row) for cell in columns.values()] for row in rows],
        note=f"{swayed}; confirmed, chosen: median seconds"
        if shown
        else "chosen: median seconds; no proposals were shown",
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], note: str = "") -> str:
    """Columns as wide as what is in them; the first to the left, numbers right."""
    if not rows:
        return ""
    words = {0, *(head.index(name) for name in ("and", "question") if name in head)}
    cut = [
        [_cut(cell) if place in words else cell for place, cell in enumerate(row)]
        for row in rows[:SHOWN]
    ]
    widths = [max(map(len, column)) for column in zip(head, *cut, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if place in words
            else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *cut)
    ]  # fmt: skip
    if len(rows) > SHOWN:
        lines.append(f"… and {len(rows) - SHOWN} more: --json")
    return "\n".join([*lines, note] if note else lines)


def _cut(text: str, most: int = 20) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _figure(value: float | None, ends: Sequence[float] | None) -> str:
    if value is None:
        return "-"
    # + 0.0: no minus before a zero
    value, *ends = (round(number, 2) + 0.0 for number in (value, *(ends or ())))
    return f"{value:.2f}" + (f" ({ends[0]:.2f} to {ends[1]:.2f})" if ends else "")


def _share(value: float | None, ends: Sequence[float] | None = None) -> str:
    if value is None:
        return "-"
    return f"{100 * value:.0f} %" + (
        f" ({100 * ends[0]:.0f}-{100 * ends[1]:.0f})" if ends else ""
    )


def _seconds(value: float | None, ends: Sequence[float] | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" + (f" ({ends[0]:.1f}-{ends[1]:.1f})" if ends else "")
