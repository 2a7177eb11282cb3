"""How good each annotator's answers are, and how much proposals sway them.

Shares come with Wilson's interval, medians with the interval between two order
statistics that covers the median whatever the distribution (Conover 1999, "Practical
Nonparametric Statistics", section 3.2). What cannot be said is None, never 0.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from curation.schemas import CANNOT_TELL, NO_ANSWER, SKIPPED
from curation.stages.resolve import ADJUDICATOR, instant, latest, standing
from evaluation.intervals import wilson

Event = Mapping[str, Any]
Key = tuple[str, str]
"""Photo and question."""

FAST_S = 2.0
"""Seconds under which an answer is fast: hardly time to look at the photo."""


def independent(
    events: Iterable[Event], *, adjudicators: Iterable[str] = ()
) -> list[Event]:
    """Events of people who did not see what others said.

    Left out are those of adjudicators, by role or by name, who are told what others
    answered, and answers written over somebody else's.
    """
    named = set(adjudicators)
    return [
        event
        for event in events
        if event.get("role") != ADJUDICATOR
        and event["annotator"] not in named
        and not event.get("edits")
    ]


@dataclass(frozen=True, slots=True)
class Known:
    """What the right answers are, as far as anyone can say.

    Attributes:
        gold: answers known beforehand.
        settled: adjudicators' answers, with who gave them.
        given: independent answers to each question, by annotator.
    """

    gold: Mapping[Key, str]
    settled: Mapping[Key, Event]
    given: Mapping[Key, Mapping[str, str]]

    def without(self, annotator: str, key: Key) -> str | None:
        """The right answer with no help of this annotator; None where nobody knows.

        Gold first, then an adjudicator's, then what most of the others say.
        """
        if key in self.gold:
            return self.gold[key]
        settled = self.settled.get(key)
        if settled is not None and settled["annotator"] != annotator:
            return str(settled["answer"])
        return self.consensus(annotator, key)

    def consensus(self, annotator: str, key: Key) -> str | None:
        """Answer that is alone in front among the others; None in a tie."""
        answers = self.given.get(key, {})
        others = Counter(a for who, a in answers.items() if who != annotator)
        leaders = [a for a, n in others.items() if n == max(others.values())]
        return leaders[0] if len(leaders) == 1 else None


@dataclass(slots=True)
class Tally:
    """Counts of one annotator: successes and trials of each share, and seconds."""

    shares: dict[str, list[int]] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    answers: int = 0
    skips: int = 0

    def count(self, name: str, success: bool) -> None:
        """One more trial of a share."""
        pair = self.shares.setdefault(name, [0, 0])
        pair[0] += success
        pair[1] += 1


def annotators(
    events: Iterable[Event],
    *,
    exclude: Iterable[str] = (),
    adjudicators: Sequence[str] = (),
    gold: Mapping[Key, str] | None = None,
) -> list[dict[str, Any]]:
    """Measures of each annotator, ready for JSON.

    Args:
        events: rows of `label_events`.
        exclude: annotators left out altogether.
        adjudicators: annotators whose answers settle questions.
        gold: known answers by photo and question.

    Returns: a row per annotator, sorted by name. Shares are fractions; each measure
        `x` has `x_ci`, its 95 % interval, and `x_n`, the answers it rests on (`n` for
        agreement). All are of standing answers.
        agreement: equal to what most of the others say, ties left out; an
            adjudicator's answers do not count, for they know what others said.
        gold: equal to the known answer; cannot_tell is wrong where an answer is known.
        accepted: proposals left as they were, of answers that were shown one.
        wrong_accepted: the same where the proposal was wrong (`Known.without`; a
            verdict of cannot_tell makes no proposal wrong). High beside a low share of
            wrong proposals overall: the annotator follows the proposal, not the photo.
        confirmed_s, chosen_s: median seconds of backgrounds confirmed, or chosen.
        fast: backgrounds answered in less than FAST_S seconds, of those with a time.
        cannot_tell: backgrounds answered cannot_tell.
        skipped: photos skipped, of those answered or skipped.
        edited: photos on which somebody else changed this annotator's answer.
        n_answers, n_skipped, adjudicator: what there is.
    """
    left_out = set(exclude)
    rows = [event for event in events if event["annotator"] not in left_out]
    now = standing(rows)
    known = _known(rows, now, adjudicators=adjudicators, gold=gold or {})
    settling = set(adjudicators)
    tallies: dict[str, Tally] = {}
    for event in now:
        _count(tallies.setdefault(event["annotator"], Tally()), event, known)
    for (photo_id, question), given in known.given.items():
        for annotator, answer in given.items():
            most = known.consensus(annotator, (photo_id, question))
            if most is not None:
                tallies[annotator].count("agreement", answer == most)
    edited: dict[str, set[str]] = {}
    for event in rows:
        if event.get("edits"):
            edited.setdefault(event["edits"], set()).add(event["photo_id"])
    roles = {e["annotator"] for e in now if e.get("role") == ADJUDICATOR} | settling
    return [
        _row(name, tally)
        | {"edited": len(edited.get(name, ())), "adjudicator": name in roles}
        for name, tally in sorted(tallies.items())
        if tally.answers or tally.skips
    ]


def _known(
    rows: list[Event],
    now: list[Event],
    *,
    adjudicators: Sequence[str],
    gold: Mapping[Key, str],
) -> Known:
    """Right answers, from gold, adjudicators and everybody."""
    given: dict[Key, dict[str, str]] = {}
    for event in latest(independent(rows, adjudicators=adjudicators)):
        key = (event["photo_id"], event["question"])
        given.setdefault(key, {})[event["annotator"]] = event["answer"]
    settled: dict[Key, Event] = {}
    for event in now:
        settles = event.get("role") == ADJUDICATOR or event["annotator"] in adjudicators
        if settles and event["answer"] not in NO_ANSWER:
            key = (event["photo_id"], event["question"])
            there = settled.get(key)
            if there is None or _when(event) > _when(there):
                settled[key] = event
    return Known(gold=gold, settled=settled, given=given)


def _when(event: Event) -> tuple[datetime, str]:
    return instant(event["created_at"]), event["event_id"]


def _count(tally: Tally, event: Event, known: Known) -> None:
    """Add one standing event to its annotator's counts."""
    key, answer = (event["photo_id"], event["question"]), event["answer"]
    background = event["question"] == "background"
    if background and answer == SKIPPED:
        tally.skips += 1
        tally.count("skipped", True)
    if answer in NO_ANSWER:
        return
    tally.answers += 1
    if key in known.gold:
        tally.count("gold", answer == known.gold[key])
    if not background:
        return
    tally.count("skipped", False)
    tally.count("cannot_tell", answer == CANNOT_TELL)
    confirmed = event.get("origin") == "confirmed"
    seconds = event.get("lead_time_s")
    if seconds is not None:
        tally.count("fast", seconds < FAST_S)
        side = "confirmed_s" if confirmed else "chosen_s"
        tally.seconds.setdefault(side, []).append(seconds)
    if event.get("proposal"):
        tally.count("accepted", confirmed)
        right = known.without(event["annotator"], key)
        if right not in (None, CANNOT_TELL, event["proposal"]):
            tally.count("wrong_accepted", confirmed)


