"""A server inside the process that tests it, so that its bounds can be made small."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from restic_format.serve.server import Server as ServeServer
from restic_format.serve.settings import Settings
from tests.servers.base import Place, Server


class Inside(Server):
    """Serves until the ``with`` block ends; *settings* say how, the folder and address are the test's."""

    name = "serve-inside"

    def __init__(self, folder: Path, **settings: object) -> None:
        super().__init__(folder)
        self.reported: list[str] = []
        """What the owner of the server was told."""
        self.data.mkdir(parents=True, exist_ok=True)
        made = Settings(str(self.data), "127.0.0.1:0", **{"no_auth": True, **settings})  # type: ignore[arg-type]
        self.server = ServeServer(made, self.reported.append)
        self.port = int(self.server.location.rsplit(":", 1)[1].strip("/"))
        self._stop: Callable[[], None] = lambda: None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def command(self) -> list[str]:
        raise NotImplementedError

    def place(self, name: str = "") -> Place:
        new = self.new_name(name)
        return Place(f"rest:http://127.0.0.1:{self.port}/{new}/", folder=self.data / new)

    def _run(self) -> None:
        with self.server:
            self.server.run(self._stopping)

    @contextlib.contextmanager
    def _stopping(self, stop: Callable[[], None]) -> Iterator[None]:
        self._stop = stop
        self._ready.set()
        yield

    def ask_to_stop(self) -> None:
        """Ask it to stop, and do not wait."""
        self._stop()

    def __enter__(self) -> Inside:
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()
        self._thread.join(60)
        assert not self._thread.is_alive()
