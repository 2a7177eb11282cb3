"""Selection: licences, caps, quotas and photos known already, row after row."""

from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation import crawls
from curation.actions.collect import identified
from curation.config import Collect
from curation.errors import InputError
from curation.selection import Licences, Selection, Tally
from curation.sources import Candidate

CLASSES = ("bear", "fox")


def record(key: int | str, class_: str = "bear", **facts) -> Candidate:
    facts = {
        "licence": "CC-BY-4.0",
        "photo_key": f"here:{key}",
        "observation_id": f"o{key}",
        "observer": f"w{key}",
        "observed_on": "2024-05-01",
    } | facts
    url = f"https://photos.example/{key}.jpg"
    return Candidate(
        source="here", key=str(key), revision="1", class_=class_, url=url, **facts
    )


def reasons(
    records, *, selection=None, place=0, classes=CLASSES, limit=0, **settings
) -> list[str | None]:
    selection = selection or Selection(Collect(**settings), CLASSES, limit=limit)
    rows = crawls.frame(records)
    return selection.take(rows, place=place, classes=classes)["refused"].to_list()


@pytest.mark.parametrize(
    ("licence", "listed", "allowed"),
    [
        ("CC-BY-4.0", ["CC-BY"], True),
        ("CC-BY-3.0-DE", ["CC-BY"], True),
        ("CC-BY", ["CC-BY"], True),
        ("CC-BY-SA-4.0", ["CC-BY"], False),
        ("CC-BY-NC-4.0", ["CC-BY"], False),
        ("CC-BY-4.0", ["cc-by 4.0"], True),
        ("CC-BY-2.0", ["CC-BY-4.0"], False),
        ("CC-BY", ["CC-BY-4.0"], False),
        ("CC0-1.0", ["CC0"], True),
        ("Public Domain", ["pd"], True),
        ("GFDL-1.2", ["GFDL"], True),
        ("CC-BY-4.0", [], False),
    ],
)
def test_a_name_without_version_stands_for_every_version(licence, listed, allowed):
    assert (Licences(listed).refusal(licence, None) is None) is allowed


def test_a_licence_that_is_not_let_in_missing_or_unknown_is_refused():
    found = reasons(
        [
            record(1, licence="CC-BY-ND-4.0"),
            record(2, licence=None),
            record(3, licence=None, licence_text="ask me"),
            record(4),
        ]
    )
    assert found == [
        "licence CC-BY-ND-4.0 is not let in (collect.licences)",
        "no licence is stated",
        "licence not recognised: ask me",
        None,
    ]


def test_what_a_source_refused_stays_refused():
    assert reasons([record(1, refused="not a still image")]) == ["not a still image"]


def test_caps_count_what_passed_and_nothing_else():
    same = {"observation_id": "o1"}
    found = reasons(
        [record(1, licence=None, **same), record(2, **same), record(3, **same)]
    )
    assert found[0] == "no licence is stated"
    assert found[1:] == [
        None,
        "enough photos of its observation (collect.per_observation)",
    ]


def test_a_burst_is_cut_to_the_cap_of_its_observer_and_day():
    days = ["2024-05-01"] * 4 + ["2024-05-02", None, None]
    records = [
        record(place, observer="w", observed_on=day) for place, day in enumerate(days)
    ]
    found = reasons(records, per_observer=5, per_observer_day=2)
    day = "enough photos of its observer's day (collect.per_observer_day)"
    assert found == [None, None, day, day, None, None, None]
    assert reasons([*records, record(9, observer="w")], per_observer_day=2)[-1] == day
    found = reasons(records, per_observer=3, per_observer_day=2)
    observer = "enough photos of its observer (collect.per_observer)"
    assert found == [None, None, day, day, None, observer, observer]


def test_zero_means_no_cap_on_observers():
    records = [record(place, observer="w") for place in range(200)]
    assert set(reasons(records, per_observer=0, per_observer_day=0)) == {None}


def test_who_is_unknown_has_no_cap():
    records = [
        record(place, observer=None, observation_id=None, observed_on=None)
        for place in range(60)
    ]
    assert set(reasons(records, per_observer=1, per_observer_day=1)) == {None}


def test_caps_hold_within_a_class():
    records = [record(1, "bear", observer="w"), record(2, "fox", observer="w")]
    assert reasons(records, per_observer=1) == [None, None]


def test_a_photo_known_from_another_source_is_refused_in_the_same_class_only():
    selection = Selection(Collect(), CLASSES)
    known = "inaturalist:7"
    assert reasons([record(1, photo_key=known)], selection=selection) == [None]
    found = reasons(
        [record("a", photo_key=known), record("b", "fox", photo_key=known)],
        selection=selection,
        place=1,
    )
    assert found == ["the same photo as an earlier record (photo_key)", None]


