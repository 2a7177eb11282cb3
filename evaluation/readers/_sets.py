"""What readers share: finding the photos, and telling which ImageNet class is meant.

Folders, or labels of a Hub dataset, may be called by WordNet id ("n01440764", also with
something after it), by ImageNet index ("0" to "999": the number itself, whatever its
place in the alphabet) or by name ("tench", "tench, Tinca tinca", "0 tench").
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import polars as pl

from evaluation import imagenet
from evaluation.embedded import open_hub
from evaluation.errors import InputError
from evaluation.examples import ExampleSet, Role, from_files, from_table
from evaluation.label_spaces import subset_indices, subsets
from evaluation.photo_files import PhotoFile, photos_in, plain, subfolders
from evaluation.tables import frame

HUB = "hub:"
SPLITS = ("test", "validation", "val")

_WORDNET = re.compile(r"(n\d{8})(?![0-9A-Za-z]).*", re.DOTALL)
_IN_ORDER = 0.9  # of 1,000 labels this share must be where ImageNet has them


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSet:
    """A robustness set, as its authors publish it and as people arrange it.

    Attributes:
        name: what the command line calls it.
        role: what the set is to others.
        about: a line for people.
        source: where it is to be had.
        in_folder: the set in a folder, `roots` entered.
        of_hub: the set out of a Hub dataset's photos and labels.
        photos: how many were published; 0 where copies differ.
        subset: its classes, a file of `subsets/`; "" for all of ImageNet.
        label_space: what its authors have models choose among.
        roots: folders that its archive unpacks to.
        not_in: parts of a folder's name that say it is another set.
        splits: of a Hub dataset, the first of them that there is.
    """

    name: str
    role: Role
    about: str
    source: str
    in_folder: "Callable[[PublishedSet, Path], ExampleSet]"
    of_hub: "Callable[[PublishedSet, ExampleSet], ExampleSet]"
    photos: int = 0
    subset: str = ""
    label_space: str = "imagenet"
    roots: tuple[str, ...] = ()
    not_in: tuple[str, ...] = ()
    splits: tuple[str, ...] = SPLITS

    @property
    def allowed(self) -> tuple[int, ...]:
        """ImageNet indices of its classes."""
        if self.subset:
            return subset_indices(self.subset)
        return tuple(range(imagenet.CLASSES))

    def open_set(self, place: str) -> ExampleSet:
        """The set in a folder, or of a dataset of the Hub (`hub:<org>/<name>`).

        Raises:
            InputError: no such folder, or not this set.
            RemoteError: the Hub cannot be reached or does not have it.
        """
        if place.startswith(HUB):
            labelled = self.role != "ood"
            hub = open_hub(place, prefer=self.splits, labelled=labelled)
            found = self.of_hub(self, hub)
        else:
            found = self.in_folder(self, self._root(place))
        return replace(
            found,
            name=self.name,
            role=self.role,
            label_space=self.label_space,
            subset=self.subset,
            about=self._about(found),
        )

    def refused(self, place: str | Path, why: str) -> InputError:
        """The error for a folder or dataset that is not this set."""
        message = f"dataset '{self.name}:{place}': {why}. {self.name}: {self.source}"
        return InputError(message)

    def _root(self, place: str) -> Path:
        folder = Path(place).expanduser()
        if not folder.is_dir():
            raise self.refused(place, "there is no such folder")
        root = next(
            (folder / one for one in self.roots if (folder / one).is_dir()), folder
        )
        for part in self.not_in:
            if part in root.resolve().name.lower():
                raise self.refused(place, f"folder {root.name!r} says it is another")
        return root

    def _about(self, found: ExampleSet) -> str:
        told = [self.about, found.about]
        there = len(found.table)
        if self.photos and there != self.photos:
            told.append(f"{there:,} photos here, {self.photos:,} were published")
        if self.role != "ood":
            have = {index for item in found.classes for index in item.indices}
            if missing := len(set(self.allowed) - have):
                told.append(f"{missing} of its ImageNet classes are not here")
        return "; ".join(one for one in told if one)


# --- sets with a folder, or a label, per ImageNet class ------------------------------


def class_folders(wanted: PublishedSet, root: Path) -> ExampleSet:
    """Photos of `<class>/<photo>`, by class and then by file name."""
    folders = {plain(one.name): photos_in(one) for one in subfolders(root, root)}
    held = {name: photos for name, photos in folders.items() if photos}
    if not held:
        raise wanted.refused(root, "found no photos as <class>/<photo>")
    known = classes_of(list(held), wanted, root)
    pairs = [(known[name], path) for name, paths in held.items() for path in paths]
    return of_index_and_file(root, pairs)


def class_labels(wanted: PublishedSet, found: ExampleSet) -> ExampleSet:
    """A Hub dataset's photos by what its labels say."""
    names = [item.name for item in found.classes]
    used = set(found.table.column("class_name").to_pylist())
    there = [name for name in names if name in used]
    if _in_imagenets_order(names):
        known = {name: index for index, name in enumerate(names) if name in used}
        _check(known, wanted, found.name)
    else:
        given = {item.name: item.imagenet_index for item in found.classes}
        known = classes_of(there, wanted, found.name, given=given)
    return relabelled(found, {name: (index,) for name, index in known.items()})


def of_index_and_file(root: Path, pairs: Iterable[tuple[int, Path]]) -> ExampleSet:
    """An example set of files whose ImageNet class is known."""
    names = display_names()
    ordered = sorted(pairs, key=lambda pair: (pair[0], pair[1].name))
    files = [PhotoFile(path, names[index]) for index, path in ordered]
    indices = {names[index]: index for index, _ in ordered}
    return from_files(root.name, root, files, indices=indices)


