"""Feature flags: behaviour that the environment variable ``RESTIC_FEATURES`` turns on or off."""

from __future__ import annotations

from restic_tools.argv import UsageFailure, parse_bool
from restic_tools.environment import variable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

VARIABLE = "RESTIC_FEATURES"

ALPHA, BETA, STABLE = "alpha", "beta", "stable"


class Feature:
    """One flag: its name, how far it is (`STABLE` ones cannot be turned off any more), what holds when nothing is said."""

    __slots__ = ("default", "name", "stage", "summary")

    def __init__(self, name: str, stage: str, default: bool, summary: str) -> None:
        self.name = name
        self.stage = stage
        self.default = default
        self.summary = summary


FEATURES = (
    Feature(
        "backend-error-redesign",
        BETA,
        True,
        "give up requests that make no progress, and repeat them; without effect on folders",
    ),
    Feature(
        "deprecate-legacy-index", STABLE, True, "read no indexes in the form of restic 0.1.0; `repair index` writes new ones"
    ),
    Feature(
        "deprecate-s3-legacy-layout",
        STABLE,
        True,
        "do not use the layout of restic 0.7.0 and older on S3 (folders that have it can be read, see the specification)",
    ),
    Feature(
        "device-id-for-hardlinks",
        ALPHA,
        False,
        "store the device ID of files with hard links only, so that less changes where device IDs do, as with btrfs subvolumes",
    ),
    Feature(
        "explicit-s3-anonymous-auth", STABLE, True, "use S3 without credentials only with `-o s3.unsafe-anonymous-auth=true`"
    ),
    Feature("s3-restore", ALPHA, False, "fetch files from cold storage classes of S3 with `-o s3.enable-restore=true`"),
    Feature(
        "safe-forget-keep-tags", STABLE, True, "do not let `forget --keep-tag` remove everything where no snapshot has the tag"
    ),
)


def feature_flags(warn: Callable[[str], object] | None = None) -> dict[str, bool]:
    """Every flag, as ``RESTIC_FEATURES`` sets them. *warn* is told of those that cannot be changed any more.

    ``UsageFailure`` for a flag that does not exist, and for a value that is neither true nor false.
    """
    flags = {feature.name: feature.default for feature in FEATURES}
    stages = {feature.name: feature.stage for feature in FEATURES}
    text = variable(VARIABLE)
    for word in text.split(",") if text else ():
        name, equals, value = word.partition("=")
        if name not in flags:
            raise UsageFailure(f'unknown feature flag "{name}"')
        try:
            wanted = parse_bool(value) if equals else True
        except ValueError:
            raise UsageFailure(f'failed to parse value "{value}" for feature flag {name}: expected true or false') from None
        if stages[name] != STABLE:
            flags[name] = wanted
        elif warn is not None:
            warn(f'feature flag "{name}" is always enabled and will be removed in a future release')
    return flags


def is_enabled(name: str) -> bool:
    """Whether the flag *name* is on. Raises as `feature_flags`."""
    return feature_flags()[name]
