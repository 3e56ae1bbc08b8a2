"""Tokens for Google from Google's google-auth: service accounts, users, workloads, a machine's own account."""

from __future__ import annotations

import datetime
import logging
import warnings

from restic_format.errors import AccessDenied, StorageAway, UsageError
from restic_format.storage.cloudtokens import Lent, TokenSource, session_for
from restic_format.storage.transport import Transport
from restic_format.words import visible

_SCOPES = ("https://www.googleapis.com/auth/devstorage.read_write",)

_SIGN_IN = "set GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_ACCESS_TOKEN, or sign in with gcloud"


def google_tokens(transport: Transport) -> TokenSource:
    """Tokens for what google-auth finds: $GOOGLE_APPLICATION_CREDENTIALS, what ``gcloud`` has stored, the machine's account.

    The library reads the environment of this process. Raises `UsageError` where it is not installed.
    """
    try:
        import google.auth
        from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError
        from google.auth.transport.requests import Request
    except ImportError:
        raise UsageError(
            "no credentials for Google: set GOOGLE_ACCESS_TOKEN; for other ways to sign in: pip install 'restic-format[gcs]'"
        ) from None
    logging.getLogger("google").addHandler(logging.NullHandler())
    request = Request(session_for(transport))
    path = transport.environment.get("GOOGLE_APPLICATION_CREDENTIALS")
    held: list[google.auth.credentials.Credentials] = []

    def find() -> google.auth.credentials.Credentials:
        if not path:
            return google.auth.default(_SCOPES, request)[0]
        with warnings.catch_warnings():
            # That such a file may come from others is known: it is the user who names it.
            warnings.simplefilter("ignore", DeprecationWarning)
            return google.auth.load_credentials_from_file(path, _SCOPES, request=request)[0]

    def fetch() -> Lent:
        try:
            if not held:
                held.append(find())
            held[0].refresh(request)
        except DefaultCredentialsError as error:
            raise AccessDenied(f"no credentials for Google: {_one_line(error) if path else _SIGN_IN}") from None
        except TransportError as error:
            raise StorageAway(f"no token for Google: {_one_line(error)}") from None
        except (GoogleAuthError, ValueError) as error:
            raise AccessDenied(f"no token for Google: {_one_line(error)}") from None
        ends = held[0].expiry
        if not held[0].token:
            raise AccessDenied("no token for Google: its server gave none")
        # Without an end it is asked for again after an hour, the longest that Google gives.
        moment = ends.replace(tzinfo=datetime.UTC) if ends else datetime.datetime.now(datetime.UTC)
        return Lent(held[0].token, moment.timestamp() + (0 if ends else 3600))

    return TokenSource(fetch)


def _one_line(error: Exception) -> str:
    return visible(str(error.args[0] if error.args else error).strip().partition("\n")[0])[:300].rstrip(".")
