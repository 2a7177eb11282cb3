"""kill -9 at many random moments, then a run to the end: the same bytes."""

import os
import random
import shutil
import signal
import time
from contextlib import suppress

import pytest

from tests.forked import Forks

MOMENTS = int(os.environ.get("COUNTERSET_KILLS", "6"))
ROUND = MOMENTS // 3  # then from nothing again, the last time from people's answers


@pytest.mark.slow
def test_killed_at_any_moment_the_next_run_ends_in_the_same_bytes(world, tmp_path):
    run = world.arguments("run", "--quiet", "--json")
    tasks = [*run, "--until", "tasks"]
    label = world.arguments("labels", "import", str(world.root / "labels.csv"))
    log = world.work / "logs" / "label_events.jsonl"

    with Forks(tmp_path) as forks:

        def finish(words):
            start = time.monotonic()
            done = forks.run(*words)
            assert done.status == 0, done.errors
            return time.monotonic() - start

        finish(["--help"])
        length = finish(tasks), finish(label), finish(run)
        release = world.release()
        assert len(release) > 5

        chance = random.Random(0)
        killed, answers, labelled = 0, 0, False
        for moment in range(MOMENTS):
            if moment % ROUND == 0:
                shutil.rmtree(world.work)
                answers, labelled = 0, moment >= 2 * ROUND
                for words in (tasks, label) if labelled else ():
                    finish(words)
            words, longest = run, length[2 if labelled else 0]
            if moment % 3 == 1 and _fetched(world):
                words, longest, labelled = label, length[1], True
            process = forks.begin(*words)
            time.sleep(chance.uniform(0.0, 0.8 * longest))
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            killed += forks.end().status == -signal.SIGKILL
            # an acknowledged answer is never lost
            kept = log.read_bytes().count(b"\n") if log.exists() else 0
            assert kept >= answers
            answers = kept
        assert killed >= MOMENTS // 3

        for words in (tasks, label, run):
            finish(words)
    assert world.release() == release
    assert world.json("check") == {"ok": True, "faults": []}
    assert log.read_bytes().count(b"\n") == 64


def _fetched(world) -> bool:
    return any((world.work / "tables" / "fetch").glob("*/done.json"))
