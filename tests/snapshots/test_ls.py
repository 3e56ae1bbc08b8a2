"""``ls`` of snapshots in which something is wrong, and of large ones."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from restic_format.repository import Repository
from restic_format.storage import LocalStorage
from restic_spec.pack import BlobType
from restic_spec.snapshot import Snapshot
from restic_tools.cli import main
from tests.restore.kit import PASSWORD, Maker, cheap_repo, environment, ours, ours_command


def opened(path: Path) -> Repository:
    return Repository.open(LocalStorage(str(path)), PASSWORD)


def save(maker: Maker, root: bytes, **fields: str) -> None:
    maker.writer.flush()
    maker.repo.save_snapshot(Snapshot(time="2024-01-02T03:04:05Z", tree=root.hex(), paths=["/x"], **fields))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return cheap_repo(tmp_path / "repo")


@pytest.mark.parametrize("form", ["text", "json", "ncdu"])
def test_damage_is_told_and_the_rest_listed(path: Path, form: str) -> None:
    maker = Maker(opened(path))
    rotten = maker.writer.save_blob(BlobType.TREE, b'{"nodes":[{"name":{"a":1}}]}').id.hex()
    entries = [
        maker.node("a", "dir", 0, subtree=rotten),
        maker.node("b", "dir", 0, subtree="11" * 32),
        maker.node("c", "dir", 0),
        maker.node("d/e", "fifo", 0),
        maker.folder("f", [maker.node("g", "fifo", 0)]),
    ]
    save(maker, maker.tree(entries))
    done = ours(path, "ls", "latest", *([] if form == "text" else [f"--{form}"]))
    assert done.returncode == 1 and b"Traceback" not in done.stderr
    told = done.stderr.decode().splitlines()
    if form == "json":
        assert [json.loads(line)["item"] for line in told[:-1]] == ["/a", "/b", "/c", "/d/e"]
        listed = [json.loads(line).get("path") for line in done.stdout.splitlines()[1:]]
        assert listed == ["/a", "/b", "/c", "/f", "/f/g"]
        return
    assert [line.split(":")[0] for line in told[:-1]] == [f"ignoring error for /{name}" for name in ("a", "b", "c", "d/e")]
    assert told[-1] == "Fatal: There were 4 errors"
    if form == "ncdu":
        root = json.loads(done.stdout)[3]
        assert [entry["name"] if isinstance(entry, dict) else entry[0]["name"] for entry in root] == ["/", "a", "b", "c", "f"]
    else:
        assert done.stdout.decode().splitlines()[1:] == ["/a", "/b", "/c", "/f", "/f/g"]


@pytest.mark.parametrize("arguments", [[], ["--json"], ["--ncdu"]])
def test_a_tree_that_is_mostly_repetition_takes_little_memory(path: Path, arguments: list[str]) -> None:
    """600,000 nodes in 15 MiB that are stored in a few KiB: decoded at once they would take 300 MiB."""
    maker = Maker(opened(path))
    nodes = b",".join(b'{"name":"%07d","type":"f"}' % number for number in range(600_000))
    root = maker.writer.save_blob(BlobType.TREE, b'{"nodes":[' + nodes + b"]}").id
    save(maker, root)
    command = ["/usr/bin/env", "python3", "-c", MEASURE, *ours_command(path, "ls", "latest", *arguments)]
    done = subprocess.run(command, env=environment(), capture_output=True, check=True)
    code, kibibytes = done.stderr.split()
    assert code == b"0" and int(kibibytes) < 96 << 10


MEASURE = """
import os, resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
"""


def test_control_characters_do_not_reach_a_terminal(path: Path) -> None:
    maker = Maker(opened(path))
    save(maker, maker.tree([maker.symlink("a\x1b[2J", "b\x1b[3J")]), hostname="h\x1b[4J", username="u\x1b[5J")
    ours_end, their_end = pty.openpty()
    subprocess.run(ours_command(path, "ls", "--long", "latest"), env=environment(), stdout=their_end, check=True)
    os.close(their_end)
    shown = b""
    try:
        while piece := os.read(ours_end, 4096):
            shown += piece
    except OSError:
        pass
    os.close(ours_end)
    for number in (2, 3, 4, 5):
        assert b"\x1b[%dJ" % number not in shown and b"\\x1b[%dJ" % number in shown


HOSTILE = {
    "ids that are not hexadecimal": b'{"name":"a","type":"dir","subtree":"zz"},{"name":"b","type":"file","content":["gg"]}',
    "ids that are too short": b'{"name":"a","type":"dir","subtree":"abcd"},{"name":"b","type":"file","content":["ab"]}',
    "a name that is an object": b'{"name":{"x":1},"type":"dir"}',
    "fractions": b'{"name":"a","type":"file","size":1.5,"content":[]},{"name":"b","type":"file","mode":1e3,"content":[]}',
    "exponents": b'{"name":"a","type":"file","size":1e2,"uid":1.0,"inode":1e1,"content":[]}',
    "an invalid time": b'{"name":"a","type":"file","mtime":"garbage","content":[]}',
    "huge numbers": b'{"name":"a","type":"file","size":99999999999999999999999,"content":[]}',
    "a huge inode": b'{"name":"a","type":"file","inode":99999999999999999999999,"content":[]}',
    "far times": b'{"name":"a","type":"file","mtime":"9999-12-31T23:59:59.9Z","content":[]},'
    b'{"name":"b","type":"file","mtime":"0000-01-01T00:00:00Z","content":[]}',
    "an odd type": b'{"name":"a","type":"\\u001b[2J","mode":4294967295,"linktarget":"x","content":null}',
}


@pytest.mark.parametrize("nodes", HOSTILE.values(), ids=HOSTILE)
def test_hostile_nodes_end_in_lines_and_never_in_python_errors(
    path: Path, tmp_path: Path, nodes: bytes, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    maker = Maker(opened(path))
    save(maker, maker.writer.save_blob(BlobType.TREE, b'{"nodes":[' + nodes + b"]}").id)
    target = str(tmp_path / "target")
    for command in (
        ["ls", "latest"],
        ["ls", "-l", "latest", "--sort", "time"],
        ["ls", "--json", "latest"],
        ["ls", "--ncdu", "latest"],
        ["ls", "latest:a"],
        ["cat", "tree", "latest:a"],
        ["restore", "latest", "--target", target],
        ["restore", "latest", "--target", target, "--json", "-vv", "--delete"],
    ):
        code = main(["--no-cache", "-r", str(path), *command])
        assert code in (0, 1), command
        told = capfdbinary.readouterr().err.decode()
        assert "Traceback" not in told and "unexpected" not in told and "\x1b" not in told, (command, told)
        assert (code == 0) is (not told), (command, told)
