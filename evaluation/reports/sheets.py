"""Tables as data: built once, written as HTML, Markdown and LaTeX."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from evaluation.reports.formats import DASH, bounds, number, p_value, points, share
from evaluation.reports.models import Who, called, demonstration, ranked
from evaluation.results import Cell, Detected, Result, few

SELECTED = "helped to choose the groups"
DEMONSTRATION = "demonstration model"
NOT_BALANCED = "not balanced"

EXPLAINED = {
    SELECTED: "Helped to choose the groups: its drop on them is too large, and not to "
    "be compared with the others'.",
    DEMONSTRATION: "A demonstration model: its numbers show that the measures work, "
    "and say nothing of other models.",
    NOT_BALANCED: "Not balanced: some classes have no answered photos in one of the "
    "groups, and count in neither.",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `folded` ones stand small under the first name on the page."""

    title: str
    numeric: bool = False
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands in a cell.

    Attributes:
        text: the number or name.
        small: its interval, or another remark.
        marks: keys of `EXPLAINED`.
        strong: the number a reader looks for.
    """

    text: str
    small: str = ""
    marks: tuple[str, ...] = ()
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table.

    Attributes:
        key: stable name, for anchors and labels.
        caption: what it is.
        columns: at least one.
        rows: as many entries as columns.
        notes: sentences below it.
    """

    key: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Entry, ...], ...]
    notes: tuple[str, ...] = ()

    @property
    def marks(self) -> tuple[str, ...]:
        """Marks in use, in the order of their explanations."""
        used = {mark for row in self.rows for entry in row for mark in entry.marks}
        return tuple(mark for mark in EXPLAINED if mark in used)

    def folded(self, row: tuple[Entry, ...]) -> str:
        """What stands small under a row's name, in place of columns."""
        return ", ".join(
            f"{column.title} {entry.text}"
            for column, entry in zip(self.columns, row, strict=True)
            if column.folded and entry.text != DASH
        )


def main(rows: Sequence[Result], register: Mapping[str, Who]) -> Sheet:
    """Every model on one dataset, best first."""
    grouped = any(row.drop is not None for row in rows)
    name = rows[0].dataset
    titles: tuple[str, ...]
    if grouped:
        caption = (
            f"{name}: balanced accuracy of both groups and the drop, points with "
            "95 % intervals, best on the counter group first"
        )
        titles = ("common", "counter", "drop", "photos")
    else:
        caption = (
            f"{name}: balanced accuracy, points with 95 % intervals; the dataset has "
            "no common and counter groups"
        )
        titles = ("accuracy", "micro", "photos")
    columns = (
        Column("#", numeric=True), Column("model"),
        Column("label space", folded=True), Column("prompts", folded=True),
        *(Column(title, numeric=True) for title in titles),
    )  # fmt: skip
    lines = []
    for row in ranked(rows):
        first = (
            Entry(str(register[row.model].number)),
            _model(row),
            Entry(row.label_space or DASH),
            Entry(row.prompts or DASH),
        )
        lines.append((*first, *(_grouped(row) if grouped else _plain(row))))
    return Sheet(f"main {name}", caption, columns, tuple(lines))


def _model(row: Result) -> Entry:
    marks = [SELECTED] * row.selected_on + [DEMONSTRATION] * demonstration(row)
    small = ""
    if row.drop is not None and not row.balanced:
        marks.append(NOT_BALANCED)
        small = f"left out: {few(row.left_out)}" if row.left_out else ""
    return Entry(row.model, small, tuple(marks))


def _failed(row: Result) -> str:
    return f"{row.n_failed} failed" if row.n_failed else ""


def _grouped(row: Result) -> tuple[Entry, ...]:
    return (
        Entry(points(row.common), bounds(row.common_ci)),
        Entry(points(row.counter), bounds(row.counter_ci)),
        Entry(points(row.drop), bounds(row.drop_ci), strong=True),
        Entry(f"{row.n_common} + {row.n_counter}", _failed(row)),
    )


def _plain(row: Result) -> tuple[Entry, ...]:
    return (
        Entry(points(row.accuracy), bounds(row.accuracy_ci), strong=True),
        Entry(points(row.micro)),
        Entry(str(row.n_photos), _failed(row)),
    )


