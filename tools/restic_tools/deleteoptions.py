"""The options that say when a snapshot may be removed, in ``backup`` and ``tag``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restic_tools.exitcodes import Failure

if TYPE_CHECKING:
    from restic_spec.rustic import DeleteMark


def delete_option(after: str, time_ns: int, *, never: bool, prefix: str = "") -> DeleteMark | None:
    """When a snapshot may be removed: so long *after* the time *time_ns*, or *never*; None where nothing is said of it.

    ``Failure`` where that cannot be; it names ``--delete-after``, with *prefix* before its name.
    """
    from restic_format.maintenance.duration import Duration, Moment
    from restic_spec.rustic import DeleteMark

    name = f"--{prefix}delete-after"
    if never and after:
        raise Failure(f"{name} and --{prefix}delete-never cannot be used together")
    if never:
        return DeleteMark(None)
    if not after:
        return None
    try:
        length = Duration.parse(after)
    except ValueError as error:
        raise Failure(f"invalid argument {after!r} for {name}: {error}") from None
    end = Duration(*(-value for value in length)).before(Moment(time_ns))
    if end <= time_ns:
        raise Failure(f"invalid argument {after!r} for {name}: the snapshot would have to be removed at once")
    return DeleteMark(end)
