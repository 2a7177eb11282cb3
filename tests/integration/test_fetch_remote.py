"""Photos over HTTP: many at once, and every kind of fault a row or a clear end."""

import io
import json
import shutil
import struct
import threading
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from curation.cli import app
from tests.standins import listing, pictures
from tests.standins.server import Answer, Server

CONFIG = """\
[dataset]
name = "far-world"
[[classes]]
name = "bear"
[[classes]]
name = "dog"
[[backgrounds]]
name = "snow"
prompts = ["snow"]
[[backgrounds]]
name = "grass"
prompts = ["grass"]
[[sources]]
kind = "listing"
path = "records.json"
[collect]
per_class = 100000
[http]
attempts = {attempts}
timeout = {timeout}
connections = {connections}
[[http.hosts]]
name = "127.0.0.1"
private = true
[[http.hosts]]
name = "localhost"
private = true
[fetch]
max_bytes = 200_000
[run]
jobs = 1
max_failed = 1.0
"""


@dataclass
class Far:
    """Records in a file, a dataset.toml that names it, and a work folder."""

    root: Path
    work: Path

    def records(self, *records) -> None:
        listing.write(self.root / "records.json", records)

    def configure(self, *, attempts=1, timeout=5.0, connections=16) -> None:
        text = CONFIG.format(
            attempts=attempts, timeout=timeout, connections=connections
        )
        (self.root / "dataset.toml").write_text(text)

    def run(self, until="fetch", *, code=0) -> tuple[dict, str]:
        """What each stage did, and what was said on stderr."""
        words = ["run", "--until", until, "--json", "--quiet"]
        result = self.invoke(*words)
        assert result.exit_code == code, (result.stderr, result.exception)
        stages = json.loads(result.stdout)["stages"]
        return {stage["stage"]: stage for stage in stages}, result.stderr

    def invoke(self, *words):
        place = ["--work", str(self.work), "-c", str(self.root / "dataset.toml")]
        return CliRunner().invoke(app, [*words, *place])

    def log(self) -> list[dict]:
        lines = (self.work / "logs/fetches.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def photos(self) -> list[Path]:
        return sorted(self.work.glob("blobs/??/*"))


@pytest.fixture
def far(tmp_path, monkeypatch) -> Far:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.syspath_prepend(str(listing.installed(tmp_path / "outside")))
    made = Far(tmp_path / "mine", tmp_path / "work")
    made.root.mkdir()
    made.configure()
    return made


def record(server, path, **more) -> dict:
    return {"class": "bear", "url": server.url + path} | more


def picture(asked) -> Answer:
    """A small photo for each path."""
    return Answer(body=pictures.jpeg(asked.path))


def test_many_photos_at_once(far):
    busy = most = 0
    lock = threading.Lock()

    def reply(asked):
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.02)
        with lock:
            busy -= 1
        return picture(asked)

    with Server(reply) as server:
        far.records(*(record(server, f"/{n}.jpg") for n in range(120)))
        stages, _ = far.run()
        asked = [one.path for one in server.asked]
        assert sorted(asked) == sorted({f"/{n}.jpg" for n in range(120)})
        again, _ = far.run()
        assert len(server.asked) == 120
    assert most > 4
    assert stages["fetch"]["rows"] == stages["fetch"]["computed"] == 120
    assert stages["fetch"]["failed"] == 0
    assert again["fetch"]["computed"] == 0
    assert {path.read_bytes() for path in far.photos()} == {
        pictures.jpeg(path) for path in asked
    }
    rows = far.log()
    assert {row["status"] for row in rows} == {"ok"}
    # for ever, whatever the source says later
    assert {row["licence"] for row in rows} == {"CC-BY-4.0"}
    assert {row["licence_text"] for row in rows} == {listing.LICENCE}


def huge_png(side: int) -> bytes:
    """A PNG that says it is large, and has no pixels to speak of."""

    def chunk(name, body):
        check = zlib.crc32(name + body)
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )


