"""What people know from rustic: settings in the repository, numbers about it, labels; beside the real program."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.repository import Repository
from restic_format.storage import LocalStorage
from restic_spec import gotime
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from tests.tools.kit import PASSWORD, Filled, Runner, new_repository, quick_kdf

Rustic = Callable[..., str] | None


@pytest.fixture
def rustic(project_root: Path, tmp_path: Path) -> Rustic:
    """Run real rustic on the repository of the environment; what it writes to standard output.

    None where it was not built, which takes long (`make peers` leaves it out): what it answered is written down here, too.
    """
    program = project_root / ".peers" / "rustic" / "bin" / "rustic"
    if not program.exists():
        return None

    def call(*words: str) -> str:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "RUSTIC_PASSWORD": PASSWORD,
            "RUSTIC_NO_CACHE": "true",
            "TZ": "UTC",
        }
        command = [str(program), "-r", os.environ["RESTIC_REPOSITORY"], *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def raw_config(folder: Path) -> dict[str, object]:
    """The config as it is stored."""
    repo = Repository.open(LocalStorage(str(folder)), PASSWORD)
    found: dict[str, object] = json.loads(repo.load_unpacked(FileKind.CONFIG, b""))
    return found


# config, show-config

STORED: dict[tuple[str, ...], dict[str, object]] = {
    ("--set-compression", "5"): {"compression": 5},
    ("--set-compression", "0"): {"compression": 0},
    ("--set-compression=-7",): {"compression": -7},
    ("--set-datapack-size", "8MiB", "--set-datapack-growfactor", "16", "--set-datapack-size-limit", "64MiB"): {
        "datapack_size": 8 << 20,
        "datapack_growfactor": 16,
        "datapack_size_limit": 64 << 20,
    },
    ("--set-treepack-size", "2MB", "--set-treepack-growfactor", "0", "--set-treepack-size-limit", "3MiB"): {
        "treepack_size": 2_000_000,
        "treepack_growfactor": 0,
        "treepack_size_limit": 3 << 20,
    },
    ("--set-extra-verify", "false"): {"extra_verify": False},
    ("--set-min-packsize-tolerate-percent", "40", "--set-max-packsize-tolerate-percent", "200", "--set-extra-verify", "true"): {
        "min_packsize_tolerate_percent": 40,
        "max_packsize_tolerate_percent": 200,
        "extra_verify": True,
    },
    ("--set-append-only", "true", "--set-compression", "1"): {"append_only": True, "compression": 1},
}
"""What rustic 0.11.4 stores, in its order."""


@pytest.mark.clause("RUSTIC-1")
@pytest.mark.parametrize("words", STORED, ids=lambda words: words[0])
def test_settings_are_stored_as_rustic_stores_them(words: tuple[str, ...], empty: Path, run: Runner, rustic: Rustic) -> None:
    before = raw_config(empty)
    expected = list({**before, **STORED[words]}.items())
    plain = (empty / "config").read_bytes()
    if rustic is not None:
        rustic("config", *words)
        assert list(raw_config(empty).items()) == expected
        (empty / "config").chmod(0o600)
        (empty / "config").write_bytes(plain)
    done = run("config", *words)
    assert (done.code, done.err) == (0, b"")
    assert done.out.endswith(b"saved new config\n")
    assert list(raw_config(empty).items()) == expected
    if rustic is not None:
        assert json.loads(rustic("cat", "config")) == dict(expected)
    assert run("snapshots").code == 0


@pytest.mark.clause("RUSTIC-1")
def test_what_is_not_named_stays(empty: Path, run: Runner) -> None:
    assert run("config", "--set-compression", "3", "--set-datapack-size", "4M").code == 0
    assert run("config", "--set-extra-verify", "true").code == 0
    found = raw_config(empty)
    assert {name: found[name] for name in ("compression", "datapack_size", "extra_verify")} == {
        "compression": 3,
        "datapack_size": 4 << 20,
        "extra_verify": True,
    }
    done = run("config", "--set-compression", "3")
    assert (done.code, done.out) == (0, b"config is unchanged\n")
    assert run("config").out == b"config is unchanged\n"
    done = run("config", "--set-compression", "4", "--json")
    assert json.loads(done.out) == {
        "message_type": "summary",
        "changed": [{"name": "compression", "before": 3, "after": 4}],
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--set-compression", "23"), "compression level 23 is not from -7 to 22"),
        (("--set-compression", "-8"), "compression level -8 is not from -7 to 22"),
        (("--set-min-packsize-tolerate-percent", "101"), "min_packsize_tolerate_percent must be from 0 to 100"),
        (("--set-max-packsize-tolerate-percent", "99"), "max_packsize_tolerate_percent must be 100 or more, or 0 for no limit"),
        (("--set-datapack-size", "5GB"), "datapack_size 5000000000 is not from 0 to 4294967295"),
        (("--set-treepack-growfactor", "-1"), "treepack_growfactor -1 is not from 0 to 4294967295"),
        (("--set-datapack-size", "much"), "invalid argument 'much' for --set-datapack-size: expected a size"),
        (("--set-append-only", "maybe"), "invalid value for '--set-append-only'"),
        (("--set-nothing", "1"), "no such option"),
    ],
)
def test_values_that_make_no_sense(words: tuple[str, ...], said: str, empty: Path, run: Runner) -> None:
    before = (empty / "config").read_bytes()
    done = run("config", *words)
    assert done.code == 1
    assert said in done.err.decode()
    assert done.err.count(b"\n") == 1
    assert (empty / "config").read_bytes() == before


def test_version_1_does_not_compress(tmp_path: Path, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    new_repository(tmp_path / "old", 1)
    monkeypatch.setenv("RESTIC_REPOSITORY", str(tmp_path / "old"))
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    assert b"compression requires at least repository format version 2" in run("config", "--set-compression", "3").err
    assert run("config", "--set-compression", "0").code == 0
    assert run("backup", "-q", __file__).code == 0


@pytest.mark.clause("RUSTIC-10")
def test_what_is_asked_for_goes_before_the_config(
    empty: Path, run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is restic's default, and in the environment."""
    assert run("config", "--set-compression", "0").code == 0
    stored = []
    for number, words in enumerate(([], ["--compression", "auto"], [])):
        (tmp_path / "file").write_bytes(b"%d " % number * 100_000)
        if number == 2:
            monkeypatch.setenv("RESTIC_COMPRESSION", "auto")
        done = run("backup", "--json", *words, str(tmp_path / "file"))
        stored.append(json.loads(done.out.splitlines()[-1])["data_added_packed"])
    assert stored[0] > 200_000 and max(stored[1:]) < 10_000


