"""The global options as a command sees them: flags and environment variables put together."""

from __future__ import annotations

from restic_tools.argv import parse_uint
from restic_tools.environment import variable
from restic_tools.exitcodes import Failure
from restic_tools.flagtypes import compression_mode
from restic_tools.globalflags import DEFAULT_STUCK_TIMEOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

QUIET, NORMAL, VERBOSE, DEBUG = 0, 1, 2, 3
"""Verbosity: --quiet, no option, --verbose, --verbose=2."""


class GlobalOptions:
    """The global options, after flags and environment variables have been put together."""

    repo: str = ""
    repository_file: str = ""
    password_file: str = ""
    password_command: str = ""
    insecure_no_password: bool = False
    key_hint: str = ""
    json: bool = False
    quiet: bool = False
    verbose: int = 0
    no_cache: bool = False
    cache_dir: str = ""
    cleanup_cache: bool = False
    no_lock: bool = False
    retry_lock: float = 0.0
    """Seconds to wait for a locked repository."""
    compression: str = "auto"
    pack_size: int = 0
    """Target size of pack files in MiB; 0 leaves it to the engine."""
    limit_upload: int = 0
    limit_download: int = 0
    """KiB/s; 0 is unlimited."""
    option: list[str]
    cacert: list[str]
    tls_client_cert: str = ""
    insecure_tls: bool = False
    http_user_agent: str = ""
    no_extra_verify: bool = False
    stuck_request_timeout: float = DEFAULT_STUCK_TIMEOUT
    password: str | None = None
    """The password as given: None until it is fetched, empty when none is given and it has to be asked for."""
    password_variable: str = "RESTIC_PASSWORD"
    """The environment variable that may hold the password."""

    def __init__(self, **values: object) -> None:
        self.option, self.cacert = [], []
        for key, value in values.items():
            setattr(self, key, value)

    def replaced(self, **values: object) -> GlobalOptions:
        """The same options with other *values* for some."""
        return GlobalOptions(**{**vars(self), **values})

    @property
    def verbosity(self) -> int:
        """0 with --quiet, 1 by default, 2 with --verbose, 3 with --verbose=2."""
        if self.quiet:
            return QUIET
        return DEBUG if self.verbose >= 2 else VERBOSE if self.verbose > 0 else NORMAL

    @property
    def pack_size_bytes(self) -> int | None:
        """The target size of packs in bytes, None when not set."""
        return self.pack_size << 20 if self.pack_size else None

    @property
    def extended(self) -> dict[str, str]:
        """The extended options (``-o namespace.key=value``) by lower-case key; ``Failure`` when one is given twice."""
        found: dict[str, str] = {}
        for text in self.option:
            key, _, value = text.partition("=")
            key = key.strip().lower()
            if not key:
                raise Failure("empty key is not a valid option")
            if key in found and found[key] != value.strip():
                raise Failure(f"key {key!r} present more than once")
            found[key] = value.strip()
        return found


ENVIRONMENT = {
    "repo": "RESTIC_REPOSITORY",
    "repository_file": "RESTIC_REPOSITORY_FILE",
    "password_file": "RESTIC_PASSWORD_FILE",
    "password_command": "RESTIC_PASSWORD_COMMAND",
    "key_hint": "RESTIC_KEY_HINT",
    "cache_dir": "RESTIC_CACHE_DIR",
    "tls_client_cert": "RESTIC_TLS_CLIENT_CERT",
    "http_user_agent": "RESTIC_HTTP_USER_AGENT",
}


def global_options(values: Mapping[str, Any]) -> GlobalOptions:
    """Put flags and environment together: a flag wins. ``Failure`` on values that cannot be right."""
    options = GlobalOptions()
    for key, name in ENVIRONMENT.items():
        setattr(options, key, variable(name))
    if variable("RESTIC_CACERT"):
        options.cacert = variable("RESTIC_CACERT").split(",")
    if variable("RESTIC_PACK_SIZE") and "pack_size" not in values:
        options.pack_size = _from_environment("RESTIC_PACK_SIZE", parse_uint)
    if variable("RESTIC_COMPRESSION") and "compression" not in values:
        options.compression = _from_environment("RESTIC_COMPRESSION", compression_mode)
    for key, value in values.items():
        setattr(options, key, value)
    if options.quiet and options.verbose > 0:
        raise Failure("--quiet and --verbose cannot be specified at the same time")
    _ = options.extended
    return options


def _from_environment(name: str, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(variable(name))
    except ValueError as error:
        raise Failure(f'invalid value for {name} "{variable(name)}": {error}') from None
