"""``ls``: the files in a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, NamedTuple, Protocol

import msgspec

from restic_format.errors import ResticFormatError
from restic_format.filter import clean_path
from restic_format.repository import Repository
from restic_format.snapshots import FoundSnapshot, Level, Walk, find_snapshot, resolve_subfolder
from restic_format.words import printable
from restic_spec import gomode, gotime
from restic_spec import tree as tree_format
from restic_spec.tree import Node
from restic_tools.buffered import FLUSH_EVERY, Buffered
from restic_tools.context import Context
from restic_tools.declare import Argument, Option
from restic_tools.exitcodes import Failure
from restic_tools.gotext import canonical, full_text
from restic_tools.messages import ErrorText, ObjectError, encode_message
from restic_tools.messages.ls import LsSummary, NcduNode, NodeMessage
from restic_tools.messages.snapshots import snapshot_fields, snapshot_message
from restic_tools.nodelines import NodeLines
from restic_tools.output import Output, encode
from restic_tools.snapshotfilter import HostOption, PathOption, TagOption, snapshot_filter

SORT_MODES = ("name", "size", "time", "atime", "ctime", "extension")
NCDU_BLOCK = 512

SORT_NAMES = ("name", "size", "time", "mtime", "atime", "ctime", "extension")


def sort_option(text: str) -> str:
    """Read a ``--sort`` value; ``mtime`` is another name for ``time``."""
    mode = "time" if text == "mtime" else text
    if mode not in SORT_MODES:
        raise ValueError(f'invalid sort mode "{text}", must be one of (name|size|time=mtime|atime|ctime|extension)')
    return mode


def ls(
    ctx: Context,
    words: Annotated[list[str], Argument(metavar="snapshotID [dir...]", values=("latest",))],
    host: HostOption = None,
    tag: TagOption = None,
    path: PathOption = None,
    long: Annotated[bool, Option("--long", "-l", help="show mode, owner, size and time, too")] = False,
    human_readable: Annotated[bool, Option("--human-readable", help="show sizes with units")] = False,
    recursive: Annotated[bool, Option("--recursive", help="show everything below the given directories")] = False,
    sort: Annotated[
        str,
        Option(
            "--sort",
            "-s",
            metavar="mode",
            parser=sort_option,
            values=SORT_NAMES,
            help="sort by name, size, time (or mtime), atime, ctime or extension",
        ),
    ] = "name",
    reverse: Annotated[bool, Option("--reverse", help="reverse the order")] = False,
    ncdu: Annotated[bool, Option("--ncdu", help="write the format that 'ncdu -f -' reads")] = False,
    summary: Annotated[bool, Option("--summary", help="show at the end how much was listed")] = False,
) -> None:
    """List the files in a snapshot

    The snapshot "latest" is the latest one that matches --host, --tag and --path, "latest~1" the one before it.
    "snapshotID:subfolder" lists only that directory of the snapshot.

    With directories after the ID, only these and what is directly in them are listed, with --recursive everything below
    them. They must be absolute paths with '/' as separator.
    """
    ctx.approach()
    if not words:
        raise Failure("no snapshot ID specified, specify snapshot ID or use special ID 'latest'")
    if ncdu and ctx.options.json:
        raise Failure("only either '--json' or '--ncdu' can be specified")
    sorted_output = sort != "name" or reverse
    if ncdu and sorted_output:
        raise Failure(f"--{'sort' if sort != 'name' else 'reverse'} and --ncdu are mutually exclusive")
    if ncdu and summary:
        raise Failure("--summary and --ncdu are mutually exclusive")
    directories = words[1:]
    if any(not name.startswith("/") for name in directories):
        raise Failure("All path filters must be absolute, starting with a forward slash '/'")
    wanted = Wanted([clean_path(name) for name in directories], recursive)
    printer: Printer
    if ctx.options.json:
        printer = JsonPrinter(ctx.out)
    elif ncdu:
        printer = NcduPrinter(ctx.out)
    else:
        printer = TextPrinter(ctx.out, directories, long=long, human=human_readable)
    if sorted_output:
        printer = SortedPrinter(printer, sort, reverse=reverse)
    with ctx.open_repository(lock="shared", first=("snapshots", "index")) as repo:
        found, subfolder = find_snapshot(repo, words[0], snapshot_filter(host, tag, path))
        load_index(ctx, repo)
        if not found.snapshot.tree:
            raise Failure(f"snapshot {found.short_id} has no tree")
        root = resolve_subfolder(repo, bytes.fromhex(found.snapshot.tree), subfolder)
        printer.snapshot(found, root.hex())
        totals = Totals()
        faults = _walk(ctx, repo, root, wanted, printer, totals)
        printer.close()
        if summary:
            totals.print(ctx.out)
    if faults:
        raise Failure(f"There were {faults} errors")


def load_index(ctx: Context, repo: Repository, damaged: Callable[[bytes, ResticFormatError], None] | None = None) -> None:
    """Load the index, with a counter for people. Files that cannot be read go to *damaged*; without it they are raised."""
    if not ctx.out.stdout_is_terminal:
        repo.load_index(damaged=damaged)
        return
    with ctx.counter("index files loaded", 0) as counter:

        def loaded(done: int, total: int) -> None:
            counter.done, counter.total = done, total

        repo.load_index(loaded, damaged)


class Totals:
    """How much was listed: directories, everything else, and the bytes of files."""

    def __init__(self) -> None:
        self.dirs = 0
        self.files = 0
        self.bytes = 0

    def add(self, node: Node) -> None:
        """Count a node."""
        if node.type == tree_format.DIR:
            self.dirs += 1
        else:
            self.files += 1
            self.bytes += node.size

    def print(self, out: Output) -> None:
        """The line, or the message."""
        if out.json_mode:
            out.json(LsSummary("summary", self.dirs, self.files, self.bytes))
        else:
            out.line(f"total: {self.dirs} dirs, {self.files} files, {self.bytes} bytes")


class Wanted(NamedTuple):
    """The paths that the arguments ask for; without directories, all."""

    directories: list[str]
    recursive: bool

    def within(self, path: str) -> bool:
        """Whether ``path`` is one of the directories or lies below one."""
        return not self.directories or any(_below(path, directory) for directory in self.directories)

    def leads_on(self, path: str) -> bool:
        """Whether something wanted lies below ``path``."""
        if not self.directories:
            return True
        return any(_below(directory, path) for directory in self.directories) or (self.recursive and self.within(path))


def _below(path: str, directory: str) -> bool:
    return directory == "/" or path == directory or path.startswith(directory + "/")


class Printer(Protocol):
    """Prints the nodes that the walk finds; one class per output format."""

    def snapshot(self, found: FoundSnapshot, tree: str) -> None:
        """The snapshot, and the tree the walk begins with."""

    def node(self, path: str, node: Node, *, prefix: bool) -> None:
        """A node; ``prefix`` says that it only leads to what is wanted."""

    def leave(self) -> None:
        """The end of the directory whose node came last and was not left yet."""

    def close(self) -> None:
        """The end of everything."""


def _walk(ctx: Context, repo: Repository, tree: bytes, wanted: Wanted, printer: Printer, totals: Totals) -> int:
    """Give everything wanted to *printer*, counted in *totals*; how many items or trees could not be used."""
    faults = 0

    def fault(level: Level[None], node: Node | None, error: ResticFormatError) -> None:
        nonlocal faults
        faults += 1
        location = level.place_of(node)
        if ctx.options.json:
            ctx.out.json_error(ObjectError("error", ErrorText(str(error)), "ls", location))
        else:
            ctx.out.warn(f"ignoring error for {printable(location)}: {error}")

    def left(level: Level[None]) -> None:
        if level.above is not None:
            printer.leave()

    everything = not wanted.directories
    walk = Walk(repo, tree, None, fault=fault, left=left)
    directory: Level[None] | None = None
    prefix = ""
    for level, node, name in walk:
        if level is not directory:
            directory, prefix = level, level.prefix
        path = f"{prefix}/{name}"
        within, leads_on = everything or wanted.within(path), everything or wanted.leads_on(path)
        if not (within or leads_on):
            continue
        try:
            printer.node(path, node, prefix=not within)
        except ResticFormatError as error:
            fault(level, node, error)
            continue
        if within:
            totals.add(node)
        if node.type != tree_format.DIR:
            continue
        if leads_on:
            try:
                walk.enter(node, name, None)
                continue
            except ResticFormatError as error:
                fault(level, node, error)
        printer.leave()
    return faults


class TextPrinter:
    """A line for each node, for people."""

    def __init__(self, out: Output, directories: Sequence[str], *, long: bool, human: bool) -> None:
        self.out = out
        self._lines: list[str] = []
        self._size = 0
        """Characters of the lines that are pending."""
        self._directories = directories
        self._form = NodeLines(out, long=long, human=human)

    def snapshot(self, found: FoundSnapshot, tree: str) -> None:
        """The heading, unless --quiet."""
        del tree
        snapshot = found.snapshot
        self.out.info(
            f"snapshot {found.short_id} of [{' '.join(map(printable, snapshot.path_list()))}] at {full_text(snapshot.time)} "
            f"by {printable(snapshot.username)}@{printable(snapshot.hostname)} "
            f"filtered by [{' '.join(map(printable, self._directories))}]:"
        )

    def node(self, path: str, node: Node, *, prefix: bool) -> None:
        """The node's line."""
        if prefix:
            return
        text = self._form.line(path, node)
        self._lines.append(text)
        self._size += len(text)
        if self._size >= FLUSH_EVERY:
            self._push()

    def _push(self) -> None:
        self._lines.append("")
        self.out.write(encode("\n".join(self._lines)))
        self._lines.clear()
        self._size = 0

    def leave(self) -> None:
        """Nothing: paths are written whole."""

    def close(self) -> None:
        """Write what is pending."""
        if self._lines:
            self._push()


