"""Azure Blob Storage: the contract, and what is its own, on Azurite."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any
from urllib.parse import urlencode

import pytest

from restic_format.errors import (
    AccessDenied,
    AnswerCut,
    FileCold,
    FileExists,
    FileMissing,
    LocationInvalid,
    ServerNotTrusted,
    StorageError,
    UsageError,
)
from restic_format.storage import Storage, azure, open_storage
from restic_format.storage.azure import AzureStore, open_azure
from restic_format.storage.azureaccess import SharedKey
from restic_format.storage.http.reply import NONE, Reply
from restic_format.storage.objects import ObjectStorage
from restic_format.storage.transport import Transport
from restic_spec.layout import FileKind
from tests.servers.azurite import ACCOUNT, KEY, Azurite
from tests.servers.base import Server
from tests.storage import answers
from tests.storage.answers import Answers, Changing
from tests.storage.contract import CONTENT, NAME, OTHER, StorageContract


def reach(server: Server, **more: str) -> Transport:
    """The way to *server*; *more* are variables."""
    assert isinstance(server, Azurite)
    return Transport(environment={**server.place().environment, **more}, ca_certificates=(str(server.certificates.ca),))


def opened(server: Server, name: str = "", options: Mapping[str, str] = NONE, **more: str) -> Storage:
    """A new place on *server*, opened and created."""
    storage = open_storage(server.place(name).location, options, reach(server, **more))
    storage.create()
    return storage


def plain(server: Server, name: str = "", options: Mapping[str, str] = NONE) -> tuple[ObjectStorage, AzureStore]:
    """A new place with nothing around it, and its store."""
    storage = open_azure(server.place(name).location.partition(":")[2], options, reach(server))
    storage.create()
    assert isinstance(storage, ObjectStorage) and isinstance(storage.store, AzureStore)
    return storage, storage.store


def signature(*, permissions: str = "rwdlac", minutes: float = 60, kinds: str = "sco") -> str:
    """A shared access signature for the account (Azure's documentation, "Create an account SAS")."""
    ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60 * minutes))
    fields = [ACCOUNT, permissions, "b", kinds, "", ends, "", "https", "2020-08-04", ""]
    signed = hmac.digest(base64.b64decode(KEY), "\n".join(fields).encode(), "sha256")
    query = {"sv": "2020-08-04", "ss": "b", "srt": kinds, "sp": permissions, "se": ends, "spr": "https"}
    return urlencode({**query, "sig": base64.b64encode(signed).decode()})


def answer(status: int, body: bytes = b"", **headers: str) -> Reply:
    """An answer of Azure."""
    return answers.answer(status, body, x_ms_version="2021-12-02", **headers)


class TestAzure(StorageContract):
    @pytest.fixture
    def storage(self, azurite: Server) -> Storage:
        return opened(azurite, "contract é +")


def test_by_a_signature(azurite: Server) -> None:
    storage = opened(azurite, AZURE_ACCOUNT_KEY="", AZURE_ACCOUNT_SAS="?" + signature())
    storage.save_new(FileKind.CONFIG, "", CONTENT)
    storage.save(FileKind.PACK, NAME, CONTENT)
    assert storage.load(FileKind.PACK, NAME, 3, 4) == CONTENT[3:7] and dict(storage.list(FileKind.PACK)) == {NAME: len(CONTENT)}
    storage.remove(FileKind.PACK, NAME)
    # One that may not see containers still has its blobs.
    opened(azurite, AZURE_ACCOUNT_KEY="", AZURE_ACCOUNT_SAS=signature(kinds="o"))


