"""Native parts are left alone where they are not wanted, not there, or do not give the known answers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from restic_format.native import blobs, chunker, scrypt, solving
from restic_format.native.chunker import _pure
from restic_format.native.parts import PARTS
from restic_format.native.solving import _pure as pure_solving
from restic_spec.crypto import MasterKey, seal
from restic_spec.ids import id_of
from restic_spec.unpacked import decompress

BREAK = """
import importlib.util, pathlib, sys
import restic_format
part = {module!r}
[file] = pathlib.Path(restic_format.__file__).parent.glob("native/" + part.replace(".", "/") + ".*.so")
spec = importlib.util.spec_from_file_location("restic_format.native." + part, file)
module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
real = module.{name}
{change}
"""
SHOW = """
from restic_tools.commands.version import native_parts
print(*(f"{name}: {state}" for name, state in native_parts()), sep="\\n")
"""

# What each change makes wrong: a part's extension, a name in it, and the wrong form of that.
BROKEN = {
    "chunker": ("chunker._chunker", "Chunker", """
class Wrong(real):
    def next_cut(self, *arguments):
        return max(super().next_cut(*arguments) - 1, 1)
module.Chunker = Wrong"""),
    "SHA-256 of several": ("blobs._blobs", "Context", """
class Wrong(real):
    def seal_many(self, items, *more):
        wrong = [(bytes([id[0] ^ 1]) + id[1:], data) for id, data in items]
        return super().seal_many(wrong if len(items) > 1 else items, *more)
module.Context = Wrong"""),
    "SHA-256 of a pack": ("blobs._blobs", "Sha256", """
class Wrong(real):
    def digest(self):
        return super().digest()[::-1]
module.Sha256 = Wrong"""),
    "AES": ("blobs._blobs", "Context", """
class Wrong(real):
    def seal(self, data, iv):
        sealed = super().seal(data, iv)
        return sealed[:17] + bytes([sealed[17] ^ 1]) + sealed[18:]
module.Context = Wrong"""),
    "Poly1305": ("blobs._blobs", "Context", """
class Wrong(real):
    def seal(self, data, iv):
        sealed = super().seal(data, iv)
        return sealed[:-1] + bytes([sealed[-1] ^ 1])
module.Context = Wrong"""),
    "a MAC that is not looked at": ("blobs._blobs", "Context", """
class Wrong(real):
    def open(self, sealed, room, compressed, blob_id=None):
        return super().open(sealed, room, compressed, blob_id) or bytes(room)
module.Context = Wrong"""),
    "zstd, expanding": ("blobs._blobs", "Context", """
class Wrong(real):
    def open(self, sealed, room, compressed, blob_id=None):
        return bytes(room) if compressed else super().open(sealed, room, compressed, blob_id)
module.Context = Wrong"""),
    "zstd, compressing": ("blobs._blobs", "Context", """
class Wrong(real):
    def seal_many(self, *arguments):
        return None
module.Context = Wrong"""),
    "sealing again": ("blobs._blobs", "Context", """
class Wrong(real):
    def seal_again(self, source, data, *more):
        return data
module.Context = Wrong"""),
    "what another version has compiled": ("blobs._blobs", "Context", """
class Wrong(real):
    @property
    def seal_again(self):
        raise AttributeError("Context has no seal_again")
module.Context = Wrong"""),
    "scrypt": ("scrypt._scrypt", "mix_lanes", """
def wrong(lanes, *more):
    real(lanes, *more)
    lanes[0] ^= 1
module.mix_lanes = wrong"""),
    "a polynomial": ("solving._solving", "polynomial", """
def wrong(*arguments):
    return real(*arguments) ^ 1
module.polynomial = wrong"""),
    "a block that is not found": ("solving._solving", "block_candidates", """
module.block_candidates = lambda *arguments: []"""),
    "a border that is not found": ("solving._solving", "border_candidates", """
