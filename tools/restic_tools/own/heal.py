"""``heal``: repair a damaged repository; what is replaced is kept, so that it can be undone."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from restic_format.words import visible
from restic_tools.context import Context
from restic_tools.exitcodes import Failure
from restic_tools.own.elsewhere import Elsewhere
from restic_tools.own.running import context_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from restic_format.errors import ResticFormatError
    from restic_format.repository import Repository
    from restic_format.rescue.budget import Budget
    from restic_format.rescue.means import Means
    from restic_format.rescue.quarantine import Quarantine
    from restic_format.storage import SideFiles, Storage
    from restic_format.work import Cancel
    from restic_spec.crypto import MasterKey
    from restic_tools.context import LockMode
    from restic_tools.globaloptions import GlobalOptions

app = typer.Typer()

_MOST_BUDGET = 30 * 24 * 3600


@app.command()
def heal(
    ctx: typer.Context,
    run: Annotated[str | None, typer.Argument(metavar="[run]")] = None,
    budget: Annotated[
        float,
        typer.Option("--budget", metavar="seconds", help="how long to try to solve damage through the MAC, in all"),
    ] = 600.0,
    donor: Annotated[
        list[str] | None,
        typer.Option(
            "--donor",
            metavar="repository",
            help="take what is lost from this repository, another one or a copy (can be given several times)",
        ),
    ] = None,
    donor_insecure_no_password: Annotated[
        bool, typer.Option("--donor-insecure-no-password", help="use an empty password for the donors (insecure)")
    ] = False,
    donor_key_hint: Annotated[
        str, typer.Option("--donor-key-hint", metavar="key", help="ID of the key to try first for the donors")
    ] = "",
    donor_password_command: Annotated[
        str,
        typer.Option("--donor-password-command", metavar="command", help="command that prints the password of the donors"),
    ] = "",
    donor_password_file: Annotated[
        str,
        typer.Option(
            "--donor-password-file",
            metavar="file",
            help="file to read the password of the donors from (default: it is the repository's)",
        ),
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="change nothing, only show the plan")] = False,
    forget: Annotated[
        bool, typer.Option("--forget", help="set damaged snapshots aside when those that replace them are stored")
    ] = False,
    forget_quarantine: Annotated[
        bool, typer.Option("--forget-quarantine", help="drop what repairs have set aside; they cannot be undone then")
    ] = False,
    lost: Annotated[
        bool,
        typer.Option(
            "--lost-snapshots", help="bring back snapshots that parity or a copy has and that are gone, but were not forgotten"
        ),
    ] = False,
    parity: Annotated[
        str, typer.Option("--parity", metavar="directory", help="use the parity in this directory, made by `protect --to`")
    ] = "",
    quarantine: Annotated[
        str,
        typer.Option(
            "--quarantine",
            metavar="directory",
            help="keep what is set aside here, not in the folder quarantine of the repository",
        ),
    ] = "",
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            metavar="path",
            help="take what is lost from these files, which were backed up once (can be given several times)",
        ),
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="take the last repair back: all files are as before it")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False,
) -> None:
    """Repair a damaged repository

    Checks everything, shows a plan, asks, carries it out, and checks everything again. Nothing is deleted: what is replaced or
    set aside is kept in the folder `quarantine` of the repository, which no other program looks at. --undo brings it back.

    The index is made right from the packs; every intact blob of damaged packs is saved; snapshots that have lost something stay
    as they are, and new ones beside them, with the tag `repaired`, have what is left. A file that has lost parts keeps its
    length, with zeros in their place.

    While anything cannot be read (an unsteady disk or network, missing permissions) nothing is changed: it may be intact.
    """
    tools = context_of(ctx)
    if not 0 <= budget <= _MOST_BUDGET:
        raise Failure(f"--budget must be from 0 to {_MOST_BUDGET} seconds")
    if undo and forget_quarantine:
        raise Failure("--undo and --forget-quarantine cannot be used together")
    if run is not None and not (undo or forget_quarantine):
        raise Failure("the name of a run goes with --undo or --forget-quarantine only")
    place = _Place(tools, quarantine)
    if not (undo or forget_quarantine):
        from restic_format.rescue.budget import Budget

        given = Elsewhere(
            parity,
            donor or (),
            donor_password_file,
            donor_password_command,
            donor_key_hint,
            donor_insecure_no_password,
            source or (),
        )
        with given.opened(tools):
            _heal(tools, place, given, Budget(budget), dry_run=dry_run, forget=forget, lost=lost, yes=yes)
    elif undo:
        _undo(tools, run, place, dry_run=dry_run, yes=yes)
    else:
        _forget_quarantine(tools, run, place, dry_run=dry_run, yes=yes)


def _heal(
    ctx: Context,
    place: _Place,
    given: Elsewhere,
    budget: Budget,
    *,
    dry_run: bool,
    forget: bool,
    lost: bool,
    yes: bool,
) -> None:
    from restic_format.rescue.heal import heal as carry_out
    from restic_format.rescue.plan import make_plan, unreadable
    from restic_spec.layout import FileKind
    from restic_tools.own.healtext import show_plan, show_result
    from restic_tools.stages import StagePrinter, stoppable

    headings = {
        "index": "loading indexes",
        "snapshots": "checking snapshots and trees",
        "read": "reading all data",
        "damaged files": "bringing back damaged files as they were, where that can be done",
        "damaged blobs": "bringing back damaged blobs, where that can be done",
        "pack files": "salvaging intact data from damaged packs",
        "snapshots repaired": "repairing snapshots that have lost something",
        "proof": "checking everything again",
    }
    options = ctx.options.replaced(no_cache=True)
    foreign = _enter(ctx, options, place, given, budget, dry_run=dry_run, yes=yes)
    if foreign is None:
        return
    lock: LockMode = "none" if dry_run else "exclusive"
    with ctx.open_repository(lock=lock, options=options) as repository, stoppable(ctx) as cancel:
        means = [
            *_means(repository.storage, repository.master_key, repository.version, budget),
            *given.means(ctx, repository),
        ]
        snapshots = given.lost(repository.storage, FileKind.SNAPSHOT) if lost else []
        with StagePrinter(ctx, headings, uncounted=("damaged files", "damaged blobs", "proof")) as printer:

            def progress(event: object) -> None:
                from restic_format.work import Advance

                if isinstance(event, Advance):
                    printer(event)

            names = [one.name for one in means]
            made = make_plan(
                repository, names, forget=forget, foreign=foreign, lost=snapshots, progress=progress, cancel=cancel
            )
            printer.close()
            show_plan(ctx, made, was_used=place.was_used)
            if made.obstacles:
                raise Failure(
                    f"not everything can be read, and what cannot may be intact: {visible(made.obstacles[0])}: make the "
                    "storage readable (is the medium mounted, may this user read the files, is the disk well?) and run heal "
                    "again; nothing was changed"
                )
            if dry_run or (made.is_healthy and not place.was_used):
                return
            if not made.is_healthy:
                _ask(ctx, "carry out this plan", yes=yes)
            done = carry_out(
                made,
                place.quarantine(repository),
                means,
                forget=forget,
                budget=budget,
                progress=printer,
                cancel=cancel,
            )
    show_result(ctx, done, forget=forget)
    if missed := unreadable(done.diagnosis):
        raise Failure(
            f"when all was checked again not everything could be read: {visible(missed[0])}: make the storage readable and run "
            "heal again; `heal --undo` takes everything back"
        )
    if not done.is_sound:
        raise Failure("something is lost for good, or could not be healed: see above; `heal --undo` takes everything back")


def _means(
    storage: Storage, master: MasterKey | None, version: int, budget: Budget, password: bytes | None = None
) -> Sequence[Means]:
    """The ways in which files and blobs can be brought back; without a master key, key files alone."""
    from restic_format.rescue.means.joining import Joining
    from restic_format.rescue.means.misplaced import Misplaced
    from restic_format.rescue.means.solving import Solving

    found: list[Means] = [Misplaced(storage, master), Solving(master, version, budget=budget, password=password)]
    return found if master is None else [*found, Joining(master)]


class _Place:
    """The quarantine of this call, in the repository or where the user says; one run for all that is done."""

    def __init__(self, ctx: Context, location: str) -> None:
        self._ctx = ctx
        self._location = location
        self._kept: Quarantine | None = None

    @property
    def was_used(self) -> bool:
        """Whether something was changed already, so that the repository could be opened and locked."""
        return self._kept is not None and self._kept.begun

    def side(self, storage: Storage) -> SideFiles:
        """Its files, for the repository in *storage*."""
        if self._location:
            from restic_tools.access import side_files

            return side_files(self._ctx.options, self._location)
        return storage.side_files("quarantine")

    def quarantine(self, repository: Repository) -> Quarantine:
        """The quarantine of the run."""
        from restic_format.rescue.quarantine import Quarantine

        self._kept = self._kept or Quarantine(self.side(repository.storage))
        return self._kept


def _enter(
    ctx: Context, options: GlobalOptions, place: _Place, given: Elsewhere, budget: Budget, *, dry_run: bool, yes: bool
) -> list[str] | None:
    """Put right what keeps the repository from being opened and locked; the names of keys in it that are of another repository,
    None where it cannot be opened now.
    """
    from restic_format.errors import DamagedFile, KeyUnusable, RepositoryNotFound, WrongPassword
    from restic_format.repository.keys import opens_others
    from restic_format.rescue.entrance import foreign_keys
    from restic_spec.layout import FileKind
    from restic_tools.access import given_storage
    from restic_tools.passwords import ask_password

    with ExitStack() as stack:
        try:
            repository = stack.enter_context(ctx.open_repository(lock="none", options=options))
            if opens_others(repository.storage, repository.master_key) is False:
                raise DamagedFile(
                    "the config and the key that opens it open no other file here: they are of another repository"
                )
        except WrongPassword as error:
            if _has_keys(options):
                raise
            if given.lost(given_storage(options, bool), FileKind.KEY):
                _restore_entrance(ctx, options, place, given, error, budget, dry_run=dry_run, yes=yes)
                return None if dry_run else []
            raise Failure(
                "there is no key in the repository: without one nothing in it can be read, whatever the password is; bring "
                "back the folder keys from any copy of the repository, however old; nothing was changed"
            ) from error
        except (RepositoryNotFound, DamagedFile, KeyUnusable) as error:
            lost = isinstance(error, RepositoryNotFound) and not _has_keys(options)
            if lost and not given.lost(given_storage(options, bool), FileKind.KEY):
                raise
            _restore_entrance(ctx, options, place, given, error, budget, dry_run=dry_run, yes=yes)
            return None if dry_run else []
        if not dry_run:
            _clear_locks(ctx, repository, place, yes=yes)
        return foreign_keys(repository, ask_password(options, "").encode("utf-8", "surrogateescape"))


def _has_keys(options: GlobalOptions) -> bool:
    from restic_spec.layout import FileKind
    from restic_tools.access import given_storage

    return any(True for _ in given_storage(options, bool).list(FileKind.KEY))


def _restore_entrance(
    ctx: Context,
    options: GlobalOptions,
    place: _Place,
    given: Elsewhere,
    error: ResticFormatError,
    budget: Budget,
    *,
    dry_run: bool,
    yes: bool,
) -> None:
    """Bring back what the repository needs to be opened: a key, the config."""
    from restic_format.rescue.entrance import find_entrance, restore_entrance
    from restic_format.rescue.polynomial import Recovered
    from restic_spec.layout import FileKind
    from restic_tools.access import given_storage
    from restic_tools.messages.heal import BroughtBack, Entrance
    from restic_tools.passwords import ask_password
    from restic_tools.stages import stoppable

    ctx.out.info(f"the repository cannot be opened: {str(error).splitlines()[0]}")
    password = ask_password(options, "enter password for repository: ").encode("utf-8", "surrogateescape")
    with stoppable(ctx) as cancel:
        storage = given_storage(options, ctx.interrupt.event.is_set)
        with budget.shared(0.5):
            found = find_entrance(
                storage,
                password,
                lambda master, version: [
                    *_means(storage, master, version, budget, password),
                    *given.before_opening(storage),
                ],
                lost_keys=given.lost(storage, FileKind.KEY),
                key_hint=options.key_hint or None,
                budget=budget,
                cancel=cancel,
            )
        files = [*found.keys, *([found.config] if found.config is not None else [])]
        if ctx.options.json:
            told = [BroughtBack(file.kind.value, file.name, file.how) for file in files]
            cut = found.polynomial
            ctx.out.json(
                Entrance(
                    "entrance", told, found.is_new, found.foreign, dry_run, cut and cut.boundaries, isinstance(cut, Recovered)
                )
            )
        for file in files:
            named = "config" if file.kind is FileKind.CONFIG else f"key {file.name[:8]}"
            ctx.out.info(f"{named}: {file.how}")
        for name in found.foreign:
            ctx.out.info(f"key {name[:8]}: is of another repository, and will be set aside")
        if isinstance(found.polynomial, Recovered):
            ctx.out.info(
                "the old config cannot be had, and the repository gets a new id; but files will be cut in the same places as "
                "before, so that the next backup stores no more than usual; all that is there can be restored"
            )
        elif found.polynomial is not None:
            ctx.out.info(
                "the old config cannot be had: the repository gets a new id, and files will be cut in other places, so that "
                "the next backup stores more than usual; all that is there can be restored"
            )
            ctx.out.info(
                f"where files were cut cannot be found again: {found.polynomial.reason} ({found.polynomial.boundaries} places "
                f"were found, at least {found.polynomial.needed} are needed)"
            )
        if dry_run:
            ctx.out.info("what else is damaged can be told when this is done")
            return
        _ask(ctx, "store this, so that the repository can be opened", yes=yes)
        _clear_locks(ctx, found.repository, place, yes=yes)
        with found.repository.lock(exclusive=True):
            restore_entrance(found, place.quarantine(found.repository))


def _clear_locks(ctx: Context, repository: Repository, place: _Place, *, yes: bool) -> None:
    from restic_format.rescue.locks import find_dead_locks, set_locks_aside

    found = find_dead_locks(repository)
    for name, why in found.unreadable.items():
        ctx.out.info(f"lock {name[:8]} cannot be read: {why}")
    if found.unreadable:
        _ask(ctx, "set these locks aside, as no other program is working on the repository", yes=yes)
    names = [*found.stale, *found.unreadable]
    if names:
        set_locks_aside(repository, place.quarantine(repository), names)
        ctx.out.info(f"set {len(names)} locks aside that nobody holds")


def _ask(ctx: Context, what: str, *, yes: bool) -> None:
    """Go on only where the user agrees."""
    if yes:
        return
    if ctx.options.json or sys.stdin is None or not sys.stdin.isatty() or not ctx.out.stdout_is_terminal:
        raise Failure(f"nothing was changed: run the command again with --yes to {what}")
    ctx.out.flush()
    sys.stderr.write(f"{what}? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Failure("nothing was changed")


def _undo(ctx: Context, run: str | None, place: _Place, *, dry_run: bool, yes: bool) -> None:
    from restic_format.errors import DamagedFile, KeyUnusable, RepositoryNotFound, WrongPassword
    from restic_format.rescue.quarantine import run_names
    from restic_format.rescue.undo import may_end_unopened
    from restic_tools.access import given_storage
    from restic_tools.stages import stoppable

    options = ctx.options.replaced(no_cache=True)
    with ExitStack() as stack:
        try:
            lock: LockMode = "none" if dry_run else "exclusive"
            storage = stack.enter_context(ctx.open_repository(lock=lock, options=options)).storage
        except (RepositoryNotFound, DamagedFile, KeyUnusable, WrongPassword) as error:
            # An undo that was stopped may have brought back already what keeps the repository from being opened and locked.
            if isinstance(error, WrongPassword) and _has_keys(options):
                raise
            storage = given_storage(options, ctx.interrupt.event.is_set)
            names = run_names(place.side(storage))
            if not names or not may_end_unopened(storage, place.side(storage), run or names[-1]):
                raise
            ctx.out.info(f"the repository cannot be opened, as before the repair: {error}")
        cancel = stack.enter_context(stoppable(ctx))
        _take_back(ctx, storage, place.side(storage), run, cancel, dry_run=dry_run, yes=yes)


def _take_back(
    ctx: Context, storage: Storage, side: SideFiles, run: str | None, cancel: Cancel, *, dry_run: bool, yes: bool
) -> None:
    from restic_format.rescue.quarantine import read_run, run_names
    from restic_format.rescue.undo import undo
    from restic_tools.messages.heal import Undone, file_names
    from restic_tools.stages import StagePrinter

    names = run_names(side)
    if run is None and not names:
        ctx.out.info(f"there is no repair to undo in {visible(side.location)}")
        if ctx.options.json:
            ctx.out.json(Undone("undone", "", [], [], []))
        return
    found = read_run(side, run or names[-1])
    if found.is_undone:
        ctx.out.info(f"run {found.name} was undone already, up to removing its folder in the quarantine")
    else:
        ctx.out.info(f"run {found.name} has set {len(found.kept)} files aside and stored {len(found.added)} new ones")
    if dry_run:
        return
    _ask(ctx, "take it back", yes=yes)
    with StagePrinter(ctx, {"files brought back": "", "files removed": ""}) as progress:
        done = undo(storage, side, found.name, progress=progress, cancel=cancel)
    if ctx.options.json:
        ctx.out.json(Undone("undone", done.run, file_names(done.restored), file_names(done.removed), file_names(done.left)))
        return
    ctx.out.info(f"brought back {len(done.restored)} files, removed {len(done.removed)}")
    if done.left:
        ctx.out.info(f"kept {len(done.left)} packs and index files that newer snapshots may need")
    if len(names) > 1:
        ctx.out.info(f"earlier runs that can be undone: {' '.join(names[:-1])}")


def _forget_quarantine(ctx: Context, run: str | None, place: _Place, *, dry_run: bool, yes: bool) -> None:
    from restic_format.rescue.quarantine import run_names
    from restic_format.rescue.undo import forget
    from restic_tools.messages.heal import QuarantineForgotten

    options = ctx.options.replaced(no_cache=True)
    with ctx.open_repository(lock="none" if dry_run else "exclusive", options=options) as repository:
        side = place.side(repository.storage)
        names = run_names(side) if run is None else [run]
        if not names:
            ctx.out.info("the quarantine is empty")
        elif dry_run:
            ctx.out.info(f"would drop {' '.join(names)}")
        else:
            _ask(ctx, f"drop {' '.join(names)} for good", yes=yes)
            names = forget(side, run)
            ctx.out.info(f"dropped {' '.join(names)}")
    if ctx.options.json:
        ctx.out.json(QuarantineForgotten("quarantine_forgotten", names, dry_run))
