"""Regions held against reality: every file of every fixture, every recipe of damage, and what restic shows of objects."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import traceability

from restic_conformance import fixtures
from restic_spec import gotime
from restic_spec.constants import LENGTH_SIZE
from restic_spec.crypto import MasterKey, open_sealed
from restic_spec.errors import SpecError
from restic_spec.ids import id_of, is_hex_id
from restic_spec.keyfile import Kdf, decode_keyfile, derive, encode_keyfile, wrap
from restic_spec.layout import KINDS, FileKind
from restic_spec.regions import Blob, Document, Region, declaration_of, explain, findings, leaves
from tests.spec.regionkit import by_name, check_cover, document_regions, json_of, wrong
from tests.spec.test_fixture_bytes import Opened

CLAUSES = {clause.id for clause in traceability.clauses()}
KIND_OF_FOLDER = {found.folder or "config": kind for kind, found in KINDS.items()}
BYTES = ("flip", "truncate", "write")
"""Steps of recipes that change bytes."""


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    cache: dict[str, Opened] = {}
    folder = tmp_path_factory.mktemp("fixtures")

    def get(name: str) -> Opened:
        if name not in cache:
            cache[name] = Opened(name, folder)
        return cache[name]

    return get


def kind_of(path: str) -> FileKind | None:
    """The kind of a file by the first folder of its path in the repository."""
    return KIND_OF_FOLDER.get(path.split("/")[0])


def explained(path: str, raw: bytes, repo: Opened, *, locked: bool = False) -> Document:
    """The file at *path* of a repository, as someone sees it who has its key, or none."""
    kind = kind_of(path)
    assert kind is not None
    name = os.path.basename(path)
    return explain(
        declaration_of(kind, repo.config.version),
        raw,
        opener=None if locked else opener_for(repo, kind, raw),
        version=repo.config.version,
        name=name if is_hex_id(name) else None,
    )


def opener_for(repo: Opened, kind: FileKind, raw: bytes) -> Callable[[memoryview], bytes]:
    """What opens a file of *kind* with the bytes *raw*."""
    return lambda sealed: open_sealed(derived(repo, raw) if kind is FileKind.KEY else repo.master, sealed)


@cache
def derived_from(password: str, salt: bytes, n: int, r: int, p: int) -> MasterKey:
    return derive(password.encode(), Kdf(n, r, p, salt))


def derived(repo: Opened, raw: bytes) -> MasterKey:
    """The key that a key file's data are sealed with; of a damaged one, some other."""
    key = decode_keyfile(raw)
    try:
        kdf = key.derivation()
    except SpecError:
        return repo.master
    for password in repo.note.passwords:
        found = derived_from(password, kdf.salt, kdf.N, kdf.r, kdf.p)
        try:
            open_sealed(found, key.data or b"")
            break
        except SpecError:
            continue
    return found


@pytest.mark.parametrize("name", fixtures.names())
def test_every_file_of_every_fixture_is_covered_and_sound(opened, name):
    repo = opened(name)
    deep = set()
    for path in sorted(path for path in repo.path.rglob("*") if path.is_file()):
        raw, relative = path.read_bytes(), str(path.relative_to(repo.path))
        kind = kind_of(relative)
        assert kind is not None
        for locked in (True, False):
            whole = explained(relative, raw, repo, locked=locked)
            assert wrong(whole) == [], relative
            assert b"".join(bytes(leaf.raw) for leaf in leaves(whole)) == raw
        if kind not in deep:
            deep.add(kind)
            check_cover(whole)
            regions = by_name(whole)
            assert {region.clause for region in regions.values()} <= CLAUSES
            unknown = by_name(explain(declaration_of(kind), raw, opener=opener_for(repo, kind, raw)))
            assert {name: region.value for name, region in unknown.items()} == {
                name: region.value for name, region in regions.items()
            }
    assert deep >= set(FileKind) - {FileKind.LOCK}


