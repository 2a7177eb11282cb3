"""A source in a package of its own: the one that CONTRIBUTING.md shows."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from zlib import crc32

import polars as pl
import pytest

from tests.standins.open_data import picture
from tests.standins.server import Answer, Server

ROOT = Path(__file__).parents[2]
CONFIG = """
[dataset]
name = "museum"

[[classes]]
name = "bear"
label = "ice bear"

[[classes]]
name = "goose"

[[backgrounds]]
name = "snow"
prompts = ["a photo on snow"]

[[backgrounds]]
name = "grass"
prompts = ["a photo on grass"]

[[sources]]
kind = "museum"
api = "{api}"
{more}

[[http.hosts]]
name = "127.0.0.1"
private = true
"""


def section():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return re.search(r"^## Add a source\n(.*?)^## ", text, re.S | re.M)[1]


def block(language):
    return re.search(rf"^```{language}\n(.*?)^```", section(), re.S | re.M)[1]


@pytest.fixture
def installed(tmp_path):
    """The package of CONTRIBUTING.md, as an installer leaves it."""
    site = tmp_path / "site"
    facts = site / "counterset_museum-1.0.dist-info"
    facts.mkdir(parents=True)
    group, points = re.fullmatch(
        r'\[project\.entry-points\."([\w.]+)"\]\n(.*)', block("text"), re.S
    ).groups()
    points = points.replace('"', "")
    (facts / "entry_points.txt").write_text(f"[{group}]\n{points}")
    (facts / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: counterset-museum\nVersion: 1.0\n"
    )
    (site / "counterset_museum.py").write_text(block("python"))
    return site


@pytest.fixture
def museum():
    """Two pages of photos for each query."""

    def photo(id_):
        rights = "All rights reserved" if id_.endswith("3") else "CC BY 4.0"
        return {"id": id_, "url": f"{server.url}/files/{id_}", "rights": rights}

    def reply(asked):
        if asked.path.startswith("/files/"):
            return Answer(body=picture(crc32(asked.path.encode())))
        if asked.path != "/api/photos":
            id_ = asked.path.rpartition("/")[2]
            return Answer(body=json.dumps(photo(id_)).encode())
        page = int(asked.query["page"])
        word = asked.query["q"].replace(" ", "-")
        photos = [photo(f"{word}-{one}") for one in range(2 * page, 2 * page + 2)]
        answer = {"photos": photos, "next": 2 if page == 1 else None}
        return Answer(body=json.dumps(answer).encode())

    with Server(reply) as server:
        yield server


def counterset(folder, site, *words, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "curation.cli", *words, "--json"],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": f"{site}{os.pathsep}{ROOT}",
            "XDG_STATE_HOME": str(folder / "state"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if code == 0 else done.stderr


def write(folder, museum, more=""):
    text = CONFIG.format(api=f"{museum.url}/api", more=more)
    (folder / "dataset.toml").write_text(text)


def test_the_example_is_short():
    assert len(section().splitlines()) <= 40
    assert len(block("python").splitlines()) <= 30


def test_its_photos_become_candidates(tmp_path, installed, museum):
    write(tmp_path, museum)
    told = counterset(tmp_path, installed, "run", "--until", "collect")
    assert [(one["stage"], one["rows"]) for one in told["stages"]] == [("collect", 8)]
    (part,) = (tmp_path / "work" / "tables" / "collect").rglob("*.parquet")
    rows = pl.read_parquet(part).sort("key")
    assert rows["key"].to_list() == [
        f"{word}-{one}" for word in ("goose", "ice-bear") for one in (2, 3, 4, 5)
    ]
    assert set(rows["class"]) == {"bear", "goose"}
    assert set(rows["source"]) == {"museum"}
    passed = rows.filter(pl.col("refused").is_null())
    assert passed["licence"].to_list() == ["CC-BY-4.0"] * 6
    asked = len(museum.asked)
    counterset(tmp_path, installed, "run", "--until", "collect")
    assert len(museum.asked) == asked, "what it answered is kept"


def test_it_is_estimated_fetched_and_asked_again(tmp_path, installed, museum):
    write(tmp_path, museum)
    counterset(tmp_path, installed, "run", "--until", "collect", "--dry-run")
    assert museum.asked == []
    counterset(tmp_path, installed, "run", "--until", "fetch")
    assert sum(asked.path.startswith("/files/") for asked in museum.asked) == 6
    before = len(museum.asked)
    counterset(tmp_path, installed, "recheck", "-c", "dataset.toml")
    again = [asked.path for asked in museum.asked[before:]]
    assert sorted(again) == sorted(
        f"/api/photos/{word}-{one}"
        for word in ("goose", "ice-bear")
        for one in (2, 4, 5)
    )


def test_its_section_is_checked(tmp_path, installed, museum):
    write(tmp_path, museum, 'apy = "x"')
    said = counterset(tmp_path, installed, "run", code=2)
    assert "sources[0].apy: unknown key" in said
    assert "api" in said


def test_kinds_that_are_not_there_are_told_with_those_that_are(
    tmp_path, installed, museum
):
    write(tmp_path, museum)
    path = tmp_path / "dataset.toml"
    path.write_text(path.read_text().replace('kind = "museum"', 'kind = "musuem"'))
    said = counterset(tmp_path, installed, "run", code=2)
    assert "sources[0].kind: no such kind of source: 'musuem'" in said
    assert "did you mean museum?" in said
    assert "inaturalist_open_data, museum, openverse" in said
    write(tmp_path, museum)
    without = counterset(tmp_path, tmp_path / "nothing", "run", code=2)
    assert "no such kind of source: 'museum'" in without
