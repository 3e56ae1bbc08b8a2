"""``dump`` writes what real restic writes: archives byte for byte, errors and exit codes as well."""

from __future__ import annotations

import gzip
import io
import json
import os
import pty
import random
import struct
import subprocess
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest
import zstandard

from restic_format.errors import BlobMissing, DamagedFile, Interrupted
from restic_format.explore import tar
from restic_format.explore import zipfile as zip_format
from restic_format.explore.dump import Form, dump_file, dump_tree
from restic_format.repository import BlobIndex, Repository
from restic_format.snapshots import NodeUnusable, sequence
from restic_format.storage import FaultyStorage, LocalStorage, MemoryStorage
from restic_format.storage.faulty import Call
from restic_format.work import Cancel
from restic_spec import gomode, gotime
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from restic_spec.snapshot import Snapshot
from restic_spec.tree import ExtendedAttribute, Node
from tests.restore.kit import PASSWORD, T0, Maker, cheap_repo, environment, memory_repo, ours, ours_command, restic

ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *entry)
    for entry in [(1, 7, 2**32 - 1), (2, 6, 1000), (4, 5, 2**32 - 1), (8, 4, 100), (16, 3, 2**32 - 1), (32, 0, 2**32 - 1)]
)
TIMES = [
    *("1970-01-01T00:00:00Z", "2020-09-13T12:26:40.5Z", "2020-09-13T12:26:40.499999999Z", "1969-12-31T23:58:20.2Z"),
    *("1969-12-31T23:58:19.4+05:30", "1901-01-01T00:00:00.999999999-11:00", "2242-03-16T12:56:32Z", "2242-03-16T12:56:31.5Z"),
    *("9999-12-31T23:59:59.9Z", "0001-01-01T00:00:00Z", "2026-07-01T01:02:03.123456789+02:00", "2107-12-31T23:59:59Z"),
]
NAMES: list[str | bytes] = [
    *(
        "plain",
        "n" * 99,
        "m" * 100,
        "o" * 101,
        "p" * 255,
        "ümlaut",
        "é" * 70,
        b"bad\xff\xfe",
        "new\nline",
        'quo"te\\back',
        "~",
        " ",
    ),
    *("\U0001f600", "x" * 98 + "é", "control\x01", "{|}"),
]
TARGETS = ["plain", "t" * 100, "u" * 101, "zié", "a/" * 60, "/" * 130, ""]
ATTRIBUTES = [
    ("user.comment", b"hello\0w\n\xff"),
    ("user.empty", b""),
    ("user.null", None),
    ("user.é", "wü".encode()),
    ("security.capability", struct.pack("<IIIII", 0x02000001, 0x2000, 0, 0, 0)),
    ("system.posix_acl_access", ACL),
    ("system.posix_acl_default", ACL),
    ("system.posix_acl_default", ACL[:-1]),
    ("system.posix_acl_access", b"\3" + ACL[1:]),
    ("system.posix_acl_access", ACL[:4] + b"\x40" + ACL[5:]),
    ("system.posix_acl_access", ACL[:4]),
    ("system.posix_acl_access_not", b"x"),
    ("user.long", b"v" * 3000),
    ("user.ninety", b"v" * 77),
]


