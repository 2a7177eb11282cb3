"""`file:`: what is written is read, and what is wrong is named."""

import json
import shutil
from dataclasses import asdict

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation import models
from evaluation.errors import ConfigError, InputError
from evaluation.features import FeatureStore, describe
from evaluation.models import StoredModel, ZeroShotModel
from evaluation.models.file import About, write
from evaluation.tables import write as write_table

LOGITS = About(kind="classifier", name="timm:resnet50", weights="a" * 64)
UNIT = About(kind="zero_shot", name="open_clip:x/y", logit_scale=100.0)


def units(count: int, width: int = 8, seed: int = 0):
    values = np.random.default_rng(seed).normal(size=(count, width))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def logits(count: int, seed: int = 0):
    return np.random.default_rng(seed).normal(size=(count, 1000)).astype(np.float32)


@pytest.mark.parametrize("suffix", [".parquet", ".npz"])
def test_logits_come_back_to_the_last_bit(tmp_path, suffix):
    path = tmp_path / f"values{suffix}"
    values = logits(3)
    write(path, ["a", "b", "c"], values, about=LOGITS)
    model = models.load(f"file:{path}")
    assert isinstance(model, StoredModel)
    assert not isinstance(model, ZeroShotModel)
    assert (model.kind, model.name) == ("classifier", f"file:{path}")
    found, errors = model.stored(["c", "a", "missing", "c"])
    np.testing.assert_array_equal(found[[0, 1, 3]], values[[2, 0, 2]])
    assert errors == [None, None, f"not in {path}", None]
    assert (found[2] == 0).all()
    assert "timm:resnet50" in model.note


@pytest.mark.parametrize("suffix", [".parquet", ".npz"])
def test_embeddings_and_texts_come_back(tmp_path, suffix):
    path = tmp_path / f"values{suffix}"
    values, texts = units(2), units(2, seed=1)
    words = {"A photo of ostrich.": texts[0], "A photo of gorilla.": texts[1]}
    write(path, ["a", "b"], values, about=UNIT, texts=words)
    model = models.load(f"file:{path}")
    assert isinstance(model, StoredModel)
    assert isinstance(model, ZeroShotModel)
    assert model.logit_scale == 100
    np.testing.assert_array_equal(model.stored(["b"])[0], values[1:])
    found = model.texts(["A photo of gorilla.", "A photo of ostrich."])
    np.testing.assert_array_equal(found.numpy(), texts[::-1])
    with pytest.raises(InputError, match=r"'A photo of lion\.' and 1 more"):
        model.texts(["A photo of ostrich.", "A photo of lion.", "?"])
    assert describe(model).logit_scale == 100


def test_a_photo_that_failed_keeps_its_reason(tmp_path):
    path = tmp_path / "values.parquet"
    write(path, ["a"], logits(1), about=LOGITS, errors={"b": "truncated"})
    found, errors = models.load(f"file:{path}").stored(["b", "a"])
    assert errors == ["truncated", None]
    assert (found[0] == 0).all()


def test_a_folder_of_a_feature_store_knows_its_model(tmp_path):
    store = FeatureStore(tmp_path / "store")
    original = tmp_path / "values.parquet"
    write(original, ["a", "b"], units(2), about=UNIT)
    record = describe(models.load(f"file:{original}"))
    store.remember("open_clip:x/y", "identity", record)
    store.images(record).append(["a"], units(1), [("b", "truncated")])
    store.images(record).append(["c"], units(1, seed=3))
    model = models.load(f"file:{store.images(record).folder}")
    assert (model.kind, model.logit_scale) == ("zero_shot", 100)
    assert "open_clip:x/y" in model.note
    found, errors = model.stored(["c", "a", "b"])
    np.testing.assert_array_equal(
        found[:2], np.stack([units(1, seed=3)[0], units(1)[0]])
    )
    assert errors == [None, None, "truncated"]


def test_a_folder_is_described_beside_its_files(tmp_path):
    rows = pl.DataFrame(
        {"photo_id": ["a"], "feature": [units(1)[0].astype(float).tolist()]}
    )
    write_table(tmp_path / "one.parquet", rows.to_arrow())
    about = {"kind": "zero_shot", "name": "mine"}
    (tmp_path / "model.json").write_text(json.dumps(about))
    texts = pl.DataFrame({"prompt": ["x"], "feature": [units(1)[0].tolist()]})
    write_table(tmp_path / "texts.parquet", texts.to_arrow())
    model = models.load(f"file:{tmp_path}")
    assert model.logit_scale == 1
    np.testing.assert_allclose(model.texts(["x"]).numpy(), units(1))
    np.testing.assert_allclose(model.stored(["a"])[0], units(1))


