"""Bring the real programs that the judge compares against into a git-ignored folder.

``python -m restic_conformance.peers --dest .peers`` leaves these stable paths behind::

    .peers/restic-0.14/restic   .peers/restic-0.14/doc
    .peers/restic-0.18/restic   .peers/restic-0.18/doc
    .peers/restic-0.19/restic   .peers/restic-0.19/doc
    .peers/rest-server/rest-server
    .peers/fusermount3/fusermount3  (what real restic mounts with)
    .peers/chromium/chromium        (the browser that pages are looked at in)
    .peers/rustic/bin/rustic        (only when one is found, or built with ``--rustic``)

The restic programs are Debian's own packages of three releases, fetched by apt's client from the mirror
that the machine's apt is configured with. A private apt state below the destination keeps the system's apt
untouched, so no privileges are needed. Packages are only unpacked, never installed. Those of the browser come with all
that they need except the C library, and a script starts it with these.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

MIRROR_VARIABLE = "RESTIC_FORMAT_DEBIAN_MIRROR"
"""Environment variable naming a Debian mirror; used before the one apt is configured with."""

SUITES = ("bookworm", "trixie", "sid")
"""Debian releases that carry the versions wanted (0.14, 0.18 and 0.19 in this order)."""

PATIENCE = 120.0
"""Seconds that a program may take to tell its version: the first start reads all of it from a slow disk."""

KEYRINGS = (
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
)


class PeerError(Exception):
    """A peer could not be fetched; the message says what to do."""


@dataclass(frozen=True)
class DebianPeer:
    """One program out of a Debian package."""

    folder: str
    """Name of the folder below the destination."""
    package: str
    program: str
    version: str
    """Beginning of the upstream version that is wanted; empty accepts any."""
    packaged_as: str = ""
    """Debian's name of the program where it differs from ``program``."""
    suite: str = ""
    """The one release that it is taken from; empty for any."""
    asked: tuple[str, ...] = ("version", "--version")
    """What makes it tell its version, the first of these that it understands."""


@dataclass(frozen=True)
class Browser(DebianPeer):
    """A program out of a Debian package with the libraries that it needs, which a machine without a screen lacks."""

    alone: tuple[str, ...] = ()
    """Packages that are unpacked without what they need in turn."""
    beside: tuple[str, ...] = ()
    """More packages, which no package asks for."""


PEERS = (
    DebianPeer("restic-0.14", "restic", "restic", "0.14."),
    DebianPeer("restic-0.18", "restic", "restic", "0.18."),
    DebianPeer("restic-0.19", "restic", "restic", "0.19."),
    DebianPeer("rest-server", "restic-rest-server", "rest-server", "", "restic-rest-server"),
    DebianPeer("fusermount3", "fuse3", "fusermount3", "3.14."),  # the oldest suite's: a newer one wants a newer C library
    Browser(
        "chromium",
        "chromium-headless-shell",  # a third of chromium, which needs a screen's libraries for windows that nobody opens
        "chromium",
        "",
        packaged_as="chromium-headless-shell",
        suite=SUITES[0],
        asked=("--version",),  # "version" would be the address of a page
        alone=("chromium-common",),  # of it only the tables of characters are needed, not the programs for a desktop
        # Libraries that it takes where it finds them, and fonts.
        beside=("libwayland-client0", "libxcb-shm0", "fonts-dejavu-core", "fonts-liberation2"),
    ),
)

