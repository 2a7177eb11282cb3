"""Time of pushing photos to a Label Studio of this machine, and of pulling answers.

    python -m benchmarks.label_studio [--photos 5000]

starts a server of its own (`scripts/labelstudio.sh` installs it), empty, with SQLite.
Photos are small JPEGs made up for it. Wall is what a user waits, with the server on the
same cores; CPU is this process alone. Two annotators' answers to every photo come in
with the tasks, for one request each would take the server half an hour.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from curation.labelling import interface, pull, push
from curation.labelstudio import LabelStudio
from curation.pipeline import Route
from scripts import labelstudio
from tests.labelstudio import Person, Studio
from tests.planted import BACKGROUNDS, planted

CHANGED = 10


class Answered(LabelStudio):
    """A server on which every task that comes is answered by some people already."""

    writers: tuple[Person, ...] = ()

    def import_tasks(
        self, project: int, tasks: Sequence[Mapping[str, Any]]
    ) -> list[int]:
        """Add tasks with an annotation of each person."""
        answered = [
            dict(task) | {"annotations": [_said(n, p) for p in self.writers]}
            for n, task in enumerate(tasks)
        ]
        return super().import_tasks(project, answered)


def _said(number: int, person: Person) -> dict[str, Any]:
    """Most agree; every seventh photo has one defect."""
    background = BACKGROUNDS[(number + (number % 5 == 0) * person.id) % 3]
    return {
        "completed_by": person.id,
        "ground_truth": False,
        "lead_time": 3.5,
        "result": [
            _chosen(interface.BACKGROUND, background),
            *[_chosen(interface.DEFECTS, "clarity")] * (number % 7 == 0),
        ],
    }


def _chosen(control: str, choice: str) -> dict[str, Any]:
    return {
        "from_name": control,
        "to_name": interface.IMAGE,
        "type": "choices",
        "value": {"choices": [choice]},
    }


ASKED = "asked of 5,000 photos: 15 s, 5 s; 60 s, -, 3 s wall, in this order"


def measured(what: str, call: Callable[[], dict[str, Any]], *shown: str) -> None:
    """Call, and print how long it took and some of what it says."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    told = ", ".join(f"{name} {result[name]}" for name in shown if name in result)
    print(f"{what:<28}{wall:>7.2f} s wall {cpu:>6.2f} s CPU   {told}", flush=True)


def pushed(route: Route, studio: LabelStudio) -> dict[str, Any]:
    """Push everything."""
    return push.push(
        route,
        studio,
        kind="labels",
        blind=False,
        limit=0,
        new=False,
        dry_run=False,
    )


def change(server: Studio, project: int, people: Sequence[Person]) -> None:
    """Someone thinks better of a few photos."""
    tokens = {person.id: person.token for person in people}
    tasks = server.ask(
        "GET", f"/api/tasks?project={project}&page_size={CHANGED}&fields=all"
    ).json()["tasks"]
    for task in tasks:
        annotation = task["annotations"][0]
        answer = server.ask(
            "PATCH",
            f"/api/annotations/{annotation['id']}/",
            tokens[annotation["completed_by"]],
            json={"result": [_chosen(interface.BACKGROUND, "cannot_tell")]},
        )
        answer.raise_for_status()


def measure(folder: Path, server: Studio, count: int) -> None:
    """Push, push again, pull, pull again."""
    print(f"{count:,} photos; {ASKED}", flush=True)
    labels = {"documents": str(server.documents)}
    route = planted(folder / "asked", count, labels=labels)
    studio = LabelStudio(server.url, server.token)
    for what in ("push", "push again, unchanged"):
        measured(what, lambda: pushed(route, studio), "pushed", "known")
    route = planted(
        folder / "answered", count, labels=labels, dataset={"name": "answered"}
    )
    answering = Answered(server.url, server.token)
    answering.writers = server.annotator("ann"), server.annotator("bob")
    project = pushed(route, answering)["project"]
    shown = ("annotations", "events")
    measured("pull, 2 annotators", lambda: pull.pull(route, studio), *shown)
    measured("pull again, unchanged", lambda: pull.pull(route, studio), *shown)
    change(server, project, answering.writers)
    measured(f"pull again, {CHANGED} changed", lambda: pull.pull(route, studio), *shown)


def main() -> None:
    """Start a server, measure, stop it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=5000)
    count = parser.parse_args().photos
    home = labelstudio.install()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data, documents = folder / "data", folder / "documents"
        labelstudio.seeded(home, data)
        server = Studio(labelstudio.start(home, data, documents), folder)
        try:
            measure(folder, server, count)
        finally:
            server.server.stop()


if __name__ == "__main__":
    main()
