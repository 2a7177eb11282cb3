"""What statuses, headers and bodies mean."""

import io
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from curation.http.answers import (
    Again,
    Final,
    backoff,
    forbidden,
    judge,
    kind_of,
    retry_after,
    words,
)
from evaluation.images import FORMATS
from tests.standins.faults import WINDOW

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("said", "wait"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("1.5", 1.5),
        ("-5", 0),
        ("1e300", 400 * 86_400),
        ("inf", 400 * 86_400),
        ("nan", None),
        ("", None),
        ("soon", None),
        ("Fri, 99 Foo 2030 99:99:99 GMT", None),
        (formatdate(NOW + 90, usegmt=True), 90),
        (formatdate(NOW - 90, usegmt=True), 0),
        (formatdate(NOW + 90), 90),
    ],
)
def test_retry_after(said: str, wait: float | None) -> None:
    assert retry_after({"Retry-After": said}, NOW) == wait


@given(st.text())
def test_any_retry_after_is_read_or_left(said: str) -> None:
    wait = retry_after({"Retry-After": said}, NOW)
    assert wait is None or 0 <= wait <= 400 * 86_400


@given(st.integers(1, 100))
def test_backoff_is_never_long(attempt: int) -> None:
    assert 0.5 <= backoff(attempt) <= 90


@pytest.mark.parametrize("photo", [True, False])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, None),
        (206, None),
        (404, "gone"),
        (410, "gone"),
        (451, "gone"),
        (408, "again"),
        (420, "busy"),
        (429, "busy"),
        (500, "again"),
        (502, "again"),
        (503, "again"),
        (504, "again"),
        (520, "again"),
        (599, "again"),
        (204, "final"),
        (304, "final"),
        (999, "again"),
    ],
)
def test_statuses(status: int, kind: str | None, photo: bool) -> None:
    found = judge(status, {}, NOW, photo=photo)
    if kind is None:
        assert found is None
    elif kind in ("again", "busy"):
        assert isinstance(found, Again)
        assert found.busy == (kind == "busy")
    else:
        assert isinstance(found, Final)
        assert found.gone == (kind == "gone")


@pytest.mark.parametrize("status", [400, 401, 403, 406, 418])
def test_refusals(status: int) -> None:
    refused = judge(status, {}, NOW, photo=True)
    assert isinstance(refused, Final)
    assert refused.gone == (status == 403)
    # what a service refuses is told by its words, which are still to be read
    assert judge(status, {}, NOW, photo=False) is None


def test_busy_for_a_stated_time() -> None:
    for status in (429, 503):
        found = judge(status, {"Retry-After": "9"}, NOW, photo=False)
        assert isinstance(found, Again)
        assert (found.busy, found.wait) == (True, 9)


@pytest.mark.parametrize(
    ("status", "body", "blocked", "says"),
    [
        (403, WINDOW, False, "Result window is too large"),
        (403, b'{"detail": "Not allowed here"}', False, "Not allowed here"),
        (403, b'{"error": {"info": "You are blocked"}}', True, "blocked"),
        (403, b'{"message": "Too many requests"}', True, "Too many"),
        (403, b"<html><style>x</style>Access denied</html>", True, "Access denied"),
        (403, b"", True, "HTTP 403"),
        (401, b'{"errors": [{"message": "who are you?"}]}', False, "who are you?"),
        (400, b"plain", False, "plain"),
    ],
)
def test_refusals_of_services(
    status: int, body: bytes, blocked: bool, says: str
) -> None:
    found = forbidden(status, {}, body, NOW)
    assert found.blocked == blocked
    assert says in str(found)


@given(st.binary(max_size=300))
def test_any_body_has_words_for_one_line(body: bytes) -> None:
    said, _ = words(body)
    assert len(said) <= 200
    assert said == "" or said.isprintable()


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_that_is_read_is_let_in(name: str) -> None:
    out = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(out, name)
    assert kind_of(out.getvalue()) is None


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "an empty file"),
        (b"  \n<!DOCTYPE HTML><html>", "a web page"),
        (b"\xef\xbb\xbf<html lang='en'>", "a web page"),
        (b"<?xml version='1.0'?><Error/>", "XML or SVG"),
        (b'{"error": 1}', "JSON"),
        (b"%PDF-1.7", "bytes that start with b'%PDF-1.7'"),
        (b"RIFF\0\0\0\0AVI ", "bytes that start with"),
    ],
)
def test_what_is_no_picture(data: bytes, found: str) -> None:
    assert found in str(kind_of(data))
