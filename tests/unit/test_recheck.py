"""Asking again: what changed is told and logged, and the release heeds it."""

import hashlib

import polars as pl
import pytest

from curation import recheck as rechecking
from curation.config import parse
from curation.errors import InputError
from curation.pipeline import Route
from curation.release.contents import select
from curation.schemas import from_rows
from curation.shelf import Shelf
from curation.sources import source
from tests.standins import listing


def key(text) -> str:
    return hashlib.sha256(str(text).encode()).hexdigest()


def config(root, **sections):
    content = {
        "dataset": {"name": "small"},
        "classes": [{"name": "bear"}],
        "backgrounds": [
            {"name": "snow", "prompts": ["snow"]},
            {"name": "grass", "prompts": ["grass"]},
        ],
        "sources": [
            {"kind": "listing", "path": "one.json"},
            {"kind": "folder", "path": "."},
            {"kind": "listing", "path": "two.json"},
        ],
    }
    return parse(content | sections, base=root, name="test")


def candidate(place, name, order, **more) -> dict:
    return {
        "candidate_id": key(name),
        "source": "listing",
        "key": name,
        "revision": "",
        "class": "bear",
        "url": f"https://photos.example/{name}.jpg",
        "licence": "CC-BY-4.0",
        "licence_text": listing.LICENCE,
        "composed": False,
        "place": place,
        "order": order,
    } | more


def photo(name, order) -> dict:
    return {
        "photo_id": key(f"photo {name}"), "candidate_id": key(name), "class": "bear",
        "classes": ["bear"], "observation_id": name, "composed": False, "bytes": 1,
        "format": "JPEG", "width": 1, "height": 1, "order": order,
    }  # fmt: skip


