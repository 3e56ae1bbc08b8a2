"""Write down for Python and C, as plain numbers, what the declarations of `restic_spec` say: ``python scripts/generate.py``.

What is in a hurry, or not Python, has no number of its own: it takes those of these files. They are checked in; a test
fails when they differ from the declarations. None of them is needed to write them: a new number is declared, not typed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "spec")]

import construct as cs  # noqa: E402 (needs the path set above)
from msgspec import inspect  # noqa: E402

from restic_spec import binary, gomode  # noqa: E402

PYTHON = "spec/restic_spec/constants.py"
HEADER = "restic_format/native/format.h"
STATES = "restic_format/native/places/states.h"
MODES = ("DIR", "SYMLINK", "DEVICE", "NAMED_PIPE", "SOCKET", "SETUID", "SETGID", "CHAR_DEVICE", "STICKY", "IRREGULAR", "PERM")


def subconstructs(declaration: Any) -> list[Any]:
    """The fields of a declaration; their classes have more than construct's types say."""
    return list(declaration.subcons)


def fields(declaration: Any, **context: Any) -> Iterator[tuple[str, Any]]:
    """Name and plain construct of each field that is there when *context* was parsed before it."""
    for field in declaration.subcons:
        inner = field.subcon
        if isinstance(inner, cs.IfThenElse):
            condition: Any = inner.condfunc
            inner = inner.thensubcon if condition(cs.Container(context)) else None
        if isinstance(inner, cs.Enum):
            inner = inner.subcon
        if inner is not None:
            yield field.name, inner


def struct_format(declaration: Any, **context: Any) -> str:
    """The `struct` format of a declaration of fixed size."""
    codes = []
    for _, inner in fields(declaration, **context):
        codes.append(inner.fmtstr.lstrip("<") if isinstance(inner, cs.FormatField) else f"{inner.sizeof()}s")
    return "<" + "".join(codes)


def size(declaration: Any, **context: Any) -> int:
    """Bytes of a declaration of fixed size."""
    return sum(inner.sizeof() for _, inner in fields(declaration, **context))


def offset(declaration: Any, wanted: str, **context: Any) -> int:
    """Where the field *wanted* begins."""
    total = 0
    for name, inner in fields(declaration, **context):
        if name == wanted:
            break
        total += inner.sizeof()
    return total


def kinds() -> dict[str, int]:
    """Name and number of each kind of header entry."""
    (kind,) = (field for field in subconstructs(binary.ENTRY) if field.name == "kind")
    return {str(name): int(number) for name, number in kind.subcon.encmapping.items()}


def constants() -> dict[str, tuple[int | str, str]]:
    """The numbers of binary forms: name, value and what it is."""
    entry, sealed = binary.ENTRY, {field.name: field.subcon for field in subconstructs(binary.SEALED)}
    plain, compressed = {"kind": 0}, {"kind": binary.COMPRESSED_KINDS}
    iv, mac = sealed["iv"].sizeof(), sealed["mac"].sizeof()
    identifier = dict(fields(entry, **plain))["id"].sizeof()
    key = {name: inner.sizeof() for name, inner in fields(binary.DERIVED_KEY)}
    return {
        "ID_SIZE": (identifier, "Bytes of an id (LAYOUT-2)."),
        "HEX_SIZE": (2 * identifier, "Digits of an id in its textual form (LAYOUT-2)."),
        "IV_SIZE": (iv, "Bytes before the ciphertext of a sealed message (CRYPTO-1)."),
        "MAC_SIZE": (mac, "Bytes after it."),
        "OVERHEAD": (iv + mac, "Bytes a sealed message is longer than its plaintext (CRYPTO-1, CRYPTO-9)."),
        "ENCRYPT_KEY_SIZE": (key["encrypt"], "Bytes of the AES-256 key (CRYPTO-2)."),
        "MAC_K_SIZE": (key["mac_k"], "Bytes of the AES-128 key of Poly1305-AES."),
        "MAC_R_SIZE": (key["mac_r"], "Bytes of Poly1305's multiplier."),
        "DERIVED_KEY_SIZE": (sum(key.values()), "Bytes that scrypt yields: the three one behind the other (KEY-4)."),
        "LENGTH_SIZE": (binary.LENGTH_FIELD.sizeof(), "Bytes at the end of a pack that say how long its header is (PACK-2)."),
        "MAX_HEADER_SIZE": (binary.LONGEST_HEADER, "Bytes a sealed header may have; restic refuses more (PACK-4)."),
        **{
            f"KIND_{name.upper()}": (number, f"Kind of a header entry: {name.replace('_', ' ')} blob (PACK-5).")
            for name, number in kinds().items()
        },
        "COMPRESSED_KINDS": (binary.COMPRESSED_KINDS, "Kinds from here on are those of compressed blobs."),
        "PLAIN_ENTRY_SIZE": (size(entry, **plain), "Bytes of a header entry of an uncompressed blob (PACK-6)."),
        "COMPRESSED_ENTRY_SIZE": (size(entry, **compressed), "Bytes of one of a compressed blob."),
        "ENTRY_LENGTH": (offset(entry, "length"), "Where the sealed length begins in a header entry."),
        "ENTRY_UNCOMPRESSED_LENGTH": (offset(entry, "uncompressed_length", **compressed), "Where the plaintext length begins."),
        "PLAIN_ENTRY": (struct_format(entry, **plain), "The `struct` format of the first."),
        "COMPRESSED_ENTRY": (struct_format(entry, **compressed), "The `struct` format of the second."),
        "COMPRESSED_MARK": (binary.MARK, "First byte of a compressed document (FILE-2)."),
    }


