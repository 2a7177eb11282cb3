"""The commands of measuring: parse, call, print; no logic."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evaluation.theory.cli import register as register_theory

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from evaluation.results import Result
    from evaluation.suites import Suite

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
_ASK, _COMPARE, _RUN = "What is asked", "What is compared", "How it runs"


def register(app: typer.Typer) -> None:
    """Add the commands to an application."""
    app.command()(evaluate)
    app.command()(models)
    app.command()(robustness)
    register_theory(app)


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
            help="Release folder, folder of classes, CounterAnimal's layout, "
            "hub:<org>/<name>[@revision][#split], or <reader>:<any of these> such as "
            "imagenet-r:<folder>; repeatable.",
        ),
    ] = None,
    id_dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--id",
            help="Dataset models were trained for: temperatures are fitted on half of "
            "it, shifts and unknown classes are set against it; repeatable.",
        ),
    ] = None,
    ood_dataset: Annotated[
        list[str] | None,
        typer.Option("--ood", help="Dataset of unknown classes; repeatable."),
    ] = None,
    suite: Annotated[
        str | None, typer.Option(help="Named list of models, or a TOML file.")
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(
            help="Only these of a suite: zero_shot, fine_tuned, imagenet, lvlm; "
            "repeatable."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("results"),
    prompts: Annotated[
        str | None,
        typer.Option(
            help="paper (default), openai80, openclip7, or a file of templates (.txt) "
            "or of prompts by class (.json).",
            rich_help_panel=_ASK,
        ),
    ] = None,
    label_space: Annotated[
        str | None,
        typer.Option(
            help="imagenet (1 of 1,000), dataset, confusing20[@MODEL] (1 of 20), a "
            "named subset, or a CSV; default: what each dataset's authors use.",
            rich_help_panel=_ASK,
        ),
    ] = None,
    class_names: Annotated[
        str,
        typer.Option(
            help="Names that prompts are made of: openai, wordnet, synset, or a CSV.",
            rich_help_panel=_ASK,
        ),
    ] = "openai",
    ensemble: Annotated[
        str,
        typer.Option(
            help="What is averaged over templates: embeddings or probabilities.",
            rich_help_panel=_ASK,
        ),
    ] = "embeddings",
    question: Annotated[
        str,
        typer.Option(
            help="What vision-language models are asked: main-object, describe, "
            "is-there, is-photo.",
            rich_help_panel=_ASK,
        ),
    ] = "main-object",
    reduction: Annotated[
        str,
        typer.Option(
            help="Loss of an answer: mean or sum over its tokens.",
            rich_help_panel=_ASK,
        ),
    ] = "mean",
    probabilities: Annotated[
        str,
        typer.Option(
            help="softmax, or native: as the model was trained (SigLIP: sigmoid).",
            rich_help_panel=_ASK,
        ),
    ] = "softmax",
    factors: Annotated[
        str,
        typer.Option(
            help="File of ImageNet-X annotations; else the package imagenet-x.",
            rich_help_panel=_ASK,
        ),
    ] = "",
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            help="Models that shifts' lines are fitted to: classifier (default), "
            "zero_shot, or a model's name; repeatable.",
            rich_help_panel=_COMPARE,
        ),
    ] = None,
    compare_to: Annotated[
        str,
        typer.Option(
            help="Compare the models with this one; else all pairs.",
            rich_help_panel=_COMPARE,
        ),
    ] = "",
    draws: Annotated[
        int,
        typer.Option(
            min=100,
            help="Bootstrap draws of lines and pairs.",
            rich_help_panel=_COMPARE,
        ),
    ] = 1000,
    seed: Annotated[
        int, typer.Option(help="Of every bootstrap.", rich_help_panel=_COMPARE)
    ] = 0,
    max_failed: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Share of photos that may fail.", rich_help_panel=_RUN
        ),
    ] = 0.05,
    skip_missing: Annotated[
        bool,
        typer.Option(
            "--skip-missing",
            help="Leave out models that cannot be loaded, and say so, instead of "
            "ending.",
            rich_help_panel=_RUN,
        ),
    ] = False,
    limit: Annotated[
        int,
        typer.Option(
            min=0,
            help="At most N photos of each dataset; 0: all.",
            rich_help_panel=_RUN,
        ),
    ] = 0,
    precision: Annotated[
        str, typer.Option(help="fp32 or bf16.", rich_help_panel=_RUN)
    ] = "fp32",
    device: Annotated[
        str,
        typer.Option(help="auto, cpu, cuda, cuda:1, …", rich_help_panel=_RUN),
    ] = "auto",
    decoder: Annotated[
        str,
        typer.Option(
            help="pillow (exact), or torchvision: plain JPEGs are decoded where the "
            "models run, with slightly other pixels.",
            rich_help_panel=_RUN,
        ),
    ] = "pillow",
    together: Annotated[
        int,
        typer.Option(
            min=1,
            help="Models in memory at once; each such batch decodes the photos once.",
            rich_help_panel=_RUN,
        ),
    ] = 4,
    jobs: Annotated[
        int, typer.Option(min=1, help="Threads that decode.", rich_help_panel=_RUN)
    ] = 2,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Measure models: accuracy, drop, calibration, detection."""
    from evaluation.benchmark import PREDICTIONS, REPORT, TABLES, Plan, benchmark
    from evaluation.suites import suite as open_suite

    chosen = open_suite(suite) if suite else None
    plan = Plan(
        models=tuple(dict.fromkeys([*_of_suite(chosen, group), *(model or ())])),
        datasets=tuple(dataset or (chosen.datasets if chosen else ())),
        id_datasets=tuple(id_dataset or ()),
        ood_datasets=tuple(ood_dataset or ()),
        prompts=prompts or (chosen and chosen.prompts) or "paper",
        label_space=label_space or (chosen and chosen.label_space) or "",
        class_names=class_names,
        ensemble=_one_of("--ensemble", ensemble, "embeddings", "probabilities"),
        question=question,
        reduction=_one_of("--reduction", reduction, "mean", "sum"),
        probabilities=_one_of("--probabilities", probabilities, "softmax", "native"),
        factors=factors,
        baseline=tuple(baseline or ("classifier",)),
        compare_to=compare_to,
        limit=limit,
        precision=_one_of("--precision", precision, "fp32", "bf16"),
        device=device,
        decoder=_one_of("--decoder", decoder, "pillow", "torchvision"),
        together=together,
        jobs=jobs,
        max_failed=max_failed,
        skip_missing=skip_missing,
        draws=draws,
        seed=seed,
    )
    with _progress(quiet=quiet) as told:
        results = benchmark(plan, out, progress=told)
    if as_json:
        found = {
            "results": results.summary(),
            "predictions": PREDICTIONS,
            "report": REPORT,
            "tables": TABLES,
            "notes": list(results.notes),
        }
        typer.echo(json.dumps(found))
        return
    for row in results.rows:
        typer.echo(_line(row))
    for note in results.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"report: {out / REPORT}")


