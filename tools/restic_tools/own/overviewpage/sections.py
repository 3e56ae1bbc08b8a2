"""The chapters of the page: what the records of an overview say, as tables and figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from restic_format.explore.overview.records import (
    RESTIC_WORK,
    Author,
    BlobFacts,
    LargeItem,
    Overview,
    PackFacts,
    Range,
    TypeFacts,
)
from restic_tools.htmlpage import Bar, Cell, Column, Figure, Mark, Notice, Part, Parts, Section, Table
from restic_tools.htmlpage.plots import Dot, Stack, area, bars, lanes, spans
from restic_tools.own.overviewpage.series import added_over_time, local_seconds, stored_over_time
from restic_tools.own.overviewpage.texts import (
    NOTHING,
    age,
    bound,
    counted,
    day,
    fill_range,
    name,
    number,
    percent,
    ratio,
    size,
    size_range,
    when,
)

Block = Table | Parts | Figure | Notice

MOST_SNAPSHOTS: Final = 300
"""Snapshots that are listed one by one, the newest."""
MOST_LANES: Final = 12
"""Hosts that have a lane of their own in the plot of snapshots."""
MOST_ROWS: Final = 30
"""Rows of the other tables."""


def sections(overview: Overview) -> list[Section]:
    """All chapters in their order."""
    found = [
        _space(overview),
        _snapshots(overview),
        _authors(overview),
        _content(overview),
        _packs(overview),
        _blobs(overview),
        _index(overview),
        _access(overview),
        _format(overview),
    ]
    if overview.problem_count:
        found.append(_problems(overview))
    return found


def _table(
    caption: str, columns: Sequence[Column], rows: Sequence[Sequence[Cell]], *, note: str = "", most: int = MOST_ROWS
) -> Table:
    """A table of at most so many rows, which says what it leaves out."""
    if len(rows) > most:
        note = f"{note} {number(len(rows) - most)} more are not listed.".strip()
    return Table(caption, columns, rows[:most], note)


def _bar(value: float, most: float, text: str) -> Bar:
    return Bar(text, value / most if most else 0.0)


def _space(overview: Overview) -> Section:
    space, prune = overview.space, overview.prune
    blobs = space.needed + space.unused + space.duplicate + space.unindexed + space.marked
    others = max(0, space.files - blobs)
    parts = [
        Part("needed by snapshots", space.needed, size(space.needed)),
        Part("unused", space.unused, size(space.unused)),
        Part("further copies", space.duplicate, size(space.duplicate)),
        Part("in no index", space.unindexed, size(space.unindexed)),
        Part("marked for deletion", space.marked, size(space.marked)),
        Part("headers, index, snapshots, keys", others, size(others)),
    ]
    columns = [Column("What"), Column("Size", "number"), Column("Ratio", "number"), Column("Meaning")]
    rows = [
        ["files as restored", size(space.restored), "", "each of the snapshots written out"],
        ["different data", size(space.referenced_data), ratio(space.dedup_ratio), "what of it is different (deduplication)"],
        ["with folders", size(space.referenced), "", "and the trees that say what is in each folder"],
        ["stored", size(space.needed), ratio(space.compression_ratio), "the same compressed and sealed (compression)"],
        ["together", "", ratio(space.total_ratio), "how many times smaller the stored form is"],
    ]
    blocks: list[Block] = [Parts("What the space goes to", parts), Table("From files to what is stored", columns, rows)]
    if prune is not None:
        rows = [
            [
                "freed",
                size(prune.freed),
                f"{counted(prune.packs_removed, 'pack')} and {counted(prune.blobs_freed, 'blob')} removed",
            ],
            ["written anew", size(prune.repacked), f"{counted(prune.packs_repacked, 'pack')} repacked"],
            ["unused afterwards", size(prune.unused_after), f"{counted(prune.packs_kept, 'pack')} kept as they are"],
        ]
        columns = [Column("A prune now"), Column("Size", "number"), Column("How")]
        blocks.append(Table("What a prune with its usual settings would do", columns, rows))
    columns = [Column("Kind"), Column("Files", "number"), Column("Size", "bar")]
    most = max((kind.size for kind in overview.files), default=0)
    rows_of_kinds: list[list[Cell]] = [
        [kind.kind, number(kind.count), _bar(kind.size, most, size(kind.size))] for kind in overview.files
    ]
    blocks.append(Table("Files of the repository", columns, rows_of_kinds))
    return Section("space", "Space", "Each blob counts once, however many snapshots and files have it.", blocks)


def _snapshots(overview: Overview) -> Section:
    found = overview.snapshots
    blocks: list[Block] = []
    if found:
        hosts = [host.name for host in sorted(overview.hosts, key=lambda host: -host.snapshots)]
        shown = hosts[:MOST_LANES]
        named = {host: name(host) for host in shown}
        rest = counted(len(hosts) - len(shown), "other host")
        dots = [Dot(named.get(one.hostname, rest), local_seconds(one.time)) for one in found]
        lane_names = list(dict.fromkeys([*named.values(), *([rest] if len(hosts) > len(shown) else [])]))
        ages = f"from {day(found[0].time)} to {day(found[-1].time)}"
        blocks.append(
            Figure(
                "When snapshots were made",
                f"{counted(len(found), 'snapshot')} {ages}, by host: each line is a snapshot.",
                lanes(dots, lane_names),
            )
        )
        steps = stored_over_time(found, overview.made)
        blocks.append(
            Figure(
                "What snapshots need together",
                f"The stored bytes that all snapshots up to a time need: {size(steps[0].value)} on {day(found[0].time)}, "
                f"{size(steps[-1].value)} on {day(found[-1].time)}.",
                area(steps, title="stored"),
            )
        )
        unit, added = added_over_time(found)
        most = max(added, key=lambda span: span.value)
        blocks.append(
            Figure(
                f"Added by {unit}",
                f"The stored bytes that the snapshots of each {unit} were the first to need; at most {size(most.value)}.",
                spans(added, title="added"),
            )
        )
    most_added = max((one.added for one in found), default=0)
    rows: list[list[Cell]] = [
        [
            one.id[:8],
            when(one.time),
            name(one.hostname),
            "\n".join(one.paths),
            ", ".join(one.tags),
            number(one.entries),
            size(one.size),
            _bar(one.added, most_added, size(one.added)),
            size(one.unique),
            NOTHING if one.summary_added_packed is None else size(one.summary_added_packed),
        ]
        for one in reversed(found[-MOST_SNAPSHOTS:])
    ]
    columns = [
        Column("ID", "code"),
        Column("Time", "time"),
        Column("Host"),
        Column("Paths", "path"),
        Column("Tags"),
        Column("Entries", "number"),
        Column("Size", "number"),
        Column("Added", "bar"),
        Column("Only here", "number"),
        Column("By summary", "number"),
    ]
    note = f"The newest {MOST_SNAPSHOTS} of {number(len(found))}. " if len(found) > MOST_SNAPSHOTS else ""
    note += "Added: stored bytes that no earlier snapshot needs. Only here: what is freed when it is forgotten and pruned. "
    note += "By summary: stored bytes that it has added as its own summary says."
    blocks.append(Table("Snapshots, the newest first", columns, rows, note, folded=len(rows) > 15))
    return Section("snapshots", "Snapshots", "", blocks)


def _authors(overview: Overview) -> Section:
    def table(what: str, authors: Sequence[Author]) -> Table:
        most = max((one.added for one in authors), default=0)
        rows: list[list[Cell]] = [
            [name(one.name), number(one.snapshots), _bar(one.added, most, size(one.added)), day(one.first), day(one.last)]
            for one in authors
        ]
        columns = [
            Column(what),
            Column("Snapshots", "number"),
            Column("Added", "bar"),
            Column("First", "time"),
            Column("Last", "time"),
        ]
        return _table(f"By {what.lower()}", columns, rows)

    blocks = [table("Program", overview.programs), table("Host", overview.hosts), table("User", overview.users)]
    return Section("authors", "Who wrote it", "", blocks)


def _content(overview: Overview) -> Section:
    def large(caption: str, items: Sequence[LargeItem], *, sizes: bool) -> Table:
        most = max((item.unique for item in items), default=0)
        columns = [Column("Path", "path"), Column("Only here", "bar"), *([Column("Size", "number")] if sizes else [])]
        rows: list[list[Cell]] = [
            [item.path, _bar(item.unique, most, size(item.unique)), *([size(item.size)] if sizes else [])] for item in items
        ]
        return _table(caption, columns, rows)

    most = max((one.stored for one in overview.types), default=0)
    types: list[list[Cell]] = [
        [_ending(one), number(one.entries), size(one.size), _bar(one.stored, most, size(one.stored)), size(one.unique)]
        for one in overview.types
    ]
    nodes: list[list[Cell]] = [[one.type, number(one.entries), size(one.size)] for one in overview.node_types]
    columns = [
        Column("Ending"),
        Column("Entries", "number"),
        Column("Size", "number"),
        Column("Stored", "bar"),
        Column("Only these", "number"),
    ]
    return Section(
        "content",
        "Files and folders",
        "Only here: stored bytes that nothing else in the repository needs, over all snapshots together.",
        [
            large("Largest files", overview.largest_files, sizes=True),
            large("Largest folders", overview.largest_folders, sizes=False),
            _table("Types of files", columns, types, note="An entry counts in each snapshot that has it."),
            _table("Kinds of entries", [Column("Kind"), Column("Entries", "number"), Column("Size", "number")], nodes),
        ],
    )


def _ending(one: TypeFacts) -> str:
    return f".{one.type}" if one.type else "(none)"


def _packs(overview: Overview) -> Section:
    columns = [Column(""), *(Column(f"{kind.type} packs", "number") for kind in overview.packs)]

    def row(title: str, text: Callable[[PackFacts], str]) -> list[Cell]:
        return [title, *(text(kind) for kind in overview.packs)]

    rows = [
        row("Packs", lambda kind: number(kind.count)),
        row("Size together", lambda kind: size(kind.size)),
        row("Smallest", lambda kind: size(kind.smallest)),
        row("Average", lambda kind: size(kind.size / kind.count) if kind.count else NOTHING),
        row("Largest", lambda kind: size(kind.largest)),
        row("Size of new ones", lambda kind: size(kind.target)),
        row("Needed of their blobs", lambda kind: percent(kind.used, kind.stored)),
    ]
    blocks: list[Block] = [Table("All packs", columns, rows)]
    kinds = [kind.type for kind in overview.packs]
    if any(kind.count for kind in overview.packs):
        blocks += [
            _histogram("Packs by size", "packs", kinds, [kind.by_size for kind in overview.packs], size_range, lower=True),
            _histogram(
                "Packs by how much of them is needed", "packs", kinds, [kind.by_fill for kind in overview.packs], fill_range
            ),
        ]
    return Section("packs", "Packs", "Files with many blobs each.", blocks)


def _blobs(overview: Overview) -> Section:
    columns = [Column(""), *(Column(f"{kind.type} blobs", "number") for kind in overview.blobs)]

    def row(title: str, text: Callable[[BlobFacts], str]) -> list[Cell]:
        return [title, *(text(kind) for kind in overview.blobs)]

    rows = [
        row("Blobs", lambda kind: number(kind.count)),
        row("Plain size", lambda kind: size(kind.plain)),
        row("Stored size", lambda kind: size(kind.stored)),
        row("Compression", lambda kind: ratio(kind.plain / kind.stored if kind.stored else 0)),
        row("Average plain size", lambda kind: size(kind.plain / kind.count) if kind.count else NOTHING),
        row("Not compressed", lambda kind: number(kind.uncompressed)),
    ]
    blocks: list[Block] = [Table("All blobs", columns, rows)]
    kinds = [kind.type for kind in overview.blobs]
    if any(kind.count for kind in overview.blobs):
        ranges = [kind.by_size for kind in overview.blobs]
        blocks.append(_histogram("Blobs by plain size", "blobs", kinds, ranges, size_range, lower=True))
    return Section("blobs", "Blobs", "Pieces of files, and folders: what the index lists, every copy.", blocks)


def _histogram(
    caption: str,
    what: str,
    kinds: Sequence[str],
    ranges: Sequence[Sequence[Range]],
    text: Callable[[Range], str],
    *,
    lower: bool = False,
) -> Figure:
    """Counts by range, one colour for each kind; *lower*: ranges are written as where they begin in the plot."""
    found: dict[int, tuple[Range, list[int], list[int]]] = {}
    for number_of_kind, of_kind in enumerate(ranges):
        for one in of_kind:
            _, counts, sizes = found.setdefault(one.lowest, (one, [0] * len(kinds), [0] * len(kinds)))
            counts[number_of_kind] += one.count
            sizes[number_of_kind] += one.size
    ordered = [found[lowest] for lowest in sorted(found)]
    stacks = [Stack(bound(one.lowest) if lower else text(one), counts) for one, counts, _ in ordered]
    rows: list[list[Cell]] = []
    for one, counts, sizes in ordered:
        row = [text(one)]
        for count, bytes_ in zip(counts, sizes, strict=True):
            row += [number(count), size(bytes_)]
        rows.append([*row])
    columns = [Column("Range")]
    for kind in kinds:
        columns += [Column(kind, "number"), Column(f"size of {kind}", "number")]
    top = max(ordered, key=lambda entry: sum(entry[1]))
    return Figure(
        caption,
        f"Most {what}, {number(sum(top[1]))}, are in the range {text(top[0])}.",
        bars(stacks, title=what, label_every=2 if len(stacks) > 14 else 1),
        legend=kinds,
        table=Table("The numbers", columns, rows, folded=True),
    )


def _index(overview: Overview) -> Section:
    index = overview.index
    columns = [
        Column("ID", "code"),
        Column("Written", "time"),
        Column("Size", "number"),
        Column("Packs", "number"),
        Column("Blobs", "number"),
        Column("Replaces", "number"),
        Column("Marks", "number"),
    ]
    rows = [
        [
            one.id[:8],
            when(one.written),
            size(one.size),
            number(one.packs),
            number(one.blobs),
            number(one.supersedes),
            number(one.marked),
        ]
        for one in index.files[:MOST_ROWS]
    ]
    more = index.count - len(rows)
    text = f"{counted(index.count, 'file')} of {size(index.size)} list {counted(index.blobs, 'blob')} in "
    text += f"{counted(index.packs, 'pack')}."
    if index.superseding:
        text += f" {counted(index.superseding, 'file')} {'replaces' if index.superseding == 1 else 'replace'} older ones."
    if index.marked:
        text += f" {counted(index.marked, 'pack')} {'is' if index.marked == 1 else 'are'} marked for deletion."
    note = f"{number(more)} more are not listed." if more > 0 else ""
    return Section("index", "Index", text, [Table("Index files", columns, rows, note)])


def _access(overview: Overview) -> Section:
    keys: list[list[Cell]] = [
        [
            key.id[:8],
            when(key.created),
            f"{name(key.username)}@{name(key.hostname)}",
            f"N={key.n}, r={key.r}, p={key.p}",
            size(key.memory),
            f"{key.strength:.2f}×",
            Mark("weak", "warn") if key.weak else Mark("as restic's", "good"),
            Mark("used now") if key.current else "",
        ]
        for key in overview.keys
    ]
    columns = [
        Column("ID", "code"),
        Column("Created", "time"),
        Column("Made by"),
        Column("scrypt", "code"),
        Column("Memory", "number"),
        Column("Work", "number"),
        Column("Strength"),
        Column(""),
    ]
    note = f"Work: N · r · p beside the {RESTIC_WORK:,} of keys that restic makes on an ordinary machine."
    locks: list[list[Cell]] = [
        [
            lock.id[:8],
            when(lock.time),
            age(lock.age),
            "exclusive" if lock.exclusive else "shared",
            f"{name(lock.username)}@{name(lock.hostname)}",
            str(lock.pid),
            Mark("stale", "warn") if lock.stale else Mark("in use"),
        ]
        for lock in overview.locks
    ]
    lock_columns = [
        Column("ID", "code"),
        Column("Refreshed", "time"),
        Column("Age", "number"),
        Column("Kind"),
        Column("Of"),
        Column("Process", "number"),
        Column(""),
    ]
    return Section(
        "access",
        "Keys and locks",
        "A key file is opened by a password; scrypt makes each try take memory and time.",
        [_table("Keys", columns, keys, note=note), _table("Locks", lock_columns, locks)],
    )


def _format(overview: Overview) -> Section:
    config = overview.repository
    level = "as the program chooses" if config.compression is None else f"level {config.compression}"
    rows: list[list[Cell]] = [
        ["ID", config.id],
        ["Format version", str(config.version)],
        ["Chunker polynomial", config.chunker_polynomial],
        ["Compression", "none in this version" if config.version < 2 else level],
        ["Append-only", "yes: nothing may be removed" if config.append_only else "no"],
        ["Hot/cold", "the hot half" if config.hot else "no"],
    ]
    columns = [Column("Where"), Column("Member", "code"), Column("Of"), Column("Has it", "number"), Column("Value", "long")]
    extensions = [[one.where, one.name, one.program or "unknown", number(one.count), one.value] for one in config.extensions]
    note = "What the design of restic does not have. Programs that do not know it may drop it when they write."
    blocks = [
        Table("Config", [Column("Setting"), Column("Value", "long")], rows),
        _table("Extensions", columns, extensions, note=note),
    ]
    return Section("format", "Format", "", blocks)


def _problems(overview: Overview) -> Section:
    rows = [[one.item, one.what] for one in overview.problems]
    note = f"{number(overview.problem_count)} in all." if overview.problem_count > len(rows) else ""
    table = _table("Could not be read", [Column("Item", "long"), Column("What is wrong", "path")], rows, note=note, most=200)
    return Section("problems", "Problems", "What could not be read is missing in the numbers above.", [table])
