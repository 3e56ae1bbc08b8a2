"""What the answers of HTTP servers mean, as errors of storage."""

from __future__ import annotations

import re
from collections.abc import Mapping

from restic_format.errors import AccessDenied, FileMissing, FileUnusable, NoSpace, ServerNotTrusted, StorageError
from restic_format.storage.http.reply import NONE, Reply
from restic_format.words import visible

_SHOWN = 200
"""Characters of a server's text that are shown."""

_CLASSES: dict[int, type[StorageError]] = {
    301: AccessDenied,  # and it will be so the next time
    308: AccessDenied,
    404: FileMissing,
    401: AccessDenied,
    403: AccessDenied,
    416: FileUnusable,
    507: NoSpace,
    413: AccessDenied,
    407: AccessDenied,
    495: ServerNotTrusted,
    496: ServerNotTrusted,
}


def told(reply: Reply, what: str, object: str = "", text: str | None = None) -> StorageError:
    """The error that *reply* means for *what* was done: ``GET data/…: 403 Forbidden: this key may not …``.

    *text* is what the server says about it, where that is not simply the first line of the body.
    """
    error = _CLASSES.get(reply.status, StorageError)(f"{what}: {status_text(reply, text)}", object=object)
    pause = (reply.headers.get("Retry-After") or "").strip()
    if reply.status in (429, 503) and pause.isascii() and pause.isdecimal() and len(pause) < 6:
        error.wanted_pause = float(pause)
    return error


def status_text(reply: Reply, text: str | None = None) -> str:
    """A reply's status for people, with the server's words, which may be *text*."""
    status = f"{reply.status} {visible(reply.reason)[:_SHOWN]}".rstrip()
    if 300 <= reply.status < 400 and (target := reply.headers.get("Location")):
        target = re.sub(r"//[^/@]*@", "//", target).partition("?")[0]
        return f"{status}: the server sends to {visible(target)[:_SHOWN]}; use that location if you trust it"
    said = _first_line(reply) if text is None else text
    said = visible(" ".join(said.split()))
    if len(said) > _SHOWN:
        said = said[:_SHOWN] + "…"
    return f"{status}: {said}" if said and said.casefold() != reply.reason.casefold() else status


def _first_line(reply: Reply) -> str:
    text = reply.body[: 16 * _SHOWN].decode("utf-8", "replace").strip()
    if "html" in (reply.headers.get("Content-Type") or "").lower() or text.startswith("<"):
        return ""
    return text.partition("\n")[0].removeprefix(f"{reply.status} ")


def part_of(offset: int, length: int | None) -> Mapping[str, str]:
    """The header that asks for *length* bytes from *offset* on, to the end where it is None; none where all is wanted."""
    if length is None:
        return {"Range": f"bytes={offset}-"} if offset else NONE
    return {"Range": f"bytes={offset}-{offset + length - 1}"}


def length_in(reply: Reply, what: str, object: str = "") -> int:
    """The bytes of a file by the answer to *what*, which asked for its headers. Raises `StorageError`."""
    length = reply.headers.get("Content-Length") or ""
    if not (length.isascii() and length.isdecimal() and len(length) < 20):
        raise StorageError(f"{what}: the server does not say how large it is", object=object)
    return int(length)
