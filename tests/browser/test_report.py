"""The dataset report in headless Chromium: wide and narrow, light and dark."""

import base64
import runpy
from pathlib import Path

import pytest

from curation import reports
from tests.browser.chromium import NEEDED, VIEWS, requests, show

pytest.importorskip("selenium")
pytestmark = NEEDED
WORLD = Path(__file__).parents[1] / "unit" / "test_report.py"

PICTURES = (
    """return [...document.images].map(i => [i.alt, i.naturalWidth, i.complete])"""
)
# what sticks out of the page, unless it lies in a box that scrolls by itself
STICKS_OUT = """
const wide = document.documentElement.clientWidth, found = [];
const inside = (e) => { for (; e; e = e.parentElement) {
  const flow = getComputedStyle(e).overflowX;
  if (flow === 'auto' || flow === 'scroll' || flow === 'hidden') return true; }
  return false; };
for (const e of document.querySelectorAll('main *, header *, footer *')) {
  const box = e.getBoundingClientRect();
  if (box.width && box.right > wide + 1 && !inside(e.parentElement))
    found.push(e.tagName + '.' + (e.getAttribute('class') || '')
      + ' ' + Math.round(box.right));
}
return [document.documentElement.scrollWidth, wide, found.slice(0, 9)];
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    world = runpy.run_path(str(WORLD))["world"]()
    return reports.build(tmp_path_factory.mktemp("report"), **world)


def photograph(browser, file: Path) -> None:
    """The whole page as PNG; for a person to look at."""
    shot = browser.execute_cdp_cmd(
        "Page.captureScreenshot", {"captureBeyondViewport": True}
    )
    file.write_bytes(base64.b64decode(shot["data"]))


@pytest.mark.parametrize(("width", "theme"), VIEWS)
def test_stands_alone_and_fits(browser, page, width, theme):
    show(browser, page, width, theme)
    sent = [url for url in requests(browser) if not url.startswith("data:")]
    assert sent == [page.as_uri()]
    assert browser.get_log("browser") == []
    pictures = browser.execute_script(PICTURES)
    assert len(pictures) > 40
    assert all(alt and natural > 0 and whole for alt, natural, whole in pictures)
    scroll, client, out = browser.execute_script(STICKS_OUT)
    assert (scroll, out) == (client, [])


def test_follows_the_theme(browser, page):
    seen = {}
    for theme in ("light", "dark"):
        show(browser, page, 1280, theme)
        seen[theme] = browser.execute_script(
            "return ['body', '.drops .cross .dot'].map(s => { const c = "
            "getComputedStyle(document.querySelector(s)); "
            "return [c.backgroundColor, c.fill] })"
        )
    assert seen["light"][0] != seen["dark"][0]
    assert seen["light"][1] != seen["dark"][1]


def test_a_strangers_script_does_not_run(browser, page):
    show(browser, page, 1280, "light")
    # an alert would make this raise UnexpectedAlertPresentException
    scripts = "return [...document.scripts].map(s => s.textContent.includes('author'))"
    assert browser.execute_script(scripts) == [False]


def test_headings_are_in_order(browser, page):
    show(browser, page, 1280, "light")
    levels = browser.execute_script(
        "return [...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(
        after - before <= 1 for before, after in zip(levels, levels[1:], strict=False)
    )
