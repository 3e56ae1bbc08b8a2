"""The means that solves damage, on repositories of real restic and by hand: what comes back is what was there."""

from __future__ import annotations

from pathlib import Path

import pytest

from restic_format.errors import Interrupted
from restic_format.repository import Repository
from restic_format.rescue.means import Means
from restic_format.rescue.means.solving import Solving
from restic_format.rescue.wanted import DamagedCopy, DamagedFile
from restic_format.storage import LocalStorage
from restic_format.work import Advance, Cancel
from restic_spec.crypto import open_sealed
from restic_spec.ids import id_of
from restic_spec.layout import LISTED_KINDS, FileKind
from tests.rescue.test_solving import masked, random_mask
from tests.safety import kit


@pytest.fixture(scope="module", params=["1", "2"])
def repo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository that restic has written, with everything in it but a lock."""
    folder = tmp_path_factory.mktemp("solving")
    source = kit.grow_source(folder / "source", files=3, size=40_000)
    path = folder / "repo"
    kit.restic(path, "init", "-q", "--repository-version", request.param)
    kit.cheap_key(path)
    kit.restic(path, "backup", "-q", str(source))
    opened = Repository.open(LocalStorage(str(path)), kit.PASSWORD)
    opened.load_index()
    return opened


def stored(repo: Repository) -> dict[tuple[FileKind, str], bytes]:
    files = {(kind, name): repo.storage.load(kind, name) for kind in LISTED_KINDS for name, _size in repo.storage.list(kind)}
    return {**files, (FileKind.CONFIG, "config"): repo.storage.load(FileKind.CONFIG, "")}


@pytest.mark.clause("SOLVE-3", "SOLVE-14", "SOLVE-15")
def test_every_kind_of_file(repo: Repository) -> None:
    means: Means = Solving(repo.master_key, repo.version, password=kit.PASSWORD.encode())
    whole = stored(repo)
    assert {kind for kind, _name in whole} >= set(FileKind) - {FileKind.LOCK}
    for mask in (b"\x08", random_mask(1), random_mask(9)):
        wanted = [
            DamagedFile(kind, name, masked(data, (len(data) // 2, mask[: 1 if kind is FileKind.KEY else None])))
            for (kind, name), data in whole.items()
        ]
        found = {(kind, name): data for kind, name, data, _how in means.files(wanted, cancel=Cancel())}
        assert found == whole


@pytest.mark.clause("SOLVE-16", "SOLVE-13")
@pytest.mark.parametrize("by", [1, 4, 9, 16, -1, -5000])
def test_wrong_ends(repo: Repository, by: int) -> None:
    means = Solving(repo.master_key, repo.version)
    whole = stored(repo)
    wanted = [
        DamagedFile(kind, name, data[:-by] if by > 0 else data + random_mask(-by)) for (kind, name), data in whole.items()
    ]
    lost = {FileKind.KEY} if by > 2 else set()
    lost |= {FileKind.PACK} if by > 4 else set()
    lost |= {FileKind.CONFIG} if by > 12 else set()
    # What cannot be found is looked for in many ways, which takes seconds: once each is enough.
    skipped = {FileKind.KEY} if by > 4 or (by == 4 and repo.version == 1) else set()
    skipped |= {FileKind.PACK} if by == 9 or (by in (4, 16) and repo.version == 1) else set()
    wanted = [file for file in wanted if file.kind not in skipped]
    found = {(kind, name): data for kind, name, data, _how in means.files(wanted, cancel=Cancel())}
    assert found == {(kind, name): data for (kind, name), data in whole.items() if kind not in lost | skipped}


@pytest.mark.clause("SOLVE-3")
def test_every_blob(repo: Repository) -> None:
    means: Means = Solving(repo.master_key, repo.version, workers=2)
    wanted, plain = {}, {}
    for pack, entries in packs_of(repo):
        for entry in entries:
            sealed = repo.storage.load(FileKind.PACK, pack.hex(), entry.offset, entry.length)
            key = (entry.type, entry.id)
            damaged = masked(sealed, (len(sealed) // 2, random_mask(3)))
            wanted[key] = [
                DamagedCopy(key, pack, entry.offset, sealed[:20], entry.uncompressed_length),
                DamagedCopy(key, pack, entry.offset, damaged, entry.uncompressed_length),
            ]
            plain[key] = repo.load_blob(*key)
    assert len(plain) > 4
    found = {key: plaintext for key, plaintext, _how in means.blobs(wanted, cancel=Cancel())}
    assert found == plain


def packs_of(repo: Repository):
    from restic_spec.pack import LENGTH_SIZE, decode_header, header_length

    for name, _size in repo.storage.list(FileKind.PACK):
        data = repo.storage.load(FileKind.PACK, name)
        length = header_length(data[-LENGTH_SIZE:], len(data))
        yield (
            bytes.fromhex(name),
            decode_header(open_sealed(repo.master_key, data[-LENGTH_SIZE - length : -LENGTH_SIZE]), repo.version),
        )


@pytest.mark.clause("SOLVE-12")
def test_the_budget_is_for_all_of_them_and_nothing_is_made_up(repo: Repository) -> None:
    told: list[Advance] = []
    means = Solving(repo.master_key, repo.version, budget=1.0, progress=told.append)
    wanted = [DamagedFile(kind, name, masked(data, (20, random_mask(60)))) for (kind, name), data in stored(repo).items()]
    wanted += [DamagedFile(kind, name, None) for kind, name, _data in wanted]
    assert list(means.files(wanted, cancel=Cancel())) == []
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Interrupted):
        list(means.files(wanted, cancel=cancel))


def test_without_a_key_only_key_files(repo: Repository) -> None:
    means = Solving(None, 2)
    wanted = [DamagedFile(kind, name, masked(data, (30, b"\1"))) for (kind, name), data in stored(repo).items()]
    found = list(means.files(wanted, cancel=Cancel()))
    assert {file.kind for file in found} == {FileKind.KEY}
    assert all(id_of(file.data).hex() == file.name for file in found)
    assert list(means.blobs({}, cancel=Cancel())) == []


@pytest.mark.clause("SOLVE-14")
@pytest.mark.parametrize("version", [1, 2])
def test_restic_finds_nothing_wrong_with_what_was_solved(version: int, tmp_path: Path) -> None:
    """Every file of a repository gets a fault of its own; what is solved takes its place under its name."""
    source = kit.grow_source(tmp_path / "source", files=2, size=30_000)
    path = tmp_path / "repo"
    kit.restic(path, "init", "-q", "--repository-version", str(version))
    kit.cheap_key(path)
    kit.restic(path, "backup", "-q", str(source))
    opened = Repository.open(LocalStorage(str(path)), kit.PASSWORD)
    whole = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    wanted = []
    for file, data in whole.items():
        kind = FileKind.CONFIG if file.parent == path else FileKind(file.relative_to(path).parts[0])
        damaged = masked(data, (len(data) // 3, b"\x40"))
        file.chmod(0o600)
        file.write_bytes(damaged)
        wanted.append((file, DamagedFile(kind, file.name, damaged)))
    assert kit.restic(path, "check", "--read-data", check=False).returncode != 0
    means = Solving(opened.master_key, version)
    found = {file.name: file.data for file in means.files([file for _path, file in wanted], cancel=None)}
    for file, _damaged in wanted:
        file.write_bytes(found[file.name])
    assert {file: file.read_bytes() for file in whole} == whole
    kit.restic(path, "check", "--read-data")
