"""The options that every command takes, and the environment variables that stand in for them.

The table is the program's global interface: names, letters and meanings are those of restic 0.19.1.
"""

from __future__ import annotations

from restic_tools.argv import Flag, parse_int, parse_uint


def _duration(text: str) -> float:
    from restic_tools.flagtypes import duration

    return duration(text)


def _comma_list(text: str) -> list[str]:
    from restic_tools.flagtypes import comma_list

    return comma_list(text)


def _compression(text: str) -> str:
    from restic_tools.flagtypes import compression_mode

    return compression_mode(text)


DEFAULT_STUCK_TIMEOUT = 300.0

GLOBAL_FLAGS: tuple[Flag, ...] = (
    Flag(
        "cacert",
        "file to load root certificates from (default: system certificates or $RESTIC_CACERT)",
        metavar="file",
        parse=_comma_list,
        many=True,
        spread=True,
    ),
    Flag(
        "cache-dir",
        "cache directory (default: $RESTIC_CACHE_DIR or the system's cache folder)",
        metavar="directory",
    ),
    Flag("cleanup-cache", "remove old cache directories", kind="bool"),
    Flag(
        "compression",
        "how to compress new data (repository version 2): auto, off, fastest, better or max (default: $RESTIC_COMPRESSION)",
        metavar="mode",
        parse=_compression,
    ),
    Flag("http-user-agent", "user agent for outgoing HTTP requests (default: $RESTIC_HTTP_USER_AGENT)"),
    Flag(
        "insecure-no-password",
        "use an empty password for the repository; every command needs it then",
        kind="bool",
    ),
    Flag("insecure-tls", "do not verify TLS certificates of the repository's server", kind="bool"),
    Flag("json", "write JSON messages instead of text for people", kind="bool"),
    Flag("key-hint", "ID of the key to try first (default: $RESTIC_KEY_HINT)", metavar="key"),
    Flag(
        "limit-download",
        "limit downloads to this rate in KiB/s (default: unlimited)",
        metavar="rate",
        parse=parse_int,
    ),
    Flag(
        "limit-upload",
        "limit uploads to this rate in KiB/s (default: unlimited)",
        metavar="rate",
        parse=parse_int,
    ),
    Flag("no-cache", "do not use a local cache", kind="bool"),
    Flag("no-extra-verify", "do not verify data once more before it is stored", kind="bool"),
    Flag("no-lock", "do not lock the repository; for reading from read-only repositories", kind="bool"),
    Flag(
        "option",
        "set an extended option (may be given many times)",
        short="o",
        metavar="key=value",
        parse=_comma_list,
        many=True,
        spread=True,
    ),
    Flag(
        "pack-size",
        "target size of pack files in MiB (default: $RESTIC_PACK_SIZE)",
        metavar="size",
        parse=parse_uint,
    ),
    Flag(
        "password-command",
        "shell command that prints the repository password (default: $RESTIC_PASSWORD_COMMAND)",
        metavar="command",
    ),
    Flag(
        "password-file",
        "file to read the repository password from (default: $RESTIC_PASSWORD_FILE)",
        short="p",
        metavar="file",
    ),
    Flag("quiet", "say nothing but results and errors", short="q", kind="bool"),
    Flag(
        "repo",
        "repository to back up to or restore from (default: $RESTIC_REPOSITORY)",
        short="r",
        metavar="repository",
    ),
    Flag(
        "repository-file",
        "file to read the repository location from (default: $RESTIC_REPOSITORY_FILE)",
        metavar="file",
    ),
    Flag(
        "retry-lock",
        "wait this long for a locked repository, for example 5m or 2h (default: no waiting)",
        metavar="duration",
        parse=_duration,
    ),
    Flag(
        "stuck-request-timeout",
        "give up on a request that makes no progress for this long, and repeat it (default 5m0s)",
        metavar="duration",
        parse=_duration,
    ),
    Flag(
        "tls-client-cert",
        "file with the TLS client certificate and private key in PEM form (default: $RESTIC_TLS_CLIENT_CERT)",
        metavar="file",
    ),
    Flag(
        "verbose",
        "say more (give it twice, or a level with --verbose=n; the highest is 2)",
        short="v",
        kind="count",
    ),
)

COMMANDS_WITHOUT_PASSWORD = frozenset(("version", "help", "generate", "completion", "options", "cache"))
"""Commands that never open a repository: a password command (which may ask the user) is not run for them."""
