"""Every step of publishing fails in every way, or is killed: nothing is half-published,
what to do is said, and the same command completes it."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.publishing import Mine, Server, released
from tests.standins.hub import Hub

STEPS = {
    "look": ("GET", r"^/api/datasets/org/NAME$"),
    "whoami": ("GET", r"whoami"),
    "create": ("POST", r"repos/create"),
    "settings": ("PUT", r"NAME/settings"),
    "tree": ("GET", r"NAME/tree"),
    "preupload": ("POST", r"NAME/preupload"),
    "batch": ("POST", r"NAME\.git/info/lfs/objects/batch"),
    "upload": ("PUT", r"^/upload"),
    "verify": ("POST", r"lfs/verify"),
    "card": ("POST", r"validate-yaml"),
    "commit": ("POST", r"NAME/commit"),
    "tag": ("POST", r"NAME/tag/"),
}
"""Requests of a publication, in order."""


@pytest.fixture(scope="module")
def mine(shared_tmp, tiny_clip, tmp_path_factory) -> Mine:
    """A release that these tests only read."""
    return Mine.copy(released(shared_tmp, tiny_clip), tmp_path_factory.mktemp("mine"))


@pytest.fixture(scope="module")
def shared_hub(tmp_path_factory) -> Iterator[Hub]:
    with Hub(tmp_path_factory.mktemp("hub")) as running:
        yield running


@pytest.fixture(scope="module")
def server(shared_hub) -> Iterator[Server]:
    running = Server(shared_hub)
    yield running
    running.close()


@pytest.fixture
def calm(shared_hub) -> Iterator[Hub]:
    """The shared Hub, emptied."""
    shared_hub.faults.clear()
    shared_hub.requests.clear()
    shared_hub.repos.clear()
    emptied(shared_hub)
    yield shared_hub
    shared_hub.faults.clear()


def emptied(hub: Hub) -> None:
    """Forget all uploads."""
    for file in hub.objects.folder.iterdir():
        file.unlink()


ALL = bool(os.environ.get("COUNTERSET_PUBLISH_FAULTS"))
"""Every status at every step, and a kill at every request; else some of them."""

_names = iter(range(1_000_000))


@pytest.fixture
def name() -> str:
    return f"set-{next(_names)}"


def fail(hub: Hub, step: str, name: str, **how):
    method, path = STEPS[step]
    return hub.fail(path.replace("NAME", name), method=method, **how)


def published(hub: Hub, mine: Mine, repo: str) -> bool:
    """One commit, one tag, the release's files; nothing else."""
    there = {k: v for k, v in hub.files(repo).items() if k != ".gitattributes"}
    refs = hub.refs(repo)
    assert there == mine.files()
    assert [t for t in hub.commits(repo) if t.startswith("Release")] == [
        "Release v1.0.0"
    ]
    assert refs["refs/tags/v1.0.0"] == refs["refs/heads/main"]
    assert set(refs) == {"refs/heads/main", "refs/tags/v1.0.0"}
    return True


def untouched(hub: Hub, repo: str) -> bool:
    """Nobody sees anything of the release."""
    if repo not in hub.repos:
        return True
    return "README.md" not in hub.files(repo) and "refs/tags/v1.0.0" not in hub.refs(
        repo
    )


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "how",
    [
        {"status": 503},
        {"status": 429, "headers": {"Retry-After": "1"}},
        {"cut": "before"},
        {"cut": "after"},
    ],
    ids=["503", "429", "cut before", "reply lost"],
)
def test_what_passes_is_waited_for(step, how, mine, calm, server, name):
    fault = fail(calm, step, name, **how)
    result = server.publish(mine, f"org/{name}", gated="auto")
    assert result["error"] is None, result
    assert fault.hits == 1
    assert published(calm, mine, f"org/{name}")
    assert result["commit"] == calm.refs(f"org/{name}")["refs/tags/v1.0.0"]


