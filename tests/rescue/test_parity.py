"""Parity: what it brings back, how it is kept, and that no password is needed."""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Callable
from itertools import islice

import pytest

from restic_format.errors import Interrupted, StorageError, UsageError
from restic_format.rescue.means.parity import ParityMeans
from restic_format.rescue.parity import Protected, ProtectionPlan, check_protection, plan_protection, protect
from restic_format.rescue.parity.making import group_limit, shape_of
from restic_format.rescue.parity.planning import _divide, present_files
from restic_format.rescue.parity.store import kept_groups
from restic_format.rescue.wanted import DamagedFile
from restic_format.storage import FaultyStorage, LocalStorage, MemoryStorage, Storage
from restic_format.storage.faulty import Call, Fail, Fault
from restic_format.work import Cancel
from restic_spec.ids import id_of
from restic_spec.layout import FileKind
from restic_spec.parity import (
    MAX_PAYLOAD,
    PACKET_OVERHEAD,
    Description,
    Member,
    Packet,
    check,
    encode_packet,
    packets,
    parity_file,
)
from tests.rescue.conftest import Fresh
from tests.safety import kit

KINDS = (FileKind.KEY, FileKind.SNAPSHOT, FileKind.INDEX, FileKind.PACK)


def add(storage: MemoryStorage, kind: FileKind, content: bytes) -> str:
    name = "" if kind is FileKind.CONFIG else id_of(content).hex()
    storage.save(kind, name, content)
    return name


