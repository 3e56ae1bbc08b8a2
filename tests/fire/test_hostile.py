"""Repositories made to cost time or memory, or to lead somewhere else: the commands of a rescue end, in bounded memory, with a
result or a line that says why not.
"""

from __future__ import annotations

import json
import os
import random
import resource
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.rescue.quarantine import run_names
from restic_format.rescue.scanning import Scanner
from restic_format.storage import LocalStorage, MemoryStorage
from restic_spec import gomode, parity
from restic_spec.crypto import MasterKey
from restic_spec.ids import id_of
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from restic_spec.snapshot import Snapshot
from tests.fire.cases import World, fill, opened
from tests.fire.kit import Ended, prepare, run, stored
from tests.fire.rescues import HEAL, UNDO, cut_pack, good, healed, protected
from tests.restore.kit import Maker

ALL = bool(os.environ.get("RESTIC_FORMAT_KILLS"))
TIMES = 20 if ALL else 1
"""``make kills`` makes everything so many times as large."""
MEMORY = 400 << 20
"""Bytes that a command may take beyond those that the tests themselves have."""
SECONDS = 60 * TIMES
"""Seconds of processor time for which it may work: far more than any of them needs, far less than what has no bound takes."""
COMMANDS = (("diagnose",), ("heal", "--yes", "--budget", "1"), ("protect",), ("protect", "--check"))


