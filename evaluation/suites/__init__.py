"""Suites: named lists of models with the question they are asked, one TOML file each.

description = "…"
prompts = "paper"            default of --prompts
label_space = "imagenet"     default of --label-space
datasets = ["…"]             optional, default of -d
[[models]]
name = "open_clip:ViT-B-16/laion400m_e31"
paper = "…"                  optional: what a publication calls it
note = "…"                   optional
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from evaluation.errors import ConfigError, nearest

_FOLDER = Path(__file__).parent
_KEYS = {"description", "prompts", "label_space", "datasets", "models"}


@dataclass(frozen=True, slots=True)
class Suite:
    """Models and the question they are asked.

    Attributes:
        name: of the suite, or the file it was read from.
        description: one line.
        models: full names.
        datasets: as the command line names them.
        prompts: prompt set; None leaves it to the caller.
        label_space: label space; None leaves it to the caller.
    """

    name: str
    description: str
    models: tuple[str, ...]
    datasets: tuple[str, ...]
    prompts: str | None
    label_space: str | None


def names() -> list[str]:
    """Suites that ship with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def suite(name: str) -> Suite:
    """The suite of a name, or of a TOML file.

    Raises:
        ConfigError: no such suite, not TOML, or an unknown key.

    Example:
        >>> suite("demo").models[0]
        'demo:clip'
    """
    path = _FOLDER / f"{name}.toml" if name in names() else Path(name).expanduser()
    if not path.is_file():
        message = f"no suite and no file {name!r}; {nearest(name, names())}"
        raise ConfigError(message)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        message = f"suite {name}: not TOML: {error}"
        raise ConfigError(message) from error
    for key in content:
        if key not in _KEYS:
            message = f"suite {name}: unknown key {key!r}; {nearest(key, _KEYS)}"
            raise ConfigError(message)
    rows = content.get("models")
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and isinstance(row.get("name"), str) for row in rows
    ):
        message = f"suite {name}: needs [[models]] tables, each with a name"
        raise ConfigError(message)
    return Suite(
        name=name,
        description=str(content.get("description", "")),
        models=tuple(row["name"] for row in rows),
        datasets=tuple(content.get("datasets", ())),
        prompts=content.get("prompts"),
        label_space=content.get("label_space"),
    )
