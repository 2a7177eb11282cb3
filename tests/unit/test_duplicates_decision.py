"""Laws of the decision: one answer, whatever the order, the blocks and the crowd."""

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.duplicates import decision, matches
from curation.duplicates.decision import Settings, decide, merged
from curation.duplicates.matches import Edges, Search
from curation.duplicates.pictures import Pictures
from tests import hash_tables

SETTINGS = Settings()


def _sha(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _mixed(seed: int, count: int = 12) -> tuple[np.ndarray, np.random.Generator]:
    """Scenes with copies: noisy ones, turned ones, equal ones, and nothing at all."""
    rng = np.random.default_rng(seed)
    base = hash_tables.scenes(count, rng)
    parts = [
        base,
        hash_tables.noisy(base[: count - 2], rng),
        hash_tables.noisy(base[: count // 3, :, ::-1], rng),
        hash_tables.noisy(np.rot90(base[2 : count // 2], axes=(1, 2)), rng),
        base[:2],
        np.full((3, 32, 32), 7, np.uint8),
    ]
    return np.concatenate(parts), rng


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 200))
def test_the_answer_does_not_hang_on_how_many_are_looked_at_together(
    seed: int, together: int
) -> None:
    thumbs, rng = _mixed(seed)
    hashes = hash_tables.table(thumbs[rng.permutation(len(thumbs))])
    whole = decide(hashes, SETTINGS)
    usual, matches.AT_ONCE = matches.AT_ONCE, together
    try:
        assert decide(hashes, SETTINGS).equals(whole)
    finally:
        matches.AT_ONCE = usual
    pieces = pa.concat_tables(
        [hashes.slice(at, 7) for at in range(0, hashes.num_rows, 7)]
    )
    assert decide(pieces, SETTINGS).equals(whole)


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 10**6))
def test_every_member_matches_its_keeper_and_no_two_keepers_match(seed: int) -> None:
    thumbs, _ = _mixed(seed, 4)
    hashes = hash_tables.table(thumbs)
    ids = hashes["photo_id"].to_pylist()
    keepers = merged(decide(hashes, SETTINGS))
    assert len(keepers) >= 4
    same = set()
    for a in range(len(ids)):
        for b in range(a + 1, len(ids)):
            pair = decide(hashes.take(pa.array([a, b])), SETTINGS)
            if merged(pair):
                same.add((ids[a], ids[b]))
    for photo, keeper in keepers.items():
        assert keeper not in keepers, "a keeper is kept itself"
        assert (keeper, photo) in same, "matches it, not by a chain"
    kept = set(ids) - set(keepers)
    assert not [(a, b) for a, b in same if {a, b} <= kept], "no pair is left"


def _edges(pairs: list[tuple[int, int, int]]) -> Edges:
    a, b, distance = np.array(pairs, np.int64).reshape(-1, 3).T
    zeros = np.zeros(len(a))
    return Edges(a, b, zeros.astype(np.int64), distance, zeros)


EDGES = st.lists(
    st.tuples(st.integers(0, 19), st.integers(0, 19), st.integers(0, 10))
    .filter(lambda edge: edge[0] != edge[1])
    .map(lambda edge: (*sorted(edge[:2]), edge[2])),
    max_size=60,
    unique_by=lambda edge: edge[:2],
)


@settings(max_examples=200)
@given(EDGES, st.integers(0, 20), st.randoms(use_true_random=False))
def test_clusters_do_not_chain(edges, cut: int, rng) -> None:
    linked = {edge[:2] for edge in edges}
    rng.shuffle(edges)
    clusters = decision.Clusters(np.arange(20))
    # in two steps, as blocks come
    clusters.merge(_edges([edge for edge in edges if edge[0] < cut]))
    clusters.merge(_edges([edge for edge in edges if edge[0] >= cut]))
    keeper = clusters.keeper.tolist()
    for photo, kept in enumerate(keeper):
        assert keeper[kept] == kept, "a keeper is kept itself"
        assert photo == kept or (kept, photo) in linked, "matches it, not by a chain"
    kept = set(keeper)
    assert not any(a in kept and b in kept for a, b in linked), "no pair is left"


def test_chains_are_cut() -> None:
    clusters = decision.Clusters(np.arange(3))
    clusters.merge(_edges([(0, 1, 3), (1, 2, 3)]))
    assert clusters.keeper.tolist() == [0, 0, 2]


def test_candidates_are_all_that_brute_force_finds() -> None:
    thumbs, _ = _mixed(5)
    pictures = Pictures.of(hash_tables.table(thumbs[:-3]))
    search = Search(pictures, pictures, review_radius=10)
    everyone = np.ones(len(pictures), bool)
    found = search.edges(np.arange(len(pictures)), everyone)
    turned = found.where(found.variant < matches.CROP)
    near = {(a, b) for a, b in zip(turned.a.tolist(), turned.b.tolist(), strict=True)}
    codes = pictures.codes
    for a in range(len(codes)):
        for b in range(a + 1, len(codes)):
            bits = min(
                np.bitwise_count(codes[a] ^ codes[b, 0]).min(),
                np.bitwise_count(codes[b] ^ codes[a, 0]).min(),
            )
            assert ((a, b) in near) == (bits <= 10)
    one, other = pictures, Pictures.of(hash_tables.table(thumbs[:-3]))
    across = Search(one, other, review_radius=10).edges(np.arange(len(one)), everyone)
    pairs = set(zip(across.a.tolist(), across.b.tolist(), strict=True))
    assert near | {(b, a) for a, b in near} <= pairs


@pytest.mark.parametrize("equal", [True, False])
def test_a_crowd_of_copies_is_one_cluster(equal: bool) -> None:
    rng = np.random.default_rng(1)
    scene = hash_tables.scenes(1, rng)
    crowd = np.repeat(scene, 3000, axis=0)
    if not equal:
        crowd = hash_tables.noisy(crowd, rng, by=1.0)
    thumbs = np.concatenate([hash_tables.scenes(50, rng), crowd])
    hashes = hash_tables.table(thumbs)

    keepers = merged(decide(hashes, SETTINGS))

    assert len(keepers) == 2999
    assert set(keepers.values()) == {_sha("50")}


def test_black_pictures_are_told_apart_by_their_pixels_alone() -> None:
    black = hash_tables.table(np.zeros((500, 32, 32), np.uint8))
    assert decide(black, SETTINGS).num_rows == 0

    asked = []

    def same(a: str, b: str) -> bool:
        asked.append((a, b))
        return True

    keepers = merged(decide(black, SETTINGS, same_pixels=same))
    assert set(keepers.values()) == {_sha("0")}
    assert len(keepers) == len(asked) == 499
    none = decide(black, SETTINGS, same_pixels=lambda a, b: False)
    assert none.num_rows == 0


def test_pixels_are_asked_for_where_they_were_not_hashed() -> None:
    rng = np.random.default_rng(2)
    base = hash_tables.scenes(2, rng)
    thumbs = np.concatenate([base, base, hash_tables.noisy(base, rng)])
    hashes = hash_tables.table(thumbs)
    equal = {frozenset((_sha("0"), _sha("2"))), frozenset((_sha("1"), _sha("5")))}

    def same(a: str, b: str) -> bool:
        return frozenset((a, b)) in equal

    rows = decide(hashes, SETTINGS, same_pixels=same).to_pylist()

    reasons = {row["photo_id"]: row["reason"] for row in rows}
    assert reasons == {
        _sha("2"): "pixels", _sha("3"): "perceptual",
        _sha("4"): "perceptual", _sha("5"): "pixels",
    }  # fmt: skip


def _of_two_minds() -> pa.Table:
    """Two photos: hashes near but not equal, thumbs neither agree nor contradict."""
    base = hash_tables.scenes(3, np.random.default_rng(4))[2:] // 2 + 50
    other = base.copy()
    other[:, :6, :6] += 12
    hashes = hash_tables.table(np.concatenate([base, other]))
    pictures = Pictures.of(hashes)
    (edge,) = Search(pictures, pictures, review_radius=10).edges(
        np.array([0]), np.ones(2, bool)
    ).worst  # fmt: skip
    assert matches.AGREE < edge < matches.CONTRADICT
    assert pictures.codes[0, 0] != pictures.codes[1, 0]
    return hashes


def test_what_the_embedding_adds_is_said() -> None:
    hashes = _of_two_minds()
    strict = Settings(auto_radius=0)
    ids = hashes["photo_id"].to_pylist()
    vectors = np.array([[1.0, 0.0], [0.96, 0.28]], np.float32)

    (alone,) = decide(hashes, strict).to_pylist()
    (told,) = decide(hashes, strict, vectors=(ids, vectors)).to_pylist()

    assert (alone["decision"], alone["reason"]) == ("suggest", "perceptual")
    assert alone["cosine"] is None
    assert (told["decision"], told["reason"]) == ("merge", "confirmed")
    assert told["cosine"] == pytest.approx(0.96)
    assert matches.AGREE < told["disagreement"] < matches.CONTRADICT
