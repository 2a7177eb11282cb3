"""robots.txt as RFC 9309 has it, and X-Robots-Tag."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.http.robots import EVERYTHING, parse, refusing_tag

HOST = "https://photos.example.org"


@pytest.mark.parametrize(
    ("text", "path", "allowed"),
    [
        ("", "/a.jpg", True),
        ("User-agent: *\nDisallow: /", "/a.jpg", False),
        ("User-agent: *\nDisallow:", "/a.jpg", True),
        ("user-AGENT: * # all\ndisALLOW : /a # no", "/a.jpg", False),
        ("User-agent: *\r\nDisallow: /b\r\n", "/a.jpg", True),
        ("\ufeffUser-agent: *\nDisallow: /", "/a.jpg", False),
        # rules for our name alone hold, where there are any
        ("User-agent: *\nDisallow: /\nUser-agent: counterset\nAllow: /", "/a", True),
        ("User-agent: counterset\nDisallow: /\n\nUser-agent: *\nAllow: /", "/a", False),
        ("User-agent: CounterSet/2.0\nDisallow: /", "/a", False),
        ("User-agent: countersetter\nDisallow: /", "/a", True),
        ("User-agent: other\nDisallow: /", "/a", True),
        ("User-agent: other\nUser-agent: counterset\nDisallow: /a", "/a", False),
        # two groups of one name are one
        (
            "User-agent: *\nDisallow: /a\nUser-agent: x\nDisallow: /\n"
            "User-agent: *\nDisallow: /b",
            "/b",
            False,
        ),
        # the longest rule decides, of equals the one that allows
        ("User-agent: *\nDisallow: /\nAllow: /photos/", "/photos/1.jpg", True),
        ("User-agent: *\nAllow: /photos/\nDisallow: /photos/p", "/photos/p1", False),
        ("User-agent: *\nDisallow: /p\nAllow: /p", "/p", True),
        # wildcards
        ("User-agent: *\nDisallow: /*.jpg$", "/x/a.jpg", False),
        ("User-agent: *\nDisallow: /*.jpg$", "/x/a.jpg?size=1", True),
        ("User-agent: *\nDisallow: /*?size=", "/x/a.jpg?size=1", False),
        ("User-agent: *\nDisallow: /a*b*c", "/a1b2c3", False),
        ("User-agent: *\nDisallow: /a*b*c", "/acb", True),
        ("User-agent: *\nDisallow: /*aa$", "/aa", False),
        ("User-agent: *\nDisallow: /aa*aa$", "/aaa", True),
        ("User-agent: *\nDisallow: /fish$", "/fish", False),
        ("User-agent: *\nDisallow: /fish$", "/fishes", True),
        # other spellings of the same path
        ("User-agent: *\nDisallow: /a%62c", "/abc", False),
        ("User-agent: *\nDisallow: /ü", "/%C3%BC", False),
        # a page in place of the file has no rules
        ("<html><body>Disallow: /</body></html>", "/a", True),
    ],
)
def test_rules(text: str, path: str, allowed: bool) -> None:
    assert parse(text).allow(HOST + path) == allowed


def test_nothing_is_forbidden_without_a_file() -> None:
    assert EVERYTHING.allow(HOST)


def test_a_hostile_rule_ends() -> None:
    # as a regular expression it would take years
    rules = parse("User-agent: *\nDisallow: /" + "*a" * 900 + "$")
    assert rules.allow(HOST + "/" + "a" * 5_000 + "b")


@given(st.text(), st.text())
def test_any_file_is_read(text: str, path: str) -> None:
    parse("User-agent: *\nDisallow: " + text).allow(f"{HOST}/{path}")
    parse(text).allow(HOST)


@pytest.mark.parametrize(
    ("header", "word"),
    [
        ("", None),
        ("noindex, nofollow", None),
        ("noai", "noai"),
        ("noindex, NoImageAI", "noimageai"),
        ("none", "none"),
        ("googlebot: noai", None),
        ("googlebot: noai, none", None),
        ("googlebot: none, counterset: noai", "noai"),
        ("unavailable_after: 25 Jun 2030 15:00:00 PST, noai", "noai"),
        ("*: noai", "noai"),
        (":,;::", None),
    ],
)
def test_tags(header: str, word: str | None) -> None:
    assert refusing_tag([header]) == word


@given(st.text())
def test_any_tag_is_read(header: str) -> None:
    assert refusing_tag([header]) in (None, "noai", "noimageai", "none")
