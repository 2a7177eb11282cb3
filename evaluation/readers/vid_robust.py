"""ImageNet-Vid-Robust: frames of videos, and the frames next to them.

`val/<video>/<frame>.JPEG` with `metadata/labels.json` (classes of each frame) and
`metadata/pmsets.json` (frames near each anchor, at most ten before and ten after, that
people judged to look alike). 30 classes, each several of ImageNet's.

imagenet-vid-robust          the anchors: accuracy on them is the benign accuracy
imagenet-vid-robust-frames   all frames, for `perturbed`

In 79 of the 1,109 anchors things of two classes are seen, either of which is right. An
example has one label, so those anchors are left out of the first set; the second has
them under the first of their labels, and `perturbed` counts as the authors do.
"""

import csv
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from evaluation.errors import MetricError
from evaluation.examples import ExampleSet, from_files
from evaluation.label_spaces import subsets
from evaluation.photo_files import PhotoFile
from evaluation.readers import Reader
from evaluation.readers._sets import PublishedSet, relabelled
from evaluation.tables import build

SOURCE = "Shankar et al. 2021, Do Image Classifiers Generalize Across Time?"
CLASSES = (
    "airplane", "antelope", "bear", "bicycle", "bird", "bus", "car", "cattle", "dog",
    "domestic cat", "elephant", "fox", "giant panda", "hamster", "horse", "lion",
    "lizard", "monkey", "motorcycle", "rabbit", "red panda", "sheep", "snake",
    "squirrel", "tiger", "train", "turtle", "watercraft", "whale", "zebra",
)  # fmt: skip
"""ImageNet-Vid's classes, as the set's files number them."""

ANCHORS, FRAMES = "imagenet-vid-robust", "imagenet-vid-robust-frames"

_LABELS, _NEAR = "metadata/labels.json", "metadata/pmsets.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Perturbed:
    """Accuracy under the small changes between a video's frames.

    Attributes:
        anchors: how many, N.
        benign: fraction of anchors that are right.
        pm: fraction of anchors that are right together with all frames near them
            (pm-10: at most ten frames before and ten after).
    """

    anchors: int
    benign: float
    pm: float


def perturbed(
    folder: str | Path, examples: ExampleSet, predicted: Sequence[int | None]
) -> Perturbed:
    """Benign and pm-10 accuracy, as the set's authors count them.

    Any of a frame's labels is right; a frame without a prediction is wrong.

    Args:
        folder: that the frames are in, with `metadata`.
        examples: `imagenet-vid-robust-frames:<folder>`.
        predicted: (N,) what was predicted, in the examples' order: ImageNet indices
            (the column `predicted` of a predictions table), None where it failed. Of
            an index that stands for a class of 30, any of the class's will do.

    Raises:
        InputError: the folder lacks a file of metadata.
        MetricError: a frame is not among the examples.

    Source: Shankar et al. 2021, section 2 (arXiv:1906.02168).
    """
    labels, near = _metadata(_FRAMES, _entered(Path(folder).expanduser()))
    number = {
        index: CLASSES.index(name)
        for name, indices in _indices().items()
        for index in indices
    }
    files = examples.table.column("file").to_pylist()
    right = {
        place: index is not None and number.get(index) in labels.get(place, ())
        for place, index in zip(files, predicted, strict=True)
    }
    wanted = {*near, *(place for some in near.values() for place in some)}
    if missing := sorted(wanted - right.keys()):
        message = (
            f"imagenet-vid-robust: {len(missing):,} of its {len(wanted):,} frames were "
            f"not predicted, such as {missing[0]}; pm-10 needs {FRAMES}"
        )
        raise MetricError(message)
    benign = sum(right[anchor] for anchor in near)
    together = sum(
        right[anchor] and all(right[one] for one in some)
        for anchor, some in near.items()
    )
    count = len(near)
    return Perturbed(anchors=count, benign=benign / count, pm=together / count)


@cache
def _indices() -> dict[str, tuple[int, ...]]:
    """ImageNet indices of each class."""
    found: dict[str, list[int]] = defaultdict(list)
    with subsets()["imagenet-vid-robust"].open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found[row["class"]].append(int(row["imagenet_index"]))
    return {name: tuple(sorted(indices)) for name, indices in found.items()}


def _anchors(wanted: PublishedSet, root: Path) -> ExampleSet:
    labels, near = _metadata(wanted, root)
    single = [place for place in near if len(labels[place]) == 1]
    found = _examples(wanted, root, single, labels)
    about = f"{len(near) - len(single)} anchors show two classes and are left out"
    return replace(found, about=about if len(single) < len(near) else "")


