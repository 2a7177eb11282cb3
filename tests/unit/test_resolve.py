"""Verdicts: majority, ties, adjudication, and what must not matter."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.schemas import from_rows
from curation.stages import resolve

PLAIN = resolve.Settings(min_answers=1, adjudicators=(), exclude=())


def _event(
    annotator: str, answer: str, minute: int = 0, **more: object
) -> dict[str, Any]:
    photo, question = more.pop("photo", "p"), more.pop("question", "background")
    return {
        "event_id": f"{photo}{question}{annotator}{minute}{answer}",
        "photo_id": photo, "question": question, "answer": answer,
        "annotator": annotator, "origin": "chosen",
        "created_at": f"2026-01-01T00:{minute:02}:00+00:00", **more,
    }  # fmt: skip


def _labels(
    events: list[dict[str, Any]], settings: resolve.Settings = PLAIN
) -> list[dict[str, Any]]:
    table = from_rows(events, "label_events")
    return resolve.run({"label_events": table}, settings).to_pylist()


def test_majority() -> None:
    (label,) = _labels([_event("a", "x"), _event("b", "x"), _event("c", "y")])

    assert label == {
        "photo_id": "p", "question": "background", "verdict": "x",
        "status": "resolved", "agreement": pytest.approx(2 / 3), "n_answers": 3,
        "annotators": ["a", "b", "c"],
    }  # fmt: skip


def test_tie_stays_open() -> None:
    (label,) = _labels([_event("a", "x"), _event("b", "y")])

    assert (label["verdict"], label["status"]) == (None, "tie")
    assert label["agreement"] == 0.5


def test_too_few() -> None:
    settings = resolve.Settings(min_answers=2, adjudicators=(), exclude=())

    (label,) = _labels([_event("a", "x")], settings)

    assert (label["verdict"], label["status"]) == (None, "too_few")


def test_adjudicator_settles_even_against_the_majority() -> None:
    settings = resolve.Settings(min_answers=9, adjudicators=("judge",), exclude=())
    events = [_event("a", "x"), _event("b", "x"), _event("judge", "y")]

    (label,) = _labels(events, settings)

    assert (label["verdict"], label["status"]) == ("y", "adjudicated")
    assert label["agreement"] == pytest.approx(1 / 3)


def test_latest_of_two_adjudicators() -> None:
    settings = resolve.Settings(min_answers=1, adjudicators=("j", "k"), exclude=())

    (label,) = _labels([_event("j", "x", 5), _event("k", "y", 4)], settings)

    assert label["verdict"] == "x"


def test_excluded_do_not_count() -> None:
    settings = resolve.Settings(min_answers=1, adjudicators=(), exclude=("b", "c"))
    events = [_event("a", "x"), _event("b", "y"), _event("c", "y")]

    (label,) = _labels(events, settings)

    assert (label["verdict"], label["annotators"]) == ("x", ["a"])


def test_later_answer_counts_across_time_zones() -> None:
    early = _event("a", "x") | {"created_at": "2026-01-01T10:00:00+05:00"}
    late = _event("a", "y") | {"created_at": "2026-01-01T06:00:00Z"}

    (label,) = _labels([late, early])

    assert label["verdict"] == "y"


def test_superseded_is_out_even_with_a_later_clock() -> None:
    wrong = _event("a", "x", 30)
    right = _event("a", "y", 10, supersedes=wrong["event_id"])

    (label,) = _labels([wrong, right])

    assert label["verdict"] == "y"


def test_every_question_is_resolved() -> None:
    questions = ("background", "label_noise", "feature_noise", "ambiguity", "clarity")

    labels = _labels([_event("a", "yes", question=name) for name in questions])

    assert sorted(label["question"] for label in labels) == sorted(questions)


@pytest.mark.parametrize("answer", ["skipped", "withdrawn"])
def test_who_skips_or_takes_back_has_no_answer(answer: str) -> None:
    events = [_event("a", "x"), _event("b", "y"), _event("b", answer, 5)]

    (label,) = _labels(events)

    assert (label["verdict"], label["annotators"]) == ("x", ["a"])
    assert (label["n_answers"], label["agreement"]) == (1, 1.0)


def test_a_question_that_everybody_skipped_has_no_label() -> None:
    assert _labels([_event("a", "skipped"), _event("b", "withdrawn")]) == []


def test_who_answers_after_a_skip_has_an_answer() -> None:
    (label,) = _labels([_event("a", "skipped"), _event("a", "x", 5)])

    assert label["verdict"] == "x"


def test_a_role_settles_whoever_has_it() -> None:
    events = [_event("a", "x"), _event("b", "x"), _event("c", "y", role="adjudicator")]

    (label,) = _labels(events)

    assert (label["verdict"], label["status"]) == ("y", "adjudicated")


def test_an_adjudication_that_is_withdrawn_settles_nothing() -> None:
    events = [
        _event("a", "x"),
        _event("b", "y"),
        _event("c", "y", role="adjudicator"),
        _event("c", "withdrawn", 5, role="adjudicator"),
    ]

    (label,) = _labels(events)

    assert (label["status"], label["annotators"]) == ("tie", ["a", "b"])


def test_an_excluded_adjudicator_settles_nothing() -> None:
    settings = resolve.Settings(min_answers=1, adjudicators=("c",), exclude=("c",))
    events = [_event("a", "x"), _event("c", "y", role="adjudicator")]

    (label,) = _labels(events, settings)

    assert (label["verdict"], label["status"]) == ("x", "resolved")


EVENTS = st.lists(
    st.builds(
        _event,
        st.sampled_from("abcj"),
        st.sampled_from(["x", "y", "z", "skipped", "withdrawn"]),
        st.integers(0, 59),
        photo=st.sampled_from("pq"),
        role=st.sampled_from([None, None, "adjudicator"]),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda event: event["event_id"],
)
SETTINGS = st.builds(
    resolve.Settings,
    min_answers=st.integers(1, 3),
    adjudicators=st.sampled_from([(), ("j",)]),
    exclude=st.sampled_from([(), ("a",)]),
)


@given(EVENTS, SETTINGS, st.randoms(use_true_random=False))
def test_order_does_not_matter(events, settings, rng) -> None:
    before = _labels(events, settings)
    rng.shuffle(events)

    assert _labels(events, settings) == before


@given(EVENTS, SETTINGS, st.data())
def test_a_superseded_event_changes_nothing(events, settings, data) -> None:
    newest = data.draw(st.sampled_from(resolve.standing(events)))
    older = dict(newest) | {
        "event_id": "older",
        "answer": data.draw(st.sampled_from("xyz")),
        "created_at": "2020-01-01T00:00:00+00:00",
    }

    assert _labels([*events, older], settings) == _labels(events, settings)


@given(EVENTS, SETTINGS)
def test_verdicts_are_answers_someone_gave(events, settings) -> None:
    for label in _labels(events, settings):
        given_ = {e["answer"] for e in events if e["photo_id"] == label["photo_id"]}

        assert 0 < label["agreement"] <= 1
        assert (label["verdict"] is None) == (label["status"] in ("tie", "too_few"))
        assert label["verdict"] is None or label["verdict"] in given_


def test_an_adjudicator_who_skips_keeps_what_they_said_as_an_annotator():
    from curation import labels

    told = [
        ("snow", None, "2026-03-01T09:00:00+00:00"),
        ("skipped", "adjudicator", "2026-03-02T09:00:00+00:00"),
    ]
    events = [
        {
            "event_id": str(place), "photo_id": "p", "question": "background",
            "answer": answer, "annotator": "ann", "created_at": when, "role": role,
        }
        for place, (answer, role, when) in enumerate(told)
    ]  # fmt: skip
    found = resolve.latest(labels.unseen(events, []))
    assert [event["answer"] for event in found] == ["snow"]
    settled = events[1] | {"answer": "ice"}
    found = resolve.latest(labels.unseen([events[0], settled], []))
    assert [(event["answer"], event["role"]) for event in found] == [
        ("ice", "adjudicator")
    ]
