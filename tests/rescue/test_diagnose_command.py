"""``diagnose`` as a command: what it prints, as text and as messages, with which exit code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.browser import Browser
from tests.safety import kit
from tests.safety.forge import Forge, node, tree_json
from tests.tools.kit import Runner


@pytest.fixture
def forge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Forge:
    """A repository with a file that has lost its middle, in a folder with a name that means harm."""
    made = Forge(tmp_path / "forged")
    one, two, three = (made.blob("data", content) for content in (b"1" * 10, b"2" * 20, b"3" * 30))
    inner = made.blob("tree", tree_json([node("f", content=[one[1], two[1], three[1]], size=60)]))
    root = made.blob("tree", tree_json([node("a\x1b[2Jb", "dir", subtree=inner[1]), node("ok")]))
    made.index({made.pack([root, inner]): [root, inner]})
    made.index({made.pack([one, three]): [one, three]})
    made.snapshot(root[1])
    monkeypatch.setenv("RESTIC_REPOSITORY", str(made.path))
    monkeypatch.setenv("RESTIC_PASSWORD", kit.PASSWORD)
    return made


@pytest.fixture(scope="module")
def schema(project_root: Path) -> jsonschema.Draft202012Validator:
    raw = json.loads((project_root / "docs/reference/json/diagnose.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(raw)
    raw["$defs"] = {name: {**found, "additionalProperties": False} for name, found in raw["$defs"].items()}
    return jsonschema.Draft202012Validator(raw)


def messages(raw: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in raw.splitlines()]


def test_the_text_answers_in_order(forge: Forge, run: Runner) -> None:
    before = sorted(path for path in forge.path.rglob("*"))
    done = run("diagnose")
    text = done.out.decode()
    assert done.code == 1 and not done.err and "\x1b" not in text
    order = [
        "is lost here",
        "0 of 1 snapshot can",
        "What is wrong (1)",
        "Snapshots that are not",
        "Files and dir",
        "What to do now",
    ]
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)
    assert "of 60 bytes 10 to 30 lost here (by 1)" in text and "1 of 2 files whole, 1 with lost parts" in text
    assert sorted(path for path in forge.path.rglob("*")) == before, "nothing is written, no lock either"


def test_the_messages_are_of_their_schema(forge: Forge, run: Runner, schema: jsonschema.Draft202012Validator) -> None:
    done = run("diagnose", "--json")
    found = messages(done.out)
    for message in found:
        schema.validate(message)
    assert [message["message_type"] for message in found] == ["fault", "path", "snapshot", "summary"]
    fault, path, snapshot, summary = found
    assert done.code == 1 and fault["cost"] == {"snapshots": 1, "files": 1, "directories": 0, "bytes": 20, "hope": "lost"}
    assert path["ranges"] == [{"start": 10, "end": 30, "hope": "lost", "exact": True}] and path["faults"] == [1]
    assert snapshot["damaged_paths"] == [1] and snapshot["files_lost"] == 1 and not snapshot["whole"]
    assert summary["paths"] == 1 and not summary["healthy"] and summary["next_steps"]


def test_a_sound_repository_is_told_so(tmp_path: Path, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Forge(tmp_path / "sound")
    made.whole([node("f")])
    monkeypatch.setenv("RESTIC_REPOSITORY", str(made.path))
    monkeypatch.setenv("RESTIC_PASSWORD", kit.PASSWORD)
    done = run("diagnose")
    assert done.code == 0 and b"All is well: 1 snapshot can be restored" in done.out
    (only,) = [message for message in messages(run("diagnose", "--json").out) if message["message_type"] == "summary"]
    assert only["healthy"] and only["next_steps"] == []
    (made.path / "locks" / ("ab" * 32)).write_bytes(b"garbage")
    left = run("diagnose")
    assert left.code == 0 and b"Left behind" in left.out, "what is not needed is no damage"


def test_without_config_key_or_password(forge: Forge, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = run("diagnose", "--sealed", "--json")
    assert sealed.code == 0 and messages(sealed.out)[-1]["opened"] is False
    pack = kit.files_of(forge.path, "data")[0]
    intact = pack.read_bytes()
    kit.flip_bit(pack, 100)
    told = run("diagnose", "--sealed")
    assert told.code == 1 and b"it costs: nobody can say without a key" in told.out and b"no file of any" not in told.out
    pack.write_bytes(intact)
    config = (forge.path / "config").read_bytes()
    (forge.path / "config").unlink()
    lost = messages(run("diagnose", "--json").out)
    assert [m["object"] for m in lost if m["message_type"] == "fault"] == ["config", "data"] and lost[-1]["trouble"]
    assert b"read without its config" in run("diagnose").out
    monkeypatch.setenv("RESTIC_PASSWORD", "wrong")
    assert run("diagnose").code == 12
    (forge.path / "config").write_bytes(config)
    assert run("diagnose").code == 12
    shutil.rmtree(forge.path / "keys")
    (forge.path / "keys").mkdir()
    none = run("diagnose")
    assert none.code == 1 and b"no key file" in none.out
    monkeypatch.setenv("RESTIC_REPOSITORY", str(forge.path / "keys"))
    assert run("diagnose").code == 10


def test_the_page_opens_in_a_browser(tmp_path: Path, run: Runner, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Forge(tmp_path / "forged")
    gone, there = made.blob("data", b"1" * 10), made.blob("data", b"2" * 20)
    names = ["<img src=x onerror=alert(1)>", "intact", "\\xff\\x1b[2J"]
    nodes = [node(name, content=[there[1], gone[1]] if name != "intact" else [there[1]], size=30) for name in names]
    made.whole(nodes, [there])
    monkeypatch.setenv("RESTIC_REPOSITORY", str(made.path))
    monkeypatch.setenv("RESTIC_PASSWORD", kit.PASSWORD)
    target = tmp_path / "page.html"
    done = run("diagnose", "--html", str(target))
    assert done.code == 1 and b"wrote" in done.out
    assert run("diagnose", "--html", "-").out == target.read_bytes()
    refused = run("diagnose", "--html", "-", "--json")
    assert refused.code == 1 and b"only one of them" in refused.err and not refused.out
    for dark, width in ((False, 1000), (True, 390)):
        with browser.open(target, dark=dark, width=width) as page:
            text = page.text
            assert "Some data is lost here: 2 files" in text and "What to do now" in text and names[0] in text
            assert "20 to 30" in text and "/intact" not in page.evaluate("document.querySelector('#paths').innerText")
            assert page.errors() == [] and page.requests() == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_shares_are_put_together_by_a_command_below_it(forge: Forge, run: Runner, tmp_path: Path) -> None:
    plain = run("diagnose", "--json")
    files = [str(tmp_path / f"share{number}") for number in (1, 2)]
    for number, file in enumerate(files, 1):
        done = run("diagnose", "--shard", f"{number}/2", "--resume", file)
        assert done.code == 0 and b"0 of them damaged" in done.out
    assert b"of them earlier: what has rotted since would not be seen" in run("diagnose", "merge", *files).out
    merged = run("diagnose", "merge", *files, "--json")
    assert merged.out == plain.out and merged.code == plain.code == 1
    assert run("diagnose", "merge").code == 1 and b"--resume" in run("diagnose", "--shard", "1/2").err
    assert b"merge  Put together" in run("diagnose", "--help").out
    assert b"  diagnose   " in run("help").out and b"diagnose merge" in run("diagnose", "merge", "--help").out
    assert run("__complete", "diagnose", "m").out.startswith(b"merge\tPut together")
    assert b"diagnose\tShow what is damaged" in run("__complete", "diag").out