def drip():
    """A byte now and then, for longer than anyone waits."""
    yield pictures.jpeg("drip")[:20]
    for _ in range(200):
        time.sleep(0.1)
        yield b"\0"


FAULTS = {
    "/gone.jpg": (Answer(404), "404", False),
    "/taken-down.jpg": (Answer(410), "410", False),
    "/forbidden.jpg": (Answer(403), "403", False),
    "/broken.jpg": (Answer(500), "500", True),
    "/text.jpg": (Answer(body=b"I am not a picture, said the file"), "not a", False),
    "/page.jpg": (Answer(body=b"<!doctype html><p>Log in"), "a web page", False),
    "/empty.jpg": (Answer(body=b""), "empty", True),
    "/huge.png": (Answer(body=huge_png(50_000)), "too many pixels", False),
    "/large.jpg": (Answer(body=pictures.jpeg("x") + bytes(300_000)), "300", False),
    "/endless.jpg": (
        Answer(body=iter([pictures.jpeg("x"), *[bytes(50_000)] * 9]), length=-1),
        "200000",
        False,
    ),
    "/short.jpg": (
        Answer(body=pictures.jpeg("s")[:500], length=900),
        "broke off",
        True,
    ),
    "/file": (Answer(302, headers={"Location": "file:///etc/passwd"}), "file", False),
    "/metadata": (
        Answer(302, headers={"Location": "http://169.254.169.254/latest/"}),
        "169.254.169.254",
        False,
    ),
    "/inside": (
        Answer(302, headers={"Location": "http://10.0.0.1/"}),
        "10.0.0.1",
        False,
    ),
    "/loop": (Answer(302, headers={"Location": "/loop"}), "redirects", False),
}


def test_each_fault_is_a_row_with_its_reason_and_attempts(far):
    def reply(asked):
        return FAULTS[asked.path][0] if asked.path in FAULTS else picture(asked)

    with Server(reply) as server:
        far.records(
            *(record(server, path) for path in FAULTS),
            *(record(server, f"/{n}.jpg") for n in range(10)),
        )
        stages, _ = far.run()
        first = len(server.asked)
        assert stages["fetch"]["rows"] == 10
        assert stages["fetch"]["failed"] == len(FAULTS)
        rows = {
            row["photo_key"].removeprefix(f"url:{server.url}"): row for row in far.log()
        }
        for path, (_, reason, again) in FAULTS.items():
            row = rows[path]
            assert row["status"] == "failed", path
            assert reason in row["error"], (path, row["error"])
            assert row["attempts"] >= 1, path
            assert bool(row.get("again")) == again, (path, row["error"])
        # what may pass is tried again, and nothing else
        stages, _ = far.run()
        asked = {one.path for one in server.asked[first:]}
    assert asked == {path for path, fault in FAULTS.items() if fault[2]}
    assert stages["fetch"]["computed"] == len(asked)


def test_a_longer_body_than_stated_and_a_slow_one(far):
    whole = pictures.jpeg("whole")
    long = Answer(body=whole + b"more than was stated", length=len(whole))

    def reply(asked):
        if asked.path == "/drip.jpg":
            return Answer(body=drip(), length=100_000)
        return long if asked.path == "/long.jpg" else picture(asked)

    # what came too much may spoil the connection for the next: one more attempt
    far.configure(attempts=3, timeout=2.0)
    with Server(reply) as server:
        far.records(
            record(server, "/drip.jpg"),
            record(server, "/long.jpg"),
            *(record(server, f"/{n}.jpg") for n in range(10)),
        )
        far.run()
    rows = {row["photo_key"].rsplit("/", 1)[1]: row for row in far.log()}
    assert "too slow" in rows.pop("drip.jpg")["error"]
    assert {row["status"] for row in rows.values()} == {"ok"}
    # what comes after the stated length is no part of the photo
    assert whole in {path.read_bytes() for path in far.photos()}


