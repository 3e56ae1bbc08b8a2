"""The keep policy decides what restic 0.19.1 decides, for the same reasons, on histories drawn at random."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.maintenance.duration import Duration
from restic_format.maintenance.policy import KeepPolicy
from restic_spec import gotime
from tests.maintenance.histories import Histories, reasons_used

REASONS = {
    f"{oldest}{word} {kind}"
    for word in ("hourly", "daily", "weekly", "monthly", "yearly")
    for kind in ("snapshot", "within")
    for oldest in ("", "oldest ")
}


def _same(histories: Histories, program: Path, count: int) -> Counter[str]:
    used: Counter[str] = Counter()
    for words, policy in histories.cases(count):
        theirs = histories.restic_says(program, words)
        ours = histories.we_say(policy)
        assert ours.keys() == theirs.keys()
        for host, expected in theirs.items():
            assert ours[host] == expected, (histories.zone, words, host)
        used.update(reasons_used(theirs))
    return used


@pytest.mark.clause("SNAP-15", "SNAP-16")
@pytest.mark.parametrize("seed", ["first", "second"])
def test_restic_keeps_the_same_for_the_same_reasons(seed: str, peer: Callable[[str], Path], tmp_path: Path) -> None:
    histories = Histories(tmp_path / "repository", seed, 40)
    used = _same(histories, peer("restic-0.19"), 4)
    assert used["removed"]


# The zone, and times: the newest, one near the time a day before, and that time, or what it would be by another rule.
EDGES = {
    "a day of 25 hours": "Europe/Berlin 2021-10-31T12:00:00+01:00 2021-10-30T10:30:00Z 2021-10-30T10:00:00Z",
    "a day of 23 hours": "Europe/Berlin 2021-03-28T12:00:00+02:00 2021-03-27T11:00:00.000000001Z 2021-03-27T11:00:00Z",
    "to an hour that is not": "Europe/Berlin 2021-03-29T02:30:00+02:00 2021-03-28T01:00:00Z 2021-03-28T00:30:00Z",
    "to an hour that is twice": "Europe/Berlin 2021-11-01T02:30:00+01:00 2021-10-31T01:00:00Z 2021-10-31T00:30:00Z",
    "to the hour before": "Europe/Berlin 2021-11-01T01:30:00+01:00 2021-10-31T00:00:00Z 2021-10-30T23:30:00Z",
    "another offset than the zone's": "Europe/Berlin 2021-10-31T12:00:00+05:00 2021-10-30T07:30:00Z 2021-10-30T07:00:00Z",
    "UTC beside a zone with its offset": "Europe/London 2021-10-31T12:00:00Z 2021-10-30T11:30:00Z 2021-10-30T12:00:00Z",
    "the zone with the offset of UTC": "Europe/London 2021-10-31T12:00:00+00:00 2021-10-30T11:30:00Z 2021-10-30T11:00:00Z",
    "before all time of Go": "UTC 0000-12-30T12:00:00Z 0000-12-29T13:00:00Z 0000-12-29T12:00:00Z",
}


@pytest.mark.clause("SNAP-16")
@pytest.mark.parametrize("edge", EDGES)
def test_a_day_before_is_what_restic_takes_for_it(edge: str, peer: Callable[[str], Path], tmp_path: Path) -> None:
    zone_name, *times = EDGES[edge].split()
    histories = Histories(tmp_path / "repository", zone_name=zone_name)
    for text in [*times, "0000-01-02T00:00:00Z"]:
        histories.add("host", text)
    for hours in range(-3, 4):
        histories.add("host", gotime.format_ns(gotime.parse_ns(times[2]) + hours * 3600 * gotime.NS, 0))
    words = ["--keep-last", "1", "--keep-within", "1d", "--keep-within-hourly", "1d"]
    day = Duration(days=1)
    ours = histories.we_say(KeepPolicy(last=1, within=day, within_hourly=day, trust_times=True))
    assert ours == histories.restic_says(peer("restic-0.19"), words)
    kept = {text for text, matches in ours["host"] if "within 1d" in matches}
    assert bool(kept) == (edge != "before all time of Go")


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_restic_keeps_the_same_of_very_many(peer: Callable[[str], Path], tmp_path: Path) -> None:
    used: Counter[str] = Counter()
    for number in range(6):
        histories = Histories(tmp_path / str(number), f"many {number}", 50)
        used += _same(histories, peer("restic-0.19"), 5)
    kinds = {reason for reason in used if reason.split()[0] != "has"}
    missing = {reason for reason in REASONS if " ".join(reason.split()[:2]) not in kinds}
    assert not missing
