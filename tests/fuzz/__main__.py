"""Fuzz for a long time: ``python -m tests.fuzz [--seconds N] [target ...]``. What fails stays in tests/fuzz/corpus."""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

from tests.fuzz import commands
from tests.fuzz.parsers import TARGETS

CORPUS = Path(__file__).resolve().parent / "corpus"


def fuzz_parser(name: str, seconds: float) -> int:
    """Inputs tried in *seconds*; the first one that fails is put into the corpus and ends it."""
    make, seed, check = TARGETS[name]
    rng = random.Random()
    end, count = time.monotonic() + seconds, 0
    last = CORPUS / f"{name}-running"
    while time.monotonic() < end:
        raw = make(rng, seed)
        last.write_bytes(raw)  # what ends the process is in it
        check(raw)
        count += 1
    last.unlink()
    return count


def fuzz_commands(seconds: float) -> int:
    """Repositories tried in *seconds*."""
    end, count = time.monotonic() + seconds, 0
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < end:
            commands.check(Path(folder) / "forged", random.SystemRandom().randrange(1 << 32))
            count += 1
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="for each target")
    parser.add_argument("target", nargs="*", default=[*TARGETS, "commands"])
    options = parser.parse_args()
    for name in options.target:
        count = fuzz_commands(options.seconds) if name == "commands" else fuzz_parser(name, options.seconds)
        print(f"{name}: {count} inputs, nothing found")


if __name__ == "__main__":
    main()
