"""In which order the real program and we read, write and remove, seen by a storage that keeps a record."""

import json
import os
import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import pytest

from restic_format.repository.repository import Repository
from restic_format.storage import MemoryStorage
from restic_spec.ids import id_of
from restic_spec.keyfile import Kdf
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from restic_spec.snapshot import Snapshot

QUICK = Kdf(2, 1, 1, bytes(64))


class Recorder(ThreadingHTTPServer):
    """A storage that speaks restic's REST protocol (version 2) and remembers every request, in order."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = {}
        self.log = []
        self.lock = threading.Lock()

    def happened(self, verb, *kinds):
        """Positions in the record of *verb* on files of *kinds*."""
        return [number for number, (done, path) in enumerate(self.log) if done == verb and path.split("/")[0] in kinds]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _path(self, verb):
        path = self.path.partition("?")[0].strip("/")
        with self.server.lock:
            self.server.log.append((verb, path))
        return path

    def _answer(self, code, body=b"", kind="application/octet-stream"):
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self):
        path = self._path("head")
        found = self.server.files.get(path)
        self._answer(404 if found is None else 200, found or b"")

    def do_GET(self):
        if self.path.endswith("/") and self.path.count("/") == 2:
            path = self._path("list")
            listed = [
                {"name": name.split("/")[1], "size": len(data)}
                for name, data in sorted(self.server.files.items())
                if name.split("/")[0] == path
            ]
            self._answer(200, json.dumps(listed).encode(), "application/vnd.x.restic.rest.v2")
            return
        found = self.server.files.get(self._path("load"))
        if found is None:
            self._answer(404)
            return
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            self._answer(200, found)
        else:
            self._answer(206, found[int(wanted[1]) : int(wanted[2] or len(found)) + 1])

    def do_POST(self):
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(size)
        if self.path.partition("?")[0] != "/":
            # Recorded when it is complete: that is when others can see it.
            self.server.files[self.path.strip("/")] = body
            self._path("save")
        self._answer(200)

    def do_DELETE(self):
        self.server.files.pop(self._path("remove"), None)
        self._answer(200)

    def log_message(self, *args):
        """Keep quiet."""


@pytest.fixture
def recorder():
    with Recorder() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()


@pytest.fixture
def restic(recorder, peer, tmp_path):
    """Run restic 0.19 on the recording storage; what it did is in `recorder.log` of this command alone."""
    program = peer("restic-0.19")
    env = {**os.environ, "RESTIC_PASSWORD": "x", "HOME": str(tmp_path)}
    location = f"rest:http://127.0.0.1:{recorder.server_address[1]}/"

    def run(*arguments):
        recorder.log.clear()
        subprocess.run([program, "--no-cache", "-q", "-r", location, *arguments], env=env, check=True, timeout=120)

    return run


@pytest.mark.slow
@pytest.mark.clause("ORDER-1", "ORDER-2", "ORDER-3", "ORDER-4", "ORDER-5", "ORDER-7", "LOCK-3", "LOCK-10", "LOCK-13")
def test_restic_keeps_the_order(recorder, restic, tmp_path):
    restic("init")
    assert [path.split("/")[0] for verb, path in recorder.log if verb == "save"] == ["keys", "config"]

    source = tmp_path / "source"
    source.mkdir()
    for number in range(3):
        (source / f"file{number}").write_bytes(os.urandom(300_000))
    restic("backup", str(source))
    lock, unlock = recorder.happened("save", "locks"), recorder.happened("remove", "locks")
    packs, index, snapshot = (recorder.happened("save", kind) for kind in ("data", "index", "snapshots"))
    assert packs and index and len(snapshot) == 1
    assert max(packs) < min(index) <= max(index) < snapshot[0]
    assert lock[0] < min(packs)
    assert snapshot[0] < unlock[-1]
    assert recorder.happened("list", "locks")[1] > lock[0], "locks are looked at once more"

    (source / "file0").unlink()
    (source / "file1").write_bytes(os.urandom(200_000))
    restic("backup", str(source))
    restic("restore", "latest", "--target", str(tmp_path / "target"))
    assert min(recorder.happened("list", "snapshots")) < min(recorder.happened("load", "index"))

    before = set(recorder.files)
    restic("forget", "--keep-last", "1", "--group-by", "")
    assert {path.split("/")[0] for path in before - set(recorder.files)} == {"snapshots"}
    assert [path.split("/")[0] for verb, path in recorder.log if verb == "remove" and "locks" not in path] == ["snapshots"]

    restic("prune", "--max-unused", "0")
    new_packs, new_index = recorder.happened("save", "data"), recorder.happened("save", "index")
    gone_index, gone_packs = recorder.happened("remove", "index"), recorder.happened("remove", "data")
    assert new_packs and new_index and gone_index and gone_packs
    assert max(new_packs) < min(new_index) <= max(new_index) < min(gone_index) <= max(gone_index) < min(gone_packs)
    assert min(recorder.happened("save", "locks")) < min(new_packs)


class RecordedStorage(MemoryStorage):
    """Storage in memory that remembers what was done."""

    def __init__(self):
        super().__init__()
        self.log = []

    def save(self, kind, name, data, *, metadata=False):
        super().save(kind, name, data, metadata=metadata)
        self.log.append(("save", kind))

    def save_new(self, kind, name, data):
        super().save_new(kind, name, data)
        self.log.append(("save", kind))

    def load(self, kind, name, offset=0, length=None):
        self.log.append(("load", kind))
        return super().load(kind, name, offset, length)

    def list(self, kind):
        self.log.append(("list", kind))
        yield from super().list(kind)

    def remove(self, kind, name):
        super().remove(kind, name)
        self.log.append(("remove", kind))


@pytest.mark.clause("ORDER-1", "ORDER-7", "ORDER-8", "PACK-15", "CONFIG-8")
def test_we_keep_the_order():
    storage = RecordedStorage()
    repo = Repository.init(storage, "x", kdf=QUICK)
    writer = repo.writer()
    assert repo.version == 2
    assert [kind for verb, kind in storage.log if verb == "save"] == [FileKind.KEY, FileKind.CONFIG]
    storage.log.clear()
    for number in range(20):
        writer.save_blob(BlobType.DATA, os.urandom(300_000) + bytes((number,)))
    again = writer.save_blob(BlobType.TREE, b'{"nodes":[]}\n')
    assert writer.save_blob(BlobType.TREE, b'{"nodes":[]}\n').known
    writer.flush()
    repo.save_snapshot(Snapshot(time="2020-01-01T00:00:00Z", tree=again.id.hex(), paths=[]))
    kinds = [kind for verb, kind in storage.log if verb == "save"]
    assert kinds[-2:] == [FileKind.INDEX, FileKind.SNAPSHOT]
    assert set(kinds[:-2]) == {FileKind.PACK}
    order = [FileKind.PACK, FileKind.INDEX, FileKind.SNAPSHOT]
    assert all(order.index(first) <= order.index(second) for first, second in pairwise(kinds))


@pytest.mark.clause("ORDER-2")
def test_snapshots_are_listed_before_the_index_is_loaded(tmp_path):
    # A snapshot that appears between the two steps must be found complete: its index is there by then.
    storage = RecordedStorage()
    repo = Repository.init(storage, "x", kdf=QUICK)
    writer = repo.writer()
    reader = Repository.open(storage, "x")
    tree = writer.save_blob(BlobType.TREE, b'{"nodes":[]}\n')
    writer.flush()
    snapshot_id = repo.save_snapshot(Snapshot(time="2020-01-01T00:00:00Z", tree=tree.id.hex(), paths=[]))
    assert [found for found, _ in reader.list(FileKind.SNAPSHOT)] == [snapshot_id]
    reader.load_index()
    assert reader.load_tree(tree.id).nodes == []


@pytest.mark.clause("FILE-9", "LAYOUT-1", "LAYOUT-6")
def test_a_file_saved_again_has_another_id():
    storage = MemoryStorage()
    repo = Repository.init(storage, "x", kdf=QUICK)
    document = b'{"time":"2020-01-01T00:00:00Z","tree":null,"paths":null}'
    first, second = (repo.save_unpacked(FileKind.SNAPSHOT, document) for _ in range(2))
    assert first != second
    assert repo.load_unpacked(FileKind.SNAPSHOT, first) == repo.load_unpacked(FileKind.SNAPSHOT, second) == document


@pytest.mark.clause("TREE-24")
def test_blobs_are_looked_up_with_their_type():
    repo = Repository.init(MemoryStorage(), "x", kdf=QUICK)
    writer = repo.writer()
    empty_tree = b'{"nodes":[]}\n'
    data = writer.save_blob(BlobType.DATA, empty_tree)
    tree = writer.save_blob(BlobType.TREE, empty_tree)
    assert data.id == tree.id
    assert not tree.known, "the same bytes as data are another blob"
    writer.flush()
    for kind in BlobType:
        assert repo.load_blob(kind, data.id) == empty_tree
    packs = {repo.index.lookup(kind, data.id).pack for kind in BlobType}
    assert len(packs) == 2


@pytest.mark.clause("INDEX-11")
def test_an_index_is_closed_when_it_is_full():
    from restic_spec import index

    assert (index.FULL_BLOBS, index.FULL_AGE) == (50_000, 600)


@pytest.mark.clause("KEY-13")
def test_new_keys_are_calibrated():
    from restic_format.repository.keys import calibrate

    kdf = calibrate()
    assert (kdf.N, kdf.r) == (32768, 8)
    assert 128 * kdf.N * kdf.r < 60 << 20 <= 128 * kdf.N * 2 * kdf.r
    assert kdf.p >= 1
    assert calibrate().salt != kdf.salt


@pytest.mark.clause("PACK-17")
def test_a_header_that_went_wrong_is_never_stored():
    from restic_format.repository.cipher import NativeCipher
    from restic_format.repository.coder import make_coder
    from restic_format.repository.compression import Compression
    from restic_format.repository.packer import Packer
    from restic_spec.crypto import MasterKey
    from restic_spec.errors import HeaderInvalid

    class Unreliable(NativeCipher):
        """Seals something else than it was given, as a machine with bad memory would."""

        def seal(self, plaintext):
            return super().seal(bytes((plaintext[0], plaintext[1] ^ 4)) + bytes(plaintext[2:]))

    key = MasterKey.generate()
    for cipher, stored in ((NativeCipher(key), 1), (Unreliable(key), 0)):
        storage = MemoryStorage()
        coder = make_coder(NativeCipher(key), Compression("auto", 2), extra_verify=True)
        packer = Packer(
            coder,
            dict.fromkeys(BlobType, 4 << 20),
            lambda _, storage=storage: storage.begin(FileKind.PACK),
            lambda pack, cipher=cipher: pack.finish(cipher, 2),
        )
        packer.add(BlobType.DATA, [(id_of(bytes(100)), bytes(100))])
        if stored:
            packer.flush()
        else:
            with pytest.raises(HeaderInvalid, match="PACK-17"):
                packer.flush()
        assert len(storage.files) == stored
