"""Whoever can write to the storage chooses the ids and counts in it: what they cost must not grow faster than what there is."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from restic_format.native.table import _pure, _table
from restic_format.snapshots.idset import IdSet
from restic_spec.crypto import seal
from tests.safety import kit
from tests.safety.forge import Blob, Forge, node, tree_json

COLLIDING = {
    "equal beginnings": lambda number: b"\0" * 28 + number.to_bytes(4, "little"),
    "equal ends": lambda number: number.to_bytes(4, "little") + b"\0" * 28,
    "equal halves": lambda number: (number.to_bytes(4, "little") + b"\0" * 12) * 2,
    "far apart": lambda number: (number << 40).to_bytes(32, "little"),
}


@pytest.mark.parametrize("make", COLLIDING.values(), ids=COLLIDING.keys())
def test_chosen_ids_do_not_make_searches_long(make: Callable[[int], bytes]) -> None:
    table = _table.BlobTable()
    for number in range(40_000):
        table.add(0, make(number), table.add_pack(make(number)), 0, 100, 0)
        if number in (19_999, 39_999):
            assert table.longest_search() < 400
    assert all(table.first(0, make(number)) for number in range(40_000))


def test_a_search_is_as_long_as_the_copies_of_all_blobs_are_many() -> None:
    # What the test above counts does show where ids collide: here they do, for the seed is known to be zeros.
    table = _table.BlobTable(bytes(40))
    table.add_pack(bytes(32))
    for number in range(2000):
        table.add(0, b"\0" * 24 + number.to_bytes(8, "little"), 0, 0, 100, 0)
    assert table.longest_search() > 1000


def test_places_differ_from_table_to_table() -> None:
    tables = [_table.BlobTable() for _ in range(3)]
    for table in tables:
        table.add_pack(bytes(32))
        for number in range(100):
            table.add(0, bytes([number]) * 32, 0, 0, 100, 0)
    assert len({bytes(table.parts(100, 1)[7]) for table in tables}) == 3


@pytest.mark.parametrize("kind", [_table, _pure], ids=["compiled", "pure"])
def test_copies_of_a_blob_are_found_in_the_order_they_came(kind: ModuleType) -> None:
    table, decoded = kind.BlobTable(), kind.DecodedIndex()
    decoded.add_pack(bytes(32))
    for number in range(3000):
        decoded.add(number % 2, b"a" * 32, number, 100, 0)
    table.merge(decoded)
    table.finish_loading()
    table.add(0, b"b" * 32, 0, 3000, 100, 0)
    table.add(0, b"a" * 32, 0, 3001, 100, 0)
    assert [copy[1] for copy in table.copies(0, b"a" * 32)] == [*range(0, 3000, 2), 3001]
    assert [copy[1] for copy in table.copies(1, b"a" * 32)] == list(range(1, 3000, 2))
    assert [copy[1] for copy in table.copies(0, b"b" * 32)] == [3000]
    assert table.first(1, b"a" * 32) == (0, 1, 100, None)


def test_many_copies_take_one_slot() -> None:
    table, decoded = _table.BlobTable(), _table.DecodedIndex()
    decoded.add_pack(bytes(32))
    for number in range(20_000):
        decoded.add(0, b"a" * 32, number, 100, 0)
    table.merge(decoded)
    table.expect(10)
    table.finish_loading()
    assert table.longest_search() == 2
    assert len(table.copies(0, b"a" * 32)) == 20_000


def test_a_set_of_ids_does_not_depend_on_where_they_are_equal() -> None:
    def seconds(make: Callable[[int], bytes]) -> float:
        known = IdSet()
        start = time.process_time()
        for number in range(6000):
            known.add(make(number))
        return time.process_time() - start

    honest = seconds(lambda number: hashlib.sha256(b"%d" % number).digest())
    assert seconds(COLLIDING["equal beginnings"]) < 20 * honest


def rows(count: int, blob: Blob) -> list[dict[str, object]]:
    """*count* rows of an index for the same *blob*."""
    kind, ident, sealed, claims = blob
    row = {"id": ident, "type": kind, "offset": 0, "length": len(sealed), "uncompressed_length": claims}
    return [row] * count


def store_index(forge: Forge, packs: list[dict[str, object]]) -> None:
    """Store an index in the form restic writes."""
    forge.store("index", seal(forge.key, json.dumps({"packs": packs}, separators=(",", ":")).encode()))


@pytest.mark.parametrize("count", [1025, 20_000])
def test_an_index_of_equal_rows_is_loaded(tmp_path: Path, count: int) -> None:
    forge = Forge(tmp_path / "repo")
    tree = forge.blob("tree", tree_json([node("f")]))
    pack = forge.pack([tree])
    store_index(forge, [{"id": pack, "blobs": rows(count, tree)}])
    forge.snapshot(tree[1])
    for command in (["ls", "latest"], ["cat", "blob", tree[1]], ["restore", "latest", "--target", str(tmp_path / "t")]):
        subprocess.run(
            kit.ours_command(forge.path, *command), env=kit.environment(), check=True, stdout=subprocess.DEVNULL, timeout=60
        )


def processor_time(repo: Path, *command: str) -> float:
    """Seconds our program takes, whatever it says."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        kit.ours_command(repo, *command),
        env=kit.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=300,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime


@pytest.mark.parametrize("command", [["check"], ["check", "--read-data"]], ids=" ".join)
def test_copies_of_one_blob_cost_no_more_than_they_are(tmp_path: Path, command: list[str]) -> None:
    times = []
    for count in (3000, 6000):
        forge = Forge(tmp_path / str(count))
        data, tree = forge.blob("data", b"x"), forge.blob("tree", tree_json([node("f", size=1)]))
        pack = forge.pack([tree])
        gone = [{**row, "offset": 33 * number} for number, row in enumerate(rows(count, data))]
        store_index(forge, [{"id": os.urandom(32).hex(), "blobs": gone}, {"id": pack, "blobs": rows(1, tree)}])
        forge.snapshot(tree[1])
        times.append(processor_time(forge.path, *command))
    assert times[1] - times[0] < 1.5  # quadratic: 9 million places of 0.3 µs and more; as many again cost little


def test_honest_copies_by_two_backups_at_once_end(tmp_path: Path) -> None:
    """Two first backups of the same files at once by restic, then its `repair index`: one index file with every row twice."""
    source = tmp_path / "source"
    source.mkdir()
    for number in range(520):
        (source / f"{number}").write_bytes(hashlib.sha256(b"%d" % number).digest())
    repo = tmp_path / "repo"
    kit.initialised(repo)
    other = kit.copy_repository(repo, tmp_path / "other")
    for each in (repo, other):
        kit.restic(each, "backup", "-q", str(source))
    for path in kit.files_of(other):
        place = repo / path.relative_to(other)
        if not place.exists():
            place.parent.mkdir(exist_ok=True)
            path.rename(place)
    kit.restic(repo, "repair", "index", "--read-all-packs")
    [index] = kit.files_of(repo, "index")
    # More rows than the bytes of the file let one expect, and than there are slots at first.
    assert index.stat().st_size // 32 < 1024 < 2 * 521
    done = subprocess.run(kit.ours_command(repo, "ls", "latest"), env=kit.environment(), capture_output=True, timeout=60)
    assert done.returncode == 0
    assert done.stdout.count(b"\n") >= 520
