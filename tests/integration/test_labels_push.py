"""Pushing to a real Label Studio: each photo once, whatever happens in between."""

import csv
import hashlib
import json
from pathlib import Path

import pytest

from curation import labelling
from curation.errors import ConfigError, InputError, LabelStudioError
from curation.labelling import EVERYBODY, interface, push, tasks
from curation.labelstudio import LabelStudio
from curation.shelf import Shelf
from curation.takedowns import forget
from tests.planted import BACKGROUNDS, ask, planted

ODD = (
    'snow "fresh"', "ice & water", "Schneematsch für Öland", "<b>rock", "it's",
    *(f"place {number}" for number in range(10)),
)  # fmt: skip


@pytest.fixture
def studio(label_studio):
    return LabelStudio(label_studio.url, label_studio.token)


@pytest.fixture
def plant(tmp_path, label_studio, request):
    """A route with photos, of a dataset that no other test has."""
    name = hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]

    def make(count=12, *, work="work", labels=None, **more):
        return planted(
            tmp_path / work,
            count,
            dataset={"name": name, "title": "Planted photos"},
            labels={"documents": str(label_studio.documents)} | (labels or {}),
            **more,
        )

    return make


@pytest.fixture
def send(studio):
    """Push with nothing special asked for."""

    def push_(route, **more):
        asked = {
            "kind": "labels", "blind": False, "limit": 0, "new": False,
            "dry_run": False,
        }  # fmt: skip
        return push.push(route, studio, **(asked | more))

    return push_


@pytest.fixture
def on_server(label_studio, studio):
    """Whole tasks of a project, predictions and overlap included."""

    def read(number):
        return [
            label_studio.ask("GET", f"/api/tasks/{task}").json()
            for task, _ in studio.keys(number)
        ]

    return read


def log(route, name="label_tasks"):
    return route.shelf.read_log(name)


def test_each_photo_is_one_task_however_often_it_is_pushed(plant, send, on_server):
    route = plant(12)
    first = send(route)
    again = send(route)
    assert (first["pushed"], first["known"]) == (12, 0)
    assert (again["pushed"], again["known"], again["adopted"]) == (0, 12, 0)
    there = on_server(first["project"])
    order = list(dict.fromkeys(route.table("tasks").column("photo_id").to_pylist()))
    assert [task["data"]["key"] for task in there] == order
    assert {row["task"]: row["photo_id"] for row in log(route)} == {
        task["id"]: task["data"]["key"] for task in there
    }
    assert set(there[0]["data"]) == {
        "image", "key", "class_name", "attribution", "proposed_background",
        "proposed_score",
    }  # fmt: skip
    assert "CC-BY-4.0" in there[0]["data"]["attribution"]


def test_what_is_proposed_is_selected_and_noted(plant, send, on_server, label_studio):
    route = plant(12)
    number = send(route)["project"]
    proposals = {row["photo_id"]: row for row in route.table("proposals").to_pylist()}
    noted = {row["task"]: row["proposal"] for row in log(route)}
    for task in on_server(number):
        proposal = proposals[task["data"]["key"]]
        if proposal["abstained"]:
            assert task["predictions"] == []
            assert task["data"]["proposed_background"] == "none"
            assert task["data"]["proposed_score"] == ""
            assert noted[task["id"]] is None
        else:
            (prediction,) = task["predictions"]
            (result,) = prediction["result"]
            assert result["value"] == {"choices": [proposal["background"]]}
            assert noted[task["id"]] == proposal["background"]
            shown = f"{proposal['probability']:.2f}"
            assert task["data"]["proposed_score"] == shown
    assert None in noted.values()


def test_proposals_of_later_pushes_are_selected_too(
    plant, send, on_server, label_studio
):
    number = send(plant(6))["project"]
    route = plant(12, propose={"abstain_below": 0.01})
    assert send(route)["pushed"] == 6
    project = label_studio.ask("GET", f"/api/projects/{number}/").json()
    versions = {
        prediction["model_version"]
        for task in on_server(number)
        for prediction in task["predictions"]
    }
    assert versions == {project["model_version"]}
    assert project["show_collab_predictions"]


