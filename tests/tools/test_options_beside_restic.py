"""Values of options that real restic refuses are refused, and those it takes are taken; certificates; tags in order."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.tools.kit import Runner

SIZES = ["99999999999999999999T", "8388608T", "-1", "1kb", "1KiB", "1.5M", " 1", "k", "", "0", "+5", "8388607T", "1B"]
NUMBERS = ["9223372036854775808", "-1", "", " 5", "0x10", "1_000", "017", "08", "+5"]
DURATIONS = ["2562047h", "2562048h", "9223372036854775808ns", "-5m", "", "5", "1d"]
SUBSETS = ["99999999999999999999T", "-5M", "0k", "5 %", "1/257", "99999999999999999999/2", "+5M"]


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    "words",
    [
        *(["snapshots", f"--limit-upload={text}"] for text in NUMBERS),
        *(["snapshots", f"--latest={text}"] for text in ("9223372036854775808", "0x10", " 5")),
        *(["snapshots", f"--pack-size={text}"] for text in ("18446744073709551616", "+5", "0x10")),
        *(["snapshots", f"--retry-lock={text}"] for text in DURATIONS),
        *(["check", "--no-lock", f"--read-data-subset={text}"] for text in SUBSETS),
        *(["backup", "--dry-run", "--exclude-larger-than", text, "/etc/hostname"] for text in SIZES),
        *(["prune", "--dry-run", f"--max-repack-size={text}"] for text in SIZES),
        *(["prune", "--dry-run", f"--max-unused={text}"] for text in ("8388608T", "+5", "5%5", "\u0663%", "1_0%", "0%", " 5%")),
        *(["prune", "--dry-run", f"--repack-smaller-than={text}"] for text in ("0", "-0", "+5", "")),
        ["backup", "--exclude-cloud-files", "/etc/hostname"],
    ],
)
def test_values_are_taken_and_refused_alike(words: list[str], run: Runner, restic_here: Runner) -> None:
    ours, theirs = run(*words), restic_here(*words)
    assert ours.code == theirs.code, (ours.err, theirs.err)
    assert bool(ours.err) == bool(theirs.err)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A file with a certificate and its key."""
    key, cert = tmp_path / "key", tmp_path / "cert"
    words = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=x",
        "-keyout",
        str(key),
        "-out",
        str(cert),
    ]
    subprocess.run(words, check=True, capture_output=True)
    both = tmp_path / "both.pem"
    both.write_bytes(cert.read_bytes() + key.read_bytes())
    return both


@pytest.mark.usefixtures("filled")
def test_certificate_files_are_read_whatever_the_storage_is(
    tmp_path: Path, certificate: Path, run: Runner, restic_here: Runner
) -> None:
    (tmp_path / "empty").touch()
    for name in ("nope", ".", "empty", "/etc/passwd", "cert", "both.pem", ""):
        path = str(tmp_path / name) if name else ""
        for option in ("--cacert", "--tls-client-cert"):
            ours, theirs = run("snapshots", option, path), restic_here("snapshots", option, path)
            assert (ours.code, ours.out, ours.err) == (theirs.code, theirs.out, theirs.err), (option, path)
    other = tmp_path / "other"
    ours, theirs = (call("init", "--repo", str(other), "--cacert", str(tmp_path / "nope")) for call in (run, restic_here))
    assert (ours.code, ours.err) == (theirs.code, theirs.err)
    assert not other.exists()
    assert run("version", "--cacert", "nope").code == 0


@pytest.mark.usefixtures("empty")  # the filled one is shared by all tests
def test_tags_are_in_order_where_snapshots_are_grouped_by_them(tmp_path: Path, run: Runner, restic_here: Runner) -> None:
    (tmp_path / "source").mkdir()
    for tags in ("b,a,c", "a,c,b", "a,a", "B,a,Z"):
        assert restic_here("backup", "-q", "--tag", tags, str(tmp_path / "source")).code == 0
    for line in ("snapshots", "snapshots --latest 1"):
        ours, theirs = run(*line.split()), restic_here(*line.split())
        assert ours.out == theirs.out
    for line in ("snapshots -g tags", "snapshots -g host,tags"):
        # restic's groups come in the order of a Go map.
        shown = [json.loads(call(*line.split(), "--json").out) for call in (run, restic_here)]
        ours_json, theirs_json = ([json.dumps(group) for group in groups] for groups in shown)
        assert sorted(ours_json) == sorted(theirs_json)
        ours, theirs = run(*line.split()), restic_here(*line.split())
        assert sorted(ours.out.splitlines()) == sorted(theirs.out.splitlines())
    assert b"a,b,c" in ours.out and b"b,a,c" not in ours.out


def test_json_on_a_terminal_keeps_control_characters_as_escapes() -> None:
    from restic_format.words import json_for_terminal

    raw = '{"a":"x\x85\x9b31my\u202e","b":"é"}\n'.encode()
    assert json_for_terminal(raw) == '{"a":"x\\u0085\\u009b31my\\u202e","b":"é"}\n'.encode()
    assert json.loads(json_for_terminal(raw)) == json.loads(raw)
    assert json_for_terminal(b'{"a":\n"\xff"}') == b'{"a":\n"\xff"}'
