"""Robustness sets: layouts as published and as people arrange them, and what is not."""

import csv
import hashlib
import importlib.util
import io
import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from evaluation import imagenet
from evaluation.errors import InputError, MetricError
from evaluation.examples import open_examples
from evaluation.images import decode
from evaluation.label_spaces import label_space, subset_indices, subsets
from evaluation.readers import objectnet, vid_robust
from evaluation.readers.out_of_distribution import TEXTURES

WORDNET = imagenet.wordnet_ids()


def photo(seed, kind="JPEG", size=(9, 8)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def put(root, place, data) -> None:
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def arranged(root, indices, name) -> None:
    for index in indices:
        put(root, f"{name(index)}/{index}_b.JPEG", photo(index))
        put(root, f"{name(index)}/{index}_a.JPEG", photo(1000 + index))


def facts(found):
    rows = found.table.to_pylist()
    return [(row["label"], row["file"], row["photo_id"]) for row in rows]


# --- folders by WordNet id, index and name -------------------------------------------

ARRANGED = {
    "wordnet": lambda index: WORDNET[index],
    "wordnet and name": lambda index: f"{WORDNET[index]}_{imagenet.names()[index]}",
    "index": str,
    "padded": lambda index: f"{index:04d}",
    "index and name": lambda index: f"{index} {imagenet.names()[index]}",
    "name": lambda index: imagenet.names()[index].replace(" ", "_"),
    "synset": lambda index: imagenet.names("synset")[index],
}


@pytest.mark.parametrize("way", ARRANGED)
@pytest.mark.parametrize("reader", ["imagenet-r", "imagenet-sketch", "imagenet-val"])
def test_however_folders_are_called_the_set_is_the_same(tmp_path, reader, way):
    indices = [index for index in subset_indices("imagenet-r") if index % 7 in (0, 2)]
    arranged(tmp_path / "theirs", indices, ARRANGED["wordnet"])
    arranged(tmp_path / "ours", indices, ARRANGED[way])
    theirs = open_examples(f"{reader}:{tmp_path / 'theirs'}")
    ours = open_examples(f"{reader}:{tmp_path / 'ours'}")
    assert ours.table.equals(theirs.table)
    assert ours.classes == theirs.classes
    assert [row[:2] for row in facts(ours)] == [
        (index, f"{index}_{letter}.JPEG") for index in indices for letter in "ab"
    ]


def test_v2s_folders_are_numbers_not_places_in_the_alphabet(tmp_path):
    every = range(0, 1000, 11)
    for index in every:
        put(tmp_path, f"{index}/{index}.jpeg", photo(index))
    found = open_examples(f"imagenet-v2-matched-frequency:{tmp_path}")
    assert found.table.column("label").to_pylist() == list(every)
    assert found.table.column("file").to_pylist() == [f"{i}.jpeg" for i in every]
    assert "91 photos here, 10,000 were published" in found.about
    assert "909 of its ImageNet classes are not here" in found.about


def test_two_classes_of_one_name_are_told_apart_by_the_set(tmp_path):
    missile, projectile = 657, 744
    assert imagenet.names()[missile] == imagenet.names()[projectile]
    ours = {missile, projectile} & set(subset_indices("imagenet-r"))
    for index in ours:
        arranged(tmp_path / "r", [index], lambda _: "missile")
        found = open_examples(f"imagenet-r:{tmp_path / 'r'}")
        assert found.table.column("label").to_pylist() == [index] * 2
    arranged(tmp_path / "sketch", [missile], lambda _: "missile")
    with pytest.raises(InputError, match="'missile' is no ImageNet class"):
        open_examples(f"imagenet-sketch:{tmp_path / 'sketch'}")
    arranged(tmp_path / "ids", [missile, projectile], ARRANGED["wordnet"])
    found = open_examples(f"imagenet-sketch:{tmp_path / 'ids'}")
    assert [item.name for item in found.classes] == ["missile (657)", "missile (744)"]


@pytest.mark.parametrize(
    ("reader", "indices", "way", "message"),
    [
        ("imagenet-r", range(200), "index", "not of imagenet-r, such as '0'"),
        ("imagenet-a", range(0, 1000, 9), "wordnet", "classes are not of imagenet-a"),
        ("imagenet-v2-top-images", (1000,), "index", "'1000' is no ImageNet class"),
    ],
)
def test_classes_of_another_set_are_refused(tmp_path, reader, indices, way, message):
    name = str if way == "index" else ARRANGED[way]
    for index in indices:
        put(tmp_path, f"{name(index)}/a.JPEG", photo(index))
    with pytest.raises(InputError, match=message):
        open_examples(f"{reader}:{tmp_path}")


@pytest.mark.parametrize("reader", ["imagenet-a", "imagenet-val", "imagenet-sketch"])
def test_all_classes_of_another_set_are_recognised(tmp_path, reader):
    for index in subset_indices("imagenet-r"):
        put(tmp_path, f"{WORDNET[index]}/a.JPEG", photo(index))
    with pytest.raises(InputError, match="its classes are those of imagenet-r"):
        open_examples(f"{reader}:{tmp_path}")


def test_a_v2_folder_of_another_variant_is_refused(tmp_path):
    for part in ("matched-frequency", "threshold0.7", "top-images"):
        put(tmp_path, f"imagenetv2-{part}-format-val/7/{part}.jpeg", photo(7))
    for variant, part in (
        ("matched-frequency", "matched-frequency"),
        ("threshold-0.7", "threshold0.7"),
        ("top-images", "top-images"),
    ):
        found = open_examples(f"imagenet-v2-{variant}:{tmp_path}")
        assert found.table.column("file").to_pylist() == [f"{part}.jpeg"]
    wrong = tmp_path / "imagenetv2-top-images-format-val"
    with pytest.raises(InputError, match="says it is another"):
        open_examples(f"imagenet-v2-threshold-0.7:{wrong}")


def test_two_folders_of_one_class_and_a_class_of_none_are_refused(tmp_path):
    put(tmp_path, "two/goldfish/a.jpg", photo(0))
    put(tmp_path, f"two/{WORDNET[1]}/a.jpg", photo(1))
    with pytest.raises(InputError, match="two of its folders are one class"):
        open_examples(f"imagenet-r:{tmp_path / 'two'}")
    put(tmp_path, "none/n00000001/a.jpg", photo(0))
    with pytest.raises(InputError, match="'n00000001' is no ImageNet class"):
        open_examples(f"imagenet-val:{tmp_path / 'none'}")


# --- ImageNet's validation set in one folder -----------------------------------------

VAL = {1: 65, 2: 970, 3: 230, 4: 809}  # as the published lists begin


def name_of(number) -> str:
    return f"ILSVRC2012_val_{number:08d}.JPEG"


def kaggle(root) -> None:
    lines = ["ImageId,PredictionString"]
    for number, index in reversed(VAL.items()):
        name = Path(name_of(number)).stem
        lines.append(f"{name},{WORDNET[index]} 1 2 30 40 {WORDNET[index]} 5 6 70 80 ")
    put(root, "LOC_val_solution.csv", "\n".join(lines).encode())


def caffe(root) -> None:
    text = "".join(f"{name_of(n)} {index}\n" for n, index in VAL.items())
    put(root, "val.txt", text.encode())


def synsets(root) -> None:
    text = "".join(f"{WORDNET[index]}\n" for index in VAL.values())
    put(root, "imagenet_2012_validation_synset_labels.txt", text.encode())


def kit(root) -> None:
    """The development kit: its numbers are its own, and inner synsets follow 1,000."""
    from scipy.io import savemat

    order = random.Random(0).sample(range(1000), 1000)
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("num_children", "O")]
    rows = [(n, WORDNET[index], 0) for n, index in enumerate(order, start=1)]
    rows.append((1001, "n00001740", 3))
    meta = np.array(rows, dtype=kinds).reshape(-1, 1)
    folder = root / "ILSVRC2012_devkit_t12" / "data"
    folder.mkdir(parents=True)
    savemat(folder / "meta.mat", {"synsets": meta})
    numbers = [str(order.index(index) + 1) for index in VAL.values()]
    put(folder, "ILSVRC2012_validation_ground_truth.txt", "\n".join(numbers).encode())


