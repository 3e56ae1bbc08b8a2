"""Tokens for Azure and Google: their libraries get them, they are used as long as they hold, and nothing shows them."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import DefaultAzureCredential

from restic_format.errors import AccessDenied, StorageAway, UsageError
from restic_format.storage import open_storage
from restic_format.storage.azuretokens import azure_tokens
from restic_format.storage.cloudtokens import GivenToken, Lent, TokenSource, session_for
from restic_format.storage.gcs import GcsStore
from restic_format.storage.gcstokens import google_tokens
from restic_format.storage.http.pool import Pool
from restic_format.storage.objects import ObjectStorage
from restic_format.storage.transport import Transport
from restic_spec.layout import FileKind
from tests.servers.azurite import ACCOUNT, Azurite
from tests.servers.base import Server
from tests.servers.certificates import Certificates
from tests.servers.tokens import TokenServer, service_account
from tests.storage.answers import Answers, answer
from tests.storage.contract import CONTENT


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    with TokenServer().running() as server:
        yield server


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """No credentials of whoever runs the tests are within reach, nor a metadata service: the libraries read the environment."""
    for name in list(os.environ):
        if name.startswith(("AZURE_", "GOOGLE_", "IDENTITY_", "MSI_", "CLOUDSDK_", "GCE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    monkeypatch.setattr("google.auth.compute_engine._metadata._NO_GCE_CHECK", True)
    monkeypatch.setattr("google.auth.compute_engine._metadata.detect_gce_residency_linux", lambda: False)
    return monkeypatch


# How long a token is used


def test_a_token_is_used_until_shortly_before_its_end() -> None:
    now = 1000.0
    fetched: list[float] = []

    def fetch() -> Lent:
        fetched.append(now)
        return Lent(f"token-{len(fetched)}", now + 3600)

    source = TokenSource(fetch, clock=lambda: now)
    assert [source.token(), source.token()] == ["token-1"] * 2
    now += 3299
    assert source.token() == "token-1"
    now += 2
    assert source.token() == "token-2"
    assert len(fetched) == 2


def test_a_token_that_is_short_from_the_beginning_is_not_asked_for_at_every_request() -> None:
    now = 1000.0
    source = TokenSource(lambda: Lent(f"token at {now:.0f}", now + 100), clock=lambda: now)
    assert source.token() == "token at 1000"
    now += 49
    assert source.token() == "token at 1000"
    now += 2
    assert source.token() == "token at 1051"


def test_a_refused_token_is_replaced_once() -> None:
    now = 1000.0
    count = 0

    def fetch() -> Lent:
        nonlocal count
        count += 1
        return Lent(str(count), now + 3600)

    source = TokenSource(fetch, clock=lambda: now)
    assert source.token() == "1" and not source.renew("1")  # just got: another one would be refused too
    now += 60
    assert source.renew("1") and source.token() == "2"
    assert source.renew("1") and source.token() == "2"  # another thread comes later with the same token
    assert not source.renew("2")
    assert not GivenToken("t", "VARIABLE").renew("t")


def test_a_refused_token_costs_one_more_request() -> None:
    now = 1000.0
    source = TokenSource(lambda: Lent(f"at {now}", now + 3600), clock=lambda: now)
    source.token()
    now += 60
    http = Answers([answer(401), answer(200, b'{"size": "5"}'), answer(401)])
    storage = ObjectStorage(GcsStore(http, source, "bucket", location="gs:bucket:/"), "")
    assert storage.size(FileKind.CONFIG, "") == 5
    assert [asked.headers["Authorization"] for asked in http.asked] == ["Bearer at 1000.0", "Bearer at 1060.0"]
    with pytest.raises(AccessDenied):
        storage.size(FileKind.CONFIG, "")


# Google


def test_a_service_account_opens_a_bucket(
    gcs_server: Server, tokens: TokenServer, tmp_path: Path, nobody: pytest.MonkeyPatch
) -> None:
    path = service_account(tmp_path, tokens.url)
    place = gcs_server.place()
    source = google_tokens(Transport(environment={"GOOGLE_APPLICATION_CREDENTIALS": str(path)}, user_agent="tests/1"))
    http = Pool(place.environment["STORAGE_EMULATOR_HOST"], Transport(), 2)
    storage = ObjectStorage(GcsStore(http, source, place.location.split(":")[1], location="gs:x"), "tokens")
    storage.save(FileKind.CONFIG, "", CONTENT)
    assert storage.load(FileKind.CONFIG, "") == CONTENT
    assert tokens.given == ["ya29.token-0"] and source.token() == "ya29.token-0"
    asked, headers, body = tokens.asked[0]
    assert asked == "/token" and b"assertion=" in body and headers["User-Agent"] == "tests/1"


def test_what_gives_no_token_for_google_is_told_in_one_line(
    tokens: TokenServer, tmp_path: Path, nobody: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AccessDenied, match=r"^no credentials for Google: set GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_ACC"):
        google_tokens(Transport()).token()
    missing = str(tmp_path / "missing.json")
    with pytest.raises(AccessDenied, match=r"^no credentials for Google: File .*missing.json was not found$"):
        google_tokens(Transport(environment={"GOOGLE_APPLICATION_CREDENTIALS": missing})).token()
    account = {"GOOGLE_APPLICATION_CREDENTIALS": str(service_account(tmp_path, tokens.url))}
    tokens.refuse = (400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})
    with pytest.raises(AccessDenied, match=r"^no token for Google: .*Invalid JWT Signature"):
        google_tokens(Transport(environment=account)).token()
    account = {"GOOGLE_APPLICATION_CREDENTIALS": str(service_account(tmp_path, "http://127.0.0.1:1"))}
    with pytest.raises(StorageAway, match=r"^no token for Google: .*[Rr]efused"):
        google_tokens(Transport(environment=account)).token()


# Azure


def test_a_managed_identity_opens_a_container(azurite: Server, tokens: TokenServer, nobody: pytest.MonkeyPatch) -> None:
    assert isinstance(azurite, Azurite)
    nobody.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
    nobody.setenv("IDENTITY_ENDPOINT", f"{tokens.url}/msi/token")
    nobody.setenv("IDENTITY_HEADER", "header")
    transport = Transport(environment=azurite.variables(), ca_certificates=(str(azurite.certificates.ca),))
    storage = open_storage(azurite.place().location, {}, transport)
    storage.create()
    storage.save(FileKind.CONFIG, "", CONTENT)
    assert storage.load(FileKind.CONFIG, "") == CONTENT
    assert len(tokens.given) == 1


def test_only_the_command_line_of_azure_is_asked_where_that_is_wished_for(tmp_path: Path, nobody: pytest.MonkeyPatch) -> None:
    transport = Transport(environment={"AZURE_FORCE_CLI_CREDENTIAL": "true"})
    with pytest.raises(AccessDenied, match=r"^no credentials for Azure: Azure CLI not found on path; set AZURE_ACCOUNT_KEY or"):
        azure_tokens(transport).token()
    program = tmp_path / "az"
    program.write_text(
        f"#!{sys.executable}\n"
        'print(\'{"accessToken": "cli-token", "expiresOn": "2099-01-01 00:00:00.000000", "expires_on": 4070908800}\')\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    nobody.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert azure_tokens(transport).token() == "cli-token"


def test_what_gives_no_token_for_azure_is_told_in_one_line(nobody: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        AccessDenied, match=r"^no credentials for Azure: set AZURE_ACCOUNT_KEY or AZURE_ACCOUNT_SAS, or sign in"
    ):
        azure_tokens(Transport()).token()


def test_a_way_to_sign_in_to_azure_that_is_refused_is_told_instead_of_those_that_are_not_set_up(
    nobody: pytest.MonkeyPatch,
) -> None:
    # As the library tells it when Microsoft's server refuses: that one cannot be had here.
    text = (
        "DefaultAzureCredential failed to retrieve a token from the included credentials.\nAttempted credentials:\n"
        "\tEnvironmentCredential: Authentication failed: AADSTS7000215: Invalid client secret provided.\nTrace ID: 1\n"
        "\tManagedIdentityCredential: ManagedIdentityCredential authentication unavailable, no response from it.\n"
    )

    def refuse(*_: object, **__: object) -> None:
        raise ClientAuthenticationError(text)

    nobody.setattr(DefaultAzureCredential, "get_token", refuse)
    with pytest.raises(AccessDenied) as caught:
        azure_tokens(Transport()).token()
    said = "Authentication failed: AADSTS7000215: Invalid client secret provided"
    assert str(caught.value) == f"no token for Azure: EnvironmentCredential: {said}"


# What is missing, and what is not shown


@pytest.mark.parametrize(
    ("library", "location", "variables", "said"),
    [
        ("azure.identity", "azure:box:/", {"AZURE_ACCOUNT_NAME": ACCOUNT}, r"set AZURE_ACCOUNT_KEY.*'restic-format\[azure\]'"),
        ("google.auth", "gs:bucket:/", {}, r"set GOOGLE_ACCESS_TOKEN.*'restic-format\[gcs\]'"),
    ],
)
def test_a_library_that_is_not_installed_is_named(
    library: str, location: str, variables: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UsageError, match=said):
        open_storage(location, {}, Transport(environment=variables))


def test_a_text_that_is_no_token_is_not_shown() -> None:
    with pytest.raises(UsageError, match="GOOGLE_ACCESS_TOKEN is not a token") as caught:
        open_storage("gs:bucket:/", {}, Transport(environment={"GOOGLE_ACCESS_TOKEN": "secret\r\nHost: x"}))
    assert "secret" not in str(caught.value)


def test_neither_library_is_imported_where_a_key_or_a_token_is_given() -> None:
    code = (
        "import sys; from restic_format.storage import open_storage; from restic_format.storage.transport import Transport\n"
        "environment = {'AZURE_ACCOUNT_NAME': 'a', 'AZURE_ACCOUNT_KEY': 'AAAA', 'GOOGLE_ACCESS_TOKEN': 't'}\n"
        "for location in ('azure:box:/', 'gs:bucket:/'): open_storage(location, {}, Transport(environment=environment))\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('azure', 'google', 'requests', 'msal')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# How the libraries reach their servers


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_the_libraries_trust_the_certificates_that_are_given_instead_of_the_systems(
    azurite: Server, certificates: Certificates
) -> None:
    assert isinstance(azurite, Azurite)
    url = f"https://127.0.0.1:{azurite.port}/"
    session = session_for(Transport(ca_certificates=(str(certificates.ca),)))
    assert session.get(url, verify=False).status_code == 400  # reached: what the library asks for counts as little here…
    with pytest.raises(requests.exceptions.SSLError):
        session_for(Transport()).get(url, verify=str(certificates.ca))  # … as here
    both = (str(certificates.other_ca), str(certificates.ca))
    assert session_for(Transport(ca_certificates=both)).get(url).status_code == 400
    with pytest.raises(requests.exceptions.SSLError):
        session_for(Transport(ca_certificates=(str(certificates.other_ca),))).get(url)
    assert session_for(Transport(verify=False)).get(url).status_code == 400


def test_the_libraries_go_through_the_proxy_that_is_given(azurite: Server) -> None:
    assert isinstance(azurite, Azurite)
    transport = Transport(environment=azurite.variables(), ca_certificates=(str(azurite.certificates.ca),))
    # No resolver knows this name: the proxy does.
    assert session_for(transport).get(f"https://{ACCOUNT}.blob.localhost:{azurite.port}/").status_code == 400