def a_node(maker: Maker, rng: random.Random, name: str | bytes, depth: int) -> Node:
    """Some node of any kind, with anything unusual that a header can have trouble with."""
    permissions = rng.choice([0o644, 0o755, 0o444, 0o000, 0o777]) | rng.choice(
        [0, 0, gomode.SETUID, gomode.SETGID, gomode.STICKY]
    )
    values = {
        "uid": rng.choice([0, 1000, 2097151, 2097152, 2**32 - 1]),
        "gid": rng.choice([0, 100, 2097151, 3_000_000, 2**32 - 2]),
        "user": rng.choice(["", "root", "anna", "u" * 32, "u" * 33, "jürgen"]),
        "group": rng.choice(["", "wheel", "g" * 40, "größe"]),
        "mtime": rng.choice(TIMES),
    }
    if not rng.randint(0, 3):
        values["extended_attributes"] = [ExtendedAttribute(*item) for item in rng.sample(ATTRIBUTES, rng.randint(1, 3))]
    kind = rng.choice(["file", "file", "file", "symlink", "dir", "dir", "fifo", "socket", "dev", "chardev", "irregular"])
    if kind == "dir" and depth < 3:
        return maker.folder(name, nodes(maker, rng, depth + 1), permissions, **values)
    if kind == "symlink":
        return maker.symlink(name, rng.choice(TARGETS), **values)
    bits = {
        "fifo": gomode.NAMED_PIPE,
        "socket": gomode.SOCKET,
        "dev": gomode.DEVICE,
        "chardev": gomode.DEVICE | gomode.CHAR_DEVICE,
        "irregular": gomode.IRREGULAR,
    }
    if kind in bits:
        return maker.node(name, kind, permissions | bits[kind], **values)
    chunks = [rng.choice([b"", b"x", b"y" * 511, b"z" * 512, rng.randbytes(3000)]) for _ in range(rng.randint(0, 3))]
    return maker.file(name, *chunks, mode=permissions, **values)


def nodes(maker: Maker, rng: random.Random, depth: int = 0) -> list[Node]:
    names = rng.sample(NAMES, rng.randint(0, 12 if depth else len(NAMES)))
    return sorted((a_node(maker, rng, name, depth) for name in names), key=lambda node: node.name_bytes)


def save(maker: Maker, entries: Iterable[Node], when: int = 0) -> bytes:
    """A snapshot of *entries*; gives the tree."""
    tree = maker.finish(entries)
    time = gotime.format_ns(T0 + when * gotime.NS, 0)
    maker.repo.save_snapshot(Snapshot(time=time, tree=tree.hex(), paths=["/x"], hostname="h", username="u"))
    return tree


@pytest.fixture(scope="module")
def theirs(peer: Callable[[str], Path]) -> Path:
    return peer("restic-0.19")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with snapshots of generated trees."""
    folder = cheap_repo(tmp_path_factory.mktemp("dump") / "repo")
    maker = Maker(Repository.open(LocalStorage(str(folder)), PASSWORD))
    for seed in range(6):
        entries = [maker.folder("dir", nodes(maker, random.Random(seed), 1)), *nodes(maker, random.Random(100 + seed))]
        save(maker, sorted(entries, key=lambda node: node.name_bytes), seed)
    return folder


def zipped(raw: bytes) -> list[tuple[object, ...]]:
    """All that a zip archive says of its members but how small they have become, and their contents."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        assert archive.testzip() is None
        return [
            (
                *(
                    info.orig_filename,
                    info.compress_type,
                    info.flag_bits,
                    info.create_system,
                    info.create_version,
                    info.date_time,
                ),
                *(
                    info.extract_version,
                    info.external_attr,
                    info.internal_attr,
                    info.extra,
                    info.file_size,
                    info.CRC,
                    info.comment,
                ),
                archive.read(info),
            )
            for info in archive.infolist()
        ]


@pytest.mark.clause("TREE-18")
@pytest.mark.parametrize("back", range(6))
def test_archives_are_those_of_restic(stored: Path, theirs: Path, back: int) -> None:
    for name, path in [(f"latest~{back}", "/"), (f"latest~{back}", "/dir"), (f"latest~{back}:dir", "/")]:
        expected = restic(theirs, stored, "dump", *_of_restic(stored, name), path)
        got = ours(stored, "dump", name, path)
        assert (got.returncode, got.stderr) == (expected.returncode, expected.stderr) == (0, b"")
        assert got.stdout == expected.stdout
    expected = restic(theirs, stored, "dump", "-a", "zip", *_of_restic(stored, f"latest~{back}"), "/")
    got = ours(stored, "dump", "-a", "zip", f"latest~{back}", "/")
    assert got.returncode == 0 and zipped(got.stdout) == zipped(expected.stdout)


def _of_restic(repo: Path, name: str) -> list[str]:
    """restic knows no latest~1: the id."""
    latest, colon, folder = name.partition(":")
    listed = json.loads(ours(repo, "snapshots", "--json").stdout)
    return [listed[-1 - int(latest.partition("~")[2])]["id"] + colon + folder]