def table(root) -> None:
    lines = [f"sub/{name_of(n)},{index}" for n, index in VAL.items()]
    put(root, "labels.csv", "\n".join(["file,imagenet_index", *lines]).encode())


LISTS = {"kaggle": kaggle, "caffe": caffe, "synsets": synsets, "kit": kit,
         "table": table}  # fmt: skip


@pytest.mark.parametrize("above", [False, True])
@pytest.mark.parametrize("way", LISTS)
def test_validation_photos_in_one_folder(tmp_path, way, above):
    for number in VAL:
        put(tmp_path, f"val/{name_of(number)}", photo(number))
    LISTS[way](tmp_path if above else tmp_path / "val")
    for place in (tmp_path, tmp_path / "val"):
        found = open_examples(f"imagenet-val:{place}")
        rows = found.table.to_pylist()
        assert {row["file"]: row["label"] for row in rows} == {
            name_of(number): index for number, index in VAL.items()
        }
        assert [row["label"] for row in rows] == sorted(VAL.values())


def test_kaggles_archive(tmp_path):
    for number in VAL:
        inner = "ILSVRC/Data/CLS-LOC/val"
        put(tmp_path, f"{inner}/{name_of(number)}", photo(number))
    kaggle(tmp_path)
    found = open_examples(f"imagenet-val:{tmp_path}")
    assert sorted(found.table.column("label").to_pylist()) == sorted(VAL.values())


