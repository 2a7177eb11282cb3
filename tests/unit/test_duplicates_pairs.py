"""The pair search is exact: equal to comparing all with all."""

import itertools
import logging
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.duplicates import _bands, _pairs, pairs
from curation.errors import InputError

CODES = st.lists(st.integers(0, 2**64 - 1), max_size=30)
# few values: equal codes, near ones and far ones in every draw
FEW = st.lists(st.sampled_from([0, 1, 3, 2**63, 2**64 - 1, 2**64 - 2]), max_size=24)
SEARCHES = {"numpy": _bands.search, "compiled": _pairs.search}


def _array(codes: list[int]) -> np.ndarray:
    return np.array(codes, np.uint64)


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


def _clustered(seed: int, size: int) -> np.ndarray:
    """As real hashes are: half of them few bits from another, some equal."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 2**64, size, dtype=np.uint64)
    codes[size // 2 :] = codes[rng.integers(0, size // 10, size - size // 2)]
    for place in range(size // 2, size):
        for bit in rng.integers(0, 64, rng.integers(0, 20)).tolist():
            codes[place] ^= np.uint64(1 << bit)
    # and all of them agree in some bits
    return codes | np.uint64(0b1011 << 30)


@given(CODES, CODES, st.integers(0, 64), st.randoms(use_true_random=False))
def test_between_equals_brute_force(left, right, radius, rng) -> None:
    # codes near those there are: random ones are never near
    near = [code ^ (1 << rng.randrange(64)) ^ (1 << rng.randrange(64)) for code in left]
    queries, codes = _array(left), _array(right + near)

    found = _rows(pairs.between(queries, codes, radius=radius))

    assert found == _brute(queries, codes, radius)


@given(FEW, st.integers(0, 64))
def test_within_equals_brute_force(codes: list[int], radius: int) -> None:
    some = _array(codes)

    found = _rows(pairs.within(some, radius=radius))

    assert found == [row for row in _brute(some, some, radius) if row[0] < row[1]]


@pytest.mark.parametrize("kind", SEARCHES)
@pytest.mark.parametrize("radius", range(17))
@settings(max_examples=2, deadline=None)
@given(st.integers(0, 2**32))
def test_bands_find_what_comparing_all_finds(kind: str, radius: int, seed: int) -> None:
    codes, queries = _clustered(seed, 1200), _clustered(seed, 1500)[:700]
    itself = np.triu(np.bitwise_count(codes[:, None] ^ codes) <= radius, 1)
    across = np.bitwise_count(queries[:, None] ^ codes) <= radius

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_bands, "SCAN", math.inf)
        patch.setattr(_pairs, "SCAN", math.inf)
        search = SEARCHES[kind]
        within = search(codes, codes, radius, same=True)
        between = search(queries, codes, radius, same=False)
        back = search(codes, queries, radius, same=False)

    for keys, wanted in ((within, itself), (between, across), (back, across.T)):
        found = np.stack([keys >> np.uint64(32), keys & np.uint64(2**32 - 1)])
        np.testing.assert_array_equal(found, np.nonzero(wanted))


@pytest.mark.parametrize("kind", SEARCHES)
def test_comparing_all_finds_the_same(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_bands, "SCAN", 0.0)
    monkeypatch.setattr(_pairs, "SCAN", 0.0)
    monkeypatch.setattr(_bands, "_BLOCK", 500)
    codes = _clustered(1, 1200)
    wanted = np.nonzero(np.triu(np.bitwise_count(codes[:, None] ^ codes) <= 20, 1))

    keys = SEARCHES[kind](codes, codes, 20, same=True)

    np.testing.assert_array_equal(keys >> np.uint64(32), wanted[0])
    np.testing.assert_array_equal(keys & np.uint64(2**32 - 1), wanted[1])


@pytest.mark.parametrize("kind", SEARCHES)
def test_work_is_cut_into_pieces_that_miss_nothing(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = _clustered(2, 3000)
    codes[1000:1400] = codes[0]
    monkeypatch.setattr(_bands, "SCAN", math.inf)
    wanted = SEARCHES[kind](codes, codes, 5, same=True)
    monkeypatch.setattr(_bands, "_CANDIDATES", 1000)
    monkeypatch.setattr(_bands, "_CHUNK", 700)
    monkeypatch.setattr(_pairs, "_AT_ONCE", 1000.0)

    found = SEARCHES[kind](codes, codes, 5, same=True)

    assert len(found) > 400 * 399 // 2
    np.testing.assert_array_equal(found, wanted)


@given(
    st.integers(1, 10**7),
    st.integers(1, 10**7),
    st.integers(0, 64),
    st.sampled_from([_bands.NUMPY, _pairs.PRICES]),
)
def test_plans_satisfy_the_pigeonhole(queries, codes, radius, prices) -> None:
    plan = _bands.plan(queries, codes, radius, prices, math.inf)

    assert len(plan.thresholds) * plan.width <= 64
    assert min(plan.thresholds) >= 0
    assert sum(one + 1 for one in plan.thresholds) > radius


@given(st.integers(0, 99), st.integers(1, 9), st.integers(6, 22))
def test_arranged_codes_are_as_far_apart(seed: int, bands: int, width: int) -> None:
    codes = _clustered(seed, 50)
    plan = _bands.Plan(min(width, 64 // bands), (1,) * bands, 0.0)

    one, other = _bands.arranged(codes, codes[::2], plan)

    wanted = np.bitwise_count(codes[:, None] ^ codes[::2])
    np.testing.assert_array_equal(np.bitwise_count(one[:, None] ^ other), wanted)


def test_bits_that_say_nothing_are_left_out_of_bands() -> None:
    codes = np.random.default_rng(0).integers(0, 2**64, 1000, dtype=np.uint64)
    codes &= np.uint64(2**48 - 1)

    some, _ = _bands.arranged(codes, codes, _bands.Plan(12, (0,) * 4, 0.0))

    assert not (some >> np.uint64(48)).any()


@given(FEW)
def test_groups_are_in_order_of_first_positions(codes: list[int]) -> None:
    found = pairs.groups(_array(codes))

    assert found.values.tolist() == list(dict.fromkeys(codes))
    assert found.values[found.of].tolist() == codes
    for group, (begin, end) in enumerate(itertools.pairwise(found.starts.tolist())):
        members = found.members[begin:end].tolist()
        assert members == [i for i, one in enumerate(found.of.tolist()) if one == group]


@given(FEW, FEW, st.integers(0, 4), st.integers(1, 40))
def test_pieces_are_all_pairs_in_order(left, right, radius, most) -> None:
    for found in (
        pairs.distinct(_array(left), radius=radius),
        pairs.distinct(_array(left), pairs.groups(_array(right)), radius=radius),
    ):
        pieces = list(found.pieces(most))

        assert [row for piece in pieces for row in _rows(piece)] == _rows(found.all())
        assert found.count == len(found.all())
        # a left position's pairs stay together
        assert all(len(piece) <= most or len(set(piece.left)) == 1 for piece in pieces)


def test_equal_codes_are_one() -> None:
    found = pairs.distinct(np.zeros(1_000_000, np.uint64), radius=10)

    assert len(found.pairs) == 0
    assert found.count == 1_000_000 * 999_999 // 2
    first = next(found.pieces(10))
    assert set(first.distance.tolist()) == {0}
    assert set(first.left.tolist()) == {0}


@given(FEW, st.integers(0, 24), st.integers(0, 4))
def test_since_is_the_part_of_within_that_is_new(codes, start, radius) -> None:
    some, start = _array(codes), min(start, len(codes))
    wanted = [
        row for row in _rows(pairs.within(some, radius=radius)) if row[1] >= start
    ]

    assert _rows(pairs.since(some, start, radius=radius)) == wanted


@given(FEW, st.lists(st.integers(0, 24)), st.integers(0, 24), st.integers(1, 30))
def test_parts_give_what_the_whole_gives(codes, cuts, start, most) -> None:
    edges = sorted(min(cut, len(codes)) for cut in [0, *cuts, len(codes)])
    parts = [_array(codes[a:b]) for a, b in itertools.pairwise(edges)]
    wanted = [
        row for row in _rows(pairs.within(_array(codes), radius=2)) if row[1] >= start
    ]

    for some in (parts, iter(parts)):
        pieces = pairs.streamed(some, radius=2, start=start, most=most)
        assert sorted(row for piece in pieces for row in _rows(piece)) == wanted


def test_parts_can_be_files(tmp_path) -> None:
    codes = _clustered(3, 900)
    for place in range(3):
        np.save(tmp_path / f"{place}.npy", codes[place * 300 : place * 300 + 300])

    pieces = list(pairs.streamed(sorted(tmp_path.glob("*.npy")), radius=6))

    rows = [row for piece in pieces for row in _rows(piece)]
    assert sorted(rows) == _rows(pairs.within(codes, radius=6))
    # as they come: the right part, then the left part, then left and right
    assert rows == sorted(
        rows, key=lambda row: (row[1] // 300, row[0] // 300, row[0], row[1])
    )


@pytest.mark.parametrize("compiles", [True, False])
def test_which_search_it_is_does_not_matter(
    compiles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = _clustered(4, 4000)
    wanted = np.triu(np.bitwise_count(codes[:, None] ^ codes) <= 8, 1)
    monkeypatch.setattr(pairs, "_WORTH", 0)
    monkeypatch.setattr(pairs, "_compiles", lambda: compiles)

    found = pairs.within(codes, radius=8)

    np.testing.assert_array_equal(np.stack([found.left, found.right]), wanted.nonzero())
    assert found.distance.tolist() == [
        (int(codes[i]) ^ int(codes[j])).bit_count()
        for i, j in zip(found.left, found.right, strict=True)
    ]


def test_a_compiler_that_fails_is_told_and_done_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        text = "unknown processor"
        raise RuntimeError(text)

    monkeypatch.setattr(_pairs, "search", broken)
    pairs._compiles.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            assert not pairs._compiles()
    finally:
        pairs._compiles.cache_clear()

    assert "unknown processor" in caplog.text


def test_few_codes_load_no_compiler() -> None:
    program = """