def _of_suite(suite: "Suite | None", groups: list[str] | None) -> tuple[str, ...]:
    """A suite's models, or those of some of its groups."""
    from evaluation.errors import ConfigError
    from evaluation.suites import GROUPS

    wanted = [_one_of("--group", one, *GROUPS) for one in groups or ()]
    if suite is None:
        if wanted:
            message = "--group chooses from a suite; name it with --suite"
            raise ConfigError(message)
        return ()
    return suite.of(*wanted) if wanted else suite.models


def models(
    search: Annotated[str, typer.Argument(help="Only names that contain this.")] = "",
    at_hand: Annotated[
        bool, typer.Option("--at-hand", help="Only those whose weights are here.")
    ] = False,
    suite: Annotated[
        str | None, typer.Option(help="Only those of a named list, or a TOML file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """What can be evaluated, and whether its weights are at hand."""
    from evaluation.models import available
    from evaluation.suites import suite as open_suite

    found = available(open_suite(suite).models if suite else None)
    found = [
        info for info in found if search in info.name and (info.at_hand or not at_hand)
    ]
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


def robustness(
    points: Annotated[Path, typer.Argument(help="CSV with a row for each model.")],
    x: Annotated[str, typer.Option(help="Column of accuracies in distribution.")],
    y: Annotated[str, typer.Option(help="Column of accuracies under the shift.")],
    baseline: Annotated[
        str | None,
        typer.Option(help="COLUMN=VALUE of the rows that the line is fitted to."),
    ] = None,
    line: Annotated[
        str | None, typer.Option(help="A bundled line instead of --baseline.")
    ] = None,
    line_x: Annotated[
        str, typer.Option(help="What x was measured on, for a bundled line.")
    ] = "val",
    scale: Annotated[str, typer.Option(help="linear, logit or probit.")] = "logit",
    percent: Annotated[
        bool, typer.Option("--percent", help="Accuracies are percents, not fractions.")
    ] = False,
    n_x: Annotated[
        str | None, typer.Option(help="Column of numbers of photos behind x.")
    ] = None,
    n_y: Annotated[
        str | None, typer.Option(help="Column of numbers of photos behind y.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Column of the models' names.")
    ] = None,
    draws: Annotated[
        int, typer.Option(min=0, help="Bootstrap draws of the line; 0: none.")
    ] = 1000,
    as_json: Json = False,
) -> None:
    """How far models lie above a line of baseline models."""
    from evaluation.robustness import evaluate_points, table

    found = evaluate_points(
        points,
        x=x,
        y=y,
        scale=_one_of("--scale", scale, "linear", "logit", "probit"),
        baseline=baseline,
        line=line,
        line_x=line_x,
        percent=percent,
        n_x=n_x,
        n_y=n_y,
        label=label,
        draws=draws,
    )
    typer.echo(json.dumps(found) if as_json else table(found))


def _one_of(option: str, value: str, *allowed: str) -> Any:  # noqa: ANN401
    """The value, if it is one of those allowed.

    Raises:
        ConfigError: it is not.
    """
    from evaluation.errors import ConfigError, nearest

    if value not in allowed:
        message = f"{option} {value!r}: {nearest(value, allowed)}"
        raise ConfigError(message)
    return value


def _line(row: "Result") -> str:
    """A result for the terminal."""
    from evaluation.results import few

    asked = f"{row.label_space}, {row.prompts}" if row.prompts else row.label_space
    if row.selected_on:
        asked += "; selected on"
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
