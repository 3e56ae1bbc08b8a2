"""``key``: the passwords of a repository."""

from __future__ import annotations

from typing import Annotated

from restic_format.errors import ResticFormatError
from restic_format.repository import Repository
from restic_format.repository.keys import add_key, change_password, load_key, remove_key
from restic_format.snapshots import find_id
from restic_format.words import printable
from restic_spec.keyfile import KeyFile
from restic_spec.layout import FileKind
from restic_tools.argv import UsageFailure
from restic_tools.context import Context
from restic_tools.declare import Argument, Option
from restic_tools.exitcodes import Failure
from restic_tools.gotext import canonical, full_text, local_text
from restic_tools.messages import encode_message
from restic_tools.messages.key import KeyInfo, KeyRemoved, KeySaved
from restic_tools.passwords import ask_new_password, read_text_file
from restic_tools.render import Table

NoWords = Annotated[list[str], Argument(metavar="")]
NewPasswordFile = Annotated[
    str | None,
    Option("--new-password-file", metavar="file", help="file to read the new password from"),
]
NewInsecureNoPassword = Annotated[
    bool,
    Option("--new-insecure-no-password", help="use an empty password for the new key (insecure)"),
]
UserName = Annotated[str | None, Option("--user", help="user name for the new key")]
HostName = Annotated[str | None, Option("--host", help="hostname for the new key")]


def key_list(ctx: Context, words: NoWords) -> None:
    """List the keys (passwords)

    Shows ID, user, host and time of creation of each key; an asterisk marks the key that opened the repository.
    """
    _expect_nothing(words, "list")
    with ctx.open_repository(lock="shared") as repo:
        found = []
        for key_id, _ in repo.list(FileKind.KEY):
            try:
                found.append(_info(repo, key_id, load_key(repo.storage, key_id.hex())))
            except ResticFormatError as error:
                ctx.out.warn(f"key {key_id.hex()} cannot be read: {error}")
    found.sort(key=lambda info: (info.created, info.id))
    if ctx.options.json:
        ctx.out.write(encode_message(found) + b"\n")
        return
    table = Table([" ID", "User", "Host", "Created"])
    for info in found:
        table.add(
            [("*" if info.current else " ") + info.id[:8], printable(info.user_name), printable(info.host_name), info.created]
        )
    ctx.out.line(table.text().rstrip("\n"), block=True)


def _info(repo: Repository, key_id: bytes, key: KeyFile) -> KeyInfo:
    return KeyInfo(
        current=key_id == repo.key_id,
        id=key_id.hex(),
        user_name=key.username or "",
        host_name=key.hostname or "",
        created=local_text(canonical(key.created)),
    )


def key_add(
    ctx: Context,
    words: NoWords,
    new_password_file: NewPasswordFile = None,
    new_insecure_no_password: NewInsecureNoPassword = False,
    user: UserName = None,
    host: HostName = None,
) -> None:
    """Add a new key (password) to the repository

    Prints the ID of the new key, which has been tried by then.
    """
    _expect_nothing(words, "add")
    with ctx.open_repository(lock="shared", honour_no_lock=False) as repo:
        password = _new_password(new_password_file, empty=new_insecure_no_password)
        with ctx.interrupt.deferred():  # whoever interrupts this must know whether there is a new key
            key_id = add_key(repo.storage, repo.master_key, password, username=user, hostname=host)
    if ctx.options.json:
        ctx.out.json(KeySaved("key_saved", key_id.hex(), ""))
    ctx.out.info(f"saved new key with ID {key_id.hex()}")


def key_passwd(
    ctx: Context,
    words: NoWords,
    new_password_file: NewPasswordFile = None,
    new_insecure_no_password: NewInsecureNoPassword = False,
    user: UserName = None,
    host: HostName = None,
) -> None:
    """Change the password: add a new key and remove the current one

    The current key is removed only when the new one has been tried. Prints the ID of the new key.
    """
    _expect_nothing(words, "passwd")
    with ctx.open_repository(lock="exclusive") as repo:
        password = _new_password(new_password_file, empty=new_insecure_no_password)
        with ctx.interrupt.deferred():  # whoever interrupts this must know which password holds
            key_id = change_password(repo, password, username=user, hostname=host)
            key = load_key(repo.storage, key_id.hex())
    if ctx.options.json:
        ctx.out.json(KeySaved("key_saved", key_id.hex(), repo.key_id.hex()))
    created = full_text(canonical(key.created))
    owner = f"{printable(key.username or '')}@{printable(key.hostname or '')}"
    ctx.out.info(f"saved new key as <Key of {owner}, created on {created}>, ID {key_id.hex()}")


def key_remove(ctx: Context, words: Annotated[list[str], Argument(metavar="[ID]")]) -> None:
    """Remove a key (password) from the repository

    The key that the repository was opened with cannot be removed.
    """
    if len(words) != 1:
        raise UsageFailure("key remove expects one argument as the key id")
    with ctx.open_repository(lock="exclusive") as repo:
        key_id = find_id(repo, FileKind.KEY, words[0])
        with ctx.interrupt.deferred():
            remove_key(repo, key_id)
    if ctx.options.json:
        ctx.out.json(KeyRemoved("key_removed", key_id.hex()))
    ctx.out.info(f"removed key {key_id.hex()}")


def _expect_nothing(words: list[str], command: str) -> None:
    if words:
        raise UsageFailure(
            f"the key {command} command expects no arguments, only options - "
            f"please see `restic-format help key {command}` for usage and flags"
        )


def _new_password(file: str | None, *, empty: bool) -> bytes:
    if empty:
        if file:
            raise UsageFailure("only either --new-password-file or --new-insecure-no-password may be specified")
        return b""
    if file:
        password = read_text_file(file)
        if not password:
            raise Failure(
                "an empty password is not allowed by default. Pass the flag `--new-insecure-no-password` to restic-format "
                "to disable this check"
            )
    else:
        password = ask_new_password("enter new password: ")
    return password.encode("utf-8", "surrogateescape")
