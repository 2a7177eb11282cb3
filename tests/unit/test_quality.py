"""Each annotator's measures, on answers small enough to count by hand."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation import quality
from evaluation.intervals import wilson


def event(photo: str, annotator: str, answer: str, **more: Any) -> dict[str, Any]:
    return {
        "event_id": f"{photo}-{annotator}-{more.get('question', 'background')}",
        "photo_id": photo, "question": "background", "answer": answer,
        "annotator": annotator, "proposal": None, "origin": "chosen",
        "lead_time_s": None, "created_at": "2026-01-01T00:00:00+00:00",
        "supersedes": None, "role": None, "edits": None, **more,
    }  # fmt: skip


def measures(events: list[dict[str, Any]], **more: Any) -> dict[str, dict[str, Any]]:
    rows = quality.annotators(events, **more)
    return {row["annotator"]: row for row in rows}


def confirmed(photo: str, annotator: str, answer: str, **more: Any) -> dict[str, Any]:
    return event(photo, annotator, answer, proposal=answer, origin="confirmed", **more)


def test_agreement_with_most_of_the_others() -> None:
    answers = {"p": "xxx", "q": "xxy", "r": "xyz", "s": "x"}
    events = [
        event(photo, who, answer)
        for photo, letters in answers.items()
        for who, answer in zip("abc", letters, strict=False)
    ]
    found = measures(events)

    # on q a's others tie, on r everybody's do, on s there are none
    assert [(found[who]["agreement"], found[who]["n"]) for who in "abc"] == [
        (1.0, 1), (1.0, 1), (0.5, 2),
    ]  # fmt: skip
    assert found["c"]["agreement_ci"] == [float(end) for end in wilson(1, 2)]


def test_gold_counts_every_answer_whose_truth_is_known() -> None:
    gold = {("p", "background"): "x", ("p", "clarity"): "yes", ("q", "background"): "y"}
    found = measures(
        [
            event("p", "ann", "x"),
            event("p", "ann", "no", question="clarity"),
            event("q", "ann", "cannot_tell"),
            event("r", "ann", "x"),
            event("q", "bob", "skipped"),
        ],
        gold=gold,
    )

    assert (found["ann"]["gold"], found["ann"]["gold_n"]) == (pytest.approx(1 / 3), 3)
    assert found["ann"]["gold_ci"] == [float(end) for end in wilson(1, 3)]
    assert (found["bob"]["gold"], found["bob"]["gold_ci"]) == (None, None)


def test_accepting_wrong_proposals() -> None:
    """Wrong by gold, by an adjudicator, or by most others; never by one's own word."""
    gold = {("g", "background"): "ice"}
    events = [
        confirmed("g", "ann", "snow"),  # wrong by gold
        confirmed("j", "ann", "snow"),  # wrong by the judge
        event("j", "judge", "ice", role="adjudicator"),
        confirmed("m", "ann", "snow"),  # wrong by both others
        event("m", "bob", "ice", proposal="snow"),
        event("m", "cleo", "ice"),
        confirmed("r", "ann", "snow"),  # right by both others
        confirmed("r", "bob", "snow"),
        event("r", "cleo", "snow"),
        confirmed("t", "ann", "snow"),  # nobody else said
        confirmed("u", "ann", "snow"),  # the others cannot tell: not wrong
        event("u", "bob", "cannot_tell", proposal="snow"),
        event("w", "ann", "ice", proposal="snow"),  # wrong, and not accepted
        event("w", "bob", "ice", proposal="snow"),
        event("n", "ann", "no", question="clarity", proposal="snow"),  # no background
    ]
    found = measures(events, gold=gold)

    assert (found["ann"]["accepted"], found["ann"]["accepted_n"]) == (6 / 7, 7)
    assert (found["ann"]["wrong_accepted"], found["ann"]["wrong_accepted_n"]) == (
        3 / 4, 4,
    )  # fmt: skip
    # of bob's, m is undecided (ann snow, cleo ice), u's only other accepted it
    assert (found["bob"]["accepted"], found["bob"]["accepted_n"]) == (1 / 4, 4)
    assert (found["bob"]["wrong_accepted"], found["bob"]["wrong_accepted_n"]) == (0, 1)
    assert found["cleo"]["accepted"] is None
    assert found["judge"]["adjudicator"]
    assert found["judge"]["agreement"] is None
    named = measures(events, gold=gold, adjudicators=["cleo"])
    assert named["bob"]["wrong_accepted_n"] == 2, "cleo's word on m settles it now"


