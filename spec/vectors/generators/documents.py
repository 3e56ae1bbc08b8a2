"""Vectors for the documents that are files of their own: config, unpacked encoding, index, snapshot, lock."""

from __future__ import annotations

import json
from typing import Any

from vectors.generators.base import Chapter, bomb, frame

POLYNOMIAL = "3da3358b4dc173"
"""The irreducible polynomial of restic/chunker's documentation."""


def _text(document: Any) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def config() -> Chapter:
    """CONFIG."""
    out = Chapter("config")
    repo_id = out.source.draw(32).hex()
    fields: dict[str, Any] = {"version": 2, "id": repo_id, "chunker_polynomial": POLYNOMIAL}

    def decode(label: str, clauses: str | list[str], text: str | bytes, expect: str = "valid", version: int = 2) -> None:
        raw = text.encode() if isinstance(text, str) else text
        output = {"version": version, "id": repo_id, "polynomial": POLYNOMIAL} if expect == "valid" else None
        out.add(label, "decode-config", clauses, {"plaintext": raw.hex()}, expect, output)

    decode("version-2", ["CONFIG-2", "CONFIG-3"], _text(fields))
    decode("version-1", "CONFIG-3", _text({**fields, "version": 1}), version=1)
    decode("other-order", "CONFIG-2", _text(dict(reversed(fields.items()))))
    decode("white-space", "CONFIG-2", json.dumps(fields, indent=2) + "\n")
    rustic: dict[str, Any] = {
        "version": 2,
        "id": repo_id,
        "chunker": "FixedSize",
        "chunker_polynomial": POLYNOMIAL,
        "chunk_size": 1048576,
        "chunk_min_size": 524288,
        "chunk_max_size": 4194304,
        "is_hot": True,
        "append_only": True,
        "compression": -7,
        "treepack_size": 4194304,
        "treepack_growfactor": 3,
        "treepack_size_limit": 8388608,
        "datapack_size": 8388608,
        "datapack_growfactor": 4,
        "datapack_size_limit": 67108864,
        "min_packsize_tolerate_percent": 20,
        "max_packsize_tolerate_percent": 300,
        "extra_verify": False,
    }
    decode("rustic", ["CONFIG-6", "RUSTIC-1"], _text(rustic))
    for version in (0, 3, -1, 1 << 40):
        decode(f"version-{version}", "CONFIG-3", _text({**fields, "version": version}), "version-unsupported")
    decode("version-text", "CONFIG-2", _text({**fields, "version": "2"}), "json-invalid")
    for name in fields:
        decode(f"missing-{name}", "CONFIG-2", _text({key: fields[key] for key in fields if key != name}), "json-invalid")
    for label, bad in {"short": repo_id[:-2], "upper": repo_id.upper(), "text": "repository"}.items():
        expect = "valid" if bad == repo_id else "json-invalid"
        decode(f"id-{label}", "CONFIG-4", _text({**fields, "id": bad}), expect)
    for label, bad in {
        "empty": "",
        "prefix": "0x" + POLYNOMIAL,
        "letters": "xyz",
        "underscore": "3da335_8b4dc173",
        "sign": "+" + POLYNOMIAL,
        "long": "1" * 17,
    }.items():
        decode(f"polynomial-{label}", "CONFIG-5", _text({**fields, "chunker_polynomial": bad}), "json-invalid")
    for label, bad in {
        "zero": "0",
        "reducible": "3da3358b4dc171",
        "even": "3da3358b4dc172",
        "degree-52": "1da3358b4dc173",
        "degree-54": "7da3358b4dc173",
    }.items():
        clauses = ["CONFIG-5", "CHUNK-2" if "degree" in label else "CHUNK-3"]
        decode(f"polynomial-{label}", clauses, _text({**fields, "chunker_polynomial": bad}), "polynomial-invalid")
    decode("compressed", "CONFIG-1", b"\x02" + frame(_text(fields).encode()), "json-invalid")
    decode("empty", "CONFIG-1", "", "json-invalid")
    decode("array", "CONFIG-1", "[]", "json-invalid")
    decode("cut", "CONFIG-1", _text(fields)[:-3], "json-invalid")
    decode("not-utf-8", "GOJSON-11", _text({**fields, "note": "?"}).encode().replace(b"?", b"\xff"), "json-invalid")
    return out


