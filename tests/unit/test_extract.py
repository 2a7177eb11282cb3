"""One pass over photos: what models see, what is kept, and what is asked again."""

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evaluation import extract as module
from evaluation import models
from evaluation.errors import ConfigError
from evaluation.extract import Models, extract
from evaluation.features import FeatureStore
from evaluation.models import PixelSpec, Runtime

RNG = np.random.default_rng(3)


def photo(seed: int) -> bytes:
    values = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


PHOTOS = {f"{number:03}": photo(number) for number in range(23)}


@dataclass
class Means:
    """Mean colours as features."""

    name: str
    spec: PixelSpec = PixelSpec(size=8, resize_to=8)
    weights: str = "0" * 64
    dtype: str = "float32"
    kind: str = "classifier"
    quick_gelu: bool | None = None
    note: str = ""
    seen: list[int] = field(default_factory=list)

    def images(self, pixels):
        assert str(pixels.dtype) == "torch.uint8"
        assert tuple(pixels.shape[1:]) == (3, self.spec.size, self.spec.size)
        self.seen.append(len(pixels))
        return pixels.float().mean(dim=(2, 3))


@dataclass
class Told(Means):
    """A model known by what it once said, of even photos only."""

    def images(self, pixels):
        raise AssertionError

    def stored(self, photo_ids):
        self.seen.append(len(photo_ids))
        values = np.array([[int(one), 1.0] for one in photo_ids], np.float32)
        errors = [
            "the file has no row of it" if int(one) % 2 else None for one in photo_ids
        ]
        return values, errors


@pytest.fixture
def shelf(monkeypatch) -> dict[str, Any]:
    """Models by name, in place of the backends; a callable is given the runtime."""
    found: dict[str, Any] = {}

    def load(name, runtime):
        one = found[name]
        return one(runtime) if callable(one) else one

    monkeypatch.setattr(models, "load", load)
    monkeypatch.setattr(models, "identity", lambda name: f"{name}@1")
    return found


def run(names, folder, photos=None, **options):
    photos = PHOTOS if photos is None else photos
    return extract(
        names, list(photos), photos.__getitem__, store=FeatureStore(folder), **options
    )


def test_features_in_the_order_asked_for(shelf, tmp_path):
    shelf["a"] = Means("a")
    ids = [*reversed(PHOTOS), "003"]
    found = extract(
        ["a"], ids, PHOTOS.__getitem__, store=FeatureStore(tmp_path), batch_size=5
    )["a"]
    assert found.photo_ids == tuple(ids)
    assert found.computed == len(PHOTOS)
    assert shelf["a"].seen == [5, 5, 5, 5, 3]
    place = {one: row for row, one in enumerate(ids)}
    np.testing.assert_array_equal(found.values[place["003"]], found.values[-1])
    again = run(["a"], tmp_path)["a"]
    assert again.computed == 0
    np.testing.assert_array_equal(
        again.values, found.values[[place[one] for one in PHOTOS]]
    )


def test_a_photo_is_read_once_for_all_models(shelf, tmp_path):
    shelf |= {
        "a": Means("a"),
        "b": Means("b", weights="1" * 64),
        "c": Means("c", PixelSpec(size=6, resize_to=7), weights="2" * 64),
    }
    read = []
    extract(
        list(shelf), list(PHOTOS), lambda one: read.append(one) or PHOTOS[one],
        store=FeatureStore(tmp_path), batch_size=4,
    )  # fmt: skip
    assert sorted(read) == list(PHOTOS)


def test_a_model_that_was_here_before_gets_the_new_photos_only(shelf, tmp_path):
    shelf |= {"a": Means("a"), "b": Means("b", weights="1" * 64)}
    some = dict(list(PHOTOS.items())[:9])
    run(["a"], tmp_path, some, batch_size=4)
    found = run(["a", "b"], tmp_path, batch_size=4)
    assert (found["a"].computed, found["b"].computed) == (14, 23)
    np.testing.assert_array_equal(found["a"].values, found["b"].values)


def test_precisions_are_kept_apart(shelf, tmp_path):
    asked = []

    def load(runtime):
        asked.append(runtime)
        dtype = {"fp32": "float32", "bf16": "bfloat16"}[runtime.precision]
        return Means("a", dtype=dtype)

    shelf["a"] = load
    for runtime in (Runtime("fp32"), Runtime("bf16", "cpu")):
        found = run(["a"], tmp_path, runtime=runtime)["a"]
        assert found.computed == len(PHOTOS)
        assert run(["a"], tmp_path, runtime=runtime)["a"].computed == 0
        assert found.record.dtype == asked[-1].precision.replace("fp", "float").replace(
            "bf", "bfloat"
        )
    assert asked == [Runtime("fp32"), Runtime("bf16", "cpu")]
    known = Models(FeatureStore(tmp_path), Runtime("bf16"))
    assert known.record("a").dtype == "bfloat16"
    assert len(asked) == 2  # the store knew it


