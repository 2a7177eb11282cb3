"""The commands `theory theorem | mnist | objects`: parse, call, print; no logic."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from evaluation.theory.outputs import Line

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]
Out = Annotated[
    Path | None, typer.Option(help="Folder for a CSV, a figure and a page.")
]
Seed = Annotated[int, typer.Option(min=0, help="Of all random numbers.")]

HELP = "CounterAnimal's theorem and its two experiments, run."


def register(app: typer.Typer) -> None:
    """Add the sub-application `theory` to an application."""
    # of the application's own kind, which maps errors to exit codes
    theory = typer.Typer(
        cls=app.info.cls,
        help=HELP,
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    theory.command()(theorem)
    theory.command()(mnist)
    theory.command()(objects)
    app.add_typer(theory, name="theory")


def theorem(
    mu_spu: Annotated[
        list[float] | None,
        typer.Option(help="Mean of the spurious latent; repeatable. Default 1 and 2."),
    ] = None,
    p: Annotated[
        list[float] | None,
        typer.Option(
            "-p", help="Chance that attribute and class agree; repeatable. Default .95."
        ),
    ] = None,
    mu_inv: Annotated[float, typer.Option(help="Mean of the invariant latent.")] = 1.0,
    s_inv: Annotated[
        float, typer.Option(help="Standard deviation of the invariant latent.")
    ] = 1.0,
    s_spu: Annotated[
        float, typer.Option(help="Standard deviation of the spurious latent.")
    ] = 0.5,
    s_xi: Annotated[
        float, typer.Option(help="Noise of photos and captions, as the theorem's s_xi.")
    ] = 0.0,
    pairs: Annotated[
        int | None,
        typer.Option("-n", "--pairs", help="Training pairs of a run. Default 10,000."),
    ] = None,
    runs: Annotated[
        int | None,
        typer.Option(min=0, help="Training sets; 0: formulas only. Default 20."),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="100,000 pairs and 100 runs.")
    ] = False,
    seed: Seed = 0,
    out: Out = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Theorem 6.2: as printed, exact, and simulated, side by side."""
    from evaluation.theory import outputs
    from evaluation.theory.theorem import Setting, curve, table

    pairs = pairs if pairs is not None else 100_000 if full else 10_000
    runs = runs if runs is not None else 100 if full else 20
    worlds = [
        Setting(
            mu_inv=mu_inv,
            mu_spu=mean,
            s_inv=s_inv,
            s_spu=s_spu,
            s_xi=s_xi,
            p=chance,
            n=pairs,
            seed=seed,
        )
        for mean in mu_spu or [1.0, 2.0]
        for chance in p or [0.95]
    ]
    first = {world.mu_spu: world for world in worlds}
    drawn = [world for one in first.values() for world in curve(one)] if out else []
    asked = list(dict.fromkeys([*worlds, *drawn]))
    with _progress("worlds", quiet=quiet) as told:
        found = table(asked, runs=runs, progress=told)
    lines = outputs.theorem_lines(found)
    shown = lines[: 2 * len(dict.fromkeys(worlds))]
    files = []
    if out:
        files = outputs.write(
            out,
            "theorem",
            lines,
            title="Theorem 6.2: printed, exact, simulated",
            notes=_THEOREM_NOTES,
            figure=outputs.theorem_figure(lines),
        )
    _answer(shown, files, out, as_json=as_json, line=outputs.theorem_text)


def mnist(
    digits: Annotated[
        str,
        typer.Option(
            help="sklearn (offline; not MNIST), mnist (downloaded once), or a folder "
            "that has MNIST/raw/."
        ),
    ] = "sklearn",
    classes: Annotated[
        list[int] | None,
        typer.Option(
            "-k",
            "--classes",
            help="Classes: 2, 3, 5, 6, 8 or 10; repeatable. Default 2, 5 and 10.",
        ),
    ] = None,
    p_inv: Annotated[
        float | None, typer.Option(help="Chance that a label is right; with --p-spu.")
    ] = None,
    p_spu: Annotated[
        float | None,
        typer.Option(help="Chance that colour and label agree; with --p-inv."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Training sets. Default 3, with --full 10.")
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="All of Table 8: every number of classes, as many training photos, "
            "10 seeds; about an hour on two cores.",
        ),
    ] = False,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the photos.")] = 10,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:<n>.")] = "cpu",
    seed: Seed = 0,
    out: Out = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """MultiColoredMNIST: contrastive against supervised, beside the paper's Table 8."""
    from evaluation.errors import ConfigError
    from evaluation.models._forward import devices
    from evaluation.theory import outputs
    from evaluation.theory.colored_mnist import CLASSES, SHARES, Training, table, worlds
    from evaluation.theory.digits import digits as read

    if (p_inv is None) != (p_spu is None):
        message = "--p-inv and --p-spu are given together or not at all"
        raise ConfigError(message)
    asked = worlds(
        classes or (CLASSES if full else (2, 5, 10)),
        shares=SHARES if p_inv is None or p_spu is None else ((p_inv, p_spu),),
        at_most=None if full else 2000,
        n_test=10_000 if full else 2000,
    )
    training = Training(epochs=epochs, device=str(devices(device)[0]))
    greys = read(digits)
    with _progress("worlds", quiet=quiet) as told:
        cells = table(
            asked,
            greys,
            seeds=seeds if seeds is not None else 10 if full else 3,
            seed=seed,
            training=training,
            progress=told,
        )
    lines = outputs.mnist_lines(cells)
    notes = [f"Digits: {greys.name}.", *_MNIST_NOTES]
    files = []
    if out:
        files = outputs.write(
            out,
            "mnist",
            lines,
            title=f"MultiColoredMNIST on {greys.name}",
            notes=notes,
            figure=outputs.mnist_figure(lines),
        )
    if not as_json:
        typer.echo(notes[0])
    _answer(lines, files, out, as_json=as_json, line=outputs.mnist_text)


