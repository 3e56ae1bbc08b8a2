"""What targets name, with and without a repository."""

from __future__ import annotations

import pytest

from restic_format.inspect.target import ObjectKind, Place, TargetInvalid, parse_target

ID = "ab" * 32


@pytest.mark.parametrize(
    ("text", "place", "kind", "name"),
    [
        ("-", Place.INPUT, None, ""),
        ("config", Place.OBJECT, ObjectKind.CONFIG, ""),
        (f"key/{ID}", Place.OBJECT, ObjectKind.KEY, ID),
        ("keys/0a", Place.OBJECT, ObjectKind.KEY, "0a"),
        ("index/0A", Place.OBJECT, ObjectKind.INDEX, "0a"),
        ("snapshots/latest", Place.OBJECT, ObjectKind.SNAPSHOT, "latest"),
        ("latest~2", Place.OBJECT, ObjectKind.SNAPSHOT, "latest~2"),
        ("locks/1", Place.OBJECT, ObjectKind.LOCK, "1"),
        (f"data/ab/{ID}", Place.OBJECT, ObjectKind.PACK, ID),
        (f"data/{ID}", Place.OBJECT, ObjectKind.PACK, ID),
        ("pack/ab", Place.OBJECT, ObjectKind.PACK, "ab"),
        ("blobs/ab", Place.OBJECT, ObjectKind.BLOB, "ab"),
        ("tree/ab", Place.OBJECT, ObjectKind.TREE, "ab"),
        ("ABcd", Place.ANYWHERE, None, "abcd"),
        ("latest:/dir/a:b", Place.SNAPSHOT, None, "latest"),
        ("abcd:", Place.SNAPSHOT, None, "abcd"),
        ("./config", Place.FILE, None, "./config"),
        ("keys/nothing", Place.FILE, None, "keys/nothing"),
        ("/srv/repo/config", Place.FILE, None, "/srv/repo/config"),
        ("x:y", Place.FILE, None, "x:y"),
    ],
)
def test_what_a_target_names_in_a_repository(text: str, place: Place, kind: ObjectKind | None, name: str) -> None:
    target = parse_target(text, repository=True, exists=lambda _: True)
    assert (target.place, target.kind, target.name) == (place, kind, name)
    assert target.path == ("/dir/a:b" if "/dir" in text else "")


def test_without_a_repository_targets_are_files() -> None:
    assert parse_target("abcd", repository=False, exists=lambda _: True).place is Place.FILE
    assert parse_target("config", repository=False, exists=lambda _: True).place is Place.FILE
    for text in ("config", "abcd", "latest:a", "key/ab"):
        with pytest.raises(TargetInvalid, match="-r"):
            parse_target(text, repository=False, exists=lambda _: False)
    with pytest.raises(TargetInvalid, match="empty"):
        parse_target("", repository=True)
