"""Alpha and kappa: their definitions, other libraries' numbers, and their laws."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import cohen_kappa_score

from curation import agreement, answers
from curation.schemas import QUESTIONS
from evaluation.intervals import wilson

COUNTS = arrays.arrays(
    np.int64,
    st.tuples(st.integers(1, 15), st.integers(2, 4)),
    elements=st.integers(0, 3),
)


def _definition(counts: np.ndarray) -> float:
    """1 - observed / expected, by walking over all pairs of answers."""
    units = [np.repeat(np.arange(len(row)), row).tolist() for row in counts]
    units = [unit for unit in units if len(unit) > 1]
    values = [value for unit in units for value in unit]
    n = len(values)
    observed = sum(
        sum(a != b for i, a in enumerate(unit) for j, b in enumerate(unit) if i != j)
        / (len(unit) - 1)
        for unit in units
    )
    expected = sum(a != b for a in values for b in values) / (n - 1)
    return 1 - observed / expected


@given(COUNTS)
def test_alpha_follows_its_definition(counts: np.ndarray) -> None:
    paired = counts[counts.sum(axis=1) > 1]
    assume((paired.sum(axis=0) > 0).sum() > 1)

    assert agreement.alpha(counts) == pytest.approx(_definition(counts))


@given(COUNTS)
def test_perfect_agreement_is_one(counts: np.ndarray) -> None:
    perfect = np.where(
        np.arange(counts.shape[1]) == counts.argmax(axis=1)[:, None], 2, 0
    )
    value = agreement.alpha(perfect)

    if len(set(counts.argmax(axis=1))) > 1:
        assert value == 1
    else:
        assert math.isnan(value), "one word throughout says nothing"


@given(COUNTS, st.randoms(use_true_random=False))
def test_names_and_order_do_not_matter(counts: np.ndarray, rng: Any) -> None:
    columns = rng.sample(range(counts.shape[1]), counts.shape[1])
    rows = rng.sample(range(len(counts)), len(counts))

    assert agreement.alpha(counts[rows][:, columns]) == pytest.approx(
        agreement.alpha(counts), nan_ok=True
    )


def test_single_answers_do_not_count() -> None:
    counts = np.array([[2, 0], [0, 2], [1, 1]])
    alone = np.array([[1, 0], [0, 0]])

    assert agreement.alpha(np.concatenate([counts, alone])) == agreement.alpha(counts)


def test_interval_covers_and_is_seeded() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 300)
    answers = np.where(
        rng.random((300, 3)) < 0.8, truth[:, None], rng.integers(0, 3, (300, 3))
    )
    counts = np.stack([(answers == value).sum(axis=1) for value in range(3)], axis=1)

    found = agreement.interval(counts)

    assert found.low < found.alpha < found.high
    assert 0.05 < found.high - found.low < 0.2
    assert found == agreement.interval(counts)
    assert found.n_photos == 300
    assert agreement.interval(counts[:0]).n_photos == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1))
def test_kappa_is_scikit_learn_s(pairs: list[tuple[str, str]]) -> None:
    first, second = [list(side) for side in zip(*pairs, strict=True)]
    assume(len({*first, *second}) > 1)

    found = agreement.kappa(first, second)

    assert found.kappa == pytest.approx(cohen_kappa_score(first, second))
    if math.isfinite(found.low):
        assert -1 <= found.low <= found.kappa <= found.high <= 1
    else:
        constant = 1 in (len(set(first)), len(set(second)))
        never = not any(a == b for a, b in pairs)
        assert constant or never or len(pairs) < agreement.FEWEST


def test_kappa_s_error_is_that_of_many_repetitions() -> None:
    """Redrawn photos scatter as the formula says."""
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 3, 400)
    first, second = (
        np.where(rng.random(400) < right, truth, rng.integers(0, 3, 400))
        for right in (0.85, 0.7)
    )
    found = agreement.kappa(list(map(str, first)), list(map(str, second)))

    drawn = [rng.integers(0, 400, 400) for _ in range(400)]
    values = [cohen_kappa_score(first[rows], second[rows]) for rows in drawn]

    assert found.error == pytest.approx(np.std(values), rel=0.15)
    assert found.high - found.low == pytest.approx(3.919928 * found.error)


def test_no_disagreement_seen_is_not_certainty() -> None:
    """Resampling cannot show what did not occur: Wilson's bound does."""
    few = agreement.interval(np.array([[2, 0], [0, 2]] * 4))
    many = agreement.interval(np.array([[2, 0], [0, 2]] * 400))
    words = ["a", "b"] * 4
    pair = agreement.kappa(words, words)

    assert (few.alpha, few.high) == (1, 1)
    assert few.low < 0.5 < 0.98 < many.low < 1
    assert (pair.kappa, pair.high) == (1, 1)
    assert pair.low == pytest.approx(1 - 2 * float(wilson(0, 8)[1]))
    assert pair.error == 0


