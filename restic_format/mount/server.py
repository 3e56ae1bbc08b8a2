"""A mounted repository: threads that read the kernel's requests and answer them, until it is unmounted."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from restic_format.mount import protocol
from restic_format.mount.attributes import Owner
from restic_format.mount.contents import Contents
from restic_format.mount.device import Device, Flags, open_device
from restic_format.mount.errors import MountFailed
from restic_format.mount.folders import Refused
from restic_format.mount.names import PATH_TEMPLATES, TIME_TEMPLATE
from restic_format.mount.places import REFRESH, Places
from restic_format.repository import Repository
from restic_format.snapshots import SnapshotFilter
from restic_format.snapshots.blobcache import BlobCache
from restic_format.work import Cancel
from restic_spec.errors import ResticFormatError

THREADS = 10
"""Requests that are answered at the same time."""
CACHE = 256 << 20
"""Bytes of memory for what was read, unless the caller says otherwise: three quarters for files, the rest for directories."""
SMALLEST_CACHE = 32 << 20
READAHEAD = 1 << 20
"""Bytes that the kernel reads ahead where we may say so."""
PAGES = 256
"""Pages of a request."""
_POLL = 0.5
_PATIENCE = 1.0
"""Seconds that the threads are given to end once it is unmounted."""
_GONE = (errno.ENOENT, errno.EINTR, errno.EAGAIN)
"""A request was taken back, or a signal came."""


class MountOptions(NamedTuple):
    """What to show, and to whom."""

    path_templates: Sequence[str] = PATH_TEMPLATES
    time_template: str = TIME_TEMPLATE
    snapshots: SnapshotFilter = SnapshotFilter()
    """Which snapshots are shown."""
    owner_root: bool = False
    """Whether everything belongs to root."""
    allow_other: bool = False
    """Whether other users may look in."""
    default_permissions: bool = True
    """Whether owners and modes count for others; without, they may read everything."""
    cache_size: int = CACHE
    """Bytes of memory for what was read."""
    refresh: float = REFRESH
    """Seconds after which new snapshots are looked for."""


class Mount:
    """A repository shown as a file system. Its index must be loaded.

    In a ``with`` block it is mounted; at its end it is unmounted, at once even where somebody still uses it.
    """

    def __init__(
        self,
        repository: Repository,
        mountpoint: str,
        options: MountOptions | None = None,
        *,
        told: Callable[[str, ResticFormatError], None],
        by_helper: bool | None = None,
    ) -> None:
        """*told* gets the path of what cannot be read, and why, from any thread. For *by_helper* see `open_device`.

        Raises:
            ResticFormatError: the snapshots cannot be listed.
        """
        self._mountpoint = mountpoint
        self._told = told
        self._by_helper = by_helper
        self._options = options = options or MountOptions()
        size = max(options.cache_size, SMALLEST_CACHE)
        self._source = f"restic:{repository.id[:10]}"
        self._cache = BlobCache(repository, limit=size // 4 * 3)
        places = Places(
            repository,
            options.snapshots,
            path_templates=options.path_templates,
            time_template=options.time_template,
            told=told,
            refresh=options.refresh,
        )
        places.load()
        owner = Owner(os.getuid(), os.getgid(), options.owner_root)
        contents = Contents(repository, places, self._cache, owner=owner, listings=size // 4, told=told)
        self._handlers = contents.handlers
        self._device: Device | None = None
        self._threads: list[threading.Thread] = []
        self._failure: BaseException | None = None

    def __enter__(self) -> Mount:
        """Mount.

        Raises:
            MountFailed: it cannot be mounted.
        """
        options = self._options
        restricted = options.allow_other and options.default_permissions
        flags = Flags(self._source, options.allow_other, restricted)
        self._device = device = open_device(self._mountpoint, flags, by_helper=self._by_helper)
        descriptor = device.descriptor
        try:
            self._greet(descriptor, restricted=restricted)
            for number in range(THREADS):
                thread = threading.Thread(target=self._serve, args=(descriptor,), name=f"mount-{number}", daemon=True)
                thread.start()
                self._threads.append(thread)
            _widen(device.mountpoint)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """`close`."""
        self.close()

    @property
    def is_mounted(self) -> bool:
        """Whether requests are answered: false once somebody has unmounted it."""
        return any(thread.is_alive() for thread in self._threads)

    def serve(self, cancel: Cancel) -> None:
        """Return when somebody has unmounted it, or when *cancel* is set.

        Raises:
            ResticFormatError: what the health that *cancel* looks at raises, such as `LockLost`.
            BaseException: a thread has failed.
        """
        while self.is_mounted and not cancel.is_set():
            cancel.check()
            self._threads[0].join(_POLL)
            if self._failure is not None:
                raise self._failure

    def close(self) -> bool:
        """Unmount if it is mounted; whether it was. Somebody who still has a file open gets errors when the process ends."""
        device, self._device = self._device, None
        if device is None:
            return False
        was_mounted = self.is_mounted or not self._threads
        unmounted = False
        if was_mounted:
            unmounted = device.unmount()
        else:
            device.release()
        end = time.monotonic() + (_PATIENCE if unmounted or not was_mounted else 0)
        for thread in self._threads:
            thread.join(max(0, end - time.monotonic()))
        if not self.is_mounted:
            os.close(device.descriptor)
        self._cache.close()
        return unmounted

    def _greet(self, descriptor: int, *, restricted: bool) -> None:
        """Answer the kernel's first request, which says what it can do."""
        while True:
            request = os.read(descriptor, protocol.MIN_BUFFER)
            _, operation, unique, _, _, _, _, _, _ = protocol.HEADER_IN.unpack_from(request)
            if operation != protocol.INIT:
                _answer(descriptor, unique, errno.EIO, ())
                continue
            reply, minor = protocol.init_reply(
                request[protocol.HEADER_IN.size :],
                readahead=READAHEAD,
                pages=PAGES,
                background=4 * THREADS,
                restricted=restricted,
            )
            if minor and minor < protocol.OLDEST_MINOR:
                raise MountFailed(f"this kernel's FUSE is too old: it speaks 7.{minor}, 7.{protocol.OLDEST_MINOR} is needed")
            _answer(descriptor, unique, 0, (reply,))
            if minor:
                return

    def _serve(self, descriptor: int) -> None:
        """What a thread does: answer requests until there will be none any more."""
        handlers, header = self._handlers, protocol.HEADER_IN
        try:
            while True:
                try:
                    message = os.read(descriptor, protocol.MIN_BUFFER)
                except OSError as error:
                    if error.errno in _GONE:
                        continue
                    return  # unmounted
                _, operation, unique, node, _, _, _, _, _ = header.unpack_from(message)
                handler = handlers.get(operation)
                if handler is None:
                    if operation == protocol.DESTROY:
                        return
                    if operation != protocol.INTERRUPT:
                        number = errno.EROFS if operation in protocol.CHANGES else errno.ENOSYS
                        _answer(descriptor, unique, number, ())
                    continue
                try:
                    reply = handler(protocol.Request(operation, node, message[header.size :]))
                except Refused as refused:
                    _answer(descriptor, unique, refused.number, ())
                    continue
                except Exception as error:  # noqa: BLE001 - one request must not end all others
                    self._told("", ResticFormatError(f"operation {operation} failed: {type(error).__name__}: {error}"))
                    _answer(descriptor, unique, errno.EIO, ())
                    continue
                if reply is not None:
                    _answer(descriptor, unique, 0, reply)
        except BaseException as error:  # noqa: BLE001 - raised by `wait`
            self._failure = self._failure or error


def _answer(descriptor: int, unique: int, number: int, reply: Sequence[bytes | memoryview]) -> None:
    if len(reply) > 16:
        reply = (b"".join(reply),)
    length = protocol.HEADER_OUT.size + sum(map(len, reply))
    with contextlib.suppress(OSError):  # nobody waits for it any more
        os.writev(descriptor, (protocol.HEADER_OUT.pack(length, -number, unique), *reply))


def _widen(mountpoint: str) -> None:
    """Let the kernel read further ahead, where we may."""
    with contextlib.suppress(OSError):
        device = os.stat(mountpoint).st_dev
        with open(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb", "w") as file:
            file.write(str(READAHEAD >> 10))
