"""The options that name a second repository (``init``, ``copy``), the older ones too that end in 2."""

from __future__ import annotations

from typing import Annotated

from restic_tools.declare import Option, OptionGroup
from restic_tools.environment import variable
from restic_tools.exitcodes import Failure
from restic_tools.globaloptions import GlobalOptions

_KEYS = ("repo", "repository_file", "password_file", "password_command", "key_hint")

Text = str | None


class SecondaryRepository(OptionGroup):
    """The options for a second repository; `options` adds the environment variables."""

    from_repo: Annotated[
        Text,
        Option(
            "--from-repo", metavar="repository", variable="RESTIC_FROM_REPOSITORY", help="location of the source repository"
        ),
    ] = None
    from_repository_file: Annotated[
        Text,
        Option(
            "--from-repository-file",
            metavar="file",
            variable="RESTIC_FROM_REPOSITORY_FILE",
            help="file to read the location of the source repository from",
        ),
    ] = None
    from_password_file: Annotated[
        Text,
        Option(
            "--from-password-file",
            metavar="file",
            variable="RESTIC_FROM_PASSWORD_FILE",
            help="file to read the password of the source repository from",
        ),
    ] = None
    from_password_command: Annotated[
        Text,
        Option(
            "--from-password-command",
            metavar="command",
            variable="RESTIC_FROM_PASSWORD_COMMAND",
            help="command that prints the password of the source repository",
        ),
    ] = None
    from_key_hint: Annotated[
        Text,
        Option("--from-key-hint", variable="RESTIC_FROM_KEY_HINT", help="ID of the key to try first for the source repository"),
    ] = None
    from_insecure_no_password: Annotated[
        bool, Option("--from-insecure-no-password", help="use an empty password for the source repository (insecure)")
    ] = False
    repo2: Annotated[Text, Option("--repo2", deprecated="use --repo or --from-repo instead")] = None
    repository_file2: Annotated[
        Text, Option("--repository-file2", deprecated="use --repository-file or --from-repository-file instead")
    ] = None
    password_file2: Annotated[Text, Option("--password-file2", hidden=True)] = None
    password_command2: Annotated[Text, Option("--password-command2", hidden=True)] = None
    key_hint2: Annotated[Text, Option("--key-hint2", hidden=True)] = None

    def _values(self, form: str, environment: str) -> dict[str, str]:
        """The options of one form, ``from_{}`` or ``{}2``, each from the command line or else from the environment."""
        names = {"repo": "REPOSITORY"}
        return {
            key: given if (given := getattr(self, form.format(key))) is not None else variable(environment.format(name))
            for key in _KEYS
            for name in (names.get(key, key.upper()),)
        }

    def _forms(self) -> tuple[dict[str, str], dict[str, str]]:
        return self._values("from_{}", "RESTIC_FROM_{}"), self._values("{}2", "RESTIC_{}2")

    @property
    def named(self) -> bool:
        """Whether a second repository is named."""
        return any(values[key] for values in self._forms() for key in ("repo", "repository_file"))

    @property
    def is_source(self) -> bool:
        """Whether ``copy`` copies from the second repository; with the older options it copies into it."""
        return any(self._forms()[0].values()) or self.from_insecure_no_password

    def options(self, options: GlobalOptions) -> GlobalOptions:
        """The global options for the second repository. ``Failure`` when none is named, or in two ways."""
        if not self.named:
            raise Failure("Please specify a source repository location (--from-repo or --from-repository-file)")
        new, old = self._forms()
        is_new = self.is_source
        if is_new and any(old.values()):
            raise Failure("Option groups repo2 and from-repo are mutually exclusive, please specify only one")
        values, form = (new, "--from-{}") if is_new else (old, "--{}2")
        if values["repo"] and values["repository_file"]:
            both = f"{form.format('repo')} and {form.format('repository-file')}"
            raise Failure(f"Options {both} are mutually exclusive, please specify only one")
        return options.replaced(
            **values,
            repo_hot="",
            insecure_no_password=self.from_insecure_no_password,
            password=None,
            password_variable="RESTIC_FROM_PASSWORD" if is_new else "RESTIC_PASSWORD2",
            role="source" if is_new else "destination",
        )
