"""Credentials for S3: where they are looked for, and what is told where there are none.

What instances and roles are given comes from servers made by hand: Amazon's are not to be had.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs

import pytest

from restic_format.errors import AccessDenied, StorageAway, UsageError
from restic_format.storage.s3 import credentials
from restic_format.storage.s3.credentials import Credentials, _Found, credentials_of
from restic_format.storage.s3.sign import Keys
from restic_format.storage.transport import Transport

PAIR = {"AWS_ACCESS_KEY_ID": "env", "AWS_SECRET_ACCESS_KEY": "s"}
AWS_FILE = """\
[default]
aws_access_key_id = file
aws_secret_access_key = s
[work]
aws_access_key_id=work
aws_secret_access_key=w%w
aws_session_token=t
"""
MINIO_FILE = {"version": "10", "aliases": {"s3": {"url": "x", "accessKey": "alias", "secretKey": "s", "api": "s3v4"}}}


def keys(environment: Mapping[str, str], region: str = "") -> Keys:
    return credentials_of(Transport(environment=environment), region).keys()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(AWS_FILE)
    (tmp_path / ".mc").mkdir()
    (tmp_path / ".mc" / "config.json").write_text(json.dumps(MINIO_FILE))
    return tmp_path


def test_the_first_keys_in_restics_order_are_used(home: Path) -> None:
    here = {"HOME": str(home)}
    minio = {"MINIO_ACCESS_KEY": "old", "MINIO_SECRET_KEY": "s"}
    root = {"MINIO_ROOT_USER": "root", "MINIO_ROOT_PASSWORD": "s"}
    assert keys({**here, **PAIR, **minio, **root, "AWS_SESSION_TOKEN": "t"}) == Keys("env", "s", "t")
    assert keys({**here, **minio, **root, "AWS_ACCESS_KEY": "short", "AWS_SECRET_KEY": "s"}) == Keys("short", "s")
    assert keys({**here, **minio, **root}) == Keys("root", "s")
    assert keys({**here, **minio}) == Keys("old", "s")
    assert keys(here) == Keys("file", "s")
    assert keys({**here, "AWS_PROFILE": "work"}) == Keys("work", "w%w", "t")
    other = home / "other"
    other.write_text("[default]\naws_access_key_id=other\naws_secret_access_key=s\n")
    assert keys({**here, "AWS_SHARED_CREDENTIALS_FILE": str(other)}) == Keys("other", "s")
    (home / ".aws" / "credentials").write_text("[other]\nnot an assignment\n")
    assert keys(here) == Keys("alias", "s")
    (home / ".mc" / "config.json").write_text('{"hosts": {"s3": {"accessKey": "host", "secretKey": "s"}}}')
    assert keys(here) == Keys("host", "s")


@pytest.mark.parametrize(
    ("environment", "what"),
    [
        (
            {"AWS_ACCESS_KEY_ID": "id"},
            r"no credentials found. \$AWS_ACCESS_KEY_ID is set but \$AWS_SECRET_ACCESS_KEY is empty",
        ),
        (
            {"AWS_SECRET_ACCESS_KEY": "s"},
            r"no credentials found. \$AWS_SECRET_ACCESS_KEY is set but \$AWS_ACCESS_KEY_ID is empty",
        ),
        ({**PAIR, "AWS_ACCESS_KEY_ID": "id\n"}, r"\$AWS_ACCESS_KEY_ID has white space or other characters in it"),
        ({**PAIR, "AWS_SESSION_TOKEN": "t\u00e9"}, r"\$AWS_SESSION_TOKEN has white space or other characters in it"),
        ({}, "no credentials found. Use `-o s3.unsafe-anonymous-auth=true` for anonymous .*pip install 'restic-format"),
        ({**PAIR, "RESTIC_AWS_ASSUME_ROLE_ARN": "arn"}, r"a role is assumed with botocore: pip install 'restic-format\[s3\]'"),
    ],
)
def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], what: str) -> None:
    monkeypatch.setattr(credentials, "_has_botocore", lambda: False)
    with pytest.raises(UsageError, match=what):
        keys(environment)


NO_INSTANCE = {"AWS_EC2_METADATA_DISABLED": "true"}


class Answers(BaseHTTPRequestHandler):
    """Gives credentials as Amazon's servers do."""

    asked: ClassVar[list[tuple[str, str, dict[str, list[str]]]]] = []

    def log_message(self, *words: object) -> None:
        return

    def do_GET(self) -> None:
        """What a container is given."""
        self.asked.append((self.path, self.headers.get("Authorization") or "", {}))
        found = {"AccessKeyId": "container", "SecretAccessKey": "s", "Token": "t", "Expiration": "2030-01-02T03:04:05Z"}
        self._send(200, json.dumps(found).encode())

    def do_POST(self) -> None:
        """What who assumes a role is given."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.asked.append((self.path, self.headers.get("Authorization") or "", parse_qs(body)))
        if "forbidden" in body:
            return self._send(
                403, b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>not you</Message></Error></ErrorResponse>"
            )
        given = (
            "<AccessKeyId>role</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>"
            "<Expiration>2030-01-02T03:04:05Z</Expiration>"
        )
        name = "https://sts.amazonaws.com/doc/2011-06-15/"
        result = f"<AssumeRoleResult><Credentials>{given}</Credentials></AssumeRoleResult>"
        text = f'<AssumeRoleResponse xmlns="{name}">{result}</AssumeRoleResponse>'
        return self._send(200, text.encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def answers() -> Iterator[str]:
    Answers.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        with contextlib.ExitStack() as stack:
            stack.callback(server.shutdown)
            yield f"http://127.0.0.1:{server.server_address[1]}"


def test_a_role_is_assumed_with_the_keys_that_were_found(answers: str) -> None:
    environment = {
        **NO_INSTANCE,
        "MINIO_ACCESS_KEY": "plain",
        "MINIO_SECRET_KEY": "s",
        "RESTIC_AWS_ASSUME_ROLE_ARN": "arn:aws:iam::123456789012:role/backup",
        "RESTIC_AWS_ASSUME_ROLE_SESSION_NAME": "nightly",
        "RESTIC_AWS_ASSUME_ROLE_EXTERNAL_ID": "outside",
        "RESTIC_AWS_ASSUME_ROLE_STS_ENDPOINT": answers,
    }
    found = credentials_of(Transport(environment=environment), "eu-west-3")
    assert found.keys() == Keys("role", "s", "t") == found.keys()
    [(_, authorization, sent)] = Answers.asked
    assert "Credential=plain/" in authorization and "/eu-west-3/sts/" in authorization
    assert sent["RoleArn"] == ["arn:aws:iam::123456789012:role/backup"] and sent["RoleSessionName"] == ["nightly"]
    assert sent["ExternalId"] == ["outside"] and "Policy" not in sent
    with pytest.raises(AccessDenied, match=r"credentials for S3: .*AccessDenied.*not you"):
        keys({**environment, "RESTIC_AWS_ASSUME_ROLE_EXTERNAL_ID": "forbidden"})


def test_what_botocore_knows_is_used_with_the_environment_that_was_given(
    answers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What stands in the environment of this process is nobody's business.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "process")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    assert keys({**NO_INSTANCE, "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{answers}/creds"}) == Keys("container", "s", "t")
    given = {"Version": 1, "AccessKeyId": "program", "SecretAccessKey": "s"}
    (tmp_path / "gives.py").write_text(f"print({json.dumps(json.dumps(given))})")
    config = tmp_path / "config"
    config.write_text(f"[profile work]\ncredential_process = {sys.executable} {tmp_path / 'gives.py'}\n")
    profile = {**NO_INSTANCE, "AWS_CONFIG_FILE": str(config), "AWS_PROFILE": "work", "HOME": str(tmp_path)}
    assert keys(profile) == Keys("program", "s")
    with pytest.raises(AccessDenied, match=r"credentials for S3: .*none"):
        keys({**profile, "AWS_PROFILE": "none"})
    with pytest.raises(UsageError, match="no credentials found"):
        keys(NO_INSTANCE)


class Giver:
    """Gives keys with a number, good for an hour."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.count = 0
        self.away = False

    def __call__(self) -> _Found:
        if self.away:
            raise StorageAway("away")
        self.count += 1
        return _Found(Keys(f"{self.count}", "s", f"token {self.count}"), self.now + 3600)


