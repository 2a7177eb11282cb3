"""A small world to run the route in: real photos, real models, the real CLI.

The classes are made up, so that EfficientNet-Lite0 is right about half the time.
"""

import csv
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from curation.cli import app
from curation.shelf import Shelf

PHOTOS = Path(__file__).parents[1] / "curation" / "demo" / "assets" / "originals"
CLASSES, BACKGROUNDS = ("bear", "dog"), ("snow", "grass")

CONFIG = """\
[dataset]
name = "small-world"
[[classes]]
name = "bear"
imagenet_index = 296
[[classes]]
name = "dog"
imagenet_index = 235
[[backgrounds]]
name = "snow"
prompts = ["a photo of a {{}} on snow"]
[[backgrounds]]
name = "grass"
prompts = ["a photo of a {{}} on grass", "a {{}} in a meadow"]
[[sources]]
kind = "folder"
path = "photos"
licence = "CC0-1.0"
author = "nobody"
[embed]
model = "{model}"
[dedup]
suggest_cosine = 1.0
[group]
reference = ["demo:lite0"]
min_photos = 3
min_drop_points = 0.0
permutations = 99
splits = 10
[evaluate]
models = ["demo:lite0"]
label_space = "dataset"
[run]
jobs = 1
"""


@dataclass
class World:
    """A source folder with its dataset.toml and answers, and a work folder."""

    root: Path
    work: Path

    @property
    def config(self) -> Path:
        return self.root / "dataset.toml"

    @property
    def photos(self) -> Path:
        return self.root / "photos"

    def change(self, old: str, new: str) -> None:
        text = self.config.read_text()
        assert old in text
        self.config.write_text(text.replace(old, new))

    def arguments(self, *words: str) -> list[str]:
        place = ["--work", str(self.work)]
        if words[0] in ("run", "collect", "fetch", "release", "publish") or words[
            :2
        ] in (
            ("labels", "import"),
            ("labels", "push"),
            ("labels", "pull"),
        ):
            place += ["-c", str(self.config)]
        return [*words, *place]

    def invoke(self, *words: str):
        return CliRunner().invoke(app, self.arguments(*words))

    def json(self, *words: str, code: int = 0) -> dict:
        result = self.invoke(*words, "--json")
        assert result.exit_code == code, (result.stderr, result.exception)
        return json.loads(result.stdout)

    def run(self, *words: str, code: int = 0) -> dict[str, dict]:
        """Run the route; what each stage did, by its name."""
        result = self.json("run", "--quiet", *words, code=code)
        return {stage["stage"]: stage for stage in result["stages"]}

    def log(self, name: str) -> list[dict]:
        """Rows of a log."""
        return Shelf.open(self.work).read_log(name)

    def label(self) -> dict:
        return self.json("labels", "import", str(self.root / "labels.csv"))

    def release(self) -> dict[str, bytes]:
        """Every file of the release."""
        folder = self.work / "release"
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def make(folder: Path, clip: str) -> World:
    """A world in a folder; `clip` is the model of its embeddings."""
    root = folder / "mine"
    rows = []
    for place, path in enumerate(sorted(PHOTOS.glob("*.jpg"))[:32]):
        home = root / "photos" / CLASSES[place % 2]
        home.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, home / path.name)
        answer = BACKGROUNDS[place // 2 % 2]
        for minute, annotator in enumerate(("ann", "bob")):
            if minute and place == 0:
                answer = BACKGROUNDS[1 - place // 2 % 2]  # one disagreement: a tie
            rows.append(
                {
                    "photo": f"{home.name}/{path.name}",
                    "question": "background",
                    "answer": answer,
                    "annotator": annotator,
                    "time": f"2026-03-01T09:0{minute}:00Z",
                }
            )
    (root / "dataset.toml").write_text(CONFIG.format(model=clip))
    with (root / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return World(root, folder / "work")