def test_by_an_address(azurite: Server) -> None:
    assert isinstance(azurite, Azurite)
    storage = opened(
        azurite, options={"azure.endpoint": azurite.endpoint}, HTTPS_PROXY="", AZURE_ENDPOINT_SUFFIX="nowhere.invalid"
    )
    storage.save(FileKind.PACK, NAME, CONTENT)
    assert dict(storage.list(FileKind.PACK)) == {NAME: len(CONTENT)}


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"AZURE_ACCOUNT_KEY": base64.b64encode(b"another key").decode()}, "InvalidAuthenticationInfo"),
        ({"AZURE_ACCOUNT_KEY": "", "AZURE_ACCOUNT_SAS": signature(minutes=-5)}, "AZURE_ACCOUNT_SAS was valid until 20.* UTC"),
        ({"AZURE_ACCOUNT_KEY": "", "AZURE_ACCOUNT_SAS": signature(permissions="w")}, "AuthorizationPermissionMismatch"),
    ],
)
def test_what_does_not_open_it_is_told_in_one_line(azurite: Server, variables: dict[str, str], said: str) -> None:
    location = opened(azurite).location
    storage = open_azure(location.partition(":")[2], {}, reach(azurite, **variables))
    with pytest.raises(AccessDenied, match=f"(GET|HEAD) config: .*{said}") as caught:
        storage.load(FileKind.CONFIG, "")
    text = str(caught.value)
    assert "\n" not in text and "RequestId" not in text
    for secret in variables.values():
        assert not secret or (secret not in text and secret.rpartition("sig=")[2] not in text)


def test_a_certificate_that_is_not_trusted_is_the_servers_not_the_proxys(azurite: Server) -> None:
    place = azurite.place()
    storage = open_azure(place.location.partition(":")[2], {}, Transport(environment=place.environment))
    host = re.escape(f"https://{ACCOUNT}.blob.{place.environment['AZURE_ENDPOINT_SUFFIX']}")
    with pytest.raises(ServerNotTrusted, match=f"^{host}: tls: failed to verify certificate"):
        storage.size(FileKind.CONFIG, "")


def test_a_missing_container_is_made_when_a_repository_is(azurite: Server) -> None:
    storage = open_storage("azure:no-such-box:/x", {}, reach(azurite))
    assert not storage.exists(FileKind.CONFIG, "")
    with pytest.raises(FileMissing, match="no-such-box is not a container of this account"):
        storage.load(FileKind.CONFIG, "")
    with pytest.raises(FileMissing, match=r"list x/keys/: .* no-such-box is not a container of this account; init makes it"):
        list(storage.list(FileKind.KEY))
    storage.create()
    storage.save(FileKind.CONFIG, "", CONTENT)
    storage.create()
    assert storage.load(FileKind.CONFIG, "") == CONTENT


def test_an_upload_that_arrives_changed_is_not_stored(azurite: Server) -> None:
    storage, store = plain(azurite)
    transport = reach(azurite)
    store._http = Changing(f"https://{ACCOUNT}.blob.{transport.environment['AZURE_ENDPOINT_SUFFIX']}", transport, 1)
    with pytest.raises(StorageError, match=f"PUT data/{NAME}: 400 .*Md5Mismatch") as caught:
        storage.save(FileKind.PACK, NAME, CONTENT)
    assert not caught.value.permanent
    assert not storage.exists(FileKind.PACK, NAME)


