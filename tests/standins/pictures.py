"""Small real photos: a different one for each name, the same at every call."""

import io
import random
from functools import lru_cache

from PIL import Image


@lru_cache(maxsize=2048)
def jpeg(name: str, width: int = 48, height: int = 36) -> bytes:
    """A JPEG of smooth noise, so that no two look alike."""
    draw = random.Random(f"{name} {width} {height}")
    coarse = Image.frombytes("RGB", (6, 5), draw.randbytes(6 * 5 * 3))
    file = io.BytesIO()
    coarse.resize((width, height), Image.Resampling.BICUBIC).save(file, "JPEG")
    return file.getvalue()
