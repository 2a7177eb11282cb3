"""Which photos become tasks, in which order, and what a task tells."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import InputError
from curation.labelling import gold, push, tasks
from curation.labelling.tasks import Ask, Facts
from tests.planted import planted

FACTS = Facts("bear", "A. Author, CC0-1.0", "snow", 0.4567)


def made(ask, facts=FACTS, *, kind="labels", blind=False):
    return tasks.task(ask, facts, "/p.jpg", kind=kind, blind=blind, version="v")


def test_a_task_tells_nothing_of_its_use():
    same = [
        made(Ask("p", use)) for use in (tasks.QUESTION, tasks.CALIBRATION, tasks.GOLD)
    ]
    assert same[0] == same[1] == same[2]


def test_a_proposal_is_selected_unless_it_is_hidden_or_abstained():
    shown = made(Ask("p", "question"))
    assert shown["data"]["proposed_score"] == "0.46"
    assert shown["predictions"][0]["result"][0]["value"] == {"choices": ["snow"]}
    abstained = made(Ask("p", "question"), Facts("bear", "", None, 0.0))
    assert "predictions" not in abstained
    assert abstained["data"]["proposed_background"] == "none"
    hidden = made(Ask("p", "question"), blind=True)
    settled = made(Ask("p", "adjudication", "snow 1"), kind="adjudication")
    for task in (hidden, settled):
        assert "predictions" not in task
        assert not any(name.startswith("proposed") for name in task["data"])
    assert settled["data"]["said"] == "snow 1"


@given(st.integers(0, 40), st.integers(0, 12))
def test_gold_is_spread_evenly_and_nothing_is_lost(questions, golden):
    ordinary = [Ask(f"q{n}", "question") for n in range(questions)]
    known = [Ask(f"g{n}", "gold") for n in range(golden)]
    mixed = tasks.spread(ordinary, known)
    assert [ask for ask in mixed if ask.use == "question"] == ordinary
    assert [ask for ask in mixed if ask.use == "gold"] == known
    places = [place for place, ask in enumerate(mixed) if ask.use == "gold"]
    steps = [b - a for a, b in zip(places, places[1:], strict=False)]
    assert not steps or max(steps) - min(steps) <= 1


@given(
    st.dictionaries(st.text("0123456789abcdef", min_size=4), st.sampled_from("xyz")),
    st.integers(0, 20),
)
def test_calibration_is_spread_over_classes(photos, count):
    chosen = tasks.over_classes(photos, count)
    assert len(chosen) == len(set(chosen)) == min(count, len(photos))
    taken = [sum(photos[p] == c for p in chosen) for c in "xyz"]
    there = [sum(class_ == c for class_ in photos.values()) for c in "xyz"]
    for have, of in zip(taken, there, strict=True):
        assert have == of or have >= max(taken) - 1
    # more calibration later keeps the first ones
    assert tasks.over_classes(photos, count + 3)[: len(chosen)] == chosen


def test_credit_is_one_line():
    assert tasks.credit({"attribution": "(c) A\n Author"}) == "(c) A Author"
    assert tasks.credit({}) == "author unknown, no licence stated"


def test_proposals_of_a_campaign_have_one_name():
    assert push.version("a" * 32) == push.version("a" * 32) == "counterset-aaaaaaaa"


def test_gold_photos_go_by_any_name(tmp_path):
    file = tmp_path / "gold.jsonl"
    route = planted(tmp_path / "work", 4, labels={"gold": str(file)})
    photo = route.table("photos").column("photo_id")[0].as_py()
    file.write_text(
        '{"photo": "bear/0.jpg", "question": "background", "answer": "ice"}\n'
        f'{{"photo": "{photo}", "question": "clarity", "answer": "no"}}\n'
    )
    known = gold.read(route)
    assert set(known.values()) == {"ice", "no"}
    assert known[photo, "clarity"] == "no"
    asks = tasks.wanted(route, kind="labels", have={}).asks
    assert {ask.photo_id for ask in asks if ask.use == "gold"} == {
        asked for asked, _ in known
    }
    assert len(asks) == 4


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("photo,question\nx,background\n", "missing answer"),
        ("photo,question,answer,when\n", "unknown column 'when'"),
        ("photo,question,answer\nx,background,snow\n", "line 2: photo: 'x' is none"),
        ("photo,question,answer\nbear/0.jpg,colour,snow\n", "line 2: question"),
        ("photo,question,answer\nbear/0.jpg,background,lava\n", "line 2: answer"),
    ],
)
def test_gold_that_is_wrong_is_refused(tmp_path, text, told):
    file = tmp_path / "gold.csv"
    file.write_text(text)
    route = planted(tmp_path / "work", 2, labels={"gold": str(file)})
    with pytest.raises(InputError, match=told):
        gold.read(route)


def test_gold_that_was_taken_down_is_left_out_and_told(tmp_path):
    file = tmp_path / "gold.csv"
    file.write_text("photo,question,answer\nbear/0.jpg,background,snow\n")
    route = planted(tmp_path / "work", 4, labels={"gold": str(file)})
    (photo,) = (asked for asked, _ in gold.read(route))
    row = {"photo_id": photo, "reason": "asked", "at": "2026-03-01", "records": []}
    route.append("takedowns", [row])
    wanted = tasks.wanted(route, kind="labels", have={})
    assert photo not in {ask.photo_id for ask in wanted.asks}
    assert any(photo[:12] in notice for notice in wanted.notices)
