"""Scaling curves, and how many pairs models have seen."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evaluation.errors import MetricError
from evaluation.metrics.scaling import ScalingPoint, curve, curves, samples_seen

SUITE = Path(__file__).parents[2] / "evaluation/suites/counteranimal.toml"


def point(seen, value, family="", model=None):
    return ScalingPoint(model=model or f"m{seen:g}", seen=seen, value=value,
                        family=family)  # fmt: skip


def noisy(count, seed=0):
    rng = np.random.default_rng(seed)
    seen = 10 ** rng.uniform(7, 11, count)
    error = 3 * seen**-0.08 * np.exp(rng.normal(0, 0.05, count))
    return [point(float(n), float(1 - e)) for n, e in zip(seen, error, strict=True)]


@settings(max_examples=50, deadline=None)
@given(st.floats(-0.4, -0.01), st.lists(st.integers(7, 11), min_size=3, unique=True))
def test_a_power_law_is_found_again(slope, powers):
    found = curve([point(10.0**p, 1 - 10 ** (slope * (p - 6))) for p in powers])
    assert found.slope == pytest.approx(slope, rel=1e-6)
    assert found.intercept == pytest.approx(-6 * slope, rel=1e-6)
    assert found.r2 == pytest.approx(1)
    assert [one.seen for one in found.points] == sorted(10.0**p for p in powers)


def test_the_fit_is_scipys_and_has_an_interval():
    points = noisy(20)
    found = curve(points)
    wanted = stats.linregress(
        np.log10([one.seen for one in points]),
        np.log10([1 - one.value for one in points]),
    )
    assert found.slope == pytest.approx(wanted.slope)
    assert found.intercept == pytest.approx(wanted.intercept)
    assert found.r2 == pytest.approx(wanted.rvalue**2)
    assert found.slope_ci[0] < found.slope < found.slope_ci[1]
    assert found.slope_ci[0] < -0.08 < found.slope_ci[1]
    assert (found.n, found.draws) == (20, 1000)


def test_three_models_have_a_curve_without_an_interval():
    found = curve(noisy(3))
    assert found.slope_ci is None
    assert found.draws == 0


def test_curves_by_family():
    points = [
        *(point(10.0**p, 0.1 * (p - 6), "b", f"b{p}") for p in (8, 9, 10)),
        *(point(10.0**p, 0.1 * (p - 5), "a", f"a{p}") for p in (8, 9, 10, 11)),
        point(1e9, 0.3, "few"),
        *(point(1e9, 0.1 * i, "same", f"s{i}") for i in range(1, 5)),
    ]
    found = curves(points)
    assert [(one.family, one.n) for one in found] == [("a", 4), ("b", 3)]
    assert curve(points, "a") == found[0]
    assert curve(points).n == len(points)


def test_what_has_no_curve_is_told():
    with pytest.raises(MetricError, match="2 models in all; .* at least 3"):
        curve(noisy(2))
    with pytest.raises(MetricError, match="1 models of family 'few'"):
        curve([*noisy(5), point(1e9, 0.3, "few")], "few")
    with pytest.raises(MetricError, match=r"all models have seen 1e\+09"):
        curve([point(1e9, 0.1 * i, model=str(i)) for i in range(3)])
    for value in (1.0, 63.2, float("nan"), -0.1):
        with pytest.raises(MetricError, match="accuracy of odd is"):
            curve([*noisy(5), point(1e9, value, model="odd")])
    for seen in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(MetricError, match="odd has seen"):
            curves([*noisy(5), point(seen, 0.5, model="odd")])


@pytest.mark.parametrize(
    ("model", "seen", "inferred"),
    [
        ("open_clip:ViT-B-16/laion2b_s34b_b88k", 34e9, False),
        ("ViT-L-14/datacomp_xl_s13b_b90k", 13e9, False),
        ("ViT-B-32/datacomp_m_s128m_b4k", 128e6, False),
        ("convnext_base_w/laion2b_s13b_b82k_augreg", 13e9, False),
        ("open_clip:ViT-B-32-quickgelu/openai", 12.8e9, False),
        ("open_clip:ViT-L-14-336-quickgelu/openai", 13.2e9, True),
        ("ViT-B-16/laion400m_e31", 12.4e9, True),
        ("ViT-B-32-quickgelu/laion400m_e32", 12.8e9, True),
        ("ViT-L-14-quickgelu/dfn2b", 12.8e9, False),
        ("ViT-H-14-quickgelu/dfn5b", 39e9, False),
        ("ViT-H-14-378-quickgelu/dfn5b", 44e9, False),
    ],
)
def test_samples_seen(model, seen, inferred):
    found = samples_seen(model)
    assert found[0] == seen
    assert found[1].startswith("inferred") == inferred


@pytest.mark.parametrize(
    "model", ["timm:resnet50", "demo:clip", "open_clip:ViT-B-16-SigLIP/webli",
              "open_clip:ViT-B-32", "ViT-L-14/dfn5b", ""],
)  # fmt: skip
def test_samples_seen_are_not_made_up(model):
    assert samples_seen(model) is None


def test_every_clip_of_the_paper_has_a_number():
    models = [one["name"] for one in tomllib.loads(SUITE.read_text())["models"]]
    clips = [name for name in models if name.startswith("open_clip:")]
    assert len(clips) >= 28
    assert all(1e10 < samples_seen(name)[0] < 5e10 for name in clips)
