"""The generated pages of the specification: maps and schemas say what the declarations say, and every link leads somewhere."""

from __future__ import annotations

import importlib
import re
from xml.etree import ElementTree

import bytemaps
import construct as cs
import msgspec
import pytest
import schemas
import traceability
from forms import FORMS, Form, branches, documents, parts
from pages import CHAPTERS, Pages

from restic_spec import binary
from restic_spec.notes import field_notes

CLAUSES = {clause.id for clause in traceability.clauses()}
DRAWN = [form for form in FORMS if form.drawn]
SVG = re.compile(r"<svg class=\"bytemap\".*?</svg>", re.DOTALL)
STRUCTS = [
    pytest.param(getattr(importlib.import_module(f"restic_spec.{module}"), name), id=name)
    for _, module, names in schemas.DOCUMENTS
    for name in names
]


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return Pages().all()


def _texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return ["".join(element.itertext()) for element in root.iter() if element.tag.endswith("}text")]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_every_field_of_a_binary_form_is_drawn_and_in_a_table(pages: dict[str, str], form: Form) -> None:
    drawn = [text for svg in SVG.findall(pages[form.chapter]) for text in _texts(svg)]
    table = pages["schemas"].split(f"{{ #{form.name} }}")[1].split("\n### ")[0]
    for part in parts(form.declaration):
        assert part.clause in CLAUSES
        assert {part.name, part.clause} <= set(drawn)
        assert any(part.extent == text or "JSON" in text for text in drawn)
        row = next(row for row in table.splitlines() if row.startswith(f"| `{part.name}` | {part.extent} |"))
        assert f"[{part.clause}](" in row


def test_every_binary_declaration_is_shown() -> None:
    shown = {_shape(form.declaration) for form in FORMS}
    public = [getattr(binary, name) for name in binary.__all__]
    declared = [one for one in public if isinstance(one, binary.Form)]
    declared += [binary.blob(compressed=False), binary.blob(compressed=True), binary.pack_file()]
    declared += [make(None) for make in (binary.config_file, binary.key_data, binary.key_file)]
    declared += [binary.unpacked(None, marked=marked) for marked in (False, True)]
    assert len(declared) > 10
    assert {_shape(one) for one in declared} <= shown


def _shape(declaration: cs.Struct) -> tuple[object, ...]:
    """The fields of a form and of those inside of it, without the documents in them."""
    fields = []
    for part in parts(declaration):
        inside = () if part.how == "document" or part.inner is None or documents(part.inner) else branches(part.inner)
        fields.append((part.name, part.clause, *(_shape(one) for one in inside)))
    return tuple(fields)


def test_sizes_in_a_map_come_from_the_declaration() -> None:
    seven = cs.Struct(
        binary.Field("odd", cs.Bytes(7), "PACK-1", "seven & more"), binary.Field("one", cs.Int8ul, "PACK-2", "a single <byte>")
    )
    drawn = bytemaps.draw(Form("seven", "Seven", "packs", seven, ""), lambda name: f"#{name}")
    assert _texts(drawn) == ["odd", "7 bytes", "PACK-1", "one", "1 byte", "PACK-2"]
    told = ElementTree.fromstring(drawn).find("{*}desc")
    assert told is not None
    assert told.text == "odd (7 bytes): seven & more; one (1 byte): a single <byte>."


def test_what_is_inside_stands_below(pages: dict[str, str]) -> None:
    second = next(svg for svg in SVG.findall(pages["unpacked"]) if "version 2" in svg)
    texts = _texts(second)
    for earlier, later in (("file: a sealed message", "iv"), ("decrypted, either", "document"), ("decrypted, or", "mark")):
        assert texts.index(earlier) > texts.index("file")
        assert later in texts
    assert texts[-1] == "JSON: Snapshot or IndexFile or Lock"
    pack = SVG.findall(pages["packs"])[0]
    entry = [text for part in parts(binary.ENTRY) for text in (part.name, part.extent, part.clause)]
    assert _texts(pack)[-len(entry) :] == entry


@pytest.mark.parametrize("struct", STRUCTS)
def test_every_member_of_a_document_names_a_clause(pages: dict[str, str], struct: type[msgspec.Struct]) -> None:
    table = pages["schemas"].split(f"\n### {struct.__name__}\n")[1].split("\n### ")[0]
    notes = field_notes(struct)
    for field in msgspec.structs.fields(struct):
        assert notes[field.name].clause in CLAUSES, field.name
        row = next(row for row in table.splitlines() if row.startswith(f"| `{field.encode_name}` |"))
        assert f"[{notes[field.name].clause}](" in row


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+?)(?: \{ #(\S+) \})?$", text, re.MULTILINE)
    named = {anchor or re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title, anchor in headings}
    return named | set(re.findall(r'id="([^"]+)"', text))


def test_links_of_the_maps_lead_somewhere(pages: dict[str, str]) -> None:
    anchors = {name: _anchors(text) for name, text in pages.items()}
    found = [link for text in pages.values() for link in re.findall(r'href="([^"]+)"', text)]
    assert len(found) > 50
    for link in found:
        page, anchor = re.fullmatch(r"\.\./(\w+)/#(\S+)", link).groups()  # type: ignore[union-attr]
        assert anchor in anchors[page], link


def test_links_between_the_pages_lead_somewhere(pages: dict[str, str]) -> None:
    anchors = {name: _anchors(text) for name, text in pages.items()}
    found = {
        (name, page or name, anchor)
        for name, text in pages.items()
        for page, anchor in re.findall(r"\]\((?:([\w-]+)\.md)?(?:#([\w-]+))?\)", text)
    }
    assert len(found) > 500
    assert {one for one in found if one[1] not in pages or (one[2] and one[2] not in anchors[one[1]])} == set()


def test_every_chapter_has_the_maps_of_its_forms(pages: dict[str, str]) -> None:
    assert {form.chapter for form in DRAWN} <= set(CHAPTERS)
    for name in CHAPTERS:
        assert len(SVG.findall(pages[name])) == sum(form.chapter == name for form in DRAWN)
    ids = re.findall(r'id="(map-[^"]+)"', "".join(pages.values()))
    assert len(ids) == len(set(ids))


def test_the_introduction_shows_the_declaration_as_it_is() -> None:
    text = (traceability.CHAPTERS / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r'Field\("(\w+)", \S+, "([A-Z]+-\d+)", "([^"…]+)', text)
    declared = [(part.name, part.clause, part.meaning) for part in parts(binary.SEALED)]
    assert [one[:2] for one in shown] == [one[:2] for one in declared]
    assert all(meaning.startswith(beginning.strip()) for (*_, beginning), (*_, meaning) in zip(shown, declared, strict=True))
