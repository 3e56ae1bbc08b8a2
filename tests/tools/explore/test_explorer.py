"""What the keys do, seen on the screen; slow and failing storages, large lists, hostile names."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input

from restic_conformance import fixtures
from restic_conformance.compare import differences, restorable, scan
from restic_format.errors import LockLost
from restic_format.explore.browse import Mark
from restic_format.explore.browse.selection import TOP
from restic_format.repository import Repository
from restic_format.snapshots import FoundSnapshot
from restic_format.storage import FaultyStorage, LocalStorage, MemoryStorage
from restic_format.storage.faulty import Call, Fail, Fault, Garble
from restic_spec.layout import FileKind
from restic_spec.snapshot import Snapshot
from restic_spec.tree import Node
from restic_tools.own.explore.keymap import KEYS
from restic_tools.own.explore.marks import restore_lines, target_of
from restic_tools.own.explore.model import MOST_HELD, Model
from restic_tools.own.explore.page import Page
from restic_tools.own.explore.rowlist import row_text, safe
from restic_tools.own.explore.screen import Explorer
from tests.restore.kit import Maker, memory_repo
from tests.tools.explore.kit import PASSWORD, Screen, open_repository, shown

TIME = "2024-02-29T10:00:00Z"
MARKER = "\x1b]0;taken\x07\x9b31m\u202eesrever\x7f\b\r\nFORGED"


def on_screen(repository: Repository, steps: Callable[[Screen], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Do *steps* with the explorer of a repository."""

    async def main() -> None:
        async with shown(repository, **options) as screen:
            await steps(screen)

    asyncio.run(main())


def memory(make: Callable[[Maker], list[Node]], snapshots: int = 1, **fields: Any) -> MemoryStorage:
    """A repository in memory with a tree, and so many snapshots of it."""
    storage = MemoryStorage()
    maker = Maker(memory_repo(storage))
    tree = maker.finish(make(maker)).hex()
    for number in range(snapshots):
        time = f"2024-02-{number % 28 + 1:02}T10:00:{number // 28 % 60:02}.{number:09}Z"
        maker.repo.save_snapshot(Snapshot(**{"time": time, "tree": tree, "paths": ["/x"], "hostname": f"h{number}", **fields}))
    return storage


def opened(storage: Any, plan: Callable[[Call], Fault | None] = lambda _: None) -> Repository:
    repository = Repository.open(FaultyStorage(storage, plan), "pw")
    repository.load_index()
    return repository


# Keys


def test_every_key_has_a_method_and_a_line_in_the_help() -> None:
    for key in KEYS:
        assert hasattr(Explorer, f"action_{key.action}"), key
        assert key.long
    names = [name for key in KEYS for name in key.names.split(",")]
    assert len(names) == len(set(names))


def test_moving(fixture: Callable[[str], Path]) -> None:
    async def steps(screen: Screen) -> None:
        await screen.press("down", "enter", "enter", "down", "enter")  # 32 names, 17 rows
        page = screen.explorer.model.page
        places = []
        for key in ("end", "up", "k", "pageup", "home", "down", "j", "pagedown", "ctrl+f", "ctrl+b", "G", "g", "up"):
            await screen.press(key)
            places.append(page.cursor)
            assert page.top <= page.cursor < page.top + screen.explorer.rows.rows
        assert places == [31, 30, 29, 12, 0, 1, 2, 19, 31, 14, 31, 0, 0]
        await screen.press("down", "down")
        await screen.pilot.resize_terminal(60, 12)
        await screen.settle()
        assert page.cursor == 2 and len(screen.lines()) == 12
        await screen.press("ctrl+l")

    on_screen(open_repository(fixture("restic-0.19-v2")), steps)


def test_the_way_back_finds_every_cursor_again(fixture: Callable[[str], Path]) -> None:
    async def steps(screen: Screen) -> None:
        way = ["down", "enter", "enter", "down", "enter", "end", "up", "enter", "b"]
        await screen.press(*way)
        screens = []
        for key in ("escape", "left", "backspace", "h"):
            await screen.press(key)
            screens.append((screen.explorer.model.page.kind, screen.explorer.model.page.cursor))
        assert screens == [("file", 0), ("directory", 30), ("directory", 1), ("directory", 0)]
        await screen.press("escape", "escape", "escape")
        assert screen.explorer.model.page.kind == "snapshots" and screen.explorer.model.page.cursor == 1

    on_screen(open_repository(fixture("restic-0.19-v2")), steps)


