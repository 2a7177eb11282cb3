"""The evaluation report's page and figures, with any models and families there are."""

import dataclasses
import itertools
import math
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from evaluation.metrics.calibration import Bin
from evaluation.metrics.scaling import ScalingCurve, ScalingPoint
from evaluation.reports import curves, figures, fits, models, page, scatter, svg
from evaluation.reports.dots import Series, dots
from evaluation.results import Lines, Result, Results
from tests.standins import results as made

HOSTILE = "<script>alert('x')</script>\"&$a^b_{c}$"
NAN = math.nan


class Page(HTMLParser):
    """Figures, tables and links of a page; counts what was not closed."""

    VOID = ("meta", "link", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.asked: list[str] = []
        self.labels: list[str] = []
        self.ids: list[str] = []
        self.headings: list[int] = []
        self.scripts = 0
        self.tables = self.captions = 0
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        self.asked += [found[key] for key in ("src", "href") if found.get(key)]
        if "id" in found:
            self.ids.append(found["id"])
        self.scripts += tag == "script"
        self.tables += tag == "table"
        self.captions += tag == "caption"
        if tag == "svg":
            assert found["role"] == "img"
            self.labels.append(found["aria-label"])
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def full() -> Results:
    return made.full(7, 4, shifts=("imagenet-r",), unknown=("sun",))


@pytest.fixture(scope="module")
def text(full) -> str:
    return page(full)


def drawing(text: str) -> ET.Element:
    """An SVG element that any reader takes, with finite numbers only."""
    root = ET.fromstring(text)
    numbers = [
        value
        for node in root.iter()
        for key, value in node.items()
        if "label" not in key
    ]
    assert not re.search(r"\b(nan|inf)\b", " ".join(numbers))
    return root


def words(text: str) -> list[str]:
    return [
        "".join(node.itertext()) for node in drawing(text).iter() if node.tag == "text"
    ]


def who(number: int = 1, **changes) -> models.Who:
    settings = {"name": f"model {number}", "number": number, "kind": "text"}
    return models.Who(**settings | changes)


def test_the_page_is_whole_and_asks_for_nothing(text):
    found = Page(text)
    assert found.open == []
    assert found.scripts == 0
    assert all(one.startswith(("#", "data:")) for one in found.asked)
    assert "default-src 'none'" in text
    assert not re.search(r"url\(\s*['\"]?https?:", text)
    assert len(found.ids) == len(set(found.ids)), "ids are told apart across figures"
    linked = {one[1:] for one in found.asked if one.startswith("#")}
    assert linked <= set(found.ids)
    assert found.tables == found.captions > 10
    assert found.headings[0] == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(found.headings))


def test_every_family_has_its_figures_and_tables(text):
    found = Page(text)
    for title in (
        "Not measured", "Fitted lines", "Drop per class", "Accuracy per background",
        "Worst groups", "Datasets without groups", "Effective robustness",
        "Accuracy and samples seen", "Calibration", "Visual factors",
        "Out-of-distribution detection", "Models in pairs", "Where the numbers are",
    ):  # fmt: skip
        assert title in found.text, title
    for start in (
        "Accuracy on the counter group against the common group", "Drop per class on",
        "Accuracy of ", "imagenet-r against", "Accuracy on counteranimal, common group",
        "Reliability of", "Accuracy per factor on", "Error rate per factor",
        "Accuracy on photos of factor pose", "ROC curves of sun against imagenet-val",
    ):  # fmt: skip
        assert any(label.startswith(start) for label in found.labels), start
    assert "helped to choose the groups" in found.text


def test_colours_follow_the_page(text):
    assert "#010203" not in text
    assert not re.search(r"(fill|stroke): #(?!fff)", text.split("</style>")[1])
    for name in ("--first", "--second", "--faint"):
        assert f"var({name})" in text
        assert text.split("</style>")[0].count(f"{name}:") == 3  # light, dark, print


