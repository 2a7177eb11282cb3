"""When to stop labelling: how many more photos until each class's drop is known.

A class's drop is known well enough when its 95 % interval (cross-fitted, as in
`evidence`) is narrower than a target width, in points. Until then the number of further
photos is worked out from what is there (`curation.forecast`):

- The error of today is the geometric mean of that of the cross-fitted and that of the
  naive drop. While a class's pair is undecided the former is the smaller; it stays so
  in some classes and not in others.
- A further photo lands on a background with that background's share among the photos
  verified so far and the proposals of those that are not. So a rare counter background
  makes a class expensive. Questions are asked scarce backgrounds first, which is
  usually quicker than this.
- Photos on which people cannot tell, or find a defect, are asked for nothing, at the
  rate seen so far.

All of that is from a pilot and uncertain: there is a range, and it is best to ask again
after each part of the labels. `benchmarks/stopping_rule.py` follows the rule in worlds
whose truth is known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from textwrap import wrap
from typing import Any

import numpy as np
import polars as pl

from curation.discovery.cells import stream
from curation.discovery.verified import verified
from curation.forecast import REACH, Forecast, Side, first_needed, forecast
from curation.pipeline import Route
from curation.stages import resolve

Row = dict[str, Any]

WIDE = 100
"""Columns of `text` at most."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A class as it stands.

    Attributes:
        name: the class.
        counts: verified photos that count, by background.
        decided: photos people decided on, the unusable ones included.
        left: kept photos without a verdict.
        wanted: answers that a photo without a verdict still takes, on average.
        shares: by background, of photos verified and still to be.
        kept: kept photos per record of a source; 0 when nothing was collected.
    """

    name: str
    counts: Mapping[str, int]
    decided: int
    left: int
    wanted: float
    shares: Mapping[str, float]
    kept: float

    @property
    def verified(self) -> int:
        """Photos that count."""
        return sum(self.counts.values())

    @property
    def usable(self) -> float:
        """Share of photos asked about that turn out to count."""
        return (self.verified + 1) / (self.decided + 1)


@dataclass(frozen=True, slots=True)
class Rule:
    """What is asked of every class.

    Attributes:
        width: target, points.
        min_photos: verified photos a background needs to be considered.
        seed: of the ranges.
        current: the evidence rests on the answers there are now.
    """

    width: float
    min_photos: int
    seed: int = 0
    current: bool = True


def needed(route: Route, *, width: float) -> Row:
    """What each class still needs.

    Args:
        route: the route; nothing is written. Drops are those of the last run, answers
            those there are now.
        width: of the 95 % interval of a class's drop that is narrow enough, points.

    Returns: `width`, `classes`, and `labels`, the answers still needed. Of a class:
        drop, low, high, width (points; null without evidence); photos (verified);
        more_photos (verified ones still needed; null when no number can be given) with
        more_low and more_high (four of five); labels (answers they take); left (photos
        without a verdict); collect (photos that must be collected first, at least);
        enough; why.
    """
    evidence: dict[str, list[Row]] = {}
    if route.done("discover"):
        for row in route.table("evidence").to_pylist():
            evidence.setdefault(row["class"], []).append(row)
    rule = Rule(
        width=width,
        min_photos=route.config.group.min_photos,
        seed=route.config.group.seed,
        current=_current(route),
    )
    rows = [judge(f, evidence.get(f.name, []), rule) for f in _classes(route)]
    return {
        "width": width,
        "classes": rows,
        "labels": sum(row["labels"] for row in rows),
    }


def _classes(route: Route) -> list[Facts]:
    """Facts of every class of dataset.toml, in its order."""
    names = [background.name for background in route.config.backgrounds]
    none = Facts("", {}, 0, 0, route.config.tasks.answers, {}, 0.0)
    if route.fingerprint("photos") is None:
        return [Facts(c, {}, 0, 0, none.wanted, {}, 0.0) for c in route.classes]
    tables = {name: route.whole(name) for name in ("photos", "duplicates")}
    if route.fingerprint("leaks") is not None:
        tables["leaks"] = route.whole("leaks")
    events = {"label_events": route.whole("label_events")}
    tables["labels"] = resolve.run(events, resolve.settings(route.config))
    photos = verified(tables, classes=route.classes, backgrounds=names)
    labels = pl.DataFrame(tables["labels"]).filter(question="background")
    photos = photos.join(labels.select("photo_id", "n_answers"), "photo_id", how="left")
    proposals = pl.DataFrame(route.whole("proposals")).select(
        "photo_id", "probabilities"
    )
    records = pl.DataFrame(route.table("candidates").select(["class", "refused"]))
    return [
        _facts(
            name,
            photos.filter(pl.col("class") == name),
            proposals,
            records.filter((pl.col("class") == name) & pl.col("refused").is_null()),
            names=names,
            answers=route.config.tasks.answers,
        )
        for name in route.classes
    ]


def _facts(
    name: str,
    photos: pl.DataFrame,
    proposals: pl.DataFrame,
    records: pl.DataFrame,
    *,
    names: Sequence[str],
    answers: int,
) -> Facts:
    reason = pl.col("reason")
    kept = photos.filter(
        ~reason.fill_null("").str.starts_with("duplicate of ")
        & ~reason.fill_null("").str.starts_with("filed under ")
    )
    left = kept.filter(reason.fill_null("").str.starts_with("no verdict"))
    good = kept.filter(reason.is_null())
    counts = dict(good.group_by("background").len().iter_rows())
    said = left.join(proposals, "photo_id")["probabilities"].to_list()
    mass = np.array([counts.get(b, 0) for b in names], float)
    if said:
        mass += np.array(said).sum(axis=0)
    shares = mass / mass.sum() if mass.sum() else np.zeros(len(names))
    still = [max(answers - (n or 0), 1) for n in left["n_answers"].to_list()]
    return Facts(
        name=name,
        counts={b: counts.get(b, 0) for b in names},
        decided=kept.height - left.height,
        left=left.height,
        wanted=float(np.mean(still)) if still else float(answers),
        shares=dict(zip(names, shares.tolist(), strict=True)),
        kept=kept.height / records.height if records.height else 0.0,
    )


def judge(facts: Facts, evidence: Sequence[Row], rule: Rule) -> Row:
    """One class's row of `needed`, from its rows of `evidence` (none: no drop yet)."""
    own = next((row for row in evidence if row["level"] == "class"), None)
    row: Row = {
        "class": facts.name,
        **dict.fromkeys(("drop", "low", "high", "width")),
        "photos": facts.verified,
        "enough": False,
    }
    if own is None or own["cross_drop"] is None:
        more = first_needed(facts.counts, facts.shares, rule.min_photos)
        guess = Forecast(more, more, more) if more else Forecast(None, None, None)
        return row | _asked(facts, guess, _first(facts, more, rule.min_photos))
    drop, low, high = (own[f"cross_{part}"] for part in ("drop", "low", "high"))
    now, fresh = high - low, 0 if rule.current else facts.verified - own["n"]
    guess = Forecast(0, 0, 0)
    if now > rule.width or fresh:
        guess = forecast(
            _sides(facts, evidence),
            error=(_error(own, "cross") * _error(own, "naive")) ** 0.5,
            width=rule.width,
            min_photos=rule.min_photos,
            rng=stream(rule.seed, "stopping", facts.name),
        )
    row |= {"drop": drop, "low": low, "high": high, "width": now}
    row["enough"] = now <= rule.width and not fresh
    return row | _asked(facts, guess, _why(guess, now, rule.width, fresh))


