"""The page of a run in an installed Chromium, driven by Playwright: phone, laptop and print."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from test_page import HOSTILE, hostile, of_a_search

from rulesearch.figures import drawn
from rulesearch.report.page import Again, page

pytestmark = pytest.mark.slow

REPORTS = sorted((Path(__file__).parents[1] / "docs" / "reports").glob("*.html"))
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
QUIET = (
    *("--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"),
    *("--disable-component-update", "--disable-quic"),
)
WIDTHS = {"phone": 390, "laptop": 1280, "print": 680}  # of A4 between its margins, in CSS pixels
LEAST_CONTRAST = 4.5  # WCAG 2.2, 1.4.3, of text of ordinary size

# Of every text outside the figures: the ratio of its colour to the ground behind it.
CONTRASTS = """() => {
  const channels = c => c.match(/[\\d.]+/g).map(Number);
  const over = (c, below) => {
    const a = c.length > 3 ? c[3] : 1;
    return c.slice(0, 3).map((v, i) => a * v + (1 - a) * below[i]);
  };
  const luminance = c => c.slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const white = [255, 255, 255];
  const ground = e => e
    ? over(channels(getComputedStyle(e).backgroundColor), ground(e.parentElement)) : white;
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || e.closest('svg') || !e.checkVisibility()) continue;
    const below = ground(e), text = over(channels(getComputedStyle(e).color), below);
    const [high, low] = [luminance(text), luminance(below)].sort((a, b) => b - a);
    found.push([(high + 0.05) / (low + 0.05), walk.currentNode.data.trim().slice(0, 40)]);
  }
  return found;
}"""

# Elements that stick out of the page, and of no box that scrolls by itself.
OUTSIDE = """() => [...document.querySelectorAll('body *')].filter(e => {
  if (e.closest('.unseen') || e.getBoundingClientRect().width === 0) return false;
  const edge = document.documentElement.clientWidth + 1;
  let held = e.parentElement;
  while (held && getComputedStyle(held).overflowX === 'visible') held = held.parentElement;
  return !held && e.getBoundingClientRect().right > edge;
}).map(e => e.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="module")
def chromium():
    driver = pytest.importorskip(
        "playwright.sync_api", reason="no playwright; pip install 'rulesearch[report-check]'"
    )
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("no Chromium on the path; install one, or name it by CHROMIUM")
    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with driver.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=[*QUIET, *sandbox])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The pages that come along, and two that are as bad as they can be."""
    folder = tmp_path_factory.mktemp("pages")
    whole = of_a_search()
    long = replace(whole, message="a" * 300, images={"search" * 20: "of " * 200})
    made = {
        "hostile": page(hostile(), {}, Again(HOSTILE, {HOSTILE: HOSTILE})),
        "long": page(
            long, drawn([], whole), Again("word " * 100 + "x" * 300, {"pool.toml": "x" * 500})
        ),
    }
    for name, text in made.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return [*REPORTS, *sorted(folder.glob("*.html"))]


def looked_at(chromium, path, width, scheme="light", paper=False):
    """A page that is open, and what it asked for and said."""
    context = chromium.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    tab, told = context.new_page(), []
    tab.on("request", lambda request: told.append(request.url))
    tab.on("console", lambda message: told.append(message.text))
    tab.on("pageerror", lambda error: told.append(str(error)))
    tab.on("dialog", lambda dialog: (told.append("dialog"), dialog.dismiss()))
    if paper:
        tab.emulate_media(media="print")
    tab.goto(path.as_uri())
    return tab, told


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", WIDTHS)
def test_pages_fit_are_legible_and_ask_for_nothing(chromium, pages, device, scheme):
    for path in pages:
        tab, told = looked_at(chromium, path, WIDTHS[device], scheme, paper=device == "print")
        where = f"{path.name}, {device}, {scheme}"
        # An icon is asked for by some versions, and it is in the page.
        assert {url for url in told if url != "data:,"} == {path.as_uri()}, where
        wide, there = tab.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert wide <= there, (where, tab.evaluate(OUTSIDE))
        assert not tab.evaluate(OUTSIDE), where
        contrasts = tab.evaluate(CONTRASTS)
        assert len(contrasts) > 50, where
        assert min(contrasts)[0] >= LEAST_CONTRAST, (where, min(contrasts))
        ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        dark = scheme == "dark" and device != "print"
        assert (ground == "rgb(21, 23, 26)") == dark, (where, ground)
        tab.context.close()


def test_formulas_and_figures_are_there_as_text(chromium, pages):
    for path in pages:
        tab, _ = looked_at(chromium, path, 1280)
        sizes = tab.evaluate(
            "[...document.querySelectorAll('.rule math, svg.figure')].map("
            "e => [e.getBoundingClientRect().width, e.getBoundingClientRect().height])"
        )
        assert all(width > 5 and height > 5 for width, height in sizes), path
        if path.stem != "hostile":
            assert tab.locator("svg.figure text").count() > 20, path
        tab.context.close()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("overflow-wrap: anywhere", "overflow-wrap: normal; white-space: nowrap"),
        ("--quiet: #575d66", "--quiet: #b0b4b9"),
        ('rel="icon" href="data:,"', 'rel="stylesheet" href="other.css"'),
    ],
    ids=["too wide", "too faint", "asks for a file"],
)
def test_a_page_that_is_broken_would_be_found(chromium, pages, tmp_path, before, after):
    text = next(path for path in pages if path.stem == "long").read_text()
    assert before in text
    broken = tmp_path / "broken.html"
    broken.write_text(text.replace(before, after).replace("Content-Security-Policy", "X"))
    with pytest.raises(AssertionError):
        test_pages_fit_are_legible_and_ask_for_nothing(chromium, [broken], "phone", "light")


def test_it_prints_on_a_few_pages(chromium, pages):
    for path in REPORTS:
        tab, _ = looked_at(chromium, path, 1280)
        paper = tab.pdf(prefer_css_page_size=True)
        assert paper.startswith(b"%PDF")
        assert 2 <= paper.count(b"/Type /Page\n") <= 12
        tab.context.close()
