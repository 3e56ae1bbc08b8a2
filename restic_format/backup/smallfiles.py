"""Files of one chunk, many at a time: read in one call, hashed and sealed in others, their nodes written in another."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from restic_format.backup import source
from restic_format.backup.errors import SourceError
from restic_format.backup.jobs import Batch, FileGroup, FileJob
from restic_format.backup.options import Change, ItemStats
from restic_format.backup.pending import NOTHING, change_of
from restic_format.backup.source import Folder, Place
from restic_format.backup.trees import encode_node
from restic_format.native import nodes
from restic_format.native.blobs.hashes import ids_of
from restic_spec import gojson
from restic_spec.pack import BlobType
from restic_spec.tree import FILE, Node, decode_node

if TYPE_CHECKING:
    from restic_format.backup.files import Team

_Outcome = tuple[bytes, Node | None, ItemStats]
"""A saved file: its node, the same as an object where that was needed, what was added."""


class SmallFiles:
    """Saves small files for one worker, whose *buffer* it uses."""

    def __init__(self, team: Team, buffer: memoryview) -> None:
        self._team = team
        self._buffer = buffer
        self._in_one_call = source.kernel_works()
        self._limit = team.cutter.min_size

    def save(self, batch: Batch) -> Iterator[FileJob]:
        """Save what is small; gives the files that are left to the caller."""
        small = [work for work in batch if isinstance(work, FileGroup) or work.size <= self._limit]
        if not self._in_one_call or not small or (len(small) == 1 and isinstance(small[0], FileJob)):
            # Groups are found only by the kernel.
            yield from (work for work in batch if isinstance(work, FileJob))
            return
        started = time.monotonic()
        shown = small[0].item
        self._team.progress.start_file(shown)
        names: list[bytes] = []
        groups: list[tuple[Folder, list[bytes]]] = []
        for work in small:
            if isinstance(work, FileGroup):
                names += work.names
                groups.append((work.folder, work.names))
            else:
                names.append(work.name)
                groups.append((work.place.folder, [work.place.name]))
        failed = self._save(small, groups, names, started)
        self._team.progress.end_file(shown)
        yield from failed
        yield from (work for work in batch if isinstance(work, FileJob) and work.size > self._limit)

    def _save(
        self, small: Batch, groups: list[tuple[Folder, list[bytes]]], names: list[bytes], started: float
    ) -> list[FileJob]:
        """Save files of some directories; those that cannot be read this way are given back."""
        team = self._team
        infos, pieces, changed = nodes.read_files(groups, self._buffer, self._limit)
        places = [Place(folder, name) for folder, found in groups for name in found]
        ids = [blob_id if piece else b"" for blob_id, piece in zip(ids_of(pieces), pieces, strict=True)]
        saved = iter(team.repository.save_blobs(BlobType.DATA, [blob for blob in zip(ids, pieces, strict=True) if blob[0]]))
        sizes = list(map(len, pieces))
        written = team.builder.write(names, infos, sizes, ids)
        outcomes: list[_Outcome | None] = [None] * len(names)
        for number, (info, size, blob_id, encoded) in enumerate(zip(infos, sizes, ids, written, strict=True)):
            if info is None:
                continue
            stats = NOTHING
            if size and not (blob := next(saved)).known:
                stats = ItemStats(1, size, blob.stored)
            node = None
            if encoded is None:
                node = team.builder.build(names[number], info, places[number], team.warn)
                node.content = [blob_id.hex()] if size else []
                node.size = size
                encoded = encode_node(node)
            outcomes[number] = encoded, node, stats
        for number in changed:
            team.books.error(gojson.to_text(os.path.abspath(places[number].path)), changed_meanwhile(places[number].path))
        team.books.files_done(sum(sizes), [one[2] for one in outcomes if one is not None])
        seconds = time.monotonic() - started
        failed: list[FileJob] = []
        first = 0
        for work in small:
            if isinstance(work, FileGroup):
                end = first + len(work.names)
                failed += self._settle_group(work, outcomes[first:end], seconds)
                first = end
            else:
                failed += self._settle(work, outcomes[first], seconds)
                first += 1
        return failed

    def _settle(self, job: FileJob, outcome: _Outcome | None, seconds: float) -> list[FileJob]:
        """Put a file's node in its place; it is given back where there is none."""
        if outcome is None:
            return [job]
        encoded, node, stats = outcome
        job.nodes[job.slot] = encoded
        change: Change = "new"
        if job.previous is not None:
            change = change_of(job.previous, decode_node(encoded) if node is None else node)
        self._team.books.counted(change)
        if self._team.progress.tells_items:
            self._team.progress.item_done(job.item, FILE, change, stats, seconds)
        self._team.books.closed(job.directory)
        return []

    def _settle_group(self, group: FileGroup, outcomes: list[_Outcome | None], seconds: float) -> list[FileJob]:
        """The same for a group."""
        team = self._team
        group.nodes[:] = [None if one is None else one[0] for one in outcomes]
        failed = [group.job(number) for number, one in enumerate(outcomes) if one is None]
        team.books.counted("new", len(outcomes) - len(failed))
        if team.progress.tells_items:
            for name, one in zip(group.names, outcomes, strict=True):
                if one is not None:
                    team.progress.item_done(f"{group.item}/{gojson.to_text(name)}", FILE, "new", one[2], seconds)
        if failed:
            team.books.opened(group.directory, len(failed))
        team.books.closed(group.directory)
        return failed


def changed_meanwhile(path: bytes) -> SourceError:
    """What to tell of a file that was not the same before and after it was read."""
    return SourceError(f"{gojson.to_text(path)}: the file changed while it was read")
