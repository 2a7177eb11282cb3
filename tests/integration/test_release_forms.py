"""Other forms of a release: tars, a list of URLs, folders; all say the same."""

import csv
import io
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from curation.cli import app
from curation.errors import ConfigError, InputError, WorkFolderError
from curation.release import export_folders
from curation.release.columns import arrow_schema, photo_columns
from curation.release.urls import read_urls
from curation.release.webdataset import export_webdataset
from evaluation.images import decode
from tests.standins.server import Answer, Server
from tests.world import make

GROUPS = ("common", "counter")
FOLDER_SOURCE = """\
[[sources]]
kind = "folder"
path = "photos"
licence = "CC0-1.0"
author = "nobody"
"""
URL_SOURCE = """\
[[sources]]
kind = "urls"
path = "list.csv"
[[http.hosts]]
name = "127.0.0.1"
private = true
"""


def odd(path, form):
    """Write a photo anew in a form that simple readers see otherwise, or not at all."""
    with Image.open(path) as image:
        picture, file = image.convert("RGB"), io.BytesIO()
    if form == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        picture.save(file, "JPEG", exif=exif, quality=95)
    elif form == "see-through":
        picture.putalpha(picture.convert("L"))
        picture.save(file, "PNG")
    else:
        picture.save(file, form)
    path.write_bytes(file.getvalue())


@pytest.fixture(scope="module")
def site(tmp_path_factory, tiny_clip):
    """A host of photos, in part of odd forms; their files by path."""
    root = tmp_path_factory.mktemp("site")
    world = make(root, tiny_clip)
    files = sorted(world.photos.glob("*/*.jpg"))
    for path, form in zip(files[1:], ("turned", "see-through", "BMP"), strict=False):
        odd(path, form)
    odd(files[4], "PNG")
    odd(files[5], "WEBP")

    def reply(asked):
        path = world.photos / asked.path.lstrip("/")
        return Answer(body=path.read_bytes()) if path.is_file() else Answer(404)

    with Server(reply) as server:
        world.server = server
        with (root / "mine/list.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            columns = ["url", "class", "licence", "author", "source_url", "attribution"]
            writer.writerow(columns)
            for path in files:
                name = f"{path.parent.name}/{path.name}"
                about = ["CC-BY-4.0", "Ann, B.", f"https://example.org/{name}", "© Ann"]
                writer.writerow([f"{server.url}/{name}", path.parent.name, *about])
        text = (root / "mine/labels.csv").read_text()
        for kind in ("bear", "dog"):
            text = text.replace(f"\n{kind}/", f"\n{server.url}/{kind}/")
        (root / "mine/labels.csv").write_text(text)
        world.change(FOLDER_SOURCE, URL_SOURCE)
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("XDG_STATE_HOME", str(root / "state"))
            world.run("--until", "tasks")
            world.label()
            world.run("--until", "release")
            yield world


@pytest.fixture(scope="module")
def release(site):
    return site.work / "release"


@pytest.fixture(scope="module")
def forms(site):
    """All forms at once, and what the command said."""
    root = site.root
    places = {name: root / "forms" / name for name in ("tars", "folders")}
    listing = root / "forms/urls.csv"
    told = site.json(
        "release", "--quiet", "--webdataset", str(places["tars"]), "--folders",
        str(places["folders"]), "--urls", str(listing),
    )  # fmt: skip
    return told, {**places, "urls": listing}


def photos(release, group):
    shards = sorted((release / "data").glob(f"{group}-*.parquet"))
    return pq.read_table(shards).to_pylist()


def members(folder):
    """Contents of a split's tars by name, tar after tar."""
    found = []
    for number in range(int((folder / "nshards.txt").read_text())):
        with tarfile.open(folder / f"{number}.tar") as tar:
            found.append({m.name: tar.extractfile(m).read() for m in tar})
    return found


def contents(folder):
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


# tars -------------------------------------------------------------------------------


def test_tars_hold_each_photo_with_its_class(forms, release):
    told, places = forms
    assert told["files"] == told["photos"] == 31
    assert told["tars"] == {"common": 4, "counter": 4}
    names = (places["tars"] / "classnames.txt").read_text().splitlines()
    assert names == ["German Shepherd Dog", "polar bear"]
    place = {"dog": 0, "bear": 1}
    rewritten = 0
    for group in GROUPS:
        held = {k: v for tar in members(places["tars"] / group) for k, v in tar.items()}
        rows = photos(release, group)
        assert len(held) == 2 * len(rows)
        for row in rows:
            key, data = row["photo_id"], row["image"]["bytes"]
            kind = ("bear", "dog")[row["label"]]
            assert held[f"{key}.cls"] == str(place[kind]).encode()
            (name,) = [n for n in held if n.startswith(key) and not n.endswith(".cls")]
            assert Path(name).suffix in (".jpg", ".png", ".webp")
            # what a reader without our knowledge sees is what we see
            seen = Image.open(io.BytesIO(held[name])).convert("RGB")
            assert seen.size == decode(data).size
            assert seen.tobytes() == decode(data).tobytes()
            if held[name] != data:
                rewritten += 1
    assert rewritten == told["rewritten_as_png"] == 3
    assert contents(places["tars"])["LICENSES.csv"]


def test_tars_are_the_same_bytes_again(forms, release, tmp_path):
    export_webdataset(release, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(forms[1]["tars"])


def test_tars_stay_small_and_a_photo_is_never_cut(release, tmp_path):
    limit = 100_000
    tars = export_webdataset(release, tmp_path / "small", shard_bytes=limit)
    for group in GROUPS:
        found = members(tmp_path / "small" / group)
        assert len(found) == tars.shards[group] > 4
        assert sum(len(tar) for tar in found) == 2 * len(photos(release, group))
        for tar in found:
            sizes = [len(data) for name, data in tar.items() if name[-3:] != "cls"]
            assert sum(sizes) <= limit or len(sizes) == 1
    assert not (tmp_path / "small/common" / f"{tars.shards['common']}.tar").exists()


LOAD = """
import json, sys
from datasets import load_dataset
files = {split: f"{sys.argv[1]}/{split}/*.tar" for split in ("common", "counter")}
loaded = load_dataset("webdataset", data_files=files)
keys = {split: sorted(rows["__key__"]) for split, rows in loaded.items()}
kinds = {split: sorted(set(rows["cls"])) for split, rows in loaded.items()}
print(json.dumps([keys, kinds]))
"""


@pytest.mark.slow
def test_datasets_loads_the_tars(release, tmp_path):
    # its reader wants one kind of file, so only where all are JPEG
    jpegs = jpeg_release(tmp_path / "jpegs", release)
    export_webdataset(jpegs, tmp_path / "tars")
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path / "tars")],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    keys, kinds = json.loads(done.stdout)
    for group in GROUPS:
        assert keys[group] == sorted(row["photo_id"] for row in photos(jpegs, group))
        assert kinds[group] == [0, 1]


