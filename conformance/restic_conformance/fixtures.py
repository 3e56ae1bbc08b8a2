"""The small real repositories below ``fixtures/``: unpacking them, and damaging them by recipe.

A healthy fixture is ``<name>.tar.gz``; it holds ``repo/`` (the repository with every empty folder and file mode) and
``facts.json`` (what a restore of each snapshot has to bring back). Beside it, ``<name>.json`` says what wrote it.
A damaged fixture is a recipe ``damaged/<name>.json``: small steps applied to a healthy one, so nothing is stored twice.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restic_conformance.compare import Facts

FOLDER = Path(__file__).resolve().parents[2] / "fixtures"
"""Where the fixtures live in a checkout."""


@dataclass(frozen=True)
class Fixture:
    """What wrote a healthy fixture, and what is in it."""

    name: str
    program: str
    """The program's own words for its version."""
    version: int
    """Repository format version."""
    passwords: tuple[str, ...]
    """Every password that opens it."""
    commands: tuple[str, ...]
    snapshots: tuple[dict[str, Any], ...]
    """``id``, ``tree``, ``tags`` and ``source`` (the key into the facts) of each snapshot, oldest first."""


@dataclass(frozen=True)
class Damage:
    """One way of damaging a healthy fixture, and what the real programs made of it."""

    name: str
    fixture: str
    what: str
    consequence: str
    steps: tuple[dict[str, Any], ...]
    names: tuple[str, ...]
    """Beginnings of ids, or words, one of which a good report of the damage contains; empty for harmless ones."""
    observed: dict[str, dict[str, int]]
    """Exit codes: by program, then by arguments (``check``, ``check --read-data``)."""
    thorough: dict[str, int]
    """Exit codes of a program that also looks at what restic's ``check`` passes over; empty: the same ones."""


def names() -> list[str]:
    """Names of the healthy fixtures."""
    return sorted(path.name.removesuffix(".tar.gz") for path in FOLDER.glob("*.tar.gz"))


def damage_names() -> list[str]:
    """Names of the damaged fixtures."""
    return sorted(path.stem for path in (FOLDER / "damaged").glob("*.json"))


def describe(name: str) -> Fixture:
    """The note of a healthy fixture."""
    raw = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    for field in ("passwords", "commands", "snapshots"):
        raw[field] = tuple(raw[field])
    return Fixture(**raw)


def describe_damage(name: str) -> Damage:
    """The recipe of a damaged fixture."""
    raw = json.loads((FOLDER / "damaged" / f"{name}.json").read_text(encoding="utf-8"))
    for field in ("steps", "names"):
        raw[field] = tuple(raw[field])
    return Damage(**raw)


def unpack(name: str, dest: str | os.PathLike[str]) -> Path:
    """Unpack the healthy or damaged fixture ``name`` below the new folder ``dest``; returns the repository's path."""
    target = Path(dest)
    if (FOLDER / "damaged" / f"{name}.json").exists():
        damage = describe_damage(name)
        repository = unpack(damage.fixture, target)
        apply(damage.steps, repository)
        return repository
    target.mkdir(parents=True)
    with tarfile.open(FOLDER / f"{name}.tar.gz") as archive:
        # Our own archives need no filter; the parameter of that name is younger than Debian 12's Python.
        archive.extraction_filter = lambda member, _: member
        for member in archive:
            member.uid, member.gid = os.geteuid(), os.getegid()
            archive.extract(member, target)
    return target / "repo"


def facts_of(unpacked: str | os.PathLike[str]) -> dict[str, dict[bytes, Facts]]:
    """The expected trees of an unpacked fixture by the ``source`` of its snapshots; ``unpacked`` as for :func:`unpack`."""
    raw = json.loads((Path(unpacked) / "facts.json").read_text(encoding="utf-8"))
    return {source: decode_facts(tree) for source, tree in raw.items()}


def encode_facts(tree: dict[bytes, Facts]) -> dict[str, Any]:
    """Facts as JSON; bytes as base64."""
    return {
        path.decode("utf-8", "surrogateescape"): {
            "type": facts.type,
            "mode": facts.mode,
            "uid": facts.uid,
            "gid": facts.gid,
            "mtime_ns": facts.mtime_ns,
            "size": facts.size,
            "content": facts.content,
            "target": base64.b64encode(facts.target).decode(),
            "device": facts.device,
            "xattrs": [[name, base64.b64encode(value).decode()] for name, value in facts.xattrs],
            "hardlinks": [link.decode("utf-8", "surrogateescape") for link in facts.hardlinks],
        }
        for path, facts in tree.items()
    }


def decode_facts(raw: dict[str, Any]) -> dict[bytes, Facts]:
    """Reverse of :func:`encode_facts`."""
    return {
        path.encode("utf-8", "surrogateescape"): Facts(
            **{
                **facts,
                "target": base64.b64decode(facts["target"]),
                "xattrs": tuple((name, base64.b64decode(value)) for name, value in facts["xattrs"]),
                "hardlinks": tuple(link.encode("utf-8", "surrogateescape") for link in facts["hardlinks"]),
            }
        )
        for path, facts in raw.items()
    }


def apply(steps: tuple[dict[str, Any], ...] | list[dict[str, Any]], repository: Path) -> None:
    """Carry out the steps of a recipe.

    ``flip`` inverts bits of one byte (``offset`` may be negative: from the end), ``truncate`` keeps the first
    ``size`` bytes, ``remove`` and ``rename`` and ``copy`` do what they say, ``write`` stores base64 ``data``.
    Raises :class:`ValueError` on an unknown step.
    """
    for step in steps:
        path = repository / step["path"]
        match step["do"]:
            case "flip":
                raw = bytearray(path.read_bytes())
                raw[step["offset"]] ^= step["mask"]
                _replace(path, bytes(raw))
            case "truncate":
                _replace(path, path.read_bytes()[: step["size"]])
            case "write":
                path.parent.mkdir(parents=True, exist_ok=True)
                _replace(path, base64.b64decode(step["data"]))
            case "remove":
                path.unlink()
            case "remove-folder":
                shutil.rmtree(path)
            case "rename":
                (repository / step["to"]).parent.mkdir(parents=True, exist_ok=True)
                path.rename(repository / step["to"])
            case "copy":
                shutil.copy2(path, repository / step["to"])
            case other:
                raise ValueError(f"a recipe has the unknown step {other!r}")


def _replace(path: Path, data: bytes) -> None:
    # The programs store files read-only, so writing in place would fail without root.
    if path.exists():
        path.unlink()
    path.write_bytes(data)
    path.chmod(0o600)


def pack_up(name: str, repository: Path, facts: dict[str, dict[bytes, Facts]], note: Fixture) -> None:
    """Store a healthy fixture. Owners and times of the repository's files are not kept, modes are."""
    FOLDER.mkdir(exist_ok=True)

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = ""
        return member

    expected = repository.parent / "facts.json"
    encoded = {source: encode_facts(tree) for source, tree in facts.items()}
    expected.write_text(json.dumps(encoded, indent=0, sort_keys=True), encoding="utf-8")
    with tarfile.open(FOLDER / f"{name}.tar.gz", "w:gz", compresslevel=9) as archive:
        archive.add(repository, "repo", filter=plain)
        archive.add(expected, "facts.json", filter=plain)
    _write_json(FOLDER / f"{name}.json", note.__dict__)


def store_damage(damage: Damage) -> None:
    """Store a recipe."""
    (FOLDER / "damaged").mkdir(exist_ok=True)
    _write_json(FOLDER / "damaged" / f"{damage.name}.json", damage.__dict__)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
