"""What ignore files leave out, held against git itself."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.backup import BackupEvent, BackupOptions, Warned, backup
from restic_format.backup.ignorefiles import MOST_BYTES
from restic_format.backup.select import InvalidIgnoreName
from restic_format.gitpatterns import MOST_WILDCARDS, IgnoreRules, TooManyPatterns
from restic_format.repository import Repository
from tests.backup.sources import Recorder, files

NAMES = [
    b"a",
    b"b",
    b"ab",
    b"foo",
    b"foo.o",
    b"a b",
    b"x ",
    b"#c",
    b"!d",
    b"[e]",
    b"a*b",
    b"f\\g",
    b"\xff",
    b"\xc3\xa9",
    b"-",
    b"]",
]
PIECES = [
    *(
        b"a",
        b"b",
        b"foo",
        b".o",
        b"#",
        b"-",
        b" ",
        b"\xc3\xa9",
        b"\t",
        b"\r",
        b"/",
        b"/",
        b"*",
        b"**",
        b"***",
        b"?",
        b"**/",
        b"/**",
    ),
    *(b"/**/", b"[a-c]", b"[!a]", b"[^]]", b"[[:alpha:]]", b"[[:", b":]", b"[", b"]", b"!", b"^", b"\\", b"\\/"),
]


def git(folder: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder.parent / "home"), "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(["git", *arguments], cwd=folder, input=stdin, env=environment, stdout=subprocess.PIPE).stdout


def ignored_by_git(folder: Path, paths: list[bytes]) -> set[bytes]:
    """Which of *paths* git ignores; what is in the index does not matter."""
    raw = git(folder, "check-ignore", "-v", "-n", "-z", "--no-index", "--stdin", stdin=b"\0".join(paths) + b"\0")
    fields = raw.split(b"\0")[:-1]
    assert len(fields) == 4 * len(paths)
    return {path for path, pattern in zip(fields[3::4], fields[2::4], strict=True) if pattern and not pattern.startswith(b"!")}


def random_patterns(rng: random.Random) -> bytes:
    patterns = [rng.choice([b"*", b"**", b"a*", b"/foo"])] if rng.random() < 0.3 else []
    for _ in range(rng.choice([1, 1, 2, 4])):
        pattern = b"".join(rng.choices(PIECES, k=rng.randint(1, 6)))
        patterns.append(rng.choice([b"", b"", b"", b"!"]) + pattern + rng.choice([b"", b"", b"", b"/"]))
    return b"\n".join(patterns) + rng.choice([b"", b"\n"])


def ignored_by_us(rules: IgnoreRules, parts: tuple[bytes, ...], directories: set[tuple[bytes, ...]]) -> bool:
    for end in range(1, len(parts) + 1):
        is_dir = end < len(parts) or parts in directories
        ignored = rules.match(parts[end - 1], b"/".join(parts[:end]), is_dir=is_dir)
        if ignored and end < len(parts):
            return True
    return bool(ignored)


def test_patterns_mean_what_they_mean_to_git(tmp_path: Path) -> None:
    rng = random.Random(20261126)
    paths = {tuple(rng.choices(NAMES, k=rng.randint(1, 4))) for _ in range(150)}
    directories = {parts[:end] for parts in paths for end in range(1, len(parts))}
    for parts in directories:
        os.makedirs(os.path.join(bytes(tmp_path), b"r", *parts), exist_ok=True)
    folder = tmp_path / "r"
    git(folder, "init", "-q")
    every = sorted(paths | directories)
    seen = 0
    for _ in range(120):
        raw = random_patterns(rng)
        (folder / ".gitignore").write_bytes(raw)
        theirs = ignored_by_git(folder, [b"/".join(parts) for parts in every])
        rules = IgnoreRules(raw)
        ours = {b"/".join(parts) for parts in every if ignored_by_us(rules, parts, directories)}
        assert ours == theirs, raw
        seen += 0 < len(theirs) < len(every)
    assert seen > 20


@pytest.mark.parametrize(
    ("raw", "path", "ignored"),
    [
        (b"\xef\xbb\xbfa\n", "a", True),
        (b"a\r\n", "a", True),
        (b"a  \n", "a", True),
        (b"a\\ \n", "a ", True),
        (b"a\t\n", "a", False),
        (b"\\#a\n", "#a", True),
        (b"\\!a\n", "!a", True),
        (b"a\0b\n", "a", True),
        (b"/\n!\n\n#\n//\n", "a", False),
        (b"d/**/b\n", "d/b", True),
        (b"A\n", "a", False),
    ],
)
def test_lines(raw: bytes, path: str, ignored: bool) -> None:
    name = path.rpartition("/")[2].encode()
    assert bool(IgnoreRules(raw).match(name, path.encode(), is_dir=False)) is ignored


def test_no_pattern_takes_long() -> None:
    before = time.process_time()
    name = b"a" * 255
    path = b"/".join([b"a" * 60] * 60)
    for pattern in (
        b"*a" * 100 + b"b",
        b"**/" * 60 + b"*a*a*a*b",
        b"**/a*/" * 30 + b"b",
        b"x**/*/" * 40,
        b"[a-z]*" * 80 + b"!",
    ):
        rules = IgnoreRules(pattern)
        assert rules.match(name, path + b"/" + name, is_dir=False) is None
    assert time.process_time() - before < 5
    with pytest.raises(TooManyPatterns):
        IgnoreRules(b"*a\n" * (MOST_WILDCARDS + 1))


@pytest.mark.parametrize("pattern", [b"[!a]", b"[!a]\n", b"*a", b"[a-z][^x]", b"**/a/", b"?", b"\\a", b"[["])
def test_no_file_takes_long(pattern: bytes) -> None:
    """However many wildcards it has, in one line or in many."""
    before = time.process_time()
    with pytest.raises(TooManyPatterns):
        IgnoreRules(pattern * (500_000 // len(pattern)))
    rules = IgnoreRules(pattern * (MOST_WILDCARDS // max(1, sum(pattern.count(char) for char in b"*?[\\"))))
    for is_dir in (False, True):
        rules.match(b"a" * 255, b"/".join([b"a" * 200] * 20), is_dir=is_dir)
    assert time.process_time() - before < 10


def write(path: Path, text: str = "x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def stored(
    repository: Repository, options: BackupOptions, target: str = ".", listen: Callable[[BackupEvent], None] | None = None
) -> set[str]:
    """The files, with whose metadata nothing is wrong, that a backup stores, without the ignore files."""
    result = backup(repository, [target], options, listen)
    return {path for path, node in files(repository, result.tree).items() if node.type == "file" and "ignore" not in path}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of git in another, a folder beside it, and files of every kind in each."""
    root = tmp_path / "tree"
    for folder in ("plain", "repo", "repo/sub", "repo/build", "repo/nested", "repo/nested/below"):
        for name in ("keep.txt", "a.o", "b.log", "mine.user", "own.tmp"):
            write(root / folder / name)
    write(root / "repo" / ".gitignore", "*.o\nbuild/\n")
    write(root / "repo" / "sub" / ".gitignore", "!a.o\n*.log\n")
    write(root / "plain" / ".gitignore", "*.o\n")
    git(root / "repo", "init", "-q")
    git(root / "repo" / "nested", "init", "-q")
    write(root / "repo" / ".git" / "info" / "exclude", "b.log\n")
    write(root / "user-ignore", "*.user\n")
    monkeypatch.chdir(root)
    return root


