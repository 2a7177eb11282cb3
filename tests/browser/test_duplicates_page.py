"""The page of `counterset dedup --html`: wide and narrow, light and dark."""

import base64
import io
import json
from pathlib import Path

import pytest
from PIL import Image

from curation.duplicates import gallery
from curation.duplicates.findings import (
    Cluster,
    Findings,
    Leak,
    Member,
    Photo,
    Suggestion,
)
from tests.browser.chromium import NEEDED, VIEWS, requests, show
from tests.hostile_folder import original

pytest.importorskip("selenium")
pytestmark = NEEDED

EVIL = "<script>document.title='taken over'<script>\"'><img src=x onerror=alert(1)>.jpg"
LONG = "a_name_without_a_single_place_to_break_it_" * 5 + ".jpg"
NAMES = [
    EVIL,
    LONG,
    "new\nline.jpg",
    "белый медведь.jpg",
    "sub folder/deeper/photo.jpg",
]

FACTS = """
const wide = document.documentElement.clientWidth, found = [];
const inside = (e) => { for (; e; e = e.parentElement) {
  const flow = getComputedStyle(e).overflowX;
  if (flow === 'auto' || flow === 'scroll' || flow === 'hidden') return true; }
  return false; };
for (const e of document.querySelectorAll('main *, header *, footer *')) {
  const box = e.getBoundingClientRect();
  if (box.width && box.right > wide + 1 && !inside(e.parentElement))
    found.push(e.tagName + ' ' + Math.round(box.right));
}
const images = [...document.images];
images.forEach(i => i.loading = 'eager');
const levels = [...document.querySelectorAll('h1,h2,h3')].map(h => +h.tagName[1]);
return {title: document.title, wide: document.documentElement.scrollWidth - wide,
  found: found.slice(0, 9), images: images.length, levels: levels,
  alone: images.filter(i => i.getAttribute('src').startsWith('data:')).length,
  scripts: document.scripts.length,
  ids: [...document.querySelectorAll('nav a')].every(
    a => document.querySelector(a.getAttribute('href'))),
  ink: getComputedStyle(document.body).color,
  paper: getComputedStyle(document.body).backgroundColor};
"""


def _thumb(place: int, *, tall: bool) -> gallery.Thumb:
    size = (135, 240) if tall else (240, 180)
    file = io.BytesIO()
    original(place).resize(size, Image.Resampling.BILINEAR).save(file, "JPEG")
    text = base64.b64encode(file.getvalue()).decode()
    return gallery.Thumb(f"data:image/jpeg;base64,{text}", *size)


def _photo(name: str, key: str, size: int = 120_000) -> Photo:
    return Photo(name, name, key, size, 1024, 768, "JPEG", 1)


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """Every part of the page, with names that would break it if they could."""
    thumbs = {str(n): _thumb(n, tall=n % 3 == 0) for n in range(12)}
    reasons = (
        ("perceptual", 6.0, "crop"), ("perceptual", 2.0, "mirror-rotate90"),
        ("pixels", 0.0, "identity"), ("bytes", 0.0, "identity"),
        ("embedding", 9.0, "identity"),
    )  # fmt: skip
    clusters = [
        Cluster(
            _photo(NAMES[nth], str(nth)),
            [
                Member(_photo(f"{n} {NAMES[n % 5]}", str(n % 12)), *reasons[nth])
                for n in range(nth, nth + 1 + 3 * nth)
            ],
        )
        for nth in range(5)
    ]
    pairs = [
        Suggestion(
            _photo(NAMES[0], "5"), _photo(NAMES[1], "6"), "perceptual", 7, "crop"
        ),
        Suggestion(
            _photo("x.png", "7"), _photo("gone.jpg", "?"), "embedding", 0.01, None
        ),
    ]
    leaks = [Leak(_photo(LONG, "8"), "imagenet-val", EVIL, "perceptual", 2, "mirror")]
    found = Findings(
        folder=Path("holiday photos"), photos=120,
        failed=[(EVIL, "truncated"), (LONG, "x")],
        clusters=clusters, suggestions=pairs, leaks=leaks, animated=[(LONG, 12)],
        ignored=3, hidden=2, path="draft-128", against=["imagenet-val"],
    )  # fmt: skip
    file = tmp_path_factory.mktemp("page") / "duplicates.html"
    file.write_text(gallery.render(found, thumbs), encoding="utf-8")
    return file


@pytest.mark.parametrize(("width", "theme"), VIEWS)
def test_stands_alone_and_fits(browser, page, width, theme):
    show(browser, page, width, theme)
    sent = [url for url in requests(browser) if not url.startswith("data:")]
    assert sent == [page.as_uri()]
    told = browser.execute_script(FACTS)
    assert told["title"] == "Duplicates in holiday photos"
    assert (told["wide"], told["found"]) == (0, [])
    assert told["scripts"] == 0
    assert told["ids"]
    assert told["images"] == told["alone"] > 20
    assert told["levels"][0] == 1
    steps = zip(told["levels"], told["levels"][1:], strict=False)
    assert all(after - before <= 1 for before, after in steps)
    dark = [sum(json.loads(told[name].replace("rgb(", "[").replace(")", "]")))
            for name in ("ink", "paper")]  # fmt: skip
    assert (dark[0] > dark[1]) == (theme == "dark")
    log = [entry["message"] for entry in browser.get_log("browser")]
    assert log == []