def unpacked() -> Chapter:
    """FILE."""
    out = Chapter("unpacked")
    document = b'{"packs":[]}\n'

    def decode(
        label: str,
        clauses: str | list[str],
        raw: bytes | list[Any],
        expect: str = "valid",
        version: int = 2,
        comment: str = "",
    ) -> None:
        output = {"document": document.hex()} if expect == "valid" else None
        given = {"version": version, "plaintext": raw.hex() if isinstance(raw, bytes) else raw}
        out.add(label, "decode-unpacked", clauses, given, expect, output, comment)

    decode("version-1", "FILE-1", document, version=1)
    decode("compressed", ["FILE-2", "FILE-3"], b"\x02" + frame(document))
    decode("compressed-size-unknown", "FILE-7", b"\x02" + frame(document, announce=False))
    decode("plain-in-version-2", "FILE-2", document)
    decode("compressed-in-version-1", "FILE-3", b"\x02" + frame(document), "json-invalid", version=1)
    decode("empty", "FILE-4", b"", "json-invalid")
    decode("empty-in-version-1", "FILE-4", b"", "json-invalid", version=1)
    for mark in (0, 1, 3, 0x20, 0x22, 0x7C, 0xFF):
        decode(f"mark-{mark}", "FILE-2", bytes((mark,)) + frame(document), "version-unsupported")
    good = b"\x02" + frame(document)
    decode("mark-alone", "FILE-5", b"\x02", "compression-invalid")
    decode("no-frame", "FILE-5", b"\x02" + document, "compression-invalid")
    decode("frame-cut", "FILE-5", good[:-1], "compression-invalid")
    decode("frame-cut-size-unknown", "FILE-5", b"\x02" + frame(document, announce=False)[:-1], "compression-invalid")
    decode("frame-and-more", "FILE-5", good + b"\0", "compression-invalid")
    decode("frame-and-more-size-unknown", "FILE-5", b"\x02" + frame(document, announce=False) + b"\0", "compression-invalid")
    decode("size-too-small", "FILE-5", b"\x02" + frame(document, size=len(document) - 1), "compression-invalid")
    decode("size-too-large", "FILE-5", b"\x02" + frame(document, size=len(document) + 1), "compression-invalid")
    decode("size-absurd", "FILE-6", b"\x02" + frame(document, size=1 << 50), "length-invalid", comment="Says 1 PiB.")
    decode("bomb", "FILE-6", ["02", *bomb(81920)], "length-invalid", comment="Expands to 10 GiB of zeros.")
    decode("not-json", "FILE-8", b"\x02" + frame(b"packs"), "json-invalid")
    decode("number", "FILE-8", b"\x02" + frame(b"42"), "json-invalid")
    decode("not-utf-8", "GOJSON-11", b"\x02" + frame(b'{"packs":[],"x":"\xff"}'), "json-invalid")
    decode("lone-surrogate", "GOJSON-11", b"\x02" + frame(b'{"packs":[],"x":"\\ud800"}'), "json-invalid")
    return out


