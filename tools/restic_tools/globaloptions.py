"""The options that every command takes: names and meanings of restic 0.19.1, each written once.

Help, completion and manual pages are made from the same declarations (`GLOBAL_FLAGS`); `global_options` puts flags and
environment variables together. The annotations are no texts here: every command would have to read each of them again.
"""

from typing import Annotated

from restic_format.durations import duration
from restic_tools.argv import parse_uint
from restic_tools.declare import Option, OptionGroup, flags_of
from restic_tools.environment import variable
from restic_tools.exitcodes import Failure
from restic_tools.flagtypes import COMPRESSION_MODES, comma_list, compression_mode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

QUIET, NORMAL, VERBOSE, DEBUG = 0, 1, 2, 3
"""Verbosity: --quiet, no option, --verbose, --verbose=2."""


class GlobalOptions(OptionGroup):
    """The global options, after flags and environment variables have been put together."""

    compression_given = False
    """Whether ``compression`` was asked for; otherwise what the repository says about it goes before the default."""

    cacert: Annotated[
        list[str],
        Option(
            "--cacert",
            metavar="file",
            parser=comma_list,
            spread=True,
            variable="RESTIC_CACERT",
            otherwise="those of the system",
            help="PEM file with the root certificates to trust",
        ),
    ]
    cache_dir: Annotated[
        str,
        Option(
            "--cache-dir",
            metavar="directory",
            variable="RESTIC_CACHE_DIR",
            otherwise="in the user's cache directory",
            help="directory for the local cache",
        ),
    ] = ""
    cleanup_cache: Annotated[bool, Option("--cleanup-cache", help="remove local caches that were not used for 30 days")] = False
    compression: Annotated[
        str,
        Option(
            "--compression",
            metavar="mode",
            parser=compression_mode,
            values=COMPRESSION_MODES,
            variable="RESTIC_COMPRESSION",
            help="how to compress new data, in repositories of version 2: auto, off, fastest, better or max",
        ),
    ] = "auto"
    http_user_agent: Annotated[
        str,
        Option("--http-user-agent", variable="RESTIC_HTTP_USER_AGENT", help="user agent to send with HTTP requests"),
    ] = ""
    insecure_no_password: Annotated[
        bool,
        Option("--insecure-no-password", help="use an empty password; every command needs this flag then (insecure)"),
    ] = False
    insecure_tls: Annotated[
        bool, Option("--insecure-tls", help="do not verify the TLS certificate of the server (insecure)")
    ] = False
    json: Annotated[bool, Option("--json", help="write JSON messages for programs instead of text")] = False
    key_hint: Annotated[
        str, Option("--key-hint", metavar="key", variable="RESTIC_KEY_HINT", help="ID of the key to try first")
    ] = ""
    limit_download: Annotated[
        int,
        Option("--limit-download", metavar="rate", otherwise="no limit", help="download no more than this many KiB/s"),
    ] = 0
    limit_upload: Annotated[
        int, Option("--limit-upload", metavar="rate", otherwise="no limit", help="upload no more than this many KiB/s")
    ] = 0
    no_cache: Annotated[bool, Option("--no-cache", help="use no local cache")] = False
    no_extra_verify: Annotated[
        bool, Option("--no-extra-verify", help="do not verify data a second time before it is stored")
    ] = False
    no_lock: Annotated[
        bool, Option("--no-lock", help="do not lock the repository; for reading from a read-only repository")
    ] = False
    option: Annotated[
        list[str],
        Option(
            "--option",
            "-o",
            metavar="key=value",
            parser=comma_list,
            spread=True,
            help="set an extended option (can be given several times)",
        ),
    ]
    pack_size: Annotated[
        int,
        Option(
            "--pack-size",
            metavar="size",
            parser=parse_uint,
            variable="RESTIC_PACK_SIZE",
            help="target size of pack files in MiB",
        ),
    ] = 0
    password_command: Annotated[
        str,
        Option(
            "--password-command",
            metavar="command",
            variable="RESTIC_PASSWORD_COMMAND",
            help="command that prints the password",
        ),
    ] = ""
    password_file: Annotated[
        str,
        Option("--password-file", "-p", metavar="file", variable="RESTIC_PASSWORD_FILE", help="file to read the password from"),
    ] = ""
    quiet: Annotated[bool, Option("--quiet", "-q", help="print nothing but results and errors")] = False
    repo: Annotated[
        str,
        Option("--repo", "-r", metavar="repository", variable="RESTIC_REPOSITORY", help="location of the repository"),
    ] = ""
    repo_hot: Annotated[
        str,
        Option(
            "--repo-hot",
            metavar="repository",
            variable="RUSTIC_REPO_HOT",
            help="location of the hot half of a repository whose packs with data are in cold storage",
        ),
    ] = ""
    repository_file: Annotated[
        str,
        Option(
            "--repository-file",
            metavar="file",
            variable="RESTIC_REPOSITORY_FILE",
            help="file to read the location of the repository from",
        ),
    ] = ""
    retry_lock: Annotated[
        float,
        Option(
            "--retry-lock",
            metavar="duration",
            parser=duration,
            otherwise="do not wait",
            help="how long to wait for a repository that is locked, for example 5m or 2h",
        ),
    ] = 0.0
    stuck_request_timeout: Annotated[
        float,
        Option(
            "--stuck-request-timeout",
            metavar="duration",
            parser=duration,
            otherwise="5m0s",
            help="repeat a request that made no progress for this long",
        ),
    ] = 300.0
    tls_client_cert: Annotated[
        str,
        Option(
            "--tls-client-cert",
            metavar="file",
            variable="RESTIC_TLS_CLIENT_CERT",
            help="PEM file with the client's TLS certificate and private key",
        ),
    ] = ""
    verbose: Annotated[
        int,
        Option("--verbose", "-v", count=True, help="print more (several times, or with a level: --verbose=n; at most 2)"),
    ] = 0

    warm_up: Annotated[bool, Option("--warm-up", help="ask for packs in cold storage before they are read")] = False
    warm_up_batch: Annotated[
        int,
        Option(
            "--warm-up-batch",
            metavar="n",
            parser=parse_uint,
            help="packs for which the warm-up commands are run at once, where they have %ids or %paths",
        ),
    ] = 1
    warm_up_command: Annotated[
        str,
        Option(
            "--warm-up-command",
            metavar="command",
            help="command that brings packs back from cold storage: %id, %path, %ids and %paths stand for them",
        ),
    ] = ""
    warm_up_wait: Annotated[
        float,
        Option(
            "--warm-up-wait",
            metavar="duration",
            parser=duration,
            otherwise="do not wait",
            help="how long to wait after packs were asked for, for example 10m",
        ),
    ] = 0.0
    warm_up_wait_command: Annotated[
        str,
        Option(
            "--warm-up-wait-command",
            metavar="command",
            help="command that returns when packs can be read; as --warm-up-command",
        ),
    ] = ""

    # What no flag gives

    password: str | None = None
    """The password as given: None until it is fetched, empty when none is given and it has to be asked for."""
    password_variable: str = "RESTIC_PASSWORD"
    """The environment variable that may hold the password."""
    filling_hot: bool = False
    """Whether the hot half is about to be made whole, so that nothing needs to be said about what it lacks."""
    role: str = ""
    """What the repository is in a command that has two, for the question for its password."""

    def __init__(self, **values: object) -> None:
        self.cacert, self.option = [], []
        super().__init__(**values)

    def replaced(self, **values: object) -> "GlobalOptions":
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


GLOBAL_FLAGS = tuple(flags_of(GlobalOptions))


def global_options(values: "Mapping[str, object]") -> GlobalOptions:
    """Put flags and environment together: a flag wins. ``Failure`` on values that cannot be right."""
    options = GlobalOptions()
    for flag in GLOBAL_FLAGS:
        if flag.key in values:
            setattr(options, flag.key, values[flag.key])
        elif flag.variable and (text := variable(flag.variable)):
            try:
                setattr(options, flag.key, flag.parse(text))
            except ValueError as error:
                raise Failure(f'invalid value for {flag.variable} "{text}": {error}') from None
    if options.quiet and options.verbose > 0:
        raise Failure("--quiet and --verbose cannot be specified at the same time")
    options.compression_given = "compression" in values or bool(variable("RESTIC_COMPRESSION"))
    _ = options.extended
    return options
