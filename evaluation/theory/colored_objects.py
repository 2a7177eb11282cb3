"""Coloured objects: fine-tuning an image-text model against ERM, where colours mislead.

Cut-out objects on plain colours stand in for the paper's COCO objects. Each class has
a colour of its own. In training, and in the in-distribution test, 80 % of photos have
their class's colour and 20 % any of ten other colours. Out of distribution every photo
has the colour of another class: with nine classes one of 8, which is how the paper's
"8 other biased colours" can be read; its text also says 10, and does not say whether
the ten random colours include the nine. Here they do not, so that a colour agrees with
its class in 80 % and no more.

Approaches, as in Table 7: zero shot; fine-tuned with the CLIP loss on captions that
name the object (obj), or object and colour (objbkg); supervised, which is ERM with a
perceptron on the image features. Image-text models are asked with captions of the
object alone. Learning rate, weight decay and warm-up are chosen by accuracy on
in-distribution photos kept for that.

Source: Wang et al. 2024 (arXiv 2403.11497v1), section 6.2 and Table 7.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from evaluation.errors import ConfigError
from evaluation.theory._shares import difference_interval, mean_share
from evaluation.theory.cutouts import CutOuts, compose

if TYPE_CHECKING:
    from numpy.typing import NDArray

SOURCE = "Wang et al. 2024 (arXiv 2403.11497v1), Table 7"
REFERENCE = Path(__file__).parent / "reference" / "table7_coloredcoco.csv"

AGREE = 0.8
"""Share of photos whose colour is their class's, in training and in distribution."""

Approach = Literal["zero shot", "obj", "objbkg", "supervised"]
APPROACHES: tuple[Approach, ...] = get_args(Approach)
Tune = Literal["head", "all"]
Part = Literal["train", "choose", "id", "ood"]

OWN = {
    "red": (220, 20, 20), "green": (20, 160, 40), "blue": (30, 60, 220),
    "yellow": (240, 220, 30), "purple": (130, 40, 160), "orange": (245, 130, 20),
    "cyan": (30, 210, 220), "pink": (250, 130, 180), "brown": (120, 70, 30),
}  # fmt: skip
"""Colours of classes, in their order."""

OTHERS = {
    "black": (10, 10, 10), "white": (245, 245, 245), "gray": (128, 128, 128),
    "navy": (10, 15, 90), "olive": (120, 120, 20), "teal": (10, 110, 110),
    "maroon": (100, 10, 30), "gold": (200, 160, 60), "violet": (190, 150, 250),
    "lime": (170, 250, 60),
}  # fmt: skip
"""The ten that 20 % of photos have, whatever their class."""

