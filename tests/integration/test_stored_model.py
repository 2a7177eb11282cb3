"""Results worked out again of stored values: the same, with no weights at hand."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluation.examples import open_examples
from evaluation.extract import Models, extract
from evaluation.features import FeatureStore
from evaluation.label_spaces import label_space
from evaluation.models.file import About, write
from evaluation.predict import predict
from evaluation.prompts import prompt_set

FOLDERS = ("9 ostrich", "296 polar bear", "366 gorilla")


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name in FOLDERS:
        (folder / name).mkdir()
        for number in range(3):
            small = rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)
            picture = Image.fromarray(small).resize((90, 70))
            picture.save(folder / name / f"{number}.png")
    (folder / FOLDERS[0] / "damaged.png").write_bytes(b"no picture")
    return open_examples(str(folder))


def stored(name: str, examples, store: FeatureStore, path: Path, **about) -> str:
    """A file of what a model said; returns the file's name as a model."""
    ids = examples.table.column("photo_id").to_pylist()
    known = Models(store)
    found = extract([name], ids, examples.read, store=store, loaded=known)[name]
    good = [row for row, error in enumerate(found.errors) if error is None]
    errors = {ids[row]: error for row, error in enumerate(found.errors) if error}
    texts = None
    if found.record.kind == "zero_shot":
        prompts = prompt_set("paper")
        space = label_space("dataset", examples.classes)
        texts = {
            text: known.load(name).texts([text])[0].numpy()  # type: ignore[attr-defined]
            for column in space.columns
            for word in column.words
            for text in prompts.fill(*word)
        }
        about |= {"logit_scale": found.record.logit_scale}
    write(
        path,
        [ids[row] for row in good],
        found.values[good],
        about=About(kind=found.record.kind, name=name, **about),
        errors=errors,
        texts=texts,
    )
    return f"file:{path}"


@pytest.mark.parametrize("kind", ["classifier", "zero_shot"])
def test_predictions_are_the_same(kind, examples, tiny_clip, tmp_path):
    name = "demo:lite0" if kind == "classifier" else tiny_clip
    store = FeatureStore(tmp_path / "store")
    path = stored(name, examples, store, tmp_path / "values.parquet")
    fresh = FeatureStore(tmp_path / "fresh")
    first = predict(examples, [name], store=store, label_space="dataset")[name]
    again = predict(examples, [path], store=fresh, label_space="dataset")[path]
    assert first.num_rows == again.num_rows == 10
    for column in ("predicted", "label_rank", "status", "error", "correct"):
        assert first.column(column).to_pylist() == again.column(column).to_pylist()
    for column in ("probability", "label_probability", "max_logit", "energy"):
        ours = first.column(column).to_numpy(zero_copy_only=False)
        theirs = again.column(column).to_numpy(zero_copy_only=False)
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert name.encode() in again.schema.metadata[b"counterset"]
