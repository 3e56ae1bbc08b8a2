"""The page of an overview in a real browser: everything is seen, in every light; nothing from a repository acts on it."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from restic_conformance import fixtures
from restic_format.explore.overview import Overview, make_overview
from restic_format.repository import Repository
from restic_format.storage import LocalStorage
from restic_tools.own.overviewpage import page
from restic_tools.own.overviewpage.sections import MOST_SNAPSHOTS
from restic_tools.own.overviewpage.series import MOST_SPANS, added_over_time, local_seconds, stored_over_time
from restic_tools.own.overviewpage.texts import bound, ratio, size
from tests.browser import Browser, Page
from tests.explore.overviews import MADE, empty_overview, example_overview
from tests.tools.kit import PASSWORD, Runner, new_repository

HOSTILE = (
    "<script>hurt = 1</script>",
    "\"><img src='http://127.0.0.1:9/a' onerror='hurt = 2'>",
    "</style></svg></title><style>* { display: none }</style><script>hurt = 3</script>",
    "' onmouseover=hurt=4 x='\\u0027];hurt=5//${hurt}{{ 7 * 7 }}{% raw %}",
    "\u202egnp.exe\u2066\x1b[31m\x00\udcff\ud800",
    "<a href='javascript:hurt=6'>&lt;b&gt;&#60;i&#62;]]><!--",
)
CONTRAST = """(() => {
  const channel = value => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = rgb => 0.2126 * channel(rgb[0] / 255) + 0.7152 * channel(rgb[1] / 255) + 0.0722 * channel(rgb[2] / 255);
  const numbers = text => text.match(/[\\d.]+/g).map(Number);
  const paper = element => {
    for (; element; element = element.parentElement) {
      const found = numbers(getComputedStyle(element).backgroundColor);
      if (found.length < 4 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  const found = {};
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!own || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const ink = numbers(element instanceof SVGElement ? style.fill : style.color);
    const [dark, bright] = [light(ink), light(paper(element))].sort((a, b) => a - b);
    const contrast = (bright + 0.05) / (dark + 0.05);
    if (contrast < 4.5) found[`${element.tagName}.${element.className.baseVal ?? element.className}`] = contrast;
  }
  return found;
})()"""
"""Where writing cannot be told from what is behind it (WCAG 2, AA)."""
UNSEEN = """[...document.querySelectorAll('section, section > h2, h3, figcaption, tbody tr, dl.tiles > div, .notice, footer')]
  .filter(element => !element.closest('details:not([open])') || matchMedia('print').matches)
  .filter(element => {
    const box = element.getBoundingClientRect();
    return !element.checkVisibility() || box.width < 20 || box.height < 8;
  })
  .map(element => element.outerHTML.slice(0, 200))"""
OUTSIDE = """[...document.querySelectorAll('main *')]
  .filter(element => element.getClientRects().length && !element.closest('.scroll, nav, svg'))
  .filter(element => element.getBoundingClientRect().right > innerWidth + 1)
  .map(element => element.outerHTML.slice(0, 200))"""
PLOTS = """[...document.querySelectorAll('figure.plot')].map(figure => [...figure.querySelectorAll('svg.marks')]
  .filter(plot => plot.getBoundingClientRect().height > 20).length)"""


def write(folder: Path, overview: Overview) -> Path:
    path = folder / "page.html"
    path.write_text(page(overview), encoding="utf-8")  # strictly: no surrogate is left
    return path


def of_fixture(name: str, folder: Path) -> Overview:
    damaged = name in fixtures.damage_names()
    healthy = fixtures.describe(fixtures.describe_damage(name).fixture if damaged else name)
    location = fixtures.unpack(name, folder / name)
    return make_overview(Repository.open(LocalStorage(str(location)), healthy.passwords[0]))


def is_quiet(shown: Page) -> None:
    """Nothing in the console, nothing from any network."""
    assert shown.errors() == []
    assert shown.requests() == []


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a repository that is large and not in order."""
    return write(tmp_path_factory.mktemp("large"), example_overview(snapshots=900, problems=250))


@pytest.mark.parametrize(
    ("width", "dark", "media"), [(1200, False, ""), (1200, True, ""), (400, False, ""), (400, True, ""), (794, True, "print")]
)
def test_everything_is_seen(browser: Browser, large: Path, width: int, dark: bool, media: str) -> None:
    with browser.open(large, width=width, dark=dark, media=media) as shown:
        is_quiet(shown)
        assert shown.evaluate(UNSEEN) == []
        assert shown.evaluate(OUTSIDE) == []
        assert shown.evaluate(CONTRAST) == {}
        assert set(shown.evaluate(PLOTS)) == {1}  # of each plot the drawing for this width
        titles = ["Space", "Snapshots", "Who wrote it", "Files and folders", "Packs", "Blobs", "Index", "Keys and locks"]
        assert shown.evaluate("[...document.querySelectorAll('h2')].map(title => title.innerText)") == [
            *titles,
            "Format",
            "Problems",
        ]
        links = "[...document.querySelectorAll('nav a')].map(link => document.querySelector(link.getAttribute('href')).tagName)"
        assert set(shown.evaluate(links)) == {"SECTION"}
        ids = shown.evaluate("[...document.querySelectorAll('[id]')].map(element => element.id)")
        assert len(set(ids)) == len(ids)
        assert len(shown.screenshot()) > 100_000  # white or black alone would be a tenth of it


def test_light_dark_and_paper_differ(browser: Browser, large: Path) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    found = []
    for dark in (False, True):
        with browser.open(large, dark=dark) as shown:
            found.append(shown.evaluate(paper))
            pdf = shown.pdf()
        assert pdf.startswith(b"%PDF")
        assert max(int(count) for count in re.findall(rb"/Count (\d+)", pdf)) > 5
    assert found == ["rgb(246, 247, 249)", "rgb(17, 21, 28)"]
    with browser.open(large, dark=True, media="print") as shown:
        assert shown.evaluate(paper) == "rgba(0, 0, 0, 0)"
        assert shown.evaluate("getComputedStyle(document.body).color") == "rgb(27, 35, 48)"


def test_numbers_are_read_without_the_plots(large: Path) -> None:
    """As text they are all there, and there is nothing that would have to run."""
    text = large.read_text(encoding="utf-8")
    plain = re.sub(r"(?s)<svg.*?</svg>|<style.*?</style>", "", text)
    overview = example_overview(snapshots=900, problems=250)
    for found in (
        size(overview.space.files),
        ratio(overview.space.total_ratio),
        *(size(one.added) for one in overview.snapshots[-MOST_SNAPSHOTS:]),
        *(one.path for one in overview.largest_files),
        *(str(one.count) for kind in overview.blobs for one in kind.by_size),
        *(bound(one.lowest) for kind in overview.packs for one in kind.by_size),
    ):
        assert f">{found}" in plain
    assert "<script" not in text
    assert len(text) < 1_000_000


@pytest.mark.parametrize("odd", HOSTILE)
def test_what_comes_from_the_repository_is_inert(browser: Browser, tmp_path: Path, odd: str) -> None:
    path = write(tmp_path, example_overview(snapshots=5, problems=2, odd=odd))
    with browser.open(path) as shown:
        is_quiet(shown)
        assert shown.evaluate("typeof hurt") == "undefined"
        assert shown.evaluate("document.querySelectorAll('script, img, iframe, object, [onerror], [onmouseover]').length") == 0
        assert shown.evaluate("document.querySelectorAll('style').length") == 1
        assert shown.evaluate(UNSEEN) == []
        text = shown.evaluate("document.body.textContent")
    assert "49" not in text.partition("{%")[0][-20:]
    if odd.isprintable():
        assert f"/etc{odd}" in text
    else:
        assert r"\u202egnp.exe\u2066\x1b[31m\x00\xff" + "\ufffd" in text
        assert not [char for char in path.read_text(encoding="utf-8") if char in "\u202e\u2066\x1b\x00"]


def test_the_policy_of_the_page_forbids_what_nobody_escaped(browser: Browser, tmp_path: Path) -> None:
    path = write(tmp_path, empty_overview())
    text = path.read_text(encoding="utf-8")
    addition = "<script>hurt = 1</script><b id=added style='color: red' onclick='hurt = 2'>b</b><style>b { color: red }</style>"
    path.write_text(text.replace("</main>", f"{addition}<img src='http://127.0.0.1:9/a' onerror='hurt = 3'></main>"))
    with browser.open(path) as shown:
        assert shown.evaluate("document.getElementById('added').click(); typeof hurt") == "undefined"
        assert shown.evaluate("getComputedStyle(document.getElementById('added')).color") != "rgb(255, 0, 0)"
        assert len([error for error in shown.errors() if "Content Security Policy" in error]) >= 4
        blocked = [params.get("blockedReason") for params in shown.events("Network.loadingFailed")]
        assert blocked == ["csp"]


@pytest.mark.parametrize(
    "name", ["restic-0.14-v1", "restic-0.19-v2", "rustic-v2", "indexes-missing", "snapshot-flip", "tree-pack-missing"]
)
def test_pages_of_real_repositories(browser: Browser, tmp_path: Path, name: str) -> None:
    overview = of_fixture(name, tmp_path)
    with browser.open(write(tmp_path, overview), width=1000) as shown:
        is_quiet(shown)
        assert shown.evaluate(UNSEEN) == []
        assert shown.evaluate(OUTSIDE) == []
        assert shown.evaluate(CONTRAST) == {}
        text = shown.text
    for one in overview.snapshots:
        assert one.id[:8] in text
    assert ("could not be read" in text) == bool(overview.problem_count)
    for problem in overview.problems[:30]:
        assert problem.item in text
    assert size(overview.space.files) in text


def test_the_command_writes_a_page_of_what_restic_has_stored(
    browser: Browser, tmp_path: Path, restic: Runner, run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hosts, tags, folders and files that mean harm, from real restic through the command into the browser."""
    source, repository, target = tmp_path / "<script>hurt = 1<", tmp_path / "repository", tmp_path / "page.html"
    names = [odd.replace("/", "|") for odd in HOSTILE[:4]] + ["\u202egnp.exe\x1b[31m\n"]
    source.mkdir()
    for number, odd in enumerate(names):
        (source / odd).mkdir()
        (source / odd / f"{odd}.{odd}").write_bytes(bytes([number]) * (9000 << number))
    new_repository(repository)
    monkeypatch.setenv("RESTIC_REPOSITORY", str(repository))
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    env = {"RESTIC_REPOSITORY": str(repository), "RESTIC_PASSWORD": PASSWORD}
    for odd in names:
        assert restic("backup", "-q", "--host", odd, "--tag", odd, str(source), env=env).code == 0
    assert run("overview", "--html", str(target)).code == 0
    with browser.open(target) as shown:
        is_quiet(shown)
        assert shown.evaluate("typeof hurt") == "undefined"
        assert shown.evaluate(UNSEEN) == []
        text = shown.evaluate("document.body.textContent")
    for odd in names[:4]:
        assert f"/{odd}/{odd}.{odd}" in text
        assert text.count(odd) > 5
    assert r"\u202egnp.exe\x1b[31m" in text
    assert PASSWORD not in target.read_text(encoding="utf-8")


def test_without_the_extra_it_is_said_what_to_install(tmp_path: Path, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    new_repository(tmp_path / "repository")
    monkeypatch.setenv("RESTIC_REPOSITORY", str(tmp_path / "repository"))
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    monkeypatch.setattr("restic_tools.htmlpage.ready", lambda: False)
    done = run("overview", "--html", str(tmp_path / "page.html"))
    assert (done.code, done.out) == (1, b"")
    assert b"pip install 'restic-format[html]'" in done.err
    assert not (tmp_path / "page.html").exists()


def test_a_repository_without_anything(browser: Browser, tmp_path: Path) -> None:
    with browser.open(write(tmp_path, empty_overview()), width=400) as shown:
        is_quiet(shown)
        assert shown.evaluate(UNSEEN) == []
        assert "with no snapshots" in shown.text
        assert shown.evaluate(PLOTS) == []


def test_growth_is_the_sum_of_what_was_added() -> None:
    snapshots = example_overview(snapshots=400).snapshots
    whole = sum(one.added for one in snapshots)
    steps = stored_over_time(snapshots, MADE)
    assert (steps[-1].time, steps[-2].value) == (local_seconds(MADE), whole)
    assert stored_over_time(snapshots, 0) == steps[:-1]
    assert stored_over_time([], MADE) == []
    assert steps[-1].value == whole
    assert [step.value for step in steps] == sorted(step.value for step in steps)
    unit, spans = added_over_time(snapshots)
    assert (unit, sum(span.value for span in spans)) == ("week", whole)
    assert added_over_time([]) == ("day", [])


@pytest.mark.parametrize(
    ("days", "unit"),
    [(0.01, "hour"), (1, "hour"), (30, "day"), (300, "week"), (1500, "month"), (4000, "quarter"), (20_000, "year")],
)
def test_stretches_of_time_are_as_short_as_can_be_seen(days: float, unit: str) -> None:
    from msgspec.structs import replace

    one = example_overview(snapshots=1).snapshots[0]
    snapshots = [replace(one, time=MADE + int(days * 86_400e9 * part / 500)) for part in range(501)]
    found, spans = added_over_time(snapshots)
    assert found == unit
    assert len(spans) <= MOST_SPANS
    for span, following in itertools.pairwise(spans):
        assert span.start < span.end <= following.start
    for snapshot in snapshots:
        assert any(span.start <= local_seconds(snapshot.time) < span.end for span in spans)


def test_times_at_the_ends_of_the_calendar(browser: Browser, tmp_path: Path) -> None:
    from msgspec.structs import replace

    overview = example_overview(snapshots=3)
    times = (-62_135_596_800 * 10**9, 0, 253_402_300_799 * 10**9)
    snapshots = tuple(replace(one, time=time) for one, time in zip(overview.snapshots, times, strict=True))
    unit, spans = added_over_time(snapshots)
    assert (unit, len(spans)) == ("millennium", 3)
    with browser.open(write(tmp_path, replace(overview, snapshots=snapshots))) as shown:
        is_quiet(shown)
        assert "0001-01-01" in shown.text


def test_numbers_have_three_digits_that_matter() -> None:
    texts = ["0 B", "1023 B", "1.00 KiB", "10.0 KiB", "100 KiB", "1.00 MiB", "1.00 GiB", "1,024 PiB"]
    assert [size(count) for count in (0, 1023, 1024, 10 << 10, 100 << 10, (1 << 20) - 1, (1 << 30) - 1, 1 << 60)] == texts
    assert [bound(count) for count in (0, 512, 1 << 10, 128 << 10, 1 << 20, 1536)] == [
        "0 B",
        "512 B",
        "1 KiB",
        "128 KiB",
        "1 MiB",
        "1.5 KiB",
    ]
    assert [ratio(value) for value in (0, 1, 12.34, 1234.5)] == ["–", "1.00×", "12.3×", "1,234×"]


def test_snapshots_of_one_moment_are_not_piled_up() -> None:
    """What two hosts have saved in the same second needs what the last of them says, not the sum."""
    from restic_tools.htmlpage.plots import Step, area

    def height(steps: list[Step]) -> float:
        return float(re.findall(r'viewBox="0 0 \S+ (\S+)"', area(steps, title="stored").wide)[0])

    times = [1_700_000_000.0 + day * 86_400 for day in range(9)]
    apart = height([Step(time, 1000.0) for time in times])
    assert height([*(Step(times[0], 1000.0) for _ in range(9)), Step(times[8], 1000.0)]) == pytest.approx(apart, abs=5)
