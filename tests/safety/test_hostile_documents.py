"""Documents whose members are of the wrong kind: a clear error in every command, and refused where restic refuses them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from restic_tools.cli import main
from tests.safety import kit
from tests.safety.forge import TIME, Forge, node, tree_json

ID = "ab" * 32
REFUSED_NODES: dict[str, str] = {
    "a name that is an object": '"name":{"a":1}',
    "a name that is not a quoted string": '"name":"a\\\\q"',
    "a size with a fraction": '"size":1.0',
    "a size with an exponent": '"size":1e3',
    "a size below zero": '"size":-1',
    "a size that is text": '"size":"1"',
    "a size that is true": '"size":true',
    "a mode beyond 32 bits": '"mode":4294967296',
    "an owner with a fraction": '"uid":0.5',
    "an inode beyond 64 bits": '"inode":18446744073709551616',
    "a device number far beyond 64 bits": '"device":1000000000000000000000000',
    "an invalid time": '"mtime":"yesterday"',
    "a time on a day that is none": '"atime":"2023-02-29T00:00:00Z"',
    "a time that is a number": '"ctime":5',
    "content that is not hexadecimal": f'"content":["{"zz" * 32}"]',
    "content that is cut short": '"content":["abcd"]',
    "content that is a number": '"content":[5]',
    "content with a null in it": '"content":[null]',
    "content that is an object": '"content":{"a":1}',
    "a subtree that is not hexadecimal": f'"subtree":"{"zz" * 32}"',
    "a subtree that is cut short": '"subtree":"ab"',
    "a type that is a list": '"type":["file"]',
    "an attribute that is no base64": '"extended_attributes":[{"name":"user.a","value":"*"}]',
}
NULLS = ("mode", "mtime", "uid", "user", "inode", "size", "links", "linktarget", "device", "content", "subtree", "error")
ACCEPTED_NODES: dict[str, str] = {
    **{f"{name} that is null": f'"{name}":null' for name in NULLS},
    "the last inode": '"inode":18446744073709551615',
}
REFUSED_SNAPSHOTS: dict[str, str] = {
    "an invalid time": '"time":"soon"',
    "a time that is a number": '"time":1',
    "a tree that is not hexadecimal": f'"tree":"{"zz" * 32}"',
    "a parent that is cut short": '"parent":"ab"',
    "an original that is a number": '"original":5',
    "paths that are a text": '"paths":"/x"',
    "a tag that is a number": '"tags":[1]',
    "an owner beyond 32 bits": '"uid":4294967296',
    "a summary that is a list": '"summary":[]',
    "a count with a fraction": '"summary":{"files_new":1.5}',
    "a count below zero": '"summary":{"files_new":-1}',
    "a start that is an object": '"summary":{"backup_start":{}}',
    "an end that is not a time": '"summary":{"backup_end":"later"}',
}
ACCEPTED_SNAPSHOTS: dict[str, str] = {
    name: f'"{name}":null' for name in ("parent", "paths", "hostname", "uid", "excludes", "tags", "original", "summary")
} | {"a count that is null": '"summary":{"files_new":null}', "a summary with little in it": '"summary":{"later":1}'}
REFUSED_LOCKS: dict[str, str] = {
    "an invalid time": '"time":"x"',
    "a number with a fraction": '"pid":1.5',
    "a number with an exponent": '"uid":1e1',
    "a number beyond 64 bits": '"pid":9223372036854775808',
    "a host that is a list": '"hostname":[]',
    "a text for yes": '"exclusive":"true"',
}


def replaced(document: dict[str, Any], member: str) -> bytes:
    """*document* with *member* (``"name":value``) in the place of the one with this name, or at its end."""
    name = json.loads(member.partition(":")[0])
    members = {known: f"{json.dumps(known)}:{json.dumps(value)}" for known, value in document.items()}
    return ("{" + ",".join({**members, name: member}.values()) + "}").encode()


class Documents:
    """A repository with one hostile document of a kind for each case."""

    def __init__(self, path: Path) -> None:
        self.forge = Forge(path)
        self.path = path
        self.trees: dict[str, str] = {}
        packs = {}
        for case, member in {**REFUSED_NODES, **ACCEPTED_NODES}.items():
            raw = b'{"nodes":[' + replaced(node("a"), member) + b"]}\n"
            tree = self.forge.blob("tree", raw)
            packs[self.forge.pack([tree])] = [tree]
            self.trees[case] = self.forge.snapshot(tree[1])
        good = self.forge.blob("tree", tree_json([node("a")]))
        packs[self.forge.pack([good])] = [good]
        self.forge.index(packs)
        plain = {"time": TIME, "tree": good[1], "paths": ["/x"], "hostname": "h", "username": "u"}
        self.snapshots = {
            case: self.forge.store("snapshots", self.forge.sealed(replaced(plain, member)))
            for case, member in {**REFUSED_SNAPSHOTS, **ACCEPTED_SNAPSHOTS}.items()
        }


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Documents:
    return Documents(tmp_path_factory.mktemp("documents") / "repo")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """One of our command lines in this process: exit code, output, errors."""
    monkeypatch.setenv("RESTIC_PASSWORD", kit.PASSWORD)

    def call(repo: Path, *words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main(["--no-cache", "--no-lock", "-r", str(repo), *words])
        return code, *capfd.readouterr()

    yield call


def sound(error: str) -> bool:
    """Whether every line is one a person was meant to read."""
    return "Traceback" not in error and "unexpected" not in error and "Error:" not in error


@pytest.mark.clause("GOJSON-13", "GOJSON-14", "TREE-5", "TREE-7", "TREE-8", "TREE-11", "TREE-13", "TREE-14", "TREE-21")
@pytest.mark.parametrize("case", [*REFUSED_NODES, *ACCEPTED_NODES])
def test_a_node_is_refused_where_restic_refuses_it(
    case: str, documents: Documents, run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    snapshot = documents.trees[case]
    theirs = kit.restic(documents.path, "--no-lock", "ls", snapshot, check=False)
    assert (theirs.returncode == 0) is (case in ACCEPTED_NODES), theirs.stderr
    for words in (["ls"], ["ls", "--json"], ["ls", "--ncdu"], ["ls", "-l", "--sort", "time"]):
        code, out, error = run(documents.path, *words, snapshot)
        assert (code == 0) is (case in ACCEPTED_NODES), f"{words}: {error}"
        assert sound(error) and sound(out)
        assert code == 0 or "tree" in error
    code, _, error = run(documents.path, "cat", "tree", f"{snapshot}:")
    assert code == 0 and sound(error)
    code, _, error = run(documents.path, "restore", snapshot, "--target", str(tmp_path / "target"))
    assert sound(error)
    assert (code == 0) is (case in ACCEPTED_NODES), error


@pytest.mark.clause("GOJSON-13", "SNAP-3", "SNAP-4", "SNAP-6", "SNAP-7", "SNAP-9")
@pytest.mark.parametrize("case", [*REFUSED_SNAPSHOTS, *ACCEPTED_SNAPSHOTS])
def test_a_snapshot_is_refused_where_restic_refuses_it(
    case: str, documents: Documents, run: Callable[..., tuple[int, str, str]]
) -> None:
    snapshot = documents.snapshots[case]
    theirs = kit.restic(documents.path, "--no-lock", "cat", "snapshot", snapshot, check=False)
    assert (theirs.returncode == 0) is (case in ACCEPTED_SNAPSHOTS), theirs.stderr
    for words in (["cat", "snapshot"], ["ls", "--json"], ["ls", "--ncdu"], ["snapshots"]):
        code, out, error = run(documents.path, *words, snapshot)
        assert sound(error) and sound(out)
        if words != ["snapshots"]:
            assert (code == 0) is (case in ACCEPTED_SNAPSHOTS), f"{words}: {error}"
        if case in REFUSED_SNAPSHOTS:
            assert snapshot[:8] in error and "\n" not in error.strip()


def test_one_bad_snapshot_does_not_hide_the_others(documents: Documents, run: Callable[..., tuple[int, str, str]]) -> None:
    # Those that restic shows, and a line about each of the others.
    theirs = json.loads(kit.restic(documents.path, "--no-lock", "snapshots", "--json").stdout)
    code, out, error = run(documents.path, "snapshots", "--json")
    assert code == 0
    assert {shown["id"] for shown in json.loads(out)} == {shown["id"] for shown in theirs}
    assert len(theirs) == len(documents.trees) + len(ACCEPTED_SNAPSHOTS)
    for case in REFUSED_SNAPSHOTS:
        assert documents.snapshots[case] in error
    assert sound(error)
    code, out, error = run(documents.path, "snapshots", "--group-by", "host")
    assert code == 0 and sound(error)


def test_check_names_every_bad_tree_and_snapshot(documents: Documents, run: Callable[..., tuple[int, str, str]]) -> None:
    code, out, error = run(documents.path, "check", "-vv")
    assert code == 1
    assert sound(error) and sound(out)
    for case in REFUSED_SNAPSHOTS:
        assert documents.snapshots[case][:8] in error + out


@pytest.mark.clause("LOCK-1")
@pytest.mark.parametrize("case", REFUSED_LOCKS)
def test_a_lock_is_refused_where_restic_refuses_it(case: str, tmp_path: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    forge = Forge(tmp_path / "repo")
    plain = {"time": TIME, "exclusive": False, "hostname": "h", "username": "u", "pid": 1, "uid": 1, "gid": 1}
    bad = forge.store("locks", forge.sealed(replaced(plain, REFUSED_LOCKS[case])))
    stale = forge.document("locks", plain)
    theirs = kit.restic(forge.path, "--no-lock", "cat", "lock", bad, check=False)
    assert theirs.returncode == 1, theirs.stdout
    code, _, error = run(forge.path, "cat", "lock", bad)
    assert code == 1 and sound(error) and bad[:8] in error
    # What nobody can read may be held by somebody; the stale one goes.
    code, out, error = run(forge.path, "unlock")
    assert code == 0 and sound(error)
    assert "removed 1 locks" in out
    assert [path.name for path in (forge.path / "locks").iterdir()] == [bad]
    assert stale != bad


@pytest.mark.clause("RUSTIC-7", "GOJSON-13")
def test_an_index_with_lengths_that_are_null_is_read(tmp_path: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    # As rustic's prune writes it for blobs that are stored uncompressed.
    forge = Forge(tmp_path / "repo")
    raw = tree_json([node("a")])
    tree = forge.plain_blob("tree", raw)
    pack = forge.pack([tree])
    forge.index({pack: [tree]}, uncompressed_length=None)
    snapshot = forge.snapshot(tree[1])
    assert kit.restic(forge.path, "--no-lock", "ls", snapshot).stdout.splitlines()[-1] == "/a"
    code, out, error = run(forge.path, "ls", snapshot)
    assert (code, out.splitlines()[-1]) == (0, "/a"), error
    code, out, error = run(forge.path, "check", "--read-data")
    assert code == 0, out + error
    code, out, _ = run(forge.path, "list", "blobs")
    assert (code, out) == (0, f"tree {tree[1]}\n")
