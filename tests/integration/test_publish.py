"""Releases are published by the real clients to a Hub on loopback, and loaded back."""

import csv
import hashlib
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.publishing import Mine, Server, released
from tests.standins.hub import Hub
from tests.standins.hub_repos import Entry

REPO = "org/small"
LOAD = """\
import sys, datasets
rows = datasets.load_dataset(sys.argv[1], "all", split="photos", revision=sys.argv[2])
print(*sorted(rows["photo_id"]), sep="\\n")
"""


@pytest.fixture
def mine(shared_tmp, tiny_clip, tmp_path) -> Mine:
    """A release of one's own, which a test may change."""
    return Mine.copy(released(shared_tmp, tiny_clip), tmp_path)


@pytest.fixture
def server(hub) -> Iterator[Server]:
    running = Server(hub)
    yield running
    running.close()


def changes(hub: Hub) -> list[str]:
    """Requests that change something."""
    return [f"{r.method} {r.path}" for r in hub.requests if r.method not in READING]


READING = ("GET", "HEAD")


def loaded(hub: Hub, repo: str, revision: str, home: str, token=Hub.token) -> list[str]:
    """photo_ids, as a fresh process loads them."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD, repo, revision],
        env=hub.environment(token, home=home),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def photo_ids(mine: Mine) -> list[str]:
    with (mine.release / "manifest.csv").open(newline="") as file:
        return sorted(row["photo_id"] for row in csv.DictReader(file))


def test_dry_run_tells_the_plan_needs_no_token_and_changes_nothing(mine, hub):
    done = mine.publish(hub, REPO, "--dry-run", "--json", token=None)
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    files = mine.files()
    assert plan["add"] == sorted(files)
    assert plan["bytes"] == sum(map(len, files.values()))
    assert plan["tag"] == "v1.0.0"
    assert plan["state"] == "to be published"
    assert plan["refused"] == []
    assert hub.repos == {}
    assert changes(hub) == []


def test_a_hub_that_cannot_be_reached_is_said(mine, hub):
    done = mine.publish(hub, REPO, "--dry-run", HF_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 4
    assert "http://127.0.0.1:9" in done.stderr
    assert "no answer" in done.stderr
    assert "Traceback" not in done.stderr


def test_published_loaded_back_kept_and_done_only_once(mine, hub, tmp_path):
    done = mine.publish(hub, REPO, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert hub.commits(REPO)[0] == "Release v1.0.0"
    assert hub.refs(REPO)["refs/tags/v1.0.0"] == told["commit"]
    # photos in config default and again in all, and the classes
    assert told["compared"] > len(photo_ids(mine))
    assert loaded(hub, REPO, "v1.0.0", "other") == photo_ids(mine)
    kept = mine.work / "published/1.0.0"
    assert (kept / "manifest.csv").read_bytes() == mine.files()["manifest.csv"]
    assert json.loads((kept / "where.json").read_text())["repo"] == REPO

    before = len(hub.requests)
    again = mine.publish(hub, REPO, "--yes", "--json")
    assert json.loads(again.stdout)["already"] is True
    del hub.requests[:before]
    assert changes(hub) == []
    assert Hub.token not in done.stdout + done.stderr + again.stdout + again.stderr


def test_without_a_terminal_it_asks_for_yes(mine, hub):
    done = mine.publish(hub, REPO)
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert changes(hub) == []


def test_the_next_version_sends_what_changed_and_leaves_what_is_not_ours(
    mine, hub, server
):
    """A file of the last release that the next does not have goes; notes stay."""
    assert server.publish(mine, REPO)["error"] is None
    note(hub, "NOTES.md", b"mine")
    note(hub, "data/pages.txt", b"of the last release")
    sums = mine.files()["checksums.sha256"]
    digest = hashlib.sha256(b"of the last release").hexdigest()
    note(hub, "checksums.sha256", sums + f"{digest}  data/pages.txt\n".encode())
    sent = hub.received
    mine.change("[dataset]", '[dataset]\ndescription = "Told anew."')
    mine.version("1.0.1")
    result = server.publish(mine, REPO)
    assert result["error"] is None, result
    files = hub.files(REPO)
    assert files.pop("NOTES.md") == b"mine"
    files.pop(".gitattributes", None)
    assert files == mine.files()
    assert "data/pages.txt" not in files
    photos = sum(path.stat().st_size for path in mine.release.glob("data/*"))
    assert hub.received - sent < photos / 5
    assert [t for t in hub.commits(REPO) if t.startswith("Release")] == [
        "Release v1.0.1",
        "Release v1.0.0",
    ]


def note(hub: Hub, path: str, data: bytes) -> None:
    """Somebody commits a file by hand."""
    repo = hub.repos[REPO]
    with hub.lock:
        files = dict(repo.find("main").files) | {path: Entry(len(data), data)}
        repo.move("main", repo.add(repo.head, files, "by hand", "bob"))


def test_a_head_that_moved_is_noticed_and_nothing_is_half_published(mine, hub, server):
    assert server.publish(mine, REPO)["error"] is None
    mine.version("1.0.1")
    fault = hub.fail("/commit/", method="POST", delay=2.0)
    server.begin(mine, REPO)
    while not fault.hits:
        time.sleep(0.01)
    note(hub, "NOTES.md", b"first")
    result = server.end()
    assert result["kind"] == "HubError"
    assert "by hand" in result["error"]
    assert "bob" in result["error"]
    assert "run the same command again" in result["error"]
    assert "refs/tags/v1.0.1" not in hub.refs(REPO)
    assert hub.commits(REPO)[0] == "by hand"
    assert server.publish(mine, REPO)["error"] is None
    assert hub.files(REPO)["NOTES.md"] == b"first"


def test_pull_request_is_opened_once_and_tagged_after_the_merge(mine, hub, server):
    assert server.publish(mine, REPO)["error"] is None
    mine.version("1.0.1")
    head = hub.refs(REPO)["refs/heads/main"]
    fault = hub.fail("/commit/", method="POST", cut="after")
    opened = server.publish(mine, REPO, pull_request=True)
    assert opened["error"] is None, opened
    assert fault.hits == 1, "its reply was lost"
    again = server.publish(mine, REPO, pull_request=True)
    assert opened["commit"] == again["commit"]
    requests = [name for name in hub.refs(REPO) if name.startswith("refs/pr/")]
    assert len(requests) == 1
    assert hub.refs(REPO)["refs/heads/main"] == head
    assert "refs/tags/v1.0.1" not in hub.refs(REPO)
    merge(hub, requests[0])
    merged = hub.refs(REPO)["refs/heads/main"]
    result = server.publish(mine, REPO)
    assert result["error"] is None, result
    assert hub.refs(REPO)["refs/tags/v1.0.1"] == merged
    assert hub.refs(REPO)["refs/heads/main"] == merged


def merge(hub: Hub, name: str) -> None:
    """The owner merges a pull request."""
    repo = hub.repos[REPO]
    repo.branches["main"] = repo.refs()[name]
    repo.discussions[int(name.rpartition("/")[2])]["status"] = "merged"


def test_private_and_gated_before_there_is_anything_to_see(mine, hub):
    done = mine.publish(hub, REPO, "--yes", "--private", "--gated", "manual", "--json")
    assert done.returncode == 0, done.stderr
    asked = changes(hub)
    settled = next(n for n, line in enumerate(asked) if "settings" in line)
    assert settled < next(n for n, line in enumerate(asked) if "/preupload/" in line)
    assert hub.repos[REPO].private
    assert hub.repos[REPO].gated == "manual"
    with pytest.raises(subprocess.CalledProcessError):
        loaded(hub, REPO, "v1.0.0", "other", token=Hub.stranger)
    wrong = mine.publish(hub, REPO, "--yes", "--gated", "perhaps")
    assert wrong.returncode == 2
    assert "auto or manual" in wrong.stderr


@pytest.mark.parametrize(
    ("token", "code", "told"),
    [
        (None, 2, "HF_TOKEN"),
        (Hub.reader, 2, "may only read"),
        (Hub.stranger, 4, "may not do this"),
        ("hf_" + "unknown" * 5, 4, "not known"),
    ],
    ids=["none", "reads only", "a stranger's", "unknown"],
)
def test_who_may_not_write_is_told_before_a_byte_is_sent(mine, hub, token, code, told):
    done = mine.publish(hub, REPO, "--yes", token=token)
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert token is None or token not in done.stderr + done.stdout
    assert hub.asked("^/upload") == []
    assert "Traceback" not in done.stderr


def test_take_down_leaves_the_head_and_says_what_still_holds_it(mine, hub, tmp_path):
    assert mine.publish(hub, REPO, "--yes").returncode == 0
    gone = photo_ids(mine)[0]
    mine.invoke("forget", gone, "--reason", "asked")
    mine.invoke("run", "--until", "release", "-c", str(mine.config))
    small = mine.publish(hub, REPO, "--yes")
    assert small.returncode == 3
    assert "2.0.0" in small.stderr
    mine.version("2.0.0")
    done = mine.publish(hub, REPO, "--yes")
    assert done.returncode == 0, done.stderr
    assert "docs/publish.md" in done.stdout
    head = hub.files(REPO)
    assert gone not in head["manifest.csv"].decode()
    assert gone in head["takedowns.csv"].decode()
    assert gone not in loaded(hub, REPO, "main", "new")
    assert gone in loaded(hub, REPO, "v1.0.0", "old")

    purge(hub)
    assert hub.commits(REPO) == hub.commits(REPO)[:1]
    with pytest.raises(subprocess.CalledProcessError):
        loaded(hub, REPO, "v1.0.0", "older")
    again = mine.publish(hub, REPO, "--yes", "--json")
    told = json.loads(again.stdout)
    assert told["already"] is True
    assert told["compared"] > 0, "the tag is on another commit, so it is compared anew"


def purge(hub: Hub) -> None:
    """What docs/publish.md says to do."""
    page = Path(__file__).parents[2] / "docs/publish.md"
    blocks = page.read_text().split("```python\n")[1:]
    code = next(block for block in blocks if "super_squash_history" in block)
    code = code.partition("```")[0].replace("my-team/my-dataset", REPO)
    assert REPO in code
    subprocess.run(
        [sys.executable, "-c", code],
        env=hub.environment(),
        check=True,
        capture_output=True,
    )


def test_every_reason_against_is_told_at_once(mine, hub):
    rows = mine.files()["LICENSES.csv"].decode().splitlines()
    photo = rows[1].split(",")[0]
    (mine.release / "LICENSES.csv").write_text("\n".join([rows[0], *rows[2:]]) + "\n")
    card = mine.release / "README.md"
    count = len(photo_ids(mine))
    card.write_text(card.read_text().replace(str(count), str(count + 1)))
    mine.change("[dataset]", '[dataset]\ndescription = "Another."')
    done = mine.publish(hub, REPO, "--dry-run", "--json")
    assert done.returncode == 3
    told = "\n".join(json.loads(done.stdout)["refused"])
    assert "LICENSES.csv, README.md of the release missing or changed" in told
    assert f"({photo}): LICENSES.csv states no licence" in told
    assert "older than dataset.toml" in told
    assert "the card does not state what the release holds" in told


def test_photos_whose_standing_changed_since_are_refused(mine, hub):
    """A photo taken down, one gone from its source, and a licence no longer let in."""
    taken, gone, other = photo_ids(mine)[:3]
    import polars as pl

    from curation.config import load
    from curation.pipeline import Route
    from curation.shelf import Shelf

    shelf = Shelf.open(mine.work)
    route = Route(shelf, load(mine.config))
    photos = pl.DataFrame(route.table("photos"))
    records = dict(photos.select("photo_id", "candidate_id").iter_rows())
    now = "2026-03-02T00:00:00+00:00"
    shelf.append(
        "rechecks",
        [
            {"candidate_id": records[gone], "at": now, "state": "gone"},
            {
                "candidate_id": records[other], "at": now, "state": "there",
                "licence": None, "licence_text": "all rights reserved",
            },
        ],
    )  # fmt: skip
    shelf.append(
        "takedowns", [{"photo_id": taken, "records": [], "reason": "", "at": now}]
    )
    done = mine.publish(hub, REPO, "--yes")
    assert done.returncode == 3
    assert f"taken down, but in the release: {taken}" in done.stderr
    assert f"({gone}): its source does not offer it any more" in done.stderr
    assert f"({other}): its source changed the licence" in done.stderr
    assert changes(hub) == []


def test_a_tag_that_holds_another_release_is_refused(mine, hub, server):
    assert server.publish(mine, REPO)["error"] is None
    mine.change("[dataset]", '[dataset]\ndescription = "Another."')
    mine.invoke("run", "--until", "release", "-c", str(mine.config))
    before = hub.refs(REPO)
    result = server.publish(mine, REPO)
    assert result["kind"] == "InputError"
    assert "tag v1.0.0 is there and holds another release" in result["error"]
    assert hub.refs(REPO) == before


def test_a_strange_shard_that_would_be_loaded_too_is_refused(mine, hub, server):
    assert server.publish(mine, REPO)["error"] is None
    note(hub, "data/common-99999-of-00001.parquet", b"strange")
    mine.version("1.0.1")
    result = server.publish(mine, REPO)
    assert result["kind"] == "InputError"
    assert "data/common-99999-of-00001.parquet" in result["error"]


def test_rows_that_load_back_otherwise_are_told(mine, hub, server, tmp_path):
    assert server.publish(mine, REPO)["error"] is None
    shard = next(mine.release.glob("data/counter-*.parquet"))
    table = pq.read_table(shard)
    place = table.schema.get_field_index("background")
    changed = ["moon", *table.column("background").to_pylist()[1:]]
    pq.write_table(table.set_column(place, "background", [changed]), shard)
    code = (
        "import sys; from pathlib import Path; from curation.hub import Hub; "
        "from curation.publish.compare import compare; "
        f"compare(Path(sys.argv[1]), {REPO!r}, 'v1.0.0', hub=Hub.from_environment())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(mine.release)],
        env=hub.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "HubError: org/small at v1.0.0 is not what was sent" in done.stderr
    assert "moon" in done.stderr
    assert table.column("photo_id")[0].as_py() in done.stderr


def test_downloads_that_fail_at_first_are_tried_again(mine, hub):
    fault = hub.fail("^/cdn/", status=503, times=2)
    done = mine.publish(hub, REPO, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert fault.hits == 2


def test_what_does_not_load_back_is_told_and_compared_by_the_next_run(mine, hub):
    hub.fail("^/cdn/", status=503, times=None)
    done = mine.publish(hub, REPO, "--yes")
    assert done.returncode == 4
    assert "does not load back" in done.stderr
    assert not (mine.work / "published").exists()
    hub.faults.clear()
    again = mine.publish(hub, REPO, "--yes", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["compared"] > 0


def test_published_through_xet(mine, hub):
    done = mine.publish(hub, REPO, "--yes", "--json", HF_HUB_DISABLE_XET="0")
    assert done.returncode == 0, done.stderr
    assert hub.objects.xet_bytes() > 0
    files = {k: v for k, v in hub.files(REPO).items() if k != ".gitattributes"}
    assert files == mine.files()


@pytest.mark.network
def test_published_to_the_real_hub(mine, tmp_path):
    """Asked for by `-m network`, with COUNTERSET_HUB_TOKEN and COUNTERSET_HUB_OWNER.

    A private dataset of a new name is made for that user or organisation, published
    to, loaded back, and deleted.
    """
    token = os.environ.get("COUNTERSET_HUB_TOKEN")
    owner = os.environ.get("COUNTERSET_HUB_OWNER")
    if not token or not owner:
        pytest.skip("COUNTERSET_HUB_TOKEN and COUNTERSET_HUB_OWNER say where to")
    repo = f"{owner}/counterset-test-{secrets.token_hex(4)}"
    environment = {**os.environ, "HF_TOKEN": token, "HF_HOME": str(tmp_path / "hf")}
    words = ["publish", repo, "--private", "--yes", "--json", "-c", str(mine.config)]
    command = [sys.executable, "-m", "curation.cli", *words, "--work", str(mine.work)]
    gone = (
        "import sys; from huggingface_hub import HfApi; "
        "HfApi().delete_repo(sys.argv[1], repo_type='dataset')"
    )
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["compared"] > len(photo_ids(mine))
    finally:
        subprocess.run([sys.executable, "-c", gone, repo], env=environment, check=False)
