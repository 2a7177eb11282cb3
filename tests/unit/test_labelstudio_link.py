"""The line to a Label Studio server, where no server is needed."""

import httpx
import pytest

from curation.errors import LabelStudioError
from curation.labelstudio import LabelStudio
from curation.labelstudio.link import Patient, loopback, words
from curation.labelstudio.picture import _open
from tests.standins.server import Answer, Server


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://127.8.0.1", True),
        ("http://[::1]:8080", True),
        ("http://localhost", True),
        ("http://studio.localhost:1", True),
        ("http://192.168.0.1", False),
        ("http://localhost.example.org", False),
    ],
)
def test_what_is_of_this_machine(url, here):
    assert loopback(url) is here


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"detail": "Not found."}, "Not found."),
        ({"validation_errors": {"non_field_errors": ["a", "b"]}}, "a b"),
        ({"validation_errors": {"title": "short"}, "detail": "no"}, "title: short"),
        ({"error": "no room"}, "no room"),
        ({"label_config": ["x"]}, '{"label_config": ["x"]}'),
        ("plain\n words", "plain words"),
        ("<!doctype html><html><p>hello</html>", "a page"),
        (None, "an empty answer"),
    ],
)
def test_words_of_an_answer(body, said):
    assert words(body) == said


def test_words_are_few():
    assert len(words("x" * 10_000)) == 300


def answering(statuses, **headers):
    """A server that gives these statuses in turn, then 200."""
    left = list(statuses)

    def reply(asked):
        status = left.pop(0) if left else 200
        return Answer(status=status, body=b"{}", headers=headers)

    return Server(reply)


def test_a_server_that_was_never_met_is_not_waited_for(monkeypatch):
    monkeypatch.setattr("curation.labelstudio.link.STRANGER", 0.3)
    with answering([503] * 99) as server, Patient(patience=60) as http:
        assert http.get(server.url).status_code == 503
        assert len(server.asked) < 5


def test_one_that_was_met_is():
    with answering([200, 503, 502, 504]) as server, Patient(patience=60) as http:
        assert [http.get(server.url).status_code for _ in range(2)] == [200, 200]
        assert len(server.asked) == 5


def test_a_server_that_wants_more_time_than_there_is():
    with (
        answering([200, 429], **{"Retry-After": "3600"}) as server,
        Patient(patience=60) as http,
    ):
        http.get(server.url)
        assert http.get(server.url).status_code == 429


def test_a_server_that_hangs(monkeypatch):
    monkeypatch.setattr("curation.labelstudio.link.TIMEOUT", httpx.Timeout(0.2))
    with Server(lambda asked: Answer(delay=1.0)) as server:
        door = LabelStudio(server.url, "0" * 40, patience=0)
        with pytest.raises(LabelStudioError, match=r"broke off \(ReadTimeout\)"):
            door.greet()


@pytest.mark.parametrize(
    ("home", "url", "allowed", "shown"),
    [
        ("http://a.org", "http://b.org/x.png", "*", True),
        ("http://a.org", "http://b.org/x.png", "http://a.org", True),
        ("http://a.org", "http://b.org/x.png", "http://b.org", False),
        ("http://a.org", "http://b.org/x.png", "", False),
        ("https://a.org", "https://b.org/x.png", "*", True),
        ("https://a.org", "http://b.org/x.png", "*", False),  # mixed content
        ("https://a.org", "http://127.0.0.1:1/x.png", "*", True),
    ],
)
def test_which_pictures_a_page_may_show(home, url, allowed, shown):
    headers = {"Access-Control-Allow-Origin": allowed} if allowed else {}
    assert _open(httpx.Response(200, headers=headers), url, home) is shown
