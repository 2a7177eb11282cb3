"""What publishing decides by itself: what differs, what is told, when to ask again."""

import errno
import hashlib
import json

import httpx2
import pytest
from huggingface_hub.errors import HfHubHTTPError

from curation import hub_answers
from curation.errors import ConfigError, HubError, InputError
from curation.hub import ATTEMPTS, LONGEST_WAIT, Blob, Head, Hub
from curation.publish import confirm, shown
from curation.publish.compare import rows
from curation.publish.files import configurations, listed, release_files
from curation.publish.plan import Plan

TOKEN = "hf_" + "secret" * 5


def answered(status: int, url: str = "https://hub.example/api", **headers: str):
    request = httpx2.Request("POST", url)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    response = httpx2.Response(status, request=request, headers=names)
    return HfHubHTTPError(f"told {TOKEN}", response=response, server_message="no")


def door():
    waited: list[float] = []
    return Hub("https://hub.example", TOKEN, sleep=waited.append), waited


def plan(**changes):
    usual = {
        "repo": "org/name", "endpoint": "https://hub.example", "version": "1.0.0",
        "files": {}, "head": None, "tags": {}, "add": (), "change": (), "delete": (),
        "keep": (), "latest": None, "difference": None, "private": None, "gated": None,
        "pull_request": False, "tagged": False, "notices": (), "refused": (),
    }  # fmt: skip
    return Plan(**usual | changes)


def written(folder, **files: str):
    """A folder of files with their checksums."""
    lines = []
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        lines.append(f"{digest}  {path.relative_to(folder).as_posix()}\n")
    (folder / "checksums.sha256").write_text("".join(lines))
    return release_files(folder)


def test_files_are_known_by_their_git_id_or_sha256(tmp_path):
    files = written(tmp_path, a_txt="hello\n", data__b_txt="other")
    assert set(files) == {"a.txt", "data/b.txt", "checksums.sha256"}
    # what `git hash-object` says of "hello\n"
    git = "ce013625030ba8dba906f756967f9e9ca394464a"
    assert files["a.txt"].git == git
    assert files["a.txt"].same(Blob(6, git, None))
    assert not files["a.txt"].same(Blob(6, "0" * 40, None))
    large = Blob(6, "0" * 40, hashlib.sha256(b"hello\n").hexdigest())
    assert files["a.txt"].same(large)
    assert not files["data/b.txt"].same(large)
    assert not files["a.txt"].same(None)


def test_a_folder_without_checksums_is_no_release(tmp_path):
    with pytest.raises(InputError, match="counterset run"):
        release_files(tmp_path)


def test_lines_that_are_no_checksums_are_passed_over():
    good = f"{'a' * 64}  data/x y.parquet\n"
    assert listed(f"{good}not a line\n{'b' * 63}  short\n".encode()) == {
        "data/x y.parquet": "a" * 64
    }


def test_a_tree_holds_a_plan_when_files_are_there_and_deleted_ones_are_not(tmp_path):
    files = written(tmp_path, a_txt="hello\n")
    tree = {name: Blob(file.size, file.git, None) for name, file in files.items()}
    wanted = plan(files=files, delete=("old.txt",))
    assert wanted.holds(tree)
    assert wanted.holds(tree | {"notes.md": Blob(1, "0" * 40, None)})
    assert not wanted.holds(tree | {"old.txt": Blob(1, "0" * 40, None)})
    del tree["a.txt"]
    assert not wanted.holds(tree)


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"tagged": True, "refused": ("a reason",)}, "already published"),
        ({"refused": ("a reason",)}, "refused"),
        ({"head": Head("0" * 40, False, False)}, "to be tagged"),
        ({"pull_request": True}, "already there"),
    ],
)
def test_the_state_of_a_plan_is_told(changes, state):
    told = shown.told(plan(**changes))
    assert told["state"] == state
    assert state in shown.text(plan(**changes))
    assert json.loads(json.dumps(told)) == told


