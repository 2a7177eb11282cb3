"""The evaluation report's tables: Markdown, LaTeX and one table of every number."""

import dataclasses
import json
import math
import re
import shutil
import subprocess
import sys

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.errors import InputError
from evaluation.reports import formats, latex, markdown, numbers, sheets, table, text
from evaluation.reports import write_tables as write
from evaluation.reports.models import register
from evaluation.results import Results
from evaluation.tables import frame
from tests.standins import results as made

NASTY = r"a_b%c&d#e~f^g\h{i}$j<k>l|m[n]`o'p\"q--r"


@pytest.fixture(scope="module")
def full() -> Results:
    return made.full(4, 3, shifts=("imagenet-v2", "imagenet-r"), unknown=("sun",))


@pytest.fixture(scope="module")
def found(full) -> pl.DataFrame:
    return frame(table(full))


def cells(line: str) -> list[str]:
    """Cells of a Markdown row; an escaped bar parts none."""
    return [one.strip() for one in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_the_drop_is_printed_from_unrounded_numbers():
    row = dataclasses.replace(
        made.grouped("open_clip:a/b", 80, 60, classes=3),
        common=70.004, counter=50.006, drop=70.004 - 50.006,
    )  # fmt: skip
    line = cells(markdown(Results((row,))).splitlines()[4])
    assert [one.split(" ")[0] for one in line[4:7]] == ["70.00", "50.01", "**20.00**"]


def test_markdown_has_a_table_per_family(full):
    told = markdown(full)
    headings = [line for line in told.splitlines() if line.startswith("### ")]
    for word in (
        "balanced accuracy of both groups", "per class", "lowest accuracy of a class",
        "fitted lines", "effective robustness", "log10", "calibration",
        "ImageNet-X factor", "factor against overall", "out-of-distribution",
        "Models in pairs",
    ):  # fmt: skip
        assert any(word in line for line in headings), word
    assert "- imagenet-r: no line" in told


def test_markdown_rows_have_as_many_cells_as_their_head(full):
    blocks = re.findall(r"(?:^\|.*\|$\n)+", markdown(full), re.MULTILINE)
    assert len(blocks) == len(text.tables(full))
    for block in blocks:
        assert len({len(cells(line)) for line in block.splitlines()}) == 1


def test_models_in_need_of_a_remark_have_footnotes():
    rows = (
        made.grouped("open_clip:a/b", 80, 60, classes=3, selected_on=True),
        made.grouped("demo:clip", 70, 60, classes=3),
        made.grouped("open_clip:c/d", 75, 60, classes=3, balanced=False,
                     left_out=("wombat",)),
        made.grouped("open_clip:e/f", 60, 40, classes=3),
    )  # fmt: skip
    told = markdown(Results(rows))
    lines = {cells(line)[1]: line for line in told.splitlines()[4:8]}
    marks = {name: re.findall(r"<sup>(\w)</sup>", line) for name, line in lines.items()}
    assert sorted(marks.values()) == [[], ["a"], ["b"], ["c"]]
    for mark, words in (("a", "Helped to choose"), ("b", "A demonstration"),
                        ("c", "Not balanced")):  # fmt: skip
        assert f"<sup>{mark}</sup> {words}" in told
    printed = latex(Results(rows))
    assert printed.count(r"\textsuperscript{b}") == 2
    assert "left out: wombat" in printed


def test_names_survive_markdown(full):
    row = made.grouped(NASTY, 80, 60, classes=2, prompts=None)
    line = markdown(Results((row,))).splitlines()[4]
    assert len(cells(line)) == 8
    name = re.sub(r"\\([\\`*_{}\[\]<>|~#&$])", r"\1", cells(line)[1])
    assert name == NASTY


LATEX = {
    "_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
}  # fmt: skip


@pytest.mark.parametrize(("sign", "wanted"), LATEX.items())
def test_latex_signs(sign, wanted):
    assert text.escape_latex(f"a{sign}b") == f"a{wanted}b"


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet=st.characters(codec="ascii"), max_size=30))
def test_escaped_latex_has_no_live_signs(name):
    escaped = text.escape_latex(name)
    left = re.sub(r"\\(text\w+\{\}|[&%$#_{}])", "", escaped)
    left = re.sub(r"\{[-\[\]]\}", "", left)
    assert not set(left) & set("\\&%$#_^~{}[]")
    assert "\n" not in escaped


