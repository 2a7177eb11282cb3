"""Pushing, cut off anywhere: by a kill of the program, by a kill of the server.

Whatever was lost, pushing again completes, and every photo is one task.
COUNTERSET_LABEL_KILLS asks for more kills than the suite makes.
"""

import os
import random
import subprocess
import sys
import time
from collections import Counter

import pytest

from curation.labelstudio import LabelStudio

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("near")]

KILLS = int(os.environ.get("COUNTERSET_LABEL_KILLS", "4"))
# small requests, so that a kill falls between and into many of them
PROGRAM = """
from curation.labelling import push
push.BATCH, push.FIRST = 2, 1
from curation.cli import main
main()
"""


def begin(world, studio) -> "subprocess.Popen[bytes]":
    words = world.arguments("labels", "push", "--json")
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        env=os.environ | studio.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for(world, running, rows: int) -> None:
    """Until so many tasks are noted, or the program ended."""
    while running.poll() is None and len(world.log("label_tasks")) < rows:
        time.sleep(0.01)


def test_every_photo_is_one_task_whoever_is_killed(world, near):
    draw = random.Random(3)
    more = f'[tasks]\nanswers = 1\n[labels]\ndocuments = "{near.documents}"\n'
    world.config.write_text(world.config.read_text() + more)
    world.run("--until", "tasks")
    for kill in range(KILLS):
        # both, or the program; in the end the server alone: the program goes on alone,
        # and may leave nothing to push
        alone, server = kill == KILLS - 1, kill % 2 == 0 or kill == KILLS - 1
        before = len(world.log("label_tasks")) if kill else 0
        running = begin(world, near)
        try:
            wait_for(world, running, before + draw.randint(1, 12 // KILLS))
            time.sleep(draw.uniform(0, 0.05))
            cut = running.poll() is None
            if server:
                near.server.kill()
            if not alone:
                running.kill()
        finally:
            if server:
                near.restart()
        running.communicate(timeout=200)
        assert cut, "the program ended before it could be killed"
    last = begin(world, near)
    _, told = last.communicate(timeout=200)
    assert last.returncode == 0, told.decode()[-2000:]
    row = world.log("label_projects")[-1]
    door = LabelStudio(near.url, near.token)
    server = dict(door.keys(row["project"]))
    noted = {one["task"]: one["photo_id"] for one in world.log("label_tasks")}
    proposed = [one for one in world.log("label_tasks") if one["proposal"]]
    of = f"/api/predictions/?project={row['project']}"
    selected = near.ask("GET", of).json()
    door.delete_project(row["project"])
    door.close()
    assert set(Counter(server.values()).values()) == {1}
    assert len(server) == 32
    assert noted == server
    assert len(selected) == len({one["task"] for one in proposed}) > 0
