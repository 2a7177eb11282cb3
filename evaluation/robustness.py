"""What `counterset robustness` does: a CSV of accuracies, a line, points above it.

In: a CSV with a row for each model. Out: the line, and each row with what the line
gives at its x and how far its y lies above that, in points.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.errors import ConfigError, InputError, nearest
from evaluation.metrics import _lines
from evaluation.metrics.effective_robustness import (
    SEED,
    Axis,
    Robustness,
    Scale,
    against_known,
    against_line,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

ADDED = ("predicted", "effective_robustness", "effective_robustness_ci", "in_baseline")
"""What every point has beside its row's columns."""

_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Points:
    """A CSV with a header.

    Attributes:
        path: of the file.
        columns: names, in the file's order.
        rows: one dict for each row, values as they stand there.
        lines: line of the file each row ends at.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[dict[str, str], ...]
    lines: tuple[int, ...]


def evaluate_points(
    path: Path,
    *,
    x: str,
    y: str,
    scale: Scale = "logit",
    baseline: str | None = None,
    line: str | None = None,
    line_x: str = "val",
    percent: bool = False,
    n_x: str | None = None,
    n_y: str | None = None,
    label: str | None = None,
    draws: int = 1000,
    seed: int = SEED,
) -> dict[str, Any]:
    """Effective robustness of the models in a CSV.

    Args:
        path: CSV with a header, UTF-8; separated by commas, semicolons or tabs.
        x: column of accuracies in distribution.
        y: column of accuracies under the shift.
        scale: linear, logit or probit.
        baseline: "COLUMN=VALUE": the line is fitted to these rows.
        line: a bundled line instead, one of `evaluation.reference.baselines()`.
        line_x: what x was measured on, for a bundled line.
        percent: accuracies are percents, not fractions.
        n_x: column of the numbers of photos behind x.
        n_y: likewise for y.
        label: column of the models' names; without it "model" or "name" if there is
            such a column, else the first that is not used otherwise.
        draws: bootstrap draws over baseline models; 0 for none.
        seed: of the draws.

    Returns: `{"scale", "slope", "intercept", "r2", "n_baseline", "points": […], …}`: a
        point is its row with the columns of `ADDED`; predicted, effective robustness
        and its interval are in points (0 to 100). slope and intercept are on the scale,
        of fractions, also with `percent`.

    Raises:
        ConfigError: a column, baseline value, line or scale that is not there.
        InputError: no such file, not a table, or a value that is no accuracy; says in
            which line of the file.
        MetricError: fewer than 3 baseline models, all x equal, or 0 or 1 where that is
            infinite and the number of photos is not known.
    """
    _lines.known(scale)
    if (baseline is None) == (line is None):
        message = "give either --baseline COLUMN=VALUE or --line NAME"
        raise ConfigError(message)
    points = read_points(path)
    for option, column in (("--x", x), ("--y", y), ("--n-x", n_x), ("--n-y", n_y)):
        if column is not None:
            _known(points, option, column)
    at, value = (
        _accuracies(points, column, percent=percent, other=other)
        for column, other in ((x, y), (y, x))
    )
    counts = [None if one is None else _photos(points, one) for one in (n_x, n_y)]
    names = _labels(points, label, {x, y, n_x, n_y})
    axes = (Axis(x, None), Axis(y, None))
    if line is not None:
        from evaluation.reference import baseline as bundled

        found = against_known(
            names,
            at,
            value,
            bundled(line, scale=scale, x=line_x),
            axes=axes,
            n_x=counts[0],
            n_y=counts[1],
        )
    else:
        fitted = _fitted(points, str(baseline))
        found = against_line(
            names,
            at,
            value,
            fitted,
            scale,
            axes=axes,
            baseline_name=str(baseline),
            n_x=counts[0],
            n_y=counts[1],
            draws=draws,
            seed=seed,
        )
    numeric = tuple(one for one in (x, y, n_x, n_y) if one is not None)
    told = _told(points, found, numeric=numeric, line=line)
    return {**told, "percent": percent, "seed": seed}


def read_points(path: Path) -> Points:
    """A CSV with a header, separated by commas, semicolons or tabs.

    Raises:
        InputError: no such file, not UTF-8, no rows, a column without a name or there
            twice, or a row with more or fewer values than the header.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        message = f"cannot read {path}: {error.strerror or error}"
        raise InputError(message) from error
    except UnicodeDecodeError as error:
        message = (
            f"{path} is not UTF-8 text (byte {error.start}): save it as CSV, UTF-8"
        )
        raise InputError(message) from error
    first = re.sub(r'"[^"]*"', "", text.split("\n", 1)[0])
    separator = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        for row in reader:
            if any(value.strip() for value in row):
                rows.append([value.strip() for value in row])
                lines.append(reader.line_num)
    except csv.Error as error:
        message = f"{path}, line {reader.line_num}: {error}"
        raise InputError(message) from error
    if len(rows) < 2:
        what = "only a header" if rows else "empty"
        message = f"{path} is {what}: a row for each model is wanted"
        raise InputError(message)
    header = rows[0]
    _check_header(path, header)
    for row, number in zip(rows[1:], lines[1:], strict=True):
        if len(row) != len(header):
            message = (
                f"{path}, line {number}: {len(row)} values under {len(header)} columns"
            )
            raise InputError(message)
    return Points(
        path,
        tuple(header),
        tuple(dict(zip(header, row, strict=True)) for row in rows[1:]),
        tuple(lines[1:]),
    )