def _frames(wanted: PublishedSet, root: Path) -> ExampleSet:
    labels, near = _metadata(wanted, root)
    places = dict.fromkeys(one for anchor in near for one in (anchor, *near[anchor]))
    return _examples(wanted, root, list(places), labels)


def _examples(
    wanted: PublishedSet,
    root: Path,
    places: Sequence[str],
    labels: Mapping[str, Sequence[int]],
) -> ExampleSet:
    """Frames under the first of their labels, in the order of classes and places."""
    ordered = sorted(places, key=lambda place: (labels[place][0], place))
    if not any((root / place).is_file() for place in ordered):
        why = f"{root / ordered[0]} is missing, and so are all other frames"
        raise wanted.refused(root, why)
    files = [
        PhotoFile(
            root / place,
            CLASSES[labels[place][0]],
            cluster=place.split("/")[-2],
        )
        for place in ordered
    ]
    indices = {file.class_name: _indices()[file.class_name] for file in files}
    found = from_files(root.name, root, files, indices=indices)
    at = found.table.schema.get_field_index("file")
    column = build({"file": ordered}, pa.schema([found.table.schema.field(at)]))
    return replace(
        found, table=found.table.set_column(at, "file", column.column("file"))
    )


def _entered(folder: Path) -> Path:
    inner = (folder / one for one in _ROOTS)
    return next((one for one in inner if one.is_dir()), folder)


def _metadata(
    wanted: PublishedSet, root: Path
) -> tuple[dict[str, list[int]], dict[str, list[str]]]:
    """Class numbers by frame, and the frames near each anchor."""
    labels = _json(wanted, root, _LABELS)
    near = _json(wanted, root, _NEAR)
    known = range(len(CLASSES))
    for anchor, some in near.items():
        for place in (anchor, *some):
            given = labels.get(place)
            if not given or any(one not in known for one in given):
                why = f"{root / _LABELS} has no class for frame {place!r}"
                raise wanted.refused(root, why)
            if place.count("/") < 1 or ".." in place.split("/"):
                raise wanted.refused(root, f"{place!r} is no place of a frame")
    if not near:
        raise wanted.refused(root, f"{root / _NEAR} has no anchors")
    return labels, near


def _json(wanted: PublishedSet, root: Path, name: str) -> dict[str, list[Any]]:
    try:
        found = json.loads((root / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = f"{root / name} is missing or cannot be read ({error})"
        raise wanted.refused(root, why) from error
    lists = isinstance(found, dict) and all(
        isinstance(one, list) for one in found.values()
    )
    if not lists:
        raise wanted.refused(root, f"{root / name} is no JSON object of lists")
    return dict(found)


def _of_hub(wanted: PublishedSet, found: ExampleSet) -> ExampleSet:
    """Photos by labels: names of the 30 classes, or their numbers."""
    names = [item.name for item in found.classes]
    own = {name.lower().replace("_", " "): name for name in CLASSES}
    own |= {str(number): name for number, name in enumerate(CLASSES)}
    kinds = {name: own.get(name.lower().replace("_", " ")) for name in names}
    if strange := [name for name, kind in kinds.items() if kind is None]:
        why = f"{strange[0]!r} is none of its 30 classes"
        raise wanted.refused(found.name, why)
    used = set(found.table.column("class_name").to_pylist())
    known = {name: kind for name, kind in kinds.items() if kind and name in used}
    indices = {name: _indices()[kind] for name, kind in known.items()}
    return relabelled(found, indices, known)


_ROOTS = ("imagenet-vid-robust", "imagenet_vid_ytbb_robust/imagenet-vid-robust")
_HAVE = (
    "imagenet_vid_ytbb_robust.tar.gz of "
    "github.com/modestyachts/imagenet-vid-robust-example, unpacked: val, metadata"
)
_ANCHORS = PublishedSet(
    name=ANCHORS,
    role="shift",
    about="ImageNet-Vid-Robust, an anchor frame of each video, 30 classes",
    source=_HAVE,
    in_folder=_anchors,
    of_hub=_of_hub,
    photos=1_030,
    subset="imagenet-vid-robust",
    label_space="imagenet-vid-robust",
    roots=_ROOTS,
)
_FRAMES = PublishedSet(
    name=FRAMES,
    role="shift",
    about="ImageNet-Vid-Robust, anchors and the frames near them, for pm-10",
    source=_HAVE,
    in_folder=_frames,
    of_hub=_of_hub,
    photos=22_179,
    subset="imagenet-vid-robust",
    label_space="imagenet-vid-robust",
    roots=_ROOTS,
)

READERS: dict[str, Reader] = {one.name: one for one in (_ANCHORS, _FRAMES)}
