"""`open_clip:<model>/<tag>`: image-text models of the OpenCLIP library.

Also `open_clip:<model>/<checkpoint file>`, and `open_clip:local-dir:<folder>` for a
folder with `open_clip_config.json` and weights, as the library itself writes them.

A checkpoint trained with QuickGELU and run without it (or the reverse) loses points
without a word, so a tag and a model that disagree are an error here. Of a checkpoint
file it cannot be known, so the note says how it was run; a folder brings its own
configuration.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from evaluation.errors import ConfigError, nearest
from evaluation.models import FP32, Kind, ModelInfo, PixelSpec, Runtime
from evaluation.models._forward import Tower, devices
from evaluation.models._weights import (
    cached,
    checkpoint,
    digest,
    file_identity,
    from_hub,
    looks_like_path,
    short,
)

if TYPE_CHECKING:
    import torch

_LOCAL = "local-dir:"
_TEXT_BATCH = 128
_STEP = 16
"""Texts are cut to a multiple of it: at other lengths sums run in another order, and
embeddings differ from open_clip's by 1e-6 instead of 1e-7 (as its own batches do)."""


@dataclass(slots=True, kw_only=True)
class OpenClipModel:
    """A loaded image-text model; see `evaluation.models.ZeroShotModel`."""

    name: str
    spec: PixelSpec
    weights: str
    quick_gelu: bool | None
    logit_scale: float
    logit_bias: float
    note: str = ""
    kind: Kind = "zero_shot"
    link: Literal["softmax", "sigmoid"] = "softmax"
    dtype: str = "float32"
    _network: Any = field(repr=False)
    _tokenizer: Any = field(repr=False)
    _tower: Tower = field(repr=False)

    @property
    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Means and standard deviations of the pixels."""
        return self._tower.normalisation

    def images(self, pixels: "torch.Tensor") -> "torch.Tensor":
        """(N, 3, size, size) uint8 to (N, D) float32 of unit length, on the CPU."""
        from torch.nn.functional import normalize

        return self._tower(pixels, normalize)

    def texts(self, prompts: list[str]) -> "torch.Tensor":
        """(M, D) float32 of unit length, on the CPU."""
        import torch

        tokens = self._tokenizer(prompts)
        order = (tokens != 0).sum(dim=-1).argsort(stable=True)  # short with short
        found = torch.empty(0)
        with torch.inference_mode():
            for rows in order.split(_TEXT_BATCH):
                part = tokens[rows].to(self._tower.device)
                values = _encode(self._network, part).float().cpu()
                if not len(found):
                    found = torch.empty(len(prompts), values.shape[1])
                found[rows] = values
        return found


def load(rest: str, runtime: Runtime = FP32) -> OpenClipModel:
    """Load `<model>/<tag>`, `<model>/<checkpoint file>` or `local-dir:<folder>`.

    Raises:
        ConfigError: unknown model or tag, no such file, weights that do not fit the
            model, a QuickGELU mismatch, or preprocessing that is not supported.
        RemoteError: weights are not at hand and cannot be fetched.
    """
    import open_clip

    name = f"open_clip:{rest}"
    overlay: Mapping[str, Any] = {}
    if rest.startswith(_LOCAL):
        architecture, weights_file = rest, None
    else:
        architecture, weights_file, overlay = _find(rest, name)
    try:
        network = open_clip.create_model(
            architecture,
            pretrained=str(weights_file) if weights_file else None,
            pretrained_image=False,
            pretrained_text=False,
            require_pretrained=True,
            force_preprocess_cfg=_preprocessing(overlay),
            device="cpu",
        )
        tokenizer = open_clip.get_tokenizer(architecture)
    except ImportError as error:
        message = f"model {name!r} needs a package that is not installed: {error}"
        raise ConfigError(message) from error
    except Exception as error:  # the library raises whatever its readers raise
        message = f"model {name!r} cannot be loaded: {short(error)}"
        raise ConfigError(message) from error
    return wrap(
        network.eval(),
        tokenizer,
        name=name,
        config=_config(architecture),
        note=_note(rest, architecture, overlay),
        runtime=runtime,
    )


def wrap(
    network: Any,  # noqa: ANN401
    tokenizer: Any,  # noqa: ANN401
    *,
    name: str,
    config: Mapping[str, Any],
    note: str = "",
    runtime: Runtime = FP32,
) -> OpenClipModel:
    """A network built by open_clip, with its weights in place, as a model.

    Args:
        network: from `open_clip.create_model`, in evaluation mode.
        tokenizer: from `open_clip.get_tokenizer`.
        name: full name as asked for.
        config: the library's model configuration; only `quick_gelu` is read.
        note: what a reader must know of it.
        runtime: precision of the image tower, and where both towers run.

    Raises:
        ConfigError: preprocessing that is not supported, or no such device.
    """
    wanted = network.visual.preprocess_cfg
    spec = _spec(wanted, name)
    weights = digest(network.state_dict())  # before any is converted
    network = network.to(devices(runtime.device)[0])
    bias = network.logit_bias
    tower = Tower(
        network.visual, mean=wanted["mean"], std=wanted["std"], runtime=runtime
    )
    return OpenClipModel(
        name=name,
        spec=spec,
        weights=weights,
        dtype=tower.dtype,
        quick_gelu=bool(config.get("quick_gelu", False)),
        logit_scale=float(network.logit_scale.detach().float().exp()),
        logit_bias=0.0 if bias is None else float(bias.detach().float()),
        link="softmax" if bias is None else "sigmoid",
        note=note,
        _network=network,
        _tokenizer=tokenizer,
        _tower=tower,
    )


def _encode(network: Any, tokens: "torch.Tensor") -> "torch.Tensor":  # noqa: ANN401
    """As `encode_text`, normalised, without the padding behind the longest prompt.

    Under a causal mask nothing behind a prompt's end can change the token that is read
    there, and most prompts have some ten tokens of 77. Other text towers read them all.
    """
    from open_clip.model import CLIP
    from torch.func import functional_call
    from torch.nn.functional import normalize

    length = _reach(network, tokens)
    if length is None:
        found: torch.Tensor = network.encode_text(tokens, normalize=True)
        return found
    own = type(network) is CLIP  # else its tower is a module of its own
    tower = network if own else network.text
    shorter = {
        "positional_embedding": tower.positional_embedding[:length],
        "attn_mask": tower.attn_mask[:length, :length],
    }
    if own:
        given = {"text": tokens[:, :length]}
        answer = functional_call(tower, shorter, kwargs=given)
        values = answer["text_features"] if isinstance(answer, dict) else answer[1]
    else:
        values = functional_call(tower, shorter, (tokens[:, :length],))
    return normalize(values, dim=-1)


def _reach(network: Any, tokens: "torch.Tensor") -> int | None:  # noqa: ANN401
    """Tokens up to the last that any prompt is read at, or some more; None for all."""
    from open_clip.model import CLIP
    from open_clip.transformer import TextTransformer

    tower: Any = network
    if type(network) is CLIP:
        pool, eos = network.text_pool_type, network.text_eos_id
    else:
        tower = getattr(network, "text", None)
        if type(tower) is not TextTransformer or tower.cls_emb is not None:
            return None
        pool, eos = tower.pool_type, tower.eos_id
    ends = {"argmax": tokens, "eos": (tokens == eos).int()}.get(pool)
    if tower.attn_mask is None or ends is None or not bool(ends.any(dim=-1).all()):
        return None
    reach = int(ends.argmax(dim=-1).max()) + 1
    return min(-(-reach // _STEP) * _STEP, tokens.shape[1])


def identity(rest: str) -> str:
    """A checkpoint's sha256; for a tag, which is fixed, the library's version."""
    name = f"open_clip:{rest}"
    if rest.startswith(_LOCAL):
        folder = Path(rest.removeprefix(_LOCAL))
        if not folder.is_dir():
            message = f"model {name!r}: there is no folder {folder}"
            raise ConfigError(message)
        files = sorted(path for path in folder.iterdir() if path.is_file())
        return " ".join(f"{path.name}={file_identity(path)}" for path in files)
    _, _, tag = rest.partition("/")
    if tag and looks_like_path(tag):
        return file_identity(checkpoint(tag, model=name))
    return f"open_clip_torch-{version('open_clip_torch')}"


def available() -> list[ModelInfo]:
    """Every model and tag of the library whose QuickGELU setting agrees."""
    import open_clip

    found = []
    for architecture, tag in open_clip.list_pretrained():
        settings = open_clip.get_pretrained_cfg(architecture, tag)
        if not _agree(architecture, settings):
            continue
        repo, names = _hub_files(settings)
        found.append(
            ModelInfo(
                name=f"open_clip:{architecture}/{tag}",
                kind="zero_shot",
                at_hand=cached(repo, names) is not None,
            )
        )
    return found


def _config(architecture: str) -> Mapping[str, Any]:
    import open_clip

    config: Mapping[str, Any] = open_clip.get_model_config(architecture)
    return config


def _find(rest: str, name: str) -> tuple[str, Path, Mapping[str, Any]]:
    """Architecture, weights file and preprocessing of `<model>/<tag or file>`."""
    import open_clip

    architecture, _, tag = rest.partition("/")
    if architecture not in open_clip.list_models():
        hint = nearest(architecture, open_clip.list_models())
        message = f"model {name!r}: open_clip has no model {architecture!r}; {hint}"
        raise ConfigError(message)
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if not tag:
        message = (
            f"model {name!r} lacks its weights: open_clip:{architecture}/<tag or "
            f"checkpoint file>; {nearest('', tags) if tags else 'it has no tags'}"
        )
        raise ConfigError(message)
    if looks_like_path(tag):
        return architecture, checkpoint(tag, model=name), {}
    settings = open_clip.get_pretrained_cfg(architecture, tag)
    if not settings:
        message = (
            f"model {name!r}: {architecture} has no weights {tag!r}; "
            f"{nearest(tag, tags)}"
        )
        raise ConfigError(message)
    _check_quick_gelu(architecture, tag, settings, name)
    repo, names = _hub_files(settings)
    return architecture, from_hub(repo, names, model=name), settings


def _agree(architecture: str, settings: Mapping[str, Any]) -> bool:
    """Whether a tag was trained with the activation that the model runs with.

    A model that has QuickGELU without the ending -quickgelu has no twin without it: its
    weights were trained with that very configuration, whatever their list leaves out.
    """
    runs = bool(_config(architecture).get("quick_gelu", False))
    trained = bool(settings.get("quick_gelu", False))
    return runs == trained or (runs and not architecture.endswith("-quickgelu"))


def _note(rest: str, architecture: str, settings: Mapping[str, Any]) -> str:
    """What is not known of a checkpoint file; nothing for tags and folders."""
    if settings or rest.startswith(_LOCAL):
        return ""
    runs = "with" if _config(architecture).get("quick_gelu", False) else "without"
    return (
        f"checkpoint file, run {runs} QuickGELU as {architecture} is; the file does "
        "not say which it was trained with"
    )


def _check_quick_gelu(
    architecture: str, tag: str, settings: Mapping[str, Any], name: str
) -> None:
    import open_clip

    if _agree(architecture, settings):
        return
    trained = bool(settings.get("quick_gelu", False))
    other = (
        f"{architecture}-quickgelu"
        if trained
        else architecture.removesuffix("-quickgelu")
    )
    right = (
        f"use open_clip:{other}/{tag}"
        if other in open_clip.list_models()
        else f"open_clip has no model {other!r} that fits"
    )
    message = (
        f"model {name!r}: {tag} was trained {'with' if trained else 'without'} "
        f"QuickGELU, {architecture} runs {'without' if trained else 'with'} it, and "
        f"its accuracy would be silently wrong; {right}"
    )
    raise ConfigError(message)


def _hub_files(settings: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Repository and file names of a tag's weights, safetensors first."""
    from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

    repo, _, file = settings["hf_hub"].rpartition("/")
    if not file:
        return repo, [HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME]
    stem = file.removesuffix(".bin").removesuffix(".pth").removesuffix(".pt")
    names = [file] if file == stem else [f"{stem}.safetensors", file]
    return repo, list(dict.fromkeys(names))


def _preprocessing(settings: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("mean", "std", "interpolation", "resize_mode", "fill_color")
    return {key: settings[key] for key in keys if key in settings}


def _spec(wanted: Mapping[str, Any], name: str) -> PixelSpec:
    size = wanted["size"]
    sides = {size} if isinstance(size, int) else set(size)
    modes, kernels = ("shortest", "squash"), ("bicubic", "bilinear")
    if (
        len(sides) != 1
        or wanted["resize_mode"] not in modes
        or wanted["interpolation"] not in kernels
    ):
        message = (
            f"model {name!r} wants preprocessing that is not supported: size {size}, "
            f"resize {wanted['resize_mode']} (allowed: {', '.join(modes)}), "
            f"interpolation {wanted['interpolation']} (allowed: {', '.join(kernels)})"
        )
        raise ConfigError(message)
    side = int(sides.pop())
    return PixelSpec(
        size=side,
        resize=wanted["resize_mode"],
        resize_to=side,
        interpolation=wanted["interpolation"],
    )
