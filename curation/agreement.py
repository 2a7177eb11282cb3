"""How far people agree: Krippendorff's alpha, Cohen's kappa, and each annotator.

Source: Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability"; Cohen 1960,
"A coefficient of agreement for nominal scales". Answers are names without order, and
photos that only some annotators saw count with the answers they have.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.schemas import CANNOT_TELL, QUESTIONS
from curation.stages.resolve import latest

Counts = NDArray[np.int64]
Event = Mapping[str, Any]

RESAMPLES = 2000
"""Bootstrap samples of photos behind an interval."""


@dataclass(frozen=True, slots=True)
class Alpha:
    """An alpha with its interval.

    Attributes:
        alpha: 1 is perfect, 0 what chance gives, below 0 systematic disagreement; NaN
            where no photo has two answers, or all answers are the same word.
        low: lower end of the 95 % bootstrap interval over photos; NaN as above.
        high: upper end.
        n_photos: photos with two answers or more: only they count.
    """

    alpha: float
    low: float
    high: float
    n_photos: int


def alpha(counts: Counts) -> float:
    """Krippendorff's alpha for nominal data.

    Args:
        counts: (photos, answers) how many annotators gave which answer; rows with fewer
            than two annotators are left out.

    Returns: alpha, at most 1; NaN when undefined.

    Example:
        >>> alpha(np.array([[2, 0], [0, 2], [1, 1]]))
        0.4444444444444444
    """
    paired = counts[counts.sum(axis=1) >= 2]
    return float(_alphas(paired, np.ones((1, len(paired))))[0])


def interval(counts: Counts, *, resamples: int = RESAMPLES, seed: int = 0) -> Alpha:
    """Alpha with a percentile bootstrap interval: photos are drawn with replacement.

    Resamples in which alpha is undefined are left out.
    """
    paired = counts[counts.sum(axis=1) >= 2]
    n = len(paired)
    if not n:
        return Alpha(math.nan, math.nan, math.nan, 0)
    rng = np.random.default_rng(seed)
    drawn = []
    step = max(1, 2_000_000 // n)
    for at in range(0, resamples, step):
        size = min(step, resamples - at)
        weights = rng.multinomial(n, np.full(n, 1 / n), size=size)
        drawn.append(_alphas(paired, weights.astype(np.float64)))
    values = np.concatenate(drawn)
    values = values[np.isfinite(values)]
    low, high = np.quantile(values, [0.025, 0.975]) if len(values) else (np.nan, np.nan)
    return Alpha(alpha(paired), float(low), float(high), n)


def _alphas(paired: Counts, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Alpha of each row of weights, which say how often a photo counts."""
    answers = paired.sum(axis=1)
    # ordered pairs of answers to one photo that differ, per answer given
    differing = (paired * (answers[:, None] - paired)).sum(axis=1) / (answers - 1)
    total = weights @ answers
    per_answer = weights @ paired
    with np.errstate(divide="ignore", invalid="ignore"):
        observed = weights @ differing / total
        chance = (per_answer * (total[:, None] - per_answer)).sum(axis=1)
        return np.asarray(1 - observed / (chance / (total * (total - 1))))


def kappa(first: list[str], second: list[str]) -> float:
    """Cohen's kappa of two annotators on the photos both answered; NaN if undefined.

    Example:
        >>> kappa(["a", "a", "b", "b"], ["a", "a", "b", "a"])
        0.5
    """
    n = len(first)
    if not n:
        return math.nan
    same = sum(a == b for a, b in zip(first, second, strict=True)) / n
    left, right = Counter(first), Counter(second)
    chance = sum(left[answer] * right[answer] for answer in left) / n**2
    return math.nan if chance == 1 else (same - chance) / (1 - chance)


def tally(events: Iterable[Event]) -> tuple[Counts, list[str], list[str]]:
    """Counts of counted answers to one question, with their photos and answers."""
    rows = list(events)
    photos = sorted({event["photo_id"] for event in rows})
    answers = sorted({event["answer"] for event in rows})
    row = {photo_id: place for place, photo_id in enumerate(photos)}
    column = {answer: place for place, answer in enumerate(answers)}
    counts = np.zeros((len(photos), len(answers)), np.int64)
    for event in rows:
        counts[row[event["photo_id"]], column[event["answer"]]] += 1
    return counts, photos, answers


