"""Answers come back from a real server: complete, once, and by whom they are."""

import json
import os
import re
import sqlite3
import subprocess
import threading
from collections import Counter
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta

import pytest
import requests

from curation.errors import ConfigError, InputError, LabelStudioError
from curation.labelling import people, pull, watch
from curation.labelstudio import LabelStudio, host
from curation.pipeline import Route
from curation.schemas import QUESTIONS, from_rows
from curation.shelf import Shelf
from curation.stages import resolve
from tests.labelled import Room, photo, said
from tests.standins.between import Between

PHOTOS = [photo(place) for place in range(6)]
DATA = {
    "image": "x.jpg", "class_name": "bear", "attribution": "nobody",
    "proposed_background": "grass", "proposed_score": "0.5",
}  # fmt: skip
LOGS = ("annotations", "label_events", "label_projects", "label_tasks", "pulls")


@pytest.fixture(scope="module")
def team(label_studio_server):
    return [label_studio_server.annotator(f"pull-{name}") for name in ("ann", "bob")]


@pytest.fixture
def room(tmp_path, label_studio):
    room = Room(tmp_path, label_studio)
    room.campaign("a", PHOTOS)
    yield room
    room.close()


def _names(room, team):
    known = people.Pseudonyms(Shelf(room.work), room.door)
    return [known.name(person.id, "a" * 32) for person in team]


def _fits_the_tables(room):
    for name in LOGS:
        from_rows(room.log(name), name)


def test_answers_of_two_become_labels(room, team):
    ann, bob = team
    for place in range(3):
        room.answer(ann, place, said("snow", note="a toy"))
        room.answer(bob, place, said("snow" if place else "grass", "clarity"))
    room.answer(ann, 3, said("cannot_tell"))

    found = room.pull()

    assert found == {
        "campaigns": 1, "tasks": 4, "annotations": 7, "events": 7 * len(QUESTIONS),
        "skipped": 0, "edited": 0, "deleted": 0, "withdrawn": 0, "tasks_deleted": 0,
        "faults": [], "notices": [],
    }  # fmt: skip
    _fits_the_tables(room)
    one, two = _names(room, team)
    assert room.standing() == {
        (0, one): "snow", (0, two): "grass", (1, one): "snow", (1, two): "snow",
        (2, one): "snow", (2, two): "snow", (3, one): "cannot_tell",
    }  # fmt: skip
    assert set(room.standing("clarity").values()) == {"yes", "no"}
    table = resolve.run(
        {"label_events": from_rows(room.log("label_events"), "label_events")},
        resolve.settings(room.settings),
    )
    status = {
        (row["photo_id"], row["status"], row["verdict"])
        for row in table.to_pylist()
        if row["question"] == "background"
    }
    assert status == {
        (photo(0), "tie", None), (photo(1), "resolved", "snow"),
        (photo(2), "resolved", "snow"), (photo(3), "resolved", "cannot_tell"),
    }  # fmt: skip
    backgrounds = [e for e in room.log("label_events") if e["question"] == "background"]
    assert Counter(e["origin"] for e in backgrounds) == {"confirmed": 5, "chosen": 2}
    assert {e["proposal"] for e in backgrounds} == {"snow"}
    assert {e["lead_time_s"] for e in backgrounds} == {4.5}
    assert {e["note"] for e in backgrounds} == {"a toy", None}


def test_each_annotation_is_in_the_log_as_the_server_has_it(room, team):
    for person in team:
        room.answer(person, 0, said("snow", note="ä „note“ ☃"))
    room.pull()

    kept = {
        row["annotation"]: json.loads(row["raw"]) for row in room.log("annotations")
    }

    assert kept == room.exported()


def test_pulled_again_nothing_is_added(room, team):
    room.answer(team[0], 0, said("snow"))
    room.pull()
    before = {name: room.log(name) for name in LOGS}

    found = room.pull()

    assert found["annotations"] == found["events"] == found["tasks"] == 0
    assert {name: room.log(name) for name in LOGS} == before


