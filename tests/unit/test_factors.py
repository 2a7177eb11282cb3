"""ImageNet-X: annotations read from several places, and accuracy within factors."""

import csv
import io
import json
import math
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.errors import ConfigError, InputError, MetricError
from evaluation.intervals import wilson
from evaluation.metrics import factors
from evaluation.metrics.factors import (
    FACTORS,
    Annotations,
    annotations,
    factor_accuracy,
    factor_lines,
    right,
)

# photo: class, factors, predicted, confidence; photo 9 is a prototype
PHOTOS = {
    1: (0, ["pose"], 0, 0.9),
    2: (0, ["pose", "color"], 1, 0.8),
    3: (1, ["pose"], 1, 0.7),
    4: (1, ["color"], 0, 0.6),
    5: (1, ["color", "pose"], 1, 0.95),
    6: (2, ["texture"], 0, 0.5),
    7: (2, [], 2, 0.3),
    8: (2, ["color"], 2, 0.99),
    9: (0, [], 0, 1.0),
}


def photo(number):
    return f"ILSVRC2012_val_{number:08d}.JPEG"


def line(number, chosen):
    row = {"file_name": photo(number), "class": PHOTOS[number][0]}
    row |= {factor: int(factor in chosen) for factor in FACTORS}
    return json.dumps(row | {"justification": "", "one_word": ""})


def files():
    """What the package has, made up."""
    rows = {number: row[1] for number, row in PHOTOS.items()}
    first = {number: chosen[:1] for number, chosen in rows.items()}
    labels = [[], [0, 1], [1], [0], [1], [], [2], [2], [0]]
    groups = ["dog", "dog", "cat", *["tool"] * 997]
    table = io.StringIO()
    csv.writer(table).writerows(
        [["wnid", "name", "metaclass"], *(["n", name, "0"] for name in groups)]
    )
    return {
        "imagenet_x_val_top_factor.jsonl": "\n".join(
            line(*item) for item in first.items()
        ),
        "imagenet_x_val_multi_factor.jsonl": "\n".join(
            line(*item) for item in rows.items()
        ),
        "prototypical_paths.csv": f"file_name\n{photo(9)}\n",
        "imagenet_1k_classes_to_100_metaclasses.csv": table.getvalue(),
        "imagenet_real_labels.jsonl": json.dumps(labels),
    }


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "imagenet_x" / "annotations"
    inside.mkdir(parents=True)
    for name, text in files().items():
        (inside / name).write_text(text, encoding="utf-8")
    return tmp_path


def answers():
    chosen = [number for number in PHOTOS if number != 9]
    names = [photo(number) for number in chosen]
    predicted = [PHOTOS[number][2] for number in chosen]
    return names, predicted, [PHOTOS[number][3] for number in chosen]


# -- reading


def test_top_factors_of_a_folder(folder):
    found = annotations(folder)
    assert found.mode == "top"
    assert found.names == tuple(photo(n) for n in range(1, 9))
    assert found.factors.shape == (8, 16)
    assert found.factors.sum(axis=0)[FACTORS.index("pose")] == 3
    assert found.classes.tolist() == [0, 0, 1, 1, 1, 2, 2, 2]
    assert found.metaclasses[:4] == ("dog", "dog", "other", "other")
    assert found.real[0] == frozenset()
    assert found.real[1] == {0, 1}
    assert found.source.startswith("imagenet_x_val_top_factor.jsonl, sha256 ")
    assert found.source.endswith(", without prototypes")


def test_prototypes_can_be_kept(folder):
    found = annotations(folder, keep_prototypes=True)
    assert found.names[-1] == photo(9)
    assert found.source.endswith(", with prototypes")


def test_the_same_from_folder_file_and_wheel(folder, tmp_path):
    inside = folder / "imagenet_x" / "annotations"
    wheel = tmp_path / "imagenet_x-9-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files().items():
            archive.writestr(f"imagenet_x/annotations/{name}", text)
    places = [
        folder,
        folder / "imagenet_x",
        inside,
        inside / "imagenet_x_val_multi_factor.jsonl",
        wheel,
    ]
    found = [annotations(place, mode="multi") for place in places]
    for one in found:
        assert one.source == found[0].source
        assert one.names == found[0].names
        np.testing.assert_array_equal(one.factors, found[0].factors)


