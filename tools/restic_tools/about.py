"""The program's name and versions, and the output of ``version``.

Wrappers read the line of ``restic version`` as ``restic X compiled with goY on os/arch`` and decide by X which options they
may use; some match ``go`` and digits too. So X is the restic version whose command line this program follows, Y is 0, which no
Go is, and what we really are follows in brackets, where no known wrapper looks. Nothing heavy is imported here.
"""

from __future__ import annotations

import os
import sys

PROGRAM = "restic-format"
FOLLOWS_RESTIC = "0.19.1"
"""The restic version whose options, messages and exit codes this program follows."""

NO_GO = "go0"
"""Stands where restic names its Go compiler."""

GO_ARCHITECTURES = {
    "x86_64": "amd64",
    "amd64": "amd64",
    "aarch64": "arm64",
    "arm64": "arm64",
    "i386": "386",
    "i686": "386",
    "armv7l": "arm",
    "armv6l": "arm",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
}


def program_version() -> str:
    """The version of restic-format itself."""
    from restic_format import __version__

    return __version__


def operating_system() -> str:
    """The operating system by the name Go uses for it."""
    return "windows" if sys.platform == "win32" else sys.platform


def architecture() -> str:
    """The processor architecture by the name Go uses for it."""
    machine = os.uname().machine if hasattr(os, "uname") else os.environ.get("PROCESSOR_ARCHITECTURE", "")
    return GO_ARCHITECTURES.get(machine.lower(), machine)


def runtime() -> str:
    """The Python that runs this program, in one word (``cpython-3.12.1``)."""
    return f"{sys.implementation.name}-{'.'.join(map(str, sys.version_info[:3]))}"


def version_line() -> str:
    """The line that wrappers read."""
    truth = f"{PROGRAM} {program_version()}, {runtime()}"
    return f"restic {FOLLOWS_RESTIC} compiled with {NO_GO} on {operating_system()}/{architecture()} ({truth})"


def version_json() -> str:
    """The ``version`` message: restic's five fields, then our own."""
    fields = (
        ("message_type", "version"),
        ("version", FOLLOWS_RESTIC),
        ("go_version", NO_GO),
        ("go_os", operating_system()),
        ("go_arch", architecture()),
        ("program", PROGRAM),
        ("program_version", program_version()),
        ("runtime", runtime()),
    )
    # None of these values holds a character that JSON escapes, and the json module would cost half of the run time.
    return "{" + ",".join(f'"{name}":"{value}"' for name, value in fields) + "}"
