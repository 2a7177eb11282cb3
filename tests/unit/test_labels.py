"""Answers from files: whole or not at all, and never twice."""

import json
from pathlib import Path
from typing import Any

import pytest

from curation import labels
from curation.config import Dataset
from curation.errors import InputError
from curation.schemas import from_rows

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
PHOTOS = {"a" * 64: "a" * 64, "cats/one.jpg": "a" * 64, "cats/two.jpg": "b" * 64}
GOOD = {
    "photo": "cats/one.jpg", "question": "background", "answer": "snow",
    "annotator": "ann", "time": "2026-03-01T10:30:00+01:00",
}  # fmt: skip


def _read(path: Path) -> list[dict[str, Any]]:
    return labels.read(path, config=CONFIG, resolve_photo=PHOTOS.get)


def _jsonl(path: Path, *rows: dict[str, Any]) -> Path:
    file = path / "labels.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_csv_and_json_lines_give_the_same_events(tmp_path: Path) -> None:
    csv = tmp_path / "labels.csv"
    csv.write_text(
        "\ufeffphoto,question,answer,annotator,time\r\n"
        + ",".join(GOOD.values())
        + "\r\n"
    )

    (event,) = _read(csv)

    assert [event] == _read(_jsonl(tmp_path, GOOD))
    assert event["photo_id"] == "a" * 64
    assert event["created_at"] == "2026-03-01T09:30:00+00:00"
    assert event["origin"] == "chosen"
    assert len(from_rows([event], "label_events")) == 1


def test_path_and_id_name_the_same_answer(tmp_path: Path) -> None:
    by_id = GOOD | {"photo": "a" * 64, "time": "2026-03-01T09:30:00Z"}

    assert len(_read(_jsonl(tmp_path, GOOD, by_id))) == 1


def test_origin_follows_from_the_proposal(tmp_path: Path) -> None:
    rows = [GOOD | {"proposal": name, "lead_time_s": 1.5} for name in ("snow", "grass")]

    events = [_read(_jsonl(tmp_path, row))[0] for row in rows]

    assert [event["origin"] for event in events] == ["confirmed", "chosen"]
    assert [event["lead_time_s"] for event in events] == [1.5, 1.5]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"answer": "sno"},
            ["answer: found 'sno'", "did you mean snow", "cannot_tell"],
        ),
        ({"answer": ""}, ["answer: found ''", "grass"]),
        ({"question": "backgrund"}, ["found 'backgrund'", "did you mean background"]),
        ({"question": "clarity"}, ["found 'snow'", "yes"]),
        ({"photo": "cats/three.jpg"}, ["'cats/three.jpg' is none of the photos"]),
        ({"annotator": " "}, ["annotator: missing"]),
        ({"time": "2026-03-01T10:30:00"}, ["with zone"]),
        ({"time": "yesterday"}, ["found 'yesterday'"]),
        ({"origin": "guessed"}, ["confirmed"]),
        ({"lead_time_s": "-3"}, ["0 or more"]),
        ({"lead_time_s": "nan"}, ["0 or more"]),
        ({"proposal": "sky"}, ["proposal: found 'sky'"]),
    ],
)
def test_a_bad_row_stops_the_whole_file(
    tmp_path: Path, change: dict[str, str], told: list[str]
) -> None:
    file = _jsonl(tmp_path, GOOD, GOOD | {"annotator": "bob"} | change)

    with pytest.raises(InputError) as error:
        _read(file)

    message = str(error.value)
    assert "nothing was imported" in message
    assert "line 2" in message
    assert all(part in message for part in told), message


def test_every_fault_is_told_and_many_are_counted(tmp_path: Path) -> None:
    file = _jsonl(tmp_path, *[{**GOOD, "answer": "x", "time": "y"}] * 30)

    with pytest.raises(InputError) as error:
        _read(file)

    assert "60 faults" in str(error.value)
    assert "and 40 more" in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("l.txt", "", "not .txt"),
        ("l.csv", "", "missing photo"),
        ("l.csv", "photo,question,answr,annotator,time\n", "did you mean answer"),
        ("l.csv", ",".join(GOOD) + "\na,b\n", "line 2: has another number of fields"),
        ("l.csv", ",".join(GOOD) + '\n"a,b\n', "nothing was imported"),
        ("l.jsonl", "{}\n", "missing photo"),
        ("l.jsonl", "[1]\n", "line 1: not a JSON object"),
        ("l.jsonl", "\n{\n", "line 2: not JSON"),
        ("l.csv", "\xff", "UTF-8"),
    ],
)
def test_unreadable_files(tmp_path: Path, name: str, content: str, told: str) -> None:
    file = tmp_path / name
    file.write_bytes(content.encode("latin-1"))

    with pytest.raises(
        InputError, match="nothing was imported|cannot|are .csv|unknown|missing"
    ) as error:
        _read(file)

    assert told in str(error.value)


