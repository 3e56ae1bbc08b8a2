"""``serve``: a REST server for restic and programs like it, with rest-server's options."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import AbstractContextManager, contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from restic_tools.own.running import context_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from restic_format.serve.settings import Settings
    from restic_format.serve.users import Users
    from restic_tools.context import Context

app = typer.Typer()


class TlsVersion(StrEnum):
    """The oldest version of TLS that clients may use."""

    TLS_1_2 = "1.2"
    TLS_1_3 = "1.3"


@app.command()
def serve(
    ctx: typer.Context,
    append_only: Annotated[bool, typer.Option("--append-only", help="let nobody remove or replace anything but locks")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="print every request")] = False,
    group_accessible_repos: Annotated[
        bool, typer.Option("--group-accessible-repos", help="let the group of the data directory use the repositories' files")
    ] = False,
    htpasswd_file: Annotated[
        str,
        typer.Option("--htpasswd-file", metavar="file", help="users and passwords (default: .htpasswd in the data directory)"),
    ] = "",
    listen: Annotated[
        str, typer.Option("--listen", metavar="address", help="listen on host:port, :port or unix:/path")
    ] = ":8000",
    log: Annotated[
        str,
        typer.Option("--log", metavar="file", help="append a line for each request to this file (- for standard output)"),
    ] = "",
    max_size: Annotated[
        int, typer.Option("--max-size", metavar="bytes", help="let the data directory hold no more than this many bytes")
    ] = 0,
    no_auth: Annotated[bool, typer.Option("--no-auth", help="let everybody use all repositories")] = False,
    no_verify_upload: Annotated[
        bool, typer.Option("--no-verify-upload", help="do not check that uploaded files are what their names say")
    ] = False,
    path: Annotated[str, typer.Option("--path", metavar="directory", help="data directory")] = "",
    private_repos: Annotated[
        bool, typer.Option("--private-repos", help="let users use only repositories below /USER/")
    ] = False,
    prometheus: Annotated[bool, typer.Option("--prometheus", help="show metrics for Prometheus at /metrics")] = False,
    prometheus_no_auth: Annotated[bool, typer.Option("--prometheus-no-auth", help="let everybody see the metrics")] = False,
    proxy_auth_username: Annotated[
        str,
        typer.Option("--proxy-auth-username", metavar="header", help="trust the user name that a proxy puts into this header"),
    ] = "",
    tls: Annotated[bool, typer.Option("--tls", help="speak TLS")] = False,
    tls_cert: Annotated[
        str, typer.Option("--tls-cert", metavar="file", help="TLS certificate (default: public_key in the data directory)")
    ] = "",
    tls_key: Annotated[
        str, typer.Option("--tls-key", metavar="file", help="TLS key (default: private_key in the data directory)")
    ] = "",
    tls_min_ver: Annotated[
        TlsVersion, typer.Option("--tls-min-ver", metavar="version", help="oldest TLS version that clients may use")
    ] = TlsVersion.TLS_1_2,
) -> None:
    """Serve repositories to restic over HTTP

    Serves the repositories in the data directory by restic's REST API, with the options of rest-server: clients use the
    repository rest:http://HOST:8000/NAME/. The files are those of local repositories, which can be used at the same time.

    Users must log in with a name and password from the file .htpasswd in the data directory, unless --no-auth is given. With
    --append-only clients can make new backups, but remove nothing.

    The server runs until it is told to stop by a signal (SIGINT or SIGTERM); transfers that run are completed first.
    SIGHUP lets it read the users again, which it also does by itself when the file changes.
    """
    from restic_format.serve.settings import Settings
    from restic_tools.exitcodes import Failure

    tools = context_of(ctx)
    if not path:
        raise Failure("no data directory: name it with --path")
    settings = Settings(
        path=path,
        listen=listen,
        users=htpasswd_file,
        no_auth=no_auth,
        user_header=proxy_auth_username,
        private=private_repos,
        append_only=append_only,
        max_size=max_size,
        verify=not no_verify_upload,
        group=group_accessible_repos,
        tls=tls,
        tls_certificate=tls_cert,
        tls_key=tls_key,
        tls_minimum=tls_min_ver.value,
        metrics=prometheus,
        open_metrics=prometheus_no_auth,
        log=log,
        debug=debug,
    )
    _run(tools, settings)


def _run(ctx: Context, settings: Settings) -> None:
    from restic_format.serve.server import Server
    from restic_tools.messages.serve import ListeningMessage

    def report(text: str) -> None:
        ctx.out.warn(text)
        ctx.out.flush()

    def stopping(stop: Callable[[], None]) -> AbstractContextManager[object]:
        return ctx.interrupt.deferred(stop)

    with Server(settings, report, os.environ) as server:
        authentication = not settings.no_auth
        if ctx.options.json:
            ctx.out.json(
                ListeningMessage(
                    message_type="listening",
                    location=server.location,
                    path=settings.path,
                    authentication=authentication,
                    append_only=settings.append_only,
                    private_repos=settings.private,
                    tls=settings.tls,
                )
            )
        else:
            _say(ctx, settings)
            ctx.out.info(f"listening on {server.location}")
        ctx.out.flush()
        with _hangup(server.users):
            server.run(stopping)


@contextmanager
def _hangup(users: Users | None) -> Iterator[None]:
    """Inside this block SIGHUP has the users read again."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGHUP, lambda _number, _frame: None if users is None else users.look_again())
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, previous)


def _say(ctx: Context, settings: Settings) -> None:
    states = {
        "authentication": not settings.no_auth,
        "append-only mode": settings.append_only,
        "private repositories": settings.private,
        "group-accessible repositories": settings.group,
        "TLS": settings.tls,
    }
    ctx.out.info(f"data directory: {settings.path}")
    for what, enabled in states.items():
        ctx.out.info(f"{what}: {'enabled' if enabled else 'disabled'}")
