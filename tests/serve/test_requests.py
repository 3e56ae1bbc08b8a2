"""The requests of restic's own tests for storages, sent to rest-server and to ours: the same answers, but for what is named.

The sequences are those that restic's rest client sends in internal/backend/test (create with a config, config, load, list,
save, save with an error, names, all kinds of files).
"""

from __future__ import annotations

import http.client
import json
import random
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import pytest

from tests.serve.kit import NONE, V1, V2, Answer, answer_of, ask, sha
from tests.servers.base import Server

KINDS = ("data", "index", "keys", "locks", "snapshots")
CONTENTS = (b"foobar", b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", b"foo/bar", b"foo/../../baz")


class Step(NamedTuple):
    """A request and the status of the answer; *ours* where that of our server is another one on purpose."""

    method: str
    path: str
    status: int
    body: bytes | None = None
    headers: Mapping[str, str] = NONE
    ours: int = 0


def part(first: int, last: int | str = "") -> dict[str, str]:
    return {"Range": f"bytes={first}-{last}"}


def creating() -> Iterator[Step]:
    yield Step("HEAD", "config", 404)
    yield Step("POST", "?create=true", 200)
    yield Step("POST", "config", 200, b"test config")
    yield Step("HEAD", "config", 200)  # what makes restic's Create fail
    yield Step("POST", "?create=true", 200)  # rest-server leaves that to the client
    yield Step("GET", "config", 200)
    yield Step("POST", "config", 403, b"another")
    yield Step("GET", "config", 200)
    yield Step("DELETE", "config", 200)
    yield Step("HEAD", "config", 404)
    yield Step("DELETE", "config", 200)
    yield Step("POST", "", 400)
    yield Step("POST", "?create=false", 400)
    yield Step("GET", "", 405)
    yield Step("PUT", "config", 405)


def config() -> Iterator[Step]:
    yield Step("POST", "?create=true", 200)
    yield Step("GET", "config", 404, headers=part(0))
    yield Step("POST", "config", 200, b"Config")
    yield Step("GET", "config", 200)
    # rest-server does not know ranges of the config, ours does.
    yield Step("GET", "config", 200, headers=part(0), ours=206)
    yield Step("DELETE", "config", 200)


def loading() -> Iterator[Step]:
    rng = random.Random(23)
    data = rng.randbytes(rng.randrange(1 << 21) + 2000)
    path = f"data/{sha(data)}"
    yield Step("POST", "?create=true", 200)
    yield Step("GET", "data/foobar", 404)
    yield Step("GET", path, 404)
    yield Step("POST", path, 200, data)
    yield Step("GET", path, 200)
    yield Step("HEAD", path, 200)
    for _ in range(50):
        length, offset = rng.randrange(len(data) + 2000), rng.randrange(len(data) + 2000)
        asked = part(offset, offset + length - 1) if length and rng.random() < 0.7 else part(offset)
        yield Step("GET", path, 206 if offset < len(data) else 416, headers=asked)
    for first, last in ((0, 0), (0, len(data) - 1), (0, len(data)), (len(data) - 1, ""), (len(data) - 1, len(data) + 5)):
        yield Step("GET", path, 206, headers=part(first, last))
    for first, last in ((len(data), ""), (len(data), len(data)), (5, 4), (10**18, ""), (1 << 62, 1 << 63)):
        yield Step("GET", path, 416, headers=part(first, last))
    for asked in ("bytes=-5", f"bytes=-{len(data)}", f"bytes=-{len(data) + 5}", "bytes=0-0", "bytes= 1 - 3 "):
        yield Step("GET", path, 206, headers={"Range": asked})
    for asked in (
        "bytes=-",
        "bytes = 1-3",
        "bytes=a-b",
        "bytes=--5",
        "lines=0-1",
        "bytes=1-2-3",
        "bytes=0x1-0x2",
    ):
        yield Step("GET", path, 416, headers={"Range": asked})
    yield Step("GET", path, 200, headers={"Range": "bytes="})
    # Several ranges at once, which no client of restic asks for, are answered with the whole file.
    yield Step("GET", path, 206, headers={"Range": "bytes=0-1,3-4"}, ours=200)
    yield Step("DELETE", path, 200)


def listing() -> Iterator[Step]:
    yield Step("POST", "?create=true", 200)
    for kind in KINDS:
        yield Step("GET", f"{kind}/", 200, headers={"Accept": V2})
        yield Step("GET", f"{kind}/", 200)
    for number in range(30):
        data = b"%d" % number * (55 + number)
        yield Step("POST", f"data/{sha(data)}", 200, data)
    for accept in (V2, V1, "*/*", f"{V2}, {V1}"):
        yield Step("GET", "data/", 200, headers={"Accept": accept})
    yield Step("HEAD", "data/", 405)
    yield Step("POST", "data/", 405)
    yield Step("DELETE", "data/", 405)
    yield Step("GET", "data", 404)
    yield Step("GET", "nothing/", 404)


def saving() -> Iterator[Step]:
    yield Step("POST", "?create=true", 200)
    rng = random.Random(5)
    for _ in range(5):
        data = rng.randbytes(rng.randrange(1 << 20) + 200_000)
        path = f"data/{sha(data)}"
        yield Step("POST", path, 200, data)
        yield Step("GET", path, 200)
        yield Step("HEAD", path, 200)
        yield Step("POST", path, 403, data)
        yield Step("POST", path, 403, b"another")
        yield Step("GET", path, 200)
        yield Step("DELETE", path, 200)
    for kind in KINDS:
        yield Step("POST", f"{kind}/{sha(b'x')}", 400, b"y")
        yield Step("POST", f"{kind}/{sha(b'x')}", 400, b"")
        yield Step("HEAD", f"{kind}/{sha(b'x')}", 404)
        yield Step("GET", f"{kind}/", 200, headers={"Accept": V2})
        yield Step("POST", f"{kind}/{sha(b'')}", 200, b"")
        yield Step("GET", f"{kind}/{sha(b'')}", 200)
        yield Step("GET", f"{kind}/{sha(b'')}", 200, headers=part(0))


def names() -> Iterator[Step]:
    yield Step("POST", "?create=true", 200)
    good = sha(b"x")
    for name in ("f00b4r", good[:-1], good + "0", good.upper(), good + "-5", f"{good[:2]}/{good}", "g" * 64, "a.b", "%00", " "):
        quoted = name.replace(" ", "%20")
        yield Step("POST", f"data/{quoted}", 404, b"x")
        yield Step("GET", f"data/{quoted}", 404)
        yield Step("DELETE", f"keys/{quoted}", 404)
        yield Step("HEAD", f"snapshots/{quoted}", 404)
    yield Step("POST", f"config/{good}", 404, b"x")
    yield Step("POST", f"other/{good}", 404, b"x")
    yield Step("GET", f"deeper/still/deeper/data/{good}", 404)
    yield Step("POST", f"data%2f{good}", 200, b"x")
    yield Step("GET", f"%64ata/{good}", 200)
    # What is not clean rest-server answers with the way to what is; ours knows no such way.
    yield Step("GET", f"data//{good}", 301, ours=404)
    yield Step("GET", f"./data/{good}", 301, ours=404)
    yield Step("GET", f"../data/{good}", 301, ours=404)


def everything() -> Iterator[Step]:
    yield Step("POST", "?create=true", 200)
    for kind in KINDS:
        paths = {f"{kind}/{sha(data)}": data for data in CONTENTS}
        for path in paths:
            yield Step("HEAD", path, 404)
            yield Step("GET", path, 404, headers=part(0))
        for path, data in paths.items():
            yield Step("POST", path, 200, data)
            yield Step("GET", path, 206, headers=part(0))
            yield Step("GET", path, 206, headers=part(1, len(data) - 3))
        first = next(iter(paths))
        yield Step("DELETE", first, 200)
        yield Step("HEAD", first, 404)
        yield Step("POST", first, 200, CONTENTS[0])
        yield Step("GET", f"{kind}/", 200, headers={"Accept": V2})
        for path in paths:
            yield Step("HEAD", path, 200)
        for path in paths:
            yield Step("DELETE", path, 200)
            yield Step("HEAD", path, 404)
        yield Step("DELETE", first, 200)
        yield Step("GET", f"{kind}/", 200, headers={"Accept": V2})


def adding() -> Iterator[Step]:
    """For servers that let nothing be removed."""
    yield Step("POST", "?create=true", 200)
    yield Step("POST", "config", 200, b"config")
    yield Step("POST", "config", 403, b"another")
    yield Step("DELETE", "config", 403)
    for kind in KINDS:
        for data in CONTENTS:
            yield Step("DELETE", f"{kind}/{sha(data)}", 200 if kind == "locks" else 403)
            yield Step("POST", f"{kind}/{sha(data)}", 200, data)
            yield Step("POST", f"{kind}/{sha(data)}", 403, data)
            yield Step("DELETE", f"{kind}/{sha(data)}", 200 if kind == "locks" else 403)
            yield Step("HEAD", f"{kind}/{sha(data)}", 404 if kind == "locks" else 200)
    yield Step("GET", "config", 200)


def told(answer: Answer) -> tuple[object, ...]:
    """What a client makes use of."""
    headers = answer.headers
    body: object = answer.body
    if headers.get("content-type", "").startswith("application/vnd.x.restic"):
        body = sorted(answer.listed().items())
    kept = ("allow", "content-range")
    kind = headers.get("content-type", "") if (answer.status != 206 and answer.status != 200) or body is not answer.body else ""
    length = int(headers["content-length"]) if "content-length" in headers and body is answer.body else None
    return (answer.status, body, kind, length, *(headers.get(name) for name in kept))


def hold(theirs: Server, ours: Server, steps: Iterator[Step]) -> None:
    """Send all *steps* to both, and hold the answers against each other."""
    folders = [f"/{server.new_name('held')}/sub/" for server in (theirs, ours)]
    connections = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=30) for server in (theirs, ours)]
    for step in steps:
        answers = []
        for folder, connection in zip(folders, connections, strict=True):
            connection.request(step.method, folder + step.path, step.body, dict(step.headers))
            answers.append(answer_of(connection))
        assert answers[0].status == step.status, (step, answers[0])
        assert answers[1].status == (step.ours or step.status), (step, answers[1])
        if not step.ours:
            assert told(answers[0]) == told(answers[1]), step


