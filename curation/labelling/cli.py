"""`counterset labels …`: parse, call, print. No logic here."""

from pathlib import Path
from typing import Annotated

import typer

from curation.commands import (
    CONFIG,
    WORK,
    Commands,
    Config,
    DryRun,
    Json,
    Known,
    Quiet,
    Work,
    as_object,
    logging,
    looking,
    opened,
    told,
)

labels = typer.Typer(
    cls=Commands,
    help="Answers of people: Label Studio, files, agreement.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@labels.command()
def push(
    adjudicate: Annotated[
        bool,
        typer.Option("--adjudicate", help="Only what people disagree on, for one."),
    ] = False,
    blind: Annotated[
        bool, typer.Option("--blind", help="Hide the proposals: a project of its own.")
    ] = False,
    limit: Annotated[
        int, typer.Option(min=0, help="At most N new photos; 0: all.")
    ] = 0,
    new: Annotated[
        bool, typer.Option("--new", help="Another project, in place of one deleted.")
    ] = False,
    config: Config = CONFIG,
    work: Work = WORK,
    dry_run: DryRun = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Put open questions into Label Studio; each photo once.

    The most informative ones come first.
    LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY say where it is, and in whose name.
    """
    from curation.labelling import push as pushing
    from curation.labelstudio import LabelStudio

    with logging(quiet) as say, opened(config, work, say=say) as route:
        result = pushing.push(
            route,
            LabelStudio.from_environment(),
            kind="adjudication" if adjudicate else "labels",
            blind=blind or route.config.tasks.blind,
            limit=limit,
            new=new,
            dry_run=dry_run,
        )
    told(result, as_json)


@labels.command()
def pull(
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on, until interrupted.")
    ] = False,
    every: Annotated[
        float, typer.Option(min=1, help="--watch: seconds between two looks.")
    ] = 30.0,
    listen: Annotated[
        str,
        typer.Option(
            help="--watch: HOST:PORT where the server may say that it is time."
        ),
    ] = "",
    config: Config = CONFIG,
    work: Work = WORK,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fetch what annotators answered; nothing is counted twice.

    LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY say where it is, and in whose name.
    """
    from curation.labelling import pull as pulling
    from curation.labelling import watch as watching
    from curation.labelstudio import LabelStudio

    def once() -> dict[str, object]:
        with logging(quiet) as say, opened(config, work, say=say) as route:
            result: dict[str, object] = pulling.pull(route, studio)
            return result

    studio = LabelStudio.from_environment()
    if not watch:
        told(once(), as_json)
        return
    with looking(config, work) as route:
        projects = pulling.projects(route)
    for result in watching.watch(
        once, studio, projects=projects, every=every, listen=listen
    ):
        told(result, as_json)


@labels.command()
def serve(work: Work = WORK, config: Known = None) -> None:
    """Show annotators on this machine the pictures, until Ctrl-C."""
    from curation.labelling import serve as serving

    with looking(config, work) as route:
        serving.serve(route, say=lambda line: typer.echo(line, err=True))


@labels.command()
def people(config: Known = None, work: Work = WORK, as_json: Json = False) -> None:
    """Who is who: pseudonyms beside accounts; kept nowhere."""
    from curation.labelling import people as known
    from curation.labelstudio import LabelStudio

    with looking(config, work) as route:
        rows = known.who(route, LabelStudio.from_environment())
    if as_json:
        as_object({"people": rows})
        return
    for row in rows:
        typer.echo(
            f"{row['annotator']:<16} {row['answers']:>7,} answers  {row['email']}"
        )


@labels.command()
def needed(
    width: Annotated[
        float, typer.Option(min=0.1, help="Interval of a class's drop, points.")
    ] = 10.0,
    config: Known = None,
    work: Work = WORK,
    as_json: Json = False,
) -> None:
    """How many more labels until the drops are known well."""
    from curation import stopping

    with looking(config, work) as route:
        result = stopping.needed(route, width=width)
    if as_json:
        as_object(result)
    else:
        typer.echo(stopping.text(result))


@labels.command("import")
def import_labels(
    file: Annotated[
        Path, typer.Argument(help="CSV or JSONL; JSON that Label Studio exported.")
    ],
    columns: Annotated[
        list[str] | None,
        typer.Option(help="OURS=THEIRS,…: another tool's columns, or a question's."),
    ] = None,
    values: Annotated[
        list[str] | None, typer.Option(help="THEIRS=OURS,…: another tool's answers.")
    ] = None,
    constants: Annotated[
        list[str] | None, typer.Option("--set", help="COLUMN=VALUE,… in every row.")
    ] = None,
    zone: Annotated[
        str, typer.Option(help="Where times without a zone were taken.")
    ] = "",
    config: Config = CONFIG,
    work: Work = WORK,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Add answers: photo, question, answer, annotator, time. All or none."""
    from curation import answers, foreign

    form = foreign.form(
        columns=columns or (),
        values=values or (),
        constants=constants or (),
        zone=zone,
    )
    with opened(config, work) as route:
        result = answers.take_in(route, file, form=form, dry_run=dry_run)
    told(result, as_json)


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
    told(result, as_json)


@labels.command("agreement")
def agreement(
    config: Known = None,
    work: Work = WORK,
    as_json: Json = False,
) -> None:
    """Krippendorff's alpha; how good each annotator's answers are."""
    from curation import answers

    with looking(config, work) as route:
        result = answers.agreement(route)
    if as_json:
        as_object(result)
    else:
        typer.echo(answers.agreement_text(result))
