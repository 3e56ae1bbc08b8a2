"""Builds the native parts; everything else is declared in pyproject.toml.

The environment variable RESTIC_FORMAT_KERNEL is the build policy:

auto     (default) compile if the machine can; without a compiler the pure Python twin is used
off      do not compile
require  a part that cannot be compiled is an error (releases and continuous integration)

Each folder of restic_format/native with a Cython file is one extension module: that file and all C beside it. Those that use
the folder json are compiled with its C, too.
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup

NATIVE = Path("restic_format", "native")
SHARED = NATIVE / "json"
"""C that several parts are compiled with."""

HARDENED = ["-fstack-protector-strong", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"]
"""What makes a mistake in C end the process before it can be made use of; costs nothing that can be measured."""

SANITIZED = ["-O1", "-g", "-fno-omit-frame-pointer", "-U_FORTIFY_SOURCE", "-fsanitize=address,undefined"]
"""For scripts/sanitize.py. They come after the flags Python was built with, so that these do not undo them."""

POLICY = os.environ.get("RESTIC_FORMAT_KERNEL", "auto")


def sources(part: Path) -> list[str]:
    """What the extension module of a folder is made of."""
    found = [*part.glob("*.pyx"), *sorted(part.glob("*.c"))]
    if any('#include "trees.h"' in header.read_text() for header in part.glob("*.h")):
        found += SHARED.glob("*.c")
    return [path.as_posix() for path in found]


def native_parts() -> list[Extension]:
    """The extension modules that the policy asks for."""
    if POLICY not in ("auto", "off", "require"):
        raise SystemExit(f"RESTIC_FORMAT_KERNEL is {POLICY!r}: use auto, off or require")
    if POLICY == "off":
        return []
    from Cython.Build import cythonize

    flags, linking = ([], []) if os.name == "nt" else (["-O3", *HARDENED], [])
    if sys.platform.startswith("linux"):
        linking = ["-Wl,-z,relro,-z,now"]
    if os.environ.get("RESTIC_FORMAT_SANITIZE"):
        flags, linking = SANITIZED, ["-fsanitize=address,undefined"]
    headers = [path.as_posix() for pattern in ("*.h", "*/*.h", "*/*.pxi") for path in NATIVE.glob(pattern)]
    declared = [
        Extension(
            ".".join((*NATIVE.parts, source.parent.name, source.stem)),
            sources=sources(source.parent),
            depends=headers,
            include_dirs=[source.parent.as_posix(), SHARED.as_posix(), NATIVE.as_posix()],
            extra_compile_args=flags,
            extra_link_args=linking,
        )
        for source in sorted(NATIVE.glob("*/*.pyx"))
    ]
    extensions: list[Extension] = cythonize(declared, build_dir="build/cython", compiler_directives={"language_level": "3"})
    # cythonize() returns new objects and drops `optional`, so it is set here and not above.
    for extension in extensions:
        extension.optional = POLICY == "auto"
    return extensions


setup(ext_modules=native_parts())
