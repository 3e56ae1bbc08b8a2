"""Make the virtual environment .venv with this project in it, on a machine that may lack the pieces.

Runs on the system's Python with nothing installed. On Debian and Ubuntu, as root, it installs the missing system
packages with apt-get; for anybody else it names them. Nothing is done again while the inputs stay the same.

    python3 scripts/environment.py [--kernel auto|off|require] [extra ...]
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
OLDEST = (3, 11)
NEWEST_TESTED = (3, 13)
FOLDERS = ("", "spec", "tools", "conformance")
"""Where the import packages lie."""
# What an installed environment depends on: a change in one of these means installing again.
INPUTS = (
    "pyproject.toml",
    "setup.py",
    "scripts/environment.py",
    "restic_format/__init__.py",
    "restic_format/native/*/*.pyx",
    "restic_format/native/*/*.pxi",
    "restic_format/native/*.h",
    "restic_format/native/*/*.[ch]",
)


def fail(what: str, remedy: str) -> None:
    """Leave with a message for people; make prints its own line after it."""
    raise SystemExit(f"\nenvironment: {what}\n             {remedy}\n")


def run(*command: str, env: dict[str, str] | None = None) -> None:
    print("+", " ".join(command), flush=True)
    subprocess.run(command, check=True, env=env)


def system_packages(*names: str, because: str) -> None:
    """Install Debian packages, or say which are missing."""
    by_hand = f"sudo apt-get install {' '.join(names)}"
    if not shutil.which("apt-get"):
        fail(f"{because}.", f"Install what your system calls {', '.join(names)}, then try again.")
    if os.geteuid() != 0:
        fail(f"{because}.", f"Run: {by_hand}")
    print(f"environment: {because}; installing {', '.join(names)}", flush=True)
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        run("apt-get", "update", "-qq", env=env)
        run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *names, env=env)
    except subprocess.CalledProcessError:
        fail(f"{because}, and apt-get could not install it.", f"Run: {by_hand}")


def reexecute_on_new_enough_python() -> None:
    """Debian's python3 may be too old where a newer one stands beside it."""
    if sys.version_info >= OLDEST:
        return
    for minor in range(NEWEST_TESTED[1], OLDEST[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        # A version manager's shim exists for versions that it then refuses to run.
        if found and subprocess.run([found, "-c", ""], capture_output=True).returncode == 0:
            os.execv(found, [found, *sys.argv])
    fail(
        f"Python {sys.version.split()[0]} is too old; 3.11 or newer is needed.",
        "Install one (for instance python3.12) and run: make PYTHON=python3.12 …",
    )


def make_venv() -> Path:
    """The environment's interpreter; the environment is made if it is missing or broken."""
    python = VENV / "bin" / "python"
    works = [str(python), "-c", "import pip, sys; sys.exit(sys.version_info < (3, 11))"]
    if python.exists() and subprocess.run(works, capture_output=True).returncode == 0:
        return python
    print(f"environment: making {VENV.name} with Python {sys.version.split()[0]}", flush=True)
    command = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    if subprocess.run(command, capture_output=True).returncode != 0:
        # Debian and Ubuntu keep ensurepip in a package of its own.
        name = f"python3.{sys.version_info.minor}-venv"
        system_packages(name, because="Python cannot make virtual environments on this machine")
        run(*command)
    return python


def need_compiler() -> None:
    """A C compiler and Python's headers, which the native parts are built with."""
    missing = []
    if not (shutil.which("cc") or shutil.which("gcc")):
        missing += ["gcc", "libc6-dev"]
    if not Path(sysconfig.get_paths()["include"], "Python.h").exists():
        missing.append(f"libpython3.{sys.version_info.minor}-dev")
    if missing:
        system_packages(*missing, because="the native parts need a C compiler and Python's headers")


def import_from_folders() -> None:
    """Let the packages be found by plain search paths.

    What setuptools makes for packages that lie in several folders costs every start of Python 0.1 s of imports; the tests start
    thousands.
    """
    for packages in (VENV / "lib").glob("python*/site-packages"):
        for hook in packages.glob("__editable__.restic_format-*.pth"):
            hook.write_text("".join(f"{ROOT / folder}\n" for folder in FOLDERS))


def fingerprint(python: Path) -> str:
    """Of everything that an installed environment depends on, the caller's wishes excepted."""
    version = subprocess.run([str(python), "-VV"], check=True, capture_output=True).stdout
    state = hashlib.sha256(str(python).encode() + version)
    for pattern in INPUTS:
        for path in sorted(ROOT.glob(pattern)):
            state.update(path.read_bytes())
    return state.hexdigest()


def installed(state: str, kernel: str, extras: set[str]) -> bool:
    """Whether an earlier run has left what is wanted: one stamp per wish, so that the targets of make do not
    install in turn."""
    for stamp in VENV.glob("installed-*"):
        _, built, *present = stamp.name.split("-")
        if stamp.read_text() == state and built in (kernel, "require") and extras <= set(present):
            return True
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description="Make .venv with this project in it.")
    parser.add_argument("--kernel", choices=("auto", "off", "require"), default="auto")
    parser.add_argument("extra", nargs="*", help="extras of the project: test, lint, docs")
    options = parser.parse_args()
    reexecute_on_new_enough_python()

    python = make_venv()
    if options.kernel == "require":
        need_compiler()
    state = fingerprint(python)
    if installed(state, options.kernel, set(options.extra)):
        return
    project = f"{ROOT}[{','.join(options.extra)}]" if options.extra else str(ROOT)
    # setuptools warns about what an editable install is for: that the folder's own packages are imported.
    env = {**os.environ, "RESTIC_FORMAT_KERNEL": options.kernel, "PYTHONWARNINGS": "ignore"}
    try:
        run(str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-e", project, env=env)
    except subprocess.CalledProcessError:
        fail("pip could not install the project.", "Its own message is above; it needs the network or a mirror.")
    import_from_folders()
    stamp = VENV / "-".join(["installed", options.kernel, *sorted(options.extra)])
    stamp.write_text(state)


if __name__ == "__main__":
    main()
