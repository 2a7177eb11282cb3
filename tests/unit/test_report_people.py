"""The people's part of the report: who agrees, who is right, whom proposals sway."""

import re

import pytest

from curation.reports import facts, people
from curation.reports.album import Album
from curation.schemas import from_rows
from tests.unit.test_report import config, page_of, text, world


def shown(**changes):
    """The world, in which simulated-c accepts whatever is proposed, at once."""
    made = world()
    events = made["tables"]["label_events"].to_pylist()
    proposals = {
        row["photo_id"]: row["background"]
        for row in made["tables"]["proposals"].to_pylist()
    }
    for event in events:
        proposal = proposals[event["photo_id"]]
        swayed = event["annotator"] == "simulated-c"
        event |= {"proposal": proposal, "lead_time_s": 1.0 if swayed else 6.5}
        if swayed:
            event["answer"] = proposal
        same = event["answer"] == proposal
        event["origin"] = "confirmed" if same else "chosen"
    for place, event in enumerate(list(events[:6])):
        events.append(event | {
            "annotator": "judge", "role": "adjudicator", "event_id": f"j{place}",
        })  # fmt: skip
    made["tables"]["label_events"] = from_rows(events, "label_events")
    return made | changes


def read(made) -> people.Answers:
    given = {key: made[key] for key in ("gold",) if key in made}
    report = facts.gather(made["config"], made["tables"], **given)
    return people.read(report, Album(made["read"]))


def part(made) -> str:
    html = page_of(made)
    return re.search(r'<section id="people".*?</section>', html, re.S)[0]


@pytest.fixture(scope="module")
def made():
    return shown()


def test_who_follows_proposals_shows(made):
    found = {a.name: a for a in read(made).annotators}

    swayed, other = found["simulated-c"], found["simulated-a"]
    assert swayed.accepted.value == 100
    assert swayed.wrong_accepted.value == 100
    assert swayed.wrong_accepted.n > 10
    assert (swayed.fast.value, other.fast.value) == (100, 0)
    assert (swayed.confirmed_s.value, other.confirmed_s.value) == (1.0, 6.5)
    said = text(part(made))
    assert "accepted though wrong" in said
    assert re.search(r"simulated-c simulated 100 % \d+ to 100 of \d+ 100 %", said)


def test_gold_is_shown_where_there_is_some(made):
    keys = [row["photo_id"] for row in made["tables"]["photos"].to_pylist()][:4]
    gold = {(key, "background"): "sky" for key in keys}
    assert "gold questions right" not in text(part(made))
    said = text(part(made | {"gold": gold}))
    assert "gold questions right" in said
    assert re.search(r"simulated-a simulated \S+ % [^%]* of \d+ 0 % 0 to 49 of 4", said)


def test_adjudicators_are_marked_and_do_not_count(made):
    found = read(made)
    assert [a.name for a in found.annotators if a.adjudicator] == ["judge"]
    (question,) = found.questions
    assert question.annotators == 3
    assert "judge" not in {name for pair in found.pairs for name in (pair.a, pair.b)}
    assert not found.simulated, "the judge is a person"
    assert re.search(
        r"judge</span> <span class=\"badge plain\">adjudicator", part(made)
    )


def test_every_estimate_has_its_interval(made):
    found = read(made)
    assert all(row.alpha.bounded for row in (*found.classes, *found.backgrounds))
    assert all(pair.kappa.bounded for pair in found.pairs)
    names, kappas = found.square
    assert len(names) == 3
    assert kappas["simulated-a", "simulated-b"] == kappas["simulated-b", "simulated-a"]
    html = part(made)
    assert html.count("to") > 40
    assert "nan" not in text(html).lower()


def test_exclusion_and_the_queue_are_told(made):
    out = made | {"config": config(resolve={"exclude": ["simulated-c"]})}
    found, without = read(made), read(out)
    assert found.waiting > 10
    assert without.waiting == 0, "the other two never differ"
    assert without.excluded == ("simulated-c",)
    said = text(part(out))
    assert "Left out of everything: simulated-c." in said
    assert f"{found.waiting} photos wait for an adjudicator" in text(part(made))


def test_nothing_answered(made):
    empty = made | {
        "tables": made["tables"] | {"label_events": from_rows([], "label_events")}
    }
    said = text(part(empty))
    assert "label_events" in said
    assert "annotator" not in said.replace("Do the annotators agree?", "")


def test_only_seconds_where_no_proposal_was_shown(made):
    events = [
        row | {"proposal": None, "origin": "chosen"}
        for row in made["tables"]["label_events"].to_pylist()
    ]
    tables = made["tables"] | {"label_events": from_rows(events, "label_events")}
    said = text(part(made | {"tables": tables}))
    assert "How long do they take?" in said
    assert "accepted" not in said


def test_small_classes_are_counted(made):
    events = made["tables"]["label_events"].to_pylist()
    koalas = [
        row["photo_id"]
        for row in made["tables"]["photos"].to_pylist()
        if row["class"] == "koala"
    ]
    few = [row for row in events if row["photo_id"] not in koalas[3:]]
    tables = made["tables"] | {"label_events": from_rows(few, "label_events")}
    found = read(made | {"tables": tables})
    assert [row.name for row in found.classes] == ["bison", "ice bear", "jaguar"]
    said = text(part(made | {"tables": tables}))
    assert "1 class with fewer than 6 photos answered twice is not listed" in said
