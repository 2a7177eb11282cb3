"""The command line `counterset`: parse, call, print. No logic here.

stdout holds results, stderr the log and progress. Exit codes: 0 done, 1 our bug, 2
usage or configuration, 3 input missing or invalid, 4 a remote failed, 5 too many rows
failed, 130 interrupted (safe to repeat).
"""

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
from evaluation import cli as evaluation_cli

if TYPE_CHECKING:
    from curation.config import Dataset
    from curation.pipeline import Route


class Commands(TyperGroup):
    """Maps our errors to messages and exit codes."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer's own type is private
        """Run a command; what a user can act on is told without a traceback."""
        try:
            return super().invoke(ctx)
        except CounterSetError as error:
            typer.echo(f"error: {_masked(str(error))}", err=True)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt:
            typer.echo("interrupted; run the same command again to go on", err=True)
            raise typer.Exit(130) from None
        except BrokenPipeError:
            # the reader of our output went away, as in `counterset show … | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None


app = typer.Typer(
    cls=Commands,
    help="Build common/counter image datasets and measure models on them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
labels = typer.Typer(
    cls=Commands,
    help="Answers of people: import, export, agreement.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(labels, name="labels")
evaluation_cli.register(app)

Config = Annotated[
    Path, typer.Option("-c", "--config", help="The dataset's configuration.")
]
Known = Annotated[
    Path | None, typer.Option("-c", "--config", help="Default: as last run.")
]
Work = Annotated[Path, typer.Option("--work", help="Work folder.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")]
Limit = Annotated[int, typer.Option(min=0, help="At most N candidates per class.")]
Jobs = Annotated[int, typer.Option(min=0, help="Processes; 0: one per core.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")]
Key = Annotated[str, typer.Argument(help="photo_id (8 digits or more), URL or path.")]

CONFIG, WORK = Path("dataset.toml"), Path("work")


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder to write it in.")],
) -> None:
    """Write a commented dataset.toml to start from."""
    from curation import init as starting

    typer.echo(starting.write(folder))


@app.command()
def demo(
    work: Work = Path("counterset-demo"),
    jobs: Jobs = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run the whole route on the bundled pictures, offline."""
    from curation.demo import run as showing

    with logging(quiet) as say:
        result = showing.run(work, jobs=jobs, say=say)
    _told(result, as_json)


