"""Models by name: `<backend>:<model>`.

One file here is one backend; the file's name is the backend's name, so there is no
registry to edit. A backend module has

    load(rest: str, runtime: Runtime) -> Model   # `rest` follows "<backend>:"
    identity(rest: str) -> str        # without torch: what tells its weights apart
    available() -> list[ModelInfo]    # what can be named, and whether it is at hand

A model is one of three kinds. "zero_shot" compares photos with texts, "classifier" has
one logit per ImageNet class, "lvlm" says how likely an answer to a question is.

Packages outside join with an entry point in the group `counterset.models` whose name is
the backend and whose value is such a module.
"""

import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Literal, Protocol, cast, runtime_checkable

from evaluation.errors import ConfigError, nearest

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

Kind = Literal["zero_shot", "classifier", "lvlm"]
Precision = Literal["fp32", "bf16"]
Decoder = Literal["pillow", "torchvision"]


@dataclass(frozen=True, slots=True)
class Runtime:
    """How models are run.

    Attributes:
        precision: "fp32", or "bf16": weights and activations of the image tower in
            bfloat16. Texts, normalisation, similarity and softmax stay in float32.
        device: "cpu", "cuda", "cuda:1"; "auto" is every GPU of the machine, else the
            CPU.
        decoder: "pillow", whose pixels are those of the models' own pipelines, or
            "torchvision": JPEGs are decoded and resized where the models run, sooner on
            a GPU, to pixels that differ a little. Files that are not plain JPEGs (see
            `images.plain_jpeg`), and vision-language models, have Pillow's either way.
        trainable: weights stay as they were loaded, so that they can be tuned; else
            they may be laid out for speed.
    """

    precision: Precision = "fp32"
    device: str = "auto"
    decoder: Decoder = "pillow"
    trainable: bool = False


FP32 = Runtime()


