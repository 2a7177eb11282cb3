"""Results as figures: what is drawn, and the words that stand for it."""

import math
from collections.abc import Mapping, Sequence

from evaluation.intervals import wilson
from evaluation.metrics.effective_robustness import Robustness
from evaluation.reports import svg
from evaluation.reports.curves import Roc, roc
from evaluation.reports.dots import Series, dots
from evaluation.reports.formats import number, points, share, short
from evaluation.reports.models import KINDS, Kind, Who, demonstration, shown
from evaluation.reports.scatter import (
    Mark,
    Track,
    backward,
    forward,
    scatter,
    small,
)
from evaluation.results import (
    ClassDrop,
    Detected,
    FactorLine,
    Interval,
    Lines,
    Result,
    Results,
    few,
)

Register = Mapping[str, Who]

_LOOKS = (("o", svg.FIRST), ("s", svg.SECOND), ("^", svg.THIRD))
"""Marker and colour of the few models that a figure tells apart by name."""

MOST_CLASSES = 60
_TOP, _END = 40, 15


def groups(rows: Sequence[Result], lines: Sequence[Lines], register: Register) -> str:
    """Counter against common accuracy, with the lines of both kinds of model."""
    found = [row for row in rows if row.common is not None and row.counter is not None]
    marks = [
        Mark(
            who=register[row.model],
            x=row.common or 0.0,
            y=row.counter or 0.0,
            x_ci=row.common_ci,
            y_ci=row.counter_ci,
        )
        for row in found
    ]
    tracks = [track(one.robustness, register) for one in lines]
    said = "; ".join(
        f"{register[row.model].number}: {row.model}, common {points(row.common)}, "
        f"counter {points(row.counter)}"
        for row in found[:20]
    )
    more = f"; {len(found) - 20} more in the table" if len(found) > 20 else ""
    fitted = " ".join(f"{_said(one.robustness)}." for one in lines)
    return scatter(
        marks,
        tracks,
        names=("common group, accuracy in points", "counter group, accuracy in points"),
        equal="no drop",
        about=f"Accuracy on the counter group against the common group of "
        f"{rows[0].dataset}, in points, with the line of no drop. {said}{more}. "
        f"{fitted}".strip(),
    )


def _said(one: Robustness) -> str:
    line = one.line
    return (
        f"Line over {line.n} {line.baseline or 'baseline models'}: slope "
        f"{number(line.slope)}, intercept {number(line.intercept)} ({line.scale})"
    )


def track(one: Robustness, register: Register) -> Track:
    """A fitted line from its first to its last model, or as far as its band goes."""
    line, fitted = one.line, [point for point in one.points if point.baseline]
    ends = [point.x for point in fitted or one.points] + [x for x, *_ in line.band]
    ends = [100 * end for end in ends if math.isfinite(end)]
    to, back = forward(line.scale), backward(line.scale)
    unit = 100 if line.scale == "linear" else 1
    places = []
    if ends and math.isfinite(line.slope) and math.isfinite(line.intercept):
        low, high = to(min(ends)), to(max(ends))
        for step in range(41 if line.scale != "linear" else 2):
            place = low + (high - low) * step / (40 if line.scale != "linear" else 1)
            height = line.slope * place + unit * line.intercept
            places.append((back(place), back(height)))
    return Track(
        name=f"line over {line.n} {line.baseline or 'baseline models'}",
        kind=_kind(one, register),
        places=places,
        band=[(100 * x, 100 * low, 100 * high) for x, low, high in line.band],
    )


def _kind(one: Robustness, register: Register) -> Kind:
    """The kind most models of the line are of."""
    kinds: list[Kind] = [
        register[point.model].kind if point.model in register else "baseline"
        for point in one.points
        if point.baseline
    ]
    return max(KINDS, key=kinds.count) if kinds else "baseline"


def robustness(one: Lines, register: Register) -> str:
    """Accuracy under a shift against accuracy in distribution."""
    fitted = one.robustness
    marks = [
        Mark(
            who=register.get(point.model, Who(name=point.model)),
            x=100 * point.x,
            y=100 * point.y,
            x_ci=_hundred(point.x_ci),
            y_ci=_hundred(point.y_ci),
        )
        for point in fitted.points
    ]
    others = [point for point in fitted.points if not point.baseline]
    said = "; ".join(
        f"{point.model} {share(point.effective_robustness)}" for point in others[:20]
    )
    return scatter(
        marks,
        [track(fitted, register)],
        names=(f"{fitted.x_name}, %", f"{fitted.y_name}, %"),
        scale=fitted.line.scale,
        about=f"{fitted.y_name} against {fitted.x_name}. {_said(fitted)}. Effective "
        f"robustness in points: {said or 'only models of the line'}"
        + ("; more in the table." if len(others) > 20 else "."),
    )


