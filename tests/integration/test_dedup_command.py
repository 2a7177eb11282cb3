"""`counterset dedup` and `counterset hash` on folders of every kind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageEnhance
from typer.testing import CliRunner

from curation.cli import app
from tests import hostile_folder
from tests.hostile_folder import BAD, HIDDEN, IGNORED, ODD, PAIRS, PHOTOS, original

COUNTERSET = [sys.executable, "-c", "from curation.cli import main; main()"]


def invoke(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result.stderr if code else result.stdout


def found(*words: object) -> dict[str, Any]:
    return json.loads(invoke("dedup", *words, "--json", "--quiet"))


def groups(told: dict[str, Any]) -> set[frozenset[str]]:
    return {
        frozenset([one["keeper"], *(member["path"] for member in one["members"])])
        for one in told["clusters"]
    }


def left_as_it_was(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        os.fsdecode(os.fsencode(path)): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in [folder, *folder.rglob("*")]
    }


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Path:
    return hostile_folder.build(tmp_path_factory.mktemp("hostile") / "photos")


@pytest.fixture(scope="module")
def told(hostile) -> dict[str, Any]:
    before = left_as_it_was(hostile)
    told = found(hostile, "--jobs", "2")
    assert left_as_it_was(hostile) == before
    return told


def test_every_bad_file_is_named_with_its_reason(told):
    reasons = {one["path"]: one["error"] for one in told["failed"]}
    assert reasons.keys() == BAD.keys()
    for name, reason in BAD.items():
        assert reason in reasons[name], name
    assert told["photos"] == PHOTOS
    assert told["animated"] == [{"path": "moving.gif", "frames": 3}]
    assert (told["ignored"], told["hidden"]) == (IGNORED, HIDDEN)


def test_all_eight_pairs_are_found_and_nothing_else(told):
    assert groups(told) == {frozenset(pair) for pair in PAIRS}
    for cluster in told["clusters"]:
        assert [one.keys() for one in cluster["members"]] == [
            {"path", "reason", "distance", "variant"}
        ]
    reasons = {one["keeper"]: one["members"][0]["reason"] for one in told["clusters"]}
    assert reasons["a/same.jpg"] == "bytes"
    assert reasons["grey16.png"] == "pixels"
    assert reasons["good.jpg"] == "perceptual"


def test_every_pixel_gives_the_same_clusters(hostile, told):
    exact = found(hostile, "--exact")
    assert groups(exact) == groups(told)
    assert exact["failed"] == told["failed"]
    assert exact["hashing"] != told["hashing"]


def test_people_are_told_in_lines_that_names_cannot_break(hostile):
    text = invoke("dedup", hostile, "--quiet")
    assert f"{PHOTOS} photos compared, {len(BAD)} not (named above)" in text
    assert "8 clusters: 8 of the photos could go" in text
    assert "nothing was changed" in text
    for name, reason in BAD.items():
        assert any(name in line and reason in line for line in text.splitlines()), name
    assert r"'new\nline.jpg'" in text
    assert "  a/same.jpg  480 × 360" in text
    assert all(line.isprintable() for line in text.splitlines())


def test_a_worker_that_is_killed_costs_nothing(hostile, told):
    with subprocess.Popen(
        [*COUNTERSET, "dedup", hostile, "--json", "--quiet", "--jobs", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        killed, until = 0, time.monotonic() + 30
        while not killed and process.poll() is None and time.monotonic() < until:
            killed = _kill_one(process.pid)
        output, errors = process.communicate()
    assert killed
    assert process.returncode == 0, errors
    assert json.loads(output) == told


def _kill_one(parent: int) -> int:
    """Kill a process of the crew that is at work; how many were."""
    listed = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    for child in listed:
        try:
            words = Path(f"/proc/{child}/cmdline").read_text()
            loaded = Path(f"/proc/{child}/maps").read_text()
        except OSError:
            continue
        # it has loaded what decodes, so it was given files
        if "duplicates.crew" in words and "_imaging" in loaded:
            os.kill(int(child), signal.SIGKILL)
            return 1
    return 0


# a decoder with a fault, in every process that Python starts
FAULTY = """\
import os
from evaluation import images

