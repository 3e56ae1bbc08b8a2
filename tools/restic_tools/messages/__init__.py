"""The JSON messages of ``--json``: a module per command, one struct each, fields in restic's order.

They are encoded like restic's: compact, Go's number formats, fields with Go's ``omitempty`` left out when empty. Which
programs read them matters more than how they look: wrappers compare the first bytes (``{"message_type":…``).

Here is what several commands have.
"""

from __future__ import annotations

from typing import Any

import msgspec

from restic_spec import gojson


def encode_message(message: Any) -> bytes:
    """A message as one line of JSON, without the line's end."""
    return gojson.encode(message)


class ExitError(msgspec.Struct):
    """Why the program ends with an exit code other than 0 (standard error)."""

    message_type: str
    code: int
    message: str


class ObjectError(msgspec.Struct):
    """``error`` (standard error): one object that could not be handled; the command goes on."""

    message_type: str
    error: ErrorText
    during: str
    item: str


class ErrorText(msgspec.Struct):
    """The text of an error, in the object restic wraps it in."""

    message: str