def relabelled(
    found: ExampleSet,
    known: Mapping[str, Sequence[int]],
    names: Mapping[str, str] | None = None,
) -> ExampleSet:
    """Photos of some labels, under names of ours.

    Args:
        found: photos by label.
        known: ImageNet indices of the labels wanted; others' photos are left out.
        names: what their classes are called; ImageNet's names where this is None.
    """
    ours = names or {name: display_names()[one[0]] for name, one in known.items()}
    ranked = sorted(known, key=lambda name: (min(known[name], default=0), ours[name]))
    rows = frame(found.table).filter(pl.col("class_name").is_in(list(known)))
    place = {ours[name]: at for at, name in enumerate(ranked)}
    rows = rows.with_columns(
        class_name=pl.col("class_name").replace_strict(
            dict(ours), default=None, return_dtype=pl.String
        )
    )
    order = rows["class_name"].replace_strict(place, return_dtype=pl.Int64)
    rows = rows.with_columns(order=order).sort("order", maintain_order=True)
    kept = rows.select("photo_id", "class_name", "cluster", "file").to_arrow()
    indices = {ours[name]: tuple(known[name]) for name in ranked}
    return from_table(found.name, kept, found.read, indices=indices)


@cache
def display_names() -> tuple[str, ...]:
    """OpenCLIP's names by ImageNet index, the index added where two are the same."""
    names = imagenet.names()
    often = Counter(names)
    return tuple(
        name if often[name] == 1 else f"{name} ({index})"
        for index, name in enumerate(names)
    )


def classes_of(
    names: Sequence[str],
    wanted: PublishedSet,
    place: str | Path,
    *,
    given: Mapping[str, int | None] | None = None,
) -> dict[str, int]:
    """ImageNet index of each folder or label.

    Args:
        names: of folders or labels.
        wanted: the set they should be of.
        place: where they are, for messages.
        given: indices that the dataset itself states, if any.

    Raises:
        InputError: one is no class of this set, or two are one class.
    """
    allowed = set(wanted.allowed)
    numbers = all(name.isascii() and name.isdigit() for name in names)
    known: dict[str, int] = {}
    for name in names:
        index = (given or {}).get(name)
        if index is None:
            index = int(name) if numbers else _index(name, allowed)
        if index is None or not 0 <= index < imagenet.CLASSES:
            why = (
                f"{name!r} is no ImageNet class; understood are WordNet ids, ImageNet "
                "indices 0 to 999, and names that only one of its classes has"
            )
            raise wanted.refused(place, why)
        known[name] = index
    _check(known, wanted, place)
    return known


def _check(known: Mapping[str, int], wanted: PublishedSet, place: str | Path) -> None:
    often = Counter(known.values())
    if twice := [name for name, index in known.items() if often[index] > 1]:
        why = f"{', '.join(map(repr, twice[:4]))}: one ImageNet class each"
        raise wanted.refused(place, f"two of its folders are one class: {why}")
    strange = [name for name, index in known.items() if index not in wanted.allowed]
    if strange:
        why = (
            f"{len(strange)} of its {len(known)} classes are not of {wanted.name}, "
            f"such as {strange[0]!r} (ImageNet class {known[strange[0]]})"
        )
        raise wanted.refused(place, why + _looks_like(known.values(), wanted))
    if hint := _looks_like(known.values(), wanted):
        raise wanted.refused(place, f"it has {len(known)} classes{hint}")


def _looks_like(indices: Iterable[int], wanted: PublishedSet) -> str:
    """Words for a set that has exactly another set's classes."""
    found = sorted(indices)
    for name in subsets():
        of_sets = name.startswith("imagenet-")
        if of_sets and name != wanted.subset and found == list(subset_indices(name)):
            return f"; its classes are those of {name}"
    return ""


def _index(name: str, allowed: set[int]) -> int | None:
    """ImageNet index by WordNet id, or by a name that one of the set's classes has."""
    text = " ".join(name.replace("_", " ").split()).lower()
    if form := _WORDNET.fullmatch(text):
        return by_wordnet().get(form[1])
    found = imagenet.find(name)
    if found is not None:
        return found
    for table in _by_name():
        if here := table.get(text, set()) & allowed:
            return next(iter(here)) if len(here) == 1 else None
    return None


@cache
def by_wordnet() -> dict[str, int]:
    """ImageNet index by WordNet id."""
    return {one: index for index, one in enumerate(imagenet.wordnet_ids())}


@cache
def _by_name() -> tuple[dict[str, set[int]], ...]:
    """Indices by lower-case name: OpenCLIP's, our own, whole synsets, their lemmas."""
    whole = imagenet.names("synset")
    lemmas: dict[str, set[int]] = defaultdict(set)
    for index, synset in enumerate(whole):
        for lemma in synset.lower().split(", "):
            lemmas[lemma].add(index)
    tables: list[dict[str, set[int]]] = []
    for names in (display_names(), imagenet.names(), whole):
        table: dict[str, set[int]] = defaultdict(set)
        for index, name in enumerate(names):
            table[name.lower()].add(index)
        tables.append(table)
    return (*tables, lemmas)


def _in_imagenets_order(names: Sequence[str]) -> bool:
    """Whether labels are all of ImageNet's classes, in its order.

    Two classes are called "crane" and two "maillot", and each dataset finds other
    words to tell them apart; their places do.
    """
    if len(names) != imagenet.CLASSES:
        return False
    every = set(range(imagenet.CLASSES))
    found = [_index(name, every) for name in names]
    at_home = sum(index == place for place, index in enumerate(found))
    # a name of two classes may be read as the other; it must not be a third's
    return at_home >= _IN_ORDER * imagenet.CLASSES
