"""Errors say what they are about in fields, and each thing once."""

from __future__ import annotations

import pytest

from restic_format.errors import DamagedFile, FileMissing, ResticFormatError, StorageError
from restic_format.repository import Repository
from restic_format.storage import MemoryStorage
from restic_spec.errors import IdMismatch, JsonInvalid, TreeInvalid
from restic_spec.ids import id_of, verify_id
from restic_spec.layout import FileKind
from restic_spec.snapshot import decode_snapshot
from restic_spec.tree import decode_tree

PACK = bytes(range(32))


def test_an_error_takes_clause_and_pack_from_what_caused_it() -> None:
    cause = TreeInvalid("is odd", object="tree 12", clause="TREE-4")
    error = ResticFormatError("cannot go on", object="snapshots/ab", pack=PACK, cause=cause)
    again = StorageError("given up", cause=error)
    assert (error.object, error.clause, error.pack, error.cause) == ("snapshots/ab", "TREE-4", PACK, cause)
    assert (again.object, again.clause, again.pack, again.cause) == ("", "TREE-4", PACK, error)
    assert ResticFormatError("x", clause="PACK-3", cause=cause).clause == "PACK-3"
    assert StorageError("x", cause=OSError(5, "y")).clause == FileMissing().clause == ""


def test_the_text_names_the_object_once() -> None:
    cause = IdMismatch("content is other", object="tree 1234", clause="LAYOUT-1")
    assert str(cause) == "tree 1234: content is other [LAYOUT-1]"
    assert str(IdMismatch("content is other", clause="LAYOUT-1")) == "content is other [LAYOUT-1]"
    assert str(DamagedFile("trees/1234", cause)) == "trees/1234: content is other [LAYOUT-1]"
    assert str(DamagedFile("trees/1234", FileMissing("data/1: no such file"))) == "trees/1234: data/1: no such file"
    assert str(DamagedFile("tree 1 differs after sealing", object="tree 1")) == "tree 1 differs after sealing"
    assert DamagedFile("tree 1 differs after sealing", object="tree 1").object == "tree 1"
    assert (DamagedFile("trees/1234", cause).object, DamagedFile("trees/1234", cause).clause) == ("trees/1234", "LAYOUT-1")


@pytest.mark.parametrize("kind", [FileKind.SNAPSHOT, FileKind.INDEX, FileKind.LOCK, FileKind.KEY])
def test_a_file_with_other_content_is_named_once(kind: FileKind, repo: Repository) -> None:
    storage = repo.storage
    assert isinstance(storage, MemoryStorage)
    name = id_of(b"one").hex()
    storage.save(kind, name, b"other")
    with pytest.raises(DamagedFile) as caught:
        repo.load_raw(kind, bytes.fromhex(name))
    assert str(caught.value) == f"{kind.value}/{name}: content hashes to {id_of(b'other').hex()}, not {name} [LAYOUT-1]"
    assert (caught.value.object, caught.value.clause) == (f"{kind.value}/{name}", "LAYOUT-1")


def test_a_violation_says_what_violates() -> None:
    for decode in (decode_snapshot, decode_tree):
        with pytest.raises(JsonInvalid) as caught:
            decode(b"{", "the one")
        assert caught.value.object == "the one"
        assert "the one" not in caught.value.what
        assert str(caught.value).startswith("the one: ")
    with pytest.raises(JsonInvalid, match=r"^the one: member 'odd': "):
        decode_snapshot(b'{"time":"2020-01-01T00:00:00Z","tree":"' + b"0" * 64 + b'","odd":["\xff"]}', "the one")
    with pytest.raises(IdMismatch, match=r"^the one: content hashes to "):
        verify_id(b"x", PACK, "the one")
