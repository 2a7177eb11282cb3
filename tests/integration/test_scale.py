"""Thousands of photos: nothing is sent for nothing, and kills change no byte."""

import io
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curation import engines, flushing
from curation.schemas import from_rows
from curation.shelf import Shelf
from curation.spread import spread

PHOTOS = 2000

CONFIG = """\
[dataset]
name = "many"
[[classes]]
name = "bear"
[[backgrounds]]
name = "snow"
prompts = ["snow"]
[[backgrounds]]
name = "grass"
prompts = ["grass"]
[[sources]]
kind = "folder"
path = "photos"
licence = "CC0-1.0"
[run]
jobs = 2
"""
# as if there were so many that more processes are worth their start
SCRIPT = """\
import curation.actions.fetch as fetch
from curation.cli import main
fetch._WORTH = 1
main()
"""


def table(count):
    rows = [
        {
            "photo_id": f"{place:064x}", "candidate_id": f"{place:064x}",
            "class": "bear", "classes": ["bear"], "observation_id": f"{place:064x}",
            "composed": False, "bytes": 1, "format": "PNG", "width": 40, "height": 30,
            "order": place,
        }
        for place in range(count)
    ]  # fmt: skip
    return from_rows(rows, "photos")


def test_a_part_is_sent_without_the_table_it_was_cut_from():
    whole = table(20_000)
    parts = list(engines.parts(whole))
    assert sum(part.num_rows for part in parts) == 20_000
    largest = max(len(pickle.dumps(part)) for part in parts)
    assert largest < 3 * len(pickle.dumps(table(engines.PART)))


def test_no_photo_of_a_group_is_in_place_before_all_are_on_disk(tmp_path, monkeypatch):
    shelf, waited = Shelf(tmp_path), []
    real = flushing._sync_all

    def watching(handle):
        waited.append(list(shelf.photo_ids()))
        return real(handle)

    monkeypatch.setattr(flushing, "_sync_all", watching)
    monkeypatch.setattr(flushing, "_OWN_DISK", {flushing._kind(tmp_path.stat())})
    ids = [f"{place:064x}" for place in range(40)]
    with shelf.adding() as add:
        for photo in [*ids, *ids[:5]]:
            add(photo, photo.encode())
    assert waited == [[]]
    assert list(shelf.photo_ids()) == ids
    assert all(shelf.read_photo(photo) == photo.encode() for photo in ids)


def test_where_all_cannot_be_waited_for_each_file_is(tmp_path, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(fd), real(fd)))
    monkeypatch.setattr(flushing, "_OWN_DISK", set())
    shelf = Shelf(tmp_path)
    ids = [f"{place:064x}" for place in range(20)]
    with shelf.adding() as add:
        for photo in ids:
            add(photo, b"x")
    assert len(synced) == 20
    shelf.add_photo(f"{20:064x}", b"y")
    assert len(synced) == 21


def test_a_group_that_fails_leaves_nothing(tmp_path):
    def broken_off():
        with Shelf(tmp_path).adding() as add:
            add("ab" * 32, b"x")
            raise KeyboardInterrupt

    pytest.raises(KeyboardInterrupt, broken_off)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_same_photos_from_many_threads_are_kept_once(tmp_path):
    shelf, faults = Shelf(tmp_path), []
    ids = [f"{place:064x}" for place in range(50)]

    def work():
        try:
            with shelf.adding() as add:
                for photo in ids:
                    add(photo, photo.encode() * 100)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(path.name for path in files) == ids


def squares(numbers):
    return [number**2 for number in numbers]


def dying(path, numbers):
    """End this process at the sixth group, once."""
    if numbers == [6] and not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return squares(numbers)


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_the_order_of_the_groups(jobs):
    groups = [[place, place + 1] for place in range(30)]
    assert list(spread(squares, groups, jobs=jobs)) == [squares(g) for g in groups]


