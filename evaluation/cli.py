"""The commands `evaluate` and `models`: parse, call, print; no logic."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from evaluation.results import Result

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


def register(app: typer.Typer) -> None:
    """Add the commands to an application."""
    app.command()(evaluate)
    app.command()(models)


def evaluate(
    model: Annotated[
        list[str] | None,
        typer.Option("-m", "--model", help="Model, such as timm:resnet50; repeatable."),
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "-d",
            "--dataset",
            help="Release folder, folder of classes, CounterAnimal's layout, or "
            "hub:<org>/<name>[@revision]; repeatable.",
        ),
    ] = None,
    suite: Annotated[
        str | None, typer.Option(help="Named list of models, or a TOML file.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("results"),
    prompts: Annotated[
        str | None,
        typer.Option(help="paper (default), openai80, openclip7, or a file."),
    ] = None,
    label_space: Annotated[
        str | None,
        typer.Option(
            help="imagenet (default: 1 of 1,000), dataset, a named subset, or a CSV."
        ),
    ] = None,
    max_failed: Annotated[
        float, typer.Option(min=0, max=1, help="Share of photos that may fail.")
    ] = 0.05,
    limit: Annotated[
        int, typer.Option(min=0, help="At most N photos of each dataset; 0: all.")
    ] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Threads that decode.")] = 2,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Measure models on a dataset: predictions, accuracy, drop, report."""
    from evaluation.benchmark import PREDICTIONS, REPORT, Question, benchmark
    from evaluation.suites import suite as open_suite

    chosen = open_suite(suite) if suite else None
    question = Question(
        models=tuple(
            dict.fromkeys([*(chosen.models if chosen else ()), *(model or ())])
        ),
        datasets=tuple(dataset or (chosen.datasets if chosen else ())),
        prompts=prompts or (chosen and chosen.prompts) or "paper",
        label_space=label_space or (chosen and chosen.label_space) or "imagenet",
        limit=limit,
        jobs=jobs,
        max_failed=max_failed,
    )
    with _progress(quiet=quiet) as told:
        results = benchmark(question, out, progress=told)
    if as_json:
        found = {
            "results": results.summary(),
            "predictions": PREDICTIONS,
            "report": REPORT,
        }
        typer.echo(json.dumps(found))
        return
    for row in results.rows:
        typer.echo(_line(row))
    typer.echo(f"report: {out / REPORT}")


def models(as_json: Json = False) -> None:
    """What can be evaluated, and whether its weights are at hand."""
    from evaluation.models import backends

    found = [info for backend in backends().values() for info in backend.available()]
    if as_json:
        rows = [
            {
                "name": info.name,
                "kind": info.kind,
                "at_hand": info.at_hand,
                "note": info.note,
            }
            for info in found
        ]
        typer.echo(json.dumps({"models": rows}))
        return
    for info in found:
        there = "at hand" if info.at_hand else "-"
        typer.echo(f"{info.name:<64} {info.kind:<10} {there:<8} {info.note}".rstrip())


def _line(row: "Result") -> str:
    """A result for the terminal."""
    from evaluation.results import few

    asked = f"{row.label_space}, {row.prompts}" if row.prompts else row.label_space
    failed = f", {row.n_failed} failed" if row.n_failed else ""
    if row.common is None or row.counter is None or row.drop is None:
        return (
            f"{row.model} on {row.dataset} ({asked}): accuracy {row.accuracy:.2f} "
            f"{_interval(row.accuracy_ci)}, {row.n_photos} photos{failed}"
        )
    partly = "" if row.balanced else f"; not balanced, left out: {few(row.left_out)}"
    return (
        f"{row.model} on {row.dataset} ({asked}): common {row.common:.2f} "
        f"{_interval(row.common_ci)}, counter {row.counter:.2f} "
        f"{_interval(row.counter_ci)}, drop {row.drop:.2f} {_interval(row.drop_ci)}, "
        f"{row.n_common} + {row.n_counter} photos{failed}{partly}"
    )


def _interval(bounds: tuple[float, float] | None) -> str:
    return f"[{bounds[0]:.2f}, {bounds[1]:.2f}]" if bounds else "[undefined]"


def _progress(*, quiet: bool) -> "AbstractContextManager[Any]":
    """A progress bar on stderr, as a function of done and total."""
    if quiet:
        return nullcontext()
    from evaluation.progress import bar

    return bar()