def test_a_real_tree_with_all_that_a_system_has(tmp_path: Path, theirs: Path) -> None:
    source, repo = tmp_path / "src", cheap_repo(tmp_path / "repo")
    (source / "sub").mkdir(parents=True)
    (source / "file").write_bytes(b"hello")
    (source / "large").write_bytes(os.urandom(3_000_000))
    with open(source / "sparse", "wb") as sparse:
        sparse.truncate(9_000_000)
    (source / "sub" / "link").symlink_to("../file")
    (source / "sub" / "hard").hardlink_to(source / "file")
    os.mkfifo(source / "fifo")
    os.mkfifo(source / "sub" / "fifo")
    os.utime(source / "file", ns=(1, -1_234_567_891))
    os.setxattr(source / "large", "user.comment", b"\xff\0")
    if os.geteuid() == 0:
        os.mknod(source / "dev", 0o600 | 0o020000, os.makedev(1, 3))
        os.chown(source / "large", 3_000_000, 2**31)
    assert ours(repo, "backup", ".", cwd=source).returncode == 0
    assert ours(repo, "dump", "latest", "/").stdout == restic(theirs, repo, "dump", "latest", "/").stdout
    for name in ("large", "sparse", "file"):
        assert ours(repo, "dump", "latest", name).stdout == (source / name).read_bytes()


# Parts


def written(action: Callable[[Callable[[Sequence[bytes | memoryview]], object]], object]) -> bytes:
    pieces: list[bytes] = []
    action(lambda given: pieces.extend(map(bytes, given)))
    return b"".join(pieces)


@pytest.mark.parametrize("form", list(Form))
def test_batches_of_any_size_give_the_same_archive(monkeypatch: pytest.MonkeyPatch, form: Form) -> None:
    rng = random.Random(5)
    maker = Maker(memory_repo())
    chunks = [rng.randbytes(rng.choice([1, 100, 700, 30_000])) for _ in range(12)]
    files = [maker.file(f"f{number:03}", *rng.choices(chunks, k=rng.randint(0, 9))) for number in range(60)]
    tree = maker.finish([*files, maker.folder("folder", nodes(maker, rng))])

    def archive() -> bytes:
        return written(lambda write: dump_tree(maker.repo, tree, write, form=form))

    def plain(raw: bytes) -> object:
        match form:
            case Form.ZIP:
                return zipped(raw)
            case Form.TAR_GZ:
                return gzip.decompress(raw)
            case Form.TAR_ZST:
                return zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True).read()
            case _:
                return raw

    whole = plain(archive())
    for size, items in ((1, 1000), (1000, 1000), (40_000, 7), (1 << 20, 1)):
        monkeypatch.setattr(sequence, "BATCH", size)
        monkeypatch.setattr(sequence, "MOST_ITEMS", items)
        assert plain(archive()) == whole
    if form is not Form.ZIP:
        assert whole == written(lambda write: dump_tree(maker.repo, tree, write))


def test_a_file_is_its_blobs(monkeypatch: pytest.MonkeyPatch) -> None:
    maker = Maker(memory_repo())
    rng = random.Random(3)
    chunks = [rng.randbytes(rng.choice([1, 50, 5000])) for _ in range(20)]
    content = rng.choices(chunks, k=200)
    node = maker.file("f", *content)
    maker.writer.flush()
    for size in (1, 6000, 1 << 20):
        monkeypatch.setattr(sequence, "BATCH", size)
        assert written(lambda write: dump_file(maker.repo, node, write)) == b"".join(content)
    monkeypatch.setattr(sequence, "REMEMBERED", 2)
    assert written(lambda write: dump_file(maker.repo, node, write)) == b"".join(content)
    assert written(lambda write: dump_file(maker.repo, maker.file("empty"), write)) == b""
    with pytest.raises(NodeUnusable):
        dump_file(maker.repo, maker.folder("d", []), print)


