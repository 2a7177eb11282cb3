"""Effective robustness from the paper's tables, in every convention there is.

The 15 ImageNet models are the baseline; the numbers come from scipy and from formulas
written out here, not from the code under test.
"""

import math

import numpy as np
import pytest
from scipy import special, stats

from evaluation.metrics.effective_robustness import (
    SCALES,
    Axis,
    against_known,
    against_line,
    fit,
)
from evaluation.metrics.scaling import ScalingPoint, curve, curves, samples_seen
from evaluation.reference import baseline, paper_table, zero_shot

CONVENTIONS = {
    "1 of 1,000, balanced": (3, 4),
    "1 of 1,000, unbalanced": (11, 12),
    "1 of 20, balanced": (13, 14),
}

# slope, R2, mean gap of the 28 CLIPs in points, how many of them lie above the line
HEADLINE = {
    ("1 of 1,000, balanced", "linear"): (1.485, 0.976, -2.22, 7),
    ("1 of 1,000, balanced", "logit"): (1.145, 0.993, -2.45, 5),
    ("1 of 1,000, balanced", "probit"): (1.214, 0.991, -2.41, 5),
    ("1 of 1,000, unbalanced", "linear"): (1.508, 0.972, -0.27, 15),
    ("1 of 1,000, unbalanced", "logit"): (1.033, 0.993, -0.80, 9),
    ("1 of 1,000, unbalanced", "probit"): (1.125, 0.992, -0.70, 10),
    ("1 of 20, balanced", "linear"): (1.710, 0.978, -1.65, 7),
    ("1 of 20, balanced", "logit"): (1.223, 0.991, -1.95, 5),
    ("1 of 20, balanced", "probit"): (1.313, 0.989, -1.90, 6),
}

FORWARD = {"linear": np.asarray, "logit": special.logit, "probit": stats.norm.ppf}
BACK = {"linear": np.asarray, "logit": special.expit, "probit": stats.norm.cdf}


def table(convention):
    clip, imagenet = CONVENTIONS[convention]
    found = [*paper_table(clip), *paper_table(imagenet)]
    x, y = (np.array([getattr(one, group) / 100 for one in found])
            for group in ("common", "counter"))  # fmt: skip
    return [one.model for one in found], x, y, np.arange(len(found)) >= 28


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_lines_of_the_imagenet_models(convention, scale):
    names, x, y, imagenet = table(convention)
    found = against_line(
        names, x, y, imagenet, scale, axes=(Axis("common", None), Axis("counter", None))
    )
    forward, back = FORWARD[scale], BACK[scale]
    line = stats.linregress(forward(x[imagenet]), forward(y[imagenet]))
    above = y - back(line.slope * forward(x) + line.intercept)
    assert found.line.n == 15
    assert found.line.slope == pytest.approx(line.slope, rel=1e-9)
    assert found.line.intercept == pytest.approx(line.intercept, rel=1e-9)
    assert found.line.r2 == pytest.approx(line.rvalue**2, rel=1e-9)
    ours = np.array([point.effective_robustness for point in found.points])
    np.testing.assert_allclose(ours, above, atol=1e-12)

    slope, r2, gap, count = HEADLINE[convention, scale]
    assert round(line.slope, 3) == slope
    assert round(line.rvalue**2, 3) == r2
    assert round(100 * above[:28].mean(), 2) == pytest.approx(gap, abs=1e-9)
    assert int((above[:28] > 0).sum()) == count
    low, high = found.line.slope_ci
    assert low < slope < high


def test_the_gap_nearly_vanishes_with_unbalanced_accuracy():
    for scale in SCALES:
        gaps = [HEADLINE[convention, scale][2] for convention in CONVENTIONS]
        assert gaps[1] > gaps[2] > gaps[0]
        assert abs(gaps[1]) < abs(gaps[0]) / 3


@pytest.mark.parametrize("scale", SCALES)
def test_the_reference_model_lies_lowest(scale):
    """Its groups were chosen with itself: no other CLIP is as far below the line."""
    names, x, y, imagenet = table("1 of 1,000, balanced")
    found = against_line(
        names, x, y, imagenet, scale, draws=0,
        axes=(Axis("common", None), Axis("counter", None)),
    )  # fmt: skip
    lowest = min(found.points, key=lambda point: point.effective_robustness)
    assert lowest.model == "ViT/B/32 LAION400M"
    assert lowest.effective_robustness < -0.08


def test_one_line_for_all_clips_as_in_figure_2():
    """The paper draws one linear fit for all CLIPs, one for the ImageNet models."""
    _, x, y, imagenet = table("1 of 1,000, balanced")
    clips, classifiers = (fit(x[some], y[some], "linear", draws=0)
                          for some in (~imagenet, imagenet))  # fmt: skip
    for line, some in ((clips, ~imagenet), (classifiers, imagenet)):
        wanted = np.polyfit(x[some], y[some], 1)
        assert (line.slope, line.intercept) == pytest.approx(tuple(wanted))
    middle = x[~imagenet].mean()
    gap = (classifiers.slope - clips.slope) * middle
    assert gap + classifiers.intercept - clips.intercept > 0.02


@pytest.mark.parametrize(
    ("name", "column", "mean", "low", "high"),
    [("testbed:imagenet-v2", "imagenet_v2", 5.14, 4.05, 6.73),
     ("testbed:imagenet-sketch", "imagenet_sketch", 35.65, 22.94, 40.39)],
)  # fmt: skip
def test_the_clips_on_imagenet_v2_and_sketch(name, column, mean, low, high):
    """Every CLIP of the paper is above the line of standard ImageNet models."""
    chosen = [one for one in zero_shot() if (one.model, one.tag) !=
              ("ViT-B-32", "laion400m_e31")]  # fmt: skip
    x, y = ([one.accuracy[c] for one in chosen] for c in ("imagenet_1k", column))
    found = against_known(
        [one.paper for one in chosen], x, y, baseline(name),
        axes=(Axis("imagenet-val", None), Axis(column, None)),
    )  # fmt: skip
    slope, intercept = {
        "imagenet_v2": (0.911401, -0.481481),
        "imagenet_sketch": (1.071198, -2.372210),
    }[column]
    for point, a, b in zip(found.points, x, y, strict=True):
        odds = math.exp(slope * math.log(a / (1 - a)) + intercept)
        assert point.effective_robustness == pytest.approx(b - odds / (1 + odds))
    rho = [100 * point.effective_robustness for point in found.points]
    assert (len(rho), round(np.mean(rho), 2)) == (28, mean)
    assert (round(min(rho), 2), round(max(rho), 2)) == (low, high)


def test_scaling_of_the_papers_vit_b_16():
    """Samples seen against the counter group; 5 data sets, so families differ."""
    tags = {one.paper: (one.model, one.tag) for one in zero_shot()}
    points = []
    for row in paper_table(3):
        model, tag = tags[row.model]
        seen, source = samples_seen(f"{model}/{tag}")
        points.append(
            ScalingPoint(model=row.model, seen=seen, value=row.counter / 100,
                         family=row.backbone, source=source)
        )  # fmt: skip
    assert len(points) == 28
    found = curve(points)
    x = np.log10([one.seen for one in points])
    y = np.log10([1 - one.value for one in points])
    wanted = stats.linregress(x, y)
    assert found.slope == pytest.approx(wanted.slope)
    assert found.slope < 0
    families = {one.family: one.n for one in curves(points)}
    assert families == {"ViT/B/16": 5, "ViT/B/32": 4, "ViT/L/14": 5}
