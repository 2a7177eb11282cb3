"""A list of URLs becomes the photos again: verified, resumed, and what is missing."""

import csv
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from curation.cli import app
from curation.rebuild import STATES
from curation.release.urls import COLUMNS
from tests.standins import pictures
from tests.standins.server import Answer, Server

CONFIG = """\
[dataset]
name = "rebuilt"
[[classes]]
name = "bear"
[[backgrounds]]
name = "snow"
prompts = ["snow"]
[[backgrounds]]
name = "grass"
prompts = ["grass"]
[[sources]]
kind = "folder"
path = "."
[http]
attempts = 2
connections = 4
[[http.hosts]]
name = "127.0.0.1"
private = true
[run]
max_failed = {most}
"""


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Site:
    """A host of photos, a list of them, and the command that rebuilds it."""

    def __init__(self, folder, server, answers):
        self.folder, self.server, self.answers = folder, server, answers
        self.listing, self.out = folder / "urls.csv", folder / "out"
        self.configure()

    def configure(self, most="0.5"):
        (self.folder / "dataset.toml").write_text(CONFIG.format(most=most))

    def row(self, path, **changes):
        stated = {
            "photo_id": sha256(pictures.jpeg(path)),
            "url": f"{self.server.url}{path}",
            "class": "bear",
            "imagenet_index": "296",
            "background": "snow",
            "group": "common",
            "licence": "CC-BY-4.0",
            "licence_url": "https://creativecommons.org/licenses/by/4.0/",
            "author": "Ann, who has a comma",
            "source_url": "https://example.org/1",
            "attribution": "(c) Ann",
        }
        return stated | changes

    def list(self, rows):
        with self.listing.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)

    @property
    def words(self):
        config = str(self.folder / "dataset.toml")
        words = ["rebuild", str(self.listing), "--out", str(self.out), "-c", config]
        return [*words, "--quiet", "--json"]

    def rebuild(self, code=0):
        result = CliRunner().invoke(app, self.words)
        assert result.exit_code == code, (result.stderr, result.exception)
        return json.loads(result.stdout) if result.stdout else {}, result.stderr

    def photos(self):
        return {
            path.relative_to(self.out).as_posix(): path.read_bytes()
            for path in self.out.glob("*/*/*")
        }

    def table(self, name):
        with (self.out / name).open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def asked(self):
        return Counter(a.path for a in self.server.asked if a.path != "/robots.txt")


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    answers = {"/robots.txt": Answer(404)}

    def reply(asked):
        said = answers.get(asked.path, Answer(body=pictures.jpeg(asked.path)))
        return said(asked) if callable(said) else said

    with Server(reply) as server:
        yield Site(tmp_path, server, answers)


def test_photos_lie_where_the_paper_has_them(site):
    site.list(
        [
            site.row("/1.jpg"),
            site.row("/2.jpg", background="grass", group="counter"),
            site.row("/3.jpg", **{"class": "../../zebra, striped"}),
        ]
    )
    result, _ = site.rebuild()
    assert result == {
        "out": str(site.out), "photos": 3, "kept": 0, "fetched": 3, "missing": 0,
        "states": {}, "unlisted": 0,
    }  # fmt: skip
    names = [sha256(pictures.jpeg(f"/{n}.jpg"))[:16] for n in (1, 2, 3)]
    assert site.photos() == {
        f"bear/common-snow/{names[0]}.jpg": pictures.jpeg("/1.jpg"),
        f"bear/counter-grass/{names[1]}.jpg": pictures.jpeg("/2.jpg"),
        f"_.._zebra, striped/common-snow/{names[2]}.jpg": pictures.jpeg("/3.jpg"),
    }
    credit = site.table("ATTRIBUTION.csv")
    assert {row["file"] for row in credit} == set(site.photos())
    assert credit[0]["author"] == "Ann, who has a comma"
    assert credit[0]["licence"] == "CC-BY-4.0"
    assert credit[0]["licence_url"].startswith("https://creativecommons.org/")
    assert site.table("missing.csv") == []


def test_the_files_suffix_is_what_its_bytes_are(site):
    file = io.BytesIO()
    Image.open(io.BytesIO(pictures.jpeg("gif"))).convert("P").save(file, "GIF")
    data = file.getvalue()
    site.answers["/a.jpg"] = Answer(body=data)
    site.list([site.row("/a.jpg", photo_id=sha256(data))])
    site.rebuild()
    assert list(site.photos().values()) == [data]
    assert next(iter(site.photos())).endswith(".gif")