def test_equal_results_give_equal_text(full, text):
    again = made.full(7, 4, shifts=("imagenet-r",), unknown=("sun",))
    assert again == full
    assert page(again) == text


@pytest.mark.parametrize("counts", [(1, 0), (0, 1), (2, 0), (0, 2), (1, 1), (3, 2)])
def test_few_models(counts):
    found = Page(page(made.full(*counts, shifts=(), unknown=("sun",))))
    assert found.open == []
    assert "common" in found.labels[0]
    assert ("image-text pairs" in found.text) == (counts[0] > 0)


EMPTY = {"lines": (), "detected": (), "scaling": (), "comparisons": (),
         "factor_lines": (), "notes": ()}  # fmt: skip
TITLES = {
    "lines": "Effective robustness",
    "detected": "Out-of-distribution detection",
    "scaling": "Accuracy and samples seen",
    "comparisons": "Models in pairs",
    "factor_lines": "factors against overall accuracy",
    "notes": "Not measured",
}


@pytest.mark.parametrize("family", EMPTY)
def test_one_family_alone(full, family):
    rows = tuple(
        dataclasses.replace(row, calibration=(), factors=None) for row in full.rows
    )
    some = Results(rows, **EMPTY | {family: getattr(full, family)})
    found = Page(page(some))
    shown = {name for name, title in TITLES.items() if title in found.text}
    assert shown == {family}
    assert "Calibration" not in found.text


def test_a_dataset_without_groups_alone():
    row = made.plain("torchvision:a/b", "folder", 50.0, calibration=())
    found = Page(page(Results((row,))))
    assert "no common and counter groups" in found.text
    assert found.labels == []


def test_no_results_at_all():
    assert Page(page(Results(()))).tables == 0


def test_names_of_strangers_are_only_names():
    row = made.grouped(HOSTILE, 80, 60, classes=3, dataset=HOSTILE, seed=1)
    cells = [dataclasses.replace(one, name=f"{HOSTILE}{n}") for n, one in
             enumerate(row.drops)]  # fmt: skip
    grounds = tuple(dataclasses.replace(one, name=HOSTILE) for one in row.backgrounds)
    row = dataclasses.replace(
        row, drops=tuple(cells), backgrounds=grounds, prompts=HOSTILE,
        label_space=HOSTILE, more={HOSTILE: 1.0},
        provenance={HOSTILE: {HOSTILE: [HOSTILE]}, "note": HOSTILE},
    )  # fmt: skip
    text = page(Results((row,), notes=(HOSTILE,)))
    found = Page(text)
    assert found.scripts == 0
    assert found.open == []
    assert "<script" not in text
    assert HOSTILE in " ".join(found.labels)
    assert found.text.count("<script>alert('x')</script>") > 8


def test_figures_write_what_their_data_say_unchanged():
    name = "#010203 1.23456 $x$ <b>"
    series = Series(name=name, marker="o", colour=svg.FIRST, values=[1.0])
    found = words(dots([name], [series], label=name, about=name))
    assert found.count(name) == 3
    assert "\u5ca9" in words(dots(["\u5ca9"], [series], label="", about=""))


MARKS = {
    "one": [(60.0, 40.0)],
    "two": [(60.0, 40.0), (70.0, 60.0)],
    "the same": [(60.0, 40.0)] * 5,
    "ends": [(0.0, 0.0), (100.0, 100.0)],
    "on the line": [(50.0, 50.0)],
    "far from it": [(99.0, 2.0), (98.0, 1.0)],
    "nan": [(60.0, 40.0), (NAN, 40.0)],
    "nothing": [(NAN, NAN)],
}


