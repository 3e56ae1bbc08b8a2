"""Files that stand under the name of another one: swapped, or copied to the wrong place."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

from restic_format.rescue.wanted import DamagedCopy, DamagedFile, Key, RecoveredBlob, RecoveredFile
from restic_format.work import Cancel


class Misplaced:
    """Finds a file that is wanted in what stands under the name of another damaged one."""

    name = "misplaced"
    certainty = 10

    def blobs(self, wanted: Mapping[Key, Sequence[DamagedCopy]], *, cancel: Cancel | None) -> Iterator[RecoveredBlob]:
        """None: this is about whole files."""
        del wanted, cancel
        return iter(())

    def files(self, wanted: Sequence[DamagedFile], *, cancel: Cancel | None) -> Iterator[RecoveredFile]:
        """Those of *wanted* whose content stands under the name of another one of them."""
        places = {(file.kind, file.name) for file in wanted}
        for file in wanted:
            if cancel is not None:
                cancel.check()
            if file.data is not None:
                name = hashlib.sha256(file.data).hexdigest()
                if name != file.name and (file.kind, name) in places:
                    places.discard((file.kind, name))
                    yield RecoveredFile(file.kind, name, file.data, f"found under the name {file.name[:8]}")
