"""An SFTP server that does on purpose what no real one does on demand: run as a program, with the name of the fault.

What it answers is otherwise what an empty server would: handles for everything, files of eight bytes, folders with one entry.
"""

from __future__ import annotations

import os
import struct
import sys
import time

CONTENT = b"8 bytes!"


def text(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def packet(kind: int, number: int, body: bytes) -> bytes:
    return struct.pack(">IBI", 5 + len(body), kind, number) + body


def status(number: int, code: int, message: bytes = b"") -> bytes:
    return packet(101, number, struct.pack(">I", code) + text(message) + text(b"en"))


def attributes(mode: int = 0o100600, size: int = len(CONTENT)) -> bytes:
    return struct.pack(">IQI", 5, size, mode)


def names(number: int, *entries: bytes) -> bytes:
    listed = b"".join(text(name) + text(b"-") + attributes() for name in entries)
    return packet(104, number, struct.pack(">I", len(entries)) + listed)


def read(size: int) -> bytes:
    content = b""
    while len(content) < size:
        piece = os.read(0, size - len(content))
        if not piece:
            sys.exit(0)
        content += piece
    return content


def write(content: bytes) -> None:
    while content:
        content = content[os.write(1, content) :]


class Fake:
    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.listed = 0
        self.writable: set[bytes] = set()

    def serve(self) -> None:
        [size] = struct.unpack(">I", read(4))
        read(size)
        if self.fault == "chatty":
            write(b"Welcome to this server!\n")
        version = 6 if self.fault == "version" else 3
        write(struct.pack(">IBI", 5, 2, version))
        while True:
            size, kind, number = struct.unpack(">IBI", read(9))
            self.answer(kind, number, read(size - 5))

    def answer(self, kind: int, number: int, fields: bytes) -> None:
        fault = self.fault
        reads = kind == 5
        if fault == "silent" and kind != 17:
            time.sleep(1000)
        if fault == "huge" and reads:
            write(struct.pack(">IBI", 0xFFFFFFF0, 103, number))
        elif fault == "tiny" and reads:
            write(struct.pack(">IBI", 4, 103, number))
        elif fault == "unasked" and reads:
            write(status(number + 77, 0))
        elif fault == "twice" and reads:
            write(packet(103, number, text(CONTENT)) * 2)
        elif fault == "more" and reads:
            write(packet(103, number, text(CONTENT + b"more")))
        elif fault == "nothing" and reads:
            write(packet(103, number, text(b"")))
        elif fault == "lying" and reads:
            write(packet(103, number, struct.pack(">I", 3) + CONTENT))
        elif fault == "wrong" and reads:
            write(packet(102, number, text(b"handle")))
        elif fault == "cut" and reads:
            write(packet(103, number, text(CONTENT))[:-2])
            sys.exit(0)
        elif fault == "message" and reads:
            write(status(number, 4, b"\x1b]0;owned\x07\n" * 5000))
        elif fault == "crumbs" and reads:
            [handle_size] = struct.unpack_from(">I", fields)
            offset, _ = struct.unpack_from(">QI", fields, 4 + handle_size)
            write(packet(103, number, text(CONTENT[offset : offset + 1])))
        elif reads:
            write(packet(103, number, text(CONTENT)))
        elif kind == 13 and fault == "guarded":
            guarded = fields not in self.writable
            write(status(number, 3 if guarded else 0))
        elif kind == 9:
            self.writable.add(fields[:-8])
            write(status(number, 0))
        elif kind == 12:
            self.list(number)
        elif kind == 3 and fault == "handle":
            write(packet(102, number, text(bytes(4000))))
        elif kind in (3, 11):
            write(packet(102, number, text(b"handle")))
        elif kind in (7, 8, 17):
            fifo = fault == "fifo" and b"index" in fields
            write(packet(105, number, attributes(0o010600 if fifo else 0o100600)))
        else:
            write(status(number, 0))

    def list(self, number: int) -> None:
        self.listed += 1
        if self.fault == "endless":
            write(names(number, *(b"%064x" % (self.listed * 500 + n) for n in range(500))))
        elif self.fault == "deep":
            entry = text(b"d%d" % self.listed) + text(b"-") + attributes(0o040700)
            write(packet(104, number, struct.pack(">I", 1) + entry) if self.listed % 2 else status(number, 1))
        elif self.fault == "none":
            write(names(number))
        elif self.fault == "counting":
            write(packet(104, number, struct.pack(">I", 0xFFFFFFFF)))
        elif self.fault == "paths" and self.listed == 1:
            write(names(number, b"../" + b"a" * 64, b"..", b".", b"/etc/passwd", b"", b"\0" * 64, b"\xff" * 64, b"b" * 64))
        elif self.listed == 1:
            write(names(number, b"a" * 64))
        else:
            write(status(number, 1))


if __name__ == "__main__":
    Fake(sys.argv[1]).serve()
