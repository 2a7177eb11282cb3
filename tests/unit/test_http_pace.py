"""Limits hold in every window of time, whatever the order and the times of requests."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation.config import Host
from curation.errors import WorkFolderError
from curation.http.limits import BUILT_IN, Limits, table
from curation.http.pace import Denied, Pace, Ticket
from curation.http.state import State, default_path

DAY, HOUR, MINUTE = 86_400.0, 3_600.0, 60.0
START = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pace(tmp_path: Path, clock: Clock) -> Iterator[Pace]:
    state = State(tmp_path / "hosts.sqlite", clock=clock)
    yield Pace(state)
    state.close()


def most_in(times: list[tuple[float, int]], window: float) -> int:
    """The largest sum in any window, half open."""
    return max(
        (sum(n for t, n in times if start <= t < start + window) for start, _ in times),
        default=0,
    )


steps = st.lists(
    st.tuples(
        st.one_of(st.floats(0, 3), st.floats(0, 120), st.floats(0, 7200), st.just(0.0)),
        st.booleans(),
        st.integers(0, 3_000),
    ),
    max_size=80,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=steps,
    per_minute=st.one_of(st.none(), st.floats(0.2, 40)),
    per_day=st.one_of(st.none(), st.integers(1, 30)),
    per_hour_bytes=st.one_of(st.none(), st.integers(1_000, 30_000)),
)
def test_no_window_has_more_than_the_limit(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[float, bool, int]],
    per_minute: float | None,
    per_day: int | None,
    per_hour_bytes: int | None,
) -> None:
    clock = Clock()
    state = State(tmp_path_factory.mktemp("state") / "hosts.sqlite", clock=clock)
    pace = Pace(state)
    limits = Limits(
        budget="x",
        per_minute=per_minute,
        per_day=per_day,
        bytes_per_hour=per_hour_bytes,
    )
    asked: list[tuple[float, int]] = []
    received: list[tuple[float, int]] = []
    for gap, patient, size in steps:
        clock.now += gap
        answer = pace.admit(limits, "x.org", photo=True)
        if isinstance(answer, Denied) and patient:
            assert answer.wait > 0
            clock.now += answer.wait
            answer = pace.admit(limits, "x.org", photo=True)
        if isinstance(answer, Ticket):
            asked.append((clock.now, 1))
            pace.settle(answer, size)
            received.append((clock.now, size))
    state.close()
    if per_minute is not None and per_minute >= 1:
        assert most_in(asked, MINUTE) <= per_minute
    elif per_minute is not None:
        assert most_in(asked, MINUTE / per_minute) <= 1
    if per_day is not None:
        assert most_in(asked, DAY) <= per_day
    if per_hour_bytes is not None:
        # the last one may be larger than what was put aside for it
        assert most_in(received, HOUR) <= per_hour_bytes + 3_000


def test_requests_come_evenly_after_a_small_burst(pace: Pace, clock: Clock) -> None:
    limits = Limits(budget="x", per_minute=60)
    times = []
    while len(times) < 600:
        answer = pace.admit(limits, "x.org", photo=False)
        if isinstance(answer, Denied):
            clock.now += answer.wait
        else:
            times.append(clock.now)
    assert times[4] == START  # five at once
    assert 590 <= times[-1] - times[0] <= 615  # and then one a second
    assert max(b - a for a, b in zip(times[60:], times[61:], strict=False)) < 6


def test_a_wait_is_long_enough(pace: Pace, clock: Clock) -> None:
    limits = Limits(budget="x", per_day=1, per_minute=1)
    assert isinstance(pace.admit(limits, "x.org", photo=False), Ticket)
    denied = pace.admit(limits, "x.org", photo=False)
    assert isinstance(denied, Denied)
    assert denied.why == "1 requests a day are used up" or not denied.why
    for _ in range(3):
        if isinstance(denied, Denied):
            clock.now += denied.wait
            denied = pace.admit(limits, "x.org", photo=False)
    assert isinstance(denied, Ticket)


def test_what_did_not_arrive_is_given_back(pace: Pace) -> None:
    limits = Limits(budget="x", bytes_per_day=1000)
    for _ in range(300):
        answer = pace.admit(limits, "x.org", photo=True)
        assert isinstance(answer, Ticket)
        pace.settle(answer, 3)
    answer = pace.admit(limits, "x.org", photo=True)
    assert isinstance(answer, Ticket)
    pace.settle(answer, 99)  # 999 in all: no room for the ten put aside
    denied = pace.admit(limits, "x.org", photo=True)
    assert isinstance(denied, Denied)
    assert denied.why == "1,000 bytes a day are used up"


def test_what_is_under_way_counts(pace: Pace) -> None:
    limits = Limits(budget="x", bytes_per_hour=1000)
    tickets = [pace.admit(limits, "x.org", photo=True) for _ in range(101)]
    assert sum(isinstance(ticket, Ticket) for ticket in tickets) == 100


def test_tables_do_not_count_as_media(pace: Pace) -> None:
    limits = Limits(budget="x", bytes_per_hour=1000, media=True)
    for _ in range(200):
        answer = pace.admit(limits, "x.org", photo=False)
        assert isinstance(answer, Ticket)
        assert answer.aside == 0


def test_a_clock_set_back_does_not_stop_everything(pace: Pace, clock: Clock) -> None:
    limits = Limits(budget="x", per_minute=10, per_day=10)
    clock.now += 1000 * DAY
    for _ in range(5):
        assert isinstance(pace.admit(limits, "x.org", photo=False), Ticket)
    clock.now = START
    denied = pace.admit(limits, "x.org", photo=False)
    assert isinstance(denied, Denied)
    assert denied.wait <= 61
    clock.now += denied.wait
    # what was asked is not forgotten: five are left of the day
    for _ in range(5):
        assert isinstance(pace.admit(limits, "x.org", photo=False), Ticket)
    assert isinstance(pace.admit(limits, "x.org", photo=False), Denied)


def test_runs_share_what_they_know(tmp_path: Path, clock: Clock) -> None:
    states = [State(tmp_path / "hosts.sqlite", clock=clock) for _ in range(3)]
    limits = Limits(budget="x", per_day=10)
    let_through = sum(
        isinstance(Pace(states[turn % 3]).admit(limits, "x.org", photo=False), Ticket)
        for turn in range(30)
    )
    assert let_through == 10
    for state in states:
        state.close()


def test_threads_share_what_they_know(pace: Pace) -> None:
    limits = Limits(budget="x", per_day=50)
    let_through: list[bool] = []

    def ask() -> None:
        for _ in range(20):
            answer = pace.admit(limits, "x.org", photo=False)
            let_through.append(isinstance(answer, Ticket))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(let_through) == 50


ASK = """
import sys, time
from pathlib import Path
from curation.http.limits import Limits
from curation.http.pace import Pace, Ticket
from curation.http.state import State
limits = Limits(budget="x", per_minute=40, per_day=60)
pace = Pace(State(Path(sys.argv[1]), clock=time.time))
for _ in range(200):
    if isinstance(pace.admit(limits, "x.org", photo=False), Ticket):
        print(repr(time.time()))
    time.sleep(0.005)