def test_what_becomes_visible_late_is_seen_a_minute_later(
    room, team, label_studio, monkeypatch
):
    """A change that bears an earlier moment than others which were seen already."""
    for place in (0, 1, 2):
        room.answer(team[0], place, said("snow"))
    room.pull()
    number = room.answer(team[1], 1, said("grass"))
    data = label_studio.documents.parent / "data" / "label_studio.sqlite3"
    with closing(sqlite3.connect(data, timeout=30)) as base, base:
        moment = datetime.fromisoformat(room.log("pulls")[-1]["cursor"])
        late = (moment - timedelta(milliseconds=3)).strftime("%Y-%m-%d %H:%M:%S.%f")
        task = room.tasks["a", photo(1)]
        base.execute("UPDATE task SET updated_at = ? WHERE id = ?", [late, task])
    room.pull()

    def later(minutes):
        now = datetime.now(UTC) + timedelta(minutes=minutes)
        monkeypatch.setattr(pull, "_now", lambda: now.isoformat())
        return room.pull()

    later(2)
    assert room.log("annotations")[-1]["annotation"] == number
    settled = room.log("pulls")
    assert later(3)["tasks"] == 0
    assert room.log("pulls") == settled
    room.answer(team[1], 2, said("grass"))
    assert later(4)["tasks"] == 1
    assert len(room.log("annotations")) == 5
    assert len(room.log("pulls")[-1]["recent"]) == len(PHOTOS)


def test_what_annotators_do_afterwards(room, team):
    ann, bob = team
    numbers = [room.answer(ann, place, said("snow")) for place in range(6)]
    room.answer(bob, 5, said("snow"))
    room.pull()
    one, two = _names(room, team)

    room.answer(ann, 0, said("snow", was_cancelled=True))  # skips after all
    room.change(ann, numbers[1], result=said("grass")["result"])
    room.change(bob, numbers[2], result=said("grass")["result"])
    room.delete(numbers[3])
    room.change(bob, numbers[4], ground_truth=True)
    room.answer(ann, 5, said("grass"))  # answers once more
    found = room.pull()

    assert room.standing() == {
        (1, one): "grass", (2, one): "snow", (2, two): "grass", (4, one): "snow",
        (5, one): "grass", (5, two): "snow",
    }  # fmt: skip
    told = {k: found[k] for k in ("skipped", "edited", "deleted", "annotations")}
    assert told == {"skipped": 1, "edited": 1, "deleted": 1, "annotations": 6}
    edits = [e for e in room.log("label_events") if e["edits"]]
    assert {(e["annotator"], e["edits"]) for e in edits} == {(two, one)}
    assert room.pull()["events"] == 0

    number = room.answer(ann, 3, said("grass"))
    room.pull()
    assert room.standing()[3, one] == "grass"
    assert room.log("annotations")[-1]["annotation"] == number


def test_bad_annotations_are_listed_and_kept(room, team, label_studio):
    ann = team[0]
    lava = room.answer(ann, 0, said("lava"))
    empty = room.answer(ann, 1, said(""))
    room.answer(ann, 2, said("snow"))
    (strange,) = room.door.import_tasks(
        room.projects["a"].id, [{"data": DATA | {"key": "nobody's"}}]
    )
    room.tasks["a", photo(99)] = strange
    lost = room.answer(ann, 99, said("snow"))

    found = room.pull()

    number, task = room.projects["a"].id, room.tasks["a", photo(0)]
    page = f"{label_studio.url}/projects/{number}/data?task={task}"
    assert found["faults"][0]["url"] == page
    faults = {row["annotation"]: row["fault"] for row in found["faults"]}
    assert "unknown choice 'lava'" in faults.pop(lava)
    assert "no background" in faults.pop(empty)
    assert "unknown photo" in faults[lost]
    assert '"nobody\'s"' in faults.pop(lost)
    assert faults == {}
    assert found["events"] == len(QUESTIONS)
    assert {r["annotation"] for r in room.log("annotations")} == set(room.exported())
    _fits_the_tables(room)
    again = room.pull()
    assert (again["faults"], again["annotations"]) == (found["faults"], 0)

    text = (room.folder / "dataset.toml").read_text()
    lava_too = text.replace(
        "[[sources]]", '[[backgrounds]]\nname = "lava"\nprompts = ["x"]\n[[sources]]'
    )
    (room.folder / "dataset.toml").write_text(lava_too)
    found = room.pull()
    assert (found["events"], len(found["faults"])) == (len(QUESTIONS), 2)
    assert "lava" in room.standing().values()