def test_wordnet_ids_in_the_files_names(tmp_path):
    for number, index in VAL.items():
        stem = Path(name_of(number)).stem
        put(tmp_path, f"{stem}_{WORDNET[index]}.JPEG", photo(number))
    found = open_examples(f"imagenet-val:{tmp_path}")
    assert found.table.column("label").to_pylist() == sorted(VAL.values())


def test_validation_photos_without_their_classes_are_refused(tmp_path):
    for number in VAL:
        put(tmp_path, f"val/{name_of(number)}", photo(number))
    with pytest.raises(InputError, match="LOC_val_solution.csv.*development kit"):
        open_examples(f"imagenet-val:{tmp_path}")
    caffe(tmp_path)
    put(tmp_path, f"val/{name_of(9)}", photo(9))
    with pytest.raises(InputError, match=f"1 of 5 photos have no class.*{name_of(9)}"):
        open_examples(f"imagenet-val:{tmp_path}")
    put(tmp_path, "val.txt", b"ILSVRC2012_val_00000001.JPEG 1000")
    with pytest.raises(InputError, match=r"val\.txt cannot be read.*1000"):
        open_examples(f"imagenet-val:{tmp_path}")
    (tmp_path / "val.txt").unlink()
    put(tmp_path, "ILSVRC2012_validation_ground_truth.txt", b"1\n2\n3\n4\n5")
    with pytest.raises(InputError, match=r"ground_truth\.txt.*meta\.mat"):
        open_examples(f"imagenet-val:{tmp_path}")
    put(tmp_path, f"val/{WORDNET[0]}/a.JPEG", photo(0))
    with pytest.raises(InputError, match="in it and in folders of it"):
        open_examples(f"imagenet-val:{tmp_path}")


# --- ObjectNet -----------------------------------------------------------------------


def objectnet_copy(root, names=("alarm_clock", "chair", "air_freshener", "banana")):
    for seed, name in enumerate(names):
        inner = Image.open(io.BytesIO(photo(seed, "PNG", (10, 12))))
        whole = Image.new("RGB", (16, 14), (255, 0, 0))
        whole.paste(inner, (2, 2))
        file = io.BytesIO()
        whole.save(file, "PNG")
        put(root, f"images/{name}/{seed}.png", file.getvalue())


