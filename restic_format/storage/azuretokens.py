"""Tokens for Azure from Microsoft's azure-identity: service principals, managed and workload identities, ``az login``."""

from __future__ import annotations

import logging

from restic_format.errors import AccessDenied, StorageAway, UsageError
from restic_format.storage.cloudtokens import Lent, TokenSource, session_for
from restic_format.storage.transport import Transport
from restic_format.words import visible

_SCOPE = "https://storage.azure.com/.default"

_LONGEST = 300
"""Characters of the library's words that are shown."""

_NOT_SET_UP = ("unavailable", "not fully configured", "not found", "not installed", "Please run 'az", "Please run 'azd")
"""What the library says of ways to sign in of which it found nothing on this machine."""

_SIGN_IN = "set AZURE_ACCOUNT_KEY or AZURE_ACCOUNT_SAS, or sign in with az login, a service principal or a managed identity"

_TRUE = ("1", "t", "T", "true", "TRUE", "True")


def azure_tokens(transport: Transport) -> TokenSource:
    """Tokens for what azure-identity finds: in restic's order, or only what ``az`` gives ($AZURE_FORCE_CLI_CREDENTIAL).

    The library reads the environment of this process. Raises `UsageError` where it is not installed.
    """
    try:
        from azure.core.exceptions import AzureError, ClientAuthenticationError
        from azure.core.pipeline.transport import RequestsTransport
        from azure.identity import AzureCliCredential, CredentialUnavailableError, DefaultAzureCredential
    except ImportError:
        raise UsageError(
            "no credentials for Azure: set AZURE_ACCOUNT_KEY or AZURE_ACCOUNT_SAS; "
            "for other ways to sign in: pip install 'restic-format[azure]'"
        ) from None
    logging.getLogger("azure").addHandler(logging.NullHandler())
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
            raise AccessDenied(f"no credentials for Azure: {_one_line(str(error))}; {_SIGN_IN}") from None
        except ClientAuthenticationError as error:
            if refused := _refused(str(error)):
                raise AccessDenied(f"no token for Azure: {refused}") from None
            raise AccessDenied(f"no credentials for Azure: {_SIGN_IN}") from None
        except (AzureError, ValueError) as error:
            raise StorageAway(f"no token for Azure: {_one_line(str(error))}") from None
        return Lent(found.token, float(found.expires_on))

    return TokenSource(fetch)


def _one_line(text: str) -> str:
    return visible(text.strip().partition("\n")[0].strip())[:_LONGEST].rstrip(".")


def _refused(text: str) -> str:
    """What the library says about a way to sign in that was refused; "" where none that it tried is set up.

    For each way there is a line, with its name at the beginning.
    """
    for line in text.splitlines():
        way, colon, said = line.strip().partition("Credential: ")
        if colon and not any(mark in said for mark in _NOT_SET_UP):
            return _one_line(f"{way}Credential: {said}")
    return ""
