"""The one benchmark command, run as a person runs it, at the size that only works."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import peers
from benchmarks._figures import Figure, read

ROOT = Path(__file__).parents[2]
OURS = ("imagehash", "open_clip", "clip-benchmark", "requests")
"""Peers that the development environment has."""


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


@pytest.mark.slow
def test_every_program_hands_on_figures_that_make_one_table():
    done = run("--size", "small", "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout)
    assert {"date", "machine", "memory_gb", "versions"} <= set(found["about"])
    figures = [Figure.from_json(one) for one in found["figures"]]
    names = [one.name for one in figures]
    assert len(names) == len({(one.name, one.size) for one in figures})
    assert {name.partition(".")[0] for name in names} == set(command.PROGRAMS)
    for one, told in zip(figures, found["figures"], strict=True):
        assert one.what
        assert one.unit
        assert min(one.ours) >= 0
        if one.theirs:
            assert one.peer
            low, high = told["spread"]
            assert 0 < low <= told["ratio"] <= high
    peers_met = " ".join(one.peer for one in figures)
    assert [name for name in OURS if name not in peers_met] == []
    # costs are shown growing
    for program in ("pairs", "route"):
        assert any(one.size for one in figures if one.name.startswith(program))
    # who needs an environment of his own is told, not passed over
    missing = {one["what"].rpartition(", ")[2] for one in found["missing"]}
    assert missing == set(peers.PEERS) - {"clip-benchmark"}
    facts = found["about"] | {"size": "small"}
    page = command.markdown(command.Found(figures, [("a, b", "c")]), facts)
    assert all(f"| {name} |" in page for name in names)
    assert "- a, b: c" in page


def test_the_programs_are_named_with_their_peers():
    done = run("--list")
    assert done.returncode == 0
    lines = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert list(lines) == list(command.PROGRAMS)
    assert lines["pairs"] == "faiss"
    assert run("--only", "nonsense").returncode == 2


def test_a_program_that_fails_is_told_and_ends_the_command_with_1(tmp_path):
    (tmp_path / "photos").mkdir()  # no photo in it
    done = run(
        "--size", "small", "--only", "preprocess", "--folder", str(tmp_path / "photos")
    )
    assert done.returncode == 1
    assert "- preprocess: ended with" in done.stdout


def test_what_a_program_prints_is_read_back_or_refused():
    figure = Figure(
        name="a.b", what="w", unit="s", ours=(1.0, 2.0), peer="p 1", theirs=(4.0, 2.0),
        less=True, size=7, note="n",
    )  # fmt: skip
    told = json.dumps(figure.as_json())
    assert json.loads(told)["ratio"] == 2.5
    assert json.loads(told)["spread"] == [1.0, 4.0]
    assert read([told, ""]) == [figure]
    for wrong in (
        '{"name": "a"}',
        told.replace('"unit"', '"units"'),
        told.replace("[1.0, 2.0]", "[]"),
        told.replace("[1.0, 2.0]", "[1.0]"),
    ):
        with pytest.raises(ValueError, match=r"figure|round|argument"):
            read([wrong])


def test_a_peer_that_cannot_be_installed_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    wrong = str(tmp_path / "no-such-package")
    monkeypatch.setattr(peers, "PEERS", {"nobody": (wrong,)})
    with pytest.raises(peers.Unavailable, match="no-such-package"):
        peers.make("nobody")
    assert peers.python("nobody") is None
