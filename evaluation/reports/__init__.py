"""The report of a benchmark: one self-contained HTML page, no request leaves it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from evaluation.reports.scatter import Point, scatter
from evaluation.results import few

if TYPE_CHECKING:
    from evaluation.results import Result, Results


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the page's tables: a result and the number it goes by on the page."""

    number: int
    result: "Result"

    @property
    def demonstration(self) -> bool:
        """Whether the model says of itself that it only demonstrates."""
        return "demonstration" in self.result.note.lower()


@dataclass(frozen=True, slots=True)
class Section:
    """One dataset of the page."""

    dataset: str
    lines: Sequence[Line]
    figure: Markup | None
    grouped: bool


def page(results: "Results") -> str:
    """The report's HTML; equal results give equal text.

    Args:
        results: of any models and datasets.
    """
    names = list(dict.fromkeys(row.dataset for row in results.rows))
    sections = []
    for name in names:
        rows = [row for row in results.rows if row.dataset == name]
        # a model that is wrong everywhere has no drop: order by what it gets right
        rows.sort(key=lambda row: (-(row.counter or 0), -row.accuracy))
        lines = [Line(number, row) for number, row in enumerate(rows, start=1)]
        sections.append(_section(name, lines))
    environment = Environment(
        loader=PackageLoader("evaluation.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"points": points, "bounds": bounds, "few": few}
    template = environment.get_template("page.html.j2")
    return template.render(sections=sections) + "\n"


def points(value: float | None) -> str:
    """Points for people: two decimals, a true minus, a dash for None.

    Example:
        >>> points(67.128), points(-1.5), points(None)
        ('67.13', '\u22121.50', '\u2013')
    """
    if value is None:
        return "\u2013"
    text = f"{value:.2f}"
    return "0.00" if not float(text) else text.replace("-", "\u2212")


def bounds(interval: tuple[float, float] | None) -> str:
    """An interval for people.

    Example:
        >>> bounds((1, 2.5)), bounds(None)
        ('1.00 to 2.50', 'undefined')
    """
    if interval is None:
        return "undefined"
    return f"{points(interval[0])} to {points(interval[1])}"


def _section(name: str, lines: Sequence[Line]) -> Section:
    shown = [line for line in lines if line.result.drop is not None]
    marks = [_point(line) for line in shown]
    figure = None
    if marks:
        described = "; ".join(
            f"{line.number}: {line.result.model}, common {points(line.result.common)}, "
            f"counter {points(line.result.counter)}"
            for line in shown
        )
        about = (
            f"Accuracy on the counter group against the common group of {name}, in "
            f"points, with the line of no drop. {described}."
        )
        figure = Markup(scatter(marks, about=about))
    return Section(name, lines, figure, grouped=bool(marks))


def _point(line: Line) -> Point:
    row = line.result
    assert row.common is not None
    assert row.counter is not None
    return Point(
        number=line.number,
        common=row.common,
        counter=row.counter,
        common_ci=row.common_ci,
        counter_ci=row.counter_ci,
        text=row.prompts is not None,
        demonstration=line.demonstration,
    )
