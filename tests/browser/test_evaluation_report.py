"""The evaluation report in headless Chromium: wide and narrow, light and dark."""

import base64
import re
from pathlib import Path

import pytest

from evaluation.reports import page
from tests.browser.chromium import NEEDED, VIEWS, requests, show
from tests.standins import results as made

pytest.importorskip("selenium")
pytestmark = NEEDED

# what sticks out of the page, unless it lies in a box that scrolls by itself
STICKS_OUT = """
const wide = document.documentElement.clientWidth, found = [];
const inside = (e) => { for (; e; e = e.parentElement) {
  const flow = getComputedStyle(e).overflowX;
  if (flow === 'auto' || flow === 'scroll') return true; }
  return false; };
for (const e of document.querySelectorAll('main *')) {
  const box = e.getBoundingClientRect();
  if (box.width && (box.right > wide + 1 || box.left < -1) && !inside(e.parentElement))
    found.push(e.tagName + ' ' + Math.round(box.left) + '-' + Math.round(box.right)
      + ' ' + e.textContent.slice(0, 40));
}
return [document.documentElement.scrollWidth, wide, found.slice(0, 9)];
"""
# of every figure: size, words outside of it, height of its smallest letters
FIGURES = """
return [...document.querySelectorAll('svg')].map(s => {
  const own = s.getBoundingClientRect();
  const out = [...s.querySelectorAll('text')].filter(t => {
    const box = t.getBoundingClientRect();
    return box.right > own.right + 8 || box.left < own.left - 8
      || box.top < own.top - 8 || box.bottom > own.bottom + 8; });
  const sizes = [...s.querySelectorAll('text')].map(t =>
    parseFloat(getComputedStyle(t).fontSize) * own.width / s.viewBox.baseVal.width);
  return {name: s.getAttribute('aria-label').slice(0, 50), role: s.getAttribute('role'),
    width: own.width, height: own.height, out: out.map(t => t.textContent),
    letters: Math.min(...sizes)}; });
"""
COLOURS = """
const paper = getComputedStyle(document.body).backgroundColor, found = new Set();
for (const t of document.querySelectorAll('svg text, p, th, td, small, dt, a')) {
  const style = getComputedStyle(t);
  found.add(t.tagName === 'text' ? style.fill : style.color); }
const marks = new Set();
for (const u of document.querySelectorAll('svg use, svg path')) {
  const fill = getComputedStyle(u).stroke;
  if (fill.startsWith('rgb')) marks.add(fill); }
return [paper, [...found], [...marks]];
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    name = "open_clip:convnext_large_d_320/a_checkpoint_with_quite_a_long_name_s29b"
    accuracies = {one: (70.0 + n, 50.0 + 2 * n)
                  for n, one in enumerate((*made.names(4, 3), name))}  # fmt: skip
    found = made.full(
        accuracies=accuracies, shifts=("imagenet-v2",), unknown=("sun", "texture")
    )
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page(found), encoding="utf-8")
    return path


def unfold(browser) -> None:
    browser.execute_script(
        "for (const one of document.querySelectorAll('details')) one.open = true"
    )


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 has it."""
    parts = [float(one) / 255 for one in re.findall(r"[\d.]+", colour)[:3]]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("width", "theme"), VIEWS)
def test_stands_alone_and_fits(browser, report, width, theme):
    show(browser, report, width, theme)
    sent = [url for url in requests(browser) if not url.startswith("data:")]
    assert sent == [report.as_uri()]
    unfold(browser)
    scroll, client, out = browser.execute_script(STICKS_OUT)
    assert (scroll, out) == (client, [])
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("width", [1280, 390])
def test_every_figure_can_be_read(browser, report, width):
    show(browser, report, width, "light")
    found = browser.execute_script(FIGURES)
    assert len(found) > 30
    for one in found:
        assert one["width"] > 200, one
        assert one["height"] > 80, one
        assert one["role"] == "img"
        assert len(one["name"]) > 20
        assert one["out"] == [], one
        assert one["letters"] >= (9.5 if width > 600 else 7), one


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_and_marks_stand_out(browser, report, theme):
    show(browser, report, 1280, theme)
    unfold(browser)
    paper, texts, marks = browser.execute_script(COLOURS)
    assert len(texts) >= 3
    for colour in texts:
        assert contrast(colour, paper) >= 4.5, colour
    assert len(marks) >= 6
    for colour in marks:
        if colour != paper:
            assert contrast(colour, paper) >= 3, colour


def test_figures_follow_the_theme(browser, report):
    seen = {}
    for theme in ("light", "dark"):
        show(browser, report, 1280, theme)
        seen[theme] = browser.execute_script(
            "return [...document.querySelectorAll('svg:first-of-type text, svg use')]"
            ".slice(0, 60).map(e => getComputedStyle(e).fill)"
        )
    assert len(seen["light"]) == len(seen["dark"]) > 30
    pairs = zip(seen["light"], seen["dark"], strict=True)
    assert all(light != dark for light, dark in pairs)


def test_for_screen_readers(browser, report):
    show(browser, report, 1280, "light")
    levels = browser.execute_script(
        "return [...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    pairs = zip(levels, levels[1:], strict=False)
    assert all(after - before <= 1 for before, after in pairs)
    bare = browser.execute_script(
        "return [...document.querySelectorAll('table')].filter(t => !t.caption "
        "|| !t.querySelector('thead th[scope=col]') "
        "|| !t.querySelector('tbody th[scope=row]')).length"
    )
    assert bare == 0
    links = browser.execute_script(
        "return [...document.querySelectorAll('nav a')].map(a => "
        "!!document.querySelector(a.getAttribute('href')))"
    )
    assert len(links) > 6
    assert all(links)


def test_prints(browser, report):
    show(browser, report, 1280, "dark")
    done = browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    data = base64.b64decode(done["data"])
    assert data.startswith(b"%PDF")
    assert len(data) > 50_000
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    paper = browser.execute_script(
        "return getComputedStyle(document.body).backgroundColor"
    )
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert luminance(paper) == 1


@pytest.mark.slow
def test_two_hundred_and_fifty_models(browser, tmp_path):
    many = made.full(150, 100, shifts=("imagenet-v2", "imagenet-r"), unknown=("sun",))
    path = tmp_path / "report.html"
    path.write_text(page(many), encoding="utf-8")
    assert path.stat().st_size < 15e6
    show(browser, path, 1280, "light")
    rows = browser.execute_script(
        "return document.querySelectorAll('table.results tbody tr').length"
    )
    assert rows == 250
    scroll, client, out = browser.execute_script(STICKS_OUT)
    assert (scroll, out) == (client, [])
    for one in browser.execute_script(FIGURES):
        assert one["out"] == [], one
    assert browser.get_log("browser") == []