def test_the_mouse(fixture: Callable[[str], Path]) -> None:
    async def steps(screen: Screen) -> None:
        page = screen.explorer.model.page
        await screen.pilot.click("RowList", offset=(5, 2))
        assert page.cursor == 2
        await screen.pilot.click("RowList", offset=(5, 10))
        assert page.cursor == 2
        await screen.pilot.click("RowList", offset=(5, 2))
        await screen.settle()
        assert screen.explorer.model.page.kind == "directory"

    on_screen(open_repository(fixture("restic-0.19-v2")), steps)


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
def test_the_end(key: str, fixture: Callable[[str], Path]) -> None:
    async def steps(screen: Screen) -> None:
        await screen.pilot.press(key)
        await screen.pilot.pause()
        assert not screen.explorer.is_running or screen.explorer._exit

    on_screen(open_repository(fixture("restic-0.19-v2")), steps)


def test_marks_are_seen_everywhere_and_taken_away(fixture: Callable[[str], Path]) -> None:
    async def steps(screen: Screen) -> None:
        await screen.press("down", "space")
        assert screen.lines()[3].startswith("* db6f680c") and "1 marked" in screen.lines()[0]
        await screen.press("up", "space")
        assert screen.lines()[3].startswith("  db6f680c") and "marked" not in screen.lines()[0]
        await screen.press("space", "c")
        assert not len(screen.explorer.model.selection)
        assert "nothing is marked any more" in screen.text()

    on_screen(open_repository(fixture("restic-0.19-v2")), steps)


def test_what_cannot_be_done_is_said(fixture: Callable[[str], Path]) -> None:
    async def steps(screen: Screen) -> None:
        for keys, text in (
            ("slash", "open a snapshot first"),
            ("e", "nothing went wrong here"),
            ("escape d", "mark two snapshots to compare them; 0 are marked"),
            ("5 r", "mark what is to be restored"),
            ("1 down enter v", "only files have content to show"),
            ("enter end b", "open it: each blob has its own"),
            ("u", "this is no blob"),
        ):
            await screen.press(*keys.split())
            assert text in screen.text(), keys

    on_screen(open_repository(fixture("restic-0.19-v2")), steps)


# Restore


def test_marked_items_are_restored(fixture: Callable[[str], Path], tmp_path: Path) -> None:
    """Asks for the target, says what is going to be done, restores the bytes."""
    repository = open_repository(fixture("restic-0.19-v2"))
    target = tmp_path / "a new folder"

    async def steps(screen: Screen) -> None:
        await screen.press("down", "enter", "enter", "down", "space", "end", "space", "r")
        await screen.write(str(target))
        assert "/tree/names, /tree/two-equal-chunks-of-zeros" in screen.words() and not target.exists()
        await screen.press("y")
        assert "restored" in screen.text() and "Enter close" in screen.text()
        await screen.press("enter")
        assert "restored" in screen.lines()[-2]

    on_screen(repository, steps)
    facts = restorable(fixtures.facts_of(fixture("restic-0.19-v2").parent)["second"])
    parts = (b"names", b"two-equal-chunks-of-zeros")
    expected = {path: item for path, item in facts.items() if path.split(b"/")[0] in parts}
    found = {path: item for path, item in scan(target / "tree").items() if path != b"."}
    assert len(expected) > 20 and differences(expected, found, frozenset({"hardlinks"})) == []


@pytest.mark.parametrize(("keys", "said"), [("escape", "nothing was restored"), ("n", "nothing was restored")])
def test_a_restore_that_is_not_confirmed(keys: str, said: str, fixture: Callable[[str], Path], tmp_path: Path) -> None:
    async def steps(screen: Screen) -> None:
        await screen.press("space", "r")
        await screen.write(str(tmp_path / "t"))
        await screen.press(*keys.split())
        assert said in screen.text()

    on_screen(open_repository(fixture("restic-0.19-v2")), steps)
    assert not (tmp_path / "t").exists()


def test_what_becomes_of_existing_files_is_chosen(fixture: Callable[[str], Path], tmp_path: Path) -> None:
    """Never is the last choice; the file that is there stays."""
    (tmp_path / "from <stdin> & more.txt").write_text("mine")

    async def steps(screen: Screen) -> None:
        await screen.press("space", "r")
        await screen.write(str(tmp_path))
        assert "which is not empty" in screen.words() and "existing files are overwritten: always" in screen.words()
        await screen.press("o", "o", "o")
        assert "existing files are overwritten: never" in screen.words()
        await screen.press("y", "enter")

    on_screen(open_repository(fixture("restic-0.19-v2")), steps)
    assert (tmp_path / "from <stdin> & more.txt").read_text() == "mine"