@pytest.mark.clause("RUSTIC-10")
def test_an_append_only_repository_loses_nothing(empty: Path, run: Runner, restic_here: Runner) -> None:
    assert run("backup", "-q", __file__).code == 0
    assert run("backup", "-q", __file__).code == 0
    assert run("config", "--set-append-only", "true").code == 0
    before = sorted(path.name for path in empty.rglob("*") if path.is_file() and path.name != "config")
    for words in (
        ("forget", "--keep-last", "1"),
        ("tag", "--set", "x"),
        ("prune",),
        ("repair", "index"),
        ("key", "passwd", "--new-insecure-no-password"),
        ("config", "--set-compression", "1"),
    ):
        done = run(*words)
        assert done.code == 1, words
        assert b"append-only" in done.err, words
        assert set(before) <= {path.name for path in empty.rglob("*")}, words
    assert run("backup", "-q", __file__).code == 0
    assert run("config", "--set-append-only", "false").code == 0
    assert run("forget", "--keep-last", "1").code == 0
    assert len(json.loads(run("snapshots", "--json").out)) == 1
    assert restic_here("check", "--read-data", "--no-cache").code == 0


WORDS = ["".join(random.Random(number).choices("etaoinshrdlu", k=3 + number % 7)) for number in range(3000)]


