"""Texts from people and for people: settings read by restic's rules, and names and messages made safe for terminals.

A password or a path that another program reads from the same setting must come out the same here: byte order marks, white
space and the words of a command follow restic, not a shell, ``shlex`` or ``str.split``.

Names, tags, hosts and whatever else comes from a repository can hold control characters that move the cursor, change colours or
type into the terminal. `printable` is for one name within a message, `visible` for whole messages; the command line puts
everything that it writes for people through `visible`: what is meant to be one line stays one.
"""

from __future__ import annotations

WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
"""What Go counts as white space; Python's ``str.isspace`` knows four characters more."""


def decode_text(raw: bytes) -> str:
    """The text of a small file: UTF-8 unless a byte order mark says UTF-16; bytes that do not fit stay as surrogates."""
    if raw.startswith((b"\xfe\xff", b"\xff\xfe")):
        return raw.decode("utf-16", "replace")
    return raw.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")


def split_command(text: str) -> list[str]:
    """The words of a command that is given as one text, the program first.

    A word ends at white space, at a backslash and at a quotation mark, single or double, wherever it stands: ``a''b`` is two
    words, ``""`` is none. Between quotation marks everything is taken as it is. A quotation mark after a backslash is an
    ordinary character; the backslash itself is dropped outside quotation marks and kept inside.

    Raises:
        ValueError: a closing quotation mark is missing, or there are no words.
    """
    words: list[str] = []
    word = quote = ""
    escaped = False
    for char in text:
        if not escaped and char == (quote or char) and char in "'\"":
            quote = "" if quote else char
            ends = True
        else:
            escaped = char == "\\"
            ends = not quote and (escaped or char in WHITE_SPACE)
            word += "" if ends else char
        if ends and word:
            words.append(word)
            word = ""
    if quote:
        kind = "double" if quote == '"' else "single"
        raise ValueError(f"{kind}-quoted string not terminated")
    if word:
        words.append(word)
    if not words:
        raise ValueError("command string is empty")
    return words


def printable(name: str) -> str:
    """A name that stays on its line and moves no cursor: one with other than printable characters is shown in Go's quotes."""
    if name.isprintable():
        return name
    from restic_spec.gojson import quote  # here: names that need it are rare

    return f'"{quote(name)}"'


def visible(text: str, *, block: bool = False) -> str:
    """A line in which everything that a terminal would act on is shown as an escape (``\\x1b``); a *block* has several lines.

    Also escaped is what turns the direction of writing. Bytes that are not UTF-8 (surrogates) stay, except where they are
    control characters by themselves.
    """
    if text.isprintable():
        return text
    return "".join([_escape(char) if char in _ACTING and not (block and char == "\n") else char for char in text])


def json_for_terminal(raw: bytes) -> bytes:
    """JSON with what a terminal would act on, and JSON allows in a string as it is, as escapes that mean the same."""
    text = raw.decode("utf-8", "surrogateescape")
    if text.isprintable():
        return raw
    escaped = [f"\\u{ord(char):04x}" if "\x7f" <= char < "\ud800" and char in _ACTING else char for char in text]
    return "".join(escaped).encode("utf-8", "surrogateescape")


_ACTING = frozenset(
    chr(code)
    for first, last in (
        (0x00, 0x1F), (0x7F, 0x9F), (0x200E, 0x200F), (0x2028, 0x202E), (0x2066, 0x2069), (0xDC80, 0xDC9F),
    )
    for code in range(first, last + 1)
)  # fmt: skip


def _escape(char: str) -> str:
    if char == "\n":
        return r"\n"
    code = ord(char)
    if code >= 0xDC80:
        code -= 0xDC00
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"
