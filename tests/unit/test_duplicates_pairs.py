"""The pair search is exact: equal to comparing all with all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.duplicates import pairs

CODES = st.lists(st.integers(0, 2**64 - 1), max_size=30)


def _brute(queries: np.ndarray, codes: np.ndarray, radius: int) -> list[tuple]:
    return [
        (i, j, d)
        for i, a in enumerate(queries.tolist())
        for j, b in enumerate(codes.tolist())
        if (d := (a ^ b).bit_count()) <= radius
    ]


def _rows(found: pairs.Pairs) -> list[tuple]:
    return list(
        zip(
            found.left.tolist(), found.right.tolist(), found.distance.tolist(),
            strict=True,
        )
    )  # fmt: skip


@given(CODES, CODES, st.integers(0, 64), st.randoms(use_true_random=False))
def test_between_equals_brute_force(left, right, radius, rng) -> None:
    # codes near those there are: random ones are never near
    near = [code ^ (1 << rng.randrange(64)) ^ (1 << rng.randrange(64)) for code in left]
    queries, codes = np.array(left, np.uint64), np.array(right + near, np.uint64)

    found = _rows(pairs.between(queries, codes, radius=radius))

    assert found == _brute(queries, codes, radius)


@pytest.mark.parametrize("radius", [0, 1, 2, 4, 7, 10, 13])
@settings(max_examples=3)
@given(st.integers(0, 2**32))
def test_banded_search_equals_brute_force(radius: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 2**64, 3000, dtype=np.uint64)
    # clusters, as real hashes have them: few bits apart, and exact copies
    for place in range(1500, 3000):
        flips = rng.integers(0, 64, rng.integers(0, 14))
        codes[place] = codes[place % 300]
        for bit in flips.tolist():
            codes[place] ^= np.uint64(1 << bit)
    apart = np.bitwise_count(codes[:, None] ^ codes[None, :])
    left, right = np.nonzero(np.triu(apart <= radius, 1))

    found = pairs.within(codes, radius=radius)

    assert radius > 10 or pairs._plan(3000, 3000, radius)[0], "the bands are not tried"
    np.testing.assert_array_equal(found.left, left)
    np.testing.assert_array_equal(found.right, right)
    np.testing.assert_array_equal(found.distance, apart[left, right])


@given(st.integers(1, 10**7), st.integers(1, 10**7), st.integers(0, 64))
def test_plans_satisfy_the_pigeonhole(queries: int, codes: int, radius: int) -> None:
    widths, thresholds = pairs._plan(queries, codes, radius)

    assert not widths or sum(widths) == 64
    assert not widths or sum(t + 1 for t in thresholds) > radius


def test_large_buckets_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "_SCAN", 1000)
    codes = np.zeros(3000, np.uint64)
    codes[300:] = np.arange(1, 2701)

    assert pairs._plan(3000, 3000, 0)[0], "the bands are not tried"
    assert len(pairs.within(codes, radius=0)) == 300 * 299 // 2


def test_nothing_to_compare() -> None:
    none = np.empty(0, np.uint64)

    assert len(pairs.between(none, np.array([1], np.uint64), radius=64)) == 0
    assert len(pairs.within(none, radius=3)) == 0
