"""The generated numbers are those of the declarations, and nothing else has numbers of its own."""

import importlib.util
import io
import re
import shutil
import struct
import subprocess
import sys
import tokenize
from collections import Counter

import construct as cs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restic_spec import binary, constants
from restic_spec.formats import FORMATS
from restic_spec.tree import NODE_TYPES, Node

NUMBERS = re.compile(r"\b(?:37|41|73|69|16777216|0x1000000)\b|1u << (?:19|2[0-7]|31)\b")
"""Sizes of entries, the shortest header and the shortest pack, the bound on headers, bits of modes in C."""
SMALL = re.compile(r"(?<!<< )(?<!>> )(?<![\w.])(?:16|32|48|64)(?![\w.])(?! <<)")
"""Sizes of ids, IVs, MACs and keys, and what only looks like one: shifts are left out."""
NO_CODE = re.compile(r'/\*.*?\*/|//[^\n]*|"""(?s:.*?)"""|"(?:[^"\\\n]|\\.)*"|(?<=\s)#(?! *define)[^\n]*', re.DOTALL)
"""Comments and strings in C and Cython."""


def _generator(project_root):
    found = importlib.util.spec_from_file_location("generate", project_root / "scripts" / "generate.py")
    generator = importlib.util.module_from_spec(found)
    found.loader.exec_module(generator)
    return generator


def test_the_generated_files_are_those_that_are_checked_in(project_root):
    for path, text in _generator(project_root).files().items():
        assert text == (project_root / path).read_text(encoding="utf-8"), f"{path}: run scripts/generate.py"


def _generate(tree):
    """Run the generator of a copied *tree*, without the path that leads to the real one."""
    subprocess.run([sys.executable, "-P", "scripts/generate.py"], cwd=tree, check=True, timeout=60)


def test_the_generated_files_come_back_when_they_are_lost(project_root, tmp_path):
    """The generator needs none of what it writes: neither what was removed, nor a number that is only declared so far."""
    for folder in ("scripts", "spec/restic_spec", "restic_format"):
        built = shutil.ignore_patterns("*.so", "__pycache__")
        shutil.copytree(project_root / folder, tmp_path / folder, ignore=built)
    texts = _generator(project_root).files()
    for path in texts:
        (tmp_path / path).unlink()
    _generate(tmp_path)
    assert {path: (tmp_path / path).read_text(encoding="utf-8") for path in texts} == texts

    generator, user = tmp_path / "scripts/generate.py", tmp_path / "spec/restic_spec/ids.py"
    first = '        "ID_SIZE":'
    generator.write_text(generator.read_text().replace(first, f'        "NEW": (7, "Something new."),\n{first}'))
    user.write_text(user.read_text() + "\nfrom restic_spec.constants import NEW as NEW\n")
    _generate(tmp_path)
    assert "NEW: Final = 7" in (tmp_path / "spec/restic_spec/constants.py").read_text()
    assert "FORMAT_NEW = 7," in (tmp_path / "restic_format/native/format.h").read_text()


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


OWN = {
    "spec/restic_spec/binary.py",
    "spec/restic_spec/constants.py",
    "spec/restic_spec/gomode.py",
    "restic_format/native/format.h",
}
"""Where the numbers are declared, and what is generated."""


def _sources(project_root):
    for folder in ("restic_format", "spec/restic_spec"):
        for path in (project_root / folder).rglob("*"):
            name = path.relative_to(project_root).as_posix()
            if path.suffix in (".py", ".pyx", ".pxi", ".c", ".h") and name not in OWN:
                yield name, path.read_text(encoding="utf-8")


def test_no_other_source_has_the_numbers(project_root):
    found = [
        f"{name}:{number}: {line.strip()}"
        for name, text in _sources(project_root)
        for number, line in enumerate(text.splitlines(), 1)
        if NUMBERS.search(line) and '"""' not in line
    ]
    assert found == []


SOMETHING_ELSE = {
    "restic_format/native/blobs/__init__.py": 7,
    "restic_format/native/blobs/packs.c": 1,
    "restic_format/native/blobs/sha.h": 1,
    "restic_format/native/json/cursor.h": 1,
    "restic_format/native/json/trees.c": 1,
    "restic_format/native/nodes/look.c": 1,
    "restic_format/native/nodes/nodes.h": 1,
    "restic_format/native/places/_places.pyx": 1,
    "restic_format/native/places/states.h": 4,
    "restic_format/native/scrypt/__init__.py": 2,
    "restic_format/native/solving/__init__.py": 1,
    "restic_format/native/solving/_solving.pyx": 1,
    "restic_format/native/solving/solving.c": 6,
    "restic_format/native/solving/solving.h": 1,
    "restic_format/native/table/_plans.pxi": 1,
    "restic_format/native/table/decode.c": 1,
    "restic_format/native/table/idset.c": 1,
    "restic_format/native/table/_pure_use.py": 1,
    "restic_format/native/table/table.c": 3,
    "restic_format/native/table/use.c": 1,
    "restic_format/repository/keys.py": 1,
    "restic_format/repository/packer.py": 2,
    "spec/restic_spec/chunker.py": 1,
    "spec/restic_spec/config.py": 1,
    "spec/restic_spec/gojson.py": 2,
    "spec/restic_spec/gotime.py": 1,
    "spec/restic_spec/jsonspans.py": 1,
    "spec/restic_spec/keyfile.py": 1,
    "spec/restic_spec/members.py": 1,
    "spec/restic_spec/notes.py": 1,
    "spec/restic_spec/parity.py": 1,
    "spec/restic_spec/printable.py": 2,
    "spec/restic_spec/region.py": 1,
    "spec/restic_spec/rustic.py": 1,
    "spec/restic_spec/solving.py": 2,
}
"""How often a source has 16, 32, 48 or 64 for something that is no size of an id, an IV, a MAC or a key."""
WITH_SIZES = ("spec/restic_spec/", "restic_format/repository/", "restic_format/native/")
"""Rooms that deal with the format; the others get their sizes from these."""
WITHOUT_SIZES = ("restic_format/native/chunker/", "restic_format/native/scrypt/scrypt", "restic_format/native/blobs/sha.c")
"""Algorithms with lanes, windows, rounds and words of their own."""


def _code(name, text):
    """The *text* of a source without comments and strings."""
    if not name.endswith(".py"):
        return NO_CODE.sub("", text)
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return " ".join(token.string for token in tokens if token.type in (tokenize.NAME, tokenize.NUMBER, tokenize.OP))


@pytest.mark.parametrize(
    ("name", "text", "count"),
    [
        ("a.py", 'os.urandom(32)  # 16\n"""64"""\nf"{x} 48"', 1),
        ("a.py", "x[32 * row : 32 * row + 32]; 1 << 32; 16 << 20", 3),
        ("a.c", "#define IV 16\nuint8_t key[32]; /* 64\n16 */ x >> 32; 3 // 16", 2),
        ("a.pyx", 'if len(a) != (32, 16): # 64\n    """an id has\n 32 bytes"""\n    raise ValueError("32")', 2),
    ],
)
def test_sizes_are_seen(name, text, count):
    assert len(SMALL.findall(_code(name, text))) == count


def test_no_other_source_has_the_sizes_of_ids_and_keys(project_root):
    found = Counter()
    for name, text in _sources(project_root):
        if name.startswith(WITH_SIZES) and not name.startswith(WITHOUT_SIZES):
            found[name] += len(SMALL.findall(_code(name, text)))
    assert +found == Counter(SOMETHING_ELSE), "take the size from restic_spec.constants or format.h"
