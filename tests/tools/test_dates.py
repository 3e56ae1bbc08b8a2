"""Dates of `find --oldest` and `--newest`, read as restic 0.19.1 reads them; which it accepts was asked of the real program."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from restic_spec import gotime
from restic_tools.dates import date_ns


@pytest.fixture(autouse=True)
def _zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-26", "2026-11-25T23:00:00Z"),
        ("26.11.2026", "2026-11-25T23:00:00Z"),
        ("2026-11-26  9:09", "2026-11-26T08:09:00Z"),
        ("26.11.2026 09:09:49,5", "2026-11-26T08:09:49.5Z"),
        ("2026-11-26 09:09:49.1234567891 +0130", "2026-11-26T07:39:49.123456789Z"),
        ("2026-11-26 09:09:49 -2400", "2026-11-27T09:09:49Z"),
        ("2026-11-26 09:09:49 UTC", "2026-11-26T09:09:49Z"),
        ("2026-11-26 09:09:49 CET", "2026-11-26T08:09:49Z"),
        ("2026-07-26 09:09:49 CEST", "2026-07-26T07:09:49Z"),
        ("2026-07-26 09:09:49 CET", "2026-07-26T08:09:49Z"),
        ("2026-11-26 09:09:49 GMT+3", "2026-11-26T09:09:49Z"),
        ("2026-11-26 09:09:49 ABCT", "2026-11-26T09:09:49Z"),
        ("thu nov 6 9:09:49 +0100 XYZ 2026", "2026-11-06T08:09:49Z"),
        ("Mon Nov 26 9:09:49 +0000 +03 2026", "2026-11-26T09:09:49Z"),
    ],
)
def test_dates(text: str, expected: str) -> None:
    assert date_ns(text) == gotime.parse_ns(expected)


@pytest.mark.parametrize("text", ["", "0001-01-01 00:00:00 UTC"])
def test_no_date(text: str) -> None:
    assert date_ns(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        " 2026-11-26",
        "2026-11-26 ",
        "2026-02-30",
        "2026-13-01",
        "2026-00-01",
        "2026-11-26 24:00",
        "2026-11-26 09:60",
        "2026-11-26T09:09:49Z",
        "2026-11-26 09:09:49 +2500",
        "2026-11-26 09:09:49 +0061",
        "2026-11-26 09:09:49 ABCD",
        "2026-11-26 09:09:49 GMT+24",
        "6.11.2026",
        "Foo Nov 26 9:09:49 +0000 UTC 2026",
    ],
)
def test_what_is_no_date(text: str) -> None:
    with pytest.raises(ValueError, match="unable to parse"):
        date_ns(text)
