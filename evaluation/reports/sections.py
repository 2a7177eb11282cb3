"""The report's page: sections in order, each only where there is something to show."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from evaluation.metrics.calibration import Calibration
from evaluation.metrics.effective_robustness import SCALES
from evaluation.reports import figures, fits, sheets
from evaluation.reports.curves import measured, reliability, scaling
from evaluation.reports.formats import bounds, points
from evaluation.reports.models import Who, called, datasets, ranked, register, shown
from evaluation.reports.origins import provenance
from evaluation.reports.scatter import MANY
from evaluation.reports.sheets import EXPLAINED, Sheet, cut
from evaluation.results import Lines, Result, Results, few

LONG = 25
"""Rows beyond which a table is folded."""

MOST_PAIRS = 300


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing and what to say under it."""

    drawing: Markup
    caption: str = ""


@dataclass(slots=True)
class Block:
    """A part of a section: figures, side by side if several, then tables.

    Attributes:
        title: heading; "" without.
        words: paragraphs.
        figures: drawings.
        caption: of all figures together.
        column: least width of a figure among several, in the page's unit rem.
        tables: shown, folded where long.
        folded: always folded.
    """

    title: str
    words: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    caption: str = ""
    column: int = 26
    tables: list[Sheet] = field(default_factory=list)
    folded: list[Sheet] = field(default_factory=list)


@dataclass(slots=True)
class Section:
    """A heading of the page; `rows` are models to be told of one by one."""

    key: str
    title: str
    blocks: list[Block] = field(default_factory=list)
    rows: list[Result] = field(default_factory=list)
    intro: Block | None = None
    main: Sheet | None = None


