"""Every number of a benchmark as one table, a number a row."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from evaluation.results import Cell, Result, Results
from evaluation.tables import build

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = (
    "model", "dataset", "label_space", "prompts", "measure", "group", "name", "value",
    "low", "high", "unit", "n",
)  # fmt: skip

Row = dict[str, Any]


def table(results: Results) -> "pa.Table":
    """Every number, for pandas, Polars, DuckDB.

    Returns: a row per model, dataset and measure, with columns
        model: full name; null for what is of several models, as a fitted line.
        dataset, label_space, prompts: null where there is none.
        measure: accuracy, micro, drop, class_accuracy, ece, auroc, slope and so on.
        group: "common", "counter", or "" for all photos.
        name: the class, background, factor, temperature, line, other dataset or other
            model the number is of; "" where it is of the model and dataset alone.
        value: null where it is undefined.
        low, high: bounds of its 95 % interval; null without.
        unit: "points", "nats", or "" for what has none.
        n: photos behind it, models for fitted lines; null where that is not known.
    """
    import pyarrow as pa

    rows = [*_results(results), *_between(results)]
    numbers = ("value", "low", "high")
    schema = pa.schema(
        [
            (name, pa.int64() if name == "n" else
             pa.float64() if name in numbers else pa.string())
            for name in COLUMNS
        ]
    )  # fmt: skip
    return build({name: [row[name] for row in rows] for name in COLUMNS}, schema)


def _row(
    measure: str,
    value: float | None,
    interval: tuple[float, float] | None = None,
    *,
    times: float = 1,
    **rest: Any,  # noqa: ANN401
) -> Row:
    low, high = interval or (None, None)
    empty: Row = dict.fromkeys(COLUMNS) | {"group": "", "name": "", "unit": ""}
    if times == 100:
        empty["unit"] = "points"
    return empty | rest | {
        "measure": measure,
        "value": _finite(value, times),
        "low": _finite(low, times),
        "high": _finite(high, times),
    }  # fmt: skip


def _finite(value: float | None, times: float) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return float(times * value)


def _results(results: Results) -> Iterator[Row]:
    for row in results.rows:
        about = {
            "model": row.model,
            "dataset": row.dataset,
            "label_space": row.label_space,
            "prompts": row.prompts,
        }
        for one in (_whole, _cells, _calibration, _factors):
            for found in one(row):
                yield found | about


def _whole(row: Result) -> Iterator[Row]:
    unit: Row = {"unit": "points"}
    yield _row("accuracy", row.accuracy, row.accuracy_ci, n=row.n_photos, **unit)
    yield _row("micro", row.micro, n=row.n_photos, **unit)
    yield _row("failed", row.n_failed)
    if row.drop is not None:
        each = (
            ("common", row.common, row.common_ci, row.micro_common, row.n_common),
            ("counter", row.counter, row.counter_ci, row.micro_counter, row.n_counter),
        )
        for group, value, interval, micro, n in each:
            yield _row("accuracy", value, interval, group=group, n=n, **unit)
            yield _row("micro", micro, group=group, n=n, **unit)
        n = row.n_common + row.n_counter
        yield _row("drop", row.drop, row.drop_ci, n=n, **unit)
        yield _row("drop_over_classes", row.drop, row.drop_ci_classes, n=n, **unit)
    yield _cell("worst", row.worst)
    for key, value in row.more.items():
        yield _row(key, value)


def _cell(measure: str, cell: Cell) -> Row:
    return _row(
        measure, cell.accuracy, cell.ci, group=cell.group, name=cell.name, n=cell.n,
        unit="points",
    )  # fmt: skip


def _cells(row: Result) -> Iterator[Row]:
    for cell in row.classes:
        yield _cell("class_accuracy", cell)
    for cell in row.backgrounds:
        yield _cell("background_accuracy", cell)
    for one in row.drops:
        n = one.n_common + one.n_counter
        yield _row("class_drop", one.drop, name=one.name, n=n, unit="points")


def _calibration(row: Result) -> Iterator[Row]:
    for one in row.calibration:
        name = f"fitted on {one.fitted_on}" if one.fitted_on else "as given"
        of: Row = {"name": name, "n": one.n, "group": one.group}
        yield _row("temperature", one.temperature, **of)
        yield _row("ece", one.ece, one.ece_ci, times=100, **of)
        yield _row("ece_adaptive", one.ece_adaptive, times=100, **of)
        yield _row("ece_classwise", one.ece_classwise, times=100, **of)
        yield _row("nll", one.nll, unit="nats", **of)
        yield _row("brier", one.brier, **of)
        yield _row("confidence", one.confidence, times=100, **of)


def _factors(row: Result) -> Iterator[Row]:
    if row.factors is None:
        return
    n = row.factors.n
    yield _row("factor_average", row.factors.average, times=100, n=n)
    yield _row("worst_classes", row.factors.worst_classes, times=100, n=n)
    for one in row.factors.factors:
        of: Row = {"name": one.factor, "n": one.n}
        yield _row("factor_accuracy", one.accuracy, one.ci, times=100, **of)
        balanced = one.accuracy_balanced
        yield _row("factor_accuracy_balanced", balanced, times=100, **of)
        yield _row("factor_error_ratio", one.error_ratio, **of)
        yield _row("factor_ece", one.ece, times=100, **of)


def _between(results: Results) -> Iterator[Row]:
    """What lies between models or datasets."""
    yield from _lines(results)
    yield from _detected(results)
    for scale in results.scaling:
        for curve in scale.curves:
            of: Row = {
                "dataset": scale.dataset, "group": scale.group, "name": curve.family,
                "n": curve.n,
            }  # fmt: skip
            yield _row("scaling_slope", curve.slope, curve.slope_ci, **of)
            yield _row("scaling_intercept", curve.intercept, **of)
            yield _row("scaling_r2", curve.r2, **of)
    for pair in results.comparisons:
        both: Row = {
            "model": pair.first, "dataset": pair.dataset, "name": pair.second
        }  # fmt: skip
        if pair.drop_difference is not None:
            yield _row(
                "drop_difference", pair.drop_difference, pair.drop_difference_ci,
                times=100, **both,
            )  # fmt: skip
            yield _row("drop_difference_p", pair.drop_difference_p, **both)
        for test in pair.tests:
            of = both | {"group": test.group, "n": test.n}
            yield _row("micro_difference", test.difference, times=100, **of)
            yield _row("mcnemar_p_mid", test.p_mid, **of)
            yield _row("mcnemar_p_exact", test.p_exact, **of)


def _lines(results: Results) -> Iterator[Row]:
    found = [
        (
            one.robustness,
            "",
            {"dataset": one.dataset, "label_space": one.label_space},
            f"{one.weighting}, x: {one.robustness.x_name}",
        )
        for one in results.lines
    ]
    found += [
        (one.robustness, "factor_", {"dataset": one.dataset}, one.factor)
        for one in results.factor_lines
    ]
    for fitted, kind, about, convention in found:
        line = fitted.line
        name = f"{line.scale}, {convention}, line over {line.baseline or 'baseline'}"
        of: Row = about | {"name": name}
        yield _row(f"{kind}slope", line.slope, line.slope_ci, n=line.n, **of)
        intercept = f"{kind}intercept"
        yield _row(intercept, line.intercept, line.intercept_ci, n=line.n, **of)
        yield _row(f"{kind}r2", line.r2, n=line.n, **of)
        for point in fitted.points:
            yield _row(
                f"{kind}effective_robustness",
                point.effective_robustness,
                point.effective_robustness_ci,
                times=100,
                model=point.model,
                **of,
            )


def _detected(results: Results) -> Iterator[Row]:
    for one in results.detected:
        found = one.detection
        of: Row = {
            "model": one.model, "dataset": one.ood_dataset, "prompts": one.prompts,
            "label_space": one.label_space, "n": found.n_id + found.n_ood,
            "name": f"{found.score}, T {found.temperature:g}, ID {one.id_dataset}",
        }  # fmt: skip
        yield _row("auroc", found.auroc, found.auroc_ci, times=100, **of)
        for measure in ("aupr_in", "aupr_out", "fpr95_id_pos", "fpr95_ood_pos"):
            yield _row(measure, getattr(found, measure), times=100, **of)
