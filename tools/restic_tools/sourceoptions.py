"""The options that say what to leave out of a local directory, as ``backup`` has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from restic_tools.declare import Option, OptionGroup
from restic_tools.flagtypes import size

if TYPE_CHECKING:
    from restic_format.backup import BackupOptions

_MANY = "(can be given several times)"
Texts = list[str] | None


class SourceFilter(OptionGroup):
    """What to leave out of a local directory."""

    custom_ignorefile: Annotated[
        Texts, Option("--custom-ignorefile", metavar="name", help=f"treat files of this name like .gitignore files {_MANY}")
    ] = None
    exclude: Annotated[
        Texts, Option("--exclude", "-e", metavar="pattern", help=f"leave out what matches this pattern {_MANY}")
    ] = None
    exclude_caches: Annotated[bool, Option("--exclude-caches", help="leave out the contents of cache directories")] = False
    exclude_file: Annotated[
        Texts, Option("--exclude-file", metavar="file", help=f"read exclude patterns from a file, one a line {_MANY}")
    ] = None
    exclude_if_present: Annotated[
        Texts,
        Option(
            "--exclude-if-present",
            metavar="filename[:header]",
            help=f"leave out the contents of directories that have a file of this name {_MANY}",
        ),
    ] = None
    exclude_larger_than: Annotated[
        int | None, Option("--exclude-larger-than", metavar="size", parser=size, help="leave out files larger than this")
    ] = None
    git_ignore: Annotated[bool, Option("--git-ignore", help="leave out what git ignores in its repositories")] = False
    iexclude: Annotated[
        Texts, Option("--iexclude", metavar="pattern", help="like --exclude, but ignores upper and lower case")
    ] = None
    iexclude_file: Annotated[
        Texts, Option("--iexclude-file", metavar="file", help="like --exclude-file, but ignores upper and lower case")
    ] = None
    no_require_git: Annotated[
        bool, Option("--no-require-git", help="with --git-ignore, also heed .gitignore files outside of git repositories")
    ] = False
    one_file_system: Annotated[
        bool, Option("--one-file-system", "-x", help="do not cross into other file systems or subvolumes")
    ] = False

    @property
    def given(self) -> bool:
        """Whether any of them is."""
        return any(getattr(self, name) for name in SourceFilter.__annotations__)

    def options(self) -> BackupOptions:
        """The same as options of a backup. ``Failure`` for a malformed pattern."""
        from restic_format.backup import BackupOptions
        from restic_format.backup.select import CACHE_TAG
        from restic_format.filter import ExcludeFilter
        from restic_tools.gitconfig import git_user_file
        from restic_tools.patternoptions import patterns_of

        return BackupOptions(
            excludes=ExcludeFilter(
                patterns_of("exclude", self.exclude, self.exclude_file),
                patterns_of("iexclude", self.iexclude, self.iexclude_file, ignore_case=True),
            ),
            exclude_if_present=[*(self.exclude_if_present or []), *([CACHE_TAG] if self.exclude_caches else [])],
            exclude_larger_than=self.exclude_larger_than,
            ignore_files=self.custom_ignorefile or [],
            git_ignore=self.git_ignore,
            require_git_repository=not self.no_require_git,
            git_user_file=git_user_file() if self.git_ignore else "",
            one_file_system=self.one_file_system,
        )
