"""``repo-info``: what a repository holds, in numbers."""

from __future__ import annotations

from typing import Annotated

import typer

from restic_format.maintenance.info import Files, IndexInfo, count_files, count_index
from restic_spec.layout import FileKind
from restic_tools.exitcodes import Failure
from restic_tools.messages.repository import AllFiles, BlobsInfo, FilesInfo, IndexInfoMessage, PacksInfo, RepositoryInfo
from restic_tools.output import Output
from restic_tools.own.running import context_of
from restic_tools.render import Table, bytes_text

app = typer.Typer()

NAMES = {FileKind.KEY: "key", FileKind.SNAPSHOT: "snapshot", FileKind.INDEX: "index", FileKind.PACK: "pack"}


@app.command()
def repo_info(
    ctx: typer.Context,
    only_files: Annotated[bool, typer.Option("--only-files", help="count files only")] = False,
    only_index: Annotated[bool, typer.Option("--only-index", help="only look at the index")] = False,
) -> None:
    """Show what the repository holds, in numbers

    Files by kind with their sizes; blobs and packs by type, as the index lists them.
    """
    tools = context_of(ctx)
    if only_files and only_index:
        raise Failure("--only-files and --only-index cannot be used together")
    with tools.open_repository(lock="shared") as repository:
        files = None if only_index else count_files(repository)
        index = None
        if not only_files:
            repository.load_index()
            index = count_index(repository)
    if tools.options.json:
        tools.out.json(_message(files, index))
        return
    if files is not None:
        _show_files(tools.out, files)
    if index is not None:
        _show_index(tools.out, index)


def _message(files: dict[FileKind, Files] | None, index: IndexInfo | None) -> RepositoryInfo:
    message = RepositoryInfo()
    if files is not None:
        message.files = AllFiles([FilesInfo(NAMES[kind], found.count, found.size) for kind, found in files.items()])
    if index is not None:
        message.index = IndexInfoMessage(
            [BlobsInfo(kind.value, found.count, found.size, found.data_size) for kind, found in index.blobs.items()],
            [PacksInfo(kind.value, found.count, found.smallest, found.largest) for kind, found in index.packs.items()],
            index.marked,
        )
    return message


def _show_files(out: Output, files: dict[FileKind, Files]) -> None:
    table = Table(["Files", "Count", "Size"])
    for kind, found in files.items():
        table.add([NAMES[kind], str(found.count), bytes_text(found.size)])
    table.add(
        ["all", str(sum(found.count for found in files.values())), bytes_text(sum(found.size for found in files.values()))]
    )
    out.line(table.text().rstrip("\n"), block=True)


def _show_index(out: Output, index: IndexInfo) -> None:
    blobs = Table(["Blobs", "Count", "Content", "In packs"])
    for kind, found in index.blobs.items():
        blobs.add([kind.value, str(found.count), bytes_text(found.data_size), bytes_text(found.size)])
    packs = Table(["Packs", "Count", "Smallest", "Largest"])
    for kind, pack in index.packs.items():
        sizes = ["" if size is None else bytes_text(size) for size in (pack.smallest, pack.largest)]
        packs.add([kind.value, str(pack.count), *sizes])
    for table in (blobs, packs):
        out.line()
        out.line(table.text().rstrip("\n"), block=True)
    if index.marked:
        out.line(f"{index.marked} packs are marked for deletion")
