"""kill -9 at many random moments, then a run to the end: the same bytes."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

MOMENTS = int(os.environ.get("COUNTERSET_KILLS", "6"))


@pytest.mark.slow
def test_killed_at_any_moment_the_next_run_ends_in_the_same_bytes(world):
    script = [sys.executable, "-m", "curation.cli"]
    run = [*script, *world.arguments("run", "--quiet", "--json")]
    label = [
        *script,
        *world.arguments("labels", "import", str(world.root / "labels.csv")),
    ]

    def finish(command):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done

    start = time.monotonic()
    finish([*run, "--until", "tasks"])
    finish(label)
    finish(run)
    length = time.monotonic() - start
    release = world.release()
    assert len(release) > 5
    shutil.rmtree(world.work)

    chance = random.Random(0)
    killed, answers = 0, 0
    for moment in range(MOMENTS):
        # rounds from nothing, so that early steps are hit as often as late ones
        if moment % (MOMENTS // 3) == 0:
            shutil.rmtree(world.work, ignore_errors=True)
            answers = 0
            finish([*run, "--until", "collect"])
        log = world.work / "logs" / "label_events.jsonl"
        command = label if moment % 3 == 1 and _fetched(world) else run
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(chance.uniform(0.2, 0.6 * length))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
        # an acknowledged answer is never lost
        kept = log.read_bytes().count(b"\n") if log.exists() else 0
        assert kept >= answers
        answers = kept
    assert killed >= MOMENTS // 3

    finish([*run, "--until", "tasks"])
    finish(label)
    finish(run)
    assert world.release() == release
    assert world.json("check") == {"ok": True, "faults": []}
    assert (world.work / "logs" / "label_events.jsonl").read_bytes().count(b"\n") == 64


def _fetched(world) -> bool:
    return any((world.work / "tables" / "fetch").glob("*/done.json"))
