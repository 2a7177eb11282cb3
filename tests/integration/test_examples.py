"""The examples run as they stand, on a folder and on a dataset of the Hub."""

import ast
import io
import json
import os
import subprocess
import sys
import tokenize
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from curation.cli import app
from tests.publishing import Mine, released

FOLDER = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))
LINES = 15


@pytest.fixture
def release(shared_tmp, tiny_clip):
    """A release of a small world: only to be read."""
    return released(shared_tmp, tiny_clip).work / "release"


def run(name, *arguments, cwd, environment=None):
    """What an example prints, run by a Python of its own."""
    home = {"HF_HOME": str(cwd / "hf"), "HF_DATASETS_CACHE": str(cwd / "hf/datasets")}
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{name}.py"), *arguments],
        cwd=cwd, env=environment or os.environ | home, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def evaluated(shared_tmp, tiny_clip, tmp_path_factory):
    """What `evaluate` prints of the folder, and its result."""
    place = tmp_path_factory.mktemp("evaluated")
    release = released(shared_tmp, tiny_clip).work / "release"
    told = run("evaluate", str(release), cwd=place)
    return told, the_result(place / "results")


@pytest.fixture(scope="module")
def classified(shared_tmp, tiny_clip, tmp_path_factory):
    """What `zero_shot` prints of the folder."""
    place = tmp_path_factory.mktemp("classified")
    release = released(shared_tmp, tiny_clip).work / "release"
    return run("zero_shot", str(release), tiny_clip.partition(":")[2], cwd=place)


def counterset(*words):
    """A command, whose own start is not what is tested here."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, (done.stderr, done.exception)


def the_result(folder):
    (found,) = json.loads((folder / "results.json").read_text())["results"]
    return found


def photos(release, group):
    shards = sorted((release / "data").glob(f"{group}-*.parquet"))
    table = pq.read_table(shards, columns=["label", "background", "licence"])
    return pl.from_arrow(table)


def expected(name, release, group):
    """A line that must be printed of a group."""
    rows = photos(release, group)
    if name == "stream":
        return f"{rows.height:6} CC0-1.0"
    pair = pq.read_table(next((release / "pairs").glob("*.parquet"))).to_pylist()[0]
    mine = rows.filter(pl.col("label") == pair["label"])
    (background,) = set(mine["background"])
    return f"{group} on {background}, {mine.height} photos"


def test_every_example_is_tested():
    assert NAMES == ["evaluate", "load", "stream", "zero_shot"]


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_short(name):
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    code = set()
    beside = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in (*beside, tokenize.DEDENT, tokenize.ENDMARKER):
            code |= set(range(token.start[0], token.end[0] + 1))
    said = ast.parse(text).body[0]
    code -= set(range(said.lineno, said.end_lineno + 1))
    assert len(code) <= LINES
    assert f"python examples/{name}.py RELEASE" in ast.get_docstring(ast.parse(text))


@pytest.mark.slow
def test_load_shows_both_groups(release, tmp_path):
    lines = run("load", str(release), cwd=tmp_path).splitlines()
    for group in ("common", "counter"):
        assert expected("load", release, group) in lines[0]
    assert lines[-1].startswith("(")
    assert lines[-1].endswith(" CC0-1.0")


@pytest.mark.slow
def test_stream_counts_licences_and_ends_well(release, tmp_path):
    told = run("stream", str(release), cwd=tmp_path)
    assert told.splitlines() == [expected("stream", release, "common")]


@pytest.mark.slow
def test_evaluate_says_what_the_command_says(release, evaluated, tmp_path):
    told, result = evaluated
    assert result["n_common"] == photos(release, "common").height
    common, counter = f"{result['common']:.1f}", f"{result['counter']:.1f}"
    assert told.startswith(f"demo:lite0: common {common}, counter {counter}\n")
    assert f"drop {result['drop']:.1f} points" in told
    counterset("evaluate", "-m", "demo:lite0", "-d", release, "--out", tmp_path)
    again = the_result(tmp_path)
    for key in ("common", "counter", "drop", "n_common", "n_counter"):
        assert again[key] == result[key]


@pytest.mark.slow
def test_zero_shot_agrees_with_evaluate(release, classified, tiny_clip, tmp_path):
    names = tmp_path / "prompts.json"
    names.write_text('{"296": ["A photo of bear."], "235": ["A photo of dog."]}')
    words = ["-m", tiny_clip, "-d", release, "--out", tmp_path / "out"]
    counterset("evaluate", *words, "--label-space", "dataset", "--prompts", names)
    result = the_result(tmp_path / "out")
    assert classified.splitlines() == [
        f"{group}: {result[f'micro_{group}']:.1f} % of {result[f'n_{group}']} photos"
        for group in ("common", "counter")
    ]


@pytest.mark.slow
def test_on_the_hub_they_say_the_same(
    release, evaluated, classified, shared_tmp, tiny_clip, hub, tmp_path
):
    mine = Mine.copy(released(shared_tmp, tiny_clip), tmp_path)
    done = mine.publish(hub, "org/small", "--yes")
    assert done.returncode == 0, done.stderr
    nobody = hub.environment(None, home="reader")

    def there(name, *arguments):
        return run(name, *arguments, cwd=tmp_path, environment=nobody)

    told = there("load", "org/small")
    for group in ("common", "counter"):
        assert expected("load", release, group) in told.splitlines()[0]
    assert there("stream", "org/small").rstrip() == expected(
        "stream", release, "common"
    )
    short = tiny_clip.partition(":")[2]
    assert there("zero_shot", "org/small", short) == classified
    there("evaluate", "hub:org/small@v1.0.0")
    found, here = the_result(tmp_path / "results"), dict(evaluated[1])
    assert found["selected_on"]  # told by its provenance, there as here
    for key in ("dataset", "provenance"):
        assert found.pop(key) != here.pop(key)
    assert found == here
