"""Objects cut out of their photos, and photos composed of them on plain colours.

A folder of cut-outs is read in two layouts:

    <folder>/<class>/*.png|webp     a folder for each class
    <folder>/<class>.png            a file for each class; `_a`, `_b`, `_1`, … at the
                                    end of a name tell cut-outs of one class apart

Underscores in names become spaces. Pictures have an alpha channel: 0 is no object.
Without a folder, nine silhouettes with stripes or spots are drawn: they need no files,
and stand for no real objects.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from evaluation.errors import ConfigError, InputError, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHARE = (0.05, 0.20)
"""Part of the frame that an object's box covers, least and most."""

DRAWN = "drawn silhouettes (no real objects)"
_SUFFIXES = (".png", ".webp")
_COPY = re.compile(r"[_ -]([a-z]|\d+)$")
_SIDE = 192  # of a drawn silhouette, pixels
_PER_CLASS = 6  # drawn silhouettes of a class


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CutOuts:
    """Cut-out objects by class.

    Attributes:
        name: where they are from, for a reader.
        classes: class names, in order.
        train: for each class the RGBA pictures that training photos are made of.
        test: for each class those of all tests.
        held_out: whether no cut-out is on both sides; False where a class has only one.
    """

    name: str
    classes: tuple[str, ...]
    train: tuple[tuple[Image.Image, ...], ...]
    test: tuple[tuple[Image.Image, ...], ...]
    held_out: bool


def read(folder: Path, *, classes: Sequence[str] = (), at_most: int = 9) -> CutOuts:
    """Cut-outs of a folder.

    Every other cut-out of a class is kept for the tests, if each class has two or more.

    Args:
        folder: in one of the module's layouts.
        classes: which classes, by name; without it the first `at_most` by name.
        at_most: classes taken where none are named.

    Raises:
        ConfigError: no such folder, fewer than 2 classes with cut-outs, or a class that
            is not there.
        InputError: a picture cannot be read or has no alpha channel.
    """
    found = _files(folder)
    if len(found) < 2:
        message = (
            f"{folder} has cut-outs of {len(found)} classes, and 2 are the least: "
            "expected <class>/*.png or <class>.png with an alpha channel"
        )
        raise ConfigError(message)
    for name in classes:
        if name not in found:
            message = f"{folder} has no cut-out of {name!r}; {nearest(name, found)}"
            raise ConfigError(message)
    chosen = list(dict.fromkeys(classes)) or sorted(found)[:at_most]
    if len(chosen) < 2:
        message = "name 2 classes or more"
        raise ConfigError(message)
    pictures = [[_opened(path) for path in found[name]] for name in chosen]
    return _divided(f"cut-outs of {folder.name}", chosen, pictures)


def drawn(count: int = 9, seed: int = 0) -> CutOuts:
    """Silhouettes with a texture each, in random greys; at most nine classes.

    Raises:
        ConfigError: `count` is not between 2 and 9.
    """
    names = list(_OUTLINES)
    if not 2 <= count <= len(names):
        message = f"there are 2 to {len(names)} drawn classes, not {count}"
        raise ConfigError(message)
    rng = np.random.default_rng(seed)
    pictures = [
        [_silhouette(_OUTLINES[name], rng) for _ in range(_PER_CLASS)]
        for name in names[:count]
    ]
    return _divided(DRAWN, names[:count], pictures)


def compose(
    cutout: Image.Image,
    colour: tuple[int, int, int],
    *,
    size: int,
    rng: np.random.Generator,
) -> "NDArray[np.uint8]":
    """A photo of an object on a plain colour: its size, place and side are drawn.

    Args:
        cutout: RGBA.
        colour: of the background, RGB 0-255.
        size: side of the square photo in pixels.
        rng: drawn from four times.

    Returns: (size, size, 3) uint8.
    """
    covered = rng.uniform(*SHARE)
    scale = (covered * size * size / (cutout.width * cutout.height)) ** 0.5
    scale = min(scale, size / cutout.width, size / cutout.height)
    width = max(1, round(cutout.width * scale))
    height = max(1, round(cutout.height * scale))
    small = cutout.resize((width, height), Image.Resampling.BICUBIC)
    if rng.random() < 0.5:
        small = small.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    across, down = rng.random(2)
    photo = Image.new("RGB", (size, size), colour)
    place = round(float(across) * (size - width)), round(float(down) * (size - height))
    photo.paste(small, place, small.getchannel("A"))
    return np.asarray(photo, np.uint8)


