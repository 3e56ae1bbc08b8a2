"""Backing up a stream: standard input, or what a command writes, as one file of the snapshot."""

from __future__ import annotations

import os
import posixpath
import select
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from restic_format.backup.content import ChunkReader
from restic_format.backup.errors import BackupFailed, CommandFailed, SourceError
from restic_format.backup.files import FileSaver, OpenFile, Team
from restic_format.backup.parenttrees import ParentTrees, subtree_of
from restic_format.backup.pending import PendingDirectory
from restic_format.backup.trees import encode_node
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


def save_stream(team: Team, known: ParentTrees, source: Source, path: str, time_ns: int) -> None:
    """Save *source* as the file *path*, below directories made up for it; called with the team at work.

    Raises:
        BackupFailed, ResticFormatError: no snapshot may be made.
    """
    books = team.books
    mtime = team.builder.time_text(time_ns)

    def make(name: str, kind: str, mode: int) -> Node:
        quoted = gojson.quote(name)
        return Node(quoted, kind, mode, mtime, mtime, mtime, uid=os.getuid(), gid=os.getgid(), content=None)

    root = directory = PendingDirectory(None, "/", None, None)
    *parents, name = path[1:].split("/")
    opened = [root]
    item = ""
    before = known.load(known.root, "/")
    for parent in parents:
        item = f"{item}/{parent}"
        previous = before.find(gojson.to_bytes(parent)) if before is not None else None
        before = known.load(subtree_of(previous), item)
        books.opened(directory)
        directory = PendingDirectory(directory, item + "/", make(parent, DIR, gomode.DIR | 0o755), previous)
        opened.append(directory)
    previous = before.find(gojson.to_bytes(name)) if before is not None else None
    slot = directory.reserve()
    team.progress.start_file(path)
    done = threading.Event()

    def end(file: OpenFile) -> None:
        error = file.error
        if isinstance(error, OSError):
            error = SourceError.from_os("read", gojson.to_bytes(path), error, f"failed to save {path}: ")
        elif error is None and not file.size and not team.stopping():
            error = SourceError(f"failed to save {path}: read {name}: no data read")
        team.progress.end_file(path)
        if isinstance(error, BackupFailed):
            team.fail(type(error)(f"failed to save {path}: {error}"))
        elif error is not None:
            books.error(path, error)
        elif not team.stopping():
            file.node.content = file.blobs
            file.node.size = file.size
            directory.nodes[slot] = encode_node(file.node)
            books.item_done(path, previous, file.node, file.stats, file.started)
        done.set()

    def read(buffer: memoryview) -> int:
        while not source.ready(WAIT):
            if team.stopping():
                return 0
        return source.read(buffer)

    file = OpenFile(path, ChunkReader(read, team.cutter), make(name, FILE, 0o644), end)
    file.shared = True
    team.queue.call_for_help(file, team.helpers)
    try:
        FileSaver(team).take_turns(file)
        while not (done.wait(0.1) or team.stopping()):
            pass
    finally:
        source.close()
    if not team.stopping():
        for directory in reversed(opened):
            books.closed(directory)
