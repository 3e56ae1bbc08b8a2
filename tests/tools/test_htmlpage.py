"""The frame of reports as HTML: texts are escaped, drawings are nothing but drawings, bars are as long as they should be."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from restic_tools import htmlpage
from restic_tools.htmlpage import Bar, Column, Mark, Notice, Part, Parts, Report, Section, Table, Tile, plots, render, shown

ODD = "<i>&\"'\u202e\x1b\udcff"


def report(*blocks: Table | Parts | Notice) -> str:
    section = Section("odd", ODD, ODD, blocks)
    return render(Report(ODD, ODD, [Notice(ODD, ODD)], [Tile(ODD, ODD, ODD)], [section], ODD))


def test_every_text_is_escaped_wherever_it_stands() -> None:
    columns = [Column(ODD), Column(ODD, "bar"), Column(ODD)]
    table = Table(ODD, columns, [[ODD, Bar(ODD, 0.5), Mark(ODD, "warn")]], ODD)
    folded = Table(ODD, columns, [], folded=True)
    text = report(table, folded, Parts(ODD, [Part(ODD, 1, ODD)]), Notice(ODD, ODD, "bad"))
    text.encode("utf-8")
    body = text.partition("<title>")[2]
    assert "<i>" not in body
    assert not set("\u202e\x1b\udcff") & set(body)
    assert len(re.findall(r"&lt;i&gt;&amp;&#34;&#39;\\u202e\\x1b\\xff", text)) > 25


def test_the_policy_names_the_style_that_is_there() -> None:
    text = report()
    (style,) = re.findall(r"(?s)<style>(.*?)</style>", text)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}';" in text
    assert "default-src 'none';" in text
    assert not re.search(r"\sstyle=|\son\w+=|url\(|@import|https?://(?!www\.w3\.org/)", text)


def test_texts_stay_readable() -> None:
    assert shown("Grüße 東京 🎉\n") == "Grüße 東京 🎉\n"
    assert shown("\ud800\udcff") == "\ufffd\\xff"
    assert shown(7) == 7


def test_a_name_without_end_is_cut_wherever_it_stands() -> None:
    name = "endless" * 100_000
    assert shown(name) == name[: htmlpage.LONGEST] + "…"
    assert len(report(Table(name, [Column(name)], [[name]] * 100), Notice(name, name))) < 110 * (htmlpage.LONGEST + 100)
    assert len(plots.lanes([plots.Dot(name, 0), plots.Dot("b", 9)], [name, "b"]).wide) < 20_000


def test_parts_fill_the_whole_and_small_ones_are_seen() -> None:
    stretches = Parts("", [Part("", 10**12, ""), Part("", 1, ""), Part("", 0, "")]).stretches
    assert stretches[0][0] == 0
    assert stretches[1][1] > 0.3
    assert stretches[2][1] == 0
    assert sum(length for _, length in stretches) == pytest.approx(100, abs=0.05)
    assert Parts("", [Part("", 0, "")]).stretches == [(0, 0)]
    assert [Bar("", share).width for share in (-1, 0.25, 7)] == ["0.00", "25.00", "100.00"]


@pytest.mark.parametrize("top", [1, 3, 7, 99, 1000, 123_456, 5 << 30, 1 << 62])
@pytest.mark.parametrize("binary", [False, True])
def test_ticks_are_few_and_reach_the_top(top: int, binary: bool) -> None:
    numbers, labels = plots._ticks(top, binary=binary)
    assert numbers[0] == 0
    assert numbers[-1] >= top * 0.999999
    assert 2 <= len(numbers) <= 6
    assert len(set(labels)) == len(labels)


def test_names_in_a_drawing_are_text_and_nothing_else() -> None:
    names = ["</text><script>alert(1)</script>", "'];alert(1);['", "\\u0027", "\u202e\udcff", "🎉 東京"]
    drawn = plots.lanes([plots.Dot(name, number * 9e5) for number, name in enumerate(names)], names)
    for drawing in drawn:
        assert "<script" not in drawing
        assert "&lt;/text&gt;" in drawing
        assert "🎉 東京" in drawing
        assert r"\u202e\xff" in drawing
        assert "var(--c0)" in drawing


@pytest.mark.parametrize(
    "inside",
    ["<script/>", "<foreignObject/>", "<a/>", "<g onload='x()'/>", "<g style='x'/>", "<path xlink:href='x'/>", "<image/>"],
)
def test_a_drawing_with_anything_else_is_refused(inside: str) -> None:
    frame = "<svg xmlns='http://www.w3.org/2000/svg' xmlns:xlink='http://www.w3.org/1999/xlink'>{}</svg>"
    assert plots._checked(frame.format("<g/>"))
    with pytest.raises(ValueError, match="no plot needs"):
        plots._checked(frame.format(inside))


def test_many_steps_are_thinned_and_the_ends_stay() -> None:
    steps = [plots.Step(float(number), float(number)) for number in range(10_000)]
    kept = plots._thinned(steps)
    assert len(kept) <= plots.POINTS
    assert (kept[0], kept[-1]) == (steps[0], steps[-1])
    assert plots._thinned(steps[:5]) == steps[:5]
    same = [plots.Step(5.0, float(number)) for number in range(1000)]
    assert plots._thinned(same)[-1] == same[-1]


def test_the_extra_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert htmlpage.ready()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not htmlpage.ready()
    assert "restic-format[html]" in htmlpage.MISSING
