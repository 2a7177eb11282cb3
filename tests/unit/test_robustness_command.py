"""What `counterset robustness` reads, finds and refuses."""

import csv
import json
import re

import pytest
from scipy import stats

from evaluation.errors import ConfigError, InputError, MetricError
from evaluation.metrics.effective_robustness import fit, transform
from evaluation.reference import baseline
from evaluation.robustness import ADDED, evaluate_points, read_points, table

ROWS = [
    ("a", "imagenet", 0.60, 0.40),
    ("b", "imagenet", 0.70, 0.52),
    ("c", "imagenet", 0.80, 0.66),
    ("d", "clip", 0.65, 0.40),
    ("e", "clip", 0.75, 0.65),
]


def text(rows=ROWS, header=("model", "kind", "val", "shift"), separator=","):
    return "\n".join(separator.join(map(str, row)) for row in (header, *rows)) + "\n"


@pytest.fixture
def write(tmp_path):
    def made(content, encoding="utf-8"):
        path = tmp_path / "points.csv"
        path.write_bytes(content.encode(encoding))
        return path

    return made


def ask(path, **more):
    asked = {"x": "val", "y": "shift", "baseline": "kind=imagenet", "draws": 50}
    return evaluate_points(path, **asked | more)


# -- what it finds


@pytest.mark.parametrize("scale", ["linear", "logit", "probit"])
def test_the_contract(write, scale):
    found = ask(write(text()), scale=scale)
    x, y = ([row[i] for row in ROWS[:3]] for i in (2, 3))
    line = stats.linregress(transform(x, scale), transform(y, scale))
    assert found["scale"] == scale
    assert found["slope"] == pytest.approx(line.slope)
    assert found["intercept"] == pytest.approx(line.intercept)
    assert found["r2"] == pytest.approx(line.rvalue**2)
    assert found["n_baseline"] == 3
    assert len(found["points"]) == 5
    own = fit(x, y, scale, draws=0)
    from evaluation.metrics.effective_robustness import predict

    for row, point in zip(ROWS, found["points"], strict=True):
        assert list(point) == ["model", "kind", "val", "shift", *ADDED]
        assert (point["model"], point["kind"]) == row[:2]
        assert (point["val"], point["shift"]) == row[2:]
        wanted = 100 * predict(own, [row[2]])[0]
        assert point["predicted"] == pytest.approx(wanted)
        rho = 100 * row[3] - wanted
        assert point["effective_robustness"] == pytest.approx(rho)
        low, high = point["effective_robustness_ci"]
        assert low <= high
        assert point["in_baseline"] == (row[1] == "imagenet")
    others = [p["effective_robustness"] for p in found["points"][3:]]
    assert found["mean_effective_robustness"] == pytest.approx(sum(others) / 2)
    assert json.loads(json.dumps(found))["points"][0]["predicted"] > 0


def test_percents_are_the_same_in_points(write):
    fractions = ask(write(text()), scale="logit")
    rows = [(*row[:2], 100 * row[2], 100 * row[3]) for row in ROWS]
    percents = ask(write(text(rows)), scale="logit", percent=True)
    assert percents["slope"] == pytest.approx(fractions["slope"])
    assert percents["intercept"] == pytest.approx(fractions["intercept"])
    for one, other in zip(percents["points"], fractions["points"], strict=True):
        assert one["predicted"] == pytest.approx(other["predicted"])
        assert one["effective_robustness"] == pytest.approx(
            other["effective_robustness"]
        )
        assert one["val"] == pytest.approx(100 * other["val"])


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_what_spreadsheets_write(write, separator, encoding, ends):
    content = text(separator=separator).replace("\n", ends) + ends
    found = ask(write(content, encoding))
    assert found["points"] == ask(write(text()))["points"]


def test_quoted_values_spaces_and_other_columns_stay(write):
    content = 'model,note , kind,val,shift\n"a, b",007,imagenet,0.6,0.4\n' + "".join(
        f"{m},,imagenet, {x},{y}\n" for m, x, y in (("c", 0.7, 0.5), ("d", 0.8, 0.7))
    )
    found = ask(write(content))
    assert found["points"][0]["model"] == "a, b"
    assert found["points"][0]["note"] == "007"
    assert found["points"][1]["val"] == 0.7
    assert found["mean_effective_robustness"] is None
    assert "no model beside the baseline" in table(found)


