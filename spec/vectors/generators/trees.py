"""Vectors for trees."""

from __future__ import annotations

import json
from typing import Any

from vectors.generators.base import Chapter

from restic_spec.gojson import escape_html
from restic_spec.ids import id_of

EMPTY_TREE_ID = "ac08ce34ba4f8123618661bef2425f7028ffb9ac740578a3ee88684d2523fee8"
"""Verified with restic 0.14.0 to 0.19.1."""

TIMES = {
    "mtime": "2014-12-22T14:47:59.912418701+01:00",
    "atime": "2014-12-22T14:47:59.912418701+01:00",
    "ctime": "2014-12-22T14:47:59.9+01:00",
}
ZERO_TIMES = dict.fromkeys(TIMES, "0001-01-01T00:00:00Z")


def node(name: str, kind: str = "file", mode: int = 420, **more: Any) -> dict[str, Any]:
    """A node; *name* in stored (quoted) form, members in restic's order as far as *more* keeps it."""
    result: dict[str, Any] = {"name": name, "type": kind, "mode": mode, **TIMES, "uid": 1000, "gid": 100}
    tail: dict[str, Any] = {} if kind == "file" and "content" in more else {"content": [] if kind == "file" else None}
    for later in ("subtree", "error"):
        if later in more:
            tail[later] = more.pop(later)
    result.update(more)
    result.update(tail)
    return {name: value for name, value in result.items() if name != "mode" or value}


def text(*nodes: dict[str, Any]) -> str:
    """A tree of *nodes* with Go's escapes and the newline."""
    raw = json.dumps({"nodes": list(nodes)}, separators=(",", ":"), ensure_ascii=False)
    return escape_html(raw.encode()).decode() + "\n"


def trees() -> Chapter:
    """TREE."""
    out = Chapter("trees")
    first, second, subtree = (out.source.draw(32).hex() for _ in range(3))

    def decode(
        label: str,
        clauses: str | list[str],
        content: str | bytes,
        names: list[bytes] | str = "valid",
        canonical: bool = True,
        comment: str = "",
        targets: list[str] | None = None,
    ) -> None:
        raw = content.encode() if isinstance(content, str) else content
        output: dict[str, Any] | None = None
        if not isinstance(names, str):
            output = {"id": id_of(raw).hex(), "names": [name.hex() for name in names], "canonical": canonical}
            if targets is not None:
                output["targets"] = targets
        expect = names if isinstance(names, str) else "valid"
        out.add(label, "decode-tree", clauses, {"plaintext": raw.hex()}, expect, output, comment)

    empty = '{"nodes":[]}\n'
    assert id_of(empty.encode()).hex() == EMPTY_TREE_ID
    decode("empty", ["TREE-1", "TREE-2"], empty, [])
    decode("no-newline", "TREE-1", empty[:-1], [], canonical=False)
    decode("white-space", "TREE-1", '{ "nodes" : [ ] }\n', [], canonical=False)
    decode("null", "TREE-1", '{"nodes":null}\n', [], canonical=False)
    plain = node("testfile", inode=416863351, device_id=65024, size=1234, links=1, content=[first])
    decode("file", ["TREE-3", "TREE-8", "TREE-16"], text(plain), [b"testfile"])
    decode("empty-file", "TREE-8", text(node("a")), [b"a"])
    decode("two-blobs", "TREE-8", text(node("a", size=2000000, content=[first, second])), [b"a"])
    folder = node("testdata", "dir", 2147484141, user="fd0", inode=409704562, subtree=subtree)
    decode("dir", ["TREE-3", "TREE-7", "TREE-10", "TREE-13"], text(folder), [b"testdata"])
    whole = text(_everything(first, subtree)).replace("?", "\\ufffd")
    decode("everything", "TREE-3", whole, [b"all"])
    _kinds(decode, subtree)
    _names(decode)
    _targets(decode)
    _kept(decode, first)

    for kind in ("dir",):
        decode("dir-without-subtree", "TREE-7", text(node("d", kind, 2147484141)), "tree-invalid")
        decode("dir-null-subtree", "TREE-7", text(node("d", kind, 2147484141, subtree=None)), "tree-invalid")
        decode("dir-bad-subtree", "TREE-7", text(node("d", kind, 2147484141, subtree=subtree[1:])), "tree-invalid")
    decode("bad-content", "TREE-8", text(node("f", content=["x" * 64])), "tree-invalid")
    decode("short-content", "TREE-8", text(node("f", content=[first, first[:8]])), "tree-invalid")
    decode("content-text", "TREE-8", text(node("f", content=first)), "json-invalid")
    decode("name-missing", "TREE-3", text({"type": "file", "content": []}), "json-invalid")
    decode("type-missing", "TREE-3", text({"name": "a", "content": []}), "json-invalid")
    decode("mode-text", "TREE-10", text({**node("a"), "mode": "0644"}), "json-invalid")
    for name, clause in (("uid", "TREE-13"), ("gid", "TREE-13"), ("mode", "TREE-10")):
        decode(f"{name}-33-bits", clause, text({**node("a"), name: 1 << 32}), "json-invalid")
    for name, clause in (
        ("uid", "TREE-13"),
        ("inode", "TREE-14"),
        ("size", "TREE-16"),
        ("links", "TREE-14"),
        ("device", "TREE-21"),
    ):
        decode(f"{name}-negative", clause, text({**node("a"), name: -1}), "json-invalid")
    decode("size-float", "TREE-16", text({**node("a"), "size": 1.5}), "json-invalid")
    decode("nodes-missing", "TREE-1", "{}\n", "json-invalid")
    decode("nodes-object", "TREE-1", '{"nodes":{}}\n', "json-invalid")
    decode("cut", "TREE-1", text(plain)[:-5], "json-invalid")
    decode("more-after", "TREE-1", empty + "x", "json-invalid")
    decode("nothing", "TREE-1", "", "json-invalid")
    decode("array", "TREE-1", "[]\n", "json-invalid")
    decode("raw-bytes", "GOJSON-11", text(node("?")).encode().replace(b"?", b"\xff"), "json-invalid")
    return out


