"""Index files read into the index in memory: by a few threads ahead, taken in one after the other."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from restic_format.errors import DamagedFile, FileUnusable, ResticFormatError, SpecError
from restic_format.repository.index import BlobIndex, PreparedIndex
from restic_format.repository.indexcache import WORTH_ROWS, IndexCache
from restic_format.work import in_order
from restic_spec.ids import ID_SIZE
from restic_spec.layout import FileKind

if TYPE_CHECKING:
    from restic_format.repository.repository import Repository

Loaded = TypeVar("Loaded")


def read_indexes(
    repo: Repository,
    files: Sequence[tuple[bytes, int]],
    index: BlobIndex | None = None,
    look: Callable[[bytes, bytes, PreparedIndex], None] | None = None,
) -> Iterator[tuple[bytes, Exception | None]]:
    """Take *files*, given by ids and sizes, into *index*, by default the repository's; with each comes what is wrong with it,
    if anything. *look* is shown the id, the plaintext and what was made of it of each, from any thread.

    Blobs may be looked up only when all is read.
    """
    sizes = dict(files)
    index = repo.index if index is None else index
    before = len(index)

    def prepare(file_id: bytes) -> PreparedIndex:
        raw = repo.load_unpacked(FileKind.INDEX, file_id)
        try:
            prepared = BlobIndex.prepare(raw, f"index {file_id.hex()[:8]}")
        except SpecError as error:
            raise DamagedFile(f"index/{file_id.hex()}", error) from error
        if look is not None:
            look(file_id, raw, prepared)
        return prepared

    readers = repo.storage.readers
    for number, (file_id, prepared) in enumerate(in_order(prepare, list(sizes), workers=readers, ahead=readers + 2)):
        failure = prepared if isinstance(prepared, Exception) else None
        if not isinstance(prepared, Exception):
            index.add_prepared(prepared)
        if number == 0 and sizes[file_id]:
            # The others are likely to be like the first. No blob takes less than its id, however an index is compressed.
            total = sum(sizes.values())
            rows = (len(index) - before) * total // sizes[file_id]
            index.expect(before + min(rows + rows // 50, total // ID_SIZE))
        yield file_id, failure
    index.finish_loading()


def each_loaded(
    repo: Repository, ids: Sequence[bytes], load: Callable[[bytes], Loaded], *, together: int = 1
) -> Generator[tuple[bytes, Loaded], None, None]:
    """Each of *ids* with what *load* gives for it, in order. Where a request takes its time *load* is called by as many threads
    as read at once, each with up to *together* ids one after the other.

    What *load* raises is raised when it is the turn of that id.
    """
    if repo.storage.at_hand:
        for one in ids:
            yield one, load(one)
        return
    readers = repo.storage.readers
    size = max(1, min(together, len(ids) // (2 * readers)))
    groups = [ids[start : start + size] for start in range(0, len(ids), size)]
    work = in_order(lambda group: list(map(load, group)), groups, name="load", workers=readers, ahead=readers + 2)
    with contextlib.closing(work) as results:
        for group, loaded in results:
            if isinstance(loaded, Exception):
                raise loaded
            yield from zip(group, loaded, strict=True)


def load_index(
    repo: Repository,
    cache: IndexCache | None,
    progress: Callable[[int, int], None] | None,
    damaged: Callable[[bytes, ResticFormatError], None] | None,
) -> None:
    """What `Repository.load_index` says, with the help of a *cache*."""
    repo.index = BlobIndex()
    repo.index = read_index(repo, cache, progress, damaged)


class LoadedIndex(NamedTuple):
    """An index, the files it was loaded from, and how many of its rows came from the sealed copy in the cache."""

    blobs: BlobIndex
    covered: set[bytes]
    cached_rows: int


def load_ahead(repo: Repository, cache: IndexCache | None, files: Sequence[tuple[bytes, int]]) -> LoadedIndex:
    """The index that *files* are, loaded before it is certain that these are the right ones: `read_index` goes on with it.

    Raises:
        ResticFormatError: one of them cannot be used.
    """
    loaded = _from_cache(cache, {file_id for file_id, _ in files})
    missing = [file for file in files if file[0] not in loaded.covered]
    for file_id, failure in read_indexes(repo, missing, loaded.blobs):
        if failure is not None:
            raise failure
        loaded.covered.add(file_id)
    return loaded


def _from_cache(cache: IndexCache | None, listed: set[bytes]) -> LoadedIndex:
    if cache is not None and (cached := cache.load(listed)) is not None:
        index, covered = cached
        return LoadedIndex(index, covered, len(index))
    return LoadedIndex(BlobIndex(), set(), 0)


def read_index(
    repo: Repository,
    cache: IndexCache | None,
    progress: Callable[[int, int], None] | None,
    damaged: Callable[[bytes, ResticFormatError], None] | None,
) -> BlobIndex:
    """What all index files say, as a new index; the rest as `Repository.load_index`."""
    ahead, repo.index_ahead = repo.index_ahead, None
    files = dict(repo.list(FileKind.INDEX))
    repo.index_files = frozenset(files)
    loaded = None
    if ahead is not None:
        with contextlib.suppress(ResticFormatError, OSError, MemoryError):  # It is met again, and told.
            loaded = ahead.get()
    if loaded is None or not loaded.covered <= files.keys():
        loaded = _from_cache(cache, set(files))
    index, covered, cached_rows = loaded
    done = len(covered)
    if progress is not None and done:
        progress(done, len(files))
    missing = [(name, size) for name, size in files.items() if name not in covered]
    for file_id, failure in read_indexes(repo, missing, index):
        if failure is None:
            covered.add(file_id)
        elif damaged is None and isinstance(failure, DamagedFile | FileUnusable):
            told = DamagedFile(f"{failure}; the index is damaged: run repair index", object=failure.object)
            told.clause = failure.clause
            raise told from failure
        elif damaged is None or not isinstance(failure, ResticFormatError):
            raise failure
        else:
            damaged(file_id, failure)
        done += 1
        if progress is not None:
            progress(done, len(files))
    if cache is not None and len(index) - cached_rows >= WORTH_ROWS:
        cache.store(index, covered)
    return index
