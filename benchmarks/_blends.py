"""Any number of photos, no two alike, and copies of some of them."""

from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

ORIGINALS = Path(__file__).parents[1] / "curation" / "demo" / "assets" / "originals"
COPIES = ("bytes", "written anew", "smaller", "mirrored")
EVERY = 50
"""One photo in so many is a copy of the one before it."""
GRAIN = 3.0
"""Standard deviation of the grain, grey levels."""
TILE = 2048
"""Side of the grain that photos take a part of, pixels: none may be larger."""


@cache
def pool() -> list[Image.Image]:
    """The bundled pictures, with short sides of 280 px."""
    found = []
    for path in sorted(ORIGINALS.glob("*.jpg")):
        with Image.open(path) as image:
            factor = 280 / min(image.size)
            size = round(image.width * factor), round(image.height * factor)
            found.append(image.convert("RGB").resize(size))
    return found


@cache
def grain() -> NDArray[np.int16]:
    """What a sensor adds to grey levels; each photo has another part of it."""
    noise = np.random.default_rng(0).normal(0, GRAIN, (TILE, TILE))
    return np.rint(noise).astype(np.int16)


def picture(number: int, scale: int) -> Image.Image:
    """Photo `number`: two cuts, blended from side to side, and a sensor's grain.

    Args:
        number: another number, other places of the bundled pictures.
        scale: the cuts have sides of 128 to 256 px and are enlarged so many times.
    """
    rng = np.random.default_rng(number)
    size = int(rng.integers(128, 257)), int(rng.integers(128, 257))
    cuts: list[Image.Image] = []
    for image in rng.choice(len(pool()), 2, replace=False):
        whole = pool()[image]
        left = int(rng.integers(whole.width - size[0] + 1))
        top = int(rng.integers(whole.height - size[1] + 1))
        cut = whole.crop((left, top, left + size[0], top + size[1]))
        cuts.append(ImageOps.mirror(cut) if rng.integers(2) else cut)
    mask = Image.fromarray(rng.integers(0, 256, (3, 3), dtype=np.uint8))
    mask = mask.resize(size, Image.Resampling.BICUBIC)
    image = Image.composite(cuts[0], cuts[1], mask)
    width, height = size[0] * scale, size[1] * scale
    levels = np.asarray(image.resize((width, height)), np.int16)
    across, down = rng.integers(TILE - width), rng.integers(TILE - height)
    noise = grain()[down : down + height, across : across + width, None]
    return Image.fromarray(np.clip(levels + noise, 0, 255).astype(np.uint8))


def photo(number: int, scale: int) -> bytes:
    """The file of photo `number`."""
    copy = number % EVERY == EVERY - 1
    image = picture(number - copy, scale)
    quality = 85
    if copy:
        kind = COPIES[number // EVERY % len(COPIES)]
        if kind == "written anew":
            quality = 60
        elif kind == "smaller":
            image = image.resize((image.width * 4 // 5, image.height * 4 // 5))
        elif kind == "mirrored":
            image = ImageOps.mirror(image)
    file = BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()
