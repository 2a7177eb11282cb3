"""croissant.json is read by mlcroissant: valid, and the records are the photos."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from curation.release import card, croissant
from tests.integration.test_release import BACKGROUNDS, CLASSES, World, settings

# in a process of its own: it warns of its own dependencies, and looks for a cache
READ = """
import json, sys
import mlcroissant as mlc

dataset = mlc.Dataset(jsonld=sys.argv[1])
issues = dataset.metadata.ctx.issues
told = {"errors": sorted(issues.errors), "warnings": sorted(issues.warnings)}
for name in ("default", "all", "pairs", "classes", "groups"):
    rows = []
    for record in dataset.records(name):
        row = {}
        for key, value in record.items():
            if isinstance(value, bytes):
                value = value.decode()
            elif isinstance(value, list):
                value = [each.decode() for each in value]
            elif hasattr(value, "convert"):
                value = list(value.convert("RGB").size)
            elif hasattr(value, "item"):
                value = value.item()
            row[key.partition("/")[2]] = value
        rows.append(row)
    told[name] = rows
metadata = dataset.metadata
told["rai"] = [metadata.data_collection, metadata.annotations_per_item]
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("croissant") / "release"
    World().write(folder, text="## Ours\n\nnot in croissant.json")
    return folder


@pytest.fixture(scope="module")
def content(written):
    return json.loads((written / croissant.NAME).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def read(written, tmp_path_factory):
    """What mlcroissant reads, offline, from the release's own folder."""
    home = tmp_path_factory.mktemp("cache")
    done = subprocess.run(
        [sys.executable, "-c", READ, str(written / croissant.NAME)],
        env=os.environ | {"CROISSANT_CACHE": str(home)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.slow
def test_mlcroissant_finds_nothing_wrong(read):
    assert read["errors"] == []
    # no day: a release is the same bytes whenever it is written
    assert all("datePublished" in warning for warning in read["warnings"])
    assert all(read["rai"])


@pytest.mark.slow
def test_records_are_the_photos(read):
    world = World()
    photos = {row["photo_id"]: row for row in read["default"]}
    assert len(read["default"]) == len(photos) == len(world.rows)
    for expected in world.rows:
        row = photos[expected["photo_id"]]
        assert CLASSES[row["label"]] == expected["class"]
        assert ("common", "counter")[row["group"]] == expected["group"]
        assert row["background"] == expected["background"]
        assert row["licence"] == expected["licence"]
        assert row["composed"] == expected["composed"]
        assert row["author"] == expected["author"]
        assert len(row["image"]) == 2
    assert photos.keys() < {row["photo_id"] for row in read["all"]}
    assert [row["label"] for row in read["pairs"]] == [0, 1, 2]
    pair = read["pairs"][0]
    assert (pair["common_background"], pair["counter_background"]) == BACKGROUNDS[:2]
    assert set(pair["common_photos"]) < photos.keys()


@pytest.mark.slow
def test_integers_of_classes_have_names(read):
    names = {row["id"]: row["name"] for row in read["classes"]}
    assert names == dict(enumerate([*CLASSES, "never kept"]))
    assert [row["name"] for row in read["groups"]] == ["common", "counter", "unused"]


def test_every_file_is_listed_with_its_sum(written, content):
    stated = croissant.stated(content)
    there = {
        p.relative_to(written).as_posix() for p in written.rglob("*") if p.is_file()
    }
    assert there - stated.keys() == set(croissant.UNLISTED)
    for name, digest in stated.items():
        assert hashlib.sha256((written / name).read_bytes()).hexdigest() == digest
    sizes = {
        f["contentUrl"]: f["contentSize"]
        for f in content["distribution"]
        if "sha256" in f
    }
    for name, size in sizes.items():
        assert size == f"{(written / name).stat().st_size} B"


def test_it_says_what_it_conforms_to_and_whose_it_is(content):
    assert content["conformsTo"] == [
        "http://mlcommons.org/croissant/1.1",
        "http://mlcommons.org/croissant/RAI/1.0",
    ]
    assert content["license"] == [
        "https://creativecommons.org/publicdomain/zero/1.0/",
        "https://creativecommons.org/licenses/by/4.0/",
    ]
    assert content["creator"][0]["name"] == "The makers of A small dataset"
    assert "datePublished" not in content


def test_responsible_fields_say_what_the_card_says(written, content):
    told = card.sections((written / "README.md").read_text(encoding="utf-8"))
    for field, heading in (
        ("dataCollection", "Data Collection and Processing"),
        ("dataAnnotationProtocol", "Annotation process"),
        ("annotatorDemographics", "Who are the annotators?"),
        ("dataBiases", "Bias, Risks, and Limitations"),
        ("personalSensitiveInformation", "Personal and Sensitive Information"),
    ):
        assert content[f"rai:{field}"] == told[heading]
        assert content[f"rai:{field}"]
    assert content["rai:annotationsPerItem"].startswith("3.0 answers")
    for field in (
        "dataLimitations", "dataUseCases", "dataReleaseMaintenancePlan",
        "machineAnnotationTools",
    ):  # fmt: skip
        assert content[f"rai:{field}"]
    assert "not in croissant.json" not in json.dumps(content)


def test_hostile_names_and_no_description(tmp_path):
    name = 'a | b "c" <img src=x> `d` [e](f)'
    world = World()
    for row in world.rows:
        if row["class"] == CLASSES[0]:
            row["class"] = name
    config = settings(
        dataset={"name": "x", "title": 'T: "x" <i> #1 **b**'},
        classes=[
            {"name": each, "imagenet_index": index}
            for each, index in zip((name, *CLASSES[1:]), (340, 9, 360), strict=True)
        ],
    )
    world.write(tmp_path / "release", config=config)
    text = (tmp_path / "release" / croissant.NAME).read_text(encoding="utf-8")
    content = json.loads(text)
    assert content["description"].startswith("12 photos of 3 classes of animals")
    classes = next(r for r in content["recordSet"] if r["@id"] == "classes")
    assert classes["data"][0]["classes/name"] == name
    assert card.check(tmp_path / "release") == []


def test_the_demo_is_valid_too(demo_work):
    folder = Path(demo_work) / "release"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, mlcroissant as m; d = m.Dataset(jsonld=sys.argv[1]);"
            "print(sorted(d.metadata.ctx.issues.errors))",
            str(folder / croissant.NAME),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr[-3000:]
