"""Our own REST server, `restic-format serve`, as a process of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import ClassVar

from tests.servers.base import ROOT
from tests.servers.rest_server import AppendOnlyRestServer, RestServer, SocketRestServer, TlsRestServer


def ours() -> list[str]:
    """What starts our program."""
    return [sys.executable, "-m", "restic_tools"]


def environment(found: dict[str, str]) -> dict[str, str]:
    """A server's environment, with where our program is."""
    return {**found, "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in (".", "spec", "tools", "conformance"))}


class OurServer(RestServer):
    """With *options*; anybody may do anything where they do not say otherwise."""

    name: ClassVar[str] = "serve"

    def __init__(self, folder: Path, options: tuple[str, ...] = ("--no-auth",)) -> None:
        super().__init__(folder)
        self.options = options

    def command(self) -> list[str]:
        return [*ours(), "serve", "--path", str(self.data), "--listen", self.listen(), *self.arguments()]

    def environment(self) -> dict[str, str]:
        return environment(super().environment())

    def arguments(self) -> list[str]:
        return list(self.options)


class OurAppendOnlyServer(AppendOnlyRestServer):
    """Nothing but locks can be removed."""

    name = "serve-append-only"

    def command(self) -> list[str]:
        return [*ours(), "serve", *super().command()[1:]]

    def environment(self) -> dict[str, str]:
        return environment(super().environment())


class OurTlsServer(TlsRestServer):
    """With TLS and users."""

    name = "serve-tls"

    def command(self) -> list[str]:
        return [*ours(), "serve", *super().command()[1:]]

    def environment(self) -> dict[str, str]:
        return environment(super().environment())


class OurSocketServer(SocketRestServer):
    """On a unix socket."""

    name = "serve-socket"

    def command(self) -> list[str]:
        return [*ours(), "serve", *super().command()[1:]]

    def environment(self) -> dict[str, str]:
        return environment(super().environment())