LAUNCHER = """\
#!/bin/sh
# Starts the browser with the libraries and fonts beside it, whatever the machine has.
here=$(dirname "$(readlink -f "$0")")
export LD_LIBRARY_PATH="{libraries}" FONTCONFIG_FILE="$here/fonts.conf"
exec "$here/root/usr/lib/chromium/{program}" "$@"
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


def _output(command: Sequence[str], env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(command, env=env, cwd=cwd, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise PeerError(f"{command[0]} is not installed; it is needed to fetch the peers") from error
    except subprocess.CalledProcessError as error:
        detail = (error.stderr or error.stdout or "").strip().splitlines()
        raise PeerError(f"{' '.join(command[:2])} failed: {'; '.join(detail[-4:])}") from error
    return done.stdout


def mirror_candidates(configured: Sequence[str], environment: str | None = None) -> list[str]:
    """Debian mirrors to try, best first, from the URIs apt is configured with.

    An Ubuntu mirror often serves Debian beside Ubuntu, so the neighbouring folder is worth a try there.
    """
    if environment:
        return [environment]
    debian = [uri for uri in configured if "security" not in uri and "ubuntu" not in uri]
    neighbours = [
        uri.rstrip("/").removesuffix("/ubuntu") + "/debian/"
        for uri in configured
        if uri.rstrip("/").endswith("/ubuntu") and "security" not in uri
    ]
    return list(dict.fromkeys([*debian, *neighbours]))


class PrivateApt:
    """apt's client with a state folder of its own: reads the system's transport settings, changes nothing.

    ``folder`` holds lists, caches and the configuration; it can be deleted at any time.
    """

    def __init__(self, folder: Path, allow_unsigned: bool = False) -> None:
        self.folder = folder
        self.allow_unsigned = allow_unsigned
        for part in ("lists/partial", "cache/archives/partial"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        self._sources = folder / "sources.list"
        self._config = folder / "apt.conf"
        self._env = {**os.environ, "APT_CONFIG": str(self._config), "LC_ALL": "C"}

    def _write_config(self) -> None:
        # Only the transport settings (proxies, validity checks) are taken over. Hooks of the system's
        # configuration would clean or refresh system folders, pins would hide the wanted releases.
        inherited = [line for line in _output(["apt-config", "dump"]).splitlines() if line.startswith("Acquire::")]
        own = [
            f'Dir::State "{self.folder}/";',
            f'Dir::State::lists "{self.folder}/lists/";',
            'Dir::State::status "/dev/null";',
            f'Dir::Cache "{self.folder}/cache/";',
            f'Dir::Etc::sourcelist "{self._sources}";',
            *(f'Dir::Etc::{part} "/dev/null";' for part in ("sourceparts", "parts", "main", "preferencesparts")),
            'Acquire::Languages "none";',
            'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";',
            'Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";',
            'Acquire::Retries "3";',
            'APT::Sandbox::User "root";' if os.geteuid() == 0 else 'Debug::NoLocking "1";',
        ]
        self._config.write_text("\n".join([*inherited, *own]) + "\n", encoding="utf-8")

    def _keyring(self) -> Path | None:
        """Debian's archive keyring: the system's, or one that the system's own apt vouches for."""
        unpacked = self.folder / "keyring"
        candidates = [Path(name) for name in KEYRINGS] + [unpacked / name.lstrip("/") for name in KEYRINGS]
        for candidate in candidates:
            if candidate.exists():
                return candidate
        try:
            unpacked.mkdir(exist_ok=True)
            _output(["apt-get", "download", "debian-archive-keyring"], cwd=unpacked)
            for package in unpacked.glob("*.deb"):
                _output(["dpkg-deb", "-x", str(package), str(unpacked)])
        except PeerError:
            return None
        return next((candidate for candidate in candidates if candidate.exists()), None)

    def update(self) -> None:
        """Fetch the package lists of every suite.

        Raises :class:`PeerError` when no mirror answers, or when signatures cannot be verified.
        """
        keyring = self._keyring()
        if keyring is None and not self.allow_unsigned:
            raise PeerError(
                "Debian's archive keyring is missing, so signatures cannot be verified: "
                "install debian-archive-keyring, or accept unsigned packages with --allow-unsigned"
            )
        trust = f"signed-by={keyring}" if keyring else "trusted=yes"
        configured = _output(["apt-get", "indextargets", "--format", "$(REPO_URI)"]).split()
        problems: list[str] = []
        self._write_config()
        for mirror in mirror_candidates(configured, os.environ.get(MIRROR_VARIABLE)):
            entries = [f"deb [{trust}] {mirror} {suite} main\n" for suite in SUITES]
            self._sources.write_text("".join(entries), encoding="utf-8")
            try:
                _output(["apt-get", "-q", "-o", "APT::Update::Error-Mode=any", "update"], self._env)
                return
            except PeerError as error:
                problems.append(str(error))
        reason = problems[-1] if problems else "apt is configured with no mirror that could serve Debian"
        raise PeerError(
            f"the Debian suites {', '.join(SUITES)} cannot be reached ({reason}); "
            f"name a Debian mirror in the environment variable {MIRROR_VARIABLE}, "
            "or put the programs into the peers folder yourself (see --help for the paths)"
        )

    def version_of(self, package: str, beginning: str, suite: str = "") -> str:
        """The newest version of ``package`` that starts with ``beginning``, of one release or of any."""
        for line in _output(["apt-cache", "madison", package], self._env).splitlines():
            version, origin = (part.strip() for part in line.split("|")[1:3])
            if version.startswith(beginning) and (not suite or f" {suite}/" in origin):
                return version
        raise PeerError(
            f"no Debian suite of {suite or ', '.join(SUITES)} carries {package} {beginning}x any more; "
            "adjust SUITES, or put the program into the peers folder yourself"
        )

    def unpack(self, package: str, version: str, into: Path) -> None:
        """Download exactly one version of a package and unpack its files below ``into``."""
        downloads = self._downloads()
        _output(["apt-get", "-q", "download", f"{package}={version}"], self._env, downloads)
        self._unpack_all(downloads, into)

    def needs_of(self, package: str, version: str) -> list[str]:
        """The names of the packages that one version of a package needs."""
        lines = _output(["apt-cache", "depends", f"{package}={version}"], self._env).splitlines()
        return [line.split()[1] for line in lines if line.startswith("  Depends: ")]

    def unpack_with_needs(self, packages: Sequence[str], suite: str, into: Path) -> None:
        """Download packages of a release with all that they need in turn and unpack them below ``into``.

        The C library stays the system's: the system's own programs run with it.
        """
        downloads = self._downloads()
        (downloads / "partial").mkdir()
        plan = ["-o", f"Dir::Cache::archives={downloads}/", "-t", suite, "--no-install-recommends", "--download-only", "-y"]
        _output(["apt-get", "-q", *plan, "install", *packages], self._env)
        for archive in downloads.glob("libc6_*.deb"):
            archive.unlink()
        self._unpack_all(downloads, into)

    def _downloads(self) -> Path:
        """A new folder for packages."""
        downloads = self.folder / "downloads"
        shutil.rmtree(downloads, ignore_errors=True)
        downloads.mkdir()
        return downloads

    def _unpack_all(self, downloads: Path, into: Path) -> None:
        for archive in downloads.glob("*.deb"):
            _output(["dpkg-deb", "-x", str(archive), str(into)])
        shutil.rmtree(downloads)


