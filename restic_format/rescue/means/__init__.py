"""Means: the ways in which blobs and files can be brought back, a module each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from restic_format.rescue.wanted import DamagedCopy, DamagedFile, Key, RecoveredBlob, RecoveredFile
from restic_format.work import Cancel


class Means(Protocol):
    """One way to bring something back.

    What it yields has been verified; what it cannot bring back it leaves out, for the next means to try. It changes nothing.
    """

    name: str
    """A short word for plans and reports, such as ``other copy`` or ``parity``."""
    certainty: int
    """The order of trying: lower goes first."""

    def blobs(self, wanted: Mapping[Key, Sequence[DamagedCopy]], *, cancel: Cancel | None) -> Iterator[RecoveredBlob]:
        """Those of the *wanted* blobs that can be brought back. The damaged copies of each are given; there may be none.

        Raises:
            Interrupted: it was cancelled.
        """
        ...

    def files(self, wanted: Sequence[DamagedFile], *, cancel: Cancel | None) -> Iterator[RecoveredFile]:
        """Those of the *wanted* files that can be brought back.

        Raises:
            Interrupted: it was cancelled.
        """
        ...
