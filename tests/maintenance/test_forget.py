"""Forgetting snapshots: the plan, what it refuses, and the removal."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from restic_format.errors import DamagedFile, KeepsNothing, NoPolicy, ResticFormatError, StorageError, UsageError
from restic_format.maintenance import forget
from restic_format.maintenance.duration import Duration, Moment
from restic_format.maintenance.policy import KeepPolicy
from restic_format.repository import Repository
from restic_format.snapshots import SnapshotFilter
from restic_format.storage import MemoryStorage
from restic_format.storage.faulty import Call, Fail, Fault, FaultyStorage
from restic_spec import gotime
from restic_spec.errors import JsonInvalid
from restic_spec.keyfile import Kdf
from restic_spec.layout import FileKind
from restic_spec.rustic import delete_mark
from restic_spec.snapshot import decode_snapshot

CHEAP = Kdf(2, 1, 1, b"s" * 64)
NOW = gotime.parse_ns("2026-06-15T12:00:00Z")


@pytest.fixture
def repo() -> Repository:
    return Repository.init(MemoryStorage(), "pw", kdf=CHEAP)


def add(
    repo: Repository, time: str, *, host: str = "h", tags: Sequence[str] = (), delete: str = "", partial: bool = False
) -> bytes:
    """Store a snapshot; *delete* is rustic's member as JSON."""
    tags = [*tags, *(["partial"] if partial else [])]
    words = ",".join(f'"{tag}"' for tag in tags)
    more = f',"delete":{delete}' if delete else ""
    more += ',"partial":true' if partial else ""
    text = f'{{"time":"{time}","tree":"{"ab" * 32}","paths":["/p"],"hostname":"{host}","tags":[{words}]{more}}}'
    return repo.save_unpacked(FileKind.SNAPSHOT, text.encode())


def kept(plan: forget.ForgetPlan) -> dict[bytes, tuple[str, ...]]:
    """Reasons by id."""
    return {item.found.id: item.matches for group in plan.groups for item in group.decision.keep}


def left(repo: Repository) -> set[bytes]:
    return {snapshot_id for snapshot_id, _ in repo.list(FileKind.SNAPSHOT)}


@pytest.mark.clause("SNAP-17")
def test_a_snapshot_from_the_future_pushes_none_out(repo: Repository) -> None:
    now = add(repo, "2026-06-15T11:00:00Z")
    before = add(repo, "2026-06-14T11:00:00Z")
    future = add(repo, "2027-01-01T00:00:00Z")
    plan = forget.plan(repo, KeepPolicy(last=1), now_ns=NOW)
    assert kept(plan) == {now: ("last snapshot",), future: ("in the future",)}
    assert [found.id for found in plan.remove] == [before]
    assert [found.id for found in plan.future] == [future]
    trusting = forget.plan(repo, KeepPolicy(last=1, trust_times=True), now_ns=NOW)
    assert kept(trusting) == {future: ("last snapshot",)}
    assert trusting.future == []


@pytest.mark.clause("SNAP-18")
def test_a_policy_that_keeps_nothing_removes_nothing(repo: Repository) -> None:
    add(repo, "2026-06-15T11:00:00Z", host="a", tags=["x"])
    add(repo, "2026-06-15T11:00:00Z", host="b")
    with pytest.raises(KeepsNothing, match=r'refusing to delete last snapshot of snapshot group "host b, path \[/p\]"'):
        forget.plan(repo, KeepPolicy(tags=[["x"]]), now_ns=NOW)
    with pytest.raises(KeepsNothing):
        forget.plan(repo, KeepPolicy(tags=[["x"]]), allow_remove_all=True, now_ns=NOW)


@pytest.mark.clause("SNAP-17", "SNAP-18")
def test_a_snapshot_from_the_future_does_not_stand_in_for_all_others(repo: Repository) -> None:
    add(repo, "2026-06-15T11:00:00Z")
    add(repo, "2027-01-01T00:00:00Z")
    with pytest.raises(KeepsNothing):
        forget.plan(repo, KeepPolicy(tags=[["x"]]), now_ns=NOW)


