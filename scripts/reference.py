"""Write docs/reference/: configuration, tables, commands and errors, from the code.

    make docs

A test compares the pages with the code, so they are never out of date.
"""

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

# errors must be defined to be found
from curation.cli import app
from curation.config import Dataset
from curation.schemas import SCHEMAS
from curation.sources import kinds, source
from evaluation.errors import CounterSetError

PAGES = Path(__file__).parents[1] / "docs" / "reference"
WRITTEN = "<!-- Written from the code by `make docs`; do not edit. -->\n"
BOUNDS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {}",
    "pattern": "like `{}`",
}


def _row(*cells: str) -> str:
    """A line of a Markdown table."""
    return (
        "| " + " | ".join(" ".join(c.replace("|", "\\|").split()) for c in cells) + " |"
    )


def _table(*titles: str) -> list[str]:
    return [_row(*titles), _row(*("---" for _ in titles))]


def _kind(spec: dict[str, Any]) -> str:
    """Type and bounds of a key, from its JSON schema, in words."""
    if "anyOf" in spec:
        return ", or ".join(
            _kind(one) for one in spec["anyOf"] if one.get("type") != "null"
        )
    if "enum" in spec:
        return "one of " + ", ".join(f"`{choice}`" for choice in spec["enum"])
    if "const" in spec:
        return f"`{spec['const']}`"
    kind = "path" if spec.get("format") == "path" else spec.get("type", "any")
    if kind == "array":
        kind = f"list ({_kind(spec['items'])})"
    bounds = [
        "not empty"
        if key in ("minLength", "minItems") and spec[key] == 1
        else text.format(spec[key])
        for key, text in BOUNDS.items()
        if key in spec
    ]
    return ", ".join([kind, *bounds])


def _default(spec: dict[str, Any], *, required: bool) -> str:
    if required:
        return "required"
    value = spec.get("default")
    if value is None:
        return "absent"
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def sections() -> Iterator[tuple[str, dict[str, Any]]]:
    """Heading and JSON schema of every section of dataset.toml.

    A list of sections is headed `[[name]]`, as TOML writes it.
    """
    whole = Dataset.model_json_schema()
    for name, spec in whole["properties"].items():
        if name == "sources":
            for kind in kinds():
                yield "[[sources]]", source(kind).Spec.model_json_schema()
            continue
        many = spec.get("items", {})
        choices = many.get("oneOf", [many]) if many else [spec]
        for choice in choices:
            reference = choice.get("$ref") or choice["allOf"][0]["$ref"]
            section = whole["$defs"][reference.rpartition("/")[2]]
            yield (f"[[{name}]]" if many else f"[{name}]"), section
            for key, inner in section["properties"].items():
                if reference := inner.get("items", {}).get("$ref"):
                    inner_name = reference.rpartition("/")[2]
                    yield f"[[{name}.{key}]]", whole["$defs"][inner_name]


def configuration() -> str:
    """Page of every key of dataset.toml."""
    lines = [
        "# dataset.toml",
        "",
        "`counterset init DIR` writes one with every key as a comment. An unknown key, "
        "a wrong type or a contradiction ends the program with exit code 2.",
    ]
    for heading, section in sections():
        lines += ["", f"## `{heading}`", "", section.get("description", ""), ""]
        lines += _table("key", "type", "default", "meaning")
        needed = section.get("required", [])
        for key, spec in section["properties"].items():
            default = _default(spec, required=key in needed)
            meaning = spec.get("description", "")
            lines.append(_row(f"`{key}`", _kind(spec), default, meaning))
    return "\n".join(lines) + "\n"


