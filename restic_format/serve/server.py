"""A server from its settings: everything that can be wrong with them is found before it listens."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from types import TracebackType

from restic_format.errors import UsageError
from restic_format.serve.accesslog import AccessLog
from restic_format.serve.application import Access, RestApplication
from restic_format.serve.folders import DataFolder
from restic_format.serve.listening import close_listener, location_of, open_listener
from restic_format.serve.metrics import PrometheusMetrics
from restic_format.serve.running import check_packages, make_tls, run
from restic_format.serve.settings import Settings
from restic_format.serve.users import Users
from restic_format.systemtext import errno_text


class Server:
    """Listens from the beginning, and serves while `run` does. Close it with ``with``.

    *report* is told in one line what the owner of the server must know; it is called from any thread. *environment* is where
    systemd says which socket it passes on.

    Raises:
        UsageError: settings that make no sense, or a package that is missing.
    """

    def __init__(
        self, settings: Settings, report: Callable[[str], object], environment: Mapping[str, str] | None = None
    ) -> None:
        check_packages()
        _check(settings)
        self._report = report
        self._settings = settings
        try:
            self.folder = DataFolder(
                settings.path,
                quota=settings.max_size,
                append_only=settings.append_only,
                group=settings.group,
                verify=settings.verify,
            )
        except OSError as error:
            raise UsageError(f"{settings.path} cannot be the data folder: {errno_text(error)}") from error
        self.users = None
        if not settings.no_auth and not settings.user_header:
            self.users = Users(settings.users or os.path.join(settings.path, ".htpasswd"), report)
        self._tls = None
        if settings.tls:
            certificate = settings.tls_certificate or os.path.join(settings.path, "public_key")
            self._tls = make_tls(
                certificate, settings.tls_key or os.path.join(settings.path, "private_key"), settings.tls_minimum
            )
        metrics = PrometheusMetrics() if settings.metrics else None
        self._listener = open_listener(settings.listen, environment or {})
        try:
            self._log = AccessLog(settings.log) if settings.log else None
        except OSError as error:
            close_listener(self._listener, settings.listen)
            raise UsageError(f"{settings.log} cannot be written: {errno_text(error)}") from error
        self._application = RestApplication(
            self.folder,
            Access(self.users, "" if settings.no_auth else settings.user_header, settings.private, settings.open_metrics),
            report=report,
            metrics=metrics,
            log=self._log,
            debug=settings.debug,
        )
        self.location = location_of(self._listener, tls=settings.tls)
        """What clients write behind ``rest:`` to reach it."""

    def run(self, stopping: Callable[[Callable[[], None]], AbstractContextManager[object]]) -> None:
        """Serve until somebody asks to stop; requests that run are ended, but not for longer than half a minute.

        *stopping* is called with a function and gives a context, inside which it calls that function when the server is to
        stop, in any thread or a signal handler.
        """
        run(self._application, self._listener, tls=self._tls, report=self._report, stopping=stopping)

    def __enter__(self) -> Server:
        """The server."""
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop listening, and close files."""
        close_listener(self._listener, self._settings.listen)
        self._application.close()
        if self._log is not None:
            self._log.close()


def _check(settings: Settings) -> None:
    if not settings.tls and (settings.tls_certificate or settings.tls_key):
        raise UsageError("--tls-cert and --tls-key require --tls")
    if settings.tls_minimum not in ("1.2", "1.3"):
        raise UsageError(f"unsupported TLS version {settings.tls_minimum!r}: it must be 1.2 or 1.3")
    if settings.max_size < 0:
        raise UsageError("--max-size must not be negative")
