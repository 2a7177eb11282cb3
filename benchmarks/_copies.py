"""Copies of photos as people and services make them, and pictures that only look it."""

import hashlib
import io
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageEnhance

Edit = Callable[[Image.Image, random.Random], Image.Image]

ASSETS = Path(__file__).parents[1] / "curation" / "demo" / "assets"


def _crop(keep: float, *, centre: bool = False) -> Edit:
    def edit(image: Image.Image, rng: random.Random) -> Image.Image:
        width, height = image.size
        w, h = round(width * keep), round(height * keep)
        x = (width - w) // 2 if centre else rng.randint(0, width - w)
        y = (height - h) // 2 if centre else rng.randint(0, height - h)
        return image.crop((x, y, x + w, y + h))

    return edit


def _turned(how: Image.Transpose) -> Edit:
    return lambda image, _: image.transpose(how)


def _enhanced(what: Callable[[Image.Image], ImageEnhance._Enhance], by: float) -> Edit:
    return lambda image, _: what(image).enhance(by)


EDITS: dict[str, tuple[Edit, int]] = {
    "recompressed, quality 40": (lambda image, _: image, 40),
    "resized to half": (lambda image, _: image.resize(_half(image)), 85),
    "brightness × 1.2": (_enhanced(ImageEnhance.Brightness, 1.2), 85),
    "brightness × 0.7": (_enhanced(ImageEnhance.Brightness, 0.7), 85),
    "contrast × 1.3": (_enhanced(ImageEnhance.Contrast, 1.3), 85),
    "mirrored": (_turned(Image.Transpose.FLIP_LEFT_RIGHT), 85),
    "rotated by 90°": (_turned(Image.Transpose.ROTATE_90), 85),
    "rotated by 180°": (_turned(Image.Transpose.ROTATE_180), 85),
    "rotated by 270°": (_turned(Image.Transpose.ROTATE_270), 85),
    "crop to 95 %, anywhere": (_crop(0.95), 85),
    "crop to 90 %, centre": (_crop(0.9, centre=True), 85),
    "crop to 90 %, anywhere": (_crop(0.9), 85),
    "crop to 85 %, anywhere": (_crop(0.85), 85),
}
"""Kinds of copies: what is done to the picture, and the quality it is saved in."""


@dataclass(frozen=True, slots=True)
class File:
    """A file, and what it shows.

    Attributes:
        data: its bytes.
        of: files of one picture share it; look-alikes do not.
        kind: "original", one of `EDITS`, or what makes it look like another.
    """

    data: bytes
    of: str
    kind: str

    @property
    def key(self) -> str:
        """sha256 of the bytes."""
        return hashlib.sha256(self.data).hexdigest()


def photos(folder: Path) -> list[Path]:
    """JPEGs and PNGs below a folder, by name; the first of files with equal bytes."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in (".jpg", ".jpeg", ".png"):
            found.setdefault(hashlib.sha256(path.read_bytes()).hexdigest(), path)
    return list(found.values())


def half(name: str) -> int:
    """Half that a photo belongs to, by its name: 0 or 1.

    Example:
        >>> half("bee.jpg"), half("cow.jpg")
        (0, 0)
    """
    return hashlib.sha256(name.encode()).digest()[0] % 2


def planted(paths: list[Path], *, seed: int) -> Iterator[File]:
    """Each photo, then a copy of each kind."""
    for path in paths:
        image = Image.open(path).convert("RGB")
        yield File(jpeg(image, 92), path.name, "original")
        for kind, (edit, quality) in EDITS.items():
            rng = random.Random(f"{seed} {path.name} {kind}")
            yield File(jpeg(edit(image, rng), quality), path.name, kind)


def look_alikes(scenes: list[Path], cutouts: list[Path]) -> Iterator[File]:
    """Composed photos: each animal on each scene, in two sizes and two places.

    Any two of one scene share their background, any two of one animal their species;
    no two are the same photo.
    """
    for scene in scenes:
        background = Image.open(scene).convert("RGB")
        for path in cutouts:
            cutout = Image.open(path).convert("RGBA")
            for size in (0.55, 0.3):
                for place in (0.5, 0.75):
                    made = _composed(background, cutout, size=size, place=place)
                    name = f"{path.stem} on {scene.stem}, {size}, {place}"
                    yield File(jpeg(made, 92), name, f"composed, {size:.0%}")


def _composed(
    background: Image.Image, cutout: Image.Image, *, size: float, place: float
) -> Image.Image:
    image = background.copy()
    scale = size * min(image.width / cutout.width, image.height / cutout.height)
    animal = cutout.resize((round(cutout.width * scale), round(cutout.height * scale)))
    left = round((image.width - animal.width) * place)
    image.paste(animal, (left, (image.height - animal.height) // 2), animal)
    return image


def _half(image: Image.Image) -> tuple[int, int]:
    return max(1, image.width // 2), max(1, image.height // 2)


def jpeg(image: Image.Image, quality: int) -> bytes:
    """The picture as JPEG."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()
