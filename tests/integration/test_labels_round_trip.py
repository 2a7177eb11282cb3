"""The whole way round, by command: push, two annotators, pull, adjudicate, labels."""

import shutil

import pytest

from tests.labelled import said
from tests.world import World


@pytest.fixture
def asked(world, label_studio, monkeypatch) -> World:
    for name, value in label_studio.environment.items():
        monkeypatch.setenv(name, value)
    more = f'[labels]\ndocuments = "{label_studio.documents}"\n'
    world.config.write_text(world.config.read_text() + more)
    world.run("--until", "tasks")
    return world


def tasks(world: World, pushed: dict) -> dict[str, int]:
    """Task of each photo in a project."""
    return {
        row["photo_id"]: row["task"]
        for row in world.log("label_tasks")
        if row["campaign"] == pushed["campaign"]
    }


def test_photos_go_out_and_labels_come_back(asked, label_studio, tmp_path):
    anna, bert, carl = (label_studio.annotator(name) for name in ("a1", "b2", "c3"))

    def answer(person, task: int, what: dict) -> None:
        path = f"/api/tasks/{task}/annotations/"
        made = label_studio.ask("POST", path, person.token, json=what)
        assert made.status_code == 201, made.text

    other = World(asked.root, tmp_path / "elsewhere")
    shutil.copytree(asked.work, other.work)
    pushed = asked.json("labels", "push", "--quiet")
    assert pushed["pushed"] == 32
    photos = tasks(asked, pushed)
    disputed, skipped, *agreed = sorted(photos)
    for place, photo in enumerate(agreed):
        background = ("snow", "grass")[place % 2]
        answer(anna, photos[photo], said(background))
        answer(bert, photos[photo], said(background, *["clarity"] * (place == 0)))
    answer(anna, photos[disputed], said("snow"))
    answer(bert, photos[disputed], said("grass"))
    answer(anna, photos[skipped], said("grass"))
    answer(bert, photos[skipped], said("grass", was_cancelled=True))

    pulled = asked.json("labels", "pull", "--quiet")
    assert (pulled["annotations"], pulled["skipped"]) == (64, 1)
    assert pulled["events"] == 63 * 6 + 1
    again = asked.json("labels", "pull", "--quiet")
    assert (again["annotations"], again["events"]) == (0, 0)
    # who skipped leaves a question open: one more answer is wanted
    asked.run("--until", "tasks")
    assert asked.json("labels", "push", "--quiet")["pushed"] == 0

    found = asked.json("labels", "agreement")
    background = found["questions"][0]
    assert background["question"] == "background"
    assert background["n_photos"] == 31
    assert 0.8 < background["alpha"] < 1
    assert {row["annotator"] for row in found["annotators"]} == {
        row["annotator"] for row in asked.json("labels", "people")["people"]
        if row["answers"]
    }  # fmt: skip

    settled = asked.json("labels", "push", "--adjudicate", "--quiet")
    assert settled["pushed"] == 2  # the background of one, a defect of another
    answer(carl, tasks(asked, settled)[disputed], said("grass"))
    assert asked.json("labels", "pull", "--quiet")["annotations"] == 1
    asked.run("--until", "resolve")
    events = asked.log("label_events")
    shown = asked.json("show", disputed)
    label = next(row for row in shown["labels"] if row["question"] == "background")
    assert (label["verdict"], label["status"]) == ("grass", "adjudicated")

    # a file takes everything along, roles and skips included
    file = tmp_path / "answers.csv"
    asked.json("labels", "export", str(file))
    assert asked.json("labels", "import", str(file))["imported"] == 0
    assert other.log("label_events") == []
    assert other.json("labels", "import", str(file))["imported"] == len(events)
    other.run("--until", "resolve")
    assert (
        other.json("show", disputed)["labels"] == asked.json("show", disputed)["labels"]
    )