def test_latex_is_balanced_and_well_formed(full):
    told = latex(full)
    opened = re.findall(r"\\(begin|end)\{(\w+)\}", told)
    stack = []
    for what, name in opened:
        if what == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert stack == []
    for rule in ("toprule", "midrule", "bottomrule"):
        assert told.count(f"\\{rule}") == len(text.tables(full))
    plain = re.sub(r"\\[{}]", "", told)
    assert plain.count("{") == plain.count("}")
    forms = re.findall(r"\\begin\{(?:tabular|longtable)\}\{([lr]+)\}(.*?)\\bottomrule",
                       told, re.DOTALL)  # fmt: skip
    for form, body in forms:
        rows = [line for line in body.splitlines() if " & " in line]
        counts = {len(re.findall(r"(?<!\\)&", line)) + 1 for line in rows}
        assert counts == {len(form)}


def test_labels_are_told_apart(full):
    labels = re.findall(r"\\label\{(.*?)\}", latex(full))
    assert len(labels) == len(set(labels)) == len(text.tables(full))


@pytest.mark.outside
def test_latex_compiles(full, tmp_path):
    if not (program := shutil.which("pdflatex")):
        pytest.skip("needs pdflatex")
    row = made.grouped(NASTY, 80, 60, classes=50, selected_on=True)
    more = Results((*full.rows, row), full.lines, notes=(NASTY,))
    (tmp_path / "tables.tex").write_text(latex(more))
    (tmp_path / "all.tex").write_text(
        "\\documentclass{article}\\usepackage[T1]{fontenc}\n"
        "\\usepackage{booktabs,longtable,graphicx}\n"
        "\\begin{document}\\input{tables.tex}\\end{document}\n"
    )
    done = subprocess.run(
        [program, "-halt-on-error", "-draftmode", "-interaction=batchmode", "all.tex"],
        cwd=tmp_path, check=False, capture_output=True,
    )  # fmt: skip
    log = (tmp_path / "all.log").read_text(errors="replace")
    assert done.returncode == 0, log[-3000:]


def test_long_tables_may_break_over_pages():
    row = made.grouped("open_clip:a/b", 80, 60, classes=45)
    assert "\\begin{longtable}" in latex(Results((row,)))
    short = dataclasses.replace(row, drops=row.drops[:3])
    assert "\\begin{longtable}" not in latex(Results((short,)))


def test_columns_and_one_row_per_number(found):
    assert tuple(found.columns) == numbers.COLUMNS
    assert found["n"].dtype == pl.Int64
    keys = [one for one in numbers.COLUMNS if one not in ("value", "low", "high", "n")]
    assert found.select(keys).is_duplicated().sum() == 0
    assert found["measure"].null_count() == found["group"].null_count() == 0


def test_numbers_are_those_of_the_results(full, found):
    row = full.rows[0]
    own = found.filter(model=row.model, dataset=row.dataset)

    def value(measure: str, **where) -> tuple:
        (one,) = own.filter(measure=measure, **where).iter_rows(named=True)
        return one["value"], one["low"], one["high"], one["unit"], one["n"]

    assert value("drop") == (
        row.drop, *row.drop_ci, "points", row.n_common + row.n_counter
    )  # fmt: skip
    assert value("drop_over_classes")[1:3] == row.drop_ci_classes
    assert value("accuracy", group="common")[:3] == (row.common, *row.common_ci)
    first, second = (one for one in row.calibration if one.group == "counter")
    given = value("ece", name="as given", group="counter")
    assert given[0] == pytest.approx(100 * first.ece)
    name = f"fitted on {second.fitted_on}"
    assert value("nll", name=name, group="counter")[0] == second.nll
    assert value("nll", name=name, group="counter")[3] == "nats"
    drop = row.drops[3]
    assert value("class_drop", name=drop.name)[0] == drop.drop
    assert own.filter(measure="class_accuracy").height == len(row.classes)