def table(found: Mapping[str, Any]) -> str:
    """What `evaluate_points` found, to be printed: the line, then a row each."""
    points: Sequence[Mapping[str, Any]] = found["points"]
    names: Sequence[str] = found["models"]
    x, y = str(found["x"]), str(found["y"])
    unit = 1 if found["percent"] else 100
    rows = [("", x, y, "predicted", "effective robustness")]
    for name, point in zip(names, points, strict=True):
        bounds = point["effective_robustness_ci"]
        told = f" [{bounds[0]:+.2f}, {bounds[1]:+.2f}]" if bounds else ""
        rows.append(
            (
                f"{name}{' (baseline)' * bool(point['in_baseline'])}",
                f"{unit * point[x]:.2f}",
                f"{unit * point[y]:.2f}",
                f"{point['predicted']:.2f}",
                f"{point['effective_robustness']:+.2f}{told}",
            )
        )
    wide = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(wide[0]), *(v.rjust(w) for v, w in pairs)]).rstrip()
        for row in rows
        for pairs in [list(zip(row[1:], wide[1:], strict=True))]
    ]
    slope = f"slope {found['slope']:.3f}{_bounds(found['slope_ci'])}"
    intercept = f"intercept {found['intercept']:.3f}{_bounds(found['intercept_ci'])}"
    corrected = "; accuracies of 0 or 1 moved inside" if found["corrected"] else ""
    head = (
        f"line through {found['n_baseline']} models ({found['baseline']}), "
        f"{found['scale']} scale: {slope}, {intercept}, R2 {found['r2']:.3f}{corrected}"
    )
    mean = found["mean_effective_robustness"]
    tail = (
        ["no model beside the baseline"]
        if mean is None
        else [
            f"mean of the {found['n_points'] - found['n_fitted']} others: {mean:+.2f}"
        ]
    )
    return "\n".join([head, "", *lines, "", *tail])


def _bounds(interval: Sequence[float] | None) -> str:
    return f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""


def _told(
    points: Points,
    found: Robustness,
    *,
    numeric: Sequence[str],
    line: str | None,
) -> dict[str, Any]:
    """As the command prints it; in points."""
    rows = []
    for row, point in zip(points.rows, found.points, strict=True):
        bounds = point.effective_robustness_ci
        numbers = {name: float(row[name]) for name in numeric}
        added = (
            100 * point.predicted,
            100 * point.effective_robustness,
            [100 * end for end in bounds] if bounds else None,
            point.baseline,
        )
        rows.append({**row, **numbers, **dict(zip(ADDED, added, strict=True))})
    others = [one.effective_robustness for one in found.points if not one.baseline]
    return {
        "scale": found.line.scale,
        "slope": found.line.slope,
        "intercept": found.line.intercept,
        "r2": found.line.r2,
        "n_baseline": found.line.n,
        "points": rows,
        "x": found.x_name,
        "y": found.y_name,
        "baseline": line or found.line.baseline,
        "slope_ci": found.line.slope_ci,
        "intercept_ci": found.line.intercept_ci,
        "corrected": found.line.corrected,
        "draws": found.line.draws,
        "n_points": len(rows),
        "n_fitted": sum(one.baseline for one in found.points),
        "mean_effective_robustness": 100 * float(np.mean(others)) if others else None,
        "models": [one.model for one in found.points],
    }


