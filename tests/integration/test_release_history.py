"""From one release to the next: what changed, which version it asks for, takedowns."""

import csv
import io
import json
import shutil
import subprocess
import sys

import pytest

from curation.release import diff, versions
from evaluation.examples import open_examples
from tests.publishing import Mine, released

UPLOAD = """
import sys
from huggingface_hub import HfApi

api, repo, folder = HfApi(), "ann/small", sys.argv[1]
api.create_repo(repo, repo_type="dataset")
for version, name in (("v1.0.0", "old.csv"), ("v2.0.0", "new.csv")):
    api.upload_file(
        path_or_fileobj=f"{folder}/{name}", path_in_repo="manifest.csv",
        repo_id=repo, repo_type="dataset",
    )
    api.upload_file(
        path_or_fileobj=b"photos", path_in_repo="data/common-00000-of-00001.parquet",
        repo_id=repo, repo_type="dataset",
    )
    api.create_tag(repo, repo_type="dataset", tag=version)
"""


def made(world):
    """The world with its first release."""
    world.run("--until", "tasks")
    world.label()
    return world.run("--until", "release")


def publish(world, version):
    """What publishing leaves in the work folder."""
    place = world.work / "published" / version
    place.mkdir(parents=True)
    shutil.copy(world.work / "release/manifest.csv", place)


def rows(data):
    return list(csv.DictReader(io.StringIO(data.decode())))


@pytest.mark.slow
def test_a_takedown_is_told_by_the_next_version(world):
    made(world)
    first = world.release()
    assert b"First version: 31 photos" in first["CHANGELOG.md"]
    assert first["takedowns.csv"] == b"photo_id,date\n"
    listed = rows(first["manifest.csv"])
    assert [row["photo_id"] for row in listed] == sorted(r["photo_id"] for r in listed)
    publish(world, "1.0.0")
    # publishing changes nothing of the release it published
    assert not world.run("--until", "release")["release"]["computed"]
    assert world.release() == first

    photo = next(row for row in listed if row["group"] == "common")
    told = world.json("forget", photo["photo_id"], "--reason", "asked by its author")
    assert told["published"] == ["1.0.0"]
    world.change('name = "small-world"', 'name = "small-world"\nversion = "2.0.0"')
    world.run("--until", "release")
    second = world.release()
    assert rows(second["takedowns.csv"]) == [
        {"photo_id": photo["photo_id"], "date": world.log("takedowns")[0]["at"][:10]}
    ]
    text = second["CHANGELOG.md"].decode()
    assert "Since 1.0.0: 1 removed" in text
    assert f"| {photo['class']} | common | 0 | 1 | 0 |" in text
    assert text.index("## 2.0.0") < text.index("## 1.0.0")
    assert photo["photo_id"] not in text
    assert world.json("check") == {"ok": True, "faults": []}

    found = diff.compare(
        diff.manifest(str(world.work / "published/1.0.0")),
        diff.manifest(str(world.work / "release")),
    )
    assert (found.removed, found.least) == ((photo["photo_id"],), "major")
    (world.root / "CHANGELOG.md").write_text("## 2.0.0\n\nOne photo was asked back.\n")
    assert world.run("--until", "release")["release"]["computed"]
    text = world.release()["CHANGELOG.md"].decode()
    assert "Since 1.0.0: 1 removed" in text
    assert "One photo was asked back." in text
    assert not world.run("--until", "release")["release"]["computed"]


@pytest.mark.slow
def test_a_damaged_or_missing_file_is_found_by_check(world):
    made(world)
    before = world.release()
    (world.work / "release/manifest.csv").unlink()
    (world.work / "release/CHANGELOG.md").write_text("other")
    with (world.work / "release/takedowns.csv").open("a") as file:
        file.write("more\n")
    faults = world.json("check", code=3)["faults"]
    assert [fault["where"] for fault in faults] == [
        "CHANGELOG.md", "manifest.csv", "takedowns.csv",
    ]  # fmt: skip
    world.run("--until", "release")
    assert world.release() == before


