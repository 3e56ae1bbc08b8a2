"""Builds the compiled kernels; everything else is declared in pyproject.toml.

The environment variable RESTIC_FORMAT_KERNEL is the build policy:

auto     (default) compile if the machine can; without a compiler the pure Python twin is used
off      do not compile
require  a kernel that cannot be compiled is an error (releases and continuous integration)
"""

import os
import sys

from setuptools import Extension, setup

KERNELS = [
    ("_chunker", ["_chunker.pyx", "rabin.c", "rabin_x86.c"], ["rabin.h"]),
    (
        "_engine",
        ["_engine.pyx", "blobs.c", "packs.c", "sha.c"],
        ["blobs.h", "packs.h", "sha.h"],
    ),
    (
        "_nodes",
        ["_nodes.pyx", "look.c", "nodes.c", "read.c", "trees.c"],
        ["_look.pxi", "json_cursor.h", "look.h", "nodes.h", "read.h", "trees.h"],
    ),
    ("_places", ["_places.pyx", "places.c"], ["places.h"]),
    ("_scrypt", ["_scrypt.pyx", "scrypt.c"], ["scrypt.h", "scrypt_step.h"]),
    (
        "_table",
        ["_table.pyx", "checks.c", "plans.c", "table.c", "trees.c"],
        ["_plans.pxi", "checks.h", "json_cursor.h", "plans.h", "table.h", "trees.h"],
    ),
]

HARDENED = ["-fstack-protector-strong", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"]
"""What makes a mistake in C end the process before it can be made use of; costs nothing that can be measured."""

POLICY = os.environ.get("RESTIC_FORMAT_KERNEL", "auto")


def kernels() -> list[Extension]:
    """The extension modules that the policy asks for."""
    if POLICY not in ("auto", "off", "require"):
        raise SystemExit(f"RESTIC_FORMAT_KERNEL is {POLICY!r}: use auto, off or require")
    if POLICY == "off":
        return []
    from Cython.Build import cythonize

    flags, linking = ([], []) if os.name == "nt" else (["-O3", *HARDENED], [])
    if sys.platform.startswith("linux"):
        linking = ["-Wl,-z,relro,-z,now"]
    declared = [
        Extension(
            f"restic_format.native.{name}",
            sources=[f"restic_format/native/{source}" for source in sources],
            depends=[f"restic_format/native/{header}" for header in headers],
            include_dirs=["restic_format/native"],
            extra_compile_args=flags,
            extra_link_args=linking,
        )
        for name, sources, headers in KERNELS
    ]
    extensions: list[Extension] = cythonize(declared, build_dir="build/cython", compiler_directives={"language_level": "3"})
    # cythonize() returns new objects and drops `optional`, so it is set here and not above.
    for extension in extensions:
        extension.optional = POLICY == "auto"
    return extensions


setup(ext_modules=kernels())