class JsonPrinter(Buffered):
    """A message for the snapshot and one for each node."""

    def snapshot(self, found: FoundSnapshot, tree: str) -> None:
        """The ``snapshot`` message."""
        self.put(encode_message(snapshot_message(found, tree=tree, kind="snapshot")) + b"\n")

    def node(self, path: str, node: Node, *, prefix: bool) -> None:
        """The ``node`` message."""
        if not prefix:
            self.put(encode_message(node_message(path, node)) + b"\n")

    def leave(self) -> None:
        """Nothing: paths are written whole."""

    def close(self) -> None:
        """Write what is pending."""
        self.push()


def node_message(path: str, node: Node) -> NodeMessage:
    """A node of a tree as the message ``ls`` and other commands print."""
    return NodeMessage(
        name=node.name,
        type=node.type,
        path=path,
        uid=node.uid or 0,
        gid=node.gid or 0,
        size=node.size if node.type == tree_format.FILE else msgspec.UNSET,
        mode=node.mode or msgspec.UNSET,
        permissions=gomode.mode_string(node.mode),
        mtime=canonical(node.mtime),
        atime=canonical(node.atime),
        ctime=canonical(node.ctime),
        inode=node.inode or msgspec.UNSET,
    )


class NcduPrinter(Buffered):
    """The export format of ncdu: nested arrays, a directory's own entry first."""

    def __init__(self, out: Output) -> None:
        super().__init__(out)
        self._depth = 0

    def snapshot(self, found: FoundSnapshot, tree: str) -> None:
        """The head: format version, metadata, the root."""
        fields = snapshot_fields(found.snapshot)
        fields.tree = tree
        self.put(b"[1, 2, " + encode_message(fields) + b', [{"name":"/"}')
        self._depth = 1

    def node(self, path: str, node: Node, *, prefix: bool) -> None:
        """A node's entry; a directory's opens its array."""
        del path, prefix
        entry = encode_message(ncdu_node(node))
        self.put(b",\n" + b"  " * self._depth)
        if node.type == tree_format.DIR:
            self._depth += 1
            self.put(b"[\n" + b"  " * self._depth)
        self.put(entry)

    def leave(self) -> None:
        """The end of a directory's array."""
        self._depth -= 1
        self.put(b"\n" + b"  " * self._depth + b"]")

    def close(self) -> None:
        """The ends of the root's array and of the whole."""
        self.put(b"\n]\n]\n")
        self.push()