def test_a_blob_that_comes_again_and_again_is_not_fetched_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "BATCH", 1)
    inner = MemoryStorage()
    maker = Maker(memory_repo(inner))
    node = maker.file("f", *[b"x" * 1000] * 200)
    maker.writer.flush()
    loads: list[Call] = []
    repo = Repository.open(FaultyStorage(inner, loads.append), PASSWORD)
    repo.load_index()
    loads.clear()
    assert written(lambda write: dump_file(repo, node, write)) == b"x" * 200_000
    assert len(loads) <= 2


@pytest.mark.clause("PACK-22")
def test_a_wrong_length_in_the_index_does_not_shift_anything() -> None:
    maker = Maker(memory_repo())
    node = maker.file("f", b"a" * 1000, b"b" * 10_000, b"c" * 1000)
    tree = maker.finish([node, maker.file("g", b"d" * 600)])
    whole = written(lambda write: dump_tree(maker.repo, tree, write))
    true, maker.repo.index = maker.repo.index, BlobIndex()
    for pack, entries in true.by_pack():
        lied = [entry._replace(uncompressed_length=77) if entry.id.hex() == node.blobs[1] else entry for entry in entries]
        maker.repo.index.add_pack(pack, lied)
    assert written(lambda write: dump_tree(maker.repo, tree, write)) == whole
    assert written(lambda write: dump_file(maker.repo, node, write)) == b"a" * 1000 + b"b" * 10_000 + b"c" * 1000


def test_an_index_that_states_too_little_takes_no_memory_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    maker = Maker(memory_repo())
    chunks = [bytes([number]) * 10_000 for number in range(20)]
    node = maker.file("f", *chunks)
    once = maker.finish([node])
    # In the last file all blobs have come before.
    again = maker.finish(
        [*(maker.file(f"a{number:02}", chunk) for number, chunk in enumerate(chunks)), maker.file("b", *chunks)]
    )
    true, maker.repo.index = maker.repo.index, BlobIndex()
    for pack, entries in true.by_pack():
        lied = [entry._replace(uncompressed_length=1) if entry.type is BlobType.DATA else entry for entry in entries]
        maker.repo.index.add_pack(pack, lied)
    monkeypatch.setattr(sequence, "MOST_ITEMS", 20)
    dumps = [
        lambda: written(lambda write: dump_file(maker.repo, node, write)),
        lambda: written(lambda write: dump_tree(maker.repo, once, write, form=Form.ZIP)),
        lambda: written(lambda write: dump_tree(maker.repo, again, write, form=Form.ZIP)),
    ]
    assert dumps[0]() == b"".join(chunks)
    with zipfile.ZipFile(io.BytesIO(dumps[2]())) as archive:
        assert archive.read("b") == b"".join(chunks)
    monkeypatch.setattr(sequence, "MOST_BEYOND", 150_000)
    for dump in dumps:
        with pytest.raises(DamagedFile, match="longer than an index states: run repair index"):
            dump()


def test_large_members_and_many_of_them() -> None:
    big = Node(quoted="big", type="file", mode=0o644, mtime="2020-01-01T00:00:00Z", size=(1 << 33) + 5)
    header = tar.Headers().header("big", big, print)
    member = tarfile.TarInfo.frombuf(header[-512:], "utf-8", "strict")
    assert member.size == 0 and b"19 size=8589934597\n" in header
    # A zip archive with a member of 5 GB and one behind it.
    directory, first, second = zip_format.Directory(), zip_format.Member("big", big), zip_format.Member("next", big)
    raw = first.begin(0)
    first.size = first.stored = 5_000_000_000
    first.crc = 1
    end = first.end()
    assert len(end) == 24
    offset = len(raw) + first.stored + len(end)
    head = second.begin(offset)
    tail = second.end()
    directory.add(first)
    directory.add(second)
    start = offset + len(head) + len(tail)
    with zipfile.ZipFile(_Holes({0: raw, offset: head + tail, start: b"".join(directory.end(start))})) as archive:
        infos = archive.infolist()
        assert [(info.filename, info.file_size, info.header_offset) for info in infos] == [
            ("big", 5_000_000_000, 0),
            ("next", 0, offset),
        ]
        assert infos[0].extract_version == 45


