"""``inspect``: every kind of object, for people and as JSON; what it opens, what it hides, what it refuses."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from restic_conformance import fixtures
from restic_format.inspect.access import Access
from restic_format.repository import Repository
from restic_format.repository.keys import add_key
from restic_format.storage import LocalStorage
from restic_spec.keyfile import encode_master_key
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from tests.tools.kit import PASSWORD, Filled, Runner, new_repository, quick_kdf
from tests.tools.test_access import Terminal

MARKER = "\x1b]0;taken\x07\x9b31m\u202eesrever\x7f\b\r\nFORGED line\t"
ACTING = (b"\x1b", b"\x07", b"\xc2\x9b", "\u202e".encode(), b"\x7f", b"\b", b"\r")
KINDS = ("config", "keys", "index", "snapshots", "locks", "data")


@pytest.fixture
def password(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    return PASSWORD


@pytest.fixture(scope="module")
def fixture_repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fixture with a key that is cheap to open in the place of its own."""
    repo = fixtures.unpack("restic-0.19-v2", tmp_path_factory.mktemp("unpacked") / "v2")
    storage = LocalStorage(str(repo))
    master = Repository.open(storage, "correct horse").master_key
    for key in (repo / "keys").iterdir():
        key.unlink()
    add_key(storage, master, b"correct horse", kdf=quick_kdf(), username="root", hostname="fixture")
    return repo


@pytest.fixture
def key(fixture_repo: Path) -> str:
    """The target that the key of the fixture is."""
    return f"key/{next((fixture_repo / 'keys').iterdir()).name}"