def test_a_restore_is_stopped_and_does_not_hold_the_screen(tmp_path: Path) -> None:
    """While the storage does not answer, the restore is stopped, and says so when it has."""
    storage = memory(lambda maker: [maker.file(f"f{number}", b"%d" % number) for number in range(50)])
    gate = threading.Event()
    waiting = threading.Event()

    def plan(call: Call) -> None:
        if call.operation in ("load", "load_into") and call.kind is FileKind.PACK and armed:
            waiting.set()
            assert gate.wait(60)

    armed: list[bool] = []

    async def steps(screen: Screen) -> None:
        await screen.press("space", "r")
        await screen.write(str(tmp_path / "t"))
        armed.append(True)
        await screen.pilot.press("y")
        assert await asyncio.to_thread(waiting.wait, 60)
        await asyncio.sleep(0.2)
        await screen.pilot.pause()
        assert "Esc stop" in screen.text()
        await screen.pilot.press("escape")
        gate.set()
        await screen.settle()
        await asyncio.sleep(0.3)
        await screen.pilot.pause()
        assert "stopped" in screen.text()
        await screen.press("escape")
        assert "stopped" in screen.lines()[-2]

    on_screen(opened(storage, plan), steps)


def test_errors_of_a_restore_are_told(tmp_path: Path) -> None:
    storage = memory(
        lambda maker: [maker.node(MARKER, "file", 0o644, size=1, content=["00" * 32]), maker.file("good", b"content")]
    )

    async def steps(screen: Screen) -> None:
        await screen.press("space", "r")
        await screen.write(str(tmp_path / "t"))
        await screen.press("y")
        await asyncio.sleep(0.3)
        await screen.pilot.pause()
        text = screen.words()
        assert "restored, but with errors" in text and "1 error," in text and "found in the index" in text
        assert "\x1b" not in text

    on_screen(opened(storage), steps)
    assert (tmp_path / "t/good").read_bytes() == b"content"


def test_words_of_a_restore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert target_of(" ~/x ") == str(tmp_path / "x") and target_of("  ") == ""
    found = FoundSnapshot(b"\1" * 32, Snapshot(time=TIME))
    with Model(Repository.open(memory(lambda maker: []), "pw")) as model:
        for path in ("/a", "/b", "/c", "/d\x1b"):
            model.selection.toggle(Mark(found, path))
        (tmp_path / "file").write_text("")
        lines = restore_lines(model.selection.plan(str(tmp_path / "file")))
        assert lines[0] == "of snapshot 01010101: /a, /b, /c and 1 more"
        assert lines[1].endswith("(Not a directory)")
        model.selection.toggle(Mark(found, TOP))
        assert restore_lines(model.selection.plan("/x"))[0] == "of snapshot 01010101: everything"


@pytest.mark.parametrize("size", [(80, 24), (40, 10)])
def test_what_is_asked_and_how_to_answer_stays_in_view(size: tuple[int, int], tmp_path: Path) -> None:
    """However long paths are, however small the screen is, and when it gets smaller meanwhile."""
    storage = memory(lambda maker: [maker.file(f"{number}{'x' * 250}", b"1") for number in range(4)])
    target = tmp_path / "/".join(["y" * 200] * 12)

    async def steps(screen: Screen) -> None:
        await screen.press("enter", "space", "space", "space", "r")
        screen.explorer.screen.query_one(Input).value = str(target)
        await screen.press("enter")
        shown = screen.words()
        assert "of snapshot" in shown
        assert "overwritten: always" in shown and "y restore" in shown and "n, Esc do not restore" in shown
        await screen.press("o")
        assert "overwritten: if-changed" in screen.words()
        await screen.pilot.resize_terminal(40, 12)
        await screen.settle()
        assert "n, Esc do not restore" in screen.words()
        await screen.press("y")
        assert "Enter close" in screen.words() and "restored" in screen.words()
        await screen.press("enter")

    on_screen(opened(storage), steps, size=size)


# Storages that are slow, away, or lie