class _Holes(io.RawIOBase):
    """A large file of which only some places are filled."""

    def __init__(self, places: dict[int, bytes]) -> None:
        self._places = places
        self._at = 0
        self._size = max(start + len(raw) for start, raw in places.items())

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        for start, raw in self._places.items():
            if start <= self._at < start + len(raw):
                found = raw[self._at - start :] if size < 0 else raw[self._at - start :][:size]
                self._at += len(found)
                return found
        return b""


def test_more_members_than_an_old_zip_can_have() -> None:
    directory = zip_format.Directory()
    node = Node(quoted="d", type="dir", mode=gomode.DIR | 0o755, mtime="2020-01-01T00:00:00Z")
    offset, pieces = 0, []
    for number in range(70_000):
        member = zip_format.Member(f"d{number}", node)
        pieces.append(member.begin(offset))
        offset += len(pieces[-1])
        directory.add(member)
    with zipfile.ZipFile(io.BytesIO(b"".join([*pieces, *directory.end(offset)]))) as archive:
        assert len(archive.infolist()) == 70_000


def test_what_an_archive_cannot_hold() -> None:
    maker = Maker(memory_repo())
    odd = maker.file("odd", b"x", extended_attributes=[ExtendedAttribute("user.a=b", b"1"), ExtendedAttribute("user.ok", b"2")])
    tree = maker.finish([odd, maker.file("z")])
    told: list[tuple[str, str]] = []
    raw = written(lambda write: dump_tree(maker.repo, tree, write, left_out=lambda *what: told.append(what)))
    assert told == [("odd", "user.a=b")]
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        assert [member.pax_headers for member in archive] == [{"SCHILY.xattr.user.ok": "2"}, {}]
    huge = maker.file("huge", extended_attributes=[ExtendedAttribute(f"user.{number}", b"x" * 65000) for number in range(20)])
    for bad in (huge, maker.symlink("link", "a\0b"), maker.file("owner", user="a\0b")):
        tree = maker.finish([bad])
        with pytest.raises(tar.NotInArchive):
            dump_tree(maker.repo, tree, lambda _: None)
    longest = maker.finish([maker.folder("d" * 65_534, [])])
    with zipfile.ZipFile(io.BytesIO(written(lambda write: dump_tree(maker.repo, longest, write, form=Form.ZIP)))) as archive:
        assert len(archive.namelist()[0]) == 65_535
    for bad in (
        maker.file("n" * 65_536),
        maker.folder("n" * 65_535, []),
        maker.folder("n" * 40_000, [maker.file("m" * 26_000)]),
    ):
        tree = maker.finish([bad])
        with pytest.raises(tar.NotInArchive, match="a zip archive holds 65535"):
            dump_tree(maker.repo, tree, lambda _: None, form=Form.ZIP)


# What goes wrong


def damaged() -> tuple[Maker, bytes, Node]:
    """A tree whose second file has a damaged blob."""
    maker = Maker(memory_repo())
    chunks = [random.Random(number).randbytes(2000) for number in range(3)]
    nodes = [maker.file("a", chunks[0]), maker.file("b", *chunks), maker.file("c", chunks[2])]
    tree = maker.finish(nodes)
    where = maker.repo.index.lookup(BlobType.DATA, bytes.fromhex(nodes[1].blobs[1]))
    assert where is not None
    raw = bytearray(maker.repo.storage.load(FileKind.PACK, where.pack.hex()))
    raw[where.offset + 30] ^= 1
    maker.repo.storage.files[FileKind.PACK, where.pack.hex()] = bytes(raw)  # type: ignore[attr-defined]
    return maker, tree, nodes[1]


