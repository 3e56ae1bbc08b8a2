"""``heal`` with parity: what was protected is as it was, also where no password can open the repository any more."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_spec.layout import FileKind
from tests.repairing.kit import packs_of_type
from tests.rescue.conftest import Fresh
from tests.rescue.kit import content
from tests.safety import kit


@pytest.fixture
def protected(fresh: Fresh) -> Path:
    """A repository with so much parity that any pack may be lost."""
    repo = fresh()
    kit.ours(repo, "protect", "--overhead", "100")
    return repo


def zero(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(bytes(path.stat().st_size))


def first(repo: Path, kind: str) -> Path:
    return kit.files_of(repo, kind)[0]


def gone(path: Path) -> None:
    path.unlink()


DAMAGE: dict[str, tuple[Callable[[Path], object], ...]] = {
    "files damaged": (
        lambda repo: kit.flip_bit(packs_of_type(repo, "data")[-1], 500),
        lambda repo: kit.flip_bit(first(repo, "index"), 60),
        lambda repo: kit.cut(first(repo, "snapshots"), 0),
    ),
    "files gone": (
        lambda repo: gone(packs_of_type(repo, "data")[-1]),
        lambda repo: gone(packs_of_type(repo, "tree")[-1]),
    ),
    "config and key gone": (lambda repo: gone(repo / "config"), lambda repo: gone(first(repo, "keys"))),
    "config flipped and key gone": (lambda repo: zero(repo / "config"), lambda repo: gone(first(repo, "keys"))),
}
MORE: dict[str, tuple[Callable[[Path], object], ...]] = {
    "pack truncated": (lambda repo: kit.cut(packs_of_type(repo, "data")[-1], -1000),),
    "pack overwritten": (lambda repo: zero(packs_of_type(repo, "tree")[0]),),
    "key zeroed": (lambda repo: zero(first(repo, "keys")),),
    "key gone": (lambda repo: gone(first(repo, "keys")),),
    "config gone": (lambda repo: gone(repo / "config"),),
    "config zeroed": (lambda repo: zero(repo / "config"),),
}


@pytest.mark.parametrize("damage", [*DAMAGE, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE)])
def test_everything_is_as_it_was(protected: Path, damage: str) -> None:
    before = content(protected)
    for hurt in (DAMAGE | MORE)[damage]:
        hurt(protected)
    kit.ours(protected, "heal", "--yes", "--budget", "0")
    after = content(protected)
    assert {key: after.get(key) for key in before} == before
    assert {kind for kind, _ in after.keys() - before.keys()} <= {FileKind.INDEX}
    assert "no errors were found" in kit.restic(protected, "check", "--read-data").stdout


def test_nothing_is_changed_without_yes(protected: Path) -> None:
    (protected / "config").unlink()
    for words in (["heal"], ["heal", "--dry-run"]):
        told = kit.ours(protected, *words, check=False)
        assert "config: parity of " in told.stdout + told.stderr and not (protected / "config").exists()
    kit.ours(protected, "heal", "--yes")
    assert (protected / "config").exists()


def test_parity_in_another_place(protected: Path, tmp_path: Path) -> None:
    before = content(protected)
    shutil.move(protected / "parity", tmp_path / "elsewhere")
    packs_of_type(protected, "data")[-1].unlink()
    told = kit.ours(protected, "heal", "--yes", "--parity", str(tmp_path / "nowhere"), check=False)
    assert told.returncode == 1 and "there is no parity in" in told.stderr
    kit.ours(protected, "heal", "--yes", "--parity", str(tmp_path / "elsewhere"))
    after = content(protected)
    assert {key: after.get(key) for key in before} == before


def test_a_key_that_was_removed_does_not_come_back(protected: Path) -> None:
    """Its password must not open the repository again."""
    name = first(protected, "keys").name
    (protected.parent / "new").write_text("another")
    kit.restic(protected, "key", "add", "--new-password-file", str(protected.parent / "new"))
    (protected / "keys" / name).unlink()
    told = kit.ours(protected, "heal", "--yes", check=False)
    assert told.returncode == 12 and "wrong password" in told.stderr and not (protected / "keys" / name).exists()


def test_lost_snapshots_come_back_only_where_they_are_asked_for(protected: Path) -> None:
    """They may have been forgotten."""
    before = content(protected)
    lost = first(protected, "snapshots")
    lost.unlink()
    kit.ours(protected, "heal", "--yes")
    assert not lost.exists()
    kit.ours(protected, "heal", "--yes", "--lost-snapshots")
    after = content(protected)
    assert {key: after.get(key) for key in before} == before
