"""The messages of ``check``."""

from __future__ import annotations

import msgspec


class CheckError(msgspec.Struct):
    """``check``: one error (standard error)."""

    message_type: str
    message: str


class CheckSummary(msgspec.Struct):
    """``check``: the outcome; ``broken_packs`` is null where there are none."""

    message_type: str
    num_errors: int
    broken_packs: list[str] | None
    suggest_repair_index: bool
    suggest_prune: bool


class CheckFinding(msgspec.Struct):
    """``check --verbose``: everything known about one error. restic has no such message."""

    message_type: str
    code: str
    severity: str
    object: str
    id: str
    clause: str
    message: str
    effect: str
    snapshots: list[str]
    snapshots_total: int
    paths: list[str]
    paths_total: int
    repair: list[str]
    advice: str
