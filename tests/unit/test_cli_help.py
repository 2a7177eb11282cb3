"""What `--help` says to who has never seen the program."""

import re

import typer.main
from typer.testing import CliRunner

from curation.cli import app
from curation.pipeline import ORDER


def commands() -> list[str]:
    return list(typer.main.get_command(app).commands)


def test_every_command_is_said_in_one_line_that_is_not_cut_off():
    done = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80"})
    listed = done.stdout.partition("Commands:\n")[2].splitlines()
    found = dict(re.match(r"  (\S+) +(\S.*)", line).groups() for line in listed if line)
    assert list(found) == commands()
    assert [line for line in found.values() if line.endswith("...")] == []
    assert list(found)[:3] == ["init", "demo", "run"]  # as one meets them


def test_the_steps_a_run_can_end_with_are_named():
    done = CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "200"})
    said = re.search(r"Last step to run: (.*?)\.", " ".join(done.stdout.split()))[1]
    assert tuple(re.split(r", | or ", said)) == ORDER