def test_new_photos_are_added_a_few_at_a_time(plant, send):
    send(plant(8))
    route = plant(20)
    assert send(route, limit=5)["pushed"] == 5
    assert send(route)["pushed"] == 7
    assert len({row["photo_id"] for row in log(route)}) == 20


@pytest.mark.parametrize("batch", [0, 1])
def test_a_crash_before_the_log_repeats_nothing(plant, send, monkeypatch, batch):
    """What was imported and not noted is adopted, with what was proposed."""
    monkeypatch.setattr(push, "BATCH", 5)
    route, append, seen = plant(12), Shelf.append, []

    def dying(shelf, name, rows):
        if name == "label_tasks":
            seen.append(name)
            if len(seen) == batch + 1:
                raise KeyboardInterrupt
        append(shelf, name, rows)

    monkeypatch.setattr(Shelf, "append", dying)
    with pytest.raises(KeyboardInterrupt):
        send(route)
    monkeypatch.setattr(Shelf, "append", append)
    result = send(route)
    lost = (3, 5)[batch]
    assert result["adopted"] == lost
    assert result["known"] + result["pushed"] == 12
    rows = log(route)
    assert len({row["photo_id"] for row in rows}) == len(rows) == 12
    proposed = {
        row["photo_id"]: None if row["abstained"] else row["background"]
        for row in route.table("proposals").to_pylist()
    }
    assert {row["photo_id"]: row["proposal"] for row in rows} == proposed
    assert all(row["image"] for row in rows)
    assert send(route)["adopted"] == 0


def test_another_machine_goes_on_with_the_same_project(plant, send):
    first = send(plant(9))
    route = plant(12, work="elsewhere")
    result = send(route)
    assert result["campaign"] == first["campaign"]
    assert (result["adopted"], result["pushed"]) == (9, 3)
    assert "not known to this work folder" in result["notices"][0]
    assert labelling.campaign(route, "labels")["project"] == first["project"]


def test_a_dataset_of_the_same_name_has_its_own_project(plant, send):
    first = send(plant(4))
    other = send(plant(4, work="elsewhere", begin=100))
    assert other["project"] != first["project"]
    assert send(plant(4))["campaign"] == first["campaign"]


def test_a_deleted_project_is_told_and_replaced_when_asked(plant, send, studio):
    route = plant(6)
    first = send(route)
    studio.delete_project(first["project"])
    with pytest.raises(LabelStudioError, match=r"safe.*--new"):
        send(route)
    second = send(route, new=True)
    assert second["pushed"] == 6
    assert second["campaign"] != first["campaign"]
    assert send(route)["known"] == 6


def test_another_project_is_never_taken_for_ours(plant, send, studio):
    route = plant(6)
    number = send(route)["project"]
    studio.update_project(number, description="somebody else's")
    with pytest.raises(LabelStudioError, match="lacks our mark"):
        send(route)
    assert studio.project(number).tasks == 6


def test_an_interface_changed_by_hand_stops_the_push(plant, send, studio):
    number = send(plant(6))["project"]
    ours = studio.project(number).interface
    changed = ours.replace('value="ice"', 'value="frozen"')
    studio.update_project(number, interface=changed)
    route = plant(9)
    with pytest.raises(LabelStudioError) as caught:
        send(route)
    assert "choice 'ice' is missing" in str(caught.value)
    assert "choice 'frozen' was added" in str(caught.value)
    assert studio.project(number).tasks == 6
    studio.update_project(number, interface=ours)
    assert send(route)["pushed"] == 3


def test_a_change_by_hand_may_be_written_into_dataset_toml(plant, send, studio):
    number = send(plant(6))["project"]
    changed = studio.project(number).interface.replace(
        '<Choice value="cannot_tell"',
        '<Choice value="sand"/><Choice value="cannot_tell"',
    )
    studio.update_project(number, interface=changed)
    with pytest.raises(LabelStudioError, match="'sand' was added"):
        send(plant(6))
    route = plant(6, backgrounds=(*BACKGROUNDS, "sand"))
    send(route)
    assert labelling.campaign(route, "labels")["interface"] == interface.xml(
        route.config, blind=False
    )
    assert send(route)["notices"] == []


