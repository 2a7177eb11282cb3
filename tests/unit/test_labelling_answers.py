"""Answers from what pulls saw: whenever they happened, the same answers stand."""

import copy
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curation import labels
from curation.config import Dataset
from curation.labelling import answers
from curation.labelling.seen import Look, Seen, answered
from curation.schemas import QUESTIONS, from_rows
from curation.shelf import Shelf
from curation.stages import resolve


def _config(*backgrounds: str) -> Dataset:
    return Dataset.model_validate(
        {
            "dataset": {"name": "d"},
            "classes": [{"name": "cat"}],
            "backgrounds": [{"name": n, "prompts": [n]} for n in backgrounds],
            "sources": [{"kind": "folder", "path": "."}],
        }
    )


CONFIG = _config("grass", "snow", "ice")
START = datetime(2026, 3, 1, 9, tzinfo=UTC)
ANN, BOB, EVE = 1, 2, 3


class _Names:
    """Pseudonyms without a server."""

    def name(self, user_id: int, campaign: str) -> str:
        return {ANN: "ann", BOB: "bob", EVE: "eve"}[user_id]


class _Server:
    """Annotations as a server keeps them, and a log of what pulls saw."""

    def __init__(self, *, skew: int = 0, kinds: tuple[str, ...] = ("labels",)) -> None:
        self.clock = START
        self.skew = timedelta(seconds=skew)
        self.kinds = dict(zip("cd", kinds, strict=False))
        self.proposals: dict[tuple[str, str], str | None] = {}
        self.config = CONFIG
        self.annotations: dict[int, dict[str, Any]] = {}
        self.places: dict[int, tuple[str, str]] = {}
        self.said: set[tuple[int, str, str]] = set()
        self.seen = Seen.of([])
        self.pulls = 0
        self.events: list[dict[str, Any]] = []

    def _tick(self) -> str:
        self.clock += timedelta(seconds=10)
        return self.clock.isoformat().replace("+00:00", "Z")

    def _wrote(self, number: int, person: int, background: str) -> None:
        self.said.add((number, _Names().name(person, ""), background))

    def submit(
        self, person: int, photo: str, background: str, *defects: str,
        campaign: str = "c", skip: bool = False, **more: Any,
    ) -> int:  # fmt: skip
        number, now = len(self.places) + 1, self._tick()
        self.places[number] = campaign, photo
        self.annotations[number] = {
            "id": number, "completed_by": person, "updated_by": person,
            "was_cancelled": skip, "ground_truth": False,
            "created_at": now, "updated_at": now, "lead_time": 2.5,
            "result": _result(background, *defects), **more,
        }  # fmt: skip
        self._wrote(number, person, background)
        return number

    def change(self, number: int, person: int, background: str, *defects: str) -> None:
        self.annotations[number] |= {
            "result": _result(background, *defects), "updated_by": person,
            "updated_at": self._tick(), "was_cancelled": False,
        }  # fmt: skip
        self._wrote(number, person, background)

    def mark(self, number: int, person: int) -> None:
        self.annotations[number] |= {
            "ground_truth": True, "updated_by": person, "updated_at": self._tick(),
        }  # fmt: skip

    def delete(self, number: int) -> None:
        self._tick()
        del self.annotations[number]

    def pull(self) -> list[dict[str, Any]]:
        """What a pull adds to the answers."""
        self._tick()
        self.pulls += 1
        at = (self.clock + self.skew).isoformat()
        for campaign in self.kinds:
            names: Any = _Names()
            look = Look(
                self.seen, campaign, self.pulls, at, names, self.config,
                lambda photo: photo in ("p", "q"),
            )  # fmt: skip
            for task, photo in enumerate(("p", "q", "unknown"), 1):
                found = [
                    copy.deepcopy(raw)
                    for number, raw in self.annotations.items()
                    if self.places[number] == (campaign, photo)
                ]
                rows = look.changes(
                    {"id": task, "data": {"key": photo}, "annotations": found}
                )
                self.seen.take(json.loads(json.dumps(rows)))
        new = labels.unseen(self.derive(), self.events)
        self.events += new
        return new

    def moment(self, number: int) -> str:
        text = self.annotations[number]["updated_at"]
        return resolve.instant(text).isoformat()

    def derive(self, rows: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
        return answers.derive(
            self.seen.rows if rows is None else rows,
            config=self.config,
            kinds=self.kinds,
            proposals=self.proposals,
        )

    def standing(self) -> dict[tuple[str, str, str], str]:
        from_rows(self.events, "label_events")  # they fit the table
        return {
            (event["photo_id"], event["annotator"], event["question"]): event["answer"]
            for event in resolve.latest(self.events)
        }

    def model(self) -> dict[tuple[str, str, str], str]:
        """Answers that stand, from the server's last state alone."""
        latest: dict[tuple[str, str, str], dict[str, Any]] = {}
        for number, raw in self.annotations.items():
            campaign, photo = self.places[number]
            if photo == "unknown" or "lava" in json.dumps(raw["result"]):
                continue
            key = campaign, photo, _Names().name(raw["completed_by"], "")
            if key not in latest or raw["updated_at"] > latest[key]["updated_at"]:
                latest[key] = raw
        found = {}
        # by campaign: what "d", the adjudication, says comes after and wins
        for (_, photo, person), raw in sorted(latest.items(), key=lambda one: one[0]):
            if raw["was_cancelled"]:
                continue
            chosen = [c for item in raw["result"] for c in item["value"]["choices"]]
            for question in QUESTIONS:
                ticked = "yes" if question in chosen else "no"
                answer = chosen[0] if question == "background" else ticked
                found[photo, person, question] = answer
        return found


def _result(background: str, *defects: str) -> list[dict[str, Any]]:
    chosen = {"background": [background], "quality": list(defects)}
    return [
        {"from_name": name, "to_name": "image", "type": "choices"}
        | {"value": {"choices": choices}}
        for name, choices in chosen.items()
        if choices
    ]


def _of(events: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(e["annotator"], e["question"], e["answer"]) for e in events]


def _defects(annotator: str, answer: str = "no") -> list[tuple[str, str, str]]:
    return [(annotator, question, answer) for question in QUESTIONS[1:]]


# single histories -------------------------------------------------------------------


def test_an_annotation_answers_every_question() -> None:
    server = _Server()
    number = server.submit(ANN, "p", "snow", "clarity")

    events = server.pull()

    assert [e["question"] for e in events] == list(QUESTIONS)
    assert [e["answer"] for e in events] == ["snow", "no", "no", "no", "yes", "no"]
    assert {e["created_at"] for e in events} == {server.moment(number)}
    assert {e["annotation"] for e in events} == {f"c/{number}"}
    assert [e["lead_time_s"] for e in events] == [2.5] + [None] * 5
    assert server.pull() == []


def test_only_what_changed_is_told() -> None:
    server = _Server()
    number = server.submit(ANN, "p", "snow")
    before = server.pull()
    server.change(number, ANN, "snow", "ambiguity")

    (event,) = server.pull()

    assert (event["question"], event["answer"]) == ("ambiguity", "yes")
    (old,) = [e for e in before if e["question"] == "ambiguity"]
    assert event["supersedes"] == old["event_id"]


def test_the_latest_of_several_annotations_counts_and_the_next_when_it_goes() -> None:
    server = _Server()
    server.submit(ANN, "p", "snow")
    second = server.submit(ANN, "p", "grass")
    server.pull()
    assert server.standing()["p", "ann", "background"] == "grass"

    server.delete(second)

    (event,) = server.pull()
    assert _of([event]) == [("ann", "background", "snow")]
    assert (
        event["created_at"] == server.seen.rows[-1]["at"]
    )  # now, not when it was said
    assert server.standing()["p", "ann", "background"] == "snow"


def test_a_skip_withdraws_what_was_said() -> None:
    server = _Server()
    server.submit(BOB, "p", "snow")
    server.submit(ANN, "p", "snow")
    server.pull()
    server.submit(ANN, "p", "snow", skip=True)

    assert _of(server.pull()) == [
        ("ann", "background", "skipped"),
        *_defects("ann", "withdrawn"),
    ]
    assert {person for _, person, _ in server.standing()} == {"bob"}


def test_a_skip_alone_is_one_event_and_an_answer_may_follow() -> None:
    server = _Server()
    server.submit(ANN, "p", "snow", skip=True)
    assert _of(server.pull()) == [("ann", "background", "skipped")]

    server.submit(ANN, "p", "ice")

    assert _of(server.pull()) == [("ann", "background", "ice"), *_defects("ann")]


@pytest.mark.parametrize("skew", [0, -86_400, 86_400])
def test_a_deleted_annotation_withdraws_whatever_the_clocks_say(skew: int) -> None:
    server = _Server(skew=skew)
    number = server.submit(ANN, "p", "snow")
    server.pull()
    server.delete(number)

    events = server.pull()

    assert _of(events) == [
        ("ann", "background", "withdrawn"),
        *_defects("ann", "withdrawn"),
    ]
    assert server.standing() == {}
    server.submit(ANN, "p", "snow")
    server.pull()
    assert server.standing()["p", "ann", "background"] == "snow"


def test_a_deleted_task_withdraws_nothing() -> None:
    server = _Server()
    server.submit(ANN, "p", "snow")
    server.pull()
    names: Any = _Names()
    look = Look(server.seen, "c", 9, "2026-03-02T00:00:00Z", names, CONFIG, bool)
    rows = look.deleted(1)
    server.seen.take(rows)

    assert [row["state"] for row in rows] == ["task_deleted"]
    assert labels.unseen(server.derive(), server.events) == []
    assert server.seen.here("c") == set()


def test_who_writes_over_an_annotation_says_it_and_the_owner_keeps_theirs() -> None:
    server = _Server()
    number = server.submit(ANN, "p", "snow")
    server.pull()
    server.change(number, BOB, "grass")

    events = server.pull()

    assert _of(events) == [("bob", "background", "grass"), *_defects("bob")]
    assert {event["edits"] for event in events} == {"ann"}
    assert server.seen.rows[-1]["editor"] == "bob"
    assert server.standing()["p", "ann", "background"] == "snow"


def test_to_write_the_owners_answer_back_takes_back_ones_own() -> None:
    server = _Server()
    number = server.submit(ANN, "p", "snow")
    server.pull()
    server.change(number, BOB, "grass")
    server.pull()
    server.change(number, BOB, "snow")
    server.pull()

    assert server.standing() == server.model()
    assert {person for _, person, _ in server.standing()} == {"ann"}


def test_written_over_before_anyone_saw_it_is_the_writers_alone() -> None:
    server = _Server()
    number = server.submit(ANN, "p", "snow")
    server.change(number, BOB, "grass")

    assert {event["annotator"] for event in server.pull()} == {"bob"}


def test_made_in_someones_name_is_theirs() -> None:
    server = _Server()
    server.submit(ANN, "p", "snow", updated_by=BOB)

    assert {event["annotator"] for event in server.pull()} == {"ann"}


@pytest.mark.parametrize("seen", [False, True])
def test_a_ground_truth_mark_by_another_is_no_edit(seen: bool) -> None:
    server = _Server()
    number = server.submit(ANN, "p", "snow")
    if seen:
        server.pull()
    server.mark(number, BOB)
    server.pull()

    assert {event["annotator"] for event in server.events} == {"ann"}
    assert len(server.events) == len(QUESTIONS)


def test_to_delete_what_was_written_over_withdraws_both() -> None:
    server = _Server()
    number = server.submit(ANN, "p", "snow")
    server.pull()
    server.change(number, BOB, "grass")
    server.pull()
    server.delete(number)
    server.pull()

    assert server.standing() == {}


def test_origin_says_how_the_proposal_was_taken() -> None:
    server = _Server()
    server.proposals = {("c", "p"): "snow"}
    server.submit(ANN, "p", "snow")  # by program: no origin
    server.submit(BOB, "p", "ice")
    server.submit(EVE, "p", "snow")
    server.annotations[3]["result"][0]["origin"] = "manual"

    events = [e for e in server.pull() if e["question"] == "background"]

    assert [event["origin"] for event in events] == ["confirmed", "chosen", "chosen"]
    assert {event["proposal"] for event in events} == {"snow"}
    others = [e for e in server.events if e["question"] != "background"]
    assert {(e["origin"], e["proposal"]) for e in others} == {("chosen", None)}


def test_an_adjudicator_settles_and_falls_back_to_what_they_said_before() -> None:
    server = _Server(kinds=("labels", "adjudication"))
    server.submit(ANN, "p", "snow")
    server.submit(BOB, "p", "ice")
    settled = server.submit(ANN, "p", "snow", campaign="d")
    server.pull()

    roles = {e["annotation"]: e["role"] for e in server.events}
    assert roles == {"c/1": None, "c/2": None, f"d/{settled}": "adjudicator"}
    settings = resolve.Settings(min_answers=1, adjudicators=(), exclude=())

    def status() -> str:
        table = from_rows(server.events, "label_events")
        rows = resolve.run({"label_events": table}, settings).to_pylist()
        return next(r["status"] for r in rows if r["question"] == "background")

    assert status() == "adjudicated"
    server.delete(settled)
    server.pull()
    assert status() == "tie"
    assert server.standing()["p", "ann", "background"] == "snow"


def test_a_fault_is_kept_and_read_once_the_choice_is_known() -> None:
    server = _Server()
    server.submit(ANN, "p", "lava")
    server.submit(BOB, "unknown", "snow")

    assert server.pull() == []
    lava, unknown = server.seen.rows
    assert "unknown choice 'lava'" in lava["fault"]
    assert unknown["photo_id"] is None
    assert "'unknown'" in unknown["fault"]

    server.config = _config("grass", "snow", "lava")
    assert _of(server.pull()) == [("ann", "background", "lava"), *_defects("ann")]


def test_an_unreadable_change_leaves_what_was_said() -> None:
    server = _Server()
    number = server.submit(ANN, "p", "snow")
    server.pull()
    server.change(number, ANN, "lava")

    assert server.pull() == []
    assert server.standing()["p", "ann", "background"] == "snow"


def test_a_backgrounds_end_takes_no_answer_back() -> None:
    server = _Server()
    server.submit(ANN, "p", "ice")
    server.pull()
    server.config = _config("grass", "snow")

    assert server.pull() == []
    assert server.standing()["p", "ann", "background"] == "ice"


def test_no_address_gets_into_the_log() -> None:
    server = _Server()
    server.submit(ANN, "p", "snow", created_username="ann ann@example.org")
    server.annotations[1]["completed_by"] = {"id": ANN, "email": "ann@example.org"}
    server.pull()

    assert "@" not in json.dumps(server.seen.rows)
    assert {event["annotator"] for event in server.events} == {"ann"}


# any history ------------------------------------------------------------------------

PEOPLE, PHOTOS = st.sampled_from([ANN, BOB, EVE]), st.sampled_from(["p", "q"])
CHOICES = st.sampled_from(["grass", "snow", "ice"])
TICKS = st.sampled_from([(), ("clarity",), ("clarity", "ambiguity")])
PLACE = st.integers(0, 1000)
PULL = st.tuples(st.just("pull"))
ALONE = st.one_of(
    st.tuples(st.just("submit"), PEOPLE, PHOTOS, CHOICES, TICKS, st.sampled_from("cd")),
    st.tuples(st.just("submit"), PEOPLE, PHOTOS, CHOICES, TICKS, st.sampled_from("cd")),
    st.tuples(st.just("bad"), PEOPLE, st.sampled_from(["p", "unknown"])),
    st.tuples(st.just("skip"), PEOPLE, PHOTOS, CHOICES),
    st.tuples(st.just("own"), PLACE, CHOICES, TICKS),
    st.tuples(st.just("delete"), PLACE),
)
OTHERS = st.one_of(
    st.tuples(st.just("edit"), PLACE, PEOPLE, CHOICES, TICKS),
    st.tuples(st.just("mark"), PLACE, PEOPLE),
)
SKEW = st.sampled_from([0, -3600, 3600])


def _play(server: _Server, step: tuple[Any, ...]) -> None:
    what, *more = step
    if what == "pull":
        server.pull()
    elif what == "submit":
        person, photo, choice, ticks, campaign = more
        server.submit(person, photo, choice, *ticks, campaign=campaign)
    elif what == "bad":
        person, photo = more
        server.submit(person, photo, "lava" if photo == "p" else "snow")
    elif what == "skip":
        server.submit(*more, skip=True)
    elif server.annotations:
        number = sorted(server.annotations)[more[0] % len(server.annotations)]
        if what == "own":
            owner = server.annotations[number]["completed_by"]
            server.change(number, owner, more[1], *more[2])
        elif what == "edit":
            server.change(number, more[1], more[2], *more[3])
        elif what == "mark":
            server.mark(number, more[1])
        else:
            server.delete(number)


def _server(skew: int) -> _Server:
    return _Server(skew=skew, kinds=("labels", "adjudication"))


@given(st.lists(ALONE | PULL, max_size=25), SKEW)
def test_any_pulls_end_in_what_the_server_says(
    steps: list[tuple[Any, ...]], skew: int
) -> None:
    server = _server(skew)
    for step in [*steps, ("pull",)]:
        _play(server, step)

    assert server.standing() == server.model()


@given(st.lists(ALONE | OTHERS | PULL, max_size=20), SKEW)
def test_the_beginning_of_a_log_gives_the_beginning_of_the_events(
    steps: list[tuple[Any, ...]], skew: int
) -> None:
    server = _server(skew)
    for step in [*steps, ("pull",)]:
        _play(server, step)

    rows, events = server.seen.rows, server.derive()
    assert [e["event_id"] for e in server.events] == [e["event_id"] for e in events]
    assert len({e["event_id"] for e in events}) == len(events)
    assert labels.unseen(events, server.events) == []
    for end in range(len(rows)):
        begun = server.derive(rows[:end])
        assert begun == events[: len(begun)]
    for photo in ("p", "q"):
        alone = server.derive([r for r in rows if r["photo_id"] == photo])
        assert alone == [e for e in events if e["photo_id"] == photo]


# marked as ground truth while it could not be read, then written over
@example([("bad", 2, "p"), ("mark", 0, 1), ("edit", 0, 1, "grass", ())], 0)
@given(st.lists(ALONE | OTHERS, max_size=20), SKEW)
def test_nobody_is_given_an_answer_that_someone_else_wrote(
    steps: list[tuple[Any, ...]], skew: int
) -> None:
    server = _server(skew)
    for step in steps:
        _play(server, step)
        server.pull()

    for event in server.events:
        if event["question"] == "background" and event["answer"] in (
            "grass", "snow", "ice",
        ):  # fmt: skip
            number = int(event["annotation"].partition("/")[2])
            assert (number, event["annotator"], event["answer"]) in server.said


def test_events_of_some_photos_are_found_in_the_log(tmp_path: Path) -> None:
    note = 'he said "photo_id": "' + "b" * 64
    rows = [
        {"event_id": str(place), "note": note, "photo_id": letter * 64}
        for place, letter in enumerate("abcab")
    ]
    shelf = Shelf(tmp_path)
    assert answered(shelf, {"a" * 64}) == []
    shelf.append("label_events", rows)

    for wanted in ("a", "bc", "d", "abc"):
        photos = {letter * 64 for letter in wanted}
        expected = [row for row in rows if row["photo_id"] in photos]
        assert answered(shelf, photos) == expected