@dataclass(frozen=True, slots=True)
class PixelSpec:
    """How a decoded photo becomes `size` × `size` RGB bytes.

    Models whose values are equal share decoded photos. Normalisation is not here: it is
    done by the model, on its device, from uint8.

    Attributes:
        size: side of the square handed to the model, in pixels.
        resize: "shortest" resizes the shorter side to `resize_to`, "squash" both sides,
            changing the aspect; the centre is cropped from either.
        resize_to: length of that side, or of both, before the crop, in pixels.
        interpolation: PIL filter, antialiased as PIL does.
        decoder: what decodes and resizes plain JPEGs; see `Runtime`.
    """

    size: int
    resize: Literal["shortest", "squash"] = "shortest"
    resize_to: int = 224
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    decoder: Decoder = "pillow"


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A line of `counterset models`."""

    name: str
    kind: Kind
    at_hand: bool
    note: str = ""


@runtime_checkable
class Model(Protocol):
    """What every backend returns.

    Attributes:
        name: full name as asked for, such as "timm:resnet50".
        kind: "zero_shot", "classifier" (1,000 ImageNet logits) or "lvlm".
        spec: pixels it wants.
        weights: sha256 (hex) over its weights.
        dtype: dtype the image tower runs in, such as "float32".
        quick_gelu: activation of the checkpoint; None where it has no meaning.
        note: what a reader must know of it, such as "demonstration model, no labeller".
    """

    name: str
    kind: Kind
    spec: PixelSpec
    weights: str
    dtype: str
    quick_gelu: bool | None
    note: str

    def images(self, pixels: "torch.Tensor") -> "torch.Tensor":
        """Features of photos.

        Args:
            pixels: (N, 3, size, size) uint8, RGB.

        Returns: float32 on the CPU. zero_shot: (N, D) embeddings of unit length;
            classifier: (N, 1000) logits in ImageNet order.
        """
        ...


@runtime_checkable
class ZeroShotModel(Model, Protocol):
    """A model that also reads text.

    Attributes:
        logit_scale: factor on cosines.
        logit_bias: added after; 0 for most.
        link: how it was trained to turn logits into probabilities: "softmax" over
            texts, or "sigmoid" of each pair (SigLIP).
    """

    logit_scale: float
    logit_bias: float
    link: Literal["softmax", "sigmoid"]

    def texts(self, prompts: list[str]) -> "torch.Tensor":
        """(M, D) float32 embeddings of unit length, on the CPU."""
        ...


@runtime_checkable
class AnsweringModel(Model, Protocol):
    """A vision-language model: how likely an answer to a question about a photo is.

    It has no use for `images`, which raises.
    """

    def lengths(self, pairs: Sequence[tuple[str, str]]) -> "NDArray[np.int32]":
        """Tokens of the answer of each (question, answer)."""
        ...

    def pair_losses(
        self, pixels: "torch.Tensor", pairs: Sequence[Sequence[tuple[str, str]]]
    ) -> "list[NDArray[np.float32]]":
        """As `losses`, of N lists of (question, answer)."""
        ...

    def losses(
        self, pixels: "torch.Tensor", question: str, answers: Sequence[Sequence[str]]
    ) -> "list[NDArray[np.float32]]":
        """Negative log-likelihood of each answer, summed over its tokens.

        Args:
            pixels: (N, 3, size, size) uint8, RGB.
            question: asked of every photo.
            answers: N lists of candidate answers.

        Returns: N arrays, nats, in the answers' order.
        """
        ...


@runtime_checkable
class StoredModel(Model, Protocol):
    """A model known by what it once said; it sees no pixels, and `images` raises."""

    def stored(
        self, photo_ids: Sequence[str]
    ) -> "tuple[NDArray[np.float32], list[str | None]]":
        """(N, D) features as `images` gives them, and why a photo has none."""
        ...


class Backend(Protocol):
    """What a module in this folder provides."""

    def load(self, rest: str, runtime: Runtime) -> Model:
        """Load the model named by what follows `<backend>:`."""

    def identity(self, rest: str) -> str:
        """Tell weights apart without loading them."""

    def available(self) -> list[ModelInfo]:
        """What can be named."""


def backends() -> dict[str, Backend]:
    """Backends by name: modules of this folder, then entry points."""
    found: dict[str, Backend] = {
        module.name: cast(
            "Backend", importlib.import_module(f"{__name__}.{module.name}")
        )
        for module in pkgutil.iter_modules(__path__)
        if not module.name.startswith("_")
    }
    for point in entry_points(group="counterset.models"):
        found.setdefault(point.name, point.load())
    return found


def available(names: Sequence[str] | None = None) -> list[ModelInfo]:
    """What can be evaluated, and whether its weights are at hand.

    Args:
        names: only these, in this order; those no backend lists are not at hand.
    """
    wanted = None if names is None else {name.partition(":")[0] for name in names}
    found = [
        info
        for name, backend in backends().items()
        if wanted is None or name in wanted
        for info in backend.available()
    ]
    if names is None:
        return found
    by_name = {info.name: info for info in found}
    return [by_name.get(name) or _unlisted(name) for name in names]


def _unlisted(name: str) -> ModelInfo:
    backend = name.partition(":")[0]
    kind: Kind = "lvlm" if backend == "lvlm" else "classifier"
    return ModelInfo(name, kind, at_hand=False, note="not among the backend's own")


def _backend(name: str) -> tuple[Backend, str]:
    backend, colon, rest = name.partition(":")
    known = backends()
    if not colon or not rest or backend not in known:
        message = (
            f"unknown model {name!r}: a model is named <backend>:<model>; "
            f"{nearest(backend, known)}"
        )
        raise ConfigError(message)
    return known[backend], rest


def load(name: str, runtime: Runtime = FP32) -> Model:
    """Load a model by its full name.

    Args:
        name: full name, such as "timm:resnet50".
        runtime: precision, device and decoder.

    Raises:
        ConfigError: no such backend or model (the nearest names are given), or the
            decoder cannot be had.
        RemoteError: weights are not at hand and cannot be fetched.
    """
    backend, rest = _backend(name)
    if runtime.decoder == "pillow":
        return backend.load(rest, runtime)
    importlib.import_module("evaluation._jpeg").check()  # before weights are fetched
    model = backend.load(rest, runtime)
    if model.kind != "lvlm" and not isinstance(model, StoredModel):
        model.spec = replace(model.spec, decoder=runtime.decoder)
    return model


def identity(name: str) -> str:
    """What makes this model's weights differ from another's, without loading them."""
    backend, rest = _backend(name)
    return f"{name}@{backend.identity(rest)}"
