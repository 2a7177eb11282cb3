"""Results of the theory's runs as rows, CSV, figures and pages; shares in points."""

import csv
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation import tables
from evaluation.theory import colored_mnist, colored_objects
from evaluation.theory.colored_mnist import Cell
from evaluation.theory.colored_objects import Row as ObjectsRow
from evaluation.theory.theorem import PROMPTS
from evaluation.theory.theorem import Row as TheoremRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Line = dict[str, Any]

_WORLD = ("mu_inv", "mu_spu", "s_inv", "s_spu", "s_xi", "p", "n", "d_image", "d_text")
_COLOURS = ("#0b6e99", "#b3541e", "#5a8f3c", "#7a4fa3")
_NAMES = {"invariant": "(y, 0)", "mean": "E[z | y]"}
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem;
  padding: 0 1rem; color: #1c1c1c; background: #fff }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .6rem; border-bottom: 1px solid #ddd; text-align: right }
th { position: sticky; top: 0; background: #fff }
figure { margin: 1rem 0 } svg { max-width: 100%; height: auto }
.wide { overflow-x: auto }
"""


def theorem_lines(rows: Sequence[TheoremRow]) -> list[Line]:
    """One line for each world and prompt."""
    found = []
    for row in rows:
        line: Line = {name: getattr(row.setting, name) for name in _WORLD}
        line |= {"prompt": row.prompt, "runs": row.simulated and row.simulated.runs}
        for kind in ("error_disagree", "accuracy_agree"):
            for name in ("printed", "exact", "simulated"):
                formula = getattr(row, name)
                line[f"{kind}_{name}"] = formula and _points(getattr(formula, kind))
            bounds = row.simulated and (
                row.simulated.error_ci
                if kind == "error_disagree"
                else row.simulated.accuracy_ci
            )
            low, high = bounds or (None, None)
            line[f"{kind}_low"], line[f"{kind}_high"] = _points(low), _points(high)
        found.append(line)
    return found


def mnist_lines(cells: Sequence[Cell]) -> list[Line]:
    """One line for each world and method, with Table 8's numbers where it has them."""
    paper = {
        (int(row["n_classes"]), float(row["p_inv"]), float(row["p_spu"]))
        + (row["method"].lower(),): row
        for row in colored_mnist.paper()
    }
    found = []
    for cell in cells:
        world = cell.world
        line: Line = {
            "n_classes": world.k,
            "n_train": world.n_train,
            "n_distinct": cell.distinct,
            "p_inv": world.p_inv,
            "p_spu": world.p_spu,
            "method": cell.method,
            "digits": cell.digits,
            "seeds": cell.seeds,
        }
        printed = paper.get((world.k, world.p_inv, world.p_spu, cell.method), {})
        for name in ("rand01", "rev01", "rest"):
            mean, deviation = getattr(cell, name) or (None, None)
            line[f"{name}_mean"] = _points(mean)
            line[f"{name}_std"] = _points(deviation)
            for part in ("mean", "std"):
                value = printed.get(f"{name}_{part}")
                line[f"paper_{name}_{part}"] = float(value) if value else None
        found.append(line)
    return found


def objects_lines(rows: Sequence[ObjectsRow], objects: str) -> list[Line]:
    """One line for each approach.

    Args:
        rows: the table.
        objects: what the objects are.
    """
    return [
        {
            "model": row.model,
            "objects": objects,
            "approach": row.approach,
            "in_distribution": _points(row.in_distribution),
            "in_distribution_low": _points(row.id_ci[0]),
            "in_distribution_high": _points(row.id_ci[1]),
            "out_of_distribution": _points(row.out_of_distribution),
            "out_of_distribution_low": _points(row.ood_ci[0]),
            "out_of_distribution_high": _points(row.ood_ci[1]),
            "drop": _points(row.drop),
            "drop_low": _points(row.drop_ci[0]),
            "drop_high": _points(row.drop_ci[1]),
            "seeds": row.seeds,
            "n_test": row.n_test,
            "chosen": "; ".join(
                f"lr {one.lr:g}, weight decay {one.weight_decay:g}, "
                f"warm-up {one.warmup}"
                for one in row.chosen
            ),
        }
        for row in rows
    ]


def paper_objects_lines() -> list[Line]:
    """Table 7 as printed, points."""
    return [
        {
            "model": f"{row['backbone']}, {row['pretrain_dataset']} (paper)",
            "approach": row["approach"],
            "in_distribution": float(row["in_distribution"]),
            "out_of_distribution": float(row["out_of_distribution"]),
            "drop": float(row["drop"]),
        }
        for row in colored_objects.paper()
    ]


def write(
    out: Path,
    name: str,
    lines: Sequence[Line],
    *,
    title: str,
    notes: Sequence[str],
    figure: str,
) -> list[str]:
    """Write `<name>.csv`, `<name>.svg` and `<name>.html`; gives their names.

    Raises:
        InputError: the folder cannot be written to.
    """
    files = {
        f"{name}.csv": csv_text(lines),
        f"{name}.svg": figure,
        f"{name}.html": page(lines, title=title, notes=notes, figure=figure),
    }
    for file, text in files.items():
        tables.write_bytes(out / file, text.encode())
    return list(files)


def csv_text(lines: Sequence[Line]) -> str:
    """Lines as CSV; nothing where there is no value."""
    sink = io.StringIO()
    writer = csv.DictWriter(sink, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in row.items()} for row in lines)
    return sink.getvalue()