@pytest.mark.parametrize("twin", [False, True])
def test_files_of_git(tree: Path, repository: Repository, request: pytest.FixtureRequest, twin: bool) -> None:
    if twin:
        request.getfixturevalue("file_by_file")
    seen = Recorder()
    options = BackupOptions(git_ignore=True, git_user_file=str(tree / "user-ignore"))
    found = {path for path in stored(repository, options, listen=seen) if "/.git/" not in path}
    expected = set()
    for folder in ("repo", "repo/nested"):
        names = git(tree / folder, "-c", f"core.excludesFile={tree}/user-ignore", "ls-files", "-co", "--exclude-standard")
        expected |= {
            f"/{folder}/{name}" for name in names.decode().splitlines() if "ignore" not in name and not name.endswith("/")
        }
    expected |= {f"/plain/{path.name}" for path in (tree / "plain").iterdir() if path.name != ".gitignore"}
    assert found == expected
    assert "/repo/sub/a.o" in found and "/repo/nested/a.o" in found and not any("build" in path for path in found)
    assert seen.totals is not None and seen.totals.finished


def test_git_itself_is_kept(tree: Path, repository: Repository) -> None:
    write(tree / "repo" / ".gitignore", "*\n")
    found = stored(repository, BackupOptions(git_ignore=True), "repo")
    assert "/repo/.git/HEAD" in found and not any("/.git/" not in path for path in found)


