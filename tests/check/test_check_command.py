"""``check`` on the command line beside real restic 0.19: the same verdict, the same messages, field for field."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.safety import kit
from tests.safety.forge import Forge

Hurt = Callable[[Path], object]


def biggest(repo: Path) -> Path:
    return kit.files_of(repo, "data")[-1]


def tree_pack(repo: Path) -> Path:
    """The pack of the trees of the newest snapshot: small, but not the smallest."""
    return kit.files_of(repo, "data")[1]


def flip(path: Path, offset: int) -> None:
    kit.flip_bit(path, offset)


CASES: dict[str, tuple[Hurt, list[str]]] = {
    "nothing": (lambda repo: None, []),
    "nothing, all read": (lambda repo: None, ["--read-data"]),
    "bit in a data pack, not read": (lambda repo: flip(biggest(repo), 1000), []),
    "bit in a data pack": (lambda repo: flip(biggest(repo), 1000), ["--read-data"]),
    "bit in a pack header": (lambda repo: flip(biggest(repo), -60), ["--read-data"]),
    "bit in a header length": (lambda repo: flip(biggest(repo), -2), ["--read-data"]),
    "pack cut short": (lambda repo: kit.cut(biggest(repo), 1_000_000), []),
    "pack cut short, read": (lambda repo: kit.cut(biggest(repo), 1_000_000), ["--read-data"]),
    "pack gone": (lambda repo: biggest(repo).unlink(), []),
    "bit in a tree": (lambda repo: flip(tree_pack(repo), 300), []),
    "bit in a tree, read": (lambda repo: flip(tree_pack(repo), 300), ["--read-data"]),
    "bit in an index": (lambda repo: flip(kit.files_of(repo, "index")[0], 100), []),
    "index cut short": (lambda repo: kit.cut(kit.files_of(repo, "index")[-1], 100), []),
    "bits in all indexes": (lambda repo: [flip(path, 100) for path in kit.files_of(repo, "index")], []),
    "index gone": (lambda repo: kit.files_of(repo, "index")[-1].unlink(), []),
    "all indexes gone": (lambda repo: [path.unlink() for path in kit.files_of(repo, "index")], []),
    "bit in a snapshot": (lambda repo: flip(kit.files_of(repo, "snapshots")[0], 100), []),
    "empty snapshot": (lambda repo: kit.cut(kit.files_of(repo, "snapshots")[0], 0), []),
    "bit in the key": (lambda repo: flip(kit.files_of(repo, "keys")[0], 200), []),
    "stray files": (lambda repo: (repo / "index" / "stray").write_text("?"), []),
    "pack nobody lists": (
        lambda repo: (repo / "data" / "00" / ("00" * 32)).write_bytes(b"?"),
        [],
    ),
}


def own_words(message: str) -> bool:
    """Messages that are not about the repository but about the program."""
    return message.startswith(("Load(", "Damaged pack files can be caused"))


def said(stream: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.splitlines()]


@pytest.mark.parametrize(("hurt", "flags"), CASES.values(), ids=CASES.keys())
def test_json_is_restics(damaged: Path, hurt: Hurt, flags: list[str]) -> None:
    hurt(damaged)
    real = kit.restic(damaged, "check", "--json", *flags, check=False)
    mine = kit.ours(damaged, "check", "--json", *flags, check=False)
    assert mine.returncode == real.returncode, mine.stderr
    assert said(mine.stdout) == said(real.stdout)
    # Where there is more than one error, their order is a matter of threads.
    wanted, got = (
        sorted(json.dumps(message) for message in said(done.stderr) if not own_words(str(message["message"])))
        for done in (real, mine)
    )
    if "key" in real.stderr:
        assert "LoadRaw(" in mine.stderr and kit.files_of(damaged, "keys")[0].name in mine.stderr
        return
    assert got == wanted
    assert [list(message) for message in said(mine.stdout)] == [list(message) for message in said(real.stdout)]


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--read-data"],
        ["--read-data-subset", "30%"],
        ["--read-data-subset", "1M"],
        ["latest"],
        ["--host", "second", "--read-data"],
        ["--host", "nobody"],
        ["-q"],
        ["--no-lock"],
    ],
    ids=" ".join,
)
def test_text_is_restics(real_repository: Path, flags: list[str]) -> None:
    real = kit.restic(real_repository, "check", *flags)
    mine = kit.ours(real_repository, "check", *flags)
    assert lines(mine.stdout) == lines(real.stdout)
    assert mine.stderr == real.stderr


def lines(text: str) -> list[str]:
    """The lines, without the time that counters show."""
    return [line.split("]", 1)[-1].strip() if line.startswith("[") else line for line in text.splitlines()]


@pytest.mark.parametrize(
    "flags",
    [
        ["--read-data-subset", "300/2"],
        ["--read-data-subset", "0/2"],
        ["--read-data-subset", "1/300"],
        ["--read-data-subset", "5"],
        ["--read-data-subset", "0%"],
        ["--read-data-subset", "101%"],
        ["--read-data-subset", "x"],
        ["--read-data-subset", "0k"],
        ["--read-data", "--read-data-subset", "1/2"],
    ],
    ids=" ".join,
)
def test_refused_flags_are_restics(real_repository: Path, flags: list[str]) -> None:
    real = kit.restic(real_repository, "check", *flags, check=False)
    mine = kit.ours(real_repository, "check", *flags, check=False)
    assert (mine.returncode, mine.stdout, mine.stderr) == (real.returncode, real.stdout, real.stderr)


def test_people_are_told_what_it_means(damaged: Path) -> None:
    victim = biggest(damaged)
    victim.unlink()
    mine = kit.ours(damaged, "check", check=False)
    explanation = mine.stderr.split("What the damage means:")[1]
    assert victim.name[:8] in explanation and "pack-missing" in explanation
    for path in kit.files_of(damaged, "snapshots"):
        assert path.name[:8] in explanation
    assert "paths affected: /" in explanation and "/src/" in explanation
    steps = explanation.split("What to do, in this order")[1]
    assert steps.index("look for the missing files") < steps.index("restic-format repair index")
    assert (
        steps.index("restic-format repair index")
        < steps.index("back up the same files")
        < steps.index("repair snapshots --forget")
    )


def test_programs_are_told_more_when_they_ask(damaged: Path) -> None:
    victim = biggest(damaged)
    victim.unlink()
    mine = kit.ours(damaged, "check", "--json", "--verbose", check=False)
    finding, summary = said(mine.stdout)
    assert summary["message_type"] == "summary"
    assert (finding["message_type"], finding["code"], finding["id"]) == ("finding", "pack-missing", victim.name)
    assert finding["severity"] == "error" and finding["clause"] == "ORDER-3"
    assert finding["snapshots_total"] == 2 and finding["paths"] and finding["repair"]


def test_a_forgotten_stray_is_told_with_verbose(damaged: Path) -> None:
    (damaged / "index" / "stray").write_text("?")
    assert "index/stray" not in kit.ours(damaged, "check").stdout
    assert "index/stray" in kit.ours(damaged, "check", "-v").stdout


def test_check_leaves_no_lock_and_changes_nothing(damaged: Path) -> None:
    before = {path: path.read_bytes() for path in kit.files_of(damaged)}
    kit.ours(damaged, "check", "--read-data")
    assert {path: path.read_bytes() for path in kit.files_of(damaged)} == before


def test_packs_without_snapshots_are_never_called_fine(damaged: Path) -> None:
    """Real restic finds no error here and suggests the command that would remove everything."""
    for path in [*kit.files_of(damaged, "snapshots"), *kit.files_of(damaged, "index")]:
        path.unlink()
    assert "you can run `restic prune`" in kit.restic(damaged, "check").stdout
    for flags in ([], ["--read-data"]):
        mine = kit.ours(damaged, "check", *flags, check=False)
        assert mine.returncode == 1 and "no errors" not in mine.stdout
        assert "restic-format prune" not in mine.stdout + mine.stderr
        assert mine.stderr.index("restic-format repair index") < mine.stderr.index("restic-format recover")
    (summary,) = said(kit.ours(damaged, "check", "--json", check=False).stdout)
    assert not summary["suggest_prune"] and summary["num_errors"] == 1


def test_trees_without_snapshots_are_told(damaged: Path) -> None:
    for path in kit.files_of(damaged, "snapshots"):
        path.unlink()
    mine = kit.ours(damaged, "check")
    assert "2 directory trees that are part of no other tree, but no snapshot" in mine.stderr
    assert "restic-format recover" in mine.stderr and "restic-format prune" not in mine.stdout + mine.stderr


def test_a_first_backup_that_was_interrupted_is_told_from_loss(forge: Forge) -> None:
    forge.pack([forge.blob("data", b"the first file")])
    mine = kit.ours(forge.path, "check")
    assert "1 packs, but no index and no snapshot" in mine.stderr and "restic-format repair index" in mine.stderr
    assert "restic-format prune" not in mine.stdout + mine.stderr and "recover" not in mine.stderr
    assert not said(kit.ours(forge.path, "check", "--json").stdout)[-1]["suggest_prune"]


def test_an_empty_repository_is_fine(forge: Forge) -> None:
    assert kit.ours(forge.path, "check").stderr == ""


@pytest.mark.parametrize("name", ["config", "keys"])
def test_what_opens_the_repository_is_named_with_what_helps(damaged: Path, name: str) -> None:
    victim = kit.files_of(damaged, name)[0]
    intact = victim.read_bytes()
    kit.flip_bit(victim, 60 if name == "config" else 200)
    mine = kit.ours(damaged, "check", check=False)
    assert mine.returncode == 1 and "of another copy of this repository in its place" in mine.stderr
    assert (victim.name if name == "keys" else "config") in mine.stderr
    victim.write_bytes(intact)
    assert kit.ours(damaged, "check").returncode == 0


@pytest.mark.clause("ORDER-6")
def test_packs_that_no_index_lists_are_read(damaged: Path) -> None:
    for path in kit.files_of(damaged, "index"):
        path.unlink()
    victim = biggest(damaged)
    kit.flip_bit(victim, 1000)
    without, with_data = (kit.ours(damaged, "check", *flags, check=False).stderr for flags in ([], ["--read-data"]))
    assert "pack-unindexed-damaged" not in without
    assert f"pack {victim.name[:8]} (pack-unindexed-damaged" in with_data


def test_nothing_is_advised_while_something_cannot_be_read(damaged: Path) -> None:
    """A medium that is away for a while, or files of somebody else, cost nothing."""
    kit.flip_bit(biggest(damaged), 1000)
    (damaged / "data").rename(damaged / "away")
    mine = kit.ours(damaged, "check", check=False)
    assert mine.returncode == 1
    assert "the storage is not as it was" in mine.stderr
    assert "restic repair" not in mine.stderr and "restic-format recover" not in mine.stderr
    as_json = kit.ours(damaged, "check", "--json", "-v", check=False)
    assert not any(message.get("repair") for message in said(as_json.stdout))
    assert "cannot be read" in as_json.stderr and "restic repair" not in as_json.stderr
