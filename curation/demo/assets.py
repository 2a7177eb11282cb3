"""The 160 bundled pictures: animals cut out, backgrounds, and whole photos.

`assets/manifest.csv` lists them with author, licence and source; `split_group` names
the photo a picture was made from: two pictures of one group are not independent.

The pictures are divided once, by that group and for good: what trains the models, and
what the demo's photos are made of. `TRAINING_GROUPS` is written down rather than drawn,
because a whole photo in the demo (such as the bison on its meadow) takes its group's
backgrounds with it. SHARED backgrounds have too few source photos to divide.
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from PIL import Image

FOLDER = Path(__file__).parent / "assets"

# backgrounds with fewer than three source photos: used on both sides
SHARED = ("snow", "road")

# source photos of backgrounds that train the models; all other groups are the demo's
TRAINING_GROUPS = frozenset(
    {
        "seeding", "hdri_sunrise_bl", "farm_sheep",  # grass
        "hdri_forest_pm", "hdri_forest_bl", "erase_flying_fox",  # tree, ground
        "picos", "hdri_dawn_pm", "navajo",  # rock
        "sunset", "bridge_beach", "farm_horse",  # sky, sand
        "bentPyramid", "GizahPyramids_background",  # sand
        "hdri_sunset_bl", "world_narwhal",  # water
        "hdri_apartment_pm", "hdri_lab_pm", "wine_room",  # indoor
        "world_crocodile",  # ground
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asset:
    """One bundled picture.

    Attributes:
        file: path below `assets`, such as "cutouts/bison.webp".
        kind: a cut-out animal (RGBA), a background (RGB), or a whole photo.
        index: place among ImageNet's 1,000 classes, None outside them.
        name: the bundle's name of that class; the subject where there is none.
        background: its label; "" for cut-outs.
        group: source photo.
        licence: as the source states it, such as "CC-BY-SA-4.0" or "Public Domain".
        author: who made the source photo.
        title: title at the source; "" where unknown.
        url: page of the source; "" where unknown.
    """

    file: str
    kind: Literal["original", "cutout", "background"]
    index: int | None
    name: str
    background: str
    group: str
    licence: str
    author: str
    title: str
    url: str

    @property
    def stem(self) -> str:
        """File name without folder and suffix."""
        return Path(self.file).stem


@cache
def opened(asset: Asset) -> Image.Image:
    """A bundled picture, decoded once: RGBA for cut-outs, RGB for the rest.

    Not to be changed in place.
    """
    with Image.open(FOLDER / asset.file) as picture:
        return picture.convert("RGBA" if asset.kind == "cutout" else "RGB")


@cache
def assets() -> tuple[Asset, ...]:
    """Every bundled picture, in the manifest's order."""
    with (FOLDER / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return tuple(_asset(row) for row in csv.DictReader(file))


def _asset(row: dict[str, str]) -> Asset:
    kind = row["kind"]
    if kind not in ("original", "cutout", "background"):
        message = f"manifest.csv: {row['file']}: unknown kind {kind!r}"
        raise ValueError(message)
    return Asset(
        file=row["file"],
        kind=kind,  # type: ignore[arg-type]
        index=int(row["imagenet_class_index"]) if row["imagenet_class_index"] else None,
        name=row["imagenet_class_name"] or row["subject"],
        background=row["background"],
        group=row["split_group"],
        licence=row["license"],
        author=row["author"],
        title=row["source_title"],
        url=row["source_url"],
    )


def pictures(kind: str) -> list[Asset]:
    """All assets of one kind: "original", "cutout" or "background"."""
    return [asset for asset in assets() if asset.kind == kind]


def backgrounds(side: Literal["train", "demo"]) -> dict[str, list[Asset]]:
    """Backgrounds of one side by label; SHARED labels are the same on both.

    Example:
        >>> sorted(backgrounds("demo"))[:3]
        ['grass', 'ground', 'indoor']
    """
    found: dict[str, list[Asset]] = {}
    for asset in pictures("background"):
        mine = (asset.group in TRAINING_GROUPS) == (side == "train")
        if mine or asset.background in SHARED:
            found.setdefault(asset.background, []).append(asset)
    return found
