"""Lines through accuracies, and how far models lie above them."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evaluation.errors import ConfigError, MetricError
from evaluation.intervals import clopper_pearson
from evaluation.metrics.effective_robustness import (
    SCALES,
    SEED,
    Axis,
    Line,
    against_known,
    against_line,
    effective_robustness,
    fit,
    inverse,
    matched,
    predict,
    relative,
    transform,
)
from evaluation.metrics.special_lines import (
    effective_robustness_pivot,
    effective_robustness_several,
    fit_pivot,
    fit_several,
    predict_several,
)

AXES = (Axis("val", None), Axis("shift", None))
scales = st.sampled_from(SCALES)
inner = st.floats(0.02, 0.98)


def models(count, seed=0):
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(0.3, 0.9, count))
    return x, np.clip(0.9 * x - 0.1 + rng.normal(0, 0.02, count), 0.05, 0.95)


# -- scales


@settings(max_examples=50, deadline=None)
@given(scales, st.lists(inner, min_size=1, max_size=20))
def test_inverse_undoes_transform(scale, p):
    np.testing.assert_allclose(inverse(transform(p, scale), scale), p, atol=1e-12)


def test_scales_by_hand():
    assert transform([0.8], "logit")[0] == pytest.approx(math.log(4))
    assert transform([0.975], "probit")[0] == pytest.approx(1.959963985)
    assert transform([0.3], "linear")[0] == 0.3
    assert transform([0.0, 1.0], "logit").tolist() == [-math.inf, math.inf]
    assert inverse([-800.0, 800.0], "logit").tolist() == [0.0, 1.0]


def test_unknown_scale_and_method_name_what_there_is():
    with pytest.raises(ConfigError, match=r"did you mean logit\? Known: linear"):
        transform([0.5], "logits")
    with pytest.raises(ConfigError, match="Theil-Sen"):
        fit([0.1, 0.2, 0.3], [0.1, 0.2, 0.3], "linear", method="theil")


# -- the line


@pytest.mark.parametrize("scale", SCALES)
def test_least_squares_is_scipys(scale):
    x, y = models(20)
    found = fit(x, y, scale, draws=0)
    wanted = stats.linregress(transform(x, scale), transform(y, scale))
    assert found.slope == pytest.approx(wanted.slope, rel=1e-12)
    assert found.intercept == pytest.approx(wanted.intercept, rel=1e-10)
    assert found.r2 == pytest.approx(wanted.rvalue**2, rel=1e-12)
    assert (found.n, found.draws, found.slope_ci, found.band) == (20, 0, None, ())


@pytest.mark.parametrize("scale", SCALES)
def test_theil_sen_is_scipys_and_does_not_follow_one_model(scale):
    x, y = models(21)
    y[3] = 0.9
    found = fit(x, y, scale, method="Theil-Sen", draws=0)
    wanted = stats.theilslopes(transform(y, scale), transform(x, scale), method="joint")
    assert found.slope == pytest.approx(wanted.slope, rel=1e-12)
    assert found.intercept == pytest.approx(wanted.intercept, rel=1e-10)
    without = fit(np.delete(x, 3), np.delete(y, 3), scale, draws=0).slope
    plain = fit(x, y, scale, draws=0).slope
    assert abs(found.slope - without) < abs(plain - without) / 3
    assert found.method == "Theil-Sen"


@settings(max_examples=50, deadline=None)
@given(
    scales,
    st.floats(0.3, 2),
    st.floats(-0.5, 0.2),
    st.lists(st.floats(0.35, 0.9), min_size=3, max_size=12, unique=True),
    st.sampled_from(["least squares", "Theil-Sen"]),
)
def test_models_on_a_line_have_no_effective_robustness(scale, slope, shift, x, method):
    x = np.array(x)
    if np.ptp(x) < 0.01:
        x[0] = 0.5 if x[1] > 0.6 else 0.8
    y = inverse(slope * transform(x, scale) + shift, scale)
    y = np.clip(y, 0.001, 0.999) if scale != "linear" else y
    if scale == "linear" and not ((y >= 0) & (y <= 1)).all():
        y = 0.5 * x + 0.1
    found = fit(x, y, scale, method=method, draws=20)
    np.testing.assert_allclose(effective_robustness(found, x, y), 0, atol=1e-6)
    assert found.r2 == pytest.approx(1, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(scales, inner, inner, st.integers(0, 1000))
def test_a_model_outside_the_baseline_never_moves_the_line(scale, new_x, new_y, seed):
    x, y = models(8, seed)
    names = [f"m{i}" for i in range(9)]
    before = fit(x, y, scale, draws=50)
    found = against_line(
        names,
        [*x, new_x],
        [*y, new_y],
        [True] * 8 + [False],
        scale,
        axes=AXES,
        draws=50,
    )
    assert found.line.slope == before.slope
    assert found.line.intercept == before.intercept
    assert found.line.slope_ci == before.slope_ci
    assert [point.baseline for point in found.points] == [True] * 8 + [False]


@settings(max_examples=50, deadline=None)
@given(scales, inner, st.floats(0.05, 0.5), st.floats(-0.04, 0.4))
def test_effective_robustness_moves_with_y(scale, x, y, delta):
    line = fit(*models(10), scale, draws=0)
    before = effective_robustness(line, [x], [y])[0]
    after = effective_robustness(line, [x], [y + delta])[0]
    assert after - before == pytest.approx(delta, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(
    inner,
    st.lists(st.integers(2, 98), min_size=2, max_size=8, unique=True),
)
def test_models_alike_in_x_are_ordered_by_y_on_every_scale(x, percents):
    y = np.array(percents) / 100
    orders = []
    for scale in SCALES:
        line = fit(*models(10), scale, draws=0)
        above = effective_robustness(line, np.full(len(y), x), y)
        np.testing.assert_allclose(np.diff(above), np.diff(y), atol=1e-12)
        orders.append(np.argsort(above, kind="stable").tolist())
    assert orders[0] == orders[1] == orders[2] == np.argsort(y).tolist()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_order_of_models_does_not_matter(seed):
    x, y = models(9, seed)
    order = np.random.default_rng(seed).permutation(9)
    first, second = (fit(x[i], y[i], "logit", draws=0) for i in (slice(None), order))
    assert first.slope == pytest.approx(second.slope, rel=1e-9)
    assert first.intercept == pytest.approx(second.intercept, rel=1e-9, abs=1e-12)


def test_difference_is_taken_after_going_back():
    line = Line(scale="logit", slope=1.0, intercept=-math.log(4), r2=1.0, n=3)
    # odds 4 at x = 0.8; odds 1 on the line, so 0.5
    assert predict(line, [0.8])[0] == pytest.approx(0.5)
    assert effective_robustness(line, [0.8], [0.6])[0] == pytest.approx(0.1)


def test_relative_robustness():
    assert relative([0.55], [0.5])[0] == pytest.approx(0.05)
    with pytest.raises(MetricError, match="2 interventions and 1 base"):
        relative([0.5, 0.6], [0.5])
    with pytest.raises(MetricError, match="base model is 50"):
        relative([0.5], [50])


# -- bootstrap


def test_intervals_are_the_percentiles_of_lines_drawn_one_by_one():
    x, y = models(12)
    tx, ty = transform(x, "logit"), transform(y, "logit")
    rng = np.random.RandomState(SEED)
    slopes, intercepts = [], []
    for _ in range(200):
        chosen = rng.choice(12, 12)
        line = stats.linregress(tx[chosen], ty[chosen])
        slopes.append(line.slope)
        intercepts.append(line.intercept)
    found = fit(x, y, "logit", draws=200)
    for values, interval in (
        (slopes, found.slope_ci),
        (intercepts, found.intercept_ci),
    ):
        low = np.percentile(values, 2.5, method="lower")
        high = np.percentile(values, 97.5, method="higher")
        assert interval == pytest.approx((low, high), rel=1e-9)
    assert found.draws == 200
    middle = found.band[len(found.band) // 2]
    at = transform(middle[0], "logit")
    drawn = inverse(np.array(slopes) * at + np.array(intercepts), "logit")
    low = np.percentile(drawn, 2.5, method="lower")
    assert middle[1] == pytest.approx(low, rel=1e-9)


def test_draws_without_a_line_are_left_out():
    found = fit([0.5, 0.6, 0.7], [0.4, 0.52, 0.6], "logit", draws=1000)
    # all three the same: 3 of 27 draws
    assert 840 < found.draws < 935
    assert all(math.isfinite(end) for end in found.slope_ci)
    low, high = found.slope_ci
    assert low <= found.slope <= high


def test_a_level_that_is_none():
    with pytest.raises(MetricError, match="level lies between 0 and 1, not 95"):
        fit(*models(9), level=95)


def test_equal_seeds_give_equal_intervals():
    x, y = models(9)
    assert fit(x, y, "probit") == fit(x, y, "probit")
    assert fit(x, y, "probit") != fit(x, y, "probit", seed=1)


def test_interval_of_a_point_covers_it_and_grows_away_from_the_baseline():
    x, y = models(15)
    found = against_line(
        [str(i) for i in range(17)],
        [*x, 0.6, 0.99],
        [*y, 0.5, 0.9],
        [True] * 15 + [False] * 2,
        "linear",
        axes=AXES,
    )
    for point in found.points:
        low, high = point.effective_robustness_ci
        assert low <= point.effective_robustness <= high
        assert point.effective_robustness == point.y - point.predicted
    wide = [p.effective_robustness_ci[1] - p.effective_robustness_ci[0]
            for p in found.points[-2:]]  # fmt: skip
    assert wide[0] < wide[1]
    assert found.line.band[-1][0] == pytest.approx(0.99)


def test_intervals_of_accuracies_are_clopper_and_pearsons():
    found = against_line(
        list("abcd"),
        [0.5, 0.6, 0.7, 0.8],
        [0.4, 0.5, 0.62, 0.7],
        [True, True, True, False],
        "linear",
        axes=AXES,
        n_x=1000,
        n_y=[500, 500, 500, 50],
        draws=0,
    )
    assert found.points[3].y_ci == tuple(map(float, clopper_pearson(35, 50, 0.995)))
    assert found.points[3].x_ci == tuple(map(float, clopper_pearson(800, 1000, 0.995)))
    assert found.points[3].effective_robustness_ci is None


# -- what cannot be fitted


def test_fewer_than_three_models_are_named():
    with pytest.raises(MetricError, match="2 baseline models: a, b; .* at least 3"):
        fit([0.5, 0.6], [0.4, 0.5], "linear", names=["a", "b"])
    with pytest.raises(MetricError, match="0 baseline models;"):
        fit([], [], "linear")


def test_one_accuracy_for_all_is_no_line():
    with pytest.raises(MetricError, match="one accuracy on the x axis"):
        fit([0.5, 0.5, 0.5], [0.4, 0.5, 0.6], "logit")


@pytest.mark.parametrize("scale", ["logit", "probit"])
def test_zero_needs_counts_or_the_linear_scale(scale):
    x, y = [0.5, 0.6, 0.7], [0.0, 0.2, 0.3]
    with pytest.raises(MetricError, match="resnet50 on y is 0, which is infinite"):
        fit(x, y, scale, names=["resnet50", "b", "c"])
    found = fit(x, y, scale, n_y=[7500, 7500, 7500])
    wanted = fit(x, [0.5 / 7501, 0.2, 0.3], scale)
    assert found.corrected
    assert not wanted.corrected
    assert (found.slope, found.intercept) == (wanted.slope, wanted.intercept)
    assert not fit(x, y, "linear").corrected


def test_one_is_moved_inside_too():
    found = fit([0.5, 0.6, 1.0], [0.4, 0.5, 0.9], "logit", n_x=99)
    wanted = fit([0.5, 0.6, 0.995], [0.4, 0.5, 0.9], "logit")
    assert found.slope == pytest.approx(wanted.slope)
    line = fit(*models(5), "logit", draws=0)
    with pytest.raises(MetricError, match="model 1 on x is 1"):
        predict(line, [1.0])
    assert predict(line, [1.0], n_x=99) == pytest.approx(predict(line, [0.995]))


def test_a_model_outside_the_baseline_may_have_y_of_zero():
    found = against_line(
        list("abcd"),
        [0.5, 0.6, 0.7, 0.8],
        [0.4, 0.5, 0.6, 0.0],
        [True, True, True, False],
        "logit",
        axes=AXES,
    )
    assert found.points[3].effective_robustness == -found.points[3].predicted


@pytest.mark.parametrize(
    ("value", "told"),
    [(math.nan, "b on shift is not a number"), (63.2, "b on shift is 63.2"),
     (-0.1, "b on shift is -0.1")],
)  # fmt: skip
def test_what_is_no_fraction_is_named(value, told):
    with pytest.raises(MetricError, match=told):
        against_line(
            list("abc"), [0.1, 0.2, 0.3], [0.1, value, 0.3], [True] * 3, "linear",
            axes=AXES,
        )  # fmt: skip


@pytest.mark.parametrize("value", [math.nan, 1.5])
def test_what_is_no_fraction_is_named_outside_the_baseline_too(value):
    x, y = [0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, value]
    line = fit(x[:3], y[:3], "linear", draws=0)
    with pytest.raises(MetricError, match="d on shift is"):
        against_line(list("abcd"), x, y, [True] * 3 + [False], "linear", axes=AXES)
    with pytest.raises(MetricError, match="d on shift is"):
        against_known(list("abcd"), x, y, line, axes=AXES)
    with pytest.raises(MetricError, match="d on val is"):
        against_known(list("abcd"), y, x, line, axes=AXES)


def test_lengths_must_agree():
    with pytest.raises(MetricError, match="3 x and 2 y"):
        fit([0.1, 0.2, 0.3], [0.1, 0.2], "linear")
    with pytest.raises(MetricError, match="2 names for 3 models"):
        against_line(list("ab"), [0.1, 0.2, 0.3], [0.1] * 3, [True] * 3, axes=AXES)
    with pytest.raises(MetricError, match="3 models, and 2 times whether"):
        against_line(list("abc"), [0.1, 0.2, 0.3], [0.1] * 3, [True] * 2, axes=AXES)
    with pytest.raises(MetricError, match="at least one photo"):
        fit([0.1, 0.2, 0.3], [0.1, 0.2, 0.3], n_x=0)
    with pytest.raises(MetricError, match="one for each of 3"):
        fit([0.1, 0.2, 0.3], [0.1, 0.2, 0.3], n_x=[5, 5])
    with pytest.raises(MetricError, match="one for each model, not of shape"):
        fit([[0.1, 0.2, 0.3]], [[0.1, 0.2, 0.3]])


# -- classes


def test_classes_must_match():
    everything = Axis("imagenet-val", frozenset(range(1000)))
    some = Axis("imagenet-r", frozenset(range(0, 1000, 5)))
    told = r"1000 classes and imagenet-r on 200.*1, 2, 3, 4, 6, … \(800\) only in imag"
    with pytest.raises(MetricError, match=told):
        matched(everything, some)
    assert matched(some, Axis("val on r's classes", some.classes)) == 200
    shifted = Axis("other", frozenset(range(1, 1001, 5)))
    with pytest.raises(MetricError, match="200 classes and other on 200, not the same"):
        matched(some, shifted)
    with pytest.raises(MetricError, match="classes of a are not known"):
        matched(Axis("a", None), some)
    assert matched(*AXES) is None


def test_lines_refuse_other_classes_and_tell_how_many():
    names, (x, y) = list("abcd"), models(4)
    ten, nine = (frozenset(range(n)) for n in (10, 9))
    line = fit(x, y, draws=0)
    for call in (
        lambda axes: against_line(names, x, y, [True] * 4, axes=axes, draws=0),
        lambda axes: against_known(names, x, y, line, axes=axes),
    ):
        assert call((Axis("x", ten), Axis("y", ten))).classes == 10
        assert call(AXES).classes is None
        with pytest.raises(MetricError, match="9 only in x"):
            call((Axis("x", ten), Axis("y", nine)))


def test_a_known_line_takes_every_model():
    line = Line(scale="linear", slope=1.0, intercept=-0.1, r2=1.0, n=9)
    found = against_known(["a"], [0.7], [0.65], line, axes=AXES, n_y=20)
    point = found.points[0]
    assert point.effective_robustness == pytest.approx(0.05)
    assert not point.baseline
    assert point.effective_robustness_ci is None
    assert point.y_ci is not None


# -- special lines


def test_several_sets_are_least_squares():
    rng = np.random.default_rng(3)
    xs, y = rng.uniform(0.2, 0.9, (30, 2)), rng.uniform(0.2, 0.9, 30)
    found = fit_several(xs, y, "logit", baseline="all")
    design = np.column_stack([np.ones(30), transform(xs, "logit")])
    wanted = np.linalg.lstsq(design, transform(y, "logit"), rcond=None)[0]
    assert (found.intercept, *found.slopes) == pytest.approx(wanted.tolist())
    onto = inverse(design @ wanted, "logit")
    np.testing.assert_allclose(predict_several(found, xs), onto)
    np.testing.assert_allclose(effective_robustness_several(found, xs, y), y - onto)
    assert (found.n, found.baseline) == (30, "all")


def test_one_set_is_the_plain_line():
    x, y = models(12)
    several, plain = fit_several(x[:, None], y, "probit"), fit(x, y, "probit", draws=0)
    assert several.slopes[0] == pytest.approx(plain.slope)
    assert several.intercept == pytest.approx(plain.intercept)
    assert several.r2 == pytest.approx(plain.r2)


def test_training_data_that_one_set_cannot_tell_is_told_by_two():
    """Two families, each good on its own set: against one set one looks robust."""
    rng = np.random.default_rng(1)
    skill = rng.uniform(-0.5, 1.5, 40)
    family = np.arange(40) % 2
    first = inverse(skill + 0.5 * (family == 0), "logit")
    second = inverse(skill + 0.5 * (family == 1), "logit")
    shift = inverse(skill - 1, "logit")
    plain = fit(first[family == 0], shift[family == 0], "logit", draws=0)
    naive = effective_robustness(plain, first, shift)
    both = np.column_stack([first, second])
    fair = effective_robustness_several(fit_several(both, shift), both, shift)
    assert naive[family == 1].mean() > 0.05
    np.testing.assert_allclose(fair, 0, atol=1e-9)


def test_several_sets_that_say_the_same_are_refused():
    x, y = models(9)
    with pytest.raises(MetricError, match="cannot be told apart"):
        fit_several(np.column_stack([x, x]), y)
    with pytest.raises(MetricError, match="cannot be told apart"):
        fit_several(np.column_stack([x, np.full(9, 0.5)]), y)
    with pytest.raises(MetricError, match="3 baseline models.*2 slopes .* at least 4"):
        fit_several(np.column_stack([x, x])[:3], y[:3])
    with pytest.raises(MetricError, match="in-distribution set 2 is 1"):
        fit_several(np.column_stack([x, np.r_[x[1:], 1.0]]), y)
    moved = fit_several(np.column_stack([x, np.r_[x[1:], 1.0]]), y, n_xs=[100, 100])
    assert moved.corrected
    with pytest.raises(MetricError, match="fitted to 2 .* asked with 1"):
        predict_several(moved, x[:, None])


def test_pivot_splits_where_a_model_scores_nothing():
    below = np.array([0.60, 0.65, 0.70, 0.75])
    above = np.array([0.85, 0.88, 0.91, 0.95])
    x = np.concatenate([below, [0.8], above])
    y = np.concatenate([
        inverse(0.2 * transform(below, "logit") - 3, "logit"), [0.0],
        inverse(2.0 * transform(above, "logit") - 5, "logit"),
    ])  # fmt: skip
    found = fit_pivot(x, y, draws=0)
    assert found.pivot == 0.8
    assert (found.below.n, found.above.n) == (4, 4)
    assert found.below.slope == pytest.approx(0.2)
    assert found.above.slope == pytest.approx(2.0)
    rho = effective_robustness_pivot(found, x, y)
    np.testing.assert_allclose(np.delete(rho, 4), 0, atol=1e-12)
    at_pivot = inverse(0.2 * transform(0.8, "logit") - 3, "logit")
    assert rho[4] == pytest.approx(-at_pivot)


def test_pivot_needs_a_zero_or_a_place():
    x, y = models(10)
    with pytest.raises(MetricError, match="no model has y = 0"):
        fit_pivot(x, y)
    with pytest.raises(MetricError, match="1 baseline models: model 1;"):
        fit_pivot(x, y, pivot=float(x[1]))
    assert fit_pivot(x, y, pivot=float(x[5]), draws=0).above.n == 4
