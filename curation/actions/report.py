"""report: everything → report/index.html, one page for people."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from curation.actions import evaluate
from curation.config import Dataset
from curation.errors import InputError
from curation.pipeline import Route
from curation.provenance import provenance

VERSION = 3
OUTPUT: str | None = None
TABLES = (
    "candidates", "photos", "hashes", "duplicates", "leaks", "flags", "proposals",
    "tasks", "label_events", "labels", "predictions", "evidence", "groups",
)  # fmt: skip
INPUTS = (*TABLES, "fetches", "results")


def settings(config: Dataset) -> dict[str, Any]:
    """The whole configuration, for the page states it, and what the page checks by."""
    return {
        "config": config.model_dump(mode="json", exclude={"http"}),
        "truth": _truth(config),
        "gold": _digest(config.labels.gold),
    }


def intact(route: Route) -> bool:
    """Whether the page is there."""
    return (route.shelf.folder / "report" / "index.html").exists()


def run(route: Route) -> int:
    """Write the report; returns 1, for the page."""
    from curation import reports
    from curation.labelling import gold

    folder = route.shelf.folder / "report"
    shutil.rmtree(folder, ignore_errors=True)
    tables = {name: route.whole(name) for name in TABLES}
    # with what failed: the page lists it
    tables |= {name: route.table(name) for name in ("photos", "hashes", "fetches")}
    page = reports.build(
        folder,
        config=route.config,
        tables=tables,
        results=evaluate.results(route),
        read=route.shelf.read_photo,
        truth=_truth(route.config),
        provenance=provenance(route),
        gold=gold.read(route),
    )
    route.mark("report", 1, hashlib.sha256(page.read_bytes()).hexdigest()[:32])
    return 1


def _digest(path: Path | None) -> str:
    """A file's content in short; reading it tells what is wrong with it."""
    there = path is not None and path.is_file()
    return hashlib.sha256(path.read_bytes()).hexdigest() if path and there else ""


def _truth(config: Dataset) -> dict[str, Any] | None:
    """What a demonstration planted."""
    path = config.report.truth
    if path is None:
        return None
    try:
        truth: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"report.truth: {path} cannot be read ({error})"
        raise InputError(message) from error
    return truth
