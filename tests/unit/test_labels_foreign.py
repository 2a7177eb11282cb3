"""Answers in files of other tools: their columns, their words, their clocks."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from curation import foreign, labels
from curation.config import Dataset
from curation.errors import ConfigError, InputError

CONFIG = Dataset.model_validate(
    {
        "dataset": {"name": "d"},
        "classes": [{"name": "cat"}],
        "backgrounds": [
            {"name": "grass", "prompts": ["grass"]},
            {"name": "snow", "prompts": ["snow"]},
        ],
        "sources": [{"kind": "folder", "path": "."}],
    }
)
PHOTOS = {name: name[0] * 64 for name in ("a.jpg", "b.jpg", "c.jpg")}


def _read(
    folder: Path, text: str, *, name: str = "labels.csv", **options: Any
) -> list[dict[str, Any]]:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    form = foreign.form(**options)
    return labels.read(file, config=CONFIG, resolve_photo=PHOTOS.get, form=form)


def test_columns_and_words_of_another_tool(tmp_path: Path) -> None:
    text = (
        "id,filename,bg,who,when,annotation,role\n"
        '1,a.jpg,"Field, mown",ann,2026-03-01 10:30:00,anything,worker\n'
        "2,b.jpg,Snow=deep,bob,2026-07-01T10:30:00Z,at all,worker\n"
        "3,c.jpg,snow,bob,2026-07-01T10:31:00Z,,\n"
    )

    events = _read(
        tmp_path,
        text,
        columns=["photo=filename,answer=bg", "annotator=who,time=when"],
        values=['"Field, mown=grass",Snow=deep=snow'],
        constants=["question=background"],
        zone="Europe/Berlin",
    )

    assert [(e["photo_id"][0], e["answer"], e["annotator"]) for e in events] == [
        ("a", "grass", "ann"),
        ("b", "snow", "bob"),
        ("c", "snow", "bob"),
    ]
    assert {e["question"] for e in events} == {"background"}
    assert [e["created_at"] for e in events[:2]] == [
        "2026-03-01T09:30:00+00:00",  # winter in Berlin
        "2026-07-01T10:30:00+00:00",  # said its zone
    ]
    assert {e["role"] for e in events} == {e["annotation"] for e in events} == {None}


def test_one_row_per_photo_and_one_column_per_question(tmp_path: Path) -> None:
    text = "file,bg,blurry,wrong\na.jpg,1,1,0\nb.jpg,2,,0\n\nc.jpg,,,\n"

    events = _read(
        tmp_path,
        text,
        columns=["photo=file,background=bg,clarity=blurry,wrong_animal=wrong"],
        values=["background:1=snow,background:2=grass,1=yes,0=no"],
        constants=["annotator=ann,time=2026-03-01T09:00:00Z"],
    )

    assert [(e["photo_id"][0], e["question"], e["answer"]) for e in events] == [
        ("a", "background", "snow"),
        ("a", "clarity", "yes"),
        ("a", "wrong_animal", "no"),
        ("b", "background", "grass"),
        ("b", "wrong_animal", "no"),
    ]


def test_json_lines_are_mapped_too(tmp_path: Path) -> None:
    row = {"image": "a.jpg", "label": "snow", "extra": [1], "user": 7,
           "time": "2026-03-01T09:00:00Z"}  # fmt: skip

    (event,) = _read(
        tmp_path,
        json.dumps(row),
        name="x.jsonl",
        columns=["photo=image,background=label,annotator=user"],
    )

    assert (event["answer"], event["annotator"]) == ("snow", "7")


def test_reading_twice_gives_the_same_events(tmp_path: Path) -> None:
    text = "file,bg,who,time\na.jpg,Snow,ann,2026-03-01T09:00:00\n"
    options = {
        "columns": ["photo=file,background=bg,annotator=who"],
        "values": ["Snow=snow"],
        "zone": "Asia/Kathmandu",
    }

    once = _read(tmp_path, text, **options)

    assert labels.unseen(_read(tmp_path, text, **options), once) == []


def test_faults_name_lines_and_nothing_is_read(tmp_path: Path) -> None:
    text = (
        "file,bg,who,when\n"
        "a.jpg,Snow,ann,2026-03-01T09:00:00\n"
        "z.jpg,Sno,ann,01.03.2026\n"
    )

    with pytest.raises(InputError) as caught:
        _read(
            tmp_path,
            text,
            columns=["photo=file,background=bg,annotator=who,time=when"],
            values=["Snow=snow"],
        )

    told = str(caught.value)
    assert "nothing was imported" in told
    assert "line 2: time: found '2026-03-01T09:00:00'" in told
    assert "--zone" in told
    assert "line 3: photo: 'z.jpg'" in told
    assert "line 3: answer: found 'Sno'" in told
    assert "line 3: time: found '01.03.2026'" in told


def test_a_mapped_column_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing bgg; .* there are file, bg, who"):
        _read(
            tmp_path,
            "file,bg,who,time\n",
            columns=["photo=file,background=bgg,annotator=who"],
        )


def test_without_a_mapping_unknown_columns_are_still_faults(tmp_path: Path) -> None:
    text = "photo,question,answer,annotator,time,extra\n"

    with pytest.raises(InputError, match="unknown column 'extra'"):
        _read(tmp_path, text, values=["Snow=snow"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"columns": ["foto=file"]}, "did you mean photo"),
        ({"columns": ["photo"]}, "NAME=OTHER is needed"),
        ({"columns": ["photo=a,photo=b"]}, "given twice"),
        ({"columns": ["photo=a"], "constants": ["photo=b"]}, "one is enough"),
        ({"columns": ["background=a,answer=b"]}, "one is enough"),
        ({"columns": ["background=a"], "constants": ["question=x"]}, "one is enough"),
        ({"constants": ["qestion=x"]}, "did you mean question"),
        ({"values": ["Snow"]}, "NAME=OTHER is needed"),
        ({"zone": "Europe/Berlim"}, "no time zone"),
        ({"zone": "../../etc/passwd"}, "no time zone"),
    ],
)
def test_what_was_typed_wrongly_is_said(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        foreign.form(**options)


def _exported(*annotations: dict[str, Any]) -> str:
    data = {"key": "a.jpg", "image": "x", "proposed_background": "snow"}
    return json.dumps([{"id": 5, "data": data, "annotations": list(annotations)}])


def _annotation(choice: str, **more: Any) -> dict[str, Any]:
    result = {
        "value": {"choices": [choice]}, "from_name": "background",
        "to_name": "image", "type": "choices", "origin": "prediction",
    }  # fmt: skip
    return {
        "id": 9, "completed_by": 4, "was_cancelled": False, "lead_time": 7.5,
        "created_at": "2026-11-22T08:42:00Z", "result": [result],
        "updated_at": "2026-11-22T08:43:00.000000Z",
    } | more  # fmt: skip


def test_label_studios_own_export(tmp_path: Path) -> None:
    skip = _annotation("snow", id=10, completed_by={"id": 8}, was_cancelled=True)

    events = _read(tmp_path, _exported(_annotation("snow"), skip), name="x.json")

    assert len(events) == 7
    first, last = events[0], events[-1]
    assert (first["question"], first["answer"]) == ("background", "snow")
    assert (first["annotator"], first["origin"]) == ("user 4", "confirmed")
    assert (first["proposal"], first["lead_time_s"]) == ("snow", 7.5)
    assert first["created_at"] == "2026-11-22T08:43:00+00:00"
    assert {e["answer"] for e in events[1:6]} == {"no"}
    # the page leaves the proposal in a skip: it is no answer
    assert (last["annotator"], last["answer"]) == ("user 8", "skipped")


def test_an_export_that_cannot_be_read_says_where(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="task 5, annotation 9: .*'lava'"):
        _read(tmp_path, _exported(_annotation("lava")), name="x.json")
    with pytest.raises(InputError, match="JSON_MIN leaves out"):
        _read(tmp_path, '[{"image": "x", "background": "snow"}]', name="x.json")
    with pytest.raises(InputError, match="cannot be read as JSON"):
        _read(tmp_path, "{", name="x.json")
    with pytest.raises(ConfigError, match="takes no columns"):
        _read(tmp_path, "[]", name="x.json", zone="UTC")


def test_the_command_takes_another_tools_file(world, tmp_path: Path) -> None:
    world.run("--until", "fetch")
    photo = sorted(world.photos.glob("bear/*.jpg"))[0]
    file = tmp_path / "theirs.csv"
    file.write_text(f"image,bg,blurry,who\nbear/{photo.name},White,0,7\n")
    words = [
        "labels", "import", str(file), "--columns", "photo=image,background=bg",
        "--columns", "clarity=blurry,annotator=who", "--values", "White=snow,0=no",
        "--set", "time=2026-03-01T09:00:00", "--zone", "Asia/Tokyo",
    ]  # fmt: skip

    assert world.json(*words) == {"answers": 2, "imported": 2, "known": 0}
    assert world.json(*words) == {"answers": 2, "imported": 0, "known": 2}
    wrong = world.invoke(*words, "--columns", "foto=image")
    assert wrong.exit_code == 2
    assert "did you mean photo" in wrong.stderr
    photo_id = hashlib.sha256(photo.read_bytes()).hexdigest()
    events = world.json("show", photo_id)["label_events"]
    assert {(e["question"], e["answer"], e["annotator"]) for e in events} == {
        ("background", "snow", "7"),
        ("clarity", "no", "7"),
    }
    assert {e["created_at"] for e in events} == {"2026-03-01T00:00:00+00:00"}
