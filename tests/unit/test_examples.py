"""Example sets from folders, Parquet and the datasets library."""

import hashlib
import io
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from evaluation import photo_files
from evaluation.errors import ConfigError, InputError, RemoteError
from evaluation.examples import SCHEMA, from_table, open_examples, prepared


def picture(seed) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def sha(data) -> str:
    return hashlib.sha256(data).hexdigest()


def put(root, place, data) -> None:
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def test_the_papers_layout_with_and_without_index(tmp_path):
    put(tmp_path, "9 ostrich/common-grass/a.jpg", picture(0))
    put(tmp_path, "9 ostrich/counter-water/b.JPEG", picture(1))
    put(tmp_path, "ice bear/common-snow/c.png", picture(2))
    put(tmp_path, "ice bear/counter-dry grass/d.webp", picture(3))
    put(tmp_path, "ice bear/counter-dry grass/notes.txt", b"no photo")
    put(tmp_path, "ice bear/unused-sky/e.png", picture(4))
    put(tmp_path, ".hidden/common-snow/f.png", picture(5))
    found = open_examples(str(tmp_path))
    assert found.table.schema.equals(SCHEMA)
    rows = found.table.to_pylist()
    assert [
        (r["class_name"], r["group"], r["background"], r["label"]) for r in rows
    ] == [
        ("9 ostrich", "common", "grass", 9),
        ("9 ostrich", "counter", "water", 9),
        ("ice bear", "common", "snow", 296),
        ("ice bear", "counter", "dry grass", 296),
    ]
    assert found.grouped
    for row, seed in zip(rows, range(4), strict=True):
        assert row["photo_id"] == row["cluster"] == sha(picture(seed))
        assert found.read(row["photo_id"]) == picture(seed)


def test_the_published_archives_root_is_entered(tmp_path):
    put(tmp_path, "LAION-final/9 ostrich/common-grass/a.jpg", picture(0))
    assert open_examples(str(tmp_path)).classes[0].imagenet_index == 9


def test_a_class_folder_with_odd_names(tmp_path):
    names = ["a b.jpg", "quote'\".jpg", "line\nbreak.jpg", "фото.jpg", "写真.png"]
    for seed, name in enumerate(names):
        put(tmp_path, f"alpaca/{name}", picture(seed))
    found = open_examples(str(tmp_path))
    assert len(found.table) == 5
    assert not found.grouped
    assert found.table.column("label").to_pylist() == [None] * 5
    assert {found.read(one) for one in found.table.column("photo_id").to_pylist()} == {
        picture(seed) for seed in range(5)
    }


def test_one_photo_of_two_classes_is_two_examples(tmp_path):
    put(tmp_path, "ostrich/a.jpg", picture(0))
    put(tmp_path, "emu/a.jpg", picture(0))
    found = open_examples(str(tmp_path))
    assert len(set(found.table.column("photo_id").to_pylist())) == 1
    assert found.table.column("class_name").to_pylist() == ["emu", "ostrich"]


def test_a_broken_link_is_an_example_that_cannot_be_read(tmp_path):
    put(tmp_path, "ostrich/a.jpg", picture(0))
    (tmp_path / "ostrich/b.jpg").symlink_to(tmp_path / "nowhere.jpg")
    found = open_examples(str(tmp_path))
    ids = found.table.column("photo_id").to_pylist()
    assert len(set(ids)) == 2
    with pytest.raises(OSError, match="No such file"):
        found.read(ids[1])


@pytest.mark.parametrize("make", [lambda folder: None, lambda f: put(f, "a.txt", b"")])
def test_what_is_not_understood_is_an_error(tmp_path, make):
    make(tmp_path)
    with pytest.raises(InputError, match="found no photos"):
        open_examples(str(tmp_path))
    with pytest.raises(InputError, match="no such folder"):
        open_examples(str(tmp_path / "missing"))


@pytest.mark.parametrize("root", ["", "LAION-final/"])
def test_spellings_of_the_published_folders(tmp_path, root):
    for seed, place in enumerate(
        (
            "9 ostrich/common-grass/a.JPG",
            "9 ostrich/counter-water/b.Jpeg",
            "290 jaguar/common-green/c.PNG",
            "290 jaguar/counter-green/d.jpg",
            "ice bear/Common-snow/e.jpg",
            "ice bear/counter_dry_grass/f.jpg",
            "ice bear/common/g.jpg",
            "ice bear/commonly-seen/h.jpg",
        )
    ):
        put(tmp_path, root + place, picture(seed))
    rows = open_examples(str(tmp_path)).table.to_pylist()
    assert [(r["label"], r["group"], r["background"], r["file"]) for r in rows] == [
        (290, "common", "green", "c.PNG"),
        (290, "counter", "green", "d.jpg"),
        (9, "common", "grass", "a.JPG"),
        (9, "counter", "water", "b.Jpeg"),
        (296, "common", "snow", "e.jpg"),
        (296, "counter", "dry_grass", "f.jpg"),
    ]


