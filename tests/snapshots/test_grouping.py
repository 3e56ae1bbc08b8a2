"""Grouping snapshots: the words that say by what."""

from __future__ import annotations

import pytest

from restic_format.snapshots import FoundSnapshot
from restic_format.snapshots.grouping import HOST, PATHS, TAGS, newest_of_each, parse_grouping
from restic_spec.snapshot import MAX_MEMBER, PARTIAL, decode_snapshot, is_partial


def test_words_are_restics() -> None:
    assert parse_grouping("host,paths") == parse_grouping("hosts,,path,") == {HOST, PATHS}
    assert parse_grouping("tag,tags") == {TAGS}
    assert parse_grouping("") == parse_grouping(",") == frozenset()


@pytest.mark.parametrize("text", ["host, paths", " host", "Host", "host;paths", "none", " "])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="unknown grouping option"):
        parse_grouping(text)


def found(number: int, host: str, member: bytes = b"false") -> FoundSnapshot:
    raw = b'{"time":"2020-01-%02dT00:00:00Z","tree":null,"paths":["/d"],"hostname":"%s","partial":%s}'
    text = raw % (number, host.encode(), member)
    return FoundSnapshot(bytes([number]) * 32, decode_snapshot(text, keep_unknown=False, members=[PARTIAL]))


@pytest.mark.clause("SNAP-23")
def test_partial_snapshots_are_the_newest_only_where_there_are_no_others() -> None:
    given = [found(1, "a"), found(2, "a"), found(3, "a", b"true"), found(4, "b", b"true"), found(5, "b", b"true")]
    for count, expected in ((1, [2, 5]), (2, [1, 2, 4, 5]), (9, [1, 2, 4, 5])):
        assert [item.id[0] for item in newest_of_each(given, count, frozenset({HOST}))] == expected


@pytest.mark.clause("SNAP-21")
def test_a_member_of_another_program_does_not_make_a_snapshot_unusable() -> None:
    for member in (b'"%s"' % (b"x" * MAX_MEMBER), b'{"a":1}', b'"true"', b"null", b"1"):
        assert not is_partial(found(1, "a", member).snapshot)
    assert is_partial(found(1, "a", b"true").snapshot)