@pytest.mark.parametrize("form", [Form.TAR, Form.ZIP])
@pytest.mark.parametrize("size", [1, 4 << 20])
def test_a_damaged_blob_ends_it(monkeypatch: pytest.MonkeyPatch, form: Form, size: int) -> None:
    monkeypatch.setattr(sequence, "BATCH", size)
    maker, tree, node = damaged()
    pieces: list[bytes] = []
    with pytest.raises(DamagedFile):
        dump_tree(maker.repo, tree, lambda given: pieces.extend(map(bytes, given)), form=form)
    if size == 1 and form is Form.TAR:
        names = []
        with pytest.raises(tarfile.ReadError), tarfile.open(fileobj=io.BytesIO(b"".join(pieces)), mode="r|") as archive:
            for member in archive:
                names.append(member.name)
                content = archive.extractfile(member)
                assert content is not None
                content.read()
        assert names == ["a", "b"]
    pieces.clear()
    with pytest.raises(DamagedFile):
        dump_file(maker.repo, node, lambda given: pieces.extend(map(bytes, given)))
    assert b"".join(pieces) in (b"", random.Random(0).randbytes(2000))


def test_what_is_missing_comes_after_all_before_it() -> None:
    maker = Maker(memory_repo())
    gone = maker.file("gone", b"one", b"two")
    gone.content = [gone.blobs[0], "11" * 32]
    tree = maker.finish([maker.file("a", b"one"), gone])
    pieces: list[bytes] = []
    with pytest.raises(BlobMissing, match="11" * 32):
        dump_tree(maker.repo, tree, lambda given: pieces.extend(map(bytes, given)))
    assert tarfile.TarInfo.frombuf(b"".join(pieces)[:512], "utf-8", "strict").name == "a" and len(b"".join(pieces)) == 1024
    pieces.clear()
    with pytest.raises(BlobMissing):
        dump_file(maker.repo, gone, lambda given: pieces.extend(map(bytes, given)))
    assert b"".join(pieces) == b"one"
    lost = maker.folder("lost", [])
    lost.subtree = "22" * 32
    tree = maker.finish([maker.file("a", b"one"), lost])
    for form in Form:
        with pytest.raises(BlobMissing, match="22" * 32):
            dump_tree(maker.repo, tree, lambda _: None, form=form)


def test_a_size_that_is_not_the_contents_is_refused() -> None:
    maker = Maker(memory_repo())
    for size in (2, 10):
        tree = maker.finish([maker.file("a", b"one"), maker.file("b", b"three", size=size)])
        with pytest.raises(NodeUnusable, match="/b: the content has 5 bytes"):
            dump_tree(maker.repo, tree, lambda _: None)
    raw = written(lambda write: dump_tree(maker.repo, tree, write, form=Form.ZIP))
    assert zipped(raw)[1][-1] == b"three"


def test_it_can_be_cancelled_and_write_may_fail() -> None:
    maker = Maker(memory_repo())
    tree = maker.finish([maker.file("a", b"one")])
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Interrupted):
        dump_tree(maker.repo, tree, lambda _: None, cancel=cancel)

    def fail(_: object) -> None:
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        dump_tree(maker.repo, tree, fail)


