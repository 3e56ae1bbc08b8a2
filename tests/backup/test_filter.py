"""Patterns against paths: restic's rules."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restic_format.filter import (
    ExcludeFilter,
    IncludeFilter,
    InvalidPattern,
    PatternFileUnreadable,
    PatternList,
    clean_path,
    expand_variables,
    go_lower,
    match_pattern,
    parse_pattern,
    part_regex,
    read_pattern_file,
)

MATCHES = [
    ("", "/anything", True),
    ("*.py", "/home/code/main.py", True),
    ("*.py", "/home/code/main.pyc", False),
    ("code", "/home/code", True),
    ("code", "/home/code/deep/below", True),
    ("code", "/home/decode", False),
    ("home/code", "/home/code/x", True),
    ("home/x", "/home/code/x", False),
    ("/home", "/home/code", True),
    ("/code", "/home/code", False),
    ("/home/", "/home/code", True),
    ("/home//./code", "/home/code", True),
    ("/home/../code", "/code", True),
    ("/home/*", "/home", False),
    ("/home/*", "/home/code", True),
    ("/home/*/x", "/home/code/x", True),
    ("/home/*/x", "/home/code/deep/x", False),
    ("/home/**/x", "/home/x", True),
    ("/home/**/x", "/home/code/deep/x/y", True),
    ("/home/**", "/home", True),
    ("/home/**", "/homes", False),
    ("**/x", "/x", True),
    ("a/**/b/**/c", "/z/a/b/q/c", True),
    ("a/**/b/**/c", "/z/a/q/c", False),
    ("**", "/x", True),
    ("/", "/x", True),
    ("/**/x", "/a/b/x", True),
    ("?", "/ab", False),
    ("?", "/ä", True),
    ("?", "/\udce4", True),
    ("[a-c]x", "/bx", True),
    ("[^a-c]x", "/bx", False),
    ("[^a]", "/\udce4", True),
    ("[a-c]", "/a/zzz", True),
    ("[\\]]", "/]", True),
    ("a]", "/a]", True),
    ("\\*", "/*", True),
    ("\\*", "/x", False),
    ("*", "/a\nb", True),
    ("a.b", "/axb", False),
    ("!x", "/x", True),
    ("x/y", "x/y", True),
    ("/x", "x", False),
    ("[^x]", "/x", False),
    ("*/x", "/x", False),
]


@pytest.mark.parametrize(("pattern", "path", "matches"), MATCHES)
def test_match(pattern: str, path: str, matches: bool) -> None:
    assert match_pattern(pattern, path) is matches


CHILDREN = [
    ("x", "/anything", True),
    ("/a/b/c", "/a", True),
    ("/a/b/c", "/a/b", True),
    ("/a/b/c", "/a/c", False),
    ("/a/b/c", "/a/b/c/d", True),
    ("/a/*/c", "/a/x", True),
    ("/a/*/c", "/a/x/d", False),
    ("/a/**/c", "/a/x/y/z", True),
    ("/a/**/c", "/b", False),
    ("/**", "/b", True),
    ("/", "/b/c", True),
]


@pytest.mark.parametrize(("pattern", "path", "may_match"), CHILDREN)
def test_child_may_match(pattern: str, path: str, may_match: bool) -> None:
    assert parse_pattern(pattern).child_may_match(path) is may_match


LISTS = [
    (["*.go"], "/a/b.go", (True, True)),
    (["/a/*/test.*", "!*.c"], "/a/x/test.c", (False, False)),
    (["/a/*/test.*", "!*.c"], "/a/x/test.go", (True, True)),
    (["/a/*/*", "!test.*", "*.c"], "/a/x/test.c", (True, True)),
    (["!**", "*.go"], "/a/test.go", (True, True)),
    (["", "*.c"], "/a/b", (False, True)),
    ([], "/a", (False, False)),
    (["/x/y"], "/a", (False, False)),
    (["!!x", "x"], "/!x", (False, True)),
]


@pytest.mark.parametrize(("patterns", "path", "expected"), LISTS)
def test_lists(patterns: list[str], path: str, expected: tuple[bool, bool]) -> None:
    compiled = PatternList(patterns)
    assert compiled.match_child(path) == expected
    assert compiled.match(path) is expected[0]


@pytest.mark.parametrize("pattern", ["[", "[a", "[]", "[a-]", "[-a]", "a\\", "[\\", "x/[^]/y", "[\udce4]"])
def test_malformed_patterns_are_named(pattern: str) -> None:
    with pytest.raises(InvalidPattern) as caught:
        PatternList(["fine", pattern, "too[", "*"])
    assert caught.value.patterns == (pattern, "too[")


NAMES = st.text(alphabet="ab*", min_size=1, max_size=2)
PARTS = st.sampled_from(["a", "b", "*", "**", "?", "[ab]", "[^a]", "ab", "a*", "*b", "\\*"])


def reference(parts: list[str], names: list[str], anchored: bool) -> bool:
    """The rules as they are told: parts against a run of components, ``**`` for any number of them."""

    def run(parts: list[str], names: list[str]) -> bool:
        if not parts:
            return True
        if parts[0] == "**":
            return any(run(parts[1:], names[skip:]) for skip in range(len(names) + 1))
        return bool(names) and _part(parts[0], names[0]) and run(parts[1:], names[1:])

    if not anchored and parts and set(parts) == {"**"}:
        return bool(names)
    return any(run(parts, names[start:]) for start in range(1 if anchored else len(names)))


def _part(part: str, name: str) -> bool:
    import re

    return re.fullmatch(part_regex(part), name, re.DOTALL) is not None


@given(st.lists(PARTS, min_size=1, max_size=4), st.lists(NAMES, min_size=1, max_size=5), st.booleans())
def test_compiled_patterns_follow_the_rules(parts: list[str], names: list[str], anchored: bool) -> None:
    pattern = ("/" if anchored else "") + "/".join(parts)
    assert match_pattern(pattern, "/" + "/".join(names)) is reference(parts, names, anchored)


@given(st.lists(st.lists(PARTS, min_size=1, max_size=3).map("/".join), max_size=4), st.lists(NAMES, min_size=1, max_size=4))
def test_nothing_below_matches_where_nothing_may(patterns: list[str], names: list[str]) -> None:
    compiled = PatternList(["/" + pattern for pattern in patterns])
    path = "/" + "/".join(names)
    for end in range(2, len(names) + 1):
        above = "/" + "/".join(names[: end - 1])
        if compiled.match(path) and not compiled.match(above):
            assert compiled.match_child(above)[1]


@given(st.text())
def test_any_pattern_is_parsed_or_refused(text: str) -> None:
    try:
        PatternList([text]).match_child("/a/b")
    except InvalidPattern as error:
        assert error.patterns == (text,)


def test_case_is_ignored_character_by_character() -> None:
    assert go_lower("ÄΣİ\udcff") == "äσi�"
    assert PatternList(["STRASSE-Ä*"], ignore_case=True).match("/x/Strasse-ä1")
    assert not PatternList(["STRASSE"]).match("/Strasse")


def test_excludes_and_includes() -> None:
    excludes = ExcludeFilter(["*.tmp", "!keep.tmp"], ["CACHE"])
    assert excludes.rejects("/a/x.tmp") and excludes.rejects("/a/Cache/x") and not excludes.rejects("/a/keep.tmp")
    assert not ExcludeFilter() and not IncludeFilter()
    includes = IncludeFilter(["/a/b"], ["/C/D"])
    assert includes.selects("/a") == (False, True)
    assert includes.selects("/c/d") == (True, True)
    assert includes.selects("/e") == (False, False)


def test_pattern_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", "/home/x")
    monkeypatch.delenv("NOWHERE", raising=False)
    path = tmp_path / "patterns"
    path.write_bytes("\ufeff# comment\r\n  *.tmp  \r\n\n$PLACE/a\n${PLACE}b\nprice$$5\n[$NOWHERE]\n#x\n\u00a0y".encode())
    assert read_pattern_file(str(path)) == ["*.tmp", "/home/x/a", "/home/xb", "price$5", "[]", "y"]
    path.write_text("a\nü", encoding="utf-16")
    assert read_pattern_file(str(path)) == ["a", "ü"]
    with pytest.raises(PatternFileUnreadable, match="no such file"):
        read_pattern_file(str(tmp_path / "missing"))


@pytest.mark.parametrize(
    ("text", "expanded"),
    [("$", "$"), ("a$", "a$"), ("${", ""), ("${}x", "x"), ("$A$A", "vv"), ("${A}B", "vB"), ("$A-", "v-"), ("$ x", "$ x")],
)
def test_variables(text: str, expanded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A", "v")
    assert expand_variables(text) == expanded


def test_clean_paths() -> None:
    assert [clean_path(path) for path in ("", "//a//b/", "a/./b/../c", "/..", "../a")] == [".", "/a/b", "a/c", "/", "../a"]
