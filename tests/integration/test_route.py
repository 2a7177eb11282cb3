"""The route on a user's own folder: what is computed, what is not, and what is kept."""

import hashlib
import json
import shutil
import subprocess
import sys

import pytest

from curation.pipeline import ORDER


def computed(stages):
    return {name for name, stage in stages.items() if stage["computed"]}


def test_without_answers_the_route_stops_for_people_and_says_so(world):
    result = world.json("run", "--quiet")
    assert result["release"] is None
    assert result["report"] == "report/index.html"
    (notice,) = result["notices"]
    assert "questions wait" in notice
    assert "counterset labels import" in notice


def test_the_whole_route_then_nothing_then_only_what_changed(world):
    world.run("--until", "tasks")
    assert world.label() == {"answers": 64, "imported": 64, "known": 0}
    assert world.label() == {"answers": 64, "imported": 0, "known": 64}
    first = world.run()
    assert list(first) == list(ORDER)
    assert first["resolve"]["rows"] == 32
    assert first["release"]["rows"] == 31  # one photo's answers are tied
    release = world.release()
    assert not computed(world.run())
    assert world.release() == release
    states = {s["stage"]: s["state"] for s in world.json("status")["stages"]}
    assert set(states.values()) == {"done"}

    # a turned knob recomputes what depends on it, and no photo is decoded
    world.change("min_photos = 3", "min_photos = 4")
    states = {s["stage"]: s["state"] for s in world.json("status")["stages"]}
    assert states["predict"] == "done"  # status looks at the last run's configuration
    plan = world.json("run", "--dry-run")["stages"]
    assert [s["stage"] for s in plan if s["run"]] == [
        "tasks",  # which also asks for backgrounds short of photos
        "discover",
        "group",
        "release",
        "evaluate",
        "report",
    ]
    again = world.run()
    assert not computed(again) & {"hash", "embed", "predict", "propose", "resolve"}
    assert "discover" in computed(again)
    world.change("min_photos = 4", "min_photos = 3")
    assert computed(world.run()) <= {"release", "report", "evaluate"}
    assert world.release() == release

    # one more photo: one photo's work in the map stages
    source = next(world.photos.glob("bear/*.jpg"))
    data = source.read_bytes()
    from PIL import Image, ImageOps

    with Image.open(source) as picture:
        ImageOps.invert(picture.convert("RGB")).save(world.photos / "dog" / "new.png")
    more = world.run()
    for stage in ("collect", "fetch", "hash", "embed"):
        assert more[stage]["computed"] == 1, stage
    assert source.read_bytes() == data


def test_an_unchanged_run_loads_no_model_library(world):
    world.run("--until", "tasks")
    world.label()
    world.run()
    code = (
        "import sys; sys.argv = ['counterset', *sys.argv[1:]]\n"
        "from curation.cli import app\n"
        "app(standalone_mode=False)\n"
        "print('torch' in sys.modules, 'open_clip' in sys.modules)\n"
    )
    arguments = world.arguments("run", "--quiet", "--json")
    told = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert told.splitlines()[-1] == "False False"


def test_one_process_and_two_give_the_same_bytes(world):
    hashes = []
    for jobs in ("1", "2"):
        world.run("--until", "hash", "--jobs", jobs)
        (part,) = (world.work / "tables" / "hash").glob("*/*.parquet")
        hashes.append(part.read_bytes())
        shutil.rmtree(world.work)
    assert hashes[0] == hashes[1]


def test_show_tells_everything_known_of_a_photo(world):
    world.run("--until", "tasks")
    world.label()
    world.run()
    path = sorted(world.photos.glob("bear/*.jpg"))[1]
    photo = hashlib.sha256(path.read_bytes()).hexdigest()
    by_id = world.json("show", photo[:12])
    assert world.json("show", f"bear/{path.name}") == by_id
    assert by_id["photo_id"] == photo
    (candidate,) = by_id["candidates"]
    assert candidate["licence"] == "CC0-1.0"
    assert {event["annotator"] for event in by_id["label_events"]} == {"ann", "bob"}
    assert by_id["labels"][0]["annotators"] == ["ann", "bob"]
    for table in ("proposals", "groups", "predictions", "hashes", "flags"):
        assert by_id[table], table
    assert "CC0-1.0" in world.invoke("show", photo).stdout
    missing = world.invoke("show", "no such photo")
    assert missing.exit_code == 3
    assert "no photo of this work folder" in missing.stderr


