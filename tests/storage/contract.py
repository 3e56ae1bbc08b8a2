"""What every storage must do, whatever it keeps files in: a class of tests with a subclass for each storage and wrapper."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from restic_format.errors import FileExists, FileMissing, FileUnusable, UsageError
from restic_format.storage import Storage
from restic_spec.errors import NameInvalid
from restic_spec.ids import id_of
from restic_spec.layout import KINDS, LISTED_KINDS, FileKind

CONTENT = b"some sealed bytes"
NAME = id_of(CONTENT).hex()
OTHER = id_of(b"other").hex()


def name_for(kind: FileKind) -> str:
    """The config has no name."""
    return "" if kind is FileKind.CONFIG else NAME


class StorageContract:
    """The subclasses give the fixture ``storage``: an empty one, created."""

    keeps_side_files = True
    tells_missing_on_remove = True

    def test_what_is_saved_can_be_loaded_sized_and_removed(self, storage: Storage) -> None:
        for kind in FileKind:
            name = name_for(kind)
            assert not storage.exists(kind, name)
            storage.save(kind, name, memoryview(CONTENT))
            assert storage.exists(kind, name)
            assert storage.load(kind, name) == CONTENT
            assert storage.load(kind, name, 5, 6) == CONTENT[5:11]
            assert storage.load(kind, name, 5) == CONTENT[5:]
            assert storage.load(kind, name, len(CONTENT)) == storage.load(kind, name, 3, 0) == b""
            assert storage.size(kind, name) == len(CONTENT)
            assert list(storage.strays()) == []
            storage.remove(kind, name)
            assert not storage.exists(kind, name)

    def test_files_are_listed_by_kind_with_their_sizes(self, storage: Storage) -> None:
        for kind in LISTED_KINDS:
            assert list(storage.list(kind)) == []
        for number, kind in enumerate(LISTED_KINDS):
            storage.save(kind, NAME, [CONTENT, bytes(number)])
            storage.save(kind, OTHER, b"")
        storage.save(FileKind.CONFIG, "", b"config")
        for number, kind in enumerate(LISTED_KINDS):
            assert dict(storage.list(kind)) == {NAME: len(CONTENT) + number, OTHER: 0}
        storage.remove(FileKind.PACK, NAME)
        assert dict(storage.list(FileKind.PACK)) == {OTHER: 0}

    def test_a_file_of_the_same_name_is_replaced(self, storage: Storage) -> None:
        for kind in FileKind:
            storage.save(kind, name_for(kind), b"before, and longer than what follows")
            storage.save(kind, name_for(kind), CONTENT)
            assert storage.load(kind, name_for(kind)) == CONTENT

    def test_a_new_file_replaces_none(self, storage: Storage) -> None:
        for kind in FileKind:
            name = name_for(kind)
            storage.save_new(kind, name, [CONTENT[:3], memoryview(CONTENT)[3:]])
            assert storage.load(kind, name) == CONTENT
            with pytest.raises(FileExists, match=f"{kind.value}.*: already exists") as caught:
                storage.save_new(kind, name, b"another")
            assert caught.value.permanent and storage.load(kind, name) == CONTENT
            assert list(storage.strays()) == []

    @pytest.mark.parametrize("metadata", [False, True])
    def test_a_file_is_written_in_pieces_and_named_in_the_end(self, storage: Storage, metadata: bool) -> None:
        for kind in FileKind:
            name = name_for(kind)
            writer = storage.begin(kind, metadata=metadata)
            reused = bytearray(CONTENT[:4])
            writer.append(reused)
            reused[:] = b"----"
            writer.append([memoryview(CONTENT)[4:6], b"", CONTENT[6:]])
            assert b"".join(writer.contents()) == CONTENT
            assert not storage.exists(kind, name)
            assert kind is FileKind.CONFIG or list(storage.list(kind)) == []
            writer.finish(name)
            assert storage.load(kind, name) == CONTENT
            writer.abort()
            assert storage.load(kind, name) == CONTENT
            assert list(storage.strays()) == []

    @pytest.mark.parametrize("how", ["aborted", "forgotten"])
    def test_a_file_that_is_not_finished_leaves_nothing(self, storage: Storage, how: str) -> None:
        writer = storage.begin(FileKind.PACK)
        writer.append(CONTENT)
        if how == "aborted":
            writer.abort()
        del writer
        assert list(storage.list(FileKind.PACK)) == list(storage.strays()) == []

    def test_several_files_are_in_the_making_at_a_time(self, storage: Storage) -> None:
        writers = {id_of(data).hex(): (storage.begin(FileKind.PACK), data) for data in (b"one", b"two", b"three")}
        for writer, data in writers.values():
            writer.append(data)
        for name, (writer, _) in writers.items():
            writer.finish(name)
        assert {name: storage.load(FileKind.PACK, name) for name in writers} == {
            name: data for name, (_, data) in writers.items()
        }

    def test_a_range_is_read_into_memory_that_is_used_again(self, storage: Storage) -> None:
        storage.save(FileKind.PACK, NAME, CONTENT)
        target = bytearray(6)
        storage.load_into(FileKind.PACK, NAME, 2, memoryview(target))
        assert target == CONTENT[2:8]
        for offset, length in ((4, len(CONTENT)), (len(CONTENT) + 1, 1)):
            with pytest.raises(FileUnusable, match="cut short"):
                storage.load_into(FileKind.PACK, NAME, offset, memoryview(bytearray(length)))

    def test_a_range_may_begin_and_end_at_every_border(self, storage: Storage) -> None:
        for content in (b"", b"x", CONTENT):
            name, size = id_of(content).hex(), len(content)
            storage.save(FileKind.PACK, name, content)
            for offset in sorted({0, min(1, size), max(0, size - 1), size}):
                assert storage.load(FileKind.PACK, name, offset) == content[offset:]
                for length in sorted({0, min(1, size - offset), size - offset}):
                    wanted = content[offset : offset + length]
                    assert storage.load(FileKind.PACK, name, offset, length) == wanted
                    target = bytearray(length)
                    storage.load_into(FileKind.PACK, name, offset, memoryview(target))
                    assert target == wanted
                with pytest.raises(FileUnusable):
                    storage.load(FileKind.PACK, name, offset, size - offset + 1)

    def test_several_threads_use_it_at_once(self, storage: Storage) -> None:
        files = {id_of(data).hex(): data for data in (bytes([number]) * 3000 for number in range(32))}

        def save(name: str) -> None:
            storage.save(FileKind.INDEX, name, files[name])
            assert storage.load(FileKind.INDEX, name) == files[name]
            assert storage.load(FileKind.INDEX, name, 2999, 1) == files[name][-1:]

        def remove(name: str) -> None:
            storage.remove(FileKind.INDEX, name)
            assert not storage.exists(FileKind.INDEX, name)

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(save, files))
            for found in threads.map(lambda kind: dict(storage.list(kind)), [FileKind.INDEX] * 8):
                assert found == dict.fromkeys(files, 3000)
            list(threads.map(remove, list(files)[:16]))
        assert {name for name, _ in storage.list(FileKind.INDEX)} == set(list(files)[16:])

    def test_missing_files_are_told_from_other_failures(self, storage: Storage) -> None:
        acts = [storage.load, storage.size, *([storage.remove] if self.tells_missing_on_remove else [])]
        for act in acts:
            with pytest.raises(FileMissing, match=NAME) as caught:
                act(FileKind.INDEX, NAME)
            assert caught.value.object == f"index/{NAME}"
            assert caught.value.permanent
        with pytest.raises(FileMissing):
            storage.load_into(FileKind.PACK, NAME, 0, memoryview(bytearray(3)))
        with pytest.raises(FileMissing):
            storage.load(FileKind.CONFIG, "")

    def test_a_file_that_is_too_short_is_an_error_not_a_short_answer(self, storage: Storage) -> None:
        storage.save(FileKind.PACK, NAME, CONTENT)
        for offset, length in ((4, len(CONTENT)), (len(CONTENT) + 1, None), (len(CONTENT) + 1, 0)):
            with pytest.raises(FileUnusable, match=f"data/{NAME}: has {len(CONTENT)} bytes, wanted .*; it was cut short"):
                storage.load(FileKind.PACK, NAME, offset, length)

    @pytest.mark.clause("LAYOUT-11")
    def test_a_file_larger_than_its_kind_may_be_is_not_loaded_whole(self, storage: Storage) -> None:
        for kind in (FileKind.CONFIG, FileKind.KEY, FileKind.LOCK):
            name, bound = name_for(kind), KINDS[kind].max_size
            storage.save(kind, name, bytes(bound))
            assert len(storage.load(kind, name)) == bound
            storage.save(kind, name, bytes(bound + 1))
            with pytest.raises(FileUnusable, match=f"{kind.value}.*: has {bound + 1} bytes"):
                storage.load(kind, name)
            with pytest.raises(FileUnusable):
                storage.load(kind, name, 1)
            assert storage.load(kind, name, bound, 1) == b"\0"

    @pytest.mark.clause("LAYOUT-2")
    def test_a_name_that_is_no_id_never_becomes_a_path(self, storage: Storage) -> None:
        for name in ("", "../config", NAME.upper(), NAME[:63], NAME + "0"):
            with pytest.raises(NameInvalid):
                storage.save(FileKind.PACK, name, CONTENT)

    def test_nothing_is_left_to_remove_after_files_that_were_finished(self, storage: Storage) -> None:
        storage.save(FileKind.PACK, NAME, CONTENT)
        asked: list[bool] = []
        assert storage.remove_unfinished(0.0, lambda: not asked.append(True)) == 0
        assert not asked
        assert storage.load(FileKind.PACK, NAME) == CONTENT

    def test_it_says_where_it_is_and_how_much_it_can_take(self, storage: Storage) -> None:
        assert storage.location
        assert storage.connections >= 1
        assert storage.lists_at_once in (True, False)

    def test_it_can_be_made_ready_again(self, storage: Storage) -> None:
        storage.save(FileKind.PACK, NAME, CONTENT)
        storage.create()
        assert storage.load(FileKind.PACK, NAME) == CONTENT

    def test_side_files_are_kept_apart(self, storage: Storage) -> None:
        if not self.keeps_side_files:
            with pytest.raises(UsageError, match="keeps no files in quarantine/: name another place"):
                storage.side_files("quarantine")
            return
        side, other = storage.side_files("quarantine"), storage.side_files("parity")
        assert list(side.list()) == []
        side.save("run-1/journal", [b"first", b"second"])
        side.save("run-1/pack/a.b_c", CONTENT)
        side.save("run-1/journal", b"third")
        assert list(side.list()) == [("run-1/journal", 5), ("run-1/pack/a.b_c", len(CONTENT))]
        assert list(side.list("run-1/p")) == [("run-1/pack/a.b_c", len(CONTENT))] and list(other.list()) == []
        assert side.load("run-1/journal") == b"third" and side.load("run-1/journal", 1, 2) == b"hi"
        assert side.size("run-1/journal") == 5
        writer = side.begin()
        writer.append(b"never named")
        assert len(list(side.list())) == 2
        writer.abort()
        for offset, length in ((0, 6), (6, None), (6, 0)):
            with pytest.raises(FileUnusable, match=r"run-1/journal: has 5 bytes"):
                side.load("run-1/journal", offset, length)
        assert list(storage.strays()) == [] and not any(list(storage.list(kind)) for kind in LISTED_KINDS)
        for name, _ in list(side.list()):
            side.remove(name)
        assert list(side.list()) == []
        for act in (side.load, side.size, side.remove):
            with pytest.raises(FileMissing):
                act("run-1/journal")

    @pytest.mark.parametrize("name", ["", "/etc/passwd", "..", "a/../b", "a//b", "a/", ".hidden", "a b", "\u00e4", "a" * 513])
    def test_a_side_file_cannot_be_anywhere_else(self, storage: Storage, name: str) -> None:
        if self.keeps_side_files:
            side = storage.side_files("quarantine")
            for act in (side.load, side.size, side.remove, lambda name: side.save(name, b"")):
                with pytest.raises(FileUnusable, match="cannot name a file beside those of the repository"):
                    act(name)
            assert list(side.list()) == []

    def test_a_stray_that_is_not_there_cannot_be_loaded(self, storage: Storage) -> None:
        with pytest.raises(FileMissing):
            storage.load_stray("data/none")