module.border_candidates = lambda *arguments: real(*arguments)[1:]"""),
    "two bits that are not found": ("solving._solving", "BitPairs", """
class Wrong(real):
    def search(self, *arguments):
        return []
module.BitPairs = Wrong"""),
    "a record": ("table._table", "pack_record", """
def wrong(*arguments):
    json, blobs, sealed = real(*arguments)
    return json.replace(b"tree", b"data"), blobs, sealed
module.pack_record = wrong"""),
}  # fmt: skip


def states(code: str, policy: str = "auto") -> tuple[dict[str, str], str]:
    """What *code* prints about each part, and what it says on standard error."""
    env = {**os.environ, "RESTIC_FORMAT_KERNEL": policy, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    return dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line), done.stderr


@pytest.mark.parametrize("broken", BROKEN)
def test_a_part_that_gives_a_wrong_answer_is_left_alone(broken: str) -> None:
    module, name, change = BROKEN[broken]
    code = BREAK.format(module=module, name=name, change=change) + SHOW
    found, _ = states(code)
    assert set(found) == {f"native {part}" for part in PARTS}
    failed = {part for part, state in found.items() if "its self-test failed" in state}
    assert failed == {f"native {module.partition('.')[0]}"}
    assert all(found[name].startswith("pure") for name in failed)
    _, error = states(code, "require")
    assert "RESTIC_FORMAT_KERNEL=require" in error and "its self-test failed" in error


def test_everything_passes_its_test_here() -> None:
    found, _ = states(SHOW, "require")
    assert all(state.startswith("compiled") for state in found.values())


@pytest.mark.parametrize("part", PARTS)
def test_one_part_can_be_left_out(part: str) -> None:
    found, _ = states(SHOW, f"without:{part}")
    left_out = {name for name, state in found.items() if state.startswith("pure")}
    assert left_out == {f"native {part}"}


def test_several_parts_can_be_left_out() -> None:
    found, _ = states(SHOW, "without:table,chunker")
    assert [name for name, state in found.items() if "RESTIC_FORMAT_KERNEL=without:table,chunker" in state] == [
        "native chunker", "native table",
    ]  # fmt: skip


def test_the_known_answers_are_the_specifications() -> None:
    plain = blobs._PLAIN
    key = MasterKey(bytes(range(32)), b"k" * 16, b"r" * 16)
    assert seal(key, plain, bytes(range(16))).hex() == blobs.KNOWN_SEALED
    assert decompress(bytes.fromhex(blobs.KNOWN_FRAME), len(plain), "PACK-12") == plain
    assert id_of(plain) == blobs._ID
    twin, at = _pure.Chunker(0x3DA3358B4DC173, 4096, 12_000, 12), 0
    data = chunker.shake_128(b"restic-format chunker").digest(20_000)
    for cut in chunker.KNOWN_CUTS:
        assert twin.next_cut(data, at, len(data), True) == cut
        at += cut
    assert at == len(data)
    plain, r = bytes(range(40)), 0x0BADCAFE0BADCAFC0BADCAFC0BADCAFE
    assert pure_solving.polynomial(r, plain) == solving.KNOWN_VALUE
    for start, content in solving.KNOWN_CHANGES:
        changed = plain[:start] + content + plain[start + len(content) :]
        wanted = [pure_solving.polynomial(r, changed) - solving.KNOWN_VALUE]
        found = pure_solving.block_candidates(r, plain, wanted) + pure_solving.border_candidates(r, plain, wanted, 4)
        assert (start, content) in found
    assert scrypt.derive_by_library(b"pw", b"salt", 16, 2, 3)[:16].hex() == scrypt.KNOWN_DERIVED


def test_what_is_not_compiled_is_told(tmp_path: Path) -> None:
    code = "import sys; sys.modules['restic_format.native.table._table'] = None\n" + SHOW
    found, _ = states(code)
    assert found["native table"].startswith("pure, not compiled (")
