"""Parts in other processes: a crash costs the one photo that caused it."""

import hashlib
import io
import os

import pyarrow as pa
import pytest
from PIL import Image

from curation import engines
from curation.schemas import from_rows
from curation.stages import hash as hashing

STAGE = """
import os, signal, sys
from curation.stages import hash as real

OUTPUT, PATH = real.OUTPUT, real.PATH

def run(inputs, settings):
    for data in inputs["photos"].column("data").to_pylist():
        if data == b"segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        if data == b"memory":
            os.kill(os.getpid(), signal.SIGKILL)
        if data == b"exit":
            os._exit(3)
        if data == b"bug":
            raise ZeroDivisionError("a bug of the stage")
    return real.run(inputs, settings)
"""


@pytest.fixture
def crashing(tmp_path, monkeypatch):
    """A stage that crashes its process on some photos; its name."""
    package = tmp_path / "outside"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "crashing.py").write_text(STAGE)
    # processes that are spawned get sys.path as it is here
    monkeypatch.syspath_prepend(str(tmp_path))
    return "outside.crashing"


def picture(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), (shade, 90, 200 - shade)).save(file, "PNG")
    return file.getvalue()


def works(stage, folder, contents, part=8):
    photos = []
    for place, data in enumerate(contents):
        key = hashlib.sha256(data).hexdigest()
        (folder / key).write_bytes(data)
        photos.append(
            {
                "photo_id": key, "candidate_id": key, "class": "bear", "classes": [],
                "observation_id": key, "composed": False, "bytes": len(data),
                "format": "PNG", "width": 40, "height": 30, "order": place,
            }
        )  # fmt: skip
    table = from_rows(photos, "photos")
    return [
        engines.Work(
            stage,
            hashing.Settings(max_pixels=10**6),
            rows,
            [folder / key for key in rows.column("photo_id").to_pylist()],
        )
        for rows in engines.parts(table, part)
    ]


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
