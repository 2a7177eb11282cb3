"""The tables as Markdown and LaTeX, and as files."""

from pathlib import Path

from evaluation.reports import fits, sheets
from evaluation.reports.models import datasets, register, shown
from evaluation.reports.numbers import table
from evaluation.reports.sheets import EXPLAINED, Column, Entry, Sheet
from evaluation.results import Results
from evaluation.tables import write, write_bytes

LONG = 40
"""Rows beyond which a LaTeX table may break over pages."""

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def tables(results: Results) -> list[Sheet]:
    """Everything there is a table of, in the order of the page."""
    who = register(results)
    found: list[Sheet] = []
    for name in datasets(results.rows):
        rows = [row for row in results.rows if row.dataset == name]
        found.append(sheets.main(rows, who))
        grouped = [row for row in rows if row.drops]
        if grouped:
            found.append(sheets.class_drops(shown(grouped)))
            found.append(sheets.worst(grouped))
        lines = [
            one for one in results.lines if one.dataset == name and one.x == "common"
        ]
        if lines:
            found.append(fits.lines(lines, name, who))
    shifts = [one for one in results.lines if one.x != "common"]
    for name in dict.fromkeys(one.dataset for one in shifts):
        some = [one for one in shifts if one.dataset == name]
        found.append(fits.lines(some, name, who))
        found += [fits.robustness(one, name, who) for one in some]
    found += [fits.scaling(one) for one in results.scaling if one.curves]
    for name in datasets(results.rows):
        rows = [row for row in results.rows if row.dataset == name]
        if any(row.calibration for row in rows):
            found.append(sheets.calibration(rows))
        if any(row.factors for row in rows):
            found.append(sheets.factors(rows))
    for name in dict.fromkeys(one.dataset for one in results.factor_lines):
        some_lines = [one for one in results.factor_lines if one.dataset == name]
        found.append(fits.factor_lines(some_lines, name, who))
    pairs = dict.fromkeys((one.id_dataset, one.ood_dataset) for one in results.detected)
    for pair in pairs:
        found.append(
            sheets.detection(
                [
                    one
                    for one in results.detected
                    if (one.id_dataset, one.ood_dataset) == pair
                ]
            )
        )
    if results.comparisons:
        found.append(fits.comparisons(results.comparisons))
    return found


def markdown(results: Results) -> str:
    """Every table in Markdown (GitHub's); intervals in brackets.

    Args:
        results: of any models and datasets.
    """
    parts = [_markdown(sheet) for sheet in tables(results)]
    if results.notes:
        told = "\n".join(f"- {_escaped(note)}" for note in results.notes)
        parts.append(f"Not measured:\n\n{told}\n")
    return "\n".join(parts)


def _markdown(sheet: Sheet) -> str:
    head = [_escaped(column.title) for column in sheet.columns]
    rule = ["---:" if column.numeric else "---" for column in sheet.columns]
    lines = [head, rule]
    for row in sheet.rows:
        cells = []
        for entry in row:
            text = _escaped(entry.text)
            text = f"**{text}**" if entry.strong else text
            if entry.small:
                text += f" ({_escaped(entry.small.strip('()'))})"
            marks = "".join(
                f"<sup>{_letter(sheet, mark)}</sup>" for mark in entry.marks
            )
            cells.append(text + marks)
        lines.append(cells)
    body = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    notes = [
        f"<sup>{_letter(sheet, mark)}</sup> {EXPLAINED[mark]}" for mark in sheet.marks
    ]
    notes += [_escaped(note) for note in sheet.notes]
    told = "".join(f"\n{note}\n" for note in notes)
    return f"### {_escaped(sheet.caption)}\n\n{body}\n{told}"


def _letter(sheet: Sheet, mark: str) -> str:
    return _LETTERS[sheet.marks.index(mark)]


_SPECIAL = "\\`*_{}[]<>|~#&$"


def _escaped(text: str) -> str:
    r"""Text as Markdown shows it unchanged.

    Example:
        >>> print(_escaped("a_b|c <i>"))
        a\_b\|c \<i\>
    """
    one_line = " ".join(text.split())
    return "".join(f"\\{sign}" if sign in _SPECIAL else sign for sign in one_line)