def test_fractions_become_points_as_in_the_json(full, found):
    """The table and results.json tell the same effective robustness and AUROC."""
    told = json.loads(full.to_json())
    for one in told["lines"]:
        points = one["robustness"]["points"]
        own = found.filter(
            measure="effective_robustness", dataset=one["dataset"]
        ).filter(
            pl.col("name").str.starts_with(
                f"{one['robustness']['line']['scale']}, {one['weighting']}, "
                f"x: {one['robustness']['x_name']}, "
                f"line over {one['robustness']['line']['baseline']}"
            )
        )
        assert own["value"].to_list() == pytest.approx(
            [point["effective_robustness"] for point in points]
        )
    areas = [one["detection"]["auroc"] for one in told["detected"]]
    own = found.filter(measure="auroc")
    assert own["value"].to_list() == pytest.approx(areas)


def test_every_family_is_in_the_table(found):
    for measure in (
        "accuracy", "micro", "drop", "worst", "failed", "background_accuracy",
        "temperature", "brier", "factor_accuracy", "factor_error_ratio", "slope",
        "effective_robustness", "factor_slope", "auroc", "fpr95_id_pos",
        "fpr95_ood_pos", "scaling_slope", "drop_difference", "mcnemar_p_mid",
    ):  # fmt: skip
        assert found.filter(measure=measure).height, measure
    assert found["value"].is_nan().sum() == 0


def test_undefined_numbers_are_null(full):
    row = dataclasses.replace(full.rows[0], drop_ci=None, more={"odd": math.nan})
    own = frame(table(Results((row,))))
    assert own.filter(measure="drop")["low"].to_list() == [None]
    assert own.filter(measure="odd")["value"].to_list() == [None]


def test_no_results_make_an_empty_table():
    assert table(Results(())).num_rows == 0
    assert markdown(Results(())) == ""
    assert "tabular" not in latex(Results(()))


def test_files(full, found, tmp_path):
    write(full, tmp_path / "tables")
    folder = tmp_path / "tables"
    assert sorted(path.name for path in folder.iterdir()) == [
        "results.md", "results.parquet", "results.tex",
    ]  # fmt: skip
    assert pl.read_parquet(folder / "results.parquet").equals(found)
    assert (folder / "results.md").read_text() == markdown(full)
    assert (folder / "results.tex").read_text() == latex(full)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    write(made.full(4, 3, shifts=("imagenet-v2", "imagenet-r"), unknown=("sun",)),
          folder)  # fmt: skip
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_that_cannot_be_written_to_is_told(full, tmp_path):
    (tmp_path / "tables").write_text("a file where the folder should be")
    with pytest.raises(InputError, match="cannot write"):
        write(full, tmp_path / "tables")


def test_a_long_table_says_how_many_rows_it_had(full):
    rows = [row for row in full.rows if row.drop is not None]
    sheet = sheets.main(rows, register(full))
    assert sheets.cut(sheet, 99) is sheet
    short = sheets.cut(sheet, 2)
    assert len(short.rows) == 2
    assert "first 2 of 7" in short.notes[-1]


def test_reading_tables_needs_no_figures():
    code = (
        "import sys; from evaluation.reports import markdown; "
        "heavy = {'matplotlib', 'torch', 'pandas'} & {*sys.modules}; print(heavy)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (0.004, "0.00"),
        (-0.001, "0.00"),
        (-1.5, "\u22121.50"),
        (math.inf, "\u2013"),
        (math.nan, "\u2013"),
        (None, "\u2013"),
    ],
)
def test_points(value, wanted):
    assert formats.points(value) == wanted


def test_bounds_that_are_not_numbers():
    assert formats.bounds((math.nan, 1.0)) == "undefined"