@pytest.mark.parametrize("step", STEPS)
def test_what_stays_is_told_and_the_next_run_completes(step, mine, calm, server, name):
    repo = f"org/{name}"
    for status in STATUSES if ALL or step == "commit" else STATUSES[:4]:
        if (step, status) in UNDERSTOOD:
            continue
        fail(calm, step, name, status=status, times=None)
        result = server.publish(mine, repo, gated="auto")
        assert result["kind"] in ("HubError", "ConfigError"), result
        assert str(status) in result["error"], result["error"]
        assert "http" in result["error"]
        assert Hub.token not in result["error"]
        if step != "tag":
            assert untouched(calm, repo)
        if step == "verify":  # of what arrived, nothing is verified again
            emptied(calm)
        calm.faults.clear()
    again = server.publish(mine, repo, gated="auto")
    assert again["error"] is None, again
    assert published(calm, mine, repo)


STATUSES = (401, 403, 409, 507, 404, 412, 429, 500)
"""The client itself waits some 20 s before it gives up on the last two."""

UNDERSTOOD = {("look", 401), ("look", 404), ("create", 409)}
"""Answers that say that there is none yet, or one already."""


def test_connection_cut_in_the_middle_of_an_upload_is_sent_again(
    mine, calm, server, name
):
    fail(calm, "upload", name, cut="early")
    assert server.publish(mine, f"org/{name}")["error"] is None
    assert published(calm, mine, f"org/{name}")


def test_uploads_that_never_succeed_name_their_cause_not_the_client_error(
    mine, calm, server, name
):
    fail(calm, "upload", name, status=503, times=None)
    result = server.publish(mine, f"org/{name}")
    assert result["kind"] == "HubError"
    assert result["status"] == 503
    assert "RuntimeError" not in result["error"]
    assert "run the same command again" in result["error"]


def test_retry_after_longer_than_patience_is_told_at_once(mine, calm, server, name):
    fail(calm, "commit", name, status=429, headers={"Retry-After": "4000"}, times=None)
    result = server.publish(mine, f"org/{name}")
    assert result["status"] == 429
    assert len(calm.asked("commit", "POST")) == 1


KILLS = 22
WAITED = 5.0
"""Seconds after which an attempt is taken to have ended before it could be killed."""


@pytest.mark.parametrize("number", range(1, KILLS, 1 if ALL else 4))
def test_killed_at_any_request_the_next_run_completes(number, mine, calm, server, name):
    repo = f"org/{name}"
    calm.fail(skip=number - 1, delay=0.3)
    process = server.begin(mine, repo, gated="auto")
    waited = 0.0
    while len(calm.requests) < number and waited < WAITED:
        time.sleep(0.005)
        waited += 0.005
    if len(calm.requests) >= number:
        os.kill(process, signal.SIGKILL)
    result = server.end()
    if waited >= WAITED:
        assert number > 15, "fewer requests than this test was written for"
        assert result["error"] is None
    time.sleep(0.4)  # a request that was sent may yet be done
    calm.faults.clear()
    again = server.publish(mine, repo, gated="auto")
    assert again["error"] is None, again
    assert published(calm, mine, repo)


@pytest.mark.parametrize("step", ["commit", "tag"])
def test_two_publishers_of_the_same_release_make_one(step, mine, calm, server, name):
    """The other one's reply came first."""
    other = Server(calm)
    try:
        fail(calm, step, name, delay=1.0)
        server.begin(mine, f"org/{name}")
        while not calm.asked(f"{name}/{step}", "POST"):
            time.sleep(0.01)
        # the work folder is held by the first, so the second has a copy
        import shutil

        copy = Mine(mine.config, mine.work.with_name(f"copy-{name}"))
        shutil.copytree(mine.work, copy.work)
        second = other.publish(copy, f"org/{name}")
        first = server.end()
    finally:
        other.close()
    assert first["error"] is None, first
    assert second["error"] is None, second
    assert published(calm, mine, f"org/{name}")
