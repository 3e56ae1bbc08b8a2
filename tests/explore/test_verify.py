"""``backup --verify``: what was stored is read back from the storage, and compared with the source."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.backup import BackupOptions, Result, StreamSource, backup, backup_stream
from restic_format.errors import FileMissing, Interrupted, ResticFormatError
from restic_format.explore import verify as module
from restic_format.explore.verify import SourceChanged, Verified, VerifyEvent, VerifyFailed, verify_backup
from restic_format.repository import Repository
from restic_format.snapshots import stat
from restic_format.storage import LocalStorage, MemoryStorage
from restic_format.storage.cachefolder import CacheFolder
from restic_format.storage.faulty import Call, Fail, Fault, FaultyStorage, Garble
from restic_format.work import Cancel
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from restic_spec.tree import Node
from restic_tools.cli import main
from tests.restore.kit import PASSWORD, Maker, cheap_repo, memory_repo, ours


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Files of several kinds, in a folder that is the current directory."""
    folder = tmp_path / "source"
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "a").write_bytes(b"a" * 3000)
    (folder / "b").write_bytes(b"b" * 3000)
    (folder / "sub" / "big").write_bytes(os.urandom(3 << 20))
    (folder / "sub" / "deep" / "empty").touch()
    (folder / "sub" / "deep" / "link").symlink_to("empty")
    os.mkfifo(folder / "pipe")
    with open(bytes(folder) + b"/bad\xff name", "wb") as file:
        file.write(b"bytes")
    return folder


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    found = Repository.open(LocalStorage(str(cheap_repo(tmp_path / "repo"))), PASSWORD)
    found.load_index()
    return found


def save(repo: Repository, *targets: str | Path, **options: object) -> Result:
    return backup(repo, [str(target) for target in targets], BackupOptions(scan=False, **options))  # type: ignore[arg-type]


def verify(
    repo: Repository, result: Result, *targets: str | Path, as_path: str = "", parent: str | None = None
) -> tuple[Verified, dict[str, str], dict[str, str]]:
    """What is found, the faults by path, the changes by path."""
    faults, changes = {}, {}

    def progress(event: VerifyEvent) -> None:
        if isinstance(event, VerifyFailed):
            faults[event.item] = str(event.error)
        elif isinstance(event, SourceChanged):
            changes[event.item] = event.reason

    found = verify_backup(
        repo,
        bytes.fromhex(result.tree),
        [str(target) for target in targets] if targets else None,
        snapshot_id=bytes.fromhex(result.snapshot_id) if result.snapshot_id else None,
        as_path=as_path,
        parent=bytes.fromhex(parent) if parent else None,
        progress=progress,
    )
    assert (found.faults, found.changed) == (len(faults), len(changes))
    return found, faults, changes


def node_of(repo: Repository, result: Result, path: str | Path) -> Node:
    found = stat(repo, bytes.fromhex(result.tree), str(path))
    assert found is not None
    return found