def ncdu_node(node: Node) -> NcduNode:
    """A node in ncdu's terms."""
    return NcduNode(
        name=node.name,
        asize=node.size,
        dsize=-(-node.size // NCDU_BLOCK) * NCDU_BLOCK,
        dev=node.device_id,
        ino=node.inode,
        nlink=node.links,
        notreg=node.type not in (tree_format.DIR, tree_format.FILE),
        uid=node.uid or 0,
        gid=node.gid or 0,
        mode=gomode.to_permissions(node.mode),
        # ncdu refuses negative times.
        mtime=max(0, gotime.parse_ns(canonical(node.mtime)) // gotime.NS),
    )


class SortedPrinter:
    """Collects the nodes and gives them to another printer in order, that of the tree for names; ties go by path."""

    def __init__(self, inner: Printer, mode: str, *, reverse: bool) -> None:
        self.inner = inner
        self.mode = mode
        self.reverse = reverse
        self._nodes: list[tuple[str, Node]] = []

    def snapshot(self, found: FoundSnapshot, tree: str) -> None:
        """Passed on."""
        self.inner.snapshot(found, tree)

    def node(self, path: str, node: Node, *, prefix: bool) -> None:
        """Kept until the end."""
        if not prefix:
            self._nodes.append((path, node))

    def leave(self) -> None:
        """Nothing: the order is not the tree's."""

    def close(self) -> None:
        """Sort and pass on."""
        if self.mode != "name":
            self._nodes.sort(key=self._key)
        if self.reverse:
            self._nodes.reverse()
        for path, node in self._nodes:
            self.inner.node(path, node, prefix=False)
        self.inner.close()

    def _key(self, item: tuple[str, Node]) -> tuple[object, bytes]:
        path, node = item
        raw = encode(path)
        match self.mode:
            case "size":
                return node.size, raw
            case "time":
                return gotime.parse_ns(canonical(node.mtime)), raw
            case "atime":
                return gotime.parse_ns(canonical(node.atime)), raw
            case "ctime":
                return gotime.parse_ns(canonical(node.ctime)), raw
            case _:
                return encode(_extension(node.name)), raw


def _extension(name: str) -> str:
    """What follows the last dot, dot included (Go's ``path.Ext``: also for names that begin with their only dot)."""
    dot = name.rfind(".")
    return name[dot:] if dot >= 0 else ""
