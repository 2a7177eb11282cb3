"""CounterAnimal's card, from a stand-in of iNaturalist to a release: all 45 classes.

The polar bears are real pictures: on snow with the bear, on grass without it, so that a
classifier has a true drop to be found. The other classes' photos show nothing.
"""

import csv
import io
import json
import tomllib
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from curation.cli import app
from tests.standins.inaturalist import World, serving
from tests.standins.server import Answer

ROOT = Path(__file__).parents[2]
CARD = ROOT / "data_cards" / "counteranimal" / "dataset.toml"
ASSETS = ROOT / "curation" / "demo" / "assets"
PER_CLASS = 10
BEAR = "Ursus maritimus"


def scene(name):
    with Image.open(next((ASSETS / "backgrounds").glob(f"{name}*"))) as picture:
        return picture.convert("RGB").resize((384, 288))


class Bears(World):
    """A world whose polar bears can be seen, on snow; those on grass are not there."""

    def _file(self, parts):
        answer = super()._file(parts)
        photo = int(parts[2])
        if answer.status != 200 or photo not in self.bears:
            return answer
        on_snow = photo % 2 == 0
        picture = scene("snow_01" if on_snow else "grass_01")
        if on_snow:
            with Image.open(next((ASSETS / "cutouts").glob("ice_bear*"))) as cutout:
                animal = cutout.convert("RGBA")
            animal.thumbnail((220, 220))
            picture.paste(animal, (60 + photo % 40, 40 + photo % 20), animal)
        # photos are not copies of each other
        picture = picture.rotate(photo % 12 - 6, expand=False).crop(
            (photo % 30, photo % 25, 384 - photo % 17, 288 - photo % 13)
        )
        data = io.BytesIO()
        picture.save(data, "JPEG")
        return Answer(200, data.getvalue(), answer.headers)

    @property
    def bears(self):
        id_ = self.taxon(BEAR).id
        return {
            p.id for o in self.observations.values() if o.taxon == id_ for p in o.photos
        }


def invoke(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, (words, done.stderr, done.exception)
    return done.stdout


@pytest.mark.slow
def test_all_classes_from_the_service_to_a_release(tmp_path):
    card = tomllib.loads(CARD.read_text(encoding="utf-8"))
    taxa = [spec["scientific_name"] for spec in card["classes"]]
    assert len(taxa) == 45
    world = Bears(taxa, observations=60, seed=4)
    with serving(world) as server:
        config, work = tmp_path / "dataset.toml", tmp_path / "work"
        config.write_text(adapted(server.url), encoding="utf-8")
        place = ("-c", config, "--work", work)
        invoke("run", "--until", "tasks", "--quiet", *place)
        asked = len(server.asked)
        candidates = rows(work, "collect")
        wanted = [row for row in candidates if row["refused"] is None]
        per_class = {spec["name"]: 0 for spec in card["classes"]}
        for row in wanted:
            per_class[row["class"]] += 1
        assert set(per_class.values()) == {PER_CLASS}
        assert {row["licence"] for row in wanted} <= {
            "CC0-1.0",
            "CC-BY",
            "CC-BY-SA",
            "CC-BY-NC",
        }
        again = json.loads(
            invoke("run", "--until", "tasks", "--quiet", "--json", *place)
        )
        assert not any(stage["computed"] for stage in again["stages"])
        assert len(server.asked) == asked, "an unchanged run asks nobody"
    pinned = json.loads((tmp_path / "taxa.lock.json").read_text(encoding="utf-8"))
    assert str(world.taxon(BEAR).id) in json.dumps(pinned)
    answers(work, world, tmp_path / "answers.csv")
    invoke("labels", "import", tmp_path / "answers.csv", *place)
    invoke("run", "--quiet", *place)
    (shard,) = (work / "release" / "data").glob("common-*.parquet")
    common = pq.read_table(shard).to_pylist()
    assert {row["background"] for row in common} == {"snow"}
    for row in common:
        assert row["author"]
        assert row["licence"].startswith("CC")
        assert row["source_url"].startswith("https://www.inaturalist.org/")
        with Image.open(io.BytesIO(row["image"]["bytes"])) as picture:
            assert picture.size[0] > 300
    page = (work / "report" / "index.html").read_text(encoding="utf-8")
    assert "enough photos of its observer" in page
    published = [*(work / "release").rglob("*"), *(work / "report").rglob("*")]
    for path in (*published, *(work / "logs").iterdir()):
        if path.is_file():
            assert b"someone@example.org" not in path.read_bytes(), path


def adapted(url):
    """The card, with the stand-in as its source and models that are at hand."""
    text = CARD.read_text(encoding="utf-8")
    start = text.index("[[sources]]")
    end = text.index("[group]")
    models = text.index("models = [")
    text = (
        text[:start]
        + f'[[sources]]\nkind = "inaturalist"\napi = "{url}/v1"\n'
        + f"[collect]\nper_class = {PER_CLASS}\n"
        + '[http]\ncontact = "someone@example.org"\n'
        + '[[http.hosts]]\nname = "127.0.0.1"\nprivate = true\n'
        + '[embed]\nmodel = "demo:clip-balanced"\n'
        + text[end:models]
        + 'models = ["demo:lite0"]'
        + text[text.index("]", models) + 1 :]
    )
    text = text.replace('card = "card.md"\n', "")
    return text.replace(
        'reference = ["open_clip:ViT-B-32-quickgelu/laion400m_e31"]',
        'reference = ["demo:lite0"]\nmin_photos = 3\npermutations = 99\nsplits = 10',
    )


def rows(work, step):
    found = []
    for part in sorted((work / "tables" / step).glob("*/*.parquet")):
        found += pq.read_table(part).to_pylist()
    return found


def answers(work, world, path):
    """What a person would say of the bears: snow, or grass."""
    url = {row["candidate_id"]: row["url"] for row in rows(work, "collect")}
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("photo", "question", "answer", "annotator", "time"))
        for row in rows(work, "fetch"):
            photo = int(url[row["candidate_id"]].split("/photos/")[1].split("/")[0])
            if photo in world.bears:
                for annotator in ("ann", "bob"):
                    answer = "snow" if photo % 2 == 0 else "grass"
                    time = "2026-03-01T09:00:00Z"
                    writer.writerow(
                        (row["photo_id"], "background", answer, annotator, time)
                    )
