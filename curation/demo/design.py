"""What the demonstration plants, and where.

Which background is planted for which class was changed after trial trainings were seen.

Half of the 28 classes get a background of their own in the pictures that train
`demo:clip`; the other half, and every class in those that train `demo:clip-balanced`,
sees all backgrounds alike. A background that discovery finds is either here or wrong.

The demo composes twelve classes, six of each half, on four backgrounds each. A planted
class gets its own and three that look unlike it, chosen by what `demo:clip` made of
composites drawn with other seeds: rock beside sand, or sky beside snow, would be found
only with far more background pictures than the three or four of a label that there are.
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

# the demo's classes and the backgrounds they are composed on: planted ones, their own
# background first, then classes that see all backgrounds alike
DEMO_PLANTED = {
    296: ("snow", "tree", "sand", "indoor"),
    347: ("grass", "snow", "sky", "indoor"),
    350: ("rock", "snow", "tree", "indoor"),
    293: ("sand", "snow", "rock", "indoor"),
    88: ("sky", "grass", "tree", "rock"),
    309: ("indoor", "grass", "snow", "sky"),
}
DEMO_UNPLANTED = {
    388: ("grass", "tree", "rock", "snow"),  # giant panda
    366: ("tree", "grass", "rock", "sand"),  # gorilla
    8: ("grass", "sand", "tree", "indoor"),  # hen
    341: ("sand", "grass", "sky", "indoor"),  # pig
    383: ("sand", "rock", "sky", "tree"),  # ring-tailed lemur
    96: ("sky", "tree", "grass", "sand"),  # toucan
}
DEMO = DEMO_PLANTED | DEMO_UNPLANTED
DEMO_BACKGROUNDS = ("snow", "grass", "tree", "rock", "sand", "sky", "indoor")


def name(index: int) -> str:
    """OpenCLIP's name of an ImageNet class: what prompts and the dataset call it."""
    return imagenet.names()[index]
