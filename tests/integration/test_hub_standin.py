"""The stand-in Hub does for the real clients what the Hub does."""

import json
import random
import subprocess
import sys
from typing import Any

import pytest

from tests.standins.hub import Hub

REPO = "org/things"

PUBLISH = f"""
import io
import numpy as np
import PIL.Image
from datasets import ClassLabel, Dataset, DatasetDict, Image
from huggingface_hub import HfApi

def made(count, seed):
    rng, photos = np.random.default_rng(seed), []
    for place in range(count):
        file = io.BytesIO()
        pixels = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(file, "JPEG")
        photos.append({{"bytes": file.getvalue(), "path": f"{{place}}.jpg"}})
    data = Dataset.from_dict({{
        "image": photos,
        "label": [place % 2 for place in range(count)],
        "photo_id": [f"{{seed}}-{{place}}" for place in range(count)],
    }})
    data = data.cast_column("image", Image())
    return data.cast_column("label", ClassLabel(names=["bear", "dog"]))

api, repo = HfApi(), {REPO!r}
api.create_repo(repo, repo_type="dataset")
api.create_repo(repo, repo_type="dataset", exist_ok=True)
splits = DatasetDict(common=made(50, 0), counter=made(30, 1))
splits.push_to_hub(repo, num_shards={{"common": 3, "counter": 4}})
made(5, 2).push_to_hub(repo, "pairs", split="test")
api.create_tag(repo, repo_type="dataset", tag="v1.0.0")
tagged = api.dataset_info(repo, revision="v1.0.0").sha
DatasetDict(common=made(20, 3), counter=made(30, 1)).push_to_hub(repo)
print(api.whoami()["name"], tagged)
"""

LOAD = f"""
import json
from datasets import get_dataset_config_names, load_dataset
from datasets.exceptions import DatasetNotFoundError
from huggingface_hub import HfFileSystem

repo, found = {REPO!r}, {{}}
for revision in ("v1.0.0", SHA, "main"):
    data = load_dataset(repo, revision=revision)
    found[revision] = {{name: split["photo_id"][:] for name, split in data.items()}}
    streams = load_dataset(repo, revision=revision, streaming=True)
    for name, stream in streams.items():  # to the end: see `datasets` on aborts
        rows = [(row["photo_id"], row["image"].size, row["label"]) for row in stream]
        assert [row[0] for row in rows] == data[name]["photo_id"][:]
        assert {{row[1] for row in rows}} == {{(64, 64)}}
        assert [row[2] for row in rows] == data[name]["label"][:]
found["names"] = data["common"].features["label"].names
found["pairs"] = load_dataset(repo, "pairs", split="test").num_rows
found["configs"] = get_dataset_config_names(repo)
path = f"datasets/{{repo}}/pairs/test-00000-of-00001.parquet"
with HfFileSystem().open(path) as file:
    file.seek(-4, 2)
    found["end"] = file.read().decode()
try:
    load_dataset(repo, revision="nope")
except DatasetNotFoundError as error:
    found["nope"] = str(error)
print(json.dumps(found))
"""

FOLDERS = """
import json, sys
from pathlib import Path
from huggingface_hub import HfApi, snapshot_download

api, repo, folder = HfApi(), "ann/folder", Path(sys.argv[1])
api.create_repo(repo, repo_type="dataset")
def up(**more):
    return api.upload_folder(
        repo_id=repo, repo_type="dataset", folder_path=folder, **more
    )
def names(revision="main"):
    return sorted(api.list_repo_files(repo, repo_type="dataset", revision=revision))
up()
whole = names()
head = api.dataset_info(repo).sha
up()
same = api.dataset_info(repo).sha == head
(folder / "a.parquet").unlink()
(folder / "text.csv").write_text("changed")
pull = up(delete_patterns="*.parquet", create_pr=True, commit_message="A change")
inside = names("refs/pr/1")
untouched = names() == whole
details = api.get_discussion_details(repo, 1, repo_type="dataset")
api.merge_pull_request(repo, 1, repo_type="dataset")
merged = names()
local = Path(snapshot_download(repo, repo_type="dataset", local_dir=folder / "down"))
checks = api.verify_repo_checksums(repo, repo_type="dataset", local_dir=local)
print(json.dumps(dict(
    whole=whole, same=same, inside=inside, untouched=untouched, title=details.title,
    merged=merged, mismatches=len(checks.mismatches), checked=checks.checked_count,
    text=(local / "text.csv").read_text(),
)))
"""

