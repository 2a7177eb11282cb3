"""Common against counter accuracy, as SVG that follows the page's colours."""

import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# stand-ins that become the page's own colours, which differ in dark mode
_INK, _FAINT, _FIRST, _SECOND = "#010203", "#040506", "#070809", "#0a0b0c"
_COLOURS = {
    _INK: "currentColor",
    _FAINT: "var(--faint)",
    _FIRST: "var(--first)",
    _SECOND: "var(--second)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A model in the plot; points (0-100).

    Attributes:
        number: what it goes by.
        common: accuracy on the common group.
        counter: accuracy on the counter group.
        common_ci: interval of `common`.
        counter_ci: interval of `counter`.
        text: compares with text, as CLIP does.
        demonstration: a demonstration model, drawn hollow.
    """

    number: int
    common: float
    counter: float
    common_ci: tuple[float, float] | None
    counter_ci: tuple[float, float] | None
    text: bool
    demonstration: bool


def scatter(marks: Sequence[Point], *, about: str) -> str:
    """An SVG element.

    Args:
        marks: at least one model.
        about: alternative text.
    """
    settings = rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "counterset",
            "font.family": "sans-serif",
            "font.size": 11,
        }
    )
    with settings:
        figure = Figure(figsize=(5.4, 5.4), layout="constrained")
        axes = figure.add_subplot()
        _frame(axes, marks)
        for mark in marks:
            _draw(axes, mark)
        _legend(axes, marks)
        file = io.BytesIO()
        figure.savefig(
            file,
            format="svg",
            transparent=True,
            metadata={"Date": None, "Creator": None},
        )
    return _for_page(file.getvalue().decode(), about)


def _frame(axes: Axes, marks: Sequence[Point]) -> None:
    ends = [end for mark in marks for end in _ends(mark)]
    low, high = max(0.0, min(ends) - 4), min(100.0, max(ends) + 4)
    axes.plot([low, high], [low, high], color=_FAINT, linestyle="--", linewidth=1)
    axes.text(
        high, high, "no drop ", color=_FAINT, ha="right", va="bottom", rotation=45,
        rotation_mode="anchor",
    )  # fmt: skip
    axes.set(
        xlim=(low, high),
        ylim=(low, high),
        aspect="equal",
        xlabel="common group, accuracy in points",
        ylabel="counter group, accuracy in points",
    )
    axes.tick_params(colors=_INK)
    axes.xaxis.label.set_color(_INK)
    axes.yaxis.label.set_color(_INK)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_INK)


def _draw(axes: Axes, mark: Point) -> None:
    colour = _FIRST if mark.text else _SECOND
    if mark.common_ci:
        axes.plot(mark.common_ci, [mark.counter] * 2, color=colour, linewidth=1)
    if mark.counter_ci:
        axes.plot([mark.common] * 2, mark.counter_ci, color=colour, linewidth=1)
    axes.plot(
        [mark.common],
        [mark.counter],
        marker="o" if mark.text else "s",
        markersize=8,
        color=colour,
        markerfacecolor="none" if mark.demonstration else colour,
        linestyle="none",
        clip_on=False,
        zorder=3,
    )
    axes.annotate(
        str(mark.number), (mark.common, mark.counter), color=_INK,
        xytext=(7, 5), textcoords="offset points",
    )  # fmt: skip


def _legend(axes: Axes, marks: Sequence[Point]) -> None:
    kinds = {(mark.text, mark.demonstration) for mark in marks}
    for text, demonstration in sorted(kinds, reverse=True):
        name = "image-text model" if text else "ImageNet classifier"
        axes.plot(
            [], [], marker="o" if text else "s", linestyle="none",
            color=_FIRST if text else _SECOND,
            markerfacecolor="none" if demonstration else None,
            label=f"{name}, demonstration only" if demonstration else name,
        )  # fmt: skip
    axes.legend(loc="upper left", frameon=False, labelcolor=_INK)


def _ends(mark: Point) -> list[float]:
    return [
        mark.common,
        mark.counter,
        *(mark.common_ci or ()),
        *(mark.counter_ci or ()),
    ]


def _for_page(svg: str, about: str) -> str:
    """The bare element, with the page's colours and an alternative text."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for stand_in, colour in _COLOURS.items():
        svg = svg.replace(stand_in, colour)
    start, rest = svg.split(">", 1)
    start = re.sub(r'\s(?:width|height)="[^"]*"', "", start)
    label = html.escape(about, quote=True)
    return f'{start} role="img" aria-label="{label}">{rest}'.strip()
