"""Parts in other processes: a crash costs the one photo that caused it."""

import hashlib
import os

import pyarrow as pa
import pytest

from curation import engines
from curation.engines.local import Pool
from curation.errors import ConfigError
from tests import parts
from tests.parts import picture, works


@pytest.fixture
def crashing(tmp_path, monkeypatch):
    """A stage that crashes its process on some photos; its name."""
    # processes that are spawned get sys.path as it is here
    monkeypatch.syspath_prepend(str(tmp_path))
    return parts.package(tmp_path)


def computed(listed, jobs) -> tuple[dict[str, dict], list[pa.Table]]:
    kept: list[pa.Table] = []
    engines.Local().compute(listed, jobs=jobs, processes=True, keep=kept.append)
    rows = pa.concat_tables(kept).to_pylist()
    found = {row["photo_id"]: row for row in rows}
    assert len(found) == len(rows)
    return found, kept


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_crash_becomes_the_row_of_the_photo_that_caused_it(crashing, tmp_path, jobs):
    good = [picture(shade) for shade in range(20)]
    bad = {b"segfault": "signal SIGSEGV", b"exit": "exit status 3"}
    found, kept = computed(works(crashing, tmp_path, [*good, *bad]), jobs)
    assert len(found) == 22
    assert len(kept) == 3  # parts are kept whole
    for data, how in bad.items():
        row = found.pop(hashlib.sha256(data).hexdigest())
        assert row["status"] == "failed"
        assert row["error"] == f"decoder crashed ({how})"
        assert row["phash"] is None
    assert {row["status"] for row in found.values()} == {"ok"}
    alike, _ = computed(works("hash", tmp_path, good), 1)
    assert found == alike


def test_a_process_ended_for_its_memory_is_told_alike(crashing, tmp_path):
    found, _ = computed(works(crashing, tmp_path, [picture(1), b"memory"]), 1)
    errors = sorted(row["error"] or "" for row in found.values())
    assert errors == ["", "decoder crashed (signal SIGKILL)"]


def test_an_exception_of_a_stage_is_still_our_bug(crashing, tmp_path):
    with pytest.raises(ZeroDivisionError, match="a bug of the stage"):
        computed(works(crashing, tmp_path, [picture(1), b"bug"]), 1)
    # also where photos are computed one by one
    with pytest.raises(ZeroDivisionError, match="a bug of the stage"):
        computed(works(crashing, tmp_path, [b"bug", b"segfault"]), 1)


def test_a_process_that_cannot_start_is_no_photos_fault(tmp_path, monkeypatch):
    # python itself ends at once in every new process
    (tmp_path / "sitecustomize.py").write_text("import os\nos._exit(7)\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    with pytest.raises(RuntimeError, match="no process can be started"):
        computed(works("hash", tmp_path, [picture(1)]), 1)


def test_parts_are_taken_as_they_are_needed(tmp_path):
    taken, kept = [], []

    def listed():
        for work in works("hash", tmp_path, [picture(n) for n in range(6)], part=1):
            taken.append(work)
            yield work

    def keep(table):
        # one is computed, one at most waits to be
        assert len(taken) <= len(kept) + 2
        kept.append(table)

    engines.Local().compute(listed(), jobs=1, processes=True, keep=keep)
    assert len(kept) == 6


def test_engines_are_known_by_name():
    with pytest.raises(ConfigError, match="--engine spark: no such engine"):
        next(engines.opened("spark").gen)
    with pytest.raises(ConfigError, match="--storage is for --engine ray"):
        next(engines.opened("processes", storage="s3://a/b").gen)
    for name in engines.ENGINES:
        with engines.opened(name) as engine:
            assert engine.name == name


def test_a_process_with_a_model_gets_one_core_or_one_gpu():
    with Pool(1, ("",)).start() as pool:
        assert pool.submit(os.getenv, "OMP_NUM_THREADS").result() == "1"
    with Pool(1, ("3",)).start() as pool:
        assert pool.submit(os.getenv, "CUDA_VISIBLE_DEVICES").result() == "3"
