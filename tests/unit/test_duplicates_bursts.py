"""Bursts link what one person saw in one day, if it looks alike; embeddings link it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.duplicates import neighbours
from curation.duplicates.bursts import bursts, linked

DAY = "2026-05-01"


def _unit(rows: list[list[float]]) -> np.ndarray:
    vectors = np.array(rows, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_only_the_same_observer_and_day_and_only_what_is_alike() -> None:
    alike, other = [1.0, 0.1], [0.0, 1.0]
    taken = [
        ("ann", DAY), ("ann", DAY), ("ann", DAY), ("ann", "2026-05-02"),
        ("bob", DAY), (None, DAY), ("ann", None), ("ann", DAY),
    ]  # fmt: skip
    vectors = _unit([alike, alike, other, alike, alike, alike, alike, [1.0, 0.2]])
    ids = list("abcdefgh")
    rows = bursts(ids, taken, vectors, least=0.9)
    assert [(row["photo_id"], row["keeper"]) for row in rows] == [
        ("b", "a"), ("h", "a")
    ]  # fmt: skip
    assert {row["decision"] for row in rows} == {"burst"}
    assert rows[1]["distance"] == pytest.approx(1 - rows[1]["cosine"], abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.floats(0.3, 0.99))
def test_linked_are_the_connected_components(seed: int, count: int, least) -> None:
    from scipy.sparse.csgraph import connected_components

    rng = np.random.default_rng(seed)
    vectors = _unit(rng.normal(size=(count, 3)).tolist())
    near = vectors @ vectors.T >= least
    label = connected_components(near | near.T, directed=False)[1]
    first = [int(np.flatnonzero(label == one)[0]) for one in label]
    assert linked(vectors, least=least).tolist() == first


@pytest.mark.parametrize("count", [1, 2, 60, 300])
def test_nearest_finds_what_all_products_find(count: int, monkeypatch) -> None:
    monkeypatch.setattr(neighbours, "_WORTH", 50)
    monkeypatch.setattr(neighbours, "_BLOCK", 64)
    rng = np.random.default_rng(count)
    base = rng.normal(size=(count, 64))
    base[count // 2 :] = base[: count - count // 2] + 0.1 * base[count // 2 :]
    vectors = _unit(base.tolist())
    earlier, later, cosine = neighbours.nearest(vectors, least=0.97, most=2)
    every = np.tril(np.round(vectors.astype(float) @ vectors.astype(float).T, 6), -1)
    expected = []
    for row in range(count):
        near = np.flatnonzero(every[row] >= 0.97)
        best = sorted(near.tolist(), key=lambda one: (-every[row, one], one))[:2]
        expected += [(one, row) for one in best]
    assert list(zip(earlier.tolist(), later.tolist(), strict=True)) == expected
    assert count < 60 or len(expected) >= count // 3
    assert (cosine >= 0.97).all()
