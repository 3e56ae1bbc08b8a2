"""What was read is kept in a file: packs are not read again, shares are put together, and nothing stale is believed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from restic_format.check.subset import Bucket
from restic_format.errors import Interrupted, UsageError
from restic_format.rescue.diagnosis import Diagnosis, Opened, diagnose, open_for_rescue, read_share
from restic_format.storage import LocalStorage
from restic_format.storage.base import WrappedStorage
from restic_format.work import Advance, Cancel
from restic_spec.layout import FileKind
from tests.rescue.conftest import Fresh
from tests.safety import kit


class Counting(WrappedStorage):
    """Counts the bytes of packs that are read."""

    read = 0

    def load(self, kind: FileKind, name: str, offset: int = 0, length: int | None = None) -> bytes:
        data = self.inner.load(kind, name, offset, length)
        self.read += len(data) if kind is FileKind.PACK else 0
        return data

    def load_into(self, kind: FileKind, name: str, offset: int, target: memoryview) -> None:
        self.inner.load_into(kind, name, offset, target)
        self.read += len(target) if kind is FileKind.PACK else 0


def opened(repo: Path) -> tuple[Opened, Counting]:
    storage = Counting(LocalStorage(str(repo)))
    return open_for_rescue(storage, kit.PASSWORD.encode()), storage


def told(found: Diagnosis) -> tuple[object, ...]:
    """What a diagnosis says, without how it came to it."""
    faults = [(str(fault.object), fault.origin, fault.means, fault.cost) for fault in found.faults]
    states = [(state.id, state.counts, list(state.damaged)) for state in found.snapshots]
    return faults, states, found.paths, found.copies, dict(found.missing), found.packs_read, found.bytes_read


@pytest.fixture
def hurt(fresh: Fresh) -> Path:
    """A repository with a damaged pack."""
    repo = fresh()
    kit.flip_bit(kit.files_of(repo, "data")[-1], 5000)
    return repo


def test_packs_are_not_read_again_unless_they_have_changed(hurt: Path, tmp_path: Path) -> None:
    plain = diagnose(opened(hurt)[0])
    kept = str(tmp_path / "kept")
    first, second = opened(hurt), opened(hurt)
    assert told(diagnose(first[0], resume=kept)) == told(plain)
    assert told(diagnose(second[0], resume=kept)) == told(plain)
    assert second[1].read < first[1].read / 4
    bad = kit.files_of(hurt, "data")[-1]
    kit.flip_bit(bad, 5000)
    assert diagnose(opened(hurt)[0], resume=kept).healthy, "a file that was written since is read"


def test_an_interrupted_diagnosis_goes_on(hurt: Path, tmp_path: Path) -> None:
    kept = str(tmp_path / "kept")
    cancel = Cancel()

    def stop(event: object) -> None:
        if isinstance(event, Advance) and event.stage == "read" and event.done == 2:
            cancel.set()

    with pytest.raises(Interrupted):
        diagnose(opened(hurt)[0], stop, cancel, resume=kept)
    with sqlite3.connect(kept) as connection:
        (count,) = connection.execute("SELECT count(*) FROM packs").fetchone()
    assert count >= 2
    assert told(diagnose(opened(hurt)[0], resume=kept)) == told(diagnose(opened(hurt)[0]))


def test_shares_are_put_together(hurt: Path, tmp_path: Path) -> None:
    files = [str(tmp_path / f"share{number}") for number in (1, 2, 3)]
    shares = [read_share(opened(hurt)[0], Bucket(number, 3), file) for number, file in enumerate(files, 1)]
    plain = diagnose(opened(hurt)[0])
    assert sum(share.packs for share in shares) == plain.packs_read and sum(share.damaged for share in shares) == 1
    merging = opened(hurt)
    merged = diagnose(merging[0], resume=str(tmp_path / "all"), shares=files)
    assert told(merged) == told(plain) and merging[1].read < plain.bytes_read / 4


def test_files_of_others_are_refused_or_begun_anew(hurt: Path, fresh: Fresh, tmp_path: Path) -> None:
    kept, garbage = tmp_path / "kept", tmp_path / "garbage"
    diagnose(opened(hurt)[0], resume=str(kept))
    garbage.write_bytes(b"no database" * 1000)
    with pytest.raises(UsageError, match="cannot be used"):
        diagnose(opened(hurt)[0], resume=str(garbage))
    with pytest.raises(UsageError, match="there is no file"):
        diagnose(opened(hurt)[0], resume=str(kept), shares=[str(tmp_path / "none")])
    index = kit.files_of(hurt, "index")[0]
    index.unlink()
    again = opened(hurt)
    with pytest.raises(UsageError, match="another repository"):
        diagnose(again[0], resume=str(tmp_path / "new"), shares=[str(kept)])
    diagnose(again[0], resume=str(kept))
    assert again[1].read > sum(path.stat().st_size for path in kit.files_of(hurt, "data")) * 0.9