def test_a_storage_that_does_not_answer_does_not_hold_the_screen() -> None:
    storage = memory(lambda maker: [maker.folder("inner", [maker.file("f", b"1")])])
    gate = threading.Event()
    armed: list[bool] = []

    def plan(call: Call) -> None:
        if armed and call.kind is FileKind.PACK:
            assert gate.wait(60)

    async def steps(screen: Screen) -> None:
        armed.append(True)
        await screen.pilot.press("enter")
        await screen.pilot.pause(0.3)
        assert "loading ..." in screen.text()
        await screen.pilot.press("question_mark")
        await screen.pilot.pause(0.2)
        assert screen.lines()[0] == " Keys"
        await screen.pilot.press("escape", "escape")
        await screen.pilot.pause(0.2)
        assert screen.lines()[0].startswith(" Snapshots")
        gate.set()
        await screen.settle()

    on_screen(opened(storage, plan), steps)


def test_opening_is_given_up() -> None:
    storage = memory(lambda maker: [maker.file("f", b"1")])
    gate = threading.Event()
    armed: list[bool] = []

    def plan(call: Call) -> None:
        if armed and call.kind is FileKind.PACK:
            assert gate.wait(60)

    async def steps(screen: Screen) -> None:
        await screen.press("enter")
        armed.append(True)
        await screen.pilot.press("v")
        await screen.pilot.pause(0.3)
        assert "opening ... (Esc stops)" in screen.text()
        await screen.pilot.press("v", "escape")
        await screen.pilot.pause(0.2)
        assert "opening" not in screen.text()
        gate.set()
        await screen.settle()
        assert screen.explorer.model.page.kind == "directory"

    on_screen(opened(storage, plan), steps)


@pytest.mark.parametrize("key", ["1", "2", "3", "4", "5", "enter", "b", "v", "u", "r", "i"])
def test_a_storage_that_is_away(key: str, tmp_path: Path) -> None:
    """Every key tells it in a line, and the explorer goes on."""
    storage = memory(lambda maker: [maker.folder("inner", [maker.file("f", b"1")]), maker.file("f", b"2")])
    armed: list[bool] = []

    def plan(call: Call) -> Fault | None:
        return Fail("the medium is gone") if armed else None

    async def steps(screen: Screen) -> None:
        await screen.press("enter", "end")
        if key in ("u", "enter", "b"):
            await screen.press("up")
        armed.append(True)
        screen.explorer.model.directories._kept.clear()
        await screen.press(key)
        if key == "r":
            await screen.write(str(tmp_path / "t"))
            await screen.press("y")
            await asyncio.sleep(0.3)
            await screen.pilot.pause()
        if key == "i":
            await screen.write("0000")
        assert "the medium is gone" in screen.text() or "error" in screen.text(), screen.text()
        armed.clear()
        await screen.press("escape", "escape", "1")
        assert "h0" in screen.text()

    on_screen(opened(storage, plan), steps)


def test_what_a_storage_garbles_is_told() -> None:
    storage = memory(lambda maker: [maker.file("f", b"text")])
    armed: list[bool] = []

    def plan(call: Call) -> Fault | None:
        return Garble() if armed and call.kind is FileKind.PACK else None

    async def steps(screen: Screen) -> None:
        await screen.press("enter")
        armed.append(True)
        await screen.press("v")
        assert "ciphertext verification failed" in screen.text() or "MAC" in screen.text()

    on_screen(opened(storage, plan), steps)


def test_a_lost_lock_is_told() -> None:
    storage = memory(lambda maker: [maker.file("f", b"text")])
    lost: list[bool] = []

    def health() -> None:
        if lost:
            raise LockLost("the lock was removed in the meantime")

    async def main() -> None:
        with Model(opened(storage)) as model:
            explorer = Explorer(model, health=health)
            async with explorer.run_test(size=(80, 24)) as pilot:
                screen = Screen(explorer, pilot)
                await screen.settle()
                lost.append(True)
                await screen.press("1")
                assert "the lock was removed in the meantime" in screen.text()
            explorer.finish()

    asyncio.run(main())


@pytest.mark.parametrize(
    "name", ["tree-blob-flip", "tree-pack-missing", "data-pack-missing", "corrupt-before-hash", "pack-empty"]
)
def test_damaged_repositories_are_walked_through(name: str, tmp_path: Path) -> None:
    """Everything is opened and looked at; what is damaged is told and nothing fails."""
    repository = open_repository(fixtures.unpack(name, tmp_path / name))
    kinds: list[str] = []

    def walk(model: Model, page: Page, depth: int) -> None:
        from restic_format.work import Cancel

        kinds.append(page.kind)
        try:
            page.load(Cancel())
        except Exception as error:  # noqa: BLE001 - as the screen does
            page.tell("", error)
        if page.lacks(0, 20):
            page.fetch(0, 20)
        for number in range(min(len(page), 6)):
            for text in (*page.cells(number), *page.details(number)):
                assert text == safe(text)
            for step in (page.open, page.view, page.raw):
                try:
                    below = step(number)
                except Exception as error:  # noqa: BLE001 - as the screen does
                    page.tell("", error)
                    continue
                if below is not None and depth < 4:
                    walk(model, below, depth + 1)
        troubles.append(page.troubles)

    troubles: list[int] = []
    from restic_tools.own.explore.packs import PacksPage
    from restic_tools.own.explore.snapshots import SnapshotsPage

    with Model(repository) as model:
        walk(model, SnapshotsPage(model), 1)
        walk(model, PacksPage(model), 2)
    assert sum(troubles) and {"directory", "pack", "bytes"} <= set(kinds)


