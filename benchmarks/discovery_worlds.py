"""Does group discovery tell the truth? Worlds whose truth is known, judged many times.

    python benchmarks/discovery_worlds.py [--worlds 100] [--seed 0] [--only WORDS]

One line per kind of world; points throughout, means over the worlds:

naive      naive drop of the kept classes
released   true drop of the kept classes' pairs
target     true drop of the pairs the halves pick: what the cross-fitted drop estimates
cross      cross-fitted drop; `bias` is cross - target, `± mc` twice its standard error
cover      share of worlds whose 95 % interval holds the target; `class` the same per
           class
false      mean share of false discoveries (q <= 0.05, no background matters)
power      share of classes where backgrounds matter that are discovered
"""

import argparse
import csv
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curation.discovery import Findings, Plan, Rule, judge
from curation.discovery.cells import ClassCounts

SIZES = Path(__file__).parents[1] / "tests/data/counteranimal/table2_fig3_classes.csv"

Rng = np.random.Generator
Ints = NDArray[np.int64]
Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class World:
    """Photos per class and background, and the accuracy each really has.

    Attributes:
        sizes: one (M,) array of photos per class.
        truth: one (M,) array of accuracies per class, 0-1.
        cluster: mean photos per cluster; 1 makes all photos independent.
        alike: correlation of photos of one cluster, 0-1; of no effect without.
    """

    sizes: list[Ints]
    truth: list[Reals]
    cluster: int = 1
    alike: float = 0.0


def paper_sizes(backgrounds: int, rng: Rng) -> list[Ints]:
    """The paper's 45 classes; with more backgrounds, a class's photos are dealt out."""
    with SIZES.open(encoding="utf-8") as file:
        pairs = [
            (int(row["n_common"]), int(row["n_counter"]))
            for row in csv.DictReader(file)
        ]
    if backgrounds == 2:
        return [np.array(pair) for pair in pairs]
    even = np.full(backgrounds, 1 / backgrounds)
    return [rng.multinomial(sum(pair), even) for pair in pairs]


def demo_sizes(classes: int, rng: Rng) -> list[Ints]:
    """Classes of four backgrounds with 12 to 18 photos each."""
    return [rng.integers(12, 19, 4) for _ in range(classes)]


def null(sizes: list[Ints], rng: Rng) -> list[Reals]:
    """Accuracies of a model that does not look at backgrounds."""
    return [np.full(len(n), rng.beta(2.5, 2.0)) for n in sizes]


def planted(
    sizes: list[Ints], rng: Rng, *, drop: float, share: float, shape: str
) -> list[Reals]:
    """Accuracies that vary by `drop` in a share of the classes, by nothing elsewhere.

    shape "between" puts further backgrounds half-way, "home" makes one background good
    and all others bad.
    """
    truth = null(sizes, rng)
    for place in range(round(share * len(sizes))):
        best = rng.uniform(drop + 0.02, 0.98)
        values = np.full(len(sizes[place]), best - drop)
        if shape == "between":
            values[:] = best - drop / 2
            values[-1] = best - drop
        values[0] = best
        truth[place] = rng.permutation(values)
    return truth


def observe(world: World, rng: Rng) -> list[ClassCounts]:
    """Draw photos and answers."""
    return [
        _observe_class(f"class {place:03}", sizes, truth, world, rng)
        for place, (sizes, truth) in enumerate(
            zip(world.sizes, world.truth, strict=True)
        )
    ]


def _observe_class(
    name: str, sizes: Ints, truth: Reals, world: World, rng: Rng
) -> ClassCounts:
    background = np.repeat(np.arange(len(sizes)), sizes)
    chance = truth[background]
    if world.cluster > 1:
        # photos of a cluster are neighbours; ends are drawn, so sizes vary
        ends = rng.random(len(background)) < 1 / world.cluster
        ends[np.cumsum(sizes)[:-1] - 1] = True
        of = np.concatenate([[0], np.cumsum(ends)[:-1]])
        # with chance sqrt(alike) a photo repeats its cluster's draw: pairs correlate
        # by `alike`
        shared = rng.random(of[-1] + 1)[of] < chance
        own = rng.random(len(background)) < chance
        repeats = rng.random(len(background)) < world.alike**0.5
        right = np.where(repeats, shared, own)
    else:
        of = np.arange(len(background))
        right = rng.random(len(background)) < chance
    photos = np.zeros((of[-1] + 1, len(sizes)), np.int64)
    votes = np.zeros_like(photos)
    np.add.at(photos, (of, background), 1)
    np.add.at(votes, (of, background), right)
    return ClassCounts(name, tuple(f"b{i}" for i in range(len(sizes))), photos, votes)


@dataclass(frozen=True, slots=True)
class Score:
    """How one world was judged; points."""

    naive: float
    released: float
    target: float
    cross: float
    covered: bool
    classes_covered: float
    false_share: float
    power: float


def score(world: World, found: Findings) -> Score:
    """Hold findings against the truth."""
    target, released, covered = _targets(world, found)
    real = np.array([np.ptp(t) > 0 for t in world.truth])
    flagged = np.array([f.q_value <= 0.05 for f in found.classes])
    return Score(
        naive=found.naive.drop,
        released=released,
        target=target,
        cross=found.cross.drop,
        covered=found.cross.low <= target <= found.cross.high,
        classes_covered=covered,
        false_share=float((flagged & ~real).sum() / max(flagged.sum(), 1)),
        power=float(flagged[real].mean()) if real.any() else float("nan"),
    )


