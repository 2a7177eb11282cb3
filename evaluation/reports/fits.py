"""Tables of fitted lines and of models in pairs."""

import math
from collections.abc import Mapping, Sequence

from evaluation.metrics.comparison import Comparison, PairedTest
from evaluation.metrics.effective_robustness import SCALES, Line
from evaluation.reports.formats import DASH, amount, bounds, number, points, share
from evaluation.reports.models import Who
from evaluation.reports.sheets import Column, Entry, Sheet, p_entry
from evaluation.results import FactorLine, Lines, Scaling


def gaps(one: Lines | FactorLine, register: Mapping[str, Who]) -> list[float]:
    """Heights of the other models above the line, points.

    Models that helped to choose the groups are not among them where the line is over
    the groups: they lie too low.
    """
    grouped = isinstance(one, Lines) and one.x == "common"
    selected = {name for name, who in register.items() if who.selected and grouped}
    return [
        100 * point.effective_robustness
        for point in one.robustness.points
        if not point.baseline
        and point.model not in selected
        and math.isfinite(point.effective_robustness)
    ]


def _mean_gap(one: Lines | FactorLine, register: Mapping[str, Who]) -> Entry:
    found = gaps(one, register)
    if not found:
        return Entry(DASH)
    return Entry(points(sum(found) / len(found)), f"of {len(found)}", strong=True)


def _scale(line: Line) -> str:
    method = "" if line.method == "least squares" else f", {line.method}"
    return line.scale + method + (", corrected" if line.corrected else "")


def lines(found: Sequence[Lines], name: str, register: Mapping[str, Who]) -> Sheet:
    """Every convention side by side: the headline depends on it."""
    several = len({one.dataset for one in found}) > 1
    columns = (
        *([Column("dataset")] if several else []),
        Column("label space"), Column("accuracy"), Column("scale"), Column("line over"),
        *(Column(title, numeric=True) for title in (
            "models", "slope", "intercept", "R\u00b2", "mean gap of the others"
        )),
    )  # fmt: skip
    rows = []
    order = list(dict.fromkeys(one.dataset for one in found))
    for one in sorted(found, key=lambda one: (order.index(one.dataset), *_order(one))):
        line = one.robustness.line
        rows.append(
            (
                *([Entry(one.dataset)] if several else []),
                Entry(one.label_space or DASH),
                Entry(one.weighting),
                Entry(_scale(line)),
                Entry(line.baseline or "baseline models"),
                Entry(str(line.n)),
                Entry(number(line.slope), _drawn(line.slope_ci)),
                Entry(number(line.intercept), _drawn(line.intercept_ci)),
                Entry(number(line.r2)),
                _mean_gap(one, register),
            )
        )
    caption = f"{name}: fitted lines in every convention"
    notes: tuple[str, ...] = (
        "Slope and intercept are on the scale named, with bootstrap intervals over "
        "models. The mean gap is how many points the models that the line was not "
        "fitted to lie above it, without models that helped to choose the groups.",
    )
    if any(one.robustness.line.corrected for one in found):
        notes += (
            "Corrected: accuracies of 0 or 1 were moved inside by (k + 1/2) / (n + 1).",
        )
    return Sheet(f"lines {name}", caption, columns, tuple(rows), notes)


def _order(one: Lines) -> tuple[object, ...]:
    line = one.robustness.line
    return (
        one.label_space,
        one.weighting,
        SCALES.index(line.scale),
        line.baseline,
        one.x,
    )