@pytest.mark.clause("RUSTIC-10")
def test_the_level_is_honoured(tmp_path: Path, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text(" ".join(random.Random(1).choices(WORDS, k=200_000)))
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    stored = {}
    for level, flags in (("22", ()), ("0", ()), ("0", ("--compression", "max")), ("1", ()), ("-7", ())):
        new_repository(tmp_path / f"{level}{flags}")
        monkeypatch.setenv("RESTIC_REPOSITORY", str(tmp_path / f"{level}{flags}"))
        assert run("config", f"--set-compression={level}").code == 0
        done = run("backup", "--json", str(tmp_path / "file"), *flags)
        summary = json.loads(done.out.splitlines()[-1])
        stored[level, *flags] = summary["data_added_packed"] / summary["data_added"]
    assert stored["0",] > 0.99, "only trees are compressed"
    assert stored["22",] < stored["0", "--compression", "max"] < stored["1",] < stored["-7",] < 0.9


@pytest.mark.clause("RUSTIC-10")
def test_pack_sizes_are_honoured_and_grow(empty: Path, run: Runner, tmp_path: Path, restic_here: Runner) -> None:
    def packs() -> dict[str, int]:
        return {path.name: path.stat().st_size for path in empty.glob("data/*/*")}

    (tmp_path / "file").write_bytes(os.urandom(25 << 20))
    assert run("config", "--set-datapack-size", "1MiB", "--set-datapack-growfactor", "0").code == 0
    assert run("backup", "-q", str(tmp_path / "file")).code == 0
    before = packs()
    # As much as is sealed at once goes into one pack.
    assert len(before) > 3
    assert max(before.values()) < 10 << 20
    repo = Repository.open(LocalStorage(str(empty)), PASSWORD)
    repo.load_index()
    assert repo.pack_size == 1 << 20
    assert run("config", "--set-datapack-growfactor", "6000").code == 0
    repo = Repository.open(LocalStorage(str(empty)), PASSWORD)
    repo.load_index()
    assert 30_600_000 < repo.pack_size - (1 << 20) < 30_900_000, "6000 times the square root of 25 MiB and something"
    assert repo.pack_targets()[BlobType.TREE] == 16 << 20
    assert Repository.open(LocalStorage(str(empty)), PASSWORD, pack_size=5 << 20).pack_size == 5 << 20
    (tmp_path / "file").write_bytes(os.urandom(25 << 20))
    assert run("backup", "-q", str(tmp_path / "file")).code == 0
    assert max(size for name, size in packs().items() if name not in before) > 20 << 20
    assert run("config", "--set-datapack-size-limit", "2MiB").code == 0
    shown = {item["name"]: item["effective"] for item in json.loads(run("show-config", "--json").out)["settings"]}
    assert shown["datapack_size"] == shown["datapack_size_limit"] == 2 << 20
    assert restic_here("check", "--read-data", "--no-cache").code == 0


def test_what_holds_is_shown(empty: Path, run: Runner) -> None:
    shown = json.loads(run("show-config", "--json").out)
    assert shown["version"] == 2
    found = {item["name"]: (item["value"], item["effective"]) for item in shown["settings"]}
    assert found["compression"] == (None, "auto")
    assert found["datapack_size"] == (None, 16 << 20)
    assert found["extra_verify"] == (None, True)
    assert run("config", "--set-treepack-size", "2M", "--set-extra-verify", "false").code == 0
    page = run("show-config").out.decode()
    rows = {line.split()[0]: line.split()[1:] for line in page.splitlines() if line and line[0].islower()}
    assert rows["treepack_size"][0] == str(2 << 20)
    assert rows["extra_verify"] == ["false", "false"]
    assert rows["append_only"] == ["false"]


# repo-info


def test_the_numbers_are_those_of_both_programs(filled: Filled, run: Runner, rustic: Rustic, restic_here: Runner) -> None:
    ours = json.loads(run("repo-info", "--json").out)
    if rustic is not None:
        theirs = json.loads(rustic("repoinfo", "--json"))
        assert ours["files"] == theirs["files"]

        def by_type(items: list[dict[str, object]]) -> list[dict[str, object]]:
            return sorted(items, key=lambda item: str(item["blob_type"]))

        assert by_type(ours["index"]["blobs"]) == by_type(theirs["index"]["blobs"])
        assert [pack["count"] for pack in by_type(ours["index"]["packs"])] == [
            pack["count"] for pack in by_type(theirs["index"]["packs"])
        ]
    listed = restic_here("list", "blobs", "--no-cache").out.split()
    assert {item["blob_type"]: item["count"] for item in ours["index"]["blobs"]} == {
        "data": listed.count(b"data"),
        "tree": listed.count(b"tree"),
    }
    for item, folder in zip(ours["files"]["repo"], ("keys", "snapshots", "index", "data"), strict=True):
        files = [path for path in (filled.folder / folder).rglob("*") if path.is_file()]
        assert (item["count"], item["size"]) == (len(files), sum(path.stat().st_size for path in files))
    assert sum(pack["count"] for pack in ours["index"]["packs"]) == ours["files"]["repo"][3]["count"]
    assert ours["index"]["marked_packs"] == 0
    assert run("repoinfo", "--json").out == run("repo-info", "--json").out
    assert set(json.loads(run("repo-info", "--only-files", "--json").out)) == {"files"}
    assert set(json.loads(run("repo-info", "--only-index", "--json").out)) == {"index"}
    assert run("repo-info", "--only-index", "--only-files").code == 1
    page = run("repo-info").out.decode()
    assert f"snapshot  {len(filled.ids)} " in page
    assert page.count("Count") == 3


def test_the_numbers_of_an_empty_repository(empty: Path, run: Runner) -> None:
    found = json.loads(run("repo-info", "--json").out)
    assert found["index"]["packs"][0]["count"] == 0
    assert {item["tpe"]: item["count"] for item in found["files"]["repo"]} == {"key": 1, "snapshot": 0, "index": 0, "pack": 0}
    assert run("repo-info").code == 0


# backup


@pytest.mark.clause("RUSTIC-3", "RUSTIC-8")
def test_labels_descriptions_and_marks_are_rustics(empty: Path, run: Runner, rustic: Rustic, restic_here: Runner) -> None:
    words = ("--label", 'a "label" <&>', "--description", "zwölf\nlines", "--time", "2026-01-31 10:00:00")
    assert run("backup", "-q", *words, "--delete-after", "1m2d3h", __file__).code == 0
    assert run("backup", "-q", "--delete-never", "--force", __file__).code == 0
    assert run("backup", "-q", __file__).code == 0
    ours = json.loads(run("snapshots", "--json").out)
    shown = [ours]
    if rustic is not None:
        groups = json.loads(rustic("snapshots", "--json"))
        theirs = [item for group in groups for item in group["snapshots"]]
        shown.append(sorted(theirs, key=lambda item: gotime.parse_ns(item["time"])))
    for each in shown:
        assert [item.get("label", "") for item in each] == ['a "label" <&>', "", ""]
        assert [item.get("description") for item in each] == ["zwölf\nlines", None, None]
        assert [item.get("delete", "NotSet") for item in each][1:] in (["Never", "NotSet"], ["Never", None])
        after, _, zone = each[0]["delete"]["After"].partition("[")
        assert gotime.parse_ns(after) == gotime.parse_ns("2026-03-05T13:00:00Z")
        assert zone
    # restic does not see them, but can read everything.
    assert [item["id"] for item in json.loads(restic_here("snapshots", "--json", "--no-cache").out)] == [
        item["id"] for item in ours
    ]
    page = run("snapshots").out.decode()
    assert "Label" in page.splitlines()[0]
    assert 'a "label" <&>' in page
    assert run("forget", "--keep-last", "1", "--group-by", "").code == 0
    left = json.loads(run("snapshots", "--json").out)
    assert [item.get("delete") for item in left] == ["Never", None]
    assert "Label" not in run("snapshots").out.decode()


def test_a_description_from_a_file(empty: Path, run: Runner, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("  what it is\n")
    assert run("backup", "-q", "--description-from", str(tmp_path / "text"), __file__).code == 0
    assert json.loads(run("snapshots", "--json").out)[0]["description"] == "what it is"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--delete-never", "--delete-after", "1d"), "cannot be used together"),
        (("--delete-after", "1x"), "invalid argument '1x' for --delete-after: invalid unit 'x' found after number 1"),
        (("--delete-after", "0d"), "would have to be removed at once"),
        (("--delete-after", "-1d"), "would have to be removed at once"),
        (("--description", "x", "--description-from", "y"), "cannot be used together"),
        (("--description-from", "/nowhere/y"), "/nowhere/y does not exist"),
        (("--init", "--dry-run"), "cannot be used together"),
    ],
)
def test_options_that_make_no_sense(words: tuple[str, ...], said: str, empty: Path, run: Runner) -> None:
    done = run("backup", *words, __file__)
    assert done.code == 1
    assert said in done.err.decode()
    assert list((empty / "snapshots").iterdir()) == []


def test_a_repository_is_created_where_there_is_none(
    tmp_path: Path, run: Runner, monkeypatch: pytest.MonkeyPatch, restic_here: Runner
) -> None:
    from restic_format.repository import keys

    monkeypatch.setattr(keys, "calibrated", lambda *words: quick_kdf(), raising=False)
    monkeypatch.setenv("RESTIC_REPOSITORY", str(tmp_path / "new"))
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    assert run("backup", "-q", __file__).code == 10
    done = run("backup", "--init", __file__)
    assert done.code == 0
    assert done.out.startswith(b"created restic repository ")
    assert b"saved\n" in done.out
    done = run("backup", "--init", "--json", __file__)
    assert done.code == 0
    assert b"initialized" not in done.out
    assert len(json.loads(run("snapshots", "--json").out)) == 2
    assert restic_here("check", "--no-cache").code == 0
    # Keys without a config are what is left of a repository: nothing is created over it.
    (tmp_path / "new" / "config").unlink()
    done = run("backup", "--init", __file__)
    assert done.code == 1
    assert b"already contains keys" in done.err
