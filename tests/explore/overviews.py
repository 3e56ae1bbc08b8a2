"""Overviews made up: plausible ones of any number of snapshots, for whoever shows them."""

from __future__ import annotations

import random

from restic_format.explore.overview.records import (
    MIN_MEMORY,
    MIN_WORK,
    RESTIC_WORK,
    Age,
    Author,
    BlobFacts,
    Category,
    Extension,
    FileFacts,
    IndexFacts,
    IndexFileFacts,
    KeyFacts,
    LargeItem,
    LockFacts,
    NodeTypeFacts,
    Overview,
    PackFacts,
    Problem,
    PruneFacts,
    Range,
    RepositoryFacts,
    SnapshotFacts,
    SpaceFacts,
    TypeFacts,
)

MADE = 1_795_000_000_000_000_000
"""When they were made, in nanoseconds since the epoch."""
_DAY = 86_400 * 10**9
_FILLS = [(0, 0), *((low + 1, min(low + 10, 99)) for low in range(0, 100, 10)), (100, 100)]


def empty_overview() -> Overview:
    """What is said of a repository without snapshots, made just now."""
    key = KeyFacts("a" * 64, MADE, "ann", "castle", 1 << 15, 8, 5, MIN_MEMORY, MIN_WORK * 5, 1.0, weak=False, current=True)
    return Overview(
        made=MADE,
        repository=RepositoryFacts(
            "1" * 64, 2, "3da3358b4dc173", append_only=False, hot=False, compression=None, extensions=()
        ),
        keys=(key,),
        locks=(),
        programs=(),
        hosts=(),
        users=(),
        snapshots=(),
        other_snapshots=0,
        snapshot_ages=None,
        files=tuple(FileFacts(kind, int(kind == "keys"), 450 if kind == "keys" else 0) for kind in _KINDS),
        packs=tuple(
            PackFacts(kind, 0, 0, 0, 0, 16 << 20, 0, 0, (), tuple(Range(*fill, 0, 0) for fill in _FILLS))
            for kind in ("data", "tree")
        ),
        blobs=tuple(BlobFacts(kind, 0, 0, 0, 0, ()) for kind in ("data", "tree")),
        space=SpaceFacts(0, 0, 0, 0, 0, 0, 0, 0, 605),
        prune=PruneFacts(0, 0, 0, 0, 0, 0, 0),
        index=IndexFacts((), 0, 0, 0, 0, 0, 0),
        types=(),
        node_types=(),
        largest_files=(),
        largest_folders=(),
        paths_complete=True,
        problems=(),
        problem_count=0,
    )


_KINDS = ("keys", "locks", "snapshots", "index", "data")


