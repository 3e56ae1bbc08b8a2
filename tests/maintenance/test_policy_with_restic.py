"""The keep policy decides what restic 0.19.1 decides, for the same reasons, on histories drawn at random."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

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


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_restic_keeps_the_same_of_very_many(peer: Callable[[str], Path], tmp_path: Path) -> None:
    used: Counter[str] = Counter()
    for number in range(6):
        histories = Histories(tmp_path / str(number), f"many {number}", 50)
        used += _same(histories, peer("restic-0.19"), 5)
    kinds = {reason for reason in used if reason.split()[0] != "has"}
    missing = {reason for reason in REASONS if " ".join(reason.split()[:2]) not in kinds}
    assert not missing
