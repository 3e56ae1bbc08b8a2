"""Starts a server for every kind of location and runs a command while they run:

    python -m tests.servers [--only NAME]... -- restic-conformance --full --locations {}

``{}`` stands for a file that describes the places (restic_conformance/locations.py).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.servers.base import Place
from tests.servers.certificates import Certificates
from tests.servers.places import KINDS, serving


def described(name: str, place: Place) -> dict[str, object]:
    """A place, made for the name ``{repo}``, as the conformance runner reads it."""
    return {
        "name": name,
        "location": place.location,
        "options": dict(place.options),
        "environment": dict(place.environment),
        "flags": list(place.flags),
        "folder": str(place.folder or ""),
        "without": list(KINDS[name].without),
    }


def main() -> int:
    """The command line. The command's exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers")
    parser.add_argument("--only", action="append", choices=list(KINDS), help="only this kind of location")
    parser.add_argument("command", nargs="+", help="the command; {} is the file with the places")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serving(Certificates(Path(folder) / "certificates")) as servers:
        places = Path(folder) / "places.json"
        made = [described(kind, servers.server(kind).place("{repo}")) for kind in options.only or KINDS]
        places.write_text(json.dumps(made))
        return subprocess.run([word.replace("{}", str(places)) for word in options.command], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
