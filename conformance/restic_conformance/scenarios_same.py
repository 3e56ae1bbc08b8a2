"""The strongest scenarios: not only readable, but the same bytes: equal tree ids and equal JSON."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from restic_conformance import trees
from restic_conformance.programs import HOST, PASSWORD, REFERENCE, Mismatch, Program, Run
from restic_conformance.scenarios import Scenario
from restic_conformance.vault import quicken
from restic_conformance.workspace import NO_LOCK, SOURCE, Workspace


def same_tree(version: int, w: Workspace, writer: Program, reader: Program) -> None:
    """The same source cut with the same polynomial: the root trees are one and the same blob."""
    first = w.repository(writer, version)
    second = _with_same_polynomial(w, reader, first, version)
    for name in trees.TREES:
        _same_tree_of(w, writer, reader, (first, second), name)
    _same_tree_of(w, writer, reader, (first, second), _around_cuts(w, writer, first))


def _with_same_polynomial(w: Workspace, reader: Program, first: Path, version: int) -> Path:
    """An empty repository by ``reader`` whose chunker parameters are copied from ``first``."""
    second = w.fresh_repository()
    password = w.fresh("password")
    password.write_text(PASSWORD)
    reader.run(
        second, "init", "--repository-version", str(version), "--copy-chunker-params",
        "--from-repo" if reader.version >= (0, 14) else "--repo2", str(first), "--from-password-file", str(password),
    ).expect(0)  # fmt: skip
    quicken(second, PASSWORD)
    polynomials = [
        w.reference.run(repository, "cat", "config", *NO_LOCK).expect(0).json()["chunker_polynomial"]
        for repository in (first, second)
    ]
    if polynomials[0] != polynomials[1]:
        raise Mismatch(f"{reader.name} init --copy-chunker-params took {polynomials[1]}, not {polynomials[0]}")
    return second


def _same_tree_of(w: Workspace, writer: Program, reader: Program, repositories: tuple[Path, Path], name: str) -> None:
    found = []
    for program, repository in zip((writer, reader), repositories, strict=True):
        w.backup(program, repository, name)
        found.append(w.snapshot(repository, name)["tree"])
    if found[0] != found[1]:
        reason = _first_difference(w, repositories, (found[0], found[1]), "/")
        config = w.reference.run(repositories[0], "cat", "config", *NO_LOCK).json()
        reason += f" (polynomial {config['chunker_polynomial']})"
        raise Mismatch(f"tree {name}: {writer.name} {found[0][:8]}, {reader.name} {found[1][:8]}: {reason}")


def _nodes(w: Workspace, repository: Path, tree: str) -> list[dict[str, Any]]:
    raw = w.reference.run(repository, "cat", "blob", tree, "--no-lock").expect(0)
    nodes: list[dict[str, Any]] = raw.json()["nodes"] or []
    return nodes


def _first_difference(w: Workspace, repositories: tuple[Path, Path], ids: tuple[str, str], path: str) -> str:
    """Where two trees part: the path, and the node as each program wrote it."""
    left, right = (_nodes(w, repository, tree) for repository, tree in zip(repositories, ids, strict=True))
    for one, two in zip(left, right, strict=False):
        if one == two and json.dumps(one) == json.dumps(two):
            continue
        below = f"{path}{one.get('name')}"
        if {**one, "subtree": 0} == {**two, "subtree": 0} and one.get("subtree"):
            return _first_difference(w, repositories, (one["subtree"], two["subtree"]), below + "/")
        fields = {key: (one.get(key), two.get(key)) for key in {**one, **two} if one.get(key) != two.get(key)}
        if fields:
            return f"{below}: {fields}"
        return f"{below}: order of fields {list(one)} and {list(two)}"
    if len(left) != len(right):
        return f"{path}: {len(left)} and {len(right)} nodes"
    return f"{path}: the same nodes in other bytes"


def _around_cuts(w: Workspace, writer: Program, repository: Path) -> str:
    """Make a tree of files that end exactly at, before and after the cuts that the polynomial puts into some data.

    Returns the tree's name. The cuts are taken from what ``writer`` stored.
    """
    data = trees.noise(9 * trees.MIB, 4711)  # more than the maximum, so there is a cut in any case
    name = f"probe-{repository.name}"
    w.source(name, lambda b: _write(b, {"probe": data}))
    w.backup(writer, repository, name)
    root = _nodes(w, repository, w.snapshot(repository, name)["tree"])
    (probe,) = _nodes(w, repository, root[0]["subtree"])
    cuts, position = [], 0
    for blob in probe["content"][:-1]:
        position += len(w.reference.run_bytes(repository, "cat", "blob", blob, "--no-lock"))
        cuts.append(position)
    if not cuts:
        raise Mismatch(f"{writer.name} stored {len(data)} bytes of noise as one chunk")
    files = {f"cut-{cut}{step:+d}": data[: cut + step] for cut in cuts[:3] for step in (-1, 0, 1, 64)}
    tree = f"cuts-{repository.name}"
    w.source(tree, lambda b: _write(b, files))
    return tree


def _write(b: trees.Builder, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        b.file(name, content)
    b.settle()


VOLATILE = frozenset(
    {
        "id", "short_id", "snapshot_id", "time", "original", "parent", "program_version", "total_duration",
        "backup_start", "backup_end", "data_added_packed", "repository", "seconds_elapsed", "seconds_remaining",
        "created", "userName", "hostName", "pid", "username", "hostname", "target",
    }
)  # fmt: skip
"""Fields that differ from run to run, or say who ran it: their presence counts, their value does not."""


def normal(value: Any) -> Any:
    """JSON (objects as lists of pairs, so that the order counts) without what differs from run to run."""
    if isinstance(value, list):
        return [
            (one[0], "…" if one[0] in VOLATILE else normal(one[1]))
            if isinstance(one, tuple) and len(one) == 2 and isinstance(one[0], str)
            else normal(one)
            for one in value
        ]
    return value


def _documents(text: str) -> list[Any]:
    """Every line of JSON in order; status lines left out, they depend on speed."""
    documents = []
    for line in text.splitlines():
        if line.strip() and '"message_type":"status"' not in line:
            try:
                documents.append(normal(json.loads(line, object_pairs_hook=list, parse_float=lambda text: f"float {text}")))
            except ValueError:
                documents.append(line)
    return documents


def _same_answer(pair: Iterable[Run], whole: bool = False) -> None:
    one, two = pair
    if one.code != two.code:
        raise Mismatch(f"{two.say()}: exit code {two.code}, expected {one.code}: {two.stderr[-300:]}")
    if whole:
        left, right = [one.stdout], [two.stdout]
    else:
        left, right = _documents(one.stdout), _documents(two.stdout)
    if left != right:
        raise Mismatch(f"{two.say()}: {_where(left, right)}")


def _where(left: Any, right: Any, path: str = "") -> str:
    """The first place where two normal values part."""
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        for number, (one, two) in enumerate(zip(left, right, strict=False)):
            if one != two:
                label = one[0] if isinstance(one, tuple) and isinstance(one[0], str) else number
                return _where(one, two, f"{path}/{label}")
        return f"{path}: {len(left)} and {len(right)} entries: {str(left)[:300]} and {str(right)[:300]}"
    return f"{path}: expected {str(left)[:300]!r}, found {str(right)[:300]!r}"


READING: tuple[tuple[str, ...], ...] = (
    ("snapshots", "--json"),
    ("snapshots", "--json", "--latest", "1"),
    ("snapshots", "--json", "--group-by", "host,tags"),
    ("ls", "--json", "latest"),
    ("ls", "latest"),
    ("ls", "--long", "latest"),
    ("ls", "--json", "--recursive", "latest", "/source/a"),
    ("list", "snapshots"),
    ("list", "packs"),
    ("list", "index"),
    ("list", "keys"),
    ("cat", "config"),
    ("cat", "masterkey"),
    ("cat", "snapshot", "SNAPSHOT"),
    ("cat", "tree", "SNAPSHOT"),
    ("cat", "tree", "SNAPSHOT:source/a"),
    ("cat", "index", "INDEX"),
    ("cat", "key", "KEY"),
    ("key", "list", "--json"),
    ("check", "--json"),
    ("check", "--json", "--read-data"),
)
"""Commands that change nothing: run on one and the same repository."""


def same_json(w: Workspace, writer: Program, reader: Program) -> None:
    """Every answer in JSON (and the plain lists that scripts read) has the same fields, order and values."""
    repository = w.repository(writer, 2)
    for name in ("nested", "metadata"):
        w.backup(writer, repository, name)
    w.backup(writer, repository, "nested", "--tag", "second", "--time", "2020-01-02 03:04:05")
    names = {folder: sorted(os.listdir(repository / folder))[0] for folder in ("index", "keys")}
    words = {"INDEX": names["index"], "KEY": names["keys"], "SNAPSHOT": w.snapshot(repository, "metadata")["id"]}
    for command in READING:
        arguments = [_substitute(word, words) for word in command]
        one, two = (program.run(repository, *arguments, *NO_LOCK) for program in (writer, reader))
        if command[0] == "list":
            one, two = (replace(run, stdout="\n".join(sorted(run.stdout.splitlines()))) for run in (one, two))
        if "--group-by" in command:
            # restic lists groups in an order that changes from run to run.
            one, two = (_with_sorted_groups(run) for run in (one, two))
        _same_answer((one, two), whole="--json" not in command)


def _with_sorted_groups(run: Run) -> Run:
    groups = sorted(run.json(), key=lambda group: json.dumps(group["group_key"]))
    return replace(run, stdout=json.dumps(groups))


def _substitute(word: str, words: dict[str, str]) -> str:
    for name, value in words.items():
        word = word.replace(name, value)
    return word


def same_json_writing(w: Workspace, writer: Program, reader: Program) -> None:
    """``init``, ``backup`` and ``restore`` with ``--json``, and the errors, on copies of one repository."""
    base = w.repository(writer, 2)
    cwd = w.source("nested")
    copies = [w.copy(base), w.copy(base)]
    _same_answer(p.run(w.fresh_repository(), "init", "--json") for p in (writer, reader))
    commands: tuple[tuple[str, ...], ...] = (
        ("backup", "--json", "--host", HOST, SOURCE),
        ("backup", "--json", "--host", HOST, SOURCE),
        ("backup", "--json", "--host", HOST, "--dry-run", "--force", SOURCE),
        ("backup", "--json", "--host", HOST, "--skip-if-unchanged", SOURCE),
        ("backup", "--json", "--host", HOST, "--tag", "t", "--exclude", "many", SOURCE),
    )
    for command in commands:
        _same_answer((p.run(copy, *command, cwd=cwd) for p, copy in zip((writer, reader), copies, strict=True)))
    verbose = [
        p.run(copy, "backup", "--json", "-vv", "--host", HOST, "--force", SOURCE, cwd=cwd)
        for p, copy in zip((writer, reader), copies, strict=True)
    ]
    _same_answer(Run(r.command, r.code, "\n".join(sorted(_untimed(r.stdout))), r.stderr) for r in verbose)
    for arguments in (("restore", "latest", "--json"), ("restore", "latest:source", "--json", "--dry-run")):
        targets = [w.fresh("out"), w.fresh("out")]
        _same_answer(
            (
                p.run(copies[0], *arguments, *NO_LOCK, "--target", str(target))
                for p, target in zip((writer, reader), targets, strict=True)
            )
        )
        for target in targets:
            shutil.rmtree(target, ignore_errors=True)
    for failing in (("snapshots", "--json"), ("check", "--json"), ("ls", "--json", "latest")):
        one, two = (p.run(base, *failing, password="wrong") for p in (writer, reader))
        _same_answer(Run(r.command, r.code, r.stderr, "") for r in (one, two))


def _untimed(text: str) -> list[str]:
    """Lines of verbose backup output without durations and with the summary left out; threads mix their order."""
    lines = []
    for line in text.splitlines():
        if '"verbose_status"' in line:
            message = json.loads(line)
            message["duration"] = 0
            message["metadata_size_in_repo"] = message["data_size_in_repo"] = 0
            lines.append(json.dumps(message))
    return lines


def _current(writer: Program, reader: Program) -> bool:
    """Whether both write trees and JSON as restic 0.19 does."""
    return all(program.takes_locks and program.version >= (0, 19) for program in (writer, reader))


SAME = [
    Scenario(
        f"same-tree-v{version}", f"equal tree ids, format {version}", partial(same_tree, version), _current,
        fast=(REFERENCE,) if version == 2 else (), one_way=True,
    )
    for version in (1, 2)
] + [
    Scenario("same-json", "equal JSON when reading", same_json, _current, fast=(REFERENCE,), one_way=True),
    Scenario(
        "same-json-writing", "equal JSON when writing", same_json_writing, _current, fast=(REFERENCE,), one_way=True,
    ),
]  # fmt: skip
