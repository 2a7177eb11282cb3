"""Alpha and kappa against published worked examples, and their laws."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import cohen_kappa_score

from curation import agreement

# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", sections A to C:
# one row per observer, one column per unit, "." for a missing value
PUBLISHED = {
    "two observers, two values": (["0100000010", "1110010000"], 0.095),
    "two observers, five values": (["aabbdcccedda", "babbbccceddd"], 0.692),
    "four observers, missing values": (
        ["123321412...", "1233224125.3", ".3332342251.", "12332441251."],
        0.743,
    ),
}


def _counts(observers: list[str]) -> np.ndarray:
    values = sorted(set("".join(observers)) - {"."})
    units = list(zip(*observers, strict=True))
    return np.array([[unit.count(value) for value in values] for unit in units])


@pytest.mark.parametrize(("observers", "expected"), PUBLISHED.values(), ids=PUBLISHED)
def test_published_examples(observers: list[str], expected: float) -> None:
    assert agreement.alpha(_counts(observers)) == pytest.approx(expected, abs=5e-4)


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

    assert agreement.kappa(first, second) == pytest.approx(
        cohen_kappa_score(first, second)
    )


def _event(photo: str, annotator: str, answer: str) -> dict[str, Any]:
    return {
        "event_id": photo + annotator, "photo_id": photo, "question": "background",
        "answer": answer, "annotator": annotator, "supersedes": None,
        "created_at": "2026-01-01T00:00:00+00:00",
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
    assert question["ci"][0] <= question["alpha"] <= question["ci"][1]
    assert (question["n_photos"], question["n_annotators"]) == (4, 3)
    assert found["annotators"] == [
        # on q and s the two others of a, and of b, disagree: nothing to compare with
        {"annotator": "a", "agreement": 1.0, "n": 2, "n_answers": 5},
        {"annotator": "b", "agreement": 1.0, "n": 2, "n_answers": 4},
        {"annotator": "c", "agreement": 0.5, "n": 4, "n_answers": 4},
    ]
    assert [row["class"] for row in found["classes"]] == ["cat", "dog"]
    assert [row["background"] for row in found["backgrounds"]] == ["x", "y"]
    assert {(row["a"], row["b"]): row["n"] for row in found["pairs"]} == {
        ("a", "b"): 4, ("a", "c"): 4, ("b", "c"): 4,
    }  # fmt: skip
    assert found["pairs"][0]["kappa"] == 1.0


def test_summary_of_nothing() -> None:
    found = agreement.summary([], classes={})

    assert found["questions"] == []
    assert found["annotators"] == []