def bounded(words: list[str], work: Path) -> Ended:
    """Run a command line in a child that may take so much time and memory and no more."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told = work / "told"
    child = os.fork()
    if child == 0:
        code = 70
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
            ended = run(words, work)
            told.write_text(ended.err)
            code = ended.code
        finally:
            os._exit(code)
    _, status, usage = os.wait4(child, 0)
    assert os.WIFEXITED(status), f"{words} was stopped by signal {os.WTERMSIG(status)} after {usage.ru_utime:.0f} s"
    assert (usage.ru_maxrss - before) << 10 < MEMORY, words
    return Ended(os.WEXITSTATUS(status), told.read_text())


def small() -> MemoryStorage:
    storage = MemoryStorage()
    fill(storage, snapshots=2, removed=0)
    return storage


def spoil(storage: MemoryStorage, wanted: Callable[[bytes], bool]) -> None:
    """Zeros are in place of a part of each blob of files whose id is *wanted*."""
    for pack, entries in opened(storage).index.by_pack(None):
        file = FileKind.PACK, pack.hex()
        data = bytearray(storage.files[file])
        for entry in entries:
            if entry.type is BlobType.DATA and wanted(entry.id):
                data[entry.offset + 20 : entry.offset + 60] = bytes(40)
        storage.files[file] = bytes(data)


def snapshot(storage: MemoryStorage, tree: bytes) -> None:
    made = Snapshot(time="2020-02-01T00:00:00Z", tree=tree.hex(), paths=["/x"], hostname="h")
    opened(storage).save_snapshot(made)


def many_damaged_blobs(storage: MemoryStorage) -> None:
    """Each of them could keep the solver busy for long."""
    maker, rng = Maker(opened(storage)), random.Random(1)
    content = [maker.blob(rng.randbytes(100)) for _ in range(400 * TIMES)]
    snapshot(storage, maker.finish([maker.node("f", "file", 0o644, size=100 * len(content), content=content)]))
    spoil(storage, {bytes.fromhex(blob) for blob in content}.__contains__)


def deep_directories(storage: MemoryStorage) -> None:
    maker = Maker(opened(storage))
    tree = maker.tree([maker.file("leaf", b"hello" * 50)])
    for _ in range(400 * TIMES):
        tree = maker.tree([maker.node("a", "dir", gomode.DIR | 0o755, subtree=tree.hex())])
    snapshot(storage, maker.finish([maker.node("a", "dir", gomode.DIR | 0o755, subtree=tree.hex())]))
    spoil(storage, id_of(b"hello" * 50).__eq__)


def one_directory_everywhere(storage: MemoryStorage) -> None:
    """One directory that is damaged, thousands of times."""
    maker = Maker(opened(storage))
    tree = maker.tree([maker.file("leaf", b"hello" * 50)]).hex()
    nodes = [maker.node(f"{number:07}", "dir", gomode.DIR | 0o755, subtree=tree) for number in range(1000 * TIMES)]
    snapshot(storage, maker.finish(nodes))
    spoil(storage, id_of(b"hello" * 50).__eq__)


def listed(storage: MemoryStorage, packs: list[tuple[str, int, int]]) -> None:
    """An index of *packs*, each with a number of blobs of so many bytes at its begin, which nobody needs."""
    rng = random.Random(2)
    document = {
        "packs": [
            {
                "id": pack,
                "blobs": [{"id": rng.randbytes(32).hex(), "type": "data", "offset": 0, "length": length} for _ in range(count)],
            }
            for pack, count, length in packs
        ]
    }
    opened(storage).save_unpacked(FileKind.INDEX, json.dumps(document).encode())


def many_missing_packs(storage: MemoryStorage) -> None:
    rng = random.Random(3)
    listed(storage, [(rng.randbytes(32).hex(), 1, 100) for _ in range(2000 * TIMES)])


def overlapping_blobs(storage: MemoryStorage) -> None:
    """Hundreds of them in the same place of a pack."""
    maker = Maker(opened(storage))
    maker.blob(random.Random(2).randbytes(1 << 18))
    maker.finish([])
    pack = max(storage.list(FileKind.PACK), key=lambda file: file[1])[0]
    listed(storage, [(pack, 300 * TIMES, 1 << 18)])


def packs_of_noise(storage: MemoryStorage) -> None:
    """In none of them is a header, so that blobs are searched for."""
    rng = random.Random(4)
    for _ in range(4 * TIMES):
        noise = rng.randbytes(1 << 20)
        storage.save(FileKind.PACK, id_of(noise).hex(), noise)
        listed(storage, [(id_of(noise).hex(), 1, 100)])


def many_expensive_keys(storage: MemoryStorage) -> None:
    name = next(storage.list(FileKind.KEY))[0]
    key = json.loads(storage.files[FileKind.KEY, name])
    for number in range(100 * TIMES):
        data = json.dumps(key | {"N": 1 << 30, "r": 8, "p": 16, "hostname": f"{number}"}).encode()
        storage.save(FileKind.KEY, id_of(data).hex(), data)


def absurd_parity(storage: MemoryStorage) -> None:
    """Parity files that tell of packs of exabytes, and of more stripes, rows and packets than there can be."""
    side = storage.side_files("parity")
    rng = random.Random(5)
    pack = max(storage.list(FileKind.PACK), key=lambda file: file[1])[0]
    head, member = struct.Struct("<HHIII"), struct.Struct("<B32sQ")
    for number, (rows, block, stripes, size) in enumerate(
        [(1, 64, 1, 1 << 63), (65535, 1 << 20, 1 << 24, 1 << 20), (255, 64, 1 << 24, 64), (0, 1, 0, 1)]
    ):
        checks = bytes(4)
        description = head.pack(1, rows, block, stripes, 1) + member.pack(4, bytes.fromhex(pack), size) + checks
        group = parity.group_of(description)
        for pieces, total in ((1, 2), (0xFFFFFFFF, 0xFFFFFFFF), (1, 0xFFFFFFFF)):
            packets = [parity.Packet(group, at, pieces, total, description) for at in (0, 1)]
            side.save(f"{number}-{pieces}-{total}.parity", b"".join(map(parity.encode_packet, packets)))
    side.save("noise.parity", rng.randbytes(1 << 20) + parity.MAGIC * 10000 * TIMES)
    storage.remove(FileKind.PACK, pack)


COSTS = (
    many_damaged_blobs,
    deep_directories,
    one_directory_everywhere,
    many_missing_packs,
    overlapping_blobs,
    packs_of_noise,
    many_expensive_keys,
    absurd_parity,
)


@pytest.mark.clause("SOLVE-12", "PARITY-2", "PARITY-9")
@pytest.mark.parametrize("make", COSTS, ids=lambda make: make.__name__)
def test_every_command_ends(make: Callable[[MemoryStorage], None], tmp_path: Path) -> None:
    storage = small()
    make(storage)
    place = stored({"repo": storage}, tmp_path)["repo"]
    work = prepare(tmp_path / "work")
    for words in COMMANDS:
        ended = bounded(["-r", place, "--no-cache", *words], work)
        assert ended.code in (0, 1) and "Traceback" not in ended.err and "Fatal: unexpected" not in ended.err, (words, ended)


def test_a_search_for_blobs_ends_in_its_time() -> None:
    """A pack without a header and without one compressed blob is the worst: each length of a message is tried."""
    noise = random.Random(6).randbytes(8 << 20)
    scanner = Scanner(MasterKey.generate(), 1, seconds=0.2)
    started = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    assert list(scanner.scan(noise)) == [] and scanner.is_over
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - started < 4


# What leads somewhere else


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that is none of the repository's, with something in it."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "precious").write_text("precious")
    return folder


def in_quarantine(world: World, tmp_path: Path) -> tuple[str, Path]:
    """Where the repository is, and the folder of its run."""
    place = stored(world, tmp_path / "repositories")["repo"]
    [name] = run_names(LocalStorage(place).side_files("quarantine"))
    return place, Path(place) / "quarantine" / name


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.clause("QUARANTINE-7")
@pytest.mark.parametrize(
    "line",
    [
        {"step": "set aside", "kind": "data", "name": "../../../outside/precious"},
        {"step": "add", "kind": "data", "name": "../../outside/precious"},
        {"step": "add", "kind": "../outside", "name": "ab" * 32},
        {"step": "add", "kind": "config", "name": "/etc/passwd"},
        {"step": "burn", "kind": "data", "name": "ab" * 32},
        ["add"],
    ],
    ids=repr,
)
def test_a_journal_that_names_what_is_no_file_of_the_repository(line: object, outside: Path, tmp_path: Path) -> None:
    place, run_folder = in_quarantine(healed(cut_pack)(), tmp_path)
    journal = run_folder / "journal-000000"
    text = {"time": "2020-01-01T00:00:00Z"} | line if isinstance(line, dict) else line
    journal.write_bytes(journal.read_bytes() + json.dumps(text).encode() + b"\n")
    before = files_of(Path(place))
    done = run(["-r", place, "--no-cache", *UNDO], prepare(tmp_path / "work"))
    assert done.code == 1 and len(done.err.strip().splitlines()) == 1 and "Fatal: " in done.err, done
    assert files_of(Path(place)) == before and (outside / "precious").read_text() == "precious"


@pytest.mark.clause("LAYOUT-12")
def test_links_and_pipes_in_the_quarantine(outside: Path, tmp_path: Path) -> None:
    """A copy that is a link would bring a file of this machine into the repository; one that is a pipe would never end."""
    place, run_folder = in_quarantine(healed(cut_pack)(), tmp_path)
    work = prepare(tmp_path / "work")
    (kept, *_) = (run_folder / "data").iterdir()
    kept.unlink()
    kept.symlink_to(outside / "precious")
    before = files_of(Path(place) / "data")
    done = run(["-r", place, "--no-cache", *UNDO], work)
    assert done.code == 1 and "is not in the quarantine any more" in done.err, done
    kept.unlink()
    os.mkfifo(kept)
    done = run(["-r", place, "--no-cache", *UNDO], work)
    assert done.code == 1 and "is not in the quarantine any more" in done.err, done
    assert files_of(Path(place) / "data") == before
    (run_folder / "more").symlink_to(outside)
    (Path(place) / "quarantine" / "20260101T000000000000-abcdef").symlink_to(outside)
    done = run(["-r", place, "--no-cache", "heal", "--forget-quarantine", "--yes"], work)
    assert done.code == 0 and (outside / "precious").read_text() == "precious", done


@pytest.mark.clause("LAYOUT-12")
def test_links_and_pipes_beside_parity(outside: Path, tmp_path: Path) -> None:
    place = stored(good(protected)(), tmp_path)["repo"]
    work = prepare(tmp_path / "work")
    os.mkfifo(Path(place) / "parity" / "pipe.parity")
    (Path(place) / "parity" / "link.parity").symlink_to("/dev/zero")
    for words in (("protect", "--check"), ("protect",), HEAL):
        assert bounded(["-r", place, "--no-cache", *words], work).code == 0
