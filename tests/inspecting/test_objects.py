"""Objects of real repositories and lone files, explained with and without what opens them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_conformance import fixtures
from restic_format.errors import FileMissing, FileUnusable, KeyUnusable, ResticFormatError, WrongPassword
from restic_format.inspect import objects, sources
from restic_format.inspect.access import Access
from restic_format.inspect.facts import facts
from restic_format.inspect.objects import Inspected, Inspector
from restic_format.inspect.target import ObjectKind, TargetInvalid, parse_target
from restic_format.repository import Repository
from restic_format.repository.cipher import make_cipher
from restic_format.storage import LocalStorage, MemoryStorage
from restic_spec.ids import id_of
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType, PackEntry, encode_header, encode_length
from restic_spec.regions import Document, leaves
from tests.restore.kit import CHEAP, PASSWORD, Maker, cheap_repo, memory_repo

FIXTURE_PASSWORD = b"correct horse"
Unpacked = Callable[[str], Path]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Unpacked:
    """Fixtures by name, each unpacked once."""
    folder = tmp_path_factory.mktemp("fixtures")
    return lambda name: folder / name / "repo" if (folder / name).exists() else fixtures.unpack(name, folder / name)


def look(access: Access | None, text: str) -> Inspected:
    return Inspector(access).target(parse_target(text, repository=access is not None))


def covers(document: Document) -> bool:
    done = 0
    for region in leaves(document):
        if region.offset != done:
            return False
        done = region.end
    return done == document.size


@pytest.mark.parametrize("name", ["restic-0.19-v2", "restic-0.14-v1", "rustic-v2"])
def test_every_file_is_explained_with_and_without_the_password(name: str, unpacked: Unpacked) -> None:
    path = unpacked(name)
    access = Access.with_password(LocalStorage(str(path)), fixtures.describe(name).passwords[0].encode())
    sealed = Access(LocalStorage(str(path)))
    looked = 0
    for kind in FileKind:
        names = [""] if kind is FileKind.CONFIG else [found for found, _ in access.storage.list(kind)]
        for file in names[:5]:
            text = f"{kind.value}/{file}" if file else "config"
            opened, closed = look(access, text), look(sealed, text)
            assert list(opened.findings()) == list(closed.findings()) == []
            assert covers(opened.document) and covers(closed.document)
            assert opened.kind is closed.kind and opened.size == closed.size
            assert not closed.opened and closed.notes
            assert opened.opened or (kind is FileKind.KEY and "another" in opened.notes[0])
            assert (opened.kind is ObjectKind.KEY) == any("scrypt" in fact.text for fact in facts(closed))
            # The same as a lone file, elsewhere and in its place.
            place = LocalStorage(str(path)).path_of(kind, file).decode()
            assert Inspector().file(place).kind is opened.kind
            looked += 1
    assert looked >= 8
    with_keys = Inspector(password=FIXTURE_PASSWORD)
    assert with_keys.file(str(path / "config")).opened


def test_lone_files_are_known_by_their_bytes(unpacked: Unpacked, tmp_path: Path) -> None:
    path = unpacked("restic-0.19-v2")
    access = Access.with_password(LocalStorage(str(path)), FIXTURE_PASSWORD)
    for kind in FileKind:
        file = next((name for name, _ in access.storage.list(kind)), "") if kind is not FileKind.CONFIG else ""
        (tmp_path / "lone").write_bytes(access.storage.load(kind, file))
        found = Inspector(master=access.master).file(str(tmp_path / "lone"))
        assert FileKind[found.kind.name] is kind
        assert list(found.findings()) == []
        known = Inspector().file(str(tmp_path / "lone")).kind
        assert known is (found.kind if kind in (FileKind.KEY, FileKind.PACK) else ObjectKind.UNKNOWN)
        stream = Inspector(master=access.master).target(
            parse_target("-", repository=False), io.BytesIO((tmp_path / "lone").read_bytes())
        )
        assert (stream.kind, stream.name) == (found.kind, "-")


def test_a_name_that_is_not_the_hash_is_found(tmp_path: Path) -> None:
    path = tmp_path / "snapshots" / ("ab" * 32)
    path.parent.mkdir()
    path.write_bytes(b"x" * 100)
    found = Inspector().file(str(path))
    assert found.kind is ObjectKind.SNAPSHOT
    assert [finding.clause for finding in found.findings()] == ["LAYOUT-1"]


def test_a_password_that_opens_nothing(unpacked: Unpacked) -> None:
    path = unpacked("restic-0.19-v2")
    with pytest.raises(WrongPassword):
        Inspector(password=b"wrong").file(str(path / "config"))
    with pytest.raises(WrongPassword):
        Access.with_password(LocalStorage(str(path)), b"wrong")
    key = next((path / "keys").iterdir())
    found = Inspector(password=b"wrong").file(str(key))
    assert not found.opened and found.refused and list(found.findings()) == []


def test_keys_that_no_password_opens(unpacked: Unpacked, monkeypatch: pytest.MonkeyPatch) -> None:
    for damage, note in (("key-costs-absurd", "no key can be derived"), ("key-truncated", "no key can be derived")):
        (step,) = fixtures.describe_damage(damage).steps[:1]
        found = Inspector(password=FIXTURE_PASSWORD).file(str(unpacked(damage) / step["path"]))
        assert not found.opened and not found.refused and note in found.notes[0] and list(found.findings())

    def derive(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr("restic_format.inspect.objects.scrypt.derive", derive)
    found = Inspector(password=FIXTURE_PASSWORD).file(str(next((unpacked("restic-0.19-v2") / "keys").iterdir())))
    assert not found.opened and not found.refused and "not enough memory" in found.notes[0]


def test_a_damaged_config_hides_nothing(unpacked: Unpacked) -> None:
    path = unpacked("config-flip")
    access = Access.with_password(LocalStorage(str(path)), FIXTURE_PASSWORD)
    assert access.repository is None
    (finding,) = look(access, "config").findings()
    assert finding.clause == "CRYPTO-4"
    pack = next(access.storage.list(FileKind.PACK))[0]
    assert look(access, f"pack/{pack}").opened
    with pytest.raises(ResticFormatError, match="config"):
        look(access, "latest")


def test_blobs_of_a_pack_without_a_header_are_where_an_index_says(unpacked: Unpacked) -> None:
    path = unpacked("header-flip")
    access = Access.with_password(LocalStorage(str(path)), FIXTURE_PASSWORD)
    (step,) = fixtures.describe_damage("header-flip").steps
    name = step["path"].rpartition("/")[2]
    found = look(access, f"pack/{name}")
    blobs = [region for region in leaves(found.document) if region.name.startswith("blobs[")]
    assert blobs and not found.opened and "index" in found.notes[-1]
    assert {finding.region for finding in found.findings()} == {"", "header"}
    assert not [region for region in leaves(look(Access(access.storage), f"pack/{name}").document) if "[" in region.name]


def test_a_master_key_of_another_repository(unpacked: Unpacked) -> None:
    other = memory_repo().master_key
    with pytest.raises(KeyUnusable, match="another repository"):
        Access.with_master_key(LocalStorage(str(unpacked("restic-0.19-v2"))), other)


def test_blobs_are_found_by_the_beginnings_of_their_ids() -> None:
    repo = memory_repo()
    maker = Maker(repo)
    root = maker.finish([maker.file("a", b"hello" * 100)])
    repo = type(repo).open(repo.storage, PASSWORD)
    access = Access.of(repo)
    tree = look(access, f"tree/{root.hex()[:10]}")
    assert (tree.kind, tree.opened, len(tree.places)) == (ObjectKind.TREE, True, 1)
    assert look(access, f"blob/{root.hex()}").kind is ObjectKind.TREE
    assert look(access, root.hex()).name == root.hex()
    with pytest.raises(TargetInvalid, match="no tree"):
        look(access, "tree/" + "00" * 32)
    with pytest.raises(TargetInvalid, match=r"is ambiguous: .*/.*, .*give more digits"):
        look(access, _shared_beginning(access))
    with pytest.raises(TargetInvalid, match=r"not known: .*password"):
        look(Access(repo.storage), root.hex())
    assert ("content", "500 bytes") in facts(look(access, f"blob/{maker.blob(b'hello' * 100)}"))


def _shared_beginning(access: Access) -> str:
    """A digit with which several ids begin; objects are added until there is one."""
    repo = access.opened()
    maker = Maker(repo)
    for number in range(40):
        maker.blob(bytes([number]) * 50)
    maker.writer.flush()
    return "a"


def test_what_cannot_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileUnusable, match="directory"):
        Inspector().file(str(tmp_path))
    with pytest.raises(FileMissing, match="no such file"):
        Inspector().file(str(tmp_path / "x"))
    with pytest.raises(FileMissing):
        Inspector().file("a\0b")
    monkeypatch.setattr(sources, "HELD", 100)
    with pytest.raises(FileUnusable, match="more than"):
        sources.read_stream(io.BytesIO(b"x" * 101), "standard input")
    assert sources.read_stream(io.BytesIO(b"x" * 100), "standard input") == b"x" * 100
    with pytest.raises(FileUnusable, match="more than"):
        Inspector().file("/dev/zero")
    (tmp_path / "large").write_bytes(b"y" * 1000)
    assert covers(Inspector().file(str(tmp_path / "large")).document)  # a mapped file
    monkeypatch.setattr(sources, "LARGEST", 500)
    with pytest.raises(FileUnusable, match="more than any file"):
        Inspector().file(str(tmp_path / "large"))
    (tmp_path / "empty").write_bytes(b"")
    assert list(Inspector().file(str(tmp_path / "empty")).document.regions()) is not None


def test_packs_are_verified_as_by_their_regions(tmp_path: Path) -> None:
    from restic_spec.regions import findings

    path = cheap_repo(tmp_path / "repo")
    repo = Inspector(Access.with_password(LocalStorage(str(path)), PASSWORD.encode())).access
    assert repo is not None
    maker = Maker(repo.opened())
    maker.finish([maker.file(f"f{number:02}", bytes([number]) * (number + 1)) for number in range(20)])
    packs = [name for name, _ in repo.storage.list(FileKind.PACK)]
    hurt = 0
    for name in packs:
        place = Path(LocalStorage(str(path)).path_of(FileKind.PACK, name).decode())
        sound = place.read_bytes()
        place.chmod(0o600)
        for at in range(0, len(sound), max(len(sound) // 20, 1)):
            place.write_bytes(sound[:at] + bytes([sound[at] ^ 4]) + sound[at + 1 :])
            found = look(repo, f"pack/{name}")
            assert list(found.findings()) == list(findings(found.document))
            hurt += len(list(found.findings()))
        place.write_bytes(sound)
        assert list(look(repo, f"pack/{name}").findings()) == []
    assert hurt > 40


@pytest.mark.parametrize(
    "change",
    [
        (b"", b""),
        (b'"type":"data"', b'"type":"dat\\u0061"'),
        (b'"type":"data"', b'"type":"other"'),
        (b'"packs":[', b'"more":{"a":[1,2,"\xff"]},"packs":['),
        (b'"packs":[', b'"more":"\xff","packs":['),
        (b'"packs":[', b'"\xff":1,"packs":['),
        (b'"packs":[', b'"more":"\x01","packs":['),
        (b'"packs":[', b'"more":' + b"[" * 200 + b"]" * 200 + b',"packs":['),
        (b'"length":', b'"length":-'),
        (b"}", b""),
    ],
    ids=str,
)
@pytest.mark.parametrize("version", [1, 2])
def test_indexes_are_verified_as_by_their_regions(change: tuple[bytes, bytes], version: int) -> None:
    from restic_spec.regions import findings

    repo = Repository.init(MemoryStorage(), PASSWORD, version=version, kdf=CHEAP)
    maker = Maker(repo)
    maker.finish([maker.file("a", b"some", b"data")])
    (index,) = (index_id for index_id, _ in repo.list(FileKind.INDEX))
    raw = repo.load_unpacked(FileKind.INDEX, index)
    changed = repo.save_unpacked(FileKind.INDEX, raw.replace(*change, 1) if change[0] else raw)
    found = look(Access.of(repo), f"index/{changed.hex()}")
    assert found.opened
    assert list(found.findings()) == list(findings(found.document))
    assert bool(list(found.findings())) is (change[0] != b"" and b"0061" not in change[1] and b"\\xff]" not in change[1])


def test_a_copy_of_a_blob_is_taken_that_can_be_read(tmp_path: Path) -> None:
    path = fixtures.unpack("duplicates-v2", tmp_path / "f")
    password = fixtures.describe("duplicates-v2").passwords[0].encode()
    access = Access.with_password(LocalStorage(str(path)), password)
    repo = access.indexed(lambda *_: None)
    _, entry = next(item for item in repo.index.entries() if item[1].type is BlobType.DATA)
    target = parse_target(f"blob/{entry.id.hex()}", repository=True)
    first, second = Inspector(access).target(target).places
    Path(LocalStorage(str(path)).path_of(FileKind.PACK, first.pack.hex()).decode()).unlink()
    told: list[str] = []
    found = Inspector(access, trouble=lambda name, _: told.append(name)).target(target)
    assert found.opened and found.places == (second, first) and told == [f"pack/{first.pack.hex()}"]
    Path(LocalStorage(str(path)).path_of(FileKind.PACK, second.pack.hex()).decode()).unlink()
    with pytest.raises(FileMissing):
        Inspector(access).target(target)


def pack_of(repo: Repository, path: Path, blobs: list[bytes], entries: list[PackEntry]) -> Path:
    """A file with *blobs* and a header with *entries*, sealed as a pack is."""
    seal = make_cipher(repo.master_key).seal
    header = bytes(seal(encode_header(entries)))
    path.write_bytes(b"".join([*blobs, header, encode_length(len(header))]))
    return path


def test_findings_of_an_object_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small pack of compressed trees can hold any number of nodes that are wrong."""
    repo = Repository.open(LocalStorage(str(cheap_repo(tmp_path / "repo"))), PASSWORD)
    raw = b'{"nodes":[' + b",".join([b"{}"] * 300) + b"]}"
    sealed = bytes(make_cipher(repo.master_key).seal(raw))
    entries = [PackEntry(BlobType.TREE, id_of(raw), 0, len(sealed), None)] * 20
    path = pack_of(repo, tmp_path / "pack", [sealed] * 20, entries)
    found = Inspector(Access.of(repo)).file(str(path))
    assert len(list(found.findings())) == 20 * 300
    monkeypatch.setattr(objects, "MOST_FINDINGS", 450)
    told = list(found.findings())
    assert [finding.region for finding in told[449:]] == ["blobs[1].content.nodes[149]", ""]
    assert told[-1].severity == "error" and "more than 450 things are wrong" in told[-1].what
    monkeypatch.setattr(objects, "MOST_FINDINGS", 20 * 300)
    assert len(list(found.findings())) == 20 * 300


def test_blobs_without_a_byte_are_each_told(tmp_path: Path) -> None:
    from restic_spec.regions import findings

    repo = Repository.open(LocalStorage(str(cheap_repo(tmp_path / "repo"))), PASSWORD)
    path = pack_of(repo, tmp_path / "pack", [], [PackEntry(BlobType.DATA, bytes(32), 0, 0, None)] * 3)
    found = Inspector(Access.of(repo)).file(str(path))
    assert list(found.findings()) == list(findings(found.document))
    assert {finding.region for finding in found.findings()} >= {f"blobs[{number}].unexplained" for number in range(3)}
