"""What a new user gets: a fresh clone's `make demo`, and the built wheel.

Both hold only what is committed; `tests/clone.py` makes the clone.
"""

import json
import sys
import zipfile
from pathlib import Path

import pytest

from tests.clone import OFFLINE, PIP, Made, run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("demo"),  # where CI runs, others read this demo
]


def test_make_demo_in_a_fresh_clone(clone: Path, made_demo: Made) -> None:
    quick_start = (clone / "README.md").read_text(encoding="utf-8").split("```sh")[1]
    assert "make demo" in quick_start.split("```")[0].splitlines()

    script = clone / ".venv/bin/counterset"
    again = json.loads(run(script, "demo", "--work", "work/demo", "--json", cwd=clone))
    assert all(stage["computed"] == 0 for stage in again["stages"])
    report = made_demo.work / again["report"]
    assert report.is_file()
    assert report.name in made_demo.said, "make demo says where the report is"
    ask = "import curation; print(curation.__file__)"
    used = Path(run(clone / ".venv/bin/python", "-c", ask, cwd=clone.parent).strip())
    assert used.is_relative_to(clone)
    assert run("git", "status", "--porcelain", cwd=clone) == ""


@pytest.fixture(scope="module")
def wheel(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(*PIP, "wheel", *OFFLINE, "--wheel-dir", folder, clone, cwd=folder)
    return next(folder.glob("counterset-*.whl"))


def test_wheel_holds_every_committed_file_of_the_packages(
    wheel: Path, clone: Path
) -> None:
    listed = run("git", "ls-files", "-z", "curation", "evaluation", cwd=clone)
    committed = set(listed.rstrip("\0").split("\0"))
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert committed <= packed
    metadata = {name for name in packed - committed if ".dist-info/" in name}
    # the demo's configuration and card lie outside the packages in a checkout
    demo = {f"curation/data_cards/demo/{name}" for name in ("dataset.toml", "card.md")}
    assert packed == committed | metadata | demo
    assert any(name.endswith("licenses/LICENSE") for name in metadata)


def test_installed_wheel_answers(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    run(*PIP, "install", *OFFLINE, "--target", site, wheel, cwd=tmp_path)
    script, path = site / "bin/counterset", str(site)
    ask = "import curation; print(curation.__file__)"
    used = run(sys.executable, "-P", "-c", ask, cwd=tmp_path, PYTHONPATH=path)
    assert Path(used.strip()).is_relative_to(site)
    assert "demo" in run(script, "--help", cwd=tmp_path, PYTHONPATH=path)
    run(script, "init", "mine", cwd=tmp_path, PYTHONPATH=path)
    assert (tmp_path / "mine/dataset.toml").is_file()
