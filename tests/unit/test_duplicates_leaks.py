"""Photos that another set has too are told, whatever was done to them there."""

import hashlib

import numpy as np
import pyarrow as pa
import pytest

from curation.duplicates import leaks as module
from curation.duplicates.leaks import leaks
from curation.duplicates.matches import Settings
from curation.schemas import schema
from tests import hash_tables

SETTINGS = Settings()


def _sha(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _others(thumbs: np.ndarray, **columns: list[object]) -> pa.Table:
    """What reading another set's hash table gives, named 0.jpg, 1.jpg, …"""
    count = len(thumbs)
    table = hash_tables.table(thumbs, names=[f"other {i}" for i in range(count)])
    table = table.rename_columns(
        ["sha256" if n == "photo_id" else n for n in table.column_names]
    )
    names = pa.array([f"{i}.jpg" for i in range(count)])
    table = table.append_column("name", names)
    for name, values in columns.items():
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, pa.array(values, pa.string()))
    return table


def test_copies_are_found_in_the_other_set_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    mine = hash_tables.scenes(40, rng)
    theirs = np.concatenate(
        [
            hash_tables.noisy(mine[:3], rng),
            hash_tables.noisy(mine[5:6, :, ::-1], rng),
            hash_tables.scenes(60, rng),
        ]
    )
    found = leaks(hash_tables.table(mine), _others(theirs), SETTINGS, name="val")
    assert found.schema.equals(schema("leaks"))
    rows = {row["photo_id"]: row for row in found.to_pylist()}
    assert {key: row["name"] for key, row in rows.items()} == {
        _sha("0"): "0.jpg", _sha("1"): "1.jpg", _sha("2"): "2.jpg", _sha("5"): "3.jpg",
    }  # fmt: skip
    assert rows[_sha("5")]["variant"] == "mirror"
    assert {row["set"] for row in rows.values()} == {"val"}
    assert {row["reason"] for row in rows.values()} == {"perceptual"}


def test_equal_bytes_and_pixels_count_even_without_contrast() -> None:
    black = np.zeros((3, 32, 32), np.uint8)
    mine = hash_tables.table(black)
    pixels = pa.array(["p0", "p1", None], pa.string())
    mine = mine.set_column(mine.schema.get_field_index("pixels"), "pixels", pixels)
    others = _others(
        np.zeros((4, 32, 32), np.uint8),
        sha256=[_sha("2"), "x", "y", "z"],
        pixels=[None, "p1", None, "p7"],
    )
    rows = leaks(mine, others, SETTINGS).to_pylist()
    assert {(r["photo_id"], r["name"], r["reason"]) for r in rows} == {
        (_sha("2"), "0.jpg", "bytes"), (_sha("1"), "1.jpg", "pixels"),
    }  # fmt: skip


def test_failed_rows_of_the_other_set_are_compared_by_bytes() -> None:
    mine = hash_tables.table(hash_tables.scenes(2, np.random.default_rng(1)))
    others = _others(hash_tables.scenes(2, np.random.default_rng(2)))
    others = others.to_pylist()
    others[1] |= {"status": "failed", "sha256": _sha("0")}
    for name in ("phash", "thumb", "texture", "pixels"):
        others[1][name] = None
    fields = _others(hash_tables.scenes(1, np.random.default_rng(2))).schema
    table = pa.Table.from_pylist(others, schema=pa.schema(fields))
    (row,) = leaks(mine, table, SETTINGS).to_pylist()
    assert (row["photo_id"], row["name"], row["reason"]) == (
        _sha("0"), "1.jpg", "bytes",
    )  # fmt: skip


@pytest.mark.parametrize("part", [1, 7, 1000])
def test_parts_of_the_other_set_change_nothing(part: int, monkeypatch) -> None:
    rng = np.random.default_rng(3)
    mine = hash_tables.scenes(20, rng)
    theirs = hash_tables.noisy(mine[::2], rng)
    whole = leaks(hash_tables.table(mine), _others(theirs), SETTINGS)
    monkeypatch.setattr(module, "PART", part)
    assert leaks(hash_tables.table(mine), _others(theirs), SETTINGS).equals(whole)
    assert whole.num_rows == 10


def test_a_crowd_in_both_sets_is_told_by_a_few_rows_each() -> None:
    rng = np.random.default_rng(4)
    scene = hash_tables.scenes(1, rng)
    mine = np.concatenate([hash_tables.scenes(5, rng), np.repeat(scene, 300, axis=0)])
    theirs = np.repeat(scene, 500, axis=0)
    found = leaks(hash_tables.table(mine), _others(theirs), SETTINGS).to_pylist()
    assert len({row["photo_id"] for row in found}) == 300
    assert len(found) == 300 * module.MOST


def test_nothing_on_either_side() -> None:
    some = hash_tables.scenes(2, np.random.default_rng(5))
    none = some[:0]
    assert leaks(hash_tables.table(none), _others(some), SETTINGS).num_rows == 0
    assert leaks(hash_tables.table(some), _others(none), SETTINGS).num_rows == 0