@pytest.mark.clause("CRYPTO-4", "PACK-2", "PACK-3")
@pytest.mark.parametrize("name", ["tiny-v1", "tiny-v2"])
def test_every_byte_that_is_hurt_or_cut_away_is_missed(opened, name):
    repo = opened(name)
    for path in repo.path.rglob("*"):
        relative = str(path.relative_to(repo.path))
        kind = kind_of(relative)
        if not path.is_file() or kind is None or kind is FileKind.KEY:
            continue
        raw = path.read_bytes()
        for at in range(0, len(raw), 3):
            short = explain(declaration_of(kind, repo.config.version), raw[:at], opener=opener_for(repo, kind, raw))
            assert sum(leaf.length for leaf in leaves(short)) == at
            assert wrong(short), (relative, at)
            hurt = bytearray(raw)
            hurt[at] ^= 1 << at % 8
            whole = explain(declaration_of(kind, repo.config.version), bytes(hurt), opener=opener_for(repo, kind, raw))
            assert sum(leaf.length for leaf in leaves(whole)) == len(raw)
            places = [shown_at(whole, found.region) for found in findings(whole)]
            if kind is not FileKind.PACK or at < len(raw) - LENGTH_SIZE:
                assert any(start <= at < end for start, end in places), (relative, at)
            assert places, (relative, at)


def hurt_bytes(step: dict[str, Any], before: bytes | None, after: bytes) -> set[int]:
    """Offsets in the file as it is now of what a step has hurt."""
    if before is None:
        return set(range(len(after)))
    changed = {at for at in range(min(len(before), len(after))) if before[at] != after[at]}
    if len(after) != len(before):
        changed.add(max(len(after) - 1, 0))
        changed.update(range(len(before), len(after)))
    return changed


def shown_at(document: Document, found: str) -> tuple[int, int]:
    """The stretch of the file that a finding is about: that of the innermost region of the file itself around it."""
    names = {}

    def add(regions) -> None:
        for region in regions:
            names[region.name] = region
            add(region.regions())

    add(document.regions())
    around = [name for name in names if found == name or found.startswith((f"{name}.", f"{name}[", f"{name}:"))]
    best = max(around, key=len)
    return names[best].offset, names[best].end


def hurt_files(repository: Path, steps) -> list[tuple[str, bytes | None, dict[str, Any]]]:
    """Path, former content and step of every file of which a recipe has changed bytes; files that are no repository's left
    out. A file that is written anew while another of its kind goes away takes its place."""
    found, removed = [], {step["path"]: (repository / step["path"]).read_bytes() for step in steps if step["do"] == "remove"}
    for step in steps:
        path = step["path"]
        if step["do"] not in BYTES or kind_of(path) is None or not (path == "config" or is_hex_id(os.path.basename(path))):
            continue
        place = repository / path
        before = place.read_bytes() if place.exists() else None
        if before is None:
            before = next((raw for other, raw in removed.items() if kind_of(other) is kind_of(path)), None)
        found.append((path, before, step))
    return found


@pytest.mark.parametrize("name", fixtures.damage_names())
def test_every_damage_is_shown_where_it_is(opened, name, tmp_path):
    damage = fixtures.describe_damage(name)
    repo = opened(damage.fixture)
    hurt = hurt_files(repo.path, damage.steps)
    damaged = fixtures.unpack(name, tmp_path / "damaged")
    shown = 0
    for path, before, step in hurt:
        raw = (damaged / path).read_bytes()
        whole = explained(path, raw, repo)
        check_cover(whole)
        check_cover(explained(path, raw, repo, locked=True))
        places = {found.region: shown_at(whole, found.region) for found in findings(whole) if found.region}
        if step["do"] == "write" and not places and not wrong(whole):
            continue  # a sound file: the damage is elsewhere, or what went away with it
        bytes_hurt = hurt_bytes(step, before, raw)
        if kind_of(path) is FileKind.KEY and not places:
            # Nothing but its name protects what is not sealed in a key file.
            data = by_name(whole)["file.data"]
            assert wrong(whole) == [("", "LAYOUT-1")] and not bytes_hurt & set(range(data.offset, data.end))
            shown += 1
            continue
        assert places, path
        for region, (start, end) in places.items():
            assert start == end == 0 or bytes_hurt & set(range(start, end)), (region, "has nothing wrong")
        covered = {at for start, end in places.values() for at in range(start, end)}
        if step["do"] == "flip":
            assert bytes_hurt <= covered
        shown += 1
    assert bool(shown) == bool(hurt), "a recipe that hurts bytes shows nothing"


CAT = ("restic-0.19-v2", "restic-0.14-v1", "rustic-v2")


