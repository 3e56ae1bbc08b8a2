"""Global options: flags and environment variables put together."""

from __future__ import annotations

import os

import pytest

from restic_tools.context import global_options
from restic_tools.environment import variable, words_from_system
from restic_tools.exitcodes import Failure


def test_the_environment_stands_in_for_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "RESTIC_REPOSITORY": "/r",
        "RESTIC_PASSWORD_FILE": "/p",
        "RESTIC_KEY_HINT": "abc",
        "RESTIC_COMPRESSION": "max",
        "RESTIC_PACK_SIZE": "32",
        "RESTIC_CACERT": "a,b",
        "RESTIC_CACHE_DIR": "/c",
    }.items():
        monkeypatch.setenv(name, value)
    options = global_options({})
    assert (options.repo, options.password_file, options.key_hint) == ("/r", "/p", "abc")
    assert (options.compression, options.pack_size_bytes, options.cacert) == ("max", 32 << 20, ["a", "b"])
    assert options.cache_dir == "/c"


def test_flags_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTIC_REPOSITORY", "/r")
    monkeypatch.setenv("RESTIC_COMPRESSION", "nonsense")
    monkeypatch.setenv("RESTIC_PACK_SIZE", "nonsense")
    options = global_options({"repo": "/flag", "compression": "off", "pack_size": 8})
    assert (options.repo, options.compression, options.pack_size) == ("/flag", "off", 8)


@pytest.mark.parametrize("name", ["RESTIC_COMPRESSION", "RESTIC_PACK_SIZE"])
def test_a_wrong_variable_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "x")
    with pytest.raises(Failure, match=f'invalid value for {name} "x"'):
        global_options({})


@pytest.mark.parametrize(("values", "verbosity"), [({}, 1), ({"quiet": True}, 0), ({"verbose": 1}, 2), ({"verbose": 5}, 3)])
def test_verbosity(values: dict[str, object], verbosity: int) -> None:
    assert global_options(values).verbosity == verbosity


def test_quiet_and_verbose_exclude_each_other() -> None:
    with pytest.raises(Failure, match="--quiet and --verbose cannot be specified at the same time"):
        global_options({"quiet": True, "verbose": 1})


def test_extended_options() -> None:
    assert global_options({"option": ["Local.Layout = default", "x"]}).extended == {"local.layout": "default", "x": ""}
    with pytest.raises(Failure, match="more than once"):
        global_options({"option": ["a=1", "a=2"]})


def test_words_and_variables_keep_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = b"caf\xe9 \xc3\xa9"
    monkeypatch.setitem(os.environb, b"RESTIC_HOST", raw)
    for text in (variable("RESTIC_HOST"), *words_from_system([os.fsdecode(raw)])):
        assert text.encode("utf-8", "surrogateescape") == raw
    assert variable("RESTIC_NOTHING", "default") == "default"
