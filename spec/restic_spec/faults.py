"""What is wrong with a JSON document by its declaration, and at which of its members.

What reads a document stops at the first fault. Nodes of a tree and packs of an index are therefore read one by one where that
happens, so that each that is wrong is told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from restic_spec import wire
from restic_spec.config import Config, decode_config
from restic_spec.declared import member_with
from restic_spec.errors import JsonInvalid, LengthInvalid, PolynomialInvalid, SpecError
from restic_spec.ids import HEX_SIZE
from restic_spec.index import IndexBlob, IndexFile, IndexPack, check_pack, decode_index, decode_pack
from restic_spec.keyfile import KeyFile, MasterKeyJson, decode_keyfile, decode_master_key
from restic_spec.lock import Lock, decode_lock
from restic_spec.region import Region, Unexplained
from restic_spec.snapshot import Snapshot, decode_snapshot
from restic_spec.tree import Node, Tree, check_order, decode_node, decode_tree, validate_tree

if TYPE_CHECKING:
    from restic_spec.members import Json, Member

Path = tuple[str | int, ...]
Faults = dict[Path, list[SpecError]]
"""By the path to a member, () for the document as a whole."""

MAX_FAULTS = 1000
"""Faults that are told of one document at most."""

AT_ONCE = 64 << 20
"""Bytes of a document that is decoded as a whole; objects take many times the bytes of the JSON."""

_AT = re.compile(r" - at `\$([^`]*)`$")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
_blob_decoder = msgspec.json.Decoder(IndexBlob)


def check(declared: Any, raw: bytes) -> None:
    """Check the document *raw* in every way that its declaration and the functions beside it can.

    Raises:
        SpecError: what is wrong.
    """
    _CHECKS[declared](raw)


def _check_key(raw: bytes) -> None:
    decode_keyfile(raw).derivation()


def _check_tree(raw: bytes) -> None:
    validate_tree(decode_tree(raw))


_CHECKS: dict[Any, Callable[[bytes], Any]] = {
    Config: decode_config,
    IndexFile: decode_index,
    KeyFile: _check_key,
    Lock: decode_lock,
    MasterKeyJson: decode_master_key,
    Node: decode_node,
    Snapshot: decode_snapshot,
    Tree: _check_tree,
}


def find_faults(json: Json) -> tuple[Faults, bool]:
    """What is wrong with a document, and where, and whether it is refused; what the scan of its regions tells itself is left
    out."""
    raw = memoryview(json.document.data)[json.start : json.end]
    if len(raw) > AT_ONCE:
        return _of_large(json)
    try:
        check(json.declared, bytes(raw))
    except SpecError as error:
        found = _of_elements(json)
        if not found:
            place = _place(json.regions, (), error, json.declared)
            if place or not any(_is_broken(region) for region in json.regions()):
                found[place] = [error]
        return found, True
    return {}, False


def _of_large(json: Json) -> tuple[Faults, bool]:
    """`find_faults` for a document of which nobody should hold all objects at once."""
    found = _of_elements(json)
    if not found and json.declared not in (Tree, IndexFile):
        what = f"{json.end - json.start} bytes are too many to hold the members against their declaration"
        return {(): [LengthInvalid(what, clause="FILE-6")]}, False
    return found, bool(found) or any(_is_broken(region) for region in json.regions())


def _of_elements(json: Json) -> Faults:
    """What is wrong with elements that are read one by one."""
    found: Faults = {}
    for path, problem in islice(_each_element(json), MAX_FAULTS):
        found.setdefault(path, []).append(problem)
    return found


def _each_element(json: Json) -> Iterator[tuple[Path, SpecError]]:
    """The same, one after the other with the whole path to them."""
    if json.declared is Tree:
        nodes = _below(json.regions, ("nodes",))
        if nodes is not None:
            yield from _of_nodes(_members(nodes.regions()))
    elif json.declared is IndexFile:
        for name in ("packs", "packs_to_delete"):
            packs = _below(json.regions, (name,))
            if packs is not None:
                yield from _of_packs(_members(packs.regions()))
        yield from _of_packs(part for part in _members(json.regions()) if isinstance(part.path[0], int))


def _of_nodes(members: Iterator[Member]) -> Iterator[tuple[Path, SpecError]]:
    previous: list[Node] = []
    for member in members:
        try:
            node = decode_node(bytes(member.raw))
            nodes, previous = [*previous, node], [node]
            for _ in check_order(nodes):
                pass
        except SpecError as error:
            yield _place(member.regions, member.path, error, Node), error
            if error.clause != "TREE-4":
                previous = []


def _of_packs(members: Iterator[Member]) -> Iterator[tuple[Path, SpecError]]:
    for member in members:
        try:
            decode_pack(msgspec.Raw(bytes(member.raw)))
        except SpecError as error:
            blobs = _below(member.regions, ("blobs",))
            found = False
            if blobs is not None and _AT.search(error.what) is None:
                for fault in _of_blobs(_members(blobs.regions())):
                    found = True
                    yield fault
            if not found:
                yield _place(member.regions, member.path, error, IndexPack), error


def _of_blobs(members: Iterator[Member]) -> Iterator[tuple[Path, SpecError]]:
    for member in members:
        try:
            blob: IndexBlob = wire.decode_known(_blob_decoder, bytes(member.raw), "", "INDEX-1")
            check_pack(IndexPack("0" * HEX_SIZE, [blob]))
        except SpecError as error:
            yield _place(member.regions, member.path, error, IndexBlob), error


def _members(regions: Iterator[Region]) -> Iterator[Member]:
    from restic_spec.members import Member

    return (region for region in regions if isinstance(region, Member))


def _below(regions: Callable[[], Iterator[Region]], steps: Path) -> Member | None:
    """The member that *steps* lead to from what has *regions*."""
    here: Member | None = None
    for step in steps:
        here = next((part for part in _members(regions()) if part.path[-1:] == (step,)), None)
        if here is None:
            return None
        regions = here.regions
    return here


def _place(regions: Callable[[], Iterator[Region]], path: Path, problem: SpecError, struct: Any) -> Path:
    """The path to the member that *problem* is about, in what has *regions* and is at *path*."""
    match = _AT.search(problem.what) if isinstance(problem, JsonInvalid) else None
    steps: Path = () if match is None else tuple(name or int(number) for name, number in _STEP.findall(match[1]))
    clause = "CONFIG-5" if isinstance(problem, PolynomialInvalid) else problem.clause
    name = member_with(struct, clause)
    named: Path = () if name is None else (name,)
    for wanted in (steps, (*named, *steps), named):
        reached = len(wanted)
        while reached and _below(regions, wanted[:reached]) is None:
            reached -= 1
        if reached:
            return path + wanted[:reached]
    return path


def _is_broken(region: Region) -> bool:
    """Whether the scan of a region says itself that something in it is no JSON."""
    from restic_spec.members import Between, Member

    if isinstance(region, Unexplained | Between | Member) and region.problem is not None:
        return True
    return any(_is_broken(part) for part in region.regions())
