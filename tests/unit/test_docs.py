"""Documentation that cannot rot: what it names exists, and what exists it names."""

import ast
import importlib
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts import reference

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for path in [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        ROOT / "benchmarks/README.md",
    ]
    if "reference" not in path.parts
)
COMMANDS = dict(reference.commands())
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(path: Path, *languages: str) -> list[str]:
    """Fenced code blocks of a page in these languages."""
    text = path.read_text(encoding="utf-8")
    found = re.findall(r"^ *```(\w+)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return [body for language, body in found if language in languages]


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """Every command in a shell block: page and words."""
    for path in PAGES:
        for block in blocks(path, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line.removeprefix("$ "), comments=True)
                if words:
                    yield name(path), words


LINES = list(command_lines())


def test_pages_use_shell_blocks_the_tests_can_read() -> None:
    wrong = [name(path) for path in PAGES if blocks(path, "bash", "shell", "console")]
    assert wrong == [], "use ```sh"
    assert any(words[0] == "counterset" for _, words in LINES)


@pytest.mark.parametrize(
    ("page", "words"),
    [(page, words) for page, words in LINES if "counterset" in words[0]],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_documented_command_exists_with_its_options(
    page: str, words: list[str]
) -> None:
    words = ["counterset", *words[1:]]
    fits = [verb for verb in COMMANDS if words[: len(verb.split())] == verb.split()]
    if words[1:] in (["--help"], ["--version"]):
        return
    assert fits, f"{page}: no such command: {' '.join(words)}"
    known = {
        option
        for parameter in COMMANDS[fits[0]].params
        for option in [*parameter.opts, *parameter.secondary_opts]
    }
    given = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert given <= known | {"--help"}, page


@pytest.mark.parametrize(
    ("page", "words"), [(page, words) for page, words in LINES if words[0] == "make"]
)
def test_documented_make_target_exists(page: str, words: list[str]) -> None:
    given = {word for word in words[1:] if "=" not in word}
    assert given
    assert given <= TARGETS, page


@pytest.mark.parametrize("verb", COMMANDS)
def test_command_has_help_and_a_place_in_the_docs(verb: str) -> None:
    command = COMMANDS[verb]
    assert (command.help or "").strip(), f"{verb} has no help"
    bare = [p.name for p in command.params if not (p.help or "").strip()]
    assert bare == [], f"{verb}: no help for these"
    text = "\n".join(path.read_text(encoding="utf-8") for path in PAGES)
    assert re.search(rf"\b{verb}\b", text), (
        f"no page outside docs/reference says {verb}"
    )


@pytest.mark.parametrize("page", reference.pages())
def test_reference_page_is_current(page: str) -> None:
    written = (reference.PAGES / page).read_text(encoding="utf-8")
    assert written == reference.pages()[page], "run `make docs`"


def test_no_reference_page_is_left_over() -> None:
    assert {path.name for path in reference.PAGES.iterdir()} == set(reference.pages())


def test_every_error_class_is_in_the_reference() -> None:
    known = {error.__name__ for error in reference.error_classes()}
    for package in ("curation", "evaluation"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef) and any(
                    isinstance(base, ast.Name) and base.id in known
                    for base in node.bases
                ):
                    assert node.name in known, f"{file}: {node.name}"


def test_every_key_column_and_command_says_what_it_is() -> None:
    for page, text in reference.pages().items():
        rows = [line for line in text.splitlines() if line.startswith("| `")]
        bare = [row for row in rows if row.rstrip(" |").endswith("| ")]
        assert rows, page
        assert bare == [], page


def keys(content: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Section and key of everything in a TOML fragment."""
    for section, value in content.items():
        for entry in value if isinstance(value, list) else [value]:
            assert isinstance(entry, dict), f"{section} is no section"
            yield from ((section, key) for key in entry)


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_data_in_code_blocks_is_valid(path: Path) -> None:
    known: dict[str, set[str]] = {}
    for heading, section in reference.sections():
        known.setdefault(heading.strip("[]"), set()).update(section["properties"])
    for block in blocks(path, "toml"):
        for section, key in keys(tomllib.loads(block)):
            assert key in known.get(section, ()), f"{section}.{key}"
    for block in blocks(path, "json"):
        json.loads(block)
    for block in blocks(path, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module:
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names)


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", text):
        link = (target[0] or target[1]).partition("#")[0]
        if link and not re.match(r"[a-z]+:", link):
            assert (path.parent / link).exists(), link


def test_every_page_can_be_found_from_the_readme() -> None:
    seen: set[Path] = set()
    todo = [ROOT / "README.md"]
    while todo:
        page = todo.pop().resolve()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        links = re.findall(r"\]\(([^)\s:#]+)", page.read_text(encoding="utf-8"))
        todo += [page.parent / link for link in links]
    assert {path for path in PAGES if path.parts[-2] != ROOT.name} <= seen


def test_every_benchmark_is_listed() -> None:
    listed = re.findall(
        r"python -m benchmarks\.(\w+)", (ROOT / "benchmarks/README.md").read_text()
    )
    files = (ROOT / "benchmarks").glob("*.py")
    found = {path.stem for path in files if not path.stem.startswith("_")}
    assert found == set(listed)


def test_ci_runs_the_readmes_test_command() -> None:
    commands = [words for page, words in LINES if page == "README.md"]
    assert ["make", "test"] in commands
    ran = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    assert "make check" in ran
    assert "make test" in ran
