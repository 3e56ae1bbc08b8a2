"""Prune without an exclusive lock: mark, wait, remove; what is needed again is unmarked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.maintenance import prune
from restic_format.repository import Repository
from restic_spec.layout import FileKind
from tests.maintenance.kit import add_snapshot, contents, generate, open_repo
from tests.restore.kit import Maker, ours, restic

NOTHING_UNUSED = prune.MaxUnused(bytes=0)
NOW = prune.PruneOptions(max_unused=NOTHING_UNUSED, small_pack=1, lock_free=True, keep_delete=0)
LATER = prune.PruneOptions(max_unused=NOTHING_UNUSED, small_pack=1, lock_free=True)


def run(repo: Repository, options: prune.PruneOptions) -> prune.PruneResult:
    with repo.lock():
        return prune.execute(prune.plan(repo, options))


@pytest.mark.clause("RUSTIC-9")
def test_marked_first_and_removed_after_the_delay(tmp_path: Path, peer: Callable[[str], Path]) -> None:
    made = generate(tmp_path / "repo", 1)
    before = contents(made.folder)
    repo = open_repo(made.folder)
    packs = {pack for pack, _ in repo.list(FileKind.PACK)}
    first = run(repo, LATER)
    assert first.marked and not first.removed and packs <= {pack for pack, _ in repo.list(FileKind.PACK)}
    again = run(repo, LATER)
    assert not again.marked and not again.removed, "23 hours have not passed"
    assert restic(peer("restic-0.19"), made.folder, "check", "--read-data").returncode == 0
    assert contents(made.folder) == before
    last = run(repo, NOW)
    assert set(last.removed) == set(first.marked)
    assert not {pack for pack, _ in repo.list(FileKind.PACK)} & set(first.marked)
    assert b"no errors" in restic(peer("restic-0.19"), made.folder, "check", "--read-data").stdout
    assert contents(made.folder) == before
    assert not run(repo, NOW).removed


@pytest.mark.clause("RUSTIC-9")
@pytest.mark.parametrize("when", ["between plan and act", "after the marks were written", "after the delay"])
def test_what_a_late_snapshot_needs_is_unmarked(when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup that began before the marks relies on packs that are being marked."""
    made = generate(tmp_path / "repo", 2)
    repo = open_repo(made.folder)
    backup = open_repo(made.folder)
    files = {"kept": b"k" * 500}
    old = add_snapshot(Maker(backup), files)
    repo.remove(FileKind.SNAPSHOT, old)

    def late() -> None:
        add_snapshot(Maker(backup), files)

    from restic_format.maintenance.prune import lockfree

    if when == "after the marks were written":
        rewrite = lockfree.rewrite_index
        done = []

        def rewritten(*args: object, **named: object) -> list[bytes]:
            ids = rewrite(*args, **named)  # type: ignore[arg-type]
            if not done:
                done.append(late())
            return ids

        monkeypatch.setattr(lockfree, "rewrite_index", rewritten)
    with repo.lock():
        plan = prune.plan(repo, LATER)
        if when == "between plan and act":
            late()
        result = prune.execute(plan)
    if when == "after the delay":
        late()
        result = run(repo, NOW)
        assert result.unmarked
    else:
        assert run(repo, NOW).removed
    assert {"/b/kept": files["kept"]} in contents(made.folder).values()
    assert ours(made.folder, "check", "--read-data").returncode == 0
