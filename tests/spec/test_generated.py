"""The generated numbers are those of the declarations, and nothing else has numbers of its own."""

import importlib.util
import re
import struct

import construct as cs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restic_spec import binary, constants
from restic_spec.formats import FORMATS
from restic_spec.tree import NODE_TYPES, Node

NUMBERS = re.compile(r"\b(?:37|41|73|69|16777216|0x1000000)\b|1u << (?:19|2[0-7]|31)\b")
"""Sizes of entries, the shortest header and the shortest pack, the bound on headers, bits of modes in C."""


def _generator(project_root):
    found = importlib.util.spec_from_file_location("generate", project_root / "scripts" / "generate.py")
    generator = importlib.util.module_from_spec(found)
    found.loader.exec_module(generator)
    return generator


def test_the_generated_files_are_those_that_are_checked_in(project_root):
    for path, text in _generator(project_root).files().items():
        assert text == (project_root / path).read_text(encoding="utf-8"), f"{path}: run scripts/generate.py"


@pytest.mark.clause("CRYPTO-1", "PACK-2", "PACK-5", "PACK-6")
def test_sizes_are_those_of_what_the_declarations_build():
    plain = {"kind": 1, "length": 40, "uncompressed_length": None, "id": bytes(32)}
    compressed = {**plain, "kind": 3, "uncompressed_length": 5}
    for entry, size, form in (
        (plain, constants.PLAIN_ENTRY_SIZE, constants.PLAIN_ENTRY),
        (compressed, constants.COMPRESSED_ENTRY_SIZE, constants.COMPRESSED_ENTRY),
    ):
        raw = binary.ENTRY.build(entry)
        assert len(raw) == size == struct.calcsize(form)
        assert struct.unpack(form, raw)[1] == 40
        assert int.from_bytes(raw[constants.ENTRY_LENGTH :][:4], "little") == 40
    assert raw[constants.ENTRY_UNCOMPRESSED_LENGTH] == 5
    assert len(binary.LENGTH_FIELD.build(1)) == constants.LENGTH_SIZE
    sealed = binary.SEALED.parse(bytes(100))
    assert (len(sealed.iv), len(sealed.ciphertext), len(sealed.mac)) == (16, 68, 16)
    assert constants.OVERHEAD == 32
    with pytest.raises(cs.ConstructError):
        binary.SEALED.parse(bytes(constants.OVERHEAD - 1))
    assert FORMATS[2].kinds == {constants.KIND_DATA, constants.KIND_TREE, 2, 3} > FORMATS[1].kinds == {0, 1}


@pytest.mark.clause("CRYPTO-1", "PACK-1", "PACK-2")
@given(st.binary(min_size=16, max_size=16), st.binary(max_size=99), st.binary(max_size=99), st.binary(max_size=99))
def test_declarations_build_what_they_parse(iv, ciphertext, blobs, header):
    sealed = {"iv": iv, "ciphertext": ciphertext, "mac": iv[::-1]}
    raw = binary.SEALED.build(sealed)
    assert raw == iv + ciphertext + iv[::-1]
    assert {name: binary.SEALED.parse(raw)[name] for name in sealed} == sealed
    pack = binary.PACK.build({"blobs": blobs, "header": header})
    assert pack == blobs + header + len(header).to_bytes(4, "little")
    parsed = binary.PACK.parse(pack)
    assert (parsed.blobs, parsed.header, parsed.length) == (blobs, header, len(header))
    assert binary.PACK.build(parsed) == pack


@given(st.binary(max_size=120))
def test_declarations_build_again_what_they_parsed_of_garbage(raw):
    for declaration in (binary.SEALED, binary.PACK, binary.HEADER, binary.unpacked(None, marked=True)):
        try:
            parsed = declaration.parse(raw)
        except cs.ConstructError:
            continue
        built = declaration.build(parsed)
        assert raw.startswith(built) if declaration is binary.HEADER else built == raw


def test_node_types_are_told_from_modes_and_back():
    assert {name for name, kind in NODE_TYPES.items() if "links" in kind.members} == {"file", "symlink", "dev", "chardev"}
    assert len({kind.mode for kind in NODE_TYPES.values()}) == len(NODE_TYPES)
    named = {member for kind in NODE_TYPES.values() for member in kind.members}
    assert named <= {name.lower() for name in Node.__struct_encode_fields__}


def test_no_other_source_has_the_numbers(project_root):
    own = {
        "spec/restic_spec/binary.py",
        "spec/restic_spec/constants.py",
        "spec/restic_spec/gomode.py",
        "restic_format/native/format.h",
    }
    found = []
    for folder in ("restic_format", "spec/restic_spec"):
        for path in (project_root / folder).rglob("*"):
            name = path.relative_to(project_root).as_posix()
            if path.suffix in (".py", ".pyx", ".pxi", ".c", ".h") and name not in own:
                lines = path.read_text(encoding="utf-8").splitlines()
                found += [
                    f"{name}:{number}: {line.strip()}"
                    for number, line in enumerate(lines, 1)
                    if NUMBERS.search(line) and '"""' not in line
                ]
    assert found == []
