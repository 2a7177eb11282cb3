"""Models by name: `<backend>:<model>`.

One file here is one backend; the file's name is the backend's name, so there is no
registry to edit. A backend module has

    load(rest: str) -> Model          # `rest` is what follows "<backend>:"
    identity(rest: str) -> str        # without torch: what tells its weights apart
    available() -> list[ModelInfo]    # what can be named, and whether it is at hand

Packages outside join with an entry point in the group `counterset.models` whose name is
the backend and whose value is such a module.
"""

import importlib
import pkgutil
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Literal, Protocol, cast, runtime_checkable

from evaluation.errors import ConfigError, nearest

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class PixelSpec:
    """How a decoded photo becomes `size` × `size` RGB bytes.

    Models whose values are equal share decoded photos. Normalisation is not here: it is
    done by the model, on its device, from uint8.

    Attributes:
        size: side of the square handed to the model, in pixels.
        resize: "shortest" resizes the shorter side to `resize_to` and crops the centre;
            "squash" resizes both sides to `size`, changing the aspect.
        resize_to: length of the shorter side before the crop, in pixels.
        interpolation: PIL filter, antialiased as PIL does.
    """

    size: int
    resize: Literal["shortest", "squash"] = "shortest"
    resize_to: int = 224
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A line of `counterset models`."""

    name: str
    kind: Literal["zero_shot", "classifier"]
    at_hand: bool
    note: str = ""


@runtime_checkable
class Model(Protocol):
    """What every backend returns.

    Attributes:
        name: full name as asked for, such as "timm:resnet50".
        kind: "zero_shot" compares with text; "classifier" has 1,000 ImageNet logits.
        spec: pixels it wants.
        weights: sha256 (hex) over its weights.
        dtype: dtype the image tower runs in, such as "float32".
        quick_gelu: activation of the checkpoint; None where it has no meaning.
        note: what a reader must know of it, such as "demonstration model, no labeller".
    """

    name: str
    kind: Literal["zero_shot", "classifier"]
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
    """A model that also reads text."""

    logit_scale: float
    logit_bias: float

    def texts(self, prompts: list[str]) -> "torch.Tensor":
        """(M, D) float32 embeddings of unit length, on the CPU."""
        ...


class Backend(Protocol):
    """What a module in this folder provides."""

    def load(self, rest: str) -> Model:
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


def load(name: str) -> Model:
    """Load a model by its full name.

    Raises:
        ConfigError: no such backend or model (the nearest names are given).
        RemoteError: weights are not at hand and cannot be fetched.
    """
    backend, rest = _backend(name)
    return backend.load(rest)


def identity(name: str) -> str:
    """What makes this model's weights differ from another's, without loading them."""
    backend, rest = _backend(name)
    return f"{name}@{backend.identity(rest)}"
