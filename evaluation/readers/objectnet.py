"""ObjectNet: household things in unusual places, turned and seen from odd sides.

113 of its 313 classes are in ImageNet, and only their photos are counted. One of its
classes may be several of ImageNet's ("Chair" is barber chair, folding chair and rocking
chair); any of them is right. Which they are is in `subsets/objectnet.csv`; the
`mappings` folder of a copy is compared with it.

Each photo has a thin red border, there to mark it as a test photo. Its authors' loader
cuts two pixels from each side before a model sees the photo, and so does `read`: the
picture is decoded, cut, and given as a PNG, which loses nothing more. The photo's id
says so: it is not the file's sha256, but that of "objectnet without border <sha256>".
"""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from evaluation import imagenet
from evaluation.errors import DecodeError
from evaluation.examples import ExampleSet, from_files, prepared
from evaluation.label_spaces import subsets
from evaluation.photo_files import PhotoFile, photos_in, plain, subfolders
from evaluation.readers import Reader
from evaluation.readers._sets import PublishedSet, relabelled

BORDER = 2
"""Pixels that are cut from each side."""

_STEP = "objectnet without border"
_MAPPINGS = ("folder_to_objectnet_label.json", "objectnet_to_imagenet_1k.json")


def without_border(data: bytes) -> bytes:
    """A photo without the outermost two pixels of each side, as a PNG.

    Bytes that are no picture, or one too small to have a border, are given back as they
    are, so that decoding them says why.
    """
    from evaluation.images import decode

    try:
        picture = decode(data)
    except DecodeError:
        return data
    width, height = picture.size
    if min(width, height) <= 2 * BORDER:
        return data
    cut = picture.crop((BORDER, BORDER, width - BORDER, height - BORDER))
    file = io.BytesIO()
    cut.save(file, "PNG", compress_level=1)
    return file.getvalue()


@cache
def _folders() -> dict[str, str]:
    """ObjectNet's class by the folder it is in, all 313."""
    path = Path(__file__).with_name("objectnet_folders.csv")
    with path.open(encoding="utf-8", newline="") as file:
        return {row["folder"]: row["class"] for row in csv.DictReader(file)}


@cache
def _known() -> dict[str, tuple[int, ...]]:
    """ImageNet indices of ObjectNet's 113 classes that are in ImageNet."""
    found: dict[str, list[int]] = defaultdict(list)
    with subsets()["objectnet"].open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found[row["class"]].append(int(row["imagenet_index"]))
    return {name: tuple(sorted(indices)) for name, indices in found.items()}


def _in_folder(wanted: PublishedSet, root: Path) -> ExampleSet:
    images = root / "images"
    images = images if images.is_dir() else root
    for mappings in (root / "mappings", root.parent / "mappings"):
        if mappings.is_dir():
            _compare(wanted, mappings)
            break
    there = {plain(one.name): one for one in subfolders(images, images)}
    there.pop("mappings", None)
    classes = _classes(wanted, list(there), images)
    files = [
        PhotoFile(path, classes[name])
        for name, folder in there.items()
        if classes[name] in _known()
        for path in photos_in(folder)
    ]
    if not files:
        raise wanted.refused(images, "found no photos as <class>/<photo>")
    files.sort(key=lambda file: (min(_known()[file.class_name]), file.path.name))
    indices = {file.class_name: _known()[file.class_name] for file in files}
    found = from_files(root.name, images, files, indices=indices)
    return prepared(found, _STEP, without_border)


def _of_hub(wanted: PublishedSet, found: ExampleSet) -> ExampleSet:
    classes = _classes(wanted, [item.name for item in found.classes], found.name)
    names = {name: kind for name, kind in classes.items() if kind in _known()}
    used = set(found.table.column("class_name").to_pylist())
    names = {name: kind for name, kind in names.items() if name in used}
    if not names:
        raise wanted.refused(found.name, "no photo of a class that is in ImageNet")
    kept = relabelled(found, {name: _known()[names[name]] for name in names}, names)
    return prepared(kept, _STEP, without_border)


def _classes(
    wanted: PublishedSet, names: Sequence[str], place: str | Path
) -> dict[str, str]:
    """ObjectNet's class of each folder or label: by its folder's name, or its own."""
    own = {name.lower(): name for name in _folders().values()}
    own |= {folder.lower(): name for folder, name in _folders().items()}
    found = {name: own.get(name.lower()) for name in names}
    if strange := [name for name, kind in found.items() if kind is None]:
        why = (
            f"{strange[0]!r} is none of its 313 classes, nor are "
            f"{len(strange) - 1} others of its {len(names)} folders"
        )
        raise wanted.refused(place, why)
    return {name: kind for name, kind in found.items() if kind is not None}


def _compare(wanted: PublishedSet, mappings: Path) -> None:
    """Refuse a copy whose own mappings say other than what is counted here."""
    if not all((mappings / name).is_file() for name in _MAPPINGS):
        return
    folders, classes = (_json(wanted, mappings / name) for name in _MAPPINGS)
    if folders != _folders():
        changed = sorted({*folders.items()} ^ {*_folders().items()})
        why = f"{mappings / _MAPPINGS[0]} differs in {changed[0]}"
        raise wanted.refused(mappings.parent, why)
    synsets = {name: index for index, name in enumerate(imagenet.names("synset"))}
    theirs = {
        name: tuple(sorted(synsets.get(one, -1) for one in several.split("; ")))
        for name, several in classes.items()
    }
    if theirs != _known():
        named = sorted(
            name
            for name in theirs.keys() | _known().keys()
            if theirs.get(name) != _known().get(name)
        )
        why = f"{mappings / _MAPPINGS[1]} differs for class {named[0]!r}"
        raise wanted.refused(mappings.parent, why)


def _json(wanted: PublishedSet, path: Path) -> Mapping[str, str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = f"{path} cannot be read: {error}"
        raise wanted.refused(path.parent, why) from error
    if not isinstance(found, dict) or not all(
        isinstance(value, str) for value in found.values()
    ):
        raise wanted.refused(path.parent, f"{path} is no JSON object of texts")
    return found


_OBJECTNET = PublishedSet(
    name="objectnet",
    role="shift",
    about=(
        "ObjectNet, the photos of its 113 classes that are in ImageNet, without their "
        "red border"
    ),
    source="objectnet-1.0.zip of objectnet.dev, unpacked: images/<class>/<photo>",
    in_folder=_in_folder,
    of_hub=_of_hub,
    photos=18_574,
    subset="objectnet",
    label_space="objectnet",
    roots=("objectnet-1.0",),
)

READERS: dict[str, Reader] = {_OBJECTNET.name: _OBJECTNET}