"""


def test_processes_share_what_they_know(tmp_path: Path) -> None:
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", ASK, tmp_path / "hosts.sqlite"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    times = [float(line) for one in programs for line in one.communicate()[0].split()]
    assert all(one.returncode == 0 for one in programs)
    assert most_in([(at, 1) for at in times], MINUTE) <= 40
    # the small burst was let through once, not once by each
    assert 5 <= most_in([(at, 1) for at in times], 5.0) <= 5 + 5


def test_a_killed_process_leaves_a_sound_file(tmp_path: Path) -> None:
    path = tmp_path / "hosts.sqlite"
    endless = ASK.replace("range(200)", "iter(int, 1)").replace("time.sleep(0.005)", "")
    endless = endless.replace("per_minute=40, per_day=60", "per_day=10_000_000")
    program = subprocess.Popen(
        [sys.executable, "-u", "-c", endless, path], stdout=subprocess.PIPE, text=True
    )
    assert program.stdout
    told = [program.stdout.readline() for _ in range(50)]
    program.kill()
    told += program.stdout.readlines()
    program.wait()
    program.stdout.close()
    state = State(path, clock=time.time)
    with state.change() as (db, _):
        (counted,) = db.execute("SELECT sum(requests) FROM spent").fetchone()
    state.close()
    # counted first, told then: at most one was let through and not told
    whole = [line for line in told if line.endswith("\n")]
    assert len(whole) <= counted <= len(whole) + 2


def test_a_block_that_another_run_was_told_holds_here(
    tmp_path: Path, clock: Clock, pace: Pace
) -> None:
    limits = Limits(budget="x", per_day=10)
    assert isinstance(pace.admit(limits, "x.org", photo=False), Ticket)
    other = State(tmp_path / "hosts.sqlite", clock=clock)
    other.block("x.org", START + 500, "HTTP 429: too busy")
    other.close()
    assert pace.admit(limits, "x.org", photo=False) == Denied(500, "HTTP 429: too busy")
    clock.now += 501
    assert isinstance(pace.admit(limits, "x.org", photo=False), Ticket)


def test_blocks_are_remembered_until_they_end(tmp_path: Path, clock: Clock) -> None:
    state = State(tmp_path / "hosts.sqlite", clock=clock)
    assert state.blocks() == {}
    assert not state.path.exists()
    state.block("x.org", START + 100, "HTTP 429")
    state.block("x.org", START + 50, "sooner does not shorten it")
    state.close()
    again = State(tmp_path / "hosts.sqlite", clock=clock)
    assert again.blocks() == {"x.org": (START + 100, "HTTP 429")}
    clock.now += 101
    assert again.blocks() == {}
    again.close()


def test_a_file_that_cannot_be_written_says_what_helps(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    state = State(tmp_path / "file" / "hosts.sqlite", clock=time.time)
    with pytest.raises(WorkFolderError, match="XDG_STATE_HOME"):
        state.block("x.org", 1e12, "")


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path, clock: Clock) -> None:
    state = State(tmp_path / "hosts.sqlite", clock=clock)
    with state.change() as (db, _):
        db.execute("PRAGMA user_version = 9")
    state.close()
    with pytest.raises(WorkFolderError, match="newer counterset"):
        state.block("x.org", 1e12, "")


def test_where_the_state_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/var/state")
    assert default_path() == Path("/var/state/counterset/hosts.sqlite")
    for unusable in ("", "relative"):
        monkeypatch.setenv("XDG_STATE_HOME", unusable)
        monkeypatch.setenv("HOME", os.sep + "home")
        assert default_path() == Path("/home/.local/state/counterset/hosts.sqlite")


def test_users_limits_replace_the_built_in_ones() -> None:
    found = table([Host(name="API.iNaturalist.org", per_minute=10)])
    assert found["api.inaturalist.org"].per_minute == 10
    assert found["api.inaturalist.org"].per_day is None
    assert found["api.openverse.org"] == BUILT_IN["api.openverse.org"]
    assert BUILT_IN["api.inaturalist.org"].per_minute == 55
    assert not table([Host(name="x.org", private=True)])["x.org"].counted


def test_media_of_inaturalist_share_one_budget(pace: Pace) -> None:
    open_data = BUILT_IN["inaturalist-open-data.s3.amazonaws.com"]
    assert open_data == BUILT_IN["static.inaturalist.org"]
    assert open_data.bytes_per_hour == 5_000_000_000
    assert open_data.bytes_per_day == 24_000_000_000