SEVERAL = """
import json, sys
from huggingface_hub import CommitOperationAdd, HfApi

def commit(data, **more):
    files = {"README.md": b"text", "a.bin": data}
    files = [CommitOperationAdd(path, content) for path, content in files.items()]
    api.create_commit(
        "org/things", files, commit_message="One", repo_type="dataset", **more
    )

def load():
    return api.hf_hub_download("org/things", "a.bin", repo_type="dataset")

DATA, api, outcomes = b"\\0" * 1000, HfApi(), []
for code in sys.argv[1:]:
    try:
        exec(code)
    except Exception as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        outcomes.append(f"{type(error).__name__} {status}")
    else:
        outcomes.append("done")
print(json.dumps(outcomes))
"""


def client(hub: Hub, code: str, *arguments: str, **more: Any) -> str:
    """What a program of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=hub.environment(**more),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


def attempts(hub: Hub, *codes: str, **more: Any) -> list[str]:
    """In one process: `done`, or the name of the error and its HTTP status."""
    return json.loads(client(hub, SEVERAL, *codes, **more).splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("xet", [False, True], ids=["lfs", "xet"])
def test_a_published_dataset_loads_in_another_process(hub, xet):
    name, sha = client(hub, PUBLISH, xet=xet).split()
    assert name == "ann"
    assert hub.refs(REPO)["refs/tags/v1.0.0"] == sha != hub.repos[REPO].head
    found = json.loads(
        client(hub, LOAD.replace("SHA", repr(sha)), token=None, xet=xet, home="other")
    )
    old = {
        "common": [f"0-{place}" for place in range(50)],
        "counter": [f"1-{place}" for place in range(30)],
    }
    assert found["v1.0.0"] == found[sha] == old
    assert found["main"] == old | {"common": [f"3-{place}" for place in range(20)]}
    assert found["names"] == ["bear", "dog"]
    assert (found["pairs"], found["end"]) == (5, "PAR1")
    assert sorted(found["configs"]) == ["default", "pairs"]
    assert "Revision 'nope' doesn't exist" in found["nope"]
    assert bool(hub.asked("/upload/", "PUT")) is not xet
    assert (hub.objects.xet_bytes() > 0) is xet


@pytest.mark.parametrize("xet", [False, True], ids=["lfs", "xet"])
def test_folders_and_pull_requests(hub, tmp_path, xet):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.parquet").write_bytes(b"PAR1" * 1000)
    (folder / "photo.png").write_bytes(bytes(range(256)) * 100)
    (folder / "text.csv").write_text("a,b\n")
    found = json.loads(client(hub, FOLDERS, str(folder), xet=xet))
    whole = [".gitattributes", "a.parquet", "photo.png", "text.csv"]
    assert found.pop("whole") == whole
    whole.remove("a.parquet")
    assert found.pop("inside") == found.pop("merged") == whole
    assert found == {
        "same": True,
        "untouched": True,
        "title": "A change",
        "mismatches": 0,
        "checked": 3,
        "text": "changed",
    }
    assert hub.files("ann/folder")["photo.png"] == bytes(range(256)) * 100


def test_xet_takes_what_is_new_only(hub, tmp_path):
    hub.create(REPO)
    whole = bytearray(random.Random(0).randbytes(4_000_000))
    file = tmp_path / "large.bin"
    code = (
        f"api.upload_file(path_or_fileobj={str(file)!r}, path_in_repo='a.bin',"
        f" repo_id={REPO!r}, repo_type='dataset')"
    )
    file.write_bytes(whole)
    assert attempts(hub, code, xet=True) == ["done"]
    first = hub.objects.xet_bytes()
    whole[2_000_000:2_000_000] = b"a few bytes in the middle"
    file.write_bytes(whole)
    assert attempts(hub, code, xet=True, home="other") == ["done"]
    assert hub.files(REPO)["a.bin"] == bytes(whole)
    assert 0 < hub.objects.xet_bytes() - first < 0.2 * len(whole)
    assert hub.received < 20_000  # nothing of it went by HTTP


def test_large_files_arrive_in_parts_and_only_once(hub):
    hub.create(REPO)
    hub.part = 100_000
    code = "commit(bytes(range(256)) * 1000)"
    assert attempts(hub, code) == ["done"]
    assert len(hub.asked("/upload/.*/[0-9]$", "PUT")) == 3
    assert hub.files(REPO)["a.bin"] == bytes(range(256)) * 1000
    received = hub.received
    assert attempts(hub, code) == ["done"]
    assert len(hub.asked("/upload/.*/[0-9]$", "PUT")) == 3
    assert hub.received - received < 3000


def test_a_commit_is_refused_when_the_head_moved(hub):
    first = hub.create(REPO).head
    stale = f"commit(b'\\0more', parent_commit={first!r})"
    assert attempts(hub, "commit(DATA)", stale) == ["done", "HfHubHTTPError 412"]
    assert hub.files(REPO)["a.bin"] == b"\0" * 1000
    fresh = f"commit(b'\\0more', parent_commit={hub.repos[REPO].head!r})"
    assert attempts(hub, fresh) == ["done"]
    assert hub.files(REPO)["a.bin"] == b"\0more"
    assert hub.commits(REPO) == ["One", "One", "initial commit"]


def test_tags_branches_and_squashed_history(hub):
    hub.create(REPO)
    place = f"{REPO!r}, repo_type='dataset'"
    codes = [
        "commit(DATA)",
        f"api.create_tag({place}, tag='v1')",
        f"api.create_tag({place}, tag='v1')",
        "commit(b'\\0more')",
        f"api.create_branch({place}, branch='old', revision='v1')",
        f"assert len(api.list_repo_commits({place})) == 3",
        f"api.super_squash_history({place})",
        f"assert api.list_repo_commits({place})[0].title.startswith('Super')",
    ]
    outcomes = attempts(hub, *codes)
    assert outcomes == ["done"] * 2 + ["HfHubHTTPError 409"] + ["done"] * 5
    refs = hub.refs(REPO)
    assert refs["refs/heads/old"] == refs["refs/tags/v1"] != refs["refs/heads/main"]
    assert len(hub.commits(REPO)) == 1
    assert hub.files(REPO)["a.bin"] == b"\0more"
    assert hub.files(REPO, "v1")["a.bin"] == b"\0" * 1000  # tags keep theirs
    codes = [
        f"assert [r.name for r in api.list_repo_refs({place}).tags] == ['v1']",
        f"api.delete_tag({place}, tag='v1')",
        f"api.dataset_info({REPO!r}, revision='v1')",
    ]
    assert attempts(hub, *codes) == ["done", "done", "RevisionNotFoundError 404"]


def test_rights(hub):
    def made(name: str, token: str) -> str:
        return f"HfApi(token={token!r}).create_repo({name!r}, repo_type='dataset')"

    text = "api.upload_file(path_or_fileobj=b'x', path_in_repo='x', repo_id='org/a', "
    text += "repo_type='dataset', token="
    gone = "api.delete_repo('org/a', repo_type='dataset', token="
    exists = made("org/a", hub.reader)[:-1] + ", exist_ok=True)"
    wanted = {
        made("org/a", "hf_unknown"): "HfHubHTTPError 401",
        made("org/a", hub.reader): "HfHubHTTPError 403",
        made("org/a", hub.stranger): "HfHubHTTPError 403",
        made("org/a", hub.token): "done",
        made("eve/a", hub.stranger): "done",
        exists: "done",  # and the right to write is missed only later
        f"{text}{hub.reader!r})": "HfHubHTTPError 403",
        f"{text}{hub.stranger!r})": "HfHubHTTPError 403",
        f"{gone}{hub.stranger!r})": "HfHubHTTPError 403",
        f"{gone}{hub.token!r})": "done",
        f"{text}{hub.token!r})": "RepositoryNotFoundError 404",
    }
    assert dict(zip(wanted, attempts(hub, *wanted), strict=True)) == wanted
    nobody = ["api.whoami()", "api.create_repo('org/b', repo_type='dataset')"]
    refused = ["LocalTokenNotFoundError None", "HfHubHTTPError 401"]
    assert attempts(hub, *nobody, token=None) == refused


def test_private_and_gated(hub):
    repo = hub.create(REPO)
    settings = f"api.update_repo_settings({REPO!r}, repo_type='dataset', "
    private = settings + "private=True)"
    assert attempts(hub, "commit(DATA)", private, "load()") == ["done"] * 3
    dataset = f"import datasets; datasets.load_dataset({REPO!r})"
    outcomes = attempts(hub, "load()", dataset, token=None, home="a")
    assert outcomes == ["RepositoryNotFoundError 401", "DatasetNotFoundError None"]
    outcomes = attempts(hub, "load()", token=hub.stranger, home="b")
    assert outcomes == ["RepositoryNotFoundError 404"]
    gate = settings + "gated='manual', private=False)"
    assert attempts(hub, gate) == ["done"]
    outcomes = attempts(hub, "load()", dataset, token=None, home="a")
    assert outcomes == ["GatedRepoError 401", "DatasetNotFoundError None"]
    outcomes = attempts(hub, "load()", token=hub.stranger, home="b")
    assert outcomes == ["GatedRepoError 403"]
    repo.granted.add("eve")
    assert attempts(hub, "load()", token=hub.stranger, home="b") == ["done"]


def test_listings_come_in_pages(hub):
    hub.create(REPO)
    hub.page = 1
    names = [".gitattributes", "README.md", "a.bin"]
    code = f"assert [f.path for f in api.list_repo_tree({REPO!r}, recursive=True, "
    code += f"repo_type='dataset')] == {names}"
    assert attempts(hub, "commit(DATA)", code) == ["done", "done"]


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("/preupload/", {"status": 429, "headers": {"Retry-After": "0"}}),
        ("objects/batch", {"status": 503}),
        ("^/upload/", {"status": 500}),
        ("^/upload/", {"cut": "early"}),
        ("^/upload/", {"cut": "after", "delay": 0.1}),
    ],
)
def test_faults_that_the_client_overcomes(hub, path, fault):
    hub.create(REPO)
    fault = hub.fail(path, **fault)
    assert attempts(hub, "commit(DATA)") == ["done"]
    assert fault.hits == 1
    assert hub.files(REPO)["a.bin"] == b"\0" * 1000


def test_faults_that_leave_nothing_behind(hub):
    repo = hub.create(REPO)
    absent = {"X-Error-Code": "EntryNotFound"}
    faults: list[tuple[str, dict, str]] = [
        ("/preupload/", {"status": 404, "headers": absent}, "RemoteEntryNotFoundError"),
        ("/preupload/", {"status": 401}, "HfHubHTTPError 401"),
        ("^/upload/", {"status": 507}, "RuntimeError None"),
        ("/verify", {"status": 403}, "RuntimeError None"),
        ("/commit/", {"status": 429}, "HfHubHTTPError 429"),
        ("/commit/", {"status": 503}, "HfHubHTTPError 503"),
        ("/commit/", {"status": 409}, "HfHubHTTPError 409"),
        ("/commit/", {"cut": "before"}, "RemoteProtocolError None"),
    ]
    codes = []
    for place, (path, fault, _) in enumerate(faults):  # as many pass as failed before
        hub.fail(path, skip=sum(path == old for old, *_ in faults[:place]), **fault)
        codes.append(f"commit(b'\\0 {place}')")
    outcomes = attempts(hub, *codes)
    assert all(
        outcome.startswith(error)
        for outcome, (*_, error) in zip(outcomes, faults, strict=True)
    ), outcomes
    assert [request.status for request in hub.asked("/commit/")] == [429, 503, 409, 0]
    assert hub.commits(REPO) == ["initial commit"]
    assert set(repo.refs()) == {"refs/heads/main"}


def test_a_lost_reply_may_have_committed(hub):
    hub.create(REPO)
    fault = hub.fail("/commit/", cut="after")
    assert attempts(hub, "commit(DATA)") == ["RemoteProtocolError None"]
    assert fault.hits == 1
    assert hub.commits(REPO) == ["One", "initial commit"]


def test_faults_choose_their_requests(hub):
    hub.create(REPO)
    fault = hub.fail("/commit/", method="POST", skip=1, times=2, status=503)
    outcomes = attempts(hub, *[f"commit(b'\\0 {place}')" for place in range(4)])
    assert [outcome.split()[-1] for outcome in outcomes] == [
        "done",
        "503",
        "503",
        "done",
    ]
    assert (fault.hits, fault.seen) == (2, 4)
