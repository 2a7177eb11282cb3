"""iNaturalist's open data from tables to photos, through the command line."""

import json
import re
from collections import Counter

import polars as pl
import pytest
from typer.testing import CliRunner

from curation.cli import app
from tests.standins import open_data
from tests.standins.server import Server

CONFIG = """
[dataset]
name = "open-data"

[[classes]]
name = "bear"
scientific_name = "Ursidae"

[[classes]]
name = "goose"
scientific_name = "Anser"

[[backgrounds]]
name = "snow"
prompts = ["a photo on snow"]

[[backgrounds]]
name = "grass"
prompts = ["a photo on grass"]

[[sources]]
kind = "inaturalist_open_data"
{where}
photo_url = "{url}/photos"

[collect]
per_class = 12
per_observer = 4

[[http.hosts]]
name = "127.0.0.1"
private = true
"""
TAXA = {"bear": ("Ursidae", open_data.BEARS), "goose": ("Anser", open_data.GOOSE)}


class Made:
    def __init__(self, folder, bucket, server):
        self.folder, self.bucket, self.server = folder, bucket, server
        self.config = folder / "dataset.toml"

    def json(self, *words, code=0):
        place = ["-c", str(self.config), "--work", str(self.folder / "work")]
        result = CliRunner().invoke(app, [*words, *place, "--json"])
        assert result.exit_code == code, (result.stderr, result.exception)
        return json.loads(result.stdout)

    def collected(self):
        parts = (self.folder / "work" / "tables" / "collect").rglob("*.parquet")
        newest = max(parts, key=lambda path: path.stat().st_mtime_ns)
        return pl.read_parquet(newest.parent / "*.parquet")

    def asked(self, start=0):
        return [asked.path for asked in self.server.asked[start:]]


@pytest.fixture(params=["folder", "network"])
def made(request, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    tables = open_data.rows(900)
    bucket = open_data.Bucket(tables)
    with Server(bucket) as server:
        where = f'url = "{server.url}"'
        if request.param == "folder":
            open_data.write(tmp_path / "dumps", tables)
            where = 'dumps = "dumps"'
        config = CONFIG.format(where=where, url=server.url)
        (tmp_path / "dataset.toml").write_text(config)
        pins = {
            name: {"scientific_name": said, "inaturalist": {"id": id_, "name": said}}
            for name, (said, id_) in TAXA.items()
        }
        (tmp_path / "taxa.lock.json").write_text(json.dumps(pins))
        yield Made(tmp_path, bucket, server)


def test_from_tables_to_photos(made):
    made.json("run", "--until", "fetch", "--quiet")
    rows = made.collected()
    passed = rows.filter(pl.col("refused").is_null())
    assert Counter(passed["class"]) == {"bear": 12, "goose": 12}
    assert passed["observation_id"].n_unique() == passed["photo_key"].n_unique() == 24
    assert (
        max(Counter(zip(passed["class"], passed["observer"], strict=True)).values())
        <= 4
    )
    assert set(passed["licence"]) <= {
        "CC0-1.0", "Public Domain", "CC-BY", "CC-BY-SA", "CC-BY-NC"
    }  # fmt: skip
    assert passed["attribution"].null_count() == passed["latitude"].count() == 0
    fetched = [path for path in made.asked() if path.startswith("/photos/")]
    urls = passed["url"].str.strip_prefix(made.server.url)
    assert sorted(fetched) == sorted(urls)

    before = len(made.server.asked)
    made.json("run", "--until", "fetch", "--quiet")
    assert made.asked(before) == []

    # a larger quota: another join, what was there stays, the rest is added
    text = made.config.read_text()
    made.config.write_text(re.sub("per_class = 12", "per_class = 20", text))
    made.json("run", "--until", "fetch", "--quiet")
    more = made.collected().filter(pl.col("refused").is_null())
    assert Counter(more["class"]) == {"bear": 20, "goose": 20}
    assert set(passed["candidate_id"]) < set(more["candidate_id"])
    fetched = [path for path in made.asked() if path.startswith("/photos/")]
    assert len(fetched) == len(set(fetched)) == more["url"].n_unique()


def test_licences_and_takedowns_of_newer_tables(made):
    made.json("run", "--until", "fetch", "--quiet")
    passed = made.collected().filter(pl.col("refused").is_null())
    flipped, gone = passed["key"].unique().sort().head(2)
    made.bucket.flip(flipped, "CC-BY-NC-ND")
    made.bucket.vanish(gone)
    open_data.write(made.folder / "dumps", made.bucket.tables)
    found = made.json("recheck")
    changes = {change["key"]: change["what"] for change in found["changes"]}
    assert changes == {flipped: "licence", gone: "gone"}
    assert found["unanswered"] == found["left"] == 0