def test_what_is_large_goes_in_blocks(azurite: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(azure, "_SINGLE", 1000)
    monkeypatch.setattr(azure, "_BLOCK", 700)
    storage, store = plain(azurite)
    asked: list[str] = []
    request = store._http.request

    def noted(method: str, target: str, *rest: Any, **more: Any) -> Reply:
        asked.append(f"{method} {target.partition('?')[2].partition('&')[0]}")
        return request(method, target, *rest, **more)

    store._http.request = noted  # type: ignore[method-assign]
    content = bytes(range(256)) * 11
    for pieces in ([content], [content[:10], b"", content[10:701], content[701:]]):
        asked.clear()
        storage.save(FileKind.PACK, NAME, pieces)
        assert asked == ["PUT comp=block"] * 5 + ["PUT comp=blocklist"]
        assert storage.load(FileKind.PACK, NAME) == content and storage.size(FileKind.PACK, NAME) == len(content)
        assert dict(storage.list(FileKind.PACK)) == {NAME: len(content)}


def test_blocks_that_are_never_named_are_no_file(azurite: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(azure, "_SINGLE", 10)
    storage, store = plain(azurite)
    ask = store._ask

    def until_the_last(method: str, key: str, query: Mapping[str, str], *rest: Any, **more: Any) -> Reply:
        if query.get("comp") == "blocklist":
            raise StorageError("the connection is gone")
        return ask(method, key, query, *rest, **more)

    store._ask = until_the_last  # type: ignore[method-assign]
    with pytest.raises(StorageError, match="the connection is gone"):
        storage.save(FileKind.PACK, NAME, CONTENT)
    assert not storage.exists(FileKind.PACK, NAME) and dict(storage.list(FileKind.PACK)) == {}


def test_of_two_who_save_a_new_file_one_succeeds(azurite: Server) -> None:
    storage, _ = plain(azurite)
    storage.save_new(FileKind.CONFIG, "", CONTENT)
    storage.exists = lambda *_: False  # type: ignore[method-assign]
    with pytest.raises(FileExists):
        storage.save_new(FileKind.CONFIG, "", b"another")
    assert storage.load(FileKind.CONFIG, "") == CONTENT


def test_a_listing_goes_on_over_pages(azurite: Server) -> None:
    storage, store = plain(azurite)
    store._page = 3
    names = {f"{number:064x}" for number in range(11)}
    for name in names:
        storage.save(FileKind.LOCK, name, name.encode()[:5])
    storage.save(FileKind.KEY, NAME, CONTENT)
    assert dict(storage.list(FileKind.LOCK)) == dict.fromkeys(names, 5)


def test_names_that_are_not_ours_are_left_out(azurite: Server) -> None:
    storage, store = plain(azurite)
    storage.save(FileKind.PACK, NAME, CONTENT)
    prefix = storage.key(FileKind.PACK, NAME).partition("data/")[0]
    for odd in (
        f"data/{NAME}",
        "data/zz/readme",
        f"data/00/{OTHER}",
        f"data/{NAME[:2]}/{NAME.upper()}",
        "data/é/ &<>#%",
        "database",
    ):
        store.put(prefix + odd, b"x", kind=FileKind.PACK, metadata=False, sha256="")
    assert dict(storage.list(FileKind.PACK)) == {NAME: len(CONTENT)}


@pytest.mark.parametrize(
    ("tier", "tiers"),
    [
        ("", ["", "", "", ""]),
        ("cOOl", ["Cool"] * 4),
        ("archive", ["Archive", "", "", ""]),
        ("Lukewarm", ["", "", "", ""]),
    ],
)
def test_the_tier_archive_is_for_packs_with_data_only(tier: str, tiers: list[str]) -> None:
    told: list[str] = []
    http = Answers([answer(201)] * 4)
    transport = Transport(environment={"AZURE_ACCOUNT_NAME": "a", "AZURE_ACCOUNT_KEY": "AAAA"}, report=told.append)
    storage = open_azure("box:/", {"access-tier": tier}, transport)
    assert isinstance(storage, ObjectStorage) and isinstance(storage.store, AzureStore)
    storage.store._http = http
    storage.save(FileKind.PACK, NAME, CONTENT)
    storage.save(FileKind.PACK, NAME, CONTENT, metadata=True)
    storage.save(FileKind.SNAPSHOT, NAME, CONTENT)
    storage.save(FileKind.CONFIG, "", CONTENT)
    assert [asked.headers.get("x-ms-access-tier", "") for asked in http.asked] == tiers
    assert told == (
        ["option azure.access-tier: Lukewarm is none of Hot, Cool, Cold, Archive; it is ignored"] if tier == "Lukewarm" else []
    )


@pytest.mark.parametrize("rest", ["", "box", ":/path", "/path"])
def test_a_location_has_a_container_and_a_path(rest: str) -> None:
    with pytest.raises(LocationInvalid, match="azure: invalid format: bucket name or path not found"):
        open_azure(rest, {}, Transport(environment={"AZURE_ACCOUNT_NAME": "a", "AZURE_ACCOUNT_KEY": "AAAA"}))


@pytest.mark.parametrize(
    ("variables", "options", "said"),
    [
        ({"AZURE_ACCOUNT_NAME": ""}, {}, r"Account name \(\$AZURE_ACCOUNT_NAME\) is empty"),
        ({"AZURE_ACCOUNT_NAME": "a.evil/"}, {}, "AZURE_ACCOUNT_NAME is not the name of an account"),
        ({"AZURE_ACCOUNT_KEY": "se cret!"}, {}, "AZURE_ACCOUNT_KEY is not the key of an account"),
        ({"AZURE_ACCOUNT_KEY": "", "AZURE_ACCOUNT_SAS": "sig=secret\nHost: x"}, {}, "AZURE_ACCOUNT_SAS is not a shared access"),
        ({"AZURE_ACCOUNT_KEY": "", "AZURE_ACCOUNT_SAS": "sig=secret"}, {"endpoint": "http://h"}, "sent over https:// only"),
        ({}, {"endpoint": "https://user:secret@h"}, "option azure.endpoint is not the address of a server"),
        ({}, {"endpoint": "devstoreaccount1"}, "option azure.endpoint is not the address of a server"),
        ({}, {"endpoint": "https://[::1"}, "option azure.endpoint is not the address of a server"),
        ({"AZURE_ENDPOINT_SUFFIX": "windows.net?x"}, {}, "AZURE_ENDPOINT_SUFFIX is not the address of a server"),
        ({}, {"endpiont": "x"}, "option azure.endpiont is not known"),
    ],
)
def test_what_cannot_be_used_is_named_but_not_shown(variables: dict[str, str], options: dict[str, str], said: str) -> None:
    environment = {"AZURE_ACCOUNT_NAME": "a", "AZURE_ACCOUNT_KEY": "AAAA", **variables}
    with pytest.raises(UsageError, match=said) as caught:
        open_azure("box:/", options, Transport(environment=environment))
    assert "secret" not in str(caught.value) and "se cret" not in str(caught.value)


# Answers that no server here gives: made by hand.


def store(*replies: object) -> tuple[ObjectStorage, Answers]:
    http = Answers(replies)
    return ObjectStorage(AzureStore(http, SharedKey("a", "AAAA"), "/box", location="azure:box:/"), ""), http


def refusal(status: int, code: str, message: str = "words\nRequestId:1", more: str = "", **headers: str) -> Reply:
    body = f"\ufeff<?xml version='1.0' encoding='utf-8'?><Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>"
    return answer(status, body.encode(), x_ms_error_code=code, **headers)


@pytest.mark.parametrize(
    ("status", "code", "kind", "permanent"),
    [
        (401, "NoAuthenticationInformation", AccessDenied, True),
        (403, "AuthenticationFailed", AccessDenied, True),
        (404, "BlobNotFound", FileMissing, True),
        (409, "BlobArchived", FileCold, True),
        (409, "BlobImmutableDueToPolicy", AccessDenied, True),
        (409, "ContainerBeingDeleted", StorageError, False),
        (412, "LeaseIdMissing", AccessDenied, True),
        (429, "TooManyRequests", StorageError, False),
        (500, "InternalError", StorageError, False),
        (503, "ServerBusy", StorageError, False),
    ],
)
def test_what_azure_says_is_told_in_one_line(status: int, code: str, kind: type[StorageError], permanent: bool) -> None:
    storage, _ = store(refusal(status, code, "it is \x7f&#x9b;so\nRequestId:1"))
    with pytest.raises(kind, match=f"GET snapshots/{NAME}: {status} .*: {code}: it is ") as caught:
        storage.load(FileKind.SNAPSHOT, NAME)
    assert caught.value.permanent is permanent and caught.value.object == f"snapshots/{NAME}"
    assert str(caught.value).isprintable() and "RequestId" not in str(caught.value)


def test_a_clock_that_is_wrong_is_named() -> None:
    detail = "<AuthenticationErrorDetail>Request date header too old</AuthenticationErrorDetail>"
    storage, _ = store(refusal(403, "AuthenticationFailed", more=detail, Date=formatdate(time.time() + 3600, usegmt=True)))
    with pytest.raises(AccessDenied, match="words Request date header too old; the clock of this machine is 60 minutes behind"):
        storage.load(FileKind.CONFIG, "")


@pytest.mark.parametrize("status", [200, 404])
def test_a_page_of_a_portal_is_not_taken_for_an_answer(status: int) -> None:
    storage, _ = store(*[answers.answer(status, b"<html>Welcome</html>", Content_Type="text/html", Content_Length="20")] * 4)
    for act in (storage.load, storage.size, storage.exists, storage.remove):
        with pytest.raises(AnswerCut, match=f" config: {status}, but what answers is not the cloud"):
            act(FileKind.CONFIG, "")


def test_what_arrives_changed_is_asked_for_once_more() -> None:
    storage, _ = store(answer(200, CONTENT, Content_MD5="aaaa"), answer(200, CONTENT))
    with pytest.raises(AnswerCut, match="config: the 17 bytes that arrived are not those that were sent") as caught:
        storage.load(FileKind.CONFIG, "")
    assert not caught.value.permanent
    assert storage.load(FileKind.CONFIG, "") == CONTENT


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"<html>hello</html>", b"<EnumerationResults>", b"\xff\xfe<\0", b"{}"),
        b"<!DOCTYPE x [<!ENTITY a 'keys/'>]><EnumerationResults><Prefix>&a;</Prefix><Blobs/></EnumerationResults>",
        b"<EnumerationResults><Prefix>locks/</Prefix><Blobs/></EnumerationResults>",
        b"<EnumerationResults><Prefix>keys/</Prefix></EnumerationResults>",
        b"<EnumerationResults><Blobs/></EnumerationResults>",
        b"<EnumerationResults><Prefix>keys/</Prefix><Blobs>" + b"<a/>" * 1_000_000 + b"</Blobs></EnumerationResults>",
    ],
    ids=range(10),
)
def test_a_listing_that_is_none_is_an_error(body: bytes) -> None:
    storage, _ = store(answer(200, body))
    with pytest.raises(StorageError, match="list keys/: what Azure answers is not a list of these blobs"):
        list(storage.list(FileKind.KEY))


