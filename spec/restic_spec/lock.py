"""Lock files: who is using the repository, and whether alone."""

from __future__ import annotations

from restic_spec import gotime, wire

STALE_AFTER = 30 * 60
"""Seconds after which a lock whose time was not refreshed is stale (LOCK-5)."""

REFRESH_EVERY = 5 * 60
"""Seconds between refreshes: a new lock file with a new time, then the old one is removed (LOCK-6)."""

RECHECK_AFTER = 0.2
"""Seconds between writing a lock and looking once more for a conflicting one (LOCK-3)."""


class Lock(wire.Document):
    """The decrypted content of a file in ``locks/``, fields in stored order (LOCK-1)."""

    time: str
    """When the lock was made or last refreshed (LOCK-6), RFC 3339; after 30 minutes it is stale (LOCK-5)."""
    exclusive: bool
    """Whether no other lock may exist beside it (LOCK-2)."""
    hostname: str
    """Host of the process (LOCK-5)."""
    username: str
    """Its user (LOCK-1)."""
    pid: wire.I64
    """Its process id on that host (LOCK-5)."""
    uid: wire.U32 = 0
    """Its numeric user id (LOCK-1)."""
    gid: wire.U32 = 0
    """Its numeric group id (LOCK-1)."""


def decode_lock(raw: bytes, what: str = "lock") -> Lock:
    """Parse a lock.

    Raises:
        JsonInvalid: not of this schema, or an invalid time.
    """
    lock = wire.decode(Lock, raw, what, "LOCK-1")
    gotime.check(lock.time, what, "LOCK-1")
    return lock


def encode_lock(lock: Lock) -> bytes:
    """The plaintext to store for *lock*."""
    return wire.encode(lock)
