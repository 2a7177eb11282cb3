"""Whose results were selected on: the discovery models, and models close to them.

Groups are picked where the discovery model fails, so its drop is too large on the
photos that picked; and so, to a lesser degree, is that of a model that makes the same
mistakes: one of the same architecture, or trained on the same pictures.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_RUN = re.compile(r"[es]?\d+[bkm]?|b\d+k|[a-z]\d|ft|ema|soup|\d+res|e")
"""Parts of a tag that name a training run, not what it saw: e31, s34b, b88k, a1."""

_DEMO = {
    "clip": ("tf_efficientnet_lite0", "demo composites, planted"),
    "clip-balanced": ("tf_efficientnet_lite0", "demo composites, balanced"),
    "lite0": ("tf_efficientnet_lite0", "in1k"),
    "lite1": ("tf_efficientnet_lite1", "in1k"),
    "lite2": ("tf_efficientnet_lite2", "in1k"),
}


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a model comes from, as far as its name tells; empty: the name is silent."""

    architecture: str
    pretraining: str


def lineage(model: str) -> Lineage:
    """Architecture and training pictures by a model's full name.

    Example:
        >>> lineage("open_clip:ViT-B-32-quickgelu/laion400m_e31")
        Lineage(architecture='vit-b-32', pretraining='laion400m')
        >>> lineage("timm:vit_base_patch16_clip_224.laion2b").pretraining
        'laion2b'
        >>> lineage("torchvision:resnet50/IMAGENET1K_V1")
        Lineage(architecture='resnet50', pretraining='in1k')
    """
    backend, _, rest = model.partition(":")
    if backend == "demo" and rest in _DEMO:
        return Lineage(*_DEMO[rest])
    separator = "." if backend == "timm" else "/"
    architecture, _, tag = rest.partition(separator)
    architecture = architecture.lower().removesuffix("-quickgelu")
    if backend == "torchvision":
        return Lineage(architecture, "in1k")
    if "/" in tag or tag.endswith((".pt", ".pth", ".bin", ".safetensors")):
        return Lineage(architecture, "")
    parts = tag.lower().split("_")
    while len(parts) > 1 and _RUN.fullmatch(parts[-1]):
        parts.pop()
    while len(parts) > 1 and _RUN.fullmatch(parts[0]):
        parts.pop(0)
    return Lineage(architecture, "_".join(parts))


def selected_on(
    model: str,
    discovery: Iterable[str],
    *,
    weights: Mapping[str, str] | None = None,
) -> str:
    """Why a model's results on these groups are selected on; empty when they are not.

    Args:
        model: full name of the model whose results are shown.
        discovery: full names of the discovery models.
        weights: sha256 of weights by full name, where known: the same weights under
            another name are the same model.

    Example:
        >>> reference = ["open_clip:ViT-B-32-quickgelu/laion400m_e32"]
        >>> selected_on("open_clip:ViT-B-16/laion400m_e32", reference)
        'trained on laion400m as open_clip:ViT-B-32-quickgelu/laion400m_e32'
        >>> selected_on("torchvision:resnet50/IMAGENET1K_V1", reference)
        ''
    """
    known = weights or {}
    reasons = []
    own = lineage(model)
    for other in discovery:
        if other == model:
            return "discovery model"
        if known.get(model) and known.get(model) == known.get(other):
            return f"same weights as {other}"
        theirs = lineage(other)
        if own.architecture == theirs.architecture:
            reasons.append(f"same architecture as {other}")
        if own.pretraining and own.pretraining == theirs.pretraining:
            reasons.append(f"trained on {own.pretraining} as {other}")
    return "; ".join(reasons)