@pytest.mark.parametrize("scale", ["linear", "logit", "probit"])
@pytest.mark.parametrize("places", MARKS.values(), ids=MARKS)
def test_scatter_of_any_points(places, scale):
    marks = [
        scatter.Mark(
            who=who(n), x=x, y=y, x_ci=(x - 1, x + 1), y_ci=[None, (NAN, NAN)][n % 2]
        )
        for n, (x, y) in enumerate(places)
    ]
    track = scatter.Track(
        name="a line", kind="text", places=[(0.0, 0.0), (100.0, 100.0), (NAN, 3.0)],
        band=[(50.0, 40.0, 60.0), (60.0, 50.0, 70.0), (70.0, NAN, NAN)],
    )  # fmt: skip
    text = scatter.scatter(
        marks, [track], names=("x", "y"), equal="no drop", about="a", scale=scale
    )
    assert "a line" in words(text)
    panel = scatter.small(marks, [track], title="t", names=("x", "y"), about="")
    assert "t" in words(panel)


def test_marks_and_legend_name_each_kind():
    kinds = [
        who(1, kind="text"), who(2, kind="classifier"), who(3, kind="answering"),
        who(4, kind="text", demonstration=True), who(5, selected=True),
        models.Who(name="elsewhere"),
    ]  # fmt: skip
    marks = [scatter.Mark(who=one, x=50.0 + 5 * n, y=40.0 + 7 * n)
             for n, one in enumerate(kinds)]  # fmt: skip
    found = words(scatter.scatter(marks, names=("x", "y"), about=""))
    for name in (*models.KINDS.values(), "helped to choose the groups"):
        assert name in found
    assert "image-text model, demonstration only" in found
    assert {"1", "2", "3", "4", "5"} <= set(found)
    alone = words(scatter.scatter(marks[:1], names=("x", "y"), about=""))
    assert "ImageNet classifier" not in alone


