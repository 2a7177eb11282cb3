"""Does the stopping rule keep its word? Worlds whose truth is known, labelled by it.

    python -m benchmarks.stopping_rule [--worlds 60] [--seed 0] [--only WORDS]

First the rule. In each world one class is labelled, photos in random order, until two
backgrounds have 30 photos; then the rule says how many more it takes.

actual   photos labelled when the interval is first narrower than the target (median)
ratio    photos the rule foretold / actual: quantiles 10, 50, 90 %
range    share of worlds whose actual number lies in the rule's range (80 % aimed at)
once     share of worlds whose interval is narrow enough (within a tenth) after exactly
         as many photos as foretold; `width` is its median width, points
rounds   times the rule was asked until it said enough (median)
extra    photos at that moment / actual (median)
cover    share of intervals, at that moment, that hold the drop they estimate

Then the order. A class whose photos lie mostly on one background is labelled, 40
photos at a time, in the order of `tasks` and in random order: photos when two
backgrounds have 30, and when the interval is first narrower than the target.
"""

import argparse
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.discovery import Plan
from curation.discovery import Rule as Picking
from curation.discovery import judge as discovered
from curation.discovery.cells import ClassCounts, count
from curation.discovery.findings import ClassFinding
from curation.schemas import empty, from_rows
from curation.stages import resolve, tasks
from curation.stopping import Facts, Row, Rule, judge

LEAST = 30
MOST = 12_000  # photos in a world
PLAN = Plan(splits=100, permutations=99)

Rng = np.random.Generator
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Kind:
    """One class to be.

    Attributes:
        truth: accuracy on each background.
        shares: of photos on each background.
        cluster: mean photos per cluster, which correlate by `alike`.
        alike: their correlation.
    """

    truth: tuple[float, ...]
    shares: tuple[float, ...]
    cluster: int = 1
    alike: float = 0.0


KINDS = {
    "40 points, even": Kind((0.9, 0.5), (0.5, 0.5)),
    "40 points, one in ten counter": Kind((0.9, 0.5), (0.9, 0.1)),
    "15 points, even": Kind((0.75, 0.6), (0.5, 0.5)),
    "no drop, even": Kind((0.7, 0.7), (0.5, 0.5)),
    "30 points, 4 backgrounds": Kind((0.9, 0.8, 0.75, 0.6), (0.5, 0.25, 0.15, 0.1)),
    "30 points, 4 b., three alike": Kind((0.9, 0.6, 0.6, 0.6), (0.25,) * 4),
    "30 points, clusters of 3": Kind((0.9, 0.6), (0.7, 0.3), cluster=3, alike=0.5),
    "near 100 %": Kind((0.99, 0.9), (0.6, 0.4)),
}


@dataclass(frozen=True, slots=True)
class Photos:
    """A world's photos in the order they are asked."""

    background: Ints
    cluster: Ints
    right: NDArray[np.bool_]

    def counts(self, chosen: Ints | slice) -> ClassCounts:
        """What the photos chosen add up to; clusters in their own order."""
        return count(
            "class",
            np.array([f"b{b}" for b in self.background[chosen]]),
            np.array([f"{c:06}" for c in self.cluster[chosen]]),
            self.right[chosen].astype(np.int64),
        )


def draw(kind: Kind, photos: int, rng: Rng) -> Photos:
    """Photos of a kind; those of a cluster share their background and follow on."""
    ends = rng.random(photos) < 1 / kind.cluster
    cluster = np.concatenate([[0], np.cumsum(ends)[:-1]])
    background = rng.choice(len(kind.shares), cluster[-1] + 1, p=kind.shares)[cluster]
    chance = np.array(kind.truth)[background]
    shared = rng.random(cluster[-1] + 1)[cluster] < chance
    repeats = rng.random(photos) < kind.alike**0.5
    right = np.where(repeats, shared, rng.random(photos) < chance)
    return Photos(background, cluster, right)


def measured(counts: ClassCounts) -> tuple[ClassFinding, list[Row]]:
    """A class's finding, and its rows of `evidence`."""
    (found,) = discovered([counts], Picking(5.0, LEAST), plan=PLAN).classes
    cross, naive = found.cross, found.naive
    rows: list[Row] = [
        {
            "level": "class",
            "n": int(counts.n.sum()),
            "cross_drop": cross.drop if cross.defined else None,
            "cross_low": cross.low,
            "cross_high": cross.high,
            "naive_drop": naive.drop,
            "naive_low": naive.low,
            "naive_high": naive.high,
        }
    ]
    rows += [
        {
            "level": "background",
            "background": name,
            "n": int(counts.n[b]),
            "n_clusters": int(counts.n_clusters[b]),
            "correct": float(counts.correct[b]),
            "accuracy": 100 * float(counts.accuracy[b]),
        }
        for b, name in enumerate(counts.backgrounds)
    ]
    return found, rows