def test_the_installed_package_is_found_and_not_imported(folder, monkeypatch):
    (folder / "imagenet_x" / "__init__.py").write_text("raise RuntimeError\n")
    monkeypatch.syspath_prepend(folder)
    found = annotations()
    assert found.source.startswith("imagenet-x: imagenet_x_val_top")
    assert "imagenet_x" not in sys.modules


def test_without_the_package_it_is_told_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr(factors.annotations.__globals__["importlib"].util, "find_spec",
                        lambda _: None)  # fmt: skip
    with pytest.raises(InputError, match="not installed: pip install --no-deps imag"):
        annotations()
    with pytest.raises(InputError, match=r"no file .*top_factor.jsonl; .*pip install"):
        annotations(tmp_path)
    with pytest.raises(InputError, match=r"no file .*x\.whl"):
        annotations(tmp_path / "x.whl")
    with pytest.raises(ConfigError, match="top or multi"):
        annotations(tmp_path, mode="all")


def test_damage_is_told_with_its_line(folder):
    file = folder / "imagenet_x/annotations/imagenet_x_val_top_factor.jsonl"
    good = file.read_text()
    missing = '{"file_name": "x.JPEG", "class": 1, "pose": 1}'
    for text, told in (
        (good.replace('"pose": 1', '"pose": 2', 1), "line 1: .*neither 0 nor 1"),
        (f"{good}\n{missing}", "line 10: .*background"),
        (f"{good}\n{{not json", "line 10: not an annotation"),
        ("", "has no annotations"),
        (f"{good}\n{line(1, [])}", "has a photo twice"),
        (f"{good}\n{line(2, ['pose', 'color'])}", "line 10: .*for mode multi"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=told):
            annotations(folder)


def test_a_file_without_prototypes_beside_it(folder):
    inside = folder / "imagenet_x" / "annotations"
    file = inside / "imagenet_x_val_top_factor.jsonl"
    (inside / "prototypical_paths.csv").unlink()
    with pytest.raises(InputError, match="no prototypical_paths.csv beside"):
        annotations(file)
    assert len(annotations(file, keep_prototypes=True).names) == 9


def test_photos_join_by_imagenets_number(folder):
    found = annotations(folder)
    names = [
        "val/n01440764/ILSVRC2012_val_00000003.JPEG",
        "ILSVRC2012_val_00000002_n01440764.JPEG",
        "c:\\val\\ilsvrc2012_val_00000001.jpg",
        photo(9),
        "holiday.jpg",
    ]
    assert found.rows(names).tolist() == [2, 1, 0, -1, -1]


# -- accuracy, by hand


def test_top_by_hand(folder):
    found = annotations(folder)
    names, predicted, confidence = answers()
    correct = right(names, predicted, found=found, kind="class")
    assert correct.tolist() == [True, False, True, False, True, False, True, True]
    result = factor_accuracy(names, correct, confidence, found=found)
    # pose 1-3, color 4, 5 and 8, texture 6; photo 7 has none
    told = {one.factor: (one.k, one.n) for one in result.factors}
    assert told == {"pose": (2, 3), "color": (2, 3), "texture": (0, 1)}
    assert [one.factor for one in result.factors] == ["pose", "color", "texture"]
    pose, color, texture = result.factors
    assert result.average == 5 / 8
    assert pose.error_ratio == pytest.approx((1 / 3) / (3 / 8))
    assert texture.error_ratio == pytest.approx(1 / (3 / 8))
    # class 0 has one right of two, class 1 one of one
    assert pose.accuracy_balanced == 0.75
    # class 1 one of two, class 2 one of one
    assert color.accuracy_balanced == 0.75
    # 0.9 and 0.7 right, 0.8 wrong, each in a bin of its own
    assert pose.ece == pytest.approx((0.1 + 0.3 + 0.8) / 3)
    assert pose.ci == tuple(float(end) for end in wilson(2, 3))
    assert result.worst_factor == "texture"
    assert result.worst_classes == 5 / 8
    assert (result.mode, result.kind, result.n) == ("top", "class", 8)
    assert result.annotations == found.source


def test_multi_by_hand(folder):
    found = annotations(folder, mode="multi")
    names, predicted, confidence = answers()
    correct = right(names, predicted, found=found, kind="class")
    result = factor_accuracy(names, correct, confidence, found=found)
    told = {one.factor: (one.k, one.n) for one in result.factors}
    assert told == {"pose": (3, 4), "color": (2, 4), "texture": (0, 1)}
    assert result.mode == "multi"


def test_kinds_of_errors_by_hand(folder):
    found = annotations(folder)
    names, predicted, _ = answers()
    # classes 0 and 1 are dogs, all others one metaclass
    metaclass = right(names, predicted, found=found, kind="metaclass")
    assert metaclass.tolist() == [True] * 5 + [False, True, True]
    # people saw nothing in photo 1, both in photo 2
    real = right(names, predicted, found=found, kind="real_class")
    assert real.tolist() == [False, True, True, True, True, False, True, True]
    assert right([photo(9)], [0], found=found, kind="class").tolist() == [False]


def test_kinds_need_their_files(folder):
    inside = folder / "imagenet_x" / "annotations"
    (inside / "imagenet_1k_classes_to_100_metaclasses.csv").unlink()
    (inside / "imagenet_real_labels.jsonl").unlink()
    found = annotations(folder)
    names, predicted, _ = answers()
    for kind in ("metaclass", "real_class"):
        with pytest.raises(InputError, match="beside the annotations"):
            right(names, predicted, found=found, kind=kind)
    with pytest.raises(MetricError, match="not 'group'"):
        right(names, predicted, found=found, kind="group")
    with pytest.raises(MetricError, match="0 to 999"):
        right(names, [1000] * 8, found=found, kind="class")
    with pytest.raises(MetricError, match="8 names and 1 pred"):
        right(names, [1], found=found, kind="class")


def test_worst_classes_are_pooled(folder, monkeypatch):
    monkeypatch.setattr(factors, "WORST", 1)
    found = annotations(folder)
    names, predicted, confidence = answers()
    correct = right(names, predicted, found=found, kind="class")
    # class 0 one of two, class 1 two of three, class 2 two of three
    assert factor_accuracy(names, correct, confidence, found=found).worst_classes == 0.5


def test_photos_without_annotation_are_left_out(folder):
    found = annotations(folder)
    names, predicted, confidence = answers()
    correct = right(names, predicted, found=found, kind="class")
    plain = factor_accuracy(names, correct, confidence, found=found)
    more = factor_accuracy(
        ["odd.jpg", *names, photo(9)],
        [True, *correct, True],
        [1.0, *confidence, 1.0],
        found=found,
        classes=[0, 0, 0, 1, 1, 1, 2, 2, 2, 0],
    )
    assert more == plain


def test_no_mistakes_have_no_error_ratio(folder):
    names, _, confidence = answers()
    result = factor_accuracy(names, [True] * 8, confidence, found=annotations(folder))
    assert all(math.isnan(one.error_ratio) for one in result.factors)


def test_what_cannot_be_measured_is_named(folder):
    found = annotations(folder)
    names, _, sure = answers()
    good = [True] * 8
    with pytest.raises(
        MetricError, match=r"none of 1 photos \(the first is a.jpg\) is"
    ):
        factor_accuracy(["a.jpg"], [True], [0.5], found=found)
    with pytest.raises(MetricError, match="none of 0 photos is annotated"):
        factor_accuracy([], [], [], found=found)
    with pytest.raises(MetricError, match=f"photo {photo(3)} is there twice"):
        factor_accuracy([*names, photo(3)], [*good, True], [*sure, 0.5], found=found)
    with pytest.raises(MetricError, match="not between 0 and 1"):
        factor_accuracy(names, good, [*sure[:-1], float("nan")], found=found)
    with pytest.raises(MetricError, match="8 names, 8 correct, 7 conf"):
        factor_accuracy(names, good, sure[:-1], found=found)
    told = rf"{photo(4)} is of class 7, but of class 1 .*\(1 differ\)"
    with pytest.raises(MetricError, match=told):
        factor_accuracy(
            names, good, sure, found=found, classes=[0, 0, 1, 7, 1, 2, 2, 2]
        )
    with pytest.raises(MetricError, match="no annotated photo has a factor"):
        factor_accuracy([photo(7)], [True], [0.5], found=found)


# -- laws


def made_up(count, seed):
    rng = np.random.default_rng(seed)
    has = np.zeros((count, 16), bool)
    has[np.arange(count), rng.integers(0, 16, count)] = True
    found = Annotations(
        source="made up",
        mode="top",
        names=tuple(photo(n) for n in range(count)),
        classes=rng.integers(0, 5, count),
        factors=has,
    )
    return found, rng.random(count) < rng.uniform(0.2, 0.9), rng.random(count)


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 200), st.integers(0, 10_000))
def test_average_is_the_weighted_mean_of_factors(count, seed):
    found, correct, sure = made_up(count, seed)
    result = factor_accuracy(found.names, correct, sure, found=found)
    pooled = sum(one.n * one.accuracy for one in result.factors) / result.n
    assert pooled == pytest.approx(result.average)
    assert sum(one.n for one in result.factors) == result.n
    if result.average < 1:
        ratio = sum(one.n * one.error_ratio for one in result.factors) / result.n
        assert ratio == pytest.approx(1)
        plain = [o for o in result.factors if o.accuracy == result.average]
        assert all(one.error_ratio == 1 for one in plain)
    lowest = min(one.accuracy for one in result.factors)
    worst = next(o for o in result.factors if o.factor == result.worst_factor)
    assert worst.accuracy == lowest


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 100), st.integers(0, 10_000))
def test_order_of_photos_does_not_matter(count, seed):
    found, correct, sure = made_up(count, seed)
    order = np.random.default_rng(seed).permutation(count)
    first = factor_accuracy(found.names, correct, sure, found=found)
    second = factor_accuracy(
        [found.names[i] for i in order], correct[order], sure[order], found=found
    )
    assert [(o.factor, o.k, o.n) for o in first.factors] == [
        (o.factor, o.k, o.n) for o in second.factors
    ]
    for one, other in zip(first.factors, second.factors, strict=True):
        assert one.ece == pytest.approx(other.ece, abs=1e-12)
    assert first.worst_classes == second.worst_classes