def test_without_rules_a_filter_and_permission_are_needed(repo: Repository) -> None:
    mine = add(repo, "2026-06-15T11:00:00Z", host="a")
    add(repo, "2026-06-15T11:00:00Z", host="b")
    wanted = SnapshotFilter(hosts=["a"])
    for refused in ({}, {"wanted": wanted}, {"allow_remove_all": True}, {"policy": KeepPolicy(last=0)}):
        with pytest.raises(NoPolicy):
            forget.plan(repo, now_ns=NOW, **refused)  # type: ignore[arg-type]
    plan = forget.plan(repo, wanted=wanted, allow_remove_all=True, now_ns=NOW)
    assert [found.id for found in plan.remove] == [mine]


@pytest.mark.parametrize("count", [-2, -100])
def test_negative_numbers_are_refused(count: int) -> None:
    with pytest.raises(UsageError, match="negative"):
        KeepPolicy(daily=count)
    with pytest.raises(UsageError, match="negative"):
        KeepPolicy(within_weekly=Duration(days=count))


@pytest.mark.parametrize(
    ("policy", "numbers"),
    [
        (KeepPolicy(minutely=2), [0, 2]),
        (KeepPolicy(within_minutely=Duration(hours=1)), [0, 2]),
        (KeepPolicy(quarter_yearly=-1), [0, 4, 5, 6]),
        (KeepPolicy(half_yearly=2), [0, 5]),
        (KeepPolicy(within_quarter_yearly=Duration(months=4)), [0, 4]),
        (KeepPolicy(within_half_yearly=Duration(years=9)), [0, 5, 6]),
    ],
)
def test_further_periods(policy: KeepPolicy, numbers: list[int], repo: Repository) -> None:
    times = [
        "06-15T10:00:50",
        "06-15T10:00:10",
        "06-15T09:59:59",
        "05-01T00:00:00",
        "03-31T23:59:59",
        "2025-12-31",
        "2025-01-01",
    ]
    texts = [text + "T00:00:00Z" if text.startswith("2025") else f"2026-{text}Z" for text in times]
    ids = [add(repo, text) for text in texts]
    assert set(kept(forget.plan(repo, policy, now_ns=NOW))) == {ids[number] for number in numbers}


def test_ids_to_keep(repo: Repository) -> None:
    ids = [add(repo, f"2026-06-{day}T11:00:00Z") for day in (10, 11, 12)]
    plan = forget.plan(repo, KeepPolicy(last=1, ids=[ids[0].hex()[:10]]), now_ns=NOW)
    assert kept(plan) == {ids[2]: ("last snapshot",), ids[0]: (f"has ID {ids[0].hex()[:10]}",)}


@pytest.mark.clause("RUSTIC-8")
def test_marks_of_rustic_are_honoured(repo: Repository) -> None:
    never = add(repo, "2020-01-01T00:00:00Z", delete='"Never"')
    later = add(repo, "2020-01-02T00:00:00Z", delete='{"After":"2026-06-15T14:00:01+02:00[Europe/Berlin]"}')
    due = add(repo, "2026-06-15T11:00:00Z", delete='{"After":"2026-06-15T13:59:59+02:00[Europe/Berlin]"}')
    plain = add(repo, "2026-06-14T11:00:00Z", delete='"NotSet"')
    old = add(repo, "2020-01-03T00:00:00Z")
    plan = forget.plan(repo, KeepPolicy(last=1), now_ns=NOW)
    assert kept(plan) == {
        plain: ("last snapshot",),
        later: ("must be kept until 2026-06-15T12:00:01",),
        never: ("must never be removed",),
    }
    assert {found.id for found in plan.remove} == {due, old}
    named = forget.plan(repo, names=[item.hex() for item in (never, later, due, old)], now_ns=NOW)
    assert {found.id for found in named.remove} == {due, old}
    assert {item.found.id for item in named.refused} == {never, later}
    assert due not in {found.id for found in forget.plan(repo, KeepPolicy(last=1, ids=[due.hex()]), now_ns=NOW).remove}


