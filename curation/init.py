"""`counterset init`: a dataset.toml to start from, written from the settings.

What must be said is there as a small example that loads; every other key stands beside
its description as a comment, with its default.
"""

import json
import textwrap
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from curation.config import Dataset, Section, SourceSpec, sections
from curation.errors import InputError, WorkFolderError
from curation.sources import kinds, source

NAME = "dataset.toml"
_INTRODUCTION = """\
A dataset: its classes, its backgrounds, where its photos are, and every knob of the
route from photos to a release.

A line that starts with '# ' and a key is a setting at its default: take the '# ' away
to change it. Names of classes and backgrounds are yours to choose. Then:

    counterset run -c dataset.toml
"""
# the example: the keys that have no default, and some that show what they are for
_EXAMPLES: Mapping[str, Any] = {
    "dataset": {"name": "my-dataset"},
    "classes": [
        {"name": "ostrich", "imagenet_index": 9},
        {"name": "polar bear", "imagenet_index": 296},
    ],
    "backgrounds": [
        {"name": "grass", "prompts": ["a photo of a {} on grass", "a {} in a meadow"]},
        {"name": "water", "prompts": ["a photo of a {} in water", "a {} in the sea"]},
        {"name": "snow", "prompts": ["a photo of a {} in snow", "a {} on ice"]},
    ],
    "sources": [{"kind": "folder", "path": "photos"}],
}
_WIDTH = 88


def write(folder: Path) -> Path:
    """Write a commented dataset.toml into the folder, which is made if need be.

    Returns: the file's path.

    Raises:
        InputError: there is one already; it is left as it is.
        WorkFolderError: it cannot be written.
    """
    path = folder / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text())
    except FileExistsError as error:
        message = f"{path} is there already and stays as it is; name another folder"
        raise InputError(message) from error
    except OSError as error:
        message = f"{path}: cannot be written ({error.strerror})"
        raise WorkFolderError(message) from error
    return path


def text() -> str:
    """The file's content: every key of `curation.config.Dataset`, once explained."""
    blocks = [_comment(_INTRODUCTION)]
    for name, field in Dataset.model_fields.items():
        models = list(sections(field.annotation))
        if models == [SourceSpec]:
            models = [source(kind).Spec for kind in ("folder", *_others())]
        if get_origin(field.annotation) is list:
            for place, model in enumerate(models):
                blocks += _entries(name, model, example=place == 0)
        else:
            lines = _comment(_meaning(models[0]))
            lines += [f"[{name}]", *_keys(models[0], _EXAMPLES.get(name, {}))]
            blocks.append(lines)
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _entries(name: str, model: type[Section], *, example: bool) -> Iterator[list[str]]:
    """Tables of an array: the first explains its keys, the others are short."""
    first, *others = _EXAMPLES[name] if example else [{}]
    lines = [f"[[{name}]]", *_keys(model, first)]
    if not example:  # another kind of the same thing, left out until wanted
        lines = [line if line.startswith("#") else f"# {line}" for line in lines]
    yield [*_comment(_meaning(model)), *lines]
    for other in others:
        settings = [f"{key} = {_value(value)}" for key, value in other.items()]
        yield [f"[[{name}]]", *settings]


def _keys(model: type[Section], example: Mapping[str, Any]) -> Iterator[str]:
    """Each key's description, then the key: set, or as a comment with its default."""
    for name, field in model.model_fields.items():
        choices = get_args(field.annotation) if _is_literal(field) else ()
        allowed = f" ({' or '.join(map(str, choices))})" if len(choices) > 1 else ""
        unset = field.default is None and name not in example
        note = "; not set by default" if unset else ""
        yield from _comment(f"{field.description or name}{allowed}{note}", mark="##")
        if name in example:
            yield f"{name} = {_value(example[name])}"
        else:
            yield f"# {name} = {_value(_default(field))}"


def _default(field: FieldInfo) -> object:
    """The default; where there is none, something of the right kind."""
    if not field.is_required() and field.default is not None:
        return field.default
    kinds = {int: 0, float: 1.0, str: "text", Path: "path", bool: False, list: []}
    if _is_literal(field):
        return get_args(field.annotation)[0]
    return next(value for kind, value in kinds.items() if kind in _kinds(field))


def _is_literal(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is Literal


def _kinds(field: FieldInfo) -> set[Any]:
    """Types an annotation is made of."""
    kinds, open_ = set(), [field.annotation]
    while open_:
        kind = open_.pop()
        origin = get_origin(kind)
        if origin in (Annotated, Union, types.UnionType):
            open_ += get_args(kind)
        else:
            kinds.add(origin or kind)
    return kinds


def _others() -> list[str]:
    """Kinds of sources that the example does not use."""
    return [kind for kind in kinds() if kind != "folder"]


def _meaning(model: type[Section]) -> str:
    return (model.__doc__ or "").splitlines()[0]


def _value(value: object) -> str:
    """A value as TOML; JSON's strings, lists and truths are TOML's too."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:_}"
    if isinstance(value, Path):
        value = value.as_posix()
    return json.dumps(value, ensure_ascii=False)


def _comment(content: str, *, mark: str = "#") -> list[str]:
    """Lines of comment; words that stand apart keep their lines."""
    lines = []
    for line in content.splitlines():
        if len(line) < _WIDTH - 2:
            lines.append(f"{mark} {line}".rstrip())
        else:
            lines += textwrap.wrap(
                line, _WIDTH, initial_indent=f"{mark} ", subsequent_indent=f"{mark} "
            )
    return lines