def test_commas_in_a_quoted_header_do_not_separate(write):
    content = text(header=('"a, b, c, d, e"', "kind", "val", "shift"), separator=";")
    assert ask(write(content))["models"] == list("abcde")


def test_counts_move_a_zero_inside(write):
    rows = [*ROWS, ("f", "imagenet", 0.5, 0.0)]
    with pytest.raises(MetricError, match="f on shift is 0.*number of photos"):
        ask(write(text(rows)))
    counted = text(
        [(*row, 50000, 7500) for row in rows],
        ("model", "kind", "val", "shift", "n", "m"),
    )
    found = ask(write(counted), n_x="n", n_y="m")
    assert found["corrected"]
    assert found["points"][0]["m"] == 7500
    assert "moved inside" in table(found)
    assert not ask(write(text(rows)), scale="linear")["corrected"]


def test_a_bundled_line(write):
    found = ask(write(text()), baseline=None, line="testbed:imagenet-v2")
    wanted = baseline("testbed:imagenet-v2")
    assert (found["slope"], found["intercept"]) == (wanted.slope, wanted.intercept)
    assert found["n_baseline"] == 87
    assert not any(point["in_baseline"] for point in found["points"])
    assert found["points"][0]["effective_robustness_ci"] is None
    assert found["baseline"] == "testbed:imagenet-v2"
    assert "mean of the 5 others" in table(found)
    with pytest.raises(MetricError, match="goes with accuracy on val-on-imagenet-r-cl"):
        ask(write(text()), baseline=None, line="testbed:imagenet-r")
    matched = ask(
        write(text()),
        baseline=None,
        line="testbed:imagenet-r",
        line_x="val-on-imagenet-r-classes",
        scale="probit",
    )
    assert (
        matched["slope"]
        == baseline(
            "testbed:imagenet-r", x="val-on-imagenet-r-classes", scale="probit"
        ).slope
    )
    with pytest.raises(ConfigError, match="did you mean testbed:imagenet-v2"):
        ask(write(text()), baseline=None, line="testbed:imagenet-v3")


def test_names_of_models(write):
    shuffled = text(
        [(r[1], r[0], *r[2:]) for r in ROWS], ("kind", "Name", "val", "shift")
    )
    assert ask(write(shuffled))["models"] == list("abcde")
    path = write(text(header=("who", "kind", "val", "shift")))
    assert ask(path)["models"] == list("abcde")
    assert ask(path, label="kind")["models"][0] == "imagenet"
    bare = "val,shift\n0.6,0.4\n0.7,0.5\n0.8,0.66\n"
    found = ask(write(bare), baseline=None, line="testbed:imagenet-v2")
    assert found["models"] == ["line 2", "line 3", "line 4"]


def test_table_has_a_row_for_each_model(write):
    lines = table(ask(write(text()), scale="linear")).splitlines()
    assert lines[0].startswith("line through 3 models (kind=imagenet), linear scale")
    row = next(line for line in lines if line.startswith("e "))
    told = r"e +75\.00 +65\.00 +59\.17 +\+5\.83 \[[+-]\d+\.\d\d, [+-]\d+\.\d\d\]"
    assert re.fullmatch(told, row)
    assert sum("(baseline)" in line for line in lines) == 3
    plain = table(ask(write(text()), scale="linear", draws=0))
    assert "[" not in plain


