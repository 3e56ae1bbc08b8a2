"""What a server of S3 answers that no real one does on demand: a server made by hand, which is told its answers."""

from __future__ import annotations

import base64
import hashlib
import socket
import threading
import tracemalloc
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import pytest

from restic_format.errors import AccessDenied, FileExists, FileMissing, FileUnusable, NoSpace, StorageError
from restic_format.storage import open_storage
from restic_format.storage.extended import S3Options
from restic_format.storage.http.pool import Pool
from restic_format.storage.objects import ObjectStorage
from restic_format.storage.s3.answers import document, page_of
from restic_format.storage.s3.credentials import Credentials, _Found
from restic_format.storage.s3.location import parse
from restic_format.storage.s3.sign import Keys
from restic_format.storage.s3.store import S3Store
from restic_format.storage.transport import DIRECT, Transport
from restic_spec.ids import id_of
from restic_spec.layout import FileKind

SEALED = b"sealed"
NAME = id_of(SEALED).hex()
MD5 = base64.b64encode(hashlib.md5(SEALED).digest()).decode()


class Answer(NamedTuple):
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = {}  # noqa: RUF012


class Asked(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def region(self) -> str:
        """The region that it is signed for."""
        return self.headers.get("authorization", "///").split("/")[2]


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, *words: object) -> None:
        return  # a client that has heard enough closes the connection