def summary(
    events: Iterable[Event],
    *,
    classes: Mapping[str, str],
    exclude: Iterable[str] = (),
    seed: int = 0,
) -> dict[str, list[dict[str, Any]]]:
    """Everything there is to say about agreement, ready for JSON.

    Args:
        events: rows of `label_events`.
        classes: class of each photo.
        exclude: annotators left out.
        seed: of the bootstrap.

    Returns: lists of rows by name; an undefined number is None.
        questions: question, alpha, ci, n_photos, n_annotators, n_answers.
        annotators: annotator, agreement (with the most frequent answer of the others,
            ties left out), n (answers compared), n_answers.
        classes: question, class, alpha, ci, n_photos.
        backgrounds: background, alpha (this background against all else), ci, n_photos.
        pairs: question, a, b, kappa, n (photos both answered).
    """
    counted = latest(events, exclude=exclude)
    asked = {q: [e for e in counted if e["question"] == q] for q in QUESTIONS}
    asked = {question: rows for question, rows in asked.items() if rows}
    result: dict[str, list[dict[str, Any]]] = {
        "questions": [],
        "annotators": _annotators(counted),
        "classes": [],
        "backgrounds": _backgrounds(asked.get("background", []), seed),
        "pairs": [],
    }
    for question, rows in asked.items():
        found = interval(tally(rows)[0], seed=seed)
        people = {event["annotator"] for event in rows}
        result["questions"].append(
            {"question": question, **_numbers(found)}
            | {"n_annotators": len(people), "n_answers": len(rows)}
        )
        by_class: dict[str, list[Event]] = {}
        for event in rows:
            if event["photo_id"] in classes:
                by_class.setdefault(classes[event["photo_id"]], []).append(event)
        for name, part in sorted(by_class.items()):
            found = interval(tally(part)[0], seed=seed)
            result["classes"].append(
                {"question": question, "class": name, **_numbers(found)}
            )
        result["pairs"] += _pairs(question, rows)
    return result


def _numbers(found: Alpha) -> dict[str, Any]:
    ends = [_number(found.low), _number(found.high)]
    return {
        "alpha": _number(found.alpha),
        "ci": None if None in ends else ends,
        "n_photos": found.n_photos,
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _backgrounds(rows: list[Event], seed: int) -> list[dict[str, Any]]:
    """Reliability of each background: the answers read as it, or not it."""
    if not rows:
        return []
    counts, _, answers = tally(rows)
    found = []
    for place, name in enumerate(answers):
        if name != CANNOT_TELL:
            this = counts[:, place]
            split = np.stack([this, counts.sum(axis=1) - this], axis=1)
            numbers = _numbers(interval(split, seed=seed))
            found.append({"background": name, **numbers})
    return found


def _annotators(counted: list[Event]) -> list[dict[str, Any]]:
    """Each annotator against the others."""
    by_question: dict[tuple[str, str], dict[str, str]] = {}
    for event in counted:
        key = (event["photo_id"], event["question"])
        by_question.setdefault(key, {})[event["annotator"]] = event["answer"]
    compared: Counter[str] = Counter()
    agreed: Counter[str] = Counter()
    given: Counter[str] = Counter()
    for answers in by_question.values():
        for annotator, answer in answers.items():
            given[annotator] += 1
            others = Counter(a for who, a in answers.items() if who != annotator)
            leaders = [a for a, n in others.items() if n == max(others.values())]
            if len(leaders) == 1:
                compared[annotator] += 1
                agreed[annotator] += answer == leaders[0]
    return [
        {
            "annotator": annotator,
            "agreement": agreed[annotator] / n if (n := compared[annotator]) else None,
            "n": compared[annotator],
            "n_answers": given[annotator],
        }
        for annotator in sorted(given)
    ]


def _pairs(question: str, rows: list[Event]) -> list[dict[str, Any]]:
    """Kappa of every two annotators who share photos."""
    by_person: dict[str, dict[str, str]] = {}
    for event in rows:
        answers = by_person.setdefault(event["annotator"], {})
        answers[event["photo_id"]] = event["answer"]
    found = []
    for a, b in combinations(sorted(by_person), 2):
        shared = sorted(by_person[a].keys() & by_person[b].keys())
        if shared:
            value = kappa(
                [by_person[a][photo] for photo in shared],
                [by_person[b][photo] for photo in shared],
            )
            found.append(
                {
                    "question": question, "a": a, "b": b,
                    "kappa": _number(value), "n": len(shared),
                }
            )  # fmt: skip
    return found
