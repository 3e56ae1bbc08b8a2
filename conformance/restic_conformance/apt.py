"""Debian packages for the judge: apt's client with a state of its own, so that the system's stays untouched."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

MIRROR_VARIABLE = "RESTIC_FORMAT_DEBIAN_MIRROR"
"""Environment variable naming a Debian mirror; used before the one apt is configured with."""

SUITES = ("bookworm", "trixie", "sid")
"""Debian releases that carry the versions wanted (0.14, 0.18 and 0.19 in this order)."""

KEYRINGS = (
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
)


class PeerError(Exception):
    """A peer could not be fetched; the message says what to do."""


def output(command: Sequence[str], env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    """What a program prints on stdout. Raises :class:`PeerError` when it is missing or fails."""
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
        inherited = [line for line in output(["apt-config", "dump"]).splitlines() if line.startswith("Acquire::")]
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
            output(["apt-get", "download", "debian-archive-keyring"], cwd=unpacked)
            for package in unpacked.glob("*.deb"):
                output(["dpkg-deb", "-x", str(package), str(unpacked)])
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
        configured = output(["apt-get", "indextargets", "--format", "$(REPO_URI)"]).split()
        problems: list[str] = []
        self._write_config()
        for mirror in mirror_candidates(configured, os.environ.get(MIRROR_VARIABLE)):
            entries = [f"deb [{trust}] {mirror} {suite} main\n" for suite in SUITES]
            self._sources.write_text("".join(entries), encoding="utf-8")
            try:
                output(["apt-get", "-q", "-o", "APT::Update::Error-Mode=any", "update"], self._env)
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
        for line in output(["apt-cache", "madison", package], self._env).splitlines():
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
        output(["apt-get", "-q", "download", f"{package}={version}"], self._env, downloads)
        self._unpack_all(downloads, into)

    def needs_of(self, package: str, version: str) -> list[str]:
        """The names of the packages that one version of a package needs."""
        lines = output(["apt-cache", "depends", f"{package}={version}"], self._env).splitlines()
        return [line.split()[1] for line in lines if line.startswith("  Depends: ")]

    def unpack_with_needs(self, packages: Sequence[str], suite: str, into: Path) -> None:
        """Download packages of a release with all that they need in turn and unpack them below ``into``.

        The C library stays the system's: the system's own programs run with it.
        """
        downloads = self._downloads()
        (downloads / "partial").mkdir()
        plan = ["-o", f"Dir::Cache::archives={downloads}/", "-t", suite, "--no-install-recommends", "--download-only", "-y"]
        output(["apt-get", "-q", *plan, "install", *packages], self._env)
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
            output(["dpkg-deb", "-x", str(archive), str(into)])
        shutil.rmtree(downloads)
