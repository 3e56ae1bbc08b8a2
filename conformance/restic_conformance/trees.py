"""Source trees to back up, each made afresh and the same way every time.

A builder gets a fresh folder (bytes path) and fills it. What the machine does not allow (devices without root,
attributes on a file system without them) is left out and named in the returned list, so that a report can say it.
"""

from __future__ import annotations

import errno
import os
import random
import socket
import stat
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

DAY = 86_400_000_000_000
EPOCH_2020 = 1_577_836_800_000_000_000
KIB = 1024
MIB = 1024 * KIB

REFUSED = frozenset({errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSPC, errno.EILSEQ})
"""Error numbers that mean: this machine or file system does not do that."""


def noise(size: int, seed: int) -> bytes:
    """Incompressible bytes, the same for the same arguments."""
    return random.Random(seed).randbytes(size)


def prose(size: int, seed: int) -> bytes:
    """Compressible bytes, the same for the same arguments."""
    chance = random.Random(seed)
    words = [noise(chance.randint(2, 9), number).hex().encode() for number in range(400)]
    block = b" ".join(chance.choices(words, k=4000))
    return (block * (size // len(block) + 1))[:size]


@dataclass
class Builder:
    """Fills one folder; every method takes paths below it."""

    root: bytes
    left_out: list[str] = field(default_factory=list)
    _clock: int = EPOCH_2020

    def path(self, name: bytes | str) -> bytes:
        return self.root + b"/" + (name.encode() if isinstance(name, str) else name)

    def attempt(self, what: str, action: Callable[[], object]) -> bool:
        """Do it if this machine can, else note that it was left out."""
        try:
            action()
        except OSError as error:
            if error.errno not in REFUSED:
                raise
            self.left_out.append(f"{what} ({error.strerror})")
            return False
        return True

    def folder(self, name: bytes | str) -> bytes:
        path = self.path(name)
        os.makedirs(path, exist_ok=True)
        return path

    def file(self, name: bytes | str, data: bytes = b"", mode: int = 0o644) -> bytes:
        path = self.path(name)
        with open(path, "wb") as file:
            file.write(data)
        os.chmod(path, mode)
        self._clock += 1_234_567_891
        os.utime(path, ns=(self._clock, self._clock))
        return path

    def xattr(self, path: bytes, name: str, value: bytes) -> None:
        self.attempt(f"xattr {name}", lambda: os.setxattr(path, name, value, follow_symlinks=False))

    def settle(self) -> None:
        """Give all but regular files a time of their own, children first; call this last."""
        for folder, folders, files in os.walk(self.root, topdown=False):
            for name in sorted([*files, *folders]):
                path = folder + b"/" + name
                kind = os.lstat(path).st_mode
                if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
                    self._clock += 987_654_321
                    os.utime(path, ns=(self._clock, self._clock), follow_symlinks=False)
            self._clock += 111_111_111
            os.utime(folder, ns=(self._clock, self._clock))


def empty(b: Builder) -> None:
    """Nothing but the folder."""
    b.settle()


def nested(b: Builder) -> None:
    """Folders in folders, empty ones, empty files, equal files, small files."""
    b.folder("empty")
    b.folder("a/b/c/d/e/f/g/h")
    b.file("a/b/c/d/e/f/g/h/deep.txt", b"at the bottom\n")
    b.file("a/empty-file")
    b.file("a/b/same-1", prose(3000, 5))
    b.file("a/b/c/same-2", prose(3000, 5))
    b.folder("many")
    for number in range(40):
        b.file(f"many/file-{number:03d}", prose(number * 7, number))
    b.file("random.bin", noise(20_000, 1))
    b.file("text.txt", prose(50_000, 2))
    b.settle()


ODD_NAMES: tuple[bytes, ...] = (
    b"<html> & 'quotes' \"double\"",
    b"back\\slash",
    b"new\nline",
    b"tab\tand\rreturn\x01\x07\x1b\x7f",
    "line\u2028separator\u2029paragraph".encode(),
    b"invalid-\xff\xfe-utf8",
    b"\x80",
    b"cut-\xe2\x82",
    b"surrogate-\xed\xa0\x80",
    b"overlong-\xc0\xaf",
    "\ufffd replacement".encode(),
    "\ufeffbom".encode(),
    "zero\u200bwidth".encode(),
    "no\u00a0break soft\u00adhyphen".encode(),
    "private\ue000use \U0010ffff".encode(),
    "unassigned\u0378".encode(),
    "composed-\u00e9".encode(),
    "decomposed-e\u0301".encode(),
    "\u4e2d\u6587 \u0639\u0631\u0628\u064a \U0001f600".encode(),
    b"-rf",
    b" leading and trailing ",
    b"*?[a-z]{x,y}$HOME`id`%s!#;|",
    b"...",
    b"con.txt.",
    b"\\x41 \\u0041 \\n",
    b"Upper",
    b"upper",
    b"x" * 255,
)
"""Names that JSON, quoting, sorting, shells and patterns get wrong. Printability by any Unicode version."""

NEW_UNICODE: tuple[bytes, ...] = ("shaking\U0001fae8face".encode(), "heart\U0001fa77hands\U0001faf6".encode())
"""Characters assigned after Unicode 13: restic builds with older Go escape them, newer ones do not."""


def odd_names(b: Builder) -> None:
    """Names of any bytes, on files, folders and links; link targets of any bytes."""
    for number, name in enumerate(ODD_NAMES + NEW_UNICODE):
        b.attempt(f"name {name!r}", lambda name=name, number=number: b.file(name, b"%d\n" % number))  # type: ignore[misc]
    for number, name in enumerate(ODD_NAMES):
        folder = b"in folders/" + name[:200]
        if b.attempt(f"folder {name!r}", lambda folder=folder: b.folder(folder)):  # type: ignore[misc]
            b.file(folder + b"/inside", b"%d\n" % number)
    b.folder("links")
    for number, name in enumerate(ODD_NAMES):
        link = b.path(f"links/{number:02d}")
        b.attempt(f"target {name!r}", lambda name=name, link=link: os.symlink(name, link))  # type: ignore[misc]
    os.symlink(b"../" * 300 + b"far", b.path("links/long"))
    os.symlink(b"/\xff\xfe absolute/../\xed\xa0\x80", b.path("links/raw"))
    b.settle()


def acl(*entries: tuple[int, int, int]) -> bytes:
    """An access control list as Linux keeps it: version 2, then (tag, permission bits, id) little-endian."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY = 0xFFFFFFFF
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32
ACCESS_LIST = acl(
    (USER_OBJ, 6, NOBODY), (USER, 4, 1234), (GROUP_OBJ, 4, NOBODY), (GROUP, 6, 4321), (MASK, 6, NOBODY),
    (OTHER, 0, NOBODY),
)  # fmt: skip
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
"""``cap_net_raw+ep`` in the second revision of the attribute."""


def metadata(b: Builder) -> None:
    """Every node type, permission bit, kind of attribute and owner; hard links; sparse files; odd times."""
    _sparse(b)
    metadata_without_sparse(b)


def metadata_without_sparse(b: Builder) -> None:
    """As :func:`metadata`, a few KiB in all."""
    _special(b)
    _attributes(b)
    _owners_and_modes(b)
    _hard_links(b)
    _odd_times(b)
    b.settle()
    os.utime(b.path("times"), ns=(-DAY + 1, -DAY + 1))


def _special(b: Builder) -> None:
    b.folder("special")
    os.mkfifo(b.path("special/fifo"), 0o640)
    with socket.socket(socket.AF_UNIX) as endpoint:
        folder = os.open(b.path("special"), os.O_RDONLY)
        try:
            endpoint.bind(f"/proc/self/fd/{folder}/socket")
        finally:
            os.close(folder)
    for name, kind, major, minor in (
        ("null", stat.S_IFCHR, 1, 3),
        ("tty-high", stat.S_IFCHR, 4095, 1048575),
        ("loop", stat.S_IFBLK, 7, 300),
    ):
        device = os.makedev(major, minor)
        b.attempt(f"device {name}", lambda n=name, k=kind, d=device: os.mknod(b.path(f"special/{n}"), k | 0o606, d))  # type: ignore[misc]
    os.symlink("fifo", b.path("special/link-to-fifo"))
    os.symlink("missing", b.path("special/dangling"))
    os.symlink("..", b.path("special/up"))


def _attributes(b: Builder) -> None:
    b.folder("attributes/folder")
    many = b.file("attributes/many", b"many attributes\n")
    for name, value in (
        ("user.zz-last", b"last"),
        ("user.aa-first", b"first"),
        ("user.empty", b""),
        ("user.binary", bytes(range(256))),
        ("user.text", "\u00fcml\u00e4ut <&> \u2028".encode()),
        ("user.\u00fc\u2028<name>", b"odd name"),
        ("trusted.overlord", b"only root sees it"),
    ):
        b.xattr(many, name, value)
    b.xattr(b.path("attributes/folder"), "user.on-folder", b"yes")
    b.xattr(b.path("attributes/folder"), "system.posix_acl_default", ACCESS_LIST)
    b.xattr(b.file("attributes/acl", b"access list\n"), "system.posix_acl_access", ACCESS_LIST)
    b.xattr(b.file("attributes/capability", b"capability\n", 0o755), "security.capability", CAPABILITY)
    os.symlink("nowhere", b.path("attributes/link"))
    b.xattr(b.path("attributes/link"), "trusted.on-link", b"on the link itself")
    os.mkfifo(b.path("attributes/fifo"))
    b.xattr(b.path("attributes/fifo"), "trusted.on-fifo", b"\x00\xff")


def _owners_and_modes(b: Builder) -> None:
    b.folder("owners")
    for uid, gid in ((0, 0), (65534, 65534), (12345, 54321), (4294967294, 4294967294), (1, 0)):
        path = b.file(f"owners/{uid}-{gid}", b"owned\n")
        b.attempt(f"owner {uid}", lambda p=path, u=uid, g=gid: os.chown(p, u, g))  # type: ignore[misc]
    os.symlink("x", b.path("owners/link"))
    b.attempt("owner of a link", lambda: os.lchown(b.path("owners/link"), 12345, 54321))
    b.folder("modes")
    readable = 0 if os.geteuid() == 0 else 0o400
    for mode in (0o000, 0o001, 0o200, 0o400, 0o644, 0o777, 0o4755, 0o2755, 0o1644, 0o7777):
        os.chmod(b.file(f"modes/{mode:04o}", b"%o\n" % mode), mode | readable)
    for mode in (0o700, 0o1777, 0o2775, 0o7777, 0o555):
        folder = b.folder(f"modes/folder-{mode:04o}")
        b.file(f"modes/folder-{mode:04o}/inside", b"inside\n")
        os.chmod(folder, mode)


def _hard_links(b: Builder) -> None:
    b.folder("links/one")
    b.folder("links/two")
    os.link(b.file("links/one/original", noise(5000, 9)), b.path("links/two/copy"))
    os.link(b.path("links/one/original"), b.path("links/another"))
    os.link(b.file("links/empty-1"), b.path("links/empty-2"))
    b.file("links/one/lookalike", noise(5000, 9))
    os.mkfifo(b.path("links/fifo-1"))
    os.link(b.path("links/fifo-1"), b.path("links/fifo-2"))
    os.symlink("target", b.path("links/symlink-1"))
    os.link(b.path("links/symlink-1"), b.path("links/symlink-2"), follow_symlinks=False)


def _sparse(b: Builder) -> None:
    b.folder("sparse")
    for name, size, islands in (
        ("hole", 3 * MIB, ()),
        ("island", 2 * MIB, (MIB,)),
        ("tail", MIB + 4096, (0, MIB + 4090)),
    ):
        path = b.file(f"sparse/{name}")
        with open(path, "r+b") as file:
            file.truncate(size)
            for offset in islands:
                file.seek(offset)
                file.write(b"island")
        os.utime(path, ns=(EPOCH_2020, EPOCH_2020))


ODD_TIMES: tuple[int, ...] = (
    0,
    1,
    -1,
    -1_000_000_000,
    -86_400_000_000_000 * 365 * 60 + 500_000_000,
    999_999_999,
    EPOCH_2020 + 100_000_000,
    EPOCH_2020 + 120_000_000,
    2_147_483_647_999_999_999,
    2_147_483_648_000_000_000,
    4_294_967_296_000_000_001,
    9_999_999_999_123_456_789,
    15_032_385_535_000_000_001,
    253_402_300_800_000_000_000,
    -62_135_596_800_000_000_000 - 5 * 366 * DAY,
)
"""Nanoseconds since 1970. A file system that cannot hold one clamps it; the judge reads back what was kept."""


def _odd_times(b: Builder) -> None:
    b.folder("times")
    for number, moment in enumerate(ODD_TIMES):
        path = b.file(f"times/{number:02d}", b"time\n")
        if not -(2**63) <= moment < 2**63:
            b.attempt(f"time {moment}", lambda p=path, m=moment: os.utime(p, ns=(m, m)))  # type: ignore[misc]
        else:
            os.utime(path, ns=(moment, moment))


def boundaries(b: Builder) -> None:
    """Files at and around the sizes where the chunker decides: window, minimum, maximum, and runs of one byte."""
    smallest, largest = 512 * KIB, 8 * MIB
    for size in (0, 1, 2, 63, 64, 65, 4095, 4096, smallest - 1, smallest, smallest + 1, smallest + 64, 2 * smallest):
        b.file(f"noise-{size}", noise(size, size))
    for size in (smallest - 1, smallest, smallest + 1, 2 * smallest, 3 * smallest + 1):
        b.file(f"zeros-{size}", bytes(size))
    # One repeated byte never meets the split mask (but for odds of one in a million), so only the maximum cuts.
    for size in (largest - 1, largest, largest + 1, largest + smallest):
        b.file(f"same-{size}", b"\xaa" * size)
    b.file("noise-3m", noise(3 * MIB, 77))
    b.file("shifted-3m", b"!" + noise(3 * MIB, 77))
    b.settle()


def big(b: Builder, megabytes: int = 24) -> None:
    """A few large files: noise, text, zeros, repeats; about ``megabytes`` MiB in all."""
    part = megabytes * MIB // 4
    for name, seed in (("noise.bin", 11), ("noise-again.bin", 11)):
        with open(b.path(name), "wb") as file:
            for step in range(part // MIB):
                file.write(noise(MIB, seed * 1000 + step))
    with open(b.path("text.txt"), "wb") as file:
        for step in range(part // MIB):
            file.write(prose(MIB, step))
    with open(b.path("zeros"), "wb") as file:
        file.write(bytes(part))
    for name in ("noise.bin", "noise-again.bin", "text.txt", "zeros"):
        os.utime(b.path(name), ns=(EPOCH_2020 + part, EPOCH_2020 + part))
    b.settle()


TREES: dict[str, Callable[[Builder], None]] = {
    "empty": empty,
    "nested": nested,
    "odd-names": odd_names,
    "metadata": metadata,
    "boundaries": boundaries,
}
"""The trees small enough to be made for every run."""


def build(kind: Callable[[Builder], None], root: bytes) -> list[str]:
    """Make ``root`` and fill it; returns what had to be left out."""
    os.makedirs(root)
    builder = Builder(root)
    kind(builder)
    return builder.left_out
