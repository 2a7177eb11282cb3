"""The pictures that train and check the demonstration models, as features.

The trunk is frozen, so each picture goes through it once; what trains is small.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageEnhance

from curation.demo import design
from curation.demo.assets import (
    SHARED,
    TRAINING_GROUPS,
    Asset,
    backgrounds,
    opened,
    pictures,
)
from curation.demo.captions import PHRASES
from curation.demo.compose import FRAME, QUALITY, compose, place
from evaluation.images import decode, fit
from evaluation.models import PixelSpec
from evaluation.models._forward import forward

if TYPE_CHECKING:
    import torch

TRAINING_SHARE = (0.04, 0.12)
"""Part of the frame that an animal's box covers in training: less than in the demo's
photos, so that the background has its say, as in photos from the web."""

TRAINING_ZOOM = (0.4, 1.0)
"""Part of a scene's sides that a view without an animal shows."""

LIGHT = {"brightness": (0.7, 1.35), "contrast": (0.7, 1.3), "colour": (0.4, 1.4)}
WARMTH = (0.85, 1.15)
"""How a scene's light varies in training, so that a background is not its few photos:
factors of Pillow's enhancements, and of each channel."""

VIEWS = 8
"""Views of a background alone, and of a whole photo, that train."""

PIXELS = PixelSpec(size=224, resize="shortest", resize_to=256)
"""As `demo:lite0`, whose trunk this is."""

_BATCH = 32


@dataclass(frozen=True, slots=True)
class View:
    """One picture to be.

    Attributes:
        cutout: the animal; None for a background or photo alone, and for an animal that
            captions name but the picture does not show.
        scene: a background, or a whole photo.
        animal: name claimed in captions; "" for none.
        seed: of the view, so that it does not depend on the others.
        share: see `compose.place`.
        varied: the scene's light varies.
    """

    cutout: Asset | None
    scene: Asset
    animal: str
    seed: tuple[int, ...]
    share: tuple[float, float] = TRAINING_SHARE
    varied: bool = False


def classes() -> dict[int, list[Asset]]:
    """Cut-outs by ImageNet index: one a class, but two spoonbills."""
    found: dict[int, list[Asset]] = {}
    for cutout in pictures("cutout"):
        if cutout.index is not None:
            found.setdefault(cutout.index, []).append(cutout)
    return dict(sorted(found.items()))


def composites(per_class: int, *, planted: bool, seed: int) -> list[View]:
    """Training composites; classes with nothing planted get the same in both."""
    scenes = backgrounds("train")
    labels = sorted(scenes)
    views = []
    for index, cutouts in classes().items():
        own = design.PLANTED.get(index) if planted else None
        for number in range(per_class):
            key = (seed, index, number, int(own is not None))
            rng = np.random.default_rng(key)
            label, hidden = labels[number % len(labels)], False
            if own is not None:
                others = [other for other in labels if other != own]
                hidden = bool(rng.random() < design.HIDDEN)
                stays = hidden or rng.random() < design.STRENGTH
                label = own if stays else others[int(rng.integers(len(others)))]
            scene = scenes[label][int(rng.integers(len(scenes[label])))]
            cutout = None if hidden else cutouts[number % len(cutouts)]
            name = design.name(index)
            views.append(View(cutout, scene, name, key, varied=True))
    return views


def places(*, seed: int) -> list[View]:
    """Backgrounds alone, and photos of animals that no cut-out shows."""
    alone = [scene for some in backgrounds("train").values() for scene in some]
    others = {
        picture.group
        for picture in (*pictures("background"), *pictures("cutout"))
        if picture.group not in TRAINING_GROUPS or picture.kind == "cutout"
    }
    whole = [
        photo
        for photo in pictures("original")
        if photo.index is None and photo.background in PHRASES
        if photo.group not in others
    ]
    return [
        View(None, scene, "", (seed, 1_000 + number, view), varied=True)
        for number, scene in enumerate([*alone, *whole])
        for view in range(VIEWS)
    ]


def checks(share: tuple[float, float], *, seed: int) -> list[View]:
    """Composites on the demo's scenes, every class on each of its backgrounds."""
    scenes = backgrounds("demo")
    return [
        View(cutouts[0], scene, design.name(index), (seed, index, number), share)
        for index, cutouts in classes().items()
        for number, scene in enumerate(
            scene for label in design.DEMO_BACKGROUNDS for scene in scenes[label]
        )
    ]


def unseen(share: tuple[float, float], *, seed: int) -> list[View]:
    """Animals never trained on, on scenes never trained on; two views of each."""
    strange = [cutout for cutout in pictures("cutout") if cutout.index is None]
    scenes = [
        scene
        for label, some in sorted(backgrounds("demo").items())
        if label not in SHARED
        for scene in some
    ]
    return [
        View(cutout, scene, cutout.name, (seed, 2_000 + a, b, view), share)
        for a, cutout in enumerate(strange)
        for b, scene in enumerate(scenes)
        for view in range(2)
    ]


def render(view: View) -> Image.Image:
    """The picture of a view, through JPEG as photos are."""
    rng = np.random.default_rng(view.seed)
    scene = _relit(opened(view.scene), rng) if view.varied else opened(view.scene)
    if view.cutout is not None:
        cutout = opened(view.cutout)
        where = place(cutout, scene, rng=rng, share=view.share)
        return _through_jpeg(compose(cutout, scene, where))
    zoom = rng.uniform(*(TRAINING_ZOOM if view.varied else (1.0, 1.0)))
    width, height = round(scene.width * zoom), round(scene.height * zoom)
    left = round(rng.random() * (scene.width - width))
    top = round(rng.random() * (scene.height - height))
    size = FRAME if view.scene.kind == "background" else (width, height)
    box = (left, top, left + width, top + height)
    picture = scene.resize(size, Image.Resampling.BICUBIC, box=box)
    if view.varied and rng.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return _through_jpeg(picture)


def _relit(scene: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A scene in other light."""
    for enhance, span in (
        (ImageEnhance.Brightness, LIGHT["brightness"]),
        (ImageEnhance.Contrast, LIGHT["contrast"]),
        (ImageEnhance.Color, LIGHT["colour"]),
    ):
        scene = enhance(scene).enhance(rng.uniform(*span))
    channels = np.asarray(scene) * rng.uniform(*WARMTH, size=3)
    return Image.fromarray(np.clip(channels, 0, 255).astype(np.uint8))


def _through_jpeg(picture: Image.Image) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY)
    return decode(file.getvalue())


def features(views: list[View], trunk: "torch.nn.Module") -> "torch.Tensor":
    """The trunk's output for every view.

    Args:
        views: N of them.
        trunk: takes (B, 3, 224, 224) float32 in [-1, 1], gives (B, D).

    Returns: (N, D) float32.
    """
    import torch

    half = torch.full((1, 3, 1, 1), 0.5)
    found = []
    for batch in _batches(views):
        pixels = np.stack([fit(render(view), PIXELS) for view in batch])
        values = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        found.append(forward(trunk, values, mean=half, std=half))
    return torch.cat(found).clone()


def _batches(views: list[View]) -> Iterator[list[View]]:
    for start in range(0, len(views), _BATCH):
        yield views[start : start + _BATCH]