@pytest.mark.parametrize(
    "sequence", [creating, config, loading, listing, saving, names, everything], ids=lambda step: step.__name__
)
def test_the_same_answers(sequence: object, rest_server: Server, our_server: Server) -> None:
    assert callable(sequence)
    hold(rest_server, our_server, sequence())


def test_the_same_answers_where_nothing_can_be_removed(append_only_rest_server: Server, our_append_only_server: Server) -> None:
    hold(append_only_rest_server, our_append_only_server, adding())


def test_a_missing_repository(rest_server: Server, our_server: Server) -> None:
    for path in ("/no/config", "/no/keys/", "/no/data/", f"/no/data/{sha(b'x')}"):
        assert told(ask(rest_server, "GET", path)) == told(ask(our_server, "GET", path))
    assert ask(our_server, "DELETE", "/no/config").status == 200


def test_foreign_files_are_not_listed(our_server: Server) -> None:
    place = our_server.place("foreign")
    path = f"/{place.folder.name}/" if place.folder else ""
    assert ask(our_server, "POST", f"{path}?create=true").status == 200
    assert place.folder is not None
    (place.folder / "data" / "ab" / "lost+found").mkdir()
    (place.folder / "data" / ".stfolder").mkdir()
    (place.folder / "data" / ".nfs0001").write_text("")
    (place.folder / "keys" / "note.txt").write_text("")
    assert json.loads(ask(our_server, "GET", f"{path}data/").body) == []
    assert json.loads(ask(our_server, "GET", f"{path}keys/").body) == []
