"""Packs with trees in memory: fetched whole when it is worth while, once, within a bound, and only what is intact."""

from __future__ import annotations

import os
import threading

import pytest

from restic_format.errors import FileMissing
from restic_format.storage import FaultyStorage, MemoryStorage
from restic_format.storage.cache import without_cache
from restic_format.storage.faulty import Call, Fail, Fault, Garble
from restic_format.storage.packmemory import WANTED_BEFORE, PackMemory
from restic_spec.ids import id_of
from restic_spec.layout import FileKind

SIZE = 5000


class Place:
    """A storage with such a memory before it, which notes what the storage is asked for."""

    def __init__(self, limit: int = 1 << 20) -> None:
        self.fault: Fault | None = None
        self.kept = MemoryStorage()
        self.asked = FaultyStorage(self.kept, self._plan)
        self.memory = PackMemory(self.asked, limit)

    def _plan(self, call: Call) -> Fault | None:
        return self.fault if call.operation == "load" else None

    def pack(self) -> tuple[str, bytes]:
        content = os.urandom(SIZE)
        name = id_of(content).hex()
        self.kept.save(FileKind.PACK, name, content)
        return name, content

    def tree(self, name: str, offset: int = 100) -> bytes:
        """A part of a pack, read as trees are."""
        self.memory.prepare(FileKind.PACK, name)
        target = bytearray(50)
        self.memory.load_into(FileKind.PACK, name, offset, memoryview(target))
        assert self.memory.load(FileKind.PACK, name, offset, 50) == target
        return bytes(target)

    def loads(self) -> int:
        """Requests since the last time."""
        calls, self.asked.calls = self.asked.calls, []
        return len(calls)


def test_a_pack_is_fetched_whole_when_some_of_its_trees_were_wanted() -> None:
    place = Place()
    name, content = place.pack()
    for _ in range(WANTED_BEFORE):
        assert place.tree(name) == content[100:150]
    assert place.loads() == 2 * WANTED_BEFORE
    for offset in range(0, SIZE - 50, 50):
        assert place.tree(name, offset) == content[offset : offset + 50]
    assert place.loads() == 2, "its size, and all of it"


def test_a_pack_for_which_there_is_no_room_any_more_is_not_fetched_again() -> None:
    place = Place(limit=2 * SIZE)
    packs = [place.pack() for _ in range(3)]
    for _ in range(20):
        for name, content in packs:
            assert place.tree(name) == content[100:150]
    fetched = [call for call in place.asked.calls if call.operation == "size"]
    assert len(fetched) == len(packs)
    assert sum(map(len, place.memory._kept.values())) <= 2 * SIZE


def test_a_pack_that_is_too_large_is_read_part_by_part() -> None:
    place = Place(limit=SIZE)
    name, content = place.pack()
    for _ in range(20):
        assert place.tree(name) == content[100:150]
    assert not place.memory._kept


@pytest.mark.parametrize("fault", [Garble(), Fail()])
def test_what_does_not_come_whole_and_intact_is_not_kept(fault: Fault) -> None:
    place = Place()
    name, content = place.pack()
    for _ in range(WANTED_BEFORE):
        place.tree(name)
    place.fault = fault
    place.memory.prepare(FileKind.PACK, name)
    place.fault = None
    assert place.tree(name) == content[100:150]
    assert not place.memory._kept


def test_several_threads_fetch_a_pack_once() -> None:
    place = Place()
    name, _ = place.pack()
    threads = [threading.Thread(target=place.memory.prepare, args=(FileKind.PACK, name)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert place.loads() == 2


def test_what_is_removed_is_gone() -> None:
    place = Place()
    name, _ = place.pack()
    for _ in range(WANTED_BEFORE + 1):
        place.tree(name)
    place.memory.remove(FileKind.PACK, name)
    with pytest.raises(FileMissing):
        place.memory.load(FileKind.PACK, name, 0, 10)


def test_it_is_no_part_of_the_storage_itself() -> None:
    place = Place()
    assert without_cache(place.memory) is place.asked