def draft(data, *, sound=images.draft, **options):
    if data.endswith(b"crash"):
        os.abort()
    return sound(data, **options)

images.draft = draft
"""


def test_a_file_that_crashes_the_decoder_is_named(tmp_path):
    place = tmp_path / "photos"
    place.mkdir()
    for number in range(40):
        original(number % 20).save(place / f"{number}.jpg", quality=90 - number)
    for number in (3, 30):
        with (place / f"{number}.jpg").open("ab") as file:
            file.write(b"crash")
    (tmp_path / "sitecustomize.py").write_text(FAULTY)
    done = subprocess.run(
        [*COUNTERSET, "dedup", place, "--json", "--quiet", "--jobs", "2"],
        capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    told = json.loads(done.stdout)
    assert told["failed"] == [
        {"path": f"{n}.jpg", "error": "the decoder crashed (signal SIGABRT)"}
        for n in (3, 30)
    ]
    assert told["photos"] == 38
    assert groups(told) == {
        frozenset([f"{n}.jpg", f"{n + 20}.jpg"]) for n in range(20) if n not in (3, 10)
    }


def test_pictures_larger_than_allowed_are_named(tmp_path):
    original(0, (300, 200)).save(tmp_path / "small.jpg")
    original(1, (301, 200)).save(tmp_path / "large.jpg")
    told = found(tmp_path, "--max-pixels", 300 * 200)
    assert told["photos"] == 1
    assert told["failed"][0]["path"] == "large.jpg"
    assert "too many pixels: 301 × 200" in told["failed"][0]["error"]


# root may read everything, unless these capabilities are taken from it for good
PLAIN = """\
import ctypes, os, sys
for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    if os.geteuid() == 0 and ctypes.CDLL(None).prctl(24, capability, 0, 0, 0):
        sys.exit("the capability cannot be dropped")
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def test_what_may_not_be_read_is_told(tmp_path):
    original(0).save(tmp_path / "good.jpg")
    original(1).save(tmp_path / "locked.jpg")
    (tmp_path / "locked.jpg").chmod(0)
    (tmp_path / "closed").mkdir(mode=0)
    words = [*COUNTERSET[1:], "dedup", tmp_path, "--json", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, *words],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    (tmp_path / "closed").chmod(0o700)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["photos"] == 1
    assert told["failed"] == [
        {"path": "closed", "error": "folder cannot be read: Permission denied"},
        {"path": "locked.jpg", "error": "cannot be read: Permission denied"},
    ]


def test_no_folder_a_file_and_an_empty_folder(tmp_path):
    assert "no such folder" in invoke("dedup", tmp_path / "none", code=3)
    (tmp_path / "file.jpg").write_bytes(b"")
    assert "not a folder" in invoke("dedup", tmp_path / "file.jpg", code=3)
    (tmp_path / "empty").mkdir()
    assert "no pictures in" in invoke("dedup", tmp_path / "empty", "--quiet")
    told = found(tmp_path / "empty")
    assert (told["photos"], told["clusters"], told["failed"]) == (0, [], [])
    for file in (tmp_path / "empty", tmp_path / "none" / "page.html"):
        asked = ("dedup", tmp_path / "empty", "--html", file)
        assert str(file) in invoke(*asked, code=3).replace("\n", "")


def test_ten_thousand_identical_photos(tmp_path):
    original(0, (160, 120)).save(tmp_path / "00000.jpg")
    for place in range(1, 10_000):
        os.link(tmp_path / "00000.jpg", tmp_path / f"{place:05}.jpg")
    told = found(tmp_path)
    assert told["photos"] == 10_000
    assert len(told["clusters"]) == 1
    assert told["clusters"][0]["keeper"] == "00000.jpg"
    members = told["clusters"][0]["members"]
    assert [one["path"] for one in members] == [f"{n:05}.jpg" for n in range(1, 10_000)]
    assert {one["reason"] for one in members} == {"bytes"}