@pytest.mark.clause("RUSTIC-8")
@pytest.mark.parametrize("name", ["latest", "", "prefix"])
def test_a_protected_snapshot_is_protected_by_any_name(name: str, repo: Repository) -> None:
    protected = add(repo, "2020-01-02T00:00:00Z", delete='"Never"')
    add(repo, "2020-01-01T00:00:00Z")
    names = [protected.hex()[:12] if name == "prefix" else name or protected.hex()]
    plan = forget.plan(repo, names=names, now_ns=NOW)
    assert (plan.remove, [item.found.id for item in plan.refused]) == ([], [protected])


@pytest.mark.clause("RUSTIC-8")
def test_a_group_whose_time_is_up_goes_as_a_whole(repo: Repository) -> None:
    due = add(repo, "2020-01-01T00:00:00Z", delete='{"After":"2021-01-01T00:00:00Z"}')
    plan = forget.plan(repo, KeepPolicy(last=1), now_ns=NOW)
    assert [found.id for found in plan.remove] == [due]


@pytest.mark.clause("RUSTIC-8")
@pytest.mark.parametrize("mark", ['"Always"', '{"After":"soon"}', "17", '{"Before":""}', '"' + "x" * 5000 + '"'])
def test_marks_that_nobody_understands_keep_a_snapshot(mark: str, repo: Repository) -> None:
    odd = add(repo, "2020-01-01T00:00:00Z", delete=mark)
    add(repo, "2020-01-02T00:00:00Z")
    with pytest.raises(ResticFormatError):
        forget.plan(repo, KeepPolicy(last=1), now_ns=NOW)
    told: list[str] = []
    plan = forget.plan(repo, KeepPolicy(last=1), now_ns=NOW, damaged=lambda name, error: told.append(name))
    assert plan.remove == []
    assert told == [odd.hex()]


@pytest.mark.clause("RUSTIC-3")
def test_which_marks_are_none() -> None:
    text = '{"time":"2020-01-01T00:00:00Z","tree":null,"paths":[],"delete":%s}'
    for mark in ('"Always"', '{"After":"soon"}', "17"):
        with pytest.raises(JsonInvalid):
            delete_mark(decode_snapshot((text % mark).encode()))
    assert delete_mark(decode_snapshot((text % "null").encode())) is None


def test_an_unreadable_snapshot_stays_and_does_not_hide_the_others(repo: Repository) -> None:
    ids = [add(repo, f"2026-06-{day}T11:00:00Z") for day in (10, 11, 12)]
    storage = repo.storage
    name = ids[1].hex()
    raw = storage.load(FileKind.SNAPSHOT, name)
    storage.remove(FileKind.SNAPSHOT, name)
    storage.save(FileKind.SNAPSHOT, name, raw[:-1])
    with pytest.raises(DamagedFile):
        forget.plan(repo, KeepPolicy(last=1), now_ns=NOW)
    told: list[str] = []
    plan = forget.plan(repo, KeepPolicy(last=1), now_ns=NOW, damaged=lambda name, error: told.append(name))
    assert told == [name]
    result = forget.execute(repo, plan)
    assert [found.id for found in result.removed] == [ids[0]]
    assert left(repo) == {ids[1], ids[2]}


@pytest.mark.clause("ORDER-5")
def test_a_removal_that_fails_in_the_middle(repo: Repository) -> None:
    ids = [add(repo, f"2026-06-{day}T11:00:00Z") for day in range(10, 16)]

    def fault(call: Call) -> Fault | None:
        return Fail() if call.operation == "remove" and call.name in {ids[1].hex(), ids[3].hex()} else None

    faulty = FaultyStorage(repo.storage, fault)
    repo.storage = faulty
    events: list[forget.Removed] = []
    result = forget.execute(repo, forget.plan(repo, KeepPolicy(last=1), now_ns=NOW), progress=events.append)
    assert {found.id for found in result.failed} == {ids[1], ids[3]}
    assert {found.id for found in result.removed} == {ids[0], ids[2], ids[4]}
    assert {event.found.id for event in events if isinstance(event.error, StorageError)} == {ids[1], ids[3]}
    assert left(repo) == {ids[1], ids[3], ids[5]}
    assert {call.kind for call in faulty.calls if call.operation == "remove"} == {FileKind.SNAPSHOT}


