"""The schema reference, made from the declarations of `restic_spec`, and that of messages, from `restic_tools.messages`."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from forms import FORMS, branches, documents, name_of, parts

from restic_spec.notes import field_notes

JSON_SCHEMAS = Path(__file__).resolve().parent / "reference" / "json"
"""What ``scripts/jsonschemas.py`` writes."""

DOCUMENTS = (
    ("config", "config", ("Config",)),
    ("keys", "keyfile", ("KeyFile", "MasterKeyJson", "MacKeyJson")),
    ("locks", "lock", ("Lock",)),
    ("snapshots", "snapshot", ("Snapshot", "SnapshotSummary")),
    ("indexes", "index", ("IndexFile", "IndexPack", "IndexBlob")),
    ("trees", "tree", ("Tree", "Node", "ExtendedAttribute")),
    ("rustic", "rustic", ("ConfigMembers",)),
)
"""The JSON documents: the chapter about them, their module in `restic_spec`, and the structs, outermost first."""


def page() -> str:
    """The page as Markdown."""
    lines = [
        "# Schemas",
        "",
        "Made from the declarations that read and write every repository. Fields stand in the order in which they are",
        "written. Each names the clauses that it follows.",
        "",
        "## Binary forms",
        "",
        "Integers are little-endian. A field whose size is *variable* has all bytes that the others leave. What is inside of a",
        "sealed message or a frame stands below it, with the field's name before its own.",
    ]
    for form in FORMS:
        lines += ["", f"### {form.title} {{ #{form.name} }}", "", f"{form.says} [The chapter]({form.chapter}.md).", ""]
        lines += ["| field | size | form | meaning |", "| --- | --- | --- | --- |", *_binary(form.declaration)]
    lines += [
        "",
        "## Documents",
        "",
        "JSON objects. What is written *unless empty* is left out for a value that is not there; what restic itself always",
        "writes is in the chapters.",
    ]
    for chapter, module_name, structs in DOCUMENTS:
        module = importlib.import_module(f"restic_spec.{module_name}")
        for name in structs:
            lines += ["", f"### {name}", "", f"[The chapter]({chapter}.md).", "", *_struct(getattr(module, name))]
    lines += [
        "",
        "## What our program says of them",
        "",
        "`restic-format inspect --json` explains any file by these declarations, in [messages](../reference/messages.md) that",
        "have a JSON Schema, for programs to validate what they read:",
        "",
        *(f"- [`{path.name}`](../reference/json/{path.name})" for path in sorted(JSON_SCHEMAS.glob("*.schema.json"))),
    ]
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
        file = f"{module.__name__.rpartition('.')[2]}.schema.json"
        if (JSON_SCHEMAS / file).exists():
            lines += ["", f"[JSON Schema](json/{file}), for programs that validate what they read."]
        for name, struct in vars(module).items():
            if inspect.isclass(struct) and issubclass(struct, msgspec.Struct) and struct.__module__ == module.__name__:
                lines += ["", f"### {name}", "", *_struct(struct, "../specification/schemas.md")]
    return "\n".join(lines) + "\n"


def _modules(package: Any) -> list[pkgutil.ModuleInfo]:
    return sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name)


def _binary(declaration: Any, above: str = "") -> Iterator[str]:
    """Rows of a table: each field of *declaration*, and what is inside of it once it is opened."""
    for part in parts(declaration):
        form = {"sealed": "[sealed message](#sealed-message)", "frame": "zstandard frame"}.get(part.how, part.form)
        if names := documents(part.inner):
            form = {"frame": f"{form} of JSON"}.get(part.how, "JSON") + f": {' or '.join(_type(one) for one in names)}"
        elif name_of(part.inner):
            form += f" of a [{name_of(part.inner).lower()}](#{_anchor(part.inner)})"
        if part.each is not None:
            form = f"each a [{name_of(part.each).lower()}](#{_anchor(part.each)})"
        if part.listed:
            form = f"for each of `{part.listed}` a [blob](#blob) or [compressed blob](#compressed-blob)"
        yield f"| `{above}{part.name}` | {part.extent} | {form} | {part.meaning} ({part.clause}) |"
        if part.how and part.inner is not None and not names and not name_of(part.inner):
            for branch in branches(part.inner):
                yield from _binary(branch, f"{above}{part.name}.")


def _anchor(declaration: Any) -> str:
    return next(form.name for form in FORMS if form.declaration is declaration)


def _struct(struct: type[msgspec.Struct], page: str = "") -> Iterator[str]:
    """What is said of *struct*; *page* has those of `restic_spec`, where that is another page."""
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
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if arguments:
        return " or ".join(_type(argument, page) for argument in arguments if argument is not msgspec.UnsetType)
    if hint in (str, int, float, bool):
        return {str: "string", int: "integer", float: "number", bool: "boolean"}[hint]
    name = str(getattr(hint, "__name__", hint))
    elsewhere = page if str(getattr(hint, "__module__", "")).startswith("restic_spec") else ""
    return f"[{name}]({elsewhere}#{name.lower()})"
