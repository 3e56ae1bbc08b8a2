"""The keep policy of ``forget``: which snapshots of a group are kept, and why.

Snapshots are looked at from the newest to the oldest. Each rule keeps the newest snapshot of each of its last periods (hours,
days, weeks …, by the clock the snapshot was made with), and the oldest snapshot of all while it has counted fewer than it may.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from restic_format.errors import UsageError
from restic_format.maintenance.duration import Duration, Moment
from restic_format.snapshots.find import FoundSnapshot, has_tags
from restic_spec import gotime
from restic_spec.rustic import DeleteMark, delete_mark
from restic_spec.snapshot import is_partial

UNLIMITED: Final = -1
"""The number that keeps all."""
NO_DURATION: Final = Duration()
_GO_ZERO = Moment(gotime.parse_ns(gotime.ZERO))


class _Period(NamedTuple):
    """A rule by the clock: the field of `KeepPolicy`, the word in texts, and the period a time is in, as a number."""

    field: str
    word: str
    number: Callable[[int], int]
    """Given local seconds since the epoch: equal for times in one period."""


def _month(seconds: int) -> int:
    year, month, _ = gotime.civil_from_days(seconds // 86400)
    return year * 12 + month - 1


PERIODS: Final = (
    _Period("minutely", "minutely", lambda seconds: seconds // 60),
    _Period("hourly", "hourly", lambda seconds: seconds // 3600),
    _Period("daily", "daily", lambda seconds: seconds // 86400),
    # Weeks begin on Monday; 1970-01-01 was a Thursday.
    _Period("weekly", "weekly", lambda seconds: (seconds // 86400 + 3) // 7),
    _Period("monthly", "monthly", _month),
    _Period("quarter_yearly", "quarter-yearly", lambda seconds: _month(seconds) // 3),
    _Period("half_yearly", "half-yearly", lambda seconds: _month(seconds) // 6),
    _Period("yearly", "yearly", lambda seconds: _month(seconds) // 12),
)


@dataclass(frozen=True)
class KeepPolicy:
    """Which snapshots to keep: so many of each period (`UNLIMITED`: of all), what is not older than a duration before the
    newest, what has all tags of one of the lists, and what has an id that begins so.

    Raises:
        UsageError: a negative number.
    """

    last: int = 0
    minutely: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    quarter_yearly: int = 0
    half_yearly: int = 0
    yearly: int = 0
    within: Duration = NO_DURATION
    within_minutely: Duration = NO_DURATION
    within_hourly: Duration = NO_DURATION
    within_daily: Duration = NO_DURATION
    within_weekly: Duration = NO_DURATION
    within_monthly: Duration = NO_DURATION
    within_quarter_yearly: Duration = NO_DURATION
    within_half_yearly: Duration = NO_DURATION
    within_yearly: Duration = NO_DURATION
    tags: Sequence[Sequence[str]] = ()
    ids: Sequence[str] = ()
    trust_times: bool = field(default=False, kw_only=True)
    """Whether snapshots from the future take part in the counting, as in restic."""

    def __post_init__(self) -> None:
        if any(count < UNLIMITED for count in self._counts()):
            raise UsageError("negative values other than -1 are not allowed for --keep-*")
        if any(value < 0 for duration in self._durations() for value in duration):
            raise UsageError("durations containing negative values are not allowed for --keep-within*")

    def _counts(self) -> list[int]:
        return [self.last, *(getattr(self, period.field) for period in PERIODS)]

    def _durations(self) -> list[Duration]:
        return [self.within, *(self.within_period(period.field) for period in PERIODS)]

    def within_period(self, name: str) -> Duration:
        """The duration within which one snapshot of each such period is kept; *name* is a period's field."""
        duration: Duration = getattr(self, f"within_{name}")
        return duration

    @property
    def empty(self) -> bool:
        """Whether no rule is given."""
        return not (any(self._counts()) or any(map(any, self._durations())) or self.tags or self.ids)

    def __str__(self) -> str:
        """The policy in restic's words."""
        words = ["latest", *(period.word for period in PERIODS)]
        counted = [
            f"{'all' if count == UNLIMITED else count} {word}"
            for count, word in zip(self._counts(), words, strict=True)
            if count
        ]
        parts = [f"{', '.join(counted)} snapshots"] if counted else []
        parts += [
            f"{period.word} snapshots within {duration}"
            for period in PERIODS
            if any(duration := self.within_period(period.field))
        ]
        whole = [", ".join(parts)] if parts else []
        if self.tags:
            whole.append(f"all snapshots with tags [{' '.join(map(_tag_list, self.tags))}]")
        if any(self.within):
            whole.append(f"all snapshots within {self.within} of the newest")
        if self.ids:
            whole.append(f"all snapshots with IDs [{' '.join(self.ids)}]")
        return f"keep {' and '.join(whole)}" if whole else "remove"


class Kept(NamedTuple):
    """A snapshot that is kept, and the reasons for it, in restic's words."""

    found: FoundSnapshot
    matches: tuple[str, ...]


class Decision(NamedTuple):
    """What becomes of the snapshots of a group, each part newest first."""

    keep: list[Kept]
    remove: list[FoundSnapshot]
    future: list[FoundSnapshot]
    """Those of the kept ones that are from the future, where they were not trusted."""
    due: list[FoundSnapshot]
    """Those of the removed ones that say themselves that their time is up."""

    @property
    def empties(self) -> bool:
        """Whether the policy keeps none of the snapshots that it was asked about; those from the future, and partial ones, do
        not stand in.
        """
        aside = {item.id for item in (*self.future, *self.due)}
        kept = [item.found for item in self.keep]
        return not any(_is_counted(item, aside) for item in kept) and any(_is_counted(item, aside) for item in self.remove)


