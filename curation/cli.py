"""The command line `counterset`: parse, call, print. No logic here.

stdout holds results, stderr the log and progress. Exit codes: 0 done, 1 our bug, 2
usage or configuration, 3 input missing or invalid, 4 a remote failed, 5 too many rows
failed, 130 interrupted (safe to repeat).
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from curation.commands import (
    CONFIG,
    WORK,
    Commands,
    Config,
    DryRun,
    Engine,
    Jobs,
    Json,
    Key,
    Known,
    Limit,
    Quiet,
    Storage,
    Work,
    as_object,
    logging,
    looking,
    opened,
    told,
    usable,
)
from curation.duplicates import cli as duplicates_cli
from curation.labelling.cli import labels
from evaluation import cli as evaluation_cli

app = typer.Typer(
    cls=Commands,
    help="Build common/counter image datasets and measure models on them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)


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
    told(result, as_json)


@app.command()
def run(
    config: Config = CONFIG,
    work: Work = WORK,
    until: Annotated[
        str,
        typer.Option(
            help="Last step to run: collect, fetch, hash, embed, dedup, leaks, screen, "
            "propose, tasks, resolve, predict, discover, group, release, evaluate or "
            "report."
        ),
    ] = "report",
    engine: Engine = None,
    storage: Storage = None,
    limit: Limit = 0,
    jobs: Jobs = 0,
    dry_run: DryRun = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run every step that has something to do."""
    _through(
        config, work, until, engine=engine, storage=storage, limit=limit, jobs=jobs,
        dry_run=dry_run, as_json=as_json, quiet=quiet,
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
    webdataset: Annotated[
        Path | None,
        typer.Option(help="Also write tars there, as clip-benchmark reads them."),
    ] = None,
    label_space: Annotated[
        str, typer.Option(help="What the tars' classes are: dataset or imagenet.")
    ] = "dataset",
    urls: Annotated[
        Path | None,
        typer.Option(help="Also write a CSV of URLs and licences, without photos."),
    ] = None,
    jobs: Jobs = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the dataset as a folder that load_dataset opens."""
    from curation import release as releasing
    from curation.errors import InputError

    with (
        logging(quiet) as say,
        opened(config, work, computes=True, jobs=jobs, say=say) as route,
    ):
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
        if webdataset:
            from curation.release.webdataset import export_webdataset

            tars = export_webdataset(place, webdataset, labels=label_space)
            result |= {"webdataset": str(webdataset), "tars": tars.shards}
            result |= {"rewritten_as_png": tars.rewritten}
        if urls:
            from curation.release.urls import write_urls

            tables = {name: route.whole(name) for name in ("photos", "candidates")}
            listed = write_urls(place, urls, tables)
            result |= {"urls": str(urls), "without_url": listed.without_url}
    told(result, as_json)
    route.settle()


@app.command()
def rebuild(
    listing: Annotated[
        Path, typer.Argument(metavar="FILE", help="As release --urls writes it.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write the photos to.")],
    config: Annotated[
        Path | None,
        typer.Option("-c", "--config", help="For its [http], [fetch] and [run]."),
    ] = None,
    index: Annotated[
        bool, typer.Option("--index", help="ImageNet index before class names.")
    ] = False,
    jobs: Annotated[
        int,
        typer.Option(min=0, max=64, help="Photos at once; 0: http.connections."),
    ] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fetch the photos of a list of URLs, and verify each.

    A photo whose sha256 is not the list's is not written.
    """
    from curation import rebuild as rebuilding

    with logging(quiet) as say:
        result, trouble = rebuilding.through_http(
            listing, out, config=config, index=index, jobs=jobs, say=say
        )
    told(result, as_json)
    if trouble:
        raise trouble


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
        as_object({"stages": lines})
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
        as_object(facts)
    else:
        typer.echo(looked.text(facts))


@app.command()
def check(
    config: Known = None,
    work: Work = WORK,
    as_json: Json = False,
) -> None:
    """Verify photos, tables, logs and the release.

    Says of each fault what to do; the exit code is 3 if there is one.
    """
    from curation import check as checking

    with looking(config, work, write=True) as route:
        faults = checking.check(route)
    if as_json:
        as_object({"ok": not faults, "faults": faults})
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
    """Take a photo down for good, with its duplicates.

    Its file is deleted, and it is never fetched again.
    """
    from curation import takedowns

    with looking(config, work, write=True) as route:
        facts = takedowns.forget(
            route, photo, reason=reason, only=only, dry_run=dry_run
        )
    if as_json:
        as_object(facts)
        return
    verb = "would be taken down" if dry_run else "taken down"
    for key in facts["photos"]:
        typer.echo(f"{key} {verb}")
    if facts["published"]:
        told = ", ".join(facts["published"])
        typer.echo(f"published versions that hold it: {told}; publish the next one")
    if not dry_run:
        typer.echo("now run `counterset run` to make every table and the release anew")


@app.command()
def diff(
    before: Annotated[str, typer.Argument(help="Release, manifest.csv or hub:NAME.")],
    after: Annotated[str, typer.Argument(help="The later one, in the same forms.")],
    as_json: Json = False,
) -> None:
    """What changed between two releases.

    hub:ORG/NAME is one on the Hub, hub:ORG/NAME@v1.0.0 a version of it.
    """
    from curation.release import diff as comparing

    difference = comparing.compare(
        comparing.manifest(before), comparing.manifest(after)
    )
    if as_json:
        as_object(comparing.as_object(difference))
    else:
        typer.echo(comparing.text(difference))


@app.command()
def publish(
    repo: Annotated[str, typer.Argument(metavar="ORG/NAME", help="Where on the Hub.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    pull_request: Annotated[
        bool, typer.Option("--pull-request", help="Propose it; no tag.")
    ] = False,
    private: Annotated[
        bool, typer.Option("--private", help="Only members see it.")
    ] = False,
    gated: Annotated[
        str, typer.Option(help="Access must be asked for: auto or manual.")
    ] = "",
    config: Config = CONFIG,
    work: Work = WORK,
    dry_run: DryRun = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Publish the release to the Hugging Face Hub.

    It becomes one commit, with the version as a tag.
    """
    from curation import publish as publishing
    from curation.hub import Hub, asked_for

    with logging(quiet) as say, looking(config, work, write=not dry_run) as route:
        hub = Hub.from_environment()
        plan = publishing.plan(
            route, repo, hub=hub, private=private, gated=asked_for(gated),
            pull_request=pull_request,
        )  # fmt: skip
        plan = publishing.follow(plan, route, hub=hub, remember=not dry_run)
        if dry_run and as_json:
            as_object(publishing.told(plan))
        elif not as_json:
            typer.echo(publishing.text(plan))
        if not dry_run:
            publishing.confirm(plan, yes=yes, ask=None if as_json else typer.confirm)
            told(publishing.publish(plan, hub=hub, shelf=route.shelf, say=say), as_json)
        elif plan.refused:
            raise typer.Exit(3)


@app.command()
def recheck(
    limit: Annotated[int, typer.Option(min=0, help="At most N records; 0: all.")] = 0,
    config: Known = None,
    work: Work = WORK,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Ask the sources again about photos in use.

    Photos that are gone, or whose licence is not let in any more, leave the next
    release.
    """
    from curation import recheck as rechecking
    from curation.errors import RemoteError

    with logging(quiet) as say, looking(config, work, write=True) as route:
        route.say = say
        result, trouble = rechecking.recheck(route, limit=limit)
    if as_json:
        as_object(result)
    else:
        typer.echo(rechecking.text(result))
    if trouble:
        raise RemoteError(trouble)


duplicates_cli.register(app)
evaluation_cli.register(app)
app.add_typer(labels, name="labels")


# what the commands share ------------------------------------------------------------


def _through(
    config: Path,
    work: Path,
    until: str,
    *,
    as_json: bool,
    quiet: bool,
    engine: str | None = None,
    storage: str | None = None,
    limit: int = 0,
    jobs: int = 0,
    dry_run: bool = False,
) -> None:
    """Run the route up to a step and print what came of it."""
    from curation.errors import ConfigError, TooManyFailedRows, nearest
    from curation.pipeline import ASKING, ORDER, summary

    if until not in ORDER:
        message = f"--until {until}: no such step; {nearest(until, ORDER)}"
        raise ConfigError(message)
    computes = until not in ASKING
    if dry_run:
        from curation import estimate

        with looking(config, work, new=True) as route:
            if computes:
                usable(route.config, engine=engine, storage=storage)
            route.limit = limit
            asked = estimate.estimate(route)
            result: dict[str, Any] = {"stages": route.plan(until)}
        # for a person in words; a program gets the numbers
        words: dict[str, Any] = {"will ask": estimate.text(asked)}
        told(result | ({"estimate": asked} if as_json else words), as_json)
        return
    with (
        logging(quiet) as say,
        opened(
            config, work, engine=engine, storage=storage, computes=computes,
            jobs=jobs, limit=limit, say=say,
        ) as route,
    ):  # fmt: skip
        outcomes = route.run(until)
        result = summary(route, outcomes)
    told(result, as_json)
    route.settle()
    over = route.over_limit(outcomes)
    if over:
        raise TooManyFailedRows(over)


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
