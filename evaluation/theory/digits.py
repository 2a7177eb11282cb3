"""Digits to colour: MNIST where it is at hand, or scikit-learn's as a stand-in.

    sklearn      scikit-learn's digits: 8 x 8 pixels, 1,797 of them; NOT MNIST
    mnist        MNIST, kept in the user's cache; downloaded by torchvision if need be
    <folder>     MNIST in a folder laid out as torchvision does: MNIST/raw/*-ubyte;
                 digits of other numbers in that format are not called MNIST

All become 14 x 14 greys. Every result names the digits it is of.
"""

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from evaluation.errors import ConfigError, InputError, RemoteError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 14
TRAIN = 50_000
"""Photos of MNIST's training file that are trained on, the first ones. Table 8's
numbers of photos are how many of these show a digit below k: 10,610 for two."""

_SKLEARN_TRAIN = 0.7
_MNIST = (60_000, 10_000)
_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_LAYOUT = "<folder>/MNIST/raw/ with " + ", ".join(_FILES) + " (or the same with .gz)"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Digits:
    """Greys and what they show; no digit is on both sides.

    Attributes:
        name: what they are, such as "MNIST".
        train: (N, 196) float32 in [0, 1], rows of 14 pixels, 0 is the background.
        train_shape: (N,) int64, 0-9.
        test: (M, 196) float32.
        test_shape: (M,) int64.
        mnist: whether they are MNIST, all of it.
    """

    name: str
    train: "NDArray[np.float32]"
    train_shape: "NDArray[np.int64]"
    test: "NDArray[np.float32]"
    test_shape: "NDArray[np.int64]"
    mnist: bool


def digits(source: str = "sklearn") -> Digits:
    """Digits of a source: "sklearn", "mnist" or a folder.

    Raises:
        ConfigError: scikit-learn is not installed, or the folder has no MNIST.
        InputError: MNIST's files are there but cannot be read.
        RemoteError: MNIST is not at hand and cannot be downloaded.
    """
    if source == "sklearn":
        return _sklearn()
    if source == "mnist":
        return _mnist(cache_folder(), download=True)
    folder = Path(source)
    if not _at_hand(folder):
        message = (
            f"no MNIST in {folder}: expected {_LAYOUT}; or take `sklearn`, which needs "
            "no files, or `mnist`, which downloads them"
        )
        raise ConfigError(message)
    return _mnist(folder, download=False)


def cache_folder() -> Path:
    """Where downloaded digits are kept: $XDG_CACHE_HOME/counterset or ~/.cache/…."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "counterset"


def _at_hand(folder: Path) -> bool:
    raw = folder / "MNIST" / "raw"
    return all((raw / f).is_file() or (raw / f"{f}.gz").is_file() for f in _FILES)


def _sklearn() -> Digits:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        message = (
            "scikit-learn's digits need the package scikit-learn: "
            "pip install 'counterset[theory]', or name a folder with MNIST"
        )
        raise ConfigError(message) from error
    found = load_digits()
    greys = np.stack([_resized(image * (255 / 16)) for image in found.images])
    shapes = found.target.astype(np.int64)
    # in the file's order, which goes by writers: a random cut would mix their hands
    cut = int(_SKLEARN_TRAIN * len(shapes))
    return Digits(
        name="scikit-learn digits (8x8 pixels, not MNIST)",
        train=greys[:cut],
        train_shape=shapes[:cut],
        test=greys[cut:],
        test_shape=shapes[cut:],
        mnist=False,
    )


def _mnist(folder: Path, *, download: bool) -> Digits:
    from torchvision.datasets import MNIST

    def part(*, train: bool) -> Any:  # noqa: ANN401
        # torchvision tells of failed mirrors on stdout, which is for results
        with contextlib.redirect_stdout(sys.stderr):
            return MNIST(folder, train=train, download=download)

    fetch = download and not _at_hand(folder)
    try:
        sides = part(train=True), part(train=False)
    except Exception as error:  # torchvision raises whatever its readers raise
        if fetch:
            message = (
                f"MNIST is not at hand and cannot be downloaded ({error}); put its "
                f"files in a folder and name that: {_LAYOUT}; or take `sklearn`, which "
                "works offline but is not MNIST"
            )
            raise RemoteError(message) from error
        message = f"MNIST in {folder} cannot be read: {error}"
        raise InputError(message) from error
    (train, train_shape), (test, test_shape) = (
        (_halved(side.data.numpy()), side.targets.numpy().astype(np.int64))
        for side in sides
    )
    whole = (len(train), len(test)) == _MNIST
    part_of = f"digits in MNIST's format ({len(train)} and {len(test)}, not all of it)"
    return Digits(
        name="MNIST" if whole else part_of,
        train=train[:TRAIN],
        train_shape=train_shape[:TRAIN],
        test=test,
        test_shape=test_shape,
        mnist=whole,
    )


def _halved(images: "NDArray[np.uint8]") -> "NDArray[np.float32]":
    """(N, 28, 28) uint8 to (N, 196) float32: means of 2 x 2 pixels."""
    blocks = images.reshape(len(images), SIDE, 2, SIDE, 2)
    means: NDArray[np.float32] = blocks.mean(axis=(2, 4), dtype=np.float32)
    return means.reshape(len(images), SIDE * SIDE) / np.float32(255)


def _resized(image: "NDArray[np.float64]") -> "NDArray[np.float32]":
    picture = Image.fromarray(image.astype(np.float32))
    larger = picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return (np.asarray(larger, np.float32) / 255).clip(0, 1).ravel()
