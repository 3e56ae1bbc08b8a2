"""TLS: which certificates are trusted, and what goes wrong with them."""

from __future__ import annotations

import ssl

from restic_format.errors import ServerNotTrusted, StorageError, UsageError
from restic_format.storage.transport import Transport


def context(transport: Transport) -> ssl.SSLContext:
    """How connections are secured: the system's roots, or those that are given; a certificate of our own.

    Raises:
        UsageError: a file of certificates cannot be used.
    """
    own_roots = bool(transport.ca_certificates)
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if own_roots else ssl.create_default_context()
    found.minimum_version = ssl.TLSVersion.TLSv1_2
    # Go leaves out the parts of X.509 that newer versions of Python insist on.
    found.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    path = ""
    try:
        for path in transport.ca_certificates:
            found.load_verify_locations(path)
        if transport.client_certificate:
            path = transport.client_certificate
            found.load_cert_chain(path, password=_no_password)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be used as a certificate: {getattr(error, 'reason', None) or error}") from None
    if not transport.verify:
        found.check_hostname = False
        found.verify_mode = ssl.CERT_NONE
    found.set_alpn_protocols(["http/1.1"])
    return found


def _no_password() -> str:
    raise ValueError("the private key has a password")


def told(name: str, error: BaseException, *, connecting: bool) -> StorageError | None:
    """What an *error* of TLS means for the server *name*; None where it is another."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return ServerNotTrusted(f"{name}: tls: failed to verify certificate: {error.verify_message}")
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError) or not isinstance(error, ssl.SSLError):
        return None
    reason = (error.reason or "").replace("_", " ").lower()
    if connecting and reason == "wrong version number":
        return ServerNotTrusted(f"{name}: server gave HTTP response to HTTPS client")
    if "certificate" in reason:  # the server wants one, or another: said at the first answer in TLS 1.3
        return ServerNotTrusted(f"{name}: remote error: tls: {reason}")
    return ServerNotTrusted(f"{name}: tls: {reason}") if connecting else None
