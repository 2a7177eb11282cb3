"""What every reader must do; a new one needs a small copy of its set's layout here.

`LAYOUTS` writes each set as its authors publish it, with few photos.
"""

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluation import imagenet
from evaluation.errors import InputError, RemoteError
from evaluation.examples import SCHEMA, open_examples
from evaluation.images import decode
from evaluation.label_spaces import label_space, subset_indices
from evaluation.readers import named, readers
from evaluation.readers.objectnet import _folders, _known

READERS = sorted(readers())
WORDNET = imagenet.wordnet_ids()


def photo(seed: int, kind: str = "JPEG", size: tuple[int, int] = (9, 8)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def put(root: Path, place: str, data: bytes) -> None:
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def by_wordnet(root: Path, indices, each: int = 2) -> dict[str, int]:
    """A folder per WordNet id; classes by place."""
    found = {}
    for index in indices:
        for number in range(each):
            place = f"{WORDNET[index]}/{index}_{number}.JPEG"
            put(root, place, photo(index * 10 + number))
            found[place] = index
    return found


def val(root: Path) -> None:
    by_wordnet(root, range(0, 1000, 20))


def v2(part: str) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        for index in range(0, 1000, 20):
            inner = f"imagenetv2-{part}-format-val/{index}"
            put(root, f"{inner}/{index:040x}.jpeg", photo(index))

    return write


def subset(name: str, inner: str) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        by_wordnet(root / inner, subset_indices(name))
        put(root / inner, "README.txt", b"classes")

    return write


def objectnet(root: Path) -> None:
    inner = root / "objectnet-1.0"
    for seed, folder in enumerate(_folders()):
        put(inner, f"images/{folder}/{seed:08x}.png", photo(seed, "PNG", (12, 14)))
    (inner / "mappings").mkdir()
    synset = imagenet.names("synset")
    classes = {
        name: "; ".join(synset[index] for index in indices)
        for name, indices in _known().items()
    }
    for name, content in (
        ("folder_to_objectnet_label", _folders()),
        ("objectnet_to_imagenet_1k", classes),
    ):
        put(inner, f"mappings/{name}.json", json.dumps(content).encode())


def vid_robust(root: Path) -> None:
    labels, near = {}, {}
    for video in range(40):
        folder = f"val/ILSVRC2015_val_{video:08d}"
        places = [f"{folder}/{frame:06d}.JPEG" for frame in range(5)]
        for frame, place in enumerate(places):
            put(root, place, photo(video * 10 + frame))
            labels[place] = [video % 30] if video < 35 else [4, 6]
        near[places[2]] = places[:2] + places[3:]
    put(root, "metadata/labels.json", json.dumps(labels).encode())
    put(root, "metadata/pmsets.json", json.dumps(near).encode())


def flat(inner: str) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        for seed in range(6):
            put(root, f"{inner}/{seed}.jpg", photo(seed))

    return write


def folders(inner: str, names: str) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        for seed, name in enumerate(names.split(",") * 2):
            put(root, f"{inner}/{name}/{name}_{seed}.jpg", photo(seed))

    return write


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "imagenet-val": val,
    "imagenet-v2-matched-frequency": v2("matched-frequency"),
    "imagenet-v2-threshold-0.7": v2("threshold0.7"),
    "imagenet-v2-top-images": v2("top-images"),
    "imagenet-r": subset("imagenet-r", "imagenet-r"),
    "imagenet-a": subset("imagenet-a", "imagenet-a"),
    "imagenet-sketch": lambda root: val(root / "sketch"),
    "imagenet-o": subset("imagenet-o", "imagenet-o"),
    "objectnet": objectnet,
    "imagenet-vid-robust": vid_robust,
    "imagenet-vid-robust-frames": vid_robust,
    "ood-inaturalist": flat("iNaturalist/images"),
    "ood-sun": flat("SUN/images"),
    "ood-places": flat("Places/images"),
    "ood-textures": folders("dtd/images", "banded,dotted,polka-dotted"),
    "ninco": folders("NINCO_OOD_classes", "amphiuma_means,f_lymantria_dispar"),
    "openimage-o": flat("."),
    "ood": folders("some/where", "a,b"),
}
ROLES = {"imagenet-val": "id", "ninco": "ood", "openimage-o": "ood", "ood": "ood"}
SUBSETS = {
    **{name: name for name in ("imagenet-r", "imagenet-a", "imagenet-o", "objectnet")},
    "imagenet-vid-robust": "imagenet-vid-robust",
    "imagenet-vid-robust-frames": "imagenet-vid-robust",
}


