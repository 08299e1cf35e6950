"""The pictures of the docs: they stand alone, screen readers can read them, and their texts fit."""

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from tests.support import pages
from tests.support.service import ROOT

PICTURES = sorted((ROOT / "docs/pictures").glob("*.svg"))
DRAWN = [path for path in PICTURES if path.stem != "session"]
SVG = "{http://www.w3.org/2000/svg}"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MEASURE = """
const found = [];
const inside = (a, b, by) =>
  a.left >= b.left + by && a.right <= b.right - by && a.top >= b.top && a.bottom <= b.bottom;
const meets = (a, b) => a.left < b.right && b.left < a.right && a.top + 3 < b.bottom && b.top + 3 < a.bottom;
for (const svg of document.querySelectorAll("svg")) {
  const boxes = [...svg.querySelectorAll("rect")].map((each) => each.getBoundingClientRect());
  const texts = [...svg.querySelectorAll("text")].map((each) => [each.textContent, each.getBoundingClientRect()]);
  for (const [number, [words, place]] of texts.entries()) {
    const middle = { x: (place.left + place.right) / 2, y: (place.top + place.bottom) / 2 };
    const around = boxes.filter((box) =>
      box.left < place.left + 1 && box.right > place.left + 1 && box.top < middle.y && box.bottom > middle.y);
    if (!around.some((box) => box.width > 0)) found.push(["outside of every box", words]);
    for (const box of around) if (!inside(place, box, 3)) found.push(["wider than its box", words]);
    for (const [others, other] of texts.slice(number + 1)) if (meets(place, other)) found.push([words, others]);
  }
}
document.body.textContent = `FOUND${JSON.stringify(found)}END`;
"""
"""Finds texts that leave a box in which they begin, and texts that lie on each other."""


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_a_picture_stands_alone_and_can_be_read_aloud(path: Path) -> None:
    """It loads nothing, runs nothing, and has a title and a description."""
    root = ET.fromstring(path.read_text())  # noqa: S314 # ours
    assert root.get("role") == "img"
    for part in ("title", "desc"):
        [found] = root.findall(f"{SVG}{part}")
        assert found.text
        assert str(found.get("id")) in str(root.get("aria-labelledby")).split()
    assert not re.search(
        r"href|url\(|@import|<script|<image|<foreignObject|\bon\w+=|&(?!amp;|lt;|gt;)", path.read_text()
    )
    assert re.findall(r"https?://www[^\"]+", path.read_text()) == ["http://www.w3.org/2000/svg"]


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_a_picture_is_on_a_page(path: Path) -> None:
    """With words in its place for those who do not see it."""
    shown = [re.findall(rf"!\[(.+)\]\(\S*pictures/{path.name}\)", (ROOT / page).read_text()) for page in pages.PAGES]
    assert any(words for words in shown)


def test_the_pictures_are_of_one_style() -> None:
    """A change of colours or letters is made in each of them."""
    assert len(DRAWN) == 3
    assert len({path.read_text().partition("<style>")[2].partition("</style>")[0] for path in DRAWN}) == 1


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_texts_fit(tmp_path: Path) -> None:
    """No text leaves its box or lies on another one, with the letters of this machine."""
    page = tmp_path / "page.html"
    pictures = "".join(path.read_text() for path in DRAWN)
    page.write_text(f'<!doctype html><meta charset="utf-8"><body>{pictures}<script>{MEASURE}</script>')
    assert measured(page) == []


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_text_that_does_not_fit_is_found(tmp_path: Path) -> None:
    """As the test of the pictures would pass if nothing was ever measured."""
    page = tmp_path / "page.html"
    texts = '<text x="12" y="30">far too long</text><text x="14" y="32">on it</text><text x="300" y="30">out</text>'
    page.write_text(
        f'<!doctype html><body><svg><rect x="10" y="10" width="40" height="30"/>{texts}</svg><script>{MEASURE}</script>'
    )
    assert measured(page) == [
        ["wider than its box", "far too long"],
        ["far too long", "on it"],
        ["outside of every box", "out"],
    ]


def measured(page: Path) -> Any:
    """What the page's script found."""
    assert CHROMIUM
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={page.parent / 'profile'}",
        "--dump-dom",
    ]
    done = subprocess.run([CHROMIUM, *options, page.as_uri()], capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout.partition("FOUND")[2].partition("END")[0])