@pytest.mark.clause("LOCK-13")
def test_nothing_is_removed_once_the_lock_is_lost(repo: Repository) -> None:
    from restic_format.errors import LockLost

    ids = {add(repo, f"2026-06-{day}T11:00:00Z") for day in range(10, 13)}
    plan = forget.plan(repo, KeepPolicy(last=1), now_ns=NOW)

    def lost() -> None:
        raise LockLost("gone")

    repo.before_changes = lost
    with pytest.raises(LockLost):
        forget.execute(repo, plan)
    assert left(repo) == ids


@pytest.mark.clause("SNAP-16")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1y5m7d3h", Duration(1, 5, 7, 3)),
        (" 3h1y ", Duration(1, 0, 0, 3)),
        ("1d2d", Duration(days=2)),
        ("-5d", Duration(days=-5)),
        ("", Duration()),
    ],
)
def test_durations_are_read(text: str, expected: Duration) -> None:
    assert Duration.parse(text) == expected


@pytest.mark.parametrize("text", ["d", "1", "1x", "1d-", "--1d", "1 d", "1,5d", "9" * 5000 + "d", "9223372036854775808h", "١d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"number|unit"):
        Duration.parse(text)


@pytest.mark.clause("SNAP-16")
def test_durations_count_by_the_calendar() -> None:
    end = Moment.of("2023-05-31T10:00:00+02:00")
    assert Duration(months=3).before(end) == gotime.parse_ns("2023-03-03T10:00:00+02:00")
    assert Duration(years=3, months=3, days=2).before(end) == gotime.parse_ns("2020-02-29T10:00:00+02:00")
    assert Duration(hours=10**18).before(end) < 0


def test_a_policy_is_told_in_restics_words() -> None:
    assert str(KeepPolicy()) == "remove"
    policy = KeepPolicy(last=1, daily=-1, half_yearly=2, within=Duration(days=1), within_weekly=Duration(months=1), ids=["ab"])
    assert str(policy) == (
        "keep 1 latest, all daily, 2 half-yearly snapshots, weekly snapshots within 1m "
        "and all snapshots within 1d of the newest and all snapshots with IDs [ab]"
    )


@pytest.mark.clause("SNAP-24")
def test_partial_snapshots_push_none_out(repo: Repository) -> None:
    old = add(repo, "2026-06-10T11:00:00Z")
    between = add(repo, "2026-06-11T11:00:00Z", partial=True)
    whole = add(repo, "2026-06-12T11:00:00Z")
    newer = [add(repo, f"2026-06-1{day}T11:00:00Z", partial=True) for day in (3, 4)]
    plan = forget.plan(repo, KeepPolicy(last=2), now_ns=NOW)
    reason = ("partial, and newer than the others",)
    assert kept(plan) == {whole: ("last snapshot",), old: ("last snapshot",)} | dict.fromkeys(newer, reason)
    assert [found.id for found in plan.remove] == [between]
    within = forget.plan(repo, KeepPolicy(within=Duration(days=1)), now_ns=NOW)
    assert kept(within)[whole] == ("within 1d",) and kept(within)[newer[0]] == ("within 1d", *reason)
    assert {found.id for found in within.remove} == {old, between}
    tagged = forget.plan(repo, KeepPolicy(last=1, tags=[["partial"]]), now_ns=NOW)
    assert kept(tagged)[between] == ("has tags [partial]",)
    by_tags = forget.plan(repo, KeepPolicy(last=2), by=frozenset({"tags"}), now_ns=NOW)
    assert len(by_tags.groups) == 1


@pytest.mark.clause("SNAP-18", "SNAP-24")
def test_partial_snapshots_do_not_stand_in_for_all_others(repo: Repository) -> None:
    first = add(repo, "2026-06-14T11:00:00Z", partial=True)
    assert forget.plan(repo, KeepPolicy(last=1), now_ns=NOW).remove == []
    add(repo, "2026-06-13T11:00:00Z")
    with pytest.raises(KeepsNothing):
        forget.plan(repo, KeepPolicy(tags=[["x"]]), now_ns=NOW)
    everything = forget.plan(repo, wanted=SnapshotFilter(hosts=["h"]), allow_remove_all=True, now_ns=NOW)
    assert len(everything.remove) == 2 and first in {found.id for found in everything.remove}
