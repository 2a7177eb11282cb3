"""Which part may import which, and what `--help` may not import."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = (
    "torch",
    "open_clip",
    "timm",
    "torchvision",
    "datasets",
    "sklearn",
    "matplotlib",
)


def imported(file: Path) -> Iterator[str]:
    """Modules a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            yield node.module or ""


def sources(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found
    return found


def test_evaluation_never_imports_curation() -> None:
    wrong = [
        str(file.relative_to(ROOT))
        for file in sources("evaluation")
        if any(name.split(".")[0] == "curation" for name in imported(file))
    ]
    assert wrong == []


@pytest.mark.parametrize("package", ["curation", "evaluation"])
def test_packages_do_not_import_tests_or_tools(package: str) -> None:
    known = {"tests", "scripts", "benchmarks", "pytest", "hypothesis"}
    wrong = [
        (str(file.relative_to(ROOT)), name)
        for file in sources(package)
        for name in imported(file)
        if name.split(".")[0] in known
    ]
    assert wrong == []


def test_only_the_command_line_imports_it() -> None:
    wrong = [
        str(file.relative_to(ROOT))
        for file in sources("curation") + sources("evaluation")
        if file.name != "cli.py"
        and file.name != "__main__.py"
        and {"curation.cli", "evaluation.cli"} & set(imported(file))
    ]
    assert wrong == []


def test_help_imports_no_model_library() -> None:
    code = (
        "import sys; from curation.cli import app; "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
