"""JSON in the answers of servers, which may be anything."""

from __future__ import annotations

from typing import TypeVar

import msgspec

T = TypeVar("T")


def read_json(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """What *body* says, of the shape that *decoder* wants.

    Raises:
        ValueError: it is something else, or no JSON, or nested so deeply that nothing we ask for can be in it.
    """
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from None
    except RecursionError:
        raise ValueError("too many lists in each other") from None