def test_a_known_photo_imported_by_hand_is_taken_in(room, team):
    (task,) = room.door.import_tasks(
        room.projects["a"].id,
        [{"data": DATA | {"key": photo(0)}}],
    )
    room.tasks["a", photo(7)] = task
    room.answer(team[0], 7, said("grass"))

    found = room.pull()

    assert (found["faults"], found["events"]) == ([], len(QUESTIONS))
    assert room.standing() == {(0, _names(room, team)[0]): "grass"}
    adopted = room.log("label_tasks")[-1]
    assert (adopted["task"], adopted["proposal"]) == (task, "grass")


def test_a_key_that_ends_midway_loses_nothing(room, team, label_studio, monkeypatch):
    monkeypatch.setattr("curation.labelstudio.reading.BATCH", 2)
    for place in range(6):
        room.answer(team[0], place, said("snow"))
    exports = []

    def spoil(method, path):
        if path.endswith("/export"):
            exports.append(path)
        return (401, b'{"detail": "Invalid token."}') if len(exports) > 1 else None

    with Between(label_studio.url, spoil) as between, Shelf(room.work).lock() as shelf:
        door = LabelStudio(between.url, label_studio.token, patience=0)
        with pytest.raises(ConfigError, match="LABEL_STUDIO_API_KEY is unknown to"):
            pull.pull(Route(shelf, room.settings), door)
    assert len(room.log("annotations")) == 2
    assert room.log("label_events") == room.log("pulls") == []
    found = room.pull()
    assert (found["annotations"], found["events"]) == (4, 6 * len(QUESTIONS))
    assert len(room.log("annotations")) == 6


def test_a_configuration_changed_by_hand_is_told(room, team, label_studio):
    project = room.projects["a"]
    room.answer(team[0], 0, said("snow"))
    changed = project.interface.replace('value="grass"', 'value="meadow"')
    label_studio.ask(
        "PATCH", f"/api/projects/{project.id}", json={"label_config": changed}
    )

    found = room.pull()

    text = "\n".join(found["notices"])
    assert "changed on the server" in text
    assert "'grass' is missing" in text
    assert "'meadow' was added" in text
    assert found["events"] == len(QUESTIONS)


def test_deleted_tasks_and_projects_take_no_answers_along(room, team, label_studio):
    for place in range(3):
        room.answer(team[0], place, said("snow"))
    room.pull()
    before = room.standing()
    task, unanswered = room.tasks["a", photo(0)], room.tasks["a", photo(5)]
    for number in (task, unanswered):
        label_studio.ask("DELETE", f"/api/tasks/{number}/")

    found = room.pull()

    assert (found["tasks_deleted"], found["events"]) == (2, 0)
    assert any("2 tasks were deleted" in line for line in found["notices"])
    assert room.standing() == before
    assert room.pull()["tasks_deleted"] == 0
    _fits_the_tables(room)

    room.campaign("b", PHOTOS, kind="adjudication")
    label_studio.ask("DELETE", f"/api/projects/{room.projects['a'].id}")
    found = room.pull()
    assert any("not on" in line and "stay" in line for line in found["notices"])
    assert room.standing() == before

    label_studio.ask("DELETE", f"/api/projects/{room.projects['b'].id}")
    with pytest.raises(LabelStudioError, match="push --new"):
        room.pull()
    assert room.standing() == before


def test_all_annotations_of_a_task_deleted_at_once(room, team, label_studio):
    for person in team:
        room.answer(person, 0, said("snow"))
    room.pull()
    task, project = room.tasks["a", photo(0)], room.projects["a"].id
    done = label_studio.ask(
        "POST",
        f"/api/dm/actions?id=delete_tasks_annotations&project={project}",
        json={"selectedItems": {"all": False, "included": [task]}, "project": project},
    )
    assert done.status_code == 200, done.text

    found = room.pull()

    assert (found["deleted"], room.standing()) == (2, {})


