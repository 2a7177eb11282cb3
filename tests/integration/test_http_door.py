"""The door against a server on loopback where everything goes wrong."""

import gzip
import json
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation.config import Host, Http
from curation.errors import ConfigError, FetchError, HostBlocked, SourceError
from curation.http.door import HttpDoor
from curation.http.hosts import REFUSALS, SILENCES
from tests.standins.faults import PHOTO, Faults, drip, huge_png, jpeg
from tests.standins.server import Answer, Asked, Server

LOOPBACK = Host(name="127.0.0.1", private=True)


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now, self.slept = 1_800_000_000.0, list[float]()
        self._lock = threading.Lock()

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.now += seconds
            self.slept.append(seconds)


Open = Callable[..., AbstractContextManager[HttpDoor]]


@pytest.fixture
def fake() -> Time:
    return Time()


@pytest.fixture
def faults() -> Faults:
    return Faults(pause=0.05)


@pytest.fixture
def server(faults: Faults) -> Iterator[Server]:
    with Server(faults.reply) as running:
        yield running


@pytest.fixture
def opened(tmp_path: Path, fake: Time) -> Open:
    def make(http: Http | None = None, **other: object) -> HttpDoor:
        values = {
            "state": tmp_path / "hosts.sqlite",
            "sleep": fake.sleep,
            "clock": fake.clock,
        }
        http = http or Http(hosts=[LOOPBACK], timeout=5)
        return HttpDoor(http, **(values | other))  # type: ignore[arg-type]

    return make


@pytest.fixture
def door(opened: Open) -> Iterator[HttpDoor]:
    with opened() as made:
        yield made


def photo(door: HttpDoor, server: Server, path: str, **other: bool) -> bytes:
    return door.photo(server.url + path, limit=1_000_000, **other)


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/ok.jpg", 1),
        ("/to-photo", 1),
        ("/hop/5", 1),
        ("/longer", 1),
        ("/gzipped", 1),
        ("/busy", 2),
        ("/unavailable", 2),
        ("/truncated-once", 2),
        ("/flaky/3/500", 4),
        ("/flaky/2/502", 3),
        ("/flaky/1/408", 2),
    ],
)
def test_a_photo_arrives(
    door: HttpDoor, server: Server, faults: Faults, path: str, asked: int
) -> None:
    assert photo(door, server, path) == PHOTO
    assert faults.seen[path] == asked


@pytest.mark.parametrize(
    ("path", "reason", "gone", "attempts"),
    [
        ("/gone", "410", True, 1),
        ("/nothing-here", "404", True, 1),
        ("/refused", "403", True, 1),
        ("/unavailable-for-legal-reasons", "451", True, 1),
        ("/failing", "HTTP 500", False, 4),
        ("/flaky/4/503", "HTTP 503", False, 4),
        ("/truncated", "broke off after", False, 4),
        ("/broken-chunks", "broke off", False, 4),
        ("/claims-more", "allowed are 1000000", False, 1),
        ("/endless", "more than 1000000 bytes", False, 1),
        ("/empty", "empty", False, 4),
        ("/page", "not a picture: a web page", False, 1),
        ("/svg", "not a picture: XML or SVG", False, 1),
        ("/good.json", "not a picture: JSON", False, 1),
        ("/bomb", "more than 1000000 bytes", False, 1),
        ("/gzip-cut", "broke off", False, 4),
        ("/gzip-damaged", "damaged", False, 4),
        ("/brotli", "Content-Encoding 'br'", False, 1),
        ("/to-metadata", "169.254.169.254 is not a public address", False, 1),
        ("/to-loopback", "localhost", False, 1),
        ("/to-file", "only http and https", False, 1),
        ("/to-data", "only http and https", False, 1),
        ("/to-user", "user name or password", False, 1),
        ("/to-nowhere", "not a valid URL", False, 1),
        ("/loop", "more than 5 redirects", False, 1),
        ("/hop/6", "more than 5 redirects", False, 1),
    ],
)
def test_a_photo_is_refused_with_its_reason(
    door: HttpDoor, server: Server, path: str, reason: str, gone: bool, attempts: int
) -> None:
    with pytest.raises(FetchError) as caught:
        photo(door, server, path)
    assert reason in str(caught.value)
    assert (caught.value.gone, caught.value.attempts) == (gone, attempts)
    assert photo(door, server, "/ok.jpg") == PHOTO  # the host is still asked