def page(results: Results) -> str:
    """The report's HTML; equal results give equal text.

    Args:
        results: of any models and datasets; families that are empty take no place.
    """
    who = register(results)
    environment = Environment(
        loader=PackageLoader("evaluation.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"points": points, "bounds": bounds, "few": few}
    template = environment.get_template("page.html.j2")
    found = [*_accuracy(results, who), *_families(results, who)]
    return (
        template.render(
            sections=found,
            notes=results.notes,
            title=f"Models on {few(datasets(results.rows), 2)}",
            who=who,
            explained=EXPLAINED,
            long=LONG,
            classes=sheets.classes,
            backgrounds=sheets.backgrounds,
            provenance=provenance(results.rows, list(who)),
        )
        + "\n"
    )


def _drawn(drawing: str, caption: str = "") -> Figure:
    return Figure(Markup(drawing), caption)


def _accuracy(results: Results, who: dict[str, Who]) -> list[Section]:
    """A section per dataset with groups, then the others'."""
    found = []
    plain = []
    for name in datasets(results.rows):
        rows = [row for row in results.rows if row.dataset == name]
        if not any(row.drop is not None for row in rows):
            plain.append(name)
            continue
        spaces = list(dict.fromkeys(row.label_space for row in rows))
        for space in spaces:
            some = [row for row in rows if row.label_space == space]
            title = f"{name}, label space {space}" if len(spaces) > 1 else name
            found.append(_grouped(title, some, results, who))
    if len(plain) > 1:
        some = [row for row in results.rows if row.dataset in plain]
        block = Block("", tables=[sheets.overview(some, plain, who)])
        block.folded = [
            sheets.main([row for row in some if row.dataset == name], who)
            for name in plain
        ]
        found.append(Section("others", "Datasets without groups", [block]))
    elif plain:
        rows = [row for row in results.rows if row.dataset == plain[0]]
        found.append(
            Section("others", plain[0], rows=ranked(rows), main=sheets.main(rows, who))
        )
    return _keyed(found)


def _keyed(found: list[Section]) -> list[Section]:
    for number, section in enumerate(found, start=1):
        section.key = f"data-{number}"
    return found


def _grouped(
    title: str, rows: list[Result], results: Results, who: dict[str, Who]
) -> Section:
    name, space = rows[0].dataset, rows[0].label_space
    section = Section("", title, rows=ranked(rows), main=sheets.main(rows, who))
    grouped = [row for row in rows if row.drop is not None]
    lines = figures.headline(results, name, space)
    drawn = Block("")
    drawn.figures = [_drawn(figures.groups(grouped, lines, who))]
    drawn.caption = (
        "One mark per model, numbered as in the table. On the dashed line the drop is "
        "zero, below it a model does worse on the counter group."
    )
    if len(grouped) <= MANY:
        drawn.caption += " Thin lines are 95 % intervals."
    if lines:
        drawn.caption += " Solid and dashed coloured lines are linear fits, with the "
        drawn.caption += "bootstrap band over models where one was drawn."
    of_dataset = [
        one for one in results.lines if one.dataset == name and one.x == "common"
    ]
    if of_dataset:
        fitted = Block("Fitted lines")
        fitted.words = [
            "How much higher one kind of model lies than the other's line depends on "
            "the convention: the scale, the label space, and whether classes or photos "
            "weigh the same. All that were computed are in the table."
        ]
        fitted.tables = [fits.lines(of_dataset, name, who)]
        section.blocks.append(fitted)
    section.intro = drawn
    if any(row.drops for row in grouped):
        section.blocks.append(_per_class(grouped))
    if any(row.backgrounds for row in grouped):
        some = [row for row in shown(grouped) if row.backgrounds][:1]
        if some:
            block = Block("Accuracy per background")
            block.figures = [_drawn(figures.backgrounds(some[0]))]
            block.caption = f"{some[0].model}; every other model's are in its details."
            section.blocks.append(block)
    section.blocks.append(Block("Worst groups", tables=[sheets.worst(grouped)]))
    return section


def _per_class(rows: list[Result]) -> Block:
    block = Block("Drop per class")
    drawing, note = figures.class_drops(rows)
    block.figures = [_drawn(drawing)]
    block.caption = (
        "Drop of each class with Newcombe's 95 % intervals, sorted by the first model "
        "named. " + note
    ).strip()
    if any(row.selected_on for row in rows):
        block.caption += " The star is a model that helped to choose the groups."
    block.folded = [sheets.class_drops(shown([row for row in rows if row.drops]))]
    return block


def _families(results: Results, who: dict[str, Who]) -> list[Section]:
    found = [
        Section("robustness", "Effective robustness", _robustness(results, who)),
        Section("scaling", "Accuracy and samples seen", _scaling(results)),
        Section("calibration", "Calibration", _calibration(results)),
        Section("factors", "Visual factors", _factors(results, who)),
        Section("ood", "Out-of-distribution detection", _detection(results, who)),
    ]
    if results.comparisons:
        sheet = cut(fits.comparisons(results.comparisons), MOST_PAIRS)
        blocks = [Block("", tables=[sheet])]
        found.append(Section("comparisons", "Models in pairs", blocks))
    return [section for section in found if section.blocks]


def _robustness(results: Results, who: dict[str, Who]) -> list[Block]:
    shifts = [one for one in results.lines if one.x != "common"]
    if not shifts:
        return []
    block = Block("")
    names = list(dict.fromkeys(one.dataset for one in shifts))
    block.tables = [fits.lines(shifts, few(names, 2), who)]
    for name in names:
        some = [one for one in shifts if one.dataset == name]
        drawn = min(some, key=_preferred)
        fitted = drawn.robustness
        drawing = figures.robustness(drawn, who)
        said = f"{name}; {drawn.weighting} accuracies, {fitted.line.scale} axes"
        block.figures.append(_drawn(drawing, said))
        sheet = fits.robustness(drawn, name, who)
        (block.tables if len(names) == 1 else block.folded).append(sheet)
    block.caption = (
        "A model's height above the line is its effective robustness, measured in "
        "points after going back from the axes' scale. Numbers are those of the "
        "tables; thin lines are Clopper and Pearson's intervals."
    )
    return [block]


def _preferred(one: Lines) -> int:
    return ("logit", *SCALES).index(one.robustness.line.scale)


def _scaling(results: Results) -> list[Block]:
    blocks: dict[str, Block] = {}
    for one in results.scaling:
        seen = [point for curve in one.curves for point in curve.points]
        if not any(measured(point) for point in seen):
            continue
        name = fits.place(one)
        block = blocks.setdefault(one.dataset, Block(one.dataset))
        said = f"Accuracy on {name} of {len(set(seen))} models against pairs seen."
        drawing = scaling(one.curves, label="accuracy, points", about=said)
        block.figures.append(_drawn(drawing, name if one.group else ""))
        block.caption = (
            "Curves are straight lines of log error against log samples, repeats "
            "counted as seen."
        )
        block.tables.append(fits.scaling(one))
        block.folded.append(fits.scaling_points(one))
    return list(blocks.values())


def _calibration(results: Results) -> list[Block]:
    blocks = []
    measured_rows = [row for row in results.rows if row.calibration]
    names = datasets(measured_rows)
    for name in names:
        rows = [row for row in measured_rows if row.dataset == name]
        block = Block(name)
        some = shown(rows, 4 if len(names) < 3 else 2)
        block.figures = [
            _drawn(reliability(row.model, found, dataset=name), said)
            for row in some
            for said, found in _by_group(row, rows)
        ]
        block.caption = (
            "Accuracy of photos by the confidence of their prediction; on the dashed "
            "line the two agree. Below, how many photos have each confidence."
        )
        if len(rows) > len(some):
            block.caption += f" {len(some)} of {len(rows)} models are drawn."
        block.tables = [sheets.calibration(rows)]
        blocks.append(block)
    return blocks


def _by_group(
    row: Result, rows: Sequence[Result]
) -> list[tuple[str, list[Calibration]]]:
    """A model's diagrams, as given and at its temperature, by group."""
    found: dict[str, list[Calibration]] = {}
    for one in row.calibration:
        said = called(row, rows) + (f", {one.group} group" if one.group else "")
        found.setdefault(said, []).append(one)
    return [(said, some[:2]) for said, some in found.items()]


def _factors(results: Results, who: dict[str, Who]) -> list[Block]:
    blocks = []
    for name in datasets(results.rows):
        rows = [row for row in results.rows if row.dataset == name and row.factors]
        lines = [one for one in results.factor_lines if one.dataset == name]
        if rows:
            block = Block(name)
            accuracy, ratio = figures.factors(rows)
            block.figures = [_drawn(accuracy), _drawn(ratio)]
            block.caption = (
                "Left or above: accuracy with Wilson intervals. Then the error ratio: "
                "errors on a factor's photos over errors on all; above 1, the factor "
                "is harder than average."
            )
            block.tables = [sheets.factors(rows)]
            blocks.append(block)
        if lines:
            block = Block(f"{name}: factors against overall accuracy")
            block.figures = [_drawn(figures.factor_line(one, who)) for one in lines]
            block.column = 17
            block.caption = (
                "Lines over the baseline models; marks as in the other figures."
            )
            block.tables = [fits.factor_lines(lines, name, who)]
            blocks.append(block)
    return blocks


def _detection(results: Results, who: dict[str, Who]) -> list[Block]:
    blocks = []
    for known in dict.fromkeys(one.id_dataset for one in results.detected):
        of_known = [one for one in results.detected if one.id_dataset == known]
        named = figures.leading(of_known, who)
        unknowns = list(dict.fromkeys(one.ood_dataset for one in of_known))
        block = Block(f"Unknown photos against {known}", column=20)
        for unknown in unknowns:
            found = [one for one in of_known if one.ood_dataset == unknown]
            drawing = figures.curves(found, who, named=named)
            block.figures.append(_drawn(drawing, unknown))
            sheet = sheets.detection(found)
            if unknown != unknowns[-1]:
                sheet = replace(sheet, notes=())  # told once, below the last
            block.tables.append(sheet)
        block.caption = (
            "ROC curves, ID photos positive, with the area under them in points: MCM "
            "of image-text models and MSP of the others, where they were computed."
        )
        if len({one.model for one in of_known}) > len(named):
            block.caption += " The best of each kind by name, others faint."
        blocks.append(block)
    return blocks
