"""The bundled models: they load, are what their card says, and can be trained again."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from curation.demo import design, measure, model_card, pictures, train
from curation.demo.assets import pictures as bundled
from curation.demo.compose import SHARE
from evaluation import label_spaces, models
from evaluation.errors import ConfigError
from evaluation.images import fit
from evaluation.models import demo

MEGABYTE = 1_000_000
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pixels():
    """Composed photos of the demo's classes: on the planted background, and off it."""
    wanted = {design.name(i): design.PLANTED.get(i) for i in design.DEMO_PLANTED}
    views = [v for v in pictures.checks(SHARE, seed=1) if v.animal in wanted]
    on = np.array([v.scene.background == wanted[v.animal] for v in views])
    stack = np.stack([fit(pictures.render(view), pictures.PIXELS) for view in views])
    return views, on, torch.from_numpy(stack).permute(0, 3, 1, 2)


def _names():
    return [design.name(index) for index in pictures.classes()]


def _right(model, pixels):
    views, _, values = pixels
    texts = model.texts([f"A photo of {name}." for name in _names()])
    best = (model.images(values) @ texts.T).argmax(1).tolist()
    return np.array([_names()[b] == v.animal for b, v in zip(best, views, strict=True)])


def test_planted_background_moves_one_model_and_not_the_other(pixels):
    _, on, _ = pixels
    leaning, balanced = (
        _right(models.load(name), pixels)
        for name in ("demo:clip", "demo:clip-balanced")
    )
    assert leaning[on].mean() - leaning[~on].mean() > 0.25
    assert abs(balanced[on].mean() - balanced[~on].mean()) < 0.10
    assert balanced.mean() > 0.85


@pytest.mark.parametrize("name", demo.CLIPS)
def test_a_demonstration_model_says_so_and_gives_unit_vectors(name, pixels):
    model = models.load(f"demo:{name}")
    assert isinstance(model, models.ZeroShotModel)
    assert model.note == "demonstration model, no labeller"
    assert model.spec == models.load("demo:lite0").spec == pictures.PIXELS
    found, texts = model.images(pixels[2][:5]), model.texts(["a bison", "zxqv qqq"])
    for vectors in (found, texts):
        assert vectors.dtype == torch.float32
        assert vectors.shape[1] == demo.EMBEDDING
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)))
    again = models.load(f"demo:{name}")
    assert again.weights == model.weights
    torch.testing.assert_close(again.images(pixels[2][:5]), found, rtol=0, atol=0)
    one = torch.cat([model.images(pixels[2][i : i + 1]) for i in range(5)])
    torch.testing.assert_close(one, found, rtol=1e-4, atol=1e-5)