def jpeg_release(folder, release):
    """The release without photos of other formats."""
    shutil.copytree(release, folder)
    for path in (folder / "data").glob("*.parquet"):
        table = pq.read_table(path)
        paths = [image["path"] for image in table["image"].to_pylist()]
        kept = [name.endswith(".jpg") for name in paths]
        pq.write_table(table.filter(pa.array(kept)), path)
    return folder


def small_release(folder, indices):
    """A release of one photo per group and class, with what forms read of it."""
    names = list(indices)
    data = next(
        iter(Path(__file__).parents[2].glob("curation/demo/assets/originals/*"))
    )
    columns = photo_columns(names)
    kept = ("image", "label", "imagenet_index", "background", "group", "photo_id")
    schema = arrow_schema({name: columns[name] for name in kept})
    (folder / "data").mkdir(parents=True)
    for number, group in enumerate(GROUPS):
        rows = [
            {
                "image": {"bytes": data.read_bytes(), "path": "1.jpg"},
                "label": place,
                "imagenet_index": indices[name],
                "background": "snow",
                "group": number,
                "photo_id": f"{number}{place}" * 32,
            }
            for place, name in enumerate(names)
        ]
        table = pa.Table.from_pylist(rows, schema=schema)
        pq.write_table(table, folder / f"data/{group}-00000-of-00001.parquet")
    (folder / "LICENSES.csv").write_text("photo_id,licence\n")
    return folder


def test_a_class_outside_imagenet_is_none_of_the_thousand(tmp_path):
    release = small_release(tmp_path / "release", {"bear": 296, "okapi": None})
    with pytest.raises(InputError, match="'okapi' has no ImageNet index"):
        export_webdataset(release, tmp_path / "tars", labels="imagenet")
    assert not (tmp_path / "tars").exists()
    export_webdataset(release, tmp_path / "tars")
    names = (tmp_path / "tars/classnames.txt").read_text().splitlines()
    assert names == ["bear", "okapi"]
    assert int((tmp_path / "tars/common/nshards.txt").read_text()) == 2
    with pytest.raises(ConfigError, match="label space 'confusing20'"):
        export_webdataset(release, tmp_path / "more", labels="confusing20")


def test_imagenets_index_is_the_number_in_the_tars(tmp_path):
    release = small_release(tmp_path / "release", {"bear": 296, "dog": 235})
    export_webdataset(release, tmp_path / "tars", labels="imagenet")
    names = (tmp_path / "tars/classnames.txt").read_text().splitlines()
    assert (len(names), names[296]) == (1000, "polar bear")
    held = [tar for tar in members(tmp_path / "tars/counter") for tar in tar.items()]
    assert {v for k, v in held if k.endswith(".cls")} == {b"296", b"235"}


