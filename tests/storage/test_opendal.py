"""Repositories in services of OpenDAL: those that can be had here, and what is said about the others."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from restic_format.errors import LocationInvalid, StorageError, UsageError
from restic_format.storage import Storage, open_storage
from restic_format.storage.limited import LimitedStorage, Pace
from restic_format.storage.opendal import _throttled, open_opendal
from restic_format.storage.transport import Transport
from restic_spec.layout import FileKind
from tests.servers.base import Place
from tests.servers.swift import Swift
from tests.storage.contract import StorageContract
from tests.storage.interchange import interchange, opened_opendal


def folder(path: Path) -> Place:
    return Place("opendal:fs", {"opendal.root": str(path)}, folder=path)


class TestFolder(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        storage = opened_opendal(folder(tmp_path / "repo"))
        storage.create()
        return storage


class TestS3(StorageContract):
    """A server across the network: OpenStack Swift by its S3 interface."""

    @pytest.fixture
    def storage(self, swift: Swift) -> Storage:
        made = open_storage((place := swift.s3_place("opendal")).location, {}, Transport(environment=place.environment))
        made.create()  # the bucket, which OpenDAL expects to be there
        keys = {"access_key_id": place.environment["AWS_ACCESS_KEY_ID"], "region": "us-east-1"}
        secret = {"OPENDAL_SECRET_ACCESS_KEY": place.environment["AWS_SECRET_ACCESS_KEY"], "OPENDAL_ENDPOINT": swift.url}
        root = place.location.rpartition("/")[2]
        storage = open_opendal("s3", {**keys, "bucket": "bucket", "root": f"/{root}"}, Transport(environment=secret))
        storage.create()
        return storage


def test_restic_and_we_work_with_the_same_folder(tmp_path: Path) -> None:
    place = folder(tmp_path / "repo")
    interchange(place, tmp_path, restics=Place(str(place.folder)))


REFUSED = {
    "nosuch": "opendal:nosuch: there is no such service in the package opendal",
    "pcloud": "opendal:pcloud: use the location rclone:remote:path",
    "hdfs": "opendal:hdfs: there is no such service in the package opendal",
    "sftp": "opendal:sftp: use the location sftp:user@host:/path",
    "rclone": "opendal:rclone: use the location rclone:remote:path",
    "": "opendal:: a location is opendal: and the name of a service",
    "a\x1b[2J": r"opendal:a\\x1b\[2J: a location is opendal: and the name",
    "webdav": "opendal:webdav: no server is named: -o opendal.endpoint=https://host/path",
    "ftp": "opendal:ftp: no server is named: -o opendal.endpoint=ftp://host",
    "dropbox": "opendal:dropbox: access_token or refresh_token must be set; give what it needs as -o opendal.KEY=VALUE",
    "gdrive": "opendal:gdrive: access_token or refresh_token must be set; give",
    "onedrive": "opendal:onedrive: access_token or refresh_token must be set; give",
    "hdfs-native": "opendal:hdfs-native: name_node is empty; give",
    "yandex-disk": "opendal:yandex-disk: access_token is empty; give",
    "azfile": "opendal:azfile: share name is required; give",
    "s3": "opendal:s3: The bucket is misconfigured; give",
}


@pytest.mark.parametrize("service", REFUSED)
def test_a_service_that_cannot_be_is_told_in_a_line(service: str) -> None:
    with pytest.raises(LocationInvalid, match=f"^{REFUSED[service]}") as caught:
        open_opendal(service, {}, Transport())
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)


def test_a_service_that_cannot_list_is_refused() -> None:
    with pytest.raises(LocationInvalid, match="opendal:http: cannot keep a repository"):
        open_opendal("http", {"endpoint": "http://127.0.0.1:1"}, Transport())


@pytest.mark.parametrize("service", ["webdav", "ftp", "fs"])
def test_an_option_that_the_service_does_not_know_is_refused(service: str) -> None:
    with pytest.raises(UsageError, match=f"option opendal.enpoint is not known to the service {service}"):
        open_opendal(service, {"enpoint": "x", "root": "/x"}, Transport())


@pytest.mark.parametrize("text", ["", "x", "0kB", "1TB", "-1", "1e3", "9" * 13])
def test_a_throttle_that_makes_no_sense_is_refused(text: str) -> None:
    if not text:
        open_opendal("memory", {"throttle": text}, Transport())
        return
    with pytest.raises(UsageError, match=r"option opendal\.throttle: .* is no number of bytes"):
        open_opendal("memory", {"throttle": text}, Transport())


def test_a_throttle_limits_and_a_limit_of_the_command_wins() -> None:
    given = Pace(1 << 20)
    assert isinstance(open_opendal("memory", {"throttle": "500kB,10MB"}, Transport()), LimitedStorage)
    for text, rate in {"500kB,10MB": 500_000, "2 MiB": 2 << 20, "7": 7, "1GB": 10**9}.items():
        found = _throttled(text, Transport(upload=given))
        assert found.upload is given and found.download is not None and found.download._rate == rate


def test_options_come_from_the_environment_as_for_rustic_and_those_of_the_command_win(tmp_path: Path) -> None:
    def root(options: dict[str, str], **environment: str) -> str:
        return open_opendal("fs", options, Transport(environment=environment)).location

    assert root({}, OPENDAL_ROOT=f"{tmp_path}/a") == f"opendal:fs ({tmp_path}/a)"
    assert root({}, RUSTIC_REPO_OPT_ROOT=f"{tmp_path}/b", OPENDAL_TEST="x") == f"opendal:fs ({tmp_path}/b)"
    assert root({}, RUSTIC_REPO_OPT_ROOT="/b", OPENDAL_ROOT=f"{tmp_path}/a") == f"opendal:fs ({tmp_path}/a)"
    assert root({"root": f"{tmp_path}/c"}, OPENDAL_ROOT="/a") == f"opendal:fs ({tmp_path}/c)"
    assert open_opendal("fs", {"root": str(tmp_path)}, Transport(environment={"OPENDAL_CONNECTIONS": "7"})).connections == 7


def test_what_the_package_takes_no_note_of_is_refused(tmp_path: Path) -> None:
    for transport in (Transport(verify=False), Transport(ca_certificates=("x",)), Transport(client_certificate="x")):
        with pytest.raises(UsageError, match="--cacert, --tls-client-cert and --insecure-tls have no effect"):
            open_opendal("fs", {"root": str(tmp_path)}, transport)


def test_without_its_package_the_location_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "restic_format.storage.opendalstore", raising=False)
    monkeypatch.setitem(sys.modules, "opendal", None)
    with pytest.raises(UsageError, match=r"opendal:fs: needs a package: pip install 'restic-format\[opendal\]'"):
        open_opendal("fs", {}, Transport())


def test_secrets_do_not_reach_messages() -> None:
    options = {"endpoint": "http://127.0.0.1:1", "bucket": "box", "region": "us-east-1"}
    storage = open_opendal("s3", {**options, "access_key_id": "AKIDSECRET", "secret_access_key": "verysecret"}, Transport())
    with pytest.raises(StorageError) as caught:
        storage.size(FileKind.CONFIG, "")
    assert not caught.value.permanent and "stat config" in str(caught.value)
    assert not any(word in str(caught.value) for word in ("AKIDSECRET", "verysecret", "\n"))


NOWHERE = {
    "webhdfs": {},
    "azblob": {"container": "box", "account_name": "name", "account_key": "c2VjcmV0c2VjcmV0"},
    "azfile": {"share_name": "box", "account_name": "name", "account_key": "c2VjcmV0c2VjcmV0"},
    "gcs": {"bucket": "box", "disable_vm_metadata": "true", "allow_anonymous": "true", "disable_config_load": "true"},
    "swift": {"container": "box", "token": "verysecret"},
    "obs": {"bucket": "box", "access_key_id": "id", "secret_access_key": "verysecret"},
    "seafile": {"repo_name": "box", "username": "name", "password": "verysecret"},
    "ipmfs": {},
}
"""Services whose server can be named, so that the first request goes to this machine; with the options that each needs."""


@pytest.mark.parametrize("service", NOWHERE)
def test_a_server_that_is_not_there_is_told_in_a_line_without_secrets(service: str) -> None:
    options = {"endpoint": "http://127.0.0.1:1", "root": "/repo", **NOWHERE[service]}
    storage = open_opendal(service, options, Transport())
    with pytest.raises(StorageError, match=r"^stat config: ") as caught:
        storage.size(FileKind.CONFIG, "")
    told = str(caught.value) + storage.location
    assert not caught.value.permanent and len(told) < 400
    assert not any(word in told for word in ("verysecret", "c2VjcmV0c2VjcmV0", "\n"))


ENOUGH = {
    "dropbox": {"access_token": "x"},
    "gdrive": {"refresh_token": "x", "client_id": "a", "client_secret": "b"},
    "onedrive": {"access_token": "x"},
    "yandex-disk": {"access_token": "x"},
    "aliyun-drive": {"access_token": "x", "drive_type": "default"},
    "hdfs-native": {"name_node": "hdfs://127.0.0.1:1"},
    "azdls": {"filesystem": "f", "endpoint": "http://127.0.0.1:1", "account_name": "a", "account_key": "c2VjcmV0"},
    "tos": {"bucket": "b", "endpoint": "http://127.0.0.1:1"},
    "upyun": {"bucket": "b", "operator": "o", "password": "p"},
    "oss": {"bucket": "b", "endpoint": "https://oss.example"},
    "cos": {"bucket": "b", "endpoint": "https://cos.example"},
    "b2": {"bucket": "b", "bucket_id": "i", "application_key_id": "k", "application_key": "s"},
}
"""Options that are enough for services that cannot be reached from here."""


@pytest.mark.parametrize("service", ENOUGH)
def test_what_a_service_needs_is_taken_from_options(service: str) -> None:
    assert open_opendal(service, {**ENOUGH[service], "root": "/repo"}, Transport()).location == f"opendal:{service} (/repo)"