def test_keys_are_asked_for_again_before_they_end() -> None:
    giver = Giver()
    found = Credentials(giver, clock=lambda: giver.now)
    assert found.keys().access_key == found.keys().access_key == "1"
    giver.now += 3200
    assert found.keys().access_key == "1"
    giver.now += 101
    giver.away = True
    assert found.keys().access_key == "1", "they are good for some minutes more"
    giver.away = False
    assert found.keys().access_key == "2"
    giver.away, giver.now = True, giver.now + 3601
    with pytest.raises(StorageAway):
        found.keys()


def test_keys_that_a_server_refuses_as_expired_are_replaced_once() -> None:
    giver = Giver()
    found = Credentials(giver, clock=lambda: giver.now)
    token = found.keys().session_token
    assert found.expired(token)
    assert found.keys().access_key == "2"
    assert found.expired(token), "another thread has replaced them meanwhile"
    assert found.keys().access_key == "2"
    plain = Credentials(lambda: _Found(Keys("id", "s", "t"), None))
    assert plain.keys() and not plain.expired("t")


def test_threads_ask_once() -> None:
    giver = Giver()

    def slow() -> _Found:
        time.sleep(0.05)
        return giver()

    found = Credentials(slow, clock=lambda: giver.now)
    threads = [threading.Thread(target=found.keys) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert giver.count == 1
