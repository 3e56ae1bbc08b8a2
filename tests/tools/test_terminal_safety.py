"""Nothing that comes from a repository acts on the terminal or forges a line of its own, whatever field it stands in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from restic_format.repository import Repository
from restic_format.repository import lock as lock_module
from restic_format.storage import LocalStorage
from restic_format.words import printable, visible
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from restic_tools.output import Output
from tests.tools.kit import PASSWORD, Outcome, Runner, new_repository

MARKER = "\x1b]0;taken\x07\x9b31m\u202eesrever\x7f\b\r\nFORGED line\t"
ACTING = (b"\x1b]", b"\x07", b"\xc2\x9b", "\u202e".encode(), b"\x7f", b"\b")
TIME = "2024-02-29T10:00:00Z"

SNAPSHOT: dict[str, object] = {
    "time": TIME,
    "parent": "0" * 64,
    "tree": "",
    "paths": ["/src"],
    "hostname": "host",
    "username": "user",
    "excludes": ["*.o"],
    "tags": ["tag"],
    "original": "0" * 64,
    "program_version": "restic 0.19.1",
    "summary": {"backup_start": TIME, "backup_end": TIME, "files_new": 1},
}
NODE: dict[str, object] = {
    "name": "file",
    "type": "file",
    "mode": 0o644,
    "mtime": TIME,
    "atime": TIME,
    "ctime": TIME,
    "uid": 0,
    "gid": 0,
    "user": "root",
    "group": "root",
    "size": 0,
    "links": 1,
    "content": [],
}
LOCK: dict[str, object] = {
    "time": TIME,
    "exclusive": False,
    "hostname": "host",
    "username": "user",
    "pid": 1,
}


def marked(document: dict[str, object]) -> Iterator[dict[str, object]]:
    """The document with the marker in one field after the other, within lists and objects too, and as an unknown field."""
    for name, value in document.items():
        yield {**document, name: MARKER}
        if isinstance(value, list):
            yield {**document, name: [MARKER]}
        if isinstance(value, dict):
            yield from ({**document, name: inner} for inner in marked(value))
    yield {**document, MARKER: MARKER}


def encoded(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()


def fill(folder: Path) -> list[str]:
    """Write every marked document into a repository; gives the ids of the snapshots."""
    new_repository(folder)
    repo = Repository.open(LocalStorage(str(folder)), PASSWORD)
    writer = repo.writer()
    repo.load_index()
    nodes = list(marked(NODE))
    nodes += [{**NODE, "type": "symlink", "linktarget": MARKER}, {**NODE, "type": "dir", "subtree": MARKER}]
    nodes += [{**NODE, "extended_attributes": [{"name": MARKER, "value": "eA=="}]}, {**NODE, "error": MARKER}]
    nodes += [{**NODE, "generic_attributes": {f"windows.{MARKER}": MARKER}}, {**NODE, "content": ["0" * 64], "name": MARKER}]
    nodes += [{**NODE, "type": "dir", "subtree": "1" * 64, "name": MARKER}]
    plain = writer.save_blob(BlobType.TREE, encoded({"nodes": [NODE]})).id.hex()
    trees = [writer.save_blob(BlobType.TREE, encoded({"nodes": [node]})).id.hex() for node in nodes]
    trees.append(writer.save_blob(BlobType.TREE, encoded({"nodes": MARKER})).id.hex())
    writer.flush()
    documents = [{**document, "tree": document["tree"] or plain} for document in marked(SNAPSHOT)]
    documents += [{**SNAPSHOT, "tree": tree} for tree in trees]
    return [repo.save_unpacked(FileKind.SNAPSHOT, encoded(document)).hex() for document in documents]


@pytest.fixture
def terminal(run: Runner, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Run a command as if on a terminal, and look at all that it writes."""
    monkeypatch.setattr(Output, "stdout_is_terminal", True)
    monkeypatch.setenv("TERM", "dumb")

    def call(*words: str) -> Outcome:
        outcome = run(*words)
        for text in (outcome.out, outcome.err):
            for acting in ACTING:
                assert acting not in text, (words, text)
            assert not any(line.startswith(b"FORGED") for line in text.replace(b"\r", b"\n").split(b"\n")), (words, text)
        return outcome

    return call


@pytest.fixture
def forged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[str]]:
    """A repository full of markers, named in the environment with its password."""
    folder = tmp_path / "forged"
    monkeypatch.setenv("RESTIC_REPOSITORY", str(folder))
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    return folder, fill(folder)


