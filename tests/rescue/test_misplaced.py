"""Files that stand under another name are found by their hashes, and a config by being one."""

from __future__ import annotations

from pathlib import Path

import pytest

from restic_format.errors import FileMissing, FileUnusable
from restic_format.rescue.means.misplaced import Misplaced
from restic_format.rescue.wanted import DamagedFile, RecoveredFile
from restic_format.storage import LocalStorage
from restic_spec.config import Config, encode_config
from restic_spec.crypto import MasterKey, seal
from restic_spec.ids import id_of
from restic_spec.layout import FileKind

ONE, TWO = b"the one", b"the other"


def name(data: bytes) -> str:
    return id_of(data).hex()


def test_files_that_have_changed_places_are_found() -> None:
    wanted = [
        DamagedFile(FileKind.SNAPSHOT, name(ONE), TWO),
        DamagedFile(FileKind.SNAPSHOT, name(TWO), ONE),
        DamagedFile(FileKind.INDEX, name(b"gone"), None),
        DamagedFile(FileKind.INDEX, name(b"intact"), b"intact"),
    ]
    assert list(Misplaced().files(wanted, cancel=None)) == [
        RecoveredFile(FileKind.SNAPSHOT, name(TWO), TWO, f"found as {name(ONE)}"),
        RecoveredFile(FileKind.SNAPSHOT, name(ONE), ONE, f"found as {name(TWO)}"),
    ]


def test_strays_are_looked_at(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "repo")
    storage.create()
    key = MasterKey.generate()
    config = seal(key, encode_config(Config(version=2, id="ab" * 32, chunker_polynomial="3da3358b4dc173")))
    for place, data in (("data/ab/x.tmp", ONE), ("config.old", config), ("data/lost", b"nothing"), ("a\nb", TWO)):
        (tmp_path / "repo" / place).write_bytes(data)
    (tmp_path / "repo" / "link").symlink_to("/etc/passwd")
    wanted = [
        DamagedFile(FileKind.PACK, name(ONE), None),
        DamagedFile(FileKind.CONFIG, "config", b""),
        DamagedFile(FileKind.KEY, name(TWO), b"damaged"),
    ]
    found = {file.name: file for file in Misplaced(storage, key).files(wanted, cancel=None)}
    assert {file.data for file in found.values()} == {ONE, TWO, config}
    assert found["config"].how == "found as config.old" and "\n" not in found[name(TWO)].how
    assert not list(Misplaced(storage, MasterKey.generate()).files(wanted[1:2], cancel=None))


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "data/../../outside", "link", "data"])
def test_nothing_outside_of_the_repository_is_read(tmp_path: Path, path: str) -> None:
    storage = LocalStorage(tmp_path / "repo")
    storage.create()
    (tmp_path / "outside").write_bytes(b"secret")
    (tmp_path / "repo" / "link").symlink_to(tmp_path / "outside")
    with pytest.raises((FileUnusable, FileMissing)) as caught:
        storage.load_stray(path)
    assert caught.value.object == path
