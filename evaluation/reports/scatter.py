"""Accuracy against accuracy, with fitted lines, as SVG that follows the page."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from evaluation.reports import svg
from evaluation.reports.models import KINDS, Kind, Who
from evaluation.results import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLE: dict[Kind, tuple[str, str]] = {
    "text": ("o", svg.FIRST),
    "classifier": ("s", svg.SECOND),
    "answering": ("^", svg.THIRD),
    "baseline": ("D", svg.FAINT),
}
"""Marker and colour of each kind of model, in every figure."""

MANY = 60
"""Models beyond which a figure leaves intervals to the tables."""

_TICKS = (0.1, 0.5, 1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99, 99.5, 99.9)
_EDGE = 5e-4  # accuracies of 0 and 1 have no place on a logit or probit axis
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A model in the plot; points (0-100).

    Attributes:
        who: the model.
        x: accuracy on the x axis.
        y: accuracy on the y axis.
        x_ci: interval of `x`.
        y_ci: interval of `y`.
    """

    who: Who
    x: float
    y: float
    x_ci: Interval = None
    y_ci: Interval = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """A fitted line; points (0-100).

    Attributes:
        name: what it was fitted to.
        kind: whose colour it has.
        places: (x, y) along the line.
        band: (x, low, high); empty without.
    """

    name: str
    kind: Kind
    places: Sequence[tuple[float, float]]
    band: Sequence[tuple[float, float, float]] = ()


def forward(scale: str) -> Callable[[float], float]:
    """Points to places on an axis; ends of the scale are moved inside.

    Example:
        >>> forward("logit")(50.0), forward("linear")(50.0), forward("probit")(50.0)
        (0.0, 50.0, 0.0)
    """

    def inside(value: float) -> float:
        return min(max(value / 100, _EDGE), 1 - _EDGE)

    if scale == "logit":
        return lambda value: math.log(inside(value) / (1 - inside(value)))
    if scale == "probit":
        return lambda value: _NORMAL.inv_cdf(inside(value))
    return float


def backward(scale: str) -> Callable[[float], float]:
    """Places on an axis to points.

    Example:
        >>> round(backward("logit")(forward("logit")(30.0)), 6)
        30.0
    """
    if scale == "logit":
        return lambda value: 50 * (1 + math.tanh(value / 2))
    if scale == "probit":
        return lambda value: 100 * _NORMAL.cdf(value)
    return float


def scatter(
    marks: Sequence[Mark],
    tracks: Sequence[Track] = (),
    *,
    names: tuple[str, str],
    about: str,
    scale: str = "linear",
    equal: str = "",
) -> str:
    """An SVG element.

    Args:
        marks: at least one model.
        tracks: fitted lines.
        names: labels of the axes.
        about: alternative text.
        scale: of both axes.
        equal: what to write at the line x = y; it is not drawn without.
    """
    whole = [mark for mark in marks if math.isfinite(mark.x) and math.isfinite(mark.y)]
    kinds = {(mark.who.kind, mark.who.demonstration) for mark in whole}
    entries = len(kinds) + len(tracks) + any(mark.who.selected for mark in whole)
    height = 5.1 + svg.LEGEND_LINE * entries

    def paint(figure: "Figure") -> None:
        axes = svg.axes_at(figure, left=0.62, bottom=0.55, width=4.6, height=4.4)
        _frame(axes, whole, tracks, scale=scale, equal=equal, names=names)
        for track in tracks:
            _track(axes, track, scale)
        for mark in sorted(whole, key=_layer):
            few = len(whole) <= MANY
            _draw(axes, mark, scale, intervals=few, size=6.5 if few else 4.5)
        _entries(axes, whole)
        _numbers(axes, whole, scale)
        svg.legend(axes)

    return svg.draw(5.4, height, paint, about=about)


def small(
    marks: Sequence[Mark],
    tracks: Sequence[Track],
    *,
    title: str,
    names: tuple[str, str],
    about: str,
) -> str:
    """One of many panels: no legend, no numbers."""
    whole = [mark for mark in marks if math.isfinite(mark.x) and math.isfinite(mark.y)]

    def paint(figure: "Figure") -> None:
        axes = svg.axes_at(figure, left=0.55, bottom=0.5, width=2.2, height=2.0)
        _frame(axes, whole, tracks, scale="linear", equal="", names=names)
        for track in tracks:
            _track(axes, track, "linear")
        for mark in sorted(whole, key=_layer):
            _draw(axes, mark, "linear", intervals=False, size=4.5)
        axes.set_title(title, fontsize=10, color=svg.INK, loc="left")

    return svg.draw(2.9, 2.8, paint, about=about)


