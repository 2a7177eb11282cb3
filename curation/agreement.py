"""How far people agree: Krippendorff's alpha and Cohen's kappa, with intervals.

Source: Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability"; Cohen 1960,
"A coefficient of agreement for nominal scales"; Fleiss, Cohen and Everitt 1969, "Large
sample standard errors of kappa and weighted kappa", for kappa's interval.

Answers are names without order. Who skipped a photo or took an answer back gave none:
photos that only some annotators saw count with the answers they have. cannot_tell is an
answer like any other; alpha without it is given beside. Only independent answers count,
see `curation.quality.independent`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation import quality
from curation.schemas import CANNOT_TELL, QUESTIONS
from curation.stages.resolve import latest
from evaluation.intervals import wilson

Counts = NDArray[np.int64]
Event = Mapping[str, Any]

RESAMPLES = 2000
"""Bootstrap samples of photos behind an interval."""

FEWEST = 6
"""Photos below which there is no interval, unless nobody differed."""

_Z = NormalDist().inv_cdf(0.975)
_NOTHING = 1e-7


@dataclass(frozen=True, slots=True)
class Alpha:
    """An alpha with its interval.

    Attributes:
        alpha: 1 is perfect, 0 what chance gives, below 0 systematic disagreement; NaN
            where no photo has two answers, or all answers are the same word.
        low: lower end of the 95 % bootstrap interval over photos; NaN without one, see
            `interval`.
        high: upper end.
        n_photos: photos with two answers or more: only they count.
        same: how often two answers to a photo are the same word, 0-1, by chance or
            not; NaN without photos. Where one word is nearly always right, this may be
            high and alpha low.
        same_low: lower end of its interval, by the same bootstrap.
        same_high: upper end.
    """

    alpha: float
    low: float
    high: float
    n_photos: int
    same: float = math.nan
    same_low: float = math.nan
    same_high: float = math.nan


@dataclass(frozen=True, slots=True)
class Kappa:
    """A kappa with its interval.

    Attributes:
        kappa: 1 is perfect, 0 what chance gives; NaN where both said one and the same
            word throughout, or nothing.
        low: lower end of the 95 % interval; NaN as above, below FEWEST photos, and
            where the formula gives no error: one of them said the same throughout, or
            they never agreed.
        high: upper end.
        error: standard error; 0 without a disagreement, NaN as `low`.
        n: photos both answered.
    """

    kappa: float
    low: float
    high: float
    error: float
    n: int


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

    Where nobody differed, no resample does: the lower end then takes the share of
    photos on which people might differ from Wilson's upper bound on none of n. There is
    no interval (NaN) below FEWEST photos, where all photos were answered alike, and
    where alpha is undefined in more than one resample in 40: such as for an answer that
    hardly anybody ever gave.
    """
    paired = counts[counts.sum(axis=1) >= 2]
    n = len(paired)
    if not n:
        return Alpha(math.nan, math.nan, math.nan, 0)
    # photos answered alike are drawn together: the same draws, in far less time
    patterns, times = np.unique(paired, axis=0, return_counts=True)
    found = float(_alphas(patterns, times[None, :].astype(np.float64))[0])
    same = float(_sames(patterns, times[None, :])[0])
    if same == 1:
        spare = _unseen(n)
        low = max(-1.0, 1 - spare / _chance(paired.sum(axis=0)))
        return Alpha(found, low, found, n, 1.0, 1 - spare, 1.0)
    if n < FEWEST or len(times) == 1:
        return Alpha(found, math.nan, math.nan, n, same)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(n, times / n, size=resamples).astype(np.float64)
    ends = (*_ends_of(_alphas(patterns, weights)), n)
    return Alpha(found, *ends, same, *_ends_of(_sames(patterns, weights)))


def _ends_of(values: NDArray[np.float64]) -> tuple[float, float]:
    """Percentiles that hold 95 % of the values; NaN where too many are undefined."""
    defined = values[np.isfinite(values)]
    if len(defined) < 0.975 * len(values):
        return math.nan, math.nan
    low, high = np.quantile(defined, [0.025, 0.975])
    return float(low), float(high)