@pytest.mark.parametrize("marks", [[b"a"], [b"a", b"b"]])
def test_a_listing_that_does_not_end_is_an_error(marks: list[bytes]) -> None:
    pages = [
        answer(
            200, b"<EnumerationResults><Prefix>keys/</Prefix><Blobs/><NextMarker>%b</NextMarker></EnumerationResults>" % mark
        )
        for mark in marks
    ]
    storage, http = store(*pages * 3)
    with pytest.raises(StorageError, match="list keys/: the server's list does not come to an end"):
        list(storage.list(FileKind.KEY))
    assert len(http.asked) == len(marks) + 1


def test_a_size_that_is_not_told_is_an_error() -> None:
    storage, _ = store(answer(200), answer(200, Content_Length="9" * 30))
    for _ in range(2):
        with pytest.raises(StorageError, match="HEAD config: the server does not say how large it is"):
            storage.size(FileKind.CONFIG, "")


def test_a_request_is_signed_as_azure_wants_it() -> None:
    # Worked out by hand from Azure's documentation, "Authorize with Shared Key".
    headers = {"x-ms-version": "2021-12-02", "x-ms-range": "bytes=0-9", "Content-MD5": "abc=", "If-None-Match": "*"}
    key = base64.b64encode(b"key").decode()
    target = SharedKey("acc", key).address("PUT", "/box/a%20b", {"comp": "block", "BlockId": "x=="}, headers, 12)
    assert target == "/box/a%20b?comp=block&BlockId=x%3D%3D"
    text = "\n".join(
        [
            *("PUT", "", "", "12", "abc=", "", "", "", "", "*", "", ""),
            *(f"x-ms-date:{headers['x-ms-date']}", "x-ms-range:bytes=0-9", "x-ms-version:2021-12-02"),
            *("/acc/box/a%20b", "blockid:x==", "comp:block"),
        ]
    )
    expected = base64.b64encode(hmac.new(b"key", text.encode(), hashlib.sha256).digest()).decode()
    assert headers["Authorization"] == f"SharedKey acc:{expected}"
