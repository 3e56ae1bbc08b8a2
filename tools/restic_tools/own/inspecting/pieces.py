"""The bytes of a region, or what is inside of it, to standard output."""

from __future__ import annotations

from restic_format.words import json_for_terminal
from restic_tools.context import Context
from restic_tools.exitcodes import Failure
from restic_tools.own.inspecting.pages import is_sound
from restic_tools.own.inspecting.selection import Selected, Selection
from restic_tools.rawoutput import standard_output

_PIECE = 8 << 20


def write_raw(ctx: Context, selection: Selection) -> bool:
    """Write the region's bytes; whether nothing is wrong with it."""
    found = _selected(selection)
    if selection.secret:
        raise _secret(found)
    _write(ctx, found.region.raw)
    return is_sound(found.region.findings)


def write_decoded(ctx: Context, selection: Selection) -> bool:
    """Write what is inside of the region; whether nothing is wrong with it.

    Raises:
        Failure: nothing is, or it cannot be opened.
    """
    found = _selected(selection)
    content = found.region.content
    if content is None:
        name = found.region.name
        problem = next(iter(found.region.findings), None)
        if problem is not None:
            raise Failure(f"{name} cannot be opened: {problem.what} [{problem.clause}]")
        raise Failure(f"there is nothing to decode in {name}, or no password to open it with")
    if selection.secret or selection.hides(content):
        raise _secret(found)
    _write(ctx, memoryview(content.data))
    return is_sound(found.region.findings)


def _selected(selection: Selection) -> Selected:
    assert selection.region is not None
    return selection.region


def _secret(found: Selected) -> Failure:
    return Failure(f"{found.region.name} holds the master key: --show-secrets writes it")


def _write(ctx: Context, data: memoryview) -> None:
    """Write *data*; to a terminal only text, in which nothing acts on it."""
    if ctx.out.stdout_is_terminal:
        try:
            text = bytes(data[:_PIECE]).decode()
        except UnicodeDecodeError:
            text = "\0"
        if len(data) > _PIECE or not text.replace("\n", "").isprintable():
            raise Failure("stdout is the terminal, please redirect output")
        ctx.out.write(json_for_terminal(text.encode()) + b"\n")
        return
    with standard_output(ctx.out) as write:
        for start in range(0, len(data), _PIECE):
            write([data[start : start + _PIECE]])
