"""Opening ``s3:`` locations."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from restic_format.errors import UsageError
from restic_format.storage.base import Storage
from restic_format.storage.extended import S3Options, read_options
from restic_format.storage.http.pool import Pool
from restic_format.storage.locations import Options
from restic_format.storage.objects import ObjectStorage
from restic_format.storage.s3.credentials import credentials_of
from restic_format.storage.s3.location import parse
from restic_format.storage.s3.store import S3Store
from restic_format.storage.transport import Transport

if TYPE_CHECKING:
    from restic_format.storage.warming import Warming

LOOKUPS = ("auto", "dns", "path")

_NAME = re.compile(r"[A-Za-z0-9._-]{1,63}")
"""A region, or a storage class."""


def open_s3(rest: str, options: Options, transport: Transport) -> Storage:
    """The storage at ``s3:`` *rest*; for its forms see `restic_format.storage.s3.location.parse`.

    Raises:
        LocationInvalid: no server or no bucket in it.
        UsageError: an option that makes no sense, or credentials that cannot be.
    """
    where = parse(rest)
    known = read_options(S3Options, "s3", options)
    known = known._replace(
        bucket_lookup=known.bucket_lookup.lower() or "auto",
        region=known.region or transport.environment.get("AWS_DEFAULT_REGION", ""),
    )
    for name, text in (("region", known.region), ("storage-class", known.storage_class)):
        if text and not _NAME.fullmatch(text):
            raise UsageError(f"option s3.{name}: {text[:80]!r} cannot be a name of one")
    if known.bucket_lookup not in LOOKUPS:
        raise UsageError(f'bad bucket-lookup style "{options["bucket-lookup"][:80]}" must be "auto", "path" or "dns"')
    credentials = None if known.unsafe_anonymous_auth else credentials_of(transport, known.region)
    store = S3Store(where, known, credentials, lambda origin: Pool(origin, transport, known.connections))
    return S3Storage(store, where.prefix, known)


class S3Storage(ObjectStorage):
    """A repository in S3."""

    def __init__(self, store: S3Store, prefix: str, options: S3Options) -> None:
        super().__init__(store, prefix)
        self._warming = None
        if options.enable_restore:
            from restic_format.storage.s3.warm import ArchiveWarming

            self._warming = ArchiveWarming(self, store, options)

    @property
    def warming(self) -> Warming | None:
        """See `Storage`: with ``-o s3.enable-restore``."""
        return self._warming