def test_what_is_stored_is_small_and_complete():
    files = [path for path in demo.FOLDER.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 12 * MEGABYTE
    for name in demo.CLIPS:
        part = load_file(demo.weights_file(name))
        assert not [key for key in part if "trunk" in key or "token_embedding" in key]
        assert len(part["tokens"]) == len(part["token_rows"])
        network = demo.untrained(0)
        demo.put_back(network, part)
        kept = demo.trained_part(network.state_dict(), part["tokens"])
        assert kept.keys() == part.keys()
        for key, value in part.items():
            assert torch.equal(value, kept[key])
        table = network.text.token_embedding.weight
        assert int((table.abs().sum(1) > 0).sum()) <= len(part["tokens"])


def test_the_trunk_is_the_packages_and_was_not_trained():
    network, plain = demo.untrained(0), demo.classifier(0)
    kept = network.visual.trunk.state_dict()
    for key, value in plain.state_dict().items():
        if not key.startswith("classifier"):
            assert torch.equal(kept[key], value)
    assert not any(p.requires_grad for p in network.visual.trunk.parameters())


@pytest.mark.parametrize("name", demo.LITES)
def test_lite_models_know_real_photos(name):
    model = models.load(f"demo:{name}")
    assert model.kind == "classifier"
    assert "demonstration" not in model.note
    from curation.demo.assets import opened

    photos = [photo for photo in bundled("original") if photo.index is not None]
    stack = np.stack([fit(opened(photo), model.spec) for photo in photos])
    logits = model.images(torch.from_numpy(stack).permute(0, 3, 1, 2))
    assert logits.shape == (len(photos), 1000)
    right = [int(b) == p.index for b, p in zip(logits.argmax(1), photos, strict=True)]
    assert np.mean(right) > 0.8


def test_names_and_identities():
    names = [info.name for info in demo.available()]
    assert names == [f"demo:{name}" for name in (*demo.CLIPS, *demo.LITES)]
    assert all(info.at_hand for info in demo.available())
    identities = {models.identity(name) for name in names}
    assert len(identities) == 5
    with pytest.raises(ConfigError, match="clip-balanced"):
        models.load("demo:clip-balance")
    with pytest.raises(ConfigError, match="lite0"):
        models.identity("demo:lite3")


def test_identity_needs_no_torch():
    import subprocess
    import sys

    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from evaluation import models\n"
        "print(models.identity('demo:clip'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == models.identity("demo:clip")


def test_the_label_space_is_the_classes():
    space = label_spaces.label_space("demo28", [])
    assert space.keys == tuple(pictures.classes())
    assert list(space.names) == _names()


def test_training_runs_end_to_end_and_repeats(tmp_path):
    plan = train.Plan(per_class=2, epochs=2, batch=64)
    views = pictures.composites(plan.per_class, planted=True, seed=0)
    views += pictures.places(seed=0)[:40]
    values = train.Features(train.trunk()).of(views)
    assert values.shape == (len(views), 1280)
    networks = [train.train(views, values, plan) for _ in range(2)]
    (network, tokens, loss), (other, _, same) = networks
    assert loss == same
    assert torch.equal(network.visual.head.proj.weight, other.visual.head.proj.weight)
    first = demo.untrained(0)
    assert not torch.equal(
        network.visual.head.proj.weight, first.visual.head.proj.weight
    )
    assert tokens.tolist() == sorted(set(tokens.tolist()))
    demo.put_back(network, demo.trained_part(network.state_dict(), tokens))
    model = demo.as_model(network, "demo:tiny")
    assert model.texts(["a bison on grass"]).shape == (1, demo.EMBEDDING)


@pytest.mark.slow
def test_the_training_script_writes_weights_and_log(tmp_path, monkeypatch):
    """On fewer pictures than count, and with no more threads than a test has."""
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    monkeypatch.setattr(pictures, "VIEWS", 1)
    for name, every in (("checks", 11), ("unseen", 7)):
        views = getattr(measure, name)(SHARE, seed=0)
        monkeypatch.setattr(measure, name, lambda *_, some=views[::every], **seed: some)
        backgrounds = {view.scene.background for view in views}
        assert {view.scene.background for view in views[::every]} == backgrounds
    train.main(["--out", str(tmp_path), "--per-class", "1", "--epochs", "1"])
    log = json.loads((tmp_path / "training.json").read_text(encoding="utf-8"))
    committed = json.loads((demo.FOLDER / "training.json").read_text(encoding="utf-8"))
    assert log.keys() == committed.keys()
    for name in demo.CLIPS:
        assert (tmp_path / f"{name}.safetensors").stat().st_size < 6 * MEGABYTE
        assert log["models"][name].keys() == committed["models"][name].keys()


def test_the_card_is_written_from_the_log():
    log = json.loads((demo.FOLDER / "training.json").read_text(encoding="utf-8"))
    card = (demo.FOLDER / "card.md").read_text(encoding="utf-8")
    assert card == model_card.text(log)
    assert "no labeller" in card
    balanced = log["models"]["clip-balanced"]
    for key in ("proposals_unseen_composites", "proposals_real_photos"):
        for label, value in balanced[key]["per_background"].items():
            assert re.search(rf"\| {label} \|.*{value:.3f}", card), (key, label)
    assert balanced["proposals_unseen_composites"]["top1"] >= 0.60
    assert log["plan"] == {
        key: getattr(train.Plan(), key) for key in train.Plan.__dataclass_fields__
    }


def test_the_data_card_configures_these_models():
    from curation import config

    found = config.load(measure.card_folder() / "dataset.toml")
    assert [spec.imagenet_index for spec in found.classes] == list(pictures.classes())
    assert [spec.name for spec in found.classes] == _names()
    assert set(found.evaluate.models) == {info.name for info in demo.available()}
    assert {b.name for b in found.backgrounds} == {
        a.background for a in bundled("background")
    }
