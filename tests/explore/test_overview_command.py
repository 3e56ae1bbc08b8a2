"""``overview`` as a command: what it prints, as text and as JSON, of sound and damaged repositories, and on terminals."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import jsonschema
import msgspec
import pytest

from restic_format.explore.overview import Overview
from restic_format.repository import Repository
from restic_format.storage import LocalStorage
from restic_tools.messages import encode_message
from restic_tools.messages.overview import OverviewMessage, overview_message
from restic_tools.output import Output
from restic_tools.own import overviewtext
from tests.explore.overviews import empty_overview, example_overview
from tests.explore.test_du import Histories, made
from tests.restore.kit import Maker
from tests.tools.kit import PASSWORD, Runner, new_repository

HOSTILE = "\x1b[2J\u202e<script>\nx"


@pytest.fixture
def place(histories: Histories, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    repository, ids = histories[2]
    monkeypatch.setenv("RESTIC_REPOSITORY", str(repository))
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    return ids


def text_of(overview: Overview, capsysbinary: pytest.CaptureFixture[bytes]) -> str:
    overviewtext.show(Output(), overview)
    return capsysbinary.readouterr().out.decode()


@pytest.mark.parametrize("command", ["overview", "du"])
def test_the_host_of_the_environment_is_the_default(
    place: list[str], run: Runner, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("RESTIC_HOST", "h1")
    counts = []
    for options in ([], ["-H", "h1"], ["--host", ""], ["--host", "other"]):
        found = json.loads(run(command, "--json", *options).out)
        counts.append(len(found["snapshots" if command == "overview" else "rows"]))
    assert counts == [2, 2, len(place), 0]


def test_the_text_has_every_section(place: list[str], run: Runner) -> None:
    done = run("overview")
    assert done.code == 0 and not done.err
    text = done.out.decode()
    titles = re.findall(r"^\S.*", text, re.MULTILINE)
    for title in (
        "Repository",
        "Snapshots",
        "Growth",
        "Space",
        "Packs",
        "Blobs",
        "Files",
        "Largest files",
        "Keys",
        "Index",
        "Locks",
    ):
        assert any(line.startswith(title) for line in titles), title
    assert f"  {len(place)} snapshots" in text and "prune would free 0 B" in text
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "\x1b" not in text and "none but that of this command" in text


def test_the_message_has_all_numbers(place: list[str], run: Runner) -> None:
    done = run("overview", "--json")
    assert done.code == 0 and done.out.startswith(b'{"message_type":"overview","made":"20') and done.out.count(b"\n") == 1
    message = msgspec.json.decode(done.out, type=OverviewMessage)
    assert [one.id for one in message.snapshots] == place and message.complete
    assert message.locks == []
    some = msgspec.json.decode(run("overview", "--json", place[3], place[0][:9]).out, type=OverviewMessage)
    assert [one.id for one in some.snapshots] == [place[0], place[3]] and some.other_snapshots == 4
    hosts = json.loads(run("overview", "--json", "--host", "h1", "--top", "1").out)
    assert [row["id"] for row in hosts["snapshots"]] == [place[1], place[3]] and len(hosts["largest_folders"]) == 1
    assert json.loads(run("overview", "--json", "--tag", "t2").out)["snapshots"][0]["id"] == place[2]
    assert json.loads(run("overview", "--json", "--path", "/nowhere").out)["snapshot_ages"] is None
    assert some.space == message.space, "the own lock, whose size varies, is not counted"
    assert some.prune == message.prune


def test_the_message_is_of_its_schema(project_root: Path) -> None:
    schema = json.loads((project_root / "docs/reference/json/overview.schema.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    for overview in (empty_overview(), example_overview(problems=2, odd=HOSTILE)):
        raw = encode_message(overview_message(overview))
        validator.validate(json.loads(raw))
        assert encode_message(msgspec.json.decode(raw, type=OverviewMessage)) == raw
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({**json.loads(raw), "snapshots": [{}]})
    message = overview_message(example_overview())
    assert message.made == "2026-11-18T11:06:40Z" and message.locks[0].age == 60.0
    assert message.space.compression_ratio == 2


@pytest.mark.parametrize(("words", "said"), [(["no-such-id"], b"no matching ID"), (["--top", "-1"], b"must not be negative")])
def test_what_cannot_be_is_refused(words: list[str], said: bytes, place: list[str], run: Runner) -> None:
    done = run("overview", *words)
    assert place and done.code == 1 and said in done.err and b"Traceback" not in done.err


def test_damage_is_told_with_the_numbers(tmp_path: Path, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "repository"
    new_repository(folder)
    maker = Maker(Repository.open(LocalStorage(str(folder)), PASSWORD))
    broken = maker.folder("b\x1b[2J", [maker.file("f\x1b[3J.\u202etxt", b"1")])
    gone = maker.folder("gone", [maker.file("f", b"1")])
    gone.subtree = "ab" * 32
    made(maker.repo, maker.finish([broken, gone, maker.file("g", b"22")]), 1)
    (folder / "snapshots" / ("ef" * 32)).write_bytes(b"garbage")
    monkeypatch.setenv("RESTIC_REPOSITORY", str(folder))
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    done = run("overview")
    assert done.code == 1 and b"3 items could not be read" in done.err
    assert b"tree abab" in done.out and b"efef" in done.out and b"prune would refuse" in done.out
    assert b"\x1b" not in done.out + done.err and "\u202e".encode() not in done.out
    done = run("overview", "--json")
    assert done.code == 1 and json.loads(done.out)["problem_count"] == 3
    assert {json.loads(line)["message_type"] for line in done.err.splitlines()} == {"exit_error"}


@pytest.mark.usefixtures("empty")
def test_an_empty_repository(run: Runner) -> None:
    done = run("overview")
    assert done.code == 0 and b"  0 snapshots" in done.out and b"Growth" not in done.out
    assert json.loads(run("overview", "--json").out)["snapshots"] == []


def test_names_do_not_reach_the_terminal(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    text = text_of(example_overview(odd=HOSTILE, problems=30), capsysbinary)
    assert "\x1b" not in text and "\u202e" not in text
    plain = text_of(example_overview(problems=30), capsysbinary)
    assert len(text.splitlines()) == len(plain.splitlines())
    assert all(len(line) <= 80 for line in text.splitlines())


@pytest.mark.parametrize(
    ("snapshots", "unit"), [(1, "snapshot"), (12, "snapshot"), (20, "day"), (100, "week"), (600, "month"), (20_000, "year")]
)
def test_growth_is_shown_in_periods(snapshots: int, unit: str, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    overview = example_overview(snapshots=snapshots)
    text = text_of(overview, capsysbinary)
    assert f"by each {unit}\n" in text
    rows = text.split("Growth", 1)[1].split("\n\n", 1)[0].splitlines()[1:]
    rows = [row for row in rows if "say" not in row]
    assert 0 < len(rows) <= overviewtext.MOST_PERIODS
    if unit != "snapshot":
        counts = [int(re.findall(r"^ +(?:from )?\S+ +([\d,]+) ", row)[0].replace(",", "")) for row in rows]
        assert sum(counts) == snapshots
    assert max(row.count("#") for row in rows) == 30 or unit == "snapshot"


def test_snapshots_at_the_ends_of_time_are_shown(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    overview = example_overview(snapshots=20)
    ends = [-62_135_596_800 * 10**9, 253_402_300_799 * 10**9]
    first, *rest = overview.snapshots
    odd = [msgspec.structs.replace(first, time=end) for end in ends]
    text = text_of(msgspec.structs.replace(overview, snapshots=(odd[0], *rest, odd[1])), capsysbinary)
    assert "earlier" in text and "by each year" in text


def test_colours_are_for_terminals(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    monkeypatch.setattr(Output, "stdout_is_terminal", True)
    monkeypatch.setattr(Output, "width", 60)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = text_of(example_overview(odd=HOSTILE), capsysbinary)
    assert "\x1b[1mRepository\x1b[0m" in text and "█" in text
    plain = re.sub(r"\x1b\[\d+m", "", text)
    assert "\x1b" not in plain and all(len(line) <= 60 for line in plain.splitlines())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in text_of(example_overview(), capsysbinary)


# The page


def test_the_page_is_written_whole(place: list[str], run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "page.html"
    done = run("overview", "--html", str(target))
    assert done.code == 0 and done.out.decode() == f"wrote {target}\n"
    text = target.read_text()
    assert text.startswith("<!DOCTYPE html>") and place[0][:8] in text and PASSWORD not in text
    assert target.stat().st_mode & 0o777 == 0o666 & ~current_umask()
    assert run("overview", "--html", "-").out.startswith(b"<!DOCTYPE html>")
    link = tmp_path / "link.html"
    link.symlink_to("page.html")
    target.write_text("old")
    done = run("overview", "--json", "--html", str(link))
    assert done.code == 0 and json.loads(done.out)["complete"]
    assert link.is_symlink() and target.read_text().startswith("<!DOCTYPE html>")
    target.write_text("old")

    def fail(*names: object) -> None:
        raise OSError(28, "full")

    monkeypatch.setattr(os, "replace", fail)
    done = run("overview", "--html", str(target))
    assert done.code == 1 and b"cannot write the page: no space left on device" in done.err
    assert target.read_text() == "old" and sorted(path.name for path in tmp_path.iterdir()) == ["link.html", "page.html"]


@pytest.mark.usefixtures("place")
def test_a_page_can_have_any_name_that_a_file_can(run: Runner, tmp_path: Path) -> None:
    for name in ("a" * 255, "\u3042" * 85, "-", "a\nb"):
        done = run("overview", "--html", str(tmp_path / name))
        assert done.code == 0 and (tmp_path / name).read_bytes().startswith(b"<!DOCTYPE html>")
    assert len(list(tmp_path.iterdir())) >= 4 and not list(tmp_path.glob(".*"))


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--html", "/nonexistent/page.html"], b"no such file or directory"),
        (["--html", "/"], b"is a directory"),
        (["--html", "/dev/full"], b"no space left on device"),
        (["--html", "-", "--json"], b"only one of them"),
        (["--html", ""], b"needs the name of a file"),
    ],
)
def test_a_page_that_cannot_be_written_is_told(words: list[str], said: bytes, place: list[str], run: Runner) -> None:
    done = run("overview", *words)
    assert place and done.code == 1 and said in done.err and b"Traceback" not in done.err


def test_without_the_extra_it_is_said_what_to_install(
    place: list[str], run: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from restic_tools import htmlpage

    monkeypatch.setattr(htmlpage, "ready", lambda: False)
    done = run("overview", "--html", str(tmp_path / "page.html"))
    assert place and done.code == 1 and b"restic-format[html]" in done.err and not list(tmp_path.iterdir())


def test_a_damaged_repository_has_a_page(tmp_path: Path, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "repository"
    new_repository(folder)
    (folder / "snapshots" / ("ef" * 32)).write_bytes(b"garbage")
    monkeypatch.setenv("RESTIC_REPOSITORY", str(folder))
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    done = run("overview", "--html", str(tmp_path / "page.html"))
    assert done.code == 1 and b"2 items could not be read" in done.err
    assert "efef" in (tmp_path / "page.html").read_text()