def test_objectnet_counts_classes_of_imagenet_and_any_of_theirs(tmp_path):
    objectnet_copy(tmp_path / "objectnet-1.0")
    found = open_examples(f"objectnet:{tmp_path}")
    assert {item.name: item.indices for item in found.classes} == {
        "Alarm clock": (409, 530),
        "Chair": (423, 559, 765),
        "Banana": (954,),
    }
    assert len(found.table) == 3
    space = label_space("objectnet", found.classes)
    assert len(space.columns) == 113
    assert space.columns[space.places(found.classes)[0]].name == "Alarm clock"


def test_objectnets_border_is_cut_and_nothing_else(tmp_path):
    objectnet_copy(tmp_path)
    found = open_examples(f"objectnet:{tmp_path}")
    for row in found.table.to_pylist():
        seed = int(row["file"][0])
        read = decode(found.read(row["photo_id"]))
        wanted = decode(photo(seed, "PNG", (10, 12)))
        assert read.size == (12, 10)
        assert read.tobytes() == wanted.tobytes()
        path = next((tmp_path / "images").rglob(row["file"]))
        file = hashlib.sha256(path.read_bytes()).hexdigest()
        step = f"objectnet without border {file}".encode()
        assert row["photo_id"] == hashlib.sha256(step).hexdigest() == row["cluster"]
    assert objectnet.without_border(b"no picture") == b"no picture"
    assert objectnet.without_border(photo(0, size=(4, 9))) == photo(0, size=(4, 9))


def test_a_copy_that_is_not_objectnet_is_refused(tmp_path):
    objectnet_copy(tmp_path / "more", ["banana", "dragon fruit"])
    with pytest.raises(InputError, match="'dragon fruit' is none of its 313 classes"):
        open_examples(f"objectnet:{tmp_path / 'more'}")
    objectnet_copy(tmp_path / "none", ["air_freshener"])
    with pytest.raises(InputError, match="found no photos"):
        open_examples(f"objectnet:{tmp_path / 'none'}")

    names = ("folder_to_objectnet_label.json", "objectnet_to_imagenet_1k.json")
    synset = imagenet.names("synset")
    with (Path(objectnet.__file__).parent / "objectnet_folders.csv").open() as file:
        folders = {row["folder"]: row["class"] for row in csv.DictReader(file)}
    classes = {}
    with subsets()["objectnet"].open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            classes.setdefault(row["class"], []).append(
                synset[int(row["imagenet_index"])]
            )
    joined = {name: "; ".join(some) for name, some in classes.items()}
    changed = joined | {"Chair": "folding chair"}
    for content, message in (
        ((folders, joined), None),
        ((folders, changed), "differs for class 'Chair'"),
        ((folders | {"chair": "Stool"}, joined), r"label\.json differs in"),
        (([], joined), "no JSON object"),
    ):
        objectnet_copy(tmp_path / "copy")
        for name, one in zip(names, content, strict=True):
            put(tmp_path / "copy", f"mappings/{name}", json.dumps(one).encode())
        if message is None:
            assert len(open_examples(f"objectnet:{tmp_path / 'copy'}").table) == 3
        else:
            with pytest.raises(InputError, match=message):
                open_examples(f"objectnet:{tmp_path / 'copy'}")


# --- ImageNet-Vid-Robust -------------------------------------------------------------


def videos(root, count=12, both=(7, 9)):
    """Videos of five frames, the third the anchor; some show two classes."""
    labels, near = {}, {}
    for video in range(count):
        places = [
            f"val/ILSVRC2015_val_{video:08d}/{frame:06d}.JPEG" for frame in range(5)
        ]
        for frame, place in enumerate(places):
            put(root, place, photo(video * 10 + frame))
            labels[place] = [4, 6] if video in both else [video]
        near[places[2]] = places[:2] + places[3:]
    put(root, "metadata/labels.json", json.dumps(labels).encode())
    put(root, "metadata/pmsets.json", json.dumps(near).encode())
    return labels, near