def test_a_passing_failure_is_gone_in_the_next_run(far):
    down = {"/1.jpg", "/2.jpg"}
    with Server(
        lambda asked: Answer(502) if asked.path in down else picture(asked)
    ) as server:
        far.records(*(record(server, f"/{n}.jpg") for n in range(5)))
        assert far.run()[0]["fetch"]["rows"] == 3
        down.clear()
        stages, _ = far.run()
        assert stages["fetch"]["rows"] == 5
        assert stages["fetch"]["failed"] == 0
        assert stages["fetch"]["computed"] == 2
        assert far.run()[0]["fetch"]["computed"] == 0


def test_attempts_are_counted(far):
    far.configure(attempts=2)
    with Server(lambda asked: Answer(500)) as server:
        far.records(record(server, "/1.jpg"))
        far.run()
        assert len(server.asked) == 2
    assert [row["attempts"] for row in far.log()] == [2]


def test_a_blocked_host_stops_only_its_own_photos(far):
    blocking = True

    def reply(asked):
        if blocking and int(asked.path[1:-4]) >= 5:
            return Answer(429, headers={"Retry-After": "7200"})
        return picture(asked)

    far.configure(connections=2)
    with Server(reply) as shut, Server(picture) as free:
        far.records(
            *(record(shut, f"/{n}.jpg") for n in range(60)),
            *(record(free, f"/{n}.jpg") for n in range(100, 160)),
        )
        stages, told = far.run(code=4)
        asked = len(shut.asked)
        assert asked < 15
        assert len(free.asked) == 60
        assert shut.url.removeprefix("http://") in told
        assert "left alone until 20" in told
        assert free.url.removeprefix("http://") not in told
        assert "run again" in told
        rows = far.log()
        # photos of the blocked host are untried, not failed
        assert {row["status"] for row in rows} == {"ok"}
        assert len(rows) == len(far.photos()) == stages["fetch"]["rows"]
        assert 60 <= len(rows) <= 65
        # known from now on: the next run does not even ask
        far.run(code=4)
        assert len(shut.asked) == asked
        status = json.loads(far.invoke("status", "--json").stdout)["stages"]
        assert {line["stage"]: line["state"] for line in status}["fetch"] == "partial"
        # and when that time is over, only the photos that were not fetched are
        blocking = False
        for path in (far.root.parent / "state").rglob("*"):
            if path.is_file():
                path.unlink()
        stages, _ = far.run()
        assert stages["fetch"]["rows"] == 120
        paths = [one.path for one in shut.asked[asked:]]
        assert len(paths) == len(set(paths)) == 120 - len(rows)


def test_a_slow_host_holds_up_no_other(far):
    far.configure(connections=4)
    order = []

    def slow(asked):
        time.sleep(0.2)
        order.append("slow")
        return picture(asked)

    def fast(asked):
        order.append("fast")
        return picture(asked)

    with Server(slow) as one, Server(fast) as other:
        # all of the slow host's come first in the list
        far.records(
            *(record(one, f"/{n}.jpg") for n in range(12)),
            *(record(other, f"/{n}.jpg") for n in range(100, 130)),
        )
        far.run()
    assert order.count("slow") == 12
    assert order.index("fast") < 4
    assert order[-4:] == ["slow"] * 4


def test_a_photo_of_two_records_is_asked_for_once(far):
    with Server(picture) as server:
        bear, dog = "inaturalist:1", {"class": "dog"}
        records = [
            record(server, "/a.jpg", photo_key=bear),
            record(server, "/a.jpg?size=2", photo_key=bear) | dog,
            record(server, "/b.jpg", photo_key="inaturalist:2"),
        ]
        far.records(*records)
        stages, _ = far.run()
        assert len(server.asked) == 2
        # another record of it later on is not a reason to ask, either
        later = record(server, "/c.jpg", photo_key="inaturalist:2") | dog
        far.records(*records, later)
        listed_anew(far)
        far.run()
        assert len(server.asked) == 2
        assert len(far.log()) == 4
    assert stages["fetch"]["rows"] == 2
    attempts = sorted(row["attempts"] for row in far.log())
    assert attempts[0] == 0
    photos = json.loads(far.invoke("show", far.log()[0]["photo_id"], "--json").stdout)
    assert photos["photos"]["classes"] == ["bear", "dog"]