def python_file() -> str:
    """The constants for Python."""
    lines = [
        '"""The numbers of the binary declarations (`restic_spec.binary`), without construct.',
        "",
        "Generated by ``scripts/generate.py``: change the declarations, not this.",
        '"""',
        "",
        "from typing import Final",
        "",
    ]
    for name, (value, meaning) in constants().items():
        shown = f'"{value}"' if isinstance(value, str) else value
        lines += [f"{name}: Final = {shown}", f'"""{meaning}"""']
    return "\n".join(lines) + "\n"


def use_declared_constants() -> None:
    """Let every module imported from now on have the numbers that are declared, whatever is in the file, or without one.

    The compiled parts, which were built with the header as it was, are left alone.
    """
    os.environ["RESTIC_FORMAT_KERNEL"] = "off"
    module = ModuleType("restic_spec.constants")
    exec(compile(python_file(), PYTHON, "exec"), module.__dict__)
    sys.modules[module.__name__] = module


def form(kind: Any) -> str:
    """How the value of a node's field is read in C."""
    if isinstance(kind, inspect.UnionType):
        (kind,) = (part for part in kind.types if not isinstance(part, inspect.NoneType))
    if isinstance(kind, inspect.Metadata):
        return str((kind.extra or {})["form"])
    if isinstance(kind, inspect.IntType):
        return "NATURAL" if kind.le is None else {32: "U32", 63: "SIZE"}[kind.le.bit_length()]
    if isinstance(kind, inspect.ListType):
        return "IDS" if isinstance(kind.item_type, inspect.Metadata) else "ATTRIBUTES"
    forms: dict[type[Any], str] = {inspect.StrType: "TEXT", inspect.BytesType: "BASE64", inspect.DictType: "MAP"}
    return forms[type(kind)]


def c_file() -> str:
    """The constants for C."""
    from restic_spec import tree

    lines = [
        "/* What restic_spec declares, as numbers. Generated by scripts/generate.py: change the declarations, not this. */",
        "#ifndef RESTIC_FORMAT_FORMAT_H",
        "#define RESTIC_FORMAT_FORMAT_H",
        "",
        "enum {",
    ]
    for name, (value, _) in constants().items():
        if isinstance(value, int):
            lines.append(f"    FORMAT_{name} = {value},")
    lines += ["};", "", "/* Go's FileMode. */"]
    lines += [f"#define FORMAT_MODE_{name} 0x{getattr(gomode, name):x}u" for name in MODES]
    lines += ["", "/* The fields of a node in the order in which they are written: name in C, name in JSON, form. */"]
    described = inspect.type_info(tree.Node)
    assert isinstance(described, inspect.StructType)
    last = described.fields[-1]
    lines.append("#define FORMAT_NODE_FIELDS(FIELD) \\")
    for field in described.fields:
        name = field.encode_name
        lines.append(f'    FIELD({name.upper()}, "{name}", {form(field.type)})' + ("" if field is last else " \\"))
    lines += ["", "/* Types of nodes. */"]
    lines += [f'#define FORMAT_TYPE_{name.upper()} "{name}"' for name in tree.NODE_TYPES]
    without = ", ".join(f'"{name}"' for name, kind in tree.NODE_TYPES.items() if not kind.members & {"content", "subtree"})
    lines += ["/* Those that have neither content nor a subtree. */", f"#define FORMAT_TYPES_WITHOUT_CONTENT {without}"]
    return "\n".join([*lines, "", "#endif", ""])


def states_file() -> str:
    """The bits of a restore's states for C."""
    from restic_format.restore.table import DirState, FileState

    lines = [
        "/* States of directories and files, as restic_format.restore.table has them. Generated by scripts/generate.py. */",
        "#ifndef RESTIC_FORMAT_STATES_H",
        "#define RESTIC_FORMAT_STATES_H",
        "",
        "enum {",
    ]
    for prefix, states in (("DIR", DirState), ("FILE", FileState)):
        lines += [f"    {prefix}_{name} = {bit}," for name, bit in vars(states).items() if name.isupper()]
    return "\n".join([*lines, "};", "", "#endif", ""])


def files() -> dict[str, str]:
    """Path and text of every generated file."""
    return {PYTHON: python_file(), HEADER: c_file(), STATES: states_file()}


def main() -> None:
    """Write them."""
    use_declared_constants()
    for path, text in files().items():
        (ROOT / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
