"""A server that may post to this machine says when it is time to pull."""

import socket
import subprocess
import sys
import time

import pytest

from tests.labelled import Room, photo, said

pytestmark = pytest.mark.xdist_group("near")


def test_the_servers_own_post_ends_the_wait(near, tmp_path, monkeypatch):
    # it refuses addresses such as loopback unless told otherwise, as `near` is
    for name, value in near.environment.items():
        monkeypatch.setenv(name, value)
    room = Room(tmp_path / "room", near)
    room.campaign("a", [photo(0), photo(1)])
    ann = near.annotator("ann")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
    more = ["--watch", "--every", "3000", "--listen", listen]
    watching = subprocess.Popen(
        [sys.executable, *room.command[1:], *more], stdout=subprocess.PIPE
    )
    hooks = f"/api/webhooks/?project={room.projects['a'].id}"
    try:
        until(lambda: near.ask("GET", hooks).json(), watching)
        time.sleep(1)  # the first look, which finds nothing
        room.answer(ann, 0, said("snow"))
        until(lambda: len(room.log("label_events")) == 6, watching)
        room.answer(ann, 1, said("grass"))
        until(lambda: len(room.log("label_events")) == 12, watching)
    finally:
        watching.terminate()
        watching.communicate(timeout=30)
        room.close()


def until(holds, process) -> None:
    end = time.monotonic() + 120
    while not holds():
        assert process.poll() is None, "it ended"
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.2)
