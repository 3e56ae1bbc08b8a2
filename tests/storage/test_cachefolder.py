"""The folders of local caches: restic's form, old ones go and nothing else ever does."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from restic_format.errors import FileUnusable, StorageError
from restic_format.storage.cachefolder import MAX_AGE, CacheFolder, list_caches, remove_caches, size_of
from restic_spec.layout import FileKind

DAY = 24 * 3600
NAMES = ["a" * 64, "b" * 64, "c" * 64]


def age(path: Path, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(path, (then, then))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder with three caches last used 31, 29 and 0.1 days ago."""
    folder = tmp_path / "cache"
    for name, days in zip(NAMES, (31, 29, 0.1), strict=True):
        CacheFolder(str(folder), name)
        (folder / name / "index" / "xy").write_bytes(b"12345")
        age(folder / name, days)
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


@pytest.mark.clause("CACHE-1", "CACHE-2")
def test_a_new_cache_has_restics_form(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        made = CacheFolder(str(tmp_path / "deep" / "cache"), NAMES[0])
    finally:
        os.umask(before)
    assert made.created
    found = {}
    for path in (tmp_path / "deep").rglob("*"):
        found[str(path.relative_to(tmp_path / "deep"))] = (
            path.stat().st_mode & 0o777,
            path.read_bytes() if path.is_file() else None,
        )
    folder = f"cache/{NAMES[0]}"
    assert found == {
        "cache": (0o700, None),
        "cache/CACHEDIR.TAG": (0o644, b"Signature: 8a477f597d28d172789f06886806bc55\n"),
        folder: (0o700, None),
        f"{folder}/version": (0o644, b"1"),
        f"{folder}/data": (0o700, None),
        f"{folder}/index": (0o700, None),
        f"{folder}/snapshots": (0o700, None),
    }
    assert not CacheFolder(str(tmp_path / "deep" / "cache"), NAMES[0]).created


@pytest.mark.clause("CACHE-2")
def test_using_a_cache_keeps_it(base: Path) -> None:
    assert [found.name for found in list_caches(str(base)) if found.is_old()] == NAMES[:1]
    CacheFolder(str(base), NAMES[0])
    assert [found.name for found in list_caches(str(base))] == [NAMES[1], NAMES[2], NAMES[0]]
    assert not any(found.is_old() for found in list_caches(str(base)))


@pytest.mark.clause("CACHE-2")
@pytest.mark.parametrize("version", [b"2", b"12", b"1\n", b"one", b"-1"])
def test_a_cache_of_another_form_is_left_alone(base: Path, version: bytes) -> None:
    (base / NAMES[0] / "version").write_bytes(version)
    with pytest.raises(FileUnusable):
        CacheFolder(str(base), NAMES[0])
    assert (base / NAMES[0] / "version").read_bytes() == version


@pytest.mark.parametrize("empty", [False, True])
def test_a_folder_without_version_becomes_a_cache(base: Path, empty: bool) -> None:
    (base / NAMES[0] / "version").unlink()
    if empty:  # restic writes it in two steps
        (base / NAMES[0] / "version").touch()
    (base / NAMES[0] / "data").rmdir()
    assert not CacheFolder(str(base), NAMES[0]).created
    assert (base / NAMES[0] / "version").read_bytes() == b"1"
    assert (base / NAMES[0] / "data").is_dir()


def test_where_no_cache_can_be_made_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="file"):
        CacheFolder(str(tmp_path / "file"), NAMES[0])


def test_what_was_not_used_for_thirty_days_goes(base: Path) -> None:
    assert size_of(str(base), list_caches(str(base))[0]) == 6
    old = [found for found in list_caches(str(base)) if found.is_old(MAX_AGE)]
    assert remove_caches(str(base), old) == 1
    assert names(base) == NAMES[1:]
    assert [found.name for found in list_caches(str(base)) if found.is_old(DAY)] == [NAMES[1]]


@pytest.mark.parametrize("tag", [None, b"", b"Signature: 0", b"some other program's folder"])
def test_nothing_goes_from_a_folder_without_the_tag(base: Path, tag: bytes | None) -> None:
    (base / "CACHEDIR.TAG").unlink()
    if tag is not None:
        (base / "CACHEDIR.TAG").write_bytes(tag)
    with pytest.raises(FileUnusable, match="that says it is for caches"):
        remove_caches(str(base), list_caches(str(base)))
    assert names(base) == NAMES
    assert remove_caches(str(base), []) == 0


def test_only_folders_named_by_ids_are_caches(base: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "kept").write_bytes(b"x")
    (base / ("d" * 64)).symlink_to(other)
    (base / "photos").mkdir()
    (base / ("f" * 64)).write_bytes(b"a file")
    (base / "restic-check-cache-123").mkdir()
    assert {found.name for found in list_caches(str(base))} == {*NAMES, "restic-check-cache-123"}
    assert list_caches(str(tmp_path / "none")) == []
    with pytest.raises(StorageError):
        list_caches(str(other / "kept"))


def test_links_inside_a_cache_are_not_followed(base: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "kept").write_bytes(b"x")
    (base / NAMES[0] / "link").symlink_to(other)
    assert remove_caches(str(base), list_caches(str(base))[:1]) == 1
    assert (other / "kept").exists()


@pytest.mark.clause("CACHE-3")
def test_unfinished_copies_go_when_nobody_writes_them(base: Path) -> None:
    folder = CacheFolder(str(base), NAMES[2])
    copies = [folder.begin(FileKind.INDEX, name) for name in NAMES[:2]]
    for copy in copies:
        copy.append([b"x" * 40])
    left = sorted(base.rglob("tmp-*"))
    assert len(left) == 2
    age(left[0], 2)
    assert list(folder.names(FileKind.INDEX)) == []
    assert sorted(base.rglob("tmp-*")) == left[1:]
    copies[1].keep()
    assert list(folder.names(FileKind.INDEX)) == [NAMES[1]]
    assert (base / NAMES[2] / "index" / "bb" / NAMES[1]).stat().st_mode & 0o777 == 0o600
    copies[0].drop()