def filled(seed: int = 1, packs: int = 24, size: int = 40_000) -> MemoryStorage:
    """Files as a repository has them; what is in them is nothing to parity."""
    rng = random.Random(seed)
    storage = MemoryStorage()
    add(storage, FileKind.CONFIG, rng.randbytes(155))
    for kind, count, most in ((FileKind.KEY, 2, 500), (FileKind.SNAPSHOT, 3, 400), (FileKind.INDEX, 2, 9000)):
        for _ in range(count):
            add(storage, kind, rng.randbytes(rng.randrange(1, most)))
    for _ in range(packs):
        add(storage, FileKind.PACK, rng.randbytes(rng.randrange(size // 2, size)))
    return storage


def plan_for(storage: Storage, *, forget: bool = False, now: float = 1e9, **options: float) -> ProtectionPlan:
    if forget:
        options["keep_missing"] = 0
    return plan_protection(storage, storage.side_files("parity"), now=now, **options)


def run(storage: Storage, **options: float) -> Protected:
    return protect(storage, storage.side_files("parity"), plan_for(storage, **options), now=options.get("now", 1e9))


def done(storage: MemoryStorage, **options: float) -> MemoryStorage:
    run(storage, **options)
    return storage


def damaged_files(storage: MemoryStorage, healthy: dict) -> list[DamagedFile]:
    return [
        DamagedFile(kind, name or "config", storage.files.get((kind, name)))
        for (kind, name), content in healthy.items()
        if storage.files.get((kind, name)) != content
    ]


def brought_back(storage: MemoryStorage, healthy: dict) -> int:
    """How many of the damaged files come back; what comes back must be what it was."""
    means = ParityMeans(storage, storage.side_files("parity"))
    found = list(means.files(damaged_files(storage, healthy), cancel=None))
    for item in found:
        assert item.data == healthy[item.kind, "" if item.kind is FileKind.CONFIG else item.name]
        assert item.how.startswith("parity of ")
    assert len({(item.kind, item.name) for item in found}) == len(found)
    return len(found)


def flip(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + bytes((data[at] ^ 1 << rng.randrange(8),)) + data[at + 1 :]


DAMAGE: dict[str, Callable[[bytes, random.Random], bytes | None]] = {
    "one bit": flip,
    "three bits": lambda data, rng: flip(flip(flip(data, rng), rng), rng),
    "first byte": lambda data, rng: bytes((data[0] ^ 255,)) + data[1:],
    "last byte": lambda data, rng: data[:-1] + bytes((data[-1] ^ 255,)),
    "zeroed stretch": lambda data, rng: (
        data[: len(data) // 3] + bytes(min(4096, len(data) // 3)) + data[len(data) // 3 :][4096:]
    ),
    "one byte shorter": lambda data, rng: data[:-1],
    "longer": lambda data, rng: data + b"more",
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("kind", [FileKind.CONFIG, *KINDS])
def test_a_damaged_file_comes_back(kind: FileKind, damage: str) -> None:
    storage = done(filled())
    healthy = dict(storage.files)
    key = next(key for key in healthy if key[0] is kind)
    changed = DAMAGE[damage](healthy[key], random.Random(damage))
    assert changed is not None and changed != healthy[key]
    storage.files[key] = changed
    assert brought_back(storage, healthy) == 1


@pytest.mark.parametrize("kind", [FileKind.CONFIG, *KINDS])
def test_a_lost_or_empty_file_comes_back(kind: FileKind) -> None:
    storage = done(filled(packs=36))
    healthy = dict(storage.files)
    for key in [key for key in healthy if key[0] is kind]:
        for change in ("gone", "empty", "half", "garbage"):
            storage.files = dict(healthy)
            if change == "gone":
                del storage.files[key]
            else:
                content = {"empty": b"", "half": healthy[key][: len(healthy[key]) // 2], "garbage": bytes(len(healthy[key]))}
                storage.files[key] = content[change]
            assert brought_back(storage, healthy) == 1, change


@pytest.mark.clause("PARITY-2", "PARITY-6")
def test_a_lost_pack_comes_back_where_the_overhead_has_room_for_it() -> None:
    storage = done(filled(packs=30, size=40_000))
    healthy = dict(storage.files)
    packs = [key for key in healthy if key[0] is FileKind.PACK]
    assert sum(len(healthy[key]) for key in packs) * 0.05 > max(len(healthy[key]) for key in packs)
    for key in packs:
        storage.files = dict(healthy)
        del storage.files[key]
        assert brought_back(storage, healthy) == 1
    for key in packs[:4]:
        del storage.files[key]
    assert brought_back(storage, healthy) == 0


def test_damage_in_many_packs_and_in_packs_nobody_has_named() -> None:
    storage = done(filled())
    healthy = dict(storage.files)
    rng = random.Random(3)
    packs = [key for key in healthy if key[0] is FileKind.PACK]
    for key in rng.sample(packs, 6):
        storage.files[key] = flip(healthy[key], rng)
    told = damaged_files(storage, healthy)
    found = list(ParityMeans(storage, storage.side_files("parity")).files(told[:1], cancel=None))
    assert [item.data for item in found] == [healthy[FileKind.PACK, told[0].name]]
    assert brought_back(storage, healthy) == 6


@pytest.mark.clause("PARITY-8", "PARITY-9")
def test_damaged_parity_still_helps_and_lost_parity_harms_nothing() -> None:
    storage = done(filled())
    healthy = dict(storage.files)
    side = storage.sides["parity"]
    rng = random.Random(5)
    key = next(key for key in healthy if key[0] is FileKind.PACK)
    storage.files[key] = flip(healthy[key], rng)
    whole = dict(side.files)
    for name, content in whole.items():
        side.files[name] = b"garbage" + content[3000:]  # the first description is gone, everything has moved
    assert brought_back(storage, healthy) == 1
    for name, content in whole.items():
        side.files[name] = content[: len(content) // 2]
    assert brought_back(storage, healthy) in (0, 1)  # parity of later rows is gone
    for name in whole:
        side.files[name] = b""
    assert brought_back(storage, healthy) == 0
    faults = check_protection(storage, side).faults
    assert {fault.name for fault in faults} == set(whole)
    side.files.clear()
    assert brought_back(storage, healthy) == 0
    assert len(done(storage).sides["parity"].files) == len(whole)


@pytest.mark.clause("PARITY-1")
def test_parity_is_made_of_verified_files_only() -> None:
    storage = filled()
    key = next(key for key in storage.files if key[0] is FileKind.PACK)
    healthy = storage.files[key]
    storage.files[key] = flip(healthy, random.Random(1))
    side = storage.side_files("parity")
    told = run(storage)
    assert [item.member.name for item in told.unprotected] == [key[1]]
    assert "damaged" in told.unprotected[0].why
    state = check_protection(storage, side)
    assert [member.name for member in state.unprotected] == [key[1]] and not state.faults and not state.missing
    storage.files[key] = healthy
    done(storage)
    assert check_protection(storage, side).unprotected == []


@pytest.mark.clause("PARITY-10")
def test_a_file_that_is_removed_while_parity_is_made_keeps_what_it_has() -> None:
    storage = done(filled(packs=6))
    side = storage.side_files("parity")
    healthy = dict(storage.files)
    gone = next(key for key in healthy if key[0] is FileKind.PACK)
    plan = plan_for(storage, renew=True)
    del storage.files[gone]
    told = protect(storage, side, plan, now=1e9)
    assert told.unprotected == [] and any(gone[1] in {m.name for m in kept.description.members} for kept in kept_groups(side))
    state = check_protection(storage, side)
    assert [member.name for member in state.missing] == [gone[1]] and state.unprotected == []


def test_files_that_are_empty_are_named_as_damaged() -> None:
    storage = done(filled(packs=30))
    side = storage.side_files("parity")
    healthy = dict(storage.files)
    for key in list(healthy):
        if key[0] is FileKind.INDEX:
            storage.files[key] = b""
    told = run(storage)
    empty = {key[1] for key in healthy if key[0] is FileKind.INDEX}
    assert {item.member.name: item.why for item in told.unprotected} == dict.fromkeys(empty, "is damaged: it is empty")
    assert {member.name for member in check_protection(storage, side).unprotected} == empty
    assert brought_back(storage, healthy) == len(empty)


def test_locks_are_left_out_and_overhead_is_kept() -> None:
    storage = filled(packs=30, size=200_000)
    add(storage, FileKind.LOCK, b"a lock")
    told = run(storage)
    assert told.files == len(storage.files) - 1 and told.unprotected == [] and told.removed == 0
    assert 0.04 * told.bytes < told.parity_bytes < 0.08 * told.bytes
    assert plan_for(storage).groups == []
    more = run(storage, overhead=0.2, renew=True)
    assert 0.18 * more.bytes < more.parity_bytes < 0.26 * more.bytes and more.removed >= 1


def test_parity_grows_with_backups_and_small_groups_are_joined() -> None:
    storage = done(filled())
    side = storage.side_files("parity")
    rng = random.Random(9)
    read = 0
    for number in range(40):
        for kind, size in ((FileKind.PACK, 20_000), (FileKind.SNAPSHOT, 300), (FileKind.INDEX, 700)):
            add(storage, kind, rng.randbytes(size + number))
        plan = plan_for(storage)
        assert len(plan.new) == 3
        read += plan.to_read
        protect(storage, side, plan, now=1e9)
        state = check_protection(storage, side)
        assert not (state.unprotected or state.missing or state.faults)
    assert len(list(kept_groups(side))) < 16
    assert read < 8 * 40 * 21_100
    healthy = dict(storage.files)
    for key in rng.sample(sorted(healthy, key=str), 4):
        storage.files[key] = flip(healthy[key], rng)
    assert brought_back(storage, healthy) == 4


@pytest.mark.clause("PARITY-10")
def test_parity_of_files_that_are_gone_stays_for_a_month_or_until_the_user_says_so() -> None:
    storage = done(filled(packs=40))
    side = storage.sides["parity"]
    healthy = dict(storage.files)
    gone = next(key for key in healthy if key[0] is FileKind.PACK)
    before = dict(side.files)
    del storage.files[gone]
    plan = plan_for(storage)
    assert [member.name for member in plan.missing] == [gone[1]] and plan.new == [] and len(plan.groups) == 1
    for days in (0, 1, 29):
        told = run(storage, now=1e9 + days * 86400)
        assert before.items() <= side.files.items() and told.removed == 0 and told.files == len(storage.files)
        assert brought_back(storage, healthy) == 1
        assert (len(told.made), len(side.files)) == (int(days == 0), len(before) + 2)
    told = run(storage, now=1e9 + 30 * 86400)
    assert told.removed == 1 and told.made == [] and len(side.files) == len(before)
    state = check_protection(storage, side)
    assert not (state.unprotected or state.missing or state.faults) and brought_back(storage, healthy) == 0
    del storage.files[next(key for key in healthy if key[0] is FileKind.SNAPSHOT)]
    told = run(storage, forget=True)
    assert told.removed == 1 and told.files == len(storage.files)
    state = check_protection(storage, side)
    assert not (state.unprotected or state.missing or state.faults)


@pytest.mark.clause("PARITY-10")
def test_parity_that_a_damaged_file_needs_is_not_removed() -> None:
    storage = done(filled(packs=40))
    side = storage.sides["parity"]
    healthy = dict(storage.files)
    first, second = [key for key in healthy if key[0] is FileKind.PACK][:2]
    storage.files[first] = flip(healthy[first], random.Random(2))
    del storage.files[second]  # pruned
    before = set(side.files)
    told = run(storage, forget=True)
    assert told.removed == 0 and before < set(side.files)
    del healthy[second]
    assert brought_back(storage, healthy) == 1


@pytest.mark.clause("PARITY-10")
@pytest.mark.parametrize("how", ["forget", "renew", "a month"])
def test_parity_that_a_file_cut_short_needs_is_not_removed(how: str) -> None:
    storage = done(filled(packs=40))
    healthy = dict(storage.files)
    hurt = [next(key for key in healthy if key[0] is kind) for kind in (FileKind.PACK, FileKind.SNAPSHOT)]
    for key in hurt:
        storage.files[key] = healthy[key][:-7]
    run(storage)
    plan = plan_for(storage)
    assert [member.name for member in plan.damaged] == [key[1] for key in reversed(hurt)] and plan.missing == []
    told = run(storage, now=1e9 + 40 * 86400 * (how == "a month"), forget=how == "forget", renew=how == "renew")
    assert {item.member.name for item in told.unprotected} == {key[1] for key in hurt}
    assert told.files == len(healthy) - 2
    assert brought_back(storage, healthy) == 2


@pytest.mark.clause("PARITY-10")
def test_making_all_parity_anew_keeps_that_of_files_that_are_gone() -> None:
    storage = done(filled(packs=40))
    healthy = dict(storage.files)
    del storage.files[next(key for key in healthy if key[0] is FileKind.PACK)]
    told = run(storage, renew=True, overhead=0.2)
    assert brought_back(storage, healthy) == 1 and told.files == len(storage.files)
    run(storage, renew=True, now=1e9 + 31 * 86400)
    assert brought_back(storage, healthy) == 0


def test_parity_that_is_cut_short_is_made_anew() -> None:
    storage = done(filled())
    side = storage.sides["parity"]
    whole = dict(side.files)
    assert run(storage).made == []
    for cut in (1, 20_000):
        name = max(whole, key=lambda name: len(whole[name]))
        side.files[name] = whole[name][:-cut]
        assert len(run(storage).made) == 1
        assert side.files == whole


def test_a_config_that_has_changed_is_protected_too() -> None:
    """Whether it was changed or damaged, nobody can tell without a password."""
    storage = done(filled())
    side = storage.sides["parity"]
    config = (FileKind.CONFIG, "")
    healthy = dict(storage.files)
    storage.files[config] = b"changed" + healthy[config]
    done(storage)
    assert [member.kind for member in check_protection(storage, side).missing] == [FileKind.CONFIG]
    assert brought_back(storage, healthy) == 1
    upgraded = dict(storage.files)
    del storage.files[config]
    assert brought_back(storage, upgraded) == 1
    storage.files = dict(upgraded)
    done(storage, forget=True)
    state = check_protection(storage, side)
    assert not (state.unprotected or state.missing) and brought_back(storage, healthy) == 0


def test_new_parity_is_stored_before_any_is_removed_whatever_fails() -> None:
    """Storage fails at every call in turn; at no moment is a file less protected than before."""
    number, failed = 0, True
    while failed:
        failed = False
        storage = done(filled(packs=6))
        before = {member for kept in kept_groups(storage.sides["parity"]) for member in kept.description.members}
        add(storage, FileKind.PACK, random.Random(7).randbytes(50_000))
        count = 0

        def plan(call: Call, at: int = number) -> Fault | None:
            nonlocal count
            count += 1
            return Fail() if count == at + 1 else None

        faulty = FaultyStorage(storage, plan)
        try:
            run(faulty)
        except StorageError:
            failed = True
        failed = failed or count > number
        now = {member for kept in kept_groups(storage.sides["parity"]) for member in kept.description.members}
        assert before <= now
        done(storage)
        state = check_protection(storage, storage.sides["parity"])
        assert not (state.unprotected or state.missing or state.faults)
        number += 1
    assert number >= 10


def test_it_can_be_cancelled_and_refuses_senseless_overheads() -> None:
    storage = filled()
    side = storage.side_files("parity")
    cancel = Cancel()
    plan = plan_protection(storage, side, now=0, cancel=cancel)
    cancel.set()
    with pytest.raises(Interrupted):
        protect(storage, side, plan, now=0, cancel=cancel)
    assert list(side.list()) == []
    for overhead in (0.0, 0.001, 1.1, -1.0, float("nan")):
        with pytest.raises(UsageError, match="from 1% to 100%"):
            plan_for(storage, overhead=overhead)


@pytest.mark.parametrize(("sizes", "limit", "most", "groups"), [
    ([10] * 7, 100, 200, 1),
    ([10] * 19, 100, 200, 1),
    ([10] * 21, 100, 200, 2),
    ([10] * 21, 100, 100, 3),
    ([0, 0], 100, 200, 1),
])  # fmt: skip
def test_groups_are_about_the_same_size(sizes: list[int], limit: int, most: int, groups: int) -> None:
    members = [Member(FileKind.PACK, bytes((number,)) * 32, size) for number, size in enumerate(sizes)]
    found = list(_divide(members, limit, most))
    assert [member for group in found for member in group] == members and len(found) == groups
    totals = [sum(member.size for member in group) for group in found]
    assert max(totals) - min(totals) <= 2 * max(sizes)


def test_groups_have_room_for_the_largest_pack_within_bounds() -> None:
    mib = 1 << 20
    assert group_limit(16 * mib, 0.05) == 512 * mib
    assert group_limit(128 * mib, 0.05) * 0.05 <= 128 * mib
    assert 60 * mib / 0.05 < group_limit(60 * mib, 0.05)
    rng = random.Random(4)
    for _ in range(300):
        kind = rng.choice(KINDS)
        sizes = [rng.randrange(1 << rng.randrange(1, 25)) for _ in range(rng.randrange(1, 60))]
        overhead = rng.choice((0.01, 0.05, 0.1, 0.5, 1.0))
        members = [Member(kind, bytes(32), size) for size in sizes]
        shape = shape_of(members, overhead)
        blocks = sum(-(-size // shape.block_size) for size in sizes)
        assert shape.rows >= 1 and -(-blocks // shape.stripes) + shape.rows <= 256
        assert shape.rows * shape.stripes >= int(blocks * overhead)


def test_a_real_repository_is_protected_and_restored_without_its_password(fresh: Fresh) -> None:
    repo = fresh()
    storage = LocalStorage(repo)
    side = storage.side_files("parity")
    run(storage)
    assert len(present_files(storage)) == check_protection(storage, side).protected
    told = kit.restic(repo, "check", "--read-data")
    assert "no errors were found" in told.stdout
    hurt = []
    for kind in FileKind:
        if kind is not FileKind.LOCK:
            path = kit.files_of(repo, "config" if kind is FileKind.CONFIG else kind.value)[0]
            kit.flip_bit(path, path.stat().st_size // 2)
            hurt.append(DamagedFile(kind, path.name, path.read_bytes()))
    found = list(ParityMeans(storage, side).files(hurt, cancel=None))
    assert {(item.kind, item.name) for item in found} == {(item.kind, item.name) for item in hurt}
    for item in found:
        storage.save(item.kind, "" if item.kind is FileKind.CONFIG else item.name, item.data)
    assert "no errors were found" in kit.restic(repo, "check", "--read-data").stdout


@pytest.mark.clause("PARITY-9")
def test_packets_that_overlap_without_end_take_no_time() -> None:
    """Each of so many heads claims a mebibyte: 50 GiB together."""
    head = encode_packet(Packet(bytes(16), 0, 1, 2, bytes(MAX_PAYLOAD)))[:PACKET_OVERHEAD]
    whole = encode_packet(Packet(bytes(16), 1, 1, 2, b"whole"))
    hostile = head * 50_000 + bytes(MAX_PAYLOAD)
    before = time.process_time()
    assert list(packets(hostile)) == []
    assert time.process_time() - before < 5
    assert [packet.payload for _, packet in packets(head + whole + head[:20] + whole + bytes(5))] == [b"whole"] * 2


def test_a_hostile_parity_file_takes_no_memory() -> None:
    """It says that a pack has a tebibyte of zeros; and one that has as many stripes as can be said."""
    storage = filled(packs=1)
    side = storage.side_files("parity")
    pack = next(name for kind, name in storage.files if kind is FileKind.PACK)
    zeros = check(bytes(MAX_PAYLOAD))
    large = Description(MAX_PAYLOAD, 1 << 20, 1, (Member(FileKind.PACK, bytes.fromhex(pack), 1 << 40),), zeros * (1 << 20))
    thin = Description(64, 1 << 24, 200, (Member(FileKind.PACK, bytes.fromhex(pack), 100),), bytes(8))
    for number, described in enumerate((large, thin)):
        side.save(f"{number}.parity", b"".join(islice(parity_file(described, iter(())), 2000)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wanted = [DamagedFile(FileKind.PACK, pack, None)]
    assert list(ParityMeans(storage, side).files(wanted, cancel=None)) == []
    assert len(check_protection(storage, side).faults) == 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10