import sys
import numpy as np
from curation.duplicates import pairs
codes = np.random.default_rng(0).integers(0, 2**64, 5000, dtype=np.uint64)
pairs.within(codes, radius=10)
print([name for name in ("numba", "scipy", "torch", "polars") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("kind", SEARCHES)
def test_more_pairs_than_memory_holds_are_an_error(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_bands, "ROOM", 1000)
    monkeypatch.setattr(_pairs, "ROOM", 1000)
    codes = np.arange(4096, dtype=np.uint64)

    with pytest.raises(InputError, match="smaller radius"):
        SEARCHES[kind](codes, codes, 12, same=True)
    assert len(SEARCHES[kind](codes[:40], codes[:40], 12, same=True)) == 40 * 39 // 2


def test_nothing_to_compare() -> None:
    none = np.empty(0, np.uint64)

    assert len(pairs.between(none, np.array([1], np.uint64), radius=64)) == 0
    assert len(pairs.within(none, radius=3)) == 0
    assert len(pairs.since(none, 0, radius=3)) == 0
    assert list(pairs.streamed([], radius=3)) == []


@pytest.mark.parametrize("radius", [-1, 65])
def test_a_radius_that_cannot_be_is_refused(radius: int) -> None:
    with pytest.raises(ValueError, match="0 to 64"):
        pairs.within(np.zeros(2, np.uint64), radius=radius)
