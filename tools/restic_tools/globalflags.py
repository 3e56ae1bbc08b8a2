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
        "PEM file with the root certificates to trust (default: $RESTIC_CACERT or the system's)",
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
    Flag("cleanup-cache", "remove the caches of repositories not used for 30 days", kind="bool"),
    Flag(
        "compression",
        "how to compress new data (repository version 2): auto, off, fastest, better or max (default: $RESTIC_COMPRESSION)",
        metavar="mode",
        parse=_compression,
    ),
    Flag("http-user-agent", "what to call ourselves in HTTP requests (default: $RESTIC_HTTP_USER_AGENT)"),
    Flag(
        "insecure-no-password",
        "the repository's password is empty; every command has to be told",
        kind="bool",
    ),
    Flag("insecure-tls", "do not verify TLS certificates of the repository's server", kind="bool"),
    Flag("json", "write JSON messages instead of text for people", kind="bool"),
    Flag("key-hint", "try the key with this ID before the others (default: $RESTIC_KEY_HINT)", metavar="key"),
    Flag(
        "limit-download",
        "read no more than this many KiB/s from the repository (default: no limit)",
        metavar="rate",
        parse=parse_int,
    ),
    Flag(
        "limit-upload",
        "write no more than this many KiB/s to the repository (default: no limit)",
        metavar="rate",
        parse=parse_int,
    ),
    Flag("no-cache", "neither read nor fill the cache on this computer", kind="bool"),
    Flag("no-extra-verify", "do not verify data once more before it is stored", kind="bool"),
    Flag("no-lock", "take no lock; for repositories that can only be read", kind="bool"),
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
        "command whose output is the password (default: $RESTIC_PASSWORD_COMMAND)",
        metavar="command",
    ),
    Flag(
        "password-file",
        "file that holds the password (default: $RESTIC_PASSWORD_FILE)",
        short="p",
        metavar="file",
    ),
    Flag("quiet", "say nothing but results and errors", short="q", kind="bool"),
    Flag(
        "repo",
        "where the repository is (default: $RESTIC_REPOSITORY)",
        short="r",
        metavar="repository",
    ),
    Flag(
        "repository-file",
        "file that says where the repository is (default: $RESTIC_REPOSITORY_FILE)",
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
        "PEM file with the certificate and key to show to the server (default: $RESTIC_TLS_CLIENT_CERT)",
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