def test_vid_robusts_anchors_and_frames(tmp_path):
    labels, near = videos(tmp_path / "imagenet-vid-robust")
    anchors = open_examples(f"imagenet-vid-robust:{tmp_path}")
    assert set(anchors.table.column("file").to_pylist()) == {
        place for place in near if len(labels[place]) == 1
    }
    assert "2 anchors show two classes and are left out" in anchors.about
    bird = next(item for item in anchors.classes if item.name == "bird")
    assert {7, 8, 24, 80, 100, 127, 146} <= set(bird.indices)
    frames = open_examples(f"imagenet-vid-robust-frames:{tmp_path}")
    rows = frames.table.to_pylist()
    assert {row["file"] for row in rows} == set(labels)
    for row in rows:
        assert row["class_name"] == vid_robust.CLASSES[labels[row["file"]][0]]
        assert row["cluster"] == row["file"].split("/")[1]


def test_perturbed_counts_as_the_authors_do(tmp_path):
    labels, near = videos(tmp_path)
    frames = open_examples(f"imagenet-vid-robust-frames:{tmp_path}")
    group = {item.name: item.indices for item in frames.classes}
    index = [group.get(name, (0,))[-1] for name in vid_robust.CLASSES]
    files = frames.table.column("file").to_pylist()
    right = {place: index[labels[place][-1]] for place in files}
    found = vid_robust.perturbed(tmp_path, frames, [right[one] for one in files])
    assert (found.anchors, found.benign, found.pm) == (12, 1.0, 1.0)

    rng = random.Random(0)
    guess = {one: right[one] if rng.random() < 0.9 else None for one in files}
    guess[files[0]] = 999
    found = vid_robust.perturbed(tmp_path, frames, [guess[one] for one in files])
    good = {one for one in files if guess[one] == right[one]}
    assert found.benign == len(good & set(near)) / 12
    assert found.pm == sum({a, *some} <= good for a, some in near.items()) / 12
    assert 0 < found.pm < found.benign < 1

    fewer = frames.head(20)
    with pytest.raises(MetricError, match="40 of its 60 frames were not predicted"):
        vid_robust.perturbed(tmp_path, fewer, [None] * 20)


def test_vid_robust_without_its_metadata_is_refused(tmp_path):
    videos(tmp_path)
    place = "val/ILSVRC2015_val_00000000/000002.JPEG"
    for name, content, message in (
        ("labels", {}, f"no class for frame '{place}'"),
        ("labels", {place: [30]}, f"no class for frame '{place}'"),
        ("pmsets", {}, "has no anchors"),
        ("pmsets", [], "no JSON object"),
        ("pmsets", None, r"pmsets\.json is missing"),
    ):
        videos(tmp_path)
        path = tmp_path / "metadata" / f"{name}.json"
        path.write_text(json.dumps(content))
        if content is None:
            path.unlink()
        with pytest.raises(InputError, match=message):
            open_examples(f"imagenet-vid-robust:{tmp_path}")
    videos(tmp_path)
    for path in tmp_path.rglob("*.JPEG"):
        path.unlink()
    with pytest.raises(InputError, match="all other frames"):
        open_examples(f"imagenet-vid-robust:{tmp_path}")


# --- photos of unknown classes -------------------------------------------------------


def test_unknown_classes_have_no_labels(tmp_path):
    put(tmp_path, "b.jpg", photo(0))
    put(tmp_path, "deep/er/c.jpg", photo(1))
    put(tmp_path, ".hidden/d.jpg", photo(2))
    put(tmp_path, "deep/.e.jpg", photo(3))
    found = open_examples(f"ood:{tmp_path}")
    rows = [(row["file"], row["class_name"]) for row in found.table.to_pylist()]
    assert rows == [("b.jpg", "ood"), ("c.jpg", "deep")]
    assert all(item.imagenet_index is None for item in found.classes)


def test_sets_of_unknown_classes_that_have_known_ones_are_refused(tmp_path):
    put(tmp_path, f"{WORDNET[3]}/a.jpg", photo(0))
    for reader in ("ood", "ood-sun", "ninco"):
        with pytest.raises(InputError, match=f"{WORDNET[3]} is an ImageNet class"):
            open_examples(f"{reader}:{tmp_path}")
    put(tmp_path, "dtd/images/metal/a.jpg", photo(0))
    with pytest.raises(InputError, match="'metal' is none of its 47 textures"):
        open_examples(f"ood-textures:{tmp_path}")
    assert len(TEXTURES) == len(set(TEXTURES)) == 47
    for index in (0, 1, 2):
        put(tmp_path, f"o/{WORDNET[index]}/a.jpg", photo(index))
    with pytest.raises(InputError, match="not of imagenet-o"):
        open_examples(f"imagenet-o:{tmp_path / 'o'}")