def _layer(mark: Mark) -> tuple[bool, bool]:
    """Baselines lie below; hollow marks on top, where they hide nothing."""
    return mark.who.kind != "baseline", mark.who.demonstration


def _frame(
    axes: "Axes",
    marks: Sequence[Mark],
    tracks: Sequence[Track],
    *,
    scale: str,
    equal: str,
    names: tuple[str, str],
) -> None:
    to = forward(scale)
    x = _range([e for m in marks for e in (m.x, *(m.x_ci or ()))], scale)
    y = _range([e for m in marks for e in (m.y, *(m.y_ci or ()))], scale)
    if equal and not _comparable(x, y):
        x = y = (min(x[0], y[0]), max(x[1], y[1]))
    axes.set(xlim=x, ylim=y, xlabel=names[0], ylabel=names[1])
    if equal and max(x[0], y[0]) < min(x[1], y[1]):
        _diagonal(axes, marks, (max(x[0], y[0]), min(x[1], y[1])), equal)
    if scale != "linear":
        for axis, (low, high) in ((axes.xaxis, x), (axes.yaxis, y)):
            ticks = [tick for tick in _TICKS if low <= to(tick) <= high]
            axis.set_ticks([to(tick) for tick in ticks], [f"{t:g}" for t in ticks])


def _comparable(x: tuple[float, float], y: tuple[float, float]) -> bool:
    """Whether ranges of their own leave the line x = y to be seen, and not twisted."""
    wide, high = x[1] - x[0], y[1] - y[0]
    return min(x[1], y[1]) - max(x[0], y[0]) >= 0.3 * wide and 0.5 < wide / high < 2


def _diagonal(
    axes: "Axes", marks: Sequence[Mark], ends: tuple[float, float], said: str
) -> None:
    """The line x = y, as far as it lies inside, and what it means where it is free."""
    low, high = ends
    axes.plot(ends, ends, color=svg.FAINT, linestyle=(0, (4, 3)), linewidth=0.9)
    place = axes.transData.transform
    (x, y), (right, top) = place([(low, low), (high, high)])
    if right - x < 60:
        return
    dots = [place((mark.x, mark.y)) for mark in marks]

    def room(part: float) -> float:
        middle = (x + part * (right - x) - 20, y + part * (top - y) - 15)
        return min((math.dist(middle, dot) for dot in dots), default=0.0)

    part = max((0.98, 0.75, 0.5, 0.3), key=lambda one: min(room(one), 50))
    axes.text(
        low + part * (high - low), low + part * (high - low), f"{said} ",
        color=svg.FAINT, ha="right", va="bottom",
        rotation=math.degrees(math.atan2(top - y, right - x)),
        rotation_mode="anchor", fontsize=9,
    )  # fmt: skip


def _range(ends: Sequence[float], scale: str) -> tuple[float, float]:
    to = forward(scale)
    places = [to(end) for end in ends if math.isfinite(end)] or [to(50.0)]
    room = max(4.0 if scale == "linear" else 0.15, 0.06 * (max(places) - min(places)))
    low, high = min(places) - room, max(places) + room
    return (max(0.0, low), min(100.0, high)) if scale == "linear" else (low, high)


def _track(axes: "Axes", track: Track, scale: str) -> None:
    to = forward(scale)
    colour = STYLE[track.kind][1]
    places = [(x, y) for x, y in track.places if math.isfinite(x) and math.isfinite(y)]
    dashed = (0, (6, 2)) if track.kind == "classifier" else "-"
    axes.plot(
        [to(x) for x, _ in places], [to(y) for _, y in places],
        color=colour, linewidth=1.3, linestyle=dashed, label=track.name,
    )  # fmt: skip
    band = [one for one in track.band if all(math.isfinite(value) for value in one)]
    if band:
        axes.fill_between(
            [to(x) for x, _, _ in band],
            [to(low) for _, low, _ in band],
            [to(high) for _, _, high in band],
            color=colour, alpha=0.14, linewidth=0,
        )  # fmt: skip


