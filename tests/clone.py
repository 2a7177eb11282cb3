"""A fresh clone of what is committed, and the demo that `make demo` makes there.

The clone's `.venv` lends the libraries from the environment that runs the tests and
installs the clone itself; downloading them anew is what `.ci/run` does, in a fresh
clone too.
"""

import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
OFFLINE = ("--no-deps", "--no-build-isolation", "--no-index")


def run(*words: str | Path, cwd: Path, **variables: str) -> str:
    """Standard output of a command that must succeed."""
    left_out = ("VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHONPATH")
    environment = {k: v for k, v in os.environ.items() if k not in left_out}
    done = subprocess.run(
        words,
        cwd=cwd,
        env=environment | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{words}: {done.stderr[-5000:]}"
    return done.stdout


@dataclass(frozen=True, slots=True)
class Made:
    """What `make demo` left.

    Attributes:
        work: its work folder.
        said: what it printed.
    """

    work: Path
    said: str


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone whose set-up is done."""
    path = tmp_path_factory.mktemp("clone") / "counterset"
    run("git", "clone", "--quiet", ROOT, path, cwd=ROOT)
    run(sys.executable, "-m", "venv", "--without-pip", ".venv", cwd=path)
    python = path / ".venv/bin/python"
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(run(python, "-c", ask, cwd=path).strip())
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = ("install", "--ignore-installed", *OFFLINE, "--editable", path)
    run(*PIP, "--python", python, *install, cwd=path)
    (path / ".venv/.ready").touch()
    return path


@pytest.fixture(scope="session")
def made_demo(clone: Path) -> Made:
    """The clone's `make demo`, run once."""
    return Made(clone / "work/demo", run("make", "demo", cwd=clone))
