"""What the commands share: options, the work folder they open, errors, output."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from curation.errors import CounterSetError

if TYPE_CHECKING:
    from curation.config import Dataset
    from curation.pipeline import Route

CONFIG, WORK = Path("dataset.toml"), Path("work")

Config = Annotated[
    Path, typer.Option("-c", "--config", help="The dataset's configuration.")
]
Known = Annotated[
    Path | None, typer.Option("-c", "--config", help="Default: as last run.")
]
Work = Annotated[Path, typer.Option("--work", help="Work folder.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")]
Limit = Annotated[
    int, typer.Option(min=0, help="At most N candidates per class; 0: all.")
]
Jobs = Annotated[int, typer.Option(min=0, help="Processes; 0: one per core.")]
Engine = Annotated[
    str | None,
    typer.Option(help="Where photos are computed: local, processes or ray."),
]
Storage = Annotated[
    str | None,
    typer.Option(help="For ray: URL its nodes read photos from, s3://bucket/folder."),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")]
Key = Annotated[str, typer.Argument(help="photo_id (8 digits or more), URL or path.")]


class Commands(TyperGroup):
    """Maps our errors to messages and exit codes."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer's own type is private
        """Run a command; what a user can act on is told without a traceback."""
        try:
            return super().invoke(ctx)
        except CounterSetError as error:
            typer.echo(f"error: {masked(str(error))}", err=True)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt:
            typer.echo("interrupted; run the same command again to go on", err=True)
            raise typer.Exit(130) from None
        except BrokenPipeError:
            # the reader of our output went away, as in `counterset show … | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None


@contextmanager
def logging(quiet: bool) -> Iterator[Any]:
    """A function that says a line of progress on stderr."""
    from curation.progress import Log

    yield Log(quiet=quiet)


@contextmanager
def opened(
    config: Path,
    work: Path,
    *,
    engine: str | None = None,
    storage: str | None = None,
    computes: bool = False,
    **options: Any,  # noqa: ANN401
) -> Iterator["Route"]:
    """A route in a work folder held for writing; the engine is as configured if None.

    Args:
        config: its file.
        work: the work folder.
        engine: name of the engine.
        storage: URL where the nodes of a cluster find photos.
        computes: whether there may be photos to compute, so that the engine has to be
            one that this machine can use.
        options: fields of the route.

    Raises:
        ConfigError: an engine or storage that cannot be used.
    """
    from curation import engines
    from curation.config import load
    from curation.pipeline import Route
    from curation.shelf import Shelf

    content = load(config)
    name, url = _engine(content, engine, storage)
    if computes:
        engines.check(name, storage=url)
    told = {key: value for key, value in options.items() if key == "say"}
    with (
        engines.opened(name, storage=url, **told) as running,
        Shelf(work).lock() as shelf,
    ):
        shelf.keep_config(content.model_dump(mode="json"))
        yield Route(shelf, content, engine=running, **options)


def usable(
    content: "Dataset", *, engine: str | None = None, storage: str | None = None
) -> None:
    """Find out whether the engine asked for, or else configured, can be used.

    Raises:
        ConfigError: it cannot, or the storage cannot.
    """
    from curation import engines

    name, url = _engine(content, engine, storage)
    engines.check(name, storage=url)


def _engine(
    content: "Dataset", engine: str | None, storage: str | None
) -> tuple[str, str]:
    """Name and storage of the engine: as asked for, else as configured."""
    name = engine or content.run.engine
    if storage is None:
        storage = content.run.storage if name == "ray" else ""
    return name, storage


@contextmanager
def looking(
    config: Path | None, work: Path, *, write: bool = False, new: bool = False
) -> Iterator["Route"]:
    """A route in a work folder that is there; locked only when it will be written."""
    from curation.pipeline import Route
    from curation.shelf import Shelf

    if write:
        Shelf.open(work)
        with Shelf(work).lock() as shelf:
            yield Route(shelf, _dataset(config, None if config else shelf.config()))
    else:
        shelf = Shelf(work) if new else Shelf.open(work)
        kept = None if new or config else shelf.config()
        yield Route(shelf, _dataset(config, kept))


def _dataset(config: Path | None, kept: Mapping[str, Any] | None) -> "Dataset":
    from curation.config import load, parse

    if config or kept is None:
        return load(config or CONFIG)
    return parse(dict(kept), base=Path("/"), name="configuration of the last run")


def as_object(content: Mapping[str, Any]) -> None:
    """Print one JSON object."""
    typer.echo(json.dumps(content, ensure_ascii=False, allow_nan=False))


def told(result: Mapping[str, Any], as_json: bool) -> None:
    """Print a result for a program or a person."""
    if as_json:
        as_object(result)
        return
    for stage in result.get("stages", []):
        typer.echo("  ".join(f"{key} {value}" for key, value in stage.items()))
    for key, value in result.items():
        if key != "stages" and value not in (None, [], ""):
            lines = value if isinstance(value, list) else [value]
            for line in lines:
                if isinstance(line, Mapping):
                    line = "  ".join(f"{name} {what}" for name, what in line.items())
                typer.echo(f"{key}: {line}")


def masked(message: str) -> str:
    """A message without the tokens the environment holds."""
    for name in ("HF_TOKEN", "LABEL_STUDIO_API_KEY"):
        secret = os.environ.get(name)
        if secret and len(secret) > 5:
            message = message.replace(secret, "***")
    return message