def test_the_interface_follows_dataset_toml(plant, send, studio):
    number = send(plant(6))["project"]
    route = plant(6, backgrounds=(*BACKGROUNDS, "sand & stone"))
    result = send(route)
    assert "'sand & stone' added" in result["notices"][0]
    there = interface.choices(studio.project(number).interface)
    assert there == {*BACKGROUNDS, "sand & stone", "cannot_tell"}
    assert send(route)["notices"] == []


def test_a_guide_that_changed_is_shown(plant, send, label_studio):
    number = send(plant(6))["project"]
    send(plant(6, labels={"guide": "look <twice>"}))
    project = label_studio.ask("GET", f"/api/projects/{number}/").json()
    assert "look &lt;twice&gt;" in project["expert_instruction"]
    assert project["show_instruction"]


def test_a_background_that_people_chose_cannot_go(plant, send, studio):
    number = send(plant(6))["project"]
    fewer = plant(6, backgrounds=("snow", "ice"))
    answer = {"from_name": "background", "value": {"choices": ["grass"]}}
    row = {
        "campaign": labelling.campaign(fewer, "labels")["campaign"], "pull": 1,
        "task": 1, "photo_id": None, "annotation": 7, "state": "present",
        "annotator": "ls-1", "editor": None, "fault": None, "at": "2026-03-01",
        "raw": json.dumps({"was_cancelled": False, "result": [answer]}),
    }  # fmt: skip
    fewer.append("annotations", [row])
    with pytest.raises(LabelStudioError, match="'grass' 1 times"):
        send(fewer)
    fewer.append("annotations", [row | {"state": "deleted", "pull": 2}])
    result = send(fewer)
    assert any("propose 'grass'" in notice for notice in result["notices"])
    there = interface.choices(studio.project(number).interface)
    assert there == {"snow", "ice", "cannot_tell"}


def gold_file(route, path: Path, count: int) -> Path:
    """Known backgrounds of the photos that would be asked first."""
    order = list(dict.fromkeys(route.table("tasks").column("photo_id").to_pylist()))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["photo", "question", "answer"])
        for photo in order[:count]:
            writer.writerow([photo, "background", "snow"])
            writer.writerow([photo, "wrong_animal", "no"])
    return path


def test_everybody_is_asked_calibration_and_gold(plant, send, on_server, tmp_path):
    gold = gold_file(plant(20), tmp_path / "gold.csv", 2)
    route = plant(20, labels={"calibration": 4, "gold": str(gold)})
    result = send(route)
    assert (result["pushed"], result["calibration"], result["gold"]) == (20, 4, 2)
    uses = {row["task"]: row["use"] for row in log(route)}
    there = on_server(result["project"])
    for task in there:
        many = uses[task["id"]] in ("calibration", "gold")
        assert task["overlap"] == (EVERYBODY if many else 2)
        assert "gold" not in json.dumps(task["data"]).replace(str(gold), "")
        assert "calibration" not in json.dumps(task["data"])
    order = [uses[task["id"]] for task in there]
    assert order[:4] == ["calibration"] * 4
    places = [place for place, use in enumerate(order[4:]) if use == "gold"]
    assert places == [4, 12]  # 16 others, evenly
    classes = [
        task["data"]["class_name"]
        for task in there
        if uses[task["id"]] == "calibration"
    ]
    assert sorted(classes) == ["bear", "bear", "dog", "dog"]
    assert send(route)["pushed"] == 0


