"""A small real image-text model: random weights, the library's own tokenizer."""

import json
from pathlib import Path

import pytest

CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {
        "context_length": 32,
        "vocab_size": 49408,
        "width": 32,
        "heads": 2,
        "layers": 1,
    },
}


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name of the model, for `evaluation.models.load`."""
    import open_clip
    import torch

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny_clip")
    network = open_clip.CLIP(**CONFIG)
    preprocess = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": CONFIG, "preprocess_cfg": preprocess})
    )
    torch.save(network.state_dict(), folder / "open_clip_pytorch_model.bin")
    return f"open_clip:local-dir:{Path(folder)}"
