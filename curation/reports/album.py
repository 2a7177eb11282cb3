"""Small pictures for the page, as data URIs and within a budget."""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from curation.errors import CounterSetError
from evaluation.images import decode

BUDGET = 6_500_000
"""Characters of data URI a page may hold, about 8 MB with everything else."""

QUALITY = 74  # of JPEG; below, fur turns to blocks


@dataclass(frozen=True, slots=True)
class Picture:
    """A small picture; `uri` is empty and `why` says the reason when there is none."""

    uri: str
    width: int
    height: int
    why: str = ""


class Album:
    """Makes pictures until the budget is spent, and remembers which photos it showed.

    Args:
        read: the bytes of a photo, by photo_id.
        budget: characters of data URI it may hand out; BUDGET when None.
    """

    def __init__(
        self, read: Callable[[str], bytes], *, budget: int | None = None
    ) -> None:
        self._read = read
        self._left = BUDGET if budget is None else budget
        self._made: dict[tuple[str, int], Picture] = {}
        self.shown: dict[str, None] = {}
        self.left_out = 0

    def picture(self, photo_id: str, *, side: int = 320) -> Picture:
        """The photo, its longer side at most `side` pixels; never raises."""
        key = (photo_id, side)
        if key not in self._made:
            self._made[key] = self._make(photo_id, side)
        picture = self._made[key]
        if len(picture.uri) > self._left:
            self.left_out += 1
            return Picture("", picture.width, picture.height, "left out: page is full")
        self._left -= len(picture.uri)
        if picture.uri:
            self.shown.setdefault(photo_id)
        return picture

    def _make(self, photo_id: str, side: int) -> Picture:
        try:
            image = decode(self._read(photo_id))
        except (CounterSetError, OSError, KeyError) as error:
            return Picture("", side, side * 3 // 4, f"not at hand: {error}")
        image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
        file = io.BytesIO()
        image.save(file, "JPEG", quality=QUALITY, optimize=True)
        text = base64.b64encode(file.getvalue()).decode("ascii")
        return Picture(f"data:image/jpeg;base64,{text}", image.width, image.height)
