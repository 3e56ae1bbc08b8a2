"""Bringing packs back by asking for them, by running a program, and by waiting, as rustic does it.

Nobody can tell here which packs are cold: each is taken to be until it was asked for.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from restic_format.errors import StorageError
from restic_format.storage.base import Storage, WrappedStorage
from restic_format.storage.child import environment_of
from restic_format.storage.transport import Transport
from restic_format.storage.warming import Warming
from restic_format.systemtext import errno_text, exit_text
from restic_format.work import Cancel
from restic_spec.layout import FileKind

_NAP = 0.25
"""Seconds between two looks at whether to stop."""


class WarmUpRules(NamedTuple):
    """How packs are brought back, in rustic's terms. In commands ``%id`` and ``%path`` stand for a pack, ``%ids`` and
    ``%paths`` for as many as are given to a command at once, a word each.
    """

    access: bool = False
    """Ask the storage for each pack, whatever it answers."""
    command: Sequence[str] = ()
    """Words of a command that asks for packs."""
    wait_command: Sequence[str] = ()
    """Words of a command that returns when packs can be read."""
    wait: float = 0.0
    """Seconds to wait after all that."""
    batch: int = 1
    """Packs that a command is given at once, where it takes several."""

    @property
    def wanted(self) -> bool:
        """Whether packs need to be brought back at all."""
        return bool(self.access or self.command or self.wait_command or self.wait)


class WarmedStorage(WrappedStorage):
    """Wraps *inner*, whose packs are brought back by *rules*."""

    def __init__(self, inner: Storage, rules: WarmUpRules, transport: Transport) -> None:
        super().__init__(inner)
        self._by_rules = RuledWarming(inner, rules, transport)

    @property
    def warming(self) -> Warming | None:
        """What brings packs back."""
        return self._by_rules


class RuledWarming(Warming):
    """Brings packs of *storage* back by *rules*; those that *is_hot* says need not be."""

    def __init__(
        self, storage: Storage, rules: WarmUpRules, transport: Transport, is_hot: Callable[[str], bool] | None = None
    ) -> None:
        self._storage, self._rules, self._transport, self._is_hot = storage, rules, transport, is_hot
        self._lock = threading.Lock()
        self._warm: set[str] = set()

    def cold(self, packs: Collection[str], cancel: Cancel) -> list[str]:
        """See `Warming`."""
        del cancel
        with self._lock:
            warm = set(self._warm)
        return [name for name in packs if name not in warm and not (self._is_hot and self._is_hot(name))]

    def begin(self, packs: Collection[str], cancel: Cancel) -> None:
        """See `Warming`."""
        rules = self._rules
        if rules.command:
            self._run(rules.command, packs, cancel)
        elif rules.access:
            with ThreadPoolExecutor(self._storage.connections, thread_name_prefix="warm-up") as threads:
                for _ in threads.map(lambda name: self._ask(name, cancel), packs):
                    cancel.check()

    def wait(self, packs: Collection[str], cancel: Cancel) -> None:
        """See `Warming`."""
        if self._rules.wait_command:
            self._run(self._rules.wait_command, packs, cancel)
        until = time.monotonic() + self._rules.wait
        while (left := until - time.monotonic()) > 0:
            cancel.check()
            time.sleep(min(left, _NAP))
        with self._lock:
            self._warm.update(packs)

    def _ask(self, name: str, cancel: Cancel) -> None:
        if cancel.is_set():
            return
        try:
            self._storage.load(FileKind.PACK, name, 0, 1)
        except StorageError:
            return  # the request is what counts

    def _run(self, command: Sequence[str], packs: Collection[str], cancel: Cancel) -> None:
        several = any(word in ("%ids", "%paths") for word in command)
        size = max(1, self._rules.batch) if several else 1
        names = list(packs)
        for start in range(0, len(names), size):
            cancel.check()
            self._run_for(command, names[start : start + size])

    def _run_for(self, command: Sequence[str], names: Sequence[str]) -> None:
        paths = [self._storage.path(FileKind.PACK, name) for name in names]
        words: list[str] = []
        for word in command:
            if word in ("%ids", "%paths"):
                words += names if word == "%ids" else paths
            else:
                words.append(word.replace("%id", names[0]).replace("%path", paths[0]))
        try:
            done = subprocess.run(
                words,
                env=environment_of(self._transport.environment) or None,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
        except (OSError, ValueError) as error:
            why = errno_text(error) if isinstance(error, OSError) else str(error)
            raise StorageError(f"warm-up: {command[0]} cannot be started: {why}") from None
        for line in done.stdout.decode("utf-8", "replace").splitlines():
            self._transport.report(f"warm-up: {line[:1000]}")
        if done.returncode:
            self._transport.report(f"warm-up: {command[0]} for pack {names[0]} ended with {exit_text(done.returncode)}")
