"""Cold storage: packs that must be asked for some time before they can be read.

A storage that keeps packs so says it with `Storage.warming`. Whoever knows which packs it is going to read asks for them all at
once beforehand (`restic_format.repository.warming.make_ready`): bringing packs back takes minutes to days, and money.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import NamedTuple

from restic_format.work import Cancel


class WarmUp(NamedTuple):
    """Told before packs are read that must be brought back from cold storage first: how many, and their bytes."""

    packs: int
    size: int


class Warming(ABC):
    """Brings packs of a storage back. Packs are given by their names; every method may raise `StorageError`."""

    @abstractmethod
    def cold(self, packs: Collection[str], cancel: Cancel) -> list[str]:
        """Those of *packs* that cannot be read now, also when they were asked for already. Asks for none."""

    @abstractmethod
    def begin(self, packs: Collection[str], cancel: Cancel) -> None:
        """Ask for *packs*, which are `cold`. To ask for one again is of no harm."""

    @abstractmethod
    def wait(self, packs: Collection[str], cancel: Cancel) -> None:
        """Wait until *packs*, which were asked for, can be read.

        Raises:
            FileCold: they cannot after the longest time to wait.
            Interrupted: it was cancelled.
        """
