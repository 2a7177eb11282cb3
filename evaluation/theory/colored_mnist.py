"""MultiColoredMNIST: contrastive against supervised learning where colours mislead.

Digits 0 to k-1 in k colours. A photo's label is the digit shown with chance p_inv, else
any other of the k. Only the classes 0 and 1 lean on a colour: theirs agrees with the
label with chance p_spu, else is any other; all other classes have any of the k colours.
Two tests have the same label noise and other colours: in Rand every class has any of
the k, in Rev the classes 0 and 1 have their own in 10 % and each other's in 90 %.

Contrastive learning of captions that name digit and colour is learning to tell both,
with one cross-entropy for each (Eq. 10); supervised learning tells the digit only.

The paper does not say all of this. That labels of the tests are noisy too, and that
Rev swaps 0 and 1 rather than spreads, is read from Table 8: no accuracy there is above
p_inv, and spread colours could not give a Rev accuracy as low beside Rand's. Networks
and their training are ours (a perceptron with one hidden layer), so its numbers are set
beside the paper's, not expected to equal them.

Source: Wang et al. 2024 (arXiv 2403.11497v1), section 6.2, Eq. 10 and Table 8.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from evaluation.errors import ConfigError
from evaluation.theory.digits import Digits

if TYPE_CHECKING:
    from numpy.typing import NDArray

SOURCE = "Wang et al. 2024 (arXiv 2403.11497v1), Eq. 10 and Table 8"
REFERENCE = Path(__file__).parent / "reference" / "table8_multicoloredmnist.csv"

CLASSES = (2, 3, 5, 6, 8, 10)
"""Numbers of classes in Table 8."""
TRAINED = {2: 10610, 3: 15578, 5: 25538, 6: 30044, 8: 40170, 10: 50000}
"""Training photos in Table 8, by number of classes."""
SHARES = ((0.9, 0.75), (0.9, 0.9), (0.75, 0.75), (0.75, 0.9))
"""(p_inv, p_spu) in Table 8, in its order."""
OWN_IN_REV = 0.1

Colouring = Literal["train", "rand", "rev"]
Method = Literal["contrastive", "supervised"]
METHODS: tuple[Method, ...] = get_args(Method)

PALETTE = np.array(
    [
        (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255),
        (0, 255, 255), (255, 128, 0), (128, 0, 255), (128, 255, 128), (255, 255, 255),
    ],
    np.float32,
) / np.float32(255)  # fmt: skip
"""(10, 3) RGB in [0, 1]; class 0 leans on red, class 1 on green."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One distribution of MultiColoredMNIST.

    Attributes:
        k: classes and colours, one of `CLASSES`.
        p_inv: chance that the label is the digit shown, in [0, 1].
        p_spu: chance that the colour of classes 0 and 1 agrees with the label.
        n_train: photos of one training set; ≥ 1.
        n_test: photos of each test; ≥ 2.
    """

    k: int
    p_inv: float
    p_spu: float
    n_train: int
    n_test: int

    def __post_init__(self) -> None:
        """Refuse what the data set has no place for.

        Raises:
            ConfigError: k is not in Table 8, or a value out of its range.
        """
        if self.k not in CLASSES:
            known = ", ".join(map(str, CLASSES))
            message = f"the number of classes is one of {known}, not {self.k}"
            raise ConfigError(message)
        for name in ("p_inv", "p_spu"):
            if not 0 <= getattr(self, name) <= 1:
                message = f"{name} is between 0 and 1, not {getattr(self, name)}"
                raise ConfigError(message)
        if self.n_train < 1 or self.n_test < 2:
            message = (
                "there is at least 1 photo to train on and 2 to test on, not "
                f"{self.n_train} and {self.n_test}"
            )
            raise ConfigError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How networks are trained; the same for both methods.

    Attributes:
        hidden: units of the one hidden layer.
        epochs: passes over the training set.
        batch: photos of a step.
        lr: Adam's learning rate.
        device: torch's name, such as "cpu" or "cuda".
    """

    hidden: int = 128
    epochs: int = 10
    batch: int = 128
    lr: float = 1e-3
    device: str = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Coloured:
    """Coloured digits, by reference to the greys they are made of.

    Attributes:
        photo: (N,) int64, row of the grey.
        label: (N,) int64, noisy label in [0, k).
        colour: (N,) int64, in [0, k).
    """

    photo: "NDArray[np.int64]"
    label: "NDArray[np.int64]"
    colour: "NDArray[np.int64]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A row of the table; accuracies are fractions, over seeds.

    Attributes:
        world: the distribution.
        method: how it was learned.
        digits: what the digits are.
        seeds: training sets and networks.
        distinct: digits that training photos are made of.
        rand01: (mean, standard deviation) on classes 0 and 1 of Rand.
        rev01: the same of Rev.
        rest: the same on the other classes of Rand; None for two classes.
    """

    world: World
    method: Method
    digits: str
    seeds: int
    distinct: int
    rand01: tuple[float, float]
    rev01: tuple[float, float]
    rest: tuple[float, float] | None


def worlds(
    classes: Sequence[int] = CLASSES,
    *,
    shares: Sequence[tuple[float, float]] = SHARES,
    at_most: int | None = None,
    n_test: int = 10000,
) -> list[World]:
    """Table 8's worlds.

    Args:
        classes: numbers of classes.
        shares: pairs (p_inv, p_spu).
        at_most: no more training photos than this; None for Table 8's numbers.
        n_test: photos of each test.

    Raises:
        ConfigError: a number that is not in Table 8.
    """
    found = []
    for k, (p_inv, p_spu) in product(classes, shares):
        n = TRAINED.get(k, 1)
        n_train = n if at_most is None else min(n, at_most)
        found.append(
            World(k=k, p_inv=p_inv, p_spu=p_spu, n_train=n_train, n_test=n_test)
        )
    return found


def labelled(
    shapes: "NDArray[np.int64]", world: World, rng: np.random.Generator
) -> "NDArray[np.int64]":
    """(N,) noisy labels: the digit shown with chance p_inv, else any other of the k."""
    kept = rng.random(len(shapes)) < world.p_inv
    return np.where(kept, shapes, _another(shapes, world.k, rng))


def coloured(
    labels: "NDArray[np.int64]",
    world: World,
    colouring: Colouring,
    rng: np.random.Generator,
) -> "NDArray[np.int64]":
    """(N,) colours in [0, k), as training or one of the tests has them."""
    anything = rng.integers(0, world.k, len(labels))
    if colouring == "rand":
        return anything
    if colouring == "train":
        own = rng.random(len(labels)) < world.p_spu
        leaning = np.where(own, labels, _another(labels, world.k, rng))
    else:
        own = rng.random(len(labels)) < OWN_IN_REV
        leaning = np.where(own, labels, 1 - labels)
    return np.where(labels < 2, leaning, anything)


def draw(
    shapes: "NDArray[np.int64]",
    n: int,
    *,
    world: World,
    colouring: Colouring,
    rng: np.random.Generator,
) -> Coloured:
    """Draw n coloured digits of the classes below k.

    Digits are taken without repeats as far as they go; where n is more than there are,
    all are taken as often as fits, with noise and colour drawn anew each time.

    Args:
        shapes: (M,) digit of every grey there is.
        n: photos.
        world: the distribution.
        colouring: of training or a test.
        rng: of everything drawn.
    """
    usable = np.flatnonzero(shapes < world.k)
    rounds = -(-n // len(usable))
    photo = np.concatenate([rng.permutation(usable) for _ in range(rounds)])[:n]
    label = labelled(shapes[photo], world, rng)
    return Coloured(
        photo=photo, label=label, colour=coloured(label, world, colouring, rng)
    )


def table(
    asked: Sequence[World],
    digits: Digits,
    *,
    seeds: int = 10,
    seed: int = 0,
    training: Training | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Cell]:
    """Both methods in every world, over seeds.

    Args:
        asked: the worlds.
        digits: greys to colour.
        seeds: training sets, each with a network for each method; ≥ 2.
        seed: of all random numbers.
        training: how networks are trained.
        progress: told (worlds done, worlds in all).

    Raises:
        ConfigError: fewer than 2 seeds, which have no standard deviation.
    """
    if seeds < 2:
        message = f"a mean and a deviation over seeds need 2 or more, not {seeds}"
        raise ConfigError(message)
    cells: list[Cell] = []
    for done, world in enumerate(asked, 1):
        cells += _measured(world, digits, seeds, seed, training or Training())
        progress(done, len(asked))
    return cells


def paper() -> Iterator[dict[str, str]]:
    """Rows of Table 8 as printed, in points."""
    with REFERENCE.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _measured(
    world: World, digits: Digits, seeds: int, seed: int, training: Training
) -> list[Cell]:
    from evaluation.theory._perceptrons import accuracies

    rngs = [
        np.random.default_rng([seed, world.k, _thousandths(world), each])
        for each in range(seeds)
    ]
    drawn = {
        colouring: [
            draw(shapes, n, world=world, colouring=colouring, rng=rng) for rng in rngs
        ]
        for colouring, shapes, n in _sets(world, digits)
    }
    right = accuracies(digits, drawn, world=world, training=training, seed=seed)
    distinct = min(int((digits.train_shape < world.k).sum()), world.n_train)
    return [
        Cell(
            world=world,
            method=method,
            digits=digits.name,
            seeds=seeds,
            distinct=distinct,
            rand01=_spread(found["rand01"]),
            rev01=_spread(found["rev01"]),
            rest=_spread(found["rest"]) if world.k > 2 else None,
        )
        for method, found in right.items()
    ]


def _sets(
    world: World, digits: Digits
) -> "list[tuple[Colouring, NDArray[np.int64], int]]":
    return [
        ("train", digits.train_shape, world.n_train),
        ("rand", digits.test_shape, world.n_test),
        ("rev", digits.test_shape, world.n_test),
    ]


def _thousandths(world: World) -> int:
    """What tells worlds of one k apart, as a number for a seed."""
    return round(1000 * world.p_inv) * 1001 + round(1000 * world.p_spu)


def _another(
    values: "NDArray[np.int64]", k: int, rng: np.random.Generator
) -> "NDArray[np.int64]":
    """Any of the k but the value itself, evenly."""
    return (values + rng.integers(1, k, len(values))) % k


def _spread(values: "NDArray[np.float64]") -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1))