def test_a_killed_process_costs_no_result(tmp_path):
    from functools import partial

    groups = [[place] for place in range(12)]
    found = list(spread(partial(dying, tmp_path / "died"), groups, jobs=2))
    assert (tmp_path / "died").exists()
    assert found == [squares(group) for group in groups]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A folder of small photos, each unlike the others, and its dataset.toml."""
    root = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(5)
    (root / "photos" / "bear").mkdir(parents=True)
    for place in range(PHOTOS):
        grey = Image.fromarray(rng.integers(0, 256, (6, 8), dtype=np.uint8))
        file = io.BytesIO()
        grey.resize((64, 48), Image.Resampling.BICUBIC).save(file, "JPEG")
        (root / "photos" / "bear" / f"{place:04}.jpg").write_bytes(file.getvalue())
    (root / "dataset.toml").write_text(CONFIG)
    return root


def command(root: Path, work: Path) -> list[str]:
    words = ["run", "--until", "hash", "--quiet", "--json"]
    words += ["-c", str(root / "dataset.toml"), "--work", str(work)]
    return [sys.executable, "-c", SCRIPT, *words]


def finished(root: Path, work: Path) -> dict[str, dict]:
    done = subprocess.run(
        command(root, work), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return {one["stage"]: one for one in json.loads(done.stdout)["stages"]}


def tables(work: Path) -> dict[str, bytes]:
    """Every part of the tables `photos` and `hashes`."""
    paths = [p for s in ("fetch", "hash") for p in work.glob(f"tables/{s}/*/*.parquet")]
    return {str(path.relative_to(work)): path.read_bytes() for path in paths}


def children(process: int) -> list[int]:
    try:
        text = Path(f"/proc/{process}/task/{process}/children").read_text()
    except OSError:
        return []
    return [int(word) for word in text.split()]


def started(work: Path, step: str) -> int:
    """How far a step is: rows of the log of fetches, or parts of the hashes."""
    if step == "fetch":
        log = work / "logs" / "fetches.jsonl"
        return log.read_bytes().count(b"\n") if log.exists() else 0
    return len(list(work.glob("tables/hash/*/*.parquet")))


def reached(process: subprocess.Popen, work: Path, step: str, goal: int) -> None:
    """Wait until a step is so far, or the run has ended."""
    while started(work, step) < goal and process.poll() is None:
        time.sleep(0.002)


def assert_whole(work: Path, wanted: dict[str, bytes]) -> None:
    """The tables have these bytes, and every photo came once."""
    assert tables(work) == wanted
    log = (work / "logs" / "fetches.jsonl").read_text().splitlines()
    ids = [json.loads(line)["photo_id"] for line in log]
    assert len(ids) == len(set(ids)) == PHOTOS
    assert list(Shelf.open(work).photo_ids()) == sorted(ids)


@pytest.fixture(scope="module")
def undisturbed(many, tmp_path_factory):
    """What a run makes that nobody disturbs."""
    work = tmp_path_factory.mktemp("undisturbed") / "work"
    stages = finished(many, work)
    assert stages["fetch"]["rows"] == stages["hash"]["rows"] == PHOTOS
    wanted = tables(work)
    assert len(wanted) >= PHOTOS // engines.PART
    return wanted


@pytest.mark.slow
def test_a_run_killed_while_fetching_and_hashing_ends_in_the_same_bytes(
    many, undisturbed, tmp_path
):
    chance = random.Random(1)
    goals = {"fetch": chance.randrange(1, PHOTOS // 2), "hash": chance.randint(1, 4)}
    for step, goal in goals.items():
        process = subprocess.Popen(command(many, tmp_path), stdout=subprocess.DEVNULL)
        reached(process, tmp_path, step, goal)
        assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not list(tmp_path.glob("tables/hash/*/done.json"))
    finished(many, tmp_path)
    assert_whole(tmp_path, undisturbed)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
@pytest.mark.parametrize("step", ["fetch", "hash"])
def test_a_worker_killed_changes_no_byte(many, undisturbed, tmp_path, step):
    process = subprocess.Popen(command(many, tmp_path), stdout=subprocess.DEVNULL)
    reached(process, tmp_path, step, 1)
    os.kill(children(process.pid)[-1], signal.SIGKILL)
    assert process.wait() == 0
    assert_whole(tmp_path, undisturbed)