def test_file_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        _read(tmp_path / "none.csv")


def test_two_answers_at_one_time_contradict(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at the same time"):
        _read(_jsonl(tmp_path, GOOD, GOOD | {"answer": "grass"}))


def test_importing_twice_adds_nothing(tmp_path: Path) -> None:
    later = GOOD | {"answer": "grass", "time": "2026-03-02T00:00:00Z"}
    events = _read(_jsonl(tmp_path, GOOD, later))

    assert labels.unseen(events, events) == []
    assert [event["supersedes"] for event in events] == [None, events[0]["event_id"]]


def test_supersedes_what_the_log_has(tmp_path: Path) -> None:
    log = _read(_jsonl(tmp_path, GOOD))
    later = GOOD | {"answer": "grass", "time": "2026-03-02T00:00:00Z"}
    other = later | {"annotator": "bob"}

    events = labels.unseen(_read(_jsonl(tmp_path, later, other)), log)

    assert [event["supersedes"] for event in events] == [log[0]["event_id"], None]


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl"])
def test_what_is_exported_can_be_imported(tmp_path: Path, name: str) -> None:
    rows = [
        GOOD,
        GOOD | {"photo": "a" * 64, "annotator": 'Zoë, the "2nd"', "proposal": "snow"},
        GOOD | {"question": "clarity", "answer": "yes", "lead_time_s": 2.25},
    ]
    events = _read(_jsonl(tmp_path, *rows))

    assert labels.export(events, tmp_path / name) == 3
    again = _read(tmp_path / name)

    key = "event_id"
    assert sorted(again, key=lambda e: e[key]) == sorted(events, key=lambda e: e[key])


MORE = {
    "role": "adjudicator", "note": 'it says "ice",\nand melts', "edits": "bob",
    "annotation": "c/12",
}  # fmt: skip


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl"])
def test_roles_notes_and_edits_come_back_as_they_were(
    tmp_path: Path, name: str
) -> None:
    events = _read(_jsonl(tmp_path, GOOD | MORE, GOOD | {"annotator": "bob"}))
    assert [{key: event[key] for key in MORE} for event in events] == [
        MORE,
        dict.fromkeys(MORE),
    ]

    labels.export(events, tmp_path / name)

    again = {event["event_id"]: event for event in _read(tmp_path / name)}
    assert again == {event["event_id"]: event for event in events}


@pytest.mark.parametrize("answer", ["skipped", "withdrawn"])
@pytest.mark.parametrize("question", ["background", "clarity"])
def test_no_answer_may_be_told_of_any_question(
    tmp_path: Path, question: str, answer: str
) -> None:
    row = GOOD | {"question": question, "answer": answer}

    (event,) = _read(_jsonl(tmp_path, row))

    assert (event["answer"], event["origin"]) == (answer, "chosen")


def test_no_answer_is_no_proposal(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="proposal: found 'skipped'"):
        _read(_jsonl(tmp_path, GOOD | {"proposal": "skipped"}))


def test_an_unknown_role_stops_the_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="role: found 'judge'; adjudicator or nothing"):
        _read(_jsonl(tmp_path, GOOD | {"role": "judge"}))


def test_a_withdrawal_supersedes_the_answer_it_takes_back(tmp_path: Path) -> None:
    back = GOOD | {"answer": "withdrawn", "time": "2026-03-02T00:00:00Z"}

    said, withdrawn = _read(_jsonl(tmp_path, GOOD, back))

    assert withdrawn["supersedes"] == said["event_id"]


def test_what_one_settles_supersedes_nothing_one_said_before(tmp_path: Path) -> None:
    settled = GOOD | {"role": "adjudicator", "time": "2026-03-02T00:00:00Z"}

    events = _read(_jsonl(tmp_path, GOOD, settled))

    assert [event["supersedes"] for event in events] == [None, None]