def test_what_is_missing_is_told_with_its_reason(site):
    site.answers |= {
        "/gone.jpg": Answer(404),
        "/other.jpg": Answer(body=pictures.jpeg("another")),
        "/page.jpg": Answer(body=b"<!DOCTYPE html><html>not here</html>"),
        "/robots.txt": Answer(body=b"User-agent: *\nDisallow: /private\n"),
    }
    rows = [site.row(f"/{n}.jpg") for n in range(9)]
    rows += [site.row(f"/{n}.jpg") for n in ("gone", "other", "page", "private")]
    rows.append(site.row("/none.jpg", url=""))
    rows.append(site.row("/inside.jpg", url="http://10.0.0.7/1.jpg"))
    rows.append(site.row("/file.jpg", url="file:///etc/passwd"))
    site.list(rows)
    site.configure(most="0.45")
    result, _ = site.rebuild()
    assert result["fetched"] == len(site.photos()) == 9
    assert result["missing"] == 7
    assert result["states"] == {"gone": 1, "changed": 1, "refused": 4, "no-url": 1}
    missing = {row["photo_id"]: row for row in site.table("missing.csv")}

    def why(name):
        return missing[sha256(pictures.jpeg(f"/{name}.jpg"))]

    assert why("gone")["state"] == "gone"
    assert "HTTP 404" in why("gone")["reason"]
    assert why("other")["state"] == "changed"
    assert sha256(pictures.jpeg("another")) in why("other")["reason"]
    assert "a web page" in why("page")["reason"]
    assert "robots.txt" in why("private")["reason"]
    assert why("none")["state"] == "no-url"
    assert "10.0.0.7" in why("inside")["reason"] or "private" in why("inside")["reason"]
    assert "only http and https" in why("file")["reason"]
    assert why("gone")["class"] == "bear"
    assert len(site.table("ATTRIBUTION.csv")) == 9
    assert site.asked()["/private.jpg"] == 0
    site.configure(most="0.43")
    _, told = site.rebuild(code=5)
    assert "7 of 16 photos are missing, more than run.max_failed = 0.43" in told


def test_every_state_is_in_the_docs():
    page = Path(__file__).parents[2] / "docs/datasets.md"
    said = page.read_text(encoding="utf-8")
    assert [state for state in STATES if f"| `{state}` |" not in said] == []


def test_what_is_there_is_kept_and_what_is_wrong_is_fetched_anew(site):
    rows = [site.row(f"/{n}.jpg") for n in range(6)]
    site.list(rows)
    site.rebuild()
    before = site.photos()
    paths = sorted(site.out / name for name in before)
    paths[0].write_bytes(b"")  # half written by something else
    paths[1].unlink()
    paths[2].write_bytes(pictures.jpeg("not it"))
    strange = paths[0].with_name("mine.jpg")
    strange.write_bytes(b"mine")
    asked = site.asked()
    result, _ = site.rebuild()
    assert (result["kept"], result["fetched"], result["unlisted"]) == (3, 3, 1)
    assert strange.read_bytes() == b"mine"
    strange.unlink()
    assert site.photos() == before
    assert sum((site.asked() - asked).values()) == 3
    # a photo that was taken off the list is told, not deleted
    site.list(rows[1:])
    result, _ = site.rebuild()
    assert (result["photos"], result["kept"], result["unlisted"]) == (5, 5, 1)


def test_a_host_that_has_enough_is_waited_for(site):
    seen = Counter()

    def busy(asked):
        seen[asked.path] += 1
        if seen[asked.path] == 1:
            return Answer(429, headers={"Retry-After": "0"})
        return Answer(body=pictures.jpeg(asked.path))

    site.answers["/busy.jpg"] = busy
    site.list([site.row("/busy.jpg"), site.row("/calm.jpg")])
    result, _ = site.rebuild()
    assert result["fetched"] == 2
    assert seen["/busy.jpg"] == 2


def test_a_host_that_shuts_us_out_is_left_for_another_run(site):
    shut = Answer(429, headers={"Retry-After": "7200"})
    site.answers["/2.jpg"] = shut
    rows = [site.row(f"/{n}.jpg") for n in range(40)]
    rows[2] = site.row("/2.jpg")
    site.list([rows[2], *rows[:2], *rows[3:]])
    site.configure(most="1.0")
    result, told = site.rebuild(code=4)
    assert result["missing"] == result["states"]["later"] > 20
    assert result["fetched"] == 40 - result["missing"]
    assert "run again to go on" in told
    states = {row["state"] for row in site.table("missing.csv")}
    assert states == {"later"}


def test_an_outage_that_may_pass_is_for_later(site):
    site.answers["/1.jpg"] = Answer(503)
    site.list([site.row("/1.jpg"), site.row("/2.jpg"), site.row("/3.jpg")])
    result, _ = site.rebuild()
    assert result["states"] == {"later": 1}
    del site.answers["/1.jpg"]
    result, _ = site.rebuild()
    assert (result["kept"], result["fetched"], result["missing"]) == (2, 1, 0)
    assert site.table("missing.csv") == []


