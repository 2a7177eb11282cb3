"""Agreement, gold, the queue, and an annotator who is left out, by the real CLI."""

import csv
import io
from typing import Any

import polars as pl
from PIL import Image

from curation.labelling import adjudication
from curation.pipeline import Route
from curation.shelf import Shelf
from tests.world import World

FIELDS = (
    "photo", "question", "answer", "annotator", "time", "proposal", "origin",
    "lead_time_s",
)  # fmt: skip


def import_answers(world: World, rows: list[dict[str, str]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS)
    writer.writeheader()
    writer.writerows(rows)
    path = world.root / "more.csv"
    path.write_text(text.getvalue())
    world.json("labels", "import", str(path))


def careless(world: World) -> list[dict[str, str]]:
    """Answers of carl, who says snow whatever is shown, at once."""
    with (world.root / "labels.csv").open() as file:
        photos = sorted({row["photo"] for row in csv.DictReader(file)})
    return [
        {
            "photo": photo, "question": "background", "answer": "snow",
            "annotator": "carl", "time": "2026-03-02T09:00:00Z", "proposal": "snow",
            "origin": "confirmed", "lead_time_s": "0.7",
        }
        for photo in photos
    ]  # fmt: skip


def agreement(world: World) -> dict[str, Any]:
    return world.json("labels", "agreement", "-c", str(world.config))


def tables(world: World) -> dict[str, pl.DataFrame]:
    with Shelf.open(world.work).lock() as shelf:
        route = _route(world, shelf)
        return {
            name: pl.DataFrame(route.whole(name))
            for name in ("labels", "tasks", "groups")
        }


def _route(world: World, shelf: Shelf) -> Route:
    from curation import config

    return Route(shelf, config.load(world.config))


def queue(world: World) -> list[adjudication.Open]:
    return adjudication.queue(_route(world, Shelf.open(world.work)))


def same(one: dict[str, pl.DataFrame], two: dict[str, pl.DataFrame]) -> bool:
    return all(one[name].equals(two[name]) for name in one)


def test_an_annotator_left_out_and_taken_back(world: World) -> None:
    world.run("--until", "group")
    world.label()
    world.run("--until", "group")
    two, settled = agreement(world), tables(world)
    import_answers(world, careless(world))
    world.run("--until", "group")
    three, mixed = agreement(world), tables(world)
    waiting = queue(world)

    world.change("[group]", '[resolve]\nexclude = ["carl"]\n[group]')
    ran = world.run("--until", "group")
    without = agreement(world)

    assert ran["resolve"]["computed"]
    assert ran["embed"]["computed"] == 0
    assert same(tables(world), settled)
    assert without.pop("excluded") == ["carl"]
    assert two.pop("excluded") == []
    assert without == two
    assert not same(mixed, settled)
    assert three["questions"][0]["alpha"] < two["questions"][0]["alpha"] < 1
    assert [photo.why for photo in queue(world)] == ["background: no majority"]
    assert len(waiting) > 1

    world.change('exclude = ["carl"]', "exclude = []")
    world.run("--until", "group")
    assert same(tables(world), mixed)
    assert agreement(world) == three
    assert queue(world) == waiting


def test_what_is_said_of_each(world: World) -> None:
    world.run()
    assert agreement(world)["questions"] == []
    assert "no answers yet" in world.invoke("labels", "agreement").stdout
    world.label()
    rows = careless(world)
    import_answers(world, rows)
    with (world.root / "gold.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["photo", "question", "answer"])
        writer.writerows([row["photo"], "background", "grass"] for row in rows[:4])
    world.change("[group]", '[labels]\ngold = "gold.csv"\n[group]')
    found = agreement(world)

    people = {row["annotator"]: row for row in found["annotators"]}
    assert sorted(people) == ["ann", "bob", "carl"]
    carl = people["carl"]
    assert (carl["gold"], carl["gold_n"]) == (0.0, 4)
    assert people["ann"]["gold_n"] == 4
    assert (carl["accepted"], carl["wrong_accepted"]) == (1.0, 1.0)
    assert carl["wrong_accepted_n"] >= 16
    assert (carl["confirmed_s"], carl["fast"]) == (0.7, 1.0)
    assert people["ann"]["accepted"] is None
    assert people["carl"]["agreement"] < 1
    assert {(row["a"], row["b"]) for row in found["pairs"]} == {
        ("ann", "bob"), ("ann", "carl"), ("bob", "carl"),
    }  # fmt: skip
    assert found["to_adjudicate"] == len(queue(world)) >= 16
    assert {row["class"] for row in found["classes"]} == {"bear", "dog"}
    assert {row["background"] for row in found["backgrounds"]} == {"snow", "grass"}

    text = world.invoke("labels", "agreement", "-c", str(world.config)).stdout
    assert max(map(len, text.splitlines())) <= 100
    assert "1 is perfect agreement, 0 what chance gives" in text
    assert f"{found['to_adjudicate']} photos wait for an adjudicator" in text


def test_a_bad_gold_file_is_named(world: World) -> None:
    world.run("--until", "tasks")
    world.label()
    (world.root / "gold.csv").write_text("photo,question,answer\nnone,background,x\n")
    world.change("[group]", '[labels]\ngold = "gold.csv"\n[group]')
    result = world.invoke("labels", "agreement", "-c", str(world.config))

    assert result.exit_code == 3
    assert "gold.csv" in result.stderr


def test_only_kept_photos_are_settled(world: World) -> None:
    """A copy that was merged away is not asked again, whatever was said of it."""
    original = sorted((world.photos / "bear").glob("*.jpg"))[0]
    with Image.open(original) as picture:
        picture.save(original.with_name("copy.jpg"), quality=85)
    world.run("--until", "dedup")
    rows = [
        {
            "photo": f"bear/{name}", "question": "background", "answer": answer,
            "annotator": who, "time": "2026-03-02T09:00:00Z",
        }
        for name in (original.name, "copy.jpg")
        for who, answer in (("ann", "snow"), ("bob", "grass"))
    ]  # fmt: skip
    import_answers(world, rows)
    found = queue(world)

    with Shelf.open(world.work).lock() as shelf:
        merged = _route(world, shelf).whole("duplicates").to_pylist()
    assert [row["decision"] for row in merged] == ["merge"]
    assert [photo.photo_id for photo in found] == [merged[0]["keeper"]]
    assert found[0].said == "grass 1, snow 1"
    assert found[0].questions == ("background",)


def test_no_photos_no_queue(world: World) -> None:
    world.run("--until", "collect")
    assert queue(world) == []
    found = agreement(world)
    assert (found["questions"], found["annotators"]) == ([], [])
    assert found["to_adjudicate"] == 0
