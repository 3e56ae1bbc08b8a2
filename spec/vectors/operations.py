"""Carries out the operations of the test vectors with `restic_spec`; ``README.md`` describes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305
from vectors.generators.base import join

from restic_spec import (
    blob,
    chunker,
    config,
    crypto,
    galois,
    gojson,
    gomode,
    gotime,
    ids,
    index,
    keyfile,
    layout,
    lock,
    pack,
    parity,
    snapshot,
    solving,
    tree,
    unpacked,
    wire,
)
from restic_spec.boundaries import Boundaries

Json = dict[str, Any]

_KINDS = {
    "config": layout.FileKind.CONFIG,
    "key": layout.FileKind.KEY,
    "lock": layout.FileKind.LOCK,
    "snapshot": layout.FileKind.SNAPSHOT,
    "index": layout.FileKind.INDEX,
    "pack": layout.FileKind.PACK,
}


def _bytes(value: str | list[Any]) -> bytes:
    return bytes.fromhex(value) if isinstance(value, str) else join(value)


def _key(value: Json) -> crypto.MasterKey:
    return crypto.MasterKey(_bytes(value["encrypt"]), _bytes(value["k"]), _bytes(value["r"]))


def _key_json(key: crypto.MasterKey) -> Json:
    return {"encrypt": key.encrypt.hex(), "k": key.mac_k.hex(), "r": key.mac_r.hex()}


def _verify_id(given: Json) -> Json:
    ids.verify_id(_bytes(given["data"]), ids.parse_id(given["id"]), "vector")
    return {}


def _parse_id(given: Json) -> Json:
    return {"id": ids.parse_id(given["text"]).hex()}


def _path(given: Json) -> Json:
    return {"path": layout.path_of(_KINDS[given["kind"]], given["name"], layout.Layout(given["layout"]))}


def _seal(given: Json) -> Json:
    return {"sealed": crypto.seal(_key(given["key"]), _bytes(given["plaintext"]), _bytes(given["iv"])).hex()}


def _open(given: Json) -> Json:
    return {"plaintext": crypto.open_sealed(_key(given["key"]), _bytes(given["sealed"])).hex()}


def _mac(given: Json) -> Json:
    key = crypto.MasterKey(b"\1" * 32, _bytes(given["k"]), _bytes(given["r"]))
    return {"mac": Poly1305.generate_tag(crypto.poly1305_key(key, _bytes(given["iv"])), _bytes(given["ciphertext"])).hex()}


def _encrypt(given: Json) -> Json:
    encryptor = Cipher(algorithms.AES(_bytes(given["key"])), modes.CTR(_bytes(given["iv"]))).encryptor()
    plaintext = _bytes(given["plaintext"])
    key = crypto.MasterKey(_bytes(given["key"]), b"\1" * 16, b"\1" * 16)
    sealed = crypto.seal(key, plaintext, _bytes(given["iv"]))
    assert sealed[crypto.IV_SIZE : -crypto.MAC_SIZE] == encryptor.update(plaintext)
    return {"ciphertext": sealed[crypto.IV_SIZE : -crypto.MAC_SIZE].hex()}


def _derive(given: Json) -> Json:
    kdf = keyfile.Kdf(given["N"], given["r"], given["p"], _bytes(given["salt"]))
    return {"key": _key_json(keyfile.derive(given["password"].encode(), kdf))}


def _unwrap(given: Json) -> Json:
    raw = given["keyfile"].encode()
    parsed = keyfile.decode_keyfile(raw)
    return {"key": _key_json(keyfile.unwrap(parsed, given["password"].encode()))}


def _decode_config(given: Json) -> Json:
    parsed = config.decode_config(_bytes(given["plaintext"]))
    again = config.decode_config(config.encode_config(parsed))
    assert (again, again.extra.keys()) == (parsed, parsed.extra.keys())
    return {"version": parsed.version, "id": parsed.id, "polynomial": f"{parsed.polynomial:x}"}


def _decode_unpacked(given: Json) -> Json:
    document = unpacked.decode_unpacked(given["version"], _bytes(given["plaintext"]))
    wire.decode(wire.Document, document, "vector", "FILE-8")
    return {"document": document.hex()}


def _entry_json(entry: pack.PackEntry) -> Json:
    return {**entry._asdict(), "type": entry.type.value, "id": entry.id.hex()}


def _read_pack(given: Json) -> Json:
    raw = _bytes(given["pack"])
    length = pack.header_length(raw[-pack.LENGTH_SIZE :], len(raw))
    header = crypto.open_sealed(_key(given["key"]), raw[-pack.LENGTH_SIZE - length : -pack.LENGTH_SIZE])
    entries = pack.decode_header(header, given["version"])
    pack.check_layout(entries, length, len(raw))
    assert pack.encode_header(entries) == header
    return {"entries": list(map(_entry_json, entries))}


def _open_blob(given: Json) -> Json:
    fields = given["entry"]
    entry = pack.PackEntry(**{**fields, "type": pack.BlobType(fields["type"]), "id": _bytes(fields["id"])})
    return {"plaintext": blob.open_blob(_key(given["key"]), entry, _bytes(given["sealed"])).hex()}


def _decode_index(given: Json) -> Json:
    raw = _bytes(given["plaintext"])
    parsed = index.decode_index(raw)
    blobs = [{"pack": listed.id, **_entry_json(entry)} for listed in parsed.all_packs() for entry in index.entries_of(listed)]
    return {"blobs": blobs, "canonical": index.encode_index(parsed) == raw}


def _decode_tree(given: Json) -> Json:
    raw = _bytes(given["plaintext"])
    parsed = tree.decode_tree(raw, keep_unknown=True)
    tree.validate_tree(parsed)
    names = [node.name_bytes.hex() for node in parsed]
    again = tree.encode_tree(parsed)
    assert [node.name_bytes.hex() for node in tree.decode_tree(again)] == names
    targets = [node.target for node in parsed]
    return {"id": ids.id_of(raw).hex(), "names": names, "canonical": again == raw, "targets": targets}


def _decode_snapshot(given: Json) -> Json:
    raw = _bytes(given["plaintext"])
    parsed = snapshot.decode_snapshot(raw)
    again = snapshot.encode_snapshot(parsed)
    # Another order of members is all that rewriting may change.
    assert msgspec.json.decode(again) == {**msgspec.json.decode(again), **_filled(msgspec.json.decode(raw))}
    assert isinstance(parsed.time_ns, int)
    return {"time": parsed.time, "tree": parsed.tree, "paths": parsed.path_list(), "canonical": again == raw}


def _filled(document: Json) -> Json:
    return {name: value for name, value in document.items() if value not in ("", 0, [])}


def _decode_lock(given: Json) -> Json:
    raw = _bytes(given["plaintext"])
    parsed = lock.decode_lock(raw)
    return {"exclusive": parsed.exclusive, "pid": parsed.pid, "canonical": lock.encode_lock(parsed) == raw}


def _check_polynomial(given: Json) -> Json:
    chunker.check_polynomial(int(given["polynomial"], 16))
    return {}


def _fingerprint(given: Json) -> Json:
    return {"fingerprint": f"{chunker.fingerprint(_bytes(given['window']), int(given['polynomial'], 16)):x}"}


def _tables(given: Json) -> Json:
    out, mod = chunker.tables(int(given["polynomial"], 16))
    return {"out": f"{out[given['byte']]:x}", "mod": f"{mod[given['byte']]:x}"}


def _cuts(given: Json) -> Json:
    return {"lengths": [len(chunk) for chunk in chunker.chunks(_bytes(given["data"]), int(given["polynomial"], 16))]}


def _find_polynomials(given: Json) -> Json:
    found = Boundaries(_bytes(window) for window in given["windows"])
    return {"left": found.left, "polynomials": [f"{polynomial:x}" for polynomial in found.polynomials()]}


def _encode_string(given: Json) -> Json:
    return {"json": gojson.encode(gojson.to_text(_bytes(given["bytes"]))).hex()}


def _encode_float(given: Json) -> Json:
    return {"json": bytes(gojson.go_float(float(given["value"]))).hex()}


def _quote(given: Json) -> Json:
    quoted = gojson.quote(gojson.to_text(_bytes(given["name"])))
    assert gojson.to_bytes(gojson.unquote(quoted)) == _bytes(given["name"])
    return {"quoted": quoted.encode().hex()}


def _unquote(given: Json) -> Json:
    return {"name": gojson.to_bytes(gojson.unquote(_bytes(given["quoted"]).decode())).hex()}


def _format_time(given: Json) -> Json:
    return {"text": gotime.format_ns(int(given["ns"]), given["offset"])}


def _parse_time(given: Json) -> Json:
    ns, offset = gotime.parse(given["text"])
    return {"ns": str(ns), "offset": offset}


def _mode(given: Json) -> Json:
    return {"mode": gomode.from_st_mode(given["st_mode"])}


def _polynomial(given: Json) -> Json:
    r = int.from_bytes(crypto.clamp(_bytes(given["r"])), "little")
    return {"value": f"{solving.polynomial(r, _bytes(given['ciphertext'])):x}"}


def _lost_iv(given: Json) -> Json:
    key = _key(given["key"])
    value = solving.polynomial(solving.multiplier(key), _bytes(given["ciphertext"]))
    return {"iv": solving.lost_iv(key, value, _bytes(given["tag"])).hex()}


def _damaged(given: Json) -> tuple[int, bytes, tuple[int, ...]]:
    """Multiplier, ciphertext and differences of a damaged message."""
    key, sealed = _key(given["key"]), _bytes(given["sealed"])
    r, ciphertext = solving.multiplier(key), sealed[crypto.IV_SIZE : -crypto.MAC_SIZE]
    pad = solving.pad(key, sealed[: crypto.IV_SIZE])
    return r, ciphertext, solving.differences(solving.polynomial(r, ciphertext), sealed[-crypto.MAC_SIZE :], pad)


def _candidates(found: Iterable[solving.Candidate]) -> Json:
    return {"candidates": [{"start": start, "content": content.hex()} for start, content in sorted(found)]}


def _solve_block(given: Json) -> Json:
    return _candidates(solving.block_candidates(*_damaged(given), spans=tuple(given["spans"])))


def _solve_border(given: Json) -> Json:
    return _candidates(solving.border_candidates(*_damaged(given), given["before"], spans=tuple(given["spans"])))


def _solve_bits(given: Json) -> Json:
    return {"pairs": [list(pair) for pair in sorted(solving.bit_pairs(*_damaged(given)))]}


_KIND_NAMES = {kind: name for name, kind in _KINDS.items()}


def _multiply(given: Json) -> Json:
    return {"product": galois.product(given["left"], given["right"])}


def _parity_file(given: Json) -> Json:
    contents = [(_KINDS[member["kind"]], _bytes(member["content"])) for member in given["members"]]
    described, data = parity.describe(given["block_size"], given["stripes"], given["rows"], contents)
    blocks = parity.parity_of(described, data)
    return {
        "description": parity.encode_description(described).hex(),
        "blocks": [block.hex() for block in blocks],
        "file": ids.id_of(b"".join(parity.parity_file(described, iter(blocks)))).hex(),
    }


def _members_json(members: tuple[parity.Member, ...]) -> list[Json]:
    return [{"kind": _KIND_NAMES[member.kind], "id": member.id.hex(), "size": member.size} for member in members]


def _decode_description(given: Json) -> Json:
    found = parity.decode_description(_bytes(given["description"]))
    return {
        "block_size": found.block_size,
        "stripes": found.stripes,
        "columns": found.columns,
        "rows": found.rows,
        "members": _members_json(found.members),
        "blocks": found.blocks,
    }


def _read_parity_file(given: Json) -> Json:
    groups = [
        {"group": group.id.hex(), "members": _members_json(group.description.members), "blocks": sorted(group.blocks)}
        for group in parity.read_parity_file(_bytes(given["file"]))
    ]
    return {"groups": groups}


def _recover_columns(given: Json) -> Json:
    known = [None if column is None else _bytes(column) for column in given["known"]]
    rows = [(row["row"], _bytes(row["data"])) for row in given["parity"]]
    return {"lost": [column.hex() for column in galois.solve(given["columns"], known, rows)]}


OPERATIONS: dict[str, Callable[[Json], Json]] = {
    "verify-id": _verify_id,
    "parse-id": _parse_id,
    "path": _path,
    "seal": _seal,
    "open": _open,
    "mac": _mac,
    "encrypt": _encrypt,
    "derive": _derive,
    "unwrap": _unwrap,
    "decode-config": _decode_config,
    "decode-unpacked": _decode_unpacked,
    "read-pack": _read_pack,
    "open-blob": _open_blob,
    "decode-index": _decode_index,
    "decode-tree": _decode_tree,
    "decode-snapshot": _decode_snapshot,
    "decode-lock": _decode_lock,
    "check-polynomial": _check_polynomial,
    "fingerprint": _fingerprint,
    "tables": _tables,
    "cuts": _cuts,
    "find-polynomials": _find_polynomials,
    "encode-string": _encode_string,
    "encode-float": _encode_float,
    "quote": _quote,
    "unquote": _unquote,
    "format-time": _format_time,
    "parse-time": _parse_time,
    "mode": _mode,
    "polynomial": _polynomial,
    "lost-iv": _lost_iv,
    "solve-block": _solve_block,
    "solve-border": _solve_border,
    "solve-bits": _solve_bits,
    "multiply": _multiply,
    "parity-file": _parity_file,
    "decode-description": _decode_description,
    "read-parity-file": _read_parity_file,
    "recover-columns": _recover_columns,
}
