"""Where there may be what a repository has lost, as the user of ``heal`` says: parity, donors, caches, the original files."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from restic_format.words import visible
from restic_format.work import silent
from restic_tools.context import Context
from restic_tools.environment import encode, variable
from restic_tools.exitcodes import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from restic_format.repository import Repository
    from restic_format.rescue.means import Means
    from restic_format.rescue.means.donors import OtherRepository
    from restic_format.storage import SideFiles, Storage
    from restic_spec.layout import FileKind
    from restic_tools.globaloptions import GlobalOptions


@dataclass
class Elsewhere:
    """The places. Donors must be opened before the others are asked."""

    parity: str = ""
    donors: Sequence[str] = ()
    password_file: str = ""
    password_command: str = ""
    key_hint: str = ""
    insecure_no_password: bool = False
    sources: Sequence[str] = ()
    _opened: list[OtherRepository] = field(default_factory=list)
    _warn: Callable[[str], object] = silent
    _side_files: Callable[[str], SideFiles] | None = None

    @contextmanager
    def opened(self, ctx: Context) -> Iterator[None]:
        """The donors stay open and locked for the length of the block."""
        from restic_format.rescue.means.donors import OtherRepository
        from restic_tools.access import repository_location, side_files

        for path in self.sources:
            if not os.path.lexists(encode(path)):
                raise Failure(f"--source {visible(path)}: there is no such file or directory")
        self._warn = ctx.out.warn
        self._side_files = lambda location: side_files(ctx.options, location)
        with ExitStack() as stack:
            for location in self.donors:
                if _place(location) == _place(repository_location(ctx.options)):
                    raise Failure("--donor names the repository that is to be healed")
                donor = stack.enter_context(ctx.open_repository(lock="shared", options=self._options(ctx.options, location)))
                donor.load_index(damaged=lambda _id, _error: None)
                self._opened.append(OtherRepository(donor))
            yield

    def _options(self, options: GlobalOptions, location: str) -> GlobalOptions:
        """The global options for a donor: where nothing is said of its password, it is the repository's."""
        found = options.replaced(
            repo=location, repo_hot="", repository_file="", role="donor", key_hint=self.key_hint, no_cache=True
        )
        file = self.password_file or variable("RESTIC_DONOR_PASSWORD_FILE")
        command = self.password_command or variable("RESTIC_DONOR_PASSWORD_COMMAND")
        if not (file or command or self.insecure_no_password or variable("RESTIC_DONOR_PASSWORD")):
            return found
        return found.replaced(
            password=None,
            password_file=file,
            password_command=command,
            password_variable="RESTIC_DONOR_PASSWORD",
            insecure_no_password=self.insecure_no_password,
        )

    def before_opening(self, storage: Storage) -> list[Means]:
        """What brings files back while the repository cannot be opened."""
        from restic_format.rescue.means.parity import ParityMeans

        side = self._parity(storage)
        found: list[Means] = [donor for donor in self._opened if donor.is_copy_of(storage)]
        return found if side is None else [*found, ParityMeans(storage, side)]

    def means(self, ctx: Context, repository: Repository) -> list[Means]:
        """What brings blobs and files back."""
        from restic_format.rescue.means.donors import CachePlace, SameFiles
        from restic_format.rescue.means.parity import ParityMeans
        from restic_format.rescue.means.source import SourceFiles
        from restic_tools.caching import index_cache_base

        found: list[Means] = list(self._opened)
        if (base := index_cache_base(ctx.options)) is not None:
            found.append(SameFiles(CachePlace(base, repository.id), "the local cache"))
        if (side := self._parity(repository.storage)) is not None:
            found.append(ParityMeans(repository.storage, side))
        if self.sources:
            found.append(SourceFiles(repository.config, self.sources))
        return found

    def lost(self, storage: Storage, kind: FileKind) -> list[str]:
        """Files of a kind that parity or a copy has, and the repository has not: lost, or removed since."""
        from restic_format.rescue.parity import protected_names

        here = {name for name, _ in storage.list(kind)}
        found = {name for donor in self._opened if donor.is_copy_of(storage) for name in donor.names(kind)}
        if (side := self._parity(storage)) is not None:
            found |= protected_names(side, kind)
        return sorted(found - here)

    def _parity(self, storage: Storage) -> SideFiles | None:
        """Where parity is; None where there is none."""
        from restic_format.errors import StorageError, UsageError

        try:
            side = self._side_files(self.parity) if self.parity and self._side_files else storage.side_files("parity")
            if next(iter(side.list()), None) is not None:
                return side
        except UsageError:
            return None
        except StorageError as error:
            if self.parity:
                raise
            self._warn(f"parity cannot be used: {visible(str(error))}")
            return None
        if self.parity:
            raise Failure(f"there is no parity in {visible(self.parity)}")
        return None


def _place(location: str) -> bytes | str:
    """A location of a repository, the same however it is written where it is a directory."""
    from restic_format.storage.locations import parse_location

    place = parse_location(location)
    return os.path.realpath(encode(place.rest)) if place.scheme == "local" else location
