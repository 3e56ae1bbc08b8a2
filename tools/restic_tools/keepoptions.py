"""The options of ``forget`` that say what to keep."""

from __future__ import annotations

import re
from typing import Annotated, Any

from restic_format.maintenance.duration import Duration
from restic_format.maintenance.policy import NO_DURATION, PERIODS, UNLIMITED, KeepPolicy
from restic_tools.declare import Option, OptionGroup
from restic_tools.flagtypes import tag_list

_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_DIGITS = 18
"""A number has no more digits: it fits into 64 bits."""


def keep_count(text: str) -> int:
    """How many to keep: a number, or ``unlimited``; errors in restic's words."""
    if text == "unlimited":
        return UNLIMITED
    if _INTEGER.fullmatch(text) is None:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    if len(text.lstrip("+-0")) > _DIGITS:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": value out of range')
    if int(text) < 0:
        raise ValueError("negative values not allowed, use 'unlimited' instead")
    return int(text)


def _count(word: str, letter: str = "") -> Option:
    name = f"--keep-{word}"
    what = "snapshots" if word == "last" else f"{word} snapshots"
    text = f"keep the last n {what} ('unlimited' for all)"
    return Option(*([name, letter] if letter else [name]), metavar="n", parser=keep_count, values=("unlimited",), help=text)


def _within(word: str = "") -> Option:
    what = f"{word} snapshots" if word else "snapshots"
    name = f"--keep-within-{word}" if word else "--keep-within"
    text = f"keep {what} made within this time (like 1y5m7d2h) before the latest one"
    return Option(name, metavar="duration", parser=Duration.parse, help=text)


class KeepOptions(OptionGroup):
    """The options that say what to keep; `policy` is what they say together."""

    keep_last: Annotated[int, _count("last", "-l")] = 0
    keep_minutely: Annotated[int, _count("minutely")] = 0
    keep_hourly: Annotated[int, _count("hourly", "-H")] = 0
    keep_daily: Annotated[int, _count("daily", "-d")] = 0
    keep_weekly: Annotated[int, _count("weekly", "-w")] = 0
    keep_monthly: Annotated[int, _count("monthly", "-m")] = 0
    keep_quarter_yearly: Annotated[int, _count("quarter-yearly")] = 0
    keep_half_yearly: Annotated[int, _count("half-yearly")] = 0
    keep_yearly: Annotated[int, _count("yearly", "-y")] = 0
    keep_within: Annotated[Duration | None, _within()] = None
    keep_within_minutely: Annotated[Duration | None, _within("minutely")] = None
    keep_within_hourly: Annotated[Duration | None, _within("hourly")] = None
    keep_within_daily: Annotated[Duration | None, _within("daily")] = None
    keep_within_weekly: Annotated[Duration | None, _within("weekly")] = None
    keep_within_monthly: Annotated[Duration | None, _within("monthly")] = None
    keep_within_quarter_yearly: Annotated[Duration | None, _within("quarter-yearly")] = None
    keep_within_half_yearly: Annotated[Duration | None, _within("half-yearly")] = None
    keep_within_yearly: Annotated[Duration | None, _within("yearly")] = None
    keep_tag: Annotated[
        list[list[str]] | None,
        Option(
            "--keep-tag",
            metavar="tag[,tag,...]",
            parser=tag_list,
            help="keep snapshots that have all of these tags (can be given several times)",
        ),
    ] = None
    keep_id: Annotated[
        list[str] | None,
        Option("--keep-id", metavar="ID", help="keep snapshots whose ID begins so (can be given several times)"),
    ] = None
    trust_times: Annotated[
        bool, Option("--trust-times", help="count snapshots from the future too, instead of keeping them uncounted")
    ] = False

    def policy(self) -> KeepPolicy:
        """The policy.

        Raises:
            UsageError: a negative duration.
        """
        fields = {period.field for period in PERIODS}
        counts = {name: getattr(self, f"keep_{name}") for name in fields}
        durations: dict[str, Any] = {f"within_{name}": getattr(self, f"keep_within_{name}") or NO_DURATION for name in fields}
        return KeepPolicy(
            last=self.keep_last,
            within=self.keep_within or NO_DURATION,
            tags=self.keep_tag or (),
            ids=self.keep_id or (),
            trust_times=self.trust_times,
            **counts,
            **durations,
        )
