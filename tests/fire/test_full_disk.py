"""Commands on a disk that is full at any of their stages: nothing is lost or left over, and with more room they finish."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from restic_format.storage import LocalStorage
from restic_spec.layout import FileKind
from tests.fire.cases import CASES
from tests.fire.kit import contents, errors, prepare, run, stored, words_of
from tests.safety import kit as safety

SIZE = 4 << 20
PAGE = 4096
ALL = bool(os.environ.get("RESTIC_FORMAT_KILLS"))
"""Whether a command is tried with any number of free pages that is not enough; else with some."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few MiB."""
    assert os.geteuid() == 0, "mounting a small file system needs root"
    place = tmp_path / "disk"
    place.mkdir()
    safety.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)])
    yield place
    safety.run(["umount", str(place)])


def free_pages(disk: Path) -> int:
    return os.statvfs(disk).f_bavail


def leave(disk: Path, pages: int) -> None:
    """Fill the disk up to so many free pages."""
    filler = disk / "filler"
    filler.write_bytes(b"")
    with filler.open("wb") as file:
        file.write(bytes((free_pages(disk) - pages) * PAGE))


def unfinished(repo: Path) -> list[str]:
    """Files that are none of a repository."""
    return [path.name for path in safety.files_of(repo) if "-tmp-" in path.name or path.stat().st_size == 0]


@pytest.mark.clause("LAYOUT-8", "ORDER-3", "ORDER-4")
@pytest.mark.parametrize("name", CASES)
def test_the_disk_is_full_at_some_stage(name: str, small_disk: Path, tmp_path: Path) -> None:
    case = CASES[name]
    work = prepare(tmp_path / "work")
    world = case.make()
    places = stored(world, tmp_path / "whole", old_layout=case.old_layout)
    assert run(words_of(case, world, places, work), work).code == 0
    before, after = contents(world["repo"]), contents(places["repo"])
    allowed = errors(places["repo"])
    failed = pages = 0
    while True:
        places |= stored({"repo": world["repo"]}, small_disk, old_layout=case.old_layout)
        repo = Path(places["repo"])
        repo.mkdir(exist_ok=True)
        words = words_of(case, world, places, work)
        leave(small_disk, pages)
        done = run(words, work)
        if done.code:
            failed += 1
            assert done.code in (1, 3) and "no space left on device" in done.err, done
        assert unfinished(repo) == []
        assert not list(LocalStorage(repo).list(FileKind.LOCK))
        (small_disk / "filler").unlink()
        if case.first is not None:
            assert run(["-r", str(repo), "--no-cache", *case.first], work).code == 0
        assert contents(str(repo)).lost(before, after) == []
        if case.goes is None or done.code:
            again = run(words, work)
            assert again.code == 0, again
        assert contents(str(repo)).lost(before, after) == []
        assert errors(str(repo)) <= allowed
        safety.run(["rm", "-rf", str(repo)])
        if done.code == 0:
            break
        pages += 1 if ALL else max(1, pages // 2)
    print(f"{name}: failed {failed} times, worked with {pages} pages")
    assert failed
