"""Reading what services answer: nothing odd, private or unsafe comes through."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import InputError
from curation.sources import Candidate, Target
from curation.sources import _records as records
from tests.standins.shapes import anything

USABLE = [
    "http://a.example/1.jpg",
    "https://a.example:8443/1.jpg?x=1#y",
    "https://www.flickr.com/photos/31575009@N05/12",
    "https://a.example/icon@2x.png",
    "https://a.example/ä",
    "http://[::1]/a.jpg",
]
NOT_USABLE = [
    None, 5, "", " ", "a.jpg", "/a.jpg", "ftp://a.example/1.jpg", "file:///etc/passwd",
    "javascript:alert(1)", "data:image/png;base64,AA", "http://", "http:///a", "http://[",
    "http://a.example:99999/", "http://a.example:0/", "http://user:pw@a.example/",
    "http://user@a.example/", "http://a.example/a b", "http://a.example/\n",
    "http://a.example/?by=ann@example.org", "http://a.example/ann%40example.org",
    "mailto:ann@example.org", "http://a.example/\ud800",
    "http://a.example/" + "x" * 2000,
]  # fmt: skip


@pytest.mark.parametrize("address", USABLE)
def test_addresses(address):
    assert records.web(address) == address


@pytest.mark.parametrize("address", NOT_USABLE)
def test_what_is_no_address(address):
    if address == "http://a.example/\n":  # spaces around it are nobody's intention
        assert records.web(address) == "http://a.example/"
    else:
        assert records.web(address) is None


def test_addresses_without_scheme_are_https():
    assert records.web("//a.example/1.jpg") == "https://a.example/1.jpg"


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("Ann", "Ann"),
        ("  Ann\t\r\n Lee\x00 ", "Ann Lee"),
        ("ann.lee+x@mail.example.org", "[e-mail address left out]"),
        ("Ann <ANN@EXAMPLE.ORG>", "Ann <[e-mail address left out]>"),
        ("31575009@N05", "31575009@N05"),
        ("a\ud800b", "a?b"),
        ("Ann\u202eLee", "Ann Lee"),
        (12, "12"),
        (True, None),
        (["Ann"], None),
        ("", None),
        ("\x00", None),
        (None, None),
    ],
)
def test_text(said, line):
    assert records.text(said) == line


def test_long_text_is_cut():
    assert len(records.text("ä" * 9999, 50)) == 50
    assert records.text("ä" * 9999, 50).endswith("…")


@pytest.mark.parametrize(
    ("said", "day"),
    [
        ("2019-01-09", "2019-01-09"),
        ("2019-01-09 16:06:54", "2019-01-09"),
        ("2019-01-09T16:06:54.123+02:00", "2019-01-09"),
        ("2019-01-09T16:06:54Z", "2019-01-09"),
        ("2019-02-30", None),
        ("2019-01", None),
        ("2019-01-09/2019-02-01", None),
        ("circa 2019-01-09", None),
        ("\u0662019-01-09", None),
        (20190109, None),
    ],
)
def test_days(said, day):
    assert records.day(said) == day


@pytest.mark.parametrize(
    ("place", "kept"),
    [
        ((48.754321, 25.106789), (48.8, 25.1)),
        (("-48.75", "179.99"), (-48.8, 180.0)),
        ((90, -180), (90.0, -180.0)),
        ((90.01, 0), (None, None)),
        ((0, 181), (None, None)),
        ((None, 5), (None, None)),
        ((float("nan"), 5), (None, None)),
        ((True, 5), (None, None)),
        (("1e999", 5), (None, None)),
        ((10**400, 5), (None, None)),
    ],
)
def test_places(place, kept):
    assert records.coarse(*place) == kept


@pytest.mark.parametrize(
    ("said", "number"),
    [(0, 0), ("007", 7), (10**15, 10**15), (10**15 + 1, None), (-1, None),
     (1.0, None), ("1.0", None), (False, None), ("", None), ("9" * 40, None),
     ("\u0663", None)],
)  # fmt: skip
def test_whole_numbers(said, number):
    assert records.whole(said) == number


@given(anything)
def test_anything_can_be_read(value):
    for read in (records.text, records.plain, records.web, records.day):
        said = read(value)
        assert said is None or said.encode().decode() == said
    records.coarse(value, value)
    records.whole(value)
    assert records.key_of(value) == records.key_of(value)
    assert not re.search("[<>]", records.plain(value) or "")


@given(st.text(), st.text())
def test_keys_tell_records_apart(one, other):
    assert (records.key_of([one]) == records.key_of([other])) is (one == other)


def _crawl(target, at):
    """Two answers of one record for each class."""
    for step in range(at or 0, 2):
        key = f"{target.name} {step}"
        record = Candidate(source="x", key=key, revision="", class_="c", url="")
        yield [record], step + 1 if step < 1 else None


def test_classes_follow_each_other():
    targets = [Target("Ice bear", ""), Target("Cheetah", "")]
    found = list(records.by_class(targets, None, crawl=_crawl))
    assert [page.candidates[0].key for page in found] == [
        "Ice bear 0", "Ice bear 1", "Cheetah 0", "Cheetah 1",
    ]  # fmt: skip
    assert [page.cursor and json.loads(page.cursor) for page in found] == [
        {"class": "Ice bear", "at": 1},
        {"class": "Cheetah", "at": None},
        {"class": "Cheetah", "at": 1},
        None,
    ]
    for place, page in enumerate(found[:-1]):
        rest = list(records.by_class(targets, page.cursor, crawl=_crawl))
        assert rest == found[place + 1 :]


@pytest.mark.parametrize(
    "cursor", ["", "5", "[]", '{"class": "Cat", "at": 1}', '{"at": 1}']
)
def test_cursors_of_others(cursor):
    with pytest.raises(InputError, match="cannot be read"):
        list(records.by_class([Target("Dog", "")], cursor, crawl=_crawl))
