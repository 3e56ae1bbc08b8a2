"""``inspect SNAPSHOT:PATH`` and ``inspect --diff``: beside real restic, with damage, hostile names, messages as documented."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from restic_conformance import fixtures
from restic_format.repository import Repository
from restic_format.storage import LocalStorage
from restic_spec.layout import FileKind
from restic_spec.snapshot import Snapshot
from restic_spec.tree import ExtendedAttribute
from tests.restore.kit import PASSWORD as KIT_PASSWORD
from tests.restore.kit import Maker, cheap_repo
from tests.tools.kit import PASSWORD, Filled, Outcome, Runner


@pytest.fixture
def here(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> Filled:
    """The repository by real restic, named in the environment."""
    monkeypatch.setenv("RESTIC_REPOSITORY", str(filled.folder))
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    return filled


def lines(outcome: Outcome) -> list[dict[str, Any]]:
    return [json.loads(line) for line in outcome.out.splitlines()]


def of_type(messages: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [message for message in messages if message["message_type"] == kind]


@pytest.fixture(scope="session")
def schema(project_root: Path) -> Any:
    return json.loads((project_root / "docs" / "reference" / "json" / "inspect_way.schema.json").read_text())


def valid(messages: list[dict[str, Any]], schema: Any) -> None:
    for message in messages:
        jsonschema.validate(message, schema)
        # Nothing is said that is not declared.
        members = [found["properties"] for found in schema["$defs"].values()]
        kinds = [found for found in members if message["message_type"] in found.get("message_type", {}).get("enum", ())]
        assert any(message.keys() <= found.keys() for found in kinds)


def test_a_file_is_where_real_restic_has_it(here: Filled, run: Runner, restic_here: Runner, schema: Any) -> None:
    path = f"{here.source}/dir/b.bin"
    messages = lines(run("--json", "inspect", f"{here.ids[0]}:{path}"))
    valid(messages, schema)
    (way,) = of_type(messages, "way")
    assert [message["message_type"] for message in messages] == ["way", "blob", "summary"]
    snapshot = json.loads(restic_here("cat", "snapshot", way["snapshot"]).out)
    tree = snapshot["tree"]
    for step in way["trees"]:
        assert step["id"] == tree
        raw = restic_here("cat", "blob", tree).out
        assert step["length"] == len(raw)
        node = json.loads(raw)["nodes"][step["entry"]]
        tree = node.get("subtree")
    shown = {member["name"]: member["value"] for member in way["node"]["members"] if member["value"] is not None}
    assert shown == {name: value for name, value in node.items() if name != "content"}
    (blob,) = of_type(messages, "blob")
    assert [blob["id"]] == node["content"] and (blob["offset"], blob["length"]) == (0, 3000)
    (copy,) = blob["copies"]
    index = json.loads(restic_here("cat", "index", copy["indexes"][0]).out)
    (pack,) = [pack for pack in index["packs"] if pack["id"] == copy["pack"]]
    (listed,) = [found for found in pack["blobs"] if found["id"] == blob["id"]]
    assert (listed["offset"], listed["length"]) == (copy["offset"], copy["length"]) and copy["intact"]
    assert copy["pack_size"] == (here.folder / "data" / copy["pack"][:2] / copy["pack"]).stat().st_size
    assert blob["id"] in restic_here("list", "blobs").out.decode()


def test_shared_is_what_find_says(here: Filled, run: Runner, restic_here: Runner, schema: Any) -> None:
    path = f"{here.source}/a.txt"
    messages = lines(run("--json", "inspect", "--shared", f"{here.ids[0]}:{path}"))
    valid(messages, schema)
    (blob,) = of_type(messages, "blob")
    found = json.loads(restic_here("find", "--json", "--blob", blob["id"]).out)
    places = {(item["path"], item["snapshot"]) for item in found}
    ours = {(share["path"], snapshot) for share in of_type(messages, "share") for snapshot in share["snapshots"]}
    own = of_type(messages, "way")[0]["snapshot"]
    assert ours == places - {(path, own)} and ours
    (sharing,) = of_type(messages, "sharing")
    assert sharing["stored"] == blob["copies"][0]["length"] and sharing["unique"] == sharing["freed"] == 0


def test_what_people_read(here: Filled, run: Runner) -> None:
    done = run("inspect", "--shared", f"{here.ids[0]}:{here.source}/dir/b.bin")
    assert done.code == 0 and b"Trees on the way" in done.out and b"TREE-16" in done.out and b"Blobs" in done.out
    assert done.out.endswith(b"nothing is wrong\n") and b"\x1b" not in done.out
    folder = run("inspect", f"{here.ids[0]}:{here.source}")
    assert folder.code == 0 and b"Entries\n" in folder.out and b"a.txt" in folder.out
    # A name that could act on a terminal stays a name.
    odd = run("inspect", f"{here.ids[0]}:{here.source}/bad\udcff\x01name")
    assert odd.code == 0 and b"\x01" not in odd.out


def test_long_lists_are_folded_for_people_only(tmp_path: Path, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made(tmp_path, lambda maker: [maker.file("f", *(b"%d" % number for number in range(50)))])
    monkeypatch.setenv("RESTIC_PASSWORD", KIT_PASSWORD)
    words = ["-r", str(folder), "inspect", "latest:f"]
    assert "… 30 more blobs (--all)".encode() in run(*words).out
    whole = run(*words, "--all").out
    assert b"more blobs" not in whole and len(whole.splitlines()) > 60
    assert len(of_type(lines(run("--json", *words)), "blob")) == 50


def made(tmp_path: Path, entries: Any) -> Path:
    """A repository with one hand-made snapshot."""
    folder = cheap_repo(tmp_path / "made")
    maker = Maker(Repository.open(LocalStorage(str(folder)), KIT_PASSWORD))
    tree = maker.finish(sorted(entries(maker), key=lambda node: node.name_bytes))
    maker.repo.save_snapshot(Snapshot(time="2026-01-01T00:00:00Z", tree=tree.hex(), paths=["/x"], hostname="h\x1b]0;x\x07"))
    return folder


def test_damage_is_told_and_the_rest_goes_on(tmp_path: Path, run: Runner, monkeypatch: pytest.MonkeyPatch, schema: Any) -> None:
    folder = made(tmp_path, lambda maker: [maker.file("f\x1b[2J", b"one", b"two"), maker.symlink("l", "x")])
    monkeypatch.setenv("RESTIC_PASSWORD", KIT_PASSWORD)
    repo = Repository.open(LocalStorage(str(folder)), KIT_PASSWORD)
    words = ["-r", str(folder), "inspect", "latest:f\x1b[2J"]
    healthy = lines(run("--json", *words))
    copy = of_type(healthy, "blob")[1]["copies"][0]
    pack = folder / "data" / copy["pack"][:2] / copy["pack"]
    raw = bytearray(pack.read_bytes())
    raw[copy["offset"] + 20] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(raw)
    done = run("--json", *words)
    messages = lines(done)
    valid(messages, schema)
    assert done.code == 1
    (finding,) = of_type(messages, "finding")
    assert (finding["region"], finding["clause"]) == ("blobs[1].copies[0]", "CRYPTO-4")
    assert [blob["copies"][0]["intact"] for blob in of_type(messages, "blob")] == [True, False]
    text = run(*words)
    assert text.code == 1 and b"\x1b" not in text.out and b"1 thing is wrong:" in text.out
    pack.unlink()
    gone = run(*words)
    assert gone.code == 1 and gone.out.count(b"is not there") == 2
    assert run("-r", str(folder), "inspect", "latest:l").code == 0
    for index, _ in repo.list(FileKind.INDEX):
        (folder / "index" / index.hex()).unlink()
    nothing = run("--json", *words)
    assert nothing.code == 1 and [found["region"] for found in of_type(lines(nothing), "finding")] == ["trees[0]"]


def test_a_node_with_any_number_of_members_is_shown_in_bounds(
    tmp_path: Path, run: Runner, monkeypatch: pytest.MonkeyPatch, schema: Any
) -> None:
    attributes = [ExtendedAttribute(f"user.{number}", b"v") for number in range(6000)]
    folder = made(tmp_path, lambda maker: [maker.node("f", "fifo", 0, extended_attributes=attributes)])
    monkeypatch.setenv("RESTIC_PASSWORD", KIT_PASSWORD)
    words = ["-r", str(folder), "inspect", "latest:f"]
    messages = lines(run("--json", *words))
    valid(messages, schema)
    (way,) = of_type(messages, "way")
    (listed,) = [member for member in way["node"]["members"] if member["name"] == "extended_attributes"]
    assert way["node"]["left_out"] and 3000 < len(listed["members"]) < 3400
    assert len(run(*words).out.splitlines()) < 130 and len(run(*words, "--all").out.splitlines()) > 9000


def test_paths_that_are_not_there_and_options_that_do_not_fit(here: Filled, run: Runner) -> None:
    gone = run("inspect", "latest:/nope")
    assert gone.code == 1 and gone.err == b"path /nope: not found\n"
    assert run("inspect", "0000000:/").code == 1
    assert b"--shared is for paths in snapshots only" in run("inspect", "--shared", "config").err
    assert b"--hex is not for a path in a snapshot" in run("inspect", "--hex", "latest:/").err
    several = run("inspect", "latest:/nope", "latest:/")
    assert several.code == 1 and b"nothing is wrong" in several.out


# --diff


def test_exit_codes_of_diff(here: Filled, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("inspect", "--diff", "config", "config").code == 0
    assert run("inspect", "--diff", "latest:/", "latest:/").code == 0
    assert run("inspect", "--diff", f"snapshot/{here.ids[0]}", f"snapshot/{here.ids[1]}").code == 1
    for words in (
        ["config"],
        ["config", "latest:/"],
        ["config", "index/" + "00" * 32],
        ["latest:/nope", "latest:/"],
        ["--hex", "a", "b"],
    ):
        done = run("inspect", "--diff", *words)
        assert done.code == 2 and done.out == b"" and len(done.err.splitlines()) == 1
    assert json.loads(run("--json", "inspect", "--diff", "config").err)["code"] == 2
    monkeypatch.setenv("RESTIC_PASSWORD", "another")
    assert run("inspect", "--diff", "config", "config").code == 12
    monkeypatch.setenv("RESTIC_REPOSITORY", "/nonexistent")
    assert run("inspect", "--diff", "config", "config").code == 10


def test_snapshots_differ_in_what_real_restic_shows(here: Filled, run: Runner, restic_here: Runner, schema: Any) -> None:
    first, second = here.ids[0], here.ids[2]
    done = run("--json", "inspect", "--diff", "--all", f"snapshot/{first}", f"snapshot/{second}")
    messages = lines(done)
    valid(messages, schema)
    a, b = (json.loads(restic_here("cat", "snapshot", name).out) for name in (first, second))
    states = {
        message["name"].removeprefix("file.content."): message["state"]
        for message in of_type(messages, "difference")
        if message["name"].startswith("file.content.")
    }
    for name in a.keys() | b.keys():
        if not isinstance(a.get(name, b.get(name)), list | dict):
            wanted = "only_b" if name not in a else "only_a" if name not in b else "same" if a[name] == b[name] else "changed"
            assert states[name] == wanted, name
    (summary,) = of_type(messages, "summary")
    counted = dict.fromkeys(("same", "changed", "moved", "only_a", "only_b"), 0)
    for message in of_type(messages, "difference"):
        counted[message["state"]] += 1
    assert summary == {"message_type": "summary", **counted}


def test_lone_files_are_compared(run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [fixtures.unpack(name, tmp_path / name) for name in ("rustic-v2", "restic-0.14-v2")]
    sealed = run("inspect", "--diff", *(str(folder / "config") for folder in folders))
    assert sealed.code == 1 and b"file.ciphertext" in sealed.out and b"file.content" not in sealed.out
    monkeypatch.setenv("RESTIC_PASSWORD", fixtures.describe("rustic-v2").passwords[0])
    opened = run("inspect", "--diff", *(str(folder / "config") for folder in folders))
    assert opened.code == 1 and b"M file.content.id " in opened.out and b"CONFIG-4" in opened.out
    monkeypatch.setenv("RESTIC_PASSWORD", "another")
    assert run("inspect", "--diff", *(str(folder / "config") for folder in folders)).code == 12


@pytest.mark.clause("KEY-7")
def test_master_keys_are_hidden_unless_asked_for(here: Filled, run: Runner, restic_here: Runner, tmp_path: Path) -> None:
    (key,) = (here.folder / "keys").iterdir()
    other = tmp_path / "key"
    document = json.loads(key.read_bytes())
    other.write_text(json.dumps({**document, "username": "another\x1b[2J"}))
    secret = json.loads(restic_here("cat", "masterkey").out)["encrypt"]
    for option in ([], ["--json"]):
        for extra in ([], ["--all"]):
            done = run(*option, "inspect", "--diff", *extra, f"key/{key.name}", str(other))
            assert done.code == 1 and secret.encode() not in done.out and b"\x1b" not in done.out
    assert hashlib.sha256(other.read_bytes()).hexdigest() != key.name