@pytest.fixture(scope="module")
def schema(project_root: Path) -> jsonschema.Draft202012Validator:
    raw = json.loads((project_root / "docs/reference/json/inspect.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(raw)
    raw["$defs"] = {name: {**found, "additionalProperties": False} for name, found in raw["$defs"].items()}
    return jsonschema.Draft202012Validator(raw)


def regions_cover(regions: list[dict[str, Any]], size: int) -> None:
    """The leaf regions of a document are in order, touch each other and cover it; those of what is inside as well."""
    done = 0
    for region in leaves_of(regions):
        assert region["offset"] == done, region
        done += region["length"]
    assert done == size


def leaves_of(regions: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for region in regions:
        if "regions" in region:
            yield from leaves_of(region["regions"])
        else:
            yield region
        if "content" in region:
            regions_cover(region["content"]["regions"], region["content"]["size"])


def test_the_schemas_are_those_of_the_messages(project_root: Path) -> None:
    found = importlib.util.spec_from_file_location("jsonschemas", project_root / "scripts" / "jsonschemas.py")
    assert found is not None and found.loader is not None
    script = importlib.util.module_from_spec(found)
    found.loader.exec_module(script)
    written = {path.relative_to(project_root).as_posix() for path in (project_root / script.FOLDER).iterdir()}
    assert written == set(script.files()), "run scripts/jsonschemas.py"
    for path, text in script.files().items():
        assert (project_root / path).read_text() == text, f"{path}: run scripts/jsonschemas.py"


@pytest.mark.parametrize("more", [(), ("--sealed",), ("--depth", "0"), ("--depth", "1")], ids=lambda more: "".join(more))
@pytest.mark.parametrize("fixture", ["restic-0.19-v2", "restic-0.14-v1", "config-flip", "key-truncated", "pack-truncated",
                                     "header-flip", "index-truncated", "snapshot-empty", "tree-blob-flip"])  # fmt: skip
def test_json_covers_every_byte(
    fixture: str, more: tuple[str, ...], tmp_path: Path, run: Runner, schema: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = fixtures.unpack(fixture, tmp_path / "f")
    damaged = fixture in fixtures.damage_names()
    if not more:
        monkeypatch.setenv("RESTIC_PASSWORD", "correct horse")
    files = [path for kind in KINDS for path in sorted((repo / kind).rglob("*") if kind != "config" else [repo / kind])]
    files = [path for path in files if path.is_file()]
    done = run("inspect", "--json", *more, *map(str, files))
    assert done.err == b""
    messages = [json.loads(line) for line in done.out.splitlines()]
    assert [message["name"] for message in messages] == [str(path) for path in files]
    wrong = False
    for message, path in zip(messages, files, strict=True):
        schema.validate(message)
        assert message["size"] == path.stat().st_size
        assert message["sealed"] is True
        regions_cover(message["regions"], message["size"])
        wrong = wrong or bool(message["findings"])
        if fixture == "key-truncated":
            assert message["opened"] is False
        elif not more and path.parent.name != "keys" and not damaged:
            assert message["opened"] is True
    if fixture != "config-flip" or not more:  # its name does not tell
        assert wrong is damaged
    refused = not more and not damaged  # the second key has another password
    assert done.code == (1 if wrong else 12 if refused else 0)


def test_what_is_in_a_repository(filled: Filled, run: Runner, password: str, schema: Any) -> None:
    folder = str(filled.folder)
    (first, second, _) = filled.ids

    def look(*words: str) -> list[dict[str, Any]]:
        done = run("inspect", "--json", "-r", folder, *words)
        assert (done.code, done.err) == (0, b""), done
        found = [json.loads(line) for line in done.out.splitlines()]
        for message in found:
            schema.validate(message)
            assert message["opened"] and not message["findings"]
        return found

    latest, named, config = look("latest", f"snapshot/{first[:10]}", "config")
    assert (named["kind"], named["name"], config["name"]) == ("snapshot", first, "config")
    tree = json.loads(run("cat", "snapshot", first, "-r", folder).out)["tree"]
    (found,) = look(f"tree/{tree[:12]}")
    assert (found["kind"], found["name"]) == ("tree", tree)
    place = found["places"][0]
    (pack,) = look(f"data/{place['pack'][:2]}/{place['pack']}")
    blobs = pack["regions"][0]["regions"]
    assert [blob["value"] for blob in blobs if blob["offset"] == place["offset"]] == [f"tree blob {tree}"]
    assert {message["name"] for message in look(second, tree, place["pack"])} == {second, tree, place["pack"]}
    frame = latest["regions"][0]["content"]["regions"][1]
    values = {region["name"]: region["value"] for region in leaves_of(frame["content"]["regions"])}
    assert values["file.frame.hostname"] == json.loads(run("cat", "snapshot", "latest", "-r", folder).out)["hostname"]


def test_the_page_for_people(fixture_repo: Path, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTIC_PASSWORD", "correct horse")
    repo = ("-r", str(fixture_repo))
    pages = {name: run("inspect", *repo, name) for name in ("config", "latest", "index/0c", "pack/64b5")}
    for name, page in pages.items():
        assert (page.code, page.err) == (0, b""), name
        assert b"nothing is wrong" in page.out and b"\x1b" not in page.out
    text = pages["latest"].out.decode()
    assert re.search(r'^ +\d+ +9 +hostname +"fixture" +SNAP-2 +(?i:host that was backed up)', text, re.MULTILINE)
    assert "every blob was opened" in pages["pack/64b5"].out.decode()
    folded = pages["pack/64b5"].out.decode()
    assert "… 47 more (--all shows them, --region 'blobs[10]' one)" in folded and "[10]" not in folded.replace(
        "'blobs[10]'", ""
    )
    whole = run("inspect", *repo, "--all", "pack/64b5").out.decode()
    assert whole.count("tree blob ") == 57 and "more" not in whole
    one = run("inspect", *repo, "pack/64b5", "--region", "blobs[10]").out.decode()
    assert "blobs[10]" in one or "[10]" in one
    assert '"nodes"' not in one and "nodes" in one and "blobs[11]" not in one
    hexadecimal = run("inspect", *repo, "--hex", "latest").out.decode()
    assert "22 66 69 78 74 75 72 65  22 ".strip() in hexadecimal.replace("  ", " ") or "fixture" in hexadecimal
    assert 'file.frame.hostname = "fixture"  SNAP-2' in hexadecimal
    assert "file.iv = " in hexadecimal


def test_bytes_of_a_region(fixture_repo: Path, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTIC_PASSWORD", "correct horse")
    repo = ("-r", str(fixture_repo))
    config = (fixture_repo / "config").read_bytes()
    assert run("inspect", *repo, "config", "--raw", "file.iv").out == config[:16]
    assert run("inspect", *repo, "config", "--raw", "file").out == config
    document = run("inspect", *repo, "config", "--decoded", "file").out
    assert json.loads(document) == json.loads(run("cat", *repo, "config").out)
    assert run("inspect", *repo, "config", "--raw", "file.document").out == document
    assert run("inspect", *repo, "config", "--raw", "file.document.version").out == b"2"
    index = run("inspect", *repo, "index/0c", "--decoded", "file.frame").out
    assert index.rstrip(b"\n") == run("cat", *repo, "index", "0c").out.rstrip(b"\n")
    for words, said in (
        (("--raw", "nothing"), 'no region "nothing"'),
        (("--decoded", "file.iv"), "nothing to decode"),
        (("--raw", "a", "--decoded", "b"), "mutually exclusive"),
        (("--raw", "a", "--json"), "mutually exclusive"),
        (("--depth", "-1"), "negative"),
        (("--decoded", "file", "--sealed"), "no password to open it"),
    ):
        done = run("inspect", *repo, "config", *words)
        assert (done.code, done.out) == (1, b"") and said in done.err.decode(), words
    assert run("inspect", *repo, "config", "latest", "--raw", "file").code == 1


def test_the_master_key_is_hidden(
    fixture_repo: Path, key: str, run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTIC_PASSWORD", "correct horse")
    repo = ("-r", str(fixture_repo))
    printed = run("cat", *repo, "masterkey").out
    master = json.loads(printed)
    secrets = [master["encrypt"], master["mac"]["k"], master["mac"]["r"]]
    secrets += [base64.b64decode(secret).hex() for secret in secrets]
    document = "file.data.sealed.document"
    for words in ((), ("--json",), ("--hex",), ("--hex", "--all"), ("--json", "--depth", "0"), ("--all",), ("--depth", "4"),
                  ("--region", f"{document}.encrypt"), ("--json", "--region", document)):  # fmt: skip
        done = run("inspect", *repo, key, *words)
        assert done.code == 0
        for secret in secrets:
            spaced = " ".join(secret[at : at + 2] for at in range(0, 16, 2))
            assert secret[:12].encode() not in done.out and spaced.encode() not in done.out, words
    for option in ("--raw", "--decoded"):
        for name in ("file.data.sealed.document", "file.data.sealed.document.encrypt"):
            done = run("inspect", *repo, key, option, name)
            assert (done.code, done.out) == (1, b"")
    assert run("inspect", *repo, key, "--decoded", "file.data.sealed").code == 1
    wanted = run("inspect", *repo, key, "--decoded", "file.data.sealed", "--show-secrets")
    assert json.loads(wanted.out) == master
    assert secrets[0].encode() in run("inspect", *repo, key, "--show-secrets", "--depth", "5", "--all").out
    # It opens what is sealed, wherever that is.
    monkeypatch.delenv("RESTIC_PASSWORD")
    (tmp_path / "master").write_bytes(printed)
    shutil.copy(fixture_repo / "config", tmp_path / "lone")
    for target in (("config", *repo), (str(tmp_path / "lone"),), (str(fixture_repo / "config"),)):
        found = json.loads(run("inspect", "--json", "--key-file", str(tmp_path / "master"), *target).out)
        assert (found["kind"], found["opened"]) == ("config", True)
    other = run("inspect", "--key-file", str(tmp_path / "master"), *repo, key)
    assert other.code == 0 and b"a password does" in other.out
    (tmp_path / "master").write_bytes(b"{}")
    done = run("inspect", "--key-file", str(tmp_path / "master"), *repo, "config")
    assert (done.code, done.err.count(b"\n")) == (1, 1) and b"holds no master key" in done.err


def test_passwords(fixture_repo: Path, run: Runner, spawn: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = ("-r", str(fixture_repo))
    for words in ((*repo, "config"), (str(fixture_repo / "config"),)):
        done = spawn("inspect", *words)
        assert (done.code, done.err) == (0, b"") and b"a password (-p" in done.out and b"not opened" in done.out
        monkeypatch.setenv("RESTIC_PASSWORD", "wrong")
        assert run("inspect", *words).code == 12
        assert b"not verified" in run("inspect", *words, "--sealed").out
        monkeypatch.delenv("RESTIC_PASSWORD")
    key = next((fixture_repo / "keys").iterdir())
    monkeypatch.setenv("RESTIC_PASSWORD", "wrong")
    done = run("inspect", str(key))
    assert done.code == 12 and b"does not open this key" in done.out and b"scrypt" in done.out
    monkeypatch.delenv("RESTIC_PASSWORD")
    (tmp_path / "pw").write_text("correct horse\n")
    assert b"nothing is wrong\n" in run("inspect", "-p", str(tmp_path / "pw"), str(fixture_repo / "config")).out
    assert b"nothing is wrong\n" in run("inspect", "--password-command", "echo correct horse", *repo, "config").out
    assert spawn("inspect", "-r", str(tmp_path / "none"), "config").code == 10
    assert spawn("inspect", *repo, "latest").err.count(b"password is needed") == 1
    assert run("inspect", "--sealed", "--key-file", "x", *repo, "config").code == 1


def test_on_a_terminal(fixture_repo: Path, key: str, environment: dict[str, str]) -> None:
    """The password is asked for, lines fit and have colours, and bytes do not go there."""
    repo = ["-r", str(fixture_repo)]
    for words, code in ((["config", key, "pack/64b5"], 0), (["--hex", "latest"], 0), (["config", "--raw", "file.iv"], 1),
                        (["config", "--decoded", "file"], 0)):  # fmt: skip
        session = Terminal(["inspect", *repo, *words], {**environment, "TERM": "xterm", "COLUMNS": "80"})
        session.read_until(b"enter password for repository: ")
        session.type("correct horse")
        assert session.finish() == code
        shown = session.seen.decode()
        lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
        if "--decoded" in words:
            assert json.loads(shown)["version"] == 2
        elif code:
            assert lines[-1] == "Fatal: stdout is the terminal, please redirect output"
        else:
            assert "\x1b[36m" in shown and max(map(len, lines)) <= 80


def test_targets_that_are_nothing(fixture_repo: Path, run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTIC_PASSWORD", "correct horse")
    repo = ("-r", str(fixture_repo))
    for words, said in (
        ((str(tmp_path),), "is a directory"),
        (("nothing-there",), "no such file"),
        (("ab12",), "-r"),
        ((*repo, "tree/00000000"), "no tree has an id that begins with 00000000"),
        ((*repo, "0"), "0 is ambiguous: "),
        ((*repo, "snapshot/" + "00" * 32), "no such file"),
        (("",), "empty"),
    ):
        done = run("inspect", *words)
        assert (done.code, done.out, done.err.count(b"\n")) == (1, b"", 1), (words, done)
        assert said in done.err.decode(), (words, done.err)
    done = run("inspect", *repo, "config", "tree/00000000", "latest")
    assert done.code == 1 and done.out.count(b"nothing is wrong") == 2 and b"no tree" in done.err
    assert run("inspect").code == 1


def test_standard_input(fixture_repo: Path, spawn: Runner, environment: dict[str, str]) -> None:
    raw = (fixture_repo / "config").read_bytes()
    found = json.loads(spawn("inspect", "-", "--json", stdin=raw).out)
    assert (found["kind"], found["name"], found["size"], found["opened"]) == ("unknown", "-", len(raw), False)
    key = next((fixture_repo / "keys").iterdir()).read_bytes()
    done = spawn("inspect", "-", stdin=key, env={"RESTIC_PASSWORD": "correct horse"})
    assert done.code in (0, 12) and b"scrypt" in done.out
    for stdin in (b"", b"\0", os.urandom(5000), b'{"kdf":' * 2000, b"[" * 100_000):
        done = spawn("inspect", "-", "--json", stdin=stdin, env={"RESTIC_PASSWORD": "x"})
        assert done.code in (0, 1, 12) and not done.err, done.err
        message = json.loads(done.out)
        regions_cover(message["regions"], len(stdin))
    with open("/dev/zero", "rb") as endless:
        done = subprocess.run([sys.executable, "-m", "restic_tools", "inspect", "-"], stdin=endless, env=environment,
                              capture_output=True, check=False)  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1)
    assert b"more than 256 MiB" in done.stderr


@pytest.mark.parametrize("damage", ["data-blob-flip", "header-length-absurd", "index-flip", "snapshot-truncated", "key-flip",
                                    "config-truncated", "pack-extended", "v1-tree-blob-flip", "pack-empty"])  # fmt: skip
def test_damage_is_told(damage: str, tmp_path: Path, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = fixtures.unpack(damage, tmp_path / "f")
    files = [str(path) for path in sorted(repo.rglob("*")) if path.is_file()]
    fixture = fixtures.describe_damage(damage).fixture
    healthy = fixtures.unpack(fixture, tmp_path / "healthy")
    with_key = Access.with_password(LocalStorage(str(healthy)), fixtures.describe(fixture).passwords[0].encode())
    assert with_key.master is not None
    (tmp_path / "master").write_bytes(encode_master_key(with_key.master))
    done = run("inspect", "--json", "--key-file", str(tmp_path / "master"), *files)
    told = {message["name"] for message in map(json.loads, done.out.splitlines()) if message["findings"]}
    assert done.code == 1
    hurt = {path for path in files if not (healthy / Path(path).relative_to(repo)).is_file()
            or (healthy / Path(path).relative_to(repo)).read_bytes() != Path(path).read_bytes()}  # fmt: skip
    assert told == hurt


def test_what_is_wrong_is_shown_in_its_place(tmp_path: Path, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = fixtures.unpack("data-blob-flip", tmp_path / "f")
    (step,) = fixtures.describe_damage("data-blob-flip").steps
    monkeypatch.setenv("RESTIC_PASSWORD", "correct horse")
    for more in ((), ("--all",), ("--depth", "0"), ("--hex",), ("--depth", "1")):
        lines = run("inspect", str(repo / step["path"]), *more).out.decode().splitlines()
        (place,) = (number for number, line in enumerate(lines) if line.lstrip().startswith("! "))
        if "1" in more:
            assert "something in it is wrong" in lines[place] and " blobs " in lines[place - 1]
        else:
            assert "ciphertext verification failed [CRYPTO-4]" in lines[place]
        if more == ():
            assert "[44]" in lines[place - 1] and "34 more" in lines[place - 2] and "44 more" in lines[place + 1]
        assert lines[-1] == "  blobs[44]: ciphertext verification failed [CRYPTO-4]"


def test_nothing_acts_on_the_terminal(tmp_path: Path, run: Runner, password: str) -> None:
    new_repository(tmp_path / "repo")
    repo = Repository.open(LocalStorage(str(tmp_path / "repo")), PASSWORD)
    document = {"time": "2024-02-29T10:00:00Z", "tree": MARKER, "paths": [MARKER], "hostname": MARKER, "tags": [MARKER],
                "username": MARKER, MARKER: {MARKER: [MARKER]}}  # fmt: skip
    raw = json.dumps(document, ensure_ascii=False).encode()
    names = [f"snapshot/{repo.save_unpacked(FileKind.SNAPSHOT, raw).hex()}"]
    lock = {"time": MARKER, "exclusive": True, "hostname": MARKER, "username": MARKER, "pid": 1, MARKER: 2}
    names.append(f"lock/{repo.save_unpacked(FileKind.LOCK, json.dumps(lock, ensure_ascii=False).encode()).hex()}")
    writer = repo.writer()
    blob = writer.save_blob(BlobType.TREE, json.dumps({"nodes": [{"name": MARKER, MARKER: MARKER}]}).encode()).id
    writer.flush()
    names.append(f"tree/{blob.hex()}")
    (tmp_path / f"{MARKER.replace('/', '')}").write_bytes(b"x" * 40)
    for more in ((), ("--hex",), ("--all", "--depth", "0"), ("--depth", "3")):
        for name in (*names, str(tmp_path / MARKER)):
            done = run("inspect", "-r", str(tmp_path / "repo"), name, *more)
            output = done.out + done.err
            assert not any(acting in output for acting in ACTING), (name, more)
            assert not any(line.startswith(b"FORGED") for line in output.splitlines())
            assert output.count(b"FORGED") > 0


@pytest.mark.parametrize("way", [False, True])
def test_json_does_not_act_on_a_terminal_either(way: bool, tmp_path: Path, environment: dict[str, str]) -> None:
    """What JSON allows as it is in a string is written there as an escape; the same is said."""
    new_repository(tmp_path / "repo")
    repo = Repository.open(LocalStorage(str(tmp_path / "repo")), PASSWORD)
    writer = repo.writer()
    node = {"name": "f", "type": "file", "content": [], "user": MARKER, MARKER: MARKER}
    tree = writer.save_blob(BlobType.TREE, json.dumps({"nodes": [node]}, ensure_ascii=False).encode()).id
    writer.flush()
    raw = {"time": "2024-02-29T10:00:00Z", "tree": tree.hex(), "paths": [MARKER], "hostname": MARKER, MARKER: MARKER}
    name = repo.save_unpacked(FileKind.SNAPSHOT, json.dumps(raw, ensure_ascii=False).encode()).hex()
    words = ["inspect", "--json", "-r", str(tmp_path / "repo"), f"{name}:f" if way else f"snapshot/{name}"]
    settings = {**environment, "RESTIC_PASSWORD": PASSWORD}
    session = Terminal(words, {**settings, "TERM": "xterm"})
    code = session.finish()
    piped = subprocess.run([sys.executable, "-m", "restic_tools", *words], env=settings, capture_output=True, check=False)
    shown = session.seen.replace(b"\r\n", b"\n")
    assert code == piped.returncode
    assert not any(acting in shown for acting in ACTING) and any(acting in piped.stdout for acting in ACTING)
    assert list(map(json.loads, shown.splitlines())) == list(map(json.loads, piped.stdout.splitlines()))


def test_a_reader_that_goes_away(fixture_repo: Path, environment: dict[str, str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "restic_tools", "inspect", "--hex", "--all", "-r", str(fixture_repo), "pack/64b5"],
        env={**environment, "RESTIC_PASSWORD": "correct horse"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    process.stdout.read(1)
    process.stdout.close()
    assert process.wait() in (141, -signal.SIGPIPE)
    assert process.stderr.read() == b""


def test_a_long_pack_takes_bounded_memory(tmp_path: Path, environment: dict[str, str]) -> None:
    new_repository(tmp_path / "repo")
    repo = Repository.open(LocalStorage(str(tmp_path / "repo")), PASSWORD, pack_size=128 << 20)
    writer = repo.writer()
    for number in range(100_000):
        writer.save_blob(BlobType.DATA, number.to_bytes(8, "little"))
    writer.flush()
    (pack,) = (name for name, _ in repo.storage.list(FileKind.PACK))
    # The parent is a small process, for a child's memory counts from when it was still a copy of that.
    line = [sys.executable, "-m", "restic_tools", "inspect", "--all", "-r", str(tmp_path / "repo"), f"pack/{pack}"]
    script = "import resource, subprocess, sys; code = subprocess.run(sys.argv[1:]).returncode; " \
        "print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)"  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", script, *line], env={**environment, "RESTIC_PASSWORD": PASSWORD}, capture_output=True, check=True
    )
    code, kibibytes = map(int, done.stderr.split())
    assert code == 0
    assert done.stdout.count(b"data blob ") == 100_000
    assert kibibytes < 120 << 10
