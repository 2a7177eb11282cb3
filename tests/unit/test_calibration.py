"""Calibration: laws, hand-made examples, and what bad input gets."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evaluation.errors import ConfigError, MetricError
from evaluation.metrics.calibration import (
    adaptive_ece,
    brier,
    calibration,
    classwise_ece,
    ece,
    ece_interval,
    fit_temperature,
    halves,
    measure,
    nll,
    reliability,
    row_stats,
)

laws = settings(max_examples=40, deadline=None)
shares = st.floats(0, 1) | st.sampled_from([0.0, 1.0, 0.2, 1 / 3, 14 / 15])
answers = st.lists(st.tuples(shares, st.booleans()), min_size=1, max_size=60)
numbers = st.floats(-30, 30, width=32)


@st.composite
def worlds(draw, offered=True):
    """(N, C) float32 logits and labels; ties happen, and -inf where asked for."""
    shape = draw(st.tuples(st.integers(1, 25), st.integers(2, 7)))
    elements = numbers | st.sampled_from([0.0, 1.0, 2.0])
    logits = draw(arrays(np.float32, shape, elements=elements))
    labels = draw(arrays(np.int64, shape[0], elements=st.integers(0, shape[1] - 1)))
    if not offered:
        gone = draw(arrays(np.bool_, shape))
        gone[np.arange(shape[0]), labels] = False
        logits[gone] = -np.inf
    return logits, labels


def slow(logits, labels, temperature=1.0):
    """Softmax of all rows at once, in float64."""
    z = logits.astype(np.float64) / temperature
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return p, np.eye(logits.shape[1])[labels]


def random(n, c, seed=0, right=0.6):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, c)).astype(np.float32)
    labels = rng.integers(0, c, n)
    lucky = rng.random(n) < right
    labels[lucky] = logits[lucky].argmax(axis=1)
    return logits, labels


# bins and the expected calibration error


def test_ece_by_hand():
    # bins of 0.2: (0.2, 0.4] 2 photos, 1 right; (0.8, 1] 2 photos, both right
    sure, right = [0.3, 0.4, 0.9, 1.0], [0, 1, 1, 1]
    wanted = (abs(1 - 0.7) + abs(2 - 1.9)) / 4
    assert ece(sure, right, bins=5) == pytest.approx(wanted, abs=1e-15)


@pytest.mark.parametrize("bins", [1, 2, 3, 7, 10, 15, 49])
def test_edges_are_closed_on_the_right_and_zero_is_in_the_first(bins):
    edges = np.arange(bins + 1) / bins
    bars = reliability(edges, np.ones(bins + 1), bins=bins)
    assert [bar.n for bar in bars] == [2] + [1] * (bins - 1)
    assert [bar.low for bar in bars] == list(edges[:-1])
    assert [bar.high for bar in bars] == list(edges[1:])


def test_a_confidence_of_one_counts():
    assert ece([1.0, 1.0], [0, 0]) == 1
    assert reliability([1.0], [True])[-1].n == 1
    # logits so far apart that float32 rounds the confidence to 1
    found = calibration(np.array([[200.0, 0.0], [0.0, 200.0]], np.float32), [1, 1])
    assert found.reliability[-1].n == 2
    assert found.ece == pytest.approx(0.5)


@laws
@given(answers, st.integers(1, 20), st.randoms())
def test_ece_is_a_fraction_and_order_does_not_matter(rows, bins, rng):
    again = list(rows)
    rng.shuffle(again)
    for measured in (ece, adaptive_ece):
        first = measured(*zip(*rows, strict=True), bins=bins)
        assert 0 <= first <= 1
        assert measured(*zip(*again, strict=True), bins=bins) == pytest.approx(
            first, abs=1e-12
        )


@laws
@given(answers, st.integers(1, 20))
def test_bars_hold_every_photo_and_give_the_ece(rows, bins):
    sure, right = zip(*rows, strict=True)
    bars = reliability(sure, right, bins=bins)
    assert len(bars) == bins
    assert sum(bar.n for bar in bars) == len(rows)
    total = 0.0
    for bar in bars:
        inside = [
            row
            for row in rows
            if bar.low < row[0] <= bar.high or (row[0] == 0 and bar.low == 0)
        ]
        assert bar.n == len(inside)
        if not inside:
            assert math.isnan(bar.accuracy)
            assert math.isnan(bar.confidence)
            continue
        assert bar.confidence == pytest.approx(np.mean([row[0] for row in inside]))
        assert bar.accuracy == pytest.approx(np.mean([row[1] for row in inside]))
        total += bar.n / len(rows) * abs(bar.accuracy - bar.confidence)
    assert ece(sure, right, bins=bins) == pytest.approx(total, abs=1e-12)


@laws
@given(st.integers(1, 12), st.integers(1, 15))
def test_perfect_calibration_is_zero(size, bins):
    """Of `size` photos of confidence k / size, k are right."""
    k = np.repeat(np.arange(size + 1), size)
    right = np.tile(np.arange(size), size + 1) < k
    assert ece(k / size, right, bins=bins) == pytest.approx(0, abs=1e-12)
    assert adaptive_ece(k / size, right, bins=bins) == pytest.approx(0, abs=1e-12)


@laws
@given(answers)
def test_one_bin_is_accuracy_against_confidence(rows):
    sure, right = (np.array(one, float) for one in zip(*rows, strict=True))
    wanted = abs(right.mean() - sure.mean())
    assert ece(sure, right, bins=1) == pytest.approx(wanted, abs=1e-12)
    assert adaptive_ece(sure, right, bins=1) == pytest.approx(wanted, abs=1e-12)


def test_adaptive_bins_hold_equally_many():
    rng = np.random.default_rng(0)
    sure, right = rng.random(105), rng.random(105) < 0.5  # 15 bins of 7
    gaps = (right - sure)[np.argsort(sure)].reshape(15, 7).sum(axis=1)
    assert adaptive_ece(sure, right) == pytest.approx(np.abs(gaps).sum() / 105)


def test_adaptive_ece_of_equal_confidences_is_one_bin():
    assert adaptive_ece([0.5] * 8, [1, 0] * 4, bins=15) == 0
    assert adaptive_ece([0.5] * 8, [1] * 4 + [0] * 4, bins=4) == 0


@pytest.mark.parametrize(
    ("sure", "right"),
    [
        ([], []),
        ([0.5], [1, 0]),
        ([[0.5]], [[1]]),
        ([float("nan")], [1]),
        ([1.1], [1]),
        ([-0.1], [1]),
    ],
)
def test_confidences_that_are_none_are_errors(sure, right):
    for measured in (ece, adaptive_ece, reliability, ece_interval):
        with pytest.raises(MetricError):
            measured(sure, right)


@pytest.mark.parametrize("bins", [0, -1, 2.5])
def test_bins_are_whole(bins):
    for measured in (ece, adaptive_ece, reliability):
        with pytest.raises(MetricError, match="bins"):
            measured([0.5], [1], bins=bins)
    with pytest.raises(MetricError, match="bins"):
        classwise_ece([[0.0, 1.0]], [1], bins=bins)


# its interval


def test_interval_is_seeded_and_holds_the_estimate():
    rng = np.random.default_rng(0)
    sure = rng.beta(4, 2, 600)
    right = rng.random(600) < 0.8 * sure
    low, high = ece_interval(sure, right, draws=300, seed=1)
    assert 0 < low < ece(sure, right) < high
    # the ECE of 600 photos is too high, so the middle is below it
    assert (low + high) / 2 < ece(sure, right)
    assert (low, high) == ece_interval(sure, right, draws=300, seed=1)
    assert (low, high) != ece_interval(sure, right, draws=300, seed=2)
    lower, higher = ece_interval(sure, right, draws=300, seed=1, level=0.99)
    assert lower <= low < high <= higher


@pytest.mark.parametrize(("slope", "least"), [(1.0, 0.88), (0.8, 0.85)])
def test_interval_covers_the_truth_in_simulated_worlds(slope, least):
    """Confidence p is right with `slope` p: the error is (1 - slope) E[p]."""
    rng = np.random.default_rng(3)
    truth = (1 - slope) * 2 / 3
    hits = 0
    for world in range(100):
        sure = rng.beta(4, 2, 500)
        right = rng.random(500) < slope * sure
        low, high = ece_interval(sure, right, draws=150, seed=world)
        hits += low <= truth + 1e-12 and truth <= high
    assert hits / 100 >= least


def test_photos_of_one_cluster_count_as_one():
    rng = np.random.default_rng(5)
    sure = rng.beta(4, 2, 400)
    right = rng.random(400) < 0.7 * sure
    four = np.repeat(sure, 4), np.repeat(right, 4)
    whose = np.repeat(np.arange(400), 4)

    def width(*rows, **options):
        low, high = ece_interval(*rows, draws=800, **options)
        return high - low

    together = width(*four, clusters=whose)
    assert together == pytest.approx(width(sure, right), rel=0.12)
    assert width(*four) == pytest.approx(together / 2, rel=0.2)
    names = width(*four, clusters=whose.astype(str))
    assert names == pytest.approx(together, rel=0.12)
    with pytest.raises(MetricError, match="clusters"):
        ece_interval(*four, clusters=whose[:-1])


# logits


@laws
@given(worlds(offered=False), st.floats(0.05, 20))
def test_rows_are_what_a_softmax_of_all_gives(world, temperature):
    logits, labels = world
    p, truth = slow(logits, labels, temperature)
    found = row_stats(logits, labels, temperature)
    np.testing.assert_allclose(found.confidence, p.max(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(found.predicted, logits.argmax(axis=1))
    np.testing.assert_array_equal(found.correct, found.predicted == labels)
    np.testing.assert_allclose(
        found.brier, ((p - truth) ** 2).sum(axis=1), rtol=1e-4, atol=1e-9
    )
    mine = p[np.arange(len(labels)), labels]
    some = mine > 1e-30
    np.testing.assert_allclose(
        found.nll[some], -np.log(mine[some]), rtol=1e-5, atol=1e-6
    )
    assert np.isfinite(found.nll).all()
    assert (found.nll >= 0).all()
    assert ((found.brier >= 0) & (found.brier <= 2)).all()
    assert brier(logits, labels, temperature) == found.brier.mean()
    assert nll(logits, labels, temperature) == found.nll.mean()


def test_rows_by_hand():
    # e^0 and e^ln 3: probabilities 1/4 and 3/4
    found = row_stats(np.array([[0.0, math.log(3)]] * 2), [1, 0])
    assert found.confidence == pytest.approx([0.75, 0.75])
    assert found.nll == pytest.approx([math.log(4 / 3), math.log(4)])
    assert found.brier == pytest.approx([2 * 0.25**2, 2 * 0.75**2])


def test_a_probability_that_underflows_keeps_its_nll():
    logits = np.array([[0.0, 300.0], [0.0, 3000.0]], np.float32)
    found = row_stats(logits, [0, 0], 0.5)
    assert found.nll == pytest.approx([600, 6000])
    # and what is missing from a confidence near 1 keeps its digits
    assert row_stats(np.array([[0.0, -20.0]]), [0]).brier[0] == pytest.approx(
        2 * math.exp(-40), rel=1e-6
    )


def test_a_label_that_is_not_offered():
    found = row_stats(np.array([[0.0, -np.inf, 0.0]], np.float32), [1])
    assert found.nll[0] == math.inf
    assert found.brier[0] == pytest.approx(1.5)
    assert found.confidence[0] == pytest.approx(0.5)
    assert not found.correct[0]


@laws
@given(worlds(), st.floats(0.01, 100))
def test_temperature_leaves_predictions(world, temperature):
    logits, labels = world
    first, second = row_stats(logits, labels), row_stats(logits, labels, temperature)
    np.testing.assert_array_equal(first.predicted, second.predicted)
    np.testing.assert_array_equal(first.correct, second.correct)


@laws
@given(worlds(offered=False), st.integers(1, 15))
def test_classwise_by_a_loop(world, bins):
    logits, labels = world
    p, truth = slow(logits, labels)
    per_class = [ece(p[:, c], truth[:, c], bins=bins) for c in range(p.shape[1])]
    # a float32 probability may fall on the other side of an edge
    near = np.abs(p * bins - np.round(p * bins)) < 1e-4
    if (near & (p > 1e-6) & (p < 1 - 1e-6)).any():
        return
    found = classwise_ece(logits, labels, bins=bins)
    assert found == pytest.approx(np.mean(per_class), abs=1e-6)
    assert 0 <= found <= 2 / p.shape[1] + 1e-6


def test_blocks_of_rows_leave_no_seam():
    logits, labels = random(9000, 120)
    whole = calibration(logits, labels, draws=20)
    p, truth = slow(logits, labels)
    assert whole.ece == pytest.approx(
        ece(p.max(axis=1), p.argmax(axis=1) == labels), abs=1e-6
    )
    per_class = [ece(p[:, c], truth[:, c]) for c in range(120)]
    assert whole.ece_classwise == pytest.approx(np.mean(per_class), abs=1e-6)
    assert whole.brier == pytest.approx(((p - truth) ** 2).sum(axis=1).mean())
    wanted = -np.log(p[np.arange(9000), labels]).mean()
    assert whole.nll == pytest.approx(wanted)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_kinds_of_numbers_and_inputs_left_alone(dtype):
    logits, labels = random(50, 6)
    kept = logits.astype(dtype)
    before = kept.copy()
    found = calibration(kept, labels.astype(np.int32), draws=10)
    np.testing.assert_array_equal(kept, before)
    assert found.nll == pytest.approx(nll(before.astype(np.float64), labels), rel=1e-5)


# one model


def test_calibration_gathers_the_same_numbers():
    logits, labels = random(400, 12)
    found = calibration(
        logits, labels, temperature=1.7, fitted_on="half", bins=10, draws=100, seed=4
    )
    rows = row_stats(logits, labels, 1.7)
    assert (found.temperature, found.fitted_on, found.bins) == (1.7, "half", 10)
    assert (found.n, found.probabilities) == (400, "softmax")
    assert found.accuracy == rows.correct.mean()
    assert found.confidence == rows.confidence.mean()
    assert found.ece == ece(rows.confidence, rows.correct, bins=10)
    assert found.ece_adaptive == adaptive_ece(rows.confidence, rows.correct, bins=10)
    assert found.ece_classwise == classwise_ece(logits, labels, 1.7, bins=10)
    assert found.nll == nll(logits, labels, 1.7)
    assert found.brier == brier(logits, labels, 1.7)
    bars = reliability(rows.confidence, rows.correct, bins=10)
    assert repr(found.reliability) == repr(bars)  # nan is not equal to itself
    assert found.ece_ci == ece_interval(
        rows.confidence, rows.correct, bins=10, draws=100, seed=4
    )
    assert found.ece_ci[0] <= found.ece <= found.ece_ci[1]


def test_sigmoids_by_hand():
    # sigmoids 1/2, 3/4, 1/4 in both rows
    logits = np.array([[0.0, math.log(3), -math.log(3)]] * 2)
    rows = row_stats(logits, [1, 2], 1.0, "sigmoid")
    assert rows.confidence == pytest.approx([0.75, 0.75])
    assert rows.nll == pytest.approx([-math.log(0.75), -math.log(0.25)])
    assert rows.brier == pytest.approx([0.25 + 2 / 16, 0.25 + 9 / 16 * 2])
    assert rows.correct.tolist() == [True, False]
    # per column |labels - probabilities| in its bin: 2 x 1/2, 1 - 3/2, 1 - 1/2
    wanted = (1 + 0.5 + 0.5) / 2 / 3
    assert classwise_ece(logits, [1, 2], 1.0, "sigmoid") == pytest.approx(wanted)
    found = calibration(logits, [1, 2], probabilities="sigmoid", draws=10)
    assert found.probabilities == "sigmoid"
    assert found.ece == pytest.approx(0.25)
    assert found.brier == pytest.approx(rows.brier.mean())


def test_sigmoids_far_out_neither_overflow_nor_lose_the_nll():
    logits = np.array([[-500.0, -200.0, -np.inf], [500.0, 0.0, -1.0]], np.float32)
    rows = row_stats(logits, [0, 0], 0.5, "sigmoid")
    assert rows.nll == pytest.approx([1000, 0], abs=1e-12)
    assert rows.confidence == pytest.approx([0, 1])
    assert classwise_ece(logits, [0, 0], 0.5, "sigmoid") > 0


# temperature


@laws
@given(st.integers(0, 10_000), st.floats(-2, 3))
def test_fitted_temperature_is_the_lowest(seed, power):
    logits, labels = random(60, 5, seed)
    logits *= 10**power
    temperature = fit_temperature(logits, labels)
    best = nll(logits, labels, temperature)
    slack = 1e-9 + best * 1e-7
    for other in (1.0, *(temperature * f for f in (0.5, 0.9, 0.99, 1.01, 1.1, 2))):
        assert best <= nll(logits, labels, other) + slack


def test_fit_finds_the_temperature_that_was_put_in():
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (40_000, 6)).astype(np.float32)
    noise = rng.gumbel(size=logits.shape)
    labels = (logits + noise).argmax(axis=1)  # labels drawn by softmax(logits)
    assert fit_temperature(logits * 3, labels) == pytest.approx(3, rel=0.03)
    assert fit_temperature(logits / 50, labels) == pytest.approx(1 / 50, rel=0.03)
    first = fit_temperature(logits, labels)
    assert fit_temperature(logits * 8, labels) == pytest.approx(8 * first, rel=1e-6)


def test_fit_by_hand():
    # right in 3 of 4 at a gap of 2: 1 / (1 + e^(-2 / T)) = 3/4
    wanted = 2 / math.log(3)
    found = fit_temperature([[2.0, 0.0]] * 4, [0, 0, 0, 1])
    assert found == pytest.approx(wanted, rel=1e-6)
    # a class that is not offered changes nothing
    more = np.array([[2.0, 0.0, -np.inf]] * 4, np.float32)
    assert fit_temperature(more, [0, 0, 0, 1]) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(
    ("logits", "labels", "says"),
    [
        ([[1.0, 0.0], [0.0, 1.0]], [0, 1], "all 2 photos are right"),
        ([[1.0, 0.0], [0.0, 1.0]], [1, 0], "by chance"),
        ([[1.0, 0.0]] * 4, [0, 0, 1, 1], "by chance"),
        ([[1.0, 0.0, -np.inf]] * 2, [0, 2], "label 2 of row 1 is not offered"),
        (np.array([[1e-9, 0.0]] * 4), [0, 0, 0, 1], "below"),
        ([[1.0, np.nan]], [0], "row 0"),
        (np.zeros((0, 3)), [], "no logits"),
    ],
)
def test_fits_that_do_not_exist(logits, labels, says):
    with pytest.raises(MetricError, match=says):
        fit_temperature(logits, np.array(labels, np.int64))


# halves


@laws
@given(
    st.dictionaries(st.text(max_size=6), st.sampled_from("abc"), min_size=1),
    st.integers(0, 5),
    st.randoms(),
)
def test_halves_are_even_per_class_and_do_not_hang_on_order(rows, seed, rng):
    pairs = list(rows.items())
    ids, labels = zip(*pairs, strict=True)
    # numpy drops zeros at the end of a text
    if len({one.rstrip("\0") for one in ids}) < len(ids):
        return
    half = halves(ids, labels, seed)
    for name in set(labels):
        inside = half[np.array(labels) == name]
        assert abs(int(inside.sum()) - int((~inside).sum())) <= 1
    by_id = dict(zip(ids, half, strict=True))
    rng.shuffle(pairs)
    again = halves(*zip(*pairs, strict=True), seed)
    assert [by_id[one] for one, _ in pairs] == again.tolist()


def test_halves_of_a_class_do_not_hang_on_other_classes():
    ids = [f"photo {number}" for number in range(300)]
    labels = np.arange(300) % 3
    whole = halves(ids, labels, 7)
    alone = halves(np.array(ids)[labels == 1], labels[labels == 1], 7)
    assert whole[labels == 1].tolist() == alone.tolist()
    assert whole.tolist() != halves(ids, labels, 8).tolist()
    assert whole.sum() == 150


def test_halves_of_single_photos_are_about_half():
    ids = [f"{number:x}" for number in range(2000)]
    assert 900 < halves(ids, np.arange(2000)).sum() < 1100


def test_halves_stay_the_same_from_version_to_version():
    ids, labels = list("abcdefgh"), ["cat"] * 4 + ["dog"] * 4
    assert halves(ids, labels).astype(int).tolist() == [1, 1, 0, 0, 1, 0, 1, 0]


@pytest.mark.parametrize(
    ("ids", "labels", "says"),
    [([], [], "length"), (["a"], [0, 1], "length"), (["a", "a"], [0, 0], "twice")],
)
def test_halves_that_cannot_be(ids, labels, says):
    with pytest.raises(MetricError, match=says):
        halves(ids, labels)


# bad input


@pytest.mark.parametrize(
    ("logits", "labels", "says"),
    [
        (np.zeros((0, 5)), [], "no logits"),
        (np.zeros((2, 0)), [0, 0], "no logits"),
        ([[0.0, 1.0], [np.nan, 0.0]], [0, 0], "row 1 hold nan"),
        ([[0.0, np.inf]], [0], "row 0 hold inf"),
        ([[0.0, 1.0], [-np.inf, -np.inf]], [0, 0], "row 1 are all -inf"),
        ([[0.0, 1.0]], [2], "label 2 of row 0"),
        ([[0.0, 1.0]], [-1], "label -1 of row 0"),
        ([[0.0, 1.0]], [0, 1], "one for each row"),
        ([[0.0, 1.0]], [0.0], "whole numbers"),
        ([0.0, 1.0], [0, 1], "real numbers"),
        ([["a", "b"]], [0], "real numbers"),
    ],
)
def test_bad_logits_and_labels_are_named(logits, labels, says):
    labels = np.array(labels) if labels else np.zeros(0, np.int64)
    for measured in (row_stats, nll, brier, classwise_ece, calibration):
        with pytest.raises(MetricError, match=says):
            measured(logits, labels)


def test_bad_settings_are_named():
    good = [[0.0, 1.0]], [0]
    for temperature in (0, -1, math.nan, math.inf):
        with pytest.raises(MetricError, match="temperature"):
            row_stats(*good, temperature)
    with pytest.raises(ConfigError, match="did you mean sigmoid"):
        row_stats(*good, 1.0, "sigmod")
    with pytest.raises(MetricError, match="level"):
        calibration(*good, level=1)
    with pytest.raises(MetricError, match="draws"):
        calibration(*good, draws=0)


def test_measure_of_stored_probabilities():
    from evaluation.metrics import Outcomes

    empty = np.array([""] * 3)
    sure, mine = np.array([0.9, 0.8, 0.7]), np.array([0.9, 0.1, 0.0])
    found = measure(
        Outcomes(np.array([True, False, False]), empty, empty, empty, empty, sure, mine)
    )
    assert found["ece"] == pytest.approx((0.1 + 0.8 + 0.7) / 3)
    tiny = float(np.finfo(np.float32).tiny)
    wanted = -(math.log(0.9) + math.log(0.1) + math.log(tiny)) / 3
    assert found["nll"] == pytest.approx(wanted)
    assert found.keys() == {"ece", "ece_adaptive", "nll"}
    with pytest.raises(MetricError, match="labels"):
        measure(
            Outcomes(np.ones(1, bool), *[empty[:1]] * 4, sure[:1], np.array([np.nan]))
        )
