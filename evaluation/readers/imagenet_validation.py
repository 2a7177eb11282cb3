"""ImageNet's validation set, in the ways it lies on disks.

Folders by WordNet id, index or name; or 50,000 files in one folder. Then the classes
are in the files' names (ILSVRC2012_val_00000001_n01751748.JPEG), or in one of

    LOC_val_solution.csv                        Kaggle's archive
    val.txt                                     "<file> <ImageNet index>" a line
    imagenet_2012_validation_synset_labels.txt  a WordNet id a line, in the files' order
    ILSVRC2012_validation_ground_truth.txt      with meta.mat, both of the development
                                                kit, whose numbers are others
    *.csv                                       columns file and imagenet_index or
                                                wordnet_id

beside the files or in the folder above.
"""

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from evaluation import imagenet
from evaluation.examples import ExampleSet
from evaluation.photo_files import photos_in, subfolders
from evaluation.readers import Reader
from evaluation.readers._sets import (
    PublishedSet,
    by_wordnet,
    class_folders,
    class_labels,
    of_index_and_file,
)

_FILE = re.compile(r"ILSVRC2012_val_(\d{8})(?:_(n\d{8}))?", re.IGNORECASE)
_KIT = ("ILSVRC2012_devkit_t12/data", "data")
_TRUTH, _META = "ILSVRC2012_validation_ground_truth.txt", "meta.mat"
_SYNSETS = "imagenet_2012_validation_synset_labels.txt"
_KAGGLE, _CAFFE = "LOC_val_solution.csv", "val.txt"
_ABOVE = 4  # ILSVRC/Data/CLS-LOC/val lies four folders below Kaggle's csv


def _in_folder(wanted: PublishedSet, root: Path) -> ExampleSet:
    photos = photos_in(root)
    if not photos:
        return class_folders(wanted, root)
    if any(photos_in(folder) for folder in subfolders(root, root)):
        raise wanted.refused(root, "photos lie in it and in folders of it")
    by_name = {path: _FILE.fullmatch(path.stem) for path in photos}
    found = {
        path: by_wordnet().get(form[2].lower())
        for path, form in by_name.items()
        if form and form[2]
    }
    if len(found) < len(photos):
        labels = _labels(wanted, root)
        found = {path: labels.get(_key(path.name)) for path in photos}
    missing = [path.name for path, index in found.items() if index is None]
    if missing:
        why = f"{len(missing):,} of {len(photos):,} photos have no class, such as "
        raise wanted.refused(root, why + missing[0])
    pairs = [(index, path) for path, index in found.items() if index is not None]
    return of_index_and_file(root, pairs)


def _key(name: str) -> str:
    """What files' names and lists of them share."""
    return Path(name).stem.lower()


def _labels(wanted: PublishedSet, root: Path) -> dict[str, int]:
    """ImageNet index by file, out of the first list that is found."""
    for folder in _near(root):
        for name in _LISTS:
            if (folder / name).is_file():
                return _read(wanted, folder / name)
    for path in (*sorted(root.glob("*.csv")), *sorted(root.parent.glob("*.csv"))):
        if found := _read(wanted, path):
            return found
    why = (
        "its photos lie in one folder, and no list of their classes is in it or above: "
        f"{_KAGGLE} (Kaggle), {_TRUTH} with {_META} (development kit), {_SYNSETS}, "
        f"{_CAFFE}, or a csv with columns file and imagenet_index"
    )
    raise wanted.refused(root, why)


def _near(root: Path) -> Iterator[Path]:
    """Folders where lists are looked for."""
    for folder in (root, root.resolve().parent):
        yield folder
        for kit in _KIT:
            yield folder / kit
    yield from root.resolve().parents[_ABOVE - 1 : _ABOVE]


def _read(wanted: PublishedSet, path: Path) -> dict[str, int]:
    """ImageNet index by file, out of one of the known lists."""
    try:
        return dict(_LISTS.get(path.name, _of_table)(path))
    except (OSError, KeyError, IndexError, ValueError, TypeError) as error:
        detail = " ".join(str(error).split())[:200]
        why = f"{path} cannot be read ({type(error).__name__}: {detail})"
        raise wanted.refused(path.parent, why) from error


_Pairs = Iterator[tuple[str, int]]


def _numbered(indices: Sequence[int]) -> _Pairs:
    """Classes of the 50,000 files in their order."""
    for number, index in enumerate(indices, start=1):
        yield _key(f"ILSVRC2012_val_{number:08d}.JPEG"), index


def _of_kaggle(path: Path) -> _Pairs:
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            yield _key(row["ImageId"]), _index(row["PredictionString"].split()[0])


def _of_caffe(path: Path) -> _Pairs:
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            name, index = line.rsplit(maxsplit=1)
            yield _key(Path(name).name), _index(index)


def _of_synsets(path: Path) -> _Pairs:
    words = path.read_text(encoding="utf-8").split()
    yield from _numbered([_index(word) for word in words])


def _of_kit(path: Path) -> _Pairs:
    """The kit numbers classes from 1 in an order of its own, which meta.mat has."""
    from scipy.io import loadmat

    beside = path.with_name(_META)
    if not beside.is_file():
        message = f"the development kit's {_META}, which explains it, is not beside it"
        raise FileNotFoundError(message)
    meta = loadmat(beside, squeeze_me=True)["synsets"]
    ids = zip(meta["ILSVRC2012_ID"].tolist(), meta["WNID"].tolist(), strict=True)
    ours = by_wordnet()
    known = {int(number): ours[str(one)] for number, one in ids if str(one) in ours}
    numbers = [int(one) for one in path.read_text(encoding="ascii").split()]
    yield from _numbered([known[number] for number in numbers])


def _of_table(path: Path) -> _Pairs:
    """A csv of columns file and imagenet_index or wordnet_id; nothing of another."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file)
        columns = table.fieldnames or ()
        kind = next((c for c in ("imagenet_index", "wordnet_id") if c in columns), "")
        if kind and "file" in columns:
            for row in table:
                yield _key(Path(row["file"]).name), _index(row[kind])


def _index(text: str) -> int:
    """ImageNet index of a number, or of a WordNet id."""
    if text in by_wordnet():
        return by_wordnet()[text]
    index = int(text)
    if not 0 <= index < imagenet.CLASSES:
        message = f"{index} is no ImageNet index"
        raise ValueError(message)
    return index


_LISTS: dict[str, Callable[[Path], _Pairs]] = {
    _KAGGLE: _of_kaggle,
    _TRUTH: _of_kit,
    _SYNSETS: _of_synsets,
    _CAFFE: _of_caffe,
}

_VAL = PublishedSet(
    name="imagenet-val",
    role="id",
    about="ImageNet's validation set (ILSVRC 2012), 50 photos of each class",
    source=(
        "ILSVRC2012_img_val.tar of image-net.org (an account is needed), in a folder "
        "per class, or in one folder with the development kit beside it"
    ),
    in_folder=_in_folder,
    of_hub=class_labels,
    photos=50_000,
    roots=(
        "ILSVRC/Data/CLS-LOC/val",
        "Data/CLS-LOC/val",
        "val",
        "validation",
        "ILSVRC2012_img_val",
    ),
    splits=("validation", "val", "test"),
)

READERS: dict[str, Reader] = {_VAL.name: _VAL}