def test_nobody_agrees_to_a_plan_with_reasons_against_it():
    with pytest.raises(InputError, match="- one\n- two"):
        confirm(plan(refused=("one", "two")), yes=True)
    confirm(plan(), yes=True)
    confirm(plan(tagged=True), yes=False)
    with pytest.raises(ConfigError, match="--yes"):
        confirm(plan(), yes=False)


def test_what_passes_is_asked_again_with_growing_patience():
    hub, waited = door()
    answers = [answered(503), httpx2.ConnectError("gone"), answered(500), "there"]

    def call():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert hub._ask("asking", call) == "there"
    assert waited == [0.5, 1.0, 2.0]


def test_the_hub_says_how_long_to_wait():
    hub, waited = door()
    answers = [
        answered(429, Retry_After="7"),
        answered(429, ratelimit='"api";r=0;t=55', ratelimit_policy='"api";q=5;w=300'),
        None,
    ]

    def call():
        if answer := answers.pop(0):
            raise answer

    hub._ask("asking", call)
    assert waited == [7.0, 55.0]
    with pytest.raises(HubError, match="patience"):
        hub._ask("asking", lambda: _raise(answered(429, Retry_After="900")))
    assert LONGEST_WAIT < 900
    assert waited == [7.0, 55.0]


def _raise(error: Exception):
    raise error


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412, 413, 507])
def test_what_is_final_is_asked_once_and_told_with_what_to_do(status):
    hub, waited = door()
    url = f"https://hub.example/api/x?sig={TOKEN}"
    with pytest.raises(HubError) as caught:
        hub._ask("asking", lambda: _raise(answered(status, url)))
    assert waited == []
    assert caught.value.status == status
    assert caught.value.url == "https://hub.example/api/x"
    assert hub_answers.remedy(hub_answers.Refused("", status=status)) in str(
        caught.value
    )
    assert TOKEN not in str(caught.value)


def test_trouble_that_stays_is_told_with_how_often():
    hub, waited = door()
    with pytest.raises(HubError, match=f"{ATTEMPTS} times: no answer"):
        hub._ask("asking", lambda: _raise(httpx2.ReadTimeout("slow")))
    assert len(waited) == ATTEMPTS - 1


@pytest.mark.parametrize("error", [answered(503), answered(412), answered(409)])
def test_before_a_deed_is_tried_again_it_is_looked_for(error):
    hub, waited = door()
    assert hub._ask("committing", lambda: _raise(error), look=lambda: "done") == "done"
    assert waited == []


def test_a_failure_of_the_uploader_is_told_by_its_cause():
    error = RuntimeError("Error while uploading 'data/x' to the Hub.")
    error.__cause__ = answered(507)
    refused = hub_answers.read(error, TOKEN)
    assert refused is not None
    assert refused.status == 507
    full = RuntimeError("Error while uploading")
    full.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    refused = hub_answers.read(full, TOKEN)
    assert refused is not None
    assert "disk of this machine is full" in refused.text
    assert "Free some room" in hub_answers.remedy(refused)


def test_our_own_faults_are_not_taken_for_the_hubs():
    assert hub_answers.read(KeyError("a bug"), TOKEN) is None


def test_tokens_and_signatures_are_never_told():
    text = f"PUT https://s3.example/x?X-Signature=abc {TOKEN} hf_abcdefghij"
    said = hub_answers.clean(text, TOKEN)
    assert said == "PUT https://s3.example/x *** ***"


def test_configurations_are_those_of_the_card(tmp_path):
    front = {
        "configs": [
            {
                "config_name": "all",
                "data_files": [
                    {"split": "photos", "path": ["data/a-*", "data/b-*"]},
                ],
            },
            {"config_name": "pairs", "data_files": [{"split": "test", "path": "p/*"}]},
        ]
    }
    # JSON is YAML
    (tmp_path / "README.md").write_text(f"---\n{json.dumps(front)}\n---\n\n# Card\n")
    assert configurations(tmp_path) == [
        ("all", "photos", ["data/a-*", "data/b-*"]),
        ("pairs", "test", ["p/*"]),
    ]
    (tmp_path / "README.md").write_text("# No metadata\n")
    assert configurations(tmp_path) == []
    assert list(rows(tmp_path)) == []
