"""The door to Label Studio, against the real server."""

import base64
import hashlib
import hmac
import json
import logging
import subprocess
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from PIL import Image

from curation.errors import ConfigError, CounterSetError, LabelStudioError
from curation.labelstudio import LabelStudio
from tests.standins.between import Between
from tests.standins.server import Answer, Server

INTERFACE = """<View><Image name="image" value="$image"/>
<Choices name="background" toName="image" choice="single-radio">
<Choice value="snow"/><Choice value="ice"/></Choices></View>"""

NEAR = pytest.mark.xdist_group("near")
HUSH = "".join(["h", "u", "s", "h"])  # so that no line of this file has it


@pytest.fixture
def door(label_studio):
    return LabelStudio(label_studio.url, label_studio.token, patience=30)


@pytest.fixture
def project(door):
    made = create(door)
    yield made.id
    door.delete_project(made.id)


def create(door, **changes):
    settings = {
        "title": "door",
        "description": "a test",
        "interface": INTERFACE,
        "instructions": "<b>look</b>",
        "answers": 2,
        "show_proposals": True,
    }
    return door.create_project(**settings | changes)


def tasks(number, start=0):
    return [
        {"data": {"image": f"/data/local-files/?d=a/{i}.png", "key": f"photo {i}"}}
        for i in range(start, start + number)
    ]


def answer(choice="snow"):
    return [
        {
            "from_name": "background",
            "to_name": "image",
            "type": "choices",
            "value": {"choices": [choice]},
        }
    ]


def personal(studio, token=""):
    """A personal access token, whatever there was before."""
    for one in studio.ask("GET", "/api/token/", token).json():
        studio.ask(
            "POST", "/api/token/blacklist/", token, json={"refresh": one["token"]}
        )
    return studio.ask("POST", "/api/token/", token).json()["token"]


def failing(kind, said, call, *secrets):
    """What a call raises; no secret is anywhere in it, its causes included."""
    with pytest.raises(kind, match=said) as found:
        call()
    told = "".join(traceback.format_exception(found.value)) + repr(found.value)
    for secret in secrets:
        assert secret not in told
    return found.value


def spoilt(label_studio, asked, how, times=1):
    """A proxy that spoils the first answers to one request."""
    left = [times]

    def spoil(method, path):
        if f"{method} {path}" == asked and left[0]:
            left[0] -= 1
            return how
        return None

    return Between(label_studio.url, spoil)


# keys ---------------------------------------------------------------------------------


def test_both_kinds_of_key(label_studio, caplog):
    dora = label_studio.annotator("dora")
    pat = personal(label_studio, dora.token)
    with caplog.at_level(logging.DEBUG):
        for key in (dora.token, f" {pat}\n"):
            door = LabelStudio(label_studio.url + "/", key)
            assert door.greet() == "1.23.2"
            assert door.people()[dora.id] == dora.email
            assert key.strip() not in repr(door)
    assert dora.token not in caplog.text
    assert pat not in caplog.text


def test_an_access_token_that_ends_midway_is_renewed(label_studio, project, door):
    door.import_tasks(project, tasks(5))
    pat = personal(label_studio, label_studio.annotator("dora").token)
    mine = LabelStudio(label_studio.url, pat, patience=0)
    tokens = mine._link.sdk._client_wrapper._tokens_client

    def spoil():
        """The same token, signed by nobody: valid for the SDK, not for the server."""
        head, claims, _ = tokens.api_key.split(".")
        tokens._access_token = f"{head}.{claims}.{'A' * 43}"
        return tokens._access_token

    ids = []
    for number, (task, _) in enumerate(mine.keys(project)):
        ids.append(task)
        if number == 2:
            spoil()
    bad = spoil()
    assert [task["id"] for task in mine.export(project, ids)] == ids
    assert tokens._access_token != bad
    spoil()
    new = mine.import_tasks(project, tasks(1, start=5))  # not done, so it may go again
    assert [task for task, _ in door.keys(project)] == ids + new


