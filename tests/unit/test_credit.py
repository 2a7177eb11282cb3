"""The table `photos`, drawn from arrays, against the same drawn row by row."""

import hashlib
import json
import random

import polars as pl
import pyarrow as pa
import pytest

from curation import attempts, credit
from curation.errors import InputError
from curation.licences import openness
from curation.shelf import Shelf

LICENCES = ("CC0-1.0", "CC-BY-4.0", "CC-BY-NC-4.0", None)


def key(text) -> str:
    return hashlib.sha256(str(text).encode()).hexdigest()


def world(shelf, *, records, photos, seed):
    """Candidates, some of them tried, some more than once; and the log."""
    chance = random.Random(seed)
    rows = [
        {
            "candidate_id": key(f"record {place}"),
            "class": chance.choice("abc"),
            "observation_id": chance.choice([None, f"o{place % 5}"]),
            "composed": chance.random() < 0.2,
            "licence": chance.choice(LICENCES),
            "order": place,
            "refused": "no" if chance.random() < 0.1 else None,
        }
        for place in range(records)
    ]
    for _ in range(2):
        for row in rows:
            if chance.random() < 0.3:
                continue
            status = chance.choice(["ok", "ok", "failed", "lost"])
            photo = chance.randrange(photos)
            line = {"candidate_id": row["candidate_id"], "status": status}
            if status == "ok":
                line |= {"photo_id": key(photo), "bytes": photo, "format": "JPEG"}
                line |= {"width": photo + 1, "height": 2}
            else:
                line |= {"attempts": chance.randrange(2), "again": photo % 2 == 0}
            shelf.append("fetches", [line | {"limits": "1/1", "at": "now"}])
    return rows


def naive(rows, log, taken):
    """What the docstring says, row by row."""
    last = {line["candidate_id"]: line for line in log}
    by_photo, failed, again = {}, 0, 0
    for row in rows:
        line = last.get(row["candidate_id"])
        if line is None:
            continue
        if line["status"] == "ok":
            if not row["refused"] and line["photo_id"] not in taken:
                by_photo.setdefault(line["photo_id"], []).append((row, line))
        elif not row["refused"] or line["attempts"] == 0:
            failed, again = failed + 1, again + line["again"]
    found = []
    for photo_id, pairs in sorted(by_photo.items()):
        pairs.sort(key=lambda pair: (openness(pair[0]["licence"]), pair[0]["order"]))
        row, line = pairs[0]
        found.append(
            {
                "photo_id": photo_id,
                "candidate_id": row["candidate_id"],
                "class": row["class"],
                "classes": sorted({r["class"] for r, _ in pairs}),
                "observation_id": row["observation_id"] or photo_id,
                "composed": any(r["composed"] for r, _ in pairs),
                "bytes": line["bytes"],
                "format": line["format"],
                "width": line["width"],
                "height": line["height"],
                "order": min(r["order"] for r, _ in pairs),
            }
        )
    return found, failed, again


@pytest.mark.parametrize("seed", range(6))
def test_the_table_is_what_its_description_says(tmp_path, monkeypatch, seed):
    monkeypatch.setattr(credit, "PART", 7)  # so that there are several
    monkeypatch.setattr("curation.shelf.PIECE", 1000)
    shelf = Shelf(tmp_path)
    rows = world(shelf, records=80, photos=40, seed=seed)
    taken = {key(3), key(4)}
    frame = pl.DataFrame(rows, schema_overrides={"observation_id": pl.String})
    batches = [frame.slice(start, 17) for start in range(0, 80, 17)]
    drawn = credit.photos(batches, attempts.last(shelf), taken)
    expected, failed, again = naive(rows, shelf.read_log("fetches"), taken)
    parts = list(drawn.parts)
    assert len(parts) > 1
    assert pa.concat_tables(parts).to_pylist() == expected
    assert (drawn.failed, drawn.again) == (failed, again)


def test_nothing_arrived(tmp_path):
    drawn = credit.photos([], attempts.last(Shelf(tmp_path)), set())
    assert [part.num_rows for part in drawn.parts] == [0]
    assert (drawn.failed, drawn.again) == (0, 0)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"{not json", "line 2 is corrupt"),
        (json.dumps({"candidate_id": "abc", "status": "ok"}).encode(), "hexadecimal"),
    ],
)
def test_a_corrupt_log_is_told_with_its_line(tmp_path, line, says):
    shelf = Shelf(tmp_path)
    shelf.append("fetches", [{"candidate_id": key(1), "status": "failed"}])
    with (tmp_path / "logs/fetches.jsonl").open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(InputError, match=says):
        attempts.last(shelf)


def asked(number, **more) -> dict:
    return {
        "candidate_id": key(number), "url": f"https://h{number % 2}.example/{number}",
        "place": 0, "photo_key": None, "licence": None, "licence_text": None,
        "refused": None,
    } | more  # fmt: skip


def test_what_is_tried_and_what_is_not(tmp_path):
    shelf = Shelf(tmp_path)
    base = {"limits": "1/1", "at": "now", "attempts": 1}
    tried = {
        "ok": {"status": "ok", "photo_id": key("p")},
        "failed": {"status": "failed"},
        "passing": {"status": "failed", "again": True},
        "refused once": {"status": "failed", "attempts": 0},
        "other limits": {"status": "failed", "limits": "2/2"},
        "lost": {"status": "lost", "photo_id": key("p")},
    }
    names = [*tried, "never"]
    shelf.append(
        "fetches",
        [base | {"candidate_id": key(name)} | row for name, row in tried.items()],
    )
    rows = [asked(name_id, candidate_id=key(n)) for name_id, n in enumerate(names)]
    rows += [
        asked(90, refused="a link", place=1),
        asked(91, refused="too many of its observer"),
    ]
    types = {"photo_key": pl.String, "licence": pl.String, "licence_text": pl.String}
    frame = pl.DataFrame(rows, schema_overrides=types)
    open_, shut = attempts.todo([frame], attempts.last(shelf), limits="1/1", remote={0})
    ids = {key(name): name for name in names}
    wanted = [ids[row["candidate_id"]] for row in open_.rows()]
    assert wanted == ["passing", "refused once", "other limits", "lost", "never"]
    assert [row["refused"] for row in shut.rows()] == ["a link"]
    lanes = {host: list(rows) for host, rows in open_.lanes({0}).items()}
    assert sorted(lanes) == ["h0.example", "h1.example"]
    assert sum(len(rows) for rows in lanes.values()) == 5
    assert list(open_.lanes(set())) == ["source 0"]
