"""What the tests of mounting share: a program that has mounted a repository, a tree with everything, what a tree looks like."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.restore.kit import ROOT, environment, ours_command

READY = b"quit with Ctrl-c"


def detach(folder: Path) -> None:
    """Unmount whatever is there, also where it is dead."""
    ctypes.CDLL(None).umount2(os.fsencode(folder), 2)


def is_mounted(folder: Path) -> bool:
    """Whether something is mounted at *folder*."""
    wanted = os.path.realpath(folder)
    return any(line.split()[4] == wanted for line in Path("/proc/self/mountinfo").read_text().splitlines())


def until(condition: Any, seconds: float = 20.0) -> bool:
    """Whether *condition* becomes true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


class Program:
    """A program that shows a repository at ``folder`` until the ``with`` block ends."""

    def __init__(self, command: Sequence[str], folder: Path, **extra: str) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.log = folder.with_name(folder.name + ".out")
        self.errors = folder.with_name(folder.name + ".err")
        env = environment(**extra)
        helper = shutil.which("fusermount3")
        if helper is None:
            env["PATH"] = f"{ROOT / '.peers' / 'fusermount3'}{os.pathsep}{env['PATH']}"
        with open(self.log, "wb") as out, open(self.errors, "wb") as err:
            self.process = subprocess.Popen(command, env=env, stdout=out, stderr=err)

    def __enter__(self) -> Program:
        ready = until(lambda: READY in self.log.read_bytes() or self.process.poll() is not None)
        if not ready or self.process.poll() is not None:
            self._end()
        assert ready, self.errors.read_text()
        assert self.process.poll() is None, self.errors.read_text()
        until(lambda: is_mounted(self.folder))
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        detach(self.folder)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        detach(self.folder)

    def end(self, number: signal.Signals) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(20)

    @property
    def said(self) -> str:
        """Standard error."""
        return self.errors.read_text(errors="surrogateescape")


def ours(repo: Path, folder: Path, *args: str, **extra: str) -> Program:
    """This project's program."""
    return Program(ours_command(repo, "mount", *args, str(folder)), folder, **extra)


def restic(program: Path, repo: Path, folder: Path, *args: str, **extra: str) -> Program:
    """Real restic."""
    return Program([str(program), "--no-cache", "-r", str(repo), "mount", *args, str(folder)], folder, **extra)


def make_tree(folder: Path) -> None:
    """A tree with everything that a node can say, also what needs root."""
    (folder / "dir" / "sub" / "deep").mkdir(parents=True)
    (folder / "empty").mkdir(mode=0o700)
    (folder / "a.txt").write_text("hi\n")
    (folder / "nothing").write_bytes(b"")
    (folder / "dir" / "several blobs").write_bytes(os.urandom(3 << 20))
    with open(folder / "sparse", "wb") as file:
        file.truncate(5_000_001)
    for number in range(40):
        (folder / "dir" / "sub" / f"small {number}").write_bytes(b"%d" % number * number)
    with open(bytes(folder) + b"/bad\xff\x01\nname", "wb") as file:
        file.write(b"q")
    os.symlink(b"target \xff\n", bytes(folder) + b"/link of bytes")
    (folder / "link").symlink_to("dir/sub")
    os.mkfifo(folder / "pipe")
    os.link(folder / "a.txt", folder / "dir" / "hard")
    os.link(folder / "a.txt", folder / "another")
    os.mknod(folder / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(folder / "far", stat.S_IFBLK | 0o640, os.makedev(259, 70000))
    os.setxattr(folder / "a.txt", "user.comment", b"\x00 some bytes \xff")
    os.setxattr(folder / "a.txt", "user.empty", b"")
    os.setxattr(folder / "dir", "user.of a folder", b"x")
    with contextlib.suppress(OSError):  # a file system may have none
        entry = b"\x02\x00\x00\x00" + b"".join(
            tag.to_bytes(2, "little") + mode.to_bytes(2, "little") + who.to_bytes(4, "little")
            for tag, mode, who in (
                (1, 6, 0xFFFFFFFF),
                (2, 4, 1234),
                (4, 4, 0xFFFFFFFF),
                (16, 4, 0xFFFFFFFF),
                (32, 0, 0xFFFFFFFF),
            )
        )
        os.setxattr(folder / "a.txt", "system.posix_acl_access", entry)
    (folder / "program").write_bytes(b"x")
    os.chown(folder / "program", 1234, 4321)
    (folder / "program").chmod(0o6755)
    (folder / "dir" / "sub").chmod(0o1777)
    os.utime(folder / "nothing", ns=(-5_000000001, -5_000000001))
    os.utime(folder / "dir" / "sub" / "small 7", ns=(1_600_000_000_123456789, 918014706_789000001))


def entries(folder: bytes) -> Iterator[bytes]:
    """The paths of everything below *folder*, relative to it."""
    for path, folders, files in os.walk(folder):
        for name in (*folders, *files):
            yield os.path.relpath(os.path.join(path, name), folder)


def look(folder: Path, *, content: bool = True, times: bool = True) -> dict[bytes, tuple[Any, ...]]:
    """Everything that can be seen of the entries below *folder*, but inodes and what differs between file systems."""
    top = os.fsencode(folder)
    seen = {}
    for name in entries(top):
        path = os.path.join(top, name)
        info = os.lstat(path)
        attributes = {key: os.getxattr(path, key, follow_symlinks=False) for key in _attributes(path)}
        kind = stat.S_IFMT(info.st_mode)
        seen[name] = (
            oct(info.st_mode),
            info.st_uid,
            info.st_gid,
            info.st_mtime_ns if times or info.st_mtime_ns >= 0 else None,
            None if kind == stat.S_IFDIR else (info.st_size, info.st_nlink),
            info.st_rdev,
            attributes,
            os.readlink(path) if kind == stat.S_IFLNK else None,
            _content(path) if content and kind == stat.S_IFREG else None,
        )
    return seen


def _attributes(path: bytes) -> list[str]:
    try:
        return sorted(os.listxattr(path, follow_symlinks=False))
    except OSError:
        return []


def _content(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return file.read()
