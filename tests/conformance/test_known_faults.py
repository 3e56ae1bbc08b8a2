"""Excuses cover exactly what was seen of the real programs and nothing of ours."""

from __future__ import annotations

import pytest

from restic_conformance.compare import Difference, Facts
from restic_conformance.known import excuse
from restic_conformance.programs import OURS, Program

OLD = Program("restic-0.14", [], version=(0, 14))
NEW = Program("restic-0.19", [], version=(0, 19))
OWN = Program(OURS, [], version=(0, 19))
RUSTIC = Program("rustic", [])


def facts(kind: str, mode: int = 0o644, mtime_ns: int = 0, target: bytes = b"") -> Facts:
    return Facts(kind, mode, 0, 0, mtime_ns, 0, "", target, 0, (), ())


RAW_LINK = facts("symlink", target=b"\xff")
FAR = facts("file", mtime_ns=2**63)


@pytest.mark.parametrize(
    ("writer", "reader", "one", "attribute", "excused"),
    [
        (OLD, NEW, RAW_LINK, "target", True),
        (NEW, OLD, RAW_LINK, "target", True),
        (NEW, NEW, RAW_LINK, "target", False),
        (OWN, NEW, RAW_LINK, "target", False),
        (NEW, OWN, RAW_LINK, "target", False),
        (OLD, NEW, facts("symlink", target=b"plain"), "target", False),
        (OLD, OWN, facts("file"), "xattrs", False),
        (OWN, NEW, FAR, "mtime_ns", True),
        (NEW, OWN, FAR, "mtime_ns", False),
        (NEW, NEW, facts("file"), "mtime_ns", False),
        (NEW, NEW, facts("fifo"), "hardlinks", True),
        (NEW, NEW, facts("file"), "hardlinks", False),
        (NEW, RUSTIC, facts("file", mode=0), "mode", True),
        (NEW, RUSTIC, facts("file", mode=1), "mode", False),
        (NEW, NEW, facts("file"), "content", False),
    ],
)
def test_excuses(writer: Program, reader: Program, one: Facts, attribute: str, excused: bool) -> None:
    difference = Difference(b"path", attribute, "before", "after")
    assert bool(excuse(writer, reader, difference, {b"path": one})) is excused


def test_a_missing_file_is_never_excused() -> None:
    difference = Difference(b"path", "missing", "file", None)
    for writer in (OLD, NEW, RUSTIC, OWN):
        for reader in (OLD, NEW, RUSTIC, OWN):
            assert excuse(writer, reader, difference, {b"path": facts("file")}) == ""