def test_photos_whose_ids_start_alike_have_whole_names(site, monkeypatch):
    one, two = pictures.jpeg("/1.jpg"), pictures.jpeg("/2.jpg")
    site.list([site.row("/1.jpg"), site.row("/2.jpg")])
    ids = {one: "ab" * 8 + "0" * 48, two: "ab" * 8 + "1" * 48}
    text = site.listing.read_text()
    for data, alike in ids.items():
        text = text.replace(sha256(data), alike)
    site.listing.write_text(text)

    class Known:
        def __init__(self, data):
            self.hexdigest = lambda: ids[data]

    monkeypatch.setattr("curation.rebuild.hashlib.sha256", Known)
    site.rebuild()
    names = {Path(name).stem for name in site.photos()}
    assert names == set(ids.values())


def bad(site, text):
    site.listing.write_bytes(text if isinstance(text, bytes) else text.encode())
    _, told = site.rebuild(code=3)
    assert not site.out.exists()
    return told


HEADER = "photo_id,url,class,background,group\n"
ROW = f"{'a' * 64},http://example.org/1.jpg,bear,snow,common\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: column photo_id and url and class and background and group"),
        ("photo_id,url\n", "line 1: column class and background and group is missing"),
        (HEADER, "no photo is listed"),
        (HEADER + ROW.replace("a" * 64, "A" * 64), "line 2: photo_id is not 64"),
        (HEADER + ROW + ROW, "line 3: photo_id is that of line 2"),
        (HEADER + ROW.replace("common", "unused"), "line 2: group 'unused'"),
        (HEADER + ROW.replace("bear", " "), "line 2: class is empty"),
        (HEADER + "\n" + ROW.replace(",snow", ""), "line 3: 4 fields, the header"),
        (HEADER.replace("url", "class"), "line 1: column url is missing"),
        (HEADER + ROW.replace("bear", '"bear'), "not CSV"),
        (b"\xff\xfe" + HEADER.encode(), "not UTF-8"),
        (HEADER + "x\n" * 9, "line 6: 1 fields, the header has 5; and 4 more"),
    ],
)  # fmt: skip
def test_a_list_that_is_none_says_which_line(site, text, said):
    assert said in bad(site, text)


def test_no_list_and_no_folder(site):
    _, told = site.rebuild(code=3)
    assert "urls.csv cannot be read" in told
    site.list([site.row("/1.jpg")])
    site.out.write_text("a file")
    _, told = site.rebuild(code=3)
    assert "is no folder" in told


def test_two_at_once_are_refused(site):
    import fcntl

    site.list([site.row("/1.jpg")])
    site.rebuild()
    with (site.out / ".rebuild.lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        _, told = site.rebuild(code=3)
    assert "being written by another run" in told


def test_a_full_disk_ends_it_and_leaves_no_half_photo(site, monkeypatch):
    site.list([site.row(f"/{n}.jpg") for n in range(8)])

    def full(handle):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("curation.rebuild.os.fsync", full)
        _, told = site.rebuild(code=3)
    assert "cannot be written (No space left on device)" in told
    result, _ = site.rebuild()
    assert result["photos"] == len(site.photos()) == 8


@pytest.mark.slow
def test_killed_it_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    count = 60

    def reply(asked):
        if asked.path == "/robots.txt":
            return Answer(404)
        return Answer(body=pictures.jpeg(asked.path))

    with Server(reply, latency=0.15) as server:
        site = Site(tmp_path, server, {})
        site.list([site.row(f"/{n}.jpg") for n in range(count)])
        command = [sys.executable, "-m", "curation.cli", *site.words]
        kills, kept = 0, 0
        for _ in range(3):
            process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            deadline = time.monotonic() + 60
            while process.poll() is None and time.monotonic() < deadline:
                if len([*site.out.glob("*/*/[!.]*")]) >= min(kept + 12, count - 8):
                    os.kill(process.pid, signal.SIGKILL)
                    kills += 1
                    break
                time.sleep(0.02)
            process.wait()
            now = site.photos()
            whole = [n for n in now if not Path(n).name.startswith(".")]
            assert len(whole) >= kept  # what was there stays
            assert all(sha256(now[n]).startswith(Path(n).stem) for n in whole)
            kept = len(whole)
        assert kills == 3
        result, _ = site.rebuild()
    assert result["kept"] == kept
    assert result["fetched"] == count - kept
    assert set(site.photos().values()) == {
        pictures.jpeg(f"/{n}.jpg") for n in range(count)
    }
    asked = site.asked()
    assert sum(asked.values()) - count <= kills * 4  # what was under way at a kill
