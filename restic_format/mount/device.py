"""The connection to the kernel: mounting, ``/dev/fuse``, unmounting, and seeing to it that nothing stale remains.

Root mounts by itself. Anybody else needs ``fusermount3``, which may do it for them and unmounts when this process ends.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import errno
import os
import shutil
import socket
import stat
import subprocess
import sys
from typing import Final, NamedTuple

from restic_format.mount.errors import MountFailed
from restic_format.systemtext import errno_text

DEVICE: Final = "/dev/fuse"
HELPERS: Final = ("fusermount3", "fusermount")
_MS_RDONLY, _MS_NOSUID, _MS_NODEV = 1, 2, 4
_MNT_DETACH = 2
_UNMOUNT_WHEN_GONE = """
import ctypes, errno, os, sys, time
os.read(0, 1) and sys.exit()
for _ in range(100):
    try:
        os.stat(sys.argv[1])
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            if len(sys.argv) > 2:
                os.execv(sys.argv[2], [sys.argv[2], "-u", "-q", "-z", "--", sys.argv[1]])
            ctypes.CDLL(None).umount2(os.fsencode(sys.argv[1]), 2)
            break
    time.sleep(0.05)
"""
"""What a process of its own does: it waits until this one ends, and unmounts if it has not been told not to. (What fusermount3
has for that, ``auto_unmount``, does nothing in version 3.14 without ``allow_other``.)"""


class Flags(NamedTuple):
    """How to mount."""

    source: str
    """What ``mount`` and ``df`` show."""
    allow_other: bool = False
    """Whether other users than the one who mounts may look in."""
    default_permissions: bool = False
    """Whether the kernel keeps to owners and modes."""


class Device:
    """A mounted file system; ``descriptor`` is where the kernel's requests are read and answered."""

    def __init__(self, mountpoint: str, descriptor: int, guard: subprocess.Popen[bytes], *, by_helper: bool) -> None:
        self.mountpoint = mountpoint
        self.descriptor = descriptor
        self._guard = guard
        self._by_helper = by_helper
        self._device: int | None = None

    def unmount(self) -> bool:
        """Unmount, at once also where somebody still uses it; whether it was still mounted."""
        done = False
        helper = _helper() if self._by_helper else None
        if not self._by_helper:
            done = _system("umount2", os.fsencode(self.mountpoint), _MNT_DETACH) == 0
        elif helper is not None:
            done = _unmount_with(helper, self.mountpoint)
        self.release()
        return done

    def release(self) -> None:
        """To be called when it is not mounted any more."""
        if self._guard.stdin is not None and not self._guard.stdin.closed:
            with contextlib.suppress(OSError):
                self._guard.stdin.write(b"x")
                self._guard.stdin.flush()
            with contextlib.suppress(OSError):
                self._guard.stdin.close()
            self._guard.wait()


def open_device(mountpoint: str, flags: Flags, *, by_helper: bool | None = None) -> Device:
    """Mount at *mountpoint*, with ``fusermount3`` if *by_helper*, which is by default for those who are not root.

    Nothing in the file system may be touched before somebody answers the requests of ``Device.descriptor``.

    Raises:
        MountFailed: it cannot be mounted.
    """
    mountpoint = os.path.realpath(mountpoint)
    if not os.path.exists(DEVICE):
        raise MountFailed(f"{DEVICE} does not exist: the kernel's FUSE module is not loaded, or this container may not use it")
    if by_helper if by_helper is not None else os.geteuid() != 0:
        return _mount_with_helper(mountpoint, flags)
    return _mount(mountpoint, flags)


def _mount(mountpoint: str, flags: Flags) -> Device:
    try:
        descriptor = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise MountFailed(f"{DEVICE} cannot be opened: {errno_text(error)}") from None
    try:
        mode = stat.S_IFMT(os.stat(mountpoint).st_mode)
        data = f"fd={descriptor},rootmode={mode:o},user_id={os.geteuid()},group_id={os.getegid()}"
        data += ",allow_other" * flags.allow_other + ",default_permissions" * flags.default_permissions
        kind, options = _MS_RDONLY | _MS_NOSUID | _MS_NODEV, data.encode()
        failure = _system("mount", flags.source.encode(), os.fsencode(mountpoint), b"fuse", kind, options)
        if failure:
            raise MountFailed(f"{mountpoint} cannot be mounted: {os.strerror(failure).lower()}")
        guard = _start_guard(mountpoint)
    except OSError as error:
        _system("umount2", os.fsencode(mountpoint), _MNT_DETACH)
        os.close(descriptor)
        raise MountFailed(f"the process that unmounts at the end cannot be started: {errno_text(error)}") from None
    except BaseException:
        os.close(descriptor)
        raise
    return Device(mountpoint, descriptor, guard, by_helper=False)


def _mount_with_helper(mountpoint: str, flags: Flags) -> Device:
    helper = _helper()
    if helper is None:
        raise MountFailed("fusermount3 was not found: install the package fuse3, or mount as root")
    ours, theirs = socket.socketpair()
    options = f"ro,nosuid,nodev,fsname={flags.source}"
    options += ",allow_other" * flags.allow_other + ",default_permissions" * flags.default_permissions
    with ours:
        with theirs:
            done = subprocess.Popen(
                [helper, "-o", options, "--", mountpoint],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=_environment() | {"_FUSE_COMMFD": str(theirs.fileno())},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        descriptor = _received(ours)
        if descriptor is None:
            _, said = done.communicate()
            text = said.decode(errors="replace").strip().replace("\n", "; ")
            raise MountFailed(f"{mountpoint} cannot be mounted: {text or 'fusermount3 does not say why'}")
        done.communicate()
    try:
        guard = _start_guard(mountpoint, helper)
    except OSError as error:
        os.close(descriptor)
        _unmount_with(helper, mountpoint)
        raise MountFailed(f"the process that unmounts at the end cannot be started: {errno_text(error)}") from None
    return Device(mountpoint, descriptor, guard, by_helper=True)


def _start_guard(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _UNMOUNT_WHEN_GONE, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=_environment(),
        cwd="/",
        start_new_session=True,
    )


def _unmount_with(helper: str, mountpoint: str) -> bool:
    command = [helper, "-u", "-q", "-z", "--", mountpoint]
    return subprocess.run(command, env=_environment(), capture_output=True).returncode == 0


def _received(channel: socket.socket) -> int | None:
    """The descriptor that the helper sends; None where it ends without."""
    descriptors = array.array("i")
    _, ancillary, _, _ = channel.recvmsg(1, socket.CMSG_SPACE(descriptors.itemsize))
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: descriptors.itemsize])
    if not descriptors:
        return None
    os.set_inheritable(descriptors[0], False)
    return descriptors[0]


def _helper() -> str | None:
    return next((found for name in HELPERS if (found := shutil.which(name))), None)


def _environment() -> dict[str, str]:
    """What a program that we start is given: nothing that may hold a secret."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}


def _system(name: str, *arguments: bytes | int) -> int:
    """Call a function of the C library; the error number, 0 if all is well."""
    library = ctypes.CDLL(None, use_errno=True)
    given = [ctypes.c_ulong(value) if isinstance(value, int) else value for value in arguments]
    if getattr(library, name)(*given) == 0:
        return 0
    return ctypes.get_errno() or errno.EIO
