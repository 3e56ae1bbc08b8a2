"""The schema reference, made from the declarations of `restic_spec`, and that of messages, from `restic_tools.messages`."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import typing
from collections.abc import Iterator
from typing import Any

import construct as cs
import msgspec

from restic_spec import binary
from restic_spec.notes import field_notes

DOCUMENTS = (
    ("Config", "config", ("Config",)),
    ("Key file", "keyfile", ("KeyFile",)),
    ("Lock", "lock", ("Lock",)),
    ("Snapshot", "snapshot", ("Snapshot", "SnapshotSummary")),
    ("Index", "index", ("IndexFile", "IndexPack", "IndexBlob")),
    ("Tree", "tree", ("Tree", "Node", "ExtendedAttribute")),
)


def page() -> str:
    """The page as Markdown."""
    lines = [
        "# Schemas",
        "",
        "Made from the declarations that read and write every repository. Fields stand in the order in which they are",
        "written. What is written *unless empty* is left out for a value that is not there; what restic itself always writes",
        "is in the chapters.",
    ]
    for title, declaration in (
        ("Sealed message", binary.SEALED),
        ("Pack", binary.PACK),
        ("Pack header entry", binary.ENTRY),
    ):
        lines += [
            "",
            f"## {title}",
            "",
            "Binary, little-endian.",
            "",
            "| field | size | form | meaning |",
            "| --- | --- | --- | --- |",
        ]
        lines += _binary(declaration)
    for title, module_name, structs in DOCUMENTS:
        module = importlib.import_module(f"restic_spec.{module_name}")
        lines += ["", f"## {title}"]
        for name in structs:
            lines += ["", *_struct(getattr(module, name), len(structs) > 1)]
    return "\n".join(lines) + "\n"


def messages_page() -> str:
    """The page of all messages of ``--json`` as Markdown."""
    import restic_tools.messages as package

    lines = [
        "# Messages",
        "",
        "What `--json` prints: documents and messages, one a line, on standard output; errors on standard error.",
        "Made from the declarations that write them. restic 0.19.1 has the messages of `backup`, `check`, `diff`, `find`,",
        "`forget`, `init`, `key list`, `ls`, `restore`, `snapshots`, `stats`, `tag` and `version`, and ours are the same in",
        "every byte; others have messages of their own. `cat blob` and `cat pack` print bytes as they are, and `--help` prints",
        "a page for people.",
    ]
    modules = [importlib.import_module(f"{package.__name__}.{info.name}") for info in _modules(package)]
    for module in [package, *modules]:
        summary = (inspect.getdoc(module) or "").partition("\n")[0].replace("``", "`").rstrip(".")
        title = "several commands" if module is package else re.sub("^The messages? of ", "", summary)
        lines += ["", f"## Of {title}"]
        for name, struct in vars(module).items():
            if inspect.isclass(struct) and issubclass(struct, msgspec.Struct) and struct.__module__ == module.__name__:
                lines += ["", f"### {name}", "", *_struct(struct, False, "../specification/schemas.md")]
    return "\n".join(lines) + "\n"


def _modules(package: Any) -> list[pkgutil.ModuleInfo]:
    return sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name)


def _binary(declaration: Any) -> Iterator[str]:
    for field in declaration.subcons:
        inner: Any = field.subcon
        if isinstance(inner, cs.IfThenElse):
            inner = inner.thensubcon
        form = "bytes"
        if isinstance(inner, cs.Enum):
            form = ", ".join(f"{value} {name}" for name, value in inner.encmapping.items())
        elif isinstance(inner, cs.FormatField | cs.Rebuild):
            form = "unsigned integer"
        try:
            size = str(inner.sizeof())
        except cs.SizeofError:
            size = "the rest"
        yield f"| `{field.name}` | {size} | {form} | {field.meaning} ({field.clause}) |"


def _struct(struct: type[msgspec.Struct], titled: bool, page: str = "") -> Iterator[str]:
    """What is said of *struct*; *page* has those of `restic_spec`, where that is another page."""
    if titled:
        yield f"### {struct.__name__}"
        yield ""
    yield (inspect.getdoc(struct) or "").replace("\n", " ").replace("``", "`")
    yield ""
    yield "| member | type | written | meaning |"
    yield "| --- | --- | --- | --- |"
    notes = field_notes(struct)
    hints = typing.get_type_hints(struct)
    for field in msgspec.structs.fields(struct):
        written = "always" if field.required or not struct.__struct_config__.omit_defaults else "unless empty"
        if msgspec.UnsetType in typing.get_args(hints[field.name]):
            written = "always, `null` for none; readers do without"
        note = notes[field.name].text if field.name in notes else ""
        note = note.replace("\n", " ").replace("``", "`").replace("|", "\\|")
        yield f"| `{field.encode_name}` | {_type(hints[field.name], page)} | {written} | {note} |"


def _type(hint: object, page: str = "") -> str:
    if hint is type(None):
        return "null"
    if hint is bytes:
        return "base64"
    if hint is msgspec.Raw:
        return "any JSON"
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is list:
        return f"array of {_type(arguments[0], page)}"
    if origin is dict:
        return f"object of {_type(arguments[1], page)}"
    if origin is typing.Annotated:
        return _type(arguments[0], page)
    if arguments:
        return " or ".join(_type(argument, page) for argument in arguments if argument is not msgspec.UnsetType)
    if hint in (str, int, float, bool):
        return {str: "string", int: "integer", float: "number", bool: "boolean"}[hint]
    name = str(getattr(hint, "__name__", hint))
    elsewhere = page if str(getattr(hint, "__module__", "")).startswith("restic_spec") else ""
    return f"[{name}]({elsewhere}#{name.lower()})"