def test_without_a_key_a_photo_is_known_by_its_url():
    first, second = record(1, photo_key=None), record(1, photo_key=None, note="again")
    found = reasons([first, second], per_observation=5)
    assert found == [None, "the same photo as an earlier record (photo_key)"]


def test_what_was_refused_does_not_keep_another_record_of_the_photo_out():
    known = "inaturalist:7"
    found = reasons(
        [record(1, photo_key=known, licence=None), record(2, photo_key=known)]
    )
    assert found == ["no licence is stated", None]


def test_rows_end_where_every_class_has_enough():
    records = [record(place, CLASSES[place % 3 == 2]) for place in range(12)]
    found = reasons(records, per_class=2)
    # bear bear fox bear bear fox: the second fox is the last that is wanted
    enough = "enough photos of its class (collect.per_class)"
    assert found == [None, None, None, enough, enough, None]
    assert reasons(records, per_class=2, classes=["bear"]) == [None, None]


def test_the_quota_is_per_source_and_the_limit_is_for_all():
    selection = Selection(Collect(per_class=2), CLASSES, limit=3)
    first = reasons([record(1), record(2), record(3)], selection=selection)
    assert first == [None, None, "enough photos of its class (collect.per_class)"]
    assert selection.enough(["bear"], place=0)
    assert selection.wanted("bear", place=1) == 1
    second = [record("a"), record("b")]
    assert reasons(second, selection=selection, place=1, classes=["bear"]) == [None]
    assert selection.enough(["bear"], place=2)
    assert not selection.enough(CLASSES, place=2)


def test_a_class_that_nobody_asked_for_is_refused():
    found = reasons([record(1, "wolf")])
    assert found == ["class 'wolf' is not in dataset.toml"]


def test_a_folder_is_held_to_the_limit_alone():
    rows = crawls.frame([record(place, licence=None) for place in range(5)])
    assert Selection(Collect(per_class=1), CLASSES).unselected(rows).height == 5
    assert Selection(Collect(), CLASSES, limit=2).unselected(rows).height == 2


facts = st.builds(
    record,
    st.integers(0, 40),
    st.sampled_from(CLASSES),
    licence=st.sampled_from(["CC-BY-4.0", "CC-BY-ND-4.0", None]),
    observation_id=st.sampled_from(["a", "b", "c", "d", None]),
    observer=st.sampled_from(["u", "v", None]),
    observed_on=st.sampled_from(["2024-05-01", "2024-05-02", None]),
)


@given(st.lists(facts, max_size=60), st.lists(st.integers(0, 60), max_size=5))
def test_pages_do_not_matter_and_no_cap_is_passed(records, cuts):
    settings = Collect(
        per_class=6, per_observation=2, per_observer=4, per_observer_day=3
    )
    whole = reasons(records, selection=Selection(settings, CLASSES))
    selection, parts = Selection(settings, CLASSES), []
    edges = [0, *sorted(cuts), len(records)]
    for start, end in zip(edges, edges[1:], strict=False):
        parts += reasons(records[start:end], selection=selection)
    assert parts == whole
    passed = [r for r, why in zip(records, whole, strict=False) if why is None]
    for cap, key in (
        (6, lambda r: (r.class_,)),
        (2, lambda r: (r.class_, r.observation_id)),
        (4, lambda r: (r.class_, r.observer)),
        (1, lambda r: (r.class_, r.photo_key)),
    ):
        counts = Counter(key(r) for r in passed if None not in key(r))
        assert max(counts.values(), default=0) <= cap


@given(st.lists(st.lists(st.integers(0, 30), max_size=12), max_size=12))
def test_a_tally_counts_as_a_counter_does(pages):
    tally, counter = Tally(), Counter()
    for page in pages:
        keys = np.array(page, np.uint64)
        assert tally.counts(keys).tolist() == [counter[key] for key in page]
        tally.add(keys)
        counter.update(page)


def test_ids_in_rows_are_those_of_records():
    records = [record("ü\u2028\n\ud83e\udd8a", "fox"), record(2)]
    found = identified(crawls.frame(records))["candidate_id"].to_list()
    assert found[1] == records[1].candidate_id
    assert len(set(found)) == 2


def test_a_row_keeps_no_place_unless_a_coarse_one_is_asked_for():
    exact = record(1, latitude=47.123456, longitude=-8.987654)
    where = pl.col("latitude"), pl.col("longitude")
    assert crawls.frame([exact]).select(where).row(0) == (None, None)
    found = crawls.frame([exact], coordinates="coarse").select(where).row(0)
    assert found == (47.1, -9.0)


def test_a_record_that_fits_no_row_is_told():
    with pytest.raises(InputError, match="source here gave a record that fits no row"):
        crawls.frame([record(1, title=17)])
