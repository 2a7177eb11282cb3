"""The same tower in fp32 and bf16, on one device and on several."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from evaluation import models
from evaluation.errors import ConfigError
from evaluation.features import describe
from evaluation.images import decode, fit
from evaluation.models import PixelSpec, Runtime
from evaluation.models._forward import CPU_CHUNK, Tower, devices
from evaluation.pixels import decoded

HALF = (0.5, 0.5, 0.5)


def batch(count: int, size: int, seed: int = 0):
    import torch

    rng = np.random.default_rng(seed)
    # smooth pictures: noise alone gives every model nearly one answer
    rough = rng.integers(0, 256, (count, 3, 8, 8)).astype(np.float32)
    pixels = torch.nn.functional.interpolate(torch.from_numpy(rough), size=(size, size))
    return pixels.to(torch.uint8)


@pytest.fixture(params=["tiny_clip", "demo:clip", "demo:lite0"])
def name(request) -> str:
    if request.param == "tiny_clip":
        return str(request.getfixturevalue("tiny_clip"))
    return str(request.param)


def test_bf16_is_the_same_model_a_little_rounder(name):
    import torch

    exact, rounder = models.load(name), models.load(name, Runtime("bf16", "cpu"))
    assert (exact.dtype, rounder.dtype) == ("float32", "bfloat16")
    assert exact.weights == rounder.weights
    assert describe(exact).key != describe(rounder).key
    pixels = batch(20, exact.spec.size)
    first, second = exact.images(pixels), rounder.images(pixels)
    assert first.dtype == second.dtype == torch.float32
    assert not torch.equal(first, second)
    assert torch.cosine_similarity(first, second).min() > 0.99
    if exact.kind == "zero_shot":
        # texts stay in fp32, and so does what makes embeddings unit vectors
        words = ["A photo of ostrich.", "A photo of polar bear."]
        assert torch.equal(exact.texts(words), rounder.texts(words))
        assert second.norm(dim=1).numpy() == pytest.approx(1, abs=1e-6)


def test_a_batch_dealt_to_several_devices_keeps_its_order(name):
    one, three = models.load(name), models.load(name, Runtime(device="cpu,cpu,cpu"))
    for count in (1, 2, 7):
        pixels = batch(count, one.spec.size, seed=count)
        np.testing.assert_allclose(
            three.images(pixels).numpy(), one.images(pixels).numpy(), atol=2e-5
        )


@pytest.mark.parametrize("count", [1, CPU_CHUNK - 1, CPU_CHUNK, CPU_CHUNK + 1])
def test_chunks_are_put_together_again(name, count):
    model = models.load(name)
    pixels = batch(count, model.spec.size)
    found = model.images(pixels)
    assert len(found) == count
    alone = model.images(pixels[-1:])
    np.testing.assert_allclose(found[-1:].numpy(), alone.numpy(), rtol=1e-3, atol=1e-4)


def test_layout_of_pixels_does_not_matter(name):
    import torch

    model = models.load(name)
    pixels = batch(3, model.spec.size)
    last = pixels.contiguous(memory_format=torch.channels_last)
    assert torch.equal(model.images(pixels), model.images(last))


def test_statistics_of_batch_norms_stay_in_float32():
    import torch

    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.LayerNorm(30)
    ).eval()
    network[1].running_mean.fill_(1 + 2**-12)  # lost in bfloat16
    runtime = Runtime("bf16", "cpu")
    tower = Tower(network, mean=HALF, std=HALF, runtime=runtime)
    assert network[0].weight.dtype == network[2].weight.dtype == torch.bfloat16
    assert network[1].running_mean[0] == 1 + 2**-12
    assert tower.dtype == "bfloat16"
    assert tower(batch(2, 32)).dtype == torch.float32


def test_the_decoder_is_part_of_what_a_model_is(name):
    near = models.load(name, Runtime(device="cpu", decoder="torchvision"))
    exact = models.load(name)
    assert near.spec == replace(exact.spec, decoder="torchvision")
    assert near.weights == exact.weights
    assert describe(near).key != describe(exact).key


def test_devices_by_name():
    import torch

    assert [str(one) for one in devices("cpu,cpu")] == ["cpu", "cpu"]
    count = torch.cuda.device_count()
    assert len(devices("auto")) == max(1, count)
    with pytest.raises(ConfigError, match="allowed are auto, cpu, cuda"):
        devices("tpu")
    with pytest.raises(ConfigError, match="is not there"):
        devices(f"cuda:{count}")


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gpu_gives_what_the_cpu_gives(name, precision):
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    here = models.load(name, Runtime("fp32", "cpu"))
    there = models.load(name, Runtime(precision, "auto"))
    pixels = batch(300, here.spec.size)
    first, second = here.images(pixels), there.images(pixels)
    assert second.device.type == "cpu"
    least = 0.99999 if precision == "fp32" else 0.99
    assert torch.cosine_similarity(first, second).min() > least


@pytest.mark.gpu
def test_a_gpu_decodes_nearly_as_pillow():
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    spec = PixelSpec(64, resize_to=70, decoder="torchvision")
    files = {}
    for number in range(70):
        rough = np.random.default_rng(number).integers(0, 256, (6, 9, 3), np.uint8)
        image = Image.fromarray(rough).resize((180, 120), Image.Resampling.BICUBIC)
        file = io.BytesIO()
        options = {"progressive": True} if number % 3 == 1 else {}
        image.save(file, "PNG" if number % 3 == 2 else "JPEG", **options)
        files[str(number)] = file.getvalue()
    runtime = Runtime(device="auto", decoder="torchvision")
    [(_, found)] = decoded(
        [list(files)], lambda _: {spec}, files.__getitem__, jobs=3, runtime=runtime
    )
    for one, data in zip(found, files.values(), strict=True):
        gap = np.abs(one.squares[spec].astype(int) - fit(decode(data), spec))
        assert gap.mean() < 3


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_packed_layers_give_the_same_and_say_what_they_were(dtype):
    import torch
    from timm.layers import Mlp

    from evaluation.models._forward import pack

    torch.manual_seed(0)
    plain = Mlp(32, 64).eval().to(getattr(torch, dtype))
    network = torch.nn.Sequential(Mlp(32, 64)).eval().to(getattr(torch, dtype))
    network[0].load_state_dict(plain.state_dict())
    state = torch.get_rng_state()
    assert pack(network) == 2
    assert torch.equal(torch.get_rng_state(), state)
    values = torch.randn(3, 7, 32).to(getattr(torch, dtype))
    with torch.inference_mode():
        torch.testing.assert_close(network(values), plain(values))
    assert network[0].fc1.weight.dtype == getattr(torch, dtype)
    assert network[0].fc1.weight.shape == plain.fc1.weight.shape
    assert pack(network) == 0  # once is enough


def test_a_tower_that_is_to_be_trained_keeps_its_weights():
    import torch
    from timm.layers import Mlp

    for trainable, kind in ((True, torch.nn.Linear), (False, torch.nn.Module)):
        network = torch.nn.Sequential(Mlp(32, 64)).eval()
        Tower(network, mean=(0,) * 3, std=(1,) * 3,
              runtime=Runtime(device="cpu", trainable=trainable))  # fmt: skip
        assert isinstance(network[0].fc1, kind)
        assert isinstance(network[0].fc1, torch.nn.Linear) is trainable