# -- what it refuses


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"x": "vla"}, r"--x: .* no column 'vla'; did you mean val\? Known: kind, mod"),
        ({"y": "imagenet-r"}, "--y: .* no column 'imagenet-r'; Known"),
        ({"n_x": "n"}, "--n-x: .* no column 'n'"),
        ({"label": "names"}, "--label: .* no column"),
        ({"baseline": "kinds=imagenet"}, "--baseline: .*did you mean kind"),
        ({"baseline": "imagenet"}, "--baseline is COLUMN=VALUE, not 'imagenet'"),
        ({"baseline": "kind=cnn"}, r"no row has 'cnn' in column kind; there are imag"
                                   r"enet \(3\), clip \(2\)"),
        ({"baseline": None}, "give either --baseline COLUMN=VALUE or --line NAME"),
        ({"line": "testbed:imagenet-v2"}, "give either"),
        ({"scale": "log"}, "unknown scale 'log'"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit(write, more, told):
    with pytest.raises(ConfigError, match=told):
        ask(write(text()), **more)


def changed(row, column, value):
    rows = [list(one) for one in ROWS]
    rows[row][column] = value
    return text(rows)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "points.csv is empty"),
        ("\n\n", "points.csv is empty"),
        ("model,kind,val,shift\n", "only a header"),
        (changed(1, 2, "n/a"), "line 3: 'n/a' in column val is not a number"),
        (changed(1, 2, ""), "line 3: column val is empty"),
        (changed(1, 3, "nan"), "line 3: column shift is nan"),
        (changed(1, 3, "inf"), "line 3: column shift is inf"),
        (changed(4, 3, 65.0), "line 6: 65 in column shift is not between 0 and 1; "
                              "if accuracies are percents, give --percent"),
        (changed(0, 2, -0.1), "line 2: -0.1 in column val is not between 0 and 1$"),
        (changed(0, 2, 630), "line 2: 630 in column val is not between 0 and 1$"),
        (text().replace("0.7,0.52", "0.7"), "line 3: 3 values under 4 columns"),
        (text().replace("0.7,0.52", "0.7,0.52,1"), "line 3: 5 values under 4"),
        (text(header=("val", "kind", "val", "shift")), "has the column 'val' twice"),
        (text(header=("model", "", "val", "shift")), "column 2 has no name"),
        (text(header=("predicted", "kind", "val", "shift")), "already has a column"),
        (text(separator=";").replace("0.7;", "0,7;"),
         r"line 3: '0,7' in column val is not a number \(a decimal point is wanted\)"),
        ('model,kind,val,shift\n"a,imagenet,0.5,0.4\n', "line 2: "),
    ],
)  # fmt: skip
def test_files_that_are_not_points(write, content, told):
    with pytest.raises(InputError, match=told):
        ask(write(content))


def test_files_that_are_not_text(write, tmp_path):
    with pytest.raises(InputError, match="not UTF-8 text .* save it as CSV, UTF-8"):
        ask(write(text(), "utf-16"))
    with pytest.raises(InputError, match="cannot read .*nothing.csv"):
        ask(tmp_path / "nothing.csv")
    with pytest.raises(InputError, match="cannot read"):
        ask(tmp_path)


def test_fractions_that_are_called_percents(write):
    with pytest.raises(InputError, match="fractions, leave out --percent"):
        ask(write(text()), percent=True)
    rows = [(*row[:2], 100 * row[2], 100 * row[3]) for row in ROWS]
    rows[2] = ("c", "imagenet", 120, 60)
    with pytest.raises(InputError, match="line 4: 120 .* between 0 and 100$"):
        ask(write(text(rows)), percent=True)


def test_too_few_baseline_models_are_named(write):
    with pytest.raises(MetricError, match="2 baseline models: d, e; .* at least 3"):
        ask(write(text()), baseline="kind=clip")


def test_counts_that_are_no_counts(write):
    header = ("model", "kind", "val", "shift", "n")
    for wrong in (0, 10.5, -3):
        path = write(text([(*row, wrong) for row in ROWS], header))
        with pytest.raises(InputError, match="line 2: .* not a number of photos"):
            ask(path, n_x="n")


def test_line_numbers_count_blank_and_broken_lines(write):
    content = 'model,kind,val,shift\n\n"a\nb",imagenet,0.5,0.4\n\nc,imagenet,x,0.4\n'
    with pytest.raises(InputError, match="line 6: 'x'"):
        ask(write(content))


def test_what_is_read_is_what_csv_reads(write):
    path = write(text())
    with path.open(newline="") as file:
        assert list(read_points(path).rows) == list(csv.DictReader(file))
