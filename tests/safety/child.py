"""A backup in a process of its own that can be killed at any moment.

The process is forked, so that its start costs nothing; its storage is slow, so that there is a moment between any two
steps; its packs are small, so that there are many steps.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import restic_format.repository.coder as coder_module
import restic_format.repository.repository as repository_module
import restic_format.storage.local as local_module
from restic_format.backup import BackupOptions, backup
from restic_format.repository import Repository
from restic_format.storage import LocalStorage
from tests.safety.kit import PASSWORD

PACK_SIZE = 200_000
PIECE = 16 << 10


class SlowOs:
    """The ``os`` module, but writing takes its time and only ever writes a little."""

    def __getattr__(self, name: str) -> object:
        return getattr(os, name)

    def writev(self, descriptor: int, pieces: list[memoryview]) -> int:
        time.sleep(0.001)
        return os.write(descriptor, pieces[0][:PIECE])

    def rename(self, old: str, new: str) -> None:
        time.sleep(0.005)
        os.rename(old, new)
        time.sleep(0.005)

    def link(self, old: str, new: str, *, src_dir_fd: int, follow_symlinks: bool) -> None:
        time.sleep(0.005)
        os.link(old, new, src_dir_fd=src_dir_fd, follow_symlinks=follow_symlinks)
        time.sleep(0.005)


def back_up(repo: Path, source: Path, *, slow: bool = False) -> str:
    """Back *source* up into *repo*; the id of the snapshot."""
    if slow:
        local_module.os = SlowOs()  # type: ignore[assignment]
    repository_module.MIN_PACK_SIZE = 1
    coder_module.GROUP_SIZE = PACK_SIZE // 2
    try:
        opened = Repository.open(LocalStorage(repo), PASSWORD, pack_size=PACK_SIZE)
        with opened.lock():
            opened.load_index()
            result = backup(opened, [str(source)], BackupOptions(hostname="killed"))
            assert result.snapshot_id is not None
            return result.snapshot_id
    finally:
        repository_module.MIN_PACK_SIZE = 4 << 20
        coder_module.GROUP_SIZE = 8 << 20


@contextlib.contextmanager
def forked_backup(repo: Path, source: Path) -> Iterator[int]:
    """Run `back_up` in a child; gives its process id."""
    child = os.fork()
    if child == 0:
        _run_and_exit(repo, source)
    yield child


def _run_and_exit(repo: Path, source: Path) -> NoReturn:
    code = 1
    try:
        back_up(repo, source, slow=True)
        code = 0
    finally:
        os._exit(code)
