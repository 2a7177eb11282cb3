"""Label spaces: the classes a model has to choose among.

imagenet  all 1,000 ImageNet classes (1 against 1,000)
dataset   only the classes of the dataset
NAME      a file of this package's `subsets/`, such as demo28
FILE      a CSV with a column `imagenet_index`

Classes are keyed by ImageNet index, or by their position in the dataset where one of
them is not in ImageNet; never by name, because two names stand for two classes each.
"""

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evaluation import imagenet
from evaluation.errors import ConfigError, nearest

_SUBSETS = Path(__file__).parent / "subsets"


@dataclass(frozen=True, slots=True)
class ClassInfo:
    """A class of a dataset.

    Attributes:
        name: as the dataset calls it.
        imagenet_index: 0 to 999, or None when it is not an ImageNet class.
    """

    name: str
    imagenet_index: int | None


@dataclass(frozen=True, slots=True)
class LabelSpace:
    """Classes in column order.

    Attributes:
        name: as asked for.
        keyed_by: what `keys` are: ImageNet indices, or positions in the dataset.
        keys: one per column, all different.
        names: what prompts and reports call them; need not be different.
    """

    name: str
    keyed_by: Literal["imagenet", "dataset"]
    keys: tuple[int, ...]
    names: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Hex digest of keys and names, one a line."""
        lines = (f"{k}\t{n}" for k, n in zip(self.keys, self.names, strict=True))
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def columns(self, classes: Sequence[ClassInfo]) -> tuple[int, ...]:
        """Column of each of a dataset's classes, in the dataset's order.

        Raises:
            ConfigError: a class is not in this label space; names it.
        """
        place = {key: column for column, key in enumerate(self.keys)}
        found = []
        for position, item in enumerate(classes):
            key = item.imagenet_index if self.keyed_by == "imagenet" else position
            if key is None or key not in place:
                what = "no ImageNet class" if key is None else f"ImageNet class {key}"
                message = (
                    f"class {item.name!r} ({what}) is not in the label space "
                    f"{self.name!r}: its {len(self.keys)} classes cannot include the "
                    "right answer. Use --label-space dataset, or begin the class "
                    "folder's name with its ImageNet index"
                )
                raise ConfigError(message)
            found.append(place[key])
        return tuple(found)


def label_space(name: str, classes: Sequence[ClassInfo]) -> LabelSpace:
    """The label space of a name or file, for a dataset's classes.

    Raises:
        ConfigError: unknown name, a file that is no such CSV, or two classes of the
            dataset with one ImageNet index.

    Example:
        >>> label_space("imagenet", []).names[9]
        'ostrich'
        >>> label_space("dataset", [ClassInfo("b", 9), ClassInfo("a", 3)]).keys
        (3, 9)
    """
    if name == "imagenet":
        return _of_imagenet(name, range(imagenet.CLASSES))
    if name == "dataset":
        return _of_dataset(name, classes)
    known = subsets()
    path = known.get(name, Path(name).expanduser())
    if not path.is_file():
        hint = nearest(name, ["imagenet", "dataset", *known])
        message = f"no label space and no file {name!r}; {hint}"
        raise ConfigError(message)
    return _of_imagenet(name, _read_indices(path))


def subsets() -> dict[str, Path]:
    """Files of the named subsets of ImageNet that ship with the package."""
    return {path.stem: path for path in sorted(_SUBSETS.glob("*.csv"))}


def _of_imagenet(name: str, indices: Sequence[int]) -> LabelSpace:
    names = imagenet.names()
    keys = tuple(sorted(indices))
    return LabelSpace(
        name=name,
        keyed_by="imagenet",
        keys=keys,
        names=tuple(names[key] for key in keys),
    )


def _of_dataset(name: str, classes: Sequence[ClassInfo]) -> LabelSpace:
    indices = [item.imagenet_index for item in classes]
    known = [index for index in indices if index is not None]
    if len(known) == len(indices):
        if len(set(known)) < len(known):
            twice = next(index for index in known if known.count(index) > 1)
            both = [item.name for item in classes if item.imagenet_index == twice]
            message = f"classes {both} have the same ImageNet index {twice}"
            raise ConfigError(message)
        return _of_imagenet(name, known)
    return LabelSpace(
        name=name,
        keyed_by="dataset",
        keys=tuple(range(len(classes))),
        names=tuple(item.name for item in classes),
    )


def _read_indices(path: Path) -> list[int]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            indices = [int(row["imagenet_index"]) for row in csv.DictReader(file)]
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        message = f"label space {path}: needs a column imagenet_index of whole numbers"
        raise ConfigError(message) from error
    wrong = [index for index in indices if not 0 <= index < imagenet.CLASSES]
    if wrong or not indices or len(set(indices)) < len(indices):
        found = f"found {wrong[0]}" if wrong else "an index is missing or there twice"
        message = f"label space {path}: {found}; indices are different and 0 to 999"
        raise ConfigError(message)
    return indices
