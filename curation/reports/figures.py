"""The figures as files: SVG and PDF, the same bytes every time."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.reports.charts import Point, around
from curation.reports.drops import ClassDrop, Drops
from curation.reports.facts import Estimate
from curation.reports.scores import Score, class_points, points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY, INK = "#0072B2", "#D55E00", "#8A8A86", "#222222"
GROUPS = {"common": (BLUE, "o"), "counter": (ORANGE, "D"), "unused": (GREY, "s")}
STANDING = {"discovery": ORANGE, "sibling": "#CC79A7", "independent": BLUE}
NAMES = ("drop_per_class", "models", "classes", "backgrounds")

_STYLE: dict[str, Any] = {
    "svg.hashsalt": "counterset",
    "svg.fonttype": "path",
    "pdf.fonttype": 3,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E4E2DC",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
}


def save(
    folder: Path, drops: Drops, scores: Sequence[Score], *, note: str
) -> list[str]:
    """Write the figures there is data for into `folder`; earlier ones are replaced.

    Args:
        folder: made when it does not exist.
        drops: the evidence.
        scores: results of models.
        note: put under each figure, such as that photos are composed; may be empty.

    Returns: names of the files written, sorted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        for suffix in ("svg", "pdf"):
            (folder / f"{name}.{suffix}").unlink(missing_ok=True)
    wanted: dict[str, tuple[bool, Callable[[], Figure]]] = {
        "drop_per_class": (bool(drops.tested), lambda: _drop_figure(drops)),
        "models": (bool(scores), lambda: _models_figure(scores)),
        "classes": (any(s.classes for s in scores), lambda: _classes_figure(scores)),
        "backgrounds": (
            any(row.cells for row in drops.classes),
            lambda: _backgrounds_figure(drops),
        ),
    }
    written: list[str] = []
    for name, (there, draw) in wanted.items():
        if there:
            written += _write(folder, name, draw, note)
    return sorted(written)


def _write(
    folder: Path, name: str, draw: Callable[[], "Figure"], note: str
) -> list[str]:
    import matplotlib as mpl

    names = []
    with mpl.rc_context():
        mpl.rcdefaults()  # a matplotlibrc of the user's would change the bytes
        mpl.rcParams.update(_STYLE)  # type: ignore[arg-type]
        figure = draw()
        if note:
            figure.supxlabel(note, fontsize=7, color=GREY, x=0.01, ha="left")
        figure.draw_without_rendering()  # lays out once for both files
        figure.set_layout_engine("none")
        for suffix, dates in (("svg", {"Date": None}), ("pdf", {"CreationDate": None})):
            file = io.BytesIO()
            figure.savefig(file, format=suffix, metadata=dates)
            (folder / f"{name}.{suffix}").write_bytes(file.getvalue())
            names.append(f"{name}.{suffix}")
    return names


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _reach(estimate: Estimate) -> list[list[float]] | None:
    """Lengths of an error bar below and above, None without an interval."""
    if not estimate.bounded:
        return None
    value = estimate.value or 0.0
    below = max(0.0, value - (estimate.low or 0.0))
    return [[below], [max(0.0, (estimate.high or 0.0) - value)]]


