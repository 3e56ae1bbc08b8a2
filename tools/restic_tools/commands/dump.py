"""``dump``: a file of a snapshot, or a folder of one as an archive."""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, NamedTuple

from restic_format.errors import ResticFormatError, SnapshotNotFound
from restic_format.snapshots import find_snapshot, resolve_subfolder, stat, subtree_of
from restic_format.words import printable
from restic_spec.tree import DIR, FILE, Node
from restic_tools.commands.ls import load_index
from restic_tools.context import Context
from restic_tools.declare import Argument, Option
from restic_tools.exitcodes import Failure
from restic_tools.gotext import quoted
from restic_tools.rawoutput import Write, new_file, standard_output
from restic_tools.snapshotfilter import HostOption, PathOption, TagOption, snapshot_filter

if TYPE_CHECKING:
    from restic_format.explore.dump import Form
    from restic_format.repository import Repository

FORMS = ("tar", "zip", "tar.gz", "tar.zst")
"""Forms of an archive."""


def dump(
    ctx: Context,
    words: Annotated[list[str], Argument(metavar="snapshotID file", values=("latest",))],
    archive: Annotated[
        str | None,
        Option(
            "--archive",
            "-a",
            metavar="format",
            values=FORMS,
            help="set the format of the archive to tar, zip, tar.gz or tar.zst",
            otherwise="what the ending of --target says, or else tar",
        ),
    ] = None,
    host: HostOption = None,
    path: PathOption = None,
    tag: TagOption = None,
    target: Annotated[str, Option("--target", "-t", metavar="path", help="write the output to this file")] = "",
) -> None:
    """Print a backed-up file to stdout

    A file is printed as it is. A folder is printed as an archive of what is in it, in the tar format unless --archive or the
    ending of --target say otherwise; "/" stands for the whole snapshot.

    The snapshot "latest" is the latest one that matches --host, --tag and --path, "latest~1" the one before it. With
    "snapshotID:subfolder" the paths in the archive begin at that subfolder, by its path in the output of "ls".

    With --target the file gets its name when all of it is there. Where something cannot be read the output ends, and an archive
    lacks its end mark.
    """
    ctx.approach()
    if len(words) != 2:
        raise Failure("no file and no snapshot ID specified")
    if archive is not None and archive not in FORMS:
        raise Failure(f'unknown archive format "{archive}"', plain=True)
    with ctx.open_repository(lock="shared", first=("snapshots", "index")) as repo:
        try:
            found, subfolder = find_snapshot(repo, words[0], snapshot_filter(host, tag, path))
        except ResticFormatError as error:
            raise Failure(f"failed to find snapshot: {error}") from error
        if target:
            load_index(ctx, repo)
        else:
            repo.load_index()
        if not found.snapshot.tree:
            raise Failure(f"snapshot {found.short_id} has no tree")
        root = resolve_subfolder(repo, bytes.fromhex(found.snapshot.tree), subfolder)
        with _failing():
            item = _find(repo, root, words[1])
        if item.node.type != FILE and not target and ctx.out.stdout_is_terminal:
            raise Failure("cannot dump file: stdout is the terminal, please redirect output")
        with new_file(target) if target else standard_output(ctx.out) as write, _failing():
            left_out = _dump(ctx, repo, item, _form(archive, target), write)
        if left_out:
            raise Failure(f"the archive lacks {left_out} extended attributes")


def _form(archive: str | None, target: str) -> Form:
    from restic_format.explore.dump import Form

    return Form.of_file(target) if archive is None else Form(archive)


class _Item(NamedTuple):
    """What is to be written: a file, or a folder."""

    path: str
    node: Node


def _find(repo: Repository, root: bytes, text: str) -> _Item:
    """The item that the command line names; errors in restic's words."""
    path = posixpath.normpath("/" + text).replace("//", "/")
    if path == "/":
        if not text.startswith("/"):
            raise Failure('cannot dump file: path "/" not found in snapshot')
        return _Item("/", Node(quoted="", type=DIR, subtree=root.hex()))
    walked = ""
    tree = root
    names = path[1:].split("/")
    for number, name in enumerate(names):
        walked = f"{walked}/{name}"
        try:
            node = stat(repo, tree, name)
        except SnapshotNotFound:
            raise Failure(f"cannot dump file: path {quoted(walked)} not found in snapshot") from None
        assert node is not None
        if number == len(names) - 1:
            if node.type not in (FILE, DIR):
                raise Failure(f"cannot dump file: {quoted(walked)} should be a file, but is a {quoted(node.type)}")
            return _Item(walked, node)
        if node.type != DIR:
            raise Failure(f"cannot dump file: {quoted(walked)} should be a dir, but is a {quoted(node.type)}")
        tree = subtree_of(node)
    raise AssertionError("a path has a last name")


def _dump(ctx: Context, repo: Repository, item: _Item, form: Form, write: Write) -> int:
    """Write the item; how many attributes an archive lacks."""
    from restic_format.explore.dump import dump_file, dump_tree
    from restic_format.work import Cancel

    cancel = Cancel(health=ctx.interrupt.check)
    if item.node.type == FILE:
        dump_file(repo, item.node, write, cancel=cancel)
        return 0
    left_out = 0

    def told(path: str, attribute: str) -> None:
        nonlocal left_out
        left_out += 1
        ctx.out.warn(f"/{printable(path)}: the archive cannot hold the attribute {printable(attribute)}; it is left out")

    dump_tree(repo, subtree_of(item.node), write, path=item.path, form=form, left_out=told, cancel=cancel)
    return left_out


@contextlib.contextmanager
def _failing() -> Iterator[None]:
    """Say what could not be done when something cannot be read."""
    try:
        yield
    except ResticFormatError as error:
        raise Failure(f"cannot dump file: {error}") from error
