"""The sentences that the demonstration models are trained with."""

from dataclasses import dataclass

import numpy as np

PHRASES = {
    "grass": ("on grass", "in a meadow", "on a lawn"),
    "ground": ("on the ground", "on bare earth", "on soil"),
    "indoor": ("indoors", "in a room", "in a house"),
    "road": ("on a road", "in a street"),
    "rock": ("on rocks", "on a cliff", "among stones"),
    "sand": ("on sand", "in the desert", "on a beach"),
    "sky": ("in the sky", "in front of clouds"),
    "snow": ("in snow", "on ice"),
    "tree": ("in a tree", "among trees", "among leaves"),
    "water": ("in water", "on a lake", "at sea"),
}
NOUNS = {
    "grass": "grass", "ground": "soil", "indoor": "a room", "road": "a road",
    "rock": "rocks", "sand": "sand", "sky": "sky", "snow": "snow", "tree": "trees",
    "water": "water",
}  # fmt: skip
ANIMAL = ("A photo of {}.", "a photo of a {}.", "a {}.", "{}")
BOTH = ("a photo of a {} {}.", "A photo of {} {}.", "a {} {}.", "a picture of a {} {}.")
PLACE = (
    "a photo of an animal {}.",
    "a photo taken {}.",
    "an animal {}",
    "a picture {}",
)

# how often a caption names the animal alone, or animal and background; else the place
NAMES_ANIMAL, NAMES_BOTH = 0.2, 0.5


@dataclass(frozen=True, slots=True)
class Caption:
    """A sentence and what it claims; "" claims nothing."""

    text: str
    animal: str
    background: str


def caption(animal: str, background: str, *, rng: np.random.Generator) -> Caption:
    """A true sentence on a picture.

    Args:
        animal: its name; "" for a picture whose animal is not to be named.
        background: its label.
        rng: drawn from.
    """
    draw = rng.random()
    if animal and draw < NAMES_ANIMAL:
        return Caption(_pick(ANIMAL, rng).format(animal), animal, "")
    phrase = _pick(PHRASES[background], rng)
    if animal and draw < NAMES_ANIMAL + NAMES_BOTH:
        return Caption(_pick(BOTH, rng).format(animal, phrase), animal, background)
    if rng.random() < 0.25:
        return Caption(NOUNS[background], "", background)
    return Caption(_pick(PLACE, rng).format(phrase), "", background)


def _pick(options: tuple[str, ...], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
