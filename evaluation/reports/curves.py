"""Curves: accuracy against samples seen, ROC, reliability; as SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluation.metrics.calibration import Calibration
from evaluation.metrics.scaling import ScalingCurve, ScalingPoint
from evaluation.reports import svg
from evaluation.reports.formats import amount, points, share, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = ("o", "s", "^", "D", "v", "P")


@dataclass(frozen=True, slots=True, kw_only=True)
class Roc:
    """One model's curve.

    Attributes:
        name: for the legend.
        places: (false positive rate, true positive rate), fractions.
        colour: one of `svg`'s stand-ins.
    """

    name: str
    places: Sequence[tuple[float, float]]
    colour: str


def roc(curves: Sequence[Roc], *, about: str, behind: Sequence[Roc] = ()) -> str:
    """ROC curves as an SVG element; `behind` are drawn faint and without names."""
    height = 3.75 + svg.LEGEND_LINE * len(curves)

    def paint(figure: "Figure") -> None:
        axes = svg.axes_at(figure, left=0.6, bottom=0.55, width=3.05, height=3.05)
        axes.plot([0, 1], [0, 1], color=svg.FAINT, linestyle=(0, (4, 3)), linewidth=0.9)
        for one in behind:
            axes.plot(*_xy(one.places), color=svg.FAINT, linewidth=0.6, alpha=0.4)
        for order, one in enumerate(curves):
            axes.plot(
                *_xy(one.places), color=one.colour, linewidth=1.4,
                label=one.name,
                linestyle=("-", (0, (6, 2)), (0, (2, 1.5)))[order // 2 % 3],
            )  # fmt: skip
        ticks = [0, 0.25, 0.5, 0.75, 1]
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.set_xticks(ticks, [f"{100 * tick:g}" for tick in ticks])
        axes.set_yticks(ticks, [f"{100 * tick:g}" for tick in ticks])
        axes.set_xlabel("unknown photos accepted, %")
        axes.set_ylabel("ID photos accepted, %")
        svg.legend(axes, left=0.5)

    return svg.draw(3.8, height, paint, about=about)


def _xy(places: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    found = [place for place in places if all(math.isfinite(end) for end in place)]
    return [x for x, _ in found], [y for _, y in found]


def scaling(curves: Sequence[ScalingCurve], *, label: str, about: str) -> str:
    """Accuracy against pairs seen as an SVG element; hollow marks are inferred."""
    families = sorted(
        (curve for curve in curves if curve.family), key=lambda curve: -curve.n
    )
    named = families[: len(svg.SERIES)]
    whole = next((curve for curve in curves if not curve.family), None)
    seen = dict.fromkeys(point for curve in named for point in curve.points)
    rest = list(
        dict.fromkeys(
            point
            for curve in (*families[len(named) :], *([whole] if whole else []))
            for point in curve.points
            if point not in seen and measured(point)
        )
    )
    all_points = [point for point in (*seen, *rest) if measured(point)]
    hollow = any(_inferred(point) for point in all_points)
    entries = len(named) + (whole is not None) + bool(rest) + hollow
    height = 3.9 + svg.LEGEND_LINE * entries

    def paint(figure: "Figure") -> None:
        axes = svg.axes_at(figure, left=0.62, bottom=0.55, width=4.6, height=3.2)
        axes.set_xscale("log")
        if whole is not None:
            _fit(axes, whole, svg.INK, "fit to all", (0, (6, 2)))
        for order, curve in enumerate(named):
            colour = svg.SERIES[order]
            _fit(axes, curve, colour, None, "-")
            _scaled(axes, curve.points, colour, _MARKERS[order], curve.family)
        if rest:
            name = "other families" if named else "models"
            _scaled(axes, rest, svg.FAINT, "o", name)
        if hollow:
            axes.plot(
                [], [], marker="o", color=svg.INK, markerfacecolor=svg.PAPER,
                linestyle="none", label="hollow: number of pairs inferred",
            )  # fmt: skip
        _log_axis(axes, all_points)
        axes.set_xlabel("image-text pairs seen in training")
        axes.set_ylabel(label)
        svg.legend(axes)

    return svg.draw(5.4, height, paint, about=about)


def _log_axis(axes: "Axes", found: Sequence[ScalingPoint]) -> None:
    from matplotlib.ticker import NullFormatter, NullLocator

    low = min(point.seen for point in found)
    high = max(point.seen for point in found)
    digits = (1,) if high / low > 300 else (1, 3) if high / low > 8 else (1, 2, 3, 5, 7)
    ticks = [
        digit * 10.0**power
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for digit in digits
        if low / 1.5 <= digit * 10.0**power <= high * 1.5
    ]
    axes.set_xlim(low / 1.6, high * 1.6)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks(ticks or [low], [amount(tick) for tick in ticks or [low]])


def measured(point: ScalingPoint) -> bool:
    """Whether a model has a place on the figure."""
    return math.isfinite(point.value) and 0 < point.seen < math.inf


def _inferred(point: ScalingPoint) -> bool:
    return point.source.startswith("inferred")


def _fit(
    axes: "Axes", curve: ScalingCurve, colour: str, name: str | None, style: object
) -> None:
    where = [point.seen for point in curve.points if measured(point)]
    if not (math.isfinite(curve.slope) and math.isfinite(curve.intercept) and where):
        return
    low, high = math.log10(min(where)), math.log10(max(where))
    steps = [low + (high - low) * step / 40 for step in range(41)]
    axes.plot(
        [10**step for step in steps],
        [100 * (1 - 10 ** (curve.intercept + curve.slope * step)) for step in steps],
        color=colour, linewidth=1.2, linestyle=style, label=name,
    )  # fmt: skip


def _scaled(
    axes: "Axes", found: Sequence[ScalingPoint], colour: str, marker: str, name: str
) -> None:
    for hollow in (False, True):
        some = [one for one in found if measured(one) and _inferred(one) is hollow]
        axes.plot(
            [one.seen for one in some], [100 * one.value for one in some],
            marker=marker, markersize=6, linestyle="none", color=colour,
            markerfacecolor=svg.PAPER if hollow else colour, clip_on=False,
        )  # fmt: skip
    axes.plot([], [], marker=marker, color=colour, linestyle="none", label=short(name))


def reliability(name: str, found: Sequence[Calibration], *, dataset: str) -> str:
    """Reliability diagrams side by side, as SVG: accuracy over confidence."""
    group = f", {found[0].group} group" if found[0].group else ""
    about = f"Reliability of {name} on {dataset}{group}. " + " ".join(
        f"{title(one)}: ECE {share(one.ece)} points, mean confidence "
        f"{share(one.confidence)}, accuracy {share(one.accuracy)}."
        for one in found
    )

    def paint(figure: "Figure") -> None:
        for order, one in enumerate(found):
            left = 0.55 + order * 2.55
            axes = svg.axes_at(figure, left=left, bottom=1.0, width=2.1, height=2.1)
            _bars(axes, one)
            axes.set_title(
                f"{title(one)}, ECE {points(100 * one.ece)}", fontsize=10,
                color=svg.INK, loc="left",
            )  # fmt: skip
            below = svg.axes_at(figure, left=left, bottom=0.5, width=2.1, height=0.4)
            _histogram(below, one)
            below.set_xlabel("confidence, %")
            if not order:
                axes.set_ylabel("accuracy, %")
                below.set_ylabel("photos", fontsize=8.5)

    return svg.draw(5.75, 3.4, paint, about=about)  # as wide as two, in every case


def title(one: Calibration) -> str:
    """What was done to the logits."""
    return f"T = {one.temperature:.3g}" if one.fitted_on else "as given"


_HUNDREDS = (0, 0.5, 1)


def _bars(axes: "Axes", one: Calibration) -> None:
    axes.plot([0, 1], [0, 1], color=svg.FAINT, linestyle=(0, (4, 3)), linewidth=0.9)
    filled = [bar for bar in one.reliability if bar.n and math.isfinite(bar.accuracy)]
    axes.bar(
        [bar.low for bar in filled], [bar.accuracy for bar in filled],
        [bar.high - bar.low for bar in filled], align="edge", color=svg.SECOND,
        alpha=0.28, edgecolor=svg.SECOND, linewidth=0.8,
    )  # fmt: skip
    axes.plot(
        [bar.confidence for bar in filled], [bar.accuracy for bar in filled],
        marker="o", markersize=3, color=svg.SECOND, linestyle="none",
    )  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_xticks(_HUNDREDS, [])
    axes.set_yticks(_HUNDREDS, ["0", "50", "100"])


def _histogram(axes: "Axes", one: Calibration) -> None:
    axes.bar(
        [bar.low for bar in one.reliability], [bar.n for bar in one.reliability],
        [bar.high - bar.low for bar in one.reliability], align="edge",
        color=svg.FAINT, alpha=0.6,
    )  # fmt: skip
    axes.set_xlim(0, 1)
    axes.set_xticks(_HUNDREDS, ["0", "50", "100"])
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