def test_links_are_followed_inside_the_folder_only(tmp_path):
    put(tmp_path, "outside/a.jpg", picture(0))
    put(tmp_path, "set/ostrich/a.jpg", picture(1))
    (tmp_path / "set/ostrich/b.jpg").symlink_to(tmp_path / "outside/a.jpg")
    (tmp_path / "set/ostrich/c.jpg").symlink_to("a.jpg")
    found = open_examples(str(tmp_path / "set"))
    rows = {row["file"]: row["photo_id"] for row in found.table.to_pylist()}
    assert rows["a.jpg"] == rows["c.jpg"] == sha(picture(1))
    assert rows["b.jpg"] != sha(picture(0))
    with pytest.raises(OSError, match="link out of the dataset's folder"):
        found.read(rows["b.jpg"])
    (tmp_path / "set/emu").symlink_to(tmp_path / "outside")
    with pytest.raises(InputError, match="emu is a link out of"):
        open_examples(str(tmp_path / "set"))
    (tmp_path / "all").symlink_to(tmp_path / "set/ostrich/..")
    (tmp_path / "set/emu").unlink()
    assert open_examples(str(tmp_path / "all")).table.equals(found.table)


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path, monkeypatch):
    put(tmp_path, "ostrich/a.jpg", picture(0))
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("ostrich"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match="ostrich cannot be read: Permission denied"):
        open_examples(str(tmp_path))


def test_names_that_are_no_text(tmp_path):
    folder = os.fsencode(tmp_path) + b"/ostrich\xff"
    os.mkdir(folder)  # noqa: PTH102
    with open(folder + b"/a\xfe.jpg", "wb") as file:  # noqa: PTH123
        file.write(picture(0))
    row = open_examples(str(tmp_path)).table.to_pylist()[0]
    assert (row["class_name"], row["file"]) == (r"ostrich\xff", r"a\xfe.jpg")
    assert row["photo_id"] == sha(picture(0))


def test_what_files_were_called_is_remembered_until_they_change(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(photo_files, "REMEMBERED_FROM", 3)
    root = tmp_path / "set"
    for seed in range(4):
        put(root, f"ostrich/{seed}.jpg", picture(seed))
    paths = photo_files.photos_in(root / "ostrich")
    wanted = [sha(picture(seed)) for seed in range(4)]
    read = []
    digest = hashlib.file_digest

    def counted(file, kind):
        read.append(file.name)
        return digest(file, kind)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    assert photo_files.content_ids(paths, root) == wanted
    assert photo_files.content_ids(paths, root) == wanted
    assert len(read) == 8  # so new that they may still change within a clock's tick
    monkeypatch.setattr(photo_files, "_SETTLED", -(10**18))
    assert photo_files.content_ids(paths, root) == wanted
    assert photo_files.content_ids(paths, root) == wanted
    assert len(read) == 12

    times = paths[1].stat()
    paths[1].write_bytes(picture(9)[: times.st_size].ljust(times.st_size, b"x"))
    os.utime(paths[1], ns=(times.st_atime_ns, times.st_mtime_ns))
    wanted[1] = sha(paths[1].read_bytes())
    assert photo_files.content_ids(paths, root) == wanted
    assert len(read) == 13

    memory = next((tmp_path / "cache").rglob("*.parquet"))
    memory.write_bytes(b"damaged")
    assert photo_files.content_ids(paths, root) == wanted
    assert len(read) == 17
    monkeypatch.setenv("XDG_CACHE_HOME", str(paths[0]))
    assert photo_files.content_ids(paths, root) == wanted


def test_a_photo_prepared_before_it_is_read_is_another(tmp_path):
    for seed in range(3):
        put(tmp_path, f"ostrich/{seed}.png", picture(seed))
    plain = open_examples(str(tmp_path))
    turned = prepared(plain, "turned", lambda data: data[::-1])
    both = zip(plain.table.to_pylist(), turned.table.to_pylist(), strict=True)
    for before, after in both:
        old, new = before.pop("photo_id"), after.pop("photo_id")
        assert new == sha(f"turned {old}".encode())
        assert (before.pop("cluster"), after.pop("cluster")) == (old, new)
        assert before == after
        assert turned.read(new) == plain.read(old)[::-1]


def release(folder, *, ids=True, index=True, group_label=False):
    """A release written by the datasets library: 2 classes, 2 groups, 12 photos."""
    import datasets

    features = {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=["polar bear", "ostrich"]),
        "background": datasets.Value("string"),
        "observation_id": datasets.Value("string"),
    }
    for number, group in enumerate(("common", "counter")):
        seeds = range(6 * number, 6 * number + 6)
        rows = {
            "image": [{"bytes": picture(seed), "path": None} for seed in seeds],
            "label": [seed % 2 for seed in seeds],
            "background": [["snow", "grass"][number]] * 6,
            "observation_id": ["seen once"] * 2 + [None] * 4,
        }
        if ids:
            features["photo_id"] = datasets.Value("string")
            rows["photo_id"] = [sha(picture(seed)) for seed in seeds]
        if index:
            features["imagenet_index"] = datasets.Value("int64")
            rows["imagenet_index"] = [[296, 9][seed % 2] for seed in seeds]
        if group_label:
            features["group"] = datasets.ClassLabel(names=["common", "counter"])
            rows["group"] = [number] * 6
        made = datasets.Dataset.from_dict(rows, datasets.Features(features))
        (folder / "data").mkdir(exist_ok=True)
        path = folder / f"data/{group}-00000-of-00001.parquet"
        made.to_parquet(str(path), batch_size=4)


