"""Whoever can write to the storage must not be able to make a reader take all memory, or hang.

Each case runs in a process of its own, whose peak of memory is measured and whose address space is bounded.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
import zstandard

from restic_spec.crypto import seal
from tests.safety import kit
from tests.safety.forge import Forge, node, tree_json, zstd_bomb

GIB = 1 << 30
BOMB = 5 * GIB
"""More than 32 bits count, and than the address space of who reads it."""
PEAK_MIB = 450
"""An unpacked file may expand to 256 MiB before it is refused; a blob stays far below."""

SERVER = """
import json, os, resource, sys
from restic_format.check import CheckOptions, check
from restic_format.repository import Repository
from restic_format.storage import LocalStorage
from restic_spec.errors import ResticFormatError

def examine(path, password):
    resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
    try:
        report = check(Repository.open(LocalStorage(path), password), CheckOptions(read_data=True))
        said = [[f.code.value, f.object.name, f.rule, f.message] for f in report.findings]
    except ResticFormatError as error:
        said = [[type(error).__name__, "", "", str(error)]]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"said": said, "peak": peak}), flush=True)

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        examine(*json.loads(line))
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if status:
        print(json.dumps({"died": status}), flush=True)
"""

LIMITED = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024, file=sys.stderr)
sys.exit(code)
"""
"""Runs a program and then says its peak of memory in MiB."""


class BoundedCheck(Protocol):
    """Checks in a fresh process; what was found."""

    def __call__(self, repo: Path, peak: int = PEAK_MIB) -> list[list[str]]: ...