def overview(
    rows: Sequence[Result], names: Sequence[str], register: Mapping[str, Who]
) -> Sheet:
    """Models by datasets: balanced accuracy."""
    models = list(dict.fromkeys((row.model, row.prompts) for row in rows))
    places = {(row.model, row.prompts, row.dataset): row for row in reversed(rows)}
    mean = {
        one: sum(row.accuracy for row in rows if (row.model, row.prompts) == one)
        for one in models
    }
    models.sort(key=lambda one: (-mean[one], one[0], one[1] or ""))
    lines = []
    for model, prompts in models:
        found = [places.get((model, prompts, name)) for name in names]
        lines.append(
            (
                Entry(str(register[model].number)),
                Entry(model),
                Entry(prompts or DASH),
                *(Entry(points(row.accuracy if row else None)) for row in found),
            )
        )
    columns = (
        Column("#", numeric=True),
        Column("model"),
        Column("prompts", folded=True),
        *(Column(name, numeric=True) for name in names),
    )
    caption = "Balanced accuracy on every dataset without groups, points"
    return Sheet("overview", caption, columns, tuple(lines))


def classes(row: Result) -> Sheet:
    """One model's classes, largest drop first."""
    columns = (Column("class"), *(Column(one, numeric=True) for one in (
        "common", "counter", "drop", "photos"
    )))  # fmt: skip
    lines = tuple(
        (
            Entry(one.name),
            Entry(points(one.common)),
            Entry(points(one.counter)),
            Entry(points(one.drop)),
            Entry(f"{one.n_common} + {one.n_counter}"),
        )
        for one in sorted(row.drops, key=lambda one: (-one.drop, one.name))
    )
    return Sheet(
        f"classes {row.dataset} {row.model}",
        f"{row.model} per class, largest drop first",
        columns,
        lines,
    )


def class_drops(rows: Sequence[Result]) -> Sheet:
    """Classes by a few models: accuracies and drop."""
    columns = [Column("class")]
    for row in rows:
        columns += [
            Column(f"{title}, {called(row, rows)}", numeric=True)
            for title in ("common", "counter", "drop")
        ]
    found = [{one.name: one for one in row.drops} for row in rows]
    names = {name: one.drop for per in reversed(found) for name, one in per.items()}
    lines = []
    for name in sorted(names, key=lambda name: (-names[name], name)):
        line = [Entry(name)]
        for per in found:
            one = per.get(name)
            values = (one.common, one.counter, one.drop) if one else (None,) * 3
            line += [Entry(points(value)) for value in values]
        lines.append(tuple(line))
    caption = f"{rows[0].dataset}: accuracy and drop per class, points"
    return Sheet(f"classes {rows[0].dataset}", caption, tuple(columns), tuple(lines))


def backgrounds(row: Result) -> Sheet:
    """One model's backgrounds."""
    columns = (
        Column("background"), Column("group"), Column("accuracy", numeric=True),
        Column("photos", numeric=True),
    )  # fmt: skip
    lines = tuple(
        (
            Entry(cell.name),
            Entry(cell.group or DASH),
            Entry(points(cell.accuracy), bounds(cell.ci)),
            Entry(str(cell.n)),
        )
        for cell in row.backgrounds
    )
    return Sheet(
        f"backgrounds {row.dataset} {row.model}",
        f"{row.model} per background, with Wilson intervals",
        columns,
        lines,
    )


def worst(rows: Sequence[Result]) -> Sheet:
    """The class and group every model does worst on."""
    columns = (
        Column("model"), Column("class"), Column("group"),
        Column("accuracy", numeric=True), Column("right of photos", numeric=True),
    )  # fmt: skip

    def line(row: Result, cell: Cell) -> tuple[Entry, ...]:
        return (
            Entry(called(row, rows)),
            Entry(cell.name),
            Entry(cell.group or DASH),
            Entry(points(cell.accuracy), bounds(cell.ci)),
            Entry(f"{cell.k} of {cell.n}"),
        )

    caption = f"{rows[0].dataset}: the lowest accuracy of a class in a group, points"
    lines = tuple(line(row, row.worst) for row in ranked(rows))
    return Sheet(f"worst {rows[0].dataset}", caption, columns, lines)


