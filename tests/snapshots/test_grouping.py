"""Grouping snapshots: the words that say by what."""

from __future__ import annotations

import pytest

from restic_format.snapshots.grouping import HOST, PATHS, TAGS, parse_grouping


def test_words_are_restics() -> None:
    assert parse_grouping("host,paths") == parse_grouping("hosts,,path,") == {HOST, PATHS}
    assert parse_grouping("tag,tags") == {TAGS}
    assert parse_grouping("") == parse_grouping(",") == frozenset()


@pytest.mark.parametrize("text", ["host, paths", " host", "Host", "host;paths", "none", " "])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="unknown grouping option"):
        parse_grouping(text)
