"""Arithmetic of the figures drawn in the page.

Figures are SVG written by the templates. Across, places are percents, so a figure
takes the width it is given while its text keeps its size; colours are the page's
variables, so it follows the theme.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from curation.reports.facts import Estimate


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear axis and its ticks, in the data's units."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """Place of a value along the axis, percent, kept within it.

        Example:
            >>> Axis(0, 50, ()).at(20)
            40.0
        """
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 3)


PERCENT = Axis(0, 100, (0, 50, 100))


def around(estimates: Iterable[Estimate]) -> Axis:
    """An axis in points that holds all these estimates, their intervals, and zero."""
    values = [
        value
        for estimate in estimates
        for value in (estimate.value, estimate.low, estimate.high)
        if value is not None
    ]
    low, high = min([0.0, *values]), max([10.0, *values])
    step = next((s for s in (5, 10, 20, 25, 50) if (high - low) / s <= 6), 50)
    first, last = math.floor(low / step), math.ceil(high / step)
    ticks = tuple(float(step * at) for at in range(first, last + 1))
    return Axis(ticks[0], ticks[-1], ticks)


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a scatter: common accuracy across, counter accuracy up, 0-100."""

    label: str
    across: Estimate
    up: Estimate
    kind: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Placed:
    """A point with its label's place, in the scatter's own pixels."""

    point: Point
    x: float
    y: float
    label_x: float
    label_y: float
    anchor: str


@dataclass(frozen=True, slots=True)
class Scatter:
    """A square scatter over 0-100 both ways, with labels that do not collide."""

    side: int = 420
    left: int = 44
    top: int = 12
    room: int = 360

    def x(self, value: float) -> float:
        """Pixels from the left edge."""
        return round(self.left + self.room * value / 100, 2)

    def y(self, value: float) -> float:
        """Pixels from the upper edge."""
        return round(self.top + self.room * (1 - value / 100), 2)

    def place(self, points: Sequence[Point]) -> list[Placed]:
        """Points that have both values; a label without room is left to the tooltip."""
        whole = [p for p in points if p.across.known and p.up.known]
        spots = [(self.x(p.across.value or 0), self.y(p.up.value or 0)) for p in whole]
        taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in spots]
        lines = [line for p in whole for line in self._whiskers(p)]
        placed = []
        for point, (x, y) in zip(whole, spots, strict=True):
            label_x, label_y, anchor = 0.0, 0.0, ""
            # off the whiskers where there is room; on one rather than not at all
            for off in (lines, []):
                if point.label and not anchor:
                    label_x, label_y, anchor = self._label(
                        point.label, x, y, taken, off
                    )
            placed.append(Placed(point, x, y, label_x, label_y, anchor))
        return placed

    def _whiskers(self, point: Point) -> Iterator["_Box"]:
        """The intervals' lines, as boxes."""
        x, y = self.x(point.across.value or 0), self.y(point.up.value or 0)
        if point.across.bounded:
            ends = point.across.low or 0, point.across.high or 0
            yield self.x(ends[0]), y - 1, self.x(ends[1]), y + 1
        if point.up.bounded:
            ends = point.up.low or 0, point.up.high or 0
            yield x - 1, self.y(ends[1]), x + 1, self.y(ends[0])

    def _label(
        self, text: str, x: float, y: float, taken: list["_Box"], lines: list["_Box"]
    ) -> tuple[float, float, str]:
        width = 6.6 * len(text)
        for down in (4, -9, 17, -20, 28, -32, 40):
            for anchor, left in (("start", x + 10), ("end", x - 10 - width)):
                box = (left, y + down - 10, left + width, y + down + 3)
                inside = box[0] >= 2 and box[2] <= self.side - 2 and box[1] >= 2
                if (
                    inside
                    and box[3] <= self.top + self.room
                    and _free(box, [*taken, *lines])
                ):
                    taken.append(box)
                    start = left if anchor == "start" else left + width
                    return round(start, 2), round(y + down, 2), anchor
        return 0.0, 0.0, ""


_Box = tuple[float, float, float, float]


def _free(box: _Box, taken: list[_Box]) -> bool:
    return all(
        box[2] < other[0] or other[2] < box[0] or box[3] < other[1] or other[3] < box[1]
        for other in taken
    )
