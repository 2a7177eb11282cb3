"""collect: source pages → candidates. Names what there is, opens no picture."""

from collections import Counter
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation.config import Dataset
from curation.pipeline import Route
from curation.schemas import from_rows
from curation.sources import Candidate, Target, source
from curation.takedowns import Takedowns

VERSION = 1
OUTPUT = "candidates"
INPUTS: tuple[str, ...] = ()


def settings(config: Dataset) -> dict[str, Any]:
    """Sources and class names."""
    return {
        "sources": [spec.model_dump(mode="json") for spec in config.sources],
        "classes": [spec.name for spec in config.classes],
    }


def intact(route: Route) -> bool:
    """A source may have changed at any time: it is always asked again."""
    return False


def run(route: Route) -> int:
    """Ask every source; returns how many records are new."""
    rows: dict[str, dict[str, Any]] = {}
    seen: Counter[str] = Counter()
    taken = Takedowns(route.shelf)
    targets = [
        Target(spec.name, spec.label or spec.name) for spec in route.config.classes
    ]
    for place, spec in enumerate(route.config.sources):
        pages = source(spec.kind).pages(
            spec, targets, settings=route.config.collect, cursor=None, door=None
        )
        for candidate in (one for page in pages for one in page.candidates):
            if taken.record(candidate.source, candidate.key):
                continue
            seen[candidate.class_] += 1
            if route.limit and seen[candidate.class_] > route.limit:
                continue
            row = _row(candidate, len(rows)) | {"place": place}
            rows.setdefault(candidate.candidate_id, row)
    table = from_rows(list(rows.values()), OUTPUT)
    before = route.table(OUTPUT) if route.done("collect") else table.slice(0, 0)
    known = before.column("candidate_id")
    new = pc.invert(pc.is_in(table.column("candidate_id"), value_set=known))
    if not table.equals(before) or not route.done("collect"):
        failed = pa.compute.count(table.column("refused")).as_py()
        route.finish("collect", table, failed)
    return int(pc.sum(new).as_py() or 0)


def _row(candidate: Candidate, order: int) -> dict[str, Any]:
    row = asdict(candidate)
    row["class"] = row.pop("class_")
    return {**row, "candidate_id": candidate.candidate_id, "order": order}