def tables() -> str:
    """Page of every column of every table."""
    lines = [
        "# Tables",
        "",
        "Parquet parts in the work folder. A photo's key everywhere is `photo_id`, the "
        "sha256 (lower-case hex) of the bytes as they were fetched. Points and "
        "accuracies run from 0 to 100, probabilities from 0 to 1.",
    ]
    for name, columns in SCHEMAS.items():
        lines += ["", f"## {name}", "", *_table("column", "type", "null", "meaning")]
        lines += [
            _row(f"`{key}`", str(c.type), "yes" if c.null else "", c.meaning)
            for key, c in columns.items()
        ]
    return "\n".join(lines) + "\n"


def commands() -> Iterator[tuple[str, TyperCommand]]:
    """Full name and command object of every verb, in the order of `--help`."""

    def walk(
        prefix: str, command: TyperCommand | TyperGroup
    ) -> Iterator[tuple[str, TyperCommand]]:
        if not isinstance(command, TyperGroup):
            yield prefix, command
            return
        for name, child in command.commands.items():
            if not child.hidden:
                yield from walk(f"{prefix} {name}", child)

    yield from walk("counterset", typer.main.get_command(app))


def command_line() -> str:
    """Page of every verb, argument and option."""
    lines = [
        "# Commands",
        "",
        "Results go to stdout, log and progress to stderr. Exit codes: 0 done, 1 our "
        "bug, 2 usage or configuration, 3 input missing or invalid, 4 a remote service "
        "failed, 5 finished with more failed rows than allowed, 130 interrupted (safe "
        "to repeat).",
    ]
    for name, command in commands():
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option"]
        shown = [_usage(argument) for argument in arguments]
        lines += ["", "## " + " ".join([name, *shown]), "", _prose(command.help)]
        if arguments or options:
            lines += ["", *_table("option", "default", "meaning")]
        for parameter in [*arguments, *options]:
            names = [*parameter.opts, *parameter.secondary_opts]
            if parameter in arguments:
                names = [_usage(parameter)]
            spelled = ", ".join(f"`{one}`" for one in names)
            lines.append(_row(spelled, _preset(parameter), parameter.help or ""))
    return "\n".join(lines) + "\n"


def _usage(argument: TyperArgument) -> str:
    name = (argument.metavar or argument.name).upper()
    name += "…" if argument.nargs == -1 else ""
    return name if argument.required else f"[{name}]"


def _preset(parameter: TyperArgument | TyperOption) -> str:
    """Default of an argument or option, as it would be typed."""
    value = parameter.default
    if parameter.required:
        return "required"
    if value is None or value is False or value == () or value == [] or callable(value):
        return ""
    return f"`{getattr(value, 'value', value)}`"


def _prose(text: str | None) -> str:
    """Help text with its lines joined into paragraphs."""
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(" ".join(one.split()) for one in paragraphs)


def error_classes() -> list[type[CounterSetError]]:
    """The error tree, depth first."""

    def walk(parent: type[CounterSetError]) -> Iterator[type[CounterSetError]]:
        yield parent
        for child in parent.__subclasses__():
            yield from walk(child)

    return list(walk(CounterSetError))


def errors() -> str:
    """Page of every error class."""
    lines = [
        "# Errors",
        "",
        "A message says what happened, where, and what to do next. Anything that is "
        "not one of these is our bug: exit code 1 with a traceback.",
        "",
        *_table("error", "is a", "exit code", "when"),
    ]
    for error in error_classes()[1:]:
        parent = error.__mro__[1].__name__
        when = _prose(error.__doc__)
        lines.append(_row(f"`{error.__name__}`", parent, str(error.exit_code), when))
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """Content of every reference page by file name."""
    return {
        f"{name}.md": WRITTEN + page()
        for name, page in {
            "configuration": configuration,
            "tables": tables,
            "commands": command_line,
            "errors": errors,
        }.items()
    }


def main() -> None:
    """Write the pages."""
    PAGES.mkdir(parents=True, exist_ok=True)
    for name, content in pages().items():
        (PAGES / name).write_text(content, encoding="utf-8")
        print(f"docs/reference/{name}")


if __name__ == "__main__":
    main()
