"""Backblaze B2's interface over HTTP, on the simulator that comes with Backblaze's own library.

There is no server to install. The simulator decides what a call does; here are only the addresses, headers and errors, as
Backblaze documents them. A client reaches it as ``https://api.backblazeb2.com`` by way of a proxy, which this is too: programs
that know no other address can be tried with ``HTTPS_PROXY`` and ``--cacert``. Without TLS it is at ``B2_ENVIRONMENT``.
"""

from __future__ import annotations

import base64
import io
import json
import ssl
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import unquote_plus, urlsplit

from b2sdk.v2 import RawSimulator
from b2sdk.v2 import exception as refusals

from tests.servers.base import Place
from tests.servers.certificates import Certificates

HOSTS = ["api.backblazeb2.com", "f000.backblazeb2.com", "pod-000.backblaze.com"]
"""Where calls, downloads and uploads go."""

MASTER = "account-0", "masterKey-0"
"""Id and secret of the key that may do everything."""

BUCKET = "restic-format-tests"


class Answer(NamedTuple):
    """What is sent to a client instead of what the simulator says."""

    status: int
    code: str
    message: str = ""
    headers: Mapping[str, str] = {}


class _Simulator(RawSimulator):  # type: ignore[misc]
    """The simulator, which forgets for some calls which bucket they are for: a key for that bucket could not make them."""

    asked: str | None = None
    """Id of the bucket that the call is for."""

    def _assert_account_auth(
        self, url: str, token: str, account: str, capability: str, bucket_id: str | None = None, file_name: str | None = None
    ) -> None:
        super()._assert_account_auth(url, token, account, capability, bucket_id or self.asked, file_name)


class B2Server:
    """The simulator behind a port of loopback. `place` gives a new place for a repository in `BUCKET`."""

    def __init__(self, certificates: Certificates) -> None:
        self.simulator = _Simulator()
        assert self.simulator.create_account() == MASTER
        self.calls: list[str] = []
        """The names of the calls that were made, in their order."""
        self.faults: list[tuple[str, Answer | None]] = []
        """A call of that name gets that answer, once; None lets it through."""
        self.turn = threading.RLock()
        self.ca = certificates.ca
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        shown = certificates.make("backblaze", HOSTS)
        self.tls.load_cert_chain(shown, certificates.key_of(shown))
        self._http = _Http(("127.0.0.1", 0), type("Bound", (_Handler,), {"b2": self}))
        self.port: int = self._http.server_address[1]
        self._places = 0

    @property
    def url(self) -> str:
        """Its address without TLS."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start to answer."""
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """Answer no more."""
        self._http.shutdown()
        self._http.server_close()

    def place(self, name: str = "", *, plain: bool = False, key: tuple[str, str] = MASTER) -> Place:
        """A new place, reached at Backblaze's address through a proxy; or, by our program, as *plain* HTTP. *key* opens it."""
        self._places += 1
        location = f"b2:{BUCKET}:{name or 'repo'}-{self._places}"
        environment = {"B2_ACCOUNT_ID": key[0], "B2_ACCOUNT_KEY": key[1], "HTTPS_PROXY": self.url, "NO_PROXY": ""}
        if plain:
            environment["B2_ENVIRONMENT"] = self.url
        return Place(location, environment=environment, flags=("--cacert", str(self.ca)))

    def key(self, capabilities: list[str], bucket: str = "") -> tuple[str, str]:
        """A new application key that may only do what *capabilities* name; only in *bucket*, where one is named."""
        token = self.simulator.authorize_account("", *MASTER)["authorizationToken"]
        only = self.simulator.bucket_name_to_bucket[bucket].bucket_id if bucket else None
        made = self.simulator.create_key(self.simulator.API_URL, token, MASTER[0], capabilities, "test", None, only, None)
        return made["applicationKeyId"], made["applicationKey"]

    def expire(self) -> None:
        """Let all tokens that were given out expire."""
        with self.turn:
            for token in self.simulator.auth_token_to_key:
                self.simulator.expire_auth_token(token)

    def versions(self, prefix: str) -> list[tuple[str, str]]:
        """Name and action of every version of the files below *prefix* of the bucket."""
        with self.turn:
            files = self.simulator.bucket_name_to_bucket[BUCKET].file_name_and_id_to_file
            return [(name, file.action) for (name, _), file in sorted(files.items()) if name.startswith(prefix)]