def test_decoders_are_kept_apart(shelf, tmp_path):
    def load(runtime):
        return Means("a", PixelSpec(size=8, resize_to=8, decoder=runtime.decoder))

    shelf["a"] = load
    photos = {}
    for number, data in enumerate(PHOTOS.values()):
        file = io.BytesIO()
        image = Image.open(io.BytesIO(data)).resize((96, 80), Image.Resampling.BICUBIC)
        # every third is no plain JPEG
        image.save(file, "JPEG" if number % 3 else "PNG")
        photos[f"{number:03}"] = file.getvalue()
    photos["damaged"] = photos["001"][:400]
    found = {}
    for decoder in ("pillow", "torchvision"):
        runtime = Runtime(device="cpu", decoder=decoder)
        first = run(["a"], tmp_path, photos, runtime=runtime, batch_size=10)["a"]
        assert first.computed == len(photos)
        again = run(["a"], tmp_path, photos, runtime=runtime)["a"]
        assert again.computed == 0
        np.testing.assert_array_equal(first.values, again.values)
        assert first.record.spec.decoder == decoder
        found[decoder] = first
    exact, near = found["pillow"], found["torchvision"]
    assert exact.errors == near.errors
    assert (near.errors[-1] or "").startswith("truncated or damaged")
    np.testing.assert_allclose(near.values, exact.values, atol=1)
    np.testing.assert_array_equal(near.values[:23:3], exact.values[:23:3])
    assert exact.record.key != near.record.key


def test_features_of_another_pillow_are_made_anew(shelf, tmp_path, monkeypatch):
    from evaluation import features

    shelf["a"] = Means("a")
    first = run(["a"], tmp_path)["a"]
    real = features.version

    def later(name):
        return f"{99 if name == 'pillow' else real(name)}.0"

    monkeypatch.setattr(features, "version", later)
    found = run(["a"], tmp_path)["a"]
    assert found.computed == len(PHOTOS)
    assert found.record.key != first.record.key
    monkeypatch.setattr(
        features, "version", lambda n: "99.5.1" if n == "pillow" else real(n)
    )
    assert run(["a"], tmp_path)["a"].computed == 0  # nothing finer than the major


def test_stored_answers_go_to_the_store_and_no_photo_is_read(shelf, tmp_path):
    shelf["told"] = Told("told")

    def unread(_):
        raise AssertionError

    store = FeatureStore(tmp_path)
    found = extract(["told"], list(PHOTOS), unread, store=store)["told"]
    assert found.computed == 23
    for row, one in enumerate(PHOTOS):
        if int(one) % 2:
            assert found.errors[row] == "the file has no row of it"
            assert not found.values[row].any()
        else:
            assert found.errors[row] is None
            assert found.values[row].tolist() == [int(one), 1]
    assert extract(["told"], list(PHOTOS), unread, store=store)["told"].computed == 0
    assert shelf["told"].seen == [23]


def test_stored_and_seeing_models_in_one_pass(shelf, tmp_path):
    shelf |= {"told": Told("told", weights="1" * 64), "a": Means("a")}
    found = run(["told", "a"], tmp_path, batch_size=10)
    assert found["told"].values.shape == (23, 2)
    assert found["a"].values.shape == (23, 3)
    assert shelf["a"].seen == [10, 10, 3]


def test_what_is_not_finite_is_a_failed_row(shelf, tmp_path):
    class Odd(Means):
        def images(self, pixels):
            values = super().images(pixels)
            values[1] = float("nan")
            return values

    shelf["a"] = Odd("a")
    found = run(["a"], tmp_path, batch_size=10)["a"]
    wrong = [row for row, error in enumerate(found.errors) if error]
    assert wrong == [1, 11, 21]
    assert found.errors[1] == "the model gave a value that is not finite"


def test_an_interrupted_run_keeps_what_it_had_and_goes_on(shelf, tmp_path):
    class Tired(Means):
        def images(self, pixels):
            if len(self.seen) == 3:
                raise KeyboardInterrupt
            return super().images(pixels)

    shelf["a"] = Tired("a")
    with pytest.raises(KeyboardInterrupt):
        run(["a"], tmp_path, batch_size=5)
    shelf["a"] = Means("a")
    found = run(["a"], tmp_path, batch_size=5)["a"]
    assert found.computed == 8
    assert found.errors == (None,) * 23


def test_changed_weights_are_another_model(shelf, tmp_path):
    shelf["a"] = Means("a")
    run(["a"], tmp_path, dict(list(PHOTOS.items())[:4]))
    shelf["a"] = Means("a", weights="1" * 64)
    found = run(["a"], tmp_path)["a"]
    assert found.record.weights == "1" * 64
    assert found.computed == 23


def test_progress_counts_every_photo_once(shelf, tmp_path):
    shelf |= {"a": Means("a"), "b": Means("b", weights="1" * 64)}
    told = []
    run(["a", "b"], tmp_path, batch_size=10, progress=lambda *now: told.append(now))
    assert told == [(10, 23), (20, 23), (23, 23)]


def test_parts_are_written_as_they_fill(shelf, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_ROWS_A_PART", 10)
    shelf["a"] = Means("a")
    found = run(["a"], tmp_path, batch_size=5)["a"]
    parts = FeatureStore(tmp_path).images(found.record).folder
    assert len(list(parts.glob("*.parquet"))) == 3


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cuda:99", "cpu,tpu"])
def test_devices_that_are_not_there(shelf, tmp_path, device):
    shelf["a"] = Means("a")
    with pytest.raises(ConfigError, match="device"):
        run(["a"], tmp_path, runtime=Runtime(device=device))
