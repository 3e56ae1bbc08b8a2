"""Settings that live in the repository: changing rustic's members of the config (RUSTIC-1), which all that writes honours."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from restic_format.errors import UsageError
from restic_format.maintenance.migrate import replace_config
from restic_format.repository import Repository
from restic_spec.config import Config
from restic_spec.rustic import MAX_LEVEL, MIN_LEVEL, ConfigMembers, config_members, with_members

_MOST = (1 << 32) - 1
"""What rustic's sizes and factors may be."""

SETTINGS = (
    "compression",
    "append_only",
    "extra_verify",
    "treepack_size",
    "treepack_growfactor",
    "treepack_size_limit",
    "datapack_size",
    "datapack_growfactor",
    "datapack_size_limit",
    "min_packsize_tolerate_percent",
    "max_packsize_tolerate_percent",
)
"""The members that may be changed; the others say how files are cut, or what the repository is."""


class Change(NamedTuple):
    """One setting before and after; None is what holds without it."""

    name: str
    before: int | bool | None
    after: int | bool


class ConfigPlan(NamedTuple):
    """What is to be changed: nothing where `changes` is empty."""

    repository: Repository
    changes: list[Change]
    config: Config
    """The config with the changes."""


def plan(repository: Repository, wanted: ConfigMembers) -> ConfigPlan:
    """What has to change so that the settings are as *wanted* says; of what it leaves open nothing does.

    Raises:
        UsageError: a value that makes no sense, or the repository is append-only and is to remain so.
        JsonInvalid: rustic's members of the config are not what they must be.
    """
    _check(repository, wanted)
    before = msgspec.structs.asdict(config_members(repository.config))
    after = msgspec.structs.asdict(wanted)
    changes = [
        Change(name, before[name], after[name]) for name in SETTINGS if after[name] is not None and after[name] != before[name]
    ]
    if changes and before["append_only"] and wanted.append_only is not False:
        raise UsageError(
            "the repository is append-only, its config cannot be changed; take that back first: --set-append-only false"
        )
    return ConfigPlan(repository, changes, with_members(repository.config, wanted))


def apply(plan: ConfigPlan, folder: str) -> None:
    """Do what *plan* says, under an exclusive lock; *folder* is for a copy of the config meanwhile.

    At no moment is there no config. *plan*'s repository should be opened again afterwards. Raises as `replace_config`.
    """
    if plan.changes:
        replace_config(plan.repository, plan.config, folder)


def _check(repository: Repository, wanted: ConfigMembers) -> None:
    for name, value in msgspec.structs.asdict(wanted).items():
        if value is not None and name not in SETTINGS:
            raise UsageError(f"{name} cannot be changed")
    if wanted.compression is not None:
        if not MIN_LEVEL <= wanted.compression <= MAX_LEVEL:
            raise UsageError(f"compression level {wanted.compression} is not from {MIN_LEVEL} to {MAX_LEVEL}")
        if wanted.compression and repository.version < 2:
            raise UsageError("compression requires at least repository format version 2; see `migrate upgrade_repo_v2`")
    for name in SETTINGS:
        value = getattr(wanted, name)
        if name.startswith(("treepack", "datapack")) and value is not None and not 0 <= value <= _MOST:
            raise UsageError(f"{name} {value} is not from 0 to {_MOST}")
    if wanted.min_packsize_tolerate_percent is not None and not 0 <= wanted.min_packsize_tolerate_percent <= 100:
        raise UsageError("min_packsize_tolerate_percent must be from 0 to 100")
    most = wanted.max_packsize_tolerate_percent
    if most is not None and most != 0 and not 100 <= most <= _MOST:
        raise UsageError("max_packsize_tolerate_percent must be 100 or more, or 0 for no limit")
