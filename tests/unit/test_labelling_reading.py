"""Reading annotations: the server checks nothing, so all of it is checked here."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.config import Dataset
from curation.labelling import reading
from curation.schemas import CRITERIA, QUESTIONS

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


def _item(name: str, *values: str, **more: Any) -> dict[str, Any]:
    key, kind = ("text", "textarea") if name == "note" else ("choices", "choices")
    item = {"from_name": name, "to_name": "image", "type": kind, "id": "x"}
    return item | {"value": {key: list(values)}} | more


def _annotation(*items: Any, **more: Any) -> dict[str, Any]:
    return {"id": 1, "was_cancelled": False, "result": list(items)} | more


SNOW = _item("background", "snow")


def test_what_is_not_ticked_is_a_no() -> None:
    found = reading.read(_annotation(SNOW), CONFIG)

    assert found.fault == ""
    assert found.answers == {"background": "snow"} | dict.fromkeys(QUESTIONS[1:], "no")
    assert (found.origin, found.note) == (None, None)


def test_everything_at_once() -> None:
    found = reading.read(
        _annotation(
            _item("background", "cannot_tell", origin="manual"),
            _item("quality", "clarity", "label_noise"),
            _item("animal", "wrong_animal"),
            _item("note", "too dark ", "", "a toy"),
        ),
        CONFIG,
    )

    ticked = {name for name, answer in found.answers.items() if answer == "yes"}
    assert ticked == {"clarity", "label_noise", "wrong_animal"}
    assert found.answers["background"] == "cannot_tell"
    assert set(found.answers) == set(QUESTIONS)
    assert found.note == "too dark\na toy"


@pytest.mark.parametrize(
    ("origin", "meaning"),
    [
        ("prediction", "confirmed"),
        ("prediction-changed", "chosen"),
        ("manual", "chosen"),
        (None, None),
    ],
)
def test_origin_is_that_of_the_background(origin: str | None, meaning: str) -> None:
    found = reading.read(
        _annotation(
            _item("background", "snow", origin=origin),
            _item("quality", "clarity", origin="manual"),
        ),
        CONFIG,
    )

    assert found.origin == meaning


def test_a_skip_is_no_confirmation_though_the_proposal_is_left_in_it() -> None:
    left = _item("background", "snow", origin="prediction")

    found = reading.read(_annotation(left, was_cancelled=True), CONFIG)

    assert found == reading.Reading({"background": "skipped"})


def test_a_note_may_be_a_plain_text() -> None:
    note = _item("note") | {"value": {"text": "hello"}}

    assert reading.read(_annotation(SNOW, note), CONFIG).note == "hello"


@pytest.mark.parametrize(
    ("items", "told"),
    [
        ([], "no background was chosen"),
        ([_item("background")], "no background was chosen"),
        ([_item("quality", "clarity")], "no background was chosen"),
        ([_item("background", "snow", "grass")], "2 backgrounds: snow, grass"),
        ([SNOW, _item("background", "grass")], "2 backgrounds: snow, grass"),
        ([_item("background", "lava")], "background: unknown choice 'lava'"),
        ([_item("background", "sno")], "did you mean snow"),
        ([_item("background", "skipped")], "unknown choice 'skipped'"),
        ([SNOW, _item("quality", "wrong_animal")], "quality: unknown choice"),
        ([SNOW, _item("animal", "clarity")], "animal: unknown choice 'clarity'"),
        ([SNOW, _item("mood", "good")], "unknown control 'mood'"),
        ([SNOW, {"type": "relation"}], "unknown control None"),
        ([_item("background", "snow", to_name="text")], "belongs to 'text'"),
        ([_item("background", "snow", type="textarea")], "choices expected"),
        ([SNOW | {"value": {"text": ["snow"]}}], "background: choices expected"),
        ([SNOW | {"value": {"choices": [1]}}], "background: choices expected"),
        ([SNOW | {"value": None}], "background: choices expected"),
        ([SNOW, _item("note", "x", type="choices")], "note: textarea expected"),
        (["snow"], "no list of objects"),
    ],
)
def test_what_cannot_be_read_says_why_and_answers_nothing(
    items: list[Any], told: str
) -> None:
    found = reading.read(_annotation(*items), CONFIG)

    assert told in found.fault
    assert (found.answers, found.origin, found.note) == ({}, None, None)


@pytest.mark.parametrize("result", [None, {}, "snow", 3])
def test_a_result_of_another_form_is_a_fault(result: Any) -> None:
    assert reading.read(_annotation() | {"result": result}, CONFIG).fault


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["from_name", "to_name", "type", "value", "choices", "text", "origin"]
            )
            | st.text(max_size=3),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(_json, st.booleans())
def test_whatever_the_server_holds_is_read_or_explained(
    result: Any, skipped: bool
) -> None:
    annotation = {"result": result, "was_cancelled": skipped}
    before = copy.deepcopy(annotation)

    found = reading.read(annotation, CONFIG)

    assert annotation == before
    assert bool(found.answers) != bool(found.fault)


@given(
    st.sampled_from(["grass", "snow", "cannot_tell"]),
    st.sets(st.sampled_from(CRITERIA)),
    st.booleans(),
)
def test_what_was_ticked_is_what_is_read(
    background: str, defects: set[str], wrong: bool
) -> None:
    items = [_item("background", background)]
    items += [_item("quality", *sorted(defects))] if defects else []
    items += [_item("animal", "wrong_animal")] if wrong else []

    answers = reading.read(_annotation(*items), CONFIG).answers

    assert answers["background"] == background
    assert {q for q in CRITERIA if answers[q] == "yes"} == defects
    assert (answers["wrong_animal"] == "yes") == wrong
