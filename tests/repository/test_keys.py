"""Key files: finding the one a password opens among bad ones as restic does, or better; adding, changing, removing."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.errors import (
    AccessDenied,
    DamagedFile,
    KeyUnusable,
    LockLost,
    ResticFormatError,
    StorageError,
    UsageError,
    WrongPassword,
)
from restic_format.native import scrypt
from restic_format.repository import Repository, keys
from restic_format.storage import FaultyStorage, LocalStorage, MemoryStorage
from restic_format.storage.faulty import Fail, nth
from restic_spec.errors import KdfInvalid
from restic_spec.ids import id_of
from restic_spec.keyfile import Kdf
from restic_spec.layout import FileKind
from restic_spec.snapshot import Snapshot
from tests.repository.conftest import CHEAP, POLYNOMIAL

FIRST, LAST = "0" * 64, "f" * 64
Change = Callable[[bytes], bytes]


def fresh(folder: Path) -> tuple[Repository, Path]:
    """A repository with a cheap key that `pw` opens, and that key's file."""
    repo = Repository.init(LocalStorage(folder), "pw", polynomial=POLYNOMIAL, kdf=Kdf(16, 8, 1, os.urandom(64)))
    path = folder / "keys" / repo.key_id.hex()
    path.chmod(0o600)
    return repo, path


def in_memory() -> tuple[Repository, MemoryStorage]:
    storage = MemoryStorage()
    return Repository.init(storage, "pw", polynomial=POLYNOMIAL, kdf=CHEAP), storage


def named_right(path: Path, raw: bytes) -> None:
    """Put *raw* in the place of the key, under the name its hash gives it."""
    path.unlink()
    (path.parent / hashlib.sha256(raw).hexdigest()).write_bytes(raw)


def with_member(**changed: object) -> Change:
    return lambda raw: json.dumps({**json.loads(raw), **changed}).encode()