def elsewhere(pat):
    """The same token as a server with another secret would have signed it."""
    signed = pat.rpartition(".")[0]
    digest = hmac.new(b"its own secret", signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


@NEAR
def test_keys_that_the_server_refuses(near):
    there = near

    def asking(key):
        return LabelStudio(there.url, key, patience=0).greet

    unknown = "f" * 40
    failing(ConfigError, "is unknown to", asking(unknown), unknown)
    pat = personal(there)
    assert asking(pat)() == "1.23.2"
    foreign = elsewhere(pat)
    failing(ConfigError, "did not make", asking(foreign), foreign)
    broken = pat[:-5] + "AAAAA"
    failing(ConfigError, "did not make", asking(broken), broken)

    settings = {"api_tokens_enabled": False, "legacy_api_tokens_enabled": True}
    there.ask("POST", "/api/jwt/settings", json=settings)
    failing(ConfigError, "personal access token, and .* off", asking(pat), pat)
    there.ask("POST", "/api/jwt/settings", json=settings | {"api_tokens_enabled": True})

    held = LabelStudio(there.url, pat, patience=0)
    held.greet()
    access = held._link.sdk._client_wrapper._tokens_client.api_key
    failing(ConfigError, "lives five minutes", lambda: asking(access), access)

    off = {"api_tokens_enabled": True, "legacy_api_tokens_enabled": False}
    there.ask("POST", "/api/jwt/settings", json=off)
    try:
        failing(ConfigError, "legacy tokens .* off", asking(there.token), there.token)
    finally:
        held._link._http.post(
            f"{there.url}/api/jwt/settings",
            headers=held._link.headers(),
            json=settings | {"api_tokens_enabled": True},
        )
    assert asking(there.token)() == "1.23.2"

    personal(there)  # revokes the one before
    failing(ConfigError, "was revoked", asking(pat), pat)


def test_a_missing_variable_is_named(monkeypatch, label_studio):
    monkeypatch.delenv("LABEL_STUDIO_URL", raising=False)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", label_studio.token)
    with pytest.raises(ConfigError, match="^LABEL_STUDIO_URL not set"):
        LabelStudio.from_environment()
    monkeypatch.setenv("LABEL_STUDIO_URL", label_studio.url)
    assert LabelStudio.from_environment().greet() == "1.23.2"


@pytest.mark.parametrize(
    "url", ["", "localhost:8080", "ftp://a", "http://", "http://a:b"]
)
def test_an_address_that_is_none(url):
    with pytest.raises(ConfigError, match="is no address"):
        LabelStudio(url, "0" * 40)


def test_an_address_with_a_password_is_not_repeated():
    url = f"https://me:{HUSH}@example.org/?k={HUSH}"
    error = failing(
        ConfigError, "an address alone", lambda: LabelStudio(url, "0" * 40), HUSH
    )
    assert "https://example.org" in str(error)


def test_no_proxy_stands_before_loopback(label_studio, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    door = LabelStudio(label_studio.url, label_studio.token, patience=0)
    assert door.greet() == "1.23.2"
    far = LabelStudio("http://example.org", label_studio.token, patience=0)
    failing(LabelStudioError, "nothing answers", far.greet)


def test_the_sdk_is_not_loaded_until_a_server_is_asked():
    code = (
        "import sys; from curation.labelstudio import LabelStudio;"
        "sys.exit('httpx' in sys.modules or 'label_studio_sdk' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# who answers --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Answer(body=b"<html><title>Grafana</title></html>"), 'a page "Grafana"'),
        (Answer(body=b'{"release": "7"}'), "release"),
        (Answer(body=b"[]"), "another service"),
        (Answer(body=b""), "another service"),
        (Answer(status=404, body=b"nope"), "404, .*another service"),
        (Answer(status=503, body=b"later"), "503, later"),
        (Answer(status=302, headers={"Location": "https://b.org/x?t=1"}), "b.org"),
    ],
)
def test_another_service_at_the_port(reply, said):
    key = "0123456789" * 4
    with Server(lambda asked: reply) as service:
        door = LabelStudio(service.url, key, patience=0)
        error = failing(LabelStudioError, said, door.greet, key)
    assert service.url in str(error) or "127.0.0.1" in str(error)
    assert error.url == f"{service.url}/api/version"


def test_a_service_that_repeats_the_key():
    def echo(asked):
        said = {"detail": asked.headers["authorization"]}
        return Answer(status=400, body=json.dumps(said).encode())

    key = "0123456789" * 4
    with Server(echo) as service:
        door = LabelStudio(service.url, key, patience=0)
        failing(LabelStudioError, "400", door.greet, key)


def test_no_answer_makes_a_message_with_the_key(label_studio):
    pat = personal(label_studio, label_studio.annotator("dora").token)
    answers = [()]
    with Between(label_studio.url, lambda *_: answers[0]) as between:
        for key in ("0123456789" * 4, pat):
            door = LabelStudio(between.url, key, patience=0)
            for status in (200, 302, 400, 401, 404, 429, 500):
                for body in (key, json.dumps({"detail": key, "error": key, key: key})):
                    answers[0] = (status, body.encode())
                    ask_everything(door, key)


def ask_everything(door, key):
    """Each call ends well or in an error of ours, and none repeats the key."""
    for call in (
        door.greet,
        door.people,
        lambda: door.project(1),
        lambda: list(door.projects()),
        lambda: create(door),
        lambda: door.update_project(1, title="other"),
        lambda: door.import_tasks(1, tasks(1)),
        lambda: list(door.keys(1)),
        lambda: door.set_overlap(1, 2),
        lambda: door.changed_since(1, None),
        lambda: list(door.export(1, [1])),
        lambda: door.connect_folder(1, path="/a", title="a"),
        lambda: door.nudge(1, "http://127.0.0.1:9"),
    ):
        told = ""
        try:
            call()
        except CounterSetError as error:
            told = "".join(traceback.format_exception(error))
        assert key not in told


def test_a_server_below_a_path(label_studio):
    pat = personal(label_studio, label_studio.annotator("dora").token)
    with Between(label_studio.url, lambda *_: None, prefix="/studio") as between:
        for key in (label_studio.token, pat):
            door = LabelStudio(f"{between.url}/", key)
            assert door.greet() == "1.23.2"
            made = create(door)
            ids = door.import_tasks(made.id, tasks(2))
            assert [task for task, _ in door.keys(made.id)] == ids
            door.delete_project(made.id)


def test_nothing_answers(monkeypatch):
    monkeypatch.setattr("curation.labelstudio.link.STRANGER", 0.5)
    door = LabelStudio("http://127.0.0.1:9", "0" * 40)  # patience is for those met
    error = failing(LabelStudioError, "nothing answers at .*:9.*refused", door.greet)
    assert error.status is None


def test_an_encrypted_address_of_a_server_that_is_not(label_studio):
    url = label_studio.url.replace("http:", "https:")
    failing(LabelStudioError, "SSL", LabelStudio(url, "0" * 40).greet)


def test_another_service_never_looks_like_a_deleted_project(label_studio):
    with Server(lambda asked: Answer(status=404, body=b"{}")) as service:
        door = LabelStudio(service.url, "0" * 40, patience=0)
        failing(LabelStudioError, "404", lambda: door.project(1))


def test_another_version_is_only_a_warning(label_studio, caplog):
    about = json.dumps({"release": "1.19.0", "label-studio-os-package": {}}).encode()
    spoil = spoilt(label_studio, "GET /api/version", (200, about))
    with spoil as between:
        assert LabelStudio(between.url, label_studio.token).greet() == "1.19.0"
    assert "1.19.0 answers" in caplog.text


# projects and tasks -------------------------------------------------------------------


def test_projects(door, label_studio):
    made = create(door, title="first")
    assert (made.title, made.description, made.tasks, made.answers) == (
        "first",
        "a test",
        0,
        2,
    )
    assert made.interface == INTERFACE
    assert door.project(made.id) == made
    changed = door.update_project(made.id, title="second", answers=3)
    assert (changed.title, changed.answers) == ("second", 3)
    assert changed in list(door.projects())
    raw = label_studio.ask("GET", f"/api/projects/{made.id}/").json()
    assert raw["expert_instruction"] == "<b>look</b>"
    assert raw["show_instruction"]
    assert raw["skip_queue"] == "REQUEUE_FOR_OTHERS"
    assert not raw["enable_empty_annotation"]
    door.delete_project(made.id)
    door.delete_project(made.id)
    assert door.project(made.id) is None
    error = failing(LabelStudioError, "404", lambda: list(door.keys(made.id)))
    assert error.status == 404


def test_an_interface_the_server_cannot_use_makes_no_project(door):
    before = {found.id for found in door.projects()}
    bad = INTERFACE.replace('toName="image"', 'toName="picture"')
    failing(LabelStudioError, "toName", lambda: create(door, interface=bad))
    assert {found.id for found in door.projects()} == before


def test_more_tasks_than_a_page(door, project, monkeypatch):
    monkeypatch.setattr("curation.labelstudio.reading.PAGE", 7)
    monkeypatch.setattr("curation.labelstudio.reading.BATCH", 5)
    ids = door.import_tasks(project, tasks(21))
    assert len(ids) == 21
    assert list(door.keys(project)) == [
        (task, f"photo {place}") for place, task in enumerate(ids)
    ]
    assert [task["id"] for task in door.export(project, ids)] == ids
    assert sorted(task for task, _ in door.changed_since(project, None)) == ids


def test_a_task_deleted_between_two_pages_hides_no_other(
    door, project, label_studio, monkeypatch
):
    monkeypatch.setattr("curation.labelstudio.reading.PAGE", 4)
    ids = door.import_tasks(project, tasks(9))
    seen = []
    for task, _ in door.keys(project):
        seen.append(task)
        if len(seen) == 2:
            label_studio.ask("DELETE", f"/api/tasks/{ids[0]}/")
    assert seen == ids
    assert [task for task, _ in door.keys(project)] == ids[1:]


def test_answers_skips_edits_and_deletions_come_back(door, project, label_studio):
    anna, bert = (label_studio.annotator(name) for name in ("anna", "bert"))
    ids = door.import_tasks(project, tasks(4))
    start = max(moment for _, moment in door.changed_since(project, None))
    assert door.changed_since(project, start) == []
    assert list(door.export(project)) == []

    def annotate(task, person, **more):
        body = {"result": answer(), "lead_time": 1.5} | more
        path = f"/api/tasks/{task}/annotations/"
        return label_studio.ask("POST", path, person.token, json=body).json()["id"]

    first = annotate(ids[0], anna)
    annotate(ids[1], bert, was_cancelled=True)
    changed = door.changed_since(project, start)
    assert {task for task, _ in changed} == set(ids[:2])
    assert all(moment.tzinfo for _, moment in changed)
    found = {task["id"]: task for task in door.export(project)}
    assert set(found) == set(ids[:2])
    assert found[ids[0]]["annotations"][0]["completed_by"] == anna.id
    assert found[ids[1]]["annotations"][0]["was_cancelled"]

    here = max(moment for _, moment in changed)
    edit = {"result": answer("ice")}
    label_studio.ask("PATCH", f"/api/annotations/{first}/", bert.token, json=edit)
    assert [task for task, _ in door.changed_since(project, here)] == [ids[0]]
    edited = next(door.export(project, [ids[0]]))["annotations"][0]
    assert edited["result"][0]["value"] == {"choices": ["ice"]}
    assert (edited["completed_by"], edited["updated_by"]) == (anna.id, bert.id)

    here = max(moment for _, moment in door.changed_since(project, None))
    label_studio.ask("DELETE", f"/api/annotations/{first}/")
    assert [task for task, _ in door.changed_since(project, here)] == [ids[0]]
    assert next(door.export(project, [ids[0]]))["annotations"] == []
    label_studio.ask("DELETE", f"/api/tasks/{ids[0]}/")
    assert [task["id"] for task in door.export(project, ids[:2])] == [ids[1]]
    assert list(door.export(project, [])) == []


def test_a_moment_of_another_zone(door, project):
    door.import_tasks(project, tasks(1))
    zone = datetime.now(UTC).astimezone().tzinfo
    soon = datetime.now(zone) + timedelta(hours=1)
    assert door.changed_since(project, soon) == []
    assert len(door.changed_since(project, soon - timedelta(hours=2))) == 1


def test_a_change_during_a_reading_comes_with_the_next(
    door, project, label_studio, monkeypatch
):
    monkeypatch.setattr("curation.labelstudio.reading.PAGE", 2)
    ids = door.import_tasks(project, tasks(6))
    asked = []

    def spoil(method, path):
        asked.append(path)
        if asked.count("/api/tasks") == 3 and path == "/api/tasks":
            door.set_overlap(ids[0], 7)  # read already
            door.set_overlap(ids[5], 7)  # not yet
        return

    with Between(label_studio.url, spoil) as between:
        here = LabelStudio(between.url, label_studio.token)
        first = here.changed_since(project, None)
    assert {task for task, _ in first} == set(ids[:5])
    cursor = max(moment for _, moment in first)
    later = {task for task, _ in door.changed_since(project, cursor)}
    assert later == {ids[0], ids[5]}


def test_overlap_of_one_task(door, project, label_studio):
    task, same = door.import_tasks(project, tasks(2))
    door.set_overlap(task, 1000)
    wanted = [
        label_studio.ask("GET", f"/api/tasks/{number}").json()["overlap"]
        for number in (task, same)
    ]
    assert wanted == [1000, 2]
    door.update_project(project, title="overlap stays")
    assert (
        label_studio.ask("GET", f"/api/tasks/{task}").json()["overlap"],
        door.project(project).answers,
    ) == (1000, 2)
    error = failing(LabelStudioError, "404", lambda: door.set_overlap(10**9, 2))
    assert error.status == 404


def test_tasks_the_server_refuses(door, project):
    bad = tasks(2) + [{"data": {"picture": "x"}}]
    failing(LabelStudioError, "import.*400", lambda: door.import_tasks(project, bad))
    assert list(door.keys(project)) == []
    assert door.import_tasks(project, []) == []


# what goes wrong on the way -----------------------------------------------------------


@pytest.mark.parametrize("how", ["drop", "after 500", "cut", (502, b"<html>")])
def test_an_import_is_sent_once(label_studio, door, project, how):
    asked = f"POST /api/projects/{project}/import"
    with spoilt(label_studio, asked, how) as between:
        here = LabelStudio(between.url, label_studio.token, patience=5)
        failing(
            LabelStudioError,
            "/import",
            lambda: here.import_tasks(project, tasks(3)),
            label_studio.token,
        )
        assert between.times(asked) == 1
    arrived = 0 if isinstance(how, tuple) else 3
    assert len(list(door.keys(project))) == arrived


@pytest.mark.parametrize("how", ["drop", "cut", (503, b"<html>"), (429, b"{}")])
def test_a_spoilt_reading_is_asked_again(label_studio, door, project, how):
    ids = door.import_tasks(project, tasks(3))
    asked = f"GET /api/projects/{project}/export"
    with spoilt(label_studio, asked, how, times=2) as between:
        here = LabelStudio(between.url, label_studio.token, patience=20)
        here.greet()
        assert [task["id"] for task in here.export(project, ids)] == ids
        assert between.times(asked) == 3


def test_patience_ends(label_studio, project):
    asked = f"GET /api/projects/{project}/export"
    with spoilt(label_studio, asked, "cut", times=99) as between:
        here = LabelStudio(between.url, label_studio.token, patience=0.5)
        failing(LabelStudioError, "broke off", lambda: list(here.export(project, [1])))


def test_an_import_that_a_hosted_server_does_later(label_studio, project):
    path = f"/api/projects/{project}"
    state = [
        {"status": "in_progress"},
        {"status": "completed", "task_ids": [5, 6]},
    ]

    def spoil(method, asked):
        if asked == f"{path}/import":
            return (201, b'{"import": 9}')
        if asked == f"{path}/imports/9":
            return (200, json.dumps(state.pop(0)).encode())
        return None

    with Between(label_studio.url, spoil) as between:
        here = LabelStudio(between.url, label_studio.token)
        assert here.import_tasks(project, tasks(2)) == [5, 6]
        state.append({"status": "failed", "error": "no room"})
        failing(
            LabelStudioError,
            "import 9 failed: no room",
            lambda: here.import_tasks(project, tasks(2)),
        )


@NEAR
@pytest.mark.slow
def test_a_server_that_restarts_in_the_middle_of_reading(near, monkeypatch):
    monkeypatch.setattr("curation.labelstudio.reading.PAGE", 3)
    door, second = (LabelStudio(near.url, near.token, patience=120) for _ in range(2))
    made, apart = create(door), create(second)
    ids = door.import_tasks(made.id, tasks(9))

    def restart():
        time.sleep(1)
        near.restart()

    seen = []
    with ThreadPoolExecutor(2) as pool:
        for task, _ in door.keys(made.id):
            if len(seen) == 2:
                near.server.kill()
                # and while nothing can arrive, an import waits too
                more = pool.submit(second.import_tasks, apart.id, tasks(3))
                back = pool.submit(restart)
            seen.append(task)
        back.result()
        new = more.result()
    assert seen == ids
    assert [task["id"] for task in door.export(made.id, ids)] == ids
    assert [task for task, _ in second.keys(apart.id)] == new
    for project in (made, apart):
        door.delete_project(project.id)


# pictures, storage, webhooks ----------------------------------------------------------


def png(path, colour):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), colour).save(path)
    return path.read_bytes()


