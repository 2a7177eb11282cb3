"""Differences of releases obey laws, and say what a person needs."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from curation.cli import app
from curation.errors import ConfigError, InputError
from curation.release import diff, manifest, versions
from curation.release.diff import compare
from curation.release.manifest import LABELS, Manifest

IDS = [f"{n:064x}" for n in range(40)]
VALUES = {
    "class": ["ostrich", "zebra, striped"],
    "background": ["grass", "water"],
    "group": ["common", "counter", "unused"],
    "licence": ["CC0-1.0", "CC-BY-4.0"],
}
ROWS = st.fixed_dictionaries({k: st.sampled_from(v) for k, v in VALUES.items()})
CREDITS = st.fixed_dictionaries(
    {name: st.sampled_from(["", "one", "two"]) for name in manifest.CREDITS}
)


@st.composite
def releases(draw):
    rows = draw(st.dictionaries(st.sampled_from(IDS[:6]), ROWS))
    known = draw(st.booleans())
    return Manifest(rows, {key: draw(CREDITS) for key in rows if known})


def rank(difference):
    return versions.STEPS.index(difference.least)


@given(releases())
def test_nothing_differs_from_itself(one):
    found = compare(one, one)
    assert not any((found.added, found.removed, found.relabelled, found.metadata))
    assert found.least == "none"
    assert diff.counts(found) == []


@given(releases(), releases())
def test_backwards_it_is_the_mirror_image(a, b):
    there, back = compare(a, b), compare(b, a)
    assert (there.added, there.removed) == (back.removed, back.added)
    assert there.metadata == back.metadata
    for one, other in (("relabelled", "relabelled"), ("credits", "credits")):
        turned = [(photo, name, new, old) for photo, name, old, new in
                  getattr(back, other)]  # fmt: skip
        assert list(getattr(there, one)) == turned


@given(releases(), releases())
def test_applied_to_the_one_it_gives_the_other(a, b):
    found = compare(a, b)
    rows = {key: dict(row) for key, row in a.rows.items() if key not in found.removed}
    rows |= {key: b.rows[key] for key in found.added}
    for photo, name, old, new in (*found.relabelled, *found.credits):
        if name in (*LABELS, "licence"):
            assert rows[photo][name] == old
            rows[photo][name] = new
    assert rows == b.rows


@given(releases(), releases(), releases())
def test_two_steps_ask_for_no_less_than_one(a, b, c):
    """Credits are left out: between two releases that state them one may not."""
    a, b, c = (Manifest(one.rows) for one in (a, b, c))
    first, second, both = compare(a, b), compare(b, c), compare(a, c)
    assert rank(both) <= max(rank(first), rank(second))
    assert set(both.added) <= {*first.added, *second.added}
    assert set(both.removed) <= {*first.removed, *second.removed}


@given(releases(), releases(), st.tuples(*[st.integers(0, 30)] * 3))
def test_the_least_version_is_newer_unless_nothing_differs(a, b, numbers):
    before, found = "{}.{}.{}".format(*numbers), compare(a, b)
    due = versions.least(found, before)
    newer = versions.parts(due) > versions.parts(before)
    assert newer == (found.least != "none")
    # a larger difference never asks for less
    for step in versions.STEPS[: rank(found)]:
        assert versions.parts(versions.raised(before, step)) < versions.parts(due)


@given(releases())
def test_a_manifest_is_read_as_it_was_written(one):
    import polars as pl

    rows = [{"photo_id": key, **row} for key, row in sorted(one.rows.items())]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(manifest.COLUMNS, pl.String))
    text = manifest.render(frame.reverse())
    assert manifest.parse(text, name="it").rows == one.rows
    assert text.count("\n") == len(rows) + 1


def row(**changes):
    return {
        "class": "ostrich", "background": "grass", "group": "common",
        "licence": "CC0-1.0",
    } | changes  # fmt: skip


@pytest.mark.parametrize(
    ("column", "value", "least"),
    [
        ("class", "otter", "major"),
        ("background", "water", "major"),
        ("group", "unused", "major"),
        ("licence", "CC-BY-4.0", "patch"),
    ],
)
def test_what_each_column_asks_for(column, value, least):
    a, b = Manifest({IDS[0]: row()}), Manifest({IDS[0]: row(**{column: value})})
    found = compare(a, b)
    assert found.least == least
    changes = found.relabelled if least == "major" else found.credits
    assert changes == ((IDS[0], column, row()[column], value),)


def test_credits_count_where_both_sides_state_them():
    rows = {IDS[0]: row()}
    a = Manifest(rows, {IDS[0]: dict.fromkeys(manifest.CREDITS, "")})
    b = Manifest(rows, {IDS[0]: dict.fromkeys(manifest.CREDITS, "") | {"author": "A"}})
    assert compare(a, b).credits == ((IDS[0], "author", "", "A"),)
    assert (compare(a, b).least, compare(a, Manifest(rows)).least) == ("patch", "none")


def written(path, rows):
    lines = [",".join(manifest.COLUMNS)]
    lines += [
        ",".join([key, r["class"], r["background"], r["group"], r["licence"]])
        for key, r in sorted(rows.items())
    ]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_the_command(tmp_path):
    old = {key: row() for key in IDS[:30]}
    new = {key: row() for key in IDS[5:]} | {
        IDS[6]: row(group="counter", background="water"), IDS[7]: row(licence="CC-BY"),
    }  # fmt: skip
    one, other = written(tmp_path / "a.csv", old), written(tmp_path / "b.csv", new)
    found = CliRunner().invoke(app, ["diff", one, other])
    assert found.exit_code == 0, found.stderr
    lines = found.stdout.splitlines()
    assert lines[:3] == [
        "photos: 30 before, 35 after",
        "ostrich, common: 10 added, 5 removed",
        "ostrich, counter: 1 relabelled",
    ]
    assert f"  {IDS[6]}  group: common → counter" in lines
    assert f"  {IDS[7]}  licence: CC0-1.0 → CC-BY" in lines
    assert lines[-1] == "least step of the version: major"
    told = CliRunner().invoke(app, ["diff", one, other, "--json"])
    result = json.loads(told.stdout)
    assert (result["added"], result["removed"]) == (IDS[30:], IDS[:5])
    assert result["counts"] == [
        {"class": "ostrich", "group": "common", "added": 10, "removed": 5,
         "relabelled": 0},
        {"class": "ostrich", "group": "counter", "added": 0, "removed": 0,
         "relabelled": 1},
    ]  # fmt: skip
    assert result["metadata"] == [
        {"photo_id": IDS[7], "column": "licence", "before": "CC0-1.0",
         "after": "CC-BY"},
    ]  # fmt: skip


def test_text_lists_twenty_and_counts_the_rest(tmp_path):
    found = compare(Manifest({}), Manifest({key: row() for key in IDS}))
    lines = diff.text(found).splitlines()
    assert sum(line.startswith("  0") for line in lines) == diff.SHOWN
    assert "  and 20 more; --json has all" in lines


def test_hostile_names_stay_on_their_line():
    name = "a\nleast step of the version: none\x1b[2K\r"
    text = diff.text(compare(Manifest({}), Manifest({IDS[0]: row(**{"class": name})})))
    assert text.splitlines()[-1] == "least step of the version: minor"
    assert sum(line.startswith("least step") for line in text.splitlines()) == 1
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("photo_id,class\n", "column 'background' is missing"),
        ("", "column 'photo_id' is missing"),
        ("{head}\nabc,o,g,common,CC0\n", "line 2: 'abc' is no photo_id"),
        ("{head}\n{id},o,g,third,CC0\n", "no group 'third'"),
        ("{head}\n{id},o,g,common,C\n{id},o,g,common,C\n", "there twice"),
        ("{head}\n{id}\n", "no group None"),
    ],
)
def test_what_is_no_manifest(tmp_path, text, message):
    text = text.format(head=",".join(manifest.COLUMNS), id=IDS[3])
    (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        diff.manifest(str(tmp_path / "manifest.csv"))


def test_what_is_not_there(tmp_path):
    for where in (tmp_path, tmp_path / "none", tmp_path / "none.csv"):
        with pytest.raises(InputError, match="cannot be read"):
            diff.manifest(str(where))
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        diff.manifest(str(tmp_path / "binary.csv"))
    for where in ("hub:", "hub:name", "hub:a/b/c", "hub:a/b@"):
        with pytest.raises(ConfigError, match="the form is"):
            diff.manifest(where)
