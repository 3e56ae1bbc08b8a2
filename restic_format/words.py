"""Texts that people write into files and settings, read by restic's rules: byte order marks, white space, commands.

A password or a path that another program reads from the same setting must come out the same here. A shell, Python's ``shlex``
and ``str.split`` have rules of their own.
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