# The command


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which some things are not what they should be."""
    folder = cheap_repo(tmp_path_factory.mktemp("small") / "repo")
    maker = Maker(Repository.open(LocalStorage(str(folder)), PASSWORD))
    gone = maker.file("b1", b"one", b"two")
    gone.content = [gone.blobs[0], "11" * 32]
    lost = maker.folder("lost", [])
    lost.subtree = "22" * 32
    save(
        maker,
        [
            maker.file("a", b"one"),
            maker.folder("dir", [maker.file("f", b"two"), maker.symlink("link", "f"), maker.node("pipe", "fifo", 0)]),
            maker.folder("gone", [maker.file("a1", b"one"), gone, maker.file("z", b"z")]),
            lost,
        ],
    )
    return folder


LINES = [
    *([], ["latest"], ["latest", "a", "b"], ["-a", "foo", "latest", "/"], ["latest", "/a"], ["latest", "a"], ["latest", "/a/"]),
    *(["latest", "//a"], ["latest", "./a"], ["latest", "/dir/../a"], ["latest", ""], ["latest", "."], ["latest", "/a/b"]),
    *(
        ["latest", "/nothing"],
        ["latest", "/dir/nothing/x"],
        ["latest", "/dir/link"],
        ["latest", "/dir/pipe"],
        ["latest", "/back\\slash"],
        ["latest", '/dir/quo"te\n'],
        ["latest", "dir/f"],
    ),
    *(
        ["latest:dir", "f"],
        ["latest:dir", "/"],
        ["latest:a", "/"],
        ["latest:nope", "/"],
        ["nope", "/"],
        ["-H", "x", "latest", "/"],
    ),
    *(["--path", "/x", "latest", "a"], ["--tag", "t", "latest", "a"], ["--json", "latest", "a"], ["--json", "nope", "a"]),
    *(["--json", "latest", "/nothing"], ["-v", "latest", "a"], ["-q", "latest", "dir"], ["-a", "tar", "latest", "dir"]),
    *(["-t", "/nonexistent/x", "latest", "a"], ["-t", "/", "latest", "a"]),
]


@pytest.mark.parametrize("words", LINES, ids=" ".join)
def test_lines_end_as_with_restic(small: Path, theirs: Path, words: list[str]) -> None:
    expected, got = restic(theirs, small, "dump", *words), ours(small, "dump", *words)
    assert (got.returncode, got.stdout, got.stderr) == (expected.returncode, expected.stdout, expected.stderr)


@pytest.mark.parametrize("path", ["/gone", "/gone/b1", "/lost", "/lost/x", "/"])
def test_what_cannot_be_read_ends_it_as_with_restic(small: Path, theirs: Path, path: str) -> None:
    expected, got = restic(theirs, small, "dump", "latest", path), ours(small, "dump", "latest", path)
    assert got.returncode == expected.returncode == 1
    assert got.stderr.startswith(b"Fatal: cannot dump file: ") and expected.stderr.startswith(b"Fatal: cannot dump file: ")
    assert got.stderr.count(b"\n") == 1
    assert ("22" if "lost" in path else "11") * 32 in got.stderr.decode()
    # The archive has no end.
    assert not got.stdout.endswith(bytes(1024))


def test_a_target_is_there_when_it_is_whole(small: Path, theirs: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    failed = ours(small, "dump", "-t", str(target), "latest", "/gone")
    assert failed.returncode == 1 and list(tmp_path.iterdir()) == []
    target.write_bytes(b"before")
    target.chmod(0o600)
    assert ours(small, "dump", "-t", str(target), "latest", "/gone").returncode == 1
    assert target.read_bytes() == b"before" and list(tmp_path.iterdir()) == [target]
    link = tmp_path / "link"
    link.symlink_to("out")
    assert ours(small, "dump", "-t", str(link), "latest", "/dir").returncode == 0
    assert target.read_bytes() == restic(theirs, small, "dump", "latest", "/dir").stdout
    assert target.stat().st_mode & 0o777 == 0o600 and link.is_symlink()
    assert len(list(tmp_path.iterdir())) == 2
    piped = ours(small, "dump", "-t", "/dev/stdout", "latest", "/dir")
    assert piped.stdout == target.read_bytes()


def test_an_archive_that_lacks_an_attribute_is_kept_and_told(tmp_path: Path) -> None:
    folder, target = cheap_repo(tmp_path / "repo"), tmp_path / ("n" * 250)
    maker = Maker(Repository.open(LocalStorage(str(folder)), PASSWORD))
    save(maker, [maker.file("odd", b"x", extended_attributes=[ExtendedAttribute("user.a=b", b"1")]), maker.file("z")])
    done = ours(folder, "dump", "-t", str(target), "latest", "/")
    assert done.returncode == 1 and b"/odd" in done.stderr and b"user.a=b" in done.stderr
    with tarfile.open(target) as archive:
        assert archive.getnames() == ["odd", "z"]


@pytest.mark.parametrize(
    ("name", "words", "form"),
    [
        *(("x.tar.gz", (), "gz"), ("x.TGZ", (), "gz"), ("x.tar.zst", (), "zst"), ("x.tzst", (), "zst"), ("x.zip", (), "zip")),
        *(("x.tar", (), "tar"), ("x", (), "tar"), ("x.zip", ("-a", "tar"), "tar"), ("x", ("-a", "tar.gz"), "gz")),
        *(("x", ("-a", "tar.zst"), "zst"), ("x.tgz", ("--archive=zip",), "zip")),
    ],
)
def test_the_form_is_what_is_asked_for(small: Path, tmp_path: Path, name: str, words: tuple[str, ...], form: str) -> None:
    target = tmp_path / name
    done = ours(small, "dump", *words, "-t", str(target), "latest", "/dir")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    raw = target.read_bytes()
    assert raw.startswith({"gz": b"\x1f\x8b", "zst": b"\x28\xb5\x2f\xfd", "zip": b"PK", "tar": b"dir/f\0"}[form])
    unpack = {"gz": ["gzip", "-dc"], "zst": None, "tar": ["cat"], "zip": None}[form]
    if unpack is not None:
        plain = subprocess.run(unpack, input=raw, capture_output=True, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
            assert archive.getnames() == ["dir/f", "dir/link", "dir/pipe"]
    # A file is a file, whatever the target is called.
    assert ours(small, "dump", "-t", str(target), "latest", "/dir/f").returncode == 0
    assert target.read_bytes() == b"two"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a file of some MiB."""
    base = tmp_path_factory.mktemp("large")
    (base / "src").mkdir()
    (base / "src" / "big").write_bytes(random.Random(1).randbytes(24 << 20))
    folder = cheap_repo(base / "repo")
    assert ours(folder, "backup", ".", cwd=base / "src").returncode == 0
    return folder