def test_a_bomb_is_never_held_in_memory(door: HttpDoor, server: Server) -> None:
    import tracemalloc

    tracemalloc.start()
    try:
        with pytest.raises(FetchError, match="1000000"):
            photo(door, server, "/bomb")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000  # it unpacks to 50 MB


def test_a_huge_picture_comes_as_it_is(door: HttpDoor, server: Server) -> None:
    # whether its 2.5 thousand million pixels are wanted is not the door's to say
    assert photo(door, server, "/huge.png") == huge_png()


def test_a_body_that_trickles_is_given_up(server: Server, opened: Open) -> None:
    with (
        opened(Http(hosts=[LOOPBACK], timeout=0.4, attempts=2)) as door,
        pytest.raises(FetchError, match="too slow") as caught,
    ):
        photo(door, server, "/drip")
    assert caught.value.attempts == 2


def test_an_answer_that_never_begins_is_given_up(opened: Open) -> None:
    with (
        Server(lambda asked: Answer(body=PHOTO, delay=1.5)) as server,
        opened(Http(hosts=[LOOPBACK], timeout=0.2, attempts=2)) as door,
        pytest.raises(FetchError, match="no answer in time"),
    ):
        photo(door, server, "/")


def test_waiting_goes_by_what_the_service_says(
    door: HttpDoor, server: Server, fake: Time
) -> None:
    photo(door, server, "/busy")  # Retry-After: 7
    assert 7 <= sum(fake.slept) <= 8
    photo(door, server, "/unavailable")  # 3
    assert 10 <= sum(fake.slept) <= 12


def test_backoff_grows(door: HttpDoor, server: Server, fake: Time) -> None:
    with pytest.raises(FetchError):
        photo(door, server, "/failing")
    first, second, third = fake.slept
    assert 0.5 <= first <= 1.5
    assert 1 <= second <= 3
    assert 2 <= third <= 6


@pytest.mark.parametrize(
    ("path", "until"), [("/busy-long", 7200), ("/busy-until", None)]
)
def test_a_long_wait_blocks_the_host_and_is_remembered(
    server: Server, opened: Open, fake: Time, path: str, until: float | None
) -> None:
    with opened() as door, pytest.raises(HostBlocked) as caught:
        photo(door, server, path)
    expected = fake.now + until if until else 1_800_000_000 + 400 * 86_400
    assert caught.value.until == pytest.approx(expected)
    assert caught.value.host == server.url.removeprefix("http://")
    before = len(server.asked)
    # the next run knows at once, and asks nothing
    with opened() as door, pytest.raises(HostBlocked, match="left alone until"):
        photo(door, server, "/ok.jpg")
    assert len(server.asked) == before
    fake.now = caught.value.until + 1
    with opened() as door:
        assert photo(door, server, "/ok.jpg") == PHOTO


def test_a_host_that_stays_busy_is_left_alone(
    door: HttpDoor, server: Server, faults: Faults, fake: Time
) -> None:
    with pytest.raises(HostBlocked) as caught:
        photo(door, server, "/always-busy")
    assert faults.seen["/always-busy"] == 4
    assert caught.value.until == pytest.approx(fake.now + 900)


def test_many_refused_photos_in_a_row_are_a_block(
    opened: Open, server: Server, door: HttpDoor
) -> None:
    with Server(lambda asked: Answer(403)) as refusing:
        for place in range(REFUSALS - 1):
            with pytest.raises(FetchError) as caught:
                photo(door, refusing, f"/{place}.jpg")
            assert caught.value.gone
        with pytest.raises(HostBlocked, match="403"):
            photo(door, refusing, "/last.jpg")
        asked = len(refusing.asked)
        with pytest.raises(HostBlocked):
            photo(door, refusing, "/another.jpg")
        assert len(refusing.asked) == asked == REFUSALS
    # only that host is left alone
    assert photo(door, server, "/ok.jpg") == PHOTO