def _targets(world: World, found: Findings) -> tuple[float, float, float]:
    """Dataset's target, true drop of the released pairs, share of classes covered."""
    covered, released, drops, kept = [], [], [], []
    for finding, truth in zip(found.classes, world.truth, strict=True):
        picked, halves = finding.pick, finding.splits
        if halves is None:
            continue
        able = truth[picked.eligible]
        drops.append(100 * (able[halves.common] - able[halves.counter]))
        kept.append(halves.kept)
        own = drops[-1][halves.valid].mean()
        covered.append(finding.cross.low <= own <= finding.cross.high)
        if picked.kept:
            released.append(100 * (truth[picked.common] - truth[picked.counter]))
    number = np.sum(kept, axis=0)
    some = number > 0
    total = (np.array(drops) * kept).sum(axis=0)
    target = float((total[some] / number[some]).mean())
    return target, float(np.mean(released)), float(np.mean(covered))


Make = Callable[[Rng], World]


def kinds() -> dict[str, Make]:
    """Kinds of worlds by name."""

    def blind(backgrounds: int, cluster: int = 1) -> Make:
        def make(rng: Rng) -> World:
            sizes = paper_sizes(backgrounds, rng)
            return World(sizes, null(sizes, rng), cluster, alike=0.5)

        return make

    def seeing(
        backgrounds: int, drop: float, share: float, shape: str, cluster: int = 1
    ) -> Make:
        def make(rng: Rng) -> World:
            sizes = paper_sizes(backgrounds, rng)
            truth = planted(sizes, rng, drop=drop, share=share, shape=shape)
            return World(sizes, truth, cluster, alike=0.5)

        return make

    def small(classes: int, drop: float, shape: str) -> Make:
        def make(rng: Rng) -> World:
            sizes = demo_sizes(classes, rng)
            truth = planted(
                sizes, rng, drop=drop, share=0.5 if drop else 0.0, shape=shape
            )
            return World(sizes, truth)

        return make

    return {
        **{f"null, {m} backgrounds": blind(m) for m in range(2, 7)},
        "null, 4 backgrounds, clusters of 3": blind(4, cluster=3),
        "all 30 points, 2 backgrounds": seeing(2, 0.3, 1.0, "home"),
        "all 30 points, 4 backgrounds, home": seeing(4, 0.3, 1.0, "home"),
        "half 30 points, 2 backgrounds": seeing(2, 0.3, 0.5, "home"),
        "half 30 points, 4 backgrounds": seeing(4, 0.3, 0.5, "between"),
        "half 30 points, 4 b., clusters of 3": seeing(
            4, 0.3, 0.5, "between", cluster=3
        ),
        "all 15 points, 4 backgrounds": seeing(4, 0.15, 1.0, "between"),
        "all 5 points, 3 backgrounds": seeing(3, 0.05, 1.0, "between"),
        "demo size, null": small(12, 0.0, "home"),
        "demo size, half 40 points, home": small(12, 0.4, "home"),
        "demo size, half 40 points, between": small(12, 0.4, "between"),
        "demo size, 3 classes, null": small(3, 0.0, "home"),
    }


def simulate(
    make: Make, *, worlds: int, seed: int, splits: int = 100, permutations: int = 1000
) -> Iterator[Score]:
    """Judge many worlds of one kind; worlds that keep no class are left out."""
    rule = Rule(min_drop_points=5.0, min_photos=12)
    for place in range(worlds):
        rng = np.random.default_rng([seed, place])
        world = make(rng)
        plan = Plan(splits, permutations, seed=seed * 1_000_003 + place)
        found = judge(observe(world, rng), rule, plan=plan)
        if found.naive.defined and found.cross.defined:
            yield score(world, found)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="kinds whose name contains this")
    asked = parser.parse_args()
    spread = 1.96 * (0.95 * 0.05 / asked.worlds) ** 0.5
    print(
        f"{asked.worlds} worlds a kind; by chance alone an exact 95 % interval covers "
        f"{100 * (0.95 - spread):.1f} to {100 * min(0.95 + spread, 1):.1f} %"
    )
    print(
        f"{'world':37}{'naive':>6}{'released':>9}{'target':>7}{'cross':>7}{'bias':>6}"
        f"{'± mc':>6}{'cover':>7}{'class':>7}{'false':>7}{'power':>7}{'s':>5}"
    )
    for name, make in kinds().items():
        if asked.only in name:
            start = time.perf_counter()
            rows = list(simulate(make, worlds=asked.worlds, seed=asked.seed))
            print(line(name, rows, time.perf_counter() - start), flush=True)


def line(name: str, rows: list[Score], seconds: float) -> str:
    """One line of the table."""

    def mean(column: str) -> float:
        return float(np.mean([getattr(row, column) for row in rows]))

    errors = np.array([row.cross - row.target for row in rows])
    return (
        f"{name:37}{mean('naive'):6.1f}{mean('released'):9.1f}{mean('target'):7.1f}"
        f"{mean('cross'):7.1f}{errors.mean():+6.2f}"
        f"{2 * errors.std() / len(rows) ** 0.5:6.2f}"
        f"{100 * mean('covered'):7.1f}{100 * mean('classes_covered'):7.1f}"
        f"{100 * mean('false_share'):7.1f}{100 * mean('power'):7.1f}{seconds:5.0f}"
    )


if __name__ == "__main__":
    main()