def test_a_forgotten_photo_leaves_with_its_copies_and_never_comes_back(world):
    path = sorted(world.photos.glob("bear/*.jpg"))[1]
    from PIL import Image, ImageOps

    with Image.open(path) as picture:
        ImageOps.mirror(picture).save(world.photos / "bear" / "mirror.png")
    world.run("--until", "tasks")
    world.label()
    world.run()
    photo = hashlib.sha256(path.read_bytes()).hexdigest()
    copy = hashlib.sha256((path.parent / "mirror.png").read_bytes()).hexdigest()
    assert any(photo.encode() in data for data in world.release().values())
    dry = world.json("forget", photo, "--dry-run")
    assert set(dry["photos"]) == {photo, copy}
    assert (world.work / "blobs" / photo[:2] / photo).exists()

    world.json("forget", photo, "--reason", "asked by its author")
    assert not (world.work / "blobs" / photo[:2] / photo).exists()
    world.run()
    files = world.release()
    told = files.pop("takedowns.csv").decode().splitlines()
    day = world.log("takedowns")[0]["at"][:10]
    assert told == ["photo_id,date", *(f"{one},{day}" for one in sorted([photo, copy]))]
    for name, data in files.items():
        assert photo.encode() not in data, name
        assert copy.encode() not in data, name
    assert world.json("check") == {"ok": True, "faults": []}
    # the same bytes under another name are not let in either
    shutil.copy(path, path.parent / "again.jpg")
    stages = world.run()
    assert stages["fetch"]["rows"] == 31
    assert not (world.work / "blobs" / photo[:2] / photo).exists()
    # answers given are kept all the same
    log = (world.work / "logs" / "label_events.jsonl").read_text().splitlines()
    assert len(log) == 64


def test_check_finds_what_is_wrong_and_the_next_run_mends_it(world):
    world.run("--until", "tasks")
    world.label()
    world.run()
    before = world.release()
    assert world.json("check") == {"ok": True, "faults": []}

    blob = next((world.work / "blobs").glob("*/*"))
    blob.write_bytes(b"changed")
    part = next((world.work / "tables" / "hash").glob("*/*.parquet"))
    part.write_bytes(part.read_bytes()[:100])
    (world.work / "release" / "LICENSES.csv").write_text("changed")
    faults = world.json("check", code=3)["faults"]
    assert {fault["what"] for fault in faults} >= {
        "photo changed",
        "table part unreadable",
        "release file missing or changed",
    }
    assert all(fault["do"] for fault in faults)
    again = world.run()
    assert again["fetch"]["computed"] == 1
    assert again["hash"]["computed"] == 32
    assert world.release() == before
    assert world.json("check") == {"ok": True, "faults": []}


def test_answers_are_kept_whole_or_not_at_all_and_come_back_out(world):
    world.run("--until", "tasks")
    labels = world.root / "labels.csv"
    bad = world.root / "bad.csv"
    bad.write_text(labels.read_text() + "bear/none.jpg,background,snwo,ann,yesterday\n")
    result = world.invoke("labels", "import", str(bad))
    assert result.exit_code == 3
    for part in ("line 66", "snwo", "snow", "nothing was imported"):
        assert part in result.stderr
    assert not (world.work / "logs" / "label_events.jsonl").exists()
    world.label()
    out = world.root / "out.csv"
    world.json("labels", "export", str(out))
    assert world.json("labels", "import", str(out)) == {
        "answers": 64,
        "imported": 0,
        "known": 64,
    }
    found = world.json("labels", "agreement")
    (question,) = found["questions"]
    assert question["n_photos"] == 32
    assert 0 < question["alpha"] < 1
    assert question["ci"][0] <= question["alpha"] <= question["ci"][1]
    assert [row["annotator"] for row in found["annotators"]] == ["ann", "bob"]


def test_limit_takes_so_many_of_each_class(world):
    stages = world.run("--limit", "3", "--until", "fetch")
    assert stages["fetch"]["rows"] == 6


def test_the_papers_folder_layout(world, tmp_path):
    world.run("--until", "tasks")
    world.label()
    out = tmp_path / "folders"
    world.json("release", "--folders", str(out), "--quiet")
    files = [path for path in out.rglob("*") if path.suffix == ".jpg"]
    assert len(files) == 31
    assert {path.parent.name for path in files} <= {
        f"{group}-{background}"
        for group in ("common", "counter")
        for background in ("snow", "grass")
    }


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["run", "--until", "relase"], 2, "did you mean release"),
        (["run", "--engine", "spark"], 2, "no such engine"),
        (["status"], 3, "no work folder"),
    ],
)
def test_usage_errors(world, words, code, told):
    result = world.invoke(*words)
    assert result.exit_code == code
    assert told in result.stderr


def test_json_is_the_only_thing_on_stdout(world):
    result = world.invoke("run", "--until", "fetch", "--json")
    json.loads(result.stdout)
    assert "fetch: 32 rows" in result.stderr
