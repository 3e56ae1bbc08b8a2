"""The native part that writes and compares nodes does what the plain path does, or leaves it to that."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restic_format.backup.nodes import NodeBuilder, encode_node, file_changed, join_nodes, quote_in_json
from restic_format.backup.parent import DecodedDirectory, ParentDirectory, ParsedDirectory, open_directory
from restic_format.backup.source import Place
from restic_format.errors import ResticFormatError
from restic_format.native import nodes
from restic_format.native.nodes import NodeWriter, Stat, directories, look_at, parse_tree, read_files, small_files, survey
from restic_spec import gojson
from restic_spec.tree import ExtendedAttribute, Node, decode_tree, encode_tree
from tests.backup.sources import ODD_NAMES

U32 = st.integers(0, (1 << 32) - 1)
U64 = st.integers(0, (1 << 64) - 1)
SECONDS = st.integers(-62135596800, 253402214400) | st.integers(-(1 << 62), 1 << 62) | st.integers(-5, 5)
FRACTIONS = st.integers(0, 999_999_999) | st.sampled_from([0, 1, 10, 500_000_000, 120_000])
TIMES = st.builds(lambda seconds, fraction: seconds * 1_000_000_000 + fraction, SECONDS, FRACTIONS)
ATTRIBUTES = st.lists(st.tuples(st.sampled_from(["security.selinux", "user.x", "user.<"]), st.binary(max_size=8)), max_size=3)


def files(kind: int = stat.S_IFREG) -> st.SearchStrategy[SimpleNamespace]:
    return st.builds(
        SimpleNamespace,
        st_mode=st.integers(0, 0o7777).map(lambda mode: mode | kind),
        st_size=st.integers(0, (1 << 63) - 1),
        st_mtime_ns=TIMES,
        st_ctime_ns=TIMES,
        st_atime_ns=TIMES,
        st_ino=U64,
        st_dev=U64,
        st_rdev=st.just(0),
        st_nlink=st.integers(0, 3),
        st_uid=U32 | st.just(0),
        st_gid=U32 | st.just(0),
        attributes=ATTRIBUTES.map(as_json),
    )


def as_json(attributes: list[tuple[str, bytes]]) -> bytes:
    """Attributes as the native form gives them."""
    if not attributes:
        return b""
    return gojson.escape_html(msgspec.json.encode([ExtendedAttribute(name, value) for name, value in attributes]))


FILES = files()
NAMES = st.binary(min_size=1, max_size=20) | st.text(min_size=1, max_size=20).map(lambda text: text.encode("utf-8", "replace"))
IDS = st.lists(st.binary(min_size=32, max_size=32), max_size=3)


def refuse(path: bytes, error: Exception) -> None:
    raise AssertionError((path, error))


def writer_of(builder: NodeBuilder) -> NodeWriter:
    assert builder.writer is not None
    return builder.writer


def plainly(builder: NodeBuilder, name: bytes, info: SimpleNamespace, ids: list[bytes]) -> Node:
    node = builder.build(name, info, Place.of_target(b"/none"), refuse)
    node.content = [blob.hex() for blob in ids]
    return node


def ordinary(*times: int) -> bool:
    """Whether the native form must be able to write these times, wherever we are."""
    return all(-62135596800 + 86400 < time // 1_000_000_000 < 253402214400 for time in times)


@given(st.lists(st.tuples(NAMES, FILES, IDS), max_size=5), st.booleans(), st.booleans())
def test_files_are_written_as_the_builder_builds_them(
    files: list[tuple[bytes, SimpleNamespace, list[bytes]]], with_atime: bool, hardlinks: bool
) -> None:
    builder = NodeBuilder(with_atime=with_atime, device_id_for_hardlinks=hardlinks)
    written = builder.writer.write(
        [name for name, _, _ in files],
        [Stat.of(info, info.attributes) for _, info, _ in files],
        [info.st_size for _, info, _ in files],
        [b"".join(ids) for _, _, ids in files],
    )
    for (name, info, ids), node in zip(files, written, strict=True):
        if node is not None:
            assert node == encode_node(plainly(builder, name, info, ids))
        else:
            assert not ordinary(info.st_mtime_ns, info.st_ctime_ns, info.st_atime_ns)


@pytest.mark.parametrize("name", ODD_NAMES, ids=repr)
def test_odd_names(name: bytes) -> None:
    assert b'{"name":"' + quote_in_json(name) + b'"' == encode_node(Node(gojson.quote(gojson.to_text(name)), "file"))[:-15]


TARGETS = st.binary(min_size=1).filter(lambda target: b"\0" not in target) | st.text('<a&"\\\u2028ü\n', min_size=1).map(
    str.encode
)


@given(st.dictionaries(NAMES, st.tuples(files(stat.S_IFLNK), TARGETS), max_size=5), st.booleans(), st.booleans())
def test_symlinks_are_written_as_the_builder_builds_them(
    links: dict[bytes, tuple[SimpleNamespace, bytes]], with_atime: bool, hardlinks: bool
) -> None:
    builder = NodeBuilder(with_atime=with_atime, device_id_for_hardlinks=hardlinks)
    names = sorted(links)
    infos = [Stat.of(info, info.attributes, target) for info, target in links.values()]
    taken = writer_of(builder).take_over(list(links), infos, None)
    written: dict[bytes, bytes] = {}
    for first, end, text, size, count in taken.runs():
        nodes = msgspec.json.decode(b"[" + text + b"]", type=list[msgspec.Raw])
        assert (len(nodes), size, count) == (end - first, 0, end - first)
        written.update(zip(list(links)[first:end], map(bytes, nodes), strict=True))
    for name in names:
        info, target = links[name]
        if name not in written:
            assert not ordinary(info.st_mtime_ns, info.st_ctime_ns, info.st_atime_ns)
            continue
        with mock.patch("os.readlink", return_value=target):
            assert written[name] == encode_node(builder.build(name, info, Place.of_target(b"/none"), refuse))
    assert taken.ids() == b""


def test_attributes_and_targets_are_those_of_the_file(tmp_path: Path) -> None:
    values = {"user.empty": b"", "user.z": b"\0\xff", "user.a": b"12", "user.b": b"1", "user.longest": b"v" * 1024}
    for name in ("several", "long", "unusual", "crowded"):
        (tmp_path / name).touch()
    for name, value in values.items():
        os.setxattr(tmp_path / "several", name, value)
    os.setxattr(tmp_path / "long", "user.long", b"v" * 1025)
    os.setxattr(tmp_path / "unusual", "user.<", b"1")
    for number in range(20):
        os.setxattr(tmp_path / "crowded", f"user.{'n' * 60}{number}", b"")
    targets = [b"several", b"\xff<\n", b"t" * 1023, b"t" * 1024]
    for number, target in enumerate(targets):
        os.symlink(target, os.fsencode(tmp_path) + b"/%d" % number)
    folder = os.fsencode(tmp_path) + b"/"
    several, *others, file = look_at(followed(folder), [b"several", b"long", b"unusual", b"crowded", b"0"], 2)
    assert several is not None and several.attributes is not None
    listed = [ExtendedAttribute(name, values[name]) for name in os.listxattr(tmp_path / "several")]
    assert several.attributes == msgspec.json.encode(listed)
    # What is long or needs escapes is left to the builder.
    assert [info.attributes if info else b"gone" for info in others] == [None, None, None]
    links = look_at(followed(folder), [b"%d" % number for number in range(4)], 1)
    assert [info.target if info else b"gone" for info in links] == [*targets[:3], None]
    assert file is not None and file.attributes == b"" and several.target is None
    # The builder takes what is known, and asks otherwise.
    builder = NodeBuilder()
    for name in (b"several", b"long", b"unusual", b"crowded"):
        [looked] = look_at(followed(folder), [name], 2)
        assert looked is not None
        place = Place.of_target(folder + name)
        assert builder.build(name, looked, place, refuse) == builder.build(name, os.lstat(folder + name), place, refuse)


def test_others_than_files_and_symlinks_are_left_to_the_builder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "attributes").touch()
    os.setxattr(tmp_path / "attributes", "user.x", b"y")
    (tmp_path / "long").touch()
    os.setxattr(tmp_path / "long", "user.x", b"y" * 2000)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("file")
    names = [b"attributes", b"fifo", b"file", b"gone", b"link", b"long"]
    infos = look_at(followed(os.fsencode(tmp_path) + b"/"), names, 2)
    writer = writer_of(NodeBuilder())
    written = writer.write(names, infos, [0] * 6, [b""] * 6)
    assert [node is not None for node in written] == [True, False, True, False, False, False]
    assert infos[3] is None
    taken = writer.take_over(names, infos, None)
    assert [taken[number] for number in range(6)] == [False, False, False, False, True, False]
    # Without having asked nobody knows whether there are attributes.
    assert writer.write([b"file"], look_at(followed(os.fsencode(tmp_path) + b"/"), [b"file"], 0), [0], [b""]) == [None]


def followed(path: bytes) -> tuple[bytes, int]:
    """A directory, symlinks followed in all of its path."""
    return path, len(path)


@pytest.mark.parametrize("openat2", [True, False], ids=["in one call", "step by step"])
@pytest.mark.parametrize("trusted", ["", "/", "all"])
def test_looking_is_lstat(trusted: str, openat2: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"four")
    (tmp_path / "link").symlink_to("file")
    os.utime(tmp_path / "file", ns=(-1_500_000_000, -1))
    folder = os.fsencode(tmp_path) + b"/"
    names = [b"file", b"link", b"", b"x" * 300]
    monkeypatch.chdir("/")
    lstats = [os.lstat(folder + name) for name in names[:2]]  # looking reads the symlink, which sets its access time
    length = len(folder) if trusted == "all" else len(trusted)
    nodes.may_use_openat2(openat2)
    try:
        found = look_at((folder if trusted else folder[1:], length), names, 2)
        assert look_at((folder + b"nothing/", length), [b"file"], 2) == [None]
        assert look_at((folder + b"x" * 300 + b"/", length), [b"file"], 2) == [None]
    finally:
        nodes.may_use_openat2(True)
    assert found[2:] == [None, None]
    for expected, info in zip(lstats, found, strict=False):
        fields = [field for field in dir(Stat) if field.startswith("st_")]
        assert len(fields) == 11
        assert [getattr(info, field) for field in fields] == [getattr(expected, field) for field in fields]
        assert info is not None and info.attributes == b""
    for wrong in ((b"/" * 5000, 5000), (b"/" * 5000, 1), (b"/", 2)):
        assert look_at(wrong, [b"file"], 2) == [None]
    with pytest.raises(ValueError, match="zero"):
        look_at((b"/\0/", 1), [b"file"], 2)


@pytest.mark.parametrize("openat2", [True, False], ids=["in one call", "step by step"])
def test_no_symlink_is_followed_below_a_target(openat2: bool, tmp_path: Path) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "real" / "deep" / "secret").write_bytes(b"content")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real" / "other").symlink_to("deep")
    root = os.fsencode(tmp_path) + b"/"
    buffer = memoryview(bytearray(1000))
    nodes.may_use_openat2(openat2)
    try:
        for path, length, reached in (
            (root + b"real/deep/", len(root), True),
            (root + b"real//./deep/", len(root), True),
            (root + b"link/deep/", len(root + b"link/"), True),
            (root + b"link/deep/", len(root), False),
            (root + b"real/other/", len(root), False),
            (root + b"real/other/", len(root + b"real/"), False),
            (root + b"real/other", len(root), False),
            (root + b"real/deep/secret/", len(root), False),
        ):
            folder = path, length
            assert (look_at(folder, [b"secret"], 2) != [None]) is reached, path
            infos, pieces, _ = read_files([(folder, [b"secret"])], buffer, 100)
            assert ((infos != [None]), bytes(pieces[0])) == (reached, b"content" if reached else b""), path
        assert survey((root + b"real/", len(root)), [b"other", b"deep"], 2, 9)[0] is None
        assert survey((root + b"link/", len(root)), [b"deep"], 2, 9) == [None]
        assert survey((root + b"link/", len(root + b"link/")), [b"deep"], 2, 9) != [None]
    finally:
        nodes.may_use_openat2(True)


# Trees of the parent

NODES = st.builds(
    Node,
    quoted=NAMES.map(lambda name: gojson.quote(gojson.to_text(name)))
    | st.sampled_from(["a", "b", "<", "\\x41", "\\q", "\\u00e9"]),
    type=st.sampled_from(["file", "dir", "symlink", "dev"]),
    mode=U32,
    mtime=st.just("2020-01-01T00:00:00Z") | st.none(),
    atime=st.just("2020-01-01T00:00:00Z"),
    ctime=st.just("2020-01-01T00:00:00.5+01:00"),
    uid=U32,
    gid=U32,
    user=st.sampled_from(["", "root", "a<b", "ü"]),
    inode=U64,
    size=st.integers(0, 1 << 62),
    linktarget=st.sampled_from(["", "x\n", "t"]),
    extended_attributes=st.none()
    | st.lists(st.builds(ExtendedAttribute, st.sampled_from(["user.a", "ü"]), st.none() | st.binary(max_size=4)), max_size=2),
    content=st.none() | IDS.map(lambda ids: [blob.hex() for blob in ids]),
    subtree=st.none() | st.sampled_from(["ab" * 32, "no id"]),
    error=st.sampled_from(["", "", "", "broken"]),
)
TREES = st.lists(NODES, max_size=5, unique_by=lambda node: node.quoted).map(
    lambda nodes: sorted(nodes, key=lambda node: gojson.to_bytes(node.quoted))
)


def opened(raw: bytes) -> ParentDirectory | None:
    try:
        return open_directory(raw, "tree")
    except ResticFormatError:
        return None


def twin(raw: bytes) -> DecodedDirectory | None:
    try:
        return DecodedDirectory(decode_tree(raw).nodes or [])
    except ResticFormatError:
        return None


def assert_same(raw: bytes, names: list[bytes]) -> None:
    one, other = opened(raw), twin(raw)
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert len(one) == len(other)
        for name in names:
            assert one.find(name) == other.find(name)


def names_in(nodes: list[Node]) -> list[bytes]:
    found = [b"missing", b"A", b"\xc3\xa9"]
    for node in nodes:
        try:
            found.append(node.name_bytes)
        except ResticFormatError:
            found.append(gojson.to_bytes(node.quoted))
    return found


@given(TREES)
def test_parents_are_read_as_the_specification_reads_them(nodes: list[Node]) -> None:
    assert_same(encode_tree(nodes), names_in(nodes))


@given(TREES, st.data())
def test_what_the_native_form_takes_the_specification_takes_too(nodes: list[Node], data: st.DataObject) -> None:
    raw = bytearray(encode_tree(nodes))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 2))] = data.draw(
            st.sampled_from([b"", b"0", b'"', b"\\", b",", b"}", b"]", b"\xff"])
        )
    if isinstance(opened(bytes(raw)), ParsedDirectory):
        assert_same(bytes(raw), names_in(nodes))


def test_ordinary_trees_are_taken_by_the_native_form() -> None:
    times = {
        "mtime": "2020-01-01T00:00:00Z",
        "atime": "2020-01-01T00:00:00Z",
        "ctime": "2020-01-01T00:00:00Z",
        "uid": 0,
        "gid": 0,
    }
    names = sorted(ODD_NAMES)
    raw = encode_tree([Node(gojson.quote(gojson.to_text(name)), "file", content=[], **times) for name in names])  # type: ignore[arg-type]
    directory = open_directory(raw, "tree")
    assert isinstance(directory, ParsedDirectory)
    for name in names:
        found = directory.find(name)
        assert found is not None and found.name_bytes == name
    assert isinstance(open_directory(b'{"nodes":[]}\n', "tree"), ParsedDirectory)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"b"', '"a"'),
        lambda text: text.replace('"name":"a"', '"name":"c"'),
        lambda text: text.replace('"inode":5', '"inode":18446744073709551616'),
        lambda text: text.replace('"inode":5', '"inode":05'),
        lambda text: text.replace('"inode":5', '"inode": 5'),
        lambda text: text.replace("abab", "ABab"),
        lambda text: text.replace("abab", "ab", 1),
        lambda text: text.replace('"type"', '"new":1,"type"'),
        lambda text: text.replace('"uid":1', '"uid":-1'),
        lambda text: text.replace('"name":"a"', '"name":"\\ud800"'),
        lambda text: text.replace('"name":"a"', '"name":"\\u0061"'),
        lambda text: text.replace("2020-02-29", "2021-02-29"),
        lambda text: text.replace("2024-02-29", "2024-00-29"),
        lambda text: text.replace("2028-02-29", "2028-02-29x"),
        lambda text: text.replace('"2024-02-29T01:02:03.5+01:00"', "5"),
        lambda text: text + " ",
        lambda text: text[:-2],
    ],
)
def test_unusual_trees_are_left_to_the_specification(change: Callable[[str], str]) -> None:
    times = [f"202{number}-02-29T01:02:03.5+01:00" for number in (0, 4, 8)]
    nodes = [Node(name, "file", 1, *times, 1, 1, inode=5, content=["ab" * 32]) for name in "ab"]
    text = encode_tree(nodes).decode()
    assert parse_tree(text.encode()) is not None
    assert change(text) != text
    assert not isinstance(opened(change(text).encode()), ParsedDirectory)


# Files that are as they were

CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "size": st.integers(0, 9),
        "inode": st.integers(0, 9),
        "mtime": st.sampled_from(["2020-01-01T00:00:00Z", "1970-01-01T00:00:00Z"]),
        "ctime": st.sampled_from(["2020-01-01T00:00:00Z", "1970-01-01T00:00:00Z"]),
        "type": st.just("symlink"),
        "content": st.just(None),
        "mode": st.just(5),
        "user": st.just("somebody"),
    },
)


@given(
    st.dictionaries(NAMES, st.tuples(FILES, IDS, st.none() | CHANGES), max_size=6), st.booleans(), st.booleans(), st.booleans()
)
def test_files_taken_over(
    files: dict[bytes, tuple[SimpleNamespace, list[bytes], dict[str, object] | None]],
    with_atime: bool,
    ignore_ctime: bool,
    ignore_inode: bool,
) -> None:
    builder = NodeBuilder(with_atime=with_atime)
    names = sorted(files)
    before: dict[bytes, Node] = {}
    for name in names:
        info, ids, change = files[name]
        if change is not None:
            node = before[name] = plainly(builder, name, info, ids)
            for key, value in change.items():
                setattr(node, key, value)
    directory = open_directory(join_nodes(encode_node(node) for node in before.values()), "tree")
    assert isinstance(directory, ParsedDirectory)
    infos = [Stat.of(files[name][0], files[name][0].attributes) for name in names]
    taken = writer_of(builder).take_over(names, infos, directory.tree, ignore_ctime, ignore_inode)
    wanted: dict[int, bytes] = {}
    for number, name in enumerate(names):
        info, ids, _ = files[name]
        if (
            name in before
            and before[name].content is not None
            and ordinary(info.st_mtime_ns, info.st_ctime_ns, info.st_atime_ns)
        ):
            times = builder.time_text(info.st_mtime_ns), builder.time_text(info.st_ctime_ns)
            if times != (before[name].mtime, before[name].ctime):
                # The same time in another zone is nothing for the native form.
                before[name].ctime = times[1] if ignore_ctime else before[name].ctime
            if times == (before[name].mtime, before[name].ctime) and not file_changed(
                info, *times, before[name], check_inode=not ignore_inode
            ):
                wanted[number] = encode_node(plainly(builder, name, info, ids))
                assert taken.ids(number, number + 1) == b"".join(ids)
    found: dict[int, bytes] = {}
    runs = taken.runs()
    for first, end, text, size, links in runs:
        nodes = msgspec.json.decode(b"[" + text + b"]", type=list[msgspec.Raw])
        assert len(nodes) == end - first and not links
        assert size == sum(files[name][0].st_size for name in names[first:end])
        found.update({first + number: bytes(node) for number, node in enumerate(nodes)})
    assert all(found[number] == node for number, node in wanted.items())
    assert {number for number in range(len(names)) if taken[number]} == set(found)
    for number in set(found) - set(wanted):
        times_of = files[names[number]][0]
        assert not ordinary(times_of.st_mtime_ns, times_of.st_ctime_ns, times_of.st_atime_ns)
    if found:
        dropped = min(found)
        taken.drop(dropped)
        assert sum(end - first for first, end, *_ in taken.runs()) == len(found) - 1
        assert not taken[dropped] and taken.ids(dropped, dropped + 1) == b""
    with pytest.raises(IndexError):
        taken[len(names)]


# Whole directories


def test_surveys_are_listing_and_looking(tmp_path: Path) -> None:
    root = os.fsencode(tmp_path)
    for number, name in enumerate(ODD_NAMES):
        (tmp_path / os.fsdecode(name)).write_bytes(b"x" * number)
    (tmp_path / "d").mkdir()
    (tmp_path / "link").symlink_to("d")
    folder = followed(root + b"/")
    full, empty, missing, link, file = survey(folder, [b".", b"d/", b"none", b"link", b"plain"], 2, 256)
    assert full is not None and full[2] is not None and empty is not None
    assert full[1] == sorted(map(os.fsencode, os.listdir(root)))
    assert [info.st_ino if info else 0 for info in full[2]] == [os.lstat(root + b"/" + name).st_ino for name in full[1]]
    assert full[0].st_ino == os.stat(root).st_ino and full[0].attributes == b""
    assert [full[1][number] for number in directories(full[2])] == [b"d"]
    assert empty[1:] == ([], [])
    assert missing is link is file is None
    [listed] = survey(folder, [b"."], 2, len(full[1]) - 1)
    assert listed is not None and listed[1:] == (full[1], None)
    with pytest.raises(ValueError, match="zero"):
        survey(folder, [b"a\0b"], 2, 1)
    os.setxattr(root, "user.x", b"y")
    [marked] = survey(folder, [b"."], 2, 0)
    assert marked is not None and marked[0].attributes == b'[{"name":"user.x","value":"eQ=="}]'


def test_reading_a_directory_leaves_its_access_time(tmp_path: Path) -> None:
    os.utime(tmp_path, ns=(10**18, 10**18))
    survey(followed(os.fsencode(tmp_path) + b"/"), [b"."], 2, 256)
    assert os.stat(tmp_path).st_atime_ns == 10**18


def test_stretches_of_small_files(tmp_path: Path) -> None:
    for number, size in enumerate([0, 5, 11, 3, 3, 3, 3]):
        (tmp_path / f"{number}").write_bytes(b"x" * size)
    (tmp_path / "7").mkdir()
    (tmp_path / "8").write_bytes(b"xx")
    infos = look_at(followed(os.fsencode(tmp_path) + b"/"), [b"%d" % number for number in range(10)], 0)
    assert small_files(infos, 10, 3, 100) == [(0, 2, 5), (3, 6, 9), (6, 7, 3), (8, 9, 2)]
    assert small_files(infos, 11, 100, 100) == [(0, 7, 28), (8, 9, 2)]
    assert small_files(infos, 11, 100, 6) == [(0, 3, 16), (3, 5, 6), (5, 7, 6), (8, 9, 2)]
    assert small_files([], 1, 1, 1) == small_files([None], 1, 1, 1) == []


def test_reading_files(tmp_path: Path) -> None:
    contents = [b"", b"a", b"text " * 1001, b"x" * 4096, b"x" * 4097, b"last"]
    for number, content in enumerate(contents):
        (tmp_path / str(number)).write_bytes(content)
    (tmp_path / "link").symlink_to("1")
    os.mkfifo(tmp_path / "pipe")
    os.setxattr(tmp_path / "5", "user.key", b"value")
    names = ["0", "1", "link", "2", "3", "4", "pipe", "missing", ".", "5"]
    buffer = memoryview(bytearray(8 << 10))
    folder = followed(os.fsencode(tmp_path) + b"/")
    groups = [(folder, [os.fsencode(name) for name in some]) for some in (names[:4], [], names[4:])]
    groups.insert(1, (followed(os.fsencode(tmp_path) + b"/none/"), [b"1"]))
    names.insert(4, "not there")
    infos, pieces, changed = read_files(groups, buffer, 5000)
    expected = dict(zip("012345", contents, strict=True))
    assert [name for name, info in zip(names, infos, strict=True) if info is None] == [
        *("link", "2", "not there", "4", "pipe", "missing", "."),
    ]
    assert [bytes(piece) for piece in pieces] == [expected[n] if i else b"" for n, i in zip(names, infos, strict=True)]
    assert [(info.st_ino, info.st_size, info.attributes) for info in infos if info is not None] == [
        (found.st_ino, found.st_size, b'[{"name":"user.key","value":"dmFsdWU="}]' if name == "5" else b"")
        for name in "0135"
        for found in [os.lstat(tmp_path / name)]
    ]
    assert changed == []
    with pytest.raises(TypeError):
        read_files([(folder, ["x"])], buffer, 5000)  # type: ignore[list-item]
    assert read_files([], buffer, 5000) == ([], [], [])


def test_many_tiny_entries_cost_less_than_their_text() -> None:
    code = (
        "from restic_format.native.nodes import parse_tree\n"
        "def peak(): return int(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0]) >> 10\n"
        'raw = b\'{"nodes":[\' + b",".join(b\'{"name":"%07d","type":"file"}\' % n for n in range(1000000)) + b"]}"\n'
        "open('/proc/self/clear_refs', 'w').write('5'); before = peak()\n"
        "tree = parse_tree(raw); print(tree.count(), peak() - before, len(raw) >> 20)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    count, taken, size = map(int, said.split())
    assert count == 1_000_000
    assert taken <= size


def test_trees_full_of_escapes_are_left_to_others() -> None:
    nodes = ",".join(f'{{"name":"\\\\{n:07}","type":"file"}}' for n in range(70_000))
    assert parse_tree(b'{"nodes":[' + nodes[: 60_000 * 33 - 1].rpartition("},")[0].encode() + b"}]}") is not None
    assert parse_tree(b'{"nodes":[' + nodes.encode() + b"]}") is None
