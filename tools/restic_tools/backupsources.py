"""What ``backup`` is asked to back up, read from its options: targets, lists of targets, a stream, and what to leave out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from restic_tools.context import Context
from restic_tools.exitcodes import Failure

if TYPE_CHECKING:
    from restic_format.backup import CommandSource, StreamSource
    from restic_format.filter import ExcludeFilter


class FileLists:
    """The files of --files-from, --files-from-verbatim and --files-from-raw."""

    def __init__(self, patterns: list[str], verbatim: list[str], raw: list[str]) -> None:
        self.patterns = patterns
        self.verbatim = verbatim
        self.raw = raw

    def targets(self, ctx: Context, words: list[str]) -> tuple[list[str], bool]:
        """All targets that exist, and whether some do not."""
        from restic_format.backup import existing_targets, pattern_targets, raw_targets, read_list, verbatim_targets

        found: list[str] = []
        for name in self.patterns:
            matched, unmatched = pattern_targets(read_list(name))
            for pattern in unmatched:
                ctx.out.warn(f'pattern "{pattern}" does not match any files, skipping')
            found.extend(matched)
        for name in self.verbatim:
            found.extend(verbatim_targets(read_list(name)))
        for name in self.raw:
            found.extend(raw_targets(read_list(name)))
        found.extend(words)
        if not found:
            raise Failure("nothing to backup, please specify source files/dirs")
        existing = existing_targets(found, ctx.out.warn)
        return existing, len(existing) < len(found)


def check_streams(ctx: Context, lists: FileLists, words: list[str], *, stdin: bool, from_command: bool) -> None:
    """Refuse lines that would read standard input twice, or back up targets and a stream at once."""
    from restic_tools.passwords import given_password

    if not ctx.options.insecure_no_password and not given_password(ctx.options):
        if stdin:
            raise Failure("cannot read both password and data from stdin")
        if "-" in (*lists.patterns, *lists.verbatim, *lists.raw):
            raise Failure(
                "unable to read password from stdin when data is to be read from stdin, use --password-file or $RESTIC_PASSWORD"
            )
    if not (stdin or from_command):
        return
    for names, flag in ((lists.patterns, ""), (lists.verbatim, "-verbatim"), (lists.raw, "-raw")):
        if names:
            raise Failure(f"--stdin and --files-from{flag} cannot be used together")
    if words and not from_command:
        raise Failure("--stdin was specified and files/dirs were listed as arguments")


def open_stream(ctx: Context, words: list[str], *, from_command: bool) -> StreamSource | CommandSource:
    """Standard input, or what the command *words* writes."""
    from restic_format.backup import BackupFailed, CommandSource, StreamSource

    ctx.out.verbose("read data from stdin")
    if not from_command:
        return StreamSource(0 if sys.stdin is None else sys.stdin.fileno())
    try:
        return CommandSource(words, ctx.out.warn)
    except BackupFailed as error:
        raise Failure(str(error)) from error


def source_path(path: str | None, targets: list[str], *, stream: bool) -> str:
    """The path of --as-path, which must not come with a stream or several targets."""
    if path is None:
        return ""
    if not path:
        raise Failure("--as-path needs a path, not an empty text")
    if stream:
        raise Failure("--as-path cannot be used for a stream; name it with --stdin-filename")
    if len(targets) > 1:
        raise Failure(f"--as-path takes one file or directory to back up, not {len(targets)}")
    return path


def exclude_filter(
    patterns: list[str], files: list[str], insensitive: list[str], insensitive_files: list[str]
) -> ExcludeFilter:
    """All exclude patterns as one filter; an error names the option of a malformed pattern."""
    from restic_format.filter import ExcludeFilter, InvalidPattern, PatternList, read_pattern_file

    def checked(option: str, texts: list[str]) -> list[str]:
        try:
            PatternList(texts)
        except InvalidPattern as error:
            raise Failure(f"{option}: {error}", block=True) from None
        return texts

    def from_files(option: str, names: list[str]) -> list[str]:
        return checked(option, [text for name in names for text in read_pattern_file(name)])

    sensitive = from_files("--exclude-file", files)
    folded = from_files("--iexclude-file", insensitive_files)
    return ExcludeFilter(
        [*checked("--exclude", patterns), *sensitive],
        [*checked("--iexclude", insensitive), *folded],
    )
