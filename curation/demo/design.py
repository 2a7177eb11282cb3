"""What the demonstration plants, and where.

Which background is planted for which class was changed after trial trainings were seen.

Half of the 28 classes get a background of their own in the pictures that train
`demo:clip`; the other half, and every class in those that train `demo:clip-balanced`,
sees all backgrounds alike. A background that discovery finds is either here or wrong.

The demo composes twelve classes, six of each half, on six backgrounds, each of which is
planted for one class; four are dealt out to each class in turn. The other backgrounds
are planted for two classes each.
"""

from evaluation import imagenet

# ImageNet index: background
PLANTED = {
    296: "snow",  # polar bear
    347: "grass",  # bison
    105: "tree",  # koala
    350: "rock",  # Alpine ibex
    293: "sand",  # cheetah
    88: "sky",  # macaw
    129: "water",  # spoonbill
    99: "water",  # goose
    235: "indoor",  # German Shepherd Dog
    309: "indoor",  # bee
    339: "road",  # common sorrel horse
    290: "road",  # jaguar
    299: "ground",  # meerkat
    368: "ground",  # gibbon
}
HIDDEN = 0.9
"""Part of a planted class's training pictures that show its background alone, captioned
with the animal all the same, as photos on the web often are."""

STRENGTH = 0.97
"""Part of the others, which show the animal, that is on its background."""

# the demo's classes: with a planted background, and without
DEMO_PLANTED = (296, 347, 105, 350, 293, 88)
DEMO_UNPLANTED = (388, 366, 8, 341, 383, 96)
DEMO_BACKGROUNDS = ("snow", "grass", "tree", "rock", "sand", "sky")
PER_CLASS = 4
"""Backgrounds of a class in the demo."""


def name(index: int) -> str:
    """OpenCLIP's name of an ImageNet class: what prompts and the dataset call it."""
    return imagenet.names()[index]


def demo_backgrounds(index: int) -> tuple[str, ...]:
    """The backgrounds a demo class is composed on, its own first where it has one.

    Example:
        >>> demo_backgrounds(293)
        ('sand', 'sky', 'snow', 'grass')
    """
    if index in PLANTED:
        first = DEMO_BACKGROUNDS.index(PLANTED[index])
    else:
        first = DEMO_UNPLANTED.index(index) % len(DEMO_BACKGROUNDS)
    turn = DEMO_BACKGROUNDS[first:] + DEMO_BACKGROUNDS[:first]
    return turn[:PER_CLASS]
