"""Pulls that are cut off, and servers that die under them: the same answers in the end.

COUNTERSET_LABEL_KILLS says how many pulls are killed.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from curation.shelf import Shelf
from tests.labelled import Room, photo, said

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("near")]

KILLS = int(os.environ.get("COUNTERSET_LABEL_KILLS", "4"))
PHOTOS = 160
EVENTS = ("photo_id", "question", "answer", "annotator", "created_at", "supersedes")
# small requests and writes, so that a kill falls between and into many of them
PROGRAM = """
from curation.labelling import pull
from curation.labelstudio import reading
pull.BATCH, reading.BATCH, reading.PAGE = 10, 10, 50
from curation.cli import main
main()
"""


@pytest.fixture(scope="module")
def asked(near, tmp_path_factory):
    """A campaign with two annotations of most photos, one of which is bad."""
    room = Room(tmp_path_factory.mktemp("pulls") / "room", near)
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
    Shelf(room.work).secret("annotators")
    with Shelf(room.work).lock() as shelf:
        shelf.append(
            "label_tasks",
            [
                row | {"task": task, "photo_id": photo(place)}
                for place, task in enumerate(numbers, 10)
            ],
        )
    shutil.copytree(room.work, room.folder / "kept")
    room.pull()
    yield room, _outcome(room)
    room.close()


@pytest.fixture
def room(asked):
    """The campaign, which nobody has pulled yet; and what a pull is to end in."""
    room, expected = asked
    _restored(room)
    assert len(expected[1]) == 2 * (PHOTOS - 10)
    return room, expected


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


def _restored(room):
    """The work folder as it was before any pull."""
    shutil.rmtree(room.work)
    shutil.copytree(room.folder / "kept", room.work)


def _begin(room, **more):
    """A pull by itself."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *room.command[3:]],
        env=os.environ | room.studio.environment, stdout=subprocess.DEVNULL, **more,
    )  # fmt: skip


def _wait(room, process, rows):
    """Until so many annotations are in the log, or the program's end."""
    end = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < end:
        if len(room.log("annotations")) >= rows:
            return
        time.sleep(0.002)


def test_killed_at_any_moment_the_next_pull_makes_it_good(room):
    room, expected = room
    chance, killed, begun = random.Random(2), 0, 0
    for kill in range(KILLS):
        # every other one after a pull that was killed, too
        if kill % 2 == 0:
            _restored(room)
        have = len(room.log("annotations"))
        process = _begin(room, stderr=subprocess.DEVNULL)
        _wait(room, process, have + chance.randrange(1, PHOTOS // 2))
        time.sleep(chance.uniform(0.0, 0.05))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
        begun += bool(room.log("annotations")) and not room.log("pulls")
        if kill % 2 or kill == KILLS - 1:
            room.pull()
            assert _outcome(room) == expected
    assert killed >= KILLS // 2
    assert begun  # some were cut off in the middle


def test_a_server_killed_under_a_pull_and_started_again(room):
    room, expected = room
    process = _begin(room, stderr=subprocess.PIPE, text=True)
    try:
        _wait(room, process, 1)
        room.studio.server.kill()
        time.sleep(1.0)
        assert not _answers(int(room.studio.url.rpartition(":")[2]))
    finally:
        room.studio.restart()
    _, told = process.communicate(timeout=300)

    if process.returncode:  # it gave up before the server was back
        assert process.returncode == 4, told
        assert "Traceback" not in told
        assert room.log("pulls") == []
    room.pull()
    assert _outcome(room) == expected


def _answers(port):
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0