# -- lines over models


def world(models, count=2000):
    """Results of models of growing accuracy; photos of "pose" are harder."""
    found, _, sure = made_up(count, 1)
    pose = found.factors[:, 0]
    luck = np.random.default_rng(2).random(count)
    return {
        f"m{i}": factor_accuracy(
            found.names, luck < level - 0.2 * pose, sure, found=found
        )
        for i, level in enumerate(np.linspace(0.5, 0.9, models))
    }


def test_lines_of_factors():
    results = world(8)
    baseline = [f"m{i}" for i in range(6)]
    found = factor_lines(results, baseline, draws=100, baseline_name="made up")
    assert [one.y_name for one in found] == list(FACTORS)
    pose = found[0]
    assert pose.line.n == 6
    assert pose.line.method == "Theil-Sen"
    assert pose.line.baseline == "made up"
    assert [one.baseline for one in pose.points] == [True] * 6 + [False] * 2
    assert pose.points[7].x == results["m7"].average
    assert pose.points[7].y == results["m7"].factors[0].accuracy
    assert abs(pose.points[7].effective_robustness) < 0.1
    # the photos of pose are 0.2 harder
    assert pose.points[0].y < found[1].points[0].y - 0.1
    assert pose.points[0].y_ci is not None


def test_a_factor_some_model_has_no_photos_of_has_no_line():
    results = world(4)
    first = results["m0"]
    fields = {name: getattr(first, name) for name in first.__slots__}
    results["m0"] = type(first)(**fields | {"factors": first.factors[1:]})
    found = factor_lines(results, list(results), draws=0)
    assert [one.y_name for one in found] == list(FACTORS[1:])


def test_lines_refuse_what_does_not_belong_together():
    results = world(4)
    with pytest.raises(MetricError, match="no results of baseline models m9"):
        factor_lines(results, ["m0", "m1", "m9"])
    with pytest.raises(MetricError, match="2 baseline models: m0, m1"):
        factor_lines(results, ["m0", "m1"])
    first = results["m0"]
    fields = {name: getattr(first, name) for name in first.__slots__}
    results["m0"] = type(first)(**fields | {"kind": "metaclass"})
    with pytest.raises(MetricError, match="not of the same annotations, mode and kind"):
        factor_lines(results, ["m1", "m2", "m3"])