def test_an_adjudicator_settles(room, team):
    ann, bob = team
    room.answer(ann, 0, said("snow"))
    room.answer(bob, 0, said("grass"))
    room.campaign("b", PHOTOS[:1], kind="adjudication")
    room.answer(ann, 0, said("grass"), letter="b")

    found = room.pull()

    assert found["campaigns"] == 2
    table = from_rows(room.log("label_events"), "label_events")
    labels = resolve.run({"label_events": table}, resolve.settings(room.settings))
    assert {
        (row["verdict"], row["status"])
        for row in labels.to_pylist()
        if row["question"] == "background"
    } == {("grass", "adjudicated")}
    with Shelf(room.work).lock() as shelf:
        numbers = pull.projects(Route(shelf, room.settings))
    assert numbers == sorted(project.id for project in room.projects.values())


def test_another_project_at_its_number_is_not_read(room, team, label_studio):
    room.answer(team[0], 0, said("snow"))
    path = f"/api/projects/{room.projects['a'].id}"
    label_studio.ask("PATCH", path, json={"description": "mine now"})

    with pytest.raises(LabelStudioError, match="is not the one that was pushed"):
        room.pull()
    assert room.log("annotations") == []

    mark = f"[counterset small-room labels {'a' * 32}]"
    label_studio.ask("PATCH", path, json={"description": f"mine now {mark}"})
    assert room.pull()["events"] == len(QUESTIONS)


def test_a_project_under_another_number_is_found_by_its_mark(room, team):
    room.answer(team[0], 0, said("snow"))
    row = room.log("label_projects")[-1]
    with Shelf(room.work).lock() as shelf:
        shelf.append("label_projects", [row | {"project": 999_999, "server": "old:1"}])

    assert room.pull()["events"] == len(QUESTIONS)
    found = room.log("label_projects")[-1]
    assert found["project"] == room.projects["a"].id
    assert found["server"] == host(room.studio.url)


def test_nothing_was_pushed(tmp_path, label_studio):
    with pytest.raises(InputError, match="labels push"):
        Room(tmp_path, label_studio).pull()


def test_no_address_is_in_the_work_folder(room, team):
    for person in team:
        room.answer(person, 0, said("snow"))
    room.pull()
    files = [path for path in room.work.rglob("*") if path.is_file()]

    assert files
    assert not [p for p in files if re.search(rb"@example|pull-ann", p.read_bytes())]


def test_who_is_who(room, team, label_studio):
    room.answer(team[0], 0, said("snow"))
    room.pull()
    with Shelf(room.work).lock() as shelf:
        rows = people.who(Route(shelf, room.settings), room.door)

    assert rows[0] == {
        "annotator": _names(room, team)[0], "email": team[0].email,
        "answers": len(QUESTIONS),
    }  # fmt: skip
    counts = {row["email"]: row["answers"] for row in rows}
    assert counts[team[1].email] == 0
    assert all(re.fullmatch(r"ls-[0-9a-f]{8}", row["annotator"]) for row in rows)


def test_a_changed_address_is_still_the_same_person(room, label_studio):
    eve = label_studio.annotator("pull-eve")
    room.answer(eve, 0, said("snow"))
    room.pull()
    data = label_studio.documents.parent / "data" / "label_studio.sqlite3"
    with closing(sqlite3.connect(data, timeout=30)) as base, base:
        base.execute(
            "UPDATE htx_user SET email = 'new-eve@example.org' WHERE id = ?", [eve.id]
        )
    assert "new-eve@example.org" in room.door.people().values()

    room.answer(eve, 0, said("grass"))
    room.pull()

    assert len(room.standing()) == 1
    with Shelf(room.work).lock() as shelf:
        rows = people.who(Route(shelf, room.settings), room.door)
    assert [r["email"] for r in rows if r["answers"]] == ["new-eve@example.org"]


