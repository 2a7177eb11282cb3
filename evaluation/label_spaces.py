"""Label spaces: the classes a model has to choose among.

imagenet      all 1,000 ImageNet classes (1 against 1,000)
dataset       only the classes of the dataset
confusing20   for each class the 20 that a reference model confuses it with most
              (1 against 20); `confusing20@MODEL` names the model, any number will do
NAME          a file of this package's `subsets/`, such as demo28 or imagenet-r
FILE          a CSV with a column `imagenet_index`, and `class` where several indices
              are one class; or a table that `evaluation.confusing` wrote

Classes are keyed by ImageNet index, or by their position in the dataset where one of
them is not in ImageNet; never by name, because two names stand for two classes each.

A class of a dataset may stand for several ImageNet classes (ObjectNet,
ImageNet-Vid-Robust). They are one column then, whose logit is their largest, so that
the most probable column is the class of the most probable of them.
"""

import csv
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from evaluation import imagenet
from evaluation.errors import ConfigError, nearest

_SUBSETS = Path(__file__).parent / "subsets"
_CONFUSING = re.compile(r"confusing(\d+)(?:@(.+))?")


@dataclass(frozen=True, slots=True)
class ClassInfo:
    """A class of a dataset.

    Attributes:
        name: as the dataset calls it.
        imagenet_index: 0 to 999, or None when it is not an ImageNet class.
        more: further ImageNet classes it stands for; with these, all are one class.
    """

    name: str
    imagenet_index: int | None
    more: tuple[int, ...] = ()

    @property
    def indices(self) -> tuple[int, ...]:
        """All ImageNet classes it stands for, ascending."""
        if self.imagenet_index is None:
            return ()
        return tuple(sorted({self.imagenet_index, *self.more}))


@dataclass(frozen=True, slots=True)
class Column:
    """A class that can be chosen.

    Attributes:
        key: what predictions call it: an ImageNet index (the lowest of several), or a
            position in the dataset.
        name: for people.
        indices: ImageNet classes it stands for, ascending; none outside ImageNet.
        words: names that prompts are made of, each with its ImageNet index if it has
            one; the column's logit is the largest of theirs.
    """

    key: int
    name: str
    indices: tuple[int, ...]
    words: tuple[tuple[str, int | None], ...]


@dataclass(frozen=True)
class LabelSpace:
    """Classes in column order.

    Attributes:
        name: as asked for.
        keyed_by: what keys are: ImageNet indices, or positions in the dataset.
        columns: the classes, keys all different.
        class_names: which list of names the prompts use.
        choices: for a right column, those it is chosen among, itself included; empty
            when every class is chosen among all. Other columns' logits are -inf then.
        about: what else a reader must know, such as the model behind `choices`.
    """

    name: str
    keyed_by: Literal["imagenet", "dataset"]
    columns: tuple[Column, ...]
    class_names: str = imagenet.DEFAULT_NAMES
    choices: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    about: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def keys(self) -> tuple[int, ...]:
        """One per column."""
        return tuple(column.key for column in self.columns)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """One per column; need not be different."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def sha256(self) -> str:
        """Hex digest of all that decides an answer: keys, names, words, choices."""
        sha = hashlib.sha256()
        for column in self.columns:
            sha.update(f"{column.key}\t{column.name}".encode())
            if column.words != ((column.name, column.key),):
                sha.update(f"\t{column.indices}\t{column.words}".encode())
            sha.update(b"\n")
        for right in sorted(self.choices):
            sha.update(f"{right}: {self.choices[right]}\n".encode())
        return sha.hexdigest()

    def places(self, classes: Sequence[ClassInfo]) -> tuple[int, ...]:
        """Column of each of a dataset's classes, in the dataset's order.

        Raises:
            ConfigError: a class is not in this label space; names it.
        """
        if self.keyed_by == "dataset":
            return tuple(range(len(classes)))
        place = {
            index: number
            for number, column in enumerate(self.columns)
            for index in column.indices
        }
        found = []
        for item in classes:
            inside = [place[index] for index in item.indices if index in place]
            if not inside:
                raise ConfigError(_outside(item, self))
            found.append(inside[0])
        return tuple(found)


def label_space(
    name: str,
    classes: Sequence[ClassInfo],
    *,
    class_names: str = imagenet.DEFAULT_NAMES,
) -> LabelSpace:
    """The label space of a name or file, for a dataset's classes.

    Args:
        name: see the module; `confusing…` must have been made into a file before.
        classes: of the dataset.
        class_names: list of names that prompts are made of: see `imagenet.names`.

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
        whole = [("", (index,)) for index in range(imagenet.CLASSES)]
        return _merged(_of_imagenet(name, whole, class_names), classes)
    if name == "dataset":
        return _of_dataset(name, classes, class_names)
    known = subsets()
    path = known.get(name, Path(name).expanduser())
    if not path.is_file():
        hint = nearest(name, ["imagenet", "dataset", "confusing20", *known])
        message = f"no label space and no file {name!r}; {hint}"
        raise ConfigError(message)
    rows = _rows(path)
    if rows and "candidate_index" in rows[0]:
        return _confusing(name, rows, path, class_names)
    return _merged(_of_imagenet(name, _members(rows, path), class_names), classes)


def confusing(name: str) -> tuple[int, str | None] | None:
    """What `confusing<K>[@MODEL]` asks for; None for any other name.

    Example:
        >>> confusing("confusing20@demo:clip"), confusing("imagenet")
        ((20, 'demo:clip'), None)
    """
    form = _CONFUSING.fullmatch(name)
    if form is None:
        return None
    if int(form[1]) < 2:
        message = f"label space {name!r}: a model chooses among at least 2 classes"
        raise ConfigError(message)
    return int(form[1]), form[2]


