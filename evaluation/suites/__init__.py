"""Suites: named lists of models with the question they are asked, one TOML file each.

description = "…"
prompts = "paper"            default of --prompts
label_space = "imagenet"     default of --label-space
datasets = ["…"]             optional, default of -d
[[models]]
name = "open_clip:ViT-B-16/laion400m_e31"
group = "zero_shot"          optional: zero_shot, fine_tuned, imagenet or lvlm
paper = "…"                  optional: what a publication calls it
table = "3"                  optional: where the publication has its numbers
inferred = true              optional: a reader's guess, not the publication's
note = "…"                   optional
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from evaluation.errors import ConfigError, nearest

_FOLDER = Path(__file__).parent
_KEYS = {"description", "prompts", "label_space", "datasets", "models"}

Group = Literal["zero_shot", "fine_tuned", "imagenet", "lvlm"]
"""What a publication's models are compared as: image-text models as they are, those
fine-tuned on ImageNet, models of ImageNet alone, vision-language models."""

GROUPS: tuple[Group, ...] = get_args(Group)


@dataclass(frozen=True, slots=True)
class Entry:
    """A model of a suite.

    Attributes:
        name: full name.
        group: what it is compared as; None where the suite has no groups.
        paper: what the publication calls it.
        table: number of the publication's table with its results.
        inferred: the publication does not name it; it is in the suite by the reasons
            that the suite's description and `note` give.
        note: what a reader must know.
    """

    name: str
    group: Group | None = None
    paper: str = ""
    table: str = ""
    inferred: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Suite:
    """Models and the question they are asked.

    Attributes:
        name: of the suite, or the file it was read from.
        description: one line.
        entries: its models, in the file's order.
        datasets: as the command line names them.
        prompts: prompt set; None leaves it to the caller.
        label_space: label space; None leaves it to the caller.
    """

    name: str
    description: str
    entries: tuple[Entry, ...]
    datasets: tuple[str, ...]
    prompts: str | None
    label_space: str | None

    @property
    def models(self) -> tuple[str, ...]:
        """Full names, in the file's order."""
        return tuple(entry.name for entry in self.entries)

    def of(self, *groups: Group) -> tuple[str, ...]:
        """Full names of the models of some groups, in the file's order.

        Example:
            >>> suite("demo").of("imagenet")[0]
            'demo:lite0'
        """
        return tuple(entry.name for entry in self.entries if entry.group in groups)


def names() -> list[str]:
    """Suites that ship with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def suite(name: str) -> Suite:
    """The suite of a name, or of a TOML file.

    Raises:
        ConfigError: no such suite, not TOML, an unknown key or group, a model that is
            there twice, or a value of the wrong type.

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
    return Suite(
        name=name,
        description=str(content.get("description", "")),
        entries=_entries(content.get("models"), name),
        datasets=tuple(content.get("datasets", ())),
        prompts=content.get("prompts"),
        label_space=content.get("label_space"),
    )


def _entries(rows: object, suite_name: str) -> tuple[Entry, ...]:
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and isinstance(row.get("name"), str) for row in rows
    ):
        message = f"suite {suite_name}: needs [[models]] tables, each with a name"
        raise ConfigError(message)
    found = tuple(_entry(row, suite_name) for row in rows)
    seen: set[str] = set()
    for entry in found:
        if entry.name in seen:
            message = f"suite {suite_name}: model {entry.name!r} is there twice"
            raise ConfigError(message)
        seen.add(entry.name)
    return found


def _entry(row: Mapping[str, Any], suite_name: str) -> Entry:
    where = f"suite {suite_name}, model {row['name']!r}"
    kinds = {name: str for name in ("name", "group", "paper", "table", "note")}
    allowed: dict[str, type] = kinds | {"inferred": bool}
    for key, value in row.items():
        if key not in allowed:
            message = f"{where}: unknown key {key!r}; {nearest(key, allowed)}"
            raise ConfigError(message)
        if not isinstance(value, allowed[key]):
            message = f"{where}: {key} is {value!r}, not a {allowed[key].__name__}"
            raise ConfigError(message)
    if row.get("group") not in (None, *GROUPS):
        message = f"{where}: unknown group; {nearest(row['group'], GROUPS)}"
        raise ConfigError(message)
    return Entry(**row)