def _draw(
    axes: "Axes", mark: Mark, scale: str, *, intervals: bool, size: float = 6.5
) -> None:
    to = forward(scale)
    marker, colour = STYLE[mark.who.kind]
    x, y = to(mark.x), to(mark.y)
    if intervals:
        for ends, flat in ((mark.x_ci, True), (mark.y_ci, False)):
            if ends and all(math.isfinite(end) for end in ends):
                both = [to(end) for end in ends]
                across = ([x, x], both)
                axes.plot(
                    *((both, [y, y]) if flat else across),
                    color=colour, linewidth=0.7, alpha=0.55,
                )  # fmt: skip
    if mark.who.kind == "baseline":
        size = 3.5
    edge = colour if mark.who.demonstration else svg.PAPER
    if mark.who.selected:
        edge = svg.INK
    axes.plot(
        [x], [y],
        marker="*" if mark.who.selected else marker,
        markersize=max(9, 2 * size) if mark.who.selected else size,
        color=colour,
        markerfacecolor=svg.PAPER if mark.who.demonstration else colour,
        markeredgecolor=edge,
        markeredgewidth=0.6 if edge == svg.PAPER else 1.1,
        linestyle="none", clip_on=False, zorder=4 if mark.who.selected else 3,
    )  # fmt: skip


def _entries(axes: "Axes", marks: Sequence[Mark]) -> None:
    kinds = {(mark.who.kind, mark.who.demonstration) for mark in marks}
    order = list(KINDS)
    for kind, hollow in sorted(kinds, key=lambda one: (order.index(one[0]), one[1])):
        marker, colour = STYLE[kind]
        name = KINDS[kind]
        axes.plot(
            [], [], marker=marker, linestyle="none", color=colour,
            markersize=3.5 if kind == "baseline" else 6.5,
            markerfacecolor=svg.PAPER if hollow else colour,
            label=f"{name}, demonstration only" if hollow else name,
        )  # fmt: skip
    if any(mark.who.selected for mark in marks):
        axes.plot(
            [], [], marker="*", linestyle="none", markersize=11, color=svg.INK,
            markeredgewidth=0, label="helped to choose the groups",
        )  # fmt: skip


def _numbers(axes: "Axes", marks: Sequence[Mark], scale: str) -> None:
    """Numbers beside marks, as far as they hide neither marks nor each other."""
    to = forward(scale)
    place = axes.transData.transform
    centres = [place((to(mark.x), to(mark.y))) for mark in marks]
    dots = [(x - 4, y - 4, x + 4, y + 4) for x, y in centres]
    taken: list[tuple[float, float, float, float]] = []
    order = sorted(
        (n for n, mark in enumerate(marks) if mark.who.number is not None),
        key=lambda n: (not marks[n].who.selected, marks[n].who.number or 0),
    )
    for n in order:
        text, (x, y) = str(marks[n].who.number), centres[n]
        wide, high = 5.4 * len(text) + 1, 8.0
        for right, up in ((1, 1), (-1, 1), (1, -1), (-1, -1), (1, 0), (-1, 0), (0, 1)):
            left = x + (6 if right > 0 else -6 - wide if right < 0 else -wide / 2)
            low = y + (3 if up > 0 else -3 - high if up < 0 else -high / 2)
            low += 4 * (not right)
            box = (left, low, left + wide, low + high)
            others = dots[:n] + dots[n + 1 :] + taken
            if any(_overlap(box, other) for other in others):
                continue
            taken.append(box)
            axes.annotate(
                text, (to(marks[n].x), to(marks[n].y)), color=svg.INK, fontsize=8.5,
                xytext=(left - x, low - y), textcoords="offset points",
            )  # fmt: skip
            break
        else:
            if marks[n].who.selected:
                taken.append((x + 50, y - 62, x + 52 + wide, y - 50))
                axes.annotate(
                    text, (to(marks[n].x), to(marks[n].y)), color=svg.INK, fontsize=8.5,
                    xytext=(50, -60), textcoords="offset points",
                    arrowprops={"arrowstyle": "-", "color": svg.INK, "lw": 0.6},
                )  # fmt: skip


def _overlap(
    one: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> bool:
    return (
        one[0] < other[2]
        and other[0] < one[2]
        and one[1] < other[3]
        and other[1] < one[3]
    )
