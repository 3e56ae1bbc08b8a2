"""From the layout that early versions used on S3 to the present one (LAYOUT-4), in a local folder.

Every file gets its new name before one loses its old one, and the switch is the renaming of the folder with the keys: whoever
is killed in between leaves a repository that is whole in one of the two layouts.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import suppress

from restic_format.storage import oserrors
from restic_format.storage.base import Storage, WrappedStorage
from restic_format.storage.local import LocalStorage
from restic_format.storage.localwriter import NO_LINKS, sync_folder
from restic_spec import gojson
from restic_spec.ids import is_hex_id
from restic_spec.layout import LISTED_KINDS, FileKind, Layout, folder_of, folders, path_of

_NEW_KEYS = "keys-new"


def local_folder(storage: Storage) -> LocalStorage | None:
    """The local folder behind *storage*, if there is one."""
    while isinstance(storage, WrappedStorage):
        storage = storage.inner
    return storage if isinstance(storage, LocalStorage) else None


def has_old_names(storage: LocalStorage) -> bool:
    """Whether files are where the old layout has them, all of them or what an interrupted `move_to_default` has left."""
    return storage.layout is Layout.S3LEGACY or any(True for _ in _old_files(storage))


def move_to_default(storage: LocalStorage) -> None:
    """Move every file to where the default layout has it. To be called under an exclusive lock, which moves, too. Locks in the
    folder of the other layout are what an interrupted call has left, and go.

    Where the file system has no hard links files are renamed instead; after an interruption there the repository is whole
    only when this has been called once more.

    Raises:
        StorageError: a file could not be moved; nothing is lost, and this may be called again.
    """
    root = gojson.to_bytes(storage.location)
    try:
        for folder in folders(Layout.DEFAULT):
            if folder != folder_of(FileKind.KEY):
                os.makedirs(os.path.join(root, folder.encode()), storage.modes[0], exist_ok=True)
        if storage.layout is Layout.S3LEGACY:
            _remove_locks(root)
            _name_all(storage, (FileKind.KEY,))
            _switch(storage, root)
            _name_all(storage)  # a lock may have been renewed meanwhile
        else:
            _name_all(storage, (FileKind.KEY, FileKind.LOCK))
        for old, _ in list(_old_files(storage)):
            os.unlink(old)
        for kind in LISTED_KINDS:
            if (folder := folder_of(kind, Layout.S3LEGACY)) != folder_of(kind):
                with suppress(OSError):  # what does not belong to the repository stays where it is
                    os.rmdir(os.path.join(root, folder.encode()))
    except OSError as error:
        raise oserrors.told("move", os.fsencode(error.filename or root), error) from error


def _old_files(storage: LocalStorage) -> Iterator[tuple[bytes, FileKind]]:
    """What stands where only the old layout has files."""
    root = gojson.to_bytes(storage.location)
    for kind in LISTED_KINDS:
        folder = os.path.join(root, folder_of(kind, Layout.S3LEGACY).encode())
        if path_of(kind, "0" * 64, Layout.S3LEGACY) == path_of(kind, "0" * 64):
            continue
        with suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                if is_hex_id(gojson.to_text(entry.name)) and entry.is_file(follow_symlinks=False):
                    yield entry.path, kind


def _remove_locks(root: bytes) -> None:
    """Remove the locks in the folder of the default layout: those who use the old one have theirs elsewhere."""
    folder = os.path.join(root, folder_of(FileKind.LOCK).encode())
    for name in os.listdir(folder):
        if is_hex_id(gojson.to_text(name)):
            os.unlink(os.path.join(folder, name))


def _name_all(storage: LocalStorage, but: Collection[FileKind] = ()) -> None:
    """Give every file its new name beside the old one, except files of the kinds *but*."""
    root = gojson.to_bytes(storage.location)
    changed = set()
    for old, kind in list(_old_files(storage)):
        if kind not in but:
            new = os.path.join(root, path_of(kind, gojson.to_text(os.path.basename(old))).encode())
            _name(old, new)
            changed.add(os.path.dirname(new))
    for folder in changed:
        sync_folder(folder)


def _name(old: bytes, new: bytes) -> None:
    try:
        os.link(old, new, follow_symlinks=False)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        os.rename(old, new)


def _switch(storage: LocalStorage, root: bytes) -> None:
    """Put all keys into a folder, and give that its name."""
    place = os.path.join(root, _NEW_KEYS.encode())
    os.makedirs(place, storage.modes[0], exist_ok=True)
    for name in os.listdir(place):
        os.unlink(os.path.join(place, name))
    for old, kind in list(_old_files(storage)):
        if kind is FileKind.KEY:
            _copy_or_link(old, os.path.join(place, os.path.basename(old)))
    sync_folder(place)
    os.rename(place, os.path.join(root, folder_of(FileKind.KEY).encode()))
    sync_folder(root)
    storage.layout = Layout.DEFAULT


def _copy_or_link(old: bytes, new: bytes) -> None:
    """Keys are small: where there are no links they are copied, so that they are in both places until the switch."""
    try:
        os.link(old, new, follow_symlinks=False)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        with open(old, "rb") as source, open(new, "wb") as target:
            target.write(source.read())
            target.flush()
            os.fsync(target.fileno())
        os.chmod(new, 0o400)
