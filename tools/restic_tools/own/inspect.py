"""``inspect``: every byte of a file or object of a repository, explained."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from restic_format.errors import ResticFormatError
from restic_tools.context import Context
from restic_tools.exitcodes import FAILURE, SUCCESS, WRONG_PASSWORD, Failure, exit_code
from restic_tools.own.running import context_of

if TYPE_CHECKING:
    from restic_format.inspect.objects import Inspected, Inspector
    from restic_format.inspect.target import Target
    from restic_tools.own.inspecting.selection import Selection

app = typer.Typer()


@app.command("inspect")
def inspect_command(
    ctx: typer.Context,
    targets: Annotated[list[str], typer.Argument(metavar="target...")],
    everything: Annotated[bool, typer.Option("--all", help="leave nothing out of long lists and values")] = False,
    decoded: Annotated[
        str | None,
        typer.Option("--decoded", metavar="region", help="write what is inside of this region, decrypted, expanded or decoded"),
    ] = None,
    depth: Annotated[
        int | None, typer.Option("--depth", "-d", metavar="n", help="show so many levels of regions; 0 for all of them")
    ] = None,
    diff: Annotated[bool, typer.Option("--diff", help="compare two targets, region by region")] = False,
    hexadecimal: Annotated[bool, typer.Option("--hex", help="show the bytes, with the names of regions beside them")] = False,
    key_file: Annotated[
        str,
        typer.Option("--key-file", metavar="file", help="file with the master key, as printed by `cat masterkey`"),
    ] = "",
    raw: Annotated[
        str | None, typer.Option("--raw", metavar="region", help="write the bytes of this region, as they are")
    ] = None,
    read_data: Annotated[
        bool, typer.Option("--read-data", help="open and hash all blobs of a file in a snapshot, however large it is")
    ] = False,
    region: Annotated[
        str | None, typer.Option("--region", metavar="region", help="show only this region, and what is in it")
    ] = None,
    sealed: Annotated[bool, typer.Option("--sealed", help="open nothing: show what can be known without a password")] = False,
    shared: Annotated[
        bool, typer.Option("--shared", help="show which files and snapshots have the same blobs as a file in a snapshot")
    ] = False,
    show_secrets: Annotated[bool, typer.Option("--show-secrets", help="show the master key that is in a key file")] = False,
) -> int:
    """Explain every byte of a file or object of a repository

    A target is the path of a file (no repository is needed for it), "-" for standard input, or in the repository that is given
    an ID or the beginning of one, "config", "latest", or a kind and an ID: "key/ID", "index/ID", "snapshot/ID", "lock/ID",
    "pack/ID", "blob/ID", "tree/ID". "./config" is a file, "config" the repository's where one is given. "snapshotID:path" is a
    path in a snapshot, which may be "latest".

    Shown are the regions of it, down to the byte, with the clauses of the specification that say what they are, and what is
    wrong with them. With a password, or a master key, also what is inside; without one what can be known: the kind of file,
    whether its name fits, sizes, how strong the key of a password is. A file in the folder of a repository is opened with the
    keys there when a password is given. It is asked for only when a repository is given, at a terminal.

    Long lists are shortened, unless --all is given. Of a pack, an index and a tree not all levels are shown: one line for each
    blob, pack and entry; --depth shows more, and --region one region with all that is in it.

    Of a pack every blob is opened and verified. The master key in a key file is hidden unless --show-secrets is given. No lock
    is taken, as nothing is changed, and files are read past the local cache.

    Of a path in a snapshot the way to it is shown: the trees, the node with all its members, the blobs of a file and the packs
    and index files that each of them is in, or the entries of a directory. The blobs are opened and hashed if they are not more
    than 64 MiB, or with --read-data. With --shared every tree of the repository is read to find who has the same blobs.

    With --diff two targets are compared: their regions, or what the paths in snapshots lead to. Packs, blobs, and entries of
    trees are put side by side by their IDs and names, wherever they stand: "M" has changed, "R" is at another place, "-" is
    only in the first and "+" only in the second. What is the same is shown with --all.

    The exit code is 1 when something is wrong with what is looked at. With --diff it is 0 when there is no difference, 1 when
    there is one, and 2 when the two could not be compared.
    """
    from restic_format.inspect.target import Place, parse_target
    from restic_tools.own.inspecting.opening import make_inspector

    tools = context_of(ctx)
    given = [name for name, value in (("--raw", raw), ("--decoded", decoded), ("--region", region)) if value is not None]
    for_objects = [*given, *(name for name, value in (("--depth", depth), ("--hex", hexadecimal)) if value)]
    for_paths = [name for name, value in (("--shared", shared), ("--read-data", read_data)) if value]
    has_repository = bool(tools.options.repo or tools.options.repository_file)
    if diff:
        from restic_tools.own.inspecting.differences import comparing, show_difference

        with comparing():
            if for_objects or for_paths:
                raise Failure(f"--diff and {[*for_objects, *for_paths][0]} are mutually exclusive")
            pair = [parse_target(text, repository=has_repository) for text in targets]
            inspector = make_inspector(tools, sealed=sealed, key_file=key_file)
            return int(show_difference(tools, inspector, pair, everything=everything, show_secrets=show_secrets))
    if depth is not None and depth < 0:
        raise Failure("--depth must not be negative")
    if len(given) > 1:
        raise Failure(f"{given[0]} and {given[1]} are mutually exclusive")
    if given and len(targets) > 1:
        raise Failure(f"{given[0]} is for one target")
    if tools.options.json and (hexadecimal or raw is not None or decoded is not None):
        raise Failure("--json and --hex, --raw or --decoded are mutually exclusive")
    parsed = [parse_target(text, repository=has_repository) for text in targets]
    if for_objects and any(target.place is Place.SNAPSHOT for target in parsed):
        raise Failure(f"{for_objects[0]} is not for a path in a snapshot")
    if for_paths and any(target.place is not Place.SNAPSHOT for target in parsed):
        raise Failure(f"{for_paths[0]} is for paths in snapshots only, such as latest:/etc/hosts")
    inspector = make_inspector(tools, sealed=sealed, key_file=key_file)

    def show_way(target: Target) -> bool:
        from restic_tools.own.inspecting.paths import show_path

        assert inspector.access is not None
        return show_path(tools, inspector.access, target, everything=everything, shared=shared, read_data=read_data)

    def select(inspected: Inspected) -> Selection:
        from restic_tools.own.inspecting.selection import Selection, depth_of, find_region

        name = raw if raw is not None else decoded if decoded is not None else region
        return Selection(
            inspected,
            depth_of(inspected.kind, depth, region=name is not None),
            None if name is None else find_region(inspected, name),
            show_secrets,
        )

    def show(inspected: Inspected) -> bool:
        from restic_tools.own.inspecting import pages, pieces

        selection = select(inspected)
        if raw is not None:
            return pieces.write_raw(tools, selection)
        if decoded is not None:
            return pieces.write_decoded(tools, selection)
        if tools.options.json:
            return pages.write_json(tools, selection)
        return pages.write_text(tools, selection, hexadecimal=hexadecimal, everything=everything)

    return _inspect(tools, inspector, parsed, show, show_way)


def _inspect(
    tools: Context,
    inspector: Inspector,
    targets: list[Target],
    show: Callable[[Inspected], bool],
    show_way: Callable[[Target], bool],
) -> int:
    """Look at one target after the other; the exit code."""
    from restic_format.inspect.target import Place

    code = SUCCESS
    failed: list[int] = []
    for number, target in enumerate(targets):
        if number and not tools.options.json:
            tools.out.line()
        try:
            if target.place is Place.SNAPSHOT:
                code = code if show_way(target) else FAILURE
                continue
            inspected = inspector.target(target, None if sys.stdin is None else sys.stdin.buffer)
            sound = show(inspected)
        except (ResticFormatError, Failure) as error:
            if len(targets) == 1:
                raise
            _tell(tools, target.text, error)
            failed.append(exit_code(error))
            continue
        if inspected.refused and target.place in (Place.FILE, Place.INPUT):
            code = code or WRONG_PASSWORD
        if inspected.trouble is not None:
            code = code or exit_code(inspected.trouble)
        if not sound:
            code = FAILURE
    if failed:
        raise Failure(f"{len(failed)} of {len(targets)} targets could not be looked at", failed[0])
    return code


def _tell(tools: Context, item: str, error: Exception) -> None:
    from restic_tools.messages import ErrorText, ObjectError

    if tools.options.json:
        tools.out.json_error(ObjectError("error", ErrorText(str(error)), "inspect", item))
    else:
        tools.out.warn(f"{item}: {error}")
