"""Small real models with random weights, built and read by their own libraries."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

TOWERS = {
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "patch_size": 16,
                   "head_width": 16},
    "text_cfg": {"context_length": 40, "vocab_size": 49408, "width": 32, "heads": 2,
                 "layers": 2},
}  # fmt: skip
PREPROCESS = {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]}


@dataclass(frozen=True)
class Written:
    """A model on disk, and the library's own objects for it."""

    name: str
    network: Any
    tokenizer: Any
    preprocess: Any


def _write(folder: Path, *, bias: bool, **config: Any) -> Written:
    import open_clip
    import torch

    torch.manual_seed(5)
    if bias:
        config |= {"init_logit_bias": -10.0, "init_logit_scale": 2.3}
    settings = {"embed_dim": 24, **TOWERS, **config}
    network = open_clip.CLIP(**settings)
    folder.mkdir()
    about = {"model_cfg": settings, "preprocess_cfg": PREPROCESS}
    (folder / "open_clip_config.json").write_text(json.dumps(about))
    torch.save(network.state_dict(), folder / "open_clip_pytorch_model.bin")
    library = f"local-dir:{folder}"
    network, _, preprocess = open_clip.create_model_and_transforms(library)
    return Written(
        f"open_clip:{library}",
        network.eval(),
        open_clip.get_tokenizer(library),
        preprocess,
    )


@pytest.fixture(scope="session", params=["plain", "quick_gelu", "sigmoid"])
def written(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Written:
    folder = tmp_path_factory.mktemp("models") / request.param
    extra = {"quick_gelu": True} if request.param == "quick_gelu" else {}
    return _write(folder, bias=request.param == "sigmoid", **extra)