def role(name: str) -> str:
    ood = name == "imagenet-o" or name.startswith("ood-")
    return ROLES.get(name, "ood" if ood else "shift")


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(params=READERS)
def reader(request):
    assert request.param in LAYOUTS, "write a small copy of the set's layout for it"
    return request.param


@pytest.fixture
def opened(reader, tmp_path):
    LAYOUTS[reader](tmp_path)
    return open_examples(f"{reader}:{tmp_path}")


def test_it_is_what_it_says(reader, opened):
    assert opened.name == reader
    assert opened.role == role(reader) == readers()[reader].role
    assert opened.subset == SUBSETS.get(reader, "")
    assert opened.label_space == (SUBSETS.get(reader) or "imagenet")
    assert readers()[reader].about in opened.about
    assert opened.table.schema.equals(SCHEMA)
    assert len(opened.table) > 0
    assert not opened.grouped


def test_its_classes_are_those_of_its_subset(reader, opened):
    indices = [index for item in opened.classes for index in item.indices]
    assert len(set(indices)) == len(indices)
    if opened.role == "ood":
        assert not indices
        assert opened.table.column("label").null_count == len(opened.table)
    else:
        allowed = subset_indices(opened.subset) if opened.subset else range(1000)
        assert indices
        assert set(indices) <= set(allowed)
        assert opened.table.column("label").null_count == 0


def test_its_label_space_has_all_its_classes(opened):
    space = label_space(opened.label_space, opened.classes)
    if opened.role != "ood":
        places = space.places(opened.classes)
        assert len(set(places)) == len(opened.classes)
        for item, place in zip(opened.classes, places, strict=True):
            assert space.columns[place].indices == item.indices


def test_its_photos_can_be_read_and_are_named_by_content(reader, opened):
    ids = opened.table.column("photo_id").to_pylist()
    files = opened.table.column("file").to_pylist()
    assert all(files)
    for one in ids[::7]:
        assert len(one) == 64
        data = opened.read(one)
        assert decode(data).size[0] > 1
        if reader != "objectnet":
            assert hashlib.sha256(data).hexdigest() == one


def test_opened_twice_it_is_the_same(reader, opened, tmp_path):
    again = open_examples(f"{reader}:{tmp_path}")
    assert again.table.equals(opened.table)
    assert again.classes == opened.classes


def test_a_photo_that_does_not_decode_stays_an_example(reader, opened, tmp_path):
    path = sorted(p for p in tmp_path.rglob("*") if p.suffix in (".JPEG", ".jpg"))
    if not path:
        path = sorted(tmp_path.rglob("*.jpeg")) or sorted(tmp_path.rglob("*/banana/*"))
    for one in path:
        one.write_bytes(b"not a photo " + one.name.encode())
    again = open_examples(f"{reader}:{tmp_path}")
    assert len(again.table) == len(opened.table)
    data = {again.read(one) for one in again.table.column("photo_id").to_pylist()}
    assert any(one.startswith(b"not a photo") for one in data)


def test_nothing_and_nowhere_are_refused(reader, tmp_path):
    with pytest.raises(InputError, match=f"{reader}.*no such folder"):
        open_examples(f"{reader}:{tmp_path}/missing")
    put(tmp_path, "notes.txt", b"")
    with pytest.raises(InputError, match=reader):
        open_examples(f"{reader}:{tmp_path}")


def test_without_a_network_the_hub_is_an_error_of_its_own(reader):
    with pytest.raises(RemoteError, match="hub:org/name"):
        open_examples(f"{reader}:hub:org/name")


def test_names_are_told_from_folders(tmp_path):
    assert named("hub:org/name") is None
    assert named(str(tmp_path)) is None
    found = named("imagenet-r:hub:org/name")
    assert found is not None
    assert (found[0].name, found[1]) == ("imagenet-r", "hub:org/name")