@pytest.fixture(scope="module")
def cat(opened, peer, tmp_path_factory):
    """`cat(name, …)` is what restic 0.19 shows of a fixture, to which it has a key that opens quickly."""
    folder = tmp_path_factory.mktemp("cat")
    made = {}

    def run(name: str, *arguments: str) -> bytes:
        if name not in made:
            repository = fixtures.unpack(name, folder / name)
            for path in (repository / "keys").iterdir():
                path.unlink()
            kdf, created = Kdf(2, 1, 1, bytes(64)), "2020-01-01T00:00:00Z"
            raw = encode_keyfile(wrap(opened(name).master, b"x", kdf, created=created, username="", hostname=""))
            (repository / "keys" / id_of(raw).hex()).write_bytes(raw)
            made[name] = repository
        command = [peer("restic-0.19"), "-q", "--no-cache", "--no-lock", "-r", made[name], "cat", *arguments]
        env = {**os.environ, "RESTIC_PASSWORD": "x", "HOME": str(folder)}
        done = subprocess.run(command, env=env, capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def same(ours: Any, theirs: Any) -> bool:
    """Whether what restic shows is in what stands there; it leaves out what it does not know, and what is empty."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        return all(same(ours.get(name), value) for name, value in theirs.items())
    if isinstance(theirs, list) and isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(theirs, str) and isinstance(ours, str) and gotime.CANONICAL.fullmatch(theirs):
        return gotime.parse_ns(ours) == gotime.parse_ns(theirs)
    return ours == theirs or (ours is None and theirs in (None, 0, "", []))


@pytest.mark.parametrize("name", CAT)
def test_values_are_those_that_restic_shows(opened, cat, name):
    repo = opened(name)
    for what, folder in (("index", "index"), ("snapshot", "snapshots"), ("lock", "locks")):
        for path in repo.files(folder)[:2]:
            if what == "lock" and name.startswith("rustic"):
                continue
            regions = document_regions(explained(f"{folder}/{path.name}", path.read_bytes(), repo))
            ours, theirs = json_of(regions), json.loads(cat(name, what, path.name))
            assert same(ours, theirs), path
            assert name.startswith("rustic") or set(ours) == set(theirs)
    ours = json_of(document_regions(explained("config", (repo.path / "config").read_bytes(), repo)))
    assert same(ours, json.loads(cat(name, "config")))
    key = repo.files("keys")[0]
    regions = by_name(explained(f"keys/{key.name}", key.read_bytes(), repo))
    theirs = json.loads(cat(name, "masterkey"))
    assert json_of(regions["file.data.sealed.document"].regions()) == theirs


@pytest.mark.parametrize("name", CAT)
def test_key_files_are_shown_as_restic_shows_them(opened, peer, name):
    """One that opens slowly, for restic shows none but that of a repository."""
    repo = opened(name)
    path = repo.files("keys")[0]
    env = {**os.environ, "RESTIC_PASSWORD": repo.note.passwords[0]}
    command = [peer("restic-0.19"), "-q", "--no-cache", "--no-lock", "-r", repo.path, "cat", "key", path.name]
    theirs = json.loads(subprocess.run(command, env=env, capture_output=True, check=True, timeout=120).stdout)
    ours = json_of(document_regions(explained(f"keys/{path.name}", path.read_bytes(), repo, locked=True)))
    assert same(ours, {name: value for name, value in theirs.items() if value != "0001-01-01T00:00:00Z"})


@pytest.mark.parametrize("name", CAT)
def test_blobs_are_those_that_restic_shows(opened, cat, name):
    repo = opened(name)
    seen = set()
    for path in repo.files("data"):
        for region in by_blob(explained(f"data/{path.name[:2]}/{path.name}", path.read_bytes(), repo)):
            content = region.content
            assert content is not None
            (inner,) = content.regions()
            plain = bytes(inner.raw if inner.content is None else inner.content.data)
            entry = region.entry
            if (entry.type, entry.uncompressed_length is None) not in seen:
                seen.add((entry.type, entry.uncompressed_length is None))
                assert cat(name, "blob", entry.id.hex()) == plain
                if entry.type.value == "tree":
                    regions = inner.regions() if inner.content is None else inner.content.regions()
                    assert json_of(list(regions)) == json.loads(plain)
    assert len(seen) >= 2


def by_blob(document: Document) -> list[Region]:
    """The blobs of a pack."""
    blobs = next(region for region in document.regions() if region.name == "blobs")
    return [region for region in blobs.regions() if isinstance(region, Blob)]
