"""``diagnose``: what is damaged in a repository, what that costs, and what may help."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from restic_tools.context import Context
from restic_tools.exitcodes import FAILURE, SUCCESS, Failure
from restic_tools.htmlpage.writing import check_target, write_page
from restic_tools.own.running import context_of

if TYPE_CHECKING:
    from restic_format.check.packs import PackReading
    from restic_format.check.subset import Bucket
    from restic_format.rescue.diagnosis import DiagnosisEvent, Opened
    from restic_format.work import Cancel, Progress

app = typer.Typer()
merge_app = typer.Typer()

AllOption = Annotated[bool, typer.Option("--all", help="leave nothing out of long lists")]
HtmlOption = Annotated[
    str | None,
    typer.Option("--html", metavar="file", help="write a page for a browser into this file; - is standard output"),
]
ResumeOption = Annotated[
    str,
    typer.Option("--resume", metavar="file", help="keep in this file what was read, and do not read it again the next time"),
]


@app.command()
def diagnose(
    ctx: typer.Context,
    everything: AllOption = False,
    dask: Annotated[
        str | None,
        typer.Option(
            "--dask",
            metavar="[address]",
            help="let the workers of the Dask cluster with this scheduler read the packs; without an address, this machine's",
        ),
    ] = None,
    html: HtmlOption = None,
    resume: ResumeOption = "",
    shard: Annotated[
        str,
        typer.Option("--shard", metavar="k/n", help="only read the kth of n shares of the packs, into the file of --resume"),
    ] = "",
    sealed: Annotated[bool, typer.Option("--sealed", help="open nothing: hold every file against its name only")] = False,
) -> int:
    """Show what is damaged, what that costs and what may help

    Everything is read: keys, locks, snapshots, index files, and every pack with all that is in it. It never stops at a fault,
    and goes on where others give up: without the config, beside damaged keys, with no index at all.

    Of each fault it tells where it most likely comes from, which snapshots, files and bytes it costs, and what may bring them
    back; of each snapshot how much of it is whole.

    Nothing is changed, and no lock is taken: run no other program on the repository meanwhile, or what it writes may look like
    damage. The repository itself is read, whatever is cached.

    A large repository is read in parts: with --resume what was read is kept, so that a diagnosis that was interrupted goes on.
    With --shard several machines each read a share of the packs; `diagnose merge` then puts their files together.

    With --dask each worker of a cluster opens the repository itself, at the same path as here, and reads some of the packs. The
    key goes to them through the cluster's connections: use one that you trust, and tls:// between machines.

    --html writes one page that opens without a network; it holds names and paths from the repository, and no secrets.

    The exit code is 1 when something is damaged. What was left behind and is not needed is no damage.
    """
    tools = context_of(ctx)
    check_target(tools, html)
    share = _share(shard, resume, html)
    if sealed and (resume or dask is not None):
        raise Failure(f"--sealed reads no blobs: leave out {'--resume' if resume else '--dask'}")
    if dask is not None and share is not None:
        raise Failure("--shard and --dask are mutually exclusive")
    opened = _open(tools, sealed=sealed)
    if share is not None:
        return _read_share(tools, opened, share, resume)
    return _show(tools, opened, html, everything=everything, resume=resume, dask=dask)


@merge_app.command()
def merge(
    ctx: typer.Context,
    files: Annotated[list[str], typer.Argument(metavar="FILE ...")],
    everything: AllOption = False,
    html: HtmlOption = None,
    resume: ResumeOption = "",
) -> int:
    """Put together what shares of a diagnosis have read

    The files are those that `diagnose --shard k/n --resume FILE` has written, on whatever machine. The repository is needed,
    too: what is no pack is read as ever, and so are packs that are in no file or have changed since they were read.

    What is told, and how, is as with `diagnose`; the files are not changed.
    """
    tools = context_of(ctx)
    check_target(tools, html)
    return _show(tools, _open(tools, sealed=False), html, everything=everything, resume=resume, shares=files)


def _show(
    ctx: Context,
    opened: Opened,
    html: str | None,
    *,
    everything: bool,
    resume: str = "",
    shares: Sequence[str] = (),
    dask: str | None = None,
) -> int:
    """Diagnose and tell."""
    from restic_format.rescue.diagnosis import diagnose

    if not ctx.options.json and html != "-":
        ctx.out.info(_beginning(opened))
    with _reading(ctx, opened, dask) as reading, _working(ctx) as (progress, cancel):
        found = diagnose(opened, progress, cancel, resume=resume, shares=shares, reading=reading)
    if html is not None:
        from restic_tools.own.diagnosing.page import page

        write_page(ctx, page(found, opened.storage.location), html)
    if ctx.options.json:
        from restic_tools.own.diagnosing.messages import write_messages

        write_messages(ctx.out, found)
    elif html is None:
        from restic_tools.own.diagnosing.text import show

        show(ctx.out, found, everything=everything)
    return SUCCESS if found.healthy else FAILURE


def _open(ctx: Context, *, sealed: bool) -> Opened:
    """The repository as far as it opens; a person at a terminal may try three times."""
    from restic_format.errors import WrongPassword
    from restic_format.inspect.access import has_files
    from restic_format.rescue.diagnosis import open_for_rescue
    from restic_tools.access import PASSWORD_TRIES, given_storage, no_repository
    from restic_tools.passwords import ask_password, may_try_again

    options = ctx.options
    storage = given_storage(options, ctx.interrupt.event.is_set)
    if not has_files(storage):
        raise no_repository(options)
    if sealed:
        return open_for_rescue(storage, None)
    tries = PASSWORD_TRIES if may_try_again(options) else 1
    while True:
        tries -= 1
        try:
            password = ask_password(options, "enter password for repository: ")
            return open_for_rescue(storage, password.encode("utf-8", "surrogateescape"), options.key_hint or None)
        except (WrongPassword, Failure) as error:
            if tries == 0:
                ctx.out.warn("without a password --sealed holds every file against its name")
                raise
            ctx.out.warn(f"{error}. Try again")


def _beginning(opened: Opened) -> str:
    if opened.repository is None:
        return "hold every file against its name, as no key is opened; nothing is changed, no lock is taken"
    return "read everything; nothing is changed, no lock is taken"


@contextmanager
def _reading(ctx: Context, opened: Opened, dask: str | None) -> Iterator[PackReading | None]:
    """What reads the packs: a cluster's workers, or None for this process."""
    if dask is None or opened.repository is None:
        yield None
        return
    from restic_format.rescue.diagnosis.spread import connect
    from restic_format.storage.locations import Place
    from restic_tools.access import repository_location, transport

    with connect(dask) as cluster:
        if not cluster.is_encrypted:
            ctx.out.warn(
                f"the connections of the cluster at {dask} are not encrypted: who listens there gets the repository's key"
            )
        ctx.out.info_on_terminal(f"{cluster.threads} workers read the packs")
        yield cluster.reading(opened, Place(repository_location(ctx.options), ctx.options.extended, transport(ctx.options)))


