"""Photos of the demo before they are files: composed ones and real ones."""

import io
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from curation.demo import design
from curation.demo.assets import FOLDER, Asset, backgrounds, opened
from curation.demo.captions import PHRASES
from curation.demo.compose import QUALITY, Placement, compose, credits, place
from curation.demo.pictures import classes

# whole photos have finer labels than the dataset
COARSER = {"foliage": "tree"}


@dataclass(slots=True)
class Draft:
    """A photo to be written, and what is true of it.

    Attributes:
        data: the file's bytes.
        class_: what it is filed under.
        background: the true one; "" when it is none of the dataset's.
        credit: licence, author, title and source_url.
        observation: shared by photos that are not independent; "" for none.
        composed: put together from several pictures.
        note: remark for the CSV.
        planted: list of the truth that it belongs to; "" when it is sound.
        about: what that list says of it.
        criterion: question that a person should answer with yes; "" for none.
        copies: the draft it is a copy of.
        file: path below `photos`, given when all drafts are there.
    """

    data: bytes
    class_: str
    background: str
    credit: dict[str, str]
    observation: str = ""
    composed: bool = True
    note: str = ""
    planted: str = ""
    about: dict[str, str] = field(default_factory=dict)
    criterion: str = ""
    copies: "Draft | None" = None
    file: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """A composition before it is pixels."""

    cutout: Asset
    background: Asset
    placement: Placement

    def picture(self) -> Image.Image:
        """The composed photo, RGB."""
        return compose(opened(self.cutout), opened(self.background), self.placement)


def scene(cutout: Asset, label: str, key: tuple[int, ...], *, turn: int) -> Scene:
    """A cut-out on one of the demo's pictures of a background, taken in turn."""
    some = backgrounds("demo")[label]
    background = some[turn % len(some)]
    rng = np.random.default_rng(key)
    where = place(opened(cutout), opened(background), rng=rng)
    return Scene(cutout, background, where)


def composed(index: int, label: str, key: tuple[int, ...], *, turn: int) -> Draft:
    """A sound composed photo of a class."""
    cutouts = classes()[index]
    made = scene(cutouts[turn % len(cutouts)], label, key, turn=turn)
    return draft(made, made.picture(), design.name(index))


def draft(made: Scene, picture: Image.Image, class_: str) -> Draft:
    """A picture made from a scene, filed under a class."""
    parts = [made.cutout, made.background]
    return Draft(
        data=jpeg(picture),
        class_=class_,
        background=made.background.background,
        credit=credits(parts),
        observation=f"{made.cutout.stem} on {made.background.stem}",
        note=(
            f"composed: {made.cutout.name} cut out of a photo by {made.cutout.author}, "
            f"put on a background by {made.background.author}; resized, re-encoded"
        ),
    )


def real(photo: Asset) -> Draft:
    """A whole photo, byte for byte as bundled."""
    assert photo.index is not None
    label = COARSER.get(photo.background, photo.background)
    return Draft(
        data=(FOLDER / photo.file).read_bytes(),
        class_=design.name(photo.index),
        background=label if label in PHRASES else "",
        credit=credits([photo]),
        observation=f"photo {photo.group}",
        composed=False,
        note="whole photo; resized, re-encoded",
    )


def jpeg(picture: Image.Image, *, quality: int = QUALITY) -> bytes:
    """A picture as a JPEG file without metadata."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()