def said(counts: ClassCounts, rows: Sequence[Row], width: float, left: int) -> Row:
    """What the rule says, with no proposals to go by."""
    n = counts.n.astype(float)
    names = counts.backgrounds
    facts = Facts(
        name=counts.name,
        counts=dict(zip(names, counts.n.tolist(), strict=True)),
        decided=int(counts.n.sum()),
        left=left,
        wanted=1.0,
        shares=dict(zip(names, (n / n.sum()).tolist(), strict=True)),
        kept=1.0,
    )
    return judge(facts, rows, Rule(width=width, min_photos=LEAST))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the rule fared in one world."""

    actual: int
    foretold: int
    inside: bool
    once: float
    rounds: int
    stopped: int
    covered: bool


def follow(kind: Kind, width: float, rng: Rng) -> Outcome | None:
    """Label one world by the rule; None where the photos do not suffice."""
    photos = draw(kind, MOST, rng)
    per = np.array([np.cumsum(photos.background == b) for b in range(len(kind.truth))])
    enough = np.flatnonzero((per >= LEAST).sum(axis=0) >= 2)
    start = int(enough[0]) + 1
    actual = _first(photos, start, width)
    counts = photos.counts(slice(start))
    _, rows = measured(counts)
    row = said(counts, rows, width, MOST - start)
    if actual is None or row["more_photos"] is None:
        return None
    foretold = start + row["more_photos"]
    high = row["more_high"]
    inside = row["more_low"] <= actual - start <= (MOST if high is None else high)
    once = np.nan
    if foretold <= MOST:
        found, _ = measured(photos.counts(slice(foretold)))
        once = found.cross.high - found.cross.low
    at, rounds = start, 1
    while not row["enough"]:
        at = min(at + max(row["more_photos"], 1), MOST)
        counts = photos.counts(slice(at))
        _, rows = measured(counts)
        row, rounds = said(counts, rows, width, MOST - at), rounds + 1
    found, _ = measured(photos.counts(slice(at)))
    return Outcome(
        actual, foretold, inside, once, rounds, at, _covered(found, kind.truth)
    )


def _first(photos: Photos, start: int, width: float) -> int | None:
    """Photos, in steps of 2 %, when the interval is first narrow enough."""
    at = start
    while at <= MOST:
        found, _ = measured(photos.counts(slice(at)))
        if found.cross.high - found.cross.low <= width:
            return at
        at += max(at // 50, 1)
    return None


def _covered(found: ClassFinding, truth: Sequence[float]) -> bool:
    """Whether the interval holds the mean true drop of the pairs the halves pick."""
    halves = found.splits
    assert halves is not None
    able = [
        truth[int(name[1:])]
        for name, fits in zip(
            found.counts.backgrounds, found.pick.eligible, strict=True
        )
        if fits
    ]
    values = 100 * np.array(able)
    target = (values[halves.common] - values[halves.counter])[halves.valid].mean()
    return bool(found.cross.low <= target <= found.cross.high)


def rule_lines(worlds: int, seed: int, only: str) -> Iterator[str]:
    """The first table."""
    yield (
        f"{'world':32}{'target':>7}{'actual':>7}  {'ratio 10 50 90 %':17}{'range':>6}"
        f"{'once':>6}{'width':>7}{'rounds':>7}{'extra':>6}{'cover':>6}{'worlds':>7}"
    )
    for name, kind in KINDS.items():
        for width in (20.0, 10.0):
            if only not in name:
                continue
            rngs = (np.random.default_rng([seed, place]) for place in range(worlds))
            found = [f for rng in rngs if (f := follow(kind, width, rng))]
            if not found:
                continue
            ratio = np.quantile([f.foretold / f.actual for f in found], [0.1, 0.5, 0.9])
            once = np.array([f.once for f in found])
            yield (
                f"{name:32}{width:7.0f}{np.median([f.actual for f in found]):7.0f}  "
                f"{ratio[0]:.2f} {ratio[1]:.2f} {ratio[2]:.2f}   "
                f"{100 * np.mean([f.inside for f in found]):6.0f}"
                f"{100 * np.mean(once <= 1.1 * width):6.0f}{np.nanmedian(once):7.1f}"
                f"{np.median([f.rounds for f in found]):7.0f}"
                f"{np.median([f.stopped / f.actual for f in found]):6.2f}"
                f"{100 * np.mean([f.covered for f in found]):6.0f}{len(found):7}"
            )


def reached(
    kind: Kind, *, width: float, photos: int, informative: bool, rng: Rng
) -> tuple[int, int]:
    """Photos labelled until two backgrounds have 30, and until the interval is narrow.

    `photos` stands for never. Embeddings lie around their background's direction;
    proposals see them through noise of their own.
    """
    world = draw(kind, photos, rng)
    backgrounds = len(kind.truth)
    ids = [hashlib.sha256(f"{i}".encode()).hexdigest() for i in range(photos)]
    names = tuple(f"b{b}" for b in range(backgrounds))
    vectors = np.eye(16)[world.background] + 0.35 * rng.normal(size=(photos, 16))
    scores = 3 * np.eye(backgrounds)[world.background]
    scores += 1.5 * rng.normal(size=scores.shape)
    tables = _tables(ids, names, vectors, scores)
    settings = tasks.Settings(1, 0.8, False, names, LEAST, resolve.Settings(1, (), ()))
    place = {photo_id: i for i, photo_id in enumerate(ids)}
    done: list[int] = []
    events: list[Row] = []
    pilot = photos
    waiting = rng.permutation(photos).tolist()
    while len(done) < photos:
        if informative and done:
            asked = tasks.run(
                tables | {"label_events": from_rows(events, "label_events")}, settings
            )
            waiting = [place[i] for i in asked["photo_id"].to_pylist()]
        batch, waiting = waiting[:40], waiting[40:]
        done += batch
        events += [_event(ids[i], names[world.background[i]]) for i in batch]
        found, _ = measured(world.counts(np.sort(done)))
        if found.splits is None:
            continue
        pilot = min(pilot, len(done))
        if found.cross.high - found.cross.low <= width:
            return pilot, len(done)
    return pilot, photos


def _event(photo_id: str, answer: str) -> Row:
    return {
        "event_id": photo_id, "photo_id": photo_id, "question": "background",
        "answer": answer, "annotator": "a", "origin": "chosen",
        "created_at": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip


def _tables(
    ids: list[str],
    names: Sequence[str],
    vectors: NDArray[np.float64],
    scores: NDArray[np.float64],
) -> Row:
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    order = np.argsort(-p, axis=1)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    photos = [
        {
            "photo_id": photo, "candidate_id": "", "class": "class",
            "classes": ["class"], "observation_id": photo, "composed": False,
            "bytes": 1, "format": "JPEG", "width": 1, "height": 1, "order": i,
        }
        for i, photo in enumerate(ids)
    ]  # fmt: skip
    proposals = [
        {
            "photo_id": photo, "background": names[order[i, 0]],
            "second": names[order[i, 1]], "probability": p[i, order[i, 0]],
            "margin": p[i, order[i, 0]] - p[i, order[i, 1]],
            "abstained": bool(p[i].max() < 0.5), "probabilities": p[i].tolist(),
            "temperature": 1.0, "calibrated_on": 0,
        }
        for i, photo in enumerate(ids)
    ]  # fmt: skip
    embedded = [
        {"photo_id": photo, "status": "ok", "embedding": unit[i].tolist()}
        for i, photo in enumerate(ids)
    ]
    return {
        "photos": from_rows(photos, "photos"),
        "duplicates": empty("duplicates"),
        "proposals": from_rows(proposals, "proposals"),
        "flags": empty("flags"),
        "embeddings": from_rows(embedded, "embeddings"),
    }


ORDERS = {
    "2 backgrounds, 92 to 8": Kind((0.9, 0.5), (0.92, 0.08)),
    "4 backgrounds, 62 to 4": Kind((0.9, 0.8, 0.7, 0.5), (0.62, 0.25, 0.09, 0.04)),
    "2 backgrounds, even": Kind((0.9, 0.5), (0.5, 0.5)),
}


def order_lines(worlds: int, seed: int) -> Iterator[str]:
    """The second table."""
    yield (
        f"{'world':32}{'target':>7}{'30 on two: tasks':>18}{'random':>8}"
        f"{'narrow: tasks':>15}{'random':>8}{'worlds':>8}"
    )
    for name, kind in ORDERS.items():
        found = np.array(
            [
                [
                    reached(
                        kind, width=20.0, photos=1600, informative=informative,
                        rng=np.random.default_rng([seed, place]),
                    )
                    for informative in (True, False)
                ]
                for place in range(worlds)
            ]
        )  # fmt: skip
        middle = np.median(found, axis=0)
        yield (
            f"{name:32}{20:7.0f}{middle[0, 0]:18.0f}{middle[1, 0]:8.0f}"
            f"{middle[0, 1]:15.0f}{middle[1, 1]:8.0f}{worlds:8}"
        )


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=60)
    parser.add_argument("--orders", type=int, default=5, help="worlds of the second")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="kinds whose name contains this")
    asked = parser.parse_args()
    for line in rule_lines(asked.worlds, asked.seed, asked.only):
        print(line, flush=True)
    print()
    for line in order_lines(asked.orders, asked.seed) if asked.orders else ():
        print(line, flush=True)


if __name__ == "__main__":
    main()
