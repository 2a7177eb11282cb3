"""Bad input: a row with a reason, an exit code, a clear word; and nothing lost."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

REASONS = {
    "truncated.jpg": "truncated",
    "zero.jpg": "empty",
    "text.jpg": "not a picture",
    "huge.png": "pixels",
    "out.jpg": "symbolic link",
    "loop": "symbolic link",
}
GOOD = (
    "cmyk.jpg",
    "sixteen.png",
    "palette.png",
    "moving.gif",
    "turned.jpg",
    "a b 'c' \"d\".jpg",
    "new\nline.jpg",
    "белый медведь.jpg",
)


@pytest.fixture
def hostile(world) -> Path:
    """The world's photos, and the worst files beside them."""
    folder = world.photos / "bear"
    with Image.open(sorted(folder.glob("*.jpg"))[0]) as opened:
        picture = opened.convert("RGB").resize((240, 180))
    shade = iter(range(1, 50))

    def varied() -> Image.Image:
        """Another picture each time, so that none is another's duplicate."""
        turn = next(shade)
        return picture.rotate(7 * turn, resample=Image.Resampling.BICUBIC)

    data = io.BytesIO()
    varied().save(data, "JPEG")
    (folder / "truncated.jpg").write_bytes(data.getvalue()[: len(data.getvalue()) // 2])
    (folder / "zero.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("I am not a picture")
    Image.new("1", (30_000, 30_000)).save(folder / "huge.png")
    varied().convert("CMYK").save(folder / "cmyk.jpg")
    grey = varied().convert("L").point(lambda v: v * 257, "I")
    grey.convert("I;16").save(folder / "sixteen.png")
    varied().convert("P").save(folder / "palette.png", transparency=0)
    varied().save(folder / "moving.gif", save_all=True, append_images=[varied()])
    turned = varied()
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(folder / "turned.jpg", exif=exif)
    for name in GOOD[5:]:
        varied().save(folder / name, "JPEG")
    (world.root / "secret.jpg").write_bytes(data.getvalue())
    (folder / "out.jpg").symlink_to(world.root / "secret.jpg")
    (folder / "loop").symlink_to(world.photos)
    return folder


def test_each_bad_file_is_told_with_its_reason_and_the_run_goes_on(world, hostile):
    stages = world.run("--until", "hash", "--jobs", "2")
    assert stages["fetch"]["failed"] + stages["hash"]["failed"] == len(REASONS)
    assert stages["hash"]["rows"] - stages["hash"]["failed"] == 32 + len(GOOD)
    assert world.run("--until", "hash")["hash"]["computed"] == 0
    for name, reason in REASONS.items():
        facts = world.json("show", f"bear/{name}")
        told = facts["hashes"] if facts["photo_id"] else facts["fetches"][-1]
        assert told["status"] == "failed", name
        assert reason in told["error"], name
    for name in GOOD:
        facts = world.json("show", f"bear/{name}")
        assert facts["hashes"]["status"] == "ok", name
    assert world.json("show", "bear/turned.jpg")["photos"]["width"] == 180


def test_an_unreadable_file_is_a_row(world):
    if os.geteuid() == 0:
        # root may read all: a file that cannot be opened at all stands in
        (world.photos / "bear" / "pipe.jpg").unlink(missing_ok=True)
        os.mkfifo(world.photos / "bear" / "pipe.jpg")
    else:
        path = world.photos / "bear" / "locked.jpg"
        path.write_bytes(b"x")
        path.chmod(0)
    stages = world.run("--until", "fetch")
    assert stages["fetch"]["failed"] == 1
    assert stages["fetch"]["rows"] == 32


def test_exit_code_5_comes_only_past_max_failed(world):
    for number in range(8):  # 8 of 40 is just the share allowed
        (world.photos / "dog" / f"bad{number}.jpg").write_text("no picture")
    world.run("--until", "hash")
    (world.photos / "dog" / "bad8.jpg").write_text("no picture")
    result = world.invoke("run", "--until", "hash", "--json", "--quiet")
    assert result.exit_code == 5
    assert "9 of 41 failed" in result.stderr
    assert '"stage": "hash"' in result.stdout  # the result is printed all the same
    world.change("[run]", "[run]\nmax_failed = 0.3")
    world.run("--until", "hash")


def _run_with(code: str, world) -> subprocess.CompletedProcess:
    script = f"{code}\nfrom curation.cli import main\nmain()\n"
    arguments = world.arguments("run", "--until", "hash", "--quiet", "--json")
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_full_disk_is_told_and_nothing_is_lost(world):
    # a cap on the size of any file meets a growing table as a full disk would
    full = _run_with(
        "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))",
        world,
    )
    assert full.returncode == 3
    assert "the disk is full" in full.stderr
    assert "Traceback" not in full.stderr
    assert world.run("--until", "hash")["hash"]["rows"] == 32
    assert world.json("check")["ok"]


def test_a_work_folder_that_cannot_be_made(world):
    world.work.write_text("a file is in the way")
    result = world.invoke("run", "--until", "hash")
    assert result.exit_code == 3
    assert "cannot be written" in result.stderr
    assert "choose another --work" in result.stderr


def test_two_runs_in_one_work_folder(world):
    from curation.shelf import Shelf

    with Shelf(world.work).lock():
        second = _run_with("", world)
    assert second.returncode == 3
    assert "in use by another run" in second.stderr
    assert world.run("--until", "hash")["hash"]["rows"] == 32


def test_an_interrupt_is_no_traceback(world):
    stopped = _run_with(
        "import curation.actions.fetch as f\n"
        "def stop(*a): raise KeyboardInterrupt\n"
        "f._attempt = stop",
        world,
    )
    assert stopped.returncode == 130
    assert "run the same command again" in stopped.stderr
    assert world.run("--until", "hash")["hash"]["rows"] == 32
