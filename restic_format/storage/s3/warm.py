"""Objects in Amazon's archives, which are brought back for some days before they can be read."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor

from restic_format.durations import duration_text
from restic_format.errors import FileCold, FileMissing, StorageError, UsageError
from restic_format.storage.extended import S3Options
from restic_format.storage.objects import ObjectStorage
from restic_format.storage.s3.answers import failure_of, told
from restic_format.storage.s3.sign import hash_of
from restic_format.storage.s3.store import ARCHIVES, S3Store
from restic_format.storage.warming import Warming
from restic_format.work import Cancel
from restic_spec.layout import FileKind

TIERS = ("Standard", "Bulk", "Expedited")

_FIRST, _FACTOR, _LONGEST = 2.0, 1.5, 60.0
"""Seconds between two looks at what has come back: at first, by how much they grow, and at most."""

_NAP = 0.25
"""Seconds between two looks at whether to stop."""


class ArchiveWarming(Warming):
    """Brings objects back as *options* say."""

    def __init__(
        self,
        storage: ObjectStorage,
        store: S3Store,
        options: S3Options,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """Raises `UsageError` for options that make no sense."""
        if options.restore_tier not in TIERS:
            raise UsageError(f"option s3.restore-tier: {options.restore_tier[:80]!r} is none of {', '.join(TIERS)}")
        if not options.restore_days:
            raise UsageError("option s3.restore-days: objects are brought back for one day at least")
        self._storage, self._store, self._options = storage, store, options
        self._clock, self._sleep = clock, sleep
        self._tiered: set[str] = set()
        """Packs that are in an archive tier of the class INTELLIGENT_TIERING."""

    def cold(self, packs: Collection[str], cancel: Cancel) -> list[str]:
        """See `Warming`."""
        return self._select(packs, cancel, self._is_cold)

    def begin(self, packs: Collection[str], cancel: Cancel) -> None:
        """See `Warming`."""
        self._select(packs, cancel, self._ask)

    def wait(self, packs: Collection[str], cancel: Cancel) -> None:
        """See `Warming`. All are needed, so only the first that are missing are looked at; a look that fails is repeated."""
        end, pause, at_once = self._clock() + self._options.restore_timeout, _FIRST, self._store.connections
        left = list(packs)
        while left:
            try:
                missing = self.cold(left[:at_once], cancel)
            except StorageError as error:
                if error.permanent:
                    raise
                missing = left[:at_once]
            left[:at_once] = missing
            if not missing:
                pause = _FIRST
                continue
            if self._clock() >= end:
                left = self.cold(left, cancel)
                what = f"{len(left)} of {len(packs)} packs were asked for and are not back from cold storage"
                waited = f"after {duration_text(self._options.restore_timeout)} (-o s3.restore-timeout)"
                raise FileCold(f"{what} {waited}; run it again later")
            until = min(self._clock() + pause, end)
            while (rest := until - self._clock()) > 0:
                cancel.check()
                self._sleep(min(rest, _NAP))
            pause = min(pause * _FACTOR, _LONGEST)

    def _select(self, packs: Collection[str], cancel: Cancel, holds: Callable[[str], bool]) -> list[str]:
        """Those of *packs* for which *holds*, which is asked for several at once."""

        def once(name: str) -> bool:
            cancel.check()
            return holds(name)

        names = list(packs)
        with ThreadPoolExecutor(min(self._store.connections, len(names) or 1), thread_name_prefix="warm") as threads:
            try:
                return [name for name, wanted in zip(names, threads.map(once, names), strict=True) if wanted]
            except BaseException:
                threads.shutdown(wait=True, cancel_futures=True)
                raise

    def _key(self, name: str) -> str:
        return self._storage.key(FileKind.PACK, name)

    def _is_cold(self, name: str) -> bool:
        """Whether a pack cannot be read now. One that is missing is not: whoever reads it says so."""
        try:
            headers = self._store.head(self._key(name)).headers
        except FileMissing:
            return False
        if headers.get("x-amz-archive-status"):
            self._tiered.add(name)
        elif headers.get("x-amz-storage-class") not in ARCHIVES:
            return False
        coming = headers.get("x-amz-restore")
        return not coming or 'ongoing-request="true"' in coming

    def _ask(self, name: str) -> bool:
        """Ask for a pack; whether that was of use."""
        key = self._key(name)
        body = self._request(name)
        reply = self._store.request(
            "POST", key, {"restore": ""}, {"Content-Type": "application/xml"}, body, body_hash=hash_of(body)
        )
        # It is in no archive any more, was asked for already, or is gone.
        if not reply.ok and failure_of(reply).code not in ("InvalidObjectState", "RestoreAlreadyInProgress", "NoSuchKey"):
            raise told(reply, f"restore {key}", key)
        return reply.ok

    def _request(self, name: str) -> bytes:
        """What is asked for; objects that Amazon itself has moved to a tier stay when they are back, and take no days."""
        days = "" if name in self._tiered else f"<Days>{self._options.restore_days}</Days>"
        tier = f"<GlacierJobParameters><Tier>{self._options.restore_tier}</Tier></GlacierJobParameters>"
        return f'<RestoreRequest xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{days}{tier}</RestoreRequest>'.encode()
