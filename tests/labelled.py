"""A small campaign on the real server, and the pulls of its work folder."""

import hashlib
import json
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from curation import config, labelling
from curation.labelling import interface, pull
from curation.labelstudio import LabelStudio, Project, host
from curation.pipeline import Route
from curation.shelf import Shelf
from curation.stages import resolve
from tests.labelstudio import Person, Studio

CONFIG = """\
[dataset]
name = "small-room"
[[classes]]
name = "bear"
[[backgrounds]]
name = "snow"
prompts = ["a photo of a {} on snow"]
[[backgrounds]]
name = "grass"
prompts = ["a photo of a {} on grass"]
[[sources]]
kind = "folder"
path = "."
"""


def photo(place: int) -> str:
    """A photo_id."""
    return hashlib.sha256(f"photo {place}".encode()).hexdigest()


def said(background: str, *defects: str, note: str = "", **more: Any) -> dict[str, Any]:
    """An annotation that says something."""
    chosen = {"background": [background] if background else [], "quality": defects}
    result = [
        {"from_name": name, "to_name": "image", "type": "choices"}
        | {"value": {"choices": list(choices)}}
        for name, choices in chosen.items()
        if choices
    ]
    if note:
        result.append(
            {"from_name": "note", "to_name": "image", "type": "textarea"}
            | {"value": {"text": [note]}}
        )
    return {"result": result, "lead_time": 4.5, **more}


@dataclass
class Room:
    """A folder with dataset.toml and work folder, and campaigns on a server."""

    folder: Path
    studio: Studio
    projects: dict[str, Project] = field(default_factory=dict)
    tasks: dict[tuple[str, str], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "dataset.toml").write_text(CONFIG)

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @cached_property
    def door(self) -> LabelStudio:
        return LabelStudio(self.studio.url, self.studio.token)

    def close(self) -> None:
        """Delete the projects and hang up."""
        for project in self.projects.values():
            self.studio.ask("DELETE", f"/api/projects/{project.id}")
        self.door.close()

    @property
    def settings(self) -> config.Dataset:
        return config.load(self.folder / "dataset.toml")

    def log(self, name: str) -> list[dict[str, Any]]:
        return Shelf(self.work).read_log(name)

    def campaign(
        self, letter: str, photos: list[str], *, kind: labelling.Kind = "labels"
    ) -> None:
        """A project whose tasks ask about photos, written down as a push does."""
        name, door, hidden = letter * 32, self.door, kind == "adjudication"
        xml = interface.xml(self.settings, blind=hidden, kind=kind)
        project = door.create_project(
            title=f"room {letter}",
            description=f"x {labelling.mark('small-room', kind, name)}",
            interface=xml,
            instructions="",
            answers=2,
            show_proposals=not hidden,
        )
        self.projects[letter] = project
        data = [
            {
                "image": "/static/images/favicon.ico",
                interface.KEY: key,
                "class_name": "bear",
                "attribution": "nobody",
                **({interface.SAID: "snow 1, grass 1"} if hidden else
                   {interface.PROPOSED: "snow", interface.SCORE: "0.90"}),
            }
            for key in photos
        ]  # fmt: skip
        numbers = door.import_tasks(project.id, [{"data": one} for one in data])
        at = "2026-03-01T09:00:00+00:00"
        with Shelf(self.work).lock() as shelf:
            shelf.append(
                "label_projects",
                [
                    {
                        "campaign": name, "kind": kind, "server": host(self.studio.url),
                        "project": project.id, "title": project.title,
                        "interface": xml, "instructions": "", "blind": hidden, "at": at,
                    }
                ],
            )  # fmt: skip
            shelf.append(
                "label_tasks",
                [
                    {
                        "campaign": name, "task": task, "photo_id": key,
                        "use": "adjudication" if hidden else "question",
                        "proposal": None if hidden else "snow",
                        "image": "/static/images/favicon.ico", "at": at,
                    }
                    for task, key in zip(numbers, photos, strict=True)
                ],
            )  # fmt: skip
        for task, key in zip(numbers, photos, strict=True):
            self.tasks[letter, key] = task

    def answer(
        self, person: Person, place: int, what: dict[str, Any], *, letter: str = "a"
    ) -> int:
        """Someone submits an annotation of a photo; its number."""
        task = self.tasks[letter, photo(place)]
        path = f"/api/tasks/{task}/annotations/"
        made = self.studio.ask("POST", path, person.token, json=what)
        assert made.status_code == 201, made.text
        return int(made.json()["id"])

    def change(self, person: Person, number: int, **what: Any) -> None:
        path = f"/api/annotations/{number}/"
        done = self.studio.ask("PATCH", path, person.token, json=what)
        assert done.status_code == 200, done.text

    def delete(self, number: int) -> None:
        path = f"/api/annotations/{number}/"
        assert self.studio.ask("DELETE", path).status_code == 204

    def pull(self) -> dict[str, Any]:
        """What `counterset labels pull` does, in this process."""
        with Shelf(self.work).lock() as shelf:
            found = pull.pull(Route(shelf, self.settings), self.door)
        json.dumps(found)
        return found

    @property
    def command(self) -> list[str]:
        """`counterset labels pull`, to be run by itself."""
        return [
            sys.executable, "-m", "curation.cli", "labels", "pull", "--json", "--quiet",
            "--work", str(self.work), "-c", str(self.folder / "dataset.toml"),
        ]  # fmt: skip

    def standing(self, question: str = "background") -> dict[tuple[int, str], str]:
        """Answers that stand, by place of the photo and pseudonym."""
        places = {photo(place): place for place in range(1000)}
        return {
            (places[event["photo_id"]], event["annotator"]): event["answer"]
            for event in resolve.latest(self.log("label_events"))
            if event["question"] == question
        }

    def exported(self, letter: str = "a") -> dict[int, dict[str, Any]]:
        """Every annotation of a project as the server gives it, asked plainly."""
        path = f"/api/projects/{self.projects[letter].id}/export?exportType=JSON"
        return {
            annotation["id"]: annotation
            for task in self.studio.ask("GET", path).json()
            for annotation in task["annotations"]
        }
