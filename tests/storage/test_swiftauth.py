"""Signing in to OpenStack: what we send is what restic sends, and what comes back is understood or told."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from restic_format.errors import AccessDenied, StorageError, UsageError
from restic_format.storage.http.pool import Pool
from restic_format.storage.swiftauth import Identity, Session, identity_from, sign_in
from restic_format.storage.transport import Transport
from tests.servers.base import peer
from tests.servers.identity import IdentityServer, running_identity
from tests.storage.answers import Answers, answer

LONG = "0123456789abcdef" * 2

SIGN_INS = [
    "v1.0 ST_USER=u ST_KEY=k",
    "v1.0 OS_USERNAME=first OS_PASSWORD=p ST_USER=second ST_KEY=k",
    "v2.0 OS_USERNAME=u OS_PASSWORD=p OS_TENANT_NAME=t",
    f"v2.0/ OS_USERNAME=u OS_PASSWORD={LONG} OS_TENANT_ID=i",
    "v2.0 OS_USERNAME=u OS_PASSWORD=p OS_PROJECT_NAME=n OS_TENANT_NAME=t OS_TENANT_ID=i",
    "v3 OS_USERNAME=u OS_PASSWORD=p",
    "v3/ OS_USERNAME=u OS_PASSWORD=p OS_USER_DOMAIN_NAME=d OS_PROJECT_NAME=n",
    "v3 OS_USER_ID=i OS_PASSWORD=p OS_USER_DOMAIN_ID=d OS_PROJECT_NAME=n OS_PROJECT_DOMAIN_ID=e",
    "v3 OS_USERNAME=u OS_USER_ID=i OS_PASSWORD=p OS_USER_DOMAIN_ID=d OS_PROJECT_NAME=n",
    "v3 OS_USERNAME=u OS_PASSWORD=p OS_USER_DOMAIN_ID=d OS_USER_DOMAIN_NAME=c OS_PROJECT_NAME=n",
    "v3 OS_USERNAME=u OS_PASSWORD=p OS_PROJECT_NAME=n OS_PROJECT_DOMAIN_ID=a OS_PROJECT_DOMAIN_NAME=b",
    "v3 OS_USERNAME=u OS_PASSWORD=p OS_TENANT_ID=i OS_TENANT_NAME=n OS_PROJECT_DOMAIN_NAME=d",
    "v3 OS_USERNAME=u OS_PASSWORD=p OS_PROJECT_NAME=n",
    "v3 OS_USERNAME=u OS_PASSWORD=p OS_TRUST_ID=t OS_PROJECT_NAME=n",
    "v3 OS_PASSWORD=token OS_PROJECT_NAME=n",
    "v3 OS_APPLICATION_CREDENTIAL_ID=a OS_APPLICATION_CREDENTIAL_SECRET=s OS_PROJECT_NAME=n OS_TRUST_ID=t",
    "v3 OS_APPLICATION_CREDENTIAL_ID=a OS_APPLICATION_CREDENTIAL_NAME=n OS_APPLICATION_CREDENTIAL_SECRET=s OS_USERNAME=u",
    "v3 OS_APPLICATION_CREDENTIAL_NAME=n OS_APPLICATION_CREDENTIAL_SECRET=s OS_USERNAME=u OS_USER_DOMAIN_NAME=d",
    "v3 OS_APPLICATION_CREDENTIAL_NAME=n OS_APPLICATION_CREDENTIAL_SECRET=s OS_USERNAME=u OS_USER_DOMAIN_ID=d",
    "v3 OS_APPLICATION_CREDENTIAL_NAME=n OS_APPLICATION_CREDENTIAL_SECRET=s OS_USERNAME=u OS_USER_ID=i OS_USER_DOMAIN_ID=d",
]
"""Versions in the address of the service, and variables."""


@pytest.fixture
def identity_server() -> Iterator[IdentityServer]:
    with running_identity() as server:
        yield server


def variables(server: IdentityServer, words: str) -> dict[str, str]:
    """The variables of one of `SIGN_INS`."""
    version, *given = words.split()
    found = dict(word.split("=", 1) for word in given)
    return found | {"ST_AUTH" if version == "v1.0" else "OS_AUTH_URL": f"{server.url}/{version}"}


def enter(environment: dict[str, str]) -> Session:
    return sign_in(identity_from(environment), lambda origin: Pool(origin, Transport(), 1))


@pytest.mark.parametrize("words", SIGN_INS)
def test_it_asks_for_a_token_as_restic_does(identity_server: IdentityServer, words: str, tmp_path: Path) -> None:
    environment = variables(identity_server, words)
    told = subprocess.run(
        [peer("restic-0.19", "restic"), "-r", "swift:box:/x", "--no-cache", "snapshots"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "RESTIC_PASSWORD": "x", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Authorization Failed" in told.stderr
    theirs, identity_server.asked = identity_server.asked, []
    with pytest.raises(AccessDenied, match=r"swift: signing in: 401 Unauthorized: The request needs authentication\."):
        enter(environment)
    # restic asks everything twice. We do where the second request is another one.
    distinct = [asked for number, asked in enumerate(theirs) if asked not in theirs[:number]]
    assert identity_server.asked == distinct


@pytest.mark.parametrize("version", ["auth/v1.0", "v2.0", "v3"])
def test_it_finds_the_object_storage_of_the_region(identity_server: IdentityServer, version: str) -> None:
    identity_server.token, identity_server.storage = "t", "http://127.0.0.1:1/v1/AUTH_x/"
    identity_server.catalog = [
        ("compute", "here", "public", "http://compute"),
        ("object-store", "here", "internal", "http://internal"),
        ("object-store", "there", "public", "http://there/v1/AUTH_x"),
    ]
    environment = {"OS_AUTH_URL": f"{identity_server.url}/{version}", "OS_USERNAME": "u", "OS_PASSWORD": "p"}
    here = Session("http://127.0.0.1:1/v1/AUTH_x", "t")
    assert enter({**environment, "OS_REGION_NAME": "here"}) == here
    if version == "auth/v1.0":
        assert enter(environment) == here
    else:
        assert enter(environment).url == "http://there/v1/AUTH_x"
        with pytest.raises(AccessDenied, match="no object storage in the region elsewhere for this user"):
            enter({**environment, "OS_REGION_NAME": "elsewhere"})


def test_a_token_and_an_address_need_no_service() -> None:
    identity = identity_from({"OS_STORAGE_URL": "http://h/v1/AUTH_x/", "OS_AUTH_TOKEN": "secret", "OS_AUTH_URL": "http://h/v3"})
    assert identity.given == Session("http://h/v1/AUTH_x", "secret")
    assert "secret" not in repr(identity) + repr(identity.given)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "no credentials: set OS_AUTH_URL"),
        ({"OS_STORAGE_URL": "http://h"}, "no credentials: set OS_AUTH_URL"),
        ({"OS_AUTH_URL": "http://h/identity"}, "must have the version in it: v1, v2 or v3"),
        ({"OS_AUTH_URL": "http://h/v3", "OS_APPLICATION_CREDENTIAL_NAME": "n"}, "needs OS_USERNAME or OS_USER_ID"),
        (
            {"OS_AUTH_URL": "http://h/v3", "OS_APPLICATION_CREDENTIAL_NAME": "n", "OS_USERNAME": "u"},
            "needs the user's domain: set OS_USER_DOMAIN_NAME",
        ),
    ],
)
def test_what_is_missing_is_named(environment: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        identity_from(environment)


def answered(reply: object, **identity: str) -> Session:
    """Sign in where the service gives *reply*, made by hand."""
    given = {"auth_url": "http://h/v3", "user": "u", "password": "secret"} | identity
    return sign_in(Identity(**given), lambda origin: Answers([reply] * 2))


@pytest.mark.parametrize(
    ("reply", "kind", "permanent", "said"),
    [
        (answer(503, b"<html>busy</html>"), StorageError, False, "signing in: 503 Service Unavailable$"),
        (answer(404), AccessDenied, True, "there is no identity service at the address in OS_AUTH_URL"),
        (answer(300, b"{}"), StorageError, False, "300 Multiple Choices"),
        (
            answer(403, b'{"error": {"message": "account\\nis \\u001b[31m locked"}}'),
            AccessDenied,
            True,
            "403 Forbidden: account is",
        ),
        (answer(201, b"<html>"), StorageError, False, "no token of the version"),
        (answer(201, b'{"token": 3}'), StorageError, False, "no token of the version"),
        (answer(201, b'{"token": {}}'), AccessDenied, True, "names no object storage for this user"),
        (answer(201, b"\xff"), StorageError, False, "no token of the version"),
    ],
)
def test_what_the_service_says_is_told_in_one_line(reply: object, kind: type[StorageError], permanent: bool, said: str) -> None:
    with pytest.raises(kind, match=said) as caught:
        answered(reply)
    assert caught.value.permanent is permanent
    assert not set(str(caught.value)) & set("\n\x1b") and "secret" not in str(caught.value)


def test_a_token_of_the_users_own_is_not_made_anew() -> None:
    with pytest.raises(AccessDenied, match="the token in OS_AUTH_TOKEN is not accepted, it may have expired: set a new one"):
        answered(answer(404), user="", password="", storage_url="http://h/v1/AUTH_x", token="t")


def test_where_to_sign_in_anew_is_looked_at_when_it_is_needed() -> None:
    given = {
        "OS_STORAGE_URL": "http://h/v1/AUTH_x",
        "OS_AUTH_TOKEN": "t",
        "OS_AUTH_URL": "http://h/identity",
        "OS_USERNAME": "u",
    }
    identity = identity_from(given)
    with pytest.raises(UsageError, match="must have the version in it: v1, v2 or v3"):
        sign_in(identity, lambda origin: Answers([]))


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\0b"])
def test_a_name_cannot_become_a_header(text: str) -> None:
    with pytest.raises(UsageError, match="must not have a line break"):
        answered(answer(200), auth_url="http://h/v1.0", user=text)


@pytest.mark.parametrize("url", ["ftp://h/v3", "h/v3", "http:///v3", "http://h:99999/v3", "http://h\u00e4/v3"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match=r"OS_AUTH_URL \(or ST_AUTH\) begins neither with https:// nor with http://"):
        identity_from({"OS_AUTH_URL": url})
    with pytest.raises(UsageError, match="OS_STORAGE_URL begins neither with https:// nor with http://"):
        identity_from({"OS_STORAGE_URL": url, "OS_AUTH_TOKEN": "t"})
