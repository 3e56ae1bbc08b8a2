"""What can begin before the command is imported: deriving the key, which takes longer than anything else at the start.

Only what is easily told is looked at: a repository in a folder, a password from a file or the environment, the key file that
will be tried first, costs as usual. Nothing is decided and nothing is reported here. The command opens the repository in the
ordinary way, checks everything, and finds the derivation it asks for begun, or not.
"""

from __future__ import annotations

import os

from restic_tools.argv import FlagSet, parse
from restic_tools.globalflags import GLOBAL_FLAGS
from restic_tools.opening import given_password, repository_location
from restic_tools.options import GlobalOptions, global_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_MEMORY = 1 << 26
"""Bytes of a lane's table (128 * N * r): what restic's own choices stay below."""
MOST_LANES = 16
SALT_SIZE = 64


def begin(words: Sequence[str]) -> None:
    """Start deriving the key that a command line (without the command's words) and the environment point to."""
    parsed = parse(words, FlagSet(GLOBAL_FLAGS), lenient=True)
    try:
        if not parsed.help:
            _begin(global_options(parsed.values))
    except Exception:  # noqa: BLE001 - whatever is wrong, the command will come upon it and say so
        return


def _begin(options: GlobalOptions) -> None:
    if options.password_command or options.insecure_no_password:
        return
    password = given_password(options)
    if not password:
        return
    folder = os.path.join(repository_location(options).removeprefix("local:"), "keys")
    hint = options.key_hint
    name = min(os.listdir(folder), key=lambda name: (not (hint and name.startswith(hint)), name))

    import json
    from binascii import a2b_base64

    with open(os.path.join(folder, name), "rb") as file:
        key = json.load(file)
    n, r, p, salt = key["N"], key["r"], key["p"], a2b_base64(key["salt"])
    usual = n > 1 and not n & (n - 1) and 0 < 128 * n * r <= MOST_MEMORY and 0 < p <= MOST_LANES
    if key["kdf"] == "scrypt" and usual and len(salt) == SALT_SIZE:
        from restic_format.native import scrypt

        scrypt.begin(password.encode("utf-8", "surrogateescape"), salt, n, r, p)