def page(
    lines: Sequence[Line], *, title: str, notes: Sequence[str], figure: str
) -> str:
    """A page that needs nothing else: what it is, the figure, the table."""
    head = "".join(f"<th>{html.escape(key)}</th>" for key in lines[0])
    body = "".join(
        "<tr>"
        + "".join(f"<td>{html.escape(_cell(value))}</td>" for value in line.values())
        + "</tr>\n"
        for line in lines
    )
    said = "".join(f"<p>{html.escape(note)}</p>\n" for note in notes)
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n"
        f"<h1>{html.escape(title)}</h1>\n{said}"
        f"<figure>{figure[figure.index('<svg') :]}</figure>\n"
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>\n</html>\n"
    )


def theorem_figure(lines: Sequence[Line]) -> str:
    """Error where a != y over p: printed, exact and simulated, a panel for each mu."""
    means = sorted({line["mu_spu"] for line in lines})
    figure, panels = _figure(len(means), height=3.8)
    for panel, mean in zip(panels, means, strict=True):
        rows = [line for line in lines if line["mu_spu"] == mean]
        for prompt, colour in zip(PROMPTS, _COLOURS, strict=False):
            own = sorted(
                (line for line in rows if line["prompt"] == prompt),
                key=lambda line: float(line["p"]),
            )
            across = [line["p"] for line in own]
            label = f"prompt {_NAMES[prompt]}"
            exact = [line["error_disagree_exact"] for line in own]
            panel.plot(across, exact, color=colour, label=f"exact, {label}")
            _points_with_bars(panel, own, "error_disagree", colour, across, label)
        printed = [
            (line["p"], line["error_disagree_printed"])
            for line in sorted(rows, key=lambda line: float(line["p"]))
            if line["prompt"] == "invariant"
            and line["error_disagree_printed"] is not None
        ]
        if printed:
            panel.plot(
                [place for place, _ in printed],
                [value for _, value in printed],
                color="#1c1c1c",
                ls="--",
                label="as printed",
            )
        panel.set(title=f"mu_spu = {mean:g}", xlabel="p", ylim=(0, 102))
    panels[0].set_ylabel("error where a ≠ y, points")
    panels[-1].legend(frameon=False, fontsize=8)
    return _svg(figure)


def mnist_figure(lines: Sequence[Line]) -> str:
    """Accuracy on classes 0 and 1 in Rand and Rev, ours and the paper's."""
    shares = list(dict.fromkeys((line["p_inv"], line["p_spu"]) for line in lines))
    figure, panels = _figure(len(shares), height=3.6)
    for panel, (p_inv, p_spu) in zip(panels, shares, strict=True):
        rows = [
            line for line in lines if (line["p_inv"], line["p_spu"]) == (p_inv, p_spu)
        ]
        for place, (method, test) in enumerate(
            (method, test)
            for method in colored_mnist.METHODS
            for test in ("rand01", "rev01")
        ):
            own = [line for line in rows if line["method"] == method]
            across = [line["n_classes"] for line in own]
            for prefix, style in (("", "-o"), ("paper_", ":x")):
                values = [line[f"{prefix}{test}_mean"] for line in own]
                if None in values:
                    continue
                whose = ", paper (MNIST)" if prefix else ""
                label = f"{method}, {test[:-2].title()}{whose}"
                panel.plot(
                    across, values, style, color=_COLOURS[place], label=label, ms=4
                )
        panel.set(title=f"p_inv {p_inv:g}, p_spu {p_spu:g}", ylim=(0, 100))
        panel.set_xlabel("classes")
    panels[0].set_ylabel("accuracy on classes 0 and 1, points")
    panels[-1].legend(frameon=False, fontsize=7)
    return _svg(figure)


