"""`timm:<name>`: ImageNet-1k classifiers of the timm library.

`<name>` may carry timm's weights tag, as in `timm:resnet50.a1_in1k`; without one timm
chooses, and the choice is kept in the model's note. `timm:<name>/<checkpoint file>`
loads a file instead. Pictures get the training size (timm's `input_size`, not its
larger `test_input_size`), as `timm.data.resolve_data_config` gives it.
"""

import math
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from evaluation.errors import ConfigError, nearest
from evaluation.models import FP32, ModelInfo, PixelSpec, Runtime
from evaluation.models._classifier import ClassifierModel
from evaluation.models._forward import Tower
from evaluation.models._weights import (
    cached,
    checkpoint,
    digest,
    file_identity,
    from_hub,
    short,
)

_FILES = ("model.safetensors", "pytorch_model.bin")
_CLASSES = 1000


def load(rest: str, runtime: Runtime = FP32) -> ClassifierModel:
    """Load `<name>` or `<name>/<checkpoint file>`.

    Raises:
        ConfigError: unknown name or tag, not an ImageNet-1k classifier, no such file,
            weights that do not fit, or preprocessing that is not supported.
        RemoteError: weights are not at hand and cannot be fetched.
    """
    import timm
    from timm.models import load_checkpoint

    name = f"timm:{rest}"
    architecture, _, file = rest.partition("/")
    settings = _settings(architecture, name)
    if file:
        path = checkpoint(file, model=name)
        note = ""
    elif settings is None or not settings.hf_hub_id:
        message = (
            f"model {name!r}: timm has no ImageNet-1k weights of {architecture} on the "
            f"Hub; give a checkpoint file, as timm:{architecture}/<file>"
        )
        raise ConfigError(message)
    else:
        path = from_hub(settings.hf_hub_id, _FILES, model=name)
        note = f"timm weights {settings.tag}" if settings.tag else ""
    try:
        network = timm.create_model(architecture, pretrained=False)
        load_checkpoint(network, str(path), strict=True)
    except Exception as error:  # the library raises whatever its readers raise
        message = f"model {name!r} cannot be loaded: {short(error)}"
        raise ConfigError(message) from error
    return wrap(network, name=name, note=note, runtime=runtime)


def wrap(
    network: Any,  # noqa: ANN401
    *,
    name: str,
    note: str = "",
    runtime: Runtime = FP32,
) -> ClassifierModel:
    """A network built by timm, with its weights in place, as a model.

    Args:
        network: from `timm.create_model`, 1,000 classes in ImageNet order.
        name: full name as asked for.
        note: what a reader must know of it.
        runtime: precision and device.

    Raises:
        ConfigError: not 1,000 classes, preprocessing that is not supported, or no such
            device.
    """
    from timm.data.config import resolve_data_config

    if network.num_classes != _CLASSES:
        message = (
            f"model {name!r} has {network.num_classes} classes; only ImageNet-1k "
            f"classifiers ({_CLASSES}) can be evaluated"
        )
        raise ConfigError(message)
    wanted = resolve_data_config({}, model=network)  # type: ignore[no-untyped-call]
    spec = _spec(wanted, name)
    weights = digest(network.state_dict())  # before any is converted
    tower = Tower(
        network.eval(), mean=wanted["mean"], std=wanted["std"], runtime=runtime
    )
    return ClassifierModel(
        name=name,
        spec=spec,
        weights=weights,
        note=note,
        dtype=tower.dtype,
        _tower=tower,
    )


def identity(rest: str) -> str:
    """A checkpoint's sha256; for a name, whose weights are fixed, timm's version."""
    _, _, file = rest.partition("/")
    if file:
        return file_identity(checkpoint(file, model=f"timm:{rest}"))
    return f"timm-{version('timm')}"


def available() -> list[ModelInfo]:
    """Every ImageNet-1k classifier that timm has weights for."""
    import timm
    from timm.models import get_pretrained_cfg

    found = []
    for architecture in timm.list_models(pretrained=True):
        settings = get_pretrained_cfg(architecture)
        if settings is None or settings.num_classes != _CLASSES:
            continue
        repo = settings.hf_hub_id
        found.append(
            ModelInfo(
                name=f"timm:{architecture}",
                kind="classifier",
                at_hand=repo is not None and cached(repo, _FILES) is not None,
            )
        )
    return found


def _settings(architecture: str, name: str) -> Any:  # noqa: ANN401
    """Timm's entry for a name with or without a tag; None when it has none."""
    import timm
    from timm.models import get_pretrained_cfg

    plain, _, tag = architecture.partition(".")
    if not timm.is_model(plain):
        hint = nearest(plain, timm.list_models())
        message = f"model {name!r}: timm has no model {plain!r}; {hint}"
        raise ConfigError(message)
    tags = [
        tagged.partition(".")[2]
        for tagged in timm.list_models(f"{plain}.*", pretrained=True)
    ]
    if tag and tag not in tags:
        message = (
            f"model {name!r}: {plain} has no weights {tag!r}; {nearest(tag, tags)}"
        )
        raise ConfigError(message)
    settings = get_pretrained_cfg(architecture)
    if settings is not None and settings.num_classes != _CLASSES:
        message = (
            f"model {name!r} has {settings.num_classes} classes; only ImageNet-1k "
            f"classifiers ({_CLASSES}) can be evaluated; tags: {', '.join(tags)}"
        )
        raise ConfigError(message)
    return settings


def _spec(wanted: Mapping[str, Any], name: str) -> PixelSpec:
    _, height, width = wanted["input_size"]
    mode, share = wanted["crop_mode"], wanted["crop_pct"]
    kernel = wanted["interpolation"]
    if (
        height != width
        or mode not in ("center", "squash")
        or kernel not in ("bicubic", "bilinear")
    ):
        message = (
            f"model {name!r} wants preprocessing that is not supported: "
            f"{height} × {width}, crop {mode} at {share}, {kernel}; allowed are "
            "squares, cropped from the centre of the photo or of the photo squashed, "
            "bicubic or bilinear"
        )
        raise ConfigError(message)
    return PixelSpec(
        size=height,
        resize="squash" if mode == "squash" else "shortest",
        resize_to=math.floor(height / share),
        interpolation=kernel,
    )
