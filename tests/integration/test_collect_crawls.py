"""collect, from a stand-in of iNaturalist: quotas, crawls, takedowns, failing hosts."""

import json
import shutil
import textwrap

import polars as pl
import pytest
from typer.testing import CliRunner

from curation.cli import app
from curation.config import load
from curation.pipeline import Route
from curation.shelf import Shelf
from tests.standins.inaturalist import World, serving
from tests.standins.server import Answer, Server

NAMES = {"bear": "Ursus maritimus", "fox": "Vulpes lagopus"}


class Project:
    """A dataset.toml and a work folder."""

    def __init__(self, root):
        self.root, self.work = root, root / "work"
        root.mkdir()

    def write(self, *sources, collect=()):
        classes = "".join(
            f'[[classes]]\nname = "{name}"\nscientific_name = "{taxon}"\n'
            for name, taxon in NAMES.items()
        )
        text = """\
        [dataset]
        name = "collected"
        [http]
        attempts = 2
        [[http.hosts]]
        name = "127.0.0.1"
        private = true
        [[backgrounds]]
        name = "snow"
        prompts = ["snow"]
        [[backgrounds]]
        name = "grass"
        prompts = ["grass"]
        """
        text = textwrap.dedent(text) + classes
        for source in sources:
            lines = (f"{key} = {json.dumps(value)}" for key, value in source.items())
            text += "[[sources]]\n" + "\n".join(lines) + "\n"
        text += "[collect]\n" + "\n".join(collect) + "\n"
        (self.root / "dataset.toml").write_text(text)
        return self

    def invoke(self, *words):
        place = ["-c", str(self.root / "dataset.toml"), "--work", str(self.work)]
        return CliRunner().invoke(app, [*words, *place])

    def collect(self, *words, code=0):
        result = self.invoke("collect", "--json", *words)
        assert result.exit_code == code, (result.stderr, result.exception)
        return json.loads(result.stdout)["stages"][0]

    def table(self):
        """Folder of the table that belongs to dataset.toml as it is."""
        shelf = Shelf(self.work)
        recipe = Route(shelf, load(self.root / "dataset.toml")).recipe("collect")
        return shelf.table_folder("collect", recipe)

    def parts(self):
        return [path.read_bytes() for path in sorted(self.table().glob("*.parquet"))]

    def rows(self):
        return pl.read_parquet(self.table() / "*.parquet")


def inaturalist(server, **more):
    return {"kind": "inaturalist", "api": f"{server.url}/v1", **more}


def asked(server):
    """Requests for observations, and only those."""
    return [
        tuple(sorted(one.query.items()))
        for one in server.asked
        if one.path == "/v1/observations"
    ]


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Project(tmp_path / "mine")


@pytest.fixture(scope="module")
def world():
    return World(list(NAMES.values()), observations=700, seed=3)


@pytest.fixture
def server(world):
    with serving(world) as server:
        yield server


def passed(rows):
    return rows.filter(pl.col("refused").is_null())


def test_an_unchanged_run_asks_nobody(project, server):
    project.write(inaturalist(server), collect=["per_class = 30"])
    first = project.collect()
    assert first["computed"] == first["rows"] > 60
    assert first["failed"] == 0
    counts = passed(project.rows())["class"].value_counts().sort("class")
    assert counts.rows() == [("bear", 30), ("fox", 30)]
    assert (project.root / "taxa.lock.json").exists()
    before = len(server.asked)
    parts = project.parts()
    again = project.collect()
    assert (again["rows"], again["computed"]) == (first["rows"], 0)
    assert len(server.asked) == before
    assert project.parts() == parts


def test_a_raised_quota_goes_on_where_it_was(project, tmp_path, server):
    source = inaturalist(server)
    project.write(source, collect=["per_class = 20"]).collect()
    few = asked(server)
    assert len(few) == len(set(few))
    project.write(source, collect=["per_class = 90"]).collect()
    more = asked(server)
    assert len(more) > len(few)
    assert len(set(more)) == len(more), "a page was asked for twice"
    raised = project.parts()

    project.write(source, collect=["per_class = 20"]).collect()
    assert asked(server) == more, "a lowered quota needs nobody"
    lowered = project.parts()

    for quota, parts in ((90, raised), (20, lowered)):
        fresh = Project(tmp_path / f"fresh{quota}")
        fresh.write(source, collect=[f"per_class = {quota}"]).collect()
        assert fresh.parts() == parts


def test_a_cap_that_is_turned_asks_for_what_is_missing_then(project, server):
    source = inaturalist(server)
    caps = ["per_class = 40", 'order = "newest"']
    project.write(source, collect=[*caps, "per_observer = 0"]).collect()
    few = asked(server)
    project.write(source, collect=[*caps, "per_observer = 1"]).collect()
    rows = passed(project.rows())
    assert rows.group_by("class", "observer").len()["len"].max() == 1
    assert rows.group_by("class").len()["len"].to_list() == [40, 40]
    assert asked(server)[: len(few)] == few
    assert len(set(asked(server))) == len(asked(server))