def _everything(content: str, subtree: str) -> dict[str, Any]:
    return {
        "name": "all",
        "type": "irregular",
        "mode": 1,
        **TIMES,
        "uid": 4294967295,
        "gid": 4294967295,
        "user": "u",
        "group": "g",
        "inode": 18446744073709551615,
        "device_id": 18446744073709551615,
        "size": 1,
        "links": 2,
        "linktarget": "?",
        "linktarget_raw": "/w==",
        "extended_attributes": [
            {"name": "user.z", "value": ""},
            {"name": "user.a", "value": "AP8="},
            {"name": "n", "value": None},
        ],
        "generic_attributes": {"windows.creation_time": "AAA=", "windows.file_attributes": 32},
        "device": 259,
        "content": [content],
        "subtree": subtree,
        "error": "broken",
    }


def _kinds(decode: Any, subtree: str) -> None:
    decode(
        "symlink", ["TREE-9", "TREE-17"], text(node("l", "symlink", 134218239, links=1, linktarget="t")), [b"l"], targets=["t"]
    )
    decode("dev", ["TREE-9", "TREE-21"], text(node("blk", "dev", 67109284, links=1, device=1050412)), [b"blk"])
    decode("chardev", ["TREE-9", "TREE-21"], text(node("chr", "chardev", 69206436, links=1, device=259)), [b"chr"])
    decode("fifo", "TREE-9", text(node("p", "fifo", 33554852)), [b"p"])
    decode("socket", "TREE-9", text(node("s", "socket", 16777636)), [b"s"])
    decode("irregular", "TREE-9", text(node("i", "irregular", 524708)), [b"i"])
    decode("unknown-type", "TREE-9", text(node("w", "whiteout", 420)), [b"w"])
    decode("zero-times", "TREE-11", text({**node("z"), **ZERO_TIMES}), [b"z"])
    decode("mode-zero", "TREE-3", text(node("m", mode=0)), [b"m"])
    hard: dict[str, Any] = {"inode": 5, "device_id": 7, "size": 0, "links": 2}
    linked = [node(name, **{key: value for key, value in hard.items() if value}) for name in ("h1", "h2")]
    decode("hard-links", "TREE-14", text(*linked), [b"h1", b"h2"])
    rustic = {"name": "l", "type": "symlink", "linktarget": "t", "mode": 511, "mtime": TIMES["mtime"], "content": None}
    decode("rustic-order", "RUSTIC-4", text(rustic), [b"l"], canonical=False, targets=["t"])
    bare = {"name": "f", "type": "file", "content": []}
    decode("rustic-bare", "RUSTIC-4", text(bare), [b"f"])
    decode("rustic-no-content", "RUSTIC-4", text({"name": "f", "type": "fifo"}), [b"f"])
    decode("rustic-dir-mode", "RUSTIC-5", text(node("d", "dir", 493, subtree=subtree)), [b"d"])
    decode("rustic-chardev-mode", "RUSTIC-5", text(node("c", "chardev", 420, device=259)), [b"c"])


