"""What chapters say of restic, seen in what restic does: names, nodes, chunks, keys, versions."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from vectors.generators.base import stream

from restic_format.repository.lock import acquire
from restic_format.repository.repository import Repository
from restic_format.snapshots import SnapshotFilter, find_id, find_latest, find_snapshot, resolve_subfolder
from restic_format.storage import LocalStorage, MemoryStorage
from restic_spec import chunker, gojson, ids, layout, tree
from restic_spec.errors import ResticFormatError
from restic_spec.index import decode_index
from restic_spec.keyfile import Kdf
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from restic_spec.snapshot import Snapshot

QUICK = Kdf(2, 1, 1, bytes(64))
POLYNOMIAL = 0x3DA3358B4DC173


class Restic:
    """A real program on a repository that opens quickly."""

    def __init__(self, program: Path, folder: Path, version: int = 2):
        self.program = program
        self.folder = folder
        self.env = {**os.environ, "RESTIC_PASSWORD": "x", "HOME": str(folder.parent), "TZ": "UTC"}
        # The cheap key is ours; everything else in it will be restic's.
        Repository.init(LocalStorage(folder), "x", version=version, polynomial=POLYNOMIAL, kdf=QUICK)

    def run(self, *arguments, code=0, cwd=None):
        command = [self.program, "--no-cache", "-q", "-r", self.folder, *arguments]
        done = subprocess.run(command, env=self.env, cwd=cwd, capture_output=True, text=True, timeout=180)
        assert done.returncode == code, done.stderr
        return done.stdout

    def backup(self, source: Path, *arguments) -> Repository:
        self.run("backup", *arguments, ".", cwd=source)
        repo = Repository.open(LocalStorage(self.folder), "x")
        repo.load_index()
        return repo

    def nodes(self, source: Path, *arguments):
        repo = self.backup(source, *arguments)
        return repo, {node.name: node for node in repo.load_tree(bytes.fromhex(find_latest(repo).snapshot.tree))}


@pytest.fixture
def restic(peer, tmp_path):
    """`restic("0.19")` makes a repository for that version."""

    def make(release: str, version: int = 2) -> Restic:
        return Restic(peer(f"restic-{release}"), tmp_path / f"repo-{release}-{version}", version)

    return make


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "always").touch()
    return folder


@pytest.mark.slow
@pytest.mark.clause("GOJSON-5", "GOJSON-6", "TREE-4", "TREE-5", "DIFF-4", "DIFF-5")
def test_every_character_is_quoted_as_restic_quotes_it(restic, tmp_path):
    # Not in the home of the test alone: 17,000 names hold every code point but those no name can have.
    source = tmp_path / "names"
    source.mkdir()
    folder = os.fsencode(source)
    points = [code for code in range(1, 0x110000) if code != 0x2F and not 0xD800 <= code < 0xE000]
    for start in range(0, len(points), 60):
        name = "".join(map(chr, points[start : start + 60])).encode()
        os.close(os.open(folder + b"/" + name, os.O_CREAT | os.O_WRONLY, 0o600))
    for byte in range(0x80, 0x100):
        os.close(os.open(folder + b"/" + bytes((byte, 0x41, byte, 0xBF)), os.O_CREAT | os.O_WRONLY, 0o600))
    younger = {}
    for release in ("0.14", "0.19"):
        repo = restic(release).backup(source)
        root = bytes.fromhex(find_latest(repo).snapshot.tree)
        decoded = repo.load_tree(root)
        tree.validate_tree(decoded)
        assert sorted(node.name_bytes for node in decoded) == sorted(os.listdir(folder))
        assert ids.id_of(tree.encode_tree(decoded)) == root, "the stored quoting is kept"
        younger[release] = sum(gojson.quote(node.name) != node.quoted for node in decoded)
    assert younger["0.19"] == 0
    assert younger["0.14"] > 0, "characters that came with Unicode 14 and 15"


@pytest.mark.clause("TREE-12", "TREE-13", "TREE-15", "TREE-16", "TREE-17")
@pytest.mark.parametrize("release", ["0.14", "0.18", "0.19"])
def test_what_restic_writes_into_nodes(restic, source, release):
    (source / "file").write_bytes(b"12345")
    os.link(source / "file", source / "link")
    (source / "dir").mkdir()
    os.symlink("file", source / "symlink")
    os.mkfifo(source / "fifo")
    os.utime(source / "file", ns=(10**18, 2 * 10**18))
    stat = os.stat(source / "file")
    program = restic(release)
    _, nodes = program.nodes(source)
    assert nodes["file"].atime == nodes["file"].mtime != nodes["file"].ctime
    assert nodes["file"].mtime_ns == 2 * 10**18
    assert nodes.pop("always").links == 1
    assert {name: node.size for name, node in nodes.items()} == {"file": 5, "link": 5, "dir": 0, "symlink": 0, "fifo": 0}
    assert {name: node.links for name, node in nodes.items()} == {"file": 2, "link": 2, "dir": 0, "symlink": 1, "fifo": 0}
    assert {node.device_id for node in nodes.values()} == {stat.st_dev}
    assert nodes["file"].inode == nodes["link"].inode == stat.st_ino
    assert nodes["file"].uid == os.getuid()
    _, nodes = program.nodes(source, "--with-atime", "--force")
    assert nodes["file"].atime_ns != nodes["file"].mtime_ns


@pytest.mark.clause("CHUNK-1", "CHUNK-6", "CHUNK-9", "CHUNK-10", "CHUNK-12", "TREE-8", "TREE-16")
def test_restic_cuts_where_the_chapter_says(restic, source):
    files = {
        "random": stream("cuts", 3 << 20),
        "zeros": bytes(1_200_000),
        "short": b"x" * 524_287,
        "minimum": stream("m", 524_288),
    }
    for name, content in files.items():
        (source / name).write_bytes(content)
    repo, nodes = restic("0.19").nodes(source)
    for name, content in files.items():
        pieces = list(chunker.chunks(content, POLYNOMIAL))
        assert nodes[name].content == [ids.id_of(piece).hex() for piece in pieces], name
        assert [repo.load_blob(BlobType.DATA, bytes.fromhex(blob)) for blob in nodes[name].content] == pieces


@pytest.mark.clause("PACK-19", "PACK-15", "FILE-3")
@pytest.mark.parametrize("version", [1, 2])
def test_what_restic_compresses(restic, source, version):
    (source / "random").write_bytes(stream("random", 10_000))
    program = restic("0.19", version)
    repo = program.backup(source)
    entries = [entry for _, entry in repo.index.entries()]
    assert len(entries) == 2
    assert {entry.uncompressed_length is not None for entry in entries} == {version == 2}
    (source / "more").write_bytes(stream("more", 10_000))
    repo = program.backup(source, *(["--compression", "off"] if version == 2 else []))
    found = repo.index.lookup(BlobType.DATA, ids.id_of(stream("more", 10_000)))
    assert found is not None and found.uncompressed_length is None
    for kind in (FileKind.INDEX, FileKind.SNAPSHOT):
        for file_id, _ in repo.list(kind):
            plaintext = repo._cipher.open(repo.load_raw(kind, file_id))
            assert plaintext[0] == (2 if version == 2 else ord("{"))


@pytest.mark.clause("DIFF-1", "SNAP-8")
@pytest.mark.parametrize(("release", "writes"), [("0.14", None), ("0.18", "restic 0.18.0"), ("0.19", "restic 0.19.1")])
def test_which_version_says_who_it_is(restic, source, release, writes):
    snapshot = find_latest(restic(release).backup(source)).snapshot
    assert (snapshot.program_version or None) == writes
    assert (snapshot.statistics() is not None) == (writes is not None)


@pytest.mark.clause("DIFF-2", "DIFF-3")
@pytest.mark.parametrize(("release", "raw", "control"), [("0.14", None, rb"a\u0008\u000c"), ("0.19", b"\xff", rb"a\b\f")])
def test_how_versions_write_link_targets(restic, source, release, raw, control):
    os.symlink(b"\xff", os.fsencode(source / "bytes"))
    os.symlink("a\b\f", source / "control")
    repo, nodes = restic(release).nodes(source)
    assert nodes["bytes"].linktarget_raw == raw
    assert nodes["control"].target == "a\b\f"
    stored = repo.load_blob(BlobType.TREE, bytes.fromhex(find_latest(repo).snapshot.tree))
    assert b'"linktarget":"' + control + b'"' in stored


@pytest.mark.clause("INDEX-9", "INDEX-10")
@pytest.mark.parametrize(("release", "supersedes"), [("0.14", True), ("0.18", False), ("0.19", False)])
def test_which_version_names_superseded_indexes(restic, source, release, supersedes):
    program = restic(release)
    program.backup(source)
    (source / "more").write_bytes(b"more")
    program.backup(source)
    program.run("forget", "--keep-last", "1", "--group-by", "")
    program.run("prune", "--max-unused", "0")
    repo = Repository.open(LocalStorage(program.folder), "x")
    documents = [decode_index(repo.load_unpacked(FileKind.INDEX, found)) for found, _ in repo.list(FileKind.INDEX)]
    assert any(document.supersedes for document in documents) is supersedes
    repo.load_index()
    assert {node.name for node in repo.load_tree(bytes.fromhex(find_latest(repo).snapshot.tree))} == {"always", "more"}


@pytest.mark.clause("DIFF-6", "LAYOUT-4")
@pytest.mark.parametrize(("release", "code"), [("0.14", 0), ("0.19", 10)])
def test_who_reads_the_old_layout(restic, source, release, code):
    program = restic("0.14")
    program.backup(source)
    for kind in (FileKind.KEY, FileKind.LOCK, FileKind.SNAPSHOT):
        (program.folder / kind.value).rename(program.folder / layout.folder_of(kind, layout.Layout.S3LEGACY))
    for pack in [path for path in (program.folder / "data").rglob("*") if path.is_file()]:
        pack.rename(program.folder / "data" / pack.name)
    for folder in (program.folder / "data").iterdir():
        if folder.is_dir():
            folder.rmdir()
    reader = restic(release) if release != "0.14" else program
    reader.folder = program.folder
    arguments = ("--no-lock", "snapshots", "--json")
    if code == 0:
        assert len(json.loads(reader.run(*arguments))) == 1
    else:
        with pytest.raises(AssertionError):
            reader.run(*arguments)
    repo = Repository.open(LocalStorage(program.folder), "x")
    repo.load_index()
    assert repo.load_tree(bytes.fromhex(find_latest(repo).snapshot.tree)).nodes[0].name == "always"


@pytest.mark.clause("DIFF-7", "CONFIG-8", "CONFIG-7", "LAYOUT-7", "LAYOUT-9", "KEY-13")
@pytest.mark.parametrize("release", ["0.14", "0.19"])
def test_what_init_makes(peer, tmp_path, release):
    folder = tmp_path / "fresh"
    env = {**os.environ, "RESTIC_PASSWORD": "x", "HOME": str(tmp_path)}
    command = [peer(f"restic-{release}"), "--no-cache", "-r", folder, "init"]
    subprocess.run(command, env=env, check=True, capture_output=True, timeout=60)
    repo = Repository.open(LocalStorage(folder), "x")
    writer = repo.writer()
    assert repo.version == 2
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_dir()} == set(layout.folders())
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o400}
    key = json.loads(next((folder / "keys").iterdir()).read_text())
    # Calibrated: a machine that is busy at this moment gets less.
    assert key["N"] in {1 << power for power in range(10, 16)}
    assert key["r"] == 8
    assert subprocess.run(command, env=env, capture_output=True, timeout=60).returncode == 1, "never over an existing one"
    for path in (folder / "data").iterdir():
        path.rmdir()
    writer.save_blob(BlobType.DATA, b"a folder that is missing is made")
    writer.flush()


@pytest.mark.clause("LOCK-2", "LOCK-4", "LOCK-13")
def test_restic_honours_our_locks(restic, source):
    program = restic("0.19")
    repo = Repository.open(LocalStorage(program.folder), "x")
    held = acquire(repo)
    try:
        program.run("backup", ".", cwd=source)
        program.run("prune", code=11)
    finally:
        held.release()
    held = acquire(repo, exclusive=True)
    try:
        program.run("backup", ".", cwd=source, code=11)
    finally:
        held.release()
    program.run("prune")


def _snapshot(repo: Repository, time: str, **more) -> bytes:
    writer = repo.writer()
    tree_id = writer.save_blob(BlobType.TREE, b'{"nodes":[]}\n').id
    writer.flush()
    return repo.save_snapshot(Snapshot(time=time, tree=tree_id.hex(), paths=["/a"], **more))


@pytest.mark.clause("SNAP-11", "LAYOUT-10", "SNAP-12")
def test_how_snapshots_are_named():
    repo = Repository.init(MemoryStorage(), "x", kdf=QUICK)
    old = _snapshot(repo, "2020-01-01T00:00:00Z", hostname="h")
    # Later on the clock of its zone, earlier in time.
    new = _snapshot(repo, "2020-01-02T00:00:00+09:00", hostname="i")
    newest = _snapshot(repo, "2020-01-01T16:00:00Z", hostname="i", tags=["t"])
    _snapshot(repo, "2999-01-01T00:00:00Z")
    assert find_latest(repo).id == newest
    assert find_latest(repo, SnapshotFilter(hosts=["h"])).id == old
    assert find_latest(repo, SnapshotFilter(tags=[[""]], hosts=["i"])).id == new
    found, subfolder = find_snapshot(repo, f"{old.hex()[:12]}:some/where")
    assert (found.id, subfolder) == (old, "some/where")
    assert find_snapshot(repo, "latest")[0].id == newest
    for prefix in ("", "x" * 8, old.hex()[:-1] + "x"):
        with pytest.raises(ResticFormatError):
            find_id(repo, FileKind.SNAPSHOT, prefix)


@pytest.mark.clause("SNAP-4", "SNAP-12")
def test_the_root_of_a_snapshot(restic, source):
    (source / "d").mkdir()
    program = restic("0.19")
    repo = program.backup(source)
    assert [node.name for node in repo.load_tree(bytes.fromhex(find_latest(repo).snapshot.tree))] == ["always", "d"]
    program.run("backup", str(source))
    repo.load_index()
    root = bytes.fromhex(find_latest(repo).snapshot.tree)
    assert [node.name for node in repo.load_tree(root)] == [source.parts[1]]
    below = resolve_subfolder(repo, root, str(source))
    assert [node.name for node in repo.load_tree(below)] == ["always", "d"]
