"""Which native parts are used: those that are compiled, are wanted, and give the known answer when they are loaded.

The environment variable RESTIC_FORMAT_KERNEL says what is wanted when the program runs. `auto` (or nothing) takes what is
there. `off` leaves every part alone. `wheels` leaves alone what calls libcrypto and libzstd, as where they cannot be found:
what the installed packages alone can do. `without:chunker,table` leaves some alone. `require` makes a part that cannot be used
an error.

Each part asks `unusable` once, keeps the answer as `UNAVAILABLE` (None where it is used) and takes its names from the extension
module or from its twin accordingly.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module

POLICY = os.environ.get("RESTIC_FORMAT_KERNEL", "auto")
_LEFT_OUT = frozenset(POLICY.removeprefix("without:").split(",")) if POLICY.startswith("without:") else frozenset()

ASKED_FOR_LESS = POLICY in ("off", "wheels") or bool(_LEFT_OUT)
"""Whether somebody wants less than there is."""

PARTS = {name: f"restic_format.native.{name}" for name in ("blobs", "chunker", "nodes", "places", "scrypt", "solving", "table")}
"""The parts, and the modules that say in `IMPLEMENTATION` which form of each is used."""


def unusable(name: str, self_test: Callable[[], str | None] | None = None, *, libraries: bool = False) -> str | None:
    """Why the native part *name* is not to be used; None where it is.

    *self_test* is called when the extension module is there, and says what is wrong with it. *libraries* says that it calls
    libcrypto and libzstd.

    Raises:
        ImportError: it cannot be used, and RESTIC_FORMAT_KERNEL is `require`.
    """
    if POLICY == "off" or (libraries and POLICY == "wheels") or name in _LEFT_OUT:
        return f"RESTIC_FORMAT_KERNEL={POLICY}"
    try:
        import_module(f"restic_format.native.{name}._{name}")
        reason = None if self_test is None else self_test()
    except ImportError as error:
        reason = f"not compiled ({error})"
    except (AttributeError, TypeError) as error:
        reason = wrong_answer(f"compiled for another version ({error})")
    if reason is not None and POLICY == "require":
        raise ImportError(f"RESTIC_FORMAT_KERNEL=require, but the native part {name} cannot be used: {reason}")
    return reason


def wrong_answer(done: str) -> str:
    """The reason that a self-test gives when the answer is not the known one."""
    return f"its self-test failed: {done}"
