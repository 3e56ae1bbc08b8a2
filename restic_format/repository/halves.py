"""The hot half of a repository in two places: its config, what it lacks, and making it from the cold half."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from restic_format.errors import DamagedFile, FileMissing, SpecError, UsageError
from restic_format.repository.cipher import make_cipher
from restic_format.repository.repository import Repository
from restic_format.repository.warming import make_ready
from restic_format.storage import Storage
from restic_format.storage.hotcold import halves
from restic_format.storage.warming import WarmUp
from restic_format.work import Cancel, Progress, in_order, silent
from restic_spec.config import Config, decode_config, encode_config
from restic_spec.crypto import MasterKey
from restic_spec.ids import id_of
from restic_spec.layout import FileKind
from restic_spec.rustic import ConfigMembers, config_members, with_members

_KINDS = (FileKind.PACK, FileKind.INDEX, FileKind.SNAPSHOT, FileKind.KEY)
"""What the hot half has, in the order in which it is stored."""


class Missing(NamedTuple):
    """A file of the cold half that should be in the hot one."""

    kind: FileKind
    name: str
    size: int


class Filled(NamedTuple):
    """Told after each file that was copied to the hot half: how many there are, of how many."""

    done: int
    total: int


def store_hot_config(storage: Storage, config: Config, master: MasterKey) -> None:
    """Store *config* in the hot half, if *storage* has one, with the mark that it is the hot half's. Raises `StorageError`."""
    found = halves(storage)
    if found is not None:
        marked = with_members(config, ConfigMembers(is_hot=True))
        found.hot.save(FileKind.CONFIG, "", make_cipher(master).seal(encode_config(marked)))


def without_mark(config: Config) -> Config:
    """*config* as the cold half has it."""
    if not config_members(config).is_hot:
        return config
    found = msgspec.structs.replace(config)
    found.keep_extra({name: raw for name, raw in config.extra.items() if name != "is_hot"}, "config")
    return found


def hot_config_fault(repository: Repository) -> str:
    """What is wrong with the hot half's config; "" where nothing is, or the repository is in one place."""
    storage = halves(repository.storage)
    if storage is None:
        return ""
    try:
        found = decode_config(make_cipher(repository.master_key).open(storage.hot.load(FileKind.CONFIG, "")))
    except FileMissing:
        return "the hot half has no config"
    except SpecError as error:
        return f"the config of the hot half: {error}"
    if not config_members(found).is_hot:
        return "the config of the hot half does not say that it is one"
    if encode_config(without_mark(found)) != encode_config(repository.config):
        return "the configs of both halves differ"
    return ""


def missing_in_hot(repository: Repository) -> Iterator[Missing]:
    """The files that the hot half lacks. The index must be loaded: it says which packs hold trees. Raises `StorageError`."""
    storage = halves(repository.storage)
    if storage is None:
        return
    trees = {pack.id.hex() for pack in repository.index.packs() if pack.holds_trees()}
    for kind in _KINDS:
        hot = dict(storage.hot.list(kind))
        for name, size in storage.cold.list(kind):
            if hot.get(name) != size and (kind is not FileKind.PACK or name in trees):
                yield Missing(kind, name, size)


def fill_hot(repository: Repository, progress: Progress[Filled | WarmUp] = silent, cancel: Cancel | None = None) -> int:
    """Copy to the hot half what it lacks, its config last; says how many files that were. The index must be loaded.

    Raises:
        UsageError: the repository is in one place.
        DamagedFile: a file of the cold half is damaged; those before it are copied.
        StorageError: one could not be read or stored.
        Interrupted: *cancel* was set.
    """
    storage = halves(repository.storage)
    if storage is None:
        raise UsageError("the repository is not in two places: give the hot half with --repo-hot")
    cancel = cancel or Cancel()
    storage.hot.create()
    found = list(missing_in_hot(repository))
    make_ready(repository, [bytes.fromhex(file.name) for file in found if file.kind is FileKind.PACK], progress, cancel)

    def copy(file: Missing) -> None:
        cancel.check()
        content = storage.cold.load(file.kind, file.name)
        if id_of(content).hex() != file.name:
            raise DamagedFile(f"{file.kind.value}/{file.name}: is not what its name says, in the cold half")
        storage.hot.save(file.kind, file.name, content, metadata=True)

    for number, (_, failure) in enumerate(
        in_order(copy, found, name="fill", workers=storage.readers, ahead=storage.readers + 1), 1
    ):
        if isinstance(failure, Exception):
            raise failure
        progress(Filled(number, len(found)))
    if hot_config_fault(repository):
        store_hot_config(repository.storage, repository.config, repository.master_key)
    return len(found)