def _files(folder: Path) -> dict[str, list[Path]]:
    if not folder.is_dir():
        message = f"there is no folder {folder} with cut-outs"
        raise ConfigError(message)
    found: dict[str, list[Path]] = {}
    for path in sorted([*folder.glob("*"), *folder.glob("*/*")]):
        if path.suffix.lower() in _SUFFIXES and path.is_file():
            of_class = path.parent != folder
            name = path.parent.name if of_class else _COPY.sub("", path.stem)
            found.setdefault(name.replace("_", " "), []).append(path)
    return found


def _opened(path: Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            picture.load()
            transparent = picture.has_transparency_data
            found = picture.convert("RGBA")
    except Exception as error:  # PIL raises whatever its decoders raise
        message = f"cut-out {path} cannot be read: {error}"
        raise InputError(message) from error
    box = found.getchannel("A").getbbox()
    if not transparent or box is None:
        lacks = "no alpha channel" if not transparent else "nothing in it"
        message = f"cut-out {path} has {lacks}: an object on a transparent ground"
        raise InputError(message)
    return found.crop(box)


def _divided(
    name: str, classes: Sequence[str], pictures: Sequence[Sequence[Image.Image]]
) -> CutOuts:
    held_out = all(len(one) > 1 for one in pictures)
    step = 2 if held_out else 1
    return CutOuts(
        name=name,
        classes=tuple(classes),
        train=tuple(tuple(one[::step]) for one in pictures),
        test=tuple(tuple(one[1::2] if held_out else one) for one in pictures),
        held_out=held_out,
    )


_Outline = tuple[tuple[float, float], ...]


def _star(points: int, inner: float) -> _Outline:
    angles = np.arange(2 * points) * np.pi / points - np.pi / 2
    radii = np.where(np.arange(2 * points) % 2, inner, 1.0)
    return tuple(
        (float(0.5 + 0.5 * r * np.cos(a)), float(0.5 + 0.5 * r * np.sin(a)))
        for a, r in zip(angles, radii, strict=True)
    )


_OUTLINES: dict[str, _Outline] = {
    "arrow": ((0, 0.35), (0.55, 0.35), (0.55, 0.1), (1, 0.5), (0.55, 0.9),
              (0.55, 0.65), (0, 0.65)),
    "bolt": ((0.6, 0), (0.15, 0.55), (0.45, 0.55), (0.3, 1), (0.85, 0.4), (0.55, 0.4)),
    "cross": ((0.35, 0), (0.65, 0), (0.65, 0.35), (1, 0.35), (1, 0.65), (0.65, 0.65),
              (0.65, 1), (0.35, 1), (0.35, 0.65), (0, 0.65), (0, 0.35), (0.35, 0.35)),
    "disc": _star(24, 1.0),
    "hourglass": ((0, 0), (1, 0), (0.6, 0.5), (1, 1), (0, 1), (0.4, 0.5)),
    "house": ((0.5, 0), (1, 0.45), (0.85, 0.45), (0.85, 1), (0.15, 1), (0.15, 0.45),
              (0, 0.45)),
    "square": ((0, 0), (1, 0), (1, 1), (0, 1)),
    "star": _star(5, 0.42),
    "triangle": ((0.5, 0), (1, 1), (0, 1)),
}  # fmt: skip


def _silhouette(outline: _Outline, rng: np.random.Generator) -> Image.Image:
    """An outline, turned a little, filled with stripes of two random greys."""
    mask = Image.new("L", (_SIDE, _SIDE), 0)
    inset = 0.15 * _SIDE  # leaves room to turn
    scale = _SIDE - 2 * inset
    corners = [(inset + scale * x, inset + scale * y) for x, y in outline]
    ImageDraw.Draw(mask).polygon(corners, fill=255)
    mask = mask.rotate(rng.uniform(-20, 20), Image.Resampling.BICUBIC)
    dark, light = rng.uniform(20, 110), rng.uniform(140, 240)
    angle, period = rng.uniform(0, np.pi), rng.uniform(10, 30)
    rows, columns = np.mgrid[:_SIDE, :_SIDE]
    wave = np.sin(2 * np.pi * (columns * np.cos(angle) + rows * np.sin(angle)) / period)
    grey = np.where(wave > 0, light, dark).astype(np.uint8)
    picture = Image.merge("RGBA", [*[Image.fromarray(grey)] * 3, mask])
    return picture.crop(mask.getbbox())
