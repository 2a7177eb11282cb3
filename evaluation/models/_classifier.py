"""What every backend of ImageNet-1k classifiers returns."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from evaluation.models import Kind, PixelSpec
from evaluation.models._forward import Tower

if TYPE_CHECKING:
    import torch


@dataclass(slots=True, kw_only=True)
class ClassifierModel:
    """A loaded ImageNet-1k classifier; see `evaluation.models.Model`."""

    name: str
    spec: PixelSpec
    weights: str
    note: str = ""
    kind: Kind = "classifier"
    dtype: str = "float32"
    quick_gelu: bool | None = None
    _tower: Tower = field(repr=False)

    @property
    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Means and standard deviations of the pixels."""
        return self._tower.normalisation

    def images(self, pixels: "torch.Tensor") -> "torch.Tensor":
        """(N, 3, size, size) uint8 to (N, 1000) float32 logits, on the CPU."""
        return self._tower(pixels)
