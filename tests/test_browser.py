"""The browser of the tests is the one that was fetched, and what a page does wrong is seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser import PROGRAM, Browser

C_LIBRARY = {"ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0"}
C_LIBRARY |= {"librt.so.1", "libresolv.so.2", "libnss_files.so.2"}
"""All that the system has to have."""


def test_it_uses_nothing_of_the_system_but_the_c_library(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<title>A page</title><p>words")
    with browser.open(page) as shown:
        assert shown.screenshot().startswith(b"\x89PNG")
        assert shown.pdf().startswith(b"%PDF")
        loaded = browser.libraries()
    own = PROGRAM.parent.resolve()
    assert any(own in path.resolve().parents for path in loaded)
    assert {str(path) for path in loaded if path.name not in C_LIBRARY and own not in path.resolve().parents} == set()


def test_what_a_page_does_wrong_is_seen(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        "<title>A page</title><p>one<p style='display: none'>hidden"
        "<img src='http://127.0.0.1:9/image.png'><script>console.log('told'); missing()</script>"
    )
    with browser.open(page) as shown:
        assert shown.text == "one"
        assert shown.requests() == ["http://127.0.0.1:9/image.png"]
        errors = "\n".join(shown.errors())
    assert "told" in errors
    assert "missing is not defined" in errors
    assert "ERR_" in errors


def test_a_page_is_seen_as_asked(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        "<title>A page</title><style>p { display: none } .narrow, .dark, .print { display: none }"
        "@media (max-width: 400px) { .narrow { display: block } }"
        "@media (prefers-color-scheme: dark) { .dark { display: block } }"
        "@media print { .print { display: block } }</style><p>x"
        "<div class=narrow>narrow</div><div class=dark>dark</div><div class=print>printed</div>"
    )
    with browser.open(page) as shown:
        assert (shown.text, shown.errors(), shown.requests()) == ("", [], [])
    with browser.open(page, width=400) as shown:
        assert shown.text == "narrow"
    with browser.open(page, dark=True) as shown:
        assert shown.text == "dark"
    with browser.open(page, media="print") as shown:
        assert shown.text == "printed"


def test_a_browser_that_is_missing_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="make peers"):
        Browser(tmp_path / "chromium")