def test_no_interval_where_there_is_nothing_to_draw_from() -> None:
    def found(rows: list[list[int]]) -> agreement.Alpha:
        return agreement.interval(np.array(rows))

    few, alike = found([[2, 0], [1, 1]]), found([[1, 1]] * 50)
    rare = found([[3, 0]] * 500 + [[2, 1]])

    for one in (few, alike, rare):
        assert math.isfinite(one.alpha)
        assert math.isnan(one.low)
        assert math.isnan(one.high)
    assert math.isnan(few.same_low)
    assert rare.same_low < rare.same < 1, "that they agree is known all the same"


def test_kappa_that_is_undefined() -> None:
    assert math.isnan(agreement.kappa([], []).kappa)
    assert math.isnan(agreement.kappa(["a"] * 3, ["a"] * 3).kappa)
    constant = agreement.kappa(["a", "a", "a"], ["a", "b", "a"])
    assert constant.kappa == pytest.approx(0)
    assert math.isnan(constant.low)
    assert math.isnan(constant.high)


def test_interval_is_the_bootstrap_of_photos() -> None:
    """Drawing photos that were answered alike together changes nothing."""
    rng = np.random.default_rng(2)
    counts = rng.multinomial(3, [0.7, 0.2, 0.1], size=60)
    counts[:20] = [[0, 3, 0]] * 20
    found = agreement.interval(counts)

    picked = rng.integers(0, 60, (3000, 60))
    values = [agreement.alpha(counts[rows]) for rows in picked]
    ends = np.quantile(values, [0.025, 0.975])

    assert (found.low, found.high) == pytest.approx(ends, abs=0.02)
    assert found.same == pytest.approx(
        np.mean([(row * (row - 1)).sum() / 6 for row in counts])
    )


def _event(photo: str, annotator: str, answer: str, **more: Any) -> dict[str, Any]:
    return {
        "event_id": photo + annotator, "photo_id": photo, "question": "background",
        "answer": answer, "annotator": annotator, "supersedes": None,
        "created_at": "2026-01-01T00:00:00+00:00", **more,
    }  # fmt: skip


def test_summary() -> None:
    answers = {"p": "xxx", "q": "xxy", "r": "yyy", "s": "yyx", "t": "x"}
    events = [
        _event(photo, who, answer)
        for photo, given_ in answers.items()
        for who, answer in zip("abc", given_, strict=False)
    ]
    classes = {"p": "cat", "q": "cat", "r": "dog", "s": "dog", "t": "dog"}

    found = agreement.summary(events, classes=classes)

    (question,) = found["questions"]
    assert question["alpha"] == pytest.approx(
        _definition(np.array([[3, 0], [2, 1], [0, 3], [1, 2]]))
    )
    assert question["ci"] is None, "four photos bound nothing"
    assert (question["n_photos"], question["n_annotators"]) == (4, 3)
    assert [
        (row["annotator"], row["agreement"], row["n"], row["n_answers"])
        for row in found["annotators"]
    ] == [
        # on q and s the two others of a, and of b, disagree: nothing to compare with
        ("a", 1.0, 2, 5),
        ("b", 1.0, 2, 4),
        ("c", 0.5, 4, 4),
    ]
    assert [row["class"] for row in found["classes"]] == ["cat", "dog"]
    assert [row["background"] for row in found["backgrounds"]] == ["x", "y"]
    assert {(row["a"], row["b"]): row["n"] for row in found["pairs"]} == {
        ("a", "b"): 4, ("a", "c"): 4, ("b", "c"): 4,
    }  # fmt: skip
    assert found["pairs"][0]["kappa"] == 1.0
    assert found["pairs"][0]["ci"][0] < 1.0, "four photos are not proof"
    assert {row["class"] for row in found["class_pairs"]} == {"cat", "dog"}
    assert {row["background"] for row in found["background_pairs"]} == {"x", "y"}


