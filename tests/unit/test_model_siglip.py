"""SigLIP's own ways against open_clip's logits: bias, scale, squashing, tokenizer."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from evaluation import models
from evaluation.images import fit
from evaluation.models import PixelSpec
from evaluation.models.open_clip import _preprocessing
from tests.standins import llava

PROMPTS = ["A photo of ostrich.", "A photo of Polar-Bear, really?", "a dung beetle"]
HALF = {"mean": [0.5] * 3, "std": [0.5] * 3}


def config(tokenizer: Path | None) -> dict:
    """As open_clip has ViT-B-16-SigLIP, with small towers."""
    text = {
        "context_length": 16,
        "vocab_size": 49408,
        "width": 64,
        "heads": 2,
        "layers": 2,
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
        "norm_kwargs": {"eps": 1e-6},
    }
    if tokenizer:
        text |= {
            "hf_tokenizer_name": str(tokenizer),
            "tokenizer_kwargs": {"clean": "canonicalize"},
        }
    return {
        "embed_dim": 64,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 160,
            "timm_model_name": "test_vit",
            "timm_model_pretrained": False,
            "timm_pool": "map",
            "timm_proj": "none",
        },
        "text_cfg": text,
    }


def build(folder: Path, tokenizer: Path | None = None) -> Path:
    import open_clip

    settings = config(tokenizer)
    preprocess = HALF | {"interpolation": "bicubic", "resize_mode": "squash"}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": settings, "preprocess_cfg": preprocess})
    )
    torch.manual_seed(0)
    parts = {key: settings[key] for key in ("embed_dim", "vision_cfg", "text_cfg")}
    network = open_clip.CustomTextCLIP(
        **parts, init_logit_scale=np.log(112.0), init_logit_bias=-10.0
    )
    with torch.no_grad():
        network.logit_bias.fill_(-16.5)
    torch.save(network.state_dict(), folder / "open_clip_pytorch_model.bin")
    return folder


def photos() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    shapes = [(40, 60), (55, 33), (64, 64)]
    return [
        Image.fromarray(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)).resize(
            (shape[1] * 6, shape[0] * 6)
        )
        for shape in shapes
    ]


@pytest.mark.parametrize("own_tokenizer", [False, True])
def test_logits_are_those_of_open_clip(tmp_path, own_tokenizer):
    import open_clip

    tokenizer = None
    if own_tokenizer:
        pytest.importorskip("transformers")
        tokenizer = tmp_path  # where open_clip looks for it
        llava._tokenizer().save_pretrained(tokenizer)
    folder = build(tmp_path, tokenizer)
    theirs, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    words = open_clip.get_tokenizer(f"local-dir:{folder}")
    images = torch.stack([transform(image) for image in photos()])
    with torch.inference_mode():
        image, text, scale, bias = theirs.eval()(images, words(PROMPTS))
        expected = (scale * image @ text.T + bias).numpy()

    model = models.load(f"open_clip:local-dir:{folder}")
    assert model.spec == PixelSpec(160, "squash", 160, "bicubic")
    assert (model.link, model.logit_bias) == ("sigmoid", -16.5)
    assert model.logit_scale == pytest.approx(112, rel=1e-6)
    squares = np.stack([fit(image, model.spec) for image in photos()])
    pixels = torch.from_numpy(squares.transpose(0, 3, 1, 2).copy())
    found = model.images(pixels) @ model.texts(PROMPTS).T
    found = (found * model.logit_scale + model.logit_bias).numpy()
    # a logit is a sum of 112 cosines and a bias: its error is that of its terms
    assert np.abs(found - expected).max() <= 1e-6 * (112 + 16.5)
    assert len({*found.argmax(axis=1), *found.T.argmax(axis=1)}) > 1


def test_every_siglip_of_the_library_is_squashed_and_has_a_bias():
    import open_clip

    checked = 0
    for architecture, tag in open_clip.list_pretrained():
        if "SigLIP" not in architecture:
            continue
        wanted = _preprocessing(open_clip.get_pretrained_cfg(architecture, tag))
        assert wanted == {
            "mean": (0.5, 0.5, 0.5),
            "std": (0.5, 0.5, 0.5),
            "interpolation": "bicubic",
            "resize_mode": "squash",
        }, architecture
        settings = open_clip.get_model_config(architecture)
        assert settings["init_logit_bias"] == -10, architecture
        checked += 1
    assert checked > 20