def example_overview(*, snapshots: int = 40, seed: int = 1, problems: int = 0, odd: str = "") -> Overview:
    """What may be said of a repository with so many *snapshots*, at least one; *odd* is put into every text from outside."""
    numbers = random.Random(seed)
    hosts, users = [f"castle{odd}", f"garden{odd}"], [f"ann{odd}", f"bob{odd}"]
    programs = [f"restic 0.18.1{odd}", f"restic 0.19.1{odd}", f"rustic v0.11.4{odd}"]
    stored = 3 << 30
    found = []
    for number in range(snapshots):
        added = numbers.randrange(1 << 16, 1 << 28) if number else 3 << 30
        stored += added if number else 0
        host = numbers.randrange(2)
        found.append(
            SnapshotFacts(
                id=numbers.randbytes(32).hex(),
                time=MADE - (snapshots - number) * _DAY,
                hostname=hosts[host],
                username=users[host],
                paths=(f"/home/{users[host]}", f"/etc{odd}"),
                tags=(f"daily{odd}",) if number % 3 else (),
                program_version=programs[min(number * 3 // snapshots, 2)],
                entries=20_000 + number * 7,
                size=(5 << 30) + number * (1 << 20),
                stored=stored * 9 // 10,
                added=added,
                unique=added // 3,
                summary_added=added * 2 if number % 5 else None,
                summary_added_packed=added if number % 5 else None,
            )
        )
    needed = sum(one.added for one in found)
    restored = sum(one.size for one in found)
    sizes = tuple(Range(1 << power, (2 << power) - 1, 300 - abs(power - 14) * 20, 300 << power) for power in range(4, 24))
    fills = tuple(Range(*fill, 180 if fill == (100, 100) else 3, (180 if fill == (100, 100) else 3) << 24) for fill in _FILLS)

    def authors(names: list[str], member: str) -> tuple[Author, ...]:
        made = []
        for name in names:
            mine = [one for one in found if getattr(one, member) == name]
            if mine:
                made.append(Author(name, len(mine), sum(one.added for one in mine), mine[0].time, mine[-1].time))
        return tuple(sorted(made, key=lambda one: -one.added))

    def key(number: int, n: int, r: int, p: int) -> KeyFacts:
        work, memory = n * r * p, 128 * n * r
        return KeyFacts(
            f"{number}" * 64,
            MADE - 100 * _DAY if number % 2 else None,
            users[number % 2],
            hosts[number % 2],
            n,
            r,
            p,
            memory,
            work,
            work / RESTIC_WORK,
            weak=work < MIN_WORK or memory < MIN_MEMORY,
            current=number == 1,
        )

    return Overview(
        made=MADE,
        repository=RepositoryFacts(
            "1" * 64,
            2,
            "3da3358b4dc173",
            append_only=True,
            hot=False,
            compression=7,
            extensions=(
                Extension("config", "append_only", "rustic", 1, "true"),
                Extension("snapshot", "label", "rustic", 3, ""),
                Extension("node", f"unheard{odd}", "", 12, ""),
            ),
        ),
        keys=(key(1, 1 << 15, 8, 5), key(2, 1 << 17, 8, 1), key(3, 1 << 10, 8, 1)),
        locks=(
            LockFacts(
                "c" * 64,
                MADE - 60 * 10**9,
                60 * 10**9,
                exclusive=False,
                hostname=hosts[0],
                username=users[0],
                pid=71,
                stale=False,
            ),
            LockFacts(
                "d" * 64, MADE - 5 * _DAY, 5 * _DAY, exclusive=True, hostname=hosts[1], username=users[1], pid=9, stale=True
            ),
        ),
        programs=authors(programs, "program_version"),
        hosts=authors(hosts, "hostname"),
        users=authors(users, "username"),
        snapshots=tuple(found),
        other_snapshots=0,
        snapshot_ages=Age(found[0].time, found[-1].time),
        files=tuple(
            FileFacts(kind, count, count * size)
            for kind, count, size in zip(_KINDS, (3, 2, snapshots, 14, 230), (450, 155, 400, 90_000, 16 << 20), strict=True)
        ),
        packs=(
            PackFacts("data", 210, 210 << 24, 4211, 17 << 20, 16 << 20, needed + (120 << 20), needed, sizes[16:], fills),
            PackFacts("tree", 20, 20 << 22, 911, 16 << 20, 16 << 20, 20 << 22, 20 << 21, sizes[6:], fills),
        ),
        blobs=(BlobFacts("data", 5000, needed, needed * 2, 12, sizes), BlobFacts("tree", 900, 1 << 22, 1 << 24, 0, sizes[:12])),
        space=SpaceFacts(restored, needed * 2, needed * 9 // 5, needed, 123 << 20, 4 << 20, 1 << 20, 0, needed + (200 << 20)),
        prune=PruneFacts(3, 9, 218, 741, 119 << 20, 60 << 20, 8 << 20),
        index=IndexFacts(
            tuple(
                IndexFileFacts(f"{number:064x}", 90_000 - number, 17, 420, int(number == 3), 0, MADE - number * _DAY)
                for number in range(14)
            ),
            14,
            14 * 90_000,
            230,
            5900,
            0,
            1,
        ),
        types=tuple(
            TypeFacts(f"{name}{odd}", 1000 * (9 - number), (9 - number) << 28, (9 - number) << 24, (9 - number) << 23)
            for number, name in enumerate(("jpg", "mp4", "txt", "py", "", "pdf", "zip", "html"))
        ),
        node_types=(
            NodeTypeFacts("file", 700_000, 190 << 30),
            NodeTypeFacts("dir", 90_000, 0),
            NodeTypeFacts("symlink", 1200, 0),
            NodeTypeFacts("fifo", 40, 0),
        ),
        largest_files=tuple(
            LargeItem(f"/home/ann/films/film-{number}{odd}.mp4", (10 - number) << 27, (11 - number) << 27)
            for number in range(10)
        ),
        largest_folders=tuple(
            LargeItem(f"/home/ann{odd}{'/films' * (number + 1)}", (10 - number) << 28, 0) for number in range(10)
        ),
        paths_complete=True,
        problems=tuple(
            Problem(f"snapshots/{number:064x}", f"MAC does not match{odd}", Category.SNAPSHOT) for number in range(problems)
        ),
        problem_count=problems,
    )