def test_tasks_become_calibration_and_gold_later(plant, send, on_server, tmp_path):
    """Photos that were asked already are asked of everybody from then on."""
    gold = gold_file(plant(8), tmp_path / "gold.csv", 1)
    number = send(plant(8))["project"]
    route = plant(8, labels={"calibration": 2, "gold": str(gold)})
    result = send(route)
    assert (result["pushed"], result["calibration"], result["gold"]) == (0, 2, 1)
    overlaps = sorted(task["overlap"] for task in on_server(number))
    assert overlaps == [2] * 5 + [EVERYBODY] * 3
    # another number of answers resets every task on the server: set again
    route = plant(8, labels={"calibration": 2, "gold": str(gold)}, tasks={"answers": 3})
    send(route)
    overlaps = sorted(task["overlap"] for task in on_server(number))
    assert overlaps == [3] * 5 + [EVERYBODY] * 3


def test_gold_that_is_wrong_is_told_by_line(plant, send, tmp_path, studio):
    route = plant(4)
    photo = route.table("photos").column("photo_id").to_pylist()[0]
    file = tmp_path / "gold.csv"
    file.write_text(
        "photo,question,answer\n"
        "nowhere.jpg,background,snow\n"
        f"{photo},background,lava\n"
        f"{photo},clarity,perhaps\n"
        f"{photo},background,snow\n{photo},background,ice\n"
    )
    route = plant(4, labels={"gold": str(file)})
    before = len(list(studio.projects()))
    with pytest.raises(InputError) as caught:
        send(route)
    for part in ("line 2: photo", "line 3: answer", "line 4: answer", "line 6: answer"):
        assert part in str(caught.value)
    assert len(list(studio.projects())) == before


def test_blind_hides_everything_of_the_proposal(plant, send, on_server, label_studio):
    route = plant(6)
    result = send(route, blind=True)
    assert result["blind"]
    for task in on_server(result["project"]):
        assert task["predictions"] == []
        assert set(task["data"]) == {"image", "key", "class_name", "attribution"}
    project = label_studio.ask("GET", f"/api/projects/{result['project']}/").json()
    assert "proposed" not in project["label_config"]
    assert not project["show_collab_predictions"]
    assert {row["proposal"] for row in log(route)} == {None}
    with pytest.raises(ConfigError, match="--new"):
        send(route)
    assert send(route, blind=True)["known"] == 6


def test_names_of_every_kind(plant, send, on_server, studio):
    route = plant(30, backgrounds=ODD)
    number = send(route)["project"]
    assert interface.choices(studio.project(number).interface) == {
        *ODD, "cannot_tell",
    }  # fmt: skip
    shown = {
        task["predictions"][0]["result"][0]["value"]["choices"][0]
        for task in on_server(number)
        if task["predictions"]
    }
    assert shown <= set(ODD)
    assert len(shown) > 10
    assert send(route)["notices"] == []


def test_a_dry_run_changes_nothing(plant, send, studio):
    route = plant(6)

    def files():
        return {
            path: path.read_bytes()
            for path in route.shelf.folder.rglob("*")
            if path.is_file()
        }

    before, projects = files(), len(list(studio.projects()))
    result = send(route, dry_run=True)
    assert (result["pushed"], result["project"]) == (6, None)
    assert files() == before
    assert len(list(studio.projects())) == projects

    number = send(route)["project"]
    route = plant(9, backgrounds=(*BACKGROUNDS, "sand"), labels={"calibration": 2})
    before, project = files(), studio.project(number)
    result = send(route, dry_run=True)
    assert (result["pushed"], result["known"], result["calibration"]) == (3, 6, 2)
    assert "'sand' added" in result["notices"][0]
    assert files() == before
    assert studio.project(number) == project


def test_tasks_deleted_or_added_on_the_server_are_told(
    plant, send, studio, label_studio
):
    route = plant(6)
    number = send(route)["project"]
    listed = list(studio.keys(number))
    label_studio.ask("DELETE", f"/api/tasks/{listed[0][0]}/")
    studio.import_tasks(
        number,
        [
            {
                "data": {
                    "image": "x", "key": key, "class_name": "", "attribution": "",
                    "proposed_background": "", "proposed_score": "",
                }
            }
            for key in (listed[1][1], "of nobody")
        ],
    )  # fmt: skip
    result = send(route)
    assert (result["pushed"], result["missing_on_server"]) == (0, 1)
    told = "\n".join(result["notices"])
    assert "1 tasks were deleted on the server and are not pushed again" in told
    assert "1 tasks repeat a photo" in told
    assert "1 tasks of the project are of no photo" in told


