"""What paths and ranges name: nothing but files of repositories below the data folder, whatever is sent."""

from __future__ import annotations

import os
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from restic_format.serve.paths import Named, read_path
from restic_format.serve.ranges import RangeInvalid, read_range
from restic_spec.layout import FileKind

NAME = "c3ab8ff13720e8ad9047dd39466b3c8974e592c2fa383d4a3960714caef0c4f2"

SEGMENTS = st.sampled_from(
    [b"", b".", b"..", b"a", b"data", b"config", b"keys", NAME.encode(), b"%2e%2e", b"%2f", b"\0", b"..%2f"]
)


@pytest.mark.parametrize(
    ("path", "named"),
    [
        (b"/", Named(())),
        (b"/a/", Named((b"a",))),
        (b"/a/b/", Named((b"a", b"b"))),
        (b"/config", Named((), FileKind.CONFIG)),
        (b"/a/config", Named((b"a",), FileKind.CONFIG)),
        (b"/data/", Named((), FileKind.PACK)),
        (b"/a/b/locks/", Named((b"a", b"b"), FileKind.LOCK)),
        (f"/a/b/data/{NAME}".encode(), Named((b"a", b"b"), FileKind.PACK, NAME)),
        (f"/keys/{NAME}".encode(), Named((), FileKind.KEY, NAME)),
        ("/ä ö/config".encode(), Named(("ä ö".encode(),), FileKind.CONFIG)),
        (b"/%C3%A4%20/config", Named(("ä ".encode(),), FileKind.CONFIG)),
        (b"/%252e%252e/config", Named((b"%2e%2e",), FileKind.CONFIG)),
        (b"", None),
        (b"a", None),
        (b"/a", None),
        (b"/a/b", None),
        (b"/a/b/c/", None),
        (b"//", None),
        (b"/a//config", None),
        (b"/../config", None),
        (b"/a/../config", None),
        (b"/%2e%2e/config", None),
        (b"/..%2fconfig", None),
        (b"/a/%2e%2e%2f%2e%2e%2fconfig", None),
        (b"/a%00/config", None),
        (b"/a%zz/config", None),
        (b"/" + b"a" * 256 + b"/config", None),
        (b"/config/", None),
        (b"/config/config", None),
        (b"/data/..", None),
        (f"/data/{NAME}/".encode(), None),
        (f"/data/{NAME}%00".encode(), None),
        (f"/data/{NAME}%0a".encode(), None),
        (f"/data/{NAME[:2]}/{NAME}".encode(), None),
        (f"/data/{NAME.upper()}".encode(), None),
        (b"/data/" + "١".encode() * 64, None),
    ],
)
def test_paths(path: bytes, named: Named | None) -> None:
    assert read_path(path) == named


@given(st.one_of(st.binary(max_size=300), st.lists(SEGMENTS, max_size=6).map(lambda parts: b"/" + b"/".join(parts))))
@example(b"/%2e%2e%2f/config")
def test_no_path_leads_out(path: bytes) -> None:
    for raw in (path, quote_from_bytes(path).encode()):
        named = read_path(raw)
        if named is not None:
            place = os.path.join(b"/srv/data", *named.folders)
            assert os.path.normpath(place) == place.rstrip(b"/") and place.startswith(b"/srv/data")
            assert len(named.folders) <= 2 and b"\0" not in place
            assert named.name == "" or (len(named.name) == 64 and set(named.name) <= set("0123456789abcdef"))


@given(st.text(max_size=40), st.integers(0, 1 << 40))
@example("bytes=0-99999999999999999999", 10)
@example("bytes=٣-", 10)
@example("bytes=-0", 10)
def test_ranges_lie_in_the_file(header: str, size: int) -> None:
    for text in (header, f"bytes={header}"):
        try:
            found = read_range(text, size)
        except RangeInvalid:
            continue
        if found is not None:
            assert 0 <= found.first < size and 0 < found.length <= size - found.first