def test_numbers_never_cover_each_other():
    marks = [
        scatter.Mark(who=who(n), x=50 + n % 20, y=40 + n // 20 + 0.1 * n)
        for n in range(250)
    ]
    root = drawing(scatter.scatter(marks, names=("x", "y"), about=""))
    boxes = []
    for node in root.iter("text"):
        text = "".join(node.itertext())
        size = re.search(r"font-size: ([\d.]+)px", node.get("style", ""))
        if size and float(size[1]) == 8.5 and text.isdigit():
            x, y = float(node.get("x")), float(node.get("y"))
            boxes.append((x, y - 6, x + 5 * len(text), y))
    assert 5 < len(boxes) < 250
    for one, other in itertools.combinations(boxes, 2):
        assert one[0] >= other[2] or other[0] >= one[2] or (
            one[1] >= other[3] or other[1] >= one[3]
        )  # fmt: skip


def test_a_selected_model_keeps_its_number_among_many():
    marks = [
        scatter.Mark(who=who(n, selected=n == 200), x=60 + n % 9 / 99, y=50 + n / 999)
        for n in range(1, 251)
    ]
    found = words(scatter.scatter(marks, names=("x", "y"), about=""))
    assert "200" in found


def test_the_line_of_no_drop_is_always_to_be_seen():
    for x, y in ((60.0, 40.0), (90.0, 3.0), (50.0, 60.0)):
        marks = [scatter.Mark(who=who(), x=x, y=y)]
        text = scatter.scatter(marks, names=("x", "y"), about="", equal="no drop")
        assert "no drop" in "".join(words(text))


def test_the_line_drawn_is_the_line_fitted(full):
    register = models.register(full)
    for one in full.lines:
        line = one.robustness.line
        drawn = figures.track(one.robustness, register)
        for x, y in drawn.places:
            if line.scale == "linear":
                assert y == pytest.approx(100 * (line.slope * x / 100 + line.intercept))
            else:
                logit = line.slope * math.log(x / (100 - x)) + line.intercept
                assert y == pytest.approx(100 / (1 + math.exp(-logit)))
        fitted = [100 * one.x for one in one.robustness.points if one.baseline]
        assert min(x for x, _ in drawn.places) == pytest.approx(min(fitted))


def test_only_linear_balanced_lines_are_drawn_by_default(full):
    found = figures.headline(full, "counteranimal", "imagenet")
    assert {one.robustness.line.scale for one in found} == {"linear"}
    assert {one.weighting for one in found} == {"balanced"}
    assert len(found) == 2


def test_lines_without_numbers():
    text = made.full(4, 3, shifts=("v2",), unknown=())
    broken = tuple(
        dataclasses.replace(
            one,
            robustness=dataclasses.replace(
                one.robustness,
                line=dataclasses.replace(
                    one.robustness.line, slope=NAN, intercept=NAN, r2=NAN, band=(),
                    slope_ci=None, intercept_ci=None, corrected=True, baseline="",
                ),
                points=tuple(
                    dataclasses.replace(p, y=NAN, effective_robustness=NAN,
                                        effective_robustness_ci=None)
                    for p in one.robustness.points
                ),
            ),
        )
        for one in text.lines
    )  # fmt: skip
    rows = tuple(dataclasses.replace(row, calibration=()) for row in text.rows)
    found = Page(page(Results(rows, lines=broken)))
    assert "Corrected: accuracies of 0 or 1" in found.text


def test_class_drops_of_one_class_and_of_a_thousand():
    one = made.grouped("open_clip:a/b", 80, 60, classes=1)
    assert "ostrich" in figures.class_drops([one])[0]
    many = made.grouped("open_clip:a/b", 80, 60, classes=1000)
    text, note = figures.class_drops([many])
    assert "1000 classes" in note
    assert sum(word.startswith("class ") for word in words(text)) <= 60


def test_a_class_in_one_model_only():
    first = made.grouped("open_clip:a/b", 80, 60, classes=4)
    second = made.grouped("torchvision:c/d", 80, 60, classes=3)
    text, _ = figures.class_drops([first, second])
    assert "class 4" in words(text)


def test_newcombe_contains_the_drop():
    for k, n in itertools.product(range(0, 21, 5), repeat=2):
        one = made.ClassDrop(name="", common=5.0 * k, counter=5.0 * n,
                             drop=5.0 * (k - n), n_common=20, n_counter=20)  # fmt: skip
        low, high = figures.newcombe(one)
        assert low - 1e-9 <= one.drop <= high + 1e-9
        assert low >= -100 - 1e-9
        assert high <= 100 + 1e-9
    assert figures.newcombe(dataclasses.replace(one, n_common=0)) is None


@pytest.mark.parametrize("n", [1, 2, 9])
def test_scaling_of_any_points(n):
    found = [
        ScalingPoint(model=f"m{k}", seen=1e9 * (1 + k % 2), value=0.5, family=f"f{k}",
                     source="inferred" if k % 2 else "paper")
        for k in range(n)
    ]  # fmt: skip
    found.append(ScalingPoint(model="odd", seen=0.0, value=NAN, family="f0"))
    curve = ScalingCurve(family="", slope=NAN, intercept=NAN, r2=NAN, n=n,
                         slope_ci=None, points=tuple(found))  # fmt: skip
    alone = words(curves.scaling([curve], label="y", about=""))
    assert ("hollow: number of pairs inferred" in alone) == (n > 1)
    families = [dataclasses.replace(curve, family=point.family, slope=-0.1,
                                    intercept=0.2, points=(point,))
                for point in found[:n]]  # fmt: skip
    both = words(curves.scaling([curve, *families], label="y", about=""))
    assert "f0" in both
    assert ("other families" in both) == (n > 6)


def test_scaling_without_any_place_is_left_out(full):
    point = ScalingPoint(model="m", seen=0.0, value=0.5)
    curve = ScalingCurve(family="", slope=NAN, intercept=NAN, r2=NAN, n=1,
                         slope_ci=None, points=(point,))  # fmt: skip
    one = made.Scaling(dataset="d", group="", curves=(curve,))
    some = Results(full.rows, scaling=(one,))
    assert "Accuracy and samples seen" not in page(some)


def test_reliability_with_empty_bins_and_one_temperature(full):
    found = full.rows[0].calibration
    empty = dataclasses.replace(
        found[0], reliability=(Bin(0.0, 0.5, 0, NAN, NAN), Bin(0.5, 1.0, 9, 0.7, 0.6))
    )
    text = curves.reliability("m", [empty], dataset="d")
    assert "as given, ECE 9.00" in words(text)
    both = words(curves.reliability("m", found[:2], dataset="d"))
    assert "T = 1.37, ECE 1.00" in both


def test_reliability_of_both_groups(text):
    labels = [one for one in Page(text).labels if one.startswith("Reliability")]
    assert sum("counteranimal, counter group" in one for one in labels) == 2
    assert sum("counteranimal, common group" in one for one in labels) == 2


def test_selected_models_are_not_in_the_mean_gap(full):
    register = models.register(full)
    (selected,) = [name for name, one in register.items() if one.selected]
    for one in full.lines:
        others = [p for p in one.robustness.points if not p.baseline]
        wanted = [
            100 * point.effective_robustness
            for point in others
            if one.x != "common" or point.model != selected
        ]
        assert fits.gaps(one, register) == pytest.approx(wanted)


def test_many_curves_name_a_few(full):
    many = made.full(40, 30, shifts=(), unknown=("sun",))
    register = models.register(many)
    named = figures.leading(many.detected, register)
    assert len(named) == 4
    assert {register[name].kind for name in named} == {"text", "classifier"}
    text = figures.curves(many.detected, register, named=named)
    assert sum("msp" in word or "mcm" in word for word in words(text)) == 4


def test_the_score_of_a_curve_is_the_usual_one(full):
    register = models.register(full)
    for one in figures.usual(full.detected, register):
        assert one.detection.score == ("mcm" if made.is_text(one.model) else "msp")


def test_selected_models_stand_first_among_the_few(full):
    rows = [row for row in full.rows if row.drop is not None]
    some = models.shown(rows)
    assert some[0].selected_on
    assert {models.kind(row) for row in some} == {"text", "classifier"}


def test_kinds_and_numbers(full):
    answering = made.grouped("lvlm:x", 70, 60, provenance={"kind": "lvlm"})
    assert models.kind(answering) == "answering"
    register = models.register(full)
    assert sorted(one.number for one in register.values()) == list(range(1, 12))
    rows = models.ranked([row for row in full.rows if row.drop is not None])
    assert [register[row.model].number for row in rows] == list(range(1, 12))


def test_label_spaces_of_one_dataset_are_told_apart():
    row = made.grouped("open_clip:a/b", 80, 60, classes=3)
    other = dataclasses.replace(row, label_space="top20")
    found = Page(page(Results((row, other))))
    assert "counteranimal, label space top20" in found.text
    scatters = [one for one in found.labels if "against the common group" in one]
    assert len(scatters) == 2
    assert "open_clip:a/b, paper, top20" in found.text


def test_prompts_of_one_model_are_told_apart():
    row = made.grouped("open_clip:a/b", 80, 60, classes=3)
    other = dataclasses.replace(row, prompts="openai80", common=81.0)
    found = Page(page(Results((row, other))))
    assert "prompts openai80" in found.text


def test_not_balanced_is_told():
    row = made.grouped("open_clip:a/b", 80, 60, classes=3, balanced=False,
                       left_out=("wombat",))  # fmt: skip
    found = Page(page(Results((row,))))
    assert "not balanced" in found.text
    assert "left out: wombat" in found.text


def test_provenance_says_once_what_is_the_same():
    rows = tuple(
        made.plain("torchvision:a/b", name, 50.0, provenance={"weights": "w1", "at": n})
        for n, name in enumerate(("v2", "sketch"))
    )
    found = Page(page(Results(rows))).text
    assert found.count("w1") == 1
    assert "on sketch at: 1" in found


def test_size_and_number_of_figures_for_many_models(full):
    some = made.full(28, 17)
    text = page(some)
    assert len(text.encode()) < 5e6
    assert len(Page(text).labels) < 80


def test_result_rows_are_results(full):
    assert all(isinstance(row, Result) for row in full.rows)
    assert all(isinstance(one, Lines) for one in full.lines)