def test_no_page_more_than_is_wanted(project, server):
    source = inaturalist(server)
    lines = ["per_class = 10", 'order = "oldest"']
    project.write(source, collect=lines).collect()
    assert len(asked(server)) == len(NAMES)


def test_what_it_takes_in_is_what_the_collection_asks_for(project, server):
    lines = ["per_class = 1000", 'licences = ["CC0", "CC-BY"]', "per_observation = 2"]
    project.write(inaturalist(server), collect=lines).collect()
    rows = project.rows()
    good = passed(rows)
    assert set(good["licence"]) <= {"CC0-1.0", "CC-BY"}
    assert good["photo_key"].is_unique().all()
    assert good.group_by("observation_id").len()["len"].max() == 2
    assert rows["latitude"].null_count() == rows.height
    assert "no licence is stated" in set(rows["refused"])
    assert rows["order"].to_list() == list(range(rows.height))


def test_coarse_places_are_coarse(project, server):
    lines = ["per_class = 50", 'coordinates = "coarse"']
    project.write(inaturalist(server), collect=lines).collect()
    places = project.rows()["latitude"].drop_nulls()
    assert len(places) > 20
    assert (places * 10 - (places * 10).round()).abs().max() < 1e-6


def test_a_photo_is_taken_from_the_first_source_that_has_it(project, server):
    sources = [inaturalist(server), inaturalist(server, size="large")]
    lines = ["per_class = 1000", "per_observer = 0", "per_observer_day = 0"]
    project.write(*sources, collect=lines).collect()
    rows = project.rows()
    second = rows.filter(pl.col("place") == 1)
    assert passed(second).is_empty()
    assert set(second["refused"]) >= {"the same photo as an earlier record (photo_key)"}
    assert passed(rows)["photo_key"].is_unique().all()


def test_a_record_taken_down_never_comes_back_by_any_name(project, server):
    lines = ["per_class = 30"]
    project.write(inaturalist(server), collect=lines).collect()
    gone = passed(project.rows()).row(5, named=True)
    with Shelf(project.work).lock() as shelf:
        row = {
            "photo_id": "0" * 64,
            "records": [[gone["source"], gone["key"]]],
            "reason": "asked",
            "at": "2026-01-01T00:00:00+00:00",
        }
        shelf.append("takedowns", [row])
    project.collect()
    assert gone["key"] not in set(project.rows()["key"])
    # the source that has the photo under another record now comes first
    other = inaturalist(server, quality_grade=["research", "needs_id"], size="large")
    project.write(other, inaturalist(server), collect=["per_class = 1000"]).collect()
    rows = project.rows()
    assert rows.height > 500
    assert gone["photo_key"] not in set(rows["photo_key"])


def test_a_host_that_blocks_us_stops_itself_alone(project, world, monkeypatch):
    refusing = True

    def reply(asked):
        if refusing and asked.path.endswith("/observations"):
            return Answer(403, b"blocked", {"Retry-After": "7200"})
        return world.reply(asked)

    with Server(reply) as blocked, serving(world) as open_:
        project.write(
            inaturalist(blocked),
            inaturalist(open_, size="large"),
            collect=["per_class = 20"],
        )
        result = project.invoke("collect", "--json")
        assert result.exit_code == 4, (result.stderr, result.exception)
        told = json.loads(result.stdout)["stages"][0]
        assert told["rows"] == project.rows().height
        rows = passed(project.rows())
        assert rows["place"].unique().to_list() == [1]
        assert rows.height == 40
        assert "127.0.0.1" in result.stderr
        assert "until" in result.stderr
        assert len(asked(blocked)) <= 2, "the second class need not be tried"

        # while one source is left alone, photos of the others can be fetched
        result = project.invoke("fetch", "--json")
        assert result.exit_code == 4
        fetched = json.loads(result.stdout)["stages"][1]
        assert fetched["rows"] + fetched["failed"] == 40

        refusing = False
        monkeypatch.setenv("XDG_STATE_HOME", str(project.root / "later"))
        project.collect()
        rows = passed(project.rows())
        assert rows.group_by("place").len().sort("place").rows() == [(0, 40), (1, 40)]
        first = set(rows.filter(place=0)["photo_key"])
        assert first.isdisjoint(rows.filter(place=1)["photo_key"])
        assert project.collect()["computed"] == 0


def test_a_service_that_fails_is_told_and_left_after_two_classes(project, world):
    def reply(asked):
        if asked.path.endswith("/observations"):
            return Answer(500, b"")
        return world.reply(asked)

    with Server(reply) as broken:
        project.write(inaturalist(broken), collect=["per_class = 5"])
        result = project.invoke("collect", "--json")
        assert result.exit_code == 4
        assert json.loads(result.stdout)["stages"][0]["rows"] == 0
        assert project.rows().is_empty()
        result = project.invoke("run", "--json")
        assert project.invoke("release").exit_code == 4
    assert result.exit_code == 4
    ran = [stage["stage"] for stage in json.loads(result.stdout)["stages"]]
    assert ran == ["collect", "fetch"], "without a photo there is nothing to go on with"


