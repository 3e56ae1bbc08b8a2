"""``mount``: the repository as a file system."""

from __future__ import annotations

import os
from typing import Annotated

from restic_format.errors import ResticFormatError
from restic_format.words import printable
from restic_tools.access import repository_location
from restic_tools.context import Context
from restic_tools.declare import Argument, Option
from restic_tools.exitcodes import Failure
from restic_tools.flagtypes import byte_size
from restic_tools.snapshotfilter import HostOption, PathOption, TagOption, snapshot_filter

TIME_TEMPLATE = "2006-01-02T15:04:05Z07:00"
CACHE_SIZE = 256 << 20
SMALLEST_CACHE, LARGEST_CACHE = 32 << 20, 64 << 30
DEADLOCK = "refusing to mount to avoid deadlocking the FUSE server"


def cache_size(text: str) -> int:
    """Read a ``--cache-size`` value: MiB, or a size with a unit."""
    value = int(text) << 20 if text.isascii() and text.isdecimal() and len(text) < 10 else byte_size(text)
    if not SMALLEST_CACHE <= value <= LARGEST_CACHE:
        raise ValueError(f"the size must be {SMALLEST_CACHE >> 20} MiB to {LARGEST_CACHE >> 30} GiB")
    return value


def mount(
    ctx: Context,
    words: Annotated[list[str], Argument(metavar="mountpoint")],
    allow_other: Annotated[
        bool, Option("--allow-other", help="allow other users to access the data in the mounted directory")
    ] = False,
    host: HostOption = None,
    no_default_permissions: Annotated[
        bool,
        Option("--no-default-permissions", help="with --allow-other, let other users read everything, whatever the modes say"),
    ] = False,
    owner_root: Annotated[bool, Option("--owner-root", help="show root as the owner of files and directories")] = False,
    path: PathOption = None,
    path_template: Annotated[
        list[str] | None,
        Option("--path-template", metavar="template", help="template for path names (can be given several times)"),
    ] = None,
    tag: TagOption = None,
    time_template: Annotated[
        str, Option("--time-template", metavar="template", help="template for times, written like Go's sample time")
    ] = TIME_TEMPLATE,
    snapshot_template: Annotated[
        str | None, Option("--snapshot-template", metavar="template", deprecated="use --time-template", help="")
    ] = None,
    size: Annotated[
        int | None,
        Option(
            "--cache-size",
            metavar="size",
            parser=cache_size,
            help="memory for what was read: MiB, or a number with a unit like 512M or 2G (default: 256)",
        ),
    ] = None,
) -> None:
    """Mount the repository

    The repository appears read-only at the mount point, a directory, until it is unmounted or the command is interrupted.
    It needs Linux and /dev/fuse; who is not root also needs the program fusermount3.

    Snapshots appear in directories whose names --path-template and --time-template make. A time template shows how this
    time is to be written:

        Mon Jan 2 15:04:05 -0700 MST 2006

    for instance "2006-01-02_15-04-05". In a path template these are replaced:

        %i  short snapshot ID
        %I  long snapshot ID
        %u  user name
        %h  host name
        %t  tags, each of them
        %T  time, as --time-template says

    The default path templates are "ids/%i", "snapshots/%T", "hosts/%h/%T" and "tags/%t/%T". Where a template ends with %T,
    "latest" is a link to the last snapshot.

    New snapshots appear after some seconds. What cannot be read is named on standard error; reading it fails, everything else
    goes on.
    """
    layout = time_template if snapshot_template is None else snapshot_template
    if not layout:
        raise Failure("time template string cannot be empty")
    if layout.startswith("/") or layout.endswith("/"):
        raise Failure("time template string cannot start or end with '/'")
    if len(words) != 1:
        raise Failure("wrong number of parameters")
    mountpoint = words[0]
    check_mountpoint(mountpoint)
    check_overlap(repository_location(ctx.options), mountpoint)

    from restic_format.mount import Mount, MountOptions
    from restic_format.work import Cancel
    from restic_tools.memory import few_arenas
    from restic_tools.messages import ErrorText, ObjectError
    from restic_tools.messages.mount import Mounted

    few_arenas()

    def told(where: str, error: ResticFormatError) -> None:
        if ctx.options.json:
            ctx.out.json_error(ObjectError("error", ErrorText(str(error)), "mount", where))
        else:
            ctx.out.warn(f"error: {printable(where)}: {error}")

    options = MountOptions(
        path_templates=path_template or MountOptions().path_templates,
        time_template=layout,
        snapshots=snapshot_filter(host, tag, path),
        owner_root=owner_root,
        allow_other=allow_other,
        default_permissions=not no_default_permissions,
        cache_size=CACHE_SIZE if size is None else size,
    )
    with ctx.open_repository(lock="shared", first=("snapshots", "index")) as repository:
        repository.load_index()
        ctx.out.line("Loading snapshots...")
        mounted = Mount(repository, mountpoint, options, told=told)
        cancel = Cancel(health=ctx.check_lock)
        with ctx.interrupt.deferred(cancel.set), mounted:
            if ctx.options.json:
                ctx.out.json(Mounted("mounted", mountpoint))
            ctx.out.line(f"Now serving the repository at {printable(mountpoint)}")
            ctx.out.line("Use another terminal or tool to browse the contents of this folder.")
            ctx.out.line("When finished, quit with Ctrl-c here or umount the mountpoint.")
            ctx.out.flush()
            mounted.serve(cancel)


def check_mountpoint(mountpoint: str) -> None:
    """Raise `Failure` unless it is a directory that can be mounted on; before anybody is asked for a password."""
    shown = printable(mountpoint)
    try:
        is_directory = os.path.isdir(mountpoint)
        os.stat(mountpoint)
    except FileNotFoundError:
        raise Failure(f"mountpoint {shown} does not exist") from None
    except (OSError, ValueError) as error:
        from restic_format.systemtext import errno_text

        reason = errno_text(error) if isinstance(error, OSError) else str(error)
        raise Failure(f"mountpoint {shown} is inaccessible: stat {shown}: {reason}") from None
    if not is_directory:
        raise Failure(f"mountpoint {shown} is not a directory")
    if not os.access(mountpoint, os.W_OK | os.X_OK):
        raise Failure(f"mountpoint {shown} is not writeable or not executable")


def check_overlap(location: str, mountpoint: str) -> None:
    """Raise `Failure` where reading the repository would go through the mount itself."""
    from restic_format.storage.locations import parse_location

    scheme, rest = parse_location(location)
    if scheme != "local":
        return
    repository, mounted = os.path.realpath(rest), os.path.realpath(mountpoint)
    shown, here = printable(repository), printable(mounted)
    if repository == mounted:
        raise Failure(f"mountpoint {here} is the local repository directory; {DEADLOCK}")
    if _is_below(mounted, repository):
        raise Failure(f"mountpoint {here} is inside the local repository directory {shown}; {DEADLOCK}")
    if _is_below(repository, mounted):
        raise Failure(f"local repository directory {shown} is inside the mountpoint {here}; {DEADLOCK}")


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip("/") + "/")
