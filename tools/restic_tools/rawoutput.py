"""Large output as bytes: to standard output, or into a file that gets its name when it is complete."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import select
import stat
import sys
from collections.abc import Callable, Iterator, Sequence

from restic_format.systemtext import errno_text
from restic_tools.exitcodes import Failure, ReaderGone
from restic_tools.output import Output

MOST_BUFFERS = 1024
"""Buffers that the system writes in one call."""

Write = Callable[[Sequence[bytes | memoryview]], None]
"""Writes pieces one after the other."""


@contextlib.contextmanager
def standard_output(out: Output) -> Iterator[Write]:
    """Write to standard output.

    Raises:
        ReaderGone: nobody reads it any more.
        Failure: it cannot be written.
    """
    out.flush()
    try:
        descriptor = sys.stdout.fileno()
    except (AttributeError, io.UnsupportedOperation):
        yield lambda pieces: out.write(b"".join(pieces))
        return
    yield lambda pieces: _write(descriptor, pieces, "/dev/stdout", pipe=True)


@contextlib.contextmanager
def new_file(path: str) -> Iterator[Write]:
    """Write a file as `replacement` does.

    Raises:
        Failure: it cannot be written.
    """
    doing = "open"
    try:
        with replacement(path) as descriptor:
            doing = "write"
            yield lambda pieces: _write(descriptor, pieces, path)
    except OSError as error:
        raise Failure(f"cannot dump to file: {doing} {path}: {errno_text(error)}", plain=doing == "open") from error


@contextlib.contextmanager
def replacement(path: str) -> Iterator[int]:
    """Descriptor of a file that gets the name *path* at the end of the block; if that fails, it is as if nothing had been.

    What is there and is no regular file, a device or a pipe, is written to as it is. Of a file that is replaced the permissions
    stay.

    Raises:
        OSError: it cannot be opened or replaced.
    """
    try:
        there = os.stat(path)
    except OSError:
        there = None
    direct = there is not None and not stat.S_ISREG(there.st_mode)
    real = os.path.realpath(path)
    name = path if direct else os.path.join(os.path.dirname(real), f".restic-format-{secrets.token_hex(4)}.tmp")
    descriptor = os.open(name, os.O_WRONLY | os.O_CLOEXEC | (0 if direct else os.O_CREAT | os.O_EXCL), 0o666)
    try:
        try:
            if there is not None and not direct:
                os.fchmod(descriptor, stat.S_IMODE(there.st_mode))
            yield descriptor
        finally:
            os.close(descriptor)
        if not direct:
            os.replace(name, real)
    except BaseException:
        if not direct:
            with contextlib.suppress(OSError):
                os.unlink(name)
        raise


def _write(descriptor: int, pieces: Sequence[bytes | memoryview], name: str, *, pipe: bool = False) -> None:
    left = [piece for piece in pieces if len(piece)]
    first = 0
    try:
        while first < len(left):
            try:
                count = os.writev(descriptor, left[first : first + MOST_BUFFERS])
            except BlockingIOError:
                select.select([], [descriptor], [])
                continue
            while first < len(left) and count >= len(left[first]):
                count -= len(left[first])
                first += 1
            if count:
                left[first] = memoryview(left[first])[count:]
    except OSError as error:
        if pipe and isinstance(error, BrokenPipeError):
            raise ReaderGone(f"write {name}: {errno_text(error)}") from error
        raise Failure(f"cannot dump file: write {name}: {errno_text(error)}") from error