def test_pictures_of_a_folder_on_the_server(door, project, label_studio):
    folder = label_studio.documents / "door"
    data = png(folder / "snow 1.png", "white")
    image = "/data/local-files/?d=door/snow%201.png"
    (task,) = door.import_tasks(project, [{"data": {"image": image, "key": "k"}}])
    assert door.picture(image, task=task).status == 404
    for _ in range(2):
        door.connect_folder(project, path=str(folder), title="photos")
    path = f"/api/storages/localfiles?project={project}"
    assert len(label_studio.ask("GET", path).json()) == 1
    shown = door.picture(image, task=task)
    assert (shown.status, shown.kind, shown.data) == (200, "image/png", data)
    assert shown.shown_to_others
    assert "?" not in shown.url
    outside = LabelStudio(label_studio.url, label_studio.annotator("anna").token)
    assert outside.picture(image, task=task).data == data


def test_a_folder_the_server_may_not_show(door, project, label_studio, tmp_path):
    for path in (label_studio.documents, tmp_path, tmp_path / "gone"):
        failing(
            LabelStudioError,
            "400.*LOCAL_FILES_DOCUMENT_ROOT",
            lambda path=path: door.connect_folder(project, path=str(path), title="x"),
        )


@pytest.mark.parametrize("allowed", ["", "*", "home", "https://elsewhere.org"])
def test_pictures_of_another_server(door, label_studio, allowed):
    def reply(asked):
        assert asked.headers["origin"] == label_studio.url
        assert "authorization" not in asked.headers
        assert "cookie" not in asked.headers
        value = label_studio.url if allowed == "home" else allowed
        headers = {"Content-Type": "image/png"}
        if value:
            headers["Access-Control-Allow-Origin"] = value
        return Answer(body=b"picture", headers=headers)

    with Server(reply) as service:
        shown = door.picture(f"{service.url}/a.png?signature=x", task=1)
    assert (shown.status, shown.data) == (200, b"picture")
    assert shown.url == f"{service.url}/a.png"
    assert shown.shown_to_others is (allowed in ("*", "home"))


