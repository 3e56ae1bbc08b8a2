"""The files of --cacert and --tls-client-cert, read before a repository is opened: one that cannot be used ends the command."""

from __future__ import annotations

import os

from restic_format.systemtext import errno_text
from restic_tools.environment import encode
from restic_tools.exitcodes import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from restic_tools.globaloptions import GlobalOptions

_LARGEST = 16 << 20
"""Bytes of a certificate file that are read: all certificates of a system take a few hundred KiB."""


def check_certificates(options: GlobalOptions) -> None:
    """Read the certificate files that *options* name, whatever storage is used. ``Failure`` where one cannot be used."""
    for path in filter(None, options.cacert):
        _check_roots(path, _read(path, "unable to read root certificate: "))
    if options.tls_client_cert:
        _check_client(_read(options.tls_client_cert, "ReadFile: "))


def _read(path: str, what: str) -> bytes:
    try:
        with open(encode(path), "rb", buffering=0, opener=_opener) as file:
            return file.read(_LARGEST) or b""
    except OSError as error:
        operation = "read" if isinstance(error, IsADirectoryError) else "open"
        raise Failure(f"{what}{operation} {path}: {errno_text(error)}") from None


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOCTTY)


def _check_roots(path: str, pem: bytes) -> None:
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError):
        raise Failure(f'cannot parse root certificate from "{path}"') from None


def _check_client(pem: bytes) -> None:
    """The file holds a certificate and the private key for it, without a password."""
    import ssl

    failed = "parse TLS client cert or key: "
    for what, beginning in (("certificate", rb"-----BEGIN CERTIFICATE-----"), ("key", rb"PRIVATE KEY-----")):
        if beginning not in pem:
            raise Failure(f"{failed}tls: failed to find any PEM data in {what} input")
    # The library reads files only; in memory, so that the key comes to no disk.
    fd = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(pem)
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(f"/proc/self/fd/{fd}", password="")
    except (ssl.SSLError, ValueError) as error:
        raise Failure(f"{failed}{getattr(error, 'reason', None) or error}") from None
    finally:
        os.close(fd)