def _share(shard: str, resume: str, html: str | None) -> Bucket | None:
    """The share of the packs that is to be read; None where all are."""
    from restic_format.check.subset import Bucket, InvalidSubset, parse_subset

    if not shard:
        return None
    if not resume:
        raise Failure("--shard needs --resume: the file that keeps what was read")
    if html is not None:
        raise Failure("--shard and --html are mutually exclusive")
    try:
        share = parse_subset(shard)
    except InvalidSubset:
        share = None
    if not isinstance(share, Bucket):
        raise Failure("--shard is two numbers k/n with 1 <= k <= n <= 256, such as 1/4")
    return share


def _read_share(ctx: Context, opened: Opened, share: Bucket, resume: str) -> int:
    from restic_format.rescue.diagnosis import read_share
    from restic_tools.messages.diagnose import ShareMessage

    with _working(ctx) as (progress, cancel):
        found = read_share(opened, share, resume, progress, cancel)
    if ctx.options.json:
        ctx.out.json(ShareMessage("share", share.number, share.total, found.packs, found.bytes, found.damaged))
    else:
        ctx.out.line(f"read {found.packs} packs, {found.damaged} of them damaged; what they showed is in {resume}")
    return FAILURE if found.damaged else SUCCESS


@contextmanager
def _working(ctx: Context) -> Iterator[tuple[Progress[DiagnosisEvent], Cancel]]:
    """What shows on a terminal how far it is, and what a signal stops."""
    from restic_format.work import Advance, silent
    from restic_tools.stages import StagePrinter, stoppable

    with ExitStack() as stack:
        progress: Progress[DiagnosisEvent] = silent
        if ctx.out.stdout_is_terminal:
            stages = {"index": "", "snapshots": "", "read": "", "consequences": ""}
            printer = stack.enter_context(StagePrinter(ctx, stages))

            def progress(event: DiagnosisEvent) -> None:
                if isinstance(event, Advance):
                    printer(event)

        yield progress, stack.enter_context(stoppable(ctx))
