"""Features to predictions: ties, ranks, label spaces; the store; and scores of them."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation import models
from evaluation.errors import ConfigError, MetricError
from evaluation.examples import from_table
from evaluation.features import FeatureStore, ModelRecord
from evaluation.imagenet import names as imagenet_names
from evaluation.models import PixelSpec
from evaluation.predict import SCHEMA, predict
from evaluation.prompts import prompt_set
from evaluation.score import score
from tests.standins import answered

NAME = "timm:resnet50"  # its weights are nowhere here: all comes from the store
CLASSES = {"goldfish": 1, "ostrich": 9, "polar bear": 296, "late": 744}


def record(**changes) -> ModelRecord:
    return answered.record(**{"name": NAME} | changes)


def unread(photo_id: str) -> bytes:
    message = f"photo {photo_id} was read although its features are known"
    raise AssertionError(message)


def known(folder, values, classes, *, groups=None, kind="classifier", texts=None):
    """Examples and a store that has all of their features."""
    store = FeatureStore(folder)
    about = record(kind=kind, logit_scale=50.0 if kind == "zero_shot" else 1.0)
    store.remember(NAME, models.identity(NAME), about)
    ids = [f"{row:064x}" for row in range(len(values))]
    store.images(about).append(ids, np.asarray(values, np.float32))
    if texts:
        parts = store.texts(about, prompt_set("paper").sha256)
        parts.append(list(texts), np.array(list(texts.values()), np.float32))
    columns = {"photo_id": ids, "class_name": classes}
    if groups:
        columns["group"] = groups
    examples = from_table("known", pa.table(columns), unread, indices=CLASSES)
    return examples, store


def rows(examples, store, **options):
    table = predict(examples, [NAME], store=store, **options)[NAME]
    assert table.schema.equals(SCHEMA)
    return table.to_pylist()


def test_equal_logits_go_to_the_lowest_index(tmp_path):
    values = np.zeros((3, 1000), np.float32)
    values[1, [9, 296]] = 2
    values[2, [1, 9, 296, 744]] = [1, 3, 3, 2]
    found = rows(*known(tmp_path, values, ["goldfish", "polar bear", "late"]))
    assert [row["predicted"] for row in found] == [0, 9, 9]
    assert [row["label_rank"] for row in found] == [2, 2, 3]
    assert found[0]["top5"] == [0, 1, 2, 3, 4]
    assert found[2]["top5"] == [9, 296, 744, 1, 0]
    assert [row["correct"] for row in found] == [False] * 3
    assert found[1]["predicted_name"] == "ostrich"


def test_of_two_classes_with_one_name_the_first_wins_always(tmp_path):
    """Equal names have equal vectors: the second of a pair can never be predicted."""
    rng = np.random.default_rng(0)
    unit = rng.normal(size=(1001, 16)).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    texts = dict(zip(imagenet_names(), unit, strict=False))
    near = np.stack([texts["missile"]] * 7) + 0.01 * rng.normal(size=(7, 16))
    examples, store = known(tmp_path, near, ["late"] * 7, kind="zero_shot", texts=texts)
    found = rows(examples, store)
    assert [row["predicted"] for row in found] == [657] * 7
    assert [row["label_rank"] for row in found] == [2] * 7
    assert all(row["probability"] == row["label_probability"] for row in found)


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.sampled_from(list(CLASSES)))
def test_probabilities_and_ranks_by_their_definition(tmp_path_factory, seed, name):
    values = np.random.default_rng(seed).normal(0, 3, (4, 1000)).round(1)
    folder = tmp_path_factory.mktemp("store")
    for row, one in zip(rows(*known(folder, values, [name] * 4)), values, strict=True):
        shares = np.exp(one - one.max()) / np.exp(one - one.max()).sum()
        own = CLASSES[name]
        order = sorted(range(1000), key=lambda k: (-one[k], k))
        assert row["top5"] == order[:5]
        assert row["predicted"] == order[0]
        assert row["label_rank"] == order.index(own) + 1
        assert row["correct"] == (order[0] == own)
        assert row["probability"] == pytest.approx(shares.max(), rel=1e-5)
        assert row["label_probability"] == pytest.approx(shares[own], rel=1e-5)


@settings(max_examples=25)
@given(st.integers(0, 2**32))
def test_fewer_classes_never_hurt_a_photo(tmp_path_factory, seed):
    rng = np.random.default_rng(seed)
    names = ["goldfish", "ostrich", "polar bear"]
    classes = [names[one] for one in rng.integers(0, 3, 12)]
    folder = tmp_path_factory.mktemp("store")
    values = rng.normal(0, 1, (12, 1000))
    values[range(12), [CLASSES[one] for one in classes]] += 2.5
    examples, store = known(folder, values, classes)
    subset = folder / "few.csv"
    subset.write_text("imagenet_index\n1\n9\n296\n744\n500\n")
    all_of = rows(examples, store)
    for space in ("dataset", str(subset)):
        for wide, narrow in zip(
            all_of, rows(examples, store, label_space=space), strict=True
        ):
            assert narrow["correct"] >= wide["correct"]
            assert narrow["label_rank"] <= wide["label_rank"]
            # a nearly certain class may lose its last bits
            assert narrow["label_probability"] >= wide["label_probability"] - 1e-6


def test_scale_and_bias_do_not_change_the_ranking(tmp_path):
    rng = np.random.default_rng(1)
    texts = {name: rng.normal(size=8) for name in imagenet_names()}
    values = rng.normal(size=(5, 8))
    examples, store = known(
        tmp_path / "a", values, ["ostrich"] * 5, kind="zero_shot", texts=texts
    )
    first = rows(examples, store)
    about = record(kind="zero_shot", logit_scale=10.0, logit_bias=-9.0)
    store.remember(NAME, models.identity(NAME), about)
    second = rows(examples, store)
    assert [row["top5"] for row in first] == [row["top5"] for row in second]
    assert first[0]["probability"] != second[0]["probability"]


def test_provenance_is_whole(tmp_path):
    examples, store = known(tmp_path, np.eye(2, 1000), ["goldfish", "ostrich"])
    table = predict(examples, [NAME], store=store, label_space="dataset")
    about = json.loads(table[NAME].schema.metadata[b"counterset"])
    assert about["weights"] == "f" * 64
    assert about["label_space"]["classes"] == len(CLASSES)
    assert len(about["label_space"]["names_sha256"]) == 64
    assert about["preprocessing"] == {
        "size": 224, "resize": "shortest", "resize_to": 224, "interpolation": "bicubic",
        "decoder": "pillow",
    }  # fmt: skip
    assert about["prompts"] is None
    assert set(about) >= {"model", "dtype", "quick_gelu", "versions", "dataset"}


def test_an_imagenet_classifier_needs_imagenet_classes(tmp_path):
    examples, store = known(tmp_path, np.eye(1, 1000), ["goldfish"])
    other = from_table(
        "other", examples.table.select(["photo_id", "class_name"]), unread,
        indices={"goldfish": None},
    )  # fmt: skip
    with pytest.raises(ConfigError, match="ImageNet's classes only"):
        predict(other, [NAME], store=store, label_space="dataset")
    with pytest.raises(ConfigError, match="'goldfish'"):
        predict(other, [NAME], store=store)


def test_no_examples_give_an_empty_table(tmp_path):
    examples, store = known(tmp_path, np.eye(1, 1000), ["goldfish"])
    none = replace(examples, table=examples.table.slice(0, 0))
    table = predict(none, [NAME], store=store)[NAME]
    assert table.num_rows == 0
    with pytest.raises(MetricError, match="answered none of the 0 photos"):
        score(none, {NAME: table})


class TestStore:
    def test_parts_give_back_what_they_got(self, tmp_path):
        parts = FeatureStore(tmp_path).images(record())
        values = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
        parts.append(["a", "b", "c"], values[:3], [("bad", "damaged")])
        parts.append(["d", "e"], values[3:])
        parts.append(["a"], values[4:])  # said before: the first stays
        found = parts.read()
        assert parts.keys() == {"a", "b", "c", "d", "e", "bad"}
        order = [found.place[key] for key in "bcde"]
        np.testing.assert_array_equal(found.values[order], values[1:])
        assert found.errors[found.place["bad"]] == "damaged"
        assert not found.values[found.place["bad"]].any()

    def test_only_failures_or_nothing(self, tmp_path):
        parts = FeatureStore(tmp_path).images(record())
        assert parts.read().values.shape == (0, 0)
        parts.append([], np.zeros((0, 0), np.float32), [("x", "why")])
        assert parts.read().errors == ("why",)
        parts.append(["y"], np.ones((1, 3), np.float32))
        assert parts.read().values.shape == (2, 3)

    def test_a_damaged_part_is_set_aside(self, tmp_path):
        parts = FeatureStore(tmp_path).images(record())
        parts.append(["a"], np.ones((1, 3), np.float32))
        parts.append(["b"], np.ones((1, 3), np.float32))
        first = sorted(parts.folder.glob("*.parquet"))[0]
        first.write_bytes(first.read_bytes()[:40])
        assert len(parts.keys()) == 1
        assert not first.exists()

    def test_key_holds_what_makes_features_differ(self):
        same = record(name="other", note="x", logit_scale=3.0, versions={"a": "1"})
        assert same.key == record().key
        for change in (
            {"weights": "e" * 64},
            {"dtype": "bfloat16"},
            {"spec": PixelSpec(size=225)},
            {"spec": PixelSpec(size=224, interpolation="bilinear")},
        ):
            assert record(**change).key != record().key

    def test_records_of_another_version_are_asked_anew(self, tmp_path):
        store = FeatureStore(tmp_path)
        store.remember("a:b", "1", record())
        assert store.record("a:b", "1") == record(name="a:b")
        assert store.record("a:b", "2") is None
        (path,) = (tmp_path / "models").iterdir()
        path.write_text('{"name": "a:b"}')
        assert store.record("a:b", "1") is None


def scored(folder, correct, classes, groups):
    values = np.zeros((len(correct), 1000), np.float32)
    for row, (right, name) in enumerate(zip(correct, classes, strict=True)):
        values[row, CLASSES[name] if right else 0] = 5
    examples, store = known(folder, values, classes, groups=groups)
    found = predict(examples, [NAME], store=store, label_space="imagenet")
    return score(examples, found, draws=300).rows[0]


def test_scores_in_points(tmp_path):
    classes = ["ostrich"] * 8 + ["goldfish"] * 8
    groups = (["common"] * 4 + ["counter"] * 4) * 2
    correct = [1, 1, 1, 0, 1, 0, 0, 0] + [1, 1, 1, 1, 1, 1, 1, 0]
    row = scored(tmp_path, correct, classes, groups)
    assert (row.common, row.counter, row.drop) == (87.5, 50.0, 37.5)
    assert (row.accuracy, row.micro) == (68.75, 68.75)
    assert (row.worst.name, row.worst.group, row.worst.accuracy) == (
        "ostrich", "counter", 25.0,
    )  # fmt: skip
    assert row.balanced
    assert {one.name: one.drop for one in row.drops} == {"ostrich": 50, "goldfish": 25}
    line = row.summary()
    assert json.loads(json.dumps(line)) == line
    contract = (
        "model dataset label_space prompts n_common n_counter common counter drop "
        "common_ci counter_ci drop_ci balanced"
    )
    assert set(contract.split()) <= set(line)


def test_one_class_has_no_interval_over_classes_and_says_so(tmp_path):
    row = scored(tmp_path, [1, 0], ["ostrich"] * 2, ["common", "counter"])
    assert row.drop == 100
    assert row.summary()["drop_ci_classes"] is None
    assert "NaN" not in json.dumps(row.summary())


@settings(max_examples=20)
@given(st.integers(0, 2**32))
def test_the_drop_printed_is_common_minus_counter(tmp_path_factory, seed):
    rng = np.random.default_rng(seed)
    classes = [list(CLASSES)[one] for one in rng.integers(0, 4, 40)]
    groups = [["common", "counter", None][one] for one in rng.integers(0, 3, 40)]
    folder = tmp_path_factory.mktemp("store")
    row = scored(folder, rng.integers(0, 2, 40).tolist(), classes, groups)
    assert row.drop == pytest.approx(row.common - row.counter, abs=1e-9)
    for value, bounds in (
        (row.common, row.common_ci),
        (row.counter, row.counter_ci),
        (row.drop, row.drop_ci),
        (row.accuracy, row.accuracy_ci),
    ):
        assert bounds[0] - 1e-9 <= value <= bounds[1] + 1e-9
