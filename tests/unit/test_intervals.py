"""Intervals against scipy, closed forms, and the laws they must keep."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binomtest

from evaluation.errors import MetricError
from evaluation.intervals import (
    bootstrap_accuracy,
    bootstrap_balanced,
    clopper_pearson,
    wilson,
)

counts = st.integers(1, 5000).flatmap(
    lambda n: st.tuples(st.integers(0, n), st.just(n))
)
levels = st.floats(0.5, 0.999)


@given(counts, levels)
def test_wilson_and_clopper_pearson_equal_scipys(count, level):
    k, n = count
    for ours, method in ((wilson, "wilson"), (clopper_pearson, "exact")):
        low, high = ours(k, n, level)
        wanted = binomtest(k, n).proportion_ci(level, method=method)
        assert float(low) == pytest.approx(wanted.low, abs=1e-9)
        assert float(high) == pytest.approx(wanted.high, abs=1e-9)


@given(counts, levels)
def test_intervals_hold_the_estimate_and_mirror(count, level):
    k, n = count
    for interval in (wilson, clopper_pearson):
        low, high = (float(end) for end in interval(k, n, level))
        assert 0 <= low <= k / n <= high <= 1
        mirror_low, mirror_high = (float(end) for end in interval(n - k, n, level))
        assert mirror_low == pytest.approx(1 - high, abs=1e-9)
        assert mirror_high == pytest.approx(1 - low, abs=1e-9)


@given(counts, levels)
def test_more_confidence_is_wider(count, level):
    k, n = count
    for interval in (wilson, clopper_pearson):
        low, high = interval(k, n, level)
        lower, higher = interval(k, n, (1 + level) / 2)
        assert lower <= low
        assert higher >= high


def test_ends_are_exact_and_none_is_nan():
    for interval in (wilson, clopper_pearson):
        low, high = interval([0, 7, 0], [7, 7, 0])
        assert low[0] == 0
        assert high[1] == 1
        assert np.isnan([low[2], high[2]]).all()


def test_arrays_equal_one_by_one():
    n = np.array([[3, 10], [25, 400]])
    k = np.array([[1, 10], [0, 137]])
    for interval in (wilson, clopper_pearson):
        low, high = interval(k, n)
        assert low.shape == n.shape
        for place in np.ndindex(n.shape):
            one = interval(k[place], n[place])
            assert (low[place], high[place]) == tuple(float(end) for end in one)


def test_clopper_pearson_by_its_definition():
    low, high = clopper_pearson(3, 20)
    assert float(low) == pytest.approx(beta.ppf(0.025, 3, 18))
    assert float(high) == pytest.approx(beta.ppf(0.975, 4, 17))


@pytest.mark.parametrize(
    ("k", "n", "level"), [(-1, 3, 0.95), (4, 3, 0.95), (1, 2, 0), (1, 2, 1)]
)
def test_impossible_counts_are_errors(k, n, level):
    for interval in (wilson, clopper_pearson):
        with pytest.raises(MetricError):
            interval(k, n, level)


def photos(classes, size, common, counter, seed=0):
    """(correct, common, classes) of classes × 2 × size photos."""
    rng = np.random.default_rng(seed)
    kind = np.tile(np.repeat(np.arange(classes), size), 2)
    is_common = np.repeat([True, False], classes * size)
    chance = np.where(is_common, common, counter)
    return rng.random(len(kind)) < chance, is_common, kind


def test_bootstrap_is_seeded():
    correct, common, kind = photos(5, 20, 0.8, 0.5)
    first = bootstrap_balanced(correct, common, classes=kind, seed=3)
    again = bootstrap_balanced(correct, common, classes=kind, seed=3)
    other = bootstrap_balanced(correct, common, classes=kind, seed=4)
    assert first == again
    assert first != other


def test_bootstrap_width_is_the_binomials():
    size, classes = 400, 8
    correct, common, kind = photos(classes, size, 0.7, 0.4)
    found = bootstrap_balanced(correct, common, classes=kind, draws=8000)
    per_cell = [correct[(kind == c) & common].mean() for c in range(classes)]
    error = math.sqrt(sum(p * (1 - p) / size for p in per_cell)) / classes
    width = found.common[1] - found.common[0]
    assert width == pytest.approx(2 * 1.96 * error, rel=0.06)


def test_photos_of_one_cluster_count_as_one():
    correct, common, kind = photos(6, 30, 0.7, 0.5, seed=2)
    repeated = [np.repeat(one, 4) for one in (correct, common, kind)]
    clusters = np.repeat(np.arange(len(correct)), 4)
    alone = bootstrap_balanced(correct, common, classes=kind, draws=6000)
    together = bootstrap_balanced(
        *repeated[:2], classes=repeated[2], clusters=clusters, draws=6000
    )
    fooled = bootstrap_balanced(*repeated[:2], classes=repeated[2], draws=6000)
    width = alone.drop[1] - alone.drop[0]
    assert together.drop[1] - together.drop[0] == pytest.approx(width, rel=0.08)
    assert fooled.drop[1] - fooled.drop[0] == pytest.approx(width / 2, rel=0.12)


def test_all_right_is_not_certain():
    correct, common, kind = photos(12, 12, 1.1, 1.1)
    found = bootstrap_balanced(correct, common, classes=kind)
    low, high = found.common
    assert high == 1
    wanted = float(wilson(144, 144)[0])
    assert low == pytest.approx(wanted, abs=0.02)
    assert found.drop[0] < 0 < found.drop[1]


def test_over_classes_is_about_other_classes():
    # the same photos everywhere: no class differs from another, so no width at all
    kind = np.tile(np.repeat(np.arange(4), 10), 2)
    common = np.repeat([True, False], 40)
    correct = np.tile([True] * 7 + [False] * 3, 8)
    same = bootstrap_balanced(correct, common, classes=kind, resample="classes")
    assert same.drop == pytest.approx((0, 0), abs=1e-12)
    assert same.common == pytest.approx((0.7, 0.7))
    # one class only: undefined, and said so
    one = bootstrap_balanced(correct, common, classes=np.zeros(80), resample="classes")
    assert all(math.isnan(end) for end in one.drop)


def test_classes_in_one_group_do_not_count():
    correct, common, kind = photos(4, 15, 0.8, 0.4)
    more = (
        np.r_[correct, np.zeros(50, bool)],
        np.r_[common, np.ones(50, bool)],
        np.r_[kind, np.full(50, 99)],
    )
    alone = bootstrap_balanced(correct, common, classes=kind)
    padded = bootstrap_balanced(*more[:2], classes=more[2])
    assert padded.drop == pytest.approx(alone.drop, abs=0.02)


@pytest.mark.parametrize(
    ("correct", "common", "classes"),
    [([], [], []), ([1, 0], [True, True], [0, 0]), ([1, 0], [True, False], [0])],
)
def test_nothing_to_resample_is_an_error(correct, common, classes):
    with pytest.raises(MetricError):
        bootstrap_balanced(correct, common, classes=classes)


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.booleans(), st.booleans(), st.integers(0, 4), st.integers(0, 9)),
        min_size=2,
        max_size=80,
    ),
    st.integers(0, 2**32),
)
def test_bootstrap_bounds_hold_the_estimate(rows, seed):
    correct, common, kind, cluster = (np.array(one) for one in zip(*rows, strict=True))
    both = set(kind[common]) & set(kind[~common])
    if not both:
        return
    found = bootstrap_balanced(
        correct, common, classes=kind, clusters=cluster, draws=500, seed=seed
    )
    means = []
    for side, (low, high) in ((common, found.common), (~common, found.counter)):
        value = np.mean([correct[side & (kind == c)].mean() for c in both])
        assert 0 <= low <= value + 1e-9
        assert value - 1e-9 <= high <= 1
        means.append(value)
    assert found.drop[0] - 1e-9 <= means[0] - means[1] <= found.drop[1] + 1e-9


def test_one_accuracys_interval_is_either_groups():
    correct, _, kind = photos(5, 20, 0.6, 0.6)
    low, high = bootstrap_accuracy(correct, classes=kind, draws=4000)
    assert low < correct.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(0.24 / 200), rel=0.12)


def test_coverage_in_simulated_worlds():
    """About 95 % of intervals must hold the true drop."""
    rng = np.random.default_rng(11)
    truth = np.clip(rng.normal([0.85, 0.6], [0.05, 0.1], (10, 2)), 0, 1)
    hits = 0
    worlds = 200
    kind = np.tile(np.repeat(np.arange(10), 15), 2)
    common = np.repeat([True, False], 150)
    chance = np.r_[np.repeat(truth[:, 0], 15), np.repeat(truth[:, 1], 15)]
    for world in range(worlds):
        correct = rng.random(300) < chance
        low, high = bootstrap_balanced(
            correct, common, classes=kind, draws=400, seed=world
        ).drop
        hits += low <= (truth[:, 0] - truth[:, 1]).mean() <= high
    assert 0.91 <= hits / worlds <= 0.99
