"""restic's option syntax, rule by rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restic_tools.argv import Flag, FlagSet, Parsed, UsageFailure, find_command, parse, parse_int
from restic_tools.globaloptions import GLOBAL_FLAGS
from restic_tools.registry import is_known

FLAGS = FlagSet(
    [
        Flag("repo", "", short="r"),
        Flag("json", "", kind="bool"),
        Flag("quiet", "", short="q", kind="bool"),
        Flag("verbose", "", short="v", kind="count"),
        Flag("limit", "", short="l", parse=parse_int),
        Flag("host", "", short="H", many=True),
        Flag("option", "", short="o", many=True, spread=True, parse=lambda text: text.split(",")),
    ]
)


@pytest.mark.parametrize(
    ("line", "values", "arguments"),
    [
        ("--repo x", {"repo": "x"}, []),
        ("--repo=x", {"repo": "x"}, []),
        ("--repo=", {"repo": ""}, []),
        ("--repo=a=b", {"repo": "a=b"}, []),
        ("-r x", {"repo": "x"}, []),
        ("-rx", {"repo": "x"}, []),
        ("-r=x", {"repo": "x"}, []),
        ("-r --json", {"repo": "--json"}, []),
        ("--repo --json", {"repo": "--json"}, []),
        ("--repo a --repo b", {"repo": "b"}, []),
        ("a --json b", {"json": True}, ["a", "b"]),
        ("--json=false", {"json": False}, []),
        ("--json --json=F", {"json": False}, []),
        ("--json=1 x", {"json": True}, ["x"]),
        ("--json false", {"json": True}, ["false"]),
        ("-q=false", {"quiet": False}, []),
        ("-v", {"verbose": 1}, []),
        ("-vv", {"verbose": 2}, []),
        ("-v -v --verbose", {"verbose": 3}, []),
        ("--verbose=2", {"verbose": 2}, []),
        ("--verbose 2", {"verbose": 1}, ["2"]),
        ("-v=2", {"verbose": 2}, []),
        ("-qvv", {"quiet": True, "verbose": 2}, []),
        ("-qvr x", {"quiet": True, "verbose": 1, "repo": "x"}, []),
        ("-qrx", {"quiet": True, "repo": "x"}, []),
        ("--limit -1", {"limit": -1}, []),
        ("--limit=-1", {"limit": -1}, []),
        ("-l-1", {"limit": -1}, []),
        ("-l 0x10", {"limit": 16}, []),
        ("-l 010", {"limit": 8}, []),
        ("-H a -H b --host c", {"host": ["a", "b", "c"]}, []),
        ("-H a,b", {"host": ["a,b"]}, []),
        ("-o a=b,c=d -o e=f", {"option": ["a=b", "c=d", "e=f"]}, []),
        ("a -- --json -r b", {}, ["a", "--json", "-r", "b"]),
        ("--json -- --", {"json": True}, ["--"]),
        ("-", {}, ["-"]),
        ("a - b", {}, ["a", "-", "b"]),
    ],
)
def test_lines_that_are_right(line: str, values: dict[str, object], arguments: list[str]) -> None:
    parsed = parse(line.split(), FLAGS)
    assert parsed.values == values
    assert parsed.arguments == arguments


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--foo", "unknown flag: --foo"),
        ("--foo=1", "unknown flag: --foo"),
        ("-Z", "unknown shorthand flag: 'Z' in -Z"),
        ("-qZv", "unknown shorthand flag: 'Z' in -Zv"),
        ("--repo", "flag needs an argument: --repo"),
        ("-r", "flag needs an argument: 'r' in -r"),
        ("-qr", "flag needs an argument: 'r' in -r"),
        ("---json", "bad flag syntax: ---json"),
        ("--=x", "bad flag syntax: --=x"),
        ("--json=maybe", 'invalid argument "maybe" for "--json" flag: expected true or false'),
        ("-q=2", 'invalid argument "2" for "-q, --quiet" flag: expected true or false'),
        ("--limit x", 'invalid argument "x" for "-l, --limit" flag: expected a whole number'),
        ("--limit=", 'invalid argument "" for "-l, --limit" flag: expected a whole number'),
    ],
)
def test_lines_that_are_wrong(line: str, message: str) -> None:
    with pytest.raises(UsageFailure) as caught:
        parse(line.split(), FLAGS)
    assert str(caught.value) == message


def test_what_was_said_before_an_error_is_known() -> None:
    parsed = Parsed()
    with pytest.raises(UsageFailure):
        parse(["--json", "--foo"], FLAGS, parsed)
    assert parsed.values == {"json": True}


@pytest.mark.parametrize("line", ["--help", "-h", "x -h", "-qh", "--json --help y"])
def test_help_may_be_asked_for_anywhere(line: str) -> None:
    assert parse(line.split(), FLAGS).help


@pytest.mark.parametrize(
    ("line", "path", "rest"),
    [
        ("ls latest", ("ls",), ["latest"]),
        ("-r ls ls ls", ("ls",), ["-r", "ls", "ls"]),
        ("-rls ls", ("ls",), ["-rls"]),
        ("--repo=ls ls", ("ls",), ["--repo=ls"]),
        ("--json ls --json", ("ls",), ["--json", "--json"]),
        ("-v ls", ("ls",), ["-v"]),
        ("-vr x ls", ("ls",), ["-vr", "x"]),
        ("key list", ("key", "list"), []),
        ("-q key -r x list --json", ("key", "list"), ["-q", "-r", "x", "--json"]),
        ("key", ("key",), []),
        ("key nothing", ("key",), ["nothing"]),
        ("list key", ("list",), ["key"]),
        ("list list", ("list",), ["list"]),
        ("--host h snapshots", ("snapshots",), ["--host", "h"]),
        ("-H h snapshots", ("snapshots",), ["-H", "h"]),
        ("nothing ls", (), ["nothing", "ls"]),
        ("-- ls", (), ["--", "ls"]),
        ("", (), []),
    ],
)
def test_the_command_is_found_among_flags(line: str, path: tuple[str, ...], rest: list[str]) -> None:
    assert find_command(line.split(), FlagSet(GLOBAL_FLAGS), is_known) == (path, rest)


@given(st.lists(st.text(max_size=6), max_size=6))
def test_any_words_are_read_or_refused(words: list[str]) -> None:
    try:
        parsed = parse(words, FLAGS)
    except UsageFailure as failure:
        assert str(failure)
    else:
        assert set(parsed.values) <= {flag.key for flag in FLAGS.flags}


@given(st.lists(st.text(max_size=6), max_size=4))
def test_after_two_dashes_everything_is_an_argument(words: list[str]) -> None:
    assert parse(["--", *words], FLAGS).arguments == words
