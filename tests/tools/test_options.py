"""Global options: flags and environment variables put together."""

from __future__ import annotations

import pytest

from restic_tools.context import global_options
from restic_tools.exitcodes import Failure


def test_the_environment_stands_in_for_flags() -> None:
    options = global_options(
        {},
        {
            "RESTIC_REPOSITORY": "/r",
            "RESTIC_PASSWORD_FILE": "/p",
            "RESTIC_KEY_HINT": "abc",
            "RESTIC_COMPRESSION": "max",
            "RESTIC_PACK_SIZE": "32",
            "RESTIC_CACERT": "a,b",
            "RESTIC_CACHE_DIR": "/c",
        },
    )
    assert (options.repo, options.password_file, options.key_hint) == ("/r", "/p", "abc")
    assert (options.compression, options.pack_size_bytes, options.cacert) == ("max", 32 << 20, ["a", "b"])
    assert options.cache_dir == "/c"


def test_flags_win() -> None:
    environment = {"RESTIC_REPOSITORY": "/r", "RESTIC_COMPRESSION": "nonsense", "RESTIC_PACK_SIZE": "nonsense"}
    options = global_options({"repo": "/flag", "compression": "off", "pack_size": 8}, environment)
    assert (options.repo, options.compression, options.pack_size) == ("/flag", "off", 8)


@pytest.mark.parametrize("variable", ["RESTIC_COMPRESSION", "RESTIC_PACK_SIZE"])
def test_a_wrong_variable_is_named(variable: str) -> None:
    with pytest.raises(Failure, match=f'invalid value for {variable} "x"'):
        global_options({}, {variable: "x"})


@pytest.mark.parametrize(("values", "verbosity"), [({}, 1), ({"quiet": True}, 0), ({"verbose": 1}, 2), ({"verbose": 5}, 3)])
def test_verbosity(values: dict[str, object], verbosity: int) -> None:
    assert global_options(values, {}).verbosity == verbosity


def test_quiet_and_verbose_exclude_each_other() -> None:
    with pytest.raises(Failure, match="--quiet and --verbose cannot be specified at the same time"):
        global_options({"quiet": True, "verbose": 1}, {})


def test_extended_options() -> None:
    assert global_options({"option": ["Local.Layout = default", "x"]}, {}).extended == {"local.layout": "default", "x": ""}
    with pytest.raises(Failure, match="more than once"):
        _ = global_options({"option": ["a=1", "a=2"]}, {}).extended
