"""What is compared is gathered from tables of any cut, and equal is what is equal."""

import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.duplicates import pairs, pictures
from curation.duplicates.decision import Settings, decide
from curation.duplicates.links import Links
from curation.duplicates.pictures import Pictures, Thumbs, firsts
from curation.errors import InputError
from tests import hash_tables

FEW = st.lists(st.integers(0, 3), min_size=1, max_size=40)


def _cut(table: pa.Table, sizes: list[int]) -> pa.Table:
    """The same rows in chunks of these sizes and a last one, none of them at 0."""
    edges = np.minimum(np.cumsum([0, *sizes, table.num_rows]), table.num_rows)
    return pa.concat_tables(
        [table.slice(a, b - a) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    )


def _with_failed(table: pa.Table, places: list[int]) -> tuple[pa.Table, np.ndarray]:
    """Rows of failed photos put in between, and where the sound ones are now."""
    rows, sound = [], []
    for place, row in enumerate(table.to_pylist()):
        if place in places:
            nothing = {"photo_id": f"failed {place}", "status": "failed"}
            rows.append(dict.fromkeys(row) | nothing)
        sound.append(len(rows))
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=table.schema), np.array(sound)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=6), st.randoms(use_true_random=False))
def test_chunks_nulls_and_order_change_nothing(sizes: list[int], rng) -> None:
    thumbs = hash_tables.scenes(12, np.random.default_rng(0))
    whole = hash_tables.table(thumbs)
    codes = np.array(whole["phash"].to_pylist(), np.uint64)
    table, sound = _with_failed(whole, [0, 3, 4, 11])
    places = rng.sample(range(12), rng.randrange(13))

    found = Pictures.of(_cut(table, sizes), sound[places].astype(np.int64))

    np.testing.assert_array_equal(found.codes, codes[places])
    np.testing.assert_array_equal(found.thumbs[np.arange(len(places))], thumbs[places])
    np.testing.assert_array_equal(found.windows, Pictures.of(whole).windows[places])


def test_of_a_photo_hashes_are_held_and_its_thumb_is_not() -> None:
    table = hash_tables.table(hash_tables.scenes(3000, np.random.default_rng(1)))
    Pictures.of(table.slice(0, 10))  # what is loaded once
    arrow = pa.total_allocated_bytes()
    tracemalloc.start()
    try:
        found = Pictures.of(table, np.arange(2999, -1, -1))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    held += pa.total_allocated_bytes() - arrow
    assert held < 250 * len(found), "8 + 13 hashes and where the thumb is"


def test_the_order_is_who_is_kept() -> None:
    rng = np.random.default_rng(2)
    base = hash_tables.scenes(5, rng)
    whole = hash_tables.table(np.concatenate([base, hash_tables.noisy(base, rng)]))
    table, sound = _with_failed(whole, [2, 7])
    order = sound[rng.permutation(10)][:9].astype(np.int64)

    found = decide(table, Settings(), order=order)

    assert found.equals(decide(table.take(pa.array(order)), Settings()))
    assert found.num_rows >= 4


@given(FEW)
def test_first_of_equal_thumbs(values: list[int]) -> None:
    thumbs = hash_tables.scenes(4, np.random.default_rng(3))[values]
    column = hash_tables.table(thumbs)["thumb"]
    wanted = [values.index(value) for value in values]

    assert Thumbs.read(column).firsts().tolist() == wanted
    with pytest.MonkeyPatch.context() as patch:
        # sums that tell nothing apart, and blocks that end anywhere
        patch.setattr(pictures, "_FACTORS", np.zeros(256, np.uint64))
        patch.setattr(pictures, "_AT_ONCE", 3)
        assert Thumbs.read(column).firsts().tolist() == wanted


@given(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=20))
def test_first_of_equal_texts(texts: list[str | None]) -> None:
    column = pa.chunked_array([pa.array(texts, pa.string())])
    rows = np.arange(len(texts))[::-1]
    back = texts[::-1]

    assert firsts(column).tolist() == [
        at if text is None else texts.index(text) for at, text in enumerate(texts)
    ]
    assert firsts(column, rows).tolist() == [
        at if text is None else back.index(text) for at, text in enumerate(back)
    ]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(0, 12))
def test_links_are_all_near_pairs_both_ways(seed: int, part: int, radius: int) -> None:
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 2**64, 4, dtype=np.uint64)
    upright, entries = (
        base[rng.integers(0, 4, shape)]
        ^ (np.uint64(1) << rng.integers(0, 8, shape, dtype=np.uint64))
        for shape in (20, (15, 3))
    )
    near = np.bitwise_count(entries[:, :, None] ^ upright) <= radius
    wanted = list(zip(*(axis.tolist() for axis in np.nonzero(near)), strict=True))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("curation.duplicates.links.PART", part)
        links = Links(entries, pairs.groups(upright), radius=radius)

    rows = np.array([1, 2, 7, 14])
    one, other, which, apart = links.forward(rows)
    assert sorted(zip(one, which, other, strict=True)) == [
        row for row in wanted if row[0] in rows
    ]
    bits = np.bitwise_count(entries[one, which] ^ upright[other])
    np.testing.assert_array_equal(apart, bits)
    other, one, which, apart = links.backward(rows)
    assert sorted(zip(one, which, other, strict=True)) == [
        row for row in wanted if row[2] in rows
    ]
    bits = np.bitwise_count(entries[one, which] ^ upright[other])
    np.testing.assert_array_equal(apart, bits)
    np.testing.assert_array_equal(links.forward_counts(), near.sum(axis=(1, 2)))
    np.testing.assert_array_equal(links.backward_counts(), near.sum(axis=(0, 1)))


def test_links_of_many_parts_are_not_more_than_fit(monkeypatch) -> None:
    monkeypatch.setattr("curation.duplicates._bands.ROOM", 1000)
    monkeypatch.setattr("curation.duplicates.links.PART", 64)
    codes = np.arange(512, dtype=np.uint64)
    upright = pairs.groups(codes)

    with pytest.raises(InputError, match="smaller radius"):
        Links(codes[:, None], upright, radius=1)
    assert Links(codes[:64, None], upright, radius=1).forward_counts().sum() == 640