def test_a_picture_that_is_nowhere(door):
    url = f"http://127.0.0.1:9/a.png?signature={HUSH}"
    error = failing(
        LabelStudioError,
        "no picture from http://127.0.0.1:9/a.png",
        lambda: door.picture(url, task=1),
        HUSH,
    )
    assert error.status is None


def test_a_picture_that_is_its_own_address(door):
    coded = base64.b64encode(b"bytes").decode()
    shown = door.picture(f"data:image/png;base64,{coded}", task=1)
    assert (shown.kind, shown.data, shown.shown_to_others) == (
        "image/png",
        b"bytes",
        True,
    )


def test_a_large_picture_is_not_read_to_its_end(door, monkeypatch):
    monkeypatch.setattr("curation.labelstudio.picture.LARGEST", 1000)
    with Server(lambda asked: Answer(body=b"x" * 200_000)) as service:
        assert len(door.picture(f"{service.url}/a", task=1).data) == 1000


LISTING = b"""<?xml version="1.0"?><ListBucketResult xmlns=
"http://s3.amazonaws.com/doc/2006-03-01/"><Name>photos</Name><KeyCount>1</KeyCount>
<MaxKeys>1</MaxKeys><IsTruncated>false</IsTruncated><Contents><Key>p/a.png</Key>
<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>"1"</ETag><Size>7</Size>
</Contents></ListBucketResult>""".replace(b"xmlns=\n", b"xmlns=")