# Large


def test_large_lists(tmp_path: Path) -> None:
    """A hundred thousand entries, a file of as many blobs, thousands of snapshots: all are shown, the last ones too."""
    count = 100_000

    def make(maker: Maker) -> list[Node]:
        blob = maker.blob(b"x" * 1000)
        entries = [maker.node(f"entry {number:06}", "file", 0o644, size=number, content=[]) for number in range(count)]
        huge = maker.node("huge", "file", 0o644, size=1000 * count, content=[blob] * count)
        return [maker.folder("folder", entries), huge]

    storage = memory(make, snapshots=2000)

    async def steps(screen: Screen) -> None:
        assert " 1/2,000" in screen.lines()[0]
        await screen.press("end", "enter", "enter", "end")
        assert " 100,000/100,000" in screen.lines()[0] and "entry 099999" in screen.text()
        await screen.press("escape", "end", "enter", "end")
        assert " 100,000/100,000" in screen.lines()[0] and "99,999,000" in screen.text()
        await screen.press("v", "t", "end")
        assert "6,250,000/6,250,000" in screen.lines()[0] and "5f5e0f0" in screen.text()
        assert screen.explorer.model.page.held < 100_000

    on_screen(opened(storage), steps)


def test_the_way_back_is_bounded() -> None:
    class Large(Page):
        def __len__(self) -> int:
            return MOST_HELD // 4

    with Model(Repository.open(memory(lambda maker: []), "pw")) as model:
        first = Page(model, "first")
        model.restart(first)
        for number in range(20):
            model.go(Large(model, str(number)))
        assert [page.title for page in model.pages] == ["first", "16", "17", "18", "19"]
        for number in range(300):
            model.go(Page(model, str(number)))
        assert model.pages[0] is first and len(model.pages) <= 101
        while model.back():
            pass
        assert model.page is first


def test_long_lines_are_folded_and_nothing_of_them_is_lost() -> None:
    text = "".join(f"{number:04}" for number in range(60)) + "\n\n" + "漢字" * 60 + "\tend\r\nlast"
    storage = memory(lambda maker: [maker.file("f", text.encode())])

    async def steps(screen: Screen) -> None:
        await screen.press("enter", "v")
        seen = "".join(line.strip() for line in screen.lines()[2:19])
        assert seen.replace(" ", "") == text.replace("\n", "").replace("\r", "").replace("\t", "")
        assert "last" in [line.strip() for line in screen.lines()]

    on_screen(opened(storage), steps)


def test_looking_for_faults_of_a_large_tree_is_cancelled() -> None:
    from restic_format.errors import Interrupted
    from restic_format.work import Cancel
    from restic_tools.own.explore.snapshots import SnapshotsPage

    blob = "00" * 32
    storage = memory(lambda maker: [maker.node("huge", "file", 0o644, size=1, content=[blob] * 20_000)])
    with Model(opened(storage)) as model:
        page = SnapshotsPage(model)
        page.load(Cancel())
        tree = page.open(0)
        tree.load(Cancel())
        from restic_spec.ids import parse_id
        from restic_spec.pack import BlobType
        from restic_tools.own.explore.regions import blob_page

        raw = blob_page(model, BlobType.TREE, parse_id(str(page.found(0).snapshot.tree)))
        asked = 0

        def health() -> None:
            nonlocal asked
            asked += 1
            if asked == 500:
                raise Interrupted("enough")

        with pytest.raises(Interrupted):
            raw.load(Cancel(health=health))


# What a terminal must not get


