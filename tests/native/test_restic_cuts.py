"""Real restic cuts where we cut: the blob ids of its tree are the hashes of our chunks."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess

import pytest

from restic_format.native.chunker import _chunker

VERSIONS = ["restic-0.14", "restic-0.18", "restic-0.19"]


def streams():
    choose = random.Random(17)
    block = choose.randbytes(1 << 20)
    yield "empty", b""
    yield "one", b"x"
    for size in (512 << 10, (512 << 10) - 1, (512 << 10) + 1):
        yield f"minimum-{size}", block[:size]
    yield "random", b"".join(choose.randbytes(1 << 20) for _ in range(12))
    yield "zeros", bytes(3 << 20)
    yield "ones", b"\xff" * (9 << 20)
    yield "maximum", b"\xff" * (8 << 20)
    yield "repeated", block * 5
    yield "text", b"".join(b"%d: the quick brown fox\n" % choose.getrandbits(64) for _ in range(90_000))


@pytest.mark.clause("CHUNK-6", "CHUNK-7", "CHUNK-8", "CHUNK-9", "CHUNK-10", "CHUNK-12")
@pytest.mark.parametrize("version", VERSIONS)
def test_blob_ids_in_a_tree_of_restic(version, peer, tmp_path):
    restic = peer(version)
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "RESTIC_PASSWORD": "cut",
        "RESTIC_REPOSITORY": str(tmp_path / "repository"),
        "RESTIC_CACHE_DIR": str(tmp_path / "cache"),
    }

    def run(*arguments):
        return subprocess.run([restic, *arguments], env=env, cwd=tmp_path / "data", check=True, capture_output=True).stdout

    (tmp_path / "data").mkdir()
    for name, data in streams():
        (tmp_path / "data" / name).write_bytes(data)
    run("init")
    run("backup", "--compression", "off", ".")
    polynomial = int(json.loads(run("cat", "config"))["chunker_polynomial"], 16)
    snapshot = json.loads(run("snapshots", "--json"))[0]
    tree = json.loads(run("cat", "blob", snapshot["tree"]))
    stored = {node["name"]: node["content"] for node in tree["nodes"]}

    for method in _chunker.methods(polynomial):
        chunker = _chunker.Chunker(polynomial, method=method)
        for name, data in streams():
            ids = []
            position = 0
            while position < len(data):
                length = chunker.next_cut(data, position, len(data), True)
                ids.append(hashlib.sha256(data[position : position + length]).hexdigest())
                position += length
            assert ids == stored[name], (method, name)
