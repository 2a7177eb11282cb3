"""Photos that show none of ImageNet's classes: to tell them from those that do.

Their folders' names are kept as classes, but they are no labels: nothing is right.
"""

from collections.abc import Sequence
from pathlib import Path

from evaluation import imagenet
from evaluation.examples import ExampleSet, from_files, from_table
from evaluation.photo_files import PhotoFile, photos_below, plain
from evaluation.readers import Reader
from evaluation.readers._sets import PublishedSet, class_folders, class_labels

TEXTURES = (
    "banded", "blotchy", "braided", "bubbly", "bumpy", "chequered", "cobwebbed",
    "cracked", "crosshatched", "crystalline", "dotted", "fibrous", "flecked",
    "freckled", "frilly", "gauzy", "grid", "grooved", "honeycombed", "interlaced",
    "knitted", "lacelike", "lined", "marbled", "matted", "meshed", "paisley",
    "perforated", "pitted", "pleated", "polka-dotted", "porous", "potholed", "scaly",
    "smeared", "spiralled", "sprinkled", "stained", "stratified", "striped", "studded",
    "swirly", "veined", "waffled", "woven", "wrinkled", "zigzagged",
)  # fmt: skip
"""Folders of the Describable Textures Dataset."""


def _any_folders(wanted: PublishedSet, root: Path) -> ExampleSet:
    """Every photo below a folder; the first folder on its way is its class."""
    files = []
    for path in photos_below(root, root):
        parts = path.relative_to(root).parts
        name = plain(parts[0]) if len(parts) > 1 else wanted.name
        files.append(PhotoFile(path, name))
    if not files:
        raise wanted.refused(root, "found no photos")
    names = list(dict.fromkeys(file.class_name for file in files))
    _no_imagenet(wanted, names, root)
    return from_files(root.name, root, files, indices=dict.fromkeys(names))


def _any_labels(wanted: PublishedSet, found: ExampleSet) -> ExampleSet:
    names = [item.name for item in found.classes]
    _no_imagenet(wanted, names, found.name)
    return from_table(
        found.name,
        found.table.select(["photo_id", "class_name", "cluster", "file"]),
        found.read,
        indices=dict.fromkeys(names),
    )


def _no_imagenet(wanted: PublishedSet, names: Sequence[str], place: str | Path) -> None:
    """Refuse folders that are called by ImageNet's WordNet ids."""
    ids = set(imagenet.wordnet_ids())
    if known := [name for name in names if name.lower() in ids]:
        why = f"its folder {known[0]} is an ImageNet class, and this set must show none"
        raise wanted.refused(place, why)


def _textures(wanted: PublishedSet, root: Path) -> ExampleSet:
    found = _any_folders(wanted, root)
    names = {item.name for item in found.classes} - {wanted.name}
    if strange := sorted(names - set(TEXTURES)):
        raise wanted.refused(root, f"{strange[0]!r} is none of its 47 textures")
    return found


def _o_folders(wanted: PublishedSet, root: Path) -> ExampleSet:
    return _without_labels(class_folders(wanted, root))


def _o_labels(wanted: PublishedSet, found: ExampleSet) -> ExampleSet:
    return _without_labels(class_labels(wanted, found))


def _without_labels(found: ExampleSet) -> ExampleSet:
    """ImageNet-O's folders say what a photo is taken for, not what it shows."""
    return from_table(
        found.name,
        found.table.select(["photo_id", "class_name", "cluster", "file"]),
        found.read,
        indices=dict.fromkeys(item.name for item in found.classes),
    )


def _ood(
    name: str, about: str, source: str, photos: int = 0, roots: tuple[str, ...] = ()
) -> PublishedSet:
    return PublishedSet(
        name=name,
        role="ood",
        about=about,
        source=source,
        in_folder=_textures if name == "ood-textures" else _any_folders,
        of_hub=_any_labels,
        photos=photos,
        roots=roots,
    )


_MOS = "github.com/deeplearning-wisc/large_scale_ood says where: images/<photo>"
_O = PublishedSet(
    name="imagenet-o",
    role="ood",
    about="ImageNet-O, photos that are taken for one of 200 classes and show none",
    source=(
        "imagenet-o.tar of github.com/hendrycks/natural-adv-examples, unpacked: a "
        "folder per WordNet id, 200 of them"
    ),
    in_folder=_o_folders,
    of_hub=_o_labels,
    photos=2_000,
    subset="imagenet-o",
    label_space="imagenet-o",
    roots=("imagenet-o",),
)
_OTHERS = (
    _ood(
        "ood-inaturalist",
        "iNaturalist, plants that ImageNet has no class of (MOS's choice)",
        _MOS,
        10_000,
        ("iNaturalist", "inaturalist"),
    ),
    _ood("ood-sun", "SUN, scenes (MOS's choice)", _MOS, 10_000, ("SUN", "sun")),
    _ood(
        "ood-places",
        "Places365, scenes (MOS's choice)",
        _MOS,
        10_000,
        ("Places", "places"),
    ),
    _ood(
        "ood-textures",
        "Describable Textures (DTD), 47 textures",
        "dtd-r1.0.1.tar.gz of robots.ox.ac.uk/~vgg/data/dtd: images/<texture>/<photo>",
        5_640,
        ("dtd/images", "images", "dtd", "Textures", "texture"),
    ),
    _ood(
        "ninco",
        "NINCO, photos each checked to show no ImageNet class",
        "NINCO_all.tar.gz of github.com/j-cb/NINCO, unpacked: a folder per class",
        5_879,
        ("NINCO/NINCO_OOD_classes", "NINCO_OOD_classes"),
    ),
    _ood(
        "openimage-o",
        "OpenImage-O, photos of Open Images checked to show no ImageNet class",
        "github.com/haoqiwang/vim has its list of photos of Open Images",
        0,
        ("openimage_o", "openimage-o"),
    ),
    _ood(
        "ood",
        "any photos of nothing in ImageNet",
        "any folder of photos, with folders in it or without",
    ),
)

READERS: dict[str, Reader] = {one.name: one for one in (_O, *_OTHERS)}