# --- facts ---------------------------------------------------------------------------


@pytest.mark.parametrize("letter", ["r", "a"])
def test_timm_has_the_same_classes(letter):
    spec = importlib.util.find_spec("timm")  # importing it takes seconds
    assert spec is not None
    folder = Path(spec.origin).parent / "data/_info"
    path = folder / f"imagenet_{letter}_synsets.txt"
    theirs = sorted(WORDNET.index(one) for one in path.read_text().split())
    assert list(subset_indices(f"imagenet-{letter}")) == theirs


@pytest.mark.parametrize(
    ("name", "classes", "indices"),
    [
        ("imagenet-r", 200, 200),
        ("imagenet-a", 200, 200),
        ("imagenet-o", 200, 200),
        ("objectnet", 113, 125),
        ("imagenet-vid-robust", 30, 288),
    ],
)
def test_subsets_are_whole_and_name_what_imagenet_does(name, classes, indices):
    with subsets()[name].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = [int(row["imagenet_index"]) for row in rows]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == indices
    for row, index in zip(rows, numbers, strict=True):
        assert row["wordnet_id"] == WORDNET[index]
        assert row["name"] == imagenet.names()[index]
    assert len({row.get("class") or row["name"] for row in rows}) == classes
    assert len(label_space(name, ()).columns) == classes


def test_vid_robusts_groups_hold_what_their_names_say():
    with subsets()["imagenet-vid-robust"].open(encoding="utf-8", newline="") as file:
        kinds = {
            int(row["imagenet_index"]): row["class"] for row in csv.DictReader(file)
        }
    assert set(kinds.values()) == set(vid_robust.CLASSES)
    for index, kind in ((9, "bird"), (281, "domestic cat"), (151, "dog"),
                        (404, "airplane"), (340, "zebra"), (345, "cattle"),
                        (817, "car"), (779, "bus"), (147, "whale")):  # fmt: skip
        assert kinds[index] == kind


# --- datasets of the Hub -------------------------------------------------------------


def dataset(rows, **features):
    import datasets

    kinds = {"image": datasets.Image(), **features}
    return datasets.Dataset.from_dict(rows, datasets.Features(kinds))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder in which `hub:org/name` is found without a network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("evaluation.embedded.head", lambda *_, **__: 200)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))

    def publish(**splits) -> str:
        for name, rows in splits.items():
            path = tmp_path / f"org/name/data/{name}-00000-of-00001.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows.to_parquet(str(path))
        return "hub:org/name"

    return publish


def images(count, name=""):
    return [
        {"bytes": photo(seed), "path": f"{name}{seed}.JPEG"} for seed in range(count)
    ]


def published_names():
    """The names of `ILSVRC/imagenet-1k`: synsets, two of them changed to differ."""
    names = list(imagenet.names("synset"))
    names[517], names[639] = "crane2", "maillot, tank suit 2"
    for index, name in enumerate(names):
        if name in names[:index]:
            names[index] = f"{name} {index}"
    return names


