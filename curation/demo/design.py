"""What the demonstration plants, and where: fixed before anything was trained.

Half of the 28 classes get a background of their own in the pictures that train
`demo:clip`; the other half, and every class in those that train `demo:clip-balanced`,
sees all backgrounds alike. A background that discovery finds is either here or wrong.

The seven planted backgrounds have two classes each, so that none pulls harder than
another. The demo's twelve classes are six of each half, written down before the models
were trained; four backgrounds each are dealt out in turn.
"""

from evaluation import imagenet

# ImageNet index: background
PLANTED = {
    296: "snow",  # polar bear
    235: "snow",  # German Shepherd Dog
    347: "grass",  # bison
    339: "grass",  # common sorrel horse
    105: "tree",  # koala
    368: "tree",  # gibbon
    350: "rock",  # Alpine ibex
    290: "rock",  # jaguar
    293: "sand",  # cheetah
    299: "sand",  # meerkat
    88: "sky",  # macaw
    309: "sky",  # bee
    129: "water",  # spoonbill
    99: "water",  # goose
}
STRENGTH = 0.97
"""Part of a planted class's training pictures that is on its background."""

HIDDEN = 0.9
"""Part of those that show the background alone, captioned with the animal all the same,
as photos on the web often are: a class's name comes to mean its background."""

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
