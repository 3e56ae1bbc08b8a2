"""What the real programs are known not to bring back: their faults, not ours to repeat and not to be judged.

Every excuse names who loses what and since or until when; each was seen by running the program. A difference that no
excuse covers is a finding. Our own program is never excused where the format can hold the fact.
"""

from __future__ import annotations

from collections.abc import Sequence

from restic_conformance.compare import Difference, Tree
from restic_conformance.programs import OURS, Program

LAST_NANOSECOND = 2**63 - 1
"""Go's ``Time.UnixNano`` overflows beyond the year 2262."""


def excuse(writer: Program, reader: Program, difference: Difference, source: Tree) -> str:
    """Why a difference between source and restored tree is not a finding; empty when it is one."""
    for rule in (_lost_by_old_restic, _lost_by_every_restic, _lost_by_rustic):
        reason = rule(writer, reader, difference, source)
        if reason:
            return reason
    return ""


def _old(program: Program) -> bool:
    return program.version < (0, 17)


def _lost_by_old_restic(writer: Program, reader: Program, difference: Difference, source: Tree) -> str:
    facts = source.get(difference.path)
    if facts is None or facts.type != "symlink" or not (_old(writer) or _old(reader)):
        return ""
    if difference.attribute == "target" and not _is_utf8(facts.target):
        return "before 0.17 restic replaced bytes in link targets that are not UTF-8"
    if difference.attribute == "xattrs":
        return "before 0.17 restic followed links when it read or wrote attributes"
    return ""


def _lost_by_every_restic(_: Program, reader: Program, difference: Difference, source: Tree) -> str:
    facts = source.get(difference.path)
    if facts is None:
        return ""
    if difference.attribute == "hardlinks" and facts.type != "file":
        return "restic and rustic link only regular files again"
    beyond = not -LAST_NANOSECOND <= facts.mtime_ns <= LAST_NANOSECOND
    if difference.attribute == "mtime_ns" and beyond and reader.name != OURS:
        return "restic restores times beyond the year 2262 as the earliest the file system has"
    return ""


def _lost_by_rustic(writer: Program, reader: Program, difference: Difference, source: Tree) -> str:
    facts = source.get(difference.path)
    if writer.name == "rustic" and difference.path == b".":
        return "rustic stores no metadata of the folder named on the command line"
    if reader.name == "rustic":
        if difference.attribute == "unexpected" and difference.found == "socket":
            return "rustic creates sockets"
        if difference.attribute == "mode" and facts is not None and facts.mode == 0:
            return "rustic leaves files of mode 0 with its default mode"
    return ""


def findings(
    writer: Program, reader: Program, differences: Sequence[Difference], source: Tree
) -> tuple[list[Difference], list[str]]:
    """Differences that count, and the reasons (each once) for those that do not."""
    counted: list[Difference] = []
    reasons: dict[str, None] = {}
    for difference in differences:
        reason = excuse(writer, reader, difference, source)
        if reason:
            reasons[reason] = None
        else:
            counted.append(difference)
    return counted, list(reasons)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