def test_outside_of_repositories(tree: Path, repository: Repository) -> None:
    options = BackupOptions(git_ignore=True, require_git_repository=False)
    assert "/plain/a.o" not in stored(repository, options) and "/plain/b.log" in stored(repository, options)
    assert "/plain/a.o" in stored(repository, BackupOptions(git_ignore=True))


def test_files_above_a_target_count(tree: Path, repository: Repository) -> None:
    options = BackupOptions(git_ignore=True, ignore_files=[".own"])
    write(tree / ".own", "*.tmp\n")
    found = stored(repository, options, "repo/build")
    assert found == {"/repo/build/keep.txt", "/repo/build/mine.user"}  # the target is not what is below another one


def test_names_of_their_own(tree: Path, repository: Repository) -> None:
    write(tree / ".first", "*.tmp\n*.log\n")
    write(tree / ".second", "!b.log\n")
    write(tree / "plain" / ".first", "!own.tmp\nkeep.*\n")
    write(tree / "repo" / ".first", "!*.o\n")
    found = stored(repository, BackupOptions(ignore_files=[".first", ".second"], git_ignore=True))
    found = {path for path in found if "/.git/" not in path and not path.endswith("user")}
    assert "/plain/own.tmp" in found and "/plain/keep.txt" not in found
    assert "/repo/a.o" in found, "the files of other names go first"
    assert "/plain/b.log" in found and "/repo/own.tmp" not in found
    for name in ("a/b", "", ".", "..", "a" * 256):  # otherwise every directory would have a warning
        with pytest.raises(InvalidIgnoreName):
            backup(repository, ["."], BackupOptions(ignore_files=[name]))


def test_worktrees_have_their_repositorys_exclude(tree: Path, repository: Repository) -> None:
    identity = ("-c", "user.name=n", "-c", "user.email=e")
    git(tree / "repo", *identity, "commit", "-q", "--allow-empty", "-m", "first")
    git(tree / "repo", "worktree", "add", "-q", str(tree / "other"))
    write(tree / "other" / "b.log")
    write(tree / "other" / "kept")
    assert stored(repository, BackupOptions(git_ignore=True), "other") == {"/other/kept", "/other/.git"}


def test_unusable_files_leave_nothing_out(tree: Path, repository: Repository) -> None:
    plain = tree / "plain"
    os.mkfifo(plain / ".fifo")
    (plain / ".folder").mkdir()
    write(plain / ".huge", "*.o\n" + "#" * MOST_BYTES)
    write(plain / ".many", "*a\n" * (MOST_WILDCARDS + 1))
    (plain / ".link").symlink_to("/etc/passwd")
    (plain / ".binary").write_bytes(b"\xff\xfe*\n\0\n\x80[\n")
    told: list[str] = []

    def listen(event: BackupEvent) -> None:
        if isinstance(event, Warned):
            told.append(event.text)

    names = [".fifo", ".folder", ".huge", ".many", ".link", ".binary", ".none"]
    found = stored(repository, BackupOptions(ignore_files=names), "plain", listen)
    assert {"/plain/a.o", "/plain/keep.txt", "/plain/b.log"} <= found
    assert [next(name for name in names if name in text) for text in told] == names[:5]
    assert all(text.startswith("ignore file ") for text in told)


def test_against_a_parent(tree: Path, repository: Repository) -> None:
    """What is ignored now is left out although the parent snapshot has it, and what is not is not read again."""
    first = backup(repository, ["repo"])
    [found] = [repository.load_snapshot(bytes.fromhex(first.snapshot_id or ""))]
    again = backup(repository, ["repo"], BackupOptions(parent=found, parent_id=first.snapshot_id, git_ignore=True))
    assert again.summary.files.new == again.summary.files.modified == 0
    assert "/repo/a.o" in files(repository, first.tree) and "/repo/a.o" not in files(repository, again.tree)
