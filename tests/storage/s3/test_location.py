"""What stands behind ``s3:``, read as restic reads it; and where requests for a bucket go."""

from __future__ import annotations

import pytest

from restic_format.errors import LocationInvalid, UsageError
from restic_format.storage import open_storage
from restic_format.storage.s3.location import S3Location, parse, route
from restic_format.storage.transport import Transport


@pytest.mark.parametrize(
    ("rest", "where"),
    [
        ("s3.amazonaws.com/bucket", S3Location(True, "s3.amazonaws.com", "bucket", "")),
        ("//host/bucket/prefix", S3Location(True, "host", "bucket", "prefix")),
        ("host:9000/bucket/a/b/", S3Location(True, "host:9000", "bucket", "a/b")),
        ("http://host:9000/bucket", S3Location(False, "host:9000", "bucket", "")),
        ("https://host/bucket/a/./b/../c//", S3Location(True, "host", "bucket", "a/c")),
        ("host/bucket//a//b", S3Location(True, "host", "bucket", "/a/b")),
        ("host/bucket/../a", S3Location(True, "host", "bucket", "../a")),
        ("host/bucket/", S3Location(True, "host", "bucket", "")),
        ("host/bucket/.", S3Location(True, "host", "bucket", "")),
        ("https://host/bucket/a%20b", S3Location(True, "host", "bucket", "a b")),
        ("host/bucket/a%20b", S3Location(True, "host", "bucket", "a%20b")),
        ("http://[::1]:9000/bucket/x", S3Location(False, "[::1]:9000", "bucket", "x")),
        ("https://user:secret@host/bucket/x", S3Location(True, "host", "bucket", "x")),
    ],
)
def test_forms(rest: str, where: S3Location) -> None:
    assert parse(rest) == where
    assert parse(where.text.removeprefix("s3:")) == where or "%" in rest
    assert "secret" not in where.text


@pytest.mark.parametrize(
    ("rest", "what"),
    [
        ("", "invalid format, host/region or bucket name not found"),
        ("http://", "invalid format, host/region or bucket name not found"),
        ("http://host", "bucket name not found"),
        ("http://host/", "bucket name cannot be empty"),
        ("host", "bucket name cannot be empty"),
        ("host/ab", "cannot be the name of a bucket"),
        ("host/a b c", "cannot be the name of a bucket"),
        ("host/bucket//", "the prefix has nothing but slashes"),
        ("host/a..b", "cannot be the name of a bucket"),
        ("http://host:port/bucket", "no host with a number as its port"),
        ("http://user:secret#x@host/bucket", "no host with a number as its port"),
    ],
)
def test_what_cannot_be_a_location(rest: str, what: str) -> None:
    with pytest.raises(LocationInvalid, match=f"parsing repository location failed: s3: .*{what}") as caught:
        open_storage(f"s3:{rest}")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("rest", "lookup", "region", "origin", "base", "signed_for"),
    [
        ("host:9000/bucket", "auto", "", "https://host:9000", "/bucket/", "us-east-1"),
        ("http://host/bucket", "dns", "here", "http://bucket.host", "/", "here"),
        ("s3.amazonaws.com/bucket", "auto", "", "https://bucket.s3.amazonaws.com", "/", "us-east-1"),
        ("s3.amazonaws.com/my.bucket", "auto", "", "https://s3.amazonaws.com", "/my.bucket/", "us-east-1"),
        (
            "s3.amazonaws.com/bucket", "auto", "eu-west-3",
            "https://bucket.s3.dualstack.eu-west-3.amazonaws.com", "/", "eu-west-3",
        ),
        (
            "s3.eu-west-3.amazonaws.com/bucket", "path", "",
            "https://s3.eu-west-3.amazonaws.com", "/bucket/", "eu-west-3",
        ),
        (
            "s3.amazonaws.com.cn/bucket", "auto", "cn-north-1",
            "https://bucket.s3.dualstack.cn-north-1.amazonaws.com.cn", "/", "cn-north-1",
        ),
        (
            "s3-fips.us-west-2.amazonaws.com/bucket", "auto", "us-west-2",
            "https://bucket.s3-fips.us-west-2.amazonaws.com", "/", "us-west-2",
        ),
        ("storage.googleapis.com/bucket", "auto", "", "https://bucket.storage.googleapis.com", "/", "us-east-1"),
        ("oss-cn-hangzhou.aliyuncs.com/bucket", "auto", "", "https://bucket.oss-cn-hangzhou.aliyuncs.com", "/", "us-east-1"),
    ],
)  # fmt: skip
def test_where_requests_go(rest: str, lookup: str, region: str, origin: str, base: str, signed_for: str) -> None:
    assert route(parse(rest), lookup, region) == (signed_for, origin, base)


KEYS = Transport(environment={"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"})


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"s3.bucket-lookup": "host"}, 'bad bucket-lookup style "host" must be "auto", "path" or "dns"'),
        ({"s3.region": "eu west"}, "option s3.region: 'eu west' cannot be a name of one"),
        ({"s3.storage-class": "A\nB"}, r"option s3.storage-class: 'A\\nB' cannot be a name of one"),
        ({"s3.connections": "0"}, "option s3.connections: '0' is not a number above 0"),
        ({"s3.conections": "1"}, "option s3.conections is not known"),
        ({"s3.list-objects-v1": "yes"}, "option s3.list-objects-v1: 'yes' is neither true nor false"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, str], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        open_storage("s3:http://127.0.0.1:1/bucket", options, KEYS)


@pytest.mark.parametrize("host", ["ho st", "ho\x01st", "h\u00f6st", "ho\udcffst"])
@pytest.mark.parametrize("form", ["s3:{}/bucket", "s3:http://{}/bucket", "rest:http://{}/"])
def test_a_host_that_cannot_be_one(form: str, host: str) -> None:
    with pytest.raises(LocationInvalid, match="a name of a host has only letters, digits, points and hyphens"):
        open_storage(form.format(host), {}, KEYS)


def test_what_is_shown_of_an_open_storage_has_no_secret() -> None:
    storage = open_storage("s3:https://me:hidden@host/bucket/x/", {"s3.connections": "7", "s3.layout": "default"}, KEYS)
    assert storage.location == "s3:https://host/bucket/x" and storage.connections == 7
    assert "hidden" not in repr(storage) and "secret" not in repr(vars(storage))
