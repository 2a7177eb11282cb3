"""What a demonstration model does on scenes it was not trained on.

All of it is measured on pictures made for measuring: neither the training's nor the
demo's own photos, but the demo's scenes.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curation import config
from curation.demo import design
from curation.demo.assets import pictures
from curation.demo.compose import SHARE
from curation.demo.pictures import View, checks, classes, unseen
from evaluation.models import demo

if TYPE_CHECKING:
    import torch

    Reader = Callable[[list[str]], torch.Tensor]

_SEED = 9_000


def card_folder() -> Path:
    """`data_cards/demo`: beside the packages in a checkout, inside them in a wheel."""
    package = Path(config.__file__).parent
    places = [package.parent / "data_cards" / "demo", package / "data_cards" / "demo"]
    return next((path for path in places if path.is_dir()), places[0])


def report(
    network: Any,  # noqa: ANN401
    features: "Callable[[Sequence[View]], torch.Tensor]",
) -> dict[str, Any]:
    """Accuracy on and off the planted background, and of background proposals.

    Args:
        network: an open_clip model whose trunk is that of the features.
        features: gives (N, D) float32 for views.

    Returns: fractions; keys name what they are of.
    """
    read = _reader(network)
    views = checks(SHARE, seed=_SEED)
    right = _animals(network, features(views), views, read)
    strange = unseen(SHARE, seed=_SEED)
    real = [
        View(None, photo, "", (_SEED, 3_000 + number))
        for number, photo in enumerate(pictures("original"))
        if photo.index is not None and photo.background in demo_labels()
    ]
    return {
        "animals": _by_half(views, right),
        "proposals_unseen_composites": _proposals(
            network, features(strange), strange, read
        ),
        "proposals_real_photos": _proposals(network, features(real), real, read),
    }


def demo_labels() -> dict[str, list[str]]:
    """Background prompts of the demo's dataset.toml."""
    found = config.load(card_folder() / "dataset.toml").backgrounds
    return {background.name: list(background.prompts) for background in found}


def _reader(network: Any) -> "Reader":  # noqa: ANN401
    import torch

    tokenizer = demo.tokenizer()

    def read(prompts: list[str]) -> "torch.Tensor":
        with torch.inference_mode():
            return torch.Tensor(
                network.encode_text(tokenizer(prompts), normalize=True)
            ).clone()

    return read


def _embed(network: Any, values: "torch.Tensor") -> "torch.Tensor":  # noqa: ANN401
    import torch

    with torch.inference_mode():
        found = network.visual.head(values)
        return torch.Tensor(found / found.norm(dim=-1, keepdim=True)).clone()


def _animals(
    network: Any,  # noqa: ANN401
    values: "torch.Tensor",
    views: Sequence[View],
    read: "Reader",
) -> list[bool]:
    """Whether each view's animal is named, among all of the classes."""
    names = [design.name(index) for index in classes()]
    texts = read([f"A photo of {name}." for name in names])
    best = (_embed(network, values) @ texts.T).argmax(1).tolist()
    return [names[b] == view.animal for b, view in zip(best, views, strict=True)]


def _by_half(views: Sequence[View], right: Sequence[bool]) -> dict[str, Any]:
    """Accuracy by planted half, and per class and background."""
    planted = {design.name(index): label for index, label in design.PLANTED.items()}
    cells: dict[tuple[str, str], list[bool]] = {}
    halves: dict[str, list[bool]] = {}
    for view, ok in zip(views, right, strict=True):
        own, label = planted.get(view.animal), view.scene.background
        half = "unplanted" if own is None else ("on" if own == label else "off")
        halves.setdefault(half, []).append(ok)
        cells.setdefault((view.animal, label), []).append(ok)
    table: dict[str, dict[str, float]] = {}
    for (animal, label), found in cells.items():
        table.setdefault(animal, {})[label] = _mean(found)
    return {half: _mean(found) for half, found in sorted(halves.items())} | {
        "per_class": table
    }


def _proposals(
    network: Any,  # noqa: ANN401
    values: "torch.Tensor",
    views: Sequence[View],
    read: "Reader",
) -> dict[str, Any]:
    """Top-1 accuracy of background proposals, as the stage `propose` makes them."""
    prompts = demo_labels()
    labels = list(prompts)
    names = [view.animal or view.scene.name for view in views]
    texts = {name: _directions(prompts, name, read) for name in dict.fromkeys(names)}
    best = [
        labels[int((texts[name] @ value).argmax())]
        for name, value in zip(names, _embed(network, values), strict=True)
    ]
    right = [b == view.scene.background for b, view in zip(best, views, strict=True)]
    per: dict[str, list[bool]] = {}
    for ok, view in zip(right, views, strict=True):
        per.setdefault(view.scene.background, []).append(ok)
    return {
        "top1": _mean(right),
        "n": len(right),
        "per_background": {label: _mean(found) for label, found in sorted(per.items())},
        "photos_per_background": {label: len(found) for label, found in per.items()},
    }


def _directions(
    prompts: dict[str, list[str]], name: str, read: "Reader"
) -> "torch.Tensor":
    """(B, D) direction of each background for one animal."""
    import torch

    means = [
        read([p.replace("{}", name) for p in some]).mean(0) for some in prompts.values()
    ]
    return torch.stack([mean / mean.norm() for mean in means])


def _mean(values: Sequence[bool]) -> float:
    return round(float(np.mean(values)), 3)
