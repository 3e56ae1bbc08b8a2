"""``version``: print the version of this program and of the restic it follows."""

from __future__ import annotations

from restic_tools.about import FOLLOWS_RESTIC, PROGRAM, program_version, version_json, version_line
from restic_tools.context import Context
from restic_tools.output import encode


def version(ctx: Context) -> None:
    """Show the version

    The first line has the form that programs around restic read: the restic version whose command line this program follows,
    and what runs it. With --verbose (or on a terminal) more lines say what this program is and which compiled parts it uses.
    """
    if ctx.options.json:
        ctx.out.write(encode(version_json()) + b"\n")
        return
    ctx.out.line(version_line())
    if ctx.options.verbose or ctx.out.stdout_is_terminal:
        ctx.out.line(
            f"{PROGRAM} {program_version()} is a program of its own; it follows the command line of restic {FOLLOWS_RESTIC}"
        )
    if ctx.options.verbose:
        for name, state in native_parts():
            ctx.out.line(f"{name}: {state}")


def native_parts() -> list[tuple[str, str]]:
    """The compiled parts and whether they are in use, as pairs of name and state."""
    from importlib import import_module

    from restic_format.native.parts import PARTS

    return [(f"native {name}", str(import_module(module).IMPLEMENTATION)) for name, module in PARTS.items()]
