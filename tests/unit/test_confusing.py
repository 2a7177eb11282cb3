"""1 against 20: which classes a model confuses each class with most."""

import csv
import io
import logging
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from evaluation import imagenet
from evaluation.confusing import COLUMNS, ConfusingTable, candidates, make
from evaluation.errors import ConfigError, InputError, RemoteError
from evaluation.examples import from_table, open_examples
from evaluation.extract import Models
from evaluation.features import FeatureStore
from evaluation.label_spaces import label_space
from evaluation.predict import predict


def arrays(seed, classes=30, photos=40, width=8, labels=5):
    rng = np.random.default_rng(seed)
    texts = rng.standard_normal((classes, width)).astype(np.float32)
    found = rng.standard_normal((photos, width)).astype(np.float32)
    return texts, found, rng.integers(0, labels, photos)


def test_it_is_the_formula_of_the_paper():
    texts, photos, labels = arrays(0)
    unit = [one / np.linalg.norm(one, axis=1, keepdims=True) for one in (texts, photos)]
    cosines = unit[1] @ unit[0].T  # the sum over photos, cosine by cosine
    for label in range(5):
        means = cosines[labels == label].mean(axis=0)
        best = np.argsort(-means)[:6].tolist()
        rows = [r for r in candidates(texts, photos, labels, count=6)
                if r.imagenet_index == label]  # fmt: skip
        assert [row.rank for row in rows] == [1, 2, 3, 4, 5, 6]
        assert {row.n_photos for row in rows} == {int((labels == label).sum())}
        own = [row for row in rows if row.candidate_index == label]
        assert len(own) == 1
        assert own[0].forced == (label not in best)
        if own[0].forced:
            best[-1] = label
        assert [row.candidate_index for row in rows] == best
        for row in rows:
            assert row.mean_cosine == pytest.approx(
                means[row.candidate_index], abs=1e-6
            )