@pytest.fixture(scope="module")
def bounded_check() -> Iterator[BoundedCheck]:
    """`bounded_check(path)` checks in a fresh process; what was found. Fails where it takes *peak* MiB."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], env=kit.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdin is not None and server.stdout is not None
    ask, answers = server.stdin, server.stdout

    def run(repo: Path, peak: int = PEAK_MIB) -> list[list[str]]:
        ask.write(json.dumps([str(repo), kit.PASSWORD]) + "\n")
        ask.flush()
        answer = json.loads(answers.readline())
        assert "died" not in answer, f"ended with status {answer['died']}"
        assert answer["peak"] < peak, f"took {answer['peak']} MiB"
        said: list[list[str]] = answer["said"]
        return said

    yield run
    server.communicate()


BOMBS = {
    "announced": zstd_bomb(BOMB, announced=BOMB),
    "not announced": zstd_bomb(BOMB, announced=None),
    "announced as small": zstd_bomb(BOMB, announced=100),
    "announced as larger than anything": zstd_bomb(1 << 20, announced=(1 << 64) - 1),
}


@pytest.mark.clause("PACK-14", "PACK-12")
@pytest.mark.parametrize(
    ("kind", "claims"),
    [
        ("tree", 100),
        ("data", (1 << 32) - 1),
        pytest.param("data", 100, marks=pytest.mark.long),
        pytest.param("tree", (1 << 32) - 1, marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize("frame", BOMBS.values(), ids=BOMBS.keys())
def test_bombs_in_blobs(bounded_check: BoundedCheck, tmp_path: Path, frame: bytes, claims: int, kind: str) -> None:
    forge = Forge(tmp_path / "repo")
    bomb = forge.blob(kind, b"harmless", frame=frame, claims=claims)
    if kind == "data":
        forge.whole([node("f", content=[bomb[1]], size=claims)], [bomb])
    else:
        forge.index({forge.pack([bomb]): [bomb]})
        forge.snapshot(bomb[1])
    found = bounded_check(forge.path)
    assert ("pack-damaged" if kind == "data" else "tree-damaged") in [code for code, *_ in found]


@pytest.mark.clause("FILE-5")
@pytest.mark.parametrize("folder", ["snapshots", "index"])
@pytest.mark.parametrize("frame", BOMBS.values(), ids=BOMBS.keys())
def test_bombs_in_snapshots_and_indexes(bounded_check: BoundedCheck, tmp_path: Path, frame: bytes, folder: str) -> None:
    forge = Forge(tmp_path / "repo")
    forge.whole([node("f")])
    name = forge.compressed_document(folder, frame)
    code = {"snapshots": "snapshot-damaged", "index": "index-damaged"}[folder]
    assert [(said, what) for said, what, *_ in bounded_check(forge.path)] == [(code, name)]


@pytest.mark.clause("INDEX-5")
@pytest.mark.parametrize(
    "changes",
    [
        {"length": (1 << 32) - 1},
        {"offset": (1 << 32) - 1},
        {"length": (1 << 32) - 1, "offset": (1 << 32) - 1, "uncompressed_length": (1 << 32) - 1},
        {"length": 1 << 40},
        {"offset": 1 << 63},
        {"offset": -1},
        {"length": 0},
        {"length": 10 * GIB, "uncompressed_length": 10 * GIB},
        {"uncompressed_length": (1 << 32) - 1},
        {"length": 1.5},
        {"id": "zz" * 32},
        {"type": "portal"},
    ],
    ids=str,
)
def test_absurd_ranges_in_an_index(bounded_check: BoundedCheck, tmp_path: Path, changes: dict[str, object]) -> None:
    forge = Forge(tmp_path / "repo")
    data = forge.blob("data", b"content")
    forge.index({forge.pack([data]): [data]}, **changes)
    assert bounded_check(forge.path)


def sparse_pack(forge: Forge, size: int) -> str:
    """A pack that takes no room on the disk; its name is not its hash."""
    name = os.urandom(32).hex()
    place = forge.path / "data" / name[:2] / name
    place.parent.mkdir()
    place.touch()
    os.truncate(place, size)
    return name


@pytest.mark.clause("PACK-14")
@pytest.mark.parametrize(("kind", "where"), [("data", "alone"), ("tree", "behind others"), ("data", "overlapping")])
def test_blobs_over_the_bound_are_not_read_at_once(bounded_check: BoundedCheck, tmp_path: Path, kind: str, where: str) -> None:
    forge = Forge(tmp_path / "repo")
    length, ident = 600 << 20, "ab" * 32
    large = {"id": ident, "type": kind, "offset": 0, "length": length}
    small = {"id": "cd" * 32, "type": kind, "offset": 0, "length": 100}
    if where == "alone":
        blobs = [large]
    elif where == "behind others":
        blobs = [small, {**large, "offset": 100}]
    else:
        blobs = [{**small, "length": 300 << 20}, {**small, "length": 300 << 20}, large]
    size = sum(int(str(blob["length"])) + 37 for blob in blobs) + 36
    records = [{"id": sparse_pack(forge, size), "blobs": blobs}]
    if kind == "data":
        tree = forge.blob("tree", tree_json([node("f", content=[ident], size=length - 32)]))
        forge.index({forge.pack([tree]): [tree]})
        forge.snapshot(tree[1])
    else:
        forge.snapshot(ident)
    forge.document("index", {"packs": records})
    found = bounded_check(forge.path)
    assert ("pack-damaged" if kind == "data" else "tree-damaged") in [code for code, *_ in found]
    assert any("over the bound" in message for *_, message in found)
    for command in (["cat", "blob", ident], ["restore", "latest", "--target", str(tmp_path / "t")], ["ls", "latest"]):
        done = subprocess.run(
            [sys.executable, "-c", LIMITED, *kit.ours_command(forge.path, *command)],
            env=kit.environment(),
            capture_output=True,
            text=True,
        )
        peak = int(done.stderr.splitlines()[-1])
        assert peak < PEAK_MIB
        assert done.returncode == (0 if kind == "data" and command[0] == "ls" else 1)
        assert "not enough memory" not in done.stderr


@pytest.mark.clause("SNAP-10")
def test_members_nobody_asked_for_are_not_held(tmp_path: Path) -> None:
    forge = Forge(tmp_path / "repo")
    _, tree = forge.whole([node("f")])
    for number in range(4):
        rest = b"y" * (200 << 20)
        raw = b'{"time":"2024-01-0%dT00:00:00Z","tree":"%s","paths":["/x"],"summary":{"later":"y"},"unknown":"%s"}'
        frame = zstandard.ZstdCompressor(level=1).compress(raw % (number + 1, tree.encode(), rest))
        forge.compressed_document("snapshots", frame)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *kit.ours_command(forge.path, "snapshots")],
        env=kit.environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "5 snapshots" in done.stdout
    assert int(done.stderr.splitlines()[-1]) < 1000, "a few times one of them, not all of them"


@pytest.mark.clause("PACK-3", "PACK-4")
@pytest.mark.parametrize("length", [0, 1, 68, 1 << 24, (16 << 20) - 3, (1 << 31), (1 << 32) - 1])
def test_absurd_header_lengths(bounded_check: BoundedCheck, tmp_path: Path, length: int) -> None:
    forge = Forge(tmp_path / "repo")
    data = forge.blob("data", b"content")
    pack = forge.pack([data], trailer=length)
    forge.index({pack: [data]})
    (found,) = bounded_check(forge.path)
    assert found[:2] == ["pack-header-damaged", pack]
    # Without any index the header is all there is; the damaged one makes the check look at it.
    (forge.path / "index" / ("ab" * 32)).write_bytes(b"no index")
    for path in (forge.path / "index").iterdir():
        if path.name != "ab" * 32:
            path.unlink()
    assert ["pack-header", pack] in [said[:2] for said in bounded_check(forge.path)]


@pytest.mark.clause("PACK-8")
def test_a_header_that_claims_huge_blobs(bounded_check: BoundedCheck, tmp_path: Path) -> None:
    forge = Forge(tmp_path / "repo")
    data = forge.blob("data", b"content")
    entry = b"\x02" + b"\xff" * 8 + bytes.fromhex(data[1])
    pack = forge.pack([data], header=entry * 1000)
    (forge.path / "index" / ("ab" * 32)).write_bytes(b"no index")
    assert ["pack-header", pack] in [said[:2] for said in bounded_check(forge.path)]


@pytest.mark.clause("KEY-6")
@pytest.mark.parametrize(
    "parameters",
    [
        {"N": 1 << 40},
        {"N": 1 << 62},
        {"r": 1 << 30},
        {"p": 1 << 30},
        {"N": 1 << 20, "r": 8, "p": 1 << 20},
        {"N": 1 << 24, "r": 8, "p": 1},
        {"N": 2, "r": 1, "p": (1 << 30) - 1},
        {"N": 3},
        {"N": 0},
        {"N": -2},
        {"r": 0},
        {"p": -1},
        {"kdf": "argon9"},
    ],
    ids=str,
)
def test_absurd_key_derivation(bounded_check: BoundedCheck, tmp_path: Path, parameters: dict[str, object]) -> None:
    forge = Forge(tmp_path / "repo")
    (path,) = (forge.path / "keys").iterdir()
    document = {**json.loads(path.read_bytes()), **parameters}
    path.unlink()
    forge.store("keys", json.dumps(document).encode())
    (said,) = bounded_check(forge.path)
    assert said[0] == "KeyUnusable"


@pytest.mark.clause("KEY-6")
def test_one_absurd_key_does_not_hide_the_good_one(bounded_check: BoundedCheck, tmp_path: Path) -> None:
    forge = Forge(tmp_path / "repo")
    (path,) = (forge.path / "keys").iterdir()
    bad = forge.store("keys", json.dumps({**json.loads(path.read_bytes()), "N": 1 << 40}).encode())
    assert [said[:2] for said in bounded_check(forge.path)] == [["key-damaged", bad]]


def test_documents_nested_a_hundred_thousand_deep(bounded_check: BoundedCheck, tmp_path: Path) -> None:
    forge = Forge(tmp_path / "repo")
    deep = b'{"time":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    names = {forge.store(folder, seal(forge.key, deep)) for folder in ("snapshots", "index")}
    tree = forge.blob("tree", b'{"nodes":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    forge.index({forge.pack([tree]): [tree]})
    forge.snapshot(tree[1])
    said = bounded_check(forge.path)
    assert {what for code, what, *_ in said if code != "tree-damaged"} >= names
    assert ["tree-damaged", tree[1]] in [found[:2] for found in said]


def test_a_directory_chain_deeper_than_any_path(bounded_check: BoundedCheck, tmp_path: Path) -> None:
    forge = Forge(tmp_path / "repo")
    blobs = [forge.blob("tree", tree_json([node("f", content=["ab" * 32], size=1)]))]
    for _ in range(5000):
        blobs.append(forge.blob("tree", tree_json([node("d", "dir", subtree=blobs[-1][1])])))
    forge.index({forge.pack(blobs): blobs})
    forge.snapshot(blobs[-1][1])
    (said,) = bounded_check(forge.path)
    assert said[:2] == ["blob-missing", "ab" * 32]


@pytest.mark.clause("TREE-1")
def test_a_tree_of_very_many_entries(bounded_check: BoundedCheck, tmp_path: Path) -> None:
    """Decoded all at once they would take 150 MiB; the blob is a few KiB."""
    forge = Forge(tmp_path / "repo")
    tree = forge.blob("tree", b'{"nodes":[' + b",".join([b'{"name":"","type":"portal"}'] * 600_000) + b"]}\n")
    forge.index({forge.pack([tree]): [tree]})
    forge.snapshot(tree[1])
    said = bounded_check(forge.path, peak=150)
    assert len(said) == 1001 and said[-1][:2] == ["tree-faulty", tree[1]]


def test_long_names_deep_down_with_damage_on_every_level(bounded_check: BoundedCheck, tmp_path: Path) -> None:
    """The paths of what is affected are more than a gigabyte; so are the sets of findings below each directory."""
    forge = Forge(tmp_path / "repo")
    blobs, subtree = [], ""
    for _ in range(2000):
        below = [node("x" * 2000, "dir", subtree=subtree)] if subtree else []
        blobs.append(forge.blob("tree", tree_json([node("!", content=["ab" * 32], size=1), *below])))
        subtree = blobs[-1][1]
    forge.index({forge.pack(blobs): blobs})
    forge.snapshot(subtree)
    said = bounded_check(forge.path)
    assert len(said) == 2000 and {code for code, *_ in said} == {"blob-missing"}


@pytest.mark.clause("SNAP-1")
def test_large_snapshots_are_held_one_at_a_time(bounded_check: BoundedCheck, tmp_path: Path) -> None:
    import zstandard

    forge = Forge(tmp_path / "repo")
    tree = forge.blob("tree", tree_json([node("f")]))
    forge.index({forge.pack([tree]): [tree]})
    document = b'{"time":"2024-02-03T04:05:06Z","tree":"%s","paths":["/x"],"hostname":"%d","x":"%s"}'
    for number in range(12):
        forge.compressed_document("snapshots", zstandard.compress(document % (tree[1].encode(), number, b"x" * (30 << 20))))
    assert bounded_check(forge.path) == []


def test_the_bomb_is_one() -> None:
    """The frames above are valid: a small sister of theirs expands to what it says."""
    import zstandard

    for announced in (None, 1 << 20):
        reader = zstandard.ZstdDecompressor().decompressobj()
        assert reader.decompress(zstd_bomb(1 << 20, announced=announced)) == bytes(1 << 20)
    assert len(BOMBS["announced"]) < 400_000