@NEAR
def test_pictures_of_a_bucket(near):
    there = near
    door = LabelStudio(there.url, there.token)

    def store(asked):
        if asked.path == "/photos/p/a.png":
            assert "X-Amz-Signature" in asked.query
            assert "authorization" not in asked.headers
            open_to = {"Access-Control-Allow-Origin": "*", "Content-Type": "image/png"}
            return Answer(body=b"picture", headers=open_to)
        return Answer(body=LISTING, headers={"Content-Type": "application/xml"})

    with Server(store) as service:
        made = create(door)
        image = "s3://photos/p/a.png"
        (task,) = door.import_tasks(made.id, [{"data": {"image": image, "key": "k"}}])
        assert door.picture(image, task=task).status == 404
        for secret in ("first secret", "second secret"):
            door.connect_bucket(
                made.id,
                bucket="photos",
                prefix="p",
                endpoint=service.url,
                region="us-east-1",
                key="a key",
                secret=secret,
                title="photos",
            )
        path = f"/api/storages/s3?project={made.id}"
        assert len(there.ask("GET", path).json()) == 1
        shown = door.picture(image, task=task)
    assert (shown.status, shown.data, shown.shown_to_others) == (200, b"picture", True)
    assert shown.url == f"{service.url}/photos/p/a.png"
    door.delete_project(made.id)


def test_a_bucket_in_a_private_network(door, project):
    failing(
        LabelStudioError,
        "SSRF_PROTECTION_ENABLED",
        lambda: door.connect_bucket(
            project,
            bucket="photos",
            prefix="",
            endpoint="http://127.0.0.1:9",
            region="",
            key="a key of ours",
            secret=HUSH,
            title="photos",
        ),
        HUSH,
    )


def test_nudges_to_this_machine_are_refused(door, project):
    failing(
        LabelStudioError,
        "reserved network address.*SSRF_PROTECTION_ENABLED=false",
        lambda: door.nudge(project, "http://127.0.0.1:9/nudge"),
    )


@NEAR
def test_nudges(near):
    there = near
    here = LabelStudio(there.url, there.token)
    made = create(here)
    for _ in range(2):
        here.nudge(made.id, "http://127.0.0.1:9/nudge")
    hooks = there.ask("GET", f"/api/webhooks/?project={made.id}").json()
    assert [hook["url"] for hook in hooks] == ["http://127.0.0.1:9/nudge"]
    assert not hooks[0]["send_payload"]
    here.delete_project(made.id)
