"""Parity: lost bytes of a repository's files brought back, without its password (spec/parity.md).

`plan_protection` says which files get parity, `protect` makes it, `check_protection` looks whether it is intact and complete,
`recover` brings files back, `protected_names` says which had parity.
"""

from __future__ import annotations

from restic_format.rescue.parity.checking import ParityFault, ProtectionState, check_protection
from restic_format.rescue.parity.making import DEFAULT_OVERHEAD
from restic_format.rescue.parity.planning import ProtectionPlan, plan_protection
from restic_format.rescue.parity.recovering import recover
from restic_format.rescue.parity.store import protected_names
from restic_format.rescue.parity.updating import Protected, Unprotected, protect

__all__ = [
    "DEFAULT_OVERHEAD",
    "ParityFault",
    "Protected",
    "ProtectionPlan",
    "ProtectionState",
    "Unprotected",
    "check_protection",
    "plan_protection",
    "protect",
    "protected_names",
    "recover",
]