def damage(repo: Repository, kind: BlobType, blob: str) -> None:
    """Flip a bit of a blob where it is stored."""
    where = repo.index.lookup(kind, bytes.fromhex(blob))
    assert where is not None
    path = Path(repo.storage.location) / "data" / where.pack.hex()[:2] / where.pack.hex()
    raw = bytearray(path.read_bytes())
    raw[where.offset + where.length // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(raw)


def test_a_good_backup_is_found_good(repo: Repository, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = save(repo, source)
    found, faults, changes = verify(repo, result, source)
    assert not faults and not changes
    assert found.files == 5 and found.bytes == 6005 + (3 << 20)
    assert found.blobs == len(node_of(repo, result, source / "sub/big").blobs) + 3
    # Relative targets, several of them, one within another, and names that meet.
    monkeypatch.chdir(source)
    for targets in ([".", "sub/deep"], ["a", "../source/a", "sub"], ["../source/../source/sub"]):
        found, faults, changes = verify(repo, save(repo, *targets), *targets)
        assert not faults and not changes and found.files >= 2
    for as_path in ("/else/where", "/"):
        found, faults, changes = verify(repo, save(repo, source, as_path=as_path), source, as_path=as_path)
        assert not faults and not changes and found.files == 5


def test_a_blob_that_cannot_be_read_back_is_an_error_naming_file_and_blob(repo: Repository, source: Path) -> None:
    result = save(repo, source)
    blob = node_of(repo, result, source / "a").blobs[0]
    damage(repo, BlobType.DATA, blob)
    found, faults, changes = verify(repo, result, source)
    assert list(faults) == [f"{source}/a"] and blob in faults[f"{source}/a"] and not changes
    assert found.files == 4


def test_a_tree_that_cannot_be_read_back_is_named_also_when_a_cache_has_it(
    repo: Repository, source: Path, tmp_path: Path
) -> None:
    repo.use_cache(CacheFolder(str(tmp_path / "cache"), repo.id))
    result = save(repo, source)
    tree = node_of(repo, result, source / "sub").subtree
    assert tree is not None and repo.load_blob(BlobType.TREE, bytes.fromhex(tree))  # it is in the cache now
    damage(repo, BlobType.TREE, tree)
    assert repo.load_blob(BlobType.TREE, bytes.fromhex(tree))
    found, faults, _ = verify(repo, result, source)
    assert list(faults) == [f"{source}/sub"] and tree[:8] in faults[f"{source}/sub"]
    assert found.files == 3


def test_an_index_that_is_not_there_is_noticed_although_it_is_in_memory(repo: Repository, source: Path) -> None:
    result = save(repo, source)
    for name, _ in list(repo.storage.list(FileKind.INDEX)):
        repo.storage.remove(FileKind.INDEX, name)
    found, faults, _ = verify(repo, result, source)
    assert list(faults) == ["/"] and found.files == 0


def test_a_snapshot_that_is_not_there_is_an_error(repo: Repository, source: Path) -> None:
    result = save(repo, source)
    repo.storage.remove(FileKind.SNAPSHOT, result.snapshot_id or "")
    with pytest.raises(FileMissing):
        verify(repo, result, source)


def test_what_has_changed_since_is_told_and_is_no_error(repo: Repository, source: Path) -> None:
    result = save(repo, source)
    before = (source / "a").stat()
    (source / "a").write_bytes(b"x" * 3000)
    os.utime(source / "a", ns=(before.st_atime_ns, before.st_mtime_ns))  # the ctime tells all the same
    (source / "b").write_bytes(b"longer" * 3000)
    (source / "sub" / "deep" / "empty").unlink()
    (source / "sub" / "deep" / "link").unlink()
    (source / "sub" / "deep" / "link").symlink_to("elsewhere")
    (source / "sub" / "big").unlink()
    (source / "sub" / "big").symlink_to("a")
    _, faults, changes = verify(repo, result, source)
    assert not faults
    assert set(changes) == {f"{source}/{name}" for name in ("a", "b", "sub/deep/empty", "sub/deep/link", "sub/big")}


def test_a_file_that_was_only_touched_is_compared_all_the_same(repo: Repository, source: Path) -> None:
    result = save(repo, source)
    os.utime(source / "a")
    found, faults, changes = verify(repo, result, source)
    assert not faults and not changes and found.files == 5


def test_content_that_is_not_the_sources_is_an_error(repo: Repository, source: Path) -> None:
    result = save(repo, source)
    a, b = (node_of(repo, result, source / name) for name in ("a", "b"))
    # As if the backup had mixed up two files, and the symlink's target.
    a.content = b.content
    link = node_of(repo, result, source / "sub/deep/link")
    link.linktarget = "other"
    short = node_of(repo, result, source / "sub/big")
    short.content = list(short.blobs)[:-1]
    maker = Maker(repo)
    entries = [a, maker.folder("sub", [short, maker.folder("deep", [link])])]
    for name in reversed(source.parts[1:]):
        entries = [maker.folder(name, entries)]
    result.tree, result.snapshot_id = maker.finish(entries).hex(), None
    _, faults, changes = verify(repo, result, source)
    assert not changes
    assert set(faults) == {f"{source}/{name}" for name in ("a", "sub/big", "sub/deep/link")}
    assert f"from data blob {b.blobs[0]} on" in faults[f"{source}/a"]
    assert "from its end on" in faults[f"{source}/sub/big"]


def test_unchanged_files_are_read_back_too_unless_only_new_ones_are_wanted(repo: Repository, source: Path) -> None:
    first = save(repo, source)
    damage(repo, BlobType.DATA, node_of(repo, first, source / "a").blobs[0])
    (source / "b").write_bytes(b"new")
    parent = repo.load_snapshot(bytes.fromhex(first.snapshot_id or ""))
    second = save(repo, source, parent=parent, parent_id=first.snapshot_id)
    _, faults, _ = verify(repo, second, source)
    assert list(faults) == [f"{source}/a"]
    found, faults, changes = verify(repo, second, source, parent=first.tree)
    assert not faults and not changes and (found.files, found.bytes, found.blobs) == (1, 3, 1)
    damage(repo, BlobType.DATA, node_of(repo, second, source / "b").blobs[0])
    _, faults, _ = verify(repo, second, source, parent=first.tree)
    assert list(faults) == [f"{source}/b"]


def test_of_a_stream_what_is_stored_is_verified(repo: Repository, tmp_path: Path) -> None:
    with open(tmp_path / "input", "w+b") as file:
        file.write(b"stream" * 1000)
        file.seek(0)
        result = backup_stream(repo, StreamSource(file.fileno()), "name", BackupOptions())
    found, faults, changes = verify(repo, result)
    assert not faults and not changes and (found.files, found.blobs) == (0, 1)
    damage(repo, BlobType.DATA, node_of(repo, result, "/name").blobs[0])
    _, faults, _ = verify(repo, result)
    assert list(faults) == ["/name"]


def test_another_copy_of_a_blob_does(repo: Repository, source: Path) -> None:
    result = save(repo, source / "a")
    blob = node_of(repo, result, source / "a").blobs[0]
    before = {name for name, _ in repo.storage.list(FileKind.PACK)}
    other = Repository.open(LocalStorage(repo.storage.location), PASSWORD)  # it knows no index, so it stores the blob again
    other_result = save(other, source / "a")
    assert {name for name, _ in repo.storage.list(FileKind.PACK)} - before
    damage(repo, BlobType.DATA, blob)
    _, faults, _ = verify(repo, other_result, source / "a")
    assert not faults


@pytest.mark.parametrize("kind", [FileKind.PACK, FileKind.INDEX, FileKind.SNAPSHOT])
def test_a_storage_that_loses_or_garbles_what_it_says_it_has_stored_is_noticed(kind: FileKind, source: Path) -> None:
    faults_of: list[Fault] = []

    def plan(call: Call) -> Fault | None:
        return faults_of[-1] if faults_of and call.kind is kind and call.operation == "load" else None

    storage = FaultyStorage(MemoryStorage(), plan)
    repo = memory_repo(storage)
    repo.load_index()
    result = save(repo, source)
    assert verify(repo, result, source)[1] == {}
    for fault in (Fail(), Garble()):
        faults_of.append(fault)
        try:
            _, faults, changes = verify(repo, result, source)
        except ResticFormatError:
            assert kind is not FileKind.PACK
        else:
            assert faults and not changes
    faults_of.clear()
    for name, _ in list(storage.list(kind)):
        storage.remove(kind, name)
    try:
        assert verify(repo, result, source)[1]
    except ResticFormatError:
        assert kind is FileKind.SNAPSHOT


def test_it_ends_when_it_is_cancelled(repo: Repository, source: Path) -> None:
    result = save(repo, source)
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Interrupted):
        verify_backup(repo, bytes.fromhex(result.tree), [str(source)], cancel=cancel)


def test_the_command_tells_the_outcome_before_the_summary(repo: Repository, source: Path, peer: Callable[[str], Path]) -> None:
    folder = Path(repo.storage.location)
    done = ours(folder, "backup", "--verify", str(source))
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode()
    assert "compared 5 files (3.006 MiB) with the source" in text and text.index("verified") < text.index("saved")
    done = ours(folder, "backup", "--verify", "--verify-new-only", "--json", str(source))
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    assert [message["message_type"] for message in messages[-2:]] == ["verified", "summary"]
    assert messages[-2]["snapshot_id"] == messages[-1]["snapshot_id"] and messages[-2]["files_compared"] == 0
    done = ours(folder, "backup", "--verify", "--stdin-from-command", "echo", "x")
    assert done.returncode == 0 and b"nothing was compared" in done.stdout
    for words in (["--verify", "--dry-run"], ["--verify-new-only"]):
        assert ours(folder, "backup", *words, str(source)).returncode == 1


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_command_whose_backup_is_not_good_fails_and_names_the_snapshot(
    repo: Repository, source: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    original = module.verify_backup

    def damaged(repository: Repository, tree: bytes, *args: object, **more: object) -> Verified:
        node = stat(repository, tree, f"{source}/a")
        assert node is not None
        damage(repository, BlobType.DATA, node.blobs[0])
        return original(repository, tree, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("restic_tools.verifyprint.verify_backup", damaged)
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    code = main(["-r", repo.storage.location, "--no-cache", "backup", "--verify", *options, str(source)])
    out, err = capfd.readouterr()
    assert code == 1 and f"{source}/a" in err
    names = [name for name, _ in repo.storage.list(FileKind.SNAPSHOT)]
    assert len(names) == 1 and f"snapshot {names[0][:8]} is stored, but verifying it has found 1 errors" in err
    assert names[0][:8] in out, "the summary is told all the same"


@pytest.mark.parametrize("error", [Interrupted("a signal"), ResticFormatError("gone")])
def test_a_snapshot_is_told_of_when_verifying_it_does_not_end(
    repo: Repository, source: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], error: BaseException
) -> None:
    def ended(*args: object, **more: object) -> Verified:
        raise error

    monkeypatch.setattr("restic_tools.verifyprint.verify_backup", ended)
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    code = main(["-r", repo.storage.location, "--no-cache", "--json", "backup", "--verify", str(source)])
    out, _ = capfd.readouterr()
    [(name, _)] = repo.storage.list(FileKind.SNAPSHOT)
    assert code == (130 if isinstance(error, Interrupted) else 1)
    assert json.loads(out.splitlines()[-1])["snapshot_id"] == name