def _sames(paired: Counts, weights: NDArray[Any]) -> NDArray[np.float64]:
    """Of each row of weights, how often two answers to a photo are the same."""
    return np.asarray(1 - weights @ _observed(paired) / (weights @ paired.sum(axis=1)))


def _observed(counts: Counts) -> NDArray[np.float64]:
    """Of each photo: ordered pairs of answers that differ, per other answer given."""
    answers = counts.sum(axis=1)
    differing = (counts * (answers[:, None] - counts)).sum(axis=1) / (answers - 1)
    return np.asarray(differing, np.float64)


def _alphas(paired: Counts, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Alpha of each row of weights, which say how often a photo counts."""
    answers = paired.sum(axis=1)
    total = weights @ answers
    per_answer = weights @ paired
    with np.errstate(divide="ignore", invalid="ignore"):
        observed = weights @ _observed(paired) / total
        chance = (per_answer * (total[:, None] - per_answer)).sum(axis=1)
        return np.asarray(1 - observed / (chance / (total * (total - 1))))


def _chance(per_answer: NDArray[np.int64]) -> float:
    """How often two answers differ that are drawn from all; NaN if they never do."""
    total = int(per_answer.sum())
    differing = int((per_answer * (total - per_answer)).sum())
    return differing / (total * (total - 1)) if differing else math.nan


def _unseen(n: int) -> float:
    """Share of photos on which people might differ when on n they never did."""
    return float(wilson(0, n)[1])


def kappa(first: list[str], second: list[str]) -> Kappa:
    """Cohen's kappa of two annotators on the photos both answered, with its interval.

    The standard error is Fleiss, Cohen and Everitt's for large samples (1969);
    the interval is 1.96 of it to each side, within -1 and 1. Where the two never
    differed it would have no width: the lower end is then as `interval` has it.

    Args:
        first: answers of one annotator.
        second: answers of the other, of the same photos in the same order.

    Example:
        >>> kappa(["a", "a", "b", "b"], ["a", "a", "b", "a"]).kappa
        0.5
    """
    n = len(first)
    if not n:
        return Kappa(math.nan, math.nan, math.nan, math.nan, 0)
    words = sorted({*first, *second})
    place = {word: at for at, word in enumerate(words)}
    table = np.zeros((len(words), len(words)))
    np.add.at(table, ([place[a] for a in first], [place[b] for b in second]), 1)
    if len(words) == 1:
        return Kappa(math.nan, math.nan, math.nan, math.nan, n)
    share = table / n
    rows, columns = share.sum(axis=1), share.sum(axis=0)
    same, chance = float(np.trace(share)), float(rows @ columns)
    value = (same - chance) / (1 - chance)
    if np.trace(table) == n:
        low = max(-1.0, 1 - _unseen(n) / (1 - chance))
        return Kappa(1.0, low, 1.0, 0.0, n)
    error = _error(share, value, chance) / math.sqrt(n)
    if error < _NOTHING or n < FEWEST:
        return Kappa(value, math.nan, math.nan, math.nan, n)
    reach = _Z * error
    return Kappa(value, max(-1.0, value - reach), min(1.0, value + reach), error, n)


def _error(share: NDArray[np.float64], value: float, chance: float) -> float:
    """Standard error of kappa times the root of the number of photos."""
    rows, columns = share.sum(axis=1), share.sum(axis=0)
    agreed = np.diag(share) @ (1 - (rows + columns) * (1 - value)) ** 2
    # how often the first says j and the second i, for a cell (i, j) of the table
    crossed = (columns[:, None] + rows[None, :]) ** 2
    apart = (share * crossed).sum() - np.diag(share) @ np.diag(crossed)
    spread = agreed + (1 - value) ** 2 * apart - (value - chance * (1 - value)) ** 2
    return math.sqrt(max(0.0, float(spread))) / (1 - chance)


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
    adjudicators: Sequence[str] = (),
    gold: Mapping[tuple[str, str], str] | None = None,
    seed: int = 0,
) -> dict[str, list[Any]]:
    """Everything there is to say about agreement, ready for JSON.

    Args:
        events: rows of `label_events`.
        classes: class of each photo.
        exclude: annotators left out.
        adjudicators: annotators whose answers settle questions, and are no part of
            agreement.
        gold: known answers by photo and question.
        seed: of the bootstrap.

    Returns: lists of rows by name; an undefined number is None, and so is its interval.
        questions: question, alpha, ci, n_photos, same, same_ci, n_annotators,
            n_answers; decided: the first of these without the answers cannot_tell.
        annotators: see `quality.annotators`.
        classes: question, class, alpha, ci, n_photos, same, same_ci.
        backgrounds: background, alpha (this background against all else), ci, n_photos,
            same, same_ci.
        pairs: question, a, b, kappa, ci, n (photos both answered).
        class_pairs, background_pairs: the same of the photos of a class, and of a
            background against all else (question is background).
        excluded: names of annotators who were left out and had answered.
    """
    everything, left_out = list(events), set(exclude)
    free = quality.independent(everything, adjudicators=adjudicators)
    counted = latest(free, exclude=left_out)
    asked = {q: [e for e in counted if e["question"] == q] for q in QUESTIONS}
    result: dict[str, list[Any]] = {
        "questions": [],
        "annotators": quality.annotators(
            everything, exclude=left_out, adjudicators=adjudicators, gold=gold
        ),
        "classes": [],
        "backgrounds": [],
        "pairs": [],
        "class_pairs": [],
        "background_pairs": [],
        "excluded": sorted(left_out & {event["annotator"] for event in everything}),
    }
    for question, rows in asked.items():
        if rows:
            result["questions"].append(_question(question, rows, seed))
            result["pairs"] += _pairs(rows, question=question)
            _by_class(result, question, _split(rows, classes), seed)
    _by_background(result, asked["background"], seed)
    return result


def _question(question: str, rows: list[Event], seed: int) -> dict[str, Any]:
    decided = [event for event in rows if event["answer"] != CANNOT_TELL]
    return {
        "question": question,
        **_numbers(interval(tally(rows)[0], seed=seed)),
        "n_annotators": len({event["annotator"] for event in rows}),
        "n_answers": len(rows),
        "decided": _numbers(interval(tally(decided)[0], seed=seed)),
    }


def _split(rows: list[Event], classes: Mapping[str, str]) -> dict[str, list[Event]]:
    """Answers by the class of their photo, classes sorted."""
    found: dict[str, list[Event]] = {}
    for event in rows:
        if event["photo_id"] in classes:
            found.setdefault(classes[event["photo_id"]], []).append(event)
    return dict(sorted(found.items()))


def _by_class(
    result: dict[str, list[Any]],
    question: str,
    parts: Mapping[str, list[Event]],
    seed: int,
) -> None:
    """Alpha and kappas of each class."""
    for name, part in parts.items():
        about = {"question": question, "class": name}
        found = _numbers(interval(tally(part)[0], seed=seed))
        result["classes"].append(about | found)
        result["class_pairs"] += _pairs(part, **about)


def _by_background(result: dict[str, list[Any]], rows: list[Event], seed: int) -> None:
    """Alpha and kappas of each background: the answers read as it, or not it."""
    for name in sorted({event["answer"] for event in rows} - {CANNOT_TELL}):
        split = [
            {**event, "answer": "it" if event["answer"] == name else "another"}
            for event in rows
        ]
        found = _numbers(interval(tally(split)[0], seed=seed))
        result["backgrounds"].append({"background": name} | found)
        result["background_pairs"] += _pairs(split, background=name)


def _numbers(found: Alpha) -> dict[str, Any]:
    return {
        "alpha": _number(found.alpha),
        "ci": _ends(found.low, found.high),
        "n_photos": found.n_photos,
        "same": _number(found.same),
        "same_ci": _ends(found.same_low, found.same_high),
    }


def _ends(low: float, high: float) -> list[float] | None:
    return [low, high] if math.isfinite(low) and math.isfinite(high) else None


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _pairs(rows: Iterable[Event], **about: str) -> list[dict[str, Any]]:
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
            numbers = {
                "a": a, "b": b, "kappa": _number(value.kappa),
                "ci": _ends(value.low, value.high), "n": value.n,
            }  # fmt: skip
            found.append({**about, **numbers})
    return found
