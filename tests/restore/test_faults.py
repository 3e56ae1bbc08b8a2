"""Damage in the repository, a full disk, failing storage, interruption: what can be restored is, the rest is named."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
from pathlib import Path

import pytest

from restic_format.errors import BlobMissing, Interrupted
from restic_format.native.places import _pure
from restic_format.repository import Repository
from restic_format.restore import Overwrite, RestoreError, RestoreOptions, Restorer
from restic_format.storage import FaultyStorage, LocalStorage, MemoryStorage
from restic_format.storage.faulty import Call, Delay, Fail, Fault
from restic_format.work import Cancel
from restic_spec.errors import ResticFormatError
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from restic_spec.snapshot import Snapshot
from tests.restore.kit import (
    PASSWORD,
    T0,
    Alarm,
    Heard,
    Maker,
    cheap_repo,
    environment,
    memory_repo,
    ours,
    ours_command,
    restore,
)

BLOCK = 1 << 16


def block(number: int) -> bytes:
    return number.to_bytes(4, "big") * (BLOCK // 4)


def damage(repo: Repository, blob: str) -> None:
    """Flip a bit of one blob where it is stored."""
    location = repo.index.lookup(BlobType.DATA, bytes.fromhex(blob))
    assert location is not None
    name = location.pack.hex()
    data = bytearray(repo.storage.load(FileKind.PACK, name))
    data[location.offset + 20] ^= 1
    repo.storage.remove(FileKind.PACK, name)
    repo.storage.save(FileKind.PACK, name, bytes(data))


@pytest.fixture
def maker() -> Maker:
    return Maker(memory_repo())


def test_a_damaged_blob_costs_its_files_only(maker: Maker, tmp_path: Path) -> None:
    broken = maker.file("broken", block(1), block(2), block(3))
    single = maker.file("single", block(2))
    tree = maker.finish([broken, maker.folder("d", [single]), maker.file("good", block(1), block(3))])
    assert isinstance(broken.content, list)
    damage(maker.repo, broken.content[1])
    stats, heard = restore(maker.repo, tree, tmp_path)
    assert heard.failed == ["/broken", "/d/single"]
    assert all(broken.content[1][:8] in str(error) for _, error in heard.errors)
    assert (tmp_path / "good").read_bytes() == block(1) + block(3)
    data = (tmp_path / "broken").read_bytes()
    assert data[:BLOCK] == block(1) and data[2 * BLOCK :] == block(3)
    assert (stats.files_total, stats.files_restored, stats.errors) == (4, 2, 2)


def test_a_damaged_file_does_not_get_the_time_that_would_make_it_look_whole(maker: Maker, tmp_path: Path) -> None:
    broken = maker.file("broken", block(1), block(2))
    tree = maker.finish([broken])
    assert isinstance(broken.content, list)
    whole = maker.repo.storage.load
    damage(maker.repo, broken.content[1])
    restore(maker.repo, tree, tmp_path)
    assert (tmp_path / "broken").stat().st_mtime_ns != T0
    assert whole is not None
    # Once the repository is repaired, "if-changed" must not take it for the whole file.
    location = maker.repo.index.lookup(BlobType.DATA, bytes.fromhex(broken.content[1]))
    assert location is not None
    name = location.pack.hex()
    data = bytearray(maker.repo.storage.load(FileKind.PACK, name))
    data[location.offset + 20] ^= 1
    maker.repo.storage.remove(FileKind.PACK, name)
    maker.repo.storage.save(FileKind.PACK, name, bytes(data))
    _, heard = restore(maker.repo, tree, tmp_path, overwrite=Overwrite.IF_CHANGED)
    assert heard.errors == [] and (tmp_path / "broken").read_bytes() == block(1) + block(2)


def test_another_copy_of_a_damaged_blob_is_used(tmp_path: Path) -> None:
    storage = MemoryStorage()
    first = Maker(memory_repo(storage))
    node = first.file("f", block(1), block(2))
    first.finish([node])
    # A second program that does not know of the first one's blobs stores them again.
    second = Maker(Repository.open(storage, PASSWORD))
    tree = second.finish([second.file("f", block(1), block(2))])
    repo = Repository.open(storage, PASSWORD)
    repo.load_index()
    assert isinstance(node.content, list)
    damage(repo, node.content[0])
    _, heard = restore(repo, tree, tmp_path)
    assert heard.errors == [] and (tmp_path / "f").read_bytes() == block(1) + block(2)


def test_a_lost_pack_is_named_with_every_file(tmp_path: Path) -> None:
    storage = MemoryStorage()
    maker = Maker(memory_repo(storage))
    lost = maker.file("lost", block(1))
    maker.writer.flush()
    tree = maker.finish([lost, maker.file("good", block(2))])
    assert isinstance(lost.content, list)
    location = maker.repo.index.lookup(BlobType.DATA, bytes.fromhex(lost.content[0]))
    assert location is not None
    storage.remove(FileKind.PACK, location.pack.hex())
    _, heard = restore(maker.repo, tree, tmp_path)
    assert heard.failed == ["/lost"] and location.pack.hex()[:8] in str(heard.errors[0][1])
    assert os.listdir(tmp_path) == ["good"]


def test_around_a_blob_no_index_knows_everything_stands_where_it_belongs(maker: Maker, tmp_path: Path) -> None:
    node = maker.file("f", block(1), block(2), block(3), block(4), block(5))
    assert isinstance(node.content, list)
    node.content[1], node.content[2] = "11" * 32, "22" * 32
    tree = maker.finish([node])
    stats, heard = restore(maker.repo, tree, tmp_path)
    assert heard.failed == ["/f"] and isinstance(heard.errors[0][1], BlobMissing) and "1111" in str(heard.errors[0][1])
    data = (tmp_path / "f").read_bytes()
    assert data == block(1) + bytes(2 * BLOCK) + block(4) + block(5)
    assert stats.files_restored == 0 and (tmp_path / "f").stat().st_mtime_ns != T0
    assert stats.bytes_total == 3 * BLOCK, "what can be had is expected, before and behind what cannot"


@pytest.mark.parametrize(
    ("known", "size", "expected"),
    [
        ((1, 0, 3), 2 * BLOCK, block(1) + block(3)),
        ((1, 0, 3), 2 * BLOCK - 1, block(1)),
        ((1, 0, 3), 0, block(1)),
        ((1, 2, 0), 3 * BLOCK, block(1) + block(2)),
        ((0, 2, 3), 2 * BLOCK - 1, b""),
        ((0, 2, 3), 2 * BLOCK, block(2) + block(3)),
    ],
)
def test_the_end_of_a_file_does_not_go_over_its_beginning(
    known: tuple[int, ...], size: int, expected: bytes, maker: Maker, tmp_path: Path
) -> None:
    """*size* is what the node says: where it is too small, what is behind the blob that no index knows has no place."""
    node = maker.file("f", block(1), block(2), block(3))
    assert isinstance(node.content, list)
    node.content = [blob if number else "11" * 32 for number, blob in zip(known, node.content, strict=True)]
    node.size = size
    _, heard = restore(maker.repo, maker.finish([node]), tmp_path)
    assert heard.failed == ["/f"]
    data = (tmp_path / "f").read_bytes() if (tmp_path / "f").exists() else b""
    assert data.rstrip(b"\0") == expected.rstrip(b"\0") and data[: len(expected)] == expected


def test_a_file_of_which_no_blob_is_known_is_not_taken_for_whole(maker: Maker, tmp_path: Path) -> None:
    node = maker.file("f", block(1))
    node.content = ["11" * 32]
    tree = maker.finish([node, maker.file("g", b"good")])
    tried, heard = restore(maker.repo, tree, tmp_path, dry_run=True)
    assert heard.failed == ["/f"] and tried.files_restored == 1
    stats, heard = restore(maker.repo, tree, tmp_path)
    assert heard.failed == ["/f"] and isinstance(heard.errors[0][1], BlobMissing)
    assert stats.files_restored == 1 and (tmp_path / "f").stat().st_mtime_ns != T0


def test_an_existing_file_is_left_alone_when_the_whole_cannot_be_had(maker: Maker, tmp_path: Path) -> None:
    node = maker.file("f", block(1), block(2))
    assert isinstance(node.content, list)
    node.content[1] = "11" * 32
    tree = maker.finish([node])
    (tmp_path / "f").write_bytes(b"mine")
    _, heard = restore(maker.repo, tree, tmp_path)
    assert heard.failed == ["/f"] and (tmp_path / "f").read_bytes() == b"mine"


def test_a_hard_link_is_never_made_to_what_stood_there_before(
    maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = {"links": 2, "inode": 9, "device_id": 1}
    tree = maker.finish([maker.file("a", block(1), **shared), maker.file("b", block(1), **shared)])
    (tmp_path / "a").write_bytes(b"mine")
    monkeypatch.setattr("restic_format.restore.filewriter._open_in_place", refuse_to_open)
    _, heard = restore(maker.repo, tree, tmp_path)
    assert heard.failed == ["/a", "/b"] and os.listdir(tmp_path) == ["a"]


def refuse_to_open(name: bytes, parent: int) -> int:
    raise OSError(errno.ETXTBSY, "Text file busy")


def test_a_tree_that_cannot_be_read_costs_its_folder_only(maker: Maker, tmp_path: Path) -> None:
    lost = maker.folder("lost", [])
    lost.subtree = "33" * 32
    garbled = maker.node(
        "garbled", "dir", 0, subtree=maker.writer.save_blob(BlobType.TREE, b'{"nodes":[{"name":5}]}\n').id.hex()
    )
    tree = maker.finish([lost, garbled, maker.folder("d", [maker.file("f", b"f")])])
    _, heard = restore(maker.repo, tree, tmp_path)
    assert heard.failed == ["/garbled", "/lost"]
    assert (tmp_path / "d" / "f").read_bytes() == b"f"


@pytest.mark.parametrize("where", ["pwrite", "open", "ftruncate"])
def test_a_full_disk_is_reported_for_each_file_and_the_others_go_on(
    maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """The disk refuses one file at one call; the existing file it happens to must be reported too."""
    entries = [maker.file(name, block(number), block(number + 10)) for number, name in enumerate(["a", "full", "z"])]
    tree = maker.finish(entries)
    (tmp_path / "full").write_bytes(b"old" * BLOCK)
    os.chmod(tmp_path / "full", 0o600)
    inode = (tmp_path / "full").stat().st_ino
    real = getattr(os, where)

    def refuse(target: object, *args: object, **options: object) -> object:
        if where == "open":
            if target == b"full" and args and isinstance(args[0], int) and args[0] & os.O_WRONLY:
                raise OSError(errno.ENOSPC, "No space left on device")
        elif os.fstat(target).st_ino == inode:  # type: ignore[arg-type]
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(target, *args, **options)

    monkeypatch.setattr(os, where, refuse)
    if where == "pwrite":
        monkeypatch.setattr("restic_format.restore.fetch.PlaceWriter", _pure.PlaceWriter)
    stats, heard = restore(maker.repo, tree, tmp_path)
    assert heard.failed == ["/full"] and isinstance(heard.errors[0][1], OSError)
    assert heard.errors[0][1].errno == errno.ENOSPC
    assert (tmp_path / "a").read_bytes() == block(0) + block(10) and (tmp_path / "z").read_bytes() == block(2) + block(12)
    assert (stats.files_total, stats.files_restored) == (3, 2)
    assert (tmp_path / "full").stat().st_mtime_ns != T0


def test_the_system_refuses_big_files_and_small_ones_are_restored(tmp_path: Path) -> None:
    """A real limit of the system (the nearest thing to a small disk that needs no rights), through the command line."""
    maker = Maker(Repository.open(LocalStorage(str(cheap_repo(tmp_path / "r"))), PASSWORD))
    entries = [maker.file("big", *(block(number) for number in range(40))), *(maker.file(f"s{n}", block(n)) for n in range(20))]
    tree = maker.finish(entries)
    maker.repo.save_snapshot(Snapshot(time="2024-01-01T00:00:00Z", tree=tree.hex(), paths=["/x"], hostname="h"))

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20 * BLOCK, 20 * BLOCK))

    done = ours(tmp_path / "r", "--no-lock", "restore", "latest", "--target", str(tmp_path / "t"), preexec_fn=limit)
    assert done.returncode == 1
    told = f"ignoring error for /big: truncate {tmp_path}/t/big: file too large\nFatal: There were 1 errors\n"
    assert done.stderr.decode() == told
    assert all((tmp_path / "t" / f"s{n}").read_bytes() == block(n) for n in range(20))


def test_errors_of_metadata_are_reported_and_the_rest_is_applied(
    maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = maker.finish([maker.file("f", b"data", mode=0o640), maker.file("g", b"data", mode=0o640)])
    real = os.utime

    def refuse(target: object, *args: object, **options: object) -> None:
        if isinstance(target, int) and os.readlink(f"/proc/self/fd/{target}").endswith("/f"):
            raise OSError(errno.EIO, "Input/output error")
        real(target, *args, **options)  # type: ignore[arg-type, call-overload]

    monkeypatch.setattr(os, "utime", refuse)
    _, heard = restore(maker.repo, tree, tmp_path)
    assert heard.failed == ["/f"]
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o640 and (tmp_path / "g").stat().st_mtime_ns == T0


def test_a_target_that_cannot_be_made(maker: Maker, tmp_path: Path) -> None:
    tree = maker.finish([])
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(RestoreError, match="file"):
        restore(maker.repo, tree, tmp_path / "file" / "below")


def test_verify_finds_what_changed_afterwards(maker: Maker, tmp_path: Path) -> None:
    names = ("content", "size", "kind", "gone", "fine", "empty")
    entries = [maker.file(name, *([] if name == "empty" else [block(n), block(n + 50)])) for n, name in enumerate(names)]
    tree = maker.finish(entries)
    heard = Heard()
    restorer = Restorer(maker.repo, tree, tmp_path, RestoreOptions(), progress=heard)
    restorer.run()
    assert restorer.written_files == 6
    seen: list[None] = []
    assert restorer.verify(lambda: seen.append(None)) == 6 == len(seen) and heard.errors == []
    with open(tmp_path / "content", "r+b") as file:
        file.seek(BLOCK + 5)
        file.write(b"!")
    with open(tmp_path / "size", "ab") as file:
        file.write(b"!")
    (tmp_path / "kind").unlink()
    (tmp_path / "kind").symlink_to("fine")
    (tmp_path / "gone").unlink()
    restorer.verify()
    assert heard.failed == ["/content", "/gone", "/kind", "/size"]


def test_verify_needs_a_restore(maker: Maker, tmp_path: Path) -> None:
    with pytest.raises(RestoreError):
        Restorer(maker.repo, maker.finish([]), tmp_path).verify()


@pytest.mark.parametrize("count", [0, 1, 3, 6, 7])
def test_stopping_names_what_is_incomplete_and_the_rest_is_whole(tmp_path: Path, count: int) -> None:
    storage = MemoryStorage()
    maker = Maker(memory_repo(storage))
    names = [f"f{number}" for number in range(6)]
    entries = [maker.file(name, *(block(n * 10 + k) for k in range(3))) for n, name in enumerate(names)]
    (tmp_path / "f3").write_bytes(b"old" * BLOCK)
    tree = maker.finish(entries)
    heard = Heard()
    restorer = Restorer(maker.repo, tree, tmp_path, RestoreOptions(), progress=heard, cancel=Alarm(count))
    try:
        restorer.run()
    except Interrupted:
        for n, name in enumerate(names):
            path = tmp_path / name
            whole = path.exists() and path.read_bytes() == b"".join(block(n * 10 + k) for k in range(3))
            untouched = not path.exists() or path.read_bytes() == b"old" * BLOCK
            assert whole or untouched or f"/{name}" in heard.failed
    else:
        assert count >= 6  # the walk asks at each of the six files, what comes after depends on the clock
    with pytest.raises(RestoreError):
        Restorer(maker.repo, tree, tmp_path).verify()


def test_stopping_while_writing(tmp_path: Path) -> None:
    """The storage is slow, and the stop comes while a file that existed is half overwritten."""
    inner = MemoryStorage()
    maker = Maker(memory_repo(inner))
    first = maker.file("f", block(1))
    maker.writer.flush()
    second = maker.file("f", block(1), block(2))
    tree = maker.finish([second])
    asked: list[str] = []
    begun = False

    def plan(call: Call) -> Fault | None:
        nonlocal begun
        if call.operation == "load" and call.kind is FileKind.PACK and begun:
            asked.append(call.name)
            return Delay(0.3 if len(asked) == 2 else 0.0)
        return None

    repo = Repository.open(FaultyStorage(inner, plan), PASSWORD)
    repo.load_index()
    (tmp_path / "f").write_bytes(b"old" * BLOCK)
    assert first.content != second.content

    class Stop(Cancel):
        def is_set(self) -> bool:
            nonlocal begun
            begun = True
            return len(asked) >= 2

        def check(self) -> None:
            if self.is_set():
                raise Interrupted("interrupted")

    heard = Heard()
    restorer = Restorer(repo, tree, tmp_path, RestoreOptions(workers=1), progress=heard, cancel=Stop())
    with pytest.raises(Interrupted):
        restorer.run()
    assert heard.failed == ["/f"] and isinstance(heard.errors[0][1], RestoreError)


@pytest.mark.parametrize("number", range(4))
def test_a_storage_that_fails_now_and_then(tmp_path: Path, number: int) -> None:
    """Each load fails once; a second try from the same place is made before a file is given up."""
    inner = MemoryStorage()
    maker = Maker(memory_repo(inner))
    tree = maker.finish([maker.file("f", block(1), block(2)), maker.folder("d", [maker.file("g", block(3))])])
    loads = 0

    def plan(call: Call) -> Fault | None:
        nonlocal loads
        if call.operation != "load" or call.kind is not FileKind.PACK:
            return None
        loads += 1
        return Fail() if loads == number + 1 else None

    repo = Repository.open(FaultyStorage(inner, plan), PASSWORD)
    repo.load_index()
    loads = 0
    stats, heard = restore(repo, tree, tmp_path)
    assert stats.errors == len(heard.errors) <= 1
    for location, error in heard.errors:
        assert isinstance(error, ResticFormatError) and location in ("/", "/d")
    if not heard.errors:
        assert (tmp_path / "f").read_bytes() == block(1) + block(2) and (tmp_path / "d" / "g").read_bytes() == block(3)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_command_in_good_order(tmp_path: Path, signal_number: int) -> None:
    """A file of 200 GiB of zeros keeps it busy: one blob at very many places, written as holes."""
    maker = Maker(Repository.open(LocalStorage(str(cheap_repo(tmp_path / "r"))), PASSWORD))
    zeros = maker.blob(bytes(1 << 20))
    count = 200_000
    node = maker.node("huge", "file", 0o644, content=[zeros] * count, size=count << 20)
    tree = maker.finish([maker.file("a", b"small"), node])
    maker.repo.save_snapshot(Snapshot(time="2024-01-01T00:00:00Z", tree=tree.hex(), paths=["/x"], hostname="h"))
    command = ours_command(tmp_path / "r", "restore", "latest", "--target", str(tmp_path / "t"), "--sparse", "--json")
    process = subprocess.Popen(
        command, env=environment(RESTIC_PROGRESS_FPS="20"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    for line in process.stdout:
        if b'"bytes_restored"' in line:
            break
    process.send_signal(signal_number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b'"item":"/huge"' in errors and b'"code":130' in errors
    assert os.listdir(tmp_path / "r" / "locks") == []