def test_imagenet_of_the_hub_takes_the_validation_split(hub):
    import datasets

    label = datasets.ClassLabel(names=published_names())
    train = dataset({"image": images(1), "label": [5]}, label=label)
    labels = [0, 134, 517, 638, 639, 999]
    validation = dataset({"image": images(6), "label": labels}, label=label)
    test = dataset({"image": images(2), "label": [-1, -1]}, label=label)
    spec = hub(train=train, validation=validation, test=test)
    found = open_examples(f"imagenet-val:{spec}")
    assert found.table.column("label").to_pylist() == labels
    assert found.table.column("file").to_pylist() == [f"{i}.JPEG" for i in range(6)]
    assert found.name == "imagenet-val"
    assert found.role == "id"
    other = open_examples(f"imagenet-val:{spec}#train")
    assert other.table.column("label").to_pylist() == [5]
    both = open_examples(f"imagenet-val:{spec}#train,validation")
    assert sorted(both.table.column("label").to_pylist()) == sorted([5, *labels])
    with pytest.raises(InputError, match="split test: row 0 has no label"):
        open_examples(f"{spec}#test")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("wnid", "string"), ("label", "string"), ("label", "int64"), ("cls", "int64")],
)
def test_renditions_of_the_hub(hub, name, kind):
    import datasets

    indices = subset_indices("imagenet-r")[:5]
    values = [WORDNET[i] if kind == "string" else i for i in indices]
    rows = {"image": images(5), name: values}
    features = {name: datasets.Value(kind)}
    if name == "wnid":  # numbers of their own beside it
        rows["label"], features["label"] = list(range(5)), datasets.Value("int64")
    spec = hub(test=dataset(rows, **features))
    found = open_examples(f"imagenet-r:{spec}")
    assert found.table.column("label").to_pylist() == list(indices)
    assert found.label_space == "imagenet-r"


def test_numbers_that_are_no_indices_are_refused(hub):
    import datasets

    rows = {"image": images(200), "label": list(range(200))}
    spec = hub(test=dataset(rows, label=datasets.Value("int64")))
    with pytest.raises(InputError, match="not of imagenet-r"):
        open_examples(f"imagenet-r:{spec}")


def test_indices_that_a_dataset_states_come_before_what_its_labels_look_like(hub):
    import datasets

    number = datasets.Value("int64")
    rows = {"image": images(3), "label": [0, 1, 2], "imagenet_index": [744, 657, 9]}
    spec = hub(test=dataset(rows, label=number, imagenet_index=number))
    found = open_examples(f"imagenet-sketch:{spec}")
    assert found.table.column("label").to_pylist() == [9, 657, 744]
    rows["label"] = ["projectile", "missile", "ostrich"]
    text = datasets.Value("string")
    spec = hub(test=dataset(rows, label=text, imagenet_index=number))
    found = open_examples(f"imagenet-sketch:{spec}")
    assert found.table.column("label").to_pylist() == [9, 657, 744]


def test_a_webdatasets_picture_column_and_unlabelled_photos(hub):
    import datasets

    made = datasets.Dataset.from_dict(
        {"jpg": images(3), "__key__": ["a", "b", "c"]},
        datasets.Features(
            {"jpg": datasets.Image(), "__key__": datasets.Value("string")}
        ),
    )
    spec = hub(train=made)
    found = open_examples(f"ood-places:{spec}")
    assert found.table.column("photo_id").to_pylist() == [
        hashlib.sha256(photo(seed)).hexdigest() for seed in range(3)
    ]
    assert found.role == "ood"
    with pytest.raises(InputError, match="column 'label' is missing; found jpg"):
        open_examples(spec)


def test_objectnet_and_vid_robust_of_the_hub(hub):
    import datasets

    names = ["Chair", "Air freshener", "banana"]
    rows = {"image": images(3), "label": names}
    spec = hub(test=dataset(rows, label=datasets.Value("string")))
    found = open_examples(f"objectnet:{spec}")
    assert found.table.column("class_name").to_pylist() == ["Chair", "Banana"]
    assert found.classes[0].indices == (423, 559, 765)
    sizes = {
        decode(found.read(row["photo_id"])).size for row in found.table.to_pylist()
    }
    assert sizes == {(4, 5)}
    with pytest.raises(InputError, match="'Chair' is none of its 30 classes"):
        open_examples(f"imagenet-vid-robust:{spec}")


def test_classes_of_the_hub_in_a_different_order_go_by_name(hub):
    import datasets

    names = ["hen", "goldfish", "great white shark"]
    made = dataset(
        {"image": images(3), "label": [2, 0, 1]}, label=datasets.ClassLabel(names=names)
    )
    found = open_examples(f"imagenet-r:{hub(test=made)}")
    assert found.table.column("label").to_pylist() == [1, 2, 8]
    assert found.table.schema.field("file").type == pa.string()
