"""Signatures are those of Amazon's own library, byte for byte."""

from __future__ import annotations

import calendar
import datetime
from unittest import mock

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from restic_format.storage.s3.sign import EMPTY, Keys, Signer, hash_of, path_of_key, query_of

NOW = datetime.datetime(2026, 11, 26, 23, 59, 59)
SECONDS = float(calendar.timegm(NOW.timetuple()))
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


def signed_by_botocore(keys: Keys, region: str, method: str, url: str, headers: dict[str, str], body_hash: str) -> str:
    request = AWSRequest(method=method, url=url, headers={**headers, "X-Amz-Content-SHA256": body_hash})
    request.context["client_config"] = None
    request.context["payload_signing_enabled"] = True

    class Signing(botocore.auth.S3SigV4Auth):  # type: ignore[misc]
        def payload(self, request: AWSRequest) -> str:
            return body_hash

    credentials = Credentials(keys.access_key, keys.secret_key, keys.session_token or None)
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=NOW):
        Signing(credentials, "s3", region).add_auth(request)
    return str(request.headers["Authorization"])


@settings(max_examples=150)
@given(
    st.sampled_from(["GET", "PUT", "HEAD", "DELETE", "POST"]),
    TEXT,
    st.dictionaries(st.sampled_from(["prefix", "list-type", "continuation-token", "restore", "marker"]), TEXT),
    st.dictionaries(
        st.sampled_from(["Content-Type", "Range", "If-None-Match", "x-amz-storage-class", "Content-MD5"]),
        st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12),
    ),
    st.sampled_from(["", "a/session/token=="]),
    st.binary(max_size=20),
)
def test_a_request_is_signed_as_botocore_signs_it(
    method: str, key: str, arguments: dict[str, str], headers: dict[str, str], token: str, body: bytes
) -> None:
    keys, region = Keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token), "eu-central-1"
    path, query = path_of_key("/bucket/", f"prefix/{key}"), query_of(arguments)
    url = f"https://s3.example.org:9000{path}" + (f"?{query}" if query else "")
    signed = Signer(region).headers(keys, method, "s3.example.org:9000", path, query, headers, hash_of(body), SECONDS)
    assert signed["Authorization"] == signed_by_botocore(keys, region, method, url, headers, hash_of(body))
    assert signed["x-amz-date"] == "20261126T235959Z"
    assert ("x-amz-security-token" in signed) == bool(token)


def test_the_key_of_a_day_is_not_used_on_the_next() -> None:
    signer, keys = Signer("us-east-1"), Keys("id", "secret")

    def signature(now: float, keys: Keys = keys) -> str:
        return signer.headers(keys, "GET", "h", "/", "", {}, EMPTY, now)["Authorization"]

    first = signature(SECONDS)
    for other in (signature(SECONDS + 1), signature(SECONDS, Keys("id", "another"))):
        assert other != first
    assert signature(SECONDS) == first
    fresh = Signer("us-east-1").headers(keys, "GET", "h", "/", "", {}, EMPTY, SECONDS + 1)["Authorization"]
    assert signature(SECONDS + 1) == fresh


@pytest.mark.parametrize("data", [b"", b"abc", [b"a", memoryview(b"bc")]])
def test_a_body_may_come_in_pieces(data: object) -> None:
    assert hash_of(data) in (EMPTY, hash_of(b"abc"))  # type: ignore[arg-type]


def test_keys_show_nothing_of_themselves() -> None:
    assert "secret" not in repr(Keys("id", "secret", "token")) and "token" not in str(Keys("id", "secret", "token"))