def listed_anew(far) -> None:
    """Forget what the source answered, so that it is asked again."""
    for folder in far.work.iterdir():
        if folder.name not in ("blobs", "logs", "shelf.json", "lock", "config.json"):
            shutil.rmtree(folder)


def test_one_record_of_a_photo_fails_and_the_other_has_it(far):
    with Server(
        lambda asked: Answer(404) if asked.path == "/old.jpg" else picture(asked)
    ) as server:
        far.records(
            record(server, "/old.jpg", photo_key="inaturalist:1"),
            record(server, "/new.jpg", photo_key="inaturalist:1") | {"class": "dog"},
        )
        stages, _ = far.run()
    assert stages["fetch"]["rows"] == 1
    assert stages["fetch"]["failed"] == 1


def test_tokens_and_addresses_of_people_never_reach_the_log(far):
    where = "http://169.254.169.254/?token=s3cr3tt0ken&who=jane.roe@example.org"

    def reply(asked):
        return Answer(302, headers={"Location": where})

    with Server(reply) as server:
        far.records(
            record(server, "/1.jpg?api_key=abcdef123456"),
            record(server, "/2.jpg", photo_key="x"),
        )
        result = far.invoke("run", "--until", "fetch")
    text = (far.work / "logs/fetches.jsonl").read_text() + result.stderr
    errors = " ".join(row["error"] for row in far.log()) + result.stderr
    assert "169.254.169.254" in errors
    for secret in ("s3cr3tt0ken", "jane.roe", "abcdef123456"):
        assert secret not in text


def test_orientation_is_kept_and_the_bytes_stay_as_they_came(far):
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.new("RGB", (60, 40), "green").save(file, "JPEG", exif=exif)
    with Server(lambda asked: Answer(body=file.getvalue())) as server:
        far.records(record(server, "/turned.jpg"))
        far.run()
    assert [path.read_bytes() for path in far.photos()] == [file.getvalue()]
    row = far.log()[0]
    assert (row["width"], row["height"]) == (40, 60)


def test_progress_is_lines_without_a_terminal_and_nothing_when_quiet(far, monkeypatch):
    monkeypatch.setattr("curation.progress.EVERY", 0.05)
    with Server(picture, latency=0.02) as server:
        far.records(*(record(server, f"/{n}.jpg") for n in range(100)))
        result = far.invoke("run", "--until", "fetch")
        lines = [x for x in result.stderr.splitlines() if " of 100, " in x]
        assert lines
        assert all("/s, " in line and " MB" in line for line in lines)
        far.work.rename(far.work.with_name("other"))
        assert far.invoke("run", "--until", "fetch", "--quiet").stderr == ""


def test_an_interruption_keeps_what_arrived(far, monkeypatch):
    asked_for = threading.Event()

    def reply(asked):
        if asked.path == "/30.jpg":
            asked_for.set()
        return picture(asked)

    from curation.actions import fetch

    real = fetch._attempt

    def stopping(*given):
        if asked_for.is_set():
            raise KeyboardInterrupt
        return real(*given)

    far.configure(connections=4)
    with Server(reply, latency=0.01) as server:
        far.records(*(record(server, f"/{n}.jpg") for n in range(60)))
        with monkeypatch.context() as patched:
            patched.setattr(fetch, "_attempt", stopping)
            assert far.invoke("run", "--until", "fetch", "--quiet").exit_code == 130
        kept = {row["candidate_id"] for row in far.log()}
        assert len(kept) >= 27
        assert len(far.photos()) == len(kept)
        far.run()
        paths = [one.path for one in server.asked]
    assert len(paths) == len(set(paths)) == 60