def test_what_a_quota_refused_is_fetched_when_the_quota_allows_it(project, server):
    def fetch():
        result = project.invoke("fetch", "--json", "--quiet")
        assert result.exit_code == 0, (result.stderr, result.exception)
        return json.loads(result.stdout)["stages"][1]

    # of one observation's photos the cap refuses all but the first
    lines = ["per_class = 20", 'order = "oldest"', "per_observer_day = 0"]
    project.write(inaturalist(server), collect=[*lines, "per_observation = 1"])
    first = fetch()
    assert first["rows"] + first["failed"] == 40
    project.write(inaturalist(server), collect=[*lines, "per_observation = 6"])
    fetch()
    fetched = set(
        pl.read_ndjson(project.work / "logs" / "fetches.jsonl").filter(
            pl.col("status") == "ok"
        )["candidate_id"]
    )
    good = passed(project.rows())
    twice = good.filter(pl.col("observation_id").is_duplicated())
    assert twice.height > 4
    assert len(set(twice["candidate_id"]) - fetched) <= first["failed"] + 2


def test_progress_says_class_seen_and_wanted(project, server):
    project.write(inaturalist(server), collect=["per_class = 20"])
    result = project.invoke("collect")
    assert "collect: inaturalist: bear:" in result.stderr
    assert "records seen, 20 of 20 photos wanted" in result.stderr
    assert "collect" not in project.invoke("collect", "--quiet").stderr


def test_the_estimate_asks_nobody_and_takes_off_what_is_there(project, server):
    project.write(
        inaturalist(server),
        collect=["per_class = 64", 'order = "oldest"'],
    )
    dry = project.invoke("collect", "--dry-run", "--json")
    assert dry.exit_code == 0, (dry.stderr, dry.exception)
    before = json.loads(dry.stdout)["estimate"]
    assert not server.asked
    assert not project.work.exists()
    (line,) = before["sources"]
    # two names to look up, and a page more than are full for each class
    assert line["requests"] == 2 + 2 * 2
    assert line["photos"] == 128
    assert line["bytes"] == before["bytes"] > 128 * 10_000

    project.collect()
    count = len(server.asked)
    after = json.loads(project.invoke("run", "--dry-run", "--json").stdout)["estimate"]
    assert len(server.asked) == count
    (line,) = after["sources"]
    assert (line["requests"], line["collected"], line["photos"]) == (0, 128, 128)
    words = project.invoke("run", "--dry-run").stdout
    assert "will ask: inaturalist: 0 requests, 128 photos" in words


def test_hours_follow_the_limits_in_force(project, server):
    project.write(inaturalist(server), collect=["per_class = 2000"])
    text = (project.root / "dataset.toml").read_text()
    limited = text.replace("private = true", "private = true\nper_minute = 1")
    (project.root / "dataset.toml").write_text(limited)
    dry = json.loads(project.invoke("run", "--dry-run", "--json").stdout)["estimate"]
    (asking,) = [one for one in dry["hosts"] if one["host"] == "127.0.0.1"]
    assert asking["hours"] == pytest.approx(asking["requests"] / 60, abs=0.01)


def test_a_deleted_crawl_is_asked_for_again(project, server):
    project.write(inaturalist(server), collect=["per_class = 20"]).collect()
    parts = project.parts()
    shutil.rmtree(next((project.work / "crawls").iterdir()))
    before = len(server.asked)
    project.collect()
    assert len(server.asked) > before
    assert project.parts() == parts


def test_a_torn_crawl_is_told_with_what_to_do(project, server):
    project.write(inaturalist(server), collect=["per_class = 20"]).collect()
    shutil.rmtree(project.work / "tables")
    part = next(project.work.glob("crawls/*/*.parquet"))
    whole = part.read_bytes()
    part.write_bytes(whole[: len(whole) // 2])
    result = project.invoke("collect")
    assert result.exit_code == 3
    assert str(part) in result.stderr
    assert "delete it" in result.stderr
    part.unlink()
    project.collect()
    assert passed(project.rows()).height == 40


def test_check_discards_a_torn_crawl(project, server):
    project.write(inaturalist(server), collect=["per_class = 20"]).collect()
    parts = project.parts()
    part = next(project.work.glob("crawls/*/*.parquet"))
    part.write_bytes(part.read_bytes()[:-40])
    found = CliRunner().invoke(app, ["check", "--json", "--work", str(project.work)])
    assert found.exit_code == 3
    faults = json.loads(found.stdout)["faults"]
    assert [fault["what"] for fault in faults][:1] == ["crawl part unreadable"]
    project.collect()
    assert project.parts() == parts