def _error(row: Row, name: str) -> float:
    """Standard error of a drop, points; an end cut off at 100 points says nothing."""
    drop, low, high = (float(row[f"{name}_{part}"]) for part in ("drop", "low", "high"))
    return 2 * max(high - drop, drop - low) / REACH


def _current(route: Route) -> bool:
    """Whether the evidence rests on the answers there are."""
    done, labels = route.done("discover"), route.done("resolve")
    return (
        done is not None
        and labels is not None
        and dict(done.inputs) == route.inputs("discover")
        and dict(labels.inputs) == route.inputs("resolve")
    )


def _sides(facts: Facts, evidence: Sequence[Row]) -> list[Side]:
    """Every background of a class."""
    seen = {row["background"]: row for row in evidence if row["level"] == "background"}
    nothing = {"n": 0, "n_clusters": 0, "correct": 0.0}
    return [
        Side(
            **{key: seen.get(name, nothing)[key] for key in nothing},
            now=facts.counts.get(name, 0),
            share=share,
        )
        for name, share in facts.shares.items()
    ]


def _asked(facts: Facts, guess: Forecast, why: str) -> Row:
    """What a forecast means for people, and for collecting."""
    asked = ceil((guess.photos or 0) / facts.usable)
    collect = max(asked - facts.left, 0)
    if collect:
        records = (
            f" (about {ceil(collect / facts.kept):,} records at today's yield)"
            if facts.kept
            else ""
        )
        why += f"; {facts.left:,} are left: collect {collect:,} more{records}"
    return {
        "more_photos": guess.photos,
        "more_low": guess.low,
        "more_high": guess.high,
        "labels": ceil(asked * facts.wanted),
        "left": facts.left,
        "collect": collect,
        "why": why,
    }


