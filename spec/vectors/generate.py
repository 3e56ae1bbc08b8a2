"""Writes the test vectors: ``python spec/vectors/generate.py [FOLDER]``.

Everything random comes from one seed, and compressed data are built frame by frame here, so that the files are the same on
every machine. Known answers that do not come from this project's own code are marked in their comment.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from vectors.generators import CHAPTERS  # noqa: E402 (needs the path set above)
from vectors.generators.base import dump  # noqa: E402


def documents() -> dict[str, str]:
    """Name and text of every vector file."""
    return {f"{chapter}.json": dump(chapter, make()) for chapter, make in CHAPTERS.items()}


def main(folder: Path = HERE) -> None:
    """Write all vector files into *folder*."""
    for name, text in documents().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
