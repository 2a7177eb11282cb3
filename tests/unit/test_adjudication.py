"""Which photos an adjudicator gets, in which order, and what they are told."""

import random
from typing import Any

import pytest

from curation.labelling.adjudication import Open, open_questions
from curation.stages.resolve import Settings

SETTINGS = Settings(min_answers=1, adjudicators=(), exclude=())


def events(said: dict[str, str], **more: Any) -> list[dict[str, Any]]:
    """Events of annotators a, b, c, … from "snow ice -" per photo, "-" for none."""
    question = more.pop("question", "background")
    return [
        {
            "event_id": f"{photo}{who}{question}", "photo_id": photo,
            "question": question, "answer": answer, "annotator": who,
            "created_at": "2026-01-01T00:00:00Z", "supersedes": None, "role": None,
            "edits": None, **more,
        }
        for photo, answers in said.items()
        for who, answer in zip("abcdefghijk", answers.split(), strict=False)
        if answer != "-"
    ]  # fmt: skip


def asked(rows: list[dict[str, Any]], **more: Any) -> dict[str, Open]:
    settings = more.pop("settings", SETTINGS)
    found = open_questions(rows, settings=settings, wanted=more.pop("wanted", 2))
    return {photo.photo_id: photo for photo in found}


def test_order_and_words() -> None:
    rows = events(
        {
            "all agree": "snow snow snow",
            "tie": "snow ice",
            "three ways": "snow ice sand",
            "narrow": "snow snow ice",
            "clear": "snow snow snow snow snow snow snow snow snow ice",
            "untold": "cannot_tell cannot_tell",
            "skipped": "skipped skipped",
            "criterion": "snow snow",
            "both": "snow ice skipped",
        }
    ) + events({"criterion": "yes no", "both": "yes no"}, question="label_noise")
    found = asked(rows)

    assert list(found) == [
        "three ways", "both", "tie", "narrow", "skipped", "untold", "criterion",
    ]  # fmt: skip
    assert {photo: (one.said, one.why) for photo, one in found.items()} == {
        "three ways": ("ice 1, sand 1, snow 1", "background: no majority"),
        "both": (
            "ice 1, snow 1, skipped 1; label_noise: no 1, yes 1",
            "background: no majority; label noise: no majority",
        ),
        "tie": ("ice 1, snow 1", "background: no majority"),
        "narrow": ("snow 2, ice 1", "background: only 2 of 3 say snow"),
        "untold": ("cannot_tell 2", "background: 2 of 2 cannot tell"),
        "skipped": ("skipped 2", "skipped by all 2 asked"),
        "criterion": ("snow 2; label_noise: no 1, yes 1", "label noise: no majority"),
    }
    assert found["both"].questions == ("background", "label_noise")
    assert found["criterion"].questions == ("label_noise",)


def test_neither_names_nor_the_order_of_events_show() -> None:
    rows = events({"p": "snow ice", "q": "ice snow", "r": "sand snow sand"})
    expected = open_questions(rows, settings=SETTINGS, wanted=2)
    for seed in range(5):
        random.Random(seed).shuffle(rows)
        assert open_questions(rows, settings=SETTINGS, wanted=2) == expected
    assert expected[0].said == expected[1].said.replace(
        "snow 1, ice 1", "ice 1, snow 1"
    )


@pytest.mark.parametrize(
    ("said", "wanted", "waits"),
    [
        ("snow", 2, True),
        ("cannot_tell", 2, True),  # another may still tell
        ("skipped", 2, True),
        ("snow ice", 3, True),
        ("snow ice skipped", 3, False),
        ("skipped skipped", 3, True),
        ("skipped skipped skipped", 3, False),
    ],
)
def test_annotators_are_asked_first(said: str, wanted: int, waits: bool) -> None:
    others = events({"other": "snow snow snow"})
    assert ("p" not in asked(others + events({"p": said}), wanted=wanted)) == waits


def test_a_small_team_is_everybody() -> None:
    """Three answers are wanted, and there are only two people."""
    assert list(asked(events({"p": "snow ice", "q": "skipped skipped"}), wanted=3)) == [
        "p", "q",
    ]  # fmt: skip


def test_what_was_settled_is_not_asked_again() -> None:
    rows = events({"p": "snow ice", "q": "snow ice", "r": "snow ice"})
    rows += events({"p": "yes no"}, question="clarity")
    verdict = {"created_at": "2026-01-02T00:00:00Z", "role": "adjudicator"}
    judge = [
        event | {"annotator": "judge", "event_id": f"judge {event['event_id']}"}
        for event in events({"p": "ice", "q": "skipped"}, **verdict)
    ]
    named = [event | {"annotator": "boss"} for event in events({"r": "snow"})]
    settings = Settings(min_answers=1, adjudicators=("boss",), exclude=())
    found = asked(rows + judge + named, settings=settings)

    assert list(found) == ["q", "p"], "a skip settles nothing"
    assert found["p"].questions == ("clarity",)
    assert found["q"].said == "ice 1, snow 1", "the judge's skip is none of it"
    # taken back: open again
    gone = judge[0] | {
        "event_id": "back", "answer": "withdrawn", "supersedes": judge[0]["event_id"],
        "created_at": "2026-01-03T00:00:00Z",
    }  # fmt: skip
    assert asked([*rows, *judge, gone])["p"].questions == ("background", "clarity")


def test_who_adjudicates_keeps_their_own_answer() -> None:
    rows = events({"p": "snow ice"})
    skip = rows[0] | {
        "event_id": "s", "answer": "skipped", "role": "adjudicator",
        "created_at": "2026-01-02T00:00:00Z", "supersedes": rows[0]["event_id"],
    }  # fmt: skip

    assert asked([*rows, skip])["p"].said == "ice 1, snow 1"


def test_excluded_and_withdrawn_do_not_count() -> None:
    rows = events({"p": "snow snow ice", "q": "snow ice -"})
    rows += events({"r": "- withdrawn withdrawn"})
    settings = Settings(min_answers=1, adjudicators=(), exclude=("c",))

    assert list(asked(rows)) == ["q", "p"]
    assert list(asked(rows, settings=settings)) == ["q"]


def test_enough_answers_are_needed_for_a_verdict() -> None:
    settings = Settings(min_answers=3, adjudicators=(), exclude=())
    rows = events({"p": "snow ice -", "q": "snow ice sand"})

    assert list(asked(rows, settings=settings)) == ["q"]
    assert asked([]) == {}