def test_black_photos_are_the_same_only_where_every_pixel_is(tmp_path):
    for size in ((300, 200), (301, 200), (200, 300)):
        for quality in (50, 90):
            name = f"{size[0]}x{size[1]}-{quality}.jpg"
            Image.new("RGB", size).save(tmp_path / name, quality=quality)
    Image.new("RGB", (300, 200)).save(tmp_path / "other.png")
    Image.new("RGB", (300, 200), (1, 0, 0)).save(tmp_path / "red.png")
    told = found(tmp_path)
    assert groups(told) == {
        frozenset(["300x200-50.jpg", "300x200-90.jpg", "other.png"]),
        frozenset(["301x200-50.jpg", "301x200-90.jpg"]),
        frozenset(["200x300-50.jpg", "200x300-90.jpg"]),
    }
    reasons = {one["reason"] for c in told["clusters"] for one in c["members"]}
    assert reasons == {"pixels"}


def _copies(folder: Path, place: int) -> set[str]:
    """A photo and what people make of it; the names written."""
    photo = original(place, (600, 450))
    crop = (15, 11, 585, 439)
    made = {
        "original": (photo, 92),
        "recompressed": (photo, 40),
        "half": (photo.resize((300, 225)), 85),
        "brighter": (ImageEnhance.Brightness(photo).enhance(1.2), 85),
        "mirrored": (photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 85),
        "turned90": (photo.transpose(Image.Transpose.ROTATE_90), 85),
        "turned180": (photo.transpose(Image.Transpose.ROTATE_180), 85),
        "turned270": (photo.transpose(Image.Transpose.ROTATE_270), 85),
        "cropped": (photo.crop(crop), 85),
    }
    for name, (picture, quality) in made.items():
        picture.save(folder / f"{place}-{name}.jpg", quality=quality)
    return {f"{place}-{name}.jpg" for name in made}


def test_copies_are_found_with_what_they_are(tmp_path):
    wanted = {frozenset(_copies(tmp_path, place)) for place in range(20, 32)}
    told = found(tmp_path)
    crops = {f"{place}-cropped.jpg" for place in range(20, 32)}
    assert {one - crops for one in groups(told)} == {one - crops for one in wanted}
    # a crop that is found is with its own; one of a dozen may be missed
    assert all(group <= one for group in groups(told) for one in wanted if group & one)
    assert sum(len(group & crops) for group in groups(told)) >= 10
    variants = {
        member["path"].partition("-")[2].removesuffix(".jpg"): member["variant"]
        for cluster in told["clusters"]
        for member in cluster["members"]
    }
    assert variants == {
        "recompressed": "identity", "half": "identity", "brighter": "identity",
        "mirrored": "mirror", "turned90": "rotate90", "turned180": "rotate180",
        "turned270": "rotate270", "cropped": "crop",
    }  # fmt: skip
    assert {one["keeper"].partition("-")[2] for one in told["clusters"]} == {
        "original.jpg"
    }


