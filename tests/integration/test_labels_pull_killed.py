"""Pulls that are cut off, and servers that die under them: the same answers in the end.

COUNTERSET_LABEL_KILLS says how many pulls are killed.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import time

import pytest

from curation.shelf import Shelf
from tests.labelled import Room, photo, said
from tests.labelstudio import launch

KILLS = int(os.environ.get("COUNTERSET_LABEL_KILLS", "6"))
PHOTOS = 400
EVENTS = ("photo_id", "question", "answer", "annotator", "created_at", "supersedes")


@pytest.fixture
def server(tmp_path):
    """A server of one's own, which may be killed; the last one that runs is stopped."""
    folder, running = tmp_path / "server", []

    def start(port=0):
        running.append(launch(folder, port=port))
        return running[-1]

    yield start
    running[-1].server.kill()


@pytest.fixture
def room(tmp_path, server):
    """A campaign with two annotations of most photos, one of which is bad."""
    room = Room(tmp_path / "room", server())
    people = [room.studio.annotator(name) for name in ("ann", "bob")]
    room.campaign("a", [photo(place) for place in range(10)])
    project = room.projects["a"].id
    chance = random.Random(1)
    data = {
        "image": "x", "class_name": "bear", "attribution": "nobody",
        "proposed_background": "snow", "proposed_score": "0.9",
    }  # fmt: skip
    more = [
        {
            "data": data | {"key": photo(place)},
            "annotations": [
                said(chance.choice(["snow", "grass"]), completed_by=person.id)
                | {"ground_truth": False, "was_cancelled": chance.random() < 0.1}
                for person in people
            ],
        }
        for place in range(10, PHOTOS)
    ]
    more[0]["annotations"][0] |= said("lava")
    numbers = room.door.import_tasks(project, more)
    row = room.log("label_tasks")[0]
    with Shelf(room.work).lock() as shelf:
        shelf.append(
            "label_tasks",
            [
                row | {"task": task, "photo_id": photo(place)}
                for place, task in enumerate(numbers, 10)
            ],
        )
    yield room
    room.close()


def _outcome(room):
    """What a pull is for: the answers, and each annotation's last state."""
    events = sorted(
        tuple(event[name] for name in EVENTS) for event in room.log("label_events")
    )
    last = {
        row["annotation"]: (row["task"], row["state"], row["raw"])
        for row in room.log("annotations")
    }
    return events, last, len(room.log("annotations"))


def _pull(room):
    """A pull by itself; its exit code, and what it told."""
    done = subprocess.run(
        room.command, env=os.environ | room.studio.environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


def _restored(room, kept):
    """The work folder as it was before any pull."""
    shutil.rmtree(room.work)
    shutil.copytree(kept, room.work)


@pytest.mark.slow
def test_killed_at_any_moment_the_next_pull_makes_it_good(room, tmp_path):
    kept = tmp_path / "kept"
    shutil.copytree(room.work, kept)
    (room.work / "secrets").mkdir(exist_ok=True)
    Shelf(room.work).secret("annotators")
    shutil.copytree(room.work / "secrets", kept / "secrets", dirs_exist_ok=True)
    start = time.monotonic()
    code, told = _pull(room)
    length = time.monotonic() - start
    assert code == 0, told
    expected = _outcome(room)
    assert len(expected[1]) == 2 * (PHOTOS - 10)

    chance, killed, begun = random.Random(2), 0, 0
    for kill in range(KILLS):
        # some of them one after another, without a pull to the end in between
        if kill % 3 == 0:
            _restored(room, kept)
        process = subprocess.Popen(
            room.command, env=os.environ | room.studio.environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        _wait(room, process, chance.uniform(0.0, 1.0), length)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
        begun += bool(room.log("annotations")) and not room.log("pulls")
        if kill % 3 == 2 or kill == KILLS - 1:
            code, told = _pull(room)
            assert code == 0, told
            assert _outcome(room) == expected
    assert killed >= KILLS // 2
    assert begun  # some were cut off in the middle


def _wait(room, process, moment, length):
    """Until something is in the log, and a part of the rest of a pull; or its end.

    The first half of a pull is the program's start, in which nothing can happen.
    """
    end = time.monotonic() + length
    while process.poll() is None and time.monotonic() < end:
        if room.log("annotations"):
            break
        time.sleep(0.01)
    time.sleep(moment * length / 4)


@pytest.mark.slow
def test_a_server_killed_under_a_pull_and_started_again(room, server, tmp_path):
    Shelf(room.work).secret("annotators")
    kept = tmp_path / "kept"
    shutil.copytree(room.work, kept)
    code, told = _pull(room)
    assert code == 0, told
    expected = _outcome(room)

    _restored(room, kept)
    process = subprocess.Popen(
        room.command, env=os.environ | room.studio.environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    end = time.monotonic() + 60
    while not room.log("annotations") and time.monotonic() < end:
        time.sleep(0.005)
    port = int(room.studio.url.rpartition(":")[2])
    room.studio.server.kill()
    time.sleep(1.0)
    assert not _answers(port)
    room.studio = server(port)
    _, told = process.communicate(timeout=300)

    if process.returncode:  # it gave up before the server was back
        assert process.returncode == 4, told
        assert "Traceback" not in told
        assert room.log("pulls") == []
    code, told = _pull(room)
    assert code == 0, told
    assert _outcome(room) == expected


def _answers(port):
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0
