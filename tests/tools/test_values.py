"""Readers for option values, and numbers and tables as people read them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restic_format.durations import duration, duration_text
from restic_format.words import printable
from restic_spec import gotime
from restic_spec.errors import JsonInvalid
from restic_tools.argv import parse_int, parse_uint
from restic_tools.flagtypes import comma_list, compression_mode, size, tag_list
from restic_tools.gotext import canonical, full_text, local_text
from restic_tools.render import Table, bytes_text, percent_text, seconds_text, shortened


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("5s", 5),
        ("5m", 300),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("1m0.5s", 60.5),
        ("-2m", -120),
        ("+3s", 3),
        ("100ms", 0.1),
        (".5s", 0.5),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "m", "5x", "1h-3m", ".s", "1..5s", "5 m", "h5"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (5, "5s"), (60, "1m0s"), (3661, "1h1m1s"), (1.5, "1.5s"), (0.25, "250ms")]
)
def test_durations_as_go_writes_them(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@given(st.integers(0, 10**7))
def test_durations_survive_writing_and_reading(seconds: int) -> None:
    assert duration(duration_text(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("512", 512),
        ("10k", 10240),
        ("3M", 3 << 20),
        ("2g", 2 << 30),
        ("1T", 1 << 40),
        ("+5", 5),
        ("0", 0),
        ("", None),
        ("7b", 7),
    ],
)
def test_sizes(text: str, count: int | None) -> None:
    assert size(text) == count


@pytest.mark.parametrize("text", ["k", "-1", "1.5M", "x", "10kk", "1 0", "1kb", "1KiB", " 1", "0x10", "1_000", "\u0663"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="expected a size"):
        size(text)


@pytest.mark.parametrize(
    ("read", "most"),
    [
        (size, f"{(1 << 63) - 1}"),
        (size, f"{(1 << 23) - 1}T"),
        (parse_int, f"{(1 << 63) - 1}"),
        (parse_int, f"-{1 << 63}"),
        (parse_uint, f"{(1 << 64) - 1}"),
        (duration, f"{(1 << 63) - 1}ns"),
        (duration, "2562047h"),
    ],
)
def test_numbers_end_where_those_of_go_do(read: Callable[[str], object], most: str) -> None:
    digits = most.strip("-Tnsh")
    read(most)
    for more in (most.replace(digits, str(int(digits) + 1)), most.replace(digits, "9" * 30)):
        with pytest.raises(ValueError, match=r"out of range|too long"):
            read(more)


@pytest.mark.parametrize("text", ["", " 5", "5 ", "5\n", "\u0663", "1k", "1.0", "08"])
@pytest.mark.parametrize("read", [parse_int, parse_uint])
def test_what_is_no_number(read: Callable[[str], object], text: str) -> None:
    with pytest.raises(ValueError, match="expected a whole number"):
        read(text)


def test_a_number_without_sign_has_none() -> None:
    assert parse_uint("0x10") == 16 and parse_int("+5") == 5 and parse_int("-017") == -15
    for text in ("+5", "-5"):
        with pytest.raises(ValueError, match="not negative"):
            parse_uint(text)


def test_lists() -> None:
    assert comma_list("a,b") == ["a", "b"]
    assert comma_list("") == []
    assert comma_list('a,"b,c"') == ["a", "b,c"]
    assert tag_list(" a, b") == ["a", "b"]
    assert tag_list("") == [""]


def test_compression_modes() -> None:
    assert compression_mode("max") == "max"
    with pytest.raises(ValueError, match="must be one of"):
        compression_mode("zip")


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.000 KiB"), (3012, "2.941 KiB"), (1 << 30, "1.000 GiB"), (5 << 50, "5.000 PiB")],
)
def test_bytes(count: int, text: str) -> None:
    assert bytes_text(count) == text


def test_clocks_and_shares() -> None:
    assert seconds_text(5.9) == "0:05"
    assert seconds_text(3723) == "1:02:03"
    assert percent_text(1, 3) == "33.33%"
    assert percent_text(5, 3) == "100.00%"
    assert percent_text(0, 0) == ""


def test_names_cannot_move_the_cursor() -> None:
    assert printable("plain ü") == "plain ü"
    assert printable("a\x1b[2Jb\n") == '"a\\x1b[2Jb\\n"'
    assert printable("bad\udcff") == '"bad\\xff"'


@given(st.text(max_size=60), st.integers(1, 40))
def test_shortened_lines_fit(text: str, width: int) -> None:
    from rich.cells import cell_len

    assert cell_len(shortened(text, width)) <= width or cell_len(text) <= width


def test_tables_fold_their_widest_column_to_fit_the_terminal() -> None:
    table = Table(["ID", "Paths", "Size"], width=40, fold=1)
    table.add(["12345678", "/very/long/path/that/does/not/fit/into/forty/columns", "1 B"])
    lines = table.text().splitlines()
    assert max(map(len, lines)) <= 40
    assert "".join(line[10:].split("  ")[0].strip() for line in lines[2:-1]).startswith("/very/long/path")


def test_tables_take_control_characters_out() -> None:
    table = Table(["Host"])
    table.add(["evil\x1b[31m"])
    assert "\x1b" not in table.text()


@pytest.mark.parametrize(
    ("zone", "time", "local", "full"),
    [
        ("UTC", "2026-11-22T14:51:48.011388254Z", "2026-11-22 14:51:48", "2026-11-22 14:51:48.011388254 +0000 UTC"),
        ("Europe/Berlin", "2026-11-22T14:51:48Z", "2026-11-22 15:51:48", "2026-11-22 14:51:48 +0000 UTC"),
        ("Europe/Berlin", "2026-11-22T15:51:48.5+01:00", "2026-11-22 15:51:48", "2026-11-22 15:51:48.5 +0100 CET"),
        ("UTC", "2026-07-01T10:00:00-02:30", "2026-07-01 12:30:00", "2026-07-01 10:00:00 -0230 -0230"),
    ],
)
def test_times(zone: str, time: str, local: str, full: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import time as clock

    monkeypatch.setenv("TZ", zone)
    clock.tzset()
    try:
        assert local_text(time) == local
        assert full_text(time) == full
    finally:
        monkeypatch.undo()
        clock.tzset()


def test_times_are_written_again_as_go_does() -> None:
    assert canonical("2026-07-01T10:00:00.500000000Z") == "2026-07-01T10:00:00.5Z"
    assert canonical(None) == "0001-01-01T00:00:00Z"


@given(
    st.from_regex(
        r"(0000|0999|2023|2024|9999)-[01]\d-[0-3]\dT[0-2]\d:[0-6]\d:[0-6]\d(\.[0-9]{1,10})?(Z|[+-]([01][0-9]|24):[0-6][0-9])",
        fullmatch=True,
        alphabet=st.characters(max_codepoint=127),
    )
)
def test_times_that_are_told_quickly_are_what_go_writes(text: str) -> None:
    try:
        expected = gotime.format_ns(*gotime.parse(text))
    except JsonInvalid:
        with pytest.raises(JsonInvalid):
            canonical(text)
    else:
        assert canonical(text) == expected