def subsets() -> dict[str, Path]:
    """Files of the named subsets of ImageNet that ship with the package."""
    return {path.stem: path for path in sorted(_SUBSETS.glob("*.csv"))}


def subset_indices(name: str) -> tuple[int, ...]:
    """ImageNet indices of a named subset, ascending.

    Raises:
        ConfigError: no such subset.
    """
    known = subsets()
    if name not in known:
        message = f"no subset {name!r}; {nearest(name, known)}"
        raise ConfigError(message)
    members = _members(_rows(known[name]), known[name])
    return tuple(sorted(index for _, group in members for index in group))


# --- how they are made ---------------------------------------------------------------


_Group = tuple[str, tuple[int, ...]]
"""ImageNet classes that are one class, ascending, and its name if it has its own."""


def _of_imagenet(name: str, groups: Sequence[_Group], class_names: str) -> LabelSpace:
    """A column per group of ImageNet classes, by the lowest index of each."""
    names = imagenet.names(class_names)
    columns = tuple(
        Column(
            key=group[0],
            name=own if own and len(group) > 1 else names[group[0]],
            indices=group,
            words=tuple((names[index], index) for index in group),
        )
        for own, group in sorted(groups, key=lambda one: one[1])
    )
    return LabelSpace(name, "imagenet", columns, class_names)


def _merged(space: LabelSpace, classes: Sequence[ClassInfo]) -> LabelSpace:
    """Columns of ImageNet classes that are one class of the dataset become one."""
    many = [item for item in classes if len(item.indices) > 1]
    if not many:
        return space
    taken = {index: item for item in many for index in item.indices}
    there = {index: column for column in space.columns for index in column.indices}
    columns = [
        column
        for column in space.columns
        if not any(index in taken for index in column.indices)
    ]
    for item in many:
        inside = tuple(index for index in item.indices if index in there)
        if inside:
            names = imagenet.names(space.class_names)
            words = tuple((names[index], index) for index in inside)
            columns.append(Column(item.indices[0], item.name, inside, words))
    columns.sort(key=lambda column: column.key)
    return replace(space, columns=tuple(columns))


def _of_dataset(
    name: str, classes: Sequence[ClassInfo], class_names: str
) -> LabelSpace:
    groups = [item.indices for item in classes]
    flat = [index for group in groups for index in group]
    if len(set(flat)) < len(flat):
        twice = next(index for index in flat if flat.count(index) > 1)
        both = [item.name for item in classes if twice in item.indices]
        message = f"classes {both} have the same ImageNet index {twice}"
        raise ConfigError(message)
    if groups and all(len(group) == 1 for group in groups):
        return _of_imagenet(name, [("", group) for group in groups], class_names)
    columns = tuple(
        Column(position, item.name, item.indices, ((item.name, None),))
        for position, item in enumerate(classes)
    )
    return LabelSpace(name, "dataset", columns, class_names)


def _confusing(
    name: str, rows: Sequence[Mapping[str, str]], path: Path, class_names: str
) -> LabelSpace:
    """Columns of all that is confused with anything, and who is confused with whom."""
    chosen: dict[int, list[int]] = {}
    for row in rows:
        index = _index(row, "imagenet_index", path)
        chosen.setdefault(index, []).append(_index(row, "candidate_index", path))
    for index, others in chosen.items():
        if index not in others or len(set(others)) < len(others):
            message = (
                f"label space {path}: the candidates of class {index} must be "
                "different, and itself among them"
            )
            raise ConfigError(message)
    every = sorted({one for others in chosen.values() for one in others})
    space = _of_imagenet(name, [("", (one,)) for one in every], class_names)
    place = {key: column for column, key in enumerate(space.keys)}
    choices = {
        place[index]: tuple(sorted(place[one] for one in others))
        for index, others in chosen.items()
    }
    about = {"candidates_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    if model := rows[0].get("model"):
        about["candidates_from"] = model
    return replace(space, choices=choices, about=about)


def _outside(item: ClassInfo, space: LabelSpace) -> str:
    what = f"ImageNet class {item.indices[0]}" if item.indices else "no ImageNet class"
    return (
        f"class {item.name!r} ({what}) is not in the label space "
        f"{space.name!r}: its {len(space.columns)} classes cannot include the "
        "right answer. Use --label-space dataset, or begin the class "
        "folder's name with its ImageNet index"
    )


# --- files ---------------------------------------------------------------------------


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        message = f"label space {path} cannot be read: {error}"
        raise ConfigError(message) from error
    if not rows or "imagenet_index" not in rows[0]:
        message = f"label space {path}: needs a column imagenet_index of whole numbers"
        raise ConfigError(message)
    return rows


def _members(rows: Sequence[Mapping[str, str]], path: Path) -> Sequence[_Group]:
    """Groups of ImageNet indices: rows of one `class` are one group."""
    groups: dict[str, list[int]] = {}
    for row in rows:
        index = _index(row, "imagenet_index", path)
        groups.setdefault(row.get("class") or f"#{index}", []).append(index)
    flat = [index for group in groups.values() for index in group]
    if len(set(flat)) < len(rows):
        message = (
            f"label space {path}: an index is missing or there twice; indices are "
            "different and 0 to 999"
        )
        raise ConfigError(message)
    return [(name, tuple(sorted(group))) for name, group in groups.items()]


def _index(row: Mapping[str, str], column: str, path: Path) -> int:
    try:
        index = int(row[column])
    except (KeyError, ValueError, TypeError) as error:
        message = f"label space {path}: needs a column {column} of whole numbers"
        raise ConfigError(message) from error
    if not 0 <= index < imagenet.CLASSES:
        message = (
            f"label space {path}: found {index}; indices are different and 0 to 999"
        )
        raise ConfigError(message)
    return index
