"""``find``: files by patterns, and blobs, trees and packs by ids, in all snapshots or some."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Protocol

from restic_format.errors import ResticFormatError
from restic_format.explore.search import (
    FoundObject,
    Match,
    ObjectSearch,
    PatternSearch,
    blobs_of_packs,
)
from restic_format.filter import AnyPattern, go_lower
from restic_format.repository import Repository
from restic_format.snapshots import FoundSnapshot, filter_snapshots
from restic_format.words import printable
from restic_spec import gomode
from restic_spec.ids import HEX_SIZE
from restic_spec.pack import BlobType
from restic_tools.buffered import Buffered
from restic_tools.commands.ls import load_index
from restic_tools.context import Context
from restic_tools.dates import date_ns
from restic_tools.declare import Argument, Option
from restic_tools.exitcodes import Failure
from restic_tools.gotext import canonical, local_text, quoted
from restic_tools.messages import ErrorText, ObjectError, encode_message
from restic_tools.messages.find import MatchMessage, ObjectMessage
from restic_tools.nodelines import NodeLines
from restic_tools.output import NORMAL, Output, encode
from restic_tools.snapshotfilter import HostOption, PathOption, TagOption, snapshot_filter

_MANY = "(can be given several times)"


def find(
    ctx: Context,
    patterns: Annotated[list[str], Argument(metavar="PATTERN...")],
    blob: Annotated[bool, Option("--blob", help="the patterns are ids of blobs")] = False,
    host: HostOption = None,
    human_readable: Annotated[bool, Option("--human-readable", help="show sizes with units")] = False,
    ignore_case: Annotated[bool, Option("--ignore-case", "-i", help="case does not matter")] = False,
    long: Annotated[bool, Option("--long", "-l", help="show mode, owner, size and time, too")] = False,
    newest: Annotated[str, Option("--newest", "-N", help="only what was modified at this date and time or before")] = "",
    oldest: Annotated[str, Option("--oldest", "-O", help="only what was modified at this date and time or after")] = "",
    pack: Annotated[bool, Option("--pack", help="the patterns are ids of packs")] = False,
    path: PathOption = None,
    reverse: Annotated[bool, Option("--reverse", "-R", help="begin with the oldest snapshot")] = False,
    show_pack_id: Annotated[
        bool, Option("--show-pack-id", help="show which packs the blobs are in (with --blob, --tree or --pack)")
    ] = False,
    snapshot: Annotated[
        list[str] | None, Option("--snapshot", "-s", metavar="id", help=f"only search this snapshot {_MANY}")
    ] = None,
    tag: TagOption = None,
    tree: Annotated[bool, Option("--tree", help="the patterns are ids of trees")] = False,
) -> None:
    """Find files and directories, or blobs, trees and packs

    A pattern is one as for --exclude: "*.txt" fits names anywhere, "/home/*/notes" from the top on; what is in a directory
    that fits is found as well. Snapshots are searched from the newest to the oldest.

    Dates are like 2006-01-02, "2006-01-02 15:04", "2006-01-02 15:04:05 +0200" or "02.01.2006 15:04:05".

    With --blob, --tree or --pack the patterns are ids, whole or their first eight digits; shown is which files and
    directories of which snapshots need these blobs.
    """
    ctx.approach()
    if not patterns:
        raise Failure("wrong number of arguments")
    oldest_ns, newest_ns = _date(oldest), _date(newest)
    if oldest_ns is not None and newest_ns is not None and oldest_ns > newest_ns:
        raise Failure("--oldest must specify a time before --newest")
    if blob + tree + pack > 1:
        raise Failure("cannot have several ID types")
    names = [go_lower(text) for text in patterns] if ignore_case else patterns
    by_id = blob or tree or pack
    fitting = None if by_id else AnyPattern(patterns, ignore_case=ignore_case)
    wanted = snapshot_filter(host, tag, path).absolute()
    faults = Faults(ctx)
    with ctx.open_repository(lock="shared", first=("snapshots", "index")) as repo:
        load_index(ctx, repo)
        blobs, trees = (names if blob else []), (names if tree else [])
        if pack:
            blobs, trees = _in_packs(ctx.out, repo, names)
        found = sorted(filter_snapshots(repo, snapshot or [], wanted, faults.ignored), key=lambda item: (item.time_ns, item.id))
        if not reverse:
            found.reverse()
        roots = [(item, _root(item)) for item in found]
        if fitting is None:
            objects = ObjectSearch(repo, blobs=blobs, trees=trees, once=tree, fault=faults.tell)
            _find_objects(ctx, objects, roots, faults)
            if show_pack_id:
                _show_packs(ctx.out, repo, objects)
        else:
            printer: Printer
            if ctx.options.json:
                printer = JsonPrinter(ctx.out)
            else:
                printer = TextPrinter(ctx.out, NodeLines(ctx.out, long=long, human=human_readable))
            search = PatternSearch(
                repo, fitting, printer.form, size=sys.getsizeof, oldest=oldest_ns, newest=newest_ns, fault=faults.tell
            )
            _find_files(search, roots, faults, printer)
    if faults.count:
        raise Failure(f"There were {faults.count} errors")


def _root(found: FoundSnapshot) -> bytes:
    if not found.snapshot.tree:
        raise Failure(f"snapshot {found.short_id} has no tree")
    return bytes.fromhex(found.snapshot.tree)


def _date(text: str) -> int | None:
    try:
        return date_ns(text)
    except ValueError:
        raise Failure(f"unable to parse time: {quoted(text)}") from None


class Faults:
    """Tells what cannot be read, and counts it. It does not end the search."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self.count = 0
        self.snapshot: FoundSnapshot | None = None
        """The snapshot that is being searched."""
        self.before: Callable[[], None] = lambda: None
        """Called before anything is told: writes what was found so far."""

    def ignored(self, name: str, error: ResticFormatError) -> None:
        """A snapshot that cannot be had."""
        self._ctx.out.warn(f"Ignoring {quoted(name)}: {error}")

    def tell(self, path: str, error: ResticFormatError) -> None:
        """An item or a tree that cannot be used."""
        self.count += 1
        self.before()
        out, where = self._ctx.out, "" if self.snapshot is None else self.snapshot.short_id
        if self._ctx.options.json:
            out.json_error(ObjectError("error", ErrorText(str(error)), "find", f"{where}:{path}"))
        else:
            out.warn(f"ignoring error for {printable(path)} in snapshot {where}: {error}")


