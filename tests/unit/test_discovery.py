"""Statistics of group discovery: the rule, the halves, the test, and their laws."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.discovery import Photos, Plan, Rule, discover, judge, selected_on, votes
from curation.discovery.cells import (
    TOLERANCE,
    ClassCounts,
    count,
    covariance,
    pick,
    stream,
)
from curation.discovery.crossfit import split
from curation.discovery.halves import halves
from curation.discovery.permutation import background_test, benjamini_hochberg
from evaluation.errors import MetricError

RULE = Rule(min_drop_points=5.0, min_photos=4)
PLAN = Plan(splits=12, permutations=99)


def counts_of(*cells: tuple[int, int], name: str = "fox") -> ClassCounts:
    """One photo per cluster; cells are (correct, photos), most photos first."""
    backgrounds = np.repeat(np.arange(len(cells)), [n for _, n in cells])
    photos = np.eye(len(cells), dtype=np.int64)[backgrounds]
    right = np.concatenate([np.arange(n) < k for k, n in cells])
    names = tuple("abcdef"[: len(cells)])
    return ClassCounts(name, names, photos, photos * right[:, None])


@st.composite
def photo_sets(draw: st.DrawFn) -> Photos:
    """Up to three classes on up to four backgrounds, some photos in clusters."""
    n = draw(st.integers(8, 60))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    classes = rng.choice(["ant", "bee", "cat"][: draw(st.integers(1, 3))], n)
    voters = draw(st.integers(1, 3))
    return Photos(
        photo_id=np.array([f"{i:08x}" for i in rng.permutation(n)]),
        classes=classes,
        background=rng.choice(list("wxyz"), n),
        cluster=rng.choice([f"k{i}" for i in range(draw(st.integers(2, n)))], n),
        votes=rng.integers(0, voters + 1, n),
        voters=voters,
    )


def only(photos: Photos, rows: np.ndarray) -> Photos:
    return Photos(
        photos.photo_id[rows],
        photos.classes[rows],
        photos.background[rows],
        photos.cluster[rows],
        photos.votes[rows],
        photos.voters,
    )


@given(photo_sets(), st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_row_order_changes_nothing(photos: Photos, random) -> None:
    rows = list(range(len(photos.photo_id)))
    random.shuffle(rows)
    first = discover(photos, RULE, plan=PLAN)
    second = discover(only(photos, np.array(rows)), RULE, plan=PLAN)
    assert repr(first) == repr(second)


@given(photo_sets())
@settings(max_examples=30)
def test_a_class_does_not_change_another(photos: Photos) -> None:
    together = discover(photos, RULE, plan=PLAN)
    for finding in together.classes:
        rows = np.flatnonzero(photos.classes == finding.counts.name)
        alone = discover(only(photos, rows), RULE, plan=PLAN).classes[0]
        for part in ("counts", "pick", "naive", "cross", "p_value"):
            assert repr(getattr(alone, part)) == repr(getattr(finding, part))


@given(photo_sets())
@settings(max_examples=50)
def test_bounds_and_order(photos: Photos) -> None:
    for finding in discover(photos, RULE, plan=PLAN).classes:
        counts, picked = finding.counts, finding.pick
        assert counts.n.sum() == (photos.classes == counts.name).sum()
        if picked.common < 0:
            assert not picked.kept
            assert not finding.naive.defined
            assert not finding.cross.defined
            assert np.isnan(finding.p_value)
            continue
        assert picked.drop >= 0
        assert picked.kept == (picked.drop > 5 + TOLERANCE)
        if finding.cross.defined:
            assert -100 <= finding.cross.low <= finding.cross.drop
            assert finding.cross.drop <= finding.cross.high <= 100
        assert 1 / 100 <= finding.p_value <= finding.q_value <= 1


@given(photo_sets())
@settings(max_examples=30)
def test_a_perfect_model_keeps_nothing(photos: Photos) -> None:
    full = Photos(
        photos.photo_id,
        photos.classes,
        photos.background,
        photos.cluster,
        np.full_like(photos.votes, photos.voters),
        photos.voters,
    )
    found = discover(full, RULE, plan=PLAN)
    assert not any(f.pick.kept for f in found.classes)
    assert not found.naive.defined
    assert not found.cross.defined
    for finding in found.classes:
        if finding.pick.common >= 0:
            assert finding.pick.drop == 0
            assert finding.cross.drop == 0
            assert finding.cross.low < 0 < finding.cross.high  # 100 % is not certainty
            assert finding.p_value == 1


@given(photo_sets(), st.integers(1, 20))
@settings(max_examples=50)
def test_halves_keep_clusters_whole_and_balance_backgrounds(
    photos: Photos, splits: int
) -> None:
    counts = count(
        "all",
        photos.background,
        photos.cluster,
        photos.votes,
        voters=photos.voters,
    )
    first = halves(counts.photos, splits, rng=np.random.default_rng(0))
    # one side per cluster, by shape: no cluster can lie on both
    assert first.shape == (splits, len(counts.photos))
    home = counts.photos.argmax(axis=1)
    for place in np.unique(home):
        inside = first[:, home == place].sum(axis=1)
        assert np.all(np.abs(2 * inside - (home == place).sum()) <= 1)


def test_halves_of_single_photos_differ_by_one_photo_at_most() -> None:
    counts = counts_of((3, 11), (2, 8), (1, 5))
    first = halves(counts.photos, 200, rng=np.random.default_rng(0))
    inside = first.astype(int) @ counts.photos
    assert set(inside[:, 0]) == {5, 6}
    assert set(inside[:, 1]) == {4}
    assert set(inside[:, 2]) == {2, 3}
    # every photo is on either side about as often, and with any partner
    assert np.all(np.abs(first.mean(axis=0) - 0.5) < 4.5 * 0.5 / 200**0.5)
    alike = [(first[:, 0] == first[:, other]).mean() for other in range(1, 11)]
    assert max(alike) < 0.7


def test_ties_go_to_more_photos_then_to_the_name() -> None:
    counts = count(
        "fox",
        np.repeat(["snow", "grass", "road", "sand"], [4, 4, 8, 8]),
        np.arange(24).astype(str),
        np.array([1, 1, 0, 0] * 2 + [1, 1, 1, 1, 0, 0, 0, 0] + [0] * 8),
    )
    assert counts.backgrounds == ("road", "sand", "grass", "snow")
    picked = pick(counts, RULE)
    assert counts.backgrounds[picked.common] == "road"
    assert counts.backgrounds[picked.counter] == "sand"
    smaller = Rule(min_photos=9)
    assert pick(counts, smaller).reason.startswith("no background has at least 9")


@pytest.mark.parametrize(
    ("cells", "kept"),
    [
        # 0.55 - 0.50 is more than 0.05 in floating point, and 5 points are not enough
        (((11, 20), (10, 20)), False),
        (((1051, 2000), (950, 2000)), True),
        (((1050, 2000), (950, 2000)), False),
    ],
)
def test_exactly_min_drop_is_not_enough(
    cells: tuple[tuple[int, int], ...], kept: bool
) -> None:
    assert pick(counts_of(*cells), RULE).kept is kept


def test_picking_half_and_measuring_half_are_disjoint() -> None:
    counts = counts_of((9, 12), (3, 12), (5, 12))
    halving = split(counts, RULE, splits=50, rng=np.random.default_rng(1))
    first, second = halving.picking[:50], halving.picking[50:]
    # both halves together are all photos
    assert (first + second) / 2 == pytest.approx(
        np.tile(counts.accuracy, (50, 1)), abs=1e-12
    )
    rows = np.arange(50)
    measured = second[rows, halving.common[:50]] - second[rows, halving.counter[:50]]
    assert halving.measured[:50] == pytest.approx(measured)
    assert np.array_equal(first.argmax(axis=1), halving.common[:50])


def test_covariance_of_single_photos_is_binomial() -> None:
    matrix = covariance(counts_of((30, 100), (80, 200)))
    assert matrix[0, 0] == pytest.approx(0.3 * 0.7 / 100, rel=0.03)
    assert matrix[1, 1] == pytest.approx(0.4 * 0.6 / 200, rel=0.03)
    assert abs(matrix[0, 1]) < 1e-9


def test_clusters_that_answer_alike_weigh_as_one() -> None:
    photos = np.zeros((40, 2), np.int64)
    photos[:20, 0] = photos[20:, 1] = 5
    right = (np.arange(40) % 2 == 0)[:, None] * photos
    clustered = covariance(ClassCounts("fox", ("a", "b"), photos, right))
    single = covariance(counts_of((10, 20), (10, 20)))
    assert np.diag(clustered) == pytest.approx(np.diag(single), rel=0.02)


def test_permutation_test_equals_full_enumeration() -> None:
    counts = counts_of((4, 4), (1, 3), (0, 2))
    labels, right = np.repeat([0, 1, 2], [4, 3, 2]), counts.votes.sum(axis=1)
    sums = []
    for order in set(itertools.permutations(labels.tolist())):
        groups = [right[np.array(order) == b] for b in range(3)]
        sums.append(sum(len(g) * (g.mean() - right.mean()) ** 2 for g in groups))
    observed = 4 * (1 - 5 / 9) ** 2 + 3 * (1 / 3 - 5 / 9) ** 2 + 2 * (5 / 9) ** 2
    exact = float(np.mean(np.array(sums) >= observed - 1e-9))
    p_value = background_test(counts, permutations=20_000, rng=stream(0, "p", "fox"))
    assert abs(p_value - exact) < 4.5 * (exact * (1 - exact) / 20_000) ** 0.5


def test_a_small_background_does_not_rule_the_test() -> None:
    # right on all six photos of one background and on none of twelve elsewhere: the
    # range would be as large whenever the two photos of a third are alike
    counts = counts_of((6, 6), (0, 10), (0, 2))
    p_value = background_test(counts, permutations=20_000, rng=stream(0, "p", "fox"))
    # one of the ways to deal six right answers onto 18 photos
    assert p_value == pytest.approx(1 / math.comb(18, 6), abs=1e-3)


def test_permutation_test_shuffles_clusters_not_photos() -> None:
    # two clusters of twenty a background: ten-fold copies carry no more evidence
    photos = np.zeros((4, 2), np.int64)
    photos[:2, 0] = photos[2:, 1] = 20
    counts = ClassCounts(
        "fox", ("a", "b"), photos, photos * np.array([[1], [1], [0], [0]])
    )
    rng = np.random.default_rng(0)
    # 2 of the 6 ways to deal vary as much
    assert background_test(counts, permutations=9999, rng=rng) == pytest.approx(
        1 / 3, abs=0.03
    )


def test_benjamini_hochberg_by_hand() -> None:
    p_values = np.array([0.039, 0.001, np.nan, 0.041, 0.008, 0.9])
    expected = [0.041 * 5 / 4, 0.005, np.nan, 0.041 * 5 / 4, 0.02, 0.9]
    assert benjamini_hochberg(p_values) == pytest.approx(expected, nan_ok=True)
    assert benjamini_hochberg(np.array([])).size == 0


def test_votes() -> None:
    correct = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 1]], bool)
    assert votes(correct)[0].tolist() == [2, 1, 3]
    assert votes(correct)[1] == 3
    assert votes(correct, how="majority")[0].tolist() == [1, 0, 1]
    with pytest.raises(MetricError, match="mean or majority"):
        votes(correct, how="loudest")


def test_bad_photos_are_refused() -> None:
    photos = Photos(
        np.array(["a", "a"]),
        np.array(["fox", "fox"]),
        np.array(["snow", "snow"]),
        np.array(["k", "l"]),
        np.array([1, 0]),
    )
    with pytest.raises(MetricError, match="given twice"):
        discover(photos, RULE)
    with pytest.raises(MetricError, match="0 to 1 votes"):
        count("fox", photos.background, photos.cluster, np.array([2, 0]))
    assert judge([], RULE).classes == ()


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("open_clip:ViT-B-32-quickgelu/laion400m_e32", "discovery model"),
        ("open_clip:ViT-B-32/openai", "same architecture"),
        ("open_clip:ViT-L-14/laion400m_e31", "trained on laion400m"),
        ("timm:vit_base_patch16_clip_224.laion400m_e31", "trained on laion400m"),
        ("open_clip:ViT-L-14/laion2b_s32b_b82k", ""),
        ("torchvision:resnet50/IMAGENET1K_V1", ""),
        ("copy:of/it", "same weights"),
    ],
)
def test_models_close_to_the_discovery_model(model: str, reason: str) -> None:
    reference = "open_clip:ViT-B-32-quickgelu/laion400m_e32"
    weights = {reference: "aa", "copy:of/it": "aa"}
    found = selected_on(model, [reference], weights=weights)
    assert found.startswith(reason)
    assert bool(found) == bool(reason)


def test_demo_models_share_a_trunk() -> None:
    assert "same architecture" in selected_on("demo:clip-balanced", ["demo:clip"])
    assert "same architecture" in selected_on("demo:lite0", ["demo:clip"])
    assert selected_on("demo:lite1", ["demo:clip"]) == ""
