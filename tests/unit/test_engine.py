"""Parts in other processes: a crash costs the one photo that caused it."""

import hashlib
import os
import pickle
import re
from multiprocessing import resource_tracker

import pyarrow as pa
import pytest

from curation import engines
from curation.engines import answers, ray
from curation.engines.local import Pool
from curation.engines.worker import ASKED, Worker, versions
from curation.errors import ConfigError, InputError, RemoteError
from curation.stages import embed
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
    resource_tracker.ensure_running()  # of multiprocessing; it is a python, too
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
        # one is kept, one computed, one waits
        assert len(taken) <= len(kept) + 3
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


def raised(worker: Worker, work: engines.Work) -> Exception:
    """What the engine raises for a part that a worker has no table of."""
    asked = pa.table({"place": [7], "work": [pickle.dumps(work)]}, schema=ASKED)
    (row,) = worker(asked).to_pylist()
    assert row["table"] is None
    with pytest.raises(Exception) as found:  # noqa: PT011 - the caller looks closer
        answers.opened(row, {7: work})
    return found.value


def test_a_worker_answers_with_the_table(tmp_path):
    (work,) = works("hash", tmp_path, [picture(1), picture(2)])
    asked = pa.table({"place": [7], "work": [pickle.dumps(work)]}, schema=ASKED)
    (row,) = Worker(None, False, versions())(asked).to_pylist()
    place, table = answers.opened(row, {7: work})
    assert place == 7
    assert table.column("photo_id").to_pylist() == sorted(
        work.photos.column("photo_id").to_pylist()
    )


def test_a_node_with_other_versions_is_refused(tmp_path):
    (work,) = works("hash", tmp_path, [picture(1)])
    error = raised(Worker(None, True, versions() | {"pillow": "0.1"}), work)
    assert isinstance(error, InputError)
    assert re.search(r"node .*pillow .* instead of 0\.1.*every node", str(error))


def test_a_model_that_a_node_lacks_is_named(tmp_path, tiny_clip):
    (work,) = works("hash", tmp_path, [picture(1)])
    worker = Worker(None, False, versions())
    other = embed.Settings(tiny_clip, "sha256:of other weights", 10**6)
    error = raised(worker, engines.Work("embed", other, work.photos, work.blobs))
    assert isinstance(error, InputError)
    assert re.search("node .*has other weights on this machine", str(error))
    gone = embed.Settings("open_clip:local-dir:/not/there", "x", 10**6)
    error = raised(worker, engines.Work("embed", gone, work.photos, work.blobs))
    assert isinstance(error, ConfigError)
    assert re.search("node .*there is no folder /not/there.*every node", str(error))


def test_a_photo_that_a_node_cannot_read(tmp_path, monkeypatch):
    (work,) = works("hash", tmp_path, [picture(1)])
    worker = Worker(None, True, versions())
    away = tmp_path / "away"
    work.blobs[0].rename(away)
    asked = pa.table({"place": [7], "work": [pickle.dumps(work)]}, schema=ASKED)
    (row,) = worker(asked).to_pylist()
    with pytest.raises(InputError, match="its blob cannot be read"):
        answers.opened(row, {7: work})
    away.rename(work.blobs[0])  # here it is, but not there
    with pytest.raises(InputError, match=r"node .* cannot read .*--storage s3"):
        answers.opened(row, {7: work})


def test_an_error_that_cannot_be_sent_is_told(tmp_path, monkeypatch):
    class OwnError(Exception):
        """Of a class that no other process knows."""

    def fail(work, read):
        raise OwnError("what it says")

    monkeypatch.setattr("curation.engines.worker.run", fail)
    (work,) = works("hash", tmp_path, [picture(1)])
    error = raised(Worker(None, False, versions()), work)
    assert isinstance(error, RuntimeError)
    assert "OwnError: what it says" in str(error)


@pytest.mark.parametrize(
    ("nodes", "decodes", "shape"),
    [
        ([(2, 0), (2, 0)], True, (4, 1, 0)),
        ([(0, 0), (16, 2), (8, 0)], True, (24, 1, 0)),
        ([(0, 0), (16, 2), (8, 0)], False, (2, 8, 1)),
        ([(2, 0), (16, 0)], False, (9, 2, 0)),
        ([(16, 0), (16, 0)], False, (8, 4, 0)),
        ([(1, 4)], False, (4, 1, 1)),
    ],
)
def test_actors_suit_the_cluster(monkeypatch, nodes, decodes, shape):
    monkeypatch.setattr(ray, "_nodes", lambda: nodes)
    found = ray._shape(decodes=decodes)
    assert (found.actors, found.cpus, found.gpus) == shape


def test_a_cluster_without_a_core_is_no_cluster(monkeypatch):
    monkeypatch.setattr(ray, "_nodes", lambda: [(0, 1)])
    with pytest.raises(RemoteError, match="no node with a core"):
        ray._shape(decodes=True)