@pytest.mark.slow
def test_a_damaged_published_manifest_is_an_error_with_its_path(world):
    made(world)
    publish(world, "0.9.0")
    (world.work / "published/0.9.0/manifest.csv").write_text("nonsense\n")
    told = world.invoke("run", "--until", "release", "--quiet")
    assert told.exit_code == 3
    assert "published/0.9.0/manifest.csv" in told.stderr


@pytest.mark.slow
def test_photos_in_neither_group_change_no_measure(world):
    """`counterset evaluate -d release` reads the two groups, and nothing else."""
    made(world)
    folder = world.work / "release"
    # photos of another class of backgrounds: as many as common has, called unused
    shard = next((folder / "data").glob("common-*"))
    before = open_examples(str(folder))
    shutil.copy(shard, folder / "data/unused-00000-of-00001.parquet")
    after = open_examples(str(folder))
    assert after.table.equals(before.table)
    assert after.grouped


@pytest.mark.slow
def test_releases_on_the_hub_are_compared_by_their_manifests(hub, tmp_path):
    head = "photo_id,class,background,group,licence\n"
    lines = [f"{n:064x},bear,snow,common,CC0-1.0\n" for n in range(5)]
    (tmp_path / "old.csv").write_text(head + "".join(lines[:4]))
    (tmp_path / "new.csv").write_text(head + "".join(lines[1:]))
    done = subprocess.run(
        [sys.executable, "-c", UPLOAD, str(tmp_path)],
        env=hub.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    hub.requests.clear()

    def told(*words):
        return subprocess.run(
            [sys.executable, "-m", "curation.cli", "diff", *words, "--json"],
            env=hub.environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip

    found = told("hub:ann/small@v1.0.0", "hub:ann/small")
    assert found.returncode == 0, found.stderr
    result = json.loads(found.stdout)
    assert result["added"] == [f"{4:064x}"]
    assert result["removed"] == [f"{0:064x}"]
    assert hub.asked("manifest.csv")
    assert not hub.asked("parquet")
    expected = diff.compare(
        diff.manifest(str(tmp_path / "old.csv")),
        diff.manifest(str(tmp_path / "new.csv")),
    )
    assert versions.least(expected, "1.0.0") == "2.0.0"
    for where, word in (
        ("hub:ann/none", "ann/none"),
        ("hub:ann/small@v9.9.9", "v9.9.9"),
    ):
        failed = told(where, str(tmp_path / "old.csv"))
        assert failed.returncode == 4, failed.stderr
        assert word in failed.stderr
        assert "Traceback" not in failed.stderr


@pytest.mark.slow
def test_a_version_published_from_elsewhere_is_told_of(
    hub, shared_tmp, tiny_clip, tmp_path
):
    first = Mine.copy(released(shared_tmp, tiny_clip), tmp_path / "one")
    second = Mine.copy(released(shared_tmp, tiny_clip), tmp_path / "two")
    done = first.publish(hub, "org/small", "--yes")
    assert done.returncode == 0, done.stderr
    second.version("1.0.1")
    looked = second.publish(hub, "org/small", "--dry-run")
    assert looked.returncode == 3
    assert "since v1.0.0" in looked.stdout
    assert not (second.work / "published").exists()
    refused = second.publish(hub, "org/small", "--yes")
    assert refused.returncode == 3
    assert "since v1.0.0, published from another work folder" in refused.stderr
    second.invoke("run", "--until", "release", "-c", str(second.config))
    done = second.publish(hub, "org/small", "--yes")
    assert done.returncode == 0, done.stderr
    text = hub.files("org/small", "v1.0.1")["CHANGELOG.md"].decode()
    assert "Since 1.0.0: no photo changed." in text
    assert text.index("## 1.0.1") < text.index("## 1.0.0")

    second.version("1.0.2")
    kept = second.work / "published/1.0.1/manifest.csv"
    kept.write_text("\n".join(kept.read_text().splitlines()[:-1]) + "\n")
    refused = second.publish(hub, "org/small", "--yes")
    assert refused.returncode == 3
    assert "CHANGELOG.md is older" in refused.stderr
