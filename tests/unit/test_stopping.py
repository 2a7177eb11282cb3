"""How many more labels: against formulas, worlds with a known truth, and the route."""

from typing import Any

import numpy as np
import pytest

from benchmarks import stopping_rule
from curation import stopping
from curation.discovery.cells import ClassCounts, covariance
from curation.forecast import REACH, Forecast, Side, first_needed, forecast


def _error(accuracies: list[float], n: list[int], cluster: int = 1) -> float:
    """Standard error, points, of the drop of a class with these photos."""
    rows = [
        (side, right)
        for side, (p, number) in enumerate(zip(accuracies, n, strict=True))
        for right in [1] * round(p * number / cluster)
        + [0] * round((1 - p) * number / cluster)
    ]
    photos = np.zeros((len(rows), len(n)), np.int64)
    votes = np.zeros_like(photos)
    for place, (side, right) in enumerate(rows):
        photos[place, side], votes[place, side] = cluster, cluster * right
    counts = ClassCounts("fox", tuple("ab"[: len(n)]), photos, votes)
    return 100 * float(np.trace(covariance(counts))) ** 0.5


def _sides(
    accuracies: list[float], n: list[int], shares: list[float], cluster: int = 1
) -> list[Side]:
    return [
        Side(count, count // cluster, p * count, count, share)
        for p, count, share in zip(accuracies, n, shares, strict=True)
    ]


def _forecast(sides: list[Side], error: float, width: float = 10.0) -> Forecast:
    rng = np.random.default_rng(0)
    return forecast(sides, error=error, width=width, min_photos=30, rng=rng)


@pytest.mark.parametrize("cluster", [1, 5])
@pytest.mark.parametrize("n", [[50, 50], [160, 40]])
def test_as_many_photos_as_foretold_make_the_interval_as_wide_as_wanted(
    n: list[int], cluster: int
) -> None:
    accuracies = [0.9, 0.6]
    # of few clusters it is told that their variance may be larger than it looks
    n = [number * (10 if cluster > 1 else 1) for number in n]
    share = [number / sum(n) for number in n]
    error = _error(accuracies, n, cluster)

    found = _forecast(_sides(accuracies, n, share, cluster), error)

    assert found.photos is not None
    total = sum(n) + found.photos
    later = [round(total * s / 10 / cluster) * 10 * cluster for s in share]
    assert REACH * _error(accuracies, later, cluster) == pytest.approx(10, rel=0.03)
    assert found.low is not None
    assert found.high is None or found.low < found.photos < found.high


def test_nothing_more_when_it_is_narrow() -> None:
    n = [5000, 5000]

    found = _forecast(_sides([0.9, 0.6], n, [0.5, 0.5]), _error([0.9, 0.6], n))

    assert found.photos == 0


def test_a_rare_counter_background_costs_more_and_one_that_never_comes_all() -> None:
    error = _error([0.9, 0.6], [50, 50])

    even, rare, never = (
        _forecast(_sides([0.9, 0.6], [50, 50], [1 - s, s]), error).photos
        for s in (0.5, 0.05, 0.0)
    )

    assert even is not None
    assert rare is not None
    assert rare > 3 * even
    assert never is None


def test_photos_that_are_not_independent_cost_more() -> None:
    sides = _sides([0.9, 0.6], [50, 50], [0.5, 0.5])
    error = _error([0.9, 0.6], [50, 50])

    alone, alike = (_forecast(sides, e).photos for e in (error, 2 * error))

    assert alone is not None
    assert alike is not None
    assert alike > 3 * alone


def test_a_class_that_is_always_right_can_be_foretold() -> None:
    sides = _sides([1.0, 1.0, 1.0], [40, 40, 5], [0.5, 0.45, 0.05])

    found = _forecast(sides, _error([1.0, 1.0], [40, 40]), width=5.0)

    assert found.photos is not None
    assert found.photos > 0


def test_few_clusters_are_trusted_less() -> None:
    error = _error([0.9, 0.6], [60, 60])

    many, few = (
        _forecast([Side(60, k, 54, 60, 0.5), Side(60, k, 36, 60, 0.5)], error)
        for k in (60, 6)
    )

    assert many.photos is not None
    assert few.photos is None or few.photos > many.photos


def test_a_background_that_joins_is_counted_in() -> None:
    """The third background is the worst, and will have 30 photos soon."""
    accuracies, n = [0.9, 0.6, 0.2], [40, 40, 25]
    error = _error([0.9, 0.6], [40, 40])

    two = _forecast(_sides(accuracies[:2], n[:2], [0.5, 0.45]), error).photos
    three = _forecast(_sides(accuracies, n, [0.5, 0.45, 0.05]), error).photos

    assert two is not None
    assert three is not None
    assert three > 2 * two


def test_first_needed_waits_for_the_second_background() -> None:
    assert first_needed({"a": 40, "b": 40}, {"a": 0.5, "b": 0.5}, 30) == 0
    assert first_needed({"a": 40}, {"a": 1.0, "b": 0.0}, 30) is None
    assert first_needed({}, {"a": 0.5, "b": 0.25, "c": 0.25}, 30) == 120
    assert first_needed({}, {}, 30) is None


def _facts(**change: Any) -> stopping.Facts:
    usual: dict[str, Any] = {
        "name": "fox", "counts": {"a": 50, "b": 50}, "decided": 100, "left": 9999,
        "wanted": 2.0, "shares": {"a": 0.5, "b": 0.5}, "kept": 0.5,
    }  # fmt: skip
    return stopping.Facts(**usual | change)


def _evidence(half: float = 15.0) -> list[dict[str, Any]]:
    drops = {
        f"{kind}_{part}": value
        for kind in ("cross", "naive")
        for part, value in (("drop", 30.0), ("low", 30 - half), ("high", 30 + half))
    }
    sides = [("a", 45.0), ("b", 30.0)]
    return [
        {"level": "class", "n": 100, **drops},
        *(
            {"level": "background", "background": b, "n": 50, "n_clusters": 50,
             "correct": right, "accuracy": 2 * right}
            for b, right in sides
        ),
    ]  # fmt: skip


RULE = stopping.Rule(width=20.0, min_photos=30)


def test_labels_are_photos_times_answers_and_what_is_unusable_is_asked_too() -> None:
    row = stopping.judge(_facts(), _evidence(), RULE)
    half_lost = stopping.judge(_facts(decided=201), _evidence(), RULE)

    assert (row["drop"], row["width"], row["enough"]) == (30.0, 30.0, False)
    assert row["labels"] == 2 * row["more_photos"]
    assert row["collect"] == 0
    assert half_lost["more_photos"] == row["more_photos"]
    assert half_lost["labels"] == 4 * row["more_photos"]


def test_when_too_few_are_left_it_says_how_many_to_collect() -> None:
    more = stopping.judge(_facts(), _evidence(), RULE)["more_photos"]

    row = stopping.judge(_facts(left=10), _evidence(), RULE)

    assert row["collect"] == more - 10
    assert f"collect {more - 10:,} more" in row["why"]
    assert f"about {2 * (more - 10):,} records" in row["why"]


def test_enough_is_enough_unless_answers_came_since() -> None:
    row = stopping.judge(_facts(), _evidence(8.0), RULE)
    assert (row["enough"], row["more_photos"], row["labels"]) == (True, 0, 0)

    since = stopping.judge(
        _facts(counts={"a": 60, "b": 50}), _evidence(8.0),
        stopping.Rule(width=20.0, min_photos=30, current=False),
    )  # fmt: skip
    assert not since["enough"]
    assert "10 photos more than measured" in since["why"]


def test_a_class_without_a_drop_is_told_what_it_needs_first() -> None:
    short = _facts(counts={"a": 40, "b": 3}, decided=43, shares={"a": 0.9, "b": 0.1})
    row = stopping.judge(short, [], RULE)
    assert row["more_photos"] == 270
    assert row["labels"] == 540
    assert "40 on a and 3 on b" in row["why"]

    alone = stopping.judge(_facts(shares={"a": 1.0, "b": 0.0},
                                  counts={"a": 9, "b": 0}), [], RULE)  # fmt: skip
    assert alone["more_photos"] is None
    assert "no second background" in alone["why"]
    ready = stopping.judge(_facts(), [], RULE)
    assert "counterset run" in ready["why"]
    empty = stopping.judge(_facts(counts={}, left=0, shares={}), [], RULE)
    assert empty["why"] == "no photos"
    result = {"width": 20.0, "classes": [row, alone, ready, empty], "labels": 540}
    assert "540 more labels" in stopping.text(result)


def test_who_follows_the_rule_gets_there_with_about_as_many_as_foretold() -> None:
    kind = stopping_rule.KINDS["40 points, even"]
    found = [
        stopping_rule.follow(kind, 20.0, np.random.default_rng([5, world]))
        for world in range(4)
    ]

    assert all(outcome is not None and outcome.rounds <= 6 for outcome in found)
    ratios = [o.foretold / o.actual for o in found if o]
    assert 0.7 < np.median(ratios) < 1.4


def test_informative_first_fills_the_groups_with_fewer_labels() -> None:
    kind = stopping_rule.Kind((0.9, 0.5), (0.94, 0.06))
    informed, random = (
        stopping_rule.reached(
            kind, width=60.0, photos=900, informative=informative,
            rng=np.random.default_rng(3),
        )
        for informative in (True, False)
    )  # fmt: skip

    assert informed[0] < random[0]
    assert informed[1] < random[1]


def test_needed_on_a_route(world) -> None:
    world.run("--until", "tasks")
    before = world.json("labels", "needed")
    assert [row["class"] for row in before["classes"]] == ["bear", "dog"]
    assert all(row["drop"] is None and row["left"] == 16 for row in before["classes"])
    assert all(row["labels"] > 0 for row in before["classes"])

    world.label()
    waiting = world.json("labels", "needed")
    assert "counterset run" in waiting["classes"][1]["why"]
    world.run("--until", "group")
    after = world.json("labels", "needed", "--width", "5")
    assert after["width"] == 5
    (bear, dog) = after["classes"]
    assert dog["photos"] == 16
    assert bear["photos"] == 15
    assert bear["left"] == 1
    assert dog["high"] - dog["low"] == pytest.approx(dog["width"])
    assert dog["more_photos"] > 16
    assert dog["collect"] == dog["more_photos"]
    assert after["labels"] == sum(row["labels"] for row in after["classes"])
    assert not dog["enough"]
    wide = world.json("labels", "needed", "--width", "200")
    assert all(row["enough"] for row in wide["classes"])
    assert wide["labels"] == 0
    told = world.invoke("labels", "needed").stdout
    assert "dog" in told
    assert max(map(len, told.splitlines())) <= stopping.WIDE
    assert "more labels until" in told
