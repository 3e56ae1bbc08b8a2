"""Histories of snapshots and keep policies, drawn at random from a seed, and what real restic decides about them."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from restic_format.maintenance import forget
from restic_format.maintenance.duration import Duration
from restic_format.maintenance.policy import UNLIMITED, KeepPolicy
from restic_format.repository import Repository
from restic_format.snapshots.grouping import HOST
from restic_format.storage import LocalStorage
from restic_spec import gotime
from restic_spec.keyfile import Kdf
from restic_spec.snapshot import Snapshot

PASSWORD = "pw"
HOUR, DAY = 3600, 86400
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Caracas")
_COUNTS = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
_WITHIN = ("", "hourly", "daily", "weekly", "monthly", "yearly")
_TAGS = ((), (), (), ("a",), ("b",), ("a", "b"), ("c", "a"))

# Each verdict: time and reasons, newest first; no reasons: removed. Snapshots of one time and the same tags are alike.
Verdicts = dict[str, list[tuple[str, tuple[str, ...]]]]


class Case(NamedTuple):
    """A policy, for restic's command line and for the engine."""

    words: list[str]
    policy: KeepPolicy


@contextmanager
def zone(name: str) -> Iterator[None]:
    """Be in another time zone."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = name
    time.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()


def _seconds(year: int, month: int, day: int) -> int:
    return gotime.days_from_civil(year, month, day) * DAY


def history(rng: random.Random) -> list[tuple[str, tuple[str, ...]]]:
    """Times as stored, and tags, of a host's snapshots."""
    kind = rng.randrange(8)
    count = rng.randint(1, 30)
    start = _seconds(rng.randint(2005, 2024), rng.randint(1, 12), rng.randint(1, 28)) + rng.randrange(DAY)
    if kind == 0:
        times = [start + number * DAY + rng.randrange(2 * HOUR) for number in range(count)]
    elif kind == 1:
        times = [start + rng.randrange(3 * DAY) for _ in range(count)]
    elif kind == 2:
        # The weeks around a new year, where ISO's year of weeks differs from the calendar's.
        times = [_seconds(rng.randint(2008, 2012), 12, 20) + rng.randrange(30 * DAY) for _ in range(count)]
    elif kind == 3:
        # Clocks go forward and back, in the north and in the south.
        turn = rng.choice(((2021, 3, 14), (2021, 3, 28), (2021, 10, 31), (2021, 11, 7), (2021, 4, 4), (2021, 10, 3)))
        times = [_seconds(*turn) + rng.randrange(-2 * DAY, 3 * DAY, 600) for _ in range(count)]
    elif kind == 4:
        times = [_seconds(rng.randint(1999, 2040), rng.randint(1, 12), 1) + rng.randrange(28 * DAY) for _ in range(count)]
    elif kind == 5:
        # Ends of months: so many months before may be a day that the month does not have.
        times = [_seconds(rng.randint(2019, 2024), rng.randint(1, 12), 1) - rng.randrange(2 * DAY) for _ in range(count)]
    elif kind == 6:
        times = [_seconds(rng.choice((0, 1, 2, 9998, 9999)), rng.randint(1, 12), rng.randint(2, 28)) for _ in range(count)]
    else:
        times = [start + number * 31 * DAY // rng.randint(1, 3) for number in range(count)]
    offsets = rng.choice(((None,), (0,), (3600, 7200), (None, 0, 19800, -12600)))
    found: dict[int, tuple[str, tuple[str, ...]]] = {}
    result = []
    for seconds in times:
        ns = seconds * gotime.NS + rng.choice((0, 0, rng.randrange(gotime.NS)))
        text = gotime.format_ns(ns, rng.choice(offsets))
        if rng.randrange(10) == 0:
            text = text.replace("Z", "+00:00")
        entry = found.setdefault(gotime.parse_ns(text), (text, rng.choice(_TAGS)))
        result += [entry] * (2 if rng.randrange(12) == 0 else 1)
    return result


def case(rng: random.Random) -> Case:
    """A policy that keeps a snapshot of every group at least."""
    words: list[str] = []
    values: dict[str, object] = {}
    for name in rng.sample(_COUNTS, rng.randint(0, 4)):
        count = rng.choice((1, 1, 2, 3, 5, 10, UNLIMITED))
        words += [f"--keep-{name}", "unlimited" if count == UNLIMITED else str(count)]
        values[name] = count
    for name in rng.sample(_WITHIN, rng.randint(0 if words else 1, 3)):
        parts = (rng.randint(0, 3), rng.randint(0, 14), rng.randint(0, 40), rng.randint(1, 60))
        duration = Duration(*(part if rng.randrange(2) else 0 for part in parts))
        duration = duration if any(duration) else Duration(days=1)
        words += ["--keep-within" + (f"-{name}" if name else ""), str(duration)]
        values["within" + (f"_{name}" if name else "")] = duration
    tags = [rng.choice((["a"], ["b"], ["a", "b"], [""])) for _ in range(rng.choice((0, 0, 1, 2)))]
    for some in tags:
        words += ["--keep-tag", ",".join(some)]
    return Case(words, KeepPolicy(tags=tags, trust_times=True, **values))  # type: ignore[arg-type]


class Histories:
    """A repository of many hosts, each with a history of its own."""

    def __init__(self, folder: Path, seed: str = "", hosts: int = 0, *, zone_name: str = "") -> None:
        self.folder = folder
        rng = random.Random(seed)
        self.zone = zone_name or rng.choice(ZONES)
        kdf = Kdf(2, 1, 1, b"s" * 64)
        self.repo = Repository.init(LocalStorage(str(folder)), PASSWORD, kdf=kdf)
        self.repo.extra_verify = False
        with zone(self.zone):
            for number in range(hosts):
                for text, tags in history(rng):
                    self.add(f"host{number}", text, tags)
        self.cases = lambda count: [case(rng) for _ in range(count)]

    def add(self, host: str, text: str, tags: tuple[str, ...] = ()) -> bytes:
        """Store a snapshot; forget does not ask whether its tree is there."""
        tree = os.urandom(32).hex()
        return self.repo.save_snapshot(Snapshot(time=text, tree=tree, paths=["/p"], hostname=host, tags=list(tags)))

    def restic_says(self, program: Path, words: list[str]) -> Verdicts:
        """What real restic would do with these options; all groups at once."""
        done = subprocess.run(
            [program, "-r", self.folder, "--no-cache", "--no-lock", "--json", "forget", "-n", "-g", "host", *words],
            capture_output=True,
            env={"RESTIC_PASSWORD": PASSWORD, "TZ": self.zone},
            check=False,
        )
        assert done.returncode == 0, (words, done.stderr)
        result: Verdicts = {}
        for group in json.loads(done.stdout):
            kept = [(reason["snapshot"]["time"], tuple(reason["matches"])) for reason in group["reasons"] or []]
            assert [item[0] for item in kept] == [snapshot["time"] for snapshot in group["keep"] or []]
            result[group["host"]] = _merged(kept, [snapshot["time"] for snapshot in group["remove"] or []])
        return result

    def we_say(self, policy: KeepPolicy) -> Verdicts:
        """What our plan is."""
        with zone(self.zone):
            plan = forget.plan(self.repo, policy, by=frozenset((HOST,)))
        return {
            group.hostname: _merged(
                [(gotime.canonical(kept.found.snapshot.time), kept.matches) for kept in decision.keep],
                [gotime.canonical(found.snapshot.time) for found in decision.remove],
            )
            for group, decision in plan.groups
        }


def _merged(kept: list[tuple[str, tuple[str, ...]]], removed: list[str]) -> list[tuple[str, tuple[str, ...]]]:
    everything = [*kept, *((text, ()) for text in removed)]
    # By time; at one time those kept for more come first, which is their order.
    return sorted(everything, key=lambda item: (-gotime.parse_ns(item[0]), not item[1]))


def reasons_used(verdicts: Verdicts) -> Counter[str]:
    """How often each kind of reason was given, so that a test can see that it meets them all."""
    used: Counter[str] = Counter()
    for host in verdicts.values():
        for _, matches in host:
            used.update(" ".join(reason.split()[:2]) for reason in matches or ("removed",))
    return used
