"""`torchvision:` against torchvision itself: pixels, logits, names, files."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torchvision import models as library
from torchvision.transforms import functional

from evaluation import models
from evaluation.errors import ConfigError, RemoteError
from evaluation.images import fit
from evaluation.models import Runtime
from evaluation.models import torchvision as backend

TAG = library.SqueezeNet1_1_Weights.IMAGENET1K_V1


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a small network of the library."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("torchvision") / "squeezenet.pth"
    torch.save(library.squeezenet1_1().state_dict(), path)
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty TORCH_HOME; returns where torch.hub keeps files in it."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def photo(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(width * 1000 + height)
    small = rng.integers(0, 256, (height // 3 + 1, width // 3 + 1, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR)


def every_weights():
    return [w for name in backend._names() for w in backend._weights_of(name)]


def test_every_preprocessing_gives_the_library_s_own_pixels():
    shapes = [(640, 427), (427, 640), (500, 500), (256, 700), (231, 97), (1201, 333)]
    different = {
        (*w.transforms().crop_size, *w.transforms().resize_size,
         w.transforms().interpolation): w
        for w in every_weights()
    }  # fmt: skip
    assert len(different) > 10
    for weights in different.values():
        transform = weights.transforms()
        spec = backend._spec(transform, weights.name)
        for width, height in shapes:
            image = photo(width, height)
            resized = functional.resize(
                image,
                transform.resize_size,
                interpolation=transform.interpolation,
                antialias=transform.antialias,
            )
            theirs = np.asarray(functional.center_crop(resized, transform.crop_size))
            np.testing.assert_array_equal(fit(image, spec), theirs, err_msg=str(spec))


def test_logits_are_the_library_s_own(state):
    image = photo(640, 427)
    network = library.squeezenet1_1()
    network.load_state_dict(torch.load(state, weights_only=True))
    transform = TAG.transforms()
    with torch.inference_mode():
        theirs = network.eval()(transform(image)[None]).numpy()
    model = models.load(f"torchvision:squeezenet1_1/{state}")
    square = fit(image, model.spec).transpose(2, 0, 1)[None].copy()
    ours = model.images(torch.from_numpy(square)).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert model.kind == "classifier"
    assert "IMAGENET1K_V1" in model.note


def test_half_precision_is_near_and_said(state):
    full = models.load(f"torchvision:squeezenet1_1/{state}")
    half = models.load(full.name, Runtime(precision="bf16"))
    assert (full.dtype, half.dtype) == ("float32", "bfloat16")
    assert full.weights == half.weights
    pixels = torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8)
    ours, theirs = half.images(pixels).numpy(), full.images(pixels).numpy()
    np.testing.assert_allclose(ours, theirs, atol=0.05 * np.abs(theirs).max())


def test_weights_in_torch_s_cache_are_found(state, home):
    shutil.copy(state, home / Path(TAG.url).name)
    named = models.load("torchvision:squeezenet1_1/IMAGENET1K_V1")
    plain = models.load("torchvision:squeezenet1_1")
    given = models.load(f"torchvision:squeezenet1_1/{state}")
    assert named.weights == plain.weights == given.weights
    assert named.note == "torchvision weights IMAGENET1K_V1"
    assert "chosen because none were named" in plain.note
    at_hand = [info.name for info in backend.available() if info.at_hand]
    assert at_hand == ["torchvision:squeezenet1_1/IMAGENET1K_V1"]


def test_what_is_not_at_hand_names_its_file(home):
    found = {info.name: info for info in backend.available()}
    info = found["torchvision:resnet50/IMAGENET1K_V1"]
    assert not info.at_hand
    assert info.note == "needs resnet50-0676ba61.pth"


def test_no_network_says_file_folder_and_variable(home):
    with pytest.raises(RemoteError, match="TORCH_HOME") as raised:
        models.load("torchvision:resnet50/IMAGENET1K_V1")
    message = str(raised.value)
    assert "torchvision:resnet50/IMAGENET1K_V1" in message
    assert f"put resnet50-0676ba61.pth into {home}" in message
    assert "checkpoint file" in message


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("resnet51", "did you mean resnet50"),
        ("fasterrcnn_resnet50_fpn", "no ImageNet-1k classifier"),
        ("resnet50/IMAGENET1K_V3", "did you mean IMAGENET1K_V"),
        ("vgg16/IMAGENET1K_FEATURES", "has no weights"),
        ("vit_h_14", "IMAGENET1K_SWAG_E2E_V1"),
        ("resnet50/missing.pth", "no checkpoint file missing.pth"),
    ],
)
def test_wrong_names(name, reason):
    with pytest.raises(ConfigError, match=reason):
        models.load(f"torchvision:{name}")


def test_a_damaged_file_is_named(home, state):
    path = home / Path(TAG.url).name
    path.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(ConfigError, match="cannot be loaded") as raised:
        models.load("torchvision:squeezenet1_1")
    assert str(path) in str(raised.value)


def test_networks_that_are_built_otherwise_for_weights(tmp_path):
    network = library.googlenet(
        transform_input=True, aux_logits=True, init_weights=False
    ).eval()
    path = tmp_path / "googlenet.pth"
    torch.save(network.state_dict(), path)
    model = models.load(f"torchvision:googlenet/{path}")
    pixels = torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8)
    transform = library.GoogLeNet_Weights.IMAGENET1K_V1.transforms()
    with torch.inference_mode():
        # the network as the library builds it for weights scales its input back
        theirs = network(
            functional.normalize(pixels / 255, transform.mean, transform.std)
        )
    found = model.images(pixels)
    np.testing.assert_allclose(found.numpy(), theirs.numpy(), rtol=1e-3, atol=1e-5)


def test_every_name_of_the_library_can_be_named():
    names = {info.name for info in backend.available()}
    assert "torchvision:vit_l_32/IMAGENET1K_V1" in names
    assert len(names) == len(every_weights())
    version = torchvision.__version__.split("+")[0]
    assert version in models.identity("torchvision:alexnet")
