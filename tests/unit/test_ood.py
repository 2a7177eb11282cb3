"""Scores and detection of unknown photos: laws, hand-made examples, bad input."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evaluation.errors import ConfigError, MetricError
from evaluation.metrics.ood import CURVE_POINTS, auroc, detection, mcm, scores

laws = settings(max_examples=50, deadline=None)
few = st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(-5, 5)
sets = st.lists(few, min_size=1, max_size=30)
logits = arrays(
    np.float32,
    st.tuples(st.integers(1, 12), st.integers(1, 6)),
    elements=st.floats(-40, 40, width=32),
)


def found(known, unknown, **options):
    return detection("energy", known, unknown, **options)


# scores


def test_scores_by_hand():
    z = np.array([[0.0, math.log(3)], [0.0, 0.0]])
    one = scores(z)
    assert one["msp"] == pytest.approx([0.75, 0.5])
    assert one["max_logit"] == pytest.approx([math.log(3), 0])
    assert one["energy"] == pytest.approx([math.log(4), math.log(2)])
    half = scores(z, temperature=0.5)  # e^(2 ln 3) = 9
    assert half["msp"] == pytest.approx([0.9, 0.5])
    assert half["max_logit"] == pytest.approx([math.log(3), 0])
    assert half["energy"] == pytest.approx([math.log(10) / 2, math.log(2) / 2])


@laws
@given(logits, st.floats(0.05, 20))
def test_scores_are_what_scipy_gives(z, temperature):
    from scipy.special import logsumexp, softmax

    exact = z.astype(np.float64) / temperature
    one = scores(z, temperature=temperature)
    np.testing.assert_allclose(
        one["msp"], softmax(exact, axis=1).max(axis=1), rtol=1e-5
    )
    np.testing.assert_array_equal(one["max_logit"], z.max(axis=1))
    np.testing.assert_allclose(
        one["energy"],
        temperature * logsumexp(exact, axis=1),
        rtol=1e-5,
        atol=1e-5 * temperature,
    )
    # max <= energy <= max + tau ln C
    slack = 1e-5 * temperature
    assert (one["energy"] >= one["max_logit"] - slack).all()
    most = one["max_logit"] + temperature * math.log(z.shape[1])
    assert (one["energy"] <= most + slack).all()


@laws
@given(arrays(np.float64, (7, 5), elements=st.floats(-1, 1)))
def test_mcm_at_a_hundredth_is_the_msp_of_clips_logits(cosines):
    np.testing.assert_allclose(
        mcm(cosines, temperature=1 / 100), scores(100 * cosines)["msp"], rtol=1e-9
    )


def test_mcm_at_one_is_not_the_msp_of_logits():
    cosines = np.array([[0.3, 0.2], [0.1, 0.1]], np.float32)
    assert mcm(cosines) == pytest.approx([1 / (1 + math.exp(-0.1)), 0.5])
    assert scores(100 * cosines)["msp"][0] > 0.99


def test_blocks_of_rows_leave_no_seam():
    z = np.random.default_rng(0).normal(0, 3, (9000, 70)).astype(np.float32)
    whole = scores(z)
    for start in (0, 3000, 8999):
        part = scores(z[start : start + 1])
        for name, value in part.items():
            assert whole[name][start] == pytest.approx(value[0], rel=1e-7)


def test_classes_that_are_not_offered_change_nothing():
    z = np.array([[1.0, 2.0], [0.0, 3.0]], np.float32)
    more = np.insert(z, 1, -np.inf, axis=1)
    for name, value in scores(z).items():
        assert scores(more)[name] == pytest.approx(value)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.zeros((0, 4)), "no logits"),
        ([[0.0, np.nan]], "row 0 hold nan"),
        ([[0.0, 1.0], [np.inf, 0.0]], "row 1 hold inf"),
        ([[-np.inf, -np.inf]], "no class"),
        ([1.0, 2.0], "real numbers"),
    ],
)
def test_bad_logits_are_named(values, says):
    with pytest.raises(MetricError, match=says):
        scores(values)
    with pytest.raises(MetricError, match=says.replace("logits", "cosines")):
        mcm(np.asarray(values) / 10)


def test_what_is_no_cosine_or_temperature_is_named():
    with pytest.raises(MetricError, match="row 1 reach 31"):
        mcm([[0.1, 0.2], [31.0, 12.0]])
    for temperature in (0, -1, math.nan, math.inf):
        with pytest.raises(MetricError, match="temperature"):
            scores([[0.0, 1.0]], temperature=temperature)
        with pytest.raises(MetricError, match="temperature"):
            mcm([[0.0, 1.0]], temperature=temperature)


# detection


def test_detection_by_hand():
    known, unknown = [0.9, 0.8, 0.7, 0.4], [0.8, 0.6, 0.3]
    one = found(known, unknown, temperature=2.0)
    # beats of 12 pairs: 0.9 3, 0.8 2.5, 0.7 2, 0.4 1
    assert one.auroc == pytest.approx(8.5 / 12)
    # all four known are kept at >= 0.4: of the unknown 0.8 and 0.6 pass
    assert one.fpr95_id_pos == pytest.approx(2 / 3)
    # all three unknown are caught at <= 0.8: so are 0.8, 0.7 and 0.4
    assert one.fpr95_ood_pos == pytest.approx(3 / 4)
    # thresholds from the top: .9 1/1, .8 2/3, .7 3/4, .4 4/6
    assert one.aupr_in == pytest.approx((1 + 2 / 3 + 3 / 4 + 4 / 6) / 4)
    # from the bottom: .3 1/1, .6 2/3, .8 3/6
    assert one.aupr_out == pytest.approx((1 + 2 / 3 + 3 / 6) / 3)
    steps = np.array([(0, 0), (0, 3), (4, 6), (4, 9), (8, 9), (8, 12), (12, 12)]) / 12
    np.testing.assert_allclose(one.curve, steps)
    assert (one.score, one.temperature, one.n_id, one.n_ood) == ("energy", 2.0, 4, 3)


def test_95_percent_is_counted_exactly():
    """Of 20 positives 19 must be kept, of 21 all but one, of 100 95."""
    for number, kept in ((20, 19), (21, 20), (100, 95), (101, 96), (1, 1)):
        known = np.arange(number, 0, -1.0)  # the lowest kept is number - kept + 1
        lowest = number - kept + 1
        assert found(known, [lowest - 0.5, lowest]).fpr95_id_pos == 0.5
        assert found([-lowest + 0.5, -lowest], -known).fpr95_ood_pos == 0.5


def test_sets_apart_and_alike():
    apart = found([2.0, 3.0], [0.0, 1.0])
    assert (apart.auroc, apart.aupr_in, apart.aupr_out) == (1, 1, 1)
    assert (apart.fpr95_id_pos, apart.fpr95_ood_pos) == (0, 0)
    assert apart.auroc_ci == (1, 1)
    assert apart.curve == ((0, 0), (0, 0.5), (0, 1), (0.5, 1), (1, 1))
    alike = found([1.0] * 5, [1.0] * 3)
    assert alike.auroc == 0.5
    assert (alike.fpr95_id_pos, alike.fpr95_ood_pos) == (1, 1)
    assert (alike.aupr_in, alike.aupr_out) == (5 / 8, 3 / 8)
    assert alike.curve == ((0, 0), (1, 1))


@laws
@given(sets, sets)
def test_auroc_is_the_share_of_pairs(known, unknown):
    pairs = [(a > b) + (a == b) / 2 for a in known for b in unknown]
    assert auroc(known, unknown)[0] == pytest.approx(np.mean(pairs), abs=1e-12)


@laws
@given(sets, sets)
def test_swapping_the_sets_mirrors(known, unknown):
    one, other = auroc(known, unknown), auroc(unknown, known)
    assert one[0] == pytest.approx(1 - other[0], abs=1e-12)
    low, high = other[1]
    assert one[1] == pytest.approx((1 - high, 1 - low), abs=1e-12)
    # turning the scores round as well only changes which set is which
    first = found(known, unknown)
    second = found(-np.array(unknown), -np.array(known))
    assert first.auroc == pytest.approx(second.auroc, abs=1e-12)
    assert first.fpr95_id_pos == second.fpr95_ood_pos
    assert first.fpr95_ood_pos == second.fpr95_id_pos
    assert first.aupr_in == pytest.approx(second.aupr_out, abs=1e-12)


@laws
@given(sets, sets, st.randoms())
def test_rising_maps_and_order_change_nothing(known, unknown, rng):
    values = sorted({*known, *unknown})
    rank = {value: math.atan(place) for place, value in enumerate(values)}
    moved = [rank[one] for one in known]
    rng.shuffle(moved)
    assert found(moved, [rank[one] for one in unknown]) == found(known, unknown)


@laws
@given(sets, sets)
def test_numbers_are_fractions_and_curves_rise(known, unknown):
    one = found(known, unknown)
    low, high = one.auroc_ci
    assert 0 <= low <= one.auroc <= high <= 1
    for value in (one.aupr_in, one.aupr_out):
        assert 0 < value <= 1 + 1e-12
    assert 0 <= one.fpr95_id_pos <= 1
    assert 0 <= one.fpr95_ood_pos <= 1
    across, up = np.array(one.curve).T
    assert one.curve[0] == (0, 0)
    assert one.curve[-1] == (1, 1)
    assert (np.diff(across) >= 0).all()
    assert (np.diff(up) >= 0).all()
    # nothing was thinned out, so the area below is the AUROC
    assert np.trapezoid(up, across) == pytest.approx(one.auroc, abs=1e-12)


def test_long_curves_are_thinned_and_keep_their_area():
    rng = np.random.default_rng(0)
    one = found(rng.normal(1, 1, 5000), rng.normal(0, 1, 3000))
    assert 150 < len(one.curve) <= CURVE_POINTS
    across, up = np.array(one.curve).T
    assert np.trapezoid(up, across) == pytest.approx(one.auroc, abs=1e-3)


def test_repeating_every_photo_keeps_all_but_the_interval():
    rng = np.random.default_rng(1)
    known, unknown = rng.normal(1, 1, 40).round(1), rng.normal(0, 1, 40).round(1)
    one, twice = (
        found(known, unknown),
        found(np.repeat(known, 2), np.repeat(unknown, 2)),
    )
    for name in ("auroc", "aupr_in", "aupr_out", "fpr95_id_pos", "fpr95_ood_pos"):
        assert getattr(one, name) == pytest.approx(getattr(twice, name))
    width, half = (high - low for low, high in (one.auroc_ci, twice.auroc_ci))
    assert half == pytest.approx(width / math.sqrt(2), rel=0.03)


def test_interval_covers_the_truth_in_simulated_worlds():
    rng = np.random.default_rng(2)
    truth = 0.5 * (1 + math.erf(1 / 2))  # P(N(1, 1) > N(0, 1))
    hits = 0
    for _ in range(300):
        low, high = auroc(rng.normal(1, 1, 60), rng.normal(0, 1, 90))[1]
        hits += low <= truth <= high
    assert 0.91 <= hits / 300 <= 0.98


def test_one_photo_says_nothing_of_the_spread():
    assert auroc([1.0], [0.0, 0.5])[1] == (0, 1)
    assert auroc([1.0, 2.0], [0.0])[1] == (0, 1)


def test_infinite_scores_have_a_rank():
    one = found([np.inf, 1.0], [-np.inf, 0.0])
    assert one.auroc == 1
    assert one.aupr_in == 1


@pytest.mark.parametrize(
    ("known", "unknown", "says"),
    [
        ([], [1.0], "ID set has no scores"),
        ([1.0], [], "OOD set has no scores"),
        ([[1.0]], [1.0], "ID set has no scores"),
        ([1.0, np.nan], [1.0], "1 scores of the ID set are nan"),
        ([1.0], [np.nan, np.nan, 0.0], "2 scores of the OOD set are nan"),
    ],
)
def test_empty_sets_and_nan_are_named(known, unknown, says):
    with pytest.raises(MetricError, match=says):
        found(known, unknown)
    with pytest.raises(MetricError, match=says):
        auroc(known, unknown)


def test_bad_settings_are_named():
    with pytest.raises(ConfigError, match="did you mean energy"):
        detection("enrgy", [1.0], [0.0])
    with pytest.raises(MetricError, match="level"):
        found([1.0], [0.0], level=1.0)
    with pytest.raises(MetricError, match="temperature"):
        found([1.0], [0.0], temperature=0)


def test_inputs_are_left_alone():
    known, unknown = np.array([3.0, 1.0, 2.0]), np.array([2.0, 0.0])
    found(known, unknown)
    assert known.tolist() == [3, 1, 2]
    z = np.array([[1.0, 2.0]], np.float32)
    scores(z, temperature=3.0)
    assert z.tolist() == [[1, 2]]
