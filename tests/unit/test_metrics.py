"""Laws of accuracy and drop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.errors import MetricError
from evaluation.metrics.accuracy import balanced, counts, micro, worst
from evaluation.metrics.drop import drops

rows = st.lists(
    st.tuples(st.booleans(), st.sampled_from("abcd"), st.sampled_from(["x", "y", ""])),
    min_size=1,
    max_size=60,
)
grouped = st.lists(
    st.tuples(
        st.booleans(),
        st.sampled_from(["common", "counter", "unused"]),
        st.sampled_from("abc"),
    ),
    min_size=1,
    max_size=80,
)


def columns(found):
    return [np.array(one) for one in zip(*found, strict=True)]


@given(rows)
def test_counts_are_what_a_loop_finds(found):
    correct, kind, place = columns(found)
    table = counts(correct, kind, place)
    for key, k, n in zip(table.keys, table.k, table.n, strict=True):
        inside = [row[0] for row in found if row[1:] == tuple(key)]
        assert (k, n) == (sum(inside), len(inside))
    assert table.n.sum() == len(found)


@given(rows)
def test_balanced_is_micro_of_equal_classes_and_in_range(found):
    correct, kind, _ = columns(found)
    per_class = [correct[kind == one].mean() for one in set(kind)]
    assert balanced(correct, kind) == pytest.approx(np.mean(per_class))
    low, high = min(per_class), max(per_class)
    assert low - 1e-12 <= micro(correct) <= high + 1e-12
    assert low - 1e-12 <= balanced(correct, kind) <= high + 1e-12


@given(rows, st.integers(2, 4))
def test_repeating_every_photo_changes_nothing(found, times):
    correct, kind, _ = columns(found)
    again = np.repeat(correct, times), np.repeat(kind, times)
    assert balanced(*again) == pytest.approx(balanced(correct, kind))
    assert micro(again[0]) == pytest.approx(micro(correct))


@given(rows, st.randoms())
def test_order_and_names_do_not_matter(found, random):
    correct, kind, _ = columns(found)
    shuffled = list(found)
    random.shuffle(shuffled)
    other, other_kind, _ = columns(shuffled)
    renamed = np.array(["z" + one for one in other_kind])
    assert balanced(other, renamed) == pytest.approx(balanced(correct, kind))


@given(rows)
def test_worst_is_no_better_than_any(found):
    correct, kind, place = columns(found)
    lowest = worst(correct, kind, place)
    assert lowest.accuracy == counts(correct, kind, place).accuracy.min()
    assert lowest.accuracy == lowest.k / lowest.n


@given(grouped)
def test_drop_by_a_loop_over_classes_in_both_groups(found):
    correct, group, kind = columns(found)
    both = sorted(set(kind[group == "common"]) & set(kind[group == "counter"]))
    if not both:
        with pytest.raises(MetricError):
            drops(correct, group, kind)
        return
    table = drops(correct, group, kind)
    assert table.classes.tolist() == both
    wanted = [
        correct[(kind == one) & (group == "common")].mean()
        - correct[(kind == one) & (group == "counter")].mean()
        for one in both
    ]
    assert table.drop == pytest.approx(np.array(wanted))
    common, counter = table.balanced
    assert table.balanced_drop == common - counter
    assert set(table.left_out) | set(both) == set(
        kind[(group == "common") | (group == "counter")]
    )


@given(grouped)
def test_swapping_the_groups_turns_the_sign(found):
    correct, group, kind = columns(found)
    swap = {"common": "counter", "counter": "common", "unused": "unused"}
    other = np.array([swap[one] for one in group])
    try:
        table = drops(correct, group, kind)
    except MetricError:
        return
    turned = drops(correct, other, kind)
    assert turned.balanced_drop == pytest.approx(-table.balanced_drop)


def test_nothing_is_an_error_and_never_nan():
    for call in (
        lambda: micro([]),
        lambda: balanced([], []),
        lambda: counts([], []),
        lambda: counts([True], ["a", "b"]),
        lambda: worst([True], ["a"], min_photos=2),
        lambda: drops([], [], []),
        lambda: drops([True], ["common"], ["a"]),
        lambda: drops([True, True], ["common", "counter"], ["a", "b"]),
        lambda: drops([True], ["common", "counter"], ["a"]),
    ):
        with pytest.raises(MetricError):
            call()
