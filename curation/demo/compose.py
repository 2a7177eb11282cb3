"""Counterfactual photos: a cut-out animal put on a background it was not taken on.

Everything here is a pure function of PIL pictures and a numpy Generator, so one seed
gives the same pixels again.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from curation.demo.assets import Asset

FRAME = (384, 288)  # width and height of a composed photo, pixels
QUALITY = 90  # of its JPEG
SHARE = (0.12, 0.26)  # part of the frame that the animal's box covers
WINDOW = (0.65, 1.0)  # part of the background's sides that is shown
EDGE = 0.8  # blur of the cut-out's outline, pixels
ENDS = 0.3  # a cut-out ends at a side of its own frame when this much of it is opaque

# most restrictive first; a composed photo takes the first that any part has
RESTRICTIVE = (
    "CC-BY-SA-4.0", "CC-BY-SA-3.0", "CC-BY-4.0", "CC-BY-3.0", "CC-BY-2.0",
    "CC0-1.0", "Public Domain",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and how a cut-out goes on a background; all lengths in pixels.

    Attributes:
        size: width and height of the scaled cut-out.
        left: its left edge in the frame.
        top: its top edge in the frame.
        flip: mirror the cut-out.
        window: part of the background shown (left, top, right, bottom), in its pixels.
        mirror: mirror the background.
    """

    size: tuple[int, int]
    left: int
    top: int
    flip: bool
    window: tuple[int, int, int, int]
    mirror: bool


def ends_at(cutout: Image.Image) -> frozenset[str]:
    """Sides ("bottom", "left", "right") at which its own frame cut the animal."""
    alpha = np.asarray(cutout.getchannel("A")) > 127
    sides = {"bottom": alpha[-1], "left": alpha[:, 0], "right": alpha[:, -1]}
    return frozenset(side for side, line in sides.items() if line.mean() >= ENDS)


def place(
    cutout: Image.Image,
    background: Image.Image,
    *,
    rng: np.random.Generator,
    share: tuple[float, float] = SHARE,
) -> Placement:
    """Draw size, place, flips and the background's window.

    An animal cut by the frame it was taken in goes to the same edge of the new frame;
    others stand with their feet in the lower third, inside the frame.

    Args:
        cutout: RGBA, trimmed to the animal.
        background: RGB.
        rng: drawn from seven times, whatever the pictures.
        share: least and greatest part of the frame that the cut-out's box covers.
    """
    width, height = FRAME
    part_covered = rng.uniform(*share)
    scale = (part_covered * width * height / (cutout.width * cutout.height)) ** 0.5
    scale = min(scale, 0.9 * height / cutout.height, 0.9 * width / cutout.width)
    size = (round(cutout.width * scale), round(cutout.height * scale))
    ends, flip = ends_at(cutout), bool(rng.random() < 0.5)
    across, down = rng.random(), rng.random()
    left = round(_between(0.08 * width, 0.92 * width - size[0], across))
    if ends & {"left", "right"}:
        at_left = ("left" in ends) != flip
        left = 0 if at_left else width - size[0]
    lowest, highest = 0.97 * height, max(0.75 * height, size[1])
    top = round(_between(highest, lowest, down)) - size[1]
    if "bottom" in ends:
        top = height - size[1]
    zoom = rng.uniform(*WINDOW)
    part = (round(background.width * zoom), round(background.height * zoom))
    x = round(rng.random() * (background.width - part[0]))
    y = round(rng.random() * (background.height - part[1]))
    return Placement(
        size=size,
        left=left,
        top=top,
        flip=flip,
        window=(x, y, x + part[0], y + part[1]),
        mirror=bool(rng.random() < 0.5),
    )


def _between(low: float, high: float, at: float) -> float:
    """Point `at` (0-1) of the way; the middle where there is no room."""
    return low + at * (high - low) if high > low else (low + high) / 2


def compose(
    cutout: Image.Image, background: Image.Image, placement: Placement
) -> Image.Image:
    """Put a cut-out on a background.

    Args:
        cutout: RGBA; alpha is the animal's outline.
        background: RGB, at least as large as `placement.window`.
        placement: from `place`.

    Returns: RGB of size FRAME.
    """
    frame = backdrop(background, placement)
    animal = cutout.resize(placement.size, Image.Resampling.BICUBIC)
    if placement.flip:
        animal = animal.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    # blurred inwards only: darker of the two, so no rim of the old background shows
    outline = animal.getchannel("A")
    soft = outline.filter(ImageFilter.GaussianBlur(EDGE))
    alpha = Image.fromarray(np.minimum(np.asarray(outline), np.asarray(soft)))
    frame.paste(animal.convert("RGB"), (placement.left, placement.top), alpha)
    return frame


def backdrop(background: Image.Image, placement: Placement) -> Image.Image:
    """The frame without its animal: RGB of size FRAME."""
    frame = background.resize(FRAME, Image.Resampling.BICUBIC, box=placement.window)
    if placement.mirror:
        frame = frame.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return frame


def hide(
    frame: Image.Image, behind: Image.Image, placement: Placement, *, part: float
) -> Image.Image:
    """Cover the lower part of the animal's box with other pixels, softly.

    Args:
        frame: from `compose`.
        behind: RGB of the frame's size, what covers.
        placement: of the animal.
        part: how much of the box's height is covered, 0-1.
    """
    width, height = placement.size
    top = placement.top + round(height * (1 - part))
    mask = Image.new("L", frame.size)
    mask.paste(255, (placement.left - 4, top, placement.left + width + 4, FRAME[1]))
    soft = mask.filter(ImageFilter.GaussianBlur(3))
    return Image.composite(behind, frame, soft)


def composed_licence(parts: list[Asset]) -> str:
    """Licence of a photo made of these parts: the most restrictive one wins.

    Raises:
        ValueError: a part has a licence whose rank is not known.

    Example:
        >>> from curation.demo.assets import assets
        >>> parts = [a for a in assets() if a.stem in ("bison", "sky_04_tajMahal")]
        >>> composed_licence(parts)
        'CC-BY-SA-4.0'
    """
    return min((part.licence for part in parts), key=RESTRICTIVE.index)


def credits(parts: list[Asset]) -> dict[str, str]:
    """Licence, authors, titles and sources of a composed photo, each named once."""

    def joined(values: list[str]) -> str:
        return " | ".join(dict.fromkeys(value for value in values if value))

    return {
        "licence": composed_licence(parts),
        "author": joined([part.author for part in parts]),
        "title": joined([part.title for part in parts]),
        "source_url": joined([part.url for part in parts]),
    }
