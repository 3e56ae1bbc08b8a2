"""Run tests with the native parts built under address and undefined-behaviour sanitizers, in a copy of the tree.

.venv/bin/python scripts/sanitize.py [tests or folders ...]

What a sanitizer has to say goes to files, for pytest keeps what tests print to itself, and ends the run with an error. Every
Python that a test starts is started by way of a script that loads the sanitizer's library first: tests give the programs they
start an environment of their own. Tests that bound the address space are left out: the sanitizer takes terabytes of it. So are
those about signals, locks and full disks, which start hundreds of programs to call what the others call as well.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TREE = ROOT / "build" / "sanitize"
REPORTS = TREE / "reports"
FOLDERS = ("restic_format", "spec", "tools", "conformance", "tests", "fixtures", "scripts", "docs")
FILES = ("README.md", "LICENSE", "pyproject.toml", "setup.py")
TESTS = ("tests/native", "tests/repository", "tests/safety", "tests/check", "tests/restore")
BUILT = shutil.ignore_patterns("*.so", "__pycache__")
BOUNDED = ("tests/safety/test_hostile_sizes.py", "tests/packaging")
PROCESSES = (
    "tests/safety/test_at_the_same_time.py",
    "tests/safety/test_disk_full.py",
    "tests/safety/test_killed_backups.py",
    "tests/safety/test_locks_with_restic.py",
)
DESELECTED = (
    "tests/native/test_packs.py::test_another_header_is_noticed",
    "tests/native/test_nodes.py::test_many_tiny_entries_cost_less_than_their_text",
)
"""One takes half a gigabyte of memory time and again, one measures memory: the sanitizer keeps books of all of it."""
PLUGIN = """
import sys

import pytest
from hypothesis import HealthCheck, settings

sys.executable = {launcher!r}


@pytest.hookimpl(trylast=True)
def pytest_configure():
    settings.register_profile("sanitized", max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    settings.load_profile("sanitized")
"""


def library(name: str) -> str:
    """The compiler's own copy of a sanitizer's library."""
    done = subprocess.run(["gcc", f"-print-file-name={name}"], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def build() -> None:
    """The tree with sanitized extension modules in it, as new as its sources."""
    TREE.mkdir(parents=True, exist_ok=True)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, TREE / name, dirs_exist_ok=True, ignore=BUILT, symlinks=True)
    for name in FILES:
        shutil.copy2(ROOT / name, TREE / name)
    if not (TREE / ".peers").exists():
        (TREE / ".peers").symlink_to(ROOT / ".peers")
    env = {**os.environ, "RESTIC_FORMAT_KERNEL": "require", "RESTIC_FORMAT_SANITIZE": "1"}
    subprocess.run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], cwd=TREE, env=env, check=True)


def launcher() -> Path:
    """A script that is Python with the sanitizers loaded."""
    script = TREE / "python"
    options = f"log_path={REPORTS}/report:exitcode=99:print_stacktrace=1"
    script.write_text(
        "#!/bin/sh\n"
        f"export LD_PRELOAD='{library('libasan.so')} {library('libubsan.so')}'\n"
        f"export ASAN_OPTIONS='{options}:detect_leaks=0:allocator_may_return_null=1:quarantine_size_mb=16'\n"
        f"export UBSAN_OPTIONS='{options}:halt_on_error=1'\n"
        f'exec {sys.executable} "$@"\n'
    )
    script.chmod(0o755)
    return script


def main() -> None:
    build()
    shutil.rmtree(REPORTS, ignore_errors=True)
    REPORTS.mkdir()
    python = launcher()
    (TREE / "sanitized.py").write_text(PLUGIN.format(launcher=str(python)))
    wanted = sys.argv[1:] or [*TESTS, "-m", "not slow"]
    left_out = [*(f"--ignore={path}" for path in (*BOUNDED, *PROCESSES)), *(f"--deselect={test}" for test in DESELECTED)]
    env = {**os.environ, "PYTHONPATH": str(TREE), "RESTIC_FORMAT_KERNEL": "require"}
    command = [str(python), "-m", "pytest", "-p", "sanitized", "-q", "--timeout=900", *left_out, *wanted]
    code = subprocess.run(command, cwd=TREE, env=env).returncode
    for report in sorted(REPORTS.iterdir()):
        print(report.read_text(errors="replace"))
        code = code or 99
    raise SystemExit(code)


if __name__ == "__main__":
    main()