@app.command()
def run(
    config: Config = CONFIG,
    work: Work = WORK,
    until: Annotated[str, typer.Option(help="Last step to run.")] = "report",
    engine: Annotated[str, typer.Option(help="Where map stages run: local.")] = "local",
    limit: Limit = 0,
    jobs: Jobs = 0,
    dry_run: DryRun = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run every step that has something to do."""
    _through(
        config, work, until, engine=engine, limit=limit, jobs=jobs, dry_run=dry_run,
        as_json=as_json, quiet=quiet,
    )  # fmt: skip


@app.command()
def collect(
    config: Config = CONFIG,
    work: Work = WORK,
    limit: Limit = 0,
    dry_run: DryRun = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List what the sources have, opening no picture."""
    _through(
        config, work, "collect", limit=limit, dry_run=dry_run, as_json=as_json,
        quiet=quiet,
    )  # fmt: skip


@app.command()
def fetch(
    config: Config = CONFIG,
    work: Work = WORK,
    limit: Limit = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fetch the photos that were never fetched."""
    _through(config, work, "fetch", limit=limit, as_json=as_json, quiet=quiet)


@app.command()
def release(
    config: Config = CONFIG,
    work: Work = WORK,
    folders: Annotated[
        Path | None,
        typer.Option(help="Also write <class>/common-<background>/… there."),
    ] = None,
    index: Annotated[
        bool, typer.Option("--index", help="ImageNet index before class names there.")
    ] = False,
    jobs: Jobs = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the dataset as a folder that load_dataset opens."""
    from curation import release as releasing
    from curation.errors import InputError

    with logging(quiet) as say, opened(config, work, jobs=jobs, say=say) as route:
        route.run("release")
        place = route.shelf.folder / "release"
        if not place.exists():
            route.settle()
            raise InputError("; ".join(route.notices))
        result: dict[str, Any] = {
            "release": "release",
            "photos": route.rows("release"),
        }
        left_out = route.shelf.remarked("release", route.recipe("release"))["left_out"]
        result["left_out"] = (
            left_out
            if as_json
            else [f"{count} photos: {why}" for why, count in left_out.items()]
        )
        if folders:
            count = releasing.export_folders(place, folders, index=index)
            result |= {"folders": str(folders), "files": count}
    _told(result, as_json)
    route.settle()


@app.command()
def status(
    config: Known = None,
    work: Work = WORK,
    as_json: Json = False,
) -> None:
    """State and rows of every step."""
    with looking(config, work) as route:
        lines = route.status()
    if as_json:
        _json({"stages": lines})
        return
    for line in lines:
        typer.echo(f"{line['stage']:<10} {line['state']:<8} {line['rows']:>9,} rows")


@app.command()
def show(
    photo: Key,
    config: Known = None,
    work: Work = WORK,
    as_json: Json = False,
) -> None:
    """Everything known of one photo."""
    from curation import photo as looked

    with looking(config, work) as route:
        facts = looked.show(route, photo)
    if as_json:
        _json(facts)
    else:
        typer.echo(looked.text(facts))


@app.command()
def check(
    config: Known = None,
    work: Work = WORK,
    as_json: Json = False,
) -> None:
    """Verify photos, tables, logs and the release; exit 3 if anything is wrong."""
    from curation import check as checking

    with looking(config, work, write=True) as route:
        faults = checking.check(route)
    if as_json:
        _json({"ok": not faults, "faults": faults})
    else:
        for fault in faults:
            typer.echo(f"{fault['what']}: {fault['where']}: {fault['do']}")
        typer.echo("sound" if not faults else f"{len(faults)} faults")
    if faults:
        raise typer.Exit(3)


@app.command()
def forget(
    photo: Key,
    reason: Annotated[str, typer.Option(help="Kept in the log of takedowns.")] = "",
    only: Annotated[
        bool, typer.Option("--only", help="Leave its duplicates in place.")
    ] = False,
    config: Known = None,
    work: Work = WORK,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Take a photo down, with its duplicates; it is never fetched again."""
    from curation import takedowns

    with looking(config, work, write=True) as route:
        facts = takedowns.forget(
            route, photo, reason=reason, only=only, dry_run=dry_run
        )
    if as_json:
        _json(facts)
        return
    verb = "would be taken down" if dry_run else "taken down"
    for key in facts["photos"]:
        typer.echo(f"{key} {verb}")
    if not dry_run:
        typer.echo("now run `counterset run` to make every table and the release anew")


@app.command()
def recheck(
    limit: Annotated[int, typer.Option(min=0, help="At most N records.")] = 0,
    config: Known = None,
    work: Work = WORK,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Ask the sources again about photos in use: licences changed, photos gone."""
    from curation import recheck as rechecking
    from curation.errors import RemoteError

    with logging(quiet) as say, looking(config, work, write=True) as route:
        route.say = say
        result, trouble = rechecking.recheck(route, limit=limit)
    if as_json:
        _json(result)
    else:
        typer.echo(rechecking.text(result))
    if trouble:
        raise RemoteError(trouble)


@labels.command("import")
def import_labels(
    file: Annotated[Path, typer.Argument(help="CSV or JSONL of answers.")],
    config: Config = CONFIG,
    work: Work = WORK,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Add answers: photo, question, answer, annotator, time. All or none."""
    from curation import answers

    with opened(config, work) as route:
        result = answers.take_in(route, file, dry_run=dry_run)
    _told(result, as_json)


@labels.command("export")
def export_labels(
    file: Annotated[Path, typer.Argument(help="CSV or JSONL to write.")],
    config: Known = None,
    work: Work = WORK,
    as_json: Json = False,
) -> None:
    """Write every answer there is, superseded ones included."""
    from curation import answers

    with looking(config, work) as route:
        result = answers.give_out(route, file)
    _told(result, as_json)


@labels.command("agreement")
def agreement(
    config: Known = None,
    work: Work = WORK,
    as_json: Json = False,
) -> None:
    """Krippendorff's alpha per question, and each annotator's agreement."""
    from curation import answers

    with looking(config, work) as route:
        result = answers.agreement(route)
    if as_json:
        _json(result)
    else:
        typer.echo(answers.agreement_text(result))


# what the commands share ------------------------------------------------------------


def _through(
    config: Path,
    work: Path,
    until: str,
    *,
    as_json: bool,
    quiet: bool,
    engine: str = "local",
    limit: int = 0,
    jobs: int = 0,
    dry_run: bool = False,
) -> None:
    """Run the route up to a step and print what came of it."""
    from curation.errors import ConfigError, TooManyFailedRows, nearest
    from curation.pipeline import ORDER, summary

    if until not in ORDER:
        message = f"--until {until}: no such step; {nearest(until, ORDER)}"
        raise ConfigError(message)
    if engine != "local":
        message = f"--engine {engine}: no such engine; {nearest(engine, ['local'])}"
        raise ConfigError(message)
    if dry_run:
        from curation import estimate

        with looking(config, work, new=True) as route:
            route.limit = limit
            asked = estimate.estimate(route)
            result: dict[str, Any] = {"stages": route.plan(until)}
        # for a person in words; a program gets the numbers
        words: dict[str, Any] = {"will ask": estimate.text(asked)}
        _told(result | ({"estimate": asked} if as_json else words), as_json)
        return
    with (
        logging(quiet) as say,
        opened(config, work, jobs=jobs, limit=limit, say=say) as route,
    ):
        outcomes = route.run(until)
        result = summary(route, outcomes)
    _told(result, as_json)
    route.settle()
    over = route.over_limit(outcomes)
    if over:
        raise TooManyFailedRows(over)


@contextmanager
def logging(quiet: bool) -> Iterator[Any]:
    """A function that says a line of progress on stderr."""
    from curation.progress import Log

    yield Log(quiet=quiet)


@contextmanager
def opened(config: Path, work: Path, **options: Any) -> Iterator["Route"]:  # noqa: ANN401
    """A route in a work folder held for writing."""
    from curation.config import load
    from curation.pipeline import Route
    from curation.shelf import Shelf

    dataset = load(config)
    with Shelf(work).lock() as shelf:
        shelf.keep_config(dataset.model_dump(mode="json"))
        yield Route(shelf, dataset, **options)


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
            yield Route(shelf, _dataset(config, shelf.config()))
    else:
        shelf = Shelf(work) if new else Shelf.open(work)
        yield Route(shelf, _dataset(config, None if new else shelf.config()))


def _dataset(config: Path | None, kept: Mapping[str, Any] | None) -> "Dataset":
    from curation.config import load, parse

    if config or kept is None:
        return load(config or CONFIG)
    return parse(dict(kept), base=Path("/"), name="configuration of the last run")


def _json(content: Mapping[str, Any]) -> None:
    typer.echo(json.dumps(content, ensure_ascii=False, allow_nan=False))


def _told(result: Mapping[str, Any], as_json: bool) -> None:
    """Print a result for a program or a person."""
    if as_json:
        _json(result)
        return
    for stage in result.get("stages", []):
        typer.echo("  ".join(f"{key} {value}" for key, value in stage.items()))
    for key, value in result.items():
        if key != "stages" and value not in (None, [], ""):
            lines = value if isinstance(value, list) else [value]
            for line in lines:
                typer.echo(f"{key}: {line}")


def _masked(message: str) -> str:
    """A message without the tokens the environment holds."""
    for name in ("HF_TOKEN", "LABEL_STUDIO_API_KEY"):
        secret = os.environ.get(name)
        if secret and len(secret) > 5:
            message = message.replace(secret, "***")
    return message


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
