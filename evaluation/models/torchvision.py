"""`torchvision:<name>/<weights>`: ImageNet-1k classifiers of the torchvision library.

`<weights>` is a name of torchvision's own list, as in
`torchvision:resnet50/IMAGENET1K_V1`. Without one IMAGENET1K_V1 is taken, the weights of
the years before there was a choice, and the note says so; a model that has no such
weights needs the name. `torchvision:<name>/<checkpoint file>` loads a file instead,
with the preprocessing of the model's first weights.

Files are looked for, and put, where torch.hub keeps them, `hub/checkpoints` in
TORCH_HOME. Classes are known by their index alone: torchvision's own list of names has
duplicates that other lists do not have.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from evaluation.errors import ConfigError, RemoteError, nearest
from evaluation.models import FP32, ModelInfo, PixelSpec, Runtime
from evaluation.models._classifier import ClassifierModel
from evaluation.models._forward import Tower
from evaluation.models._weights import (
    checkpoint,
    digest,
    file_identity,
    looks_like_path,
    reachable,
    short,
)

_CLASSES = 1000
_V1 = "IMAGENET1K_V1"
# what their builders set when they are asked for weights, and not otherwise
_AS_TRAINED = {
    name: {"transform_input": True, "aux_logits": True, "init_weights": False}
    for name in ("googlenet", "inception_v3")
}


def load(rest: str, runtime: Runtime = FP32) -> ClassifierModel:
    """Load `<name>`, `<name>/<weights>` or `<name>/<checkpoint file>`.

    Raises:
        ConfigError: unknown name or weights, no such file, weights that do not fit, or
            preprocessing that is not supported.
        RemoteError: weights are not at hand and cannot be fetched.
    """
    import torch
    from torchvision import models

    name = f"torchvision:{rest}"
    architecture, file, weights = _find(rest, name)
    if file is None:
        _fetch(weights, name)
    try:
        if file is None:
            network = models.get_model(architecture, weights=weights, progress=False)
        else:
            network = models.get_model(
                architecture, weights=None, **_AS_TRAINED.get(architecture, {})
            )
            state = torch.load(file, map_location="cpu", weights_only=True)
            network.load_state_dict(state, strict=True)
    except Exception as error:  # the library raises whatever its readers raise
        where = f" from {file or cached_file(weights)}"
        message = f"model {name!r} cannot be loaded{where}: {short(error)}"
        raise ConfigError(message) from error
    wanted = weights.transforms()
    sha256 = digest(network.state_dict())
    tower = Tower(network.eval(), mean=wanted.mean, std=wanted.std, runtime=runtime)
    return ClassifierModel(
        name=name,
        spec=_spec(wanted, name),
        weights=sha256,
        note=_note(rest, file, weights),
        dtype=tower.dtype,
        _tower=tower,
    )


def identity(rest: str) -> str:
    """A checkpoint's sha256; for a name, whose file is fixed, torchvision's version."""
    _, _, weights = rest.partition("/")
    if weights and looks_like_path(weights):
        return file_identity(checkpoint(weights, model=f"torchvision:{rest}"))
    return f"torchvision-{version('torchvision')}"


def available() -> list[ModelInfo]:
    """Every ImageNet-1k classifier and each of its weights.

    The note names the file that is needed where it is not at hand.
    """
    found = []
    for architecture in _names():
        for weights in _weights_of(architecture):
            path = cached_file(weights)
            there = path.is_file()
            found.append(
                ModelInfo(
                    name=f"torchvision:{architecture}/{weights.name}",
                    kind="classifier",
                    at_hand=there,
                    note="" if there else f"needs {path.name}",
                )
            )
    return found


def cached_file(weights: Any) -> Path:  # noqa: ANN401
    """Where torch.hub keeps the file of a torchvision weights entry."""
    from torch import hub

    return Path(hub.get_dir()) / "checkpoints" / str(weights.url).rpartition("/")[2]


def _names() -> list[str]:
    from torchvision import models

    return [
        name
        for name in models.list_models(module=models)
        if _weights_of(name)  # those for classes, and not for features alone
    ]


def _weights_of(architecture: str) -> list[Any]:
    """Entries with a logit for each of ImageNet's classes, V1 first where it exists."""
    from torchvision import models

    entries = models.get_model_weights(architecture)
    fit = [w for w in entries if len(w.meta.get("categories") or ()) == _CLASSES]
    return sorted(fit, key=lambda entry: str(entry.name) != _V1)


def _find(rest: str, name: str) -> tuple[str, Path | None, Any]:
    """Architecture, checkpoint file if one is named, and weights entry of a name."""
    architecture, _, asked = rest.partition("/")
    known = _names()
    if architecture not in known:
        message = (
            f"model {name!r}: torchvision has no ImageNet-1k classifier "
            f"{architecture!r}; {nearest(architecture, known)}"
        )
        raise ConfigError(message)
    entries = {entry.name: entry for entry in _weights_of(architecture)}
    if asked in entries:
        return architecture, None, entries[asked]
    if asked and looks_like_path(asked):
        first = next(iter(entries.values()))
        return architecture, checkpoint(asked, model=name), first
    if asked:
        message = (
            f"model {name!r}: {architecture} has no weights {asked!r}; "
            f"{nearest(asked, entries)}"
        )
        raise ConfigError(message)
    if _V1 not in entries:
        message = (
            f"model {name!r} lacks its weights: torchvision:{architecture}/<weights or "
            f"checkpoint file>; {nearest('', entries)}"
        )
        raise ConfigError(message)
    return architecture, None, entries[_V1]


def _fetch(weights: Any, name: str) -> None:  # noqa: ANN401
    """Have torch.hub download the weights, unless they are at hand."""
    from torch import hub

    path = cached_file(weights)
    if path.is_file():
        return
    what = f"weights of {name} ({path.name})"
    advice = (
        f"put {path.name} into {path.parent}, set TORCH_HOME to a folder whose "
        "hub/checkpoints has it, HTTPS_PROXY to a proxy that reaches the service, or "
        "give a checkpoint file in the model's name"
    )
    reachable(weights.url, needed_for=what, advice=advice)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        begins = hub.HASH_REGEX.search(path.name)
        sha256 = begins.group(1) if begins else None
        hub.download_url_to_file(weights.url, str(path), sha256, progress=False)
    except Exception as error:  # urllib's kinds, a wrong hash, a full disk
        message = f"{what}: the download failed ({short(error)}); {advice}"
        raise RemoteError(message) from error


def _note(rest: str, file: Path | None, weights: Any) -> str:  # noqa: ANN401
    if file is not None:
        return f"checkpoint file; preprocessing of torchvision's {weights.name}"
    said = f"torchvision weights {weights.name}"
    return said if "/" in rest else f"{said}, chosen because none were named"


def _spec(wanted: Any, name: str) -> PixelSpec:  # noqa: ANN401
    """The pixels of a torchvision `ImageClassification` transform."""
    crop, resize = list(wanted.crop_size), list(wanted.resize_size)
    kernel = wanted.interpolation.value
    if len(set(crop)) != 1 or len(resize) != 1 or kernel not in ("bicubic", "bilinear"):
        message = (
            f"model {name!r} wants preprocessing that is not supported: shorter side "
            f"{resize}, crop {crop}, {kernel}; allowed are squares cropped from the "
            "centre, bicubic or bilinear"
        )
        raise ConfigError(message)
    return PixelSpec(size=crop[0], resize_to=resize[0], interpolation=kernel)