def test_the_command(room, team, tmp_path):
    room.answer(team[0], 0, said("snow"))
    room.answer(team[0], 1, said("lava"))
    environment = os.environ | room.studio.environment

    done = subprocess.run(
        [word for word in room.command if word != "--json"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "events: 6\n" in done.stdout
    assert re.search(
        r"^faults: campaign a+  task \d+  annotation \d+", done.stdout, re.M
    )
    assert done.stderr == ""


# watching ---------------------------------------------------------------------------


class _Stop(Exception):
    pass


class _Server:
    """All that watching asks of a server."""

    def __init__(self, refuses=""):
        self.refuses, self.urls = refuses, []

    def nudge(self, project, url):
        self.urls.append(url)
        if self.refuses:
            raise LabelStudioError(self.refuses, url="x")


def _until_it_ends(told, once, *, studio=None, **more):
    asked = {"projects": [1], "listen": "", "every": 600.0} | more
    for result in watch.watch(once, studio or _Server(), **asked):
        told.append(result)


def test_watching_goes_on_through_failures_and_stops_at_others():
    busy = InputError("x")
    turns = [
        {"events": 0}, {"events": 0}, LabelStudioError("down", url="x"),
        LabelStudioError("down", url="x"), {"events": 2}, {"events": 0}, busy,
    ]  # fmt: skip

    def once():
        found = turns.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    told = []
    with pytest.raises(InputError):
        _until_it_ends(told, once, every=0.01)

    assert [one.get("events") for one in told] == [0, None, None, 2]
    assert [one.get("again_in_s") for one in told if "failed" in one] == [0.02, 0.04]
    assert turns == []


def test_a_busy_work_folder_is_tried_again(tmp_path):
    calls = []

    def once():
        calls.append(1)
        if len(calls) > 2:
            raise _Stop
        with Shelf(tmp_path).lock():
            return {"events": 1}

    told = []
    with Shelf(tmp_path).lock(), pytest.raises(_Stop):
        _until_it_ends(told, once, every=0.01)

    assert ["in use by another run" in one["failed"] for one in told] == [True, True]


def test_a_webhook_only_nudges(room, team):
    room.answer(team[0], 0, said("snow"))
    looks, server, results, ended = threading.Semaphore(0), _Server(), [], []

    def once():
        if len(results) > 1:
            raise _Stop
        found = room.pull()
        looks.release()
        return found

    def go():
        try:
            _until_it_ends(results, once, studio=server, listen="0")
        except _Stop:
            ended.append(True)

    thread = threading.Thread(target=go, daemon=True)
    thread.start()
    assert looks.acquire(timeout=60)
    (url,) = server.urls
    with requests.Session() as session:
        session.trust_env = False
        elsewhere = session.post(url.replace("/counterset", "/x"), timeout=10)
        assert elsewhere.status_code == 404
        room.answer(team[1], 0, said("grass"))
        posted = session.post(url, data=b'{"annotation": "lies"}', timeout=10)
        assert posted.status_code == 204
        assert looks.acquire(timeout=60)
        while not ended and thread.is_alive():
            with suppress(requests.ConnectionError):  # it may just have ended
                session.post(url, timeout=10)
            thread.join(0.1)
        with pytest.raises(requests.ConnectionError):
            session.post(url, timeout=10)

    assert ended == [True]
    assert [result["events"] for result in results] == [6, 6]


def test_without_webhooks_time_alone_decides():
    told, turns = [], [{"events": 1}, {"events": 2}]

    def once():
        if not turns:
            raise _Stop
        return turns.pop(0)

    with pytest.raises(_Stop):
        _until_it_ends(
            told, once, studio=_Server("reserved address"), listen="0", every=0.01
        )

    assert "reserved address" in told[0]["failed"]
    assert told[1:] == [{"events": 1}, {"events": 2}]


@pytest.mark.parametrize("listen", ["nowhere", "127.0.0.1:x", "127.0.0.1:8101/x"])
def test_an_address_that_is_none(listen):
    with pytest.raises(ConfigError, match="HOST:PORT"):
        _until_it_ends([], dict, listen=listen)
