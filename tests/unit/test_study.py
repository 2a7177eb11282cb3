"""One model on one set, and many on many: temperatures, lines, detection, pairs."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import linregress

from evaluation.errors import ConfigError
from evaluation.label_spaces import subset_indices
from evaluation.measure import Temperature, measure
from evaluation.metrics.calibration import fit_temperature
from evaluation.predict import predictions
from evaluation.study import Setting, results
from tests.standins.answered import CLASSES, answers, examples, logits, record

GROUPS = ["common", "counter"]


def grouped(photos=40, **options):
    """`photos` of each class and group."""
    classes = [name for name in CLASSES for _ in GROUPS for _ in range(photos)]
    groups = [group for _ in CLASSES for group in GROUPS for _ in range(photos)]
    return examples(classes, groups=groups, **options)


def measured(about, accuracy, name="timm:made_up", *, seed=0, margin=4.0,
             temperature=None, notes=None, **options):  # fmt: skip
    values = logits(about, accuracy=accuracy, seed=seed, margin=margin)
    found = answers(about, values, model=record(name), **options)
    notes = [] if notes is None else notes
    return measure(found, predictions(found), temperature=temperature, notes=notes)


def by_group(about, common, counter):
    groups = about.table.column("group").to_pylist()
    return np.array([common if one == "common" else counter for one in groups])


def several(count=5, *, about=None, photos=60):
    """Classifiers from poor to good, each worse on the counter group."""
    about = about or grouped(photos)
    return [
        measured(about, by_group(about, common, common - 0.2), f"timm:m{number}",
                 seed=number)[0]
        for number, common in enumerate(np.linspace(0.5, 0.9, count))
    ]  # fmt: skip


def test_a_temperature_comes_from_half_of_the_id_set_and_is_judged_on_the_other():
    about = examples(["hen", "ostrich"] * 100, role="id", name="val")
    found, fitted = measured(about, 0.6)
    before, after = found.result.calibration
    assert before.n == after.n == 100
    assert (before.temperature, before.fitted_on) == (1.0, "")
    assert after.temperature == fitted.value != 1.0
    assert after.fitted_on == fitted.fitted_on == "half of val"
    assert after.nll < before.nll
    values, own = answers(about, logits(about, accuracy=0.6)).all_logits()
    assert fitted.value != pytest.approx(fit_temperature(values, own), rel=1e-6)


def test_a_given_temperature_is_used_as_it_is_on_a_shift():
    about = examples(["hen", "ostrich"] * 20, role="shift", name="sketch")
    given = Temperature(2.5, "half of val")
    found, used = measured(about, 0.4, temperature=given)
    assert used == given
    assert [one.temperature for one in found.result.calibration] == [1.0, 2.5]
    assert [one.n for one in found.result.calibration] == [40, 40]
    alone, none = measured(about, 0.4)
    assert none is None
    assert len(alone.result.calibration) == 1


def test_without_an_id_set_the_common_group_gives_it_and_never_the_counter_group():
    about = grouped(30)
    wrong_on_counter = by_group(about, 0.7, 0.0)
    found, fitted = measured(about, wrong_on_counter)
    assert fitted.fitted_on == "half of the common group of made-up"
    told = [
        (one.group, one.temperature == 1, one.n) for one in found.result.calibration
    ]
    common, counter = 60, 120  # half of the common photos were fitted on
    assert told == [
        ("common", True, common),
        ("common", False, common),
        ("counter", True, counter),
        ("counter", False, counter),
    ]
    # what the counter group says does not move it
    other = by_group(about, 0.7, 1.0)
    values = logits(about, accuracy=wrong_on_counter)
    swapped = logits(about, accuracy=other)
    is_common = by_group(about, 1, 0).astype(bool)
    swapped[is_common] = values[is_common]
    again = answers(about, swapped)
    _, same = measure(again, predictions(again), notes=[])
    assert same.value == pytest.approx(fitted.value, rel=1e-9)


def test_a_temperature_that_is_undefined_is_a_note():
    about = examples(["hen", "ostrich"] * 20, role="id")
    notes = []
    found, fitted = measured(about, 1.0, notes=notes, margin=30)
    assert fitted is None
    assert len(found.result.calibration) == 1
    assert "all 20 photos are right" in notes[0]


def test_copies_of_a_photo_are_on_one_side():
    ids = [f"{row // 2:064x}" for row in range(40)]
    about = examples(["hen", "ostrich"] * 20, role="id", ids=ids)
    found, _ = measured(about, 0.5)
    assert found.result.calibration[0].n == 20


def test_sigmoid_models_are_measured_as_they_were_trained_when_asked():
    about = examples(["hen", "ostrich"] * 20, role="id")
    found = answers(
        about, logits(about, accuracy=0.5), model=record(link="sigmoid", kind="lvlm")
    )
    for asked, how in (("softmax", "softmax"), ("native", "sigmoid")):
        one, _ = measure(found, predictions(found), probabilities=asked, notes=[])
        assert one.result.calibration[0].probabilities == how


def test_lines_of_both_kinds_in_every_convention():
    about = grouped(60)
    some = several(about=about)
    clips = [
        replace(one, model=f"open_clip:c{number}", kind="zero_shot",
                result=replace(one.result, model=f"open_clip:c{number}"))
        for number, one in enumerate(several(4, about=about))
    ]  # fmt: skip
    found = results([*some, *clips], Setting(draws=100))
    told = {
        (one.weighting, one.robustness.line.scale, one.robustness.line.baseline)
        for one in found.lines
    }
    assert len(found.lines) == len(told) == 12
    (line,) = [
        one.robustness for one in found.lines
        if (one.weighting, one.robustness.line.scale) == ("balanced", "linear")
        and one.robustness.line.baseline == "ImageNet classifiers"
    ]  # fmt: skip
    wanted = linregress([one.result.common / 100 for one in some],
                        [one.result.counter / 100 for one in some])  # fmt: skip
    assert line.line.slope == pytest.approx(wanted.slope)
    assert line.line.intercept == pytest.approx(wanted.intercept)
    assert [one.baseline for one in line.points] == [True] * 5 + [False] * 4
    above = line.points[0].y - (wanted.slope * line.points[0].x + wanted.intercept)
    assert line.points[0].effective_robustness == pytest.approx(above)


def test_a_model_that_chose_the_groups_is_marked_and_moves_no_line():
    some = several(6)
    free = results(some[1:], Setting(draws=100))
    bound = results(some, Setting(draws=100, selected_on=frozenset({"timm:m0"})))
    assert [one.selected_on for one in bound.rows] == [True] + [False] * 5
    for one, other in zip(free.lines, bound.lines, strict=True):
        assert one.robustness.line.slope == other.robustness.line.slope
        assert "timm:m0" in {point.model for point in other.robustness.points}


def test_two_models_make_no_line_but_a_note():
    found = results(several(2), Setting(draws=100))
    assert not found.lines
    assert "no line of ImageNet classifiers: 2 of them" in " ".join(found.notes)


def shifted(count=5):
    """Classifiers on an ID set and on a shift with the same classes."""
    found = []
    for number, accuracy in enumerate(np.linspace(0.4, 0.9, count)):
        name = f"timm:m{number}"
        for role, less in (("id", 0.0), ("shift", 0.2)):
            about = examples(list(CLASSES) * 50, role=role, name=role)
            found.append(measured(about, accuracy - less, name, seed=number)[0])
    return found


def test_shifts_are_set_against_the_same_classes_only():
    found = shifted()
    made = results(found, Setting(draws=100))
    assert {one.x for one in made.lines} == {"id"}
    assert [one.robustness.line.scale for one in made.lines] == [
        "linear", "logit", "probit"]  # fmt: skip
    assert made.lines[0].robustness.points[0].x == found[0].result.micro / 100
    other = [
        replace(one, classes=frozenset({1, 8})) if one.role == "shift" else one
        for one in found
    ]
    made = results(other, Setting(draws=100))
    assert not made.lines
    assert "no effective robustness without" in made.notes[0]


def test_a_baseline_can_be_named_and_must_have_been_measured():
    found = shifted()
    names = ("timm:m0", "timm:m1", "timm:m2")
    made = results(found, Setting(baseline=names, draws=100))
    assert sum(one.baseline for one in made.lines[0].robustness.points) == 3
    with pytest.raises(ConfigError, match="did you mean timm:m4"):
        results(found, Setting(baseline=("timm:m44",)))
    with pytest.raises(ConfigError, match="not among those measured"):
        results(found, Setting(compare_to="timm:other"))


def test_published_lines_stand_in_where_there_are_too_few_baseline_models():
    every = {f"class {index}": index for index in range(1000)}
    found = []
    for role, name in (("id", "val"), ("shift", "imagenet-v2-matched-frequency")):
        about = examples(list(every), role=role, name=name, indices=every)
        found.append(measured(about, 0.7 if role == "id" else 0.6)[0])
    made = results(found, Setting(draws=100))
    (line,) = made.lines
    assert line.robustness.line.slope == pytest.approx(0.911401)
    point = line.robustness.points[0]
    logit = math.log(point.x / (1 - point.x))
    wanted = 1 / (1 + math.exp(-(0.911401 * logit - 0.481481)))
    assert point.predicted == pytest.approx(wanted, abs=1e-4)
    assert "bundled line testbed:imagenet-v2" in made.notes[0]


def unknown(name="sofas"):
    return examples(["sofa"] * 50, role="ood", name=name, indices={"sofa": None})


def test_unknown_classes_are_told_from_the_id_set_by_every_score():
    about = examples(list(CLASSES) * 20, role="id", name="val")
    found = [measured(about, 0.9)[0], measured(unknown(), 0.0)[0]]
    assert found[1].result is None
    made = results(found, Setting(draws=100))
    assert {one.detection.score for one in made.detected} == {
        "msp", "max_logit", "energy"}  # fmt: skip
    for one in made.detected:
        assert (one.id_dataset, one.ood_dataset) == ("val", "sofas")
        assert (one.detection.n_id, one.detection.n_ood) == (80, 50)
    assert len(made.rows) == 1


def test_without_an_id_set_the_common_photos_are_the_known_ones():
    about = grouped(10)
    found = [measured(about, 0.9)[0], measured(unknown(), 0.0)[0]]
    made = results(found, Setting(draws=100))
    assert made.detected[0].id_dataset == "made-up, common group"
    assert made.detected[0].detection.n_id == 40
    alone = results([measured(unknown(), 0.0)[0]], Setting(draws=100))
    assert not alone.detected
    assert "nothing to tell it from" in alone.notes[0]


def test_scores_among_other_classes_are_not_compared():
    about = examples(list(CLASSES) * 20, role="id", name="val")
    other = unknown()
    found = [measured(about, 0.9)[0], measured(other, 0.0, space="demo28")[0]]
    assert not results(found, Setting(draws=100)).detected


def test_pairs_are_of_photos_that_both_answered():
    about = grouped(10)
    errors = [None] * 80
    errors[0] = errors[41] = "truncated"
    first = measured(about, 0.9, "timm:a", errors=errors)[0]
    second = measured(about, 0.5, "timm:b", seed=1)[0]
    made = results([first, second], Setting(draws=100))
    (pair,) = made.comparisons
    assert pair.tests[0].n == 78
    right = {
        (photo, name): correct
        for one in (second,)
        for photo, name, correct in zip(one.photo_ids, one.outcomes.classes,
                                        one.outcomes.correct, strict=True)
    }  # fmt: skip
    both = [
        (correct, right[photo, name])
        for photo, name, correct in zip(first.photo_ids, first.outcomes.classes,
                                        first.outcomes.correct, strict=True)
    ]  # fmt: skip
    assert pair.tests[0].only_first == sum(a and not b for a, b in both)
    assert pair.drop_difference == pytest.approx(
        _drop(first, both, 0) - _drop(first, both, 1), abs=1e-12
    )


def _drop(one, both, which):
    correct = np.array([pair[which] for pair in both])
    cells = [
        [correct[(one.outcomes.classes == name) & (one.outcomes.groups == group)].mean()
         for name in CLASSES]
        for group in GROUPS
    ]  # fmt: skip
    return np.mean(cells[0]) - np.mean(cells[1])


def test_many_models_are_compared_with_one():
    some = several(13, photos=5)
    made = results(some, Setting(draws=100))
    assert not made.comparisons
    assert any("78 pairs" in note for note in made.notes)
    made = results(some, Setting(draws=100, compare_to="timm:m3"))
    assert {one.second for one in made.comparisons} == {"timm:m3"}
    assert len(made.comparisons) == 12


def test_scaling_needs_models_whose_training_is_known():
    about = grouped(20)
    tags = ("ViT-B-16/laion2b_s34b_b88k", "ViT-B-32/laion2b_s34b_b79k",
            "ViT-B-16/datacomp_xl_s13b_b90k", "ViT-B-16/nobody_knows")  # fmt: skip
    found = []
    for number, tag in enumerate(tags):
        one = measured(about, 0.5 + number / 10, f"open_clip:{tag}", seed=number)[0]
        found.append(replace(one, result=replace(one.result, prompts="paper")))
    made = results(found, Setting(draws=100))
    assert [one.group for one in made.scaling] == ["common", "counter"]
    assert [len(one.curves[0].points) for one in made.scaling] == [3, 3]
    assert {point.seen for point in made.scaling[0].curves[0].points} == {34e9, 13e9}


def test_results_are_json_in_points():
    found = shifted()
    about = examples(["sofa"] * 20, role="ood", indices={"sofa": None}, name="sofas")
    found += [measured(about, 0.0, f"timm:m{number}")[0] for number in range(5)]
    made = results(found, Setting(draws=100))
    content = json.loads(made.to_json())
    row, one = content["results"][0], made.rows[0].calibration[0]
    assert row["calibration"][0]["ece"] == pytest.approx(100 * one.ece)
    assert row["calibration"][0]["nll"] == one.nll
    point = content["lines"][0]["robustness"]["points"][0]
    assert point["x"] == pytest.approx(found[0].result.micro)
    detected = content["detected"][0]["detection"]
    assert 0 <= detected["auroc"] <= 100
    assert detected["auroc"] == pytest.approx(100 * made.detected[0].detection.auroc)


def test_subsets_give_the_matched_id_set():
    every = {name: index for index, name in enumerate("abcdefgh")}
    about = examples(list(every), role="id", name="val", indices=every)
    some = about.of_classes([1, 3, 999], of="few")
    assert some.name == "val on few's classes"
    assert [item.imagenet_index for item in some.classes] == [1, 3]
    assert some.table.column("position").to_pylist() == [0, 1]
    assert some.subset == "few"
    assert len(subset_indices("demo28")) == 28
    with pytest.raises(ConfigError, match="no subset 'demo2'"):
        subset_indices("demo2")
