"""`evaluate` from files to report: nothing done twice, killed and taken up again."""

import io
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from evaluation import cli
from evaluation.errors import CounterSetError

MAIN = """
import typer
from evaluation import cli
from evaluation.errors import CounterSetError
app = typer.Typer()
cli.register(app)
try:
    app(standalone_mode=False)
except CounterSetError as error:
    typer.echo(f"error: {error}", err=True)
    raise SystemExit(error.exit_code)
"""

NO_TORCH = "import sys; sys.modules['torch'] = None\n"  # importing it now fails

# A backend outside the package, as an entry point: mean colours as "features". It
# counts its loads, and refuses to be loaded when told to.
BACKEND = """
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluation.errors import ConfigError
from evaluation.models import ModelInfo, PixelSpec


@dataclass
class Colours:
    name: str
    spec: PixelSpec
    weights: str = "0" * 64
    dtype: str = "float32"
    kind: str = "classifier"
    quick_gelu: bool | None = None
    note: str = ""

    def images(self, pixels):
        import torch

        with Path(os.environ["COLOURS_LOG"]).open("a") as log:
            log.write(f"run {len(pixels)}\\n")
        means = pixels.float().mean(dim=(2, 3))
        logits = torch.zeros(len(pixels), 1000)
        logits[:, [9, 296, 1]] = means
        return logits


def load(rest, runtime):
    with Path(os.environ["COLOURS_LOG"]).open("a") as log:
        log.write("load\\n")
    if os.environ.get("COLOURS_FORBIDDEN"):
        raise ConfigError("this model must not be loaded")
    return Colours(f"colours:{rest}", PixelSpec(size=int(rest), resize_to=int(rest)))


def identity(rest):
    return "1"


def available():
    return [ModelInfo("colours:16", "classifier", at_hand=True)]
"""


