"""How far a long step is: lines, a bar, or nothing."""

import io
import sys

import pytest

from curation.progress import Log, progress, span


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def stderr(monkeypatch):
    monkeypatch.setattr("curation.progress.EVERY", 0.0)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")

    def replaced(stream):
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    return replaced


def test_a_bar_on_a_terminal(stderr):
    screen = stderr(Terminal())
    with progress(10, step="fetch", say=Log()) as seen:
        seen.add(4, failed=1, size=2_000_000)
    text = screen.getvalue()
    assert "fetch: 4 of 10" in text
    assert "2.0 MB, 1 failed" in text
    assert "\x1b[" in text  # it moves


def test_lines_elsewhere(stderr):
    screen = stderr(io.StringIO())
    with progress(10, step="fetch", say=Log()) as seen:
        seen.add(4, size=2_000_000)
        seen.add(6)
    lines = screen.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("fetch: 4 of 10, ")
    assert lines[0].endswith(" left")
    assert "left" not in lines[1]
    assert "\x1b[" not in screen.getvalue()


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_nothing_when_quiet(stderr, stream):
    screen = stderr(stream())
    with progress(10, step="fetch", say=Log(quiet=True)) as seen:
        seen.add(10)
    assert screen.getvalue() == ""


def test_any_function_can_be_told(stderr):
    told = []
    with progress(3, step="fetch", say=told.append) as seen:
        seen.add(3)
    assert len(told) == 1


def test_spans_of_time():
    assert [span(s) for s in (0.2, 119, 121, 7300)] == [
        "0 s",
        "119 s",
        "2 min",
        "2.0 h",
    ]