def index() -> Chapter:
    """INDEX."""
    out = Chapter("index")
    pack, first, second = (out.source.draw(32).hex() for _ in range(3))
    plain: dict[str, Any] = {"id": first, "type": "data", "offset": 0, "length": 38}
    packed: dict[str, Any] = {"id": second, "type": "tree", "offset": 38, "length": 112, "uncompressed_length": 511}
    listed = [
        {"pack": pack, "type": "data", "id": first, "offset": 0, "length": 38, "uncompressed_length": None},
        {"pack": pack, "type": "tree", "id": second, "offset": 38, "length": 112, "uncompressed_length": 511},
    ]
    document: dict[str, Any] = {"packs": [{"id": pack, "blobs": [plain, packed]}]}

    def decode(
        label: str,
        clauses: str | list[str],
        content: Any,
        expect: str = "valid",
        blobs: list[dict[str, Any]] | None = None,
        canonical: bool = True,
        end: str = "\n",
    ) -> None:
        text = content if isinstance(content, str) else _text(content) + end
        output = {"blobs": listed if blobs is None else blobs, "canonical": canonical} if expect == "valid" else None
        out.add(label, "decode-index", clauses, {"plaintext": text.encode().hex()}, expect, output)

    decode("valid", ["INDEX-1", "INDEX-2", "INDEX-4", "INDEX-6", "INDEX-12"], document)
    decode("no-newline", "INDEX-2", document, end="", canonical=False)
    decode("white-space", "INDEX-1", json.dumps(document, indent=2), canonical=False)
    superseding = {"supersedes": [out.source.draw(32).hex()], **document}
    decode("supersedes", "INDEX-9", superseding)
    decode("no-packs", "INDEX-10", {"packs": []}, blobs=[])
    decode("null-packs", "INDEX-10", {"packs": None}, blobs=[])
    decode("nothing", "INDEX-10", {}, blobs=[])
    decode("oldest-form", "INDEX-13", document["packs"], canonical=False)
    swapped = {"packs": [{"id": pack, "blobs": [packed, plain]}]}
    decode("order-of-blobs", "INDEX-12", swapped, blobs=listed[::-1])
    twice = {"packs": document["packs"] * 2}
    decode("pack-twice", "INDEX-8", twice, blobs=listed * 2)
    marked = {**document, "packs_to_delete": [{"id": first, "blobs": [plain], "time": "2026-01-01T00:00:00Z", "size": 150}]}
    decode("rustic-marked", "RUSTIC-2", marked)
    timed = {"packs": [{**document["packs"][0], "time": "2026-01-01T00:00:00Z", "size": 262}]}
    decode("rustic-time-and-size", "RUSTIC-2", timed)
    decode("unknown-member", "FILE-8", {**document, "later": {"a": [1.0, "x"]}})

    def damaged(label: str, clauses: str, **changed: Any) -> None:
        blob = {**packed, **changed}
        decode(label, clauses, {"packs": [{"id": pack, "blobs": [plain, blob]}]}, "json-invalid")

    for kind in ("zlib", "", "Tree"):
        damaged(f"type-{kind or 'empty'}", "INDEX-4", type=kind)
    damaged("blob-id-short", "INDEX-3", id=second[:-1])
    damaged("blob-id-text", "INDEX-3", id="x" * 64)
    decode("pack-id-short", "INDEX-3", {"packs": [{"id": pack[2:], "blobs": [plain]}]}, "json-invalid")
    damaged("length-zero", "INDEX-5", length=0)
    damaged("length-31", "INDEX-5", length=31)
    damaged("length-negative", "INDEX-5", length=-112)
    damaged("length-33-bits", "INDEX-5", length=1 << 32)
    damaged("offset-negative", "INDEX-5", offset=-1)
    damaged("offset-33-bits", "INDEX-5", offset=1 << 32)
    damaged("uncompressed-33-bits", "INDEX-5", uncompressed_length=1 << 32)
    damaged("offset-float", "INDEX-5", offset=38.0)
    decode("packs-object", "INDEX-1", {"packs": {}}, "json-invalid")
    decode("pack-without-blobs", "INDEX-1", {"packs": [{"id": pack}]}, "json-invalid")
    decode("cut", "INDEX-1", _text(document)[:-4], "json-invalid")
    decode("empty", "FILE-4", "", "json-invalid")
    return out


