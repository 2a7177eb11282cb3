"""The work folder: whole files, durable logs, one writer."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from curation.errors import InputError, WorkFolderError
from curation.schemas import from_rows
from curation.shelf import Done, Shelf, explained


def key(text):
    return hashlib.sha256(text.encode()).hexdigest()


def flags(*names):
    rows = [
        {
            "photo_id": key(name),
            "label_noise": 0.0,
            "feature_noise": 0.0,
            "ambiguity": 0.0,
            "clarity": 0.0,
        }
        for name in names
    ]
    return from_rows(rows, "flags")


def test_a_folder_that_is_no_work_folder_is_refused(tmp_path):
    with pytest.raises(WorkFolderError, match="no work folder"):
        Shelf.open(tmp_path)
    (tmp_path / "shelf.json").write_text(json.dumps({"format": 99}))
    with (
        pytest.raises(WorkFolderError, match="format 99"),
        Shelf(tmp_path).lock(),
    ):
        pass


def test_a_second_writer_is_told_at_once(tmp_path):
    code = (
        "import sys; from pathlib import Path; from curation.shelf import Shelf\n"
        "from curation.errors import WorkFolderError\n"
        "try:\n    Shelf(Path(sys.argv[1])).lock().__enter__()\n"
        "except WorkFolderError as error:\n    print(error)\n"
    )
    with Shelf(tmp_path).lock():
        told = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True
        ).stdout
        assert f"in use by another run (process {os.getpid()})" in told
    with Shelf(tmp_path).lock():  # and free again
        pass


def write_to_a_full_disk():
    with Path("/dev/full").open("wb") as file:
        file.write(b"x")


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_a_full_disk_is_explained(tmp_path):
    with pytest.raises(WorkFolderError, match="disk is full"), explained(tmp_path):
        write_to_a_full_disk()


def test_a_read_only_folder_is_explained(tmp_path):
    error = PermissionError(13, "Permission denied", str(tmp_path / "x"))
    with pytest.raises(WorkFolderError, match="cannot be written"), explained(tmp_path):
        raise error


def test_a_torn_last_line_is_cut_off_and_the_rest_kept(tmp_path):
    with Shelf(tmp_path).lock() as shelf:
        shelf.append("label_events", [{"a": 1}, {"a": 2}])
    log = tmp_path / "logs" / "label_events.jsonl"
    with log.open("ab") as file:
        file.write(b'{"a": 3, "torn')
    assert Shelf.open(tmp_path).read_log("label_events") == [{"a": 1}, {"a": 2}]
    with Shelf(tmp_path).lock() as shelf:
        shelf.append("label_events", [{"a": 4}])
        assert shelf.read_log("label_events") == [{"a": 1}, {"a": 2}, {"a": 4}]


def test_a_line_corrupted_in_the_middle_is_an_error_that_names_it(tmp_path):
    with Shelf(tmp_path).lock() as shelf:
        shelf.append("fetches", [{"a": 1}, {"a": 2}])
    log = tmp_path / "logs" / "fetches.jsonl"
    log.write_bytes(b"{nonsense\n" + log.read_bytes())
    with pytest.raises(InputError, match="line 1"):
        Shelf.open(tmp_path).read_log("fetches")


def test_left_over_temporary_files_are_cleared_and_never_read(tmp_path):
    with Shelf(tmp_path).lock() as shelf:
        shelf.write_part("screen", "r", flags("a"))
        left = shelf.table_folder("screen", "r") / "x.parquet.part"
        left.write_bytes(b"half")
        assert shelf.read_table("screen", "r", name="flags").num_rows == 1
    with Shelf(tmp_path).lock():
        assert not left.exists()


def test_a_table_counts_only_once_it_is_marked(tmp_path):
    with Shelf(tmp_path).lock() as shelf:
        shelf.write_table("screen", "r", flags("a"))
        assert shelf.done("screen", "r") is None
        assert shelf.started("screen", "r")
        done = Done({"photos": "1"}, 1, 0, "f")
        shelf.finish("screen", "r", done)
        assert shelf.done("screen", "r") == done


def test_equal_tables_give_equal_files(tmp_path):
    with Shelf(tmp_path).lock() as shelf:
        one = shelf.write_table("screen", "r", flags("a", "b"))
        two = shelf.write_table("screen", "s", flags("a", "b"))
    assert one == two


def test_purge_leaves_no_row_and_no_bytes(tmp_path):
    with Shelf(tmp_path).lock() as shelf:
        data = b"picture"
        photo = hashlib.sha256(data).hexdigest()
        shelf.add_photo(photo, data)
        rows = flags("a", "b").to_pylist()
        rows[0]["photo_id"] = photo
        shelf.write_table("screen", "r", from_rows(rows, "flags"))
        assert shelf.purge(photo) == 1
        left = shelf.read_table("screen", "r", name="flags")
        assert left.column("photo_id").to_pylist() == [key("b")]
        assert list(shelf.photo_ids()) == []


def test_a_part_of_another_schema_is_refused(tmp_path):
    with Shelf(tmp_path).lock() as shelf:
        shelf.write_part("screen", "r", pa.table({"photo_id": ["a"]}))
        with pytest.raises(InputError, match="'label_noise' is missing"):
            shelf.read_table("screen", "r", name="flags")
