"""From photos over HTTP to a release, and what asking again changes in the next one."""

import io
import json
import re

import polars as pl
import pytest
from PIL import Image

from tests.standins import listing
from tests.standins.server import Answer, Server

SERIAL = "SN-4711-0815"
GPS, EXIF, ORIENTATION = 0x8825, 0x8769, 0x0112
PLACE = {1: "N", 2: (52.0, 31.0, 12.34), 3: "E", 4: (13.0, 24.0, 36.78)}


def with_exif(data: bytes, orientation: int) -> bytes:
    """A JPEG as a camera writes it: where it was taken, and with which camera."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[0x010F] = "Maker"
    exif.get_ifd(GPS).update(PLACE)
    exif.get_ifd(EXIF)[0xA431] = SERIAL  # BodySerialNumber
    payload = exif.tobytes()
    payload = payload if payload.startswith(b"Exif\0\0") else b"Exif\0\0" + payload
    segment = b"\xff\xe1" + (len(payload) + 2).to_bytes(2) + payload
    return data[:2] + segment + data[2:]


@pytest.fixture
def far(world, tmp_path, monkeypatch):
    """The small world with its photos on a server; records and bytes by key."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.syspath_prepend(str(listing.installed(tmp_path / "outside")))
    files = {}
    for place, path in enumerate(sorted(world.photos.rglob("*.jpg"))):
        name = str(path.relative_to(world.photos))
        files[name] = with_exif(path.read_bytes(), 6 if place % 4 == 0 else 1)
    text = world.config.read_text()
    text = re.sub(
        r'kind = "folder".*?author = "nobody"\n',
        'kind = "listing"\npath = "records.json"\n',
        text,
        flags=re.DOTALL,
    )
    text += '[http]\nattempts = 1\n[[http.hosts]]\nname = "127.0.0.1"\nprivate = true\n'
    text += "[collect]\nper_observer = 0\nper_observer_day = 0\n"
    world.config.write_text(text)
    with Server(lambda asked: Answer(body=files[asked.path[1:]])) as server:
        records = {
            name: {
                "key": name,
                "class": name.partition("/")[0],
                "url": f"{server.url}/{name}",
                "author": "someone",
            }
            for name in files
        }
        listing.write(world.root / "records.json", records.values())
        yield world, records, files


@pytest.mark.slow
def test_photos_over_http_become_a_release_that_heeds_what_their_source_says(far):
    world, records, files = far
    world.run("--until", "tasks")
    world.label()
    world.run()
    _nothing_private(world, files)

    released = set(_column(world, "photo_id"))
    by_key = _keys(world)
    gone, nd, *_ = sorted(name for name, photo in by_key.items() if photo in released)
    before = world.json("release")
    assert before["left_out"] == {}
    listing.write(
        world.root / "records.now",
        [
            record
            | ({"gone": True} if name == gone else {})
            | ({"licence_text": "cc-by-nd-4.0"} if name == nd else {})
            for name, record in records.items()
        ],
    )
    told = world.json("recheck", "--quiet")
    assert {(c["key"], c["what"]) for c in told["changes"]} == {
        (gone, "gone"),
        (nd, "licence"),
    }
    after = world.json("release")
    assert after["left_out"] == {
        "its source does not offer it any more": 1,
        "its source changed the licence: licence CC-BY-ND-4.0 is not let in "
        "(collect.licences)": 1,
    }
    assert after["photos"] == before["photos"] - 2
    card = (world.work / "release" / "README.md").read_text()
    assert "| its source does not offer it any more | 1 |" in card
    assert released - set(_column(world, "photo_id")) == {by_key[gone], by_key[nd]}
    # nothing was deleted, and the licence it was fetched under is still known
    assert len(list(world.work.glob("blobs/??/*"))) == len(files)
    log = (world.work / "logs" / "fetches.jsonl").read_text().splitlines()
    assert {json.loads(line)["licence"] for line in log} == {"CC-BY-4.0"}
    # in words, for a person
    text = world.invoke("release").stdout
    assert "left_out: 1 photos: its source does not offer it any more" in text

    # a host that blocks us: exit code 4, and what was said before it is kept
    listing.write(
        world.root / "records.now",
        [record | {"blocked": "photos.example"} for record in records.values()],
    )
    result = world.invoke("recheck", "--quiet", "--json")
    assert result.exit_code == 4
    assert "photos.example" in result.stderr
    assert json.loads(result.stdout)["asked"] == 0


def _column(world, name) -> list:
    paths = sorted((world.work / "release" / "data").glob("*.parquet"))
    return [x for path in paths for x in pl.read_parquet(path)[name].to_list()]


def _keys(world) -> dict[str, str]:
    """photo_id by key of its record."""
    records = pl.read_parquet(world.work / "tables/collect/*/*.parquet")
    photos = pl.read_parquet(world.work / "tables/fetch/*/*.parquet")
    rows = photos.join(records, on="candidate_id").select("key", "photo_id")
    return dict(rows.iter_rows())


def _nothing_private(world, files) -> None:
    """Fetched bytes stay as they came; published ones hold no place and no serial."""
    kept = {path.read_bytes() for path in world.work.glob("blobs/??/*")}
    assert kept == set(files.values())
    for data in files.values():
        with Image.open(io.BytesIO(data)) as image:
            assert image.getexif().get_ifd(GPS)  # the test plants what it looks for
            assert image.getexif().get_ifd(EXIF)[0xA431] == SERIAL
    turned = 0
    for published in _column(world, "image"):
        data = published["bytes"]
        assert SERIAL.encode() not in data
        assert b"Maker" not in data
        with Image.open(io.BytesIO(data)) as image:
            exif = image.getexif()
            assert set(exif) <= {ORIENTATION}
            assert not exif.get_ifd(GPS)
            assert not exif.get_ifd(EXIF)
            turned += exif.get(ORIENTATION) == 6
    assert turned
    for name, data in world.release().items():
        assert SERIAL.encode() not in data, name
