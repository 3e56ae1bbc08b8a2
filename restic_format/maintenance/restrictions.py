"""What a repository's config forbids: rustic's ``append_only`` and ``is_hot`` (RUSTIC-1)."""

from __future__ import annotations

from restic_format.errors import UsageError
from restic_format.repository import Repository
from restic_spec.rustic import config_members


def check_may_remove(repository: Repository, operation: str) -> None:
    """Refuse *operation*, which removes files, where the config says that nothing may be removed.

    Raises:
        UsageError: it does.
        JsonInvalid: rustic's members of the config are not what they must be.
    """
    if config_members(repository.config).append_only:
        raise UsageError(
            f"{operation} removes files, and the repository is append-only: its config says so; "
            "take that back with `config --set-append-only false` first"
        )


def check_is_whole(repository: Repository, operation: str) -> None:
    """Refuse *operation*, which compares the index with the packs, on the hot half of a hot/cold repository.

    That half lists packs with data which only the cold half holds: they would be taken for lost.

    Raises:
        UsageError: it is one.
        JsonInvalid: as `check_may_remove`.
    """
    if config_members(repository.config).is_hot:
        raise UsageError(
            f"{operation}: this is the hot half of a hot/cold repository; its packs with data are in the cold half only and "
            "would be taken for lost: use the cold half's location, or rustic"
        )
