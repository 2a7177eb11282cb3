"""collect killed with -9 at many moments, then run to its end: the same bytes."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.integration.test_collect_crawls import NAMES, Project, inaturalist
from tests.standins.inaturalist import World, serving

MOMENTS = int(os.environ.get("COUNTERSET_KILLS", "6"))
IN_FLIGHT = 3
"""Requests of one page: the first of a class needs two more, for the range of ids."""


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Project(tmp_path / "mine")


@pytest.mark.slow
def test_killed_at_any_moment_no_row_is_lost_and_no_page_asked_twice(project):
    world = World(list(NAMES.values()), observations=1000, seed=5)
    chance = random.Random(0)
    with serving(world, latency=0.03) as server:
        project.write(inaturalist(server), collect=["per_class = 400"])
        collect = [
            *(sys.executable, "-m", "curation.cli", "collect", "--quiet"),
            *("-c", str(project.root / "dataset.toml"), "--work", str(project.work)),
        ]

        def finish():
            done = subprocess.run(collect, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr

        def asked():
            return [(one.path, tuple(one.query.items())) for one in server.asked]

        finish()
        parts, requests = project.parts(), asked()
        assert len(requests) == len(set(requests)) > 20
        assert project.rows().height > 800

        killed = 0
        for moment in range(MOMENTS):
            if moment % 3 == 0:  # rounds from nothing, that end after three kills
                shutil.rmtree(project.work, ignore_errors=True)
                (project.root / "taxa.lock.json").unlink()
                server.asked.clear()
                ends = []
            process = subprocess.Popen(
                collect, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            goal = len(server.asked) + chance.randint(1, len(requests) // 3)
            while len(server.asked) < goal and process.poll() is None:
                time.sleep(0.002)
            time.sleep(chance.uniform(0, 0.06))
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                killed += 1
            process.wait()
            time.sleep(0.1)  # what was under way arrives
            ends.append(len(server.asked))
            if moment % 3 < 2 and moment + 1 < MOMENTS:
                continue
            finish()
            assert project.parts() == parts
            found = asked()
            assert set(found) == set(requests)
            for place, one in enumerate(found):
                first = found.index(one)
                in_flight = any(end - IN_FLIGHT <= first < end for end in ends)
                assert first == place or in_flight, (place, first, ends)
        assert killed >= MOMENTS // 2


def test_killed_while_the_table_is_put_in_place(project, monkeypatch):
    world = World(list(NAMES.values()), observations=60, seed=5)
    with serving(world) as server:
        project.write(inaturalist(server), collect=["per_class = 20"]).collect()
        small = project.parts()
        folder = project.table()
        # as it is found when the run ended between two steps of putting it in place
        for torn in ("no part", "no mark", "draft left"):
            draft = folder / "next"
            draft.mkdir(exist_ok=True)
            (draft / "000000.parquet").write_bytes(b"torn")
            (draft / "000007.parquet").write_bytes(b"of an earlier draft")
            if torn != "draft left":
                (folder / "done.json").unlink()
            if torn == "no part":
                for part in folder.glob("*.parquet"):
                    part.unlink()
            count = len(server.asked)
            project.collect()
            assert project.parts() == small
            assert len(server.asked) == count
        project.collect()
        assert not list(folder.glob("*.part"))


def test_small_parts_are_merged_and_a_torn_merge_changes_nothing(project):
    from curation.crawls import Crawl, frame
    from curation.shelf import Shelf
    from curation.sources import Candidate

    def page(number):
        return frame(
            [
                Candidate(
                    source="here",
                    key=f"{number}-{place}",
                    revision="1",
                    class_="bear",
                    url="u",
                )
                for place in range(3)
            ]
        )

    with Shelf(project.work).lock() as shelf:
        crawl = Crawl(shelf, "c0ffee")
        for number in range(300):
            crawl.add(page(number), str(number))
            if number == 50:
                early = shelf.crawl_parts("c0ffee")[0]
                kept = early.path.read_bytes()
        files = shelf.crawl_parts("c0ffee")
        assert len(files) < 64

        def keys():
            again = Crawl(shelf, "c0ffee")
            assert again.cursor == "299"
            assert not again.whole
            return [key for rows in again.batches() for key in rows["key"]]

        wanted = [f"{number}-{place}" for number in range(300) for place in range(3)]
        assert keys() == wanted
        # killed between writing the merged part and deleting the first small one
        early.path.write_bytes(kept)
        assert keys() == wanted
        crawl = Crawl(shelf, "c0ffee")
        crawl.add(page(300), None)
        assert Crawl(shelf, "c0ffee").whole
        # without one in the middle, what is behind it cannot be trusted
        gap = shelf.crawl_parts("c0ffee")[1].path
        gap.unlink()
        again = Crawl(shelf, "c0ffee")
        rows = [key for part in again.batches() for key in part["key"]]
        assert rows == wanted[: len(rows)]
        assert again.cursor == str(len(rows) // 3 - 1)
        again.add(page(len(rows) // 3), "on")
        assert Crawl(shelf, "c0ffee").cursor == "on"
