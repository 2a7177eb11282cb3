"""evaluate: groups and predictions → results, the benchmark of every model."""

import json
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
