"""``tag``: change the tags of snapshots."""

from __future__ import annotations

import time
from itertools import chain
from typing import TYPE_CHECKING, Annotated

from restic_format.errors import ResticFormatError
from restic_format.maintenance.tags import TagChange, change_tags
from restic_format.work import Cancel
from restic_tools.context import Context
from restic_tools.declare import Argument, Option
from restic_tools.deleteoptions import delete_option
from restic_tools.exitcodes import Failure
from restic_tools.flagtypes import tag_list
from restic_tools.gotext import quoted
from restic_tools.messages.tag import SnapshotChanged, TagSummary
from restic_tools.snapshotfilter import HostOption, PathOption, TagOption, snapshot_filter

if TYPE_CHECKING:
    from restic_format.maintenance.tags import Changed
    from restic_format.snapshots import FoundSnapshot

_MANY = "(can be given several times)"
Tags = list[list[str]] | None


def tag_command(
    ctx: Context,
    names: Annotated[list[str], Argument(metavar="[snapshotID ...]", values=("latest",))],
    add: Annotated[Tags, Option("--add", metavar="tag[,tag,...]", parser=tag_list, help=f"add these tags {_MANY}")] = None,
    remove: Annotated[
        Tags, Option("--remove", metavar="tag[,tag,...]", parser=tag_list, help=f"remove these tags {_MANY}")
    ] = None,
    set_to: Annotated[
        Tags,
        Option("--set", metavar="tag[,tag,...]", parser=tag_list, help=f"replace all tags by these, '' for no tags {_MANY}"),
    ] = None,
    set_delete_after: Annotated[
        str,
        Option(
            "--set-delete-after",
            metavar="duration",
            help="let `forget` remove them so long from now (like 1y5m7d2h), and not before, whatever its policy",
        ),
    ] = "",
    set_delete_never: Annotated[bool, Option("--set-delete-never", help="let `forget` never remove them")] = False,
    remove_delete: Annotated[bool, Option("--remove-delete", help="take away what says when `forget` may remove them")] = False,
    host: HostOption = None,
    tag: TagOption = None,
    path: PathOption = None,
) -> None:
    """Change the tags of snapshots, and when they may be removed

    Without snapshot IDs, all snapshots that match --host, --tag and --path are changed.

    A changed snapshot is stored anew, with another ID; the ID of its first form is kept in it as "original".
    """
    delete = delete_option(set_delete_after, time.time_ns(), never=set_delete_never, prefix="set-")
    if delete is not None and remove_delete:
        raise Failure("--remove-delete cannot be used together with --set-delete-after or --set-delete-never")
    if not (add or remove or set_to or delete or remove_delete):
        raise Failure("nothing to do!")
    if set_to and (add or remove):
        raise Failure("--set and --add/--remove cannot be given at the same time")
    tags = _flat(set_to) if set_to else None
    change = TagChange(tags, _flat(add), _flat(remove), delete, remove_delete)
    wanted = snapshot_filter(host, tag, path)

    def ignored(name: str, error: ResticFormatError) -> None:
        ctx.out.warn(f"Ignoring {quoted(name)}: {error}")

    def failed(found: FoundSnapshot, error: ResticFormatError) -> None:
        ctx.out.warn(f'unable to modify the tags for snapshot ID "{found.id.hex()}", ignoring: {error}')

    def changed(pair: Changed) -> None:
        old, new = pair.old_id.hex(), pair.new_id.hex()
        if ctx.options.json:
            ctx.out.json(SnapshotChanged("changed", old, new))
        ctx.out.verbose(f"old snapshot ID: {old} -> new snapshot ID: {new}")

    ctx.out.info("create exclusive lock for repository")
    with ctx.open_repository(lock="exclusive", first=("snapshots",)) as repo:
        result = change_tags(
            repo,
            change,
            names=names,
            wanted=wanted,
            damaged=ignored,
            failed=failed,
            changed=changed,
            cancel=Cancel(health=ctx.interrupt.check),
        )
    count = len(result.changed)
    if ctx.options.json:
        ctx.out.json(TagSummary("summary", count))
    ctx.out.info(f"modified {count} snapshots" if count else "no snapshots were modified")
    if result.failed:
        raise Failure(f"{len(result.failed)} snapshots could not be modified")


def _flat(lists: Tags) -> list[str]:
    return list(chain.from_iterable(lists or []))
