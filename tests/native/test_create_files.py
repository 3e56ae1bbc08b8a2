"""Creating files in one go: everything as asked for, and nothing that was there before touched."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

from restic_format.native.blobs import create_files


def create(folder: Path, *files: tuple[bytes, bytes, int, int, int], owner: int = 1234) -> list[bool]:
    """Create (name, data, mode, atime, mtime) in *folder*."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        return create_files(
            [(fd, name, data, owner, owner + 1, mode, atime, mtime) for name, data, mode, atime, mtime in files], True
        )
    finally:
        os.close(fd)


def test_content_owner_mode_and_times_are_what_was_asked_for(tmp_path: Path) -> None:
    times = (1_700_000_000_123_456_789, -1_500_000_001)
    assert create(tmp_path, (b"a", b"content", 0o4750, *times), (b"\xff\xfe", b"", 0o400, 0, 0)) == [True, True]
    info = os.stat(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"content"
    assert (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)) == (1234, 1235, 0o4750)
    assert (info.st_mtime_ns, os.stat(os.fsencode(tmp_path) + b"/\xff\xfe").st_size) == (times[1], 0)


def test_what_is_there_is_not_touched_and_symlinks_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"mine")
    (tmp_path / "link").symlink_to("elsewhere")
    (tmp_path / "folder").mkdir()
    assert create(tmp_path, *((name, b"x", 0o600, 0, 0) for name in (b"there", b"link", b"folder", b"no/such"))) == [False] * 4
    assert (tmp_path / "there").read_bytes() == b"mine"
    assert not (tmp_path / "elsewhere").exists()


def test_inherited_attributes_are_left_to_somebody_else(tmp_path: Path) -> None:
    # A default ACL gives every new file an ACL of its own, which the snapshot knows nothing of.
    acl = b"\x02\0\0\0" + b"".join(
        tag.to_bytes(2, "little") + (7).to_bytes(2, "little") + who.to_bytes(4, "little")
        for tag, who in ((1, 0xFFFFFFFF), (2, 1000), (4, 0xFFFFFFFF), (0x10, 0xFFFFFFFF), (0x20, 0xFFFFFFFF))
    )
    os.setxattr(tmp_path, "system.posix_acl_default", acl)
    assert create(tmp_path, (b"a", b"x", 0o600, 0, 0)) == [False]


def test_a_full_disk_is_left_to_somebody_else(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], check=True)
    try:
        assert create(tmp_path, (b"small", b"x", 0o600, 0, 0), (b"large", bytes(1 << 20), 0o600, 0, 0)) == [True, False]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
