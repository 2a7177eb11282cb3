"""kill -9 while collecting and fetching: nothing lost, nothing twice but what flew."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from tests.standins import pictures
from tests.standins.server import Answer, Server

KILLS = int(os.environ.get("COUNTERSET_FETCH_KILLS", "6"))
PHOTOS = int(os.environ.get("COUNTERSET_FETCH_PHOTOS", "300"))
CONNECTIONS = 16

CONFIG = """\
[dataset]
name = "killed"
[[classes]]
name = "bear"
[[backgrounds]]
name = "snow"
prompts = ["snow"]
[[backgrounds]]
name = "grass"
prompts = ["grass"]
[[sources]]
kind = "urls"
path = "list.csv"
licence = "CC0-1.0"
[collect]
per_class = 1000000
[http]
connections = {connections}
[[http.hosts]]
name = "127.0.0.1"
private = true
"""


@pytest.mark.slow
def test_killed_at_any_moment_no_photo_is_lost_or_fetched_for_nothing(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    work = tmp_path / "work"
    (tmp_path / "dataset.toml").write_text(CONFIG.format(connections=CONNECTIONS))
    command = [sys.executable, "-m", "curation.cli", "fetch", "--quiet", "--json"]
    command += ["-c", str(tmp_path / "dataset.toml"), "--work", str(work)]
    chance = random.Random(0)
    # a run of its own takes about so long, and each is killed in a part of it
    length = PHOTOS * 0.25 / CONNECTIONS

    def reply(asked) -> Answer:
        if asked.path == "/robots.txt":
            return Answer(404)
        return Answer(body=pictures.jpeg(asked.path))

    with Server(reply, latency=0.2) as server:
        paths = [f"/{place}.jpg" for place in range(PHOTOS)]
        with (tmp_path / "list.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["url", "class"])
            writer.writerows([server.url + path, "bear"] for path in paths)
        killed, kept = 0, 0
        for _ in range(KILLS):
            process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            time.sleep(1.0 + chance.uniform(0, length / KILLS * 2))
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                killed += 1
            process.wait()
            rows = _rows(work)
            assert len(rows) >= kept  # what was acknowledged is never lost
            kept = len(rows)
        assert killed >= KILLS // 2
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        asked = Counter(one.path for one in server.asked if one.path in set(paths))
    rows = [json.loads(line) for line in _rows(work)]
    # every photo has its one row, and its bytes
    ids = [row["candidate_id"] for row in rows]
    assert len(ids) == len(set(ids)) == PHOTOS
    assert {row["status"] for row in rows} == {"ok"}
    # what kills left half-written is no photo, and `check` takes it away
    checked = subprocess.run(
        [*command[:3], "check", "--work", str(work)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode in (0, 3), checked.stderr
    assert "photo" not in checked.stdout
    blobs = {path.name: path for path in work.glob("blobs/??/*")}
    assert set(blobs) == {row["photo_id"] for row in rows}
    assert {path.read_bytes() for path in blobs.values()} == {
        pictures.jpeg(path) for path in paths
    }
    stages = {one["stage"]: one for one in json.loads(done.stdout)["stages"]}
    assert stages["fetch"]["rows"] == PHOTOS
    assert stages["fetch"]["failed"] == 0
    # asked for again: only what was under way at a kill, or not yet acknowledged
    assert set(asked) == set(paths)
    assert max(asked.values()) <= 1 + killed
    assert sum(asked.values()) - PHOTOS <= killed * 3 * CONNECTIONS


def _rows(work) -> list[str]:
    """Whole lines of the log."""
    log = work / "logs" / "fetches.jsonl"
    text = log.read_text() if log.exists() else ""
    return text.splitlines() if text.endswith("\n") else text.splitlines()[:-1]