SHARES = (
    "agreement", "gold", "accepted", "wrong_accepted", "fast", "cannot_tell", "skipped",
)  # fmt: skip
TIMES = ("confirmed_s", "chosen_s")


def _row(name: str, tally: Tally) -> dict[str, Any]:
    row: dict[str, Any] = {
        "annotator": name,
        "n_answers": tally.answers,
        "n_skipped": tally.skips,
    }
    for share in SHARES:
        k, n = tally.shares.get(share, (0, 0))
        row[share] = k / n if n else None
        row[f"{share}_ci"] = [float(end) for end in wilson(k, n)] if n else None
        row["n" if share == "agreement" else f"{share}_n"] = n
    for side in TIMES:
        values = tally.seconds.get(side, [])
        row[side], row[f"{side}_ci"] = median(values)
        row[f"{side}_n"] = len(values)
    return row


def median(values: Sequence[float]) -> tuple[float | None, list[float] | None]:
    """Median with its 95 % interval: two of the values, whatever their distribution.

    Args:
        values: in any order.

    Returns: the median, None without values; the k-th smallest and the k-th largest
        with the largest k for which a fair coin gives k - 1 heads or fewer in n throws
        at most one time in 40. None below 6 values: no two cover enough.

    Example:
        >>> median([4.0, 1.0, 2.0, 9.0, 3.0, 5.0])
        (3.5, [1.0, 9.0])
    """
    if not values:
        return None, None
    ordered, n = sorted(values), len(values)
    middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    if n < 6:
        return middle, None
    import numpy as np
    from scipy.special import bdtr

    k = int((bdtr(np.arange(n // 2), n, 0.5) <= 0.025).sum())
    return middle, [ordered[k - 1], ordered[n - k]]