def _names(decode: Any) -> None:
    quoted = [
        "\\x01",
        "'apos'",
        "<>&",
        "a b",
        "back\\\\slash",
        "nl\\n",
        'q\\"uote',
        "tab\\there",
        "\\x7f",
        "\\u00a0",
        "\\u2028",
        "\\xed\\xa0\\x80",
        "\\ue000",
        "\ufffd",
        "\U0001f600",
        "\\xff\\xfe",
    ]
    plain = [
        b"\x01",
        b"'apos'",
        b"<>&",
        b"a b",
        b"back\\slash",
        b"nl\n",
        b'q"uote',
        b"tab\there",
        b"\x7f",
        b"\xc2\xa0",
        b"\xe2\x80\xa8",
        b"\xed\xa0\x80",
        b"\xee\x80\x80",
        b"\xef\xbf\xbd",
        b"\xf0\x9f\x98\x80",
        b"\xff\xfe",
    ]
    decode(
        "odd-names", ["TREE-4", "TREE-5", "GOJSON-3"], text(*map(node, quoted)), plain, comment="As restic 0.19.1 stores them."
    )
    decode("old-quoting", "DIFF-4", text(node("\\U0001fae8")), ["\U0001fae8".encode()], comment="As restic 0.14.0 stores it.")
    decode("new-quoting", "DIFF-4", text(node("\U0001fae8")), ["\U0001fae8".encode()], comment="As restic 0.19.1 stores it.")
    decode("quoted-utf-8", "TREE-5", text(node("\\xe2\\x82\\xac")), ["\u20ac".encode()])
    decode("octal", "GOJSON-7", text(node("\\101\\377")), [b"A\xff"])
    order = ["B", "a", "\\xc3", "\u00e4"]
    decode("order-of-bytes", "TREE-4", text(*map(node, order)), [b"B", b"a", b"\xc3", b"\xc3\xa4"])
    comment = "Sorted by the quoted form, which is another order."
    decode(
        "order-of-quoted", "TREE-4", text(node("\\x01"), node("\\\\"), node("a"), node("B")), "tree-invalid", comment=comment
    )
    decode(
        "order-of-code-points",
        "TREE-4",
        text(node("\U00010000"), node("\uff61")),
        "tree-invalid",
        comment="UTF-16 units would be in this order.",
    )
    decode("not-sorted", "TREE-4", text(node("b"), node("a")), "tree-invalid")
    decode("twice", "TREE-4", text(node("a"), node("a")), "tree-invalid")
    decode("twice-quoted", "TREE-4", text(node("a"), node("\\x61")), "tree-invalid")
    for label, name in {
        "empty": "",
        "dot": ".",
        "dot-dot": "..",
        "slash": "a/b",
        "root": "/",
        "up": "../x",
        "zero": "a\\x00b",
        "quoted-slash": "a\\x2fb",
        "quoted-dots": "\\x2e\\x2e",
    }.items():
        decode(f"name-{label}", "TREE-6", text(node(name)), "tree-invalid")
    for label, name in {
        "quote": 'a"b',
        "line-feed": "a\nb",
        "lone-backslash": "a\\",
        "unknown-escape": "\\q",
        "short-x": "\\x1",
        "apostrophe": "\\'",
        "surrogate": "\\ud800",
        "beyond": "\\U00110000",
        "octal-beyond": "\\400",
    }.items():
        decode(f"quoting-{label}", ["TREE-5", "GOJSON-7"], text(node(name)), "name-invalid")


def _targets(decode: Any) -> None:
    raw = node("l", "symlink", 134218239, linktarget="?", linktarget_raw="/zwmPg==")
    content = text(raw).replace("?", "\\ufffd\\u003c\\u0026\\u003e")
    decode("target-raw", ["TREE-18", "DIFF-2"], content, [b"l"], targets=["\udcff<&>"])
    control = text(node("l", "symlink", 134218239, linktarget="a?b")).replace("?", "\\u0008")
    decode("target-old-control", "DIFF-3", control, [b"l"], canonical=False, targets=["a\bb"], comment="As 0.14.0 stores it.")
    control = text(node("l", "symlink", 134218239, linktarget="a\bb"))
    decode("target-new-control", "DIFF-3", control, [b"l"], targets=["a\bb"])
    bad = node("l", "symlink", 134218239, linktarget="t", linktarget_raw="***")
    decode("target-not-base64", "TREE-18", text(bad), "json-invalid")


def _kept(decode: Any, content: str) -> None:
    attributes = [{"name": "user.z", "value": ""}, {"name": "user.a", "value": "AP8="}]
    decode("xattrs", "TREE-19", text(node("x", extended_attributes=attributes)), [b"x"])
    decode("xattr-null", "TREE-19", text(node("x", extended_attributes=[{"name": "user.n", "value": None}])), [b"x"])
    bad = [{"name": "user.n", "value": "*"}]
    decode("xattr-not-base64", "TREE-19", text(node("x", extended_attributes=bad)), "json-invalid")
    generic = {"windows.a": {"x": [1, 2.5]}, "windows.b": "AAA="}
    decode("generic", "TREE-20", text(node("g", generic_attributes=generic)), [b"g"])
    unsorted = dict(reversed(generic.items()))
    decode("generic-unsorted", "TREE-20", text(node("g", generic_attributes=unsorted)), [b"g"], canonical=False)
    decode("error", "TREE-22", text(node("e", error="permission denied")), [b"e"])
    decode("unknown-member", "TREE-23", text({**node("u"), "later": {"a": 1.0}}), [b"u"])
    beside = '{"nodes":[],"later":[1.0,"x"]}\n'
    decode("unknown-beside-nodes", "TREE-23", beside, [])
    before = '{"later":1,"nodes":[]}\n'
    decode("unknown-before-nodes", "TREE-23", before, [], canonical=False)
    years = {"mtime": "0000-01-01T00:00:00Z", "atime": "9999-12-31T23:59:59.999999999Z"}
    decode("years", "TREE-11", text({**node("y", content=[content]), **years}), [b"y"])