def _check_header(path: Path, header: Sequence[str]) -> None:
    twice = [name for name, times in Counter(header).items() if times > 1 and name]
    if twice:
        message = f"{path} has the column {twice[0]!r} twice: rename one"
        raise InputError(message)
    if "" in header:
        message = f"{path}: column {header.index('') + 1} has no name in the header"
        raise InputError(message)
    if taken := [name for name in header if name in ADDED]:
        message = (
            f"{path} already has a column {taken[0]!r}, which the result adds: "
            "rename it"
        )
        raise InputError(message)


def _known(points: Points, option: str, column: str) -> None:
    if column not in points.columns:
        message = (
            f"{option}: {points.path} has no column {column!r}; "
            f"{nearest(column, points.columns)}"
        )
        raise ConfigError(message)


def _numbers(points: Points, column: str) -> "NDArray[np.float64]":
    found = []
    for row, number in zip(points.rows, points.lines, strict=True):
        try:
            value = float(row[column])
        except ValueError as error:
            where = f"{points.path}, line {number}"
            if not row[column]:
                message = f"{where}: column {column} is empty; a number is wanted"
            else:
                hint = " (a decimal point is wanted)" if "," in row[column] else ""
                message = (
                    f"{where}: {row[column]!r} in column {column} is not a number{hint}"
                )
            raise InputError(message) from error
        if not np.isfinite(value):
            message = f"{points.path}, line {number}: column {column} is {row[column]}"
            raise InputError(message)
        found.append(value)
    return np.array(found)


def _accuracies(
    points: Points, column: str, *, percent: bool, other: str
) -> "NDArray[np.float64]":
    """Fractions."""
    values = _numbers(points, column)
    top = 100 if percent else 1
    wrong = np.flatnonzero((values < 0) | (values > top))
    if len(wrong):
        first = int(wrong[0])
        value = values[first]
        likely = not percent and 0 <= value <= 100
        hint = "; if accuracies are percents, give --percent" if likely else ""
        message = (
            f"{points.path}, line {points.lines[first]}: {value:g} in column {column} "
            f"is not between 0 and {top}{hint}"
        )
        raise InputError(message)
    if percent and values.max() <= 1 and _numbers(points, other).max() <= 1:
        message = (
            f"{points.path}: no value of {column} and {other} is above 1 %; if these "
            "are fractions, leave out --percent"
        )
        raise InputError(message)
    return values / top


def _photos(points: Points, column: str) -> "NDArray[np.float64]":
    values = _numbers(points, column)
    wrong = np.flatnonzero((values < 1) | (values != np.round(values)))
    if len(wrong):
        first = int(wrong[0])
        message = (
            f"{points.path}, line {points.lines[first]}: {values[first]:g} in column "
            f"{column} is not a number of photos"
        )
        raise InputError(message)
    return values


def _fitted(points: Points, baseline: str) -> "NDArray[np.bool_]":
    column, equals, value = baseline.partition("=")
    if not equals or not column.strip():
        message = f"--baseline is COLUMN=VALUE, not {baseline!r}"
        raise ConfigError(message)
    column, value = column.strip(), value.strip()
    _known(points, "--baseline", column)
    found = np.array([row[column] == value for row in points.rows])
    if not found.any():
        there = Counter(row[column] for row in points.rows)
        most = there.most_common(_SHOWN)
        shown = ", ".join(f"{name or '(empty)'} ({n})" for name, n in most)
        more = f", … ({len(there)} in all)" if len(there) > _SHOWN else ""
        message = f"no row has {value!r} in column {column}; there are {shown}{more}"
        raise ConfigError(message)
    return found


def _labels(points: Points, label: str | None, used: set[str | None]) -> list[str]:
    if label is not None:
        _known(points, "--label", label)
        return [row[label] for row in points.rows]
    usual = [name for name in points.columns if name.lower() in ("model", "name")]
    free = [name for name in points.columns if name not in used]
    if names := [*usual, *free]:
        return [row[names[0]] for row in points.rows]
    return [f"line {number}" for number in points.lines]
