"""`counterset demo`: the whole route on the bundled pictures, offline.

Builds a source folder as a user could have one, runs the route up to the questions for
people, imports the simulated annotators' answers, and runs the rest. Everything after
the building is what `counterset run` and `counterset labels import` do.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from curation import answers
from curation.config import load
from curation.demo.build import build
from curation.pipeline import Outcome, Route, summary
from curation.shelf import Shelf

SOURCE = "source"


def run(work: Path, *, jobs: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Run the demo in a work folder; unchanged, it only looks that nothing changed.

    Args:
        work: work folder; the composed source folder goes into it too.
        jobs: processes; 0 means one per core.
        say: called with a line of progress.

    Returns: what `counterset run --json` gives; paths are relative to `work`.
    """
    with Shelf(work).lock() as shelf:
        source = work / SOURCE
        if not (source / "truth.json").exists():
            say("demo: composing photos from the bundled pictures")
            build(source)
        config = load(source / "dataset.toml")
        shelf.keep_config(config.model_dump(mode="json"))
        route = Route(shelf, config, jobs=jobs, say=say)
        before = route.run("tasks")
        taken = answers.take_in(route, source / "labels.csv")
        if taken["imported"]:
            say(f"labels: {taken['imported']} answers of simulated annotators imported")
        result = summary(route, _together(before, route.run()))
    return {**result, "work": str(work)}


def _together(before: list[Outcome], after: list[Outcome]) -> list[Outcome]:
    """One outcome per step: steps that ran before and after people answered add up."""
    first = {outcome.stage: outcome for outcome in before}
    return [
        replace(
            outcome,
            computed=outcome.computed + first[outcome.stage].computed,
            seconds=round(outcome.seconds + first[outcome.stage].seconds, 3),
        )
        if outcome.stage in first
        else outcome
        for outcome in after
    ]
