"""What the tests of damage and disaster share: small real repositories, ways to hurt them, programs to run on them."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import random
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

from restic_spec import keyfile

ROOT = Path(__file__).resolve().parent.parent.parent
PASSWORD = "correct horse"
_PYTHONPATH = os.pathsep.join(str(ROOT / part) for part in ("", "spec", "tools", "conformance"))


def environment(**extra: str) -> dict[str, str]:
    """A scrubbed environment for either program."""
    base = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    return {**base, "RESTIC_PASSWORD": PASSWORD, "RESTIC_PROGRESS_FPS": "0", "PYTHONPATH": _PYTHONPATH, **extra}


def restic_binary() -> str:
    """The newest real restic."""
    program = ROOT / ".peers" / "restic-0.19" / "restic"
    assert program.exists(), "run `make peers` first"
    return str(program)


def run(command: list[str], *, check: bool = True, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a program and keep what it says; with *check* a failure fails the test and shows it."""
    env = options.pop("env", None) or environment()
    done = subprocess.run(command, capture_output=True, text=True, env=env, **options)  # type: ignore[call-overload]
    if check and done.returncode:
        raise AssertionError(f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def restic(repo: Path, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run real restic on *repo*."""
    return run([restic_binary(), "--no-cache", "-r", str(repo), *args], check=check)


def ours_command(repo: Path, *args: str) -> list[str]:
    """The command line of this project's program on *repo*."""
    return [sys.executable, "-m", "restic_tools", "--no-cache", "-r", str(repo), *args]


def ours(repo: Path, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run this project's program on *repo*."""
    return run(ours_command(repo, *args), check=check)


def grow_source(folder: Path, seed: int = 5, *, files: int = 4, size: int = 300_000) -> Path:
    """A small tree with text, bytes that do not compress, nested folders, a big file and an empty one."""
    rng = random.Random(seed)
    for name in ("a", "b/c", "d"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(files):
            (folder / name / f"random{number}.bin").write_bytes(rng.randbytes(size))
            (folder / name / f"text{number}.txt").write_text(f"{name} {number} says hello\n" * 2000)
    (folder / "big").write_bytes(rng.randbytes(10 * size))
    (folder / "empty").write_bytes(b"")
    (folder / "link").symlink_to("big")
    return folder


def cheap_key(repo: Path) -> None:
    """Replace the repository's key by one that takes no time to open: these tests open repositories all the time."""
    (path,) = (repo / "keys").iterdir()
    old = keyfile.decode_keyfile(path.read_bytes())
    master = keyfile.unwrap(old, PASSWORD.encode())
    kdf = keyfile.Kdf(2, 1, 1, os.urandom(keyfile.SALT_SIZE))
    new = keyfile.encode_keyfile(
        keyfile.wrap(master, PASSWORD.encode(), kdf, created=old.created or "", username="u", hostname="h")
    )
    path.unlink()
    target = repo / "keys" / hashlib.sha256(new).hexdigest()
    target.write_bytes(new)
    target.chmod(0o400)


@functools.cache
def _empty(version: int) -> tempfile.TemporaryDirectory[str]:
    made = tempfile.TemporaryDirectory(prefix="restic-format-")
    repo = Path(made.name) / "repo"
    restic(repo, "init", "-q", "--repository-version", str(version))
    cheap_key(repo)
    return made


def initialised(folder: Path, *, version: int = 2) -> Path:
    """An empty repository by real restic, whose key takes no time to open; all of a process have the same keys."""
    shutil.copytree(Path(_empty(version).name) / "repo", folder)
    return folder


def make_repository(folder: Path, source: Path, *, version: int = 2) -> Path:
    """A repository that real restic has made: two snapshots, several packs of each kind."""
    initialised(folder, version=version)
    restic(folder, "backup", "-q", "--pack-size", "4", "--host", "first", str(source))
    (source / "a" / "new").write_text("second time")
    restic(folder, "backup", "-q", "--pack-size", "4", "--host", "second", str(source))
    return folder


def copy_repository(original: Path, target: Path) -> Path:
    """A copy whose files can be changed."""
    shutil.copytree(original, target)
    for path in files_of(target):
        path.chmod(0o600)
    return target


def files_of(repo: Path, kind: str = "") -> list[Path]:
    """The files of a repository, or those in one of its folders, smallest first."""
    found = [path for path in (repo / kind).rglob("*") if path.is_file()] if kind != "config" else [repo / "config"]
    sizes = {}
    for path in found:
        with contextlib.suppress(FileNotFoundError):  # Another process may be at work.
            sizes[path] = path.stat().st_size
    return sorted(sizes, key=lambda path: (sizes[path], path.name))


def flip_bit(path: Path, offset: int, bit: int = 0) -> None:
    """Turn one bit of a file over; a negative offset counts from the end."""
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    with path.open("r+b") as file:
        file.seek(offset, os.SEEK_END if offset < 0 else os.SEEK_SET)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes((byte ^ (1 << bit),)))


def cut(path: Path, size: int) -> None:
    """Cut a file down to *size* bytes; a negative size takes that many off its end."""
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    os.truncate(path, size if size >= 0 else path.stat().st_size + size)


def to_old_layout(repo: Path) -> Path:
    """The same repository as early versions had it on S3."""
    for path in files_of(repo, "data"):
        path.rename(repo / "data" / path.name)
    for folder in (repo / "data").iterdir():
        if folder.is_dir():
            folder.rmdir()
    for new, old in (("keys", "key"), ("locks", "lock"), ("snapshots", "snapshot")):
        (repo / new).rename(repo / old)
    return repo
