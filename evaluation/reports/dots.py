"""Values of named things with intervals: one row each, as SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluation.reports import svg
from evaluation.reports.formats import short
from evaluation.results import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One value per row, of one model or group.

    Attributes:
        name: for the legend.
        marker: matplotlib's.
        colour: one of `svg`'s stand-ins.
        values: None where there is none.
        intervals: as many.
        hollow: drawn without a filling.
    """

    name: str
    marker: str
    colour: str
    values: Sequence[float | None]
    intervals: Sequence[Interval] = ()
    hollow: bool = False


def dots(
    rows: Sequence[str],
    series: Sequence[Series],
    *,
    label: str,
    about: str,
    spans: Sequence[Interval] = (),
    span_name: str = "",
    zero: float | None = None,
    zero_name: str = "",
) -> str:
    """An SVG element.

    Args:
        rows: names, from the top.
        series: at most three can be told apart.
        label: of the x axis.
        about: alternative text.
        spans: per row, the range of all models, drawn behind.
        span_name: of the spans, for the legend.
        zero: where to draw a line that means "none".
        zero_name: what it says.
    """
    pitch = max(0.2, 0.092 * len(series))
    longest = max((len(short(row)) for row in rows), default=0)
    left = min(2.3, 0.3 + 0.082 * longest)
    tall = pitch * max(len(rows), 2)
    entries = len(series) + bool(spans)
    bottom, above = 0.5, 0.15 + svg.LEGEND_LINE * entries + (0.2 if zero_name else 0)

    def paint(figure: "Figure") -> None:
        axes = svg.axes_at(
            figure, left=left, bottom=bottom, width=5.25 - left, height=tall
        )
        _rows(axes, rows)
        if zero is not None:
            axes.axvline(zero, color=svg.FAINT, linewidth=0.9, linestyle=(0, (4, 3)))
            axes.annotate(
                zero_name, (zero, 1), xycoords=("data", "axes fraction"),
                xytext=(0, 3), textcoords="offset points", ha="center",
                color=svg.FAINT, fontsize=8.5,
            )  # fmt: skip
        _spans(axes, spans, span_name)
        for order, one in enumerate(series):
            shift = (order - (len(series) - 1) / 2) * 0.62 / len(series)
            _series(axes, one, shift)
        axes.set_xlabel(label)
        svg.legend(axes, top=0.2 if zero_name else 0, left=left - 0.1)

    return svg.draw(5.4, bottom + tall + above, paint, about=about)


def _rows(axes: "Axes", rows: Sequence[str]) -> None:
    axes.set_ylim(max(len(rows), 2) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [short(row) for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    for row in range(len(rows)):
        axes.axhline(row, color=svg.FAINT, linewidth=0.4, alpha=0.35, zorder=0)


def _spans(axes: "Axes", spans: Sequence[Interval], name: str) -> None:
    for row, span in enumerate(spans):
        if span is not None:
            axes.plot(
                span, [row, row], color=svg.FAINT, linewidth=5, alpha=0.3,
                solid_capstyle="butt", zorder=1,
                label=name if row == _first(spans) else None,
            )  # fmt: skip


def _first(spans: Sequence[Interval]) -> int:
    return next(row for row, span in enumerate(spans) if span is not None)


def _series(axes: "Axes", one: Series, shift: float) -> None:
    for row, ends in enumerate(one.intervals):
        if ends is not None and all(math.isfinite(end) for end in ends):
            axes.plot(ends, [row + shift] * 2, color=one.colour, linewidth=1, zorder=2)
    found = [
        (value, row + shift)
        for row, value in enumerate(one.values)
        if value is not None and math.isfinite(value)
    ]
    axes.plot(
        [x for x, _ in found], [y for _, y in found],
        marker=one.marker, markersize=8.5 if one.marker == "*" else 5, linestyle="none",
        color=one.colour, markerfacecolor=svg.PAPER if one.hollow else one.colour,
        label=one.name, zorder=3, clip_on=False,
    )  # fmt: skip
