"""Published per-photo predictions and accuracies through our code, where they are.

None of it may be or is part of this repository. Skipped unless these name checkouts:

    COUNTERSET_IMAGENET_X    wheel or folder of the package imagenet-x (or install it)
    COUNTERSET_IMAGENETX     checkout of github.com/facebookresearch/imagenetx
    COUNTERSET_TESTBED       checkout of github.com/modestyachts/imagenet-testbed
"""

import csv
import os
import re
from pathlib import Path

import numpy as np
import pytest

from evaluation.errors import InputError
from evaluation.metrics.effective_robustness import SCALES, fit
from evaluation.metrics.factors import (
    FACTORS,
    annotations,
    factor_accuracy,
    factor_lines,
    right,
)
from evaluation.reference import baseline, baselines

pytestmark = pytest.mark.outside

MODELS = ("DINO", "ResNet50", "SimCLR", "ViT")


def checkout(variable, needed):
    folder = os.environ.get(variable)
    if not folder or not (Path(folder) / needed).exists():
        pytest.skip(f"{variable} names no checkout with {needed}")
    return Path(folder)


@pytest.fixture(scope="module", params=["top", "multi"])
def found(request):
    path = os.environ.get("COUNTERSET_IMAGENET_X")
    try:
        return annotations(Path(path) if path else None, mode=request.param)
    except InputError as error:
        pytest.skip(str(error))


def table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_annotations_are_those_the_figures_are_from(found):
    assert len(found.names) == 46110
    # class 899, water jug, has no annotated photo
    assert set(range(1000)) - set(found.classes.tolist()) == {899}
    per_photo = found.factors.sum(axis=1)
    assert per_photo.max() == (1 if found.mode == "top" else 11)
    assert len(set(found.metaclasses)) == 17
    assert len(found.real) == 46110


def test_top_factors_of_all_annotated_photos():
    path = os.environ.get("COUNTERSET_IMAGENET_X")
    try:
        found = annotations(Path(path) if path else None, keep_prototypes=True)
    except InputError as error:
        pytest.skip(str(error))
    assert found.factors.sum(axis=0).tolist() == [
        16080, 15441, 6571, 6476, 1473, 696, 678, 614, 286, 157, 125, 78, 61, 45, 45, 40
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["class", "metaclass", "real_class"])
def test_factors_of_four_models_are_the_published_ones(found, kind):
    folder = checkout("COUNTERSET_IMAGENETX", "model_predictions/base")
    published = folder / f"results/val/{found.mode}_factor/base/{kind}"
    wanted = {
        row["model"]: row for row in table(published / "accuracies_per_factor.csv")
    }
    for model in MODELS:
        rows = table(folder / f"model_predictions/base/{model}.csv")
        names = [row["file_name"] for row in rows]
        predicted = [int(row["predicted_class"]) for row in rows]
        sure = [float(row["predicted_probability"]) for row in rows]
        correct = right(names, predicted, found=found, kind=kind)
        result = factor_accuracy(names, correct, sure, found=found, kind=kind)
        told = wanted[model]
        assert [one.factor for one in result.factors] == list(FACTORS)
        for one in result.factors:
            assert one.accuracy == pytest.approx(float(told[one.factor]), abs=1e-15)
        assert result.average == pytest.approx(float(told["average"]), abs=1e-15)
        worst = min(one.accuracy for one in result.factors)
        assert worst == pytest.approx(float(told["worst_factor"]), abs=1e-15)
        assert result.worst_classes == pytest.approx(
            float(told["worst_100_classes"]), abs=1e-15
        )


@pytest.mark.slow
def test_lines_of_factors_over_real_models(found):
    folder = checkout("COUNTERSET_IMAGENETX", "model_predictions/base")
    results = {}
    for model in MODELS:
        rows = table(folder / f"model_predictions/base/{model}.csv")
        names = [row["file_name"] for row in rows]
        predicted = [int(row["predicted_class"]) for row in rows]
        sure = [float(row["predicted_probability"]) for row in rows]
        correct = right(names, predicted, found=found, kind="class")
        results[model] = factor_accuracy(names, correct, sure, found=found)
    lines = factor_lines(results, ["DINO", "ResNet50", "SimCLR"], draws=0)
    assert [one.y_name for one in lines] == list(FACTORS)
    for one in lines:
        vit = one.points[3]
        assert (vit.model, vit.baseline) == ("ViT", False)
        assert vit.y - vit.predicted == vit.effective_robustness


# -- imagenet-testbed


@pytest.fixture(scope="module")
def standard():
    """Models with standard training, and every accuracy of each."""
    folder = checkout("COUNTERSET_TESTBED", "robustness_top1s.csv")
    text = (folder / "plotting/model_types.py").read_text(encoding="utf-8")
    body = re.search(r"^model_types_map = \{(.*?)^\}", text, re.DOTALL | re.MULTILINE)
    kinds = dict(re.findall(r"'([^']+)': ModelTypes\.(\w+)", body[1]))
    rows = {row["model"]: row for row in table(folder / "robustness_top1s.csv")}
    return {
        model: row
        for model, row in rows.items()
        if kinds.get(model) == "STANDARD" and float(row["val"]) >= 55
    }


SETTINGS = {
    "testbed:imagenet-v2": "imagenetv2-matched-frequency",
    "testbed:imagenet-sketch": "imagenet-sketch",
    "testbed:imagenet-r": "imagenet-r",
    "testbed:imagenet-a": "imagenet-a",
    "testbed:objectnet": "objectnet-1.0-beta",
}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("one", baselines(), ids=lambda one: one.name)
def test_bundled_lines_are_fits_to_the_published_accuracies(standard, one, scale):
    column = SETTINGS[one.name]
    pairs = np.array(
        [
            (float(row[one.x_setting]), float(row[column]))
            for row in standard.values()
            # 0 is the ResNet-50 that ImageNet-A was chosen against
            if row[one.x_setting] and row[column] and float(row[column]) > 0
        ]
    )
    found = fit(*(pairs.T / 100), scale)
    wanted = baseline(one.name, scale=scale, x=one.x_setting)
    assert found.n == wanted.n
    for name in ("slope", "intercept", "r2", "slope_ci", "intercept_ci"):
        assert getattr(found, name) == pytest.approx(getattr(wanted, name), abs=1e-6)


def test_two_models_that_the_testbeds_plots_leave_out(standard):
    left_out = [m for m in standard if "aws" in m or "batch64" in m]
    assert sorted(left_out) == [
        "resnet50_aws_baseline",
        "resnet50_imagenet_100percent_batch64_original_images",
    ]
    for column, slope, intercept in (
        ("imagenetv2-matched-frequency", 0.911373, -0.481307),
        ("imagenet-sketch", 1.070915, -2.370073),
    ):
        rows = [row for model, row in standard.items() if model not in left_out]
        found = fit(
            [float(row["val"]) / 100 for row in rows],
            [float(row[column]) / 100 for row in rows],
            draws=0,
        )
        assert (found.slope, found.intercept) == pytest.approx(
            (slope, intercept), abs=1e-6
        )