def _drop_figure(drops: Drops) -> "Figure":
    rows: list[ClassDrop] = [*([drops.overall] if drops.overall else []), *drops.tested]
    figure = _figure(7.2, 1.2 + 0.36 * len(rows))
    axes = figure.subplots()
    for at, row in enumerate(rows):
        for estimate, shift, colour, face in (
            (row.naive, -0.14, GREY, "white"),
            (row.cross, 0.14, ORANGE if row.kept or row.p is None else GREY, None),
        ):
            if estimate.known:
                _dot(axes, estimate, at + shift, colour=colour, face=face)
    axes.set_yticks(range(len(rows)), [_named(row) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axis = around(e for row in rows for e in (row.naive, row.cross))
    axes.set_xlim(axis.low, axis.high)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_xlabel("drop, points (common − counter); bars: 95 % intervals")
    axes.set_title(
        "Drop per class: hollow naive, solid cross-fitted; * q ≤ 0.05",
        loc="left",
        fontsize=10,
    )
    return figure


def _named(row: ClassDrop) -> str:
    return f"{row.name}{' *' if row.significant else ''}"


def _dot(
    axes: "Axes", estimate: Estimate, at: float, *, colour: str, face: str | None
) -> None:
    axes.errorbar(
        [estimate.value or 0.0],
        [at],
        xerr=_reach(estimate),
        fmt="o",
        color=colour,
        markerfacecolor=face or colour,
        markersize=5,
        linewidth=1.4,
    )


def _scatter(axes: "Axes", shown: Sequence[Point]) -> None:
    axes.plot([0, 100], [0, 100], color=INK, linewidth=0.8, linestyle="--")
    for point in shown:
        if not (point.across.known and point.up.known):
            continue
        axes.errorbar(
            [point.across.value or 0.0],
            [point.up.value or 0.0],
            xerr=_reach(point.across),
            yerr=_reach(point.up),
            fmt="o",
            color=STANDING.get(point.kind, BLUE),
            markersize=5,
            linewidth=0.8,
        )
        axes.annotate(
            point.label,
            (point.across.value or 0.0, point.up.value or 0.0),
            xytext=(5, 4),
            textcoords="offset points",
            fontsize=7,
        )
    axes.set_xlim(-2, 102)
    axes.set_ylim(-2, 102)
    axes.set_aspect("equal")
    axes.set_xlabel("accuracy on common backgrounds, %")


def _models_figure(scores: Sequence[Score]) -> "Figure":
    figure = _figure(5.2, 5.2)
    axes = figure.subplots()
    _scatter(axes, points(list(scores)))
    axes.set_ylabel("accuracy on counter backgrounds, %")
    axes.set_title(
        "Models; orange: backgrounds chosen with it", loc="left", fontsize=10
    )
    return figure


def _classes_figure(scores: Sequence[Score]) -> "Figure":
    shown = [score for score in scores if score.classes][:6]
    across = min(3, len(shown))
    down = -(-len(shown) // across)
    figure = _figure(0.6 + 3.6 * across, 0.4 + 3.7 * down)
    grid = figure.subplots(down, across, squeeze=False)
    for axes, score in zip(grid.flat, shown, strict=False):
        _scatter(axes, class_points(score))
        axes.set_title(score.model, loc="left", fontsize=9)
    for axes in grid.flat[len(shown) :]:
        axes.set_axis_off()
    for axes in grid[:, 0]:
        axes.set_ylabel("counter backgrounds, %")
    return figure


def _backgrounds_figure(drops: Drops) -> "Figure":
    shown = [row for row in drops.classes if row.cells]
    across = min(3, len(shown))
    down = -(-len(shown) // across)
    most = max(len(row.cells) for row in shown)
    figure = _figure(0.5 + 3.2 * across, 0.8 + down * (0.7 + 0.26 * most))
    grid = figure.subplots(down, across, squeeze=False)
    for axes, row in zip(grid.flat, shown, strict=False):
        for at, cell in enumerate(row.cells):
            colour, marker = GROUPS.get(cell.group, GROUPS["unused"])
            if cell.accuracy.known:
                axes.errorbar(
                    [cell.accuracy.value or 0.0],
                    [at],
                    xerr=_reach(cell.accuracy),
                    fmt=marker,
                    color=colour,
                    markersize=5,
                )
        names = [f"{cell.background} ({cell.accuracy.n})" for cell in row.cells]
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(-3, 103)
        axes.set_title(_named(row), loc="left", fontsize=9)
    for axes in grid.flat[len(shown) :]:
        axes.set_axis_off()
    figure.suptitle(
        "Accuracy per background, % (photos); circle common, diamond counter",
        x=0.01,
        ha="left",
        fontsize=10,
    )
    return figure
