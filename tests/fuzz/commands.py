"""Fuzz target: whole commands on repositories whose documents are near the right form, sealed with the right key.

Each command runs in a child of this process, so that its start costs little. However wrong a repository is, a command ends in
time, with a documented exit code, and without a traceback.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import struct
import sys
from pathlib import Path
from typing import Any

from restic_spec.crypto import seal
from restic_tools.cli import main
from tests.fuzz.mutate import changed_bytes, changed_document, odd_json
from tests.safety.forge import TIME, Forge, node
from tests.safety.kit import PASSWORD

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("check",),
    ("check", "--read-data"),
    ("ls", "latest"),
    ("ls", "--json", "latest"),
    ("find", "--json", "*"),
    ("find", "--tree", "--show-pack-id", "00000000"),
    ("snapshots",),
    ("snapshots", "--json"),
    ("cat", "tree", "latest"),
    ("cat", "snapshot", "latest"),
    ("list", "blobs"),
    ("list", "locks"),
    ("restore", "latest", "--target", "out", "--dry-run"),
    ("restore", "latest", "--target", "out"),
    ("backup", "file"),
    ("unlock",),
)
CODES = {0, 1, 3, 10, 11, 12}
SECONDS = 60


class Forged(Forge):
    """A repository some of whose parts are changed."""

    def __init__(self, path: Path, rng: random.Random) -> None:
        super().__init__(path)
        self.rng = rng
        self.victims = rng.sample(("tree", "index", "snapshot", "header", "lock", "data"), rng.choice((1, 1, 2)))

    def changed(self, what: str, document: Any) -> bytes:
        """The JSON of a document, changed where it is one of the victims."""
        if what not in self.victims:
            return json.dumps(document, separators=(",", ":")).encode()
        raw = odd_json(self.rng, changed_document(self.rng, document))
        return changed_bytes(self.rng, raw) if self.rng.random() < 0.2 else raw

    def fill(self) -> None:
        """A snapshot of a directory with a file and a directory, and a lock."""
        data = self.blob("data", b"content" * 20)
        inner = self.blob("tree", self.changed("tree", {"nodes": [node("g", content=[data[1]], size=140)]}))
        outer = {"nodes": [node("d", "dir", subtree=inner[1]), node("f", content=[data[1]] * 2, size=280)]}
        root = self.blob("tree", self.changed("tree", outer))
        if "data" in self.victims:
            data = (data[0], data[1], changed_bytes(self.rng, data[2]), data[3])
        blobs = {"trees": [inner, root], "data": [data]}
        records = []
        for listed in blobs.values():
            header = b"".join(
                struct.pack("<BII", 2 + (kind == "tree"), len(sealed), claims) + bytes.fromhex(ident)
                for kind, ident, sealed, claims in listed
            )
            pack = self.pack(listed, header=changed_bytes(self.rng, header) if "header" in self.victims else None)
            entries, offset = [], 0
            for kind, ident, sealed, claims in listed:
                entries.append(
                    {"id": ident, "type": kind, "offset": offset, "length": len(sealed), "uncompressed_length": claims}
                )
                offset += len(sealed)
            records.append({"id": pack, "blobs": entries})
        self.store("index", seal(self.key, self.changed("index", {"packs": records})))
        snapshot = {"time": TIME, "tree": root[1], "paths": ["/x"], "hostname": "h", "username": "u", "tags": ["a"], "uid": 0}
        self.store("snapshots", seal(self.key, self.changed("snapshot", snapshot)))
        if "lock" in self.victims:
            lock = {"time": "2020-01-01T00:00:00Z", "exclusive": False, "hostname": "h", "username": "u", "pid": 1}
            self.store("locks", seal(self.key, self.changed("lock", lock)))


def run(folder: Path, words: tuple[str, ...]) -> tuple[int, str]:
    """Exit code (negative: the signal that ended it) and output of a command in a child."""
    said = folder / "said"
    child = os.fork()
    if child == 0:
        try:
            output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.chdir(folder)
            os.environ["RESTIC_PASSWORD"] = PASSWORD
            signal.alarm(SECONDS)
            sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
            code = main(["-r", "repo", "--no-cache", *words])
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        finally:
            os._exit(77)
    status = os.waitpid(child, 0)[1]
    return os.waitstatus_to_exitcode(status), said.read_text(errors="replace")


def check(folder: Path, seed: int) -> None:
    """Forge a repository in *folder*, which is emptied, and run some commands on it."""
    rng = random.Random(seed)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(b"something else")
    Forged(folder / "repo", rng).fill()
    for words in rng.sample(COMMANDS, 4):
        code, said = run(folder, words)
        assert code in CODES, f"seed {seed}: {words} ended with {code}\n{said[-3000:]}"
        assert "Traceback" not in said and "Fatal: unexpected" not in said, f"seed {seed}: {words}\n{said[-3000:]}"