def class_drops(rows: Sequence[Result]) -> tuple[str, str]:
    """Drop per class of a few models before all models' range; what is left out."""
    few_rows = shown([row for row in rows if row.drops])
    order = sorted(few_rows[0].drops, key=lambda one: (-one.drop, one.name))
    names = [one.name for one in order]
    note = ""
    if len(names) > MOST_CLASSES:
        note = (
            f"The {_TOP} largest and {_END} smallest drops of {len(names)} classes; "
            "all are in the table."
        )
        names = [*names[:_TOP], *names[-_END:]]
    series, spans = [], []
    for place, row in enumerate(few_rows):
        per = {one.name: one for one in row.drops}
        series.append(
            _series(
                row,
                place,
                [per[name].drop if name in per else None for name in names],
                [newcombe(per[name]) if name in per else None for name in names],
            )
        )
    if len(rows) > len(few_rows):
        found: dict[str, list[float]] = {}
        for row in rows:
            for one in row.drops:
                found.setdefault(one.name, []).append(one.drop)
        spans = [(min(found[name]), max(found[name])) for name in names]
    largest = ", ".join(f"{one.name} {points(one.drop)}" for one in order[:5])
    return dots(
        names,
        series,
        label="drop, points",
        spans=spans,
        span_name=f"range of all {len(rows)} models",
        zero=0.0,
        zero_name="no drop",
        about=f"Drop per class on {rows[0].dataset}, sorted by "
        f"{few_rows[0].model}, whose largest are {largest} points.",
    ), note


def newcombe(one: ClassDrop) -> Interval:
    """Newcombe's interval of a class's drop, points, from two Wilson intervals.

    Source: Newcombe 1998, method 10 (Statistics in Medicine 17:873-890).

    Example:
        >>> low, high = newcombe(ClassDrop(name="a", common=80.0, counter=60.0,
        ...     drop=20.0, n_common=70, n_counter=80))  # his table II (a)
        >>> round(low, 2), round(high, 2)
        (5.24, 33.39)
    """
    if not (one.n_common and one.n_counter):
        return None
    first, second = one.common / 100, one.counter / 100
    low, high = wilson(
        [first * one.n_common, second * one.n_counter], [one.n_common, one.n_counter]
    )
    down = math.hypot(first - float(low[0]), float(high[1]) - second)
    up = math.hypot(float(high[0]) - first, second - float(low[1]))
    return 100 * (first - second - down), 100 * (first - second + up)


def _series(
    row: Result,
    order: int,
    values: Sequence[float | None],
    intervals: Sequence[Interval],
) -> Series:
    marker, colour = _LOOKS[order]
    name = short(row.model, 44)
    if row.selected_on:
        marker = "*"
    return Series(
        name=name,
        marker=marker,
        colour=colour,
        values=values,
        intervals=intervals,
        hollow=demonstration(row),
    )


def backgrounds(row: Result) -> str:
    """Accuracy per background and group of one model."""
    cells = {(cell.name, cell.group): cell for cell in row.backgrounds}
    names = list(dict.fromkeys(cell.name for cell in row.backgrounds))
    kinds = list(dict.fromkeys(cell.group for cell in row.backgrounds))
    order = sorted(kinds, key=lambda group: ("common", "counter").index(group)
                   if group in ("common", "counter") else 2)  # fmt: skip

    def lowest(name: str) -> float:
        return min(cell.accuracy for cell in row.backgrounds if cell.name == name)

    names.sort(key=lambda name: (-lowest(name), name))
    names = names[:MOST_CLASSES]
    series = [
        Series(
            name=f"{group} group" if group else "no group",
            marker=("o", "D", "s")[number_],
            colour=(svg.SECOND, svg.FIRST, svg.FAINT)[number_],
            values=[_of(cells.get((name, group))) for name in names],
            intervals=[
                cells[name, group].ci if (name, group) in cells else None
                for name in names
            ],
        )
        for number_, group in enumerate(order[:3])
    ]
    return dots(
        names,
        series,
        label="accuracy, points",
        about=f"Accuracy of {row.model} per background on {row.dataset}, with Wilson "
        f"intervals; {few(names)}.",
    )


def _of(cell: object) -> float | None:
    return None if cell is None else float(cell.accuracy)  # type: ignore[attr-defined]