def test_tars_replace_nothing_and_a_full_disk_leaves_nothing(
    release, tmp_path, monkeypatch
):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").write_text("mine")
    with pytest.raises(InputError, match="is not empty"):
        export_webdataset(release, tmp_path / "mine")
    with pytest.raises(InputError, match="no release there"):
        export_webdataset(tmp_path / "mine", tmp_path / "tars")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "addfile", full)
    with pytest.raises(WorkFolderError, match="No space left on device"):
        export_webdataset(release, tmp_path / "tars")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


# URLs -------------------------------------------------------------------------------


def test_the_list_says_where_each_photo_is(forms, release, site):
    told, places = forms
    assert told["without_url"] == 0
    listed = read_urls(places["urls"])
    expected = {
        row["photo_id"]: (group, row)
        for group in GROUPS
        for row in photos(release, group)
    }
    assert [photo.photo_id for photo in listed] == sorted(expected)
    for photo in listed:
        group, row = expected[photo.photo_id]
        facts = photo.facts
        assert photo.url.startswith(f"{site.server.url}/{photo.class_name}/")
        assert (photo.group, photo.background) == (group, row["background"])
        assert photo.class_name == ("bear", "dog")[row["label"]]
        assert facts["imagenet_index"] == str(row["imagenet_index"])
        assert (facts["licence"], facts["author"]) == ("CC-BY-4.0", "Ann, B.")
        assert facts["licence_url"] == "https://creativecommons.org/licenses/by/4.0/"
        assert facts["attribution"] == "© Ann"
        assert facts["source_url"] == row["source_url"]
        path = site.photos / photo.url.removeprefix(f"{site.server.url}/")
        assert int(facts["bytes"]) == path.stat().st_size


def test_the_list_is_the_same_again_and_holds_no_photo(forms, site, tmp_path):
    _, places = forms
    site.json("release", "--quiet", "--urls", str(tmp_path / "again.csv"))
    assert (tmp_path / "again.csv").read_bytes() == places["urls"].read_bytes()
    assert len(places["urls"].read_bytes()) < 50_000


def test_photos_of_a_folder_have_no_url(tiny_clip, tmp_path):
    world = make(tmp_path, tiny_clip)
    world.run("--until", "tasks")
    world.label()
    told = world.json("release", "--quiet", "--urls", str(tmp_path / "urls.csv"))
    listed = read_urls(tmp_path / "urls.csv")
    assert told["without_url"] == len(listed) == told["photos"]
    assert {photo.url for photo in listed} == {""}
    assert str(tmp_path) not in (tmp_path / "urls.csv").read_text()
    words = ["rebuild", str(tmp_path / "urls.csv"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, [*words, "--quiet"])
    assert result.exit_code == 5
    assert f"{len(listed)} of {len(listed)} photos are missing" in result.stderr
    assert "no-url" in result.stdout


# round trips ------------------------------------------------------------------------


def measured(place, out):
    """Results of `counterset evaluate`, and every prediction."""
    command = [sys.executable, "-m", "curation.cli", "evaluate", "-m", "demo:lite0"]
    command += ["-d", str(place), "--out", str(out), "--label-space", "dataset"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads((out / "results.json").read_text())["results"][0]
    (path,) = (out / "predictions").glob("**/*.parquet")
    columns = ["class_name", "background", "group", "predicted"]
    rows = pq.read_table(path, columns=columns).to_pylist()
    return result, sorted(tuple(row.values()) for row in rows)


NUMBERS = (
    "common", "counter", "drop", "micro_common", "micro_counter", "n_common",
    "n_counter", "accuracy",
)  # fmt: skip


@pytest.fixture(scope="module")
def of_the_release(release, tmp_path_factory):
    return measured(release, tmp_path_factory.mktemp("measured"))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["folders", "rebuilt"])
def test_every_form_gives_the_numbers_of_the_release(
    form, forms, release, site, of_the_release, tmp_path
):
    # with its index, since "bear" alone is no class of ImageNet
    _, places = forms
    place = tmp_path / form
    if form == "folders":
        export_folders(release, place, index=True)
    else:
        words = ["rebuild", str(places["urls"]), "--out", str(place), "--index"]
        words += ["--json", "--quiet", "-c", str(site.config)]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.stderr
        assert json.loads(result.stdout)["fetched"] == len(read_urls(places["urls"]))
    expected, every = of_the_release
    result, rows = measured(place, tmp_path / "results")
    assert {name: result[name] for name in NUMBERS} == {
        name: expected[name] for name in NUMBERS
    }
    assert expected["drop"] is not None
    names = {"235 dog": "dog", "296 bear": "bear"}
    assert sorted((names.get(row[0], row[0]), *row[1:]) for row in rows) == every