def test_hostile_names_reach_the_screen_as_escapes() -> None:
    def make(maker: Maker) -> list[Node]:
        return [
            maker.file("a", MARKER.replace("\n", "").encode()),
            maker.symlink("b", MARKER),
            maker.folder(MARKER, [maker.file(MARKER, b"1", user=MARKER, group=MARKER)], user=MARKER),
        ]

    storage = memory(make, tags=[MARKER], username=MARKER, hostname=MARKER, program_version=MARKER, paths=[MARKER])

    async def steps(screen: Screen) -> None:
        texts = []
        for keys in (
            "b",
            "end enter end enter end enter",
            "1 enter v",
            "escape end up enter",
            "escape end enter",
            "enter",
            "1 space enter end enter space m",
            "1 enter slash",
        ):
            await screen.press(*keys.split())
            texts.append(screen.text())
        await screen.write("esrever")
        texts.append(screen.text())
        seen = "\n".join(texts)
        assert seen.count("FORGED") > 4 and "\\u202e" in seen
        for char in "\x1b\x07\x9b\u202e\x7f\b\r":
            assert char not in seen
        assert not any(line.strip().startswith("FORGED") for line in seen.splitlines())

    on_screen(opened(storage), steps)


def test_rows_have_the_width_of_the_screen() -> None:
    from rich.cells import cell_len

    from restic_tools.own.explore.page import Column

    columns = (Column("a", 4), Column("b", 3, right=True), Column("c", 0))
    for cells in (["漢字漢字", "12345", "x\x1b[31m"], ["", "", ""], ["ab", "1", "\udcff" * 50], ["e\u0301", "1", "🙂" * 40]):
        for width in (1, 5, 12, 20, 80):
            line = row_text(columns, cells, width)
            assert cell_len(line) == width and line == safe(line)
            line.encode()


def test_names_are_shown_on_a_narrow_screen(fixture: Callable[[str], Path]) -> None:
    async def steps(screen: Screen) -> None:
        assert "/from <" in screen.text() and "ef57a321 2026-" in screen.text()
        await screen.press("down", "enter", "enter", "end", "up")
        assert "Mode               Size Name" in screen.text() and "Modified" not in screen.text()
        assert any("two-equal" in line and line.lstrip().startswith("-rw") for line in screen.lines())

    on_screen(open_repository(fixture("restic-0.19-v2")), steps, size=(40, 10))


def test_marks_without_a_width_have_an_end() -> None:
    """What has no columns of its own could fill a row without end."""
    from restic_tools.own.explore.page import Column
    from restic_tools.own.explore.screen import row_line

    endless = "e" + "\u0301" * 100_000
    for line in (row_text((Column("a", 4), Column("c", 0)), [endless, endless], 80), row_line(endless, 80)):
        assert len(line) < 2_000 and ">" in line
    assert "\u0301" * 3 in row_line("e" + "\u0301" * 3, 80) and ">" not in row_line("e" + "\u0301" * 3, 80)


def test_an_error_of_several_lines_is_told_in_one() -> None:
    from restic_format.filter import InvalidPattern
    from restic_tools.own.explore.model import error_line

    assert error_line(InvalidPattern(["[a"])) == "invalid pattern(s) provided: [a"
    assert error_line(ValueError()) == "ValueError"


def test_the_master_key_is_not_shown(fixture: Callable[[str], Path]) -> None:
    """Not even where a password opens its key file."""
    from restic_format.inspect.access import Access
    from restic_format.inspect.finding import Found
    from restic_format.inspect.objects import Inspector
    from restic_format.inspect.target import ObjectKind
    from restic_format.work import Cancel
    from restic_tools.own.explore.regions import RegionsPage, _Findings

    folder = fixture("restic-0.19-v2")
    repository = open_repository(folder)
    access = Access(LocalStorage(str(folder)), password=PASSWORD.encode())
    inspected = Inspector(access).object(Found(ObjectKind.KEY, repository.key_id))
    secret = repository.master_key.encrypt.hex()
    refused: list[str] = []

    def walk(page: Page, depth: int) -> None:
        page.load(Cancel())
        page.fetch(0, len(page))
        for number in range(len(page)):
            text = " ".join((*page.cells(number), *page.details(number))).replace(" ", "")
            assert secret[:16] not in text
            for step in (page.open, page.raw):
                try:
                    below = step(number)
                except Exception as error:  # noqa: BLE001 - as the screen does
                    refused.append(str(error))
                    continue
                if below is not None and depth < 5 and below.kind == "bytes":
                    walk(below, depth + 1)

    with Model(repository) as model:
        walk(RegionsPage(model, "key", inspected, inspected.document, None, _Findings()), 0)
    assert any("the master key is not shown" in text for text in refused)