def test_a_photo_that_arrives_ends_the_row_of_refusals(door: HttpDoor) -> None:
    def reply(asked: Asked) -> Answer:
        place = int(asked.path[1:])
        return Answer(403) if place % REFUSALS else Answer(body=PHOTO)

    with Server(reply) as server:
        for place in range(1, 3 * REFUSALS):
            if place % REFUSALS:
                with pytest.raises(FetchError):
                    photo(door, server, f"/{place}")
            else:
                photo(door, server, f"/{place}")


def test_the_same_refused_photo_again_is_no_block(
    door: HttpDoor, server: Server
) -> None:
    for _ in range(2 * REFUSALS):
        with pytest.raises(FetchError):
            photo(door, server, "/refused")


def test_a_host_that_is_down_is_left_alone_but_not_remembered(
    opened: Open, fake: Time
) -> None:
    with Server(lambda asked: Answer()) as server:
        url = server.url  # and then it is gone
    with opened(Http(hosts=[LOOPBACK], attempts=2, timeout=5)) as door:
        for place in range(SILENCES - 1):
            with pytest.raises(FetchError, match="refused"):
                door.photo(f"{url}/{place}", limit=10)
        with pytest.raises(HostBlocked):
            door.photo(f"{url}/last", limit=10)
    with opened() as door, pytest.raises(FetchError, match="refused"):
        door.photo(f"{url}/1", limit=10)


def test_json(door: HttpDoor, server: Server) -> None:
    parameters = {"q": "polar bear & more", "per_page": 200}
    answer = door.json(f"{server.url}/good.json", params=parameters)
    assert answer == {"results": [1]}
    assert server.asked[-1].query == {"q": "polar bear & more", "per_page": "200"}
    assert door.json(f"{server.url}/truncated.json") == {"results": [1]}
    assert door.json(f"{server.url}/maxlag.json") == {"query": {}}


@pytest.mark.parametrize(
    ("path", "status", "attempts", "says"),
    [
        ("/nothing.json", 404, 1, "404"),
        ("/wrong.json", 200, 4, "not JSON"),
        ("/page.json", 200, 4, "not JSON: a web page"),
        ("/deep.json", 200, 4, "not JSON"),
        ("/failing", 500, 4, "500"),
        ("/truncated", None, 4, "broke off"),
        ("/window.json", 403, 1, "Result window is too large"),
        ("/unauthorised.json", 401, 1, "page_size must be at most 20"),
        ("/to-metadata", None, 1, "169.254.169.254"),
    ],
)
def test_json_failures(
    door: HttpDoor, server: Server, path: str, status: int, attempts: int, says: str
) -> None:
    with pytest.raises(SourceError) as caught:
        door.json(server.url + path)
    assert not isinstance(caught.value, HostBlocked)
    assert (caught.value.status, caught.value.attempts) == (status, attempts)
    assert says in str(caught.value)
    assert caught.value.url == server.url + path


@pytest.mark.parametrize("path", ["/blocked.json", "/banned.json"])
def test_a_service_that_blocks_us(
    door: HttpDoor, server: Server, fake: Time, path: str
) -> None:
    with pytest.raises(HostBlocked, match="block") as caught:
        door.json(server.url + path)
    assert caught.value.until == pytest.approx(fake.now + 3600)