def code_of_restic(program: Path, folder: Path, *words: str, password: str = "pw") -> tuple[int, str]:
    env = {**os.environ, "RESTIC_PASSWORD": password, "HOME": str(folder.parent)}
    command = [program, "--no-cache", "--no-lock", "-r", folder, *words, "snapshots"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stderr


def our_code(folder: Path, password: str = "pw", hint: str | None = None) -> tuple[int, str]:
    """The exit code that the command line makes of what opening raises."""
    try:
        Repository.open(LocalStorage(folder), password, key_hint=hint)
    except WrongPassword as error:
        return 12, str(error)
    except ResticFormatError as error:
        return 1, str(error)
    return 0, ""


BAD: dict[str, Change] = {
    "empty": lambda raw: b"",
    "an empty object": lambda raw: b"{}",
    "garbage": lambda raw: b"\0garbage\xff",
    "cut short": lambda raw: raw[:100],
    "another function": with_member(kdf="argon2"),
    "N is huge": with_member(N=1 << 40),
    "N is beyond 64 bits": with_member(N=1 << 70),
    "r is huge": with_member(r=1 << 35),
    "N is no power of two": with_member(N=1000),
    "N is negative": with_member(N=-4),
    "r is nothing": with_member(r=0),
    "a short salt": with_member(salt="QUJD"),
}
WORSE_FOR_RESTIC: dict[str, Change] = {
    "p is huge": with_member(p=1 << 20),
    "p is beyond 31 bits": with_member(p=1 << 33, N=2, r=1),
    "no data": with_member(data=""),
    "short data": with_member(data="QUJD"),
    "much memory for p": with_member(N=2, r=1 << 12, p=1 << 12),
}
"""Here restic panics or computes for minutes."""


@pytest.mark.clause("KEY-6", "KEY-9")
@pytest.mark.parametrize("how", BAD)
def test_a_key_file_that_is_no_key_is_not_a_wrong_password_for_either_program(
    how: str, tmp_path: Path, peer: Callable[[str], Path]
) -> None:
    _, path = fresh(tmp_path / "repo")
    named_right(path, BAD[how](path.read_bytes()))
    code, said = our_code(tmp_path / "repo")
    [name] = os.listdir(tmp_path / "repo" / "keys")
    assert code == code_of_restic(peer("restic-0.19"), tmp_path / "repo")[0] == 1
    assert said.startswith(f"keys/{name}: ")


@pytest.mark.clause("KEY-1")
@pytest.mark.parametrize("how", ["empty", "an empty object", "garbage", "cut short"])
def test_a_key_file_whose_name_does_not_fit_is_named(how: str, tmp_path: Path, peer: Callable[[str], Path]) -> None:
    _, path = fresh(tmp_path / "repo")
    path.write_bytes(BAD[how](path.read_bytes()))
    code, said = our_code(tmp_path / "repo")
    assert code == code_of_restic(peer("restic-0.19"), tmp_path / "repo")[0] == 1
    assert said == f"keys/{path.name}: its content does not match its name"


@pytest.mark.clause("KEY-6")
@pytest.mark.parametrize("how", {**BAD, **WORSE_FOR_RESTIC})
def test_one_bad_key_file_hides_no_good_one(how: str) -> None:
    repo, storage = in_memory()
    raw = storage.files[FileKind.KEY, repo.key_id.hex()]
    bad = {**BAD, **WORSE_FOR_RESTIC}[how](raw)
    storage.save(FileKind.KEY, FIRST, bad)
    storage.save(FileKind.KEY, id_of(bad).hex(), bad)
    assert Repository.open(storage, "pw").key_id == repo.key_id
    assert Repository.open(storage, "pw", key_hint=FIRST[:4]).key_id == repo.key_id
    storage.remove(FileKind.KEY, repo.key_id.hex())
    with pytest.raises(KeyUnusable, match=f"keys/{FIRST}: .*keys/{id_of(bad).hex()}: "):
        Repository.open(storage, "pw")


def test_a_wrong_password_is_only_what_no_key_opens_with(tmp_path: Path, peer: Callable[[str], Path]) -> None:
    _, path = fresh(tmp_path / "repo")
    for password, code in (("pw", 0), ("other", 12), ("", 12)):
        assert our_code(tmp_path / "repo", password)[0] == code
    assert code_of_restic(peer("restic-0.19"), tmp_path / "repo", password="other")[0] == 12
    (path.parent / LAST).write_bytes(b"garbage")
    code, said = our_code(tmp_path / "repo", "other")
    assert code == code_of_restic(peer("restic-0.19"), tmp_path / "repo", password="other")[0] == 1
    wrong = "its content does not match its name"
    assert said == f"no key opens with this password, but some cannot be used: keys/{LAST}: {wrong}"
    for entry in path.parent.iterdir():
        entry.unlink()
    assert our_code(tmp_path / "repo") == (12, "wrong password or no key found")
    assert code_of_restic(peer("restic-0.19"), tmp_path / "repo")[0] == 12


def test_a_key_file_that_cannot_be_read_is_not_a_wrong_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, path = fresh(tmp_path / "repo")
    real = os.open

    def refuse(name: bytes, flags: int, mode: int = 0o777) -> int:
        if os.fsencode(name).endswith(path.name.encode()):
            raise PermissionError(13, "Permission denied")
        return real(name, flags, mode)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(KeyUnusable, match=f"^open {path}: permission denied$") as caught:
        Repository.open(LocalStorage(tmp_path / "repo"), "pw")
    assert isinstance(caught.value.cause, AccessDenied)
    assert caught.value.object == f"keys/{path.name}"


def test_what_restic_says_of_a_key_file_it_may_not_read(tmp_path: Path, peer: Callable[[str], Path]) -> None:
    _, path = fresh(tmp_path / "repo")
    path.chmod(0)
    allowed = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    env = {**os.environ, "RESTIC_PASSWORD": "pw", "HOME": str(tmp_path)}
    command = [*allowed, peer("restic-0.19"), "--no-cache", "--no-lock", "-r", tmp_path / "repo", "snapshots"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"Fatal: open {path}: permission denied\n" in done.stderr


def test_many_unusable_keys_are_told_in_few_words() -> None:
    repo, storage = in_memory()
    storage.remove(FileKind.KEY, repo.key_id.hex())
    for number in range(12):
        storage.save(FileKind.KEY, f"{number:064x}", b"?")
    with pytest.raises(KeyUnusable) as caught:
        Repository.open(storage, "pw")
    assert str(caught.value).count("keys/") == 5
    assert str(caught.value).endswith("; and 7 more")


@pytest.mark.clause("KEY-14")
def test_no_more_keys_are_tried_than_by_restic_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    repo, storage = in_memory()
    tried: list[bytes] = []
    derive = scrypt.derive
    monkeypatch.setattr(scrypt, "derive", lambda *words: tried.append(words[1]) or derive(*words))
    for _ in range(24):
        keys.add_key(storage, repo.master_key, b"other", kdf=Kdf(2, 1, 1, os.urandom(64)))
    right = repo.key_id.hex()
    raw = storage.files.pop((FileKind.KEY, right))
    while right < max(name for name, _ in storage.list(FileKind.KEY)):
        del storage.files[FileKind.KEY, max(name for name, _ in storage.list(FileKind.KEY))]
        keys.add_key(storage, repo.master_key, b"other", kdf=Kdf(2, 1, 1, os.urandom(64)))
    storage.save(FileKind.KEY, right, raw)
    tried.clear()
    with pytest.raises(KeyUnusable, match=r"^maximum number of keys reached: none of the 20 .* 5 were not tried; .* key hint"):
        Repository.open(storage, "pw")
    assert len(tried) == 20
    tried.clear()
    for hint in (right[:8], right):
        assert Repository.open(storage, "pw", key_hint=hint).key_id == repo.key_id
    assert len(tried) == 2
    tried.clear()
    with pytest.raises(KeyUnusable, match=r"none of the 21 .* 4 were not tried"):
        Repository.open(storage, "wrong", key_hint=right[:8])
    first_digits = [name[0] for name, _ in storage.list(FileKind.KEY)]
    several = next(digit for digit in first_digits if first_digits.count(digit) > 1)
    for hint in ("no id", several):
        with pytest.raises(KeyUnusable, match=r"none of the 20 .* 5 were not tried"):
            Repository.open(storage, "wrong", key_hint=hint)


@pytest.mark.clause("KEY-14")
def test_a_hint_may_fit_several_keys_or_none() -> None:
    repo, storage = in_memory()
    second = keys.add_key(storage, repo.master_key, b"two", kdf=CHEAP)
    for hint in ("", second.hex()[:1], second.hex()[:6], second.hex(), "zz", second.hex() + "0"):
        assert Repository.open(storage, "two", key_hint=hint).key_id == second
        assert Repository.open(storage, "pw", key_hint=hint).key_id == repo.key_id


@pytest.mark.clause("KEY-6")
def test_costly_keys_are_given_up_when_they_have_cost_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    repo, storage = in_memory()
    monkeypatch.setattr(keys, "MAX_WORK", 3 * 16 * 8)
    names = [repo.key_id] + [keys.add_key(storage, repo.master_key, b"other", kdf=CHEAP) for _ in range(5)]
    last = max(names).hex()
    password = b"pw" if last == repo.key_id.hex() else b"other"
    with pytest.raises(KeyUnusable, match="none of the 3 that were tried opens with this password, 3 were not tried"):
        Repository.open(storage, "wrong")
    assert Repository.open(storage, password, key_hint=last).key_id.hex() == last


@pytest.mark.clause("KEY-6")
@pytest.mark.parametrize(
    ("n", "r", "p", "accepted"),
    [
        (1 << 15, 8, 128, True),
        (1 << 15, 8, 129, False),
        (1 << 17, 8, 1, True),
        (1 << 20, 8, 1, False),
        (1 << 19, 8, 1, True),
        (2, 1 << 11, 1 << 12, False),
        (2, 1 << 11, 1 << 11, True),
    ],
)
def test_memory_and_time_of_a_key_are_bounded(n: int, r: int, p: int, accepted: bool) -> None:
    if accepted:
        assert Kdf(n, r, p, bytes(64)).p == p
    else:
        with pytest.raises(KdfInvalid, match="exceed what this program will compute"):
            Kdf(n, r, p, bytes(64))


def test_a_key_for_which_there_is_no_memory_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    repo, storage = in_memory()
    keys.add_key(storage, repo.master_key, b"two", kdf=Kdf(32, 8, 1, bytes(64)))
    derive = scrypt.derive

    def short(password: bytes, salt: bytes, n: int, r: int, p: int) -> bytes:
        if n == 32:
            raise MemoryError
        return derive(password, salt, n, r, p)

    monkeypatch.setattr(scrypt, "derive", short)
    assert Repository.open(storage, "pw").key_id == repo.key_id
    with pytest.raises(KeyUnusable, match="there is not enough memory to derive its key"):
        Repository.open(storage, "two")


def test_a_key_that_vanishes_meanwhile_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    repo, storage = in_memory()
    listed = storage.list
    monkeypatch.setattr(storage, "list", lambda kind: iter([(FIRST, 400), *listed(kind)]))
    assert Repository.open(storage, "pw").key_id == repo.key_id
    with pytest.raises(WrongPassword):
        Repository.open(storage, "other")


def foreign_key() -> tuple[str, bytes]:
    other, storage = in_memory()
    name = other.key_id.hex()
    return name, storage.files[FileKind.KEY, name]


@pytest.mark.clause("KEY-9")
def test_a_key_of_another_repository_hides_no_good_one() -> None:
    repo, storage = in_memory()
    for _ in range(8):  # some of them stand before the right one
        storage.save(FileKind.KEY, *foreign_key())
    assert Repository.open(storage, "pw").key_id == repo.key_id


@pytest.mark.clause("KEY-9")
def test_a_key_of_another_repository_is_named_where_no_other_opens() -> None:
    repo, storage = in_memory()
    name, raw = foreign_key()
    storage.save(FileKind.KEY, name, raw)
    storage.remove(FileKind.KEY, repo.key_id.hex())
    storage.save(FileKind.LOCK, FIRST, b"a damaged file tells nothing")
    with pytest.raises(DamagedFile, match=f"^config or key {name} is damaged: ciphertext verification failed") as caught:
        Repository.open(storage, "pw")
    assert caught.value.object == f"keys/{name}"
    repo.save_snapshot(Snapshot(time="2026-01-01T00:00:00Z", tree="00" * 32, paths=[]))
    with pytest.raises(DamagedFile, match=f"^keys/{name} is a key of another repository; move it away"):
        Repository.open(storage, "pw")


@pytest.mark.clause("CONFIG-7")
def test_a_damaged_config_is_named_where_the_key_opens_other_files() -> None:
    repo, storage = in_memory()
    config = storage.files[FileKind.CONFIG, ""]
    storage.save(FileKind.CONFIG, "", config[:-1] + bytes([config[-1] ^ 1]))
    with pytest.raises(DamagedFile, match=f"^config or key {repo.key_id.hex()} is damaged: "):
        Repository.open(storage, "pw")
    storage.save(FileKind.LOCK, FIRST, b"no lock")
    repo.save_snapshot(Snapshot(time="2026-01-01T00:00:00Z", tree="00" * 32, paths=[]))
    with pytest.raises(DamagedFile, match=r"^config: ciphertext verification failed"):
        Repository.open(storage, "pw")
    storage.save(FileKind.KEY, *foreign_key())
    with pytest.raises(DamagedFile, match=r"^config: ciphertext verification failed"):
        Repository.open(storage, "pw")


# Adding, changing, removing


@pytest.mark.clause("KEY-10")
def test_every_key_opens_the_same_repository() -> None:
    repo, storage = in_memory()
    second = keys.add_key(storage, repo.master_key, b"two", kdf=CHEAP, username="u", hostname="h")
    assert Repository.open(storage, "pw").key_id == repo.key_id
    opened = Repository.open(storage, "two")
    assert (opened.key_id, opened.master_key) == (second, repo.master_key)
    key = keys.load_key(storage, second.hex())
    assert (key.username, key.hostname) == ("u", "h")


def test_a_new_key_is_derived_by_the_library_and_tried_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    repo, storage = in_memory()
    ours, theirs = scrypt.derive, hashlib.scrypt
    calls: list[str] = []
    monkeypatch.setattr(hashlib, "scrypt", lambda *words, **named: calls.append("library") or theirs(*words, **named))
    monkeypatch.setattr(scrypt, "derive", lambda *words: calls.append("tried") or ours(*words))
    keys.add_key(storage, repo.master_key, b"two", kdf=CHEAP)
    assert [call for number, call in enumerate(calls) if call not in calls[:number]] == ["library", "tried"]


@pytest.mark.parametrize("change", [False, True])
def test_a_key_that_does_not_open_is_removed_again(change: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    repo, storage = in_memory()
    before = dict(storage.files)
    monkeypatch.setattr(scrypt, "derive", lambda *words: bytes(range(64)))
    with pytest.raises(KeyUnusable, match="was removed again"):
        keys.change_password(repo, b"new") if change else keys.add_key(storage, repo.master_key, b"new", kdf=CHEAP)
    assert storage.files == before


@pytest.mark.clause("KEY-10")
def test_a_password_is_changed_in_the_safe_order(monkeypatch: pytest.MonkeyPatch) -> None:
    repo, storage = in_memory()
    monkeypatch.setattr(keys, "calibrate", lambda: CHEAP)
    watched = FaultyStorage(storage, lambda call: None)
    repo.storage = watched
    new = keys.change_password(repo, b"new")
    done = [(call.operation, call.name) for call in watched.calls]
    assert done == [("save", new.hex()), ("load", new.hex()), ("remove", repo.key_id.hex())]
    assert Repository.open(storage, "new").key_id == new
    with pytest.raises(WrongPassword):
        Repository.open(storage, "pw")


def test_where_the_old_key_cannot_be_removed_both_passwords_open(monkeypatch: pytest.MonkeyPatch) -> None:
    repo, storage = in_memory()
    monkeypatch.setattr(keys, "calibrate", lambda: CHEAP)
    repo.storage = FaultyStorage(storage, nth("remove", 0, Fail("append only")))
    with pytest.raises(StorageError, match="append only"):
        keys.change_password(repo, b"new")
    assert {Repository.open(storage, word).master_key for word in ("pw", "new")} == {repo.master_key}


@pytest.mark.parametrize("act", ["change", "remove"])
def test_keys_stay_when_the_lock_is_lost(act: str, monkeypatch: pytest.MonkeyPatch) -> None:
    repo, storage = in_memory()
    second = keys.add_key(storage, repo.master_key, b"two", kdf=CHEAP)
    before = dict(storage.files)

    def lost() -> None:
        raise LockLost("gone")

    repo.before_changes = lost
    with pytest.raises(LockLost):
        keys.change_password(repo, b"new") if act == "change" else keys.remove_key(repo, second)
    assert storage.files == before


def test_the_key_in_use_is_not_removed() -> None:
    repo, storage = in_memory()
    second = keys.add_key(storage, repo.master_key, b"two", kdf=CHEAP)
    with pytest.raises(UsageError, match=r"^refusing to remove key currently used to access repository$"):
        keys.remove_key(repo, repo.key_id)
    keys.remove_key(repo, second)
    assert [name for name, _ in storage.list(FileKind.KEY)] == [repo.key_id.hex()]