def _is_counted(item: FoundSnapshot, aside: Set[bytes]) -> bool:
    return item.id not in aside and not is_partial(item.snapshot)


def apply_policy(found: Sequence[FoundSnapshot], policy: KeepPolicy, now_ns: int) -> Decision:
    """Decide about the snapshots of a group, at the time *now_ns* (SNAP-15).

    Snapshots that say when they may be removed (RUSTIC-8) are kept until then, and removed and not counted after it, unless
    the policy names their ids. Those from the future are kept and not counted, unless the policy trusts them (SNAP-17). Nor are
    partial ones counted (SNAP-24).

    Raises:
        JsonInvalid: see `delete_mark`.
    """
    ordered = sorted(found, key=lambda item: (-item.time_ns, item.id))
    marks = {item.id: mark for item in ordered if (mark := delete_mark(item.snapshot, f"snapshot {item.short_id}"))}
    decision = Decision([], [], [], [])
    counted: list[FoundSnapshot] = []
    partial: list[FoundSnapshot] = []
    reasons: dict[bytes, list[str]] = {}
    for item in ordered:
        mine = reasons[item.id] = _own_reasons(item, policy, marks.get(item.id), now_ns)
        if item.id in marks and not mine:
            decision.due.append(item)
        elif item.time_ns > now_ns and not policy.trust_times:
            mine.append("in the future")
            decision.future.append(item)
        else:
            (partial if is_partial(item.snapshot) else counted).append(item)
    _count(counted, policy, now_ns, reasons)
    for item in partial:
        mine = reasons[item.id]
        mine += _uncounted_reasons(item, policy, newest(counted, now_ns))
        if not policy.empty and all(item.time_ns > whole.time_ns for whole in counted):
            mine.append("partial, and newer than the others")
    for item in ordered:
        if matches := reasons[item.id]:
            decision.keep.append(Kept(item, tuple(matches)))
        else:
            decision.remove.append(item)
    return decision


def _own_reasons(item: FoundSnapshot, policy: KeepPolicy, mark: DeleteMark | None, now_ns: int) -> list[str]:
    """Reasons that have nothing to do with the other snapshots and with tags."""
    name = item.id.hex()
    mine = [f"has ID {prefix}" for prefix in policy.ids if name.startswith(prefix)]
    if mark is not None and mark.must_keep(now_ns):
        mine.append(kept_until(mark))
    return mine


def kept_until(mark: DeleteMark) -> str:
    """What a mark says about a snapshot that must be kept."""
    return "must never be removed" if mark.after_ns is None else f"must be kept until {gotime.format_ns(mark.after_ns)[:19]}"


def _count(counted: Sequence[FoundSnapshot], policy: KeepPolicy, now_ns: int, reasons: dict[bytes, list[str]]) -> None:
    latest = newest(counted, now_ns)
    rules = [_Rule("last snapshot", None, policy.last)]
    rules += [_Rule(f"{period.word} snapshot", period, getattr(policy, period.field)) for period in PERIODS]
    for period in PERIODS:
        if any(duration := policy.within_period(period.field)):
            rules.append(_Rule(f"{period.word} within {duration}", period, UNLIMITED, duration.before(latest)))
    rules = [rule for rule in rules if rule.left]
    for place, item in enumerate(counted):
        mine = reasons[item.id]
        mine += _uncounted_reasons(item, policy, latest)
        ns, offset = item.clock
        seconds = ns // gotime.NS + offset
        is_oldest = place == len(counted) - 1
        for rule in rules:
            if rule.left and (rule.after is None or item.time_ns > rule.after):
                number = place if rule.period is None else rule.period.number(seconds)
                if reason := rule.reason(number, is_oldest=is_oldest):
                    mine.append(reason)


def _uncounted_reasons(item: FoundSnapshot, policy: KeepPolicy, latest: Moment) -> list[str]:
    """The rules without a number that keep a snapshot, where *latest* is the time of the newest one."""
    mine = [f"has tags {_tag_list(tags)}" for tags in policy.tags if has_tags(item.snapshot, tags)]
    if any(policy.within) and item.time_ns > policy.within.before(latest):
        mine.append(f"within {policy.within}")
    return mine


def newest(found: Sequence[FoundSnapshot], now_ns: int) -> Moment:
    """The time of the newest snapshot that is not in the future, which durations count back from; Go's zero time for none."""
    past = [item for item in found if _GO_ZERO.ns < item.time_ns < now_ns]
    return Moment.of(max(past, key=lambda item: item.time_ns).snapshot.time) if past else _GO_ZERO


@dataclass
class _Rule:
    """One rule, asked about one snapshot after the other, newest first."""

    text: str
    """The reason it gives."""
    period: _Period | None
    """None where each snapshot is a period of its own."""
    left: int
    """How many periods it may still count."""
    after: int | None = None
    """Nanoseconds since the epoch; it keeps nothing that was not made after it."""
    before: int | None = None
    """The period of the last snapshot it kept."""

    def reason(self, number: int, *, is_oldest: bool) -> str:
        """Why it keeps a snapshot in the period *number*; "" where it does not. Counts the period."""
        is_new = number != self.before
        if not (is_new or is_oldest):
            return ""
        self.before = number
        self.left -= self.left > 0
        return self.text if is_new else f"oldest {self.text}"


def _tag_list(tags: Sequence[str]) -> str:
    return f"[{', '.join(tags)}]"
