"""`theory theorem | mnist | objects` as a user runs them."""

import csv
import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from evaluation.errors import CounterSetError
from evaluation.theory import cli

APP = typer.Typer()
cli.register(APP)

QUICK_OBJECTS = [
    "objects", "--photos", "9", "--steps", "2", "--lr", "0.001",
    "--weight-decay", "0.1", "--warmup", "0", "--device", "cpu",
]  # fmt: skip


def run(*words: str) -> Result:
    return CliRunner().invoke(APP, ["theory", *words])


def answer(*words: str) -> dict[str, Any]:
    found = run(*words, "--json")
    assert found.exit_code == 0, found.output
    told: dict[str, Any] = json.loads(found.stdout)
    return told


def failed(*words: str) -> CounterSetError:
    error = run(*words).exception
    assert isinstance(error, CounterSetError)
    return error


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


class Links(HTMLParser):
    """Everything a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.found += [
            value or ""
            for key, value in attrs
            if key in ("src", "href", "xlink:href")
            and not (value or "").startswith("#")
        ]


def self_contained(page: Path) -> None:
    parser = Links()
    parser.feed(page.read_text(encoding="utf-8"))
    assert {"svg", "table", "h1"} <= parser.tags
    assert parser.found == []


def test_theorem_prints_all_three_side_by_side() -> None:
    found = run("theorem", "--runs", "2", "-n", "1000", "--quiet")
    assert found.exit_code == 0, found.output
    text = found.stdout.splitlines()
    assert len(text) == 4
    assert "mu_spu 2, p 0.95, prompt (y, 0)" in text[2]
    assert "printed 62.8, exact 76.7, simulated 7" in text[2]
    assert "printed 97.5, exact 99.5, simulated 99" in text[2]
    assert "exact 97.4" in text[3]


def test_theorem_as_json_and_files(tmp_path: Path) -> None:
    words = ["theorem", "--mu-spu", "2", "-p", "0.9", "--runs", "2", "-n", "500"]
    told = answer(*words, "--out", str(tmp_path))
    assert [row["prompt"] for row in told["rows"]] == ["invariant", "mean"]
    row = told["rows"][0]
    assert row["p"] == 0.9
    assert row["error_disagree_low"] <= row["error_disagree_simulated"]
    assert row["error_disagree_simulated"] <= row["error_disagree_high"]
    assert told["files"] == ["theorem.csv", "theorem.svg", "theorem.html"]
    assert {path.name for path in tmp_path.iterdir()} == set(told["files"])
    written = lines(tmp_path / "theorem.csv")
    assert len(written) == 22  # eleven p, two prompts
    assert {row["p"] for row in written} >= {"0.5", "0.9", "1"}
    self_contained(tmp_path / "theorem.html")
    # again: the same bytes
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    answer(*words, "--out", str(tmp_path))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_formulas_alone(tmp_path: Path) -> None:
    told = answer("theorem", "--runs", "0", "--mu-inv", "2", "--out", str(tmp_path))
    assert {row["error_disagree_simulated"] for row in told["rows"]} == {None}
    assert {row["error_disagree_printed"] for row in told["rows"]} == {None}
    self_contained(tmp_path / "theorem.html")


def test_mnist_says_what_its_digits_are(tmp_path: Path) -> None:
    words = ["mnist", "-k", "2", "--p-inv", "0.75", "--p-spu", "0.9", "--seeds", "2"]
    told = answer(*words, "--epochs", "1", "--out", str(tmp_path))
    assert [row["method"] for row in told["rows"]] == ["contrastive", "supervised"]
    for row in told["rows"]:
        assert "not MNIST" in row["digits"]
        assert row["n_distinct"] < 300 < row["n_train"]
        assert row["paper_rest_mean"] is None is row["rest_mean"]
    assert told["rows"][0]["paper_rand01_mean"] == 53.73
    assert told["rows"][1]["paper_rev01_std"] == 1.88
    written = lines(tmp_path / "mnist.csv")
    assert all("not MNIST" in row["digits"] for row in written)
    assert "not MNIST" in (tmp_path / "mnist.html").read_text(encoding="utf-8")
    self_contained(tmp_path / "mnist.html")
    printed = run(*words, "--epochs", "1", "--quiet").stdout
    assert printed.startswith("Digits: scikit-learn digits (8x8 pixels, not MNIST).")
    assert "(paper's MNIST 53.7)" in printed


def test_objects_say_what_they_are(tmp_path: Path) -> None:
    told = answer(*QUICK_OBJECTS, "--out", str(tmp_path))
    approaches = ["zero shot", "obj", "objbkg", "supervised"]
    assert [row["approach"] for row in told["rows"]] == approaches
    assert "drawn silhouettes" in told["about"]
    assert "not the paper's COCO" in told["about"]
    assert len(told["paper"]) == 8
    assert told["paper"][1]["drop"] == 94.89
    for row in told["rows"]:
        assert row["drop_low"] <= row["drop"] <= row["drop_high"]
    page = (tmp_path / "objects.html").read_text(encoding="utf-8")
    assert "drawn silhouettes" in page
    self_contained(tmp_path / "objects.html")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["theorem", "-p", "1.5"], 2, "p is a chance, between 0 and 1, not 1.5"),
        (["theorem", "--s-inv", "0"], 2, "s_inv is a number greater than 0"),
        (["mnist", "-k", "4"], 2, "one of 2, 3, 5, 6, 8, 10, not 4"),
        (["mnist", "--p-inv", "0.5"], 2, "given together"),
        (["mnist", "--p-inv", "2", "--p-spu", "0.5"], 2, "p_inv is between 0 and 1"),
        (["mnist", "--seeds", "1"], 2, "need 2 or more"),
        (["mnist", "--digits", "nowhere"], 2, "no MNIST in nowhere"),
        (["mnist", "--device", "abacus"], 2, "unknown device 'abacus'"),
        (["objects", "--cutouts", "nowhere"], 2, "there is no folder nowhere"),
        (["objects", "--class", "hen"], 2, "give --cutouts"),
        (["objects", "-m", "demo:lite0"], 2, "cannot be fine-tuned"),
        (["objects", "--tune", "some"], 2, "tune is one of head, all"),
    ],
)
def test_bad_input(words: list[str], code: int, message: str) -> None:
    error = failed(*words, "--quiet")
    assert error.exit_code == code
    assert message in str(error)


def test_no_mnist_and_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import MNIST

    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])  # nobody listens
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    error = failed("mnist", "--digits", "mnist", "--quiet")
    assert error.exit_code == 4
    assert "MNIST/raw/" in str(error)
    assert "sklearn" in str(error)


def test_help_needs_no_torch() -> None:
    code = (
        "import sys, typer\n"
        "from typer.testing import CliRunner\n"
        "from evaluation.theory import cli\n"
        "app = typer.Typer()\n"
        "cli.register(app)\n"
        "for words in ([], ['theorem'], ['mnist'], ['objects']):\n"
        "    found = CliRunner().invoke(app, ['theory', *words, '--help'])\n"
        "    assert found.exit_code == 0, found.output\n"
        "heavy = {'torch', 'matplotlib', 'scipy', 'numpy', 'sklearn'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_progress_goes_to_stderr() -> None:
    found = run("theorem", "--runs", "1", "-n", "100", "--json")
    json.loads(found.stdout)
    assert "worlds" in found.stderr
    assert "worlds" not in run("theorem", "--runs", "0", "--quiet").stderr