def factors(rows: Sequence[Result]) -> tuple[str, str]:
    """Accuracy and error ratio per ImageNet-X factor of a few models."""
    some = shown([row for row in rows if row.factors])
    names = list(
        dict.fromkeys(
            one.factor for row in some if row.factors for one in row.factors.factors
        )
    )
    accuracy, ratio = [], []
    for place, row in enumerate(some):
        assert row.factors is not None
        per = {one.factor: one for one in row.factors.factors}
        accuracy.append(
            _series(
                row,
                place,
                [100 * per[name].accuracy if name in per else None for name in names],
                [_hundred(per[name].ci) if name in per else None for name in names],
            )
        )
        ratio.append(
            _series(
                row,
                place,
                [per[name].error_ratio if name in per else None for name in names],
                [],
            )
        )
    said = "; ".join(
        f"{row.model}: average {share(row.factors.average)}, worst "
        f"{row.factors.worst_factor}"
        for row in some
        if row.factors
    )
    labels = [name.replace("_", " ") for name in names]
    on = rows[0].dataset
    return (
        dots(
            labels, accuracy, label="accuracy, points",
            about=f"Accuracy per factor on {on}, with Wilson intervals. {said}.",
        ),
        dots(
            labels, ratio, label="error ratio", zero=1.0, zero_name="average",
            about=f"Error rate per factor over the average error rate on {on}. {said}.",
        ),
    )  # fmt: skip


def _hundred(interval: tuple[float, float] | None) -> Interval:
    return None if interval is None else (100 * interval[0], 100 * interval[1])


def factor_line(one: FactorLine, register: Register) -> str:
    """A factor's accuracy against overall accuracy; one panel of many."""
    fitted = one.robustness
    title = one.factor.replace("_", " ")
    return small(
        [
            Mark(
                who=register.get(point.model, Who(name=point.model)),
                x=100 * point.x,
                y=100 * point.y,
            )
            for point in fitted.points
        ],
        [track(fitted, register)],
        title=title,
        names=("all photos, points", "factor, points"),
        about=f"Accuracy on photos of factor {title} against all photos of "
        f"{one.dataset}. {_said(fitted)}.",
    )


def leading(found: Sequence[Detected], register: Register, most: int = 4) -> list[str]:
    """Models to draw by name in every ROC figure: the best of each kind."""
    areas: dict[str, list[float]] = {}
    for one in usual(found, register):
        areas.setdefault(one.model, []).append(one.detection.auroc)
    best = sorted(areas, key=lambda name: (-sum(areas[name]) / len(areas[name]), name))
    if len(best) <= most:
        return best
    named = []
    for wanted in ("text", "classifier", "answering", "baseline"):
        named += [
            name for name in best if register.get(name, Who(name=name)).kind == wanted
        ][:2]
    named += [name for name in best if name not in named]
    return sorted(named[:most], key=best.index)


def curves(
    found: Sequence[Detected], register: Register, *, named: Sequence[str]
) -> str:
    """ROC curves of one pair of datasets: a score per model, some by name."""
    single = usual(found, register)
    first = [one for name in named for one in single if one.model == name]
    lines = [
        Roc(
            name=f"{short(one.model, 27)}, {one.detection.score} "
            f"{share(one.detection.auroc)}",
            places=one.detection.curve,
            colour=svg.SERIES[named.index(one.model) % len(svg.SERIES)],
        )
        for one in first[: 2 * len(svg.SERIES)]
    ]
    behind = [
        Roc(name="", places=one.detection.curve, colour=svg.FAINT)
        for one in single
        if one.model not in named
    ][:40]
    said = "; ".join(line.name for line in lines)
    return roc(
        lines,
        behind=behind,
        about=f"ROC curves of {found[0].ood_dataset} against {found[0].id_dataset}; "
        f"area in points: {said}.",
    )


def usual(found: Sequence[Detected], register: Register) -> list[Detected]:
    """One score per model and prompts: MCM of image-text models, else MSP."""
    per: dict[tuple[str, str | None], Detected] = {}
    for one in found:
        text = register.get(one.model, Who(name=one.model)).kind == "text"
        wanted = "mcm" if text else "msp"
        key = (one.model, one.prompts)
        if key not in per or one.detection.score == wanted:
            per[key] = one
    return list(per.values())


def headline(results: Results, dataset: str, space: str) -> list[Lines]:
    """The lines drawn for a dataset with groups: linear, balanced."""
    return [
        one
        for one in results.lines
        if one.dataset == dataset
        and one.x == "common"
        and one.robustness.line.scale == "linear"
        and one.weighting == "balanced"
        and one.label_space == space
    ]
