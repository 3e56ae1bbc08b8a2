"""Backing up a stream: standard input, or what a command writes, as one file of the snapshot."""

from __future__ import annotations

import os
import posixpath
import select
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from restic_format.backup.content import ChunkReader
from restic_format.backup.directories import Files
from restic_format.backup.errors import BackupFailed, CommandFailed, SourceError
from restic_format.backup.files import Reading, Workers
from restic_format.backup.job import FileStarted
from restic_format.backup.parent import ParentTrees, subtree_of
from restic_format.backup.source import Folder
from restic_format.systemtext import exit_text
from restic_spec import gojson, gomode
from restic_spec.tree import DIR, FILE, Node

WAIT = 0.2
"""Seconds to wait for bytes before looking whether the backup was cancelled."""


class Source(Protocol):
    """Where the bytes come from."""

    def ready(self, seconds: float) -> bool:
        """Whether `read` would not wait; waits so long at most."""

    def read(self, buffer: memoryview) -> int:
        """Fill the beginning of *buffer*; 0 at the end.

        Raises:
            OSError: reading failed.
            BackupFailed: what was read must not be kept.
        """

    def close(self) -> None:
        """Nothing more is wanted."""


class StreamSource:
    """A file descriptor, such as that of standard input; it stays open."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def ready(self, seconds: float) -> bool:
        """See `Source`."""
        return _readable(self._fd, seconds)

    def read(self, buffer: memoryview) -> int:
        """See `Source`."""
        return os.readv(self._fd, [buffer])

    def close(self) -> None:
        """See `Source`."""


def _readable(fd: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(int(seconds * 1000)))


class CommandSource:
    """The standard output of a command; lines of its standard error go to *report*. Its standard input is empty.

    Raises:
        BackupFailed: the command cannot be started.
    """

    def __init__(self, command: Sequence[str], report: Callable[[str], None]) -> None:
        if not command:
            raise BackupFailed("no command was specified as argument")
        import subprocess  # Slow to import, and no other backup needs it.

        words = [gojson.to_bytes(word) for word in command]
        try:
            # Ours is not the command's to read: it may hold the rest of a loop that backs up one thing after the other.
            self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        except OSError as error:
            raise BackupFailed(f"failed to start command: {SourceError.from_os('exec', words[0], error)}") from error
        self._name = command[0]
        self._report = report
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        stream = self._process.stderr
        assert stream is not None
        for line in stream:
            text = gojson.to_text(line.rstrip(b"\r\n"))
            self._report(f"subprocess {self._name}: {text}")

    def ready(self, seconds: float) -> bool:
        """See `Source`."""
        stream = self._process.stdout
        assert stream is not None
        return _readable(stream.fileno(), seconds)

    def read(self, buffer: memoryview) -> int:
        """See `Source`; at the end the command must have succeeded."""
        stream = self._process.stdout
        assert stream is not None
        count = os.readv(stream.fileno(), [buffer])
        if not count:
            status = self._process.wait()
            if status:
                raise CommandFailed(f"command failed: {exit_text(status)}; the command's output is not kept")
        return count

    def close(self) -> None:
        """See `Source`; a command that still runs is ended."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._listener.join(1)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()


def clean_stream_path(name: str) -> str:
    """The path in the snapshot of a stream called *name*.

    Raises:
        BackupFailed: the name has no components.
    """
    path = posixpath.normpath("/" + name.lstrip("/"))
    if path == "/":
        raise BackupFailed(f"invalid filename {name!r} specified for the stream; give it a name")
    return path


class StreamContent:
    """The content of a stream as a worker reads it: it waits in small steps, and minds an end without any data."""

    def __init__(self, source: Source, path: str, stopped: Callable[[], bool]) -> None:
        self._source = source
        self._path = path
        self._stopped = stopped
        self._empty = True

    def read(self, buffer: memoryview) -> int:
        """See `restic_format.backup.files.Content`."""
        while not self._source.ready(WAIT):
            if self._stopped():
                return 0
        count = self._source.read(buffer)
        if not count and self._empty:
            raise SourceError(f"failed to save {self._path}: read {posixpath.basename(self._path)}: no data read")
        self._empty = False
        return count

    def problem(self) -> None:
        """Nothing: a stream does not change."""

    def close(self) -> None:
        """See `restic_format.backup.files.Content`."""
        self._source.close()


def queue_stream(workers: Workers, parents: ParentTrees, source: Source, path: str, time_ns: int) -> None:
    """Give the workers *source* to save as the file *path*, below directories made up for it."""
    books = workers.books
    mtime = workers.builder.time_text(time_ns)

    def make(name: str, kind: str, mode: int) -> Node:
        quoted = gojson.quote(name)
        return Node(quoted, kind, mode, mtime, mtime, mtime, uid=os.getuid(), gid=os.getgid(), content=None)

    opened = [books.begin()]
    *above, name = path[1:].split("/")
    item = ""
    known = parents.load(parents.root, "/")
    for part in above:
        item = f"{item}/{part}"
        previous = known.find(gojson.to_bytes(part)) if known is not None else None
        known = parents.load(subtree_of(previous), item)
        opened.append(books.enter(opened[-1], item, make(part, DIR, gomode.DIR | 0o755), previous))
    raw_name = gojson.to_bytes(name)
    previous = known.find(raw_name) if known is not None else None
    directory = opened[-1]
    books.opened(directory)
    folder = Folder(gojson.to_bytes(item) + b"/", 1)
    file = Files(directory, directory.reserve(), folder, [raw_name], [raw_name], item, previous, 0)
    content = StreamContent(source, path, workers.stopping)
    workers.progress(FileStarted(path))
    workers.share(Reading(file, content, ChunkReader(content.read, workers.cutter), make(name, FILE, 0o644)), workers.count)
    for directory in reversed(opened):
        books.closed(directory)
