"""What requests to S3 are signed with, looked for where restic looks.

Keys in the environment and in files of plain keys are read here. Everything else is botocore's business: profiles that are no
plain keys, single sign-on, web identities, roles, what an instance or a container is given. It is asked in its own process,
as it looks at the whole environment of its process, and the engine only at the one it was given.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from restic_format.errors import AccessDenied, StorageAway, UsageError
from restic_format.storage.s3 import chain
from restic_format.storage.s3.sign import Keys
from restic_format.storage.transport import Transport
from restic_format.words import visible

_EARLY = 300.0
"""Seconds before their end at which keys are replaced."""

_PATIENCE = 120.0
"""Seconds that botocore may take."""

_SHOWN = 300
"""Characters of an error of botocore's that are shown."""

_LARGEST_FILE = 1 << 20

_PLAIN = re.compile(r"[!-~]+")
"""What a key, a secret or a token may consist of."""

_NONE = "no credentials found. Use `-o s3.unsafe-anonymous-auth=true` for anonymous authentication"
_INSTALL = "; for roles, single sign-on and what instances are given: pip install 'restic-format[s3]'"


class _Found(NamedTuple):
    keys: Keys
    ends: float | None
    """When they are of no use any more, in seconds since the epoch; None for never."""


class Credentials:
    """Keys that are asked for when they are first needed, and again before they end. Any thread may ask."""

    def __init__(self, find: Callable[[], _Found], *, clock: Callable[[], float] = time.time) -> None:
        self._find = find
        self._clock = clock
        self._lock = threading.Lock()
        self._found: _Found | None = None

    def keys(self) -> Keys:
        """The keys of now. Raises `UsageError` where there are none, `AccessDenied` or `StorageAway` where none are given."""
        with self._lock:
            found = self._found
            if found is None or (found.ends is not None and self._clock() > found.ends - _EARLY):
                try:
                    found = self._found = self._find()
                except StorageAway:
                    # Whoever gives them is away for a moment: those that we have may be good for the next minutes.
                    if found is None or found.ends is None or self._clock() > found.ends:
                        raise
            return found.keys

    def expired(self, token: str) -> bool:
        """Take note that the server refuses the keys with this session token; whether it is worth trying with others."""
        with self._lock:
            found = self._found
            if found is None or found.keys.session_token != token:
                return True
            if found.ends is None:
                return False
            self._found = None
            return True


def credentials_of(transport: Transport, region: str) -> Credentials:
    """The credentials by *transport*'s environment; *region* is the one of the bucket, where it is given.

    Raises:
        UsageError: only half of a pair is set, or nothing is and nothing else can be asked.
    """
    environment = transport.environment
    plain = _plain(environment)
    role = environment.get("RESTIC_AWS_ASSUME_ROLE_ARN", "")
    if plain is not None and not role:
        found = _Found(plain, None)
        return Credentials(lambda: found)
    if not _has_botocore():
        raise UsageError("a role is assumed with botocore: pip install 'restic-format[s3]'" if role else _NONE + _INSTALL)
    return Credentials(lambda: _ask(transport, plain, region))


def _plain(environment: Mapping[str, str]) -> Keys | None:
    """Keys that stand in the environment, or as plain text in a file; None where there are none."""
    key, secret = environment.get("AWS_ACCESS_KEY_ID", ""), environment.get("AWS_SECRET_ACCESS_KEY", "")
    if key and not secret and not environment.get("AWS_SECRET_KEY"):
        raise UsageError("no credentials found. $AWS_ACCESS_KEY_ID is set but $AWS_SECRET_ACCESS_KEY is empty")
    if secret and not key and not environment.get("AWS_ACCESS_KEY"):
        raise UsageError("no credentials found. $AWS_SECRET_ACCESS_KEY is set but $AWS_ACCESS_KEY_ID is empty")
    for names in (
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        ("AWS_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SESSION_TOKEN"),
        ("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD", ""),
        ("MINIO_ACCESS_KEY", "MINIO_SECRET_KEY", ""),
    ):
        key, secret, token = (environment.get(name, "") for name in names)
        if key and secret:
            for name, text in zip(names, (key, secret, token), strict=True):
                if text and not _PLAIN.fullmatch(text):
                    raise UsageError(f"${name} has white space or other characters in it that cannot be part of a key")
            return Keys(key, secret, token)
    return _in_aws_file(environment) or _in_minio_file(environment)


