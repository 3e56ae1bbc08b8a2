"""Tokens for Azure from Microsoft's azure-identity: service principals, managed and workload identities, ``az login``."""

from __future__ import annotations

import logging

from restic_format.errors import AccessDenied, UsageError
from restic_format.storage.cloudtokens import Lent, TokenSource, session_for
from restic_format.storage.transport import Transport
from restic_format.words import visible

_SCOPE = "https://storage.azure.com/.default"

_TRUE = ("1", "t", "T", "true", "TRUE", "True")


def azure_tokens(transport: Transport) -> TokenSource:
    """Tokens for what azure-identity finds: in restic's order, or only what ``az`` gives ($AZURE_FORCE_CLI_CREDENTIAL).

    The library reads the environment of this process. Raises `UsageError` where it is not installed.
    """
    try:
        from azure.core.exceptions import ClientAuthenticationError
        from azure.core.pipeline.transport import RequestsTransport
        from azure.identity import AzureCliCredential, CredentialUnavailableError, DefaultAzureCredential
    except ImportError:
        raise UsageError(
            "no credentials for Azure: set AZURE_ACCOUNT_KEY or AZURE_ACCOUNT_SAS; "
            "for other ways to sign in: pip install 'restic-format[azure]'"
        ) from None
    logging.getLogger("azure").addHandler(logging.NullHandler())
    logging.getLogger("azure").propagate = False
    credential: AzureCliCredential | DefaultAzureCredential
    if transport.environment.get("AZURE_FORCE_CLI_CREDENTIAL") in _TRUE:
        credential = AzureCliCredential()
    else:
        credential = DefaultAzureCredential(
            transport=RequestsTransport(session=session_for(transport), session_owner=False),
            exclude_shared_token_cache_credential=True,
            exclude_visual_studio_code_credential=True,
            exclude_powershell_credential=True,
            exclude_broker_credential=True,
        )

    def fetch() -> Lent:
        try:
            found = credential.get_token(_SCOPE)
        except CredentialUnavailableError as error:
            raise AccessDenied(f"no credentials for Azure: {_first_line(error)}") from None
        except ClientAuthenticationError as error:
            raise AccessDenied(f"no token for Azure: {_why(error)}") from None
        return Lent(found.token, float(found.expires_on))

    return TokenSource(fetch)


def _first_line(error: Exception) -> str:
    return visible(str(error).strip().partition("\n")[0])[:300]


def _why(error: Exception) -> str:
    """The first line that says more than that something is not there; the library lists every way that it tried."""
    return _first_line(error)
