"""What is built from the source tree: complete, with and without native parts, with and without a compiler."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from restic_format import __version__

pytestmark = pytest.mark.slow

PACKAGES = {"restic_spec": "spec", "restic_format": ".", "restic_tools": "tools", "restic_conformance": "conformance"}
"""Import packages, and the folder below which each lies."""
LEFT_BEHIND = shutil.ignore_patterns(
    ".git",
    ".venv",
    ".peers",
    "build",
    "dist",
    "site",
    "reports",
    "*.egg-info",
    "*.so",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
)


def build(source: Path, hook: str, into: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Call one of the build backend's hooks, as pip does."""
    code = f"from setuptools import build_meta; build_meta.{hook}({str(into)!r})"
    env = {**os.environ, "RESTIC_FORMAT_KERNEL": "auto", **variables}
    return subprocess.run([sys.executable, "-c", code], cwd=source, env=env, capture_output=True, text=True)


def wheel(source: Path, into: Path, **variables: str) -> Path:
    done = build(source, "build_wheel", into, **variables)
    assert done.returncode == 0, done.stderr[-3000:]
    (path,) = into.glob("*.whl")
    return path


def names(path: Path) -> set[str]:
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory, project_root: Path) -> Path:
    work = tmp_path_factory.mktemp("sdist")
    shutil.copytree(project_root, work / "tree", ignore=LEFT_BEHIND, symlinks=True)
    done = build(work / "tree", "build_sdist", work)
    assert done.returncode == 0, done.stderr[-3000:]
    return work / f"restic_format-{__version__}.tar.gz"


@pytest.fixture
def unpacked(sdist: Path, tmp_path: Path) -> Path:
    # tarfile's filters are younger than the oldest Python that we support.
    subprocess.run(["tar", "-xf", sdist, "-C", tmp_path], check=True)
    return tmp_path / f"restic_format-{__version__}"


def test_the_sdist_holds_what_a_build_and_a_reader_need(unpacked: Path) -> None:
    for name in (
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "Makefile",
        "scripts/environment.py",
        "restic_format/native/chunker/_chunker.pyx",
        "restic_format/native/blobs/_blobs.pyx",
        "restic_format/native/chunker/rabin.c",
        "restic_format/native/chunker/rabin_x86.c",
        "restic_format/native/chunker/rabin.h",
        "spec/chunking.md",
        "tests/native/test_chunker.py",
    ):
        assert (unpacked / name).is_file(), name
    assert not list(unpacked.rglob("*.so"))
    assert not (unpacked / ".peers").exists()


def test_a_wheel_with_the_native_form(unpacked: Path, tmp_path: Path) -> None:
    compiler = tmp_path / "cc"  # what is compiled is not run here: most of the time would go into making it fast
    compiler.write_text('#!/bin/sh\nexec cc "$@" -O0 -U_FORTIFY_SOURCE\n')
    compiler.chmod(0o755)
    built = wheel(unpacked, tmp_path, RESTIC_FORMAT_KERNEL="require", CC=str(compiler))
    held = names(built)
    assert built.name.startswith(f"restic_format-{__version__}-cp")
    for part in ("blobs", "chunker", "nodes", "places", "scrypt", "solving", "table"):
        assert [name for name in held if name.startswith(f"restic_format/native/{part}/_{part}.") and name.endswith(".so")]
    for package, below in PACKAGES.items():
        assert {f"{package}/__init__.py", f"{package}/py.typed"} <= held
        # A folder without __init__.py would be left out without a word.
        sources = {path.relative_to(unpacked / below).as_posix() for path in (unpacked / below / package).rglob("*.py")}
        assert sources <= held
    assert {"restic_tools/htmlpage/page.html", "restic_tools/htmlpage/style.css"} <= held
    assert not [name for name in held if name.endswith((".c", ".pyx", ".h"))]
    assert not [name for name in held if name.startswith(("tests/", "docs/", "scripts/", "fixtures/"))]
    with zipfile.ZipFile(built) as archive:
        assert f"Version: {__version__}\n" in archive.read(f"restic_format-{__version__}.dist-info/METADATA").decode()


def test_a_wheel_without_the_native_form_works(unpacked: Path, tmp_path: Path) -> None:
    built = wheel(unpacked, tmp_path, RESTIC_FORMAT_KERNEL="off")
    assert built.name == f"restic_format-{__version__}-py3-none-any.whl"
    installed = tmp_path / "installed"
    with zipfile.ZipFile(built) as archive:
        archive.extractall(installed)
    env = {
        **os.environ,
        "HOME": str(tmp_path),
        "PYTHONPATH": str(installed),
        "RESTIC_FORMAT_KERNEL": "auto",
        "RESTIC_REPOSITORY": str(tmp_path / "repository"),
        "RESTIC_PASSWORD": "password",
    }

    def python(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=tmp_path, env=env, check=True, capture_output=True, text=True).stdout

    code = "import restic_format, restic_format.native.chunker as c; print(restic_format.__file__, c.IMPLEMENTATION)"
    file, implementation = python("-c", code).split(maxsplit=1)
    assert Path(file).is_relative_to(installed)
    assert implementation.startswith("pure, not compiled")
    data = random.Random(5).randbytes(3 << 20)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "data").write_bytes(data)
    for arguments in (
        ["init"],
        ["backup", "source"],
        ["check", "--read-data"],
        ["restore", "latest:/source", "--target", "restored"],
    ):
        python("-m", "restic_tools", *arguments)
    assert (tmp_path / "restored" / "data").read_bytes() == data


def test_without_a_compiler_auto_does_without_the_native_form(unpacked: Path, tmp_path: Path) -> None:
    held = names(wheel(unpacked, tmp_path, CC="/missing/compiler"))
    assert "restic_format/native/chunker/_pure.py" in held
    assert not [name for name in held if name.endswith(".so")]


def test_without_a_compiler_require_is_an_error(unpacked: Path, tmp_path: Path) -> None:
    done = build(unpacked, "build_wheel", tmp_path, RESTIC_FORMAT_KERNEL="require", CC="/missing/compiler")
    assert done.returncode != 0
    assert not list(tmp_path.glob("*.whl"))


def test_an_unknown_policy_is_an_error(unpacked: Path, tmp_path: Path) -> None:
    done = build(unpacked, "build_wheel", tmp_path, RESTIC_FORMAT_KERNEL="sometimes")
    assert done.returncode != 0
    assert "use auto, off or require" in done.stderr


PARTS = {"blobs", "chunker", "nodes", "places", "scrypt", "solving", "table"}


@pytest.mark.parametrize(("policy", "left_alone"), [("auto", set()), ("off", PARTS), ("wheels", {"blobs"})])
def test_the_policy_holds_at_run_time_too(policy: str, left_alone: set[str]) -> None:
    env = {**os.environ, "RESTIC_FORMAT_KERNEL": policy}
    command = [sys.executable, "-m", "restic_tools", "version", "-v"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    states = dict(
        line.removeprefix("native ").split(": ", 1) for line in done.stdout.splitlines() if line.startswith("native ")
    )
    assert set(states) == PARTS
    assert {name for name, state in states.items() if not state.startswith("compiled")} == left_alone
    assert all(states[name].endswith(f"RESTIC_FORMAT_KERNEL={policy}") for name in left_alone)