def _drawn(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else bounds(interval, 3)


def robustness(one: Lines, name: str, register: Mapping[str, Who]) -> Sheet:
    """Models above and below one line; models it was fitted to last."""
    titles = ("x", "y", "predicted", "effective robustness")
    columns = (
        Column("#", numeric=True),
        Column("model"),
        *(Column(title, numeric=True) for title in titles),
        Column("in the line"),
    )
    rows = tuple(
        (
            Entry(_number(register.get(point.model))),
            Entry(point.model),
            Entry(share(point.x)),
            Entry(share(point.y)),
            Entry(share(point.predicted)),
            Entry(
                share(point.effective_robustness),
                ""
                if point.effective_robustness_ci is None
                else bounds(point.effective_robustness_ci, times=100),
                strong=True,
            ),
            Entry("yes" if point.baseline else "no"),
        )
        for point in sorted(
            one.robustness.points,
            key=lambda point: (
                point.baseline, _falling(point.effective_robustness), point.model
            ),
        )
    )  # fmt: skip
    fitted = one.robustness
    caption = (
        f"{name}: effective robustness, points; {fitted.line.scale} line over "
        f"{fitted.line.n} {fitted.line.baseline or 'baseline models'}"
    )
    notes = (
        f"x is {fitted.x_name}, y is {fitted.y_name}, {one.weighting} accuracy; "
        "intervals are from the line's bootstrap alone.",
    )
    return Sheet(f"robustness {name}", caption, columns, rows, notes)


def _number(who: Who | None) -> str:
    return DASH if who is None else str(who.number)


def _falling(value: float) -> float:
    return -value if math.isfinite(value) else math.inf


def scaling(one: Scaling) -> Sheet:
    """The fits of a set of curves."""
    columns = (Column("family"), *(Column(title, numeric=True) for title in (
        "models", "slope", "intercept", "R\u00b2"
    )))  # fmt: skip
    rows = tuple(
        (
            Entry(curve.family or "all models"),
            Entry(str(curve.n)),
            Entry(number(curve.slope), _drawn(curve.slope_ci)),
            Entry(number(curve.intercept)),
            Entry(number(curve.r2)),
        )
        for curve in one.curves
    )
    caption = f"{place(one)}: log10(error) = intercept + slope \u00b7 log10(pairs seen)"
    return Sheet(f"scaling {place(one)}", caption, columns, rows)


def scaling_points(one: Scaling) -> Sheet:
    """The models behind the curves."""
    columns = (
        Column("model"), Column("family"), Column("pairs seen", numeric=True),
        Column("accuracy", numeric=True), Column("source"),
    )  # fmt: skip
    found = {point: None for curve in one.curves for point in curve.points}
    rows = tuple(
        (
            Entry(point.model),
            Entry(point.family or DASH),
            Entry(amount(point.seen)),
            Entry(share(point.value)),
            Entry(point.source or DASH),
        )
        for point in sorted(found, key=lambda point: (point.seen, point.model))
    )
    caption = f"{place(one)}: models by image-text pairs seen, accuracy in points"
    return Sheet(f"pairs seen {place(one)}", caption, columns, rows)


def place(one: Scaling) -> str:
    """Dataset and group, for people."""
    return f"{one.dataset}, {one.group} group" if one.group else one.dataset


def comparisons(found: Sequence[Comparison]) -> Sheet:
    """Differences of drops, and McNemar's test of all photos and each group."""
    groups = list(dict.fromkeys(test.group for one in found for test in one.tests))
    drops = any(one.drop_difference is not None for one in found)
    columns = [Column("first"), Column("second"), Column("dataset")]
    if drops:
        columns += [Column("difference of drops", numeric=True), Column("p", True)]
    for group in groups:
        name = group or "all photos"
        columns += [
            Column(f"{name}: difference", numeric=True),
            Column("only first + only second right", numeric=True),
            Column("mid-p (exact)", numeric=True),
        ]
    rows = []
    for one in found:
        line = [Entry(one.first), Entry(one.second), Entry(one.dataset)]
        if drops:
            interval = one.drop_difference_ci
            small = "" if interval is None else bounds(interval, times=100)
            line += [
                Entry(share(one.drop_difference), small, strong=True),
                p_entry(one.drop_difference_p),
            ]
        tests = {test.group: test for test in one.tests}
        for group in groups:
            line += _tested(tests.get(group))
        rows.append(tuple(line))
    caption = "Models in pairs on the same photos: first minus second, points"
    notes = (
        "Paired bootstrap interval of the difference of drops; McNemar's test of micro "
        "accuracy. The p-values are not corrected for the number of pairs.",
    )
    return Sheet("comparisons", caption, tuple(columns), tuple(rows), notes)


def _tested(test: PairedTest | None) -> list[Entry]:
    if test is None:
        return [Entry(DASH)] * 3
    return [
        Entry(share(test.difference)),
        Entry(f"{test.only_first} + {test.only_second}", f"of {test.n}"),
        Entry(p_entry(test.p_mid).text, f"({p_entry(test.p_exact).text})"),
    ]


def factor_lines(
    found: Sequence[FactorLine], name: str, register: Mapping[str, Who]
) -> Sheet:
    """Lines of factors against overall accuracy, and the others' mean gap."""
    columns = (
        Column("factor"), Column("scale"), Column("line over"),
        *(Column(title, numeric=True) for title in (
            "models", "slope", "intercept", "R\u00b2", "mean gap of the others"
        )),
    )  # fmt: skip
    rows = tuple(
        (
            Entry(one.factor.replace("_", " ")),
            Entry(_scale(one.robustness.line)),
            Entry(one.robustness.line.baseline or "baseline models"),
            Entry(str(one.robustness.line.n)),
            Entry(
                number(one.robustness.line.slope), _drawn(one.robustness.line.slope_ci)
            ),
            Entry(
                number(one.robustness.line.intercept),
                _drawn(one.robustness.line.intercept_ci),
            ),
            Entry(number(one.robustness.line.r2)),
            _mean_gap(one, register),
        )
        for one in found
    )
    caption = (
        f"{name}: accuracy per factor against overall accuracy, lines over baseline "
        "models; gaps in points"
    )
    return Sheet(f"factor lines {name}", caption, columns, rows)