def objects_figure(lines: Sequence[Line]) -> str:
    """Accuracy in and out of distribution, by approach, with intervals."""
    figure, (panel,) = _figure(1, height=3.6)
    for shift, kind, colour in (
        (-0.18, "in_distribution", _COLOURS[0]),
        (0.18, "out_of_distribution", _COLOURS[1]),
    ):
        values = [line[kind] for line in lines]
        bars = [
            [line[kind] - line[f"{kind}_low"] for line in lines],
            [line[f"{kind}_high"] - line[kind] for line in lines],
        ]
        places = [place + shift for place in range(len(lines))]
        label = kind.replace("_", " ")
        panel.bar(places, values, 0.34, yerr=bars, color=colour, label=label, capsize=3)
    panel.set_xticks(range(len(lines)), [line["approach"] for line in lines])
    panel.set(ylabel="accuracy, points", ylim=(0, 115))  # the legend is above the bars
    panel.legend(frameon=False, fontsize=8, ncols=2, loc="upper center")
    return _svg(figure)


def theorem_text(row: Line) -> str:
    """A world and prompt for the terminal."""

    def share(kind: str) -> str:
        printed = row[f"{kind}_printed"]
        text = f"printed {'-' if printed is None else f'{printed:.1f}'}, "
        text += f"exact {row[f'{kind}_exact']:.1f}"
        if row[f"{kind}_simulated"] is not None:
            text += (
                f", simulated {row[f'{kind}_simulated']:.1f} "
                f"[{row[f'{kind}_low']:.1f}, {row[f'{kind}_high']:.1f}]"
            )
        return text

    prompt = "(y, 0)" if row["prompt"] == "invariant" else "E[z|y]"
    return (
        f"mu_spu {row['mu_spu']:g}, p {row['p']:g}, prompt {prompt}: "
        f"error where a != y: {share('error_disagree')}; "
        f"accuracy where a = y: {share('accuracy_agree')}"
    )


def mnist_text(row: Line) -> str:
    """A world and method for the terminal."""

    def share(name: str) -> str:
        if row[f"{name}_mean"] is None:
            return "-"
        paper = row[f"paper_{name}_mean"]
        beside = "" if paper is None else f" (paper's MNIST {paper:.1f})"
        return f"{row[f'{name}_mean']:.1f} ± {row[f'{name}_std']:.1f}{beside}"

    return (
        f"k {row['n_classes']}, n {row['n_train']}, p_inv {row['p_inv']:g}, "
        f"p_spu {row['p_spu']:g}, {row['method']}: Rand 0/1 {share('rand01')}, "
        f"Rev 0/1 {share('rev01')}, rest {share('rest')}"
    )


def objects_text(row: Line) -> str:
    """An approach for the terminal."""

    def share(name: str) -> str:
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        return f"{row[name]:.1f} [{low:.1f}, {high:.1f}]"

    return (
        f"{row['model']}, {row['approach']}: in distribution "
        f"{share('in_distribution')}, out of distribution "
        f"{share('out_of_distribution')}, drop {share('drop')}"
    )


def _points_with_bars(
    panel: "Axes",
    lines: Sequence[Mapping[str, Any]],
    kind: str,
    colour: str,
    across: Sequence[float],
    label: str,
) -> None:
    values = [line[f"{kind}_simulated"] for line in lines]
    if None in values:
        return
    bars = [
        [line[f"{kind}_simulated"] - line[f"{kind}_low"] for line in lines],
        [line[f"{kind}_high"] - line[f"{kind}_simulated"] for line in lines],
    ]
    panel.errorbar(
        across, values, yerr=bars, fmt="o", ms=4, color=colour, label=f"runs, {label}"
    )


def _figure(panels: int, *, height: float) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(4.8, 3.4 * panels), height), layout="constrained")
    axes = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
    return figure, list(axes)


def _svg(figure: "Figure") -> str:
    """The figure as text; equal figures give equal text."""
    from matplotlib import rc_context

    sink = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "counterset"}):
        figure.savefig(sink, format="svg", metadata={"Date": None})
    return sink.getvalue()


def _points(share: float | None) -> float | None:
    """A fraction in points, to what a reader can use."""
    return None if share is None else round(100 * share, 4)


def _cell(value: object) -> str:
    return (
        ""
        if value is None
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