def test_embeddings_of_any_length_are_normalised_and_said_so(tmp_path):
    path = tmp_path / "values.npz"
    write(path, ["a", "b"], 7 * units(2), about=UNIT)
    model = models.load(f"file:{path}")
    np.testing.assert_allclose(model.stored(["a", "b"])[0], units(2), rtol=1e-6)
    assert "normalised when read" in model.note


@settings(max_examples=20, deadline=None)
@given(ids=st.lists(st.text(max_size=5), unique=True, min_size=1, max_size=6))
def test_any_ids_come_back(ids, tmp_path_factory):
    path = tmp_path_factory.mktemp("ids") / "values.parquet"
    values = units(len(ids))
    write(path, ids, values, about=UNIT)
    np.testing.assert_array_equal(models.load(f"file:{path}").stored(ids)[0], values)


def test_other_values_are_another_model(tmp_path):
    one, other = tmp_path / "one.parquet", tmp_path / "other.parquet"
    write(one, ["a"], units(1), about=UNIT)
    write(other, ["a"], units(1, seed=1), about=UNIT)
    found = [models.load(f"file:{path}").weights for path in (one, other)]
    assert found[0] != found[1]
    assert models.identity(f"file:{one}").endswith(found[0])
    moved = tmp_path / "moved.parquet"
    shutil.copy(one, moved)
    assert models.load(f"file:{moved}").weights == found[0]


def test_no_pixels_are_seen(tmp_path):
    import torch

    path = tmp_path / "values.npz"
    write(path, ["a"], logits(1), about=LOGITS)
    with pytest.raises(InputError, match="sees no photos"):
        models.load(f"file:{path}").images(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


def _parquet(path, columns, about=None):
    table = pl.DataFrame(columns).to_arrow()
    said = json.dumps(about or asdict(LOGITS)).encode()
    write_table(path, table.replace_schema_metadata({b"counterset.model": said}))


@pytest.mark.parametrize(
    ("columns", "about", "reason"),
    [
        ({"photo": ["a"], "feature": [[1.0]]}, None, "no column photo_id"),
        ({"photo_id": ["a"]}, None, "no column feature"),
        ({"photo_id": ["a"], "feature": [[1.0] * 999]}, None, "these are 999"),
        ({"photo_id": ["a", "a"], "feature": [[1.0] * 1000] * 2}, None, "there twice"),
        (
            {"photo_id": ["a", "b"], "feature": [[1.0] * 1000, [1.0]]},
            None,
            "differ in length",
        ),
        ({"photo_id": ["a"], "feature": [[float("nan")] * 1000]}, None, "not finite"),
        ({"photo_id": ["a"], "feature": ["text"]}, None, "cannot be read"),
        ({"photo_id": ["a"], "feature": [[1.0]]}, {"kind": "zero_shot"}, "'name'"),
        (
            {"photo_id": ["a"], "feature": [[0.0, 0.0]]},
            {"kind": "zero_shot", "name": "x"},
            "is zero",
        ),
        (
            {"photo_id": ["a"], "feature": [[1.0]]},
            {"kind": "classifer", "name": "x"},
            "kind is none of",
        ),
        (
            {"photo_id": ["a"], "feature": [[1.0]]},
            {"kind": "zero_shot", "name": "x", "scale": 1},
            "did you mean logit_scale",
        ),
    ],
)
def test_bad_files(tmp_path, columns, about, reason):
    path = tmp_path / "values.parquet"
    _parquet(path, columns, about)
    with pytest.raises(InputError, match=reason) as raised:
        models.load(f"file:{path}")
    assert str(path) in str(raised.value)


def test_rubbish_and_what_is_not_described(tmp_path):
    for name in ("values.parquet", "values.npz"):
        (tmp_path / name).write_bytes(b"no values")
        with pytest.raises(InputError, match="cannot be read"):
            models.load(f"file:{tmp_path / name}")
    plain = tmp_path / "plain.npz"
    np.savez(plain, photo_ids=["a"], values=logits(1))
    with pytest.raises(InputError, match=r"plain\.json"):
        models.load(f"file:{plain}")
    plain.with_suffix(".json").write_text('{"kind": "classifier", "name": "mine"}')
    assert models.load(f"file:{plain}").kind == "classifier"
    with pytest.raises(InputError, match="no Parquet files"):
        models.load(f"file:{_empty(tmp_path)}")
    with pytest.raises(ConfigError, match="no file or folder"):
        models.load(f"file:{tmp_path / 'nowhere'}")
    with pytest.raises(ConfigError, match=r"\.parquet"):
        write(tmp_path / "values.csv", ["a"], logits(1), about=LOGITS)


def _empty(tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder
