"""Old caches go, and nothing else ever does."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from restic_format.native.table import _table
from restic_format.repository import Repository, loading
from restic_format.repository import index as index_module
from restic_format.repository.indexcache import TAG
from restic_format.repository.oldcaches import MAX_AGE, remove_old_caches
from restic_format.storage import LocalStorage, MemoryStorage
from restic_spec.keyfile import Kdf
from restic_spec.pack import BlobType
from restic_tools.cli import main

CHEAP = Kdf(16, 8, 1, b"s" * 64)
DAY = 24 * 3600
NAMES = [f"{number:064x}" for number in range(3)]


def age(path: Path, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(path, (then, then), follow_symlinks=False)


@pytest.fixture
def caches(tmp_path: Path) -> Path:
    """A folder with three caches last used 31, 29 and 0 days ago."""
    folder = tmp_path / "cache" / "restic-format"
    for name, days in zip(NAMES, (31, 29, 0), strict=True):
        (folder / name).mkdir(parents=True)
        (folder / name / "index").write_bytes(b"sealed")
        age(folder / name, days)
    (folder / "CACHEDIR.TAG").write_bytes(TAG)
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def test_what_was_not_used_for_thirty_days_goes(caches: Path) -> None:
    assert remove_old_caches(str(caches)) == 1
    assert names(caches) == NAMES[1:]
    assert remove_old_caches(str(caches)) == 0
    assert MAX_AGE == 30 * DAY


def test_the_cache_in_use_stays(caches: Path) -> None:
    assert remove_old_caches(str(caches), keep=NAMES[0], max_age=DAY) == 1
    assert names(caches) == [NAMES[0], NAMES[2]]


@pytest.mark.parametrize("tag", [None, b"", b"Signature: 8a477f597d28d172789f06886806bc55\n"])
def test_nothing_goes_from_a_folder_without_our_tag(caches: Path, tag: bytes | None) -> None:
    (caches / "CACHEDIR.TAG").unlink()
    if tag is not None:
        (caches / "CACHEDIR.TAG").write_bytes(tag)
    assert remove_old_caches(str(caches)) == 0
    assert names(caches) == NAMES


def test_nothing_goes_but_folders_named_by_ids(caches: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "kept").write_bytes(b"")
    (caches / NAMES[0] / "index").unlink()
    (caches / NAMES[0]).rmdir()
    (caches / NAMES[0]).symlink_to(other)
    (caches / "photos").mkdir()
    (caches / ("f" * 64)).write_bytes(b"a file")
    for path in (other, caches / NAMES[0], caches / "photos", caches / ("f" * 64)):
        age(path, 400)
    assert remove_old_caches(str(caches)) == 0
    assert (other / "kept").exists()
    assert sorted(path.name for path in caches.iterdir()) == sorted([*NAMES, "photos", "f" * 64, "CACHEDIR.TAG"])


def test_links_inside_a_cache_are_not_followed(caches: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "kept").write_bytes(b"")
    (caches / NAMES[0] / "link").symlink_to(other)
    age(caches / NAMES[0], 31)
    assert remove_old_caches(str(caches)) == 1
    assert (other / "kept").exists()


def test_no_folder_is_no_trouble(tmp_path: Path) -> None:
    assert remove_old_caches(str(tmp_path / "none")) == 0


def test_using_a_cache_keeps_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("BlobTable", "DecodedIndex", "decode_index"):
        monkeypatch.setattr(index_module, name, getattr(_table, name))
    monkeypatch.setattr(loading, "WORTH_ROWS", 1)
    storage = MemoryStorage()
    made = Repository.init(storage, "pw", kdf=CHEAP)
    writer = made.writer()
    writer.save_blob(BlobType.DATA, b"data")
    writer.flush()
    Repository.open(storage, "pw", cache_folder=str(tmp_path)).load_index()
    age(tmp_path / made.id, 100)
    Repository.open(storage, "pw", cache_folder=str(tmp_path)).load_index()
    assert remove_old_caches(str(tmp_path)) == 0
    age(tmp_path / made.id, 100)
    assert remove_old_caches(str(tmp_path)) == 1


def test_the_option(caches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Repository.init(LocalStorage(tmp_path / "repo"), "pw", kdf=CHEAP)
    (caches / made.id).mkdir()
    age(caches / made.id, 31)
    monkeypatch.setenv("RESTIC_REPOSITORY", str(tmp_path / "repo"))
    monkeypatch.setenv("RESTIC_PASSWORD", "pw")
    monkeypatch.setenv("RESTIC_CACHE_DIR", str(caches.parent))
    assert main(["list", "keys"]) == 0
    assert main(["list", "keys", "--cleanup-cache", "--no-cache"]) == 0
    assert names(caches) == sorted([*NAMES, made.id])
    assert main(["list", "keys", "--cleanup-cache"]) == 0
    assert names(caches) == sorted([*NAMES[1:], made.id]), "the repository's own cache stays"
