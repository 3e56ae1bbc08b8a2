"""A diagnosis as text: first whether the data are there, then what is wrong, which files are hurt, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restic_format.check.findings import Code, ObjectKind
from restic_format.rescue.diagnosis.records import Hope, Means, Origin
from restic_format.words import printable
from restic_tools.about import PROGRAM
from restic_tools.own.diagnosing.advice import next_steps
from restic_tools.render import bytes_text

if TYPE_CHECKING:
    from restic_format.rescue.diagnosis import ByteRange, DamagedPath, Diagnosis, Fault, SnapshotState
    from restic_tools.output import Output

MOST = 20
"""Faults, snapshots and paths that are shown, and ranges of a file, unless all are wanted."""

ORIGINS = {
    Origin.INTERRUPTED: "an upload or copy that was interrupted",
    Origin.STORAGE: "the storage or the way to it",
    Origin.MEMORY: "memory or processor of the machine that wrote it",
    Origin.PROGRAM: "the program that wrote it",
    Origin.MISSING: "a file that was removed or lost",
    Origin.INDEX: "the index",
    Origin.MIXED_UP: "files that were mixed up",
    Origin.UNREADABLE: "the storage or the way to it",
    Origin.LEFT_BEHIND: "something that was left behind",
}
MEANS = {
    Means.READ_AGAIN: "make the storage readable: nothing is known to be lost",
    Means.HEADERS: "a new index from what the packs say themselves: nothing of it is lost",
    Means.OTHER_COPY: "another copy of the same blobs in this repository: nothing of it is lost",
    Means.HEADER: "a new header for the pack, from the index: nothing of it is lost",
    Means.SCANNING: "searching the pack for blobs that are still intact",
    Means.REWRITING: "its blobs, all of them intact, in a new pack: nothing of it is lost",
    Means.PUT_BACK: "the file, put back where it belongs",
    Means.SOLVING: "solving the damage, where it is in one place",
    Means.OTHER_KEY: "another key that opens the repository",
    Means.FROM_KEY: "a new config, from what a key and the packs tell",
    Means.SNAPSHOT_FROM_TREES: "a new snapshot of the directories that are still there",
    Means.COPIES: "copies from elsewhere: parity, another copy of the repository, or the original files",
    Means.SETTING_ASIDE: "moving the file out of the repository, where it is of no use",
    Means.UNLOCKING: f"`{PROGRAM} unlock --remove-all`, when no program works on the repository: until then some refuse to",
    Means.NONE_NEEDED: "nothing needs to be done",
}
_TITLES = {
    Code.CONFIG_DAMAGED: "the config is damaged or missing",
    Code.INDEX_DAMAGED: "the index file index/{id} is damaged",
    Code.SNAPSHOT_DAMAGED: "the snapshot file snapshots/{id} is damaged",
    Code.PACK_DAMAGED: "the pack {id} is damaged",
    Code.PACK_MISSING: "the pack {id} is missing",
    Code.PACK_HEADER_DAMAGED: "the header of the pack {id} is damaged",
    Code.PACK_UNINDEXED: "the pack {id} is in no index",
    Code.INDEX_WRONG: "the index does not list the pack {id} as it is",
}
"""Shorter than the messages of findings, which `check` prints."""

_TOLD_BY_EFFECT = frozenset(
    (
        Code.CONFIG_DAMAGED,
        Code.KEY_DAMAGED,
        Code.SNAPSHOT_DAMAGED,
        Code.SNAPSHOT_UNREADABLE,
        Code.SNAPSHOTS_GONE,
        Code.LOCK_DAMAGED,
    )
)
"""Faults whose cost is not counted in files."""

_STATE = {
    Hope.WHOLE: "whole",
    Hope.FOUND: "intact, only not found by the index",
    Hope.HIDDEN: "cannot be read now",
    Hope.DAMAGED: "damaged, may be solved",
    Hope.LOST: "lost here",
}


def show(out: Output, found: Diagnosis, *, everything: bool = False) -> None:
    """Print a diagnosis."""
    most = max(len(found.faults), len(found.paths), len(found.snapshots), MOST) if everything else MOST
    out.line()
    for line in verdict(found):
        out.line(line)
    faults = [(number, fault) for number, fault in enumerate(found.faults, 1)]
    _faults(out, [item for item in faults if item[1].origin is not Origin.LEFT_BEHIND], most, "What is wrong")
    _snapshots(out, found, most)
    _paths(out, found, most, everything=everything)
    _faults(out, [item for item in faults if item[1].origin is Origin.LEFT_BEHIND], most, "Left behind, not needed")
    if found.notes:
        out.line()
        out.line("Worth knowing")
        for note in found.notes[:most]:
            out.line(f"  {note.message}")
        _more(out, len(found.notes), most)
    steps = next_steps(found)
    if steps:
        out.line()
        out.line("What to do now")
        for number, step in enumerate(steps, 1):
            out.line(f"  {number}. {step}")
    if found.incomplete:
        out.line()
        out.line("There is more damage than can be told one by one: the numbers are too small.")


def verdict(found: Diagnosis) -> list[str]:
    """The answer to the first question: is my data there?"""
    read = f"{found.packs_read} packs with {bytes_text(found.bytes_read)} were read"
    if found.packs_recalled:
        read += f", {found.packs_recalled} of them earlier: what has rotted since would not be seen"
    if not found.opened:
        if found.trouble is None:
            told = "without a password nobody can say what is in it"
        else:
            told = f"it could not be opened: {found.trouble}"
        damaged = "Some files are damaged" if found.is_damaged else "Every file is what its name says"
        return [f"{damaged}; {told}.", f"{read}."]
    count = len(found.snapshots)
    whole = sum(state.whole for state in found.snapshots)
    if found.healthy:
        return [f"All is well: {_many(count, 'snapshot')} can be restored. {read}.", *_unreferenced(found)]
    lines = []
    unreadable = sum(fault.object.kind is ObjectKind.SNAPSHOT for fault in found.faults)
    if not count:
        lines.append("There is no snapshot that can be read.")
    elif whole == count:
        lines.append(f"Your data is there: everything in all {_many(count, 'snapshot')} can be read.")
    else:
        lines.append(_loss(found))
        lines.append(f"{whole} of {_many(count, 'snapshot')} can be restored whole as it is.")
    if unreadable:
        lines.append(f"{_many(unreadable, 'snapshot file')} cannot be read.")
    lines += _unreferenced(found)
    if found.trouble is not None:
        lines.append("It was read without its config, which no program can do otherwise.")
    lines.append(f"{read}.")
    return lines


def _unreferenced(found: Diagnosis) -> list[str]:
    if not found.unreferenced:
        return []
    trees = _many(found.unreferenced, "directory tree", "directory trees")
    return [
        f"There {'is' if found.unreferenced == 1 else 'are'} {trees} that no readable snapshot has, as after `forget`; "
        f"where a snapshot is missing, `{PROGRAM} recover` makes one of them."
    ]


def _loss(found: Diagnosis) -> str:
    hopes = {path.hope for path in found.paths}
    if Hope.LOST in hopes:
        lost = sum(path.hope is Hope.LOST for path in found.paths)
        return f"Some data is lost here: {_many(lost, 'file or directory', 'files and directories')} cannot be whole."
    if Hope.HIDDEN in hopes:
        return "Some data cannot be read now; nothing is known to be lost."
    if Hope.DAMAGED in hopes:
        return "Some data is damaged; it may be solved, or come back from copies elsewhere."
    return "Your data is there, but programs do not find all of it: that can be put right, and nothing is lost."


def _faults(out: Output, faults: list[tuple[int, Fault]], most: int, heading: str) -> None:
    if not faults:
        return
    out.line()
    out.line(f"{heading} ({len(faults)})")
    for number, fault in faults[:most]:
        out.line(f"  {number}. {title(fault)}")
        out.line(f"     likely from: {ORIGINS[fault.origin]}: {fault.why}")
        if fault.origin is not Origin.LEFT_BEHIND:
            out.line(f"     it costs: {cost(fault)}")
        for position, means in enumerate(fault.means):
            out.line(f"     {'what helps:' if not position else '        or:'} {MEANS[means]}")
    _more(out, len(faults), most)


def title(fault: Fault) -> str:
    """What is wrong, without the details that check gives."""
    text = _TITLES.get(fault.findings[0].code)
    return fault.message if text is None else text.format(id=fault.object.name)


def cost(fault: Fault) -> str:
    """What a fault costs, in a phrase."""
    spent = fault.cost
    parts = []
    if spent.files:
        parts.append(f"{bytes_text(spent.bytes)} in {_many(spent.files, 'file')}")
    if spent.dirs:
        parts.append(
            f"{_many(spent.dirs, 'directory', 'directories')} with all that is in {'it' if spent.dirs == 1 else 'them'}"
        )
    if not parts:
        told = fault.findings[0]
        if told.code in _TOLD_BY_EFFECT:
            return told.effect
        return "no file of any snapshot" if spent.is_known else "nobody can say without a key"
    return f"{' and '.join(parts)}, in {_many(spent.snapshots, 'snapshot')}: {_STATE[spent.hope]}"


def _snapshots(out: Output, found: Diagnosis, most: int) -> None:
    hurt = [state for state in found.snapshots if not state.whole]
    if not hurt:
        return
    out.line()
    out.line(f"Snapshots that are not whole ({len(hurt)} of {len(found.snapshots)}), newest first")
    for state in hurt[:most]:
        time = state.time[:19].replace("T", " ")
        where = " ".join(printable(path) for path in state.paths[:3])
        out.line(f"  {state.id.hex()[:8]}  {time}  {printable(state.hostname)}  {where}")
        out.line(f"            {counts(state)}")
    _more(out, len(hurt), most)


def counts(state: SnapshotState) -> str:
    """How much of a snapshot is whole, where that was counted."""
    found = state.counts
    assert found is not None
    parts = [f"{found.files - found.hurt} of {_many(found.files, 'file')} whole"]
    for number, text in (
        (found.found, "not found by the index"),
        (found.hidden, "cannot be read now"),
        (found.damaged, "damaged"),
        (found.lost, "with lost parts"),
    ):
        if number:
            parts.append(f"{number} {text}")
    if found.dirs_found:
        parts.append(f"{_many(found.dirs_found, 'directory', 'directories')} not found by the index")
    if found.dirs:
        parts.append(f"{_many(found.dirs, 'directory', 'directories')} cannot be read")
    return ", ".join(parts)


def _paths(out: Output, found: Diagnosis, most: int, *, everything: bool) -> None:
    """The paths that are not whole, the worst first. Those that only the index hides are shown where all are wanted."""
    if not found.paths:
        return
    hurt = [path for path in found.paths if everything or path.hope is not Hope.FOUND]
    unfound = len(found.paths) - len(hurt)
    total = found.paths_total - unfound
    out.line()
    out.line(f"Files and directories that are not whole ({found.paths_total})")
    order = {hope: -number for number, hope in enumerate(Hope)}
    for path in sorted(hurt, key=lambda path: order[path.hope])[:most]:
        blamed = ", ".join(str(fault + 1) for fault in path.faults[:MOST])
        out.line(f"  {printable(path.path)}{'/' if path.is_dir and path.path != '/' else ''}")
        out.line(f"     {_parts(path, most)}{f' (by {blamed})' if blamed else ''}")
    _more(out, total, most)
    if unfound:
        out.line(f"  … and {unfound} that are {_STATE[Hope.FOUND]}: --all shows them")


def _parts(path: DamagedPath, most: int) -> str:
    if path.is_dir:
        return f"the directory with all that is in it is {_STATE[path.hope]}"
    if path.lost_bytes >= path.size and len({part.hope for part in path.ranges}) == 1:
        return f"all of its {path.size} bytes: {_STATE[path.hope]}"
    parts = ", ".join(_range(part) for part in path.ranges[:most])
    more = f" and {len(path.ranges) - most} more" if len(path.ranges) > most else ""
    return f"of {path.size} bytes {parts}{more}"


def _range(part: ByteRange) -> str:
    return f"{'' if part.exact else 'some of '}{part.start} to {part.end} {_STATE[part.hope]}"


def _more(out: Output, count: int, most: int) -> None:
    if count > most:
        out.line(f"  … and {count - most} more: --all shows them")


def _many(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"