def objects(
    model: Annotated[
        str,
        typer.Option("-m", "--model", help="demo:clip-balanced, or any open_clip:… ."),
    ] = "demo:clip-balanced",
    cutouts: Annotated[
        Path | None,
        typer.Option(
            help="Folder with <class>/*.png or <class>.png, with alpha. Default: drawn "
            "silhouettes. The source tree has some in curation/demo/assets/cutouts."
        ),
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class", help="Class of the folder; repeatable. Default: the first nine."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Training sets.")] = 1,
    full: Annotated[
        bool,
        typer.Option(
            "--full", help="The paper's grid on 9,000 photos, all weights; for a GPU."
        ),
    ] = False,
    tune: Annotated[
        str | None,
        typer.Option(
            help="head (default; image features are fixed) or all (with --full)."
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Of one training. Default 60, with --full 2,000.")
    ] = None,
    photos: Annotated[
        int | None,
        typer.Option(
            min=3, help="To train on, and of each test. Default 270, with --full 9,000."
        ),
    ] = None,
    lr: Annotated[
        list[float] | None,
        typer.Option(help="Learning rates tried; repeatable. Default .001 to .00001."),
    ] = None,
    weight_decay: Annotated[
        list[float] | None,
        typer.Option(help="Weight decays tried; repeatable. Default .1 and .00001."),
    ] = None,
    warmup: Annotated[
        list[int] | None,
        typer.Option(help="Steps of warm-up tried; repeatable. Default 0 and 20."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:<n>.")] = "auto",
    seed: Seed = 0,
    out: Out = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Coloured objects: the CLIP loss against ERM, as the paper's Table 7."""
    from dataclasses import replace

    from evaluation.errors import ConfigError
    from evaluation.theory import outputs
    from evaluation.theory.colored_objects import FULL, Design, table
    from evaluation.theory.cutouts import drawn, read

    if classes and cutouts is None:
        message = "--class names classes of a folder: give --cutouts"
        raise ConfigError(message)
    design = FULL if full else Design()
    changed: dict[str, Any] = {
        "tune": tune,
        "steps": steps,
        "rates": lr and tuple(lr),
        "decays": weight_decay and tuple(weight_decay),
        "warmups": warmup and tuple(warmup),
        "device": device,
    }
    if photos is not None:
        changed |= {"n_train": photos, "n_choose": photos // 3, "n_test": photos}
    design = replace(design, **{k: v for k, v in changed.items() if v is not None})
    things = read(cutouts, classes=classes or ()) if cutouts else drawn()
    with _progress("trainings", quiet=quiet) as told:
        found = table(
            model, things, design=design, seeds=seeds, seed=seed, progress=told
        )
    lines = outputs.objects_lines(found, things.name)
    unseen = (
        "test objects were not trained on"
        if things.held_out
        else "one cut-out a class: the same objects in training and tests"
    )
    about = (
        f"{len(things.classes)} classes, {things.name}, composed on plain colours; "
        f"{unseen}; {design.n_train} training photos; not the paper's COCO photos."
    )
    files = []
    if out:
        files = outputs.write(
            out,
            "objects",
            lines,
            title="Coloured objects: CLIP loss against ERM",
            notes=[about, *_OBJECTS_NOTES],
            figure=outputs.objects_figure(lines),
        )
    if not as_json:
        typer.echo(about)
    more = {"about": about, "paper": outputs.paper_objects_lines()}
    _answer(lines, files, out, as_json=as_json, line=outputs.objects_text, more=more)


_THEOREM_NOTES = (
    "Points. The printed formula is the definition's own only at mu_inv = mu_spu = 1 "
    "with prompts (y, 0); exact values are for the number of pairs growing.",
    "Intervals (95 %) are of the mean over runs, each with its own training set.",
)
_MNIST_NOTES = (
    "Points, mean and standard deviation over seeds. paper_… is Table 8 as printed.",
    "Networks and training are ours: numbers are set beside the paper's, not expected "
    "to equal them. n_distinct is how many different digits training photos show.",
)
_OBJECTS_NOTES = (
    "Points, with 95 % intervals. In distribution a colour agrees with its class in "
    "80 %; out of distribution every photo has another class's colour.",
    "A demonstration on composed photos unless it was run with a published model and "
    "real cut-outs.",
)


def _answer(
    lines: "list[Line]",
    files: list[str],
    out: Path | None,
    *,
    as_json: bool,
    line: "Callable[[Line], str]",
    more: dict[str, Any] | None = None,
) -> None:
    if as_json:
        typer.echo(json.dumps({"rows": lines, "files": files, **(more or {})}))
        return
    for row in lines:
        typer.echo(line(row))
    for file in files:
        typer.echo(f"written: {(out or Path()) / file}")


def _progress(what: str, *, quiet: bool) -> "AbstractContextManager[Any]":
    """A progress bar on stderr, as a function of done and total."""
    if quiet:
        return nullcontext(lambda done, total: None)
    from evaluation.progress import bar

    return bar(what)