def program_version(program: Path, asked: Sequence[str] = DebianPeer.asked) -> str:
    """First line of what the program says about its version.

    Raises :class:`PeerError` when it cannot be run.
    """
    for argument in asked:
        try:
            done = subprocess.run(
                [str(program), argument], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE
            )
        except OSError as error:
            raise PeerError(f"{program} cannot be run: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise PeerError(f"{program} does not say its version") from error
        if done.returncode == 0:
            return done.stdout.strip().splitlines()[0]
    raise PeerError(f"{program} cannot be run: {done.stderr.strip()}")


def _install(apt: PrivateApt, peer: DebianPeer, dest: Path) -> None:
    version = apt.version_of(peer.package, peer.version, peer.suite)
    fresh = dest / f".{peer.folder}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    apt.unpack(peer.package, version, fresh / "root")
    name = peer.packaged_as or peer.program
    if isinstance(peer, Browser):
        _add_libraries(apt, peer, version, fresh)
    else:
        folder = next((folder for folder in ("usr/bin", "bin") if (fresh / "root" / folder / name).exists()), "usr/bin")
        (fresh / peer.program).symlink_to(f"root/{folder}/{name}")
    (fresh / "doc").symlink_to(f"root/usr/share/doc/{peer.package}")
    program_version(fresh / peer.program, peer.asked)
    shutil.rmtree(dest / peer.folder, ignore_errors=True)
    fresh.rename(dest / peer.folder)


def _add_libraries(apt: PrivateApt, peer: Browser, version: str, fresh: Path) -> None:
    """Unpack what the browser needs beside it and write the script that starts it."""
    root = fresh / "root"
    needed = [name for name in apt.needs_of(peer.package, version) if name not in peer.alone]
    apt.unpack_with_needs([*needed, *peer.beside], peer.suite, root)
    for name in peer.alone:
        apt.unpack(name, version, root)
    libraries = {
        path.parent.relative_to(fresh) for top in ("lib", "usr/lib") for path in (root / top).glob("*-linux-*/**/lib*.so*")
    }
    search = ":".join(f"$here/{folder}" for folder in sorted(libraries))
    launcher = fresh / peer.program
    launcher.write_text(LAUNCHER.format(libraries=search, program=peer.packaged_as), encoding="utf-8")
    launcher.chmod(0o755)
    (fresh / "fonts.conf").write_text(FONTS, encoding="utf-8")


def _missing(dest: Path) -> Iterator[DebianPeer]:
    for peer in PEERS:
        if not os.access(dest / peer.folder / peer.program, os.X_OK):
            yield peer


def fetch(dest: Path, allow_unsigned: bool = False) -> None:
    """Make sure every Debian peer is below ``dest``; contacts the mirror only when one is missing."""
    missing = list(_missing(dest))
    if not missing:
        return
    dest.mkdir(parents=True, exist_ok=True)
    apt = PrivateApt(dest / "apt", allow_unsigned)
    apt.update()
    for peer in missing:
        _install(apt, peer, dest)
    for leftover in ("apt", *(f".{peer.folder}.new" for peer in PEERS)):
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
    parser.add_argument(
        "--allow-unsigned",
        action="store_true",
        help="go on without signature checks when Debian's keyring is missing",
    )
    options = parser.parse_args(arguments)
    dest = options.dest.resolve()
    try:
        fetch(dest, options.allow_unsigned)
        rustic = find_rustic(dest) or (build_rustic(dest) if options.rustic else None)
        programs = [(dest / peer.folder / peer.program, peer.asked) for peer in PEERS]
        for program, asked in programs + ([(rustic, DebianPeer.asked)] if rustic else []):
            print(f"{program.relative_to(dest.parent)}: {program_version(program, asked)}")
    except PeerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