_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "-": "{-}",  # two or three of them would become a dash
    "[": "{[}",  # after a line's end it would be an option
    "]": "{]}",
    "\u2212": r"$-$",
    "\u2013": "--",
    "\u2026": r"\ldots{}",
    "\u00d7": r"$\times$",
    "\u00b7": r"$\cdot$",
    "\u00b2": r"\textsuperscript{2}",
}


def escape_latex(text: str) -> str:
    r"""Text as LaTeX prints it unchanged.

    Letters of other scripts are left as they are: they need LuaLaTeX or XeLaTeX.

    Example:
        >>> print(escape_latex("ViT_B & 50% #1 ~ ^ \\"))
        ViT\_B \& 50\% \#1 \textasciitilde{} \textasciicircum{} \textbackslash{}
    """
    one_line = " ".join(text.split())
    return "".join(_LATEX.get(sign, sign) for sign in one_line if sign.isprintable())


def latex(results: Results) -> str:
    r"""Every table in LaTeX, to be read with `\input`.

    Needs the packages booktabs, longtable and graphicx; wide tables are scaled down to
    the line.

    Args:
        results: of any models and datasets.
    """
    head = (
        "% needs \\usepackage{booktabs,longtable,graphicx}\n"
        "% and \\usepackage[T1]{fontenc}\n"
    )
    parts = [_latex(sheet, number) for number, sheet in enumerate(tables(results), 1)]
    if results.notes:
        told = "\n".join(f"\\item {escape_latex(note)}" for note in results.notes)
        parts.append(
            "\\paragraph{Not measured}\n"
            f"\\begin{{itemize}}\n{told}\n\\end{{itemize}}\n"
        )
    return "\n".join([head, *parts])


def _latex(sheet: Sheet, number: int) -> str:
    form = "".join("r" if column.numeric else "l" for column in sheet.columns)
    head = " & ".join(_title(column) for column in sheet.columns) + r" \\"
    body = "\n".join(
        " & ".join(_cell(entry, sheet) for entry in row) + r" \\" for row in sheet.rows
    )
    caption = (
        f"\\caption{{{escape_latex(sheet.caption)}}}\\label{{tab:counterset-{number}}}"
    )
    notes = [
        f"\\textsuperscript{{{_letter(sheet, mark)}}} {escape_latex(EXPLAINED[mark])}"
        for mark in sheet.marks
    ]
    notes += [escape_latex(note) for note in sheet.notes]
    told = "".join(f"\\par\\footnotesize {note}\n" for note in notes)
    if len(sheet.rows) > LONG:
        return (
            f"{{\\scriptsize\n\\begin{{longtable}}{{{form}}}\n{caption} \\\\\n"
            f"\\toprule\n{head}\n\\midrule\n\\endhead\n{body}\n\\bottomrule\n"
            f"\\end{{longtable}}\n{told}}}\n"
        )
    return (
        f"\\begin{{table}}\n\\centering\n{caption}\n\\resizebox{{\\linewidth}}{{!}}{{%\n"
        f"\\begin{{tabular}}{{{form}}}\n\\toprule\n{head}\n\\midrule\n{body}\n"
        f"\\bottomrule\n\\end{{tabular}}}}\n{told}\\end{{table}}\n"
    )


def _title(column: Column) -> str:
    return escape_latex(column.title)


def _cell(entry: Entry, sheet: Sheet) -> str:
    text = escape_latex(entry.text)
    text = f"\\textbf{{{text}}}" if entry.strong else text
    for mark in entry.marks:
        text += f"\\textsuperscript{{{_letter(sheet, mark)}}}"
    if entry.small:
        text += f" {{\\scriptsize ({escape_latex(entry.small.strip('()'))})}}"
    return text


def write_tables(results: Results, folder: Path) -> None:
    """Write results.parquet, results.md and results.tex.

    Args:
        results: of any models and datasets.
        folder: made when missing.

    Raises:
        InputError: the folder cannot be written to.
    """
    write(folder / "results.parquet", table(results))
    write_bytes(folder / "results.md", markdown(results).encode())
    write_bytes(folder / "results.tex", latex(results).encode())