def _in_aws_file(environment: Mapping[str, str]) -> Keys | None:
    """The keys of the profile in Amazon's file of credentials; None where it has no plain ones."""
    text = _text_of(environment, "AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials")
    if not text:
        return None
    import configparser

    profile = environment.get("AWS_PROFILE") or environment.get("AWS_DEFAULT_PROFILE") or "default"
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text)
        section = dict(parser[profile])
    except (configparser.Error, KeyError):
        return None
    if "role_arn" in section or "credential_process" in section:
        return None
    key, secret = section.get("aws_access_key_id", ""), section.get("aws_secret_access_key", "")
    return _plain_keys(Keys(key, secret, section.get("aws_session_token", "")))


class _Host(msgspec.Struct, rename="camel"):
    access_key: str = ""
    secret_key: str = ""


class _MinioFile(msgspec.Struct):
    hosts: dict[str, _Host] = {}
    aliases: dict[str, _Host] = {}


def _in_minio_file(environment: Mapping[str, str]) -> Keys | None:
    """The keys of the alias in the file of MinIO's client; None where it has none."""
    text = _text_of(environment, "MINIO_SHARED_CREDENTIALS_FILE", ".mc/config.json")
    try:
        found = msgspec.json.decode(text, type=_MinioFile)
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return None
    alias = environment.get("MINIO_ALIAS") or "s3"
    host = found.hosts.get(alias) or found.aliases.get(alias)
    return None if host is None else _plain_keys(Keys(host.access_key, host.secret_key))


def _plain_keys(keys: Keys) -> Keys | None:
    """*keys*, or None where they cannot be any."""
    fits = _PLAIN.fullmatch(keys.access_key) and _PLAIN.fullmatch(keys.secret_key)
    return keys if fits and (not keys.session_token or _PLAIN.fullmatch(keys.session_token)) else None


def _text_of(environment: Mapping[str, str], variable: str, usual: str) -> str:
    """The text of the file that *variable* names, or of the *usual* one at home; "" where there is none."""
    path, home = environment.get(variable, ""), environment.get("HOME", "")
    if not path and home:
        path = os.path.join(home, usual)
    try:
        with open(path, "rb") as file:
            return file.read(_LARGEST_FILE).decode("utf-8", "surrogateescape")
    except OSError:
        return ""


def _has_botocore() -> bool:
    import importlib.util

    return importlib.util.find_spec("botocore") is not None


def _ask(transport: Transport, plain: Keys | None, region: str) -> _Found:
    """What botocore finds: *plain* are the keys that a role is assumed with, where there are any."""
    import subprocess

    environment = {name: text for name, text in transport.environment.items() if "PASSWORD" not in name}
    if plain is not None:
        environment |= {"AWS_ACCESS_KEY_ID": plain.access_key, "AWS_SECRET_ACCESS_KEY": plain.secret_key}
        for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
            environment.pop(name, None)
        if plain.session_token:
            environment["AWS_SESSION_TOKEN"] = plain.session_token
    if transport.ca_certificates:
        environment["AWS_CA_BUNDLE"] = transport.ca_certificates[0]
    try:
        done = subprocess.run(
            [sys.executable, "-P", chain.__file__, region, "verify" if transport.verify else "trust"],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
        )
    except subprocess.TimeoutExpired:
        raise StorageAway(f"credentials for S3: nobody gave any within {_PATIENCE:g} s") from None
    except OSError as error:
        raise AccessDenied(f"credentials for S3: botocore cannot be started: {error.strerror}") from None
    try:
        answer = msgspec.json.decode(done.stdout, type=chain.Answer)
    except msgspec.MsgspecError:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"it ended with status {done.returncode}"]
        raise AccessDenied(f"credentials for S3: botocore failed: {visible(lines[-1])[:_SHOWN]}") from None
    if answer.error:
        said = f"credentials for S3: {visible(' '.join(answer.error.split()))[:_SHOWN]}"
        raise StorageAway(said) if answer.passing else AccessDenied(said)
    if not answer.access_key:
        raise UsageError(_NONE)
    return _Found(Keys(answer.access_key, answer.secret_key, answer.token), answer.ends)