@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("group_label", [True, False])
def test_a_release(tmp_path, ids, index, group_label):
    release(tmp_path, ids=ids, index=index, group_label=group_label)
    found = open_examples(str(tmp_path))
    rows = found.table.to_pylist()
    assert [one.name for one in found.classes] == ["polar bear", "ostrich"]
    assert [one.imagenet_index for one in found.classes] == [296, 9]
    assert [row["photo_id"] for row in rows] == [sha(picture(s)) for s in range(12)]
    assert [row["group"] for row in rows] == ["common"] * 6 + ["counter"] * 6
    assert [row["position"] for row in rows] == [0, 1] * 6
    assert rows[0]["cluster"] == rows[1]["cluster"] == "seen once"
    assert rows[2]["cluster"] == rows[2]["photo_id"]
    assert rows[7]["background"] == "grass"
    order = [row["photo_id"] for row in rows] * 3
    with ThreadPoolExecutor(6) as pool:
        assert [sha(data) for data in pool.map(found.read, order)] == order


def test_damaged_or_foreign_parquet_is_an_error(tmp_path):
    release(tmp_path)
    path = tmp_path / "data/common-00000-of-00001.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="common-00000-of-00001"):
        open_examples(str(tmp_path))
    pq.write_table(pa.table({"label": [1]}), path)
    with pytest.raises(InputError, match="column 'image' is missing"):
        open_examples(str(tmp_path))


def test_a_dataset_of_the_datasets_library_equals_the_release(tmp_path):
    import datasets

    from evaluation.embedded import from_splits

    release(tmp_path)
    files = {
        group: str(tmp_path / f"data/{group}-00000-of-00001.parquet")
        for group in ("common", "counter")
    }
    loaded = datasets.load_dataset(
        "parquet", data_files=files, cache_dir=str(tmp_path / "cache")
    )
    ours, theirs = open_examples(str(tmp_path)), from_splits("x", loaded)
    assert theirs.table.equals(ours.table)
    assert theirs.classes == ours.classes
    for one in ours.table.column("photo_id").to_pylist():
        assert theirs.read(one) == ours.read(one)


def test_hub_names_and_no_network():
    for wrong in (
        "hub:",
        "hub:name",
        "hub:a/b/c",
        "hub:a/b@",
        "hub:a/b#",
        "hub:a/b#x,",
    ):
        with pytest.raises(ConfigError, match="hub:<org>/<name>"):
            open_examples(wrong)
    with pytest.raises(RemoteError, match="dataset 'hub:org/name@v1'"):
        open_examples("hub:org/name@v1")


def test_from_table_and_head():
    table = pa.table(
        {"photo_id": ["a", "b", "c"], "class_name": ["x", "y", "x"],
         "group": ["common", "unused", None]}
    )  # fmt: skip
    found = from_table("t", table, str.encode, indices={"y": 3, "x": None})
    assert found.table.column("position").to_pylist() == [1, 0, 1]
    assert found.table.column("group").to_pylist() == ["common", None, None]
    assert found.table.column("label").to_pylist() == [None, 3, None]
    assert found.head(2).table.column("photo_id").to_pylist() == ["a", "b"]
    assert found.head(9) is found
    with pytest.raises(InputError, match="classes without an entry"):
        from_table("t", table, str.encode, indices={"y": 3})
    with pytest.raises(InputError, match="'class_name' is missing"):
        from_table("t", table.select(["photo_id"]), str.encode, indices={})
