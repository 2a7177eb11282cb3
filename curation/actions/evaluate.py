"""evaluate: groups and predictions → results, the benchmark of every model."""

import hashlib
import json
from pathlib import Path
from typing import Any

import polars as pl

from curation.actions import predict
from curation.config import Dataset
from curation.pipeline import Route

VERSION = 1
OUTPUT: str | None = None
INPUTS = ("predictions", "groups")


def settings(config: Dataset) -> dict[str, Any]:
    """Which models, asked what."""
    return predict.settings(config)


def intact(route: Route) -> bool:
    """Whether the results are there."""
    return _place(route).exists()


def results(route: Route) -> list[dict[str, Any]]:
    """Results of the last evaluation, one per model."""
    content: list[dict[str, Any]] = json.loads(_place(route).read_text())
    return content


def run(route: Route) -> int:
    """Score every model on the common and counter groups; returns the models scored."""
    from evaluation.score import score

    groups = pl.DataFrame(route.whole("groups")).filter(
        pl.col("group").is_in(["common", "counter"])
    )
    found: list[dict[str, Any]] = []
    if groups.get_column("group").n_unique() == 2:
        photos = groups.select(
            "photo_id", "background", "group", "cluster", class_name="class"
        ).sort("photo_id")
        asked = predict.examples(route, photos)
        found = json.loads(score(asked, predict.ask(route, asked)).to_json())["results"]
    text = json.dumps(found, indent=1, sort_keys=True)
    route.shelf.put(_place(route), text.encode())
    route.mark("evaluate", len(found), hashlib.sha256(text.encode()).hexdigest()[:32])
    return len(found)


def _place(route: Route) -> Path:
    return (
        route.shelf.table_folder("evaluate", route.recipe("evaluate")) / "results.json"
    )