def test_what_another_set_has_is_told(tmp_path):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    for place in range(6):
        original(place).save(ours / f"{place}.jpg", quality=92)
    shutil.copy(ours / "0.jpg", ours / "0 again.jpg")
    shutil.copy(ours / "0.jpg", theirs / "zero.jpg")
    original(1).resize((240, 180)).save(theirs / "one.jpg")
    mirrored = original(2).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    mirrored.save(theirs / "two.jpg")
    original(40).save(theirs / "other.jpg")
    (theirs / "text.jpg").write_text("no picture")
    table = tmp_path / "release 1.parquet"
    made = json.loads(invoke("hash", theirs, "--out", table, "--json", "--quiet"))
    assert made["photos"] == 4
    assert [one["path"] for one in made["failed"]] == ["text.jpg"]
    told = found(ours, "--against", table)
    assert told["against"] == ["release 1"]
    leaks = [
        (one["path"], one["set"], one["name"], one["reason"], one["variant"])
        for one in told["leaks"]
    ]
    assert leaks == [
        ("0 again.jpg", "release 1", "zero.jpg", "bytes", "identity"),
        ("0.jpg", "release 1", "zero.jpg", "bytes", "identity"),
        ("1.jpg", "release 1", "one.jpg", "perceptual", "identity"),
        ("2.jpg", "release 1", "two.jpg", "perceptual", "mirror"),
    ]
    text = invoke("dedup", ours, "--against", table, "--quiet")
    assert "4 photos of them also in release 1" in text
    exact = tmp_path / "exact.parquet"
    assert "4 photos hashed" in invoke("hash", theirs, "--out", exact, "--exact")
    again = found(ours, "--against", exact, "--against", table)
    assert {one["path"] for one in again["leaks"]} == {one[0] for one in leaks}


def test_folder_table_and_page_may_have_any_name(tmp_path):
    ours, table, page = (
        Path(os.fsdecode(os.fsencode(tmp_path) + name))
        for name in (b"/caf\xe9", b"/s3:caf\xe9.parquet", b"/caf\xe9.html")
    )
    ours.mkdir()
    original(0).save(ours / "a.jpg")
    told = json.loads(invoke("hash", ours, "--out", table, "--json"))
    assert told["table"].endswith("s3%3Acaf%E9.parquet")
    told = found(ours, "--against", table, "--html", page)
    assert told["leaks"][0]["set"] == "percent:s3%3Acaf%E9"
    assert page.exists()
    assert "1 photo of them also in" in invoke("dedup", ours, "--against", table)


def test_a_table_that_is_none_is_told_before_the_work(tmp_path):
    original(0).save(tmp_path / "a.jpg")
    (tmp_path / "x.parquet").write_text("no table")
    told = invoke("dedup", tmp_path, "--against", tmp_path / "x.parquet", code=3)
    assert "no Parquet file" in told
    assert "hash:" not in told
    assert "no Parquet file" in invoke(
        "hash", tmp_path, "--out", tmp_path / "x.parquet", code=3
    )


def test_answer_and_page_are_the_same_whatever_the_jobs(hostile, told, tmp_path):
    first, second = tmp_path / "1.html", tmp_path / "2.html"
    assert found(hostile, "--html", first, "--jobs", "1") == told
    assert found(hostile, "--html", second, "--jobs", "3") == told
    page = first.read_text()
    assert page == second.read_text()
    assert page.count("data:image/jpeg;base64,") == 2 * len(PAIRS)
    assert ODD[2] not in page  # that photo is nobody's copy
    for name in BAD:
        assert name in page
    assert (
        list(tmp_path.iterdir()) == [first, second]
        or len(list(tmp_path.iterdir())) == 2
    )


def test_no_model_library_is_loaded(tmp_path):
    for place in range(3):
        original(place).save(tmp_path / f"{place}.jpg", quality=90)
    original(0).save(tmp_path / "copy.jpg", quality=50)
    code = (
        "import sys\nfrom curation.cli import app\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "heavy = ('torch', 'scipy', 'numba', 'matplotlib', 'rich', 'pandas.core')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    words = ["dedup", str(tmp_path), "--quiet", "--html", str(tmp_path / "x.html")]
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"
    assert "1 cluster: 1 of the photos could go" in done.stdout


def test_a_model_confirms_and_suggests(tmp_path):
    for place in range(4):
        original(place).save(tmp_path / f"{place}.jpg", quality=92)
    original(0).save(tmp_path / "copy.jpg", quality=50)
    told = found(tmp_path, "--model", "demo:lite0")
    assert groups(told) == {frozenset(["0.jpg", "copy.jpg"])}
    assert all(one["reason"] == "embedding" for one in told["suggestions"])
    assert "unknown model" in invoke("dedup", tmp_path, "--model", "demo:no", code=2)