class World:
    """A dataset, the backend, and two ways to run the command."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.out = folder, folder / "out"
        self.data, self.log = folder / "data", folder / "log"
        site = folder / "site"
        about = site / "colours-1.0.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: colours\n")
        (about / "entry_points.txt").write_text(
            "[counterset.models]\ncolours = colours\n"
        )
        (site / "colours.py").write_text(BACKEND)
        patch.syspath_prepend(site)
        patch.setenv("PYTHONPATH", str(site))  # for programs that are started
        patch.setenv("COLOURS_LOG", str(self.log))
        self.log.write_text("")

    def options(self, *more: object) -> list[str]:
        return [
            "evaluate",
            "-d",
            str(self.data),
            "--out",
            str(self.out),
            *map(str, more),
        ]

    def run(self, *more: object) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of a run in this process."""
        self.log.write_text("")
        app = typer.Typer()
        cli.register(app)
        done = CliRunner().invoke(app, self.options(*more))
        if isinstance(done.exception, CounterSetError):
            return done.exception.exit_code, done.stdout, str(done.exception)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.stdout, done.stderr

    def results(self, *more: object) -> list[dict]:
        code, out, told = self.run(*more, "--json", "--quiet")
        assert code == 0, told
        assert told == ""
        return self.read(out)

    def read(self, out: str) -> list[dict]:
        found = json.loads(out)
        assert found["predictions"] == "predictions"
        assert found["report"] == "report.html"
        return found["results"]

    def start(self, *more: object, first: str = "") -> subprocess.Popen[str]:
        """A process of its own that runs the command, after the lines `first`."""
        self.log.write_text("")
        return subprocess.Popen(
            [sys.executable, "-c", first + MAIN, *self.options(*more)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def apart(self, *more: object, first: str = "") -> list[dict]:
        """Results of a run in a process of its own."""
        running = self.start(*more, "--json", "--quiet", first=first)
        out, told = running.communicate()
        assert running.returncode == 0, told
        assert told == ""
        return self.read(out)

    def calls(self) -> list[str]:
        return self.log.read_text().split("\n")[:-1]


def photo(colour, seed) -> bytes:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 60, (40, 40, 3)) + np.array(colour)
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


OSTRICH, BEAR = (150, 40, 40), (40, 150, 40)  # what the colours say


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Two classes, two groups of six; half the bears in counter look like ostriches."""
    made = World(tmp_path, monkeypatch)
    seed = 0
    for name, own in (("9 ostrich", OSTRICH), ("296 polar bear", BEAR)):
        for group in ("common-grass", "counter-snow"):
            folder = made.data / name / group
            folder.mkdir(parents=True)
            for number in range(6):
                wrong = group == "counter-snow" and own == BEAR and number % 2
                data = photo(OSTRICH if wrong else own, seed)
                (folder / f"{number} 'a\".png").write_bytes(data)
                seed += 1
    return made


def test_numbers_and_files(world):
    (row,) = world.results("-m", "colours:16")
    assert row["model"] == "colours:16"
    assert (row["dataset"], row["label_space"]) == ("data", "imagenet")
    assert row["prompts"] is None
    assert (row["n_common"], row["n_counter"]) == (12, 12)
    assert (row["common"], row["counter"], row["drop"]) == (100, 75, 25)
    assert row["balanced"] is True
    for key, value in (("common", 100), ("counter", 75), ("drop", 25)):
        low, high = row[f"{key}_ci"]
        assert low <= value <= high
        assert low < high
    table = pq.read_table(world.out / "predictions/colours_16.parquet")
    assert table.num_rows == 24
    about = json.loads(table.schema.metadata[b"counterset"])
    assert about["weights"] == "0" * 64
    assert about["preprocessing"]["size"] == 16
    assert about["label_space"]["classes"] == 1000
    assert about["versions"]["pillow"]
    details = json.loads((world.out / "results.json").read_text())["results"][0]
    assert {one["name"]: one["drop"] for one in details["drops"]} == {
        "9 ostrich": 0,
        "296 polar bear": 50,
    }


def test_a_second_run_loads_no_model_and_looks_at_no_photo(world, monkeypatch):
    first = world.results("-m", "colours:16", "-m", "colours:8")
    assert world.calls().count("load") == 2
    made = {path: path.read_bytes() for path in world.out.rglob("*") if path.is_file()}
    monkeypatch.setenv("COLOURS_FORBIDDEN", "yes")
    again = world.apart("-m", "colours:16", "-m", "colours:8", first=NO_TORCH)
    assert world.calls() == []
    assert again == first
    for path, data in made.items():
        assert path.read_bytes() == data, path
    # another question of the same photos costs no look at them either
    names = ("-m", "colours:16", "-m", "colours:8")
    (row, _) = world.apart(*names, "--label-space", "dataset", first=NO_TORCH)
    assert (row["label_space"], row["drop"]) == ("dataset", 25)
    assert world.calls() == []


def test_new_photos_are_the_only_ones_computed(world):
    world.results("-m", "colours:16")
    assert world.calls() == ["load", "run 24"]
    (world.data / "9 ostrich/common-grass/new.png").write_bytes(photo(OSTRICH, 99))
    (row,) = world.results("-m", "colours:16")
    assert row["n_common"] == 13
    assert world.calls() == ["load", "run 1"]


def test_text_models_keep_their_classifiers(world, tiny_clip):
    options = ("-m", tiny_clip, "--label-space", "demo28")
    shutil.rmtree(world.data / "9 ostrich")  # not among the 28
    (first,) = world.results(*options)
    assert first["prompts"] == "paper"
    assert world.results(*options) == [first]
    other = world.results(*options, "--prompts", "openclip7")[0]
    assert other["prompts"] == "openclip7"
    # once more in a process that cannot import torch at all
    assert world.apart(*options, first=NO_TORCH) == [first]


def test_bad_photos_are_rows_and_too_many_end_in_exit_5(world):
    folder = world.data / "296 polar bear/common-grass"
    (folder / "text.jpg").write_bytes(b"words")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "cut.png").write_bytes(photo(BEAR, 5)[:300])
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    code, out, told = world.run("-m", "colours:16", "--json", "--quiet")
    assert code == 5
    assert "4 of 28 photos of data failed" in told
    assert out == ""
    (row,) = world.results("-m", "colours:16", "--max-failed", "0.2")
    assert (row["n_failed"], row["n_common"], row["drop"]) == (4, 12, 25)
    table = pq.read_table(world.out / "predictions/colours_16.parquet").to_pylist()
    errors = sorted(one["error"] for one in table if one["status"] == "failed")
    assert [one.split(":")[0] for one in errors] == [
        "cannot be read", "empty file", "not a picture", "truncated or damaged",
    ]  # fmt: skip
    assert all(one["predicted"] is None for one in table if one["error"])


def test_a_class_in_one_group_only_is_not_balanced(world):
    shutil.rmtree(world.data / "9 ostrich/counter-snow")
    (row,) = world.results("-m", "colours:16")
    assert row["balanced"] is False
    assert row["left_out"] == ["9 ostrich"]
    assert (row["n_common"], row["n_counter"], row["drop"]) == (6, 6, 50)


def test_an_empty_group_is_an_error(world):
    for folder in world.data.glob("*/counter-snow"):
        shutil.rmtree(folder)
    code, _, told = world.run("-m", "colours:16")
    assert code == 3
    assert "no photos in the counter group" in told


def test_a_class_folder_has_accuracy_and_no_drop(world):
    for folder in list(world.data.glob("*/co*")):
        for path in folder.iterdir():
            path.rename(folder.parent / f"{folder.name} {path.name}")
        folder.rmdir()
    (row,) = world.results("-m", "colours:16")
    assert row["accuracy"] == pytest.approx(87.5)
    assert row["drop"] is None
    assert row["balanced"] is False
    assert row["accuracy_ci"][0] < 87.5 < row["accuracy_ci"][1]
    assert "no common and counter groups" in (world.out / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "code", "reason"),
    [
        ((), 2, "at least one model"),
        (("-m", "colour:16"), 2, "did you mean colours"),
        (("-m", "colours:16", "--prompts", "papers"), 2, "did you mean paper"),
        (("-m", "colours:16", "--label-space", "demo28"), 2, "'9 ostrich'"),
        (("--suite", "demon"), 2, "did you mean demo"),
        (("-m", "colours:16", "-d", "/no/such/folder"), 3, "no such folder"),
    ],
)
def test_wrong_questions(world, options, code, reason):
    found, _, told = world.run(*options)
    assert found == code
    assert reason in told


def test_an_unwritable_folder_is_told(world):
    world.out.write_text("a file where the folder should be")
    code, _, told = world.run("-m", "colours:16")
    assert code == 3
    assert "cannot write" in told


def test_limit_takes_evenly(world):
    (row,) = world.results("-m", "colours:16", "--limit", "8")
    assert (row["n_common"], row["n_counter"]) == (4, 4)


@pytest.mark.slow
def test_killed_and_taken_up_again(world):
    """kill -9 at any moment, then a run, gives the bytes of a run never killed."""
    options = ("-m", "colours:16", "-m", "colours:8", "--quiet")
    assert world.run(*options)[0] == 0
    wanted = {
        path.relative_to(world.out): path.read_bytes()
        for path in sorted(world.out.rglob("*"))
        if path.is_file() and "features" not in path.parts
    }
    rng = random.Random(3)
    for _ in range(3):
        shutil.rmtree(world.out)
        running = world.start(*options)
        started = time.monotonic()
        while not (world.out / "features").exists() and running.poll() is None:
            assert time.monotonic() - started < 120
            time.sleep(0.002)
        time.sleep(rng.random() * 0.05)
        running.send_signal(signal.SIGKILL)
        running.communicate()
        code, _, told = world.run(*options)
        assert code == 0, told
        for place, data in wanted.items():
            assert (world.out / place).read_bytes() == data, place


class Page(HTMLParser):
    """What a page asks for, and the text of its marks."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.labels: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.asked += [found[key] for key in ("src", "href") if found.get(key)]
        if tag == "svg":
            self.labels.append(found.get("aria-label", ""))


def test_the_report_asks_for_nothing_and_says_what_it_shows(world):
    world.results("-m", "colours:16", "-m", "colours:8")
    text = (world.out / "report.html").read_text()
    page = Page(text)
    assert all(one.startswith(("#", "data:")) for one in page.asked)
    assert not re.search(r"url\(\s*['\"]?https?:", text)
    (label,) = [one for one in page.labels if "against the common group" in one]
    assert "colours:16, common 100.00, counter 75.00" in label
    assert "prefers-color-scheme: dark" in text
    assert "width=device-width" in text
    assert "0" * 64 in text  # provenance: the weights