def snapshots() -> Chapter:
    """SNAP."""
    out = Chapter("snapshots")
    tree, parent, original = (out.source.draw(32).hex() for _ in range(3))
    summary = {
        "backup_start": "2026-01-02T03:04:05.6+01:00",
        "backup_end": "2026-01-02T03:04:06+01:00",
        **dict.fromkeys(("files_new", "files_changed", "files_unmodified", "dirs_new", "dirs_changed"), 0),
        **dict.fromkeys(("dirs_unmodified", "data_blobs", "tree_blobs", "data_added", "data_added_packed"), 1),
        **dict.fromkeys(("total_files_processed", "total_bytes_processed"), 2),
    }
    least: dict[str, Any] = {"time": "2015-01-02T18:10:50.895208559+01:00", "tree": tree, "paths": ["/tmp/testdata"]}
    most: dict[str, Any] = {
        "time": "2026-01-02T03:04:05.6+01:00",
        "parent": parent,
        "tree": tree,
        "paths": ["/a", "/b c"],
        "hostname": "somewhere",
        "username": "somebody",
        "uid": 1000,
        "gid": 100,
        "excludes": ["*.o"],
        "tags": ["x", "y"],
        "original": original,
        "program_version": "restic 0.19.1",
        "summary": summary,
    }

    def decode(label: str, clauses: str | list[str], content: Any, expect: str = "valid", canonical: bool = True) -> None:
        text = content if isinstance(content, str) else _text(content)
        output = None
        if expect == "valid":
            known = {name: content.get(name) for name in ("time", "tree")}
            output = {**known, "paths": content.get("paths") or [], "canonical": canonical}
        out.add(label, "decode-snapshot", clauses, {"plaintext": text.encode().hex()}, expect, output)

    decode("least", ["SNAP-1", "SNAP-2", "DIFF-1"], least)
    decode("most", ["SNAP-2", "SNAP-8", "SNAP-9"], most)
    decode("original", "SNAP-7", {**least, "original": original})
    decode("parent", "SNAP-6", {"time": least["time"], "parent": parent, "tree": tree, "paths": ["/x"]})
    decode("null-paths", "SNAP-5", {**least, "paths": None})
    decode("time-utc", "SNAP-3", {**least, "time": "2026-01-02T03:04:05Z"})
    for label, time in {"empty": "", "date": "2026-01-02", "year-0": "0000-00-00T00:00:00Z", "text": "now"}.items():
        decode(f"time-{label}", "SNAP-3", {**least, "time": time}, "json-invalid")
    decode("time-missing", "SNAP-3", {"tree": tree, "paths": []}, "json-invalid")
    decode("time-null", "SNAP-3", {**least, "time": None}, "json-invalid")
    decode("other-order", "SNAP-2", dict(reversed(least.items())), canonical=False)
    rustic = {
        "time": least["time"],
        "program_version": "rustic v0.9.5",
        "tree": tree,
        "label": "nightly",
        "paths": ["/a"],
        "hostname": "h",
        "username": "",
        "uid": 0,
        "gid": 0,
        "tags": [],
        "delete": {"After": "2026-12-31T00:00:00+01:00[Europe/Berlin]"},
        "description": "before <the> upgrade",
        "parents": [parent],
        "summary": {**summary, "command": "rustic backup", "backup_duration": 1.0, "total_duration": 1.25e-7},
    }
    decode("rustic", ["RUSTIC-3", "RUSTIC-6", "SNAP-10"], rustic, canonical=False)
    decode("rustic-never", "RUSTIC-3", {**least, "delete": "Never"})
    decode("tags-text", "SNAP-2", {**least, "tags": "x"}, "json-invalid")
    decode("cut", "SNAP-1", _text(most)[:-1], "json-invalid")
    decode("array", "SNAP-1", "[]", "json-invalid")
    return out


def locks() -> Chapter:
    """LOCK."""
    out = Chapter("locks")
    shared: dict[str, Any] = {
        "time": "2015-06-27T12:18:51.759239612+02:00",
        "exclusive": False,
        "hostname": "kasimir",
        "username": "fd0",
        "pid": 13607,
        "uid": 1000,
        "gid": 100,
    }

    def decode(label: str, clauses: str | list[str], content: Any, expect: str = "valid", canonical: bool = True) -> None:
        text = content if isinstance(content, str) else _text(content)
        output = None
        if expect == "valid":
            output = {"exclusive": content["exclusive"], "pid": content["pid"], "canonical": canonical}
        out.add(label, "decode-lock", clauses, {"plaintext": text.encode().hex()}, expect, output)

    decode("shared", ["LOCK-1", "LOCK-2"], shared)
    decode("exclusive", ["LOCK-1", "LOCK-2"], {**shared, "exclusive": True})
    decode("root", "LOCK-1", {name: value for name, value in shared.items() if name not in ("uid", "gid")})
    decode("zero-written", "LOCK-1", {**shared, "uid": 0}, canonical=False)
    decode("unknown-member", "FILE-8", {**shared, "program": "other"})
    decode("pid-text", "LOCK-1", {**shared, "pid": "13607"}, "json-invalid")
    decode("exclusive-number", "LOCK-1", {**shared, "exclusive": 1}, "json-invalid")
    decode("time-missing", "LOCK-1", {name: value for name, value in shared.items() if name != "time"}, "json-invalid")
    decode("empty", "FILE-4", "", "json-invalid")
    decode("cut", "LOCK-1", _text(shared)[:-1], "json-invalid")
    return out