def calibration(rows: Sequence[Result]) -> Sheet:
    """ECE, NLL and Brier score, before and after temperature scaling."""
    groups = any(one.group for row in rows for one in row.calibration)
    columns = (
        Column("model"), *([Column("group")] if groups else []),
        Column("T", numeric=True), Column("fitted on"),
        *(Column(title, numeric=True) for title in (
            "ECE", "adaptive", "classwise", "NLL, nats", "Brier", "photos"
        )),
    )  # fmt: skip
    lines = []
    for row in ranked(rows):
        for one in row.calibration:
            fitted = one.fitted_on or "as given"
            if one.probabilities != "softmax":
                fitted += f", {one.probabilities}"
            lines.append(
                (
                    Entry(called(row, rows)),
                    *([Entry(one.group or "all")] if groups else []),
                    Entry(number(one.temperature)),
                    Entry(fitted),
                    Entry(share(one.ece), bounds(one.ece_ci, times=100)),
                    Entry(share(one.ece_adaptive)),
                    Entry(share(one.ece_classwise)),
                    Entry(number(one.nll)),
                    Entry(number(one.brier)),
                    Entry(str(one.n)),
                )
            )
    bins = sorted({one.bins for row in rows for one in row.calibration})
    counted = " or ".join(str(one) for one in bins)
    caption = f"{rows[0].dataset}: calibration, ECE in points"
    notes = (
        f"ECE over {counted} bins with its bootstrap interval; T is what logits were "
        "divided by.",
    )
    return Sheet(
        f"calibration {rows[0].dataset}", caption, columns, tuple(lines), notes
    )


def factors(rows: Sequence[Result]) -> Sheet:
    """Accuracy per ImageNet-X factor, error ratio below it."""
    found = [(row, row.factors) for row in ranked(rows) if row.factors]
    names = list(
        dict.fromkeys(one.factor for _, result in found for one in result.factors)
    )
    columns = (
        Column("model"), Column("average", numeric=True), Column("worst factor"),
        Column("worst classes", numeric=True),
        *(Column(name.replace("_", " "), numeric=True) for name in names),
    )  # fmt: skip
    lines = []
    for row, result in found:
        per = {one.factor: one for one in result.factors}
        line = [
            Entry(called(row, rows)),
            Entry(share(result.average)),
            Entry(result.worst_factor.replace("_", " ")),
            Entry(share(result.worst_classes)),
        ]
        for name in names:
            one = per.get(name)
            line.append(
                Entry(share(one.accuracy), f"\u00d7 {number(one.error_ratio, 2)}")
                if one
                else Entry(points(None))
            )
        lines.append(tuple(line))
    said = sorted(
        {f"{one.mode} factor, {one.kind} errors, {one.annotations}" for _, one in found}
    )
    caption = f"{rows[0].dataset}: accuracy per ImageNet-X factor, points"
    notes = (
        "Beside each accuracy the error ratio to the average. Worst classes: the "
        f"accuracy of the 100 a model does worst on. Annotations: {'; '.join(said)}.",
    )
    return Sheet(f"factors {rows[0].dataset}", caption, columns, tuple(lines), notes)


def detection(found: Sequence[Detected]) -> Sheet:
    """Scores that tell unknown photos from known ones, best first."""
    columns = (
        Column("model"), Column("prompts", folded=True), Column("score"),
        *(Column(title, numeric=True) for title in (
            "temperature", "AUROC", "AUPR in", "AUPR out",
            "FPR95 ID positive", "FPR95 OOD positive", "photos ID + OOD",
        )),
    )  # fmt: skip
    lines = tuple(
        (
            Entry(one.model),
            Entry(one.prompts or DASH),
            Entry(one.detection.score),
            Entry(number(one.detection.temperature)),
            Entry(
                share(one.detection.auroc),
                bounds(one.detection.auroc_ci, times=100),
                strong=True,
            ),
            Entry(share(one.detection.aupr_in)),
            Entry(share(one.detection.aupr_out)),
            Entry(share(one.detection.fpr95_id_pos)),
            Entry(share(one.detection.fpr95_ood_pos)),
            Entry(f"{one.detection.n_id} + {one.detection.n_ood}"),
        )
        for one in sorted(
            found,
            key=lambda one: (-one.detection.auroc, one.model, one.detection.score),
        )
    )
    name = f"{found[0].ood_dataset} against {found[0].id_dataset}"
    caption = f"{name}: out-of-distribution detection, points, best AUROC first"
    notes = (
        "FPR95, ID positive: unknown photos accepted where 95 % of ID photos are "
        "(ODIN, MCM). FPR95, OOD positive: ID photos rejected where 95 % of unknown "
        "photos are (OpenOOD). AUROC with DeLong's interval.",
    )
    return Sheet(f"ood {name}", caption, columns, lines, notes)


def p_entry(value: float | None) -> Entry:
    """A p-value's cell."""
    return Entry(p_value(value))


def cut(sheet: Sheet, most: int) -> Sheet:
    """The first rows, and a note of how many there are."""
    if len(sheet.rows) <= most:
        return sheet
    note = f"The first {most} of {len(sheet.rows)} rows; all are in results.parquet."
    return replace(sheet, rows=sheet.rows[:most], notes=(*sheet.notes, note))
