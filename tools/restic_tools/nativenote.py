"""A note that native code is missing, for people who did not turn it off."""

from __future__ import annotations

from restic_format.native import parts
from restic_tools.output import NORMAL, Output


def tell_missing_native(out: Output, *, cutting: bool = False) -> None:
    """Print one line on standard error when native code that the command uses is missing; not with --quiet or --json.

    ``cutting``: the command cuts files, too.
    """
    if out.json_mode or out.verbosity < NORMAL or parts.ASKED_FOR_LESS:
        return
    from restic_format.native import blobs

    reason = blobs.UNAVAILABLE
    if reason is None and cutting:
        from restic_format.native import chunker

        reason = None if chunker.UNAVAILABLE is None else f"chunker: {chunker.UNAVAILABLE}"
    if reason is not None:
        out.warn(f"note: this could be faster, some compiled parts cannot be used: {reason} (see restic-format version -v)")