def test_commands_over_all_snapshots(forged: tuple[Path, list[str]], terminal: Callable[..., Outcome]) -> None:
    for words in (
        ["snapshots"],
        ["snapshots", "--compact"],
        ["snapshots", "--group-by", "host,paths,tags"],
        ["check"],
        ["check", "-v"],
        ["check", "--read-data", "-vv"],
        ["list", "snapshots"],
        ["list", "blobs"],
        ["ls", "latest", "--host", MARKER],
        ["snapshots", MARKER],
        ["ls", MARKER],
        ["find", MARKER, "--snapshot", MARKER],
        ["find", "--blob", MARKER, "--show-pack-id"],
        ["find", "--pack", MARKER],
        ["find", "--oldest", MARKER, "x"],
        ["find", f"[{MARKER}"],
        ["cat", "snapshot", MARKER],
        ["restore", MARKER, "--target", "/nowhere"],
        [MARKER],
        ["snapshots", f"--{MARKER}"],
        ["-r", f"/no{MARKER}", "snapshots"],
        ["-p", f"/no{MARKER}", "snapshots"],
    ):
        terminal(*words)


def test_commands_on_one_snapshot(forged: tuple[Path, list[str]], terminal: Callable[..., Outcome], tmp_path: Path) -> None:
    _, ids = forged
    for number, name in enumerate(ids):
        terminal("ls", "--long", name)
        terminal("find", "--long", "--snapshot", name, "*")
        terminal("restore", name, "--target", str(tmp_path / str(number)), "-vv", "--delete")


@pytest.mark.parametrize("number", range(len(list(marked(LOCK)))))
def test_locks(number: int, empty: Path, terminal: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module.time, "sleep", lambda seconds: None)  # a lock that cannot be read is read again
    lock = list(marked({**LOCK, "time": "2999-01-01T00:00:00Z"}))[number]
    repo = Repository.open(LocalStorage(str(empty)), PASSWORD)
    repo.save_unpacked(FileKind.LOCK, encoded(lock))
    for words in (["check"], ["unlock"], ["list", "locks"], ["key", "list"], ["unlock", "--remove-all"]):
        terminal(*words)


def test_keys(empty: Path, terminal: Callable[..., Outcome]) -> None:
    from restic_spec.ids import id_of

    (path,) = (empty / "keys").iterdir()
    for document in marked(json.loads(path.read_bytes())):
        raw = encoded(document)
        (empty / "keys" / id_of(raw).hex()).write_bytes(raw)
    for words in (["key", "list"], ["check"], ["check", "-vv"], ["snapshots"]):
        terminal(*words)


def test_indexes(empty: Path, terminal: Callable[..., Outcome]) -> None:
    repo = Repository.open(LocalStorage(str(empty)), PASSWORD)
    blob = {"id": "0" * 64, "type": "data", "offset": 0, "length": 40, "uncompressed_length": 5}
    for entry in marked(blob):
        repo.save_unpacked(FileKind.INDEX, encoded({"packs": [{"id": "1" * 64, "blobs": [entry]}]}))
    repo.save_unpacked(FileKind.INDEX, encoded({"packs": [{"id": MARKER, "blobs": []}], "supersedes": [MARKER]}))
    for words in (["list", "blobs"], ["check"], ["check", "-vv"], ["ls", "latest"], ["cat", "blob", "0" * 64]):
        terminal(*words)
    for index in (empty / "index").iterdir():
        for other in (empty / "index").iterdir():
            if other != index:
                other.rename(empty / other.name)
        for words in (["list", "blobs"], ["check", "-v"]):
            terminal(*words)
        for other in empty.glob("?" * 64):
            other.rename(empty / "index" / other.name)


def test_stray_files(empty: Path, terminal: Callable[..., Outcome]) -> None:
    name = MARKER.replace("/", "").encode("utf-8", "surrogateescape")
    for folder in ("data", "data/00", "index", "keys", "locks", "snapshots", "."):
        with open(bytes(empty / folder) + b"/" + name, "wb") as file:
            file.write(b"x")
        (empty / folder).joinpath("\x1b]0;folder\x07").mkdir()
    for words in (["check", "-vv"], ["snapshots"], ["list", "packs"], ["unlock"], ["unlock", "--remove-all"]):
        terminal(*words)


def test_what_is_backed_up(empty: Path, terminal: Callable[..., Outcome], tmp_path: Path) -> None:
    source = tmp_path / f"source{MARKER}"
    source.mkdir()
    (source / MARKER).write_text("x")
    (source / "loop").symlink_to(source / MARKER)
    for words in (["-vv"], ["-vv", "--dry-run"], ["--tag", MARKER, "--host", MARKER, "-v"], ["--exclude", MARKER]):
        terminal("backup", str(source), str(tmp_path / f"no{MARKER}"), *words)
    terminal("backup", str(source), "--files-from", str(tmp_path / f"no{MARKER}"))
    terminal("backup", str(source), "--exclude", f"[{MARKER}")


def test_what_is_left_as_it_is() -> None:
    for text in ("plain", "ä ö ü", "日本語 👩‍👩‍👧", "\udcff\udca0"):
        assert visible(text) == text
    assert visible("a\x1b[31m\x9b\u202e\udc9b\r") == r"a\x1b[31m\x9b\u202e\x9b\x0d"
    assert visible("two\nlines") == r"two\nlines"
    assert visible("two\nlines\r", block=True) == "two\nlines\\x0d"
    assert printable("a\nb") == r'"a\nb"'
    assert printable("日本語") == "日本語"