COLOURS = {**OWN, **OTHERS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """Photos, steps and what is tried.

    Attributes:
        n_train: photos trained on; ≥ 2.
        n_choose: in-distribution photos that settings are chosen by; ≥ 1.
        n_test: photos of each test; ≥ 1.
        steps: of one training.
        batch: photos of a step.
        rates: learning rates tried.
        decays: weight decays tried.
        warmups: steps over which the learning rate rises, tried.
        tune: "head" trains the text tower and what follows the image tower's features,
            which are computed once; "all" trains everything.
        device: torch's name, or "auto".
    """

    n_train: int = 270
    n_choose: int = 90
    n_test: int = 270
    steps: int = 60
    batch: int = 64
    rates: tuple[float, ...] = (1e-3, 1e-4, 1e-5)
    decays: tuple[float, ...] = (0.1, 1e-5)
    warmups: tuple[int, ...] = (0, 20)
    tune: Tune = "head"
    device: str = "auto"

    def __post_init__(self) -> None:
        """Refuse sizes that leave nothing to measure.

        Raises:
            ConfigError: a count below its least, or nothing to try.
        """
        for name, least in (
            ("n_train", 2),
            ("n_choose", 1),
            ("n_test", 1),
            ("steps", 1),
            ("batch", 2),
        ):
            if getattr(self, name) < least:
                message = f"{name} is {least} or more, not {getattr(self, name)}"
                raise ConfigError(message)
        if not (self.rates and self.decays and self.warmups):
            message = "there is no learning rate, weight decay or warm-up to try"
            raise ConfigError(message)
        if min(self.rates) <= 0 or min((*self.decays, *self.warmups)) < 0:
            message = "learning rates are above 0, weight decays and warm-ups 0 or more"
            raise ConfigError(message)
        if self.tune not in get_args(Tune):
            message = f"tune is one of {', '.join(get_args(Tune))}, not {self.tune!r}"
            raise ConfigError(message)

    def grid(self) -> list["Choice"]:
        """Every combination that is tried."""
        return [
            Choice(lr=lr, weight_decay=decay, warmup=warmup)
            for lr, decay, warmup in product(self.rates, self.decays, self.warmups)
        ]


FULL = Design(
    n_train=9000,
    n_choose=900,
    n_test=900,
    steps=2000,
    decays=(0.1, 1e-3, 1e-5),
    warmups=(0, 1000),
    tune="all",
)
"""The paper's grid and numbers of its order; for a GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Settings of one training."""

    lr: float
    weight_decay: float
    warmup: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Photos:
    """Composed photos.

    Attributes:
        pixels: (N, 3, S, S) uint8.
        label: (N,) int64, class.
        colour: (N,) int64, row of `COLOURS`.
    """

    pixels: "NDArray[np.uint8]"
    label: "NDArray[np.int64]"
    colour: "NDArray[np.int64]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the table; fractions, means over seeds.

    Attributes:
        model: which image-text model, or whose image features.
        approach: what was done with it.
        in_distribution: accuracy where colours agree as in training.
        id_ci: its 95 % interval, see `evaluation.theory._shares.mean_share`.
        out_of_distribution: accuracy where every colour is another class's.
        ood_ci: its 95 % interval.
        drop: in_distribution - out_of_distribution.
        drop_ci: its 95 % interval (Newcombe).
        chosen: settings, for each seed; empty for zero shot.
        seeds: training sets.
        n_test: photos of each test and seed.
    """

    model: str
    approach: Approach
    in_distribution: float
    id_ci: tuple[float, float]
    out_of_distribution: float
    ood_ci: tuple[float, float]
    drop: float
    drop_ci: tuple[float, float]
    chosen: tuple[Choice, ...]
    seeds: int
    n_test: int


def colours(
    labels: "NDArray[np.int64]", classes: int, *, part: Part, rng: np.random.Generator
) -> "NDArray[np.int64]":
    """(N,) rows of `COLOURS` for photos of these classes.

    Args:
        labels: (N,) int64 in [0, classes).
        classes: how many there are, at most nine.
        part: "ood" has another class's colour, all else agree in 80 %.
        rng: of everything drawn.
    """
    n = len(labels)
    if part == "ood":
        return (labels + rng.integers(1, classes, n)) % classes
    other = len(OWN) + rng.integers(0, len(OTHERS), n)
    return np.where(rng.random(n) < AGREE, labels, other)


def photos(
    cutouts: CutOuts, n: int, *, part: Part, size: int, rng: np.random.Generator
) -> Photos:
    """Draw n photos, as many of each class as fits.

    Args:
        cutouts: the objects; training and choosing use one side, tests the other.
        n: photos.
        part: what they are for.
        size: side in pixels.
        rng: of everything drawn.
    """
    classes = len(cutouts.classes)
    label = rng.permutation(np.arange(n) % classes)
    colour = colours(label, classes, part=part, rng=rng)
    sides = cutouts.test if part in ("id", "ood") else cutouts.train
    rgb = list(COLOURS.values())
    pixels = np.empty((n, 3, size, size), np.uint8)
    for row, (kind, shade) in enumerate(zip(label, colour, strict=True)):
        several = sides[kind]
        cutout = several[int(rng.integers(len(several)))]
        photo = compose(cutout, rgb[shade], size=size, rng=rng)
        pixels[row] = photo.transpose(2, 0, 1)
    return Photos(pixels=pixels, label=label, colour=colour)


def caption(name: str, colour: str | None = None) -> str:
    """What a photo's caption says.

    Example:
        >>> caption("bison"), caption("bison", "red")
        ('A photo of bison.', 'A photo of bison on a red background.')
    """
    return f"A photo of {name}{f' on a {colour} background' if colour else ''}."


def table(
    model: str,
    cutouts: CutOuts,
    *,
    design: Design | None = None,
    seeds: int = 1,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Row]:
    """Zero shot, both fine-tunings and ERM, in and out of distribution.

    Args:
        model: an image-text model, such as "demo:clip-balanced" or any `open_clip:…`.
        cutouts: the objects, at most nine classes.
        design: sizes and grid; the demonstration's by default.
        seeds: training sets, each with its photos and trainings; ≥ 1.
        seed: of all random numbers.
        progress: told (trainings done, trainings in all).

    Raises:
        ConfigError: more than nine classes, no seed, or a model that has no texts or,
            for "head", no known head.
        RemoteError: the model's weights are not at hand and cannot be fetched.
    """
    from evaluation.theory._finetune import Bench

    if len(cutouts.classes) > len(OWN):
        message = (
            f"at most {len(OWN)} classes have a colour, not {len(cutouts.classes)}"
        )
        raise ConfigError(message)
    if seeds < 1:
        message = f"seeds is 1 or more, not {seeds}"
        raise ConfigError(message)
    design = design or Design()
    bench = Bench(model, cutouts, design)
    total = seeds * (len(APPROACHES) - 1) * len(design.grid())
    done = 0

    def tell() -> None:
        nonlocal done
        done += 1
        progress(done, total)

    results: dict[Approach, list[tuple[int, int, Choice | None]]] = {}
    for each in range(seeds):
        bench.prepare(seed + each)
        for approach in APPROACHES:
            results.setdefault(approach, []).append(bench.measure(approach, tell))
    return [
        _row(model, approach, found, design.n_test)
        for approach, found in results.items()
    ]


def paper() -> Iterator[dict[str, str]]:
    """Rows of Table 7 as printed, in points."""
    with REFERENCE.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _row(
    model: str,
    approach: Approach,
    found: Sequence[tuple[int, int, Choice | None]],
    n: int,
) -> Row:
    inside, inside_ci = mean_share([one[0] for one in found], n)
    outside, outside_ci = mean_share([one[1] for one in found], n)
    return Row(
        model=model,
        approach=approach,
        in_distribution=inside,
        id_ci=inside_ci,
        out_of_distribution=outside,
        ood_ci=outside_ci,
        drop=inside - outside,
        drop_ci=difference_interval(inside, inside_ci, outside, outside_ci),
        chosen=tuple(choice for *_, choice in found if choice),
        seeds=len(found),
        n_test=n,
    )
