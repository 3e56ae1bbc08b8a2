"""Byte maps and worked examples as a browser shows them: nothing runs out of its box, in a wide and in a narrow window."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pages import Pages

from tests.browser import Browser

FIGURES = re.compile(r'<figure class="bytemap-figure">.*?</figure>|<div class="bytes">.*?</div>', re.DOTALL)
OUTSIDE = """
[...document.querySelectorAll("g.box")].flatMap(box => {
  const frame = box.querySelector("rect").getBBox();
  return [...box.querySelectorAll("text")].filter(text => {
    const place = text.getBBox();
    return place.x < frame.x || place.x + place.width > frame.x + frame.width
      || place.y < frame.y || place.y + place.height > frame.y + frame.height;
  }).map(text => text.textContent);
})
"""
TOO_WIDE = """
[...document.querySelectorAll("svg, table")].filter(one => one.getBoundingClientRect().width > innerWidth + 1)
  .map(one => one.textContent)
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, project_root: Path) -> Path:
    """All figures of all chapters, in the style of the site, without its theme."""
    style = (project_root / "docs" / "assets" / "specification.css").read_text(encoding="utf-8")
    figures = "\n".join(figure for text in Pages().all().values() for figure in FIGURES.findall(text))
    path = tmp_path_factory.mktemp("figures") / "page.html"
    head = f"<meta charset=utf-8><title>Figures</title><style>:root {{ color-scheme: light dark }}\n{style}</style>"
    path.write_text(f"{head}<div class=md-typeset>{figures}</div>", encoding="utf-8")
    return path


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_stays_in_its_box(browser: Browser, page: Path, dark: bool) -> None:
    with browser.open(page, width=760, dark=dark) as shown:
        assert shown.evaluate("document.querySelectorAll('g.box text').length") > 100
        assert shown.evaluate(OUTSIDE) == []
        assert shown.evaluate(TOO_WIDE) == []
        assert shown.errors() == []
        assert shown.requests() == []
        text, ground = shown.evaluate(
            "[getComputedStyle(document.querySelector('.bytemap .name')).fill, getComputedStyle(document.body).color]"
        )
    assert text == ground == ("rgb(255, 255, 255)" if dark else "rgb(0, 0, 0)")


def test_in_a_narrow_window_figures_scroll_and_the_page_does_not(browser: Browser, page: Path) -> None:
    with browser.open(page, width=400) as shown:
        assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert shown.evaluate("document.querySelector('.bytemap').getBoundingClientRect().width >= 400")