def test_an_adjudicator_does_not_prove_herself_right() -> None:
    events = [
        event("p", "judge", "ice", proposal="snow", role="adjudicator"),
        event("q", "judge", "ice", proposal="snow", role="adjudicator"),
        confirmed("q", "ann", "snow"),
    ]
    found = measures(events)

    assert found["judge"]["wrong_accepted_n"] == 0, "ann's answer is the proposal"
    assert (found["ann"]["wrong_accepted"], found["ann"]["wrong_accepted_n"]) == (1, 1)


def test_the_latest_adjudicator_is_right() -> None:
    early, late = (
        event("p", who, answer, role="adjudicator", created_at=at)
        for who, answer, at in (
            ("first", "snow", "2026-01-02T01:00:00+00:00"),
            # later, though its text sorts before
            ("second", "ice", "2026-01-01T23:30:00-05:00"),
        )
    )
    found = measures([confirmed("p", "ann", "snow"), early, late])

    assert found["ann"]["wrong_accepted_n"] == 1


def test_speed_skips_and_edits() -> None:
    events = [
        confirmed("p", "ann", "snow", lead_time_s=1.0),
        confirmed("q", "ann", "snow", lead_time_s=3.0),
        event("r", "ann", "ice", proposal="snow", lead_time_s=9.0),
        event("r", "ann", "yes", question="clarity", lead_time_s=9.0),
        event("s", "ann", "cannot_tell"),
        event("t", "ann", "skipped", lead_time_s=0.5),
        event("v", "ann", "withdrawn"),
        event("p", "bob", "ice", edits="ann"),
        event("p", "bob", "no", question="clarity", edits="ann"),
        event("gone", "carl", "withdrawn"),
    ]
    found = measures(events)
    ann = found["ann"]

    assert (ann["confirmed_s"], ann["confirmed_s_n"]) == (2.0, 2)
    assert (ann["chosen_s"], ann["chosen_s_n"]) == (9.0, 1)
    assert ann["confirmed_s_ci"] is None, "two values bound no median"
    assert (ann["fast"], ann["fast_n"]) == (1 / 3, 3)
    assert (ann["cannot_tell"], ann["cannot_tell_n"]) == (1 / 4, 4)
    assert (ann["skipped"], ann["skipped_n"], ann["n_skipped"]) == (1 / 5, 5, 1)
    assert (ann["edited"], ann["n_answers"]) == (1, 5)
    assert found["bob"]["edited"] == 0
    assert found["bob"]["agreement"] is None, "an editor saw what ann had said"
    assert "carl" not in found, "there is nothing to say of who took all back"


def test_only_standing_answers_count() -> None:
    before = event("p", "ann", "snow", event_id="1")
    after = event(
        "p", "ann", "ice", event_id="2", supersedes="1",
        created_at="2026-01-03T00:00:00Z",
    )  # fmt: skip
    found = measures([before, after], gold={("p", "background"): "ice"})

    assert (found["ann"]["gold"], found["ann"]["n_answers"]) == (1.0, 1)
    assert measures([before, after], exclude=["ann"]) == {}


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60))
def test_median_lies_in_its_interval(values: list[float]) -> None:
    middle, ends = quality.median(values)

    assert middle == pytest.approx(np.median(values))
    if len(values) < 6:
        assert ends is None
    else:
        assert ends is not None
        assert ends[0] <= middle <= ends[1]
        assert {*ends} <= {*values}


def test_median_of_nothing() -> None:
    assert quality.median([]) == (None, None)


@pytest.mark.parametrize("n", [6, 15, 40, 101])
def test_interval_of_the_median_covers_it(n: int) -> None:
    """95 % or more of it, whatever the distribution: here a skewed one."""
    rng = np.random.default_rng(n)
    truth, hits = np.exp(1.0), 0
    for _ in range(1000):
        _, ends = quality.median(rng.lognormal(1.0, 1.0, n).tolist())
        assert ends is not None
        hits += ends[0] <= truth <= ends[1]

    assert hits >= 930