def _first(facts: Facts, more: int | None, least: int) -> str:
    """What a class without a drop needs first."""
    if not facts.verified and not facts.left:
        return "no photos"
    most = sorted(facts.counts.items(), key=lambda item: (-item[1], item[0]))[:2]
    has = " and ".join(f"{n} on {name}" for name, n in most if n) or "none"
    need = f"first, {least} photos on each of two backgrounds; there are {has}"
    if more is None:
        return f"{need}, and no second background is in sight: collect others"
    if more == 0:
        return "not measured yet: `counterset run`"
    return need


def _why(guess: Forecast, now: float, width: float, fresh: int) -> str:
    if fresh:
        told = f"{abs(fresh)} photos {'more' if fresh > 0 else 'fewer'} than measured"
        return f"{told}: `counterset run`, then ask again"
    if now <= width:
        return "enough"
    if guess.photos is None:
        return "out of reach: a background of the pair gets no further photos"
    return "as many again would be a guess" if guess.high is None else "go on"


def text(result: Mapping[str, Any]) -> str:
    """What each class still needs, for a person, at most `WIDE` columns wide."""
    lines = [
        f"{'class':<20}{'drop':>7}  {'95 % interval':<17}{'width':>6}{'photos':>8}"
        f"{'more':>8}  {'range':<15}{'labels':>8}{'left':>7}"
    ]
    for row in result["classes"]:
        measured = row["drop"] is not None
        interval = f"{row['low']:.1f} to {row['high']:.1f}" if measured else "-"
        more = "-" if row["more_photos"] is None else f"{row['more_photos']:,}"
        ends = [row["more_low"], row["more_high"]]
        between = " to ".join("…" if end is None else f"{end:,}" for end in ends)
        lines.append(
            f"{row['class']:<20}{_points(row['drop']):>7}  {interval:<17}"
            f"{_points(row['width']):>6}{row['photos']:>8,}{more:>8}  "
            f"{between if row['more_photos'] else '':<15}"
            f"{row['labels']:>8,}{row['left']:>7,}"
        )
        lines += [f"  {line}" for line in wrap(row["why"], WIDE - 2)]
    told = (
        f"{result['labels']:,} more labels until every interval that can be is "
        f"narrower than {result['width']:g} points; `range` holds in four of five cases"
    )
    return "\n".join([*lines, "", *wrap(told, WIDE)])


def _points(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