def test_of_equal_classes_the_lower_index_comes_first():
    texts = np.array([[1, 0], [0, 1], [0, 1], [0, 1]], np.float32)
    photos = np.array([[0, 2]], np.float32)
    rows = candidates(texts, photos, np.array([3]), count=3)
    assert [(r.candidate_index, r.forced) for r in rows] == [
        (1, False),
        (2, False),
        (3, False),
    ]
    rows = candidates(texts, photos, np.array([3]), count=2)
    assert [(r.candidate_index, r.forced) for r in rows] == [(1, False), (3, True)]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_rows_may_come_in_any_order(seed, count):
    texts, photos, labels = arrays(seed)
    order = np.random.default_rng(seed).permutation(len(photos))
    assert candidates(texts, photos, labels, count=count) == candidates(
        texts, photos[order], labels[order], count=count
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_whatever_the_logits_who_is_right_of_all_is_right_of_the_candidates(
    seed, count
):
    texts, photos, labels = arrays(seed)
    chosen = {}
    for row in candidates(texts, photos, labels, count=count):
        chosen.setdefault(row.imagenet_index, []).append(row.candidate_index)
    logits = np.random.default_rng(seed + 1).integers(-3, 4, (len(photos), 30))
    for values, label in zip(logits, labels.tolist(), strict=True):
        assert label in chosen[label]
        some = sorted(chosen[label])
        among_all = int(values.argmax()) == label
        among_some = some[int(values[some].argmax())] == label
        assert among_some >= among_all


def test_what_cannot_be_is_an_error():
    texts, photos, labels = arrays(0)
    for count in (0, 31):
        with pytest.raises(ConfigError, match="1 to 30"):
            candidates(texts, photos, labels, count=count)
    with pytest.raises(InputError, match="no photo"):
        candidates(texts, photos[:0], labels[:0], count=2)
    for wrong in (0, np.nan):
        bad = photos.copy()
        bad[3] = wrong
        with pytest.raises(InputError, match="photo is zero or not finite"):
            candidates(texts, bad, labels, count=2)


def test_the_file_is_a_label_space(tmp_path):
    rng = np.random.default_rng(0)
    texts = rng.standard_normal((1000, 8)).astype(np.float32)
    photos = rng.standard_normal((9, 8)).astype(np.float32)
    rows = candidates(texts, photos, np.array([9, 296, 360] * 3), count=20)
    table = ConfusingTable(
        rows=rows, candidate_names=imagenet.names(), model="m", weights="w", prompts="p"
    )
    table.write(tmp_path / "table.csv")
    read = list(csv.DictReader(io.StringIO(table.to_csv())))
    assert tuple(read[0]) == COLUMNS
    assert len(read) == 60
    space = label_space(str(tmp_path / "table.csv"), ())
    assert space.about["candidates_from"] == "m"
    offered = {
        space.keys[right]: {space.keys[one] for one in among}
        for right, among in space.choices.items()
    }
    assert offered == {
        label: {row.candidate_index for row in rows if row.imagenet_index == label}
        for label in (9, 296, 360)
    }


@pytest.fixture
def dataset(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("9 ostrich", "296 ice bear", "360 otter"):
        for group in ("common-a", "counter-b"):
            folder = tmp_path / "photos" / name / group
            folder.mkdir(parents=True)
            for number in range(3):
                pixels = rng.integers(0, 256, (70, 80, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return open_examples(str(tmp_path / "photos"))


def shuffled(examples):
    order = np.random.default_rng(1).permutation(len(examples.table))
    rows = examples.table.take(pl.Series(order).to_arrow())
    return replace(examples, table=rows)


def test_a_table_is_made_once_and_used(dataset, tiny_clip, tmp_path, caplog):
    store = FeatureStore(tmp_path / "features")
    name = f"confusing20@{tiny_clip}"
    with caplog.at_level(logging.WARNING, "evaluation.confusing"):
        path = make(dataset, name, known=Models(store), folder=tmp_path / "tables")
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 60
    assert {row["n_photos"] for row in rows} == {"6"}
    assert {row["model"] for row in rows} == {tiny_clip}
    forced = [row for row in rows if row["forced"] == "true"]
    assert all(row["rank"] == "20" for row in forced)
    assert all(row["imagenet_index"] == row["candidate_index"] for row in forced)
    assert forced
    assert f"{len(forced)} of 3 classes were not among" in caplog.text

    before = path.read_bytes()
    again = make(
        shuffled(dataset), name, known=Models(store), folder=tmp_path / "tables"
    )
    assert (again, again.read_bytes()) == (path, before)
    fewer = make(dataset.head(9), name, known=Models(store), folder=path.parent)
    other = make(
        dataset, f"confusing5@{tiny_clip}", known=Models(store), folder=path.parent
    )
    assert len({path, fewer, other}) == 3

    few = predict(dataset, [tiny_clip], store=store, label_space=str(path))[tiny_clip]
    all_ = predict(dataset, [tiny_clip], store=store, label_space="imagenet")[tiny_clip]
    right = (few.column("correct").to_pylist(), all_.column("correct").to_pylist())
    assert all(some >= every for some, every in zip(*right, strict=True))


def test_who_cannot_make_one_says_so(dataset, tmp_path):
    known = Models(FeatureStore(tmp_path / "features"))

    def ask(examples, name):
        return make(examples, name, known=known, folder=tmp_path)

    with pytest.raises(ConfigError, match="demo:lite0' reads no text"):
        ask(dataset, "confusing20@demo:lite0")
    with pytest.raises(ConfigError, match="confusing<K>"):
        ask(dataset, "imagenet")
    with pytest.raises(ConfigError, match="has 1000 classes"):
        ask(dataset, "confusing1001")
    with pytest.raises(RemoteError, match="confusing20@MODEL"):
        ask(dataset, "confusing20")
    table = dataset.table.select(["photo_id", "class_name"])
    for indices, found in ((None, "none of them"), ((1, 2), "2 of them")):
        classes = {"9 ostrich": 9, "296 ice bear": 296, "360 otter": indices}
        with pytest.raises(ConfigError, match=f"'360 otter', which is {found}"):
            ask(from_table("x", table, dataset.read, indices=classes), "confusing20")
    with pytest.raises(ConfigError, match="shows none of them"):
        ask(replace(dataset, role="ood"), "confusing20")


def test_a_class_that_cannot_be_read_is_an_error(dataset, tiny_clip, tmp_path):
    for one in (tmp_path / "photos" / "360 otter").rglob("*.png"):
        one.write_bytes(b"not a picture " + one.name.encode())
    broken = open_examples(str(tmp_path / "photos"))
    known = Models(FeatureStore(tmp_path / "features"))
    with pytest.raises(InputError, match="no photo of ImageNet class 360"):
        make(broken, f"confusing20@{tiny_clip}", known=known, folder=tmp_path)