@contextmanager
def running_b2(certificates: Certificates) -> Iterator[B2Server]:
    """A B2 that begins empty."""
    server = B2Server(certificates)
    server.start()
    try:
        yield server
    finally:
        server.stop()


class _Http(ThreadingHTTPServer):
    """Keeps silent about connections that break, which some tests are about."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    """One connection; what stands behind CONNECT goes on with TLS."""

    b2: B2Server
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    base = ""

    def log_message(self, *arguments: object) -> None:
        del arguments

    def do_CONNECT(self) -> None:
        host = self.path.partition(":")[0]
        if host not in HOSTS:
            self.send_error(502, "a test went out into the world")
            return
        self.send_response_only(200)
        self.end_headers()
        self.wfile.flush()
        self.connection = self.b2.tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb", -1)
        self.wfile = self.connection.makefile("wb", -1)
        self.base = "https://"
        self.close_connection = False

    def do_GET(self) -> None:
        if self.base != "https://":
            self.base = f"http://{self.headers['Host']}"  # where the client has come: there may be something in the way
        name, answer = self._answer()
        with self.b2.turn:
            self.b2.calls.append(name)
            fault = next((found for found in self.b2.faults if found[0] == name), None)
            if fault is not None:
                self.b2.faults.remove(fault)
                if fault[1] is not None:
                    self._refuse(fault[1])
                    return
            try:
                status, headers, body = answer()
            except (AssertionError, ValueError, KeyError) as error:  # what was asked is nonsense
                self._refuse(Answer(400, "bad_request", str(error)[:200]))
                return
            except refusals.B2Error as error:
                self._refuse(_refusal(name, error))
                return
        self._send(status, headers, body)

    do_POST = do_HEAD = do_GET  # noqa: N815

    def _answer(self) -> tuple[str, Callable[[], tuple[int, dict[str, str], bytes]]]:
        """What is called, and what answers."""
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(size)
        if len(body) < size:
            raise ConnectionError("the client has gone")
        path = urlsplit(self.path).path
        token = self.headers.get("Authorization") or ""
        if path.startswith("/file/"):
            return ("b2_download_file_by_name", lambda: self._download(path, token))
        if path.startswith("/upload/"):
            return ("b2_upload_file", lambda: self._upload(path.removeprefix("/upload/"), token, body))
        version, name = path.removeprefix("/b2api/").split("/")
        return name, lambda: (200, {}, json.dumps(self._called(name, version, token, body), default=sorted).encode())

    def _called(self, name: str, version: str, token: str, body: bytes) -> Any:
        asked: dict[str, Any] = json.loads(body or b"{}")
        simulator = self.b2.simulator
        if name == "b2_authorize_account":
            key, _, secret = base64.b64decode(token.removeprefix("Basic ")).decode().partition(":")
            return self._authorized(version, simulator.authorize_account("", key, secret))
        if token not in simulator.auth_token_to_key:
            raise refusals.InvalidAuthToken("not a token", "bad_auth_token")
        url = simulator.API_URL
        if name == "b2_list_buckets":
            simulator.asked = None
            return simulator.list_buckets(url, token, asked["accountId"], asked.get("bucketId"), asked.get("bucketName"))
        simulator.asked = asked.get("bucketId") or simulator.file_id_to_bucket_id.get(asked.get("fileId", ""))
        if name == "b2_create_bucket":
            return simulator.create_bucket(url, token, asked["accountId"], asked["bucketName"], asked["bucketType"])
        if name == "b2_get_upload_url":
            given = simulator.get_upload_url(url, token, asked["bucketId"])
            where = "https://pod-000.backblaze.com" if self.base == "https://" else self.base
            path = given["uploadUrl"].removeprefix("https://upload.example.com/")
            return given | {"uploadUrl": f"{where}/upload/{path}"}
        if name == "b2_list_file_names":
            most, prefix = asked.get("maxFileCount"), asked.get("prefix") or ""
            start = asked.get("startFileName") or prefix  # the simulator gives nothing for a prefix without a start
            return simulator.list_file_names(url, token, asked["bucketId"], start, most, prefix)
        if name == "b2_list_file_versions":
            most, prefix = asked.get("maxFileCount"), asked.get("prefix") or ""
            start = asked.get("startFileName") or prefix, asked.get("startFileId") or None
            return simulator.list_file_versions(url, token, asked["bucketId"], *start, most, prefix)
        if name == "b2_get_file_info":
            return simulator.get_file_info_by_id(url, token, asked["fileId"])
        if name == "b2_hide_file":
            return simulator.hide_file(url, token, asked["bucketId"], asked["fileName"])
        if name == "b2_delete_file_version":
            return simulator.delete_file_version(url, token, asked["fileId"], asked["fileName"])
        raise AssertionError(f"the tests know no call {name}")

    def _authorized(self, version: str, account: dict[str, Any]) -> dict[str, Any]:
        """An account as *version* of the interface tells it: restic asks for the first, we for the third."""
        given = account["apiInfo"]["storageApi"]
        given |= {"absoluteMinimumPartSize": 5_000_000, "recommendedPartSize": 100_000_000}
        secure = self.base == "https://"
        given["apiUrl"] = "https://api.backblazeb2.com" if secure else self.base
        given["downloadUrl"] = "https://f000.backblazeb2.com" if secure else self.base
        if version == "v1":
            return {"accountId": account["accountId"], "authorizationToken": account["authorizationToken"], **given}
        allowed = given.pop("allowed")
        given |= {"bucketId": allowed["bucketId"], "bucketName": allowed["bucketName"]}
        return account

    def _download(self, path: str, token: str) -> tuple[int, dict[str, str], bytes]:
        simulator = self.b2.simulator
        if token not in simulator.auth_token_to_key:
            raise refusals.InvalidAuthToken("not a token", "bad_auth_token")
        if token in simulator.expired_auth_tokens:
            raise refusals.InvalidAuthToken("auth token expired", "auth_token_expired")
        with simulator.download_file_from_url(token, simulator.DOWNLOAD_URL + path) as found:
            headers, data = dict(found.headers), bytes(found.data_bytes)
        headers.pop("content-length")
        asked = (self.headers.get("Range") or "").removeprefix("bytes=")
        if not asked:
            return 200, headers, data
        first, _, last = asked.partition("-")
        begin, end = int(first), min(int(last or len(data)), len(data) - 1)
        if begin >= len(data):
            raise refusals.UnsatisfiableRange
        return 206, headers | {"Content-Range": f"bytes {begin}-{end}/{len(data)}"}, data[begin : end + 1]

    def _upload(self, path: str, token: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if token != f"https://upload.example.com/{path}":
            raise refusals.InvalidAuthToken("not this address", "bad_auth_token")
        if token.rpartition("/")[2] in self.b2.simulator.expired_auth_tokens:
            raise refusals.InvalidAuthToken("auth token expired", "auth_token_expired")
        name, kind = unquote_plus(self.headers["X-Bz-File-Name"]), self.headers["Content-Type"]
        sha1 = self.headers["X-Bz-Content-Sha1"]
        done = self.b2.simulator.upload_file(token, token, name, len(body), kind, sha1, {}, io.BytesIO(body))
        return 200, {}, json.dumps(done).encode()

    def _refuse(self, answer: Answer) -> None:
        body = {"status": answer.status, "code": answer.code, "message": answer.message}
        self._send(answer.status, dict(answer.headers), json.dumps(body).encode())

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()


def _refusal(call: str, error: refusals.B2Error) -> Answer:
    """The answer that Backblaze documents for what the simulator raises."""
    text = str(error)
    if isinstance(error, refusals.InvalidAuthToken):
        code = "expired_auth_token" if "expired" in text else "bad_auth_token"
        return Answer(401, "unauthorized" if call == "b2_authorize_account" else code)
    if isinstance(error, refusals.Unauthorized):
        return Answer(401, "unauthorized")
    if isinstance(error, (refusals.FileNotPresent, refusals.NonExistentBucket)):
        if call == "b2_download_file_by_name":
            return Answer(404, "not_found", f"File with such name does not exist: {text}")
        return Answer(400, "file_not_present", text)
    if isinstance(error, refusals.UnsatisfiableRange):
        return Answer(416, "range_not_satisfiable", "The Range header in the request is outside the size of the file")
    if isinstance(error, refusals.FileSha1Mismatch):
        return Answer(400, "bad_request", "Sha1 did not match data received")
    return Answer(400, "bad_request", text)
