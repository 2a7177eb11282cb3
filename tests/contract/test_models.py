"""What every file in `evaluation/models` must do; a new one is tested by existing."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evaluation import models
from evaluation.errors import ConfigError, CounterSetError, RemoteError
from evaluation.images import fit
from evaluation.models import (
    AnsweringModel,
    Model,
    ModelInfo,
    PixelSpec,
    StoredModel,
    ZeroShotModel,
)
from evaluation.models.file import About, write
from tests.standins import llava

BACKENDS = sorted(models.backends())
PROMPTS = ["A photo of ostrich.", "A photo of polar bear."]


@pytest.fixture(scope="session")
def tiny_timm(tmp_path_factory: pytest.TempPathFactory) -> str:
    import timm
    import torch

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("timm") / "weights.pt"
    torch.save(timm.create_model("test_resnet", num_classes=1000).state_dict(), path)
    return f"timm:test_resnet/{path}"


@pytest.fixture(scope="session")
def tiny_torchvision(tmp_path_factory: pytest.TempPathFactory) -> str:
    import torch
    from torchvision.models import squeezenet1_1

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("torchvision") / "weights.pt"
    torch.save(squeezenet1_1().state_dict(), path)
    return f"torchvision:squeezenet1_1/{path}"


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("file")
    rng = np.random.default_rng(0)
    ids = ["a", "b", "c"]
    logits = rng.normal(size=(3, 1000)).astype(np.float32)
    write(
        folder / "logits.npz", ids, logits, about=About(kind="classifier", name="mine")
    )
    vectors = np.eye(5, dtype=np.float32)
    texts = dict(zip(PROMPTS, vectors, strict=False))
    write(
        folder / "vectors.parquet",
        ids,
        vectors[2:],
        about=About(kind="zero_shot", name="mine", logit_scale=100),
        texts=texts,
    )
    return [f"file:{folder / name}" for name in ("logits.npz", "vectors.parquet")]


@pytest.fixture(scope="session")
def names(
    tiny_clip: str,
    tiny_timm: str,
    tiny_torchvision: str,
    files: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], list[str]]:
    """Models of a backend that can be loaded here."""
    written = {
        "open_clip": [tiny_clip],
        "timm": [tiny_timm],
        "torchvision": [tiny_torchvision],
        "file": files,
    }

    def of(backend: str) -> list[str]:
        if backend == "lvlm" and backend not in written:
            pytest.importorskip("transformers")
            folder: Path = tmp_path_factory.mktemp("lvlm") / "llava"
            written[backend] = [f"lvlm:{llava.build(folder)}"]
        if backend in written:
            return written[backend]
        found = models.backends()[backend].available()
        at_hand = [info.name for info in found if info.at_hand]
        assert at_hand, f"no model of {backend} is at hand to test it with"
        return at_hand

    return of


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def pixels(spec: PixelSpec, count: int, seed: int = 0):
    import torch
    from PIL import Image

    rng = np.random.default_rng(seed)
    squares = [
        fit(Image.fromarray(rng.integers(0, 256, (300, 260, 3), dtype=np.uint8)), spec)
        for _ in range(count)
    ]
    return torch.from_numpy(np.stack(squares).transpose(0, 3, 1, 2).copy())


def test_what_is_available_is_well_named(backend):
    found = models.backends()[backend].available()
    assert all(isinstance(info, ModelInfo) for info in found)
    assert all(info.name.startswith(f"{backend}:") for info in found)
    assert len({info.name for info in found}) == len(found)


def test_models_do_what_they_say(backend, names):
    for name in names(backend):
        model = models.load(name)
        assert isinstance(model, Model)
        assert model.name == name
        assert re.fullmatch("[0-9a-f]{64}", model.weights)
        if isinstance(model, StoredModel):
            found = remembers(model)
        elif isinstance(model, AnsweringModel):
            answers(model)
            continue
        else:
            found = sees(model)
        if model.kind == "classifier":
            assert tuple(found.shape) == (3, 1000)
            assert not isinstance(model, ZeroShotModel)
            continue
        assert isinstance(model, ZeroShotModel)
        texts = model.texts(PROMPTS)
        assert tuple(texts.shape) == (2, found.shape[1])
        for unit in (texts, found):
            assert unit.norm(dim=1).numpy() == pytest.approx(1, abs=1e-5)
        assert model.logit_scale > 0
        assert np.isfinite(model.logit_bias)
        assert model.link in ("softmax", "sigmoid")


def sees(model: Model):
    """Features of three photos."""
    batch = pixels(model.spec, 3)
    before = batch.clone()
    found = model.images(batch)
    assert (batch == before).all(), "the pixels were changed"
    assert str(found.dtype) == "torch.float32"
    assert found.device.type == "cpu"
    assert found.isfinite().all()
    assert not found.requires_grad
    np.testing.assert_array_equal(model.images(batch).numpy(), found.numpy())
    # a photo's features do not hang on its neighbours
    alone = model.images(batch[1:2])
    np.testing.assert_allclose(alone.numpy(), found[1:2].numpy(), rtol=1e-3, atol=1e-4)
    return found


def remembers(model: StoredModel):
    """Features of three photos of a model that sees none."""
    import torch

    with pytest.raises(CounterSetError):
        model.images(torch.zeros((1, 3, 8, 8), dtype=torch.uint8))
    values, errors = model.stored(["a", "b", "c"])
    assert values.dtype == np.float32
    assert errors == [None] * 3
    again, missing = model.stored(["c", "nobody's", "a"])
    np.testing.assert_array_equal(again[[0, 2]], values[[2, 0]])
    assert [error is None for error in missing] == [True, False, True]
    return torch.from_numpy(values)


def answers(model: AnsweringModel) -> None:
    """Losses of answers to a question about two photos."""
    assert model.kind == "lvlm"
    assert not isinstance(model, ZeroShotModel)
    batch = pixels(model.spec, 2)
    with pytest.raises(CounterSetError):
        model.images(batch)
    before = batch.clone()
    asked = [["A ostrich", "A polar bear", "A gorilla"], ["A gorilla"]]
    question = "What is the main object in the image?"
    found = model.losses(batch, question, asked)
    assert (batch == before).all(), "the pixels were changed"
    assert [losses.shape for losses in found] == [(3,), (1,)]
    assert all(losses.dtype == np.float32 for losses in found)
    assert all(np.isfinite(losses).all() and (losses > 0).all() for losses in found)
    alone = model.losses(batch[:1], question, [asked[0][2:]])[0]
    np.testing.assert_allclose(alone, found[0][2:], rtol=1e-3)


def test_same_weights_same_hash(backend, names):
    name = names(backend)[0]
    assert models.load(name).weights == models.load(name).weights


def test_identity_needs_no_torch_and_stays(backend, names):
    name = names(backend)[0]
    code = (
        "import sys; from evaluation.models import identity; "
        f"print(identity({name!r})); print('torch' in sys.modules)"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        for _ in range(2)
    ]
    assert found[0] == found[1]
    assert found[0][1] == "False"
    assert found[0][0].startswith(name)


def test_unknown_names_are_told_what_is_known(backend):
    with pytest.raises(ConfigError, match="no-such-model"):
        models.load(f"{backend}:no-such-model")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("clop:ViT-B-32", "unknown model"),
        ("resnet50", "<backend>:<model>"),
        ("open_clip:ViT-B-33/openai", "did you mean ViT-B-32"),
        ("open_clip:ViT-B-32", "<tag or checkpoint file>"),
        ("open_clip:ViT-B-32/laion2b_s34b", "did you mean laion2b_s34b_b79k"),
        ("open_clip:ViT-B-32/openai", "use open_clip:ViT-B-32-quickgelu/openai"),
        ("open_clip:ViT-B-32/laion400m_e31", "ViT-B-32-quickgelu/laion400m_e31"),
        ("open_clip:ViT-B-32/missing.pt", "no checkpoint file missing.pt"),
        ("open_clip:local-dir:/nowhere/at/all", "/nowhere/at/all"),
        ("timm:resnet19", "did you mean resnet1"),
        ("timm:resnet18.a9_in1k", "did you mean a"),
        ("timm:vit_base_patch16_224.augreg_in21k", "21843 classes"),
        ("timm:resnet18/missing.pt", "no checkpoint file missing.pt"),
        ("torchvision:resnet19", "did you mean resnet1"),
        ("torchvision:resnet18/IMAGENET1K_V9", "did you mean IMAGENET1K_V1"),
        ("torchvision:resnet18/missing.pt", "no checkpoint file missing.pt"),
        ("file:missing.npz", "no file or folder missing.npz"),
    ],
)
def test_wrong_names(name, reason):
    with pytest.raises(ConfigError, match=re.escape(reason)):
        models.load(name)


@pytest.mark.parametrize(
    "name",
    ["open_clip:ViT-B-32/laion2b_s34b_b79k", "timm:resnet18", "timm:resnet18.a1_in1k"],
)
def test_weights_out_of_reach_say_what_would_help(name):
    with pytest.raises(RemoteError, match="HF_ENDPOINT") as raised:
        models.load(name)
    assert name in str(raised.value)
    assert "checkpoint file" in str(raised.value)


def test_a_checkpoint_of_another_model_is_an_error(tiny_timm, tmp_path):
    path = tiny_timm.partition("/")[2]
    for name in (
        f"timm:test_vit/{path}",
        f"open_clip:ViT-S-32/{path}",
        f"torchvision:resnet18/{path}",
    ):
        with pytest.raises(ConfigError, match="cannot be loaded"):
            models.load(name)
    rubbish = tmp_path / "rubbish.pt"
    rubbish.write_bytes(b"no weights")
    with pytest.raises(CounterSetError, match="cannot be loaded"):
        models.load(f"timm:test_resnet/{rubbish}")


def test_a_changed_checkpoint_is_another_model(tiny_timm, tmp_path):
    import shutil

    import torch

    path = tmp_path / "weights.pt"
    shutil.copy(tiny_timm.partition("/")[2], path)
    name = f"timm:test_resnet/{path}"
    before = models.identity(name), models.load(name).weights
    state = torch.load(path, weights_only=True)
    state["fc.bias"][0] += 1
    torch.save(state, path)
    after = models.identity(name), models.load(name).weights
    assert before[0] != after[0]
    assert before[1] != after[1]
