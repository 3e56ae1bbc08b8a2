"""Patterns against paths: restic's rules."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
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
    read_pattern_file,
)
from tests.backup.sources import Restic

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
    ("/**/x/**", "/x", False),
    ("/**/x/**", "/x/y", True),
    ("/a/**/**", "/a", False),
    ("/a/**/**", "/a/b", True),
    ("/a/**/**/x", "/a/x", False),
    ("/a/**/**/x", "/a/x/y", True),
    ("/**/**", "/a", True),
    ("/a/**/b/**/c/**", "/a/b/c", False),
    ("/a/**/b/**/c/**", "/a/q/b/c/d", False),
    ("/a/**/b/**/c/**", "/a/q/b/c/d/e", True),
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


NAMES = st.text(alphabet="ab*", min_size=1, max_size=5)
TOKENS = st.sampled_from(["a", "b", "*", "?", "[ab]", "[^a]", "\\*"])
PARTS = st.lists(TOKENS, min_size=1, max_size=5).map("".join) | st.just("**")


def reference(parts: list[str], names: list[str], anchored: bool) -> bool:
    """The rules as they are told: parts against a run of components, ``**`` for any number of them."""

    def run(parts: list[str], names: list[str]) -> bool:
        if not parts:
            return True
        if parts[0] == "**":
            # restic counts a later ``**`` for one component here, although it may stand for none.
            most = len(names) - (len(parts) - 1 if anchored else 0)
            return any(run(parts[1:], names[skip:]) for skip in range(most + 1))
        return bool(names) and _part(parts[0], names[0]) and run(parts[1:], names[1:])

    if not anchored and parts and set(parts) == {"**"}:
        return bool(names)
    return any(run(parts, names[start:]) for start in range(1 if anchored else len(names)))


def _part(part: str, name: str) -> bool:
    """The tokens above against a name, character by character."""
    if not part:
        return not name
    if part[0] == "*":
        return any(_part(part[1:], name[skip:]) for skip in range(len(name) + 1))
    token = part[: part.index("]") + 1] if part[0] == "[" else part[:2] if part[0] == "\\" else part[0]
    fits = {"[ab]": "ab", "[^a]": "b*", "?": "ab*"}.get(token, token[-1])
    return name[:1] != "" and name[0] in fits and _part(part[len(token) :], name[1:])


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


@pytest.mark.parametrize("insensitive", [False, True])
@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*foo*bar", "/" + "foo" * 70_000),
        ("*a*a*a*b", "/" + "a" * 200_000),
        ("*a*a*a*b/x", "/" + "a" * 200_000),
        ("/*[ab]*[ab]*?[^x]*c", "/" + "ab" * 100_000),
        ("**/*a/**/*a/**/*a/**/b", "/a" * 20_000),
        ("*a/*a/*a/*a/*b", ("/" + "a" * 250) * 1_000),
        ("/**/a*/**/*b*c", ("/" + "a" * 250 + "b") * 1_000),
    ],
)
def test_no_pattern_takes_long(pattern: str, path: str, insensitive: bool) -> None:
    """One that would be tried at every place again takes hours here; a limit on processor time ends it."""
    compiled = PatternList([pattern], ignore_case=insensitive)
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    used = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 60, hard))
    try:
        assert compiled.match_child(path)[0] is False
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


PATTERNS_BESIDE_RESTIC = [
    *("*", "**", "/", "/x", "*/x", "/a/**/x", "a/**/x", "[^x]/x", "*b*a*", "*a*.*t", "?b*", "[*]", "?ü", "b/c"),
    *("**/b/**/b/**/x", "/*/b/x", "a/../x", "!x"),
]


@pytest.fixture
def names_in_restic(restic: Restic, tmp_path: Path) -> tuple[Restic, set[str]]:
    """A repository by restic, and the paths of the files in its snapshot."""
    files = ["x", "a/x", "a/b/x", "a/b/c/x", "b/c/x", "a/b/c/b/x", "ab.txt", "aab.txt", "a-b", "*", "ü", "üü", "!x"]
    for file in files:
        (tmp_path / "src" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "src" / file).write_bytes(b"")
    restic("backup", "-q", ".", cwd=tmp_path / "src")
    return restic, {"/" + file for file in files}


def test_patterns_match_what_restic_matches(names_in_restic: tuple[Restic, set[str]], tmp_path: Path) -> None:
    restic, files = names_in_restic
    differences = []
    for option, pattern in [
        *((option, pattern) for option in ("--exclude", "--include") for pattern in PATTERNS_BESIDE_RESTIC),
        *((option, pattern) for option in ("--iexclude", "--iinclude") for pattern in ("", "A/**/X", "*Ü")),
    ]:
        out = restic("restore", "latest", "--no-lock", "--target", str(tmp_path / "out"), "--dry-run", "-vv", option, pattern)
        restored = {line.split(maxsplit=1)[1].split(" with size ")[0] for line in out.splitlines() if " with size " in line}
        given = ([], [pattern]) if option.startswith("--ii") or option == "--iexclude" else ([pattern], [])
        if option.endswith("include"):
            includes = IncludeFilter(*given)
            mine = {name for name in files if includes.selects(name)[0]}
        else:
            excludes = ExcludeFilter(*given)
            mine = {name for name in files if not excludes.rejects(name)}
        if mine != restored:
            differences.append((option, pattern, mine ^ restored))
    assert differences == []


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
    assert not ExcludeFilter() and not IncludeFilter() and not IncludeFilter([], [])
    includes = IncludeFilter(["/a/b"], ["/C/D"])
    assert includes.selects("/a") == (False, True)
    assert includes.selects("/c/d") == (True, True)
    assert includes.selects("/e") == (False, False)


@pytest.mark.parametrize("given", [([""], []), ([], [""]), (["", ""], [""])])
def test_an_empty_pattern_is_given_though_it_matches_nothing(given: tuple[list[str], list[str]]) -> None:
    includes, excludes = IncludeFilter(*given), ExcludeFilter(*given)
    assert includes and not includes.matches_something and includes.selects("/a") == (False, False)
    assert excludes and not excludes.matches_something and not excludes.rejects("/a")


def test_pattern_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", "/home/x")
    monkeypatch.delenv("NOWHERE", raising=False)
    path = tmp_path / "patterns"
    path.write_bytes("\ufeff# comment\r\n  *.tmp  \r\n\n$PLACE/a\n${PLACE}b\nprice$$5\n[$NOWHERE]\n#x\n\u00a0y".encode())
    assert read_pattern_file(str(path)) == ["*.tmp", "/home/x/a", "/home/xb", "price$5", "[]", "y"]
    path.write_text("a\nü", encoding="utf-16")
    assert read_pattern_file(str(path)) == ["a", "ü"]
    path.write_bytes(b"\xff\xfea\0")
    assert read_pattern_file(str(path)) == ["a"]
    path.write_bytes("\ufeffü\n".encode("utf-16-be") + b"\xd8\x00")
    assert read_pattern_file(str(path)) == ["ü", "\ufffd"]
    path.write_bytes(b"latin1-\xe4\n")
    assert read_pattern_file(str(path)) == ["latin1-\udce4"]
    with pytest.raises(PatternFileUnreadable, match="no such file"):
        read_pattern_file(str(tmp_path / "missing"))


def test_pattern_files_and_variables_are_bytes_in_any_locale(tmp_path: Path) -> None:
    """As with LC_ALL=de_DE.ISO-8859-1: what the system calls them decides, not how the locale would spell it."""
    name = os.fsencode(tmp_path) + b"/\xff-" + "ü€".encode()
    with open(name, "wb") as file:
        file.write(b"$RESTIC_FORMAT_TEST_PLACE/x")
    program = (
        "import os, sys\n"
        "from restic_format.filter import read_pattern_file\n"
        "name = os.fsencode(sys.argv[1]).decode('utf-8', 'surrogateescape')\n"
        "sys.stdout.write(ascii(read_pattern_file(name)))\n"
    )
    env = {
        b"LC_ALL": b"C",
        b"PYTHONUTF8": b"0",
        b"PYTHONCOERCECLOCALE": b"0",
        b"PYTHONPATH": os.pathsep.join(filter(None, sys.path)).encode(),
        b"RESTIC_FORMAT_TEST_PLACE": b"/\xe4" + "ö".encode(),
    }
    done = subprocess.run([sys.executable, "-c", program, name], env=env, capture_output=True)
    assert (done.stdout, done.stderr) == (ascii(["/\udce4ö/x"]).encode(), b"")


@pytest.mark.parametrize(
    ("text", "expanded"),
    [("$", "$"), ("a$", "a$"), ("${", ""), ("${}x", "x"), ("$A$A", "vv"), ("${A}B", "vB"), ("$A-", "v-"), ("$ x", "$ x")],
)
def test_variables(text: str, expanded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A", "v")
    assert expand_variables(text) == expanded


def test_clean_paths() -> None:
    assert [clean_path(path) for path in ("", "//a//b/", "a/./b/../c", "/..", "../a")] == [".", "/a/b", "a/c", "/", "../a"]