@pytest.mark.parametrize("path", ["/", "/big"])
def test_a_reader_that_goes_away_ends_it_quietly(large: Path, theirs: Path, path: str) -> None:
    commands = [[str(theirs), "--no-cache", "-r", str(large)], ours_command(large)]
    for command in commands:
        with subprocess.Popen(
            [*command, "-q", "dump", "latest", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
        ) as running:
            assert running.stdout is not None and running.stderr is not None
            assert len(running.stdout.read(1000)) == 1000
            running.stdout.close()
            assert running.stderr.read() == b""
            assert running.wait() == -13
    # Ours has let go of its lock.
    assert ours(large, "unlock", "--remove-all").returncode == 0
    running = subprocess.Popen([*commands[1], "dump", "latest", path], stdout=subprocess.PIPE, env=environment())
    assert running.stdout is not None
    running.stdout.close()
    assert running.wait() == -13
    assert ours(large, "list", "locks").stdout == b""


def test_an_interrupt_ends_it(large: Path, tmp_path: Path) -> None:
    target = tmp_path / "fifo"
    os.mkfifo(target)
    running = subprocess.Popen(
        [*ours_command(large), "dump", "-t", str(target), "latest", "/"], env=environment(), stderr=subprocess.PIPE
    )
    with open(target, "rb") as reader:
        assert reader.read(1000)
        time.sleep(0.3)  # it waits for its reader now
        running.terminate()
        assert running.wait(timeout=30) == 130
    assert ours(large, "list", "locks").stdout == b""


def test_a_full_disk_is_told(small: Path, theirs: Path) -> None:
    outcomes = []
    for command in ([str(theirs), "--no-cache", "-r", str(small)], ours_command(small)):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [*command, "dump", "latest", "/a"], stdout=full, stderr=subprocess.PIPE, env=environment(), check=False
            )
        outcomes.append((done.returncode, done.stderr))
    assert outcomes[0] == outcomes[1]
    assert ours(small, "dump", "-t", "/dev/full", "latest", "/a").returncode == 1


def test_no_archive_is_written_to_a_terminal(small: Path) -> None:
    for path, code, text in (("/", 1, b"redirect output"), ("/a", 0, b"one")):
        above, below = pty.openpty()
        done = subprocess.run(
            [*ours_command(small), "-q", "dump", "latest", path],
            stdout=below,
            stderr=subprocess.PIPE,
            env=environment(),
            check=False,
        )
        os.close(below)
        shown = os.read(above, 100) if not code else b""
        os.close(above)
        assert done.returncode == code and text in shown + done.stderr