def test_two_runs_at_once_share_the_limits_of_a_host(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from curation.config import Host, Http
from curation.errors import HostBlocked
from curation.http.door import HttpDoor
host = Host(name="127.0.0.1", private=True, per_day=40)
with HttpDoor(Http(hosts=[host]), state=Path(sys.argv[2])) as door:
    for turn in range(30):
        try:
            door.json(sys.argv[1])
        except HostBlocked as error:
            sys.exit(str(error))
"""
    with Server(lambda asked: Answer(body=b"{}")) as server:
        command = [sys.executable, "-c", program, server.url, tmp_path / "hosts.sqlite"]
        runs = [
            subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        told = [run.communicate()[1] for run in runs]
    assert len(server.asked) == 40
    assert any("40 requests a day are used up" in text for text in told)


def test_a_guards_page_does_not_say_that_a_photo_is_gone(door: HttpDoor) -> None:
    page = Answer(403, b"<html>Who are you?</html>", {"Content-Type": "text/html"})
    with (
        Server(lambda asked: page) as server,
        pytest.raises(FetchError, match="403") as caught,
    ):
        photo(door, server, "/1.jpg")
    assert not caught.value.gone


def test_contact(opened: Open, server: Server) -> None:
    with opened() as door:
        door.json(f"{server.url}/good.json")
        with pytest.raises(ConfigError, match="http.contact"):
            door.json(f"{server.url}/good.json", contact=True)
    assert server.asked[-1].headers["user-agent"].startswith("counterset/")
    with opened(contact="me@example.org") as door:
        door.json(f"{server.url}/good.json", contact=True)
    assert server.asked[-1].headers["user-agent"].endswith("(+me@example.org)")
    assert len(server.asked) == 2


def test_a_contact_cannot_add_a_header(opened: Open, server: Server) -> None:
    with opened(contact="me\r\nX-Evil: 1") as door:
        photo(door, server, "/ok.jpg")
    assert "x-evil" not in server.asked[-1].headers


def test_secrets_are_not_told(
    door: HttpDoor, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    told = b'{"error": "no such key=s3cret, ask someone@example.org"}'
    with Server(lambda asked: Answer(400, told)) as failing:
        for url in (f"{failing.url}/a", f"{server.url}/wrong.json"):
            with pytest.raises(SourceError) as caught:
                door.json(url, params={"token": "s3cret", "mail": "a@example.org"})
            told_now = str(caught.value) + caught.value.url
            assert "s3cret" not in told_now
            assert "@example.org" not in told_now
            assert "%40example.org" not in told_now
            assert caught.value.__cause__ is None
            assert caught.value.__suppress_context__
    assert "/wrong.json" in caplog.text  # urllib3 logs what it asks
    assert "s3cret" not in caplog.text
    assert "example.org" not in caplog.text


def test_robots(opened: Open, fake: Time) -> None:
    rules = b"User-agent: *\nDisallow: /private/\nUser-agent: counterset\nDisallow: /us"

    def reply(asked: Asked) -> Answer:
        if asked.path == "/robots.txt":
            return Answer(body=rules)
        if asked.path == "/tagged":
            return Answer(body=PHOTO, headers={"X-Robots-Tag": "NoImageAI"})
        if asked.path == "/to-us":
            return Answer(302, headers={"Location": "/us/photo"})
        return Answer(body=PHOTO)

    with Server(reply) as server, opened() as door:
        with ThreadPoolExecutor(8) as threads:
            list(
                threads.map(
                    lambda place: photo(door, server, f"/private/{place}", robots=True),
                    range(16),
                )
            )
        assert [asked.path for asked in server.asked].count("/robots.txt") == 1
        for path in ("/us/photo", "/to-us"):
            with pytest.raises(FetchError, match="robots.txt"):
                photo(door, server, path, robots=True)
        with pytest.raises(FetchError, match="noimageai"):
            photo(door, server, "/tagged", robots=True)
        assert "/us/photo" not in [asked.path for asked in server.asked]
        # only where it was asked for
        assert photo(door, server, "/tagged") == photo(door, server, "/us/photo")


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_no_robots_file_allows_everything(opened: Open, status: int) -> None:
    def reply(asked: Asked) -> Answer:
        return Answer(status) if asked.path == "/robots.txt" else Answer(body=PHOTO)

    with Server(reply) as server, opened() as door:
        assert photo(door, server, "/1", robots=True) == PHOTO


def test_a_failing_robots_file_means_not_now(opened: Open) -> None:
    def reply(asked: Asked) -> Answer:
        return Answer(503) if asked.path == "/robots.txt" else Answer(body=PHOTO)

    with (
        Server(reply) as server,
        opened() as door,
        pytest.raises(HostBlocked, match=r"robots\.txt cannot be read"),
    ):
        photo(door, server, "/1", robots=True)


TEXT = b"".join(b"%d\ttext %d\n" % (n, n * n) for n in range(20_000))


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (b"", []),
        (b"a", [b"a"]),
        (b"a\nb\n", [b"a", b"b"]),
        (b"a\r\n\r\nb", [b"a", b"", b"b"]),
        (b"a\x0bb\xc2\x85c\n", [b"a\x0bb\xc2\x85c"]),
        (gzip.compress(b"a\nb\n"), [b"a", b"b"]),
        (gzip.compress(b"a\nb") + gzip.compress(b"c\n"), [b"a", b"bc"]),
        (TEXT, TEXT.splitlines()),
        (gzip.compress(TEXT), TEXT.splitlines()),
    ],
    # bytes of gzip hold the time, and workers must call a test alike
    ids=[
        "nothing",
        "no end",
        "two",
        "windows",
        "odd",
        "gz",
        "two gz",
        "long",
        "long gz",
    ],
)
def test_lines(door: HttpDoor, body: bytes, lines: list[bytes]) -> None:
    with Server(lambda asked: Answer(body=body)) as server:
        assert list(door.lines(f"{server.url}/photos.csv.gz")) == lines


@pytest.mark.parametrize("ranges", [True, False])
def test_lines_go_on_where_the_connection_broke(door: HttpDoor, ranges: bool) -> None:
    whole = gzip.compress(TEXT)

    def reply(asked: Asked) -> Answer:
        start = int(asked.headers.get("range", "bytes=0-")[6:-1]) if ranges else 0
        rest = whole[start:]
        # each answer breaks off after a while: 20,000 bytes further each time
        sent = rest[: (20_000 if ranges else 20_000 * len(server.asked))]
        headers = {"ETag": '"1"'}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(whole) - 1}/{len(whole)}"
        return Answer(206 if start else 200, sent, headers, length=len(rest))

    with Server(reply) as server:
        assert list(door.lines(server.url)) == TEXT.splitlines()
        assert len(server.asked) == -(-len(whole) // 20_000)


def test_lines_of_a_file_that_changes_meanwhile(door: HttpDoor) -> None:
    def reply(asked: Asked) -> Answer:
        etag = f'"{len(server.asked)}"'
        return Answer(200, TEXT[:50_000], {"ETag": etag}, length=len(TEXT))

    with Server(reply) as server, pytest.raises(SourceError, match="was changed"):
        list(door.lines(server.url))


def test_lines_that_are_cut_short(door: HttpDoor) -> None:
    with (
        Server(lambda asked: Answer(body=gzip.compress(TEXT)[:-9])) as server,
        pytest.raises(SourceError, match="ends too early"),
    ):
        list(door.lines(server.url))
    with (
        Server(lambda asked: Answer(body=b"a\nb", length=9)) as server,
        pytest.raises(SourceError, match="broke off") as caught,
    ):
        list(door.lines(server.url))
    assert caught.value.attempts == 4


def test_lines_stop_when_the_reader_stops(door: HttpDoor) -> None:
    with Server(lambda asked: Answer(body=iter([TEXT] * 200), length=-1)) as server:
        reading = door.lines(server.url)
        assert next(reading) == b"0\ttext 0"
        reading.close()  # type: ignore[attr-defined]


def test_lines_wait_for_the_bytes_of_an_hour(opened: Open, fake: Time) -> None:
    host = Host(name="127.0.0.1", private=True, bytes_per_hour=20_000_000)
    body = b"x" * 999_999 + b"\n"
    begun = fake.now
    with (
        Server(lambda asked: Answer(body=iter([body] * 50))) as server,
        opened(Http(hosts=[host])) as door,
    ):
        assert sum(len(line) for line in door.lines(server.url)) == 50 * 999_999
    assert 3600 <= fake.now - begun <= 3 * 3600


def test_a_slow_reader_is_not_a_slow_server(opened: Open) -> None:
    with (
        Server(lambda asked: Answer(body=drip(b"\n" * 6, 0.02))) as server,
        opened(Http(hosts=[LOOPBACK], timeout=1.0, attempts=1)) as door,
    ):
        for line in door.lines(server.url):
            time.sleep(0.25)
            assert line == b""


def test_a_line_without_end_is_refused(door: HttpDoor) -> None:
    body = gzip.compress(b"x" * 30_000_000)
    with (
        Server(lambda asked: Answer(body=body)) as server,
        pytest.raises(SourceError, match="a line is longer"),
    ):
        list(door.lines(server.url))


def test_the_pace_of_a_host(opened: Open, server: Server, fake: Time) -> None:
    host = Host(name="127.0.0.1", private=True, per_minute=30)
    begun = fake.now
    with opened(Http(hosts=[host])) as door:
        for _ in range(61):
            door.json(f"{server.url}/good.json")
    assert 120 <= fake.now - begun <= 123
    assert max(fake.slept) < 12  # evenly, after a small burst


def test_a_day_that_is_used_up(opened: Open, server: Server, fake: Time) -> None:
    http = Http(hosts=[Host(name="127.0.0.1", private=True, per_day=3)])
    with opened(http) as door:
        for _ in range(3):
            door.json(f"{server.url}/good.json")
    with opened(http) as door, pytest.raises(HostBlocked, match="a day") as caught:
        door.json(f"{server.url}/good.json")
    assert 86_400 <= caught.value.until - fake.now <= 86_400 + 61
    assert len(server.asked) == 3
    fake.now = caught.value.until
    with opened(http) as door:
        door.json(f"{server.url}/good.json")


def test_bytes_of_an_hour(opened: Open, server: Server, fake: Time) -> None:
    limit = 20 * len(PHOTO)
    http = Http(hosts=[Host(name="127.0.0.1", private=True, bytes_per_hour=limit)])
    with opened(http) as door:
        for _ in range(20):
            photo(door, server, "/ok.jpg")
        with pytest.raises(HostBlocked, match="bytes an hour") as caught:
            photo(door, server, "/ok.jpg")
        assert caught.value.until <= fake.now + 3661
        fake.now = caught.value.until
        photo(door, server, "/ok.jpg")


def test_a_host_without_limits_costs_no_database(
    opened: Open, server: Server, tmp_path: Path
) -> None:
    with opened() as door:
        photo(door, server, "/ok.jpg")
        with pytest.raises(FetchError):
            photo(door, server, "/gone")
    assert not (tmp_path / "hosts.sqlite").exists()


def test_a_damaged_state_file_is_put_aside(
    opened: Open, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "hosts.sqlite").write_bytes(b"not a database" * 100)
    http = Http(hosts=[Host(name="127.0.0.1", private=True, per_day=3)])
    with opened(http) as door:
        photo(door, server, "/ok.jpg")
    assert (tmp_path / "hosts.damaged").exists()
    with sqlite3.connect(tmp_path / "hosts.sqlite") as db:
        assert db.execute("SELECT sum(requests) FROM spent").fetchone() == (1,)
    db.close()


def test_closing_ends_the_waiting(server: Server, tmp_path: Path) -> None:
    http = Http(hosts=[LOOPBACK])
    door = HttpDoor(http, state=tmp_path / "hosts.sqlite")
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(photo, door, server, "/busy")  # would wait 7 s
        while not server.asked:
            time.sleep(0.01)
        door.close()
        with pytest.raises(FetchError, match="stopped"):
            waiting.result()


def test_many_threads(opened: Open) -> None:
    def reply(asked: Asked) -> Answer:
        return Answer(body=jpeg(int(asked.path[1:])))

    with (
        Server(reply) as server,
        opened() as door,
        ThreadPoolExecutor(16) as threads,
    ):
        got = list(
            threads.map(lambda place: photo(door, server, f"/{place}"), range(200))
        )
    assert got == [jpeg(place) for place in range(200)]


def test_json_is_what_python_reads(door: HttpDoor) -> None:
    value = {"name": "Änne", "list": [1, 2.5, None, True]}
    for spelled in (json.dumps(value).encode(), json.dumps(value).encode("utf-16")):
        with Server(lambda asked, body=spelled: Answer(body=body)) as server:
            assert door.json(server.url) == value


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.usefixtures("no_proxy")
def test_a_serial_host_is_asked_one_after_the_other(opened: Open) -> None:
    under_way, most = 0, 0
    lock = threading.Lock()

    def reply(asked: Asked) -> Answer:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.01)
        with lock:
            under_way -= 1
        return Answer(body=b"{}")

    host = Host(name="commons.wikimedia.org", private=True)
    with Server(reply) as server, ThreadPoolExecutor(8) as threads:
        address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        info = (socket.AF_INET, socket.SOCK_STREAM, 6, "", address)
        url = f"http://commons.wikimedia.org:{address[1]}/"
        with opened(Http(hosts=[host]), resolve=lambda name, port: [info]) as door:
            list(threads.map(lambda place: door.json(url), range(16)))
    assert len(server.asked) == 16
    assert most == 1


def test_a_proxy_of_the_environment_is_used(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(lambda asked: Answer(body=PHOTO)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        with opened(Http()) as door:
            url = "http://photos.example.org/1.jpg"
            assert door.photo(url, limit=10_000) == PHOTO
            # what can be told from the URL is told behind a proxy as well
            for inside in ("http://10.0.0.1/", "http://intranet/", "http://127.1/"):
                with pytest.raises(FetchError):
                    door.photo(inside, limit=10_000)
    assert [asked.headers["host"] for asked in proxy.asked] == ["photos.example.org"]


def test_a_proxy_that_is_down_is_named(opened: Open) -> None:
    # the tests' environment has a proxy that refuses
    with (
        opened(Http(attempts=1)) as door,
        pytest.raises(FetchError, match="the proxy of this machine"),
    ):
        door.photo("http://photos.example.org/1.jpg", limit=10)


def test_no_tls_where_it_was_asked_for(door: HttpDoor, server: Server) -> None:
    url = server.url.replace("http:", "https:")
    with pytest.raises(FetchError, match="no secure connection") as caught:
        door.photo(url, limit=10)
    assert caught.value.attempts == 4


@pytest.fixture
def trickling() -> Iterator[Callable[[bytes], int]]:
    """A server that sends some bytes and then one now and then; gives its port."""
    done, threads = threading.Event(), list[threading.Thread]()

    def start(first: bytes) -> int:
        listening = socket.create_server(("127.0.0.1", 0))

        def serve() -> None:
            with listening, listening.accept()[0] as made:
                made.recv(10_000)
                made.sendall(first)
                while not done.wait(0.05):
                    try:
                        made.send(b"H")
                    except OSError:
                        return

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return int(listening.getsockname()[1])

    yield start
    done.set()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(
    ("scheme", "first"),
    [
        ("http", b""),
        ("http", b"HTTP/1.1 200 OK\r\nX-Long: "),
        # a TLS record of 16 kB whose bytes come one by one
        ("https", b"\x16\x03\x03\x40\x00"),
    ],
)
def test_an_answer_that_trickles_before_its_body_is_given_up(
    opened: Open, trickling: Callable[[bytes], int], scheme: str, first: bytes
) -> None:
    # each byte comes in time, all of them never would
    with (
        opened(Http(hosts=[LOOPBACK], timeout=0.3, attempts=1)) as door,
        pytest.raises(FetchError, match="no answer in time|broke off|no secure"),
    ):
        door.photo(f"{scheme}://127.0.0.1:{trickling(first)}/", limit=1000)


def test_lines_of_an_answer_without_end(
    opened: Open, trickling: Callable[[bytes], int]
) -> None:
    # headers that stop look like headers of an empty body
    with (
        opened(Http(hosts=[LOOPBACK], timeout=0.3, attempts=1)) as door,
        pytest.raises(SourceError),
    ):
        list(door.lines(f"http://127.0.0.1:{trickling(b'HTTP/1.1 200 OK')}/"))


header = st.tuples(
    st.sampled_from(
        ["Location", "Retry-After", "Content-Type", "Content-Encoding", "X-Robots-Tag"]
        + ["Content-Range", "MediaWiki-API-Error", "Set-Cookie", "Connection"]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    status=st.integers(200, 599),
    headers=st.lists(header, max_size=4),
    body=st.binary(max_size=60),
    length=st.one_of(st.none(), st.integers(-1, 100)),
)
def test_any_answer_is_taken_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory,
    status: int,
    headers: list[tuple[str, str]],
    body: bytes,
    length: int | None,
) -> None:
    answer = Answer(status, body, dict(headers), length=length)
    fake, folder = Time(), tmp_path_factory.mktemp("state")
    with (
        Server(lambda asked: answer) as server,
        HttpDoor(
            Http(hosts=[LOOPBACK], attempts=2, timeout=5),
            state=folder / "hosts.sqlite",
            sleep=fake.sleep,
            clock=fake.clock,
        ) as door,
    ):
        with suppress(FetchError, HostBlocked):
            door.photo(server.url, limit=50, robots=True)
        with suppress(SourceError):
            door.json(server.url)
        with suppress(SourceError):
            list(door.lines(server.url))


def test_lines_of_a_body_that_never_came(door: HttpDoor) -> None:
    with (
        Server(lambda asked: Answer(length=-1)) as server,
        pytest.raises(SourceError, match="before the body"),
    ):
        list(door.lines(server.url))
