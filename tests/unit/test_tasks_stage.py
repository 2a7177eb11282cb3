"""Which photo is asked about first, and what is said of why."""

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curation import committee
from curation.schemas import empty, from_rows
from curation.stages import resolve, tasks

NAMES = ("grass", "snow", "water")


def _id(place: int) -> str:
    return hashlib.sha256(str(place).encode()).hexdigest()


def _settings(**change: Any) -> tasks.Settings:
    usual = {
        "answers": 1, "review_above": 0.8, "blind": False, "backgrounds": NAMES,
        "min_photos": 10, "resolve": resolve.Settings(1, (), ()),
    }  # fmt: skip
    return tasks.Settings(**usual | change)


def _photos(classes: list[str]) -> pa.Table:
    rows = [
        {
            "photo_id": _id(place), "candidate_id": "c", "class": name,
            "classes": [name], "observation_id": str(place), "composed": False,
            "bytes": 1, "format": "JPEG", "width": 1, "height": 1, "order": place,
        }
        for place, name in enumerate(classes)
    ]  # fmt: skip
    return from_rows(rows, "photos")


def _proposal(place: int, probabilities: list[float]) -> dict[str, Any]:
    order = np.argsort(probabilities)[::-1]
    first, second = (probabilities[i] for i in order[:2])
    return {
        "photo_id": _id(place), "background": NAMES[order[0]], "probability": first,
        "margin": first - second, "second": NAMES[order[1]], "abstained": first < 0.5,
        "probabilities": probabilities, "temperature": 1.0, "calibrated_on": 0,
    }  # fmt: skip


def _event(place: int, answer: str, question: str = "background") -> dict[str, Any]:
    return {
        "event_id": f"{place}{answer}{question}", "photo_id": _id(place),
        "question": question, "answer": answer, "annotator": "ann",
        "origin": "chosen", "created_at": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip


def _embedded(vectors: np.ndarray) -> pa.Table:
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = [
        {"photo_id": _id(place), "status": "ok", "embedding": vector.tolist()}
        for place, vector in enumerate(vectors)
    ]
    return from_rows(rows, "embeddings")


def _world(
    says: list[list[float]], *, settings: tasks.Settings | None = None
) -> dict[str, dict[str, Any]]:
    """12 verified photos on grass, 12 on snow, then one photo per proposal in `says`.

    The photos that are asked about look like those on snow.
    """
    rng = np.random.default_rng(0)
    truth = [0] * 12 + [1] * 12
    centres = np.eye(8)[[*truth, *[1] * len(says)]]
    sure = [[0.98, 0.01, 0.01], [0.01, 0.98, 0.01]]
    proposals = [_proposal(i, sure[b]) for i, b in enumerate(truth)]
    proposals += [_proposal(24 + i, p) for i, p in enumerate(says)]
    rows = tasks.run(
        {
            "photos": _photos(["fox"] * (24 + len(says))),
            "duplicates": empty("duplicates"),
            "proposals": from_rows(proposals, "proposals"),
            "flags": empty("flags"),
            "embeddings": _embedded(centres + 0.05 * rng.normal(size=centres.shape)),
            "label_events": from_rows(
                [_event(i, NAMES[b]) for i, b in enumerate(truth)], "label_events"
            ),
        },
        settings or _settings(),
    ).to_pylist()
    return {str(24 + i): r for i in range(len(says)) for r in rows
            if r["photo_id"] == _id(24 + i)}  # fmt: skip


def test_a_proposal_that_verified_photos_speak_against_comes_first() -> None:
    alike, against = _world([[0.02, 0.96, 0.02], [0.96, 0.02, 0.02]]).values()

    assert against["rank"] < alike["rank"]
    assert against["why"].endswith(
        "proposed grass, verified photos like it are on snow"
    )
    assert "like it" not in alike["why"]


def test_too_few_verified_photos_have_no_opinion() -> None:
    vectors = np.eye(3, dtype=np.float32)[[0, 1] * 6]
    classes = np.zeros(12, np.int64)
    ten = np.array([0, 1] * 5 + [-1, -1])
    eleven = np.array([0, 1] * 5 + [0, -1])

    assert np.isnan(committee.opinions(vectors, classes, ten, backgrounds=2)).all()
    opinion = committee.opinions(vectors, classes, eleven, backgrounds=2)
    np.testing.assert_allclose(opinion.sum(axis=1), 1)


def test_a_verified_photo_has_no_vote_on_itself() -> None:
    vectors = np.vstack([np.eye(2)[0], np.tile(np.eye(2)[1], (10, 1))])
    answers = np.array([0] + [1] * 10)

    opinion = committee.opinions(
        vectors.astype(np.float32), np.zeros(11, np.int64), answers, backgrounds=2
    )

    assert opinion[0] == pytest.approx([0.5 / 11, 10.5 / 11])


def test_only_its_own_class_speaks() -> None:
    vectors = np.tile(np.eye(2, dtype=np.float32)[0], (24, 1))
    classes = np.array([0] * 12 + [1] * 12)
    answers = np.array([0] * 12 + [1] * 12)

    opinion = committee.opinions(vectors, classes, answers, backgrounds=2)

    assert opinion[:12].argmax(axis=1).tolist() == [0] * 12
    assert opinion[12:].argmax(axis=1).tolist() == [1] * 12


def test_a_background_short_of_photos_comes_first_and_more_never_make_it_urgent() -> (
    None
):
    common, rare = _world([[0.01, 0.98, 0.01], [0.01, 0.01, 0.98]]).values()

    assert rare["rank"] < common["rank"]
    scarce = _settings(min_photos=14)
    common, *_ = _world([[0.01, 0.98, 0.01]], settings=scarce).values()
    assert "fox has 12 of 14 photos on snow" in common["why"]


def test_photos_with_a_defect_do_not_fill_a_group() -> None:
    events = [_event(0, "snow"), _event(1, "snow"), _event(1, "yes", "wrong_animal")]
    inputs = {
        "photos": _photos(["fox"] * 3),
        "duplicates": empty("duplicates"),
        "proposals": from_rows([_proposal(2, [0.1, 0.8, 0.1])], "proposals"),
        "flags": empty("flags"),
        "embeddings": empty("embeddings"),
        "label_events": from_rows(events, "label_events"),
    }

    (row,) = tasks.run(inputs, _settings()).to_pylist()

    assert "fox has 1 of 10 photos on snow" in row["why"]


def test_blind_says_nothing_of_proposals_and_asks_in_the_same_order() -> None:
    says = [[0.02, 0.96, 0.02], [0.96, 0.02, 0.02], [0.4, 0.35, 0.25]]
    seen, blind = _world(says), _world(says, settings=_settings(blind=True))

    assert {k: r["rank"] for k, r in seen.items()} == {
        k: r["rank"] for k, r in blind.items()
    }
    for row in blind.values():
        assert not any(name in row["why"] for name in NAMES)
        assert row["proposal"] is None
        assert row["probability"] is None


def test_parts_are_between_0_and_1() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.dirichlet([0.1] * 4, 500), rng.dirichlet([0.1] * 4, 500)

    bits = committee.divergence(first, second)

    assert (bits >= 0).all()
    assert (bits <= 1).all()
    np.testing.assert_allclose(committee.divergence(first, first), 0, atol=1e-12)
    assert committee.divergence(first * np.nan, second).tolist() == [0.0] * 500
    np.testing.assert_allclose(committee.together(first * np.nan, second), second)
    assert (committee.together(first * np.nan, second * np.nan) == 0.25).all()
