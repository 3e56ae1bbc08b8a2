"""``config`` and ``show-config``: settings that live in the repository."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
import typer

from restic_format.maintenance.configure import SETTINGS, apply, plan
from restic_format.repository import Repository
from restic_format.repository.packer import DEFAULT_PACK_SIZE, MAX_PACK_SIZE
from restic_spec.pack import BlobType
from restic_spec.rustic import ConfigMembers, config_members
from restic_tools.exitcodes import Failure
from restic_tools.flagtypes import byte_size
from restic_tools.messages.repository import ConfigChanged, Setting, SettingChanged, ShownConfig
from restic_tools.own.running import context_of
from restic_tools.render import Table
from restic_tools.safekeeping import safekeeping

app = typer.Typer()
shown = typer.Typer()


class Truth(StrEnum):
    """A value that is given in words."""

    TRUE = "true"
    FALSE = "false"


@app.command()
def config(
    ctx: typer.Context,
    compression: Annotated[
        int | None,
        typer.Option(
            "--set-compression", metavar="level", help="zstd's level, -7 to 22; 0 is off; where --compression says nothing"
        ),
    ] = None,
    append_only: Annotated[
        Truth | None, typer.Option("--set-append-only", metavar="true|false", help="whether nothing may be removed")
    ] = None,
    extra_verify: Annotated[
        Truth | None,
        typer.Option(
            "--set-extra-verify", metavar="true|false", help="whether data is verified a second time before it is stored"
        ),
    ] = None,
    datapack_size: Annotated[
        str | None,
        typer.Option("--set-datapack-size", metavar="size", help="size of new packs with data, where --pack-size says nothing"),
    ] = None,
    datapack_growfactor: Annotated[
        int | None,
        typer.Option(
            "--set-datapack-growfactor", metavar="n", help="how much they grow: n times the square root of all data, in bytes"
        ),
    ] = None,
    datapack_size_limit: Annotated[
        str | None, typer.Option("--set-datapack-size-limit", metavar="size", help="how large they become")
    ] = None,
    treepack_size: Annotated[
        str | None,
        typer.Option(
            "--set-treepack-size", metavar="size", help="size of new packs with trees, where --pack-size says nothing"
        ),
    ] = None,
    treepack_growfactor: Annotated[
        int | None,
        typer.Option(
            "--set-treepack-growfactor", metavar="n", help="how much they grow: n times the square root of all trees, in bytes"
        ),
    ] = None,
    treepack_size_limit: Annotated[
        str | None, typer.Option("--set-treepack-size-limit", metavar="size", help="how large they become")
    ] = None,
    min_percent: Annotated[
        int | None,
        typer.Option(
            "--set-min-packsize-tolerate-percent",
            metavar="n",
            help="smaller packs, in percent of the size, are repacked by rustic",
        ),
    ] = None,
    max_percent: Annotated[
        int | None,
        typer.Option(
            "--set-max-packsize-tolerate-percent",
            metavar="n",
            help="larger packs, in percent of the size, are repacked by rustic",
        ),
    ] = None,
) -> None:
    """Change settings that live in the repository

    They hold for every program that knows them, which are this one and rustic; restic does not look at them. What a command
    line says goes before them. Sizes are numbers of bytes, or have a unit: 16M, 16MiB, 16MB.
    """
    tools = context_of(ctx)
    wanted = ConfigMembers(
        compression=compression,
        append_only=_truth(append_only),
        extra_verify=_truth(extra_verify),
        datapack_size=_bytes("--set-datapack-size", datapack_size),
        datapack_growfactor=datapack_growfactor,
        datapack_size_limit=_bytes("--set-datapack-size-limit", datapack_size_limit),
        treepack_size=_bytes("--set-treepack-size", treepack_size),
        treepack_growfactor=treepack_growfactor,
        treepack_size_limit=_bytes("--set-treepack-size-limit", treepack_size_limit),
        min_packsize_tolerate_percent=min_percent,
        max_packsize_tolerate_percent=max_percent,
    )
    with tools.open_repository(lock="exclusive") as repository:
        planned = plan(repository, wanted)
        with safekeeping(tools, "config") as folder:
            apply(planned, folder)
    if tools.options.json:
        tools.out.json(ConfigChanged("summary", [SettingChanged(*change) for change in planned.changes]))
    for change in planned.changes:
        before = "not set" if change.before is None else _shown(change.before)
        tools.out.info(f"{change.name}: {_shown(change.after)} (was: {before})")
    tools.out.info("saved new config" if planned.changes else "config is unchanged")


@shown.command()
def show_config(ctx: typer.Context) -> None:
    """Show the settings that live in the repository

    What the config says, and what holds where it says nothing.
    """
    tools = context_of(ctx)
    with tools.open_repository(lock="shared") as repository:
        repository.load_index()
        members = msgspec.structs.asdict(config_members(repository.config))
        effective = _effective(repository)
        settings = [Setting(name, members[name], effective[name]) for name in SETTINGS]
        message = ShownConfig(repository.id, repository.version, repository.config.chunker_polynomial, settings)
    if tools.options.json:
        tools.out.json(message)
        return
    tools.out.line(f"repository {message.id}, version {message.version}")
    table = Table(["Setting", "In the config", "What holds"])
    for setting in settings:
        table.add([setting.name, "" if setting.value is None else _shown(setting.value), _shown(setting.effective)])
    tools.out.line(table.text().rstrip("\n"), block=True)


def _effective(repository: Repository) -> dict[str, int | bool | str | None]:
    settings = repository.settings
    targets = settings.targets(repository.index)
    found: dict[str, int | bool | str | None] = {
        "compression": "auto" if settings.level is None else settings.level,
        "append_only": settings.append_only,
        "extra_verify": settings.extra_verify,
    }
    for name, kind in (("treepack", BlobType.TREE), ("datapack", BlobType.DATA)):
        sizes = settings.packs[kind]
        found[f"{name}_size"] = targets[kind]
        found[f"{name}_growfactor"] = 0 if sizes is None else sizes.grow_factor
        found[f"{name}_size_limit"] = DEFAULT_PACK_SIZE if sizes is None else min(sizes.limit, MAX_PACK_SIZE)
    members = config_members(repository.config)
    least, most = members.min_packsize_tolerate_percent, members.max_packsize_tolerate_percent
    found["min_packsize_tolerate_percent"] = 30 if least is None else least
    found["max_packsize_tolerate_percent"] = most or None
    return found


def _truth(given: Truth | None) -> bool | None:
    return None if given is None else given is Truth.TRUE


def _bytes(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return byte_size(text)
    except ValueError as error:
        raise Failure(f"invalid argument {text!r} for {option}: {error}") from None


def _shown(value: int | bool | str | None) -> str:
    if value is None:
        return "no limit"
    return str(value).lower() if isinstance(value, bool) else str(value)