def test_photos_taken_down_that_still_have_a_task(plant, send, label_studio):
    route = plant(6)
    send(route)
    photo = log(route)[0]["photo_id"]
    forget(route, photo, reason="asked", only=True, dry_run=False)
    result = send(plant_again(route))
    assert any(
        "taken down and still have a task" in notice and photo[:12] in notice
        for notice in result["notices"]
    )


def plant_again(route):
    """What is left of the questions after a takedown."""
    route._tables.clear()
    ask(route)
    return route


def test_pictures_that_would_not_show_stop_the_push(plant, send, studio, tmp_path):
    wrong = {"documents": str(tmp_path / "not the server's")}
    before = len(list(studio.projects()))
    with pytest.raises(LabelStudioError):
        send(plant(6, labels=wrong))
    assert len(list(studio.projects())) == before


def test_pictures_that_stopped_showing_stop_the_next_push(
    plant, send, studio, label_studio
):
    route = plant(6)
    number = send(route)["project"]
    for path in (label_studio.documents / route.config.dataset.name).rglob("*"):
        if path.is_file():
            path.unlink()
    with pytest.raises(LabelStudioError, match="would not see"):
        send(plant(12))
    assert studio.project(number).tasks == 6


def test_tasks_are_told_where_pictures_have_moved(plant, send, studio, on_server):
    """As if they had been pushed while pictures were elsewhere."""
    route = plant(5)
    number = send(route)["project"]
    rows, there = log(route), on_server(number)
    for row, task in zip(rows, there, strict=True):
        old = "/data/local-files/?d=elsewhere/" + row["photo_id"]
        studio.set_data(task["id"], task["data"] | {"image": old})
        route.append("label_tasks", [row | {"image": old}])
    assert send(route)["pushed"] == 0
    assert [task["data"] for task in on_server(number)] == [
        task["data"] for task in there
    ]
    assert [row["image"] for row in log(route)[-5:]] == [row["image"] for row in rows]


def said(photo, annotator, answer):
    at = "2026-03-01T09:00:00+00:00"
    digest = hashlib.sha256(f"{photo}{annotator}{answer}".encode()).hexdigest()
    return {
        "event_id": digest, "photo_id": photo, "question": "background",
        "answer": answer, "annotator": annotator, "proposal": None,
        "origin": "chosen", "lead_time_s": None, "created_at": at, "supersedes": None,
        "role": None, "note": None, "edits": None, "annotation": None,
    }  # fmt: skip


def test_disputes_go_to_a_project_of_their_own(plant, send, on_server, studio):
    route = plant(6)
    labels = send(route)
    photos = [row["photo_id"] for row in log(route)]
    answers = (
        (photos[0], "ann", "snow"), (photos[0], "bob", "ice"),
        (photos[1], "ann", "snow"), (photos[1], "bob", "snow"),
    )  # fmt: skip
    route.append("label_events", [said(*answer) for answer in answers])
    result = send(plant_again(route), kind="adjudication")
    assert result["project"] != labels["project"]
    (task,) = on_server(result["project"])
    assert task["data"]["key"] == photos[0]
    assert "snow 1" in task["data"]["said"]
    assert "ice 1" in task["data"]["said"]
    assert "ann" not in task["data"]["said"]
    assert (task["predictions"], task["overlap"]) == ([], 1)
    assert "proposed_background" not in task["data"]
    assert log(route)[-1]["use"] == tasks.ADJUDICATION
    assert send(route, kind="adjudication")["pushed"] == 0
    assert send(route)["known"] == 6
    studio.delete_project(result["project"])
    with pytest.raises(LabelStudioError, match="push --adjudicate --new` makes"):
        send(route, kind="adjudication")


def test_a_route_that_never_ran_has_no_questions(plant, send, tmp_path):
    route = plant(2)
    route.shelf.discard("tasks", route.recipe("tasks"))
    with pytest.raises(InputError, match="counterset run --until tasks"):
        send(route)