def test_only_independent_answers_count() -> None:
    """Adjudicators, by role or name, and editors knew what others had said."""
    events = [
        _event(photo, who, answer)
        for photo, given_ in {"p": "xx", "q": "xy", "r": "yy"}.items()
        for who, answer in zip("ab", given_, strict=True)
    ]
    told = [
        _event("q", "judge", "x", role="adjudicator"),
        _event("p", "named", "y"),
        _event("r", "editor", "x", edits="a"),
        # a's own answer to q stands for agreement, whatever a later settled
        _event("q", "a", "y", role="adjudicator")
        | {"event_id": "later"}
        | {"created_at": "2026-02-01T00:00:00Z", "supersedes": "qa"},
    ]
    alone = agreement.summary(events, classes={})
    found = agreement.summary([*events, *told], classes={}, adjudicators=["named"])

    for key in ("questions", "pairs", "backgrounds"):
        assert found[key] == alone[key], key
    assert {row["annotator"] for row in found["annotators"] if row["adjudicator"]} == {
        "a", "judge", "named",
    }  # fmt: skip
    text = answers.agreement_text(found)
    assert "settles what others dispute: a, judge, named" in text
    assert "settles" not in answers.agreement_text(alone)


def test_skips_are_missing_and_cannot_tell_is_an_answer() -> None:
    answers = {"p": "xx", "q": "yy", "r": "xu", "s": "xs", "t": "uu"}
    words = {"x": "x", "y": "y", "u": "cannot_tell", "s": "skipped"}
    events = [
        _event(photo, who, words[letter])
        for photo, letters in answers.items()
        for who, letter in zip("ab", letters, strict=True)
    ]
    (question,) = agreement.summary(events, classes={})["questions"]

    assert question["n_photos"] == 4, "s has one answer"
    assert question["alpha"] == pytest.approx(
        _definition(np.array([[2, 0, 0], [0, 2, 0], [1, 0, 1], [0, 0, 2]]))
    )
    assert question["same"] == pytest.approx(3 / 4)
    assert (question["decided"]["n_photos"], question["decided"]["alpha"]) == (2, 1)


def test_who_is_excluded_is_in_nothing() -> None:
    events = [
        _event(photo, who, answer)
        for photo, given_ in {"p": "xxy", "q": "yyx"}.items()
        for who, answer in zip("abc", given_, strict=True)
    ]
    two = [event for event in events if event["annotator"] != "c"]
    found = agreement.summary(events, classes={}, exclude=["c", "stranger"])

    assert found.pop("excluded") == ["c"]
    alone = agreement.summary(two, classes={})
    assert alone.pop("excluded") == []
    assert found == alone


def test_summary_of_nothing() -> None:
    found = agreement.summary([], classes={})

    assert found["questions"] == []
    assert found["annotators"] == []


def test_the_widest_text_fits_100_columns() -> None:
    """Long names, every question, negative numbers, proposals, gold, edits."""
    rng = np.random.default_rng(0)
    people = [f"an annotator of a long name {who}" for who in "abcdefghijklm"]
    events = [
        _event(
            f"photo {photo}", who, str(rng.choice(answers)), question=question,
            event_id=f"{photo}{who}{question}", proposal="snow", origin="confirmed",
            lead_time_s=float(rng.lognormal(7, 2)), edits=who if photo > 37 else None,
        )
        for photo in range(40)
        for who in people
        for question in QUESTIONS
        for answers in [["snow", "ice"] if question == "background" else ["yes", "no"]]
    ]  # fmt: skip
    classes = {f"photo {photo}": "a class of a rather long name" for photo in range(40)}
    gold = {(f"photo {photo}", "background"): "ice" for photo in range(20)}
    found = agreement.summary(events, classes=classes, gold=gold, exclude=people[12:])
    text = answers.agreement_text(found | {"to_adjudicate": 1})
    lines = text.splitlines()

    assert max(map(len, lines)) <= 100, max(lines, key=len)
    assert "… and" in text, "a list is cut, and says so"
    assert "1 photo waits for an adjudicator" in text
    assert f"left out (resolve.exclude): {people[12]}" in text
    for head in ("gold right", "edited", "if wrong", "confirmed, s", "under 2 s"):
        assert head in text
    assert not any("nan" in line for line in lines)