class Told:
    """A server that gives *answers* one after the other, the last again and again."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.asked: list[Asked] = []
        told = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16  # an answer in one piece

            def log_message(self, *words: object) -> None:
                return

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): text for name, text in self.headers.items()}
                told.asked.append(Asked(self.command, self.path, headers, body))
                answer = told.answers.pop(0) if len(told.answers) > 1 else told.answers[0]
                self.send_response(answer.status)
                for name, text in answer.headers.items():
                    self.send_header(name, text)
                if "Content-Length" not in answer.headers:
                    self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)

        for method in ("GET", "PUT", "HEAD", "DELETE", "POST"):
            setattr(Handler, f"do_{method}", Handler._answer)
        self.server = _Quiet(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def storage(self, *answers: Answer, credentials: Credentials | None = None, **options: object) -> ObjectStorage:
        """A storage on it, which is given *answers*."""
        self.answers, self.asked = list(answers), []
        credentials = credentials or Credentials(lambda: _Found(Keys("id", "secret"), None))
        where = parse(f"http://127.0.0.1:{self.server.server_address[1]}/bucket")
        store = S3Store(where, S3Options(**options), credentials, lambda origin: Pool(origin, DIRECT, 5))  # type: ignore[arg-type]
        return ObjectStorage(store, "")


@pytest.fixture(scope="module")
def told() -> Iterator[Told]:
    server = Told()
    yield server
    server.server.shutdown()
    server.server.server_close()


def failure(code: str, message: str = "words", more: str = "") -> bytes:
    return f'<?xml version="1.0"?>\n<Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>'.encode()


def listing(*keys: str, more: str = "", token: str = "", prefix: str = "data/") -> bytes:
    objects = "".join(f"<Contents><Key>{key}</Key><Size>6</Size></Contents>" for key in keys)
    after = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    name = "http://s3.amazonaws.com/doc/2006-03-01/"
    cut = f"<IsTruncated>{'true' if token or more else 'false'}</IsTruncated>"
    return f'<ListBucketResult xmlns="{name}"><Prefix>{prefix}</Prefix>{cut}{after}{objects}</ListBucketResult>'.encode()


@pytest.mark.parametrize(
    ("answer", "kind", "what"),
    [
        (Answer(403, failure("AccessDenied")), AccessDenied, "403 Forbidden: AccessDenied: words"),
        (Answer(403, failure("InvalidAccessKeyId")), AccessDenied, "words; the server does not know this access key"),
        (Answer(400, failure("ExpiredToken")), AccessDenied, "ExpiredToken: words; ask for new credentials"),
        (Answer(404, failure("NoSuchKey")), FileMissing, "404 Not Found: NoSuchKey: words"),
        (Answer(503, failure("SlowDown")), StorageError, "503 Service Unavailable: SlowDown: words"),
        (Answer(403, failure("RequestTimeout")), StorageError, "RequestTimeout: words"),
        (Answer(507, b""), NoSpace, "507 Insufficient Storage"),
        (Answer(403, failure("QuotaExceeded")), NoSpace, "QuotaExceeded: words"),
        (Answer(500, b"<html>oops"), StorageError, "500 Internal Server Error$"),
        (Answer(503, b""), StorageError, "503 Service Unavailable"),
        (
            Answer(403, failure("SignatureDoesNotMatch", "no", "<StringToSign>hidden</StringToSign>")),
            AccessDenied,
            "SignatureDoesNotMatch: no; the secret key is another one",
        ),
        (Answer(403, failure("Odd", "a\x1b[31m" + "b" * 500)), AccessDenied, r"403 Forbidden$"),
        (Answer(403, failure("Odd", "a\u009b31m" + "b" * 500)), AccessDenied, r"Odd: a.{1,10}31mb+…$"),
        (Answer(403, b'<!DOCTYPE x [<!ENTITY a "b">]>' + failure("Odd")), AccessDenied, "403 Forbidden$"),
    ],
)
def test_errors(told: Told, answer: Answer, kind: type[StorageError], what: str) -> None:
    storage = told.storage(answer)
    with pytest.raises(StorageError, match=what) as caught:
        storage.load(FileKind.INDEX, NAME)
    assert type(caught.value) is kind and "hidden" not in str(caught.value) and "\u009b" not in str(caught.value)
    assert caught.value.object == f"index/{NAME}"


def test_the_region_is_learnt_from_an_answer(told: Told) -> None:
    wrong = Answer(400, failure("AuthorizationHeaderMalformed", "w", "<Region>eu-west-3</Region>"))
    storage = told.storage(wrong, Answer(200, SEALED))
    assert storage.load(FileKind.INDEX, NAME) == SEALED == storage.load(FileKind.INDEX, NAME)
    assert [asked.region for asked in told.asked] == ["us-east-1", "eu-west-3", "eu-west-3"]


def test_a_redirection_is_taken_for_the_name_of_the_region_only(told: Told) -> None:
    elsewhere = {"x-amz-bucket-region": "ap-south-1", "Location": "http://127.0.0.1:1/elsewhere"}
    storage = told.storage(Answer(301, b"", elsewhere), Answer(200, b"", {"Content-Length": "6"}))
    assert storage.size(FileKind.INDEX, NAME) == 6
    assert [asked.region for asked in told.asked] == ["us-east-1", "ap-south-1"]


def test_where_no_answer_tells_the_region_the_server_is_asked_once(told: Told) -> None:
    place = Answer(200, b'<LocationConstraint xmlns="x">garage</LocationConstraint>')
    storage = told.storage(Answer(400), place, Answer(200, b"", {"Content-Length": "6"}))
    assert storage.size(FileKind.INDEX, NAME) == 6
    assert [(asked.method, asked.path.partition("?")[2], asked.region) for asked in told.asked] == [
        ("HEAD", "", "us-east-1"),
        ("GET", "location=", "us-east-1"),
        ("HEAD", "", "garage"),
    ]
    unsigned = Answer(403, failure("SignatureDoesNotMatch"))
    storage = told.storage(Answer(403), unsigned, place, Answer(206, b"s"), Answer(200, b"", {"Content-Length": "6"}))
    assert storage.size(FileKind.INDEX, NAME) == 6
    assert [asked.region for asked in told.asked] == ["us-east-1", "us-east-1", "us-east-1", "garage", "garage"]
    storage = told.storage(Answer(400))
    for _ in range(2):
        with pytest.raises(StorageError, match="400 Bad Request"):
            storage.size(FileKind.INDEX, NAME)
    assert sum("location" in asked.path for asked in told.asked) == 1


@pytest.mark.parametrize("region", ["evil.example/", "a b", "a\nb", "UP", "x" * 70])
def test_a_region_that_cannot_be_one_is_not_believed(told: Told, region: str) -> None:
    storage = told.storage(Answer(400, failure("AuthorizationHeaderMalformed", "w", f"<Region>{region}</Region>")))
    with pytest.raises(StorageError, match="AuthorizationHeaderMalformed"):
        storage.load(FileKind.INDEX, NAME)
    assert {asked.region for asked in told.asked} == {"us-east-1"}


def test_answers_that_name_ever_other_regions_end(told: Told) -> None:
    wrong = [Answer(400, failure("AuthorizationHeaderMalformed", "w", f"<Region>r-{n}</Region>")) for n in range(30)]
    storage = told.storage(*wrong)
    with pytest.raises(StorageError, match="AuthorizationHeaderMalformed"):
        storage.load(FileKind.INDEX, NAME)
    assert len(told.asked) < 10


def test_credentials_that_have_expired_are_replaced_once(told: Told) -> None:
    given = iter(range(10))
    credentials = Credentials(lambda: _Found(Keys(f"id{next(given)}", "s", "token"), 1e12))
    storage = told.storage(Answer(400, failure("ExpiredToken")), Answer(200, SEALED), credentials=credentials)
    assert storage.load(FileKind.INDEX, NAME) == SEALED
    used = [asked.headers["authorization"].partition("Credential=")[2].partition("/")[0] for asked in told.asked]
    assert used == ["id0", "id1"]


def test_a_new_file_is_stored_under_a_condition_and_without_one_where_that_is_not_known(told: Told) -> None:
    storage = told.storage(Answer(404), Answer(200))
    storage.save_new(FileKind.CONFIG, "", SEALED)
    assert told.asked[1].headers["if-none-match"] == "*" and told.asked[1].body == SEALED
    for status in (412, 409):
        code = "PreconditionFailed" if status == 412 else "ConditionalRequestConflict"
        storage = told.storage(Answer(404), Answer(status, failure(code)))
        with pytest.raises(FileExists if status == 412 else StorageError, match="config"):
            storage.save_new(FileKind.CONFIG, "", SEALED)
    for refusal in (Answer(501, failure("NotImplemented")), Answer(400, failure("InvalidArgument"))):
        storage = told.storage(Answer(404), refusal, Answer(200))
        storage.save_new(FileKind.CONFIG, "", SEALED)
        assert [asked.method for asked in told.asked] == ["HEAD", "PUT", "PUT"]
        assert "if-none-match" not in told.asked[2].headers
    storage = told.storage(Answer(200, b"", {"Content-Length": "6"}))
    with pytest.raises(FileExists, match="config: already exists"):
        storage.save_new(FileKind.CONFIG, "", SEALED)


def test_md5_is_sent_without_tls_and_the_hash_always(told: Told) -> None:
    storage = told.storage(Answer(200))
    storage.save(FileKind.PACK, NAME, [SEALED[:3], SEALED[3:]])
    headers = told.asked[0].headers
    assert headers["x-amz-content-sha256"] == NAME and headers["content-md5"] == MD5
    assert "content-md5" in headers["authorization"]
    storage.save(FileKind.CONFIG, "", SEALED)
    assert told.asked[1].headers["x-amz-content-sha256"] == NAME


def test_md5_is_sent_from_then_on_where_a_server_asks_for_it(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = told.storage(Answer(400, failure("InvalidRequest", "Content-MD5 is required")), Answer(200))
    storage.store._with_md5 = False  # type: ignore[attr-defined] - as with TLS
    storage.save(FileKind.PACK, NAME, SEALED)
    storage.save(FileKind.PACK, NAME, SEALED)
    assert ["content-md5" in asked.headers for asked in told.asked] == [False, True, True]


def test_the_bucket_is_made_in_its_region_where_it_is_missing(told: Told) -> None:
    told.storage(Answer(404), Answer(200), region="eu-west-3").create()
    assert [(asked.method, asked.path) for asked in told.asked] == [("HEAD", "/bucket/"), ("PUT", "/bucket/")]
    assert b"<LocationConstraint>eu-west-3</LocationConstraint>" in told.asked[1].body
    told.storage(Answer(404), Answer(409, failure("BucketAlreadyOwnedByYou"))).create()
    assert told.asked[1].body == b""
    told.storage(Answer(403)).create()
    assert len(told.asked) == 1, "who may not look at the bucket may be allowed to use it"
    wrong = Answer(400, failure("AuthorizationHeaderMalformed", "w", "<Region>eu-west-3</Region>"))
    constraint = Answer(400, failure("InvalidLocationConstraint"))
    told.storage(Answer(400), Answer(404, failure("NoSuchBucket")), wrong, constraint, Answer(200), region="away").create()
    assert [(asked.method, asked.region) for asked in told.asked] == [
        ("HEAD", "away"),
        ("GET", "us-east-1"),
        ("PUT", "away"),
        ("PUT", "eu-west-3"),
        ("PUT", "eu-west-3"),
    ]
    assert b"<LocationConstraint>eu-west-3</LocationConstraint>" in told.asked[-1].body
    with pytest.raises(StorageError, match="make bucket bucket: 409 Conflict: BucketAlreadyExists: words"):
        told.storage(Answer(404), Answer(409, failure("BucketAlreadyExists"))).create()


def test_anonymous_requests_are_not_signed(told: Told) -> None:
    storage = told.storage(Answer(200, SEALED))
    storage.store._credentials = None  # type: ignore[attr-defined]
    assert storage.load(FileKind.INDEX, NAME) == SEALED
    assert not any(name.startswith("x-amz") or name == "authorization" for name in told.asked[0].headers)


KEY = f"data/{NAME[:2]}/{NAME}"


@pytest.mark.parametrize("old", [False, True])
def test_a_listing_that_does_not_end_is_given_up(told: Told, old: bool) -> None:
    page = listing(KEY, token="" if old else "again", more="yes")
    with pytest.raises(StorageError, match="list data/: the server's listing does not come to an end"):
        for _ in told.storage(Answer(200, page), list_objects_v1=old).list(FileKind.PACK):
            pass
    assert len(told.asked) <= 3
    empty = [Answer(200, listing(token=f"t{number}", more="yes")) for number in range(1500)]
    with pytest.raises(StorageError, match="does not come to an end"):
        list(told.storage(*empty).list(FileKind.PACK))
    assert len(told.asked) <= 1002


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>log in</body></html>",
        b'<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><ListBucketResult>&b;</ListBucketResult>',
        listing(KEY).replace(b"<Size>6<", b"<Size>-6<"),
        listing(KEY).replace(b"<Size>6<", b"<Size>" + b"9" * 30 + b"<"),
        listing(KEY)[:-20],
        listing(KEY).decode().encode("utf-16"),
        listing(prefix="index/"),
        b"<ListBucketResult>" + b"<X/>" * 300_000 + b"</ListBucketResult>",
    ],
)
def test_what_is_no_listing(told: Told, body: bytes) -> None:
    with pytest.raises(StorageError, match="list data/: what the server answers is no listing of S3") as caught:
        list(told.storage(Answer(200, body)).list(FileKind.PACK))
    assert not caught.value.permanent


def test_a_page_that_is_too_large_is_not_taken(told: Told) -> None:
    with pytest.raises(FileUnusable, match="the server sends 17000000 bytes"):
        list(told.storage(Answer(200, b" " * 17_000_000)).list(FileKind.PACK))


def test_keys_that_are_encoded_are_decoded() -> None:
    body = listing("data/a%2Bb+c%20d%C3%A9").replace(b"<Prefix>", b"<EncodingType>url</EncodingType><Prefix>")
    assert page_of(body, "data/").objects == [("data/a+b c dé", 6)]
    assert page_of(listing("data/a%2Bb"), "data/").objects == [("data/a%2Bb", 6)]


def test_a_document_takes_memory_in_proportion() -> None:
    body = b"<ListBucketResult>" + b"<Contents/>" * 190_000 + b"</ListBucketResult>"
    tracemalloc.start()
    document(body)
    assert tracemalloc.get_traced_memory()[1] < 60 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("length", ["", "-1", "1e3", "9" * 30])
def test_a_size_that_is_none(told: Told, length: str) -> None:
    headers = {"Content-Length": length} if length != "" else {"Content-Length": "x"}
    with pytest.raises(StorageError, match=f"stat .*{NAME}: the server does not say how large it is"):
        told.storage(Answer(200, b"", headers)).size(FileKind.INDEX, NAME)


def test_a_refusal_without_a_body_is_explained_by_another_request(told: Told) -> None:
    storage = told.storage(Answer(403), Answer(403, failure("AccessDenied", "read only")))
    with pytest.raises(AccessDenied, match=r"stat .*: 403 Forbidden: AccessDenied: read only"):
        storage.size(FileKind.INDEX, NAME)
    assert [asked.method for asked in told.asked] == ["HEAD", "GET"]
    told.storage(Answer(403, b"", {"x-minio-error-code": "AccessDenied", "x-minio-error-desc": '"no"'}))
    with pytest.raises(AccessDenied, match="AccessDenied: no"):
        told.storage(*told.answers).exists(FileKind.INDEX, NAME)


def test_the_name_of_the_bucket_stands_in_the_host_or_in_the_path(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    told.answers, told.asked = [Answer(200, SEALED)], []
    found = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *words, **more: found("127.0.0.1", *words, **more))
    port = told.server.server_address[1]
    keys = Transport(environment={"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "s", "NO_PROXY": "*"})
    for lookup in ("dns", "path", "auto"):
        storage = open_storage(f"s3:http://s3.example:{port}/bucket/p", {"s3.bucket-lookup": lookup}, keys)
        assert storage.load(FileKind.INDEX, NAME) == SEALED
    assert [(asked.headers["host"], asked.path) for asked in told.asked] == [
        (f"bucket.s3.example:{port}", f"/p/index/{NAME}"),
        (f"s3.example:{port}", f"/bucket/p/index/{NAME}"),
        (f"s3.example:{port}", f"/bucket/p/index/{NAME}"),
    ]


def test_the_region_is_that_of_the_option_or_else_of_the_environment(told: Told) -> None:
    told.answers, told.asked = [Answer(200, SEALED)], []
    place = f"s3:http://127.0.0.1:{told.server.server_address[1]}/bucket"
    keys = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "s"}
    for option, variable in (("", ""), ("", "here"), ("there", "elsewhere")):
        options = {"s3.region": option} if option else {}
        open_storage(place, options, Transport(environment={**keys, "AWS_DEFAULT_REGION": variable})).load(FileKind.INDEX, NAME)
    assert [asked.region for asked in told.asked] == ["us-east-1", "here", "there"]


def test_a_public_bucket_is_used_without_credentials(told: Told) -> None:
    told.answers, told.asked = [Answer(200, SEALED)], []
    place = f"s3:http://127.0.0.1:{told.server.server_address[1]}/bucket"
    assert open_storage(place, {"s3.unsafe-anonymous-auth": "true"}).load(FileKind.INDEX, NAME) == SEALED
    assert "authorization" not in told.asked[0].headers