NAMES = ("a", "b", "c", "d")


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A work folder with photos of two remote sources and a folder."""
    monkeypatch.syspath_prepend(str(listing.installed(tmp_path / "outside")))
    say(tmp_path, "one.json", a={}, b={}, unused={})
    say(tmp_path, "two.json", c={}, d={})
    rows = [
        candidate(0, "a", 0),
        candidate(0, "b", 1),
        candidate(1, "mine", 2, source="folder"),
        candidate(2, "c", 3),
        candidate(2, "d", 4),
        candidate(0, "unused", 5),  # its photo never arrived
    ]
    photos = [photo(name, place) for place, name in enumerate((*NAMES, "mine"))]
    with Shelf(tmp_path / "work").lock() as shelf:
        route = Route(shelf, config(tmp_path))
        route.finish("collect", from_rows(rows, "candidates"))
        route.finish("fetch", from_rows(photos, "photos"))
        yield route, tmp_path


def say(root, name, **records) -> None:
    """What a source says from now on."""
    listing.write(
        root / name,
        [
            {"key": name, "class": "bear", "url": ""} | record
            for name, record in records.items()
        ],
    )


def asked(route) -> list[str]:
    """Names of the records in the log, in order."""
    names = {key(name): name for name in (*NAMES, "mine", "unused")}
    return [names[row["candidate_id"]] for row in route.shelf.read_log("rechecks")]


def test_records_that_photos_are_credited_to_are_asked_about(world):
    route, _ = world
    result, trouble = rechecking.recheck(route)
    assert trouble == ""
    assert asked(route) == ["a", "b", "c", "d"]
    assert result == {
        "asked": 4, "there": 4, "gone": 0, "unanswered": 0, "left": 0, "changes": [],
    }  # fmt: skip


def test_changes_are_told_once_and_kept(world):
    route, root = world
    say(root, "one.json", a={"licence_text": "cc-by-nd-4.0"}, b={"gone": True})
    say(root, "two.json", c={"licence_text": None}, d={"licence_text": "CC BY 4.0"})
    result, _ = rechecking.recheck(route)
    told = [(c["key"], c["what"], c["from"], c["to"]) for c in result["changes"]]
    assert told == [
        ("a", "licence", "CC-BY-4.0", "CC-BY-ND-4.0"),
        ("b", "gone", "CC-BY-4.0", None),
        ("c", "licence", "CC-BY-4.0", None),
    ]
    assert (result["there"], result["gone"]) == (3, 1)
    text = rechecking.text(result)
    assert "listing a: licence CC-BY-4.0 → CC-BY-ND-4.0" in text
    assert "listing b: gone" in text
    rows = route.shelf.read_log("rechecks")
    assert [row["state"] for row in rows] == ["there", "gone", "there", "there"]
    assert rows[0]["licence"] == "CC-BY-ND-4.0"
    assert rows[0]["licence_text"] == "cc-by-nd-4.0"
    # nothing new
    assert rechecking.recheck(route)[0]["changes"] == []
    # and back
    say(root, "one.json", a={}, b={})
    changes = rechecking.recheck(route)[0]["changes"]
    assert [(c["key"], c["what"]) for c in changes] == [("a", "licence"), ("b", "back")]


def test_the_oldest_check_comes_first(world):
    route, _ = world
    assert rechecking.recheck(route, limit=3)[0]["left"] == 1
    result, _ = rechecking.recheck(route, limit=1)
    assert asked(route) == ["a", "b", "c", "d"]
    assert (result["asked"], result["left"]) == (1, 3)
    log = route.shelf.folder / "logs/rechecks.jsonl"
    old = log.read_text().splitlines()
    old[1] = old[1].replace('"at": "20', '"at": "19')  # b was asked long ago
    log.write_text("\n".join(old) + "\n")
    fresh = Route(route.shelf, route.config)
    rechecking.recheck(fresh, limit=1)
    assert asked(route)[-1] == "b"


def test_a_blocked_host_stops_one_source_and_what_was_said_is_kept(world):
    route, root = world
    say(root, "one.json", a={"gone": True}, b={"blocked": "api.example"})
    result, trouble = rechecking.recheck(route)
    assert "api.example is left alone" in trouble
    assert asked(route) == ["a", "c", "d"]
    assert (result["asked"], result["left"]) == (3, 1)
    assert [change["key"] for change in result["changes"]] == ["a"]


def test_a_record_without_an_answer_is_no_news(world):
    route, root = world
    say(root, "one.json", a={"gone": True}, b={})
    rechecking.recheck(route, limit=1)
    say(root, "one.json", a={"silent": True}, b={"silent": True})
    result, _ = rechecking.recheck(route)
    assert (result["unanswered"], result["asked"]) == (2, 4)
    # both count as asked, or they would come first for ever
    assert sorted(asked(route)) == ["a", "a", "b", "c", "d"]
    # but what was known of one before still holds
    say(root, "one.json", a={"gone": True}, b={})
    assert rechecking.recheck(route)[0]["changes"] == []


def test_photos_that_are_not_kept_are_not_asked_about(world):
    route, _ = world
    photos = {name: key(f"photo {name}") for name in NAMES}
    hashes = [
        {"photo_id": photo_id, "status": "failed" if name == "a" else "ok", "path": ""}
        for name, photo_id in photos.items()
    ]
    route.finish("hash", from_rows(hashes, "hashes"))
    merge = {
        "photo_id": photos["b"], "keeper": photos["c"], "decision": "merge",
        "reason": "pixels", "variant": "identity", "distance": 0.0,
    }  # fmt: skip
    suggest = merge | {"photo_id": photos["d"], "decision": "suggest"}
    route.finish("dedup", from_rows([merge, suggest], "duplicates"))
    rechecking.recheck(route)
    assert asked(route) == ["c", "d"]


def test_without_photos_there_is_nothing_to_ask_about(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(listing.installed(tmp_path / "outside")))
    with (
        Shelf(tmp_path / "work").lock() as shelf,
        pytest.raises(InputError, match="counterset fetch"),
    ):
        rechecking.recheck(Route(shelf, config(tmp_path)))


@pytest.mark.parametrize(
    ("said", "licences", "reason"),
    [
        ({"state": "gone"}, {}, "its source does not offer it any more"),
        (
            {"licence": "CC-BY-ND-4.0", "licence_text": "cc-by-nd-4.0"},
            {},
            "its source changed the licence: "
            "licence CC-BY-ND-4.0 is not let in (collect.licences)",
        ),
        (
            {"licence": "CC-BY-NC-4.0", "licence_text": "cc-by-nc-4.0"},
            {"release": {"licences": ["CC-BY", "CC0-1.0"]}},
            "its source changed the licence: "
            "licence is not among release.licences: CC-BY-NC-4.0",
        ),
        ({}, {}, "its source changed the licence: no licence is stated"),
        ({"licence": "CC0-1.0", "licence_text": "cc0"}, {}, None),
    ],
)
def test_the_release_leaves_out_what_may_not_be_published(
    world, said, licences, reason
):
    route, root = world
    names = [f"n{place}" for place in range(4)]
    groups = [
        {
            "photo_id": key(f"photo {name}"), "class": "bear", "background": "snow",
            "group": ("common", "counter")[place % 2], "cluster": name,
        }
        for place, name in enumerate(names)
    ]  # fmt: skip
    at = "2026-01-01T00:00:00+00:00"
    row = {"candidate_id": key("n2"), "at": at, "state": "there"}
    rechecks = [
        # only the last word counts, and no answer is none
        {**row, "candidate_id": key("n0"), "state": "gone"},
        {**row, "candidate_id": key("n0"), "licence": "CC0-1.0"},
        row | said,
        {**row, "candidate_id": key("n2"), "state": "unknown"},
    ]
    records = [candidate(0, name, place) for place, name in enumerate(names)]
    tables = {
        "groups": from_rows(groups, "groups"),
        "photos": from_rows([photo(n, p) for p, n in enumerate(names)], "photos"),
        "candidates": from_rows(records, "candidates"),
        "rechecks": from_rows(rechecks, "rechecks"),
    }
    chosen = select(config(root, **licences), tables)
    expected = [] if reason is None else [(key("photo n2"), reason)]
    assert list(chosen.excluded) == expected
    assert chosen.rows.height == 4 - len(expected)
    assert set(chosen.rows["licence"]) == {"CC-BY-4.0"}  # as when it was fetched
    assert isinstance(chosen.rows, pl.DataFrame)


@pytest.mark.parametrize(("at_once", "calls"), [(1, 4), (10, 2)])
def test_a_source_says_how_many_it_is_asked_about_at_once(
    world, monkeypatch, at_once, calls
):
    route, _ = world
    module, given = source("listing"), []
    plain = module.again

    def again(spec, keys, *, door):
        given.append(list(keys))
        return plain(spec, keys, door=door)

    monkeypatch.setattr(module, "again", again)
    monkeypatch.setattr(module, "AGAIN_AT_ONCE", at_once, raising=False)
    rechecking.recheck(route)
    assert len(given) == calls
    assert [one for keys in given for one in keys] == list(NAMES)
