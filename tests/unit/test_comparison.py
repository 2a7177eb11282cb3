"""Paired tests and intervals of two models: laws, closed forms, simulated worlds."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from evaluation.errors import MetricError
from evaluation.metrics.comparison import benjamini_hochberg, compare, holm, mcnemar
from evaluation.metrics.drop import drops

laws = settings(max_examples=50, deadline=None)
pairs = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=80)
rows = st.lists(
    st.tuples(
        st.booleans(),
        st.booleans(),
        st.sampled_from(["common", "counter", ""]),
        st.sampled_from("abc"),
        st.integers(0, 12),
    ),
    min_size=1,
    max_size=60,
)


def columns(found):
    return [np.array(one) for one in zip(*found, strict=True)]


def world(classes, size, chances, seed=0, together=0.0):
    """Two models on classes x 2 x size photos; `together` of them share their luck."""
    rng = np.random.default_rng(seed)
    kind = np.tile(np.repeat(np.arange(classes), size), 2)
    group = np.repeat(["common", "counter"], classes * size)
    luck = rng.random((2, len(kind)))
    luck[1] = np.where(rng.random(len(kind)) < together, luck[0], luck[1])
    (a, b), (c, d) = chances
    side = group == "common"
    first, second = luck[0] < np.where(side, a, b), luck[1] < np.where(side, c, d)
    return first, second, {"groups": group, "classes": kind}


# McNemar


@laws
@given(pairs)
def test_exact_p_is_the_binomial_tests(found):
    first, second = columns(found)
    one = mcnemar(first, second, "common")
    b, c = int((first & ~second).sum()), int((~first & second).sum())
    assert (one.group, one.n, one.only_first, one.only_second) == (
        "common",
        len(found),
        b,
        c,
    )
    assert one.difference == pytest.approx(first.mean() - second.mean(), abs=1e-12)
    if b + c == 0:
        assert (one.p_exact, one.p_mid) == (1, 1)
        return
    wanted = binomtest(b, b + c, 0.5).pvalue
    assert one.p_exact == pytest.approx(wanted, rel=1e-9)
    assert one.p_mid == pytest.approx(
        1 if b == c else wanted - binom.pmf(b, b + c, 0.5), rel=1e-9
    )


@laws
@given(pairs)
def test_mcnemar_mirrors(found):
    first, second = columns(found)
    one, other = mcnemar(first, second), mcnemar(second, first)
    assert one.difference == -other.difference
    assert (one.only_first, one.only_second) == (other.only_second, other.only_first)
    assert (one.p_exact, one.p_mid) == (other.p_exact, other.p_mid)
    assert 0 < one.p_mid <= one.p_exact <= 1


def test_mcnemar_of_many_photos_is_the_normal_tests():
    # 30,500 against 29,500: z = 1000 / sqrt(60000)
    first = np.arange(60_000) < 30_500
    found = mcnemar(first, ~first)
    wanted = math.erfc(1000 / math.sqrt(60_000) / math.sqrt(2))
    assert found.p_mid == pytest.approx(wanted, rel=1e-2)
    assert found.p_mid < found.p_exact
    # and it reaches far into the tail without becoming 0 or nan
    far = mcnemar(np.ones(1000, bool), np.zeros(1000, bool))
    assert far.p_exact == pytest.approx(2**-999)


# comparing drops


@laws
@given(rows, st.integers(0, 1000))
def test_a_model_equals_itself(found, seed):
    first, _, group, kind, cluster = columns(found)
    try:
        drops(first, group, kind)
    except MetricError:
        return
    one = compare(
        first,
        first,
        groups=group,
        classes=kind,
        clusters=cluster,
        draws=99,
        seed=seed,
    )
    assert one.drop_difference == 0
    assert one.drop_difference_p == 1
    low, high = one.drop_difference_ci
    assert low <= 0 <= high
    assert all(test.difference == 0 and test.p_exact == 1 for test in one.tests)


@laws
@given(rows)
def test_difference_is_that_of_the_drops(found):
    first, second, group, kind, cluster = columns(found)
    named = {"groups": group, "classes": kind, "clusters": cluster, "draws": 50}
    present = [name for name in ("common", "counter") if name in group]
    if len(present) == 2 and not set(kind[group == "common"]) & set(
        kind[group == "counter"]
    ):
        with pytest.raises(MetricError, match="no class"):
            compare(first, second, **named)
        return
    one = compare(first, second, **named)
    assert [test.group for test in one.tests] == ["", *present]
    assert one.tests[0] == mcnemar(first, second)
    for test in one.tests[1:]:
        inside = group == test.group
        assert test == mcnemar(first[inside], second[inside], test.group)
    if len(present) < 2:
        assert one.drop_difference is None
        assert one.drop_difference_ci is None
        assert one.drop_difference_p is None
        return
    wanted = [drops(model, group, kind).balanced_drop for model in (first, second)]
    assert one.drop_difference == pytest.approx(wanted[0] - wanted[1], abs=1e-12)
    assert 0 < one.drop_difference_p <= 1
    assert -2 <= one.drop_difference_ci[0] <= one.drop_difference_ci[1] <= 2


def test_swapping_the_models_mirrors():
    first, second, named = world(6, 20, ((0.9, 0.5), (0.8, 0.7)))
    one = compare(first, second, **named, draws=4000)
    other = compare(second, first, **named, draws=4000)
    assert one.drop_difference == pytest.approx(-other.drop_difference)
    assert one.drop_difference_p == pytest.approx(other.drop_difference_p, abs=0.01)
    low, high = other.drop_difference_ci
    assert one.drop_difference_ci == pytest.approx((-high, -low), abs=0.01)


def test_it_is_seeded_and_keeps_names():
    first, second, named = world(4, 15, ((0.9, 0.5), (0.8, 0.7)))
    names = {"first": "a", "second": "b", "dataset": "animals"}
    one = compare(first, second, **named, **names, seed=3)
    assert one == compare(first, second, **named, **names, seed=3)
    assert one != compare(first, second, **named, **names, seed=4)
    assert (one.first, one.second, one.dataset) == ("a", "b", "animals")


def test_width_is_the_binomials_of_pairs():
    """Models that share their luck are compared far more closely."""
    size, classes = 400, 8
    chances = ((0.8, 0.5), (0.7, 0.5))
    widths = []
    for together in (0.0, 1.0):
        first, second, named = world(classes, size, chances, together=together)
        found = compare(first, second, **named, draws=6000)
        gained = first.astype(float) - second
        cells = [
            gained[(named["classes"] == c) & (named["groups"] == g)]
            for c in range(classes)
            for g in ("common", "counter")
        ]
        error = math.sqrt(sum(cell.var() / size for cell in cells)) / classes
        low, high = found.drop_difference_ci
        assert high - low == pytest.approx(2 * 1.96 * error, rel=0.06)
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_photos_of_one_cluster_count_as_one():
    first, second, named = world(6, 30, ((0.9, 0.5), (0.8, 0.7)), seed=2)
    times = {name: np.repeat(value, 4) for name, value in named.items()}
    repeated = np.repeat(first, 4), np.repeat(second, 4)
    clusters = np.repeat(np.arange(len(first)), 4)

    def width(one):
        return one.drop_difference_ci[1] - one.drop_difference_ci[0]

    alone = width(compare(first, second, **named, draws=6000))
    together = compare(*repeated, **times, clusters=clusters, draws=6000)
    assert width(together) == pytest.approx(alone, rel=0.08)
    fooled = compare(*repeated, **times, draws=6000)
    assert width(fooled) == pytest.approx(alone / 2, rel=0.12)


def test_models_that_agree_everywhere_are_not_certain_to():
    right = np.ones(120, bool)
    _, _, named = world(6, 10, ((1, 1), (1, 1)))
    low, high = compare(right, right, **named).drop_difference_ci
    assert low < 0 < high


def test_a_plain_difference_is_found_and_none_is_not():
    # drops of 0.4 and 0.05
    first, second, named = world(20, 30, ((0.9, 0.5), (0.85, 0.8)))
    found = compare(first, second, **named)
    assert found.drop_difference_p < 0.001
    assert found.drop_difference_ci[0] > 0.2
    # never below one draw in all
    assert found.drop_difference_p >= 1 / 2001


def test_coverage_and_false_findings_in_simulated_worlds():
    hits = wrong = 0
    for seed in range(200):
        first, second, named = world(
            10, 25, ((0.8, 0.5), (0.85, 0.55)), seed=seed, together=0.5
        )
        found = compare(first, second, **named, draws=300, seed=seed)
        low, high = found.drop_difference_ci
        hits += low <= 0 <= high
        wrong += found.drop_difference_p < 0.05
    assert 0.91 <= hits / 200 <= 0.99
    assert wrong / 200 <= 0.09


def test_without_groups_or_classes_there_is_no_drop():
    found = compare([1, 0], [1, 1])
    assert [test.group for test in found.tests] == [""]
    assert found.drop_difference is None
    grouped = compare([1, 0], [1, 1], groups=["common", "counter"])
    assert [test.group for test in grouped.tests] == ["", "common", "counter"]
    assert grouped.drop_difference is None


@pytest.mark.parametrize(
    ("first", "second", "named", "says"),
    [
        ([], [], {}, "no photos"),
        ([1], [1, 0], {}, "both answered"),
        ([[1]], [[1]], {}, "both answered"),
        ([1], [1], {"groups": ["common", "counter"]}, "1 photos, but groups"),
        (
            [1, 1],
            [1, 0],
            {"groups": ["common", "counter"], "classes": ["a"]},
            "classes",
        ),
        (
            [1, 1],
            [1, 0],
            {"groups": ["common", "counter"], "classes": ["a", "b"]},
            "no class",
        ),
        ([1], [1], {"level": 0.0}, "level"),
        ([1], [1], {"draws": 0}, "draws"),
    ],
)
def test_bad_input_is_named(first, second, named, says):
    with pytest.raises(MetricError, match=says):
        compare(first, second, **named)


def test_clusters_of_another_length_are_named():
    first, second, named = world(2, 3, ((0.9, 0.5), (0.8, 0.7)))
    with pytest.raises(MetricError, match="clusters"):
        compare(first, second, **named, clusters=np.arange(3))


# several pairs


@laws
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_adjusted_values_keep_order_and_only_rise(values):
    p = np.array(values)
    first, second = holm(p), benjamini_hochberg(p)
    for adjusted in (first, second):
        assert (adjusted >= p - 1e-15).all()
        assert (adjusted <= 1).all()
        order = np.argsort(p, kind="stable")
        assert (np.diff(adjusted[order]) >= 0).all()
    assert (second <= first + 1e-15).all()
    assert (first <= np.minimum(p * len(p), 1) + 1e-15).all()


@laws
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.01, 0.5))
def test_findings_are_those_of_the_step_rules(values, level):
    p = np.sort(values)
    number = len(p)
    down = 0
    while down < number and p[down] * (number - down) <= level:
        down += 1
    assert (holm(p) <= level).sum() == down
    up = [k for k in range(1, number + 1) if p[k - 1] * number / k <= level]
    assert (benjamini_hochberg(p) <= level).sum() == max(up, default=0)


@pytest.mark.parametrize("values", [[], [0.5, 1.2], [-0.1], [math.nan], [[0.5]]])
def test_what_is_no_p_value_is_an_error(values):
    for adjust in (holm, benjamini_hochberg):
        with pytest.raises(MetricError, match="p-values"):
            adjust(values)