def _in_packs(out: Output, repo: Repository, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The ids of the blobs and of the trees in packs."""
    content = blobs_of_packs(repo, names)
    if content.from_index:
        packs = " ".join(content.from_index)
        out.warn(
            f"some pack files are missing from the repository, getting their blobs from the repository index: [{packs}]\n",
            block=True,
        )
    if content.missing:
        raise Failure(f"unable to find pack(s): [{' '.join(content.missing)}]")
    return content.blobs, content.trees


class Printer(Protocol):
    """Prints what was found in snapshots; one class per output format."""

    def form(self, match: Match) -> bytes:
        """A match as it is printed."""

    def snapshot(self, found: FoundSnapshot) -> None:
        """The beginning of a snapshot in which something was found."""

    def match(self, form: bytes) -> None:
        """A match."""

    def end(self, found: FoundSnapshot, hits: int) -> None:
        """The end of a snapshot."""

    def push(self) -> None:
        """Write what is pending."""

    def close(self) -> None:
        """The end of everything."""


def _find_files(
    search: PatternSearch[bytes], snapshots: Sequence[tuple[FoundSnapshot, bytes]], faults: Faults, printer: Printer
) -> None:
    faults.before = printer.push
    for found, root in snapshots:
        faults.snapshot = found
        hits = 0
        for match in search.matches(root):
            if not hits:
                printer.snapshot(found)
            hits += 1
            printer.match(match)
        if hits:
            printer.end(found, hits)
    printer.close()


class TextPrinter(Buffered):
    """A heading for each snapshot in which something was found, a line for each match."""

    def __init__(self, out: Output, lines: NodeLines) -> None:
        super().__init__(out)
        self._lines = lines
        self._first = True
        self._headings = out.verbosity >= NORMAL

    def snapshot(self, found: FoundSnapshot) -> None:
        """The heading, unless --quiet."""
        if self._headings:
            heading = f"Found matching entries in snapshot {found.short_id} from {local_text(found.snapshot.time)}\n"
            self.put(encode(heading if self._first else f"\n{heading}"))
            self._first = False

    def form(self, match: Match) -> bytes:
        """The line of a match."""
        return encode(f"{self._lines.line(match.path, match.node)}\n")

    def match(self, form: bytes) -> None:
        """A match."""
        self.put(form)

    def end(self, found: FoundSnapshot, hits: int) -> None:
        """Nothing."""

    def close(self) -> None:
        """Write what is pending."""
        self.push()


class JsonPrinter(Buffered):
    """An array of snapshots, each with an array of matches."""

    def __init__(self, out: Output) -> None:
        super().__init__(out)
        self._start = b"["
        self._comma = b""

    def snapshot(self, found: FoundSnapshot) -> None:
        """The beginning of a snapshot."""
        del found
        self.put(self._start + b'{"matches":[')
        self._start, self._comma = b",", b""

    def form(self, match: Match) -> bytes:
        """The message of a match."""
        return encode_message(match_message(match))

    def match(self, form: bytes) -> None:
        """A match."""
        self.put(self._comma + form)
        self._comma = b","

    def end(self, found: FoundSnapshot, hits: int) -> None:
        """The end of a snapshot."""
        self.put(b'],"hits":%d,"snapshot":"%s"}' % (hits, found.id.hex().encode()))

    def close(self) -> None:
        """The end of the array."""
        self.put(b"[]\n" if self._start == b"[" else b"]\n")
        self.push()


def match_message(match: Match) -> MatchMessage:
    """A match as a message."""
    node = match.node
    return MatchMessage(
        path=match.path,
        permissions=gomode.mode_string(node.mode),
        type=node.type,
        mode=node.mode,
        mtime=canonical(node.mtime),
        atime=canonical(node.atime),
        ctime=canonical(node.ctime),
        uid=node.uid or 0,
        gid=node.gid or 0,
        user=node.user,
        group=node.group,
        inode=node.inode,
        device_id=node.device_id,
        size=node.size,
        links=node.links,
        linktarget=node.target,
        error=node.error,
    )


def _find_objects(ctx: Context, search: ObjectSearch, snapshots: Sequence[tuple[FoundSnapshot, bytes]], faults: Faults) -> None:
    out = Buffered(ctx.out)
    faults.before = out.push
    shown = printable if ctx.out.stdout_is_terminal else str
    start = b"["
    for found, root in snapshots:
        faults.snapshot = found
        for place in search.places(root):
            if ctx.options.json:
                out.put(start + encode_message(_object_message(place, found)))
                start = b","
            else:
                out.put(encode(_object_text(place, found, shown(place.path))))
    if ctx.options.json:
        out.put(b"[]\n" if start == b"[" else b"]\n")
    out.push()


def _kind(place: FoundObject) -> str:
    return "tree" if place.type is BlobType.TREE else "blob"


def _object_text(place: FoundObject, found: FoundSnapshot, path: str) -> str:
    where = f" ... in snapshot {found.short_id} ({local_text(found.snapshot.time)})\n"
    if place.type is BlobType.TREE:
        return f"Found tree {place.id}\n ... path {path}\n{where}"
    return f"Found blob {place.id}\n ... in file {path}\n     (tree {place.parent})\n{where}"


def _object_message(place: FoundObject, found: FoundSnapshot) -> ObjectMessage:
    return ObjectMessage(
        object_type=_kind(place),
        id=place.id,
        path=place.path,
        parent_tree=place.parent,
        snapshot=found.id.hex(),
        time=canonical(found.snapshot.time),
    )


def _show_packs(out: Output, repo: Repository, search: ObjectSearch) -> None:
    """In which pack everything is that was searched for; with --json as well, as in restic."""
    lines = Buffered(out)
    shown = printable if out.stdout_is_terminal else str
    for kind, ids in ((BlobType.DATA, search.blobs), (BlobType.TREE, search.trees)):
        for text in ids:
            lines.put(encode(_pack_text(repo, kind, text, shown(text))))
    lines.push()


def _pack_text(repo: Repository, kind: BlobType, text: str, shown: str) -> str:
    reason = _not_an_id(text)
    if reason:
        return f"Note: cannot find pack for object '{shown}', unable to parse ID: {reason}\n"
    blob = bytes.fromhex(text)
    short = text[:8].lower() if any(blob) else "[null]"
    place = repo.index.lookup(kind, blob)
    if place is None:
        return f"Object {kind.value} with type {short} not found in the index\n"
    pack = place.pack.hex()
    return (
        f"Object belongs to pack {pack}\n ... Pack {pack[:8]}: <Blob ({kind.value}) {short}, offset {place.offset}, "
        f"length {place.length}, uncompressed length {place.uncompressed_length or 0}>\n"
    )


def _not_an_id(text: str) -> str:
    """Why *text* is not an id, in restic's words; empty where it is one."""
    raw = encode(text)
    if len(raw) != HEX_SIZE:
        return f"invalid length for ID: {quoted(text)}"
    wrong = next((chr(byte) for byte in raw if byte not in b"0123456789abcdefABCDEF"), None)
    if wrong is None:
        return ""
    return f"invalid ID: encoding/hex: invalid byte: U+{ord(wrong):04X}" + (f" '{wrong}'" if wrong.isprintable() else "")
